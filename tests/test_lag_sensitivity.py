"""One constant at a time: the day follows from the equations, and the table says what was done."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from figures import legible

from synapse_abm.core.progress import silent
from synapse_abm.neuron.scenario import DAY_S, neuron
from synapse_abm.runs.experiment import find
from synapse_abm.runs.results import Result
from synapse_abm.treatment.treatment import Treatment, constant, mean_field

#: An experiment of its own; what it rests on is proved in the suite.
pytestmark = pytest.mark.slow

sensitivity = find("lag_sensitivity").load()


@functools.cache
def small() -> Result:
    return sensitivity.run(seed=1, quick=True, progress=silent)


def day(name: str, change: str, column: str = "half_day") -> float:
    table = small()["lag_sensitivity"]
    rows = list(zip(table["constant"], table["change"], strict=True))
    return float(table[column][rows.index((name, change))])


def test_the_default_is_the_course_of_lag() -> None:
    """Citalopram at 85 %, Kd 1.2 nM; six weeks read from the treatment's own mean field."""
    solution = mean_field(Treatment(neuron(), constant(6.8)), np.linspace(0, 42, 421) * DAY_S)
    benefit = solution["plasticity"]
    assert day("default", "", "benefit_six_weeks") == pytest.approx(benefit[-1], abs=1e-3)
    half = np.interp(benefit[-1] / 2, benefit, np.linspace(0, 42, 421))
    assert day("default", "", "half_of_six_weeks_day") == pytest.approx(half, abs=0.05)


def test_the_stages_behind_serotonin_make_most_of_the_lag() -> None:
    passed = {check.name: check.passed for check in small().checks}
    assert passed["day of half of the plateau"]
    assert not passed[
        "the same if sensitivity fell at once"
    ]  # 17 days, where two weeks were stated
    assert next(value for name, value in passed.items() if name.startswith("release"))
    assert day("desensitisation_days", "left out") > 0.6 * day("default", "")
    assert day(sensitivity.BEHIND, "left out") < 0.2 * day("default", "")
    found = sensitivity.lag_of((("terminal.serotonin_nM", 2.0),))
    assert found.half_day == pytest.approx(day("default", ""), abs=0.5)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("desensitisation_days", 2.0, lambda parameters: parameters.desensitisation_days == 14.0),
        ("terminal.transporters", 0.5, lambda parameters: parameters.terminal.transporters == 500),
        (
            "soma.loss_share",
            2.0,
            lambda parameters: parameters.soma.sert_share == pytest.approx(0.86),
        ),
        ("terminal.leak_share", 0.4, lambda parameters: parameters.terminal.leak_share == 0.4),
        (
            "receptor.kd_nM",
            0.5,
            lambda parameters: parameters.receptor.koff / parameters.receptor.kon == 30.0,
        ),
        ("recovery", "drive", lambda parameters: parameters.recovery == "drive"),
    ],
)
def test_a_variant_differs_in_one_constant(name: str, value: object, expected: object) -> None:
    changed, default = sensitivity.variant(name, value), neuron()
    assert callable(expected) and expected(changed) and not expected(default)
    a, b = changed.model_dump(), default.model_dump()
    part, _, own = name.rpartition(".")
    if part in ("terminal", "soma"):
        a, b = a[part], b[part]
        own = own.replace("loss_share", "sert_share")
    assert [key for key in a if a[key] != b[key]] == [part if part == "receptor" else own]


def test_a_benefit_that_never_comes_has_no_day() -> None:
    found = sensitivity.lag_of((("occupancy", 0.1),))
    assert found.half_day is None and found.plateau < sensitivity.LEAST_BENEFIT


def test_the_figures_name_what_is_left_out_and_what_is_changed() -> None:
    figures = legible(sensitivity, small())
    (left_out,), (constants,) = (figures[name].axes for name in ("", "constants"))
    labels = [label.get_text() for label in left_out.get_yticklabels()]
    assert "without the time constant of sensitivity" in labels and "day" in left_out.get_xlabel()
    assert "time constant of sensitivity" in [t.get_text() for t in constants.get_yticklabels()]
