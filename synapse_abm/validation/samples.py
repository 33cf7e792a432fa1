"""Observations of simulations, and the ways in which their error is known.

``Stationary``
    One place in its stationary state, looked at about once a relaxation time. Neighbours are still
    correlated, so errors come from batch means.
``Replicates``
    A place started again and again; every observation is independent of the others.
``Courses``
    As replicates, but each built anew: what changes while it runs cannot be started again.
``Panel``
    Copies of a system side by side, each followed in time; the copies are independent.

All grow on demand, and nothing observed before is thrown away: the looks at a quantity are at one
growing sample, for which the bounds of `statistics.verdict` are made.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synapse_abm.core.address import Address
from synapse_abm.statistics import Estimate, TooShort, batch_means, from_replicates
from synapse_abm.synapse.engine import layout as lay
from synapse_abm.synapse.engine.simulation import Series, Simulation
from synapse_abm.synapse.engine.state import State
from synapse_abm.synapse.scenario.definition import Scenario

type Array = NDArray[np.float64]
type Columns = Mapping[str, Callable[[Series], Array]]
type Prepare = Callable[[State, np.random.Generator], None]

#: Relaxation times before the first observation, and between observations that count as
#: independent.
BURN_IN, APART = 20, 5
BATCHES = 100
#: Observations made at a time.
AT_ONCE = 100_000


class Sample(ABC):
    """What a quantity is measured on: by default, observations that know nothing of each other."""

    size = 0  # number of observations

    @abstractmethod
    def grow(self, size: int) -> None:
        """Observe until there are at least ``size``."""

    @abstractmethod
    def __getitem__(self, column: str) -> Array:
        """All observations of a column; the first axis counts them."""

    def estimate(self, values: Array) -> Estimate:
        """Mean of one value per observation, and its error; infinite if it cannot be told yet."""
        return from_replicates(values)

    def error(self, one: float) -> float:
        """Exact error of a mean, if single observations have the standard deviation ``one``."""
        return one / math.sqrt(max(self.size, 1))

    def independent(self, values: Array) -> Array:
        """Values far enough apart to be independent."""
        return values


def started(scenario: Scenario, address: Address, kernels: ModuleType | None) -> Simulation:
    """A simulation at time zero; with other ``kernels`` only to plant a bug."""
    # Looked up at every call: a mutation puts another `Simulation` in its place.
    at = (address.seed, address.replicate, address.place)
    return (
        Simulation(scenario, *at) if kernels is None else Simulation(scenario, *at, kernels=kernels)
    )


class _Running(Sample):
    """A simulation that goes on and on, observed every ``every`` steps.

    Parameters
    ----------
    read
        Columns, the first axis over the observations, from a stretch of the simulation and the one
        before it, of which its totals are the beginning.
    burn_in
        Steps before the first observation.
    record
        Steps between records, at most ``every``.
    at_once
        Observations of a stretch: a record of everything is wider than the columns that are kept.
    """

    def __init__(
        self, scenario: Scenario, address: Address, kernels: ModuleType | None, *,
        read: Callable[[Series, Series], Mapping[str, Array]], burn_in: int, every: int = 1,
        record: int | None = None, at_once: int = AT_ONCE,
    ) -> None:  # fmt: skip
        self._simulation = started(scenario, address, kernels)
        self._read, self._every, self._at_once = read, every, at_once
        self._record = every if record is None else record
        # Totals count from the start: the burn-in's are subtracted.
        self._before = self._simulation.run(burn_in, every=burn_in)
        self._columns = _Table()

    def grow(self, size: int) -> None:
        """Observe until there are at least ``size``."""
        while self.size < size:
            more = min(size - self.size, self._at_once)
            series = self._simulation.run(more * self._every, every=self._record)
            self._columns.add(self._read(series, self._before))
            self._before = series
            self.size += more

    def __getitem__(self, column: str) -> Array:
        return self._columns[column]


class _Table:
    """Columns that grow in parts, put together when they are asked for."""

    def __init__(self) -> None:
        self._parts: dict[str, list[Array]] = {}

    def add(self, columns: Mapping[str, Array]) -> None:
        """Append to every column."""
        for name, values in columns.items():
            self._parts.setdefault(name, []).append(values)

    def __getitem__(self, column: str) -> Array:
        parts = self._parts[column]
        if len(parts) > 1:
            self._parts[column] = parts = [np.concatenate(parts)]
        return parts[0]


class Stationary(_Running):
    """A place in its stationary state, observed after every step, or every few.

    Parameters
    ----------
    levels
        What is read off after each step, and averaged over the steps of an observation.
    counts
        Totals since the start, of which each observation's share is kept.
    relaxation_steps
        Relaxation time in steps.
    every
        Steps of an observation.
    """

    def __init__(
        self, scenario: Scenario, address: Address, kernels: ModuleType | None, *,
        levels: Columns, counts: Columns, relaxation_steps: float, every: int = 1,
    ) -> None:  # fmt: skip
        self._correlation = correlation(relaxation_steps / every)
        self._apart = max(1, math.ceil(APART * relaxation_steps / every))

        def read(series: Series, before: Series) -> Mapping[str, Array]:
            columns = {
                name: level(series).reshape(-1, every).mean(axis=1)
                for name, level in levels.items()
            }
            for name, count in counts.items():
                ends = count(series)[every - 1 :: every]
                columns[name] = np.diff(ends, prepend=count(before)[-1])
            return columns

        burn_in = max(1, math.ceil(BURN_IN * relaxation_steps))
        super().__init__(
            scenario, address, kernels, read=read, burn_in=burn_in, every=every, record=1,
            at_once=max(1, AT_ONCE // every),
        )  # fmt: skip

    def estimate(self, values: Array) -> Estimate:
        """Mean and error by batch means; infinite while the series is too short to trust."""
        try:
            # A hundred: enough for an error good to 7 %, and each long enough to be independent.
            return batch_means(values, BATCHES)
        except TooShort as short:
            # What never changed has no correlation to be measured, and no error either.
            constant = np.ptp(values) == 0
            return short.estimate if constant else Estimate(short.estimate.value, math.inf)

    def error(self, one: float) -> float:
        """As for a memory that decays exponentially."""
        return one * math.sqrt(self._correlation / max(self.size, 1))

    def independent(self, values: Array) -> Array:
        """Every so many values that they are five relaxation times apart."""
        return values[:: self._apart]


class Panel(_Running):
    """Copies of a system side by side: columns of the shape (observations, copies).

    However correlated the observations of one copy are, the copies' means are independent, and
    their scatter tells the error.

    Parameters
    ----------
    apart
        Observations from one that counts as independent to the next.
    """

    def __init__(
        self, scenario: Scenario, address: Address, kernels: ModuleType | None, *, copies: int,
        apart: int, **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(scenario, address, kernels, **options)
        self._copies, self._apart = copies, apart

    def estimate(self, values: Array) -> Estimate:
        """Mean over time of each copy, and their scatter."""
        return from_replicates(values.mean(axis=0))

    def error(self, one: float) -> float:
        """As if all observations were independent."""
        return one / math.sqrt(max(self.size * self._copies, 1))

    def independent(self, values: Array) -> Array:
        """Values of all copies, five relaxation times apart."""
        return values[:: self._apart].ravel()


class Replicates(Sample):
    """A place with one or more copies of a system, started again and again.

    Starting again keeps the step number going, so no random number is used twice, and spares
    building the place anew.

    Parameters
    ----------
    steps
        Steps of a run.
    read
        Columns of one run, the first axis over the copies. It may let the simulation go on.
    prepare
        Puts the state at time zero into another one, with random numbers from a generator.
    """

    def __init__(
        self, scenario: Scenario, address: Address, kernels: ModuleType | None, *,
        read: Callable[[Simulation, Series], Mapping[str, Array]], steps: int = 0,
        prepare: Prepare | None = None,
    ) -> None:  # fmt: skip
        self._simulation = started(scenario, address, kernels)
        self._start = self._simulation.state.copy()
        self._steps, self._read, self._prepare = steps, read, prepare
        self._generator = np.random.default_rng([address.seed, address.replicate, address.place])
        self._columns = _Table()

    def _start_again(self) -> None:
        now = self._simulation.state
        # Room that a run made for its molecules is kept, or each run would make it again.
        room = now.store.segments[:, lay.LIMIT] - now.store.segments[:, lay.START]
        if now.store.molecules.shape[1] > self._start.store.molecules.shape[1]:
            self._start = self._start.resized([int(n) for n in room])
        fresh = self._start.copy()
        # Random numbers are a function of the step: going on with it makes them new.
        fresh.store.meta[lay.STEP] = now.step
        if self._prepare is not None:
            self._prepare(fresh, self._generator)
        self._simulation.state = fresh

    def grow(self, size: int) -> None:
        """Observe until there are at least ``size``."""
        while self.size < size:
            self._start_again()
            series = self._simulation.run(self._steps, every=1)
            columns = self._read(self._simulation, series)
            self._columns.add(columns)
            self.size += len(next(iter(columns.values())))

    def __getitem__(self, column: str) -> Array:
        return self._columns[column]


class Courses(Sample):
    """A scenario with a protocol, built and run again and again.

    Parameters
    ----------
    steps, every
        Steps of a run, and of them those from record to record.
    read
        Columns of one run, the first axis over the copies of a system in it.
    """

    def __init__(
        self, scenario: Scenario, address: Address, kernels: ModuleType | None, *, steps: int,
        every: int, read: Callable[[Series], Mapping[str, Array]],
    ) -> None:  # fmt: skip
        self._scenario, self._kernels = scenario, kernels
        self._numbers = address.seed, address.replicate, address.place
        self._steps, self._every, self._read = steps, every, read
        self._runs, self._columns = 0, _Table()

    def grow(self, size: int) -> None:
        """Observe until there are at least ``size``."""
        while self.size < size:
            # A seed of its own for each, mixed from all that the address says and the run's number.
            own = np.random.SeedSequence([*self._numbers, self._runs])
            at = Address(int(own.generate_state(1, np.uint64)[0]))
            series = started(self._scenario, at, self._kernels).run(self._steps, self._every)
            columns = self._read(series)
            self._columns.add(columns)
            self.size += len(next(iter(columns.values())))
            self._runs += 1

    def __getitem__(self, column: str) -> Array:
        return self._columns[column]


def correlation(relaxation_steps: float) -> float:
    """Observations of an exponential memory that tell as much as an independent one.

    (1 + rho) / (1 - rho) with rho = exp(-1 / relaxation_steps), the limit of many observations.
    """
    return 1 / math.tanh(0.5 / relaxation_steps)
