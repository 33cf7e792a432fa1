"""What is simulated: the description of a place, its sites, ligands and step, and all that can be
said of it before it runs.
"""

from synapse_abm.pharmacology.kinetics import Kinetics
from synapse_abm.synapse.scenario.definition import AUTO, Scenario
from synapse_abm.synapse.scenario.drugs import to_scenario_ligand
from synapse_abm.synapse.scenario.parts import Batch, Grid, Ligand, Reservoir, RunSettings, Target

__all__ = [
    "AUTO",
    "Batch",
    "Grid",
    "Kinetics",
    "Ligand",
    "Reservoir",
    "RunSettings",
    "Scenario",
    "Target",
    "to_scenario_ligand",
]
