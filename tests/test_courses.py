"""What changes in time is judged by its own law: the course of a scenario beside exact theory."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.special import bdtr

from synapse_abm import statistics, theory
from synapse_abm.core.errors import InputError
from synapse_abm.plotting import timeseries
from synapse_abm.runs.course_check import Course, course_of
from synapse_abm.runs.simulate import averaged_from_s, simulate
from synapse_abm.synapse.scenario.cost import CHANGE_S, estimate_cost
from synapse_abm.synapse.scenario.file import parse_scenario
from synapse_abm.synapse.scenario.population import population
from synapse_abm.synapse.scenario.protocol import number_of_events
from synapse_abm.synapse.scenario.protocol_summary import lanes, protocol_rows
from synapse_abm.theory.monomolecular import IndependentCounts, monomolecular_course
from synapse_abm.theory.projection import projected_course
from synapse_abm.theory.rate_equations import rate_equation_course
from synapse_abm.theory.reactions import Network, Reaction, Stage


def tables(**more: Any) -> dict[str, Any]:
    """A scenario of one cell with a closed ligand and a clamped one, as its file would have it."""
    return {
        "grid": {"width": 1, "height": 1, "spacing": "1 um", "depth": "2 um"},
        "target": {"SERT": {"kind": "transporter", "sites": 20}},
        "ligand": {
            "drug": {"clamped": "5 nM", "binding": {"SERT": {"kd": "5 nM", "koff": "0.1 /s"}}},
            "label": {"count": 15, "binding": {"SERT": {"kd": "5 nM", "koff": "0.5 /s"}}},
        },
        "run": {"duration": "60 s", "sample_every": "1 s"},
    } | more


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"degradation": "1 /s"}, "label is released or degraded"),
        ({"binding": {"SERT": {"kd": "1 nM", "koff": "1 /s", "kcat": "1 /s"}}}, "is transported"),
        ({"binding": {"SERT": {"kon": "1 /(nM s)", "koff": "0 /s"}}}, "never lets go of SERT"),
    ],
)
def test_a_start_in_an_equilibrium_that_is_none_is_refused(
    more: dict[str, Any], reason: str
) -> None:
    told = tables(start={"state": "equilibrium"})
    parse_scenario(told)
    told["ligand"]["label"] |= more
    with pytest.raises(InputError, match=rf"start\.state .*{reason}"):
        parse_scenario(told)


# --- theory: three accounts of one thing ----------------------------------------------------------


def binding(
    on: float, off: float, kcat: float = 0.0, add: tuple[tuple[int, int], ...] = (),
    start_s: float = 0.0,
) -> Stage:  # fmt: skip
    """Species 0, an empty site, and 1, an occupied one."""
    taken, left = ((0, -1), (1, 1)), ((1, -1), (0, 1))
    reactions = (
        Reaction(on, (0,), taken),
        Reaction(off, (1,), left),
        Reaction(kcat, (1,), left, 0),
    )
    return Stage(start_s, reactions, add)


TIMES = np.linspace(0.25, 10, 40)


def test_the_three_accounts_agree_where_nothing_meets() -> None:
    """Sites through two changes and an addition: the cohorts, the master equation, the moments."""
    stages = (
        binding(0.5, 0.2, 0.3),
        binding(0.1, 0.2, 0.3, start_s=3.0),
        binding(0.1, 0.2, 0.3, ((0, 7),), 5.0),
    )
    network = Network((20, 5), stages, 1)
    each = monomolecular_course(network, TIMES)
    master = projected_course(network, TIMES, np.array([32, 32]))
    moments = rate_equation_course(network, TIMES)
    for other, within in ((master, 1e-11), (moments, 1e-5)):
        np.testing.assert_allclose(other.mean, each.mean, rtol=within)
        np.testing.assert_allclose(other.var, each.var, rtol=within)
        np.testing.assert_allclose(other.counted_mean, each.counted_mean, rtol=within)
    assert moments.correction is not None
    assert not moments.correction.any(), "linear equations lack nothing"
    theta = np.array([-2.0, -0.1, 0.01, 1.0])
    for law, same in zip(each.laws[30], master.laws[30], strict=True):
        np.testing.assert_allclose(law.cgf(theta), same.cgf(theta), rtol=1e-9)
        (n, p), (_, q) = law.table(), same.table()
        np.testing.assert_allclose(p[:27], q[:27], atol=1e-12)
        assert n[0] == 0


def test_counts_of_transport_scatter_as_the_stationary_law_says() -> None:
    """A start in equilibrium: windows of one length all have the mean and variance of theory."""
    # Km = (0.2 + 0.3)/0.5 = 1 at a concentration of 1.
    network = Network((50, 0), (binding(0.5, 0.2, 0.3),), 1, (1.0, 1.0))
    found = monomolecular_course(network, TIMES)
    known = theory.transport_counts(0.25, theory.TransportRates(0.5, 0.2, 0.3), 50, 1.0)
    assert found.counted_var is not None
    np.testing.assert_allclose(found.counted_mean[:, 0], known.mean, rtol=1e-12)
    np.testing.assert_allclose(found.counted_var[:, 0], known.var, rtol=1e-9)
    assert found.mean[:, 1] == pytest.approx(25)


def closed(sites: int, ligands: int, on: float, off: float, start: int = 0) -> Network:
    """Empty sites, complexes and free molecules of a closed place."""
    reactions = (
        Reaction(on, (0, 2), ((0, -1), (2, -1), (1, 1))),
        Reaction(off, (1,), ((1, -1), (0, 1), (2, 1))),
    )
    return Network((sites - start, start, ligands - start), (Stage(0.0, reactions),))


def test_a_closed_course_is_that_of_the_birth_and_death_chain() -> None:
    network = closed(30, 25, 0.05, 0.4)
    found = projected_course(network, TIMES, np.array([60, 60, 60]))
    for n in (0, 10, 39):
        law = theory.closed_transient_law(float(TIMES[n]), 30, 25, 0.05, 0.4)
        assert found.mean[n, 1] == pytest.approx(law.mean, rel=1e-10)
        assert found.var is not None and found.var[n, 1] == pytest.approx(law.var, rel=1e-9)
    assert found.error < 1e-12


def test_rate_equations_lie_below_closed_binding_as_jensen_says() -> None:
    """(R - b)(L - b) is convex in b: more is bound than they say, by the correction about."""
    network = closed(30, 25, 0.05, 0.4)
    truth = projected_course(network, TIMES, np.array([60, 60, 60])).mean[:, 1]
    roughly = rate_equation_course(network, TIMES)
    assert roughly.correction is not None
    lacks, corrected = truth - roughly.mean[:, 1], roughly.correction[:, 1]
    assert (lacks > 0).all()
    np.testing.assert_allclose(corrected, lacks, rtol=0.06)


def test_what_leaves_the_states_that_are_followed_is_the_error() -> None:
    """Molecules that enter at 3 and leave at 1 a second: Poisson, of mean 3 (1 - exp(-t))."""
    flow = (Reaction(3.0, (), ((0, 1),)), Reaction(1.0, (0,), ((0, -1),)))
    network, t = Network((0,), (Stage(0.0, flow),)), np.array([1.0, 2.0])
    wide, narrow = (projected_course(network, t, np.array([cap])) for cap in (40, 8))
    assert wide.error < 1e-14
    np.testing.assert_allclose(wide.mean[:, 0], -3 * np.expm1(-t), rtol=1e-12)
    assert 1e-4 < narrow.error < 1e-2
    exact = monomolecular_course(network, t)
    np.testing.assert_allclose(exact.mean, wide.mean, rtol=1e-12)
    np.testing.assert_allclose(exact.var, exact.mean, rtol=1e-12)


# --- limits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "p"), [(2, 0.001), (10, 0.3), (400, 0.5), (1000, 0.999)])
def test_limits_are_passed_as_seldom_as_they_say(n: int, p: float) -> None:
    """Means of 16 binomials are a binomial: how often they pass is known, skewed ones too."""
    tail, copies = 1e-7, 16
    law = IndependentCounts(np.array([float(n)]), np.array([p]))
    low, high = statistics.mean_limits(law.cgf, n * p, n * p * (1 - p), copies, tail)
    above = 1 - bdtr(math.floor(copies * high), copies * n, p)
    below = bdtr(math.ceil(copies * low) - 1, copies * n, p) if low * copies > 0 else 0.0
    assert above <= tail and below <= tail
    # ... and not much wider than they need be: 15 % more than exact ones have.
    se = math.sqrt(n * p * (1 - p) / copies)
    if n == 400:
        exact = statistics.normal_quantile(2 * tail)
        assert exact < (high - n * p) / se < 1.15 * exact


def test_limits_of_a_spread_hold_the_spread() -> None:
    law = IndependentCounts(np.array([60.0]), np.array([0.2]))
    low, high = statistics.spread_limits(*law.table(), 200, 1e-7)
    assert 0.4 < low < 1 < high < 1.8
    # Of 200 replicates it has (2/200)**0.5 = 0.1 of error: a doubled variance is far outside.
    draws = np.random.default_rng(7).binomial(60, 0.2, size=(2000, 200))
    ratio = ((draws - 12) ** 2).mean(axis=1) / 9.6
    assert (ratio > low).all() and (ratio < high).all()


# --- courses that are right, and courses that are not ---------------------------------------------


def clamped(**more: Any) -> dict[str, Any]:
    """Many sites that meet clamped ligands, and a tracer that binds nowhere, through a protocol.

    20,000 sites in four runs: at an occupancy of 0.5 the mean of four has an error of 0.0018, and
    limits for 2 x 40 times and 2 x 12 spreads, at 1e-6 for all, lie at 6.3 errors.
    """
    return {
        "grid": {"width": 2, "height": 2, "spacing": "1 um", "depth": "2 um"},
        "target": {"SERT": {"kind": "transporter", "sites": 20_000}},
        "ligand": {
            "drug": {"clamped": "5 nM", "binding": {"SERT": {"kd": "5 nM", "koff": "0.1 /s"}}},
            "tracer": {"count": 2000, "diffusion": "1 um^2/s", "degradation": "0.02 /s"},
        },
        "run": {"duration": "40 s", "sample_every": "1 s", "replicates": 4},
        "at": [
            {"time": "10 s", "change": {"ligand.drug.clamped": "20 nM"}},
            {"time": "20 s", "change": {"ligand.drug.clamped": "0 nM"}},
            {"time": "30 s", "add": {"tracer": 500}},
        ],
    } | more


def judged(told: dict[str, Any], simulated: dict[str, Any] | None = None) -> Course:
    """The course of one scenario by the law of another."""
    found = simulate(parse_scenario(simulated or told))
    labels: Any = {at: (at.label, at.column) for at in found.measured}
    return course_of(
        parse_scenario(told),
        labels,
        [{at: at.read(x) for at in found.measured} for x in found.recordings],
    )


def failed(course: Course) -> set[str]:
    """Names of what failed, up to the first comma."""
    return {check.name.partition(",")[0] for check in course.checks() if not check.passed}


@pytest.fixture(scope="module")
def through_the_protocol() -> Course:
    return judged(clamped())


def test_a_course_that_is_right_passes(through_the_protocol: Course) -> None:
    """False alarm 1e-6 for all of it."""
    course = through_the_protocol
    assert course.said == ["SERT, drug; tracer: exact: each site and molecule goes its own way"]
    assert not failed(course)
    assert [check.kind for check in course.checks()] == ["exact"] * 4
    table = course.table()
    kinds = ("mean", "mean_se", "exact", "exact_sd_of_one", "limit_low", "limit_high")
    assert [*table.columns] == [
        "time_s",
        *(f"{quantity}_{x}" for quantity in ("occupancy_SERT_drug", "free_tracer") for x in kinds),
    ]
    drug = table["occupancy_SERT_drug_exact"]
    # By hand: half-way at rate 0.2/s, on at 0.5/s towards 0.8, then off at 0.1/s.
    first = 0.5 * -math.expm1(-2)
    second = 0.8 + (first - 0.8) * math.exp(-5)
    assert [drug[9], drug[19], drug[39]] == pytest.approx([first, second, second * math.exp(-2)])
    assert table["free_tracer_exact"][39] == pytest.approx(
        2000 * math.exp(-0.8) + 500 * math.exp(-0.2)
    )


def test_the_farthest_time_is_the_one_with_most_standard_errors(
    through_the_protocol: Course,
) -> None:
    """Not where the smallest share of a one-sided limit is left, at occupancies near 0."""
    course, n = through_the_protocol, 4
    for quantity in course.quantities.values():
        assert quantity.theory.sd is not None
        errors = (quantity.mean - quantity.theory.mean) / (quantity.theory.sd / math.sqrt(n))
        at, z, passed = quantity.farthest(n)
        assert passed and abs(z) == pytest.approx(np.abs(errors).max()), quantity.label
        assert f"farthest at {course.seconds[at]:g} s" in quantity.checks(course.seconds, n)[0].name
        assert (quantity.low >= 0).all()
    assert (course.quantities["occupancy", "SERT", "drug"].high <= 1).all()
    assert course.verdict.startswith("course agrees with its law (40 times x 2 quantities; ")
    assert course.record()["replicates"] == n


def test_rows_stand_at_every_change_in_order() -> None:
    """A ramp at its start and its end, the first three of what is periodic, and the end."""
    change = {"ligand.drug.clamped": "0 nM"}
    told = clamped(at=[
        {"time": "12 s", "over": "10 s", "change": change},
        {"every": "3 s", "from": "5 s", "add": {"tracer": 10}},
    ])  # fmt: skip
    rows = judged(told).text(parse_scenario(told)).splitlines()[2:]
    times = [row[: row.index(" s ")].split()[-1] for row in rows if " s " in row[:60]]
    assert times[:6] == ["5", "8", "11", "12", "22", "40"]
    assert times[:6] == times[6:]


def slow(told: dict[str, Any]) -> None:
    """k_off 5 % too small, k_on as it was: ten seconds after washout 5 % of 1 x 0.29 = 0.015 more,
    which is ten errors of 0.0016."""
    told["ligand"]["drug"]["binding"]["SERT"] = {"kon": "0.02 /(nM s)", "koff": "0.095 /s"}


def late(told: dict[str, Any]) -> None:
    """The first change comes a record late: 0.1 of 0.43 more then, sixty errors."""
    told["at"][0]["time"] = "11 s"


def ignored(told: dict[str, Any]) -> None:
    """Nothing is added: 500 of 1500 molecules are missing, whose error is 15."""
    del told["at"][2]


@pytest.mark.parametrize(
    ("bug", "where"),
    [(slow, "SERT occupancy by drug"), (late, "SERT occupancy by drug"),
     (ignored, "free tracer (molecules)")],
)  # fmt: skip
def test_a_course_that_is_wrong_is_noticed(bug: Any, where: str) -> None:
    wrong = clamped()
    bug(wrong)
    course = judged(clamped(), wrong)
    assert where in failed(course)
    assert course.verdict.startswith("course FAILED to agree with its law (40 times")


def test_a_ramp_done_as_a_step_is_noticed() -> None:
    """Half-way down the ramp half of the concentration is missing."""
    ramp = [{"time": "10 s", "over": "10 s", "change": {"ligand.drug.clamped": "0 nM"}}]
    right = clamped(at=ramp, run={"duration": "20 s", "sample_every": "1 s", "replicates": 2})
    assert not failed(judged(right))
    step = [{"time": "10 s", "change": {"ligand.drug.clamped": "0 nM"}}]
    assert "SERT occupancy by drug" in failed(judged(right, right | {"at": step}))


def test_a_spread_that_is_wrong_is_noticed() -> None:
    """Two sites that share their random numbers: as many sites as half, each counted twice.

    The mean is right, the variance doubled: 2 with an error of 0.16 for 300 replicates, where up to
    1.6 is allowed at twelve times.
    """
    run = {"duration": "12 s", "sample_every": "1 s", "replicates": 300}
    right = clamped(target={"SERT": {"kind": "transporter", "sites": 60}}, run=run, at=[])
    del right["ligand"]["tracer"]
    assert not failed(judged(right))
    half = right | {"target": {"SERT": {"kind": "transporter", "sites": 30}}}
    assert "variance of SERT occupancy by drug over the exact one" in failed(judged(right, half))


def test_few_molecules_that_compete_are_judged_by_the_master_equation() -> None:
    """From equilibrium, through a step and an addition: two ligands in one cell."""
    told = tables(
        start={"state": "equilibrium"},
        run={"duration": "30 s", "sample_every": "1 s", "replicates": 32},
        at=[
            {"time": "10 s", "change": {"ligand.drug.clamped": "50 nM"}},
            {"time": "20 s", "add": {"label": 5}},
        ],
    )
    right = judged(told)
    assert right.said[0].startswith("SERT, drug, label: exact: master equation")
    assert not failed(right)
    without = {**told, "at": told["at"][:1]}
    assert "free label (molecules)" in failed(judged(told, without))


def test_many_molecules_are_shown_beside_the_rate_equations_and_not_judged() -> None:
    told = tables()
    told["target"]["SERT"]["sites"], told["ligand"]["label"]["count"] = 900, 900
    told["run"] = {"duration": "20 s", "sample_every": "1 s"}
    course = judged(told)
    assert "rate equations of the well-mixed place; " in course.said[0]
    assert "label at SERT lies above them, by up to 0.1 %" in course.said[0]
    assert course.verdict == "course not judged: rate equations are an approximation"
    assert course.checks() == [] and course.record()["passed"] is None
    assert "occupancy_SERT_label_rate_equations_sd_of_one" in course.table().columns


# --- what the command says ------------------------------------------------------------------------


def test_a_stationary_formula_is_asked_only_of_what_is_stationary() -> None:
    """Twelve times of settling after the last change: 60 s, from 70 s on."""
    told = clamped(at=[{"time": "10 s", "change": {"ligand.drug.clamped": "20 nM"}}])
    told["target"]["SERT"]["sites"] = 100
    del told["ligand"]["tracer"]
    at = "occupancy", "SERT", "drug"
    for seconds, exact, from_s in (("40 s", None, 0.0), ("100 s", 0.8, 34.0)):
        told["run"] = {"duration": seconds, "sample_every": "1 s"}
        found = simulate(parse_scenario(told))
        assert found.measured[at].exact == (exact and pytest.approx(exact))  # type: ignore[index]
        assert averaged_from_s(found.scenario) == pytest.approx(from_s)
        assert all(check.passed for check in found.checks())
        assert found.course is not None and found.record()["course"]["passed"] is True
        assert not any("settled" in note for note in found.notes())
    told["run"], told["at"] = {"duration": "90 s", "burn_in": "60 s", "sample_every": "1 s"}, []
    assert simulate(parse_scenario(told)).course is None


def test_an_average_may_lack_what_the_burn_in_leaves() -> None:
    """A burn-in of two times of settling (5 s) leaves 5 e^-2/80 of a half, 0.0042, to 80 s.

    320,000 sites have an error of (1/4 2 5/80/320000)^(1/2) = 0.0003: without the allowance the
    check would fail.
    """
    told = clamped(at=[], run={"duration": "90 s", "burn_in": "10 s", "replicates": 16})
    del told["ligand"]["tracer"]
    found = simulate(parse_scenario(told))
    (check,) = found.checks()
    assert check.passed and check.z is not None and check.z < -6


def test_a_protocol_is_told_in_lines() -> None:
    at = [
        {"time": "10 s", "change": {"ligand.drug.clamped": "50 nM"}},
        {"time": "20 s", "over": "10 s", "change": {"ligand.drug.clamped": "0 nM"}},
        {"every": "5 s", "from": "40 s", "to": "50 s", "add": {"label": "2 nM"}},
        {"time": "55 s", "change": {"target.SERT.sites": 30}},
    ]
    scenario = parse_scenario(tables(start={"bound": {"SERT": {"drug": 0.25}}}, at=at))
    assert [*protocol_rows(scenario)] == [
        ("start", "25 % of SERT by drug"),
        ("at 10 s", "drug clamped 50 nM"),
        ("from 20 s, over 10 s", "drug clamped to 0 nM"),
        ("every 5 s from 40 s to 50 s", "2 nM label added"),
        ("at 55 s", "SERT sites 30"),
    ]
    assert "  from 20 s, over 10 s " in str(scenario)
    drug, label, sites = lanes(scenario)
    assert (drug.label, drug.values) == ("drug clamped (nM)", [5, 5, 50, 50, 0, 0])
    assert drug.times == [0, 10, 10, 20, 30, 60]
    assert (label.label, label.marks) == ("label added", [(40, "2"), (45, "2")])
    assert (sites.label, sites.values) == ("SERT sites", [20, 20, 30, 30])


def test_an_estimate_goes_through_the_protocol() -> None:
    """2000 that are lost at 0.02/s and 500 more after 30 of 40 s; changes and their times count."""
    scenario = parse_scenario(clamped())
    lasting = (2000 * -math.expm1(-0.8) + 500 * -math.expm1(-0.2)) / 0.02
    assert population(scenario, 40.0).present == pytest.approx(lasting / 40, rel=0.05)
    pulses = clamped(at=[{"every": "10 ms", "from": "10 s", "add": {"tracer": 1}}])
    added = parse_scenario(pulses)
    more = population(added, 40.0)
    kept = 2000 * -math.expm1(-0.8) / 0.02 + 100 / 0.02 * (30 + math.expm1(-0.6) / 0.02)
    assert more.present == pytest.approx(kept / 40, rel=0.05)
    changes = number_of_events(added, added.dt_s)
    assert changes == 3000
    assert estimate_cost(added).simulation_s > 4 * changes * CHANGE_S, "four replicates"


def test_a_figure_has_one_colour_for_a_ligand_and_one_entry_for_each_kind_of_line() -> None:
    """Settled at the end, so that there is an exact course and an exact stationary mean."""
    told = clamped(
        target={"SERT": {"kind": "transporter", "sites": 50}},
        at=[{"time": "5 s", "add": {"tracer": 40}},
            {"time": "10 s", "change": {"ligand.drug.clamped": "20 nM"}}],
        run={"duration": "100 s", "sample_every": "1 s", "replicates": 2},
    )  # fmt: skip
    told["ligand"]["tracer"] = {
        "reservoir": {"concentration": "20 nM", "exchange": "1 /s"}, "diffusion": "1 um^2/s",
        "binding": {"SERT": {"kd": "9 nM", "koff": "1 /s"}},
    }  # fmt: skip
    figure = timeseries(simulate(parse_scenario(told)))
    settled = clamped(at=told["at"][1:], run=told["run"])
    del settled["ligand"]["tracer"]
    simulated = simulate(parse_scenario(settled))
    assert simulated.is_stationary and simulated.course
    colours = dict[str, set[str]]()
    for panel in (timeseries(simulated).axes[0], *figure.axes[:2]):
        legend = panel.get_legend()
        assert legend is not None
        labels = [text.get_text() for text in legend.get_texts()]
        assert len({*labels}) == len(labels), labels
        for line in panel.get_lines():
            ligand = str(line.get_label()).partition(" ")[0]
            colours.setdefault(ligand, set()).add(str(line.get_color()))
    assert figure.axes[0].get_ylabel() == "sites occupied"
    assert len(colours["tracer"]) == len(colours["drug"]) == 1
    assert colours["tracer"] != colours["drug"]
    assert colours["tracer"] == {str(figure.axes[2].get_lines()[0].get_color())}, "added"
    words = [text.get_text() for panel in figure.axes for text in panel.texts]
    assert "tracer added\n(molecules)" in words
