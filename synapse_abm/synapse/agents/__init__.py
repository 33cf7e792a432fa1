"""The Mesa side: molecules and sites as agents, the model, and the step in plain Python."""

from synapse_abm.synapse.agents.agents import (
    Drug,
    Molecule,
    Norepinephrine,
    Receptor,
    Serotonin,
    Site,
    Transporter,
)
from synapse_abm.synapse.engine.layout import (
    BIND,
    DEGRADE,
    EXIT,
    METABOLISE,
    RETURN,
    TRANSPORT,
    UNBIND,
)

__all__ = [
    "BIND",
    "DEGRADE",
    "EXIT",
    "METABOLISE",
    "RETURN",
    "TRANSPORT",
    "UNBIND",
    "Drug",
    "Molecule",
    "Norepinephrine",
    "Receptor",
    "Serotonin",
    "Site",
    "Transporter",
]
