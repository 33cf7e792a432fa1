"""An agent-based serotonin synapse, checked against exact theory.

``from synapse_abm import Scenario, SynapseModel, Simulation, pharmacology, statistics, theory``

Names are imported when they are first used (PEP 562): importing the package loads nothing heavy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from synapse_abm import pharmacology, statistics, theory
    from synapse_abm.agents.model import SynapseModel
    from synapse_abm.agents.views import Drug, Norepinephrine, Receptor, Serotonin, Transporter
    from synapse_abm.engine.simulation import Simulation
    from synapse_abm.neuron.course import Course
    from synapse_abm.neuron.model import NeuronModel
    from synapse_abm.neuron.spatial import PlaceGrid
    from synapse_abm.neuron.treatment import Treatment, constant, ramp, stopped
    from synapse_abm.neuron.views import Neuron
    from synapse_abm.scenario.definition import Scenario
    from synapse_abm.scenario.file import read_scenario

__version__ = "0.1.0"

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
_HOMES = dict.fromkeys(_AGENTS, "synapse_abm.agents.views") | {
    **dict.fromkeys(_TREATMENT, "synapse_abm.neuron.treatment"),
    "Course": "synapse_abm.neuron.course",
    "Neuron": "synapse_abm.neuron.views",
    "NeuronModel": "synapse_abm.neuron.model",
    "PlaceGrid": "synapse_abm.neuron.spatial",
    "Scenario": "synapse_abm.scenario.definition",
    "Simulation": "synapse_abm.engine.simulation",
    "SynapseModel": "synapse_abm.agents.model",
    "read_scenario": "synapse_abm.scenario.file",
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
