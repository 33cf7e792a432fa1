"""What is known of one ligand, and its table for people: values with units, status and sources."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from typing import Self

from pydantic import model_validator

from synapse_abm.core.errors import UnknownName
from synapse_abm.core.fields import Frozen
from synapse_abm.core.text import text_table
from synapse_abm.pharmacology.kinetics import Kinetics
from synapse_abm.pharmacology.records import (
    Affinity,
    AssociationRate,
    BindingRates,
    Diffusion,
    Efficacy,
    Source,
    TargetRecord,
    Value,
)

#: Columns of a terminal that tables and paragraphs keep to.
WIDTH = 100


class LigandRecord(Frozen):
    """Everything known of one ligand; ``print`` it for a table with units and sources.

    Made by :func:`synapse_abm.pharmacology.ligand`.
    """

    name: str
    kind: str
    """The class of drug: SSRI, SNRI, NRI, TCA, multimodal, antagonist, ... or transmitter."""
    note: str
    all_affinities: tuple[Affinity, ...]
    efficacies: dict[str, Efficacy]
    diffusion: Diffusion
    usual_kon: AssociationRate
    targets: dict[str, TargetRecord]
    """All targets that the library knows."""
    citations: dict[str, Source]
    """All sources that the library knows."""
    chosen: str | None = None
    """The key that was asked for with ``@``; where it has no number the default is taken."""
    file: str = ""
    """The user's file that it was taken from by name, if any."""

    @property
    def full_name(self) -> str:
        """The name with its file and the chosen source, as ``ligand`` takes it."""
        name = f"{self.name}@{self.chosen}" if self.chosen else self.name
        return f"{self.file}:{name}" if self.file else name

    @property
    def diffusion_um2_per_s(self) -> float:
        """Effective diffusion coefficient in the extracellular space, um^2/s."""
        return self.diffusion.value

    @property
    def bound_targets(self) -> tuple[str, ...]:
        """The targets for which an affinity is known."""
        return tuple(dict.fromkeys(affinity.target for affinity in self.all_affinities))

    def affinities(self, target: str) -> tuple[Affinity, ...]:
        """What all sources say of ``target``, the default first.

        Raises
        ------
        UnknownName
            If nothing is known.
        """
        known = [affinity for affinity in self.all_affinities if affinity.target == target]
        if not known:
            raise UnknownName(f"target of {self.name}", target, self.bound_targets)
        # False sorts before True, and equals stay in the file's order.
        return tuple(sorted(known, key=lambda affinity: not affinity.default))

    def affinity(self, target: str) -> Affinity:
        """The chosen affinity at ``target``, or the default one.

        Raises
        ------
        UnknownName
            If nothing is known.
        """
        known = self.affinities(target)
        return next((affinity for affinity in known if affinity.key == self.chosen), known[0])

    def rates(self, target: str) -> BindingRates:
        """Rate constants at ``target``, each with status and source: k_on in 1/(nM s), the others
        in 1/s.

        Raises
        ------
        UnknownName
            If no affinity is known.
        """
        return self.affinity(target).rates(self.usual_kon)

    def kinetics(self, target: str) -> Kinetics:
        """Rate constants at ``target`` as a scenario takes them.

        Raises
        ------
        UnknownName
            If no affinity is known.
        """
        affinity, rates = self.affinity(target), self.rates(target)
        kcat = rates.kcat.value if rates.kcat else 0.0
        # A Km is not koff/kon: transport empties the site too. So both rates are given, and no Kd.
        if affinity.quantity == "Km":
            kon, koff = rates.kon.value, rates.koff.value
            return Kinetics(kon_per_nM_s=kon, koff_per_s=koff, kcat_per_s=kcat)
        # Measured numbers are passed on, the derived one is left to the scenario: nothing is
        # rounded twice.
        if affinity.koff_per_s is not None:
            return Kinetics(kd_nM=affinity.nM, koff_per_s=rates.koff.value, kcat_per_s=kcat)
        return Kinetics(kd_nM=affinity.nM, kon_per_nM_s=rates.kon.value, kcat_per_s=kcat)

    def efficacy(self, target: str) -> float:
        """Effect of the bound receptor relative to serotonin, 0 (antagonist) to 1 (full agonist).

        Raises
        ------
        UnknownName
            If ``target`` is no receptor that this ligand binds to.
        """
        if target not in self.efficacies:
            raise UnknownName(f"receptor of {self.name}", target, self.efficacies)
        return self.efficacies[target].value

    def sources(self) -> tuple[str, ...]:
        """Citations behind the numbers that this record gives: chosen affinities, rates,
        efficacies, diffusion.
        """
        return tuple(str(self.citations[key]) for key in self.source_keys())

    def source_keys(self, *, everything: bool = False) -> tuple[str, ...]:
        """Names of the sources in use, or of all that this record holds, and those they were
        read in.
        """
        shown = self.all_affinities if everything else map(self.affinity, self.bound_targets)
        keys = list[str]()
        for affinity in shown:
            rates = affinity.rates(self.usual_kon)
            keys += [affinity.source, rates.kon.source, rates.koff.source]
            keys += [rates.kcat.source] if rates.kcat else []
        keys += [value.source for value in (*self.efficacies.values(), self.diffusion)]
        return with_originals(keys, self.citations)

    def __str__(self) -> str:
        return record_text(self)

    def __repr__(self) -> str:
        return f"ligand({self.full_name!r})"

    @model_validator(mode="after")
    def _choice_is_known(self) -> Self:
        keys = {affinity.key for affinity in self.all_affinities}
        if self.chosen is not None and self.chosen not in keys:
            raise ValueError(f"{self.name} has no affinity from {self.chosen!r}")
        return self


