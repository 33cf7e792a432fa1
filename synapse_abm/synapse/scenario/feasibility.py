"""What can only be judged of a whole scenario: whether its step, times and size can be run."""

from __future__ import annotations

from collections.abc import Iterator

from synapse_abm.core.arguments import machine_bytes
from synapse_abm.core.errors import InputError
from synapse_abm.core.rng import MAX_ENTITY, MAX_STEP
from synapse_abm.synapse.scenario.cost import (
    estimate_cost,
    memory_bytes,
    samples,
    steps_per_sample,
)
from synapse_abm.synapse.scenario.definition import Scenario
from synapse_abm.synapse.scenario.parts import DEFAULT_ACCURACY, EQUILIBRIUM
from synapse_abm.synapse.scenario.step_error import driven
from synapse_abm.synapse.scenario.timestep import largest_sensible_s

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


#: A run that an accuracy makes longer than this is refused, s.
LONGEST_RUN_S = 86_400.0


def _accuracy_faults(scenario: Scenario) -> Iterator[InputError]:
    """An accuracy that cannot be had: in equilibrium alone, or within a day."""
    accuracy = scenario.accuracy
    if accuracy == EQUILIBRIUM:
        if driven(scenario):
            allowed = "a percentage: this scenario is driven, its means depend on the step"
            yield InputError("run.accuracy", accuracy, allowed, "such as '1 %'")
        return
    if not scenario.dt_is_auto or float(accuracy) >= DEFAULT_ACCURACY:
        return
    seconds = estimate_cost(scenario).seconds
    if seconds > LONGEST_RUN_S:
        allowed = "one for which the run takes less than a day"
        fix = (
            f"this takes about {seconds / LONGEST_RUN_S:.2g} days, in steps of {scenario.dt_s:g} s"
        )
        yield InputError("run.accuracy", f"{100 * float(accuracy):g} %", allowed, fix)


def step_faults(scenario: Scenario) -> Iterator[InputError]:
    """A step given by hand that is too long for what is driven."""
    if scenario.dt_is_auto:
        return
    dt_s, sensible_s = scenario.dt_s, largest_sensible_s(scenario)
    if dt_s > sensible_s:
        allowed = f"at most {sensible_s:g} s, because this scenario is driven"
        yield InputError("run.dt", f"{dt_s:g} s", allowed, "or write dt = 'auto'")


def run_faults(scenario: Scenario) -> Iterator[InputError]:
    """What can only be judged of a whole scenario with ``run`` settings: step, times, and size."""
    run, dt = scenario.run, scenario.dt_s
    assert run is not None
    yield from step_faults(scenario)
    yield from _accuracy_faults(scenario)
    if dt > run.duration_s:
        yield InputError("run.dt", f"{dt:g} s", f"at most the duration, {run.duration_s:g} s")
    for name, ligand in scenario.ligands.items():
        for number, batch in enumerate(ligand.batches):
            late = [time for time in batch.times_s if time >= run.duration_s]
            if late:
                path = f"ligand.{name}.batches[{number}].times"
                allowed = f"times before the end, {run.duration_s:g} s"
                yield InputError(path, f"{late[0]:g} s", allowed)
    # A step is 38 bits of a random number's address; records are gone through one by one.
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
