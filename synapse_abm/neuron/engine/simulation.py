"""A neuron with its two places on the compiled engine: molecules and sites, spike by spike."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from synapse_abm.core import rng
from synapse_abm.core.address import Address
from synapse_abm.core.arithmetic import raised, rounded
from synapse_abm.core.units import pair_rate_per_s
from synapse_abm.neuron.engine import kernels as compiled_kernels
from synapse_abm.neuron.engine import layout as lay
from synapse_abm.neuron.scenario import (
    MEAN_FIELD,
    NO_DRUG,
    PLACES,
    Baseline,
    Drug,
    Exposure,
    NeuronParameters,
    bound_at_rest,
)
from synapse_abm.synapse.engine.layout import F64

#: What is recorded: means over a step of free serotonin (molecules), pool, transporters with
#: serotonin and with the drug, receptors with serotonin, at the terminal and at the soma; activated
#: receptors; the slow right-hand sides; rate; and spikes, a number.
COLUMNS = (
    *(f"{place}_{what}" for place in ("terminal", "soma")
      for what in ("free", "pool", "bound", "blocked", "receptors")),
    "activated", "sensitivity_target", "hill", "postsynaptic_target", "rate_Hz", "spikes",
)  # fmt: skip


def in_units(
    neuron: NeuronParameters,
    own: Mapping[str, float],
    excess: float,
    response: F64,
    transporters: float,
) -> dict[str, float]:
    """Averages of a record in units, with what an excess of spikes explains taken out.

    Parameters
    ----------
    neuron
        What it is made of.
    own
        Averages over the record of all :data:`COLUMNS`, by name.
    excess
        Average of spikes less the integral of their rate, a martingale of mean zero.
    response : ndarray, shape (5,)
        What one spike adds to rate, serotonin and pools (``meanfield.response_at``); known before
        the record, so it brings no bias.
    transporters
        SERT number as a share of the wild type's.

    Returns
    -------
    dict
        rate_Hz; serotonin (``_nM``), pool (molecules) and occupancy of SERT by the drug at both
        places; and receptor_occupancy, of receptors with serotonin, as recorded.
    """
    # A control variate: its expectation is zero, so subtracting it biases nothing, and it takes out
    # what chance in the number of spikes alone brings about.
    rate, *serotonin, nt, ns = (response * excess).tolist()
    averages = {"rate_Hz": own["rate_Hz"] - rate}
    explained = zip(PLACES, neuron.places, serotonin, (nt, ns), strict=True)
    for name, place, free, pool in explained:
        # A knock-out has no transporters; its occupancy then reads 0.
        sites = max(round(place.transporters * transporters), 1)
        averages[f"{name}_nM"] = own[f"{name}_free"] / place.molecules_per_nM - free
        averages[f"{name}_pool"] = own[f"{name}_pool"] - pool
        averages[f"{name}_occupancy"] = own[f"{name}_blocked"] / sites
    return averages | {"receptor_occupancy": own["soma_receptors"] / neuron.receptors}


#: Largest constant that is read, in its own unit, and most events per second of simulated time (a
#: neuron has about 4e3): compiled code is not interrupted within a step, so with more than that it
#: would hang.
MOST_RATE, MOST_EVENTS_PER_S = 1e12, 1e8


class NeuronEngine(ABC):
    """One neuron, from its baseline at time 0: what well-mixed places and grids have in common.

    Well-mixed places are exact; grids add where molecules are. Rates, drugs, records and slow
    variables are the same, so that a difference between the two is one of space.

    Parameters
    ----------
    neuron
        What it is made of.
    seed, replicate, place
        Address of its random numbers (see ``rng``).
    baseline
        What was calibrated (``baseline.calibrate``); mean-field values unless given.
    inhibitor, antagonist
        The drug at SERT and the ligand at 5-HT1A whose concentrations an exposure sets.
    dt_s
        Length of a record; results do not depend on it in law.
    transporters
        SERT number as a share of the wild type's.
    """

    _kernels: ModuleType
    inner = 1  # steps of a record

    def __init__(
        self,
        neuron: NeuronParameters,
        seed: int = 0,
        replicate: int = 0,
        place: int = 0,
        *,
        baseline: Baseline = MEAN_FIELD,
        inhibitor: Drug | None = None,
        antagonist: Drug | None = None,
        dt_s: float = 1.0,
        transporters: float = 1.0,
        kernels: ModuleType | None = None,
    ) -> None:
        self.neuron, self.address, self.dt_s = neuron, Address(seed, replicate, place), dt_s
        self.baseline, self.transporters = baseline, transporters
        self.inhibitor, self.antagonist = inhibitor, antagonist
        if kernels is not None:  # a planted bug; modules cannot be pickled, so not by default
            self._kernels = kernels
        self.free = neuron.free
        self.state: Any = self._first_state()
        # Molecules at time 0, from which ``check`` draws up the balance.
        self.born = int(self.state.meta[lay.M_NEXT_ID])
        self.set(NO_DRUG)

    @abstractmethod
    def _first_state(self) -> Any:
        """The mean-field baseline, rounded, as arrays."""

    def set(
        self,
        exposure: Exposure,
        sensitivity: float = 1.0,
        drive: float = 1.0,
        postsynaptic: float = 1.0,
    ) -> None:
        """What acts from now on, and the slow variables: to eight digits (``core.arithmetic``)."""
        # Eight digits: beyond them the exponentials that led here depend on the processor, and a
        # trajectory would amplify any difference.
        neuron, b, exposure = self.neuron, self.baseline, exposure.rounded()
        sensitivity, drive, postsynaptic = map(rounded, (sensitivity, drive, postsynaptic))
        inhibitions, contents, syntheses = exposure.inhibitions, b.contents, b.syntheses
        p = self.state.numbers
        for at, place in enumerate(neuron.places):
            r, free, v = self.state.rates[at], self.free[at], place.volume_um3
            r[lay.C_UNBIND], r[lay.C_TRANSPORT] = neuron.sert.koff, neuron.sert.kcat_per_s
            # k_on per nM becomes the rate of one molecule and one site in this volume.
            r[lay.C_BIND] = pair_rate_per_s(neuron.sert.kon, v)
            if self.inhibitor is not None:  # k_on C = k_off C/Kd: an exposure is in units of Kd
                r[lay.C_UNBLOCK] = self.inhibitor.kinetics.koff
                r[lay.C_BLOCK] = self.inhibitor.kinetics.koff * inhibitions[at]
            r[lay.C_LOSE] = free.loss_per_s
            r[lay.C_DEGRADE] = place.mao_per_s * exposure.mao
            r[lay.C_SYNTHESISE] = free.synthesis_per_s * syntheses[at]
            r[lay.C_LEAK] = free.leak_per_s * contents[at]
            # The neuron's content is that of all trains together; each spike of one train has its
            # part of it.
            p[lay.P_CONTENT + at] = free.quantal_content * contents[at] / neuron.spike_trains
            p[lay.P_POOL + at] = free.pool
        soma = self.state.rates[1]  # where the autoreceptors are
        soma[lay.C_R_UNBIND] = neuron.receptor.koff
        soma[lay.C_R_BIND] = pair_rate_per_s(neuron.receptor.kon, neuron.soma.volume_um3)
        if self.antagonist is not None:
            soma[lay.C_R_UNBLOCK] = self.antagonist.kinetics.koff
            soma[lay.C_R_BLOCK] = self.antagonist.kinetics.koff * exposure.antagonist
        p[lay.P_TRAINS], p[lay.P_RELAXATION] = neuron.spike_trains, neuron.relaxation_s
        # Feedback divides this by 1 + g at rest (P_FEEDBACK x P_RESTING = g), which leaves rate_Hz.
        p[lay.P_TOP] = neuron.rate_Hz * (1 + neuron.feedback_strength) * b.drive * drive
        p[lay.P_RESTING] = neuron.resting_occupancy * neuron.receptors
        p[lay.P_FEEDBACK] = neuron.feedback_strength * sensitivity / p[lay.P_RESTING]
        p[lay.P_EFFICACY] = exposure.efficacy
        p[lay.P_DESENSITISATION] = neuron.desensitisation_strength
        p[lay.P_FOLD] = 1 / (neuron.terminal.serotonin_nM * neuron.terminal.molecules_per_nM)
        p[lay.P_POSTSYNAPTIC], p[lay.P_POWER] = postsynaptic, neuron.power
        p[lay.P_THRESHOLD_POWER] = raised(neuron.threshold, neuron.power)
        p[lay.P_POSTSYNAPTIC_STRENGTH] = neuron.postsynaptic_strength

    def block(self, exposure: Exposure) -> None:
        """Bring drugs to their sites at once, each drawn on its own, as if they had been there for
        long.

        Exact for sites that hold no serotonin; the rest settles within seconds. A shortcut for the
        start of a window only.
        """
        exposure = exposure.rounded()
        for at, inhibition in enumerate(exposure.inhibitions):
            self._block(at, 0, inhibition)
        if self.antagonist is not None:
            self._block(1, 1, exposure.antagonist)

    @abstractmethod
    def _block(self, at: int, target: int, ratio: float) -> None:
        """Draw which of a place's sites without serotonin (``target`` 0: SERT, 1: 5-HT1A) hold
        their drug; ``ratio`` is its concentration over Kd.
        """

    def _draws(self, place: int, step: int, entity: int, n: int) -> F64:
        """``n`` uniform numbers for where things are, of an address that no step uses."""
        a = self.address
        words = rng.entity_words(
            a.seed, a.replicate, place, rng.Stream.PLACE_SITES, step, entity, n
        )
        return rng.uniforms(words)

    @property
    def steps(self) -> int:
        """Records completed."""
        return int(self.state.meta[lay.M_STEP]) // self.inner

    @property
    def seconds(self) -> float:
        """Time since the start, s."""
        return self.steps * self.dt_s

    def run(self, steps: int) -> F64:
        """Advance by ``steps`` records of ``dt_s``; means over each, shape (steps, len(COLUMNS)).

        Raises
        ------
        AddressError
            If there are no more numbers for new molecules.
        """
        # A number in 2**24 is left: no run that is given in one call makes as many molecules.
        if self._numbers_used() > rng.MAX_ENTITY - 2**24:
            raise rng.AddressError(
                "molecule numbers are used up; start a new run with another seed"
            )
        record, done = np.zeros((steps, lay.INTEGRALS)), 0
        while done < steps:
            with np.errstate(over="ignore"):  # wrap-around is meant, where the compiler is off
                done += self._advance(record[done:])
            if self.state.meta[lay.M_FULL]:
                self._make_room()
        record[:, : lay.I_SPIKES] /= self.dt_s  # integrals; spikes are counted
        return record

    @abstractmethod
    def _numbers_used(self) -> int:
        """How many numbers of molecules have been given."""

    @abstractmethod
    def _advance(self, record: F64) -> int:
        """Fill a record as far as there is room for molecules; how many rows are complete."""

    @abstractmethod
    def _make_room(self) -> None:
        """More room for molecules, where the kernels asked for it."""

    @abstractmethod
    def checkpoint(self) -> dict[str, npt.NDArray[Any]]:
        """Copies of all that changes, by name, for :meth:`restore`."""

    @abstractmethod
    def restore(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take up what :meth:`checkpoint` gave, and own it from now on."""

    @abstractmethod
    def check(self) -> None:
        """That nothing was created or lost, and that every array agrees; ValueError otherwise."""

    def check_read(self) -> None:
        """The same of a state from a file, which may be anybody's; and that a step of it ends.

        Raises
        ------
        InvariantError, ValueError
            Says what cannot be.
        """
        for name in {"rate", "rates", "numbers", "pool"} & set(self.state._fields):
            array = getattr(self.state, name)
            if not (np.abs(array) <= MOST_RATE).all():  # not (nan <= x) either
                raise ValueError(f"{name} holds a number beyond {MOST_RATE:g}, or none")
            if name != "numbers" and (array < 0).any():
                raise ValueError(f"{name} is below 0")
        if (self.state.meta < 0).any() or self.steps > rng.MAX_STEP or self.state.meta[lay.M_FULL]:
            raise ValueError(f"counters {self.state.meta.tolist()}")
        self.check()

    @property
    @abstractmethod
    def pools(self) -> npt.NDArray[np.int64]:
        """Molecules inside the terminal and the soma."""

    def vesicular(self, at: int) -> int:
        """How many of the molecules inside place ``at`` are in vesicles (``kernels.vesicular``)."""
        n, rest = float(self.pools[at]), float(self.state.numbers[lay.P_POOL + at])
        return int(n * rest / (rest + n))


