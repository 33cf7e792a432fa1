"""The neuron as a Mesa model: two places with molecules and sites, and the days; either engine.

Who does what, and sees what:

- a student moves ``model.drug_nM`` and watches ``model.neuron.rate_Hz``, ``terminal.serotonin_nM``
  and where each serotonin molecule is on its way round;
- a researcher collects with ``mesa.DataCollector`` and sweeps keywords with ``batch_run``;
- a modeller changes a rule (``agent_classes``, ``engine="agents"``) and compares it with the
  one shipped.

Data flow in a step: the exposure and the slow variables set the rates of the molecular simulation,
which runs for ``dt_s``; averages over it of the slow right-hand sides move the slow variables;
views read the state when they are asked.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal

import mesa
import numpy as np
import numpy.typing as npt
from mesa.experimental.scenarios import Scenario as MesaScenario

from synapse_abm.core import mesa_clock as clock
from synapse_abm.core.address import Rng, address_of, generator_source
from synapse_abm.core.arguments import number, whole_number
from synapse_abm.core.arrays import nonnegative, refused
from synapse_abm.core.collector import StandardCollector, has_collected
from synapse_abm.core.errors import InputError, UnknownName, raise_faults, tried
from synapse_abm.core.files import file_path, write_atomic
from synapse_abm.core.reset import resettable, told_rng
from synapse_abm.neuron import scenario as par
from synapse_abm.neuron.agents import checkpoint as checkpoint
from synapse_abm.neuron.agents.agents import (
    Documented,
    Neuron,
    NeuronDrug,
    NeuronReceptor,
    NeuronSerotonin,
    NeuronTransporter,
)
from synapse_abm.neuron.agents.host import NeuronHost
from synapse_abm.neuron.agents.stepper import NeuronStepper
from synapse_abm.neuron.calibration import calibrate
from synapse_abm.neuron.changes import Acting, Change, History
from synapse_abm.neuron.engine.simulation import COLUMNS, NeuronSimulation
from synapse_abm.neuron.ligands import Doses, at_autoreceptor, at_sert, ligand_faults
from synapse_abm.neuron.meanfield.equations import hill
from synapse_abm.neuron.meanfield.ode import changed_course
from synapse_abm.neuron.scenario import AT_REST, PLACES, SLOW, Baseline, Exposure
from synapse_abm.neuron.slow import advanced, slow_inputs
from synapse_abm.synapse.agents.rules import ENGINES, birth_faults, overridden, own_births
from synapse_abm.synapse.engine.layout import F64

type AgentClasses = Mapping[str, type[mesa.Agent]]

#: What the agents engine asks of each kind of agent.
RULES: dict[type, tuple[str, ...]] = {
    Neuron: ("target_rate",),
    NeuronSerotonin: ("propensity",),
    NeuronTransporter: ("propensity",),
    NeuronReceptor: ("propensity",),
    NeuronDrug: (),
}


@dataclass(frozen=True, slots=True)
class NeuronSeries:
    """What was recorded: means over each step, and the slow variables after it.

    Attributes
    ----------
    seconds
        End of each step, s.
    values
        One row a step, one column for each of :attr:`names`.
    """

    parameters: par.NeuronParameters
    sites: tuple[int, int]
    seconds: F64
    values: F64

    names = (*COLUMNS, *SLOW)

    def __getitem__(self, name: str) -> F64:
        """A column by its name, such as ``rate_Hz`` or ``sensitivity``."""
        if name not in self.names:
            raise UnknownName("column", name, self.names)
        column: F64 = self.values[:, self.names.index(name)]
        return column

    def serotonin_nM(self, place: str) -> F64:
        """Free serotonin at ``terminal`` or ``soma``, nM."""
        column: F64 = self[f"{place}_free"] / self.parameters.places[_place(place)].molecules_per_nM
        return column

    def occupancy(self, place: str) -> F64:
        """Share of transporters there that the drug holds, 0 to 1; nan without transporters."""
        sites = self.sites[_place(place)]
        column: F64 = self[f"{place}_blocked"] / (sites or math.nan)
        return column


def _place(name: str) -> int:
    if name not in PLACES:
        raise UnknownName("place", name, PLACES)
    return PLACES.index(name)


class _Acting(Documented):
    """What acts on the neuron; setting it is a change (:meth:`NeuronModel.change`)."""

    def __get__(self, model: Any, owner: type) -> Any:
        return self if model is None else getattr(model.history.now, self.name)

    def __set__(self, model: NeuronModel, value: object) -> None:
        model.change({self.name: value})


class NeuronModel(NeuronHost):
    """A serotonin neuron with its terminal and its soma: molecules, sites and itself as agents.

    Parameters
    ----------
    parameters
        The neuron (:func:`synapse_abm.neuron.scenario.neuron`); the default one unless given.
    scenario
        A scenario of Mesa's, which is a record of parameters, if there is one.
    rng
        Seed, as in :class:`synapse_abm.SynapseModel`.
    replicate
        Number of an independent repetition with the same seed.
    engine
        ``compiled`` (fast) or ``agents`` (plain Python, rules can be overridden); both give the
        same trajectory, molecule for molecule.
    agent_classes
        Own agent classes for ``neuron``, ``serotonin``, ``SERT``, ``5-HT1A``, or a drug by its
        name. Classes that change a rule (:data:`RULES`) need the agents engine.
    drug, drug_nM
        A ligand of SERT and its free concentration beside the transporters.
    antagonist, antagonist_nM
        A ligand of the autoreceptors (WAY-100635, pindolol) and its concentration.
    mao
        Share of monoamine oxidase that works.
    reach
        Which places the drug reaches: ``both``, ``terminal`` or ``soma``.
    transporters
        SERT number as a share of the wild type's; the baseline stays the wild type's.
    feedback
        Whether autoreceptors slow the spikes; False removes that altogether.
    dt_s
        Length of a step, s. Results do not depend on it in law.
    speed
        How many times faster days pass than molecules move: 1 is life; 3024 puts six weeks into
        20 minutes, about the fastest at which both agree.
    baseline
        Factors that make the noisy neuron rest where its parameters say. By default calibrated,
        once in a process for each neuron (about 4 s); ``Baseline()`` leaves mean-field values.
    collect_every
        Let :attr:`datacollector` collect after every so many steps; 0 leaves it to the user. By
        default the standard one has the start and every step.
    check_every_step
        Check after every step that nothing was created or lost.
    **changes
        Single parameters of the neuron: ``trains=1``, ``**{"soma.transporters": 1000}``.

    Raises
    ------
    InputError, InputErrors
        For whatever is wrong with all of these, at once.

    ``drug_nM``, ``antagonist_nM``, ``mao``, ``reach``, ``feedback`` and the slow variables of
    :attr:`neuron` can be set at any time, and act from the next step on, as :meth:`change` says.
    """

    neuron: Neuron
    settable = (
        "antagonist_nM", "check_every_step", "collect_every", "drug_nM", "feedback", "mao", "reach",
        "speed",
    )  # fmt: skip
    fixed = dict.fromkeys(
        ("antagonist", "drug", "engine", "parameters"), "make a NeuronModel with it"
    )
    _within_step = False  # while agents are asked

    @resettable
    def __init__(
        self,
        parameters: par.NeuronParameters | None = None,
        *,
        scenario: MesaScenario | None = None,
        rng: Rng = 0,
        replicate: int = 0,
        engine: Literal["compiled", "agents"] = "compiled",
        agent_classes: AgentClasses | None = None,
        drug: str = "citalopram",
        drug_nM: float = 0.0,
        antagonist: str | None = None,
        antagonist_nM: float = 0.0,
        mao: float = 1.0,
        reach: str = "both",
        transporters: float = 1.0,
        feedback: bool = True,
        dt_s: float = 1.0,
        speed: float = 1.0,
        baseline: Baseline | None = None,
        collect_every: int | None = None,
        check_every_step: bool = False,
        **changes: Any,
    ) -> None:
        # All is checked before anything is made, so that every wrong keyword is told at once.
        faults = list[InputError]()
        made = tried(faults, changed, parameters, changes)
        if scenario is not None and not isinstance(scenario, MesaScenario):
            allowed = "None or a scenario of Mesa's: a neuron is described by parameters"
            faults.append(InputError("scenario", scenario, allowed))
        rng = tried(faults, told_rng, rng, scenario)
        address = tried(faults, address_of, rng, replicate)
        faults += ligand_faults("drug", drug, "SERT")
        if antagonist is not None:
            faults += ligand_faults("antagonist", antagonist, "5-HT1A")
        elif antagonist_nM:
            allowed = "0, as no antagonist is given"
            faults.append(InputError("antagonist_nM", antagonist_nM, allowed))
        acting = tried(
            faults, Acting.checked, drug_nM=drug_nM, antagonist_nM=antagonist_nM, mao=mao,
            reach=reach, feedback=feedback,
        )  # fmt: skip
        share = tried(faults, number, "transporters", transporters, least=0.0)
        faster = tried(faults, number, "speed", speed, least=0.0)
        step = tried(faults, number, "dt_s", dt_s, least=1e-9)
        every = 0 if collect_every is None else collect_every
        tried(faults, whole_number, "collect_every", every, of="steps")
        faults += class_faults(engine, agent_classes, default_classes(drug, antagonist))
        raise_faults(faults)
        assert made is not None and address is not None and acting is not None
        assert share is not None and faster is not None and step is not None
        # Mesa's generator is for what users add; molecules have counter-based numbers of their own.
        super().__init__(rng=generator_source(rng, address))
        if scenario is not None:
            self.scenario = scenario
        self.parameters, self.engine = made, engine
        self.drug, self.antagonist = drug, antagonist
        self.speed, self.collect_every = faster, collect_every
        self.check_every_step = check_every_step
        doses = Doses(at_sert(drug), at_autoreceptor(antagonist), transporters=share)
        self.history = History(doses, acting)
        self.simulation = NeuronSimulation(
            made, address.seed, address.replicate, address.place,
            baseline=self._baseline(baseline), inhibitor=doses.inhibitor,
            antagonist=doses.antagonist, dt_s=step, transporters=share,
        )  # fmt: skip
        self.slow = dict(zip(SLOW, AT_REST.tolist(), strict=True))
        self.latest: F64 = np.full(len(COLUMNS), math.nan)
        self._start_views({**default_classes(drug, antagonist), **(agent_classes or {})})
        self.act()
        self._stepper = NeuronStepper(self) if engine == "agents" else None
        self._own_births = bool(own_births(self.view_classes()))
        if self._own_births:
            self._sync()
        self.take_note()

    def _baseline(self, baseline: Baseline | None) -> Baseline:
        """That which was given; what it leaves open is calibrated, or has its mean-field value."""
        if baseline is None:
            return calibrate(self.parameters).baseline
        # Without noise the average of h at rest is h(1), which depends on the neuron's parameters.
        if math.isnan(baseline.hill):
            return replace(baseline, hill=hill(self.parameters, 1.0))
        return baseline

    # --- saving -----------------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write a checkpoint (see ``checkpoint``); the file appears complete or not at all.

        Raises
        ------
        OutputError
            If the file cannot be written.
        """
        write_atomic(path, checkpoint.to_bytes(self))

    @classmethod
    def resume(
        cls,
        path: str | Path,
        *,
        engine: Literal["compiled", "agents"] = "compiled",
        agent_classes: AgentClasses | None = None,
        collect_every: int | None = None,
        check_every_step: bool = False,
    ) -> NeuronModel:
        """The model whose checkpoint is at ``path``, on either engine, ready to go on bit for bit.

        Raises
        ------
        CheckpointError
            If the file is not a whole checkpoint of this version.
        """
        make = functools.partial(
            cls, engine=engine, agent_classes=agent_classes, collect_every=collect_every,
            check_every_step=check_every_step,
        )  # fmt: skip
        model = checkpoint.load(file_path(path), make)
        # Whatever agents showed while the model was made was the state at time 0.
        model.epoch += 1
        model._datacollector = None
        clock.skip(model, model.simulation.steps)
        model.take_note()
        return model

    # --- what acts --------------------------------------------------------------------------------

    drug_nM = _Acting("Free concentration of the drug beside the transporters, nM.")
    antagonist_nM = _Acting("Concentration of the autoreceptors' other ligand, nM.")
    mao = _Acting("Share of monoamine oxidase that works.")
    reach = _Acting("Which places the drug reaches: ``both``, ``terminal`` or ``soma``.")
    feedback = _Acting("Whether autoreceptors slow the spikes.")

    def change(self, changes: Mapping[str, Any]) -> None:
        """Change what acts on the neuron, from the next step on.

        Parameters
        ----------
        changes
            Values by name: ``drug`` and ``antagonist`` (concentrations with units, ``"12 nM"``; or
            ``drug_nM``, ``antagonist_nM`` as numbers), ``occupied`` (the share of transporters that
            the drug alone would occupy), ``mao``, ``reach``, ``feedback``, ``sensitivity`` of the
            autoreceptors and the other slow variables.

        Raises
        ------
        InputError, InputErrors
            For whatever is wrong with them, at once; nothing is changed then.

        Molecules and sites stay as they are: a drug that is withdrawn leaves its sites one by one,
        as fast as it unbinds.
        """
        if self._within_step:
            raise InputError("changes", changes, "made between two steps", "let an event make it")
        self.slow |= self.history.add(self.seconds, changes)

    @property
    def changes(self) -> tuple[Change, ...]:
        """What was changed: times (s) from which it acted, and values by name, as given."""
        return self.history.entries

    def mean_field(self, times_s: npt.ArrayLike) -> dict[str, F64]:
        """The mean-field course of a neuron that is changed as this one was.

        Binding is taken as settled there; see ``meanfield.ode.changed_course``.

        Parameters
        ----------
        times_s : array_like, shape (n,)
            Times (s), ascending, >= 0.

        Returns
        -------
        dict
            rate_Hz, terminal_nM, soma_nM, terminal_pool, soma_pool and the slow variables at
            ``times_s``, shape (n,).

        Raises
        ------
        ValueError
            If the times cannot be used.
        """
        times = nonnegative("times_s", times_s)
        if times.ndim != 1 or not times.size or (np.diff(times) <= 0).any():
            raise refused("times_s", times_s, "one or more times, ascending")
        return changed_course(self.parameters, self.history.pieces(), times, self.speed)

    @property
    def exposure(self) -> Exposure:
        """What acts on the neuron now: concentrations over affinities."""
        return self.history.now.exposure(self.history.doses)

    def set_slow(self, name: str, value: float) -> None:
        """Set a slow variable; it acts from the next step on."""
        self.change({f"neuron.{name}": value})

    def act(self) -> None:
        """Bring exposure and slow variables to the molecules."""
        slow = self.slow
        # Receptors without sensitivity bind as ever and slow nothing.
        sensitivity = slow["sensitivity"] if self.feedback else 0.0
        self.simulation.set(self.exposure, sensitivity, slow["drive"], slow["postsynaptic"])

    @property
    def seed(self) -> int:
        """Seed of the random numbers."""
        return self.simulation.address.seed

    @property
    def seconds(self) -> float:
        """Physical time of the molecules, s."""
        return self.simulation.seconds

    @property
    def days(self) -> float:
        """Time of the slow variables, days."""
        return self.seconds * self.speed / par.DAY_S

    # --- time -------------------------------------------------------------------------------------

    def step(self) -> None:
        """One step of ``dt_s``: molecules first, then what their averages do to the days."""
        self.act()
        if self._stepper is None:
            self.latest = self.simulation.run(1)[0]
        else:
            self._within_step = True
            try:
                self.latest = self._stepper.step()
            finally:
                self._within_step = False
        self.epoch += 1
        if self.check_every_step:
            self.simulation.check()
        self._days_pass()
        if self._own_births:
            self._sync()  # or those who have just come would be made when somebody looks
        self._end_step(self.simulation.steps)

    def _days_pass(self) -> None:
        parameters, read = self.parameters, dict(zip(COLUMNS, self.latest.tolist(), strict=True))
        inputs = slow_inputs(parameters, self.simulation.baseline, read)
        # In the order of SLOW: dictionaries keep the order in which they were filled.
        slow = np.array(list(self.slow.values()))
        # ``speed`` lets days pass faster, but molecules at their own pace: what the slow variables
        # see is then averaged over fewer spikes.
        moved = advanced(parameters, slow, inputs, self.simulation.dt_s * self.speed)
        self.slow = dict(zip(SLOW, moved.tolist(), strict=True))

    def run(self, steps: int, collector: Any = None) -> NeuronSeries:
        """Advance by ``steps`` steps and record them; a ``collector`` collects after each, and so
        does a :attr:`datacollector` of one's own, unless it has collected at that time.

        Events that wait on Mesa's schedule come in time.

        Raises
        ------
        InputError
            If ``steps`` is no whole number >= 0.
        """
        steps = whole_number("steps", steps, of="steps")
        seconds, values = np.zeros(steps), np.zeros((steps, len(NeuronSeries.names)))
        for i in range(steps):
            # By Mesa's clock, so that what a user has scheduled happens between steps.
            self.run_for(1)
            seconds[i], values[i] = self.seconds, [*self.latest, *self.slow.values()]
            own = self.own_collector
            if own is not None and not has_collected(own, self.time):
                own.collect(self)
            if collector is not None:
                collector.collect(self)
        sites = self.site_numbers
        return NeuronSeries(self.parameters, (sites[0][0], sites[1][0]), seconds, values)

    def _standard_collector(self) -> StandardCollector:
        return StandardCollector(standard_columns)

    def noted(self) -> list[float]:
        """What the standard collector notes of the present state."""
        return [read(self) for read in REPORTED.values()]


