"""Kernel audit: one draw at a time is replaced by stratified uniforms (i + 1/2) / n.

The generator is a pure function of its address, so the engine can be compiled with another one: at
the addresses under audit it returns the i-th of n equally spaced numbers, with i the molecule, the
cell or the step. What the engine makes of a draw is then a count of points in intervals: each
interval is right within one point, so frequencies match the law within (number of intervals) / n,
without chance. Everything else runs as always: tables, quick tests, buffers, lists.
"""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np
import pytest
from strata import INTERVALS, audited, hopped, seed, simulation, walk

from synapse_abm.core.rng import Stream
from synapse_abm.synapse.engine import layout as lay
from synapse_abm.synapse.engine import network
from synapse_abm.synapse.scenario import Grid, Kinetics, Ligand, Reservoir, Scenario, Target


@pytest.fixture(scope="module")
def engine() -> ModuleType:
    return audited()


# --- hop ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("walls", ["reflecting", "periodic"])
@pytest.mark.parametrize("start", [(0, 0), (3, 2), (6, 1)])
def test_hops_along_an_axis_follow_the_heat_kernel(
    start: tuple[int, int], walls: str, engine: ModuleType
) -> None:
    """A million words, equally spaced along x; 0.8 hops expected in each direction."""
    n = 1_000_000
    found = hopped(start, walls, n, n, engine).sum(axis=0)
    assert np.abs(found - walk(7, 0.8, walls)[start[0]]).max() <= INTERVALS / n


@pytest.mark.parametrize("walls", ["reflecting", "periodic"])
def test_axes_are_independent(walls: str, engine: ModuleType) -> None:
    """A lattice of 1000 x 1000 words: the joint law is the product of both, within both errors."""
    side = 1000
    found = hopped((1, 3), walls, side, side * side, engine)
    law = np.outer(walk(5, 0.8, walls)[3], walk(7, 0.8, walls)[1])
    assert np.abs(found - law).max() <= 2 * INTERVALS / side * law.max()
    assert np.abs(found.sum(axis=1) - walk(5, 0.8, walls)[3]).max() <= INTERVALS / side


# --- the clock of a cell --------------------------------------------------------------------------

SIDE = 320  # cells along each side, each a place of its own
N = SIDE * SIDE


def clamped(koff: float, kcat: float = 0.0, **kon: float) -> Kinetics:
    return Kinetics(kon_per_nM_s=kon.get("kon", 1.0), koff_per_s=koff, kcat_per_s=kcat)


def waiting(dt_s: float, side: int, engine: ModuleType) -> float:
    """Share of cells in which a site was bound within dt, at rate 1.7 /s; none lets go."""
    scenario = Scenario(
        grid=Grid(width=side, height=side), dt_s=dt_s, targets={"T": Target(sites=side * side)},
        ligands={"L": Ligand(clamped_nM=1.7, binding={"T": clamped(0.0)})},
    )  # fmt: skip
    found = simulation(scenario, seed(Stream.REACT, side * side, stratified=0), engine)
    return float(found.run(1, 1).bound("T", "L")[0]) / (side * side)


@pytest.mark.parametrize("dt_s", [1e-4, 0.03, 0.4, 1.0, 5.0])
def test_the_first_waiting_time_is_exponential(dt_s: float, engine: ModuleType) -> None:
    """Its distribution function at five times; one threshold, so one point of 102400."""
    assert abs(waiting(dt_s, SIDE, engine) + math.expm1(-1.7 * dt_s)) <= 1 / N


