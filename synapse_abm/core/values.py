"""What tasks return, as JSON and arrays, and back to the bit; reading it can run nothing.

A file may be anybody's, so no name in it is ever imported or called: it holds plain values, their
containers, arrays of numbers, and records (dataclasses and named tuples) of those types only that
the reader itself expects (:func:`record_types`). Everything that JSON cannot tell apart is a list
that begins with its kind::

    [1, 0.1]  ->  ["list", 1, 0.1]        nan  ->  ["float", "000000000000f87f"]
"""

from __future__ import annotations

import dataclasses
import math
import struct
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

#: Deepest nesting that is written or read.
MOST_DEPTH = 32
#: Longest whole number: Python reads no more than 4300 digits.
MOST_BITS = 14_000


class ValueFault(ValueError):
    """A value that cannot be written, or is not one of those that are read; says which."""


def packed(
    value: Any, arrays: list[np.ndarray], records: Mapping[str, type], depth: int = 0
) -> Any:
    """``value`` as JSON; its arrays are appended to ``arrays``, where the JSON refers to them.

    Raises
    ------
    ValueFault
        If it is nested too deep, or of a kind that :func:`unpacked` would not read.
    """
    # A subclass may carry more than its base, and NumPy's float64 is a subclass of float.
    kind = type(value)  # exactly: a subclass would come back as something else
    if depth > MOST_DEPTH:
        raise ValueFault(f"nested deeper than {MOST_DEPTH}")
    if kind is int and value.bit_length() > MOST_BITS:
        raise ValueFault(f"a whole number of {value.bit_length()} bits")
    if value is None or kind in (bool, int, str):
        return value
    if kind is float:  # JSON has no inf or nan; their bits say even which nan
        return value if math.isfinite(value) else ["float", struct.pack("<d", value).hex()]
    if kind is bytes:
        return ["bytes", value.hex()]
    if kind is np.ndarray or isinstance(value, np.generic):
        # Order in memory decides the order of sums, so it is kept too.
        turned = value.flags.f_contiguous and not value.flags.c_contiguous
        arrays.append(np.asarray(value.T if turned else value))
        form = "turned" if turned else "array" if kind is np.ndarray else "scalar"
        return [form, len(arrays) - 1]

    def inner(parts: Any) -> list[Any]:
        return [packed(part, arrays, records, depth + 1) for part in parts]

    if kind is list or kind is tuple:
        return [kind.__name__, *inner(value)]
    if kind is dict:
        return ["dict", *inner(part for pair in value.items() for part in pair)]
    if records.get(kind.__qualname__) is kind:
        return ["record", kind.__qualname__, *inner(getattr(value, n) for n in _fields(kind))]
    raise ValueFault(f"a {kind.__qualname__} is no plain value and no declared record")


def unpacked(
    tree: Any, arrays: Sequence[np.ndarray], records: Mapping[str, type], depth: int = 0
) -> Any:
    """The inverse of :func:`packed`.

    Raises
    ------
    ValueFault
        If it is anything that :func:`packed` does not write.
    """
    if depth > MOST_DEPTH:
        raise ValueFault(f"nested deeper than {MOST_DEPTH}")

    def inner(parts: Sequence[Any]) -> list[Any]:
        return [unpacked(part, arrays, records, depth + 1) for part in parts]

    match tree:
        case None | bool() | int() | float() | str():
            return tree
        case ["float", str(bits)] if len(bits) == 16:
            return struct.unpack("<d", _bytes(bits))[0]
        case ["bytes", str(digits)]:
            return _bytes(digits)
        case ["array" | "turned" | "scalar" as form, int(at)] if 0 <= at < len(arrays):
            array = arrays[at]
            return array.T if form == "turned" else array if form == "array" else array[()]
        case ["list", *parts]:
            return inner(parts)
        case ["tuple", *parts]:
            return tuple(inner(parts))
        case ["dict", *parts] if len(parts) % 2 == 0:
            flat = inner(parts)
            try:
                return dict(zip(flat[::2], flat[1::2], strict=True))
            except TypeError:
                raise ValueFault("a key that cannot be one") from None
        case ["record", str(name), *parts] if name in records:
            kind = records[name]
            # Made by its constructor and not by setting fields, so that its own rules hold for it.
            if len(parts) == len(_fields(kind)):
                try:  # its own checks of its fields
                    return kind(*inner(parts))
                except (TypeError, ValueError, AttributeError, ArithmeticError) as error:
                    raise ValueFault(f"no {name}: {error}") from error
    raise ValueFault(f"not a value: {str(tree)[:60]}")


def record_types(function: Callable[..., Any]) -> dict[str, type]:
    """Dataclasses and named tuples that the declared result of a function may hold, by name."""
    records = dict[str, type]()
    _collect(_hints(function).get("return"), records)
    return records


def _collect(hint: Any, records: dict[str, type]) -> None:
    if isinstance(hint, typing.TypeAliasType):
        hint = hint.__value__
    for part in typing.get_args(hint):
        _collect(part, records)
    if isinstance(hint, type) and _fields(hint) and hint.__qualname__ not in records:
        # Entered before its fields are looked at: a record may hold others of its own kind.
        records[hint.__qualname__] = hint
        for part in _hints(hint).values():
            _collect(part, records)


def _hints(owner: Any) -> dict[str, Any]:
    """Its annotations; none where they name what is imported for type checkers only."""
    try:
        return typing.get_type_hints(owner)
    except NameError:
        return {}


def _fields(kind: type) -> tuple[str, ...]:
    """Names of the fields of a record, in the order in which it is made; () of other types."""
    if dataclasses.is_dataclass(kind):
        return tuple(field.name for field in dataclasses.fields(kind))
    fields: tuple[str, ...] = getattr(kind, "_fields", ()) if issubclass(kind, tuple) else ()
    return fields


def _bytes(digits: str) -> bytes:
    try:
        return bytes.fromhex(digits)
    except ValueError:
        raise ValueFault(f"not hexadecimal: {digits[:40]}") from None
