"""The compiled engine: one step is hop, then react; many steps are one call.

Every function has a readable counterpart in ``agents``: same draws, same order, same result
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

# Rows per pass: their random words (8 kB), offsets and five fields (4 kB each) are 32 kB: they stay
# in a first-level cache while one small loop after the other goes over them.
BLOCK = 1024
# Offsets tested at a time; divides BLOCK. Eight 32-bit numbers fill a vector of 256 bits.
GROUP = np.uint64(8)
# Blocks of random numbers that a clock draws at a time, two numbers each: enough for vectors, few
# enough that those left over when a clock ends cost little.
BUFFER = 16

# Constants as unsigned types: with a plain Python integer beside it, an unsigned operand would
# become a signed one (or a float) in NumPy's and so in the compiler's arithmetic.
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
    # A block of Philox is four 32-bit words, and a molecule takes 64 bits: two neighbours in id
    # share a block, so the entity is half of the id.
    n, low, last = ids.size, ids[0] >> ONE, ids[ids.size - 1]
    span = int(last >> ONE) - int(low) + 1
    if span > n:
        # One block a molecule instead of the span's: cheaper from half of the range empty on.
        for i in range(n):
            a, b, c, d = philox(u32(ids[i] >> ONE), ZERO, c2, c3, plan.key0, plan.key1)
            odd = (ids[i] & ONE) != ZERO
            words[i] = u64(c) | u64(d) << HALF if odd else u64(a) | u64(b) << HALF
        return 0
    fill_entities(words, span, low, c2, c3, plan.key0, plan.key1)
    if int(last) - int(ids[0]) == n - 1:
        # No holes: the words lie in the order of the rows; an odd first id skips half a block.
        return int(ids[0] & ONE)
    base = u32(low << ONE)
    for i in range(n):
        words[i] = words[ids[i] - base]  # never from before i: ids ascend
    return 0


@compiled
def pick(table, shift, word):
    """Ring offset from an alias table (``heat.offset``)."""
    # Threshold, alias and offset in one word of 64 bits, so that a draw is one load from memory.
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
    # Loops over whole groups: ``hop`` rounds the number of words up, and what is behind the last
    # molecule is looked up too, from stale words, and never used.
    direct_x, direct_y = space.direct[0, ligand], space.direct[1, ligand]
    for first in range(NONE, u64(words.size), GROUP):
        seen = ZERO
        for i in range(first, u64(first + GROUP)):
            word = words[i]
            # Two independent draws from one word: its lower half for x, its upper for y.
            x = u32(direct_x[(word & WORD) >> DIRECT_SHIFT])
            both = u32(x | u32(direct_y[word >> HALF >> DIRECT_SHIFT]) << UPPER)
            offsets[i] = both
            seen |= both
        # Rings of more than 32,768 cells have offsets with these bits, too: ``pick_mixed`` leaves
        # them as they are.
        if seen & TOP_BITS:
            for i in range(first, u64(first + GROUP)):
                offsets[i] = pick_mixed(offsets[i], space, ligand, words[i])


@compiled
def displace(x, y, compartment, cell, offsets, ring_x, ring_y, width, fold):
    """Move free molecules along their rings and find their cells.

    The wrap is one unsigned minimum, and so is the fold of a ring with reflecting walls.
    """
    for i in range(x.size):
        # All ones for a free molecule, zero for others, who stay where they are: a branch would
        # keep the compiler from vectors.
        mask = u32(ZERO - u32(compartment[i] == FREE))
        both = offsets[i] & mask
        column, row = u32(x[i] + (both & MIXED_OFFSET)), u32(y[i] + (both >> UPPER))
        # Below the ring's length column - ring wraps to a huge number, so the minimum is column
        # itself; beyond, it is what the ring leaves. An offset is less than one turn.
        column, row = min(column, u32(column - ring_x)), min(row, u32(row - ring_y))
        x[i], y[i] = column, row
        if fold:
            # Walls that reflect: the second half of a ring of 2 L cells is the first one mirrored
            # (method of images), cell c being the same as 2 L - 1 - c.
            column = min(column, u32(ring_x - ONE - column))
            row = min(row, u32(ring_y - ONE - row))
        landed = u32(u32(row * width) + column)
        cell[i] = (landed & mask) | (cell[i] & ~mask)


@compiled
def gather(cell, first_row, is_active, rows, m):
    """Append the rows that are in active cells, without a branch."""
    for i in range(cell.size):
        # Written in any case, and overwritten by the next one unless the cell is active: which it
        # is cannot be predicted, and a mispredicted branch costs more than a store. ``is_active``
        # has an entry for the place of bound molecules, which are in no cell: zero.
        rows[m] = u32(first_row + u32(i))
        m += u64(is_active[cell[i]])
    return m


@compiled
def hop(plan, store, space, landing, scratch, ligand, landed):
    """Displace the free molecules of a ligand and list those in active cells."""
    m = u64(landed)
    mol, seg = store.molecules, store.segments
    ring_x, ring_y, width = u32(plan.ring_x), u32(plan.ring_y), u32(plan.width)
    # A ligand that does not diffuse draws nothing, but is found again in every step all the same.
    hops = space.hop_shift[0, ligand] >= 0 or space.hop_shift[1, ligand] >= 0
    for b in range(seg[ligand, START], seg[ligand, END], BLOCK):
        e = min(b + BLOCK, seg[ligand, END])
        ids, cell, compartment = mol[ID, b:e], mol[CELL, b:e], mol[COMPARTMENT, b:e]
        if hops:
            x, y = mol[X, b:e], mol[Y, b:e]
            start = molecule_words(ids, scratch.words, plan, HOP_STREAM, store.meta[STEP])
            words = scratch.words[start : start + -(-ids.size // int(GROUP)) * int(GROUP)]
            look_up(scratch.offsets, space, ligand, words)
            displace(x, y, compartment, cell, scratch.offsets, ring_x, ring_y, width, plan.fold)
        m = gather(cell, u32(b), space.is_active, landing.rows, m)
    return int(m)


# --- who is where --------------------------------------------------------------------------------


@compiled
def slot_of(space, cell):
    """Index of an active cell among the active ones: how many bits are set below its own."""
    # A table of slots by cell would be 4 bytes a cell, this is a bit and a word for each 32: it
    # stays in the cache on a large grid. The count of bits is the usual tree of sums: of pairs,
    # of fours, of bytes; a product adds the four bytes up in the highest one.
    word = cell >> FIVE
    x = u32(space.active_bits[word] & u32((ONE << (cell & BITS)) - ONE))
    x = u32(x - ((x >> ONE) & u32(0x55555555)))
    x = u32((x & u32(0x33333333)) + ((x >> u32(2)) & u32(0x33333333)))
    x = u32((x + (x >> u32(4))) & u32(0x0F0F0F0F))
    return int(space.active_before[word]) + int(u32(x * u32(0x01010101)) >> u32(24))


@compiled
def sort_into_cells(mol, space, landing, first, last, free_row, inside_row, any_inside):
    """Count a ligand's molecules per active cell and chain them, ascending in id."""
    # Backwards, each put before the one that came before it: the chains then run forwards, in the
    # order of ids in which the agents engine lists members, too.
    for i in range(last - 1, first - 1, -1):
        row = u64(landing.rows[i])
        at = slot_of(space, mol[CELL, row])
        counted = free_row
        # Most ligands have nobody inside, and need not look.
        if any_inside and mol[COMPARTMENT, row] == INSIDE:
            counted = inside_row
        landing.counts[counted, at] += 1
        landing.follow[i] = landing.head[at]
        landing.head[at] = i


