"""Cases J1 to J4: molecules that only hop: how far, how fast a mode decays, how many per cell.

Hopping is exact at any step, so a run takes a few long steps, and starts are drawn directly.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from synapse_abm.statistics import Estimate
from synapse_abm.synapse.engine import layout as lay
from synapse_abm.synapse.engine.simulation import Series, Simulation
from synapse_abm.synapse.engine.state import State
from synapse_abm.synapse.scenario import Grid, Ligand, Reservoir, Scenario
from synapse_abm.theory.hop_react import Walk
from synapse_abm.validation.cases import Array, Case, NotRun, on_steps
from synapse_abm.validation.geometry import THREE_DIMENSIONS, place_of
from synapse_abm.validation.quantities import (
    RELATIVE,
    UNKNOWN,
    Distribution,
    covariance,
    fano,
    mean,
    variance,
)
from synapse_abm.validation.samples import Replicates, Sample
from synapse_abm.validation.scenarios import put_into
from synapse_abm.validation.trials import Claims, Observe, Parts, rarity, series, trial

#: Molecules of a run, and runs up to the first look.
WALKERS, FIRST = 4096, 12
#: Boxes of a run, and boxes up to the first look.
BOXES, FIRST_BOXES = 64, 2400
#: Relaxation times of hopping before cells are counted: what is left of the start is 2e-9 of it.
MIXING = 20.0
#: Widest grid: cells are numbered along a side by 16 bits.
WIDEST = 32767

type Follow = Callable[[Simulation], Mapping[str, Array]]


def _walk(
    scenario: Scenario, start: Callable[[np.random.Generator], lay.I64], follow: Follow
) -> Observe:  # fmt: skip
    """Molecules that hop, each an observation: from cells that are drawn anew for every run.

    ``follow`` runs the simulation on and reads the columns.
    """

    def scatter(state: State, generator: np.random.Generator) -> None:
        put_into(state, start(generator), scenario.grid.width)

    return partial(Replicates, scenario, prepare=scatter, read=lambda sim, _: follow(sim))


def _cells(simulation: Simulation) -> lay.I64:
    """Cell of each molecule, in the order of ids."""
    state = simulation.state
    cells: lay.I64 = state.store.molecules[lay.CELL, state.all_rows()].astype(np.int64)
    return cells


# --- J1 -------------------------------------------------------------------------------------------


def displacement(case: Case) -> Parts:
    """Case J1: mean square displacement and fourth moment along one axis, far from walls."""
    times, diffusion, h = case.times(), case.rate("D"), case.rate("h")
    numbers = series(case, "msd", times, "msd", RELATIVE, lambda i, _: mean(f"square@{i}"))
    fourths = series(case, "fourth_moment_one_axis", times, "fourth_moment_one_axis", RELATIVE,
                     lambda i, _: mean(f"fourth@{i}"))  # fmt: skip
    case.stop_if_faulty()
    axes = _axes(case, times, diffusion)
    if axes == 3:
        raise NotRun(THREE_DIMENSIONS)
    step, records = on_steps(times, most_steps=1000)
    if (np.diff(times) < 0).any():
        raise NotRun("its times do not ascend")
    # Beyond 12 standard deviations and 40 hops lies less than 1e-12 of the walk.
    reach = math.ceil(12 * math.sqrt(2 * diffusion * float(times.max())) / h) + 40
    side = 2 * reach + 1
    if side > WIDEST:
        raise NotRun("its molecules get further than the largest grid")
    # Walls that wrap and are never met: there is nothing cheaper for an endless grid.
    grid = Grid(width=side, height=side if axes == 2 else 1, spacing_um=h, walls="periodic")
    walkers = Ligand(count=WALKERS, diffusion_um2_per_s=diffusion)
    # All start in one cell; observations are displacements from it.
    middle = reach if axes == 1 else reach * side + reach

    def follow(simulation: Simulation) -> Mapping[str, Array]:
        columns = {}
        for i, steps in enumerate(np.diff(records, prepend=0)):
            simulation.run(int(steps))
            y, x = np.divmod(_cells(simulation), side)
            dx, dy = h * (x - reach), h * (y - (reach if axes == 2 else 0))
            columns[f"square@{i}"] = (dx**2 + dy**2).astype(np.float64)
            columns[f"fourth@{i}"] = (dx**4).astype(np.float64)
        return columns

    scenario = Scenario(grid=grid, ligands={"L": walkers}, dt_s=step)
    observe = _walk(scenario, lambda _: np.full(WALKERS, middle), follow)
    # The fourth moment of a walk of few hops has a heavy tail: take more of them.
    soonest = float(times[times > 0].min(initial=math.inf))
    rare = 3 * (1 + 0.1 * h**2 / (diffusion * soonest)) if fourths else 1.0
    first = WALKERS * math.ceil(FIRST * rare)
    per_observation = 0.3 * (times.size + float(times.max()) / step)
    yield from trial(case, numbers + fourths, first, observe, per_observation)


def _axes(case: Case, times: Array, diffusion: float) -> int:
    """Dimensions: as the case says, or as its mean square displacement of 2 d D t tells."""
    for name in ("d", "dim", "dimensions"):
        if name in case.params:
            return case.count(name, 1)
    squares, later = case.series("msd", times.size), times > 0
    if squares is None or not later.any():
        return 2
    ratio = float((squares[later] / (2 * diffusion * times[later])).mean())
    return min(max(round(ratio), 1), 3)


# --- J2 -------------------------------------------------------------------------------------------


def modes(case: Case) -> Parts:
    """Case J2: decay rates of the slowest modes, each from the autocorrelation over 1 / rate."""
    place, diffusion = place_of(case), case.rate("D")
    if len(place.shape) == 2:
        raise NotRun("modes of two dimensions: not run in this release")
    walk = Walk(place.grid.cells, 1, diffusion / place.grid.spacing_um**2, place.grid.walls)
    rates, shapes = walk.modes()
    for key in case.exact:
        named = re.fullmatch(r"lambda_(\d{1,4})", key)
        exact = case.number(key) if named else None
        if named and exact is not None and (k := int(named[1])) < rates.size and rates[k] > 0:
            shape = shapes[:, k] * math.sqrt(place.grid.cells)
            yield from _mode(case, key, exact, shape, float(rates[k]), diffusion, place.grid)


def _mode(
    case: Case, key: str, exact: float, shape: Array, rate: float, diffusion: float, grid: Grid
) -> Parts:  # fmt: skip
    """The rate from how much of the mode is left after ``time``, four steps on.

    A molecule carries the value that the mode, of mean square 1, has in its cell: the mean product
    of the values then and now falls by exp(-rate time), whatever the other modes do.
    """
    # After one decay time a relative error of the correlation is the same of the rate, the least it
    # can be; four steps and not one, so that steps are composed too.
    steps, time = 4, 1 / rate
    walkers = Ligand(count=WALKERS, diffusion_um2_per_s=diffusion)
    scenario = Scenario(grid=grid, ligands={"L": walkers}, dt_s=time / steps)

    def follow(simulation: Simulation) -> Mapping[str, Array]:
        before = shape[_cells(simulation)]
        simulation.run(steps)
        return {"product": before * shape[_cells(simulation)]}

    def measure(sample: Sample) -> Estimate:
        left = sample.estimate(sample["product"])
        # Less than nothing is left by chance: a logarithm that more walkers will give.
        if left.value <= 0:
            return UNKNOWN
        return Estimate(-math.log(left.value) / time, left.se / (left.value * time), left.dof)

    observe = _walk(
        scenario, lambda generator: generator.integers(grid.cells, size=WALKERS), follow
    )
    number = RELATIVE.number(case.id, key, exact, measure)
    return trial(case, [number], WALKERS * FIRST, observe, 0.8)


# --- J3 and J4 ------------------------------------------------------------------------------------


def closed_box(case: Case) -> Parts:
    """Case J3: N molecules on M cells, all from one corner, after hops that forget it."""
    place, copies = place_of(case, spacing=False), case.count("N", 1)
    diffusion = case.rate("D", default=1.0)
    case.stop_if_faulty()
    # From one corner, the state that is furthest from the even law: a grid whose hops do not reach
    # all cells alike shows it.
    grid, steps = place.grid, 20
    walk = Walk(grid.width, grid.height, diffusion / grid.spacing_um**2, grid.walls)
    slowest = walk.modes()[0][1:].min(initial=math.inf)
    mixing = 1.0 if math.isinf(slowest) else 1 / slowest
    walkers = Ligand(count=copies * BOXES, diffusion_um2_per_s=diffusion)
    scenario = Scenario(grid=grid, ligands={"L": walkers}, dt_s=MIXING / steps * float(mixing))
    # Rows of one ligand ascend in id, so neighbours in the order of ids share a box.
    box = np.repeat(np.arange(BOXES), copies)
    read = _columns(case)

    def follow(simulation: Simulation) -> Mapping[str, Array]:
        simulation.run(steps)
        flat = box * grid.cells + _cells(simulation)
        return read(np.bincount(flat, minlength=BOXES * grid.cells).reshape(BOXES, -1))

    observe = _walk(scenario, lambda _: np.zeros(copies * BOXES, dtype=np.int64), follow)
    return _boxes(case, observe, copies / grid.cells, copies * steps * 0.1)


def open_box(case: Case) -> Parts:
    """Case J4: from a reservoir to an empty box, until it holds what it would for ever."""
    place, per_cell = place_of(case, spacing=False), case.rate("mean_per_cell")
    diffusion = case.rate("D", default=1.0, zero=True)
    case.stop_if_faulty()
    # Boxes side by side in one place, each a ligand of its own: molecules do not meet.
    grid, steps, boxes = place.grid, 5, 16
    nM = per_cell * grid.cells / grid.molecules_per_nM
    source = Reservoir(concentration_nM=nM, exchange_per_s=1.0)
    ligand = Ligand(diffusion_um2_per_s=diffusion, reservoir=source)
    ligands = {f"L{i}": ligand for i in range(boxes)}
    # Molecules are forgotten at the rate of exchange, 1/s.
    scenario = Scenario(grid=grid, ligands=ligands, dt_s=1.5 * MIXING / steps)
    columns = _columns(case)

    def read(simulation: Simulation, _: Series) -> Mapping[str, Array]:
        mol = simulation.state.store.molecules
        rows_of = simulation.state.rows()
        counts = [np.bincount(mol[lay.CELL, rows], minlength=grid.cells) for rows in rows_of]
        return columns(np.array([count[: grid.cells] for count in counts]))

    observe = partial(Replicates, scenario, steps=steps, read=read)
    return _boxes(case, observe, per_cell, per_cell * grid.cells * steps / rarity(per_cell))


def _columns(case: Case) -> Callable[[lay.I64], Mapping[str, Array]]:
    """What is read off the numbers per cell, shape (boxes, cells)."""
    law = case.law("pmf")
    last = 0 if law is None else law.size - 1

    def read(table: lay.I64) -> Mapping[str, Array]:
        expected = table.sum(axis=1, keepdims=True) / table.shape[1]
        return {
            "end": table[:, 0].astype(np.float64),
            "capped": np.minimum(table[:, 0], last).astype(np.float64),
            "other": table[:, -1].astype(np.float64),
            "empty": (table == 0).mean(axis=1),
            "chi2": ((table - expected) ** 2).sum(axis=1) / np.maximum(expected[:, 0], 1e-300),
        }

    return read


def _boxes(case: Case, observe: Observe, per_cell: float, per_observation: float) -> Parts:
    claims = Claims(case)
    claims.mean("mean", "end")
    claims.mean("chi2_mean", "chi2")
    for key in ("p_empty", "p0"):
        claims.share(key, "empty", 1)
    claims.spread("var", variance("end"))
    claims.spread("fano", fano("end"))
    # The two ends of the box: of all pairs, those that forget the start last.
    claims.covariance("cov", covariance("end", "other"), "var", "var")
    if (law := case.law("pmf")) is not None:
        # The table of a Poisson law ends somewhere: its last entry stands for all beyond.
        law[-1] += max(1 - float(law.sum()), 0.0)
        margin = RELATIVE.size * per_cell
        claims.spreads.append(Distribution(case.id, "pmf", law, ("capped",), margin))
    first = round(FIRST_BOXES * rarity(per_cell))
    return trial(case, claims.all, first, observe, per_observation)
