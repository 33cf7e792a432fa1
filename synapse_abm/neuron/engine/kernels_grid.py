"""The neuron's step on two grids, compiled: spikes, then each place hops and reacts.

One step of length dt: firing relaxes towards the rate that receptors ask for when the step begins,
and the number of spikes is Poisson, with the exact integral of the rate for its mean. Each train
has a cell of its own at each place, where its spikes release a batch. Molecules inside are a pool,
a number: what is taken up leaves the grid, what is released is a new molecule. Then ``kernels``
takes its step of the terminal, and of the soma. So spikes and releases wait for dt at most; all
else is as in ``kernels``.

Averages over a step are those of its two ends, after the release and after the reactions: what
decays in between at a rate K errs by (K dt)^2 / 12.

Random numbers: stream ARRIVE of the terminal, entity :data:`NEURON`, which no ligand has.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from synapse_abm.core.compiling import compiled
from synapse_abm.core.draws import exponential
from synapse_abm.neuron.engine.kernels import add_activation, add_terminal, mean_release, relax_rate

from synapse_abm.neuron.engine.layout import (  # isort: skip
    C_DEGRADE, C_LEAK, C_SYNTHESISE, CHANNELS, I_RATE, I_SPIKES, M_FULL, M_SPIKES, M_STEP,
    P_CONTENT, P_EFFICACY, P_TOP, P_TRAINS, PER_PLACE,
)  # fmt: skip
from synapse_abm.synapse.engine import kernels
from synapse_abm.synapse.engine.kernels import arrival_draw, create, discard
from synapse_abm.synapse.engine.layout import COMPARTMENT, END, F64, I64, INSIDE, LIMIT, START

NEURON = 1000  # entity of its random numbers
RELEASED = CHANNELS
ENTRY = kernels.advance

# Pairs of a place, in the order of ``layout``: targets SERT, 5-HT1A; ligands serotonin, the drug,
# the antagonist.
PAIR_BOUND, PAIR_BLOCKED, PAIR_R_SEROTONIN, PAIR_R_ANTAGONIST = range(4)


class GridState(NamedTuple):
    """State of the neuron beside its two places, and the numbers it runs by."""

    pool: I64  # (2) molecules inside
    events: I64  # (2, CHANNELS + 1); of the channels only those that the places do not count
    meta: I64  # as in ``kernels``
    rate: F64  # (1)
    rates: F64  # (2, CHANNELS)
    numbers: F64
    cells: I64  # (2, trains) where each train releases


class GridScratch(NamedTuple):
    """Scratch: random words, the next draw of this step, and a record that nobody reads."""

    draws: np.ndarray
    at: I64
    blank: I64


@compiled
def draw(plan, state, scratch):
    """Next uniform number of this step."""
    k = scratch.at[0]
    scratch.at[0] = k + 1
    return arrival_draw(plan, scratch.draws, NEURON, state.meta[M_STEP], k)


@compiled
def poisson(plan, state, scratch, mean):
    """Poisson number by counting exponential gaps."""
    n, reached = 0, 0.0
    while mean > 0.0:
        # The gaps of a process of rate one that fit into ``mean``. A step is short, so means are
        # small, and no faster method would repay its own rule for draws.
        reached += exponential(draw(plan, state, scratch))
        if reached > mean:
            break
        n += 1
    return n


@compiled
def destroyed(plan, state, scratch, n, hazard):
    """How many of ``n`` are gone after a time of ``hazard``: binomial, by skipping survivors."""
    # How many survive until the next is lost is geometric: the whole part of an exponential time
    # over the hazard. So there is one draw for each molecule lost, not for each that there is.
    gone = 0
    if hazard > 0.0:
        i = int(exponential(draw(plan, state, scratch)) / hazard)
        while i < n:
            gone += 1
            i += 1 + int(exponential(draw(plan, state, scratch)) / hazard)
    return gone


@compiled
def emit(plan, store, state, place, cell, size):
    """``size`` molecules of the pool go free in a cell."""
    for _ in range(size):
        create(plan, store, 0, cell)
    store.totals[plan.pairs + plan.targets] += size
    state.pool[place] -= size


@compiled
def spike(nplan, state, scratch, plan, store, place, train):
    """A train's content leaves the pool, rounded up or down at random."""
    mean = mean_release(state, place, float(state.pool[place]))
    size = min(int(mean + draw(nplan, state, scratch)), state.pool[place])
    emit(plan, store, state, place, state.cells[place, train], size)
    state.events[place, RELEASED] += size


@compiled
def turn_over(nplan, state, scratch, plan, store, place):
    """Release without spikes, synthesis and monoamine oxidase of a step."""
    for _ in range(
        min(poisson(nplan, state, scratch, state.rates[place, C_LEAK] * plan.dt), state.pool[place])
    ):
        # Leak comes from where spikes release, of any train.
        train = int(draw(nplan, state, scratch) * float(state.cells.shape[1]))
        emit(plan, store, state, place, state.cells[place, train], 1)
        state.events[place, C_LEAK] += 1
    made = poisson(nplan, state, scratch, state.rates[place, C_SYNTHESISE] * plan.dt)
    gone = destroyed(
        nplan, state, scratch, state.pool[place], state.rates[place, C_DEGRADE] * plan.dt
    )
    state.pool[place] += made - gone
    state.events[place, C_SYNTHESISE] += made
    state.events[place, C_DEGRADE] += gone


