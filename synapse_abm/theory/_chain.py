"""Small continuous-time Markov chains, solved exactly: stationary law, transients, counted events.

A chain is listed by following its moves from one state; its generator Q has the rate i -> j at
``Q[i, j]`` and minus the total rate of leaving i at ``Q[i, i]``, so that d(row)/dt = row @ Q.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from synapse_abm.core.arrays import Array, nonnegative, one, refused

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    type Rates = csr_array[np.float64]

#: Largest chain whose generator is treated as a full matrix (8 MB at 1000 states).
FULL_MATRIX_STATES = 1200
#: Largest chain that is explored: Python and sparse LU take seconds for it.
MOST_STATES = 50_000
#: Most events per state of a transient: the exponential of its matrix errs by 2e-16 of them.
MOST_EVENTS = 1e12

type State = tuple[int, ...]


class Move(NamedTuple):
    """One transition out of a state; ``counted`` marks the events a `Counting` counts."""

    to: State
    rate: float
    counted: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Chain:
    """States in order of discovery, generator, and total rate of counted events in each state."""

    states: tuple[State, ...]
    generator: Rates
    counted: Rates


def explore(start: State, moves: Callable[[State], Iterable[Move]]) -> Chain:
    """The chain of all states that ``start`` leads to; moves of rate zero are not followed.

    Raises
    ------
    ValueError
        If there are more than ``MOST_STATES``.
    """
    from scipy.sparse import csr_array

    # States are numbered as they are met. Only what the start leads to is listed: a chain of counts
    # within their limits has far fewer states than the box that holds them.
    index = {start: 0}
    rows: list[tuple[int, int, float, bool]] = []
    queue = [start]
    for state in queue:  # grows while it is read: breadth first
        if len(queue) > MOST_STATES:
            raise ValueError(f"the arguments lead to over {MOST_STATES} states; give fewer copies")
        for to, rate, counted in moves(state):
            if rate > 0:
                if to not in index:
                    index[to] = len(queue)
                    queue.append(to)
                rows.append((index[state], index[to], rate, counted))
    n = len(queue)
    # Duplicates add up when the sparse array is made: two moves between the same two states, such
    # as release and transport of the last molecule, are one rate.
    table = np.array(rows, dtype=np.float64).reshape(-1, 4)  # from, to, rate, counted
    i, j = table[:, :2].astype(np.int64).T
    all_rates, counted_rates = table[:, 2], table[:, 2] * table[:, 3]
    jumps: Rates = csr_array((all_rates, (i, j)), shape=(n, n))
    counted_jumps: Rates = csr_array((counted_rates, (i, j)), shape=(n, n))
    leaving: Rates = csr_array((jumps.sum(axis=1), (np.arange(n), np.arange(n))), shape=(n, n))
    return Chain(tuple(queue), jumps - leaving, counted_jumps)


def stationary(chain: Chain) -> Array:
    """The stationary law of an irreducible chain, shape (states,).

    Small chains: Grassmann, Taksar & Heyman 1985 (Oper Res 33:1107), which never subtracts and so
    gives even the smallest probabilities to full relative precision. Large ones: sparse LU.

    Raises
    ------
    ValueError
        If some state cannot be returned from.
    """
    n = len(chain.states)
    full = n <= FULL_MATRIX_STATES
    return normalised(_gth(chain.generator.toarray()) if full else sparse_null(chain))


def _gth(q: Array) -> Array:
    n = q.shape[0]
    # State k is taken out of the chain: what went through it goes on to where it led. All terms are
    # positive, so nothing cancels, and the diagonal is never read.
    for k in range(n - 1, 0, -1):
        into, out = np.flatnonzero(q[:k, k]), np.flatnonzero(q[k, :k])
        leaving = q[k, out].sum()
        if leaving == 0:
            raise ValueError("the chain has no unique stationary law: some states trap it")
        q[into, k] /= leaving
        q[np.ix_(into, out)] += np.outer(q[into, k], q[k, out])
    weight = np.ones(n)
    for k in range(1, n):
        # Put back one by one: what flows into state k from those before it, over its rate of
        # leaving.
        weight[k] = weight[:k] @ q[:k, k]
    return weight


def sparse_null(chain: Chain) -> Array:
    """Weights in proportion to the stationary law of a large chain, by sparse LU."""
    from scipy.sparse import eye_array
    from scipy.sparse.linalg import spsolve

    # One step of inverse iteration points out a probable state; with its weight set to 1 the
    # balance equations of the others are well conditioned.
    balance = chain.generator.T.tocsc()
    n = balance.shape[0]
    shift = 1e-9 * float(abs(balance.diagonal()).max())
    rough: Array = spsolve(balance - shift * eye_array(n, format="csc"), np.ones(n))
    pin = int(np.argmax(np.abs(rough)))
    weight = np.ones(n)
    rest = np.flatnonzero(np.arange(n) != pin)
    rows = balance[rest]
    weight[rest] = spsolve(rows[:, rest], -rows[:, [pin]].toarray()[:, 0])
    # LU leaves probabilities of 1e-17 of the largest with either sign.
    return np.maximum(weight, 0.0)


def normalised(weight: Array) -> Array:
    """The law in proportion to ``weight``.

    Raises
    ------
    ValueError
        If there is none, as rates were too large or too unlike for floats.
    """
    total = weight.sum()
    if not 0 < total < np.inf:
        raise ValueError("the rates among the arguments differ by too much to be balanced")
    return weight / total


def propagate(chain: Chain, row: Array, t: float) -> Array:
    """The law at time ``t`` from the law ``row`` at time 0: row @ exp(Q t), shape (states,)."""
    # By the matrix exponential, not by solving the equations in time: it is good to rounding at any
    # t, also where rates differ a millionfold.
    law = row @ transition(chain, t)
    return np.maximum(law, 0.0) / law.sum()


def transition(chain: Chain, t: float) -> Array:
    """exp(Q t), shape (states, states); entries may be below 0 by rounding."""
    from scipy.linalg import expm

    n = len(chain.states)
    if n > FULL_MATRIX_STATES:
        raise ValueError(f"{n} states are too many for a transient; at most {FULL_MATRIX_STATES}")
    generator, time = chain.generator.toarray(), one(nonnegative, "t", t)
    if not time * np.abs(generator).max() <= MOST_EVENTS:
        raise refused("t", t, f"short enough for {MOST_EVENTS:g} events per state")
    full: Array = expm(generator * time)
    return full


def hitting_time(chain: Chain, target: NDArray[np.bool_]) -> tuple[float, float]:
    """Mean and standard deviation of the first time in ``target``, starting in the first state.

    ``target`` marks states; the rest must be able to reach it.
    """
    from scipy.sparse.linalg import splu

    if target[0]:
        return 0.0, 0.0
    # With A the generator among the states outside, E T = -A^-1 1 and E T^2 = 2 A^-2 1.
    away = np.flatnonzero(~target)
    lu = splu(chain.generator.tocsc()[away][:, away])
    first: Array = lu.solve(-np.ones(away.size))
    second: Array = lu.solve(-2 * first)
    return float(first[0]), float(np.sqrt(second[0] - first[0] ** 2))


class CountMoments(NamedTuple):
    """Mean and variance of a number of events."""

    mean: float
    var: float

    @property
    def fano(self) -> float:
        """Variance divided by mean: 1 for a Poisson process."""
        return self.var / self.mean if self.mean > 0 else 1.0


class Counting:
    """Counted events of a stationary chain, a Markovian arrival process.

    With pi the stationary law, Q1 the rates of counted moves, r = Q1 1 their total in each state
    and D = int_0^inf (exp(Q s) - 1 pi) ds the deviation matrix, the number N in a window t has

        E N = J t,  J = pi r
        Var N = (J + 2 pi Q1 D r) t - 2 pi Q1 (1 - exp(Q t)) D**2 r

    (Neuts 1979, J Appl Probab 16:764; Narayana & Neuts 1992, Stoch Models 8:459).
    """

    __slots__ = ("_after", "_chain", "_once", "_twice", "rate")

    def __init__(self, chain: Chain, law: Array) -> None:
        r: Array = chain.counted.sum(axis=1)
        self._chain = chain
        self.rate = float(law @ r)
        self._after: Array = law @ chain.counted
        self._once = _deviation(chain, law, r - self.rate)
        self._twice = _deviation(chain, law, self._once)

    @property
    def fano(self) -> float:
        """Var N / E N of a long window; NaN when nothing is ever counted."""
        if self.rate == 0:
            return float("nan")
        return 1 + 2 * float(self._after @ self._once) / self.rate

    def moments(self, t: float) -> CountMoments:
        """Mean and variance of the number of events in a window of length ``t``."""
        growth = self.rate + 2 * float(self._after @ self._once)
        # What the window's two ends cut off of the correlations: it dies out as t grows.
        fading = self._after @ (self._twice - transition(self._chain, t) @ self._twice)
        return CountMoments(self.rate * t, growth * t - 2 * float(fading))


def _deviation(chain: Chain, law: Array, centred: Array) -> Array:
    """D @ ``centred`` for a vector of zero stationary mean: the x with Q x = -centred, pi x = 0."""
    from scipy.sparse.linalg import spsolve

    # x is fixed up to a constant; setting it to 0 in the most probable state keeps the rest small.
    x = np.zeros(law.size)
    rest = np.flatnonzero(np.arange(law.size) != np.argmax(law))
    if rest.size:
        x[rest] = spsolve(chain.generator.tocsc()[rest][:, rest], -centred[rest])
    return x - float(law @ x)
