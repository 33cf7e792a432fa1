"""A neuron whose terminal and soma are grids: serotonin diffuses from where spikes release it.

The well-mixed neuron (``simulation``) with space: sites are scattered over the cells of a place,
each spike train releases in a cell of its own, and molecules walk. The step is that of a synapse
with transport, so its error is of first order in dt, and ``timestep`` chooses a dt that keeps it
below 0.2 %. That costs a hundred times as much as the well-mixed neuron and more:
:func:`cost_s` says what to expect.

Diffusion is fast in the default place: serotonin crosses it in 0.03 s and binds in 1 s. Averages
should therefore be those of the well-mixed neuron, and that is what there is to check.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from synapse_abm.neuron.engine import kernels_grid as compiled_kernels
from synapse_abm.neuron.engine import layout as lay
from synapse_abm.neuron.engine.kernels_grid import GridScratch
from synapse_abm.neuron.engine.simulation import NeuronEngine, NeuronSimulation, unused
from synapse_abm.neuron.scenario import PLACES, Exposure, NeuronParameters, PlaceGrid, bound_at_rest
from synapse_abm.pharmacology.kinetics import Kinetics
from synapse_abm.synapse.engine.invariants import check_arrays
from synapse_abm.synapse.engine.kernels import BUFFER
from synapse_abm.synapse.engine.layout import (
    BIND,
    BOUND,
    CELL,
    COMPARTMENT,
    DEGRADE,
    F64,
    I64,
    INDEX,
    KIND,
    LIGAND,
    NEXT_ID,
    ROW,
    SITE,
    SITE_CELL,
    TARGET,
    TRANSPORT,
    UNBIND,
    Store,
    X,
    Y,
)
from synapse_abm.synapse.engine.network import factor
from synapse_abm.synapse.engine.simulation import Simulation, scratch
from synapse_abm.synapse.engine.state import State
from synapse_abm.synapse.scenario import Ligand, Scenario, Target

#: Places of the random address: the terminal (and the neuron), the soma.
ADDRESSES = (1, 2)
#: Channel of the neuron's engine for an event of a pair (UNBIND, TRANSPORT) or of BIND.
_PAIR_CHANNELS = {
    UNBIND: (lay.C_UNBIND, lay.C_UNBLOCK, lay.C_R_UNBIND, lay.C_R_UNBLOCK),
    TRANSPORT: (lay.C_TRANSPORT, None, None, None),
    BIND: (lay.C_BIND, lay.C_BLOCK, lay.C_R_BIND, lay.C_R_BLOCK),
}
_OWN = (lay.C_BIND, lay.C_R_BIND)  # of molecules in a cell; the others are of concentrations
_RELEASE_CELLS, _BLOCK = 8, 9  # entities of random numbers for placing; targets have 0 and 1
PROBE_STEPS, PROBES = 20, 8  # of the grid, for cost_s
_DUMMY = Kinetics(kd_nM=1.0, koff_per_s=1.0)  # its rates are set to those of the neuron


def scenario_of(
    neuron: NeuronParameters, at: int, grid: PlaceGrid, transporters: float = 1.0
) -> Scenario:
    """A place of the neuron as a scenario, its serotonin's losses included, without releases."""
    place = neuron.places[at]
    count = round(place.serotonin_nM * place.molecules_per_nM) + sum(
        bound_at_rest(neuron, at, transporters)
    )
    targets = {"SERT": Target(sites=round(place.transporters * transporters))}
    binding = {"SERT": neuron.sert}
    if at == 1:
        targets["5-HT1A"] = Target(kind="receptor", sites=neuron.receptors)
        binding["5-HT1A"] = neuron.receptor
    ligands = {
        "serotonin": Ligand(
            role="serotonin", count=count, diffusion_um2_per_s=grid.diffusion_um2_per_s,
            binding=binding, degradation_per_s=neuron.free[at].loss_per_s,
        ),
        "drug": Ligand(clamped_nM=1.0, binding={"SERT": _DUMMY}),
    }  # fmt: skip
    if at == 1:
        ligands["antagonist"] = Ligand(clamped_nM=1.0, binding={"5-HT1A": _DUMMY})
    step: dict[str, Any] = {} if grid.dt_s is None else {"dt_s": grid.dt_s}
    return Scenario(
        name=PLACES[at], grid=grid.of(place.volume_um3), targets=targets, ligands=ligands, **step
    )


def inner_steps(
    neuron: NeuronParameters, grid: PlaceGrid, dt_s: float = 1.0, transporters: float = 1.0
) -> int:
    """Steps of the grid in ``dt_s``: as many as the stricter place needs."""
    longest = min(scenario_of(neuron, at, grid, transporters).dt_s for at in range(2))
    # A record is a whole number of steps. The tolerance keeps a quotient of 100.0000000001, which
    # is 100 but for rounding, from costing one more.
    return max(1, math.ceil(dt_s / longest * (1 - 1e-9)))


