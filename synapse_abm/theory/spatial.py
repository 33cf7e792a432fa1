"""Binding equilibrium on a closed grid: diffusion does not enter it.

Hopping between equal cells is symmetric and unbinding returns the molecule to its site's cell, so
detailed balance holds with the uniform measure over cells. The number bound then has the
well-mixed law, whatever the diffusion coefficient, the walls, the dimension and the places of the
sites.
"""

from __future__ import annotations

from numpy.typing import ArrayLike

from synapse_abm.core.arrays import Array, broadcasting, finite, nonnegative, one, positive, whole
from synapse_abm.theory.closed import closed_law
from synapse_abm.theory.law import Law


@broadcasting
def affinity_on_grid(rate_in_cell: ArrayLike, koff: ArrayLike, cells: int) -> Array:
    """Affinity per molecule K = k_c / (k_off M) that a grid of M cells gives a pair.

    Parameters
    ----------
    rate_in_cell : array_like
        k_c, rate (1/s) at which one molecule binds one empty site of the cell it is in.
    koff : array_like
        Dissociation rate (1/s), > 0.
    cells : int
        M, number of cells of the grid, >= 1.
    """
    # A free molecule is in the site's cell 1/M of the time.
    release = positive("koff", koff) * whole("cells", cells, 1)
    affinity = nonnegative("rate_in_cell", rate_in_cell) / release
    return finite("rate_in_cell / (koff x cells)", affinity)


def grid_law(sites: int, ligands: int, rate_in_cell: float, koff: float, cells: int) -> Law:
    """Exact law of the number bound on a closed grid: `closed_law` with the grid's affinity."""
    rate = one(nonnegative, "rate_in_cell", rate_in_cell)
    affinity = affinity_on_grid(rate, one(positive, "koff", koff), cells)
    return closed_law(sites, ligands, float(affinity))
