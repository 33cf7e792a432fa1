"""Physical time of each step: steps are of one length until something changes it."""

from __future__ import annotations

import bisect
import itertools
import math
from dataclasses import dataclass
from typing import Self

import numpy as np

from synapse_abm.synapse.engine.layout import F64, I64


@dataclass(frozen=True, slots=True)
class Stretch:
    """Steps of one length: the first of them, the time (s) at its beginning, their length (s)."""

    first_step: int
    first_s: float
    dt_s: float

    def seconds(self, step: int) -> float:
        """Time (s) after ``step`` steps."""
        return self.first_s + (step - self.first_step) * self.dt_s

    def step_of(self, time_s: float) -> int:
        """The step, counted from the beginning of the run, within which a time falls."""
        return self.first_step + math.floor((time_s - self.first_s) / self.dt_s)


@dataclass(frozen=True, slots=True)
class Clock:
    """The stretches of a run, in order."""

    stretches: tuple[Stretch, ...]

    @classmethod
    def start(cls, dt_s: float) -> Self:
        """The clock of a run that begins at time zero."""
        return cls((Stretch(0, 0.0, dt_s),))

    @property
    def now(self) -> Stretch:
        """The stretch that goes on."""
        return self.stretches[-1]

    def changed(self, step: int, dt_s: float) -> Clock:
        """The same up to ``step``, and steps of ``dt_s`` seconds from there."""
        if dt_s == self.now.dt_s:
            return self
        # A change at the step of the last one leaves nothing of that one's stretch.
        before = tuple(x for x in self.stretches if x.first_step < step)
        return Clock((*before, Stretch(step, self.now.seconds(step), dt_s)))

    def seconds(self, steps: I64) -> F64:
        """Time (s) after each of these numbers of steps."""
        if len(self.stretches) == 1:
            return np.asarray(self.now.first_s + steps * self.now.dt_s, dtype=np.float64)
        # A step at which the length changes ends the stretch before: both give the same time.
        first = [stretch.first_step for stretch in self.stretches]
        at = [max(bisect.bisect_left(first, step) - 1, 0) for step in steps.tolist()]
        return np.array(
            [self.stretches[k].seconds(step) for k, step in zip(at, steps.tolist(), strict=True)],
            dtype=np.float64,
        )

    def due_step(self, time_s: float) -> int:
        """The step within which a given time falls."""
        # In the first stretch that it falls in by its own count of steps: so a time at the very
        # end of one is never due in both that and the next, whatever rounding says.
        first = max(bisect.bisect_right([x.first_s for x in self.stretches], time_s) - 2, 0)
        for stretch, following in itertools.pairwise(self.stretches[first:]):
            if (step := stretch.step_of(time_s)) < following.first_step:
                return step
        return max(self.now.step_of(time_s), self.now.first_step)
