"""How fast does a drug bind? The observed rate against concentration is a line, and where it bends.

Question
    A drug is added to empty transporters (SERT); their occupancy rises. The rate of that rise,
    k_obs, is plotted against the concentration: the slope is taken for k_on, the intercept for
    k_off. Do both come out? And what does the same recipe give where the sites use the drug up, or
    hold it back?
Method
    Milnacipran, whose k_off of 1.2/s lets it be done in seconds, at six concentrations from a
    quarter of Kd to eight Kd. (1) Clamped: 500 sites in a well-mixed cell. (2) Used up: as much
    drug as molecules in a closed cell, 80 sites as dense as twice Kd. (3) Held back: 1000 sites on
    1 um^2 in a gap of 20 nm (9 x 9 cells); drug comes in from around it, and what lets go often
    binds again before it is gone. To each mean curve of 30 readings one exponential is fitted by
    least squares; errors come from the replicates (infinitesimal jackknife), and from them those
    of the line. The same fit is made to the curve of theory: for (1) an exponential, for (2) the
    exact master equation, for (3) mean field of binding with exact hops.
Expected answer
    (1) The line k_on C + k_off. (2) Rates do not fall to k_off as C does: few molecules meet many
    empty sites, so the intercept is nearer to k_on R + k_off. (3) All rates are lower:
    neither slope nor intercept is a constant of the drug.
Run time
    About 15 s on one core.
Source
    The plot: Hulme & Trevethick 2010, Br J Pharmacol 161:1219. Used up: Goldstein & Barrett 1987,
    Mol Pharmacol 31:603. Held back: Berg & Purcell 1977, Biophys J 20:193. k_on is assumed
    (``synapse-abm list --drugs``), and so are density of sites, gap and exchange.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from synapse_abm import Scenario, pharmacology, statistics, theory
from synapse_abm.core.progress import Progress
from synapse_abm.core.text import text_table
from synapse_abm.core.units import pair_rate_per_s
from synapse_abm.pharmacology.kinetics import Kinetics
from synapse_abm.runs import dose_response, time_course
from synapse_abm.runs.results import Check, Result, Table
from synapse_abm.runs.time_course import F64, Varicosity
from synapse_abm.statistics import Estimate
from synapse_abm.synapse.scenario import Grid, Ligand, Target

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DRUG = "milnacipran"
CONCENTRATIONS_KD = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
CLAMPED, USED_UP, HELD_BACK = PLACES = ("clamped", "used up", "held back")
SITES = {CLAMPED: 500, USED_UP: 80, HELD_BACK: 1000}
KD_MOLECULES = 40  # that make Kd in the closed cell: sets its volume
REPLICATES = {CLAMPED: 48, USED_UP: 96, HELD_BACK: 12}
READINGS, RELAXATIONS = 30, 3.0  # of a curve, in units of 1/(k_on C + k_off)
FALSE_ALARM = 1e-6  # over all checks together


@functools.cache
def drug() -> Kinetics:
    """The drug's constants at SERT."""
    return pharmacology.ligand(DRUG).kinetics("SERT")


def line_per_s(ratio: float) -> float:
    """k_on C + k_off at ``ratio`` times Kd, 1/s."""
    return drug().koff * (1 + ratio)


def closed_cell() -> Grid:
    """The cell in which the drug is used up."""
    kd = drug().koff / drug().kon
    return Grid.well_mixed(KD_MOLECULES / (kd * Grid.well_mixed(1.0).molecules_per_nM))


def varicosity(sites: int) -> Varicosity:
    """The place where the drug is held back."""
    return Varicosity(sites, drug(), pharmacology.ligand(DRUG).diffusion_um2_per_s)


def seconds(place: str, ratio: float) -> float:
    """How long a curve is followed, s: longer where it is slower."""
    return (2.0 if place == HELD_BACK else 1.0) * RELAXATIONS / line_per_s(ratio)


