"""The neuron as a Mesa model: two places with molecules and sites, and the days; either engine.

Who does what, and sees what:

- a student moves ``model.drug_nM`` and watches ``model.neuron.rate_Hz``, ``terminal.serotonin_nM``
  and where each serotonin molecule is on its way round;
- a researcher collects with ``mesa.DataCollector`` and sweeps keywords with ``batch_run``;
- a modeller changes a rule (``agent_classes``, ``engine="agents"``) and holds it against the stock
  one.

Data flow in a step: the exposure and the slow variables set the rates of the molecular simulation,
which runs for ``dt_s``; averages over it of the slow right-hand sides move the slow variables;
views read the state when they are asked.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import mesa
import numpy as np

from synapse_abm.core import mesa_clock as clock
from synapse_abm.core.address import Address, address_of
from synapse_abm.core.arguments import choice, whole_number
from synapse_abm.core.collector import StandardCollector
from synapse_abm.core.errors import InputError, UnknownName, collected, raise_faults
from synapse_abm.core.files import write_atomic
from synapse_abm.core.rng import MAX_ENTITY
from synapse_abm.neuron import scenario as par
from synapse_abm.neuron.agents import checkpoint as checkpoint
from synapse_abm.neuron.agents.agents import (
    Neuron,
    NeuronDrug,
    NeuronReceptor,
    NeuronSerotonin,
    NeuronTransporter,
)
from synapse_abm.neuron.agents.host import NeuronHost
from synapse_abm.neuron.agents.index import Index
from synapse_abm.neuron.agents.stepper import NeuronStepper
from synapse_abm.neuron.calibration import calibrate
from synapse_abm.neuron.engine.layout import C_LOSE, L_BLOCKED, L_FREE
from synapse_abm.neuron.engine.simulation import COLUMNS, NeuronSimulation
from synapse_abm.neuron.ligands import Doses, at_autoreceptor, at_sert, ligand_faults
from synapse_abm.neuron.meanfield.equations import hill
from synapse_abm.neuron.scenario import PLACES, REACHES, SLOW, Baseline, Exposure
from synapse_abm.neuron.slow import advanced, slow_inputs
from synapse_abm.synapse.agents.agents import Molecule, Site
from synapse_abm.synapse.agents.rules import overridden
from synapse_abm.synapse.engine.layout import F64
from synapse_abm.synapse.engine.network import Names

type AgentClasses = Mapping[str, type[mesa.Agent]]

#: What the agents engine asks of each kind of agent.
RULES: dict[type, tuple[str, ...]] = {
    Neuron: ("target_rate",),
    NeuronSerotonin: ("propensity",),
    NeuronTransporter: ("propensity",),
    NeuronReceptor: ("propensity",),
    NeuronDrug: (),
}


class ByType(dict[type, Any]):
    """Agents by class; asked for one of a synapse (Serotonin), those derived from it."""

    def __missing__(self, kind: type) -> mesa.agent.AgentSet:
        found = [agents for each, agents in self.items() if issubclass(each, kind)]
        if not found:
            raise KeyError(kind)
        return mesa.agent.AgentSet([a for agents in found for a in agents], found[0].random)


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
        found: F64 = self.values[:, self.names.index(name)]
        return found

    def serotonin_nM(self, place: str) -> F64:
        """Free serotonin at ``terminal`` or ``soma``, nM."""
        found: F64 = self[f"{place}_free"] / self.parameters.places[_place(place)].molecules_per_nM
        return found

    def occupancy(self, place: str) -> F64:
        """Share of transporters there that the drug holds, 0 to 1; nan without transporters."""
        sites = self.sites[_place(place)]
        found: F64 = self[f"{place}_blocked"] / (sites or math.nan)
        return found


def _place(name: str) -> int:
    if name not in PLACES:
        raise UnknownName("place", name, PLACES)
    return PLACES.index(name)


class NeuronModel(NeuronHost):
    """A serotonin neuron with its terminal and its soma: molecules, sites and itself as agents.

    Parameters
    ----------
    parameters
        The neuron (:func:`synapse_abm.neuron.scenario.neuron`); the default one unless given.
    rng
        Seed, a whole number 0 ... 2**64 - 1; None takes one from the operating system, as in Mesa.
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
        Let :attr:`datacollector` collect after every so many steps; 0 leaves it to the user.
    check_every_step
        Check after every step that nothing was created or lost.
    **changes
        Single parameters of the neuron: ``trains=1``, ``**{"soma.transporters": 1000}``.

    Raises
    ------
    InputError, InputErrors
        For whatever is wrong with all of these, at once.

    ``drug_nM``, ``antagonist_nM``, ``mao``, ``feedback`` and the slow variables of :attr:`neuron`
    can be set at any time, and act from the next step on.
    """

    neuron: Neuron

    def __init__(
        self,
        parameters: par.NeuronParameters | None = None,
        *,
        rng: int | np.random.SeedSequence | None = 0,
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
        collect_every: int = 0,
        check_every_step: bool = False,
        **changes: Any,
    ) -> None:
        faults, address, made = list[InputError](), None, None
        with collected(faults):
            made = changed(parameters, changes)
        with collected(faults):
            address = address_of(rng, replicate)
        faults += ligand_faults("drug", drug, "SERT")
        if antagonist is not None:
            faults += ligand_faults("antagonist", antagonist, "5-HT1A")
        elif antagonist_nM:
            faults.append(
                InputError("antagonist_nM", antagonist_nM, "0, as no antagonist is given")
            )
        with collected(faults):
            choice("reach", reach, REACHES)
        for name, value in (("drug_nM", drug_nM), ("antagonist_nM", antagonist_nM),
                            ("transporters", transporters), ("speed", speed)):  # fmt: skip
            faults += _number(name, value, 0.0)
        faults += [*_number("mao", mao, 1e-6), *_number("dt_s", dt_s, 1e-9)]
        with collected(faults):
            whole_number("collect_every", collect_every, of="steps")
        faults += class_faults(engine, agent_classes, drug, antagonist)
        raise_faults(faults)
        assert made is not None and address is not None
        super().__init__(rng=address.seed)
        self.parameters, self.engine = made, engine
        self.drug, self.antagonist, self.reach, self.feedback = drug, antagonist, reach, feedback
        self.speed, self.collect_every = speed, collect_every
        self.check_every_step = check_every_step
        self._drug_nM, self._antagonist_nM, self._mao = drug_nM, antagonist_nM, mao
        self.simulation = self._simulation(address, baseline, dt_s, transporters)
        ligands = tuple(dict.fromkeys(("serotonin", drug, *([antagonist] if antagonist else []))))
        pairs = [("SERT", "serotonin"), ("SERT", drug), ("5-HT1A", "serotonin")]
        pairs += [("5-HT1A", antagonist)] if antagonist else []
        self.names = Names(("SERT", "5-HT1A"), ligands, tuple(pairs))
        self.slow = dict(zip(SLOW, (1.0, 1.0, 1.0, 0.0, 0.0, 0.0), strict=True))
        self.latest: F64 = np.full(len(COLUMNS), math.nan)
        self._classes = dict(agent_classes or {})
        self._start_views()
        self.act()
        self._stepper = NeuronStepper(self) if engine == "agents" else None

    def _simulation(
        self, address: Address, baseline: Baseline | None, dt_s: float, transporters: float
    ) -> NeuronSimulation:
        parameters = self.parameters
        if baseline is None:
            baseline = calibrate(parameters).baseline
        if math.isnan(baseline.hill):
            baseline = replace(baseline, hill=hill(parameters, 1.0))
        return NeuronSimulation(
            parameters, address.seed, address.replicate, address.place, baseline=baseline,
            inhibitor=at_sert(self.drug), antagonist=at_autoreceptor(self.antagonist),
            dt_s=dt_s, transporters=transporters,
        )  # fmt: skip

    # --- saving -----------------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write a checkpoint (see ``keeping``); the file appears complete or not at all.

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
        collect_every: int = 0,
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
        model = checkpoint.load(Path(path), make)
        model.epoch += 1
        clock.skip(model, model.simulation.steps)
        return model

    # --- what acts --------------------------------------------------------------------------------

    @property
    def drug_nM(self) -> float:
        """Free concentration of the drug beside the transporters, nM."""
        return self._drug_nM

    @drug_nM.setter
    def drug_nM(self, value: float) -> None:
        raise_faults(_number("drug_nM", value, 0.0))
        self._drug_nM = float(value)

    @property
    def antagonist_nM(self) -> float:
        """Concentration of the autoreceptors' other ligand, nM."""
        return self._antagonist_nM

    @antagonist_nM.setter
    def antagonist_nM(self, value: float) -> None:
        faults = _number("antagonist_nM", value, 0.0)
        if self.antagonist is None and value:
            faults.append(InputError("antagonist_nM", value, "0, as the model has no antagonist"))
        raise_faults(faults)
        self._antagonist_nM = float(value)

    @property
    def mao(self) -> float:
        """Share of monoamine oxidase that works."""
        return self._mao

    @mao.setter
    def mao(self, value: float) -> None:
        raise_faults(_number("mao", value, 1e-6))
        self._mao = float(value)

    @property
    def exposure(self) -> Exposure:
        """What acts on the neuron now: concentrations over affinities."""
        simulation = self.simulation
        assert simulation.inhibitor is not None
        doses = Doses(
            simulation.inhibitor, simulation.antagonist, self.reach, simulation.transporters
        )
        return doses.exposure(self.drug_nM, self.antagonist_nM, self.mao)

    def set_slow(self, name: str, value: float) -> None:
        """Set a slow variable; it acts from the next step on."""
        raise_faults(_number(f"neuron.{name}", value, -math.inf))
        self.slow[name] = float(value)

    def act(self) -> None:
        """Bring exposure and slow variables to the molecules."""
        slow = self.slow
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

    # --- agents, made when asked for --------------------------------------------------------------

    def _start_views(self) -> None:
        self.site_numbers = self.simulation.site_numbers
        self.n_sites = sum(map(sum, self.site_numbers))
        self.agent_id_counter = self.n_sites + 2 * (MAX_ENTITY + 2)  # of agents of the user's own
        self.epoch, self._synced, self._registered = 0, -1, -1
        self._molecules: dict[str, dict[int, Molecule]] = {n: {} for n in self.names.ligands}
        self._sites: list[Site] = []
        self.neuron = self._made("neuron", Neuron)

    def _made(self, name: str, stock: type, *given: Any) -> Any:
        """An agent of the user's class for ``name``, or of the pool one."""
        self.making = True
        agent = self._classes.get(name, stock)(self, *given)
        self.making = False
        return agent

    @property
    def agents_by_type(self) -> dict[type, mesa.agent.AgentSet]:
        """Agents by class, our own or that of a synapse: ``agents_by_type[Serotonin]``."""
        return ByType(super().agents_by_type)

    @property
    def index(self) -> Index:
        """Who is where."""
        if self._registered != self.epoch:
            self._index, self._registered = Index(self.simulation.state), self.epoch
        return self._index

    def place_of_site(self, number: int) -> tuple[int, int]:
        """Place of a site, and its number there."""
        first = sum(self.site_numbers[0])
        return (0, number) if number < first else (1, number - first)

    @property
    def sites(self) -> list[Site]:
        """All transporters and receptors: those of the terminal, then those of the soma."""
        if not self._sites:
            stock = {"SERT": NeuronTransporter, "5-HT1A": NeuronReceptor}
            for numbers in self.site_numbers:
                for target, n in zip(stock, numbers, strict=True):
                    for _ in range(n):
                        number = len(self._sites)
                        self._sites.append(self._made(target, stock[target], target, number))
        return self._sites

    def sites_of(self, at: int) -> list[Site]:
        """Sites of a place."""
        first = sum(self.site_numbers[0])
        return self.sites[first:] if at else self.sites[:first]

    def site(self, at: int, number: int) -> Site:
        """A site by its place and number there."""
        return self.sites[number + (sum(self.site_numbers[0]) if at else 0)]

    def molecule(self, ligand: str, number: int) -> Molecule:
        """The view of a molecule that is there."""
        views = self._molecules[ligand]
        if number not in views:
            stock = NeuronSerotonin if ligand == "serotonin" else NeuronDrug
            views[number] = self._made(ligand, stock, ligand, number)
        return views[number]

    def forget(self, ligand: str, number: int) -> None:
        """Take a molecule that has left out of Mesa's books."""
        view = self._molecules[ligand].pop(number, None)
        if view is not None:
            mesa.Agent.remove(view)

    def take_out(self, molecule: Molecule) -> None:
        """A free serotonin molecule leaves because a user says so; it counts as lost."""
        place, _, m = self.index.serotonin[molecule.id]
        self.index.take(place, L_FREE, m)
        self.simulation.state.events[place, C_LOSE] += 1
        self.forget("serotonin", molecule.id)

    def _sync(self) -> None:
        """Bring the views up to date with the state."""
        if self._synced == self.epoch:
            return
        self._synced = self.epoch
        _ = self.sites
        index = self.index
        drugs = {self.drug: dict[int, Any](), self.antagonist: dict[int, Any]()}
        for number, at in index.drugs.items():
            drugs[self.drug if at[1] == L_BLOCKED else self.antagonist][number] = at
        for name in self.names.ligands:
            there = index.serotonin if name == "serotonin" else drugs[name]
            views = self._molecules[name]
            for number in views.keys() - there.keys():
                self.forget(name, number)
            for number in sorted(there.keys() - views.keys()):
                self.molecule(name, number)

    # --- time -------------------------------------------------------------------------------------

    def step(self) -> None:
        """One step of ``dt_s``: molecules first, then what their averages do to the days."""
        self.act()
        if self._stepper is None:
            self.latest = self.simulation.run(1)[0]
        else:
            self.latest = self._stepper.step()
        self.epoch += 1
        if self.check_every_step:
            self.simulation.check()
        self._days_pass()
        if self.collect_every and self.simulation.steps % self.collect_every == 0:
            self.datacollector.collect(self)

    def _days_pass(self) -> None:
        parameters, read = self.parameters, dict(zip(COLUMNS, self.latest.tolist(), strict=True))
        inputs = slow_inputs(parameters, self.simulation.baseline, read)
        slow = np.array(list(self.slow.values()))
        moved = advanced(parameters, slow, inputs, self.simulation.dt_s * self.speed)
        self.slow = dict(zip(SLOW, moved.tolist(), strict=True))

    def run(self, steps: int, collector: Any = None) -> NeuronSeries:
        """Advance by ``steps`` steps and record them; a ``collector`` collects after each.

        Events that wait on Mesa's schedule come in time.

        Raises
        ------
        InputError
            If ``steps`` is no whole number >= 0.
        """
        steps = whole_number("steps", steps, of="steps")
        seconds, values = np.zeros(steps), np.zeros((steps, len(NeuronSeries.names)))
        for i in range(steps):
            self.run_for(1)
            seconds[i], values[i] = self.seconds, [*self.latest, *self.slow.values()]
            if collector is not None:
                collector.collect(self)
        sites = self.site_numbers
        return NeuronSeries(self.parameters, (sites[0][0], sites[1][0]), seconds, values)

    def _standard_collector(self) -> StandardCollector:
        """Time, rate, serotonin, occupancies, and the slow variables."""
        found = {name: partial(_read, name=name) for name in ("seconds", "days", "rate_Hz")}
        for place in PLACES:
            for what in ("serotonin_nM", "occupancy"):
                found[f"{place}_{what}"] = partial(_read_place, place=place, what=what)
        found["receptor_occupancy"] = partial(_read_place, place="soma", what="receptor_occupancy")
        found |= {name: partial(_read, name=name) for name in SLOW}
        return StandardCollector(found)


