"""Arguments checked, with messages that name them: one way for all public functions.

Each function takes the argument's name and value, says what is allowed, and returns the value in
the type that the rest of the program relies on (a NumPy integer becomes an ``int``, say). All raise
``InputError``; ``errors.collected`` gathers the faults of several.
"""

from __future__ import annotations

import math
import numbers
import operator
import os
from collections.abc import Iterable
from typing import Any, cast

from synapse_abm.core.errors import InputError, UnknownName

#: The seed of a run for which none is given: the same command gives the same tables.
DEFAULT_SEED = 1
#: Most workers that may be asked for.
MOST_WORKERS = 256


def whole_number(
    name: str,
    value: object,
    least: int = 0,
    most: int | None = None,
    *,
    digits: bool = False,
    of: str = "",
    fix: str = "",
) -> int:
    """``value`` as an integer in ``least..most``: any integer, NumPy's too, but no truth value.

    ``digits`` accepts text of digits as well, as from a command line; ``of`` says what is counted.
    """
    try:
        if isinstance(value, str) and digits and value.isascii() and value.isdigit():
            number = int(value)  # refuses more than 4300 digits, as a ValueError
        elif isinstance(value, bool):
            raise TypeError
        else:
            # index, not int: 2.7 and "3" are refused instead of being cut or converted.
            number = operator.index(cast(Any, value))
        if least <= number and (most is None or number <= most):
            return number
    except (TypeError, ValueError):
        pass
    limits = f">= {least}" if most is None else f"from {least} to {most}"
    raise InputError(name, value, f"a whole number {f'of {of} ' if of else ''}{limits}", fix)


def number(
    name: str,
    value: object,
    *,
    above: float = -math.inf,
    least: float = -math.inf,
    most: float = math.inf,
    unit: str = "",
    fix: str = "",
) -> float:
    """``value`` as a finite float above ``above``, or in ``least..most``: no text, no array, no
    truth value.
    """
    # Python counts True as the number 1; who gives it has mistaken the argument.
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        try:
            real = float(value)
        except OverflowError:  # an integer or a fraction beyond 1e308
            real = math.inf
        if above < real and least <= real <= most and math.isfinite(real):
            return real
    limits = (("> ", above), (">= ", least), ("<= ", most))
    said = " and ".join(f"{sign}{limit:g}" for sign, limit in limits if math.isfinite(limit))
    raise InputError(name, value, f"a number {said}".rstrip() + (unit and f", in {unit}"), fix)


def choice(name: str, value: object, known: Iterable[str]) -> str:
    """``value`` as one of the ``known`` words; ``UnknownName`` offers the nearest."""
    words = tuple(known)
    if isinstance(value, str) and value in words:
        return value
    raise UnknownName(name, value, words)


def instance[T](name: str, value: object, kind: type[T], allowed: str = "", fix: str = "") -> T:
    """``value`` as a ``kind``, which ``allowed`` describes."""
    if isinstance(value, kind):
        return value
    article = "an" if kind.__name__[0] in "AEIOU" else "a"
    raise InputError(name, value, allowed or f"{article} {kind.__name__}", fix)


def check_seed(value: object, name: str = "seed") -> int:
    """``value`` as a seed: a whole number in 0..2**64-1, given as an integer or as digits.

    Raises
    ------
    InputError
        If it is anything else.
    """
    from synapse_abm.core.rng import MAX_SEED  # brings NumPy with it: not before it is needed

    return whole_number(name, value, 0, MAX_SEED, digits=True, fix="use 1, say")


def check_workers(value: object, name: str = "workers") -> int:
    """``value`` as a number of workers from 1 to :data:`MOST_WORKERS`; None means all cores."""
    if value is None:
        return all_cores()
    fix = f"use {all_cores()}, the number of cores here"
    return whole_number(name, value, 1, MOST_WORKERS, digits=True, fix=fix)


def all_cores() -> int:
    """Cores that this process may use."""
    # In a container or a batch job fewer cores are ours than the machine has; macOS and Windows
    # cannot tell.
    if hasattr(os, "sched_getaffinity"):
        return min(len(os.sched_getaffinity(0)), MOST_WORKERS)
    return min(os.cpu_count() or 1, MOST_WORKERS)


def machine_bytes() -> float:
    """Memory of this machine; infinite where it does not tell."""
    try:
        return float(os.sysconf("SC_PHYS_PAGES")) * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # pragma: no cover - other systems
        return math.inf
