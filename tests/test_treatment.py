"""Weeks by windows: bridges to brute force and mean field, bands, resume, and what is refused."""

from __future__ import annotations

import functools
import math
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from scipy.linalg import expm

from synapse_abm import pharmacology
from synapse_abm.core.errors import InputError, InputErrors
from synapse_abm.neuron.calibration import Calibration, calibrate
from synapse_abm.neuron.engine.simulation import COLUMNS, NeuronSimulation
from synapse_abm.neuron.meanfield.ode import Setting, response_at, settled
from synapse_abm.neuron.scenario import DAY_S, Drug, Exposure, neuron
from synapse_abm.neuron.slow import advanced, chain_after, slow_inputs
from synapse_abm.pharmacology.kinetics import Kinetics
from synapse_abm.statistics import normal_quantile, student_quantile
from synapse_abm.treatment.course import QUANTITIES, Course, step_edges_s
from synapse_abm.treatment.treatment import Treatment, acting, constant, ramp, stopped
from synapse_abm.treatment.treatment import treatment as of_values

IT = neuron()
_RATES = pharmacology.ligand("citalopram").kinetics("SERT")
KD = _RATES.koff / _RATES.kon
DOSE_85 = KD * 0.85 / 0.15


@functools.cache
def rest() -> Calibration:
    return calibrate(IT, 1)


def treatment(**changes: Any) -> Treatment:
    given = {"neuron": IT, "concentration_nM": constant(DOSE_85), "windows": 30, "replicates": 4,
             "window_s": 10}  # fmt: skip
    return Treatment(**given | changes)


def test_without_a_drug_nothing_changes() -> None:
    plan = treatment(concentration_nM=constant(0.0), windows=8, replicates=8)
    course = Course(plan, rest()).run()
    limit = student_quantile(1e-6, 7, tests=4)
    for name, expected in (("rate_Hz", 1.0), ("terminal_nM", 5.0), ("sensitivity", 1.0),
                           ("plasticity", 0.0)):  # fmt: skip
        by_replicate = course.values[:, :, QUANTITIES.index(name)].mean(axis=0)
        se = max(by_replicate.std(ddof=1) / math.sqrt(8), 1e-3)
        assert abs(by_replicate.mean() - expected) < limit * se, name
        assert by_replicate.mean() == pytest.approx(expected, abs=0.04 * max(expected, 0.5)), name


STATED = ("rate_Hz", "terminal_nM", "soma_nM", "sensitivity", "creb", "plasticity")
NEXT_ORDER = 0.15  # of the stated departure: what the theory leaves out


def departures(course: Course) -> dict[str, tuple[float, float, float]]:
    """Of the average over six weeks: found, its standard error, and what theory states.

    The error is that of the neurons, and of the baseline that is common to them.
    """
    noisy, off, results = (
        course.theory,
        course.calibration.off,
        dict[str, tuple[float, float, float]](),
    )
    common = {"rate_Hz": off[0], "terminal_nM": off[1], "soma_nM": off[2], "sensitivity": 0.0015,
              "creb": 2 * off[1], "plasticity": 2 * off[1]}  # fmt: skip
    for name in STATED:
        solution = course.mean_field[name].mean(axis=1)
        each = (course.values[:, :, QUANTITIES.index(name)] - solution[:, None]).mean(axis=0)
        se = each.std(ddof=1) / math.sqrt(each.size)
        stated = float((noisy[name] - solution)[1:].mean())  # the first window is still settling
        results[name] = float(each.mean()), math.hypot(se, common[name] * solution.mean()), stated
    return results


@pytest.mark.slow
def test_six_weeks_depart_from_the_twin_by_what_theory_states() -> None:
    """Short form of the course of six weeks; the control: no departure at all is refuted."""
    course = Course(treatment(windows=16, replicates=12), rest()).run()
    limit = student_quantile(1e-6, 11, tests=len(STATED))
    results = departures(course)
    for name, (off, se, stated) in results.items():
        assert abs(off - stated) < limit * se + NEXT_ORDER * abs(stated), (name, results[name])
    off, se, _ = results["sensitivity"]
    assert off > student_quantile(1e-3, 11) * se
    assert course.departure("sensitivity") == pytest.approx(0.021, abs=0.006)
    assert course.mean("terminal_occupancy") == pytest.approx(0.835, abs=0.03)
    rate = course.mean("rate_Hz")
    assert rate[:3].mean() < 0.65 < 0.85 < rate[-3:].mean()
    columns = course.table().columns
    assert {"rate_Hz_se", "rate_Hz_mean_field"} <= set(columns)


