"""What models share whose agents are views: they are made when somebody asks for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import mesa

from synapse_abm.core.collector import StandardCollector
from synapse_abm.core.errors import InputError, UnknownName, nearest_names
from synapse_abm.core.view_sets import ByType, ViewSet

#: Mesa's numbers of views: sites, molecules and, in a neuron, molecules of drugs count from here.
#: Agents of the user's own count from 1, as in any model of Mesa's.
SITE_IDS, MOLECULE_IDS, DRUG_IDS = 10**9, 2 * 10**9, 10**10
#: Attributes that Mesa's users set on a model of whatever kind.
USUAL = ("datacollector", "grid", "random", "rng", "running", "scenario", "space")


class LazyModel(mesa.Model):  # type: ignore[misc]
    """A Mesa model whose agents show a state that is kept elsewhere."""

    agent_id_counter: int  # Mesa's
    making = False  # views are made by the model alone
    _made = False  # whether what was given has been worked in
    _emptied = False  # whether a user has removed all agents
    _datacollector: Any = None
    _noting_records = False  # whether single steps are left out of the standard collector
    collect_every: int | None
    #: What acts on the model when it is set.
    settable: ClassVar[tuple[str, ...]] = ()
    #: What a model is made with and keeps, each with the remedy for who wants another.
    fixed: ClassVar[Mapping[str, str]] = {}

    def __setattr__(self, name: str, value: object) -> None:
        """Set an attribute; one that would be ignored in silence is refused."""
        if self._made and name[0] != "_":
            self._demand_settable(name, value)
        super().__setattr__(name, value)

    def _demand_settable(self, name: str, value: object) -> None:
        kind = type(self)
        if name in self.fixed and getattr(self, name) != value:
            raise InputError(f"model.{name}", value, "what it was made with", self.fixed[name])
        # Not hasattr, which asks Mesa's observable attributes for a value of the class.
        if name in self.__dict__ or any(name in vars(base) for base in kind.__mro__):
            return
        known = [*self.settable, *USUAL]
        what = f"an attribute of {kind.__name__}"
        if "settable" in vars(kind) and name not in known:
            if nearest_names(name, known):
                raise UnknownName(what, name, known)
            fix = "model.change({...}) changes what runs; a class of your own may have any name"
            raise InputError(what, name, f"one of {', '.join(sorted(known))}", fix)
        # A class of the user's own has attributes of its own, and those of Mesa's conventions.
        alike = [x for x in known if x != name and _folded(x) == _folded(name)]
        if alike:
            raise InputError(what, name, f"{alike[0]}, or a name that differs from it by more")

    def _sync(self) -> None:
        """Bring the views up to date with the state."""
        raise NotImplementedError

    def _standard_collector(self) -> StandardCollector:
        """A collector for whoever sets none."""
        raise NotImplementedError

    def noted(self) -> Any:
        """What the standard collector notes of the present state."""
        raise NotImplementedError

    # --- agents -----------------------------------------------------------------------------------

    def view_classes(self) -> list[type]:
        """Classes of which the model makes views."""
        raise NotImplementedError

    def count_views(self, kind: type) -> int:
        """How many views of a class there would be if all were made."""
        raise NotImplementedError

    def column(self, kind: type, name: str) -> list[Any] | None:
        """An attribute of all views of a class, ascending in id; None if only they can tell."""
        raise NotImplementedError

    def registered(self, kind: type | None) -> dict[Any, None]:
        """Agents of a class, or all (None), brought up to date."""
        if not self._emptied:
            self._sync()
        agents = self._all_agents if kind is None else self._agents_by_type.get(kind)
        return {} if agents is None else agents._agents

    def count(self, kind: type | None) -> int:
        """How many agents of a class there are, or in all (None); makes none."""
        if kind is not None:
            return 0 if self._emptied else self.count_views(kind)
        own = sum(len(agents) for agents in self._own_agents().values())
        return own + sum(map(self.count, self.view_classes()))

    def _own_agents(self) -> dict[type, Any]:
        """Agents by class, those of the user's own only."""
        views = set(self.view_classes())
        return {kind: x for kind, x in self._agents_by_type.items() if kind not in views}

    def register_agent(self, agent: mesa.Agent) -> None:
        """Enter an agent into Mesa's books; views have numbers of their own."""
        if self._emptied and self.making:
            return
        counter, number = self.agent_id_counter, agent.unique_id
        super().register_agent(agent)
        if self.making or number is not None:
            # Or numbers of a user's agents would depend on who was looked at before.
            self.agent_id_counter = counter
        if number is not None:
            agent.unique_id = number

    @property
    def agents(self) -> mesa.agent.AgentSet:
        """All agents: views of the state, and agents of the user's own."""
        return ViewSet.of(self, None)

    @property
    def agents_by_type(self) -> dict[type, mesa.agent.AgentSet]:
        """Agents by class, also by a base class: ``agents_by_type[Transporter]``."""
        return ByType(self, self.view_classes(), self._own_agents())

    @property
    def agent_types(self) -> list[type]:
        """Classes of agents."""
        return list(self.agents_by_type)

    def remove_all_agents(self) -> None:
        """Remove all agents, the user's own and ours: the model is done with.

        What is simulated is not taken apart. A model that has molecules or sites takes no step
        after that: it would move what nobody can see.
        """
        for agents in self._own_agents().values():
            for agent in list(agents):
                agent.remove()
        for kind in self.view_classes():
            for agent in list(getattr(self._agents_by_type.get(kind), "_agents", ())):
                mesa.Agent.remove(agent)
        self._emptied = True
        self.data_registry.close()  # as Mesa does

    def _advance_time(self, until: float) -> None:
        # Before Mesa takes the step from its schedule: it would not put it back.
        self._demand_agents()
        super()._advance_time(until)

    def _demand_agents(self) -> None:
        """Raise unless what is simulated is still there for its agents."""
        if self._emptied and any(map(self.count_views, self.view_classes())):
            allowed = "a model whose agents were not all removed, if it is to take a step"
            raise InputError("model", self, allowed, "make a new model")

    # --- collecting -------------------------------------------------------------------------------

    @property
    def datacollector(self) -> Any:
        """The user's own data collector, or a standard one.

        The standard one collects when it is looked at, at most once at each time, and whenever
        ``collect_every`` says.
        """
        if self.own_collector is not None:
            return self.own_collector  # collects when the user says
        collector = self._standard()
        collector.collect(self)
        return collector

    @datacollector.setter
    def datacollector(self, collector: Any) -> None:
        self._datacollector = collector

    @property
    def own_collector(self) -> Any:
        """The user's own data collector, if there is one."""
        standard = isinstance(self._datacollector, StandardCollector)
        return None if standard else self._datacollector

    def _standard(self) -> StandardCollector:
        if self._datacollector is None:
            self._datacollector = self._standard_collector()
        collector: StandardCollector = self._datacollector
        return collector

    @property
    def notes_steps(self) -> bool:
        """Whether the standard collector is in use, and collects at all steps."""
        return self.collect_every is None and self.own_collector is None

    def take_note(self, *, of_record: bool = False) -> None:
        """Let the standard collector note the present state, if it collects at all steps."""
        if self.notes_steps and (of_record or not self._noting_records):
            self._standard().note(self.time, self.noted())

    def take_notes(self, times: Sequence[float], notes: Iterable[Any]) -> None:
        """The same, of states that are past."""
        if self.notes_steps:
            for time, note in zip(times, notes, strict=True):
                self._standard().note(time, note)

    @contextmanager
    def noting_records(self) -> Iterator[None]:
        """Within, :meth:`take_note` is of records alone."""
        before, self._noting_records = self._noting_records, True
        try:
            yield
        finally:
            self._noting_records = before

    def _end_step(self, number: int) -> None:
        """What follows every step: those who observe the agents are told, collectors collect."""
        if self.subscribers:
            self.registered(None)
        if self.collect_every:
            if number % self.collect_every == 0:
                self.datacollector.collect(self)
        else:
            self.take_note()

    def observe(self, observable_name: Any, signal_type: Any, handler: Any) -> None:
        """Subscribe to a signal, as in Mesa; agents that are there already are not added later."""
        self.registered(None)
        super().observe(observable_name, signal_type, handler)


def is_users(kind: type, name: str) -> bool:
    """Whether a class has an attribute from a class of the user's own, or none of that name."""
    owner = next((base for base in kind.__mro__ if name in vars(base)), None)
    return owner is None or not owner.__module__.startswith("synapse_abm.")


def _folded(name: str) -> str:
    return name.casefold().replace("_", "")
