"""One molecule and one site on a grid (K1), and the same at steps of any length (M4).

Many copies share the grid and do not meet. Occupancy and the rate of binding are exact at any step;
noise is not, and the difference, known exactly (``theory.LonePair``), is taken off.
"""

from __future__ import annotations

import math
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

from synapse_abm.core.address import Address
from synapse_abm.statistics import Estimate, from_replicates
from synapse_abm.synapse.engine.network import CountRows, Names
from synapse_abm.synapse.engine.simulation import Simulation, event_index
from synapse_abm.synapse.scenario import Grid, Ligand, Scenario, Target
from synapse_abm.theory import LonePair
from synapse_abm.validation.cases import Array, Case
from synapse_abm.validation.geometry import Place, memory_steps, place_of, why_not
from synapse_abm.validation.passage import binding_times
from synapse_abm.validation.quantities import (
    RELATIVE,
    SPREAD,
    UNKNOWN,
    Measure,
    Number,
    mean,
    share,
)
from synapse_abm.validation.relaxation import planned
from synapse_abm.validation.samples import BURN_IN, Sample, started
from synapse_abm.validation.scenarios import per_pair, side_by_side
from synapse_abm.validation.trials import (
    DECIDING,
    Plan,
    affordable,
    too_long,
    trial,
)

COPIES = 64
#: Relaxation times of a window, and windows of each copy up to the first look.
WINDOW, FIRST, FIRST_MEANS = 10, 36, 10
#: Hops per direction, and events in the cell, within one step.
HOPS, EVENTS = 0.2, 0.15


def single_site(case: Case) -> Plan:
    """Case K1: times between events and noise of a single site."""
    if why := why_not(case):
        return Plan(left_out=[(case.id, why)])
    place = place_of(case)
    at = case.wholes("receptor", (len(place.shape),), 0, max(place.shape) - 1)
    if any(x >= n for x, n in zip(at, place.shape, strict=True)):
        at = (0,) * len(place.shape)
        case.cells("receptor", place.shape)  # notes the fault
    diffusion, binding, leaving = case.rate("D"), case.rate("k_bind_in_cell"), case.rate("koff")
    if case.faults:
        return Plan()
    grid, hops = place.grid, diffusion / place.grid.spacing_um**2
    theory = LonePair(grid.width, grid.height, place.xy(at), hops, binding, leaving, grid.walls)
    dt = min(HOPS / hops, EVENTS / max(binding, leaving))
    window = max(2, math.ceil(WINDOW * planned(theory.relaxation_s) / dt))
    found = binding_times(case, place, place.number(at))
    wanted = [key for key in _MEASURED if case.number(key) is not None]
    first = FIRST if "noise0" in wanted else FIRST_MEANS
    cost = _cost(place.grid, window, first)
    if wanted and cost > affordable(case):
        found.left_out.append((case.id, f"{wanted[0]}...: {too_long(cost)}"))
    elif wanted:
        numbers = _numbers(case, theory, dt, window)
        scenario = _scenario(place, at, diffusion, binding, leaving, dt)
        found.add(_windows(case, scenario, numbers, window, first))
    return found


def any_step(case: Case) -> Plan:
    """Case M4: occupancy of one site by one molecule, at each step of the case's table."""
    if why := why_not(case):
        return Plan(left_out=[(case.id, why)])
    place = place_of(case)
    at = (0,) * len(place.shape)
    if "receptor" in case.params:
        at = case.wholes("receptor", (len(place.shape),), 0, max(place.shape) - 1)
    diffusion, binding, leaving = case.rate("D"), case.rate("k_bind_in_cell"), case.rate("koff")
    rows = _table(case)
    if case.faults:
        return Plan()
    found = Plan()
    for dt, exact in rows:
        number = share(case.id, f"occupancy[dt={dt:g}]", exact, mean("occupied"))
        scenario = _scenario(place, at, diffusion, binding, leaving, dt)
        window = math.ceil(WINDOW / 2 * correlation(memory_steps(scenario)))
        found.add(_windows(case, scenario, [number], window, FIRST_MEANS))
    return found


def correlation(relaxation_steps: float) -> float:
    """Snapshots that tell as much as one that is independent: (1 + rho) / (1 - rho)."""
    return 1 / math.tanh(0.5 / relaxation_steps)


def _table(case: Case) -> list[tuple[float, float]]:
    """Steps and exact occupancies of the case's table; faults are noted through its readers."""
    table: Any = case.exact.get("table", [])
    if not isinstance(table, list) or not all(isinstance(row, dict) for row in table):
        case.fault("exact.table", table, 'a list of objects with "dt" and "exact"')
        return []
    found = []
    for given in table:
        one = Case(case.source, case.id, case.group, given, given, faults=case.faults)
        exact = one.number("exact")
        if exact is not None:
            found.append((one.rate("dt"), exact))
    return found


