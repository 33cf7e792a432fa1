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

from synapse_abm.neuron.engine.layout import (  # isort: skip
    C_BIND, C_BLOCK, C_DEGRADE, C_LEAK, C_LOSE, C_R_BIND, C_R_BLOCK, C_R_UNBIND, C_R_UNBLOCK,
    C_SYNTHESISE, C_TRANSPORT, C_UNBIND, C_UNBLOCK, CHANNELS, CLOCK, CLOCK_BUFFER, RELEASE,
    I_ACTIVATION, I_BLOCKED,
    I_CARRYING, I_COUPLING, I_FREE, I_HILL, I_INSIDE, I_RATE, I_RECEPTORS, I_SENSITIVITY,
    I_SPIKES, L_BLOCKED, L_CARRYING, L_FREE, L_INSIDE, L_OPEN, L_R_OPEN, L_R_RIVAL,
    L_R_SEROTONIN, M_FULL, M_NEXT_DRUG, M_NEXT_ID, M_SPIKES, M_STEP, P_CONTENT,
    P_COUPLING_STRENGTH, P_EFFICACY, P_FOLD, P_GRIP, P_POSTSYNAPTIC_STRENGTH, P_POWER,
    P_RELAXATION, P_RESTING, P_SENSITIVITY, P_STOCK, P_THRESHOLD_POWER, P_TOP, P_TRAINS,
    PER_PLACE, RELEASED,
)  # fmt: skip


relaxed, raised = compiled(arithmetic.relaxed), compiled(arithmetic.raised)


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
    a[C_UNBIND] = k[C_UNBIND] * float(n[L_CARRYING])
    a[C_TRANSPORT] = k[C_TRANSPORT] * float(n[L_CARRYING])
    a[C_UNBLOCK] = k[C_UNBLOCK] * float(n[L_BLOCKED])
    a[C_BIND] = k[C_BIND] * float(n[L_FREE] * n[L_OPEN])
    a[C_BLOCK] = k[C_BLOCK] * float(n[L_OPEN])
    a[C_LOSE] = k[C_LOSE] * float(n[L_FREE])
    a[C_DEGRADE] = k[C_DEGRADE] * float(n[L_INSIDE])
    a[C_SYNTHESISE] = k[C_SYNTHESISE]
    a[C_LEAK] = k[C_LEAK] if n[L_INSIDE] > 0 else 0.0
    a[C_R_UNBIND] = k[C_R_UNBIND] * float(n[L_R_SEROTONIN])
    a[C_R_UNBLOCK] = k[C_R_UNBLOCK] * float(n[L_R_RIVAL])
    a[C_R_BIND] = k[C_R_BIND] * float(n[L_FREE] * n[L_R_OPEN])
    a[C_R_BLOCK] = k[C_R_BLOCK] * float(n[L_R_OPEN])
    total = 0.0
    for c in range(CHANNELS):
        total += a[c]
    a[CHANNELS] = total


@compiled
def activation(it):
    """Receptors bound, weighted by efficacy: the brake's input."""
    own, rival = it.counts[1, L_R_SEROTONIN], it.counts[1, L_R_RIVAL]
    return float(own) + it.numbers[P_EFFICACY] * float(rival)


@compiled
def target(it):
    """Rate that firing relaxes to, Hz (``neuron.braked_rate``)."""
    return it.numbers[P_TOP] / (1.0 + it.numbers[P_GRIP] * activation(it))


@compiled
def settle_place(it, bench, record, place, time):
    """Bring the integrals of a place up to ``time``."""
    d = time - bench.since[place]
    bench.since[place] = time
    n, at = it.counts[place], PER_PLACE * place
    record[at + I_FREE] += d * float(n[L_FREE])
    record[at + I_INSIDE] += d * float(n[L_INSIDE])
    record[at + I_CARRYING] += d * float(n[L_CARRYING])
    record[at + I_BLOCKED] += d * float(n[L_BLOCKED])
    record[at + I_RECEPTORS] += d * float(n[L_R_SEROTONIN])


@compiled
def settle_drive(it, bench, record, time):
    """Bring the integrals that depend on free serotonin at the terminal up to ``time``."""
    d, p = time - bench.since[2], it.numbers
    bench.since[2] = time
    fold = p[P_FOLD] * float(it.counts[0, L_FREE])
    powered = raised(p[P_SENSITIVITY] * fold, p[P_POWER])
    record[I_HILL] += d * powered / (powered + p[P_THRESHOLD_POWER])
    k = p[P_POSTSYNAPTIC_STRENGTH]
    record[I_SENSITIVITY] += d * (1.0 + k) / (1.0 + k * fold)


