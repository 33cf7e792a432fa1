"""A protocol for people: rows of a table, and lanes to draw, one for each quantity that changes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from synapse_abm.core.errors import InputError
from synapse_abm.core.quantity import bare_name, unit_of
from synapse_abm.synapse.scenario.changes import added
from synapse_abm.synapse.scenario.parts import At, Description
from synapse_abm.synapse.scenario.protocol import changed_by, end_s, plain_of, value_at

#: Marks of a lane at most; more could not be told apart.
MOST_MARKS = 400


def protocol_rows(description: Description) -> Iterator[tuple[str, str]]:
    """When, and what: the start, and each entry as it was written."""
    start = description.start
    if start.state == "equilibrium":
        yield "start", "in equilibrium"
    elif start.bound:
        shares = [
            f"{100 * share:.4g} % of {target} by {name}"
            for target, by_name in start.bound.items()
            for name, share in by_name.items()
        ]
        yield "start", ", ".join(shares)
    for at in description.at:
        to = "to " if at.over_s is not None else ""
        what = [f"{words(path)} {to}{_as_written(path, v)}" for path, v in at.change.items()]
        what += [_addition(name, amount) for name, amount in at.add.items()]
        yield _when(at), ", ".join(what)


def _when(at: At) -> str:
    if at.every_s is not None:
        end = f" to {at.to_s:g} s" if at.to_s is not None else ""
        return f"every {at.every_s:g} s from {at.from_s or 0:g} s{end}"
    if at.over_s is not None:
        return f"from {at.time_s:g} s, over {at.over_s:g} s"
    return f"at {at.time_s:g} s"


def words(path: str) -> str:
    """``citalopram at SERT koff`` for ``ligand.citalopram.binding.SERT.koff_per_s``."""
    _, _, rest = path.partition(".")
    parts = rest.replace(".binding.", " at ").split(".")
    return " ".join([*parts[:-1], bare_name(parts[-1])])


def _as_written(path: str, value: Any) -> str:
    unit = unit_of(path.rpartition(".")[2])
    if value is None:
        return "taken away"
    if isinstance(value, dict):
        return ", ".join(f"{key} {part}" for key, part in value.items())
    return f"{value} {unit}" if unit and not isinstance(value, str) else str(value)


def _addition(name: str, amount: Any) -> str:
    return f"{amount} {name} added"


# --- to draw --------------------------------------------------------------------------------------


@dataclass(slots=True)
class Lane:
    """One quantity that a protocol changes, or one ligand that it adds.

    Attributes
    ----------
    label
        In words, with the unit.
    times, values
        A line through the values that hold; two of one time are a step. Empty for additions, and
        for what is no number.
    marks
        Times (s) and amounts of additions; of what comes again and again, and of changes of what is
        no number, times with an empty text.
    is_addition
        Whether the marks are molecules that come in.
    """

    label: str
    times: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    marks: list[tuple[float, str]] = field(default_factory=list)
    is_addition: bool = False


def lanes(description: Description) -> list[Lane]:
    """What a protocol changes, in the order in which it first does."""
    now, until = plain_of(description), end_s(description)
    by_name = dict[str, Lane]()
    for at in sorted(description.at, key=lambda at: _first_s(at)):
        after = changed_by(now, at.change, {})
        begin = _first_s(at)
        again = _times(at, until)
        for path in at.change:
            (label, before), (_, value) = _number(now, path), _number(after, path)
            lane = by_name.setdefault(label, Lane(label))
            if before is not None and value is not None:
                if not lane.times:
                    lane.times, lane.values = [0.0], [before]
                lane.times += [begin, begin + (at.over_s or 0.0)]
                lane.values += [before, value]
            if at.every_s is not None or before is None or value is None:
                lane.marks += [(time, "") for time in again]
        for name, number in added(now, at.add).items():
            lane = by_name.setdefault(f"add {name}", Lane(f"{name} added", is_addition=True))
            lane.marks += [(time, f"{number:,}") for time in again]
        now = after
    for lane in by_name.values():
        if lane.times and math.isfinite(until):
            lane.times.append(until)
            lane.values.append(lane.values[-1])
    return list(by_name.values())


def _first_s(at: At) -> float:
    return (at.time_s if at.every_s is None else at.from_s) or 0.0


def _times(at: At, until: float) -> list[float]:
    """When an entry happens, as far as it can be shown."""
    if at.every_s is None:
        return [_first_s(at)]
    last = min(at.to_s or math.inf, until)
    number = min(math.ceil((last - _first_s(at)) / at.every_s - 1e-9), MOST_MARKS)
    return [_first_s(at) + k * at.every_s for k in range(number)]


def _number(description: Description, path: str) -> tuple[str, float | None]:
    """A label with its unit, and the number there; None if it is no number."""
    kind, _, rest = path.partition(".")
    if kind == "target":
        target = description.targets.get(rest.rpartition(".")[0])
        return f"{words(path)}", None if target is None else float(target.n_sites)
    try:
        full, value = value_at(description, path)
    except InputError:
        return words(path), None
    return f"{words(full)} ({unit_of(full)})", value if math.isfinite(value) else None
