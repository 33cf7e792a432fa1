"""The synapse as a Mesa model, on either engine."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from mesa.experimental.scenarios import Scenario as MesaScenario

from synapse_abm.core import mesa_clock as clock
from synapse_abm.core.address import Address, Rng, address_of, generator_source
from synapse_abm.core.arguments import number, whole_number
from synapse_abm.core.collector import StandardCollector, has_collected
from synapse_abm.core.errors import InputError, collected, raise_faults
from synapse_abm.core.reset import resettable, told_rng
from synapse_abm.synapse.agents.agents import MOLECULES, SITES, Molecule, Site
from synapse_abm.synapse.agents.place import PlaceModel
from synapse_abm.synapse.agents.rules import own_births, rule_faults
from synapse_abm.synapse.agents.stepper import ReferenceStepper
from synapse_abm.synapse.engine import checkpoint
from synapse_abm.synapse.engine.layout import I64
from synapse_abm.synapse.engine.network import Names
from synapse_abm.synapse.engine.simulation import Change, Series, Simulation, check_steps
from synapse_abm.synapse.scenario.definition import Scenario
from synapse_abm.synapse.scenario.variants import scenario_of

if TYPE_CHECKING:
    from synapse_abm.synapse.agents.grid import SynapseGrid

Engine = Literal["compiled", "agents"]
type AgentClasses = Mapping[str, type[Molecule] | type[Site]]
#: In the place of a grid: the user wants none.
_DELETED = "deleted"
type Source = Scenario | str | os.PathLike[str]


class SynapseModel(PlaceModel):
    """One synapse (or soma): molecules and sites as agents on a grid.

    Parameters
    ----------
    source
        What is simulated: a Scenario, the name of a ready-made one, or a TOML file. It may be given
        as ``scenario`` too.
    scenario
        The same; or, beside ``source``, a scenario of Mesa's, which is a record of parameters
        (``mesa.experimental.scenarios.Scenario``).
    rng
        Seed, a whole number 0 ... 2**64 - 1, or several of them in a list. None takes one from the
        operating system, as in Mesa, and a Generator or BitGenerator of NumPy's gives one;
        :attr:`seed` tells which. Physics uses only the addressed generator of ``rng``; Mesa's own
        generators, for users' additions, are that which was given, or seeded from the same number.
    replicate
        Number of an independent repetition with the same seed.
    engine
        ``compiled`` (fast) or ``agents`` (plain Python, rules can be overridden); both give the
        same trajectory, molecule for molecule.
    agent_classes
        Own agent classes by ligand or target name. Classes that change a rule
        (:data:`synapse_abm.synapse.agents.rules.RULES`) need the agents engine.
    collect_every
        Let :attr:`datacollector` collect after every so many steps; 0 leaves it to the user. By
        default the standard one has the start, every step, and every record of :meth:`run`.
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

    settable = "check_every_step", "collect_every"
    fixed = {"engine": "give SynapseModel engine=..."}  # noqa: RUF012

    @resettable
    def __init__(
        self,
        source: Source | None = None,
        *,
        scenario: Source | MesaScenario | None = None,
        rng: Rng = 0,
        replicate: int = 0,
        engine: Engine = "compiled",
        agent_classes: AgentClasses | None = None,
        collect_every: int | None = None,
        check_every_step: bool = False,
        **changes: Any,
    ) -> None:
        checked, rng, address = self._checked(
            source, scenario, rng, replicate, engine, agent_classes, collect_every, changes
        )
        super().__init__(rng=generator_source(rng, address))
        if isinstance(scenario, MesaScenario):
            self.scenario = scenario
        self.engine = engine
        self.collect_every = collect_every
        self.check_every_step = check_every_step
        self.simulation = Simulation(
            checked, address.seed, address.replicate, check_every_step=check_every_step
        )
        self.n_sites = int(self.store.sites.shape[1])
        self.epoch = 0
        classes = dict(agent_classes or {})
        self.molecule_classes = [
            _own(classes.get(name), Molecule, MOLECULES[ligand.role])
            for name, ligand in checked.ligands.items()
        ]
        self.site_classes = [
            _own(classes.get(name), Site, SITES[target.kind])
            for name, target in checked.targets.items()
        ]
        self._molecules, self._sites, self._synced = [{} for _ in checked.ligands], [], -1
        self._grid: SynapseGrid | None = None
        self._own_grid: Any = None
        self.rates, self._revision = self._rates(), self.simulation.revision
        self._stepper = ReferenceStepper(self) if engine == "agents" else None
        if self._stepper is not None and own_births(self.view_classes()):
            self._sync()
        self.take_note()

    def _checked(
        self, source: Any, second: Any, rng: Any, replicate: Any, engine: Any, classes: Any,
        every: Any, changes: Mapping[str, Any],
    ) -> tuple[Scenario, Any, Address]:  # fmt: skip
        """The scenario and the address; all faults of the arguments together."""
        faults, scenario, address = list[InputError](), None, None
        with collected(faults):
            # With the names of our own keywords, for the nearest to one that is mistyped.
            own = [p.name for p in inspect.signature(SynapseModel).parameters.values()][:-1]
            if source is None and not isinstance(second, MesaScenario):
                source, second = second, None
            scenario = scenario_of(source, changes, tuple(own))
        if second is not None and not isinstance(second, MesaScenario):
            faults.append(InputError("scenario", second, "given once, as source or as scenario"))
        with collected(faults):
            rng = told_rng(rng, second)
            address = address_of(rng, replicate)
        faults += rule_faults(scenario, engine, classes, type(self), SynapseModel)
        with collected(faults):
            whole_number("collect_every", 0 if every is None else every, of="steps")
        raise_faults(faults)
        assert scenario is not None and address is not None
        return scenario, rng, address

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles make their own grid; agents of the user's own find their cells."""
        state = self.__dict__ | {"_grid": None, "_cell_index": None}
        if self._grid is not None:
            state["_on_grid"] = self._grid.belongings()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """The inverse."""
        belongings = state.pop("_on_grid", ([], []))
        self.__dict__.update(state)
        if any(belongings):
            self.synapse_grid.take_over(belongings)

    def __repr__(self) -> str:
        molecules = self.simulation.state.live()
        return (
            f"<{type(self).__name__} {self.synapse.name}: {self.seconds:g} s, "
            f"{self.synapse.n_sites} sites, {molecules} molecules, {self.engine} engine>"
        )

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
        collect_every: int | None = None,
        check_every_step: bool = False,
    ) -> SynapseModel:
        """The model whose checkpoint is at ``path``, on either engine, ready to continue bit for
        bit.

        Raises
        ------
        CheckpointError
            If the file is not a whole checkpoint of this version.
        """
        simulation = checkpoint.load(path, check_every_step=check_every_step)
        model = cls(
            simulation.scenario,
            rng=simulation.address.seed,
            replicate=simulation.address.replicate,
            engine=engine,
            agent_classes=agent_classes,
            collect_every=collect_every,
            check_every_step=check_every_step,
        )
        model.simulation = simulation
        model.epoch += 1
        model._synced, model._datacollector = -1, None
        clock.skip(model, simulation.step_number)
        model._note_end()
        model.take_note()
        return model

    def change(self, changes: Mapping[str, Any], add: Mapping[str, Any] | None = None) -> None:
        """Change the scenario that runs, and bring molecules in; from the next step on.

        Parameters
        ----------
        changes
            Values by their path in a scenario file, written as there:
            ``{"ligand.citalopram.clamped": "3 nM"}``. Concentrations, numbers of sites, constants,
            release, transport and diffusion can change; grid, seed and records cannot.
        add
            Free molecules to bring in at once, by ligand: ``{"serotonin": 4000}``, or
            ``{"serotonin": "100 nM"}`` over the whole place.

        Nobody is thrown away: molecules that are there stay who they are, and where there is less
        outside they leave. Sites that go are those that the scenario with fewer has not, and what
        they held is free in their cell. Both engines do the same, and :attr:`changes` remembers it.

        Raises
        ------
        InputError, InputErrors
            All that is wrong with both arguments; nothing has changed then.
        """
        self.simulation.change(changes, add)
        self._follow_changes()

    def _follow_changes(self) -> None:
        """Bring what is kept of the arrays up to date, if anything was changed."""
        if self.simulation.revision != self._revision:
            self._revision = self.simulation.revision
            self._changed()
            if self._stepper is not None:
                self._stepper = ReferenceStepper(self)

    @property
    def changes(self) -> tuple[Change, ...]:
        """All changes since the start, in order: step, time (s), values by path, molecules."""
        return tuple(self.simulation.changes)

    # --- agents and cells, made when asked for ----------------------------------------------------

    @property
    def synapse_grid(self) -> SynapseGrid:
        """The cells as a grid of Mesa (von Neumann neighbours, a torus where walls are periodic).

        Made on first use, about 5 us a cell; what it says of agents is true when it is asked.
        """
        if self._grid is None:
            from synapse_abm.synapse.agents.grid import SynapseGrid

            self._grid = SynapseGrid(self)
        return self._grid

    @property
    def grid(self) -> Any:
        """What Mesa's viewer draws: a grid of the user's own, if one was set; else
        :attr:`synapse_grid`. Deleted, the viewer draws ``model.space``, which is the user's.
        """
        if self._own_grid is _DELETED:
            raise AttributeError("grid: it was deleted; model.synapse_grid is that of the synapse")
        return self.synapse_grid if self._own_grid is None else self._own_grid

    @grid.setter
    def grid(self, grid: object) -> None:
        self._own_grid = grid

    @grid.deleter
    def grid(self) -> None:
        self._own_grid = _DELETED

    def _standard_collector(self) -> StandardCollector:
        return StandardCollector(partial(standard_columns, self.synapse))

    def noted(self) -> tuple[float, I64]:
        """What the standard collector notes of the present state."""
        return self.seconds, self.store.totals.copy()

    # --- time ------------------------------------------------------------------------------------

    def step(self) -> None:
        """One step: hop, then react."""
        # The compiled engine moves molecules without their agents' knowledge, the stepper by means
        # of them: only then are they up to date.
        if self._stepper is None:
            self.simulation.run(1)
            self.epoch += 1
            self._follow_changes()
        else:
            self.simulation.apply_due()
            self._follow_changes()
            self._stepper.step()
            self._synced = self.simulation.step_number
            if self.check_every_step:
                self.simulation.check()
        self._note_end()
        self._end_step(self.simulation.step_number)

    def run(self, steps: int, every: int | None = None, collector: Any = None) -> Series:
        """Advance by ``steps`` steps, recording after every ``every``-th; compiled: in one call.

        ``every`` defaults to what gives about a thousand records; 0 records nothing. At each record
        a ``collector`` (a ``mesa.DataCollector``) collects, and :attr:`datacollector`, unless it
        has collected at that time, or leaves it to a ``step`` of one's own and no ``every`` is
        given. The steps are taken one by one, so that nothing is passed over, if a collector
        collects, if events wait on Mesa's own schedule, if somebody observes the model, if
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
        collectors = [collector] if collector is not None else []
        if self.own_collector is not None and not (default and self._has_own_step()):
            collectors.append(self.own_collector)
        if not (collectors and every) and self._in_one_call():
            return self._run_compiled(steps, every)
        recorder, done = self.simulation.recorder(steps, every), 0
        with self.noting_records():
            while done < steps:
                # From record to record; who wants to see single steps is asked anew each time,
                # because a collector may schedule events.
                ahead = min(every - done % every, steps - done) if every else steps
                self.run_for(ahead)
                done += ahead
                recorder.note(done, self.store)
                if every and done % every == 0:
                    self.take_note(of_record=True)
                    for each in collectors:
                        if each is collector or not has_collected(each, self.time):
                            each.collect(self)
        return recorder.series(self.simulation.clock)

    def _run_compiled(self, steps: int, every: int) -> Series:
        self._demand_agents()
        time = self.time
        series = self.simulation.run(steps, every)
        self.epoch += 1
        self._follow_changes()
        clock.skip(self, steps)
        self._note_end()
        if series.step.size:
            times = (time + every * np.arange(1, series.step.size + 1)).tolist()
            self.take_notes(times, zip(series.seconds.tolist(), series.totals, strict=True))
        return series

    def run_for(self, duration: float) -> None:
        """Advance Mesa's clock by ``duration`` steps; compiled, in one call if nothing waits."""
        number("duration", duration, least=0, unit="steps")
        if duration > 1 and duration == int(duration) and self._in_one_call():
            self._run_compiled(int(duration), max(1, int(duration) // 1000) * self.notes_steps)
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
        if self._stepper is not None or self._has_own_step() or self.collect_every:
            return False
        return not self.subscribers and clock.only_steps_are_due(self)

    def _has_own_step(self) -> bool:
        return type(self).step is not SynapseModel.step

    def _note_end(self) -> None:
        """Stop ``running`` when the scenario's time is over."""
        run = self.synapse.run
        # The number of steps times their length may fall short of the duration by rounding.
        if run is not None and self.seconds >= run.duration_s * (1 - 1e-9):
            self.running = False


def standard_columns(
    scenario: Scenario, notes: Sequence[tuple[float, I64]]
) -> dict[str, list[float]]:
    """Time, occupancy of each pair, free molecules; names as in the table of ``simulate``."""
    names = Names.of(scenario)
    seconds = np.array([seconds for seconds, _ in notes])
    totals = np.array([totals for _, totals in notes]).reshape(len(notes), names.ones)
    nothing = np.zeros((len(notes), 0))
    series = Series(scenario, names, np.zeros(len(notes)), seconds, totals, nothing)
    columns = {"time_s": seconds.tolist()}
    for target, ligand in names.pairs:
        columns[f"occupancy_{target}_{ligand}"] = series.occupancy(target, ligand).tolist()
    for ligand, description in scenario.ligands.items():
        if description.clamped_nM is None:
            columns[f"free_{ligand}"] = series.free(ligand).tolist()
    return columns


def _own(
    own: type[Molecule] | type[Site] | None, base: type, usual: type[Molecule] | type[Site]
) -> type[Any]:
    """The user's class, if there is one of this kind: a ligand may be called like a target."""
    return own if own is not None and issubclass(own, base) else usual
