"""The state of one place: arrays, and nothing that is not in the arrays.

A state knows how to be built, grown, listed and hashed. How it changes in time is the
business of the two engines (``kernels`` and ``agents``).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from synapse_abm.core.address import Address
from synapse_abm.core.rng import MAX_ENTITY, Stream, molecule_words, uniforms
from synapse_abm.synapse.engine import layout as lay
from synapse_abm.synapse.engine.layout import I32, I64, U32, Store
from synapse_abm.synapse.engine.network import Names, place_sites
from synapse_abm.synapse.scenario.definition import Scenario


@dataclass(slots=True)
class State:
    """The arrays of a place (see ``layout.Store``) and what can be asked of them."""

    store: Store

    @property
    def step(self) -> int:
        """Steps completed."""
        return int(self.store.meta[lay.STEP])

    def copy(self) -> State:
        """An independent copy."""
        return State(Store(**{name: a.copy() for name, a in self.store._asdict().items()}))

    def rows(self) -> list[I64]:
        """Rows of the molecules that are there, by ligand, ascending in id."""
        compartment = self.store.molecules[lay.COMPARTMENT]
        return [
            np.flatnonzero(compartment[start:end] != lay.GONE) + start
            for start, end, _, _ in self.store.segments
        ]

    def all_rows(self) -> I64:
        """The same as one array."""
        # Nothing to concatenate is an error to NumPy: a place may have no ligand.
        rows: I64 = np.concatenate([np.zeros(0, dtype=np.int64), *self.rows()])
        return rows

    def room(self) -> list[int]:
        """Rows there are, in use or not, by ligand."""
        segments = self.store.segments
        return [int(n) for n in segments[:, lay.LIMIT] - segments[:, lay.START]]

    def live(self) -> int:
        """Number of molecules in the place: free, bound and inside."""
        seg = self.store.segments
        return int((seg[:, lay.END] - seg[:, lay.START] - seg[:, lay.DEAD]).sum())

    def cells_of(self, rows: I64) -> I64:
        """Cell of each row; a bound molecule is where its site is."""
        mol = self.store.molecules
        cell: I64 = mol[lay.CELL, rows].astype(np.int64)
        bound = mol[lay.COMPARTMENT, rows] == lay.BOUND
        cell[bound] = self.store.sites[lay.SITE_CELL, mol[lay.SITE, rows[bound]].astype(np.int64)]
        return cell

    def resized(self, room: list[int]) -> State:
        """The same state with room for ``room`` rows by ligand, gaps closed."""
        molecules, segments = _empty_rows(room)
        sites = self.store.sites.copy()
        for number, rows in enumerate(self.rows()):
            start = segments[number, lay.START]
            end = start + rows.size
            molecules[:, start:end] = self.store.molecules[:, rows]
            segments[number, lay.END] = end
        point_sites_back(sites, molecules)
        return State(self.store._replace(molecules=molecules, sites=sites, segments=segments))

    def add(self, ligand: int, cells: I64, width: int) -> State:
        """The same with new free molecules of a ligand, one in each of ``cells``; ids go on."""
        state, number = self, int(self.store.meta[lay.NEXT_ID])
        room = self.room()
        if (
            self.store.segments[ligand, lay.END] + cells.size
            > self.store.segments[ligand, lay.LIMIT]
        ):
            room[ligand] = 2 * room[ligand] + cells.size
            state = self.resized(room)
        store = state.store
        end = int(store.segments[ligand, lay.END])
        store.segments[ligand, lay.END] = end + cells.size
        mine = store.molecules[:, end : end + cells.size]
        mine[lay.ID] = np.arange(number, number + cells.size)
        mine[lay.CELL] = cells
        mine[lay.Y], mine[lay.X] = np.divmod(mine[lay.CELL], np.uint32(width))
        mine[lay.COMPARTMENT], mine[lay.SITE] = lay.FREE, lay.NO_SITE
        store.meta[lay.NEXT_ID] += cells.size
        return state

    def digest_into(self, digest: hashlib._Hash) -> None:
        """Feed every molecule's id, cell, site and compartment, by ligand and id, into a hash."""
        # By id and not by row, in a fixed type and order of bytes: two engines, and two machines,
        # may keep the same molecules in other places.
        rows, mol = self.all_rows(), self.store.molecules
        for array in (
            mol[lay.ID, rows],
            self.cells_of(rows),
            mol[lay.SITE, rows],
            mol[lay.COMPARTMENT, rows],
        ):
            digest.update(array.astype("<i8").tobytes())
        digest.update(self.store.sites[lay.LIGAND].astype("<i8").tobytes())


