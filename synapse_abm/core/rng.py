"""Random numbers as a pure function of their address.

``draw(seed, replicate, place, stream, step, entity, k)`` is one number of the counter-based
generator Philox4x32-10 (Salmon, Moraes, Dror & Shaw 2011, SC'11, doi:10.1145/2063384.2063405).
Nothing depends on how many numbers were drawn before, so runs may be split, reordered, resumed or
replayed freely.

One block of the generator is 128 bits: two draws. The address has a bit budget, and every field
that would overflow raises :class:`AddressError` instead of colliding with another address:

======================  =======  ===============================================================
field                   bits     where
======================  =======  ===============================================================
seed                    64       key words 0 and 1
block of the entity     32       counter word 1 (two draws to a block: 2**33 draws)
entity                  32       counter word 0 (molecule id / 2 for hops, cell, ligand, ...)
step                    32 + 6   counter word 2, and bits 26-31 of counter word 3
stream                  4        counter word 3, bits 0-3
place                   4        counter word 3, bits 4-7
replicate               18       counter word 3, bits 8-25
======================  =======  ===============================================================

This module is the readable account in plain integers; ``draws`` holds the same, compiled.
"""

from __future__ import annotations

import math
from enum import IntEnum, unique

import numpy as np
import numpy.typing as npt

MAX_SEED = 2**64 - 1
MAX_REPLICATE = 2**18 - 1
MAX_PLACE = 2**4 - 1
MAX_STEP = 2**38 - 1
MAX_ENTITY = 2**32 - 1
MAX_DRAW = 2**33 - 1

# Multipliers and Weyl increments of Philox4x32 (Salmon et al. 2011); the
# increments are the golden ratio and sqrt(3) - 1 in units of 2**-32.
PHILOX_M0, PHILOX_M1 = 0xD2511F53, 0xCD9E8D57
PHILOX_W0, PHILOX_W1 = 0x9E3779B9, 0xBB67AE85

ROOT_HALF = math.sqrt(0.5)
LN2_HIGH = 0x162E42FEE * 2.0**-33  # leading bits of log(2): its products with exponents are exact
LN2_LOW = 1.90821492927058770002e-10  # and the rest

_WORD = 0xFFFFFFFF


@unique
class Stream(IntEnum):
    """What a draw is for; two purposes never share numbers."""

    PLACE_SITES = 0
    PLACE_MOLECULES = 1
    HOP = 2
    REACT = 3
    LEAVE = 4
    ARRIVE = 5
    SPIKE = 6
    START = 7


class AddressError(OverflowError):
    """An address field is outside its bit budget; going on would reuse random numbers."""


