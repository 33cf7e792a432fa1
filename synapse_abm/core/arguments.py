"""Arguments checked, with messages that name them."""

from __future__ import annotations

import operator

from synapse_abm.core.errors import InputError

#: The seed of a run for which none is given: the same command gives the same tables.
DEFAULT_SEED = 1


def check_seed(value: object, name: str = "seed") -> int:
    """``value`` as a seed: a whole number in 0..2**64-1, given as an integer or as digits.

    Raises
    ------
    InputError
        If it is anything else.
    """
    from synapse_abm.core.rng import MAX_SEED  # brings NumPy with it: not before it is needed

    seed = -1
    if isinstance(value, str):
        if value.isascii() and value.isdigit() and len(value) <= len(str(MAX_SEED)):
            seed = int(value)
    elif hasattr(value, "__index__") and not isinstance(value, bool):
        seed = operator.index(value)
    if not 0 <= seed <= MAX_SEED:
        raise InputError(name, value, f"a whole number from 0 to {MAX_SEED}", "use 1, say")
    return seed
