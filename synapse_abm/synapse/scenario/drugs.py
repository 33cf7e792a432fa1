"""From the pharmacology to a scenario: a ligand's constants as a part of the place."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from synapse_abm import pharmacology
from synapse_abm.core.arguments import choice
from synapse_abm.core.errors import InputError
from synapse_abm.pharmacology import LigandRecord
from synapse_abm.synapse.scenario.parts import Ligand


def to_scenario_ligand(drug: str | LigandRecord, targets: Iterable[str], **supply: Any) -> Ligand:
    """The ligand as a scenario takes it, binding to those of ``targets`` for which an affinity is
    known.

    Parameters
    ----------
    drug
        Its name, as :func:`synapse_abm.pharmacology.ligand` takes it, or its record.
    targets
        Names among the record's ``targets``; at one without an affinity it does not bind.
    supply
        Where the molecules come from: ``count``, ``clamped_nM``, ``reservoir``, ``batches``,
        ``return_per_s``, ... (see :class:`synapse_abm.synapse.scenario.Ligand`).

    Raises
    ------
    UnknownName
        If the ligand, its source or a target is unknown.
    InputError
        If ``drug`` or ``targets`` is something else.
    """
    record = drug if isinstance(drug, LigandRecord) else pharmacology.ligand(drug)
    if isinstance(targets, str) or not isinstance(targets, Iterable):
        raise InputError("targets", targets, "a list of names", 'use ["SERT"], say')
    # A target of another kind is an error; one of which no affinity is known is not bound.
    targets = [choice("target", target, record.targets) for target in targets]
    fields: dict[str, Any] = {
        "role": record.name if record.name in ("serotonin", "norepinephrine") else "drug",
        "diffusion_um2_per_s": record.diffusion_um2_per_s,
        "binding": {t: record.kinetics(t) for t in targets if t in record.bound_targets},
    }
    return Ligand(**fields | supply)
