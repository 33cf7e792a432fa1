"""Checkpoints: a state on disk, portable, without pickle, from which a run continues bit for bit.

One file: a line that names the format, a header in JSON (scenario, seed, versions, arrays with
their types and shapes), the arrays' bytes in little-endian order, and a SHA-256 of all that came
before. A long run also keeps what it has recorded so far (see :class:`Recorded`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from synapse_abm import __version__
from synapse_abm.core.files import write_atomic
from synapse_abm.core.sealed import CheckpointError, contents, described, opened, sealed
from synapse_abm.synapse.engine.layout import END, I64, LIMIT, ROW, START, Store
from synapse_abm.synapse.engine.simulation import Simulation
from synapse_abm.synapse.engine.state import State, point_sites_back
from synapse_abm.synapse.scenario.definition import Scenario

MAGIC = b"synapse_abm checkpoint 1\n"
_RECORDED = "recorded"
_DTYPES = {"molecules": "<u4", "sites": "<i4", "last_s": "<f8"}  # the rest is <i8


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
