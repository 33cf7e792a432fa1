"""Runs survive: cut anywhere, killed at any instant, on a full disk."""

from __future__ import annotations

import errno
import json
import math
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scenarios import everything

from synapse_abm.core import sealed
from synapse_abm.core.arguments import check_workers
from synapse_abm.core.errors import InputError, OutputError
from synapse_abm.core.files import sha256
from synapse_abm.core.sealed import CheckpointError
from synapse_abm.runs import simulate, sweep
from synapse_abm.synapse.engine import checkpoint
from synapse_abm.synapse.engine.checkpoint import Recorded
from synapse_abm.synapse.engine.simulation import Simulation
from synapse_abm.synapse.scenario import RunSettings, Scenario

ENGINES = pytest.mark.parametrize("engine", ["compiled", "agents"])


def short(samples: int = 9, replicates: int = 1) -> Scenario:
    run = RunSettings(duration_s=0.1 * samples, sample_every_s=0.1, replicates=replicates)
    return everything().model_copy(update={"run": run})


@pytest.fixture(autouse=True)
def _plain_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files in the place of pictures, which take longer than all the rest."""
    monkeypatch.setattr(simulate, "figure_files", lambda found: {"timeseries.png": bytes(100_000)})


@pytest.fixture
def cut_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], None]:
    """Checkpoints after every record, and Ctrl-C when so many records are there (None: never)."""
    monkeypatch.setattr(simulate, "CHECKPOINT_S", -1.0)
    monkeypatch.setattr(simulate, "CHECKPOINT_SHARE", math.inf)
    real = simulate._save

    def plan(cut: int | None) -> None:
        def keep(path: Path, simulation: Simulation, recorded: Recorded) -> None:
            real(path, simulation, recorded)
            if cut is not None and len(recorded.table) == cut:
                raise KeyboardInterrupt

        monkeypatch.setattr(simulate, "_save", keep)

    return plan


def tables(found: simulate.Simulated) -> tuple[bytes, str]:
    return found.table().csv(), found.trajectory_sha256


# --- cuts -----------------------------------------------------------------------------------------


@ENGINES
def test_equal_at_every_cut_of_a_short_run(
    engine: Any, cut_at: Callable[[int | None], None], tmp_path: Path
) -> None:
    whole = tables(simulate.simulate(short(), engine=engine))
    for cut in range(1, 9):
        out = tmp_path / str(cut)
        cut_at(cut)
        with pytest.raises(sweep.Interrupted, match="the same command continues"):
            simulate.write(short(), out, engine=engine)
        assert [path.name for path in out.iterdir()] == [sweep.UNFINISHED], "nothing half-done"
        cut_at(None)
        assert tables(simulate.write(short(), out, engine=engine)) == whole
        assert not (out / sweep.UNFINISHED).exists()
        assert sha256((out / "timeseries.csv").read_bytes()) == sha256(whole[0])


def test_equal_at_random_cuts_of_a_long_run(
    cut_at: Callable[[int | None], None], tmp_path: Path
) -> None:
    scenario = short(samples=250)
    whole = tables(simulate.simulate(scenario))
    for cut in sorted(random.Random(1).sample(range(1, 250), 5)):
        cut_at(cut)
        with pytest.raises(sweep.Interrupted):
            simulate.write(scenario, tmp_path / "run")
    cut_at(None)
    assert tables(simulate.write(scenario, tmp_path / "run")) == whole


def test_a_lost_record_would_be_caught(
    cut_at: Callable[[int | None], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two planted bugs: a resume that mixes up its records, and one that forgets the way."""
    whole = tables(simulate.simulate(short()))
    real = checkpoint.load_recorded
    for bug in (lambda r: Recorded(r.table[::-1], r.digest), lambda r: Recorded(r.table, b"")):
        cut_at(5)
        with pytest.raises(sweep.Interrupted):
            simulate.write(short(), tmp_path / "run")
        cut_at(None)
        monkeypatch.setattr(checkpoint, "load_recorded", lambda path, bug=bug: bug(real(path)))
        assert tables(simulate.write(short(), tmp_path / "run")) != whole
        monkeypatch.setattr(checkpoint, "load_recorded", real)


def test_a_damaged_checkpoint_is_not_used(
    cut_at: Callable[[int | None], None], tmp_path: Path
) -> None:
    whole = tables(simulate.simulate(short()))
    cut_at(5)
    with pytest.raises(sweep.Interrupted):
        simulate.write(short(), tmp_path)
    (file,) = tmp_path.rglob("*.checkpoint")
    file.write_bytes(file.read_bytes()[:-7])
    cut_at(None)
    assert tables(simulate.write(short(), tmp_path)) == whole


