"""The data collector a model has unless its user sets another.

Mesa 4 replaces ``DataCollector`` by recorders; nothing of ours is built on it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import mesa

#: Columns by name, one value for each of the notes.
type Columns = Callable[[Sequence[Any]], Mapping[str, list[Any]]]


class StandardCollector(mesa.DataCollector):  # type: ignore[misc]
    """Takes short notes, at most one at each time, and makes columns of them when it is looked at.

    Parameters
    ----------
    columns
        Makes columns of notes.
    """

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._pending: list[Any] = []
        self._times: list[float] = []
        self._made: dict[str, list[Any]] = {name: [] for name in columns(())}
        super().__init__()
        # Mesa asks for names alone; values come from the notes.
        self.model_reporters = dict.fromkeys(self._made)

    def note(self, time: float, note: Any) -> None:
        """Take a note, unless there is one of this time."""
        # Looking twice at one time must not add a row.
        if not self._times or time > self._times[-1]:
            self._times.append(time)
            self._pending.append(note)

    def collect(self, model: Any) -> None:
        """Take a note of a model as it is now."""
        self.note(model.time, model.noted())

    # Mesa's collectors have these two as lists; they are brought up to date when asked for.

    @property
    def model_vars(self) -> dict[str, list[Any]]:
        """Columns by name."""
        if self._pending:
            for name, values in self._columns(self._pending).items():
                self._made[name].extend(values)
            self._pending.clear()
        return self._made

    @model_vars.setter
    def model_vars(self, nothing: object) -> None:
        """Mesa begins with an empty table."""

    @property
    def _collection_steps(self) -> list[float]:
        return self._times

    @_collection_steps.setter
    def _collection_steps(self, nothing: object) -> None:
        """Mesa begins with none."""


def has_collected(collector: Any, time: float) -> bool:
    """Whether a collector of Mesa's has collected at a time already."""
    steps = getattr(collector, "_collection_steps", ())
    records = (getattr(collector, name, ()) for name in ("_agent_records", "_agenttype_records"))
    return bool(steps and steps[-1] == time) or any(time in by_time for by_time in records)
