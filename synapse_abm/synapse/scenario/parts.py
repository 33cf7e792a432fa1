"""The parts of a scenario: the place, its sites, its ligands, the run; and the whole as plain data.

All numbers are in the program's own units (um, s, nM, molecules); the unit stands in the field's
name. Nothing here knows how a run is computed, and nothing is derived here: what follows from a
description (its step, its cost, its summary) are functions of it in the modules above.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from numbers import Real
from typing import Annotated, Any, Literal, Self

from pydantic import Field, JsonValue, PlainValidator, model_validator

from synapse_abm.core.errors import InputError, UnknownName, raise_faults
from synapse_abm.core.fields import (
    FROM_NUMPY,
    GOOD_NAME,
    GOOD_TITLE,
    MAX_ENTITY,
    MAX_REPLICATE,
    MAX_SEED,
    Count,
    Frozen,
    NonNegative,
    Positive,
    Ruled,
    Seconds,
    good_name,
    good_title,
    whole,
)
from synapse_abm.core.units import molecules_per_nM
from synapse_abm.pharmacology.kinetics import Kinetics

type Fields = Mapping[str, Any]

LONGEST_ORIGIN = 5000  # characters of ``taken_from``: the longest path, a colon and a name

#: Cells along a side: walls that reflect make a ring of twice as many, whose offsets have 16 bits.
Side = Annotated[int, whole(1, 32767), FROM_NUMPY]
#: A share of something, 0 to 1.
Share = Annotated[float, Field(ge=0, le=1, strict=True, description="a share, 0 to 1"), FROM_NUMPY]
Cell = Annotated[
    tuple[Count, Count], Field(description="a cell [x, y], whole numbers >= 0"), FROM_NUMPY
]


class Grid(Frozen):
    """A square lattice of cells with a depth; molecules are points in cells.

    The default, 64 x 64 cells of 0.1 um, 1 um deep, is about one varicosity's share of
    extracellular space (41 um^3; 1 nM is 24.7 molecules).
    """

    width: Side = 64
    """Cells in a row, along x."""
    height: Side = 64
    """Rows of cells, along y."""
    spacing_um: Positive = 0.1
    """Side of a cell."""
    depth_um: Positive = 1.0
    """Depth of the place: with the cells' area it makes the volume."""
    walls: Literal["reflecting", "periodic"] = "reflecting"
    """What a molecule does at the edge: it stays inside, or comes in again on the other side."""

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


