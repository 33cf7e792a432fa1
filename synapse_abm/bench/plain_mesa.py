"""The model as one would first write it on Mesa: molecules walk from cell to cell and bind.

The baseline for speed, in Mesa's own style: cell agents, fixed agents, ``shuffle_do("step")``,
random numbers of the model. It tells fairly what such a model costs, not what a synapse does. Its
physics is biased:

- a molecule makes at most one hop a step, to a next neighbour, so ``4 D dt / h^2`` must stay below
  1, and displacements within a step do not follow the heat kernel;
- a molecule at a wall chooses among fewer neighbours, so walls and corners are visited too rarely:
  at equilibrium a cell holds molecules in proportion to the number of its neighbours;
- each site has one chance a step, whatever happens to it: it neither rebinds in the step in which
  it unbound, nor the other way round; ``1 - exp(-k dt)`` is right for one event alone, not for
  a chain of them, and occupancy is off by an amount of the order ``k dt``;
- molecules and sites take turns in random order, so a molecule that was set free may or may not hop
  in the same step, and of several in a cell the one that came first is favoured in binding.
"""

from __future__ import annotations

import mesa
from mesa.discrete_space import Cell, CellAgent, FixedAgent, OrthogonalVonNeumannGrid


class Molecule(CellAgent):  # type: ignore[misc]
    """A molecule: free, and hopping now and then, or bound to a transporter of its cell."""

    def __init__(self, model: PlainMesa, cell: Cell) -> None:
        super().__init__(model)
        self.cell = cell
        self.transporter: Transporter | None = None

    def step(self) -> None:
        """Perhaps hop to a neighbouring cell."""
        if self.transporter is None and self.random.random() < self.model.p_hop:
            self.cell = self.cell.neighborhood.select_random_cell()


class Transporter(FixedAgent):  # type: ignore[misc]
    """A binding site that stays in its cell."""

    def __init__(self, model: PlainMesa, cell: Cell) -> None:
        super().__init__(model)
        self.cell = cell
        self.molecule: Molecule | None = None

    def step(self) -> None:
        """Perhaps let the bound molecule go, or else bind a free one that is here."""
        if self.molecule is not None:
            if self.random.random() < self.model.p_unbind:
                self.release()
            return
        # One chance for each free molecule, in the order in which they came: the first is favoured.
        for agent in self.cell.agents:
            is_free = isinstance(agent, Molecule) and agent.transporter is None
            if is_free and self.random.random() < self.model.p_bind:
                self.bind(agent)
                return

    def bind(self, molecule: Molecule) -> None:
        """Bind a molecule."""
        self.molecule, molecule.transporter = molecule, self

    def release(self) -> None:
        """Set the molecule free, here."""
        if self.molecule is not None:
            self.molecule.transporter = None
        self.molecule = None


class PlainMesa(mesa.Model):  # type: ignore[misc]
    """Molecules and transporters on a square grid with walls.

    Parameters
    ----------
    side
        Cells along each side.
    molecules, transporters
        How many there are; every transporter has a cell of its own.
    p_hop, p_bind, p_unbind
        Chances per step: to hop; to bind one given free molecule in the cell; to unbind.
    rng
        Seed.
    """

    def __init__(
        self, side: int, molecules: int, transporters: int, *,
        p_hop: float, p_bind: float, p_unbind: float, rng: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(rng=rng)
        self.p_hop, self.p_bind, self.p_unbind = p_hop, p_bind, p_unbind
        # With walls, as the program's own grid has: a torus would leave out what they cost.
        self.grid = OrthogonalVonNeumannGrid((side, side), torus=False, random=self.random)
        cells = self.grid.all_cells.cells
        Transporter.create_agents(self, transporters, self.random.sample(cells, transporters))
        Molecule.create_agents(self, molecules, self.random.choices(cells, k=molecules))

    def step(self) -> None:
        """Every agent once, in random order."""
        self.agents.shuffle_do("step")

    @property
    def bound_fraction(self) -> float:
        """Share of the transporters that hold a molecule."""
        transporters = self.agents_by_type[Transporter]
        return sum(site.molecule is not None for site in transporters) / len(transporters)
