"""The command line: what it does with an experiment, and what it says to wrong input."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

import synapse_abm
from synapse_abm.cli import main
from synapse_abm.core.arguments import check_seed
from synapse_abm.core.errors import InputError, InputErrors, UnknownName, raise_faults
from synapse_abm.core.progress import bar
from synapse_abm.runs import experiment
from synapse_abm.runs.experiment import find, perform
from synapse_abm.scenarios import scenarios

DEMO = '''"""How many of ten seats does the drug take?

Method: count. Expected: all of them. Run time: none.
"""

from dataclasses import dataclass

from matplotlib.figure import Figure

from synapse_abm.core.errors import InputError, UnknownName
from synapse_abm.runs.results import Check, Result, Table


@dataclass(frozen=True)
class Options:
    drug: str = "paroxetine"
    """The drug, by name."""
    seats: int = 10
    """Number of seats."""
    mistake: int = 0
    """How many to lose."""


def run(seed, quick, progress, drug="paroxetine", seats=10, mistake=0):
    if drug not in ("paroxetine", "citalopram"):
        raise UnknownName("--drug", drug, ["paroxetine", "citalopram"])
    if seats < 1:
        raise InputError("--seats", seats, "a whole number > 0", "use 10")
    if drug == "citalopram":
        raise KeyboardInterrupt
    taken = sum(1 for _ in progress(range(seats - mistake), label="seats"))
    check = Check.against("taken", "exact", taken, 0.0, seats, source="counting", z_limit=0.0)
    table = Table("demo", {"seed": [seed], "taken": [taken], "quick": [quick]})
    return Result([table], [check], f"taken {taken}", "The seats are taken.", {"seats": seats})


def figure(result):
    figure = Figure(figsize=(2, 2))
    figure.subplots().plot([0, result["demo"]["taken"][0]])
    return figure


if __name__ == "__main__":
    from synapse_abm.cli import run_script

    run_script(__file__)
'''

Say = Callable[..., tuple[int, str, str]]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, with the experiment ``demo`` the only one there is."""
    folder = tmp_path / "experiments"
    folder.mkdir()
    (folder / "demo.py").write_text(DEMO)
    (folder / "_helper.py").write_text("")
    monkeypatch.setattr(experiment, "experiments_folder", lambda: folder)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


@pytest.fixture
def say(home: Path, capsys: pytest.CaptureFixture[str]) -> Say:
    """Give a command; its status, output and complaints."""

    def give(*arguments: str) -> tuple[int, str, str]:
        status = main(arguments)
        return status, *capsys.readouterr()

    return give


def everything(folder: Path) -> list[str]:
    paths = (path.relative_to(folder) for path in folder.rglob("*"))
    return sorted(str(path) for path in paths if ".kept" not in path.parts)


# --- right input ---------------------------------------------------------------------------------


def test_list_shows_names_and_questions(say: Say) -> None:
    status, out, err = say("list")
    assert (status, err) == (0, "")
    lines = [line.strip() for line in out.splitlines()]
    assert re.fullmatch(r"demo +How many of ten seats does the drug take\?", lines[1])
    assert [line.split()[0] for line in lines[3:]] == sorted(scenarios())
    assert all(line.endswith(".") for line in lines[3:]), "whole sentences"


def test_run_leaves_figure_tables_and_record(say: Say, home: Path) -> None:
    status, out, err = say("run", "demo", "--seats", "7", "--seed", "3", "--quick")
    assert (status, err) == (0, "")
    assert out.startswith("taken 7\n\nThe seats are taken.\n")
    folder = home / "outputs" / "demo"
    assert everything(folder) == ["demo.csv", "demo.parquet", "demo.png", "demo.svg", "run.json"]
    assert (folder / "demo.csv").read_text() == "seed,taken,quick\n3,7,True\n"
    record = json.loads((folder / "run.json").read_bytes())
    assert record["experiment"] == "demo"
    assert record["seed"] == 3
    assert record["command"] == "synapse-abm run demo --seats 7 --seed 3 --quick"
    assert record["options"] == {"quick": True, "drug": "paroxetine", "seats": 7, "mistake": 0}
    assert record["checks"][0]["passed"] is True
    digest = hashlib.sha256((folder / "demo.csv").read_bytes()).hexdigest()
    assert record["table_sha256"]["demo.csv"] == digest
    assert set(record["table_sha256"]) == {"demo.csv", "demo.parquet"}


