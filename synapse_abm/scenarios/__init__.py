"""The scenarios that come with the program, by name."""

from __future__ import annotations

import itertools
import os
import re
from pathlib import Path

from synapse_abm.core.errors import InputError, UnknownName


def scenarios() -> dict[str, Path]:
    """The files of the ready-made scenarios by name, in order."""
    folder = Path(__file__).resolve().parent
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def find_scenario(name: str) -> Path:
    """The file ``name``, or the ready-made scenario of that name.

    Raises
    ------
    UnknownName
        If there is neither; offers the nearest names.
    InputError
        If it ends in ``.toml`` and does not exist.
    """
    known = scenarios()
    if name in known:
        return known[name]
    if name.endswith(".toml") or os.sep in name:
        if not Path(name).is_file():
            raise InputError("scenario", name, "an existing file, or a name", "check the path")
        return Path(name)
    raise UnknownName("scenario", name, known)


def scenario_summary(path: Path) -> str:
    """The first sentence of the comment that a scenario file begins with: what it shows."""
    lines = (line.lstrip("# ") for line in path.read_text("utf-8").splitlines())
    paragraph = " ".join(itertools.takewhile(bool, lines))
    return re.split(r"(?<=[.?!])\s", paragraph, maxsplit=1)[0] or "(no description)"
