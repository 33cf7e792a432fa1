"""A record can be run again: same bytes, numbers that agree, or what differs; and it runs nothing
that the user did not ask for."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scenarios import everything

from synapse_abm.cli import main
from synapse_abm.core.errors import InputError
from synapse_abm.core.files import sha256
from synapse_abm.pharmacology.library import Library
from synapse_abm.runs import compare, rerun, results, simulate
from synapse_abm.runs.experiment import Experiment, find, own_files, perform
from synapse_abm.runs.record import Record
from synapse_abm.runs.results import Table
from synapse_abm.synapse.scenario import Grid, Kinetics, Ligand, RunSettings, Scenario, Target

HOSTILE = Path(__file__).parent / "hostile"

type Say = Callable[..., tuple[int, str, str]]
type Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    def give(*arguments: object) -> tuple[int, str, str]:
        return main([str(argument) for argument in arguments]), *capsys.readouterr()

    return give


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recorded simulation, without pictures, which take longer than all the rest."""
    monkeypatch.setattr(simulate, "figure_files", lambda simulated: {"timeseries.png": b""})
    run = RunSettings(duration_s=2.5, sample_every_s=0.1, replicates=2)
    scenario = everything().model_copy(update={"run": run})
    simulate.write(scenario, tmp_path / "out", seed=2**63 + 5, engine="compiled")
    return tmp_path / "out" / "run.json"


