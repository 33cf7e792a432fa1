"""Group P: what changes while it runs, in steps and ramps, by the protocol of a scenario.

``clamped``
    N sites and one or two clamped ligands, whose concentrations and rates change; on one cell or a
    grid, where they are the same. Each site is a chain of three states whose generator changes:
    a matrix exponential for a step, a product of many for a ramp.
``lone``
    One molecule on a grid whose rates of binding, unbinding, hopping and loss change, bound or free
    and anywhere at the start: association, then washout that is slowed by rebinding. Exact by the
    generator of one molecule, one exponential for each stretch. The step is the program's own.

A change counts from its time on. Every run is built anew, with random numbers of its own.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from synapse_abm.synapse.engine.simulation import Series
from synapse_abm.synapse.scenario import Kinetics, Ligand, Reservoir, RunSettings, Scenario, Target
from synapse_abm.synapse.scenario.parts import At, Start
from synapse_abm.synapse.scenario.protocol import LEAST_STEPS
from synapse_abm.theory.hop_react import HopReact, Walk
from synapse_abm.validation.cases import Array, Case, on_steps
from synapse_abm.validation.geometry import place_of
from synapse_abm.validation.quantities import OCCUPANCY, Margin, Measure, Number, at_least, mean
from synapse_abm.validation.samples import Courses
from synapse_abm.validation.scenarios import ONE_CELL, per_pair, side_by_side
from synapse_abm.validation.trials import ASKED, DECIDING, SLACK, Parts, interleaved, series, trial

type Changes = list[tuple[float, float, str, float]]  # time (s), over (s), name, value

#: Copies of a lone molecule side by side, and steps of a run at most.
COPIES, MOST_STEPS = 32, 20_000
#: Of one molecule on a grid, five points: each is built anew, which lets some thousands be had.
ONE_MOLECULE = Margin(0.05, 2.0, "one")
#: Pieces that the exact law of a ramp is made of: their midpoints err as the square of their
#: length, by less than 1e-7.
PIECES = 2000
#: Events that building a run is worth, and one with a molecule more.
BUILDING, BUILDING_ONE = 50_000, 30_000
SECOND = ("kon_I", "koff_I", "I")


def changing(case: Case) -> Parts:
    """A case of group P, by what it gives."""
    yield from (_lone(case) if "k_bind_in_cell" in case.params else _clamped(case))


def stretches(
    start: Mapping[str, float], changes: Changes, end: float
) -> list[tuple[float, float, dict[str, float]]]:
    """What holds from when until when: values by name, a ramp in `PIECES` pieces."""
    edges = {0.0, end}
    for time, over, _, _ in changes:
        edges |= {time, time + over}
        edges |= {time + over * k / PIECES for k in range(PIECES)} if over else set()
    times = sorted(t for t in edges if t <= end)
    parts = list[tuple[float, float, dict[str, float]]]()
    for begin, until in itertools.pairwise(times):
        values, middle = dict(start), (begin + until) / 2
        for time, over, name, value in changes:
            if time <= middle:
                part = min((middle - time) / over, 1.0) if over else 1.0
                values[name] += part * (value - values[name])
        parts.append((begin, until, values))
    return parts


# --- clamped ligands ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Clamped:
    """Sites and clamped ligands "L" and, if there is one, "I"; values by name at the start."""

    sites: int
    start: Mapping[str, float]
    changes: Changes

    @property
    def ligands(self) -> str:
        """Their names, a letter each."""
        return "LI" if "I" in self.start else "L"

    def exact(self, times: Array) -> dict[str, Array]:
        """Probability that a site holds each ligand at ``times`` (s), from empty sites."""
        from scipy.linalg import expm

        state, laws = np.array([1.0, 0.0, 0.0]), dict[float, Array]()
        for begin, until, values in stretches(self.start, self.changes, float(times.max())):
            q = np.zeros((3, 3))
            for number, name in enumerate(self.ligands, start=1):
                q[0, number] = values[f"kon_{name}"] * values[name]
                q[number, 0] = values[f"koff_{name}"]
            q -= np.diag(q.sum(axis=1))
            for t in times[(times >= begin) & (times <= until)].tolist():
                laws[t] = state @ expm(q * (t - begin))
            state = state @ expm(q * (until - begin))
        table = np.array([laws[t] for t in times.tolist()])
        return {f"p_{name}_t": table[:, n] for n, name in enumerate(self.ligands, start=1)}

    def at(self) -> tuple[At, ...]:
        """The changes as a protocol."""
        paths = {name: f"ligand.{name}.clamped_nM" for name in self.ligands}
        for name in self.ligands:
            paths[f"kon_{name}"] = f"ligand.{name}.binding.T.kon_per_nM_s"
            paths[f"koff_{name}"] = f"ligand.{name}.binding.T.koff_per_s"
        return _protocol(self.changes, paths)


def clamped_of(case: Case) -> Clamped:
    """As the case says; faults are noted in it."""
    names = ["kon_L", "koff_L", "L", *(SECOND if "I" in case.params else ())]
    start = {name: case.rate(name, zero=not name.startswith("koff")) for name in names}
    clamped = Clamped(case.count("N", 1), start, case.changes(names))
    case.stop_if_faulty()
    return clamped


def _clamped(case: Case) -> Parts:
    system, times = clamped_of(case), case.times()
    grid = place_of(case, spacing=False).grid if "shape" in case.params else ONE_CELL
    case.stop_if_faulty()
    step, _ = on_steps(_all_times(times, system.changes), MOST_STEPS)
    over = [over for _, over, _, _ in system.changes if over]
    parts = max([1, *(math.ceil(LEAST_STEPS * step / x - 1e-9) for x in over)])
    start = system.start
    ligands = {
        name: Ligand(
            clamped_nM=start[name],
            binding={"T": Kinetics(
                kon_per_nM_s=start[f"kon_{name}"], koff_per_s=start[f"koff_{name}"]
            )},
        )
        for name in system.ligands
    }  # fmt: skip
    scenario = Scenario(
        grid=grid, targets={"T": Target(sites=system.sites)}, ligands=ligands,
        dt_s=step / parts, at=system.at(),
    )  # fmt: skip
    records = np.round(times / step).astype(np.int64) - 1

    def read(series: Series) -> Mapping[str, Array]:
        columns = dict[str, Array]()
        for name in system.ligands:
            curve = series.occupancy("T", name)
            columns |= {f"{name}@{i}": curve[[at]] for i, at in enumerate(records)}
        return columns

    curves = [_shares(case, times, name, system.sites) for name in system.ligands]
    steps = parts * int(records.max() + 1)
    observe = partial(Courses, scenario, steps=steps, every=parts, read=read)
    # At most a quarter is the variance of a site.
    first = max(2, _first(0.5 / math.sqrt(system.sites), OCCUPANCY.size))
    cost = BUILDING + 20 * steps + 10 * system.sites
    yield from trial(case, interleaved(*curves), first, observe, cost)


def _shares(case: Case, times: Array, name: str, sites: int) -> list[Number]:
    """Occupancy by a ligand at given times; errors are no smaller than those of binomial counts."""

    def measure(i: int, p: float) -> Measure:
        return at_least(mean(f"{name}@{i}"), math.sqrt(max(p * (1 - p), 0.0) / sites))

    return series(case, f"p_{name}_t", times, f"p_{name}", OCCUPANCY, measure, solved=True)


def _first(sd: float, margin: float) -> int:
    """First look: so many observations that the fourth is expected to decide."""
    return math.ceil(((SLACK + ASKED) * sd / margin) ** 2 / DECIDING)


def _all_times(times: Array, changes: Changes) -> Array:
    more = [t for time, over, _, _ in changes for t in (time, over)]
    return np.concatenate([times, np.array(more)])


def _protocol(changes: Changes, *paths: Mapping[str, str]) -> tuple[At, ...]:
    """Entries of a protocol, each for all of the ``paths`` by name; those of one time are one."""
    merged = dict[tuple[float, float], dict[str, JsonValue]]()
    for time, over, name, value in changes:
        merged.setdefault((time, over), {}).update({path[name]: value for path in paths})
    return tuple(
        At(time_s=time, over_s=over or None, change=change)
        for (time, over), change in merged.items()
    )


# --- one molecule on a grid -----------------------------------------------------------------------


@dataclass(frozen=True)
class Lone:
    """One molecule and sites in cells of a grid; values by name at the start."""

    walk: Walk
    cells: NDArray[np.intp]
    start: Mapping[str, float]
    changes: Changes
    bound: bool
    spacing: float

    NAMES = ("k_bind_in_cell", "koff", "D", "loss")

    def exact(self, times: Array) -> dict[str, Array]:
        """Chance to be bound, and to be free, at ``times`` (s)."""
        cells, sites = self.walk.cells, self.cells.size
        state = np.concatenate([np.full(cells, 1 / cells), np.zeros(sites)])
        if self.bound:
            state = np.concatenate([np.zeros(cells), np.full(sites, 1 / sites)])
        laws = dict[float, Array]()
        for begin, until, values in stretches(self.start, self.changes, float(times.max())):
            chain = HopReact(
                replace(self.walk, hops_per_s=values["D"] / self.spacing**2), self.cells,
                np.full(sites, values["k_bind_in_cell"]), values["koff"], leave=values["loss"],
            )  # fmt: skip
            rates, modes = chain.modes
            for t in times[(times >= begin) & (times <= until)].tolist():
                laws[t] = _moved(state, chain.root, rates, modes, t - begin)
            state = _moved(state, chain.root, rates, modes, until - begin)
        table = np.array([laws[t] for t in times.tolist()])
        return {"bound_t": table[:, cells:].sum(axis=1), "free_t": table[:, :cells].sum(axis=1)}


def _moved(state: Array, root: Array, rates: Array, modes: Array, t: float) -> Array:
    """A law after ``t`` seconds of a chain."""
    return np.asarray(((state / root) @ modes * np.exp(-rates * t)) @ modes.T * root)


def lone_of(case: Case) -> Lone:
    """As the case says; faults are noted in it."""
    place = place_of(case)
    start = {name: case.rate(name, zero=name == "loss", default=0.0 if name == "loss" else None)
             for name in Lone.NAMES}  # fmt: skip
    cells = np.array([place.number(cell) for cell in case.cells("sites", place.shape)], dtype=int)
    changes, grid = case.changes(Lone.NAMES), place.grid
    for _, over, name, value in changes:
        if over or (value == 0 and name != "loss"):
            case.fault("params.changes", case.params["changes"], "at once, and to a rate above 0")
    case.stop_if_faulty()
    walk = Walk(grid.width, grid.height, start["D"] / grid.spacing_um**2, grid.walls)
    return Lone(walk, cells, start, changes, case.flag("bound", False), grid.spacing_um)


def _lone(case: Case) -> Parts:
    system, place, times = lone_of(case), place_of(case), case.times()
    grid, start = place.grid, system.start
    sites = tuple(place.xy(cell) for cell in case.cells("sites", place.shape))
    per_cell = per_pair(1.0, 1.0, grid=grid).kon
    common, _ = on_steps(_all_times(times, system.changes), MOST_STEPS)
    ligand = Ligand(
        count=1, diffusion_um2_per_s=start["D"],
        reservoir=Reservoir(concentration_nM=0.0, exchange_per_s=start["loss"]),
        binding={"T": per_pair(start["k_bind_in_cell"], start["koff"], grid=grid)},
    )  # fmt: skip
    scaled = [(t, over, name, x * per_cell if name == "k_bind_in_cell" else x)
              for t, over, name, x in system.changes]  # fmt: skip
    one = Scenario(
        grid=grid, targets={"T": Target(cells=sites)}, ligands={"L": ligand}, accuracy=0.003,
        run=RunSettings(duration_s=2 * float(times.max()), sample_every_s=common),
        at=_protocol(scaled, _paths("L", "T")),
    )  # fmt: skip
    # The step that the program chooses for one, of which all times are multiples.
    dt = common / math.ceil(common / one.dt_s * (1 - 1e-12))
    many = side_by_side(one.model_copy(update={"dt_s": dt, "at": ()}), COPIES)
    many = many.model_copy(
        update={
            "at": _protocol(scaled, *(_paths(f"L{k}", f"T{k}") for k in range(COPIES))),
            "start": _start(COPIES, len(sites)) if system.bound else Start(),
        }
    )
    every = round(common / dt)
    records = np.round(times / common).astype(np.int64) - 1

    def read(series: Series) -> Mapping[str, Array]:
        totals, first = series.totals.astype(np.float64), series.names.free(0)
        columns = {f"bound@{i}": totals[at, :COPIES] for i, at in enumerate(records)}
        return columns | {
            f"free@{i}": totals[at, first : first + COPIES] for i, at in enumerate(records)
        }

    curves = [_chances(case, times, name) for name in ("bound", "free")]
    steps = every * int(records.max() + 1)
    observe = partial(Courses, many, steps=steps, every=every, read=read)
    cost = BUILDING_ONE + 5 * steps
    yield from trial(
        case, interleaved(*curves), _first(0.5, ONE_MOLECULE.size), observe, cost
    )  # fmt: skip


def _chances(case: Case, times: Array, name: str) -> list[Number]:
    """Chances at given times; errors are no smaller than those of independent molecules."""
    return series(
        case, f"{name}_t", times, name, ONE_MOLECULE,
        lambda i, p: at_least(mean(f"{name}@{i}"), math.sqrt(max(p * (1 - p), 0.0))),
        solved=True,
    )  # fmt: skip


def _paths(ligand: str, target: str) -> dict[str, str]:
    binding = f"ligand.{ligand}.binding.{target}"
    return {
        "k_bind_in_cell": f"{binding}.kon_per_nM_s",
        "koff": f"{binding}.koff_per_s",
        "D": f"ligand.{ligand}.diffusion_um2_per_s",
        "loss": f"ligand.{ligand}.reservoir.exchange_per_s",
    }


def _start(copies: int, sites: int) -> Start:
    """The molecule of each copy on one of its sites."""
    return Start(bound={f"T{k}": {f"L{k}": 1 / sites} for k in range(copies)})
