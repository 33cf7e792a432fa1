"""One molecule and one site on a closed grid, exactly: time course, noise, rebinding.

The chain of (cell of the free molecule, or bound) has cells + 1 states and is reversible, so its
symmetrised generator is solved by eigenvectors. Equilibrium does not depend on diffusion
(`grid_law`); everything here does.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from synapse_abm.theory._check import Array, nonnegative, positive, whole

#: Largest grid whose chain is diagonalised.
MOST_CELLS = 2500


@dataclass(frozen=True)
class LonePair:
    """One molecule among reflecting walls, and one site.

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

    def __post_init__(self) -> None:
        w, h = whole("width", self.width, 1), whole("height", self.height, 1)
        whole("width x height", w * h, 1, MOST_CELLS)
        whole("x of the site", self.site[0], 0, w - 1)
        whole("y of the site", self.site[1], 0, h - 1)
        for name in ("hop_rate", "rate_in_cell", "koff"):
            positive(name, getattr(self, name))

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

    @functools.cached_property
    def _place(self) -> int:
        return self.site[1] * self.width + self.site[0]

    @functools.cached_property
    def _hops(self) -> Array:
        """Generator of the free molecule."""

        def line(n: int) -> Array:
            q = np.diag(np.ones(n - 1), 1) + np.diag(np.ones(n - 1), -1)
            return q - np.diag(q.sum(axis=1))

        flat = np.kron(np.eye(self.height), line(self.width)) + np.kron(
            line(self.height), np.eye(self.width)
        )
        return np.asarray(self.hop_rate * flat)

    @functools.cached_property
    def _modes(self) -> tuple[Array, Array, Array]:
        """Rates of decay, ascending; orthonormal modes; root of the stationary law."""
        m, place = self.cells, self._place
        q = np.zeros((m + 1, m + 1))
        q[:m, :m] = self._hops
        q[place, place] -= self.rate_in_cell
        q[m, m] = -self.koff
        q[place, m] = q[m, place] = math.sqrt(self.rate_in_cell * self.koff)  # symmetrised
        rates, modes = np.linalg.eigh(-q)
        p = self.occupancy
        root = np.sqrt(np.append(np.full(m, (1 - p) / m), p))
        return np.maximum(rates, 0.0), modes, root

    def occupancy_at(self, t: ArrayLike) -> Array:
        """Probability that the site is bound at time ``t`` (s), the molecule starting free and
        anywhere.
        """
        rates, modes, root = self._modes
        start = np.append(np.full(self.cells, 1 / self.cells), 0.0) / root
        weights = (start @ modes) * modes[-1] * root[-1]
        times = nonnegative("t", t)
        return np.asarray(np.exp(-np.multiply.outer(times, rates)) @ weights)

    def stepped_occupancy(self, dt: float, steps: int) -> Array:
        """The same after 0..``steps`` steps of *hop, then react*, each of length ``dt`` (s).

        The law of a simulator that freezes positions while it reacts: shape (steps + 1,).
        """
        m, place = self.cells, self._place
        law, found = np.append(np.full(m, 1 / m), 0.0), [0.0]
        rates, modes = np.linalg.eigh(-self._hops)
        hop = (modes * np.exp(-rates * float(positive("dt", dt)))) @ modes.T
        leaving = self.rate_in_cell + self.koff
        mixed = -math.expm1(-leaving * dt)
        for _ in range(whole("steps", steps)):
            law[:m] = law[:m] @ hop
            pair = law[place] + law[m]
            moved = mixed * (pair * self.rate_in_cell / leaving - law[m])
            law[place], law[m] = law[place] - moved, law[m] + moved
            found.append(float(law[m]))
        return np.array(found)

    @property
    def mean_arrival_s(self) -> float:
        """Mean time (s) of a free molecule from anywhere to the site's cell: sum over the modes of
        the grid of M phi_k(site)**2 / lambda_k.
        """
        rates, modes = np.linalg.eigh(-self._hops)
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
        rates, modes, root = self._modes
        t, weight, k = float(positive("window", window)), modes[-1, 1:] * root[-1], rates[1:]
        share = (k * t + np.expm1(-k * t)) / (k * t) ** 2
        return float(2 * (weight**2 * share).sum())

    @property
    def zero_frequency_noise(self) -> float:
        """Limit of T Var(mean occupancy over T), s: 2 sum over modes of weight**2 / rate.

        The well-mixed value is 2 p (1 - p) / observed_rate.
        """
        rates, modes, root = self._modes
        weight = modes[-1, 1:] * root[-1]
        return float(2 * (weight**2 / rates[1:]).sum())
