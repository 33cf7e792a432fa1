"""Error bars and tests, judged on data whose exact answers are known.

Random data come from fixed seeds. Bounds on a simulated frequency or variance are 4.5 standard
deviations of that simulated number: a correct function would be rejected with probability 7e-6,
were the seed not fixed.
"""

from __future__ import annotations

import math
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from synapse_abm import statistics, theory
from synapse_abm.statistics import Estimate, Rule, TooShort, Verdict, ZTest

pytestmark = pytest.mark.filterwarnings("error")

type Array = NDArray[np.float64]

repeatable = settings(derandomize=True, database=None, deadline=None, max_examples=100)
WIDE = 4.5


def frequency_bound(p: float, n: int) -> float:
    """How far the frequency of an event of probability ``p`` in ``n`` trials may be off."""
    return WIDE * math.sqrt(p * (1 - p) / n)


def two_state(seed: int, replicates: int, n: int, p: float, rho: float) -> Array:
    """Stationary snapshots of independent sites, shape (replicates, n); rho per spacing."""
    rng = np.random.default_rng(seed)
    state = np.empty((n, replicates))
    state[0] = rng.random(replicates) < p
    for i in range(1, n):
        state[i] = rng.random(replicates) < p + (state[i - 1] - p) * rho
    return state.T


def autoregression(seed: int, n: int, rho: float) -> Array:
    """A stationary AR(1) series of unit variance, autocorrelation rho**k."""
    noise = np.random.default_rng(seed).normal(size=n) * math.sqrt(1 - rho**2)
    x = np.empty(n)
    x[0] = noise[0] / math.sqrt(1 - rho**2)
    for i in range(1, n):
        x[i] = rho * x[i - 1] + noise[i]
    return x


# --- error bars -----------------------------------------------------------------------------------


def test_replicates_by_hand() -> None:
    estimate = statistics.from_replicates([1.0, 2.0, 3.0, 6.0])
    assert estimate == Estimate(3.0, math.sqrt(14 / 3) / 2, 3)


def test_interval_of_few_replicates_covers_as_often_as_it_says() -> None:
    data = np.random.default_rng(1).normal(5.0, 2.0, size=(4000, 6))
    covered = 0
    for row in data:
        low, high = statistics.from_replicates(row).interval(0.9)
        covered += low < 5.0 < high
    assert abs(covered / 4000 - 0.9) < frequency_bound(0.9, 4000)
    # Control: the normal interval, which ignores that the error itself was estimated.
    normal = sum(
        low < 5.0 < high
        for row in data
        for low, high in [Estimate(row.mean(), row.std(ddof=1) / math.sqrt(6)).interval(0.9)]
    )
    assert normal / 4000 < 0.9 - frequency_bound(0.9, 4000)


def test_autocorrelation_is_the_direct_sum() -> None:
    x = np.random.default_rng(2).normal(size=37)
    y = x - x.mean()
    direct = [(y[: 37 - k] * y[k:]).sum() / (y * y).sum() for k in range(37)]
    assert_allclose(statistics.autocorrelation(x), direct, atol=1e-14)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_integrated_time_of_an_autoregression(rho: float) -> None:
    n = 100_000
    exact = (1 + rho) / (1 - rho)
    # Relative error sqrt(2 (2 W + 1) / n) for a sum up to lag W (Madras & Sokal 1988); the sum
    # stops within 10 exact times here.
    tolerance = WIDE * math.sqrt(2 * (20 * exact + 1) / n)
    time = statistics.integrated_time(autoregression(3, n, rho))
    assert time == pytest.approx(exact, rel=tolerance)
    ess = statistics.effective_sample_size(autoregression(3, n, rho))
    assert ess == pytest.approx(n / time)


def test_alternation_does_not_count_for_more_than_independence() -> None:
    x = autoregression(4, 10_000, -0.8)
    assert statistics.integrated_time(x) == 1.0
    assert statistics.effective_sample_size(x) == 10_000


P, RHO, LENGTH = 0.3, 0.9, 4000  # integrated time 19: 210 of them, 21 in each of 10 batches


@pytest.fixture(scope="module")
def chains() -> Array:
    """600 independent series of one site."""
    return two_state(5, 600, LENGTH, P, RHO)


