"""How fine cells may be: the search on a lattice, the slab it stands for, and the warnings."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import k0

import synapse_abm
from synapse_abm.synapse.scenario import Grid, Kinetics, Ligand, Scenario, Target
from synapse_abm.synapse.scenario.file import read_scenario
from synapse_abm.synapse.scenario.mesh import (
    DISC,
    FACE,
    LARGEST,
    LATTICE,
    capture,
    finest_um,
    mesh_warnings,
    slowing,
)
from synapse_abm.theory.stepping import MoleculeFlow, Sink

READY_MADE = sorted((Path(synapse_abm.__file__).parent / "scenarios").glob("*.toml"))


def place(
    spacing_um: float, kon: float = 0.01, sites: int = 9, cells: int = 32, **more: Any
) -> Scenario:
    ligand = {
        "count": 5,
        "diffusion_um2_per_s": 0.5,
        "binding": {"T": Kinetics(kon_per_nM_s=kon, koff_per_s=1.0)},
    }
    depth = more.pop("depth_um", 0.2)
    return Scenario(
        grid=Grid(width=cells, height=cells, spacing_um=spacing_um, depth_um=depth),
        targets={"T": Target(sites=sites)},
        ligands={"L": Ligand(**(ligand | more))},
    )


def time_to_bind(cells: int, spacing_um: float, k_um2_per_s: float, diffusion: float) -> float:
    """Exact mean time (s) from anywhere on a torus to one site, k_c = k / h^2."""
    hop, n = diffusion / spacing_um**2, cells * cells
    flow = MoleculeFlow(
        width=cells, height=cells, hop=hop, walls="periodic", source=np.full(n, 1 / n),
        sinks=(Sink(0, k_um2_per_s / spacing_um**2, 0.0, 1e9),),
    )  # fmt: skip
    return float(flow.steady().free.sum())


@pytest.mark.parametrize("cells", [8, 16, 24])
def test_the_search_on_a_lattice(cells: int) -> None:
    """M / k_c + (M / 4 q)(ln M / pi + 0.1951), against the exact chain: within 0.2 %."""
    n = cells * cells
    search = time_to_bind(cells, 1.0, 1.0, 1.0) - n
    assert search == pytest.approx(n / 4 * (math.log(n) / math.pi + LATTICE), rel=2e-3)


def test_finer_cells_bind_later_by_what_is_said() -> None:
    """The same place in 8 x 8 and in 32 x 32 cells: the difference is k_on/(2 pi D d) ln 4."""
    k_um2_per_s, diffusion, side = 2.0, 0.5, 1.6
    times = [time_to_bind(n, side / n, k_um2_per_s, diffusion) for n in (8, 32)]
    longer = (times[1] - times[0]) / (side**2 / k_um2_per_s)
    assert longer == pytest.approx(k_um2_per_s / (2 * math.pi * diffusion) * math.log(4), rel=2e-3)
    kon = k_um2_per_s * 0.2 * 0.602214076
    said = [slowing(place(side / n, kon, cells=n), "L", "T") for n in (8, 32)]
    assert said[1] - said[0] == pytest.approx(longer, rel=2e-3)


def test_the_disc_that_stands_for_a_site_in_a_slab() -> None:
    """Site on one face, images at 2 n d: (1/r + ln 2.25 d/r ...) from the sum of K0; within 1e-3.

    The field of a point source in a slab is (-ln r + 2 sum K0(n pi r / d)) / (2 pi D d); near the
    source it is d/r + const, where the first part is what k_on in bulk contains already.
    """
    r, n = 0.02, np.arange(1, 100_000)
    left = -math.log(r) + 2 * k0(np.pi * n * r).sum() - 1 / r
    assert left == pytest.approx(-math.log(FACE), abs=1e-3)


def test_a_lattice_is_a_disc_of_a_fifth_of_its_spacing() -> None:
    """5.1 reaction radii: the finest mesh in the plane (Hellander et al. 2012)."""
    assert pytest.approx(5.1, abs=0.005) == DISC


@pytest.mark.parametrize("part", [0.05, LARGEST, 1.0])
def test_the_finest_spacing_adds_what_it_may(part: float) -> None:
    kon = 0.2
    found = place(finest_um(place(0.1, kon), "L", "T", part), kon)
    assert slowing(found, "L", "T") == pytest.approx(part, rel=1e-9)


def test_too_fine_a_mesh_warns_with_numbers() -> None:
    (said,) = mesh_warnings(place(0.02, 0.05))
    part, least = slowing(place(0.02, 0.05), "L", "T"), finest_um(place(0.02, 0.05), "L", "T")
    assert LARGEST < part < 1
    assert f"take {100 * part:.2g} % longer" in said
    assert f"a spacing from {least:.2g} um on" in said or "no spacing in a place" in said
    assert said in str(place(0.02, 0.05)).replace("! ", "")


def test_beyond_the_finest_mesh_no_rate_is_right() -> None:
    found = place(0.02, 0.5)
    (said,) = mesh_warnings(found)
    assert slowing(found, "L", "T") > 1
    assert f"below {finest_um(found, 'L', 'T', 1.0):.2g} um no rate in the cell is right" in said


def test_cells_smaller_than_molecules_warn() -> None:
    assert "too narrow" in mesh_warnings(place(0.004, 1e-6))[0]
    assert not mesh_warnings(place(0.006, 1e-6))


def test_too_wide_a_mesh_warns_with_the_widest() -> None:
    """Forty sites a cell: they bind faster than molecules leave; the spacing named would do."""
    found = place(10.0, 0.02, sites=40 * 32 * 32, depth_um=1.0)
    (said,) = mesh_warnings(found)
    crowd = capture(found, "L", "T")
    widest = 10.0 * math.sqrt(LARGEST / crowd)
    assert "mesh too wide" in said
    assert f"up to {widest:.2g} um" in said
    per_area = 40 / 10.0**2
    assert per_area * widest**2 * crowd / 40 == pytest.approx(LARGEST, rel=1e-9)


@pytest.mark.parametrize("path", READY_MADE, ids=lambda path: path.stem)
def test_ready_made_scenarios_have_a_mesh_that_does(path: Path) -> None:
    """All but the one in which diffusion is two thousand times too slow on purpose."""
    assert bool(mesh_warnings(read_scenario(path))) == (path.stem == "slow_mixing")


@pytest.mark.parametrize(
    "free",
    [
        place(0.01, 5.0, count=0, clamped_nM=3.0), place(0.01, 5.0, diffusion_um2_per_s=0.0),
        place(0.01, 5.0, cells=1), place(0.01, 5.0, sites=0),
    ],
    ids=["clamped", "nothing moves", "one cell", "no sites"],
)  # fmt: skip
def test_where_nothing_is_searched_for_no_mesh_is_too_fine(free: Scenario) -> None:
    assert slowing(free, "L", "T") == 0
    assert not mesh_warnings(free)
