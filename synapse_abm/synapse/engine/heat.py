"""The exact lattice heat kernel as integer weights, and a table from which it is drawn.

A molecule that hops at rate D/h^2 to either neighbour has, after dt, a displacement with
characteristic function exp(-(2 D dt/h^2)(1 - cos k)). Along a periodic axis of L cells the law
lives on the ring of L offsets. Reflecting walls are the ring of 2 L cells folded onto L (method of
images), which needs the law on 2 L offsets and nothing else.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from synapse_abm.synapse.engine.layout import DIRECT_BITS, F64, I64, MIXED, U16, U64

#: Weights are whole multiples of 2**-32 and sum to one exactly.
WEIGHT_BITS = 32


def heat_kernel(hops: float, ring: int) -> F64:
    """Law of the displacement on a ring of ``ring`` cells.

    Parameters
    ----------
    hops
        D dt / h^2: mean number of hops in one direction within the step.
    ring
        Number of cells of the ring.

    Returns
    -------
    Array of shape (ring,): probability of each offset 0 ... ring-1, symmetric, summing to one.
    """
    # The law is even, so its transform is real and half of it is enough; at one wave number after
    # the other it decays at its own rate, with no error but rounding.
    decay = np.exp(-2.0 * hops * (1.0 - np.cos(2.0 * np.pi * np.arange(ring // 2 + 1) / ring)))
    law = np.clip(np.fft.irfft(decay, n=ring), 0.0, None)
    # Symmetric to the last bit, offset k and ring - k: a walk without drift, whatever was rounded.
    law = 0.5 * (law + np.roll(law[::-1], 1))
    return np.asarray(law / law.sum())


def integer_weights(law: F64) -> I64:
    """``law`` in units of 2**-32: symmetric whole numbers that sum to 2**32.

    Every weight is within 1.5 units of the exact value (rounding below 2**-31): pairs of opposite
    offsets are corrected together, so the symmetry, and with it the uniform law, is kept exactly.
    """
    # Rounding leaves a sum that is off by a few units. They are taken from the weights that were
    # rounded the most in that direction (the largest remainders), and what is left, an odd unit or
    # one of a ring of two, from offset 0, which has no partner.
    ring = law.size
    exact = law * 2.0**WEIGHT_BITS
    weights = np.rint(exact).astype(np.int64)
    excess = int(weights.sum()) - 2**WEIGHT_BITS
    offsets = np.arange(1, (ring + 1) // 2)
    error = (weights - exact)[offsets]
    order = offsets[np.argsort(-error if excess > 0 else error, kind="stable")]
    sign = 1 if excess > 0 else -1
    chosen = order[: abs(excess) // 2]
    weights[chosen] -= sign
    weights[ring - chosen] -= sign
    weights[0] -= int(weights.sum()) - 2**WEIGHT_BITS
    return weights


def alias_table(weights: I64) -> tuple[U64, int]:
    """Walker's alias table of integer ``weights`` that sum to 2**32: exact, two loads a draw.

    Returns
    -------
    table
        Entries ``threshold << 32 | alias << 16 | offset``. A 32-bit word ``r`` picks slot
        ``r >> shift``; the offset if the bits below are under the threshold, else the alias.
    shift
        Number of bits below the slot.
    """
    # A power of two of slots, so that the slot is a word's upper bits: no division, no bias. Slots
    # beyond the ring have weight 0 and are filled by their aliases.
    bits = max(4, int(weights.size - 1).bit_length())
    slots, capacity = 1 << bits, 1 << (WEIGHT_BITS - bits)
    left = [int(w) for w in weights] + [0] * (slots - weights.size)
    threshold, alias = [capacity] * slots, list(range(slots))
    small = [i for i in range(slots) if left[i] < capacity]
    large = [i for i in range(slots) if left[i] >= capacity]
    # Walker's construction in integers, without rounding: each slot that is not full is topped up
    # from one that overflows, and what remains of that is filed again.
    while small:
        slot, donor = small.pop(), large[-1]
        threshold[slot], alias[slot] = left[slot], donor
        left[donor] -= capacity - left[slot]
        if left[donor] < capacity:
            small.append(large.pop())
    entries = [t << 32 | a << 16 | i for i, (t, a) in enumerate(zip(threshold, alias, strict=True))]
    return np.array(entries, dtype=np.uint64), WEIGHT_BITS - bits


def direct_table(table: U64, shift: int) -> U16:
    """For each of 4096 ranges of words the offset that all of them pick, ``MIXED`` if they differ.

    A short cut through the alias table and nothing more: most words fall in a range that is all
    one offset, and are spared the comparison.
    """
    # A range is one offset if it lies wholly below its slot's threshold, or wholly above it.
    step = 1 << (WEIGHT_BITS - DIRECT_BITS)
    low = np.arange(1 << DIRECT_BITS, dtype=np.uint64) * np.uint64(step)
    entry = table[low >> np.uint64(shift)]
    threshold = entry >> np.uint64(32)
    below = low & np.uint64((1 << shift) - 1)
    own, alias = entry & np.uint64(0xFFFF), entry >> np.uint64(16) & np.uint64(0xFFFF)
    direct = np.where(threshold >= below + np.uint64(step), own, MIXED)
    direct = np.where(threshold <= below, alias, direct)
    fits = shift >= WEIGHT_BITS - DIRECT_BITS  # a range must not reach over several slots
    return np.asarray(direct if fits else np.full_like(direct, MIXED), dtype=np.uint16)


@lru_cache(maxsize=64)
def hop_table(hops: float, ring: int) -> tuple[U64, int, U16]:
    """Alias table of the heat kernel, its shift and its short cut; replicates of a run share it."""
    table, shift = alias_table(integer_weights(heat_kernel(hops, ring)))
    direct = direct_table(table, shift)
    # Shared by all that ask: nobody may change them.
    table.setflags(write=False)
    direct.setflags(write=False)
    return table, shift, direct


def offset(table: U64, shift: int, word: int) -> int:
    """The ring offset that a 32-bit ``word`` picks (the compiled look-up in plain Python)."""
    entry = int(table[word >> shift])
    below = word & ((1 << shift) - 1)
    return entry & 0xFFFF if below < entry >> 32 else entry >> 16 & 0xFFFF
