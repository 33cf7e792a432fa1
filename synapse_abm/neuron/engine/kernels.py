"""The neuron's clock, compiled: two well-mixed places, joined by spikes, in one exact simulation.

Every event of terminal and soma, and every spike, comes from one Gillespie clock (1977), so the two
places are coupled without a lag. The rate of spikes changes between events: it relaxes
exponentially towards a target that only an event at a receptor moves. The clock therefore runs at
the larger of rate and target, an upper bound until the next event, and a spike is accepted with
probability rate / bound (thinning; Lewis & Shedler 1979). A step of length dt only cuts the run
into pieces with addresses of their own: as waiting times have no memory, its length changes nothing
in law.

Molecules keep their ids: each place has a list of those that are free and of those inside, and each
site knows its occupant. Of those inside the first ``vesicular`` are in vesicles, the rest in the
cytosol: what transporters take up and what is made joins the end of the list, spikes take from
vesicles, monoamine oxidase from the cytosol, and the last one in the cytosol takes a place that
falls empty. Propensities are rate x count x count, added up in one order, never a
running sum. Draw 2k of entity 0 is the k-th waiting time, draw 2k + 1 selects event and member;
entity 1 rounds the contents of spikes and chooses who leaves the pool.
"""

from __future__ import annotations

import math

from synapse_abm.core import arithmetic
from synapse_abm.core.compiling import compiled
from synapse_abm.core.draws import SPIKE_STREAM, exponential, fill_draws, high_words, u32, uniform

from synapse_abm.neuron.engine.layout import (  # isort: skip
    C_BIND, C_BLOCK, C_DEGRADE, C_LEAK, C_LOSE, C_R_BIND, C_R_BLOCK, C_R_UNBIND, C_R_UNBLOCK,
    C_SYNTHESISE, C_TRANSPORT, C_UNBIND, C_UNBLOCK, CHANNELS, CLOCK, CLOCK_BUFFER, RELEASE,
    I_ACTIVATION, I_BLOCKED,
    I_BOUND, I_SENSITIVITY, I_FREE, I_HILL, I_POOL, I_RATE, I_RECEPTORS, I_POSTSYNAPTIC,
    I_SPIKES, L_BLOCKED, L_BOUND, L_FREE, L_POOL, L_OPEN, L_R_OPEN, L_R_ANTAGONIST,
    L_R_SEROTONIN, M_FULL, M_NEXT_DRUG, M_NEXT_ID, M_SPIKES, M_STEP, P_CONTENT,
    P_DESENSITISATION, P_EFFICACY, P_FOLD, P_FEEDBACK, P_POSTSYNAPTIC_STRENGTH, P_POWER,
    P_RELAXATION, P_RESTING, P_POSTSYNAPTIC, P_POOL, P_THRESHOLD_POWER, P_TOP, P_TRAINS,
    PER_PLACE, RELEASED,
)  # fmt: skip


relaxed, raised = compiled(arithmetic.relaxed), compiled(arithmetic.raised)


@compiled
def put_in(state, place, r, member):
    """Append to a list of a place."""
    state.members[place, r, state.counts[place, r]] = member
    state.counts[place, r] += 1


@compiled
def take_out(state, place, r, m):
    """Remove member ``m`` of a list: the last one takes its place."""
    # The order of a list means nothing, so its last member fills the hole: constant time for any
    # length. Both engines must do so alike, because draws select by position.
    state.counts[place, r] -= 1
    member = state.members[place, r, m]
    state.members[place, r, m] = state.members[place, r, state.counts[place, r]]
    return member