def _reported() -> dict[str, Callable[[Any], float]]:
    columns = {"seconds": "seconds", "days": "days", "rate_Hz": "neuron.rate_Hz"}
    for place in PLACES:
        for what in ("serotonin_nM", "occupancy"):
            columns[f"{place}_{what}"] = f"neuron.{place}.{what}"
    columns["receptor_occupancy"] = "neuron.soma.receptor_occupancy"
    columns |= {name: f"neuron.{name}" for name in SLOW}
    return {name: attrgetter(path) for name, path in columns.items()}


#: What the standard collector collects: time, rate, serotonin, occupancies, the slow variables.
REPORTED = _reported()


def standard_columns(notes: Sequence[list[float]]) -> dict[str, list[float]]:
    """Columns of the standard collector, of notes of a model."""
    return {name: [note[i] for note in notes] for i, name in enumerate(REPORTED)}


def changed(
    parameters: par.NeuronParameters | None, changes: Mapping[str, Any]
) -> par.NeuronParameters:
    """A neuron with single values changed: ``{"trains": 1, "soma.transporters": 1000}``.

    Raises
    ------
    InputError, InputErrors
        For whatever is wrong with them, at once.
    """
    values: dict[str, Any] = {} if parameters is None else parameters.model_dump()
    for name, value in changes.items():
        place, dot, field = name.partition(".")
        if dot and place in PLACES:
            # Over what was given for the place, so that several single values add up.
            values[place] = {**(values.get(place) or {}), field: value}
        elif name in PLACES and isinstance(value, Mapping):
            values[name] = {**(values.get(name) or {}), **value}
        else:
            values[name] = value
    return par.neuron(**values)


