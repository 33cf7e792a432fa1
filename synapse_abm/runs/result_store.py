"""Results of finished tasks on disk: data in files with a checksum, each whole or absent.

Only a run that leaves files needs it, so :mod:`synapse_abm.runs.sweep` imports it then: it brings
NumPy and pydantic, which a command like ``list`` can do without.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from synapse_abm.core.files import write_atomic
from synapse_abm.core.sealed import CheckpointError, Header, contents, opened, sealed
from synapse_abm.core.values import ValueFault, packed, record_types, unpacked

_KEEP_S = 2.0  # results go to the disk this often
_MAGIC = b"synapse_abm results 1\n"
_MOST_RESULTS = 10_000  # in a file, so that its header stays short


class _Header(Header):
    results: list[Any]  # index of a task and its result, packed, in turn


class ResultStore:
    """Results of finished tasks of one series: files with a checksum, each whole or absent.

    They hold data only (see ``core.values``). Results that cannot be written so are not kept, and
    files that are not whole, or not of this form, not used: those tasks are done again.
    """

    def __init__(self, folder: Path, series: int, function: Callable[..., Any]) -> None:
        self._folder, self._series = folder, series
        self._records = record_types(function)
        self._results, self._arrays = list[Any](), list[np.ndarray]()
        self._since = time.perf_counter()
        self.count = 0
        self.is_written = True

    def load(self, tasks: int) -> dict[int, Any]:
        """Results by index of the task."""
        results = dict[int, Any]()
        # Sorted, so that of two results of one task the same one is taken on every file system.
        for path in sorted(self._folder.glob(f"{self._series}-*.results")):
            # A file cut short by a power failure costs its tasks, not the run.
            with suppress(CheckpointError):
                results |= opened_results(contents(path), path, self._records)
        results = {at: result for at, result in results.items() if 0 <= at < tasks}
        self.count = len(results)
        return results

    def add(self, at: int, result: Any) -> None:
        """Keep a result, if it can be; it is on the disk within seconds."""
        # Arrays of a value that turns out to be unfit are taken back with it.
        before = len(self._arrays)
        try:
            self._results += [at, packed(result, self._arrays, self._records)]
        except ValueFault:
            del self._arrays[before:]
            return
        self.count += 1
        # Not each result by itself: short tasks would spend their time on flushing files.
        long_ago = time.perf_counter() - self._since > _KEEP_S
        if long_ago or max(len(self._results) // 2, len(self._arrays)) >= _MOST_RESULTS:
            self.flush()

    def flush(self) -> None:
        """Write what is new."""
        if self._results and self.is_written:
            self._folder.mkdir(parents=True, exist_ok=True)
            # A name of its own for each file: two processes on one folder overwrite nothing.
            path = self._folder / f"{self._series}-{secrets.token_hex(8)}.results"
            try:
                data = sealed_results(self._results, self._arrays)
            except ValueError:  # more than is read again: those tasks are done again
                self.count -= len(self._results) // 2
            else:
                write_atomic(path, data)
            self._results, self._arrays = [], []
        self._since = time.perf_counter()


def sealed_results(results: list[Any], arrays: Sequence[np.ndarray]) -> bytes:
    """Packed results as the contents of a file."""
    named = {str(number): array for number, array in enumerate(arrays)}
    return sealed(_MAGIC, {"results": results}, named)


def opened_results(data: bytes, path: Path, records: Mapping[str, type]) -> dict[int, Any]:
    """Results in a file by index of the task; ``records`` are those that may be in it.

    Raises
    ------
    CheckpointError
        If it is not a whole file of this version, or holds anything that is no such result.
    """
    header, arrays = opened(_MAGIC, data, path, _Header)
    indices, trees = header.results[::2], header.results[1::2]
    try:
        values = [unpacked(tree, list(arrays.values()), records) for tree in trees]
        if len(indices) != len(values) or any(type(at) is not int for at in indices):
            raise ValueFault("results without index")
    except ValueFault as error:
        raise CheckpointError(path, f"its results are none: {error}") from error
    return dict(zip(indices, values, strict=True))
