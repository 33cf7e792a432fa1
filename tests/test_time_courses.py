"""Experiments on time courses: each holds at a small size, against theory that is itself held
against exact laws, and is shown to be able to fail.
"""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest
from figures import legible
from numpy.testing import assert_allclose

from synapse_abm import theory
from synapse_abm.core.errors import InputError, InputErrors
from synapse_abm.core.progress import silent
from synapse_abm.runs import dose_response, time_course
from synapse_abm.runs.experiment import find
from synapse_abm.runs.results import Result
from synapse_abm.statistics import Estimate, student_quantile
from synapse_abm.theory.hop_react import HopReact, Walk

association = find("association").load()
dissociation = find("dissociation").load()
burst = find("burst").load()
race = find("competition_kinetics").load()
CHAPTERS = {
    "association": association,
    "dissociation": dissociation,
    "burst": burst,
    "competition_kinetics": race,
}


@functools.cache
def small(name: str) -> Result:
    return CHAPTERS[name].run(seed=3, quick=True, progress=silent)


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_check_passes_and_has_an_error(name: str) -> None:
    result = small(name)
    assert result.passed
    assert all(check.se for check in result.checks if check.kind == "exact")


@pytest.mark.parametrize("name", CHAPTERS)
def test_the_figures_are_legible_and_have_two_panels_at_most(name: str) -> None:
    for figure in legible(CHAPTERS[name], small(name)).values():
        assert len(figure.axes) <= 2


# --- fits -----------------------------------------------------------------------------------------


def noisy(seed: int, replicates: int, rate: float) -> np.ndarray:
    """Curves of 200 sites each that bind independently: correlated along a curve, not between."""
    t = np.linspace(0.1, 2.0, 20)
    waits = np.random.default_rng(seed).exponential(1 / rate, (replicates, 200, 1))
    return np.asarray((waits < t).mean(axis=1))


@pytest.mark.slow
def test_errors_of_a_fit_are_honest() -> None:
    """Of 400 fits the standardised errors have the spread of Student's t with 15 degrees of
    freedom: variance 15/13. The variance of 400 such has a relative error of about 0.1, so five
    of these leave a false alarm of less than 1e-6; errors taken from the residuals of the fit, as
    if readings were independent, are three times too small.
    """
    t = np.linspace(0.1, 2.0, 20)
    z, naive = [], []
    for seed in range(400):
        curves = noisy(seed, 16, 1.5)
        rate, _ = time_course.fitted(time_course.approach, t, curves, (1.0, 1.0))
        z.append((rate.value - 1.5) / rate.se)
        parameters, sensitivity = time_course.best(
            time_course.approach, t, curves.mean(axis=0), (1.0, 1.0)
        )
        left = curves.mean(axis=0) - time_course.approach(t, parameters)
        naive.append(
            (rate.value - 1.5) / (rate.value * left.std() * np.hypot.reduce(sensitivity[0]))
        )
    assert 0.5 < np.var(z) / (15 / 13) < 1.5
    assert abs(np.mean(z)) < 5 * np.std(z) / 20
    assert np.var(naive) > 4  # the planted bug


def test_a_line_through_exact_points_is_found_and_its_error_is_that_of_the_points() -> None:
    x = np.array([0.0, 1.0, 3.0])
    points = [Estimate(2 + 0.5 * v, 0.1 * (2 + 0.5 * v), 9) for v in x]
    intercept, slope = time_course.line(x, points)
    assert_allclose([intercept.value, slope.value], [2, 0.5])
    # Weights are those of the errors, so these are the ones of weighted least squares.
    design = np.stack([np.ones(3), x], axis=1) / np.array([p.se for p in points])[:, None]
    errors = np.sqrt(np.diag(np.linalg.inv(design.T @ design)))
    assert_allclose([intercept.se, slope.se], errors)
    assert 9 < slope.dof < 27


