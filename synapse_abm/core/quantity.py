"""Quantities as people write them, ``"10 nM"`` or ``"0.27 um^2/ms"``, in the program's own units.

Only here is a unit parsed. The number is read by Python and the unit by pint, so that nothing in a
file is ever computed: a power tower in place of a number is refused, not evaluated.
"""

from __future__ import annotations

import functools
import re
from typing import Any

from synapse_abm.core.errors import InputError

#: The program's own units by the ending of a name, longest first: what a plain number is in.
UNITS = {
    "_um2_per_s": "um^2/s",
    "_per_nM_s": "1/(nM s)",
    "_per_s": "1/s",
    "_um": "um",
    "_nM": "nM",
    "_s": "s",
}

#: How a quantity of each unit may be written.
EXAMPLES = {
    "um^2/s": "'270 um^2/s' or '0.27 um^2/ms'",
    "1/(nM s)": "'0.01 /(nM s)' or '1e7 /(M s)'",
    "1/s": "'5 /s' or '300 /min'",
    "um": "'0.1 um' or '100 nm'",
    "nM": "'10 nM' or '0.01 uM'",
    "s": "'5 ms' or '2 min'",
}

# Python's own spelling of a number, and no letter, digit or dot behind it: "1e7 /(M s)", but not
# "1e7.5". Four digits of exponent: more would only overflow, and take long.
_NUMBER = re.compile(
    r"\s*([+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?|nan|inf(?:inity)?)(?![A-Za-z0-9.]))(.*)",
    re.IGNORECASE | re.DOTALL,
)
# A unit may follow at once ("10nM"); then "5e" is no broken exponent, and "inf" no number.
_GLUED = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?)(.*)", re.DOTALL)
_POWER = r"(?:\^|\*\*)"
_UNIT = re.compile(r"[A-Za-zµμ·*/^()\s\d-]{1,40}")


def unit_of(field: str) -> str | None:
    """The unit that a name like ``spacing_um`` carries, or None."""
    return next((unit for end, unit in UNITS.items() if field.endswith(end)), None)


def bare_name(field: str) -> str:
    """``spacing`` for ``spacing_um``; other names as they are."""
    end = next((end for end in UNITS if field.endswith(end)), "")
    return field.removesuffix(end)


def parse(text: str, unit: str, name: str) -> float:
    """``text`` as a number in ``unit``; ``name`` is what the message calls it.

    Raises
    ------
    InputError
        If there is no number or no unit, or the unit is unknown or of another kind.
    """
    allowed = f"a number with its unit, such as {EXAMPLES[unit]}"
    match = _NUMBER.fullmatch(text) or _GLUED.fullmatch(text)
    if match is None:
        raise InputError(name, text, allowed)
    number, written = float(match[1]), match[2].strip()
    if not written:
        raise InputError(name, text, allowed, f"if it is in {unit}, write '{match[1]} {unit}'")
    factor = _factor(written, unit)
    if isinstance(factor, str):
        raise InputError(name, text, allowed, factor)
    return number * factor


@functools.lru_cache(maxsize=1024)
def _factor(written: str, unit: str) -> float | str:
    """What one ``written`` is in ``unit``; or, in words, what is wrong with it."""
    if written == unit:
        return 1.0  # without loading pint
    # Numbers of two digits and powers of brackets have no place in a unit of ours, and pint would
    # reckon them out: 9**9**9 takes forever.
    if not _UNIT.fullmatch(written) or re.search(r"\d\d|\^\s*\(|\*\*\s*\(", written):
        return f"{written!r} is not a unit"
    spelled = re.sub(r"(?<=[A-Za-zµμ])(-?\d)", r"^\1", written.replace("·", " "))  # um2, s-1
    # Nor have powers of powers, s^9^9^9 or ((s^9)^9)^9.
    if re.search(rf"{_POWER}[\s\d+-]*{_POWER}|\)\s*{_POWER}[^()]*\)\s*{_POWER}", spelled):
        return f"{written!r} is not a unit"
    spelled = f"1{spelled}" if spelled.startswith("/") else spelled
    import pint  # on first use: it takes half a second

    registry = _registry()
    try:
        exact = registry.Quantity(1.0, registry.parse_units(spelled)).to(unit).magnitude
        return float(f"{exact:.15g}")  # 1000, not 999.9999999999999
    except pint.DimensionalityError:
        return f"{written!r} is not a unit of the same kind as {unit}"
    except Exception:  # pint raises what its tokenizer, parser or registry happened to raise
        return f"the unit {written!r} is not known"


@functools.cache
def _registry() -> Any:
    """A registry of our own, whatever units the user has given to pint's common one."""
    import pint

    return pint.UnitRegistry()


def percentage(written: object, name: str) -> float:
    """``"0.5 %"`` as a share, 0.005; above 0 and at most 100 %.

    Raises
    ------
    InputError
        If there is no number, no percent sign, or the number is outside.
    """
    allowed = "a percentage above 0 % and at most 100 %, such as '1 %'"
    text = "" if isinstance(written, bool) else str(written).strip()
    number = _NUMBER.fullmatch(text.removesuffix("%"))
    if number is None or number[2].strip():
        raise InputError(name, written, allowed)
    if not text.endswith("%"):
        raise InputError(name, written, allowed, f"write '{text} %'")
    share = float(number[1]) / 100
    if not 0 < share <= 1:
        raise InputError(name, written, allowed)
    return share
