"""Values of a scenario changed while it runs, by the paths and units of a scenario file.

``{"ligand.citalopram.clamped": "3 nM"}`` gives the scenario that holds from then on. Only what a
change names is read and checked; everything else stays, whatever its range. Of the constants of
binding the other rate stays: with k_off changed, k_on stays and Kd follows; with Kd changed, k_off
stays and k_on follows, unless it is given too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from synapse_abm.core.arguments import machine_bytes
from synapse_abm.core.errors import InputError, UnknownName, collected, raise_faults
from synapse_abm.core.fields import MAX_ENTITY
from synapse_abm.core.quantity import bare_name, parse
from synapse_abm.core.validation_errors import Location, dotted
from synapse_abm.pharmacology.kinetics import Kinetics
from synapse_abm.synapse.scenario.parts import (
    Batch,
    Description,
    Ligand,
    Reservoir,
    Target,
    part_faults,
)
from synapse_abm.synapse.scenario.tables import TableReader

#: What cannot change while a scenario runs, by the beginning of its path, and why.
_FIXED = {
    "name": "a scenario keeps its name",
    "grid": "molecules are where they are on this grid; another one is another run",
    "run": "step, duration, records and seed are those of the whole run",
    "start": "the start is over",
    "at": "a protocol is that of the whole run",
}
#: ... and by the key in a table of a ligand or target.
_FIXED_KEYS = {
    ("ligand", "count"): "it is the number at the start; to bring in molecules, add them",
    ("ligand", "start_cell"): "it is where molecules are at the start",
    ("ligand", "ligand"): "another substance is another ligand; change its constants, or begin "
    "with both",
    ("ligand", "role"): "a ligand stays what it is",
    ("target", "kind"): "a target stays what it is",
}
#: What can change of each kind of table.
_KEYS = {
    "ligand": [
        "binding", "clamped", "reservoir", "batches", "diffusion", "return", "metabolism",
        "degradation",
    ],
    "target": ["sites", "cells"],
}  # fmt: skip
#: Memory that a molecule takes while rows are copied into larger ones, bytes.
BYTES_A_MOLECULE = 64
_WHILE_RUNNING = "left as it is while the scenario runs"


def changed[Kind: Description](
    scenario: Kind, changes: Mapping[str, Any], within: str = ""
) -> Kind:
    """The scenario with some values changed; its step is chosen anew where it is ``auto``.

    Parameters
    ----------
    changes
        Values by their path in a scenario file (``ligand.serotonin.binding.SERT.koff``), written
        as there (``"0.5 /s"``), or as a number where the key names the unit. None leaves a
        reservoir or batches out.
    within
        Where the changes stand, for messages.

    Raises
    ------
    InputError, InputErrors
        All that is wrong with the changes, at once: unknown paths with the nearest one, values out
        of range, and what cannot change while a scenario runs, with the reason.
    """
    targets, ligands = changed_parts(scenario, changes, within)
    if targets is scenario.targets and ligands is scenario.ligands:
        return scenario
    return scenario.model_copy(update={"targets": targets, "ligands": ligands})


def changed_parts(
    scenario: Description, changes: Mapping[str, Any], within: str = ""
) -> tuple[dict[str, Target], dict[str, Ligand]]:
    """Targets and ligands of the scenario that :func:`changed` gives."""
    if not isinstance(changes, Mapping):
        allowed = "a table of values by their path, such as {'ligand.drug.clamped': '3 nM'}"
        raise InputError(within or "changes", changes, allowed)
    edit = _Edit(scenario, within)
    for key, value in changes.items():
        edit.sort_in(key, plain(value))
    parts = edit.parts()
    raise_faults(edit.reader.faults)
    if not parts:
        return scenario.targets, scenario.ligands
    targets = {**scenario.targets, **parts["target"]}
    ligands = {**scenario.ligands, **parts["ligand"]}
    raise_faults(list(part_faults(scenario.grid, targets, ligands)))
    return targets, ligands


def added(scenario: Description, amounts: Mapping[str, Any], within: str = "add") -> dict[str, int]:
    """Molecules to bring in at once, by ligand: numbers, or concentrations over the whole place.

    Raises
    ------
    InputError, InputErrors
        If a ligand is unknown or clamped, or an amount is no number of molecules, nor a
        concentration with its unit.
    """
    if not isinstance(amounts, Mapping):
        raise InputError(within, amounts, "a table such as {'serotonin': 4000}, or '100 nM'")
    numbers, faults = dict[str, int](), list[InputError]()
    for name, amount in amounts.items():
        with collected(faults):
            if name not in scenario.ligands:
                raise UnknownName(f"ligand in {within}", str(name), scenario.ligands)
            if scenario.ligands[name].clamped_nM is not None:
                allowed = "a ligand made of molecules; this one is clamped"
                raise InputError(f"{within}.{name}", amount, allowed, "change its 'clamped'")
            numbers[name] = _molecules(scenario, f"{within}.{name}", plain(amount))
    raise_faults(faults)
    return numbers


def _molecules(scenario: Description, path: str, amount: Any) -> int:
    if isinstance(amount, str):
        nM = parse(amount, "nM", path)
        amount = round(nM * scenario.grid.molecules_per_nM) if 0 <= nM <= 1e12 else amount
    # What does not fit into memory should not be found out half way.
    most = int(min(MAX_ENTITY, machine_bytes() / BYTES_A_MOLECULE))
    if isinstance(amount, bool) or not isinstance(amount, int) or not 0 <= amount <= most:
        allowed = f"a whole number of molecules from 0 to {most:,}, or a concentration ('100 nM')"
        raise InputError(path, amount, allowed)
    return amount


def plain(value: Any) -> Any:
    """A copy with NumPy's numbers and arrays, and tuples, as a file would have them."""
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, tuple | list):
        return [plain(part) for part in value]
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    return value


