"""Reading a file of cases: every fault found before anything runs, and all of them told at once."""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synapse_abm.core.errors import InputError, UnknownName, escaped

type Array = NDArray[np.float64]
type Steps = NDArray[np.int64]

#: The cases of the program itself.
SHIPPED = Path(__file__).with_name("cases.json")

GROUPS = "ABCDEFGHIJKLMNOP"
LARGEST_RATE, LEAST_RATE, LARGEST_COUNT = 1e6, 1e-6, 1_000_000
#: The form of a file that this program reads, and the names that it knows of a file and of a case.
SCHEMA = 1
_KEYS_OF_FILE = {"schema", "about", "conventions", "n_cases", "max_check_diff", "cases"}
_KEYS_OF_CASE = {"id", "group", "title", "model", "params", "exact", "method", "check", "notes"}
#: Limits on a file: bytes, cases, brackets within brackets, times of a series.
MOST_BYTES, MOST_CASES, MOST_DEPTH, MOST_TIMES = 20_000_000, 2000, 20, 10_000
#: Entries that a table of two counts may have.
LARGEST_TABLE = 1_000_000
#: Changes that a case may have.
MOST_CHANGES = 20
_MISSING = "(missing)"
_TIMES = ("params.t", "params.T", "params.lags", "exact.t")