@compiled
def total_propensities(chem, landing):
    """Total propensity of every active cell: channels in order, rate x count x count."""
    # Channels outside, cells inside: one rate and three rows of memory at a time, in vectors; and
    # each cell's sum is added up in the order in which its clock will add it up.
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
                # The product of counts in integers: exact, so that the order of factors is no
                # matter, and beyond the 32 bits that each of them has.
                total[s] += rate * float(np.int64(n1[s]) * np.int64(n2[s]))


@compiled
def ready_cells(plan, active, landing, step, everywhere):
    """Active cells in which something may happen within dt; one cheap test decides for most.

    -log(u) / a < dt needs u > exp(-a dt) >= 1 - a dt, so cells with u + a dt < 1 are quiet. The
    clock repeats the exact test, so the margin here is only for rounding.
    """
    c2, c3 = high_words(plan, REACT_STREAM, step)
    # Two loops: the first is random numbers alone and is done in vectors. These are the first draws
    # of the clocks (k = 0), which draw them again: nothing has to be handed on.
    for s in range(active.size):
        a, b, _, _ = philox(active[s], ZERO, c2, c3, plan.key0, plan.key1)
        landing.waiting[s] = uniform(u64(a) | u64(b) << HALF)
    n = u64(0)
    reach, threshold = plan.dt * (1.0 + 1e-9), 0.0 if everywhere else 1.0 - 1e-12
    for s in range(active.size):
        # Without a branch, as in ``gather``.
        landing.ready[n] = s
        n += u64(landing.waiting[s] + landing.total[s] * reach >= threshold)
    return int(n)


