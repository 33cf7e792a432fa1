"""Three small functions written so that no digits cancel where their arguments vanish."""

from __future__ import annotations

import numpy as np

from synapse_abm.core.arrays import Array


def decay_average(x: Array) -> Array:
    """Average of exp(-s) over 0..x: (1 - exp(-x)) / x, and 1 at x = 0."""
    safe = np.where(x == 0, 1.0, x)
    return np.where(x == 0, 1.0, -np.expm1(-safe) / safe)[()]


def pair_average(x: Array) -> Array:
    """Average of exp(-|s - r|) over s and r in 0..x: 2 (x - 1 + exp(-x)) / x**2, and 1 at x = 0."""
    # Below 0.05 the difference x - 1 + exp(-x) ~ x**2/2 would lose digits; the series is exact to
    # rounding there (the first dropped term is 2 x**7 / 9!).
    series = 1 - x / 3 * (1 - x / 4 * (1 - x / 5 * (1 - x / 6 * (1 - x / 7 * (1 - x / 8)))))
    safe = np.where(x < 0.05, 1.0, x)
    return np.where(x < 0.05, series, 2 * (1 + np.expm1(-safe) / safe) / safe)[()]


def sinh_excess(x: Array) -> Array:
    """(sinh(x) - x) / x**2, and 0 at x = 0."""
    # Below 0.3 the series is exact to rounding (the first dropped term is x**13 / 15!).
    y = x * x
    series = 1 + y / 20 * (1 + y / 42 * (1 + y / 72 * (1 + y / 110 * (1 + y / 156))))
    safe = np.where(x < 0.3, 0.3, x)
    return np.where(x < 0.3, x / 6 * series, (np.sinh(safe) - safe) / safe**2)[()]
