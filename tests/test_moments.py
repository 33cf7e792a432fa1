"""Noise to second order: against exact laws, against the molecular neuron, and over the weeks."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from synapse_abm.neuron.calibration import averaged, factors_of_theory, relative
from synapse_abm.neuron.engine.simulation import COLUMNS, NeuronSimulation
from synapse_abm.neuron.meanfield import lna as moments_module
from synapse_abm.neuron.meanfield.equations import sensitivity_target
from synapse_abm.neuron.meanfield.lna import (
    ANTAGONIST,
    BLOCKED,
    FREE,
    R_BOUND,
    RATE,
    Moments,
    events_per_s,
    moments,
    noisy_course,
    normal_average,
    settling_s,
)
from synapse_abm.neuron.meanfield.ode import Setting, Unbinding, course, settled
from synapse_abm.neuron.scenario import DAY_S, FAST, NO_DRUG, Baseline, Drug, Exposure, neuron
from synapse_abm.pharmacology.kinetics import Kinetics
from synapse_abm.statistics import student_quantile

IT = neuron()
DRUG_85 = Exposure.of_occupancy(0.85)
KINETICS = Kinetics(kd_nM=1.0, koff_per_s=0.5)
LIMIT = student_quantile(1e-6, 19, tests=60)  # of all tests of this file together
REMAINDER = 0.15  # of a predicted shift: what the next order may add


def test_receptors_alone_are_binomial() -> None:
    """No feedback, no spikes' noise (many small ones), an antagonist only: n p (1 - p), exactly."""
    parameters = neuron(feedback_strength=1e-9, spike_trains=10_000)
    result = moments(Setting(parameters, Exposure(antagonist=4.0)))
    kd_shares = 10.0 / 60.0
    p = 4.0 / (1 + 4.0 + kd_shares)
    assert result.settled[ANTAGONIST] == pytest.approx(300 * p, rel=1e-9)
    assert result.covariance[ANTAGONIST, ANTAGONIST] == pytest.approx(300 * p * (1 - p), rel=0.01)


def test_batches_lost_one_by_one_have_the_exact_variance() -> None:
    """Almost no transporters: batch immigration and death, mean trains F m / k, variance
    trains F (m + m^2 + f (1 - f)) / (2 k), exact for this linear process at a full pool.
    """
    parameters = neuron(
        feedback_strength=1e-9, receptors=1,
        terminal={"transporters": 1, "sert_share": 1e-3, "mao_ratio": 300.0},
    )  # fmt: skip
    result = moments(Setting(parameters))
    free = parameters.terminal.serotonin_nM * parameters.terminal.molecules_per_nM
    k = float(_loss(parameters))
    m = free * k / (parameters.spike_trains * parameters.rate_Hz)
    f = m % 1
    exact = parameters.spike_trains * parameters.rate_Hz * (m + m * m + f * (1 - f)) / (2 * k)
    assert result.mean[FREE] == pytest.approx(free, rel=1e-3)
    assert result.covariance[FREE, FREE] == pytest.approx(exact, rel=0.01)


def _loss(parameters: Any) -> float:
    from synapse_abm.neuron.scenario import free_parameters

    return free_parameters(parameters.terminal, parameters.sert, parameters.rate_Hz).loss_per_s


def test_a_kink_is_averaged_as_its_integral() -> None:
    """E max(X, 0) = sd / sqrt(2 pi) for X about 0; and a parabola exactly."""
    kink = normal_average(lambda x: max(x, 0.0), 0.0, 3.0)
    assert kink == pytest.approx(3 / math.sqrt(2 * math.pi), rel=1e-3)
    assert normal_average(lambda x: x * x, 2.0, 3.0) == pytest.approx(13.0, rel=1e-9)


# One train and twenty, with and without drugs: what the simulation must find.
CASES: dict[str, tuple[dict[str, Any], Exposure, float]] = {
    "rest": ({}, NO_DRUG, 1.0),
    "one train": ({"spike_trains": 1}, NO_DRUG, 1.0),
    "85 %, adapted": ({}, DRUG_85, 0.4),
    "partial agonist, leak": (
        {"terminal": {"leak_share": 0.3}, "soma": {"leak_share": 0.2}},
        Exposure(DRUG_85.terminal, DRUG_85.soma, antagonist=4.0, efficacy=0.2, mao=0.5), 1.0,
    ),
}  # fmt: skip


@functools.cache
def simulated(case: str) -> tuple[np.ndarray, Moments]:
    changes, exposure, sensitivity = CASES[case]
    parameters = neuron(**changes)
    sim = NeuronSimulation(parameters, 77, inhibitor=Drug(KINETICS), antagonist=Drug(KINETICS, 0.2))
    sim.set(exposure, sensitivity)
    sim.run(200)
    setting = Setting(parameters, exposure, sensitivity, unbinding=Unbinding(0.5, 0.5))
    return sim.run(2000), moments(setting)


