"""Two drugs are added together: does the fast one take the sites first, and then lose them?

Question
    A drug that binds and leaves fast, and one that stays, are added to empty transporters (SERT) at
    the same moment. Who holds the sites, and when? Can the rate constants of the slow one be read
    from the curve of the fast one, as in an assay in which only the fast one is labelled?
Method
    Both are clamped, the fast one at four times its Kd, the slow one at ten times; 1000 SERT in a
    well-mixed cell start empty. Occupancy by both is read 40 times, evenly in the logarithm of
    time. 24 replicates. Sites are independent, so errors of the mean curves are those of binomial
    counts; a curve must keep to its law at all readings at once (simultaneous band). k_on and k_off
    of the slow drug are then fitted to the fast one's curve, all else being known, by least
    squares; their errors come from the replicates (infinitesimal jackknife).
Expected answer
    Motulsky & Mahan's equation. The drug that leaves faster overshoots: it rises above its share
    at equilibrium, then falls as the other comes. Much faster, it rises to what it would have
    alone, and has most sites first; not much faster, its overshoot is small or drowns in noise.
Run time
    About 3 s.
Source
    Motulsky & Mahan 1984, Mol Pharmacol 25:1. Affinities, and that k_on is assumed:
    ``synapse-abm list --drugs``.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from synapse_abm import Scenario, pharmacology, theory
from synapse_abm.core.errors import InputError, raise_faults
from synapse_abm.core.progress import Progress
from synapse_abm.core.text import text_table
from synapse_abm.pharmacology.kinetics import Kinetics
from synapse_abm.runs import dose_response, time_course
from synapse_abm.runs.results import Check, Result, Table
from synapse_abm.runs.time_course import F64
from synapse_abm.statistics import Estimate, from_replicates, normal_quantile, student_quantile
from synapse_abm.synapse.engine.simulation import Simulation
from synapse_abm.synapse.scenario import Grid, Ligand, Target

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SITES, REPLICATES, READINGS = 1000, 24, 40
FAST_KD, SLOW_KD = 4.0, 10.0  # concentrations
MOST_STEPS = 20_000
FALSE_ALARM = 1e-6  # over all checks together
SEEN = 0.01  # chance to call noise an overshoot or a lead, over all readings
#: Readings are judged where so many sites are expected to be occupied, over all replicates: fewer
#: are far from normal, and would be too far off more often than said.
LEAST_COUNT = 200


@dataclass(frozen=True)
class Options:
    """Options of this experiment."""

    fast: str = "milnacipran"
    """The drug that leaves fast, or DRUG@SOURCE (see `list --drugs`)."""
    slow: str = "citalopram"
    """The drug that stays longer."""


@dataclass(frozen=True)
class Pair:
    """The constants of both drugs at SERT."""

    fast: Kinetics
    slow: Kinetics

    def rates(self) -> tuple[float, float, float, float, float, float]:
        """Arguments of ``theory.motulsky_mahan`` after the time."""
        (a, b), f, s = self.nM, self.fast, self.slow
        return a, f.kon, f.koff, b, s.kon, s.koff

    @property
    def nM(self) -> tuple[float, float]:
        """Concentrations of the fast and the slow drug."""
        kds = (x.koff / x.kon for x in (self.fast, self.slow))
        return tuple(n * kd for n, kd in zip((FAST_KD, SLOW_KD), kds, strict=True))

    @property
    def seconds(self) -> float:
        """How long it takes until little changes, s: four times the slower relaxation time."""
        # Fast sites in balance are free to the slow drug for a share of the time.
        slow = self.slow
        return 4 / (slow.koff * (1 + SLOW_KD / (1 + FAST_KD)))


@functools.cache
def scenario(pair: Pair) -> Scenario:
    """Empty sites and both drugs; one cell is exact at any step, which is that of the readings."""
    shortest = 0.05 / (pair.fast.koff * (1 + FAST_KD))
    ligands = {
        name: Ligand(clamped_nM=nM, binding={"SERT": kinetics})
        for name, nM, kinetics in zip(
            ("fast", "slow"), pair.nM, (pair.fast, pair.slow), strict=True
        )
    }
    return Scenario(
        name="competition_kinetics", grid=Grid.well_mixed(1.0), ligands=ligands,
        targets={"SERT": Target(sites=SITES)},
        dt_s=max(shortest, pair.seconds / MOST_STEPS),
    )  # fmt: skip


def reading_steps(pair: Pair) -> list[int]:
    """Steps after which is read, evenly in the logarithm of time; the early ones as they come."""
    last = round(pair.seconds / scenario(pair).dt_s)
    steps, at = list[int](), 1.0
    for left in range(READINGS, 0, -1):
        steps.append(max(round(at), steps[-1] + 1 if steps else 1))
        at = steps[-1] * (last / steps[-1]) ** (1 / max(left - 1, 1))
    return steps


def curves(pair: Pair, seed: int, replicate: int) -> F64:
    """Occupancy by the fast and the slow drug at each reading, shape (2, readings)."""
    steps = reading_steps(pair)
    series = Simulation(scenario(pair), seed, replicate).run(steps[-1], every=1)
    at = np.array(steps) - 1
    return np.stack([series.occupancy("SERT", name)[at] for name in ("fast", "slow")])


def law(pair: Pair, t: F64) -> F64:
    """The same by Motulsky & Mahan's equation."""
    return np.stack(theory.motulsky_mahan(t, *pair.rates()))


