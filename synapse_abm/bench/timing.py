"""Timing on a machine that others use too.

All contenders take turns in short repetitions, so that a busy moment hits all of them alike; the
best repetition counts, because a disturbance can only slow a program down, and the median is kept
beside it. Compilation, burn-in and calibration come before and are not timed.
"""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter

from synapse_abm.bench.contenders import Contender
from synapse_abm.experiment import Progress


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; ``seconds`` is the best wall time of ``steps`` steps."""

    engine: str
    molecules: int
    sites: int
    koff_dt: float | None
    bound_fraction: float | None
    molecule_steps_per_s: float
    seconds: float
    steps: int
    repetitions: int
    median_seconds: float
    events_per_s: float | None


@dataclass(slots=True)
class _Race:
    """A contender and its repetitions so far."""

    contender: Contender
    steps: int
    seconds: list[float] = field(default_factory=list)
    events: list[int] = field(default_factory=list)
    bound: list[float] = field(default_factory=list)

    def repeat(self) -> None:
        """Time one more repetition."""
        before = self.contender.events
        self.seconds.append(seconds(partial(self.contender.run, self.steps)))
        if before is not None:
            self.events.append((self.contender.events or 0) - before)
        if self.contender.bound_fraction is not None:
            self.bound.append(self.contender.bound_fraction)

    def row(self) -> Row:
        """What was found."""
        label, best = self.contender.label, min(self.seconds)
        events = statistics.mean(self.events) / best if self.events else None
        return Row(
            engine=label.engine,
            molecules=label.molecules,
            sites=label.sites,
            koff_dt=label.koff_dt,
            bound_fraction=statistics.mean(self.bound) if self.bound else None,
            molecule_steps_per_s=label.molecules * self.steps / best,
            seconds=best,
            steps=self.steps,
            repetitions=len(self.seconds),
            median_seconds=statistics.median(self.seconds),
            events_per_s=events,
        )


def seconds(action: Callable[[], object]) -> float:
    """Wall time of an action, in s."""
    start = perf_counter()
    action()
    return perf_counter() - start


def steps_for(contender: Contender, wanted_s: float) -> int:
    """Steps that take about ``wanted_s``: doubled until half of that, then in proportion."""
    steps = 1
    while (taken := seconds(partial(contender.run, steps))) < wanted_s / 2:
        steps *= 2
    return max(1, round(steps * wanted_s / taken))


def race(
    contenders: Iterable[Contender], rounds: int, repetition_s: float, progress: Progress
) -> list[Row]:
    """Time all contenders in turns, ``rounds`` times."""
    races = []
    for contender in contenders:
        contender.run(1)  # compiles, where nothing is in the cache yet
        contender.run(contender.label.burn_in)
        races.append(_Race(contender, steps_for(contender, repetition_s)))
    gc.collect()
    for _ in progress(range(rounds), label="timing in turns"):
        for each in races:
            each.repeat()
    return [each.row() for each in races]
