"""Results are complete on disk or not there, and equal data are equal bytes."""

from __future__ import annotations

import errno
import io
import json
import math
import os
import pickle
import platform
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from synapse_abm.core import files, text
from synapse_abm.core.errors import OutputError
from synapse_abm.core.files import output_folder, write_atomic
from synapse_abm.core.files import write_folder as write_all
from synapse_abm.runs import results
from synapse_abm.runs.results import Check, Result, Table

OLD = {"a.csv": b"old a", "b.csv": b"old b", "run.json": b"old record"}
NEW = {"run.json": b"new record", "a.csv": b"new a", "b.csv": b"new b"}


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of ``folder``, hidden ones too."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


class Disk:
    """Stands for ``os.fsync``: lets ``allowed`` calls through, then fails."""

    def __init__(self, allowed: int, error: BaseException) -> None:
        self.allowed = allowed
        self.error = error

    def __call__(self, descriptor: int) -> None:
        if self.allowed == 0:
            raise self.error
        self.allowed -= 1


def full_disk(allowed: int = 0) -> Disk:
    return Disk(allowed, OSError(errno.ENOSPC, "No space left on device"))


# --- one file ------------------------------------------------------------------------------------


def test_a_file_is_written_with_ordinary_permissions(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a.json", b"{}")
    (tmp_path / "plain").write_bytes(b"")
    assert contents(tmp_path)["a.json"] == b"{}"
    assert (tmp_path / "a.json").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, "x"), "the disk is full; free some space"),
        (OSError(errno.EDQUOT, "x"), "quota"),
        (OSError(errno.EIO, "x"), os.strerror(errno.EIO)),
    ],
)
def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, reason: str
) -> None:
    target = tmp_path / "a.csv"
    target.write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", Disk(0, error))
    with pytest.raises(OutputError, match=reason) as caught:
        write_atomic(target, b"new")
    assert str(target) in str(caught.value)
    assert contents(tmp_path) == {"a.csv": b"old"}


def test_an_interrupted_or_refused_rename_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "a.csv"
    target.write_bytes(b"old")
    for error, raised in [
        (KeyboardInterrupt(), KeyboardInterrupt),
        (PermissionError(errno.EACCES, "x"), OutputError),
    ]:

        def refuse(self: Path, to: Path, error: BaseException = error) -> None:
            raise error

        monkeypatch.setattr(Path, "replace", refuse)
        with pytest.raises(raised):
            write_atomic(target, b"new")
        assert contents(tmp_path) == {"a.csv": b"old"}


