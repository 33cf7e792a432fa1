"""Arithmetic that is the same on every processor: right, and the same compiled or not."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest

from synapse_abm.core.arithmetic import all_rounded, raised, relaxed, rounded
from synapse_abm.neuron.engine import kernels

NUMBERS = np.random.default_rng(1).uniform(size=(2, 300))


def test_relaxation_is_that_of_the_exponential() -> None:
    for x in (0.0, *(10 ** (8 * NUMBERS[0] - 6.0)), math.inf):
        assert relaxed(x) == pytest.approx(-math.expm1(-x), rel=8 * sys.float_info.epsilon)
        assert kernels.relaxed(x) == relaxed(x)


def test_powers_are_powers() -> None:
    for x, power in zip(3 * NUMBERS[0], 8 * NUMBERS[1], strict=True):
        for p in (power, round(power) + 1.0, round(power) + 0.5):
            assert raised(x, p) == pytest.approx(x**p, rel=40 * sys.float_info.epsilon)
            assert kernels.raised(x, p) == raised(x, p)
    assert raised(0.0, 2.0) == raised(-1.0, 0.5) == 0.0


def test_rounding_gives_the_nearest_of_so_many_digits() -> None:
    assert rounded(1.23456789123) == 1.2345679
    assert rounded(-9.999999999e-7, 6) == -1e-6
    assert all_rounded([0.0, math.inf, 20.5], 2) == [0.0, math.inf, 20.0]
    noisy = NUMBERS[0] * (1 + 1e-15 * (NUMBERS[1] - 0.5))
    assert all_rounded(noisy) == all_rounded(NUMBERS[0])