def test_the_same_command_gives_the_same_tables(say: Say, home: Path) -> None:
    assert say("run", "demo", "--out", "a")[0] == say("run", "--out=b", "demo")[0] == 0
    for name in ("demo.csv", "demo.parquet", "demo.png"):
        assert (home / "a" / name).read_bytes() == (home / "b" / name).read_bytes()
    for folder in "ab":
        assert json.loads((home / folder / "run.json").read_bytes())["command"].endswith("run demo")


def test_a_record_of_an_experiment_without_options_is_run_again(say: Say, home: Path) -> None:
    begin, end = DEMO.index("@dataclass"), DEMO.index("def run")
    plain = DEMO[:begin] + "drug, seats, mistake = 'paroxetine', 10, 0\n\n\n" + DEMO[end:]
    plain = plain.replace(', drug="paroxetine", seats=10, mistake=0', "")
    (home.parent / "experiments" / "demo.py").write_text(plain)
    assert say("run", "demo")[0] == 0
    status, out, _ = say("rerun", "outputs/demo/run.json")
    assert status == 0
    assert "reproduced, byte for byte" in out


def test_the_name_may_follow_the_options(say: Say, home: Path) -> None:
    assert say("run", "--out", "demo", "--drug", "paroxetine", "demo")[0] == 0
    assert (home / "demo" / "run.json").exists()


def test_help_of_an_experiment_shows_its_options(say: Say) -> None:
    status, out, _ = say("run", "demo", "--help")
    assert status == 0
    assert "--drug" in out
    assert "The drug, by name." in out
    assert "NAME" in out.splitlines()[0]


def test_help_of_an_experiment_tells_what_it_asks(say: Say, home: Path) -> None:
    """And nothing is made of a question where a file has none."""
    assert f"demo: {experiment.find('demo').summary}" in say("run", "demo", "--help")[1]
    path = home.parent / "experiments" / "demo.py"
    text = path.read_text()
    summary = experiment.find("demo").summary
    asked = f"{summary}\n\nQuestion\n    Is it so?\n    Or not?\nMethod\n    By trying.\n"
    path.write_text(text.replace(summary, asked, 1))
    out = say("run", "demo", "-h")[1]
    assert "Is it so? Or not?" in out
    assert "By trying" not in out


def test_a_failed_exact_check_is_status_1_and_is_kept(say: Say, home: Path) -> None:
    status, out, _ = say("run", "demo", "--mistake", "1")
    assert status == 1
    assert "FAILED: taken = 9, expected 10" in out
    assert json.loads(Path("outputs/demo/run.json").read_bytes())["checks"][0]["passed"] is False


def test_a_script_is_the_same_command(home: Path) -> None:
    script = home.parent / "experiments" / "demo.py"
    ended = subprocess.run(
        [sys.executable, str(script), "--seats", "3"], capture_output=True, text=True, timeout=60
    )
    assert (ended.returncode, ended.stderr) == (0, ""), "no progress bar but on a terminal"
    record = json.loads((home / "outputs" / "demo" / "run.json").read_bytes())
    assert record["command"] == "synapse-abm run demo --seats 3"


def test_experiments_run_from_python(home: Path) -> None:
    result = perform(find("demo"), out=Path("x"), seed=5)
    assert result["demo"]["seed"] == [5]
    assert "run.json" in everything(Path("x"))


def test_version(say: Say) -> None:
    from synapse_abm import __version__

    assert say("--version") == (0, f"synapse-abm {__version__}\n", "")


@pytest.mark.skipif(os.name == "nt", reason="needs a pseudo-terminal")
@pytest.mark.parametrize(("pause_s", "shown"), [(0.4, True), (0.0, False)])
def test_a_bar_shows_on_a_terminal_if_it_takes_over_a_second(pause_s: float, shown: bool) -> None:
    """The pseudo-terminal here reports no size, as some containers do."""
    import pty

    program = (
        "import time; from synapse_abm.core.progress import bar\n"
        f"for _ in bar(range(4), label='seats'): time.sleep({pause_s})"
    )
    leader, follower = pty.openpty()
    with os.fdopen(leader, "rb", buffering=0) as screen:
        with os.fdopen(follower, "wb") as terminal:
            subprocess.run([sys.executable, "-c", program], stderr=terminal, check=True, timeout=60)
            terminal.write(b"end")
        assert (b"seats: " in screen.read(100_000)) == shown