@pytest.mark.slow
def test_the_whole_six_weeks_depart_by_what_theory_states() -> None:
    course = Course(treatment(windows=150, replicates=16, window_s=15, seed=4), rest()).run()
    limit = student_quantile(1e-3, 15, tests=len(STATED))
    for name, (off, se, stated) in departures(course).items():
        assert abs(off - stated) < limit * se + NEXT_ORDER * abs(stated), (name, off, se, stated)
        if name == "sensitivity":  # the control: mean field alone is refuted
            assert off > 2 * limit * se


def test_steps_meet_the_jumps_and_the_hours() -> None:
    plan = treatment(concentration_nM=stopped(DOSE_85, 20), breaks_days=(20.0,), windows=150)
    days = step_edges_s(plan) / DAY_S
    assert days.size == 151 and days[0] == 0.0 and days[-1] == pytest.approx(42.0)
    assert (np.diff(days) > 0).all()
    assert 20.0 in days
    assert (days < 0.25).sum() >= 10
    assert np.diff(days).max() < 1.5


def test_slow_variables_move_by_the_exact_exponential() -> None:
    parameters = neuron(creb_days=5.0, bdnf_days=5.0)  # equal rates too
    slow, inputs = np.array([0.7, 1.0, 0.9, 0.1, 0.2, 0.05]), np.array([0.4, 0.1, 0.8, 0.6])
    one = advanced(parameters, slow, inputs, 3 * DAY_S)
    many = slow
    for _ in range(30):
        many = advanced(parameters, many, inputs, 0.1 * DAY_S)
    assert one == pytest.approx(many, rel=1e-12)
    both = advanced(parameters, np.stack([slow, 2 * slow]), np.stack([inputs, inputs]), 3 * DAY_S)
    assert both[0] == pytest.approx(one, rel=1e-14)
    assert both[1] == pytest.approx(advanced(parameters, 2 * slow, inputs, 3 * DAY_S), rel=1e-14)
    assert one[0] == pytest.approx(0.4 + 0.3 * math.exp(-3 / 7))
    turns = np.array([2.0, 0.3, 0.3])
    chain = np.diag([0.0, *-turns]) + np.diag(turns, -1)
    levels = np.array([0.6, 0.1, 0.2, 0.05])
    assert chain_after(levels, turns) == pytest.approx((expm(chain) @ levels)[1:], rel=1e-14)


@pytest.mark.slow
def test_the_spikes_explain_a_window_without_bias() -> None:
    """Serotonin and receptors of 300 windows, with and without the control variate.

    The excess of spikes averages to nothing, so the mean stays; the variance falls as theory says.
    The control: dividing by the spikes that came, instead, is biased, as firing feeds back on them.
    """
    exposure = Exposure.of_occupancy(0.85)
    sim = NeuronSimulation(IT, 21, inhibitor=Drug(Kinetics(kd_nM=1.0, koff_per_s=0.5)))
    sim.set(exposure)
    sim.run(200)
    record = sim.run(300 * 15)
    limit = student_quantile(1e-6, 299, tests=6)

    def mean_z(x: np.ndarray) -> float:
        return abs(float(x.mean())) / float(x.std(ddof=1)) * math.sqrt(x.size)

    response = response_at(Setting(IT, exposure), settled(Setting(IT, exposure)))
    for seconds in (15, 1):
        windows = record.reshape(-1, seconds, len(COLUMNS)).mean(axis=1)
        spikes, rate = (windows[:, COLUMNS.index(n)] for n in ("spikes", "rate_Hz"))
        excess = spikes - IT.spike_trains * rate
        assert mean_z(excess) < limit
        for column, at, place in (("terminal_free", 1, IT.terminal), ("soma_free", 2, IT.soma)):
            raw = windows[:, COLUMNS.index(column)] / place.molecules_per_nM
            cut = raw - response[at] * excess
            assert mean_z(cut - raw) < limit
            if seconds == 15:
                assert cut.var(ddof=1) < 0.75 * raw.var(ddof=1)
    divided = raw * spikes.mean() / np.maximum(spikes, 1 / seconds)
    assert mean_z(divided - raw) > limit


