"""Case K2: binding equilibrium on a closed grid, which must not depend on how molecules move.

The equilibrium is exact at any step, so the step is the one that forgets most for its price. Many
copies of the system share the grid; they do not meet, and their scatter gives the error.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial

import numpy as np

from synapse_abm.synapse.engine.simulation import Series
from synapse_abm.synapse.scenario import Ligand, Scenario, Target
from synapse_abm.validation.cases import Array, Case
from synapse_abm.validation.geometry import memory_steps, place_of
from synapse_abm.validation.samples import APART, BURN_IN, Panel
from synapse_abm.validation.scenarios import per_pair, side_by_side
from synapse_abm.validation.trials import DECIDING, Claims, Parts, trial

COPIES = 64
#: Relaxation times up to the first look, for one site; more sites need fewer.
FIRST, LEAST_FIRST = 90, 10
#: Steps to choose from, in units of 1 / k_off.
STEPS = (1.0, 0.1, 0.01, 0.001)


def closed_grid(case: Case) -> Parts:
    """Case K2: sites in given cells of a grid with walls that reflect or wrap."""
    scenario = _scenario(case)
    sites = scenario.targets["T"].n_sites
    claims = Claims(case)
    claims.sites(sites, bound=())
    # A long step is cheap by the second and forgets more, up to where all is forgotten within one;
    # which is best depends on diffusion.
    scenario = min((_with_step(scenario, part) for part in STEPS), key=_price)
    every, first = math.ceil(memory_steps(scenario)), max(LEAST_FIRST, FIRST // sites)
    observe = partial(
        Panel, side_by_side(scenario, COPIES), copies=COPIES, apart=APART,
        read=_bound, every=every, burn_in=BURN_IN * every,
    )  # fmt: skip
    # Burn-in and all, spread over the observations.
    per_observation = _price(scenario) * (1 + BURN_IN / (DECIDING * first))
    return trial(case, claims.all, first, observe, per_observation)


def _scenario(case: Case) -> Scenario:
    place = place_of(case)
    grid, cells = place.grid, [place.xy(cell) for cell in case.cells("receptors", place.shape)]
    leaving = case.rate("koff")
    ligand = Ligand(
        count=_molecules(case, len(cells)),
        diffusion_um2_per_s=case.rate("D"),
        binding={"T": per_pair(case.rate("k_bind_in_cell"), leaving, grid=grid)},
    )
    case.stop_if_faulty()  # the cells may be outside the grid
    receptors = Target(kind="receptor", cells=tuple(cells))
    return Scenario(grid=grid, targets={"T": receptors}, ligands={"L": ligand}, dt_s=1 / leaving)


def _with_step(scenario: Scenario, part: float) -> Scenario:
    return scenario.model_copy(update={"dt_s": part * scenario.dt_s})


def _price(scenario: Scenario) -> float:
    """Events of all copies within a relaxation time, and what takes as long."""
    sites, ligand = scenario.targets["T"].n_sites, scenario.ligands["L"]
    events = 5 * min(sites, ligand.count) * ligand.binding["T"].koff * scenario.dt_s
    return memory_steps(scenario) * (COPIES * (events + 0.2 * ligand.count) + 50)


def _molecules(case: Case, sites: int) -> int:
    """Number of molecules; without one, as many as the law in the file can have bound."""
    law = case.exact.get("pmf_bound")
    most = len(law) - 1 if isinstance(law, list) and len(law) > 1 else sites
    return case.count("L", 1, default=most)


def _bound(series: Series, _: Series) -> Mapping[str, Array]:
    """Sites that hold a molecule, shape (observations, copies)."""
    # Ligand i binds target i only, so this is copy i.
    counts = [series.bound(f"T{i}", f"L{i}") for i in range(COPIES)]
    return {"bound": np.array(counts, dtype=np.float64).T}
