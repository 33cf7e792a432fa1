"""Exact laws of one molecule on a grid, in continuous time and as a step of length dt sees them.

A step hops first and then lets the molecule react where it is. Whatever is observed at the ends of
steps has its own exact law, which differs from that of continuous time by a known amount: the
*shift*. A case on the grid is simulated at a step that keeps the shift small, and the shift is
taken off the estimate; nothing of the simulation and nothing of the case's numbers enters it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from synapse_abm.synapse.scenario import Grid
from synapse_abm.validation.cases import Array


def hop_generator(grid: Grid, diffusion: float) -> Array:
    """Generator of the walk on the cells of a grid, shape (cells, cells)."""
    rate, wraps = diffusion / grid.spacing_um**2, grid.walls == "periodic"
    x, y = (_row_generator(n, rate, wraps) for n in (grid.width, grid.height))
    found: Array = np.kron(np.eye(grid.height), x) + np.kron(y, np.eye(grid.width))
    return found


def _row_generator(length: int, rate: float, wraps: bool) -> Array:
    moves = np.eye(length, k=1) + np.eye(length, k=-1)
    if wraps and length > 1:
        moves[0, -1] += 1
        moves[-1, 0] += 1
    found: Array = rate * (moves - np.diag(moves.sum(axis=1)))
    return found


def hop_step(grid: Grid, diffusion: float, dt: float) -> Array:
    """What the hops of a step do to the law over the cells."""
    from scipy.linalg import expm

    rate, wraps = diffusion / grid.spacing_um**2, grid.walls == "periodic"
    x, y = (expm(dt * _row_generator(n, rate, wraps)) for n in (grid.width, grid.height))
    found: Array = np.kron(y, x)
    return found


@dataclass(frozen=True, slots=True)
class TimeLaw:
    """Moments of a time, and the probability that it is longer than each of some times.

    ``kurtosis`` is the fourth central moment over var**2: it plans samples of a variance.
    """

    mean: float
    var: float
    survival: Array
    kurtosis: float = 3.0


class Absorption:
    """The time until a molecule is taken in by one cell, at ``rate`` (1/s) or at once (inf).

    Parameters
    ----------
    start
        The law over the cells at time zero, shape (cells,).
    """

    def __init__(
        self, grid: Grid, diffusion: float, cell: int, rate: float, start: Array
    ) -> None:  # fmt: skip
        self._grid, self._diffusion = grid, diffusion
        self._cell, self._rate, self._start = cell, rate, start

    def in_time(self, times: Sequence[float] = ()) -> TimeLaw:
        """The law in continuous time; absorbed at once means also: at time zero."""
        from scipy.linalg import expm

        generator = hop_generator(self._grid, self._diffusion)
        start = self._start
        if np.isinf(self._rate):
            rest = np.arange(start.size) != self._cell
            generator, start = generator[np.ix_(rest, rest)], start[rest]
        else:
            generator[self._cell, self._cell] -= self._rate
        moments, row = [], np.ones(start.size)
        for order in (1, 2, 3, 4):  # E T**k = k! start (-Q)**-k 1
            row = order * np.linalg.solve(-generator, row)
            moments.append(float(start @ row))
        m, second, third, fourth = moments
        var = second - m**2
        central = fourth - 4 * m * third + 6 * m**2 * second - 3 * m**4
        alive = [float((start @ expm(generator * t)).sum()) for t in times]
        return TimeLaw(m, var, np.array(alive), central / var**2 if var > 0 else 3.0)

    def in_steps(self, dt: float, times: Sequence[float] = ()) -> TimeLaw:
        """The law of the end of the step in which it is absorbed; ``times`` are multiples of dt."""
        kept = hop_step(self._grid, self._diffusion, dt)
        kept[:, self._cell] *= np.exp(-self._rate * dt)
        size = self._start.size
        once = np.linalg.solve(np.eye(size) - kept, np.ones(size))
        twice = np.linalg.solve(np.eye(size) - kept, once)
        mean, falling = float(self._start @ once), 2 * float(self._start @ (kept @ twice))
        alive = []
        for t in times:
            power = np.linalg.matrix_power(kept, round(t / dt))
            alive.append(float((self._start @ power).sum()))
        return TimeLaw(dt * mean, dt**2 * (falling + mean - mean**2), np.array(alive))


class Rebinding:
    """One molecule and one site: the time average of "bound" over a stationary window."""

    def __init__(
        self, grid: Grid, diffusion: float, cell: int, binding: float, leaving: float
    ) -> None:  # fmt: skip
        self._grid, self._diffusion, self._cell = grid, diffusion, cell
        self._binding, self._leaving = binding, leaving
        weights = np.ones(grid.cells + 1)
        weights[-1] = binding / leaving
        self.law = weights / weights.sum()

    def _reaction(self) -> Array:
        size = self._grid.cells + 1
        found = np.zeros((size, size))
        found[self._cell, [self._cell, -1]] = -self._binding, self._binding
        found[-1, [self._cell, -1]] = self._leaving, -self._leaving
        return found

    def generator(self) -> Array:
        """In continuous time; the last state is "bound"."""
        found = self._reaction()
        found[:-1, :-1] += hop_generator(self._grid, self._diffusion)
        return found

    def relaxation_s(self) -> float:
        """Slowest relaxation time (s)."""
        root = np.sqrt(self.law)
        symmetric = root[:, None] * self.generator() / root
        return -1 / float(np.sort(np.linalg.eigvalsh((symmetric + symmetric.T) / 2))[-2])

    def noise(self) -> float:
        """Noise at zero frequency: window x variance of the average over a long window (s)."""
        centred = np.zeros(self.law.size)
        centred[-1] = 1.0
        centred -= self.law[-1]
        # The generator alone is singular; the added term fixes the mean of the solution at zero.
        summed = np.linalg.solve(-self.generator() + self.law, centred)
        return 2 * float(self.law * centred @ summed)

    def window_variance(self, dt: float, n: int) -> float:
        """Variance of the mean of ``n`` snapshots at the ends of successive steps."""
        from scipy.linalg import expm

        react = np.eye(self.law.size)
        pair = np.ix_([self._cell, -1], [self._cell, -1])
        react[pair] = expm(dt * self._reaction()[pair])
        step = np.eye(self.law.size)
        step[:-1, :-1] = hop_step(self._grid, self._diffusion, dt)
        step = step @ react
        centred = np.zeros(self.law.size)
        centred[-1] = 1.0
        centred -= self.law[-1]
        later, total = centred, n * float(self.law * centred @ centred)
        for lag in range(1, n):
            later = step @ later
            total += 2 * (n - lag) * float(self.law * centred @ later)
        return total / n**2
