"""The events of a scenario's protocol, one after the other, for a run that may be interrupted."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

from synapse_abm.synapse.engine.clock import Stretch
from synapse_abm.synapse.scenario.definition import Scenario
from synapse_abm.synapse.scenario.protocol import Event, events


class Timeline:
    """What is to come of a protocol.

    Attributes
    ----------
    done
        Number of events that have happened.
    next
        The event that comes next, None after the last.
    """

    def __init__(self, scenario: Scenario, done: int = 0) -> None:
        self.scenario, self.done = scenario, done
        self._events: Iterator[Event] = iter(())
        if scenario.at:
            self._events = itertools.islice(events(scenario, scenario.dt_s), done, None)
        self.next = next(self._events, None)

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles count the events up to where they are."""
        return {"scenario": self.scenario, "done": self.done}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """The inverse."""
        self.__init__(**state)  # type: ignore[misc]

    def step_due(self, now: Stretch) -> float:
        """Steps after which the next event happens; infinite if none is to come."""
        if self.next is None:
            return math.inf
        # The allowance is for times that are sums of steps.
        steps = (self.next.time_s - now.first_s) / now.dt_s * (1 - 1e-12)
        return now.first_step + max(0, math.ceil(steps - 1e-9))

    def pop(self) -> Event:
        """The next event, which happens now."""
        assert self.next is not None
        event, self.next = self.next, next(self._events, None)
        self.done += 1
        return event