@pytest.mark.parametrize("case", CASES)
def test_means_of_the_simulation_are_those_of_second_order(case: str) -> None:
    """Rate, serotonin, receptors, and averages of the slow right-hand sides."""
    record, theory = simulated(case)
    parameters, noise = theory.setting.neuron, theory.setting.neuron.spike_trains == 1
    one = 2 if noise else 1  # with one train the next order is as large as REMAINDER says twice
    read = {
        "rate_Hz": (theory.mean[RATE], theory.settled[RATE]),
        "terminal_free": (theory.mean[FREE], theory.settled[FREE]),
        "soma_free": (theory.mean[4], theory.settled[4]),
        "terminal_blocked": (theory.mean[BLOCKED], theory.settled[BLOCKED]),
        "soma_blocked": (theory.mean[4 + BLOCKED], theory.settled[4 + BLOCKED]),
        "soma_receptors": (theory.mean[R_BOUND], theory.settled[R_BOUND]),
        "sensitivity_target": (
            theory.sensitivity_target,
            sensitivity_target(
                parameters,
                (theory.settled[R_BOUND] + theory.setting.exposure.efficacy
                 * theory.settled[ANTAGONIST]) / parameters.receptors,
            ),
        ),
    }  # fmt: skip
    for name, (expected, without) in read.items():
        result = averaged(record[:, COLUMNS.index(name)])
        if name.endswith("blocked") and expected == 0:
            assert result.value == 0.0
            continue
        allowed = LIMIT * result.se + one * REMAINDER * abs(expected - without)
        assert abs(result.value - expected) < allowed, (name, result, expected, without)


def test_mean_field_alone_is_refuted_by_the_same_records() -> None:
    """The control: with the shift left out, one train's serotonin and sensitivity miss by far."""
    record, theory = simulated("one train")
    soma = averaged(record[:, COLUMNS.index("sensitivity_target")])
    assert abs(soma.value - 1.0) > 2 * LIMIT * soma.se
    shares = [averaged(column) for column in relative(theory.setting.neuron, record).T]
    assert shares[2].value - 1 > LIMIT * shares[2].se
    plain = averaged(simulated("rest")[0][:, COLUMNS.index("sensitivity_target")])
    assert 1 - plain.value > 2 * LIMIT * plain.se


@pytest.mark.parametrize("case", ["rest", "one train", "85 %, adapted"])
def test_spread_of_the_simulation_is_that_of_theory(case: str) -> None:
    """Snapshots 12 s apart, of receptors; error from the snapshots' fourth moment."""
    changes, exposure, sensitivity = CASES[case]
    parameters = neuron(**changes)
    sim = NeuronSimulation(parameters, 78, inhibitor=Drug(KINETICS))
    sim.set(exposure, sensitivity)
    sim.run(100)
    seen = []
    for _ in range(120):
        sim.run(12)
        seen.append(float(sim.state.counts[1, 6]))
    x = np.array(seen)
    variance = x.var(ddof=1)
    se = math.sqrt((((x - x.mean()) ** 4).mean() - variance**2) / x.size)
    theory = simulated(case)[1].covariance[R_BOUND, R_BOUND]
    assert abs(variance - theory) < 5.5 * se + 0.1 * theory
    if case == "one train":  # the control: binding's own noise alone is refuted
        assert variance - x.mean() * (1 - x.mean() / 300) > 5.5 * se


def test_factors_of_theory_bring_the_means_back() -> None:
    for parameters in (IT, neuron(spike_trains=1, terminal={"leak_share": 0.4})):
        fast = moments(Setting(parameters, baseline=factors_of_theory(parameters))).fast
        level = settled(Setting(parameters))
        assert fast == pytest.approx([getattr(level, name) for name in FAST], rel=1e-6)


@pytest.mark.slow
def test_over_the_weeks_coupling_ends_three_points_above_its_twin() -> None:
    """Fluctuations shift sensitivity's target at rest to 0.95, and less once receptors are full."""
    days = np.array([7.0, 21.0, 42.0]) * DAY_S
    noisy = noisy_course(IT, lambda t: DRUG_85, days, baseline=factors_of_theory(IT))
    solution = course(IT, lambda t: DRUG_85, days)
    assert noisy["sensitivity"] - solution["sensitivity"] == pytest.approx(
        [0.019, 0.027, 0.028], abs=0.004
    )
    assert (noisy["plasticity"] < solution["plasticity"]).all()
    nothing = noisy_course(IT, lambda t: NO_DRUG, days, baseline=factors_of_theory(IT))
    assert nothing["sensitivity"] == pytest.approx(1.0, abs=1e-6)
    assert nothing["plasticity"] == pytest.approx(0.0, abs=1e-6)