def _scenario(
    place: Place, at: tuple[int, ...], diffusion: float, binding: float, leaving: float, dt: float
) -> Scenario:  # fmt: skip
    molecule = Ligand(
        count=1, diffusion_um2_per_s=diffusion,
        binding={"T": per_pair(binding, leaving, grid=place.grid)},
    )  # fmt: skip
    site = Target(kind="receptor", cells=(place.xy(at),))
    return Scenario(grid=place.grid, targets={"T": site}, ligands={"L": molecule}, dt_s=dt)


_MEASURED = ("p_bound", "mean_unbound_time", "noise0")


def _numbers(case: Case, theory: LonePair, dt: float, window: int) -> list[Number]:
    found = []
    if (exact := case.number("p_bound")) is not None:
        found.append(share(case.id, "p_bound", exact, mean("occupied")))
    if (exact := case.number("mean_unbound_time")) is not None:
        measure = _time_unbound(window * dt)
        margin = RELATIVE * abs(exact)
        found.append(Number(case.id, "mean_unbound_time", exact, margin, measure))
    if (exact := case.number("noise0")) is not None:
        shift = (
            window * dt * theory.stepped_average_variance(dt, window) - theory.zero_frequency_noise
        )
        measure = _noise(window * dt, shift)
        found.append(Number(case.id, "noise0", exact, SPREAD * abs(exact), measure))
    return found


def _time_unbound(window_s: float) -> Measure:
    """Share of the time unbound, over the rate of binding."""

    def measure(sample: Sample) -> Estimate:
        free, bindings = 1 - sample["occupied"], sample["bindings"]
        f, n = float(free.mean()), float(bindings.mean())
        if n == 0:
            return UNKNOWN
        relative = (free - f) / max(f, 1e-9) - (bindings - n) / n
        return sample.estimate(window_s * f / n * (1 + relative))

    return measure


def _noise(window_s: float, shift: float) -> Measure:
    """Window x variance of the average over it, less what a short window and a step change."""

    def measure(sample: Sample) -> Estimate:
        x = sample["occupied"]
        found = sample.estimate(window_s * (x - x.mean()) ** 2)
        return Estimate(found.value - shift, found.se, found.dof)

    return measure


def _windows(
    case: Case, scenario: Scenario, numbers: list[Number], window: int, first: int
) -> Plan:  # fmt: skip
    cost = _cost(scenario.grid, window, first)
    observe = partial(Windows, side_by_side(scenario, COPIES), window=window)
    return trial(case, numbers, first, observe, cost, f"{numbers[0].name}...: ")


def _cost(grid: Grid, window: int, first: int) -> float:
    """Events that the windows up to the deciding look are worth.

    In a step of all copies each that is awake adds up all channels.
    """
    step = 40 + 0.2 * COPIES * min(10, COPIES / grid.cells + 1)
    return DECIDING * first * window * step


class Windows:
    """Copies side by side; an observation is the average over a window, shape (windows, copies)."""

    def __init__(
        self, scenario: Scenario, address: Address, kernels: ModuleType | None, window: int
    ) -> None:
        self._simulation: Simulation = started(scenario, address, kernels)
        self._window = window
        names = Names.of(scenario)
        self._bound = [names.pairs.index((f"T{i}", f"L{i}")) for i in range(COPIES)]
        self._events = [event_index(names, "bound", f"L{i}", f"T{i}") for i in range(COPIES)]
        assert CountRows.of(names).pairs == COPIES
        series = self._simulation.run(math.ceil(BURN_IN * window / WINDOW), every=1)
        self._before = series.events[-1, self._events]
        self._parts: dict[str, list[Array]] = {"occupied": [], "bindings": []}
        self.size = 0

    def grow(self, size: int) -> None:
        """Observe until there are at least ``size`` windows."""
        while self.size < size:
            series = self._simulation.run(self._window, every=1)
            counted = series.events[-1, self._events]
            self._parts["occupied"].append(series.totals[:, self._bound].mean(axis=0))
            self._parts["bindings"].append((counted - self._before).astype(np.float64))
            self._before = counted
            self.size += 1

    def __getitem__(self, column: str) -> Array:
        return np.array(self._parts[column])

    def estimate(self, values: Array) -> Estimate:
        """Mean over time of each copy, and their scatter."""
        return from_replicates(values.mean(axis=0))

    def error(self, one: float) -> float:
        """As if all windows were independent."""
        return one / math.sqrt(max(self.size * COPIES, 1))

    def independent(self, values: Array) -> Array:
        """All windows; each is several relaxation times long."""
        return values.ravel()
