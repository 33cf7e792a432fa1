"""One frozen, validated description of a run: the place, its sites, its ligands, the step.

All numbers are in the program's own units (um, s, nM, molecules); the unit stands in the field's
name. Nothing here knows how a run is computed: ``engine.network`` turns a scenario into rates.
``file`` reads the same from TOML, with units written by people.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from synapse_abm.core.errors import InputError, UnknownName
from synapse_abm.core.units import molecules_per_nM

#: Limits of the generator's addresses (those of ``rng``, which needs NumPy; a test compares).
MAX_SEED, MAX_REPLICATE, MAX_ENTITY = 2**64 - 1, 2**18 - 1, 2**32 - 1
#: The longest time of a run, s: 300 years. Beyond it nothing would ever end.
LONGEST_S = 1e10


def _whole(low: int, high: int) -> Any:
    described = f"a whole number from {low} to {high}"
    return Field(ge=low, le=high, strict=True, description=described)


Positive = Annotated[float, Field(gt=0, allow_inf_nan=False, description="a number > 0")]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False, description="a number >= 0")]
Seconds = Annotated[
    float, Field(gt=0, le=LONGEST_S, description=f"a number > 0 and at most {LONGEST_S:g}")
]
Count = Annotated[int, _whole(0, MAX_ENTITY)]
Side = Annotated[int, _whole(1, 32767)]
Cell = Annotated[tuple[Count, Count], Field(description="a cell [x, y], whole numbers >= 0")]


class Frozen(BaseModel):
    """Immutable, and no unknown keys: a typing error is found where it was made."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Grid(Frozen):
    """A square lattice of cells with a depth; molecules are points in cells.

    The default, 64 x 64 cells of 0.1 um, 1 um deep, is about one varicosity's share of
    extracellular space (41 um^3; 1 nM is 24.7 molecules).
    """

    width: Side = 64
    height: Side = 64
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
    cells: Annotated[
        tuple[Cell, ...] | None,
        Field(description="a list of cells [x, y], whole numbers >= 0, one for each site"),
    ] = None

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

    All three may be given if they agree (Kd = k_off/k_on within 1 %). ``kcat_per_s`` is the rate
    at which the bound molecule is carried inside (0: no transport).
    """

    kd_nM: Positive | None = None
    kon_per_nM_s: NonNegative | None = None
    koff_per_s: NonNegative | None = None
    kcat_per_s: NonNegative = 0.0

    @model_validator(mode="after")
    def _two_of_three(self) -> Self:
        given = (self.kd_nM, self.kon_per_nM_s, self.koff_per_s)
        if sum(g is not None for g in given) < 2:
            raise ValueError("give exactly two of kd_nM, kon_per_nM_s and koff_per_s")
        if self.contradiction():
            raise ValueError(self.contradiction())
        return self

    def contradiction(self) -> str:
        """What is wrong if all three constants are given and do not agree, else nothing."""
        kd, kon, koff = self.kd_nM, self.kon_per_nM_s, self.koff_per_s
        if kd is None or kon is None or koff is None or abs(kon * kd - koff) <= 0.01 * koff:
            return ""
        follows = f"{koff / kon:.4g} nM" if kon > 0 else "infinite"
        return f"k_off/k_on is {follows}, Kd is given as {kd:.4g} nM; leave out one of the three"

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

    size: Annotated[int, _whole(1, MAX_ENTITY)]
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
    taken_from: str = ""
    """Name in the pharmacology (``citalopram@Tatsumi1997``) whose constants these are, if any."""
    diffusion_um2_per_s: NonNegative = 0.0
    count: Count = 0
    start_cell: Cell | None = None
    clamped_nM: NonNegative | None = None
    reservoir: Annotated[
        Reservoir | None,
        Field(description="a table such as { concentration = '1 nM', exchange = '0.3 /s' }"),
    ] = None
    batches: Annotated[
        tuple[Batch, ...],
        Field(description="a list of tables such as [{ size = 9, cell = [0, 0], rate = '1 /s' }]"),
    ] = ()
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


class RunSettings(Frozen):
    """How long, how often and by which engine a scenario is run.

    The duration counts from time zero and includes the burn-in, which is recorded but not averaged.
    """

    duration_s: Seconds
    burn_in_s: NonNegative = 0.0
    sample_every_s: Seconds | None = None
    """Time between records; a 200th of what follows the burn-in unless given."""
    replicates: Annotated[int, _whole(1, MAX_REPLICATE)] = 1
    seed: Annotated[int, _whole(0, MAX_SEED)] = 1
    engine: Literal["compiled", "agents"] = "compiled"

    @model_validator(mode="after")
    def _something_to_average(self) -> Self:
        if self.burn_in_s >= self.duration_s:
            raise ValueError("a duration longer than the burn-in, which it includes")
        if self.sample_s > self.duration_s - self.burn_in_s:
            raise ValueError("a time between samples within what follows the burn-in")
        return self

    @property
    def sample_s(self) -> float:
        """Time between records, s."""
        return self.sample_every_s or (self.duration_s - self.burn_in_s) / 200


class Scenario(Frozen):
    """A synapse and the step it is advanced by: everything a run needs.

    ``dt_s`` may be left out, or ``"auto"``: ``timestep.auto_dt`` then chooses it.
    """

    name: str = "synapse"
    grid: Grid = Grid()
    targets: dict[str, Target] = Field(default_factory=dict)
    ligands: dict[str, Ligand] = Field(default_factory=dict)
    dt_s: Positive = math.nan  # replaced by the step that is chosen
    run: RunSettings | None = None

    @model_validator(mode="before")
    @classmethod
    def _auto(cls, given: Any) -> Any:
        if isinstance(given, dict) and isinstance(given.get("dt_s"), str) and given["dt_s"] == AUTO:
            return {key: value for key, value in given.items() if key != "dt_s"}
        return given

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        faults = list(part_faults(self.grid, self.targets, self.ligands))
        if faults:
            raise ValueError("; ".join(map(str, faults)))
        if math.isnan(self.dt_s):
            from synapse_abm.synapse.scenario.timestep import auto_dt

            # Not a change: the object is still being made, and nobody has seen the NaN.
            object.__setattr__(self, "dt_s", auto_dt(self).dt_s)
        return self

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with some fields replaced, not validated; a step that was chosen is chosen again.

        A step given by hand, or in ``update``, is kept.
        """
        copied = super().model_copy(update=update, deep=deep)
        if copied.dt_is_auto and update:
            from synapse_abm.synapse.scenario.timestep import auto_dt

            object.__setattr__(copied, "dt_s", auto_dt(copied).dt_s)
        return copied

    def with_run(self, **settings: Any) -> Self:
        """A copy with some settings of the run replaced, not validated; None replaces nothing."""
        given = {key: value for key, value in settings.items() if value is not None}
        if self.run is None or not given:
            return self
        return self.model_copy(update={"run": self.run.model_copy(update=given)})

    @property
    def dt_is_auto(self) -> bool:
        """Whether the step was chosen by the program."""
        return "dt_s" not in self.model_fields_set

    def __str__(self) -> str:
        from synapse_abm.synapse.scenario.summary import scenario_text

        return scenario_text(self)


