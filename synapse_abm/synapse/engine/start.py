"""Where a run starts if not with empty sites: with sites occupied as told, or in equilibrium.

**Equilibrium.** Without transport, release and loss the law of a place is known (detailed balance),
on any grid: a site is empty or holds ligand i with weights 1 : x_i, x_i = C_i/Kd_i where the
surroundings hold the concentration (clamped, reservoir); free molecules of a reservoir are Poisson;
the N molecules of a closed ligand are spread over sites and solution with weights

    W(n) = binomial(N, n) S!/(S - n)! (1/(Kd M X))**n

for n of them at the S sites that others leave, M molecules making 1 nM and X = 1 + sum of x_i. One
closed ligand at one target is drawn from that law; several, at several targets, one after the other
given the rest (Gibbs' sampler), :data:`SWEEPS` times.

What is drawn has addresses of its own (``Stream.START``): a start changes no other random number.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from synapse_abm.core.address import Address
from synapse_abm.core.rng import Stream, entity_words, exponential, uniforms
from synapse_abm.synapse.engine import layout as lay
from synapse_abm.synapse.engine.layout import F64, I64
from synapse_abm.synapse.engine.network import Names
from synapse_abm.synapse.engine.state import State, start_cells
from synapse_abm.synapse.scenario.definition import Scenario
from synapse_abm.synapse.scenario.equilibrium import is_open

#: Rounds of the sampler for ligands that are closed and depend on each other.
SWEEPS = 200
_BLOCK = 4096


class _Numbers:
    """Uniform numbers of a start; one entity's draws, in order."""

    def __init__(self, address: Address, entity: int) -> None:
        self.at = address.seed, address.replicate, address.place, Stream.START, 0, entity
        self.used, self._block = 0, np.zeros(0)

    def take(self, n: int) -> F64:
        """The next ``n``."""
        if self.used + n > self._block.size:
            self._block = uniforms(entity_words(*self.at, self.used + n + _BLOCK))
        self.used += n
        return self._block[self.used - n : self.used]

    def __iter__(self) -> Iterator[float]:
        while True:
            yield float(self.take(1)[0])


def started(state: State, scenario: Scenario, address: Address) -> tuple[State, dict[str, int]]:
    """The state as the scenario's ``start`` says, and the molecules that came in for it by ligand.

    What is bound at the start counts as having bound at time zero.
    """
    names = Names.of(scenario)
    if scenario.start.state == "equilibrium":
        bound, free = _equilibrium(scenario, names, address)
    else:
        bound, free = _as_told(scenario, names), {}
    extra = _missing(scenario, names, bound, free)
    for name, n in extra.items():
        first = int(state.store.meta[lay.NEXT_ID])
        cells = start_cells(scenario, address, None, first, n)
        number = names.ligand_number(name)
        state = state.add(number, cells, scenario.grid.width)
        state.store.totals[names.free(number)] += n
    _occupy(state, scenario, names, bound, address)
    return state, extra


def _as_told(scenario: Scenario, names: Names) -> I64:
    """Sites occupied at the start, by pair."""
    told = scenario.start.bound
    return np.array(
        [
            round(told.get(target, {}).get(ligand, 0.0) * scenario.targets[target].n_sites)
            for target, ligand in names.pairs
        ],
        dtype=np.int64,
    )


def _missing(scenario: Scenario, names: Names, bound: I64, free: dict[str, int]) -> dict[str, int]:
    """Molecules that a ligand with surroundings needs beyond its count: bound, and free."""
    extra = dict[str, int]()
    for name, ligand in scenario.ligands.items():
        if ligand.clamped_nM is None and ligand.reservoir is not None:
            mine = [p for p, pair in enumerate(names.pairs) if pair[1] == name]
            needed = int(bound[mine].sum()) + free.get(name, 0) - ligand.count
            if needed > 0:
                extra[name] = needed
    return extra


def _occupy(state: State, scenario: Scenario, names: Names, bound: I64, address: Address) -> None:
    """Fill sites at random with as many molecules of each ligand; the lowest ids are bound."""
    store = state.store
    sites, mol = store.sites, store.molecules
    used = [int(start) for start in store.segments[:, lay.START]]
    for t in range(len(names.targets)):
        mine = np.flatnonzero(sites[lay.TARGET] == t)
        order = mine[np.argsort(_Numbers(address, 1 + t).take(mine.size), kind="stable")]
        for p, (target, name) in enumerate(names.pairs):
            if target != names.targets[t] or not bound[p]:
                continue
            n, ligand = int(bound[p]), names.ligand_number(name)
            taken, order = np.sort(order[:n]), order[n:]
            sites[lay.LIGAND, taken] = ligand
            store.totals[p] += n
            store.totals[names.empty(t)] -= n
            store.events[names.counter(lay.BIND, p)] += n
            store.last_s[names.counter(lay.BIND, p)] = 0.0
            if scenario.ligands[name].clamped_nM is not None:
                continue
            rows = np.arange(used[ligand], used[ligand] + n)
            used[ligand] += n
            store.totals[names.free(ligand)] -= n
            sites[lay.ROW, taken] = rows
            cells = sites[lay.SITE_CELL, taken].astype(np.uint32)
            mol[lay.SITE, rows], mol[lay.COMPARTMENT, rows] = taken, lay.BOUND
            mol[lay.Y, rows], mol[lay.X, rows] = np.divmod(cells, np.uint32(scenario.grid.width))
            mol[lay.CELL, rows] = scenario.grid.cells  # in no cell of its own while bound


