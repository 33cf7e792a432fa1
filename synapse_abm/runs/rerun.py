"""``rerun``: a record of a run, run again: the same tables to the byte, or what differs.

Nothing is written. The tables beside the record serve to show the first row that differs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from synapse_abm.core.arguments import check_seed
from synapse_abm.core.errors import InputError, raise_faults
from synapse_abm.core.files import sha256
from synapse_abm.core.progress import Progress, silent
from synapse_abm.core.validation_errors import Origin, field_faults
from synapse_abm.runs import simulate, sweep
from synapse_abm.runs.experiment import Experiment, find, run_experiment
from synapse_abm.runs.results import Result, code_version, input_sha256, source_sha256, versions
from synapse_abm.synapse.scenario.definition import Scenario
from synapse_abm.synapse.scenario.feasibility import run_faults

_NEEDED: Mapping[str, type] = {
    "experiment": str, "seed": int, "options": dict, "versions": dict, "code_version": str,
    "source_sha256": str, "input_sha256": str, "table_sha256": dict, "scenario": dict,
}  # fmt: skip
_SIMULATE = "simulate "


@dataclass(frozen=True, slots=True)
class Rerun:
    """What came of it.

    Attributes
    ----------
    equal, different
        Tables with the recorded hash; the others, each with what is known of the difference.
    changed
        What is not as it was: versions, code.
    edited
        Files beside the record that are not the tables it speaks of, though these came out the
        same: somebody changed them, and how.
    """

    equal: tuple[str, ...]
    different: Mapping[str, str]
    changed: tuple[str, ...]
    edited: Mapping[str, str] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether all tables came out the same, and are those beside the record."""
        return not self.different and not self.edited

    def text(self) -> str:
        """The report for people."""
        lines = [f"same    {name}" for name in self.equal]
        lines += [f"DIFFERS {name}: {what}" for name, what in self.different.items()]
        lines += [f"EDITED  {name}: {what}" for name, what in self.edited.items()]
        lines += [f"! {each}" for each in self.changed]
        if self.edited and not self.different:
            told = "All recorded tables are reproduced, but files beside the record are NOT they."
            return "\n".join([*lines, told])
        if self.passed:
            return "\n".join([*lines, "All tables are reproduced, byte for byte."])
        if not self.changed:
            lines.append("! versions and code are those of the record: please report this")
        return "\n".join([*lines, "The tables are NOT reproduced."])


def rerun(path: Path, *, progress: Progress = silent, workers: int | None = 1) -> Rerun:
    """Do again what the record at ``path`` says, and compare the hashes of the tables.

    Raises
    ------
    InputError
        If the file is missing, no record of a run, or changed since; or asks for an experiment,
        option or scenario that this version does not know.
    """
    record = read_record(path)
    with sweep.using(workers):
        result, source = _again(record, path, progress)
    tables = result.table_files()
    recorded: dict[str, str] = record["table_sha256"]
    equal = [name for name, data in tables.items() if recorded.get(name) == sha256(data)]
    different = {
        name: _difference(path.parent / name, recorded[name], tables.get(name))
        for name in recorded
        if name not in equal
    }
    different |= {name: "it is not in the record" for name in tables if name not in recorded}
    edited = {name: what for name in equal if (what := _edited(path.parent / name, tables[name]))}
    return Rerun(tuple(equal), different, tuple(_changed(record, source)), edited)


def read_record(path: Path) -> dict[str, Any]:
    """A record of a run, whole and as it was written.

    Raises
    ------
    InputError
        If it is anything else.
    """
    allowed = "the run.json of a run"
    try:
        record = json.loads(path.read_bytes())
    except OSError as error:
        why = f"{allowed}; this cannot be read ({error.strerror})"
        raise InputError("record", str(path), why, "check the path") from None
    except ValueError:
        why = f"{allowed}; this is not JSON"
        raise InputError("record", str(path), why, "give outputs/NAME/run.json") from None
    missing = [
        name
        for name, kind in _NEEDED.items()
        if not isinstance(record, dict) or not isinstance(record.get(name), kind)
    ]
    if missing:
        why = f"{allowed} of this version; this lacks {', '.join(missing)}"
        raise InputError("record", str(path), why, "run the command in it again")
    given = (record["experiment"], record["seed"], record["options"], record["scenario"])
    if input_sha256(*given) != record["input_sha256"]:
        why = f"{allowed} as it was written; its experiment, seed, options or scenario was edited"
        fix = "run the changed scenario or options as a run of their own"
        raise InputError("record", str(path), why, fix)
    found: dict[str, Any] = record
    return found


