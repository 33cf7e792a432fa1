"""Serotonin and a drug compete for one binding site: how far does the drug's curve move?

Question
    A transporter (SERT) binds either a serotonin molecule, which it takes up, or a drug molecule,
    which blocks it. At three levels of serotonin, which share of the transporters does the drug
    occupy? And where is plain C/(C + Ki), which leaves serotonin out, good enough?
Method
    A slab of 10 x 10 cells with 100 SERT. Drug molecules are real and exchanged with a reservoir of
    concentration C; serotonin is clamped (constant: it binds and is taken up, but its
    molecules are not followed). Nine concentrations of the drug for each level, 24 replicates with
    random numbers of their own; each starts empty, runs for 12 relaxation times and is then read 6
    times. Errors are the spread of the replicates, with Student's t. The drug's k_on and k_off are
    scaled up together until it lets go as often as serotonin does (k_off + k_cat): the law depends
    on Ki only, and runs need not wait the minutes that a real drug stays.
Expected answer
    D/(D + K) with K = Ki (1 + S/Km): a Ki measured without serotonin does not already account for
    it. With Km = (k_off + k_cat)/k_on this is exact although transport drives the cycle, because
    an empty transporter is the only way from serotonin to drug.
Run time
    About 3 s.
Source
    Gaddum 1937, J Physiol 89:7P; Cheng & Prusoff 1973, Biochem Pharmacol 22:3099; affinities:
    ``synapse-abm list --drugs``. The serotonin levels are a tenth of the Km of 170 nM, Km, and ten
    times Km (assumed: between pulses, around a release, and at its peak).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from synapse_abm import Scenario, pharmacology, statistics, theory
from synapse_abm.core.arithmetic import all_rounded
from synapse_abm.core.errors import InputError
from synapse_abm.core.progress import Progress
from synapse_abm.core.text import text_table
from synapse_abm.runs import dose_response
from synapse_abm.runs.results import Check, Result, Table
from synapse_abm.statistics import Estimate
from synapse_abm.synapse.scenario import Grid, Kinetics, Ligand, Reservoir, Target

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: In units of the apparent K; rounded, as powers differ in the last digit between processors.
CONCENTRATIONS_K = np.array(all_rounded(np.logspace(-1.5, 1.5, 9)))
SITES = 100
REPLICATES = 24
BURN_IN, READINGS = 12, 6  # relaxation times
FALSE_ALARM = 1e-6  # over all checks together
CELLS, SPACING_UM = 10, 0.25
COPIES = 100  # free drug molecules at high C, half of them at C = K: sets the depth of the slab
EXCHANGE_PER_KOFF = 5.0  # assumed; the law does not depend on it
ERRORS = (0.01, 0.05, 0.10)  # of the plain formula: 1, 5 and 10 points
MOST_SEROTONIN_NM = 1e5


@dataclass(frozen=True)
class Options:
    """Options of this experiment."""

    drug: str = "citalopram"
    """A drug, or DRUG@SOURCE to choose another source of its affinity (see `list --drugs`)."""
    serotonin_nM: tuple[float, float, float] = (17.0, 170.0, 1700.0)
    """Three levels of free serotonin, in nM, rising."""


@dataclass(frozen=True)
class Competitors:
    """The two that compete for SERT."""

    serotonin: Kinetics
    drug: Kinetics
    drug_diffusion_um2_per_s: float

    @property
    def km(self) -> float:
        """Michaelis constant of serotonin, nM."""
        transmitter = self.serotonin
        return float(
            theory.michaelis_constant(transmitter.kon, transmitter.koff, transmitter.kcat_per_s)
        )

    @property
    def ki(self) -> float:
        """Dissociation constant of the drug, nM."""
        return self.drug.koff / self.drug.kon

    def apparent(self, serotonin_nM: float) -> float:
        """Concentration at which the drug occupies half of the transporters, nM."""
        return float(theory.drug_apparent_kd(self.ki, serotonin_nM, self.km))


def competitors(drug: str) -> Competitors:
    """Serotonin, and the drug made to let go as often as serotonin leaves."""
    record = dose_response.inhibitor(drug, ["SERT"], "--drug")
    slow = record.kinetics("SERT")
    serotonin = pharmacology.ligand("serotonin").kinetics("SERT")
    leaves = serotonin.koff + serotonin.kcat_per_s
    made_fast = Kinetics(kd_nM=slow.koff / slow.kon, koff_per_s=leaves)
    return Competitors(serotonin, made_fast, record.diffusion_um2_per_s)


def scenario(pair: Competitors, serotonin_nM: float, ratio: float) -> Scenario:
    """SERT between ``ratio`` times the apparent K of the drug, and clamped serotonin.

    A molecule that has let go may bind again before it leaves its cell, which delays equilibrium
    (but does not shift it). With as many free molecules as cells another is as likely to come first
    (serotonin, too), so the delay is less than a factor of 2 at any step. Exchange brings five
    times the molecules that binding takes: the slab fills within the burn-in.
    """
    apparent, koff = pair.apparent(serotonin_nM), pair.drug.koff
    flat = Grid(width=CELLS, height=CELLS, spacing_um=SPACING_UM)
    copies_at_k = COPIES / (1 + ratio)
    grid = flat.model_copy(update={"depth_um": copies_at_k / (apparent * flat.molecules_per_nM)})
    reservoir = Reservoir(
        concentration_nM=ratio * apparent, exchange_per_s=EXCHANGE_PER_KOFF * koff
    )
    drug = Ligand(
        diffusion_um2_per_s=pair.drug_diffusion_um2_per_s,
        reservoir=reservoir,
        binding={"SERT": pair.drug},
    )
    constant = Ligand(role="serotonin", clamped_nM=serotonin_nM, binding={"SERT": pair.serotonin})
    return Scenario(
        name="competition",
        grid=grid,
        targets={"SERT": Target(sites=SITES)},
        ligands={"serotonin": constant, "drug": drug},
        dt_s=0.25 / koff,
    )


def occupancy(
    pair: Competitors, serotonin_nM: float, ratio: float, seed: int, replicate: int
) -> float:  # fmt: skip
    """Mean share of SERT that the drug occupies in one replicate at equilibrium.

    As drug and serotonin leave equally fast, the slowest relaxation rate is k_off of the drug.
    """
    synapse = scenario(pair, serotonin_nM, ratio)
    series = dose_response.settled(synapse, 1 / pair.drug.koff, BURN_IN, READINGS, seed, replicate)
    return float(series.occupancy("SERT", "drug").mean())


def run(seed: int, quick: bool, progress: Progress, **options: Any) -> Result:
    """Simulate all levels and concentrations and hold them against Gaddum's equation."""
    chosen = Options(**options)
    levels = _levels(chosen.serotonin_nM)
    pair = competitors(chosen.drug)
    replicates = 12 if quick else REPLICATES
    places = [(s, ratio) for s in levels for ratio in CONCENTRATIONS_K.tolist()]
    tasks = [
        (pair, s, ratio, seed, number * replicates + r)
        for number, (s, ratio) in enumerate(places)
        for r in range(replicates)
    ]
    groups = dose_response.replicated(occupancy, tasks, replicates, progress)
    points = [statistics.from_replicates(runs) for runs in groups]
    return _result(chosen.drug, pair, levels, replicates, points)


