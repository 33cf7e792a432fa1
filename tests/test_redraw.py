"""Figures drawn again without computing; what decides the numbers of a script; what runs leave."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from synapse_abm.cli import main
from synapse_abm.core.files import KEPT, UNFINISHED
from synapse_abm.runs import simulate
from synapse_abm.runs.computing import script_sha256
from synapse_abm.runs.leftovers import leftovers

type Say = Callable[..., tuple[int, str, str]]

SCRIPT = '''
"""Is a mean of draws their mean?"""
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from synapse_abm import plotting as plot
from synapse_abm.runs.results import Result, Table
from synapse_abm.runs.sweep import map_tasks

COLOUR, TITLE = "tab:blue", "Draws"
SCALE = 2.0

@dataclass(frozen=True)
class Options:
    """Of its own."""

    draws: int = 3
    """How many."""

def draw(calls: str, seed: int, number: int) -> float:
    """One of them."""
    with Path(calls).open("a") as file:
        file.write("x")
    return SCALE * float(np.random.default_rng([seed, number]).random())

def run(seed, quick, progress, **options):
    tasks = [(str(Path.cwd() / "calls"), seed, n) for n in range(Options(**options).draws)]
    values = map_tasks(draw, tasks, progress=progress)
    return Result([Table("draws", {"value": values})], [], "text", "verdict", data=values)

def _axis(ax):
    ax.set_ylabel("value")

def figure(result):
    fig, (ax,) = plot.slide(title=TITLE)
    ax.plot(result.data, color=COLOUR)
    _axis(ax)
    return fig
'''
SCENARIO = """
[grid]
width = 1
height = 1
[target.SERT]
sites = 20
[ligand.drug]
clamped = "1 nM"
binding = { SERT = { kd = "1 nM", koff = "1 /s" } }
[run]
duration = "30 s"
replicates = 2
[[at]]
time = "15 s"
change = { "ligand.drug.clamped" = "3 nM" }
"""


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Say:
    monkeypatch.chdir(tmp_path)

    def give(*arguments: object) -> tuple[int, str, str]:
        status = main([str(argument) for argument in arguments])
        return status, *capsys.readouterr()

    return give


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A script of one's own that was run, in a folder."""
    folder = tmp_path_factory.mktemp("once")
    (folder / "mine.py").write_text(SCRIPT)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["run", "mine.py", "--out", "out", "--workers", "1"]) == 0
    return folder


@pytest.fixture
def script(once: Path, tmp_path: Path, say: Say) -> Path:
    """The same in the test's own folder."""
    shutil.copytree(once, tmp_path, dirs_exist_ok=True)
    assert Path("calls").read_text() == "xxx"
    return tmp_path / "mine.py"


def files(folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(folder).iterdir() if path.is_file()}


# --- redraw ---------------------------------------------------------------------------------------


def test_a_figure_is_changed_without_computing_again(script: Path, say: Say) -> None:
    before = files("out")
    script.write_text(SCRIPT.replace("tab:blue", "tab:red").replace('"value")', '"values")'))
    status, out, err = say("redraw", "out/run.json", "--script", script, "--workers", 1)
    assert (status, err) == (0, ""), err
    assert out == f"mine.png, mine.svg in out{os.sep}\n"
    assert Path("calls").read_text() == "xxx", "computed again"
    after = files("out")
    assert {name for name in before if before[name] != after[name]} == {"mine.png", "mine.svg"}
    # A record whose script only draws otherwise is run again too, and says so.
    status, out, _ = say("rerun", "out/run.json", "--script", script, "--workers", 1)
    assert status == 0
    assert "! the script was changed since, but not in what it computes" in out
    assert Path("calls").read_text() == "xxxxxx", "rerun computes"


def test_a_mistake_in_the_figure_does_not_cost_the_computation(say: Say) -> None:
    Path("mine.py").write_text(SCRIPT.replace("color=COLOUR", "color=MISSPELT"))
    with pytest.raises(NameError):
        say("run", "mine.py", "--out", "out", "--workers", 1)
    assert Path("calls").read_text() == "xxx"
    Path("mine.py").write_text(SCRIPT)
    assert say("run", "mine.py", "--out", "out", "--workers", 1)[0] == 0
    assert Path("calls").read_text() == "xxx", "computed again"
    assert not Path("out", UNFINISHED).exists()


@pytest.mark.parametrize("command", ["redraw", "rerun"])
def test_another_computation_is_refused(script: Path, say: Say, command: str) -> None:
    before = files("out")
    script.write_text(SCRIPT.replace("SCALE = 2.0", "SCALE = 3.0"))
    status, _, err = say(command, "out/run.json", "--script", script)
    assert status == 2
    assert "this is another" in err
    assert files("out") == before


def test_what_was_not_kept_is_computed_again(script: Path, say: Say) -> None:
    before = files("out")
    shutil.rmtree(Path("out", KEPT))
    assert say("redraw", "out/run.json", "--script", script, "--out", "new", "--workers", 1)[0] == 0
    assert Path("calls").read_text() == "xxxxxx"
    assert files("new")["mine.png"] == before["mine.png"]
    assert not Path("out", KEPT).exists(), "it writes figures only"


def test_kept_results_of_another_run_are_noticed(script: Path, say: Say) -> None:
    """The planted fault: results of another seed beside the record."""
    say("run", script, "--out", "other", "--seed", 9, "--workers", 1)
    shutil.rmtree(Path("out", KEPT))
    shutil.copytree(Path("other", KEPT), Path("out", KEPT))
    before = files("out")
    status, _, err = say("redraw", "out/run.json", "--script", script)
    assert (status, files("out")) == (2, before)
    assert "a record whose tables are reproduced; here draws.csv; draws.parquet differ" in err


