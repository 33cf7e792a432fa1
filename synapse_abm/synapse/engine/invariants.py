"""What must be true of every state, number by number; a message says what is not."""

from __future__ import annotations

import numpy as np

from synapse_abm.synapse.engine import layout as lay
from synapse_abm.synapse.engine.clock import Clock
from synapse_abm.synapse.engine.layout import I64
from synapse_abm.synapse.engine.network import Names
from synapse_abm.synapse.engine.state import State
from synapse_abm.synapse.scenario.definition import Scenario


class InvariantError(AssertionError):
    """The state contradicts itself; the message names what, where and the counts."""


def check(state: State, scenario: Scenario, clock: Clock | None = None) -> None:
    """Invariants: every number that the arrays hold twice, or that a law of conservation fixes.

    Rows in order and ids unique; positions on the grid, and cells those of the positions; binding
    one to one, between a ligand and a target that it binds; sites where the scenario puts them;
    counts as counted anew; nothing made or lost; events in the past, releases done when due.
    ``clock`` is that of a run that was changed; its ligands count what was added.

    Raises
    ------
    InvariantError
        At the first contradiction.
    """
    check_arrays(state, scenario)
    names, rows = Names.of(scenario), state.rows()
    for number, ligand in enumerate(scenario.ligands.values()):
        if ligand.clamped_nM is None:
            _check_conserved(state, names, number, rows[number].size, ligand.count)
    _check_time(state, scenario, clock or Clock.start(scenario.dt_s))


def check_arrays(state: State, scenario: Scenario) -> None:
    """The same without molecules made and lost, and without time: for a place that is part of more.

    Raises
    ------
    InvariantError
        At the first contradiction.
    """
    names = Names.of(scenario)
    ligands = list(scenario.ligands.values())
    clamped = np.array([x.clamped_nM is not None for x in ligands], dtype=bool)
    _check_rows(state)
    rows = state.rows()
    _check_sites(state, scenario)
    _check_binding(state, rows, clamped)
    _check_places(state, scenario, state.all_rows())
    _check_pairs(state, names)
    for number in range(len(names.ligands)):
        _check_ligand(state, names, number, rows[number])


def _demand(holds: bool | np.bool, otherwise: str) -> None:
    if not holds:
        raise InvariantError(otherwise)


def _check_rows(state: State) -> None:
    """Each ligand has its segment of the rows; gaps in it are counted; ids are below the next."""
    seg, mol = state.store.segments, state.store.molecules
    start, end, limit, dead = seg.T
    expected = np.concatenate([[0], limit[:-1]]) if limit.size else limit
    _demand(np.array_equal(start, expected), "rows of ligands do not follow each other")
    last = int(limit[-1]) if limit.size else 0
    _demand(last == mol.shape[1], "rows do not end with the last ligand")
    _demand(((start <= end) & (end <= limit)).all(), "a ligand has more rows than room")
    for a, b, gaps in zip(start, end, dead, strict=True):
        gone = int((mol[lay.COMPARTMENT, a:b] == lay.GONE).sum())
        _demand(gone == gaps, f"{gone} rows are gone, {gaps} counted")
        _demand((mol[lay.COMPARTMENT, a:b] <= lay.GONE).all(), "a molecule is in no compartment")
        _demand((mol[lay.ID, a:b] < state.store.meta[lay.NEXT_ID]).all(), "an id is yet to come")
    _demand(int(state.store.meta[lay.FULL]) == 0, "rows were full")


def _check_sites(state: State, scenario: Scenario) -> None:
    """Each target has its number of sites, in the given cells or evenly scattered; those taken
    away hold nothing.
    """
    sites, cells = state.store.sites, scenario.grid.cells
    gone = sites[:, sites[lay.TARGET] < 0]
    total, there = scenario.n_sites, sites.shape[1] - gone.shape[1]
    _demand(there == total, f"{there} sites, {total} in the scenario")
    where = sites[lay.SITE_CELL]
    _demand(((where >= 0) & (where < cells)).all(), "a site is nowhere")
    _demand((gone[lay.LIGAND :] == -1).all(), "a site that was taken away holds a ligand")
    known = lay.taken_away(gone[lay.TARGET]) < len(scenario.targets)
    _demand(known.all(), "a site that was taken away is of no target")
    for number, (name, target) in enumerate(scenario.targets.items()):
        mine = where[sites[lay.TARGET] == number]
        _demand(mine.size == target.n_sites, f"sites of {name} are of another target")
        if target.cells is not None:
            listed = [y * scenario.grid.width + x for x, y in target.cells]
            _demand(sorted(mine.tolist()) == sorted(listed), f"a site of {name} has moved")
        elif target.n_sites:
            # Scattered sites take distinct cells as long as there are any, round after round.
            per_cell = np.bincount(mine, minlength=cells)
            _demand(int(np.ptp(per_cell)) <= 1, f"sites of {name} are not in distinct cells")