class SpatialSimulation(NeuronEngine):
    """One neuron on two grids; otherwise as ``simulation.NeuronSimulation``.

    Molecules are numbered anew when they are released: inside they are a pool, a number.
    """

    state: compiled_kernels.GridState

    _kernels = compiled_kernels

    def __init__(
        self, neuron: NeuronParameters, seed: int = 0, replicate: int = 0, *,
        grid: PlaceGrid | None = None, dt_s: float = 1.0, transporters: float = 1.0, **options: Any,
    ) -> None:  # fmt: skip
        self.grid = grid or PlaceGrid()
        # One step for both places: spikes join them, and have to fall in the same step of each.
        self.inner = inner_steps(neuron, self.grid, dt_s, transporters)
        step = self.grid.model_copy(update={"dt_s": dt_s / self.inner})
        self.places = [
            Simulation(scenario_of(neuron, at, step, transporters), seed, replicate, address)
            for at, address in enumerate(ADDRESSES)
        ]
        super().__init__(
            neuron, seed, replicate, ADDRESSES[0], dt_s=dt_s, transporters=transporters, **options
        )

    # --- building ---------------------------------------------------------------------------------

    def _first_state(self) -> compiled_kernels.GridState:
        """The mean-field baseline, rounded: free molecules anywhere, some sites hold one."""
        # Inside, molecules are no more than a number: nothing walks there.
        pool = np.array([round(free.pool) for free in self.free], dtype=np.int64)
        for at, place in enumerate(self.places):
            bound = bound_at_rest(self.neuron, at, self.transporters)
            _bind(place.state.store, bound[: 1 + at], self.grid.cells)
        self._scratch = [scratch(p.state, p.network) for p in self.places]
        molecules = sum(p.state.live() for p in self.places) + int(pool.sum())
        # Each train releases in a cell of its own, the same for all its spikes.
        cells, trains = self.places[0].scenario.grid.cells, self.neuron.spike_trains
        draws = np.stack([self._draws(a, 0, _RELEASE_CELLS, trains) for a in ADDRESSES])
        return compiled_kernels.GridState(
            pool=pool, cells=np.minimum((draws * cells).astype(np.int64), cells - 1),
            **unused(self.neuron, molecules),
        )  # fmt: skip

    def set(self, exposure: Exposure, *slow: float, **by_name: float) -> None:
        """What acts from now on, and the slow variables."""
        super().set(exposure, *slow, **by_name)
        for at, place in enumerate(self.places):
            chemistry, cells = place.network.chemistry, place.scenario.grid.cells
            for c, (kind, pair) in enumerate(chemistry.channels[:, [KIND, INDEX]].tolist()):
                if kind == DEGRADE:
                    continue
                channel = _PAIR_CHANNELS[kind][pair]
                rate = float(self.state.rates[at, channel])
                if kind in (BIND, UNBIND):  # adjusted to the step, as in any place
                    rate *= factor(place.scenario, *place.names.pairs[pair])
                # The neuron's constant is for a pair anywhere in the volume; one that shares a cell
                # reacts faster by as many times as there are cells.
                chemistry.rate[c] = rate * cells if channel in _OWN else rate

    def _block(self, at: int, target: int, ratio: float) -> None:
        names, store = self.places[at].names, self.places[at].state.store
        # Ligand 0 is serotonin, whose sites stay as they are.
        ours = np.flatnonzero((store.sites[TARGET] == target) & (store.sites[LIGAND] != 0))
        draws = self._draws(ADDRESSES[at], self.steps, _BLOCK + target, ours.size)
        taken = draws < ratio / (1 + ratio)
        # Targets are SERT, 5-HT1A; ligands serotonin, then the drug of each target in that order.
        store.sites[LIGAND, ours] = np.where(taken, 1 + target, -1)
        pair = 2 * target + 1
        more = int(taken.sum()) - int(store.totals[pair])
        store.totals[pair] += more
        store.totals[len(names.pairs) + target] -= more
        # Events are booked as if the drug had come or gone one by one: the invariants count them.
        store.events[names.counter(BIND if more > 0 else UNBIND, pair)] += abs(more)

    # --- running ----------------------------------------------------------------------------------

    def _numbers_used(self) -> int:
        return max(int(p.state.store.meta[NEXT_ID]) for p in self.places)

    def _advance(self, record: F64) -> int:
        arguments = [
            part
            for p, own in zip(self.places, self._scratch, strict=True)
            for part in (p.network.plan, p.state.store, p.network.space, p.network.chemistry, *own)
        ]
        done: int = self._kernels.advance(
            *arguments, self.state, _grid_scratch(), record, self.inner, len(record)
        )
        return done

    def _make_room(self) -> None:
        at = int(self.state.meta[lay.M_FULL]) - 1
        self.places[at].make_room(0)  # twice the rows of serotonin
        self._scratch[at] = scratch(self.places[at].state, self.places[at].network)
        self.state.meta[lay.M_FULL] = 0

    @property
    def pools(self) -> I64:
        """Molecules inside the terminal and the soma."""
        return self.state.pool

    # --- saving and checking ----------------------------------------------------------------------

    def checkpoint(self) -> dict[str, npt.NDArray[Any]]:
        """Copies of all that changes, by name."""
        parts = {"neuron": self.state._asdict()}
        parts |= {n: p.state.store._asdict() for n, p in zip(PLACES, self.places, strict=True)}
        return {f"{part}_{n}": a.copy() for part, own in parts.items() for n, a in own.items()}

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take up what :meth:`checkpoint` gave."""
        own = compiled_kernels.GridState
        self.state = own(*(arrays[f"neuron_{name}"] for name in own._fields))
        for name, place in zip(PLACES, self.places, strict=True):
            place.state = State(Store(*(arrays[f"{name}_{field}"] for field in Store._fields)))
        self._scratch = [scratch(p.state, p.network) for p in self.places]

    def check_read(self) -> None:
        """The same of a state from a file, which may be anybody's; and that a step of it ends."""
        for cells, place in zip(self.state.cells, self.places, strict=True):
            if not ((cells >= 0) & (cells < place.scenario.grid.cells)).all():
                raise ValueError("a train that releases outside the grid")
        super().check_read()

    def check(self) -> None:
        """That nothing was created or lost, and that all arrays agree.

        Raises
        ------
        InvariantError, ValueError
            If an invariant is broken.
        """
        there, lost = int(self.state.pool.sum()), 0
        for place in self.places:
            check_arrays(place.state, place.scenario)
            names, store = place.names, place.state.store
            there += place.state.live()
            lost += int(store.events[names.counter(DEGRADE, 0)])
        made, gone = (int(self.state.events[:, c].sum()) for c in (lay.C_SYNTHESISE, lay.C_DEGRADE))
        expected = self.born + made - gone - lost
        if there != expected or (self.state.pool < 0).any():
            raise ValueError(f"molecules of the neuron do not agree: {there}, {expected} expected")


