"""Two engines, one truth: the same seed gives the same trajectory, molecule for molecule."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from scenarios import ALL, crowded, everything

from synapse_abm.synapse.agents.model import SynapseModel
from synapse_abm.synapse.engine.planting import plant
from synapse_abm.synapse.engine.simulation import Simulation
from synapse_abm.synapse.scenario import Scenario


def same(a: SynapseModel, b: SynapseModel) -> bool:
    """Every number of the state, rows in use only: ids, cells, sites, counts, times of events."""
    from synapse_abm.synapse.engine.checkpoint import to_bytes

    return to_bytes(a.simulation) == to_bytes(b.simulation)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("seed", [1, 2**63 + 5])
def test_equal_after_every_step(name: str, seed: int) -> None:
    agents = SynapseModel(ALL[name], rng=seed, engine="agents", check_every_step=True)
    compiled = SynapseModel(ALL[name], rng=seed, check_every_step=True)
    assert same(agents, compiled)
    for step in range(40):
        agents.step()
        compiled.step()
        assert same(agents, compiled), f"first difference after step {step + 1}"


def test_the_scenarios_touch_every_event() -> None:
    """Otherwise the equality above says less than it seems."""
    model = SynapseModel(everything(), rng=1, engine="compiled")
    model.run(400)
    names, events = model.names, model.store.events
    pairs, ligands = len(names.pairs), len(names.ligands)
    by_kind = [events[k * pairs : (k + 1) * pairs].sum() for k in range(3)]
    by_kind += [events[3 * pairs + k * ligands :][:ligands].sum() for k in range(6)]
    assert min(by_kind) > 0, by_kind


def test_many_steps_in_one_call_are_the_single_steps() -> None:
    one, many = SynapseModel(everything(), rng=3), SynapseModel(everything(), rng=3)
    for _ in range(60):
        one.step()
    many.run(60)
    assert same(one, many)
    assert (many.time, many.seconds) == (60.0, pytest.approx(3.0))


def test_recordings_agree() -> None:
    agents = SynapseModel(everything(), rng=4, engine="agents").run(30, every=3)
    compiled = SynapseModel(everything(), rng=4).run(30, every=3)
    assert np.array_equal(agents.step, compiled.step)
    assert np.array_equal(agents.totals, compiled.totals)
    assert np.array_equal(agents.events, compiled.events)


def test_replicates_and_seeds_differ() -> None:
    hashes = {
        Simulation(everything(), seed, replicate).trajectory_sha256(20, 5)
        for seed in (1, 2)
        for replicate in (0, 1)
    }
    assert len(hashes) == 4


def test_full_rows_grow_without_a_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that run full are doubled and the steps taken again: same draws, same trajectory."""
    roomy = Simulation(everything(), 6)
    monkeypatch.setattr(
        "synapse_abm.synapse.engine.simulation.expected_rows", lambda scenario: [21, 1, 1]
    )
    tight = Simulation(everything(), 6)
    assert tight.trajectory_sha256(200, 50) == roomy.trajectory_sha256(200, 50)
    assert tight.state.store.molecules.shape[1] > 23


def test_a_planted_difference_is_found() -> None:
    """Equality is a test with teeth: a swapped order of two equal sites changes the trajectory."""
    member = "member % n_empty)"
    honest = Simulation(crowded(), 1).trajectory_sha256(10, 1)
    for new, equal in ((member, True), (f"n_empty - 1 - {member}", False)):
        kernels = plant(member, new, interpreted=True)
        left_to_python = Simulation(crowded(), 1, kernels=kernels)
        assert (left_to_python.trajectory_sha256(10, 1) == honest) is equal


SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
from scenarios import ALL
from synapse_abm.synapse.engine.simulation import Simulation
for name, scenario in ALL.items():
    print(Simulation(scenario, 9).trajectory_sha256({steps}, 2))
"""


def test_equal_with_the_compiler_switched_off() -> None:
    script = SCRIPT.format(tests=os.path.dirname(__file__), steps=8)
    off = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert off.returncode == 0, off.stderr
    compiled = [Simulation(scenario, 9).trajectory_sha256(8, 2) for scenario in ALL.values()]
    assert off.stdout.split() == compiled


def test_a_scenario_is_its_own_round_trip() -> None:
    """Checkpoints keep the scenario as JSON; the order of ligands is part of it."""
    for scenario in ALL.values():
        again = Scenario.model_validate_json(scenario.model_dump_json())
        assert list(again.ligands) == list(scenario.ligands)
        assert again == scenario
