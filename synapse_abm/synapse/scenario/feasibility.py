"""What can only be judged of a whole scenario: whether its step, times and size can be run."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator

from synapse_abm.core.errors import InputError
from synapse_abm.core.rng import MAX_ENTITY, MAX_STEP
from synapse_abm.synapse.scenario.cost import memory_bytes, samples, steps_per_sample
from synapse_abm.synapse.scenario.definition import Scenario
from synapse_abm.synapse.scenario.timestep import limits

#: What a run may have at most. Figures, tables and theory go through all of it: beyond, a run that
#: is said to take a second takes minutes.
MOST = {"target": 500, "ligand": 200, "binding": 2_000}
MOST_CELLS, MOST_RECORDS = 100_000, 5_000_000


def count_faults(targets: int, ligands: int, pairs: int, listed_cells: int) -> Iterator[InputError]:
    """More parts than a run may have; told before they are gone through one by one."""
    for name, number in zip(MOST, (targets, ligands, pairs), strict=True):
        if number > MOST[name]:
            yield InputError(f"number of {name} tables", number, f"at most {MOST[name]:,}")
    if listed_cells > MOST_CELLS:
        allowed = f"at most {MOST_CELLS:,} in a scenario"
        yield InputError("number of cells listed", listed_cells, allowed, "give 'sites' instead")


def machine_bytes() -> float:
    """Memory of this machine; infinite where it does not tell."""
    try:
        return float(os.sysconf("SC_PHYS_PAGES")) * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # pragma: no cover - other systems
        return math.inf


def run_faults(scenario: Scenario) -> Iterator[InputError]:
    """What can only be judged of a whole scenario with ``run`` settings: step, times, and size."""
    run, found, dt = scenario.run, limits(scenario), scenario.dt_s
    assert run is not None
    if dt > found.senseless_s:
        allowed = (
            f"at most {found.senseless_s:.3g} s, because this scenario is driven; "
            f"{found.longest_s:.3g} s keeps its error small"
        )
        yield InputError("run.dt", f"{dt:g} s", allowed, "or write dt = 'auto'")
    if dt > run.duration_s:
        yield InputError("run.dt", f"{dt:g} s", f"at most the duration, {run.duration_s:g} s")
    for name, ligand in scenario.ligands.items():
        for number, batch in enumerate(ligand.batches):
            late = [time for time in batch.times_s if time >= run.duration_s]
            if late:
                path = f"ligand.{name}.batches[{number}].times"
                allowed = f"times before the end, {run.duration_s:g} s"
                yield InputError(path, f"{late[0]:g} s", allowed)
    every, records = steps_per_sample(scenario, run), samples(scenario, run)
    if every * records > MAX_STEP:
        allowed = f"at most {MAX_STEP * dt:.3g} s with a step of {dt:.3g} s"
        yield InputError("run.duration", f"{run.duration_s:g} s", allowed)
    if records * run.replicates > MOST_RECORDS:
        allowed = f"a time that makes at most {MOST_RECORDS:,} records, replicates together"
        fix = f"this makes {records * run.replicates:,}"
        yield InputError("run.sample_every", f"{run.sample_s:g} s", allowed, fix)
    need, have = memory_bytes(scenario, run.duration_s, records, run.replicates), machine_bytes()
    if need > have or need > 24 * MAX_ENTITY:
        allowed = f"at most {have / 1e9:.0f} GB, the memory of this machine"
        fix = "use fewer molecules, sites, cells or records"
        yield InputError("memory of the run", f"about {need / 1e9:.3g} GB", allowed, fix)