def test_a_jump_in_a_noisy_course_is_met() -> None:
    def exposure(t: float) -> Exposure:
        return DRUG_85 if t < 10 * DAY_S else NO_DRUG

    times = np.array([9.99, 10.0, 10.1, 20.0]) * DAY_S
    result = noisy_course(IT, exposure, times, breaks_s=(10 * DAY_S,))
    assert result["terminal_nM"][0] > 15 > 9 > result["terminal_nM"][1]
    assert result["sensitivity"][0] == pytest.approx(result["sensitivity"][1], abs=0.01)
    assert result["sensitivity"][3] > result["sensitivity"][2]


def test_events_are_as_many_as_the_equations_say() -> None:
    sim = NeuronSimulation(IT, 3, inhibitor=Drug(KINETICS), baseline=Baseline())
    sim.set(DRUG_85)
    sim.run(100)
    before = int(sim.state.events.sum() + sim.state.meta[2])
    sim.run(100)
    result = (int(sim.state.events.sum() + sim.state.meta[2]) - before) / 100
    expected = events_per_s(Setting(IT, DRUG_85, unbinding=Unbinding(0.5)))
    assert result == pytest.approx(expected, rel=0.02)


# --- how long settling takes ----------------------------------------------------------------------

CITALOPRAM, PAROXETINE = Unbinding(0.012, 0.011), Unbinding(0.0013, 0.011)
MAO_10 = Setting(IT, Exposure(mao=0.1))


def still_off(after: Setting, seconds: float) -> float:
    """Largest share by which rate or serotonin is off its settled value, by the equations for
    means in full, from rest with ligands at their sites at once.
    """
    equations, e = moments_module._Equations(after), after.exposure
    end, y = equations.start(), moments_module._Equations(Setting(IT)).start()
    for at, inhibition in enumerate((e.terminal, e.soma)):
        carrying, blocked = 4 * at + moments_module.BOUND, 4 * at + BLOCKED
        y[carrying] *= equations.sites[at] / IT.places[at].transporters
        y[blocked] = (equations.sites[at] - y[carrying]) * inhibition / (1 + inhibition)
    y[ANTAGONIST] = (IT.receptors - y[R_BOUND]) * e.antagonist / (1 + e.antagonist)
    result = solve_ivp(
        lambda t, y: equations.drift(y), (0, seconds), y, method="LSODA", rtol=1e-8, atol=1e-8
    ).y[:, -1]  # fmt: skip
    rows = [RATE, FREE, 4 + FREE]
    return float(np.abs(result[rows] / end[rows] - 1).max())


@pytest.mark.parametrize(
    "after",
    [
        Setting(IT, Exposure(mao=0.1)),
        Setting(IT, Exposure(mao=0.1, transporters=0.0)),
        Setting(IT, Exposure(transporters=0.0), sensitivity=0.25),
        Setting(IT, Exposure(1e4, 1e4, antagonist=4.0), unbinding=CITALOPRAM),
        Setting(IT, Exposure.of_occupancy(0.4), sensitivity=0.0, unbinding=PAROXETINE),
        Setting(IT, DRUG_85, unbinding=PAROXETINE),
    ],
    ids=["MAO", "MAO, no SERT", "no SERT, adapted", "all blocked", "slow drug, no feedback",
         "slow drug"],
)  # fmt: skip
def test_what_settles_has_settled_by_then_and_not_long_before(after: Setting) -> None:
    """Small deviations are linear, those at the start are not; so up to 0.6 % where 0.5 % is asked
    for. The control: at a third of the time more is left.
    """
    seconds = settling_s(Setting(IT), after, 0.005, 1e5)
    assert still_off(after, seconds) < 0.006 < still_off(after, seconds / 3)


def test_settling_takes_as_long_as_the_slowest_relaxation_asks() -> None:
    """Half of the enzyme that is left, twice the time of the pool; half the exchange of a slow
    drug, twice its time. Times are read on a grid of ratio 1.15.
    """
    halved = settling_s(Setting(IT), Setting(IT, Exposure(mao=0.05)), 0.005, 1e5)
    assert halved / settling_s(Setting(IT), MAO_10, 0.005, 1e5) == pytest.approx(2.1, rel=0.16)
    times = [
        settling_s(Setting(IT), Setting(IT, DRUG_85, unbinding=Unbinding(koff)), 0.005, 1e5)
        for koff in (0.0005, 0.00025)
    ]
    assert times[1] / times[0] == pytest.approx(2.0, rel=0.16)
    assert settling_s(Setting(IT), MAO_10, 0.005, 300.0) == pytest.approx(300.0)  # the limit
    assert settling_s(Setting(IT), Setting(IT), 0.005, 1e5) == 0.0
