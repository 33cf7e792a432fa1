"""Probability laws of counts, as tables: one count (`Law`) or several together (`JointLaw`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from synapse_abm.core.arrays import Array, numbers, refused, whole


def _checked(pmf: Array) -> Array:
    table = numbers("pmf", pmf)
    # 1e-9 is more than a million entries lose by rounding, and less than any mistake makes.
    total = float(table.sum())
    if not (np.all(table >= 0) and abs(total - 1) < 1e-9):
        raise ValueError(f"pmf sums to {total}; it must be >= 0 everywhere and sum to 1")
    return table


@dataclass(frozen=True, slots=True, eq=False)
class Law:
    """The law of one count.

    Attributes
    ----------
    pmf : array, shape (n + 1,)
        Probability of the counts 0..n.

    Raises
    ------
    ValueError
        If ``pmf`` is not one-dimensional, or has a negative or NaN entry, or does not sum to 1.
    """

    pmf: Array

    def __post_init__(self) -> None:
        if np.ndim(self.pmf) != 1:
            raise ValueError(f"pmf has {np.ndim(self.pmf)} dimensions; a Law has one")
        object.__setattr__(self, "pmf", _checked(self.pmf))

    @property
    def mean(self) -> float:
        """Expected count."""
        return float(np.arange(self.pmf.size) @ self.pmf)

    @property
    def var(self) -> float:
        """Variance of the count."""
        return self.central_moment(2)

    @property
    def sd(self) -> float:
        """Standard deviation of the count."""
        return float(np.sqrt(self.var))

    def central_moment(self, order: int) -> float:
        """E[(count - mean)**order]; order 4 is what the spread of a sample variance needs."""
        power = whole("order", order)
        return float((np.arange(self.pmf.size) - self.mean) ** power @ self.pmf)


@dataclass(frozen=True, slots=True, eq=False)
class JointLaw:
    """The joint law of several counts.

    Attributes
    ----------
    names : tuple of str
        What each axis of ``pmf`` counts.
    pmf : array, one axis per name
        ``pmf[i, j, ...]`` is the probability that the counts are i, j, ... together.
    """

    names: tuple[str, ...]
    pmf: Array

    def __post_init__(self) -> None:
        if not isinstance(self.names, tuple):
            raise refused("names", self.names, "a tuple of names")
        if np.ndim(self.pmf) != len(self.names):
            raise ValueError(f"pmf has {np.ndim(self.pmf)} axes for the names {self.names}")
        object.__setattr__(self, "pmf", _checked(self.pmf))

    def _axis(self, name: str) -> int:
        try:
            return self.names.index(name)
        except ValueError:
            raise ValueError(f"no count {name!r} in this law; it has {self.names}") from None

    def table(self, first: str, second: str) -> Array:
        """Joint probabilities of two of the counts, shape (first, second)."""
        i, j = self._axis(first), self._axis(second)
        rest = tuple(k for k in range(self.pmf.ndim) if k not in (i, j))
        pair = self.pmf.sum(axis=rest)
        return pair if i < j else pair.T

    def marginal(self, name: str) -> Law:
        """Law of one of the counts alone."""
        i = self._axis(name)
        return Law(self.pmf.sum(axis=tuple(k for k in range(self.pmf.ndim) if k != i)))

    def mean(self, name: str) -> float:
        """Expected value of one of the counts."""
        return self.marginal(name).mean

    def var(self, name: str) -> float:
        """Variance of one of the counts."""
        return self.marginal(name).var

    def cov(self, first: str, second: str) -> float:
        """Covariance of two of the counts."""
        if first == second:
            return self.var(first)
        pair = self.table(first, second)
        x = np.arange(pair.shape[0]) - self.mean(first)
        y = np.arange(pair.shape[1]) - self.mean(second)
        return float(x @ pair @ y)


def law_from_ratios(ratios: Array) -> Law:
    """The law with ``pmf[n + 1] / pmf[n] = ratios[n]``, for ratios >= 0 that fall with n.

    Weights are multiplied outwards from the most probable count, so that nothing overflows and
    every probability keeps its relative precision.
    """
    # Ratios fall, so the weights rise up to the place where they pass 1, and fall from there on.
    mode = int(np.count_nonzero(ratios > 1))
    below = np.cumprod(1 / ratios[:mode][::-1])[::-1]
    weight = np.concatenate([below, [1.0], np.cumprod(ratios[mode:])])
    return Law(weight / weight.sum())
