"""Group N: molecules arrive, one by one or in batches, and leave one by one (the DSMTS suite).

One by one, arrivals and exits of a cell without sites are drawn in closed form; batches make the
cell run its clock. The cheapest process of single arrivals is run both ways. A reset sets the
number of molecules at a time: it forgets all before, so the run is split there.

Errors are exact here: mean, variance and fourth cumulant are known at every time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import NamedTuple

import numpy as np

from synapse_abm.core.address import Address
from synapse_abm.statistics import Estimate
from synapse_abm.synapse.engine.network import CountRows, Names
from synapse_abm.synapse.engine.simulation import Series, Simulation, event_index
from synapse_abm.synapse.scenario import Batch, Ligand, Reservoir, Scenario
from synapse_abm.theory import exit_count, immigration_death
from synapse_abm.validation.cases import Array, Case, after, common_step
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
    found = Plan()
    shared: dict[Process, Members] = {}
    for case in cases:
        process, times = _process(case), case.times("exact")
        later = times if process.reset is None else after(times, process.reset[0])
        if common_step(times, MOST_STEPS) is None or common_step(later, MOST_STEPS) is None:
            found.left_out.append((case.id, f"its times have no step that fits {MOST_STEPS} times"))
        elif (unknown := unknown_parameters(case)).unknown:
            found.add(unknown)
        else:
            shared.setdefault(process, []).append((case, times))
    for process, members in shared.items():
        found.add(_trials(process, members))
    found.add(_on_the_clock(shared))
    return found


def _process(case: Case) -> Process:
    return Process(
        case.rate("alpha", zero=True),
        case.rate("mu", zero=True),
        case.count("batch", 1, default=1),
        case.count("X0", default=0),
        case.reset(),
    )


def _in_closed_form(process: Process) -> bool:
    return process.batch == 1 and (process.leaving > 0 or process.arrivals == 0)


def _trials(process: Process, members: Members) -> Plan:
    """In closed form where there is one, on the clock where there are batches."""
    return _affordable(process, members, clock=not _in_closed_form(process), mark="")


def _on_the_clock(shared: Mapping[Process, Members]) -> Plan:
    """The cheapest process of single arrivals once more, by the other way."""
    costs = {
        process: max(_needs(process, members)) * _cost(process, _horizon(members), clock=True)
        for process, members in shared.items()
        if _in_closed_form(process)
    }
    cheapest = min(costs, key=lambda process: costs[process], default=None)
    if cheapest is None or costs[cheapest] > CHEAP:
        return Plan()
    return _affordable(cheapest, shared[cheapest], clock=True, mark=" (clock)")


def _horizon(members: Members) -> float:
    return max(float(times.max()) for _, times in members)


def _needs(process: Process, members: Members) -> list[float]:
    claims = [claim for each in members for claim in _claims(process, *each, "")]
    return [claim.needed for claim in claims] or [0.0]


def _affordable(process: Process, members: Members, *, clock: bool, mark: str) -> Plan:
    """One trial of all that can be decided at the longest time, and one of the rest up to a
    time.
    """
    claims = [claim for each in members for claim in _claims(process, *each, mark)]
    found, late = Plan(), list[Claim]()
    while claims:
        last = max(claim.time for claim in claims)
        budget = affordable(members[0][0]) / _cost(process, last, clock)
        run = [claim for claim in claims if claim.needed <= budget]
        claims = [claim for claim in claims if claim.needed > budget]
        if run:
            found.trials.append(_trial(process, run, clock))
        else:  # too dear at the last time, but perhaps not up to an earlier one
            late += [claim for claim in claims if claim.time == last]
            claims = [claim for claim in claims if claim.time < last]
    found.left_out += _told(late, lambda claim: claim.needed * _cost(process, claim.time, clock))
    return found


def _told(late: Sequence[Claim], cost: Callable[[Claim], float]) -> list[tuple[str, str]]:
    """A line for each series whose later times take too many events."""
    series: dict[tuple[str, str], list[Claim]] = {}
    for claim in late:
        key = claim.number.name.split("[")[0]
        series.setdefault((claim.number.id, key), []).append(claim)
    return [
        (case, f"{key} from t = {min(c.time for c in each):g} on: {too_long(max(map(cost, each)))}")
        for (case, key), each in series.items()
    ]


def _cost(process: Process, horizon: float, clock: bool) -> float:
    """Events per replicate, or what takes as long."""
    steps = max(horizon, 1.0)
    arrivals = process.arrivals * process.batch * horizon + process.start
    if clock:
        return 3 * steps + 2 * arrivals
    present = min(arrivals, process.arrivals / process.leaving if process.leaving else arrivals)
    return (7 + 0.07 * present) * steps + arrivals


def _claims(process: Process, case: Case, times: Array, mark: str) -> Iterator[Claim]:
    """The numbers a case gives, with the error of one observation from the exact cumulants."""
    model = (process.arrivals, process.leaving, process.batch, process.start, process.reset)
    there, gone = immigration_death(times, *model), exit_count(times, *model)
    spread = np.sqrt(np.maximum(there.fourth_cumulant + 2 * there.var**2, 0.0))
    # One observation of the standard deviation is worth half the relative error of the variance.
    of_sd = spread / (2 * np.where(there.sd > 0, there.sd, 1.0))
    kinds = (
        ("mean", "present", there.mean, there.sd, False),
        ("sd", "present", there.mean, of_sd, True),
        ("sink_mean", "gone", gone.mean, gone.sd, False),
        ("sink_sd", "gone", gone.mean, _error_of_sd(process, gone.mean, gone.sd), True),
    )
    for key, column, centre, one, root in kinds:
        exact = case.series(key, times.size)
        if exact is None:
            continue
        margin = RELATIVE * float(np.abs(exact).max())
        for i, t in enumerate(times):
            error = float(one[i])
            measure = _measure(f"{column}@{float(t)!r}", float(centre[i]), error, root)
            name = f"{key}[t={t:g}]{mark}"
            yield Claim(Number(case.id, name, float(exact[i]), margin, measure), float(t), error)


def _error_of_sd(process: Process, mean: Array, sd: Array) -> Array:
    """Of the exits: exact if they are Poisson, else doubled, as their fourth cumulant is not
    known.
    """
    var = sd**2
    fourth = np.where(np.isclose(var, mean), mean, 6 * var**2)
    error: Array = np.sqrt(fourth + 2 * var**2) / (2 * np.where(sd > 0, sd, 1.0))
    return error


def _measure(column: str, centre: float, one: float, root: bool) -> Measure:
    """Mean of a column, or its standard deviation about the exact mean; errors are exact."""

    def measure(sample: Sample) -> Estimate:
        x = sample[column]
        value = math.sqrt(float(((x - centre) ** 2).mean())) if root else float(x.mean())
        return Estimate(value, one / math.sqrt(x.size))

    return measure


def _trial(process: Process, claims: Sequence[Claim], clock: bool) -> Trial:
    times = np.unique([claim.time for claim in claims])

    needed = max(claim.needed for claim in claims)
    first = max(LEAST_FIRST, math.ceil(needed / DECIDING))
    cost = needed * _cost(process, float(times.max()), clock)
    return Trial(
        tuple(claim.number for claim in claims), first, partial(_Split, process, times, clock), cost
    )


class _Split:
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
            other = Address(address.seed, address.replicate, address.place + 1)
            self._after = _Part(process, process.reset[1], ages, clock, other, kernels)
        self.size = 0

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

    def estimate(self, values: Array) -> Estimate:
        """Mean and error of independent observations."""
        return self._before.sample.estimate(values)

    def error(self, one: float) -> float:
        """As for independent observations."""
        return self._before.sample.error(one)

    def independent(self, values: Array) -> Array:
        """All of them."""
        return values


class _Part:
    """One unbroken stretch of the process, many replicates side by side in one cell."""

    def __init__(
        self, process: Process, start: int, times: Array, clock: bool, address: Address,
        kernels: ModuleType | None,
    ) -> None:  # fmt: skip
        step = common_step(times, 4 * MOST_STEPS)
        assert step is not None
        self._start, self._step = start, step
        self._records = np.unique([max(1, round(t / step)) for t in times])
        scenario = Scenario(grid=ONE_CELL, ligands={"X": _ligand(process, start, clock)}, dt_s=step)
        scenario = side_by_side(scenario, CLOCKED if clock else UNCLOCKED)
        names, copies = Names.of(scenario), range(len(scenario.ligands))
        self._present = [CountRows.of(names).free(i) for i in copies]
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
            return np.full(self.sample.size, float(self._start if kind == "present" else 0))
        column: Array = self.sample[kind][:, np.searchsorted(self._records, record)]
        return column.astype(np.float64)


def _ligand(process: Process, start: int, clock: bool) -> Ligand:
    if not clock:
        held = process.arrivals / process.leaving if process.leaving else 0.0
        return Ligand(count=start, reservoir=reservoir(held, process.leaving))
    batches: tuple[Batch, ...] = ()
    if process.arrivals > 0:
        batches = (Batch(size=process.batch, rate_per_s=process.arrivals),)
    exits = Reservoir(concentration_nM=0.0, exchange_per_s=process.leaving)
    return Ligand(count=start, reservoir=exits, batches=batches)
