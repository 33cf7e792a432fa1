"""Tasks on many processes: the same results, whatever happens to the workers."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synapse_abm.core import sealed
from synapse_abm.core.arguments import all_cores, check_workers
from synapse_abm.core.errors import InputError, OutputError
from synapse_abm.core.rng import Stream, molecule_words
from synapse_abm.core.sealed import CheckpointError
from synapse_abm.runs import result_store, sweep
from synapse_abm.runs import workers as processes
from synapse_abm.runs.experiment import find, perform
from synapse_abm.runs.simulate import simulate_series
from synapse_abm.runs.sweep import (
    Cache,
    Failure,
    Interrupted,
    TasksFailed,
    map_tasks,
)
from synapse_abm.synapse.scenario import RunSettings

STARTS = pytest.mark.parametrize("fork", [True, False], ids=["fork", "spawn"])


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers from the first task, and everything kept at once."""
    monkeypatch.setattr(processes, "_HEAD_START_S", 0.0)
    monkeypatch.setattr(result_store, "_KEEP_S", 0.0)


def start(monkeypatch: pytest.MonkeyPatch, fork: bool) -> None:
    if fork and sys.platform != "linux":
        pytest.skip("only Linux copies processes")
    monkeypatch.setattr(processes, "_can_fork", lambda: fork)


# --- tasks: functions that workers can find ------------------------------------------------------

_calls = itertools.count()


def addressed(seed: int, replicate: int) -> int:
    """A random number with an address of its own."""
    return int(molecule_words(seed, replicate, 0, Stream.HOP, 0, np.zeros(1, np.uint64))[0])


def by_worker(seed: int, replicate: int) -> int:
    """A planted bug: random numbers in the order in which this process comes to need them."""
    return next(_calls)


def noted(log: str, seed: int, replicate: int) -> int:
    with open(log, "a") as file:
        file.write(f"{replicate}\n")
    return replicate**2


def killed_once(folder: str, replicate: int) -> int:
    mark = Path(folder) / str(replicate)
    if replicate in (2, 7) and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return replicate**2


def deadly(replicate: int) -> int:
    if replicate == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return replicate**2


def deadly_beside(folder: str, replicate: int) -> int:
    """The first kills its worker as soon as the second has begun, or waits for it no longer."""
    begun = Path(folder) / "begun"
    if replicate == 3:
        before, until = len(begun.read_text()) if begun.exists() else 0, time.monotonic() + 1
        while time.monotonic() < until:
            if begun.exists() and len(begun.read_text()) > before:
                break
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGKILL)
    with begun.open("a") as file:
        file.write("x")
    time.sleep(0.2)
    return replicate**2


def alive(pid_file: Path) -> bool:
    """Whether a process is there, and not merely waiting for somebody to note its end."""
    try:
        state = Path(f"/proc/{pid_file.stem}/stat").read_text()
    except OSError:
        return False
    return state.rpartition(")")[2].split()[0] != "Z"


def slow_ticks(replicate: int) -> int:
    for done in range(1, 6):
        time.sleep(0.1)
        sweep.tell(done)
    return replicate


def faulty(replicate: int) -> int:
    if replicate in (1, 4):
        raise RuntimeError(f"no luck with {replicate}")
    return replicate**2


def without_disk(replicate: int) -> int:
    raise OutputError("there", "the disk is full", "free some space")


def interrupted_at(log: str, limit: int, replicate: int) -> int:
    if replicate == limit:
        raise KeyboardInterrupt
    return noted(log, 0, replicate)


def unsendable(replicate: int) -> Any:
    return lambda: replicate


# --- the same results for any number of workers ---------------------------------------------------


@STARTS
def test_the_number_of_workers_changes_nothing(monkeypatch: pytest.MonkeyPatch, fork: bool) -> None:
    start(monkeypatch, fork)
    tasks = [(11, replicate) for replicate in range(30)]
    alone = map_tasks(addressed, tasks)
    assert len(set(alone)) == 30
    for workers in (1, 2, 5) if fork else (2,):
        with sweep.using(workers):
            assert map_tasks(addressed, tasks) == alone


def test_any_executor_will_do() -> None:
    tasks = [(11, replicate) for replicate in range(40)]
    alone = map_tasks(addressed, tasks)
    with ThreadPoolExecutor(3) as executor, sweep.using(3, executor=executor):
        assert map_tasks(addressed, tasks) == alone
        found = sweep.outcomes(faulty, [(n,) for n in range(6)])
        assert [n for n, x in enumerate(found) if isinstance(x, Failure)] == [1, 4]
        with pytest.raises(OutputError):
            map_tasks(without_disk, [(1,)])
        assert executor.submit(int, "7").result() == 7, "left running"


