"""The scenarios that come with the program, by name."""

from __future__ import annotations

import os
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
    """The first comment of a scenario file: what it shows."""
    lines = (line for line in path.read_text("utf-8").splitlines() if line.startswith("#"))
    return next(lines, "# (no description)").lstrip("# ")
