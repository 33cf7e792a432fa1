"""A run of the compiled engine: state, rates and scratch memory of one place, and what it
recorded.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from synapse_abm.core.address import Address
from synapse_abm.core.arguments import choice, instance, whole_number
from synapse_abm.core.errors import InputError, collected, raise_faults, shown
from synapse_abm.core.progress import stop_if_interrupted
from synapse_abm.core.rng import MAX_ENTITY, MAX_STEP, AddressError
from synapse_abm.synapse.engine import kernels as compiled_kernels
from synapse_abm.synapse.engine import layout as lay
from synapse_abm.synapse.engine import network as networks
from synapse_abm.synapse.engine.clock import Clock
from synapse_abm.synapse.engine.invariants import check
from synapse_abm.synapse.engine.layout import I64
from synapse_abm.synapse.engine.network import Names, Network, build_network, changed_network
from synapse_abm.synapse.engine.site_changes import with_sites_of
from synapse_abm.synapse.engine.start import started
from synapse_abm.synapse.engine.state import State, build_state, start_cells
from synapse_abm.synapse.engine.timeline import Timeline
from synapse_abm.synapse.scenario import Grid, Scenario
from synapse_abm.synapse.scenario.changes import added, changed_parts, plain
from synapse_abm.synapse.scenario.feasibility import step_faults
from synapse_abm.synapse.scenario.protocol import has_start, with_added

#: A compiled call cannot be interrupted, so a long run is made of calls of about this many seconds.
CALL_S = 0.2
#: A recording may take so many bytes.
MOST_RECORDED = 2**33
#: Scratch memory for more rows and cells is not kept for the next simulation.
SHARED = 2**16
#: Characters of the history of changes that a checkpoint may hold, and of one entry but its values.
MOST_HISTORY, HISTORY_ENTRY = 2**24, 80
#: Steps of the first call, when nobody knows yet how long a step takes.
FIRST_CALL = 8


@dataclass(frozen=True, slots=True)
class Series:
    """What was recorded: totals over the place after each recorded step.

    All arrays have one entry per record; ``seconds`` is the time (s) of each. Counts of events are
    totals since the start of the run.
    """

    scenario: Scenario
    names: Names
    step: np.ndarray
    seconds: np.ndarray
    totals: np.ndarray
    events: np.ndarray
    replicate: int = 0

    def bound(self, target: str, ligand: str) -> np.ndarray:
        """Sites of ``target`` that hold ``ligand``."""
        return self.totals[:, self.names.pair_number(target, ligand)]

    def occupancy(self, target: str, ligand: str) -> np.ndarray:
        """Share of the sites of ``target`` that hold ``ligand``, 0 to 1; nan while it has none."""
        sites = self.sites(target)
        empty = np.full(sites.shape, np.nan)
        share: np.ndarray = np.divide(self.bound(target, ligand), sites, out=empty, where=sites > 0)
        return share

    def sites(self, target: str) -> np.ndarray:
        """Sites of ``target`` that there were, empty or occupied."""
        number = self.names.targets.index(choice("target", target, self.names.targets))
        columns = [p for p, pair in enumerate(self.names.pairs) if pair[0] == target]
        return self.totals[:, [self.names.empty(number), *columns]].sum(axis=1)

    def free(self, ligand: str) -> np.ndarray:
        """Free molecules."""
        return self.totals[:, self.names.free(self.names.ligand_number(ligand))]

    def free_nM(self, ligand: str) -> np.ndarray:
        """Concentration of free molecules over the whole place, nM."""
        return self.free(ligand) / self.scenario.grid.molecules_per_nM

    def flux(self, target: str, ligand: str) -> np.ndarray:
        """Molecules that ``target`` took up per second since the record before, or the start."""
        # Counts only grow; their differences are what passed between two records.
        counted = self.count("transported", ligand, target)
        rate: np.ndarray = np.diff(counted, prepend=0) / np.diff(self.seconds, prepend=0.0)
        return rate

    def inside(self, ligand: str) -> np.ndarray:
        """Molecules that were transported and are still inside."""
        return self.totals[:, self.names.inside(self.names.ligand_number(ligand))]

    def count(self, event: str, ligand: str, target: str | None = None) -> np.ndarray:
        """Completed events: ``bound unbound transported`` of a pair, else of a ligand.

        Bindings and unbindings on a grid are those of the rates adjusted to the step, s times as
        many as in continuous time (``scenario.adjustments``): a molecule that lets go and binds
        again within a step does so in the same cell. What escapes from a cell, and what is
        transported, are counted as they are in continuous time. A stay at a site that is read from
        them is one until its first release.
        """
        return self.events[:, event_index(self.names, event, ligand, target)]


def event_index(names: Names, event: str, ligand: str, target: str | None) -> int:
    """Column of an event counter; ``target`` counts only where the event is one of a pair."""
    if choice("event", event, lay.PAIR_EVENTS + lay.LIGAND_EVENTS) in lay.PAIR_EVENTS:
        pair = names.pair_number(choice("target", target, names.targets), ligand)
        return names.counter(lay.PAIR_EVENTS.index(event), pair)
    kind = lay.RETURN + lay.LIGAND_EVENTS.index(event)
    return names.counter(kind, names.ligand_number(ligand))


@dataclass(slots=True)
class Recorder:
    """A recording under way: one row of totals and events after every ``every``-th step."""

    scenario: Scenario
    names: Names
    first_step: int
    steps: int
    every: int
    table: I64

    def note(self, done: int, store: lay.Store) -> None:
        """Record the state after ``done`` steps, if it is due."""
        if self.every and done % self.every == 0:
            self.table[done // self.every - 1] = np.concatenate([store.totals, store.events])

    def series(self, clock: Clock) -> Series:
        """What was recorded, by the clock of the run."""
        records = self.steps // self.every if self.every else 0
        numbers = self.first_step + self.every * np.arange(1, records + 1, dtype=np.int64)
        table = self.table[:records]
        return Series(
            self.scenario,
            self.names,
            numbers,
            clock.seconds(numbers),
            table[:, : self.names.ones],
            table[:, self.names.ones :],
        )


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a running scenario: when, values by path as they were given, molecules added."""

    step: int
    seconds: float
    values: Mapping[str, Any]
    added: Mapping[str, int]