@functools.cache
def scenario(place: str, ratio: float, sites: int) -> Scenario:
    """Empty sites, and ``ratio`` times Kd of the drug from time zero on."""
    nM = ratio * drug().koff / drug().kon
    if place == HELD_BACK:
        return varicosity(sites).scenario(nM)
    grid, ligand = Grid.well_mixed(1.0), Ligand(clamped_nM=nM, binding={"SERT": drug()})
    if place == USED_UP:
        grid = closed_cell()
        ligand = Ligand(count=round(ratio * KD_MOLECULES), binding={"SERT": drug()})
    # One cell is exact at any step: a step a reading.
    return Scenario(
        name="association", grid=grid, targets={"SERT": Target(sites=sites)},
        ligands={"drug": ligand}, dt_s=seconds(place, ratio) / READINGS,
    )  # fmt: skip


def rise(place: str, ratio: float, sites: int, seed: int, replicate: int) -> F64:
    """Occupancy at each reading of one replicate."""
    synapse = scenario(place, ratio, sites)
    series = time_course.read(synapse, seconds(place, ratio), READINGS, seed, replicate)
    return series.occupancy("SERT", "drug")


def law(place: str, ratio: float, sites: int, t: F64) -> F64:
    """Mean occupancy at times ``t`` (s) by theory, the same time apart."""
    if place == CLAMPED:
        rate = line_per_s(ratio)
        return np.asarray(theory.occupancy_at(t, ratio / (1 + ratio), rate))
    if place == USED_UP:
        pair = pair_rate_per_s(drug().kon, closed_cell().volume_um3)
        copies = round(ratio * KD_MOLECULES)
        return theory.closed_course(t[0], t.size, sites, copies, pair, drug().koff) / sites
    here, nM = varicosity(sites), ratio * drug().koff / drug().kon
    return here.law().course(t, outside=here.free_per_cell(nM), bound=0.0, free=0.0)


@dataclass(frozen=True)
class Rise:
    """What the figure shows of a place at one concentration: the mean curve with its standard
    errors, theory, and the rate that one exponential gives for both.
    """

    place: str
    nM: float
    time_s: F64
    mean: F64
    se: F64
    law: F64
    rate: Estimate
    law_rate: float


@dataclass(frozen=True)
class Association:
    """All curves, and the line through the clamped ones."""

    kinetics: Kinetics
    curves: list[Rise]
    koff: Estimate
    kon: Estimate

    def of(self, place: str) -> list[Rise]:
        """The curves of a place, by concentration."""
        return [curve for curve in self.curves if curve.place == place]


def run(seed: int, quick: bool, progress: Progress) -> Result:
    """Let the drug bind in all places, fit the rates, and hold them against theory."""
    sites, number, ratios = dict(SITES), dict(REPLICATES), CONCENTRATIONS_KD
    if quick:
        ratios, sites[HELD_BACK] = CONCENTRATIONS_KD[::2], 200
        number = {CLAMPED: 12, USED_UP: 16, HELD_BACK: 8}
    cases = [(place, ratio) for place in PLACES for ratio in ratios]
    tasks = [
        (place, ratio, sites[place], seed, at * max(REPLICATES.values()) + r)
        for at, (place, ratio) in enumerate(cases)
        for r in range(number[place])
    ]
    runs = dose_response.series(rise, tasks, progress)
    curves = list[Rise]()
    for place, ratio in cases:
        mine = [r for r, task in zip(runs, tasks, strict=True) if task[:2] == (place, ratio)]
        curves.append(_curve(place, ratio, sites[place], np.array(mine)))
    clamped = [curve for curve in curves if curve.place == CLAMPED]
    koff, kon = time_course.line(np.array([c.nM for c in clamped]), [c.rate for c in clamped])
    return _result(Association(drug(), curves, koff, kon), sites, number)


