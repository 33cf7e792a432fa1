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
    "Course", "Drug", "Neuron", "NeuronModel", "Norepinephrine", "PlaceGrid", "Receptor",
    "Scenario", "Serotonin", "Simulation", "SynapseModel", "Transporter", "Treatment",
    "__version__", "constant", "pharmacology", "ramp", "read_scenario", "statistics", "stopped",
    "theory",
]  # fmt: skip

_MODULES = ("pharmacology", "statistics", "theory")
# Type checkers read the imports above; at run time this says the same.
_NAMES = {
    "synapse.scenario.definition": "Scenario",
    "synapse.scenario.file": "read_scenario",
    "synapse.engine.simulation": "Simulation",
    "synapse.agents.model": "SynapseModel",
    "synapse.agents.agents": "Drug Norepinephrine Receptor Serotonin Transporter",
    "neuron.agents.agents": "Neuron",
    "neuron.agents.model": "NeuronModel",
    "neuron.engine.simulation_grid": "PlaceGrid",
    "treatment.course": "Course",
    "treatment.treatment": "Treatment constant ramp stopped",
}
_HOMES = {name: home for home, names in _NAMES.items() for name in names.split()}
__all__ = ["__version__", *_MODULES, *_HOMES]


def __getattr__(name: str) -> object:
    """Import ``name`` on first use."""
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name in _HOMES:
        value: object = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value  # so that this function is not asked again
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
