"""Timing on a machine that others use too.

All contenders take turns in short repetitions, so that a busy moment hits all of them alike, and
what counts is CPU time, since each uses one thread: a neighbour's turn on the core is not counted.
The best repetition gives the rate, because a disturbance can only slow a program down; two
contenders are compared round by round. Compilation, start, burn-in and calibration are not timed.
"""

from __future__ import annotations

import gc
import math
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from time import perf_counter

from synapse_abm.bench.contenders import Contender
from synapse_abm.core.progress import Progress

#: Steps of a repetition, at least: a lucky moment of a slow contender is averaged out.
MIN_STEPS = 20


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Parameters
    ----------
    engine, molecules, sites, koff_dt
        What was timed (see ``contenders.Label``).
    bound_fraction
        Share of the sites that were bound, meanwhile; None without sites.
    molecule_steps_per_s, events_per_s
        Rates of the best repetition; events are bindings and unbindings, None if not counted.
    seconds
        CPU time of the best repetition, s.
    steps
        Steps of a repetition.
    round_seconds
        CPU time of every repetition, s.
    well_mixed
        Whether everything is in one cell, where only events are work.
    version
        Of a program that is not ours; empty for ours.
    """

    engine: str
    molecules: int
    sites: int
    koff_dt: float | None
    bound_fraction: float | None
    molecule_steps_per_s: float
    events_per_s: float | None
    seconds: float
    steps: int
    round_seconds: tuple[float, ...]
    well_mixed: bool = False
    version: str = ""

    @property
    def title(self) -> str:
        """Engine and version."""
        name, comma, setting = self.engine.partition(",")
        return f"{name} {self.version}{comma}{setting}" if self.version else self.engine

    @property
    def median_seconds(self) -> float:
        """CPU time of a typical repetition, s."""
        return statistics.median(self.round_seconds)

    @property
    def void(self) -> bool:
        """Whether so many or so few sites are bound that this is not the same work.

        Half of them should be. Allowed are 0.02, for methods that are right for short steps only,
        and five standard errors of one reading a round (false alarm 6e-7).
        """
        if self.bound_fraction is None:
            return False
        error = 0.5 / math.sqrt(self.sites * len(self.round_seconds))
        return abs(self.bound_fraction - 0.5) > 0.02 + 5 * error

    def rounds_faster(self, other: Row) -> list[float]:
        """The work per second in units of another row's, round by round.

        Work is molecule-steps, or events where both are in one cell and nothing moves.
        """
        if self.events_per_s and other.events_per_s and self.well_mixed and other.well_mixed:
            ours, theirs = self.events_per_s * self.seconds, other.events_per_s * other.seconds
        else:
            ours = float(self.molecules * self.steps)
            theirs = float(other.molecules * other.steps)
        both = zip(self.round_seconds, other.round_seconds, strict=True)
        return [ours / theirs * other_s / own_s for own_s, other_s in both]

    def times_faster(self, other: Row) -> float:
        """The median of :meth:`rounds_faster`."""
        return statistics.median(self.rounds_faster(other))


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
        self.seconds.append(cpu_seconds(self.contender, self.steps))
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
            events_per_s=events,
            seconds=best,
            steps=self.steps,
            round_seconds=tuple(self.seconds),
            well_mixed=label.well_mixed,
            version=label.version,
        )


def seconds(action: Callable[[], object]) -> float:
    """Wall time of an action, in s."""
    start = perf_counter()
    action()
    return perf_counter() - start


def cpu_seconds(contender: Contender, steps: int) -> float:
    """CPU time of so many steps, s, by the contender's own clock."""
    before = contender.clock()
    contender.run(steps)
    return contender.clock() - before


def steps_for(contender: Contender, wanted_s: float) -> int:
    """Steps that take about ``wanted_s``: doubled until half of that, then in proportion."""
    steps = 1
    while (taken := cpu_seconds(contender, steps)) < wanted_s / 2:
        steps *= 2
    return max(MIN_STEPS, round(steps * wanted_s / taken))


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
    rows = [each.row() for each in races]
    for each in races:
        each.contender.close()
    return rows
