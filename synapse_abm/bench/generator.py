"""The random generator alone, in the pattern of the hop: one 64-bit word per molecule and step.

Nothing that draws a fresh number for every molecule in every step can be faster than this.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from synapse_abm.core.compiling import compiled
from synapse_abm.core.draws import HOP_STREAM, fill_entities
from synapse_abm.core.rng import key_words
from synapse_abm.synapse.engine.kernels import BLOCK

_KEY = tuple(np.uint32(word) for word in key_words(1))


@compiled
def _fill_blocks(
    words: Any, molecules: int, steps: int, origin: Any, key0: Any, key1: Any
) -> np.uint64:
    """Draw block after block into the same memory; the result depends on all of it."""
    mixed = np.uint64(0)
    for step in range(steps):
        for first in range(0, molecules, BLOCK):
            pairs = (min(BLOCK, molecules - first) + 1) // 2
            entity = np.uint32(first // 2)
            fill_entities(words, pairs, entity, np.uint32(step), origin, key0, key1)
            # A result that depends on the words: otherwise the compiler leaves their making out.
            mixed ^= words[step % (2 * pairs)]
    return mixed


def draw_words(molecules: int, steps: int) -> int:
    """Draw ``molecules`` words in each of ``steps`` steps; returns a mixture of them."""
    words = np.zeros(2 * BLOCK, dtype=np.uint64)
    with np.errstate(over="ignore"):  # wrap-around is meant, where the compiler is off
        return int(_fill_blocks(words, molecules, steps, HOP_STREAM, *_KEY))
