"""How fine and how wide cells may be, for binding to be as fast as its rate constant says.

A molecule that is in a site's cell binds at k_c = k_on / (cell volume). Around the site it is
searched for on the grid, and that takes time too: on M cells the mean time to bind from anywhere is

    M / k_c + (M h^2 / 4 D) (ln(M) / pi + 0.1951)

(Montroll & Weiss 1965, J Math Phys 6:167), as for a disc of radius h / 5.1 in the plane (Hellander,
Hellander & Petzold 2012, Phys Rev E 85:042901). In a real slab of depth d the search is
three-dimensional within about d of the site, and k_on, which is measured in bulk, contains it. For
a site on a face, with its images in both faces, what is left is the search for a disc of radius
4 exp(-gamma) d = 2.25 d. Cells narrower than 5.1 x 2.25 d = 11.4 d search in two dimensions what
nature searches in three, and lengthen the time to bind by

    x = k_on / (2 pi D d) ln(11.4 d / h)

of itself. That is little for most ligands (6e-5 for citalopram with the default cell), grows slowly
as cells shrink, and does not touch equilibrium, where both directions slow alike. From x = 1 on no
rate within the cell could make up for it.
"""

from __future__ import annotations

import math
from collections import Counter

from synapse_abm.synapse.scenario.parts import Description

EULER_GAMMA = 0.5772156649015329
#: Constant of the search on a square lattice, per cell and step (Montroll & Weiss 1965).
LATTICE = 0.1951
#: Spacing of a lattice that is searched like a disc of radius 1, 5.1 (Hellander et al. 2012).
DISC = math.sqrt(math.pi) * math.exp((3 + 2 * math.pi * LATTICE) / 4)
#: Radius of the disc that stands for a site on one face of a slab of depth 1: 2.25.
FACE = 4 * math.exp(-EULER_GAMMA)
#: Largest part of the time to bind that the mesh may add.
LARGEST = 0.1
#: A reaction radius, um: molecules and sites are no points below it (assumed).
REACTION_RADIUS_UM = 0.001


def slowing(scenario: Description, ligand: str, target: str) -> float:
    """Part of the time to bind, x above, that too fine a mesh adds; 0 where it adds none."""
    part, grid = _strength(scenario, ligand, target), scenario.grid
    return part * max(0.0, math.log(DISC * FACE * grid.depth_um / grid.spacing_um))


def finest_um(scenario: Description, ligand: str, target: str, part: float = LARGEST) -> float:
    """Spacing (um) at which the mesh adds ``part`` to the time to bind: cells no narrower.

    With ``part`` = 1, the finest mesh on which some rate within the cell would still be right.
    """
    strength = _strength(scenario, ligand, target)
    if strength == 0:
        return 0.0
    return DISC * FACE * scenario.grid.depth_um * math.exp(-part / strength)


def capture(scenario: Description, ligand: str, target: str) -> float:
    """Rate of binding in the fullest cell over the rate of leaving it, 4 D / h^2.

    Far below one the molecules of a cell are well mixed, which is what its rate takes for granted.
    """
    # k_c n over 4 D / h^2, with k_c = k_on / (h^2 d): the cell's area falls out.
    sites, cells = scenario.targets[target], scenario.grid.cells
    fullest = max(Counter(sites.cells or ()).values(), default=math.ceil(sites.n_sites / cells))
    return _strength(scenario, ligand, target) * math.pi / 2 * fullest


def _strength(scenario: Description, ligand: str, target: str) -> float:
    """k_on / (2 pi D d); 0 where nothing is searched for on a plane."""
    walker, grid = scenario.ligands[ligand], scenario.grid
    if walker.clamped_nM is not None or walker.diffusion_um2_per_s == 0:
        return 0.0
    # A row of cells is searched in one dimension, one cell not at all: the formula is of the plane.
    if min(grid.width, grid.height) == 1 or scenario.targets[target].n_sites == 0:
        return 0.0
    kon_um3_per_s = walker.binding[target].kon * grid.volume_um3 / grid.molecules_per_nM
    return kon_um3_per_s / (2 * math.pi * walker.diffusion_um2_per_s * grid.depth_um)


def mesh_warnings(scenario: Description) -> list[str]:
    """Where cells are too fine or too wide for binding."""
    said, grid = list[str](), scenario.grid
    smallest = DISC * REACTION_RADIUS_UM
    if grid.cells > 1 and grid.spacing_um < smallest:
        said.append(
            f"cells of {grid.spacing_um:.3g} um are too narrow: below {smallest:.2g} um (5.1 times "
            "a reaction radius of 1 nm, assumed) a site is not a point in a cell"
        )
    for name, ligand in scenario.ligands.items():
        for target in ligand.binding:
            said += _of_pair(scenario, name, target)
    return said


def _of_pair(scenario: Description, name: str, target: str) -> list[str]:
    said, grid, pair = list[str](), scenario.grid, f"{name} at {target}"
    slower = slowing(scenario, name, target)
    if slower > LARGEST:
        least = finest_um(scenario, name, target)
        side = min(grid.width, grid.height) * grid.spacing_um
        fix = (
            f"a spacing from {least:.2g} um on keeps that below {100 * LARGEST:.0f} %"
            if least <= side / 2
            else f"no spacing in a place {side:.2g} um wide does: diffusion is too slow for k_on"
        )
        finest = finest_um(scenario, name, target, 1.0)
        beyond = f"; below {finest:.2g} um no rate in the cell is right" if slower > 1 else ""
        said.append(
            f"mesh too fine for {pair}: cells of {grid.spacing_um:.3g} um make binding take "
            f"{100 * slower:.2g} % longer than k_on says; {fix}{beyond}. Equilibrium stays exact"
        )
    crowd = capture(scenario, name, target)
    shared = (
        scenario.targets[target].n_sites > grid.cells and scenario.targets[target].cells is None
    )
    if crowd > LARGEST and shared:
        widest = grid.spacing_um * math.sqrt(LARGEST / crowd)
        said.append(
            f"mesh too wide for {pair}: in a cell binding is {crowd:.2g} times as fast as leaving "
            f"it, so its molecules are not well mixed; a spacing up to {widest:.2g} um keeps that "
            f"below {LARGEST:g}"
        )
    return said