def test_an_executor_of_ones_own_that_breaks_is_told() -> None:
    with (
        ProcessPoolExecutor(1) as executor,
        sweep.using(2, executor=executor),
        pytest.raises(BrokenExecutor),
    ):
        map_tasks(deadly, [(n,) for n in range(8)])


def test_a_stream_that_depends_on_the_worker_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison above can fail: it does with random numbers taken in order of need."""
    start(monkeypatch, True)
    tasks = [(11, replicate) for replicate in range(30)]
    found = []
    for workers in (1, 3):
        monkeypatch.setattr(sys.modules[__name__], "_calls", itertools.count())
        with sweep.using(workers):
            found.append(map_tasks(by_worker, tasks))
    assert found[0] == list(range(30))
    assert found[0] != found[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["selectivity", "saturation"])
def test_experiments_give_the_same_bytes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(monkeypatch, True)
    one, two = (
        perform(find(name), out=tmp_path / str(workers), quick=True, workers=workers)
        for workers in (1, 2)
    )
    assert one.table_files() == two.table_files()
    assert {path.name for path in (tmp_path / "2").iterdir()} >= {"run.json", f"{name}.csv"}
    assert not (tmp_path / "2" / sweep.UNFINISHED).exists()


def test_an_experiment_runs_on_fresh_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its module has no package: a worker that does not copy this process finds it by its file."""
    start(monkeypatch, False)
    two = perform(find("selectivity"), out=tmp_path, quick=True, workers=2)
    one = find("selectivity").load().run(seed=1, quick=True, progress=lambda x, **_: x)
    assert one.table_files() == two.table_files()


def test_a_series_of_scenarios(monkeypatch: pytest.MonkeyPatch) -> None:
    from scenarios import everything

    start(monkeypatch, True)
    run = RunSettings(duration_s=1.0, sample_every_s=0.1, replicates=3)
    scenarios = [everything().model_copy(update={"run": run}) for _ in range(2)]
    one, many = (simulate_series(scenarios, seed=5, workers=workers) for workers in (1, 3))
    assert [each.table().csv() for each in one] == [each.table().csv() for each in many]
    assert [x.trajectory_sha256 for x in one] == [x.trajectory_sha256 for x in many]
    assert one[0].trajectory_sha256 != one[1].trajectory_sha256, "independent streams"


# --- what may happen to a worker, and to a task --------------------------------------------------


@STARTS
def test_a_killed_worker_loses_nothing(
    monkeypatch: pytest.MonkeyPatch, fork: bool, tmp_path: Path
) -> None:
    start(monkeypatch, fork)
    with sweep.using(2):
        found = map_tasks(killed_once, [(str(tmp_path), n) for n in range(10)])
    assert found == [n**2 for n in range(10)]
    assert {path.name for path in tmp_path.iterdir()} == {"2", "7"}, "two workers were killed"


def test_a_task_that_kills_its_workers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    start(monkeypatch, True)
    with sweep.using(2):
        found = sweep.outcomes(deadly, [(n,) for n in range(8)])
    assert [x for x in found if not isinstance(x, Failure)] == [0, 1, 4, 16, 25, 36, 49]
    assert isinstance(found[3], Failure)
    assert str(found[3]) == "task 3: its worker was killed 3 times"


