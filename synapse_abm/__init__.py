"""An agent-based serotonin synapse, checked against exact theory.

``from synapse_abm import Scenario, SynapseModel, Simulation, pharmacology, statistics, theory``

Names are imported when they are first used (PEP 562): importing the package loads nothing heavy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from synapse_abm.core.version import __version__

if TYPE_CHECKING:
    from synapse_abm import pharmacology, statistics, theory
    from synapse_abm.neuron.agents.agents import Neuron
    from synapse_abm.neuron.agents.model import NeuronModel
    from synapse_abm.neuron.scenario import PlaceGrid
    from synapse_abm.synapse.agents.agents import (
        Drug,
        Norepinephrine,
        Receptor,
        Serotonin,
        Transporter,
    )
    from synapse_abm.synapse.agents.model import SynapseModel
    from synapse_abm.synapse.engine.simulation import Simulation
    from synapse_abm.synapse.scenario.definition import Scenario
    from synapse_abm.synapse.scenario.file import read_scenario
    from synapse_abm.treatment.course import Course
    from synapse_abm.treatment.treatment import Treatment, constant, ramp, stopped


__all__ = [
    "Course",
    "Drug",
    "Neuron",
    "NeuronModel",
    "Norepinephrine",
    "PlaceGrid",
    "Receptor",
    "Scenario",
    "Serotonin",
    "Simulation",
    "SynapseModel",
    "Transporter",
    "Treatment",
    "__version__",
    "constant",
    "pharmacology",
    "ramp",
    "read_scenario",
    "statistics",
    "stopped",
    "theory",
]

_MODULES = ("pharmacology", "statistics", "theory")
_AGENTS = ("Drug", "Norepinephrine", "Receptor", "Serotonin", "Transporter")
_TREATMENT = ("Treatment", "constant", "ramp", "stopped")
_HOMES = dict.fromkeys(_AGENTS, "synapse_abm.synapse.agents.agents") | {
    **dict.fromkeys(_TREATMENT, "synapse_abm.treatment.treatment"),
    "Course": "synapse_abm.treatment.course",
    "Neuron": "synapse_abm.neuron.agents.agents",
    "NeuronModel": "synapse_abm.neuron.agents.model",
    "PlaceGrid": "synapse_abm.neuron.engine.simulation_grid",
    "Scenario": "synapse_abm.synapse.scenario.definition",
    "Simulation": "synapse_abm.synapse.engine.simulation",
    "SynapseModel": "synapse_abm.synapse.agents.model",
    "read_scenario": "synapse_abm.synapse.scenario.file",
}


def __getattr__(name: str) -> object:
    """Import ``name`` on first use."""
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name in _HOMES:
        value: object = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