@pytest.mark.parametrize("other", ["seed", "scenario"])
def test_a_checkpoint_of_something_else_is_not_used(
    other: str, cut_at: Callable[[int | None], None], tmp_path: Path
) -> None:
    """Whole, of this version, and put in the place of the run's own; the control: its own is."""
    whole, mine = tables(simulate.simulate(short())), short()
    theirs = short().model_copy(update={"dt_s": short().dt_s / 2})
    cut_at(5)
    with pytest.raises(sweep.Interrupted):
        simulate.write(mine, tmp_path / "mine")
    with pytest.raises(sweep.Interrupted):
        simulate.write(theirs if other == "scenario" else mine, tmp_path / "theirs",
                       seed=9 if other == "seed" else None)  # fmt: skip
    cut_at(None)
    (file,) = (tmp_path / "mine").rglob("*.checkpoint")
    (strange,) = (tmp_path / "theirs").rglob("*.checkpoint")
    piece = simulate.Replicate(
        mine, simulate._settings_of(mine).seed, 0, "compiled", checkpoint=file
    )
    assert len(simulate._begin(piece)[2].table) == 5
    file.write_bytes(strange.read_bytes())
    assert len(simulate._begin(piece)[2].table) == 0
    assert tables(simulate.write(mine, tmp_path / "mine")) == whole


def test_an_edited_scenario_starts_anew(
    cut_at: Callable[[int | None], None], tmp_path: Path
) -> None:
    cut_at(5)
    with pytest.raises(sweep.Interrupted):
        simulate.write(short(), tmp_path)
    cut_at(None)
    assert tables(simulate.write(short(13), tmp_path)) == tables(simulate.simulate(short(13)))


# --- damage ---------------------------------------------------------------------------------------


def written() -> bytes:
    simulation = Simulation(everything(), 3)
    series = simulation.run(20, 5)
    return checkpoint.to_bytes(simulation, Recorded(series.totals, bytes(32)))


def refused(data: bytes) -> bool:
    """Whether a checkpoint is refused in our words, not by accident further on."""
    told = ("checksum", "format", "something else")
    try:
        checkpoint.from_bytes(data, Path("x"))
    except CheckpointError as error:
        return "checkpoint 'x': " in str(error) and any(word in str(error) for word in told)
    except Exception:
        return False
    return False


def unnoticed(data: bytes, every: int = 1) -> int:
    """Truncations at every byte, and a flipped bit in every byte, that are not refused."""
    passed = 0
    for at in range(0, len(data), every):
        for changed in (data[:at], data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :]):
            passed += not refused(changed)
    return passed


def test_every_truncation_and_flipped_bit_is_refused() -> None:
    assert unnoticed(written()) == 0


def test_a_checkpoint_without_a_checksum_would_be_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealed, "_checksum", lambda body: bytes(32))
    assert unnoticed(written(), every=23) > 10


def test_what_was_recorded_comes_back() -> None:
    simulation = Simulation(everything(), 3)
    series = simulation.run(20, 5)
    bare = checkpoint.to_bytes(simulation)
    data = checkpoint.to_bytes(simulation, Recorded(series.totals, b"abc"))
    again = checkpoint.from_bytes(data, Path("x"))
    assert checkpoint.to_bytes(again) == bare


def test_a_state_without_records_is_refused_as_a_run(tmp_path: Path) -> None:
    checkpoint.save(Simulation(everything(), 3), tmp_path / "state")
    with pytest.raises(CheckpointError, match="nothing that was recorded"):
        checkpoint.load_recorded(tmp_path / "state")


# --- a full disk ----------------------------------------------------------------------------------


