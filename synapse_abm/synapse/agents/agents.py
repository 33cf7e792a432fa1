"""Molecules and binding sites as Mesa agents: thin views of rows of the state.

An agent stores who it is, not how it is: compartment, cell and partner are read from the arrays
that both engines share, so a view is true at any time. Views are made when somebody asks for them.

Two methods are meant to be overridden by a student (agents engine only):

- :meth:`Molecule.displacement`, how a free molecule moves in one step;
- ``propensity`` of a site or a molecule, the rate at which something happens to it. It is asked
  anew at every event in the cell, and may depend on anything that changes only by events there.
  It is asked only about events that the scenario knows, that is, whose rate there is above zero.

Random numbers of a rule's own come from ``self.random``, which Mesa seeds from the model's seed.
"""

from __future__ import annotations

import operator
from typing import Any

import mesa
from mesa.discrete_space import Cell

from synapse_abm.core.errors import InputError
from synapse_abm.core.lazy_model import MOLECULE_IDS, SITE_IDS
from synapse_abm.synapse.agents.place import PlaceModel
from synapse_abm.synapse.engine import layout as lay
from synapse_abm.synapse.engine.heat import offset


def demand_made_by_model(model: Any, kind: type, name: str) -> None:
    """Nobody but the model makes a view: it would show what is not there."""
    if not model.making:
        allowed = "made by the model alone, from what the scenario says"
        fix = "change count, reservoir, batches or sites; model.agents has those that are there"
        raise InputError(kind.__name__, name, allowed, fix)


def not_by_hand(agent: mesa.Agent) -> InputError:
    """Why an agent of ours takes no step of its own."""
    allowed = "called by the model alone: all hop, then each cell reacts"
    fix = "call model.step(); agents of your own step by model.agents_by_type[Mine].do('step')"
    return InputError(f"{type(agent).__name__}.step()", agent, allowed, fix)


class Fixed:
    """What an agent is, read only; it changes while the model runs as little as who it is."""

    def __init__(self, doc: str) -> None:
        self.__doc__ = doc

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, agent: Any, owner: type) -> Any:
        return self if agent is None else agent.__dict__["_" + self.name]

    def __set__(self, agent: Any, value: object) -> None:
        present = agent.__dict__["_" + self.name]
        allowed = f"{present!r}: an agent stays what it is"
        raise InputError(f"{type(agent).__name__}.{self.name}", value, allowed)


