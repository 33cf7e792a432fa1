"""What a neuron's agents, its reference stepper and its checkpoints ask of their model.

``model.NeuronModel`` is the one that answers; knowing only this, they need not know it.
"""

from __future__ import annotations

from typing import Any

from synapse_abm.core.lazy_model import LazyModel
from synapse_abm.neuron.agents.index import Index
from synapse_abm.neuron.engine.simulation import NeuronSimulation
from synapse_abm.neuron.scenario import NeuronParameters
from synapse_abm.synapse.agents.agents import Molecule, Site
from synapse_abm.synapse.engine.layout import F64


class NeuronHost(LazyModel):
    """A model with the molecules, sites and slow variables of a neuron."""

    parameters: NeuronParameters
    simulation: NeuronSimulation
    neuron: Any  # the agent
    slow: dict[str, float]
    latest: F64
    drug: str
    antagonist: str | None
    reach: str
    feedback: bool
    speed: float
    drug_nM: Any  # numbers, checked when they are set
    antagonist_nM: Any
    mao: Any
    n_sites: int

    @property
    def index(self) -> Index:
        """Who is where."""
        raise NotImplementedError

    def place_of_site(self, number: int) -> tuple[int, int]:
        """Place of a site, and its number there."""
        raise NotImplementedError

    def site(self, at: int, number: int) -> Site:
        """A site by its place and number there."""
        raise NotImplementedError

    def sites_of(self, at: int) -> list[Site]:
        """Sites of a place."""
        raise NotImplementedError

    def molecule(self, ligand: str, number: int) -> Molecule:
        """The view of a molecule that is there."""
        raise NotImplementedError

    def forget(self, ligand: str, number: int) -> None:
        """Take a molecule that has left out of Mesa's books."""
        raise NotImplementedError

    def set_slow(self, name: str, value: float) -> None:
        """Set a slow variable; it acts from the next step on."""
        raise NotImplementedError
