"""A scenario: its description, and the step it is advanced by.

``engine.network`` turns it into rates; ``file`` reads the same from TOML, with units written by
people.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Self

from pydantic import model_validator

from synapse_abm.core.errors import raise_faults
from synapse_abm.synapse.scenario.parts import Description, Ligand, Target
from synapse_abm.synapse.scenario.protocol import protocol_faults
from synapse_abm.synapse.scenario.rate_adjustment import Adjustment, Pair, adjustments
from synapse_abm.synapse.scenario.summary import scenario_text
from synapse_abm.synapse.scenario.timestep import auto_dt, step_after_change

#: What is written for a step that the program shall choose.
AUTO = "auto"


class Scenario(Description):
    """A synapse and the step it is advanced by: everything a run needs.

    ``dt_s`` may be left out, or ``"auto"``: ``timestep.auto_dt`` then chooses it. ``print`` it for
    a table with units.
    """

    @model_validator(mode="before")
    @classmethod
    def _auto(cls, fields: Any) -> Any:
        dt_s = fields.get("dt_s") if isinstance(fields, dict) else None
        if isinstance(dt_s, str) and dt_s == AUTO:
            return {key: value for key, value in fields.items() if key != "dt_s"}
        return fields

    @model_validator(mode="after")
    def _with_step(self) -> Self:
        raise_faults(list(protocol_faults(self)))  # the step depends on what changes
        if math.isnan(self.dt_s):
            # Not a change: the object is still being made, and nobody has seen the NaN.
            object.__setattr__(self, "dt_s", auto_dt(self).dt_s)
        return self

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Scenario:
        """The scenario of a TOML file, or the ready-made one of that name, as ``read_scenario``.

        Raises
        ------
        InputError, InputErrors
            All that is wrong with the file, at once; or the names that are most like an unknown
            one.
        """
        # Not at the top: the reader makes scenarios, so it stands above this module.
        from synapse_abm.synapse.scenario.file import read_scenario

        return read_scenario(path)

    @cached_property
    def adjustments(self) -> dict[Pair, Adjustment]:
        """How the rates of each pair of a target and a ligand that walks are adjusted to the step.

        ``scenario.adjustments["SERT", "serotonin"].s`` multiplies k_on and k_off; pairs that are
        not listed have s = 1.
        """
        return adjustments(self, self.dt_s)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with some fields replaced, not validated; a step that was chosen is chosen again.

        A step given by hand, or in ``update``, is kept.
        """
        copied = super().model_copy(update=update, deep=deep)
        copied.__dict__.pop("adjustments", None)  # those of the original
        if copied.dt_is_auto and update:
            object.__setattr__(copied, "dt_s", auto_dt(copied).dt_s)
        return copied

    def without_protocol(self) -> Self:
        """What holds at the start, with the step of the whole."""
        return self.becoming(self.targets, self.ligands, self.dt_s)

    def becoming(
        self, targets: dict[str, Target], ligands: dict[str, Ligand], dt_s: float | None = None
    ) -> Self:
        """The same with other targets and ligands, and without its protocol.

        ``dt_s`` is its step (s) if one is to be kept; otherwise one that the program chose is
        judged anew (``timestep.step_after_change``).
        """
        parts = {"targets": targets, "ligands": ligands, "at": (), "dt_s": dt_s or self.dt_s}
        after = self.model_copy(update=parts)
        if self.dt_is_auto:
            after.model_fields_set.discard("dt_s")  # still the program's choice
            if dt_s is None:
                chosen_s, adjusted = step_after_change(after, self.dt_s)
                object.__setattr__(after, "dt_s", chosen_s)
                if adjusted is not None:
                    after.__dict__["adjustments"] = adjusted  # worked out with the step
        return after

    def with_chosen_step(self) -> Self:
        """The same, its step counted as one that the program chose: a change chooses it anew."""
        copied = self.model_copy(update={"dt_s": self.dt_s})  # a set of fields of its own
        copied.model_fields_set.discard("dt_s")
        return copied

    def with_run(self, **settings: Any) -> Self:
        """A copy with some settings of the run replaced, not validated; None replaces nothing."""
        settings = {key: value for key, value in settings.items() if value is not None}
        if self.run is None or not settings:
            return self
        return self.model_copy(update={"run": self.run.model_copy(update=settings)})

    def __str__(self) -> str:
        return scenario_text(self)