def test_a_curve_is_judged_by_its_farthest_reading_in_a_simultaneous_band() -> None:
    t, law = np.arange(1.0, 5.0), np.full(4, 0.5)
    curve = [Estimate(0.5 + 0.01 * d, 0.01, 20) for d in (0, 1, -4, 2)]
    check = time_course.all_along("curve", t, curve, law, source="", false_alarm=0.01)
    assert check.z == pytest.approx(-4)
    assert check.passed is (student_quantile(0.01, 20, tests=4) >= 4)
    assert "at 3 s" in check.name


def test_few_replicates_make_a_large_t_likely() -> None:
    """Tables of Student's t have 0.01, two-sided, at 3.499 for 7 degrees of freedom."""
    t, p = time_course.student(Estimate(3.499, 1.0, 7), 0.0)
    assert t == 3.499
    assert p == pytest.approx(0.01, rel=2e-3)
    assert time_course.student(Estimate(1.96, 1.0), 0.0)[1] == pytest.approx(0.05, rel=1e-3)


# --- sites on a grid ------------------------------------------------------------------------------


def patch(**changes: float) -> theory.SitesOnGrid:
    sites = np.zeros(15)
    sites[7] = 40
    here = theory.SitesOnGrid(Walk(5, 3, 20.0), sites, 2.0, 0.7, 3.0)
    return replace(here, **changes)


def test_few_bound_molecules_wash_out_as_the_exact_law_of_one() -> None:
    """Mean field with one site in a million taken is the chain of a single molecule."""
    t, here = np.array([0.3, 1.0, 4.0, 15.0]), patch()
    course = here.course(t, outside=0.0, bound=1e-6, free=0.0)
    chain = HopReact(here.walk, np.full(40, 7), np.full(40, 2.0), 0.7, leave=3.0)
    rates, modes = chain.modes
    start = np.append(np.zeros(15), np.full(40, 1 / 40)) / chain.root
    held = np.append(np.zeros(15), np.ones(40)) * chain.root
    exact = ((start @ modes) * np.exp(-np.outer(t, rates))) @ (modes.T @ held)
    assert_allclose(course / 1e-6, exact, rtol=2e-5)


def test_the_mean_time_bound_is_that_of_the_formula_exactly() -> None:
    """(1 + k_on R/k_diff)/k_off, by the inverse of the generator of one molecule."""
    here = patch()
    chain = HopReact(here.walk, np.full(40, 7), np.full(40, 2.0), 0.7, leave=3.0)
    rates, modes = chain.modes
    start = np.append(np.zeros(15), np.full(40, 1 / 40)) / chain.root
    held = np.append(np.zeros(15), np.ones(40)) * chain.root
    mean_s = float(((start @ modes) / rates) @ (modes.T @ held))
    assert mean_s == pytest.approx((1 + here.rebindings) / here.koff, rel=1e-9)


def test_in_balance_with_the_surroundings_nothing_changes() -> None:
    """The hyperbola, and Gaddum's equation with a competitor, are where mean field stays."""
    here = patch(block_on=0.9, block_off=0.3)
    load = 2.0 * 0.4 / 0.7
    share, blocked = load / (1 + load + 3), 3 / (1 + load + 3)
    course = here.course([1.0, 50.0], outside=0.4, bound=share, free=0.4, blocked=blocked)
    assert_allclose(course, share, rtol=1e-7)
    empty = here.course([300.0], outside=0.4, bound=0.0, free=0.0)
    assert_allclose(empty, share, rtol=1e-6)


def test_a_whole_course_is_that_of_the_master_equation_at_each_time() -> None:
    course = theory.closed_course(0.1, 4, 8, 12, 0.3, 0.7, bound=3)
    laws = [theory.closed_transient_law(0.1 * k, 8, 12, 0.3, 0.7, bound=3) for k in range(1, 5)]
    assert_allclose(course, [law.mean for law in laws], rtol=1e-12)


# --- association ----------------------------------------------------------------------------------