@pytest.mark.parametrize("writes", [0, 1, 2, 5, 14, 20])
def test_a_full_disk_leaves_nothing_half_written(
    writes: int,
    cut_at: Callable[[int | None], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Full after so many files: at the probe, at a checkpoint, at the results."""
    cut_at(None)
    real, count = os.fsync, iter(range(10_000))

    def fsync(descriptor: int) -> None:
        if next(count) >= writes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OutputError, match=r"cannot write .*: the disk is full; free some space"):
        simulate.write(short(), tmp_path / "out")
    left = [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert set(left) <= {"0.checkpoint"}
    for path in (tmp_path / "out").rglob("*.checkpoint"):
        checkpoint.load(path)
    monkeypatch.setattr(os, "fsync", real)
    assert tables(simulate.write(short(), tmp_path / "out")) == tables(simulate.simulate(short()))


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs resource limits")
def test_a_real_limit_of_size_is_explained(tmp_path: Path) -> None:
    program = (
        "import resource, sys; sys.dont_write_bytecode = True;"  # it would be cut short for good
        "from synapse_abm.runs import simulate;"
        "from synapse_abm.cli import main;"
        "from synapse_abm.synapse.engine.simulation import Simulation;"
        "from synapse_abm.synapse.scenario import Scenario;"
        "Simulation(Scenario(dt_s=1.0), 1).run(1);"  # compiled kernels are kept: larger than that
        "simulate.CHECKPOINT_S = -1.0;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000)); sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", program, "simulate", "binding", "--out", "out"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 2, ended.stderr
    assert "exceed the size limit" in ended.stderr
    assert "Traceback" not in ended.stderr
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert all(path.suffix == ".checkpoint" for path in left)
    for path in left:
        checkpoint.load(path)


# --- killed ---------------------------------------------------------------------------------------

KILLER = """
import os, random, signal, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_survival import short
from synapse_abm.runs import result_store, simulate, sweep
from synapse_abm.synapse.engine import checkpoint

simulate.CHECKPOINT_S, simulate.CHECKPOINT_SHARE, result_store._KEEP_S = 0.002, 1.0, 0.0
simulate.figure_files = lambda found: {"timeseries.png": bytes(100_000)}
scenario, kills, killed, runs = short(200, replicates=4), int(sys.argv[2]), 0, 0
whole = simulate.simulate(scenario)
tables = {table.name: table.csv() for table in simulate.result_of(whole).tables}
took = 1e9
for n in range(3):
    began = time.perf_counter()
    simulate.write(scenario, Path(f"timed{n}"), workers=2)
    took = min(took, time.perf_counter() - began)
chance = random.Random(7)
while killed < kills:
    runs += 1
    out = Path(f"run{runs}")
    while True:
        child = os.fork()
        if child == 0:
            simulate.write(scenario, out, workers=chance.choice([1, 2]))
            os._exit(0)
        time.sleep(chance.uniform(0, took))
        os.kill(child, signal.SIGKILL)
        ended = os.waitpid(child, 0)[1]
        for path in out.rglob("*"):  # whole or absent; what is hidden is never looked at
            if path.suffix == ".checkpoint":
                try:
                    checkpoint.load(path)
                except checkpoint.CheckpointError as error:
                    assert error.what.startswith("it cannot be read"), error  # just replaced
            elif path.suffix == ".csv":
                assert path.read_bytes() == tables[path.stem], path
        if ended == 0:
            break
        killed += 1
        if killed % 4 == 0 or killed == kills:
            simulate.write(scenario, out, workers=2)
            break
    for name, contents in tables.items():
        assert (out / f"{name}.csv").read_bytes() == contents, name
print(killed, runs, f"{took:.2f} s")
"""


def kill(times: int, folder: Path) -> str:
    program = [sys.executable, "-W", "ignore", "-c", KILLER, str(Path(__file__).parent), str(times)]
    ended = subprocess.run(program, cwd=folder, capture_output=True, text=True, timeout=900)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("times", [4, pytest.param(200, marks=pytest.mark.slow)])
def test_killed_at_random_instants(times: int, tmp_path: Path) -> None:
    """No half-written file, and the same final table, after so many SIGKILLs."""
    assert int(kill(times, tmp_path).split()[0]) == times


# --- refused, left out ----------------------------------------------------------------------------


def test_python_is_held_to_the_same_limits() -> None:
    """A run that would never end is refused before anything is made."""
    with pytest.raises(
        InputError, match=r"RunSettings\.duration_s = 1e\+300: allowed is .* at most 1e\+10, in s"
    ):
        RunSettings(duration_s=1e300)
    endless = short().model_copy(update={"dt_s": 1e-300})
    with pytest.raises(InputError, match=r"run\.duration = '0\.9 s'"):
        simulate.simulate_series([short(), endless])


def test_a_failed_replicate_is_left_out_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = simulate._begin

    def begin(piece: simulate.Replicate) -> Any:
        if piece.replicate == 1:
            raise FloatingPointError("planted")
        return real(piece)

    whole = simulate.simulate(short(replicates=3)).table()
    monkeypatch.setattr(simulate, "_begin", begin)
    found = simulate.write(short(replicates=3), tmp_path)
    assert set(found.table()["replicate"]) == {0, 2}
    kept = whole.to_pandas().query("replicate != 1").reset_index(drop=True)
    assert found.table().to_pandas().equals(kept)
    told = "replicate 1, seed 1: FloatingPointError: planted"
    assert json.loads((tmp_path / "run.json").read_bytes())["outcome"]["failed"] == [told]
    assert f"failed and left out: {told}" in found.notes_of_averages()
    with pytest.raises(InputError):
        check_workers(0)
