"""Exact error bars of a measured occupancy, for clamped ligands.

Every site is then a two-state chain of relaxation time tau, and its autocovariance
p (1 - p) exp(-|u| / tau) can be summed exactly. Ligands that are themselves molecules, on a grid or
in a finite pool, make the sites more correlated than this: use independent replicates there.
Times in s; occupancies are fractions, so variances are dimensionless.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from synapse_abm.core.arrays import Array, broadcasting, fraction, nonnegative, positive, whole
from synapse_abm.theory._stable import pair_average, sinh_excess


@broadcasting
def zero_frequency_noise(p: ArrayLike, tau: ArrayLike) -> Array:
    """Noise of one site at zero frequency, lim T Var(time average) = 2 p (1 - p) tau (s)."""
    q = fraction("p", p)
    return 2 * q * (1 - q) * positive("tau", tau)


@broadcasting
def time_average_variance(window: ArrayLike, sites: int, p: ArrayLike, tau: ArrayLike) -> Array:
    """Variance of the occupancy averaged over a stationary window T.

        (2 p (1 - p) tau / (N T)) [1 - (tau / T) (1 - exp(-T / tau))]

    evaluated without cancellation; for T -> 0 it is p (1 - p) / N, one snapshot.

    Parameters
    ----------
    window : array_like
        T (s), >= 0.
    sites : int
        N, the number of independent sites, >= 1.
    p, tau : array_like
        Equilibrium occupancy and relaxation time (s).
    """
    q = fraction("p", p)
    x = nonnegative("window", window) / positive("tau", tau)
    # The variance of an average is the average of the covariance over all pairs of its times.
    return q * (1 - q) / whole("sites", sites, 1) * pair_average(x)


def _snapshot_factor(n: int, x: Array) -> Array:
    """Average of rho**|i - j| over i, j in 1..n with rho = exp(-x), shape of ``x``."""
    # The sum is (n sinh x - (1 - exp(-n x))) / (2 n**2 sinh(x/2)**2). Both parts are divided by
    # x**2, and n x is moved from one term of the numerator to the other to make both positive.
    # Beyond x = 40 successive snapshots are independent in double precision.
    x = np.minimum(x, 40.0)
    sinhc = 1 + x / 2 * sinh_excess(x / 2)  # sinh(x/2) / (x/2)
    return (2 / n * sinh_excess(x) + pair_average(n * x)) / sinhc**2


@broadcasting
def snapshot_mean_variance(
    n: int, spacing: ArrayLike, sites: int, p: ArrayLike, tau: ArrayLike
) -> Array:
    """Variance of the mean occupancy of ``n`` stationary snapshots, ``spacing`` (s) apart.

        (p (1-p) / (N n)) [(1+rho)/(1-rho) - 2 rho (1-rho**n) / (n (1-rho)**2)],
        rho = exp(-spacing / tau)

    evaluated without cancellation.
    """
    q = fraction("p", p)
    x = nonnegative("spacing", spacing) / positive("tau", tau)
    return q * (1 - q) / whole("sites", sites, 1) * _snapshot_factor(whole("n", n, 1), x)


@broadcasting
def effective_snapshots(n: int, spacing: ArrayLike, tau: ArrayLike) -> Array:
    """Number of independent snapshots worth as much as ``n`` of them ``spacing`` (s) apart.

    Tends to n (1 - rho) / (1 + rho) for large n, with rho = exp(-spacing / tau).
    """
    x = nonnegative("spacing", spacing) / positive("tau", tau)
    return 1 / _snapshot_factor(whole("n", n, 1), x)


@broadcasting
def effective_window(window: ArrayLike, tau: ArrayLike) -> Array:
    """Number of independent snapshots worth as much as a continuous average over ``window`` (s).

    Tends to window / (2 tau) for long windows.
    """
    return 1 / pair_average(nonnegative("window", window) / positive("tau", tau))
