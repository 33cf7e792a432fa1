"""Drugs, transmitters and what they bind to, as data: every number with unit, source and status.

``ligand("venlafaxine")`` knows its affinities at the transporters and receptors, its rate
constants, efficacies and diffusion coefficient. Where sources disagree all are kept; one is the
default, and ``ligand("venlafaxine@Bymaster2001")`` chooses another. ``load_ligands("mine.toml")``
adds your own.

=============  ==================================================================================
status         meaning
=============  ==================================================================================
`published`    read in the source named (often an abstract or one table: the source says which)
`derived`      arithmetic on other numbers, or by definition; the note says which, and if one of
               them is assumed
`assumed`      chosen here, or commonly quoted without a source that was read
`calibrated`   tuned to a fact that the note names
=============  ==================================================================================

The numbers lie in ``pharmacology/data/*.toml``, in the format of your own files. Concentrations are
nM, times s, lengths um. This is no guide for prescribing.
"""

from synapse_abm.pharmacology.library import Library, library, ligand, ligand_names, load_ligands
from synapse_abm.pharmacology.ligand_record import LigandRecord
from synapse_abm.pharmacology.records import (
    Affinity,
    BindingRates,
    Source,
    Status,
    TargetRecord,
    Value,
)

__all__ = [
    "Affinity",
    "BindingRates",
    "Library",
    "LigandRecord",
    "Source",
    "Status",
    "TargetRecord",
    "Value",
    "library",
    "ligand",
    "ligand_names",
    "load_ligands",
]
