"""Checkpoints: a state on disk, portable, without pickle, from which a run continues bit for bit.

One file (see ``core.sealed``) with scenario, address and step in its header. Whoever wrote it, what
is read must be a state that the scenario can be in: it is checked as ``invariants`` says before
compiled code, which trusts its arrays, sees it. A long run also keeps what it has recorded so far
(see :class:`Recorded`).
"""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, JsonValue

from synapse_abm.core.arguments import machine_bytes
from synapse_abm.core.fields import Frozen
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
from synapse_abm.synapse.engine.clock import Clock, Stretch
from synapse_abm.synapse.engine.layout import I64, Store
from synapse_abm.synapse.engine.network import Names, build_network
from synapse_abm.synapse.engine.simulation import Change, Simulation
from synapse_abm.synapse.engine.state import State, point_sites_back
from synapse_abm.synapse.engine.timeline import Timeline
from synapse_abm.synapse.scenario.cost import memory_bytes
from synapse_abm.synapse.scenario.definition import Scenario

MAGIC = b"synapse_abm checkpoint 1\n"
_RECORDED = "recorded"


class _Change(Frozen):
    """One entry of ``Simulation.changes``."""

    step: int = Field(ge=0, le=MAX_STEP)
    seconds: float = Field(ge=0, allow_inf_nan=False)
    values: dict[str, JsonValue]
    added: dict[str, Annotated[int, Field(ge=0, le=MAX_ENTITY)]]


class _Stretch(Frozen):
    """Steps of one length (``clock.Stretch``)."""

    first_step: int = Field(ge=0, le=MAX_STEP)
    first_s: float = Field(ge=0, allow_inf_nan=False)
    dt_s: float = Field(gt=0, allow_inf_nan=False)


class _Header(Header):
    scenario: dict[str, Any]  # as it was given
    now: dict[str, Any] | None  # as it was changed, if it was
    events: int = Field(ge=0, le=MAX_STEP)  # of its protocol that have happened
    dt_is_auto: bool
    seed: int
    replicate: int
    place: int
    step: int = Field(ge=0, le=MAX_STEP)
    clock: list[_Stretch] = Field(min_length=1)
    changes: list[_Change]
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
    arrays, changed = _arrays(simulation.state), simulation.scenario
    header: dict[str, Any] = {
        "scenario": simulation.given.model_dump(mode="json"),
        "now": None if changed is simulation.given else changed.model_dump(mode="json"),
        "events": simulation.timeline.done,
        "dt_is_auto": simulation.scenario.dt_is_auto,
        "seed": simulation.address.seed,
        "replicate": simulation.address.replicate,
        "place": simulation.address.place,
        "step": simulation.state.step,
        "clock": [asdict(stretch) for stretch in simulation.clock.stretches],
        "changes": [asdict(change) for change in simulation.changes],
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
    given = _scenario(header, header.scenario)
    scenario = given if header.now is None else _scenario(header, header.now)
    if Names.of(given) != Names.of(scenario) or given.grid != scenario.grid:
        raise ValueError("it was changed in what cannot change")
    # A header of a few bytes may speak of a scenario of any size: judged before anything is made.
    need, have = memory_bytes(scenario, 0.0, 0), machine_bytes()
    if need > have:
        raise ValueError(f"{need / 1e9:.3g} GB are needed, this machine has {have / 1e9:.3g}")
    simulation = Simulation(
        scenario, header.seed, header.replicate, header.place, check_every_step=check_every_step
    )
    simulation.given, simulation.timeline = given, Timeline(given, header.events)
    simulation.clock = _clock(header, scenario)
    for change in header.changes:
        simulation.remember(Change(**dict(change)))
    _demand_ordered(header, scenario)
    # The scenario's own state at time zero says which arrays there must be, of which types and
    # sizes; where sites were taken away there are more of them.
    fresh, live = simulation.state.store, arrays.get("live", np.zeros(0))
    check_arrays(arrays, _arrays(simulation.state), {"molecules": 1, "sites": 1})
    if (live < 0).any() or live.sum() != arrays["molecules"].shape[1]:
        raise ValueError("rows of molecules do not add up")
    # Rates are laid out for sites where the address puts them.
    for target in range(len(scenario.targets)):
        there, here = (x[0, x[lay.TARGET] == target] for x in (arrays["sites"], fresh.sites))
        if not np.array_equal(np.sort(there), np.sort(here)):
            raise ValueError("sites are not where this seed puts them")
    simulation.network = build_network(
        scenario, simulation.address, arrays["sites"], simulation.clock
    )
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


def _scenario(header: _Header, fields: dict[str, Any]) -> Scenario:
    scenario = Scenario.model_validate_json(json.dumps(fields))
    return scenario.with_chosen_step() if header.dt_is_auto else scenario


def _clock(header: _Header, scenario: Scenario) -> Clock:
    """The clock of a run that may have been changed, its stretches in order."""
    clock = Clock(tuple(Stretch(**dict(stretch)) for stretch in header.clock))
    first, *_ = clock.stretches
    if (first.first_step, first.first_s) != (0, 0.0) or clock.now.dt_s != scenario.dt_s:
        raise ValueError("its clock does not begin at zero, or is not that of the scenario")
    for before, after in itertools.pairwise(clock.stretches):
        if before.first_step >= after.first_step:
            raise ValueError("the stretches of its clock are out of order")
        if after.first_s != before.seconds(after.first_step):
            raise ValueError("the stretches of its clock do not join")
    return clock


def _demand_ordered(header: _Header, scenario: Scenario) -> None:
    """Changes that were made, one after the other, before the step of the checkpoint."""
    steps = [change.step for change in header.changes]
    steps += [stretch.first_step for stretch in header.clock]
    if max(steps) > header.step or [x.step for x in header.changes] != sorted(
        x.step for x in header.changes
    ):
        raise ValueError("its changes are out of order")
    names = {name for change in header.changes for name in change.added}
    if not names <= set(scenario.ligands):
        raise ValueError("it tells of molecules that were added of an unknown ligand")


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
