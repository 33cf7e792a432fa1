"""Error bars, and tests of measured numbers against exact ones, at stated false-alarm rates.

Two ways to an error bar: independent replicates (`from_replicates`), the safe one, and a single
long series cut into batches (`batch_means`), which first measures how long the series remembers.
Two kinds of conclusion: agreement is not "no difference seen" but "any difference is smaller than
a margin" (`verdict`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from synapse_abm.core.arguments import instance
from synapse_abm.core.arrays import (
    MOST_WHOLE,
    Array,
    finite,
    fraction,
    nonnegative,
    numbers,
    one,
    positive,
    refused,
    whole,
)

#: A series must be this many integrated correlation times long to be trusted at all.
LEAST_TIMES = 50
#: Each of its batches must be this many long; its standard error is then about 5 % too small.
LEAST_TIMES_PER_BATCH = 5
#: Most looks at a test.
MOST_STAGES = 100


@dataclass(frozen=True, slots=True)
class Estimate:
    """A measured number with its standard error.

    Attributes
    ----------
    value, se : float
        Estimate and standard error, in one unit.
    dof : float
        Degrees of freedom of ``se``; infinite when it comes from a known variance.
    """

    value: float
    se: float
    dof: float = math.inf

    def __post_init__(self) -> None:
        one(finite, "value", self.value)
        one(nonnegative, "se", self.se, infinite=True)
        one(positive, "dof", self.dof, infinite=True)

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Two-sided confidence interval (Student's t; normal for infinite ``dof``)."""
        outside = 1 - one(fraction, "level", level, above_zero=True, below_one=True)
        half = student_quantile(outside, self.dof) * self.se
        return self.value - half, self.value + half


class TooShort(ValueError):
    """A series too short to trust its error bar; the estimate comes along all the same.

    Attributes
    ----------
    estimate : Estimate
        What the series says: take its ``se`` for a lower bound.
    needed : float
        Length that would do, as far as one can tell (in samples).
    """

    def __init__(self, estimate: Estimate, length: int, needed: float) -> None:
        super().__init__(
            f"a series of {length} samples is too short for an error bar: its correlations ask for "
            f"{needed:.0f}; so far {estimate.value:.6g}, standard error at least {estimate.se:.2g}"
        )
        self.estimate = estimate
        self.length = length
        self.needed = needed

    def __reduce__(self) -> tuple[type[TooShort], tuple[Estimate, int, float]]:
        return TooShort, (self.estimate, self.length, self.needed)


def _series(name: str, values: ArrayLike, least: int) -> Array:
    x = numbers(name, values)
    if x.ndim != 1:
        raise refused(f"dimensions of {name}", x.ndim, "1")
    if x.size < least:
        raise refused(f"length of {name}", x.size, f">= {least}")
    return finite(name, x)


# --- error bars -----------------------------------------------------------------------------------


def from_replicates(values: ArrayLike, least: int = 2) -> Estimate:
    """Mean of independent replicates, standard error s / sqrt(n), n - 1 degrees of freedom.

    Parameters
    ----------
    values : array_like, shape (n,)
        One number per replicate.
    least : int
        Fewest replicates accepted, >= 2. Heavy-tailed quantities want 64 or more.

    Raises
    ------
    ValueError
        If there are fewer values, or one is not finite.
    """
    x = _series("values", values, max(whole("least", least), 2))
    return Estimate(float(x.mean()), float(x.std(ddof=1)) / math.sqrt(x.size), x.size - 1)


def autocorrelation(series: ArrayLike) -> Array:
    """Autocorrelation of a series at lags 0..n-1 (biased estimator; NaN for a constant series)."""
    x = _series("series", series, 2)
    if x.min() == x.max():
        return np.full(x.size, np.nan)
    x = x - x.mean()
    power = np.abs(np.fft.rfft(x, 2 * x.size)) ** 2  # padded: no wrap-around
    covariance: Array = np.fft.irfft(power)[: x.size]
    rho: Array = covariance / covariance[0]
    return rho


