"""Two or more ligands that compete for one site, at equilibrium.

Open: concentrations and dissociation constants in one unit (nM). Closed: copies, and affinities
K = kon_pair / koff per molecule.
"""

from __future__ import annotations

from dataclasses import dataclass

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
    refused,
    whole,
)
from synapse_abm.theory.law import JointLaw


@broadcasting
def gaddum(
    concentration: ArrayLike, kd: ArrayLike, competitor: ArrayLike, kd_competitor: ArrayLike
) -> Array:
    """Occupancy by a ligand in the presence of a competitor: A / (A + K_A (1 + B / K_B)).

    All four arguments are concentrations in one unit and broadcast.

    References
    ----------
    Gaddum 1937, J Physiol 89:7P.
    """
    a = nonnegative("concentration", concentration)
    return a / (a + apparent_kd(kd, competitor, kd_competitor))


@broadcasting
def apparent_kd(kd: ArrayLike, competitor: ArrayLike, kd_competitor: ArrayLike) -> Array:
    """Concentration for half occupancy beside a competitor: K_A (1 + B / K_B).

    Its logarithm against that of the competitor has Schild slope 1.
    """
    b = nonnegative("competitor", competitor)
    return positive("kd", kd) * (1 + b / positive("kd_competitor", kd_competitor))


@broadcasting
def cheng_prusoff_ic50(ki: ArrayLike, label: ArrayLike, kd_label: ArrayLike) -> Array:
    """Competitor concentration that halves the label's occupancy: IC50 = K_i (1 + A / K_A).

    ``label`` is the label's free concentration. The relation is exact when both are clamped.

    References
    ----------
    Cheng & Prusoff 1973, Biochem Pharmacol 22:3099.
    """
    a = nonnegative("label", label)
    return positive("ki", ki) * (1 + a / positive("kd_label", kd_label))


@broadcasting
def cheng_prusoff_ki(ic50: ArrayLike, label: ArrayLike, kd_label: ArrayLike) -> Array:
    """K_i of a competitor from its measured IC50: IC50 / (1 + A / K_A)."""
    a = nonnegative("label", label)
    return positive("ic50", ic50) / (1 + a / positive("kd_label", kd_label))


@dataclass(frozen=True, slots=True, eq=False)
class OpenCompetition:
    """Multinomial law of ``sites`` independent sites shared by clamped ligands.

    Attributes
    ----------
    sites : int
        Number of sites N.
    p : array, shape (ligands,)
        Probability that a site holds each ligand; it is empty with probability ``p_free``.
    """

    sites: int
    p: Array

    def __post_init__(self) -> None:
        whole("sites", self.sites)
        p = fraction("p", self.p)
        if p.ndim != 1:
            raise refused("dimensions of p", p.ndim, "1")
        fraction("sum of p", p.sum())
        object.__setattr__(self, "p", p)

    @property
    def p_free(self) -> float:
        """Probability that a site is empty."""
        return float(1 - self.p.sum())

    @property
    def mean(self) -> Array:
        """Expected numbers bound, shape (ligands,)."""
        return self.sites * self.p

    @property
    def cov(self) -> Array:
        """Covariances of the numbers bound, N (p_i [i = j] - p_i p_j), shape (ligands, ligands)."""
        return self.sites * (np.diag(self.p) - np.outer(self.p, self.p))


@broadcasting
def open_competition(sites: int, concentrations: ArrayLike, kds: ArrayLike) -> OpenCompetition:
    """Sites shared by clamped ligands, cell probabilities (C_i / K_i) / (1 + sum C_j / K_j).

    Parameters
    ----------
    sites : int
        Number of sites.
    concentrations, kds : array_like, shape (ligands,)
        Concentrations and dissociation constants in one unit.
    """
    ratios = nonnegative("concentrations", concentrations) / positive("kds", kds)
    x = np.atleast_1d(finite("concentrations / kds", ratios))
    return OpenCompetition(whole("sites", sites), x / (1 + x.sum()))


