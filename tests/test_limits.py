"""The experiment ``limits``: maps against closed forms, simulations against exact laws, and the two
chains behind it (one molecule and one site on a grid; a competitor in bursts).
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import pytest
from figures import legible

from synapse_abm import theory
from synapse_abm.core.errors import InputError
from synapse_abm.core.progress import silent
from synapse_abm.runs import sweep
from synapse_abm.runs.experiment import find
from synapse_abm.runs.results import Result
from synapse_abm.statistics import student_quantile

#: An experiment of its own; what it rests on is proved in the suite.
pytestmark = pytest.mark.slow

limits = find("limits").load()


@functools.cache
def small() -> Result:
    return limits.run(seed=3, quick=True, progress=silent)


# --- the experiment -------------------------------------------------------------------------------


def test_every_exact_check_passes_and_has_an_error() -> None:
    result = small()
    assert result.passed
    assert len(result.checks) > 40
    assert all(check.kind == "exact" and check.se for check in result.checks)
    assert set(result["points"]["panel"]) == set("abcde")


def test_the_same_seed_gives_the_same_numbers() -> None:
    """A place of (b) and fifty molecules of (d), twice each; another seed differs."""
    place = limits.closed_place(5, 7, 1.0)
    once, again, other = (limits.long_average(place, 1.0, 60.0, seed, 1) for seed in (3, 3, 4))
    assert once == again != other
    assert limits.time_course(0.3, 50, 3, 10) == limits.time_course(0.3, 50, 3, 10)


def test_tasks_are_the_same_on_any_number_of_workers() -> None:
    tasks = [
        ("course", 0.3, 50, 3, 10), ("noise", 10.0, True, 3, 2), ("map", "b", True),
        ("average", limits.closed_place(5, 7, 1.0), 1.0, 60.0, 3, 1),
    ]  # fmt: skip
    found = []
    for workers in (1, 3):
        with sweep.using(workers):
            course, noise, table, average = sweep.map_tasks(limits.computed, tasks)
        found.append((course, noise, table.csv(), average))
    assert found[0] == found[1]


@pytest.mark.parametrize("column", ["hyperbola_error_points", "morrison_error_points"])
def test_the_checks_would_catch_a_formula_in_place_of_the_law(column: str) -> None:
    """The control: held against the hyperbola, or Morrison's quadratic, many places fail."""
    table = small()["points"]
    z = np.divide(table[column], table["error_se_points"])
    limit = student_quantile(1e-6, 39, tests=len(z))
    caught = {k for k, each in zip(table["panel"], z, strict=True) if abs(each) > limit}
    assert caught >= ({"a", "c", "d"} if column.startswith("hyperbola") else {"b", "d"})


def test_maps_show_what_the_points_show() -> None:
    """The error of the judged formula at every simulated place: map and simulation agree."""
    table = small()["points"]
    for number, key in enumerate(table["panel"]):
        panel = limits.PANELS[key]
        x, y = table["x"][number], table["y"][number]
        if key == "a":  # the place has few copies, the map has many
            continue
        said = panel.said(x, y).errors()[limits.JUDGED[panel.formula] - 1]
        seen, se = table[limits._judged(key)][number], table["error_se_points"][number]
        # 8 errors of t with 39 dof is 1e-9; half a point for the step of (d)
        assert abs(said - seen) < 8 * se + (0.5 if key == "d" else 0.0)


def test_the_safe_side_of_the_serotonin_map_is_the_closed_form() -> None:
    """The largest error of the hyperbola over all doses is (r - 1)/(r + 1), r**2 = 1 + S/Km."""
    table = small()["safe"]
    of_c = [row for row, key in enumerate(table["panel"]) if key == "c"]
    for row in of_c:
        e = table["within_points"][row] / 100
        exact = ((1 + e) / (1 - e)) ** 2 - 1
        assert table["limit"][row] == pytest.approx(exact, rel=0.06)  # grid of a third of a decade


def test_morrison_is_right_where_copies_are_many_and_worst_for_one() -> None:
    errors = np.array(small()["map_b_copies"]["morrison_error_points"])
    copies = np.array(small()["map_b_copies"]["x"])
    assert (errors < 1e-9).all()  # never too much
    assert np.abs(errors[copies > 300]).max() < 0.1
    assert errors.min() < -15


def test_landmarks_have_status_and_source() -> None:
    table = small()["landmarks"]
    assert set(table["panel"]) == set("abcde")
    for key in "abcde":
        kinds = {k for k, p in zip(table["kind"], table["panel"], strict=True) if p == key}
        assert kinds == {"synapse", "voxel"}
    assert set(table["status"]) <= {"published", "derived", "assumed", "calibrated", "unverified"}
    assert all(table["source"])


