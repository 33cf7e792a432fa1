"""Group P, changes while it runs: exact numbers by another way, trials, faults of files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

from synapse_abm.core.address import Address
from synapse_abm.statistics import Rule, Verdict
from synapse_abm.validation import changes
from synapse_abm.validation.cases import SHIPPED, Noticed, read_cases
from synapse_abm.validation.groups import assign, faults_of
from synapse_abm.validation.samples import Courses

type Array = NDArray[np.float64]

RULE = Rule(tests=1500, false_alarm=1e-7)  # the bounds of a whole validation
KNOWN = {case.id: case for case in read_cases(SHIPPED) if case.group[0] == "P"}


# --- exact numbers, by integration in time --------------------------------------------------------


def value_at(params: dict[str, Any], name: str, t: float) -> float:
    """What a rate or concentration is at a time: a straight line during a ramp."""
    value = float(params.get(name, 0.0))
    for time, over, changed, to in params["changes"]:
        if changed == name and t > time:
            value += min((t - time) / over, 1.0) * (to - value) if over else to - value
    return value


def integrated(
    slope: Callable[[float, Array], Array], start: Array, params: dict[str, Any]
) -> Array:
    """The master equation in time, restarted where something changes at once; shape (times, n)."""
    edges = {0.0, *params["t"]} | {
        t for time, over, *_ in params["changes"] for t in (time, time + over)
    }
    states, now, state = dict[float, Array](), 0.0, start
    for until in sorted(t for t in edges if t <= max(params["t"])):
        if until > now:
            # Just beside the edges: what holds at once before one must not be read from after it.
            span = (now + 1e-12, until - 1e-12)
            solved = solve_ivp(slope, span, state, method="DOP853", rtol=1e-10, atol=1e-12)
            state = solved.y[:, -1]
        now, states[until] = until, state
    return np.array([states[t] for t in params["t"]])


def clamped(params: dict[str, Any]) -> dict[str, Array]:
    names = [name for name in "LI" if name in params]

    def slope(t: float, p: Array) -> Array:
        on = [value_at(params, f"kon_{n}", t) * value_at(params, n, t) for n in names]
        off = [value_at(params, f"koff_{n}", t) for n in names]
        return np.array([a * (1 - p.sum()) - b * x for a, b, x in zip(on, off, p, strict=True)])

    curves = integrated(slope, np.zeros(len(names)), params)
    return {f"p_{name}_t": curves[:, n] for n, name in enumerate(names)}


def lone(params: dict[str, Any]) -> dict[str, Array]:
    width, height = params["shape"]
    cells = [(x, y) for y in range(height) for x in range(width)]
    sites = [cells.index(tuple(cell)) for cell in params["sites"]]
    m = len(cells)

    def slope(t: float, p: Array) -> Array:
        hop = value_at(params, "D", t) / params["h"] ** 2
        on, off, loss = (value_at(params, n, t) for n in ("k_bind_in_cell", "koff", "loss"))
        change = np.zeros_like(p)
        for i, (x, y) in enumerate(cells):
            for beside in ((x + 1, y), (x - 1, y), (x, y + 1), (x, y - 1)):
                if beside in cells:
                    change[i] += hop * (p[cells.index(beside)] - p[i])
            change[i] -= loss * p[i]
        for s, at in enumerate(sites):
            net = on * p[at] - off * p[m + s]
            change[m + s] += net
            change[at] -= net
        return change

    start = np.append(np.full(m, 1 / m), np.zeros(len(sites)))
    if params.get("bound"):
        start = np.append(np.zeros(m), np.full(len(sites), 1 / len(sites)))
    curves = integrated(slope, start, params)
    return {"bound_t": curves[:, m:].sum(axis=1), "free_t": curves[:, :m].sum(axis=1)}


@pytest.mark.parametrize("name", KNOWN)
def test_exact_numbers_come_out_of_the_master_equation_too(name: str) -> None:
    params = dict(KNOWN[name].params)
    numbers = lone(params) if "k_bind_in_cell" in params else clamped(params)
    assert numbers.keys() == dict(KNOWN[name].exact).keys()
    for key, values in numbers.items():
        assert_allclose(KNOWN[name].exact[key], values, atol=2e-7, err_msg=f"{name} {key}")


def test_both_ligands_at_once_are_motulsky_and_mahan() -> None:
    from synapse_abm.theory import motulsky_mahan

    q, exact = KNOWN["P3"].params, KNOWN["P3"].exact
    time = np.array(q["t"]) - 0.5
    law = motulsky_mahan(time, 3.0, q["kon_L"], q["koff_L"], 1.0, q["kon_I"], q["koff_I"])
    assert_allclose(exact["p_L_t"], law.label, rtol=1e-10)
    assert_allclose(exact["p_I_t"], law.competitor, rtol=1e-10)


def test_a_ramp_goes_on_from_where_it_was() -> None:
    parts = changes.stretches({"L": 1.0}, [(1.0, 2.0, "L", 3.0), (4.0, 0.0, "L", 0.5)], 5.0)
    at = {round((a + b) / 2, 3): values["L"] for a, b, values in parts}
    assert at[0.5] == 1.0
    assert at[4.5] == 0.5
    assert_allclose(
        [v for t, v in at.items() if 1 < t < 3], [t for t in at if 1 < t < 3], atol=1e-3
    )
    assert at[3.5] == 3.0


# --- trials ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["P1", "P4", "P6"])
def test_what_changes_at_clamped_sites_passes(name: str) -> None:
    (trial,) = assign([KNOWN[name]]).trials
    rows = trial.rows(RULE, Address(7, 0))
    assert {row.verdict for row in rows} == {Verdict.PASS}


@pytest.mark.slow
@pytest.mark.parametrize("name", KNOWN)
def test_every_case_of_changes_passes(name: str) -> None:
    (trial,) = assign([KNOWN[name]]).trials
    assert {row.verdict for row in trial.rows(RULE, Address(8, 0))} == {Verdict.PASS}


def test_runs_of_a_protocol_are_independent_and_the_same_for_the_same_address() -> None:
    (trial,) = assign([KNOWN["P8"]]).trials
    one, again, other = (trial.observe(Address(seed, 3), None) for seed in (1, 1, 2))
    for sample in (one, again, other):
        sample.grow(2 * changes.COPIES)
        assert isinstance(sample, Courses)
    first, second = np.split(one["bound@1"], 2)
    assert (one["bound@1"] == again["bound@1"]).all()
    assert (first != second).any()
    assert (one["bound@1"] != other["bound@1"]).any()


# --- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [[], [[1.0, 0.0, "L"]], [[1.0, 0.0, "M", 2.0]], [[-1.0, 0.0, "L", 2.0]],
     [[2.0, 0.0, "L", 1.0], [1.0, 0.0, "L", 2.0]], [[1.0, 0.0, "L", "2"]], "L", None],
)  # fmt: skip
def test_changes_that_cannot_be_are_faults_of_the_file(wrong: Any) -> None:
    case = KNOWN["P1"]
    case = replace(case, params={**case.params, "changes": wrong}, faults=[])
    assert not assign([case]).trials
    assert any("changes" in fault.name for fault in faults_of([case]))


def test_rates_of_a_lone_molecule_change_at_once_and_do_not_vanish() -> None:
    case = KNOWN["P8"]
    for change in ([1.0, 2.0, "loss", 1.0], [1.0, 0.0, "D", 0.0]):
        wrong = replace(case, params={**case.params, "changes": [change]}, faults=[])
        assert not assign([wrong]).trials
        assert "at once" in str(faults_of([wrong])[0])


def test_a_parameter_that_nothing_looks_at_keeps_a_case_from_being_run() -> None:
    case = KNOWN["P1"]
    case = replace(case, params=Noticed({**case.params, "kcat_L": 1.0}), faults=[])
    plan = assign([case])
    assert not plan.trials
    assert plan.unknown
