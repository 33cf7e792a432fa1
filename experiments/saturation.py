"""What does more drug buy when most transporters are already occupied?

Question
    Every further 10 points of SERT occupancy cost more drug than the last. What does doubling the
    drug at 93 % buy? What does it do to the other transporter (NET), and to the uptake of serotonin
    that is left?
Method
    One well-mixed cell with 10,000 SERT and 3000 NET. Serotonin is clamped at 17 nM and the drug at
    the concentration that theory gives for 10, 20 ... 90, 93 % of SERT, and at twice the last
    (clamped: they bind, and serotonin is taken up, but no molecules are followed). All sites start
    empty; after 16 relaxation times they are read once, and from then on what is taken up is
    counted for 16 more. Clamped sites are independent, so the error bars are exact: binomial for
    occupancy, and for uptake the variance of a counted Markov process. The drug's rates are scaled
    up together, at both transporters, until it lets go of SERT as often as serotonin does; shares
    at equilibrium do not depend on that.
Expected answer
    C = K p/(1 - p): the step from 80 to 90 % costs 36 times the step from 10 to 20 %. From 93 %,
    doubling buys 3.4 points (to 96.4 %), but halves the free transporters. The uptake left is the
    share of transporters without drug, (1 + S/Km)/(1 + S/Km + C/Ki) = 1 - occupancy, so it is
    halved as well: occupancy saturates, its effect does not (serotonin is clamped here; left to
    itself it would rise). NET goes on rising, nearly in proportion to the drug.
Run time
    About 2 s.
Source
    About 80 % of SERT at the lowest usual doses of five SSRI and SNRI, by PET: Meyer 2004, Am J
    Psychiatry 161:826, doi:10.1176/appi.ajp.161.5.826 (drawn, not used). Affinities:
    ``synapse-abm list --drugs``. The level of serotonin is assumed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from synapse_abm import Scenario, Simulation, pharmacology, statistics, theory
from synapse_abm.core.errors import InputError
from synapse_abm.core.progress import Progress
from synapse_abm.core.text import text_table
from synapse_abm.runs import dose_response
from synapse_abm.runs.results import Check, Result, Table
from synapse_abm.statistics import Estimate
from synapse_abm.synapse.scenario import Grid, Kinetics, Ligand, Target

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SITES = {"SERT": 10_000, "NET": 3000}
SEROTONIN_NM = 17.0
LADDER = tuple(tens / 10 for tens in range(1, 10))  # steps of 10 points
LAST = 0.93  # and from here, twice the drug
PET = 0.8
RELAXATIONS = 16  # before sites are read, and again while uptake is counted
FALSE_ALARM = 1e-6  # over all checks together


@dataclass(frozen=True)
class Options:
    """Options of this experiment."""

    drug: str = "paroxetine"
    """A drug that prefers SERT, or DRUG@SOURCE, with affinities at SERT and NET."""


@dataclass(frozen=True)
class Case:
    """Who binds, how fast, and where the drug's half point lies."""

    serotonin: Kinetics
    drug: dict[str, Kinetics]

    @property
    def k(self) -> dict[str, float]:
        """Concentration at which the drug occupies half of each transporter, nM."""
        transmitter, own = self.serotonin, {t: k.koff / k.kon for t, k in self.drug.items()}
        km = float(
            theory.michaelis_constant(transmitter.kon, transmitter.koff, transmitter.kcat_per_s)
        )
        return own | {"SERT": float(theory.drug_apparent_kd(own["SERT"], SEROTONIN_NM, km))}

    @property
    def relaxation_s(self) -> float:
        """Longest relaxation time: as drug and serotonin leave SERT equally fast, 1/k_off there;
        NET is faster unless the drug stays there longer.
        """
        return 1 / min(rates.koff for rates in self.drug.values())


