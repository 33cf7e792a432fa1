"""One slow step of the neuron: from averages over a window to the slow variables."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from synapse_abm.neuron.engine.simulation import Baseline
from synapse_abm.neuron.scenario import (
    DAY_S,
    Neuron,
)
from synapse_abm.synapse.engine.layout import F64

if TYPE_CHECKING:
    pass


def slow_inputs(it: Neuron, baseline: Baseline, read: Mapping[str, float]) -> F64:
    """What drives the slow variables (:func:`advanced`), measured against the averages at rest.

    ``read`` holds averages of coupling_target, hill, sensitivity_target and rate_Hz.
    """
    by_coupling = it.recovery == "coupling"
    return np.array([
        read["coupling_target"] / baseline.coupling if by_coupling else 1.0,
        0.0 if by_coupling else 1 - read["rate_Hz"] / it.rate_Hz,
        read["sensitivity_target"] / baseline.sensitivity,
        (read["hill"] - baseline.hill) / (1 - baseline.hill),
    ])  # fmt: skip


def advanced(it: Neuron, slow: F64, inputs: F64, seconds: float) -> F64:
    """The slow variables after ``seconds`` of constant inputs: exact, as the equations are linear.

    ``slow``, of shape (6) or (n, 6), holds coupling, drive, sensitivity, CREB, BDNF and plasticity;
    ``inputs``, (4) or (n, 4), the target of coupling, the slope of drive, the target of
    sensitivity, and U.
    """
    h = seconds / DAY_S
    coupling, drive, sensitivity = (slow[..., k] for k in range(3))
    aim, slope, feel, u = (inputs[..., k : k + 1] for k in range(4))
    a, b, c = 1 / it.creb_days, 1 / it.bdnf_days, 1 / it.plasticity_days
    chain = np.array([[-a, 0, 0, a], [b, -b, 0, 0], [0, c, -c, 0], [0, 0, 0, 0]])
    stages = exponential_action(h * chain, np.concatenate([slow[..., 3:], u], axis=-1).T)[:3].T
    first = [
        aim[..., 0] + (coupling - aim[..., 0]) * math.exp(-h / it.coupling_days),
        np.maximum(drive + slope[..., 0] * h / it.coupling_days, 0.0),
        feel[..., 0] + (sensitivity - feel[..., 0]) * math.exp(-h / it.postsynaptic_days),
    ]
    return np.concatenate([np.stack(first, axis=-1), stages], axis=-1)


def exponential_action(matrix: F64, vector: F64) -> F64:
    """exp(matrix) @ vector by Taylor's series over parts of norm at most one, to rounding.

    For matrices this small, many times faster than SciPy's ``expm``; equal rates are welcome.
    """
    parts = max(1, math.ceil(float(np.abs(matrix).sum(axis=1).max())))
    for _ in range(parts):
        term = total = vector
        for k in range(1, 20):  # 1/20! is below rounding
            term = matrix @ term / (parts * k)
            total = total + term
        vector = total
    return vector