def test_the_figure_draws_each_map_in_its_units() -> None:
    figures = legible(limits, small())
    axes, (taught,) = figures["maps"].axes, figures[""].axes
    assert len(axes) == 6 and "serotonin" in taught.get_ylabel()
    assert all(ax.get_xlabel() and ax.get_ylabel() and ax.get_title(loc="left") for ax in axes)
    assert sum("error of" in ax.get_title(loc="left") for ax in axes) == 5


def test_a_drug_that_is_carried_or_unknown_is_refused() -> None:
    for drug in ("serotonin", "aspirin"):
        with pytest.raises(InputError):
            limits.run(seed=1, quick=True, progress=silent, drug=drug)


def test_places_agree_at_full_size() -> None:
    result = limits.run(seed=99, quick=False, progress=silent)
    assert [check.name for check in result.checks if not check.passed] == []


# --- one molecule and one site on a grid ----------------------------------------------------------


def pair(**changes: Any) -> theory.LonePair:
    given = {"width": 7, "height": 5, "site": (2, 1), "hop_rate": 3.0, "rate_in_cell": 40.0,
             "koff": 1.3}  # fmt: skip
    return theory.LonePair(**(given | changes))


def test_equilibrium_does_not_know_of_diffusion() -> None:
    law = theory.grid_law(1, 1, 40.0, 1.3, 35)
    for hop_rate in (0.01, 1.0, 100.0):
        it = pair(hop_rate=hop_rate)
        assert it.occupancy == pytest.approx(law.mean)
        assert float(it.occupancy_at(3e4)) == pytest.approx(law.mean, rel=1e-7)


def test_fast_diffusion_is_the_well_mixed_time_course() -> None:
    it = pair(hop_rate=1e6)
    t = np.array([0.0, 0.1, 0.5, 2.0])
    mixed = theory.occupancy_at(t, it.occupancy, it.observed_rate)
    assert it.occupancy_at(t) == pytest.approx(mixed, abs=1e-4)
    assert it.zero_frequency_noise == pytest.approx(
        2 * it.occupancy * (1 - it.occupancy) / it.observed_rate, rel=1e-4
    )


def test_time_course_and_step_are_matrix_exponentials() -> None:
    """Against exp(Qt) of the generator written out, hop and reaction together or in turn."""
    from scipy.linalg import expm

    it = pair(width=3, height=2, site=(1, 1))
    hop, react = np.zeros((7, 7)), np.zeros((7, 7))
    for x in range(3):
        for y in range(2):
            for to in ((x + 1, y), (x - 1, y), (x, y + 1), (x, y - 1)):
                if 0 <= to[0] < 3 and 0 <= to[1] < 2:
                    hop[y * 3 + x, to[1] * 3 + to[0]] += it.hop_rate
    react[4, 6], react[6, 4] = it.rate_in_cell, it.koff
    for q in (hop, react):
        np.fill_diagonal(q, -q.sum(axis=1))
    start = np.append(np.full(6, 1 / 6), 0.0)
    for t in (0.01, 0.3, 2.0):
        assert float(it.occupancy_at(t)) == pytest.approx((start @ expm((hop + react) * t))[6])
    step = expm(hop * 0.07) @ expm(react * 0.07)
    steps = [float((start @ np.linalg.matrix_power(step, n))[6]) for n in range(6)]
    assert it.stepped_occupancy(0.07, 5) == pytest.approx(steps, abs=1e-12)


def test_the_step_converges_to_continuous_time_at_second_order() -> None:
    """Hop, then react is half hop, react, half hop read at another phase, and neither half hop
    matters here: the molecule starts anywhere, and who is bound does not hop.
    """
    it = pair()
    exact = float(it.occupancy_at(0.4))
    errors = [it.stepped_occupancy(0.4 / n, n)[-1] - exact for n in (200, 400, 800)]
    assert errors[0] / errors[1] == pytest.approx(4, abs=0.1)
    assert errors[1] / errors[2] == pytest.approx(4, abs=0.1)


