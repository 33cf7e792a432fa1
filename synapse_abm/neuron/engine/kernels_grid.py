"""The neuron's step on two grids, compiled: spikes, then each place hops and reacts.

One step of length dt: firing relaxes towards the rate that receptors ask for when the step begins,
and the number of spikes is Poisson, with the exact integral of the rate for its mean. Each train
has a cell of its own at each place, where its spikes release a batch. Molecules inside are a stock,
a number: what is carried in leaves the grid, what is released is a new molecule. Then ``kernels``
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
from synapse_abm.neuron.engine.kernels import raised, relaxed

from synapse_abm.neuron.engine.layout import (  # isort: skip
    C_DEGRADE, C_LEAK, C_SYNTHESISE, CHANNELS, I_ACTIVATION, I_COUPLING, I_HILL, I_RATE,
    I_SENSITIVITY, I_SPIKES, M_FULL, M_SPIKES, M_STEP, P_CONTENT, P_COUPLING_STRENGTH,
    P_EFFICACY, P_FOLD, P_GRIP, P_POSTSYNAPTIC_STRENGTH, P_POWER, P_RELAXATION, P_RESTING,
    P_SENSITIVITY, P_STOCK, P_THRESHOLD_POWER, P_TOP, P_TRAINS, PER_PLACE,
)  # fmt: skip
from synapse_abm.synapse.engine import kernels
from synapse_abm.synapse.engine.kernels import arrival_draw, create, discard
from synapse_abm.synapse.engine.layout import COMPARTMENT, END, F64, I64, INSIDE, LIMIT, START

NEURON = 1000  # entity of its random numbers
RELEASED = CHANNELS
ENTRY = kernels.advance

# Pairs of a place, in the order of ``layout``: targets SERT, 5-HT1A; ligands serotonin, the drug,
# the rival.
PAIR_CARRIED, PAIR_BLOCKED, PAIR_R_SEROTONIN, PAIR_R_RIVAL = range(4)


class GridState(NamedTuple):
    """State of the neuron beside its two places, and the numbers it runs by."""

    stock: I64  # (2) molecules inside
    events: I64  # (2, CHANNELS + 1); of the channels only those that the places do not count
    meta: I64  # as in kernels_neuron
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
def draw(plan, it, bench):
    """Next uniform number of this step."""
    k = bench.at[0]
    bench.at[0] = k + 1
    return arrival_draw(plan, bench.draws, NEURON, it.meta[M_STEP], k)


@compiled
def poisson(plan, it, bench, mean):
    """Poisson number by counting exponential gaps."""
    n, reached = 0, 0.0
    while mean > 0.0:
        reached += exponential(draw(plan, it, bench))
        if reached > mean:
            break
        n += 1
    return n


@compiled
def destroyed(plan, it, bench, n, hazard):
    """How many of ``n`` are gone after a time of ``hazard``: binomial, by skipping survivors."""
    gone = 0
    if hazard > 0.0:
        i = int(exponential(draw(plan, it, bench)) / hazard)
        while i < n:
            gone += 1
            i += 1 + int(exponential(draw(plan, it, bench)) / hazard)
    return gone


@compiled
def emit(plan, store, it, place, cell, size):
    """``size`` molecules of the stock go free in a cell."""
    for _ in range(size):
        create(plan, store, 0, cell)
    store.totals[plan.pairs + plan.targets] += size
    it.stock[place] -= size


@compiled
def spike(nplan, it, bench, plan, store, place, train):
    """A train's content leaves the stock, rounded up or down at random."""
    n, rest = float(it.stock[place]), it.numbers[P_STOCK + place]
    mean = it.numbers[P_CONTENT + place] * 2.0 * n / (rest + n)
    size = min(int(mean + draw(nplan, it, bench)), it.stock[place])
    emit(plan, store, it, place, it.cells[place, train], size)
    it.events[place, RELEASED] += size


@compiled
def turn_over(nplan, it, bench, plan, store, place):
    """Release without spikes, synthesis and monoamine oxidase of a step."""
    for _ in range(
        min(poisson(nplan, it, bench, it.rates[place, C_LEAK] * plan.dt), it.stock[place])
    ):
        train = int(draw(nplan, it, bench) * float(it.cells.shape[1]))
        emit(plan, store, it, place, it.cells[place, train], 1)
        it.events[place, C_LEAK] += 1
    made = poisson(nplan, it, bench, it.rates[place, C_SYNTHESISE] * plan.dt)
    gone = destroyed(nplan, it, bench, it.stock[place], it.rates[place, C_DEGRADE] * plan.dt)
    it.stock[place] += made - gone
    it.events[place, C_SYNTHESISE] += made
    it.events[place, C_DEGRADE] += gone


@compiled
def take_in(plan, store, it, place):
    """What was carried in joins the stock."""
    seg, inside = store.segments, plan.pairs + plan.targets + plan.ligands
    if store.totals[inside] > 0:
        for row in range(seg[0, START], seg[0, END]):
            if store.molecules[COMPARTMENT, row] == INSIDE:
                discard(plan, store, row, 0)
                it.stock[place] += 1
        store.totals[inside] = 0


