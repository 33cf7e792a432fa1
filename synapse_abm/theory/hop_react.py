"""One molecule that hops on a grid and reacts with fixed sites: in time, and in steps.

In continuous time its law moves as exp((H + R) t): H is the generator of hopping, R that of
binding, unbinding and being taken up. A simulation in steps of length dt hops first and then
reacts in place, exp(H dt) exp(R dt) (Lie-Trotter splitting; Trotter 1959, Proc AMS 10:545), which
is another chain with laws of its own. Both are solved here exactly, nothing is an expansion in dt.

H is symmetric, and R becomes so in units of the square root of the measure for which binding and
letting go balance. Hence every law is a sum over the modes of one symmetric matrix: H + R itself,
or half a hop, react, half a hop, which has the spectrum of a step (Strang 1968, SIAM J Numer Anal
5:506): a mixture of exponentials in time, of geometric laws in steps.

Built on this: `Wandering` (one molecule's life), `LonePair` (one molecule, one site),
`MoleculeFlow` (a steady flow of many), and the first passages, noise and memory that validation
compares the simulator with. Rates are in 1/s, laws are rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from synapse_abm.core.arrays import Array, nonnegative, one, whole

type Walls = Literal["reflecting", "periodic"]


def hop_generator(cells: int, rate_per_s: float, walls: Walls = "reflecting") -> Array:
    """Generator of a walk on a row of cells, 1/s; ``rate_per_s`` is D / h**2 in each direction."""
    n, rate = whole("cells", cells, 1), one(nonnegative, "rate_per_s", rate_per_s)
    moves = np.eye(n, k=1) + np.eye(n, k=-1)
    if walls == "periodic":
        # With two cells on a ring both ways lead to the same neighbour, at twice the rate; with one
        # the molecule comes back to where it was, which is no hop.
        moves[0, -1] += 1
        moves[-1, 0] += 1
        np.fill_diagonal(moves, 0.0)
    generator: Array = rate * (moves - np.diag(moves.sum(axis=1)))
    return generator


def _exp_symmetric(matrix: Array) -> Array:
    # By modes: for a symmetric matrix this is as accurate as `expm`, and cheaper.
    values, vectors = np.linalg.eigh(matrix)
    exponential: Array = (vectors * np.exp(values)) @ vectors.T
    return exponential


@dataclass(frozen=True, slots=True)
class Walk:
    """Hopping on a grid, cells in rows: cell (x, y) has number y * width + x.

    Attributes
    ----------
    hops_per_s
        D / h**2, rate of hopping to each neighbour.
    """

    width: int
    height: int
    hops_per_s: float
    walls: Walls = "reflecting"

    @property
    def cells(self) -> int:
        """Number of cells M."""
        return self.width * self.height

    def generator(self) -> Array:
        """Rates of hopping from cell to cell, shape (M, M), symmetric."""
        x, y = (hop_generator(n, self.hops_per_s, self.walls) for n in (self.width, self.height))
        # Hops along x and along y are independent: the generator is their Kronecker sum, its
        # exponential a Kronecker product.
        return np.asarray(np.kron(np.eye(self.height), x) + np.kron(y, np.eye(self.width)))

    def modes(self) -> tuple[Array, Array]:
        """Rates at which the modes of hopping decay, 1/s, and the modes, shape (M, M), orthonormal.

        The first is the even law, which stays.
        """
        (slow_x, along_x), (slow_y, along_y) = (
            _modes_of_line(n, self.walls) for n in (self.width, self.height)
        )
        rates = self.hops_per_s * np.add.outer(slow_y, slow_x).ravel()
        return rates, np.asarray(np.kron(along_y, along_x))

    def hop(self, seconds: float) -> Array:
        """Chance to be in a cell (column) ``seconds`` after another (row), shape (M, M)."""
        along_x, along_y = (
            (modes * np.exp(-self.hops_per_s * seconds * rates)) @ modes.T
            for rates, modes in (_modes_of_line(n, self.walls) for n in (self.width, self.height))
        )
        return np.asarray(np.kron(along_y, along_x))


def _modes_of_line(cells: int, walls: Walls) -> tuple[Array, Array]:
    """Rates (in hops per neighbour) and orthonormal modes of a walk on a row of cells.

    Standing waves: cosines between walls that reflect; where they wrap, cosine and sine of a wave
    decay alike, and their sum over all waves is a real basis (Hartley 1942, Proc IRE 30:144).
    """
    i, k = np.arange(cells)[:, None], np.arange(cells)
    wave = (2 if walls == "periodic" else 1) * np.pi * k / cells
    rates = 4 * np.sin(wave / 2) ** 2  # 2 (1 - cos) without its cancellation
    if walls == "periodic":
        return rates, (np.cos(wave * i) + np.sin(wave * i)) / np.sqrt(cells)
    return rates, np.cos(wave * (i + 0.5)) * np.sqrt((2 - (k == 0)) / cells)


# --- waiting times --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Waiting:
    """A waiting time with survival P(T > t) = sum over i of weight_i exp(-rate_i t).

    Attributes
    ----------
    weights, rates : array, shape (n,)
        Weights (single ones may be negative) sum to 1, or to less by the chance that there is
        nothing to wait for; rates in 1/s, > 0.
    """

    weights: Array
    rates: Array

    def survival(self, t: ArrayLike) -> Array:
        """P(T > t), shape of ``t`` (s)."""
        times = nonnegative("t", t)
        return np.asarray(np.exp(-times[..., None] * self.rates) @ self.weights)[()]

    def _moment(self, order: int) -> float:
        """E T**order / order!, s**order."""
        return float((self.weights / self.rates**order).sum())

    @property
    def mean(self) -> float:
        """E T, s."""
        return self._moment(1)

    @property
    def var(self) -> float:
        """Variance of T, s**2."""
        return 2 * self._moment(2) - self.mean**2

    @property
    def kurtosis(self) -> float:
        """Fourth central moment over the squared variance; 3 if nothing varies."""
        m, second, third, fourth = (
            k * self._moment(n) for n, k in ((1, 1), (2, 2), (3, 6), (4, 24))
        )
        central = fourth - 4 * m * third + 6 * m**2 * second - 3 * m**4
        return central / self.var**2 if self.var > 0 else 3.0


@dataclass(frozen=True, slots=True, eq=False)
class SteppedWaiting:
    """A waiting time seen at the ends of steps: N = 1, 2 ... is the step in which it ends.

    P(N > 0) = 1 and P(N > k) = sum over i of weight_i ratio_i**(k - 1).

    Attributes
    ----------
    weights, ratios : array, shape (n,)
        Weights (single ones may be negative) sum to the chance to outlast the first step; ratios
        in [0, 1).
    step_s : float
        Length of a step, s.
    """

    weights: Array
    ratios: Array
    step_s: float

    def survival(self, steps: ArrayLike) -> Array:
        """P(N > steps), shape of ``steps``, whole numbers >= 0."""
        k = nonnegative("steps", steps)
        # The first step is apart: the law at its beginning is the start, no mixture of the modes.
        later = self.ratios ** np.maximum(k - 1, 0)[..., None] @ self.weights
        return np.asarray(np.where(k == 0, 1.0, later))[()]

    # E N**n is the sum over k of ((k + 1)**n - k**n) P(N > k); the sums over k are closed forms.

    @property
    def mean(self) -> float:
        """E N times the step, s."""
        return self.step_s * (1 + float((self.weights / (1 - self.ratios)).sum()))

    def _second(self) -> float:
        r = self.ratios
        return 1 + float((self.weights * (3 - r) / (1 - r) ** 2).sum())

    @property
    def var(self) -> float:
        """Variance of N times the step squared, s**2."""
        return float(self.step_s**2 * self._second() - self.mean**2)

    @property
    def skewness(self) -> float:
        """Third central moment of N over the third power of its standard deviation."""
        r, mean = self.ratios, self.mean / self.step_s
        third = 1 + float((self.weights * (7 - 2 * r + r * r) / (1 - r) ** 3).sum())
        var = self._second() - mean**2
        return float((third - 3 * mean * var - mean**3) / var**1.5)


@dataclass(frozen=True, eq=False)
class FirstBinding:
    """A free molecule until it binds for the first time.

    Attributes
    ----------
    binding_per_s : array, shape (M,)
        Rate of binding in each cell; infinite where it binds as soon as it is there.
    """

    walk: Walk
    binding_per_s: Array

    @cached_property
    def _modes(self) -> tuple[NDArray[np.bool_], Array, Array]:
        """Cells in which it can be free; rates and modes there."""
        free, leaving = self._leaving()
        rates, modes = np.linalg.eigh(leaving)
        # Where nothing binds the slowest rate is 0, or -1e-17 by rounding: never, but finite.
        return free, np.maximum(rates, 1e-300), modes

    def _leaving(self) -> tuple[NDArray[np.bool_], Array]:
        """Cells in which it can be free, and minus the generator there."""
        free = np.isfinite(self.binding_per_s)
        hops = self.walk.generator()[np.ix_(free, free)]
        return free, np.diag(self.binding_per_s[free]) - hops

    def mean(self, start: Array) -> float:
        """Mean time until it binds, s: without modes, for what is only planned."""
        free, leaving = self._leaving()
        return float(np.linalg.solve(leaving, start[free]).sum())

    def mean_in_steps(self, start: Array, step_s: float) -> float:
        """Mean length of the steps until it has bound, s, as `mean`."""
        hop, stay = self.walk.hop(step_s), np.exp(-self.binding_per_s * step_s)
        # Steps begun unbound: u = start + u hop stay, solved transposed.
        return step_s * float(np.linalg.solve(np.eye(stay.size) - (hop * stay).T, start).sum())

    def wait(self, start: Array) -> Waiting:
        """Time until it binds, from a law over the cells, shape (M,)."""
        free, rates, modes = self._modes
        return Waiting((start[free] @ modes) * modes.sum(axis=0), rates)

    def wait_in_steps(self, start: Array, step_s: float) -> SteppedWaiting:
        """Steps until the first binding *event*, even if it is undone within its step."""
        stay = np.exp(-self.binding_per_s * step_s)
        half = self.walk.hop(step_s / 2)
        # k steps are (hop stay)**k = half (half stay half)**(k - 1) half stay.
        ratios, modes = np.linalg.eigh((half * stay) @ half)
        return _geometric(ratios, (start @ half @ modes) * (modes.T @ (half @ stay)), step_s)


def _geometric(ratios: Array, weights: Array, step_s: float) -> SteppedWaiting:
    return SteppedWaiting(weights, np.clip(ratios, 0.0, 1 - 1e-15), step_s)


# --- free and bound -------------------------------------------------------------------------------


class Steps(NamedTuple):
    """Steps of hop, then react: k of them are ``before`` @ diag(ratios**(k - 1)) @ ``after``.

    Acts on vectors in symmetric units (`HopReact.root`); ratios ascend.
    """

    before: Array
    ratios: Array
    after: Array


@dataclass(frozen=True, eq=False)
class HopReact:
    """One molecule that hops, binds to any of some sites, and unbinds or is taken up.

    States are the cells, then the sites. In symmetric units a row is divided by `root`, a column
    multiplied by it.

    Attributes
    ----------
    site_cells, binding_per_s : array, shape (S,)
        Cell of each site, and rate of binding to it from there; several sites may share a cell.
    koff, kcat : float or array, shape (S,)
        Rates of unbinding into the site's cell, and of being taken up for good.
    leave : float
        Rate at which a free molecule is lost, wherever it is.
    """

    walk: Walk
    site_cells: NDArray[np.intp]
    binding_per_s: Array
    koff: float | Array
    kcat: float | Array = 0.0
    leave: float = 0.0

    @cached_property
    def root(self) -> Array:
        """Square root of the measure that hopping, binding and letting go keep, shape (M + S,)."""
        bound = self.binding_per_s / self.koff
        return np.sqrt(np.concatenate([np.ones(self.walk.cells), bound]))

    @property
    def _sites(self) -> NDArray[np.intp]:
        return self.walk.cells + np.arange(self.site_cells.size)

    @cached_property
    def _reaction(self) -> Array:
        """Generator of everything but hopping, in symmetric units."""
        size, at, rate = self.root.size, self.site_cells, self.binding_per_s
        reaction = np.zeros((size, size))
        reaction[range(self.walk.cells), range(self.walk.cells)] = -self.leave
        np.subtract.at(reaction, (at, at), rate)
        reaction[self._sites, self._sites] = -(self.koff + self.kcat)
        reaction[at, self._sites] = reaction[self._sites, at] = np.sqrt(rate * self.koff)
        return reaction

    @cached_property
    def modes(self) -> tuple[Array, Array]:
        """Rates of decay in continuous time, ascending, 1/s, and orthonormal modes (columns)."""
        generator = self._reaction.copy()
        generator[: self.walk.cells, : self.walk.cells] += self.walk.generator()
        rates, modes = np.linalg.eigh(-generator)
        return np.maximum(rates, 0.0), modes

    def react(self, seconds: float) -> Array:
        """What reacting in place for ``seconds`` does, in symmetric units."""
        done = np.diag(np.exp(np.diag(self._reaction) * seconds))  # a cell without sites
        for cell in np.unique(self.site_cells):  # cells do not mix: a small exponential for each
            block = np.ix_(*2 * ([cell, *self._sites[self.site_cells == cell]],))
            done[block] = _exp_symmetric(self._reaction[block] * seconds)
        return done

    def steps(self, step_s: float) -> Steps:
        """Steps of length ``step_s``."""
        # Half a hop, react, half a hop is symmetric; the half that is too much at either end is put
        # right by `before` and `after`.
        half = np.eye(self.root.size)
        half[: self.walk.cells, : self.walk.cells] = self.walk.hop(step_s / 2)
        react = self.react(step_s)
        ratios, modes = np.linalg.eigh(half @ react @ half)
        return Steps(half @ modes, np.clip(ratios, 0.0, 1.0), modes.T @ half @ react)

    def memory_steps(self, step_s: float) -> float:
        """Steps in which a molecule that is never taken up forgets where it was."""
        # The largest is 1: the stationary law, which never fades.
        slowest = float(self.steps(step_s).ratios[-2])
        # Held within what a plan can use: less than a seventh of a step, or 1e12 of them, tell no
        # more.
        return 1 / -float(np.log(min(max(slowest, 1e-3), 1 - 1e-12)))

    def lifetime(self, start: Array) -> Waiting:
        """Time until it is taken up, from a law over the states, shape (M + S,)."""
        rates, modes = self.modes
        return Waiting(((start / self.root) @ modes) * (self.root @ modes), rates)

    def lifetime_in_steps(self, start: Array, step_s: float) -> SteppedWaiting:
        """Steps until it has been taken up."""
        before, ratios, after = self.steps(step_s)
        return _geometric(ratios, ((start / self.root) @ before) * (after @ self.root), step_s)
