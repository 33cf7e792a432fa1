"""Which part of a run is stationary, by what the scenario says: the rest is a course."""

from __future__ import annotations

import math

from synapse_abm.synapse.scenario.cost import is_present, residual_transient, settling_s
from synapse_abm.synapse.scenario.parts import Description
from synapse_abm.synapse.scenario.protocol import end_s, stretches

#: Largest share of an occupancy that its average after the burn-in may lack.
LARGEST_RESIDUAL = 0.01
#: Times of settling after a change, and after an empty start, that pass for stationary: what is
#: left of a transient is then below 1e-5, were it half as fast as estimated below 0.3 %.
SETTLING_TIMES = 12
#: Records that a stationary part has at least.
LEAST_RECORDS = 20


def stationary_from_s(scenario: Description) -> float:
    """Time (s) from which on a run is stationary; infinite if no part of it is.

    Without a protocol that is the end of the burn-in, if what binds settles within it, or time zero
    for a start in equilibrium. Else :data:`SETTLING_TIMES` times of settling after the last change.
    """
    run = scenario.run
    assert run is not None
    if not scenario.at and scenario.start.state == "equilibrium":
        return run.burn_in_s
    if not scenario.at and run.burn_in_s > 0 and not lacking(scenario):
        return run.burn_in_s
    if any(at.every_s is not None for at in scenario.at):
        return math.inf
    changed_s, holds = stretches(scenario)[-1]
    released = [t for x in holds.ligands.values() for batch in x.batches for t in batch.times_s]
    changed_s = max([changed_s, *released])
    from_s = max(changed_s + SETTLING_TIMES * _slowest_s(holds), run.burn_in_s)
    leaves = from_s + LEAST_RECORDS * run.sample_s <= end_s(scenario)
    return from_s if leaves else math.inf


def is_course(scenario: Description) -> bool:
    """Whether a run is, in part or wholly, about how things change in time."""
    run = scenario.run
    return run is not None and stationary_from_s(scenario) > run.burn_in_s


def lacking(
    scenario: Description, more_than: float = LARGEST_RESIDUAL
) -> dict[tuple[str, str], tuple[float, float]]:
    """Shares that occupancies lack after the burn-in, and their times of settling (s), where they
    lack too much; by target and ligand.

    Not of ligands that are released in batches: nothing is expected to settle there.
    """
    run, shares = scenario.run, dict[tuple[str, str], tuple[float, float]]()
    for name, ligand in scenario.ligands.items() if run else ():
        for target in ligand.binding if is_present(ligand) and not ligand.batches else ():
            settling = settling_s(scenario, name, target)
            share = residual_transient(run, settling) if run else 0.0
            if share > more_than and scenario.targets[target].n_sites:
                shares[target, name] = share, settling
    return shares


def _slowest_s(scenario: Description) -> float:
    """The longest time of settling, s."""
    times = [
        settling_s(scenario, name, target)
        for name, ligand in scenario.ligands.items()
        for target in ligand.binding
        if is_present(ligand) and scenario.targets[target].n_sites
    ]
    # Molecules that come and go settle without sites too.
    times += [1 / x.loss_per_s for x in scenario.ligands.values() if x.loss_per_s > 0]
    return max(times, default=0.0)
