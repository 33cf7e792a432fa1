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
    from synapse_abm.neuron.model import NeuronModel
    from synapse_abm.neuron.treatment import Treatment
    from synapse_abm.neuron.views import Neuron
    from synapse_abm.scenario.definition import Scenario
    from synapse_abm.scenario.file import read_scenario

__version__ = "0.1.0"

__all__ = [
    "Drug",
    "Neuron",
    "NeuronModel",
    "Norepinephrine",
    "Receptor",
    "Scenario",
    "Serotonin",
    "Simulation",
    "SynapseModel",
    "Transporter",
    "Treatment",
    "__version__",
    "pharmacology",
    "read_scenario",
    "statistics",
    "theory",
]

_MODULES = ("pharmacology", "statistics", "theory")
_AGENTS = ("Drug", "Norepinephrine", "Receptor", "Serotonin", "Transporter")
_HOMES = dict.fromkeys(_AGENTS, "synapse_abm.agents.views") | {
    "Neuron": "synapse_abm.neuron.views",
    "NeuronModel": "synapse_abm.neuron.model",
    "Scenario": "synapse_abm.scenario.definition",
    "Simulation": "synapse_abm.engine.simulation",
    "SynapseModel": "synapse_abm.agents.model",
    "Treatment": "synapse_abm.neuron.treatment",
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
