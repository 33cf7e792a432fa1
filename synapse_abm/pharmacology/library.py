"""The ligands, targets and sources that the program knows, and those that a user adds."""

from __future__ import annotations

import functools
import os
import textwrap
import tomllib
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any

from synapse_abm.core.arguments import instance
from synapse_abm.core.errors import InputError, UnknownName, raise_faults
from synapse_abm.core.fields import Frozen
from synapse_abm.core.text import text_table
from synapse_abm.core.validation_errors import read_toml
from synapse_abm.pharmacology.checking import LigandEntry, LigandFile, checked
from synapse_abm.pharmacology.ligand_record import WIDTH, LigandRecord, citation, number, paragraphs
from synapse_abm.pharmacology.records import (
    Affinity,
    AssociationRate,
    Diffusion,
    Source,
    TargetRecord,
)

#: Columns of the table.
COLUMNS = ("SERT", "NET", "DAT", "5-HT1A")
LEGEND = (
    "Affinities in nM. Status: p published, d derived by arithmetic, a assumed or quoted without a"
    " source that was read, c calibrated. Kd, Ki: binding; Km: uptake of the transmitter"
    " itself; IC50: half inhibition. The default is shown; where sources disagree, choose another"
    " as LIGAND@SOURCE. Source + 1: and another one, which print(pharmacology.ligand(NAME)) shows."
)

_FILES = ("sources.toml", "targets.toml", "ligands.toml")


class Library(Frozen):
    """A set of ligands with the targets and sources they name."""

    sources: dict[str, Source]
    targets: dict[str, TargetRecord]
    ligands: dict[str, LigandEntry]
    usual_kon: AssociationRate
    """k_on of a ligand for which neither k_on nor k_off is known."""
    usual_diffusion: Diffusion
    """Diffusion coefficient of a ligand for which none is given."""

    def ligand(self, name: str) -> LigandRecord:
        """The ligand called ``name``, or ``NAME@SOURCE`` for another source than the default.

        The source is taken wherever it has a number, the default elsewhere. ``FILE.toml:NAME``
        and ``FILE.toml:NAME@SOURCE`` are those of :func:`load_ligands`.

        Raises
        ------
        UnknownName
            If there is no such ligand, or that source says nothing of it; offers the nearest names.
        InputError, InputErrors
            If a file that is named cannot be used.
        """
        instance("ligand", name, str, "the name of a ligand, in quotes")
        if at_file := own_file(name):
            # With the whole library below it, so that a file may add a source to a drug that is
            # known.
            record = load_ligands(at_file[0], self).ligand(at_file[1])
            return record.model_copy(update={"file": at_file[0]})
        # "@" is refused in names of ligands, so the first one ends the name.
        base, at, chosen = name.partition("@")
        if base not in self.ligands:
            raise UnknownName("ligand", base, self.ligands)
        entry = self.ligands[base]
        keys = dict.fromkeys(affinity.key for affinity in entry.affinity)
        if at and chosen not in keys:
            raise UnknownName(f"source of {base}", chosen, keys)
        return LigandRecord(
            name=base,
            kind=entry.kind or "other",
            note=entry.note,
            all_affinities=_with_defaults(entry.affinity),
            efficacies=entry.efficacy,
            diffusion=entry.diffusion_um2_per_s or self.usual_diffusion,
            usual_kon=self.usual_kon,
            targets=self.targets,
            citations=self.sources,
            chosen=chosen if at else None,
        )

    def extended(self, file: LigandFile) -> Library:
        """The library with what ``file`` adds; what it names anew replaces what was there."""
        ligands = dict(self.ligands)
        for name, entry in file.ligand.items():
            ligands[name] = _merged(ligands[name], entry) if name in ligands else entry
        return Library(
            sources=self.sources | file.source,
            targets=self.targets | file.target,
            ligands=ligands,
            usual_kon=file.usual.kon_per_nM_s or self.usual_kon,
            usual_diffusion=file.usual.diffusion_um2_per_s or self.usual_diffusion,
        )

    def __str__(self) -> str:
        return library_text(self)


def _with_defaults(affinities: Iterable[Affinity]) -> tuple[Affinity, ...]:
    """The affinities, the only one at a target being its default without saying so."""
    every = tuple(affinities)
    targets = [affinity.target for affinity in every]
    return tuple(
        affinity
        if targets.count(affinity.target) > 1
        else affinity.model_copy(update={"default": True})
        for affinity in every
    )


def _merged(old: LigandEntry, new: LigandEntry) -> LigandEntry:
    """``old`` with what ``new`` says: new affinities beside the old, a new default instead."""
    replaced = {(affinity.target, affinity.key) for affinity in new.affinity}
    defaults = {affinity.target for affinity in new.affinity if affinity.default}
    every = list[Affinity]()
    for affinity in _with_defaults(old.affinity):
        if (affinity.target, affinity.key) not in replaced:
            demoted = affinity.target in defaults
            # A target has one default: that of the file, if it marks one.
            every.append(affinity.model_copy(update={"default": False}) if demoted else affinity)
    for affinity in new.affinity:
        # A target that the old entry did not know takes its first new affinity for the default.
        settled = any(other.default and other.target == affinity.target for other in every)
        inherits = not settled and affinity.target not in defaults
        every.append(affinity.model_copy(update={"default": True}) if inherits else affinity)
    return LigandEntry(
        kind=new.kind or old.kind,
        note=new.note or old.note,
        affinity=tuple(every),
        efficacy=old.efficacy | new.efficacy,
        diffusion_um2_per_s=new.diffusion_um2_per_s or old.diffusion_um2_per_s,
    )


