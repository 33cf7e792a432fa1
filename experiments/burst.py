"""A burst of serotonin meets occupied transporters: it lasts longer, and pushes the drug off.

Question
    A burst of serotonin comes upon transporters (SERT) of which a drug occupies a share. How high
    is it, how long does it last, and how does that depend on occupancy? Does the burst, while it
    lasts, displace the drug?
Method
    The terminal of the neuron, well mixed: 1000 SERT in 41 um^3, k_cat 3/s, other clearance
    0.064/s. The drug is clamped at the concentration at which it occupies 0, 50, 80 or 90 %, and
    sits on as many sites at the start (``[start]``); then 4000 molecules of serotonin are added
    (``[[at]]``, 160 nM: about Km). Free serotonin and occupancy by the drug are read every 0.1 s.
    Citalopram, and at 80 % desvenlafaxine too, which lets go 33 times as often. Peak: largest
    reading; decay: time from there to 1/e of it, its error by the jackknife over replicates. Judge:
    mean field (``theory.UniformTissue``), an approximation: 400 replicates of 0, 80 and 90 % were
    at most 0.14 nM away from it, about a thousandth of the peak. Readings of a curve are
    correlated: with few replicates a whole stretch of it may lie outside its 95 % band by chance.
Expected answer
    The peak hardly changes: a burst comes faster than SERT takes it up. Decay at low levels goes
    with 1/(what is left of SERT's clearance, and the other), 5.7 times as long at 90 %; less at
    Km, where SERT is half saturated. Displacement: while serotonin holds the free sites, a drug
    that has let go finds none. A fast drug is displaced, towards D/(D + Kd (1 + S/Km)); citalopram
    leaves in minutes and hardly notices.
Run time
    About 5 s.
Source
    Gaddum 1937, J Physiol 89:7P (displacement at equilibrium). Constants of the terminal:
    ``synapse_abm/guide/neuron.md``; affinities: ``synapse-abm list --drugs``. The size of the burst
    is assumed: about 40 spikes' worth at once.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from synapse_abm import Scenario, pharmacology, statistics, theory
from synapse_abm.core.errors import InputError
from synapse_abm.core.progress import Progress
from synapse_abm.core.text import text_table
from synapse_abm.core.units import pair_rate_per_s
from synapse_abm.neuron.scenario import free_parameters, neuron
from synapse_abm.runs import dose_response, time_course
from synapse_abm.runs.results import Check, Result, Table
from synapse_abm.runs.time_course import F64
from synapse_abm.statistics import Estimate
from synapse_abm.synapse.engine.simulation import Simulation
from synapse_abm.synapse.scenario import Grid, Ligand, Target
from synapse_abm.synapse.scenario.parts import At, Start

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RELEASED = 4000  # molecules of serotonin, at once
GAP_S = 0.1  # between readings
SECONDS = {0.0: 8.0, 0.5: 12.0, 0.8: 20.0, 0.9: 30.0}  # by occupancy
FAST_DRUG, FAST_AT = "desvenlafaxine", 0.8
REPLICATES = 48
FALSE_ALARM = 1e-6  # over all checks together
#: A curve is judged where at least so many molecules are left on the mean: later few bursts have
#: any, and counts are far from normal.
LEAST_FREE = 40


@dataclass(frozen=True)
class Options:
    """Options of this experiment."""

    drug: str = "citalopram"
    """A drug that binds to SERT, or DRUG@SOURCE (see `list --drugs`)."""


@dataclass(frozen=True)
class Case:
    """A drug and the share of SERT that it occupies before the burst."""

    drug: str
    occupancy: float

    @property
    def label(self) -> str:
        """The drug as figures and sentences have it."""
        (label,) = dose_response.labels([self.drug])
        return label

    @property
    def name(self) -> str:
        """For tables."""
        return f"{100 * self.occupancy:.0f} % {self.label}" if self.occupancy else "no drug"


def concentration_nM(case: Case) -> float:
    """At which the drug occupies its share without serotonin."""
    kinetics = pharmacology.ligand(case.drug).kinetics("SERT")
    return kinetics.koff / kinetics.kon * case.occupancy / (1 - case.occupancy)


@functools.cache
def scenario(case: Case) -> Scenario:
    """The terminal with the drug on its sites, and the burst at time zero.

    One cell is exact at any step: a step a reading.
    """
    parameters = neuron()
    terminal = parameters.terminal
    loss = free_parameters(terminal, parameters.sert, parameters.rate_Hz).loss_per_s
    serotonin = Ligand(
        role="serotonin", degradation_per_s=loss, binding={"SERT": parameters.sert}
    )  # fmt: skip
    drug = Ligand(
        clamped_nM=concentration_nM(case),
        binding={"SERT": pharmacology.ligand(case.drug).kinetics("SERT")},
    )
    return Scenario(
        name="burst", grid=Grid.well_mixed(terminal.volume_um3), dt_s=GAP_S,
        targets={"SERT": Target(sites=terminal.transporters)},
        ligands={"serotonin": serotonin, "drug": drug},
        start=Start(bound={"SERT": {"drug": case.occupancy}}),
        at=(At(time_s=0.0, add={"serotonin": RELEASED}),),
    )  # fmt: skip


def burst(case: Case, seed: int, replicate: int) -> F64:
    """Free serotonin (nM) and occupancy by the drug at each reading, shape (2, readings)."""
    model = Simulation(scenario(case), seed, replicate)
    readings = round(SECONDS[case.occupancy] / GAP_S)
    series = model.run(readings, every=1)
    return np.stack([series.free_nM("serotonin"), series.occupancy("SERT", "drug")])


@functools.cache
def law(case: Case) -> F64:
    """The same by mean field."""
    synapse = scenario(case)
    grid, serotonin, drug = synapse.grid, synapse.ligands["serotonin"], synapse.ligands["drug"]
    sert, by_drug, sites = serotonin.binding["SERT"], drug.binding["SERT"], synapse.n_sites
    tissue = theory.UniformTissue(
        1, 1, 0.0, sites, pair_rate_per_s(sert.kon, grid.volume_um3), sert.koff, sert.kcat_per_s,
        serotonin.degradation_per_s, by_drug.kon * concentration_nM(case), by_drug.koff,
    )  # fmt: skip
    readings = round(SECONDS[case.occupancy] / GAP_S)
    free, _, held = tissue.course(GAP_S, readings, RELEASED, case.occupancy)
    return np.stack([free / grid.molecules_per_nM, held / sites])


@dataclass(frozen=True)
class Burst:
    """What the figure shows of a case: mean curves of serotonin (nM) and occupancy by the drug with
    standard errors, by theory, and what is read from them.

    ``displaced`` is by how much occupancy is below its start at the time of the deepest point by
    theory, ``deepest_s``.
    """

    case: Case
    time_s: F64
    mean: F64
    se: F64
    law: F64
    peak: Estimate
    decay: Estimate
    law_peak: float
    law_decay: float
    displaced: Estimate
    law_displaced: float
    deepest_s: float


def run(seed: int, quick: bool, progress: Progress, **options: Any) -> Result:
    """Release the burst upon each occupancy and hold it against mean field."""
    chosen = Options(**options)
    dose_response.inhibitor(chosen.drug, ["SERT"], "--drug")
    if chosen.drug.split("@")[0] == FAST_DRUG:
        allowed = f"another drug: {FAST_DRUG} is there to compare with"
        raise InputError("--drug", chosen.drug, allowed)
    cases = [*(Case(chosen.drug, share) for share in SECONDS), Case(FAST_DRUG, FAST_AT)]
    replicates = 12 if quick else REPLICATES
    tasks = [
        (case, seed, at * REPLICATES + r)
        for at, case in enumerate(cases)
        for r in range(replicates)
    ]
    groups = dose_response.replicated(burst, tasks, replicates, progress)
    bursts = [_burst(case, np.array(runs)) for case, runs in zip(cases, groups, strict=True)]
    return _result(bursts, replicates)


def _burst(case: Case, runs: F64) -> Burst:
    def shape(curve: F64) -> tuple[float, float]:
        return time_course.peak_and_decay(curve, GAP_S)

    theirs = law(case)
    peak, decay = time_course.jackknife(shape, runs[:, 0])
    law_peak, law_decay = shape(theirs[0])
    deepest = int(np.argmin(theirs[1]))
    return Burst(
        case, GAP_S * np.arange(1, runs.shape[-1] + 1), runs.mean(axis=0),
        runs.std(axis=0, ddof=1) / np.sqrt(len(runs)), theirs, peak, decay, law_peak, law_decay,
        statistics.from_replicates(case.occupancy - runs[:, 1, deepest]),
        case.occupancy - float(theirs[1, deepest]), (deepest + 1) * GAP_S,
    )  # fmt: skip


LAW = "mean field (UniformTissue)"


def _result(bursts: list[Burst], replicates: int) -> Result:
    known = scenario(bursts[0].case)
    dof, checks, tests = replicates - 1, list[Check](), 4 * len(bursts)

    def check(name: str, estimate: Estimate, law: float) -> None:
        checks.append(
            Check.by_student(
                name, estimate, law, source=LAW, false_alarm=FALSE_ALARM, tests=tests, solved=True
            )
        )

    for b in bursts:
        check(f"peak of serotonin (nM), {b.case.name}", b.peak, b.law_peak)
        check(f"decay of serotonin (s), {b.case.name}", b.decay, b.law_decay)
        if b.case.occupancy:
            name = f"share of SERT that lost the drug after {b.deepest_s:.3g} s, {b.case.name}"
            check(name, b.displaced, b.law_displaced)
        seen = b.law[0] * known.grid.molecules_per_nM >= LEAST_FREE
        points = zip(b.mean[0][seen].tolist(), b.se[0][seen].tolist(), strict=True)
        curve = [Estimate(m, s, dof) for m, s in points]
        checks.append(
            time_course.all_along(
                f"serotonin (nM), {b.case.name}", b.time_s[seen], curve, b.law[0][seen],
                source=LAW, false_alarm=FALSE_ALARM, tests=tests, solved=True,
            )
        )  # fmt: skip
    rows = [
        [b.case.drug, b.case.occupancy, b.peak.value, b.peak.se, b.law_peak, b.decay.value,
         b.decay.se, b.law_decay, b.decay.value / bursts[0].decay.value, b.deepest_s,
         b.displaced.value, b.displaced.se, b.law_displaced]
        for b in bursts
    ]  # fmt: skip
    names = (
        "drug occupancy peak_nM peak_se peak_expected_nM decay_s decay_se decay_expected_s"
        " decay_times deepest_s displaced displaced_se displaced_expected"
    )
    shapes = Table.of_rows("burst", names, rows, names.split()[2:])
    readings = [
        [b.case.drug, b.case.occupancy, *row]
        for b in bursts
        for row in zip(b.time_s.tolist(), *b.mean.tolist(), *b.se.tolist(), *b.law.tolist(),
                       strict=True)
    ]  # fmt: skip
    names = (
        "drug occupancy time_s serotonin_nM drug_occupancy serotonin_se drug_se"
        " serotonin_expected_nM drug_expected"
    )
    solved = ("serotonin_expected_nM", "drug_expected")
    records = [pharmacology.ligand(name) for name in (bursts[0].case.drug, FAST_DRUG)]
    return Result(
        tables=[shapes, Table.of_rows("curves", names, readings, solved)],
        checks=checks,
        text=_text(bursts),
        verdict=_verdict(bursts, checks),
        scenario={
            "drug": records[0].full_name, "fast_drug": records[1].full_name,
            "released": RELEASED, "sites": known.n_sites, "volume_um3": known.grid.volume_um3,
            "replicates": replicates,
        },
        papers=list(dict.fromkeys(
            [*(s for record in records for s in record.sources()), "Gaddum 1937, J Physiol 89:7P"]
        )),
        data=bursts,
    )  # fmt: skip


def _text(bursts: list[Burst]) -> str:
    lines = [
        [b.case.name, f"{b.peak.value:.4g}", f"{b.decay.value:.3g} +- {b.decay.se:.1g}",
         f"{b.law_decay:.3g}", f"{b.decay.value / bursts[0].decay.value:.2g}",
         f"{100 * b.displaced.value:.2f} +- {100 * b.displaced.se:.2f}" if b.case.occupancy else "",
         f"{100 * b.law_displaced:.2f}" if b.case.occupancy else "", f"{b.deepest_s:.3g}"]
        for b in bursts
    ]  # fmt: skip
    head = ["SERT occupied", "peak (nM)", "decay (s)", "theory", "times", "displaced (points)",
            "theory", "at (s)"]  # fmt: skip
    return text_table(head, lines)


def _verdict(bursts: list[Burst], checks: list[Check]) -> str:
    *_, most, fast = bursts
    slow = next(b for b in bursts if b.case.occupancy == FAST_AT)
    missed = [check.name for check in checks if not check.passed]
    answer = (
        f"NOT as mean field says: {'; '.join(missed)}"
        if missed
        else f"all {len(checks)} checks hold"
    )
    farthest = max(checks, key=lambda check: abs(check.z or 0.0))
    return (
        f"With {most.case.name} a burst lasts {most.decay.value / bursts[0].decay.value:.2g} times"
        f" as long, its peak is {most.peak.value / bursts[0].peak.value:.2f} times as high. It"
        f" pushes {100 * fast.displaced.value:.2g} points of {FAST_DRUG} off SERT,"
        f" {100 * slow.displaced.value:.2g} of {slow.case.label}. Mean field, an approximation, is"
        f" farthest from {farthest.name}: {farthest.value:.4g} +- {farthest.se:.2g} for"
        f" {farthest.expected:.4g}, t {farthest.z:+.2f} with {fast.peak.dof:.0f} degrees of"
        f" freedom; {answer} (false alarm 1e-6 over all checks)."
    )


def figure(result: Result) -> Figure:
    """Serotonin in time at each occupancy; the drug's occupancy while the burst lasts."""
    from synapse_abm import plotting

    return plotting.styled(_draw)(result.data)


