"""Tiny places, all of whose states can be listed: what the engine would do in each, and what it
should.

A state is a tuple over cells; each cell is (free by ligand, inside by ligand, bound by pair), three
tuples of whole numbers. Clamped ligands have no molecules; pairs are (target, ligand) in the
engine's order.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator
from types import ModuleType

import numpy as np

from synapse_abm.synapse.agents.model import SynapseModel
from synapse_abm.synapse.agents.stepper import OpenCell
from synapse_abm.synapse.engine import layout as lay
from synapse_abm.synapse.engine.layout import Store
from synapse_abm.synapse.engine.network import Names
from synapse_abm.synapse.engine.planting import extended
from synapse_abm.synapse.engine.simulation import Simulation, scratch
from synapse_abm.synapse.engine.state import State, point_sites_back
from synapse_abm.synapse.scenario import Batch, Grid, Kinetics, Ligand, Reservoir, Scenario, Target

type Cell = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
type Key = tuple[Cell, ...]
type Rates = dict[Key, float]

#: Molecules in 1 um^3 at 1 nM, from the SI's Avogadro constant.
PER_NM_UM3 = 6.02214076e23 * 1e-9 * 1e-15
#: Relative; rounding, and nothing else.
TOLERANCE = 1e-12

ASK = '''

@cached
def ask(plan, store, space, chem, landing, scratch, rates, at, c, rest):
    """Propensity of each channel in each active cell, and the sum that the quick test uses.

    With a cell ``at`` (-1: none): of this cell alone, where one event is then carried out, given by
    its channel and by what is left of the draw. (One function, because compiling takes long.)
    """
    count_sites(plan, store, space, chem, landing.counts)
    move(plan, store, space, landing, scratch)
    total_propensities(chem, landing)
    for cell in range(space.active.size):
        if at < 0 or cell == at:
            open_cell(plan, store, space, chem, landing, scratch, cell)
            rates[chem.rate.size + 1, cell] = propensities(chem, scratch)
            for channel in range(chem.rate.size):
                rates[channel, cell] = scratch.propensity[channel]
            rates[chem.rate.size, cell] = landing.total[cell]
    if at >= 0:
        fire(plan, store, chem, scratch, at, int(space.active[at]), c, rest)
'''


class Tiny:
    """A place without hopping whose states are set, and which is asked for rates and events."""

    def __init__(self, scenario: Scenario, kernels: ModuleType | None = None) -> None:
        ligands = {
            name: x.model_copy(update={"diffusion_um2_per_s": 0.0})
            for name, x in scenario.ligands.items()
        }
        self.scenario = scenario.model_copy(update={"ligands": ligands})
        self.kernels = kernels or extended(ASK)
        self.names = Names.of(scenario)
        targets, ligands_at = self.names.targets.index, self.names.ligands.index
        self.pairs = {(targets(t), ligands_at(n)): p for p, (t, n) in enumerate(self.names.pairs)}
        self.simulation = Simulation(self.scenario, 1)
        self.network = self.simulation.network
        self.sites = self.simulation.state.store.sites.copy()
        self.sites[lay.LIGAND] = self.sites[lay.ROW] = -1
        self.scratch: tuple[lay.Landing, lay.Scratch] | None = None

    # --- states -------------------------------------------------------------------------------

    def states(self, most: dict[str, int]) -> Iterator[Key]:
        """Every way to fill the sites, with up to ``most`` molecules of each explicit ligand."""
        names, cells = self.names, self.scenario.grid.cells
        real = [n for n in names.ligands if self.scenario.ligands[n].clamped_nM is None]
        sites = [self._fillings(cell) for cell in range(cells)]
        for filled in itertools.product(*sites):
            bound = [0] * len(names.ligands)
            for cell in filled:
                for (_, ligand), n in zip(names.pairs, cell, strict=True):
                    bound[names.ligands.index(ligand)] += n
            loose = []
            for name in names.ligands:
                left = most[name] - bound[names.ligands.index(name)] if name in real else 0
                loose.append(list(_spread(left, 2 * cells)) if name in real else [(0,) * 2 * cells])
            for each in itertools.product(*loose):
                yield tuple(
                    (tuple(x[2 * c] for x in each), tuple(x[2 * c + 1] for x in each), filled[c])
                    for c in range(cells)
                )

    def _fillings(self, cell: int) -> list[tuple[int, ...]]:
        """Numbers bound by pair that the sites of a cell allow."""
        here = self.sites[lay.TARGET, self.sites[lay.SITE_CELL] == cell]
        room = [int((here == t).sum()) for t in range(len(self.names.targets))]
        target = [self.names.targets.index(t) for t, _ in self.names.pairs]
        found = []
        for bound in itertools.product(*(range(room[t] + 1) for t in target)):
            used = [sum(n for n, at in zip(bound, target, strict=True) if at == t)
                    for t in range(len(room))]  # fmt: skip
            if all(u <= r for u, r in zip(used, room, strict=True)):
                found.append(bound)
        return found

    def store(self, key: Key) -> Store:
        """The arrays of a state."""
        names, room = self.names, 12
        n = len(names.ligands)
        molecules = np.zeros((6, room * n), dtype=np.uint32)
        molecules[lay.COMPARTMENT], molecules[lay.SITE] = lay.GONE, lay.NO_SITE
        molecules[lay.CELL] = self.scenario.grid.cells
        segments = np.array([(room * i, room * i, room * (i + 1), 0) for i in range(n)])
        sites, taken, next_id = self.sites.copy(), set[int](), 0
        rows: list[list[tuple[int, int, int]]] = [[] for _ in range(n)]
        for c, (free, inside, bound) in enumerate(key):
            for i in range(n):
                rows[i] += [(c, lay.FREE, lay.NO_SITE)] * free[i]
                rows[i] += [(c, lay.INSIDE, lay.NO_SITE)] * inside[i]
            for (target, ligand), held in zip(names.pairs, bound, strict=True):
                t, i = names.targets.index(target), names.ligands.index(ligand)
                seats = np.flatnonzero((sites[lay.SITE_CELL] == c) & (sites[lay.TARGET] == t))
                for s in [int(s) for s in seats if int(s) not in taken][:held]:
                    taken.add(s)
                    sites[lay.LIGAND, s] = i
                    if self.scenario.ligands[ligand].clamped_nM is None:
                        rows[i].append((self.scenario.grid.cells, lay.BOUND, s))
        for i in range(n):
            for cell, compartment, site in rows[i]:
                row = int(segments[i, lay.END])
                segments[i, lay.END] += 1
                y, x = divmod(cell % self.scenario.grid.cells, self.scenario.grid.width)
                molecules[:, row] = (next_id, x, y, cell, compartment, site)
                next_id += 1
        point_sites_back(sites, molecules)
        return self._filled(molecules, sites, segments, next_id)

    def _filled(
        self, molecules: np.ndarray, sites: np.ndarray, segments: np.ndarray, next_id: int
    ) -> Store:
        base, names = self.simulation.state.store, self.names
        totals = np.zeros_like(base.totals)
        for p, (target, ligand) in enumerate(names.pairs):
            at = sites[lay.TARGET] == names.targets.index(target)
            totals[p] = (at & (sites[lay.LIGAND] == names.ligands.index(ligand))).sum()
        for t in range(len(names.targets)):
            empty = (sites[lay.TARGET] == t) & (sites[lay.LIGAND] < 0)
            totals[names.empty(t)] = empty.sum()
        for i, (start, end, _, _) in enumerate(segments):
            compartment = molecules[lay.COMPARTMENT, start:end]
            totals[names.free(i)] = (compartment == lay.FREE).sum()
            totals[names.inside(i)] = (compartment == lay.INSIDE).sum()
        return Store(
            molecules, sites, segments, np.array([0, next_id, 0, 0]), totals,
            np.zeros_like(base.events), base.last_s.copy(),
        )  # fmt: skip

    def key(self, store: Store) -> Key:
        """The state that arrays are in."""
        names, cells = self.names, self.scenario.grid.cells
        free, inside = ([[0] * len(names.ligands) for _ in range(cells)] for _ in range(2))
        loose = {lay.FREE: free, lay.INSIDE: inside}
        bound = [[0] * len(names.pairs) for _ in range(cells)]
        cell_of, compartments = store.molecules[[lay.CELL, lay.COMPARTMENT]].tolist()
        for i, (start, end, _, _) in enumerate(store.segments.tolist()):
            for row in range(start, end):
                if compartments[row] in loose:
                    loose[compartments[row]][cell_of[row]][i] += 1
        for cell, target, ligand, _ in store.sites.T.tolist():
            if ligand >= 0:
                bound[cell][self.pairs[target, ligand]] += 1
        tables = [[tuple(row) for row in table] for table in (free, inside, bound)]
        return tuple(zip(*tables, strict=True))  # type: ignore[arg-type]

    # --- what the engines say -----------------------------------------------------------------

    def rates(self, store: Store) -> np.ndarray:
        """Compiled engine: channels x active cells; two rows more are their sums, found twice."""
        return self._ask(State(store), -1, 0, 0.0)

    def _ask(self, state: State, at: int, channel: int, rest: float) -> np.ndarray:
        net = self.network
        rates = np.zeros((net.chemistry.rate.size + 2, net.space.active.size))
        if self.scratch is None:  # for all states: each has the same room (see ``store``)
            self.scratch = scratch(state, net)
        self.scratch[0].head[:] = -1  # as a step that came to its end leaves it
        with np.errstate(over="ignore"):
            self.kernels.ask(
                net.plan, state.store, net.space, net.chemistry, *self.scratch,
                rates, at, channel, rest,
            )  # fmt: skip
        return rates

    def moves(self, key: Key) -> Rates:
        """Compiled engine: where it goes from a state, and how fast; every member of each event."""
        store, chem = self.store(key), self.network.chemistry
        rates, found = self.rates(store), defaultdict[Key, float](float)
        for c, at in zip(*np.nonzero(rates[:-2]), strict=True):
            kind = chem.channels[c, lay.KIND]
            alone = kind in (lay.ARRIVE, lay.RELEASE)
            members = 1 if alone else round(rates[c, at] / chem.rate[c])
            for member in range(members):
                after = State(store).copy()
                rest = 0.0 if alone else (member + 0.5) * chem.rate[c]
                self._ask(after, int(at), int(c), rest)
                found[self.key(after.store)] += rates[c, at] / members
        return dict(found)

    def readable_rates(self, model: SynapseModel, store: Store) -> np.ndarray:
        """Agents engine: the same table, by asking its cells (``OpenCell.propensity``)."""
        model.simulation.state = State(store)
        model.epoch += 1
        model._synced = -1
        engine = model._stepper
        assert engine is not None
        cells = [OpenCell(engine, at, found) for at, found in enumerate(engine.landed())]
        channels = range(self.network.chemistry.rate.size)
        return np.array([[cell.propensity(c) for cell in cells] for c in channels])


def _spread(most: int, places: int) -> Iterator[tuple[int, ...]]:
    """Ways to put 0 ... ``most`` things into places."""
    if most < 0:
        return
    for n in range(most + 1):
        for walls in itertools.combinations(range(n + places - 1), places - 1):
            ends = (-1, *walls, n + places - 1)
            yield tuple(ends[i + 1] - ends[i] - 1 for i in range(places))


# --- what should happen, written from the scenario alone ------------------------------------------


def expected(scenario: Scenario, key: Key) -> Rates:
    """Where a state goes, and how fast (1/s): mass action in each cell, by the textbook."""
    found = defaultdict[Key, float](float)
    pairs = [(t, n) for t in scenario.targets for n in scenario.ligands
             if t in scenario.ligands[n].binding]  # fmt: skip
    order = list(scenario.ligands)
    volume = scenario.grid.spacing_um**2 * scenario.grid.depth_um
    for c, (free, inside, bound) in enumerate(key):
        at = (c % scenario.grid.width, c // scenario.grid.width)

        def go(rate: float, free_by: tuple[int, int] = (0, 0), inside_by: tuple[int, int] = (0, 0),
               bound_by: tuple[int, int] = (0, 0), c: int = c) -> None:  # fmt: skip
            """``(index, change)`` of each table."""
            if rate > 0:
                parts = [list(part) for part in key[c]]
                for part, (index, by) in zip(parts, (free_by, inside_by, bound_by), strict=True):
                    if by:
                        part[index] += by
                cell = (tuple(parts[0]), tuple(parts[1]), tuple(parts[2]))
                found[(*key[:c], cell, *key[c + 1 :])] += rate

        for p, (target, name) in enumerate(pairs):
            ligand, i = scenario.ligands[name], order.index(name)
            kinetics, real = ligand.binding[target], ligand.clamped_nM is None
            seats = sum(cell == at for cell in scenario.targets[target].cells or ())
            empty = seats - sum(
                n for n, pair in zip(bound, pairs, strict=True) if pair[0] == target
            )
            nM = free[i] / (PER_NM_UM3 * volume) if real else float(ligand.clamped_nM or 0)
            # Mass action, times the factor that the record of the scenario says.
            adjusted = scenario.adjustments.get((target, name))
            s = adjusted.s if adjusted else 1.0
            go(s * kinetics.kon * nM * empty, (i, -int(real)), (0, 0), (p, 1))
            go(s * kinetics.koff * bound[p], (i, int(real)), (0, 0), (p, -1))
            go(kinetics.kcat_per_s * bound[p], (0, 0), (i, int(real)), (p, -1))
        for i, name in enumerate(order):
            ligand = scenario.ligands[name]
            go(ligand.return_per_s * inside[i], (i, 1), (i, -1))
            go(ligand.metabolism_per_s * inside[i], (0, 0), (i, -1))
            go(ligand.degradation_per_s * free[i], (i, -1))
            if ligand.reservoir:
                exchange = ligand.reservoir.exchange_per_s
                go(exchange * free[i], (i, -1))
                go(exchange * ligand.reservoir.concentration_nM * PER_NM_UM3 * volume, (i, 1))
            for batch in ligand.batches:
                if batch.cell == at:
                    go(batch.rate_per_s, (i, batch.size))
    return dict(found)


def differ(found: Rates, wanted: Rates) -> bool:
    """Whether two lists of moves differ by more than rounding."""
    if found.keys() != wanted.keys():
        return True
    return any(abs(found[k] - wanted[k]) > TOLERANCE * wanted[k] for k in wanted)


# --- places ---------------------------------------------------------------------------------------


def three_receptors() -> Scenario:
    """Three ligands, one of them clamped, at three receptors of two kinds in one cell of two."""
    return Scenario(
        grid=Grid(width=2, height=1),
        dt_s=0.1,
        targets={
            "A": Target(kind="receptor", cells=((0, 0), (0, 0))),
            "B": Target(kind="receptor", cells=((0, 0), (1, 0))),
        },
        ligands={
            "x": Ligand(
                count=1,
                binding={
                    "A": Kinetics(kon_per_nM_s=0.013, koff_per_s=0.7),
                    "B": Kinetics(kon_per_nM_s=0.021, koff_per_s=1.9),
                },
            ),
            "y": Ligand(count=1, binding={"A": Kinetics(kd_nM=37.0, koff_per_s=0.3)}),
            "z": Ligand(
                clamped_nM=11.0,
                binding={
                    "A": Kinetics(kd_nM=5.0, koff_per_s=0.11),
                    "B": Kinetics(kd_nM=29.0, koff_per_s=0.23, kcat_per_s=0.05),
                },
            ),
        },
    )


def two_transporters() -> Scenario:
    """Serotonin and a drug at two transporters in three cells: everything else that can happen."""
    return Scenario(
        grid=Grid(width=3, height=1, spacing_um=0.2, depth_um=0.3),
        dt_s=0.1,
        targets={"SERT": Target(cells=((0, 0), (1, 0)))},
        ligands={
            "serotonin": Ligand(
                count=1,
                batches=(
                    Batch(size=2, cell=(2, 0), rate_per_s=1.7),
                    Batch(size=3, cell=(0, 0), rate_per_s=0.4, times_s=(0.5,)),
                ),
                binding={"SERT": Kinetics(kon_per_nM_s=0.023, koff_per_s=1.1, kcat_per_s=3.3)},
                return_per_s=2.1,
                metabolism_per_s=0.57,
                degradation_per_s=0.31,
            ),
            "drug": Ligand(
                reservoir=Reservoir(concentration_nM=83.0, exchange_per_s=2.9),
                degradation_per_s=0.19,
                binding={"SERT": Kinetics(kd_nM=1.3, koff_per_s=0.013)},
            ),
        },
    )


def everything() -> Scenario:
    """Both at once: three cells, two transporters, three receptors, three ligands."""
    transporters, serotonin = two_transporters(), two_transporters().ligands["serotonin"]
    sensed = {**serotonin.binding, "R": Kinetics(kd_nM=61.0, koff_per_s=0.9)}
    blocker = Ligand(clamped_nM=17.0, binding={"R": Kinetics(kd_nM=23.0, koff_per_s=0.41)})
    return transporters.model_copy(
        update={
            "targets": {
                **transporters.targets,
                "R": Target(kind="receptor", cells=((0, 0), (0, 0), (2, 0))),
            },
            "ligands": {
                "serotonin": serotonin.model_copy(update={"binding": sensed}),
                "drug": transporters.ligands["drug"],
                "blocker": blocker,
            },
        }
    )  # fmt: skip


PLACES = {
    "three receptors": (three_receptors(), {"x": 2, "y": 1}),
    "two transporters": (two_transporters(), {"serotonin": 2, "drug": 2}),
    "everything": (everything(), {"serotonin": 2, "drug": 1}),
}
