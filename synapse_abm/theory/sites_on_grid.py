"""Many sites in cells of a grid, and molecules that come, wander, rebind and leave: mean field.

Hops are exact; binding goes with the product of mean free molecules and mean empty sites. That is
exact as long as bound molecules leave nearly all sites empty, and otherwise leaves out a covariance
that is smaller than the mean by about one part in the number of sites. A competitor that is clamped
may take sites, too.

A molecule that lets go is bound again on average ``rebindings`` times before it is gone, so a
site seems to let go at koff / (1 + k_on R / k_diff) (Berg & Purcell 1977, Biophys J 20:193; Shoup
& Szabo 1982, Biophys J 40:33). On a grid k_diff is no fitted number: it is the volume of a cell
over the time that a molecule released there spends there until it is gone (`resistance_s`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from synapse_abm.core.arrays import Array, nonnegative, one, positive, refused
from synapse_abm.theory.hop_react import Walk

#: Relative error of a course.
_PRECISION = 1e-8


@dataclass(frozen=True, eq=False)
class SitesOnGrid:
    """A grid of which some cells hold sites.

    Attributes
    ----------
    walk
        How molecules hop.
    sites : array, shape (cells,)
        Sites in each cell.
    kon_pair, koff
        Rates (1/s) at which a molecule and an empty site in its cell bind, and let go.
    exchange
        Rate (1/s) at which a free molecule leaves, from any cell.
    block_on, block_off
        Rates (1/s) at which a clamped competitor takes an empty site (k_on C) and leaves it.

    Raises
    ------
    ValueError
        If a number is out of range.
    """

    walk: Walk
    sites: Array
    kon_pair: float
    koff: float
    exchange: float = 0.0
    block_on: float = 0.0
    block_off: float = 0.0

    def __post_init__(self) -> None:
        sites = nonnegative("sites", self.sites)
        if sites.shape != (self.walk.cells,) or not sites.any():
            raise refused("sites", sites.shape, f"({self.walk.cells},), one number a cell")
        for name in ("kon_pair", "exchange", "block_on", "block_off"):
            one(nonnegative, name, getattr(self, name))
        one(positive, "koff", self.koff)

    @property
    def resistance_s(self) -> float:
        """Time (s) that a molecule released at a site would spend in a site's cell until it is
        gone, if nothing bound it; the mean over all pairs of sites.
        """
        leaving = one(positive, "exchange", self.exchange) * np.eye(self.walk.cells)
        there = np.linalg.solve(leaving - self.walk.generator(), self.sites)
        return float(self.sites @ there) / float(self.sites.sum()) ** 2

    @property
    def rebindings(self) -> float:
        """How often a molecule that lets go binds again, all other sites being empty: k_on R /
        k_diff. Exact for sites in one cell, or in cells that are alike.
        """
        return self.kon_pair * float(self.sites.sum()) * self.resistance_s

    def course(
        self, t: ArrayLike, *, outside: float, bound: float, free: float, blocked: float = 0.0
    ) -> Array:
        """Mean share of the sites that is bound at times ``t`` (s, ascending).

        Parameters
        ----------
        outside
            Molecules that each cell would have in balance with the surroundings.
        bound, blocked
            Share of sites that hold a molecule, and the competitor, at the start.
        free
            Molecules in each cell at the start.
        """
        # Brought in here: who needs only the resistance is spared the import.
        from scipy.integrate import solve_ivp

        times, m = nonnegative("t", t), self.walk.cells
        at: NDArray[np.intp] = np.flatnonzero(self.sites)
        n, hops = self.sites[at], self.walk.generator()

        def slope(_: float, state: Array) -> Array:
            here, held, taken = state[:m], state[m : m + at.size], state[m + at.size :]
            empty = n - held - taken
            net = self.kon_pair * here[at] * empty - self.koff * held
            change = hops @ here + self.exchange * (outside - here)
            change[at] -= net
            return np.concatenate([change, net, self.block_on * empty - self.block_off * taken])

        start = np.concatenate([np.full(m, free), bound * n, blocked * n])
        span = (0.0, float(times.max()))
        solved = solve_ivp(
            slope, span, start, method="LSODA", t_eval=times, rtol=_PRECISION, atol=1e-12
        )
        return np.asarray(solved.y[m : m + at.size].sum(axis=0) / n.sum())
