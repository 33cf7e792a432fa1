"""Two runs compared number by number: where they depart most, in units of the last digit."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from synapse_abm.core.text import DIGITS
from synapse_abm.runs.results import Table, last_unit

#: Units of the last digit within which numbers agree. Two processors that round differently just
#: beside a rounding edge are written one unit apart; a second is for the sum of two such numbers.
UNITS = 2

type Unit = Callable[[float, float], float]


@dataclass(frozen=True, slots=True)
class Departure:
    """One number, or text, that is not what it was.

    Attributes
    ----------
    place
        Where it stands.
    was, now
        Both as written.
    relative
        Difference over the larger; infinite for what are not two numbers.
    units
        The difference in units of the last digit written.
    """

    place: str
    was: object
    now: object
    relative: float
    units: float

    @property
    def agrees(self) -> bool:
        """Whether rounding explains it."""
        return self.units <= UNITS

    def __str__(self) -> str:
        text = f"{self.place} was {self.was}, is {self.now}"
        return f"{text}: relative difference {self.relative:.1e}" if self.relative < 2 else text


def _departure(place: str, was: Any, now: Any, unit: Unit) -> Departure:
    try:
        one, other = float(was), float(now)
    except (TypeError, ValueError):  # text, a missing cell
        return Departure(place, was, now, math.inf, math.inf)
    # Relative to the larger, so that the order of the two does not matter.
    apart, size = abs(one - other), max(abs(one), abs(other))
    # Whole numbers are counts: they agree only if they are equal, and so do NaN and infinities.
    if not math.isfinite(apart) or _whole(was) or _whole(now):
        return Departure(place, was, now, math.inf, math.inf)
    # What was written is a decimal number, read to 16 digits: hence the small allowance.
    units = apart / unit(one, other) * (1 - 1e-5) if apart else 0.0
    return Departure(place, was, now, apart / size if size else 0.0, units)


def _whole(cell: object) -> bool:
    return isinstance(cell, int) or (isinstance(cell, str) and cell.lstrip("-").isdigit())


def departure_of_table(table: Table, recorded: bytes) -> Departure | str:
    """The largest departure of ``table`` from its recorded CSV, or what else is wrong with that."""
    try:
        before = list(csv.reader(io.StringIO(recorded.decode())))
        after = list(csv.reader(io.StringIO(table.csv().decode())))
    except (csv.Error, UnicodeDecodeError):
        return "what is recorded is no CSV"
    # Columns first: with others, a comparison of rows would be one of different things.
    if before[:1] != after[:1]:
        return f"columns were {', '.join(before[0]) if before else 'none'}"
    # Rows of other lengths too: the file may have been edited by hand.
    if list(map(len, before)) != list(map(len, after)):
        return f"{len(before) - 1} rows were recorded, now there are {len(after) - 1}, or others"
    units = [table.unit(name) for name in after[0]]
    differing = [
        _departure(f"row {number}, column {name}", was, now, unit)
        for number, (old, new) in enumerate(zip(before, after, strict=True))
        if old != new
        for name, was, now, unit in zip(after[0], old, new, units, strict=True)
        if was != now
    ]
    # The hash differs, so something does; if no cell does, it is a line end or a zero more.
    return max(differing, key=lambda one: one.units, default="written in another form")


def departures(was: Any, now: Any, place: str, digits: int = DIGITS) -> Iterator[Departure]:
    """Where two plain values (as in JSON) are not equal, numbers rounded to ``digits`` digits."""
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        # A union that keeps the order of the record.
        for key in {**was, **now}:
            yield from departures(was.get(key), now.get(key), f"{place}.{key}", digits)
    elif isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        for number, (one, other) in enumerate(zip(was, now, strict=True)):
            yield from departures(one, other, f"{place}[{number}]", digits)
    # True == 1 in Python, but not in JSON.
    elif was != now or type(was) is bool is not type(now) is bool:
        yield _departure(place, was, now, lambda one, other: last_unit(one, other, digits))
