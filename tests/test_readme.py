"""The README's program runs as it stands, and the figure it shows is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()


def test_the_lines_of_python_run(capsys: pytest.CaptureFixture[str]) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    names: dict[str, object] = {}
    exec(program, names)
    printed = capsys.readouterr().out
    assert "600." in printed
    assert len(names["series"].occupancy("SERT", "citalopram")) == 10  # type: ignore[attr-defined]
    assert len(names["bound"]) == 2 * names["model"].store.totals[0] > 0  # type: ignore[arg-type,attr-defined]


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)]+)\)", TEXT)
    local = [link for link in links if not link.startswith("http")]
    assert local
    assert all((ROOT / link).is_file() for link in local)
