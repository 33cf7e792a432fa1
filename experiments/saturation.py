"""What does more drug buy when most transporters are already occupied?

Question
    Every further 10 points of SERT occupancy cost more drug than the last. What does doubling the
    drug at 93 % buy? What does it do to the other transporter (NET), and to the uptake of serotonin
    that is left?
Method
    One well-mixed cell with 10,000 SERT and 3000 NET. Serotonin is held at 17 nM and the drug at
    the concentration that theory gives for 10, 20 ... 90, 93 % of SERT, and at twice the last (both
    clamped: they bind, and serotonin is carried, but no molecules are followed). All sites start
    empty; after 16 relaxation times they are read once, and from then on carried molecules are
    counted for 16 more. Clamped sites are independent, so the error bars are exact: binomial for
    occupancy, and for uptake the variance of a counted Markov process. The drug's rates are scaled
    up together, at both transporters, until it lets go of SERT as often as serotonin does; shares
    at equilibrium do not depend on that.
Expected answer
    C = K p/(1 - p): the step from 80 to 90 % costs 36 times the step from 10 to 20 %. From 93 %,
    doubling buys 3.4 points (to 96.4 %), but halves the free transporters. The uptake left is the
    share of transporters without drug, (1 + S/Km)/(1 + S/Km + C/Ki) = 1 - occupancy, so it is
    halved as well: occupancy saturates, its effect does not (serotonin is held here; left to
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
        """Concentration at which the drug holds half of each transporter, nM."""
        it, own = self.serotonin, {t: k.koff / k.kon for t, k in self.drug.items()}
        km = float(theory.michaelis_constant(it.kon, it.koff, it.kcat_per_s))
        return own | {"SERT": float(theory.drug_apparent_kd(own["SERT"], SEROTONIN_NM, km))}

    @property
    def relaxation_s(self) -> float:
        """Longest relaxation time: as drug and serotonin leave SERT equally fast, 1/k_off there;
        NET is faster unless the drug stays there longer.
        """
        return 1 / min(each.koff for each in self.drug.values())


def case(drug: str) -> Case:
    """The drug, made to let go of SERT as often as serotonin leaves, and serotonin."""
    record = dose_response.inhibitor(drug, SITES, "--drug")
    serotonin = pharmacology.ligand("serotonin").kinetics("SERT")
    slow = {target: record.kinetics(target) for target in SITES}
    times = (serotonin.koff + serotonin.kcat_per_s) / slow["SERT"].koff
    scaled = {
        target: Kinetics(kon_per_nM_s=times * each.kon, koff_per_s=times * each.koff)
        for target, each in slow.items()
    }
    return Case(serotonin, scaled)


def scenario(it: Case, concentration_nM: float) -> Scenario:
    """Both transporters in one cell, serotonin and drug constant; a step is a relaxation time."""
    return Scenario(
        name="saturation",
        grid=Grid.well_mixed(1.0),
        targets={target: Target(sites=sites) for target, sites in SITES.items()},
        ligands={
            "serotonin": Ligand(
                role="serotonin", clamped_nM=SEROTONIN_NM, binding={"SERT": it.serotonin}
            ),
            "drug": Ligand(clamped_nM=concentration_nM, binding=it.drug),
        },
        dt_s=it.relaxation_s,
    )


@dataclass(frozen=True)
class Measured:
    """What one concentration gave."""

    bound: dict[str, int]
    carried: int


def measure(it: Case, concentration_nM: float, seed: int, replicate: int) -> Measured:
    """Sites held by the drug in one snapshot, and serotonin carried in the window after it."""
    model = Simulation(scenario(it, concentration_nM), seed, replicate)
    before = model.run(RELAXATIONS, every=RELAXATIONS)
    after = model.run(RELAXATIONS, every=RELAXATIONS)
    start, end = (int(s.count("transported", "serotonin", "SERT")[0]) for s in (before, after))
    return Measured({t: int(before.bound(t, "drug")[0]) for t in SITES}, end - start)


def uptake(it: Case, concentration_nM: float) -> theory.CountMoments:
    """Exact mean and variance of the molecules carried in the window."""
    own, drug = it.serotonin, it.drug["SERT"]
    rates = theory.TransportRates(own.kon, own.koff, own.kcat_per_s, drug.kon, drug.koff)
    window_s = RELAXATIONS * it.relaxation_s
    return theory.transport_counts(window_s, rates, SITES["SERT"], SEROTONIN_NM, concentration_nM)


def run(seed: int, quick: bool, progress: Progress, drug: str = "paroxetine") -> Result:
    """Climb the ladder of occupancies and hold every rung against theory."""
    it = case(drug)
    if it.k["NET"] < it.k["SERT"]:
        raise InputError("--drug", drug, "a drug that prefers SERT to NET", "try citalopram")
    wanted = (*(LADDER[::2] if quick else LADDER), LAST)
    k = it.k["SERT"]
    concentrations = [k * p / (1 - p) for p in wanted]
    concentrations.append(2 * concentrations[-1])
    pieces = [(it, c, seed, number) for number, c in enumerate(concentrations)]
    found = dose_response.series(measure, pieces, progress)
    return _result(drug, it, concentrations, found)


def _result(drug: str, it: Case, cs: list[float], found: list[Measured]) -> Result:
    record, serotonin = pharmacology.ligand(drug), pharmacology.ligand("serotonin")
    tests = 3 * len(cs) + 2
    without = uptake(it, 0.0).mean
    checks, rows = list[Check](), list[list[Any]]()
    sert, left = list[Estimate](), list[Estimate]()
    limit = statistics.normal_quantile(FALSE_ALARM, tests=tests)
    for c, measured in zip(cs, found, strict=True):
        row: list[Any] = [c]
        for target, sites in SITES.items():
            law = float(theory.occupancy(c, it.k[target]))
            n = measured.bound[target]
            check = dose_response.binomial_check(
                f"{target} held by drug at {c:.4g} nM", n, sites, law,
                source="C/(C + K), binomial", false_alarm=FALSE_ALARM / tests,
            )  # fmt: skip
            checks.append(check)
            row += [check.value, check.se, law, check.z]
            if target == "SERT":
                sert.append(dose_response.snapshot(n, sites, law))
        moments = uptake(it, c)
        share = Estimate(measured.carried / without, math.sqrt(moments.var) / without)
        left.append(share)
        check = Check.against(
            f"uptake left at {c:.4g} nM, share of that without drug", "exact",
            share.value, share.se, moments.mean / without,
            source="transport flux at constant serotonin; exact variance of counts", z_limit=limit,
            solved=True,
        )  # fmt: skip
        checks.append(check)
        rows.append([*row, share.value, share.se, moments.mean / without, check.z])
    checks += _doubling(it, cs, sert, left, limit)
    parts = [
        f"{t}_{q}" for t in ("sert", "net", "uptake_left") for q in ("", "se", "expected", "z")
    ]
    names = " ".join(["concentration_nM", *(part.rstrip("_") for part in parts)])
    solved = ("uptake_left_se", "uptake_left_expected", "uptake_left_z")
    ladder = Table.of_rows("saturation", names, rows, solved)
    facts = {
        "ligand": record.full_name,
        "half_nM": it.k,
        "affinities": {
            t: f"{record.affinity(t).source}, {record.affinity(t).status}" for t in SITES
        },
        "serotonin_nM": SEROTONIN_NM,
        "drug_rates_times": it.drug["SERT"].koff / record.kinetics("SERT").koff,
        "sites": SITES,
        "z_limit": limit,
    }
    meyer = "Meyer 2004, Am J Psychiatry 161:826, doi:10.1176/appi.ajp.161.5.826"
    return Result(
        tables=[ladder],
        checks=checks,
        text=_text(ladder),
        verdict=_verdict(checks),
        scenario=facts,
        papers=list(dict.fromkeys([*record.sources(), *serotonin.sources(), meyer])),
    )


def _doubling(
    it: Case, cs: list[float], sert: list[Estimate], left: list[Estimate], limit: float
) -> list[Check]:
    """What doubling the drug at 93 % buys in occupancy, and leaves of the uptake."""
    once, twice = (float(theory.occupancy(c, it.k["SERT"])) for c in cs[-2:])
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
    header = ["drug (nM)", "step costs (nM)", "SERT held", "theory", "free", "uptake left",
              "theory", "NET held", "theory"]  # fmt: skip
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


def figure(result: Result) -> Figure:
    """Occupancy with the price of its steps, and below the uptake that is left."""
    from synapse_abm import plotting

    return plotting.styled(_draw)(result)


def _draw(result: Result) -> Figure:
    from synapse_abm import plotting as plot

    facts, ladder = result.scenario, result["saturation"]
    c, half = np.array(ladder["concentration_nM"]), facts["half_nM"]
    fine = np.linspace(0, 1.08 * c[-1], 600)
    curve = {target: theory.occupancy(fine, half[target]) for target in half}
    points = {"ms": 7, "capsize": 4, "lw": 1.6}
    fig, (top, bottom) = plot.slide(heights=(3, 2), height=7.2)
    for target, name, color, mark in (
        ("SERT", "sert", plot.BLUE, "o"),
        ("NET", "net", plot.VERMILION, "s"),
    ):
        top.plot(fine, curve[target], color=color)
        top.errorbar(c, ladder[name], yerr=1.96 * np.array(ladder[f"{name}_se"]), fmt=mark,
                     color=color, **points)  # fmt: skip
    before, after = (f"{100 * p:.1f}" for p in ladder["net_expected"][-2:])
    here = {"textcoords": "offset points", "ha": "right"}
    top.annotate(f"NET: goes on rising, {before} to {after} %", (fine[-1], curve["NET"][-1]),
                 (-4, 8), color=plot.VERMILION, **here)  # fmt: skip
    top.annotate("SERT", (fine[-1], curve["SERT"][-1]), (-4, -17), color=plot.BLUE, **here)
    top.axhline(PET, color=plot.GREY, lw=1.4, ls="--")
    top.annotate("about 80 %: lowest usual doses (PET, Meyer 2004)", (fine[-1], PET), (-4, -5),
                 va="top", color=plot.GREY, **here)  # fmt: skip
    for low, high, y in ((0.1, 0.2, 0.15), (0.8, 0.9, 0.55)):
        _price(top, half["SERT"], low, high, y)
    _pair(top, c, ladder["sert_expected"], f"twice the drug: +{_points(ladder):.1f} points", 26)
    top.set_ylim(-0.03, 1.16)
    top.set_yticks(np.arange(0, 1.01, 0.2))
    top.set_ylabel("held by the drug")
    plot.percent(top)
    _costs(top, half["SERT"])
    name = facts["ligand"]
    top.set_title(
        f"{name[0].upper()}{name[1:]}: occupancy saturates, its effect on uptake does not"
    )
    bottom.plot(fine, 1 - curve["SERT"], color=plot.GREEN, label="theory: 1 - occupancy")
    bottom.errorbar(c, 1 - np.array(ladder["sert"]), yerr=1.96 * np.array(ladder["sert_se"]),
                    fmt="o", mfc="none", color=plot.BLUE, label="SERT free of drug",
                    **(points | {"ms": 12}))  # fmt: skip
    left = ladder["uptake_left"]
    bottom.errorbar(c, left, yerr=1.96 * np.array(ladder["uptake_left_se"]), fmt="o",
                    color=plot.GREEN, label="serotonin carried inside", **points)  # fmt: skip
    _pair(bottom, c, ladder["uptake_left_expected"], "twice the drug: half the uptake", 34)
    bottom.set_yscale("log", base=2)
    ticks = [1.0, 0.5, 0.25, 0.125, 0.0625, 0.03125]
    bottom.set_yticks(ticks, ["100 %", "50 %", "25 %", "12.5 %", "6.3 %", "3.1 %"])
    bottom.set_ylim(0.024, 1.2)
    bottom.set_ylabel("free SERT, uptake\n(each line: half)")
    bottom.legend(loc="upper right", title="left over, of that without drug", alignment="left",
                  borderaxespad=0.1, labelspacing=0.3)  # fmt: skip
    bottom.set_xlim(0, fine[-1])
    bottom.set_xlabel(f"{name}, free (nM)")
    return fig


def _points(ladder: Table) -> float:
    before, after = ladder["sert_expected"][-2:]
    return float(100 * (after - before))


def _costs(ax: Any, k: float) -> None:
    """Bars: what each further 10 points cost, from 0 to 90 %."""
    from synapse_abm import plotting as plot

    low = np.arange(0, 9) / 10
    cost = k * ((low + 0.1) / (0.9 - low) - low / (1 - low))
    inset = ax.inset_axes((0.55, 0.27, 0.44, 0.25))
    inset.bar(100 * low + 5, cost, width=8.5, color=plot.SKY)
    named = [0, *range(len(low) - 4, len(low))]  # the others are small, and their words would touch
    for x, y in zip(100 * low[named] + 5, cost[named], strict=True):
        inset.annotate(f"{y:.2g}", (x, y), (0, 1), textcoords="offset points", ha="center",
                       fontsize=10, color=plot.BLUE)  # fmt: skip
    inset.set(xticks=[], yticks=[], ylim=(0, 1.25 * cost[-1]))
    inset.grid(visible=False)
    inset.spines["left"].set_visible(False)
    inset.set_xticks(range(0, 100, 10), [f"{tick}" for tick in range(0, 100, 10)], fontsize=10)
    inset.set_title("nM of drug for each further 10 points", fontsize=12, weight="normal")


def _price(ax: Any, k: float, low: float, high: float, y: float) -> None:
    """A step of occupancy as a bar along the concentration, with what it costs."""
    from synapse_abm import plotting as plot

    ends = [k * p / (1 - p) for p in (low, high)]
    for end, p in zip(ends, (low, high), strict=True):
        ax.plot([end, end], [-1, p], color=plot.BLUE, lw=1.0, ls=":")
    ax.axvspan(*ends, ymax=(high + 0.03) / 1.19, color=plot.SKY, alpha=0.3, lw=0)
    words = f"{100 * low:.0f} to {100 * high:.0f} %:\n{ends[1] - ends[0]:.2g} nM"
    ax.annotate(words, (ends[1], y), (5, 0), textcoords="offset points", va="center",
                color=plot.BLUE, fontsize=12)  # fmt: skip


def _pair(ax: Any, c: Any, y: list[float], words: str, offset: float) -> None:
    """An arrow from 93 % to twice the drug, with what it does."""
    style = {"arrowstyle": "->", "color": "black", "lw": 1.6, "shrinkA": 5, "shrinkB": 5,
             "connectionstyle": "arc3,rad=-0.12"}  # fmt: skip
    ax.annotate("", (c[-1], y[-1]), (c[-2], y[-2]), arrowprops=style)
    middle = (math.sqrt(c[-1] * c[-2]), math.sqrt(y[-1] * y[-2]))
    ax.annotate(words, middle, (0, offset), textcoords="offset points", ha="center")


if __name__ == "__main__":
    from synapse_abm.cli import run_script

    run_script(__file__)
