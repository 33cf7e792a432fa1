"""One ligand whose free molecules come and go: a finite pool in contact with a reservoir.

Molecules enter at rate gamma * mean_free and leave at gamma each, and bind the sites pairwise.
Detailed balance holds, so free and bound counts are independent at any exchange rate gamma
(Anderson, Craciun & Kurtz 2010, Bull Math Biol 72:1947).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from synapse_abm.core.arrays import Array, finite, nonnegative, numbers, one, positive, whole
from synapse_abm.theory.binding import open_law
from synapse_abm.theory.law import Law


@dataclass(frozen=True, slots=True)
class OpenPool:
    """Stationary law of sites in contact with an explicit, open pool.

    Attributes
    ----------
    sites : int
        Number of binding sites R.
    mean_free : float
        Mean number of free molecules lambda, set by the reservoir alone.
    affinity : float
        K = k_on per pair / k_off, per molecule.

    Raises
    ------
    ValueError
        If a number is negative or NaN, or ``sites`` is not whole.
    """

    sites: int
    mean_free: float
    affinity: float

    def __post_init__(self) -> None:
        whole("sites", self.sites)
        one(nonnegative, "mean_free", self.mean_free)
        one(nonnegative, "affinity", self.affinity)

    @property
    def occupancy(self) -> float:
        """K lambda / (1 + K lambda)."""
        x = self.affinity * self.mean_free
        return x / (1 + x)

    @property
    def bound(self) -> Law:
        """Law of the number bound, Binomial(R, occupancy)."""
        # As if the ligand were clamped at its mean: the pool's fluctuations leave no trace in the
        # law of the bound ones, only in how long it remembers.
        return open_law(self.sites, self.occupancy)

    @property
    def var_free(self) -> float:
        """Variance of the number free; free molecules are Poisson."""
        return self.mean_free

    @property
    def cov_free_bound(self) -> float:
        """Covariance of free and bound molecules: none."""
        return 0.0

    @property
    def mean_total(self) -> float:
        """Mean number of molecules, free and bound."""
        return self.mean_free + self.sites * self.occupancy

    @property
    def var_total(self) -> float:
        """Variance of the number of molecules, lambda + R p (1 - p)."""
        return self.mean_free + self.sites * self.occupancy * (1 - self.occupancy)

    def free_pmf(self, n: ArrayLike) -> Array:
        """Probability of ``n`` free molecules, Poisson(lambda); shape of ``n``."""
        from scipy.stats import poisson

        return np.asarray(poisson.pmf(numbers("n", n), self.mean_free), np.float64)[()]


def open_pool(sites: int, mean_free: float, kon_pair: float, koff: float) -> OpenPool:
    """Sites in contact with an open pool; ``kon_pair`` per pair, ``koff`` per complex, 1/s."""
    affinity = one(nonnegative, "kon_pair", kon_pair) / one(positive, "koff", koff)
    mean = one(nonnegative, "mean_free", mean_free)
    return OpenPool(whole("sites", sites), mean, one(finite, "kon_pair / koff", affinity))