def _check_binding(state: State, rows: list[I64], clamped: np.ndarray) -> None:
    mol, sites = state.store.molecules, state.store.sites
    every = state.all_rows()
    _demand(np.unique(mol[lay.ID, every]).size == every.size, "two molecules share an id")
    bound = every[mol[lay.COMPARTMENT, every] == lay.BOUND]
    unbound = every[mol[lay.COMPARTMENT, every] != lay.BOUND]
    at = mol[lay.SITE, bound].astype(np.int64)
    _demand((at < sites.shape[1]).all(), "a molecule is bound to no site")
    _demand(np.array_equal(sites[lay.ROW, at], bound), "a bound molecule's site holds another")
    _demand(
        bool((mol[lay.SITE, unbound] == lay.NO_SITE).all()),
        "a molecule has a site but is not bound",
    )
    # Each bound molecule is that of its site, and there are as many such sites: one to one.
    occupied = np.flatnonzero(sites[lay.ROW] != -1)
    _demand(occupied.size == bound.size, "a site holds a molecule that is not bound")
    for number, mine in enumerate(rows):
        of = sites[
            lay.LIGAND,
            mol[lay.SITE, mine[mol[lay.COMPARTMENT, mine] == lay.BOUND]].astype(np.int64),
        ]
        _demand((of == number).all(), "a site holds a molecule of another ligand")
    by_clamped = np.isin(sites[lay.LIGAND], np.flatnonzero(clamped))
    without = (sites[lay.LIGAND] != -1) & (sites[lay.ROW] == -1)
    _demand(np.array_equal(by_clamped, without), "a site is occupied by no molecule")


def _check_places(state: State, scenario: Scenario, every: I64) -> None:
    """Ring coordinates fold onto the cell; bound molecules keep those of their site's cell."""
    mol, grid = state.store.molecules, scenario.grid
    fold = 2 if grid.walls == "reflecting" else 1
    x, y = mol[lay.X, every].astype(np.int64), mol[lay.Y, every].astype(np.int64)
    inside = (x < fold * grid.width) & (y < fold * grid.height)
    _demand(inside.all(), "a molecule is outside the grid")
    if fold == 2:
        x, y = np.minimum(x, 2 * grid.width - 1 - x), np.minimum(y, 2 * grid.height - 1 - y)
    there = np.array_equal(y * grid.width + x, state.cells_of(every))
    _demand(there, "a molecule's cell is not where it is")
    nowhere = mol[lay.CELL, every[mol[lay.COMPARTMENT, every] == lay.BOUND]]
    _demand((nowhere == grid.cells).all(), "a bound molecule is in a cell of its own")


def _check_pairs(state: State, names: Names) -> None:
    sites, store, pairs = state.store.sites, state.store, len(names.pairs)
    known = 0
    for p, (target, ligand) in enumerate(names.pairs):
        at = sites[lay.TARGET] == names.targets.index(target)
        n = int((at & (sites[lay.LIGAND] == names.ligands.index(ligand))).sum())
        known += n
        _demand(n == store.totals[p], f"{ligand} bound to {target} is miscounted")
        made, lost, taken_up = (
            int(store.events[names.counter(kind, p)])
            for kind in (lay.BIND, lay.UNBIND, lay.TRANSPORT)
        )
        _demand(
            made - lost - taken_up == n, f"binding events of {ligand} to {target} do not add up"
        )
    for t, target in enumerate(names.targets):
        n = int(((sites[lay.TARGET] == t) & (sites[lay.LIGAND] < 0)).sum())
        known += n
        _demand(n == store.totals[pairs + t], f"empty sites of {target} are miscounted")
    there = int((sites[lay.TARGET] >= 0).sum())
    _demand(known == there, "a site holds a ligand that does not bind to it")


def _check_ligand(state: State, names: Names, number: int, rows: I64) -> None:
    mol, name = state.store.molecules, names.ligands[number]
    ids = mol[lay.ID, rows].astype(np.int64)
    _demand((np.diff(ids) > 0).all(), f"rows of {name} are out of order")
    for kind, at in ((lay.FREE, names.free(number)), (lay.INSIDE, names.inside(number))):
        n = int((mol[lay.COMPARTMENT, rows] == kind).sum())
        said = state.store.totals[at]
        _demand(n == said, f"{name}: {n} {lay.COMPARTMENTS[kind]}, {said} counted")


def _check_conserved(state: State, names: Names, ligand: int, live: int, start: int) -> None:
    """There now = at the start + arrived + released - exited - degraded - metabolised, and the same
    for what is inside.
    """
    name = names.ligands[ligand]

    def count(*kinds: int) -> int:
        at = [names.counter(kind, ligand) for kind in kinds]
        return int(state.store.events[at].sum())

    came, went = count(lay.ARRIVE, lay.RELEASE), count(lay.EXIT, lay.DEGRADE, lay.METABOLISE)
    _demand(
        live == start + came - went, f"{name}: {live} there, {start} + {came} came, {went} went"
    )
    taken_up = sum(
        int(state.store.events[names.counter(lay.TRANSPORT, p)])
        for p, pair in enumerate(names.pairs)
        if pair[1] == name
    )
    out = count(lay.RETURN, lay.METABOLISE)
    inside = int(state.store.totals[names.inside(ligand)])
    _demand(inside == taken_up - out, f"{name}: {inside} inside, {taken_up} taken up, {out} out")


def _check_time(state: State, scenario: Scenario, clock: Clock) -> None:
    """Each kind of event that happened has a time, not after now; releases are done when due."""
    store = state.store
    _demand((store.events >= 0).all(), "a count of events is negative")
    happened = store.events > 0
    _demand(
        np.array_equal(happened, ~np.isnan(store.last_s)), "an event has no time, or a time none"
    )
    now = clock.now.seconds(state.step) * (1 + 1e-12)
    last = store.last_s[happened]
    _demand(((last >= 0) & (last <= now)).all(), "an event is yet to come")
    times = [t for x in scenario.ligands.values() for batch in x.batches for t in batch.times_s]
    due = sum(clock.due_step(t) < state.step for t in times)
    done = int(store.meta[lay.SCHEDULED])
    _demand(done == due, f"{done} releases at given times are done, {due} were due")