@dataclass(frozen=True)
class Race:
    """What the figure shows: mean occupancy by both with exact errors, theory, and the constants of
    the slow drug as fitted to the fast one's curve.

    ``top`` is the reading at which the fast drug's mean is largest, ``fall`` by how much it is
    lower at the last one, ``overshoots`` whether that is more than noise. ``leads`` tells of each
    reading whether the fast drug has more sites (1), fewer (-1), or neither for sure (0).
    """

    names: tuple[str, str]
    pair: Pair
    time_s: F64
    mean: F64
    se: F64
    law: F64
    kon: Estimate
    koff: Estimate
    top: int
    fall: Estimate
    overshoots: bool
    leads: list[int]

    @property
    def labels(self) -> list[str]:
        """The names as figures and sentences have them."""
        return dose_response.labels(self.names)

    @property
    def takes_over(self) -> bool:
        """Whether the fast drug has more sites first, and the slow one at the end."""
        sure = [lead for lead in self.leads if lead]
        return bool(sure) and (sure[0], sure[-1]) == (1, -1)

    @property
    def title(self) -> str:
        """What came out, in a line."""
        fast, slow = self.labels
        start = f"{fast[:1].upper()}{fast[1:]}"
        if not self.overshoots:
            return f"No overshoot is seen: {fast} is not fast enough beside {slow}"
        if self.takes_over:
            return f"{start} takes the sites first, {slow} takes them over"
        if set(self.leads) <= {0, -1} and -1 in self.leads:
            return f"{start} overshoots, but {slow} leads from the start"
        return f"{start} overshoots beside {slow}"


def run(seed: int, quick: bool, progress: Progress, **options: Any) -> Result:
    """Add both drugs and hold both curves against Motulsky & Mahan's equation."""
    chosen, faults = Options(**options), list[InputError]()
    kinetics = []
    for name, option in ((chosen.fast, "--fast"), (chosen.slow, "--slow")):
        try:
            kinetics.append(dose_response.inhibitor(name, ["SERT"], option).kinetics("SERT"))
        except InputError as error:
            faults.append(error)
    raise_faults(faults)
    pair = Pair(*kinetics)
    if pair.slow.koff >= pair.fast.koff:
        allowed = f"a drug that leaves SERT more slowly than {chosen.fast}, {pair.fast.koff:.3g} /s"
        raise InputError("--slow", chosen.slow, allowed, "exchange --fast and --slow")
    replicates = 8 if quick else REPLICATES
    tasks = [(pair, seed, r) for r in range(replicates)]
    runs = np.array(dose_response.series(curves, tasks, progress))
    t = scenario(pair).dt_s * np.array(reading_steps(pair))
    expected = law(pair, t)
    # The variance of a count that is known to be binomial: exact, and the same for all readings.
    se = np.sqrt(expected * (1 - expected) / (SITES * replicates))
    kon, koff = _slow_from_fast(pair, t, runs[:, 0])
    names = chosen.fast, chosen.slow
    mean = runs.mean(axis=0)
    top = int(np.argmax(mean[0]))
    fall = from_replicates(runs[:, 0, top] - runs[:, 0, -1])
    # The top is chosen among all readings after the fact, so the limit is that of all.
    limit = student_quantile(SEEN, fall.dof, tests=READINGS)
    leads = [_sure_sign(from_replicates(lead), limit) for lead in (runs[:, 0] - runs[:, 1]).T]
    overshoots = _sure_sign(fall, limit) == 1
    race = Race(names, pair, t, mean, se, expected, kon, koff, top, fall, overshoots, leads)
    return _result(race, replicates)