def with_originals(keys: Iterable[str], citations: Mapping[str, Source]) -> tuple[str, ...]:
    """``keys`` without repetition, each followed by the source it was read in."""
    ordered = dict[str, None]()
    for key in keys:
        link: str | None = key
        # A paper that was read in a review is followed by that review, in turn perhaps by another.
        while link is not None and link not in ordered:
            ordered[link] = None
            link = citations[link].via
    return tuple(ordered)


# --- the table for people ----------------------------------------------------------------------


def number(value: float) -> str:
    """``value`` to three digits, never as a power of ten if it can be helped."""
    return f"{value:.0f}" if 1000 <= value < 1e7 else f"{value:.3g}"


def record_text(record: LigandRecord) -> str:
    """Everything known of one ligand; an asterisk marks what is in use."""
    rows, notes = list[list[str]](), dict[str, list[str]]()

    def remark(text: str, place: str) -> None:
        if text:
            notes.setdefault(text, []).append(place)

    for target in record.bound_targets:
        known, chosen = record.affinities(target), record.affinity(target)
        for affinity in known:
            name = f"{'*' if affinity is chosen else ' '} {affinity.quantity} at {target}"
            name += ", default" if affinity.default and len(known) > 1 else ""
            rows.append([name, number(affinity.nM), "nM", affinity.status, affinity.key])
            remark(_conditions(affinity), f"{target}, {affinity.key}")
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
    others = dict.fromkeys(
        affinity.key for affinity in record.all_affinities if affinity not in used
    )
    legend = "; ".join(["* in use", *(f"or {record.name}@{key}" for key in others)])
    keys = record.source_keys(everything=True)
    # A note may speak of a paper that no number is taken from.
    mentioned = [key for key in record.citations if any(key in note for note in notes)]
    return "\n".join(
        [
            f"{record.full_name} ({record.kind})",
            text_table(["", "value", "unit", "status", "source"], rows),
            textwrap.fill(legend, WIDTH, break_on_hyphens=False),
            "",
            *paragraphs(("; ".join(places), note) for note, places in notes.items()),
            "",
            *paragraphs(
                (key, citation(record.citations[key]))
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
    how = "; ".join(text for text in (affinity.assay, affinity.species) if text != "not stated")
    return ". ".join(filter(None, [how, affinity.note]))


def citation(source: Source) -> str:
    """A source with where it was read and what to beware of."""
    via = f" (read in {source.via})" if source.via else ""
    return ". ".join(filter(None, [f"{source}{via}", source.note]))


def paragraphs(entries: Iterable[tuple[str, str]]) -> list[str]:
    """``name: text`` paragraphs, wrapped."""
    return [
        textwrap.fill(f"{name}: {text}", WIDTH, subsequent_indent="    ", break_on_hyphens=False)
        for name, text in entries
    ]
