"""Parallel efficiency on two cores, T1 / (2 T2): ``python tests/efficiency.py``.

On an idle machine. The series is ``hyperbola`` with enough replicates to take over ten seconds on
one core, one and two workers in turn. The CPU time beside it shows, on a machine with other work,
what workers cost.
"""

from __future__ import annotations

import resource
import time

from synapse_abm.core.progress import silent
from synapse_abm.runs import sweep
from synapse_abm.runs.experiment import find


def cpu_s() -> float:
    """CPU time of this process and of the workers that have ended, s."""
    both = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in both)


def main(replicates: int = 400, rounds: int = 3) -> None:
    """Print times and efficiencies of each round."""
    hyperbola = find("hyperbola").load()
    hyperbola.run(seed=1, quick=True, progress=silent)
    hyperbola.REPLICATES = replicates  # type: ignore[attr-defined]
    for _ in range(rounds):
        wall, cpu = [], []
        for workers in (1, 2):
            started, spent = time.perf_counter(), cpu_s()
            with sweep.using(workers):
                hyperbola.run(seed=1, quick=False, progress=silent)
            wall.append(time.perf_counter() - started)
            cpu.append(cpu_s() - spent)
        print(
            f"T1 {wall[0]:.2f} s, T2 {wall[1]:.2f} s, efficiency {wall[0] / 2 / wall[1]:.3f};"
            f" CPU {cpu[0]:.2f} s and {cpu[1]:.2f} s, ratio {cpu[0] / cpu[1]:.3f}"
        )


if __name__ == "__main__":
    main()