class Noticed(Mapping[str, Any]):
    """What a case gives, and which names were looked for, whether or not it gives them.

    What a planner never looked for would be left out of account without a word: a misspelt rate, or
    a mechanism that this program does not have. Such a case is not run.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values
        self.looked_at: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        self.looked_at.add(key)
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


class NotRun(Exception):
    """Why a case, or a part of it, is not run: no fault of the file."""


class Faulty(Exception):
    """The faults noted in a case leave nothing to plan."""


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
        return [key for key in self.params if key not in self.looked_at("params")]

    def looked_at(self, where: str) -> set[str]:
        """Names under ``params`` or ``exact`` that were looked for, present or not."""
        values = self.params if where == "params" else self.exact
        # A case that a test makes of plain mappings has all its names read.
        return values.looked_at if isinstance(values, Noticed) else set(values)

    def unmeasured(self) -> list[InputError]:
        """Its exact numbers, each as a name that nobody knows: for a case of which none is."""
        place = f"an exact number of {self.source}: {self.id}"
        return [UnknownName(place, key, self.looked_at("exact")) for key in self.exact]

    def fault(self, key: str, value: object, allowed: str) -> None:
        """Note that something given under ``params`` or ``exact`` cannot be used."""
        fix = "add it" if value == _MISSING else ""
        self.faults.append(InputError(f"{self.source}: {self.id}.{key}", value, allowed, fix))

    def stop_if_faulty(self) -> None:
        """End the planning of this case if a fault was noted: its values are stand-ins then."""
        if self.faults:
            raise Faulty

    def _read(
        self, key: str, good: Callable[[Any], bool], allowed: str, *, otherwise: Any = None,
        default: Any = _MISSING,
    ) -> Any:  # fmt: skip
        """The value at ``params.NAME`` or ``exact.NAME``; ``otherwise`` after noting a fault.

        What the file leaves out is ``default``; a default of None makes the key optional, and a
        null in the file then says as much as leaving it out.
        """
        where, _, name = key.partition(".")
        value = (self.params if where == "params" else self.exact).get(name, default)
        if (value is None and default is None) or good(value):
            return value
        self.fault(key, value, allowed)
        return otherwise

    # --- parameters -------------------------------------------------------------------------------

    def rate(self, name: str, *, zero: bool = False, default: float | None = None) -> float:
        """A parameter that is a rate or a concentration: 1e-6 to 1e6, or zero if allowed."""
        allowed = f"{'0, or ' if zero else ''}a number from {LEAST_RATE:g} to {LARGEST_RATE:g}"
        value = self._read(
            f"params.{name}",
            lambda x: _is_number(x) and (LEAST_RATE <= x <= LARGEST_RATE or (zero and x == 0)),
            allowed, otherwise=1.0, default=_MISSING if default is None else default,
        )  # fmt: skip
        return float(value)

    def share(self, name: str) -> float | None:
        """A parameter that is a probability; None if the case does not give it."""
        inside = partial(_is_number, least=0, most=1)
        value = self._read(f"params.{name}", inside, "a number from 0 to 1", default=None)
        return None if value is None else float(value)

    def count(self, name: str, least: int = 0, default: int | None = None) -> int:
        """A parameter that is a whole number of molecules or sites."""
        value = self._read(
            f"params.{name}", partial(_is_whole, least=least, most=LARGEST_COUNT),
            f"a whole number from {least} to {LARGEST_COUNT}",
            otherwise=1, default=_MISSING if default is None else default,
        )  # fmt: skip
        return int(value)

    def flag(self, name: str, default: bool) -> bool:
        """A parameter that is true or false."""
        return bool(
            self._read(
                f"params.{name}", lambda x: isinstance(x, bool), "true or false", default=default
            )
        )

    def wholes(self, name: str, lengths: Sequence[int], least: int, most: int) -> tuple[int, ...]:
        """A parameter that is a short list of whole numbers."""
        size = " or ".join(map(str, lengths))
        what = "whole number" if max(lengths) == 1 else "whole numbers"
        value = self._read(
            f"params.{name}", lambda x: _are_wholes(x, lengths, least, most),
            f"a list of {size} {what} from {least} to {most}", otherwise=(1,) * lengths[0],
        )  # fmt: skip
        return tuple(map(int, value))

    def cells(self, name: str, shape: Sequence[int]) -> list[tuple[int, ...]]:
        """A parameter that lists cells of a grid of this shape, each as its coordinates."""

        def inside(value: Any) -> bool:
            return isinstance(value, list) and len(value) > 0 and all(
                _are_wholes(cell, [len(shape)], 0, max(shape) - 1)
                and all(x < n for x, n in zip(cell, shape, strict=True))
                for cell in value
            )  # fmt: skip

        allowed = f"a list of cells [{', '.join(f'0..{n - 1}' for n in shape)}]"
        value = self._read(f"params.{name}", inside, allowed, otherwise=[])
        return [tuple(map(int, cell)) for cell in value]

    def cell(self, name: str, shape: Sequence[int]) -> tuple[int, ...]:
        """A parameter that is one cell of a grid of this shape."""
        at = self.wholes(name, (len(shape),), 0, max(shape) - 1)
        if all(x < n for x, n in zip(at, shape, strict=True)):
            return at
        self.cells(name, shape)  # one cell is no list of cells: notes the fault, with the ranges
        return (0,) * len(shape)

    def times(self, key: str = "params.t") -> Array:
        """Times (s) of a series, >= 0, at ``params.NAME`` or ``exact.NAME``."""

        def good(value: Any) -> bool:
            counted = _are_numbers(value) and 0 < len(value) <= MOST_TIMES
            return counted and min(value) >= 0 and max(value) <= LARGEST_RATE

        allowed = f"a list of 1 to {MOST_TIMES} numbers from 0 to {LARGEST_RATE:g}"
        return np.array(self._read(key, good, allowed, otherwise=[1.0]), dtype=np.float64)

    def reset(self) -> tuple[float, int] | None:
        """The parameter ``reset``: a time (s) and the number of molecules set then; or none."""
        value = self._read(
            "params.reset",
            lambda x: _are_numbers(x) and len(x) == 2 and x[0] > 0
            and _is_whole(x[1], least=0, most=LARGEST_COUNT),
            "null, or a time > 0 and a whole number >= 0", default=None,
        )  # fmt: skip
        return None if value is None else (float(value[0]), int(value[1]))

    def changes(self, names: Sequence[str]) -> list[tuple[float, float, str, float]]:
        """The parameter ``changes``: when (s), over how long (s; 0 at once), of what, to which
        value; in order of time.
        """
        value = self._read(
            "params.changes",
            lambda x: isinstance(x, list) and 0 < len(x) <= MOST_CHANGES
            and all(_is_change(change, names) for change in x)
            and all(a[0] <= b[0] for a, b in itertools.pairwise(x)),
            f"a list of 1 to {MOST_CHANGES} changes [time, over, name, value], times rising, the"
            f" name one of {', '.join(names)}, all numbers from 0 to {LARGEST_RATE:g}",
            otherwise=[],
        )  # fmt: skip
        return [(float(t), float(over), name, float(x)) for t, over, name, x in value]

    def contradiction(self, name: str, expected: float, formula: str) -> None:
        """Note a fault if a parameter is not what others make it."""
        value = self.params.get(name, expected)
        # Files give such numbers rounded: six digits are enough to tell a mistake.
        if not _is_number(value) or not math.isclose(value, expected, rel_tol=1e-6, abs_tol=1e-12):
            self.fault(f"params.{name}", value, f"{formula} = {expected:.7g}, or leave it out")

    # --- exact numbers ----------------------------------------------------------------------------

    def number(self, name: str) -> float | None:
        """An exact number; None if the case does not give it."""
        value = self._read(f"exact.{name}", _is_number, "a finite number", default=None)
        return None if value is None else float(value)

    def _list(self, name: str, good: Callable[[Any], bool], allowed: str) -> Array | None:
        value = self._read(
            f"exact.{name}", lambda x: _are_numbers(x) and good(x), allowed, default=None
        )
        return None if value is None else np.array(value, dtype=np.float64)

    def series(self, name: str, length: int) -> Array | None:
        """Exact numbers at each of ``length`` times; None if the case does not give them."""
        # Whether the times were refused: how many there are is not known then.
        ends = tuple(f"{self.id}.{time}" for time in _TIMES)
        if any(fault.name.endswith(ends) for fault in self.faults):
            return None
        allowed = f"{length} finite numbers, one for each t"
        return self._list(name, lambda values: len(values) == length, allowed)

    def law(self, name: str) -> Array | None:
        """An exact law of one count, a list of probabilities; None if the case gives none."""
        return self._list(
            name,
            lambda values: len(values) > 0 and min(values) >= 0,
            "a list of probabilities >= 0",
        )

    def joint_law(self, name: str) -> Array | None:
        """An exact law of two counts: an object of probabilities under keys ``"i,j"``, as a
        table.
        """
        allowed = f'probabilities >= 0 under keys "i,j", at most {LARGEST_TABLE} pairs up to them'
        value = self._read(f"exact.{name}", _is_joint_law, allowed, default=None)
        if value is None:
            return None
        at = np.array([_pair(pair) for pair in value])
        # A file lists the pairs that are possible; those it leaves out have probability 0.
        table = np.zeros(at.max(axis=0) + 1)
        table[tuple(at.T)] = list(value.values())
        return table


def _is_number(value: Any, least: float = -1e300, most: float = 1e300) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and least <= value <= most  # also false for NaN


def _is_whole(value: Any, least: int, most: int) -> bool:
    return _is_number(value, least, most) and float(value).is_integer()


def _is_change(value: Any, names: Sequence[str]) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 4
        and value[2] in names
        and all(_is_number(x, 0, LARGEST_RATE) for x in (value[0], value[1], value[3]))
    )


def _are_numbers(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_number, value))


def _are_wholes(value: Any, lengths: Sequence[int], least: int, most: int) -> bool:
    # A list of lists passes for no list of numbers: lengths are asked before entries.
    counted = isinstance(value, list) and len(value) in lengths
    return counted and all(_is_whole(x, least, most) for x in value)


def _is_joint_law(value: Any) -> bool:
    if not (isinstance(value, dict) and value and _are_numbers(list(value.values()))):
        return False
    pairs = [_pair(name) for name in value]
    if min(value.values()) < 0 or None in pairs:
        return False
    # One pair far out would make a table of all up to it.
    return bool((np.array(pairs).max(axis=0) + 1).prod() <= LARGEST_TABLE)


def _pair(text: str) -> tuple[int, int] | None:
    parts = text.split(",")
    if len(parts) == 2 and all(p.isascii() and p.isdigit() and len(p) < 5 for p in parts):
        return int(parts[0]), int(parts[1])
    return None


def on_steps(times: Array, most_steps: int) -> tuple[float, Steps]:
    """The longest step (s) of which all times are multiples, and the number of each in steps.

    Raises
    ------
    NotRun
        If the last time takes more than ``most_steps``.
    """
    # Fractions of the decimals that the file shows: in binary, 0.1 and 0.3 have no common step.
    parts = [Fraction(repr(float(t))) for t in times if t > 0]
    if not parts:
        return 1.0, np.zeros(times.size, dtype=np.int64)
    below = math.lcm(*(p.denominator for p in parts))
    step = Fraction(math.gcd(*(int(p * below) for p in parts)), below)
    if max(parts) / step > most_steps:
        raise NotRun(f"its times have no common step that fits {most_steps} times")
    return float(step), np.round(times / float(step)).astype(np.int64)


def after(times: Array, start: float) -> Array:
    """Times from ``start`` on, counted from there; decimal numbers stay what they are."""
    # As in `on_steps`: 0.3 - 0.1 in binary is no multiple of 0.1.
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
        why = f"it says: {error.strerror or type(error).__name__}"
        raise InputError("--cases", str(path), "a file that can be read", why) from error
    except RecursionError as error:
        raise _too_deep(path) from error
    except InputError:
        raise
    except ValueError as error:
        why = f"the parser says: {escaped(str(error))}"
        raise InputError("--cases", str(path), "a file of JSON", why) from error
    # Layer by layer: what reads the contents later may recurse, so this must not.
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
    values = dict(pairs)
    if len(values) < len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"{twice!r} stands twice in one object")
    return values


def _case(source: str, at: int, entry: Any) -> Case:
    """A case; one that is not in the documented form is of no group."""
    place = f"{source}: cases[{at}]"
    faults: list[InputError] = []
    if not isinstance(entry, dict):
        faults.append(InputError(place, entry, "an object with id, group, params and exact"))
        return Case(source, f"cases[{at}]", "?", {}, {}, faults=faults)
    name, group = entry.get("id", _MISSING), entry.get("group", _MISSING)
    # An id is shown on terminals and in HTML: control characters could write over what stands
    # there.
    if not isinstance(name, str) or not name or not name.isprintable() or name == _MISSING:
        faults.append(InputError(f"{place}.id", name, "a name of characters that can be printed"))
        name = f"cases[{at}]"
    if not isinstance(group, str) or group[:1] not in tuple(GROUPS) or group[1:2].isalnum():
        allowed = f"a group from {GROUPS[0]} to {GROUPS[-1]}, its letter first"
        faults.append(InputError(f"{place}.group", group, allowed))
        group = "?"
    for key in ("params", "exact"):
        value = entry.get(key, _MISSING)
        if not isinstance(value, dict) or (key == "exact" and not value):
            allowed = "an object" if key == "params" else "an object that holds exact numbers"
            faults.append(InputError(f"{place}.{key}", value, allowed))
            group = "?"
    params, exact = ({} if group == "?" else entry[key] for key in ("params", "exact"))
    title = escaped(str(entry.get("title") or ""))
    strange = tuple(sorted(entry.keys() - _KEYS_OF_CASE))
    return Case(source, name, group, Noticed(params), Noticed(exact), title, strange, faults)