@compiled
def update_propensities(state, scratch, place):
    """Propensities of a place, from its counts; returns nothing, the sum is the last column."""
    n, k, a = state.counts[place], state.rates[place], scratch.propensity[place]
    a[C_UNBIND] = k[C_UNBIND] * float(n[L_BOUND])
    a[C_TRANSPORT] = k[C_TRANSPORT] * float(n[L_BOUND])
    a[C_UNBLOCK] = k[C_UNBLOCK] * float(n[L_BLOCKED])
    # Any free molecule can meet any empty site, so pairs are counted. Drugs are clamped: their
    # concentration is part of the constant, and only sites are counted.
    a[C_BIND] = k[C_BIND] * float(n[L_FREE] * n[L_OPEN])
    a[C_BLOCK] = k[C_BLOCK] * float(n[L_OPEN])
    a[C_LOSE] = k[C_LOSE] * float(n[L_FREE])
    # The constant is stated for the whole pool, as in mean field (k_MAO N); that only the cytosol
    # is destroyed decides who goes, not how many.
    a[C_DEGRADE] = k[C_DEGRADE] * float(n[L_POOL])
    a[C_SYNTHESISE] = k[C_SYNTHESISE]
    a[C_LEAK] = k[C_LEAK] if n[L_POOL] > 0 else 0.0
    a[C_R_UNBIND] = k[C_R_UNBIND] * float(n[L_R_SEROTONIN])
    a[C_R_UNBLOCK] = k[C_R_UNBLOCK] * float(n[L_R_ANTAGONIST])
    a[C_R_BIND] = k[C_R_BIND] * float(n[L_FREE] * n[L_R_OPEN])
    a[C_R_BLOCK] = k[C_R_BLOCK] * float(n[L_R_OPEN])
    # Added up anew each time, in this order: a running sum drifts by rounding, and the agents
    # engine has to arrive at the same last digit.
    total = 0.0
    for c in range(CHANNELS):
        total += a[c]
    a[CHANNELS] = total


@compiled
def activation(state):
    """Receptors bound, weighted by efficacy: what feeds back on firing."""
    own, antagonist = state.counts[1, L_R_SEROTONIN], state.counts[1, L_R_ANTAGONIST]
    return float(own) + state.numbers[P_EFFICACY] * float(antagonist)


@compiled
def target(numbers, bound):
    """Rate (Hz) that firing relaxes to with ``bound`` activated receptors."""
    return numbers[P_TOP] / (1.0 + numbers[P_FEEDBACK] * bound)


@compiled
def add_terminal(numbers, record, free, d):
    """What drives CREB and postsynaptic sensitivity, with ``free`` molecules at the terminal for a
    time ``d``.
    """
    # What is averaged is the right-hand side of the slow equation, at every moment: h and the
    # target are curved, so their values at the average serotonin would be others.
    fold, k = numbers[P_FOLD] * float(free), numbers[P_POSTSYNAPTIC_STRENGTH]
    powered = raised(numbers[P_POSTSYNAPTIC] * fold, numbers[P_POWER])
    record[I_HILL] += d * powered / (powered + numbers[P_THRESHOLD_POWER])
    record[I_POSTSYNAPTIC] += d * (1.0 + k) / (1.0 + k * fold)


@compiled
def add_activation(numbers, record, bound, d):
    """What drives the autoreceptors' sensitivity, with ``bound`` activated for a time ``d``."""
    k = numbers[P_DESENSITISATION]
    record[I_ACTIVATION] += d * bound
    # Not below the resting activation: nothing published says that receptors sensitise beyond rest.
    record[I_SENSITIVITY] += d * (1.0 + k) / (1.0 + k * max(bound / numbers[P_RESTING], 1.0))


@compiled
def relax_rate(state, bound, d):
    """Relax the rate of firing for a time ``d``; returns its integral, which is exact."""
    # The target is constant until the next event at a receptor, so rate(t) = aim + (rate - aim)
    # exp(-t / tau), and its integral is known in closed form.
    aim, tau = target(state.numbers, bound), state.numbers[P_RELAXATION]
    gone = relaxed(d / tau)
    away = state.rate[0] - aim
    state.rate[0] -= away * gone
    return aim * d + away * tau * gone


@compiled
def mean_release(state, place, n):
    """Mean content of a spike of one train, molecules, with ``n`` in the pool."""
    # 2 n / (1 + n) with n = pool / resting pool: at most twice the resting content, however full.
    return state.numbers[P_CONTENT + place] * 2.0 * n / (state.numbers[P_POOL + place] + n)


