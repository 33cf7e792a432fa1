"""Weeks by windows: bridges to brute force and mean field, bands, resume, and what is refused."""

from __future__ import annotations

import functools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.linalg import expm

from synapse_abm import pharmacology
from synapse_abm.errors import InputError, InputErrors
from synapse_abm.neuron.baseline import Calibration, calibrate
from synapse_abm.neuron.parameters import DAY_S, neuron
from synapse_abm.neuron.simulation import Drug, NeuronSimulation
from synapse_abm.neuron.treatment import (
    QUANTITIES,
    Course,
    CourseError,
    Treatment,
    acting,
    advanced,
    constant,
    exponential_action,
    ramp,
    step_edges_s,
    stopped,
)
from synapse_abm.statistics import student_quantile

IT = neuron()
_RATES = pharmacology.ligand("citalopram").kinetics("SERT")
KD = _RATES.koff / _RATES.kon
DOSE_85 = KD * 0.85 / 0.15


@functools.cache
def rest() -> Calibration:
    return calibrate(IT, 1)


def treatment(**changes: Any) -> Treatment:
    given = {"it": IT, "concentration_nM": constant(DOSE_85), "windows": 30, "replicates": 4,
             "window_s": 10}  # fmt: skip
    return Treatment(**given | changes)


def test_without_a_drug_nothing_changes() -> None:
    course = Course(treatment(concentration_nM=constant(0.0), replicates=8), rest()).run()
    limit = student_quantile(1e-6, 7, tests=4)
    for name, expected in (("rate_Hz", 1.0), ("terminal_nM", 5.0), ("coupling", 1.0),
                           ("plasticity", 0.0)):  # fmt: skip
        by_replicate = course.values[:, :, QUANTITIES.index(name)].mean(axis=0)
        se = max(by_replicate.std(ddof=1) / math.sqrt(8), 1e-3)
        assert abs(by_replicate.mean() - expected) < limit * se, name
        assert by_replicate.mean() == pytest.approx(expected, abs=0.04 * max(expected, 0.5)), name


def test_six_weeks_follow_the_twin_within_the_stated_departure() -> None:
    """Short form of the course of six weeks; the full one is slow."""
    course = Course(treatment(), rest()).run()
    for name, most in (("rate_Hz", 0.05), ("terminal_nM", 0.06), ("soma_nM", 0.05),
                       ("coupling", 0.04), ("creb", 0.06), ("plasticity", 0.05)):  # fmt: skip
        assert course.departure(name) < most, name
    assert course.mean("terminal_occupancy") == pytest.approx(0.835, abs=0.03)
    rate = course.mean("rate_Hz")
    assert rate[:5].mean() < 0.65 < 0.85 < rate[-5:].mean()
    columns = course.table().columns
    assert {"rate_Hz_se", "rate_Hz_mean_field"} <= set(columns)


@pytest.mark.parametrize("at", [1, 13])
def test_a_resumed_course_is_the_whole_one_to_the_bit(at: int, tmp_path: Path) -> None:
    plan = treatment(concentration_nM=stopped(DOSE_85, 20), breaks_days=(20.0,), windows=20,
                     rival="WAY-100635", rival_nM=ramp(4.4, 30))  # fmt: skip
    whole = Course(plan, rest()).run()
    Course(plan, rest()).run(at).save(tmp_path / "course")
    resumed = Course.resume(plan, tmp_path / "course", rest()).run()
    assert resumed.table().csv() == whole.table().csv()
    assert all((a == b).all() for n, m in zip(resumed.neurons, whole.neurons, strict=True)
               for a, b in zip(n.state, m.state, strict=True))  # fmt: skip
    with pytest.raises(CourseError, match="another treatment"):
        Course.resume(treatment(windows=20), tmp_path / "course", rest())
    (tmp_path / "course").write_bytes(b"nothing")
    with pytest.raises(CourseError, match="cannot be read"):
        Course.resume(plan, tmp_path / "course", rest())


def test_steps_meet_the_jumps_and_the_hours() -> None:
    plan = treatment(concentration_nM=stopped(DOSE_85, 20), breaks_days=(20.0,), windows=150)
    days = step_edges_s(plan) / DAY_S
    assert days.size == 151 and days[0] == 0.0 and days[-1] == pytest.approx(42.0)
    assert (np.diff(days) > 0).all()
    assert 20.0 in days
    assert (days < 0.25).sum() >= 10
    assert np.diff(days).max() < 1.5


def test_slow_variables_move_by_the_exact_exponential() -> None:
    it = neuron(creb_days=5.0, bdnf_days=5.0)  # equal rates too
    slow, inputs = np.array([0.7, 1.0, 0.9, 0.1, 0.2, 0.05]), np.array([0.4, 0.1, 0.8, 0.6])
    one = advanced(it, slow, inputs, 3 * DAY_S)
    many = slow
    for _ in range(30):
        many = advanced(it, many, inputs, 0.1 * DAY_S)
    assert one == pytest.approx(many, rel=1e-12)
    assert one[0] == pytest.approx(0.4 + 0.3 * math.exp(-3 / 7))
    matrix = np.random.default_rng(1).normal(size=(4, 4))
    assert exponential_action(matrix, slow[:4]) == pytest.approx(expm(matrix) @ slow[:4])


