"""How the number bound of one molecule relaxes on a grid, in time and in steps.

One molecule hops on a grid and binds to sites of one or several targets, any number of them a cell.
Simulated in steps (hop for dt, then react for dt) its chain is another one, and its rates too; k_on
and k_off may then be multiplied by factors, which is how a simulator adjusts rates to its step.

Correlations and curves of the number bound are sums over the modes of one symmetric matrix
(`hop_react`). A hop does not change the number bound, so in steps they are the same sums, with
ratio**n in place of exp(-rate n dt): a step has rates, -ln(ratio) / dt, to be compared with those
of time. Rates x dt up to about 20 can be told: beyond, a ratio is lost in rounding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from synapse_abm.core.arrays import Array, nonnegative, one, positive
from synapse_abm.theory.hop_react import FirstBinding, HopReact, Walk, Walls

#: Modes that decay slower than this share of the fastest last for ever: they are the mean.
LASTING = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Relaxation:
    """Correlation of a number and its course from a start, as sums over modes.

    Attributes
    ----------
    rates : array, shape (n,)
        Rates at which the modes decay, 1/s; 0 for what lasts.
    weights : array, shape (n,)
        C(t) = sum of weights exp(-rates t), the mean product of the number at two times t apart.
    course : array, shape (n,)
        The mean number at t after the start is the sum of course exp(-rates t).
    """

    rates: Array
    weights: Array
    course: Array

    @property
    def _decays(self) -> NDArray[np.bool_]:
        return self.rates > LASTING * self.rates.max()

    @property
    def main_rate(self) -> float:
        """Rate of the mode with the largest weight, 1/s."""
        return float(self.rates[np.argmax(np.where(self._decays, self.weights, -1.0))])

    @property
    def correlation_s(self) -> float:
        """Correlation time, s: the time integral of C(t) - C(infinity) over its value at 0."""
        weights, rates = self.weights[self._decays], self.rates[self._decays]
        return float((weights / rates).sum() / weights.sum())

    @property
    def association_s(self) -> float:
        """Mean time, s, that the course needs from its start to its end: the area between, over
        the height. It weighs the whole curve; not a number if that ends where it starts.
        """
        course, rates = self.course[self._decays], self.rates[self._decays]
        height = float(course.sum())
        return float((course / rates).sum()) / height if height else math.nan

    def mean_at(self, t: ArrayLike) -> Array:
        """The mean number at times ``t`` (s) after the start; in steps, at their ends."""
        decay = np.exp(-np.multiply.outer(nonnegative("t", t), self.rates))
        return np.asarray(decay @ self.course)


@dataclass(frozen=True, eq=False)
class LoneMolecule:
    """One molecule among sites that are otherwise empty.

    Attributes
    ----------
    width, height, walls
        The grid, cells in rows.
    hop
        D / h**2 (1/s), rate of hopping to each neighbour.
    cells : array, shape (n,)
        Where it binds. Sites of one target in one cell may be one entry, or several.
    bind, unbind : array, shape (n,)
        Rates (1/s) of binding there, to all sites of an entry together, and of letting go.
    leave
        Rate (1/s) at which it is lost while free. What is said of the number bound then holds for
        many molecules that come from outside and do not get in each other's way.
    """

    width: int
    height: int
    hop: float
    cells: NDArray[np.intp]
    bind: Array
    unbind: Array
    walls: Walls = "reflecting"
    leave: float = 0.0

    def adjusted(self, factor: ArrayLike) -> LoneMolecule:
        """The molecule with ``bind`` and ``unbind`` of each entry multiplied by a factor."""
        s = np.asarray(factor, dtype=np.float64)
        return replace(self, bind=self.bind * s, unbind=self.unbind * s)

    def relaxation(self, dt: float | None = None, counted: ArrayLike | None = None) -> Relaxation:
        """Correlation of the number bound, and its course from a free molecule anywhere.

        Parameters
        ----------
        dt
            Length of a step, s; None for time itself.
        counted
            Which entries count as bound; None for all.
        """
        bound = np.ones(self.bind.size) if counted is None else np.asarray(counted, dtype=float)
        if dt is None:
            rates, modes = self.chain.modes
        else:
            before, ratios, _ = self.chain.steps(one(positive, "dt", dt))
            # Where half a hop changes nothing, at sites and in the sum over cells, before = modes.
            rates, modes = -np.log(np.maximum(ratios, 1e-300)) / dt, before
        cells = self._walk.cells
        seen = (bound * self.chain.root[cells:]) @ modes[cells:]
        even = modes[:cells].sum(axis=0) / cells
        share = 1 / (self.chain.root**2).sum()
        return Relaxation(np.maximum(rates, 0.0), share * seen**2, even * seen)

    def first_binding_s(self, dt: float | None = None) -> float:
        """Mean time, s, until a molecule from anywhere binds (or, if it is lost, would have).

        In steps it binds within the step's reactions, at the time they have then taken.
        """
        binding = np.bincount(self.cells, self.bind, self._walk.cells)
        start = np.full(self._walk.cells, 1 / self._walk.cells)
        if dt is None:
            return FirstBinding(self._walk, binding).mean(start)
        hop, stays = self._walk.hop(one(positive, "dt", dt)), np.exp(-binding * dt)
        # Laws after the hop of each step, summed over all steps begun unbound.
        reacting = np.linalg.solve(np.eye(start.size) - (hop * stays).T, start) @ hop
        binds = binding > 0
        rate = np.where(binds, binding, 1.0)
        return float(reacting @ np.where(binds, -np.expm1(-binding * dt) / rate, dt))

    @property
    def _walk(self) -> Walk:
        return Walk(self.width, self.height, self.hop, self.walls)

    @cached_property
    def chain(self) -> HopReact:
        """The chain itself: states are cells, then entries."""
        return HopReact(self._walk, self.cells, self.bind, self.unbind, leave=self.leave)


__all__ = ["LoneMolecule", "Relaxation"]
