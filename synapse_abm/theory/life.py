"""One molecule among fixed sites on a grid: how long until it binds, binds again, is taken up.

A free molecule hops between neighbouring cells and, in a cell with sites, binds at the rate of
that cell; bound, it unbinds into the same cell (k_off) or is taken up for good (k_cat). That is
a finite Markov chain, reversible up to its losses, so every waiting time is a mixture of
exponentials with rates from one symmetric matrix.

A simulation in steps hops first, by the exact law of hopping for dt, and then reacts for dt with
the position frozen: another chain, whose waiting times are mixtures of geometric laws, exactly and
not to an order of dt. As dt -> 0 they become those of the continuous chain. Both are solved by
`hop_react`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from synapse_abm.core.arrays import Array, nonnegative, one, positive, whole
from synapse_abm.theory.hop_react import (
    FirstBinding,
    HopReact,
    SteppedWaiting,
    Waiting,
    Walk,
)


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
        Rates of unbinding and of being taken up, 1/s; > 0.

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
        for name in ("width", "height"):
            object.__setattr__(self, name, whole(name, getattr(self, name), 1))
        for name in ("hops_per_s", "koff", "kcat"):
            one(positive, name, getattr(self, name))
        rates = nonnegative("binding_per_s", self.binding_per_s)
        if rates.shape != (self.cells,):
            raise ValueError(f"binding_per_s has shape {rates.shape}; it must be ({self.cells},)")
        positive("binding_per_s in the fullest cell", rates.max())
        object.__setattr__(self, "binding_per_s", rates)

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
        return self._until_bound.wait(self._law(start))

    def binding_cells(self, start: ArrayLike) -> Array:
        """Law of the cell in which it binds first, shape (M,)."""
        # Mean time spent free in each cell, times the rate of binding there, is the chance to bind
        # there.
        rates = np.diag(self.binding_per_s) - self._walk.generator()
        return np.linalg.solve(rates, self._law(start)) * self.binding_per_s

    def lifetime(self, start: ArrayLike) -> Waiting:
        """Time until it is taken up, from a free start."""
        return self._life.lifetime(self._free(start))

    # --- steps ------------------------------------------------------------------------------------

    def stepped(self, step_s: float) -> SteppedWandering:
        """The same molecule simulated in steps of hop, then react, each for ``step_s``."""
        return SteppedWandering(self, one(positive, "step_s", step_s))

    # --- parts ------------------------------------------------------------------------------------

    @property
    def _walk(self) -> Walk:
        return Walk(self.width, self.height, self.hops_per_s)

    @cached_property
    def _until_bound(self) -> FirstBinding:
        return FirstBinding(self._walk, self.binding_per_s)

    @cached_property
    def _life(self) -> HopReact:
        """The sites of a cell are one here: which of them it is bound to makes no difference."""
        at = np.flatnonzero(self.binding_per_s)
        return HopReact(self._walk, at, self.binding_per_s[at], self.koff, self.kcat)

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
        """The same over the states of a life: free in each cell, then bound."""
        where = self._law(start)
        return np.concatenate([where, np.zeros(self._life.site_cells.size)])


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
        return self.of._until_bound.wait_in_steps(self.of._law(start), self.step_s)

    def binding_cells(self, start: ArrayLike) -> Array:
        """Law of the cell in which it binds first, shape (M,)."""
        caught: Array = self._reacting(start) * (1 - self._stay)
        return caught

    def free_again(self, start: ArrayLike) -> FreeAgain:
        """After the first binding: is it seen free at the end of a step before it is taken up?

        If so, it is seen in the cell in which it bound, for it has not hopped yet.

        Returns
        -------
        FreeAgain
            Probability, and law of the cell, shape (M,), given that it happens.
        """
        cells, at = self.of.cells, self.of._life.site_cells
        react = self.of._life.react(self.step_s)
        bound = cells + np.arange(at.size)
        at_once = react[at, at] - self._stay[at]  # bound and let go within the step
        # Chances to bind and to let go: the square of their symmetric mean is their product.
        later = react[at, bound] ** 2 / (1 - react[bound, bound])
        again = np.zeros(cells)
        again[at] = self._reacting(start)[at] * (at_once + later)
        return FreeAgain(float(again.sum()), again / again.sum())

    def lifetime(self, start: ArrayLike) -> SteppedWaiting:
        """Steps until it has been taken up, from a free start."""
        return self.of._life.lifetime_in_steps(self.of._free(start), self.step_s)

    @property
    def _stay(self) -> Array:
        """Chance not to bind within the reaction of a step, by cell."""
        return np.asarray(np.exp(-self.of.binding_per_s * self.step_s))

    def _reacting(self, start: ArrayLike) -> Array:
        """Expected number of steps that it begins to react in each cell, never bound before."""
        hop = self.of._walk.hop(self.step_s)
        arriving = self.of._law(start) @ hop
        # The row u = start H + u E H, transposed: H is symmetric, E (stay) diagonal.
        return np.linalg.solve(np.eye(self.of.cells) - hop * self._stay, arriving)