@compiled
def take_up(plan, store, state, place):
    """What was taken up joins the pool."""
    seg, inside = store.segments, plan.pairs + plan.targets + plan.ligands
    # Rows are searched only in steps in which something was taken up.
    if store.totals[inside] > 0:
        for row in range(seg[0, START], seg[0, END]):
            if store.molecules[COMPARTMENT, row] == INSIDE:
                discard(plan, store, row, 0)
                state.pool[place] += 1
        store.totals[inside] = 0


@compiled
def activation(state, soma):
    """Receptors bound, weighted by efficacy."""
    antagonist = state.numbers[P_EFFICACY] * float(soma.totals[PAIR_R_ANTAGONIST])
    return float(soma.totals[PAIR_R_SEROTONIN]) + antagonist


@compiled
def integrate_place(plan, store, state, place, record, d):
    """Add ``d`` times what is here to the integrals of a place."""
    at = PER_PLACE * place
    record[at] += d * float(store.totals[plan.pairs + plan.targets])
    record[at + 1] += d * float(state.pool[place])
    record[at + 2] += d * float(store.totals[PAIR_BOUND])
    record[at + 3] += d * float(store.totals[PAIR_BLOCKED])
    if place == 1:
        record[at + 4] += d * float(store.totals[PAIR_R_SEROTONIN])


@compiled
def integrate_all(tplan, terminal, splan, soma, state, record):
    """Add half a step of what is here now to all integrals."""
    # Trapezoidal rule: called with what is there before the places' step, and after it.
    d, bound = 0.5 * tplan.dt, activation(state, soma)
    integrate_place(tplan, terminal, state, 0, record, d)
    integrate_place(splan, soma, state, 1, record, d)
    add_terminal(state.numbers, record, terminal.totals[tplan.pairs + tplan.targets], d)
    add_activation(state.numbers, record, bound, d)


@compiled
def fire(tplan, terminal, splan, soma, state, scratch, record):
    """Relax the rate over a step; its spikes release at both places."""
    p = state.numbers
    # Receptors count as fixed for the step. The integral of the rate is then known beforehand, and
    # the number of spikes is Poisson with that mean.
    integral = relax_rate(state, activation(state, soma), tplan.dt)
    spikes = poisson(tplan, state, scratch, p[P_TRAINS] * integral)
    for _ in range(spikes):
        train = int(draw(tplan, state, scratch) * p[P_TRAINS])
        spike(tplan, state, scratch, tplan, terminal, 0, train)
        spike(tplan, state, scratch, splan, soma, 1, train)
    state.meta[M_SPIKES] += spikes
    record[I_RATE] += integral
    record[I_SPIKES] += float(spikes)


@compiled
def has_room(plan, store, state, place):
    """Whether the rows will hold what a step may release, ten standard deviations above the
    mean.
    """
    p = state.numbers
    # P_TOP is the rate without feedback: from below it firing cannot rise beyond.
    spikes = p[P_TRAINS] * plan.dt * max(state.rate[0], p[P_TOP])
    leak = state.rates[place, C_LEAK] * plan.dt
    # A spike releases at most twice its resting content (it saturates), and one more by rounding
    # up.
    most = (spikes + 10.0 * math.sqrt(spikes) + 10.0) * (2.0 * p[P_CONTENT + place] + 1.0)
    most += leak + 10.0 * math.sqrt(leak) + 64.0
    return float(store.segments[0, END]) + most < float(store.segments[0, LIMIT])


@compiled
def advance(
    tplan, terminal, tspace, tchem, tlanding, tscratch,
    splan, soma, sspace, schem, slanding, sscratch,
    state, scratch, record, inner, steps,
):  # fmt: skip
    """Run up to ``steps`` records of ``inner`` steps, from where ``meta`` says; returns how many
    records are complete.

    Fewer than asked means that the rows want more room (``meta[M_FULL]``: 1 + place).
    """
    first = state.meta[M_STEP] // inner
    while state.meta[M_STEP] // inner - first < steps:
        if not has_room(tplan, terminal, state, 0):
            state.meta[M_FULL] = 1
            break
        if not has_room(splan, soma, state, 1):
            state.meta[M_FULL] = 2
            break
        row = record[state.meta[M_STEP] // inner - first]
        scratch.at[0] = 0
        fire(tplan, terminal, splan, soma, state, scratch, row)
        turn_over(tplan, state, scratch, tplan, terminal, 0)
        turn_over(tplan, state, scratch, splan, soma, 1)
        integrate_all(tplan, terminal, splan, soma, state, row)
        # Within a step nothing joins the places, and their numbers have addresses of their own:
        # which of them goes first does not matter.
        ENTRY(tplan, terminal, tspace, tchem, tlanding, tscratch, scratch.blank, 1, 0, 0)
        ENTRY(splan, soma, sspace, schem, slanding, sscratch, scratch.blank, 1, 0, 0)
        take_up(tplan, terminal, state, 0)
        take_up(splan, soma, state, 1)
        integrate_all(tplan, terminal, splan, soma, state, row)
        state.meta[M_STEP] += 1
    return state.meta[M_STEP] // inner - first