def _sure_sign(estimate: Estimate, limit: float) -> int:
    """1 or -1 if it is beyond so many standard errors, else 0."""
    return int(np.sign(estimate.value)) if abs(estimate.value) > limit * estimate.se else 0


def _slow_from_fast(pair: Pair, t: F64, runs: F64) -> list[Estimate]:
    """k_on and k_off of the slow drug from the curve of the fast one."""
    nM, kon, koff, other_nM, *_ = pair.rates()

    def curve(t: F64, constants: F64) -> F64:
        return theory.motulsky_mahan(t, nM, kon, koff, other_nM, *constants.tolist()).label

    # A guess that does not know the answer: a hundredth of the fast one's constants, or so.
    return time_course.fitted(curve, t, runs, (kon, koff / 10))


def _result(race: Race, replicates: int) -> Result:
    checks, source = list[Check](), "Motulsky & Mahan 1984"
    for name, mean, se, law_ in zip(race.labels, race.mean, race.se, race.law, strict=True):
        seen = law_ * SITES * replicates >= LEAST_COUNT
        points = zip(mean[seen].tolist(), se[seen].tolist(), strict=True)
        curve = [Estimate(*point) for point in points]
        checks.append(
            time_course.all_along(
                f"SERT occupied by {name}", race.time_s[seen], curve, law_[seen], source=source,
                false_alarm=FALSE_ALARM, tests=4,
            )
        )  # fmt: skip
    fits = [
        (f"k_on of {race.labels[1]} (1/(nM s))", race.kon, race.pair.slow.kon),
        (f"k_off of {race.labels[1]} (1/s)", race.koff, race.pair.slow.koff),
    ]
    for name, estimate, known in fits:
        checks.append(
            Check.by_student(
                f"{name} from the curve of {race.labels[0]}", estimate, known,
                source="what was simulated", false_alarm=FALSE_ALARM, tests=4, solved=True,
            )
        )  # fmt: skip
    rows = [
        [name, t, p, error, x, (p - x) / error]
        for name, mean, se, law_ in zip(race.names, race.mean, race.se, race.law, strict=True)
        for t, p, error, x in zip(*(v.tolist() for v in (race.time_s, mean, se, law_)), strict=True)
    ]
    table = Table.of_rows("competition_kinetics", "drug time_s occupancy se expected z", rows)
    constants = Table.of_rows(
        "constants", "constant value se dof low_95 high_95 expected t p",
        [[name, e.value, e.se, e.dof, *e.interval(), known, *time_course.student(e, known)]
         for name, e, known in fits],
        ("value", "se", "low_95", "high_95", "t", "p"),
    )  # fmt: skip
    records = [pharmacology.ligand(name) for name in race.names]
    return Result(
        tables=[table, constants],
        checks=checks,
        text=_text(race, checks),
        verdict=_verdict(race, checks),
        scenario={
            "fast": records[0].full_name, "fast_nM": race.pair.nM[0],
            "slow": records[1].full_name, "slow_nM": race.pair.nM[1],
            "sites": SITES, "replicates": replicates,
        },
        papers=list(dict.fromkeys(
            [*(s for record in records for s in record.sources()),
             "Motulsky & Mahan 1984, Mol Pharmacol 25:1"]
        )),
        data=race,
    )  # fmt: skip


def _text(race: Race, checks: list[Check]) -> str:
    every = slice(3, None, 6)
    lines = [
        [f"{t:.3g}", f"{fast:.4f}", f"{a:.4f}", f"{slow:.4f}", f"{b:.4f}"]
        for t, fast, a, slow, b in zip(
            race.time_s[every], race.mean[0][every], race.law[0][every],
            race.mean[1][every], race.law[1][every], strict=True,
        )
    ]  # fmt: skip
    head = ["time (s)", race.labels[0], "theory", race.labels[1], "theory"]
    fits = [
        f"{check.name}: {check.value:.4g} +- {check.se:.2g}, simulated with {check.expected:.4g}"
        f" (t {check.z:+.2f}, {estimate.dof:.0f} degrees of freedom)"
        for check, estimate in zip(checks[2:], (race.kon, race.koff), strict=True)
    ]
    return "\n".join([text_table(head, lines), "", *fits])


