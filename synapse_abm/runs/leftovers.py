"""What runs leave hidden in their folders: parts of unfinished ones, results for ``redraw``."""

from __future__ import annotations

import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from synapse_abm.core.errors import InputError, OutputError
from synapse_abm.core.files import KEPT, UNFINISHED

#: What the folders of unfinished runs are called (``sweep.Cache``): nothing else is touched.
_KEY = re.compile(r"[0-9a-f]{24}")
_OURS = re.compile(r"\.?\d+(-[0-9a-f]{16})?\.(results|checkpoint).*")


@dataclass(frozen=True, slots=True)
class Leftover:
    """The parts of one unfinished run, or the results of a complete one; its size in bytes, how
    long ago it was written, s.
    """

    path: Path
    size: int
    age_s: float

    def __str__(self) -> str:
        days = self.age_s / 86400
        age = f"{days:.0f} days" if days >= 2 else f"{self.age_s / 3600:.1f} hours"
        kind = "results of a complete run" if self.path.name == KEPT else "an unfinished run"
        return f"{kind}, {self.size / 1e6:.1f} MB, {age} old, in {self.path}"

    def remove(self) -> None:
        """Remove it, and the folder above if it is empty then.

        Raises
        ------
        OutputError
            If it cannot be removed.
        """
        try:
            shutil.rmtree(self.path)
            if self.path.parent.name == UNFINISHED and not any(self.path.parent.iterdir()):
                self.path.parent.rmdir()
        except OSError as error:
            raise OutputError.from_os(self.path, error) from error


def leftovers(folder: Path, *, kept: bool = False) -> list[Leftover]:
    """What is left in a folder of results, and in all folders in it; links are not followed.

    ``kept`` includes what complete runs keep for ``redraw``.

    Raises
    ------
    InputError
        If there is no such folder.
    """
    if not folder.is_dir():
        raise InputError("folder", str(folder), "an existing folder", "check the path")
    paths = [path for path in folder.glob(f"**/{UNFINISHED}/*") if _KEY.fullmatch(path.name)]
    paths += folder.glob(f"**/{KEPT}") if kept else ()
    return [part for path in sorted(paths) if (part := _leftover(path))]


def _leftover(path: Path) -> Leftover | None:
    """None if anything in it is not ours: then nobody should remove it unseen."""
    if path.is_symlink() or not path.is_dir():
        return None
    files = list(path.iterdir())
    if not all(file.is_file() and _OURS.fullmatch(file.name) for file in files):
        return None
    states = [file.stat() for file in files] or [path.stat()]
    newest = max(state.st_mtime for state in states)
    return Leftover(path, sum(state.st_size for state in states), time.time() - newest)
