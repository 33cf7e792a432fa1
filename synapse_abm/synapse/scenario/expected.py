"""What theory says of a scenario: the exact law where one holds, and the textbook's formula.

Exact values are those of the stationary state, where one of these laws applies to a group of
ligands and targets that are connected by binding:

- every ligand is clamped or exchanges with a reservoir, and none of the real ones is transported,
  lost or released: sites are then independent (Anderson, Craciun & Kurtz 2010, doi:10.1007/
  s11538-010-9517-4), transport of a clamped ligand included (the cycle is a star);
- one or two closed ligands that are neither transported, lost nor released share one target, with
  clamped ones beside them: the law of finite copies, on any grid.

The formula is C/(C + K (1 + sum of C_j/K_j of the others)), K being Kd, or Km for what is
transported, with the concentration a textbook would take: clamped, of the reservoir, or count by
volume.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from synapse_abm import theory
from synapse_abm.synapse.scenario.cost import load, nominal_nM
from synapse_abm.synapse.scenario.course_law import systems
from synapse_abm.synapse.scenario.definition import Scenario
from synapse_abm.synapse.scenario.equilibrium import is_open
from synapse_abm.synapse.scenario.parts import Ligand
from synapse_abm.synapse.scenario.step_error import is_driven

#: Largest table of the law of two closed ligands.
LARGEST_TABLE = 4_000_000

type Pair = tuple[str, str]  # (target, ligand)


@dataclass(frozen=True, slots=True)
class Values:
    """Expected occupancies and fluxes (1/s, over all sites) by pair, free molecules by ligand;
    what is not known is missing.
    """

    occupancy: dict[Pair, float] = field(default_factory=dict)
    flux: dict[Pair, float] = field(default_factory=dict)
    free: dict[str, float] = field(default_factory=dict)


def textbook(scenario: Scenario) -> Values:
    """The formulas, as they are commonly used."""
    values = Values()
    for target, ligands in _bound(scenario).items():
        if any(_undefined(scenario.ligands[name]) for name in ligands):
            continue
        loads = {name: load(scenario, name, target) for name in ligands}
        if any(np.isinf(x) for x in loads.values()):
            continue
        for name, x in loads.items():
            _enter(values, scenario, (target, name), x / (1 + sum(loads.values())))
    for name, ligand in scenario.ligands.items():
        if ligand.clamped_nM is None and not _undefined(ligand):
            values.free[name] = nominal_nM(scenario, ligand) * scenario.grid.molecules_per_nM
    return values


def exact(scenario: Scenario) -> Values:
    """Exact stationary means."""
    values = Values()
    for targets, ligands in systems(scenario):
        parts = [scenario.ligands[name] for name in ligands]
        if any(not _reversible(scenario, name) for name in ligands):
            continue
        if all(is_open(ligand) for ligand in parts):
            _open_group(values, scenario, targets, ligands)
        elif len(targets) == 1:
            _closed_group(values, scenario, targets[0], ligands)
    return values


def _enter(values: Values, scenario: Scenario, pair: Pair, occupancy: float) -> None:
    target, name = pair
    values.occupancy[pair] = occupancy
    kcat = scenario.ligands[name].binding[target].kcat_per_s
    if kcat > 0:
        values.flux[pair] = scenario.targets[target].n_sites * kcat * occupancy


def _undefined(ligand: Ligand) -> bool:
    """Whether no single concentration describes a ligand: it is released in batches."""
    return bool(ligand.batches)


def _reversible(scenario: Scenario, name: str) -> bool:
    ligand = scenario.ligands[name]
    # Bound for good: the end is all sites taken, or all molecules, and no law of equilibrium.
    if any(k.koff + k.kcat_per_s == 0 and k.kon > 0 for k in ligand.binding.values()):
        return False
    return ligand.clamped_nM is not None or not is_driven(ligand)


def _bound(scenario: Scenario) -> dict[str, list[str]]:
    """Ligands by the target they bind to; targets with sites only."""
    return {
        target: [name for name, ligand in scenario.ligands.items() if target in ligand.binding]
        for target, record in scenario.targets.items()
        if record.n_sites
    }


def _open_group(values: Values, scenario: Scenario, targets: list[str], ligands: list[str]) -> None:
    bound = _bound(scenario)
    for target in targets:
        loads = {name: load(scenario, name, target) for name in bound[target]}
        if not loads:
            continue
        # Sites are independent, so the law of one of them is enough.
        law = theory.open_competition(1, list(loads.values()), [1.0] * len(loads))
        for number, name in enumerate(loads):
            _enter(values, scenario, (target, name), float(law.p[number]))
    for name in ligands:
        if scenario.ligands[name].clamped_nM is None:
            concentration = nominal_nM(scenario, scenario.ligands[name])
            values.free[name] = concentration * scenario.grid.molecules_per_nM


def _closed_group(values: Values, scenario: Scenario, target: str, ligands: list[str]) -> None:
    parts = {name: scenario.ligands[name] for name in ligands}
    clamped = {n: load(scenario, n, target) for n, x in parts.items() if x.clamped_nM is not None}
    closed = [name for name in ligands if name not in clamped]
    if any(is_open(parts[name]) for name in closed) or len(closed) > 2:
        return
    # Any grid will do, since equilibrium knows no space, but all sites must be within reach.
    stuck = any(parts[name].diffusion_um2_per_s == 0 for name in closed)
    if stuck and scenario.grid.cells > 1:  # a molecule that never leaves its cell
        return
    # Both laws need numbers of molecules, and are summed over tables of them.
    sites, beside = scenario.targets[target].n_sites, 1 + sum(clamped.values())
    copies = [parts[name].count for name in closed]
    # A clamped competitor holds each site that is not bound a share of the time, and so lowers the
    # affinity of the others by a constant.
    affinity = [
        1 / (parts[n].binding[target].half_nM * scenario.grid.molecules_per_nM * beside)
        for n in closed
    ]
    if len(closed) == 1:
        means = [theory.closed_law(sites, copies[0], affinity[0]).mean]
    elif (min(sites, copies[0]) + 1) * (min(sites, copies[1]) + 1) <= LARGEST_TABLE:
        law = theory.closed_competition_law(sites, *copies, *affinity)
        means = [law.mean("A"), law.mean("B")]
    else:
        return
    for name, mean in zip(closed, means, strict=True):
        _enter(values, scenario, (target, name), mean / sites)
        values.free[name] = parts[name].count - mean
    for name, x in clamped.items():
        _enter(values, scenario, (target, name), (1 - sum(means) / sites) * x / beside)