@compiled
def integrate_place(state, scratch, record, place, time):
    """Bring the integrals of a place up to ``time``."""
    # Counts are constant between events, so rectangles are exact. Each integral is brought up to
    # date only when something that it depends on is about to change.
    d = time - scratch.since[place]
    scratch.since[place] = time
    n, at = state.counts[place], PER_PLACE * place
    record[at + I_FREE] += d * float(n[L_FREE])
    record[at + I_POOL] += d * float(n[L_POOL])
    record[at + I_BOUND] += d * float(n[L_BOUND])
    record[at + I_BLOCKED] += d * float(n[L_BLOCKED])
    record[at + I_RECEPTORS] += d * float(n[L_R_SEROTONIN])


@compiled
def integrate_terminal(state, scratch, record, time):
    """Bring the integrals that depend on free serotonin at the terminal up to ``time``."""
    d = time - scratch.since[2]
    scratch.since[2] = time
    add_terminal(state.numbers, record, state.counts[0, L_FREE], d)


@compiled
def integrate_rate(state, scratch, record, time):
    """Relax the rate of firing to ``time``, with the integrals of rate and activation."""
    d, bound = time - scratch.since[3], activation(state)
    scratch.since[3] = time
    record[I_RATE] += relax_rate(state, bound, d)
    add_activation(state.numbers, record, bound, d)


@compiled
def release_draw(plan, state, scratch):
    """Next uniform number of this step's releases."""
    # Numbers are addressed by step and index, from 0 in each step (``clock`` zeroes the positions),
    # so any step can be repeated by itself.
    j = scratch.at[0]
    if j == 0:
        c2, c3 = high_words(plan, SPIKE_STREAM, state.meta[M_STEP])
        first = u32(scratch.at[1] * CLOCK_BUFFER)
        fill_draws(scratch.release, CLOCK_BUFFER, RELEASE, first, c2, c3, plan.key0, plan.key1)
        scratch.at[1] += 1
    # Back to 0 when the buffer is used up: the next call then draws the next blocks.
    scratch.at[0] = j + 1 if j + 1 < 2 * CLOCK_BUFFER else 0
    return uniform(scratch.release[j])


@compiled
def vesicular(state, place):
    """How many of those inside are in vesicles: N N0 / (N0 + N), rounded down.

    A spike releases a constant share of it, 2 P_CONTENT / N0: so saturating content per spike
    (``neuron.filling``) reads as vesicles that fill from the cytosol at once, and saturate.
    """
    n, rest = float(state.counts[place, L_POOL]), state.numbers[P_POOL + place]
    return int(n * rest / (rest + n))


@compiled
def release_one(plan, state, scratch, place):
    """A molecule in a vesicle, any, goes free."""
    # The vesicles' share is rounded down, of a single molecule to none; but that one leaves has
    # been decided, so the first does.
    n = max(vesicular(state, place), 1)
    # The product can round up to n when the draw is next to 1.
    member = min(int(release_draw(plan, state, scratch) * n), n - 1)
    put_in(state, place, L_FREE, take_out(state, place, L_POOL, member))


@compiled
def spike(plan, state, scratch):
    """One train spikes: its content leaves both pools, rounded up or down at random."""
    for place in range(2):
        mean = mean_release(state, place, float(state.counts[place, L_POOL]))
        # A content is seldom whole: rounding it up with the probability of its fraction keeps the
        # mean.
        size = min(int(mean + release_draw(plan, state, scratch)), state.counts[place, L_POOL])
        for _ in range(size):
            release_one(plan, state, scratch, place)
        state.events[place, RELEASED] += size
        update_propensities(state, scratch, place)
    state.meta[M_SPIKES] += 1


@compiled
def degrade(state, place, m):
    """Monoamine oxidase takes a molecule of the cytosol; ``m`` in [0, 1) says which."""
    first = vesicular(state, place)
    n = state.counts[place, L_POOL] - first
    take_out(state, place, L_POOL, first + min(int(m * float(n)), n - 1))


@compiled
def bind_drug(state, place, empty, bound, member):
    """A drug molecule from the reservoir takes an empty site, and gets a number."""
    site = take_out(state, place, empty, member)
    state.occupants[place, site] = u32(state.meta[M_NEXT_DRUG])
    state.meta[M_NEXT_DRUG] += 1
    put_in(state, place, bound, site)


