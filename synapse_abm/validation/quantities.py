"""What is measured, how, and what one look at it concludes.

A number is estimated as the mean of one value per observation (the influence function of the
statistic, so that a variance or a ratio has an error like a mean), and goes through
``statistics.verdict``: FAIL if it is off by more standard errors than chance explains, PASS if it
is certainly within its margin, CONTINUE otherwise.

A law is compared by Pearson's chi-square on observations that are independent, in bins that expect
at least 100. It FAILs if the probability of so large a statistic is below the level of one look,
and PASSes if it is not rejected and its mean passes as a number does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from synapse_abm.statistics import (
    ChiSquare,
    Estimate,
    Rule,
    Verdict,
    chi_square,
    merged_bins,
    verdict,
    z_score,
)
from synapse_abm.validation.samples import Sample

type Array = NDArray[np.float64]
type Measure = Callable[[Sample], Estimate]

#: How many times smaller margins are in a thorough run: 0.002 of an occupancy, 0.5 % of the others.
FINER_OCCUPANCY, FINER = 5.0, 4.0
LEAST_MARGIN = 1e-9
#: Of a number or of one: what a file's numbers are off by rounding.
ROUNDING = 1e-12
LEAST_EXPECTED = 100.0
CERTAIN = 0.99  # a law with an outcome more probable than this is compared by its mean alone
#: How far from 1 the sum of a table may be and still be a law; what stands for a probability of 0.
NO_LAW, IMPOSSIBLE = 1e-6, 1e-12
UNKNOWN = Estimate(0.0, math.inf)


@dataclass(frozen=True, slots=True)
class Row:
    """What is known of one quantity after a look."""

    id: str
    quantity: str
    estimate: float
    exact: float
    se: float
    z: float
    verdict: Verdict
    margin: float
    observations: int
    frequencies: tuple[Sequence[float], Sequence[float]] | None = None
    """Of a law: the observed frequency of each count (the first of two), and the exact ones."""
    solved: bool = False
    """Whether a solver made the exact number (see `Number`)."""


@dataclass(frozen=True, slots=True)
class Number:
    """A quantity that is one number.

    Parameters
    ----------
    finer
        How many times smaller the margin is in a thorough run.
    solved
        Whether a solver made the exact number (ODE, eigenvalues, matrix exponential, linear
        equations): its digits beyond the sixth are another processor's others, and not reported.
    by_margin
        Whether it may be off by the margin: FAIL only beyond (``statistics.Rule``).
    exact_se
        Standard error of the exact number, where a simulation at a finer step stands for it.
    """

    id: str
    name: str
    exact: float
    margin: float
    measure: Measure
    finer: float = FINER
    solved: bool = False
    by_margin: bool = False
    exact_se: float = 0.0
    tests: ClassVar[int] = 1

    def look(self, sample: Sample, rule: Rule, stage: int) -> Row:
        """Estimate it and compare."""
        estimate, exact = self.measure(sample), self.exact
        # What is equal but for the file's rounding is equal: with an error of 0 (nothing ever
        # happens) any difference would be infinitely many standard errors.
        if abs(estimate.value - exact) <= ROUNDING * max(1.0, abs(exact)):
            exact = estimate.value
        margin = max(self.margin, LEAST_MARGIN)
        if self.exact_se > 0:
            # The difference of two independent numbers has the errors of both.
            estimate = replace(estimate, se=math.hypot(estimate.se, self.exact_se))
        outcome = verdict(estimate, exact, margin, replace(rule, by_margin=self.by_margin), stage)
        return Row(
            self.id, self.name, estimate.value, self.exact, estimate.se,
            z_score(estimate.value, exact, estimate.se), outcome, margin, sample.size,
            solved=self.solved,
        )  # fmt: skip


class Margin(NamedTuple):
    """Within which a difference does not matter.

    Parameters
    ----------
    size
        The difference, or its share of the exact number.
    finer
        How many times smaller it is in a thorough run.
    of
        What it is a share of: ``one`` (nothing: it is the difference itself), ``each`` exact
        number, or the ``largest`` of a series, for what falls to zero has no relative error.
    by_margin
        Whether a number may be off by it (see `Number`).
    """

    size: float
    finer: float = FINER
    of: Literal["one", "each", "largest"] = "each"
    by_margin: bool = False

    def on(self, scale: float) -> Margin:
        """The same share of a number that is not the exact one."""
        return self._replace(size=self.size * scale, of="one")

    def of_largest(self) -> Margin:
        """The same share of the largest number of a series."""
        return self._replace(of="largest")

    def sizes(self, exact: Array) -> Array:
        """Margins of exact numbers, the same shape."""
        if self.of == "one":
            return np.full_like(exact, self.size)
        scale = np.abs(exact)
        return self.size * (np.full_like(scale, scale.max(initial=0.0)) if self.of == "largest"
                            else scale)  # fmt: skip

    def number(
        self, id: str, name: str, exact: float, measure: Measure, *, solved: bool = False
    ) -> Number:  # fmt: skip
        """A number to be compared within this margin."""
        size = self.size if self.of == "one" else self.size * abs(exact)
        return Number(id, name, exact, size, measure, self.finer, solved, self.by_margin)


#: Of an occupancy or a probability: a point.
OCCUPANCY = Margin(0.01, FINER_OCCUPANCY, "one")
#: Of another number; and of a variance or covariance, which is 2 % of a standard deviation.
RELATIVE, SPREAD = Margin(0.02), Margin(0.04)
#: Of kinetics on a grid, where a step has an honest bias: it belongs to the accuracy at which the
#: program chooses its step, so a thorough run asks for no less.
KINETICS = Margin(0.01, 1.0, by_margin=True)


@dataclass(frozen=True, slots=True)
class Distribution:
    """A quantity that is the law of one count, or the joint law of two.

    The row holds the cube root of chi-square per degree of freedom, which is close to normal
    (Wilson & Hilferty 1931, PNAS 17:684), with what is expected of it and its standard deviation.
    """

    id: str
    name: str
    law: Array
    columns: Sequence[str]
    margin: float
    finer: float = FINER_OCCUPANCY
    solved: ClassVar[bool] = False

    @property
    def tests(self) -> int:
        """Tests that share the false-alarm rate: chi-square, and the mean of each count."""
        return 1 + self.law.ndim

    def look(self, sample: Sample, rule: Rule, stage: int) -> Row:
        """Compare the observed frequencies with the law."""
        test = self._chi_square(sample)
        if test is None:
            last = stage == rule.stages - 1
            outcome = Verdict.INCONCLUSIVE if last else Verdict.CONTINUE
        elif test.p < rule.false_alarm / (rule.tests * rule.stages):
            outcome = Verdict.FAIL
        else:
            outcome = self._means(sample, rule, stage)
        root, expected, se = 1.0, 1.0, 0.0
        if test is not None and test.dof > 0:
            root, se = (test.statistic / test.dof) ** (1 / 3), math.sqrt(2 / (9 * test.dof))
            expected = 1 - se**2
        return Row(
            self.id, self.name, root, expected, se, z_score(root, expected, se),
            outcome, max(self.margin, LEAST_MARGIN), sample.size, self._frequencies(sample),
        )  # fmt: skip

    def _frequencies(self, sample: Sample) -> tuple[Sequence[float], Sequence[float]]:
        """How often each count was seen, for the eye: all observations, correlated or not."""
        exact = self.law.sum(axis=tuple(range(1, self.law.ndim)))
        counts = np.minimum(sample[self.columns[0]].ravel(), exact.size - 1).astype(np.int64)
        seen = np.bincount(counts, minlength=exact.size) / max(counts.size, 1)
        return seen.tolist(), exact.tolist()

    def _means(self, sample: Sample, rule: Rule, stage: int) -> Verdict:
        """The verdict on the means, the worst of them."""
        rows = []
        for counts, column in zip(np.indices(self.law.shape), self.columns, strict=True):
            expected = float((counts * self.law).sum() / self.law.sum())
            number = Number(self.id, self.name, expected, self.margin, mean(column))
            rows.append(number.look(sample, rule, stage))
        return worst(rows)

    def _chi_square(self, sample: Sample) -> ChiSquare | None:
        """Pearson's test; None while there are too few observations for two bins."""
        # A file that gives no law at all is refuted, not repaired: its sum is far from 1.
        total = float(self.law.sum())
        if abs(total - 1) > NO_LAW:
            return self._refuted(abs(total - 1))
        # Pearson's test is for independent counts; neighbours in time are not.
        values = [sample.independent(sample[column]).astype(np.int64) for column in self.columns]
        # What lies beyond the table is one more outcome, as probable as the table leaves room for.
        beyond = max(1 - total, 0.0)
        flat = np.append(self.law.ravel(), beyond if beyond > ROUNDING else 0.0)
        flat /= flat.sum()
        inside = np.all([v < n for v, n in zip(values, self.law.shape, strict=True)], axis=0)
        at = np.full(inside.size, flat.size - 1)
        at[inside] = np.ravel_multi_index([v[inside] for v in values], self.law.shape)
        # One observation that the law excludes is enough.
        if (impossible := float((flat[at] == 0).mean())) > 0:
            return self._refuted(impossible)
        if flat.max() > CERTAIN:
            return ChiSquare(0.0, 0, 1.0)
        if merged_bins(at.size * flat, LEAST_EXPECTED).size < 2:
            return None
        return chi_square(at, flat, LEAST_EXPECTED)

    def _refuted(self, share: float) -> ChiSquare:
        """Of what the law excludes, ``share`` was seen: a statistic far beyond any bound, finite.

        It is the chi-square of one observation if the law gave all that a probability of 1e-12.
        """
        return ChiSquare(share / IMPOSSIBLE, max(self.law.size - 1, 1), 0.0)


