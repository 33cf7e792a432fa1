"""Molecules that arrive in batches and leave one by one: immigration and death.

Batches of n arrive at ``arrival_rate`` (1/s), each molecule leaves at ``exit_rate`` (1/s). A batch
that arrived s ago still has Binomial(n, exp(-mu s)) molecules, so counts are compound Poisson and
every cumulant is an integral over s. With n > 1 this is quantal release.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from synapse_abm.core.arrays import Array, broadcasting, nonnegative, one, refused, whole
from synapse_abm.theory._stable import decay_average, pair_average


@dataclass(frozen=True, slots=True, eq=False)
class ExitMoments:
    """Mean and variance of the number of molecules that have left, of the shape of the times."""

    mean: Array
    var: Array

    @property
    def sd(self) -> Array:
        """Standard deviation."""
        return np.sqrt(self.var)


@dataclass(frozen=True, slots=True, eq=False)
class ImmigrationMoments(ExitMoments):
    """Cumulants of the number of molecules, each of the shape of the times asked for.

    Attributes
    ----------
    mean, var, fourth_cumulant : array
        The fourth cumulant is the fourth central moment minus 3 var**2.
    """

    fourth_cumulant: Array

    @property
    def sd_of_y(self) -> Array:
        """Standard deviation of Y = sqrt(n / 2) (S**2 / var - 1) for many replicates n.

        S**2 is the variance about the known mean; Y would have 1 for normal counts, and has
        sqrt(1 + k4 / (2 var**2)), k4 the fourth cumulant. Where nothing varies, 1 by convention.
        """
        safe = np.where(self.var > 0, self.var, 1.0)
        return np.where(self.var > 0, np.sqrt(1 + self.fourth_cumulant / (2 * safe**2)), 1.0)[()]


@broadcasting
def immigration_death(
    t: ArrayLike,
    arrival_rate: float,
    exit_rate: float,
    batch: int = 1,
    start: int = 0,
    reset: tuple[float, int] | None = None,
) -> ImmigrationMoments:
    """Moments of the number of molecules present at time ``t``.

    From 0, with q = exp(-mu t) and alpha batches of n per s,

        mean = (n alpha / mu)(1 - q)
        var  = mean + n (n - 1) alpha / (2 mu) (1 - q**2)
        k4   = alpha sum_j S(4, j) (n)_j (1 - q**j) / (j mu),  S Stirling numbers, second kind

    and molecules present at the start add those of Binomial(start, q). For n = 1 and start 0 the
    law is Poisson.

    Parameters
    ----------
    t : array_like
        Times (s), >= 0.
    arrival_rate, exit_rate : float
        alpha (batches per s) and mu (1/s per molecule), >= 0.
    batch, start : int
        Molecules in a batch, and molecules present at time 0.
    reset : (time, value), optional
        At this time (s) the number present is set to ``value``; it counts at that very time.

    Raises
    ------
    ValueError
        If a time or rate is negative or NaN, or a number of molecules is not whole.
    """
    age, present = _since_reset(nonnegative("t", t), whole("start", start), reset)
    alpha, mu = nonnegative("arrival_rate", arrival_rate), nonnegative("exit_rate", exit_rate)
    n = whole("batch", batch, 1)
    # Integrals of exp(-j mu s) over the age, for j = 1..4.
    i1, i2, i3, i4 = (age * decay_average(j * mu * age) for j in (1, 2, 3, 4))
    # Factorial moments of a batch; with Stirling's numbers 1, 7, 6, 1 they make its fourth moment.
    f2, f3, f4 = n * (n - 1), n * (n - 1) * (n - 2), n * (n - 1) * (n - 2) * (n - 3)
    q = np.exp(-mu * age)
    one = q * -np.expm1(-mu * age)  # variance of one molecule's being still there
    return ImmigrationMoments(
        mean=alpha * n * i1 + present * q,
        var=alpha * (n * i1 + f2 * i2) + present * one,
        fourth_cumulant=alpha * (n * i1 + 7 * f2 * i2 + 6 * f3 * i3 + f4 * i4)
        + present * one * (1 - 6 * one),
    )


def _since_reset(t: Array, start: int, reset: tuple[float, int] | None) -> tuple[Array, Array]:
    """Time since the last known number of molecules, and that number."""
    if reset is None:
        return t, np.full_like(t, start)[()]
    time, value = _time_and_value(reset)
    after = t >= time
    return np.where(after, t - time, t)[()], np.where(after, float(value), float(start))[()]


def _time_and_value(reset: tuple[float, int]) -> tuple[float, int]:
    try:
        time, value = reset
    except (TypeError, ValueError):
        raise refused("reset", reset, "a pair: time (s), number of molecules") from None
    return one(nonnegative, "reset time", time), whole("reset value", value)


@broadcasting
def exit_count(
    t: ArrayLike,
    arrival_rate: float,
    exit_rate: float,
    batch: int = 1,
    start: int = 0,
    reset: tuple[float, int] | None = None,
) -> ExitMoments:
    """Moments of the number of molecules that have left by time ``t``; see `immigration_death`.

    With batches of one from 0 it is Poisson of mean alpha t - (alpha / mu)(1 - exp(-mu t)) and
    independent of the number present. Molecules removed by a reset are not counted as leaving.
    """
    time = nonnegative("t", t)
    if reset is None:
        return _exits(time, arrival_rate, exit_rate, batch, start)
    until, value = _time_and_value(reset)
    # A reset forgets the molecules, not the count of exits: two independent stretches add.
    before = _exits(np.minimum(time, until), arrival_rate, exit_rate, batch, start)
    after = _exits(np.maximum(time - until, 0.0), arrival_rate, exit_rate, batch, value)
    return ExitMoments(before.mean + after.mean, before.var + after.var)


def _exits(t: Array, arrival_rate: float, exit_rate: float, batch: int, start: int) -> ExitMoments:
    alpha, mu = nonnegative("arrival_rate", arrival_rate), nonnegative("exit_rate", exit_rate)
    n, present = whole("batch", batch, 1), whole("start", start)
    x = mu * t
    gone = -np.expm1(-x)
    # Integrals over 0..t of 1 - exp(-mu s), and of its square.
    # Both grow as powers of t at first: written so that they do without differences of large terms.
    i1 = t * x / 2 * pair_average(x)
    i2 = t * (1 - 2 * decay_average(x) + decay_average(2 * x))
    return ExitMoments(
        mean=alpha * n * i1 + present * gone,
        var=alpha * (n * i1 + n * (n - 1) * i2) + present * gone * np.exp(-x),
    )