@functools.cache
def library() -> Library:
    """The ligands that come with the program; read on first use."""
    folder = resources.files("synapse_abm.pharmacology") / "data"
    tables: dict[str, Any] = {}
    for name in _FILES:
        # One file as far as checking goes: an affinity names sources and targets of the others.
        tables |= tomllib.loads((folder / name).read_text("utf-8"))
    file, faults = checked(tables, {}, {}, {})
    raise_faults(faults)
    assert file is not None and file.usual.kon_per_nM_s and file.usual.diffusion_um2_per_s
    return Library(
        sources=file.source,
        targets=file.target,
        ligands=file.ligand,
        usual_kon=file.usual.kon_per_nM_s,
        usual_diffusion=file.usual.diffusion_um2_per_s,
    )


def own_file(name: str) -> tuple[str, str] | None:
    """File and ligand of ``FILE.toml:NAME``; None for other names."""
    # The last one: a path may hold a colon of its own, as on Windows.
    path, dot, ligand = name.rpartition(".toml:")
    return (f"{path}.toml", ligand) if dot else None


def ligand(name: str) -> LigandRecord:
    """The ligand called ``name``, or ``NAME@SOURCE`` for another source than the default.

    ``FILE.toml:NAME`` is a ligand of the user's own file.

    >>> ligand("venlafaxine").affinity("SERT").nM
    8.9
    >>> ligand("venlafaxine@Bymaster2001").affinity("SERT").nM
    82.0

    Raises
    ------
    UnknownName
        If there is no such ligand, or that source says nothing of it; offers the nearest names.
    """
    return library().ligand(name)


def ligand_names() -> tuple[str, ...]:
    """All ligands that come with the program, in the order of the table."""
    return tuple(library().ligands)


def load_ligands(path: str | os.PathLike[str], base: Library | None = None) -> Library:
    """``base`` (the program's own ligands by default) with those of a TOML file added.

    A ligand with a new name is added. One with a known name gets the file's affinities beside its
    own; an affinity of the same target and source, a ``default = true``, an efficacy, a diffusion
    coefficient, a kind or a note replaces what was there. ``[usual.kon_per_nM_s]`` and
    ``[usual.diffusion_um2_per_s]`` say what is taken where a ligand says nothing, and
    ``[target.NAME]`` adds a target. A complete file::

        [source.Mine2026]
        citation = "Mine 2026, J Good Res 1:1"

        [ligand.foozepine]
        kind = "SSRI"
        [[ligand.foozepine.affinity]]
        target = "SERT"
        nM = 3.2
        quantity = "Ki"
        status = "published"
        source = "Mine2026"

    Raises
    ------
    InputError
        If there is one fault: where in the file, the value, what is allowed, the nearest name.
    InputErrors
        If there are more; all are reported at once.
    """
    if not isinstance(path, str | os.PathLike):
        raise InputError("path", path, "the path of a file")
    base = library() if base is None else instance("base", base, Library)
    fix = "see synapse_abm.pharmacology.load_ligands for a complete file"
    tables = read_toml(Path(path), "ligand file", "a file with a [ligand.NAME] table", fix)
    file, faults = checked(tables, base.sources, base.targets, base.ligands)
    raise_faults(faults)
    assert file is not None
    return base.extended(file)


# --- the table for people ----------------------------------------------------------------------


def library_text(library: Library) -> str:
    """All ligands with their default affinities, the alternatives, and the sources."""
    records = [library.ligand(name) for name in library.ligands]
    rows, others = list[list[str]](), list[list[str]]()
    for record in records:
        at = {t: record.affinity(t) for t in COLUMNS if t in record.bound_targets}
        first, *more = dict.fromkeys(affinity.source for affinity in at.values()) or [""]
        sources = f"{first} + {len(more)}" if more else first  # all would not fit beside the rest
        rows.append([record.name, record.kind, *_cells(at), sources])
        others += _alternatives(record)
    return "\n".join(
        [
            text_table(["ligand", "class", *COLUMNS, "source"], rows),
            "",
            textwrap.fill(f"{LEGEND} {_usual(library)}", WIDTH, break_on_hyphens=False),
            "",
            text_table(["other sources", *COLUMNS], others),
            "",
            "Sources",
            *paragraphs((key, citation(source)) for key, source in sorted(library.sources.items())),
        ]
    )


def _usual(library: Library) -> str:
    """What is taken where nothing was measured, and what hangs on it."""
    kon, diffusion = library.usual_kon, library.usual_diffusion
    return (
        f"Where no rate is known, k_on is {number(kon.value)} {kon.unit} ({kon.status}): it decides"
        f" k_off and all times, not the equilibrium. Where no diffusion coefficient is known, it is"
        f" {number(diffusion.value)} {diffusion.unit} ({diffusion.status})."
    )


def _alternatives(record: LigandRecord) -> list[list[str]]:
    """A row for each source that is not the default of any target it speaks of."""
    spare = [
        affinity
        for affinity in record.all_affinities
        if affinity.target in COLUMNS and affinity is not record.affinities(affinity.target)[0]
    ]
    rows = []
    for key in dict.fromkeys(affinity.key for affinity in spare):
        at = {affinity.target: affinity for affinity in spare if affinity.key == key}
        rows.append([f"{record.name}@{key}", *_cells(at)])
    return rows


def _cells(at: dict[str, Affinity]) -> list[str]:
    """Affinities by target as the columns show them: kind, value, first letter of the status."""
    return [
        f"{at[t].quantity} {number(at[t].nM)} {at[t].status[0]}" if t in at else "-"
        for t in COLUMNS
    ]
