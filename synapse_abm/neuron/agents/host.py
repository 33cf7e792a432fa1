"""A model whose agents are views of a neuron's state: molecules and sites, made when asked for.

``model.NeuronModel`` adds what acts on the neuron, and time. The agents, their reference stepper
and the checkpoints need to know only this.
"""

from __future__ import annotations

from typing import Any

import mesa
import numpy as np

from synapse_abm.core.errors import InputError
from synapse_abm.core.lazy_model import LazyModel
from synapse_abm.neuron.agents.index import Index
from synapse_abm.neuron.changes import History
from synapse_abm.neuron.engine.layout import (
    C_LOSE,
    L_BLOCKED,
    L_BOUND,
    L_FREE,
    L_POOL,
    L_R_ANTAGONIST,
    L_R_SEROTONIN,
)
from synapse_abm.neuron.engine.simulation import NeuronSimulation
from synapse_abm.neuron.scenario import NeuronParameters
from synapse_abm.synapse.agents.agents import Molecule, Site
from synapse_abm.synapse.engine.layout import F64
from synapse_abm.synapse.engine.network import Names

#: Lists whose members are, or hold, molecules of serotonin.
SEROTONIN_IN = [L_FREE, L_POOL, L_BOUND, L_R_SEROTONIN]


class NeuronHost(LazyModel):
    """A model with the molecules, sites and slow variables of a neuron."""

    parameters: NeuronParameters
    simulation: NeuronSimulation
    neuron: Any  # the agent
    slow: dict[str, float]
    latest: F64
    drug: str
    antagonist: str | None
    history: History
    _own_grid: Any = None

    def set_slow(self, name: str, value: float) -> None:
        """Set a slow variable; it acts from the next step on."""
        raise NotImplementedError

    def act(self) -> None:
        """Bring what acts, and the slow variables, to the molecules."""
        raise NotImplementedError

    def _start_views(self, classes: dict[str, type[mesa.Agent]]) -> None:
        """Nothing is made yet but the neuron; ``classes`` are those of agents, by name."""
        self._classes = classes
        ligands = tuple(dict.fromkeys(n for n in ("serotonin", self.drug, self.antagonist) if n))
        pairs = [("SERT", "serotonin"), ("SERT", self.drug), ("5-HT1A", "serotonin")]
        pairs += [("5-HT1A", self.antagonist)] if self.antagonist else []
        self.names = Names(("SERT", "5-HT1A"), ligands, tuple(pairs))
        self.site_numbers = self.simulation.site_numbers
        self.n_sites = sum(map(sum, self.site_numbers))
        # Views and index hold for one epoch: the state between two steps.
        self.epoch, self._synced, self._indexed = 0, -1, -1
        self._molecules: dict[str, dict[int, Molecule]] = {name: {} for name in ligands}
        self._sites: list[Site] = []
        self.neuron = self._new_view("neuron")
        self.agent_id_counter = 2  # of agents of the user's own; the neuron is 1

    def _new_view(self, name: str, *arguments: Any) -> Any:
        """An agent of the class for ``name``."""
        # Agents refuse to be made by anybody else: they would show no molecule of the state.
        self.making = True
        agent = self._classes[name](self, *arguments)
        self.making = False
        return agent

    @property
    def index(self) -> Index:
        """Who is where."""
        if self._indexed != self.epoch:
            self._index, self._indexed = Index(self.simulation.state), self.epoch
        return self._index

    @property
    def _first_of_soma(self) -> int:
        return sum(self.site_numbers[0])

    def place_of_site(self, number: int) -> tuple[int, int]:
        """Place of a site, and its number there."""
        first = self._first_of_soma
        return (0, number) if number < first else (1, number - first)

    @property
    def sites(self) -> list[Site]:
        """All transporters and receptors: those of the terminal, then those of the soma."""
        if not self._sites:
            for numbers in self.site_numbers:
                for target, n in zip(self.names.targets, numbers, strict=True):
                    for _ in range(n):
                        self._sites.append(self._new_view(target, target, len(self._sites)))
        return self._sites

    @property
    def grid(self) -> Any:
        """A grid of the user's own, if one was set: Mesa's viewer draws it.

        Raises
        ------
        InputError
            If none was: the places of a neuron have no cells.
        """
        if self._own_grid is None:
            allowed = "one of your own: the places of a neuron are well mixed, without cells"
            fix = "show plots of model.datacollector's columns, and no renderer"
            raise InputError("model.grid", None, allowed, fix)
        return self._own_grid

    @grid.setter
    def grid(self, grid: object) -> None:
        self._own_grid = grid

    def view_classes(self) -> list[type]:
        """Classes of sites, then of molecules."""
        names = *self.names.targets, *self.names.ligands
        return list(dict.fromkeys(self._classes[name] for name in names))

    def count_views(self, kind: type) -> int:
        """Molecules and sites of a class that there are."""
        counts, classes = self.simulation.state.counts.sum(axis=0), self._classes
        sites = zip(self.names.targets, np.sum(self.site_numbers, axis=0).tolist(), strict=True)
        n: int = sum(number for target, number in sites if classes[target] is kind)
        lists: dict[str | None, list[int]] = {name: [] for name in (*self.names.ligands, None)}
        lists["serotonin"] += SEROTONIN_IN
        # One name for both: a ligand of SERT and of the autoreceptor is one kind of agent.
        lists[self.drug] += [L_BLOCKED]
        lists[self.antagonist] += [L_R_ANTAGONIST]
        for name in self.names.ligands:
            n += int(counts[lists[name]].sum()) if classes[name] is kind else 0
        return n

    def column(self, kind: type, name: str) -> list[Any] | None:
        """None: the agents are asked."""
        return None

    def remove_all_agents(self) -> None:
        """Remove all agents, the neuron too: the model is done with."""
        mesa.Agent.remove(self.neuron)
        super().remove_all_agents()

    def sites_of(self, at: int) -> list[Site]:
        """Sites of a place."""
        return self.sites[self._first_of_soma :] if at else self.sites[: self._first_of_soma]

    def site(self, at: int, number: int) -> Site:
        """A site by its place and number there."""
        return self.sites[number + (self._first_of_soma if at else 0)]

    def molecule(self, ligand: str, number: int) -> Molecule:
        """The view of a molecule that is there."""
        views = self._molecules[ligand]
        if number not in views:
            views[number] = self._new_view(ligand, ligand, number)
        return views[number]

    def forget(self, ligand: str, number: int) -> None:
        """Take a molecule that has left out of Mesa's books."""
        view = self._molecules[ligand].pop(number, None)
        if view is not None:
            # Not ``view.remove()``: that is the user taking a molecule out of the neuron.
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
        # One name for both: a ligand of SERT and of the autoreceptor is one kind of agent.
        there: dict[str | None, set[int]] = {name: set() for name in self.names.ligands}
        there["serotonin"] = set(self.index.serotonin)
        for number, (_, kind, _) in self.index.drugs.items():
            there[self.drug if kind == L_BLOCKED else self.antagonist].add(number)
        for name in self.names.ligands:
            views = self._molecules[name]
            for number in views.keys() - there[name]:
                self.forget(name, number)
            # Sorted: the order of a set depends on its history, and Mesa keeps agents in the order
            # of making.
            for number in sorted(there[name] - views.keys()):
                self.molecule(name, number)
