"""Courses by the rate equations: means of large systems, how they scatter, what they lack.

With a(m) the rates at the means m and J their derivative, nu the changes and S the covariances

    dm/dt = nu a(m),   dS/dt = J S + S J' + nu diag(a) nu'          (linear noise)
    dd/dt = J d + sum over reactions of two kinds of nu k S_ij      (next order)

(van Kampen 1961, Can J Phys 39:551; Grima 2010, J Chem Phys 133:035101). m + d is what the means of
the master equation are, to the next order in the size of the system: where m alone is told, d says
on which side of it the truth lies, and how far about.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from synapse_abm.core.arrays import Array
from synapse_abm.theory.reactions import Moments, Network, Stage, pieces

#: Species up to which covariances are followed; their number grows with the square.
MOST_COVARIANCES = 16
#: Relative and absolute error of a step of the solver.
RELATIVE, ABSOLUTE = 1e-8, 1e-8
#: Evaluations of the equations of a course at most (some seconds).
MOST_EVALUATIONS = 40_000


class TooLong(ValueError):
    """A course that the solver takes too long for."""


def rate_equation_course(
    network: Network, seconds: Array, relax_s: float = 0.0, corrected: bool = True
) -> Moments:
    """Means at each of ``seconds``, with variances and corrections where there are few species.

    Parameters
    ----------
    relax_s
        A start in equilibrium is reached by so many seconds of the first stage.
    corrected
        Whether variances and corrections are wanted.

    Raises
    ------
    TooLong
        If it takes more than ``MOST_EVALUATIONS`` of the equations.
    """
    size, counters = len(network.counts), network.counters
    with_spread = corrected and size <= MOST_COVARIANCES
    y = np.zeros(size + counters + with_spread * (size + size * size))
    y[:size] = network.counts
    if network.weights is not None:
        y, _ = _integrated(_equations(network.stages[0], size, counters, with_spread), y, relax_s)
    used = 0
    rows, before = list[Array](), np.zeros(counters)
    f = _equations(network.stages[0], size, counters, with_spread)
    y[size : size + counters] = 0.0
    for piece in pieces(network.stages, seconds):
        if piece.begins:
            stage = network.stages[piece.stage]
            f = _equations(stage, size, counters, with_spread)
            for species, n in stage.added:
                y[species] += n
        y, evaluations = _integrated(f, y, piece.length_s)
        if (used := used + evaluations) > MOST_EVALUATIONS:
            raise TooLong("too fast, or too long, for the rate equations to be followed")
        if piece.record >= 0:
            row = y.copy()
            row[size : size + counters] -= before
            before = y[size : size + counters].copy()
            rows.append(row)
    table = np.array(rows)
    mean, counted = table[:, :size], table[:, size : size + counters]
    if not with_spread:
        return Moments(mean, None, counted)
    first = size + counters
    covariance = table[:, first + size :].reshape(-1, size, size)
    variance = np.maximum(np.diagonal(covariance, axis1=1, axis2=2), 0.0)
    return Moments(mean, variance, counted, correction=table[:, first : first + size])


def _integrated(f: Callable[[float, Array], Array], y: Array, seconds: float) -> tuple[Array, int]:
    """The state after some seconds, and how often the equations were evaluated."""
    from scipy.integrate import solve_ivp

    if seconds <= 0:
        return y, 0
    calls = 0

    def counted(t: float, at: Array) -> Array:
        nonlocal calls
        calls += 1
        if calls > MOST_EVALUATIONS:
            raise TooLong("too fast, or too long, for the rate equations to be followed")
        return f(t, at)

    solved = solve_ivp(counted, (0.0, seconds), y, method="LSODA", rtol=RELATIVE, atol=ABSOLUTE)
    last: Array = solved.y[:, -1]
    return last, calls


def _equations(
    stage: Stage, size: int, counters: int, with_spread: bool
) -> Callable[[float, Array], Array]:
    """Derivative of means, counts, corrections and covariances, in one vector."""
    reactions = [r for r in stage.reactions if r.rate > 0]
    k = np.array([r.rate for r in reactions])
    # A species of which there is always one stands where a reaction takes less than two.
    taken = np.array([(*r.takes, size, size)[:2] for r in reactions], dtype=np.int64).reshape(-1, 2)
    first, second = taken.T
    nu, counts = np.zeros((size, k.size)), np.zeros((counters, k.size))
    for n, reaction in enumerate(reactions):
        for species, change in reaction.change:
            nu[species, n] += change
        if reaction.counter >= 0:
            counts[reaction.counter, n] = 1.0
    two = np.flatnonzero(second < size)
    number = np.arange(k.size)

    def derivative(_: float, y: Array) -> Array:
        one = np.append(y[:size], 1.0)
        a = k * one[first] * one[second]
        parts = [nu @ a, counts @ a]
        if with_spread:
            d, s = y[size + counters : 2 * size + counters], y[2 * size + counters :]
            s = s.reshape(size, size)
            slope = np.zeros((k.size, size + 1))
            slope[number, first] += k * one[second]
            slope[number, second] += k * one[first]
            jacobian = nu @ slope[:, :size]
            flow = jacobian @ s
            parts.append(jacobian @ d + nu[:, two] @ (k[two] * s[first[two], second[two]]))
            parts.append((flow + flow.T + (nu * a) @ nu.T).ravel())
        return np.concatenate(parts)

    return derivative