def test_a_scenario_of_ones_own_is_rerun_and_redrawn(
    say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file may be gone: the record has all of it."""
    Path("mine.toml").write_text(SCENARIO)
    assert say("simulate", "mine.toml", "--workers", 1)[0] in (0, 1)
    Path("mine.toml").unlink()
    before = files("outputs/mine")
    status, out, _ = say("rerun", "outputs/mine/run.json", "--workers", 1)
    assert status == 0, out
    assert "!" not in out

    def refused(*_: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(simulate, "_begin", refused)
    Path("outputs/mine/timeseries.png").unlink()
    assert say("redraw", "outputs/mine/run.json", "--workers", 1)[0] == 0
    assert files("outputs/mine") == before


def test_missing_files_are_told_together(script: Path, say: Say) -> None:
    Path("out/draws.csv").unlink()
    Path("out/mine.png").unlink()
    status, out, _ = say("rerun", "out/run.json", "--script", script)
    assert status == 0
    assert "! not beside the record: draws.csv, a figure (redraw makes it)" in out


def test_files_of_ones_own_that_a_record_asks_for_are_told_together(script: Path, say: Say) -> None:
    from synapse_abm.runs.results import signed

    record = json.loads(Path("out/run.json").read_bytes())
    record["drug_files"] = {"drugs.toml": "0" * 64}
    Path("out/run.json").write_text(json.dumps(signed(record)))
    status, _, err = say("redraw", "out/run.json")
    assert status == 2
    assert "(mine.py then), and name it: --script FILE" in err
    assert "--drugs drugs.toml" in err


def test_all_that_an_experiment_lacks_is_told(say: Say) -> None:
    Path("empty.py").write_text("x = 1\n")
    status, _, err = say("run", "empty.py")
    assert status == 2
    assert "add run() and figure()" in err


# --- what computes --------------------------------------------------------------------------------

DRAWING = [
    ("tab:blue", "tab:red"), ('"Draws"', '"Other"'), ('"value")', '"v")'), ("_axis", "_labels"),
    ('"""One of them."""', '"""Another word."""'), ("SCALE = 2.0", "SCALE = 2.0  # why"),
    ('"""How many."""', '"""Number."""'), ("plotting as plot", "plotting as plot  # ours"),
    ("ax.plot(result.data,", "ax.plot([x + 1 for x in result.data],"),
]  # fmt: skip
COMPUTING = [
    ("SCALE = 2.0", "SCALE = 2.5"), ("draws: int = 3", "draws: int = 4"),
    ("import numpy as np", "import other as np"), (".random())", ".normal())"),
    ('{"value"', '{"v"'), ("range(Options", "range(1, Options"),
    ("def _axis(ax):", "np.random.seed(1)\n\ndef _axis(ax):"),  # acts when it is loaded
    ("SCALE *", "SCALE * len(TITLE) *"),  # what was drawing's alone is so no more
    ("def figure(", "def draw(*_):\n    return 0.0\n\ndef figure("),  # defined again
]  # fmt: skip


@pytest.mark.parametrize(("was", "now"), DRAWING)
def test_what_only_draws_or_tells_does_not_count(was: str, now: str) -> None:
    assert was in SCRIPT
    assert script_sha256(SCRIPT.replace(was, now).encode()) == script_sha256(SCRIPT.encode())


@pytest.mark.parametrize(("was", "now"), COMPUTING)
def test_what_computes_counts(was: str, now: str) -> None:
    assert was in SCRIPT
    assert script_sha256(SCRIPT.replace(was, now).encode()) != script_sha256(SCRIPT.encode())


# --- what runs leave ------------------------------------------------------------------------------


def test_unfinished_parts_are_told_and_removed(script: Path, say: Say) -> None:
    old = Path("out", UNFINISHED, "0123456789abcdef01234567")
    old.mkdir(parents=True)
    (old / "1-0123456789abcdef.results").write_bytes(bytes(2_000_000))
    then = time.time() - 3 * 86400
    os.utime(old / "1-0123456789abcdef.results", (then, then))
    status, out, err = say("run", script, "--out", "out", "--workers", 1)
    assert status == 0
    assert f"! an unfinished run, 2.0 MB, 3 days old, in {old}" in err
    assert "synapse-abm clean out --remove" in err
    status, out, _ = say("clean", ".")
    assert (status, old.exists()) == (0, True), "told, not removed"
    assert re.search(r"an unfinished run.*\nsynapse-abm clean \. --remove removes them", out)
    assert KEPT not in out
    status, out, _ = say("clean", "out", "--remove")
    assert (status, Path("out", UNFINISHED).exists()) == (0, False)
    assert Path("out", KEPT).exists()
    assert say("clean", ".")[1] == "nothing is left unfinished in .\n"
    assert say("clean", ".", "--kept", "--remove")[0] == 0
    assert not Path("out", KEPT).exists()
    assert Path("out/run.json").exists()


def test_only_what_runs_left_is_removed(tmp_path: Path) -> None:
    for name in ("photos", "0123456789abcdef01234567"):
        (tmp_path / UNFINISHED / name).mkdir(parents=True)
        (tmp_path / UNFINISHED / name / "holiday.jpg").write_bytes(b"x")
    assert leftovers(tmp_path) == []


def test_cleaning_a_folder_that_is_not_there(say: Say) -> None:
    status, _, err = say("clean", "nowhere")
    assert status == 2
    assert "an existing folder" in err