def _read(model: NeuronModel, name: str) -> float:
    found: float = getattr(model if name in ("seconds", "days") else model.neuron, name)
    return found


def _read_place(model: NeuronModel, place: str, what: str) -> float:
    found: float = getattr(getattr(model.neuron, place), what)
    return found


def changed(
    parameters: par.NeuronParameters | None, changes: Mapping[str, Any]
) -> par.NeuronParameters:
    """A neuron with single values changed: ``{"trains": 1, "soma.transporters": 1000}``.

    Raises
    ------
    InputError, InputErrors
        For whatever is wrong with them, at once.
    """
    given: dict[str, Any] = {} if parameters is None else parameters.model_dump()
    for name, value in changes.items():
        place, dot, field = name.partition(".")
        if dot and place in PLACES:
            given[place] = {**(given.get(place) or {}), field: value}
        elif name in PLACES and isinstance(value, Mapping):
            given[name] = {**(given.get(name) or {}), **value}
        else:
            given[name] = value
    return par.neuron(**given)


def _number(name: str, value: Any, least: float) -> list[InputError]:
    """That a value is no number, or too small."""
    real = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if real and math.isfinite(value) and value >= least:
        return []
    limit = f" >= {least:g}" if math.isfinite(least) else ""
    return [InputError(name, value, f"a number{limit}")]


