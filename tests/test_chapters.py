"""Competition, selectivity and saturation: each holds at a small size, and is shown to be able to
fail.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
from figures import legible

from synapse_abm import pharmacology, theory
from synapse_abm.core.errors import InputError, UnknownName
from synapse_abm.core.progress import silent
from synapse_abm.runs import dose_response
from synapse_abm.runs.experiment import find
from synapse_abm.runs.results import Result
from synapse_abm.statistics import Estimate, from_replicates, student_quantile

competition = find("competition").load()
selectivity = find("selectivity").load()
saturation = find("saturation").load()
CHAPTERS = {"competition": competition, "selectivity": selectivity, "saturation": saturation}


@functools.cache
def small(name: str) -> Result:
    return CHAPTERS[name].run(seed=3, quick=True, progress=silent)


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_exact_check_passes_and_has_an_error(name: str) -> None:
    result = small(name)
    assert result.passed
    assert all(check.kind == "exact" and check.se for check in result.checks)


@pytest.mark.parametrize("name", ["selectivity", "saturation"])
def test_the_same_seed_gives_the_same_tables(name: str) -> None:
    again = CHAPTERS[name].run(seed=3, quick=True, progress=silent)
    assert again.table_files() == small(name).table_files()


@pytest.mark.parametrize("name", CHAPTERS)
def test_the_figures_are_legible_and_name_their_unit(name: str) -> None:
    for figure in legible(CHAPTERS[name], small(name)).values():
        assert "nM" in figure.axes[-1].get_xlabel()


def test_the_boards_have_as_many_free_transporters_as_theory_says() -> None:
    """Ten times ten: 50, 20 and 7 free, and 3.6 after the last doubling: 4 can be drawn."""
    boards = saturation.figure(small("saturation"))[""].axes[:4]
    free = [int((ax.collections[0].get_array() == 0).sum()) for ax in boards]
    assert free == [50, 20, 7, 4]


# --- competition ----------------------------------------------------------------------------------


def test_serotonin_moves_the_apparent_k() -> None:
    shifts = small("competition")["apparent_k"]
    assert shifts["expected_nM"] == pytest.approx([1.1 * 1.2, 2 * 1.2, 11 * 1.2])
    assert max(np.divide(shifts["se"], shifts["k_nM"])) < 0.03


def test_the_checks_of_competition_would_catch_a_forgotten_serotonin() -> None:
    """Held against Ki instead of Ki (1 + S/Km), both higher levels fail by far."""
    table = small("competition")["apparent_k"]
    z = (np.array(table["k_nM"]) - 1.2) / np.array(table["se"])
    assert (z[1:] > student_quantile(1e-6, 11, tests=30)).all()


@pytest.mark.parametrize("error", [0.01, 0.05, 0.1])
def test_the_range_where_the_plain_formula_misleads(error: float) -> None:
    span = competition.misled(1.2, 13.2, error)
    assert span is not None
    for c in span:
        too_high = theory.occupancy(c, 1.2) - theory.occupancy(c, 13.2)
        assert float(too_high) == pytest.approx(error)
    inside = math.sqrt(span[0] * span[1])
    assert theory.occupancy(inside, 1.2) - theory.occupancy(inside, 13.2) > error


@pytest.mark.parametrize("error", [0.01, 0.05, 0.1])
def test_the_serotonin_below_which_the_plain_formula_never_misleads(error: float) -> None:
    most = competition.tolerated_serotonin_nM(170.0, error)
    c = np.logspace(-3, 3, 20001)
    for factor, misled in ((0.999, False), (1.001, True)):
        k = 1 + factor * most / 170.0
        worst = float((theory.occupancy(c, 1.0) - theory.occupancy(c, k)).max())
        assert (worst > error) is misled
        assert (competition.misled(1.0, k, error) is not None) is misled


@pytest.mark.parametrize(
    "levels",
    [(1.0, 2.0), (3.0, 2.0, 1.0), (1.0, 1.0, 2.0), (-1.0, 1.0, 2.0), (1.0, 2.0, math.nan),
     (1.0, 2.0, math.inf)],
)  # fmt: skip
def test_levels_of_serotonin_that_cannot_be_are_refused(levels: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="--serotonin-nM"):
        competition.run(seed=1, quick=True, progress=silent, serotonin_nM=levels)


@pytest.mark.slow
@pytest.mark.parametrize("serotonin_nM", [17.0, 1700.0])
@pytest.mark.parametrize("ratio", [10**-1.5, 1.0, 10**1.5])
def test_competition_is_read_at_equilibrium(serotonin_nM: float, ratio: float) -> None:
    """A hundred times the replicates of the experiment: ten times sharper, and no bias."""
    pair = competition.competitors("citalopram")
    runs = [competition.occupancy(pair, serotonin_nM, ratio, 99, r) for r in range(2400)]
    estimate = from_replicates(runs)
    z = (estimate.value - ratio / (1 + ratio)) / estimate.se
    assert abs(z) < student_quantile(1e-6, estimate.dof, tests=6)


# --- selectivity ----------------------------------------------------------------------------------


def test_the_selectivity_ratio_is_that_of_the_affinities() -> None:
    ratios = small("selectivity")["ratios"]
    assert ratios["expected"] == pytest.approx([7841 / 1.1, 7.5 / 0.8, 1.1 / 129])
    assert ratios["kind"] == ["SSRI", "SNRI", "NRI"]
    assert np.allclose(ratios["net_over_sert"], ratios["expected"], rtol=0.15)


@pytest.mark.parametrize("drugs", [(), ("citalopram",) * 2, ("a", "b", "c", "d", "e")])
def test_a_number_of_drugs_that_cannot_be_shown_is_refused(drugs: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="--drugs"):
        selectivity.run(seed=1, quick=True, progress=silent, drugs=drugs)


# --- saturation -----------------------------------------------------------------------------------


def test_doubling_at_93_percent_buys_3_4_points_and_halves_the_uptake() -> None:
    gain, halved = small("saturation").checks[-2:]
    assert gain.expected == pytest.approx(0.0337, abs=1e-4)
    assert math.exp(halved.expected or 0) == pytest.approx(0.518, abs=1e-3)


def test_uptake_left_is_the_share_of_transporters_without_drug() -> None:
    """What the docstring says, from the exact law of counts."""
    it = saturation.case("paroxetine")
    for ratio in (0.1, 1.0, 10.0):
        c = ratio * it.k["SERT"]
        left = saturation.uptake(it, c).mean / saturation.uptake(it, 0.0).mean
        assert left == pytest.approx(1 / (1 + ratio), rel=1e-9)


@pytest.mark.slow
def test_saturation_is_read_at_equilibrium() -> None:
    """Sixty repetitions together: occupancy, off-target occupancy and uptake, without bias."""
    it = saturation.case("paroxetine")
    for p in (0.1, 0.9):
        c = it.k["SERT"] * p / (1 - p)
        runs = [saturation.measure(it, c, 99, r) for r in range(60)]
        for target, sites in saturation.SITES.items():
            bound = sum(run.bound[target] for run in runs)
            law = float(theory.occupancy(c, it.k[target]))
            check = dose_response.binomial_check(
                target, bound, 60 * sites, law, source="", false_alarm=1e-6 / 6
            )
            assert check.passed, check
        moments = saturation.uptake(it, c)
        z = (sum(run.taken_up for run in runs) - 60 * moments.mean) / math.sqrt(60 * moments.var)
        assert abs(z) < 5.2


# --- what they share ------------------------------------------------------------------------------


def test_the_half_concentration_of_exact_occupancies_is_exact() -> None:
    c = [0.1, 1.0, 7.0, 300.0]
    points = [Estimate(float(theory.occupancy(each, 5.0)), 0.01, 20) for each in c]
    half = dose_response.half_concentration(c, points)
    assert half.value == pytest.approx(5.0, rel=1e-9)
    assert half.dof == pytest.approx(80)


def test_the_error_of_the_half_concentration_covers() -> None:
    """Scatter over 4000 drawn titrations against the error that is claimed, within 5 %."""
    c, sites = np.geomspace(0.05, 20, 8), 400
    p = theory.occupancy(c, 1.0)
    se = np.sqrt(p * (1 - p) / sites)
    draws = np.random.default_rng(1).binomial(sites, p, size=(4000, 8)) / sites
    fits = [
        dose_response.half_concentration(c.tolist(), list(map(Estimate, row.tolist(), se.tolist())))
        for row in draws
    ]
    z = np.array([math.log(fit.value) / (fit.se / fit.value) for fit in fits])
    assert abs(z.mean()) < 0.1
    assert z.std() == pytest.approx(1.0, rel=0.05)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_no_half_concentration_without_a_half(value: float) -> None:
    with pytest.raises(ValueError, match="total occupancy"):
        dose_response.half_concentration([1.0, 2.0], [Estimate(value, 0.1)] * 2)


@pytest.mark.parametrize(
    ("bound", "sites", "p", "passed"),
    [(0, 10, 0.1, True), (4, 3000, 3e-5, False), (1, 3000, 3e-5, True), (10, 10, 0.1, False),
     (500, 1000, 0.5, True), (620, 1000, 0.5, False), (380, 1000, 0.5, False)],
)  # fmt: skip
def test_the_binomial_check(bound: int, sites: int, p: float, passed: bool) -> None:
    check = dose_response.binomial_check("x", bound, sites, p, source="", false_alarm=1e-5)
    assert check.passed is passed


def test_drugs_without_the_affinity_and_substrates_are_refused() -> None:
    with pytest.raises(InputError, match="affinity at NET is known"):
        saturation.run(seed=1, quick=True, progress=silent, drug="R-citalopram")
    with pytest.raises(InputError, match="prefers SERT"):
        saturation.run(seed=1, quick=True, progress=silent, drug="reboxetine")
    with pytest.raises(InputError, match="binds and stays outside"):
        competition.run(seed=1, quick=True, progress=silent, drug="serotonin")
    with pytest.raises(UnknownName) as caught:
        selectivity.run(seed=1, quick=True, progress=silent, drugs=("duloxetin",))
    assert "duloxetine" in caught.value.nearest


def test_a_drug_with_two_affinities_is_accepted() -> None:
    assert dose_response.inhibitor("duloxetine", ["SERT", "NET"], "--drug").name == "duloxetine"
    assert "duloxetine" in pharmacology.ligand_names()
