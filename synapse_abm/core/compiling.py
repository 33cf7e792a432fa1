"""Compiled functions, cached on disk under a name that changes with any kernel source.

A caller's cache does not notice an edited callee, so the cache folder is named by a hash of all
kernel sources and of the versions that compile them: an edited kernel is never served stale.
"""

from __future__ import annotations

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
    digest.update(f"{numba.__version__} {np.__version__} {sys.implementation.cache_tag}".encode())
    return digest.hexdigest()[:16]


def cache_folder() -> Path | None:
    """Where compiled kernels are kept; None if nothing can be written there."""
    base = os.environ.get("SYNAPSE_ABM_CACHE") or user_cache_dir("synapse_abm", appauthor=False)
    folder = Path(base) / f"kernels-{fingerprint()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        return None


_FOLDER = cache_folder()


def compiled(function: Callable[..., Any], *, checks_divisors: bool = True) -> Any:
    """``function`` compiled without fast-math; cached if there is a folder to keep it in.

    The kernels allocate nothing, so reference counting is switched off (it costs a factor 5 in the
    event loop), and they are inlined into their one entry point (a factor 2).
    A zero divisor raises, as in Python; the test for it keeps a loop from being vectorised.
    A function whose module has no file (a planted bug, compiled from a changed source) is not
    cached.
    """
    entry = function.__name__ == "advance"
    options: dict[str, Any] = {"_nrt": False, "nogil": entry, "forceinline": not entry}
    options["error_model"] = "python" if checks_divisors else "numpy"
    has_file = Path(function.__code__.co_filename).is_file()
    if _FOLDER is None or not has_file:
        return numba.njit(**options)(function)
    config: Any = numba.core.config
    before, config.CACHE_DIR = config.CACHE_DIR, str(_FOLDER)
    try:
        return numba.njit(cache=entry, **options)(function)
    finally:
        config.CACHE_DIR = before