def case(drug: str) -> Case:
    """The drug, made to let go of SERT as often as serotonin leaves, and serotonin."""
    record = dose_response.inhibitor(drug, SITES, "--drug")
    serotonin = pharmacology.ligand("serotonin").kinetics("SERT")
    slow = {target: record.kinetics(target) for target in SITES}
    times = (serotonin.koff + serotonin.kcat_per_s) / slow["SERT"].koff
    scaled = {
        target: Kinetics(kon_per_nM_s=times * rates.kon, koff_per_s=times * rates.koff)
        for target, rates in slow.items()
    }
    return Case(serotonin, scaled)


def scenario(pair: Case, concentration_nM: float) -> Scenario:
    """Both transporters in one cell, serotonin and drug constant; a step is a relaxation time."""
    return Scenario(
        name="saturation",
        grid=Grid.well_mixed(1.0),
        targets={target: Target(sites=sites) for target, sites in SITES.items()},
        ligands={
            "serotonin": Ligand(
                role="serotonin", clamped_nM=SEROTONIN_NM, binding={"SERT": pair.serotonin}
            ),
            "drug": Ligand(clamped_nM=concentration_nM, binding=pair.drug),
        },
        dt_s=pair.relaxation_s,
    )


@dataclass(frozen=True)
class Measured:
    """What one concentration gave."""

    bound: dict[str, int]
    taken_up: int


def measure(pair: Case, concentration_nM: float, seed: int, replicate: int) -> Measured:
    """Sites that the drug occupies in one snapshot, and serotonin taken up after it."""
    model = Simulation(scenario(pair, concentration_nM), seed, replicate)
    before = model.run(RELAXATIONS, every=RELAXATIONS)
    after = model.run(RELAXATIONS, every=RELAXATIONS)
    start, end = (int(s.count("transported", "serotonin", "SERT")[0]) for s in (before, after))
    return Measured({t: int(before.bound(t, "drug")[0]) for t in SITES}, end - start)


def uptake(pair: Case, concentration_nM: float) -> theory.CountMoments:
    """Exact mean and variance of the molecules taken up in the window."""
    own, drug = pair.serotonin, pair.drug["SERT"]
    rates = theory.TransportRates(own.kon, own.koff, own.kcat_per_s, drug.kon, drug.koff)
    window_s = RELAXATIONS * pair.relaxation_s
    return theory.transport_counts(window_s, rates, SITES["SERT"], SEROTONIN_NM, concentration_nM)


def run(seed: int, quick: bool, progress: Progress, **options: Any) -> Result:
    """Climb the ladder of occupancies and hold every rung against theory."""
    drug = Options(**options).drug
    pair = case(drug)
    if pair.k["NET"] < pair.k["SERT"]:
        raise InputError("--drug", drug, "a drug that prefers SERT to NET", "try citalopram")
    wanted = (*(LADDER[::2] if quick else LADDER), LAST)
    k = pair.k["SERT"]
    concentrations = [k * p / (1 - p) for p in wanted]
    concentrations.append(2 * concentrations[-1])
    tasks = [(pair, c, seed, number) for number, c in enumerate(concentrations)]
    measurements = dose_response.series(measure, tasks, progress)
    return _result(drug, pair, concentrations, measurements)


@dataclass(frozen=True)
class Ladder:
    """What the figures show, at each concentration: shares of SERT and NET that the drug occupies,
    and the share of uptake that is left.
    """

    drug: str
    half_nM: dict[str, float]
    concentrations_nM: list[float]
    sert: list[Estimate]
    net: list[Estimate]
    uptake_left: list[Estimate]

    def gain(self) -> float:
        """Points of occupancy that the last doubling buys, by theory."""
        before, after = (float(theory.occupancy(c, self.half_nM["SERT"]))
                         for c in self.concentrations_nM[-2:])  # fmt: skip
        return 100 * (after - before)


