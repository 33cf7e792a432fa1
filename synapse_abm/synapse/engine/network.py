"""From a scenario to numbers: channels with their rates, hop tables, cells that need a clock.

This is the one place where concentrations become molecules and rate constants become rates per
pair.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, wraps
from typing import Any, NamedTuple

import numpy as np

from synapse_abm.core.address import Address
from synapse_abm.core.arguments import choice
from synapse_abm.core.errors import UnknownName
from synapse_abm.core.rng import (
    Stream,
    counter_high,
    key_words,
    uniforms,
    words_by_replicate,
)
from synapse_abm.core.units import molecules_per_nM, pair_rate_per_s
from synapse_abm.synapse.engine import layout as lay
from synapse_abm.synapse.engine.clock import Clock, Stretch
from synapse_abm.synapse.engine.heat import hop_table
from synapse_abm.synapse.engine.layout import F64, I32, I64, U16, U32, U64
from synapse_abm.synapse.scenario import Ligand, Scenario


class _Same:
    """A scenario as a key, by identity: it does not change, and its contents take long to hash."""

    __slots__ = ("scenario",)

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.scenario is self.scenario

    def __hash__(self) -> int:
        return id(self.scenario)


_caches = list[Any]()


def forget_shared() -> None:
    """Drop what replicates share: the next one is set up as if it were the first."""
    for cached in (*_caches, _jumps):
        cached.cache_clear()


def shared[R](function: Callable[[Scenario], R]) -> Callable[[Scenario], R]:
    """``function`` with its results for the latest scenarios kept: replicates share them.

    Nobody may change them, and they are small.
    """
    cached = lru_cache(maxsize=16)(lambda same: function(same.scenario))
    _caches.append(cached)

    @wraps(function)
    def looked_up(scenario: Scenario) -> R:
        return cached(_Same(scenario))

    return looked_up


@dataclass(frozen=True, slots=True)
class Names:
    """What the rows and columns of the arrays are called."""

    targets: tuple[str, ...]
    ligands: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]  # (target, ligand)

    @staticmethod
    def of(scenario: Scenario) -> Names:
        """Names in the scenario's own order; pairs by target, then ligand."""
        return _names(scenario)

    def ligand_number(self, ligand: str) -> int:
        """Row of a ligand; ``UnknownName`` if there is none."""
        return self.ligands.index(choice("ligand", ligand, self.ligands))

    def pair_number(self, target: str, ligand: str) -> int:
        """Row of a pair; ``UnknownName`` if there is none, or the ligand does not bind there."""
        try:
            return self.pairs.index((target, ligand))
        except ValueError:  # also what comparing with an array raises
            pair = choice("target", target, self.targets), choice("ligand", ligand, self.ligands)
            known = map(" ".join, self.pairs)
            raise UnknownName("target and ligand", " ".join(pair), known) from None

    # Rows of the table of counts per cell (``Landing.counts``; ``Store.totals`` without the last):
    # bound by pair, empty by target, free by ligand, inside by ligand, ones. A pair's row is the
    # pair's number.

    def empty(self, target: int) -> int:
        """Row of the empty sites of a target."""
        return len(self.pairs) + target

    def free(self, ligand: int) -> int:
        """Row of the free molecules of a ligand."""
        return len(self.pairs) + len(self.targets) + ligand

    def inside(self, ligand: int) -> int:
        """Row of the molecules of a ligand that were transported and are still inside."""
        return self.free(len(self.ligands) + ligand)

    @property
    def ones(self) -> int:
        """Row of ones, the second factor of first-order channels; the number of rows before it."""
        return self.free(2 * len(self.ligands))

    def counter(self, kind: int, number: int) -> int:
        """Index into ``Store.events``: of a pair for kinds up to BIND, else of a ligand."""
        if kind <= lay.BIND:
            return kind * len(self.pairs) + number
        return 3 * len(self.pairs) + (kind - lay.RETURN) * len(self.ligands) + number

    @property
    def counters(self) -> int:
        """Length of ``Store.events``."""
        return self.counter(lay.RELEASE, len(self.ligands))


@shared
def _names(scenario: Scenario) -> Names:
    ligands = scenario.ligands
    pairs = [(t, n) for t in scenario.targets for n in ligands if t in ligands[n].binding]
    return Names(tuple(scenario.targets), tuple(ligands), tuple(pairs))