# --- the clock of one cell -----------------------------------------------------------------------


@compiled
def put(scratch, r, member):
    """Append a member to list ``r`` of the open cell; ``clock`` brings the totals up to date."""
    r = u64(r)
    n = scratch.counts[r]
    scratch.members[u64(scratch.first[r] + n)] = member
    scratch.counts[r] = n + 1


@compiled
def take(scratch, r, m):
    """Remove member ``m`` of list ``r``: the last one takes its place."""
    r, m = u64(r), u64(m)
    first, last = u64(scratch.first[r]), u64(scratch.counts[r] - 1)
    scratch.counts[r] = last
    member = scratch.members[first + m]
    scratch.members[first + m] = scratch.members[first + last]
    return member


@compiled
def open_cell(plan, store, space, chem, landing, scratch, at):
    """List the members of a cell: free and inside by ligand, empty and bound sites, ascending in
    id.
    """
    mol, sites, counts = store.molecules, store.sites, scratch.counts
    free_row = plan.pairs + plan.targets
    for r in range(counts.size):
        counts[r] = 0
    i, ligand = landing.head[at], 0
    while i >= 0:
        # The chain goes through the ligands in order, and rows are grouped by ligand: whose
        # molecule it is follows from the row, without an array that says so.
        row = landing.rows[i]
        while row >= store.segments[ligand, LIMIT]:
            ligand += 1
        r = free_row + ligand
        if store.totals[r + plan.ligands] > 0 and mol[COMPARTMENT, row] == INSIDE:
            r += plan.ligands
        scratch.members[scratch.first[r] + counts[r]] = row
        counts[r] += 1
        i = landing.follow[i]
    for j in range(space.first_site[at], space.first_site[at + 1]):
        site = space.site_order[j]
        target, bound = sites[TARGET, site], sites[LIGAND, site]
        r = chem.pair_of[target, bound] if bound >= 0 else plan.pairs + target
        scratch.members[scratch.first[r] + counts[r]] = site
        counts[r] += 1
    counts[counts.size - 1] = 1  # the row of ones
    for c in range(chem.rate.size):
        batch = chem.channels[c, KIND] == RELEASE
        scratch.rate[c] = chem.release_rate[chem.channels[c, INDEX], at] if batch else chem.rate[c]


@compiled
def propensities(chem, scratch):
    """Propensity of each channel of the open cell; returns their sum, added up in order."""
    # All of them anew at each event, not only those that changed: sums that are kept up to date
    # drift by rounding, and a cell has few channels.
    total = 0.0
    for c in range(chem.rate.size):
        first, second = u64(chem.channels[c, FIRST]), u64(chem.channels[c, SECOND])
        n1, n2 = scratch.counts[first], scratch.counts[second]
        a = scratch.rate[c] * float(n1 * n2)
        scratch.propensity[c] = a
        total += a
    return total


