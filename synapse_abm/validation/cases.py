"""Reading a file of cases: every fault found before anything runs, and all of them told at once."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synapse_abm.core.errors import InputError, UnknownName, escaped

type Array = NDArray[np.float64]

#: The cases of the program itself.
SHIPPED = Path(__file__).with_name("cases.json")

GROUPS = "ABCDEFGHIJKLMN"
LARGEST_RATE, LEAST_RATE, LARGEST_COUNT = 1e6, 1e-6, 1_000_000
#: The form of a file that this program reads, and the names that it knows of a file and of a case.
SCHEMA = 1
_KEYS_OF_FILE = {"schema", "about", "conventions", "n_cases", "max_check_diff", "cases"}
_KEYS_OF_CASE = {"id", "group", "title", "model", "params", "exact", "method", "check", "notes"}
#: Limits on a file: bytes, cases, brackets within brackets, times of a series.
MOST_BYTES, MOST_CASES, MOST_DEPTH, MOST_TIMES = 20_000_000, 2000, 20, 10_000
#: Entries that a table of two counts may have.
LARGEST_TABLE = 1_000_000
_MISSING = "(missing)"
_TIMES = ("t", "T", "lags")


class Noticed(Mapping[str, Any]):
    """What a case holds, and which names were looked for, held or not."""

    def __init__(self, held: Mapping[str, Any]) -> None:
        self._held = held
        self.looked_at: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        self.looked_at.add(key)
        return self._held[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)


@dataclass(frozen=True, slots=True)
class Case:
    """One case of a file: what is simulated, and the exact numbers it claims.

    The readers return the value asked for, or a harmless one of the same type after noting a fault
    in ``faults``, so that one pass over a file finds all there are.

    Parameters
    ----------
    not_read
        Its keys that mean nothing here.
    budget
        Events that a trial of it may take, in units of what is affordable by default.
    """

    source: str
    id: str
    group: str
    params: Mapping[str, Any]
    exact: Mapping[str, Any]
    title: str = ""
    not_read: Sequence[str] = ()
    faults: list[InputError] = field(default_factory=list)
    budget: float = 1.0

    def unread(self) -> list[str]:
        """Parameters that nothing has looked at."""
        if not isinstance(self.params, Noticed):
            return []
        return [key for key in self.params if key not in self.params.looked_at]

    def unmeasured(self) -> list[InputError]:
        """Its exact numbers, each as a name that nobody knows: for a case of which none is."""
        known = self.exact.looked_at if isinstance(self.exact, Noticed) else ()
        place = f"an exact number of {self.source}: {self.id}"
        return [UnknownName(place, key, set(known)) for key in self.exact]

    def known(self) -> set[str]:
        """Names of parameters that were looked for, given or not."""
        return set(self.params.looked_at) if isinstance(self.params, Noticed) else set()

    def fault(self, key: str, value: object, allowed: str) -> None:
        """Note that something given under ``params`` or ``exact`` cannot be used."""
        fix = "add it" if value == _MISSING else ""
        self.faults.append(InputError(f"{self.source}: {self.id}.{key}", value, allowed, fix))

    def rate(self, name: str, *, zero: bool = False, default: float | None = None) -> float:
        """A parameter that is a rate or a concentration: 1e-6 to 1e6, or zero if allowed."""
        value = self.params.get(name, _MISSING if default is None else default)
        if _is_number(value) and (LEAST_RATE <= value <= LARGEST_RATE or (zero and value == 0)):
            return float(value)
        nought = "0, or " if zero else ""
        self.fault(
            f"params.{name}", value, f"{nought}a number from {LEAST_RATE:g} to {LARGEST_RATE:g}"
        )
        return 1.0

    def share(self, name: str) -> float | None:
        """A parameter that is a probability; None if the case does not give it."""
        value = self.params.get(name)
        if value is None or (_is_number(value) and 0 <= value <= 1):
            return None if value is None else float(value)
        self.fault(f"params.{name}", value, "a number from 0 to 1")
        return None

    def contradiction(self, name: str, expected: float, formula: str) -> None:
        """Note a fault if a parameter is not what others make it."""
        value = self.params.get(name, expected)
        if not _is_number(value) or not math.isclose(value, expected, rel_tol=1e-6, abs_tol=1e-12):
            self.fault(f"params.{name}", value, f"{formula} = {expected:.7g}, or leave it out")

    def count(self, name: str, least: int = 0, default: int | None = None) -> int:
        """A parameter that is a whole number of molecules or sites."""
        value = self.params.get(name, _MISSING if default is None else default)
        if _is_number(value) and least <= value <= LARGEST_COUNT and float(value).is_integer():
            return int(value)
        self.fault(f"params.{name}", value, f"a whole number from {least} to {LARGEST_COUNT}")
        return 1

    def flag(self, name: str, default: bool) -> bool:
        """A parameter that is true or false."""
        value = self.params.get(name, default)
        if not isinstance(value, bool):
            self.fault(f"params.{name}", value, "true or false")
        return bool(value)

    def wholes(self, name: str, lengths: Sequence[int], least: int, most: int) -> tuple[int, ...]:
        """A parameter that is a short list of whole numbers."""
        value = self.params.get(name, _MISSING)
        if _are_wholes(value, lengths, least, most):
            return tuple(int(each) for each in value)
        size = " or ".join(map(str, lengths))
        what = "whole number" if max(lengths) == 1 else "whole numbers"
        self.fault(f"params.{name}", value, f"a list of {size} {what} from {least} to {most}")
        return (1,) * lengths[0]

    def cells(self, name: str, shape: Sequence[int]) -> list[tuple[int, ...]]:
        """A parameter that lists cells of a grid of this shape, each as its coordinates."""
        value = self.params.get(name, _MISSING)
        allowed = f"a list of cells [{', '.join(f'0..{n - 1}' for n in shape)}]"
        if isinstance(value, list) and value:
            inside = [
                _are_wholes(cell, [len(shape)], 0, max(shape) - 1)
                and all(x < n for x, n in zip(cell, shape, strict=True))
                for cell in value
            ]
            if all(inside):
                return [tuple(int(x) for x in cell) for cell in value]
        self.fault(f"params.{name}", value, allowed)
        return []

    def times(self, where: str) -> Array:
        """The times (s) of a series, from ``params.t`` or ``exact.t``; >= 0."""
        held = self.params if where == "params" else self.exact
        value = held.get("t", _MISSING)
        counted = _are_numbers(value) and 0 < len(value) <= MOST_TIMES
        if counted and min(value) >= 0 and max(value) <= LARGEST_RATE:
            return np.array(value, dtype=np.float64)
        allowed = f"a list of 1 to {MOST_TIMES} numbers from 0 to {LARGEST_RATE:g}"
        self.fault(f"{where}.t", value, allowed)
        return np.ones(1)

    def _times_unknown(self) -> bool:
        """Whether the times were refused: how many there are is not known then."""
        places = ("params", "exact")
        ends = tuple(f"{self.id}.{place}.{name}" for place in places for name in _TIMES)
        return any(fault.name.endswith(ends) for fault in self.faults)

    def reset(self) -> tuple[float, int] | None:
        """The parameter ``reset``: a time (s) and the number of molecules set then; or none."""
        value = self.params.get("reset")
        if value is None:
            return None
        if _are_numbers(value) and len(value) == 2 and value[0] > 0:
            time, number = value
            if 0 <= number <= LARGEST_COUNT and float(number).is_integer():
                return float(time), int(number)
        self.fault("params.reset", value, "null, or a time > 0 and a whole number >= 0")
        return None

    def number(self, key: str) -> float | None:
        """An exact number; None if the case does not give it."""
        value = self.exact.get(key)
        if value is None:
            return None
        if _is_number(value):
            return float(value)
        self.fault(f"exact.{key}", value, "a finite number")
        return None

    def series(self, key: str, length: int) -> Array | None:
        """Exact numbers at each of ``length`` times; None if the case does not give them."""
        value = self.exact.get(key)
        if value is None or self._times_unknown():
            return None
        if _are_numbers(value) and len(value) == length:
            return np.array(value, dtype=np.float64)
        self.fault(f"exact.{key}", value, f"{length} finite numbers, one for each t")
        return None

    def law(self, key: str) -> Array | None:
        """An exact law of one count, a list of probabilities; None if the case gives none."""
        value = self.exact.get(key)
        if value is None:
            return None
        if _are_numbers(value) and len(value) and min(value) >= 0:
            return np.array(value, dtype=np.float64)
        self.fault(f"exact.{key}", value, "a list of probabilities >= 0")
        return None

    def joint_law(self, key: str) -> Array | None:
        """An exact law of two counts: an object of probabilities under keys ``"i,j"``, as a
        table.
        """
        value = self.exact.get(key)
        if value is None:
            return None
        if isinstance(value, dict) and value and _are_numbers(list(value.values())):
            places = [_pair(name) for name in value]
            if min(value.values()) >= 0 and None not in places:
                at = np.array(places)
                shape = at.max(axis=0) + 1
                if shape.prod() <= LARGEST_TABLE:
                    table = np.zeros(shape)
                    table[tuple(at.T)] = list(value.values())
                    return table
        allowed = f'probabilities >= 0 under keys "i,j", at most {LARGEST_TABLE} pairs up to them'
        self.fault(f"exact.{key}", value, allowed)
        return None


def _is_number(value: object) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return abs(value) <= 1e300 and not math.isnan(value)


def _are_numbers(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_number, value))


def _are_wholes(value: Any, lengths: Sequence[int], least: int, most: int) -> bool:
    if not _are_numbers(value) or len(value) not in lengths:
        return False
    return all(least <= x <= most and float(x).is_integer() for x in value)


def _pair(text: str) -> tuple[int, int] | None:
    parts = text.split(",")
    if len(parts) == 2 and all(p.isascii() and p.isdigit() and len(p) < 5 for p in parts):
        return int(parts[0]), int(parts[1])
    return None


def common_step(times: Array, most_steps: int) -> float | None:
    """The longest step of which all times are multiples; None if that takes too many steps."""
    parts = [Fraction(repr(float(t))) for t in times if t > 0]
    if not parts:
        return 1.0
    below = math.lcm(*(p.denominator for p in parts))
    step = Fraction(math.gcd(*(int(p * below) for p in parts)), below)
    return float(step) if max(parts) / step <= most_steps else None


def after(times: Array, start: float) -> Array:
    """Times from ``start`` on, counted from there; decimal numbers stay what they are."""
    zero = Fraction(repr(start))
    return np.array([float(Fraction(repr(float(t))) - zero) for t in times if t >= start])


def read_cases(path: Path) -> list[Case]:
    """The cases of a file; what is wrong with one of them is noted in its ``faults``.

    Raises
    ------
    InputError
        If the file cannot be read, is too large, is not JSON, is of another schema, or holds no
        cases.
    """
    contents = _load(path)
    cases = contents.get("cases") if isinstance(contents, dict) else None
    if not isinstance(cases, list) or not 0 < len(cases) <= MOST_CASES:
        value = f"{len(cases)} cases" if isinstance(cases, list) else str(path)
        allowed = f'a JSON object with a list of 1 to {MOST_CASES} cases under "cases"'
        raise InputError("--cases", value, allowed, "see the cases of the program for the form")
    schema = contents.get("schema", SCHEMA)
    if schema is True or schema != SCHEMA:
        fix = "this file is of another form than this version of the program reads"
        raise InputError(f"{escaped(path.name)}: schema", schema, f"{SCHEMA}, or no schema", fix)
    read = [_case(escaped(path.name), at, entry) for at, entry in enumerate(cases)]
    names: set[str] = set()
    for case in read:
        if case.id in names:
            alone = "a name that no other case has"
            case.faults.append(InputError(f"{case.source}: id", case.id, alone))
        names.add(case.id)
    if strange := tuple(contents.keys() - _KEYS_OF_FILE):
        # The file has no place of its own in a report; its first case speaks for it.
        read[0] = replace(read[0], not_read=(*read[0].not_read, *sorted(strange)))
    return read


def _load(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            # Read no more than is allowed: a device, or a growing file, never ends.
            text = file.read(MOST_BYTES + 1)
        if len(text) > MOST_BYTES:
            raise InputError("--cases", str(path), f"a file of at most {MOST_BYTES:,} bytes")
        contents = json.loads(text, object_pairs_hook=_once)
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise InputError(
            "--cases", str(path), "a file that can be read", f"it says: {why}"
        ) from error
    except RecursionError as error:
        raise _too_deep(path) from error
    except InputError:
        raise
    except ValueError as error:
        raise InputError(
            "--cases", str(path), "a file of JSON", f"the parser says: {escaped(str(error))}"
        ) from error
    layer, depth = [contents], 0
    while layer and depth <= MOST_DEPTH:
        inside = [
            v.values() if isinstance(v, dict) else v for v in layer if isinstance(v, dict | list)
        ]
        layer, depth = [value for values in inside for value in values], depth + 1
    if layer:
        raise _too_deep(path)
    return contents


def _too_deep(path: Path) -> InputError:
    allowed = f"JSON of at most {MOST_DEPTH} brackets within each other"
    return InputError("--cases", str(path), allowed)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON; of two values for one name none would be better than the other."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} stands twice in one object")
    return found


def _case(source: str, at: int, found: Any) -> Case:
    """A case; one that is not in the documented form is of no group."""
    place = f"{source}: cases[{at}]"
    faults: list[InputError] = []
    if not isinstance(found, dict):
        faults.append(InputError(place, found, "an object with id, group, params and exact"))
        return Case(source, f"cases[{at}]", "?", {}, {}, faults=faults)
    name, group = found.get("id", _MISSING), found.get("group", _MISSING)
    if not isinstance(name, str) or not name or not name.isprintable() or name == _MISSING:
        faults.append(InputError(f"{place}.id", name, "a name of characters that can be printed"))
        name = f"cases[{at}]"
    if not isinstance(group, str) or group[:1] not in tuple(GROUPS) or group[1:2].isalnum():
        allowed = f"a group from {GROUPS[0]} to {GROUPS[-1]}, its letter first"
        faults.append(InputError(f"{place}.group", group, allowed))
        group = "?"
    for key in ("params", "exact"):
        held = found.get(key, _MISSING)
        if not isinstance(held, dict) or (key == "exact" and not held):
            allowed = "an object" if key == "params" else "an object that holds exact numbers"
            faults.append(InputError(f"{place}.{key}", held, allowed))
            group = "?"
    params, exact = ({} if group == "?" else found[key] for key in ("params", "exact"))
    title = escaped(str(found.get("title") or ""))
    strange = tuple(sorted(found.keys() - _KEYS_OF_CASE))
    return Case(source, name, group, Noticed(params), Noticed(exact), title, strange, faults)