class Channel(NamedTuple):
    """A kind of event: propensity is rate x count[first] x count[second]."""

    kind: int
    number: int
    first: int
    second: int
    rate: float


def channels(scenario: Scenario) -> list[Channel]:
    """Every event with a rate above zero, in the order in which propensities are summed.

    Sites first: by pair, unbind then transport. Then by ligand: binding to each target, return,
    metabolism, exit, degradation, arrival, batch. A propensity is rate x count x count. Binding
    and unbinding are adjusted to the step, one factor a pair (``scenario.rate_adjustment``).
    """
    # The order is part of what a seed means: sums of floats depend on it, and so does which event a
    # draw falls on.
    names = Names.of(scenario)
    listed = []
    for p, (target, ligand) in enumerate(names.pairs):
        kinetics, s = scenario.ligands[ligand].binding[target], factor(scenario, target, ligand)
        listed.append(Channel(lay.UNBIND, p, p, names.ones, s * kinetics.koff))
        # Not adjusted: the adjustment is for those who bind again at once, and these are gone.
        listed.append(Channel(lay.TRANSPORT, p, p, names.ones, kinetics.kcat_per_s))
    for number, name in enumerate(names.ligands):
        listed += _ligand_channels(scenario, names, number, name)
    return [c for c in listed if c.rate > 0]


def factor(scenario: Scenario, target: str, ligand: str) -> float:
    """What k_on and k_off of a pair are multiplied by; 1 where positions are never frozen."""
    adjusted = scenario.adjustments.get((target, ligand))
    return 1.0 if adjusted is None else adjusted.s


def _ligand_channels(scenario: Scenario, names: Names, number: int, name: str) -> list[Channel]:
    ligand, volume = scenario.ligands[name], scenario.grid.cell_volume_um3
    free, inside, one = names.free(number), names.inside(number), names.ones
    bindings = []
    for p, (target, bound_ligand) in enumerate(names.pairs):
        if bound_ligand != name:
            continue
        empty, kon = names.empty(names.targets.index(target)), ligand.binding[target].kon
        if ligand.clamped_nM is not None:
            # First order in empty sites; a concentration that nothing depletes needs no adjusting.
            bindings.append(Channel(lay.BIND, p, one, empty, kon * ligand.clamped_nM))
        else:
            rate = factor(scenario, target, name) * pair_rate_per_s(kon, volume)
            bindings.append(Channel(lay.BIND, p, free, empty, rate))
    releases = any(batch.rate_per_s > 0 for batch in ligand.batches)
    return [
        *bindings,
        Channel(lay.RETURN, number, inside, one, ligand.return_per_s),
        Channel(lay.METABOLISE, number, inside, one, ligand.metabolism_per_s),
        Channel(lay.EXIT, number, free, one, ligand.exit_per_s),
        Channel(lay.DEGRADE, number, free, one, ligand.degradation_per_s),
        Channel(lay.ARRIVE, number, one, one, arrivals_per_cell_s(ligand, volume)),
        # The rate differs from cell to cell (``Chemistry.release_rate``); this says there is one.
        Channel(lay.RELEASE, number, one, one, 1.0 if releases else 0.0),
    ]


def arrivals_per_cell_s(ligand: Ligand, cell_volume_um3: float) -> float:
    """Rate (1/s) at which molecules enter one cell from the reservoir: exchange x copies at
    balance.
    """
    if ligand.reservoir is None:
        return 0.0
    copies = ligand.reservoir.concentration_nM * molecules_per_nM(cell_volume_um3)
    return ligand.reservoir.exchange_per_s * copies


def place_sites(scenario: Scenario, address: Address) -> tuple[I32, I32]:
    """Cell and target of every site, targets in order; scattered sites take distinct cells in
    turn.
    """
    cells = list[int]()
    for number, target in enumerate(scenario.targets.values()):
        if target.cells is not None:
            cells += [y * scenario.grid.width + x for x, y in target.cells]
        else:
            cells += _scattered(scenario.grid.cells, target.n_sites, address, number)
    counts = [target.n_sites for target in scenario.targets.values()]
    targets = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    return np.array(cells, dtype=np.int32), targets


