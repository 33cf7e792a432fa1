"""A model as its agents, its grid and its stepper see it: arrays, random numbers, who is where.

It imports no class of agents, or the modules would import each other in a circle; ``model`` hands
it the classes it makes agents of.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from functools import cached_property
from operator import attrgetter
from typing import Any

import mesa
import numpy as np

from synapse_abm.core.address import Address
from synapse_abm.core.errors import InputError
from synapse_abm.core.lazy_model import LazyModel, is_users
from synapse_abm.core.rng import (
    MAX_ENTITY,
    Stream,
    counter_high,
    key_words,
    molecule_words,
    philox4x32,
    uniform,
)
from synapse_abm.synapse.engine import layout as lay
from synapse_abm.synapse.engine.layout import I64, Chemistry, Plan, Space, Store
from synapse_abm.synapse.engine.network import Names
from synapse_abm.synapse.engine.simulation import Simulation
from synapse_abm.synapse.scenario import Scenario


class Draws:
    """The random numbers of one step, by address; words that all molecules need are made at
    once.
    """

    def __init__(self, address: Address, step: int, next_id: int) -> None:
        self.address, self.step = address, step
        self._ids = np.arange(min(next_id, MAX_ENTITY), dtype=np.uint64)
        self._words: dict[Stream, list[int]] = {}
        self._blocks: dict[tuple[Stream, int, int], tuple[int, int, int, int]] = {}

    def _molecule_word(self, stream: Stream, molecule: int) -> int:
        # For all ids at once, gone or not: one vector instead of a Philox in Python for each of
        # them.
        if stream not in self._words:
            a = self.address
            words = molecule_words(a.seed, a.replicate, a.place, stream, self.step, self._ids)
            self._words[stream] = words.tolist()
        return self._words[stream][molecule]

    def hop_word(self, molecule: int) -> int:
        """64 random bits for a molecule's hop."""
        return self._molecule_word(Stream.HOP, molecule)

    def leaving(self, molecule: int) -> float:
        """Uniform number that decides whether a molecule leaves an inactive cell."""
        return uniform(self._molecule_word(Stream.LEAVE, molecule))

    def number(self, stream: Stream, entity: int, k: int) -> float:
        """Uniform number ``k`` of an entity (a cell's clock, a ligand's arrivals)."""
        # A block of the generator is 128 bits and a number takes 64: numbers 2 j and 2 j + 1 share
        # one.
        at = (stream, entity, k >> 1)
        if at not in self._blocks:
            a = self.address
            c2, c3 = counter_high(a.replicate, a.place, stream, self.step)
            self._blocks[at] = philox4x32((entity, k >> 1, c2, c3), key_words(a.seed))
        words = self._blocks[at]
        return uniform(words[2] | words[3] << 32 if k & 1 else words[0] | words[1] << 32)


