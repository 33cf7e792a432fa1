"""A course that is interrupted, saved, damaged, resumed in another process; and daily doses."""

from __future__ import annotations

import dataclasses
import functools
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synapse_abm import pharmacology
from synapse_abm.core.errors import InputError, InputErrors
from synapse_abm.neuron.calibration import Calibration, calibrate, seconds_of_stage
from synapse_abm.neuron.engine.simulation import NeuronSimulation
from synapse_abm.neuron.meanfield.lna import events_per_s
from synapse_abm.neuron.meanfield.ode import Setting, Unbinding
from synapse_abm.neuron.meanfield.ode import course as mean_field_course
from synapse_abm.neuron.scenario import DAY_S, neuron
from synapse_abm.statistics import student_quantile
from synapse_abm.treatment import course as course_module
from synapse_abm.treatment import treatment as treatment_module
from synapse_abm.treatment.course import QUANTITIES, Course, CourseError, step_edges_s
from synapse_abm.treatment.treatment import Treatment, acting, constant, stopped

KD = 1.2  # citalopram at SERT, nM
HALF_LIFE_H = 35.0


def daily(t_s: float) -> float:
    """Once a day, at once, then washed out with a half-life of 35 h: steady from the start."""
    gone = math.log(2) * (t_s % DAY_S) / 3600 / HALF_LIFE_H
    return 8.0 * math.exp(-gone)


@functools.cache
def plan() -> Treatment:
    return Treatment(
        neuron(), stopped(7.0, 4), breaks_days=(4.0,), antagonist="WAY-100635",
        antagonist_nM=constant(2.0), days=8.0, windows=12, replicates=2, window_s=5,
    )  # fmt: skip


def rest() -> Calibration:
    return calibrate(neuron(), 1, 300)


_SOLVED: dict[tuple[int, bytes, float], tuple[Treatment, dict[str, np.ndarray]]] = {}