#: Replicates whose scattered sites are drawn together, if they are at most so many.
NEIGHBOURS, FEW_SITES = 16, 2048


def _scattered(cells: int, sites: int, address: Address, number: int) -> list[int]:
    """Cells of scattered sites; ascending, because neighbours in memory are visited faster."""
    rounds, rest = divmod(sites, cells)
    # Of few sites it is the number of NumPy's calls that costs time: one set for many replicates.
    group = NEIGHBOURS if rest <= FEW_SITES else 1
    first = address.replicate - address.replicate % group
    jumps = _jumps(address.seed, first, group, address.place, number, cells, rest)
    # Fisher and Yates' shuffle, only as far as needed, and of a list that is never made: ``taken``
    # holds the entries that differ from their own number.
    chosen, taken = list[int](), dict[int, int]()
    get, add = taken.get, chosen.append
    for i, j in enumerate(jumps[address.replicate - first]):
        add(get(j, j))
        taken[j] = get(i, i)
    chosen.sort()
    return list(range(cells)) * rounds + chosen


@lru_cache(maxsize=8)
def _jumps(
    seed: int, first: int, group: int, place: int, target: int, cells: int, rest: int
) -> list[list[int]]:
    """For each of a group of replicates, the entry with which each place of the list is swapped."""
    replicates, at = range(first, first + group), np.arange(rest)
    u = uniforms(words_by_replicate(seed, replicates, place, Stream.PLACE_SITES, 0, target, rest))
    jumps: list[list[int]] = (at + (u * (cells - at)).astype(np.int64)).tolist()
    return jumps


@dataclass(frozen=True, slots=True)
class Network:
    """All constant arrays of a run (see ``layout``)."""

    names: Names
    plan: lay.Plan
    space: lay.Space
    chemistry: lay.Chemistry


def build_network(
    scenario: Scenario, address: Address, sites: I32, clock: Clock | None = None
) -> Network:
    """Rates, hop tables and active cells of a scenario with these ``sites`` (``Store.sites``).

    ``clock`` is that of a run under way; one that begins has none yet.
    """
    clock = clock or Clock.start(scenario.dt_s)
    return _network(scenario, address, clock, {**_geometry(scenario, sites), **_hops(scenario)})


def changed_network(
    network: Network, before: Scenario, after: Scenario, address: Address, sites: I32, clock: Clock
) -> Network:
    """The network of a run whose scenario was ``before`` and is ``after`` from now on.

    Hop tables and what belongs to places are kept where the change does not touch them: they are
    large, and a slow ramp is hundreds of changes.
    """
    kept = network.space._asdict()
    if before.targets != after.targets or _sources(before) != _sources(after):
        kept |= _geometry(after, sites)
    if _hop_lengths(before) != _hop_lengths(after):
        kept |= _hops(after)
    return _network(after, address, clock, kept)


def _network(
    scenario: Scenario, address: Address, clock: Clock, kept: Mapping[str, Any]
) -> Network:
    names, active = Names.of(scenario), kept["active"]
    schedule, offset = _schedule(scenario, active, clock)
    fresh = {
        "exchange": _exchange(scenario, kept["inactive"].size),
        "schedule": schedule,
        "schedule_offset": offset,
    }
    reactions = _reactions(scenario)
    # A place of a neuron's grid sets its own rates.
    own = {"rate": reactions["rate"].copy(), **_release(scenario, active)}
    return Network(
        names,
        _plan(scenario, names, address, clock.now),
        lay.Space(**{**kept, **fresh}),
        lay.Chemistry(**{**reactions, **own}),
    )


def _plan(scenario: Scenario, names: Names, address: Address, now: Stretch) -> lay.Plan:
    grid = scenario.grid
    fold = 2 if grid.walls == "reflecting" else 1
    key0, key1 = key_words(address.seed)
    return lay.Plan(
        pairs=len(names.pairs),
        targets=len(names.targets),
        ligands=len(names.ligands),
        width=grid.width,
        cells=grid.cells,
        ring_x=fold * grid.width,
        ring_y=fold * grid.height,
        fold=fold == 2,
        key0=np.uint32(key0),
        key1=np.uint32(key1),
        origin=np.uint32(counter_high(address.replicate, address.place, 0, 0)[1]),
        dt=now.dt_s,
        first_step=now.first_step,
        first_s=now.first_s,
    )


