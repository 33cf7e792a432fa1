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

KERNELS = Path(__file__).with_name("kernels.py")


def plant(old: str, new: str) -> ModuleType:
    """The module ``kernels`` with ``old`` replaced by ``new`` in its source.

    Raises
    ------
    ValueError
        If ``old`` does not occur exactly once: the bug would not be where it is meant to be.
    """
    source, digest = _changed(old, new)
    name = f"synapse_abm._planted_{digest}"
    if name not in sys.modules:
        path = _written(f"planted_{digest}.py", source)
        module = ModuleType(name, f"kernels with {new!r} for {old!r}")
        sys.modules[name] = module
        exec(compile(source, path, "exec"), module.__dict__)
    return sys.modules[name]


def is_compiled(old: str, new: str) -> bool:
    """Whether the bug was compiled before, so that planting it takes a second and not fifteen."""
    folder, (_, digest) = cache_folder(), _changed(old, new)
    if f"synapse_abm._planted_{digest}" in sys.modules:
        return True
    return folder is not None and any(folder.rglob(f"planted_{digest}.advance*.nbi"))


def _changed(old: str, new: str) -> tuple[str, str]:
    """The changed source, and a name for it."""
    source = KERNELS.read_text()
    if source.count(old) != 1:
        raise ValueError(f"{old!r} occurs {source.count(old)} times in {KERNELS.name}, not once")
    digest = hashlib.sha256(f"{old}\0{new}\0{source}".encode()).hexdigest()[:12]
    return source.replace(old, new), digest


def _written(name: str, source: str) -> str:
    """Path of the changed source in the kernel cache, so that it is compiled only once."""
    folder = cache_folder()
    if folder is None:
        return f"<{name}>"
    write_atomic(folder / name, source.encode())
    return str(folder / name)
