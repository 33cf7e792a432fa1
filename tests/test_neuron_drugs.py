"""Ligands of the autoreceptor, release without spikes, monoamine oxidase; random settings.

What is expected comes from mass action and from the theory of second order (``moments``).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synapse_abm import pharmacology
from synapse_abm.core.errors import InputErrors
from synapse_abm.neuron.calibration import averaged, calibrate
from synapse_abm.neuron.engine import layout as lay
from synapse_abm.neuron.engine.simulation import COLUMNS, NeuronSimulation
from synapse_abm.neuron.meanfield.equations import filling
from synapse_abm.neuron.meanfield.lna import ANTAGONIST, FREE, R_BOUND, RATE, moments
from synapse_abm.neuron.meanfield.ode import Setting, Unbinding, settled
from synapse_abm.neuron.scenario import DAY_S, NO_DRUG, Drug, Exposure, neuron
from synapse_abm.pharmacology.kinetics import Kinetics
from synapse_abm.statistics import student_quantile
from synapse_abm.synapse.engine.planting import plant
from synapse_abm.treatment import course as course_module
from synapse_abm.treatment.course import QUANTITIES, Course
from synapse_abm.treatment.treatment import Treatment, acting, constant

IT = neuron()
LIMIT = student_quantile(1e-6, 11, tests=20)  # of all tests of this file together
SERT_DRUG = Drug(Kinetics(kd_nM=1.0, koff_per_s=0.5))


def of_receptor(name: str) -> Drug:
    """A ligand of the pharmacology at 5-HT1A, twenty times as fast: occupancy is the same."""
    record = pharmacology.ligand(name)
    kinetics = record.kinetics("5-HT1A")
    fast = Kinetics(kd_nM=kinetics.koff / kinetics.kon, koff_per_s=20 * kinetics.koff)
    return Drug(fast, record.efficacy("5-HT1A"))


@pytest.mark.parametrize(("name", "times_kd"), [("WAY-100635", 4.0), ("pindolol", 4.0)])
def test_a_ligand_competes_for_receptors_and_slows_firing_by_its_efficacy(
    name: str, times_kd: float
) -> None:
    """Occupancy A / (1 + A + S / Kd) at the serotonin that is there; firing as theory says."""
    ligand = of_receptor(name)
    plan = Treatment(
        IT, constant(0.0), antagonist=name,
        antagonist_nM=constant(times_kd * ligand.kinetics.koff / ligand.kinetics.kon),
    )  # fmt: skip
    exposure = acting(plan)(0.0)
    assert exposure.antagonist == pytest.approx(times_kd, rel=1e-9)
    sim = NeuronSimulation(IT, 5, antagonist=ligand)
    sim.set(exposure)
    sim.block(exposure)
    sim.run(150)
    held, rows = [], []
    for _ in range(120):
        rows.append(sim.run(10))
        held.append(int(sim.state.counts[1, lay.L_R_ANTAGONIST]))
    record = np.concatenate(rows)
    mean = {n: averaged(record[:, COLUMNS.index(n)]) for n in ("soma_receptors", "rate_Hz",
                                                               "soma_free")}  # fmt: skip
    law = times_kd / (1 + times_kd + mean["soma_free"].value / IT.soma.molecules_per_nM / 60)
    se = float(np.std(held)) / math.sqrt(len(held) / 4)  # snapshots 10 s apart are correlated
    assert abs(np.mean(held) / 300 - law) < LIMIT * se / 300
    theory = moments(Setting(IT, exposure, unbinding=Unbinding(1.0, ligand.kinetics.koff)))
    assert abs(np.mean(held) - theory.mean[ANTAGONIST]) < LIMIT * se
    for column, row in (("soma_receptors", R_BOUND), ("rate_Hz", RATE)):
        estimate = mean[column]
        assert abs(estimate.value - theory.mean[row]) < LIMIT * estimate.se, column
    # The control: with the other's efficacy, 0 for 0.203, firing would be this far off.
    other = Exposure(antagonist=times_kd, efficacy=0.203 - exposure.efficacy)
    assert (
        abs(mean["rate_Hz"].value - settled(Setting(IT, other)).rate_Hz)
        > LIMIT * mean["rate_Hz"].se
    )


def test_feedback_is_cut_by_a_dose_and_removed_altogether_as_another_thing() -> None:
    """More antagonist, more firing, towards the 1 + g = 2.8 of a neuron without feedback."""
    doses = (0.0, 0.5, 4.0, 50.0, 1e6)
    rates = [settled(Setting(IT, Exposure(antagonist=dose))).rate_Hz for dose in doses]
    assert rates == sorted(rates) and rates[0] == pytest.approx(1.0)
    assert rates[2] == pytest.approx(1.67, abs=0.006) and rates[-1] == pytest.approx(2.8, rel=1e-4)
    sim = NeuronSimulation(IT, 6)
    sim.set(NO_DRUG, sensitivity=0.0)
    sim.run(150)
    theory = moments(Setting(IT, sensitivity=0.0))
    record = sim.run(1200)
    assert record[-600:, COLUMNS.index("rate_Hz")] == pytest.approx(2.8, rel=1e-9)
    for name, row in (("terminal_free", FREE), ("soma_free", 4)):
        estimate = averaged(record[:, COLUMNS.index(name)])
        assert abs(estimate.value - theory.mean[row]) < LIMIT * estimate.se, name


@pytest.mark.slow
@pytest.mark.parametrize("day", [2.0, 36.0])
def test_an_antagonist_raises_serotonin_further_early_and_after_weeks(day: float) -> None:
    """80 % of receptors taken beside an 85 % block of SERT: by a third or more each time, as the
    mean field says to 10 %. The control: nothing of the kind without it.
    """
    inhibitor = pharmacology.ligand("citalopram").kinetics("SERT")
    plain: dict[str, Any] = {
        "neuron": IT, "concentration_nM": constant(inhibitor.koff / inhibitor.kon * 0.85 / 0.15),
        "days": day + 1, "breaks_days": (day,), "windows": 18, "replicates": 5, "window_s": 10,
    }  # fmt: skip
    rises, strict = dict[str | None, tuple[float, float]](), student_quantile(1e-3, 4)
    for antagonist in ("WAY-100635", None):
        given = {} if antagonist is None else {
            "antagonist": antagonist, "antagonist_nM": lambda t: 4.4 if t >= day * DAY_S else 0.0
        }  # fmt: skip
        course = Course(Treatment(**plain, **given), calibrate(IT, 1, 500)).run()
        serotonin = course.values[:, :, QUANTITIES.index("terminal_nM")]
        jump = int(np.searchsorted(course.day, day))
        after, before = slice(jump, None), slice(jump - 4, jump)
        fold = serotonin[after].mean(axis=0) / serotonin[before].mean(axis=0)
        rises[antagonist] = fold.mean(), fold.std(ddof=1) / math.sqrt(5)
        solution = course.mean_field["terminal_nM"]
        assert fold.mean() == pytest.approx(
            solution[after].mean() / solution[before].mean(), rel=0.1
        )
    (more, se), (same, other) = rises["WAY-100635"], rises[None]
    assert more > 1.3 and more - same > strict * math.hypot(se, other)


def test_release_without_spikes_is_off_unless_asked_for() -> None:
    silent = NeuronSimulation(IT, 7)
    silent.run(20)
    assert silent.state.events[:, lay.C_LEAK].sum() == 0
    leaky = neuron(terminal={"leak_share": 0.3})
    sim = NeuronSimulation(leaky, 7)
    sim.state.numbers[lay.P_TOP] = 0.0  # no more spikes
    sim.state.rate[0] = 0.0
    sim.run(400)
    expected = 400 * sim.free[0].leak_per_s
    count = int(sim.state.events[0, lay.C_LEAK])
    assert abs(count - expected) < LIMIT * math.sqrt(expected)
    assert sim.state.events[0, lay.RELEASED] == sim.state.events[1, lay.C_LEAK] == 0


def test_a_spike_holds_more_where_the_pool_is_fuller_but_not_without_limit() -> None:
    """Content per spike: q v 2n / (1 + n); a pool kept at three times the resting one gives 1.5.

    Every size is its mean rounded up or down: variance f (1 - f).
    """
    sim = NeuronSimulation(IT, 8)
    mean = sim.free[0].quantal_content / 20 * filling(3.0, 1.0)
    assert filling(3.0, 1.0) == 1.5 and filling(1e9, 1.0) == pytest.approx(2.0)
    released, spikes = 0, 0
    for _ in range(300):
        full = sim.state.counts[0, lay.L_POOL] = round(3 * sim.free[0].pool)
        sim.state.members[0, lay.L_POOL, :full] = np.arange(full)  # ids do not matter here
        before = int(sim.state.events[0, lay.RELEASED]), int(sim.state.meta[lay.M_SPIKES])
        sim.run(1)
        released += int(sim.state.events[0, lay.RELEASED]) - before[0]
        spikes += int(sim.state.meta[lay.M_SPIKES]) - before[1]
    part = mean % 1
    drained = 0.004 * mean  # the pool falls by some 1 % within a second
    assert abs(released / spikes - mean) < LIMIT * math.sqrt(part * (1 - part) / spikes) + drained
    assert abs(released / spikes - 3 * mean / 1.5) > 10 * drained  # the control: in proportion


@pytest.mark.slow
def test_with_monoamine_oxidase_inhibited_a_window_waits_for_the_pool(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The pool then takes 200 s instead of 20. The control: a wait of 20 s, and serotonin is
    read before it has risen.
    """
    plan = Treatment(
        IT, constant(0.0), days=1.0, mao=lambda t: 0.1 if t >= 0.5 * DAY_S else 1.0,
        breaks_days=(0.5,), windows=4, replicates=4,
    )  # fmt: skip
    risen = {}
    for longest in (3600.0, 20.0):
        monkeypatch.setattr(course_module, "LONGEST_SETTLE_S", longest)
        course = Course(plan, calibrate(IT, 1, 500)).run()
        jump = int(np.searchsorted(course.day, 0.5))
        each = course.values[jump, :, QUANTITIES.index("terminal_nM")]
        risen[longest] = each.mean(), each.std(ddof=1) / 2
        solution = course.mean_field["terminal_nM"][jump].mean()
    assert solution > 7.2
    mean, se = risen[3600.0]
    assert abs(mean - solution) < student_quantile(1e-3, 3) * max(se, 0.05)
    assert risen[20.0][0] < 0.9 * mean