@compiled
def refill(scratch, entity, k, c2, c3, key0, key1):
    """Draws of a clock from its ``k``-th event on: waiting times at rate one, and selections.

    The logarithms are taken here, in one go, and not between two events that wait for each other.
    Most cells need two draws or none, so the first time two are made, then ``BUFFER`` at a time.
    """
    # The address of a draw is its number k: how many are made at a time changes none of them.
    n = 2 if k == 0 else BUFFER
    fill_draws(scratch.draws, n, entity, u32(k), c2, c3, key0, key1)
    for i in range(n):
        scratch.wait[i] = exponential(uniform(scratch.draws[2 * i]))
        scratch.select[i] = uniform(scratch.draws[2 * i + 1])
    return n


@compiled
def choose(propensity, x):
    """Channel in which ``x`` falls, and what is left of ``x`` within it."""
    # From one uniform number the channel and, by what is left, the member: what is left is uniform
    # within the channel (a number of 52 bits has enough of them for both).
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
def vacate(plan, store, chem, scratch, c, member, compartment):
    """Empty a bound site; its molecule, if it is one, goes free or inside in the same cell."""
    mol, sites = store.molecules, store.sites
    site = u64(take(scratch, chem.channels[c, FIRST], member))
    put(scratch, chem.channels[c, SITES_TO], site)
    sites[LIGAND, site] = -1
    # The row of ones stands for the molecules of a clamped ligand: there are none to move.
    joins = chem.channels[c, MOLECULES]
    if joins < scratch.counts.size - 1:
        row = u64(sites[ROW, site])
        sites[ROW, site] = -1
        mol[SITE, row] = NO_SITE
        mol[CELL, row] = sites[SITE_CELL, site]
        mol[COMPARTMENT, row] = compartment
        put(scratch, joins, row)


