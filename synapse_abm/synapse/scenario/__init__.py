"""What is simulated: the description of a place, its sites, ligands and step, and all that can be
said of it before it runs.
"""

from synapse_abm.synapse.scenario.definition import (
    AUTO,
    Batch,
    Grid,
    Kinetics,
    Ligand,
    Reservoir,
    RunSettings,
    Scenario,
    Target,
)

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
]
