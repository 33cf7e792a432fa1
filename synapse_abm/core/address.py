"""Whose random numbers a run draws: seed, replicate and place (see ``rng``)."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

import numpy as np

from synapse_abm.core.arguments import whole_number
from synapse_abm.core.errors import InputError
from synapse_abm.core.rng import MAX_PLACE, MAX_REPLICATE, MAX_SEED


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

    Raises
    ------
    InputError
        If one of them cannot be used.
    """
    if rng is None:
        # From the operating system: the time of day would give two runs of one moment the same
        # seed.
        rng = secrets.randbits(64)
    elif isinstance(rng, np.random.SeedSequence):
        # 64 bits of the sequence's pool: spawned sequences give seeds that differ.
        rng = int(rng.generate_state(1, np.uint64)[0])
    try:
        return Address(rng, replicate)
    except InputError as error:
        if error.name != "seed":
            raise
        allowed = f"{error.allowed}, a SeedSequence or None"
        raise InputError("rng", error.value, allowed, error.fix) from None
