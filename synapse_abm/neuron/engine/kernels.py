"""The neuron's clock, compiled: two well-mixed places, joined by spikes, in one exact simulation.

Every event of terminal and soma, and every spike, comes from one Gillespie clock (1977), so the two
places are coupled without a lag. The rate of spikes changes between events: it relaxes
exponentially towards a target that only an event at a receptor moves. The clock therefore runs at
the larger of rate and target, an upper bound until the next event, and a spike is accepted with
probability rate / bound (thinning; Lewis & Shedler 1979). A step of length dt only cuts the run
into pieces with addresses of their own: as waiting times have no memory, its length changes nothing
in law.

Molecules keep their ids: each place has a list of those that are free and of those inside, and each
site knows whom it holds. Of those inside the first ``vesicular`` are in vesicles, the rest in the
cytosol: what transporters carry in and what is made joins the end of the list, spikes take from
vesicles, monoamine oxidase from the cytosol, and the last one in the cytosol takes a place that
falls empty. Propensities are rate x count x count, added up in one order, never a
running sum. Draw 2k of entity 0 is the k-th waiting time, draw 2k + 1 selects event and member;
entity 1 rounds the contents of spikes and chooses who leaves the stock.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from synapse_abm.core import arithmetic
from synapse_abm.core.compiling import compiled
from synapse_abm.core.draws import (
    SPIKE_STREAM,
    exponential,
    fill_draws,
    high_words,
    u32,
    uniform,
)
from synapse_abm.synapse.engine.layout import F64, I64, U32, U64

# Lists of a place: molecules that are free or inside; transporters and receptors by what they hold.
FREE, INSIDE, OPEN, CARRYING, BLOCKED, R_OPEN, R_SEROTONIN, R_RIVAL = range(8)
LISTS = 8

# Channels of a place, in the order in which propensities are added up.
(
    UNBIND,
    TRANSPORT,
    UNBLOCK,
    BIND,
    BLOCK,
    LOSE,
    DEGRADE,
    SYNTHESISE,
    LEAK,
    R_UNBIND,
    R_UNBLOCK,
    R_BIND,
    R_BLOCK,
) = range(13)
CHANNELS = 13
RELEASED = CHANNELS  # one more counter: molecules released by spikes

# Neuron.numbers: what the spikes depend on.
(
    TRAINS,
    RELAXATION,
    TOP,  # rate without a brake, Hz
    GRIP,  # brake per receptor fully activated
    EFFICACY,  # of the rival ligand
    CONTENT,  # molecules per spike of one train at the resting stock; terminal, then soma
    _,
    STOCK,  # resting stock; terminal, then soma
    _,
    COUPLING_STRENGTH,
    RESTING,  # receptors bound at rest (mean field)
    FOLD,  # baselines per free molecule at the terminal
    SENSITIVITY,
    THRESHOLD_POWER,
    POWER,
    POSTSYNAPTIC_STRENGTH,
) = range(16)
NUMBERS = 16

# Recorded per step, integrals over it: five lists of each place, then what drives the slow
# variables, and the rate.
(
    I_FREE,
    I_INSIDE,
    I_CARRYING,
    I_BLOCKED,
    I_RECEPTORS,
) = range(5)
PER_PLACE = 5
I_ACTIVATION, I_COUPLING, I_HILL, I_SENSITIVITY, I_RATE, I_SPIKES = range(10, 16)
INTEGRALS = 16

# Neuron.meta.
STEP, NEXT_ID, SPIKES, FULL, NEXT_DRUG = range(5)

CLOCK, RELEASE = u32(0), u32(1)  # entities
BUFFER = 32  # blocks of random numbers drawn at a time

relaxed, raised = compiled(arithmetic.relaxed), compiled(arithmetic.raised)


class Neuron(NamedTuple):
    """State of a neuron and its two places, and the numbers it runs by."""

    counts: I64  # (2, LISTS)
    members: U32  # (2, LISTS, room) ids of molecules, numbers of sites
    holds: U32  # (2, sites) molecule that a site holds: of serotonin, or of a drug, each numbered
    events: I64  # (2, CHANNELS + 1)
    meta: I64  # (5)
    rate: F64  # (1) of firing, Hz
    rates: F64  # (2, CHANNELS) constants, with concentrations of clamped ligands in them
    numbers: F64  # (NUMBERS)


class Bench(NamedTuple):
    """Scratch of the clock."""

    propensity: F64  # (2, CHANNELS)
    since: F64  # (4) time to which integrals of places, slow drives and rate are complete
    draws: U64
    wait: F64
    select: F64
    release: U64
    at: I64  # (2) next draw for releases, and how many have been made


class Plan(NamedTuple):
    """Step and the constant part of the random address."""

    key0: np.uint32
    key1: np.uint32
    origin: np.uint32
    dt: float


@compiled
def put_in(it, place, r, member):
    """Append to a list of a place."""
    it.members[place, r, it.counts[place, r]] = member
    it.counts[place, r] += 1


@compiled
def take_out(it, place, r, m):
    """Remove member ``m`` of a list: the last one takes its place."""
    it.counts[place, r] -= 1
    member = it.members[place, r, m]
    it.members[place, r, m] = it.members[place, r, it.counts[place, r]]
    return member


@compiled
def weigh(it, bench, place):
    """Propensities of a place, from its counts; returns nothing, the sum is the last column."""
    n, k, a = it.counts[place], it.rates[place], bench.propensity[place]
    a[UNBIND] = k[UNBIND] * float(n[CARRYING])
    a[TRANSPORT] = k[TRANSPORT] * float(n[CARRYING])
    a[UNBLOCK] = k[UNBLOCK] * float(n[BLOCKED])
    a[BIND] = k[BIND] * float(n[FREE] * n[OPEN])
    a[BLOCK] = k[BLOCK] * float(n[OPEN])
    a[LOSE] = k[LOSE] * float(n[FREE])
    a[DEGRADE] = k[DEGRADE] * float(n[INSIDE])
    a[SYNTHESISE] = k[SYNTHESISE]
    a[LEAK] = k[LEAK] if n[INSIDE] > 0 else 0.0
    a[R_UNBIND] = k[R_UNBIND] * float(n[R_SEROTONIN])
    a[R_UNBLOCK] = k[R_UNBLOCK] * float(n[R_RIVAL])
    a[R_BIND] = k[R_BIND] * float(n[FREE] * n[R_OPEN])
    a[R_BLOCK] = k[R_BLOCK] * float(n[R_OPEN])
    total = 0.0
    for c in range(CHANNELS):
        total += a[c]
    a[CHANNELS] = total


@compiled
def activation(it):
    """Receptors bound, weighted by efficacy: the brake's input."""
    own, rival = it.counts[1, R_SEROTONIN], it.counts[1, R_RIVAL]
    return float(own) + it.numbers[EFFICACY] * float(rival)


