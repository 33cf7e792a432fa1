"""Observations of a running simulation, and the three ways in which their error is known.

``Stationary``
    One place in its stationary state, looked at about once a relaxation time. Neighbours are still
    correlated, so errors come from batch means.
``Replicates``
    A place started again and again; every observation is independent of the others.
``Panel``
    Copies of a system side by side, each followed in time; the copies are independent.

All grow on demand, and nothing observed before is thrown away.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Protocol

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

#: Relaxation times before the first observation, and between observations that count as
#: independent.
BURN_IN, APART = 20, 5
BATCHES = 100
#: Steps recorded at a time: a record of everything is wider than the columns that are kept.
CHUNK = 100_000


class Sample(Protocol):
    """What a quantity is measured on."""

    @property
    def size(self) -> int:
        """Number of observations."""

    def grow(self, size: int) -> None:
        """Observe until there are at least ``size``."""

    def __getitem__(self, column: str) -> Array:
        """All observations of a column; the first axis counts them."""

    def estimate(self, values: Array) -> Estimate:
        """Mean of one value per observation, and its error; infinite if it cannot be told yet."""

    def error(self, one: float) -> float:
        """Exact error of a mean, if single observations have the standard deviation ``one``."""

    def independent(self, values: Array) -> Array:
        """Values far enough apart to be independent."""


def started(scenario: Scenario, address: Address, kernels: ModuleType | None) -> Simulation:
    """A simulation at time zero; with other ``kernels`` only to plant a bug."""
    at = (address.seed, address.replicate, address.place)
    return (
        Simulation(scenario, *at) if kernels is None else Simulation(scenario, *at, kernels=kernels)
    )


class Stationary:
    """A place in its stationary state, observed after every step.

    Parameters
    ----------
    scenario
        Well mixed, so that any step is exact; its step is the time between observations.
    levels
        What is read off after each step.
    counts
        Totals since the start, of which each step's share is kept.
    relaxation_steps
        Relaxation time in steps.
    """

    def __init__(
        self, scenario: Scenario, address: Address, kernels: ModuleType | None, *,
        levels: Columns, counts: Columns, relaxation_steps: float,
    ) -> None:  # fmt: skip
        self._simulation = started(scenario, address, kernels)
        self._levels, self._counts = levels, counts
        self._correlation = 1 / math.tanh(0.5 / relaxation_steps)
        self._apart = max(1, math.ceil(APART * relaxation_steps))
        burn_in = max(1, math.ceil(BURN_IN * relaxation_steps))
        series = self._simulation.run(burn_in, every=burn_in)
        self._before = {name: read(series)[-1] for name, read in counts.items()}
        self._columns = {name: np.zeros(0) for name in (*levels, *counts)}
        self.size = 0

    def grow(self, size: int) -> None:
        """Observe until there are at least ``size``."""
        parts: dict[str, list[Array]] = {name: [held] for name, held in self._columns.items()}
        while self.size < size:
            more = min(size - self.size, CHUNK)
            series = self._simulation.run(more, every=1)
            for name, read in self._levels.items():
                parts[name].append(read(series))
            for name, read in self._counts.items():
                total = read(series)
                parts[name].append(np.diff(total, prepend=self._before[name]))
                self._before[name] = total[-1]
            self.size += more
        self._columns = {name: np.concatenate(part) for name, part in parts.items()}

    def __getitem__(self, column: str) -> Array:
        return self._columns[column]

    def estimate(self, values: Array) -> Estimate:
        """Mean and error by batch means; infinite while the series is too short to trust."""
        try:
            return batch_means(values, BATCHES)
        except TooShort as short:
            found = short.estimate
            return found if np.ptp(values) == 0 else Estimate(found.value, math.inf)

    def error(self, one: float) -> float:
        """As for a memory that decays exponentially."""
        return one * math.sqrt(self._correlation / max(self.size, 1))

    def independent(self, values: Array) -> Array:
        """Every so many values that they are five relaxation times apart."""
        return values[:: self._apart]


class Replicates:
    """A place with ``copies`` of a system, started again and again.

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
        steps: int, read: Callable[[Simulation, Series], Mapping[str, Array]],
        prepare: Callable[[State, np.random.Generator], None] | None = None,
    ) -> None:  # fmt: skip
        self._simulation = started(scenario, address, kernels)
        self._start = self._simulation.state.copy()
        self._steps, self._read, self._prepare = steps, read, prepare
        self._generator = np.random.default_rng([address.seed, address.replicate, address.place])
        self._parts: dict[str, list[Array]] = {}
        self.size = 0

    def _start_again(self) -> None:
        now = self._simulation.state
        room = now.store.segments[:, lay.LIMIT] - now.store.segments[:, lay.START]
        if now.store.molecules.shape[1] > self._start.store.molecules.shape[1]:
            self._start = self._start.resized([int(n) for n in room])
        fresh = self._start.copy()
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
            for name, values in columns.items():
                self._parts.setdefault(name, []).append(values)
            self.size += len(next(iter(columns.values())))

    def __getitem__(self, column: str) -> Array:
        name, capped, most = column.partition("<=")
        if capped:  # a count, what is larger taken for the largest
            return np.minimum(self[name], float(most))
        parts = self._parts[column]
        if len(parts) > 1:
            self._parts[column] = parts = [np.concatenate(parts)]
        return parts[0]

    def estimate(self, values: Array) -> Estimate:
        """Mean and error of independent observations."""
        return from_replicates(values)

    def error(self, one: float) -> float:
        """As for independent observations."""
        return one / math.sqrt(max(self.size, 1))

    def independent(self, values: Array) -> Array:
        """All of them."""
        return values


class Panel:
    """Copies of a system side by side, observed together every ``every`` steps.

    Columns have shape (observations, copies). However correlated the observations of one copy are,
    the copies' means are independent, and their scatter tells the error.
    """

    def __init__(
        self, scenario: Scenario, address: Address, kernels: ModuleType | None, *,
        levels: Columns, every: int, copies: int,
    ) -> None:  # fmt: skip
        self._copies = copies
        self._simulation = started(scenario, address, kernels)
        self._levels, self._every = levels, every
        self._simulation.run(BURN_IN * every)
        self._parts: dict[str, list[Array]] = {name: [] for name in levels}
        self.size = 0

    def grow(self, size: int) -> None:
        """Observe until there are at least ``size`` (of each copy)."""
        if size > self.size:
            series = self._simulation.run((size - self.size) * self._every, every=self._every)
            for name, read in self._levels.items():
                self._parts[name].append(read(series))
            self.size = size

    def __getitem__(self, column: str) -> Array:
        return np.concatenate(self._parts[column])

    def estimate(self, values: Array) -> Estimate:
        """Mean over time of each copy, and their scatter."""
        return from_replicates(values.mean(axis=0))

    def error(self, one: float) -> float:
        """As if all observations were independent."""
        return one / math.sqrt(max(self.size * self._copies, 1))

    def independent(self, values: Array) -> Array:
        """Values of all copies, five relaxation times apart."""
        return values[::APART].ravel()