#: What is written for a step that the program shall choose.
AUTO = "auto"


def part_faults(
    grid: Grid, targets: dict[str, Target], ligands: dict[str, Ligand]
) -> Iterator[InputError]:
    """What is wrong although each part may be right by itself; paths as in a scenario file."""
    for name, ligand in ligands.items():
        for target in ligand.binding:
            if target not in targets:
                yield UnknownName(f"target of ligand.{name}.binding", target, targets)
        yield from _doubled_sources(name, ligand)
    yield from _cells_outside(grid, targets, ligands)


def _cells_outside(
    grid: Grid, targets: dict[str, Target], ligands: dict[str, Ligand]
) -> Iterator[InputError]:
    named = [
        (f"target.{name}.cells[{n}]", cell)
        for name, target in targets.items()
        for n, cell in enumerate(target.cells or ())
    ]
    for name, ligand in ligands.items():
        named += [
            (f"ligand.{name}.batches[{n}].cell", b.cell) for n, b in enumerate(ligand.batches)
        ]
        if ligand.start_cell is not None:
            named.append((f"ligand.{name}.start_cell", ligand.start_cell))
    allowed = f"a cell of the grid, x from 0 to {grid.width - 1}, y from 0 to {grid.height - 1}"
    for path, cell in named:
        if cell[0] >= grid.width or cell[1] >= grid.height:
            yield InputError(path, cell, allowed)


def _doubled_sources(name: str, ligand: Ligand) -> Iterator[InputError]:
    at_rate = dict[Cell, int]()
    for number, batch in enumerate(ligand.batches):
        if batch.rate_per_s > 0 and (first := at_rate.setdefault(batch.cell, number)) != number:
            allowed = f"a cell without another batch at a rate, such as batches[{first}] has"
            yield InputError(
                f"ligand.{name}.batches[{number}].cell", batch.cell, allowed, "merge them into one"
            )