@compiled
def target(it):
    """Rate that firing relaxes to, Hz (``neuron.braked_rate``)."""
    return it.numbers[TOP] / (1.0 + it.numbers[GRIP] * activation(it))


@compiled
def settle_place(it, bench, record, place, time):
    """Bring the integrals of a place up to ``time``."""
    d = time - bench.since[place]
    bench.since[place] = time
    n, at = it.counts[place], PER_PLACE * place
    record[at + I_FREE] += d * float(n[FREE])
    record[at + I_INSIDE] += d * float(n[INSIDE])
    record[at + I_CARRYING] += d * float(n[CARRYING])
    record[at + I_BLOCKED] += d * float(n[BLOCKED])
    record[at + I_RECEPTORS] += d * float(n[R_SEROTONIN])


@compiled
def settle_drive(it, bench, record, time):
    """Bring the integrals that depend on free serotonin at the terminal up to ``time``."""
    d, p = time - bench.since[2], it.numbers
    bench.since[2] = time
    fold = p[FOLD] * float(it.counts[0, FREE])
    powered = raised(p[SENSITIVITY] * fold, p[POWER])
    record[I_HILL] += d * powered / (powered + p[THRESHOLD_POWER])
    k = p[POSTSYNAPTIC_STRENGTH]
    record[I_SENSITIVITY] += d * (1.0 + k) / (1.0 + k * fold)


@compiled
def settle_rate(it, bench, record, time):
    """Relax the rate of firing to ``time``, with the integrals of rate and activation."""
    d, p = time - bench.since[3], it.numbers
    bench.since[3] = time
    aim, bound = target(it), activation(it)
    gone = relaxed(d / p[RELAXATION])
    away = it.rate[0] - aim
    record[I_RATE] += aim * d + away * p[RELAXATION] * gone
    it.rate[0] -= away * gone
    record[I_ACTIVATION] += d * bound
    k = p[COUPLING_STRENGTH]
    record[I_COUPLING] += d * (1.0 + k) / (1.0 + k * max(bound / p[RESTING], 1.0))


