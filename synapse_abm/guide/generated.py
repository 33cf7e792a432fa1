"""The pages that are made from the program: ``python -m synapse_abm.guide.generated`` writes them.

A test makes them again and compares, so that they say what the program does.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from synapse_abm.core.errors import InputError
from synapse_abm.core.fields import GOOD_NAME, GOOD_TITLE
from synapse_abm.core.quantity import unit_of
from synapse_abm.core.validation_errors import description
from synapse_abm.pharmacology.kinetics import Kinetics
from synapse_abm.synapse.scenario.definition import AUTO
from synapse_abm.synapse.scenario.file import RunTable
from synapse_abm.synapse.scenario.parts import (
    DEFAULT_ACCURACY,
    At,
    Batch,
    Grid,
    Ligand,
    Reservoir,
    Start,
    Target,
)
from synapse_abm.synapse.scenario.tables import RANGES, key_of
from synapse_abm.synapse.scenario.timestep import read_accuracy
from synapse_abm.validation.cases import SHIPPED, read_cases
from synapse_abm.validation.groups import assign

#: The tables of a scenario file, and the models that check them.
TABLES: dict[str, type[BaseModel]] = {
    "[grid]": Grid,
    "[target.NAME]": Target,
    "[ligand.NAME]": Ligand,
    "[ligand.NAME.binding.TARGET]": Kinetics,
    "reservoir = { ... }": Reservoir,
    "batches = [{ ... }]": Batch,
    "[run]": RunTable,
    "[start]": Start,
    "[[at]]": At,
}
#: Defaults that a file has and the model of its table has not.
_DEFAULTS = {
    (RunTable, "dt_s"): AUTO,
    (RunTable, "accuracy"): f"{100 * DEFAULT_ACCURACY:g} %",
    (Target, "kind"): "that of a known target, else transporter",
}
_INTRODUCTION = f"""\
# Scenario reference

Every key of a scenario file: made from the definitions that check it. A number with a unit is
text, `"100 nm"`, in any unit of the same kind; with the unit in its name it is a plain number in
that unit (`spacing_um = 0.1`), as in Python. What is wrong with a file is told at once, with its
place.

At the top of a file `name` may stand ({GOOD_TITLE});
it is the file's unless given. NAME is {GOOD_NAME}.
How to begin: [Scenarios](scenarios.md).
"""
_CASES = """\
# Exact cases