class PlaceModel(LazyModel):
    """A place whose state is in arrays."""

    simulation: Simulation
    n_sites: int
    #: Grows whenever the arrays have changed without the agents' knowledge.
    epoch: int
    #: Rate (1/s) of each kind of event, by number of its pair or ligand.
    rates: dict[tuple[int, int], float]
    #: What molecules are made of, by number of the ligand, and sites, by number of the target.
    molecule_classes: list[type[Any]]
    site_classes: list[type[Any]]
    #: The cells as a grid of Mesa.
    synapse_grid: Any
    _molecules: list[dict[int, Any]]  # by ligand and id
    _sites: list[Any]
    _some_away = False  # whether a change took sites away
    _synced: int  # the step that agents were last brought up to date at
    _draws: Draws | None = None
    _cell_index: CellIndex | None = None

    @property
    def store(self) -> Store:
        """The state's arrays."""
        return self.simulation.state.store

    @property
    def plan(self) -> Plan:
        """Sizes and geometry."""
        return self.simulation.network.plan

    @property
    def cell_tables(self) -> Space:
        """Hop tables and active cells."""
        # Not called ``space``: in Mesa that is where a user's own agents are.
        return self.simulation.network.space

    @property
    def chemistry(self) -> Chemistry:
        """Channels and rates."""
        return self.simulation.network.chemistry

    @property
    def names(self) -> Names:
        """Names of targets, ligands and pairs."""
        return self.simulation.names

    @property
    def synapse(self) -> Scenario:
        """The scenario that is simulated (``scenario`` is Mesa's own)."""
        return self.simulation.scenario

    @property
    def seconds(self) -> float:
        """Physical time, s."""
        return self.simulation.seconds

    @property
    def seed(self) -> int:
        """Seed of the random numbers."""
        return self.simulation.address.seed

    @property
    def draws(self) -> Draws:
        """The random numbers of the step that the agents engine is taking."""
        if self._draws is None:
            allowed = "asked within a step of the agents engine, by the model itself"
            fix = "call model.step(); to move a molecule by hand, molecule.move(dx, dy)"
            raise InputError("displacement()", None, allowed, fix)
        return self._draws

    @draws.setter
    def draws(self, draws: Draws | None) -> None:
        self._draws = draws

    def _rates(self) -> dict[tuple[int, int], float]:
        table = zip(self.chemistry.channels, self.chemistry.rate, strict=True)
        return {(int(c[lay.KIND]), int(c[lay.INDEX])): float(rate) for c, rate in table}

    def occupancy(self, target: str, ligand: str) -> float:
        """Share of the sites of ``target`` that hold ``ligand`` now, 0 to 1; nan if it has none."""
        bound = int(self.store.totals[self.names.pair_number(target, ligand)])
        sites = self.synapse.targets[target].n_sites
        return bound / sites if sites else math.nan

    def free(self, ligand: str) -> int:
        """Free molecules of ``ligand`` now."""
        row = self.names.free(self.names.ligand_number(ligand))
        return int(self.store.totals[row])

    def coordinate(self, cell: int) -> tuple[int, int]:
        """Column and row of a cell number."""
        return cell % self.plan.width, cell // self.plan.width

    def row_of(self, ligand: int, number: int) -> int:
        """Row of a molecule by its id; -1 if it is gone."""
        start, end = self.store.segments[ligand, lay.START], self.store.segments[ligand, lay.END]
        # Rows ascend in id, so a search by halves finds it.
        ids = self.store.molecules[lay.ID, start:end]
        row = int(start + np.searchsorted(ids, np.uint32(number)))
        if row == end or ids[row - start] != number:
            return -1
        return -1 if self.store.molecules[lay.COMPARTMENT, row] == lay.GONE else row

    @property
    def cell_index(self) -> CellIndex:
        """Molecules and sites by cell: what the grid looks up."""
        if self._cell_index is None:
            self._cell_index = CellIndex(self)
        return self._cell_index

    def moved(self, row: int, old: int | None, new: int | None) -> None:
        """Keep who is in which cell up to date, if anybody asked (agents engine)."""
        if self._cell_index is not None:
            self._cell_index.move(row, old, new)

    # --- agents, made when asked for -------------------------------------------------------------

    @property
    def sites(self) -> list[Any]:
        """All binding sites that there are, in the order of their ids."""
        every = self.every_site()
        return [site for site in every if site.is_there] if self._some_away else every

    def every_site(self) -> list[Any]:
        """The site of each number; also those that a change took away, no agents of the model."""
        if not self._sites:
            self._follow_sites()
        return self._sites

    def _follow_sites(self) -> None:
        """Make agents of sites that have come; those taken away leave Mesa's books."""
        marks = self.store.sites[lay.TARGET].tolist()
        known = len(self._sites)
        self.making = True
        for number, mark in enumerate(marks[known:], start=known):
            target = mark if mark >= 0 else lay.taken_away(mark)
            site = self.site_classes[target](self, self.names.targets[target], number)
            self._sites.append(site)
        self.making = False
        for site, mark in zip(self._sites, marks, strict=True):
            if (mark >= 0) != site.is_there:
                site.is_there = mark >= 0
                if site.is_there:
                    self.register_agent(site)
                    self._order(type(site))
                else:
                    self.deregister_agent(site)
        self._some_away = min(marks, default=0) < 0

    def view_classes(self) -> list[type]:
        """Classes of sites, then of molecules."""
        return list(self._parts)

    @cached_property
    def _parts(self) -> dict[type, tuple[list[int], list[int], list[int]]]:
        """Of each class, the numbers of its targets, their rows of totals, and its ligands."""
        names, parts = self.names, dict[type, tuple[list[int], list[int], list[int]]]()
        for kind in dict.fromkeys((*self.site_classes, *self.molecule_classes)):
            targets = [n for n, own in enumerate(self.site_classes) if own is kind]
            pairs = enumerate(names.pairs)
            rows = [p for p, pair in pairs if names.targets.index(pair[0]) in targets]
            ligands = [n for n, own in enumerate(self.molecule_classes) if own is kind]
            parts[kind] = targets, [*rows, *map(names.empty, targets)], ligands
        return parts

    def _site_numbers(self, kind: type) -> I64:
        """Numbers of the sites of a class that are there, ascending."""
        target = self.store.sites[lay.TARGET]
        first, *others = self._parts[kind][0]
        wanted = target == first  # not np.isin, which costs five times as much
        for other in others:
            wanted |= target == other
        return np.flatnonzero(wanted)

    def count_views(self, kind: type) -> int:
        """Molecules and sites of a class that there are."""
        _, rows, ligands = self._parts[kind]
        if rows:
            totals = self.store.totals.tolist()
            return sum(totals[row] for row in rows)
        return sum(map(self._live, ligands))

    def _live(self, ligand: int) -> int:
        """Molecules of a ligand that there are."""
        start, end, _, dead = self.store.segments[ligand].tolist()
        return int(end - start - dead)

    def column(self, kind: type, name: str) -> list[Any] | None:
        """Occupancies and numbers of all sites, or of all molecules of one ligand."""
        if is_users(kind, name):
            return None  # each agent is asked
        values: list[Any]
        if self._parts[kind][0] and name in ("id", "is_bound"):
            values = (numbers := self._site_numbers(kind)).tolist()
            if name == "is_bound":
                values = (self.store.sites[lay.LIGAND, numbers] >= 0).tolist()
            return values
        store = self.store
        ligands = [n for n in self._parts[kind][2] if self._live(n)]
        # Those of several ligands are in the order in which they came.
        if len(ligands) != 1 or name not in ("id", "is_bound", "is_free"):
            return None
        rows = self.simulation.state.rows()[ligands[0]]
        wanted = {"is_free": lay.FREE, "is_bound": lay.BOUND}
        values = store.molecules[lay.ID, rows].tolist()
        if name in wanted:
            values = (store.molecules[lay.COMPARTMENT, rows] == wanted[name]).tolist()
        return values

    def _order(self, kind: type) -> None:
        """Put the agents of a class into the order of their ids."""
        agents = self._agents_by_type[kind]
        agents._agents = dict.fromkeys(sorted(agents._agents, key=attrgetter("unique_id")))

    def molecules(self) -> list[list[Any]]:
        """Molecules by ligand, ascending in id."""
        self._sync()
        return [list(by_id.values()) for by_id in self._molecules]

    def new_molecule(self, ligand: int, number: int, row: int) -> Any:
        """The agent of a molecule that has just been made."""
        self.making = True
        molecule = self.molecule_classes[ligand](self, self.names.ligands[ligand], number)
        self.making = False
        molecule._row, molecule._epoch = row, self.epoch
        self._molecules[ligand][number] = molecule
        return molecule

    def forget(self, molecule: Any) -> None:
        """Take a molecule that has left out of Mesa's books."""
        self._molecules[molecule.number].pop(molecule.id, None)
        mesa.Agent.remove(molecule)

    def lose(self, molecule: Any) -> None:
        """A molecule leaves the place for good, from a cell in which it is free or inside."""
        store, row = self.store, molecule.row
        self.moved(row, int(store.molecules[lay.CELL, row]), None)
        store.molecules[lay.COMPARTMENT, row] = lay.GONE
        store.molecules[lay.CELL, row] = self.plan.cells
        store.segments[molecule.number, lay.DEAD] += 1
        self.forget(molecule)

    def take_out(self, molecule: Any) -> None:
        """A free molecule leaves because a user says so; it counts as exited."""
        self.lose(molecule)
        self.store.totals[self.names.free(molecule.number)] -= 1
        counter = self.names.counter(lay.EXIT, molecule.number)
        self.store.events[counter] += 1
        self.store.last_s[counter] = self.seconds

    def molecule_at(self, row: int) -> Any:
        """The agent of the molecule in a row."""
        ligand = int(np.searchsorted(self.store.segments[:, lay.END], row, side="right"))
        number = int(self.store.molecules[lay.ID, row])
        molecule = self._molecules[ligand].get(number)
        return molecule if molecule is not None else self.new_molecule(ligand, number, row)

    def _changed(self) -> None:
        """Bring agents and cells up to date after the arrays changed between two steps."""
        self.epoch += 1
        self._synced, self._cell_index = -1, None
        self.rates = self._rates()
        if self._sites:
            self._follow_sites()

    def make_room(self, ligand: int) -> None:
        """Double the rows of a ligand (agents engine)."""
        self.simulation.make_room(ligand)
        self.epoch += 1  # every molecule may be in another row now

    def _sync(self) -> None:
        """Make agents for molecules that have come since the last time, forget those that left."""
        if self._synced == self.simulation.step_number:
            return
        self.every_site()
        self._synced = self.simulation.step_number
        for ligand, rows in enumerate(self.simulation.state.rows()):
            # Only what differs costs: most molecules were there at the step before.
            by_id, ids = self._molecules[ligand], self.store.molecules[lay.ID, rows]
            known = np.fromiter(by_id, dtype=np.uint32, count=len(by_id))
            for left in np.setdiff1d(known, ids).tolist():
                self.forget(by_id[left])
            fresh = ~np.isin(ids, known)
            for new, row in zip(ids[fresh].tolist(), rows[fresh].tolist(), strict=True):
                self.new_molecule(ligand, new, row)
            # Somebody may have looked at single molecules before, through their cells or sites.
            known = np.fromiter(by_id, dtype=np.int64, count=len(by_id))
            if (np.diff(known) < 0).any():
                self._molecules[ligand] = dict(sorted(by_id.items()))
                self._order(self.molecule_classes[ligand])


