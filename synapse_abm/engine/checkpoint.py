"""Checkpoints: a state on disk, portable, without pickle, from which a run continues bit for bit.

One file: a line that names the format, a header in JSON (scenario, seed, versions, arrays with
their types and shapes), the arrays' bytes in little-endian order, and a SHA-256 of all that came
before. A long run also keeps what it has recorded so far (see :class:`Recorded`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from synapse_abm import __version__
from synapse_abm.engine.layout import END, I64, LIMIT, ROW, START, Store
from synapse_abm.engine.simulation import Simulation
from synapse_abm.engine.state import State, point_sites_back
from synapse_abm.errors import SynapseError
from synapse_abm.results import write_atomic
from synapse_abm.scenario.definition import Scenario

MAGIC = b"synapse_abm checkpoint 1\n"
_DIGEST = hashlib.sha256().digest_size
_RECORDED = "recorded"
_DTYPES = {"molecules": "<u4", "sites": "<i4", "last_s": "<f8"}  # the rest is <i8


class CheckpointError(SynapseError, ValueError):
    """A file that is not a whole checkpoint of this version: which file, why, and what to do."""

    def __init__(self, path: Path, what: str, fix: str) -> None:
        super().__init__(f"checkpoint {str(path)!r}: {what}; {fix}")
        self.path, self.what, self.fix = path, what, fix

    def __reduce__(self) -> tuple[Any, ...]:
        """Errors travel between processes by their parts."""
        return type(self), (self.path, self.what, self.fix)


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a run has recorded: a row of totals and events for each record, and a hash of the way.

    ``digest`` holds, record by record, the SHA-256 of the digest before, the step and the state.
    """

    table: I64
    digest: bytes


def save(simulation: Simulation, path: str | Path, recorded: Recorded | None = None) -> None:
    """Write the state of a simulation; the file appears complete or not at all.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    write_atomic(path, to_bytes(simulation, recorded))


def to_bytes(simulation: Simulation, recorded: Recorded | None = None) -> bytes:
    """The contents of a checkpoint: equal states of equal runs give equal bytes."""
    arrays = _arrays(simulation.state)
    if recorded is not None:
        arrays[_RECORDED] = np.ascontiguousarray(recorded.table, dtype="<i8")
    header = {
        "version": __version__,
        "scenario": simulation.scenario.model_dump(mode="json"),
        "seed": simulation.address.seed,
        "replicate": simulation.address.replicate,
        "place": simulation.address.place,
        "step": simulation.state.step,
        "arrays": described(arrays),
    }
    if recorded is not None:
        header["digest"] = recorded.digest.hex()
    return sealed(MAGIC, header, arrays)


def sealed(magic: bytes, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
    """A file of any kind: the line that names its format, header, arrays, checksum."""
    # not sorted: the order of ligands and targets is part of the scenario
    text = json.dumps(header, separators=(",", ":")).encode()
    body = magic + len(text).to_bytes(8, "little") + text
    body += b"".join(a.tobytes() for a in arrays.values())
    return body + hashlib.sha256(body).digest()


def described(arrays: Mapping[str, np.ndarray]) -> list[Any]:
    """Name, type and shape of each, as a header holds them."""
    return [[name, a.dtype.str, list(a.shape)] for name, a in arrays.items()]


def load(path: str | Path, *, check_every_step: bool = False) -> Simulation:
    """The simulation that :func:`save` wrote, ready to continue bit for bit.

    Raises
    ------
    CheckpointError
        If the file is missing, truncated, changed, or no checkpoint of a version this one can read.
    """
    path = Path(path)
    return from_bytes(contents(path), path, check_every_step=check_every_step)


def load_recorded(path: str | Path) -> Recorded:
    """What had been recorded when the checkpoint at ``path`` was written.

    Raises
    ------
    CheckpointError
        As :func:`load`; also if nothing was kept with the state.
    """
    path = Path(path)
    header, arrays = opened(MAGIC, contents(path), path)
    if _RECORDED not in arrays:
        what = "it holds a state, and nothing that was recorded"
        raise CheckpointError(path, what, "use load, or start the run again")
    return Recorded(arrays[_RECORDED].astype(np.int64), bytes.fromhex(header["digest"]))


def contents(path: Path) -> bytes:
    """The bytes of a checkpoint, or an error that says why not.

    Raises
    ------
    CheckpointError
        If there is no such file, or it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(
            path, f"it cannot be read ({error.strerror})", "check the path"
        ) from error