def test_the_checks_of_association_would_catch_depletion_left_out() -> None:
    """Where the drug is used up, the line k_on C + k_off of the clamped drug fails by far."""
    table = small("association")["association"]
    used_up = [i for i, place in enumerate(table["place"]) if place == "used up"]
    lowest = used_up[0]
    z = (table["k_obs_per_s"][lowest] - table["line_per_s"][lowest]) / table["se"][lowest]
    assert table["expected_per_s"][lowest] > 2 * table["line_per_s"][lowest]
    assert z > 3  # at the small size; 9 standard errors at the full one


def test_sites_hold_the_drug_back() -> None:
    table = small("association")["association"]
    for place, expected, line in zip(
        table["place"], table["expected_per_s"], table["line_per_s"], strict=True
    ):
        assert place != "held back" or expected < 0.8 * line


@pytest.mark.parametrize("name", ["association", "dissociation"])
def test_tables_tell_how_many_replicates_an_error_comes_from(name: str) -> None:
    """Eight replicates leave seven degrees of freedom, at which |t| = 4 is once in 193 runs."""
    table = small(name)[name]
    assert min(table["dof"]) == 7
    assert all(0 < p <= 1 for p in table["p"])
    assert "dof" in small(name).text


# --- dissociation ---------------------------------------------------------------------------------


def test_the_checks_of_dissociation_would_catch_rebinding_left_out() -> None:
    """Held against k_off, the washout of full sites fails; with the competitor it does not."""
    data = small("dissociation").data
    z = {
        way: (w.rate.value - data.koff) / w.rate.se
        for way in (dissociation.ALONE, dissociation.EXCESS)
        for w in data.of(dissociation.FULL_KD, way)
    }
    limit = student_quantile(1e-3, 7)
    assert z[dissociation.ALONE] < -limit
    assert abs(z[dissociation.EXCESS]) < limit


# --- burst ----------------------------------------------------------------------------------------


def test_a_course_is_a_burst_everywhere() -> None:
    """With one pulse in the middle of a step from then on the same, step by step."""
    tissue = theory.UniformTissue(1, 1, 0.0, 100, 0.002, 1.0, 3.0, 0.06, 0.04, 0.01)
    free, bound, drug = tissue.course(0.05, 40, 300.0, 0.8)
    finer = tissue.course(0.0125, 160, 300.0, 0.8)[:, 3::4]
    assert_allclose(finer, np.stack([free, bound, drug]), rtol=1e-6)
    pulse = tissue.burst(1e-9, 1, np.array([[300.0]]), [0], 0.8, np.array([[True]]))
    assert_allclose(pulse, 300.0, rtol=1e-6)


def test_the_judge_of_bursts_is_the_master_equation_for_few() -> None:
    """A burst that no transporter takes up, on sites a drug holds, decays with the loss alone; and
    the drug stays where it was, as nothing competes.
    """
    tissue = theory.UniformTissue(1, 1, 0.0, 100, 0.0, 1.0, 3.0, 0.5, 0.04, 0.01)
    free, _, drug = tissue.course(0.1, 30, 300.0, 0.8)
    assert_allclose(free, 300 * np.exp(-0.05 * np.arange(1, 31)), rtol=1e-8)
    assert_allclose(drug, 80, rtol=1e-9)


def test_occupied_transporters_lengthen_a_burst_and_a_fast_drug_is_displaced() -> None:
    table = small("burst")["burst"]
    assert table["decay_times"] == sorted(table["decay_times"][:4]) + table["decay_times"][4:]
    assert table["decay_times"][3] > 4
    slow, fast = table["displaced"][2], table["displaced"][4]
    assert fast > 3 * slow > 0


def test_the_checks_of_a_burst_would_catch_a_drug_that_is_not_displaced() -> None:
    """The planted bug: the drug stays on its sites as if serotonin did not compete; and one that
    all of SERT is left to serotonin.
    """
    *_, fast = small("burst").data
    assert fast.displaced.value / fast.displaced.se > student_quantile(1e-6, 11, tests=20)
    occupied = small("burst").data[2]
    empty = small("burst").data[0].law_decay
    z = (occupied.decay.value - empty) / occupied.decay.se
    assert z > student_quantile(1e-6, 11, tests=20)