def _result(
    drug: str, pair: Case, cs: list[float], measurements: list[Measured]
) -> Result:  # fmt: skip
    record, serotonin = pharmacology.ligand(drug), pharmacology.ligand("serotonin")
    tests = 3 * len(cs) + 2
    without = uptake(pair, 0.0).mean
    checks, rows = list[Check](), list[list[Any]]()
    bound: dict[str, list[Estimate]] = {target: [] for target in SITES}
    left = list[Estimate]()
    limit = statistics.normal_quantile(FALSE_ALARM, tests=tests)
    for c, measured in zip(cs, measurements, strict=True):
        row: list[Any] = [c]
        for target, sites in SITES.items():
            law = float(theory.occupancy(c, pair.k[target]))
            n = measured.bound[target]
            check = dose_response.binomial_check(
                f"{target} occupied by drug at {c:.4g} nM", n, sites, law,
                source="C/(C + K), binomial", false_alarm=FALSE_ALARM / tests,
            )  # fmt: skip
            checks.append(check)
            row += [check.value, check.se, law, check.z]
            bound[target].append(dose_response.snapshot(n, sites, law))
        moments = uptake(pair, c)
        share = Estimate(measured.taken_up / without, math.sqrt(moments.var) / without)
        left.append(share)
        check = Check.against(
            f"uptake left at {c:.4g} nM, share of that without drug", "exact",
            share.value, share.se, moments.mean / without,
            source="transport flux at constant serotonin; exact variance of counts", z_limit=limit,
            solved=True,
        )  # fmt: skip
        checks.append(check)
        rows.append([*row, share.value, share.se, moments.mean / without, check.z])
    checks += _doubling(pair, cs, bound["SERT"], left, limit)
    parts = [
        f"{t}_{q}" for t in ("sert", "net", "uptake_left") for q in ("", "se", "expected", "z")
    ]
    names = " ".join(["concentration_nM", *(part.rstrip("_") for part in parts)])
    solved = ("uptake_left_se", "uptake_left_expected", "uptake_left_z")
    ladder = Table.of_rows("saturation", names, rows, solved)
    known = {
        "ligand": record.full_name,
        "half_nM": pair.k,
        "affinities": {
            t: f"{record.affinity(t).source}, {record.affinity(t).status}" for t in SITES
        },
        "serotonin_nM": SEROTONIN_NM,
        "drug_rates_times": pair.drug["SERT"].koff / record.kinetics("SERT").koff,
        "sites": SITES,
        "z_limit": limit,
    }
    meyer = "Meyer 2004, Am J Psychiatry 161:826, doi:10.1176/appi.ajp.161.5.826"
    return Result(
        tables=[ladder],
        checks=checks,
        text=_text(ladder),
        verdict=_verdict(checks),
        scenario=known,
        papers=list(dict.fromkeys([*record.sources(), *serotonin.sources(), meyer])),
        data=Ladder(record.full_name, pair.k, cs, bound["SERT"], bound["NET"], left),
    )


def _doubling(
    pair: Case, cs: list[float], sert: list[Estimate], left: list[Estimate], limit: float
) -> list[Check]:
    """What doubling the drug at 93 % buys in occupancy, and leaves of the uptake."""
    once, twice = (float(theory.occupancy(c, pair.k["SERT"])) for c in cs[-2:])
    gain = Check.against(
        f"occupancy gained by doubling at {LAST:.0%}", "exact",
        sert[-1].value - sert[-2].value, math.hypot(sert[-1].se, sert[-2].se), twice - once,
        source="C/(C + K) at 2C and C", z_limit=limit,
    )  # fmt: skip
    # The logarithm of the ratio is nearer to normal than the ratio.
    ratio = math.log(left[-1].value / left[-2].value)
    se = math.hypot(*(share.se / share.value for share in left[-2:]))
    halved = Check.against(
        f"ln(uptake left after / before doubling at {LAST:.0%})", "exact", ratio, se,
        math.log((1 - twice) / (1 - once)), source="uptake left = 1 - occupancy", z_limit=limit,
    )  # fmt: skip
    return [gain, halved]


