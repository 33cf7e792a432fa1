"""The agents of a neuron: itself, its molecules and its sites, as views of the state.

They are those of a synapse (``agents.views``) in two well-mixed places. Serotonin goes round: from
a ``vesicle`` to the ``cleft``, to a ``transporter`` (or a ``receptor`` and back), to the
``cytosol``, to a vesicle. A drug is a concentration outside; a molecule of it is an agent while it
sits in a site.

What a student may override (agents engine only):

- :meth:`Neuron.target_rate`, the rate that firing relaxes to;
- ``propensity`` of a site or a molecule, as in a synapse. It may depend on what changes by events
  in its own place.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import mesa

from synapse_abm.core.errors import InputError
from synapse_abm.core.lazy_model import DRUG_IDS, MOLECULE_IDS
from synapse_abm.neuron.agents.host import NeuronHost
from synapse_abm.neuron.agents.index import Location
from synapse_abm.neuron.engine import layout as lay
from synapse_abm.neuron.scenario import PLACES
from synapse_abm.synapse.agents import agents as synapse
from synapse_abm.synapse.engine.layout import BIND, EXIT, METABOLISE, TRANSPORT, UNBIND

STATES = ("vesicle", "cleft", "transporter", "receptor", "cytosol", "outside")
#: Who holds the molecules of a list of sites.
_HOLDER = {
    lay.L_BOUND: "transporter", lay.L_BLOCKED: "transporter",
    lay.L_R_SEROTONIN: "receptor", lay.L_R_ANTAGONIST: "receptor",
}  # fmt: skip


class Event(NamedTuple):
    """What a channel is: an event of the members of one list, of serotonin or not."""

    kind: int
    actors: int
    own: bool = True  # serotonin's; otherwise the drug's or the antagonist's


#: Every channel that an agent is asked about. Synthesis and leak belong to a place.
EVENTS = {
    lay.C_UNBIND: Event(UNBIND, lay.L_BOUND),
    lay.C_TRANSPORT: Event(TRANSPORT, lay.L_BOUND),
    lay.C_UNBLOCK: Event(UNBIND, lay.L_BLOCKED, own=False),
    lay.C_BIND: Event(BIND, lay.L_OPEN),
    lay.C_BLOCK: Event(BIND, lay.L_OPEN, own=False),
    lay.C_LOSE: Event(EXIT, lay.L_FREE),
    lay.C_DEGRADE: Event(METABOLISE, lay.L_POOL),
    lay.C_R_UNBIND: Event(UNBIND, lay.L_R_SEROTONIN),
    lay.C_R_UNBLOCK: Event(UNBIND, lay.L_R_ANTAGONIST, own=False),
    lay.C_R_BIND: Event(BIND, lay.L_R_OPEN),
    lay.C_R_BLOCK: Event(BIND, lay.L_R_OPEN, own=False),
}
#: Channels by what they are: at the autoreceptor or not, event, of serotonin or not.
_CHANNELS = {(c >= lay.C_R_UNBIND, event.kind, event.own): c for c, event in EVENTS.items()}


class _WellMixed:
    """Whatever is in a place without cells."""

    @property
    def coordinate(self) -> None:
        """None: places are well mixed."""
        return None

    @property
    def cell(self) -> None:
        """None: places are well mixed."""
        return None

    @cell.setter
    def cell(self, cell: object) -> None:
        raise InputError("cell", cell, "none: the places of a neuron are well mixed")


class _InNeuron(_WellMixed, synapse.Molecule):
    """A molecule in one of two well-mixed places."""

    model: NeuronHost

    listed = "serotonin"  # where in the index its kind is found
    # Ids of serotonin and of drugs each count from 0; Mesa wants them unique.
    first_number = MOLECULE_IDS

    def __init__(self, model: NeuronHost, ligand: str, id: int) -> None:
        super().__init__(model, ligand, id)
        self.unique_id = self.first_number + id

    @property
    def _location(self) -> Location | None:
        """Place, list, and position or site; None once it is gone."""
        location: Location | None = getattr(self.model.index, self.listed).get(self.id)
        return location

    @property
    def place(self) -> str | None:
        """``terminal`` or ``soma``; None once it is gone."""
        at = self._location
        return None if at is None else PLACES[at[0]]

    @property
    def compartment(self) -> str:
        """``free``, ``bound``, ``inside`` or ``outside``."""
        at = self._location
        return (
            "outside"
            if at is None
            else {lay.L_FREE: "free", lay.L_POOL: "inside"}.get(at[1], "bound")
        )

    @property
    def state(self) -> str:
        """Where it is on its way round: one of :data:`STATES`."""
        at = self._location
        if at is None:
            return "outside"
        place, kind, number = at
        # Free in either place is called the cleft, though at the soma there is none: one
        # word for both, as it is taught.
        if kind == lay.L_FREE:
            return "cleft"
        if kind == lay.L_POOL:
            # Vesicles are no objects: so many from the start of the pool's list count as being in
            # them.
            return "vesicle" if number < self.model.simulation.vesicular(place) else "cytosol"
        return _HOLDER[kind]

    @property
    def is_free(self) -> bool:
        """Whether it is in the open."""
        return self.compartment == "free"

    @property
    def is_bound(self) -> bool:
        """Whether it sits in a site."""
        return self.compartment == "bound"

    @property
    def site(self) -> synapse.Site | None:
        """The site it is bound to, if any."""
        at = self._location
        return None if at is None or at[1] not in _HOLDER else self.model.site(at[0], at[2])

    def displacement(self) -> tuple[int, int]:
        """Nowhere: places are well mixed."""
        return 0, 0

    def _demand_step(self) -> None:
        raise synapse.not_by_hand(self)

    def _hop(self, dx: int, dy: int) -> None:
        if dx or dy:
            # The setter refuses it with the reason.
            self.cell = (dx, dy)

    def __repr__(self) -> str:
        where = f" at the {self.place}" if self.place else ""
        return f"<{type(self).__name__} {self.ligand} {self.id}: {self.state}{where}>"


class NeuronSerotonin(_InNeuron, synapse.Serotonin):
    """A serotonin molecule of the terminal or the soma."""

    def propensity(self, event: int) -> float:
        """Rate (1/s) of EXIT, if free (diffusion away and other loss), or METABOLISE, inside."""
        at = self._location
        # Other events happen to it by way of a site, which is asked.
        channel = _CHANNELS.get((False, event, True)) if event in (EXIT, METABOLISE) else None
        if at is None or channel is None:
            return 0.0
        return float(self.model.simulation.state.rates[at[0], channel])


class NeuronDrug(_InNeuron, synapse.Drug):
    """A drug molecule in a site. It comes from a fixed concentration and goes back there."""

    listed, first_number = "drugs", DRUG_IDS

    def propensity(self, event: int) -> float:
        """None: its site is asked."""
        return 0.0


class _NeuronSite(_WellMixed, synapse.Site):  # type: ignore[misc]
    """A site at the terminal or the soma."""

    model: NeuronHost

    def __init__(self, model: NeuronHost, target: str, id: int) -> None:
        super().__init__(model, target, id)
        # Sites never move between places, so this is worked out once.
        self.at, self.number = model.place_of_site(id)

    def __repr__(self) -> str:
        content = f"holds {self.ligand}" if self.is_bound else "empty"
        return f"<{type(self).__name__} {self.target} {self.id}: {content} at the {self.place}>"

    @property
    def place(self) -> str:
        """``terminal`` or ``soma``."""
        return PLACES[self.at]

    @property
    def _list(self) -> int:
        return self.model.index.sites[self.at][self.number]

    @property
    def is_bound(self) -> bool:
        """Whether it is occupied."""
        return self._list in _HOLDER

    @property
    def ligand(self) -> str | None:
        """Name of the ligand that occupies it, if any."""
        # A drug and an antagonist may be one ligand, with sites of both kinds: the list tells
        # which.
        kind = self._list
        if kind in (lay.L_BOUND, lay.L_R_SEROTONIN):
            return "serotonin"
        names = {lay.L_BLOCKED: self.model.drug, lay.L_R_ANTAGONIST: self.model.antagonist}
        return names.get(kind)

    @property
    def molecule(self) -> synapse.Molecule | None:
        """The molecule it holds; None if it is empty."""
        if not self.is_bound:
            return None
        number = int(self.model.simulation.state.occupants[self.at, self.number])
        return self.model.molecule(self.ligand or "", number)

    @property
    def neighbours(self) -> list[synapse.Site]:
        """The other sites of its place."""
        return [site for site in self.model.sites_of(self.at) if site is not self]

    def propensity(self, event: int, ligand: str) -> float:
        """Rate (1/s) of BIND (serotonin's for each free molecule), UNBIND or TRANSPORT."""
        own = ligand == "serotonin"
        channel = _CHANNELS.get((self.target == "5-HT1A", event, own))
        if channel is None:
            return 0.0
        return float(self.model.simulation.state.rates[self.at, channel])


class NeuronTransporter(_NeuronSite, synapse.Transporter):  # type: ignore[misc]
    """A serotonin transporter."""


class NeuronReceptor(_NeuronSite, synapse.Receptor):  # type: ignore[misc]
    """A 5-HT1A autoreceptor."""


class NeuronPlace:
    """The terminal or the soma, as it is now.

    Attributes
    ----------
    name
        ``terminal`` or ``soma``.
    volume_um3
        Its volume.
    """

    def __init__(self, model: NeuronHost, at: int) -> None:
        self._model, self.at, self.name = model, at, PLACES[at]
        self._place = model.parameters.places[at]
        self.volume_um3 = self._place.volume_um3

    def __repr__(self) -> str:
        return f"<{self.name}: {self.serotonin_nM:.3g} nM, {self.pool} molecules inside>"

    def count(self, *kinds: int) -> int:
        """Members of lists of the state."""
        return int(self._model.simulation.state.counts[self.at, list(kinds)].sum())

    @property
    def free(self) -> int:
        """Free serotonin molecules."""
        return self.count(lay.L_FREE)

    @property
    def serotonin_nM(self) -> float:
        """Concentration of free serotonin, nM."""
        return self.free / self._place.molecules_per_nM

    @property
    def pool(self) -> int:
        """Serotonin molecules inside, in vesicles and in the cytosol."""
        return self.count(lay.L_POOL)

    @property
    def vesicular(self) -> int:
        """Those of them that are in vesicles."""
        return self._model.simulation.vesicular(self.at)

    @property
    def occupancy(self) -> float:
        """Share of transporters that the drug holds, 0 to 1; nan without transporters."""
        sites = self.count(lay.L_OPEN, lay.L_BOUND, lay.L_BLOCKED)
        return self.count(lay.L_BLOCKED) / sites if sites else math.nan

    @property
    def receptor_occupancy(self) -> float:
        """Share of autoreceptors that serotonin holds, 0 to 1; nan where there are none."""
        sites = self.count(lay.L_R_OPEN, lay.L_R_SEROTONIN, lay.L_R_ANTAGONIST)
        return self.count(lay.L_R_SEROTONIN) / sites if sites else math.nan

    @property
    def sites(self) -> list[synapse.Site]:
        """Its transporters, then its receptors."""
        return self._model.sites_of(self.at)

    @property
    def agents(self) -> mesa.agent.AgentSet:
        """All molecules and sites that are here."""
        return self._model.agents.select(lambda agent: getattr(agent, "place", None) == self.name)


class Documented:
    """A descriptor that knows its name, with a docstring of its own."""

    def __init__(self, doc: str) -> None:
        self.__doc__ = doc

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name


class _Slow(Documented):
    """A slow variable of the neuron, kept by the model."""

    def __get__(self, neuron: Any, owner: type) -> float:
        if neuron is None:
            return math.nan
        value: float = neuron.model.slow[self.name]
        return value

    def __set__(self, neuron: Neuron, value: float) -> None:
        neuron.model.set_slow(self.name, value)


class Neuron(mesa.Agent):  # type: ignore[misc]
    """The neuron: how fast it fires, and what happens to it over days.

    Attributes
    ----------
    terminal, soma
        Its two places.
    """

    model: NeuronHost
    sensitivity = _Slow("Sensitivity of a bound autoreceptor; 1 at baseline.")
    drive = _Slow("Drive of firing; 1 at baseline.")
    postsynaptic = _Slow("Sensitivity of the target cell to serotonin; 1 at baseline.")
    creb = _Slow("CREB; 0 at baseline, 1 at saturation.")
    bdnf = _Slow("BDNF; 0 at baseline, 1 at saturation.")
    plasticity = _Slow("Plasticity, which is the therapeutic index; 0 at baseline.")

    def __init__(self, model: NeuronHost) -> None:
        synapse.demand_made_by_model(model, type(self), "neuron")
        super().__init__(model)
        self.unique_id = 1
        self.terminal, self.soma = NeuronPlace(model, 0), NeuronPlace(model, 1)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.rate_Hz:.3g} Hz, sensitivity {self.sensitivity:.3g}>"

    @property
    def places(self) -> tuple[NeuronPlace, NeuronPlace]:
        """Terminal and soma."""
        return self.terminal, self.soma

    @property
    def rate_Hz(self) -> float:
        """Rate of firing of each spike train, Hz."""
        return float(self.model.simulation.state.rate[0])

    @property
    def spike_trains(self) -> int:
        """Number of independent spike trains that the places hear."""
        return self.model.parameters.spike_trains

    @property
    def spikes(self) -> int:
        """Spikes of all trains since the start."""
        return int(self.model.simulation.state.meta[lay.M_SPIKES])

    @property
    def activation(self) -> float:
        """Autoreceptors bound, weighted by efficacy: what feeds back on firing."""
        counts, numbers = self.model.simulation.state.counts, self.model.simulation.state.numbers
        # A partial agonist does part of what serotonin does; an antagonist only takes its place.
        antagonist = float(numbers[lay.P_EFFICACY]) * float(counts[1, lay.L_R_ANTAGONIST])
        return float(counts[1, lay.L_R_SEROTONIN]) + antagonist

    def target_rate(self) -> float:
        """The rate (Hz) that firing relaxes to. It may depend on receptors and on ``slow``."""
        numbers = self.model.simulation.state.numbers
        return float(numbers[lay.P_TOP]) / (1.0 + float(numbers[lay.P_FEEDBACK]) * self.activation)

    def remove(self) -> None:
        """A model without its neuron is none."""
        raise InputError(
            "neuron", self, "left where it is", "set model.feedback or drug_nM instead"
        )