class Target(Ruled):
    """Binding sites of one kind, fixed in cells.

    Give ``sites`` (scattered at random, over distinct cells as long as there are enough) or
    explicit ``cells`` as (x, y), one per site; a cell may be named more than once.
    """

    kind: Literal["transporter", "receptor"] = "transporter"
    """Transporters may take up what they bind (k_cat), receptors do not."""
    sites: Count | None = None
    """Number of sites, scattered at random."""
    cells: Annotated[
        tuple[Cell, ...] | None,
        Field(description="a list of cells [x, y], whole numbers >= 0, one for each site"),
        FROM_NUMPY,
    ] = None
    """The cell of each site, instead of a number of sites."""

    @classmethod
    def broken_rules(cls, fields: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
        """That there are sites or cells, not both."""
        both = [name for name in ("sites", "cells") if fields.get(name) is not None]
        if len(both) != 1:
            allowed = "either 'sites' (a count) or 'cells' (one [x, y] per site)"
            yield "sites", allowed, "leave out one of them" if both else "add one of them"

    @property
    def n_sites(self) -> int:
        """Number of sites."""
        return len(self.cells) if self.cells is not None else int(self.sites or 0)


class Reservoir(Frozen):
    """Bulk solution around the place: molecules leave at ``exchange_per_s`` each and enter to
    match.
    """

    concentration_nM: NonNegative
    """Concentration in the bulk, and of free molecules in equilibrium with it."""
    exchange_per_s: NonNegative
    """Rate at which each free molecule leaves for the bulk."""


class Batch(Frozen):
    """``size`` molecules released together in one cell, at a rate (1/s), at given times (s), or
    both.
    """

    size: Annotated[int, whole(1, MAX_ENTITY), FROM_NUMPY]
    """Molecules in each release."""
    cell: Cell = (0, 0)
    """Where they come out."""
    rate_per_s: NonNegative = 0.0
    """Releases at random times: how many on average."""
    times_s: Annotated[tuple[NonNegative, ...], FROM_NUMPY] = ()
    """Releases at given times, as a list."""


class Ligand(Ruled):
    """One kind of molecule in the place.

    Explicit molecules start as ``count`` free ones, scattered at random or all in ``start_cell``,
    and may come from a ``reservoir`` or ``batches``. A clamped ligand is a fixed concentration
    without molecules of its own; it binds all the same.
    """

    role: Literal["serotonin", "norepinephrine", "drug"] = "drug"
    """What it is in the synapse; a drug of the library brings its own."""
    taken_from: str = ""
    """Name in the pharmacology (``citalopram@Tatsumi1997``) whose constants these are, if any."""
    diffusion_um2_per_s: NonNegative = 0.0
    """Effective diffusion coefficient; the library's for a ligand of the library."""
    count: Count = 0
    """Free molecules at the start."""
    start_cell: Cell | None = None
    """The cell where all of them start, instead of anywhere."""
    clamped_nM: NonNegative | None = None
    """A fixed concentration, instead of molecules."""
    reservoir: Annotated[
        Reservoir | None,
        Field(description="a table such as { concentration = '1 nM', exchange = '0.3 /s' }"),
    ] = None
    """Bulk solution that molecules are exchanged with."""
    batches: Annotated[
        tuple[Batch, ...],
        Field(description="a list of tables such as [{ size = 9, cell = [0, 0], rate = '1 /s' }]"),
    ] = ()
    """Molecules released together, at given times or at random."""
    binding: Annotated[
        dict[str, Kinetics], Field(description="a table for each target that it binds to")
    ] = Field(default_factory=dict)
    """Constants of binding by target; the library's where nothing is given."""
    return_per_s: NonNegative = 0.0
    """Rate at which a transported molecule comes back out, in its transporter's cell."""
    metabolism_per_s: NonNegative = 0.0
    """Rate at which a transported molecule is destroyed inside."""
    degradation_per_s: NonNegative = 0.0
    """Rate at which a free molecule is destroyed."""

    @classmethod
    def broken_rules(cls, fields: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
        """That it is clamped or made of molecules, not both; that what it says may be shown."""
        explicit = [x for x in ("count", "start_cell", "reservoir", "batches") if fields.get(x)]
        if explicit and fields.get("clamped_nM") is not None:
            beside = f"nothing beside {', '.join(explicit)}"
            allowed = f"{beside}: a ligand is clamped or made of molecules"
            yield "clamped_nM", allowed, "leave out one of them"
        taken = fields.get("taken_from", "")
        if isinstance(taken, str) and not (taken.isprintable() and len(taken) <= LONGEST_ORIGIN):
            allowed = (
                f"a ligand's name or FILE.toml:NAME, at most {LONGEST_ORIGIN} printable characters"
            )
            yield "taken_from", allowed, ""

    @property
    def exit_per_s(self) -> float:
        """Rate (1/s) at which a free molecule leaves for the reservoir."""
        return self.reservoir.exchange_per_s if self.reservoir else 0.0

    @property
    def loss_per_s(self) -> float:
        """Rate (1/s) at which a free molecule exits or is degraded."""
        return self.exit_per_s + self.degradation_per_s


class RunSettings(Ruled):
    """How long, how often and by which engine a scenario is run.

    The duration counts from time zero and includes the burn-in, which is recorded but not averaged.
    """

    duration_s: Seconds
    """How long the run is, burn-in included."""
    burn_in_s: NonNegative = 0.0
    """Time at the beginning that averages leave out."""
    sample_every_s: Seconds | None = None
    """Time between records; a 200th of what follows the burn-in unless given."""
    replicates: Annotated[int, whole(1, MAX_REPLICATE), FROM_NUMPY] = 1
    """Independent runs of the same."""
    seed: Annotated[int, whole(0, MAX_SEED), FROM_NUMPY] = 1
    """Seed of all random numbers."""
    engine: Literal["compiled", "agents"] = "compiled"
    """The fast engine or plain Python agents; the trajectory is the same."""

    @classmethod
    def broken_rules(cls, fields: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
        """That there is something to average after the burn-in."""
        duration, burn_in = fields.get("duration_s"), fields.get("burn_in_s", 0.0)
        sample = fields.get("sample_every_s")
        if not isinstance(duration, float) or not isinstance(burn_in, float):
            return
        left = duration - burn_in
        if left <= 0:
            allowed = f"longer than the burn-in, {burn_in:g} s, which it includes"
            yield "duration_s", allowed, ""
        elif isinstance(sample, float) and sample > left:
            yield "sample_every_s", f"at most the {left:g} s that follow the burn-in", ""

    @property
    def sample_s(self) -> float:
        """Time between records, s."""
        return self.sample_every_s or (self.duration_s - self.burn_in_s) / 200


class Start(Ruled):
    """How sites are at time zero: empty, in equilibrium, or occupied as told.

    ``equilibrium`` is that of what holds before the first change. ``bound`` gives shares of the
    sites by target and ligand, ``{"SERT": {"citalopram": 0.8}}``; of a ligand without a reservoir
    they are taken from its molecules.
    """

    state: Literal["empty", "equilibrium"] = "empty"
    """Empty sites, or the equilibrium of what holds before the first change."""
    bound: Annotated[
        dict[str, dict[str, Share]],
        Field(description="a table such as { SERT = { citalopram = 0.8 } }"),
    ] = Field(default_factory=dict)
    """Shares of the sites that are occupied, by target and ligand."""

    @classmethod
    def broken_rules(cls, fields: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
        """That it is one of both, and that no target is more than full."""
        bound = fields.get("bound")
        if not isinstance(bound, Mapping) or not bound:
            return
        if fields.get("state") == "equilibrium":
            yield "bound", "left out where state = 'equilibrium' says it all", "leave out one"
        for target, shares in bound.items():
            numbers = shares.values() if isinstance(shares, Mapping) else ()
            if sum(x for x in numbers if isinstance(x, int | float)) > 1:
                yield "bound", f"shares of the sites of {target} that add up to at most 1", ""


class At(Ruled):
    """What changes at a time: at once, over a ramp, or again and again.

    ``change`` holds values by their path in a scenario file, ``add`` molecules by ligand, a number
    or a concentration over the whole place. A ramp goes from the value that holds at ``time_s`` to
    the one given, in equal parts over ``over_s``.
    """

    time_s: NonNegative | None = None
    """When it happens, or begins."""
    over_s: Seconds | None = None
    """How long a ramp takes."""
    every_s: Seconds | None = None
    """Time between repetitions."""
    from_s: NonNegative | None = None
    """The first repetition; 0 unless given."""
    to_s: Seconds | None = None
    """Repetitions come before this time; until the end unless given."""
    change: Annotated[
        dict[str, JsonValue],
        Field(description="a table such as { 'ligand.citalopram.clamped' = '12 nM' }"),
    ] = Field(default_factory=dict)
    """New values by their path in the file."""
    add: Annotated[
        dict[str, JsonValue], Field(description="a table such as { serotonin = 4000 }")
    ] = Field(default_factory=dict)
    """Free molecules to bring in, by ligand."""

    @classmethod
    def broken_rules(cls, fields: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
        """That it is one of the kinds, and does something."""
        told = {name for name, value in fields.items() if value not in (None, {})}
        if len(told & {"time_s", "every_s"}) != 1:
            yield "time_s", "either 'time' (once) or 'every' (again and again)", "give one of them"
            return
        if not told & {"change", "add"}:
            yield "change", "something to change or to add", "give 'change' or 'add'"
        if "over_s" in told and (told & {"add", "every_s"} or "change" not in told):
            allowed = "left out here: a ramp has a 'time' and a 'change', and nothing to add"
            yield "over_s", allowed, ""
        for name in () if "every_s" in told else told & {"from_s", "to_s"}:
            yield name, "given with 'every' only", "leave it out"
        start, end = fields.get("from_s") or 0.0, fields.get("to_s")
        if isinstance(start, float) and isinstance(end, float) and end <= start:
            yield "to_s", f"later than 'from', {start:g} s", ""


#: The accuracy of a scenario that is run for its equilibrium alone, which is exact at any step.
EQUILIBRIUM: Literal["equilibrium"] = "equilibrium"
#: ... and of one that says nothing.
DEFAULT_ACCURACY = 0.01


def _accuracy(value: Any) -> Any:
    """One check with one message, where a union of types would tell of each type."""
    if isinstance(value, str) and value == EQUILIBRIUM:
        return value
    share = float(value) if isinstance(value, Real) and not isinstance(value, bool) else 0.0
    if not 0 < share <= 1:
        raise ValueError(f"a share above 0 and at most 1 (1 is 100 %), or '{EQUILIBRIUM}'")
    return share


Accuracy = Annotated[float | Literal["equilibrium"], PlainValidator(_accuracy)]


class Description(Frozen):
    """All that is said of a scenario; ``definition.Scenario`` adds the step where none is given."""

    name: str = "synapse"
    grid: Grid = Grid()
    targets: dict[str, Target] = Field(default_factory=dict)
    ligands: dict[str, Ligand] = Field(default_factory=dict)
    dt_s: Positive = math.nan  # not chosen yet (defaults are not validated)
    accuracy: Accuracy = DEFAULT_ACCURACY
    """Largest relative error of rates that a chosen step may make; of driven means a fifth."""
    run: RunSettings | None = None
    start: Start = Start()
    at: tuple[At, ...] = ()
    """What changes while it runs, in order of time; see ``scenario.protocol``."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        faults = list(part_faults(self.grid, self.targets, self.ligands))
        if not good_title(self.name):
            faults.append(InputError("name", self.name, GOOD_TITLE))
        raise_faults(faults)
        return self

    @property
    def n_sites(self) -> int:
        """Number of sites of all targets."""
        return sum(target.n_sites for target in self.targets.values())

    @property
    def dt_is_auto(self) -> bool:
        """Whether the step is chosen by the program."""
        return "dt_s" not in self.model_fields_set


def part_faults(
    grid: Grid, targets: dict[str, Target], ligands: dict[str, Ligand]
) -> Iterator[InputError]:
    """What is wrong although each part may be right by itself; paths as in a scenario file."""
    for kind, parts in (("target", targets), ("ligand", ligands)):
        bad = (name for name in parts if not good_name(name))
        yield from (InputError(f"a name of [{kind}.NAME]", name, GOOD_NAME) for name in bad)
    for name, ligand in ligands.items():
        for target in ligand.binding:
            if target not in targets:
                yield UnknownName(f"target of ligand.{name}.binding", target, targets)
        yield from _doubled_sources(name, ligand)
    plain = ([(name, dict(part)) for name, part in parts.items()] for parts in (targets, ligands))
    yield from cells_outside(grid, *plain)


def cells_outside(
    grid: Grid, targets: Iterable[tuple[str, Fields]], ligands: Iterable[tuple[str, Fields]]
) -> Iterator[InputError]:
    """Cells that are cells, but not of the grid, whatever else is wrong with what names them."""
    named = [
        (f"target.{name}.cells[{n}]", cell)
        for name, target in targets
        for n, cell in enumerate(_listed(target, "cells"))
    ]
    for name, ligand in ligands:
        named += [
            (f"ligand.{name}.batches[{n}].cell", dict(batch).get("cell"))
            for n, batch in enumerate(_listed(ligand, "batches"))
            if isinstance(batch, Batch | dict)
        ]
        named.append((f"ligand.{name}.start_cell", ligand.get("start_cell")))
    allowed = f"a cell of the grid, x from 0 to {grid.width - 1}, y from 0 to {grid.height - 1}"
    for path, cell in named:
        is_cell = isinstance(cell, list | tuple) and [type(x) for x in cell] == [int, int]
        if is_cell and min(cell) >= 0 and not (cell[0] < grid.width and cell[1] < grid.height):
            yield InputError(path, cell, allowed)


def _listed(fields: Fields, name: str) -> Iterable[Any]:
    value = fields.get(name)
    return value if isinstance(value, list | tuple) else ()


def _doubled_sources(name: str, ligand: Ligand) -> Iterator[InputError]:
    at_rate = dict[Cell, int]()
    for number, batch in enumerate(ligand.batches):
        # Tables have one rate and one size for each cell and ligand.
        if batch.rate_per_s > 0 and (first := at_rate.setdefault(batch.cell, number)) != number:
            allowed = f"a cell without another batch at a rate, such as batches[{first}] has"
            yield InputError(
                f"ligand.{name}.batches[{number}].cell", batch.cell, allowed, "merge them into one"
            )
