"""Random numbers, compiled: the same as ``rng``, number by number, and fast.

Kernels of both subjects draw with these functions. All words are unsigned and of a stated width:
one signed operand would make the product of two words signed, with a test for its sign that keeps
a loop from being vectorised.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from synapse_abm.core import rng
from synapse_abm.core.compiling import compiled

u32, u64, f64 = np.uint32, np.uint64, np.float64
M0, M1, W0, W1 = u64(rng.PHILOX_M0), u64(rng.PHILOX_M1), u32(rng.PHILOX_W0), u32(rng.PHILOX_W1)
ZERO, WORD, HALF, SHIFT12, SHIFT52 = u32(0), u64(0xFFFFFFFF), u64(32), u64(12), u64(52)
# A float64 has 52 bits of mantissa below 11 of exponent; 0x3FE is the exponent of 1/2.
MANTISSA, EXPONENT_OF_HALF = u64((1 << 52) - 1), u64(0x3FE << 52)
HOP_STREAM, REACT_STREAM = u32(rng.Stream.HOP), u32(rng.Stream.REACT)
SPIKE_STREAM = u32(rng.Stream.SPIKE)
LEAVE_STREAM, ARRIVE_STREAM = u32(rng.Stream.LEAVE), u32(rng.Stream.ARRIVE)
atanh_tail = compiled(rng.atanh_tail)


@compiled
def philox(c0, c1, c2, c3, k0, k1):
    """One block of Philox4x32-10 (``rng.philox4x32``)."""
    for _ in range(10):
        p0 = M0 * u64(c0)
        p1 = M1 * u64(c2)
        c0, c1 = u32(p1 >> HALF) ^ c1 ^ k0, u32(p1 & WORD)
        c2, c3 = u32(p0 >> HALF) ^ c3 ^ k1, u32(p0 & WORD)
        k0, k1 = u32(k0 + W0), u32(k1 + W1)
    return c0, c1, c2, c3


@compiled
def high_words(plan, stream, step):
    """Counter words 2 and 3 (``rng.counter_high``)."""
    # The six high bits of the step lie above replicate, place and stream
    # (``rng.counter_high``).
    upper = u32((u64(step) >> HALF) << u64(26))
    return u32(u64(step) & WORD), u32(upper | plan.origin | stream)


@compiled
def fill_entities(words, n, first, c2, c3, k0, k1):
    """Draws 0 and 1 of ``n`` neighbouring entities: two 64-bit words each."""
    for i in range(n):
        a, b, c, d = philox(u32(first + u32(i)), ZERO, c2, c3, k0, k1)
        words[2 * i] = u64(a) | u64(b) << HALF
        words[2 * i + 1] = u64(c) | u64(d) << HALF


@compiled
def fill_draws(words, n, entity, first, c2, c3, k0, k1):
    """Draws 2 ``first`` ... of one entity: two 64-bit words a block."""
    for i in range(n):
        a, b, c, d = philox(entity, u32(first + u32(i)), c2, c3, k0, k1)
        words[2 * i] = u64(a) | u64(b) << HALF
        words[2 * i + 1] = u64(c) | u64(d) << HALF


@compiled
def uniform(word):
    """Open interval (0, 1) (``rng.uniform``)."""
    return (float(word >> SHIFT12) + 0.5) * 2.0**-52


@partial(compiled, checks_divisors=False)
def exponential(u):
    """Waiting time at rate one (``rng.exponential``); without a branch, so that loops of it are
    vectorised.
    """
    bits = f64(u).view(np.uint64)
    m = u64(bits & MANTISSA | EXPONENT_OF_HALF).view(np.float64)
    e = float(np.int64(bits >> SHIFT52)) - 1022.0
    # Both sides are computed and one is chosen: a choice is vectorised, a branch is not.
    low = m < rng.ROOT_HALF
    m, e = m + m if low else m, e - 1.0 if low else e
    f = m - 1.0
    s, half = f / (2.0 + f), 0.5 * f * f
    tail = s * (half + atanh_tail(s * s)) + e * rng.LN2_LOW
    return half - tail - f - e * rng.LN2_HIGH