def default_classes(drug: Any, antagonist: Any) -> dict[str, type[mesa.Agent]]:
    """Classes of agents by name, unless the user gives others."""
    drugs = {name: NeuronDrug for name in (drug, antagonist) if isinstance(name, str)}
    return {
        "neuron": Neuron, "serotonin": NeuronSerotonin, "SERT": NeuronTransporter,
        "5-HT1A": NeuronReceptor, **drugs,
    }  # fmt: skip


def class_faults(
    engine: object, agent_classes: object, known: Mapping[str, type]
) -> list[InputError]:
    """What is wrong with ``engine`` and ``agent_classes``."""
    faults, changes = list[InputError](), list[str]()
    if engine not in ENGINES:
        faults.append(InputError("engine", engine, "'compiled' or 'agents'"))
    if agent_classes is not None and not isinstance(agent_classes, Mapping):
        allowed = "classes by name, {'SERT': Cooperative}"
        # Nothing more can be said of something that is no mapping.
        return [*faults, InputError("agent_classes", agent_classes, allowed)]
    for name, kind in dict(agent_classes or {}).items():
        if name not in known:
            faults.append(UnknownName("a name in agent_classes", str(name), list(known)))
        elif not isinstance(kind, type) or not issubclass(kind, known[name]):
            allowed = f"a class derived from {known[name].__name__}"
            faults.append(InputError(f"agent_classes[{name!r}]", kind, allowed))
        else:
            rules = RULES[known[name]]
            changes += [f"{kind.__name__}.{x}()" for x in overridden(kind, known[name], rules)]
    own = dict(agent_classes or {})
    faults += birth_faults(engine, [own[name] for name in own if name in known])
    if changes and engine == "compiled":
        allowed = f"'agents', the only engine that asks {', '.join(changes)}"
        faults.append(InputError("engine", engine, allowed, "give engine='agents'"))
    return faults
