"""Group O: kinetics on grids at the program's own step, against continuous time.

A step freezes positions while it reacts, and rates are adjusted to it (``scenario.
rate_adjustment``). Equilibrium does not depend on that; what is measured here does: curves of
association and dissociation, the relaxation rate, the correlation time, the mean time to first
binding, and flux where molecules enter, are transported and lost. The step is the one that the
program chooses at an accuracy of 0.3 %, unless a case says a longer one.

An honest bias is expected, so these numbers FAIL only beyond their margin of 1 % (`KINETICS`). To
pass they must certainly lie within it, as all others.

Exact numbers come from linear algebra for one molecule, from the master equation for a few, and
from the program itself at a 32nd of the step for many (an eighth for flux;
``validation.finer_steps``): the announced error falls as the square of the step, to a thousandth (a
64th), and the error of that simulation is known and counted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from synapse_abm.statistics import Estimate
from synapse_abm.synapse.engine import layout as lay
from synapse_abm.synapse.engine.network import Names
from synapse_abm.synapse.engine.simulation import Series, Simulation
from synapse_abm.synapse.engine.state import State
from synapse_abm.synapse.scenario import Grid, Scenario
from synapse_abm.validation.arrangement import Arrangement, excess_beyond, main_mode
from synapse_abm.validation.cases import Array, Case
from synapse_abm.validation.quantities import KINETICS, UNKNOWN, Measure, Number, mean
from synapse_abm.validation.relaxation import pace, planned
from synapse_abm.validation.samples import BURN_IN, Prepare, Replicates, Sample, Stationary
from synapse_abm.validation.scenarios import put_into, side_by_side
from synapse_abm.validation.trials import DECIDING, OBSERVING, Parts, bound, free, series, trial

#: Molecules followed at once where copies of a system lie side by side: one of few molecules.
MOLECULES, FEW = 64, 4
#: Standard error at the deciding look, in margins. A number without bias passes there 98 times in a
#: hundred, and at the last look (1.7 times finer) one that is off by a third of its margin.
DECIDED = 0.165
#: Events that the step of a molecule on its own, and of one among many, is worth.
LONE_STEP, STEP = 5.0, 0.3
#: ... and starting again.
RESTART = 4000
#: Relaxation times after which the rate of relaxation begins to be measured.
EARLY = 0.15
#: Times that an integral is followed for, in units of it; the rest of it, a seventh, is known.
FOLLOWED = 2.0


def kinetics_on_a_grid(case: Case, parts: int = 1) -> Parts:
    """A case of group O, by what it gives; in steps ``parts`` times shorter."""
    system = Arrangement.of(case, parts)
    if system.entry:
        yield from _steady_flux(case, system)
        return
    yield from _from_free(case, system)
    if system.is_lone:
        yield from _from_bound(case, system)
        yield from _from_main_mode(case, system)


# --- from a start, in time ------------------------------------------------------------------------


def _from_free(case: Case, system: Arrangement) -> Parts:
    """All molecules free and anywhere, all sites empty: association, and time to first binding."""
    times = _times(case, "association_t", "association_B_t", "free_t")
    numbers, scenario, length = list[Number](), system.scenario(times), _last(times)
    for key, column in {"association": "L", "association_B": "B", "free": "free"}.items():
        if times is not None:
            numbers += _curve(case, f"{key}_t", times, key, column)
    key = "mean_bind_time_uniform_start"
    if system.is_lone and (exact := case.number(key)) is not None:
        length = _whole_steps(max(length, FOLLOWED * exact), scenario.dt_s)
        wait = system.first_binding.wait(np.full(system.walk.cells, 1 / system.walk.cells))
        beyond = float((wait.weights / wait.rates * np.exp(-wait.rates * length)).sum())
        numbers.append(KINETICS.number(case.id, key, exact, _first_binding(beyond), solved=True))
    start = Scattered(system.place.grid)
    yield from _watched(case, system, scenario, length, times, numbers, start)


def _from_bound(case: Case, system: Arrangement) -> Parts:
    """One molecule, bound to any site alike: dissociation, and correlation time."""
    times, exact = _times(case, "dissociation_t"), case.number("correlation_time")
    numbers, scenario, length = list[Number](), system.scenario(times), _last(times)
    if times is not None:
        numbers += _curve(case, "dissociation_t", times, "dissociation", "L")
    if exact is not None:
        length, p = _whole_steps(max(length, FOLLOWED * exact), scenario.dt_s), system.occupancy
        beyond = excess_beyond(system.lone.relaxation(), length, p)
        measure = _excess(p, length, beyond, scenario.dt_s)
        numbers.append(KINETICS.number(case.id, "correlation_time", exact, measure, solved=True))
    sites, cells = len(system.sites), system.walk.cells
    start = FromLaw(system.place.grid, np.append(np.zeros(cells), np.full(sites, 1 / sites)))
    # Short stays are many and rebinding is rare: a time bound varies by 1.3 of its mean.
    yield from _watched(case, system, scenario, length, times, numbers, start, 1.3)


def _from_main_mode(case: Case, system: Arrangement) -> Parts:
    """One molecule, from a law that relaxes as one exponential: its rate, between two times."""
    rate = case.number("relaxation_rate")
    if rate is None:
        return
    scenario, law, p = system.scenario(), main_mode(system.lone), system.occupancy
    dt, bound = scenario.dt_s, float(law[system.walk.cells :].sum())
    early = max(1, round(planned(EARLY / rate) / dt))
    # The later, the better the rate shows, and the less of the excess is left to be seen: there is
    # a best time.
    late = early + np.arange(1, 400)
    left = (bound - p) * np.exp(-rate * dt * late)
    error = np.sqrt((p + left) * (1 - p - left)) / abs(left) / ((late - early) * dt * rate)
    last = int(late[np.argmin(error)])
    measure = _rate(p, (last - early) * dt)
    number = KINETICS.number(case.id, "relaxation_rate", rate, measure, solved=True)
    times, start = np.array([early, last]) * dt, FromLaw(system.place.grid, law)
    sd = planned(float(error.min()))
    yield from _watched(case, system, scenario, last * dt, times, [number], start, sd)


def _last(times: Array | None) -> float:
    return 0.0 if times is None else float(times.max())


def _whole_steps(length: float, dt: float) -> float:
    """A length (s) of whole steps, not shorter."""
    return math.ceil(planned(length) / dt * (1 - 1e-9)) * dt


def _times(case: Case, *keys: str) -> Array | None:
    """Times of the curves that the case gives; none if it gives none."""
    return case.times() if any(key in case.exact for key in keys) else None


def _curve(case: Case, key: str, times: Array, name: str, column: str) -> list[Number]:
    """Mean numbers at given times, with the errors of their exact values if these have any."""
    numbers = series(
        case,
        key,
        times,
        name,
        KINETICS.of_largest(),
        lambda i, _: mean(f"{column}@{i}"),
        solved=True,
    )
    errors = case.series(f"{key}_se", times.size)
    if errors is None:
        return numbers
    return [
        replace(number, exact_se=se, solved=False)
        for number, se in zip(numbers, errors.tolist(), strict=True)
    ]


def _watched(
    case: Case, system: Arrangement, scenario: Scenario, length: float, times: Array | None,
    numbers: list[Number], prepare: Prepare, relative_sd: float = 1.0,
) -> Parts:  # fmt: skip
    """Runs of ``length`` (s) from one kind of start; columns at ``times``, and of whole runs."""
    if not numbers:
        return
    copies, dt, kinds = _copies(system), scenario.dt_s, len(system.molecules)
    side = side_by_side(scenario, copies) if copies > 1 else scenario
    at = [] if times is None else np.round(times / dt).astype(np.int64).tolist()
    steps, names = round(length / dt), Names.of(side)

    def read(_: Simulation, series: Series) -> Mapping[str, Array]:
        columns, totals = dict[str, Array](), series.totals.astype(np.float64)
        # Ligands take turns (L0, B0, L1, B1 ...), and so do pairs, of one target each.
        for number, name in enumerate(system.molecules):
            bound = totals[:, number : copies * kinds : kinds]
            columns |= {f"{name}@{i}": bound[n - 1] for i, n in enumerate(at)}
        free = totals[:, names.free(0) : names.inside(0) : kinds]
        columns |= {f"free@{i}": free[n - 1] for i, n in enumerate(at)}
        return columns | (_over_time(totals, series.events, dt, names) if system.is_lone else {})

    observe = partial(Replicates, side, steps=steps, read=read, prepare=prepare)
    moved = LONE_STEP * system.count if copies > 1 else STEP * (system.count + len(system.sites))
    first = _first(system, numbers, relative_sd)
    yield from trial(case, numbers, first, observe, steps * moved + RESTART / copies)


def _copies(system: Arrangement) -> int:
    """How many systems are simulated side by side."""
    return MOLECULES // system.count if system.count <= FEW else 1


def _first(system: Arrangement, numbers: list[Number], relative_sd: float) -> int:
    """First look: so many observations that the deciding one has an error of `DECIDED` margins."""
    # Of a number of molecules bound the variance is about that of a binomial law, m (1 - m / n) for
    # a mean of m; of times and rates the standard deviation is about what they are.
    n, most = min(system.count, len(system.sites)), 0.0
    for number in numbers:
        sd = relative_sd * number.exact
        if "[" in number.name:
            sd = math.sqrt(max(number.exact * (1 - number.exact / max(n, number.exact)), 0.0))
        most = max(most, sd / number.margin)
    return max(_copies(system), 2, math.ceil(planned((most / DECIDED) ** 2 / DECIDING)))


def _over_time(totals: Array, events: Array, dt: float, names: Names) -> dict[str, Array]:
    """Of each copy: time until the first binding within the run; time bound by the trapezoid rule,
    but for half of the first step's.
    """
    bound = totals[:, : names.empty(0)]
    bindings = events[:, names.counter(lay.BIND, 0) : names.counter(lay.RETURN, 0)]
    unbound = (bindings == 0).sum(axis=0)
    # A binding is seen at the end of its step; on average it is half a step old.
    first = dt * (unbound + 0.5 * (unbound < len(bound)))
    return {"first": first, "bound_s": dt * (bound.sum(axis=0) - bound[-1] / 2)}


def _first_binding(beyond: float) -> Measure:
    """Mean time to first binding; what lies beyond the run is known."""

    def measure(sample: Sample) -> Estimate:
        seen = sample.estimate(sample["first"])
        return replace(seen, value=seen.value + beyond)

    return measure


def _excess(p: float, length: float, beyond: float, dt: float) -> Measure:
    """Correlation time: the time bound after a start from bound, beyond that at equilibrium, over
    1 - p; what lies beyond the run is known.
    """

    def measure(sample: Sample) -> Estimate:
        seen = sample.estimate(sample["bound_s"])
        excess = seen.value + dt / 2 - p * length + beyond
        return replace(seen, value=excess / (1 - p), se=seen.se / (1 - p))

    return measure


def _rate(p: float, apart: float) -> Measure:
    """Rate at which the chance to be bound goes to ``p``, between two times ``apart`` (s)."""

    def measure(sample: Sample) -> Estimate:
        early, late = sample["L@0"], sample["L@1"]
        first, second = float(early.mean()) - p, float(late.mean()) - p
        if second == 0 or first / second <= 0:
            return UNKNOWN
        rate = math.log(first / second) / apart
        off = (early - early.mean()) / first - (late - late.mean()) / second
        return sample.estimate(rate + off / apart)

    return measure


# --- starts ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scattered:
    """All molecules free, each in a cell of its own choice."""

    grid: Grid

    def __call__(self, state: State, generator: np.random.Generator) -> None:
        """Scatter the molecules of a state anew."""
        put_into(state, generator.integers(self.grid.cells, size=state.live()), self.grid.width)


@dataclass(frozen=True, eq=False)
class FromLaw:
    """The one molecule of each copy, drawn from a law over the cells and then the sites."""

    grid: Grid
    law: Array

    def __call__(self, state: State, generator: np.random.Generator) -> None:
        """Put the molecules of a state, all free in it, where the law says."""
        store, copies = state.store, state.live()
        mol, sites = store.molecules, store.sites
        drawn = np.searchsorted(np.cumsum(self.law)[:-1], generator.random(copies), side="right")
        cells = drawn.copy()
        bound = np.flatnonzero(drawn >= self.grid.cells)
        # Sites, like ligands and pairs, are listed copy by copy.
        site = bound * (sites.shape[1] // copies) + drawn[bound] - self.grid.cells
        cells[bound] = sites[lay.SITE_CELL, site]
        row = np.flatnonzero(mol[lay.COMPARTMENT] == lay.FREE)[bound]
        put_into(state, cells, self.grid.width)
        mol[lay.CELL, row], mol[lay.COMPARTMENT, row], mol[lay.SITE, row] = (
            self.grid.cells, lay.BOUND, site,
        )  # fmt: skip
        sites[lay.LIGAND, site], sites[lay.ROW, site] = bound, row
        # Of as many pairs, targets and ligands as there are copies: bound, empty, free (`Names`);
        # and of unbinding, transport and binding, the last.
        for block, change in enumerate((1, -1, -1)):
            store.totals[block * copies + bound] += change
        store.events[lay.BIND * copies + bound] += 1
        store.last_s[lay.BIND * copies + bound] = 0.0


# --- entry, transport and loss --------------------------------------------------------------------


def _steady_flux(case: Case, system: Arrangement) -> Parts:
    """Molecules that enter, are transported and lost: flux and numbers in the steady state."""
    relaxation = pace(system.scenario()).relaxation_s
    scenario = system.scenario(np.array([relaxation]), burn_in_s=BURN_IN * relaxation)
    dt, numbers = scenario.dt_s, list[Number]()
    # Twice in a relaxation time: seldom enough for a short series, often enough to know its memory.
    every = max(1, round(relaxation / (2 * dt)))
    for key, column, scale in (
        ("flux", "transported", 1 / (every * dt)),
        ("mean_bound", "bound", 1.0),
        ("mean_free", "free", 1.0),
    ):  # fmt: skip
        if (exact := case.number(key)) is not None:
            number = KINETICS.number(case.id, key, exact, mean(column, scale))
            numbers.append(replace(number, exact_se=case.number(f"{key}_se") or 0.0))
    observe = partial(
        Stationary, scenario, levels={"bound": bound("L"), "free": free("L")},
        counts={"transported": lambda series: series.count("transported", "L", "T")},
        relaxation_steps=relaxation / dt, every=every,
    )  # fmt: skip
    # As many transports as an error of 4/3 of that asks for, were they a Poisson process: the exact
    # numbers have errors of their own.
    flux, molecules = case.number("flux") or 1.0, case.number("mean_free") or 1.0
    # By the scatter of counted transports, and twice as many: free molecules enter and leave at
    # random, so that their number scatters more.
    first = math.ceil(2 / (4 / 3 * DECIDED * KINETICS.size) ** 2 / (flux * every * dt) / DECIDING)
    each = every * STEP * (molecules + len(system.sites)) + OBSERVING
    yield from trial(case, numbers, first, observe, each)
