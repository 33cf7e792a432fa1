"""Where a run starts if not with empty sites: with sites occupied as told, or in equilibrium.

**Equilibrium.** Without transport, release and loss the law of a place is known (detailed balance),
on any grid: a site is empty or holds ligand i with weights 1 : x_i, x_i = C_i/Kd_i where the
surroundings hold the concentration (clamped, reservoir); free molecules of a reservoir are Poisson;
the N molecules of a closed ligand are spread over sites and solution with weights

    W(n) = binomial(N, n) S!/(S - n)! (1/(Kd M X))**n

for n of them at S sites, M molecules making 1 nM and X = 1 + sum of x_i; two that share a target or
are one ligand at two targets have the joint law with the factorials of what both leave. Up to two
pairs of closed ligand and target are drawn from that law exactly; more, two after two given the
rest (Gibbs' sampler in blocks, so that one ligand can take another's place), :data:`SWEEPS` times.

What is drawn has addresses of its own (``Stream.START``): a start changes no other random number.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from synapse_abm.core.address import Address
from synapse_abm.core.rng import Stream, entity_words, exponential, uniforms
from synapse_abm.synapse.engine import layout as lay
from synapse_abm.synapse.engine.layout import F64, I64
from synapse_abm.synapse.engine.network import Names
from synapse_abm.synapse.engine.state import State, start_cells
from synapse_abm.synapse.scenario.cost import load, nominal_nM
from synapse_abm.synapse.scenario.definition import Scenario
from synapse_abm.synapse.scenario.equilibrium import is_open

#: Rounds of the sampler for more than two closed ligands.
SWEEPS = 20
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
        weights = [1.0, *(load(scenario, names.pairs[p][1], target) for p in held)]
        limits = np.cumsum(weights)
        chosen = np.searchsorted(limits, numbers.take(left) * limits[-1], side="right")
        for k, p in enumerate(held, start=1):
            bound[p] = int((chosen == k).sum())
    free = {
        name: _poisson(nominal_nM(scenario, ligand) * scenario.grid.molecules_per_nM, numbers)
        for name, ligand in scenario.ligands.items()
        if ligand.clamped_nM is None and is_open(ligand)
    }
    return bound, free


@dataclass(frozen=True, slots=True)
class _Closed:
    """A closed ligand at a target, with what others leave it."""

    target: str
    name: str
    sites: int
    copies: int
    log_affinity: float


def _draw_closed(scenario: Scenario, names: Names, numbers: _Numbers, bound: I64) -> None:
    """Numbers of bound molecules of the closed ligands, into ``bound``."""
    closed = [
        p
        for p, (target, name) in enumerate(names.pairs)
        if not is_open(scenario.ligands[name]) and scenario.ligands[name].binding[target].kon > 0
    ]
    blocks = [list(block) for block in itertools.combinations(closed, 2)] or [closed]
    for _ in range(1 if len(closed) <= 2 else SWEEPS):
        for block in filter(None, blocks):
            others = [q for q in closed if q not in block]
            parts = [_closed(scenario, names, p, others, bound) for p in block]
            bound[block] = _one_draw(parts, numbers)


def _closed(scenario: Scenario, names: Names, pair: int, others: list[int], bound: I64) -> _Closed:
    target, name = names.pairs[pair]
    ligand, beside = scenario.ligands[name], 1.0
    for other_target, other in names.pairs:
        if other_target == target and is_open(scenario.ligands[other]):
            beside += load(scenario, other, target)
    taken = sum(int(bound[q]) for q in others if names.pairs[q][0] == target)
    away = sum(int(bound[q]) for q in others if names.pairs[q][1] == name)
    kd = ligand.binding[target].half_nM * scenario.grid.molecules_per_nM * beside
    sites = scenario.targets[target].n_sites
    return _Closed(target, name, sites - taken, ligand.count - away, -math.log(kd))


def _one_draw(parts: list[_Closed], numbers: _Numbers) -> list[int]:
    """How many molecules of one or two closed ligands are bound: a draw from their joint law."""
    most = max(max(part.sites, part.copies) for part in parts)
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, most + 1)))])

    def log_weight(n: int, m: I64) -> F64:
        """Of ``n`` molecules of the first bound, and ``m`` of the second (an array)."""
        first, second = parts[0], parts[-1]
        one = len(parts) == 1
        same_ligand = not one and first.name == second.name
        same_target = not one and first.target == second.target
        left = first.copies - n - (m if same_ligand else 0)
        empty = first.sites - n - (m if same_target else 0)
        total = n * first.log_affinity - log_factorial[n] + np.zeros(m.size)
        free, room = [left], [empty]
        if not one:
            total += m * second.log_affinity - log_factorial[m]
            free += [] if same_ligand else [second.copies - m]
            room += [] if same_target else [second.sites - m]
        for count in (*free, *room):
            total -= log_factorial[np.maximum(count, 0)]
            total[np.broadcast_to(np.asarray(count) < 0, m.shape)] = -np.inf
        return np.asarray(total, dtype=np.float64)

    firsts = np.arange(min(parts[0].sites, parts[0].copies) + 1)
    seconds = np.arange(min(parts[-1].sites, parts[-1].copies) + 1 if len(parts) == 2 else 1)
    # The law of the first by summing over the second, row by row: no table of both is kept.
    log_sums = np.array([_log_sum(log_weight(int(n), seconds)) for n in firsts])
    n = _chosen(log_sums, numbers)
    return [n] if len(parts) == 1 else [n, _chosen(log_weight(n, seconds), numbers)]


def _log_sum(log_weights: F64) -> float:
    """Logarithm of the sum of exponentials; the largest is taken out so that none overflows."""
    largest = float(log_weights.max())
    return (
        largest + math.log(np.exp(log_weights - largest).sum()) if largest > -math.inf else largest
    )


def _chosen(log_weights: F64, numbers: _Numbers) -> int:
    """An index drawn with these weights."""
    sums = np.cumsum(np.exp(log_weights - log_weights.max()))
    u = float(numbers.take(1)[0])
    return min(int(np.searchsorted(sums, u * sums[-1], side="right")), sums.size - 1)


def _poisson(mean: float, numbers: _Numbers) -> int:
    """A Poisson number, by counting exponential waiting times."""
    if mean <= 0.0:
        return 0
    reached = itertools.accumulate(exponential(u) for u in numbers)
    return sum(1 for _ in itertools.takewhile(lambda total: total <= mean, reached))
