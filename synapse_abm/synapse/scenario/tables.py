"""Tables of a scenario file as parts of a scenario: quantities read, faults collected.

A quantity may be written with any unit and then leaves out the unit in its name: ``spacing =
"100 nm"`` is ``spacing_um = 0.1``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from synapse_abm.core.errors import InputError, collected
from synapse_abm.core.fields import LONGEST_S, Frozen, Ruled
from synapse_abm.core.quantity import bare_name, parse, unit_of
from synapse_abm.core.validation_errors import (
    MISSING,
    Location,
    Origin,
    dotted,
    field_faults,
)
from synapse_abm.pharmacology.kinetics import Kinetics
from synapse_abm.synapse.scenario.parts import Batch, Ligand, Reservoir

type Tables = Mapping[str, Any]

#: Least (above zero) and largest number of each unit. What lies beyond is no synapse, and would
#: drive the arithmetic of tables and clocks out of its range.
RANGES = {
    "um^2/s": (1e-9, 1e6),
    "1/(nM s)": (1e-15, 1e3),
    "1/s": (1e-12, 1e9),
    "um": (1e-4, 1e6),
    "nM": (1e-9, 1e12),
    "s": (1e-9, LONGEST_S),
}


class TableReader:
    """Reads tables; ``faults`` are those found so far."""

    def __init__(self) -> None:
        self.faults = list[InputError]()

    def part[Model: BaseModel](self, model: type[Model], raw: Any, here: Location) -> Model | None:
        """A table as a ``model``, or None, its faults noted."""
        before = len(self.faults)
        part = self.checked(model, self.numbers(model, raw, here), raw, here)
        return part if len(self.faults) == before else None

    def numbers(self, model: type[BaseModel], raw: Any, here: Location) -> Any:
        """``raw`` with quantities as plain numbers, under the names that carry the unit."""
        if not isinstance(raw, dict):
            return raw
        # In a file both spellings are good: "spacing", its unit in the value, and "spacing_um".
        full = {bare_name(field): field for field in model.model_fields}
        out = dict[str, Any]()
        for key, value in raw.items():
            field = str(full.get(key, key))
            if field in out:
                path = dotted((*here, key))
                self.faults.append(InputError(path, value, f"given once, not as {field} too"))
            unit = unit_of(field) if field in model.model_fields else None
            inner = _INNER.get((model, field))
            if unit is not None:
                out[field] = self.quantity(value, unit, (*here, key), bare=key != field)
            elif inner is not None and isinstance(value, list):
                out[field] = [self.numbers(inner, x, (*here, key, n)) for n, x in enumerate(value)]
            else:
                out[field] = value if inner is None else self.numbers(inner, value, (*here, key))
        return out

    def quantity(self, value: Any, unit: str, here: Location, *, bare: bool) -> Any:
        """A number in ``unit``; what is none is noted, and stands as _WRONG."""
        if isinstance(value, list) and str(here[-1]).startswith("times"):
            return [self.quantity(x, unit, (*here, n), bare=bare) for n, x in enumerate(value)]
        low, high = RANGES[unit]
        with collected(self.faults):
            if isinstance(value, str):
                number = parse(value, unit, dotted(here))
            elif isinstance(value, bool) or not isinstance(value, int | float):
                allowed = f"a number in {unit}, or text with a number and its unit"
                raise InputError(dotted(here), value, allowed)
            elif bare:
                fix = f"if it is in {unit}, write '{value} {unit}'"
                raise InputError(dotted(here), value, "a number with its unit, in quotes", fix)
            else:
                number = value
            if number == 0 or low <= number <= high:
                return float(number)
            allowed = f"a number from {low:g} to {high:g}, in {unit}, or 0 where that makes sense"
            raise InputError(dotted(here), value, allowed)
        return _WRONG

    def checked[Model: BaseModel](
        self, model: type[Model], fields: Any, raw: Any, here: Location
    ) -> Model | None:
        """``fields`` as a ``model``; faults are told with what stood in the file."""
        broken = list[tuple[str, str, str]]()
        if isinstance(fields, dict):
            broken += model.broken_rules(fields) if issubclass(model, Ruled) else ()
            broken += _fast_kon(fields) if model is Kinetics else ()
        for field, allowed, fix in broken:
            path = dotted((*here, bare_name(field)))
            written = raw.get(bare_name(field), raw.get(field, MISSING))
            self.faults.append(InputError(path, written, allowed, fix))
        try:
            return model.model_validate(fields)
        except ValidationError as error:
            if broken and error.errors()[0]["type"] == "value_error":
                return None  # the same, told by the rule
            origin = Origin(here, _written(raw), key_of, _WRONG)
            self.faults += field_faults(error, model, origin)
            return None


def key_of(field: str) -> str:
    """The key that a file has for a field."""
    return "ligand" if field == "taken_from" else bare_name(field)


class _Wrong:
    """Stands for a value whose fault is noted already."""


_WRONG = _Wrong()


def _fast_kon(fields: Tables) -> Iterator[tuple[str, str, str]]:
    """A k_on that follows from the other two, and is beyond the range of one that is given."""
    kd, koff, high = fields.get("kd_nM"), fields.get("koff_per_s"), RANGES["1/(nM s)"][1]
    if "kon_per_nM_s" in fields or not isinstance(kd, float) or not isinstance(koff, float):
        return
    if 0 < kd * high < koff < math.inf:
        allowed = f"at most {kd * high:g} /s, so that k_on = koff/kd is at most {high:g} /(nM s)"
        yield "koff_per_s", allowed, ""


#: Tables within tables.
_INNER: dict[tuple[type[BaseModel], str], type[Frozen]] = {
    (Ligand, "reservoir"): Reservoir,
    (Ligand, "batches"): Batch,
}


def _written(raw: Any) -> Callable[[Location], tuple[Location, Any]]:
    """A function from a place among the fields to the key and value that stand in the file."""

    def find(location: Location) -> tuple[Location, Any]:
        here, names = raw, list[str | int]()
        for part in location:
            key: Any = part
            if isinstance(here, dict) and part not in here:
                key = bare_name(str(part))
            names.append(key)
            try:
                here = here[key]
            except (KeyError, IndexError, TypeError):
                here = MISSING
        return tuple(names), here

    return find