@pytest.fixture
def checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recorded simulation that has exact laws, and checks."""
    monkeypatch.setattr(simulate, "figure_files", lambda simulated: {"timeseries.png": b""})
    binding = {"SERT": Kinetics(kd_nM=5, koff_per_s=5.0)}
    scenario = Scenario(
        grid=Grid(width=2, height=2, spacing_um=0.1),
        targets={"SERT": Target(sites=20)},
        ligands={"drug": Ligand(clamped_nM=5.0, binding=binding)},
        run=RunSettings(duration_s=60, sample_every_s=0.5, burn_in_s=5),
    )
    simulate.write(scenario, tmp_path / "out", seed=1)
    return tmp_path / "out" / "run.json"


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def edited(path: Path, change: Change, sign: bool = True) -> Path:
    """The record with a change; signed anew, as another program would have written it."""
    fields = json.loads(path.read_bytes())
    change(fields)
    path.write_text(json.dumps(results.signed(fields) if sign else fields))
    return path


def other_table(path: Path, column: str, row: int, change: Callable[[str], str]) -> tuple[str, str]:
    """As if another machine had computed one cell (rows from 1) so: record and CSV say it."""
    file = path.with_name("timeseries.csv")
    lines = [line.split(",") for line in file.read_text().splitlines()]
    at = lines[0].index(column)
    now, lines[row][at] = lines[row][at], change(lines[row][at])
    file.write_text("\n".join(map(",".join, lines)) + "\n")
    hashes = {"timeseries.csv": sha256(file.read_bytes()), "timeseries.parquet": "0" * 64}
    edited(path, lambda fields: fields["table_sha256"].update(hashes))
    path.with_name("timeseries.parquet").unlink()
    return lines[row][at], now


# --- reproduced -----------------------------------------------------------------------------------


def test_a_simulation_is_reproduced(record: Path, say: Say) -> None:
    before = contents(record.parent)
    status, out, err = say("rerun", record, "--workers", "2")
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        *(
            f"same    {table}.{kind}"
            for table in ("timeseries", "course")
            for kind in ("csv", "parquet")
        ),
        "All tables are reproduced, byte for byte.",
    ]
    assert contents(record.parent) == before


def test_an_experiment_is_reproduced(tmp_path: Path, say: Say) -> None:
    options = {"drugs": ("duloxetine",)}
    perform(find("selectivity"), out=tmp_path, seed=3, quick=True, options=options)
    status, out, _ = say("rerun", tmp_path / "run.json")
    assert status == 0, out
    assert "same    ratios.csv" in out
    assert "!" not in out


def test_another_machine_or_version_with_the_same_tables_passes(record: Path, say: Say) -> None:
    def change(fields: dict[str, Any]) -> None:
        fields["versions"]["scipy"] = "0.1"
        fields["machine"]["processor"] = "abacus"

    status, out, _ = say("rerun", edited(record, change))
    assert status == 0
    assert "! scipy was 0.1, is" in out
    assert "! processor was abacus, is" in out


@pytest.mark.parametrize("elsewhere", [True, False])
def test_the_last_digit_may_differ_and_is_named(record: Path, say: Say, elsewhere: bool) -> None:
    """Two units of ten digits; three would be a difference."""
    first = float(record.with_name("timeseries.csv").read_text().splitlines()[3].split(",")[1])
    assert first == 0.3
    was, now = other_table(record, "time_s", 3, lambda cell: "0.3000000002")
    if elsewhere:
        edited(record, lambda fields: fields["machine"].update(processor="abacus"))
    status, out, _ = say("rerun", record)
    assert status == 0, out
    assert f"AGREES  timeseries.csv: row 3, column time_s was {was}, is {now}" in out
    assert "relative difference 6.7e-10" in out
    where = "another processor or other versions" if elsewhere else "though processor and versions"
    assert f"agrees within two units of the last digit written, {where}" in out
    other_table_again = record.with_name("timeseries.csv").read_text().replace("0002", "0003")
    record.with_name("timeseries.csv").write_text(other_table_again)
    hashed = sha256(other_table_again.encode())
    edited(record, lambda fields: fields["table_sha256"].update({"timeseries.csv": hashed}))
    status, out, _ = say("rerun", record)
    assert status == 1
    assert "DIFFERS timeseries.csv: row 3, column time_s was 0.3000000003, is 0.3" in out


def test_a_count_that_differs_by_one_is_no_rounding(record: Path, say: Say) -> None:
    was, now = other_table(record, "replicate", 4, lambda cell: str(int(cell) + 1))
    edited(record, lambda fields: fields["versions"].update(numpy="1.0"))
    status, out, _ = say("rerun", record)
    assert status == 1
    assert f"DIFFERS timeseries.csv: row 4, column replicate was {was}, is {now}" in out
    assert "! numpy was 1.0, is " in out
    assert "NOT reproduced" in out


def test_units_are_those_of_the_digits_written() -> None:
    """Six digits from a solver, ten of ours; the largest departure is named."""

    def against(ours: float, solver: float) -> compare.Departure | str:
        table = Table("t", {"ours": [1.0, ours], "solver": [1.0, solver]}, solved=("solver",))
        return compare.departure_of_table(table, b"ours,solver\n1.0,1.0\n0.5,0.5\n")

    for ours, solver, agrees, column in [
        (0.5 + 2e-10, 0.5, True, "ours"), (0.5 + 3e-10, 0.5, False, "ours"),
        (0.5 + 1e-10, 0.5 + 2e-6, True, "solver"), (0.5 + 1e-10, 0.5 + 3e-6, False, "solver"),
        (0.5, math.nan, False, "solver"), (math.inf, 0.5, False, "ours"),
    ]:  # fmt: skip
        found = against(ours, solver)
        assert isinstance(found, compare.Departure)
        assert (found.agrees, found.place) == (agrees, f"row 2, column {column}")
    zero = Table("t", {"x": [1.0, 0.0]}, solved=("x",))
    noise = compare.departure_of_table(zero, b"x\n1.0\n2e-11\n")
    assert isinstance(noise, compare.Departure) and noise.agrees, "zero beside ones"
    for recorded in (b"", b"y\n1.0\n0.0\n", b"x\n1.0\n", b"x\n1.0\n0.0,3\n", b"\xff\xfe"):
        assert isinstance(compare.departure_of_table(zero, recorded), str)


def test_parquet_of_another_pyarrow_goes_by_its_csv(record: Path, say: Say) -> None:
    record.with_name("timeseries.parquet").unlink()
    edited(record, lambda fields: fields["table_sha256"].update({"timeseries.parquet": "0"}))
    status, out, _ = say("rerun", record)
    assert status == 1
    assert "DIFFERS timeseries.parquet: another hash, though the CSV is the same" in out
    edited(record, lambda fields: fields["versions"].update(pyarrow="1.0"))
    status, out, _ = say("rerun", record)
    assert status == 0
    assert "AGREES  timeseries.parquet: the CSV is the same; pyarrow was 1.0, is" in out


# --- forged ---------------------------------------------------------------------------------------


def test_a_table_edited_beside_an_honest_record_is_told(record: Path, say: Say) -> None:
    """The record is reproduced, and still the file is not what it vouches for."""
    table = record.with_name("timeseries.csv")
    lines = table.read_text().splitlines()
    cells = lines[3].split(",")
    table.write_text("\n".join([*lines[:3], ",".join([*cells[:-1], "9"]), *lines[4:]]) + "\n")
    status, out, _ = say("rerun", record)
    assert status == 1
    assert "same    timeseries.csv" in out
    told = f"the file was changed since; row 3, column {lines[0].split(',')[-1]} was 9"
    assert f"EDITED  timeseries.csv: {told}" in out
    assert "please report this" not in out
    table.unlink()
    assert say("rerun", record)[0] == 0, "a table that is not there claims nothing"


def test_a_table_that_was_changed_is_no_evidence(record: Path, say: Say) -> None:
    edited(record, lambda x: x["table_sha256"].update({"timeseries.csv": "0", "x.csv": "1"}))
    status, out, _ = say("rerun", record)
    assert status == 1
    assert "was changed since, so rows are not compared" in out
    assert "x.csv: this version makes no such table" in out
    assert "please report this" in out


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda x: x["checks"].pop(), "checks: "),
        (lambda x: x["checks"][0].update(passed=not x["checks"][0]["passed"]), ".passed was"),
        (lambda x: x["checks"][0].update(value=0.123), ".value was 0.123, is"),
        (lambda x: x["outcome"].update(failed=["replicate 0"]), "outcome.failed"),
        (lambda x: x["outcome"]["averages"]["occupancy"]["SERT"].clear(), "outcome.averages."),
    ],
)
def test_forged_results_are_told(change: Change, told: str, checked: Path, say: Say) -> None:
    """Signed by the forger: only running it again shows what is wrong."""
    assert say("rerun", checked)[0] == 0
    status, out, _ = say("rerun", edited(checked, change))
    assert status == 1
    assert "same    timeseries.csv" in out
    assert "DIFFERS " in out and told in out


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda x: x["papers"].append("Me 2026"), "papers in one of record and run only: Me 2026"),
        (lambda x: x.update(command="synapse-abm run hyperbola"), "the command is not that"),
        (lambda x: x.update(command="synapse-abm simulate x --seed 4"), "the command is not that"),
        (lambda x: x.update(command="synapse-abm 'x"), "the command is not that"),
        (lambda x: x.update(source_sha256="0", code_version="0.0.9"), "(then 0.0.9, now 0.1.0"),
    ],
)
def test_what_else_differs_is_told(change: Change, told: str, record: Path, say: Say) -> None:
    status, out, _ = say("rerun", edited(record, change))
    assert status == 0
    assert any(line.startswith("! ") and told in line for line in out.splitlines())


@pytest.mark.parametrize(
    ("field", "value"),
    [("seed", 4), ("outcome", {}), ("papers", ["x"]), ("command", "x"), ("wall_s", 0.0),
     ("scenario", {})],
)  # fmt: skip
def test_an_edit_is_refused_and_named(field: str, value: object, record: Path, say: Say) -> None:
    edited(record, lambda fields: fields.update({field: value}), sign=False)
    status, out, err = say("rerun", record)
    assert (status, out) == (2, "")
    assert f"as it was written; its {field} was edited" in err


# --- refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda x: x.pop("scenario"), "lacks, or has in another form: scenario"),
        (lambda x: x.update(extra=1), "lacks, or has in another form: extra"),
        (lambda x: x["scenario"]["grid"].update(widht=7), "scenario.grid = 'widht'"),
        (lambda x: x.update(experiment="hyperbole"), "did you mean hyperbola?"),
        (lambda x: x.update(experiment="hyperbola"), "record.options.quick"),
        (lambda x: x.update(seed=-1), "seed of the record"),
        (lambda x: x["options"].update(engine="warp"), "engine"),
        (lambda x: x["options"].pop("engine"), "others are: engine"),
        (lambda x: x["scenario"].update(run=None), "scenario.run = None"),
        (
            lambda x: x["scenario"]["run"].update(duration_s=1e300),
            "scenario.run.duration_s = 1e+300: allowed is a number > 0 and at most 1e+10, in s",
        ),
        (lambda x: x["scenario"]["run"].update(sample_every_s=2e10), "sample_every_s = 2"),
        (lambda x: x["scenario"].update(dt_s=1e300), "scenario.dt_s = 1e+300"),
        (lambda x: x["scenario"].update(dt_s=1e-300), "run.duration = "),
        (lambda x: x["scenario"].update(dt_s=1e6), "run.dt = '1e+06 s'"),
        (lambda x: x["scenario"]["run"].update(duration_s=1e9, sample_every_s=1e-4), "GB"),
    ],
)
def test_records_that_cannot_be_rerun_are_refused(
    change: Change, told: str, record: Path, say: Say
) -> None:
    status, out, err = say("rerun", edited(record, change))
    assert (status, out) == (2, "")
    assert told in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("contents", "told"),
    [(None, "cannot be read"), (b"", "not JSON"), (b"[1]", "lacks"), (b"\xff\xfe", "not JSON"),
     (b"{}", "run.json"), (b"1" * 5000, "not JSON"), (b"[" * 10**6, "32 levels"),
     (b"[" * 40 + b"]" * 40, "32 levels"), (b"[" + b"0," * 2_100_000 + b"0]", "2,000,000 values"),
     (b" " * 64_000_001, "64,000,000 bytes")],
    ids=["missing", "empty", "list", "binary", "nothing", "digits", "deep", "nested", "many",
         "large"],
)  # fmt: skip
def test_files_that_are_no_records_are_refused(
    contents: bytes | None, told: str, tmp_path: Path, say: Say
) -> None:
    path = tmp_path / "run.json"
    if contents is not None:
        path.write_bytes(contents)
    status, out, err = say("rerun", path)
    assert (status, out) == (2, "")
    assert told in err


# --- nothing foreign ------------------------------------------------------------------------------


def put(fields: dict[str, Any], place: str, value: Any) -> None:
    """Change what stands at a dotted place."""
    *above, last = place.split(".")
    for name in above:
        fields = fields[name]
    fields[last] = value


@pytest.mark.parametrize("file", sorted(HOSTILE.glob("record_*.json")), ids=lambda path: path.stem)
def test_hostile_records_are_refused_and_touch_nothing(
    file: Path, record: Path, say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file says what it changes in an honest record, and what must be told of it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.py").write_text("raise SystemExit('executed')")
    (tmp_path / "own.toml").write_text("read = 'and told'")
    case = json.loads(file.read_text("utf-8"))
    status, out, err = say(
        "rerun", edited(record, lambda x: [put(x, *item) for item in case["changes"].items()])
    )
    assert (status, out) == (2, ""), err
    assert case["told"] in err
    assert len(err.splitlines()) == 1 and "Traceback" not in err


SCRIPT = '''
"""A script of one's own."""
from synapse_abm.runs.results import Result, Table