def brute_force(neuron: Any, replicate: int, minutes: int, calibration: Calibration) -> np.ndarray:
    """Sensitivity and plasticity after each minute; the slow clock runs on with the fast one."""
    speed = 42 * DAY_S / (60 * minutes)
    drug = Drug(pharmacology.ligand("citalopram").kinetics("SERT"))
    sim = NeuronSimulation(neuron, 5, replicate, baseline=calibration.baseline, inhibitor=drug)
    exposure = acting(treatment(neuron=neuron))(0.0)
    slow, minutely = np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0]), []
    sim.set(exposure)
    sim.block(exposure)
    sim.run(60)
    names = {"sensitivity_target": 11, "hill": 12, "postsynaptic_target": 13, "rate_Hz": 14}
    for second in range(60 * minutes):
        sim.set(exposure, slow[0], slow[1], slow[2])
        means = sim.run(1)[0]
        read = {name: float(means[column]) for name, column in names.items()}
        slow = advanced(neuron, slow, slow_inputs(neuron, calibration.baseline, read), speed)
        if second % 60 == 59:
            minutely.append(slow[[0, 5]])
    return np.array(minutely)


def exactly(own: Calibration) -> Calibration:
    """A calibration whose neurons all start from the same baseline."""
    return replace(own, scatter=((0.0,) * 8,) * 16)


def bridge(brute: np.ndarray, windows: int, own: Calibration) -> float:
    """Largest departure of windows from brute force, in standard errors, of sensitivity and
    plasticity at every minute. What is uncertain about the baseline is common to both: left out.
    """
    replicates, minutes, _ = brute.shape
    own = exactly(own)
    course = Course(treatment(windows=windows, replicates=replicates, seed=2), own).run()
    worst, times = 0.0, np.arange(1, minutes + 1) * 42 / minutes
    for column, name in enumerate(("sensitivity", "plasticity")):
        mine = course.values[:, :, QUANTITIES.index(name)]
        at = np.array([np.interp(times[1:-1], course.day, mine[:, r])
                       for r in range(replicates)])  # fmt: skip
        there = brute[:, 1:-1, column]
        se = np.sqrt((at.var(axis=0, ddof=1) + there.var(axis=0, ddof=1)) / replicates)
        off = np.abs(at.mean(axis=0) - there.mean(axis=0))
        worst = max(worst, float((off / se).max()))
    return worst


def brute_forces(replicates: int, minutes: int) -> np.ndarray:
    """Independent neurons, shape (replicates, minutes, 2)."""
    return np.array([brute_force(IT, 100 + r, minutes, rest()) for r in range(replicates)])


@pytest.mark.slow
def test_windows_agree_with_brute_force() -> None:
    """The slow clock sped up to 20 minutes; simultaneous over 36 readings (Bonferroni), with one
    false alarm in 10**6.

    The control: sensitivity driven by its raw target, as if noise did not shift it, falls 5 % too
    far, which the same limit catches.
    """
    brute, limit = brute_forces(8, 20), student_quantile(1e-6, 14, tests=36)
    assert bridge(brute, 30, rest()) < limit
    raw = replace(rest(), baseline=replace(rest().baseline, sensitivity=1.0))
    assert bridge(brute, 30, raw) > limit


@pytest.mark.slow
def test_windows_agree_with_brute_force_over_32_replicates() -> None:
    """Within the simultaneous 95 % band."""
    brute = brute_forces(32, 20)
    assert bridge(brute, 150, rest()) < student_quantile(0.05, 62, tests=36)


SHORT_COURSES = 200


@functools.cache
def short_courses() -> np.ndarray:
    """Values of independent short courses, (courses, windows, replicates, quantities), each with a
    calibration of its own.
    """
    return np.array([
        Course(
            treatment(days=3.0, windows=6, replicates=4, seed=s), calibrate(IT, s, 1600)
        ).run().values
        for s in range(SHORT_COURSES)
    ])  # fmt: skip


def covered(name: str, window: int, quantile: float, pooled: int = 1, common: bool = False) -> int:
    """In how many courses the band holds the common mean; ``pooled`` windows are taken for
    independent ones, which they are not.
    """
    values = short_courses()[:, :, :, QUANTITIES.index(name)]
    off = values - values.mean(axis=(0, 2), keepdims=True)
    each = off[:, window + 1 - pooled : window + 1].reshape(SHORT_COURSES, -1)
    halves = quantile * each.std(axis=1, ddof=1) / math.sqrt(each.shape[1])
    return int((np.abs(each.mean(axis=1)) < halves).sum())


