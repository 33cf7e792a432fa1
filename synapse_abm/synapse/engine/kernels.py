"""The compiled engine: one step is hop, then react; many steps are one call.

Every function is the fast twin of a readable one in ``agents``: same draws, same order, same result
to the last bit. Loops are kept small and separate over blocks that stay in the first-level cache,
indices are unsigned (a signed one costs a wrap-around test that stops vectorisation), and no
fast-math is used.
"""

from __future__ import annotations

import math

import numpy as np

from synapse_abm.core.compiling import compiled
from synapse_abm.core.draws import (
    ARRIVE_STREAM,
    HALF,
    HOP_STREAM,
    LEAVE_STREAM,
    REACT_STREAM,
    WORD,
    ZERO,
    exponential,
    fill_draws,
    fill_entities,
    high_words,
    philox,
    u32,
    u64,
    uniform,
)
from synapse_abm.synapse.engine.layout import ARRIVE as ARRIVE_EVENT
from synapse_abm.synapse.engine.layout import (
    BIND,
    BOUND,
    CELL,
    COMPARTMENT,
    COUNTER,
    DEAD,
    DEGRADE,
    DIRECT_BITS,
    DUE_LIGAND,
    DUE_SIZE,
    DUE_SLOT,
    DUE_STEP,
    END,
    EXIT,
    EXIT_SHARE,
    FIRST,
    FREE,
    FULL,
    GONE,
    ID,
    INDEX,
    INSIDE,
    KIND,
    LEAVE,
    LIGAND,
    LIMIT,
    MIXED,
    MOLECULES,
    NEXT_ID,
    NO_SITE,
    PASS_MEAN,
    RELEASE,
    RETURN,
    ROW,
    SCHEDULED,
    SECOND,
    SITE,
    SITE_CELL,
    SITES_TO,
    START,
    STAY_MEAN,
    STEP,
    TARGET,
    TRANSPORT,
    X,
    Y,
)

BLOCK = 1024  # rows per pass
GROUP = np.uint64(8)  # offsets tested at a time; divides BLOCK
BUFFER = 16  # blocks of random numbers drawn at a time by a clock

FIELD, SIXTEEN = u64(0xFFFF), u64(16)
DIRECT_SHIFT, MIXED_OFFSET = u64(32 - DIRECT_BITS), u32(MIXED)
UPPER, TOP_BITS = u32(16), u32(0x80008000)
ONE, FIVE, BITS = u32(1), u32(5), u32(31)
NONE, NEXT = u64(0), u64(1)


# --- hop -----------------------------------------------------------------------------------------


@compiled
def molecule_words(ids, words, plan, stream, step):
    """The word of each molecule in a stream with one draw per molecule (``rng.molecule_words``).

    Neighbours in id share a block of the generator. Rows ascend in id, so a block of rows spans a
    range of ids, which is drawn as a whole; holes in the range cost a pass that moves the words
    up. If most of the range is holes each molecule draws for itself. The word of row i is at
    ``words[start + i]``; returns ``start``.
    """
    c2, c3 = high_words(plan, stream, step)
    n, low, last = ids.size, ids[0] >> ONE, ids[ids.size - 1]
    span = int(last >> ONE) - int(low) + 1
    if span > n:
        for i in range(n):
            a, b, c, d = philox(u32(ids[i] >> ONE), ZERO, c2, c3, plan.key0, plan.key1)
            odd = (ids[i] & ONE) != ZERO
            words[i] = u64(c) | u64(d) << HALF if odd else u64(a) | u64(b) << HALF
        return 0
    fill_entities(words, span, low, c2, c3, plan.key0, plan.key1)
    if int(last) - int(ids[0]) == n - 1:
        return int(ids[0] & ONE)
    base = u32(low << ONE)
    for i in range(n):
        words[i] = words[ids[i] - base]  # never from before i: ids ascend
    return 0


@compiled
def pick(table, shift, word):
    """Ring offset from an alias table (``heat.offset``)."""
    entry, below = table[word >> shift], (u64(1) << shift) - u64(1)
    return u32(entry & FIELD) if (word & below) < (entry >> HALF) else u32(entry >> SIXTEEN & FIELD)


