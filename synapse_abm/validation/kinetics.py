"""Groups F and G: the way to equilibrium, its memory, and two ligands that race for one site.

Everything happens in one cell, where a step of any length is exact; runs are repeated from the same
start, so observations are independent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from synapse_abm.synapse.engine import layout as lay
from synapse_abm.synapse.engine.network import Names
from synapse_abm.synapse.engine.simulation import Series, Simulation
from synapse_abm.synapse.scenario import Ligand, Scenario
from synapse_abm.theory import (
    Law,
    closed_transient_law,
    open_law,
    open_transient_law,
    time_average_variance,
)
from synapse_abm.validation.cases import Array, Case, NotRun, on_steps
from synapse_abm.validation.quantities import (
    OCCUPANCY,
    SPREAD,
    Measure,
    Number,
    at_least,
    covariance,
    less,
    mean,
    variance,
)
from synapse_abm.validation.relaxation import pace
from synapse_abm.validation.samples import Replicates
from synapse_abm.validation.scenarios import (
    Choice,
    SitesTaken,
    at_random,
    per_concentration,
    per_pair,
    side_by_side,
    well_mixed,
)
from synapse_abm.validation.trials import (
    Claims,
    Observe,
    Parts,
    bound,
    interleaved,
    series,
    stationary,
    trial,
    with_exchange_rate,
)

#: Independent runs up to the first look; sites of a run of group G.
FIRST, SITES, FIRST_SITES = 2400, 64, 100
MOST_STEPS = 1000
#: Snapshots per relaxation time for a time average, and the relative change this makes to it.
SNAPSHOTS = 2
#: Complexes beyond which the exponential of the master equation takes too long.
MOST_COMPLEXES = 1000


def approach(case: Case) -> Parts:
    """Group F, told apart by the parameters: clamped or closed, in time or at equilibrium."""
    if "kon_pair" in case.params:
        yield from _closed(case)
        return
    if "t" in case.params:
        yield from _association(case)
    yield from _memory(case)


def _clamped(case: Case) -> tuple[Scenario, float, float]:
    """N sites and a clamped ligand: with the rate of relaxation (1/s) and the occupancy."""
    # After a start that the case sets, a ligand may be washed out: no C, no k_on.
    washed = 0.0 if "B0" in case.params or "p0" in case.params else None
    kon, concentration = (case.rate(name, zero=True, default=washed) for name in ("kon", "C"))
    koff = case.rate("koff")
    ligand = Ligand(clamped_nM=concentration, binding={"T": per_concentration(kon, koff)})
    scenario, rate = well_mixed(case.count("N", 1), {"L": ligand}), kon * concentration + koff
    return scenario, rate, kon * concentration / rate


def _association(case: Case) -> Parts:
    """A clamped ligand and N sites: ``B0`` of them are taken at time zero, or each is with the
    probability ``p0``; none unless the case says so.
    """
    (scenario, rate, p), chance, times = _clamped(case), case.share("p0"), case.times()
    sites, start = scenario.targets["T"].n_sites, case.count("B0", default=0)
    if start > sites or (start and chance is not None):
        case.fault("params.B0", case.params["B0"], f"at most N = {sites}, and not beside p0")
    case.stop_if_faulty()
    if chance is not None:
        laws = [open_law(sites, p + (chance - p) * math.exp(-rate * t)) for t in times]
        return _transient(case, scenario, times, laws, at_random({"L": chance}))
    laws = [open_transient_law(t, sites, start, p, rate) for t in times]

    def first(_: np.random.Generator, n: int) -> lay.I64:
        """The first ``start`` sites of each copy hold the ligand, number 0."""
        return (np.arange(n) % sites >= start).astype(np.int64)

    return _transient(case, scenario, times, laws, first if start else None)


def _closed(case: Case) -> Parts:
    """R sites and L molecules, all free at time zero."""
    sites, copies = case.count("R", 1), case.count("L", 1)
    rates, times = (case.rate("kon_pair"), case.rate("koff")), case.times()
    case.stop_if_faulty()
    if min(sites, copies) > MOST_COMPLEXES:
        raise NotRun(f"not run in this release; its law has over {MOST_COMPLEXES} states")
    laws = [closed_transient_law(t, sites, copies, *rates) for t in times]
    scenario = well_mixed(sites, {"L": Ligand(count=copies, binding={"T": per_pair(*rates)})})
    return _transient(case, scenario, times, laws, None, solved=True)


def _transient(
    case: Case, scenario: Scenario, times: Array, laws: list[Law], start: Choice | None, *,
    solved: bool = False,
) -> Parts:  # fmt: skip
    """Means, variances and occupancies at given times; laws give the exact errors."""
    sites = scenario.targets["T"].n_sites
    fourth = [math.sqrt(max(law.central_moment(4) - law.var**2, 0.0)) for law in laws]

    def share(i: int, _: float) -> Measure:
        return at_least(mean(f"bound@{i}", 1 / sites), laws[i].sd / sites)

    curves = (
        series(case, "p_t", times, "p", OCCUPANCY, share, solved=solved),
        series(case, "mean_t", times, "mean", OCCUPANCY.on(sites),
               lambda i, _: at_least(mean(f"bound@{i}"), laws[i].sd), solved=solved),
        series(case, "var_t", times, "var", SPREAD.of_largest(),
               lambda i, _: at_least(variance(f"bound@{i}"), fourth[i]), solved=solved),
    )  # fmt: skip
    numbers = interleaved(*curves)
    step, records = on_steps(times, MOST_STEPS)
    events = 2 * pace(scenario).events_per_s * float(times.max()) + sites
    # A run costs about as much as 300 events before anything happens: small systems share it.
    copies = min(max(1, round(300 / (events + 1))), 16)
    replicas = side_by_side(scenario.model_copy(update={"dt_s": step}), copies)
    taken = None if start is None else SitesTaken(Names.of(replicas), "L", start)

    def read(_: Simulation, series: Series) -> Mapping[str, Array]:
        at_start = np.zeros(copies) if taken is None else taken.pairs
        table = np.vstack([at_start, series.totals[:, :copies]])
        return {f"bound@{i}": table[at].astype(np.float64) for i, at in enumerate(records)}

    steps = int(records.max(initial=1))
    observe = partial(Replicates, replicas, steps=steps, read=read, prepare=taken)
    rare = 1.0
    if curves[2]:
        # Early and late, few sites change: the relative error of a variance grows as 1 / variance.
        rare += min(0.5 / min((law.var for law in laws if law.var > 0), default=1.0), 20.0)
    per_observation = events * (1 + copies / 16) + 20 * len(set(records)) + 1000 / copies
    return trial(case, numbers, round(FIRST * rare), observe, per_observation)


# --- memory at equilibrium ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Equilibrium:
    """N sites and a clamped ligand at equilibrium."""

    scenario: Scenario
    relaxation_s: float
    p: float

    @property
    def sites(self) -> int:
        """N."""
        return self.scenario.targets["T"].n_sites

    @property
    def variance(self) -> float:
        """Variance of the number bound."""
        return self.sites * self.p * (1 - self.p)

    def events(self, window: float) -> float:
        """Events within a window (s), and what starting it takes."""
        return 2 * self.variance * window / self.relaxation_s + 0.1 * self.sites

    def watched(
        self, steps: int, dt: float, copies: int, read: Callable[[Array], Mapping[str, Array]]
    ) -> Observe:
        """Runs from a stationary start; ``read`` gets the sites bound, shape (steps, copies)."""
        replicas = side_by_side(self.scenario.model_copy(update={"dt_s": dt}), copies)
        start = SitesTaken(Names.of(replicas), "L", at_random({"L": self.p}))

        def columns(_: Simulation, series: Series) -> Mapping[str, Array]:
            return read(series.totals[:, :copies].astype(np.float64))

        return partial(Replicates, replicas, steps=steps, read=columns, prepare=start)


def _memory(case: Case) -> Parts:
    """Equilibrium of a clamped ligand: its rates, autocovariance, variance of a time average."""
    scenario, rate, p = _clamped(case)
    case.stop_if_faulty()
    if p == 0:
        return
    claims = Claims(case)
    claims.share("p_eq", "bound", scenario.targets["T"].n_sites)
    counts = with_exchange_rate(claims, scenario)
    yield from stationary(case, claims, scenario, {"bound": bound("L")}, counts)
    place = _Equilibrium(scenario, 1 / rate, p)
    if "autocov_bound" in case.exact:
        yield from _autocovariance(case, place)
    if "var_timeavg_occupancy" in case.exact:
        yield from _time_averages(case, place)


def _autocovariance(case: Case, place: _Equilibrium) -> Parts:
    lags = case.times("params.lags")
    numbers = series(
        case, "autocov_bound", lags, "autocov", SPREAD.on(place.variance),
        lambda i, _: covariance("now", f"later@{i}"), label="lag",
    )  # fmt: skip
    case.stop_if_faulty()
    step, records = on_steps(lags, MOST_STEPS)

    def read(table: Array) -> Mapping[str, Array]:
        columns = {f"later@{i}": table[at] for i, at in enumerate(records)}
        return {"now": table[0], **columns}

    steps, copies = int(records.max()) + 1, 8
    per_observation = 2 * place.events(steps * step) + 30 * steps / copies + 150
    observe = place.watched(steps, step, copies, read)
    return trial(case, numbers, FIRST, observe, per_observation, "autocov_bound: ")


def _time_averages(case: Case, place: _Equilibrium) -> Parts:
    """Each window is a trial of its own; what takes too many events is left out.

    The average is the mean of snapshots by the trapezoid rule.
    """
    windows = case.times("params.T")

    def spread(i: int, _: float) -> Measure:
        return less(variance("average"), _trapezoid_shift(place, windows[i], weights[i]))

    # Two snapshots a relaxation time lose nothing: what their sum differs by is known, and taken
    # off.
    steps = [max(8, math.ceil(SNAPSHOTS * window / place.relaxation_s)) for window in windows]
    weights = [_trapezoid(n) / place.sites for n in steps]
    numbers = series(
        case, "var_timeavg_occupancy", windows, "var_timeavg", SPREAD, spread, label="T"
    )
    for number, window, n, weight in zip(numbers, windows.tolist(), steps, weights, strict=False):
        events = place.events(window)
        copies = min(max(1, round(500 / (events + 1))), 8)

        def read(table: Array, weight: Array = weight) -> Mapping[str, Array]:
            return {"average": weight @ table}

        observe = place.watched(n + 1, window / n, copies, read)
        per_observation = 1.5 * events + 5 * n + 150
        yield from trial(case, [number], FIRST, observe, per_observation, f"{number.name}: ")


def _trapezoid(steps: int) -> Array:
    """Weights of the ends of so many steps in the average over all of them."""
    weights = np.full(steps + 1, 1 / steps)
    weights[[0, -1]] /= 2
    return weights


def _trapezoid_shift(place: _Equilibrium, window: float, weights: Array) -> float:
    """Variance of the sum over snapshots less that of the integral; both are exact."""
    # Of an exponential memory: the sum over all pairs of snapshots, by their distance.
    lags = window / (weights.size - 1) / place.relaxation_s * np.arange(weights.size)
    pairs = np.correlate(weights, weights, mode="full")[weights.size - 1 :]
    pairs[1:] *= 2
    snapshots = place.variance * float(pairs @ np.exp(-lags))
    integral = time_average_variance(window, place.sites, place.p, place.relaxation_s)
    return snapshots - float(integral)


# --- two ligands ----------------------------------------------------------------------------------


def race(case: Case) -> Parts:
    """Group G: a label and a competitor, both added at time zero (Motulsky & Mahan)."""
    ligands = {
        name: Ligand(
            clamped_nM=case.rate(name, zero=True),
            binding={"T": per_concentration(
                case.rate(f"kon_{name}", zero=True), case.rate(f"koff_{name}"))},
        )
        for name in "LI"
    }  # fmt: skip
    scenario = well_mixed(case.count("N", 1, default=SITES), ligands)
    sites = scenario.targets["T"].n_sites

    def occupied_by(ligand: str) -> Callable[[int, float], Measure]:
        """Errors are no smaller than those of independent sites."""
        return lambda i, exact: at_least(
            mean(f"{ligand}@{i}"), math.sqrt(max(exact * (1 - exact), 0.0) / sites)
        )

    if "t" in case.params:
        times = case.times()
        label = series(case, "p_label_t", times, "p_label", OCCUPANCY, occupied_by("L"))
        competitor = series(case, "p_comp_t", times, "p_comp", OCCUPANCY, occupied_by("I"))
        yield from _race(case, scenario, times, label + competitor)
    # The label's occupancy at the time of its peak; where the peak is cannot be measured as
    # sharply.
    peak, top = case.number("p_peak"), case.number("t_peak")
    if peak is not None and top:
        number = OCCUPANCY.number(case.id, "p_peak", peak, occupied_by("L")(0, peak))
        yield from _race(case, scenario, np.array([top]), [number])
    ends = Claims(case)
    ends.share("p_label_eq", "L", sites)
    ends.share("p_comp_eq", "I", sites)
    case.stop_if_faulty()
    yield from stationary(case, ends, scenario, {n: bound(n) for n in "LI"}, {})


def _race(case: Case, scenario: Scenario, times: Array, numbers: Sequence[Number]) -> Parts:
    """Occupancies at given times."""
    if not numbers:
        return
    step, records = on_steps(times, MOST_STEPS)

    def read(_: Simulation, series: Series) -> Mapping[str, Array]:
        columns: dict[str, Array] = {}
        for name in "LI":
            # Time 0 is no step: sites are empty then.
            curve = np.concatenate([[0.0], series.occupancy("T", name)])
            columns |= {f"{name}@{i}": curve[[at]] for i, at in enumerate(records)}
        return columns

    run, steps = scenario.model_copy(update={"dt_s": step}), int(records.max(initial=1))
    observe = partial(Replicates, run, steps=steps, read=read)
    sites = scenario.targets["T"].n_sites
    events = pace(scenario).events_per_s * float(times.max()) + sites
    first = max(2, round(FIRST_SITES * SITES / sites))
    yield from trial(case, numbers, first, observe, events + 20 * steps + 1000)
