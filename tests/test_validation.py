"""The judge: passes what is exact, fails what is not, and reads files without trust."""

from __future__ import annotations

import json
import math
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from synapse_abm.cli import main
from synapse_abm.errors import SynapseError
from synapse_abm.statistics import Rule, Verdict
from synapse_abm.validation import validate
from synapse_abm.validation.cases import SHIPPED, read_cases
from synapse_abm.validation.planted import PLANTED, try_out

CASES: dict[str, dict[str, Any]] = {
    case["id"]: case for case in json.loads(SHIPPED.read_text())["cases"]
}
QUICK = ("A1", "B1", "B3", "C2", "D2", "E3", "H3", "K2a")


def write(folder: Path, *cases: dict[str, Any]) -> Path:
    path = folder / "cases.json"
    path.write_text(json.dumps({"schema": 1, "cases": list(cases)}))
    return path


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_case_of_each_group_passes(seed: int, tmp_path: Path) -> None:
    """Family-wise false alarm 1e-6 per run; the seeds are fixed."""
    found = validate(write(tmp_path, *(CASES[name] for name in QUICK)), seed=seed)
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


@pytest.mark.parametrize("bug", [PLANTED[0], PLANTED[4]], ids=lambda bug: bug.name)
def test_planted_bugs_are_caught(bug: Any) -> None:
    """Under the bounds of a whole validation (some 1200 quantities); the others: --planted."""
    known = {case.id: case for case in read_cases(SHIPPED)}
    caught = try_out(bug, known, Rule(tests=1200, false_alarm=1e-7), 0)
    assert caught.caught, caught


@pytest.mark.slow
@pytest.mark.parametrize("bug", PLANTED, ids=lambda bug: bug.name)
def test_every_planted_bug_is_caught(bug: Any) -> None:
    known = {case.id: case for case in read_cases(SHIPPED)}
    assert try_out(bug, known, Rule(tests=1200, false_alarm=1e-7), 0).caught


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
    ],
)
def test_bad_files_are_refused_with_reasons(content: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "cases.json"
    path.write_text(content)
    with pytest.raises(SynapseError, match=says):
        validate(path, seed=0)


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(SynapseError) as caught:
        validate(write(tmp_path, damaged(N=-3, kon=-1.0), CASES["B1"] | {"params": {}}), seed=0)
    assert all(word in str(caught.value) for word in ("params.N", "params.kon", "params.R"))


def test_the_command_writes_its_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cases, out = write(tmp_path, CASES["A1"], CASES["J3"]), tmp_path / "out.json"
    assert main(["validate", "--cases", str(cases), "--seed", "3", "--json", str(out)]) == 0
    record = json.loads(out.read_text())
    assert record["false_alarm"] == 1e-6
    assert {"id", "quantity", "estimate", "exact", "se", "z", "verdict"} <= set(record["cases"][0])
    assert [each["id"] for each in record["not_expressible"]] == ["J3"]
    assert record["planted"] == []
    assert "PASS" in capsys.readouterr().out


def test_a_missing_file_is_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "--cases", "/nowhere/cases.json"]) == 2
    assert "/nowhere/cases.json" in capsys.readouterr().err
