"""Groups F and G: the way to equilibrium, its memory, and two ligands that race for one site.

Everything happens in one cell, where a step of any length is exact; runs are repeated from the same
start, so observations are independent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from synapse_abm.statistics import Estimate
from synapse_abm.synapse.engine import layout as lay
from synapse_abm.synapse.engine.network import CountRows, Names
from synapse_abm.synapse.engine.simulation import Series, Simulation
from synapse_abm.synapse.engine.state import State
from synapse_abm.synapse.scenario import Ligand, Scenario
from synapse_abm.theory import (
    Law,
    closed_transient_law,
    occupancy,
    open_law,
    open_transient_law,
    time_average_variance,
)
from synapse_abm.validation.cases import Array, Case, common_step
from synapse_abm.validation.quantities import (
    SPREAD,
    Number,
    Quantity,
    at_least,
    covariance,
    exchange_rate,
    mean,
    share,
    variance,
)
from synapse_abm.validation.relaxation import pace
from synapse_abm.validation.samples import Columns, Replicates, Sample
from synapse_abm.validation.scenarios import per_concentration, per_pair, side_by_side, well_mixed
from synapse_abm.validation.seats import Seats
from synapse_abm.validation.trials import (
    DECIDING,
    Claims,
    Observe,
    Plan,
    Trial,
    affordable,
    bound,
    stationary,
    too_long,
    trial,
)

#: Independent runs up to the first look; sites of a run of group G.
FIRST, SITES, FIRST_SITES = 2400, 64, 100
MOST_STEPS = 1000
#: Snapshots per relaxation time for a time average, and the relative change this makes to it.
SNAPSHOTS = 2
_NO_STEP = f"its times have no step that fits {MOST_STEPS} times"


def approach(case: Case) -> Plan:
    """Group F, told apart by the parameters: clamped or closed, in time or at equilibrium."""
    if "kon_pair" in case.params:
        return _closed(case)
    found = Plan()
    if "t" in case.params:
        found.add(_association(case))
    found.add(_memory(case))
    return found


def _clamped_rates(case: Case) -> tuple[float, float, float]:
    """k_on, k_off and C; after a start that is given a ligand may be washed out: no C, no k_on."""
    washed = 0.0 if "B0" in case.params or "p0" in case.params else None
    kon, held = (case.rate(name, zero=True, default=washed) for name in ("kon", "C"))
    return kon, case.rate("koff"), held


def _association(case: Case) -> Plan:
    """A clamped ligand and N sites: ``B0`` of them are taken at time zero, or each is with the
    probability ``p0``; none unless the case says so.
    """
    sites, chance = case.count("N", 1), case.share("p0")
    (kon, koff, held), times = _clamped_rates(case), case.times("params")
    start = case.count("B0", default=0)
    if start > sites or (start and chance is not None):
        start = 0
        case.fault("params.B0", case.params["B0"], f"at most N = {sites}, and not beside p0")
    if case.faults:
        return Plan()
    rate = kon * held + koff
    p = kon * held / rate
    scenario = well_mixed(
        sites, {"L": Ligand(clamped_nM=held, binding={"T": per_concentration(kon, koff)})}
    )
    if chance is None:
        laws = [open_transient_law(t, sites, start, p, rate) for t in times]
        return _transient(case, scenario, times, laws, _Taken.first(start) if start else None)
    laws = [open_law(sites, p + (chance - p) * math.exp(-rate * t)) for t in times]
    return _transient(case, scenario, times, laws, _Taken.perhaps(chance))


def _closed(case: Case) -> Plan:
    """R sites and L molecules, all free at time zero."""
    sites, copies = case.count("R", 1), case.count("L", 1)
    rates = case.rate("kon_pair"), case.rate("koff")
    times = case.times("params")
    if case.faults:
        return Plan()
    if min(sites, copies) > 1000:
        return Plan(left_out=[(case.id, "not run in this release; its law has over 1000 states")])
    laws = [closed_transient_law(t, sites, copies, *rates) for t in times]
    scenario = well_mixed(sites, {"L": Ligand(count=copies, binding={"T": per_pair(*rates)})})
    return _transient(case, scenario, times, laws, None)


class _Taken:
    """Lets the clamped ligand hold sites at time zero: which of them, shape (copies, sites)."""

    def __init__(self, choose: Callable[[np.random.Generator, tuple[int, int]], Any]) -> None:
        self._choose = choose
        self.held: Array = np.zeros(0)

    @classmethod
    def first(cls, number: int) -> _Taken:
        """The first ``number`` sites of every copy."""
        return cls(lambda _, shape: np.arange(shape[1])[None, :].repeat(shape[0], 0) < number)

    @classmethod
    def perhaps(cls, chance: float) -> _Taken:
        """Each site with a probability."""
        return cls(lambda generator, shape: generator.random(shape) < chance)

    def __call__(self, state: State, generator: np.random.Generator) -> None:
        sites, totals = state.store.sites, state.store.totals
        copies = int(sites[lay.TARGET].max()) + 1
        each = sites.shape[1] // copies
        taken = self._choose(generator, (copies, each))
        sites[lay.LIGAND, taken.ravel()] = sites[lay.TARGET, taken.ravel()]  # i binds i
        totals[:copies] = taken.sum(axis=1)
        totals[copies : 2 * copies] = each - totals[:copies]
        self.held = totals[:copies].astype(np.float64)


def _transient(
    case: Case, scenario: Scenario, times: Array, laws: list[Law],
    prepare: _Taken | None,
) -> Plan:  # fmt: skip
    """Means, variances and occupancies at given times; laws give the exact errors."""
    step, sites = common_step(times, MOST_STEPS), scenario.targets["T"].n_sites
    if step is None:
        return Plan(left_out=[(case.id, _NO_STEP)])
    numbers = _transient_numbers(case, times, laws, sites)
    if case.faults or not numbers:
        return Plan()
    events = 2 * pace(scenario).events_per_s * float(times.max()) + sites
    copies = min(max(1, round(300 / (events + 1))), 16)
    replicas = side_by_side(scenario.model_copy(update={"dt_s": step}), copies)
    records = np.round(times / step).astype(np.int64)
    columns = CountRows.of(Names.of(replicas))

    def read(_: Simulation, series: Series) -> Mapping[str, Array]:
        table = series.totals[:, : columns.pairs]
        held = np.zeros(copies) if prepare is None else prepare.held
        table = np.vstack([held, table])
        return {f"bound@{i}": table[at].astype(np.float64) for i, at in enumerate(records)}

    steps = int(records.max(initial=1))
    observe = partial(Replicates, replicas, steps=steps, read=read, prepare=prepare)
    rare = 1.0
    if any(number.name.startswith("var") for number in numbers):
        least = min((law.var for law in laws if law.var > 0), default=1.0)
        rare += min(0.5 / least, 20.0)
    first = round(FIRST * rare)
    cost = DECIDING * first * (events * (1 + copies / 16) + 20 * len(set(records)) + 1000 / copies)
    return trial(case, numbers, first, observe, cost)


def _transient_numbers(case: Case, times: Array, laws: list[Law], sites: int) -> tuple[Number, ...]:
    """Variances are judged on the scale of the largest one."""
    found = []
    shares, means, spreads = (case.series(key, times.size) for key in ("p_t", "mean_t", "var_t"))
    for i, (t, law) in enumerate(zip(times, laws, strict=True)):
        at, column = f"[t={t:g}]", f"bound@{i}"
        fourth = math.sqrt(max(law.central_moment(4) - law.var**2, 0.0))
        if shares is not None:
            safe = at_least(mean(column, 1 / sites), law.sd / sites)
            found.append(share(case.id, f"p{at}", float(shares[i]), safe))
        if means is not None:
            safe = at_least(mean(column), law.sd)
            found.append(share(case.id, f"mean{at}", float(means[i]), safe, sites))
        if spreads is not None:
            safe = at_least(variance(column), fourth)
            margin = SPREAD * float(np.abs(spreads).max())
            found.append(Number(case.id, f"var{at}", float(spreads[i]), margin, safe))
    return tuple(found)


# --- memory at equilibrium ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Clamped:
    """N sites and a clamped ligand at equilibrium."""

    sites: int
    p: float
    relaxation_s: float
    scenario: Scenario

    def watched(
        self, steps: int, dt: float, copies: int, read: Callable[[Array], Mapping[str, Array]]
    ) -> Observe:
        """Runs from a stationary start; ``read`` gets the sites bound, shape (steps, copies)."""
        replicas = side_by_side(self.scenario.model_copy(update={"dt_s": dt}), copies)
        seats = Seats(Names.of(replicas), {"L": self.p})

        def columns(_: Simulation, series: Series) -> Mapping[str, Array]:
            return read(series.totals[:, :copies].astype(np.float64))

        return partial(Replicates, replicas, steps=steps, read=columns, prepare=seats)


def _memory(case: Case) -> Plan:
    """Equilibrium of a clamped ligand: its rates, autocovariance, variance of a time average."""
    sites = case.count("N", 1)
    kon, koff, held = _clamped_rates(case)
    if case.faults or kon * held == 0:
        return Plan()
    ligand = Ligand(clamped_nM=held, binding={"T": per_concentration(kon, koff)})
    scenario, tau = well_mixed(sites, {"L": ligand}), 1 / (kon * held + koff)
    place = _Clamped(sites, float(occupancy(held, koff / kon)), tau, scenario)
    claims = Claims(case)
    claims.share("p_eq", "bound", sites)
    claims.rate("k_obs", exchange_rate("unbound", "bound", sites, tau))
    counts: Columns = {"unbound": lambda series: series.count("unbound", "L", "T")}
    found = stationary(case, claims, scenario, {"bound": bound("L")}, counts)
    found.add(_autocovariance(case, place))
    found.add(_time_averages(case, place))
    return found


def _autocovariance(case: Case, place: _Clamped) -> Plan:
    if "autocov_bound" not in case.exact:
        return Plan()
    lags = _numbers_of(case, "lags")
    exact = case.series("autocov_bound", lags.size)
    step = common_step(lags, MOST_STEPS)
    if exact is None or case.faults:
        return Plan()
    if step is None:
        return Plan(left_out=[(case.id, _NO_STEP)])
    records = np.round(lags / step).astype(np.int64)
    full = place.sites * place.p * (1 - place.p)
    numbers = tuple(
        Number(
            case.id, f"autocov[lag={lag:g}]", float(e), SPREAD * full,
            covariance("now", f"later@{i}"),
        )
        for i, (lag, e) in enumerate(zip(lags, exact, strict=True))
    )  # fmt: skip

    def read(table: Array) -> Mapping[str, Array]:
        columns = {f"later@{i}": table[at] for i, at in enumerate(records)}
        return {"now": table[0], **columns}

    steps, copies = int(records.max()) + 1, 8
    events = _events(place, steps * step)
    cost = DECIDING * FIRST * (2 * events + 30 * steps / copies + 150)
    observe = place.watched(steps, step, copies, read)
    return trial(case, numbers, FIRST, observe, cost, "autocov_bound: ")


def _time_averages(case: Case, place: _Clamped) -> Plan:
    """Each window is a trial of its own; what takes too many events is left out."""
    if "var_timeavg_occupancy" not in case.exact:
        return Plan()
    windows = _numbers_of(case, "T")
    exact = case.series("var_timeavg_occupancy", windows.size)
    if exact is None or case.faults:
        return Plan()
    found = Plan()
    for window, e in zip(windows.tolist(), exact.tolist(), strict=True):
        steps = max(8, math.ceil(SNAPSHOTS * window / place.relaxation_s))
        cost = DECIDING * FIRST * (1.5 * _events(place, window) + 5 * steps + 150)
        name = f"var_timeavg[T={window:g}]"
        if cost > affordable(case):
            found.left_out.append((case.id, f"{name}: {too_long(cost)}"))
            continue
        found.trials.append(_time_average(case, place, name, window, steps, e, cost))
    return found


def _time_average(
    case: Case, place: _Clamped, name: str, window: float, steps: int, exact: float, cost: float
) -> Trial:  # fmt: skip
    """The mean of snapshots by the trapezoid rule, ``steps`` of them in the window."""
    weights = np.full(steps + 1, 1 / (steps * place.sites))
    weights[[0, -1]] /= 2
    shift = _trapezoid_shift(place, window, weights)

    def read(table: Array) -> Mapping[str, Array]:
        return {"average": weights @ table}

    spread = variance("average")

    def measure(sample: Sample) -> Estimate:
        found = spread(sample)
        return Estimate(found.value - shift, found.se, found.dof)

    number = Number(case.id, name, exact, SPREAD * abs(exact), measure)
    copies = min(max(1, round(500 / (_events(place, window) + 1))), 8)
    observe = place.watched(steps + 1, window / steps, copies, read)
    return Trial((number,), FIRST, observe, cost)


def _trapezoid_shift(place: _Clamped, window: float, weights: Array) -> float:
    """Variance of the sum over snapshots less that of the integral; both are exact."""
    lags = window / (weights.size - 1) / place.relaxation_s * np.arange(weights.size)
    pairs = np.correlate(weights, weights, mode="full")[weights.size - 1 :]
    pairs[1:] *= 2
    full = place.sites * place.p * (1 - place.p)
    snapshots = full * float(pairs @ np.exp(-lags))
    integral = time_average_variance(window, place.sites, place.p, place.relaxation_s)
    return snapshots - float(integral)


def _events(place: _Clamped, window: float) -> float:
    return place.sites * (2 * place.p * (1 - place.p) * window / place.relaxation_s + 0.1)


def _numbers_of(case: Case, name: str) -> Array:
    """A parameter that is a list of times > 0."""
    one = Case(
        case.source, case.id, case.group, {"t": case.params.get(name)}, {}, faults=case.faults
    )
    return one.times("params")


# --- two ligands ----------------------------------------------------------------------------------


def race(case: Case) -> Plan:
    """Group G: a label and a competitor, both added at time zero (Motulsky & Mahan)."""
    sites = case.count("N", 1, default=SITES)
    ligands = {
        name: Ligand(
            clamped_nM=case.rate(name, zero=True),
            binding={"T": per_concentration(
                case.rate(f"kon_{name}", zero=True), case.rate(f"koff_{name}"))},
        )
        for name in "LI"
    }  # fmt: skip
    scenario = well_mixed(sites, ligands)
    found = Plan()
    if "t" in case.params:
        times = case.times("params")
        curves = {"p_label": ("L", "p_label_t"), "p_comp": ("I", "p_comp_t")}
        claims = [
            (f"{name}[t={t:g}]", ligand, i, float(e))
            for name, (ligand, key) in curves.items()
            if (exact := case.series(key, times.size)) is not None
            for i, (t, e) in enumerate(zip(times, exact, strict=True))
        ]
        found.add(_race(case, scenario, times, claims))
    peak = case.number("p_peak")
    if peak is not None and case.number("t_peak"):
        top = np.array([case.number("t_peak")], dtype=np.float64)
        found.add(_race(case, scenario, top, [("p_peak", "L", 0, peak)]))
    ends = Claims(case)
    ends.share("p_label_eq", "L", sites)
    ends.share("p_comp_eq", "I", sites)
    if not case.faults and (ends.means or ends.spreads):
        found.add(stationary(case, ends, scenario, {n: bound(n) for n in "LI"}, {}))
    return found


def _race(
    case: Case, scenario: Scenario, times: Array, claims: list[tuple[str, str, int, float]]
) -> Plan:  # fmt: skip
    """Occupancies at given times; errors are no smaller than those of independent sites."""
    step, sites = common_step(times, MOST_STEPS), scenario.targets["T"].n_sites
    if case.faults or not claims:
        return Plan()
    if step is None:
        return Plan(left_out=[(case.id, _NO_STEP)])
    records = np.round(times / step).astype(np.int64)
    quantities: list[Quantity] = []
    for name, ligand, i, exact in claims:
        one = math.sqrt(max(exact * (1 - exact), 0.0) / sites)
        safe = at_least(mean(f"{ligand}@{i}"), one)
        quantities.append(share(case.id, name, exact, safe))

    def read(_: Simulation, series: Series) -> Mapping[str, Array]:
        columns: dict[str, Array] = {}
        for name in "LI":
            curve = np.concatenate([[0.0], series.occupancy("T", name)])
            columns |= {f"{name}@{i}": curve[[at]] for i, at in enumerate(records)}
        return columns

    run, steps = scenario.model_copy(update={"dt_s": step}), int(records.max(initial=1))
    observe = partial(Replicates, run, steps=steps, read=read)
    events = pace(scenario).events_per_s * float(times.max()) + sites
    first = max(2, round(FIRST_SITES * SITES / sites))
    cost = DECIDING * first * (events + 20 * steps + 1000)
    return trial(case, quantities, first, observe, cost)