@compiled
def settle_rate(it, bench, record, time):
    """Relax the rate of firing to ``time``, with the integrals of rate and activation."""
    d, p = time - bench.since[3], it.numbers
    bench.since[3] = time
    aim, bound = target(it), activation(it)
    gone = relaxed(d / p[P_RELAXATION])
    away = it.rate[0] - aim
    record[I_RATE] += aim * d + away * p[P_RELAXATION] * gone
    it.rate[0] -= away * gone
    record[I_ACTIVATION] += d * bound
    k = p[P_COUPLING_STRENGTH]
    record[I_COUPLING] += d * (1.0 + k) / (1.0 + k * max(bound / p[P_RESTING], 1.0))


@compiled
def release_draw(plan, it, bench):
    """Next uniform number of this step's releases."""
    j = bench.at[0]
    if j == 0:
        c2, c3 = high_words(plan, SPIKE_STREAM, it.meta[M_STEP])
        first = u32(bench.at[1] * CLOCK_BUFFER)
        fill_draws(bench.release, CLOCK_BUFFER, RELEASE, first, c2, c3, plan.key0, plan.key1)
        bench.at[1] += 1
    bench.at[0] = j + 1 if j + 1 < 2 * CLOCK_BUFFER else 0
    return uniform(bench.release[j])


@compiled
def vesicular(it, place):
    """How many of those inside are in vesicles: N N0 / (N0 + N), rounded down.

    A spike releases a constant share of it, 2 P_CONTENT / N0: so saturating content per spike
    (``neuron.filling``) reads as vesicles that fill from the cytosol at once, and saturate.
    """
    n, rest = float(it.counts[place, L_INSIDE]), it.numbers[P_STOCK + place]
    return int(n * rest / (rest + n))


@compiled
def expel(plan, it, bench, place):
    """A molecule in a vesicle, any, goes free."""
    n = max(vesicular(it, place), 1)
    member = min(int(release_draw(plan, it, bench) * n), n - 1)
    put_in(it, place, L_FREE, take_out(it, place, L_INSIDE, member))


@compiled
def spike(plan, it, bench):
    """One train spikes: its content leaves both stocks, rounded up or down at random."""
    for place in range(2):
        n, rest = float(it.counts[place, L_INSIDE]), it.numbers[P_STOCK + place]
        mean = it.numbers[P_CONTENT + place] * 2.0 * n / (rest + n)
        size = min(int(mean + release_draw(plan, it, bench)), it.counts[place, L_INSIDE])
        for _ in range(size):
            expel(plan, it, bench, place)
        it.events[place, RELEASED] += size
        weigh(it, bench, place)
    it.meta[M_SPIKES] += 1


@compiled
def destroy(it, place, m):
    """Monoamine oxidase takes a molecule of the cytosol; ``m`` in [0, 1) says which."""
    first = vesicular(it, place)
    n = it.counts[place, L_INSIDE] - first
    take_out(it, place, L_INSIDE, first + min(int(m * float(n)), n - 1))


@compiled
def bind_drug(it, place, empty, bound, member):
    """A drug molecule from the reservoir takes an empty site, and gets a number."""
    site = take_out(it, place, empty, member)
    it.holds[place, site] = u32(it.meta[M_NEXT_DRUG])
    it.meta[M_NEXT_DRUG] += 1
    put_in(it, place, bound, site)