def closed_competition_law(
    sites: int, a: int, b: int, affinity_a: float, affinity_b: float
) -> JointLaw:
    """Exact joint law of the numbers bound, sites shared by ``a`` copies of A and ``b`` of B.

    With i of A and j of B bound,

        w(i, j) = R! / (i! j! (R - i - j)!) (a)_i (b)_j K_A**i K_B**j,  (x)_n falling factorials

    Returns
    -------
    JointLaw
        Named "A" and "B", shape (min(R, a) + 1, min(R, b) + 1); impossible pairs have 0.

    Raises
    ------
    ValueError
        If a copy number is not whole, or anything is negative or NaN.
    """
    r, na, nb = whole("sites", sites), whole("a", a), whole("b", b)
    ka = one(nonnegative, "affinity_a", affinity_a)
    kb = one(nonnegative, "affinity_b", affinity_b)
    pairs = (min(r, na) + 1) * (min(r, nb) + 1)
    whole("numbers bound together, from sites, a and b", pairs, most=MOST_TABLED)
    # In logarithms: the factorials of a few hundred copies are beyond floats, their ratios are not.
    log_a = _log_subsets(min(r, na), na, ka)
    log_b = _log_subsets(min(r, nb), nb, kb)
    log_sites = _log_products(r - np.arange(min(r, na + nb), dtype=np.float64))  # R! / (R - n)!
    bound = np.arange(log_a.size)[:, None] + np.arange(log_b.size)
    log_w = log_a[:, None] + log_b + log_sites[np.minimum(bound, r)]
    weight = np.where(bound <= r, np.exp(log_w - log_w[bound <= r].max()), 0.0)
    return JointLaw(("A", "B"), weight / weight.sum())


def _log_products(factors: Array) -> Array:
    """Logarithms of 1 and of the running products of ``factors``."""
    with np.errstate(divide="ignore"):  # a ligand without affinity: log 0 = -inf is meant
        return np.concatenate([[0.0], np.cumsum(np.log(factors))])


def _log_subsets(most: int, copies: int, affinity: float) -> Array:
    """Logarithms of C(copies, n) affinity**n for n = 0..most."""
    n = np.arange(most, dtype=np.float64)
    return _log_products(affinity * (copies - n) / (n + 1))


@broadcasting
def wang_mean_field(sites: float, amounts: ArrayLike, affinities: ArrayLike) -> Array:
    """Mean-field amounts bound when depleted ligands compete for one site.

    Solves x + sum_j L_j K_j x / (1 + K_j x) = R for the free sites x; like `morrison_mean` it
    ignores fluctuations, and for a few copies it is off in either direction.

    Parameters
    ----------
    sites : float
        Total sites R, > 0.
    amounts, affinities : array_like, shape (ligands,)
        Total ligand L_j and affinity K_j: copies with K per molecule, or concentrations with
        K = 1 / K_d.

    Returns
    -------
    array, shape (ligands,)

    References
    ----------
    Wang 1995, FEBS Lett 360:111 (its closed form for two ligands is this root).
    """
    from scipy.optimize import brentq

    r = one(positive, "sites", sites)
    n = np.atleast_1d(nonnegative("amounts", amounts))
    k = np.atleast_1d(nonnegative("affinities", affinities))

    # Scaled by the sites, so that the root lies between 0 and 1 for any copies or concentrations.
    load, pull = finite("amounts / sites", n / r), finite("affinities x sites", k * r)

    def excess(free: float) -> float:  # of the share of sites that is free
        return float(free + (load * (pull * free / (1 + pull * free))).sum() - 1)

    # The left side only grows with the free sites, from -1 to at least 0: one root, and bracketing
    # cannot miss it.
    x = pull * float(brentq(excess, 0.0, 1.0, xtol=1e-15, rtol=1e-15))
    return n * (x / (1 + x))