@pytest.fixture(autouse=True, scope="module")
def _mean_field_of_a_plan_is_solved_once() -> Iterator[None]:
    """Twenty courses of one plan are made here; solving takes longer than their windows."""
    solve = treatment_module.mean_field

    def solved(plan: Treatment, times_s: Any, rtol: float = 1e-8) -> dict[str, np.ndarray]:
        key = id(plan), np.asarray(times_s).tobytes(), rtol
        if key not in _SOLVED:
            _SOLVED[key] = plan, solve(plan, times_s, rtol)  # the plan too, so that its id stays
        return _SOLVED[key][1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(course_module, "mean_field", solved)
        yield


@pytest.fixture(scope="module")
def whole() -> bytes:
    return Course(plan(), rest()).run().table().csv()


CONTINUE = """
import sys
sys.path.insert(0, {tests!r})
from test_course_kept import Course, plan, rest
for path in sys.argv[1:]:
    course = Course.resume(plan(), path, rest()).run(save_to=path)
    sys.stdout.buffer.write(course.table().csv())
"""


@pytest.mark.slow
def test_a_new_process_goes_on_bit_for_bit_from_any_cut(tmp_path: Path, whole: bytes) -> None:
    files = []
    for cut in (0, 7, 11):
        files.append(str(tmp_path / f"cut{cut}"))
        Course(plan(), rest()).run(cut).save(files[-1])
    script = CONTINUE.format(tests=str(Path(__file__).parent))
    done = subprocess.run([sys.executable, "-c", script, *files], capture_output=True, check=True)
    assert done.stdout == whole * len(files)
    saved = Course.resume(plan(), files[1], rest())
    assert saved.done == 12 and saved.table().csv() == whole


class _Stopped:
    """Ctrl-C in the middle of a window: at the n-th run of a neuron."""

    def __init__(self, n: int, run: Any) -> None:
        self.left, self.run = n, run

    def __call__(self, parameters: NeuronSimulation, steps: int) -> Any:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
        return self.run(parameters, steps)


@pytest.mark.parametrize("at", [2, 19])
def test_ctrl_c_within_a_window_loses_that_window_only(
    at: int, tmp_path: Path, whole: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    course, stop = Course(plan(), rest()), _Stopped(at, NeuronSimulation.run)
    with monkeypatch.context() as patch:
        patch.setattr(NeuronSimulation, "run", lambda self, steps: stop(self, steps))
        with pytest.raises(KeyboardInterrupt):
            course.run(save_to=tmp_path / "course")
    resumed = Course.resume(plan(), tmp_path / "course", rest())
    assert resumed.done == (at - 1) // 4  # two runs per neuron and window
    assert resumed.run().table().csv() == whole


def test_a_window_that_is_not_undone_would_show(
    tmp_path: Path, whole: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the test above."""
    course, stop = Course(plan(), rest()), _Stopped(8, NeuronSimulation.run)
    with monkeypatch.context() as patch:
        patch.setattr(NeuronSimulation, "run", lambda self, steps: stop(self, steps))
        patch.setattr(NeuronSimulation, "restore", lambda self, arrays: None)
        with pytest.raises(KeyboardInterrupt):
            course.run(save_to=tmp_path / "course")
    resumed = Course.resume(plan(), tmp_path / "course", rest()).run()
    assert resumed.table().csv() != whole


def test_a_file_that_is_cut_short_or_damaged_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "course"
    Course(plan(), rest()).run(1).save(path)
    data = path.read_bytes()
    damaged = bytearray(data)
    damaged[len(data) // 2] ^= 1
    for bad in (data[:-1], data[: len(data) // 2], data[:100], data[:1], b"", bytes(damaged)):
        path.write_bytes(bad)
        with pytest.raises(CourseError, match="cannot be read"):
            Course.resume(plan(), path, rest())
        assert path.read_bytes() == bad
    np.savez(tmp_path / "other.npz", header=np.frombuffer(b"[1]", dtype=np.uint8))
    with pytest.raises(CourseError, match="cannot be read"):
        Course.resume(plan(), tmp_path / "other.npz", rest())
    with pytest.raises(CourseError, match="cannot be read"):
        Course.resume(plan(), tmp_path / "missing", rest())


def test_another_baseline_is_another_course(tmp_path: Path) -> None:
    Course(plan(), rest()).run(1).save(tmp_path / "course")
    with pytest.raises(CourseError, match="another treatment"):
        Course.resume(plan(), tmp_path / "course", calibrate(neuron(), 2, 300))


# --- doses in time --------------------------------------------------------------------------------


@pytest.mark.slow
def test_with_daily_doses_windows_meet_all_times_of_day_and_their_occupancy() -> None:
    """Occupancy is that of mass action at each window's own concentration and serotonin."""
    treatment = Treatment(neuron(), daily, days=10.0, windows=24, replicates=4, window_s=10)
    course = Course(treatment, rest()).run()
    hours = np.mod(course.window_times_s[4:].ravel(), DAY_S) / 3600
    assert np.histogram(hours, bins=6, range=(0, 24))[0].min() > hours.size / 12
    k = math.log(2) * 24 / HALF_LIFE_H
    average = 8.0 * -math.expm1(-k) / k
    steps = np.diff(course.edges_s)
    assert steps @ course.mean("concentration_nM") / steps.sum() == pytest.approx(average, rel=0.03)
    read = {name: course.values[:, :, QUANTITIES.index(name)] for name in QUANTITIES}
    concentration = read["concentration_nM"]
    assert concentration.ravel().tolist() == [daily(t) for t in course.window_times_s.ravel()]
    assert concentration.max() > 1.4 * concentration.min()
    law = concentration / KD / (1 + concentration / KD + read["terminal_nM"] / 170)
    off = (read["terminal_occupancy"] - law).ravel()
    limit = student_quantile(1e-6, off.size - 1)
    assert abs(off.mean()) < limit * off.std(ddof=1) / math.sqrt(off.size) + 0.002
    assert np.abs(off).max() < 0.06  # 1000 sites, sd below 0.012
    # The control: the law at the mean concentration misses the windows after a dose.
    flat = concentration.mean() / KD / (1 + concentration.mean() / KD + read["terminal_nM"] / 170)
    early = concentration > np.quantile(concentration, 0.8)
    rest_of = (read["terminal_occupancy"] - flat)[early]
    assert rest_of.mean() > limit * rest_of.std(ddof=1) / math.sqrt(rest_of.size)


@pytest.mark.slow
def test_the_twin_does_not_step_over_short_doses() -> None:
    """An hour a day at 95 %: the same course as in pieces from jump to jump."""

    def dose(t_s: float) -> float:
        return 1.2 * 19 if (t_s % DAY_S) < 3600 else 0.0

    treatment = Treatment(neuron(), dose, days=8.0)
    breaks = tuple(x * DAY_S + y for x in range(8) for y in (0.0, 3600.0))
    times = np.array([4.5, 7.5]) * DAY_S
    found = mean_field_course(treatment.neuron, acting(treatment), times)
    exact = mean_field_course(treatment.neuron, acting(treatment), times, breaks)
    for name in ("sensitivity", "creb", "plasticity"):
        assert found[name] == pytest.approx(exact[name], rel=0.02), name
    assert exact["sensitivity"][1] < 0.98


def test_a_function_that_fails_between_the_times_tried_is_told_with_its_time() -> None:
    def gap(t_s: float) -> float:
        return math.nan if 4.00001 < t_s / DAY_S < 4.002 else 1.0

    bad = Treatment(neuron(), gap, breaks_days=(4.0,))
    with pytest.raises(InputError, match="concentration_nM at day 4"):
        acting(bad)(4.001 * DAY_S)
    with pytest.raises(InputErrors) as caught:
        Treatment(neuron(), lambda t: None, mao=lambda t: 0.0)  # type: ignore[arg-type,return-value]
    names = [fault.name for fault in caught.value.faults]
    assert names == ["concentration_nM at day 0", "mao at day 0"]
    with pytest.raises(InputError, match="breaks_days"):
        Treatment(neuron(), constant(1.0), breaks_days=(math.nan,))


def test_jumps_close_together_each_get_an_edge() -> None:
    jumps = (20.0, 20.01, 20.02)
    treatment = Treatment(neuron(), stopped(7.0, 20), breaks_days=jumps, windows=6)
    assert set(jumps) <= set(step_edges_s(treatment) / DAY_S)
    with pytest.raises(InputError, match="more than there are breaks_days"):
        Treatment(neuron(), stopped(7.0, 20), breaks_days=jumps, windows=3)


def test_a_course_of_hours_is_announced_before_its_first_window(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(treatment_module, "seconds_per_event", lambda: 5e-8)
    said: list[str] = []
    long = Treatment(neuron(), constant(7.0), windows=400, window_s=18_000)
    course = Course(long, rest())
    with pytest.raises(KeyboardInterrupt):
        course.run(progress=_never, announce=said.append)
    assert course.done == 0
    assert len(said) == 1 and " h on one core" in said[0]
    short, resting = Treatment(neuron(), constant(7.0)), 5e-8 * resting_events()
    ratio = (long.estimated_s - resting) / (short.estimated_s - resting)
    assert ratio == pytest.approx((400 * 18_001 + 120) / (150 * 16 + 120), rel=0.01)
    assert short.announcement == ""
    big = neuron(terminal={"transporters": 100_000}, soma={"transporters": 200_000})
    assert Treatment(big, constant(7.0)).estimated_s > 50 * short.estimated_s


def resting_events() -> float:
    """Of a calibration."""
    return events_per_s(Setting(neuron())) * sum(seconds_of_stage(neuron()))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kd", "given"),
    [(KD, {}), (KD, {"windows": 60, "replicates": 3}),
     (0.13, {"drug": "paroxetine", "windows": 100}),  # its long waits count for less in many
     (KD, {"transporters": 0.0, "windows": 40})],
    ids=["default", "short", "a slow drug", "no SERT"],
)  # fmt: skip
def test_the_forecast_counts_the_events_that_come(
    kd: float, given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within a fifth; the time of an event is measured on the machine. The course announces what
    its own waits make of it. The control: a drug that comes and goes 80 times as fast, as was
    assumed once, would bring half as much again.
    """
    said: list[str] = []
    monkeypatch.setattr(treatment_module, "seconds_per_event", lambda: 1.0)
    size = {"windows": 64, "replicates": 2} | given
    plan = Treatment(neuron(), constant(kd * 0.85 / 0.15), window_s=15, **size)
    course = Course(plan, rest()).run(announce=said.append)
    events = sum(int(each.state.events.sum()) for each in course.simulations)
    hours = float(said[0].split(" will take about ")[1].split(" h ")[0])
    assert 3600 * hours == pytest.approx(events, rel=0.2)
    if plan.windows > 60:
        assert plan.estimated_s - resting_events() == pytest.approx(events, rel=0.2)
        monkeypatch.setattr(treatment_module, "unbinding", lambda drug, antagonist: Unbinding())
        assert dataclasses.replace(plan).estimated_s - resting_events() > 1.4 * events


def _never(items: Any, /, **about: Any) -> Any:
    raise KeyboardInterrupt


def test_kinetics_are_those_that_the_tests_assume() -> None:
    rates = pharmacology.ligand("citalopram").kinetics("SERT")
    assert rates.koff / rates.kon == pytest.approx(KD)


def test_the_first_window_after_a_jump_waits_for_a_slow_drug() -> None:
    """Paroxetine lets go nine times as slowly as citalopram; when it is stopped, all of it goes at
    once by assumption, so both wait alike.
    """
    waits = list[np.ndarray]()
    for drug, kd in (("citalopram", KD), ("paroxetine", 0.13)):
        plan = Treatment(
            neuron(), stopped(kd * 0.85 / 0.15, 4), days=8.0, breaks_days=(4.0,), drug=drug,
            windows=12, replicates=2,
        )  # fmt: skip
        course = Course(plan, rest())
        jumps = [np.flatnonzero(course.edges_s == day * DAY_S)[0] for day in (0.0, 4.0)]
        waits.append(course._waits_s[jumps].max(axis=1))
    (first, stop), (slow, same) = waits
    assert slow > 3 * first > 300 and same == stop