def _unpacked(header: dict[str, Any], body: bytes) -> dict[str, np.ndarray]:
    arrays, at = {}, 0
    for name, dtype, shape in header["arrays"]:
        size = int(np.dtype(dtype).itemsize * np.prod(shape, dtype=np.int64))
        arrays[name] = np.frombuffer(body[at : at + size], dtype=dtype).reshape(shape)
        at += size
    return arrays


def from_bytes(data: bytes, path: Path, *, check_every_step: bool = False) -> Simulation:
    """The inverse of :func:`to_bytes`; ``path`` is for messages."""
    header, arrays = opened(MAGIC, data, path)
    arrays.pop(_RECORDED, None)
    simulation = Simulation(
        Scenario.model_validate_json(json.dumps(header["scenario"])),
        header["seed"],
        header["replicate"],
        header["place"],
        check_every_step=check_every_step,
    )
    simulation.state = _state(arrays).resized(_room(simulation, arrays["live"]))
    return simulation


def opened(magic: bytes, data: bytes, path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Header and arrays of a file that :func:`sealed` wrote; ``path`` is for messages.

    Raises
    ------
    CheckpointError
        If it is truncated, changed, of another kind or of another version.
    """
    if not data.startswith(magic):
        newer = data.startswith(magic[: magic.index(b" 1")])
        what = "its format is not known here" if newer else "this is something else"
        raise CheckpointError(path, what, "give a checkpoint written by this version")
    body, digest = data[:-_DIGEST], data[-_DIGEST:]
    if hashlib.sha256(body).digest() != digest:
        what = "its checksum does not fit: it is truncated or was changed"
        raise CheckpointError(path, what, "use an earlier checkpoint, or start the run again")
    at = len(magic)
    length = int.from_bytes(body[at : at + 8], "little")
    header = json.loads(body[at + 8 : at + 8 + length])
    if header["version"] != __version__:
        what = f"it was written by version {header['version']}, this is {__version__}"
        raise CheckpointError(path, what, "install the version that wrote it")
    return header, _unpacked(header, body[at + 8 + length :])


def _arrays(state: State) -> dict[str, np.ndarray]:
    """What is kept: the rows in use, and everything but where rows lie in memory."""
    store, rows = state.store, state.all_rows()
    kept = store._asdict() | {"molecules": store.molecules[:, rows], "sites": store.sites[:ROW]}
    del kept["segments"]
    kept["live"] = np.array([r.size for r in state.rows()], dtype=np.int64)
    return {n: np.ascontiguousarray(a, dtype=_DTYPES.get(n, "<i8")) for n, a in kept.items()}


def _state(arrays: dict[str, np.ndarray]) -> State:
    live = arrays["live"].astype(np.int64)
    segments = np.zeros((live.size, 4), dtype=np.int64)
    segments[:, END] = segments[:, LIMIT] = np.cumsum(live)
    segments[:, START] = segments[:, END] - live
    native = {n: a.astype(a.dtype.newbyteorder("=")) for n, a in arrays.items() if n != "live"}
    no_rows = np.full((1, native["sites"].shape[1]), -1, dtype=np.int32)
    sites = np.concatenate([native.pop("sites"), no_rows])
    point_sites_back(sites, native["molecules"])
    return State(Store(sites=sites, segments=segments, **native))


def _room(simulation: Simulation, live: np.ndarray) -> list[int]:
    seg = simulation.state.store.segments
    return [max(int(s[LIMIT] - s[START]), int(n) + 16) for s, n in zip(seg, live, strict=True)]


__all__ = [
    "CheckpointError", "Recorded", "contents", "described", "from_bytes", "load", "load_recorded",
    "opened", "save", "sealed", "to_bytes",
]  # fmt: skip
