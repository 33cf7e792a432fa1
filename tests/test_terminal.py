"""The command under odd terminals: closed and full streams, few columns, ASCII, an early Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from synapse_abm import cli
from synapse_abm.core import terminal

COMMAND = (sys.executable, "-m", "synapse_abm")
posix = pytest.mark.skipif(os.name == "nt", reason="streams are closed by a POSIX shell")


def shell(line: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """What a shell makes of ``line``, in which ``$S`` is the command."""
    return subprocess.run(
        ["sh", "-c", line], cwd=folder, capture_output=True, text=True, timeout=120,
        env={**os.environ, "S": " ".join(COMMAND), **environment},
    )  # fmt: skip


@posix
@pytest.mark.parametrize("closed", ["2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_costs_no_result(closed: str, tmp_path: Path) -> None:
    ended = shell(f"$S run hyperbola --quick --out new {closed}", tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    written = {path.name for path in (tmp_path / "new").iterdir()}
    assert {"run.json", "hyperbola.csv", "hyperbola.parquet", "hyperbola.png"} <= written


@posix
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("arguments", ["list", "list --drugs", "--help", "run hyperbola --help"])
def test_a_full_disk_behind_standard_output_is_told(arguments: str, tmp_path: Path) -> None:
    ended = shell(f"$S {arguments} >/dev/full", tmp_path)
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert "cannot write standard output: the disk is full" in ended.stderr


@posix
def test_json_to_standard_output_stands_behind_what_was_printed(tmp_path: Path) -> None:
    ended = shell("(echo first; $S validate --json /dev/stdout --cases c.json) >all", tmp_path)
    assert ended.returncode == 2, "there is no such file of cases"
    assert (tmp_path / "all").read_text() == "first\n"
    (tmp_path / "file").write_text("")
    program = (
        "from synapse_abm.core.files import write_atomic; print('second');"
        "write_atomic('/dev/stdout', b'third\\n'); print('fourth')"
    )
    with (tmp_path / "all").open("a") as file:
        subprocess.run([sys.executable, "-c", program], stdout=file, check=True, timeout=60)
    assert (tmp_path / "all").read_text() == "first\nsecond\nthird\nfourth\n"


@posix
@pytest.mark.parametrize("columns", ["0", "1", "5", "39", "nonsense"])
def test_help_fits_any_window(columns: str, tmp_path: Path) -> None:
    ended = shell("$S --help", tmp_path, COLUMNS=columns)
    assert ended.returncode == 0
    assert "usage: synapse-abm" in ended.stdout


@posix
def test_an_ascii_terminal_shows_other_letters_escaped(tmp_path: Path) -> None:
    ended = shell("$S list --file µ.toml", tmp_path, PYTHONIOENCODING="ascii")
    assert ended.returncode == 2
    assert "\\xb5.toml" in ended.stderr
    assert "Traceback" not in ended.stderr


EARLY = """
import os, signal, sys, threading, time
from synapse_abm.__main__ import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job may ignore it

def interrupt():
    while signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        time.sleep(0.0001)  # until the command has begun
    time.sleep({after_s})
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=interrupt, daemon=True).start()
sys.argv = ["synapse-abm", "run", "hyperbola"]
raise SystemExit(main())
"""


@posix
@pytest.mark.parametrize("after_s", [0.0, 0.02, 0.1, 0.2, 0.4])
def test_an_early_ctrl_c_shows_no_traceback(after_s: float, tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", EARLY.format(after_s=after_s)], cwd=tmp_path, timeout=60,
        capture_output=True, text=True,
    )  # fmt: skip
    assert ended.returncode in (130, -signal.SIGINT)
    assert "Traceback" not in ended.stderr, ended.stderr
    assert not (tmp_path / "outputs" / "hyperbola" / "run.json").exists()


def test_a_folder_without_a_name_is_refused(tmp_path: Path) -> None:
    ended = shell("$S run hyperbola --quick --out ''", tmp_path)
    assert ended.returncode == 2
    assert "--out = ''" in ended.stderr
    assert not list(tmp_path.iterdir())


def test_a_window_gets_its_columns_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "7")
    with terminal.wide_enough():
        assert os.environ["COLUMNS"] == str(terminal.NARROWEST)
    assert os.environ["COLUMNS"] == "7"


@posix
def test_an_interrupt_that_comes_back_as_another_error_is_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As pydantic makes of one while it builds a class; without an interrupt it stays."""

    def built(arguments: list[str]) -> int:
        try:
            if arguments == ["interrupted"]:
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(10)
        except KeyboardInterrupt:
            raise ValueError("schema") from None
        raise ValueError("schema")

    monkeypatch.setattr(cli, "_obey", built)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert cli.main(["interrupted"]) == 130
        assert "interrupted; nothing unfinished was kept" in capsys.readouterr().err
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        with pytest.raises(ValueError, match="schema"):
            cli.main(["not interrupted"])
    finally:
        signal.signal(signal.SIGINT, before)
