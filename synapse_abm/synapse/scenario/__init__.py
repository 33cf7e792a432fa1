"""What is simulated: the description of a place, its sites, ligands and step, and all that can be
said of it before it runs.
"""

from synapse_abm.pharmacology.kinetics import Kinetics
from synapse_abm.synapse.scenario.definition import AUTO, Scenario
from synapse_abm.synapse.scenario.drugs import to_scenario_ligand
from synapse_abm.synapse.scenario.parts import (
    At,
    Batch,
    Grid,
    Ligand,
    Reservoir,
    RunSettings,
    Start,
    Target,
)

__all__ = [
    "AUTO",
    "At",
    "Batch",
    "Grid",
    "Kinetics",
    "Ligand",
    "Reservoir",
    "RunSettings",
    "Scenario",
    "Start",
    "Target",
    "to_scenario_ligand",
]