def test_the_drug_that_is_compared_with_is_not_asked_for() -> None:
    with pytest.raises(InputError, match="--drug"):
        burst.run(seed=1, quick=True, progress=silent, drug="desvenlafaxine")


def test_the_verdict_on_a_burst_depends_on_the_checks() -> None:
    result = small("burst")
    assert f"all {len(result.checks)} checks hold" in result.verdict
    farthest = max(abs(check.z) for check in result.checks)
    assert f"t {farthest:+.2f} with 11 degrees" in result.verdict.replace("t -", "t +")
    failed = [replace(result.checks[0], passed=False), *result.checks[1:]]
    verdict = burst._verdict(result.data, failed)
    assert f"NOT as mean field says: {failed[0].name}" in verdict
    assert "checks hold" not in verdict


# --- two drugs together ---------------------------------------------------------------------------


def test_readings_are_apart_in_the_logarithm_and_end_at_the_end() -> None:
    pair = small("competition_kinetics").data.pair
    steps = race.reading_steps(pair)
    assert len(steps) == race.READINGS
    assert steps == sorted(set(steps))
    assert steps[-1] * race.scenario(pair).dt_s == pytest.approx(pair.seconds, rel=1e-3)


def test_title_and_verdict_follow_from_what_was_simulated() -> None:
    """Fluvoxamine lets go hardly faster than citalopram, which leads from the start; a flat course
    is no overshoot, however its noise goes up and down.
    """
    fast = small("competition_kinetics")
    assert fast.data.title == "Milnacipran takes the sites first, citalopram takes them over"
    beside = race.run(seed=3, quick=True, progress=silent, fast="fluvoxamine")
    assert beside.data.title == "Fluvoxamine overshoots, but citalopram leads from the start"
    for result in (fast, beside):
        highest = result.data.mean[0].max()
        assert f"Simulated: {result.data.names[0]} is highest" in result.verdict
        assert f"{highest:.1%} +-" in result.verdict
    flat = replace(beside.data, overshoots=False)
    assert flat.title.startswith("No overshoot is seen: fluvoxamine is not fast enough")


def test_drugs_of_own_files_are_called_by_their_names() -> None:
    assert dose_response.labels(["a/b.toml:mine", "citalopram"]) == ["mine", "citalopram"]
    assert dose_response.labels(["a.toml:x", "b.toml:x"]) == ["a.toml:x", "b.toml:x"]


def test_the_overshoot_would_be_missed_with_the_constants_exchanged() -> None:
    """Ligands mixed up: as if the slow drug's k_off were the fast one's."""
    data = small("competition_kinetics").data
    nM, kon, koff, other, kon_other, koff_other = data.pair.rates()
    law = theory.motulsky_mahan(data.time_s, nM, kon, koff_other, other, kon_other, koff)
    z = np.abs(data.mean[0] - law.label) / data.se[0]
    assert z.max() > 50


def test_a_slow_drug_that_binds_a_third_too_fast_would_be_noticed() -> None:
    data = small("competition_kinetics").data
    nM, kon, koff, other, kon_other, koff_other = data.pair.rates()
    law = theory.motulsky_mahan(data.time_s, nM, kon, koff, other, 1.33 * kon_other, koff_other)
    curve = [Estimate(m, s) for m, s in zip(data.mean[0], data.se[0], strict=True)]
    check = time_course.all_along(
        "label", data.time_s, curve, law.label, source="", false_alarm=1e-6, tests=4
    )
    assert not check.passed


def test_drugs_that_cannot_be_are_refused_together() -> None:
    with pytest.raises(InputErrors) as caught:
        race.run(seed=1, quick=True, progress=silent, fast="milnacipram", slow="serotonin")
    assert len(caught.value.faults) == 2
    with pytest.raises(InputError, match="exchange --fast and --slow"):
        race.run(seed=1, quick=True, progress=silent, fast="citalopram", slow="milnacipran")
