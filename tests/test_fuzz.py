"""A short form of ``tests/fuzz.py``, on every change; the long one is a command."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import fuzz
import pytest


def test_odd_input_of_every_kind_is_read_or_refused() -> None:
    """In a process of its own: what computes is left out there."""
    inputs = 12 * len(fuzz.KINDS)
    command = [sys.executable, str(Path(fuzz.__file__)), "--inputs", str(inputs), "--seed", "3"]
    ended = subprocess.run([*command, "--workers", "1"], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"{inputs} inputs" in ended.stdout and "0 failed" in ended.stdout


def late(*_: object) -> None:
    raise fuzz.TooLong


def control(*_: object) -> None:
    fuzz._printable("\x1b[31mred")


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (lambda *_: {}["missing"], "KeyError"),
        (late, "took over 10 s"),
        (control, "control characters"),
    ],
    ids=["a traceback", "a hang", "a colour"],
)
def test_what_must_not_come_of_an_input_is_noticed(
    fault: object, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(fuzz.KINDS, "call", fault)
    what = fuzz._tried("call", 1, 1, tmp_path)
    assert what is not None and told in what


def test_an_input_follows_from_its_number() -> None:
    text = "a = 1\nb = 2\n[c]\nd = 3"
    torn = [fuzz.torn(text, random.Random("scenario:1:7")) for _ in range(2)]
    assert torn[0] == torn[1] != text
