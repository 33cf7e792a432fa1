"""Planting bugs: the compiled engine with one line of its source changed.

A statistical test is worth what it catches. A planted bug is a substitution in the source of
``kernels``, compiled under a private name: patching a function would not reach callers that are
already compiled.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from types import ModuleType

from synapse_abm.compiling import cache_folder
from synapse_abm.results import write_atomic

SOURCES = Path(__file__).parent


def plant(old: str, new: str, file: str = "kernels.py") -> ModuleType:
    """The module ``kernels`` (or another compiled one) with ``old`` replaced by ``new`` in its
    source.

    Raises
    ------
    ValueError
        If ``old`` does not occur exactly once: the bug would not be where it is meant to be.
    """
    source = (SOURCES / file).read_text()
    if source.count(old) != 1:
        raise ValueError(f"{old!r} occurs {source.count(old)} times in {file}, not once")
    digest = hashlib.sha256(f"{old}\0{new}\0{source}".encode()).hexdigest()[:12]
    name = f"synapse_abm._planted_{digest}"
    if name not in sys.modules:
        path = _written(f"planted_{digest}.py", source.replace(old, new))
        module = ModuleType(name, f"kernels with {new!r} for {old!r}")
        sys.modules[name] = module
        exec(compile(source.replace(old, new), path, "exec"), module.__dict__)
    return sys.modules[name]


def _written(name: str, source: str) -> str:
    """Path of the changed source in the kernel cache, so that it is compiled only once."""
    folder = cache_folder()
    if folder is None:
        return f"<{name}>"
    write_atomic(folder / name, source.encode())
    return str(folder / name)
