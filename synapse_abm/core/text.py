"""Tables for people, and JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

type Json = bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None


def json_bytes(value: object) -> bytes:
    """``value`` as indented JSON (UTF-8); NaN and infinities, which JSON lacks, become null."""
    return (json.dumps(plain_json(value), indent=2, ensure_ascii=False) + "\n").encode()


def plain_json(value: Any) -> Json:
    """``value`` in the types JSON knows: NumPy scalars and arrays, paths and mappings included."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain_json(each) for key, each in value.items()}
    if isinstance(value, Sequence):
        return [plain_json(each) for each in value]
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
