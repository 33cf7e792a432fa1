"""Courses of small systems: the master equation on all states that are within reach.

Finite state projection (Munsky & Khammash 2006, J Chem Phys 124:044104): states beyond the caps are
left out, the probability that goes there is lost, and that loss is the error. What comes in at once
shifts the law. Closed systems need no caps: all states are there, and nothing is lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from synapse_abm.core.arrays import Array
from synapse_abm.theory.reactions import CountLaw, Moments, Network, Stage, pieces

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    type Matrix = csr_array[np.float64]

type I64 = NDArray[np.int64]

#: Most states, and most multiplications of a course (some seconds).
MOST_STATES, MOST_WORK = 20_000, 6e8
#: Largest generator whose exponential is made once for equal steps of time.
FULL_MATRIX_STATES = 300
#: Probability that is left out where molecules come in at once: too small to be followed.
NEGLIGIBLE = 1e-14


class TooLarge(ValueError):
    """A system with too many states or events for its master equation."""


@dataclass(frozen=True, slots=True)
class TableLaw:
    """The law of a count in a table: ``p[n]`` for n = 0, 1, ..."""

    p: Array

    def cgf(self, theta: Array) -> Array:
        """Logarithm of the mean of exp(theta x count), for each theta."""
        counts, p = self.table()
        mean = float(counts @ p)
        # About the mean, so that small exponents keep their digits.
        grown = np.expm1(np.clip(np.multiply.outer(theta, counts - mean), -700, 700))
        return theta * mean + np.log1p(grown @ p)

    def table(self) -> tuple[Array, Array]:
        """Counts, and their probabilities."""
        inner = np.flatnonzero(self.p > 0)
        return inner.astype(np.float64), self.p[inner] / self.p[inner].sum()


def projected_course(network: Network, seconds: Array, caps: Array) -> Moments:
    """Means, variances and laws at each of ``seconds``, by the master equation.

    Parameters
    ----------
    caps : array, shape (species,)
        Largest number of each species that is followed.

    Raises
    ------
    TooLarge
        If there are more than ``MOST_STATES`` states, or the course takes over ``MOST_WORK``.
    """
    course = _Projection(network, np.asarray(caps, dtype=np.int64))
    means, variances, counted, laws = (list[Array](), list[Array](), list[Array](),
                                       list[list[CountLaw]]())  # fmt: skip
    for piece in pieces(network.stages, seconds):
        if piece.begins:
            course.begin(piece.stage)
            if piece.stage == 0:
                course.demand_short(float(seconds[-1]), len(network.stages) + seconds.size)
        course.advance(piece.length_s)
        if piece.record >= 0:
            marginals = course.laws()
            tables = [law.table() for law in marginals]
            mean = np.array([n @ p for n, p in tables])
            means.append(mean)
            variances.append(
                np.array([(n - m) ** 2 @ p for (n, p), m in zip(tables, mean, strict=True)])
            )
            counted.append(course.counted())
            laws.append(marginals)
    return Moments(
        np.array(means), np.array(variances), np.array(counted),
        error=max(0.0, 1 - course.remaining), laws=laws,
    )  # fmt: skip


class _Projection:
    """The law over the states that are followed."""

    def __init__(self, network: Network, caps: I64) -> None:
        self.network, self.caps = network, caps
        if float(np.prod(caps + 1.0)) > 2.0**62:
            raise TooLarge("numbers of molecules are too large for a master equation")
        self.radix = np.concatenate([[1], np.cumprod(caps[:-1] + 1)]).astype(np.int64)
        self.states = np.array([network.counts], dtype=np.int64)
        self.law, self.work = np.ones(1), 0.0
        self.matrix: Matrix | None = None
        self._full = dict[float, Array | None]()
        self.total = np.zeros(network.counters)

    @property
    def remaining(self) -> float:
        """Probability that is still followed."""
        return float(self.law.sum())

    def begin(self, number: int) -> None:
        """Go on by the rates of a stage, with what comes in at its beginning."""
        stage = self.network.stages[number]
        if stage.added:
            likely = self.law > NEGLIGIBLE
            shift = np.zeros_like(self.caps)
            for species, n in stage.added:
                shift[species] += n
            self.states, self.law = self.states[likely] + shift, self.law[likely]
        if stage.added or number == 0:
            self._explore(number)
        if number == 0 and self.network.weights is not None:
            self._balance(self.network.weights)
        self._generator(stage)

    def _explore(self, number: int) -> None:
        """List all states within reach until molecules come in at once again."""
        changes = set[tuple[tuple[int, int], ...]]()
        for later, stage in enumerate(self.network.stages[number:]):
            if later and stage.added:
                break
            changes |= {reaction.change for reaction in stage.reactions if reaction.rate > 0}
        moves = np.zeros((len(changes), self.caps.size), dtype=np.int64)
        for row, change in enumerate(sorted(changes)):
            for species, n in change:
                moves[row, species] += n
        inside = (self.states <= self.caps).all(axis=1)
        self.states, self.law = self.states[inside], self.law[inside]
        keys = np.sort(self.states @ self.radix)
        frontier = self.states
        # Breadth first, a whole layer of states at a time.
        while frontier.size:
            new = (frontier[:, None, :] + moves[None]).reshape(-1, self.caps.size)
            new = new[((new >= 0) & (new <= self.caps)).all(axis=1)]
            found, first = np.unique(new @ self.radix, return_index=True)
            at = np.minimum(np.searchsorted(keys, found), keys.size - 1)
            fresh = keys[at] != found
            frontier = new[first[fresh]]
            keys = np.union1d(keys, found[fresh])
            if keys.size > MOST_STATES:
                raise TooLarge(f"over {MOST_STATES} states")
        law = np.zeros(keys.size)
        law[np.searchsorted(keys, self.states @ self.radix)] = self.law
        # A state's key is its counts in a number system of mixed radix.
        self.keys, self.law = keys, law
        self.states = keys[:, None] // self.radix % (self.caps + 1)

    def _balance(self, weights: tuple[float, ...]) -> None:
        """The equilibrium on the states within reach."""
        from scipy.special import gammaln, xlogy

        log = (xlogy(self.states, np.array(weights)) - gammaln(self.states + 1)).sum(axis=1)
        law = np.exp(log - log.max())
        self.law = law / law.sum()

    def _generator(self, stage: Stage) -> None:
        """Matrix of d(law)/dt, with a row below for each counter's mean."""
        from scipy.sparse import coo_array

        n, counters = self.law.size, self.network.counters
        rows, columns, rates = list[I64](), list[I64](), list[Array]()
        leaving, here = np.zeros(n), np.arange(n)
        for reaction in stage.reactions:
            rate = np.full(n, reaction.rate)
            for species in reaction.takes:
                rate = rate * self.states[:, species]
            leaving += rate
            to = self.states.copy()
            for species, change in reaction.change:
                to[:, species] += change
            good = (rate > 0) & ((to >= 0) & (to <= self.caps)).all(axis=1)
            rows.append(np.searchsorted(self.keys, to[good] @ self.radix))
            columns.append(here[good])
            rates.append(rate[good])
            if reaction.counter >= 0:
                rows.append(np.full(n, n + reaction.counter))
                columns.append(here)
                rates.append(rate)
        rows, columns, rates = [*rows, here], [*columns, here], [*rates, -leaving]
        size = n + counters
        entries = np.concatenate(rates), (np.concatenate(rows), np.concatenate(columns))
        self.matrix = coo_array(entries, shape=(size, size)).tocsr()
        self.fastest, self._full = float(leaving.max(initial=0.0)), {}

    def demand_short(self, seconds: float, number: int) -> None:
        """Refuse what will take too long before it is begun: ``number`` pieces of a course."""
        assert self.matrix is not None
        if self.matrix.shape[0] > FULL_MATRIX_STATES:
            expected = 3.0 * self.matrix.nnz * (2 * self.fastest * seconds + 20 * number)
            if expected > 2 * MOST_WORK:
                raise TooLarge("too many events for the master equation")

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        from scipy.linalg import expm
        from scipy.sparse.linalg import expm_multiply

        if seconds <= 0:
            return
        assert self.matrix is not None
        vector = np.concatenate([self.law, self.total])
        key = float(f"{seconds:.12g}")
        # The exponential of a full matrix pays where its step of time comes again.
        again = key in self._full
        self._full.setdefault(key, None)
        if again and self.matrix.shape[0] <= FULL_MATRIX_STATES:
            if (full := self._full[key]) is None:
                self.work += 5.0 * self.matrix.shape[0] ** 3  # dense algebra is quick
                full = self._full[key] = expm(self.matrix.toarray() * seconds)
            vector = full @ vector
        else:
            self.work += 3.0 * self.matrix.nnz * (2 * self.fastest * seconds + 20)
            if self.work <= MOST_WORK:
                vector = expm_multiply(self.matrix * seconds, vector)
        if self.work > MOST_WORK:
            raise TooLarge("too many events for the master equation")
        n = self.law.size
        self.law, self.total = np.maximum(vector[:n], 0.0), vector[n:]

    def laws(self) -> list[CountLaw]:
        """The law of each species."""
        return [TableLaw(np.bincount(column, self.law)) for column in self.states.T]

    def counted(self) -> Array:
        """Means of what was counted since the last call."""
        counted, self.total = self.total, np.zeros_like(self.total)
        return counted