def _curve(place: str, ratio: float, sites: int, runs: F64) -> Rise:
    synapse = scenario(place, ratio, sites)
    t = time_course.read_at(synapse, seconds(place, ratio), READINGS)
    expected, guess = law(place, ratio, sites, t), (line_per_s(ratio), ratio / (1 + ratio))
    (rate, _), _ = time_course.best(time_course.approach, t, expected, guess)
    measured, _ = time_course.fitted(time_course.approach, t, runs, (rate, expected[-1]))
    return Rise(
        place, ratio * drug().koff / drug().kon, t, runs.mean(axis=0),
        runs.std(axis=0, ddof=1) / np.sqrt(len(runs)), expected, measured, float(rate),
    )  # fmt: skip


SOURCES = {
    CLAMPED: "k_on C + k_off",
    USED_UP: "one exponential fitted to the master equation",
    HELD_BACK: "one exponential fitted to mean field with exact hops (SitesOnGrid)",
}


def _result(data: Association, sites: dict[str, int], number: dict[str, int]) -> Result:
    tests, checks = len(data.curves) + 2, list[Check]()
    for curve in data.curves:
        name = f"k_obs (1/s) at {curve.nM:.4g} nM, {curve.place}"
        checks.append(_check(name, curve.rate, curve.law_rate, SOURCES[curve.place], tests))
    kinetics = data.kinetics
    checks += [
        _check("slope (1/(nM s)), clamped", data.kon, kinetics.kon, "k_on", tests),
        _check("intercept (1/s), clamped", data.koff, kinetics.koff, "k_off", tests),
    ]
    rows = [
        [c.place, c.nM, c.rate.value, c.rate.se, c.rate.dof, c.law_rate,
         *time_course.student(c.rate, c.law_rate), kinetics.kon * c.nM + kinetics.koff]
        for c in data.curves
    ]  # fmt: skip
    names = "place concentration_nM k_obs_per_s se dof expected_per_s t p line_per_s"
    solved = ("k_obs_per_s", "se", "expected_per_s", "t", "p")
    rates = Table.of_rows("association", names, rows, solved)
    readings = [
        [c.place, c.nM, *row]
        for c in data.curves
        for row in zip(*(x.tolist() for x in (c.time_s, c.mean, c.se, c.law)), strict=True)
    ]
    names = "place concentration_nM time_s occupancy se expected"
    curves = Table.of_rows("curves", names, readings, ("expected",))
    record = pharmacology.ligand(DRUG)
    return Result(
        tables=[rates, curves, _line_table(data)],
        checks=checks,
        text=_text(data),
        verdict=_verdict(data, checks),
        scenario={
            "ligand": record.full_name, "kon_per_nM_s": kinetics.kon, "koff_per_s": kinetics.koff,
            "sites": sites, "replicates": number,
        },
        papers=[*record.sources(), "Hulme & Trevethick 2010, Br J Pharmacol 161:1219"],
        data=data,
    )  # fmt: skip


def _check(name: str, estimate: Estimate, law: float, source: str, tests: int) -> Check:
    return Check.by_student(
        name, estimate, law, source=source, false_alarm=FALSE_ALARM, tests=tests, solved=True
    )


def _line_table(data: Association) -> Table:
    rows = [
        [name, x.value, x.se, x.dof, *x.interval(), known, *time_course.student(x, known)]
        for name, x, known in (
            ("k_on, 1/(nM s)", data.kon, data.kinetics.kon),
            ("k_off, 1/s", data.koff, data.kinetics.koff),
        )
    ]
    names = "constant value se dof low_95 high_95 expected t p"
    solved = ("value", "se", "dof", "low_95", "high_95", "t", "p")
    return Table.of_rows("line", names, rows, solved)


