"""The judge: passes what is exact, fails what is not, and reads files without trust."""

from __future__ import annotations

import base64
import json
import math
import re
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from synapse_abm.cli import main
from synapse_abm.core.address import Address
from synapse_abm.core.errors import InputError, SynapseError
from synapse_abm.core.files import sha256
from synapse_abm.statistics import Rule, Verdict
from synapse_abm.synapse.engine.planting import plant
from synapse_abm.theory import LonePair
from synapse_abm.validation import Verdicts, mutations, thoroughly, validate
from synapse_abm.validation.cases import SHIPPED, read_cases
from synapse_abm.validation.geometry import first_binding, place_of
from synapse_abm.validation.groups import assign
from synapse_abm.validation.mutations import MUTATIONS, Mutation, rows_with, try_out
from synapse_abm.validation.quantities import Row
from synapse_abm.validation.trials import Trial

CASES: dict[str, dict[str, Any]] = {
    case["id"]: case for case in json.loads(SHIPPED.read_text())["cases"]
}
QUICK = (
    "A1", "B1", "B3", "C2", "D2", "E3", "F4", "G3", "H3", "J1_2d", "J2_50", "J3", "J5_10", "J6a",
    "K2a", "N_00037",
)  # fmt: skip
#: Of series, times up to this one (s): what comes later takes most of the run and tells no more.
QUICK_UNTIL = {"G3": 3.0, "N_00037": 10.0}
RULE = Rule(tests=1400, false_alarm=1e-7)  # the bounds of a whole validation
KNOWN = {case.id: case for case in read_cases(SHIPPED)}


def write(folder: Path, *cases: dict[str, Any]) -> Path:
    path = folder / "cases.json"
    path.write_text(json.dumps({"schema": 1, "cases": list(cases)}))
    return path


def shortened(name: str) -> dict[str, Any]:
    """A shipped case without its late times, under the same margins."""
    case = deepcopy(CASES[name])
    if name in QUICK_UNTIL:
        times = (case["params"] | case["exact"])["t"]
        n = sum(t <= QUICK_UNTIL[name] for t in times)
        for part in (case["params"], case["exact"]):
            for key, value in part.items():
                if isinstance(value, list) and len(value) == len(times):
                    part[key] = value[:n]
    return case


def test_a_case_of_each_kind_passes(tmp_path: Path) -> None:
    """Family-wise false alarm 1e-6; the seed is fixed. All cases at all times: ``validate``."""
    found = validate(write(tmp_path, *map(shortened, QUICK)), seed=0)
    assert {row.verdict for row in found.rows} == {Verdict.PASS}
    assert {row.id for row in found.rows} == set(QUICK)
    assert found.passed


@pytest.mark.parametrize(
    ("name", "quantity", "factor"),
    [("A1", "mean_bound", 1.05), ("B3", "mean_bound", 0.98), ("H3", "flux_total", 1.05)],
)
def test_a_file_that_is_wrong_fails(
    name: str, quantity: str, factor: float, tmp_path: Path
) -> None:
    """The number in the file is the judge: in B3, 0.98 is Morrison's quadratic for the law."""
    case = deepcopy(CASES[name])
    case["exact"][quantity] *= factor
    found = validate(write(tmp_path, case), seed=0)
    assert not found.passed
    assert any(row.quantity == quantity and row.verdict is Verdict.FAIL for row in found.rows)


def test_parameters_count_and_not_ids(tmp_path: Path) -> None:
    """A case nobody has seen, under a name of its own: 7 sites, C = 3 Kd."""
    p = 0.75
    case = {
        "id": "mine",
        "group": "A open, one ligand",
        "params": {"N": 7, "kon": 1.5, "koff": 0.5, "C": 1.0},
        "exact": {"p": p, "mean_bound": 7 * p, "var_bound": 7 * p * (1 - p)},
    }
    found = validate(write(tmp_path, case), seed=4)
    assert found.passed
    assert len(found.rows) >= 3


NAMED = {bug.name: bug for bug in MUTATIONS}
QUICK_MUTATIONS = [bug for bug in MUTATIONS if not bug.old]


@pytest.mark.parametrize("bug", QUICK_MUTATIONS, ids=lambda bug: bug.name)
def test_planted_bugs_are_caught(bug: Mutation) -> None:
    """Those that need no compiling; the others are slow tests, and `validate --planted`."""
    caught = try_out(bug, KNOWN, RULE, 0)
    assert caught.caught, caught