def brute_force(it: Any, replicate: int, minutes: int, calibration: Calibration) -> np.ndarray:
    """Coupling and plasticity after each minute of a slow clock that runs on with the fast one."""
    speed = 42 * DAY_S / (60 * minutes)
    plan = treatment(it=it)
    drug = Drug(pharmacology.ligand("citalopram").kinetics("SERT"))
    sim = NeuronSimulation(it, 5, replicate, baseline=calibration.baseline, inhibitor=drug)
    course = Course.__new__(Course)
    course.treatment, course.calibration = plan, calibration
    exposure = acting(plan)(0.0)
    slow, found = np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0]), []
    sim.set(exposure)
    sim.block(exposure)
    sim.run(60)
    names = {"coupling_target": 11, "hill": 12, "sensitivity_target": 13, "rate_Hz": 14}
    for second in range(60 * minutes):
        sim.set(exposure, slow[0], slow[1], slow[2])
        means = sim.run(1)[0]
        read = {name: float(means[column]) for name, column in names.items()}
        slow = advanced(it, slow, course._targets(read), speed)
        if second % 60 == 59:
            found.append(slow[[0, 5]])
    return np.array(found)


def bridge(replicates: int, minutes: int, windows: int, own: Calibration | None = None) -> float:
    """Largest departure of windows from brute force, in standard errors, of coupling and index at
    every minute.
    """
    brute = np.array([brute_force(IT, 100 + r, minutes, rest()) for r in range(replicates)])
    plan = treatment(windows=windows, replicates=replicates, seed=2)
    course = Course(plan, own or rest()).run()
    worst, times = 0.0, np.arange(1, minutes + 1) * 42 / minutes
    for column, name in enumerate(("coupling", "plasticity")):
        mine = course.values[:, :, QUANTITIES.index(name)]
        at = np.array([np.interp(times[1:-1], course.day, mine[:, r])
                       for r in range(replicates)])  # fmt: skip
        there = brute[:, 1:-1, column]
        se = np.sqrt((at.var(axis=0, ddof=1) + there.var(axis=0, ddof=1)) / replicates)
        off = np.abs(at.mean(axis=0) - there.mean(axis=0))
        worst = max(worst, float((off / se).max()))
    return worst


def test_windows_agree_with_brute_force() -> None:
    """The slow clock sped up to 20 minutes; simultaneous over 36 readings (Bonferroni)."""
    assert bridge(8, 20, 30) < student_quantile(1e-6, 14, tests=36)


def test_the_bridge_notices_averages_taken_without_their_rest() -> None:
    """Coupling driven by its raw target falls 5 % too far; the same limit catches it."""
    raw = replace(rest(), baseline=replace(rest().baseline, coupling=1.0))
    assert bridge(8, 20, 30, raw) > student_quantile(1e-6, 14, tests=36)


@pytest.mark.slow
def test_windows_agree_with_brute_force_over_32_replicates() -> None:
    """Within the simultaneous 95 % band (measured: 2.8 of 3.4 standard errors)."""
    assert bridge(32, 20, 150) < student_quantile(0.05, 62, tests=36)


@pytest.mark.slow
def test_bands_cover_as_often_as_they_say() -> None:
    """95 % bands of 200 short courses against their common mean: binomial, false alarm 1e-3."""
    from scipy.stats import binom

    runs = [
        Course(treatment(days=3.0, windows=6, replicates=4, seed=s), rest()).run()
        for s in range(200)
    ]
    for name in ("rate_Hz", "terminal_nM", "coupling"):
        means = np.array([run.mean(name)[-1] for run in runs])
        halves = np.array([run.half_band(name)[-1] for run in runs])
        covered = int((np.abs(means - means.mean()) < halves).sum())
        low, high = binom.ppf([5e-4, 1 - 5e-4], 200, 0.95)
        assert low <= covered <= high, (name, covered)


@pytest.mark.slow
def test_six_weeks_reach_the_precision_asked_for() -> None:
    course = Course(treatment(windows=150, replicates=8, window_s=15), rest()).run()
    for name in ("terminal_occupancy", "soma_occupancy", "receptor_occupancy"):
        assert np.quantile(course.se(name), 0.99) <= 0.01
    for name in ("terminal_nM", "soma_nM"):
        assert np.quantile(course.se(name) / course.mean(name), 0.99) <= 0.05


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(InputErrors) as caught:
        treatment(
            concentration_nM=lambda t: -1.0 if t > 10 * DAY_S else 1.0,
            rival="citalopram", rival_nM=lambda t: math.nan if t > 5 * DAY_S else 0.0,
            windows=0, where=("dendrite",), transporters=-0.1,
        )  # fmt: skip
    names = [fault.name for fault in caught.value.faults]
    assert names == ["windows", "transporters", "where", "rival", "concentration_nM at day 10.02",
                     "rival_nM at day 5.019"]  # fmt: skip


def test_a_drug_must_bind_and_a_long_course_is_announced() -> None:
    with pytest.raises(InputError, match="affinity at SERT"):
        treatment(drug="WAY-100635")
    with pytest.raises(InputError, match="stays outside"):
        treatment(drug="serotonin")
    assert treatment().announcement == ""
    assert "min on one core" in treatment(window_s=600, windows=2000).announcement