def philox4x32(
    counter: tuple[int, int, int, int], key: tuple[int, int]
) -> tuple[int, int, int, int]:
    """One block of Philox4x32-10: four 32-bit words from four counter words and two key words."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):  # seven pass all tests of BigCrush; ten are the authors' choice, for safety
        p0, p1 = PHILOX_M0 * c0, PHILOX_M1 * c2
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & _WORD, (p0 >> 32) ^ c3 ^ k1, p0 & _WORD
        k0, k1 = (k0 + PHILOX_W0) & _WORD, (k1 + PHILOX_W1) & _WORD
    return c0, c1, c2, c3


def _within(name: str, value: int, largest: int) -> None:
    if not 0 <= value <= largest:
        raise AddressError(
            f"{name} = {value} is outside 0..{largest}; random numbers would be used twice"
        )


def key_words(seed: int) -> tuple[int, int]:
    """The two 32-bit key words of ``seed`` (0..2**64-1)."""
    _within("seed", seed, MAX_SEED)
    return seed & _WORD, seed >> 32


def counter_high(replicate: int, place: int, stream: int, step: int) -> tuple[int, int]:
    """Counter words 2 and 3: everything of an address but the entity and its draws."""
    # The low 32 bits of the step have a word of their own; its 6 high ones lie above the replicate.
    _within("replicate", replicate, MAX_REPLICATE)
    _within("place", place, MAX_PLACE)
    _within("step", step, MAX_STEP)
    # Fields lie side by side, so two different addresses never share a counter.
    return step & _WORD, (step >> 32) << 26 | replicate << 8 | place << 4 | stream


def draw(
    seed: int, replicate: int, place: int, stream: Stream, step: int, entity: int, k: int
) -> int:
    """The 64-bit random word at an address: draw ``k`` of ``entity`` in ``stream`` at ``step``.

    Raises
    ------
    AddressError
        If a field exceeds its bit budget.
    """
    _within("entity", entity, MAX_ENTITY)
    _within("k", k, MAX_DRAW)
    c2, c3 = counter_high(replicate, place, stream, step)
    # A block of 128 bits holds draws 2 k and 2 k + 1.
    words = philox4x32((entity, k >> 1, c2, c3), key_words(seed))
    return words[2] | words[3] << 32 if k & 1 else words[0] | words[1] << 32


def uniform(word: int) -> float:
    """A uniform number in the open interval (0, 1) from a 64-bit word: 52 bits and a half.

    Neither 0 nor 1 can occur (53 bits would round up to exactly 1.0 in the last place).
    """
    return ((word >> 12) + 0.5) * 2.0**-52


def exponential(u: float) -> float:
    """Waiting time at rate one, -log(u), for a uniform number in (0, 1).

    Made of additions, products and one division, which any machine rounds alike, within a unit in
    the last place of the true logarithm; logarithms of C libraries differ between machines, and a
    run would with them. With u = m 2**e and m = 1 + f in [sqrt(1/2), sqrt(2)):
    log(m) = 2 atanh(s), s = f / (2 + f), by its series, arranged as in Sun's fdlibm (e_log.c,
    1993) so that f, the largest part, is added last and whole.
    """
    m, e = math.frexp(u)
    # The mantissa lies in [1/2, 1): centred on 1, f is small and its series short.
    if m < ROOT_HALF:
        m, e = m + m, e - 1
    f = m - 1.0
    s, half = f / (2.0 + f), 0.5 * f * f
    tail = s * (half + atanh_tail(s * s)) + e * LN2_LOW
    return half - tail - f - e * LN2_HIGH


def atanh_tail(z: float) -> float:
    """2 atanh(s) / s - 2 for z = s**2 < 0.03: the sum of 2 z**k / (2 k + 1) from k = 1 to 10."""
    # Odd and even powers apart: two short chains of products, which a processor does side by side.
    w = z * z
    odd = z * (2 / 3 + w * (2 / 7 + w * (2 / 11 + w * (2 / 15 + w * (2 / 19)))))
    even = w * (2 / 5 + w * (2 / 9 + w * (2 / 13 + w * (2 / 17 + w * (2 / 21)))))
    return even + odd


def entity_words(
    seed: int, replicate: int, place: int, stream: Stream, step: int, entity: int, n: int
) -> npt.NDArray[np.uint64]:
    """Draws 0 ... n-1 of one entity, as one array of 64-bit words."""
    only = range(replicate, replicate + 1)
    words: npt.NDArray[np.uint64] = words_by_replicate(seed, only, place, stream, step, entity, n)[
        0
    ]
    return words


def words_by_replicate(
    seed: int, replicates: range, place: int, stream: Stream, step: int, entity: int, n: int
) -> npt.NDArray[np.uint64]:
    """The same of several replicates, shape (replicates, n)."""
    _within("entity", entity, MAX_ENTITY)
    _within("k", n, MAX_DRAW)
    high = [counter_high(replicate, place, stream, step) for replicate in replicates]
    c2, c3 = high[0][0], np.array([[word] for _, word in high], dtype=np.uint64)
    # The same function on arrays: unsigned 64 bits hold the product of two words without loss.
    blocks = np.arange((n + 1) // 2, dtype=np.uint64)
    a, b, c, d = philox4x32((entity, blocks, c2, c3), key_words(seed))  # type: ignore[arg-type]
    half = np.uint64(32)
    words = np.stack(np.broadcast_arrays(a | b << half, c | d << half), axis=-1)
    return words.reshape(len(high), -1)[:, :n]


def uniforms(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.float64]:
    """:func:`uniform` of an array of words."""
    return ((words >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52


def molecule_words(
    seed: int,
    replicate: int,
    place: int,
    stream: Stream,
    step: int,
    molecules: npt.NDArray[np.uint64],
) -> npt.NDArray[np.uint64]:
    """The 64-bit word of each molecule (ids, any shape) in a stream with one draw per molecule.

    Neighbours in id share a block of the generator: entity id >> 1, draw id & 1.
    """
    _within("molecule", int(molecules.max(initial=0)), MAX_ENTITY)
    c2, c3 = counter_high(replicate, place, stream, step)
    entity = molecules >> np.uint64(1)
    a, b, c, d = philox4x32((entity, 0, c2, c3), key_words(seed))  # type: ignore[arg-type]
    return np.where(molecules & np.uint64(1), c | d << np.uint64(32), a | b << np.uint64(32))


def hop_word(seed: int, replicate: int, place: int, step: int, molecule: int) -> int:
    """The 64-bit word of a molecule's hop; neighbours in id share a block of the generator."""
    return draw(seed, replicate, place, Stream.HOP, step, molecule >> 1, molecule & 1)