def _verdict(race: Race, checks: list[Check]) -> str:
    t, end = race.time_s[[race.top, -1]]
    mean, se, law_ = race.mean[0], race.se[0], race.law[0]
    worst = max(abs(check.z or 0.0) for check in checks[:2])
    limit = normal_quantile(FALSE_ALARM, tests=4 * READINGS)
    missed = [check.name for check in checks if not check.passed]
    answer = f"MISSED: {'; '.join(missed)}" if missed else "readings and constants keep to theory"
    peak = theory.label_overshoot(*race.pair.rates())
    assert peak is not None  # the slow drug is slower, and both are there
    balance = float(theory.gaddum(*_loads(race)))
    return (
        f"{race.title}. Simulated: {race.labels[0]} is highest at {t:.2g} s,"
        f" {mean[race.top]:.1%} +- {se[race.top]:.1%}, and at the last reading, {end:.3g} s,"
        f" {100 * race.fall.value:.1f} +- {100 * race.fall.se:.1f} points lower, {mean[-1]:.1%}"
        f" +- {se[-1]:.1%}. Theory: {peak.occupancy:.1%} at {peak.time:.2g} s, {law_[-1]:.1%} at"
        f" {end:.3g} s, {balance:.1%} at equilibrium. {answer[0].upper()}{answer[1:]}; largest |z|"
        f" of a reading {worst:.2f} (limit {limit:.2f}: false alarm 1e-6 over all checks)."
    )


def _loads(race: Race) -> tuple[float, float, float, float]:
    (a, b), pair = race.pair.nM, race.pair
    return a, pair.fast.koff / pair.fast.kon, b, pair.slow.koff / pair.slow.kon


def figure(result: Result) -> Figure:
    """Both curves in time, and what is left over of them."""
    from synapse_abm import plotting

    return plotting.styled(_draw)(result.data)


def _draw(race: Race) -> Figure:
    from synapse_abm import plotting as plot

    fast, _ = race.labels
    fig, (top, bottom) = plot.slide(heights=(3, 1.3), height=6.2, title=race.title)
    fine = np.logspace(math.log10(race.time_s[0]), math.log10(race.time_s[-1]), 300)
    wide = normal_quantile(0.05)
    for look, name, mean, se, theirs in zip(
        plot.LOOKS, race.labels, race.mean, race.se, law(race.pair, fine), strict=False
    ):
        top.plot(fine, theirs, color=look[0])
        plot.measured(top, race.time_s, mean, wide * se, look, ms=5, label=name)
    nM, kon, koff, *_ = race.pair.rates()
    alone = theory.occupancy_at(fine, nM / (nM + koff / kon), kon * nM + koff)
    top.plot(fine, alone, color=plot.GREY, ls=":", label=f"{fast} alone")
    top.set_ylabel("SERT occupied")
    top.set_ylim(0, 1)
    plot.percent(top)
    words = "points: simulated (95 %),\nlines: Motulsky & Mahan 1984"
    top.legend(loc="upper left", borderaxespad=0, title=words, alignment="left")
    limit = normal_quantile(FALSE_ALARM, tests=4 * READINGS)
    for look, mean, se, theirs in zip(plot.LOOKS, race.mean, race.se, race.law, strict=False):
        bottom.plot(race.time_s, (mean - theirs) / se, look[1], color=look[0], ms=5)
    bottom.axhspan(-2, 2, color=plot.SKY, alpha=0.25, lw=0)
    bottom.axhline(0, color=plot.GREY, lw=1)
    for edge in (-limit, limit):
        bottom.axhline(edge, color=plot.VERMILION, lw=1.2, ls="--")
    bottom.set_ylim(-1.2 * limit, 1.2 * limit)
    bottom.set_ylabel("difference\n(std. errors)")
    plot.log_concentration(bottom, "time after adding both (s)")
    bottom.set_xlim(race.time_s[0] / 1.2, race.time_s[-1] * 1.2)
    return fig


if __name__ == "__main__":
    from synapse_abm.cli import run_script

    run_script(__file__)
