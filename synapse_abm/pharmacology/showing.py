"""Ligands as tables for people: values with units, status and sources, at most 100 columns wide."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from synapse_abm.core.text import text_table
from synapse_abm.pharmacology.records import (
    Affinity,
    LigandRecord,
    Source,
    Value,
    with_originals,
)

if TYPE_CHECKING:
    from synapse_abm.pharmacology.library import Library

WIDTH = 100
COLUMNS = ("SERT", "NET", "5-HT1A")
LEGEND = (
    "Affinities in nM. Status: p published, d derived by arithmetic, a assumed or quoted without a"
    " source that was read, c calibrated. Kd, Ki: binding; Km: uptake of the transmitter"
    " itself; IC50: half inhibition. The default is shown; where sources disagree, choose another"
    " as LIGAND@SOURCE."
)


def number(value: float) -> str:
    """``value`` to three digits, never as a power of ten if it can be helped."""
    return f"{value:.0f}" if 1000 <= value < 1e7 else f"{value:.3g}"


# --- one ligand -----------------------------------------------------------------------------------


def record_text(record: LigandRecord) -> str:
    """Everything known of one ligand; an asterisk marks what is in use."""
    rows, notes = list[list[str]](), dict[str, list[str]]()

    def remark(text: str, place: str) -> None:
        if text:
            notes.setdefault(text, []).append(place)

    for target in record.bound_targets:
        known, chosen = record.affinities(target), record.affinity(target)
        for each in known:
            name = f"{'*' if each is chosen else ' '} {each.quantity} at {target}"
            name += ", default" if each.default and len(known) > 1 else ""
            rows.append([name, number(each.nM), "nM", each.status, each.key])
            remark(_conditions(each), f"{target}, {each.key}")
        rates = record.rates(target)
        for name, value in (("k_on", rates.kon), ("k_off", rates.koff), ("k_cat", rates.kcat)):
            if value is not None:
                rows.append(_row(f"* {name} at {target}", value))
                remark("" if _is_formula(value) else value.note, f"{name} at {target}")
        if target in record.efficacies:
            rows.append(_row(f"* efficacy at {target}", record.efficacies[target]))
            remark(record.efficacies[target].note, f"efficacy at {target}")
    rows.append(_row("* diffusion coefficient", record.diffusion))
    remark(record.diffusion.note, "diffusion coefficient")
    remark(record.note, record.name)
    used = [record.affinity(target) for target in record.bound_targets]
    others = dict.fromkeys(each.key for each in record.all_affinities if each not in used)
    legend = "; ".join(["* in use", *(f"or {record.name}@{key}" for key in others)])
    keys = record.source_keys(everything=True)
    mentioned = [key for key in record.citations if any(key in note for note in notes)]
    return "\n".join(
        [
            f"{record.full_name} ({record.kind})",
            text_table(["", "value", "unit", "status", "source"], rows),
            textwrap.fill(legend, WIDTH, break_on_hyphens=False),
            "",
            *_list(("; ".join(places), note) for note, places in notes.items()),
            "",
            *_list(
                (key, _citation(record.citations[key]))
                for key in with_originals([*keys, *mentioned], record.citations)
            ),
        ]
    )


def _row(name: str, value: Value) -> list[str]:
    source = value.note if _is_formula(value) else value.source
    return [name, number(value.value), value.unit, value.status, source]


def _is_formula(value: Value) -> bool:
    """Whether a number was computed from its neighbours in the table, as the note says."""
    return value.status == "derived" and value.note.removeprefix("(").startswith("k_")


def _conditions(affinity: Affinity) -> str:
    how = "; ".join(each for each in (affinity.assay, affinity.species) if each != "not stated")
    return ". ".join(filter(None, [how, affinity.note]))


def _citation(source: Source) -> str:
    via = f" (read in {source.via})" if source.via else ""
    return ". ".join(filter(None, [f"{source}{via}", source.note]))


def _list(entries: Iterable[tuple[str, str]]) -> list[str]:
    """``name: text`` paragraphs, wrapped."""
    return [
        textwrap.fill(f"{name}: {text}", WIDTH, subsequent_indent="    ", break_on_hyphens=False)
        for name, text in entries
    ]


# --- all ligands ----------------------------------------------------------------------------------


def library_text(library: Library) -> str:
    """All ligands with their default affinities, the alternatives, and the sources."""
    records = [library.ligand(name) for name in library.ligand_names()]
    rows, others = list[list[str]](), list[list[str]]()
    for record in records:
        shown = [record.affinity(t) for t in COLUMNS if t in record.bound_targets]
        at = {each.target: each for each in shown}
        sources = ", ".join(dict.fromkeys(each.source for each in shown))
        cells = [_cell(at[target]) if target in at else "-" for target in COLUMNS]
        rows.append([record.name, record.kind, *cells, sources])
        others += _alternatives(record)
    return "\n".join(
        [
            text_table(["ligand", "class", *COLUMNS, "source"], rows),
            "",
            textwrap.fill(LEGEND, WIDTH, break_on_hyphens=False),
            "",
            text_table(["other sources", *COLUMNS], others),
            "",
            "Sources",
            *_list((key, _citation(source)) for key, source in sorted(library.sources.items())),
        ]
    )


def _cell(affinity: Affinity) -> str:
    return f"{affinity.quantity} {number(affinity.nM)} {affinity.status[0]}"


def _alternatives(record: LigandRecord) -> list[list[str]]:
    """A row for each source that is not the default of any target it speaks of."""
    spare = [
        each
        for each in record.all_affinities
        if each.target in COLUMNS and each is not record.affinities(each.target)[0]
    ]
    rows = []
    for key in dict.fromkeys(each.key for each in spare):
        at = {each.target: each for each in spare if each.key == key}
        rows.append([f"{record.name}@{key}", *_cells(at)])
    return rows


def _cells(at: dict[str, Affinity]) -> Sequence[str]:
    return [_cell(at[target]) if target in at else "-" for target in COLUMNS]
