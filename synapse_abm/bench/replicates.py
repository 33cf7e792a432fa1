"""Many short runs of one scenario: set up by itself each, or as replicates that share; by threads.

Every run has the same trajectory in all three, so what differs is time alone.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from synapse_abm.bench.scenarios import half_bound
from synapse_abm.core.arguments import all_cores
from synapse_abm.core.progress import Progress, silent
from synapse_abm.runs import sweep
from synapse_abm.synapse.engine.simulation import Simulation, forget_shared
from synapse_abm.synapse.scenario.definition import Scenario

MOLECULES, KOFF_DT = 200, 0.05


@dataclass(frozen=True, slots=True)
class Replicates:
    """Seconds of every round: CPU time of one thread, wall time of one and of all threads.

    Parameters
    ----------
    runs, molecules, steps
        Runs of a round, and their size.
    threads
        How many all threads are.
    alone_s, shared_s
        CPU time with nothing shared, and with replicates that share what they can.
    one_thread_s, all_threads_s
        Wall time of the latter.
    """

    runs: int
    molecules: int
    steps: int
    threads: int
    alone_s: tuple[float, ...]
    shared_s: tuple[float, ...]
    one_thread_s: tuple[float, ...]
    all_threads_s: tuple[float, ...]

    @property
    def gain(self) -> float:
        """How many times as fast they are by sharing; the median of the rounds."""
        return _ratio(self.alone_s, self.shared_s)

    @property
    def gain_of_threads(self) -> float:
        """How many times as fast all threads are as one; the median of the rounds."""
        return _ratio(self.one_thread_s, self.all_threads_s)

    def record(self) -> dict[str, float]:
        """The contents of ``--json FILE``."""
        return {
            "runs": self.runs, "molecules": self.molecules, "steps": self.steps,
            "threads": self.threads, "shared_over_alone": self.gain,
            "threads_over_one": self.gain_of_threads,
            "microseconds_per_run": 1e6 * min(self.shared_s) / self.runs,
        }  # fmt: skip

    def text(self) -> str:
        """A line for the terminal."""
        return (
            f"replicates ({self.molecules} molecules, {self.steps} steps): "
            f"{self.gain:.2f} times as fast as one by one; "
            f"{self.threads} threads {self.gain_of_threads:.2f} times as fast as one"
        )


def _ratio(slow: tuple[float, ...], fast: tuple[float, ...]) -> float:
    # Each round by itself: what slowed it, slowed both.
    return statistics.median(a / b for a, b in zip(slow, fast, strict=True))


def replicates(
    runs: int, steps: int, rounds: int, progress: Progress = silent
) -> Replicates:  # fmt: skip
    """Time so many runs in turns, ``rounds`` times."""
    scenario, threads = half_bound(MOLECULES, KOFF_DT), all_cores()
    tasks = [(scenario, steps, 1, number) for number in range(runs)]

    def alone() -> None:
        for task in tasks:
            forget_shared()
            _run(*task)

    def shared(workers: int) -> None:
        with sweep.using(workers):
            sweep.map_tasks(_run, tasks, compiled=True)

    shared(threads)  # compiles, and lets Python learn, before anything is timed
    rows = list[tuple[float, float, float, float]]()
    for _ in progress(range(rounds), label="replicates in turns"):
        cpu, wall = _timed(lambda: shared(1))
        rows.append((_timed(alone)[0], cpu, wall, _timed(lambda: shared(threads))[1]))
    columns: list[tuple[float, ...]] = list(zip(*rows, strict=True))
    return Replicates(runs, MOLECULES, steps, threads, *columns)


def _run(scenario: Scenario, steps: int, seed: int, replicate: int) -> float:
    """Mean occupancy over the second half of a run."""
    model = Simulation(scenario, seed, replicate)
    model.run(steps // 2)
    series = model.run(steps // 2, every=max(steps // 8, 1))
    return float(series.totals[:, 0].mean())


def _timed(action: Callable[[], object]) -> tuple[float, float]:
    """CPU time of this process and wall time of an action, s."""
    cpu, wall = time.process_time(), time.perf_counter()
    action()
    return time.process_time() - cpu, time.perf_counter() - wall