@dataclass(frozen=True)
class Level:
    """What the figure shows at one level of serotonin: points of the drug, and its half point as
    measured and by theory.
    """

    serotonin_nM: float
    concentrations_nM: list[float]
    points: list[Estimate]
    half_nM: Estimate
    apparent_nM: float


@dataclass(frozen=True)
class Competition:
    """The levels, and the drug's own half point without serotonin."""

    drug: str
    ki_nM: float
    levels: list[Level]


def _levels(serotonin_nM: tuple[float, ...]) -> list[float]:
    levels = [float(level) for level in serotonin_nM]
    good = all(0 <= level <= MOST_SEROTONIN_NM for level in levels)  # also refuses nan
    if len(levels) != 3 or not good or not levels[0] < levels[1] < levels[2]:
        allowed = f"three rising numbers from 0 to {MOST_SEROTONIN_NM:g}, in nM"
        raise InputError("--serotonin-nM", tuple(serotonin_nM), allowed, "use 17 170 1700, say")
    return levels


def misled(ki: float, apparent: float, error: float) -> tuple[float, float] | None:
    """Drug concentrations (nM) between which C/(C + Ki) is too high by more than ``error``.

    The ends solve error (C + Ki)(C + K) = C (K - Ki); None if it is nowhere so wrong.
    """
    half = (apparent - ki) / (2 * error) - (ki + apparent) / 2
    if half**2 <= ki * apparent or half < 0:
        return None
    high = half + math.sqrt(half**2 - ki * apparent)
    return ki * apparent / high, high


def tolerated_serotonin_nM(km: float, error: float) -> float:
    """Serotonin (nM) up to which C/(C + Ki) errs by at most ``error`` at every concentration.

    The largest error, at C = sqrt(Ki K), is (r - 1)/(r + 1) with r**2 = 1 + S/Km.
    """
    return km * (((1 + error) / (1 - error)) ** 2 - 1)


