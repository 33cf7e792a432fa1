"""Clamped ligands put on sites at random: a stationary start, drawn directly."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from synapse_abm.synapse.engine import layout as lay
from synapse_abm.synapse.engine.network import Names
from synapse_abm.synapse.engine.state import State


class Seats:
    """Lets clamped ligands hold sites at random, each with its probability.

    ``occupancy`` names ligands by their first letter, as copies side by side do.
    """

    def __init__(self, names: Names, occupancy: Mapping[str, float]) -> None:
        targets, pairs = len(names.targets), len(names.pairs)
        self._edges = np.cumsum(list(occupancy.values()))
        self._ligand = np.full((targets, len(occupancy) + 1), -1)  # the last kind is an empty site
        self._total = np.zeros(self._ligand.shape, dtype=np.int64)
        self._total[:, -1] = pairs + np.arange(targets)
        for p, (target, ligand) in enumerate(names.pairs):
            at = names.targets.index(target), list(occupancy).index(ligand[0])
            self._ligand[at], self._total[at] = names.ligands.index(ligand), p

    def __call__(self, state: State, generator: np.random.Generator) -> None:
        """Seat the ligands of a state in which all sites are empty."""
        sites, totals = state.store.sites, state.store.totals
        u = generator.random(sites.shape[1])
        at = sites[lay.TARGET], np.searchsorted(self._edges, u, side="right")
        sites[lay.LIGAND] = self._ligand[at]
        held = np.bincount(self._total[at], minlength=int(self._total.max()) + 1)
        totals[: held.size] = held
