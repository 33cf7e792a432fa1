"""A model as its agents, its grid and its stepper see it: arrays, random numbers, who is where.

It knows no class of agents, or the modules would import each other in a circle; what makes agents
is declared here and defined in ``model``.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import numpy as np

from synapse_abm.core.address import Address
from synapse_abm.core.errors import InputError
from synapse_abm.core.lazy_model import LazyModel
from synapse_abm.core.rng import (
    MAX_ENTITY,
    Stream,
    counter_high,
    key_words,
    molecule_words,
    philox4x32,
    uniform,
)
from synapse_abm.synapse.engine.layout import (
    COMPARTMENT,
    END,
    GONE,
    ID,
    INDEX,
    KIND,
    SITE_CELL,
    START,
    Chemistry,
    Plan,
    Space,
    Store,
)
from synapse_abm.synapse.engine.network import CountRows, Names
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
    rates: dict[tuple[int, int], float]
    _draws: Draws | None = None
    _whereabouts: Whereabouts | None = None

    @property
    def store(self) -> Store:
        """The state's arrays."""
        return self.simulation.state.store

    @property
    def plan(self) -> Plan:
        """Sizes and geometry."""
        return self.simulation.network.plan

    @property
    def space(self) -> Space:
        """Hop tables and active cells."""
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
        return {(int(c[KIND]), int(c[INDEX])): float(rate) for c, rate in table}

    def occupancy(self, target: str, ligand: str) -> float:
        """Share of the sites of ``target`` that hold ``ligand`` now, 0 to 1; nan if it has none."""
        bound = int(self.store.totals[self.names.pair_number(target, ligand)])
        sites = self.synapse.targets[target].n_sites
        return bound / sites if sites else math.nan

    def free(self, ligand: str) -> int:
        """Free molecules of ``ligand`` now."""
        row = CountRows.of(self.names).free(self.names.ligand_number(ligand))
        return int(self.store.totals[row])

    def coordinate(self, cell: int) -> tuple[int, int]:
        """Column and row of a cell number."""
        return cell % self.plan.width, cell // self.plan.width

    def row_of(self, ligand: int, number: int) -> int:
        """Row of a molecule by its id; -1 if it is gone."""
        start, end = self.store.segments[ligand, START], self.store.segments[ligand, END]
        ids = self.store.molecules[ID, start:end]
        row = int(start + np.searchsorted(ids, np.uint32(number)))
        if row == end or ids[row - start] != number:
            return -1
        return -1 if self.store.molecules[COMPARTMENT, row] == GONE else row

    @property
    def whereabouts(self) -> Whereabouts:
        """Who is in which cell: what the grid looks up."""
        if self._whereabouts is None:
            self._whereabouts = Whereabouts(self)
        return self._whereabouts

    def moved(self, row: int, old: int | None, new: int | None) -> None:
        """Keep who is in which cell up to date, if anybody asked (agents engine)."""
        if self._whereabouts is not None:
            self._whereabouts.move(row, old, new)

    # --- what has classes of agents in it, defined in ``model`` --------------------------------

    @property
    def sites(self) -> list[Any]:
        """All binding sites, in the order of their ids."""
        raise NotImplementedError

    @property
    def grid(self) -> Any:
        """The cells as a grid of Mesa."""
        raise NotImplementedError

    def molecules(self) -> list[list[Any]]:
        """Molecules by ligand, ascending in id."""
        raise NotImplementedError

    def molecule_at(self, row: int) -> Any:
        """The molecule in a row."""
        raise NotImplementedError

    def molecule_class(self, ligand: int) -> type[Any]:
        """Class of the molecules of a ligand."""
        raise NotImplementedError

    def new_molecule(self, ligand: int, number: int, row: int) -> Any:
        """The agent of a molecule that has just been made."""
        raise NotImplementedError

    def lose(self, molecule: Any) -> None:
        """A molecule leaves the place for good."""
        raise NotImplementedError

    def take_out(self, molecule: Any) -> None:
        """A free molecule leaves because a user says so."""
        raise NotImplementedError

    def make_room(self, ligand: int) -> None:
        """Double the rows of a ligand."""
        raise NotImplementedError


_NOBODY: dict[int, None] = {}


class Whereabouts:
    """Rows of molecules and numbers of sites by cell.

    Making the index costs about 1 us a molecule; keeping it up costs 0.3 us a move.
    """

    def __init__(self, model: PlaceModel) -> None:
        self.model = model
        self.sites: dict[int, list[int]] = {}
        for number, cell in enumerate(model.store.sites[SITE_CELL].tolist()):
            self.sites.setdefault(cell, []).append(number)
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
        if old is not None:
            del self._rows[old][row]
        if new is not None:
            self._rows.setdefault(new, {})[row] = None

    def _refresh(self) -> None:
        if self._epoch == self.model.epoch:
            return
        state = self.model.simulation.state
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
