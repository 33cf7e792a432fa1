"""A burst that spreads, binds, is taken up and lost: mean free molecules on a uniform grid.

Every cell of a periodic grid holds the same sites; molecules are released in some of the cells. The
mean count of each cell follows from its neighbours', in the steps that are simulated: hop for a
step, then react for a step in place. Hops are exact (the heat kernel in Fourier space). Reactions
are mean field: binding goes with the product of mean free molecules and mean empty sites. That is
exact as long as the molecules do not get in each other's way, and without sites; otherwise it
leaves out a covariance that is smaller than the mean by about one part in the number released.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from synapse_abm.core.arrays import Array, fraction, nonnegative, one, positive, refused, whole


@dataclass(frozen=True, slots=True)
class UniformTissue:
    """A periodic grid with the same sites in every cell, and what they do.

    Attributes
    ----------
    width, height : int
        Cells along x and y.
    hops_per_s : float
        D / h**2, rate of hopping to each neighbour, 1/s.
    sites : float
        Sites in each cell.
    kon_pair, koff, kcat : float
        Rates, 1/s, of binding of one molecule and one empty site in its cell, of unbinding and of
        being taken up.
    loss_per_s : float
        Rate at which a free molecule is lost otherwise, 1/s.
    drug_on, drug_off : float
        Rates (1/s) at which a clamped drug takes an empty site (k_on C) and leaves it.

    Raises
    ------
    ValueError
        If a number is out of range.
    """

    width: int
    height: int
    hops_per_s: float
    sites: float
    kon_pair: float
    koff: float
    kcat: float
    loss_per_s: float = 0.0
    drug_on: float = 0.0
    drug_off: float = 0.0

    def __post_init__(self) -> None:
        for name in ("width", "height"):
            object.__setattr__(self, name, whole(name, getattr(self, name), 1))
        for name in ("hops_per_s", "sites", "kon_pair", "koff", "kcat", "loss_per_s", "drug_on",
                     "drug_off"):  # fmt: skip
            one(nonnegative, name, getattr(self, name))

    def burst(
        self, dt: float, steps: int, released: ArrayLike, pulses: Sequence[int], occupied: float,
        spot: ArrayLike,
    ) -> Array:  # fmt: skip
        """Mean free molecules within ``spot`` after each step.

        Parameters
        ----------
        dt, steps
            Length of a step, s, and how many.
        released : array_like, shape (height, width)
            Molecules that one pulse releases, by cell.
        pulses
            Steps (from 0) in the middle of whose reaction a pulse comes.
        occupied : float
            Share of sites that the drug holds at the start.
        spot : array_like of bool, shape (height, width)
            The cells that are read.

        Returns
        -------
        array, shape (steps,)
        """
        shape = (self.height, self.width)
        where, batch = np.asarray(spot, dtype=bool), nonnegative("released", released)
        for name, array in (("spot", where), ("released", batch)):
            if array.shape != shape:
                raise refused(f"shape of {name}", array.shape, f"{shape}")
        state = np.zeros((3, *shape))
        state[2] = one(fraction, "occupied", occupied) * self.sites
        times = {whole("pulses", pulse) for pulse in pulses}
        states = self._states(dt, steps, state, batch, times)
        return np.array([free[where].sum() for free, _, _ in states])

    def course(self, dt: float, steps: int, free: float, occupied: float) -> Array:
        """Means of a cell after each step, from ``free`` molecules in each cell: free, bound, and
        sites that the drug holds, of which it held the share ``occupied`` at the start.

        Returns
        -------
        array, shape (3, steps)
        """
        state = np.zeros((3, self.height, self.width))
        state[0] = one(nonnegative, "free", free)
        state[2] = one(fraction, "occupied", occupied) * self.sites
        states = self._states(dt, steps, state, np.zeros_like(state[0]), frozenset())
        return np.stack([state[:, 0, 0] for state in states], axis=1)

    def _states(
        self, dt: float, steps: int, state: Array, batch: Array, pulses: Set[int]
    ) -> Iterator[Array]:
        """The state after each step, shape (3, height, width)."""
        dt = one(positive, "dt", dt)
        # A step has one length, so the factors of its modes are worked out once.
        decay = self._hop(dt)
        for step in range(whole("steps", steps)):
            if state[0].any():
                state[0] = np.fft.irfft2(np.fft.rfft2(state[0]) * decay, s=state[0].shape)
            # A pulse comes in the middle of a reaction because a simulation releases at a time of
            # its own within the step: on the mean, half of the reaction is over.
            if step in pulses:
                state = self._react(state, dt / 2)
                state[0] += batch
                state = self._react(state, dt / 2)
            else:
                state = self._react(state, dt)
            yield state

    def _hop(self, dt: float) -> Array:
        """Factors of the Fourier modes over a step."""
        ky = 2 * np.pi * np.fft.fftfreq(self.height)
        kx = 2 * np.pi * np.fft.rfftfreq(self.width)
        slowed = (1 - np.cos(ky))[:, None] + (1 - np.cos(kx))[None, :]
        # Along an axis of one cell there is nowhere to go: k = 0 there, and its factor is one.
        return np.asarray(np.exp(-2 * self.hops_per_s * dt * slowed))

    def _react(self, state: Array, dt: float) -> Array:
        """Free, bound and drug-bound over ``dt`` by Runge and Kutta's rule in short parts."""
        fastest = self.kon_pair * self.sites + self.koff + self.kcat + self.loss_per_s
        # 20 parts for the fastest rate: fourth order then errs by some 1e-7 of what changes.
        parts = max(1, int(np.ceil(20 * dt * (fastest + self.drug_on + self.drug_off))))
        h = dt / parts
        for _ in range(parts):
            a = self._slope(state)
            b = self._slope(state + h / 2 * a)
            c = self._slope(state + h / 2 * b)
            d = self._slope(state + h * c)
            state = state + h / 6 * (a + 2 * b + 2 * c + d)
        return state

    def _slope(self, state: NDArray[np.float64]) -> Array:
        free, bound, drug = state
        empty = self.sites - bound - drug
        binding = self.kon_pair * free * empty
        return np.stack([
            self.koff * bound - binding - self.loss_per_s * free,
            binding - (self.koff + self.kcat) * bound,
            self.drug_on * empty - self.drug_off * drug,
        ])  # fmt: skip