SHORT = """# A test.
[target.SERT]
sites = 4
[ligand.drug]
count = 3
diffusion = "1 um^2/s"
binding.SERT = { kd = "1 nM", koff = "1 /s" }
[grid]
width = 3
height = 2
[run]
duration = "2 s"
sample_every = "100 ms"
"""


def test_simulate_leaves_figure_tables_and_record(say: Say, home: Path) -> None:
    Path("mine.toml").write_text(SHORT)
    status, out, err = say("simulate", "mine.toml", "--seed", "6", "--json", "mine.json")
    assert (status, err) == (0, "")
    assert "theory of SERT, drug: rate equations" in out, "without a burn-in it is a course"
    names = [f"timeseries.{kind}" for kind in ("csv", "parquet", "png", "svg")]
    course = ["course.csv", "course.parquet"]
    assert everything(home / "outputs" / "mine") == [*course, "run.json", *names]
    head = (home / "outputs" / "mine" / "timeseries.csv").read_text().splitlines()[0]
    assert head == "replicate,time_s,occupancy_SERT_drug,free_drug"
    found = json.loads(Path("mine.json").read_bytes())
    assert {"seed", "engine", "dt_s", "occupancy", "free", "flux", "trajectory_sha256"} < {*found}
    assert {*found["occupancy"]["SERT"]["drug"]} == {"mean", "se", "exact", "formula"}
    record = json.loads((home / "outputs" / "mine" / "run.json").read_bytes())
    assert record["command"] == "synapse-abm simulate mine.toml --seed 6"


def test_the_run_of_another_scenario_is_not_lost_without_a_word(say: Say, home: Path) -> None:
    Path("binding.toml").write_text(SHORT)
    assert say("simulate", "binding.toml")[::2] == (0, "")
    record = home / "outputs" / "binding" / "run.json"
    first = record.read_bytes()
    status, _, err = say("simulate", "binding")
    assert (status, record.read_bytes()) == (2, first), "the ready-made one of that name is another"
    assert "has that of 'simulate binding.toml'" in err and "--out DIR" in err
    Path("a").mkdir()
    Path("a", "binding.toml").write_text(SHORT.replace("sites = 4", "sites = 5"))
    assert say("simulate", "a/binding.toml")[0] == 2, "a file of that name elsewhere is another"
    assert say("simulate", "./binding.toml", "--seed", "2")[::2] == (0, ""), "the same scenario"
    Path("binding.toml").write_text(SHORT.replace("sites = 4", "sites = 5"))
    status, _, err = say("simulate", "binding.toml")
    assert status == 0, "an edited file may be run again"
    assert "replaces the run of another version of binding.toml in outputs/binding/" in err
    assert say("run", "demo", "--out", "outputs/binding")[0] == 0
    assert "has that of 'run demo'" in say("simulate", "binding.toml")[2]


def test_simulate_gives_the_same_trajectory_on_both_engines(say: Say) -> None:
    Path("mine.toml").write_text(SHORT)
    for engine in ("compiled", "agents"):
        run = (
            "simulate",
            "mine.toml",
            "--engine",
            engine,
            "--json",
            engine,
            "--out",
            f"o-{engine}",
        )
        status, out, _ = say(*run)
        assert status == 0
        assert f", {engine} engine" in out, "what is told beforehand is what was asked for"
    for kind in ("csv", "parquet", "png", "svg"):
        files = [Path(f"o-{each}", f"timeseries.{kind}") for each in ("compiled", "agents")]
        assert files[0].read_bytes() == files[1].read_bytes(), "figures too"
    fast, plain = (json.loads(Path(e).read_bytes()) for e in ("compiled", "agents"))
    assert (fast.pop("engine"), plain.pop("engine")) == ("compiled", "agents")
    assert fast == plain
    assert say("simulate", "mine.toml", "--seed", "2", "--json", "other")[0] == 0
    other = json.loads(Path("other").read_bytes())
    assert other["trajectory_sha256"] != fast["trajectory_sha256"]


# --- wrong input ---------------------------------------------------------------------------------

