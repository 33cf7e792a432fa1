"""Hopping: the table holds the exact lattice heat kernel, and molecules follow it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg, stats

from synapse_abm.statistics import normal_quantile
from synapse_abm.synapse.engine.heat import (
    alias_table,
    heat_kernel,
    hop_table,
    integer_weights,
    offset,
)
from synapse_abm.synapse.engine.layout import DIRECT_BITS, MIXED, X
from synapse_abm.synapse.engine.planting import plant
from synapse_abm.synapse.engine.simulation import Simulation
from synapse_abm.synapse.scenario import Grid, Ligand, Scenario

UNIT = 2.0**-32


def generator(cells: int, hop_rate: float, walls: str) -> np.ndarray:
    """Rates of the random walk on a row of cells, written independently of the engine."""
    q = np.zeros((cells, cells))
    for i in range(cells):
        for j in (i - 1, i + 1):
            if walls == "periodic":
                q[i, j % cells] += hop_rate
            elif 0 <= j < cells:
                q[i, j] += hop_rate
    return q - np.diag(q.sum(axis=1))


@pytest.mark.parametrize("ring", [2, 3, 4, 7, 64, 201])
@pytest.mark.parametrize("hops", [1e-7, 0.03, 1.0, 40.0, 1e5])
def test_weights_are_the_kernel_to_the_last_unit(ring: int, hops: float) -> None:
    exact = linalg.expm(generator(ring, hops, "periodic"))[0] if hops < 1e4 else None
    law = heat_kernel(hops, ring)
    if exact is not None:
        assert np.abs(law - exact).max() < 1e-13
    weights = integer_weights(law)
    assert int(weights.sum()) == 2**32
    assert np.array_equal(weights[1:], weights[1:][::-1])  # symmetric: the uniform law is kept
    assert np.abs(weights * UNIT - law).max() < 1.5 * UNIT + ring * UNIT / 2 * (ring < 4)
    assert np.abs(weights * UNIT - law).max() < 2**-31


@given(hops=st.floats(1e-9, 1e4), ring=st.integers(2, 300))
@settings(max_examples=60, deadline=None)
def test_the_alias_table_holds_exactly_the_weights(hops: float, ring: int) -> None:
    """Kernel audit without sampling: each slot's words are counted, none is left over."""
    weights = integer_weights(heat_kernel(hops, ring))
    table, shift = alias_table(weights)
    counted = np.zeros(1 << (32 - shift), dtype=np.int64)
    for entry in table.tolist():
        kept = entry >> 32
        counted[entry & 0xFFFF] += kept
        counted[entry >> 16 & 0xFFFF] += (1 << shift) - kept
    assert np.array_equal(counted[:ring], weights)
    assert counted[ring:].sum() == 0


@pytest.mark.parametrize(("hops", "ring"), [(0.001, 6), (0.7, 12), (2.0, 200), (50.0, 4000)])
def test_the_short_cut_is_the_table(hops: float, ring: int) -> None:
    """A range of words crosses a threshold at most once: its two ends and every draw agree."""
    table, shift, direct = hop_table(hops, ring)
    width = 1 << (32 - DIRECT_BITS)
    taken = 0
    for at, found in enumerate(direct.tolist()):
        ends = {offset(table, shift, at * width), offset(table, shift, (at + 1) * width - 1)}
        if found != MIXED:
            assert ends == {found}
            taken += 1
    assert taken > 0.5 * direct.size or shift < 32 - DIRECT_BITS + 4


def test_look_up_reads_the_table_as_it_was_counted() -> None:
    """Stratified words, n = 2**16: the frequencies match the weights within one word per
    interval.
    """
    weights = integer_weights(heat_kernel(0.7, 12))
    table, shift = alias_table(weights)
    n = 1 << 16
    words = [(i << 16) + (1 << 15) for i in range(n)]
    found = np.bincount([offset(table, shift, w) for w in words], minlength=12)
    intervals = 2 * table.size
    assert np.abs(found / n - weights * UNIT).max() <= intervals / n


def walkers(
    cells: int, hops: float, walls: str, start: int, n: int, **kernels: object
) -> np.ndarray:
    """Columns of ``n`` molecules after two steps from one cell."""
    spacing = 0.1
    scenario = Scenario(
        grid=Grid(width=cells, height=2, walls=walls),  # type: ignore[arg-type]
        dt_s=0.5,
        ligands={
            "tracer": Ligand(count=n, start_cell=(start, 0), diffusion_um2_per_s=hops * spacing**2)
        },
    )
    simulation = Simulation(scenario, 5, **kernels)  # type: ignore[arg-type]
    simulation.run(2)
    state = simulation.state
    return state.cells_of(state.all_rows()) % cells


@pytest.mark.parametrize("walls", ["reflecting", "periodic"])
def test_molecules_follow_the_master_equation(walls: str) -> None:
    """Two steps of 0.5 s equal exp(Q) from any cell: chi-square, false alarm 1e-6 over 6 tests.

    Wherever two expected counts differ by less than ten they are merged by the law's own support;
    all expected counts here are above 100, for which the chi-square tail is accurate.
    """
    cells, hops, n = 6, 0.8, 40_000
    law = linalg.expm(generator(cells, hops, walls))
    for start in (0, 2, 5):
        counts = np.bincount(walkers(cells, hops, walls, start, n), minlength=cells)
        assert stats.chisquare(counts, n * law[start]).pvalue > 1e-6 / 6


FOLD = "column = min(column, u32(ring_x - ONE - column))"


@pytest.mark.parametrize(
    "instead",
    ["column = u32(column % (ring_x >> ONE))", "column = min(column, u32((ring_x >> ONE) - ONE))"],
    ids=["periodic for reflecting walls", "walls that hold"],
)
def test_wrong_walls_are_caught(instead: str) -> None:
    """Few molecules, left to Python, show it; unharmed, the same few show nothing."""
    cells, hops, n = 6, 0.8, 2000
    law = linalg.expm(generator(cells, hops, "reflecting"))[0]
    for new, caught in ((FOLD, False), (instead, True)):
        kernels = plant(FOLD, new, interpreted=True)
        counts = np.bincount(
            walkers(cells, hops, "reflecting", 0, n, kernels=kernels), minlength=cells
        )
        assert bool(stats.chisquare(counts, n * law).pvalue < 1e-6 / 6) is caught


def test_mean_square_displacement_is_exact_at_any_step() -> None:
    """2 D t per axis far from walls, with the fourth moment 12 D^2 t^2 + 2 D h^2 t; 1e-6."""
    n, hops, steps = 30_000, 0.4, 3
    scenario = Scenario(
        grid=Grid(width=401, height=401, spacing_um=0.5),
        dt_s=1.0,
        ligands={"t": Ligand(count=n, start_cell=(200, 200), diffusion_um2_per_s=hops * 0.25)},
    )
    simulation = Simulation(scenario, 2)
    simulation.run(steps)
    state = simulation.state
    ring = state.store.molecules[X, state.all_rows()].astype(np.int64)
    x = (np.where(ring > 400, 801 - ring, ring) - 200) * 0.5
    d, t, h = hops * 0.25, float(steps), 0.5
    second, fourth = 2 * d * t, 12 * d**2 * t**2 + 2 * d * h**2 * t
    z = ((x**2).mean() - second) / np.sqrt((fourth - second**2) / n)
    assert abs(z) < normal_quantile(1e-6)
