"""The format of ligand files, and all that is wrong with one, told at once."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError

from synapse_abm.errors import InputError, UnknownName
from synapse_abm.pharmacology.records import (
    Affinity,
    AssociationRate,
    Diffusion,
    Efficacy,
    Source,
    TargetRecord,
    Text,
)
from synapse_abm.scenario import Frozen

Kind = Literal[
    "transmitter",
    "SSRI",
    "SNRI",
    "NRI",
    "TCA",
    "multimodal",
    "agonist",
    "partial agonist",
    "antagonist",
    "other",
]


class LigandEntry(Frozen):
    """One ``[ligand.NAME]`` of a file; a known ligand may leave out what it keeps."""

    kind: Annotated[
        Kind | None, Field(description=f"one of {', '.join(typing.get_args(Kind))}")
    ] = None
    note: Text = ""
    affinity: Annotated[
        tuple[Affinity, ...], Field(description="tables [[ligand.NAME.affinity]]")
    ] = ()
    efficacy: Annotated[
        dict[str, Efficacy], Field(description="tables [ligand.NAME.efficacy.RECEPTOR]")
    ] = Field(default_factory=dict)
    diffusion_um2_per_s: Diffusion | None = None


class Usual(Frozen):
    """What is taken where a ligand says nothing."""

    kon_per_nM_s: AssociationRate | None = None
    diffusion_um2_per_s: Diffusion | None = None


class LigandFile(Frozen):
    """A whole file."""

    source: Annotated[dict[str, Source], Field(description="tables [source.NAME]")] = Field(
        default_factory=dict
    )
    target: Annotated[dict[str, TargetRecord], Field(description="tables [target.NAME]")] = Field(
        default_factory=dict
    )
    ligand: Annotated[dict[str, LigandEntry], Field(description="tables [ligand.NAME]")] = Field(
        default_factory=dict
    )
    usual: Usual = Usual()


class _Missing:
    """Stands for a value that is not there."""

    def __repr__(self) -> str:
        return "(missing)"


MISSING = _Missing()


def checked(
    tables: Mapping[str, Any],
    sources: Mapping[str, Source],
    targets: Mapping[str, TargetRecord],
    ligands: Mapping[str, LigandEntry],
) -> tuple[LigandFile | None, list[InputError]]:
    """A file's contents as records (None if they cannot be), and every fault of it.

    ``sources``, ``targets`` and ``ligands`` are those known already.
    """
    known = {
        "source": {*sources, *_tables(tables.get("source"))},
        "target": {*targets, *_tables(tables.get("target"))},
    }
    file, faults = None, list[InputError]()
    try:
        file = LigandFile.model_validate(tables, context=known)
    except ValidationError as error:
        faults = field_faults(error, LigandFile)
    kinds = {name: target.kind for name, target in targets.items()}
    kinds |= {name: each.get("kind") for name, each in _tables(tables.get("target")).items()}
    receptors = {name for name, kind in kinds.items() if kind == "receptor"}
    for name, entry in _tables(tables.get("ligand")).items():
        faults += _ligand_faults(name, entry, known, receptors, ligands.get(name))
    return file, faults


# --- faults of single fields ----------------------------------------------------------------------


def field_faults(error: ValidationError, model: type[BaseModel]) -> list[InputError]:
    """What pydantic found wrong with a ``model``, in the words of :mod:`synapse_abm.errors`."""
    return [_field_fault(each, model) for each in error.errors(include_url=False)]


def _field_fault(error: Mapping[str, Any], model: type[BaseModel]) -> InputError:
    *above, last = location = error["loc"]
    path, value = _path(location), error["input"]
    owner = _model_at(model, above)
    if error["type"] == "extra_forbidden":
        keys = owner.model_fields if owner else ()
        return UnknownName(f"a key of {_path(above) or 'the file'}", str(last), keys)
    if error["type"] == "unknown_name":
        return UnknownName(path, value, error["ctx"]["known"])
    allowed = _description(model, location)
    if error["type"] == "missing":
        return InputError(path, MISSING, allowed, f"add {last}")
    choices = _choices(owner, last)
    if isinstance(value, str) and choices:
        return UnknownName(path, value, choices)
    return InputError(path, value, allowed, _bare_number(value) if "number" in allowed else "")


def _path(location: typing.Iterable[str | int]) -> str:
    """``("ligand", "foo", "affinity", 0, "nM")`` as ``ligand.foo.affinity[0].nM``."""
    parts = [f"[{each}]" if isinstance(each, int) else f".{each}" for each in location]
    return "".join(parts).removeprefix(".")


def _bare_number(value: object) -> str:
    found = re.match(r"\s*([0-9.]+([eE][+-]?[0-9]+)?)", value) if isinstance(value, str) else None
    return f"write {found[1]}, without quotes and unit" if found else ""


def _inner(annotation: Any) -> Any:
    """``X`` of ``X | None`` and of ``Annotated[X, ...]``."""
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        return _inner(next(a for a in typing.get_args(annotation) if a is not type(None)))
    if typing.get_origin(annotation) is Annotated:
        return _inner(typing.get_args(annotation)[0])
    return annotation


def _at(model: type[BaseModel], location: typing.Iterable[str | int]) -> Any:
    """The type that belongs to a place in a ``model``."""
    here: Any = model
    for part in location:
        if isinstance(here, type) and issubclass(here, BaseModel):
            field = here.model_fields.get(str(part))
            here = _inner(field.annotation) if field else None
        else:  # a dict's values, or a tuple's members
            arguments = typing.get_args(here)
            wanted = arguments[1:] if typing.get_origin(here) is dict else arguments
            here = _inner(wanted[0]) if wanted else None
    return here


def _model_at(model: type[BaseModel], location: typing.Iterable[str | int]) -> Any:
    here = _at(model, location)
    return here if isinstance(here, type) and issubclass(here, BaseModel) else None


def _description(model: type[BaseModel], location: tuple[str | int, ...]) -> str:
    owner = _model_at(model, location[:-1])
    field = owner.model_fields.get(str(location[-1])) if owner and location else None
    if field is not None:
        within = (a for x in typing.get_args(field.annotation) for a in typing.get_args(x))
        for each in (field, *within):
            if getattr(each, "description", None):
                return str(each.description)
    return "a table" if _model_at(model, location) else "another value"


def _choices(owner: Any, name: object) -> tuple[str, ...]:
    field = owner.model_fields.get(str(name)) if owner else None
    literal = _inner(field.annotation) if field else None
    return typing.get_args(literal) if typing.get_origin(literal) is Literal else ()


# --- faults of several fields together ------------------------------------------------------------


def _ligand_faults(
    name: str,
    entry: Mapping[str, Any],
    known: Mapping[str, set[str]],
    receptors: set[str],
    old: LigandEntry | None,
) -> Iterator[InputError]:
    """What is wrong with a ligand although each field may be right by itself."""
    path = f"ligand.{name}"
    if not re.fullmatch(r"[^@\s]+", name):
        yield InputError("a name of [ligand.NAME]", name, "a name without '@' and spaces")
    if old is None and "kind" not in entry:
        yield InputError(f"{path}.kind", MISSING, _description(LigandEntry, ("kind",)), "add kind")
    if old is None and not entry.get("affinity"):
        yield InputError(f"{path}.affinity", MISSING, "at least one affinity", "add one")

    raw = entry.get("affinity")
    numbered = enumerate(raw if isinstance(raw, list) else [])
    good = {place: _valid(Affinity, each, known) for place, each in numbered}
    affinities = {place: each for place, each in good.items() if each is not None}
    yield from _doubled(path, affinities)
    if len(affinities) == len(good):
        yield from _no_default(path, affinities, old)
    for place, affinity in affinities.items():
        yield from _rate_faults(f"{path}.affinity[{place}]", affinity)

    efficacy = _tables(entry.get("efficacy"))
    for target in sorted(efficacy.keys() - receptors):
        yield UnknownName(f"a key of {path}.efficacy", target, receptors)
    bound = {each.target for each in affinities.values()} & receptors
    for target in sorted(bound - efficacy.keys() - set(old.efficacy if old else ())):
        allowed = "a number from 0 (antagonist) to 1 (full agonist), as it binds to this receptor"
        yield InputError(f"{path}.efficacy.{target}", MISSING, allowed, "add it")


def _doubled(path: str, affinities: Mapping[int, Affinity]) -> Iterator[InputError]:
    """Two affinities with the same key, two defaults."""
    keys, defaults = dict[tuple[str, str], int](), dict[str, int]()
    for place, each in affinities.items():
        here, first = f"{path}.affinity[{place}]", keys.setdefault((each.target, each.key), place)
        if first != place:
            allowed = f"a source and variant not yet used at {each.target}, as affinity[{first}] is"
            yield InputError(f"{here}.source", each.key, allowed, "give a variant")
        if each.default and (first := defaults.setdefault(each.target, place)) != place:
            allowed = f"false, because affinity[{first}] is the default at {each.target}"
            yield InputError(f"{here}.default", True, allowed)


def _no_default(
    path: str, affinities: Mapping[int, Affinity], old: LigandEntry | None
) -> Iterator[InputError]:
    """Several affinities at a target, and none of them the default."""
    settled = {each.target for each in old.affinity} if old else set()
    settled |= {each.target for each in affinities.values() if each.default}
    places = dict[str, list[int]]()
    for place, each in affinities.items():
        if each.target not in settled:
            places.setdefault(each.target, []).append(place)
    for target, found in places.items():
        if len(found) > 1:
            allowed = f"true for one of the {len(found)} affinities at {target}"
            yield InputError(f"{path}.affinity[{found[0]}].default", MISSING, allowed, "mark one")


def _rate_faults(path: str, affinity: Affinity) -> Iterator[InputError]:
    """Rate constants that are missing, or contradict the affinity."""
    kon, koff = affinity.kon_per_nM_s, affinity.koff_per_s
    if affinity.quantity == "Km":
        why = "as Km = (k_off + k_cat)/k_on"
        if affinity.kcat_per_s is None:
            yield InputError(f"{path}.kcat_per_s", MISSING, f"a rate in 1/s, {why}", "add it")
        if kon is None and koff is None:
            allowed = f"a rate in 1/s, or kon_per_nM_s, {why}"
            yield InputError(f"{path}.koff_per_s", MISSING, allowed, "add one of them")
    rate = koff or kon
    if rate is None or (affinity.quantity == "Km" and affinity.kcat_per_s is None):
        return
    try:
        affinity.rates()
    except ValueError as error:
        name = "koff_per_s" if koff else "kon_per_nM_s"
        yield InputError(f"{path}.{name}", rate.value, str(error))


def _tables(value: object) -> dict[str, Any]:
    """The tables within a table; whatever else it holds is told by :func:`field_faults`."""
    if not isinstance(value, dict):
        return {}
    return {name: each for name, each in value.items() if isinstance(each, dict)}


def _valid[Model: BaseModel](
    model: type[Model], value: object, known: Mapping[str, set[str]]
) -> Model | None:
    """``value`` as a ``model``, or None if that cannot be (:func:`field_faults` says why)."""
    try:
        return model.model_validate(value, context=known)
    except ValidationError:
        return None