# --- equilibrium ----------------------------------------------------------------------------------


def _equilibrium(scenario: Scenario, names: Names, address: Address) -> tuple[I64, dict[str, int]]:
    """A draw from equilibrium: occupied sites by pair, free molecules of those with a reservoir."""
    numbers = _Numbers(address, 0)
    bound = np.zeros(len(names.pairs), dtype=np.int64)
    _draw_closed(scenario, names, numbers, bound)
    for target in names.targets:
        pairs = [p for p, pair in enumerate(names.pairs) if pair[0] == target]
        held = [p for p in pairs if is_open(scenario.ligands[names.pairs[p][1]])]
        left = scenario.targets[target].n_sites - int(bound[pairs].sum())
        weights = [1.0, *(_load(scenario, *names.pairs[p]) for p in held)]
        limits = np.cumsum(weights)
        chosen = np.searchsorted(limits, numbers.take(left) * limits[-1], side="right")
        for k, p in enumerate(held, start=1):
            bound[p] = int((chosen == k).sum())
    free = {
        name: _poisson(nM * scenario.grid.molecules_per_nM, numbers)
        for name, ligand in scenario.ligands.items()
        if ligand.clamped_nM is None and is_open(ligand)
        for nM in [ligand.reservoir.concentration_nM if ligand.reservoir else 0.0]
    }
    return bound, free


def _load(scenario: Scenario, target: str, name: str) -> float:
    """C/Kd of a ligand whose concentration is held (C/Km if it is clamped and transported)."""
    ligand = scenario.ligands[name]
    nM = ligand.clamped_nM
    if nM is None:
        nM = ligand.reservoir.concentration_nM if ligand.reservoir else 0.0
    kinetics = ligand.binding[target]
    return nM / kinetics.half_nM if kinetics.kon > 0 else 0.0


def _draw_closed(scenario: Scenario, names: Names, numbers: _Numbers, bound: I64) -> None:
    """Numbers of bound molecules of the closed ligands, into ``bound``."""
    closed = [
        p
        for p, (target, name) in enumerate(names.pairs)
        if not is_open(scenario.ligands[name]) and scenario.ligands[name].binding[target].kon > 0
    ]
    for _ in range(1 if len(closed) < 2 else SWEEPS):
        for p in closed:
            target, name = names.pairs[p]
            ligand, beside = scenario.ligands[name], 1.0
            for other_target, other in names.pairs:
                if other_target == target and is_open(scenario.ligands[other]):
                    beside += _load(scenario, target, other)
            same_target = sum(bound[q] for q in closed if names.pairs[q][0] == target and q != p)
            same_ligand = sum(bound[q] for q in closed if names.pairs[q][1] == name and q != p)
            kd = ligand.binding[target].half_nM * scenario.grid.molecules_per_nM * beside
            sites = scenario.targets[target].n_sites - int(same_target)
            bound[p] = _one_closed(sites, ligand.count - int(same_ligand), 1 / kd, numbers)


def _one_closed(sites: int, copies: int, affinity: float, numbers: _Numbers) -> int:
    """One draw of how many of ``copies`` molecules are bound to ``sites`` sites: W(n) above."""
    most = min(sites, copies)
    if most <= 0:
        return 0
    n = np.arange(most)
    # log W(n + 1)/W(n), summed from the largest down so that no exponential overflows.
    ratio = np.log(affinity) + np.log(copies - n) + np.log(sites - n) - np.log(n + 1.0)
    log_weight = np.concatenate([[0.0], np.cumsum(ratio)])
    weight = np.cumsum(np.exp(log_weight - log_weight.max()))
    return int(np.searchsorted(weight, float(numbers.take(1)[0]) * weight[-1], side="right"))


def _poisson(mean: float, numbers: _Numbers) -> int:
    """A Poisson number, by counting exponential waiting times."""
    if mean <= 0.0:
        return 0
    reached = itertools.accumulate(exponential(u) for u in numbers)
    return sum(1 for _ in itertools.takewhile(lambda total: total <= mean, reached))
