"""From the pharmacology to a scenario: a ligand's constants as a part of the place."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from synapse_abm import pharmacology
from synapse_abm.core.errors import UnknownName
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
    """
    record = pharmacology.ligand(drug) if isinstance(drug, str) else drug
    targets = tuple(targets)
    for target in targets:
        if target not in record.targets:
            raise UnknownName("target", target, record.targets)
    fields: dict[str, Any] = {
        "role": record.name if record.name in ("serotonin", "norepinephrine") else "drug",
        "diffusion_um2_per_s": record.diffusion_um2_per_s,
        "binding": {t: record.kinetics(t) for t in targets if t in record.bound_targets},
    }
    return Ligand(**fields | supply)
