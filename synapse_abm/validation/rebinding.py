"""One molecule and one site on a grid (K1), and the same at steps of any length (M4).

Many copies share the grid and do not meet. Occupancy and the rate of binding are exact at any step;
noise is not, and the difference, known exactly (``theory.LonePair``), is taken off.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from synapse_abm.statistics import Estimate
from synapse_abm.synapse.engine.network import Names
from synapse_abm.synapse.engine.simulation import Series, event_index
from synapse_abm.synapse.scenario import Ligand, Scenario, Target
from synapse_abm.theory import LonePair
from synapse_abm.validation.cases import Array, Case
from synapse_abm.validation.geometry import Place, memory_steps, place_of
from synapse_abm.validation.passage import binding_times
from synapse_abm.validation.quantities import (
    OCCUPANCY,
    RELATIVE,
    SPREAD,
    UNKNOWN,
    Measure,
    Number,
    less,
    mean,
)
from synapse_abm.validation.relaxation import planned
from synapse_abm.validation.samples import BURN_IN, Panel, Sample, correlation
from synapse_abm.validation.scenarios import per_pair, side_by_side
from synapse_abm.validation.trials import Parts, trial

COPIES = 64
#: Relaxation times of a window, and windows of each copy up to the first look.
WINDOW, FIRST, FIRST_MEANS = 10, 36, 10
#: Hops per direction, and events in the cell, within one step.
HOPS, EVENTS = 0.2, 0.15


@dataclass(frozen=True, slots=True)
class _Pair:
    """One molecule and one site on a grid; rates of binding in the site's cell and of leaving."""

    place: Place
    at: tuple[int, ...]
    diffusion: float
    binding: float
    leaving: float

    @classmethod
    def of(cls, case: Case, site: str | None) -> _Pair:
        """As the case says, the site at the parameter ``site``, or in the corner."""
        place = place_of(case)
        at = (0,) * len(place.shape) if site is None else case.cell(site, place.shape)
        rates = (case.rate(name) for name in ("D", "k_bind_in_cell", "koff"))
        return cls(place, at, *rates)

    @property
    def theory(self) -> LonePair:
        """What is exact about it."""
        grid, hops = self.place.grid, self.diffusion / self.place.grid.spacing_um**2
        at, rates = self.place.xy(self.at), (hops, self.binding, self.leaving)
        return LonePair(grid.width, grid.height, at, *rates, grid.walls)

    def scenario(self, dt: float) -> Scenario:
        """The same to be simulated."""
        kinetics = per_pair(self.binding, self.leaving, grid=self.place.grid)
        molecule = Ligand(count=1, diffusion_um2_per_s=self.diffusion, binding={"T": kinetics})
        site = Target(kind="receptor", cells=(self.place.xy(self.at),))
        return Scenario(grid=self.place.grid, targets={"T": site}, ligands={"L": molecule}, dt_s=dt)


def single_site(case: Case) -> Parts:
    """Case K1: times between events and noise of a single site."""
    pair = _Pair.of(case, "receptor")
    yield from binding_times(case, pair.place, pair.place.number(pair.at))
    theory = pair.theory
    # Occupancy and binding rate are exact at any step; the step is short so that the correction of
    # the noise stays small.
    dt = min(HOPS / theory.hop_rate, EVENTS / max(pair.binding, pair.leaving))
    window = max(2, math.ceil(WINDOW * planned(theory.relaxation_s) / dt))
    first = FIRST_MEANS if case.number("noise0") is None else FIRST
    scenario = pair.scenario(dt)
    numbers = _numbers(case, theory, scenario, window)
    yield from _windows(case, scenario, numbers, window, first)


def any_step(case: Case) -> Parts:
    """Case M4: occupancy of one site by one molecule, at each step of the case's table."""
    pair, rows = _Pair.of(case, "receptor" if "receptor" in case.params else None), _table(case)
    case.stop_if_faulty()
    for dt, exact in rows:
        number = OCCUPANCY.number(case.id, f"occupancy[dt={dt:g}]", exact, mean("occupied"))
        scenario = pair.scenario(dt)
        window = math.ceil(WINDOW / 2 * correlation(memory_steps(scenario)))
        yield from _windows(case, scenario, [number], window, FIRST_MEANS)


