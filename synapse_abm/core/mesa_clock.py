"""Mesa's clock: the one place that touches what Mesa keeps to itself.

Mesa 3.5 has no public way to set its clock ahead, nor to ask whether anything but the next step is
due. Both are needed to take many steps in one compiled call. Where a version of Mesa keeps its
schedule elsewhere, :func:`only_steps_are_due` says no and steps are taken one by one: slower, and
right.
"""

from __future__ import annotations

from typing import Any

from mesa.time import Priority, Schedule
from mesa.time.events import EventGenerator


def only_steps_are_due(model: Any) -> bool:
    """Whether nothing waits on a model's schedule but its next step, one unit of time from now."""
    events = getattr(model, "_event_list", None)
    steps = getattr(model, "_default_schedule", None)
    if events is None or steps is None or not hasattr(model, "_do_step"):
        return False
    return len(events) == 1 and bool(steps.next_scheduled_time == model.time + 1.0)


def skip(model: Any, steps: int) -> None:
    """Set the clock ahead by steps that were taken without it.

    Raises
    ------
    RuntimeError
        If this version of Mesa keeps its schedule elsewhere.
    """
    if not hasattr(model, "_default_schedule"):
        raise RuntimeError(
            "this version of Mesa keeps its clock where synapse_abm cannot set it ahead; "
            "install Mesa 3.5 (pip install 'mesa[network]>=3.5,<4')"
        )
    # The schedule knows when its next step is due; it is replaced by one that begins later.
    model._default_schedule.stop()
    model._event_list.compact()  # a stopped schedule leaves its event behind
    if hasattr(model, "steps"):  # Mesa 4 has none
        model.steps += steps
    model.time += float(steps)
    # The priority is that of Mesa's own schedule: steps come before events of the same time.
    model._default_schedule = EventGenerator(
        model,
        model._do_step,
        Schedule(interval=1.0, start=model.time + 1.0),
        priority=Priority.HIGH,
    ).start()
