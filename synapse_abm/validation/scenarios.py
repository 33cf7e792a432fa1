"""Scenarios of the cases: one cell of 1 um^3, rates per pair, copies of a system side by side; and
states at time zero that the cases ask for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from synapse_abm.pharmacology.kinetics import Kinetics
from synapse_abm.synapse.engine import layout as lay
from synapse_abm.synapse.engine.network import Names
from synapse_abm.synapse.engine.state import State
from synapse_abm.synapse.scenario import Grid, Ligand, Reservoir, Scenario, Target

ONE_CELL = Grid.well_mixed(1.0)


def per_pair(rate_per_s: float, koff: float, kcat: float = 0.0, grid: Grid = ONE_CELL) -> Kinetics:
    """Binding at a rate per pair of a molecule and a site that are in one cell of ``grid``."""
    # The engine's rate for a pair in one cell is k_on over the molecules that 1 nM puts there.
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
            binding = {f"{target}{copy}": rates for target, rates in ligand.binding.items()}
            ligands[f"{name}{copy}"] = ligand.model_copy(update={"binding": binding})
    return scenario.model_copy(update={"targets": targets, "ligands": ligands})


# --- time zero ------------------------------------------------------------------------------------


def put_into(state: State, cells: lay.I64, width: int) -> None:
    """Put the molecules of a place, all free, into cells of a grid ``width`` cells wide."""
    mol = state.store.molecules
    rows = np.flatnonzero(mol[lay.COMPARTMENT] == lay.FREE)
    mol[lay.CELL, rows] = cells
    mol[lay.Y, rows], mol[lay.X, rows] = np.divmod(cells, width)


type Choice = Callable[[np.random.Generator, int], lay.I64]  # of a ligand for each of n sites


def at_random(occupancy: Mapping[str, float]) -> Choice:
    """Each ligand on a site with its probability: the stationary law of clamped ligands."""
    edges = np.cumsum(list(occupancy.values()))
    # A number of its own for each site; what lies beyond the last edge leaves it empty.
    return lambda generator, n: np.searchsorted(edges, generator.random(n), side="right")


class SitesTaken:
    """Puts clamped ligands on the sites of a state in which all are empty.

    Parameters
    ----------
    ligands
        Ligands by their first letter, as copies side by side name them.
    choose
        Place of a site's ligand among ``ligands``, or their number for an empty site.

    Attributes
    ----------
    pairs : array, shape (pairs,)
        How many sites of each pair of target and ligand were taken last.
    """

    def __init__(self, names: Names, ligands: str, choose: Choice) -> None:
        targets, pairs = len(names.targets), len(names.pairs)
        self._choose, self._number = choose, pairs
        self._ligand = np.full((targets, len(ligands) + 1), -1)  # the last kind is an empty site
        self._total = np.zeros(self._ligand.shape, dtype=np.int64)
        self._total[:, -1] = pairs + np.arange(targets)
        for p, (target, ligand) in enumerate(names.pairs):
            at = names.targets.index(target), ligands.index(ligand[0])
            self._ligand[at], self._total[at] = names.ligands.index(ligand), p

    def __call__(self, state: State, generator: np.random.Generator) -> None:
        """Fill the sites and the totals that the engine keeps of them."""
        sites, totals = state.store.sites, state.store.totals
        at = sites[lay.TARGET], self._choose(generator, sites.shape[1])
        sites[lay.LIGAND] = self._ligand[at]
        # The engine never counts sites anew: totals must be right from the start.
        taken = np.bincount(self._total[at], minlength=int(self._total.max()) + 1)
        totals[: taken.size] = taken
        self.pairs = taken[: self._number].astype(np.float64)
