"""Refusal of impossible arguments, in one voice: name, value given, values allowed."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

type Array = NDArray[np.float64]


def _refuse(name: str, value: object, allowed: str) -> ValueError:
    return ValueError(f"{name} = {value} is not allowed; it must be {allowed}")


def _numbers(name: str, value: ArrayLike, allowed: str) -> Array:
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise _refuse(name, repr(value), allowed) from None


def _all(name: str, values: Array, good: NDArray[np.bool_], allowed: str) -> Array:
    if not np.all(good):
        raise _refuse(name, values[~good].flat[0], allowed)
    return values


def nonnegative(name: str, value: ArrayLike) -> Array:
    """``value`` as floats, every one finite and >= 0."""
    allowed = "finite and >= 0"
    x = _numbers(name, value, allowed)
    return _all(name, x, np.isfinite(x) & (x >= 0), allowed)


def positive(name: str, value: ArrayLike, *, infinite: bool = False) -> Array:
    """``value`` as floats, every one > 0 and, unless ``infinite``, finite."""
    allowed = "> 0" if infinite else "finite and > 0"
    x = _numbers(name, value, allowed)
    return _all(name, x, (x > 0) & (np.isfinite(x) | infinite), allowed)


def fraction(name: str, value: ArrayLike, *, below_one: bool = False) -> Array:
    """``value`` as floats, every one in [0, 1], or in [0, 1) if ``below_one``."""
    allowed = "in [0, 1)" if below_one else "in [0, 1]"
    x = _numbers(name, value, allowed)
    return _all(name, x, (x >= 0) & ((x < 1) if below_one else (x <= 1)), allowed)


def whole(name: str, value: Any, least: int = 0, most: int | None = None) -> int:
    """``value`` as an integer in ``least..most``; a float must have no fractional part."""
    allowed = f"a whole number >= {least}" + ("" if most is None else f" and <= {most}")
    try:
        n = int(value) if float(value).is_integer() else operator.index(value)
    except (TypeError, ValueError, OverflowError):
        raise _refuse(name, repr(value), allowed) from None
    if n < least or (most is not None and n > most):
        raise _refuse(name, n, allowed)
    return n