def exact_variance(length: int = LENGTH) -> float:
    """Exact variance of the mean of ``length`` snapshots of one of the ``chains``."""
    tau = -1 / math.log(RHO)
    return float(theory.snapshot_mean_variance(length, 1.0, 1, P, tau))


def batch_bias(size: int, batches: int) -> float:
    """Expected squared error from the scatter of batch means, over the exact variance.

    E s**2 = k / (k - 1) (V_batch - V_all) for k batches, because they are parts of the whole.
    """
    return (exact_variance(size) / exact_variance(size * batches) - 1) / (batches - 1)


def test_means_scatter_as_the_exact_variance_says(chains: Array) -> None:
    spread = chains.mean(axis=1).var(ddof=1) / exact_variance()
    assert abs(spread - 1) < WIDE * math.sqrt(2 / 599)


def test_batch_means_find_the_exact_error(chains: Array) -> None:
    estimates = [statistics.batch_means(row) for row in chains]
    squared = np.array([e.se**2 for e in estimates]) / exact_variance()
    # Each is a variance of 9 degrees of freedom.
    bias = batch_bias(LENGTH // 10, 10)
    assert abs(squared.mean() - bias) < WIDE * math.sqrt(2 / 9 / 600)
    outside = np.mean([not e.interval(0.95)[0] < P < e.interval(0.95)[1] for e in estimates])
    assert abs(outside - 0.05) < 0.01 + frequency_bound(0.05, 600)  # 0.01: the error's own bias
    rule = Rule(tests=600)
    assert all(statistics.verdict(e, P, 0.02, rule) is not Verdict.FAIL for e in estimates)


@pytest.mark.parametrize("batches", [2, 10, 30])
def test_the_shortest_batches_allowed_err_by_five_percent(batches: int) -> None:
    size = max(statistics.LEAST_TIMES_PER_BATCH, statistics.LEAST_TIMES // batches) * 19
    assert 0.94 < math.sqrt(batch_bias(size, batches)) < 1


def test_a_naive_error_on_correlated_data_is_caught(chains: Array) -> None:
    naive = [statistics.from_replicates(row) for row in chains]
    squared = np.array([e.se**2 for e in naive]) / exact_variance()
    assert squared.mean() == pytest.approx(1 / 19, rel=0.05)
    # A correct mean with that error fails, even at the strictest bound, again and again.
    rule = Rule(tests=600)
    failed = sum(statistics.verdict(e, P, 0.02, rule) is Verdict.FAIL for e in naive)
    assert failed > 60


def test_the_mean_of_a_series_is_that_of_all_of_it() -> None:
    x = autoregression(6, 4009, 0.5)  # nine are left over by ten batches
    assert statistics.batch_means(x).value == x.mean()


def test_a_short_series_raises_but_hands_over_its_estimate() -> None:
    x = autoregression(6, 400, 0.9)  # 21 integrated times
    with pytest.raises(TooShort, match="400 samples is too short") as caught:
        statistics.batch_means(x)
    short = caught.value
    assert short.estimate.value == pytest.approx(x.mean())
    assert short.needed > 400
    assert short.estimate.se > 2 * x.std() / 20  # more than independence would give
    again = pickle.loads(pickle.dumps(short))
    assert (again.estimate, again.needed, str(again)) == (short.estimate, short.needed, str(short))
    assert statistics.batch_means(autoregression(6, 4000, 0.9)).dof == 9


def test_more_batches_ask_for_a_longer_series() -> None:
    x = autoregression(7, 2000, 0.9)
    statistics.batch_means(x, batches=10)
    with pytest.raises(TooShort):
        statistics.batch_means(x, batches=40)


def test_a_constant_series_has_no_measured_error() -> None:
    with pytest.raises(TooShort) as caught:
        statistics.batch_means(np.full(1000, 0.25))
    assert caught.value.estimate == Estimate(0.25, 0.0, 9)
    assert math.isinf(caught.value.needed)


# --- quantiles ------------------------------------------------------------------------------------


def test_bounds_for_families_of_tests() -> None:
    assert statistics.normal_quantile(0.05) == pytest.approx(1.959964, abs=1e-6)
    assert statistics.normal_quantile(1e-6, 100) == pytest.approx(5.73, abs=0.005)
    assert statistics.normal_quantile(1e-6, 300) == pytest.approx(5.91, abs=0.005)
    assert statistics.student_quantile(0.05, 9) == pytest.approx(2.262157, abs=1e-6)
    assert statistics.student_quantile(1e-6, 63, 100) > statistics.normal_quantile(1e-6, 100)
    assert statistics.student_quantile(1e-6, math.inf, 7) == statistics.normal_quantile(1e-6, 7)


def test_a_family_raises_false_alarms_as_often_as_stated() -> None:
    z = np.random.default_rng(8).normal(size=(5000, 100))
    alarms = (np.abs(z) > statistics.normal_quantile(0.05, 100)).any(axis=1).mean()
    stated = 1 - (1 - 0.05 / 100) ** 100
    assert abs(alarms - stated) < frequency_bound(stated, 5000)
    # Control: without the correction almost every family cries wolf.
    assert (np.abs(z) > statistics.normal_quantile(0.05)).any(axis=1).mean() > 0.95


def test_z_scores() -> None:
    assert statistics.z_score(1.3, 1.0, 0.1) == pytest.approx(3.0)
    assert statistics.z_score(1.0, 1.0, 0.0) == 0.0
    assert statistics.z_score(0.9, 1.0, 0.0) == -math.inf


# --- distributions --------------------------------------------------------------------------------

LAW = theory.closed_law(10, 10, 0.1)


def draw(seed: int, law: theory.Law, n: int) -> NDArray[np.int64]:
    """Independent counts from ``law``."""
    return np.random.default_rng(seed).choice(law.pmf.size, size=n, p=law.pmf)


def test_chi_square_by_hand() -> None:
    sample = [0] * 30 + [1] * 50 + [2] * 15 + [3] * 5
    result = statistics.chi_square(sample, [0.25, 0.5, 0.2, 0.05])
    # The bin of 5 expected joins its neighbour: 25, 50, 25 expected; 30, 50, 20 seen.
    assert result.statistic == pytest.approx(25 / 25 + 0 + 25 / 25)
    assert result.dof == 2
    assert result.p == pytest.approx(math.exp(-1))  # for two degrees of freedom, exp(-x / 2)


def test_chi_square_probabilities_are_uniform() -> None:
    p = np.array([statistics.chi_square(draw(i, LAW, 800), LAW.pmf).p for i in range(2000)])
    for level in (0.01, 0.1, 0.5, 0.9):
        assert abs((p < level).mean() - level) < frequency_bound(level, 2000)


def test_chi_square_catches_the_wrong_law() -> None:
    sample = draw(9, LAW, 20_000)
    assert statistics.chi_square(sample, LAW.pmf, 100.0).p > 1e-3
    # Right mean, binomial shape: what independent sites would do.
    independent = theory.open_law(10, LAW.mean / 10)
    assert statistics.chi_square(sample, independent.pmf, 100.0).p < 1e-12
    # Right shape, mean-field mean.
    k = np.linspace(0.094, 0.1, 61)
    target = float(theory.morrison_mean(10, 10, 0.1))
    nearest = k[np.argmin([abs(theory.closed_law(10, 10, x).mean - target) for x in k])]
    shifted = theory.closed_law(10, 10, float(nearest))
    assert statistics.chi_square(sample, shifted.pmf, 100.0).p < 1e-8


def test_what_cannot_happen_and_what_lies_beyond_the_table() -> None:
    assert statistics.chi_square([0] * 50 + [1] * 50 + [2], [0.5, 0.5]) == (math.inf, 1, 0.0)
    poisson = theory.open_pool(1, 3.0, 0.1, 1.0).free_pmf(np.arange(4))
    sample = np.random.default_rng(10).poisson(3.0, 4000)
    result = statistics.chi_square(sample, poisson)
    assert result.dof == 4  # 0, 1, 2, 3 and the rest
    assert result.p > 1e-3


@repeatable
@given(st.lists(st.floats(0, 40), min_size=1, max_size=30))
def test_bins_are_full_and_cover_everything(expected: list[float]) -> None:
    start = statistics.merged_bins(expected)
    assert start[0] == 0
    assert np.all(np.diff(start) > 0)
    filled = np.add.reduceat(expected, start)
    assert filled.sum() == pytest.approx(sum(expected))
    assert start.size == 1 or filled.min() >= 10


def test_small_bins_cost_false_alarms_far_out() -> None:
    from scipy.stats import chi2, poisson

    # One bin of ``expected`` counts and three large ones: that bin's own skewness, exactly.
    def inflation(expected: float, p: float) -> float:
        n = np.arange(int(expected + 40 * math.sqrt(expected)) + 60)
        rest = chi2.isf(p, 3) - (n - expected) ** 2 / expected
        beyond = np.where(rest <= 0, 1.0, chi2.sf(np.maximum(rest, 0), 2))
        return float(poisson.pmf(n, expected) @ beyond) / p

    assert inflation(10.0, 1e-3) < 1.5
    assert inflation(10.0, 1e-8) == pytest.approx(38, abs=1)
    assert inflation(100.0, 1e-8) == pytest.approx(2.2, abs=0.1)


def test_variance_has_its_exact_spread() -> None:
    law = theory.open_law(30, 0.2)
    n, repeats = 500, 3000
    counts = np.random.default_rng(11).binomial(30, 0.2, size=(repeats, n))
    moments = law.var, law.central_moment(4)
    z = np.array([statistics.variance_test(row, *moments).z for row in counts])
    assert abs(z.mean()) < WIDE / math.sqrt(repeats)
    # The kurtosis of z is close to 3, so its variance has relative error sqrt(2 / repeats).
    assert abs(z.var() - 1) < WIDE * math.sqrt(2.2 / repeats)


def test_sites_that_share_a_random_number_are_caught_by_their_variance() -> None:
    rng = np.random.default_rng(12)
    law = theory.open_law(30, 0.2)
    moments = law.var, law.central_moment(4)
    bound = statistics.normal_quantile(1e-6, 100)
    right = rng.binomial(30, 0.2, size=10_000)
    paired = 2 * rng.binomial(15, 0.2, size=10_000)  # same mean
    assert abs(statistics.variance_test(right, *moments).z) < bound
    assert statistics.variance_test(paired, *moments).z > bound


def test_variance_test_of_two_point_counts() -> None:
    # mu4 = sigma**4 for a fair coin: the smallest fourth moment there is.
    test = statistics.variance_test([0, 1, 0, 1], 0.25, 0.0625)
    assert test == ZTest(1 / 3, 0.25, math.sqrt((0.0625 - 0.0625 / 3) / 4))


# --- verdicts -------------------------------------------------------------------------------------


def test_three_verdicts_and_the_fourth() -> None:
    rule = Rule(tests=100)
    assert rule.sizes(64) == [64, 192, 576, 1728, 5184]
    assert rule.fail_bound() == pytest.approx(statistics.normal_quantile(1e-6 / 500))
    assert rule.pass_bound() == pytest.approx(statistics.normal_quantile(1e-3 / 5))
    near, far = Estimate(0.501, 0.001), Estimate(0.51, 0.001)
    assert statistics.verdict(near, 0.5, 0.01, rule) is Verdict.PASS
    assert statistics.verdict(far, 0.5, 0.01, rule) is Verdict.FAIL
    assert statistics.verdict(far, 0.5, 1.0, rule) is Verdict.FAIL  # seen beyond doubt, so wrong
    vague = Estimate(0.503, 0.004)
    assert statistics.verdict(vague, 0.5, 0.01, rule) is Verdict.CONTINUE
    assert statistics.verdict(vague, 0.5, 0.01, rule, stage=4) is Verdict.INCONCLUSIVE
    assert Verdict.PASS == "PASS"


def test_few_replicates_need_more_to_convince() -> None:
    value, se = 0.508, 0.001
    assert statistics.verdict(Estimate(value, se), 0.5, 0.015) is Verdict.FAIL
    assert statistics.verdict(Estimate(value, se, 5), 0.5, 0.015) is Verdict.CONTINUE


def test_replicates_all_alike_decide_nothing_unless_they_agree() -> None:
    alike = statistics.from_replicates([0.0] * 64)
    assert statistics.verdict(alike, 1e-7, 1e-3) is Verdict.CONTINUE
    assert statistics.verdict(alike, 0.0, 1e-3) is Verdict.PASS
    assert statistics.verdict(Estimate(0.0, 0.0), 1e-7, 1e-3) is Verdict.FAIL  # error known


def run_sequence(rng: np.random.Generator, bias: float, first_se: float) -> Verdict:
    """The stages of one test on ideal data: each stage extends the sample of the one before."""
    rule, total, n = Rule(), 0.0, 0
    for stage, size in enumerate(rule.sizes(1)):
        total += rng.normal((size - n) * bias, first_se * math.sqrt(size - n))
        n = size
        estimate = Estimate(total / n, first_se / math.sqrt(n))
        result: Verdict = statistics.verdict(estimate, 0.0, 1.0, rule, stage)
        if result is not Verdict.CONTINUE:
            return result
    raise AssertionError("the last stage must decide")


def test_sequences_on_ideal_data() -> None:
    # Margin 1; the last of five stages has a standard error of 1/15.
    rng, repeats = np.random.default_rng(13), 3000
    first_se = 9 / 15
    unbiased = [run_sequence(rng, 0.0, first_se) for _ in range(repeats)]
    assert set(unbiased) == {Verdict.PASS}
    biased = [run_sequence(rng, 1.0, first_se) for _ in range(repeats)]
    passed = biased.count(Verdict.PASS) / repeats
    assert passed < 1e-3 + frequency_bound(1e-3, repeats)
    assert biased.count(Verdict.FAIL) / repeats > 0.99
    # Too small a sample decides nothing, and says so.
    vague = [run_sequence(rng, 0.0, 9.0) for _ in range(200)]
    assert set(vague) == {Verdict.INCONCLUSIVE}


@pytest.mark.parametrize("bias", [0.0, 0.6, 0.75, 1.0])
def test_chances_are_the_frequencies_of_sequences(bias: float) -> None:
    """Of three verdicts in 2000 sequences, false alarm 1e-6 in all."""
    rng, repeats = np.random.default_rng(17), 2000
    said = statistics.chances(Rule(), bias, 1.0, 9 / 15)
    assert sum(said) == pytest.approx(1, abs=1e-6)
    seen = [run_sequence(rng, bias, 9 / 15) for _ in range(repeats)]
    for verdict, chance in zip(
        (Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE), said, strict=True
    ):
        off = abs(seen.count(verdict) / repeats - chance)
        assert off <= frequency_bound(max(chance, 1e-4), repeats)


def test_chances_notice_a_bound_that_is_too_low() -> None:
    """The control: with 3 standard errors for FAIL exact numbers fail a thousand times as often."""
    honest = statistics.chances(Rule(false_alarm=1e-6), 0.0, 1.0, 9 / 15).failed
    lax = statistics.chances(Rule(false_alarm=1e-2), 0.0, 1.0, 9 / 15).failed
    assert honest < 1e-6 < 1e-4 < lax < 1e-2


@pytest.mark.parametrize("bias", [0.0, 0.4, 1.0])
def test_by_margin_what_is_off_by_no_more_never_fails_more_often_than_said(bias: float) -> None:
    """At the margin one tail can fail: half the false alarms. Beyond it everything is seen."""
    rule = Rule(false_alarm=1e-3, by_margin=True)
    failed = statistics.chances(rule, bias, 1.0, 9 / 15).failed
    assert failed <= 0.5e-3 if bias == 1 else failed < 1e-5
    assert failed > 0.5e-4 or bias < 1, "the bound is not idle"
    assert statistics.chances(Rule(by_margin=True), 2.0, 1.0, 9 / 15).failed > 0.99


def test_by_margin_a_small_certain_bias_passes_and_a_large_one_fails() -> None:
    rule = Rule(tests=100, by_margin=True)
    for off, conclusion in (
        (0.004, Verdict.PASS),
        (0.0101, Verdict.CONTINUE),
        (0.02, Verdict.FAIL),
    ):
        assert statistics.verdict(Estimate(0.5 + off, 1e-4), 0.5, 0.01, rule) is conclusion


@repeatable
@given(st.floats(-5, 5), st.floats(1e-6, 10), st.floats(1e-3, 5), st.integers(0, 4))
def test_verdicts_are_symmetric_and_passing_is_monotone(
    off: float, se: float, margin: float, stage: int
) -> None:
    rule = Rule()
    here = statistics.verdict(Estimate(off, se), 0.0, margin, rule, stage)
    assert here is statistics.verdict(Estimate(-off, se), 0.0, margin, rule, stage)
    if here is Verdict.PASS:
        assert abs(off) < margin
        assert statistics.verdict(Estimate(off, se), 0.0, 2 * margin, rule, stage) is Verdict.PASS
        assert statistics.verdict(Estimate(off / 2, se), 0.0, margin, rule, stage) is Verdict.PASS


# --- manners --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda: Estimate(math.nan, 1.0), "value = nan .* finite"),
        (lambda: Estimate(0.0, -1.0), "se = -1.0 .* >= 0"),
        (lambda: Estimate(0.0, math.nan), "se = nan"),
        (lambda: Estimate(0.0, 1.0, 0.0), "dof = 0.0"),
        (lambda: Estimate(0.0, 1.0).interval(1.0), "level = 1.0"),
        (lambda: statistics.from_replicates([1.0]), "length of values = 1"),
        (lambda: statistics.from_replicates([1.0] * 9, least=64), "length of values = 9 .* >= 64"),
        (lambda: statistics.from_replicates([1.0, math.inf]), "values = .*inf"),
        (lambda: statistics.from_replicates([[1.0, 2.0]]), "dimensions of values = 2"),
        (lambda: statistics.batch_means([1.0, 2.0], 1), "batches = 1"),
        (lambda: statistics.batch_means([1.0] * 5), "length of series = 5"),
        (lambda: statistics.normal_quantile(0.0), "false_alarm = 0.0"),
        (lambda: statistics.normal_quantile(0.1, 0), "tests = 0"),
        (lambda: statistics.student_quantile(0.1, 0.0), "dof = 0.0"),
        (lambda: statistics.z_score(0.0, 0.0, -1.0), "se = -1.0"),
        (lambda: statistics.chi_square([0.5], [1.0]), "sample = .*0.5"),
        (lambda: statistics.chi_square([0, 1], [0.5, 0.6]), "sum of pmf = 1.1"),
        (lambda: statistics.chi_square([0, 1], [0.5, 0.5]), "sample size = 2 .* two bins"),
        (lambda: statistics.merged_bins([1.0], 0.0), "least = 0.0"),
        (lambda: statistics.variance_test([1.0, 2.0], -1.0, 1.0), "variance = -1.0"),
        (lambda: statistics.variance_test([1.0, 2.0], 2.0, 1.0), "fourth_central_moment = 1.0"),
        (lambda: Rule(tests=0), "tests = 0"),
        (lambda: Rule(growth=1), "growth = 1"),
        (lambda: Rule(false_pass=1.0), "false_pass = 1.0"),
        (lambda: statistics.verdict(Estimate(0.0, 1.0), math.nan, 1.0), "exact = nan"),
        (lambda: statistics.verdict(Estimate(0.0, 1.0), 0.0, 0.0), "margin = 0.0"),
        (lambda: statistics.verdict(Estimate(0.0, 1.0), 0.0, 1.0, stage=5), r"stage = 5 .* 0\.\.4"),
        (lambda: statistics.from_replicates(["1.0", "2.0"]), "values = "),
        (lambda: statistics.integrated_time(cast(Any, None)), "series = None"),
        (lambda: statistics.merged_bins([1.0], cast(Any, "x")), "least = 'x'"),
        (lambda: statistics.normal_quantile(cast(Any, [0.1, 0.2])), "false_alarm = .* one number"),
        (lambda: statistics.chi_square([0, 1], [0.5, 0.5], -1.0), "least_expected = -1.0"),
        (lambda: statistics.variance_test([1.0, 2.0], 1e300, 1.0), "fourth_central_moment = 1.0"),
        (lambda: statistics.verdict(cast(Any, 1.5), 0.0, 1.0), "estimate = 1.5"),
        (lambda: statistics.chances(cast(Any, 1.5), 0.0, 1.0, 1.0), "rule = 1.5"),
        (lambda: Rule(stages=10**9), "stages = 1000000000 .* <= 100"),
    ],
)
def test_bad_input_is_refused_by_name(call: Callable[[], object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        call()


def test_importing_statistics_is_quick_and_loads_nothing_else() -> None:
    script = (
        "import sys, synapse_abm.statistics\n"
        "print(*(m for m in sys.modules if m.split('.')[0] in ('scipy', 'mesa', 'numba')"
        " or m.startswith('synapse_abm.') and not m.startswith('synapse_abm.core')"
        " and m != 'synapse_abm.statistics'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