def test_who_works_beside_it_is_not_given_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Two are out whenever one of them kills its worker, and the pool with it."""
    start(monkeypatch, True)
    with sweep.using(2):
        found = sweep.outcomes(deadly_beside, [(str(tmp_path), n) for n in (3, 5)])
    assert isinstance(found[0], Failure) and found[1] == 25
    assert len((tmp_path / "begun").read_text()) >= 3, "the control: it was often beside it"


@pytest.mark.skipif(os.name == "nt", reason="needs signals")
def test_a_run_that_is_ended_early_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW.replace("sleep(0.05)", "sleep(60)"))
    command = [sys.executable, "-m", "synapse_abm", "run", "slow.py", "--workers", "2"]
    running = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while not (tmp_path / "outputs" / "slow").exists() and time.monotonic() < until:
        time.sleep(0.01)
    running.terminate()
    _, err = running.communicate(timeout=60)
    assert running.returncode == 143
    assert err.strip() == "synapse-abm: interrupted; nothing unfinished was kept"
    assert not (tmp_path / "outputs").exists()


@pytest.mark.skipif(os.name == "nt", reason="needs signals")
@STARTS
def test_workers_end_with_their_parent(fork: bool, tmp_path: Path) -> None:
    """Killed outright, it can tell nobody; workers in the middle of a task end all the same."""
    (tmp_path / "endless.py").write_text(ENDLESS)
    program = (
        "import endless; from synapse_abm.runs import sweep, workers\n"
        f"workers._HEAD_START_S, workers._can_fork = 0.0, lambda: {fork}\n"
        "if __name__ == '__main__':\n"
        "    with sweep.using(2): sweep.map_tasks(endless.task, [(n,) for n in range(4)])\n"
    )
    (tmp_path / "start.py").write_text(program)
    parent = subprocess.Popen([sys.executable, "start.py"], cwd=tmp_path)
    until = time.monotonic() + 60
    while len(pids := list(tmp_path.glob("*.pid"))) < 2 and time.monotonic() < until:
        time.sleep(0.02)
    parent.kill()
    parent.wait()
    while any(map(alive, pids)) and time.monotonic() < until:
        time.sleep(0.02)
    assert len(pids) == 2 and not any(map(alive, pids))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failing_task_is_recorded_and_the_rest_is_finished(
    workers: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    start(monkeypatch, True)
    names = [f"replicate {n}, seed 9" for n in range(6)]
    tasks = [(n,) for n in range(6)]
    with (
        pytest.raises(TasksFailed) as caught,
        sweep.using(workers, Cache(tmp_path, "x")),
    ):
        map_tasks(faulty, tasks, names=names)
    assert [each.name for each in caught.value.failures] == [names[1], names[4]]
    assert "replicate 1, seed 9: RuntimeError: no luck with 1" in str(caught.value)
    assert "raise RuntimeError" in caught.value.failures[0].details
    assert set(Cache(tmp_path, "x").new_series(faulty).load(6)) == {0, 2, 3, 5}, "the rest is kept"


@pytest.mark.parametrize("workers", [1, 2])
def test_what_the_user_can_put_right_ends_it_at_once(
    workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(monkeypatch, True)
    with pytest.raises(OutputError, match="the disk is full"), sweep.using(workers):
        map_tasks(without_disk, [(n,) for n in range(4)])


def test_a_result_that_cannot_travel_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    start(monkeypatch, True)
    with sweep.using(2):
        found = sweep.outcomes(unsendable, [(1,), (2,)])
    assert ["cannot be passed on" in str(each) for each in found] == [True, True]


# --- continuing -----------------------------------------------------------------------------------


def test_an_interrupted_series_continues(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with (
        pytest.raises(Interrupted, match="5 of 8 tasks are complete and kept: the same command"),
        sweep.using(1, Cache(tmp_path, "one run")),
    ):
        map_tasks(interrupted_at, [(str(log), 5, n) for n in range(8)])
    with sweep.using(1, Cache(tmp_path, "one run")):
        found = map_tasks(interrupted_at, [(str(log), -1, n) for n in range(8)])
    assert found == [n**2 for n in range(8)]
    assert log.read_text().split() == list("01234567"), "each task once"
    assert not (tmp_path / sweep.UNFINISHED).exists(), "removed when all is done"


def test_results_of_another_run_are_never_used(tmp_path: Path) -> None:
    log = tmp_path / "log"
    for identity in ("one run", "another"):
        with pytest.raises(Interrupted), sweep.using(1, Cache(tmp_path, identity)):
            map_tasks(interrupted_at, [(str(log), 2, n) for n in range(4)])
    assert log.read_text().split() == list("0101")


def test_nothing_is_promised_where_nothing_was_kept() -> None:
    with pytest.raises(Interrupted, match="nothing unfinished was kept"), sweep.using(1):
        map_tasks(interrupted_at, [("", 0, 0)])


RESULTS = result_store.sealed_results([0, 0.25, 3, ["dict", "SERT", 17]], [])


def unnoticed(data: bytes) -> int:
    """Truncations at every byte and one flipped bit in every byte that the reader lets pass."""
    changed = [data[:at] for at in range(len(data))]
    changed += [
        data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :] for at in range(len(data))
    ]
    passed = 0
    for each in changed:
        with contextlib.suppress(CheckpointError):
            result_store.opened_results(each, Path("x"), {})
            passed += 1
    return passed


def test_damaged_results_are_not_used() -> None:
    assert result_store.opened_results(RESULTS, Path("x"), {}) == {0: 0.25, 3: {"SERT": 17}}
    assert unnoticed(RESULTS) == 0


def test_a_reader_without_a_checksum_would_be_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealed, "_checksum", lambda body: bytes(32))
    data = result_store.sealed_results([0, ["array", 0]], [np.arange(9.0)])
    assert unnoticed(data) > 50


ENDLESS = """
import os, time
from pathlib import Path

def task(n):
    Path(f"{os.getpid()}.pid").touch()
    time.sleep(600)
