"""Planting bugs: the compiled engine with one line of its source changed.

A statistical test is worth what it catches. A planted bug is a substitution in the source of
``kernels``, compiled under a private name: patching a function would not reach callers that are
already compiled.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from synapse_abm.core.compiling import cache_folder
from synapse_abm.core.files import write_atomic

SOURCES = Path(__file__).parents[2]
KERNELS = "synapse/engine/kernels.py"


#: Source of the decorator for added functions, compiled or not.
CACHED = """

import numba

cached = numba.njit(cache=not __file__.startswith("<"), _nrt=False)
"""
PLAIN = """

def compiled(function, **options):
    return function


cached = compiled
"""


def plant(
    old: str,
    new: str,
    *further: tuple[str, str],
    file: str = KERNELS,
    more: str = "",
    interpreted: bool = False,
) -> ModuleType:
    """The module ``kernels`` (or another compiled one) with ``old`` replaced by ``new`` in its
    source.

    Parameters
    ----------
    old, new
        What is replaced, and by what.
    further
        Other replacements of the same kind, made after the first.
    file
        The source that is changed, from the folder of the package.
    more
        Source that is put behind the rest, for audits of inner functions; ``@cached`` compiles a
        function so that it can be called from Python, and keeps it on disk.
    interpreted
        Leave everything to Python: slow to run, but nothing is compiled.

    Raises
    ------
    ValueError
        If an ``old`` does not occur exactly once: the bug would not be where it is meant to be.
    """
    source = _changed(((old, new), *further), file)
    return _module(*_named(source, more, interpreted, _about(old, new)), _about(old, new))


def is_compiled(old: str, new: str) -> bool:
    """Whether the bug was compiled before, so that planting it takes a second and not fifteen."""
    _, digest = _named(_changed(((old, new),), KERNELS), "", False, _about(old, new))
    if f"synapse_abm._planted_{digest}" in sys.modules:
        return True
    folder = cache_folder()
    return folder is not None and any(folder.rglob(f"planted_{digest}.advance*.nbi"))


def extended(more: str, *, interpreted: bool = False) -> ModuleType:
    """The module ``kernels`` as it is, with the functions in the source ``more`` added."""
    about = "kernels with functions added"
    return _module(*_named((SOURCES / KERNELS).read_text(), more, interpreted, about), about)


def _about(old: str, new: str) -> str:
    return f"kernels with {new!r} for {old!r}"


def _changed(replacements: Iterable[tuple[str, str]], file: str) -> str:
    source = (SOURCES / file).read_text()
    for old, new in replacements:
        if source.count(old) != 1:
            count = source.count(old)
            raise ValueError(f"{old!r} occurs {count} times in {file}, not once")
        source = source.replace(old, new)
    return source


def _named(source: str, more: str, interpreted: bool, about: str) -> tuple[str, str]:
    """The whole source, and a name for it."""
    if interpreted:
        source = source.replace("from synapse_abm.core.compiling import compiled\n", PLAIN)
    elif more:
        source += CACHED
    source += more
    return source, hashlib.sha256(f"{about}\0{source}".encode()).hexdigest()[:12]


def _module(source: str, digest: str, about: str) -> ModuleType:
    name = f"synapse_abm._planted_{digest}"
    if name not in sys.modules:
        path = _written(f"planted_{digest}.py", source)
        module = ModuleType(name, about)
        module.__file__ = path
        sys.modules[name] = module
        exec(compile(source, path, "exec"), module.__dict__)
    return sys.modules[name]


def _written(name: str, source: str) -> str:
    """Path of the changed source in the kernel cache, so that it is compiled only once."""
    folder = cache_folder()
    if folder is None:
        return f"<{name}>"
    write_atomic(folder / name, source.encode())
    return str(folder / name)