def _text(data: Association) -> str:
    lines = [
        [c.place, f"{c.nM:.4g}", f"{c.rate.value:.4g} +- {c.rate.se:.2g}", f"{c.law_rate:.4g}",
         *time_course.student_words(c.rate, c.law_rate),
         f"{data.kinetics.kon * c.nM + data.kinetics.koff:.4g}"]
        for c in data.curves
    ]  # fmt: skip
    head = [f"{DRUG}", "nM", "k_obs (1/s)", "theory", "t", "dof", "p", "k_on C + k_off"]
    return f"{text_table(head, lines)}\n\n{time_course.STUDENT_NOTE}"


def _verdict(data: Association, checks: list[Check]) -> str:
    kon, koff, kinetics = data.kon, data.koff, data.kinetics
    answer = "come out" if all(check.passed for check in checks) else "are MISSED"
    low = data.of(USED_UP)[0]
    return (
        f"k_on and k_off {answer}: slope {kon.value:.4g} +- {kon.se:.2g} /(nM s) for"
        f" {kinetics.kon:g}, intercept {koff.value:.3g} +- {koff.se:.2g} /s for"
        f" {kinetics.koff:.3g}. Where the drug is used up, {low.nM:.3g} nM binds at"
        f" {low.rate.value:.3g} /s, {low.rate.value / (kinetics.kon * low.nM + kinetics.koff):.2g}"
        " times the line."
    )


def figure(result: Result) -> Figure:
    """The curves and their fits; the rates against concentration."""
    from synapse_abm import plotting

    return plotting.styled(_draw)(result.data)


def _draw(data: Association) -> Figure:
    from synapse_abm import plotting as plot

    kinetics = data.kinetics
    title = "Slope is k_on, intercept k_off, if sites neither use the drug up nor hold it back"
    fig, (left, right) = plot.panel_table(1, 2, 5.0, title)
    shown = data.of(CLAMPED)[:: max(1, len(data.of(CLAMPED)) // 3)]
    for look, curve in zip(plot.LOOKS, shown, strict=False):
        fine = np.linspace(0, curve.time_s[-1], 200)
        height = curve.nM * kinetics.kon / (curve.nM * kinetics.kon + kinetics.koff)
        rate = kinetics.kon * curve.nM + kinetics.koff
        left.plot(fine, time_course.approach(fine, np.array([rate, height])), color=look[0])
        half = _half(curve.se, curve.rate.dof)
        plot.measured(left, curve.time_s[::3], curve.mean[::3], half[::3], look, ms=5,
                      label=f"{curve.nM:.3g} nM")  # fmt: skip
    left.set_xlabel("time after adding the drug (s)")
    left.set_ylabel("SERT occupied, clamped")
    left.set_ylim(0, 1.0)
    left.set_xlim(left=0)
    plot.percent(left)
    left.legend(loc="upper right", borderaxespad=0)
    most = max(c.nM for c in data.curves)
    x = np.linspace(0, 1.05 * most, 50)
    right.plot(x, kinetics.kon * x + kinetics.koff, color=plot.LOOKS[0][0])
    names = {
        CLAMPED: "clamped (line:\nk_on C + k_off)", USED_UP: "used up", HELD_BACK: "held back",
    }  # fmt: skip
    for look, place in zip(plot.LOOKS, PLACES, strict=False):
        curves = data.of(place)
        nM = [c.nM for c in curves]
        half = np.array([(c.rate.interval()[1] - c.rate.interval()[0]) / 2 for c in curves])
        plot.measured(right, nM, [c.rate.value for c in curves], half, look, label=names[place])
        if place != CLAMPED:
            right.plot(nM, [c.law_rate for c in curves], color=look[0], lw=1.4, ls="--")
    right.set_xlim(0, 1.05 * most)
    right.set_ylim(bottom=0)
    right.set_xlabel(f"{DRUG} (nM)")
    right.set_ylabel("k_obs (1/s)")
    right.legend(loc="upper left", borderaxespad=0, title="points: 95 %", alignment="left")
    return fig


def _half(se: F64, dof: float) -> F64:
    return statistics.student_quantile(0.05, dof) * se


if __name__ == "__main__":
    from synapse_abm.cli import run_script

    run_script(__file__)