class Simulation:
    """One place advanced by the compiled engine.

    Parameters
    ----------
    scenario
        What is simulated.
    seed, replicate, place
        Address of its random numbers (see ``rng``); replicates of one seed are independent.
    check_every_step
        Check all invariants after every step (slow; raises ``InvariantError``).
    kernels
        The module of compiled functions; another one only to plant a bug.
    """

    def __init__(
        self,
        scenario: Scenario,
        seed: int = 0,
        replicate: int = 0,
        place: int = 0,
        *,
        check_every_step: bool = False,
        kernels: ModuleType = compiled_kernels,
    ) -> None:
        fix = "read_scenario(path) makes one from a file"
        self.given = instance("scenario", scenario, Scenario, fix=fix)
        #: What holds now: the scenario as it was changed so far, without its protocol.
        self.scenario = scenario.without_protocol() if scenario.at else scenario
        self.address = Address(seed, replicate, place)
        self.names = Names.of(scenario)
        self.check_every_step = check_every_step
        self._kernels = kernels
        self.state = build_state(scenario, self.address, expected_rows(scenario))
        if has_start(scenario):
            self.state, came = started(self.state, scenario, self.address)
            self.scenario = self.scenario.becoming(
                scenario.targets, with_added(scenario.ligands, came), scenario.dt_s
            )
        self.timeline = Timeline(scenario)
        #: How often anything has been changed; who keeps copies of what is in force looks here.
        self.revision = 0
        self.clock = Clock.start(scenario.dt_s)
        self.network = build_network(scenario, self.address, self.state.store.sites)
        self.changes: list[Change] = []
        self._history = 0  # characters that it takes to tell the changes
        self._scratch: tuple[int, lay.Landing, lay.Scratch] | None = None  # with its thread
        self._chunk = FIRST_CALL  # steps of a compiled call; it soon finds its size

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles leave out scratch memory and name the kernels."""
        fresh = {"_kernels": self._kernels.__name__, "_scratch": None, "_chunk": FIRST_CALL}
        return self.__dict__ | fresh

    def __setstate__(self, state: dict[str, Any]) -> None:
        """The inverse."""
        self.__dict__.update(state, _kernels=sys.modules[state["_kernels"]])

    @property
    def step_number(self) -> int:
        """Steps completed."""
        return self.state.step

    @property
    def seconds(self) -> float:
        """Physical time, s."""
        return self.clock.now.seconds(self.state.step)

    def change(self, changes: Mapping[str, Any], add: Mapping[str, Any] | None = None) -> None:
        """Change the scenario that runs, from the next step on; bring molecules in at once.

        Parameters
        ----------
        changes
            Values by their path in a scenario file (see ``scenario.changes``):
            ``{"ligand.citalopram.clamped": "3 nM"}``.
        add
            Molecules by ligand, a number or a concentration over the whole place: they come in
            free, scattered at random.

        Molecules that are there stay who they are: a lower concentration lets them leave. A step
        that was chosen is chosen anew, and so is how rates are adjusted to it.

        Raises
        ------
        InputError, InputErrors
            All that is wrong with both; nothing is changed then.
        """
        self.apply_due()
        faults, numbers = list[InputError](), dict[str, int]()
        targets, ligands = self.scenario.targets, self.scenario.ligands
        with collected(faults):
            targets, ligands = changed_parts(self.scenario, changes)
        with collected(faults):
            numbers = added(self.scenario, {} if add is None else add)
        raise_faults(faults)
        scenario = self.scenario.becoming(targets, with_added(ligands, numbers))
        raise_faults(list(step_faults(scenario)))
        self._require_ids(sum(numbers.values()))
        told = {str(path): plain(value) for path, value in changes.items()}
        self.remember(Change(self.state.step, self.seconds, told, numbers))
        self._become(scenario, numbers)

    def apply_due(self) -> None:
        """Change what the protocol says to change at the time that has been reached."""
        while self.timeline.step_due(self.clock.now) <= self.state.step:
            event = self.timeline.pop()
            targets, ligands = changed_parts(self.scenario, event.changes)
            ligands = with_added(ligands, event.added)
            # The step was chosen for the whole protocol; who changed more may need another, but
            # not at each stair of a ramp.
            anew = self.changes and self.scenario.dt_is_auto and not event.within_ramp
            dt_s = None if anew else self.scenario.dt_s
            scenario = self.scenario.becoming(targets, ligands, dt_s)
            self._require_ids(sum(event.added.values()))
            self._become(scenario, event.added)

    def _steps_to_event(self) -> float:
        """Steps from here to the next event of the protocol, after what is due was changed."""
        self.apply_due()
        return self.timeline.step_due(self.clock.now) - self.state.step

    def remember(self, change: Change) -> None:
        """Add a change to the history, which stays one that a checkpoint can hold.

        Raises
        ------
        InputError
            If it would become too long.
        """
        size = self._history + HISTORY_ENTRY + len(json.dumps(dict(change.values)))
        if size > MOST_HISTORY:
            allowed = f"changes that take at most {MOST_HISTORY:,} characters to tell in one run"
            fix = "begin a new run with what holds now"
            raise InputError("changes", dict(change.values), allowed, fix)
        self._history = size
        self.changes.append(change)

    def _require_ids(self, n: int) -> None:
        if int(self.state.store.meta[lay.NEXT_ID]) + n > MAX_ENTITY:
            raise AddressError("molecule numbers are used up; start a new run with another seed")

    def _become(self, after: Scenario, numbers: Mapping[str, int]) -> None:
        """Go on as ``after``, with as many new molecules by ligand."""
        self.revision += 1
        before, self.scenario = self.scenario, after
        self.clock = self.clock.changed(self.state.step, after.dt_s)
        if after.targets != before.targets:
            self.state = with_sites_of(self.state, after, self.address, self.seconds)
        old = self.network
        self.network = changed_network(
            old, before, after, self.address, self.state.store.sites, self.clock
        )
        schedule = self.network.space.schedule[:, lay.DUE_STEP]
        self.state.store.meta[lay.SCHEDULED] = int((schedule < self.state.step).sum())
        if _scratch_shape(self.network) != _scratch_shape(old) or after.targets != before.targets:
            self._scratch = None
        # Anywhere, and their cells are drawn as those at the start are.
        for ligand, n in numbers.items():
            first = int(self.state.store.meta[lay.NEXT_ID])
            cells = start_cells(self.scenario, self.address, None, first, n)
            number, rows = self.names.ligand_number(ligand), self.state.room()
            self.state = self.state.add(number, cells, self.scenario.grid.width)
            self.state.store.totals[self.names.free(number)] += n
            if self.state.room() != rows:
                self._scratch = None

    def run(self, steps: int, every: int = 0) -> Series:
        """Advance by ``steps`` and record after every ``every``-th step (0: record nothing).

        Raises
        ------
        InputError, InputErrors
            If ``steps`` or ``every`` is no whole number >= 0, or the records would be too many.
        AddressError
            If the run would need a step or molecule number beyond the generator's address.
        """
        recorder = self.recorder(steps, every)
        steps, every = recorder.steps, recorder.every
        done = 0
        # One call for all steps would be fastest and could not be interrupted, nor show progress.
        while done < steps:
            stop_if_interrupted()
            chunk = 1 if self.check_every_step else min(self._chunk, steps - done)
            chunk = int(min(chunk, self._steps_to_event()))
            start = time.perf_counter()
            while not self._attempt(chunk, recorder.table, every, done):
                pass  # rows ran full: again with more room
            done += chunk
            took_s = time.perf_counter() - start
            if chunk == self._chunk or took_s > CALL_S:  # not a short rest
                self._chunk = next_chunk(chunk, took_s)
            if self.check_every_step:
                self.check()
        return recorder.series(self.clock)

    def recorder(self, steps: int, every: int) -> Recorder:
        """An empty recording of the next ``steps`` steps."""
        steps, every = check_steps(steps, every)
        every = min(every, steps + 1)  # compiled code takes 64 bits; beyond the end is beyond it
        # Before anything runs: a table that does not fit should not be found out hours later.
        self._require_addresses(steps)
        width = self.state.store.totals.size + self.state.store.events.size
        records = max(steps // every if every else 0, 1)
        if (largest := MOST_RECORDED // (8 * max(width, 1))) < records:
            fix = f"record every {-(-steps // largest)} steps, or run in parts"
            allowed = f"one that makes at most {largest} records"
            raise InputError("every", every, allowed, fix)
        table = np.zeros((records, width), dtype=np.int64)
        return Recorder(self.scenario, self.names, self.state.step, steps, every, table)

    def check(self) -> None:
        """Check all invariants of the state as it is.

        Raises
        ------
        InvariantError
            At the first contradiction.
        """
        check(self.state, self.scenario, self.clock)

    def run_hashed(self, every: int, records: int, digest: bytes) -> tuple[I64, bytes]:
        """Advance by ``records`` times ``every`` steps: totals and events after each, and a hash.

        The hash goes on from ``digest``: that of the record before, the number of the step, and
        all that ``State.digest_into`` takes in. Same as ``run`` record by record, but one call of
        compiled code for all of them: for a small place the call costs more than the steps.
        """
        self._require_addresses(every * records)
        first = self.step_number
        numbers = self.state.store.totals.size + self.state.store.events.size
        table, done = np.empty((records, self.record_width), dtype=np.int64), 0
        while done < every * records:
            steps = int(min(every * records - done, self._steps_to_event()))
            if (width := self.record_width) > table.shape[1]:
                # Rows ran full, or a change made more of them: what is recorded has room to spare.
                wider = np.empty((records, width), dtype=np.int64)
                wider[:, : table.shape[1]] = table
                table = wider
            if self._attempt(steps, table, every, done):  # else again with more room
                done += steps
        # The hash of a record is all that a small place costs, so nothing is made for it: the
        # number of the step takes the place of how many words follow, and each hash reads them
        # where they lie.
        ends = (8 * (numbers + 1 + table[:, numbers])).tolist()
        table[:, numbers] = first + every * np.arange(1, records + 1)
        data = memoryview(table.astype("<i8", copy=False)).cast("B")
        start, width = 8 * numbers, 8 * table.shape[1]
        for at, end in enumerate(ends):
            link = hashlib.sha256(digest)
            link.update(data[at * width + start : at * width + end])
            digest = link.digest()
        return table[:, :numbers], digest

    @property
    def record_width(self) -> int:
        """Numbers of a record with all that is hashed: totals, events, molecules, sites."""
        store = self.state.store
        hashed = 1 + 4 * store.molecules.shape[1] + store.sites.shape[1]
        return int(store.totals.size + store.events.size + hashed)

    def _attempt(self, steps: int, record: I64, every: int, done: int) -> bool:
        """Take ``steps`` steps, if the rows do not run full; else take them back and make room.

        Draws depend on nothing but their address, so the second try is the first one with more
        room.
        """
        # A copy of the arrays is cheap beside the steps of a call, and rows rarely run full.
        before = self.state.copy() if self._may_grow else self.state
        # Simulations of one thread may share scratch memory, those of two never.
        if self._scratch is None or self._scratch[0] != threading.get_ident():
            self._scratch = threading.get_ident(), *scratch(self.state, self.network)
        net = self.network
        with np.errstate(over="ignore"):  # wrap-around is meant, where the compiler is off
            completed = self._kernels.advance(
                net.plan, self.state.store, net.space, net.chemistry, *self._scratch[1:],
                record, steps, every, done,
            )  # fmt: skip
        if completed < steps:
            full = int(self.state.store.meta[lay.FULL]) - 1
            self.state = before
            self.make_room(full)
        return bool(completed == steps)

    @property
    def _may_grow(self) -> bool:
        """Only what comes in can overfill the rows; a closed place is spared the copy for a second
        try.
        """
        return any(x.reservoir or x.batches for x in self.scenario.ligands.values())

    def make_room(self, ligand: int) -> None:
        """Double the rows of a ligand."""
        room = self.state.room()
        room[ligand] *= 2
        self.state, self._scratch = self.state.resized(room), None

    def _require_addresses(self, steps: int) -> None:
        if self.state.step + steps > MAX_STEP:
            raise AddressError(f"step {shown(self.state.step + steps)} is beyond {MAX_STEP}")
        # 2**24 numbers are left for the call: no call makes as many.
        if int(self.state.store.meta[lay.NEXT_ID]) > MAX_ENTITY - 2**24:
            raise AddressError("molecule numbers are used up; start a new run with another seed")

    def last_time_s(self, event: str, ligand: str, target: str | None = None) -> float:
        """Time of the latest event of a kind, s (nan if there was none)."""
        return float(self.state.store.last_s[event_index(self.names, event, ligand, target)])

    def trajectory_sha256(self, steps: int, every: int) -> str:
        """Run, and hash every molecule's id, cell, site and compartment at each recorded step."""
        digest = hashlib.sha256()
        for _ in range(steps // every):
            self.run(every)
            digest.update(self.state.step.to_bytes(8, "little"))
            self.state.digest_into(digest)
        return digest.hexdigest()


def _scratch_shape(network: Network) -> tuple[int, int, bool]:
    """What the sizes of scratch memory depend on, of a network."""
    space = network.space
    leaves = bool((space.exchange[:, lay.LEAVE] > 0).any())
    # Arrays of places are kept as they are where no place changed: the same object, the same cells.
    return network.chemistry.rate.size, id(space.active), leaves


def load_kernels() -> None:
    """Load the compiled step, or compile it, by one step of an empty cell.

    The step is loaded at its first call. A process that is about to be copied for workers does so
    once; each of them would take as long, and where nothing is cached yet each would compile.
    """
    Simulation(Scenario(grid=Grid.well_mixed(1.0), dt_s=1.0)).run(1)


def check_steps(steps: object, every: object) -> tuple[int, int]:
    """Numbers of steps, whole and >= 0; all that is wrong with them, at once."""
    faults, numbers = list[InputError](), list[int]()
    for name, value in (("steps", steps), ("every", every)):
        with collected(faults):
            numbers.append(whole_number(name, value, of="steps"))
    raise_faults(faults)
    return numbers[0], numbers[1]


def next_chunk(steps: int, took_s: float) -> int:
    """Steps of the next compiled call, by how long the last took; no result depends on it."""
    # Up to 32-fold while calls are short, later by two, with a gap between growing and shrinking,
    # so that it does not swing.
    if took_s < CALL_S / 2:
        return steps * max(2, min(32, int(CALL_S / 4 / max(took_s, 1e-6))))
    return max(1, steps // 2) if took_s > CALL_S else steps


def expected_rows(scenario: Scenario) -> list[int]:
    """Rows to make room for, by ligand: what the reservoir holds at balance, with a margin.

    Only a guess that avoids copying: rows that run full are doubled.
    """
    sites = scenario.n_sites
    rows = []
    for ligand in scenario.ligands.values():
        extra = coming = 0.0
        if ligand.reservoir:
            extra = ligand.reservoir.concentration_nM * scenario.grid.molecules_per_nM + sites
            # Rows of those that left are used again when they are a quarter of all; meanwhile those
            # that come in a step need rows of their own.
            coming = extra * min(ligand.reservoir.exchange_per_s * scenario.dt_s, 4.0)
        # Batches may come before those of the last have left.
        if ligand.batches:
            extra += 4 * max(batch.size for batch in ligand.batches)
        rows.append(max(ligand.count + math.ceil(1.34 * extra + coming + 8 * math.sqrt(extra)), 16))
    return rows


class _Last(threading.local):
    """The scratch memory that was made last in a thread, and its sizes."""

    sizes: tuple[Any, ...] = ()
    memory: tuple[lay.Landing, lay.Scratch]


_last = _Last()


def forget_shared() -> None:
    """Drop what replicates share: the next one is set up as if it were the first."""
    networks.forget_shared()
    _last.sizes = ()


def scratch(state: State, net: Network) -> tuple[lay.Landing, lay.Scratch]:
    """Scratch memory of the compiled engine for a state of this size; nothing in it outlives a
    step.

    Simulations that follow one another in a thread, as replicates do, get the same if it fits and
    is small.
    """
    seg, active, channels = state.store.segments, net.space.active.size, net.chemistry.rate.size
    rows = int(seg[-1, lay.LIMIT]) if seg.size else 0
    leaving = rows + 1 if (net.space.exchange[:, lay.LEAVE] > 0).any() else 1
    room = _list_room(state, net)
    sizes = (rows, active, channels, leaving, len(net.names.ligands), *room)
    if sizes != _last.sizes:
        made = _new_scratch(rows, active, channels, leaving, len(net.names.ligands), room)
        if rows + active > SHARED:
            return made
        _last.sizes, _last.memory = sizes, made
    return _last.memory


def _new_scratch(
    rows: int, active: int, channels: int, leaving: int, ligands: int, room: list[int]
) -> tuple[lay.Landing, lay.Scratch]:
    block, lists = compiled_kernels.BLOCK, len(room) + 1
    # One row more than there are: kernels write before they know whether it counts.
    landing = lay.Landing(
        rows=lay.in_lines(rows + 1, np.uint32),
        end=np.zeros(max(ligands, 1), dtype=np.int64),
        follow=lay.in_lines(rows + 1, np.int32),
        head=np.full(active, -1, dtype=np.int32),
        counts=np.zeros((lists, active), dtype=np.int32),
        total=lay.in_lines(active, np.float64),
        waiting=lay.in_lines(active, np.float64),
        ready=np.zeros(active + 1, dtype=np.int64),
    )
    memory = lay.Scratch(
        # Twice the block: ids of a block of rows may have as many holes before each draws for
        # itself.
        words=lay.in_lines(2 * block + 2, np.uint64),
        offsets=lay.in_lines(block, np.uint32),
        counts=np.zeros(lists, dtype=np.int64),
        members=np.zeros(sum(room) + 1, dtype=np.uint32),
        first=np.concatenate([[0], np.cumsum(room)]).astype(np.int64),
        propensity=np.zeros(channels),
        rate=np.zeros(channels),
        draws=lay.in_lines(2 * compiled_kernels.BUFFER, np.uint64),
        wait=lay.in_lines(compiled_kernels.BUFFER, np.float64),
        select=lay.in_lines(compiled_kernels.BUFFER, np.float64),
        leaving=np.zeros(leaving, dtype=np.uint32),
        leaving_u=np.zeros(leaving),
    )
    return landing, memory


def _list_room(state: State, net: Network) -> list[int]:
    """Longest possible list of members of one cell, for each row of the table of counts but the
    ones.
    """
    sites = state.store.sites
    # All molecules of a ligand may meet in one cell, however unlikely; sites stay where they are.
    at_most = []
    for target in range(len(net.names.targets)):
        cells = sites[lay.SITE_CELL, sites[lay.TARGET] == target]
        at_most.append(int(np.bincount(cells).max(initial=0)))
    return [at_most[t] for t in net.chemistry.pairs[:, 0]] + at_most + 2 * state.room()
