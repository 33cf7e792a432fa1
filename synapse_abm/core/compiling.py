"""Compiled functions, cached on disk under a name that changes with any kernel source.

A caller's cache does not notice an edited callee, so the cache folder is named by a hash of all
kernel sources and of the versions that compile them: an edited kernel is never served stale.
"""

from __future__ import annotations

import functools
import hashlib
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numba.core.config
import numpy as np
from numba.core.registry import CPUDispatcher
from numba.core.types import unliteral
from platformdirs import user_cache_dir

KERNEL_SOURCES = (
    "core/compiling.py",
    "core/rng.py",
    "core/draws.py",
    "core/arithmetic.py",
    "synapse/engine/layout.py",
    "synapse/engine/kernels.py",
    "neuron/engine/layout.py",
    "neuron/engine/kernels.py",
    "neuron/engine/kernels_grid.py",
)


def fingerprint(folder: Path = Path(__file__).parents[1]) -> str:
    """Hash of everything the compiled code depends on."""
    digest = hashlib.sha256()
    for name in KERNEL_SOURCES:
        digest.update(name.encode() + b"\0" + (folder / name).read_bytes() + b"\0")
    # Machine code depends on the versions too; that it fits the processor is checked by numba
    # itself.
    digest.update(f"{numba.__version__} {np.__version__} {sys.implementation.cache_tag}".encode())
    return digest.hexdigest()[:16]


def cache_folder() -> Path | None:
    """Where compiled kernels are kept; None if nothing can be written there."""
    base = os.environ.get("SYNAPSE_ABM_CACHE") or user_cache_dir("synapse_abm", appauthor=False)
    folder = Path(base) / f"kernels-{fingerprint()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Permissions do not tell whether a folder can be written to (read-only disks, containers):
        # trying does.
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        return None


_FOLDER = cache_folder()


class _Compiled(CPUDispatcher):
    """A compiled function that has one version for all values of an argument."""

    def get_call_template(self, args: Any, kws: Any) -> Any:
        # For a literal, numba would compile one version for each of its values.
        return super().get_call_template(tuple(map(unliteral, args)), kws)


class _Inner(_Compiled):
    """A compiled function that compiled functions call.

    It is compiled without the wrappers through which Python calls a function, which would take a
    fifth of all the time; Python's calls get a version of their own.
    """

    def __call__(self, *arguments: Any) -> Any:
        return self._for_python(*arguments)  # without its wrapper a call would crash

    @functools.cached_property
    def _for_python(self) -> Any:
        wrapped = {name: on for name, on in self.targetoptions.items() if name not in _UNWRAPPED}
        return numba.jit(**wrapped)(self.py_func)


_UNWRAPPED: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def compiled(function: Callable[..., Any], *, checks_divisors: bool = True) -> Any:
    """``function`` compiled without fast-math; cached if there is a folder to keep it in.

    The kernels allocate nothing, so reference counting is switched off (it costs a factor 5 in the
    event loop), and they are inlined into their one entry point (a factor 2).
    A zero divisor raises, as in Python; the test for it keeps a loop from being vectorised.
    A planted bug is compiled from a changed source in the cache: not inlined, because it is run
    less long than it takes to compile; not cached if its module has no file.
    """
    entry = function.__name__ == "advance"
    file = Path(function.__code__.co_filename)
    options: dict[str, Any] = {"_nrt": False, "nogil": entry}
    options["forceinline"] = not entry and file.parent != _FOLDER
    options["error_model"] = "python" if checks_divisors else "numpy"
    if not entry:
        inner = numba.njit(**options, **_UNWRAPPED)(function)
        return _as(_Inner, inner)
    if _FOLDER is None or not file.is_file():
        return _as(_Compiled, numba.njit(**options)(function))
    config: Any = numba.core.config
    # numba looks at its setting when a function is decorated; it is put back, as a user's own
    # functions belong elsewhere.
    before, config.CACHE_DIR = config.CACHE_DIR, str(_FOLDER)
    try:
        return _as(_Compiled, numba.njit(cache=True, **options)(function))
    finally:
        config.CACHE_DIR = before


def _as(kind: type[_Compiled], function: Any) -> Any:
    if isinstance(function, CPUDispatcher):  # not with the compiler switched off
        function.__class__ = kind
    return function