What `synapse-abm validate` compares with exact results: made from its file of cases,
`synapse_abm/validation/cases.json`, which lists the constants, the exact numbers and the method
that gave them. The method is not that of the program but where it says so: systems too large for
a master equation are held against the program at much finer steps. What is not run, or only by
`validate --thorough`, is named with the reason.
"""


def scenario_reference() -> str:
    """The page of all keys of a scenario file."""
    return "\n".join([_INTRODUCTION, *(_section(*table) for table in TABLES.items())])


def _section(title: str, model: type[BaseModel]) -> str:
    """One table of a file: what it is about, and a row for each key."""
    rows = [
        _row(f"`{key_of(name)}`", _default(model, name, field), allowed(model, name), meaning)
        for (name, field), meaning in zip(model.model_fields.items(), meanings(model), strict=True)
    ]
    head = ["| key | default | allowed | meaning |", "|---|---|---|---|"]
    return "\n".join([f"## {title}\n", f"{_about(model)}\n", *head, *rows, ""])


def _about(model: type[BaseModel]) -> str:
    """The description of a class, its fields called as in a file."""
    text = inspect.cleandoc(model.__doc__ or "")
    text = re.sub(r"``([^`]*)``", r"`\1`", text)
    return re.sub(r"`(\w+)`", lambda word: f"`{_key(model, word[1])}`", text)


def _key(model: type[BaseModel], word: str) -> str:
    return key_of(word) if word in model.model_fields else word


def meanings(model: type[BaseModel]) -> Iterator[str]:
    """What is written below each field in the source.

    Raises
    ------
    LookupError
        If nothing is.
    """
    texts = dict[str, str]()
    for kind in reversed(model.__mro__[: model.__mro__.index(BaseModel)]):
        (body,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
        assert isinstance(body, ast.ClassDef)
        for field, below in zip(body.body, body.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                text = getattr(getattr(below, "value", None), "value", None)
                if isinstance(below, ast.Expr) and isinstance(text, str):
                    texts[field.target.id] = " ".join(text.replace("``", "`").split())
    for name in model.model_fields:
        if name not in texts:
            raise LookupError(f"{model.__name__}.{name} has no description below it")
        yield texts[name]


def _default(model: type[BaseModel], name: str, field: FieldInfo) -> str:
    default = _DEFAULTS.get((model, name), field.default)
    if default is PydanticUndefined and field.default_factory is None:
        return "needed"
    if default in (None, (), "", PydanticUndefined):
        return "-"
    unit = unit_of(name)
    text = f"{default:g} {unit}" if unit and isinstance(default, float) else str(default)
    return ", ".join(map(str, default)) if isinstance(default, tuple) else text


def allowed(model: type[BaseModel], name: str) -> str:
    """What a key may be, in a file."""
    if name == "accuracy":
        try:
            read_accuracy("", "")
        except InputError as error:
            return error.allowed
    unit, choices = unit_of(name), _choices(model.model_fields[name].annotation)
    if choices:
        return " or ".join(f"`{choice}`" for choice in choices)
    if not unit:
        return description(model, (name,))
    low, high = RANGES[unit]
    # What is at least zero may be zero; what is above it may not.
    zero = "" if any(hasattr(part, "gt") for part in _constraints(model, name)) else "0, or "
    text = f"{zero}{low:g} to {high:g} {unit}"
    return f"{text}, or `{AUTO}`" if name == "dt_s" else text


def _choices(annotation: Any) -> tuple[str, ...]:
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def _constraints(model: type[BaseModel], name: str) -> Iterator[Any]:
    """All limits of a field, those of the inner types of ``X | None`` and ``tuple[X, ...]`` too."""

    def within(annotation: Any) -> Iterator[Any]:
        yield from getattr(annotation, "metadata", ())
        for part in (*get_args(annotation), *getattr(annotation, "__metadata__", ())):
            yield part
            yield from within(part)

    field = model.model_fields[name]
    yield from field.metadata
    yield from within(field.annotation)


def exact_cases() -> str:
    """The page of all cases of ``validate``."""
    plan, left_out = assign(read_cases(SHIPPED)), dict[str, list[str]]()
    for name, reason in plan.left_out:
        left_out.setdefault(name, []).append(reason)
    run = {quantity.id for trial in plan.trials for quantity in trial.quantities}
    parts = [_CASES]
    for group, cases in itertools.groupby(json.loads(SHIPPED.read_bytes())["cases"], _group):
        alike = dict[tuple[str, str], list[str]]()  # cases that differ in their numbers only
        for case in cases:
            why = left_out.get(case["id"])
            which = "not all" if case["id"] in run else "not run"
            title = case["title"] + (f" ({which}: {'; '.join(why)})" if why else "")
            alike.setdefault((title, case["method"]), []).append(case["id"])
        rows = [_row(", ".join(ids), *cells) for cells, ids in alike.items()]
        letter, _, words = group.partition(" ")
        head = ["| cases | system | exact numbers from |", "|---|---|---|"]
        parts.append("\n".join([f"## {letter}: {words}\n", *head, *rows, ""]))
    return "\n".join(parts)


def _group(case: Mapping[str, Any]) -> str:
    return str(case["group"])


def _row(*cells: str) -> str:
    """A row of a table; a bar within a cell would end it."""
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def pages() -> dict[str, str]:
    """The generated pages by topic."""
    return {"scenario_reference": scenario_reference(), "exact_cases": exact_cases()}


if __name__ == "__main__":
    for topic, text in pages().items():
        Path(__file__).with_name(f"{topic}.md").write_text(text, "utf-8")