def point_sites_back(sites: I32, molecules: U32) -> None:
    """Set the row in each site from the site in each bound molecule's row."""
    # Site and molecule name each other, so that both engines find either in one look; a change of
    # rows has only to set one direction anew.
    bound = np.flatnonzero(molecules[lay.COMPARTMENT] == lay.BOUND)
    sites[lay.ROW] = -1
    sites[lay.ROW, molecules[lay.SITE, bound].astype(np.int64)] = bound


def _empty_rows(room: list[int]) -> tuple[U32, I64]:
    a_line = lay.LINE // 4
    room = [-(-n // a_line) * a_line for n in room]  # so that every field begins a cache line
    molecules: U32 = lay.in_lines((6, sum(room)), np.uint32)
    molecules[lay.COMPARTMENT], molecules[lay.SITE] = lay.GONE, lay.NO_SITE
    segments = np.zeros((len(room), 4), dtype=np.int64)
    segments[:, lay.LIMIT] = np.cumsum(room)
    segments[:, lay.START] = segments[:, lay.END] = segments[:, lay.LIMIT] - room
    return molecules, segments


def build_state(scenario: Scenario, address: Address, room: list[int]) -> State:
    """The state at time zero: free molecules where they start, all sites empty.

    ``room`` is the number of rows by ligand, at least the ligand's count; more are made when
    needed.
    """
    counts = [ligand.count for ligand in scenario.ligands.values()]
    if sum(counts) > MAX_ENTITY:
        raise ValueError(f"{sum(counts)} molecules are more than there are ids ({MAX_ENTITY})")
    molecules, segments = _empty_rows(room)
    # Ids ascend through the ligands in order; new molecules take the next, and none is used again.
    next_id = 0
    for number, ligand in enumerate(scenario.ligands.values()):
        start = segments[number, lay.START]
        segments[number, lay.END] = end = start + ligand.count
        mine = molecules[:, start:end]
        mine[lay.ID] = np.arange(next_id, next_id + ligand.count)
        mine[lay.CELL] = start_cells(scenario, address, ligand.start_cell, next_id, ligand.count)
        # On the first half of the ring, where reflecting walls have not been met yet.
        mine[lay.Y], mine[lay.X] = np.divmod(mine[lay.CELL], np.uint32(scenario.grid.width))
        mine[lay.COMPARTMENT] = lay.FREE
        next_id += ligand.count
    return State(_new_store(scenario, address, molecules, segments, next_id))


def _new_store(
    scenario: Scenario, address: Address, molecules: U32, segments: I64, next_id: int
) -> Store:
    names = Names.of(scenario)
    cell, target = place_sites(scenario, address)
    totals = np.zeros(names.ones, dtype=np.int64)
    for number, t in enumerate(scenario.targets.values()):
        totals[names.empty(number)] = t.n_sites
    for number, ligand in enumerate(scenario.ligands.values()):
        totals[names.free(number)] = ligand.count
    nothing = np.full(cell.size, -1, dtype=np.int32)
    return Store(
        molecules=molecules,
        sites=np.stack([cell, target, nothing, nothing]),
        segments=segments,
        meta=np.array([0, next_id, 0, 0], dtype=np.int64),
        totals=totals,
        events=np.zeros(names.counters, dtype=np.int64),
        last_s=np.full(names.counters, np.nan),
    )


def start_cells(
    scenario: Scenario, address: Address, start: tuple[int, int] | None, first: int, n: int
) -> I64:
    """A cell for each of ``n`` molecules from id ``first`` on: ``start``, or uniform,
    independent.
    """
    grid = scenario.grid
    if start is not None:
        return np.full(n, start[1] * grid.width + start[0])
    # Addressed by id, as hops are: another ligand in the scenario moves the ids, nothing else.
    if n == 0:
        return np.zeros(0, dtype=np.int64)
    ids = np.arange(first, first + n, dtype=np.uint64)
    words = molecule_words(
        address.seed, address.replicate, address.place, Stream.PLACE_MOLECULES, 0, ids
    )
    return np.minimum((uniforms(words) * grid.cells).astype(np.int64), grid.cells - 1)
