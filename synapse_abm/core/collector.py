"""The data collector a model has unless its user sets another.

Mesa 4 replaces ``DataCollector`` by recorders; nothing of ours is built on it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import mesa


class StandardCollector(mesa.DataCollector):  # type: ignore[misc]
    """Collects what it was given, at most once at each time."""

    collects_when_looked_at = True

    def __init__(self, reporters: Mapping[str, Callable[[Any], float]]) -> None:
        # Mesa calls with a model only lambdas and partial functions; the latter can be pickled.
        partials = {name: partial(read) for name, read in reporters.items()}
        super().__init__(model_reporters=partials)
        self._latest: float | None = None

    def collect(self, model: Any) -> None:
        """Collect, unless that was done at this time."""
        # Looking twice at one time must not add a row.
        if model.time != self._latest:
            self._latest = model.time
            super().collect(model)
