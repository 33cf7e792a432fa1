"""Case K2: binding equilibrium on a closed grid, which must not depend on how molecules move.

The equilibrium is exact at any step, so the step is 1 / k_off. Many copies of the system share the
grid; they do not meet, and their scatter gives the error.
"""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np

from synapse_abm.network import Address
from synapse_abm.scenario import Grid, Ligand, Scenario, Target
from synapse_abm.simulation import Series
from synapse_abm.validation.cases import Array, Case
from synapse_abm.validation.places import per_pair, side_by_side
from synapse_abm.validation.quantities import OCCUPANCY, mean
from synapse_abm.validation.samples import BURN_IN, Panel, Sample
from synapse_abm.validation.trials import AFFORDABLE, DECIDING, Claims, Found, Trial, too_long

COPIES, FIRST = 64, 120
LONGEST_SIDE = 300


def closed_grid(case: Case) -> Found:
    """Case K2: sites in given cells of a grid with walls that reflect or wrap."""
    if len(case.params.get("shape", ())) == 3:
        return Found(left_out=[(case.id, "three dimensions; a place is a grid of two")])
    shape = case.wholes("shape", (1, 2), 1, LONGEST_SIDE)
    cells = case.cells("receptors", shape)
    grid = Grid(
        width=shape[0], height=shape[1] if len(shape) == 2 else 1, spacing_um=case.rate("h"),
        walls="periodic" if case.flag("periodic", False) else "reflecting",
    )  # fmt: skip
    binding, leaving = case.rate("k_bind_in_cell"), case.rate("koff")
    ligand = Ligand(
        count=_molecules(case, len(cells)),
        diffusion_um2_per_s=case.rate("D"),
        binding={"T": per_pair(binding, leaving, grid=grid)},
    )
    if case.faults:
        return Found()
    places = tuple((cell[0], cell[1] if len(cell) == 2 else 0) for cell in cells)
    scenario = Scenario(
        grid=grid, targets={"T": Target(kind="receptor", cells=places)},
        ligands={"L": ligand}, dt_s=1 / leaving,
    )  # fmt: skip
    claims = Claims(case)
    claims.occupancy("mean_bound", mean("bound"), len(cells))
    claims.law("pmf_bound", "bound", OCCUPANCY * len(cells))
    quantities = (*claims.means, *claims.spreads)
    every = _relaxation_steps(scenario, binding / leaving)
    cost = every * (COPIES * ligand.count * 6 + 20) * (BURN_IN + DECIDING * FIRST)
    if not quantities or cost > AFFORDABLE:
        return Found(left_out=[(case.id, too_long(quantities, cost))] if quantities else [])

    def observe(address: Address, kernels: ModuleType | None) -> Sample:
        return Panel(
            side_by_side(scenario, COPIES), address, kernels, levels={"bound": _bound}, every=every
        )

    return Found([Trial(quantities, FIRST, observe, cost)])


def _molecules(case: Case, sites: int) -> int:
    """Number of molecules; without one, as many as the law in the file can have bound."""
    law = case.exact.get("pmf_bound")
    most = len(law) - 1 if isinstance(law, list) and len(law) > 1 else sites
    return case.count("L", 1, default=most)


def _relaxation_steps(scenario: Scenario, affinity: float) -> int:
    """Steps of 1 / k_off in which positions and bonds are forgotten, or a few too many.

    A molecule that ends a step in a site's cell is free with probability k_off / (k_c + k_off) or
    more; it then has to get about, at worst across the longer side.
    """
    grid, ligand = scenario.grid, scenario.ligands["L"]
    side = max(grid.width, grid.height) * grid.spacing_um
    across_s = side**2 / (math.pi**2 * ligand.diffusion_um2_per_s)
    return math.ceil((1 + affinity) * (1 + across_s / scenario.dt_s / 4) + across_s / scenario.dt_s)


def _bound(series: Series) -> Array:
    """Sites that hold a molecule, shape (observations, copies)."""
    counts = [series.bound(f"T{i}", f"L{i}") for i in range(COPIES)]
    return np.array(counts, dtype=np.float64).T