"""

SLOW = '''"""Thirty tasks that take their time."""
import time
from pathlib import Path
from synapse_abm.runs import sweep
from synapse_abm.runs.results import Result, Table

def piece(seed, replicate):
    time.sleep(0.05)
    with open("log", "a") as file:
        file.write(f"{replicate}\\n")
    return seed * replicate

def run(seed, quick, progress):
    found = sweep.map_tasks(piece, [(seed, r) for r in range(30)], progress=progress)
    return Result([Table("slow", {"found": found})], [], "", "done")

def figure(result):
    from matplotlib.figure import Figure
    return Figure(figsize=(1, 1))
'''


@pytest.mark.skipif(os.name == "nt", reason="needs signals")
@pytest.mark.parametrize(("ended_by", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_that_is_ended_continues(
    ended_by: signal.Signals, status: int, tmp_path: Path
) -> None:
    """The whole group gets the signal, as from a terminal; the same command then finishes it."""
    (tmp_path / "slow.py").write_text(SLOW)
    command = [sys.executable, "-m", "synapse_abm", "run", "slow.py", "--workers", "2"]
    keep = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
    keep += "import synapse_abm.runs.result_store as s; s._KEEP_S = 0.0;"
    keep += "from synapse_abm.cli import main;"
    quick = [sys.executable, "-c", f"{keep}raise SystemExit(main({command[3:]!r}))"]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    running = subprocess.Popen(quick, cwd=tmp_path, start_new_session=True, **pipes)
    log, until = tmp_path / "log", time.monotonic() + 60
    while (not log.exists() or len(log.read_text().split()) < 8) and time.monotonic() < until:
        time.sleep(0.01)
    os.killpg(running.pid, ended_by)
    out, err = running.communicate(timeout=60)
    assert (running.returncode, out) == (status, "")
    assert "tasks are complete and kept: the same command continues from there" in err
    assert "Traceback" not in err
    folder = tmp_path / "outputs" / "slow"
    assert [path.name for path in folder.iterdir()] == [sweep.UNFINISHED]
    assert not list(folder.rglob("*.partial"))
    ended = subprocess.run(command, cwd=tmp_path, timeout=60, **pipes)
    assert (ended.returncode, ended.stderr) == (0, "")
    found = (folder / "slow.csv").read_text().split()
    assert found == ["found", *map(str, range(30))]
    assert len(log.read_text().split()) < 45, "what was complete was not done again"
    assert not (folder / sweep.UNFINISHED).exists()


# --- the rest -------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
def test_progress_counts_to_the_end(workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    start(monkeypatch, True)
    seen: list[object] = []

    def progress(items: Iterable[Any], /, *, total: int | None = None, label: str = "") -> Any:
        seen.append((total, label))
        for item in items:
            seen.append(item)
            yield item

    with sweep.using(workers):
        map_tasks(addressed, [(1, n) for n in range(5)], progress=progress, label="x", ticks=3)
    assert seen == [(15, "x"), *range(15)]


def test_progress_moves_within_long_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing has ended for half a second, and yet the bar has moved."""
    start(monkeypatch, True)
    monkeypatch.setattr(processes, "_LOOK_S", 0.05)
    moved: list[float] = []

    def progress(items: Iterable[Any], /, *, total: int | None = None, label: str = "") -> Any:
        for item in items:
            moved.append(time.monotonic())
            yield item

    with sweep.using(2):
        map_tasks(slow_ticks, [(n,) for n in range(2)], progress=progress, ticks=5)
    assert len(moved) == 10 and len({round(t, 2) for t in moved}) > 2


@pytest.mark.parametrize("workers", [0, -1, 2.5, "2.5", "many", "", 10_000, "10000", True, " 2"])
def test_workers_that_cannot_be_are_refused(workers: object) -> None:
    with pytest.raises(InputError, match=r"--workers = .*a whole number from 1 to 256"):
        check_workers(workers, "--workers")


def test_workers_that_can_be() -> None:
    assert [check_workers(x) for x in (1, "2", 256)] == [1, 2, 256]
    assert check_workers(None) == all_cores() >= 1


@pytest.mark.skipif(sys.platform != "linux", reason="processes are copied on Linux")
def test_what_workers_need_is_loaded_once_before_they_are_made() -> None:
    loaded: list[int] = []
    with sweep.using(2):
        map_tasks(addressed, [(1, n) for n in range(4)], prepare=lambda: loaded.append(os.getpid()))
    assert loaded == [os.getpid()]
    with sweep.using(1):
        map_tasks(addressed, [(1, 0)], prepare=lambda: loaded.append(0))
    assert len(loaded) == 1, "alone it is loaded when it is needed"