#: Verdicts, the worst last.
WORST_LAST = (Verdict.PASS, Verdict.CONTINUE, Verdict.INCONCLUSIVE, Verdict.FAIL)


def worst(rows: Sequence[Row]) -> Verdict:
    """The verdict on all of them: the worst there is."""
    return max((row.verdict for row in rows), key=WORST_LAST.index)


type Quantity = Number | Distribution


# --- measures -------------------------------------------------------------------------------------


def mean(column: str, scale: float = 1.0) -> Measure:
    """The mean of a column, times ``scale``."""
    return lambda sample: sample.estimate(scale * sample[column])


def variance(column: str) -> Measure:
    """The variance of a column."""
    return covariance(column, column)


def covariance(first: str, second: str) -> Measure:
    """The covariance of two columns."""

    def measure(sample: Sample) -> Estimate:
        x, y = sample[first], sample[second]
        # The mean of the sample for the exact one: biased by 1/n, far below the standard error.
        return sample.estimate((x - x.mean()) * (y - y.mean()))

    return measure


def fano(column: str) -> Measure:
    """Variance divided by mean."""

    def measure(sample: Sample) -> Estimate:
        x = sample[column]
        m = float(x.mean())
        if m == 0:
            return UNKNOWN
        off = x - m
        # The influence function of a ratio: d(v / m) = (dv - (v / m) dm) / m, its mean the ratio.
        ratio = float((off**2).mean()) / m
        return sample.estimate((off**2 - ratio * off) / m)

    return measure