def _text(ladder: Table) -> str:
    header = ["drug (nM)", "step costs (nM)", "SERT occupied", "theory", "free", "uptake left",
              "theory", "NET occupied", "theory"]  # fmt: skip
    names = ("sert", "sert_expected", "uptake_left", "uptake_left_expected", "net", "net_expected")
    lines, last = [], 0.0
    for c, *shares in zip(ladder["concentration_nM"], *(ladder[n] for n in names), strict=True):
        sert, law, left, left_law, net, net_law = (f"{100 * share:.2f} %" for share in shares)
        free = f"{100 * (1 - shares[0]):.2f} %"
        lines.append([f"{c:.4g}", f"{c - last:.3g}", sert, law, free, left, left_law, net, net_law])
        last = c
    return text_table(header, lines)


def _verdict(checks: list[Check]) -> str:
    answer = "follow theory" if all(check.passed for check in checks) else "MISS theory"
    gain, halved = checks[-2:]
    return (
        f"Occupancy and uptake {answer} in {len(checks)} checks (false alarm 1e-6 over all)."
        f" Doubling at {LAST:.0%} buys {100 * gain.value:.1f} +- {196 * (gain.se or 0):.1f} points"
        f" of occupancy, and leaves {math.exp(halved.value):.2f} times the uptake (theory"
        f" {100 * (gain.expected or 0):.1f} points, {math.exp(halved.expected or 0):.2f} times)."
    )


def figure(result: Result) -> dict[str, Figure]:
    """A hundred transporters and the curve; and the uptake that is left."""
    from synapse_abm import plotting

    return {
        "": plotting.styled(_draw)(result.data),
        "uptake": plotting.styled(_draw_uptake)(result.data),
    }


SHOWN = (0.5, 0.8, LAST)  # occupancies of the boards; the last one has twice the drug


def _draw(ladder: Ladder) -> Figure:
    from matplotlib.figure import Figure

    from synapse_abm import plotting as plot

    fig = Figure(figsize=(plot.WIDTH, 6.6), layout="constrained")
    drug = f"{ladder.drug[0].upper()}{ladder.drug[1:]}"
    buys = f"from {100 * LAST:.0f} %, twice the drug buys {ladder.gain():.1f} points"
    plot.message(fig, f"{drug}: {buys}, and halves the free transporters")
    boards, curve = fig.subfigures(2, 1, height_ratios=[1.0, 1.55])
    k = ladder.half_nM["SERT"]
    doses = [k * p / (1 - p) for p in SHOWN]
    for ax, dose in zip(boards.subplots(1, 4), [*doses, 2 * doses[-1]], strict=True):
        _board(ax, float(theory.occupancy(dose, k)), dose)
    _occupancy(curve.subplots(), ladder)
    return fig


def _board(ax: Any, share: float, dose_nM: float) -> None:
    """Ten times ten transporters, ``share`` of them occupied; who is free is for the eye only."""
    from matplotlib.colors import ListedColormap

    from synapse_abm import plotting as plot

    order = np.random.default_rng(4).permutation(100)  # who is occupied at less stays so at more
    occupied = (order < round(100 * share)).reshape(10, 10)
    colours = ListedColormap(["white", plot.BLUE])
    ax.pcolormesh(occupied, cmap=colours, vmin=0, vmax=1, edgecolors=plot.GREY, lw=0.6)
    ax.set_aspect("equal")
    ax.set(xticks=[], yticks=[])
    ax.grid(visible=False)
    ax.spines[:].set_visible(True)
    digits = 0 if abs(100 * share - round(100 * share)) < 0.05 else 1
    ax.set_title(f"{dose_nM:.2g} nM: {100 * share:.{digits}f} %", loc="center", fontsize=12)
    ax.set_xlabel(f"{100 * (1 - share):.{digits}f} of 100 free")