def chosen(side: int, engine: ModuleType) -> tuple[np.ndarray, np.ndarray]:
    """Shares of cells by event and member after exactly one event in each, and their law.

    In each cell: two sites S, the second held by a clamped ligand A that is let go or carried; an
    empty site R; two free molecules M, which bind both, leave or are destroyed.
    """
    n = side * side
    every = [(x, y) for y in range(side) for x in range(side)]
    scenario = Scenario(
        grid=Grid(width=side, height=side), dt_s=1e-3,
        targets={
            "S": Target(cells=tuple(cell for cell in every for _ in "12")),
            "R": Target(cells=tuple(every)),
        },
        ligands={
            "A": Ligand(clamped_nM=2.0, binding={"S": clamped(0.7, 1.1, kon=0.65)}),
            "M": Ligand(
                count=2 * n, reservoir=Reservoir(concentration_nM=0, exchange_per_s=0.4),
                degradation_per_s=0.15,
                binding={"S": clamped(0.0, kon=0.003), "R": clamped(0.0, kon=0.005)},
            ),
        },
    )  # fmt: skip
    found = simulation(scenario, seed(Stream.REACT, n, stratified=1, at_once=(0,)), engine)
    store = found.state.store
    store.sites[lay.LIGAND, 1 : 2 * n : 2] = 0
    store.totals[:5] = n, 0, 0, n, n  # A at S, M at S, M at R, empty S, empty R
    store.molecules[lay.CELL, : 2 * n] = np.arange(2 * n) // 2
    start = int(store.segments[1, lay.START])
    store.molecules[lay.CELL, start : start + 2 * n] = np.arange(2 * n) // 2
    found.run(1)
    store, cell = found.state.store, np.arange(n)
    first, second = store.sites[lay.LIGAND, : 2 * n : 2], store.sites[lay.LIGAND, 1 : 2 * n : 2]
    where = store.molecules[lay.COMPARTMENT, start : start + 2 * n].reshape(n, 2)
    site = store.molecules[lay.SITE, start : start + 2 * n].reshape(n, 2)
    seats_r = np.where(site == lay.NO_SITE, 0, site >= 2 * n)
    bound = where == lay.BOUND
    events = store.events
    counts = [
        (second < 0).sum(),  # let go or carried
        (first == 0).sum(),
        (bound & (seats_r == 0))[:, 0].sum(), (bound & (seats_r == 0))[:, 1].sum(),
        (bound & (seats_r == 1))[:, 0].sum(), (bound & (seats_r == 1))[:, 1].sum(),
        (where == lay.GONE)[:, 0].sum(), (where == lay.GONE)[:, 1].sum(),
        *events[[found.names.counter(kind, 0) for kind in (lay.UNBIND, lay.TRANSPORT)]],
        *events[[found.names.counter(kind, 1) for kind in (lay.EXIT, lay.DEGRADE)]],
    ]  # fmt: skip
    assert cell.size == (first == 0).sum() + (second < 0).sum() + (where != lay.FREE).sum()
    per_nM = 0.00602214076
    s, r = 0.003 / per_nM, 0.005 / per_nM
    rates = [1.8, 1.3, s, s, r, r, 0.55, 0.55, 0.7, 1.1, 0.8, 0.3]
    total = 0.7 + 1.1 + 1.3 + 2 * (s + r) + 0.8 + 0.3
    return np.array(counts) / n, np.array(rates) / total


def test_events_and_members_are_chosen_by_their_rates(engine: ModuleType) -> None:
    """Seven channels, eleven members: at most two intervals for each number."""
    found, law = chosen(SIDE, engine)
    assert np.abs(found - law).max() <= 3 / N


# --- cells without sites --------------------------------------------------------------------------


def left(n: int, engine: ModuleType) -> tuple[float, float]:
    """Shares of molecules that exit and that are destroyed within 0.7 s, at 1.1 and 0.4 /s."""
    drug = Ligand(
        count=n,
        reservoir=Reservoir(concentration_nM=0.0, exchange_per_s=1.1),
        degradation_per_s=0.4,
    )
    scenario = Scenario(grid=Grid(width=4, height=4), dt_s=0.7, ligands={"drug": drug})
    run = simulation(scenario, seed(Stream.LEAVE, n), engine).run(1, 1)
    return run.count("exited", "drug")[0] / n, run.count("degraded", "drug")[0] / n


def test_exits_and_losses_in_cells_without_sites(engine: ModuleType) -> None:
    n = 1_000_000
    exits, lost = left(n, engine)
    gone = -math.expm1(-1.5 * 0.7)
    assert abs(exits - gone * 1.1 / 1.5) <= 1 / n
    assert abs(lost - gone * 0.4 / 1.5) <= 2 / n


def arrivals(steps: int, engine: ModuleType, *at: int, at_once: tuple[int, ...] = ()) -> np.ndarray:
    """Totals of arrived, exited and degraded, then free molecules by cell, after ``steps`` steps.

    One cell's worth of molecules comes at 0.9 /s for each of 12 cells, and goes at 40 + 10 /s.
    """
    copies = 0.9 / 40
    bath = Reservoir(concentration_nM=copies / 0.00602214076, exchange_per_s=40.0)
    drug = Ligand(reservoir=bath, degradation_per_s=10.0)
    scenario = Scenario(grid=Grid(width=4, height=3), dt_s=0.1, ligands={"drug": drug})
    number = seed(Stream.ARRIVE, steps, *at, at_once=at_once)
    found = simulation(scenario, number, engine)
    cells = np.zeros(12)
    if at == (2,):  # watch where they come, step by step
        for _ in range(steps):
            before = set(found.state.all_rows().tolist())
            found.run(1)
            rows = found.state.all_rows()
            newest = rows[found.state.store.molecules[lay.ID, rows].argmax()]
            assert before != set(rows.tolist())
            cells[found.state.store.molecules[lay.CELL, newest]] += 1
    else:
        found.run(steps)
    events = found.state.store.events
    kinds = (lay.ARRIVE, lay.EXIT, lay.DEGRADE)
    return np.array([*(events[found.names.counter(kind, 0)] for kind in kinds), *cells])


STAY = 12 * 0.9 * -math.expm1(-5.0) / 50
PASS = 12 * 0.9 * 0.1 - STAY


