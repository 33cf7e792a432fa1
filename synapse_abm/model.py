"""The synapse as a Mesa model, on either engine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import mesa
import numpy as np
from mesa.time import Priority, Schedule
from mesa.time.events import EventGenerator

from synapse_abm import checkpoint
from synapse_abm.agents import MOLECULES, SITES, Molecule, Site
from synapse_abm.layout import (
    COMPARTMENT,
    END,
    GONE,
    ID,
    INDEX,
    KIND,
    START,
    Chemistry,
    Plan,
    Space,
    Store,
)
from synapse_abm.network import Address, Names
from synapse_abm.readable import Draws, Readable
from synapse_abm.scenario import Scenario
from synapse_abm.simulation import Series, Simulation
from synapse_abm.state import check

Engine = Literal["compiled", "agents"]


class SynapseModel(mesa.Model):  # type: ignore[misc]
    """One synapse (or soma): molecules and sites as agents on a grid.

    Parameters
    ----------
    scenario
        What is simulated.
    rng
        Seed, a whole number 0 ... 2**64 - 1. Physics uses only the addressed generator of ``rng``;
        Mesa's own generators are seeded from the same number for users' additions.
    replicate
        Number of an independent repetition with the same seed.
    engine
        ``compiled`` (fast) or ``agents`` (plain Python, rules can be overridden); both give the
        same trajectory, molecule for molecule.
    agent_classes
        Own agent classes by ligand or target name (agents engine only).
    check_every_step
        Check all invariants after every step.

    Mesa's clock counts steps; physical time is :attr:`seconds`.
    """

    _default_schedule: EventGenerator

    def __init__(
        self,
        scenario: Scenario,
        *,
        rng: int = 0,
        replicate: int = 0,
        engine: Engine = "compiled",
        agent_classes: Mapping[str, type[Molecule] | type[Site]] | None = None,
        check_every_step: bool = False,
    ) -> None:
        if engine not in ("compiled", "agents"):
            raise ValueError(f"engine = {engine!r} is not one of 'compiled', 'agents'")
        if agent_classes and engine != "agents":
            raise ValueError(
                "agent_classes change rules that the compiled engine does not ask for; "
                "use engine='agents'"
            )
        seed = Address(rng, replicate).seed  # refuses what is no seed, before Mesa takes it
        super().__init__(rng=seed)
        self.engine = engine
        self.check_every_step = check_every_step
        self.simulation = Simulation(scenario, rng, replicate, check_every_step=check_every_step)
        self.epoch = 0
        self._classes = dict(agent_classes or {})
        self._views: list[dict[int, Molecule]] = [{} for _ in scenario.ligands]
        self._sites: list[Site] = []
        self._synced = -1
        self.rates = self._rates()
        self.draws: Draws  # the random numbers of the agents engine's current step
        self._readable = Readable(self) if engine == "agents" else None

    def save(self, path: str | Path) -> None:
        """Write a checkpoint (see ``checkpoint``)."""
        checkpoint.save(self.simulation, path)

    @classmethod
    def resume(
        cls,
        path: str | Path,
        *,
        engine: Engine = "compiled",
        agent_classes: Mapping[str, type[Molecule] | type[Site]] | None = None,
        check_every_step: bool = False,
    ) -> SynapseModel:
        """The model whose checkpoint is at ``path``, on either engine, ready to continue bit for
        bit.

        Raises
        ------
        CheckpointError
            If the file is not a whole checkpoint of this version.
        """
        found = checkpoint.load(path, check_every_step=check_every_step)
        model = cls(
            found.scenario,
            rng=found.address.seed,
            replicate=found.address.replicate,
            engine=engine,
            agent_classes=agent_classes,
            check_every_step=check_every_step,
        )
        model.simulation = found
        model.epoch += 1
        model._skip(found.step_number)
        return model

    # --- what the arrays say ---------------------------------------------------------------------

    @property
    def store(self) -> Store:
        """The state's arrays."""
        return self.simulation.state.store

    @property
    def plan(self) -> Plan:
        """Sizes and geometry."""
        return self.simulation.network.plan

    @property
    def space(self) -> Space:
        """Hop tables and active cells."""
        return self.simulation.network.space

    @property
    def chemistry(self) -> Chemistry:
        """Channels and rates."""
        return self.simulation.network.chemistry

    @property
    def names(self) -> Names:
        """Names of targets, ligands and pairs."""
        return self.simulation.names

    @property
    def synapse(self) -> Scenario:
        """The scenario that is simulated (``scenario`` is Mesa's own)."""
        return self.simulation.scenario

    @property
    def seconds(self) -> float:
        """Physical time, s."""
        return self.simulation.seconds

    def _rates(self) -> dict[tuple[int, int], float]:
        table = zip(self.chemistry.channels, self.chemistry.rate, strict=True)
        return {(int(c[KIND]), int(c[INDEX])): float(rate) for c, rate in table}

    def pair(self, target: str, ligand: str) -> int:
        """Number of a pair (target, ligand)."""
        return self.names.pairs.index((target, ligand))

    def coordinate(self, cell: int) -> tuple[int, int]:
        """Column and row of a cell number."""
        return cell % self.plan.width, cell // self.plan.width

    # --- agents, made when asked for -------------------------------------------------------------

    @property
    def agents(self) -> mesa.agent.AgentSet:
        """All molecules and sites as agents."""
        self._sync()
        return super().agents

    @property
    def agents_by_type(self) -> dict[type, mesa.agent.AgentSet]:
        """Agents by class."""
        self._sync()
        by_type: dict[type, mesa.agent.AgentSet] = super().agents_by_type
        return by_type

    @property
    def sites(self) -> list[Site]:
        """All binding sites, in the order of their ids."""
        if not self._sites:
            for number, target in enumerate(self.store.sites[1]):
                name = self.names.targets[target]
                kind = self._classes.get(name, SITES[self.synapse.targets[name].kind])
                self._sites.append(kind(self, name, number))
        return self._sites

    def molecules(self) -> list[list[Molecule]]:
        """Molecules by ligand, ascending in id."""
        self._sync()
        return [list(views.values()) for views in self._views]

    def new_molecule(self, ligand: int, number: int, row: int) -> Molecule:
        """The view of a molecule that has just been made."""
        name = self.names.ligands[ligand]
        kind = self._classes.get(name, MOLECULES[self.synapse.ligands[name].role])
        view = kind(self, name, number)
        view._row, view._epoch = row, self.epoch
        self._views[ligand][number] = view
        return view

    def forget(self, molecule: Molecule) -> None:
        """Take a molecule that has left out of Mesa's books."""
        self._views[molecule.number].pop(molecule.id, None)
        mesa.Agent.remove(molecule)

    def row_of(self, ligand: int, number: int) -> int:
        """Row of a molecule by its id; -1 if it is gone."""
        start, end = self.store.segments[ligand, START], self.store.segments[ligand, END]
        ids = self.store.molecules[ID, start:end]
        row = int(start + np.searchsorted(ids, np.uint32(number)))
        if row == end or ids[row - start] != number:
            return -1
        return -1 if self.store.molecules[COMPARTMENT, row] == GONE else row

    def molecule_at(self, row: int) -> Molecule:
        """The view of the molecule in a row."""
        ligand = int(np.searchsorted(self.store.segments[:, END], row, side="right"))
        number = int(self.store.molecules[ID, row])
        view = self._views[ligand].get(number)
        return view if view is not None else self.new_molecule(ligand, number, row)

    def make_room(self, ligand: int) -> None:
        """Double the rows of a ligand (agents engine)."""
        self.simulation.make_room(ligand)
        self.epoch += 1

    def _sync(self) -> None:
        """Bring the views up to date with the arrays."""
        if self._synced == self.simulation.step_number or (not self.sites and not self._views):
            return
        self._synced = self.simulation.step_number
        for ligand, rows in enumerate(self.simulation.state.rows()):
            views = self._views[ligand]
            ids = self.store.molecules[ID, rows]
            known = np.fromiter(views, dtype=np.uint32, count=len(views))
            for number in np.setdiff1d(known, ids).tolist():
                self.forget(views[number])
            fresh = ~np.isin(ids, known)
            for number, row in zip(ids[fresh].tolist(), rows[fresh].tolist(), strict=True):
                self.new_molecule(ligand, number, row)

    # --- time ------------------------------------------------------------------------------------

    def step(self) -> None:
        """One step: hop, then react."""
        if self._readable is None:
            self.simulation.run(1)
            self.epoch += 1
        else:
            self._readable.step()
            self._synced = self.simulation.step_number
            if self.check_every_step:
                check(self.simulation.state, self.synapse)

    def run(self, steps: int, every: int | None = None) -> Series:
        """Advance by ``steps`` steps, recording after every ``every``-th; compiled: in one call.

        ``every`` defaults to what gives about a thousand records; 0 records nothing. If events are
        waiting on Mesa's own schedule, the steps are taken one by one, so that they come in time.
        """
        if steps < 0:
            raise ValueError(f"steps = {steps} is negative; give a whole number >= 0")
        if every is None:
            every = max(1, steps // 1000)
        if self._readable is None and self._only_default_event():
            series = self.simulation.run(steps, every)
            self.epoch += 1
            self._skip(steps)
            return series
        recorder = self.simulation.recorder(steps, every)
        for done in range(1, steps + 1):
            mesa.Model.run_for(self, 1)
            recorder.note(done, self.store)
        return recorder.series()

    def _only_default_event(self) -> bool:
        events = getattr(self, "_event_list", None)
        return events is not None and len(events) == 1 and hasattr(self, "_default_schedule")

    def _skip(self, steps: int) -> None:
        """Set Mesa's clock ahead by steps that were already taken."""
        self._default_schedule.stop()
        self.steps += steps
        self.time += float(steps)
        self._default_schedule = EventGenerator(
            self,
            self._do_step,
            Schedule(interval=1.0, start=self.time + 1.0),
            priority=Priority.HIGH,
        ).start()