class _Edit:
    """Changes sorted by the part of the scenario that they belong to, and those parts read."""

    def __init__(self, scenario: Description, within: str) -> None:
        self.scenario, self.within = scenario, within
        self.reader = TableReader()
        self.edits = dict[tuple[str, str], list[tuple[list[str], Any]]]()

    def path(self, *location: str | int) -> Location:
        """A place in the file, or in what the caller gave."""
        return (self.within, *location) if self.within else location

    def sort_in(self, key: Any, value: Any) -> None:
        """Note a change with its part; what leads nowhere is a fault."""
        text = key if isinstance(key, str) else ""
        head, _, rest = text.partition(".")
        known = self.known()
        if head in _FIXED:
            self.reader.faults.append(InputError(text, value, _WHILE_RUNNING, _FIXED[head]))
            return
        if head not in known or not rest:
            paths = [f"{kind}.{name}" for kind, names in known.items() for name in names]
            self.reader.faults.append(UnknownName("beginning of a path", str(key), paths))
            return
        # A name may have dots of its own: the longest one that fits.
        fitting = (name for name in known[head] if f"{rest}.".startswith(f"{name}."))
        name = max(fitting, key=len, default="")
        words = re.findall(r"[^.\[\]]+", rest.removeprefix(name))
        if not name:
            first = words[0] if words else rest
            self.reader.faults.append(UnknownName(f"{head} in {text!r}", first, known[head]))
        elif words and (why := _FIXED_KEYS.get((head, bare_name(words[0])))):
            self.reader.faults.append(InputError(text, value, _WHILE_RUNNING, why))
        elif not words or bare_name(words[0]) not in _KEYS[head]:
            told = words[0] if words else ""
            self.reader.faults.append(UnknownName(f"a key of {head}.{name}", told, _KEYS[head]))
        else:
            self.edits.setdefault((head, name), []).extend(_leaves(words, value))

    def known(self) -> dict[str, Mapping[str, Any]]:
        """The tables that changes may be about, by kind and name."""
        return {"target": self.scenario.targets, "ligand": self.scenario.ligands}

    def parts(self) -> dict[str, dict[str, Any]]:
        """The changed targets and ligands, by name; faults are noted."""
        parts: dict[str, dict[str, Any]] = {"target": {}, "ligand": {}}
        for (kind, name), edits in self.edits.items():
            before = self.known()[kind][name]
            here = self.path(kind, name)
            fields = {field: getattr(before, field) for field in before.model_fields_set}
            raw, constants = dict[str, Any](), dict[str, dict[str, Any]]()
            for words, value in edits:
                if words[0] == "binding" and len(words) == 3:
                    constants.setdefault(words[1], {})[words[-1]] = value
                else:
                    self.put(type(before), fields, raw, words, value, here)
            for target, told in constants.items():
                self.put_constants(fields, target, told, (*here, "binding", target))
            made = self.reader.checked(type(before), fields, raw, here)
            if isinstance(made, Ligand) and isinstance(before, Ligand):
                self.demand_same_kind(made, before, here, raw)
            if made is not None:
                parts[kind][name] = made
        return parts if any(parts.values()) else {}

    def put(
        self, model: type[BaseModel], fields: dict[str, Any], raw: dict[str, Any],
        words: list[str], value: Any, here: Location,
    ) -> None:  # fmt: skip
        """One change in the ``fields`` of a part, and as written in ``raw``."""
        key = bare_name(words[0])
        if key == "batches" and len(words) == 3:
            self.put_batch(fields, words[1:], value, here)
        elif key == "reservoir" and len(words) == 2:
            before, place = fields.get("reservoir"), (*here, "reservoir")
            told = {words[1]: value}
            new = (before.model_dump() if before else {}) | self.reader.numbers(
                Reservoir, told, place
            )
            fields["reservoir"] = self.reader.checked(Reservoir, new, told, place)
        elif len(words) > 1 or key == "binding":
            path = f"a path in {dotted(here)}"
            paths = _KEYS[str(here[-2])]
            if key == "binding":
                pairs = [f"binding.{target}" for target in fields.get("binding", {})]
                paths = [f"{pair}.{x}" for pair in pairs for x in ("kon", "koff", "kd", "kcat")]
            self.reader.faults.append(UnknownName(path, ".".join(words), paths))
        elif value is None and key in ("reservoir", "batches", "clamped"):
            fields.pop("clamped_nM" if key == "clamped" else key, None)
        else:
            raw[words[0]] = value
            fields |= self.reader.numbers(model, {words[0]: value}, here)

    def put_constants(
        self, fields: dict[str, Any], target: str, told: dict[str, Any], place: Location
    ) -> None:
        """Constants of binding; the rate that is not told stays."""
        binding: dict[str, Kinetics] = fields.get("binding", {})
        if target not in binding:
            allowed = "a target that the ligand binds to from the start"
            fix = "begin with kon = '0 /(nM s)' there, and change it"
            self.reader.faults.append(InputError(dotted(place), told, allowed, fix))
            return
        before, new = binding[target], self.reader.numbers(Kinetics, told, place)
        rates = {"kon_per_nM_s": before.kon, "koff_per_s": before.koff}
        if "kd_nM" in new:
            # With Kd one rate follows: k_off if k_on is told too, else k_on.
            rates.pop("koff_per_s" if "kon_per_nM_s" in new else "kon_per_nM_s")
        fields_of_pair = rates | {"kcat_per_s": before.kcat_per_s} | new
        made = self.reader.checked(Kinetics, fields_of_pair, told, place)
        if made is not None:
            fields["binding"] = {**binding, target: made}

    def put_batch(
        self, fields: dict[str, Any], words: list[str], value: Any, here: Location
    ) -> None:
        """A value of one of the batches that are there."""
        batches: tuple[Batch, ...] = fields.get("batches", ())
        number, key = words
        place = (*here, "batches", number)
        if not number.isdigit() or int(number) >= len(batches):
            allowed = f"one of the {len(batches)} batches there are, counted from 0"
            self.reader.faults.append(InputError(dotted(place), value, allowed))
            return
        told = {key: value}
        new = batches[int(number)].model_dump() | self.reader.numbers(Batch, told, place)
        made = self.reader.checked(Batch, new, told, place)
        if made is not None:
            fields["batches"] = (*batches[: int(number)], made, *batches[int(number) + 1 :])

    def demand_same_kind(
        self, after: Ligand, before: Ligand, here: Location, raw: Mapping[str, Any]
    ) -> None:
        """A ligand stays clamped, or made of molecules."""
        if (after.clamped_nM is None) != (before.clamped_nM is None):
            allowed = "left as it is: a ligand stays clamped or made of molecules while it runs"
            path = dotted((*here, "clamped"))
            written = raw.get("clamped", raw.get("clamped_nM"))
            fix = "begin with clamped = '0 nM'" if before.clamped_nM is None else ""
            self.reader.faults.append(InputError(path, written, allowed, fix))


def _leaves(words: list[str], value: Any) -> Iterator[tuple[list[str], Any]]:
    """A table of constants of binding as its single values; anything else as it is."""
    if words[0] == "binding" and len(words) < 3 and isinstance(value, dict):
        for key, part in value.items():
            yield from _leaves([*words, str(key)], part)
    else:
        yield words, value