def integrated_time(series: ArrayLike) -> float:
    """Integrated autocorrelation time 1 + 2 sum rho_k, in samples; infinite if nothing varies.

    The variance of the mean of n samples is the variance of one times this over n. A memory that
    decays as exp(-t / tau) gives 2 tau / spacing when densely sampled, and 1 when sparsely.

    The sum stops where sums of two neighbouring lags cease to be positive, and these are made to
    fall monotonically (Geyer 1992, Stat Sci 7:473: initial monotone sequence). The result is never
    below 1: a series is not trusted to be better than independent.
    """
    rho = autocorrelation(series)
    if math.isnan(rho[0]):
        return math.inf
    pairs = rho[: rho.size // 2 * 2].reshape(-1, 2).sum(axis=1)
    lags = int(np.argmax(pairs <= 0)) if (pairs <= 0).any() else pairs.size
    return max(1.0, 2 * float(np.minimum.accumulate(pairs[:lags]).sum()) - 1)


def effective_sample_size(series: ArrayLike) -> float:
    """Number of independent samples worth as much as the series: length / `integrated_time`."""
    x = _series("series", series, 2)
    return x.size / integrated_time(x)


def batch_means(series: ArrayLike, batches: int = 10) -> Estimate:
    """Mean of a correlated stationary series, its error from the scatter of batch means.

    The mean is that of the whole series. For its error the series is cut into equal batches
    (leaving out a remainder at its beginning), whose means count as independent.

    Parameters
    ----------
    series : array_like, shape (n,)
        Equally spaced measurements, burn-in removed.
    batches : int
        Number of batches, >= 2; the estimate has one degree of freedom less.

    Raises
    ------
    TooShort
        If the series is shorter than 50 of its measured integrated correlation times, or a batch
        shorter than 5. It carries the estimate, with the larger of the two standard errors that
        batches and correlations give.
    ValueError
        If the series has fewer than two samples per batch, or a value is not finite.
    """
    batches = whole("batches", batches, 2)
    x = _series("series", series, 2 * batches)
    size = x.size // batches
    means = x[x.size - batches * size :].reshape(batches, size).mean(axis=1)
    scatter = from_replicates(means)
    estimate = Estimate(float(x.mean()), scatter.se, scatter.dof)
    # Batches alone do not show that they are too short: neighbours that remember each other scatter
    # too little. The series itself tells how long it remembers.
    time = integrated_time(x)
    needed = time * max(LEAST_TIMES, LEAST_TIMES_PER_BATCH * batches)
    if x.size < needed:
        # Both are too small here, each for its own reason: the larger is the better lower bound.
        se = max(estimate.se, float(x.std()) * math.sqrt(min(time, x.size) / x.size))
        raise TooShort(Estimate(estimate.value, se, estimate.dof), x.size, needed)
    return estimate


# --- quantiles for many tests at once -------------------------------------------------------------


def _tail(false_alarm: float, tests: int) -> float:
    both = one(fraction, "false_alarm", false_alarm, above_zero=True, below_one=True)
    # Half of it on each side; divided among the tests (Bonferroni), which needs no independence.
    return both / (2 * whole("tests", tests, 1))


def normal_quantile(false_alarm: float, tests: int = 1) -> float:
    """The z that |Z| exceeds with probability ``false_alarm / tests``, for standard normal Z.

    With this bound ``tests`` correct results all pass except with probability ``false_alarm`` at
    most, dependent or not (Bonferroni).
    """
    from scipy.special import ndtri

    return -float(ndtri(_tail(false_alarm, tests)))


def student_quantile(false_alarm: float, dof: float, tests: int = 1) -> float:
    """The same bound for Student's t with ``dof`` degrees of freedom (infinite: normal)."""
    from scipy.special import stdtrit

    dof = one(positive, "dof", dof, infinite=True)
    if math.isinf(dof):
        return normal_quantile(false_alarm, tests)
    return -float(stdtrit(dof, _tail(false_alarm, tests)))


def z_score(estimate: float, exact: float, se: float) -> float:
    """(estimate - exact) / se; 0 for equal numbers, infinite for unequal ones without error."""
    se = one(nonnegative, "se", se, infinite=True)
    difference = one(numbers, "estimate", estimate) - one(numbers, "exact", exact)
    if difference == 0:
        return 0.0
    return difference / se if se > 0 else math.copysign(math.inf, difference)


# --- tests of distributions -----------------------------------------------------------------------


class ChiSquare(NamedTuple):
    """Statistic, degrees of freedom and probability of a larger statistic."""

    statistic: float
    dof: int
    p: float


def chi_square(sample: ArrayLike, pmf: ArrayLike, least_expected: float = 10.0) -> ChiSquare:
    """Pearson's test of independent counts against an exact law.

    Bins of 10 expected serve for p down to about 1e-4. Counts are skewed, and in a test of four
    bins, one of them that small, p <= 1e-8 comes up 38 times too often; with 100 expected, twice.
    For a small false-alarm rate ask for 100 or more.

    Parameters
    ----------
    sample : array_like of int, shape (n,)
        Independent observations, >= 0.
    pmf : array_like, shape (k,)
        Exact probabilities of 0..k-1; what is missing to 1 belongs to the values from k on.
    least_expected : float
        Neighbouring values are merged until this many are expected in each bin.

    Returns
    -------
    ChiSquare
        With p = 0 and an infinite statistic if a value of probability zero occurred.

    Raises
    ------
    ValueError
        If a value is not a whole number >= 0, ``pmf`` is no law, or the sample is too small for
        two bins.
    """
    values = _series("sample", sample, 1)
    bad = values[(values < 0) | (values != np.floor(values))]
    if bad.size:
        raise refused("sample", bad[0], "whole numbers >= 0")
    one(positive, "least_expected", least_expected, infinite=True)
    observed, expected = _table(values, _law(pmf))
    # No statistic is finite for what cannot happen, and no bin may hide it.
    if observed[expected == 0].any():
        return ChiSquare(math.inf, int(np.count_nonzero(expected)) - 1, 0.0)
    start = merged_bins(expected, least_expected)
    if start.size < 2:
        raise refused("sample size", values.size, f"enough for two bins of {least_expected}")
    seen, hoped = np.add.reduceat(observed, start), np.add.reduceat(expected, start)
    return _chi_square_result(float(((seen - hoped) ** 2 / hoped).sum()), start.size - 1)


def _chi_square_result(statistic: float, dof: int) -> ChiSquare:
    from scipy.special import chdtrc

    return ChiSquare(statistic, dof, float(chdtrc(dof, statistic)))


def _law(pmf: ArrayLike) -> Array:
    """The law with a last entry for everything beyond its table."""
    p = _series("pmf", pmf, 1)
    total = float(p.sum())
    if (p < 0).any() or total >= 1 + 1e-9:
        raise refused("sum of pmf", total, "1, of parts >= 0")
    beyond = 1 - total
    return np.append(p, beyond if beyond > 1e-9 else 0.0)


def _table(values: Array, law: Array) -> tuple[Array, Array]:
    """Observed and expected numbers of each value; those beyond the table share its last place."""
    last = law.size - 1
    observed = np.bincount(np.minimum(values, last).astype(np.int64), minlength=law.size)
    return observed.astype(np.float64), values.size * law


def merged_bins(expected: ArrayLike, least: float = 10.0) -> NDArray[np.intp]:
    """First index of each bin when neighbours are merged until each expects at least ``least``.

    From the left; what remains at the right joins the last full bin.
    """
    least = one(positive, "least", least, infinite=True)
    starts, filled = [0], 0.0
    for i, number in enumerate(_series("expected", expected, 1)):
        if filled >= least:
            starts.append(i)
            filled = 0.0
        filled += number
    if filled < least and len(starts) > 1:
        starts.pop()
    return np.array(starts, dtype=np.intp)


@dataclass(frozen=True, slots=True)
class ZTest:
    """A measured number against an exact one whose sampling error is exact too."""

    estimate: float
    exact: float
    se: float

    @property
    def z(self) -> float:
        """Deviation in standard errors."""
        return z_score(self.estimate, self.exact, self.se)


def variance_test(sample: ArrayLike, variance: float, fourth_central_moment: float) -> ZTest:
    """The variance of independent observations against the exact one, with its exact error.

    The unbiased s**2 of n observations has variance (mu4 - sigma**4 (n - 3) / (n - 1)) / n,
    whatever the law. It is skewed, though: for normal observations z > 5.73 comes up 10 times as
    often as a normal z would for n = 1e3, 2.3 times for 1e4, 1.3 times for 1e5.

    Parameters
    ----------
    sample : array_like, shape (n,)
        Independent observations, n >= 2.
    variance, fourth_central_moment : float
        Exact sigma**2 and mu4 of one observation.
    """
    x, name = _series("sample", sample, 2), "fourth_central_moment"
    n = x.size
    variance = one(nonnegative, "variance", variance)
    fourth, squared = one(finite, name, fourth_central_moment), variance * variance
    if fourth < squared * (1 - 1e-12):
        raise refused(name, fourth, f">= variance**2 = {squared}")
    # For any law, not only the normal one: counts of few sites are far from normal.
    spread = (fourth - squared * (n - 3) / (n - 1)) / n
    return ZTest(float(x.var(ddof=1)), variance, math.sqrt(max(spread, 0.0)))


# --- limits that no law leaves --------------------------------------------------------------------

#: Exponents that Chernoff's bound is tried with, as shares of the best one of a normal law. Each
#: gives a bound; at a best one that lies between two, limits are wider by less than 0.2 %.
_SHARES = np.geomspace(0.02, 50, 100)


def mean_limits(
    cgf: Callable[[Array], Array], mean: float, variance: float, n: int, tail: float
) -> tuple[float, float]:
    """Limits of the mean of ``n`` independent draws of a known law.

    By Chernoff's bound each is passed with probability ``tail`` at most, whatever the law: no limit
    theorem is asked for, so it holds for few and skewed counts too. For a normal law it lies at
    sqrt(2 ln(1 / tail)) standard errors: 6.3 where the normal quantile is 5.9 (tail 2.5e-9).

    Parameters
    ----------
    cgf
        Logarithm of the mean of exp(theta x draw), for an array of theta.
    mean, variance
        Of one draw.
    n
        Number of draws.
    tail
        Probability above 0, below 1.
    """
    level = -math.log(one(fraction, "tail", tail, above_zero=True, below_one=True)) / n
    if variance <= 0:
        return mean, mean
    theta = np.minimum(_SHARES * math.sqrt(2 * level / variance), 300.0)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        above, below = (cgf(theta) + level) / theta, (cgf(-theta) + level) / -theta
    return float(np.nanmax(below[below > -math.inf])), float(np.nanmin(above))


def spread_limits(counts: Array, p: Array, n: int, tail: float) -> tuple[float, float]:
    """Limits of the mean square departure from a known mean, over the variance, of ``n`` draws.

    By the same bound as `mean_limits`, from the whole law: ``p`` are the probabilities of
    ``counts``.
    """
    mean = float(counts @ p)
    square = (counts - mean) ** 2
    variance = float(square @ p)
    if variance <= 0:
        return 0.0, 0.0
    y = square / variance
    with np.errstate(divide="ignore"):
        log_p = np.log(p)

    def cgf(theta: Array) -> Array:
        # The largest term apart, so that none overflows.
        exponents = np.multiply.outer(theta, y) + log_p
        largest = exponents.max(axis=1)
        logs: Array = largest + np.log(np.exp(exponents - largest[:, None]).sum(axis=1))
        return logs

    return mean_limits(cgf, 1.0, float((y - 1) ** 2 @ p), n, tail)


# --- the three-way verdict ------------------------------------------------------------------------


class Verdict(StrEnum):
    """What a test against an exact value concludes."""

    PASS = "PASS"
    FAIL = "FAIL"
    CONTINUE = "CONTINUE"
    INCONCLUSIVE = "INCONCLUSIVE"


@dataclass(frozen=True, slots=True)
class Rule:
    """A family of ``tests`` tests, each looked at up to ``stages`` times on growing samples.

    Attributes
    ----------
    tests : int
        Number of tests m that share the false-alarm rate.
    stages : int
        Looks at each test, at most ``MOST_STAGES``; the last must decide.
    growth : int
        Factor between the sample sizes of successive stages.
    false_alarm : float
        Probability that any of ``tests`` exact results is ever declared FAIL, at most.
    false_pass : float
        Probability, per test, that a result off by the margin or more is ever declared PASS, at
        most.
    by_margin : bool
        FAIL only beyond the margin: for results of which it is said beforehand that they may be off
        by as much. ``false_alarm`` then holds for all that are truly off by the margin or less; at
        the margin itself half of it, where only one tail can fail, and within it far less.
    """

    tests: int = 1
    stages: int = 5
    growth: int = 3
    false_alarm: float = 1e-6
    false_pass: float = 1e-3
    by_margin: bool = False

    def __post_init__(self) -> None:
        # stages that do not grow look at the same sample again, and have no chances of their own
        limits = {"tests": (1, MOST_WHOLE), "stages": (1, MOST_STAGES), "growth": (2, MOST_WHOLE)}
        for name, (least, most) in limits.items():
            object.__setattr__(self, name, whole(name, getattr(self, name), least, most))
        for name in ("false_alarm", "false_pass"):
            one(fraction, name, getattr(self, name), above_zero=True, below_one=True)

    def sizes(self, first: int) -> list[int]:
        """Sample sizes of the stages: first, growth * first, ..."""
        first = whole("first", first)
        return [first * self.growth**stage for stage in range(self.stages)]

    def fail_bound(self, dof: float = math.inf) -> float:
        """Standard errors beyond which a deviation is a failure."""
        return student_quantile(self.false_alarm, dof, self.stages * self.tests)

    def allowed(self, margin: float) -> float:
        """Deviation that is no failure however small its error."""
        return margin if self.by_margin else 0.0

    def pass_bound(self, dof: float = math.inf) -> float:
        """Standard errors that must fit between a deviation and the margin."""
        return student_quantile(self.false_pass, dof, self.stages)


def verdict(
    estimate: Estimate, exact: float, margin: float, rule: Rule | None = None, stage: int = 0
) -> Verdict:
    """Compare an estimate with an exact value, at one stage of a sequence.

    FAIL if the deviation exceeds ``rule.fail_bound`` standard errors (by ``rule.by_margin``: if it
    exceeds the margin by so many); PASS if the deviation and
    ``rule.pass_bound`` standard errors together stay below ``margin`` (an equivalence test: the
    true deviation is then below the margin); otherwise CONTINUE with a larger sample, and at the
    last stage INCONCLUSIVE, which is not a pass. A measured error of exactly zero (replicates all
    alike, finite ``dof``) beside a deviation says only that too few were seen, and decides nothing.

    Parameters
    ----------
    estimate : Estimate
        Measured value, standard error and degrees of freedom.
    exact, margin : float
        Exact value, and largest deviation that does not matter (> 0), in the unit of the estimate.
    rule : Rule, optional
        The family of tests; by default one test.
    stage : int
        0 for the first look, ``rule.stages - 1`` for the last.

    Raises
    ------
    ValueError
        If the margin is not positive, the exact value not finite, or there is no such stage.
    """
    instance("estimate", estimate, Estimate)
    rule = Rule() if rule is None else instance("rule", rule, Rule)
    exact, margin = one(finite, "exact", exact), one(positive, "margin", margin, infinite=True)
    if whole("stage", stage) >= rule.stages:
        raise refused("stage", stage, f"in 0..{rule.stages - 1}")
    off = abs(estimate.value - exact)
    # Replicates that all agree, beside a deviation: too few were seen, not an infinite z.
    blind = estimate.se == 0 and math.isfinite(estimate.dof) and off > 0
    if not blind and off - rule.allowed(margin) > rule.fail_bound(estimate.dof) * estimate.se:
        return Verdict.FAIL
    if not blind and off + rule.pass_bound(estimate.dof) * estimate.se < margin:
        return Verdict.PASS
    return Verdict.CONTINUE if stage < rule.stages - 1 else Verdict.INCONCLUSIVE


class Chances(NamedTuple):
    """Probabilities of the three verdicts."""

    passed: float
    failed: float
    undecided: float


def chances(rule: Rule, bias: float, margin: float, first_se: float) -> Chances:
    """What a sequence of looks at ideal (normal, independent) data concludes, and how often.

    Parameters
    ----------
    rule : Rule
        Its bounds, as `verdict` applies them.
    bias : float
        True deviation from the exact value, in the unit of the margin.
    margin : float
        Largest deviation that does not matter, > 0.
    first_se : float
        Standard error at the first look, > 0, known exactly.

    Notes
    -----
    The density of the estimate, among sequences not yet decided, is carried from look to look on a
    grid (trapezoid rule; good to about 1e-6).
    """
    instance("rule", rule, Rule)
    margin, bias = one(positive, "margin", margin, infinite=True), one(finite, "bias", bias)
    se, passed, failed = one(positive, "first_se", first_se), 0.0, 0.0
    x = bias + np.linspace(-9, 9, 801) * se
    # Nine standard errors either way lose 1e-18; 801 points resolve the density and the sharp
    # bounds cut in it.
    density = _normal(x, bias, se)
    for stage in range(rule.stages):
        off, weight = np.abs(x), density * (x[1] - x[0])
        fails = off - rule.allowed(margin) > rule.fail_bound() * se
        passes = ~fails & (off + rule.pass_bound() * se < margin)
        failed, passed = failed + float(weight[fails].sum()), passed + float(weight[passes].sum())
        weight[fails | passes] = 0.0
        if stage == rule.stages - 1:
            break
        # The next estimate is a weighted mean of this one and of new, independent data.
        share = 1 / rule.growth  # of the next sample that has been seen
        smaller = se * math.sqrt(share)
        ahead = bias + np.linspace(-9, 9, 801) * smaller
        mean = share * x + (1 - share) * bias
        density = weight @ _normal(ahead[None, :], mean[:, None], smaller * math.sqrt(1 - share))
        x, se = ahead, smaller
    return Chances(passed, failed, float(weight.sum()))


def _normal(x: Array, mean: float | Array, sd: float) -> Array:
    density: Array = np.exp(-0.5 * ((x - mean) / sd) ** 2) / (sd * math.sqrt(2 * math.pi))
    return density