def _result(
    drug: str, pair: Competitors, levels: list[float], replicates: int, points: list[Estimate]
) -> Result:  # fmt: skip
    tests = len(points) + len(levels)
    record, serotonin = pharmacology.ligand(drug), pharmacology.ligand("serotonin")
    size, checks, halves = len(CONCENTRATIONS_K), list[Check](), list[Estimate]()
    rows, shown = list[list[Any]](), list[Level]()
    for number, s in enumerate(levels):
        mine = points[number * size : (number + 1) * size]
        apparent = pair.apparent(s)
        cs = [ratio * apparent for ratio in CONCENTRATIONS_K.tolist()]
        for c, point in zip(cs, mine, strict=True):
            law = float(theory.transporter_occupancy(s, pair.km, c, pair.ki).drug)
            name = f"SERT occupied by drug at {c:.4g} nM, serotonin {s:g} nM"
            check = _check(name, point, law, "Gaddum 1937: D/(D + Ki (1 + S/Km))", tests)
            checks.append(check)
            low, high = point.interval()
            plain = float(theory.occupancy(c, pair.ki))
            rows.append([s, c, point.value, point.se, law, check.z, low, high, plain])
        halves.append(dose_response.half_concentration(cs, mine))
        shown.append(Level(s, cs, mine, halves[-1], apparent))
    for s, half in zip(levels, halves, strict=True):
        name = f"apparent K of the drug in nM, serotonin {s:g} nM"
        checks.append(_check(name, half, pair.apparent(s), "Ki (1 + S/Km)", tests, True))
    known = {
        "ligand": record.full_name,
        "ki_nM": pair.ki,
        "ki_source": f"{record.affinity('SERT').source}, {record.affinity('SERT').status}",
        "km_nM": pair.km,
        "km_source": serotonin.affinity("SERT").source,
        "kcat_per_s": pair.serotonin.kcat_per_s,
        "drug_rates_times": pair.drug.koff / record.kinetics("SERT").koff,
        "replicates": replicates,
        "sites": SITES,
    }
    names = "serotonin_nM concentration_nM occupancy se expected z low_95 high_95 plain"
    responses = Table.of_rows("competition", names, rows)
    shifts, errors = _shift_table(pair, levels, halves, checks), _error_table(pair, levels)
    papers = [*record.sources(), *serotonin.sources(), "Gaddum 1937, J Physiol 89:7P",
              "Cheng & Prusoff 1973, Biochem Pharmacol 22:3099"]  # fmt: skip
    return Result(
        tables=[responses, shifts, errors],
        checks=checks,
        text=_text(known, shifts, errors),
        verdict=_verdict(known, checks, shifts),
        scenario=known,
        papers=list(dict.fromkeys(papers)),
        data=Competition(record.full_name, pair.ki, shown),
    )


def _check(
    name: str, estimate: Estimate, law: float, source: str, tests: int, solved: bool = False
) -> Check:
    return Check.by_student(
        name, estimate, law, source=source, false_alarm=FALSE_ALARM, tests=tests, solved=solved
    )


def _shift_table(
    pair: Competitors, levels: list[float], halves: list[Estimate], checks: list[Check]
) -> Table:  # fmt: skip
    intervals = [half.interval() for half in halves]
    return Table(
        "apparent_k",
        {
            "serotonin_nM": levels,
            "k_nM": [half.value for half in halves],
            "se": [half.se for half in halves],
            "expected_nM": [pair.apparent(s) for s in levels],
            "z": [check.z for check in checks[-len(levels) :]],
            "low_95": [low for low, _ in intervals],
            "high_95": [high for _, high in intervals],
        },
        solved=("k_nM", "se", "z", "low_95", "high_95"),
    )


def _error_table(pair: Competitors, levels: list[float]) -> Table:
    spans = [(s, e, misled(pair.ki, pair.apparent(s), e)) for e in ERRORS for s in levels]
    return Table(
        "plain_formula",
        {
            "too_high_by_more_than": [e for _, e, _ in spans],
            "never_below_serotonin_nM": [tolerated_serotonin_nM(pair.km, e) for _, e, _ in spans],
            "serotonin_nM": [s for s, _, _ in spans],
            "from_nM": [span and span[0] for _, _, span in spans],
            "to_nM": [span and span[1] for _, _, span in spans],
        },
    )