@compiled
def release_draw(plan, it, bench):
    """Next uniform number of this step's releases."""
    j = bench.at[0]
    if j == 0:
        c2, c3 = high_words(plan, SPIKE_STREAM, it.meta[STEP])
        first = u32(bench.at[1] * BUFFER)
        fill_draws(bench.release, BUFFER, RELEASE, first, c2, c3, plan.key0, plan.key1)
        bench.at[1] += 1
    bench.at[0] = j + 1 if j + 1 < 2 * BUFFER else 0
    return uniform(bench.release[j])


@compiled
def vesicular(it, place):
    """How many of those inside are in vesicles: N N0 / (N0 + N), rounded down.

    A spike releases a constant share of it, 2 CONTENT / N0: so saturating content per spike
    (``neuron.filling``) reads as vesicles that fill from the cytosol at once, and saturate.
    """
    n, rest = float(it.counts[place, INSIDE]), it.numbers[STOCK + place]
    return int(n * rest / (rest + n))


@compiled
def expel(plan, it, bench, place):
    """A molecule in a vesicle, any, goes free."""
    n = max(vesicular(it, place), 1)
    member = min(int(release_draw(plan, it, bench) * n), n - 1)
    put_in(it, place, FREE, take_out(it, place, INSIDE, member))


@compiled
def spike(plan, it, bench):
    """One train spikes: its content leaves both stocks, rounded up or down at random."""
    for place in range(2):
        n, rest = float(it.counts[place, INSIDE]), it.numbers[STOCK + place]
        mean = it.numbers[CONTENT + place] * 2.0 * n / (rest + n)
        size = min(int(mean + release_draw(plan, it, bench)), it.counts[place, INSIDE])
        for _ in range(size):
            expel(plan, it, bench, place)
        it.events[place, RELEASED] += size
        weigh(it, bench, place)
    it.meta[SPIKES] += 1


@compiled
def destroy(it, place, m):
    """Monoamine oxidase takes a molecule of the cytosol; ``m`` in [0, 1) says which."""
    first = vesicular(it, place)
    n = it.counts[place, INSIDE] - first
    take_out(it, place, INSIDE, first + min(int(m * float(n)), n - 1))


@compiled
def bind_drug(it, place, empty, bound, member):
    """A drug molecule from the reservoir takes an empty site, and gets a number."""
    site = take_out(it, place, empty, member)
    it.holds[place, site] = u32(it.meta[NEXT_DRUG])
    it.meta[NEXT_DRUG] += 1
    put_in(it, place, bound, site)