def _again(record: Mapping[str, Any], path: Path, progress: Progress) -> tuple[Result, str]:
    """The result, and the hash of the sources it came from."""
    name, options = record["experiment"], dict(record["options"])
    seed = check_seed(record["seed"], "seed of the record")
    if name.startswith(_SIMULATE):
        scenario = _scenario(record["scenario"])
        if "engine" not in options:
            why = "a record whose options name the engine"
            raise InputError("record", str(path), why, "run the command in it again")
        found = simulate.simulate(scenario, seed=seed, engine=options["engine"], progress=progress)
        return simulate.result_of(found), source_sha256()
    experiment = find(name)
    quick = bool(options.pop("quick", False))
    chosen = _as_declared(experiment, options, path)
    return run_experiment(experiment, seed, quick, chosen, progress), source_sha256(experiment.path)


def _scenario(held: Mapping[str, Any]) -> Scenario:
    """The scenario of a record, held to what a scenario file is held to."""
    try:
        scenario = Scenario.model_validate_json(json.dumps(held))
    except ValidationError as error:
        faults = field_faults(error, Scenario, Origin(within=("scenario",)))
    else:
        faults = [InputError("scenario.run", None, "settings of the run, in a record")]
        if scenario.run is not None:
            faults = list(run_faults(scenario))
    fix = "run the scenario anew; this program did not write this record"
    raise_faults([InputError(x.name, x.value, x.allowed, x.fix or fix) for x in faults])
    return scenario


def _as_declared(experiment: Experiment, options: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Options as the experiment takes them: JSON knows no tuples."""
    declared = {option.name for option in fields(experiment.load().Options)}
    if set(options) != declared:
        names = ", ".join(sorted(set(options) ^ declared))
        why = f"a record of this version's {experiment.name}, whose options are others: {names}"
        raise InputError("record", str(path), why, "run the experiment again")
    return {name: tuple(x) if isinstance(x, list) else x for name, x in options.items()}


def _changed(record: Mapping[str, Any], source: str) -> list[str]:
    now = versions()
    found = [
        f"{name} was {record['versions'].get(name, 'absent')}, is {now.get(name, 'absent')}"
        for name in sorted({*now, *record["versions"]})
        if record["versions"].get(name) != now.get(name)
    ]
    if record["source_sha256"] != source:
        then, here = record["code_version"], code_version()
        found.append(f"the program's source was another one (then {then}, now {here})")
    return found


def _difference(file: Path, recorded: str, now: bytes | None) -> str:
    """The first row that differs, if the table beside the record is still what was recorded."""
    if now is None:
        return "this version makes no such table"
    try:
        then = file.read_bytes()
    except OSError:
        return "another hash (the recorded table is not beside the record)"
    if sha256(then) != recorded:
        return f"another hash ({file} was changed since, so rows cannot be compared)"
    if file.suffix != ".csv":
        return "another hash"
    return _first_row(then, now)


def _edited(file: Path, table: bytes) -> str:
    """How the file beside the record departs from its table; empty if it does not, or is gone."""
    try:
        held = file.read_bytes()
    except OSError:
        return ""
    if held == table:
        return ""
    if file.suffix != ".csv":
        return "the file was changed since"
    return f"the file was changed since; {_first_row(table, held)}"


def _first_row(before: bytes, after: bytes) -> str:
    """The first row in which two tables (CSV) differ."""
    old_rows, new_rows = (data.decode(errors="replace").splitlines() for data in (before, after))
    for number, (old, new) in enumerate(zip(old_rows, new_rows, strict=False)):
        if old != new:
            return f"row {number} (0: header) was {old!r}, is {new!r}"
    return f"{len(old_rows) - 1} rows were recorded, now there are {len(new_rows) - 1}"
