"""The neuron's equations in mean field: the published table of results, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from synapse_abm.core.errors import InputError, InputErrors
from synapse_abm.neuron.meanfield.ode import (
    Level,
    Modes,
    Setting,
    activation,
    course,
    fast_rates,
    jacobian,
    relaxations_s,
    response_at,
    settled,
    slow_rates,
)
from synapse_abm.neuron.scenario import (
    AT_REST,
    DAY_S,
    FAST,
    NO_DRUG,
    Exposure,
    NeuronParameters,
    neuron,
    provenance,
)

IT = neuron()
DRUG_85 = Exposure.of_occupancy(0.85)
ANTAGONIST = Exposure(antagonist=4.0)


def folds(level: Level) -> tuple[float, float, float]:
    return level.rate_Hz, level.terminal_nM / 5.0, level.soma_nM / 10.0


# The table of results that came with the parameters, solved elsewhere: firing, terminal and somatic
# serotonin in baselines. Printed to two or three digits: the tolerance is half of the last.
SETTLED = {
    "30 %": (Exposure.of_occupancy(0.3), 1.0, (0.89, 1.22, 1.23)),
    "40 %": (Exposure.of_occupancy(0.4), 1.0, (0.85, 1.33, 1.34)),
    "50 %": (Exposure.of_occupancy(0.5), 1.0, (0.80, 1.46, 1.47)),
    "80 %": (Exposure.of_occupancy(0.8), 1.0, (0.62, 2.24, 2.33)),
    "85 %": (DRUG_85, 1.0, (0.58, 2.51, 2.64)),
    "90 %": (Exposure.of_occupancy(0.9), 1.0, (0.53, 2.89, 3.10)),
    "antagonist": (ANTAGONIST, 1.0, (1.67, 1.68, 1.71)),
    "antagonist and drug": (
        Exposure(DRUG_85.terminal, DRUG_85.soma, antagonist=4.0), 1.0, (1.04, 4.40, 4.68),
    ),
    "feedback removed": (NO_DRUG, 0.0, (2.8, 2.86, 3.01)),
    "terminal only": (Exposure(terminal=DRUG_85.terminal), 1.0, (1.0, 4.25, 1.0)),
    "soma only": (Exposure(soma=DRUG_85.soma), 1.0, (0.58, 0.57, 2.64)),
    "mao inhibitor": (Exposure(mao=0.1), 1.0, (0.80, 1.47, 1.49)),
}  # fmt: skip


@pytest.mark.parametrize("case", SETTLED)
def test_the_table_of_acute_results(case: str) -> None:
    exposure, sensitivity, expected = SETTLED[case]
    assert folds(settled(Setting(IT, exposure, sensitivity))) == pytest.approx(expected, abs=0.0051)


def test_the_table_of_six_weeks_and_of_stopping() -> None:
    def exposure(t: float) -> Exposure:
        return DRUG_85 if t < 42 * DAY_S else NO_DRUG

    days = np.array([7, 14, 21, 28, 41.999, 42.05])
    curves = course(IT, exposure, days * DAY_S, breaks_s=(42 * DAY_S,))
    assert curves["rate_Hz"] == pytest.approx([0.72, 0.83, 0.90, 0.94, 0.97, 1.48], abs=0.015)
    terminal = curves["terminal_nM"] / 5
    assert terminal == pytest.approx([3.1, 3.6, 3.9, 4.0, 4.1, 1.48], abs=0.051)
    assert curves["soma_nM"] / 10 == pytest.approx([3.3, 3.8, 4.1, 4.25, 4.4, 1.51], abs=0.051)
    index = [0.05, 0.19, 0.34, 0.48, 0.65]
    assert curves["plasticity"][:5] == pytest.approx(index, abs=0.005)
    with_mao = Exposure(DRUG_85.terminal, DRUG_85.soma, mao=0.1)
    adapted = settled(Setting(IT, with_mao, float(curves["sensitivity"][4])))
    assert folds(adapted) == pytest.approx((0.82, 6.6, 7.0), abs=0.051)


@pytest.mark.parametrize(
    ("share", "expected"), [(0.3, (0.99, 1.36, 1.37)), (0.4, (0.99, 1.54, 1.56)),
                            (0.5, (0.98, 1.79, 1.81))],
)  # fmt: skip
def test_six_weeks_at_lower_occupancies(share: float, expected: tuple[float, ...]) -> None:
    exposure = Exposure.of_occupancy(share)
    curves = course(IT, lambda t: exposure, [42 * DAY_S])
    level = Level(*(float(curves[name][0]) for name in FAST))
    assert folds(level) == pytest.approx(expected, abs=0.0051)
    if share == 0.4:
        assert curves["plasticity"][0] == pytest.approx(0.04, abs=0.005)


@pytest.mark.parametrize("changes", [
    {}, {"spike_trains": 1}, {"feedback_strength": 0.5}, {"rate_Hz": 2.5},
    {"terminal": {"leak_share": 0.4}},
    {"soma": {"serotonin_nM": 20.0, "sert_share": 1.0}}, {"postsynaptic_strength": 1.0},
    {"recovery": "drive"},
])  # fmt: skip
def test_the_baseline_is_the_users_and_nothing_changes_without_a_drug(
    changes: dict[str, Any],
) -> None:
    parameters = neuron(**changes)
    level = settled(Setting(parameters))
    asked = (parameters.rate_Hz, parameters.terminal.serotonin_nM, parameters.soma.serotonin_nM)
    assert (level.rate_Hz, level.terminal_nM, level.soma_nM) == pytest.approx(asked, rel=1e-9)
    y = np.array([getattr(level, name) for name in FAST])
    assert np.abs(fast_rates(Setting(parameters), y)).max() < 1e-6
    theta = activation(Setting(parameters), level.soma_nM)
    assert np.abs(slow_rates(parameters, level, theta, AT_REST)).max() * DAY_S < 1e-9


def test_the_other_reading_restores_firing_with_working_feedback() -> None:
    """The figure that tells them apart: an antagonist after weeks."""
    by_drive = neuron(recovery="drive")
    after = {}
    for parameters in (IT, by_drive):
        curves = course(parameters, lambda t: DRUG_85, [42 * DAY_S])
        sensitivity, drive = float(curves["sensitivity"][0]), float(curves["drive"][0])
        challenged = Exposure(DRUG_85.terminal, DRUG_85.soma, antagonist=4.0)
        rate = settled(Setting(parameters, challenged, sensitivity, drive)).rate_Hz
        after[parameters.recovery] = rate / float(curves["rate_Hz"][0])
        assert curves["rate_Hz"][0] > 0.9
    assert curves["sensitivity"][0] == 1.0
    assert after["drive"] > 1.1 * after["sensitivity"] > 1.1


def test_postsynaptic_adaptation_lets_stopping_end_below_baseline() -> None:
    def exposure(t: float) -> Exposure:
        return DRUG_85 if t < 42 * DAY_S else NO_DRUG

    lowest = {}
    for strength in (0.0, 1.0):
        parameters = neuron(postsynaptic_strength=strength)
        curves = course(parameters, exposure, np.arange(42, 120) * DAY_S, breaks_s=(42 * DAY_S,))
        lowest[strength] = curves["creb"].min()
    assert lowest[1.0] < -0.005 < -1e-3 < lowest[0.0]


def test_a_partial_agonist_slows_firing_by_its_efficacy() -> None:
    """At 80 % of receptors, efficacy 0.2 slows firing as serotonin did, and a little is left."""
    rates = [
        settled(Setting(IT, Exposure(antagonist=4.0, efficacy=e))).rate_Hz for e in (0.0, 0.2, 1.0)
    ]
    assert rates[0] > 1.0 > rates[1] > rates[2]


def test_a_spike_more_adds_what_the_equations_say() -> None:
    """Against the difference between two integrations, one with one spike of one train more."""
    from scipy.integrate import solve_ivp

    level = settled(Setting(IT))
    y = np.array([getattr(level, name) for name in FAST])
    jump = 1e-3 * np.array([0, 93.68 / 24.69 / 20, 358.42 / 24.69 / 20, -93.68 / 20, -358.42 / 20])
    areas = []
    for start in (y, y + jump):
        solution = solve_ivp(
            lambda t, x: np.concatenate([fast_rates(Setting(IT), x[:5]), x[:5] - y]),
            (0, 300), np.concatenate([start, np.zeros(5)]), rtol=1e-11, atol=1e-13, method="LSODA",
        )  # fmt: skip
        areas.append(solution.y[5:, -1])
    numeric = (areas[1] - areas[0]) / 1e-3
    assert response_at(Setting(IT), level) == pytest.approx(numeric, rel=2e-3)


def test_deviations_relax_by_the_modes() -> None:
    """Against the matrix exponential; and a time to settle after which little is left, not more."""
    from scipy.linalg import expm

    level = settled(Setting(IT, DRUG_85))
    y = np.array([getattr(level, name) for name in FAST])
    matrix = jacobian(Setting(IT, DRUG_85), y)
    modes, away = Modes(matrix), 0.3 * np.array([y, -y, [0.0, *y[1:]]])
    seconds = np.array([0.0, 3.0, 40.0])
    expected = [expm(t * matrix) @ each for t, each in zip(seconds, away, strict=True)]
    assert modes.after(away, seconds) == pytest.approx(np.array(expected), rel=1e-6, abs=1e-6)
    times = modes.settling_s(away, 0.005 * y, 3600.0)
    left = np.abs(modes.after(away, times)) / y
    assert (left <= 0.005).all()
    assert (np.abs(modes.after(away, 0.85 * times)) / y > 0.005).any(axis=1).all()
    assert modes.settling_s(0.001 * away, 0.005 * y, 3600.0).tolist() == [0.0, 0.0, 0.0]
    assert relaxations_s(IT)[-1] == pytest.approx(1 / 0.05, rel=0.01)


def test_every_default_has_a_source_that_is_known() -> None:
    from synapse_abm.pharmacology import library

    known = library().sources
    for part, table in provenance().items():
        model = NeuronParameters if part == "neuron" else type(getattr(IT, part))
        assert set(table) <= set(model.model_fields)
        for name, entry in table.items():
            assert entry.source in known, (part, name)
            assert entry.note or entry.status == "assumed", (part, name)
            assert entry.status != "calibrated" or entry.note, (part, name)
            value = getattr(IT if part == "neuron" else getattr(IT, part), name)
            assert value == entry.value


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(InputErrors) as caught:
        neuron(spike_trains=0, desensitisation_days=0.0, creb_days=-1.0, relaxation_s=math.nan,
               soma={"sert_share": 0.0}, plasticty_days=3)  # fmt: skip
    text = str(caught.value)
    for name in ("spike_trains", "desensitisation_days", "creb_days", "relaxation_s",
                 "soma.sert_share", "plasticty_days"):  # fmt: skip
        assert name in text
    assert len(caught.value.faults) == 6


def test_baselines_that_nothing_can_produce_are_refused_together() -> None:
    with pytest.raises(InputErrors) as caught:
        neuron(terminal={"mao_ratio": 0.01}, soma={"transporters": 0})
    names = [fault.name for fault in caught.value.faults]
    assert names == ["terminal.mao_ratio", "soma.transporters"]
    with pytest.raises(InputErrors) as caught:
        neuron(terminal={"serotonin_nM": 1e9}, rate_Hz=1e-9)
    names = [fault.name for fault in caught.value.faults]
    assert names == ["terminal.serotonin_nM", "soma.mao_ratio"]
    with pytest.raises(InputErrors) as caught:  # also beside single values that are wrong
        neuron(
            spike_trains=0,
            terminal={"mao_ratio": 0.01, "volume_um3": -1.0},
            soma={"transporters": 0},
        )
    names = [fault.name for fault in caught.value.faults]
    assert names == [
        "spike_trains",
        "terminal.volume_um3",
        "terminal.mao_ratio",
        "soma.transporters",
    ]
    with pytest.raises(InputError, match="share > 0"):
        settled(Setting(IT, Exposure(mao=0.0)))