@compiled
def bind_serotonin(it, place, empty, bound, member):
    """A free molecule takes an empty site."""
    n = it.counts[place, empty]
    site = take_out(it, place, empty, member % n)
    it.holds[place, site] = take_out(it, place, FREE, member // n)
    put_in(it, place, bound, site)


@compiled
def free_site(it, place, bound, empty, member):
    """A site lets go; returns the molecule it held."""
    site = take_out(it, place, bound, member)
    put_in(it, place, empty, site)
    return it.holds[place, site]


@compiled
def happen(plan, it, bench, place, c, rest):
    """Carry out channel ``c`` of a place; what is left of the draw selects the member."""
    n = it.counts[place]
    m = int(rest / it.rates[place, c])
    if c == DEGRADE:
        destroy(it, place, rest / (it.rates[place, c] * float(n[INSIDE])))
    elif c == SYNTHESISE:
        put_in(it, place, INSIDE, u32(it.meta[NEXT_ID]))
        it.meta[NEXT_ID] += 1
    elif c == BIND:
        bind_serotonin(it, place, OPEN, CARRYING, min(m, n[FREE] * n[OPEN] - 1))
    elif c == TRANSPORT or c == UNBIND:
        molecule = free_site(it, place, CARRYING, OPEN, min(m, n[CARRYING] - 1))
        put_in(it, place, INSIDE if c == TRANSPORT else FREE, molecule)
    elif c == R_BIND:
        bind_serotonin(it, place, R_OPEN, R_SEROTONIN, min(m, n[FREE] * n[R_OPEN] - 1))
    elif c == R_UNBIND:
        molecule = free_site(it, place, R_SEROTONIN, R_OPEN, min(m, n[R_SEROTONIN] - 1))
        put_in(it, place, FREE, molecule)
    elif c == BLOCK:
        bind_drug(it, place, OPEN, BLOCKED, min(m, n[OPEN] - 1))
    elif c == UNBLOCK:
        free_site(it, place, BLOCKED, OPEN, min(m, n[BLOCKED] - 1))
    elif c == LOSE:
        take_out(it, place, FREE, min(m, n[FREE] - 1))
    elif c == LEAK:
        expel(plan, it, bench, place)
    elif c == R_BLOCK:
        bind_drug(it, place, R_OPEN, R_RIVAL, min(m, n[R_OPEN] - 1))
    else:
        free_site(it, place, R_RIVAL, R_OPEN, min(m, n[R_RIVAL] - 1))
    it.events[place, c] += 1
    weigh(it, bench, place)


@compiled
def pick_channel(propensity, x):
    """Channel in which ``x`` falls, and what is left of ``x`` within it."""
    chosen, rest = 0, x
    for c in range(CHANNELS):
        a = propensity[c]
        if a > 0.0:
            chosen, rest = c, x
            if x < a:
                break
            x -= a
    return chosen, rest


@compiled
def draw_ahead(plan, it, bench, k):
    """Waiting times at rate one and selections, from the ``k``-th on."""
    c2, c3 = high_words(plan, SPIKE_STREAM, it.meta[STEP])
    fill_draws(bench.draws, BUFFER, CLOCK, u32(k), c2, c3, plan.key0, plan.key1)
    for i in range(BUFFER):
        bench.wait[i] = exponential(uniform(bench.draws[2 * i]))
        bench.select[i] = uniform(bench.draws[2 * i + 1])


@compiled
def molecules(it, place):
    """Those in the lists of a place, either of which may have to hold them all."""
    return it.counts[place, FREE] + it.counts[place, INSIDE]


@compiled
def clock(plan, it, bench, record):
    """Exact stochastic simulation of neuron and places for one step."""
    time, k, trains = 0.0, 0, it.numbers[TRAINS]
    bench.at[:] = 0
    bench.since[:] = 0.0
    spikes = it.meta[SPIKES]
    weigh(it, bench, 0)
    weigh(it, bench, 1)
    bound = trains * max(it.rate[0], target(it))
    room = it.members.shape[2]
    while molecules(it, 0) < room and molecules(it, 1) < room:  # always; has_room saw to it
        i = k % BUFFER
        if i == 0:
            draw_ahead(plan, it, bench, k)
        first, second = bench.propensity[0, CHANNELS], bench.propensity[1, CHANNELS]
        total = first + second + bound
        wait = bench.wait[i] / total if total > 0.0 else math.inf
        if time + wait >= plan.dt:
            settle_place(it, bench, record, 0, plan.dt)
            settle_place(it, bench, record, 1, plan.dt)
            settle_drive(it, bench, record, plan.dt)
            settle_rate(it, bench, record, plan.dt)
            record[I_SPIKES] += float(it.meta[SPIKES] - spikes)
            return
        time += wait
        k += 1
        x = bench.select[i] * total
        if x < first + second:
            place = 0 if x < first else 1
            c, rest = pick_channel(bench.propensity[place], x if place == 0 else x - first)
            settle_place(it, bench, record, place, time)
            if place == 0 and c != DEGRADE and c != SYNTHESISE:
                settle_drive(it, bench, record, time)
            if c >= R_UNBIND:
                settle_rate(it, bench, record, time)
            happen(plan, it, bench, place, c, rest)
            if c >= R_UNBIND:
                bound = trains * max(it.rate[0], target(it))
        else:
            settle_rate(it, bench, record, time)
            if x - first - second < trains * it.rate[0]:
                settle_place(it, bench, record, 0, time)
                settle_place(it, bench, record, 1, time)
                settle_drive(it, bench, record, time)
                spike(plan, it, bench)
            bound = trains * max(it.rate[0], target(it))
    it.meta[FULL] = 2


@compiled
def has_room(plan, it, place):
    """Whether the lists of a place will hold all that a step may bring: ten standard deviations
    above the mean of what is made, and all that sites hold.
    """
    made = it.rates[place, SYNTHESISE] * plan.dt
    held = it.counts[place, CARRYING] + it.counts[place, R_SEROTONIN]
    most = float(molecules(it, place) + held) + made + 10.0 * math.sqrt(made) + 64.0
    return most < float(it.members.shape[2])


@compiled
def advance(plan, it, bench, record, steps):
    """Run ``steps`` steps and record each; returns the number completed.

    Fewer than asked means that the lists want more room (``meta[FULL]``) before the next step.
    """
    for i in range(steps):
        if not (has_room(plan, it, 0) and has_room(plan, it, 1)):
            it.meta[FULL] = 1
            return i
        clock(plan, it, bench, record[i])
        if it.meta[FULL]:
            return i
        it.meta[STEP] += 1
    return steps
