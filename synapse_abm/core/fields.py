"""Kinds of fields that records share: numbers with bounds, and what a message calls them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

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


# Strict: NumPy's numbers are welcome, but no text and no truth value becomes a number by itself.
# Products of a few of the largest stay far from overflow.
Positive = Annotated[float, Field(gt=0, le=LARGEST, strict=True, description="a number > 0")]
NonNegative = Annotated[float, Field(ge=0, le=LARGEST, strict=True, description="a number >= 0")]
Seconds = Annotated[
    float,
    Field(gt=0, le=LONGEST_S, strict=True, description=f"a number > 0 and at most {LONGEST_S:g}"),
]
Count = Annotated[int, whole(0, MAX_ENTITY)]


#: What a name may be that stands for a thing in files, figures, tables and on terminals.
GOOD_NAME = "a name of 1 to 60 printable characters without '/', '\\' and quotation marks"


def good_name(name: str) -> bool:
    """Whether ``name`` may reach terminals, tables, figures and names of files as it is."""
    return bool(name.strip()) and len(name) <= 60 and name.isprintable() and not {*name} & {*'/\\"'}


class Frozen(BaseModel):
    """Immutable, and no unknown keys: a typing error is found where it was made."""

    model_config = ConfigDict(frozen=True, extra="forbid")
