"""Whether what a scenario describes has an equilibrium that a run could start in."""

from __future__ import annotations

from synapse_abm.synapse.scenario.parts import Description, Ligand


def is_open(ligand: Ligand) -> bool:
    """Whether the surroundings determine the concentration of a ligand."""
    exchanged = ligand.reservoir is not None and ligand.reservoir.exchange_per_s > 0
    return ligand.clamped_nM is not None or exchanged


def no_equilibrium(scenario: Description) -> str:
    """Why a scenario has no equilibrium to start in, or nothing."""
    for name, ligand in scenario.ligands.items():
        for target, kinetics in ligand.binding.items():
            if kinetics.koff + kinetics.kcat_per_s == 0 and kinetics.kon > 0:
                return f"{name} never lets go of {target}"
        if ligand.clamped_nM is not None:
            continue
        if any(kinetics.kcat_per_s > 0 for kinetics in ligand.binding.values()):
            return f"{name} is transported"
        if ligand.batches or ligand.degradation_per_s > 0:
            return f"{name} is released or degraded"
        stuck = ligand.diffusion_um2_per_s == 0 and scenario.grid.cells > 1
        if stuck and ligand.binding and not is_open(ligand):
            return f"{name} does not diffuse"
    return ""
