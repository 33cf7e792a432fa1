"""Scenarios of the cases: one cell of 1 um^3, rates per pair and copies of a system side by
side.
"""

from __future__ import annotations

from collections.abc import Mapping

from synapse_abm.pharmacology.kinetics import Kinetics
from synapse_abm.synapse.scenario import Grid, Ligand, Reservoir, Scenario, Target

ONE_CELL = Grid.well_mixed(1.0)


def per_pair(rate_per_s: float, koff: float, kcat: float = 0.0, grid: Grid = ONE_CELL) -> Kinetics:
    """Binding at a rate per pair of a molecule and a site that are in one cell of ``grid``."""
    per_cell = grid.molecules_per_nM / grid.cells
    return Kinetics(kon_per_nM_s=rate_per_s * per_cell, koff_per_s=koff, kcat_per_s=kcat)


def per_concentration(rate: float, koff: float, kcat: float = 0.0) -> Kinetics:
    """Binding of a clamped ligand; the case's unit of concentration is taken for nM."""
    return Kinetics(kon_per_nM_s=rate, koff_per_s=koff, kcat_per_s=kcat)


def reservoir(mean_free: float, exchange_per_s: float) -> Reservoir:
    """A reservoir that alone would keep ``mean_free`` molecules in the cell."""
    per_nM = ONE_CELL.molecules_per_nM
    return Reservoir(concentration_nM=mean_free / per_nM, exchange_per_s=exchange_per_s)


def well_mixed(sites: int, ligands: Mapping[str, Ligand], dt_s: float = 1.0) -> Scenario:
    """``sites`` sites of the target "T" and the ligands, all in one cell."""
    return Scenario(
        grid=ONE_CELL, targets={"T": Target(sites=sites)}, ligands=dict(ligands), dt_s=dt_s
    )


def side_by_side(scenario: Scenario, copies: int) -> Scenario:
    """The same system ``copies`` times over in one place; copies do not meet.

    Ligand "L" and target "T" become "L0", "L1", ... and "T0", "T1", ...; ligand i binds target i
    only.
    """
    targets, ligands = {}, {}
    for copy in range(copies):
        for name, target in scenario.targets.items():
            targets[f"{name}{copy}"] = target
        for name, ligand in scenario.ligands.items():
            binding = {f"{target}{copy}": each for target, each in ligand.binding.items()}
            ligands[f"{name}{copy}"] = ligand.model_copy(update={"binding": binding})
    return scenario.model_copy(update={"targets": targets, "ligands": ligands})
