"""The engine with another generator: equally spaced numbers at the addresses that are audited."""

from __future__ import annotations

from types import ModuleType

import numpy as np
from scipy import linalg

from synapse_abm.core.rng import Stream
from synapse_abm.synapse.engine.planting import plant
from synapse_abm.synapse.engine.simulation import Simulation
from synapse_abm.synapse.scenario import Grid, Ligand, Scenario

# A seed says what is audited. Low word: number of strata, n. High word: bits 0-3 the stream, bits
# 4-7 the draw k that is stratified (clocks and arrivals), bits 8-23 draws that come close to 1 (a
# wait of nothing), 24-26 the kind. All other draws of the stream come close to 0 (no event for
# long). A molecule's word is stratified along x, and along y with the carry.
ORIGINAL = "@compiled\ndef philox("
STRATIFIED = """@compiled
def stratum(i, n):
    return u64((float(i) + 0.5) / float(n) * 2.0**32)


@compiled
def draw_under_audit(k, i, k0, k1):
    if k == int(k1 >> u32(4)) & 15:
        high = stratum(i, k0)
    elif (int(k1 >> u32(8)) >> k) & 1:
        high = u64(0xFFFFFFFF)
    else:
        high = u64(0)
    return u32(high)


@compiled
def philox(c0, c1, c2, c3, k0, k1):
    stream = c3 & u32(15)
    if stream != k1 & u32(15):
        return honest_philox(c0, c1, c2, c3, k0, k1)
    if stream == HOP_STREAM or stream == LEAVE_STREAM:
        i, n = 2 * int(c0), int(k0)
        a, b = u32(stratum(i % n, n)), u32(stratum(i // n, n))
        c, d = u32(stratum((i + 1) % n, n)), u32(stratum((i + 1) // n, n))
        if stream == LEAVE_STREAM:
            return b, a, d, c
        return a, b, c, d
    i = int(c0) if stream == REACT_STREAM else int(c2)
    half = u32(0x80000000)
    first = draw_under_audit(2 * int(c1), i, k0, k1)
    second = draw_under_audit(2 * int(c1) + 1, i, k0, k1)
    return half, first, half, second


@compiled
def honest_philox("""


def audited(*further: tuple[str, str], interpreted: bool = False) -> ModuleType:
    """The engine with the generator replaced, and with bugs if any."""
    return plant(ORIGINAL, STRATIFIED, *further, interpreted=interpreted)


def seed(stream: Stream, n: int, stratified: int = 15, at_once: tuple[int, ...] = ()) -> int:
    """The seed that asks for an audit; see above."""
    return n | (stream | stratified << 4 | sum(1 << k for k in at_once) << 8) << 32


def simulation(scenario: Scenario, number: int, engine: ModuleType) -> Simulation:
    return Simulation(scenario, number, kernels=engine)


def walk(cells: int, hops: float, walls: str) -> np.ndarray:
    """exp(Q dt) of a walk on a row of cells, written apart from the engine."""
    q = np.zeros((cells, cells))
    for i in range(cells):
        for j in (i - 1, i + 1):
            if walls == "periodic" or 0 <= j < cells:
                q[i, j % cells] += hops
    return np.asarray(linalg.expm(q - np.diag(q.sum(axis=1))))


def hopped(
    start: tuple[int, int], walls: str, side: int, molecules: int, engine: ModuleType
) -> np.ndarray:
    """Where ``molecules`` that start together are after one step, shape (5, 7), as shares."""
    tracer = Ligand(count=molecules, start_cell=start, diffusion_um2_per_s=0.008)
    grid = Grid(width=7, height=5, walls=walls)  # type: ignore[arg-type]
    scenario = Scenario(grid=grid, dt_s=1.0, ligands={"tracer": tracer})
    found = simulation(scenario, seed(Stream.HOP, side), engine)
    found.run(1)
    cells = found.state.cells_of(found.state.all_rows())
    return np.bincount(cells, minlength=35).reshape(5, 7) / molecules


#: An alias table of 16 slots has at most 32 intervals, a folded one of 2 x 7 offsets no more.
INTERVALS = 32
