"""What comes before the first step: import, kernels from the cache, building; and memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from synapse_abm.bench.scenarios import half_bound
from synapse_abm.bench.timing import seconds
from synapse_abm.core.compiling import cache_folder
from synapse_abm.synapse.agents.model import SynapseModel
from synapse_abm.synapse.scenario.definition import Scenario

_NEW_PROCESS = """
import sys
from time import perf_counter
start = perf_counter()
from synapse_abm.synapse.agents.model import SynapseModel
from synapse_abm.synapse.scenario.definition import Scenario
imported = perf_counter()
model = SynapseModel(Scenario.model_validate_json(sys.argv[1]))
built = perf_counter()
model.run(1)
first = perf_counter()
model.run(1)
second = perf_counter()
print([imported - start, (first - built) - (second - first)])
"""


def second_process(scenario: Scenario, repetitions: int) -> tuple[float, float] | None:
    """Import time and kernel load time (s) of a new process, the kernels being in the cache.

    The kernel load is what a first step costs more than a second one. None if kernels cannot be
    cached here. The scenario must have been run before in this process.
    """
    if cache_folder() is None:
        return None
    # A new process has to find this package even where it was not installed.
    package = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-c", _NEW_PROCESS, scenario.model_dump_json()]
    times = [
        json.loads(subprocess.run(
            command, env=os.environ | {"PYTHONPATH": path}, stdout=subprocess.PIPE, check=True
        ).stdout)
        for _ in range(repetitions)
    ]  # fmt: skip
    # The least of each: a disturbance can only add to them.
    import_s, load_s = map(min, zip(*times, strict=True))
    return import_s, load_s


def build(molecules: int, koff_dt: float) -> tuple[float, float]:
    """Time to build a model of so many molecules (s), and bytes of its state per molecule.

    The first model of its size in this process: none of its tables is at hand yet.
    """
    # Tables of hops are kept by size of the grid; the first model makes them.
    scenario = half_bound(molecules, koff_dt)
    models: list[SynapseModel] = []
    taken = seconds(lambda: models.append(SynapseModel(scenario, rng=1)))
    return taken, sum(array.nbytes for array in models[0].store) / molecules