WRONG = {
    "a dash for a name": (["run", "-1"], ["experiment = '-1'"]),
    "unknown experiment": (["run", "demmo"], ["experiment = 'demmo'", "did you mean demo?"]),
    "no such file": (["run", "x/demo.py"], ["x/demo.py", "check the path"]),
    "unknown drug": (["run", "demo", "--drug", "Paroxetin"], ["one of", "mean paroxetine?"]),
    "refused option": (["run", "demo", "--seats", "0"], ["--seats = 0", "> 0", "use 10"]),
    "not a number": (["run", "demo", "--seats", "many"], ["--seats", "many"]),
    "fractional seed": (["run", "demo", "--seed", "1.5"], ["--seed = '1.5'", "whole number"]),
    "negative seed": (["run", "demo", "--seed", "-1"], ["--seed = '-1'", "from 0 to 1844674"]),
    "large seed": (["run", "demo", "--seed", str(2**64)], ["18446744073709551616", "whole number"]),
    "wordy seed": (["run", "demo", "--seed", "nan"], ["--seed = 'nan'", "whole number"]),
    "no seed": (["run", "demo", "--seed"], ["--seed"]),
    "unknown option": (["run", "demo", "--drg", "x"], ["--drg", "--drug"]),
    "another command's option": (
        ["run", "demo", "--html", "x", "--fresh"],
        ["2 inputs", "option of demo = '--html'", "one of its own, --drug, --", "'--fresh'"],
    ),
    "no name": (["run"], ["NAME"]),
    "unknown command": (["rnu"], ["rnu", "run"]),
    "nothing": ([], ["list", "run"]),
    "folder is a file": (["run", "demo", "--out", "f"], ["cannot write", "a file of that name"]),
    "folder in a file": (["run", "demo", "--out", "f/x"], ["cannot write", "choose another place"]),
    "no cases": (["validate", "--cases", "nowhere.json"], ["--cases", "nowhere.json"]),
    "no scenario": (["simulate", "bindin"], ["scenario = 'bindin'", "did you mean binding?"]),
    "no scenario file": (["simulate", "x/y.toml"], ["x/y.toml", "check the path"]),
    "empty scenario": (["simulate", "./f"], ["scenario = 'f'", "valid TOML"]),
    "accuracy": (["simulate", "depletion", "--accuracy", "0%"], ["--accuracy = '0%'", "above 0 %"]),
    "accuracy without a sign": (
        ["simulate", "depletion", "--accuracy", "1"],
        ["--accuracy = '1'", "write '1 %'"],
    ),
    "equilibrium of what is driven": (
        ["simulate", "release", "--accuracy", "equilibrium"],
        ["run.accuracy = 'equilibrium'", "this scenario is driven"],
    ),
    "scenario's seed": (["simulate", "binding", "--seed", "-1"], ["--seed = '-1'"]),
    "engine": (
        ["simulate", "binding", "--engine", "agnts"],
        ["--engine = 'agnts'", "mean agents?"],
    ),
    "all of it": (
        ["simulate", "bindin", "--engine", "x", "--seed", "-1", "--workers", "0"],
        ["4 inputs", "--engine = 'x'", "--seed", "--workers", "scenario = 'bindin'"],
    ),
    "two seeds": (["validate", "--fresh", "--seed", "1"], ["--seed", "--fresh"]),
    "no workers": (["run", "demo", "--workers", "0"], ["--workers = '0'", "from 1 to 256"]),
    "fewer workers": (["run", "demo", "--workers", "-1"], ["--workers"]),
    "half a worker": (["simulate", "binding", "--workers", "2.5"], ["--workers = '2.5'"]),
    "wordy workers": (["simulate", "binding", "--workers", "many"], ["--workers = 'many'"]),
    "too many workers": (["run", "demo", "--workers", "10000"], ["'10000'", "number of cores"]),
    "no record": (["rerun", "nowhere.json"], ["nowhere.json", "check the path"]),
    "not a record": (["rerun", "f"], ["record = 'f'", "not JSON"]),
    "no folder": (["bench", "--json", "nowhere/x.json"], ["nowhere/x.json", "no such folder"]),
}


@pytest.mark.parametrize(("arguments", "told"), WRONG.values(), ids=WRONG)
def test_wrong_input_is_explained(
    say: Say, home: Path, arguments: list[str], told: list[str]
) -> None:
    Path("f").write_text("in the way")
    status, out, err = say(*arguments)
    assert (status, out) == (2, "")
    for words in told:
        assert words in err
    assert "Traceback" not in err
    assert everything(home) == ["f"], "nothing is left behind"


