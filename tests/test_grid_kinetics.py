"""Kinetics on grids: exact numbers by another way, trials, planted bugs, drawn cases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy.linalg import expm

from synapse_abm.core.address import Address
from synapse_abm.statistics import Rule, Verdict
from synapse_abm.synapse.engine import network
from synapse_abm.synapse.engine.layout import BIND, LIGAND, TRANSPORT, UNBIND
from synapse_abm.synapse.engine.simulation import Simulation
from synapse_abm.synapse.scenario import Scenario
from synapse_abm.validation import mutations
from synapse_abm.validation.arrangement import Arrangement, main_mode
from synapse_abm.validation.cases import SHIPPED, Case, read_cases
from synapse_abm.validation.drawn import drawn_cases
from synapse_abm.validation.finer_steps import at_finer_steps
from synapse_abm.validation.grid_kinetics import FromLaw
from synapse_abm.validation.groups import assign, faults_of
from synapse_abm.validation.mutations import MUTATIONS
from synapse_abm.validation.scenarios import side_by_side

type Array = NDArray[np.float64]

RULE = Rule(tests=1500, false_alarm=1e-7)  # the bounds of a whole validation
KNOWN = {case.id: case for case in read_cases(SHIPPED) if case.group[0] == "O"}
#: Those whose numbers are exact, and those that stand for them at a 32nd of the step.
SOLVED = [name for name, case in KNOWN.items() if not any("_se" in key for key in case.exact)]
SIMULATED = [name for name in KNOWN if name not in SOLVED]


# --- exact numbers, by full matrices --------------------------------------------------------------


def generator(case: Case) -> tuple[Array, Array, dict[str, Array]]:
    """Of all molecules of a case: generator, law of free ones anywhere, and what is counted.

    A molecule is in one of the cells, on one of the sites, or gone; states are the combinations in
    which no site has two.
    """
    q = case.params
    width, height = q["shape"]
    cells = [(x, y) for y in range(height) for x in range(width)]
    sites = [cells.index(tuple(cell)) for cell in q["sites"]]
    m, gone = len(cells), len(cells) + len(sites)
    own = q.get("L", 1)
    kinds = [""] * own + ["_B"] * q.get("L_B", 0)
    places = [
        combination
        for combination in product(range(gone + 1), repeat=len(kinds))
        if all(combination.count(site) <= 1 for site in range(m, gone))
    ]
    number = {state: at for at, state in enumerate(places)}
    matrix = np.zeros((len(places), len(places)))
    hop = q["D"] / q["h"] ** 2

    def add(state: tuple[int, ...], who: int, to: int, rate: float) -> None:
        after = (*state[:who], to, *state[who + 1 :])
        if after in number:
            matrix[number[state], number[after]] += rate
            matrix[number[state], number[state]] -= rate

    for state in places:
        for who, (place, kind) in enumerate(zip(state, kinds, strict=True)):
            if place < m:
                x, y = cells[place]
                for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
                    u, v = x + dx, y + dy
                    if q.get("periodic"):
                        u, v = u % width, v % height
                    if (u, v) in cells:
                        add(state, who, cells.index((u, v)), hop)
                for at, cell in enumerate(sites):
                    if cell == place:
                        add(state, who, m + at, q[f"k_bind_in_cell{kind}"])
                add(state, who, gone, q.get("loss", 0.0))
            elif place < gone:
                add(state, who, sites[place - m], q[f"koff{kind}"])
                add(state, who, gone, q.get(f"kcat{kind}", 0.0))
    start = np.array([all(place < m for place in state) for state in places], dtype=float)
    counted = {
        "bound": [sum(m <= place < gone for place in state[:own]) for state in places],
        "bound_B": [sum(m <= place < gone for place in state[own:]) for state in places],
        "free": [sum(place < m for place in state) for state in places],
    }
    return matrix, start / start.sum(), {key: np.array(v, float) for key, v in counted.items()}


def exact(case: Case) -> Mapping[str, Any]:
    """All numbers that a small case may give."""
    matrix, start, counted = generator(case)
    times = np.array(case.params["t"])
    laws = [expm(matrix * t) for t in times]
    numbers: dict[str, Any] = {
        "association_t": [start @ law @ counted["bound"] for law in laws],
        "association_B_t": [start @ law @ counted["bound_B"] for law in laws],
        "free_t": [start @ law @ counted["free"] for law in laws],
    }
    bound = counted["bound"]
    if bound.max() > 1 or counted["bound_B"].any() or "loss" in case.params:
        return numbers
    matrix, start, bound = matrix[:-1, :-1], start[:-1], bound[:-1]  # nothing is ever gone
    from_bound = bound / bound.sum()
    stationary = np.linalg.lstsq(
        np.vstack([matrix.T, np.ones(len(matrix))]), np.append(np.zeros(len(matrix)), 1), rcond=None
    )[0]
    p = float(stationary @ bound)
    numbers["dissociation_t"] = [from_bound @ law[:-1, :-1] @ bound for law in laws]
    # Integral of (law - stationary): the deviation of the generator's inverse.
    ones = np.ones(len(matrix))
    inverse = np.linalg.inv(np.outer(ones, stationary) - matrix) - np.outer(ones, stationary)
    numbers["correlation_time"] = from_bound @ inverse @ bound / (1 - p)
    free = bound == 0
    waits = np.linalg.solve(-matrix[np.ix_(free, free)], np.ones(free.sum()))
    numbers["mean_bind_time_uniform_start"] = start[free] @ waits
    values, left, right = _modes(matrix)
    weights = (stationary * bound) @ right * (left @ bound)
    weights[np.argmax(values)] = 0
    numbers["relaxation_rate"] = -values[np.argmax(weights)]
    return numbers


def _modes(matrix: Array) -> tuple[Array, Array, Array]:
    values, right = np.linalg.eig(matrix)
    return values.real, np.linalg.inv(right).real, right.real


@pytest.mark.parametrize("name", SOLVED)
def test_exact_numbers_come_out_of_full_matrices_too(name: str) -> None:
    case = KNOWN[name]
    by_matrices = exact(case)
    for key, value in case.exact.items():
        assert_allclose(value, by_matrices[key], rtol=1e-8, err_msg=f"{name} {key}")


# --- starts and trials ----------------------------------------------------------------------------


def test_a_start_from_a_law_is_a_state_that_the_engine_could_have_reached() -> None:
    """All invariants hold after it and after every step; free and bound come as often as said.

    Two sites are taken with 0.2 and 0.3; 4096 draws, false alarm 1e-6.
    """
    case = KNOWN["O5"]
    system = Arrangement.of(case)
    copies, cells = 64, system.walk.cells
    law = np.zeros(cells + len(system.sites))
    law[3], law[cells], law[-1] = 0.5, 0.2, 0.3
    simulation = Simulation(
        side_by_side(system.scenario(case.times()), copies), 1, check_every_step=True
    )
    start, rng, seen = simulation.state.copy(), np.random.default_rng(2), np.zeros(2)
    for _ in range(64):
        simulation.state = start.copy()
        FromLaw(system.place.grid, law)(simulation.state, rng)
        sites = simulation.state.store.sites
        taken = (sites[LIGAND] >= 0).reshape(copies, -1)
        seen += taken[:, 0].sum(), taken[:, -1].sum()
    simulation.run(20)
    n = 64 * copies
    for count, p in zip(seen, (0.2, 0.3), strict=True):
        assert abs(count - n * p) < 5.0 * (n * p * (1 - p)) ** 0.5


@pytest.mark.parametrize("name", ["O2", "O4"])
def test_from_the_law_of_the_main_mode_one_exponential_leads_to_equilibrium(name: str) -> None:
    """Exact: the chance to be bound, by the full generator."""
    system = Arrangement.of(KNOWN[name])
    law, one = main_mode(system.lone), system.lone
    rate = one.relaxation().main_rate
    matrix = generator(KNOWN[name])[0][:-1, :-1]
    times = np.array([0.0, 0.3, 1.5])
    cells = system.walk.cells
    left = [float((law @ expm(matrix * t))[cells:].sum()) - system.occupancy for t in times]
    assert abs(left[0]) > 0.1
    assert_allclose(np.array(left) / left[0], np.exp(-rate * times), rtol=1e-8)


def rows(name: str, trial: int) -> list[Verdict]:
    one = assign([KNOWN[name]]).trials[trial]
    return [row.verdict for row in one.rows(RULE, Address(0, 0))]


def test_dissociation_passes() -> None:
    """A fixed seed; false alarm 1e-7."""
    assert set(rows("O4", 0)) == {Verdict.PASS}


@pytest.mark.slow
@pytest.mark.parametrize("name", KNOWN)
def test_every_case_passes(name: str) -> None:
    for trial in range(len(assign([KNOWN[name]]).trials)):
        assert set(rows(name, trial)) == {Verdict.PASS}


def test_the_steps_are_those_of_the_program() -> None:
    """Chosen at 0.3 %, whole parts of the times; only O5 says its own."""
    for name, case in KNOWN.items():
        system = Arrangement.of(case)
        scenario = system.scenario(case.times() if "t" in case.params else None)
        given = scenario.model_fields_set - {"dt_s"}
        chosen = Scenario(**{field: getattr(scenario, field) for field in given})
        assert chosen.accuracy == 0.003
        assert (scenario.dt_s == chosen.dt_s) == ("dt" not in case.params), name


# --- planted bugs: each is caught by ``validate`` (tests/test_validation.py) ----------------------


@pytest.mark.parametrize("bug", [bug for bug in MUTATIONS if bug.factors], ids=lambda bug: bug.name)
def test_the_bugs_are_planted_where_rates_are_made(bug: mutations.Mutation) -> None:
    """Binding, unbinding and transport at k times the factor, and nothing else changes."""
    scenario = Arrangement.of(KNOWN["O8"]).scenario(np.array([1.0]))
    (adjusted,) = scenario.adjustments.values()
    assert adjusted.s > 1.01 and bug.factors is not None
    on, off, transport = bug.factors(adjusted)
    right, wrong = network.channels(scenario), mutations.channels_with(bug.factors)(scenario)
    by = {BIND: on / adjusted.s, UNBIND: off / adjusted.s, TRANSPORT: transport}
    for channel, planted in zip(right, wrong, strict=True):
        assert planted.rate == pytest.approx(channel.rate * by.get(channel.kind, 1.0), rel=1e-14)
        assert planted._replace(rate=0) == channel._replace(rate=0)
    assert right != wrong


@pytest.mark.slow
def test_at_the_step_of_the_bug_of_transport_the_case_passes_without_it() -> None:
    case = KNOWN["O12"]
    longer = replace(case, params={**case.params, "dt": 0.15})
    (trial,) = assign([longer]).trials
    assert {row.verdict for row in trial.rows(RULE, Address(0, 0))} == {Verdict.PASS}


# --- at a finer step, and drawn at random ---------------------------------------------------------


def test_at_a_finer_step_the_same_numbers_come_out() -> None:
    """Of O4, whose numbers are known: a quarter of the step, 6400 molecules, false alarm 1e-6."""
    exact = KNOWN["O4"].exact["dissociation_t"]
    numbers = at_finer_steps(KNOWN["O4"], 6400, 1, parts=4)
    for value, (estimate, se) in zip(exact, numbers.values(), strict=True):
        assert abs(estimate - value) < 5.0 * se < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("name", SIMULATED)
def test_numbers_of_finer_steps_are_what_the_file_says(name: str) -> None:
    """Another seed, a tenth of the runs; false alarm 1e-6."""
    case, size = KNOWN[name], {"O9": 1000, "O10": 250, "O11": 2000, "O12": 1200}[name]
    stored = dict[str, tuple[float, float]]()
    for key, value in case.exact.items():
        if key.endswith("_t"):
            named = [f"{key[:-2]}[t={t:g}]" for t in case.params["t"]]
            stored |= dict(
                zip(named, zip(value, case.exact[f"{key}_se"], strict=True), strict=True)
            )
        elif not key.endswith("_se"):
            stored[key] = value, case.exact[f"{key}_se"]
    parts = 8 if name == "O12" else 32
    for quantity, (estimate, se) in at_finer_steps(case, size, 99, parts).items():
        value, error = stored[quantity]
        assert abs(estimate - value) < 5.6 * np.hypot(se, error), quantity


def test_cases_are_drawn_from_a_seed_and_can_be_run() -> None:
    for seed in range(20):
        cases = drawn_cases(seed)
        assert [case.params for case in cases] == [case.params for case in drawn_cases(seed)]
        plan = assign(cases)
        assert not faults_of(cases) and not plan.errors and not plan.unknown
        run = {quantity.id for trial in plan.trials for quantity in trial.quantities}
        assert run | {name for name, _ in plan.left_out} == {case.id for case in cases}
    assert drawn_cases(1)[0].params != drawn_cases(2)[0].params


@pytest.mark.parametrize("seed", [1, 2])
def test_exact_numbers_of_drawn_cases_come_out_of_full_matrices_too(seed: int) -> None:
    """Six digits are kept: half a unit of the sixth is up to 5e-6."""
    for case in drawn_cases(seed):
        by_matrices = exact(case)
        for key, value in case.exact.items():
            assert_allclose(value, by_matrices[key], rtol=6e-6, err_msg=f"{case.params}")


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_drawn_cases_pass(seed: int) -> None:
    for at, trial in enumerate(assign(drawn_cases(seed)).trials):
        seen = trial.rows(RULE, Address(seed, at))
        assert {row.verdict for row in seen} == {Verdict.PASS}, seen