@pytest.mark.parametrize(("factor", "caught"), [(4.0, True), (1.0, False)])
def test_a_planted_bug_in_the_engine_is_caught(
    factor: float, caught: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unbinding four times as fast at one site, one look: occupancy 1/5 for 1/2 is off by more than
    10 standard errors. The engine is left to Python; the small bugs, which take many more
    observations and 15 s each to compile, are slow tests, and ``validate --planted``.
    """
    monkeypatch.setattr(mutations, "plant", partial(plant, interpreted=True))
    monkeypatch.setattr(Rule, "sizes", lambda _, first: (first,))
    event = NAMED["unbinding 5 % too fast"].old
    bug = Mutation(
        "unbinding too fast", "A1", event,
        f"{event} * ({factor} if chem.channels[c, KIND] == 0 else 1.0)",
        params={"N": 1, "kon": 1.0, "koff": 1.0, "C": 1.0}, exact=lambda *_: {"p": 0.5},
    )  # fmt: skip
    found = try_out(bug, KNOWN, RULE, 0)
    assert found.caught is caught, found
    assert (found.z > 10) is caught, found.z


@pytest.mark.slow
@pytest.mark.parametrize("bug", MUTATIONS, ids=lambda bug: bug.name)
def test_every_planted_bug_is_caught(bug: Mutation) -> None:
    assert try_out(bug, KNOWN, RULE, 0).caught


def test_at_least_twelve_bugs_are_planted_each_under_its_own_name() -> None:
    assert len(NAMED) == len(MUTATIONS) >= 12
    assert {bug.case for bug in MUTATIONS} <= set(KNOWN)


@pytest.mark.slow
def test_the_naive_step_is_invisible_where_everybody_tests() -> None:
    """At C = Kd its occupancy is right; at C = 0.1 Kd the same bug fails."""
    bug = replace(NAMED[next(n for n in NAMED if n.startswith("naive step"))], exact=None)
    at_kd = replace(bug, params={"C": 1.0}, exact=lambda *_: {"p": 0.5})
    below = replace(bug, params={"C": 0.1}, exact=lambda *_: {"p": 1 / 11})
    assert {row.verdict for row in rows_with(at_kd, KNOWN["A1"], RULE, 0)} == {Verdict.PASS}
    assert {row.verdict for row in rows_with(below, KNOWN["A1"], RULE, 0)} == {Verdict.FAIL}


@pytest.mark.slow
def test_two_sites_that_share_a_random_number_show_in_the_variance() -> None:
    rows = rows_with(NAMED["one random number decides for two sites"], KNOWN["A2"], RULE, 0)
    assert next(row for row in rows if row.quantity == "var_bound").verdict is Verdict.FAIL


@pytest.mark.slow
@pytest.mark.parametrize("case", ["A1", "A2"])
def test_one_percent_of_koff_fails_a_thorough_run(case: str) -> None:
    """At C = Kd (A1: 0.25 points of occupancy) and below it, with 20 times the default's effort."""
    event = "a = scratch.rate[c] * float(n1 * n2)"
    kind = "chem.channels[c, KIND]"
    bug = Mutation("k_off + 1 %", case, event, f"{event} * (1.01 if {kind} == 0 else 1.0)")
    rows = rows_with(bug, KNOWN[case], RULE, 0, thorough=True)
    assert next(row for row in rows if row.quantity == "p").verdict is Verdict.FAIL


def test_a_thorough_run_asks_for_finer_margins_and_more_observations() -> None:
    """Effort grows as 1 / margin**2, so that the same look decides."""
    for trial in assign([KNOWN["A1"], KNOWN["K1b"], KNOWN["J5_10"]]).trials:
        finer = trial.thorough()
        for a, b in zip(trial.quantities, finer.quantities, strict=True):
            assert a.margin / b.margin in (4.0, 5.0)
        assert finer.first >= 16 * trial.first
    occupancy = assign([KNOWN["A1"]]).trials[0].thorough().quantities[0]
    assert occupancy.margin == pytest.approx(0.002)


def damaged(**changes: Any) -> dict[str, Any]:
    case = deepcopy(CASES["A2"])
    case["params"] |= changes
    return case


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "JSON"),
        ("[]", "cases"),
        ('{"cases": []}', "cases"),
        (json.dumps({"cases": [damaged(N=-3)]}), "N"),
        (json.dumps({"cases": [damaged(N=2.5)]}), "N"),
        (json.dumps({"cases": [damaged(kon="fast")]}), "kon"),
        (json.dumps({"cases": [damaged(koff=math.nan)]}), "koff"),
        (json.dumps({"cases": [CASES["A1"], CASES["A1"]]}), "A1"),
        (json.dumps({"cases": [{"id": "x", "group": "Z unknown"}]}), "group"),
        (json.dumps({"cases": [damaged(Kd=7.0)]}), r"A2.params.Kd = 7.0: .*koff / kon = 4"),
        (json.dumps({"cases": [CASES["A1"] | {"exact": {}}]}), "holds exact numbers"),
        (json.dumps({"cases": [CASES["A1"] | {"id": "a\x1b[31m"}]}), "can be printed"),
        ('{"cases": [{"id": "x", "id": "y"}]}', "'id' stands twice"),
        (json.dumps({"cases": [CASES["M4"] | {"exact": {"table": [7]}}]}), "exact.table"),
        (
            json.dumps({"cases": [CASES["E3"] | {"exact": {"joint_pmf": {"9999,9999": 1}}}]}),
            "pairs",
        ),
    ],
)
def test_bad_files_are_refused_with_reasons(content: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "cases.json"
    path.write_text(content)
    with pytest.raises(SynapseError, match=says):
        validate(path, seed=0)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (json.dumps({"schema": 2, "cases": [CASES["A1"]]}), r"schema = 2: allowed is 1"),
        ('{"cases": ' + "[" * 30 + "]" * 30 + "}", "at most 20 brackets"),
        ('{"cases": ' + "[" * 200_000, "at most 20 brackets"),
        (json.dumps({"cases": [{}] * 2001}), "2001 cases.*1 to 2000"),
        (" " * 20_000_001, "at most 20,000,000 bytes"),
        (json.dumps({"cases": [damaged() | {"group": "F", "params": {"t": [1] * 10_001}}]}),
         "1 to 10000 numbers"),
    ],
    ids=["schema", "deep", "deeper", "many", "large", "times"],
)  # fmt: skip
def test_what_is_read_has_limits_which_the_message_says(
    content: str, says: str, tmp_path: Path
) -> None:
    path = tmp_path / "cases.json"
    path.write_text(content)
    with pytest.raises(SynapseError, match=says):
        validate(path, seed=0)