@shared
def _reactions(scenario: Scenario) -> dict[str, Any]:
    """What may happen in any cell (fields of ``layout.Chemistry``)."""
    names, listed = Names.of(scenario), channels(scenario)
    table = [(*c[:4], names.counter(c.kind, c.number), *_lists(scenario, names, c)) for c in listed]
    pairs = [(names.targets.index(t), names.ligands.index(n)) for t, n in names.pairs]
    # At least one entry along each axis, here and below: a place without targets or ligands is one.
    pair_of = np.full((max(len(names.targets), 1), max(len(names.ligands), 1)), -1, dtype=np.int64)
    for p, pair in enumerate(pairs):
        pair_of[pair] = p
    return {
        "channels": np.array(table, dtype=np.int64).reshape(-1, 7),
        "rate": np.array([c.rate for c in listed], dtype=np.float64),
        "pairs": np.array(pairs, dtype=np.int64).reshape(-1, 2),
        "pair_of": pair_of,
    }


def _geometry(scenario: Scenario, sites: I32) -> dict[str, Any]:
    """Active cells, and the sites in each (fields of ``layout.Space``)."""
    cells, active = scenario.grid.cells, _all_active(scenario, sites)
    flags = np.zeros(32 * (cells // 32 + 1), dtype=np.uint8)  # whole words of the set of bits
    flags[active] = 1
    first_cell_of_word = 32 * np.arange(cells // 32 + 1)
    present = np.flatnonzero(sites[lay.TARGET] >= 0)
    site_slot = np.searchsorted(active, sites[lay.SITE_CELL, present])
    order = np.argsort(site_slot, kind="stable")  # so that sites of a cell stay ascending in id
    return {
        "active": active,
        "is_active": flags[: cells + 1],
        "active_bits": np.packbits(flags, bitorder="little").view("<u4").astype(np.uint32),
        "active_before": np.searchsorted(active, first_cell_of_word).astype(np.uint32),
        "first_site": np.searchsorted(site_slot[order], np.arange(active.size + 1)).astype(
            np.int64
        ),
        "site_order": present[order].astype(np.int32),
        "inactive": np.flatnonzero(flags[:cells] == 0).astype(np.uint32),
    }


@shared
def _hops(scenario: Scenario) -> dict[str, Any]:
    """Hop tables, their short cuts and shifts (fields of ``layout.Space``)."""
    return dict(zip(("hop", "direct", "hop_shift"), _hop_tables(scenario), strict=True))


def _hop_lengths(scenario: Scenario) -> list[float]:
    """Hops of each ligand along an axis within a step: what hop tables depend on, beside the
    grid, which stays.
    """
    dt_s, area = scenario.dt_s, scenario.grid.spacing_um**2
    return [ligand.diffusion_um2_per_s * dt_s / area for ligand in scenario.ligands.values()]


def _lists(scenario: Scenario, names: Names, channel: Channel) -> tuple[int, int]:
    """List that the site of a pair's event joins; list that the molecule leaves or joins."""
    if channel.kind > lay.BIND:
        return names.ones, names.ones
    target, name = names.pairs[channel.number]
    number = names.ligands.index(name)
    binds = channel.kind == lay.BIND
    sites = channel.number if binds else names.empty(names.targets.index(target))
    if scenario.ligands[name].clamped_nM is not None:
        return sites, names.ones
    return sites, names.inside(number) if channel.kind == lay.TRANSPORT else names.free(number)


def _cell_number(scenario: Scenario, cell: tuple[int, int]) -> int:
    return cell[1] * scenario.grid.width + cell[0]


def _all_active(scenario: Scenario, sites: I32) -> U32:
    """Cells with a clock: those of sites, and of batches.

    Also of sites that were taken away: who is inside there shall come out again.
    """
    # Marked and read off, which is quicker than sorting.
    marked = np.zeros(scenario.grid.cells, dtype=bool)
    marked[sites[lay.SITE_CELL]] = True
    for ligand in scenario.ligands.values():
        for batch in ligand.batches:
            marked[_cell_number(scenario, batch.cell)] = True
    return marked.nonzero()[0].astype(np.uint32)


def _sources(scenario: Scenario) -> list[int]:
    """Cells of the batches."""
    return [
        _cell_number(scenario, batch.cell)
        for ligand in scenario.ligands.values()
        for batch in ligand.batches
    ]


def _hop_tables(scenario: Scenario) -> tuple[U64, U16, I64]:
    """Alias tables (2, L, slots), short cuts, shifts (2, L); -1 shifts where nothing hops."""
    grid, lengths = scenario.grid, _hop_lengths(scenario)
    fold = 2 if grid.walls == "reflecting" else 1
    tables: dict[tuple[int, int], U64] = {}
    shifts = np.full((2, max(len(lengths), 1)), -1, dtype=np.int64)
    direct = np.zeros((*shifts.shape, 1 << lay.DIRECT_BITS), dtype=np.uint16)
    for axis, length in enumerate((grid.width, grid.height)):
        for number, hops in enumerate(lengths):
            if length > 1 and hops > 0.0:
                at = axis, number
                tables[at], shifts[at], direct[at] = hop_table(hops, fold * length)
    # One array for all: padded, since the ring of a long axis has more slots than that of a short.
    widest = max((t.size for t in tables.values()), default=1)
    out = np.zeros((*shifts.shape, widest), dtype=np.uint64)
    for at, table in tables.items():
        out[at][: table.size] = table
    return out, direct, shifts


def _release(scenario: Scenario, active: U32) -> dict[str, Any]:
    rate = np.zeros((max(len(scenario.ligands), 1), max(active.size, 1)))
    size = np.zeros(rate.shape, dtype=np.int64)
    for number, ligand in enumerate(scenario.ligands.values()):
        for batch in ligand.batches:
            if batch.rate_per_s > 0:
                at = int(np.searchsorted(active, _cell_number(scenario, batch.cell)))
                rate[number, at], size[number, at] = batch.rate_per_s, batch.size
    return {"release_rate": rate, "release_size": size}


def _exchange(scenario: Scenario, inactive: int) -> F64:
    """Exchange in cells without a clock, in closed form over one step (columns: see ``layout``).

    A molecule present at the start leaves with probability 1 - exp(-q dt), q = exit + degradation.
    Arrivals at rate a that are still there at the end are Poisson with mean a (1 - exp(-q dt))/q,
    those that have come and gone Poisson with the rest of a dt, and the two are independent.
    """
    # Where nothing binds, molecules are independent, and coming and going has a closed form: no
    # clock is needed, and most cells of a large grid have none.
    dt, volume = scenario.dt_s, scenario.grid.cell_volume_um3
    rows = []
    for ligand in scenario.ligands.values():
        exits, gone = ligand.exit_per_s, ligand.loss_per_s
        arrivals = arrivals_per_cell_s(ligand, volume) * inactive
        leave = -math.expm1(-gone * dt)  # 1 - exp(-x) without cancellation: x is often 1e-6
        stay = arrivals * leave / gone if gone > 0 else arrivals * dt
        rows.append(
            (leave, exits / gone if gone > 0 else 1.0, stay, max(arrivals * dt - stay, 0.0))
        )
    return np.array(rows, dtype=np.float64).reshape(-1, 4)


def _schedule(scenario: Scenario, active: U32, clock: Clock) -> tuple[I64, F64]:
    """Releases at given times, sorted by step, cell and time within the step."""
    rows, now = [], clock.now
    for number, ligand in enumerate(scenario.ligands.values()):
        for batch in ligand.batches:
            at = int(np.searchsorted(active, _cell_number(scenario, batch.cell)))
            for time in batch.times_s:
                step = clock.due_step(time)
                # Within the step, whatever rounding says: at its very end it would never be due.
                within = min(max(time - now.seconds(step), 0.0), now.dt_s * (1 - 1e-12))
                rows.append((step, at, within, number, batch.size))
    rows.sort()
    table = [(step, at, number, size) for step, at, _, number, size in rows]
    offsets = [within for _, _, within, _, _ in rows]
    return np.array(table, dtype=np.int64).reshape(-1, 4), np.array(offsets, dtype=np.float64)
