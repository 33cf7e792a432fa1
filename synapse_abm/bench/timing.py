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
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from time import perf_counter

from synapse_abm.bench.contenders import COMPILED, ONE_CELL, Contender, Label
from synapse_abm.core.progress import Progress

#: Steps of a repetition, at least: a lucky moment of a slow contender is averaged out.
MIN_STEPS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Row(Label):
    """One line of the table.

    Parameters
    ----------
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
    """

    bound_fraction: float | None
    molecule_steps_per_s: float
    events_per_s: float | None
    seconds: float
    steps: int
    round_seconds: tuple[float, ...]

    @property
    def title(self) -> str:
        """Engine and version."""
        name, comma, setting = self.engine.partition(",")
        return f"{name} {self.version}{comma}{setting}" if self.version else self.engine

    @property
    def name(self) -> str:
        """The title beside other simulators, where ours is the compiled engine in one cell too."""
        return COMPILED if self.engine == ONE_CELL else self.title

    @property
    def median_seconds(self) -> float:
        """CPU time of a typical repetition, s."""
        return statistics.median(self.round_seconds)

    @property
    def work(self) -> float:
        """What a repetition does: molecule-steps, or events in one cell, where nothing moves."""
        if self.well_mixed and self.events_per_s:
            return self.events_per_s * self.seconds
        return float(self.molecules * self.steps)

    @property
    def speeds(self) -> tuple[float, float, float]:
        """Work per second of CPU time: the median of the rounds, the least and the greatest."""
        times = (self.median_seconds, max(self.round_seconds), min(self.round_seconds))
        median, least, greatest = (self.work / time for time in times)
        return median, least, greatest

    @property
    def void(self) -> bool:
        """Whether so many or so few sites are bound that this is not the same work.

        Half of them should be. Allowed are 0.02, for methods that are right for short steps only,
        and five standard errors of one reading a round (false alarm 6e-7).
        """
        if self.bound_fraction is None:
            return False
        # The standard deviation of a share of one half over so many independent sites.
        error = 0.5 / math.sqrt(self.sites * len(self.round_seconds))
        return abs(self.bound_fraction - 0.5) > 0.02 + 5 * error

    def times_faster(self, other: Row) -> list[float]:
        """The work per second in units of another row's, round by round."""
        # Both took their turn within the same seconds, so what slowed one slowed the other: the
        # ratio of a round is far steadier than that of two rates.
        both = zip(self.round_seconds, other.round_seconds, strict=True)
        return [self.work / other.work * other_s / own_s for own_s, other_s in both]


@dataclass(slots=True)
class _Race:
    """A contender and its repetitions so far: CPU time (s), events, share of bound sites."""

    contender: Contender
    steps: int
    repetitions: list[tuple[float, int | None, float | None]] = field(default_factory=list)

    def repeat(self) -> None:
        """Time one more repetition."""
        before = self.contender.events
        taken_s = cpu_seconds(self.contender, self.steps)
        after = self.contender.events
        events = None if before is None or after is None else after - before
        self.repetitions.append((taken_s, events, self.contender.bound_fraction))

    def row(self) -> Row:
        """The contender's line of the table."""
        label, (times, events, bound) = self.contender.label, zip(*self.repetitions, strict=True)
        best, mean_events = min(times), _mean(events)
        return Row(
            **asdict(label),
            bound_fraction=_mean(bound),
            molecule_steps_per_s=label.molecules * self.steps / best,
            events_per_s=None if mean_events is None else mean_events / best,
            seconds=best,
            steps=self.steps,
            round_seconds=times,
        )


def _mean(values: Sequence[float | None]) -> float | None:
    """The mean, or None where nothing was counted."""
    numbers = [value for value in values if value is not None]
    return statistics.mean(numbers) if numbers else None


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
    steps = 1  # doubling costs at most as much as the last try
    # Too short a trial would be ruled by the clock's resolution.
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
    gc.collect()  # what building left behind is not to be swept up within somebody's turn
    for _ in progress(range(rounds), label="timing in turns"):
        for runner in races:
            runner.repeat()
    for runner in races:
        runner.contender.close()
    return [runner.row() for runner in races]
