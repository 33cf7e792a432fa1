"""One molecule and one site on a closed grid, exactly: time course, noise, rebinding.

The chain of (cell of the free molecule, or bound) has cells + 1 states and is solved by its modes
(`hop_react`). Equilibrium does not depend on diffusion
(`grid_law`); everything here does.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from synapse_abm.core.arguments import choice
from synapse_abm.core.arrays import Array, one, positive, refused, whole
from synapse_abm.theory.hop_react import HopReact, Walls
from synapse_abm.theory.relaxation import LoneMolecule

#: Largest grid whose chain is diagonalised.
MOST_CELLS = 2500


@dataclass(frozen=True)
class LonePair:
    """One molecule and one site on a closed grid.

    Attributes
    ----------
    width, height : int
        Cells of the grid.
    site : tuple of int
        Cell (x, y) of the site.
    hop_rate : float
        q = D / h**2, rate (1/s) of hops in each direction, > 0.
    rate_in_cell : float
        k_c, rate (1/s) of binding when both are in one cell, > 0.
    koff : float
        Dissociation rate (1/s), > 0; the molecule stays in the site's cell.
    walls : str
        ``"reflecting"`` or ``"periodic"``.

    Raises
    ------
    ValueError
        If a number is out of range, the site is outside, or there are over ``MOST_CELLS`` cells.
    """

    width: int
    height: int
    site: tuple[int, int]
    hop_rate: float
    rate_in_cell: float
    koff: float
    walls: Walls = "reflecting"

    def __post_init__(self) -> None:
        w, h = whole("width", self.width, 1), whole("height", self.height, 1)
        whole("width x height", w * h, 1, MOST_CELLS)
        try:
            x, y = self.site
        except (TypeError, ValueError):
            raise refused("site", self.site, "a pair: x, y") from None
        site = whole("x of the site", x, 0, w - 1), whole("y of the site", y, 0, h - 1)
        for name, value in (("width", w), ("height", h), ("site", site)):
            object.__setattr__(self, name, value)
        choice("walls", self.walls, ("reflecting", "periodic"))
        for name in ("hop_rate", "rate_in_cell", "koff"):
            one(positive, name, getattr(self, name))

    @property
    def cells(self) -> int:
        """M, number of cells."""
        return self.width * self.height

    @property
    def occupancy(self) -> float:
        """At equilibrium: K / (1 + K), K = k_c / (k_off M)."""
        k = self.rate_in_cell / (self.koff * self.cells)
        return k / (1 + k)

    @property
    def observed_rate(self) -> float:
        """Relaxation rate (1/s) if the place were well mixed: k_c / M + k_off."""
        return self.rate_in_cell / self.cells + self.koff

    @property
    def _place(self) -> int:
        return self.site[1] * self.width + self.site[0]

    @functools.cached_property
    def _molecule(self) -> LoneMolecule:
        at, bind, unbind = (
            np.array([value]) for value in (self._place, self.rate_in_cell, self.koff)
        )
        return LoneMolecule(
            self.width, self.height, self.hop_rate, at, bind, unbind, walls=self.walls
        )

    @property
    def _chain(self) -> HopReact:
        return self._molecule.chain

    @functools.cached_property
    def _weights(self) -> Array:
        """Share of each mode but the lasting one in "bound", relative to the stationary law."""
        return self._chain.modes[1][-1, 1:] * math.sqrt(self.occupancy)

    def occupancy_at(self, t: ArrayLike) -> Array:
        """Probability that the site is bound at time ``t`` (s), the molecule starting free and
        anywhere.
        """
        return self._molecule.relaxation().mean_at(t)

    def stepped_occupancy(self, dt: float, steps: int) -> Array:
        """The same after 0..``steps`` steps of *hop, then react*, each of length ``dt`` (s).

        The law of a simulator that freezes positions while it reacts: shape (steps + 1,).
        """
        return self._molecule.relaxation(dt).mean_at(dt * np.arange(whole("steps", steps) + 1))

    def stepped_average_variance(self, dt: float, snapshots: int) -> float:
        """Variance of the mean of the occupancy at the ends of ``snapshots`` successive steps of
        length ``dt`` (s), in the stationary state.
        """
        before, ratios, after = self._chain.steps(one(positive, "dt", dt))
        n, p = whole("snapshots", snapshots, 1), self.occupancy
        # The last mode lasts for ever: it is the mean, about which this is.
        r, share = ratios[:-1], (before[-1, :-1] * after[:-1, -1]) * p
        later = (n * (1 - r) - (1 - r**n)) / (1 - r) ** 2  # sum over lags k of (n - k) r**(k - 1)
        return float(n * p * (1 - p) + 2 * (share @ later)) / n**2

    @property
    def relaxation_s(self) -> float:
        """Slowest relaxation time (s)."""
        return 1 / float(self._chain.modes[0][1])

    @property
    def mean_arrival_s(self) -> float:
        """Mean time (s) of a free molecule from anywhere to the site's cell: sum over the modes of
        the grid of M phi_k(site)**2 / lambda_k.
        """
        rates, modes = self._chain.walk.modes()
        return float(self.cells * (modes[self._place, 1:] ** 2 / rates[1:]).sum())

    @functools.cached_property
    def resistance_ratio(self) -> float:
        """Resistance of diffusion over that of binding, mean_arrival_s / (M / k_c).

        Binding takes 1 + this times as long as in a well-mixed place (Collins & Kimball 1949, J
        Colloid Sci 4:425, on the lattice).
        """
        return self.mean_arrival_s * self.rate_in_cell / self.cells

    def time_average_variance(self, window: float) -> float:
        """Variance of the occupancy averaged over ``window`` (s) in the stationary state."""
        t, rates = one(positive, "window", window), self._chain.modes[0][1:]
        # Each mode is a memory of its own, averaged over the window as in `time_average_variance`.
        share = (rates * t + np.expm1(-rates * t)) / (rates * t) ** 2
        return float(2 * (self._weights**2 * share).sum())

    @property
    def zero_frequency_noise(self) -> float:
        """Limit of T Var(mean occupancy over T), s: 2 sum over modes of weight**2 / rate.

        The well-mixed value is 2 p (1 - p) / observed_rate.
        """
        return float(2 * (self._weights**2 / self._chain.modes[0][1:]).sum())
