"""One ligand at a clamped concentration: every site is an independent two-state chain.

A free site binds at rate k_on C, a bound one lets go at k_off. Concentrations and k_on in any
consistent units (nM and 1/(nM s) here), k_off in 1/s, times in s.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from synapse_abm.core.arrays import (
    MOST_TABLED,
    Array,
    broadcasting,
    finite,
    fraction,
    nonnegative,
    one,
    positive,
    whole,
)
from synapse_abm.theory.law import Law, law_from_ratios

#: Sites whose transient law is tabled: two binomial tables are folded.
MOST_FOLDED = 100_000


@broadcasting
def dissociation_constant(kon: ArrayLike, koff: ArrayLike) -> Array:
    """K_d = k_off / k_on, a concentration (nM); arguments broadcast."""
    return nonnegative("koff", koff) / positive("kon", kon)


@broadcasting
def occupancy(concentration: ArrayLike, kd: ArrayLike) -> Array:
    """Probability that a site is bound at equilibrium: the hyperbola C / (C + K_d).

    Parameters
    ----------
    concentration, kd : array_like
        Ligand concentration (>= 0) and dissociation constant (> 0), same unit; they broadcast.

    Returns
    -------
    array of the broadcast shape (a NumPy scalar for scalars), dimensionless

    Raises
    ------
    ValueError
        If a concentration is negative or NaN, or a constant is not positive.

    References
    ----------
    Hill 1909, J Physiol 39:361; Langmuir 1918, J Am Chem Soc 40:1361.
    """
    c, k = nonnegative("concentration", concentration), positive("kd", kd)
    return c / (c + k)


@broadcasting
def concentration_for_occupancy(wanted: ArrayLike, kd: ArrayLike) -> Array:
    """Concentration that occupies a fraction ``wanted`` of the sites: K_d p / (1 - p).

    The inverse of `occupancy`; ``wanted`` in [0, 1), result in the unit of ``kd``.
    """
    p, k = fraction("wanted", wanted, below_one=True), positive("kd", kd)
    return k * p / (1 - p)


@broadcasting
def observed_rate(concentration: ArrayLike, kon: ArrayLike, koff: ArrayLike) -> Array:
    """Relaxation rate towards equilibrium, k_obs = k_on C + k_off (1/s); arguments broadcast."""
    c = nonnegative("concentration", concentration)
    return nonnegative("kon", kon) * c + nonnegative("koff", koff)


@broadcasting
def relaxation_time(concentration: ArrayLike, kon: ArrayLike, koff: ArrayLike) -> Array:
    """Relaxation time tau = 1 / k_obs (s), also the correlation time of a site's state."""
    return 1 / positive(
        "kon x concentration + koff = k_obs", observed_rate(concentration, kon, koff)
    )


@broadcasting
def occupancy_at(t: ArrayLike, p: ArrayLike, k_obs: ArrayLike, p0: ArrayLike = 0.0) -> Array:
    """Probability that a site is bound at time ``t``: p + (p0 - p) exp(-k_obs t).

    Parameters
    ----------
    t : array_like
        Time since the start (s), >= 0.
    p, p0 : array_like
        Equilibrium (see `occupancy`) and initial probability, in [0, 1].
    k_obs : array_like
        Relaxation rate (1/s), see `observed_rate`.
    """
    end, start = fraction("p", p), fraction("p0", p0)
    x = nonnegative("k_obs", k_obs) * nonnegative("t", t)
    # expm1 keeps the first molecules of an association: 1 - exp(-x) has no digits at small x.
    return start * np.exp(-x) - end * np.expm1(-x)


def open_law(sites: int, p: float) -> Law:
    """Law of the number of bound sites, Binomial(sites, p): mean N p, variance N p (1 - p)."""
    n, q = whole("sites", sites, most=MOST_TABLED), one(fraction, "p", p)
    # The ratio q / (1 - q) of neighbouring probabilities has no value here.
    if q == 1:
        return Law(np.eye(n + 1)[n])
    b = np.arange(n, dtype=np.float64)
    return law_from_ratios((n - b) / (b + 1) * (q / (1 - q)))


def open_transient_law(t: float, sites: int, bound: int, p: float, k_obs: float) -> Law:
    """Law of the number of bound sites at time ``t`` when ``bound`` of them were bound at 0.

    The sum of two independent binomials: sites still (or again) bound, and sites newly bound.

    Raises
    ------
    ValueError
        If ``bound`` exceeds ``sites``, or a rate, time or probability is out of range.
    """
    n = whole("sites", sites, most=MOST_FOLDED)
    b = whole("bound", bound, most=n)
    time, end = one(nonnegative, "t", t), one(fraction, "p", p)
    rate = one(nonnegative, "k_obs", k_obs)
    # Sites do not know of each other, so those bound at the start and those empty then are two
    # populations, each binomial at any time.
    old = open_law(b, float(occupancy_at(time, end, rate, 1.0)))
    new = open_law(n - b, float(occupancy_at(time, end, rate, 0.0)))
    return Law(np.convolve(old.pmf, new.pmf))


@broadcasting
def bound_autocovariance(lag: ArrayLike, sites: int, p: ArrayLike, tau: ArrayLike) -> Array:
    """Stationary autocovariance of the number of bound sites, N p (1 - p) exp(-|lag| / tau).

    ``lag`` in s, of either sign; ``tau`` the relaxation time in s.
    """
    q = fraction("p", p)
    u = np.abs(finite("lag", lag))
    return whole("sites", sites) * q * (1 - q) * np.exp(-u / positive("tau", tau))