class Molecule(mesa.Agent):  # type: ignore[misc]
    """One molecule: free, bound to a site, inside a transporter's cell, or gone (outside).

    One that has left is no longer among the model's agents; a reference to it that somebody kept
    says ``outside`` for ever. One that comes in is a new agent.

    Attributes
    ----------
    id
        Number of the molecule in the simulation, never used twice.
    unique_id
        Mesa's number: two billion more than ``id``; the same on both engines.
    ligand
        Name of the ligand it is a molecule of.
    """

    model: PlaceModel
    id = Fixed("Number of the molecule in the simulation, never used twice.")
    ligand = Fixed("Name of the ligand it is a molecule of.")
    number = Fixed("Number of that ligand.")

    def __init__(self, model: PlaceModel, ligand: str = "", id: int = -1) -> None:
        demand_made_by_model(model, type(self), ligand)
        super().__init__(model)
        # Not from Mesa's counter, which would depend on when views were made.
        self.unique_id = MOLECULE_IDS + id
        self._ligand, self._id = ligand, id
        self._number = model.names.ligands.index(ligand)
        self._row, self._epoch = -1, -1

    def __repr__(self) -> str:
        where = f" at {self.coordinate}" if self.coordinate else ""
        return f"<{type(self).__name__} {self.ligand} {self.id}: {self.compartment}{where}>"

    @property
    def row(self) -> int:
        """Where the arrays hold this molecule; -1 once it is gone."""
        # Rows move when gaps are closed; until the arrays change without agents, the last one
        # holds.
        if self._epoch != self.model.epoch:
            self._row = self.model.row_of(self._number, self._id)
            self._epoch = self.model.epoch
        return self._row

    def _field(self, field: int) -> int:
        row = self.row
        if row < 0:
            return lay.GONE if field == lay.COMPARTMENT else lay.NO_SITE
        return int(self.model.store.molecules[field, row])

    @property
    def compartment(self) -> str:
        """``free``, ``bound``, ``inside`` or ``outside``."""
        return lay.COMPARTMENTS[self._field(lay.COMPARTMENT)]

    @property
    def state(self) -> str:
        """The same in the words of a neuron: ``cleft`` (free), ``transporter`` or ``receptor``
        (bound to one), ``cytosol`` (inside), ``outside``.
        """
        site = self.site
        if site is not None:
            return "transporter" if isinstance(site, Transporter) else "receptor"
        return STATES[self.compartment]

    @property
    def is_free(self) -> bool:
        """Whether it is in the open."""
        return self._field(lay.COMPARTMENT) == lay.FREE

    @property
    def is_bound(self) -> bool:
        """Whether it sits in a site."""
        return self._field(lay.COMPARTMENT) == lay.BOUND

    @property
    def site(self) -> Site | None:
        """The site it is bound to, if any."""
        number = self._field(lay.SITE)
        return None if number == lay.NO_SITE else self.model.every_site()[number]

    @property
    def coordinate(self) -> tuple[int, int] | None:
        """Column and row of the cell it is in; None once it is gone. Needs no grid."""
        kind = self._field(lay.COMPARTMENT)
        if kind == lay.GONE:
            return None
        site = self.site
        return site.coordinate if site is not None else self.model.coordinate(self._field(lay.CELL))

    @property
    def cell(self) -> Cell | None:
        """Its cell of ``model.synapse_grid``, made on first use; None once it is gone.

        A free molecule can be put into another cell, as any agent of Mesa.
        """
        coordinate = self.coordinate
        return None if coordinate is None else self.model.synapse_grid[coordinate]

    @cell.setter
    def cell(self, cell: Cell) -> None:
        self._demand_free("put into another cell")
        if not self.model.synapse_grid.has(cell):
            fix = "use model.synapse_grid[x, y]"
            raise InputError("cell", cell, "a cell of this model's grid", fix)
        self._put(self.row, *cell.coordinate)

    def move_to(self, cell: Cell) -> None:
        """Put this free molecule into a cell."""
        self.cell = cell

    def displacement(self) -> tuple[int, int]:
        """Cells to move along x and y in this step: one draw from the exact lattice heat kernel."""
        word, space, n = self.model.draws.hop_word(self._id), self.model.cell_tables, self._number
        hop, shift = space.hop, space.hop_shift[:, n]
        dx = offset(hop[0, n], int(shift[0]), word & 0xFFFFFFFF) if shift[0] >= 0 else 0
        dy = offset(hop[1, n], int(shift[1]), word >> 32) if shift[1] >= 0 else 0
        return dx, dy

    def step(self) -> None:
        """Hop, if free; called by the model within a step."""
        self._demand_step()
        if self.is_free:
            self._hop(*self.displacement())

    def move(self, dx: int, dy: int) -> None:
        """Move this free molecule by whole cells; walls reflect or wrap, as the grid says."""
        self._demand_free("moved")
        self._hop(dx, dy)

    def _hop(self, dx: int, dy: int) -> None:
        mol, row = self.model.store.molecules, self.row
        x, y = int(mol[lay.X, row]) + operator.index(dx), int(mol[lay.Y, row]) + operator.index(dy)
        self._put(row, x, y)

    def _put(self, row: int, x: int, y: int) -> None:
        """Set the ring coordinates, and the cell onto which they fold."""
        model = self.model
        plan, mol = model.plan, model.store.molecules
        x, y = x % plan.ring_x, y % plan.ring_y
        mol[lay.X, row], mol[lay.Y, row] = x, y
        if plan.fold:
            x, y = min(x, plan.ring_x - 1 - x), min(y, plan.ring_y - 1 - y)
        cell = y * plan.width + x
        model.moved(row, int(mol[lay.CELL, row]), cell)
        mol[lay.CELL, row] = cell

    def propensity(self, event: int) -> float:
        """Rate (1/s) of RETURN, METABOLISE, EXIT or DEGRADE of this molecule."""
        return self.model.rates.get((event, self._number), 0.0)

    def remove(self) -> None:
        """Take this free molecule out of the place; it counts as exited."""
        self._demand_free("taken out")
        self.model.take_out(self)

    def _demand_step(self) -> None:
        if self.model._draws is None:
            raise not_by_hand(self)

    def _demand_free(self, verb: str) -> None:
        if not self.is_free:
            allowed = f"a free molecule, if it is to be {verb}"
            raise InputError("molecule", self, allowed, "select(lambda m: m.is_free) finds them")


