"""Numbers that are the same on every processor: what a simulation is given, and how it reckons.

Linear algebra, solvers, exponentials and powers of libraries choose their instructions by the
processor, and so round differently in the last digits. A simulation amplifies any difference: one
event that falls otherwise, and nothing is the same again. So kernels reckon with the functions
below, made of operations that IEEE 754 rounds alike everywhere, in one order; and what a library
worked out is :func:`rounded` before a simulation sees it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

#: Significant digits of what acts on a simulation. Elementary functions differ by some 2e-16
#: between processors, and one number in 10**7 so disturbed is rounded otherwise.
ACTING = 8
#: Significant digits of what solvers work out: linear algebra here differs by up to 2e-12, which
#: changes one rounded number in 10**5; an ODE solver with relative tolerance r by up to 20 r.
SOLVED = 6


def rounded(value: float, digits: int = ACTING) -> float:
    """``value`` to so many significant decimal digits; the nearest, exactly, on any machine.

    It makes a difference between processors rare, not impossible: noise changes the result if it
    straddles the middle between two neighbours, with a probability of noise / spacing. Callers
    choose ``digits`` so that this is 1e-5 or less, and far more than what the number is known to.
    There is no negative zero.
    """
    # By way of decimal digits: Python's are exact, where a product with a power of ten is not.
    return float(f"{value:.{digits - 1}e}") + 0.0


def all_rounded(values: Iterable[float], digits: int = ACTING) -> list[float]:
    """Every one of ``values`` :func:`rounded`."""
    return [rounded(value, digits) for value in values]


def relaxed(x: float) -> float:
    """1 - exp(-x) for x >= 0, to a few units in the last place.

    By its series up to 1/8; beyond, from the half of x: 1 - exp(-2 x) = g (2 - g) with
    g = 1 - exp(-x), which does not cancel.
    """
    if x > 64.0:  # exp(-64) is far below the last place of 1
        return 1.0
    doublings = 0
    while x > 0.125:
        x *= 0.5
        doublings += 1
    # Up to x**9/10!: at x = 1/8 the next is 2e-17 of the sum, below its last place.
    high = 1 / 5040 - x * (1 / 40320 - x * (1 / 362880 - x * (1 / 3628800)))
    low = 1 / 2 - x * (1 / 6 - x * (1 / 24 - x * (1 / 120 - x * (1 / 720 - x * high))))
    # Each doubling of x costs one product and no cancellation; from 1/8 to 64 there are nine.
    g = x * (1.0 - x * low)
    for _ in range(doublings):
        g *= 2.0 - g
    return g


def raised(x: float, power: float) -> float:
    """``x ** power`` for power > 0, to some units in the last place; 0 for x <= 0.

    The whole part of the power by repeated squaring; the rest, a binary fraction, by square roots:
    x**(1/2), x**(1/4) ... Powers such as 4 or 2.5 are done in two or three steps.
    """
    # No concentration is below zero, but a solver on its way may be.
    if x <= 0.0:
        return 0.0
    whole, square, root, made = math.floor(power), x, x, 1.0
    rest = power - whole
    while whole > 0.0:
        half = math.floor(0.5 * whole)
        if whole > 2.0 * half:
            made *= square
        square *= square
        whole = half
    while rest > 0.0:
        # The square root is the one power that IEEE 754 rounds correctly. A power such as 0.3 takes
        # some fifty of them, 2.5 one.
        root, rest = math.sqrt(root), 2.0 * rest
        if rest >= 1.0:
            made, rest = made * root, rest - 1.0
    return made
