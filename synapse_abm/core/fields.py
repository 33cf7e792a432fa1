"""Kinds of fields that records share: numbers with bounds, and what a message calls them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from synapse_abm.core.errors import InputError, raise_faults

#: Limits of the generator's addresses (those of ``rng``, which needs NumPy; a test compares).
MAX_SEED, MAX_REPLICATE, MAX_ENTITY = 2**64 - 1, 2**18 - 1, 2**32 - 1
#: The largest number of anything that is measured: a synapse has none that comes near.
LARGEST = 1e15
#: The longest time of a run, s: 300 years. Beyond it nothing would ever end.
LONGEST_S = 1e10


def whole(low: int, high: int) -> Any:
    """A field for a whole number (no text, no truth value) from ``low`` to ``high``."""
    described = f"a whole number from {low} to {high}"
    return Field(ge=low, le=high, strict=True, description=described)


def _plain(value: Any) -> Any:
    """NumPy's numbers as Python's, its arrays as lists; anything else as it is."""
    return value.tolist() if type(value).__module__ == "numpy" else value


#: Beside a strict field: NumPy's numbers and arrays are welcome. (Its truth values become Python's,
#: which a strict field refuses; without this, ``numpy.True_`` would be 1.0 and ``numpy.int64(4)``
#: no whole number.)
FROM_NUMPY = BeforeValidator(_plain)

# Strict: no text and no truth value becomes a number by itself. Products of a few of the largest
# stay far from overflow.
Positive = Annotated[
    float, Field(gt=0, le=LARGEST, strict=True, description="a number > 0"), FROM_NUMPY
]
NonNegative = Annotated[
    float, Field(ge=0, le=LARGEST, strict=True, description="a number >= 0"), FROM_NUMPY
]
Seconds = Annotated[
    float,
    Field(gt=0, le=LONGEST_S, strict=True, description=f"a number > 0 and at most {LONGEST_S:g}"),
    FROM_NUMPY,
]
Count = Annotated[int, whole(0, MAX_ENTITY), FROM_NUMPY]


#: What the name of a scenario may be: the title of its figure and of its record.
GOOD_TITLE = "1 to 200 printable characters in one line, without '/' and '\\'"


def good_title(title: object) -> bool:
    """Whether ``title`` may reach terminals, figures and records as it is."""
    if not isinstance(title, str):
        return False
    return (
        len(title.strip()) > 0
        and len(title) <= 200
        and title.isprintable()
        and not ({*title} & {*"/\\"})
    )


#: What a name may be that stands for a thing in files, figures, tables and on terminals.
GOOD_NAME = "a name of 1 to 60 printable characters without '/', '\\' and quotation marks"


def good_name(name: str) -> bool:
    """Whether ``name`` may reach terminals, tables, figures and names of files as it is."""
    return bool(name.strip()) and len(name) <= 60 and name.isprintable() and not {*name} & {*'/\\"'}


class Frozen(BaseModel):
    """Immutable, and no unknown keys: a typing error is found where it was made."""

    # Frozen, so that what was checked stays as it was checked, and a scenario can be a key.
    model_config = ConfigDict(frozen=True, extra="forbid")

    if not TYPE_CHECKING:  # type checkers take the arguments from the fields

        def __init__(self, *unnamed: Any, **fields: Any) -> None:
            """Faults of what is made in Python are told as those of files are.

            Raises
            ------
            InputError, InputErrors
                If values are not allowed; names the class, the field, and what is.
            """
            from synapse_abm.core.validation_errors import Origin, field_faults

            # Pydantic's message for arguments without names would speak of its own methods.
            kind = type(self)
            if unnamed:
                names = ", ".join(f"{name}=..." for name in kind.model_fields)
                raise InputError(kind.__name__, unnamed[0], f"arguments by name: {names}")
            try:
                super().__init__(**fields)
            except ValidationError as error:
                faults = field_faults(error, kind, Origin(within=(kind.__name__,)))
            else:
                return
            raise_faults(faults)

        def __setattr__(self, name: str, value: Any) -> None:
            """Refused, except for what pydantic itself keeps beside the fields.

            Raises
            ------
            InputError
                Names the class and the field, and how to come by a changed copy.
            """
            if name.startswith("_"):
                super().__setattr__(name, value)
                return
            raise InputError(
                f"{type(self).__name__}.{name}", value, "nothing, as it does not change",
                f"make a changed copy by .model_copy(update={{{name!r}: ...}})",
            )  # fmt: skip

        # By this mark pydantic knows that parts of a whole need not be made by calling them: in
        # files, faults are collected over all parts.
        __init__.__pydantic_base_init__ = True


class Ruled(Frozen):
    """A record with rules between its fields, the same for files and for Python."""

    @classmethod
    def broken_rules(cls, fields: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
        """Of each rule that ``fields`` break: the field to name, what is allowed, the remedy.

        Fields may be missing, or wrong by themselves: a file's reader tells all faults at once.
        """
        raise NotImplementedError

    @model_validator(mode="after")
    def _keeps_rules(self) -> Self:
        fields, faults = dict(self), list[InputError]()
        for field, allowed, fix in self.broken_rules(fields):
            faults.append(InputError(field, fields[field], allowed, fix))
        raise_faults(faults)
        return self