def test_the_gap_before_an_arrival_is_exponential(engine: ModuleType) -> None:
    """Draw 0 decides whether one comes to stay; with it next to 0, draw 1 whether one passes."""
    n = 100_000
    assert abs(arrivals(n, engine, 0)[0] / n + math.expm1(-STAY)) <= 1 / n
    assert abs(arrivals(n, engine, 1)[0] / n + math.expm1(-PASS)) <= 1 / n


def test_where_they_arrive_is_uniform(engine: ModuleType) -> None:
    """Draw 0 brings one, draw 1 no second, draw 2 says where: 12 intervals, one for each cell."""
    n = 3000
    cells = arrivals(n, engine, 2, at_once=(0,))[3:]
    assert np.abs(cells / n - 1 / 12).max() <= 2 / n


def test_those_who_pass_exit_or_are_lost_in_proportion(engine: ModuleType) -> None:
    """Nobody stays (draw 0), one passes (draws 1, 2), and draw 3 says which way it went."""
    n = 100_000
    came, exits, lost = arrivals(n, engine, 3, at_once=(1,))[:3]
    assert came == n
    assert abs(exits / n - 0.8) <= 1 / n
    assert abs(lost / n - 0.2) <= 1 / n


# --- small errors of the tables and rates ---------------------------------------------------------


def test_a_hop_rate_off_by_a_thousandth_is_found(
    engine: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest, n = network.hop_table, 1_000_000
    monkeypatch.setattr(network, "hop_table", lambda hops, ring: honest(1.001 * hops, ring))
    found = hopped((3, 2), "reflecting", n, n, engine).sum(axis=0)
    assert np.abs(found - walk(7, 0.8, "reflecting")[3]).max() > INTERVALS / n


def test_a_rate_off_by_a_thousandth_is_found(
    engine: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = network.channels
    monkeypatch.setattr(
        network, "channels", lambda s: [c._replace(rate=1.001 * c.rate) for c in honest(s)]
    )
    assert abs(waiting(0.4, SIDE, engine) + math.expm1(-1.7 * 0.4)) > 1 / N


# --- planted bugs ---------------------------------------------------------------------------------
# Run in plain Python on fewer points: what costs a million points a second costs two thousand.

FEW = 24  # cells along a side


def deviation(what: str, *bug: tuple[str, str]) -> float:
    """Largest deviation from the law in units of what the audit allows at this size."""
    engine = audited(*bug, interpreted=True)
    with np.errstate(over="ignore"):
        if what == "hop":
            n = 2000
            found = hopped((6, 2), "reflecting", n, n, engine).sum(axis=0)
            return float(np.abs(found - walk(7, 0.8, "reflecting")[6]).max() * n / INTERVALS)
        if what == "axes":
            found = hopped((1, 3), "reflecting", 45, 45 * 45, engine)
            law = np.outer(walk(5, 0.8, "reflecting")[3], walk(7, 0.8, "reflecting")[1])
            return float(np.abs(found - law).max() * 45 / (2 * INTERVALS * law.max()))
        if what == "wait":
            return abs(waiting(0.4, FEW, engine) + math.expm1(-1.7 * 0.4)) * FEW**2
        if what == "choice":
            found, law = chosen(FEW, engine)
            return float(np.abs(found - law).max() * FEW**2 / 3)
        exits, _ = left(2000, engine)
        return abs(exits + math.expm1(-1.5 * 0.7) * 1.1 / 1.5) * 2000


BUGS = {
    "a wall that reflects one cell too far out": (
        "hop",
        ("column = min(column, u32(ring_x - ONE - column))",
         "column = min(column, u32(ring_x - column))"),
    ),
    "both axes share a number": (
        "axes",
        ("direct_y[word >> HALF >> DIRECT_SHIFT]",
         "direct_y[(word & WORD) >> DIRECT_SHIFT]"),
    ),
    "waits 2 % too short": (
        "wait", ("scratch.wait[i] / total if", "scratch.wait[i] / (1.02 * total) if"),
    ),
    "1 - u for u, and a wait cut off": (
        "wait", ("scratch.wait[i] = exponential(", "scratch.wait[i] = 0.8 - 0.8 * ("),
    ),
    "the first member is never chosen": (
        "choice", ("min(int(rest / chem.rate[c]),", "min(1 + int(rest / chem.rate[c]),"),
    ),
    "too little is taken off a draw": (
        "choice", ("        rest -= a\n", "        rest -= a if c else 0.9 * a\n"),
    ),
    "exits and losses exchanged": (
        "leave",
        ("scratch.leaving_u[i] < chance * space.exchange[ligand, EXIT_SHARE]",
         "scratch.leaving_u[i] < chance * (1.0 - space.exchange[ligand, EXIT_SHARE])"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", ["hop", "axes", "wait", "choice", "leave"])
def test_the_engine_left_to_python_passes(what: str) -> None:
    """The control of the planted bugs, run the same way."""
    assert deviation(what) <= 1


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found(bug: str) -> None:
    what, change = BUGS[bug]
    assert deviation(what, change) > 1
