"""Scenarios from TOML files, with units written by people; everything that is wrong, told at once.

The keys are those of ``synapse.scenario``, but a quantity may be written with any unit and
then leaves out the unit in its name: ``spacing = "100 nm"`` is ``spacing_um = 0.1``. Step and
settings of the run stand in ``[run]``, and ``ligand = "citalopram@Tatsumi1997"`` takes binding,
diffusion and role from the pharmacology, as far as the file does not give them. A complete file::

    [target.SERT]
    sites = 50

    [ligand.citalopram]
    ligand = "citalopram"
    clamped = "1.2 nM"

    [run]
    duration = "10 min"
    burn_in = "2 min"
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from synapse_abm.core.errors import InputError, InputErrors, UnknownName, collected, raise_faults
from synapse_abm.core.fields import (
    GOOD_NAME,
    GOOD_TITLE,
    Seconds,
    good_name,
    good_title,
)
from synapse_abm.core.validation_errors import (
    Location,
    dotted,
    read_toml,
    valid,
)
from synapse_abm.pharmacology.kinetics import Kinetics
from synapse_abm.pharmacology.library import Library, library, own_file
from synapse_abm.scenarios import find_scenario
from synapse_abm.synapse.scenario.definition import AUTO, Scenario
from synapse_abm.synapse.scenario.drugs import to_scenario_ligand
from synapse_abm.synapse.scenario.feasibility import count_faults, run_faults
from synapse_abm.synapse.scenario.parts import (
    Accuracy,
    At,
    Description,
    Grid,
    Ligand,
    RunSettings,
    Start,
    Target,
    cells_outside,
    part_faults,
)
from synapse_abm.synapse.scenario.protocol import MOST_ENTRIES, protocol_faults
from synapse_abm.synapse.scenario.tables import TableReader, Tables, key_of
from synapse_abm.synapse.scenario.timestep import read_accuracy

#: What stands at the top of a file.
TABLES = ("name", "grid", "target", "ligand", "run", "start", "at")
_START = "start from one that `synapse-abm list` names"


class RunTable(RunSettings):
    """``[run]`` of a file: the settings of the run, and the step."""

    dt_s: Seconds | None = None
    """The step; ``auto``: the longest that keeps the accuracy."""
    accuracy: Accuracy | None = None
    """Largest relative error of rates that the step may make; of driven means a fifth."""


def read_scenario(path: str | os.PathLike[str], base: Library | None = None) -> Scenario:
    """The scenario in a TOML file, or the ready-made one of a name that ``list`` shows.

    ``base`` is where ``ligand = ...`` is looked up.

    Raises
    ------
    InputError
        If there is one fault: where in the file, the value, what is allowed, the nearest name.
    InputErrors
        If there are more; all are reported at once.
    """
    # What looks like a file is read as one, and told as one if it is missing.
    if isinstance(path, str) and Path(path).name == path and not Path(path).suffix:
        path = path if Path(path).is_file() else find_scenario(path)
    path = Path(path)
    return parse_scenario(read_tables(path), path.stem, base, path.parent)


def read_tables(path: Path) -> Tables:
    """The tables of a scenario file, unchecked but for being TOML."""
    return read_toml(path, "scenario", "a file with [target.NAME] and so on", _START)


def parse_scenario(
    tables: Tables, name: str = "synapse", base: Library | None = None, folder: Path = Path()
) -> Scenario:
    """The scenario in the tables of a file that was read already; ``name`` if it has none.

    ``folder`` is where files of the user's own ligands are looked for.

    Raises
    ------
    InputError, InputErrors
        As :func:`read_scenario`.
    """
    raise_faults(list(_too_many(tables)))
    reader = _Reader(base or library(), folder)
    scenario = reader.scenario(tables, name)
    raise_faults(reader.faults)
    assert scenario is not None
    return scenario


class _Reader(TableReader):
    """One file being read."""

    def __init__(self, known: Library, folder: Path) -> None:
        super().__init__()
        self.known, self.folder = known, folder

    def scenario(self, tables: Tables, name: str) -> Scenario | None:
        """The scenario, if nothing is wrong."""
        for key in tables.keys() - set(TABLES):
            self.faults.append(UnknownName("a table of the file", str(key), TABLES))
        title: Any = tables.get("name", name)
        if not good_title(title):
            self.faults.append(InputError("name", title, f"text in quotes, {GOOD_TITLE}"))
            title = "unnamed"  # so that the rest can be checked
        grid = self.part(Grid, tables.get("grid", {}), ("grid",))
        start = self.part(Start, tables.get("start", {}), ("start",))
        protocol = self.protocol(tables)
        named = self.named(tables, "target"), self.named(tables, "ligand")
        # A part with faults is None, and its name stays known: whoever names it is right to do so.
        targets = {name: self.target(name, raw) for name, raw in named[0].items()}
        ligands = {name: self.ligand(name, raw, targets) for name, raw in named[1].items()}
        run = self.run(tables)
        good_targets = {name: part for name, part in targets.items() if part is not None}
        good_ligands = {name: part for name, part in ligands.items() if part is not None}
        self.faults += _unknown_targets(tables, targets)
        # Judged by the sides alone, so that cells are told whatever else is wrong with the grid.
        sides = dict(_tables(tables)).get("grid", {})
        plane = valid(Grid, {side: sides[side] for side in ("width", "height") if side in sides})
        if plane is not None:
            raw = (_tables(tables.get(kind)) for kind in ("target", "ligand"))
            self.faults += cells_outside(plane, *raw)
        # The same of the parts would be told twice if some of it was told above.
        if not self.faults and grid is not None:
            self.faults += part_faults(grid, good_targets, good_ligands)
        if grid is None or run is None or start is None or protocol is None:
            return None
        own = {"dt_s", "accuracy"}  # of the scenario; the rest is of its run
        settings = RunSettings(**run.model_dump(exclude=own, exclude_unset=True))
        step = run.model_dump(include=own, exclude_none=True)
        good = _sound(grid, good_targets, good_ligands) if self.faults else good_ligands
        parts = {"targets": good_targets, "ligands": good, "run": settings}
        if not self.faults:
            parts |= {"start": start, "at": protocol}
            described = Description(name=title, grid=grid, **parts, **step)  # type: ignore[arg-type]
            self.faults += protocol_faults(described)
            if self.faults:
                return None
        try:
            scenario = Scenario(name=title, grid=grid, **parts, **step)  # type: ignore[arg-type]
        except (InputError, InputErrors):
            assert self.faults  # a cell of a target is outside, say: told already
            return None
        self.faults += run_faults(scenario)
        return scenario

    def named(self, tables: Tables, kind: str) -> Tables:
        """The tables ``[kind.NAME]``."""
        named = tables.get(kind, {})
        if not isinstance(named, dict):
            self.faults.append(InputError(kind, named, f"tables [{kind}.NAME]"))
            return {}
        bad = (name for name in named if not good_name(name))
        self.faults += (InputError(f"a name of [{kind}.NAME]", name, GOOD_NAME) for name in bad)
        return named

    def target(self, name: str, raw: Any) -> Target | None:
        """One ``[target.NAME]``; of a target that is known the kind may be left out."""
        if isinstance(raw, dict) and "kind" not in raw and name in self.known.targets:
            raw = {"kind": self.known.targets[name].kind, **raw}
        return self.part(Target, raw, ("target", name))

    def ligand(self, name: str, raw: Any, targets: Iterable[str]) -> Ligand | None:
        """One ``[ligand.NAME]``."""
        here: Location = ("ligand", name)
        if not isinstance(raw, dict):
            self.faults.append(InputError(dotted(here), raw, "a table"))
            return None
        before = len(self.faults)
        own = {key: value for key, value in raw.items() if key not in ("ligand", "binding")}
        if "taken_from" in own:
            keys = map(key_of, Ligand.model_fields)
            self.faults.append(UnknownName(f"a key of {dotted(here)}", "taken_from", keys))
        taken = self.taken(here, raw.get("ligand"), targets)
        binding = self.binding(here, raw.get("binding", {}))
        # What the file gives goes before what the pharmacology says, target by target.
        fields = {**taken, **self.numbers(Ligand, own, here)}
        fields["binding"] = {**taken.get("binding", {}), **binding}
        ligand = self.checked(Ligand, fields, own, here)
        return ligand if len(self.faults) == before else None

    def taken(self, here: Location, name: Any, targets: Iterable[str]) -> dict[str, Any]:
        """What the pharmacology says of a ligand."""
        if name is None:
            return {}
        path = f"{dotted(here)}.ligand"
        if not isinstance(name, str):
            self.faults.append(InputError(path, name, "the name of a ligand, in quotes"))
            return {}
        if at := own_file(name):
            name = f"{self.folder / at[0]}:{at[1]}"
        try:
            record = self.known.ligand(name)
        except UnknownName as error:
            where = path if error.name == "ligand" else f"{path} ({error.name})"
            self.faults.append(UnknownName(where, str(error.value), error.known))
            return {}
        except (InputError, InputErrors) as error:
            several = error.faults if isinstance(error, InputErrors) else [error]
            place = f"{path} ({at[0]})" if at else path
            self.faults += (fault.within(place) for fault in several)
            return {}
        ligand = to_scenario_ligand(record, (t for t in targets if t in self.known.targets))
        fields = ("role", "diffusion_um2_per_s", "binding")
        return {x: getattr(ligand, x) for x in fields} | {"taken_from": record.full_name}

    def binding(self, here: Location, raw: Any) -> dict[str, Kinetics]:
        """The tables ``[ligand.NAME.binding.TARGET]``."""
        if not isinstance(raw, dict):
            self.faults.append(InputError(f"{dotted(here)}.binding", raw, "tables by target"))
            return {}
        parts = {t: self.part(Kinetics, table, (*here, "binding", t)) for t, table in raw.items()}
        return {target: kinetics for target, kinetics in parts.items() if kinetics is not None}

    def protocol(self, tables: Tables) -> tuple[At, ...] | None:
        """The tables ``[[at]]``, in order."""
        listed = tables.get("at", [])
        if not isinstance(listed, list):
            self.faults.append(InputError("at", listed, "tables [[at]], with two brackets"))
            return None
        entries = [self.part(At, raw, ("at", n)) for n, raw in enumerate(listed)]
        return tuple(x for x in entries if x is not None) if None not in entries else None

    def run(self, tables: Tables) -> RunTable | None:
        """``[run]``, its accuracy read; a step that is left to the program is left out."""
        raw = tables.get("run", {})
        if isinstance(raw, dict):
            raw = {key: value for key, value in raw.items() if (key, value) != ("dt", AUTO)}
        if isinstance(raw, dict) and "accuracy" in raw:
            written = raw.pop("accuracy")
            with collected(self.faults):
                raw["accuracy"] = read_accuracy(written, "run.accuracy")
        return self.part(RunTable, raw, ("run",))


# --- rules between the keys of a table, which hold even if one of them is wrong by itself ---------


def _sound(grid: Grid, targets: dict[str, Target], ligands: dict[str, Ligand]) -> dict[str, Ligand]:
    """The ligands that fit the rest, of a file with faults: what is wrong with the whole (the
    step, the memory) can then be told with them, as far as these ligands make it so.
    """
    fitting = dict[str, Ligand]()
    for name, ligand in ligands.items():
        known = {target: k for target, k in ligand.binding.items() if target in targets}
        ligand = ligand.model_copy(update={"binding": known})
        if not list(part_faults(grid, targets, {name: ligand})):
            fitting[name] = ligand
    return fitting


def _too_many(tables: Tables) -> Iterator[InputError]:
    """Counted before anything else, because checking a million of anything takes minutes."""
    targets, ligands = (list(_tables(tables.get(kind))) for kind in ("target", "ligand"))
    pairs = sum(len(_tables(ligand.get("binding"))) for _, ligand in ligands)
    entries = tables.get("at")
    if isinstance(entries, list) and len(entries) > MOST_ENTRIES:
        yield InputError("number of [[at]]", len(entries), f"at most {MOST_ENTRIES}")
    cells = [target.get("cells") for _, target in targets]
    listed = sum(len(cell) for cell in cells if isinstance(cell, list))
    yield from count_faults(len(targets), len(ligands), pairs, listed)


def _unknown_targets(tables: Tables, known: Iterable[str]) -> Iterator[InputError]:
    for name, ligand in _tables(tables.get("ligand")):
        for target, _ in _tables(ligand.get("binding")):
            if target not in known:
                yield UnknownName(f"target of ligand.{name}.binding", target, known)


def _tables(value: Any) -> list[tuple[str, Tables]]:
    """The tables within a table, by name."""
    items = value.items() if isinstance(value, dict) else ()
    return [(name, table) for name, table in items if isinstance(table, dict)]
