"""``run.json`` as data, perhaps a stranger's: limits of size, a schema, and hashes that hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from synapse_abm.core.errors import InputError
from synapse_abm.runs.results import Kind, signed

#: Largest record that is read, bytes; most values in it, and levels of nesting.
MAX_BYTES = 64_000_000
MAX_VALUES = 2_000_000
MAX_DEPTH = 32
_ALLOWED = "the run.json of a run"


class _Data(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class _Check(_Data):
    name: str
    kind: Kind
    value: float | None
    se: float | None
    expected: float | None
    z: float | None
    source: str
    passed: bool


class Record(_Data):
    """What ``run.json`` holds; :func:`synapse_abm.runs.results.write_run` says what it means."""

    experiment: str
    seed: int
    command: str
    options: dict[str, Any]
    wall_s: float
    versions: dict[str, str]
    machine: dict[str, str]
    code_version: str
    source_sha256: str
    script_sha256: str | None
    script_computing_sha256: str | None = None
    drug_files: dict[str, str]
    checks: list[_Check]
    outcome: dict[str, Any]
    table_sha256: dict[str, str]
    scenario: dict[str, Any]
    papers: list[str]
    field_sha256: dict[str, str]
    record_sha256: str


def read_record(path: Path) -> Record:
    """A record of a run, whole and as it was written.

    Raises
    ------
    InputError
        If it is anything else.
    """

    def refused(why: str, fix: str = "run the command in it again") -> InputError:
        return InputError("record", str(path), f"{_ALLOWED}{why}", fix)

    try:
        # One byte beyond the limit tells that there is more, without reading it.
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise refused(f"; this cannot be read ({error.strerror})", "check the path") from None
    # Counted before parsing: a value in Python takes up to a hundred times its bytes in the file.
    values = sum(map(data.count, (b",", b"{", b"[")))
    limits = f" of at most {MAX_BYTES:,} bytes, {MAX_VALUES:,} values and {MAX_DEPTH} levels"
    if len(data) > MAX_BYTES or values > MAX_VALUES:
        raise refused(limits, "is it the right file?")
    try:
        fields = json.loads(data)
    except RecursionError:
        raise refused(limits, "is it the right file?") from None
    except ValueError:
        raise refused("; this is not JSON", "give outputs/NAME/run.json") from None
    if _depth(fields) > MAX_DEPTH:
        raise refused(limits, "is it the right file?")
    try:
        record = Record.model_validate(fields)
    except ValidationError as error:
        wrong = dict.fromkeys(str(fault["loc"][0]) if fault["loc"] else "all"
                              for fault in error.errors())  # fmt: skip
        first = ", ".join([*wrong][:5])
        raise refused(f" of this version; this lacks, or has in another form: {first}") from None
    # Hashed as they were read: what the schema made of them may be spelled otherwise.
    made = signed(fields)
    edited = [
        name
        for name in {**made["field_sha256"], **record.field_sha256}
        if made["field_sha256"].get(name) != record.field_sha256.get(name)
    ]
    if edited or made["record_sha256"] != record.record_sha256:
        which = f"its {', '.join(edited)}" if edited else "it"
        fix = "run what it now says as a run of its own"
        raise refused(f" as it was written; {which} was edited", fix)
    return record


def _depth(value: Any) -> int:
    """Levels of nesting, counted level by level, without recursion."""
    level, depth = [value], 0
    while level:
        depth += 1
        nodes = [part for part in level if isinstance(part, dict | list)]
        level = [part for node in nodes
                 for part in (node.values() if isinstance(node, dict) else node)]  # fmt: skip
    return depth