def test_names_that_mean_nothing_here_are_told_and_no_terminal_obeys_them(tmp_path: Path) -> None:
    case = CASES["A1"] | {"colour": 1, "exact": {"p": 0.5, "\x1b[31m": 1.0}, "title": "\x1b[2J"}
    path = write(tmp_path, case)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"\x07": 0}))
    verdicts = validate(path, seed=0)
    assert verdicts.passed
    told = verdicts.text()
    assert "not known here:\n  A1: colour, \\x07\n" in told
    assert "not compared with anything:\n  A1: \\x1b[31m\n" in told
    assert all(c.isprintable() or c == "\n" for c in told + verdicts.html())


@pytest.mark.parametrize(
    ("fault", "why"),
    [("raises", "running it failed: RuntimeError: no luck"), ("infinite", "p came out as inf")],
)
def test_a_case_that_fails_while_it_runs_is_an_error_of_that_case(
    fault: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are judged; there is no verdict on it, and that is no pass."""

    def rows_of(trial: Trial, *arguments: Any) -> list[Row]:
        if trial.quantities[0].id == "A2" and fault == "raises":
            raise RuntimeError("no luck")
        rows = as_it_is(trial, *arguments)
        return [
            replace(row, estimate=math.inf, verdict=Verdict.FAIL)
            if (row.id, row.quantity) == ("A2", "p") else row
            for row in rows
        ]  # fmt: skip

    as_it_is = Trial.rows
    monkeypatch.setattr(Trial, "rows", rows_of)
    out = tmp_path / "out.json"
    cases = write(tmp_path, CASES["A1"], CASES["A2"])
    assert main(["validate", "--cases", str(cases), "--json", str(out)]) == 1
    record = json.loads(out.read_text())
    assert [error["id"] for error in record["errors"]] == ["A2"]
    assert why in record["errors"][0]["why"]
    assert not record["passed"]
    assert {row["id"] for row in record["cases"]} >= {"A1"}
    assert {row["verdict"] for row in record["cases"]} == {"PASS"}


def test_a_case_that_fails_while_it_is_planned_takes_no_other_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pace(_: object) -> None:
        raise ArithmeticError("no plan")

    monkeypatch.setattr("synapse_abm.validation.trials.pace", pace)
    verdicts = validate(write(tmp_path, CASES["B1"], CASES["J2_50"]), seed=0)
    assert verdicts.errors == (("B1", "planning it failed: ArithmeticError: no plan"),)
    assert {row.id for row in verdicts.rows} == {"J2_50"}
    assert verdicts.failed
    assert "ERROR: B1: planning it failed" in verdicts.text()


@pytest.mark.parametrize(
    ("law", "passes"),
    [([0.5, 0.5], True), ([1.0], False), ([1.0, 0.0], False), ([0.5, 0.6], False),
     ([0.5, 0.5, 0.0], True)],
)  # fmt: skip
def test_a_law_that_excludes_what_is_seen_fails_by_finite_numbers(
    law: list[float], passes: bool, tmp_path: Path
) -> None:
    case = CASES["A1"] | {"exact": {"pmf": law}}
    (row,) = validate(write(tmp_path, case), seed=0).rows
    assert (row.verdict is Verdict.PASS) == passes
    assert (row.verdict is Verdict.FAIL) != passes
    assert math.isfinite(row.estimate) and math.isfinite(row.z)


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    """Those of form, of parameters, and a name that stands twice."""
    cases = [damaged(N=-3, kon=-1.0), CASES["B1"] | {"params": {}}, CASES["B1"], {"id": "x"}]
    with pytest.raises(SynapseError) as caught:
        validate(write(tmp_path, *cases), seed=0)
    told = str(caught.value)
    for words in ("params.N", "params.kon", "params.R", "id = 'B1'", "cases[3].group"):
        assert words in told


def test_times_that_are_no_times_are_told_once(tmp_path: Path) -> None:
    """And not again as series whose length does not fit."""
    case = deepcopy(CASES["F1"])
    case["params"]["t"] = []
    with pytest.raises(InputError, match=r"F1\.params\.t = \[\]"):
        validate(write(tmp_path, case), seed=0)


UNKNOWN = [
    ("F1", {"start": "full"}), ("A1", {"hill": 2}), ("H3", {"leak": 0.1}), ("J3", {"drift": 1}),
    ("K2a", {"trap": 1}), ("N_00037", {"beta": 1}), ("F4", {"B0": 2}),
]  # fmt: skip


def test_what_would_be_left_out_of_account_is_not_run(tmp_path: Path) -> None:
    """A start, a leak, a drift that nobody here knows: listed by name, and no verdict."""
    run = CASES["A2"]
    cases = [deepcopy(CASES[name]) for name, _ in UNKNOWN]
    for case, (_, more) in zip(cases, UNKNOWN, strict=True):
        case["params"] |= more
    found = validate(write(tmp_path, run, *cases), seed=0)
    assert {row.id for row in found.rows} == {"A2"}
    for (name, why), (case, more) in zip(
        sorted(found.not_expressible), sorted(UNKNOWN), strict=True
    ):
        assert name == case
        assert repr(next(iter(more))) in why


def test_a_file_of_which_nothing_is_known_is_refused(tmp_path: Path) -> None:
    """Parameters that keep every case from being run are faults, all told, the nearest named."""
    cases = [deepcopy(CASES[name]) for name, _ in UNKNOWN]
    for case, (_, more) in zip(cases, UNKNOWN, strict=True):
        case["params"] |= more
    with pytest.raises(SynapseError) as caught:
        validate(write(tmp_path, CASES["J1_3d"], *cases), seed=0)
    told = str(caught.value)
    for name, more in UNKNOWN:
        key = next(iter(more))
        assert f"a parameter of cases.json: {name} = {key!r}: allowed is one of" in told
    approach = CASES["F1"] | {"params": {"koof": 1.0, **CASES["F1"]["params"]}}
    with pytest.raises(InputError, match=r"F1 = 'koof': .*did you mean koff"):
        validate(write(tmp_path, approach), seed=0)


def test_exact_numbers_that_nobody_knows_are_not_passed_over(tmp_path: Path) -> None:
    """Beside others they are named; if there are no others, the file is refused."""
    case = CASES["A1"] | {"exact": {"p": 0.5, "mean_bond": 7.0}}
    found = validate(write(tmp_path, case), seed=0)
    assert found.passed
    assert "not compared with anything:\n  A1: mean_bond\n" in found.text()
    alone = CASES["A1"] | {"exact": {"mean_bond": 7.0}}
    with pytest.raises(InputError, match=r"A1 = 'mean_bond': .*did you mean mean_bound"):
        validate(write(tmp_path, alone), seed=0)


@pytest.mark.parametrize(
    ("name", "changes", "why"),
    [
        ("I2b", {"N_S": 1_000_000}, "verdict takes"),
        ("I2b", {"N_S": 200, "N_T": 20, "N_D": 20}, "44891 states"),
        ("I3b", {"alpha": 1e6}, "verdict takes"),
        ("I3", {"gamma": 1e-6}, "too far apart"),
        ("K1a", {"D": 1e-6}, "verdict takes"),
        ("A2", {"N": 1_000_000}, "verdict takes"),
    ],
)
def test_what_cannot_even_be_planned_is_listed(
    name: str, changes: dict[str, Any], why: str, tmp_path: Path
) -> None:
    """These once took minutes or a traceback before anything was run."""
    case = deepcopy(CASES[name])
    case["params"] |= changes
    found = validate(write(tmp_path, case), seed=0)
    assert not found.rows
    assert not found.failed
    assert {each for each, _ in found.not_expressible} == {name}
    assert all(why in reason for _, reason in found.not_expressible)


def test_a_reset_after_all_that_is_affordable(tmp_path: Path) -> None:
    """Batches so large that only what comes before the reset is run; once that was a traceback."""
    case = deepcopy(CASES["N_00028"])
    case["params"]["batch"] = 20
    found = assign(read_cases(write(tmp_path, case)))
    assert any("verdict takes" in why for _, why in found.left_out)
    for trial in found.trials:
        sample = trial.observe(Address(0, 0), None)
        sample.grow(8)
        for quantity in trial.quantities:
            assert quantity.look(sample, RULE, 0).observations == 8


def test_every_test_takes_its_share_of_the_false_alarm(tmp_path: Path) -> None:
    """A law is several: chi-square, and the mean of each of its counts."""
    found = validate(write(tmp_path, CASES["A2"]), seed=0)
    laws = [row for row in found.rows if row.frequencies is not None]
    assert laws
    assert found.rule.tests == len(found.rows) + len(laws)


def test_where_nothing_can_be_judged_nothing_is_claimed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither a pass nor a failure, and the last line says so; the exit status is 0."""
    cases, out = write(tmp_path, CASES["J1_3d"], CASES["L1"]), tmp_path / "out.json"
    page = tmp_path / "out.html"
    options = ["--cases", str(cases), "--json", str(out), "--html", str(page)]
    assert main(["validate", *options]) == 0
    told = capsys.readouterr().out
    assert "J1_3d: three dimensions" in told
    last = told.splitlines()[-1]
    assert last.startswith("nothing was judged: 0 cases run, 2 not run for the reasons above")
    record = json.loads(out.read_text())
    assert record["passed"] is None
    assert {each["id"] for each in record["not_expressible"]} == {"J1_3d", "L1"}
    assert re.search(r'class="verdict INCONCLUSIVE">nothing was judged<', page.read_text())
    assert "<img" not in page.read_text(), "there is no number to draw"
    assert not re.search(r'class="verdict [A-Z]+">(PASS|FAIL)</span></h1>', page.read_text())


def test_a_thorough_run_leaves_nothing_out_that_takes_long() -> None:
    """What the default cannot afford is run at the default's margins."""
    cases = list(KNOWN.values())
    default = assign(cases)
    dear = [why for _, why in default.left_out if "verdict takes" in why]
    assert dear
    assert all(why.endswith("--thorough runs it") for why in dear)
    whole = thoroughly(default, cases)
    assert not [why for _, why in whole.left_out if "verdict takes" in why]
    names = [(each.id, each.name) for trial in whole.trials for each in trial.quantities]
    assert len(names) == len(set(names))
    added = {("F3", "var_timeavg[T=100]"), ("F3", "var_timeavg[T=1000]"), ("H4", "var_TD")}
    assert added <= set(names)


def test_the_command_writes_its_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cases, out = write(tmp_path, CASES["A1"], CASES["J1_3d"]), tmp_path / "out.json"
    page = tmp_path / "out.html"
    options = ["--cases", str(cases), "--seed", "3", "--json", str(out), "--html", str(page)]
    assert main(["validate", *options]) == 0
    record = json.loads(out.read_text())
    assert record["false_alarm"] == 1e-6
    assert {"id", "quantity", "estimate", "exact", "se", "z", "verdict"} <= set(record["cases"][0])
    assert [each["id"] for each in record["not_expressible"]] == ["J1_3d"]
    assert record["planted"] == []
    assert record["command"] == "synapse-abm validate --seed 3 --cases cases.json"
    assert record["file"] == {"name": "cases.json", "sha256": sha256(cases.read_bytes())}
    margins = {"occupancy": 0.01, "other": 0.02, "variance": 0.04, "grid_kinetics": 0.01}
    assert record["margins"] == margins
    assert record["rule"]["fail_bound_se"] > record["rule"]["pass_bound_se"] > 3
    assert record["power"]["fails, off by 1 margin"] > 0.999
    assert record["power"]["passes, if exact"] > 0.999
    assert {"python", "numpy", "numba", "synapse_abm"} <= set(record["versions"])
    assert record["not_compared"] == {}
    told = capsys.readouterr()
    assert "PASS" in told.out
    assert "about" in told.err  # how long it will take, beforehand
    check_page(page.read_text(), {"A1"})
    for words in (
        record["command"],
        record["file"]["sha256"],
        "Power",
        "three dimensions",
        "numba",
    ):
        assert words in page.read_text()


def test_exact_numbers_of_solvers_are_written_to_six_digits() -> None:
    """F4 is a matrix exponential, which other processors round otherwise; B1 is arithmetic."""
    for name, written in (("F4", 0.123457), ("B1", 0.123456789012)):
        (quantity,) = {q.solved for trial in assign([KNOWN[name]]).trials for q in trial.quantities}
        row = Row(name, "p", 0.5, 0.123456789012, 0.1, 1.0, Verdict.PASS, 0.1, 10, solved=quantity)
        report = Verdicts(
            false_alarm=1e-6, seed=0, cases=[KNOWN[name]], rows=[row], not_expressible=[],
            errors=[], planted=[], wall_s=0.0, rule=RULE, thorough=False, asked_planted=False,
            source=None,
        )  # fmt: skip
        assert report.record()["cases"][0]["exact"] == written


@pytest.mark.parametrize("option", ["--json", "--html"])
def test_the_cases_are_not_written_over(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = write(tmp_path, CASES["A1"])
    before = cases.read_bytes()
    assert main(["validate", "--cases", str(cases), option, str(tmp_path / "." / cases.name)]) == 2
    assert f"{option} = " in capsys.readouterr().err
    assert cases.read_bytes() == before
    both = str(tmp_path / "out")
    assert main(["validate", "--cases", str(cases), "--json", both, "--html", both]) == 2
    assert not Path(both).exists()


def test_numbers_that_nothing_is_compared_with_are_named(tmp_path: Path) -> None:
    found = validate(write(tmp_path, CASES["B1"], CASES["F4"], CASES["J5_10"]), seed=0)
    assert set(found.not_compared["B1"]) == {
        "morrison_mean", "morrison_error_bound", "morrison_error_occupancy", "relaxation_gap",
    }  # fmt: skip
    assert set(found.not_compared["F4"]) == {"meanfield_t", "meanfield_error_t", "gap"}
    assert found.not_compared["J5_10"] == ["continuum_uniform"]
    text = found.html()
    assert "morrison_error_bound, morrison_error_occupancy" in text
    assert "Parameters: R = 1, L = 1, kon_pair = 1.0, koff = 1.0, K = 1.0." in text
    assert "cube root of chi-square" in text


def test_audits_without_chance_have_the_bugs_that_they_are_said_to_find() -> None:
    """Of the same name, or the like: the rate of unbinding, and where it puts a molecule."""
    import test_kernel_audit
    import test_rates

    like = {"unbinding 5 % too fast": "unbinding 1e-9 too fast",
            "what unbinds turns up in a random cell": "unbinding into a neighbouring cell",
            "a batch of ten released one by one": "a batch released one by one"}  # fmt: skip
    known = {"rates": test_rates.BUGS, "kernel": test_kernel_audit.BUGS}
    said = [bug for bug in MUTATIONS if bug.without_chance]
    assert len(said) == 5
    for bug in said:
        assert like.get(bug.name, bug.name) in known[bug.without_chance]


def check_page(text: str, cases: set[str]) -> None:
    """Nothing from elsewhere, no script, well-formed pictures in the page, a card for each case."""
    assert not re.search(r"https?://|<script|<link|@import|url\(", text)
    sources = re.findall(r'<img src="([^"]*)" alt="[^"]+"', text)
    assert len(sources) == text.count("<img") == len(cases) + 1
    for source in sources:
        kind, _, encoded = source.partition(",")
        assert kind == "data:image/svg+xml;base64"
        picture = base64.b64decode(encoded).decode()
        ElementTree.fromstring(picture)
        assert not re.search(r'"[^"]*\b(nan|inf)\b', picture)
    assert set(re.findall(r"<h3>(.*?)</h3>", text)) == cases


def test_the_page_shows_what_failed_and_escapes_what_it_is_given(tmp_path: Path) -> None:
    case = deepcopy(CASES["A1"]) | {"id": "<b>&", "title": "<script>"}
    case["exact"]["p"] = 0.6
    found = validate(write(tmp_path, case), seed=0)
    text = found.html()
    assert "&lt;script&gt;" in text
    check_page(text, {"&lt;b&gt;&amp;"})
    assert re.search(r'class="verdict FAIL">FAIL<', text)


@pytest.mark.parametrize("name", ["J5_10", "J6a", "J6c", "J6f", "K1a", "K1b"])
def test_the_shift_of_a_step_belongs_to_the_exact_numbers(name: str) -> None:
    """In continuous time the generator gives the numbers of the file; steps tend to it."""
    params, exact = CASES[name]["params"], CASES[name]["exact"]
    place = place_of(KNOWN[name])
    cell = place.number(params.get("receptor", params.get("target", [0])))
    rate, cells = params.get("k_bind_in_cell", math.inf), place.grid.cells
    law, start = first_binding(place.grid, params["D"], cell, rate), np.full(cells, 1 / cells)
    mean = exact.get("mean_uniform_start", exact.get("mean_bind_time_uniform_start"))
    timed = law.wait(start)
    assert timed.mean == pytest.approx(mean, rel=1e-9)
    assert timed.survival(params.get("t", [])) == pytest.approx(
        exact.get("survival_t", []), rel=1e-9
    )
    far, near = (law.wait_in_steps(start, dt).mean - timed.mean for dt in (0.02, 0.01))
    assert 1.9 < far / near < 4.1  # first order in the step, second where the first cancels
    if "noise0" in exact:
        grid, hops = place.grid, params["D"] / place.grid.spacing_um**2
        at, koff = divmod(cell, place.grid.width)[::-1], params["koff"]
        pair = LonePair(grid.width, grid.height, at, hops, rate, koff, grid.walls)
        assert pair.zero_frequency_noise == pytest.approx(exact["noise0"], rel=1e-9)
        assert pair.occupancy == pytest.approx(exact["p_bound"], rel=1e-12)
        # 60 relaxation times: the window's ends count for some 2 % of the variance
        n = round(60 * pair.relaxation_s / 0.02)
        noise = n * 0.02 * pair.stepped_average_variance(0.02, n)
        assert noise == pytest.approx(pair.zero_frequency_noise, rel=0.03)


def unseen() -> list[dict[str, Any]]:
    """Cases nobody has seen, of groups that are run: other shapes, walls, starts and times."""

    def case(name: str, group: str, params: dict[str, Any], **exact: Any) -> dict[str, Any]:
        return {"id": name, "group": group, "params": params, "exact": exact}

    walk = {"D": 0.7, "h": 0.5}
    hop = 0.7 / 0.5**2
    slowest = 2 * hop * (1 - math.cos(math.pi / 20))
    p, k = 0.2, 2.5
    later = 0.2 + 0.2 * math.exp(-0.25)
    fall = [p + (1 - p) * math.exp(-k * t) for t in (0.0, 0.1, 1.0)]
    return [
        case(
            "from full", "F kinetics",
            {"N": 10, "B0": 10, "kon": 1.0, "koff": 2.0, "C": 0.5, "t": [0.0, 0.1, 1.0]},
            p_t=fall, mean_t=[10 * x for x in fall],
        ),
        case("ring", "J", {**walk, "shape": [9], "periodic": True, "target": [3]},
             mean_uniform_start=(9**2 - 1) / (12 * hop)),
        case("row", "J", {**walk, "M": 12}, mean_from_far_end=66 / hop,
             mean_uniform_start=11 * 23 / (6 * hop)),
        case("modes", "J", {**walk, "M": 20}, lambda_1=slowest),
        case("wide", "J", {"N": 5, "M": 4}, mean=1.25, var=0.9375, cov=-0.3125, p_empty=0.75**5),
        case("open", "J", {"mean_per_cell": 1.0, "M": 3}, mean=1.0, var=1.0, cov=0.0,
             p0=math.exp(-1.0)),
        case("line", "J", {"D": 2.0, "h": 0.1, "t": [0.01]}, msd=[0.04]),
        case("torus", "K", {**walk, "shape": [3, 2], "periodic": True, "receptor": [2, 1],
                            "k_bind_in_cell": 2.0, "koff": 1.0},
             p_bound=0.25, mean_unbound_time=3.0),
        case("steps", "M", {**walk, "M": 5, "k_bind_in_cell": 5.0, "koff": 1.0},
             table=[{"dt": 0.5, "exact": 0.5}, {"dt": 4.0, "exact": 0.5}]),
        case(
            "by chance", "F",
            {"N": 10, "p0": 0.4, "kon": 1.0, "koff": 2.0, "C": 0.5, "t": [0.0, 0.1]},
            p_t=[0.4, later], var_t=[2.4, 10 * later * (1 - later)],
        ),
        case("washed", "F", {"N": 10, "B0": 10, "koff": 2.0, "t": [0.3]}, p_t=[math.exp(-0.6)]),
        case(
            "no drug", "H",
            {"N_T": 5, "kon": 1.0, "koff": 1.0, "kcat": 1.0, "S": 2.0, "kon_D": 1.0, "koff_D": 1.0,
             "D": 0.0},
            p_TS=0.5, var_TD=-2e-16,  # as a solver of linear equations has it
        ),
        case("long row", "J", {**walk, "M": 50}, mean_from_far_end=1225 / hop),
    ]  # fmt: skip


@pytest.mark.slow
def test_unseen_cases_of_known_groups_pass(tmp_path: Path) -> None:
    found = validate(write(tmp_path, *unseen()), seed=1)
    assert {row.id for row in found.rows} == {case["id"] for case in unseen()}
    assert found.passed, found.text()


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [("J6a", "target", [5, 0]), ("K1a", "receptor", [0]), ("J5_10", "t", [-1.0]),
     ("F1", "C", -1), ("G3", "koff_L", "slow"), ("M4", "D", None), ("I2b", "N_S", 0)],
)  # fmt: skip
def test_bad_parameters_of_a_grid_or_a_curve_are_named(
    name: str, key: str, value: Any, tmp_path: Path
) -> None:
    case = deepcopy(CASES[name])
    case["params"][key] = value
    with pytest.raises(SynapseError, match=rf"{name}\.params\.{key}"):
        validate(write(tmp_path, case), seed=0)


def test_all_but_these_of_the_shipped_cases_are_run() -> None:
    """Three dimensions, a boundary reservoir, an asymptotic formula, rules that are not ours."""
    found = assign(list(KNOWN.values()))
    run = {quantity.id for trial in found.trials for quantity in trial.quantities}
    assert set(KNOWN) - run == {
        "J1_3d", "J6d", "J6e", "K1c", "K3", "L1", "M1", "M2", "M3", "M5",
    }  # fmt: skip


def test_a_missing_file_is_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    """And whatever else is wrong with the options is told with it."""
    options = ["--cases", "/nowhere/cases.json", "--seed", "-1", "--json", "x", "--html", "x"]
    assert main(["validate", *options]) == 2
    told = capsys.readouterr().err
    for words in ("/nowhere/cases.json", "--seed = '-1'", "--html = 'x'", "3 inputs"):
        assert words in told