def _text(known: dict[str, Any], shifts: Table, errors: Table) -> str:
    names = ("serotonin_nM", "k_nM", "low_95", "high_95", "expected_nM", "z")
    first = text_table(
        ["serotonin (nM)", "apparent K (nM)", "95 % interval", "Ki(1 + S/Km)", "z"],
        [
            [f"{s:g}", f"{k:.4g}", f"{low:.4g} to {high:.4g}", f"{law:.4g}", f"{z:+.2f}"]
            for s, k, low, high, law, z in zip(*(shifts[n] for n in names), strict=True)
        ],
    )
    levels = shifts["serotonin_nM"]
    spans = [
        f"{low:.3g} to {high:.3g}" if low else "nowhere"
        for low, high in zip(errors["from_nM"], errors["to_nM"], strict=True)
    ]
    lines = []
    for number, error in enumerate(ERRORS):
        first_row = number * len(levels)
        never = f"{errors['never_below_serotonin_nM'][first_row]:.3g}"
        mine = spans[first_row : first_row + len(levels)]
        lines.append([f"{100 * error:.0f} points", f"up to {never}", *mine])
    second = text_table(
        ["C/(C + Ki) too high by", "never at S (nM)", *(f"at S = {s:g} nM" for s in levels)], lines
    )
    return f"{first}\n\nConcentrations of {known['ligand']} (nM) with that error:\n{second}"


def _verdict(known: dict[str, Any], checks: list[Check], shifts: Table) -> str:
    answer = "holds" if all(check.passed for check in checks) else "is MISSED"
    worst = max(abs(check.z or 0.0) for check in checks)
    shift = shifts["k_nM"][-1] / known["ki_nM"]
    return (
        f"K = Ki(1 + S/Km) {answer}: {shifts['serotonin_nM'][-1]:g} nM serotonin moves K"
        f" {shift:.3g}-fold from Ki = {known['ki_nM']:.3g} nM ({known['ki_source']}), so Ki alone"
        f" does not account for serotonin; largest |z| {worst:.2f} in {len(checks)} checks."
    )


def figure(result: Result) -> Figure:
    """The three curves beside the plain one, and what the plain formula gets wrong."""
    from synapse_abm import plotting

    return plotting.styled(_draw)(result.data)


def _signed_root(x: Any) -> Any:
    return np.sign(x) * np.sqrt(np.abs(x))


def _signed_square(x: Any) -> Any:
    return np.sign(x) * np.square(x)


def _draw(chapter: Competition) -> Figure:
    from synapse_abm import plotting as plot

    ki, drug, last = chapter.ki_nM, chapter.drug, chapter.levels[-1]
    more = f"{last.apparent_nM / ki:.2g} times as much {drug}"
    title = f"Against {last.serotonin_nM:g} nM serotonin it takes {more}"
    fig, (top, bottom) = plot.slide(heights=(3, 1.6), height=7.0, title=title)
    everywhere = [c for level in chapter.levels for c in level.concentrations_nM]
    fine = np.logspace(np.log10(min(everywhere) / 2), np.log10(max(everywhere) * 1.5), 400)
    plain = theory.occupancy(fine, ki)
    top.plot(fine, plain, color=plot.GREY, ls="--", label=f"no serotonin: Ki = {ki:.3g} nM")
    plot.reference(top, 0.5, ls=":")
    for look, level in zip(plot.LOOKS, chapter.levels, strict=False):
        true = theory.occupancy(fine, level.apparent_nM)
        top.plot(fine, true, color=look[0])
        bottom.plot(fine, 100 * (plain - true), color=look[0])
        c, values = np.array(level.concentrations_nM), np.array([p.value for p in level.points])
        half = np.array([(p.interval()[1] - p.interval()[0]) / 2 for p in level.points])
        label = f"{level.serotonin_nM:g} nM: K = {level.half_nM.value:.3g} nM"
        plot.measured(top, c, values, half, look, label=label)
        error = theory.occupancy(c, ki) - values
        plot.measured(bottom, c, 100 * error, 100 * half, look)
        top.plot([level.apparent_nM] * 2, [-1, 0.5], color=look[0], lw=1.2, ls=":")
    top.set_ylim(-0.03, 1.05)
    top.set_ylabel("SERT occupied by the drug")
    plot.percent(top)
    words = "serotonin, and drug for half of SERT\n(points: simulated, 95 %; lines: theory)"
    top.legend(loc="upper left", title=words, alignment="left", borderaxespad=0)
    bottom.set_yscale("function", functions=(_signed_root, _signed_square))
    bottom.set_yticks([0, 1, 5, 10, 20, 40], ["0", "1", "5", "10", "20", "40"])
    for error in ERRORS:
        bottom.axhline(100 * error, color=plot.BLACK, lw=1.1, ls="--", zorder=1)
    bottom.set_ylim(-0.4, 70)
    bottom.set_ylabel("C/(C + Ki) too\nhigh by (points)")
    bottom.set_xlim(fine[0], fine[-1])
    plot.log_concentration(bottom, f"{drug}, free (nM)")
    return fig


if __name__ == "__main__":
    from synapse_abm.cli import run_script

    run_script(__file__)