@compiled
def pick_mixed(both, space, ligand, word):
    """The same for the axes that the short cut left open."""
    x, y = both & MIXED_OFFSET, both >> UPPER
    if x == MIXED_OFFSET:
        x = pick(space.hop[0, ligand], u64(space.hop_shift[0, ligand]), word & WORD)
    if y == MIXED_OFFSET:
        y = pick(space.hop[1, ligand], u64(space.hop_shift[1, ligand]), word >> HALF)
    return u32(x | y << UPPER)


@compiled
def look_up(offsets, space, ligand, words):
    """Ring offsets of each molecule: along x in the lower, along y in the upper 16 bits.

    Most are found without a comparison. One test serves a group of them: offsets on any but the
    largest rings leave the top bits clear that ``MIXED`` sets.
    """
    direct_x, direct_y = space.direct[0, ligand], space.direct[1, ligand]
    for first in range(NONE, u64(words.size), GROUP):
        seen = ZERO
        for i in range(first, u64(first + GROUP)):
            word = words[i]
            x = u32(direct_x[(word & WORD) >> DIRECT_SHIFT])
            both = u32(x | u32(direct_y[word >> HALF >> DIRECT_SHIFT]) << UPPER)
            offsets[i] = both
            seen |= both
        if seen & TOP_BITS:
            for i in range(first, u64(first + GROUP)):
                offsets[i] = pick_mixed(offsets[i], space, ligand, words[i])


@compiled
def displace(x, y, compartment, cell, offsets, ring_x, ring_y, width, fold):
    """Move free molecules along their rings and find their cells.

    The wrap is one unsigned minimum, and so is the fold of a ring with reflecting walls.
    """
    for i in range(x.size):
        mask = u32(ZERO - u32(compartment[i] == FREE))
        both = offsets[i] & mask
        column, row = u32(x[i] + (both & MIXED_OFFSET)), u32(y[i] + (both >> UPPER))
        column, row = min(column, u32(column - ring_x)), min(row, u32(row - ring_y))
        x[i], y[i] = column, row
        if fold:
            column = min(column, u32(ring_x - ONE - column))
            row = min(row, u32(ring_y - ONE - row))
        here = u32(u32(row * width) + column)
        cell[i] = (here & mask) | (cell[i] & ~mask)


@compiled
def gather(cell, first_row, is_active, rows, m):
    """Append the rows that are in active cells, without a branch."""
    for i in range(cell.size):
        rows[m] = u32(first_row + u32(i))
        m += u64(is_active[cell[i]])
    return m


