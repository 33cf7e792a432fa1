"""What models share whose agents are views: they are made when somebody asks for them."""

from __future__ import annotations

from typing import Any

import mesa

#: Mesa's numbers of views: sites, molecules and, in a neuron, molecules of drugs count from here.
#: Agents of the user's own count from 1, as in any model of Mesa's.
SITE_IDS, MOLECULE_IDS, DRUG_IDS = 10**9, 2 * 10**9, 10**10


class LazyModel(mesa.Model):  # type: ignore[misc]
    """A Mesa model whose agents show a state that is kept elsewhere."""

    agent_id_counter: int  # Mesa's
    making = False  # views are made by the model alone
    _made = False  # whether what was given has been worked in
    _datacollector: Any = None

    def _sync(self) -> None:
        """Bring the views up to date with the state."""
        raise NotImplementedError

    def _standard_collector(self) -> Any:
        """A collector for whoever sets none."""
        raise NotImplementedError

    def register_agent(self, agent: mesa.Agent) -> None:
        """Enter an agent into Mesa's books; views have numbers of their own."""
        counter = self.agent_id_counter
        super().register_agent(agent)
        if self.making:
            # Or numbers of a user's agents would depend on who was looked at before.
            self.agent_id_counter = counter

    @property
    def agents(self) -> mesa.agent.AgentSet:
        """All agents: views of the state, and agents of the user's own."""
        self._sync()
        return super().agents

    @property
    def agents_by_type(self) -> dict[type, mesa.agent.AgentSet]:
        """Agents by class."""
        self._sync()
        by_type: dict[type, mesa.agent.AgentSet] = super().agents_by_type
        return by_type

    @property
    def agent_types(self) -> list[type]:
        """Classes of agents."""
        self._sync()
        types: list[type] = super().agent_types
        return types

    @property
    def datacollector(self) -> Any:
        """The user's own data collector, or a standard one.

        The standard one collects when it is looked at, at most once at each time, and whenever
        ``collect_every`` says.
        """
        if self._datacollector is None:
            self._datacollector = self._standard_collector()
        # A collector of the user's own collects when the user says.
        if getattr(self._datacollector, "collects_when_looked_at", False):
            self._datacollector.collect(self)
        return self._datacollector

    @datacollector.setter
    def datacollector(self, collector: Any) -> None:
        self._datacollector = collector