@compiled
def bind_serotonin(it, place, empty, bound, member):
    """A free molecule takes an empty site."""
    n = it.counts[place, empty]
    site = take_out(it, place, empty, member % n)
    it.holds[place, site] = take_out(it, place, L_FREE, member // n)
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
    if c == C_DEGRADE:
        destroy(it, place, rest / (it.rates[place, c] * float(n[L_INSIDE])))
    elif c == C_SYNTHESISE:
        put_in(it, place, L_INSIDE, u32(it.meta[M_NEXT_ID]))
        it.meta[M_NEXT_ID] += 1
    elif c == C_BIND:
        bind_serotonin(it, place, L_OPEN, L_CARRYING, min(m, n[L_FREE] * n[L_OPEN] - 1))
    elif c == C_TRANSPORT or c == C_UNBIND:
        molecule = free_site(it, place, L_CARRYING, L_OPEN, min(m, n[L_CARRYING] - 1))
        put_in(it, place, L_INSIDE if c == C_TRANSPORT else L_FREE, molecule)
    elif c == C_R_BIND:
        bind_serotonin(it, place, L_R_OPEN, L_R_SEROTONIN, min(m, n[L_FREE] * n[L_R_OPEN] - 1))
    elif c == C_R_UNBIND:
        molecule = free_site(it, place, L_R_SEROTONIN, L_R_OPEN, min(m, n[L_R_SEROTONIN] - 1))
        put_in(it, place, L_FREE, molecule)
    elif c == C_BLOCK:
        bind_drug(it, place, L_OPEN, L_BLOCKED, min(m, n[L_OPEN] - 1))
    elif c == C_UNBLOCK:
        free_site(it, place, L_BLOCKED, L_OPEN, min(m, n[L_BLOCKED] - 1))
    elif c == C_LOSE:
        take_out(it, place, L_FREE, min(m, n[L_FREE] - 1))
    elif c == C_LEAK:
        expel(plan, it, bench, place)
    elif c == C_R_BLOCK:
        bind_drug(it, place, L_R_OPEN, L_R_RIVAL, min(m, n[L_R_OPEN] - 1))
    else:
        free_site(it, place, L_R_RIVAL, L_R_OPEN, min(m, n[L_R_RIVAL] - 1))
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
    c2, c3 = high_words(plan, SPIKE_STREAM, it.meta[M_STEP])
    fill_draws(bench.draws, CLOCK_BUFFER, CLOCK, u32(k), c2, c3, plan.key0, plan.key1)
    for i in range(CLOCK_BUFFER):
        bench.wait[i] = exponential(uniform(bench.draws[2 * i]))
        bench.select[i] = uniform(bench.draws[2 * i + 1])


@compiled
def molecules(it, place):
    """Those in the lists of a place, either of which may have to hold them all."""
    return it.counts[place, L_FREE] + it.counts[place, L_INSIDE]


@compiled
def clock(plan, it, bench, record):
    """Exact stochastic simulation of neuron and places for one step."""
    time, k, trains = 0.0, 0, it.numbers[P_TRAINS]
    bench.at[:] = 0
    bench.since[:] = 0.0
    spikes = it.meta[M_SPIKES]
    weigh(it, bench, 0)
    weigh(it, bench, 1)
    bound = trains * max(it.rate[0], target(it))
    room = it.members.shape[2]
    while molecules(it, 0) < room and molecules(it, 1) < room:  # always; has_room saw to it
        i = k % CLOCK_BUFFER
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
            record[I_SPIKES] += float(it.meta[M_SPIKES] - spikes)
            return
        time += wait
        k += 1
        x = bench.select[i] * total
        if x < first + second:
            place = 0 if x < first else 1
            c, rest = pick_channel(bench.propensity[place], x if place == 0 else x - first)
            settle_place(it, bench, record, place, time)
            if place == 0 and c != C_DEGRADE and c != C_SYNTHESISE:
                settle_drive(it, bench, record, time)
            if c >= C_R_UNBIND:
                settle_rate(it, bench, record, time)
            happen(plan, it, bench, place, c, rest)
            if c >= C_R_UNBIND:
                bound = trains * max(it.rate[0], target(it))
        else:
            settle_rate(it, bench, record, time)
            if x - first - second < trains * it.rate[0]:
                settle_place(it, bench, record, 0, time)
                settle_place(it, bench, record, 1, time)
                settle_drive(it, bench, record, time)
                spike(plan, it, bench)
            bound = trains * max(it.rate[0], target(it))
    it.meta[M_FULL] = 2


@compiled
def has_room(plan, it, place):
    """Whether the lists of a place will hold all that a step may bring: ten standard deviations
    above the mean of what is made, and all that sites hold.
    """
    made = it.rates[place, C_SYNTHESISE] * plan.dt
    held = it.counts[place, L_CARRYING] + it.counts[place, L_R_SEROTONIN]
    most = float(molecules(it, place) + held) + made + 10.0 * math.sqrt(made) + 64.0
    return most < float(it.members.shape[2])


@compiled
def advance(plan, it, bench, record, steps):
    """Run ``steps`` steps and record each; returns the number completed.

    Fewer than asked means that the lists want more room (``meta[M_FULL]``) before the next step.
    """
    for i in range(steps):
        if not (has_room(plan, it, 0) and has_room(plan, it, 1)):
            it.meta[M_FULL] = 1
            return i
        clock(plan, it, bench, record[i])
        if it.meta[M_FULL]:
            return i
        it.meta[M_STEP] += 1
    return steps
