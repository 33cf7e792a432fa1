"""Arguments that are numbers or arrays of them, checked: what `theory` and `statistics` share.

Each function takes the argument's name and value and returns floats (`whole`: an integer). What it
cannot use it refuses with a ``ValueError`` of the name, the value and what is allowed. No text, no
single truth value and nothing complex is a number; an array of truth values is one of 0 and 1.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from synapse_abm.core.errors import shown

type Array = NDArray[np.float64]

#: Largest whole number taken; beyond, floats leave some out.
MOST_WHOLE = 2**53
#: Longest table made for a number of copies: 32 MB, of which a law needs several.
MOST_TABLED = 4_000_000


def refused(name: str, value: object, allowed: str) -> ValueError:
    """The error to raise for an argument that cannot be used."""
    plain = value.item() if isinstance(value, np.generic) else value
    return ValueError(f"{name} = {shown(plain)} is not allowed; it must be {allowed}")


def numbers(name: str, value: ArrayLike, allowed: str = "numbers") -> Array:
    """``value`` as floats, NaN and infinity among them."""
    try:
        raw = np.asarray(value)
        # One letter: i, u and f are numbers, b truth values, O anything, U text, c complex.
        kind = raw.dtype.kind
        # Objects: fractions and integers too large for NumPy, or else no numbers at all.
        real = kind == "O" and all(isinstance(x, Real) for x in raw.flat)
        if real or kind in "iuf" or (kind == "b" and raw.ndim):
            return raw.astype(np.float64, copy=False)
    except (TypeError, ValueError, OverflowError):  # ragged, or beyond 1e308
        pass
    raise refused(name, value, allowed)


def _all(name: str, values: Array, good: NDArray[np.bool_], allowed: str) -> Array:
    if not np.all(good):
        raise refused(name, values[~good].flat[0], allowed)
    return values


def finite(name: str, value: ArrayLike) -> Array:
    """``value`` as floats, every one finite."""
    x = numbers(name, value, "finite")
    return _all(name, x, np.isfinite(x), "finite")


def nonnegative(name: str, value: ArrayLike, *, infinite: bool = False) -> Array:
    """``value`` as floats, every one >= 0 and, unless ``infinite``, finite."""
    allowed = ">= 0" if infinite else "finite and >= 0"
    x = numbers(name, value, allowed)
    return _all(name, x, (x >= 0) & (np.isfinite(x) | infinite), allowed)


def positive(name: str, value: ArrayLike, *, infinite: bool = False) -> Array:
    """``value`` as floats, every one > 0 and, unless ``infinite``, finite."""
    allowed = "> 0" if infinite else "finite and > 0"
    x = numbers(name, value, allowed)
    return _all(name, x, (x > 0) & (np.isfinite(x) | infinite), allowed)


def fraction(
    name: str, value: ArrayLike, *, above_zero: bool = False, below_one: bool = False
) -> Array:
    """``value`` as floats, every one in [0, 1], or without its ends."""
    allowed = f"in {'(' if above_zero else '['}0, 1{')' if below_one else ']'}"
    x = numbers(name, value, allowed)
    low, high = (x > 0 if above_zero else x >= 0), (x < 1 if below_one else x <= 1)
    return _all(name, x, low & high, allowed)


def one(check: Callable[..., Array], name: str, value: ArrayLike, **limits: bool) -> float:
    """``value`` as a single float that passes ``check``, one of the functions above."""
    x = check(name, value, **limits)
    if x.ndim:
        raise refused(name, value, "one number")
    return float(x)


def whole(name: str, value: Any, least: int = 0, most: int = MOST_WHOLE) -> int:
    """``value`` as an integer in ``least..most``; a float must have no fractional part."""
    allowed = f"a whole number >= {least}" + ("" if most == MOST_WHOLE else f" and <= {most}")
    try:
        # Of the value itself, not of its float: a large integer keeps all its digits.
        n = int(value) if one(numbers, name, value).is_integer() else operator.index(value)
    except (TypeError, ValueError):
        raise refused(name, value, allowed) from None
    # The limit that nobody stated is told only to whom it stops.
    if n > MOST_WHOLE == most:
        allowed += " and <= 2**53"
    if not least <= n <= most:
        raise refused(name, n, allowed)
    return n


def broadcasting[**P, R](function: Callable[P, R]) -> Callable[P, R]:
    """Decorator: arrays whose shapes do not broadcast are refused by the arguments' names."""

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except ValueError as error:
            if "could not be broadcast" not in str(error):
                raise
        from inspect import signature  # slow to load, and needed only here

        values = signature(function).bind(*args, **kwargs).arguments
        shapes = ", ".join(f"{name} {np.shape(x)}" for name, x in values.items() if np.ndim(x))
        raise ValueError(f"the shapes of {shapes} do not broadcast")

    return checked
