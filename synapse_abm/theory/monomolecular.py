"""Courses in which nothing meets: exact laws at any time, whatever changes.

Clamped ligands, any number of them, at sites (a site is empty or occupied by one of them),
molecules that enter, leave and are destroyed: each goes its own way, by the rates of the time. The
count of a species is then a sum of independent binomials, one for all that began alike, and of a
Poisson number of what came in by itself (Jahnke & Huisinga 2007, J Math Biol 54:1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from synapse_abm.core.arrays import Array
from synapse_abm.theory.reactions import CountLaw, Moments, Network, Reaction, Stage, pieces

#: Probability below which a count is left out of a table.
NEGLIGIBLE = 1e-25


@dataclass(frozen=True, slots=True)
class IndependentCounts:
    """Law of a sum of Binomial(``numbers[c]``, ``p[c]``) and a Poisson number of mean ``mean``."""

    numbers: Array
    p: Array
    mean: float = 0.0

    def cgf(self, theta: Array) -> Array:
        """Logarithm of the mean of exp(theta x count), for each theta."""
        grown = np.expm1(theta)
        logs: Array = self.numbers @ np.log1p(np.multiply.outer(self.p, grown))
        return logs + self.mean * grown

    def table(self) -> tuple[Array, Array]:
        """Counts, and their probabilities: all but 1e-20 of it."""
        first, law = 0, np.ones(1)
        parts = [(float(n), float(p)) for n, p in zip(self.numbers, self.p, strict=True)]
        for offset, part in [*(_binomial(n, p) for n, p in parts), _poisson(self.mean)]:
            # Direct sums, not Fourier's: all terms are positive, so tails keep their precision.
            first, law = first + offset, np.convolve(law, part)
        return first + np.arange(law.size, dtype=np.float64), law


def _binomial(n: float, p: float) -> tuple[int, Array]:
    from scipy.special import gammaln, xlog1py, xlogy

    k = np.arange(n + 1)
    choose = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    return _cut(choose + xlogy(k, p) + xlog1py(n - k, -p))


def _poisson(mean: float) -> tuple[int, Array]:
    from scipy.special import gammaln, xlogy

    k = np.arange(np.ceil(mean + 12 * np.sqrt(mean) + 60))
    return _cut(xlogy(k, mean) - mean - gammaln(k + 1))


def _cut(logarithm: Array) -> tuple[int, Array]:
    law = np.exp(logarithm)
    inner = np.flatnonzero(law > NEGLIGIBLE)
    return int(inner[0]), law[inner[0] : inner[-1] + 1]


def monomolecular_course(network: Network, seconds: Array) -> Moments:
    """Exact means, variances and laws at each of ``seconds``.

    Raises
    ------
    ValueError
        If molecules meet in the network.
    """
    if not network.is_monomolecular:
        raise ValueError("molecules meet in these reactions: they are not monomolecular")
    course = _Course(network)
    means, variances, counted, laws = (list[Array](), list[Array](), list[Array](),
                                       list[list[CountLaw]]())  # fmt: skip
    for piece in pieces(network.stages, seconds):
        if piece.begins:
            course.begin(piece.stage)
        course.advance(piece.length_s)
        if piece.record >= 0:
            means.append(course.mean())
            variances.append(course.variance())
            counted.append(course.counted())
            laws.append(course.laws())
    counts = np.array(counted)
    return Moments(np.array(means), np.array(variances), counts[:, 0], counts[:, 1], laws=laws)


class _Course:
    """Cohorts (all that began alike, ``numbers`` of them) and where each of their members is."""

    def __init__(self, network: Network) -> None:
        self.network, self.size = network, len(network.counts)
        self.numbers, self.p = np.zeros(0), np.zeros((0, self.size))
        self.mean_poisson = np.zeros(self.size)
        self.stage = network.stages[0]
        self._steps: dict[float, tuple[Array, Array]] = {}
        self.once = self.twice = np.zeros((network.counters, 0, self.size))
        self._start()

    def _start(self) -> None:
        weights = self.network.weights
        together = _connected(self.network.stages[0], self.size)
        for species, number in enumerate(self.network.counts):
            if number:
                row = np.eye(self.size)[species]
                if weights is not None:
                    row = np.where(together[species], weights, 0.0)
                    row = row / row.sum()
                self._join(number, row)
        if weights is not None:
            enter = [r.change[0][0] for r in self.stage.reactions if not r.takes and r.rate > 0]
            self.mean_poisson[enter] = np.array(weights)[enter]

    def _join(self, number: int, row: Array) -> None:
        self.numbers = np.append(self.numbers, number)
        self.p = np.vstack([self.p, row])
        # Moments of what was counted: by counter, cohort, and where its members are now.
        empty = np.zeros((self.network.counters, 1, self.size))
        self.once = np.concatenate([self.once, empty], axis=1)
        self.twice = np.concatenate([self.twice, empty], axis=1)

    def begin(self, stage: int) -> None:
        """Go on by the rates of a stage, with what comes in at its beginning."""
        self.stage, self._steps = self.network.stages[stage], {}
        for species, number in self.stage.added:
            if number > 0:
                self._join(number, np.eye(self.size)[species])

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        if seconds <= 0:
            return
        if seconds not in self._steps:
            self._steps[seconds] = self._step(seconds)
        plain, counting = self._steps[seconds]
        size = self.size
        for k, blocks in enumerate(counting):
            # Moments of the count go with where a member is, fed by those of lower order.
            zero_to_one, zero_to_two, one_to_two = blocks
            self.twice[k] = (
                self.twice[k] @ plain[:size, :size] + self.once[k] @ one_to_two
                + self.p @ zero_to_two
            )  # fmt: skip
            self.once[k] = self.once[k] @ plain[:size, :size] + self.p @ zero_to_one
        self.p = self.p @ plain[:size, :size]
        self.mean_poisson = self.mean_poisson @ plain[:size, :size] + plain[size, :size]

    def _step(self, seconds: float) -> tuple[Array, Array]:
        """Transition over a time, what enters in it as the last row; blocks for the counters."""
        from scipy.linalg import expm

        size, q = self.size, np.zeros((self.size + 1, self.size + 1))
        for reaction in self.stage.reactions:
            _enter(q, reaction)
        plain: Array = expm(q * seconds)
        counting = list[Array]()
        for k in range(self.network.counters):
            one = np.zeros((size, size))
            for reaction in self.stage.reactions:
                if reaction.counter == k:
                    to = [species for species, n in reaction.change if n > 0]
                    one[reaction.takes[0], to[0]] += reaction.rate
            zero, own = np.zeros((size, size)), q[:size, :size]
            block = np.block([[own, one, zero], [zero, own, 2 * one], [zero, zero, own]])
            all_blocks = expm(block * seconds)
            counting.append(
                np.array([
                    all_blocks[:size, size : 2 * size], all_blocks[:size, 2 * size :],
                    all_blocks[size : 2 * size, 2 * size :],
                ])
            )  # fmt: skip
        return plain, np.array(counting)

    def mean(self) -> Array:
        """Mean number of each species."""
        mean: Array = self.numbers @ self.p + self.mean_poisson
        return mean

    def variance(self) -> Array:
        """Its variance."""
        variance: Array = self.numbers @ (self.p * (1 - self.p)) + self.mean_poisson
        return np.maximum(variance, 0.0)

    def laws(self) -> list[CountLaw]:
        """The law of each species."""
        p = np.clip(self.p, 0.0, 1.0)
        return [
            IndependentCounts(self.numbers, p[:, i], max(float(self.mean_poisson[i]), 0.0))
            for i in range(self.size)
        ]

    def counted(self) -> Array:
        """Means and variances of what was counted since the last call, shape (2, counters)."""
        once, twice = self.once.sum(axis=2), self.twice.sum(axis=2)
        # E N(N - 1) + E N - (E N)**2 of each member; members are independent.
        moments = np.array([once @ self.numbers, (twice + once - once**2) @ self.numbers])
        self.once, self.twice = np.zeros_like(self.once), np.zeros_like(self.twice)
        return moments


def _enter(q: Array, reaction: Reaction) -> None:
    """A reaction's rate in the generator; the last row is what enters."""
    to = [species for species, n in reaction.change if n > 0]
    if not reaction.takes:
        q[-1, to[0]] += reaction.rate
        return
    q[reaction.takes[0], reaction.takes[0]] -= reaction.rate
    if to:
        q[reaction.takes[0], to[0]] += reaction.rate


def _connected(stage: Stage, size: int) -> Array:
    """Which species a member of each may become."""
    reach = np.eye(size, dtype=bool)
    for _ in range(size):
        for reaction in stage.reactions:
            if reaction.takes and reaction.rate > 0:
                for species, n in reaction.change:
                    if n > 0:
                        reach[:, species] |= reach[:, reaction.takes[0]]
    return reach
