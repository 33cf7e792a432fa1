"""What is simulated to be timed.

Only products matter for speed (hops per step, events per step, molecules per cell), so rates are
round numbers and belong to no real drug. Density is the same at every size: one molecule a cell,
one site to ten molecules, at most one site a cell.
"""

from __future__ import annotations

import math

from synapse_abm.pharmacology.kinetics import Kinetics
from synapse_abm.synapse.scenario import Grid, Ligand, Scenario, Target

TARGET, LIGAND = "transporter", "drug"

DT_S = 1e-5
SPACING_UM = 0.1
HOP_SPREAD = 0.2  # D dt / h^2: a molecule leaves its cell in about every second step
MOLECULES_PER_SITE = 10


def half_bound(molecules: int, koff_dt: float) -> Scenario:
    """Molecules and sites on a square grid; at equilibrium half the sites are bound.

    ``koff_dt`` is the rate of unbinding times the step: events per bound site and step.
    """
    grid, sites = _grid(molecules), molecules // MOLECULES_PER_SITE
    # Half of the sites are bound when the free molecules are at Kd.
    kd_nM = (molecules - sites / 2) / grid.molecules_per_nM
    kinetics = Kinetics(kd_nM=kd_nM, koff_per_s=koff_dt / DT_S)
    return Scenario(
        name="half bound",
        grid=grid,
        targets={TARGET: Target(sites=sites)},
        ligands={LIGAND: _mobile(molecules, {TARGET: kinetics})},
        dt_s=DT_S,
    )


def hop_alone(molecules: int) -> Scenario:
    """The same molecules on the same grid, with nothing to bind to."""
    ligands = {LIGAND: _mobile(molecules, {})}
    return Scenario(name="hop alone", grid=_grid(molecules), ligands=ligands, dt_s=DT_S)


def one_cell(sites: int, koff_dt: float, *, clamped: bool) -> Scenario:
    """A well-mixed place at C = Kd, with molecules or at a fixed concentration without any."""
    grid = Grid.well_mixed(volume_um3=10.0)
    # Half of the sites bound leave two molecules a site less a half.
    free = 1.5 * sites
    kd_nM = free / grid.molecules_per_nM
    binding = {TARGET: Kinetics(kd_nM=kd_nM, koff_per_s=koff_dt / DT_S)}
    if clamped:
        ligand = Ligand(clamped_nM=kd_nM, binding=binding)
    else:
        ligand = Ligand(count=round(free + sites / 2), binding=binding)
    return Scenario(
        name="one cell",
        grid=grid,
        targets={TARGET: Target(sites=sites)},
        ligands={LIGAND: ligand},
        dt_s=DT_S,
    )


def molecules_of(scenario: Scenario) -> int:
    """Molecules in the place."""
    return sum(ligand.count for ligand in scenario.ligands.values())


def sites_of(scenario: Scenario) -> int:
    """Binding sites in the place."""
    return scenario.n_sites


def koff_dt_of(scenario: Scenario) -> float | None:
    """Events per bound site and step; None without binding."""
    binding = scenario.ligands[LIGAND].binding
    return round(binding[TARGET].koff * scenario.dt_s, 12) if binding else None


def _grid(molecules: int) -> Grid:
    # At least two cells a side: one cell would be well mixed, and nothing would hop.
    side = max(round(math.sqrt(molecules)), 2)
    return Grid(width=side, height=side, spacing_um=SPACING_UM, depth_um=1.0)


def _mobile(count: int, binding: dict[str, Kinetics]) -> Ligand:
    diffusion = HOP_SPREAD * SPACING_UM**2 / DT_S
    return Ligand(diffusion_um2_per_s=diffusion, count=count, binding=binding)
