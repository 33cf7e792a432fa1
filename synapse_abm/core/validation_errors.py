"""What pydantic found wrong with the contents of a file, in words of ours (``core.errors``):
path in the file, value, what is allowed, and the nearest known name.
"""

from __future__ import annotations

import re
import tomllib
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ValidationError

from synapse_abm.core.errors import InputError, InputErrors, UnknownName
from synapse_abm.core.quantity import EXAMPLES, unit_of


class _Missing:
    """Stands for a value that is not there."""

    def __repr__(self) -> str:
        return "(missing)"


MISSING = _Missing()


#: Size (bytes) and levels of nesting of a TOML file that is read: a scenario of 100,000 listed
#: cells has 1.2 MB, and no value of ours lies deeper than six levels.
LARGEST_TOML, DEEPEST_TOML = 2_000_000, 16
#: What decides about nesting: texts and comments (whose contents do not count), brackets, the dots
#: and ends of keys. An open text runs to its line's or the file's end, so that no place is
#: looked at twice.
_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?(?:"""|\Z)|\'\'\'.*?(?:\'\'\'|\Z)|"(?:\\.|[^"\\\n])*"?|\'[^\'\n]*\'?|'
    r"#[^\n]*|[\[\]{}.=,\n]",
    re.DOTALL,
)

type Location = tuple[str | int, ...]


def read_toml(path: Path, name: str, contents: str, fix: str) -> Mapping[str, Any]:
    """The tables of a TOML file, called ``name`` in messages.

    ``contents`` says what an empty file should have held, ``fix`` how to come by it.

    Raises
    ------
    InputError
        If there is no such file, or it cannot be read, is no TOML or is empty.
    """
    # A pipe or a device may never end.
    if not path.is_file():
        raise InputError(name, str(path), "an existing TOML file", "check the path")
    try:
        with path.open("rb") as file:
            # One byte more than allowed tells that there is more.
            data = file.read(LARGEST_TOML + 1)
        if len(data) > LARGEST_TOML:
            raise InputError(name, str(path), f"a file of at most {LARGEST_TOML:,} bytes")
        text = data.decode("utf-8-sig")  # some editors leave a mark
        if (levels := _nesting(text)) > DEEPEST_TOML:
            allowed = f"TOML with at most {DEEPEST_TOML} levels of nesting (there are {levels})"
            raise InputError(name, str(path), allowed)
        tables = tomllib.loads(text)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise InputError(name, str(path), f"a file that can be read ({reason})") from error
    except UnicodeDecodeError as error:
        allowed = f"text in UTF-8 ({error.reason} at byte {error.start})"
        raise InputError(name, str(path), allowed, "save it as UTF-8 in your editor") from error
    except InputError:
        raise
    except ValueError as error:
        raise InputError(name, str(path), f"valid TOML ({error})") from error
    if not tables:
        raise InputError(name, str(path), contents, fix)
    return tables


def _nesting(text: str) -> int:
    """Levels of nesting that a TOML text has at most, counted without reading it.

    The reader itself calls itself for each level of brackets, and keeps a table for each part of
    each dotted key: 40 kB of ``a.a.a...`` take gigabytes before anything can be refused.
    """
    # Both count: brackets nest in a value, dots in a key.
    deepest = brackets = dots = 0
    for token in _TOKEN.finditer(text):
        mark = token[0]
        if mark in "[{":
            brackets, dots = brackets + 1, 0
        elif mark == ".":
            dots += 1
        elif mark in "]}":
            brackets = max(0, brackets - 1)
        elif mark in "=,\n":
            dots = 0
        deepest = max(deepest, brackets + dots)
    return deepest


@dataclass(frozen=True, slots=True)
class Origin:
    """Where checked values came from, if keys and values of the file were translated before.

    Attributes
    ----------
    within
        Place of the checked table in the file.
    written
        From a place among the fields to the place and value that stand in the file.
    spell
        From a field to the key that a file has for it.
    noted
        Stands for values whose faults were told already.
    """

    within: Location = ()
    written: Callable[[Location], tuple[Location, Any]] | None = None
    spell: Callable[[str], str] = str
    noted: object = None

    def at(self, location: Location, value: object) -> tuple[Location, Any]:
        """Place and value in the file."""
        if self.written is not None:
            location, value = self.written(location)
        return (*self.within, *location), value


def field_faults(
    error: ValidationError, model: type[BaseModel], origin: Origin | None = None
) -> list[InputError]:
    """What pydantic found wrong with a ``model``, in words of ours (``core.errors``)."""
    faults, origin = error.errors(include_url=False), origin or Origin()
    told = (fault for fault in faults if origin.noted is None or fault["input"] is not origin.noted)
    return [said for fault in told for said in _field_fault(fault, model, origin)]


def valid[Model: BaseModel](
    model: type[Model], value: object, context: Mapping[str, set[str]] | None = None
) -> Model | None:
    """``value`` as a ``model``, or None if that cannot be (:func:`field_faults` says why)."""
    try:
        return model.model_validate(value, context=context)
    except ValidationError:
        return None


def _field_fault(
    error: Mapping[str, Any], model: type[BaseModel], origin: Origin
) -> list[InputError]:
    """One fault as pydantic tells it; several where a check of the whole found them."""
    # Our own checks raise errors in our own words, which pydantic wraps and passes on.
    cause = error["ctx"]["error"] if error["type"] == "value_error" else None
    if isinstance(cause, InputError | InputErrors):
        place, _ = origin.at(error["loc"], error["input"])
        faults = cause.faults if isinstance(cause, InputErrors) else (cause,)
        return [fault.within(dotted(place)) if place else fault for fault in faults]
    return [_one_fault(error, model, origin)]


def _one_fault(error: Mapping[str, Any], model: type[BaseModel], origin: Origin) -> InputError:
    location: Location = error["loc"]
    above, last = location[:-1], location[-1] if location else ""
    place, value = origin.at(location, error["input"])
    path, owner = dotted(place), _model_at(model, above)
    if error["type"] == "value_error":
        return InputError(path, value, str(error["ctx"]["error"]))
    if error["type"] == "extra_forbidden":
        keys = map(origin.spell, owner.model_fields) if owner else ()
        return UnknownName(f"a key of {dotted(place[:-1]) or 'the file'}", str(last), keys)
    if error["type"] == "unknown_name":
        return UnknownName(path, value, error["ctx"]["known"])
    allowed = description(model, location)
    if error["type"] == "missing":
        unit = unit_of(str(last))
        if unit and place[-1] != last:  # a file that leaves out the unit has it in the value
            allowed = f"a number with its unit, such as {EXAMPLES[unit]}"
        return InputError(path, MISSING, allowed, f"add {place[-1]}")
    if error["type"] == "less_than_equal" and " most " not in allowed and " to " not in allowed:
        allowed += f", and at most {error['ctx']['le']:g}"
    # A word that is none of a few is best answered by those that are like it.
    choices = _choices(owner, last)
    if isinstance(value, str) and choices:
        return UnknownName(path, value, choices)
    return InputError(path, value, allowed, _bare_number(value) if "number" in allowed else "")


def dotted(location: typing.Iterable[str | int]) -> str:
    """``("ligand", "foo", "affinity", 0, "nM")`` as ``ligand.foo.affinity[0].nM``."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in location]
    return "".join(parts).removeprefix(".")


def _bare_number(value: object) -> str:
    match = re.match(r"\s*([0-9.]+([eE][+-]?[0-9]+)?)", value) if isinstance(value, str) else None
    return f"write {match[1]}, without quotes and unit" if match else ""


def _inner(annotation: Any) -> Any:
    """``X`` of ``X | None`` and of ``Annotated[X, ...]``."""
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        return _inner(next(a for a in typing.get_args(annotation) if a is not type(None)))
    if typing.get_origin(annotation) is Annotated:
        return _inner(typing.get_args(annotation)[0])
    return annotation


def _at(model: type[BaseModel], location: typing.Iterable[str | int]) -> Any:
    """The type that belongs to a place in a ``model``."""
    here: Any = model
    for part in location:
        if _is_model(here):
            field = here.model_fields.get(str(part))
            # Walks down the annotations as pydantic's location walks down the values.
            here = _inner(field.annotation) if field else None
        else:  # a dict's values, or a tuple's members
            arguments = typing.get_args(here)
            wanted = arguments[1:] if typing.get_origin(here) is dict else arguments
            here = _inner(wanted[0]) if wanted else None
    return here


def _model_at(model: type[BaseModel], location: typing.Iterable[str | int]) -> Any:
    here = _at(model, location)
    return here if _is_model(here) else None


def description(model: type[BaseModel], location: tuple[str | int, ...]) -> str:
    """What is allowed at a place, as the field (or its type) describes itself."""
    while location and isinstance(location[-1], int):  # a member of a list: the list says it
        location = location[:-1]
    owner = _model_at(model, location[:-1])
    field = owner.model_fields.get(str(location[-1])) if owner and location else None
    if field is not None:
        within = (a for x in typing.get_args(field.annotation) for a in typing.get_args(x))
        for described in (field, *within):
            if getattr(described, "description", None):
                unit = unit_of(str(location[-1])) if "number >" in described.description else None
                return f"{described.description}, in {unit}" if unit else str(described.description)
    return _of_type(_at(model, location))


def _of_type(kind: Any) -> str:
    """What is allowed where nothing but the type says it."""
    if typing.get_origin(kind) is Literal:
        return f"one of {', '.join(map(repr, typing.get_args(kind)))}"
    if typing.get_origin(kind) is tuple:
        return "a list of tables" if _is_model(_inner(typing.get_args(kind)[0])) else "a list"
    if _is_model(kind):
        return "a table"
    words: dict[Any, str] = {
        str: "text in quotes",
        bool: "true or false",
        float: "a number",
        int: "a whole number",
    }
    return words.get(kind, "another value")


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _choices(owner: Any, name: object) -> tuple[str, ...]:
    field = owner.model_fields.get(str(name)) if owner else None
    literal = _inner(field.annotation) if field else None
    return typing.get_args(literal) if typing.get_origin(literal) is Literal else ()
