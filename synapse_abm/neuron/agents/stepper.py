"""The neuron's step in plain Python: the readable account of what ``engine.kernels`` does fast.

Same state, same draws, same order, and therefore the same trajectory, molecule for molecule. Here
the actors are agents: molecules and sites are asked how fast things happen to them, the neuron is
asked for the rate that its firing relaxes to.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from synapse_abm.core.arithmetic import raised, relaxed
from synapse_abm.core.rng import Stream, exponential
from synapse_abm.neuron.agents.agents import (
    EVENTS,
    Neuron,
    NeuronDrug,
    NeuronReceptor,
    NeuronSerotonin,
    NeuronTransporter,
)
from synapse_abm.neuron.agents.host import NeuronHost
from synapse_abm.neuron.engine import layout as lay
from synapse_abm.synapse.agents.place import Draws
from synapse_abm.synapse.agents.stepper import choose, sound
from synapse_abm.synapse.engine.layout import F64

SHIPPED = (NeuronSerotonin, NeuronDrug, NeuronTransporter, NeuronReceptor)


class PlaceStepper:
    """Terminal or soma while the clock runs."""

    def __init__(self, engine: NeuronStepper, at: int) -> None:
        self.engine, self.model, self.at = engine, engine.model, at
        self.index, self.state = engine.model.index, engine.model.simulation.state
        self.since = 0.0
        self.propensities = [self.propensity(c) for c in range(lay.CHANNELS)]

    # Lists of agents.

    def count(self, kind: int) -> int:
        """Members of a list."""
        return int(self.state.counts[self.at, kind])

    def agent(self, kind: int, m: int) -> Any:
        """Member ``m`` of a list as an agent."""
        number = int(self.state.members[self.at, kind, m])
        if kind in (lay.L_FREE, lay.L_POOL):
            return self.model.molecule("serotonin", number)
        return self.model.site(self.at, number)

    def put(self, kind: int, member: int) -> None:
        """Append to a list."""
        self.index.put(self.at, kind, member)

    def take(self, kind: int, m: int) -> int:
        """Remove a member of a list: the last one takes its place."""
        return self.index.take(self.at, kind, m)

    @property
    def vesicular(self) -> int:
        """The first so many of those inside are in vesicles."""
        return self.model.simulation.vesicular(self.at)

    # How fast.

    def update_propensities(self) -> None:
        """Ask everybody anew."""
        self.propensities = [self.propensity(c) for c in range(lay.CHANNELS)]

    @property
    def total(self) -> float:
        """Sum of the propensities, added up in their order."""
        # Not ``sum``, which compensates for rounding (Python 3.12): the compiled engine does not.
        total = 0.0
        for a in self.propensities:
            total += a
        return total

    def rate(self, c: int, actor: Any) -> float:
        """What an agent answers when asked how fast a channel happens to it."""
        event = EVENTS[c]
        if event.actors in (lay.L_FREE, lay.L_POOL):
            rate = actor.propensity(event.kind)
        else:
            rate = actor.propensity(event.kind, self.ligand(c))
        return sound(rate, actor) if self.engine.overridden(actor) else float(rate)

    def ligand(self, c: int) -> str:
        """Name of the ligand of a channel."""
        if EVENTS[c].own:
            return "serotonin"
        return self.model.drug if c < lay.C_R_UNBIND else self.model.antagonist or ""

    def partners(self, c: int) -> int:
        """Molecules that each actor of a channel can choose from."""
        return self.count(lay.L_FREE) if c in (lay.C_BIND, lay.C_R_BIND) else 1

    def actors(self, c: int) -> range:
        """Members of the list that a channel can happen to; monoamine oxidase finds the cytosol."""
        first = self.vesicular if c == lay.C_DEGRADE else 0
        return range(first, self.count(EVENTS[c].actors))

    def crowd(self, c: int) -> float:
        """By how much each actor counts for more, so that all of the pool counts."""
        n = self.count(lay.L_POOL)
        return n / len(self.actors(c)) if c == lay.C_DEGRADE else 1.0

    def propensity(self, c: int) -> float:
        """Rate of the first actor, times how many; a sum if a rule was overridden."""
        if c == lay.C_SYNTHESISE:
            return float(self.state.rates[self.at, c])
        if c == lay.C_LEAK:
            return float(self.state.rates[self.at, c]) if self.count(lay.L_POOL) else 0.0
        kind, n = EVENTS[c].actors, self.partners(c)
        if not self.count(kind) or not n or self.state.rates[self.at, c] == 0.0:
            return 0.0
        # Agents with the shipped rule are all alike here, so the first speaks for all. With a rule
        # of the user's own they may differ, and every one is asked, which is slow.
        first = self.agent(kind, self.actors(c)[0])
        if not self.engine.overridden(first):
            return self.rate(c, first) * float(self.count(kind) * n)
        rates = sum(self.rate(c, self.agent(kind, m)) for m in self.actors(c))
        return rates * self.crowd(c) * n

    def member(self, c: int, rest: float) -> int:
        """Who: member of the list, or free molecule x empty sites + site for binding."""
        kind, n, actors = EVENTS[c].actors, self.partners(c), self.actors(c)
        first = self.agent(kind, actors[0])
        if self.engine.overridden(first):
            weight = n * self.crowd(c)
            rates = [self.rate(c, self.agent(kind, m)) * weight for m in actors]
            m, left = choose(rates, rest)
            # What is left within this actor's rate selects the molecule that it meets.
            which = min(int(left / rates[m] * n), n - 1)
            return which * len(actors) + actors[m]
        if c == lay.C_DEGRADE:
            share = rest / (self.rate(c, first) * float(self.count(kind)))
            return actors[min(int(share * float(len(actors))), len(actors) - 1)]
        return min(int(rest / self.rate(c, first)), len(actors) * n - 1)

    # What happens.

    def fire(self, c: int, rest: float) -> None:
        """Carry out a channel; what is left of the draw selects the member."""
        if c == lay.C_SYNTHESISE:
            self.put(lay.L_POOL, self.engine.new_number(lay.M_NEXT_ID))
        elif c == lay.C_LEAK:
            self.release_one()
        elif c in (lay.C_LOSE, lay.C_DEGRADE):
            number = self.take(EVENTS[c].actors, self.member(c, rest))
            self.model.forget("serotonin", number)
        elif c == lay.C_BIND:
            self.bind(c, lay.L_BOUND, self.member(c, rest))
        elif c == lay.C_R_BIND:
            self.bind(c, lay.L_R_SEROTONIN, self.member(c, rest))
        elif c in (lay.C_BLOCK, lay.C_R_BLOCK):
            site = self.take(EVENTS[c].actors, self.member(c, rest))
            self.state.occupants[self.at, site] = self.engine.new_number(lay.M_NEXT_DRUG)
            self.put(lay.L_BLOCKED if c == lay.C_BLOCK else lay.L_R_ANTAGONIST, site)
        elif c in (lay.C_UNBLOCK, lay.C_R_UNBLOCK):
            self.model.forget(self.ligand(c), self.unbind(c, rest))
        else:
            self.put(lay.L_POOL if c == lay.C_TRANSPORT else lay.L_FREE, self.unbind(c, rest))
        self.state.events[self.at, c] += 1
        self.update_propensities()

    def bind(self, c: int, bound: int, member: int) -> None:
        """A free molecule takes an empty site."""
        n = self.count(EVENTS[c].actors)
        site = self.take(EVENTS[c].actors, member % n)
        self.state.occupants[self.at, site] = self.take(lay.L_FREE, member // n)
        self.put(bound, site)

    def unbind(self, c: int, rest: float) -> int:
        """A site lets go; returns the number of the molecule it held."""
        site = self.take(EVENTS[c].actors, self.member(c, rest))
        self.put(lay.L_OPEN if c < lay.C_R_UNBIND else lay.L_R_OPEN, site)
        return int(self.state.occupants[self.at, site])

    def release_one(self) -> None:
        """A molecule in a vesicle, any, goes free."""
        n = max(self.vesicular, 1)
        self.put(lay.L_FREE, self.take(lay.L_POOL, min(int(self.engine.release_draw() * n), n - 1)))

    def release(self) -> None:
        """The content of a spike leaves, rounded up or down at random."""
        n, numbers = float(self.count(lay.L_POOL)), self.state.numbers
        rest = float(numbers[lay.P_POOL + self.at])
        mean = float(numbers[lay.P_CONTENT + self.at]) * 2.0 * n / (rest + n)
        size = min(int(mean + self.engine.release_draw()), self.count(lay.L_POOL))
        for _ in range(size):
            self.release_one()
        self.state.events[self.at, lay.RELEASED] += size
        self.update_propensities()

    def integrate(self, record: list[float], time: float) -> None:
        """Bring the integrals of this place up to ``time``."""
        d, self.since = time - self.since, time
        kinds = lay.L_FREE, lay.L_POOL, lay.L_BOUND, lay.L_BLOCKED, lay.L_R_SEROTONIN
        for i, kind in enumerate(kinds):
            record[lay.PER_PLACE * self.at + i] += d * float(self.count(kind))


class NeuronStepper:
    """Steps a model's state with agents."""

    def __init__(self, model: NeuronHost) -> None:
        self.model = model
        self._overridden: dict[type, bool] = {}

    def overridden(self, agent: Any) -> bool:
        """Whether the agent's class has a ``propensity`` of its own."""
        kind = type(agent)
        if kind not in self._overridden:
            self._overridden[kind] = all(kind.propensity is not s.propensity for s in SHIPPED)
        return self._overridden[kind]

    def new_number(self, of: int) -> int:
        """A number for a molecule that was never used before."""
        meta = self.model.simulation.state.meta
        meta[of] += 1
        return int(meta[of]) - 1

    def release_draw(self) -> float:
        """Next uniform number of this step's releases."""
        self.released += 1
        return self.draws.number(Stream.SPIKE, int(lay.RELEASE), self.released - 1)

    def target(self) -> float:
        """Rate that firing relaxes to, Hz, as the neuron says."""
        neuron = self.model.neuron
        rate = neuron.target_rate()
        return rate if type(neuron).target_rate is Neuron.target_rate else sound(rate, neuron)

    def step(self) -> F64:
        """Exact stochastic simulation of neuron and places for one step; averages over it."""
        simulation = self.model.simulation
        simulation.make_room()
        state, dt = simulation.state, simulation.dt_s
        self.draws = Draws(simulation.address, simulation.steps, 0)
        self.released = 0
        self.since_drive = self.since_rate = 0.0
        self.record = [0.0] * lay.INTEGRALS
        # Made anew: between steps a user may have taken molecules out or changed what a rule
        # depends on.
        self.places = PlaceStepper(self, 0), PlaceStepper(self, 1)
        spikes, spike_trains = int(state.meta[lay.M_SPIKES]), self.model.parameters.spike_trains
        self.run_clock(dt, float(spike_trains))
        self.record[lay.I_SPIKES] += float(int(state.meta[lay.M_SPIKES]) - spikes)
        state.meta[lay.M_STEP] += 1
        means = np.array(self.record)
        means[: lay.I_SPIKES] /= dt
        return means

    def run_clock(self, dt: float, spike_trains: float) -> None:
        """Gillespie's clock at an upper bound of the rate of spikes; spikes are thinned."""
        rate, (terminal, soma) = self.model.simulation.state.rate, self.places
        bound, time, k = spike_trains * max(float(rate[0]), self.target()), 0.0, 0
        while True:
            first, second = terminal.total, soma.total
            total = first + second + bound
            u = self.draws.number(Stream.SPIKE, int(lay.CLOCK), 2 * k)
            # Even numbers are waiting times, odd ones selections, as the compiled clock draws them.
            wait = exponential(u) / total if total > 0.0 else math.inf
            if time + wait >= dt:
                self.integrate(dt)
                return
            time += wait
            x = self.draws.number(Stream.SPIKE, int(lay.CLOCK), 2 * k + 1) * total
            k += 1
            if x < first + second:
                place = terminal if x < first else soma
                c, rest = choose(place.propensities, x if x < first else x - first)
                self.integrate_before(place, c, time)
                place.fire(c, rest)
                if c >= lay.C_R_UNBIND:
                    bound = spike_trains * max(float(rate[0]), self.target())
            else:
                self.integrate_rate(time)
                if x - first - second < spike_trains * float(rate[0]):
                    self.spike(time)
                bound = spike_trains * max(float(rate[0]), self.target())

    def spike(self, time: float) -> None:
        """One train spikes, and releases at both places."""
        for place in self.places:
            place.integrate(self.record, time)
        self.integrate_terminal(time)
        for place in self.places:
            place.release()
        self.model.simulation.state.meta[lay.M_SPIKES] += 1

    # Integrals are brought up to a time before what they depend on changes.

    def integrate(self, time: float) -> None:
        """All of them."""
        for place in self.places:
            place.integrate(self.record, time)
        self.integrate_terminal(time)
        self.integrate_rate(time)

    def integrate_before(self, place: PlaceStepper, c: int, time: float) -> None:
        """Those that channel ``c`` of a place will change."""
        place.integrate(self.record, time)
        if place.at == 0 and c not in (lay.C_DEGRADE, lay.C_SYNTHESISE):
            self.integrate_terminal(time)
        if c >= lay.C_R_UNBIND:
            self.integrate_rate(time)

    def integrate_terminal(self, time: float) -> None:
        """What depends on free serotonin at the terminal."""
        d, self.since_drive = time - self.since_drive, time
        # Python's own floats: the same arithmetic as NumPy's, and faster one at a time.
        p = self.model.simulation.state.numbers.tolist()
        fold = p[lay.P_FOLD] * float(self.places[0].count(lay.L_FREE))
        powered = raised(p[lay.P_POSTSYNAPTIC] * fold, p[lay.P_POWER])
        self.record[lay.I_HILL] += d * powered / (powered + p[lay.P_THRESHOLD_POWER])
        k = p[lay.P_POSTSYNAPTIC_STRENGTH]
        self.record[lay.I_POSTSYNAPTIC] += d * (1.0 + k) / (1.0 + k * fold)

    def integrate_rate(self, time: float) -> None:
        """Relax the rate of firing, with the integrals of rate and activation."""
        d, self.since_rate = time - self.since_rate, time
        state, aim = self.model.simulation.state, self.target()
        p, bound = state.numbers.tolist(), self.model.neuron.activation
        gone = relaxed(d / p[lay.P_RELAXATION])
        away = float(state.rate[0]) - aim
        self.record[lay.I_RATE] += aim * d + away * p[lay.P_RELAXATION] * gone
        state.rate[0] -= away * gone
        self.record[lay.I_ACTIVATION] += d * bound
        k = p[lay.P_DESENSITISATION]
        self.record[lay.I_SENSITIVITY] += (
            d * (1.0 + k) / (1.0 + k * max(bound / p[lay.P_RESTING], 1.0))
        )