def unused(neuron: NeuronParameters, molecules: int) -> dict[str, Any]:
    """The parts of a new state that count from nothing, and what :meth:`NeuronEngine.set` fills."""
    return {
        "events": np.zeros((2, lay.CHANNELS + 1), dtype=np.int64),
        "meta": np.array([0, molecules, 0, 0, 0], dtype=np.int64),
        "rate": np.array([neuron.rate_Hz]),
        "rates": np.zeros((2, lay.CHANNELS)),
        "numbers": np.zeros(lay.NUMBERS),
    }


class NeuronSimulation(NeuronEngine):
    """One neuron with well-mixed places: see :class:`NeuronEngine`."""

    state: lay.NeuronState
    _kernels = compiled_kernels

    # --- building ---------------------------------------------------------------------------------

    def _first_state(self) -> lay.NeuronState:
        """The mean-field baseline, rounded; sites that hold serotonin are the first ones."""
        neuron = self.neuron
        counts = np.zeros((2, lay.LISTS), dtype=np.int64)
        for at, place in enumerate(neuron.places):
            sites = round(place.transporters * self.transporters), (0, neuron.receptors)[at]
            bound = bound_at_rest(neuron, at, self.transporters)
            counts[at] = (
                round(place.serotonin_nM * place.molecules_per_nM), round(self.free[at].pool),
                sites[0] - bound[0], bound[0], 0, sites[1] - bound[1], bound[1], 0,
            )  # fmt: skip
        sites_of = int(counts[:, lay.L_OPEN :].sum(axis=1).max())
        # Serotonin may double before a list must grow; a list of sites never grows.
        room = max(int(2 * counts[:, [lay.L_FREE, lay.L_POOL]].sum(axis=1).max() + 1024), sites_of)
        members = np.zeros((2, lay.LISTS, room), dtype=np.uint32)
        occupants = np.zeros((2, sites_of), np.uint32)
        number = 0
        for at, n in enumerate(counts.tolist()):
            for kind in (lay.L_FREE, lay.L_POOL):
                members[at, kind, : n[kind]] = np.arange(number, number + n[kind])
                number += n[kind]
            # Sites are numbered through a place: transporters, then receptors; those with serotonin
            # first.
            first = 0
            for kind in (lay.L_BOUND, lay.L_OPEN, lay.L_R_SEROTONIN, lay.L_R_OPEN):
                members[at, kind, : n[kind]] = np.arange(first, first + n[kind])
                if kind in lay.WITH_SEROTONIN:
                    occupants[at, first : first + n[kind]] = np.arange(number, number + n[kind])
                    number += n[kind]
                first += n[kind]
        return lay.NeuronState(counts, members, occupants, **unused(neuron, number))

    def _block(self, at: int, target: int, ratio: float) -> None:
        lists = ((lay.L_OPEN, lay.L_BLOCKED), (lay.L_R_OPEN, lay.L_R_ANTAGONIST))
        (empty, full), n, m = lists[target], self.state.counts[at], self.state.members[at]
        # Sites that hold serotonin stay out of it: the two ligands' competition for them is left to
        # time.
        sites = np.concatenate([m[empty, : n[empty]], m[full, : n[full]]])
        draws = self._draws(self.address.place, self.steps, at + target, sites.size)
        # The occupancy of a ligand that is alone; a draw for every site gives it its binomial
        # noise.
        taken = draws < ratio / (1 + ratio)
        for kind, group in ((full, sites[taken]), (empty, sites[~taken])):
            m[kind, : group.size] = group
            n[kind] = group.size
        first = int(self.state.meta[lay.M_NEXT_DRUG])
        self.state.occupants[at, sites[taken]] = np.arange(first, first + n[full])
        self.state.meta[lay.M_NEXT_DRUG] += n[full]

    # --- running ----------------------------------------------------------------------------------

    def _numbers_used(self) -> int:
        return int(self.state.meta[[lay.M_NEXT_ID, lay.M_NEXT_DRUG]].max())

    def _advance(self, record: F64) -> int:
        a = self.address
        key0, key1 = rng.key_words(a.seed)
        origin = np.uint32(rng.counter_high(a.replicate, a.place, 0, 0)[1])
        plan = lay.Plan(np.uint32(key0), np.uint32(key1), origin, self.dt_s)
        done: int = self._kernels.advance(plan, self.state, _scratch(), record, len(record))
        return done

    def _make_room(self) -> None:
        if self.state.meta[lay.M_FULL] > 1:  # pragma: no cover - twenty-three orders unlikely
            raise MemoryError("a step brought more molecules than can be")
        self.room_for(self.state.members.shape[2])

    @property
    def pools(self) -> npt.NDArray[np.int64]:
        """Molecules inside the terminal and the soma."""
        return self.state.counts[:, lay.L_POOL]

    def make_room(self) -> None:
        """Room in the lists for all that one step may bring, as ``advance`` asks for it."""
        n, made = self.state.counts, self.state.rates[:, lay.C_SYNTHESISE] * self.dt_s
        kinds = [lay.L_FREE, lay.L_POOL, lay.L_BOUND, lay.L_R_SEROTONIN]
        self.room_for(float((n[:, kinds].sum(axis=1) + made + 10 * np.sqrt(made) + 64).max()))

    def room_for(self, most: float) -> None:
        """Room for lists of more than ``most``: doubled, so that growing takes few copies."""
        while most >= (room := self.state.members.shape[2]):
            members = np.pad(self.state.members, ((0, 0), (0, 0), (0, room)))
            self.state = self.state._replace(members=members)
        self.state.meta[lay.M_FULL] = 0

    @property
    def site_numbers(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Transporters and receptors of the terminal, and of the soma; numbered in this order."""
        kinds = slice(lay.L_OPEN, lay.L_R_OPEN), slice(lay.L_R_OPEN, lay.LISTS)
        terminal, soma = ([int(n[kind].sum()) for kind in kinds] for n in self.state.counts)
        return (terminal[0], terminal[1]), (soma[0], soma[1])

    # --- saving -----------------------------------------------------------------------------------

    def checkpoint(self) -> dict[str, npt.NDArray[Any]]:
        """Copies of all that changes; of the lists, ``listed``, no more than is filled: a window
        of a course puts its state aside before it begins, and the room is mostly empty.
        """
        s = self.state
        listed = [
            m[: int(n)] for m, n in zip(s.members.reshape(-1, s.members.shape[2]),
                                        s.counts.ravel(), strict=True)
        ]  # fmt: skip
        arrays = {name: a.copy() for name, a in s._asdict().items() if name != "members"}
        return arrays | {"listed": np.concatenate(listed)}

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take up what :meth:`checkpoint` gave; it may come from a file, which may be anybody's.

        Raises
        ------
        ValueError
            If its lists are not as long as it says; :meth:`check_read` looks at the rest.
        """
        counts = arrays["counts"]
        if (counts < 0).any() or counts.sum() != arrays["listed"].size:
            raise ValueError("its lists are not as long as it says")
        self.room_for(counts.max())
        for i, members in enumerate(np.split(arrays["listed"], np.cumsum(counts.ravel())[:-1])):
            self.state.members[*divmod(i, lay.LISTS), : members.size] = members
        own = {name: array for name, array in arrays.items() if name != "listed"}
        self.state = self.state._replace(**own)

    # --- checking ---------------------------------------------------------------------------------

    def events_per_s(self) -> float:
        """Rate of all events in the present state, spikes among them, per s."""
        scratch, state, kernels = _scratch(), self.state, self._kernels
        for place in range(2):
            kernels.update_propensities(state, scratch, place)
        target = kernels.target(state.numbers, kernels.activation(state))
        # The clock's bound, not the rate: candidates that are no spikes take time too.
        spikes = max(state.rate[0], target) * state.numbers[lay.P_TRAINS]
        return float(scratch.propensity[:, lay.CHANNELS].sum() + spikes)

    def check_read(self) -> None:
        """The same of a state from a file, which may be anybody's; and that a step of it ends."""
        super().check_read()
        if not (busy := self.events_per_s()) <= MOST_EVENTS_PER_S:
            raise ValueError(
                f"{busy:.3g} events per second, at most {MOST_EVENTS_PER_S:g} are read"
            )

    def check(self) -> None:
        """That nothing was created or lost, and that every list and site agrees.

        Raises
        ------
        ValueError
            If an invariant is broken.
        """
        s, ids, drugs = self.state, list[npt.NDArray[Any]](), list[npt.NDArray[Any]]()
        for at, sites in enumerate(s.counts[:, lay.L_OPEN :].sum(axis=1)):
            n = s.counts[at]
            _require((n >= 0).all(), "counts", n)
            _require(sites <= s.occupants.shape[1], "sites", sites)
            lists = [m[:k] for m, k in zip(s.members[at], n, strict=True)]
            listed = np.concatenate(lists[lay.L_OPEN :])
            _require(np.array_equal(np.sort(listed), np.arange(sites)), "sites", listed)
            ids += [lists[lay.L_FREE], lists[lay.L_POOL]]
            ids += [s.occupants[at, lists[kind]] for kind in lay.WITH_SEROTONIN]
            drugs += [s.occupants[at, lists[kind]] for kind in lay.WITH_DRUG]
        every, bound = np.concatenate(ids), np.concatenate(drugs)
        # A molecule in two lists, or twice in one, makes fewer different numbers than there are
        # entries.
        _require(np.unique(every).size == every.size, "molecules in two places", every.size)
        _require(np.unique(bound).size == bound.size, "drug molecules in two sites", bound.size)
        _require((bound < s.meta[lay.M_NEXT_DRUG]).all(), "numbers of drug molecules", bound)
        made = int(s.events[:, lay.C_SYNTHESISE].sum())
        gone = int(s.events[:, [lay.C_LOSE, lay.C_DEGRADE]].sum())
        _require(every.size == self.born + made - gone, "molecules", every.size)
        _require(int(s.meta[lay.M_NEXT_ID]) == self.born + made, "ids", s.meta[lay.M_NEXT_ID])


def _require(good: object, what: str, counted: object) -> None:
    if not good:
        raise ValueError(f"{what} of the neuron do not agree: {counted}")


def _scratch() -> lay.Scratch:
    return lay.Scratch(
        propensity=np.zeros((2, lay.CHANNELS + 1)),
        since=np.zeros(4),
        draws=np.zeros(2 * lay.CLOCK_BUFFER, dtype=np.uint64),
        wait=np.zeros(lay.CLOCK_BUFFER),
        select=np.zeros(lay.CLOCK_BUFFER),
        release=np.zeros(2 * lay.CLOCK_BUFFER, dtype=np.uint64),
        at=np.zeros(2, dtype=np.int64),
    )
