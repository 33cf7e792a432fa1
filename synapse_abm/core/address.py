"""Whose random numbers a run draws: seed, replicate and place (see ``rng``)."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import BitGenerator, Generator, SeedSequence

from synapse_abm.core.arguments import whole_number
from synapse_abm.core.errors import InputError
from synapse_abm.core.rng import MAX_PLACE, MAX_REPLICATE, MAX_SEED

#: Whatever a seed can be had from.
type Rng = int | Sequence[int] | Generator | BitGenerator | SeedSequence | None


@dataclass(frozen=True, slots=True)
class Address:
    """Seed, replicate and place, each within the bits that an address has for it."""

    seed: int
    replicate: int = 0
    place: int = 0

    def __post_init__(self) -> None:
        limits = {"seed": MAX_SEED, "replicate": MAX_REPLICATE, "place": MAX_PLACE}
        for name, largest in limits.items():  # NumPy's integers are welcome, as plain ones
            number = whole_number(name, getattr(self, name), 0, largest)
            object.__setattr__(self, name, number)


def address_of(rng: Any, replicate: Any) -> Address:
    """The address that ``rng`` (Mesa's word for a seed) and ``replicate`` give; None draws a seed.

    A generator of NumPy's is a source of the seed, which is drawn from it: 64 bits, so that the
    next address from the same generator has another. A sequence of whole numbers is mixed into one.

    Raises
    ------
    InputError
        If one of them cannot be used.
    """
    if rng is None:
        # From the operating system: the time of day would give two runs of one moment the same
        # seed.
        rng = secrets.randbits(64)
    elif isinstance(rng, Generator | BitGenerator):
        drawn = np.random.default_rng(rng).integers(MAX_SEED, dtype=np.uint64, endpoint=True)
        rng = int(drawn)
    elif isinstance(rng, list | tuple) and all(_is_word(word) for word in rng):
        rng = _mixed(SeedSequence(rng))
    elif isinstance(rng, SeedSequence):
        rng = _mixed(rng)
    try:
        return Address(rng, replicate)
    except InputError as error:
        if error.name != "seed":
            raise
        allowed = f"{error.allowed}, a list of such, a Generator of NumPy's, a SeedSequence or None"
        raise InputError("rng", error.value, allowed, error.fix) from None


def _is_word(word: object) -> bool:
    return isinstance(word, int | np.integer) and not isinstance(word, bool) and bool(word >= 0)


def _mixed(sequence: SeedSequence) -> int:
    # 64 bits of the sequence's pool: spawned sequences give seeds that differ.
    return int(sequence.generate_state(1, np.uint64)[0])


def generator_source(rng: Any, address: Address) -> Any:
    """What Mesa's own generators are made of, for what users add: the seed, or the very generator
    that was given, as in Mesa.
    """
    shared = isinstance(rng, Generator | BitGenerator)
    return rng if shared else address.seed