def test_noise_is_the_renewal_formula() -> None:
    """Alternating renewal: (m0**2 s1 + m1**2 s0)/(m0 + m1)**3, means and variances of the times
    bound (1) and free (0), the latter from the first-passage chain.
    """
    it = pair()
    m = it.cells
    q = it._chain.walk.generator()
    q[it._place, it._place] -= it.rate_in_cell
    first = np.linalg.solve(-q, np.ones(m))
    second = np.linalg.solve(-q, 2 * first)
    m0, s0 = first[it._place], second[it._place] - first[it._place] ** 2
    m1, s1 = 1 / it.koff, 1 / it.koff**2
    assert m0 == pytest.approx(m / it.rate_in_cell)  # Kac
    assert first.mean() == pytest.approx(m / it.rate_in_cell + it.mean_arrival_s)
    assert it.resistance_ratio == pytest.approx(it.mean_arrival_s * it.rate_in_cell / m)
    noise = (m0**2 * s1 + m1**2 * s0) / (m0 + m1) ** 3
    assert it.zero_frequency_noise == pytest.approx(noise)
    assert it.time_average_variance(1e5) * 1e5 == pytest.approx(noise, rel=1e-3)
    assert it.time_average_variance(1e-6) == pytest.approx(
        it.occupancy * (1 - it.occupancy), rel=1e-3
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [("width", 0), ("width", 1.5), ("height", 999), ("site", (7, 1)), ("site", (0, -1)),
     ("hop_rate", 0.0), ("rate_in_cell", math.inf), ("koff", math.nan)],
)  # fmt: skip
def test_an_impossible_pair_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name):
        pair(**{name: value})


# --- bursts ---------------------------------------------------------------------------------------


def burst(**changes: Any) -> theory.BurstCompetition:
    given = {"batch": 1, "batch_rate": 3.0, "clearance": 0.3, "kon_pair": 0.4, "koff": 4.0,
             "kcat": 0.0, "drug_on": 0.2, "drug_off": 0.1}  # fmt: skip
    return theory.burst_competition(**(given | changes))


@pytest.mark.parametrize("mean", [0.5, 10.0, 300.0])
def test_without_bursts_and_transport_it_is_gaddum(mean: float) -> None:
    """Single arrivals and detailed balance: free Poisson and independent of the site."""
    it = burst(batch_rate=0.3 * mean)
    assert it.mean_free == pytest.approx(mean, rel=1e-8)
    assert it.drug == pytest.approx(float(theory.gaddum(2.0, 1.0, 0.1 * mean, 1.0)), rel=1e-8)
    assert it.cut_off < 1e-12


def test_a_burst_chain_is_the_pool_that_is_drained() -> None:
    """Without drug to speak of, one transporter and single arrivals: `drained_pool`."""
    it = burst(kcat=3.0, koff=1.0, drug_on=1e-9)
    pool = theory.drained_pool(theory.TransportRates(0.4, 1.0, 3.0, 0.4, 1.0), 1, 3.0, 0.3)
    assert it.mean_free == pytest.approx(pool.law.mean("S"), rel=1e-6)
    assert it.competitor == pytest.approx(pool.law.mean("TS"), rel=1e-6)


def test_flow_in_is_flow_out() -> None:
    it = burst(batch=50, kcat=3.0)
    assert pytest.approx(0.3 * it.mean_free + 3.0 * it.competitor, rel=1e-8) == 50 * 3.0
    assert it.cut_off < 1e-10


def test_a_slow_drug_and_many_molecules_approach_the_closed_form() -> None:
    """Fast binding, a slow drug, little transport: 1/(1 + S'/Km) = E[1/(1 + S/Km)]; the departure
    shrinks as molecules grow in number.
    """
    mean, x = 1.0, 4.0
    load = theory.burst_load(mean, x)
    assert load < 0.75 * mean
    law = float(theory.gaddum(2.0, 1.0, load, 1.0))
    off = []
    for km in (10, 40, 160):
        it = burst(batch=int(x * km), batch_rate=0.3 * mean / x, kon_pair=400 / km, koff=400.0,
                   drug_on=2e-4, drug_off=1e-4)  # fmt: skip
        off.append(abs(it.drug - law))
    assert off[0] > off[1] > off[2]
    assert off[2] < 1e-3


def test_small_bursts_are_the_mean() -> None:
    assert theory.burst_load(0.7, 1e-4) == pytest.approx(0.7, rel=1e-4)
    loads = [theory.burst_load(0.7, x) for x in (0.01, 0.1, 1.0, 10.0)]
    assert loads == sorted(loads, reverse=True)


@pytest.mark.parametrize(
    ("name", "value"),
    [("batch", 0), ("batch_rate", -1.0), ("clearance", 0.0), ("kcat", math.nan), ("drug_on", 0.0),
     ("drug_off", math.inf)],
)  # fmt: skip
def test_an_impossible_burst_is_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        burst(**{name: value})
    with pytest.raises(ValueError, match="free counts"):
        burst(batch=10_000)