def run(seed, quick, progress):
    return Result([Table("mine", {"x": [float(seed)]})], [], "", "done")

def figure(result):
    from matplotlib.figure import Figure
    return Figure()
'''


def test_a_script_of_ones_own_runs_only_when_named_and_unchanged(tmp_path: Path, say: Say) -> None:
    script = tmp_path / "mine.py"
    script.write_text(SCRIPT)
    perform(Experiment("mine", script), out=tmp_path / "out", seed=3)
    record = tmp_path / "out" / "run.json"
    status, _, err = say("rerun", record)
    assert status == 2
    assert "read the script (mine.py then), and name it: --script" in err
    status, out, _ = say("rerun", record, "--script", script)
    assert status == 0 and "same    mine.csv" in out
    script.write_text(SCRIPT.replace("done", "undone"))
    status, _, err = say("rerun", record, "--script", script)
    assert status == 2 and "this is another" in err
    assert say("rerun", record, "--script", tmp_path / "none.py")[0] == 2
    script.write_text(SCRIPT)
    edited(record, lambda fields: fields.update(experiment="hyperbola", script_sha256=None))
    status, _, err = say("rerun", record, "--script", script)
    assert status == 2 and "asks for no such file" in err


OWN_DRUG = """
[source.Mine]
citation = "Mine 2026"
[ligand.mine]
kind = "SSRI"
affinity = [{ target = "SERT", nM = 2.0, quantity = "Ki", source = "Mine", status = "published", \
species = "human", assay = "binding" }]
"""


def test_a_file_of_ones_own_drugs_is_opened_only_when_named_and_unchanged(tmp_path: Path) -> None:
    fields = {"drug": "own.toml:mine", "drugs": ("x", "other.toml:mine@Mine"), "occupancy": 0.5}
    assert own_files(fields) == ["own.toml", "other.toml"]
    drugs = tmp_path / "own.toml"
    drugs.write_text(OWN_DRUG)
    data = {"drug_files": {str(drugs): sha256(drugs.read_bytes())}}
    record = Record.model_construct(**data)
    with pytest.raises(InputError, match="read the file, then name it: --drugs"):
        rerun._check_drugs(record, [str(drugs)], None)
    rerun._check_drugs(record, [str(drugs)], drugs)
    with pytest.raises(InputError, match="drugs of a file that you give too"):
        rerun._check_drugs(record, [str(drugs), "/etc/other.toml"], drugs)
    drugs.write_text(OWN_DRUG.replace("2.0", "3.0"))
    with pytest.raises(InputError, match="this is another"):
        rerun._check_drugs(record, [str(drugs)], drugs)


def test_citations_of_ones_own_drugs_open_nothing(
    tmp_path: Path, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scenario names the file its drug came from; the record holds the numbers already."""
    monkeypatch.setattr(simulate, "figure_files", lambda simulated: {"timeseries.png": b""})
    drug = Ligand(clamped_nM=5.0, binding={"SERT": Kinetics(kd_nM=5, koff_per_s=5.0)})
    drug = drug.model_copy(update={"taken_from": f"{tmp_path}/own.toml:mine"})
    scenario = Scenario(
        grid=Grid(width=2, height=2, spacing_um=0.1), targets={"SERT": Target(sites=20)},
        ligands={"drug": drug}, run=RunSettings(duration_s=3, sample_every_s=0.5),
    )  # fmt: skip
    (tmp_path / "own.toml").write_text(OWN_DRUG)
    simulate.write(scenario, tmp_path / "out", seed=1)
    path = tmp_path / "out" / "run.json"
    assert json.loads(path.read_bytes())["papers"][0] == "Mine 2026"
    opened = list[str]()
    monkeypatch.setattr(Library, "ligand", lambda self, name: opened.append(name))
    status, out, _ = say("rerun", path)
    assert (status, opened) == (0, []), out
    assert "!" not in out, "nothing is wrong with papers that are not looked up"