def _occupancy(ax: Any, ladder: Ladder) -> None:
    """Both transporters against the drug, the level of PET, and what two steps cost."""
    from synapse_abm import plotting as plot

    c, half = np.array(ladder.concentrations_nM), ladder.half_nM
    fine = np.linspace(0, 1.08 * c[-1], 600)
    plot.reference(ax, PET, ls="--")
    for (target, points), look in zip(
        (("SERT", ladder.sert), ("NET", ladder.net)), plot.LOOKS, strict=False
    ):
        ax.plot(fine, theory.occupancy(fine, half[target]), color=look[0])
        values, errors = [e.value for e in points], [1.96 * e.se for e in points]
        plot.measured(ax, c, values, errors, look)
        end = (fine[-1], float(theory.occupancy(fine[-1], half[target])))
        words = "SERT" if target == "SERT" else "NET: goes on rising"
        plot.named(ax, end, words, look[0], (0, 12), ha="right")
    plot.named(ax, (fine[-1], PET), "about 80 %: lowest usual doses (PET, Meyer 2004)", plot.GREY,
               (-8, -10), ha="right")  # fmt: skip
    for low, high, y in ((0.1, 0.2, 0.1), (0.8, 0.9, 0.45)):
        ends = [half["SERT"] * p / (1 - p) for p in (low, high)]
        ax.axvspan(*ends, color=plot.SKY, alpha=0.35, lw=0)
        words = f"{100 * low:.0f} to {100 * high:.0f} %: {ends[1] - ends[0]:.2g} nM"
        plot.named(ax, (ends[1], y), words, plot.BLACK, (4, 0))
    ax.set_xlim(0, fine[-1])
    ax.set_ylim(-0.03, 1.1)
    ax.set_yticks(np.arange(0, 1.01, 0.2))
    plot.percent(ax)
    ax.set_ylabel("occupied by the drug")
    ax.set_xlabel(f"{ladder.drug}, free (nM)   points: simulated, 95 %; lines: theory")


def _draw_uptake(ladder: Ladder) -> Figure:
    from synapse_abm import plotting as plot

    title = "Where occupancy has saturated, twice the drug still halves the uptake"
    fig, (ax,) = plot.slide(height=5.0, title=title)
    c = np.array(ladder.concentrations_nM)
    fine = np.linspace(0, 1.08 * c[-1], 600)
    ax.plot(fine, 1 - theory.occupancy(fine, ladder.half_nM["SERT"]), color=plot.GREEN,
            label="theory: 1 - occupancy")  # fmt: skip
    for points, sign, mark, look, label in (
        (ladder.sert, -1, {"ms": 12, "mfc": "none"}, plot.LOOKS[0], "SERT free of drug"),
        (ladder.uptake_left, 1, {}, plot.LOOKS[2], "serotonin taken up"),
    ):
        values = [(1 - e.value) if sign < 0 else e.value for e in points]
        plot.measured(ax, c, values, [1.96 * e.se for e in points], look, label=label, **mark)
    style = {"arrowstyle": "->", "lw": 1.6, "shrinkA": 6, "shrinkB": 6,
             "connectionstyle": "arc3,rad=-0.25"}  # fmt: skip
    ends = [(x, 1 - float(theory.occupancy(x, ladder.half_nM["SERT"]))) for x in c[-2:]]
    ax.annotate("", ends[1], ends[0], arrowprops=style)
    middle = (math.sqrt(ends[0][0] * ends[1][0]), ends[0][1])
    plot.named(ax, middle, "twice the drug: half the uptake", offset=(0, 34), ha="center")
    plot.doublings(ax, 0.024, 1.2)
    ticks = [2.0**-n for n in range(6)]
    ax.set_yticks(ticks, [f"{100 * tick:.3g} %" for tick in ticks])
    ax.set_ylabel("left over, of that without drug")
    ax.legend(loc="upper right", title="points: simulated, 95 % interval", alignment="left")
    ax.set_xlim(0, fine[-1])
    ax.set_xlabel(f"{ladder.drug}, free (nM)")
    return fig


if __name__ == "__main__":
    from synapse_abm.cli import run_script

    run_script(__file__)