def test_a_link_is_followed_and_kept(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    write_atomic(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_device_is_written_to_and_not_replaced() -> None:
    with pytest.raises(OutputError, match="the disk is full"):
        write_atomic("/dev/full", b"x" * 100_000)
    write_atomic("/dev/null", b"x")
    for device in ("/dev/full", "/dev/null"):
        assert stat.S_ISCHR(os.stat(device).st_mode)
        files.check_file(device)


def test_a_place_that_cannot_be_written_is_told_beforehand(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="no such folder"):
        files.check_file(tmp_path / "missing" / "a.json")
    with pytest.raises(OutputError, match="is a file, not a folder"):
        files.check_file(tmp_path / "file" / "a.json")
    with pytest.raises(OutputError, match="a folder of that name"):
        files.check_file(tmp_path)
    files.check_file(tmp_path / "fine.json")
    assert contents(tmp_path) == {"file": b""}


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_a_killed_writer_leaves_the_old_files(tmp_path: Path) -> None:
    """SIGKILL after everything is staged, just before the first rename."""
    write_all(tmp_path, OLD)
    program = (
        "import os, pathlib, signal, sys; from synapse_abm.core import files\n"
        "pathlib.Path.unlink = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"files.write_folder(pathlib.Path(sys.argv[1]), {NEW!r})\n"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(tmp_path)], timeout=60)
    assert ended.returncode == -signal.SIGKILL
    hidden = [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    assert {name: contents(tmp_path)[name] for name in OLD} == OLD
    assert len(hidden) == len(NEW)

    for path in hidden:  # a later run clears them away, once they are surely nobody's
        os.utime(path, (0, 0))
    write_all(tmp_path, NEW)
    assert contents(tmp_path) == NEW


# --- a folder ------------------------------------------------------------------------------------


def test_a_folder_is_written_whole_and_leaves_strangers_alone(tmp_path: Path) -> None:
    write_all(tmp_path, OLD)
    (tmp_path / "notes.txt").write_bytes(b"mine")
    write_all(tmp_path, NEW)
    assert contents(tmp_path) == NEW | {"notes.txt": b"mine"}


def test_wherever_the_disk_fills_up_a_record_never_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fail at the first sync, the second, ...: no file is partial, none contradicts the record."""
    for allowed in range(20):
        with monkeypatch.context() as patch:
            write_all(tmp_path, OLD)
            patch.setattr(os, "fsync", full_disk(allowed))
            try:
                write_all(tmp_path, NEW)
                break
            except OutputError as error:
                reason = error.reason
        assert reason == "the disk is full"
        left = contents(tmp_path)
        assert set(left) <= set(NEW), "no temporary file stays"
        assert all(data in (OLD[name], NEW[name]) for name, data in left.items())
        if allowed < len(NEW):
            assert left == OLD, "nothing has happened before everything is on disk"
        if "run.json" in left:
            assert left in (OLD, NEW)
    else:
        pytest.fail("the disk never had room")
    assert allowed > len(NEW)


def test_a_folder_in_the_place_of_a_file_is_refused_before_anything_changes(tmp_path: Path) -> None:
    (tmp_path / "b.csv").mkdir()
    (tmp_path / "a.csv").write_bytes(b"old a")
    with pytest.raises(OutputError, match=r"b\.csv: a folder of that name"):
        write_all(tmp_path, NEW)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "b.csv"]
    assert (tmp_path / "a.csv").read_bytes() == b"old a"


def test_an_output_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    with output_folder(tmp_path / "x" / "y") as folder:
        assert list(folder.iterdir()) == []
        write_all(folder, NEW)
    assert contents(tmp_path / "x" / "y") == NEW


def test_an_output_folder_goes_again_if_nothing_came_of_it(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), output_folder(tmp_path / "x" / "y"):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine").mkdir()
    with pytest.raises(ValueError, match="no"), output_folder(tmp_path / "mine"):
        raise ValueError("no")
    assert (tmp_path / "mine").is_dir(), "what was there before is not ours to remove"


def test_an_output_folder_that_cannot_be_used_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    for place, reason in [("file", "a file of that name"), ("file/x", "is a file, not a folder")]:
        with pytest.raises(OutputError, match=reason), output_folder(tmp_path / place):
            pytest.fail("the body must not run")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "x")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(OutputError, match="permission denied"), output_folder(tmp_path / "new"):
        pytest.fail("the body must not run")
    monkeypatch.undo()
    monkeypatch.setattr(os, "fsync", full_disk())
    with pytest.raises(OutputError, match="the disk is full"), output_folder(tmp_path / "a" / "b"):
        pytest.fail("the body must not run")
    assert contents(tmp_path) == {"file": b""}


@pytest.mark.parametrize("at", ["a", "b"])
def test_an_interrupt_right_after_a_folder_was_made_leaves_none(
    at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.mkdir

    def interrupted(self: Path, *args: Any, **settings: Any) -> None:
        real(self, *args, **settings)
        if self.name == at:
            raise KeyboardInterrupt

    monkeypatch.setattr(Path, "mkdir", interrupted)
    with pytest.raises(KeyboardInterrupt), output_folder(tmp_path / "a" / "b"):
        pytest.fail("the body must not run")
    assert not (tmp_path / "a").exists()


def test_output_errors_survive_a_trip_between_processes() -> None:
    error = OutputError("a.csv", "the disk is full", "free some space")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.path) == (OutputError, str(error), "a.csv")
    assert isinstance(again, OSError)


# --- tables and records --------------------------------------------------------------------------

floats = st.lists(st.floats(width=64), min_size=1, max_size=20)


def last_unit(number: float, digits: int) -> float:
    """One unit in the last of so many significant digits."""
    return 10.0 ** (math.floor(math.log10(abs(number))) + 1 - digits)


# On a crowded machine it may take seconds to draw numbers; how long is no matter of this test.
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(floats)
def test_csv_and_parquet_hold_the_same_rounded_numbers(numbers: list[float]) -> None:
    table = Table("t", {"ours": np.array(numbers), "solver": numbers}, solved=("solver",))
    frame = pq.read_table(io.BytesIO(table.parquet())).to_pandas()
    lines = [line.split(",") for line in table.csv().decode().splitlines()[1:]]
    np.testing.assert_array_equal(np.array(lines, dtype=float), frame.to_numpy())
    for line, number in zip(lines, numbers, strict=True):
        assert line == [repr(float(cell)) for cell in line], "no digit that means nothing"
        if 1e-290 < abs(number) < 1e300:
            departure = abs(float(line[0]) - number)
            assert departure <= last_unit(number, text.DIGITS) * (0.5 + 1e-5)


@given(st.floats(1e-3, 1e3), st.floats(-1e-13, 1e-13))
def test_rounding_noise_reaches_no_file(number: float, noise: float) -> None:
    """Ten digits are a thousandfold above noise of 1e-13: bytes differ one time in a thousand at
    most, and then by one unit of the last digit.
    """
    here, there = (Table("t", {"x": [x]}).csv().split()[1] for x in (number, number * (1 + noise)))
    if here != there:
        apart = abs(float(here) - float(there))
        assert apart <= last_unit(number, text.DIGITS) * (1 + 1e-5)


def test_a_solvers_zero_is_zero() -> None:
    """Beside ones, what is below 1e-11 is noise; in a column of its own it would be a number."""
    noisy = Table("t", {"x": [0.123456789, 3e-17, -2e-16, 4.5678912e-10]}, solved=("x",))
    assert noisy.csv().decode().splitlines()[1:] == ["0.123457", "0.0", "0.0", "4.57e-10"]
    small = Table("t", {"x": [3.2109876e-17, math.inf, math.nan]}, solved=("x",))
    assert small.csv().decode().splitlines()[1:] == ["3.21099e-17", "inf", "nan"]
    ours = Table("t", {"x": [1.0, 3.21098765432e-17, -0.0]})
    assert ours.csv().decode().splitlines()[1:] == ["1.0", "3.210987654e-17", "0.0"]
    with pytest.raises(ValueError, match=r"no columns \['y'\]"):
        Table("t", {"x": [1.0]}, solved=("y",))


def test_tables_hold_text_whole_numbers_and_gaps() -> None:
    columns = {
        "drug": ["paroxetine", 'a, "b"'],
        "seed": [2**64 - 1, 0],
        "sites": np.array([200, 100]),
        "mean": [1, 0.5],
        "se": [None, np.float64(0.1)],
        "passed": [True, False],
    }
    table = Table("t", columns)
    assert table.csv().decode() == (
        "drug,seed,sites,mean,se,passed\n"
        "paroxetine,18446744073709551615,200,1.0,,True\n"
        '"a, ""b""",0,100,0.5,0.1,False\n'
    )
    read = pq.read_table(io.BytesIO(table.parquet())).to_pydict()
    assert read == {**columns, "sites": [200, 100]}
    frame = table.to_pandas()
    assert frame["seed"].tolist() == columns["seed"] and frame["mean"].tolist() == [1.0, 0.5]
    assert len(table) == 2


def test_equal_tables_are_equal_bytes() -> None:
    values = np.random.default_rng(1).normal(size=1000)
    one, two = Table("t", {"x": values}), Table("t", {"x": values.tolist()})
    assert one.csv() == two.csv()
    assert one.parquet() == two.parquet()


def test_untidy_tables_are_refused() -> None:
    with pytest.raises(ValueError, match="differ in length"):
        Table("t", {"a": [1], "b": [1, 2]})
    for column in ([1, "a"], [object()], [True, 1]):
        with pytest.raises(TypeError, match="one plain type is wanted"):
            Table("t", {"a": column}).csv()


def test_checks_judge_by_standard_errors() -> None:
    check = Check.against("o", "exact", 0.52, 0.01, 0.5, source="theory.law", z_limit=3.0)
    assert check.z == pytest.approx(2.0)
    assert check.passed
    assert not Check.against("o", "exact", 0.55, 0.01, 0.5, source="x", z_limit=3.0).passed
    assert not Check.against("o", "exact", math.nan, 0.01, 0.5, source="x", z_limit=3.0).passed
    assert not Check.against("o", "exact", 0.5, math.nan, 0.5, source="x", z_limit=3.0).passed
    assert not Check.against("o", "exact", 0.5001, 0.0, 0.5, source="x", z_limit=3.0).passed
    assert Check.against("o", "exact", 0.5, 0.0, 0.5, source="x", z_limit=3.0).passed
    with pytest.raises(ValueError, match="kind"):
        Check.against("o", "guess", 0.5, 0.1, 0.5, source="x", z_limit=3.0)  # type: ignore[arg-type]


def test_only_a_failed_exact_check_fails_a_run() -> None:
    missed = Check("occupancy", "published", 0.5, 0.01, 0.8, -30.0, "a paper", False)
    wrong = Check("occupancy", "exact", 0.5, 0.01, 0.8, -30.0, "a law", False)
    assert Result([], [missed], "", "").passed
    assert not Result([], [missed, wrong], "", "").passed


def record_of(folder: Path, **changes: Any) -> dict[str, Any]:
    """The record of a run without tables."""
    check = Check("o", "exact", np.float64(0.5), 0.0, 0.5, math.inf, "law", False)
    solved = Check("o", "exact", 1 / 3, 0.0, 0.5, math.inf, "law", False, solved=True)
    scenario = {"cells": np.array([64, 64]), "k_nM": (1.0, math.nan)}
    result = Result([Table("demo", {"x": [1.5]})], [check, solved], "", "", scenario, ["Gaddum"])
    fields = {
        "experiment": "demo", "seed": 2**64 - 1, "command": "synapse-abm run demo",
        "options": {"drug": "paroxetine", "path": Path("a")}, "seconds": 1.5,
        "source": results.source_sha256(),
    }  # fmt: skip
    results.write_run(folder, result, {}, **(fields | changes))
    read: dict[str, Any] = json.loads((folder / "run.json").read_bytes())
    return read


def test_a_record_is_plain_json(tmp_path: Path) -> None:
    read = record_of(tmp_path)
    assert read["seed"] == 2**64 - 1
    assert read["checks"][0] == {
        "name": "o", "kind": "exact", "value": 0.5, "se": 0.0, "expected": 0.5, "z": None,
        "source": "law", "passed": False,
    }  # fmt: skip
    assert read["checks"][1]["value"] == 0.333333
    assert read["scenario"] == {"cells": [64, 64], "k_nM": [1.0, None]}
    assert {"python", "mesa", "numpy", "numba"} <= set(read["versions"])
    assert len(read["source_sha256"]) == 64
    assert read["table_sha256"]["demo.csv"] == files.sha256(b"x\n1.5\n")
    assert results.signed(read) == read, "the hashes hold after a trip through JSON"


def test_a_record_tells_processor_and_linear_algebra_but_not_whose_machine() -> None:
    machine = results.machine()
    assert set(machine) == {"processor", "compiled_for", "numpy_uses", "blas"}
    assert all(machine.values())
    assert platform.node() not in json.dumps(machine).split()


def test_every_field_of_a_record_is_hashed(tmp_path: Path) -> None:
    honest = record_of(tmp_path)
    for name in honest:
        changed = results.signed(honest | {name: "forged"})
        if name in results.SIGNATURE:
            assert changed == honest
        else:
            assert changed["record_sha256"] != honest["record_sha256"]
            other = changed["field_sha256"].items() - honest["field_sha256"].items()
            assert [field for field, _ in other] == [name]


def test_text_tables_align() -> None:
    assert text.text_table(["drug", "K (nM)"], [["paroxetine", "1.2"], ["x", "100"]]) == (
        "drug        K (nM)\n"
        "----------  ------\n"
        "paroxetine     1.2\n"
        "x              100"
    )  # fmt: skip