def neuron_simulation(
    neuron: NeuronParameters,
    seed: int,
    replicate: int,
    place: int = 0,
    *,
    grid: PlaceGrid | None,
    **options: Any,
) -> NeuronEngine:
    """A neuron whose places are grids, or well mixed if ``grid`` is None; ``options`` as for both.

    ``place`` is part of the random address of well-mixed ones; grids have places of their own.
    """
    if grid is None:
        return NeuronSimulation(neuron, seed, replicate, place, **options)
    return SpatialSimulation(neuron, seed, replicate, grid=grid, **options)


def _bind(store: Store, bound: tuple[int, ...], width: int) -> None:
    """Put the first molecules into sites spread over each target's."""
    mol, sites, row = store.molecules, store.sites, 0
    pairs, targets = (2, 1) if len(bound) == 1 else (4, 2)
    for target, n in enumerate(bound):
        mine = np.flatnonzero(sites[TARGET] == target)
        # Evenly spaced among the target's sites: the first ones may lie side by side.
        chosen = mine[(np.arange(n) * mine.size) // max(n, 1)]
        rows = np.arange(row, row + n)
        row += n
        # A bound molecule is on no cell's list: width**2 is one more than the last cell.
        mol[COMPARTMENT, rows], mol[SITE, rows], mol[CELL, rows] = BOUND, chosen, width**2
        mol[Y, rows], mol[X, rows] = np.divmod(sites[SITE_CELL, chosen], width)
        sites[LIGAND, chosen], sites[ROW, chosen] = 0, rows
        pair = 2 * target
        store.totals[pair] += n
        store.totals[pairs + target] -= n
        store.totals[pairs + targets] -= n
        store.events[BIND * pairs + pair] += n


def _grid_scratch() -> GridScratch:
    return GridScratch(
        draws=np.zeros(2 * BUFFER, dtype=np.uint64),
        at=np.zeros(1, dtype=np.int64),
        blank=np.zeros((1, 1), dtype=np.int64),
    )


@functools.lru_cache(maxsize=16)
def cost_s(neuron: NeuronParameters, grid: PlaceGrid) -> float:
    """Time of one core for one simulated second on this machine, s: a probe of some steps at rest,
    measured once in a process.
    """
    probe = SpatialSimulation(neuron, grid=grid, dt_s=PROBE_STEPS / inner_steps(neuron, grid))
    # The first record compiles or loads the kernels, which is not to be timed; and time is that of
    # the processor, so that other programs do not count.
    probe.run(1)
    begun = time.process_time()
    probe.run(PROBES)
    return (time.process_time() - begun) / (PROBES * probe.dt_s)
