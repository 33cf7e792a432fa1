"""One frozen, validated description of a run: the place, its sites, its ligands, the step.

All numbers are in the program's own units (um, s, nM, molecules); the unit stands in the field's
name. Nothing here knows how a run is computed: ``network`` turns a scenario into rates.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from synapse_abm.units import molecules_per_nM

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, strict=True)]
Cell = tuple[Count, Count]


class Frozen(BaseModel):
    """Immutable, and no unknown keys: a typing error is found where it was made."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Grid(Frozen):
    """A square lattice of cells with a depth; molecules are points in cells.

    The default, 64 x 64 cells of 0.1 um, 1 um deep, is about one varicosity's share of
    extracellular space (41 um^3; 1 nM is 24.7 molecules).
    """

    width: Annotated[int, Field(ge=1, le=32767, strict=True)] = 64
    height: Annotated[int, Field(ge=1, le=32767, strict=True)] = 64
    spacing_um: Positive = 0.1
    depth_um: Positive = 1.0
    walls: Literal["reflecting", "periodic"] = "reflecting"

    @property
    def cells(self) -> int:
        """Number of cells."""
        return self.width * self.height

    @property
    def cell_volume_um3(self) -> float:
        """Volume of one cell in um^3."""
        return self.spacing_um**2 * self.depth_um

    @property
    def volume_um3(self) -> float:
        """Volume of the place in um^3."""
        return self.cells * self.cell_volume_um3

    @property
    def molecules_per_nM(self) -> float:
        """Molecules that make 1 nM in the whole place."""
        return molecules_per_nM(self.volume_um3)

    @classmethod
    def well_mixed(cls, volume_um3: float) -> Self:
        """One cell of the given volume (um^3): the place without space."""
        return cls(width=1, height=1, spacing_um=1.0, depth_um=volume_um3)


class Target(Frozen):
    """Binding sites of one kind, fixed in cells.

    Give ``sites`` (scattered at random, over distinct cells as long as there are enough) or
    explicit
    ``cells`` as (x, y), one per site; a cell may be named more than once.
    """

    kind: Literal["transporter", "receptor"] = "transporter"
    sites: Count | None = None
    cells: tuple[Cell, ...] | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.sites is None) == (self.cells is None):
            raise ValueError("give either 'sites' (a count) or 'cells' (one (x, y) per site)")
        return self

    @property
    def n_sites(self) -> int:
        """Number of sites."""
        return len(self.cells) if self.cells is not None else int(self.sites or 0)


class Kinetics(Frozen):
    """Binding of one ligand to one target: any two of Kd, k_on and k_off, and k_cat of transport.

    ``kcat_per_s`` is the rate at which the bound molecule is carried inside (0: no transport).
    """

    kd_nM: Positive | None = None
    kon_per_nM_s: NonNegative | None = None
    koff_per_s: NonNegative | None = None
    kcat_per_s: NonNegative = 0.0

    @model_validator(mode="after")
    def _two_of_three(self) -> Self:
        given = (self.kd_nM, self.kon_per_nM_s, self.koff_per_s)
        if sum(g is not None for g in given) != 2:
            raise ValueError("give exactly two of kd_nM, kon_per_nM_s and koff_per_s")
        return self

    @property
    def kon(self) -> float:
        """Association rate constant, 1/(nM s)."""
        if self.kon_per_nM_s is not None:
            return self.kon_per_nM_s
        assert self.koff_per_s is not None and self.kd_nM is not None
        return self.koff_per_s / self.kd_nM

    @property
    def koff(self) -> float:
        """Dissociation rate constant, 1/s."""
        if self.koff_per_s is not None:
            return self.koff_per_s
        assert self.kon_per_nM_s is not None and self.kd_nM is not None
        return self.kon_per_nM_s * self.kd_nM


class Reservoir(Frozen):
    """Bulk solution around the place: molecules leave at ``exchange_per_s`` each and enter to
    match.
    """

    concentration_nM: NonNegative
    exchange_per_s: NonNegative


class Batch(Frozen):
    """``size`` molecules released together in one cell, at a rate (1/s), at given times (s), or
    both.
    """

    size: Annotated[int, Field(ge=1, strict=True)]
    cell: Cell = (0, 0)
    rate_per_s: NonNegative = 0.0
    times_s: tuple[NonNegative, ...] = ()


class Ligand(Frozen):
    """One kind of molecule in the place.

    Explicit molecules start as ``count`` free ones, scattered at random or all in ``start_cell``,
    and may come from a ``reservoir`` or ``batches``. A clamped ligand is a fixed concentration
    without molecules of its own; it binds all the same.
    """

    role: Literal["serotonin", "norepinephrine", "drug"] = "drug"
    diffusion_um2_per_s: NonNegative = 0.0
    count: Count = 0
    start_cell: Cell | None = None
    clamped_nM: NonNegative | None = None
    reservoir: Reservoir | None = None
    batches: tuple[Batch, ...] = ()
    binding: dict[str, Kinetics] = Field(default_factory=dict)
    return_per_s: NonNegative = 0.0
    """Rate at which a transported molecule comes back out, in its transporter's cell."""
    metabolism_per_s: NonNegative = 0.0
    """Rate at which a transported molecule is destroyed inside."""
    degradation_per_s: NonNegative = 0.0
    """Rate at which a free molecule is destroyed."""

    @model_validator(mode="after")
    def _clamped_or_explicit(self) -> Self:
        explicit = self.count or self.reservoir or self.batches or self.start_cell is not None
        if self.clamped_nM is not None and explicit:
            raise ValueError(
                "a ligand is either clamped (clamped_nM) or made of molecules "
                "(count, start_cell, reservoir, batches), not both"
            )
        return self


class Scenario(Frozen):
    """A synapse and the step it is advanced by: everything a run needs but the seed."""

    name: str = "synapse"
    grid: Grid = Grid()
    targets: dict[str, Target] = Field(default_factory=dict)
    ligands: dict[str, Ligand] = Field(default_factory=dict)
    dt_s: Positive

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        faults = [*_unknown_targets(self), *_cells_outside(self), *_doubled_sources(self)]
        if faults:
            raise ValueError("; ".join(faults))
        return self


def _unknown_targets(scenario: Scenario) -> list[str]:
    known = ", ".join(scenario.targets) or "none"
    return [
        f"ligand {name!r} binds to {target!r}, which is not among the targets ({known})"
        for name, ligand in scenario.ligands.items()
        for target in ligand.binding
        if target not in scenario.targets
    ]


def _cells_outside(scenario: Scenario) -> list[str]:
    grid = scenario.grid
    named = [
        (f"target {name!r}", cell)
        for name, target in scenario.targets.items()
        for cell in target.cells or ()
    ]
    for name, ligand in scenario.ligands.items():
        named += [(f"a batch of {name!r}", batch.cell) for batch in ligand.batches]
        if ligand.start_cell is not None:
            named.append((f"start_cell of {name!r}", ligand.start_cell))
    return [
        f"{what}: cell {cell} is outside the grid (x 0..{grid.width - 1}, y 0..{grid.height - 1})"
        for what, cell in named
        if cell[0] >= grid.width or cell[1] >= grid.height
    ]


def _doubled_sources(scenario: Scenario) -> list[str]:
    faults = []
    for name, ligand in scenario.ligands.items():
        cells = [batch.cell for batch in ligand.batches if batch.rate_per_s > 0]
        faults += [
            f"ligand {name!r} has two batches at a rate in cell {cell}; merge them into one"
            for cell in sorted({c for c in cells if cells.count(c) > 1})
        ]
    return faults