_NOBODY: dict[int, None] = {}


class CellIndex:
    """Rows of molecules and numbers of sites by cell.

    Making the index costs about 1 us a molecule; keeping it up costs 0.3 us a move.
    """

    def __init__(self, model: PlaceModel) -> None:
        self.model = model
        self.sites: dict[int, list[int]] = {}
        sites = model.store.sites
        for number in np.flatnonzero(sites[lay.TARGET] >= 0).tolist():
            self.sites.setdefault(int(sites[lay.SITE_CELL, number]), []).append(number)
        self._rows: dict[int, dict[int, None]] = {}
        self._epoch = -1

    def rows(self, cell: int) -> Collection[int]:
        """Rows of the molecules in a cell: free, bound or inside."""
        self._refresh()
        return self._rows.get(cell, _NOBODY)

    def occupied(self) -> list[int]:
        """Cells with molecules or sites."""
        self._refresh()
        return [*self.sites, *(cell for cell, rows in self._rows.items() if rows)]

    def move(self, row: int, old: int | None, new: int | None) -> None:
        """Note that the agents engine has moved a molecule, made it (no old cell) or lost it."""
        if self._epoch != self.model.epoch:
            return  # to be made anew in any case
        # Dictionaries for sets that remember their order: the same run lists the same agents.
        if old is not None:
            del self._rows[old][row]
        if new is not None:
            self._rows.setdefault(new, {})[row] = None

    def _refresh(self) -> None:
        if self._epoch == self.model.epoch:
            return
        state = self.model.simulation.state
        # One sort for all cells; stable, so that rows stay ascending within a cell.
        rows = state.all_rows()
        cells = state.cells_of(rows)
        order = np.argsort(cells, kind="stable")
        rows, cells = rows[order], cells[order]
        first = np.flatnonzero(np.diff(cells, prepend=-1))
        parts = np.split(rows, first[1:]) if first.size else []
        self._rows = {
            cell: dict.fromkeys(part.tolist())
            for cell, part in zip(cells[first].tolist(), parts, strict=True)
        }
        self._epoch = self.model.epoch
