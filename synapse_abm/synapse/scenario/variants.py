"""A scenario by name or file, with single values changed: what a sweep of plain keywords needs.

A key is the path of a value in a scenario file, ``ligand.citalopram.clamped`` or
``ligand.serotonin.batches[0].size``; values are written as there, ``"1.2 nM"``, or as a number if
the key names the unit, ``ligand.citalopram.clamped_nM``. None leaves out what the file says. A
table as the value adds a ligand or target, ``{"ligand.competitor": {...}}``; otherwise their names
must be in the file.
"""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from synapse_abm.core.errors import InputError, UnknownName, collected, raise_faults
from synapse_abm.core.quantity import bare_name
from synapse_abm.core.validation_errors import DEEPEST_TOML
from synapse_abm.scenarios import find_scenario
from synapse_abm.synapse.scenario.changes import plain
from synapse_abm.synapse.scenario.definition import Scenario
from synapse_abm.synapse.scenario.file import TABLES, parse_scenario, read_tables

#: Settings of a run that a model is told by keywords of its own.
_ELSEWHERE = {
    "seed": "rng",
    "run.seed": "rng",
    "run.engine": "engine",
    "run.replicates": "replicate",
}


def scenario_of(
    scenario: Scenario | str | os.PathLike[str],
    changes: Mapping[str, Any],
    keywords: tuple[str, ...],
) -> Scenario:
    """The scenario that is meant; ``keywords`` are the other names a caller might have meant.

    Raises
    ------
    InputError
        If there is one fault: path, value, what is allowed, the nearest name.
    InputErrors
        If there are more; all are reported at once.
    """
    # A keyword may be a model's own, mistyped, or a value's path: both are offered.
    faults = list(_unknown(changes, keywords))
    if isinstance(scenario, Scenario):
        faults += _of_an_object(changes, faults)
        raise_faults(faults)
        return scenario
    if not isinstance(scenario, str | os.PathLike):
        allowed = "a Scenario, the name of a ready-made one, or the path of a TOML file"
        # mesa.batch_run goes through what it can go through: a record becomes its fields.
        fix = "in mesa.batch_run, put a Scenario into a list" if isinstance(scenario, tuple) else ""
        raise_faults([InputError("scenario", scenario, allowed, fix), *faults])
    with collected(faults):
        path = find_scenario(scenario) if isinstance(scenario, str) else Path(scenario)
        tables = copy.deepcopy(dict(read_tables(path)))
        for key, value in changes.items():
            faults += _put(tables, key, value)
        made = parse_scenario(tables, path.stem, None, path.parent)
    raise_faults(faults)
    return made


def _unknown(changes: Mapping[str, Any], keywords: tuple[str, ...]) -> Iterator[InputError]:
    for key, value in changes.items():
        if key in _ELSEWHERE:
            if value is not None:  # None changes nothing; models of Mesa's hand on seed=None
                fix = f"give {_ELSEWHERE[key]} instead"
                yield InputError(key, value, "not a change of the scenario", fix)
        elif key.partition(".")[0] not in TABLES:
            known = [*keywords, *(f"{table}." for table in TABLES if table != "name"), "name"]
            yield UnknownName("keyword", key, known)


def _of_an_object(changes: Mapping[str, Any], told: list[InputError]) -> Iterator[InputError]:
    names = {str(fault.value) for fault in told} | set(_ELSEWHERE)
    for key, value in changes.items():
        if key not in names:
            allowed = "changed in a scenario that is given by name or file, not as an object"
            yield InputError(key, value, allowed, "use scenario.model_copy(update=...)")


def _put(tables: dict[str, Any], key: str, value: Any) -> Iterator[InputError]:
    """Change one value in the tables of a file; what cannot be reached is a fault."""
    if key in _ELSEWHERE or key.partition(".")[0] not in TABLES:
        return  # told already
    *above, last = re.findall(r"[^.\[\]]+", key)
    if len(above) >= DEEPEST_TOML:
        yield InputError("keyword", key, f"at most {DEEPEST_TOML} levels, as in a file")
        return
    # Tables on the way are made as a dotted key in a file makes them.
    here: Any = tables
    if len(above) > 1 and above[0] in ("ligand", "target"):
        known = tables.get(above[0], {})
        if isinstance(known, dict) and above[1] not in known:
            # A table of that name would be made, and change nothing that was meant.
            yield UnknownName(f"{above[0]} in {key!r}", above[1], known)
            return
    for part in above:
        if isinstance(here, list):
            here = here[int(part)] if part.isdigit() and int(part) < len(here) else None
        elif isinstance(here, dict):
            here = here.setdefault(part, {})
    if isinstance(here, list) and last.isdigit() and int(last) < len(here):
        here[int(last)] = plain(value)
    elif isinstance(here, dict):
        for other in [key for key in here if bare_name(key) == bare_name(last)]:
            del here[other]  # the same quantity, in whatever unit
        if value is not None:
            here[last] = plain(value)
    else:
        yield InputError(key, value, "a value that the scenario's file has room for", "check it")
