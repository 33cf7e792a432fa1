"""Sets of agents that are views: made when somebody looks at one, not when they are counted.

This module relies on Mesa 3.5's name for the inside of its sets (``_agents``); the tests notice if
Mesa changes it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import mesa
from mesa.agentset import _HardKeyAgentSet


class ViewHost(Protocol):
    """A model whose agents are views of a state."""

    random: Any

    def registered(self, kind: type | None) -> dict[Any, None]:
        """Agents of a class, or all, brought up to date, in the order of their ids."""

    def count(self, kind: type | None) -> int:
        """How many agents of a class there are, or in all, without making any."""

    def column(self, kind: type, name: str) -> list[Any] | None:
        """An attribute of all agents of a class, in the order of :meth:`registered`, without making
        any; None if only the agents can tell.
        """


class ViewSet(_HardKeyAgentSet[Any]):  # type: ignore[misc]
    """The agents of one class of a model, or all (no class), as they are whenever it is asked."""

    _model: ViewHost
    _kind: type | None = None
    _in_place: dict[Any, None] | None = None

    @classmethod
    def of(cls, model: ViewHost, kind: type | None) -> ViewSet:
        """The set of a class, or of all."""
        agents = cls.__new__(cls)  # Mesa's ``__init__`` makes a set of given agents
        agents._model, agents._kind, agents.random = model, kind, model.random
        return agents

    @property
    def _agents(self) -> dict[Any, None]:
        return self._model.registered(self._kind) if self._in_place is None else self._in_place

    @_agents.setter
    def _agents(self, agents: dict[Any, None]) -> None:
        """Those that Mesa has selected, sorted or shuffled: from now on only they."""
        self._in_place = agents

    def __len__(self) -> int:
        return self._model.count(self._kind) if self._in_place is None else len(self._in_place)

    def get(self, attr_names: Any, handle_missing: Any = "error", default_value: Any = None) -> Any:
        """An attribute of each agent, or several, as Mesa's sets give them."""
        plain = isinstance(attr_names, str) and self._kind is not None and self._in_place is None
        values = self._model.column(self._kind, attr_names) if plain and self._kind else None
        if values is not None:
            return values
        return super().get(attr_names, handle_missing, default_value)


class ByType(dict[type, Any]):
    """Agents by class; asked for a base class of views (Transporter), those derived from it."""

    def __init__(self, model: ViewHost, views: Iterable[type], own: dict[type, Any]) -> None:
        self._model, self._views = model, tuple(views)
        there = {kind: ViewSet.of(model, kind) for kind in self._views if model.count(kind)}
        super().__init__(there | own)

    def __missing__(self, kind: type) -> Any:
        derived = [own for own in self._views if issubclass(own, kind)]
        if not derived:
            raise KeyError(kind)
        if len(derived) == 1:
            return ViewSet.of(self._model, derived[0])
        agents = [agent for own in derived for agent in self._model.registered(own)]
        return mesa.agent.AgentSet(agents, self._model.random)

    def __contains__(self, kind: object) -> bool:
        if super().__contains__(kind):
            return True
        return isinstance(kind, type) and any(
            issubclass(own, kind) and super(ByType, self).__contains__(own) for own in self._views
        )

    def get(self, kind: type, default: Any = None) -> Any:
        """Agents of a class; ``default`` if there are none."""
        return self[kind] if kind in self else default  # noqa: SIM401 (this is get)