def deviation(column: str) -> Measure:
    """The standard deviation of a column."""
    squared = variance(column)

    def measure(sample: Sample) -> Estimate:
        var = squared(sample)
        if var.value <= 0:
            return var
        root = math.sqrt(var.value)
        return Estimate(root, var.se / (2 * root), var.dof)  # d sqrt(v) = dv / (2 sqrt(v))

    return measure


def less(measure: Measure, shift: float) -> Measure:
    """The same less a known difference between what is seen and what is meant."""

    def corrected(sample: Sample) -> Estimate:
        seen = measure(sample)
        return Estimate(seen.value - shift, seen.se, seen.dof)

    return corrected


def exchange_rate(events: str, bound: str, sites: int, dt_s: float) -> Measure:
    """Relaxation rate of independent sites with two states, from how often they change.

    The autocovariance of the number bound starts at N p (1 - p) and falls, at first, by the rate of
    unbinding per unit of time; for two states the ratio of the two is the rate of its whole decay.
    """

    def measure(sample: Sample) -> Estimate:
        # Rate k = u / (N p (1 - p)), u the events of unbinding per s: linear in its two parts, as
        # `fano`.
        u, b = sample[events] / dt_s, sample[bound]
        rate, p = float(u.mean()), float(b.mean()) / sites
        spread = sites * p * (1 - p)
        if rate == 0 or spread == 0:
            return UNKNOWN
        by_bound = (1 - 2 * p) / spread  # relative change of the spread with the number bound
        return sample.estimate(rate / spread * (u / rate - by_bound * (b - b.mean())))

    return measure


def at_least(measure: Measure, one: float) -> Measure:
    """The same with an error no smaller than the exact one; ``one`` is that of one observation.

    For rare events the error seen is small just when few happened to occur; the exact one is not.
    """

    def bounded(sample: Sample) -> Estimate:
        seen, exact = measure(sample), sample.error(one)
        return seen if seen.se >= exact else Estimate(seen.value, exact)

    return bounded
