"""Molecules and binding sites as Mesa agents: thin views of rows of the state.

An agent stores who it is, not how it is: compartment, cell and partner are read from the arrays
that both engines share, so a view is true at any time. Views are made when somebody asks for them.

Two methods are meant to be overridden by a student (agents engine only):

- :meth:`Molecule.displacement`, how a free molecule moves in one step;
- ``propensity`` of a site or a molecule, the rate at which something happens to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import mesa

from synapse_abm import layout as lay
from synapse_abm.heat import offset
from synapse_abm.layout import (
    BIND,
    BOUND,
    CELL,
    COMPARTMENT,
    COMPARTMENTS,
    FREE,
    GONE,
    LIGAND,
    NO_SITE,
    ROW,
    SITE,
    SITE_CELL,
    TRANSPORT,
    UNBIND,
    X,
    Y,
)

if TYPE_CHECKING:
    from synapse_abm.model import SynapseModel


class Molecule(mesa.Agent):  # type: ignore[misc]
    """One molecule: free, bound to a site, inside a transporter's cell, or gone (outside).

    Attributes
    ----------
    id
        Number of the molecule in the simulation, never used twice.
    ligand
        Name of the ligand it is a molecule of.
    """

    model: SynapseModel

    def __init__(self, model: SynapseModel, ligand: str, id: int) -> None:
        super().__init__(model)
        self.ligand = ligand
        self.id = id
        self.number = model.names.ligands.index(ligand)
        self._row, self._epoch = -1, -1

    @property
    def row(self) -> int:
        """Where the arrays hold this molecule; -1 once it is gone."""
        if self._epoch != self.model.epoch:
            self._row = self.model.row_of(self.number, self.id)
            self._epoch = self.model.epoch
        return self._row

    def _field(self, field: int) -> int:
        row = self.row
        if row < 0:
            return GONE if field == COMPARTMENT else NO_SITE
        return int(self.model.store.molecules[field, row])

    @property
    def compartment(self) -> str:
        """``free``, ``bound``, ``inside`` or ``outside``."""
        return COMPARTMENTS[self._field(COMPARTMENT)]

    @property
    def is_free(self) -> bool:
        """Whether it is in the open."""
        return self._field(COMPARTMENT) == FREE

    @property
    def is_bound(self) -> bool:
        """Whether it sits in a site."""
        return self._field(COMPARTMENT) == BOUND

    @property
    def site(self) -> Site | None:
        """The site it is bound to, if any."""
        number = self._field(SITE)
        return None if number == NO_SITE else self.model.sites[number]

    @property
    def cell(self) -> tuple[int, int] | None:
        """Column and row of the cell it is in; None once it is gone."""
        kind = self._field(COMPARTMENT)
        if kind == GONE:
            return None
        site = self.site
        return site.cell if site is not None else self.model.coordinate(self._field(CELL))

    def displacement(self) -> tuple[int, int]:
        """Cells to move along x and y in this step: one draw from the exact lattice heat kernel."""
        word = self.model.draws.hop_word(self.id)
        hop, shift = self.model.space.hop, self.model.space.hop_shift[:, self.number]
        dx = offset(hop[0, self.number], int(shift[0]), word & 0xFFFFFFFF) if shift[0] >= 0 else 0
        dy = offset(hop[1, self.number], int(shift[1]), word >> 32) if shift[1] >= 0 else 0
        return dx, dy

    def step(self) -> None:
        """Hop, if free."""
        if self.is_free:
            self.move(*self.displacement())

    def move(self, dx: int, dy: int) -> None:
        """Move by whole cells; walls reflect or wrap, as the grid says."""
        plan, mol, row = self.model.plan, self.model.store.molecules, self.row
        x = (int(mol[X, row]) + dx) % plan.ring_x
        y = (int(mol[Y, row]) + dy) % plan.ring_y
        mol[X, row], mol[Y, row] = x, y
        if plan.fold:
            x, y = min(x, plan.ring_x - 1 - x), min(y, plan.ring_y - 1 - y)
        mol[CELL, row] = y * plan.width + x

    def propensity(self, event: int) -> float:
        """Rate (1/s) of ``layout`` event RETURN, METABOLISE, EXIT or DEGRADE of this molecule."""
        return self.model.rates.get((event, self.number), 0.0)


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
    target
        Name of the target it is a site of.
    """

    model: SynapseModel

    def __init__(self, model: SynapseModel, target: str, id: int) -> None:
        super().__init__(model)
        self.target = target
        self.id = id

    @property
    def cell(self) -> tuple[int, int]:
        """Column and row of its cell."""
        return self.model.coordinate(int(self.model.store.sites[SITE_CELL, self.id]))

    @property
    def is_bound(self) -> bool:
        """Whether it is occupied."""
        return bool(self.model.store.sites[LIGAND, self.id] >= 0)

    @property
    def ligand(self) -> str | None:
        """Name of the ligand that occupies it, if any."""
        number = int(self.model.store.sites[LIGAND, self.id])
        return None if number < 0 else self.model.names.ligands[number]

    @property
    def molecule(self) -> Molecule | None:
        """The molecule it holds; None if it is empty or held by a clamped ligand."""
        row = int(self.model.store.sites[ROW, self.id])
        return None if row < 0 else self.model.molecule_at(row)

    def propensity(self, event: int, ligand: str) -> float:
        """Rate (1/s) of ``layout`` event BIND (per free molecule), UNBIND or TRANSPORT of a
        ligand.
        """
        assert event in (BIND, UNBIND, TRANSPORT)
        return self.model.rates.get((event, self.model.pair(self.target, ligand)), 0.0)


class Transporter(Site):
    """A transporter: SERT, NET."""


class Receptor(Site):
    """A receptor: 5-HT1A."""


MOLECULES: dict[str, type[Molecule]] = {
    "serotonin": Serotonin,
    "norepinephrine": Norepinephrine,
    "drug": Drug,
}
SITES: dict[str, type[Site]] = {"transporter": Transporter, "receptor": Receptor}

__all__ = [
    "MOLECULES",
    "SITES",
    "Drug",
    "Molecule",
    "Norepinephrine",
    "Receptor",
    "Serotonin",
    "Site",
    "Transporter",
    "lay",
]