def _draw(bursts: list[Burst]) -> Figure:
    from synapse_abm import plotting as plot

    *_, most, fast = bursts
    slow = next(b for b in bursts if b.case.occupancy == FAST_AT)
    times = most.decay.value / bursts[0].decay.value
    title = (
        f"At {100 * most.case.occupancy:.0f} % occupancy a burst lasts {times:.2g} times as long"
    )
    fig, (left, right) = plot.panel_table(1, 2, 5.0, title)
    for look, b in zip(plot.LOOKS, bursts[:-1], strict=False):
        wide = statistics.student_quantile(0.05, b.peak.dof)
        plot.band(
            left,
            b.time_s,
            b.mean[0],
            wide * b.se[0],
            look[0],
            label=f"{100 * b.case.occupancy:.0f} %",
        )
        left.plot(b.time_s, b.law[0], color=plot.BLACK, lw=1.0, ls="--")
    left.set_xlabel("time after the burst (s)")
    left.set_ylabel("free serotonin (nM)")
    left.set_ylim(bottom=0)
    left.set_xlim(0, 20)
    left.legend(title=f"SERT occupied\nby {bursts[0].case.label}", loc="upper right")
    for look, b in ((plot.LOOKS[2], slow), (plot.LOOKS[4], fast)):
        wide = statistics.student_quantile(0.05, b.peak.dof)
        points = 100 * np.stack([b.mean[1] - b.case.occupancy, wide * b.se[1]])
        plot.band(right, b.time_s, *points, look[0], label=b.case.label)
        right.plot(b.time_s, 100 * (b.law[1] - b.case.occupancy), color=plot.BLACK, lw=1.0, ls="--")
    plot.reference(right, 0.0)
    right.set_xlabel("time after the burst (s)")
    right.set_ylabel(f"change of occupancy from {100 * FAST_AT:.0f} % (points)")
    right.set_xlim(0, SECONDS[FAST_AT])
    right.plot(
        [], [], color=plot.BLACK, lw=1.0, ls="--", label="theory (bands: 95 %\nat each reading)"
    )
    right.legend(loc="lower right")
    return fig


if __name__ == "__main__":
    from synapse_abm.cli import run_script

    run_script(__file__)