@compiled
def hop(plan, store, space, landing, bench, ligand, landed):
    """Displace the free molecules of a ligand and list those in active cells."""
    m = u64(landed)
    mol, seg = store.molecules, store.segments
    ring_x, ring_y, width = u32(plan.ring_x), u32(plan.ring_y), u32(plan.width)
    hops = space.hop_shift[0, ligand] >= 0 or space.hop_shift[1, ligand] >= 0
    for b in range(seg[ligand, START], seg[ligand, END], BLOCK):
        e = min(b + BLOCK, seg[ligand, END])
        ids, cell, compartment = mol[ID, b:e], mol[CELL, b:e], mol[COMPARTMENT, b:e]
        if hops:
            x, y = mol[X, b:e], mol[Y, b:e]
            start = molecule_words(ids, bench.words, plan, HOP_STREAM, store.meta[STEP])
            words = bench.words[start : start + -(-ids.size // int(GROUP)) * int(GROUP)]
            look_up(bench.offsets, space, ligand, words)
            displace(x, y, compartment, cell, bench.offsets, ring_x, ring_y, width, plan.fold)
        m = gather(cell, u32(b), space.is_active, landing.rows, m)
    return int(m)


# --- who is where --------------------------------------------------------------------------------


@compiled
def slot_of(space, cell):
    """Index of an active cell among the active ones: how many bits are set below its own."""
    word = cell >> FIVE
    x = u32(space.active_bits[word] & u32((ONE << (cell & BITS)) - ONE))
    x = u32(x - ((x >> ONE) & u32(0x55555555)))
    x = u32((x & u32(0x33333333)) + ((x >> u32(2)) & u32(0x33333333)))
    x = u32((x + (x >> u32(4))) & u32(0x0F0F0F0F))
    return int(space.active_before[word]) + int(u32(x * u32(0x01010101)) >> u32(24))


@compiled
def sort_into_cells(mol, space, landing, first, last, free_row, inside_row, any_inside):
    """Count a ligand's molecules per active cell and chain them, ascending in id."""
    for i in range(last - 1, first - 1, -1):
        row = u64(landing.rows[i])
        at = slot_of(space, mol[CELL, row])
        counted = free_row
        if any_inside and mol[COMPARTMENT, row] == INSIDE:
            counted = inside_row
        landing.counts[counted, at] += 1
        landing.follow[i] = landing.head[at]
        landing.head[at] = i


@compiled
def total_propensities(chem, landing):
    """Total propensity of every active cell: channels in order, rate x count x count."""
    total = landing.total
    total[:] = 0.0
    for c in range(chem.rate.size):
        if chem.channels[c, KIND] == RELEASE:
            release = chem.release_rate[chem.channels[c, INDEX]]
            for s in range(total.size):
                total[s] += release[s]
        else:
            rate = chem.rate[c]
            n1 = landing.counts[chem.channels[c, FIRST]]
            n2 = landing.counts[chem.channels[c, SECOND]]
            for s in range(total.size):
                total[s] += rate * float(np.int64(n1[s]) * np.int64(n2[s]))


@compiled
def ready_cells(plan, active, landing, step, everywhere):
    """Active cells in which something may happen within dt; one cheap test decides for most.

    -log(u) / a < dt needs u > exp(-a dt) >= 1 - a dt, so cells with u + a dt < 1 are quiet. The
    clock repeats the exact test, so the margin here is only for rounding.
    """
    c2, c3 = high_words(plan, REACT_STREAM, step)
    for s in range(active.size):
        a, b, _, _ = philox(active[s], ZERO, c2, c3, plan.key0, plan.key1)
        landing.waiting[s] = uniform(u64(a) | u64(b) << HALF)
    n = u64(0)
    reach, threshold = plan.dt * (1.0 + 1e-9), 0.0 if everywhere else 1.0 - 1e-12
    for s in range(active.size):
        landing.ready[n] = s
        n += u64(landing.waiting[s] + landing.total[s] * reach >= threshold)
    return int(n)


# --- the clock of one cell -----------------------------------------------------------------------


@compiled
def put(bench, r, member):
    """Append a member to list ``r`` of the open cell; ``clock`` brings the totals up to date."""
    r = u64(r)
    n = bench.here[r]
    bench.members[u64(bench.first[r] + n)] = member
    bench.here[r] = n + 1


@compiled
def take(bench, r, m):
    """Remove member ``m`` of list ``r``: the last one takes its place."""
    r, m = u64(r), u64(m)
    first, last = u64(bench.first[r]), u64(bench.here[r] - 1)
    bench.here[r] = last
    member = bench.members[first + m]
    bench.members[first + m] = bench.members[first + last]
    return member


@compiled
def open_cell(plan, store, space, chem, landing, bench, at):
    """List the members of a cell: free and inside by ligand, empty and bound sites, ascending in
    id.
    """
    mol, sites, here = store.molecules, store.sites, bench.here
    free_row = plan.pairs + plan.targets
    for r in range(here.size):
        here[r] = 0
    i, ligand = landing.head[at], 0
    while i >= 0:
        row = landing.rows[i]
        while row >= store.segments[ligand, LIMIT]:
            ligand += 1
        r = free_row + ligand
        if store.totals[r + plan.ligands] > 0 and mol[COMPARTMENT, row] == INSIDE:
            r += plan.ligands
        bench.members[bench.first[r] + here[r]] = row
        here[r] += 1
        i = landing.follow[i]
    for j in range(space.first_site[at], space.first_site[at + 1]):
        site = space.site_order[j]
        target, bound = sites[TARGET, site], sites[LIGAND, site]
        r = chem.pair_of[target, bound] if bound >= 0 else plan.pairs + target
        bench.members[bench.first[r] + here[r]] = site
        here[r] += 1
    here[here.size - 1] = 1
    for c in range(chem.rate.size):
        batch = chem.channels[c, KIND] == RELEASE
        bench.rate[c] = chem.release_rate[chem.channels[c, INDEX], at] if batch else chem.rate[c]


@compiled
def propensities(chem, bench):
    """Propensity of each channel of the open cell; returns their sum, added up in order."""
    total = 0.0
    for c in range(chem.rate.size):
        first, second = u64(chem.channels[c, FIRST]), u64(chem.channels[c, SECOND])
        n1, n2 = bench.here[first], bench.here[second]
        a = bench.rate[c] * float(n1 * n2)
        bench.propensity[c] = a
        total += a
    return total


@compiled
def refill(bench, entity, k, c2, c3, key0, key1):
    """Draws of a clock from its ``k``-th event on: waiting times at rate one, and selections.

    The logarithms are taken here, in one go, and not between two events that wait for each other.
    Most cells need two draws or none, so the first time two are made, then ``BUFFER`` at a time.
    """
    n = 2 if k == 0 else BUFFER
    fill_draws(bench.draws, n, entity, u32(k), c2, c3, key0, key1)
    for i in range(n):
        bench.wait[i] = exponential(uniform(bench.draws[2 * i]))
        bench.select[i] = uniform(bench.draws[2 * i + 1])
    return n


@compiled
def choose(propensity, x):
    """Channel in which ``x`` falls, and what is left of ``x`` within it."""
    rest = x
    for c in range(propensity.size):
        a = propensity[c]
        if rest < a:
            return u64(c), rest
        rest -= a
    return last_possible(propensity, x)


@compiled
def last_possible(propensity, x):
    """The same for an ``x`` that, by rounding, falls behind all channels: the last one above
    zero.
    """
    chosen, rest = u64(0), x
    for c in range(propensity.size):
        if propensity[c] > 0.0:
            chosen, rest = u64(c), x
            x -= propensity[c]
    return chosen, rest


@compiled
def unseat(plan, store, chem, bench, c, member, compartment):
    """Empty a bound site; its molecule, if it is one, goes free or inside in the same cell."""
    mol, sites = store.molecules, store.sites
    site = u64(take(bench, chem.channels[c, FIRST], member))
    put(bench, chem.channels[c, SITES_TO], site)
    sites[LIGAND, site] = -1
    joins = chem.channels[c, MOLECULES]
    if joins < bench.here.size - 1:
        row = u64(sites[ROW, site])
        sites[ROW, site] = -1
        mol[SITE, row] = NO_SITE
        mol[CELL, row] = sites[SITE_CELL, site]
        mol[COMPARTMENT, row] = compartment
        put(bench, joins, row)


@compiled
def seat(plan, store, chem, bench, c, member):
    """Bind a free molecule (or a clamped ligand: no list of free ones) to an empty site of the
    cell.
    """
    mol, sites = store.molecules, store.sites
    pair, empty = u64(chem.channels[c, INDEX]), u64(chem.channels[c, SECOND])
    n_empty = u64(bench.here[empty])
    site = u64(take(bench, empty, member % n_empty))
    put(bench, chem.channels[c, SITES_TO], site)
    sites[LIGAND, site] = chem.pairs[pair, 1]
    leaves = chem.channels[c, MOLECULES]
    if leaves < bench.here.size - 1:
        row = u64(take(bench, leaves, member // n_empty))
        sites[ROW, site] = row
        mol[SITE, row] = site
        mol[CELL, row] = plan.cells
        mol[COMPARTMENT, row] = BOUND


@compiled
def discard(plan, store, row, ligand):
    """A molecule leaves the place for good."""
    store.molecules[COMPARTMENT, row] = GONE
    store.molecules[CELL, row] = plan.cells
    store.segments[ligand, DEAD] += 1


@compiled
def create(plan, store, ligand, cell):
    """A new free molecule with an id never used before; its row, or -1 if the rows are full."""
    mol, seg = store.molecules, store.segments
    row = seg[ligand, END]
    if row == seg[ligand, LIMIT]:
        store.meta[FULL] = 1 + ligand
        return -1
    seg[ligand, END] = row + 1
    mol[ID, row] = u32(store.meta[NEXT_ID])
    store.meta[NEXT_ID] += 1
    mol[X, row], mol[Y, row] = cell % plan.width, cell // plan.width
    mol[CELL, row], mol[COMPARTMENT, row], mol[SITE, row] = cell, FREE, NO_SITE
    return row


@compiled
def enter(plan, store, bench, ligand, cell, size):
    """``size`` new molecules in the open cell."""
    for _ in range(size):
        row = create(plan, store, ligand, cell)
        if row < 0:
            return
        put(bench, plan.pairs + plan.targets + ligand, row)


@compiled
def fire(plan, store, chem, bench, at, cell, c, rest):
    """Carry out the event that was drawn: channel ``c``, member by what is left of the draw."""
    kind, index = chem.channels[c, KIND], chem.channels[c, INDEX]
    first, second = chem.channels[c, FIRST], chem.channels[c, SECOND]
    size = 1
    if kind == RELEASE or kind == ARRIVE_EVENT:
        if kind == RELEASE:
            size = chem.release_size[index, at]
        enter(plan, store, bench, index, cell, size)
    else:
        a, b = u64(first), u64(second)
        member = u64(min(int(rest / chem.rate[c]), bench.here[a] * bench.here[b] - 1))
        if kind == BIND:
            seat(plan, store, chem, bench, c, member)
        elif kind <= TRANSPORT:
            compartment = INSIDE if kind == TRANSPORT else FREE
            unseat(plan, store, chem, bench, c, member, compartment)
        else:
            row = take(bench, first, member)
            if kind == RETURN:
                store.molecules[COMPARTMENT, row] = FREE
                put(bench, first - plan.ligands, row)
            else:
                discard(plan, store, row, index)
    store.events[u64(chem.channels[c, COUNTER])] += size


@compiled
def clock(plan, store, space, chem, landing, bench, at, due, due_end):
    """Exact stochastic simulation of one cell for dt (Gillespie 1977), positions frozen.

    ``due`` ... ``due_end`` are the scheduled releases of this cell and step. Draw 2k is the k-th
    waiting time, 2k + 1 selects event and member; a release at a given time starts a new waiting
    time.
    """
    open_cell(plan, store, space, chem, landing, bench, at)
    step, cell = store.meta[STEP], space.active[at]
    c2, c3 = high_words(plan, REACT_STREAM, step)
    time, k, i, n = 0.0, 0, NONE, NONE
    limit = space.schedule_offset[u64(due)] if due < due_end else plan.dt
    while store.meta[FULL] == 0:
        total = propensities(chem, bench)
        if i == n:
            i, n = NONE, u64(refill(bench, cell, k, c2, c3, plan.key0, plan.key1))
        wait = bench.wait[i] / total if total > 0.0 else math.inf
        if time + wait < limit:
            time += wait
            c, rest = choose(bench.propensity, bench.select[i] * total)
            fire(plan, store, chem, bench, at, int(cell), c, rest)
            store.last_s[chem.channels[c, COUNTER]] = step * plan.dt + time
        elif due < due_end:
            time = limit
            ligand, size = space.schedule[due, DUE_LIGAND], space.schedule[due, DUE_SIZE]
            enter(plan, store, bench, ligand, int(cell), size)
            note(plan, store, RELEASE, ligand, size, step * plan.dt + time)
            due += 1
            limit = space.schedule_offset[u64(due)] if due < due_end else plan.dt
        else:
            break
        i += NEXT
        k += 1
    for r in range(store.totals.size):
        store.totals[r] += bench.here[r] - landing.counts[r, at]
        landing.counts[r, at] = bench.here[r]


@compiled
def note(plan, store, kind, ligand, n, time):
    """Count ``n`` events of a ligand at a time (s)."""
    if n > 0:
        counter = 3 * plan.pairs + (kind - RETURN) * plan.ligands + ligand
        store.events[counter] += n
        store.last_s[counter] = time


# --- cells without sites: exchange in closed form; events get the time of the step's end ---------


@compiled
def leave(plan, store, space, bench, ligand):
    """Exit and degradation of free molecules in inactive cells: each leaves with one draw."""
    mol, seg, step = store.molecules, store.segments, store.meta[STEP]
    chance = space.exchange[ligand, LEAVE]
    m = u64(0)
    for b in range(seg[ligand, START], seg[ligand, END], BLOCK):
        e = min(b + BLOCK, seg[ligand, END])
        ids, cell, compartment = mol[ID, b:e], mol[CELL, b:e], mol[COMPARTMENT, b:e]
        start = molecule_words(ids, bench.words, plan, LEAVE_STREAM, step)
        words = bench.words[start : start + ids.size]
        for i in range(ids.size):
            u = uniform(words[i])
            busy = space.is_active[cell[i]]
            bench.leaving[m] = u32(u32(b) + u32(i))
            bench.leaving_u[m] = u
            m += u64((u < chance) & (compartment[i] == FREE) & (busy == 0))
    exits = 0
    for i in range(m):
        exits += int(bench.leaving_u[i] < chance * space.exchange[ligand, EXIT_SHARE])
        discard(plan, store, bench.leaving[i], ligand)
    store.totals[plan.pairs + plan.targets + ligand] -= int(m)
    end = (step + 1) * plan.dt
    note(plan, store, EXIT, ligand, exits, end)
    note(plan, store, DEGRADE, ligand, int(m) - exits, end)


@compiled
def arrival_draw(plan, draws, ligand, step, k):
    """Uniform number ``k`` of a ligand's arrivals in this step."""
    j = k % (2 * BUFFER)
    if j == 0:
        c2, c3 = high_words(plan, ARRIVE_STREAM, step)
        fill_draws(draws, BUFFER, u32(ligand), u32(k // 2), c2, c3, plan.key0, plan.key1)
    return uniform(draws[j])


@compiled
def poisson(plan, draws, ligand, step, k, mean):
    """Poisson number by counting exponential gaps up to ``mean``; also the next free draw."""
    n, reached = 0, 0.0
    while mean > 0.0:
        reached += exponential(arrival_draw(plan, draws, ligand, step, k))
        k += 1
        if reached > mean:
            break
        n += 1
    return n, k


@compiled
def arrive(plan, store, space, bench, ligand):
    """Arrivals in inactive cells: those that stay, anywhere, and those that have left again."""
    step, cells = store.meta[STEP], space.inactive.size
    stay, k = poisson(plan, bench.draws, ligand, step, 0, space.exchange[ligand, STAY_MEAN])
    for _ in range(stay):
        where = min(int(arrival_draw(plan, bench.draws, ligand, step, k) * cells), cells - 1)
        k += 1
        if create(plan, store, ligand, int(space.inactive[where])) < 0:
            return
    store.totals[plan.pairs + plan.targets + ligand] += stay
    passing, k = poisson(plan, bench.draws, ligand, step, k, space.exchange[ligand, PASS_MEAN])
    exits, share = 0, space.exchange[ligand, EXIT_SHARE]
    for _ in range(passing):
        exits += int(arrival_draw(plan, bench.draws, ligand, step, k) < share)
        k += 1
    end = (step + 1) * plan.dt
    note(plan, store, ARRIVE_EVENT, ligand, stay + passing, end)
    note(plan, store, EXIT, ligand, exits, end)
    note(plan, store, DEGRADE, ligand, passing - exits, end)


# --- the step ------------------------------------------------------------------------------------


@compiled
def compact(store, ligand):
    """Close the gaps that molecules left in a ligand's rows; the order of ids stays."""
    mol, seg = store.molecules, store.segments
    to = seg[ligand, START]
    for row in range(seg[ligand, START], seg[ligand, END]):
        if mol[COMPARTMENT, row] == GONE:
            continue
        if to != row:
            for field in range(6):
                mol[field, to] = mol[field, row]
            if mol[COMPARTMENT, row] == BOUND:
                store.sites[ROW, mol[SITE, row]] = to
        to += 1
    seg[ligand, END], seg[ligand, DEAD] = to, 0


@compiled
def count_sites(plan, store, space, chem, counts):
    """Counts of empty and bound sites per active cell, from the arrays."""
    counts[:, :] = 0
    counts[counts.shape[0] - 1, :] = 1
    for site in range(store.sites.shape[1]):
        at = slot_of(space, u32(store.sites[SITE_CELL, site]))
        target, ligand = store.sites[TARGET, site], store.sites[LIGAND, site]
        r = plan.pairs + target if ligand < 0 else chem.pair_of[target, ligand]
        counts[r, at] += 1


@compiled
def move(plan, store, space, landing, bench):
    """Hop all ligands, and find who landed in which active cell."""
    seg, free_row = store.segments, plan.pairs + plan.targets
    landed = 0
    for ligand in range(plan.ligands):
        if seg[ligand, DEAD] > 64 and 4 * seg[ligand, DEAD] > seg[ligand, END] - seg[ligand, START]:
            compact(store, ligand)
        landed = hop(plan, store, space, landing, bench, ligand, landed)
        landing.end[ligand] = landed
    landing.head[:] = -1
    landing.counts[free_row : free_row + 2 * plan.ligands, :] = 0
    for ligand in range(plan.ligands - 1, -1, -1):
        first = landing.end[ligand - 1] if ligand > 0 else 0
        r, inside_row = free_row + ligand, free_row + plan.ligands + ligand
        any_inside = store.totals[inside_row] > 0
        sort_into_cells(
            store.molecules, space, landing, first, landing.end[ligand], r, inside_row, any_inside
        )


@compiled
def react(plan, store, space, chem, landing, bench):
    """Everything but hopping, positions frozen, cells ascending; then the cells without sites."""
    step = store.meta[STEP]
    due = due_end = store.meta[SCHEDULED]
    while due_end < space.schedule.shape[0] and space.schedule[due_end, DUE_STEP] == step:
        due_end += 1
    total_propensities(chem, landing)
    for i in range(ready_cells(plan, space.active, landing, step, due < due_end)):
        at, mine = landing.ready[i], due
        while due < due_end and space.schedule[due, DUE_SLOT] == at:
            due += 1
        clock(plan, store, space, chem, landing, bench, at, mine, due)
    store.meta[SCHEDULED] = due_end
    for ligand in range(plan.ligands):
        if space.exchange[ligand, LEAVE] > 0.0 and store.meta[FULL] == 0:
            leave(plan, store, space, bench, ligand)
        if space.exchange[ligand, STAY_MEAN] > 0.0 and store.meta[FULL] == 0:
            arrive(plan, store, space, bench, ligand)


@compiled
def snapshot(store, words):
    """The numbers that ``State.digest_into`` hashes, in its order, after how many there are.

    Taken here because a call of compiled code for each record costs more than most records.
    """
    mol, n = store.molecules, 0
    for segment in range(store.segments.shape[0]):
        for row in range(store.segments[segment, START], store.segments[segment, END]):
            n += mol[COMPARTMENT, row] != GONE
    at = 1
    for segment in range(store.segments.shape[0]):
        for row in range(store.segments[segment, START], store.segments[segment, END]):
            if mol[COMPARTMENT, row] == GONE:
                continue
            bound = mol[COMPARTMENT, row] == BOUND
            words[at] = mol[ID, row]
            if bound:
                words[at + n] = store.sites[SITE_CELL, mol[SITE, row]]
            else:
                words[at + n] = mol[CELL, row]
            words[at + 2 * n] = mol[SITE, row]
            words[at + 3 * n] = mol[COMPARTMENT, row]
            at += 1
    for site in range(store.sites.shape[1]):
        words[1 + 4 * n + site] = store.sites[LIGAND, site]
    words[0] = 4 * n + store.sites.shape[1]


@compiled
def advance(plan, store, space, chem, landing, bench, record, steps, every, done):
    """Run ``steps`` steps and record totals and events after every ``every``-th.

    ``done`` steps of the same recording came before this call. Returns the number of steps
    completed; fewer than asked means that a ligand's rows are full (``meta[FULL]``) and the state
    must be restored.
    """
    count_sites(plan, store, space, chem, landing.counts)
    for i in range(steps):
        move(plan, store, space, landing, bench)
        react(plan, store, space, chem, landing, bench)
        if store.meta[FULL]:
            return i
        store.meta[STEP] += 1
        if every > 0 and (done + i + 1) % every == 0:
            row, n = (done + i + 1) // every - 1, store.totals.size
            for j in range(n):
                record[row, j] = store.totals[j]
            for j in range(store.events.size):
                record[row, n + j] = store.events[j]
            if record.shape[1] > n + store.events.size:
                snapshot(store, record[row, n + store.events.size :])
    return steps