@compiled
def activation(it, soma):
    """Receptors bound, weighted by efficacy."""
    rival = it.numbers[P_EFFICACY] * float(soma.totals[PAIR_R_RIVAL])
    return float(soma.totals[PAIR_R_SEROTONIN]) + rival


@compiled
def settle(plan, store, it, place, record, d):
    """Add ``d`` times what is here to the integrals of a place."""
    at = PER_PLACE * place
    record[at] += d * float(store.totals[plan.pairs + plan.targets])
    record[at + 1] += d * float(it.stock[place])
    record[at + 2] += d * float(store.totals[PAIR_CARRIED])
    record[at + 3] += d * float(store.totals[PAIR_BLOCKED])
    if place == 1:
        record[at + 4] += d * float(store.totals[PAIR_R_SEROTONIN])


@compiled
def settle_all(tplan, terminal, splan, soma, it, record):
    """Add half a step of what is here now to all integrals."""
    d, p = 0.5 * tplan.dt, it.numbers
    settle(tplan, terminal, it, 0, record, d)
    settle(splan, soma, it, 1, record, d)
    fold = p[P_FOLD] * float(terminal.totals[tplan.pairs + tplan.targets])
    powered = raised(p[P_SENSITIVITY] * fold, p[P_POWER])
    record[I_HILL] += d * powered / (powered + p[P_THRESHOLD_POWER])
    k = p[P_POSTSYNAPTIC_STRENGTH]
    record[I_SENSITIVITY] += d * (1.0 + k) / (1.0 + k * fold)
    bound, k = activation(it, soma), p[P_COUPLING_STRENGTH]
    record[I_ACTIVATION] += d * bound
    record[I_COUPLING] += d * (1.0 + k) / (1.0 + k * max(bound / p[P_RESTING], 1.0))


@compiled
def fire(tplan, terminal, splan, soma, it, bench, record):
    """Relax the rate over a step; its spikes release at both places."""
    p = it.numbers
    aim = p[P_TOP] / (1.0 + p[P_GRIP] * activation(it, soma))
    gone = relaxed(tplan.dt / p[P_RELAXATION])
    away = it.rate[0] - aim
    integral = aim * tplan.dt + away * p[P_RELAXATION] * gone
    it.rate[0] -= away * gone
    spikes = poisson(tplan, it, bench, p[P_TRAINS] * integral)
    for _ in range(spikes):
        train = int(draw(tplan, it, bench) * p[P_TRAINS])
        spike(tplan, it, bench, tplan, terminal, 0, train)
        spike(tplan, it, bench, splan, soma, 1, train)
    it.meta[M_SPIKES] += spikes
    record[I_RATE] += integral
    record[I_SPIKES] += float(spikes)


@compiled
def has_room(plan, store, it, place):
    """Whether the rows will hold what a step may release, ten standard deviations above the
    mean.
    """
    p = it.numbers
    spikes = p[P_TRAINS] * plan.dt * max(it.rate[0], p[P_TOP])
    leak = it.rates[place, C_LEAK] * plan.dt
    most = (spikes + 10.0 * math.sqrt(spikes) + 10.0) * (2.0 * p[P_CONTENT + place] + 1.0)
    most += leak + 10.0 * math.sqrt(leak) + 64.0
    return float(store.segments[0, END]) + most < float(store.segments[0, LIMIT])


@compiled
def advance(
    tplan, terminal, tspace, tchem, tlanding, tbench,
    splan, soma, sspace, schem, slanding, sbench,
    it, bench, record, inner, steps,
):  # fmt: skip
    """Run up to ``steps`` records of ``inner`` steps, from where ``meta`` says; returns how many
    records are complete.

    Fewer than asked means that the rows want more room (``meta[M_FULL]``: 1 + place).
    """
    first = it.meta[M_STEP] // inner
    while it.meta[M_STEP] // inner - first < steps:
        if not has_room(tplan, terminal, it, 0):
            it.meta[M_FULL] = 1
            break
        if not has_room(splan, soma, it, 1):
            it.meta[M_FULL] = 2
            break
        row = record[it.meta[M_STEP] // inner - first]
        bench.at[0] = 0
        fire(tplan, terminal, splan, soma, it, bench, row)
        turn_over(tplan, it, bench, tplan, terminal, 0)
        turn_over(tplan, it, bench, splan, soma, 1)
        settle_all(tplan, terminal, splan, soma, it, row)
        ENTRY(tplan, terminal, tspace, tchem, tlanding, tbench, bench.blank, 1, 0, 0)
        ENTRY(splan, soma, sspace, schem, slanding, sbench, bench.blank, 1, 0, 0)
        take_in(tplan, terminal, it, 0)
        take_in(splan, soma, it, 1)
        settle_all(tplan, terminal, splan, soma, it, row)
        it.meta[M_STEP] += 1
    return it.meta[M_STEP] // inner - first
