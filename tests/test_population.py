"""The rate equations behind estimates of time and memory."""

from __future__ import annotations

import math

import pytest

from synapse_abm.core.fields import LARGEST
from synapse_abm.synapse.scenario import Grid, Kinetics, Ligand, Reservoir, Scenario, Target
from synapse_abm.synapse.scenario.cost import memory_bytes
from synapse_abm.synapse.scenario.population import population

GRID = Grid.well_mixed(41.0)


def scenario(ligand: Ligand, sites: int = 100) -> Scenario:
    return Scenario(
        grid=GRID, dt_s=0.1, targets={"SERT": Target(sites=sites)}, ligands={"x": ligand}
    )


def test_a_closed_place_keeps_its_molecules_and_binds_as_equilibrium_says() -> None:
    """Quadratic for the bound of N molecules and S sites; each bound one ends at k_off."""
    made = scenario(Ligand(count=150, binding={"SERT": Kinetics(kd_nM=1.0, koff_per_s=2.0)}))
    people = population(made, 1e4)
    half = GRID.molecules_per_nM + 150 + 100
    bound = (half - math.sqrt(half**2 - 4 * 150 * 100)) / 2
    assert people.present == pytest.approx(150, rel=1e-6)
    assert people.events_per_s == pytest.approx(2 * 2.0 * bound, rel=0.01)


def test_sites_that_a_reservoir_fills_count_though_few_molecules_are_free() -> None:
    reservoir = Reservoir(concentration_nM=0.01, exchange_per_s=100.0)
    tight = Kinetics(kd_nM=1e-4, koff_per_s=0.01)
    people = population(scenario(Ligand(reservoir=reservoir, binding={"SERT": tight}), 1000), 1e5)
    assert people.most == pytest.approx(990, rel=0.02)


def test_what_is_taken_up_and_stays_inside_takes_memory() -> None:
    reservoir = Reservoir(concentration_nM=1000.0, exchange_per_s=1000.0)
    uptake = Kinetics(kd_nM=1.0, koff_per_s=1.0, kcat_per_s=10.0)
    made = scenario(Ligand(reservoir=reservoir, binding={"SERT": uptake}))
    assert population(made, 1e4).most == pytest.approx(100 * 10 * 1e4, rel=0.05)
    assert memory_bytes(made, 1e4, 1) > memory_bytes(made, 1.0, 1) + 4e8


def test_no_rate_is_too_fast() -> None:
    fast = Kinetics(kon_per_nM_s=LARGEST, koff_per_s=LARGEST, kcat_per_s=LARGEST)
    rates = {"return_per_s": LARGEST, "metabolism_per_s": 1.0, "degradation_per_s": LARGEST}
    people = population(scenario(Ligand(count=10**6, binding={"SERT": fast}, **rates)), 1e10)  # type: ignore[arg-type]
    assert all(map(math.isfinite, (people.present, people.most, people.events_per_s)))
    assert people.present >= 0
