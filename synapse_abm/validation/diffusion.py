"""Cases J1 to J4: molecules that only hop: how far, how fast a mode decays, how many per cell.

Hopping is exact at any step, so a run takes a few long steps, and starts are drawn directly.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import ModuleType

import numpy as np

from synapse_abm.core.address import Address
from synapse_abm.statistics import Estimate
from synapse_abm.synapse.engine import layout as lay
from synapse_abm.synapse.engine.simulation import Series, Simulation
from synapse_abm.synapse.engine.state import State
from synapse_abm.synapse.scenario import Grid, Ligand, Reservoir, Scenario
from synapse_abm.validation.cases import Array, Case, common_step
from synapse_abm.validation.geometry import THREE_DIMENSIONS, place_of, why_not
from synapse_abm.validation.passage import put_into
from synapse_abm.validation.quantities import RELATIVE, Number, covariance, fano, mean, variance
from synapse_abm.validation.samples import Replicates, Sample
from synapse_abm.validation.trials import DECIDING, Claims, Observe, Plan, Trial

#: Molecules of a run, and runs up to the first look.
WALKERS, FIRST = 4096, 12
#: Boxes of a run, and boxes up to the first look.
BOXES, FIRST_BOXES = 64, 2400
#: Relaxation times of hopping before cells are counted.
MIXING = 20.0


@dataclass(frozen=True, slots=True)
class _Walk:
    """Molecules that hop; each is an observation.

    Parameters
    ----------
    follow
        Runs the simulation on, and reads the columns.
    start
        Cells of the molecules at time zero.
    """

    scenario: Scenario
    start: Callable[[np.random.Generator], lay.I64]
    follow: Callable[[Simulation], Mapping[str, Array]]

    def observe(self, address: Address, kernels: ModuleType | None) -> Sample:
        """Runs from a fresh start, again and again."""

        def scatter(state: State, generator: np.random.Generator) -> None:
            put_into(state, self.start(generator), self.scenario.grid.width)

        return Replicates(
            self.scenario, address, kernels, steps=0, prepare=scatter,
            read=lambda simulation, _: self.follow(simulation),
        )  # fmt: skip


def _cells(simulation: Simulation) -> lay.I64:
    """Cell of each molecule, in the order of ids."""
    state = simulation.state
    cells: lay.I64 = state.store.molecules[lay.CELL, state.all_rows()].astype(np.int64)
    return cells


# --- J1 -------------------------------------------------------------------------------------------


def displacement(case: Case) -> Plan:
    """Case J1: mean square displacement and fourth moment along one axis, far from walls."""
    times, diffusion, h = case.times("params"), case.rate("D"), case.rate("h")
    squares = case.series("msd", times.size)
    fourths = case.series("fourth_moment_one_axis", times.size)
    if case.faults:
        return Plan()
    axes = _axes(case, times, squares, diffusion)
    if axes == 3:
        return Plan(left_out=[(case.id, THREE_DIMENSIONS)])
    step = common_step(times, most_steps=1000)
    if step is None:
        return Plan(left_out=[(case.id, "its times have no common step")])
    # Beyond 12 standard deviations and 40 hops lies less than 1e-12 of the walk.
    reach = math.ceil(12 * math.sqrt(2 * diffusion * float(times.max())) / h) + 40
    if 2 * reach + 1 > 32767:
        return Plan(left_out=[(case.id, "its molecules get further than the largest grid")])
    side = 2 * reach + 1
    grid = Grid(width=side, height=side if axes == 2 else 1, spacing_um=h, walls="periodic")
    walkers = Ligand(count=WALKERS, diffusion_um2_per_s=diffusion)
    middle = reach if axes == 1 else reach * side + reach

    def follow(simulation: Simulation) -> Mapping[str, Array]:
        columns, done = {}, 0
        for i, t in enumerate(times):
            due = round(t / step)
            if due < done:
                return {}
            simulation.run(due - done)
            done = due
            y, x = np.divmod(_cells(simulation), side)
            dx, dy = h * (x - reach), h * (y - (reach if axes == 2 else 0))
            columns[f"square@{i}"] = (dx**2 + dy**2).astype(np.float64)
            columns[f"fourth@{i}"] = (dx**4).astype(np.float64)
        return columns

    order = np.argsort(times, kind="stable")
    if (order != np.arange(times.size)).any():
        return Plan(left_out=[(case.id, "its times do not ascend")])
    quantities = _of_series(case, "msd", times, squares, "square")
    quantities += _of_series(case, "fourth_moment_one_axis", times, fourths, "fourth")
    if not quantities:
        return Plan()
    walk = _Walk(
        Scenario(grid=grid, ligands={"L": walkers}, dt_s=step),
        lambda _: np.full(WALKERS, middle), follow,
    )  # fmt: skip
    # The fourth moment of a walk of few hops has a heavy tail: take more of them.
    soonest = float(times[times > 0].min(initial=math.inf))
    rare = 1.0 if fourths is None else 3 * (1 + 0.1 * h**2 / (diffusion * soonest))
    first = WALKERS * math.ceil(FIRST * rare)
    cost = DECIDING * first * 0.3 * (times.size + float(times.max()) / step)
    return Plan([Trial(quantities, first, walk.observe, cost)])


def _axes(case: Case, times: Array, squares: Array | None, diffusion: float) -> int:
    """Dimensions: as the case says, or as its mean square displacement of 2 d D t tells."""
    for name in ("d", "dim", "dimensions"):
        if name in case.params:
            return case.count(name, 1)
    if squares is None or not (times > 0).any():
        return 2
    t = times[times > 0]
    ratio = float((squares[times > 0] / (2 * diffusion * t)).mean())
    return min(max(round(ratio), 1), 3)


def _of_series(
    case: Case, key: str, times: Array, exact: Array | None, column: str
) -> tuple[Number, ...]:
    if exact is None:
        return ()
    found = []
    for i, (t, e) in enumerate(zip(times, exact.tolist(), strict=True)):
        measure = mean(f"{column}@{i}")
        found.append(Number(case.id, f"{key}[t={t:g}]", e, RELATIVE * abs(e), measure))
    return tuple(found)


# --- J2 -------------------------------------------------------------------------------------------


def modes(case: Case) -> Plan:
    """Case J2: decay rates of the slowest modes, each from the autocorrelation over 1 / rate."""
    if why := why_not(case):
        return Plan(left_out=[(case.id, why)])
    place, diffusion = place_of(case), case.rate("D")
    found = Plan()
    if len(place.shape) == 2:
        return Plan(left_out=[(case.id, "modes of two dimensions: not run in this release")])
    cells, wraps = place.grid.cells, place.grid.walls == "periodic"
    for key in case.exact:
        named = re.fullmatch(r"lambda_(\d{1,4})", key)
        exact = case.number(key) if named else None
        if not named or exact is None or case.faults:
            continue
        k = int(named[1])
        wave = (2 if wraps else 1) * math.pi * k / cells
        rate = 2 * diffusion / place.grid.spacing_um**2 * (1 - math.cos(wave))
        if rate <= 0:
            continue
        found.add(_mode(case, key, exact, _shape(k, cells, wraps), rate, diffusion, place.grid))
    return found


def _shape(k: int, cells: int, wraps: bool) -> Array:
    """A mode, normalised to a mean square of one."""
    i = np.arange(cells)
    wave = np.cos(2 * np.pi * k * i / cells) if wraps else np.cos(np.pi * k * (i + 0.5) / cells)
    return np.asarray(wave / math.sqrt(float((wave**2).mean())))


def _mode(
    case: Case, key: str, exact: float, shape: Array, rate: float, diffusion: float, grid: Grid
) -> Plan:  # fmt: skip
    """The rate from how much of the mode is left after ``time``, four steps on."""
    steps, time = 4, 1 / rate
    walkers = Ligand(count=WALKERS, diffusion_um2_per_s=diffusion)
    scenario = Scenario(grid=grid, ligands={"L": walkers}, dt_s=time / steps)

    def follow(simulation: Simulation) -> Mapping[str, Array]:
        before = shape[_cells(simulation)]
        simulation.run(steps)
        return {"product": before * shape[_cells(simulation)]}

    def measure(sample: Sample) -> Estimate:
        found = sample.estimate(sample["product"])
        if found.value <= 0:
            return Estimate(0.0, math.inf)
        return Estimate(-math.log(found.value) / time, found.se / (found.value * time), found.dof)

    walk = _Walk(scenario, lambda generator: generator.integers(grid.cells, size=WALKERS), follow)
    number = Number(case.id, key, exact, RELATIVE * abs(exact), measure)
    first = WALKERS * FIRST
    return Plan([Trial((number,), first, walk.observe, DECIDING * first * 0.8)])


# --- J3 and J4 ------------------------------------------------------------------------------------


def counts(case: Case) -> Plan:
    """Cases J3 (a closed box) and J4 (a box that exchanges with a reservoir): how many per cell."""
    if why := why_not(case):
        return Plan(left_out=[(case.id, why)])
    return _open_box(case) if "mean_per_cell" in case.params else _closed_box(case)


def _closed_box(case: Case) -> Plan:
    """N molecules on M cells, all from one corner, after hops that forget it."""
    place, copies = place_of(case, spacing=False), case.count("N", 1)
    diffusion = case.rate("D", default=1.0)
    if case.faults:
        return Plan()
    grid = place.grid
    steps = 20
    dt = MIXING / steps * _mixing_s(grid, diffusion)
    walkers = Ligand(count=copies * BOXES, diffusion_um2_per_s=diffusion)
    scenario = Scenario(grid=grid, ligands={"L": walkers}, dt_s=dt)
    box = np.repeat(np.arange(BOXES), copies)

    def follow(simulation: Simulation) -> Mapping[str, Array]:
        simulation.run(steps)
        flat = box * grid.cells + _cells(simulation)
        return _columns(np.bincount(flat, minlength=BOXES * grid.cells).reshape(BOXES, -1))

    walk = _Walk(scenario, lambda _: np.zeros(copies * BOXES, dtype=np.int64), follow)
    # Rows of one ligand ascend in id, so neighbours in the order of ids share a box.
    cost = DECIDING * FIRST_BOXES * copies * steps * 0.1
    return _boxes(case, walk.observe, copies / grid.cells, cost)


def _open_box(case: Case) -> Plan:
    """Molecules come from a reservoir to an empty box, until it holds what it would for ever."""
    place, held = place_of(case, spacing=False), case.rate("mean_per_cell")
    diffusion = case.rate("D", default=1.0, zero=True)
    if case.faults:
        return Plan()
    grid, steps = place.grid, 5
    nM = held * grid.cells / grid.molecules_per_nM
    source = Reservoir(concentration_nM=nM, exchange_per_s=1.0)
    boxes = 16
    each = Ligand(diffusion_um2_per_s=diffusion, reservoir=source)
    scenario = Scenario(
        grid=grid, ligands={f"L{i}": each for i in range(boxes)}, dt_s=1.5 * MIXING / steps
    )

    def read(simulation: Simulation, _: Series) -> Mapping[str, Array]:
        mol = simulation.state.store.molecules
        found = [
            np.bincount(mol[lay.CELL, rows], minlength=grid.cells)[: grid.cells]
            for rows in simulation.state.rows()
        ]
        return _columns(np.array(found))

    observe = partial(Replicates, scenario, steps=steps, read=read)
    cost = DECIDING * FIRST_BOXES * held * grid.cells * steps
    return _boxes(case, observe, held, cost)


def _columns(table: lay.I64) -> Mapping[str, Array]:
    """What is read off the numbers per cell, shape (boxes, cells)."""
    expected = table.sum(axis=1, keepdims=True) / table.shape[1]
    return {
        "end": table[:, 0].astype(np.float64),
        "other": table[:, -1].astype(np.float64),
        "empty": (table == 0).mean(axis=1),
        "chi2": ((table - expected) ** 2).sum(axis=1) / np.maximum(expected[:, 0], 1e-300),
    }


def _boxes(
    case: Case, observe: Observe, held: float, cost: float
) -> Plan:  # fmt: skip
    claims = Claims(case)
    claims.mean("mean", "end")
    claims.mean("chi2_mean", "chi2")
    for key in ("p_empty", "p0"):
        claims.share(key, "empty", 1)
    claims.spread("var", variance("end"))
    claims.spread("fano", fano("end"))
    claims.covariance("cov", covariance("end", "other"), "var", "var")
    law = case.law("pmf")
    if law is not None:
        claims.law_with_tail("pmf", "end", law, RELATIVE * held)
    quantities = (*claims.means, *claims.spreads)
    if not quantities or case.faults:
        return Plan()
    first = round(FIRST_BOXES * (1 + 0.5 / held))
    return Plan([Trial(quantities, first, observe, cost)])


def _mixing_s(grid: Grid, diffusion: float) -> float:
    """Slowest relaxation time of hopping (s)."""
    longest = max(grid.width, grid.height)
    if longest == 1:
        return 1.0
    wave = (2 if grid.walls == "periodic" else 1) * math.pi / longest
    return grid.spacing_um**2 / (2 * diffusion * (1 - math.cos(wave)))
