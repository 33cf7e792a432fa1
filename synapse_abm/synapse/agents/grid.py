"""The Mesa grid of a model: made when somebody asks for it, and true whenever it is asked.

The state is in arrays, which the compiled engine moves without Mesa's knowledge. So a cell of this
grid keeps no list of its agents: it looks them up, in an index that is made anew when the state
has moved on, and kept up by the agents engine molecule by molecule. Asking how many are in a cell,
or whether it is empty, makes no agents; asking who makes views of those who are there.

This module relies on Mesa 3.5's names for the inside of cells and grids (``_agents``, ``_cells``,
``_celllist``, ``_mesa_property_layers``, ``_mesa_cell``); the tests notice if Mesa changes them.
"""

from __future__ import annotations

import copyreg
from collections.abc import Iterator, Sequence
from typing import Any, Self

import numpy as np
from mesa.discrete_space import Cell, OrthogonalVonNeumannGrid, PropertyLayer

from synapse_abm.core.errors import InputError
from synapse_abm.synapse.agents.agents import Molecule, Site
from synapse_abm.synapse.agents.place import CellIndex, PlaceModel

type Belongings = tuple[list[Any], list[tuple[Any, tuple[int, int]]]]


class Occupants(Sequence[Any]):
    """Agents in one cell, looked up when asked for: sites, molecules by ligand and id, guests.

    Guests are agents of the user's own, which enter and leave as in any Mesa grid.
    """

    __slots__ = ("cell_index", "guests", "number")

    cell_index: CellIndex
    number: int

    def __init__(self) -> None:
        self.guests: list[Any] = []

    def __len__(self) -> int:
        sites = self.cell_index.sites.get(self.number, ())
        return len(sites) + len(self.cell_index.rows(self.number)) + len(self.guests)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.copy())

    def __getitem__(self, at: Any) -> Any:
        return self.copy()[at]

    def __repr__(self) -> str:
        return repr(self.copy())

    def copy(self) -> list[Any]:
        """The agents as a list."""
        model = self.cell_index.model
        sites = [model.sites[n] for n in self.cell_index.sites.get(self.number, ())]
        # By row, that is by ligand and id: no matter in what order they came.
        rows = sorted(self.cell_index.rows(self.number))
        return [*sites, *map(model.molecule_at, rows), *self.guests]

    def append(self, agent: Any) -> None:
        """An agent of the user's own enters."""
        if isinstance(agent, Molecule | Site):
            allowed = "an agent of your own: molecules and sites are where the state has them"
            raise InputError("agent", agent, allowed, "use molecule.move_to(cell)")
        self.guests.append(agent)

    def remove(self, agent: Any) -> None:
        """An agent of the user's own leaves."""
        self.guests.remove(agent)


class SynapseCell(Cell):  # type: ignore[misc]
    """One cell; what it says of its agents is true when it is asked.

    A copy of a cell is the cell (a data collector copies what it is told), and a pickled one is its
    coordinate: otherwise each would drag the whole model with it.
    """

    __slots__ = ("occupants",)

    def __init__(self, *args: Any, **options: Any) -> None:
        self.occupants = Occupants()
        super().__init__(*args, **options)

    def __repr__(self) -> str:
        return f"<cell {self.coordinate}: {len(self.occupants)} agents>"

    def __deepcopy__(self, memo: Any) -> Self:
        return self

    @property
    def _agents(self) -> Occupants:
        return self.occupants

    @_agents.setter
    def _agents(self, mesas_own_list: list[Any]) -> None:
        """Mesa gives each cell an empty list; it is not needed."""


class EmptyLayer(PropertyLayer):  # type: ignore[misc]
    """Mesa's property layer ``empty``, brought up to date whenever it is looked at."""

    grid: SynapseGrid

    @property
    def data(self) -> Any:
        """Whether each cell is empty, by column and row."""
        width, height = self.grid.dimensions
        empty = np.ones(width * height, dtype=bool)
        empty[self.grid.cell_index.occupied()] = False
        self._data[:] = empty.reshape(height, width).T
        for cell, _ in self.grid.guests():
            self._data[cell.coordinate] = False
        return self._data


class SynapseGrid(OrthogonalVonNeumannGrid):  # type: ignore[misc]
    """The cells of a model: coordinate (column, row), four neighbours, no capacity.

    It is a torus where the walls are periodic. Making it costs about 5 us a cell.
    """

    cell_index: CellIndex

    def __init__(self, model: PlaceModel) -> None:
        place = model.synapse.grid
        super().__init__(
            (place.width, place.height),
            torus=place.walls == "periodic",
            capacity=None,
            random=model.random,
            cell_klass=SynapseCell,
        )
        self.cell_index = model.cell_index
        for (x, y), cell in self._cells.items():
            cell.occupants.cell_index, cell.occupants.number = self.cell_index, y * place.width + x
        empty = EmptyLayer("empty", self.dimensions, default_value=True, dtype=bool)
        empty.grid = self
        self._mesa_property_layers["empty"] = empty
        # Mesa makes a class of cells for each grid and gives it a property of each layer.
        self.cell_klass.empty = property(_is_empty, _is_told_whether_empty)
        copyreg.pickle(self.cell_klass, _as_coordinate)

    def guests(self) -> list[tuple[SynapseCell, Any]]:
        """Agents of the user's own, each with its cell."""
        return [(cell, guest) for cell in self._celllist for guest in cell.occupants.guests]

    def has(self, cell: object) -> bool:
        """Whether a cell is one of this grid's."""
        return self._cells.get(getattr(cell, "coordinate", None)) is cell

    def belongings(self) -> Belongings:
        """What a user has put onto the grid: property layers, and agents with their coordinates."""
        layers = {n: x for n, x in self._mesa_property_layers.items() if n != "empty"}
        return list(layers.values()), [(agent, cell.coordinate) for cell, agent in self.guests()]

    def take_over(self, belongings: Belongings) -> None:
        """Put onto this grid what was on the one of a model that this one's is a copy of."""
        layers, guests = belongings
        for layer in layers:
            self.add_property_layer(layer)
        for agent, coordinate in guests:
            agent._mesa_cell = None  # what came with the copy is no cell of this grid
            agent.cell = self[coordinate]

    def __reduce__(self) -> Any:
        raise TypeError("copy or pickle the model: its grid goes with it")


def _as_coordinate(cell: SynapseCell) -> tuple[type, tuple[tuple[int, int]]]:
    return tuple, (cell.coordinate,)


def _is_empty(cell: SynapseCell) -> bool:
    return len(cell.occupants) == 0


def _is_told_whether_empty(cell: SynapseCell, empty: bool) -> None:
    """Mesa tells a cell when an agent enters or leaves; it looks for itself."""