@compiled
def bind_serotonin(state, place, empty, bound, member):
    """A free molecule takes an empty site."""
    n = state.counts[place, empty]
    # Pairs are numbered molecule x sites + site, so one number selects both.
    site = take_out(state, place, empty, member % n)
    state.occupants[place, site] = take_out(state, place, L_FREE, member // n)
    put_in(state, place, bound, site)


@compiled
def unbind(state, place, bound, empty, member):
    """A site lets go; returns the molecule it held."""
    site = take_out(state, place, bound, member)
    put_in(state, place, empty, site)
    return state.occupants[place, site]


@compiled
def carry_out(plan, state, scratch, place, c, rest):
    """Carry out channel ``c`` of a place; what is left of the draw selects the member."""
    n = state.counts[place]
    # What is left of the draw is uniform over this channel's propensity; over the constant it
    # numbers the member or pair. The minima below are for a quotient that rounds up to one too
    # many.
    m = int(rest / state.rates[place, c])
    if c == C_DEGRADE:
        degrade(state, place, rest / (state.rates[place, c] * float(n[L_POOL])))
    elif c == C_SYNTHESISE:
        put_in(state, place, L_POOL, u32(state.meta[M_NEXT_ID]))
        state.meta[M_NEXT_ID] += 1
    elif c == C_BIND:
        bind_serotonin(state, place, L_OPEN, L_BOUND, min(m, n[L_FREE] * n[L_OPEN] - 1))
    elif c == C_TRANSPORT or c == C_UNBIND:
        molecule = unbind(state, place, L_BOUND, L_OPEN, min(m, n[L_BOUND] - 1))
        put_in(state, place, L_POOL if c == C_TRANSPORT else L_FREE, molecule)
    elif c == C_R_BIND:
        bind_serotonin(state, place, L_R_OPEN, L_R_SEROTONIN, min(m, n[L_FREE] * n[L_R_OPEN] - 1))
    elif c == C_R_UNBIND:
        molecule = unbind(state, place, L_R_SEROTONIN, L_R_OPEN, min(m, n[L_R_SEROTONIN] - 1))
        put_in(state, place, L_FREE, molecule)
    elif c == C_BLOCK:
        bind_drug(state, place, L_OPEN, L_BLOCKED, min(m, n[L_OPEN] - 1))
    elif c == C_UNBLOCK:
        unbind(state, place, L_BLOCKED, L_OPEN, min(m, n[L_BLOCKED] - 1))
    elif c == C_LOSE:
        take_out(state, place, L_FREE, min(m, n[L_FREE] - 1))
    elif c == C_LEAK:
        release_one(plan, state, scratch, place)
    elif c == C_R_BLOCK:
        bind_drug(state, place, L_R_OPEN, L_R_ANTAGONIST, min(m, n[L_R_OPEN] - 1))
    else:
        unbind(state, place, L_R_ANTAGONIST, L_R_OPEN, min(m, n[L_R_ANTAGONIST] - 1))
    state.events[place, c] += 1
    update_propensities(state, scratch, place)


@compiled
def pick_channel(propensity, x):
    """Channel in which ``x`` falls, and what is left of ``x`` within it."""
    # Rounding may leave ``x`` at or beyond the last sum: ``chosen`` is then the last possible
    # channel.
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
def draw_ahead(plan, state, scratch, k):
    """Waiting times at rate one and selections, from the ``k``-th on."""
    # Waiting times are drawn at rate one and divided by the total rate when that is known, so they
    # can be made ahead, many at a time. What a step leaves unused is never used elsewhere: a number
    # belongs to its step and index.
    c2, c3 = high_words(plan, SPIKE_STREAM, state.meta[M_STEP])
    fill_draws(scratch.draws, CLOCK_BUFFER, CLOCK, u32(k), c2, c3, plan.key0, plan.key1)
    for i in range(CLOCK_BUFFER):
        scratch.wait[i] = exponential(uniform(scratch.draws[2 * i]))
        scratch.select[i] = uniform(scratch.draws[2 * i + 1])


@compiled
def molecules(state, place):
    """Those in the lists of a place, either of which may have to hold them all."""
    return state.counts[place, L_FREE] + state.counts[place, L_POOL]


@compiled
def clock(plan, state, scratch, record):
    """Exact stochastic simulation of neuron and places for one step."""
    time, k, spike_trains = 0.0, 0, state.numbers[P_TRAINS]
    scratch.at[:] = 0
    scratch.since[:] = 0.0
    spikes = state.meta[M_SPIKES]
    update_propensities(state, scratch, 0)
    update_propensities(state, scratch, 1)
    bound = spike_trains * max(state.rate[0], target(state.numbers, activation(state)))
    room = state.members.shape[2]
    while molecules(state, 0) < room and molecules(state, 1) < room:  # always; has_room saw to it
        i = k % CLOCK_BUFFER
        if i == 0:
            draw_ahead(plan, state, scratch, k)
        first, second = scratch.propensity[0, CHANNELS], scratch.propensity[1, CHANNELS]
        total = first + second + bound
        wait = scratch.wait[i] / total if total > 0.0 else math.inf
        # Nothing more happens in this step. The rest of the waiting time is dropped: an exponential
        # time has no memory.
        if time + wait >= plan.dt:
            integrate_place(state, scratch, record, 0, plan.dt)
            integrate_place(state, scratch, record, 1, plan.dt)
            integrate_terminal(state, scratch, record, plan.dt)
            integrate_rate(state, scratch, record, plan.dt)
            record[I_SPIKES] += float(state.meta[M_SPIKES] - spikes)
            return
        time += wait
        k += 1
        # One number selects: a channel of the terminal, one of the soma, or a candidate for a
        # spike; what is left of it selects the member.
        x = scratch.select[i] * total
        if x < first + second:
            place = 0 if x < first else 1
            c, rest = pick_channel(scratch.propensity[place], x if place == 0 else x - first)
            integrate_place(state, scratch, record, place, time)
            # These two change the pool alone, not free serotonin.
            if place == 0 and c != C_DEGRADE and c != C_SYNTHESISE:
                integrate_terminal(state, scratch, record, time)
            # Channels of receptors are numbered last: only they move the target of firing.
            if c >= C_R_UNBIND:
                integrate_rate(state, scratch, record, time)
            carry_out(plan, state, scratch, place, c, rest)
            if c >= C_R_UNBIND:
                bound = spike_trains * max(state.rate[0], target(state.numbers, activation(state)))
        else:
            integrate_rate(state, scratch, record, time)
            # Thinning: a candidate at the bound is a spike with probability rate / bound. Where it
            # is none, time has passed all the same, and the bound follows the rate.
            if x - first - second < spike_trains * state.rate[0]:
                integrate_place(state, scratch, record, 0, time)
                integrate_place(state, scratch, record, 1, time)
                integrate_terminal(state, scratch, record, time)
                spike(plan, state, scratch)
            bound = spike_trains * max(state.rate[0], target(state.numbers, activation(state)))
    # Full in mid-step, which ``has_room`` rules out but for a chance of 1e-23; 1 asks for room.
    state.meta[M_FULL] = 2


@compiled
def has_room(plan, state, place):
    """Whether the lists of a place will hold all that a step may bring: ten standard deviations
    above the mean of what is made, and all that sites hold.
    """
    made = state.rates[place, C_SYNTHESISE] * plan.dt
    bound = state.counts[place, L_BOUND] + state.counts[place, L_R_SEROTONIN]
    most = float(molecules(state, place) + bound) + made + 10.0 * math.sqrt(made) + 64.0
    return most < float(state.members.shape[2])


@compiled
def advance(plan, state, scratch, record, steps):
    """Run ``steps`` steps and record each; returns the number completed.

    Fewer than asked means that the lists want more room (``meta[M_FULL]``) before the next step.
    """
    for i in range(steps):
        # Asked between steps: kernels allocate nothing, so it is Python that makes the lists
        # longer.
        if not (has_room(plan, state, 0) and has_room(plan, state, 1)):
            state.meta[M_FULL] = 1
            return i
        clock(plan, state, scratch, record[i])
        if state.meta[M_FULL]:
            return i
        state.meta[M_STEP] += 1
    return steps
