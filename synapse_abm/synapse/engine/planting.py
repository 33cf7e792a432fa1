"""Planting bugs: the compiled engine with one line of its source changed.

A statistical test is worth what it catches. A planted bug is a substitution in the source of
``kernels``, or of the ``draws`` that they import, compiled under a private name: patching a
function would not reach callers that are already compiled.
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
KERNELS, DRAWS = "synapse/engine/kernels.py", "core/draws.py"


#: Source of the decorator for added functions, compiled or not.
CACHED = """

import numba

cached = numba.njit(cache=not __file__.startswith("<"), _nrt=False)
"""
COMPILED = "from synapse_abm.core.compiling import compiled\n"
PLAIN = """

def compiled(function, **options):
    return function


cached = compiled
"""

type Replacements = Iterable[tuple[str, str]]


def plant(
    old: str,
    new: str,
    *further: tuple[str, str],
    file: str = KERNELS,
    more: str = "",
    interpreted: bool = False,
) -> ModuleType:
    """The module ``kernels`` (or another compiled one) with ``old`` replaced by ``new`` in its
    source, or in that of ``core.draws`` as it uses them.

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
    return _module(((old, new), *further), file, more, interpreted)


def is_compiled(old: str, new: str) -> bool:
    """Whether the bug was compiled before, so that planting it takes a second and not fifteen."""
    _, name = _sources(((old, new),))[-1]
    if f"synapse_abm.{name}" in sys.modules:
        return True
    folder = cache_folder()
    return folder is not None and any(folder.rglob(f"{name}.advance*.nbi"))


def extended(more: str, *, interpreted: bool = False) -> ModuleType:
    """The module ``kernels`` as it is, with the functions in the source ``more`` added."""
    return _module((), KERNELS, more, interpreted)


def _sources(
    replacements: Replacements, file: str = KERNELS, more: str = "", interpreted: bool = False
) -> list[tuple[str, str]]:
    """Sources and names of the modules to make: of the draws, unless they stay as they are, and of
    ``file``, which imports them.
    """
    texts = {path: (SOURCES / path).read_text() for path in (DRAWS, file)}
    draws = texts[DRAWS]
    for old, new in replacements:
        counts = {path: text.count(old) for path, text in texts.items()}
        if sum(counts.values()) != 1:
            raise ValueError(f"{old!r} occurs {sum(counts.values())} times in {file}, not once")
        path = max(counts, key=lambda path: counts[path])
        texts[path] = texts[path].replace(old, new)
    if interpreted:
        texts = {path: text.replace(COMPILED, PLAIN) for path, text in texts.items()}
    elif more:
        texts[file] += CACHED
    texts[file] += more
    # Changed draws are another module, which the kernels must import in place of the usual one.
    made = []
    if texts[DRAWS] != draws:
        made.append(_named(texts[DRAWS]))
        own = f"synapse_abm.{made[0][1]}"
        texts[file] = texts[file].replace("synapse_abm.core.draws", own)
    return [*made, _named(texts[file])]


def _named(source: str) -> tuple[str, str]:
    """A source, and a name that no other has."""
    # By its contents: an edited kernel, or another bug, is never served the code of an older one.
    return source, f"_planted_{hashlib.sha256(source.encode()).hexdigest()[:12]}"


def _module(replacements: Replacements, file: str, more: str, interpreted: bool) -> ModuleType:
    for source, short in _sources(replacements, file, more, interpreted):
        name = f"synapse_abm.{short}"
        if name not in sys.modules:
            path = _written(f"{short}.py", source)
            module = ModuleType(name)
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
