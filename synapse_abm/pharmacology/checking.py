"""The format of ligand files, and all that is wrong with one, told at once."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from synapse_abm.core.errors import InputError, UnknownName
from synapse_abm.core.fields import GOOD_NAME, Frozen, good_name
from synapse_abm.core.validation_errors import MISSING, description, field_faults, valid
from synapse_abm.pharmacology.records import (
    Affinity,
    AssociationRate,
    Diffusion,
    Efficacy,
    Source,
    TargetRecord,
    Text,
)

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


def checked(
    tables: Mapping[str, Any],
    sources: Mapping[str, Source],
    targets: Mapping[str, TargetRecord],
    ligands: Mapping[str, LigandEntry],
) -> tuple[LigandFile | None, list[InputError]]:
    """A file's contents as records (None if they cannot be), and every fault of it.

    ``sources``, ``targets`` and ``ligands`` are those known already.
    """
    # Names of the file itself count as known, in whatever order its tables stand.
    known = {
        "source": {*sources, *_tables(tables.get("source"))},
        "target": {*targets, *_tables(tables.get("target"))},
    }
    file, faults = None, list[InputError]()
    try:
        file = LigandFile.model_validate(tables, context=known)
    except ValidationError as error:
        faults = field_faults(error, LigandFile)
    for kind in ("source", "target"):
        bad = (name for name in _tables(tables.get(kind)) if not good_name(name))
        faults += (InputError(f"a name of [{kind}.NAME]", name, GOOD_NAME) for name in bad)
    kinds = {name: target.kind for name, target in targets.items()}
    kinds |= {name: record.get("kind") for name, record in _tables(tables.get("target")).items()}
    # From the raw tables: a target with one bad field is still known by its name and kind.
    receptors = {name for name, kind in kinds.items() if kind == "receptor"}
    for name, entry in _tables(tables.get("ligand")).items():
        faults += _ligand_faults(name, entry, known, receptors, ligands.get(name))
    return file, faults


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
    # "@" separates a ligand from its source, and spaces would end a word of the command line.
    if not re.fullmatch(r"[^@\s]+", name) or not good_name(name):
        allowed = f"a name without '@' and spaces; {GOOD_NAME}"
        yield InputError("a name of [ligand.NAME]", name, allowed)
    if old is None and "kind" not in entry:
        yield InputError(f"{path}.kind", MISSING, description(LigandEntry, ("kind",)), "add kind")
    if old is None and not entry.get("affinity"):
        yield InputError(f"{path}.affinity", MISSING, "at least one affinity", "add one")

    listed = entry.get("affinity")
    tables: list[Any] = listed if isinstance(listed, list) else []
    read = {place: valid(Affinity, table, known) for place, table in enumerate(tables)}
    affinities = {place: affinity for place, affinity in read.items() if affinity is not None}
    yield from _doubled(path, affinities)
    # Where an affinity could not be read, nobody knows whether it was the default.
    if len(affinities) == len(tables):
        yield from _no_default(path, affinities, old)
    for place, table in enumerate(tables):
        yield from _missing_rates(f"{path}.affinity[{place}]", table)
    for place, affinity in affinities.items():
        yield from _rate_faults(f"{path}.affinity[{place}]", affinity)

    efficacy = _tables(entry.get("efficacy"))
    for target in sorted(efficacy.keys() - receptors):
        yield UnknownName(f"a key of {path}.efficacy", target, receptors)
    # What a bound receptor does depends on the ligand; transporters carry or are blocked, and have
    # no efficacy.
    bound = receptors & {str(x.get("target")) for x in tables if isinstance(x, dict)}
    for target in sorted(bound - efficacy.keys() - set(old.efficacy if old else ())):
        allowed = "a number from 0 (antagonist) to 1 (full agonist), as it binds to this receptor"
        yield InputError(f"{path}.efficacy.{target}", MISSING, allowed, "add it")


def _doubled(path: str, affinities: Mapping[int, Affinity]) -> Iterator[InputError]:
    """Two affinities with the same key, two defaults."""
    keys, defaults = dict[tuple[str, str], int](), dict[str, int]()
    for place, affinity in affinities.items():
        here, key = f"{path}.affinity[{place}]", (affinity.target, affinity.key)
        first = keys.setdefault(key, place)
        if first != place:
            allowed = f"a source and variant not yet used at {key[0]}, as affinity[{first}] is"
            yield InputError(f"{here}.source", affinity.key, allowed, "give a variant")
        if affinity.default and (first := defaults.setdefault(affinity.target, place)) != place:
            allowed = f"false, because affinity[{first}] is the default at {affinity.target}"
            yield InputError(f"{here}.default", True, allowed)


def _no_default(
    path: str, affinities: Mapping[int, Affinity], old: LigandEntry | None
) -> Iterator[InputError]:
    """Several affinities at a target, and none of them the default."""
    # What a ligand had before keeps its default, unless the file marks another.
    settled = {affinity.target for affinity in old.affinity} if old else set()
    settled |= {affinity.target for affinity in affinities.values() if affinity.default}
    places = dict[str, list[int]]()
    for place, affinity in affinities.items():
        if affinity.target not in settled:
            places.setdefault(affinity.target, []).append(place)
    for target, unmarked in places.items():
        if len(unmarked) > 1:
            allowed = f"true for one of the {len(unmarked)} affinities at {target}"
            here = f"{path}.affinity[{unmarked[0]}].default"
            yield InputError(here, MISSING, allowed, "mark one")


def _missing_rates(path: str, raw: Any) -> Iterator[InputError]:
    """Rate constants that a Km cannot do without, whatever else is wrong with the affinity."""
    if not isinstance(raw, dict) or raw.get("quantity") != "Km":
        return
    why = "as Km = (k_off + k_cat)/k_on"
    if "kcat_per_s" not in raw:
        yield InputError(f"{path}.kcat_per_s", MISSING, f"a rate in 1/s, {why}", "add it")
    if not {"kon_per_nM_s", "koff_per_s"} & raw.keys():
        allowed = f"a rate in 1/s, or kon_per_nM_s, {why}"
        yield InputError(f"{path}.koff_per_s", MISSING, allowed, "add one of them")


def _rate_faults(path: str, affinity: Affinity) -> Iterator[InputError]:
    """Rate constants that contradict the affinity."""
    kon, koff = affinity.kon_per_nM_s, affinity.koff_per_s
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
    return {name: table for name, table in value.items() if isinstance(table, dict)}
