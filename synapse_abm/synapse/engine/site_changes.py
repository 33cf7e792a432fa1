"""Sites that come and go while a place runs.

Where sites are is a matter of the scenario and the seed alone: after a change from 500 to 400
scattered sites those are left that a scenario of 400 has at this seed. In each cell the sites with
the highest ids go, and are the first to come back. A site that is taken away keeps its number and
its cell, so that the others keep theirs; what was bound there is let go in its cell.
"""

from __future__ import annotations

import numpy as np

from synapse_abm.core.address import Address
from synapse_abm.synapse.engine import layout as lay
from synapse_abm.synapse.engine.layout import I32, I64
from synapse_abm.synapse.engine.network import Names, place_sites
from synapse_abm.synapse.engine.state import State
from synapse_abm.synapse.scenario.definition import Scenario


def with_sites_of(state: State, scenario: Scenario, address: Address, now_s: float) -> State:
    """The state with the sites of ``scenario``; ``now_s`` is the time (s) of what is let go."""
    names, sites = Names.of(scenario), state.store.sites.copy()
    new: list[I32] = []
    cells, targets = place_sites(scenario, address)
    state = State(state.store._replace(sites=sites))
    for target in range(len(names.targets)):
        wanted = np.bincount(cells[targets == target], minlength=scenario.grid.cells)
        mine = np.flatnonzero(
            (sites[lay.TARGET] == target) | (sites[lay.TARGET] == lay.taken_away(target))
        )
        keep = _rank_in_cell(sites[lay.SITE_CELL, mine]) < wanted[sites[lay.SITE_CELL, mine]]
        there = sites[lay.TARGET, mine] >= 0
        _take_away(state, names, target, mine[there & ~keep], now_s)
        sites[lay.TARGET, mine[keep]] = target
        had = np.bincount(sites[lay.SITE_CELL, mine], minlength=scenario.grid.cells)
        more = np.repeat(np.arange(wanted.size), np.maximum(wanted - had, 0))
        added = np.full((4, more.size), -1, dtype=np.int32)
        added[lay.SITE_CELL], added[lay.TARGET] = more, target
        new.append(added)
        come = int((~there & keep).sum()) + more.size
        state.store.totals[names.empty(target)] += come
    return State(state.store._replace(sites=np.concatenate([sites, *new], axis=1)))


def _rank_in_cell(cell: I32) -> I64:
    """Of each site, how many before it are in the same cell."""
    order = np.argsort(cell, kind="stable")
    ordered = cell[order]
    first = np.searchsorted(ordered, ordered)
    rank = np.empty(cell.size, dtype=np.int64)
    rank[order] = np.arange(cell.size) - first
    return rank


def _take_away(state: State, names: Names, target: int, leaving: I64, now_s: float) -> None:
    """Take sites away; what they held is free again in its cell, and counts as unbound."""
    store = state.store
    sites, mol = store.sites, store.molecules
    for number, ligand in enumerate(names.ligands):
        held = leaving[sites[lay.LIGAND, leaving] == number]
        if not held.size:
            continue
        pair = names.pair_number(names.targets[target], ligand)
        store.totals[pair] -= held.size
        store.events[names.counter(lay.UNBIND, pair)] += held.size
        store.last_s[names.counter(lay.UNBIND, pair)] = now_s
        rows = sites[lay.ROW, held]
        if (rows >= 0).all():  # a clamped ligand has no molecules
            mol[lay.CELL, rows] = sites[lay.SITE_CELL, held]
            mol[lay.COMPARTMENT, rows], mol[lay.SITE, rows] = lay.FREE, lay.NO_SITE
            store.totals[names.free(number)] += held.size
        store.totals[names.empty(target)] += held.size  # empty for the moment
    store.totals[names.empty(target)] -= leaving.size
    sites[lay.LIGAND, leaving] = sites[lay.ROW, leaving] = -1
    sites[lay.TARGET, leaving] = lay.taken_away(target)