class Serotonin(Molecule):
    """A serotonin molecule."""


class Norepinephrine(Molecule):
    """A norepinephrine molecule."""


class Drug(Molecule):
    """A drug molecule."""


class Site(mesa.Agent):  # type: ignore[misc]
    """One binding site, fixed in a cell.

    Attributes
    ----------
    id
        Number of the site.
    unique_id
        Mesa's number: a billion more than ``id``.
    target
        Name of the target it is a site of.
    is_there
        False while a change has taken it away: then it is none of the model's agents.
    """

    model: PlaceModel
    id = Fixed("Number of the site.")
    target = Fixed("Name of the target it is a site of.")
    is_there = True

    def __init__(self, model: PlaceModel, target: str = "", id: int = -1) -> None:
        demand_made_by_model(model, type(self), target)
        super().__init__(model)
        self.unique_id = SITE_IDS + id
        self._target, self._id = target, id

    def __repr__(self) -> str:
        state = f"holds {self.ligand}" if self.is_bound else "empty"
        state = state if self.is_there else "taken away"
        return f"<{type(self).__name__} {self.target} {self.id}: {state} at {self.coordinate}>"

    @property
    def coordinate(self) -> tuple[int, int]:
        """Column and row of its cell. Needs no grid."""
        return self.model.coordinate(int(self.model.store.sites[lay.SITE_CELL, self.id]))

    @property
    def cell(self) -> Cell:
        """Its cell of ``model.synapse_grid``, made on first use."""
        return self.model.synapse_grid[self.coordinate]

    @property
    def neighbours(self) -> list[Site]:
        """The other sites of its cell."""
        cell = int(self.model.store.sites[lay.SITE_CELL, self.id])
        numbers = self.model.cell_index.sites[cell]
        return [self.model.every_site()[n] for n in numbers if n != self.id]

    @property
    def is_bound(self) -> bool:
        """Whether it is occupied."""
        return bool(self.model.store.sites[lay.LIGAND, self._id] >= 0)

    @property
    def ligand(self) -> str | None:
        """Name of the ligand that occupies it, if any."""
        number = int(self.model.store.sites[lay.LIGAND, self._id])
        return None if number < 0 else self.model.names.ligands[number]

    @property
    def molecule(self) -> Molecule | None:
        """The molecule bound to it; None if it is empty or occupied by a clamped ligand."""
        row = int(self.model.store.sites[lay.ROW, self._id])
        return None if row < 0 else self.model.molecule_at(row)

    def propensity(self, event: int, ligand: str) -> float:
        """Rate (1/s) of BIND (per free molecule of its cell), UNBIND or TRANSPORT of a ligand."""
        assert event in (lay.BIND, lay.UNBIND, lay.TRANSPORT)
        return self.model.rates.get((event, self.model.names.pair_number(self.target, ligand)), 0.0)

    def step(self) -> None:
        """Refused: what happens to a site happens in its cell's clock."""
        raise not_by_hand(self)

    def remove(self) -> None:
        """Sites are part of the place; none is taken out."""
        allowed = "left where it is: no protein moves or is made here"
        raise InputError("site", self, allowed, "change the scenario's sites")


class Transporter(Site):
    """A transporter: SERT, NET."""


class Receptor(Site):
    """A receptor: 5-HT1A."""


#: Where a molecule is that is in no site, by its compartment.
STATES = {"free": "cleft", "inside": "cytosol", "outside": "outside"}
MOLECULES: dict[str, type[Molecule]] = {
    "serotonin": Serotonin,
    "norepinephrine": Norepinephrine,
    "drug": Drug,
}
SITES: dict[str, type[Site]] = {"transporter": Transporter, "receptor": Receptor}