def _table(case: Case) -> list[tuple[float, float]]:
    """Steps and exact occupancies of the case's table; faults are noted through its readers."""
    table: Any = case.exact.get("table", [])
    if not isinstance(table, list) or not all(isinstance(row, dict) for row in table):
        case.fault("exact.table", table, 'a list of objects with "dt" and "exact"')
        return []
    rows = [replace(case, params=row, exact=row) for row in table]  # faults go to the same list
    return [(row.rate("dt"), exact) for row in rows if (exact := row.number("exact")) is not None]


def _numbers(case: Case, theory: LonePair, scenario: Scenario, window: int) -> list[Number]:
    # The engine adjusts both rates to its step: so must the exact law of its steps, and bindings
    # are more by the same factor.
    dt, s = scenario.dt_s, scenario.adjustments["T", "L"].s
    adjusted = replace(theory, rate_in_cell=s * theory.rate_in_cell, koff=s * theory.koff)
    numbers = []
    if (exact := case.number("p_bound")) is not None:
        numbers.append(OCCUPANCY.number(case.id, "p_bound", exact, mean("occupied")))
    if (exact := case.number("mean_unbound_time")) is not None:
        measure = _time_unbound(s * window * dt)
        numbers.append(RELATIVE.number(case.id, "mean_unbound_time", exact, measure))
    if (exact := case.number("noise0")) is not None:
        seen = window * dt * adjusted.stepped_average_variance(dt, window)
        measure = less(_noise(window * dt), seen - theory.zero_frequency_noise)
        numbers.append(SPREAD.number(case.id, "noise0", exact, measure, solved=True))
    return numbers


def _time_unbound(window_s: float) -> Measure:
    """Share of the time unbound, over the rate of binding."""

    def measure(sample: Sample) -> Estimate:
        free, bindings = 1 - sample["occupied"], sample["bindings"]
        f, n = float(free.mean()), float(bindings.mean())
        if n == 0:
            return UNKNOWN
        # Time unbound between two bindings: share of the time unbound over the rate of binding
        # (both exact at any step), with the influence function of the ratio.
        relative = (free - f) / max(f, 1e-9) - (bindings - n) / n
        return sample.estimate(window_s * f / n * (1 + relative))

    return measure


def _noise(window_s: float) -> Measure:
    """Window x variance of the average over it."""

    def measure(sample: Sample) -> Estimate:
        x = sample["occupied"]
        return sample.estimate(window_s * (x - x.mean()) ** 2)

    return measure


def _windows(
    case: Case, scenario: Scenario, numbers: list[Number], window: int, first: int
) -> Parts:  # fmt: skip
    """Copies side by side; an observation is the average of each over a window."""
    if not numbers:
        return
    copies = side_by_side(scenario, COPIES)
    names = Names.of(copies)
    bound = [names.pairs.index((f"T{i}", f"L{i}")) for i in range(COPIES)]
    events = [event_index(names, "bound", f"L{i}", f"T{i}") for i in range(COPIES)]

    def read(series: Series, before: Series) -> Mapping[str, Array]:
        bindings = series.events[-1, events] - before.events[-1, events]
        return {
            "occupied": series.totals[:, bound].mean(axis=0)[None],
            "bindings": bindings[None].astype(np.float64),
        }

    # Every step is recorded, so windows are observed one by one; each is long enough to count as
    # independent of the next.
    observe = partial(
        Panel, copies, copies=COPIES, apart=1, read=read, burn_in=BURN_IN * window // WINDOW,
        every=window, record=1, at_once=1,
    )  # fmt: skip
    # In a step of all copies each that is awake adds up all channels.
    awake = min(10, COPIES / scenario.grid.cells + 1)
    per_observation = window * (40 + 0.2 * COPIES * awake)
    yield from trial(case, numbers, first, observe, per_observation, f"{numbers[0].name}...: ")