@compiled
def bind(plan, store, chem, scratch, c, member):
    """Bind a free molecule (or a clamped ligand: no list of free ones) to an empty site of the
    cell.
    """
    mol, sites = store.molecules, store.sites
    pair, empty = u64(chem.channels[c, INDEX]), u64(chem.channels[c, SECOND])
    # One number names both partners: member = free molecule x number of empty sites + site.
    n_empty = u64(scratch.counts[empty])
    site = u64(take(scratch, empty, member % n_empty))
    put(scratch, chem.channels[c, SITES_TO], site)
    sites[LIGAND, site] = chem.pairs[pair, 1]
    leaves = chem.channels[c, MOLECULES]
    if leaves < scratch.counts.size - 1:
        row = u64(take(scratch, leaves, member // n_empty))
        sites[ROW, site] = row
        mol[SITE, row] = site
        # In no cell while bound (its site knows which): so ``gather`` passes it over.
        mol[CELL, row] = plan.cells
        mol[COMPARTMENT, row] = BOUND


@compiled
def discard(plan, store, row, ligand):
    """A molecule leaves the place for good."""
    # Its row stays, as a hole, until ``compact`` closes it: rows must not move within a step.
    store.molecules[COMPARTMENT, row] = GONE
    store.molecules[CELL, row] = plan.cells
    store.segments[ligand, DEAD] += 1


@compiled
def create(plan, store, ligand, cell):
    """A new free molecule with an id never used before; its row, or -1 if the rows are full."""
    mol, seg = store.molecules, store.segments
    # Memory is not made here: the step is given up, and the caller takes it again from the state
    # before with twice the rows, to the same end, since draws depend on addresses alone.
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
def enter(plan, store, scratch, ligand, cell, size):
    """``size`` new molecules in the open cell."""
    for _ in range(size):
        row = create(plan, store, ligand, cell)
        if row < 0:
            return
        put(scratch, plan.pairs + plan.targets + ligand, row)


@compiled
def fire(plan, store, chem, scratch, at, cell, c, rest):
    """Carry out the event that was drawn: channel ``c``, member by what is left of the draw."""
    kind, index = chem.channels[c, KIND], chem.channels[c, INDEX]
    first, second = chem.channels[c, FIRST], chem.channels[c, SECOND]
    size = 1
    if kind == RELEASE or kind == ARRIVE_EVENT:
        if kind == RELEASE:
            size = chem.release_size[index, at]
        enter(plan, store, scratch, index, cell, size)
    else:
        a, b = u64(first), u64(second)
        # The rest of the draw is uniform below rate x count x count; by rounding it may come out as
        # the product itself.
        member = u64(min(int(rest / chem.rate[c]), scratch.counts[a] * scratch.counts[b] - 1))
        if kind == BIND:
            bind(plan, store, chem, scratch, c, member)
        elif kind <= TRANSPORT:
            compartment = INSIDE if kind == TRANSPORT else FREE
            vacate(plan, store, chem, scratch, c, member, compartment)
        else:
            row = take(scratch, first, member)
            if kind == RETURN:
                store.molecules[COMPARTMENT, row] = FREE
                put(scratch, first - plan.ligands, row)
            else:
                discard(plan, store, row, index)
    store.events[u64(chem.channels[c, COUNTER])] += size


@compiled
def clock(plan, store, space, chem, landing, scratch, at, due, due_end):
    """Exact stochastic simulation of one cell for dt (Gillespie 1977), positions frozen.

    ``due`` ... ``due_end`` are the scheduled releases of this cell and step. Draw 2k is the k-th
    waiting time, 2k + 1 selects event and member; a release at a given time starts a new waiting
    time.
    """
    open_cell(plan, store, space, chem, landing, scratch, at)
    # The address is the cell's number, not its place among the active ones or its turn: clocks of
    # other cells have no part in what happens here.
    step, cell = store.meta[STEP], space.active[at]
    start = seconds(plan, step)
    c2, c3 = high_words(plan, REACT_STREAM, step)
    time, k, i, n = 0.0, 0, NONE, NONE
    limit = space.schedule_offset[u64(due)] if due < due_end else plan.dt
    while store.meta[FULL] == 0:
        total = propensities(chem, scratch)
        if i == n:
            i, n = NONE, u64(refill(scratch, cell, k, c2, c3, plan.key0, plan.key1))
        wait = scratch.wait[i] / total if total > 0.0 else math.inf
        if time + wait < limit:
            time += wait
            c, rest = choose(scratch.propensity, scratch.select[i] * total)
            fire(plan, store, chem, scratch, at, int(cell), c, rest)
            store.last_s[chem.channels[c, COUNTER]] = start + time
        elif due < due_end:
            # Propensities change now; the wait that was drawn is dropped and a new one is drawn,
            # which is exact because exponential waiting has no memory.
            time = limit
            ligand, size = space.schedule[due, DUE_LIGAND], space.schedule[due, DUE_SIZE]
            enter(plan, store, scratch, ligand, int(cell), size)
            note(plan, store, RELEASE, ligand, size, start + time)
            due += 1
            limit = space.schedule_offset[u64(due)] if due < due_end else plan.dt
        else:
            break
        i += NEXT
        k += 1
    # By difference to the counts before the clock: the totals of the place never need a sum over
    # all cells.
    for r in range(store.totals.size):
        store.totals[r] += scratch.counts[r] - landing.counts[r, at]
        landing.counts[r, at] = scratch.counts[r]


@compiled
def seconds(plan, step):
    """Physical time (s) after ``step`` steps (``clock.Stretch.seconds``)."""
    return plan.first_s + (step - plan.first_step) * plan.dt


@compiled
def note(plan, store, kind, ligand, n, time):
    """Count ``n`` events of a ligand at a time (s)."""
    if n > 0:
        counter = 3 * plan.pairs + (kind - RETURN) * plan.ligands + ligand
        store.events[counter] += n
        store.last_s[counter] = time


# --- cells without sites: exchange in closed form; events get the time of the step's end ---------


@compiled
def leave(plan, store, space, scratch, ligand):
    """Exit and degradation of free molecules in inactive cells: each leaves with one draw."""
    mol, seg, step = store.molecules, store.segments, store.meta[STEP]
    chance = space.exchange[ligand, LEAVE]
    m = u64(0)
    for b in range(seg[ligand, START], seg[ligand, END], BLOCK):
        e = min(b + BLOCK, seg[ligand, END])
        ids, cell, compartment = mol[ID, b:e], mol[CELL, b:e], mol[COMPARTMENT, b:e]
        start = molecule_words(ids, scratch.words, plan, LEAVE_STREAM, step)
        words = scratch.words[start : start + ids.size]
        for i in range(ids.size):
            u = uniform(words[i])
            busy = space.is_active[cell[i]]
            # Candidates are gathered without a branch; they are few, and dealt with below.
            scratch.leaving[m] = u32(u32(b) + u32(i))
            scratch.leaving_u[m] = u
            m += u64((u < chance) & (compartment[i] == FREE) & (busy == 0))
    exits = 0
    for i in range(m):
        # The same draw says how: given u < chance, u is uniform below it.
        exits += int(scratch.leaving_u[i] < chance * space.exchange[ligand, EXIT_SHARE])
        discard(plan, store, scratch.leaving[i], ligand)
    store.totals[plan.pairs + plan.targets + ligand] -= int(m)
    end = seconds(plan, step + 1)
    note(plan, store, EXIT, ligand, exits, end)
    note(plan, store, DEGRADE, ligand, int(m) - exits, end)


@compiled
def arrival_draw(plan, draws, ligand, step, k):
    """Uniform number ``k`` of a ligand's arrivals in this step."""
    # Refilled when the last number has been used; k goes up by one from call to call.
    j = k % (2 * BUFFER)
    if j == 0:
        c2, c3 = high_words(plan, ARRIVE_STREAM, step)
        fill_draws(draws, BUFFER, u32(ligand), u32(k // 2), c2, c3, plan.key0, plan.key1)
    return uniform(draws[j])


@compiled
def poisson(plan, draws, ligand, step, k, mean):
    """Poisson number by counting exponential gaps up to ``mean``; also the next free draw."""
    # Exact and without tables; it takes mean + 1 draws, and means of a step are small.
    n, reached = 0, 0.0
    while mean > 0.0:
        reached += exponential(arrival_draw(plan, draws, ligand, step, k))
        k += 1
        if reached > mean:
            break
        n += 1
    return n, k


@compiled
def arrive(plan, store, space, scratch, ligand):
    """Arrivals in inactive cells: those that stay, anywhere, and those that have left again."""
    step, cells = store.meta[STEP], space.inactive.size
    stay, k = poisson(plan, scratch.draws, ligand, step, 0, space.exchange[ligand, STAY_MEAN])
    for _ in range(stay):
        where = min(int(arrival_draw(plan, scratch.draws, ligand, step, k) * cells), cells - 1)
        k += 1
        if create(plan, store, ligand, int(space.inactive[where])) < 0:
            return
    store.totals[plan.pairs + plan.targets + ligand] += stay
    # Came and left within the step: nobody meets them, so they are events and no molecules.
    passing, k = poisson(plan, scratch.draws, ligand, step, k, space.exchange[ligand, PASS_MEAN])
    exits, share = 0, space.exchange[ligand, EXIT_SHARE]
    for _ in range(passing):
        exits += int(arrival_draw(plan, scratch.draws, ligand, step, k) < share)
        k += 1
    end = seconds(plan, step + 1)
    note(plan, store, ARRIVE_EVENT, ligand, stay + passing, end)
    note(plan, store, EXIT, ligand, exits, end)
    note(plan, store, DEGRADE, ligand, passing - exits, end)


# --- the step ------------------------------------------------------------------------------------


@compiled
def compact(store, ligand):
    """Close the gaps that molecules left in a ligand's rows; the order of ids stays."""
    mol, seg = store.molecules, store.segments
    # In place and forwards, ``to`` never ahead of ``row``: nothing is overwritten that is not read.
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
    # Once a call; from then on clocks keep them. Molecules are counted anew in each step.
    counts[:, :] = 0
    counts[counts.shape[0] - 1, :] = 1
    for site in range(store.sites.shape[1]):
        at = slot_of(space, u32(store.sites[SITE_CELL, site]))
        target, ligand = store.sites[TARGET, site], store.sites[LIGAND, site]
        if target < 0:
            continue  # taken away
        r = plan.pairs + target if ligand < 0 else chem.pair_of[target, ligand]
        counts[r, at] += 1


@compiled
def move(plan, store, space, landing, scratch):
    """Hop all ligands, and find who landed in which active cell."""
    seg, free_row = store.segments, plan.pairs + plan.targets
    landed = 0
    for ligand in range(plan.ligands):
        # From a quarter of holes on, which each step has to go over; 64 spares small places this.
        if seg[ligand, DEAD] > 64 and 4 * seg[ligand, DEAD] > seg[ligand, END] - seg[ligand, START]:
            compact(store, ligand)
        landed = hop(plan, store, space, landing, scratch, ligand, landed)
        landing.end[ligand] = landed
    landing.head[:] = -1
    # Last ligand first, because each is chained before those that are there: the chains come out
    # ascending in ligand, and in id within a ligand.
    landing.counts[free_row : free_row + 2 * plan.ligands, :] = 0
    for ligand in range(plan.ligands - 1, -1, -1):
        first = landing.end[ligand - 1] if ligand > 0 else 0
        r, inside_row = free_row + ligand, free_row + plan.ligands + ligand
        any_inside = store.totals[inside_row] > 0
        sort_into_cells(
            store.molecules, space, landing, first, landing.end[ligand], r, inside_row, any_inside
        )


@compiled
def react(plan, store, space, chem, landing, scratch):
    """Everything but hopping, positions frozen, cells ascending; then the cells without sites."""
    step = store.meta[STEP]
    # The schedule is sorted by step and cell: what is due now lies in one piece of it.
    due = due_end = store.meta[SCHEDULED]
    while due_end < space.schedule.shape[0] and space.schedule[due_end, DUE_STEP] == step:
        due_end += 1
    total_propensities(chem, landing)
    # With a release due, all cells are run through: such steps are few, and it is simpler.
    for i in range(ready_cells(plan, space.active, landing, step, due < due_end)):
        at, mine = landing.ready[i], due
        while due < due_end and space.schedule[due, DUE_SLOT] == at:
            due += 1
        clock(plan, store, space, chem, landing, scratch, at, mine, due)
    store.meta[SCHEDULED] = due_end
    for ligand in range(plan.ligands):
        if space.exchange[ligand, LEAVE] > 0.0 and store.meta[FULL] == 0:
            leave(plan, store, space, scratch, ligand)
        if space.exchange[ligand, STAY_MEAN] > 0.0 and store.meta[FULL] == 0:
            arrive(plan, store, space, scratch, ligand)


@compiled
def snapshot(store, words):
    """The numbers that ``State.digest_into`` hashes, in its order, after how many there are.

    Taken here because a call of compiled code for each record costs more than most records.
    """
    # Two passes, because the hash takes one field after the other: where the second field begins
    # is known when the molecules have been counted.
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
def advance(plan, store, space, chem, landing, scratch, record, steps, every, done):
    """Run ``steps`` steps and record totals and events after every ``every``-th.

    ``done`` steps of the same recording came before this call. Returns the number of steps
    completed; fewer than asked means that a ligand's rows are full (``meta[FULL]``) and the state
    must be restored.
    """
    count_sites(plan, store, space, chem, landing.counts)
    for i in range(steps):
        move(plan, store, space, landing, scratch)
        react(plan, store, space, chem, landing, scratch)
        if store.meta[FULL]:
            return i  # the arrays are in the middle of a step, and of no use any more
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