# --- conservation ---------------------------------------------------------------------------------

SHARES = st.floats(0.05, 1.0)
PLACE = st.fixed_dictionaries({
    "transporters": st.integers(1, 400), "serotonin_nM": st.floats(0.5, 30.0),
    "sert_share": SHARES, "mao_ratio": st.floats(0.5, 5.0), "leak_share": st.floats(0.0, 0.9),
})  # fmt: skip
GIVEN = st.fixed_dictionaries({
    "spike_trains": st.integers(1, 30), "receptors": st.integers(1, 100), "terminal": PLACE,
    "soma": PLACE, "rate_Hz": st.floats(0.2, 5.0), "feedback_strength": st.floats(0.1, 5.0),
})  # fmt: skip
EXPOSURE = st.builds(
    Exposure, terminal=st.floats(0, 20), soma=st.floats(0, 20), antagonist=st.floats(0, 20),
    efficacy=st.floats(0, 1), mao=SHARES, transporters=st.floats(0, 1),
)  # fmt: skip


@settings(max_examples=40, deadline=None, derandomize=True)
@given(given=GIVEN, exposure=EXPOSURE)
def test_nothing_is_created_or_lost_at_random_settings(
    given: dict[str, Any], exposure: Exposure
) -> None:
    """And what is made is what is destroyed, held or free, counted from the events of each kind."""
    sim = NeuronSimulation(
        neuron(**given), 9, inhibitor=SERT_DRUG, antagonist=Drug(SERT_DRUG.kinetics),
        transporters=exposure.transporters,
    )  # fmt: skip
    start = sim.state.counts.copy()
    sim.set(exposure)
    for _ in range(3):
        sim.run(2)
        sim.check()
    for at in range(2):
        e, n, n0 = sim.state.events[at], sim.state.counts[at], start[at]
        out = e[lay.RELEASED] + e[lay.C_LEAK]
        inside = e[lay.C_SYNTHESISE] + e[lay.C_TRANSPORT] - e[lay.C_DEGRADE] - out
        assert n[lay.L_POOL] - n0[lay.L_POOL] == inside
        taken = e[lay.C_BIND] - e[lay.C_UNBIND] + e[lay.C_R_BIND] - e[lay.C_R_UNBIND]
        assert n[lay.L_FREE] - n0[lay.L_FREE] == out - taken - e[lay.C_LOSE]


def test_a_planted_leak_is_noticed() -> None:
    """Transporters that drop what they carry inside: the check says so within a second."""
    kernels = plant(
        "put_in(state, place, L_POOL if c == C_TRANSPORT else L_FREE, molecule)",
        "put_in(state, place, L_POOL if c == C_TRANSPORT else L_FREE, molecule)\n"
        "        state.counts[place, L_POOL] -= 1 if c == C_TRANSPORT else 0",
        file="neuron/engine/kernels.py", interpreted=True,
    )  # fmt: skip
    small = neuron(terminal={"transporters": 50}, soma={"transporters": 50})
    right = NeuronSimulation(small, 1)
    right.run(1)
    right.check()
    wrong = NeuronSimulation(small, 1, kernels=kernels)
    wrong.run(1)
    with pytest.raises(ValueError, match="do not agree"):
        wrong.check()


def test_an_antagonist_that_is_given_nowhere_is_told_with_the_rest() -> None:
    with pytest.raises(InputErrors) as caught:
        Treatment(IT, constant(1.0), antagonist_nM=constant(3.0), windows=1.5)  # type: ignore[arg-type]
    assert [fault.name for fault in caught.value.faults] == ["windows", "antagonist"]