def class_faults(
    engine: object, agent_classes: object, drug: str, antagonist: str | None
) -> list[InputError]:
    """What is wrong with ``engine`` and ``agent_classes``."""
    faults, changes = list[InputError](), list[str]()
    if engine not in ("compiled", "agents"):
        faults.append(InputError("engine", engine, "'compiled' or 'agents'"))
    stock = {
        "neuron": Neuron, "serotonin": NeuronSerotonin, "SERT": NeuronTransporter,
        "5-HT1A": NeuronReceptor, drug: NeuronDrug,
    }  # fmt: skip
    stock |= {antagonist: NeuronDrug} if antagonist else {}
    if agent_classes is not None and not isinstance(agent_classes, Mapping):
        allowed = "classes by name, {'SERT': Cooperative}"
        return [*faults, InputError("agent_classes", agent_classes, allowed)]
    for name, kind in dict(agent_classes or {}).items():
        if name not in stock:
            faults.append(UnknownName("a name in agent_classes", str(name), list(stock)))
        elif not isinstance(kind, type) or not issubclass(kind, stock[name]):
            allowed = f"a class derived from {stock[name].__name__}"
            faults.append(InputError(f"agent_classes[{name!r}]", kind, allowed))
        else:
            rules = RULES[stock[name]]
            changes += [f"{kind.__name__}.{x}()" for x in overridden(kind, stock[name], rules)]
    if changes and engine == "compiled":
        allowed = f"'agents', the only engine that asks {', '.join(changes)}"
        faults.append(InputError("engine", engine, allowed, "give engine='agents'"))
    return faults
