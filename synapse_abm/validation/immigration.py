"""Group N: molecules arrive, one by one or in batches, and leave one by one (the DSMTS suite).

One by one, arrivals and exits of a cell without sites are drawn in closed form; batches make the
cell run its clock. The cheapest process of single arrivals is run both ways. A reset sets the
number of molecules at a time: it forgets all before, so the run is split there.

Errors are exact here: mean, variance and fourth cumulant are known at every time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import ModuleType
from typing import NamedTuple

import numpy as np

from synapse_abm.core.address import Address
from synapse_abm.statistics import Estimate
from synapse_abm.synapse.engine.network import Names
from synapse_abm.synapse.engine.simulation import Series, Simulation, event_index
from synapse_abm.synapse.scenario import Batch, Ligand, Reservoir, Scenario
from synapse_abm.theory import exit_count, immigration_death
from synapse_abm.validation.cases import Array, Case, NotRun, after, on_steps
from synapse_abm.validation.quantities import RELATIVE, Measure, Number
from synapse_abm.validation.samples import Replicates, Sample
from synapse_abm.validation.scenarios import ONE_CELL, reservoir, side_by_side
from synapse_abm.validation.trials import (
    ASKED,
    DECIDING,
    SLACK,
    Plan,
    Trial,
    affordable,
    series,
    too_long,
    unknown_parameters,
)

MOST_STEPS = 1000
#: Replicates side by side, on the clock (where each makes the next event dearer) and off it.
CLOCKED, UNCLOCKED = 8, 64
LEAST_FIRST = 300
#: Single arrivals are also run on the clock if that takes at most this many events.
CHEAP = 2.5e7


type Members = list[tuple[Case, Array]]  # cases of one process, each with its times


class Process(NamedTuple):
    """Arrivals per s, rate of leaving (1/s), size of a batch, molecules at the start; the reset."""

    arrivals: float
    leaving: float
    batch: int
    start: int
    reset: tuple[float, int] | None

    @property
    def in_closed_form(self) -> bool:
        """Whether the engine draws it without a clock."""
        return self.batch == 1 and (self.leaving > 0 or self.arrivals == 0)

    def cost(self, horizon: float, clock: bool) -> float:
        """Events per replicate up to a time (s), or what takes as long."""
        steps = max(horizon, 1.0)
        arrivals = self.arrivals * self.batch * horizon + self.start
        if clock:
            return 3 * steps + 2 * arrivals
        present = min(arrivals, self.arrivals / self.leaving if self.leaving else arrivals)
        return (7 + 0.07 * present) * steps + arrivals


@dataclass(frozen=True, slots=True)
class Claim:
    """One exact number at one time, with what one observation of it is worth."""

    number: Number
    time: float
    one: float  # standard error of a single observation

    @property
    def needed(self) -> float:
        """Observations up to the deciding look."""
        return ((SLACK + ASKED) * self.one / max(self.number.margin, 1e-9)) ** 2


def immigration(cases: Sequence[Case]) -> Plan:
    """All cases of the group; those of the same process share their observations."""
    plan = Plan()
    shared: dict[Process, Members] = {}
    for case in cases:
        process, times = _process(case), case.times("exact.t")
        later = times if process.reset is None else after(times, process.reset[0])
        try:
            on_steps(times, MOST_STEPS), on_steps(later, MOST_STEPS)
        except NotRun as why:
            plan.left_out.append((case.id, str(why)))
            continue
        if (unknown := unknown_parameters(case)).unknown:
            plan.add(unknown)
        else:
            shared.setdefault(process, []).append((case, times))
    # In closed form where there is one, on the clock where there are batches.
    for process, members in shared.items():
        plan.add(_affordable(process, members, clock=not process.in_closed_form, mark=""))
    plan.add(_on_the_clock(shared))
    return plan


def _process(case: Case) -> Process:
    return Process(
        case.rate("alpha", zero=True),
        case.rate("mu", zero=True),
        case.count("batch", 1, default=1),
        case.count("X0", default=0),
        case.reset(),
    )


def _on_the_clock(shared: Mapping[Process, Members]) -> Plan:
    """The cheapest process of single arrivals once more, by the other way."""
    costs = {
        process: max((claim.needed for claim in _all_claims(process, members, "")), default=0.0)
        * process.cost(max(float(times.max()) for _, times in members), clock=True)
        for process, members in shared.items()
        if process.in_closed_form
    }
    # Both ways draw the same law by different code, so one process is run by both.
    cheapest = min(costs, key=lambda process: costs[process], default=None)
    if cheapest is None or costs[cheapest] > CHEAP:
        return Plan()
    return _affordable(cheapest, shared[cheapest], clock=True, mark=" (clock)")


def _all_claims(process: Process, members: Members, mark: str) -> list[Claim]:
    return [claim for case, times in members for claim in _claims(process, case, times, mark)]


def _affordable(process: Process, members: Members, *, clock: bool, mark: str) -> Plan:
    """One trial of all that can be decided at the longest time, and one of the rest up to a
    time.
    """
    claims = _all_claims(process, members, mark)
    plan, late = Plan(), list[Claim]()
    while claims:
        last = max(claim.time for claim in claims)
        budget = affordable(members[0][0]) / process.cost(last, clock)
        run = [claim for claim in claims if claim.needed <= budget]
        claims = [claim for claim in claims if claim.needed > budget]
        if run:
            plan.trials.append(_trial(process, run, clock))
        else:  # too dear at the last time, but perhaps not up to an earlier one
            late += [claim for claim in claims if claim.time == last]
            claims = [claim for claim in claims if claim.time < last]
    # A line for each series whose later times take too many events.
    curves: dict[tuple[str, str], list[Claim]] = {}
    for claim in late:
        curves.setdefault((claim.number.id, claim.number.name.split("[")[0]), []).append(claim)
    for (case, key), curve in curves.items():
        cost = max(claim.needed * process.cost(claim.time, clock) for claim in curve)
        since = min(claim.time for claim in curve)
        plan.left_out.append((case, f"{key} from t = {since:g} on: {too_long(cost)}"))
    return plan


def _claims(process: Process, case: Case, times: Array, mark: str) -> Iterator[Claim]:
    """The numbers a case gives, with the error of one observation from the exact cumulants."""
    model = (process.arrivals, process.leaving, process.batch, process.start, process.reset)
    # Laws in closed form: the file's numbers are compared, these only give the errors.
    there, gone = immigration_death(times, *model), exit_count(times, *model)
    spread = np.sqrt(np.maximum(there.fourth_cumulant + 2 * there.var**2, 0.0))
    # One observation of the standard deviation is worth half the relative error of the variance.
    of_sd = spread / (2 * np.where(there.sd > 0, there.sd, 1.0))
    # Key, column, exact mean of the column, error of one observation, whether it is a deviation.
    kinds = (
        ("mean", "present", there.mean, there.sd, False),
        ("sd", "present", there.mean, of_sd, True),
        ("sink_mean", "gone", gone.mean, gone.sd, False),
        ("sink_sd", "gone", gone.mean, _error_of_sd(gone.mean, gone.sd), True),
    )
    for key, column, centre, one, root in kinds:
        measure = partial(_measure, column, times, centre, one, root)
        numbers = series(case, key, times, key, RELATIVE.of_largest(), measure)
        for number, t, error in zip(numbers, times.tolist(), one.tolist(), strict=False):
            yield Claim(replace(number, name=number.name + mark), t, error)


def _error_of_sd(mean: Array, sd: Array) -> Array:
    """Of the exits: exact if they are Poisson, else doubled, as their fourth cumulant is not
    known.
    """
    var = sd**2
    fourth = np.where(np.isclose(var, mean), mean, 6 * var**2)
    error: Array = np.sqrt(fourth + 2 * var**2) / (2 * np.where(sd > 0, sd, 1.0))
    return error


def _measure(
    column: str, times: Array, centres: Array, ones: Array, root: bool, i: int, _: float
) -> Measure:  # fmt: skip
    """Mean of a column, or its standard deviation about the exact mean; errors are exact."""
    name, centre, one = f"{column}@{float(times[i])!r}", float(centres[i]), float(ones[i])

    def measure(sample: Sample) -> Estimate:
        x = sample[name]
        value = math.sqrt(float(((x - centre) ** 2).mean())) if root else float(x.mean())
        return Estimate(value, one / math.sqrt(x.size))

    return measure


def _trial(process: Process, claims: Sequence[Claim], clock: bool) -> Trial:
    times = np.unique([claim.time for claim in claims])
    needed = max(claim.needed for claim in claims)
    first = max(LEAST_FIRST, math.ceil(needed / DECIDING))
    cost = needed * process.cost(float(times.max()), clock)
    return Trial(
        tuple(claim.number for claim in claims), first, partial(_Split, process, times, clock), cost
    )


class _Split(Sample):
    """Observations before the reset and after it, put together."""

    def __init__(
        self, process: Process, times: Array, clock: bool, address: Address,
        kernels: ModuleType | None,
    ) -> None:  # fmt: skip
        self._times = times
        self._reset = math.inf if process.reset is None else process.reset[0]
        early = times[times < self._reset]
        ages = after(times, self._reset) if process.reset else np.zeros(0)
        # The exits up to the reset count for what comes later.
        until = np.append(early, self._reset) if process.reset else early
        self._before = _Part(process, process.start, until, clock, address, kernels)
        self._after = None
        if process.reset is not None and ages.size:
            # Random numbers of its own: the reset forgets what came before, and so must these.
            other = Address(address.seed, address.replicate, address.place + 1)
            self._after = _Part(process, process.reset[1], ages, clock, other, kernels)

    def grow(self, size: int) -> None:
        """Observe until there are at least ``size``."""
        self._before.sample.grow(size)
        if self._after is not None:
            self._after.sample.grow(size)
        self.size = size

    def __getitem__(self, column: str) -> Array:
        kind, text = column.split("@")
        time = float(text)
        if time < self._reset:
            return self._before.column(kind, time)[: self.size]
        assert self._after is not None
        late = self._after.column(kind, float(after(np.array([time]), self._reset)[0]))[: self.size]
        if kind == "present":
            return late
        return late + self._before.column(kind, self._reset)[: self.size]


class _Part:
    """One unbroken stretch of the process, many replicates side by side in one cell."""

    def __init__(
        self, process: Process, start: int, times: Array, clock: bool, address: Address,
        kernels: ModuleType | None,
    ) -> None:  # fmt: skip
        self._start, (step, records) = start, on_steps(times, 4 * MOST_STEPS)
        self._step, self._records = step, np.unique(np.maximum(records, 1))
        scenario = Scenario(grid=ONE_CELL, ligands={"X": _ligand(process, start, clock)}, dt_s=step)
        scenario = side_by_side(scenario, CLOCKED if clock else UNCLOCKED)
        names, copies = Names.of(scenario), range(len(scenario.ligands))
        self._present = [names.free(i) for i in copies]
        self._gone = [event_index(names, "exited", name, None) for name in names.ligands]
        steps = int(self._records[-1])
        self.sample = Replicates(scenario, address, kernels, steps=steps, read=self._read)

    def _read(self, _: Simulation, series: Series) -> Mapping[str, Array]:
        at = self._records[:, None] - 1
        return {
            "present": series.totals[at, self._present].T.astype(np.int32),
            "gone": series.events[at, self._gone].T.astype(np.int32),
        }

    def column(self, kind: str, time: float) -> Array:
        """Molecules present, or gone, at a time of the part."""
        record = round(time / self._step)
        if record == 0:
            # At time 0 nothing has been simulated yet.
            return np.full(self.sample.size, float(self._start if kind == "present" else 0))
        column: Array = self.sample[kind][:, np.searchsorted(self._records, record)]
        return column.astype(np.float64)


def _ligand(process: Process, start: int, clock: bool) -> Ligand:
    if not clock:
        mean = process.arrivals / process.leaving if process.leaving else 0.0
        return Ligand(count=start, reservoir=reservoir(mean, process.leaving))
    batch = Batch(size=process.batch, rate_per_s=process.arrivals) if process.arrivals > 0 else None
    exits = Reservoir(concentration_nM=0.0, exchange_per_s=process.leaving)
    return Ligand(count=start, reservoir=exits, batches=() if batch is None else (batch,))
