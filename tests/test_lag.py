"""The lag, at a small size: fast, then slow, in the order that was stated, and back."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from figures import legible

from synapse_abm.core.errors import InputError, InputErrors
from synapse_abm.core.progress import silent
from synapse_abm.neuron.calibration import calibrate
from synapse_abm.neuron.scenario import PlaceGrid, neuron
from synapse_abm.runs.experiment import find
from synapse_abm.runs.results import Result
from synapse_abm.statistics import Estimate
from synapse_abm.treatment import treatment as treatment_module
from synapse_abm.treatment.course import Course
from synapse_abm.treatment.treatment import Treatment, stopped

lag = find("lag").load()


@functools.cache
def small() -> Result:
    return lag.run(seed=1, quick=True, progress=silent)


def phase(name: str, on: bool) -> np.ndarray:
    table = small()["lag"]
    return np.array(table[name])[(np.array(table["day"]) < lag.STOP_DAY) == on]


def test_firing_falls_at_once_and_plasticity_comes_last() -> None:
    day, half = phase("day", True), {}
    for name in ("terminal_occupancy", "creb", "bdnf", "plasticity"):
        curve = phase(name, True)
        half[name] = day[int(np.argmax(curve > curve[-3:].mean() / 2))]
    assert half["terminal_occupancy"] < 0.1 < half["creb"] < half["bdnf"] < half["plasticity"]
    assert 14 < small().scenario["half_day"] < 28
    assert np.mean(phase("rate_Hz", True)[:5]) < 0.65


def test_slow_variables_are_read_on_their_curve_however_wide_the_windows() -> None:
    """A straight line is read exactly, to the last window. The control: firing is averaged over
    five windows, which at the end of six weeks lie days before.
    """
    plan = lag.planned(neuron(), 6.8, "citalopram", 3, quick=True)
    course = Course(plan, calibrate(neuron(), 1))
    course.done = plan.windows
    course.values[:] = course.day[:, None, None]
    for day in (1.0, 14.0, 41.0, 43.0, 60.0):
        assert lag.around(course, "plasticity", day).value == pytest.approx(day, rel=1e-12)
    assert lag.around(course, "rate_Hz", 41.5).value < 39
    half = lag.around(course, "plasticity", 41.5).value / 2
    assert lag.crossing(course, "plasticity", half).value == pytest.approx(half, rel=1e-12)


@pytest.mark.slow
def test_after_the_stop_all_returns_and_serotonin_from_above() -> None:
    assert (phase("concentration_nM", False) == 0).all()
    assert phase("terminal_occupancy", False).max() < 0.01
    serotonin = phase("terminal_nM", False) / 5.0
    assert serotonin[:5].mean() > 1.3 and serotonin[-5:].mean() == pytest.approx(1.0, abs=0.06)
    sensitivity = phase("sensitivity", False)
    assert sensitivity[0] < 0.5 and sensitivity[-1] > 0.95 and (np.diff(sensitivity) > -0.02).all()


def test_each_prediction_says_what_it_is() -> None:
    checks = small().checks
    assert {check.kind for check in checks} == {"calibrated", "emergent", "published"}
    assert all(check.se is not None for check in checks)
    assert all(check.passed for check in checks if check.kind != "published")
    assert set(small()["predictions"]["status"]) == {"calibrated", "emergent", "not reproduced"}
    assert (
        "why those that are not reproduced" in small().text
        and "mean-field solution" in small().text
    )
    assert small().passed  # a published number that is missed is no failure


@pytest.mark.slow
def test_a_course_without_desensitisation_would_be_noticed() -> None:
    """The planted bug: sensitivity stays at 1. Then nothing recovers."""
    parameters = neuron(desensitisation_strength=0.0)
    plan = Treatment(
        parameters, stopped(6.8, lag.STOP_DAY), days=lag.DAYS, breaks_days=(lag.STOP_DAY,),
        windows=60, replicates=3, seed=3,
    )  # fmt: skip
    course = Course(plan, calibrate(neuron(), 1)).run()
    same = lag.Challenge(Estimate(1.0, 0.0), Estimate(1.7, 0.0))
    outcomes = lag._outcomes(course, dict.fromkeys(lag.CHALLENGED, same))
    failed = {each.prediction.name for each in outcomes if not each.holds}
    assert failed >= {
        "firing, six weeks, of baseline",
        "terminal serotonin, six weeks over first hours",
        "firing, first day after the stop, of baseline",
        "terminal serotonin, first day after the stop, of baseline",
        "sensitivity, six weeks after the stop, over that at the stop",
    }


def test_on_the_grid_the_course_is_announced_with_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(treatment_module, "cost_s", lambda parameters, grid: 1e-5 * grid.cells**2)
    plan = lag.planned(neuron(), 6.8, "citalopram", 1, quick=False, grid=PlaceGrid(cells=64))
    assert "240 windows x 8 neurons x 15 s on 64 x 64 cells will take about" in plan.announcement
    coarse = lag.planned(neuron(), 6.8, "citalopram", 1, quick=False, grid=PlaceGrid(cells=16))
    assert 60 < coarse.estimated_s < plan.estimated_s / 10
    with pytest.raises(InputError, match="--cells"):
        lag.run(seed=1, quick=True, progress=silent, grid=True, cells=0)


@pytest.mark.slow
def test_on_a_coarse_grid_the_lag_is_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    """Three neurons at a quick size; the half day of plasticity varies by some hours."""
    walked = lag.run(seed=1, quick=True, progress=silent, grid=True, cells=6)
    assert "on 6 x 6 cells will take about" in capsys.readouterr().err
    assert walked.scenario["half_day"] == pytest.approx(small().scenario["half_day"], abs=1.5)
    assert all(check.passed for check in walked.checks if check.kind != "published")


def test_the_other_reading_keeps_the_feedback_and_the_antagonist_as_strong() -> None:
    """In mean field: sensitivity 1, firing back all the same; beside it postsynaptic adaptation."""
    variants = small()["variants"]
    assert np.allclose(variants["other_sensitivity"], 1.0)
    at = int(np.argmin(np.abs(variants["day"] - 41.5)))
    assert variants["other_rate_Hz"][at] > 0.9 and variants["other_drive"][at] > 1.8
    felt = np.array(variants["adapting_terminal_nM"]) / 5 * variants["adapting_sensitivity"]
    assert felt[variants["day"] > 42].min() < 0.8
    assert "the drive rises" in small().text and "a deficit" in small().text


@pytest.mark.slow
def test_both_readings_and_the_adapting_target_can_be_simulated() -> None:
    """The options reach the course; a few windows suffice to see it."""
    for changes in ({"recovery": "drive"}, {"postsynaptic_strength": 1.0}):
        plan = Treatment(
            neuron(**changes), stopped(6.8, 10.0), days=12.0, breaks_days=(10.0,), windows=12,
            replicates=2, seed=3,
        )  # fmt: skip
        course = Course(plan, calibrate(neuron(), 1)).run()
        slow = {"recovery": "drive", "postsynaptic_strength": "postsynaptic"}[next(iter(changes))]
        assert abs(course.mean(slow)[-2] - 1) > 0.15
        assert bool(course.mean("sensitivity")[-1] == 1.0) is ("recovery" in changes)


def test_the_figure_has_linear_weeks_and_a_magnifier() -> None:
    """Three lanes, the first day in hours beside twelve weeks; the mechanism in a second figure."""
    figures = legible(lag, small())
    axes = figures[""].axes
    assert len(axes) == 6 and all(ax.get_xscale() == "linear" for ax in axes)
    assert [ax.get_xlim() for ax in axes[:2]] == [(0, 24), (0, 12)]
    assert "hours" in axes[4].get_xlabel() and "weeks" in axes[5].get_xlabel()
    lanes = [ax.get_ylabel() for ax in axes[::2]]
    assert [word in lane for word, lane in zip(("occupied", "of", "benefit"), lanes, strict=True)]
    assert len(figures["mechanism"].axes) == 3


def test_what_cannot_be_is_refused_together() -> None:
    with pytest.raises(InputErrors, match="--occupancy") as caught:
        lag.run(seed=1, quick=True, progress=silent, drug="WAY-100635", occupancy=1.0)
    assert [fault.name for fault in caught.value.faults] == ["--occupancy", "--drug"]
    with pytest.raises(InputError, match=r"--drug = 'citalopran'.*did you mean citalopram"):
        lag.run(seed=1, quick=True, progress=silent, drug="citalopran")


@pytest.mark.parametrize(("cells", "times"), [(16, 1), (64, 1), (0, 2)])
def test_cells_without_the_grid_are_refused_with_what_else_is_wrong(cells: int, times: int) -> None:
    """Also the usual number, if somebody gives it; with the grid it is taken (see above)."""
    with pytest.raises(InputErrors) as caught:
        lag.run(seed=1, quick=True, progress=silent, occupancy=0.0, cells=cells)
    names = [fault.name for fault in caught.value.faults]
    assert names == ["--occupancy", *(["--cells"] * times)]
    assert "add --grid" in str(caught.value)
    assert lag._checked(lag.Options(grid=True, cells=64))[1] == PlaceGrid()


@pytest.mark.parametrize("strength", [-1.0, float("nan"), 101.0])
def test_a_strength_that_cannot_be_is_refused(strength: float) -> None:
    with pytest.raises(InputError, match="--postsynaptic-strength"):
        lag.run(seed=1, quick=True, progress=silent, postsynaptic_strength=strength)
