"""Checkpoints: a state on disk, portable, without pickle, from which a run continues bit for bit.

One file (see ``core.sealed``) with scenario, address and step in its header. Whoever wrote it, what
is read must be a state that the scenario can be in: it is checked as ``invariants`` says before
compiled code, which trusts its arrays, sees it. A long run also keeps what it has recorded so far
(see :class:`Recorded`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from synapse_abm.core.files import file_path, write_atomic
from synapse_abm.core.rng import MAX_ENTITY, MAX_STEP
from synapse_abm.core.sealed import (
    CheckpointError,
    Header,
    check_arrays,
    contents,
    opened,
    sealed,
)
from synapse_abm.synapse.engine import invariants
from synapse_abm.synapse.engine import layout as lay
from synapse_abm.synapse.engine.layout import I64, Store
from synapse_abm.synapse.engine.simulation import Simulation
from synapse_abm.synapse.engine.state import State, point_sites_back
from synapse_abm.synapse.scenario.cost import memory_bytes
from synapse_abm.synapse.scenario.definition import Scenario
from synapse_abm.synapse.scenario.feasibility import machine_bytes

MAGIC = b"synapse_abm checkpoint 1\n"
_RECORDED = "recorded"


class _Header(Header):
    scenario: dict[str, Any]
    seed: int
    replicate: int
    place: int
    step: int = Field(ge=0, le=MAX_STEP)
    digest: str | None = Field(default=None, pattern="^([0-9a-f]{2})*$", max_length=64)


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
    header = {
        "scenario": simulation.scenario.model_dump(mode="json"),
        "seed": simulation.address.seed,
        "replicate": simulation.address.replicate,
        "place": simulation.address.place,
        "step": simulation.state.step,
    }
    if recorded is not None:
        arrays[_RECORDED] = recorded.table
        header["digest"] = recorded.digest.hex()
    return sealed(MAGIC, header, arrays)


def load(path: str | Path, *, check_every_step: bool = False) -> Simulation:
    """The simulation that :func:`save` wrote, ready to continue bit for bit.

    Raises
    ------
    CheckpointError
        If the file is missing, truncated, changed, or no checkpoint of a version this one can read.
    """
    path = file_path(path)
    return from_bytes(contents(path), path, check_every_step=check_every_step)


def load_recorded(path: str | Path) -> Recorded:
    """What had been recorded when the checkpoint at ``path`` was written.

    Raises
    ------
    CheckpointError
        As :func:`load`; also if nothing was kept with the state.
    """
    path = file_path(path)
    header, arrays = opened(MAGIC, contents(path), path, _Header)
    if _RECORDED not in arrays or header.digest is None:
        what = "it holds a state, and nothing that was recorded"
        raise CheckpointError(path, what, "use load, or start the run again")
    table = arrays[_RECORDED]
    if table.dtype != np.int64 or table.ndim != 2:
        raise CheckpointError(path, "what was recorded is no table of counts")
    return Recorded(table, bytes.fromhex(header.digest))


def from_bytes(data: bytes, path: Path, *, check_every_step: bool = False) -> Simulation:
    """The inverse of :func:`to_bytes`; ``path`` is for messages."""
    header, arrays = opened(MAGIC, data, path, _Header)
    arrays.pop(_RECORDED, None)
    try:
        return _simulation(header, arrays, check_every_step)
    except (ValueError, IndexError, OverflowError, MemoryError, invariants.InvariantError) as error:
        what = f"what it holds is no state of a scenario: {str(error)[:300]}"
        raise CheckpointError(path, what) from error


def _simulation(
    header: _Header, arrays: dict[str, np.ndarray], check_every_step: bool
) -> Simulation:
    scenario = Scenario.model_validate_json(json.dumps(header.scenario))
    # A header of a few bytes may speak of a scenario of any size: judged before anything is made.
    need, have = memory_bytes(scenario, 0.0, 0), machine_bytes()
    if need > have:
        raise ValueError(f"{need / 1e9:.3g} GB are needed, this machine has {have / 1e9:.3g}")
    simulation = Simulation(
        scenario, header.seed, header.replicate, header.place, check_every_step=check_every_step
    )
    # The scenario's own state at time zero says which arrays there must be, of which types and
    # sizes.
    fresh, live = simulation.state.store, arrays.get("live", np.zeros(0))
    check_arrays(arrays, _arrays(simulation.state), {"molecules": 1})
    if (live < 0).any() or live.sum() != arrays["molecules"].shape[1]:
        raise ValueError("rows of molecules do not add up")
    # Rates are laid out for sites where the address puts them.
    if not np.array_equal(arrays["sites"][:2], fresh.sites[:2]):
        raise ValueError("sites are not where this seed puts them")
    meta, releases = arrays["meta"], len(simulation.network.space.schedule)
    counts = ((0, MAX_ENTITY + 1), meta[lay.NEXT_ID]), ((0, releases), meta[lay.SCHEDULED])
    if not all(low <= n <= high for (low, high), n in counts):
        raise ValueError(f"counters {meta.tolist()}")
    # Where rows lie is no part of what is kept: as much room as the scenario would have, or more.
    room = [max(n, k + 16) for n, k in zip(simulation.state.room(), live.tolist(), strict=True)]
    simulation.state = _state(arrays).resized(room)
    if simulation.state.step != header.step:
        raise ValueError(f"its step is {simulation.state.step}, and {header.step} in the header")
    invariants.check_arrays(simulation.state, scenario)
    return simulation


def _arrays(state: State) -> dict[str, np.ndarray]:
    """What is kept: the rows in use, and everything but where rows lie in memory."""
    store, rows = state.store, state.all_rows()
    arrays = store._asdict() | {
        "molecules": store.molecules[:, rows],
        "sites": store.sites[: lay.ROW],
    }
    del arrays["segments"]
    arrays["live"] = np.array([r.size for r in state.rows()], dtype=np.int64)
    return arrays


def _state(arrays: dict[str, np.ndarray]) -> State:
    live = arrays.pop("live")
    segments = np.zeros((live.size, 4), dtype=np.int64)
    segments[:, lay.END] = segments[:, lay.LIMIT] = np.cumsum(live)
    segments[:, lay.START] = segments[:, lay.END] - live
    no_rows = np.full((1, arrays["sites"].shape[1]), -1, dtype=np.int32)
    sites = np.concatenate([arrays.pop("sites"), no_rows])
    point_sites_back(sites, arrays["molecules"])
    return State(Store(sites=sites, segments=segments, **arrays))