@pytest.mark.slow
def test_bands_cover_as_often_as_they_say() -> None:
    """95 % bands of 200 short courses against their common mean, of every quantity that varies in
    an early, a middle and the last window: each binomial, family-wise false alarm 1e-3. Each course
    has a baseline of its own, found by a short run, so what is uncertain about it counts. The
    controls: a normal quantile for Student's, and windows pooled as if they were independent.
    """
    from scipy.stats import binom

    names = [n for n in QUANTITIES if n not in ("concentration_nM", "drive", "postsynaptic")]
    tests = len(names) * 3
    low, high = binom.ppf([5e-4 / tests, 1 - 5e-4 / tests], SHORT_COURSES, 0.95)
    student = student_quantile(0.05, 3)
    for name in names:
        for window in (1, 3, 5):
            results = covered(name, window, student)
            assert low <= results <= high, (name, window, results)
    assert covered("terminal_nM", 5, normal_quantile(0.05)) < low
    assert covered("plasticity", 5, student_quantile(0.05, 11), pooled=3) < low


@pytest.mark.slow
def test_six_weeks_reach_the_precision_asked_for() -> None:
    """At every window; errors estimated from eight neurons scatter by a quarter, and still do."""
    course = Course(treatment(windows=150, replicates=8, window_s=15), rest()).run()
    for name in ("terminal_occupancy", "soma_occupancy", "receptor_occupancy"):
        assert course.se(name).max() <= 0.01, name
    for name in ("terminal_nM", "soma_nM"):
        assert (course.se(name) / course.mean(name)).max() <= 0.05, name


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(InputErrors) as caught:
        treatment(
            concentration_nM=lambda t: -1.0 if t > 10 * DAY_S else 1.0,
            antagonist="citalopram", antagonist_nM=lambda t: math.nan if t > 5 * DAY_S else 0.0,
            windows=0, reach="dendrite", transporters=-0.1,
        )  # fmt: skip
    names = [fault.name for fault in caught.value.faults]
    assert names == ["windows", "transporters", "reach", "antagonist",
                     "concentration_nM at day 10.02", "antagonist_nM at day 5.019"]  # fmt: skip


def test_what_is_no_number_and_no_function_is_told_too() -> None:
    with pytest.raises(InputErrors) as caught:
        Treatment(
            {}, 7.0, reach=("soma",), transporters="1", windows="3", mao=None, breaks_days=(1.0,),  # type: ignore[arg-type]
        )  # fmt: skip
    names = [fault.name for fault in caught.value.faults]
    assert names == ["neuron", "windows", "transporters", "reach", "concentration_nM", "mao"]
    with pytest.raises(InputError, match="days = '3'"):
        treatment(days="3")
    twice = treatment(breaks_days=(5.0, 5.0), days=10.0, windows=4)
    assert (step_edges_s(twice) / DAY_S == 5.0).sum() == 1


def test_doses_check_themselves_and_days_are_numbers() -> None:
    for make in (
        lambda: stopped(5, math.nan), lambda: stopped(5, "x"), lambda: constant(1e300),  # type: ignore[arg-type]
        lambda: ramp(5, 0), lambda: treatment(days=Decimal(3)), lambda: treatment(days=np.ones(2)),
        lambda: treatment(breaks_days=3.0), lambda: treatment(seed=-1),
        lambda: treatment(feedback=2),
    ):  # fmt: skip
        with pytest.raises(InputError, match=r"^(day|nM|days|breaks_days|seed|feedback) = "):
            make()
    assert treatment(days=np.int64(3), windows=np.int32(9)).days == 3.0


def test_faults_of_the_neuron_are_told_with_those_of_its_treatment() -> None:
    with pytest.raises(InputErrors) as caught:
        of_values(
            {"spike_trains": 0, "desensitisation_days": 0.0, "soma": {"mao_ratio": -1.0}},
            lambda t: math.nan, antagonist="sertraline", windows=1,
        )  # fmt: skip
    names = [fault.name for fault in caught.value.faults]
    assert names == ["spike_trains", "desensitisation_days", "soma.mao_ratio", "windows",
                     "antagonist", "concentration_nM at day 0"]  # fmt: skip
    with pytest.raises(InputErrors) as caught:
        of_values({"terminal": {"mao_ratio": 0.01}, "soma": {"transporters": 0}}, lambda t: -1.0)
    assert len(caught.value.faults) == 3
    assert of_values({"spike_trains": 5}, constant(1.0), windows=7).neuron.spike_trains == 5


def test_a_drug_must_bind_and_a_long_course_is_announced() -> None:
    with pytest.raises(InputError, match="affinity at SERT"):
        treatment(drug="WAY-100635")
    with pytest.raises(InputError, match="stays outside"):
        treatment(drug="serotonin")
    assert treatment().announcement == ""
    assert "min on one core" in treatment(window_s=600, windows=2000).announcement
