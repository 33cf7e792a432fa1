"""The synapse as a Mesa model, on either engine."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from operator import attrgetter, methodcaller
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import mesa
import numpy as np

from synapse_abm.core import mesa_clock as clock
from synapse_abm.core.address import Address, address_of
from synapse_abm.core.arguments import number, whole_number
from synapse_abm.core.collector import StandardCollector
from synapse_abm.core.errors import InputError, collected, raise_faults
from synapse_abm.core.rng import MAX_ENTITY
from synapse_abm.synapse.agents.agents import MOLECULES, SITES, Molecule, Site
from synapse_abm.synapse.agents.place import PlaceModel
from synapse_abm.synapse.agents.rules import rule_faults
from synapse_abm.synapse.agents.stepper import Readable
from synapse_abm.synapse.engine import checkpoint
from synapse_abm.synapse.engine.invariants import check
from synapse_abm.synapse.engine.layout import (
    CELL,
    COMPARTMENT,
    DEAD,
    END,
    EXIT,
    GONE,
    ID,
    ligand_event,
)
from synapse_abm.synapse.engine.network import CountRows
from synapse_abm.synapse.engine.simulation import Recorder, Series, Simulation, check_steps
from synapse_abm.synapse.scenario.definition import Scenario
from synapse_abm.synapse.scenario.variants import scenario_of

if TYPE_CHECKING:
    from synapse_abm.synapse.agents.grid import SynapseGrid

Engine = Literal["compiled", "agents"]
type AgentClasses = Mapping[str, type[Molecule] | type[Site]]

#: Keywords of a model, for the nearest name to one that is mistyped.
KEYWORDS = (
    "scenario",
    "rng",
    "replicate",
    "engine",
    "agent_classes",
    "collect_every",
    "check_every_step",
)


class SynapseModel(PlaceModel):
    """One synapse (or soma): molecules and sites as agents on a grid.

    Parameters
    ----------
    scenario
        What is simulated: a Scenario, the name of a ready-made one, or a TOML file.
    rng
        Seed, a whole number 0 ... 2**64 - 1. None takes one from the operating system, as in Mesa;
        :attr:`seed` tells which. Physics uses only the addressed generator of ``rng``;
        Mesa's own generators are seeded from the same number for users' additions.
    replicate
        Number of an independent repetition with the same seed.
    engine
        ``compiled`` (fast) or ``agents`` (plain Python, rules can be overridden); both give the
        same trajectory, molecule for molecule.
    agent_classes
        Own agent classes by ligand or target name. Classes that change a rule
        (:data:`synapse_abm.synapse.agents.rules.RULES`) need the agents engine.
    collect_every
        Let :attr:`datacollector` collect after every so many steps; 0 leaves it to the user.
    check_every_step
        Check all invariants after every step.
    **changes
        Values of a scenario that is given by name or file, by their path in it:
        ``**{"ligand.citalopram.clamped": "5 nM"}`` (see ``synapse.scenario.variants``). So
        ``mesa.batch_run`` can sweep anything that a scenario file can say.

    Raises
    ------
    InputError, InputErrors
        For whatever is wrong with all of these, at once; the compiled engine together with rules
        that it does not ask for is one such fault.

    Mesa's clock counts steps; physical time is :attr:`seconds`. ``running`` turns false when the
    scenario says how long it is run and that time is over.

    Asking for :attr:`agents` makes a view of every molecule and site: about 3 us each the first
    time, then only what came and went. Whoever does not ask pays nothing.
    """

    def __init__(
        self,
        scenario: Scenario | str | os.PathLike[str],
        *,
        rng: int | np.random.SeedSequence | None = 0,
        replicate: int = 0,
        engine: Engine = "compiled",
        agent_classes: AgentClasses | None = None,
        collect_every: int = 0,
        check_every_step: bool = False,
        **changes: Any,
    ) -> None:
        found, address = self._checked(
            scenario, rng, replicate, engine, agent_classes, collect_every, changes
        )
        super().__init__(rng=address.seed)
        self.engine = engine
        self.collect_every = collect_every
        self.check_every_step = check_every_step
        self.simulation = Simulation(
            found, address.seed, address.replicate, check_every_step=check_every_step
        )
        self.n_sites = int(self.store.sites.shape[1])
        self.agent_id_counter = self.n_sites + MAX_ENTITY + 2  # numbers of agents of the user's own
        self.epoch = 0
        classes = dict(agent_classes or {})
        self._molecule_classes = {n: c for n, c in classes.items() if issubclass(c, Molecule)}
        self._site_classes = {n: c for n, c in classes.items() if issubclass(c, Site)}
        self._views: list[dict[int, Molecule]] = [{} for _ in found.ligands]
        self._sites: list[Site] = []
        self._synced = -1
        self._grid: SynapseGrid | None = None
        self.rates = self._rates()
        self._readable = Readable(self) if engine == "agents" else None

    def _checked(
        self, given: Any, rng: Any, replicate: Any, engine: Any, classes: Any, every: Any,
        changes: Mapping[str, Any],
    ) -> tuple[Scenario, Address]:  # fmt: skip
        """The scenario and the address; all faults of the arguments together."""
        faults, scenario, address = list[InputError](), None, None
        with collected(faults):
            scenario = scenario_of(given, changes, KEYWORDS)
        with collected(faults):
            address = address_of(rng, replicate)
        faults += rule_faults(scenario, engine, classes, type(self), SynapseModel)
        with collected(faults):
            whole_number("collect_every", every, of="steps")
        raise_faults(faults)
        assert scenario is not None and address is not None
        return scenario, address

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles make their own grid; agents of the user's own find their cells."""
        state = self.__dict__ | {"_grid": None, "_whereabouts": None}
        if self._grid is not None:
            state["_on_grid"] = self._grid.belongings()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """The inverse."""
        belongings = state.pop("_on_grid", ([], []))
        self.__dict__.update(state)
        if any(belongings):
            self.grid.take_over(belongings)

    def save(self, path: str | Path) -> None:
        """Write a checkpoint (see ``checkpoint``): data, which anybody may open.

        A model can also be pickled, with agents and events of one's own; but opening a pickle runs
        what is in it, so open only your own.
        """
        checkpoint.save(self.simulation, path)

    @classmethod
    def resume(
        cls,
        path: str | Path,
        *,
        engine: Engine = "compiled",
        agent_classes: AgentClasses | None = None,
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
        clock.skip(model, found.step_number)
        model._note_end()
        return model

    # --- what the arrays say ---------------------------------------------------------------------

    # --- agents and cells, made when asked for ----------------------------------------------------

    @property
    def grid(self) -> SynapseGrid:
        """The cells as a grid of Mesa (von Neumann neighbours, a torus where walls are periodic).

        Made on first use, about 5 us a cell; what it says of agents is true when it is asked.
        """
        if self._grid is None:
            from synapse_abm.synapse.agents.grid import SynapseGrid

            self._grid = SynapseGrid(self)
        return self._grid

    @grid.setter
    def grid(self, grid: object) -> None:
        raise AttributeError(
            "model.grid is the lattice that the molecules walk on; give another grid another name"
        )

    def _standard_collector(self) -> StandardCollector:
        """Time, occupancy of each pair, free molecules; names as in the table of ``simulate``."""
        reporters: dict[str, Callable[[Any], float]] = {"time_s": attrgetter("seconds")}
        for target, ligand in self.names.pairs:
            read = methodcaller("occupancy", target, ligand)
            reporters[f"occupancy_{target}_{ligand}"] = read
        for ligand, description in self.synapse.ligands.items():
            if description.clamped_nM is None:
                reporters[f"free_{ligand}"] = methodcaller("free", ligand)
        return StandardCollector(reporters)

    @property
    def sites(self) -> list[Site]:
        """All binding sites, in the order of their ids."""
        if not self._sites:
            for number, target in enumerate(self.store.sites[1]):
                name = self.names.targets[target]
                kind = self._site_classes.get(name, SITES[self.synapse.targets[name].kind])
                self.making = True
                self._sites.append(kind(self, name, number))
                self.making = False
        return self._sites

    def molecule_class(self, ligand: int) -> type[Molecule]:
        """Class of the molecules of a ligand: the user's own, or that of the ligand's role."""
        name = self.names.ligands[ligand]
        return self._molecule_classes.get(name, MOLECULES[self.synapse.ligands[name].role])

    def molecules(self) -> list[list[Molecule]]:
        """Molecules by ligand, ascending in id."""
        self._sync()
        return [list(views.values()) for views in self._views]

    def new_molecule(self, ligand: int, number: int, row: int) -> Molecule:
        """The view of a molecule that has just been made."""
        self.making = True
        view = self.molecule_class(ligand)(self, self.names.ligands[ligand], number)
        self.making = False
        view._row, view._epoch = row, self.epoch
        self._views[ligand][number] = view
        return view

    def forget(self, molecule: Molecule) -> None:
        """Take a molecule that has left out of Mesa's books."""
        self._views[molecule.number].pop(molecule.id, None)
        mesa.Agent.remove(molecule)

    def lose(self, molecule: Molecule) -> None:
        """A molecule leaves the place for good, from a cell in which it is free or inside."""
        store, row = self.store, molecule.row
        self.moved(row, int(store.molecules[CELL, row]), None)
        store.molecules[COMPARTMENT, row] = GONE
        store.molecules[CELL, row] = self.plan.cells
        store.segments[molecule.number, DEAD] += 1
        self.forget(molecule)

    def take_out(self, molecule: Molecule) -> None:
        """A free molecule leaves because a user says so; it counts as exited."""
        self.lose(molecule)
        names, number = self.names, molecule.number
        self.store.totals[CountRows.of(names).free(number)] -= 1
        counter = ligand_event(len(names.pairs), len(names.ligands), EXIT, number)
        self.store.events[counter] += 1
        self.store.last_s[counter] = self.seconds

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
        if self._synced == self.simulation.step_number:
            return
        _ = self.sites
        self._synced = self.simulation.step_number
        for ligand, rows in enumerate(self.simulation.state.rows()):
            views = self._views[ligand]
            ids = self.store.molecules[ID, rows]
            known = np.fromiter(views, dtype=np.uint32, count=len(views))
            for gone in np.setdiff1d(known, ids).tolist():
                self.forget(views[gone])
            fresh = ~np.isin(ids, known)
            for new, row in zip(ids[fresh].tolist(), rows[fresh].tolist(), strict=True):
                self.new_molecule(ligand, new, row)

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
        self._note_end()
        if self.collect_every and self.simulation.step_number % self.collect_every == 0:
            self.datacollector.collect(self)

    def run(self, steps: int, every: int | None = None, collector: Any = None) -> Series:
        """Advance by ``steps`` steps, recording after every ``every``-th; compiled: in one call.

        ``every`` defaults to what gives about a thousand records; 0 records nothing. A
        ``collector`` (a ``mesa.DataCollector``) collects at each record. The steps are taken one
        by one, so that nothing is passed over, if events wait on Mesa's own schedule, if
        ``collect_every`` is given, or if a class derived from this one has a ``step`` of its own.

        Raises
        ------
        InputError, InputErrors
            If ``steps`` or ``every`` is no whole number >= 0, or ``collector`` cannot collect.
        """
        if collector is not None and not callable(getattr(collector, "collect", None)):
            raise InputError("collector", collector, "None, or a mesa.DataCollector")
        default = every is None
        steps, every = check_steps(steps, 0 if default else every)
        if default:
            every = max(1, steps // 1000)
        if collector is None and self._in_one_call():
            return self._run_compiled(steps, every)
        recorder, done = self.simulation.recorder(steps, every), 0
        while done < steps:
            done += self._advance(min(every - done % every, steps - done) if every else steps)
            self._record(recorder, done, collector)
        return recorder.series()

    def _record(self, recorder: Recorder, done: int, collector: Any) -> None:
        recorder.note(done, self.store)
        if collector is not None and recorder.every and done % recorder.every == 0:
            collector.collect(self)

    def _advance(self, steps: int) -> int:
        if self._in_one_call():
            self._run_compiled(steps, 0)
        else:
            for _ in range(steps):
                super().run_for(1)
        return steps

    def _run_compiled(self, steps: int, every: int) -> Series:
        series = self.simulation.run(steps, every)
        self.epoch += 1
        clock.skip(self, steps)
        self._note_end()
        return series

    def run_for(self, duration: float) -> None:
        """Advance Mesa's clock by ``duration`` steps; compiled, in one call if nothing waits."""
        number("duration", duration, least=0, unit="steps")
        if duration > 1 and duration == int(duration) and self._in_one_call():
            self._run_compiled(int(duration), 0)
        else:
            super().run_for(duration)

    def run_until(self, end_time: float) -> None:
        """Advance until Mesa's clock says ``end_time``, in steps."""
        if number("end_time", end_time, unit="steps") > self.time:
            self.run_for(end_time - self.time)
        else:
            super().run_until(end_time)

    def _in_one_call(self) -> bool:
        """Whether nobody wants to see single steps."""
        own_step = type(self).step is not SynapseModel.step
        if self._readable is not None or own_step or self.collect_every:
            return False
        return clock.only_steps_are_due(self)

    def _note_end(self) -> None:
        """Stop ``running`` when the scenario's time is over."""
        run = self.synapse.run
        if run is not None and self.seconds >= run.duration_s * (1 - 1e-9):
            self.running = False
