"""One molecule among fixed sites on a grid: how long until it binds, binds again, is carried off.

A free molecule hops between neighbouring cells and, in a cell with sites, binds at the rate of
that cell; bound, it lets go into the same cell (k_off) or is carried off for good (k_cat). That is
a finite Markov chain, reversible up to its losses, so every waiting time is a mixture of
exponentials with rates from one symmetric matrix.

A simulation in steps hops first, by the exact law of hopping for dt, and then reacts for dt with
the position frozen. This is another chain, whose waiting times are mixtures of geometric laws:
`Wandering.stepped` gives them exactly, not to an order of dt. As dt -> 0 they become those of the
continuous chain.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from synapse_abm.theory._check import Array, nonnegative, positive, whole


@dataclass(frozen=True, slots=True, eq=False)
class Waiting:
    """A waiting time with survival P(T > t) = sum over i of weight_i exp(-rate_i t).

    Attributes
    ----------
    weights, rates : array, shape (n,)
        Weights sum to 1 (single ones may be negative); rates in 1/s, > 0.
    """

    weights: Array
    rates: Array

    def survival(self, t: ArrayLike) -> Array:
        """P(T > t), shape of ``t`` (s)."""
        times = nonnegative("t", t)
        return np.asarray(np.exp(-times[..., None] * self.rates) @ self.weights)[()]

    @property
    def mean(self) -> float:
        """E T, s."""
        return float((self.weights / self.rates).sum())

    @property
    def var(self) -> float:
        """Variance of T, s**2."""
        return float(2 * (self.weights / self.rates**2).sum()) - self.mean**2


@dataclass(frozen=True, slots=True, eq=False)
class SteppedWaiting:
    """A waiting time seen at the ends of steps: N = 1, 2 ... is the step in which it ends.

    P(N > k) = sum over i of weight_i ratio_i**k.

    Attributes
    ----------
    weights, ratios : array, shape (n,)
        Weights sum to 1 (single ones may be negative); ratios in [0, 1).
    step_s : float
        Length of a step, s.
    """

    weights: Array
    ratios: Array
    step_s: float

    def survival(self, steps: ArrayLike) -> Array:
        """P(N > steps), shape of ``steps``, whole numbers >= 0."""
        k = nonnegative("steps", steps)
        return (self.ratios ** k[..., None] @ self.weights)[()]

    @property
    def mean(self) -> float:
        """E N times the step, s."""
        return self.step_s * float((self.weights / (1 - self.ratios)).sum())

    @property
    def var(self) -> float:
        """Variance of N times the step squared, s**2."""
        r = self.ratios
        second = float((self.weights * (1 + r) / (1 - r) ** 2).sum())
        return float(self.step_s**2 * second - self.mean**2)

    @property
    def skewness(self) -> float:
        """Third central moment of N over the third power of its standard deviation."""
        r, mean = self.ratios, self.mean / self.step_s
        second = float((self.weights * (1 + r) / (1 - r) ** 2).sum())
        third = float((self.weights * (1 + 4 * r + r * r) / (1 - r) ** 3).sum())
        var = second - mean**2
        return float((third - 3 * mean * var - mean**3) / var**1.5)


class FreeAgain(NamedTuple):
    """Whether and where a molecule is next seen free at the end of a step, after it has bound."""

    probability: float
    cells: Array


@dataclass(frozen=True, eq=False)
class Wandering:
    """A molecule that wanders on a grid and binds, alone among sites that are all empty.

    Attributes
    ----------
    width, height : int
        Cells along x and y, with reflecting walls; cell (x, y) has number y * width + x.
    hops_per_s : float
        D/h**2, rate of hopping to each neighbour, 1/s; > 0.
    binding_per_s : array, shape (width * height,)
        Rate at which the molecule binds in each cell (sites there times rate per pair), 1/s.
    koff, kcat : float
        Rates of letting go and of being carried off, 1/s; > 0.

    Raises
    ------
    ValueError
        If a rate is not allowed, nothing binds anywhere, or the array has another size.
    """

    width: int
    height: int
    hops_per_s: float
    binding_per_s: Array
    koff: float
    kcat: float

    def __post_init__(self) -> None:
        whole("width", self.width, 1)
        whole("height", self.height, 1)
        positive("hops_per_s", self.hops_per_s)
        positive("koff", self.koff)
        positive("kcat", self.kcat)
        nonnegative("binding_per_s", self.binding_per_s)
        if self.binding_per_s.shape != (self.cells,):
            shape = self.binding_per_s.shape
            raise ValueError(f"binding_per_s has shape {shape}; it must be ({self.cells},)")
        positive("binding_per_s in the fullest cell", self.binding_per_s.max())

    @property
    def cells(self) -> int:
        """Number of cells M."""
        return self.width * self.height

    @property
    def mean_if_mixed(self) -> float:
        """Mean time to bind if the molecule were anywhere with equal chance at any time, s.

        M / (sum of the binding rates): also the exact mean time free between two bindings, however
        slow diffusion is, for a molecule let go in each cell in proportion to its binding rate
        (Kac 1947, Bull AMS 53:1002).
        """
        return self.cells / float(self.binding_per_s.sum())

    # --- continuous time --------------------------------------------------------------------------

    def first_binding(self, start: ArrayLike) -> Waiting:
        """Time until a free molecule binds, from cell ``start`` or from a law over the cells."""
        rates, modes = self._free_modes
        return _mixture(rates, (self._law(start) @ modes) * modes.sum(axis=0))

    def binding_cells(self, start: ArrayLike) -> Array:
        """Law of the cell in which it binds first, shape (M,)."""
        where = self._law(start)
        rates = np.diag(self.binding_per_s) - self._hopping()
        return np.linalg.solve(rates, where) * self.binding_per_s

    def lifetime(self, start: ArrayLike) -> Waiting:
        """Time until it is carried off, from a free start."""
        weight = self._reversible()
        generator = self._reaction()
        generator[: self.cells, : self.cells] -= self._hopping()
        rates, modes = np.linalg.eigh(generator)
        left = (self._free(start) / weight) @ modes
        return _mixture(rates, left * (weight @ modes))

    # --- steps ------------------------------------------------------------------------------------

    def stepped(self, step_s: float) -> SteppedWandering:
        """The same molecule simulated in steps of hop, then react, each for ``step_s``."""
        return SteppedWandering(self, float(positive("step_s", step_s)))

    @cached_property
    def _free_modes(self) -> tuple[Array, Array]:
        """Rates and modes of a molecule that wanders until it binds."""
        rates, modes = np.linalg.eigh(np.diag(self.binding_per_s) - self._hopping())
        return rates, modes

    # --- parts ------------------------------------------------------------------------------------

    def _law(self, start: ArrayLike) -> Array:
        at = np.asarray(start)
        if at.ndim == 0:
            where = np.zeros(self.cells)
            where[whole("start", start, 0, self.cells - 1)] = 1.0
            return where
        where = nonnegative("start", start)
        if where.shape != (self.cells,) or abs(where.sum() - 1) > 1e-9:
            raise ValueError(f"start must be a cell, or a law over {self.cells} cells, sum 1")
        return where

    def _free(self, start: ArrayLike) -> Array:
        """The same over the states of a life: free in each cell, then bound in each site cell."""
        where = self._law(start)
        return np.concatenate([where, np.zeros(self._bound_cells().size)])

    def _bound_cells(self) -> NDArray[np.intp]:
        return np.flatnonzero(self.binding_per_s)

    def _hopping(self) -> Array:
        """Generator of hopping, shape (M, M)."""
        x, y = (_line(n, self.hops_per_s) for n in (self.width, self.height))
        return np.kron(np.eye(self.height), x) + np.kron(y, np.eye(self.width))

    def _reversible(self) -> Array:
        """Square root of the measure for which hopping, binding and letting go are symmetric."""
        bound = self.binding_per_s[self._bound_cells()] / self.koff
        return np.sqrt(np.concatenate([np.ones(self.cells), bound]))

    def _reaction(self) -> Array:
        """Minus the symmetrised generator of everything but hopping."""
        at, rate = self._bound_cells(), self.binding_per_s
        reaction = np.diag(np.concatenate([rate, np.full(at.size, self.koff + self.kcat)]))
        pairs = self.cells + np.arange(at.size)
        reaction[at, pairs] = reaction[pairs, at] = -np.sqrt(rate[at] * self.koff)
        return reaction


@dataclass(frozen=True, eq=False)
class SteppedWandering:
    """`Wandering` in steps of length ``step_s``: hop for a step, then react for a step in place.

    Everything is exact for what such a simulation shows at the ends of its steps and for what it
    counts within them; nothing is an expansion in the step.
    """

    of: Wandering
    step_s: float

    def first_binding(self, start: ArrayLike) -> SteppedWaiting:
        """Steps until the first binding *event*, even if it is undone within its step."""
        where = self.of._law(start)
        root, ratios, modes = self._free_modes
        weights = ((where / root) @ modes) * (root @ modes)
        return _geometric(ratios, weights, self.step_s)

    @cached_property
    def _free_modes(self) -> tuple[Array, Array, Array]:
        # Survival is row @ (H E)**k @ 1 with H symmetric, E = root**2 diagonal.
        root = np.exp(-self.of.binding_per_s * self.step_s / 2)
        ratios, modes = np.linalg.eigh(root[:, None] * self._hop() * root)
        return root, ratios, modes

    def binding_cells(self, start: ArrayLike) -> Array:
        """Law of the cell in which it binds first, shape (M,)."""
        stay = np.exp(-self.of.binding_per_s * self.step_s)
        caught: Array = self._reacting(start) * (1 - stay)
        return caught

    def free_again(self, start: ArrayLike) -> FreeAgain:
        """After the first binding: is it seen free at the end of a step before it is carried off?

        If so, it is seen in the cell in which it bound, for it has not hopped yet.

        Returns
        -------
        FreeAgain
            Probability, and law of the cell, shape (M,), given that it happens.
        """
        it, dt = self.of, self.step_s
        before, again = self._reacting(start), np.zeros(it.cells)
        for cell in it._bound_cells():
            k = float(it.binding_per_s[cell])
            react = _in_cell(k, it.koff, it.kcat, dt)
            at_once = react[0, 0] - np.exp(-k * dt)  # bound and let go within the step
            later = react[0, 1] * react[1, 0] / (1 - react[1, 1])
            again[cell] = before[cell] * (at_once + later)
        return FreeAgain(float(again.sum()), again / again.sum())

    def lifetime(self, start: ArrayLike) -> SteppedWaiting:
        """Steps until it has been carried off, from a free start."""
        it, weight = self.of, self.of._reversible()
        # One step is A R, A = hop and R = exp(-reaction dt), both symmetric in these coordinates.
        values, vectors = np.linalg.eigh(it._reaction())
        half, back = ((vectors * np.exp(s * values * self.step_s / 2)) @ vectors.T for s in (-1, 1))
        hop = np.eye(weight.size)
        hop[: it.cells, : it.cells] = self._hop()
        ratios, modes = np.linalg.eigh(half @ hop @ half)
        weights = ((it._free(start) / weight) @ back @ modes) * ((half @ weight) @ modes)
        return _geometric(ratios, weights, self.step_s)

    def _reacted(self, steps: float) -> Array:
        """exp(-reaction) over a number of steps: each site cell mixes with its bound state only."""
        it = self.of
        reaction = it._reaction()
        result = np.diag(np.exp(-np.diag(reaction) * self.step_s * steps))
        for number, cell in enumerate(it._bound_cells()):
            pair = np.ix_(*2 * ([cell, it.cells + number],))
            result[pair] = _exp_symmetric(-reaction[pair] * self.step_s * steps)
        return result

    def _hop(self) -> Array:
        """Law of the cell after the hop, by cell before, shape (M, M), symmetric."""
        rates = (_line(n, self.of.hops_per_s) for n in (self.of.width, self.of.height))
        along_x, along_y = (_exp_symmetric(rate * self.step_s) for rate in rates)
        hop: Array = np.asarray(np.kron(along_y, along_x), np.float64)
        return hop

    def _reacting(self, start: ArrayLike) -> Array:
        """Expected number of steps that it begins to react in each cell, never bound before."""
        stay = np.exp(-self.of.binding_per_s * self.step_s)
        hop = self._hop()
        arriving = self.of._law(start) @ hop
        # The row u = start H + u E H, transposed: H is symmetric, E (stay) diagonal.
        return np.linalg.solve(np.eye(self.of.cells) - hop * stay, arriving)


def _mixture(rates: Array, weights: Array) -> Waiting:
    return Waiting(weights, np.maximum(rates, 1e-300))


def _geometric(ratios: Array, weights: Array, step_s: float) -> SteppedWaiting:
    return SteppedWaiting(weights, np.clip(ratios, 0.0, 1 - 1e-15), step_s)


def _line(cells: int, rate: float) -> Array:
    """Generator of hopping along a line of cells between reflecting walls."""
    step = np.diag(np.full(cells - 1, rate), 1)
    jumps = step + step.T
    return jumps - np.diag(jumps.sum(axis=1))


def _exp_symmetric(matrix: Array) -> Array:
    values, vectors = np.linalg.eigh(matrix)
    exponential: Array = (vectors * np.exp(values)) @ vectors.T
    return exponential


def _in_cell(binding: float, koff: float, kcat: float, t: float) -> Array:
    """Chances to go from free or bound (rows) to free or bound (columns) within ``t``."""
    from scipy.linalg import expm

    full: Array = expm(np.array([[-binding, binding], [koff, -koff - kcat]]) * t)
    return full
