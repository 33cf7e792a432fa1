"""The data collector a model has unless its user sets another: occupancies and counts.

Mesa 4 replaces ``DataCollector`` by recorders; nothing of ours is built on it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import mesa

from synapse_abm.synapse.engine.network import Names

if TYPE_CHECKING:
    from synapse_abm.synapse.agents.model import SynapseModel

type Reporter = Callable[[SynapseModel], float]


def reporters(names: Names, clamped: frozenset[str]) -> dict[str, Reporter]:
    """Time, occupancy of each pair, molecules free and carried; names as in ``simulate``'s table.

    They are partial functions, not lambdas, so that a model that collects can be pickled.
    """
    found: dict[str, Reporter] = {"time_s": partial(_seconds)}
    for target, ligand in names.pairs:
        found[f"occupancy_{target}_{ligand}"] = partial(_occupancy, target=target, ligand=ligand)
    for ligand in names.ligands:
        if ligand not in clamped:
            found[f"free_{ligand}"] = partial(_free, ligand=ligand)
    return found


def _seconds(model: SynapseModel) -> float:
    return model.seconds


def _occupancy(model: SynapseModel, target: str, ligand: str) -> float:
    return model.occupancy(target, ligand)


def _free(model: SynapseModel, ligand: str) -> float:
    return model.free(ligand)


class StandardCollector(mesa.DataCollector):  # type: ignore[misc]
    """Collects what it was given, at most once at each time."""

    collects_when_looked_at = True

    def __init__(self, found: Mapping[str, Callable[[Any], float]]) -> None:
        super().__init__(model_reporters=dict(found))
        self._latest: float | None = None

    def collect(self, model: Any) -> None:
        """Collect, unless that was done at this time."""
        if model.time != self._latest:
            self._latest = model.time
            super().collect(model)