def test_a_full_disk_is_explained(say: Say, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    status, _, err = say("run", "demo")
    assert status == 2
    assert "the disk is full" in err
    assert everything(home) == []


def test_ctrl_c_is_short_and_clean(say: Say, home: Path) -> None:
    status, out, err = say("run", "demo", "--drug", "citalopram")
    assert (status, out) == (130, "")
    assert err.strip() == "synapse-abm: interrupted; nothing unfinished was kept"
    assert everything(home) == []


def test_an_incomplete_experiment_is_explained(say: Say, home: Path) -> None:
    Path("mine.py").write_text('"""Nothing yet."""\ndef run(seed, quick, progress): ...\n')
    status, _, err = say("run", "mine.py")
    assert status == 2
    assert "add figure()" in err


def test_a_reader_that_goes_away_is_no_error(home: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as nowhere:
        ended = subprocess.run(
            [sys.executable, "-m", "synapse_abm", "--version"],
            stdout=nowhere,
            stderr=subprocess.PIPE,
            timeout=60,
        )
    assert (ended.returncode, ended.stderr) == (141, b"")


# --- validate and bench: their functions are tested elsewhere -------------------------------------


class FakeReport:
    def __init__(self, failed: bool) -> None:
        self.failed = failed

    def text(self) -> str:
        return "a table"

    def record(self) -> dict[str, object]:
        return {"false_alarm": 1e-6, "cases": []}


@pytest.mark.parametrize(("failed", "status"), [(False, 0), (True, 1)])
def test_validate_passes_its_input_on(
    say: Say, monkeypatch: pytest.MonkeyPatch, failed: bool, status: int
) -> None:
    given: dict[str, object] = {}

    def validate(**arguments: object) -> FakeReport:
        given.update(arguments)
        return FakeReport(failed)

    fake = ModuleType("synapse_abm.validation")
    fake.validate = validate  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "synapse_abm.validation", fake)
    # Where another test has imported the real one, the package holds it too.
    monkeypatch.setattr(synapse_abm, "validation", fake, raising=False)
    Path("cases.json").write_text("{}")
    ended = say("validate", "--cases", "cases.json", "--seed", "7", "--json", "verdicts.json")
    assert ended == (status, "a table\n", "")
    assert given.pop("announce")  # a function that tells how long it will take
    assert given == {
        "cases": Path("cases.json"), "seed": 7, "progress": bar,
        "planted": False, "thorough": False,
    }  # fmt: skip
    assert json.loads(Path("verdicts.json").read_bytes()) == {"false_alarm": 1e-6, "cases": []}

    assert say("validate", "--fresh")[2] == f"seed {given['seed']}\n"


# --- errors and seeds ----------------------------------------------------------------------------


def test_seeds_are_whole_numbers_of_64_bits() -> None:
    import numpy as np

    good: list[object] = [0, 2**64 - 1, "0", str(2**64 - 1), np.uint64(7)]
    assert [check_seed(seed) for seed in good] == [0, 2**64 - 1, 0, 2**64 - 1, 7]
    bad: list[object] = [-1, 2**64, 1.0, True, None, "", " 1", "+1", "1e3", "٣", "9" * 5000]
    for seed in bad:
        with pytest.raises(InputError, match="whole number from 0 to 18446744073709551615"):
            check_seed(seed)


def test_input_errors_name_value_allowed_and_fix() -> None:
    error = InputError("concentration_nM", -1.0, "a number >= 0, in nM", "leave out the minus")
    assert str(error) == (
        "concentration_nM = -1.0: allowed is a number >= 0, in nM; leave out the minus"
    )
    assert isinstance(error, ValueError)
    assert len(str(InputError("x", "y" * 10_000, "less"))) < 200


def test_unknown_names_offer_the_nearest() -> None:
    error = UnknownName("drug", "PAROXETIN", ["paroxetine", "fluoxetine", "citalopram"])
    assert error.nearest[0] == "paroxetine"
    assert str(error).endswith("did you mean paroxetine or fluoxetine?")
    assert UnknownName("drug", "xyz", ["paroxetine"]).nearest == ()


def test_several_faults_are_told_together() -> None:
    one, two = InputError("a", 1, "> 1"), UnknownName("b", "x", ["y"])
    raise_faults([])
    with pytest.raises(InputError, match=r"a = 1"):
        raise_faults([one])
    with pytest.raises(InputErrors, match=r"2 inputs cannot be used:\n  - a = 1.*\n  - b = 'x'"):
        raise_faults([one, two])


@pytest.mark.parametrize(
    "error",
    [
        InputError("a", 1, "> 1", "use 2"),
        UnknownName("drug", "x", ["y", "z"]),
        InputErrors([InputError("a", 1, "> 1"), UnknownName("b", "x", ["y"])]),
    ],
)
def test_errors_survive_a_trip_between_processes(error: Exception) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (type(error), str(error))
