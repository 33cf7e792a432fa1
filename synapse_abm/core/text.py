"""Tables for people, and JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from synapse_abm.core.arithmetic import rounded

type Json = bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None


#: Significant digits of a result from arithmetic of our own: beyond them, processors may differ.
DIGITS = 10
#: Those of a number that a solver made (ODE, eigenvalues, quadrature, roots, BLAS and LAPACK).
SOLVED_DIGITS = 6


def json_bytes(value: object, digits: int | None = None) -> bytes:
    """``value`` as indented JSON (UTF-8); NaN and infinities, which JSON lacks, become null.

    Numbers are exact, or have so many significant ``digits``.
    """
    return (json.dumps(plain_json(value, digits), indent=2, ensure_ascii=False) + "\n").encode()


def plain_json(value: Any, digits: int | None = None) -> Json:
    """``value`` in the types JSON knows: NumPy scalars and arrays, paths and mappings included."""
    if hasattr(value, "tolist"):  # NumPy's, known without importing it
        value = value.tolist()
    if isinstance(value, float):
        # JSON has no such numbers, and strict readers refuse Python's spelling of them.
        if not math.isfinite(value):
            return None
        return value if digits is None else rounded(value, digits)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain_json(part, digits) for key, part in value.items()}
    if isinstance(value, Sequence):
        return [plain_json(part, digits) for part in value]
    return str(value)


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns for a terminal: the first to the left, the others to the right."""
    lines = [list(header), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
