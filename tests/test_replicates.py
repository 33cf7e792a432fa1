"""Replicates side by side: each has exactly the trajectory that it has alone."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterable
from typing import Any

import pytest
from scenarios import ALL

from synapse_abm import read_scenario
from synapse_abm import scenarios as shipped
from synapse_abm.core.rng import Stream, draw, words_by_replicate
from synapse_abm.runs import sweep
from synapse_abm.runs.sweep import Interrupted, map_tasks
from synapse_abm.synapse.engine import network
from synapse_abm.synapse.engine import simulation as engine
from synapse_abm.synapse.engine.simulation import Simulation, load_kernels
from synapse_abm.synapse.scenario import Grid, Kinetics, Ligand, Reservoir, Scenario, Target

STEPS, EVERY = 40, 10


def chance_scenario(number: int) -> Scenario:
    """Scattered sites that may share cells, so that replicates differ in sizes of arrays; a
    reservoir whose molecules outgrow the rows that were made for them.
    """
    at = random.Random(number)
    grid = Grid(width=at.randint(1, 9), height=at.randint(1, 9), spacing_um=0.1)
    rate = Kinetics(kon_per_nM_s=at.uniform(0.01, 0.1), koff_per_s=at.uniform(0.5, 5))
    reservoir = Reservoir(concentration_nM=at.uniform(1, 200), exchange_per_s=at.uniform(0.5, 5))
    ligands = {
        "drug": Ligand(diffusion_um2_per_s=0.05, reservoir=reservoir, binding={"SERT": rate}),
        "other": Ligand(count=at.randint(0, 30), diffusion_um2_per_s=0.1,
                        binding={"SERT": rate, "NET": rate}),
    }  # fmt: skip
    sites = {"SERT": Target(sites=at.randint(1, 30)), "NET": Target(sites=at.randint(0, 5))}
    return Scenario(name="chance", grid=grid, targets=sites, ligands=ligands, dt_s=0.05)


SCENARIOS = ALL | {f"chance {n}": chance_scenario(n) for n in range(12)}
TASKS = [(name, seed, replicate) for name in SCENARIOS for seed, replicate in
         ((1, 0), (1, 1), (1, 15), (1, 16), (2**63 + 5, 40))]  # fmt: skip


def trajectory(name: str, seed: int, replicate: int) -> str:
    return Simulation(SCENARIOS[name], seed, replicate).trajectory_sha256(STEPS, EVERY)


def alone(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Each with memory and random words of its own, and the rows that it needs from the start."""
    with monkeypatch.context() as patch:
        patch.setattr(engine, "SHARED", -1)
        patch.setattr("synapse_abm.synapse.engine.network.NEIGHBOURS", 1)
        return [trajectory(*task) for task in TASKS]


def side_by_side(workers: int) -> list[str]:
    """All of them by threads, mixed, so that each finds the memory of another scenario."""
    order = random.Random(workers).sample(range(len(TASKS)), len(TASKS))
    with sweep.using(workers):
        hashes = map_tasks(trajectory, [TASKS[at] for at in order], compiled=True)
    return [trajectory for _, trajectory in sorted(zip(order, hashes, strict=True))]


def test_side_by_side_each_has_its_own_trajectory(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = alone(monkeypatch)
    assert len(set(expected)) == len(TASKS)
    # Rows for a sixteenth of the molecules: most replicates run full, and are taken again.
    few = "synapse_abm.synapse.engine.simulation.expected_rows"
    monkeypatch.setattr(few, lambda scenario: [x.count + 1 for x in scenario.ligands.values()])
    for workers in (1, 2, 3):
        assert side_by_side(workers) == expected, f"{workers} threads"


def test_replicates_that_share_their_words_would_be_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted bug: all of a group scatter their sites as its first one does."""

    def shared(seed: int, replicates: range, *rest: Any) -> Any:
        words = words_by_replicate(seed, replicates, *rest)
        words[:] = words[0]
        return words

    expected = alone(monkeypatch)
    network._jumps.cache_clear()
    monkeypatch.setattr(network, "words_by_replicate", shared)
    wrong = [got != own for got, own in zip(side_by_side(2), expected, strict=True)]
    network._jumps.cache_clear()
    first = [replicate % 16 == 0 for _, _, replicate in TASKS]
    assert any(wrong) and not any(a and b for a, b in zip(wrong, first, strict=True))


def test_words_of_many_replicates_are_those_of_each() -> None:
    words = words_by_replicate(3, range(14, 19), 2, Stream.PLACE_SITES, 5, 1, 7)
    assert words.tolist() == [
        [draw(3, replicate, 2, Stream.PLACE_SITES, 5, 1, k) for k in range(7)]
        for replicate in range(14, 19)
    ]


def test_the_shipped_scenarios_side_by_side() -> None:
    tasks = [(name, 1, replicate) for name in SHIPPED for replicate in range(4)]
    with sweep.using(2):
        hashes = map_tasks(shipped_trajectory, tasks, compiled=True)
    assert hashes == [shipped_trajectory(*task) for task in tasks]


SHIPPED = shipped.scenarios()


def shipped_trajectory(name: str, seed: int, replicate: int) -> str:
    return Simulation(read_scenario(SHIPPED[name]), seed, replicate).trajectory_sha256(20, 10)


def endless(replicate: int) -> int:
    """The first is done at once, the others would take years."""
    model = Simulation(Scenario(grid=Grid.well_mixed(1.0), dt_s=1.0))
    model.run(10**11 if replicate else 1)
    return replicate


def test_an_interrupt_ends_the_threads() -> None:
    def progress(items: Iterable[Any], /, *, total: int | None = None, label: str = "") -> Any:
        raise KeyboardInterrupt
        yield from items

    before = set(threading.enumerate())
    with pytest.raises(Interrupted), sweep.using(2):
        map_tasks(endless, [(n,) for n in range(4)], progress=progress, compiled=True,
                  prepare=load_kernels)  # fmt: skip
    assert set(threading.enumerate()) <= before


def slow_ticks(number: int) -> int:
    for done in range(5):
        sweep.tell(done)
        time.sleep(0.1)
    return number


def test_progress_moves_within_tasks_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synapse_abm.runs.workers._LOOK_S", 0.05)
    moved: list[float] = []

    def progress(items: Iterable[Any], /, *, total: int | None = None, label: str = "") -> Any:
        for item in items:
            moved.append(time.monotonic())
            yield item

    with sweep.using(2):
        assert map_tasks(slow_ticks, [(n,) for n in range(2)], progress=progress, ticks=5,
                         compiled=True) == [0, 1]  # fmt: skip
    assert len(moved) == 10 and len({round(t, 2) for t in moved}) > 2
