"""One slow step of the neuron: from averages over a window to the slow variables."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from synapse_abm.core.arithmetic import relaxed
from synapse_abm.neuron.scenario import (
    DAY_S,
    Baseline,
    NeuronParameters,
)
from synapse_abm.synapse.engine.layout import F64


def slow_inputs(neuron: NeuronParameters, baseline: Baseline, read: Mapping[str, float]) -> F64:
    """What drives the slow variables (:func:`advanced`), measured against the averages at rest.

    ``read`` holds averages of coupling_target, hill, sensitivity_target and rate_Hz.
    """
    by_desensitisation = neuron.recovery == "sensitivity"
    return np.array([
        read["sensitivity_target"] / baseline.sensitivity if by_desensitisation else 1.0,
        0.0 if by_desensitisation else 1 - read["rate_Hz"] / neuron.rate_Hz,
        read["postsynaptic_target"] / baseline.postsynaptic,
        (read["hill"] - baseline.hill) / (1 - baseline.hill),
    ])  # fmt: skip


def advanced(neuron: NeuronParameters, slow: F64, inputs: F64, seconds: float) -> F64:
    """The slow variables after ``seconds`` of constant inputs: exact, as the equations are linear.

    ``slow``, of shape (6) or (n, 6), holds :data:`SLOW`: sensitivity of autoreceptors,
    drive, postsynaptic sensitivity, CREB, BDNF and plasticity; ``inputs``, (4) or (n, 4), the
    target of the first, the slope of drive, the target of the third, and U.
    """
    h = seconds / DAY_S
    sensitivity, drive, postsynaptic = (slow[..., k] for k in range(3))
    aim, slope, feel, u = (inputs[..., k] for k in range(4))
    levels = np.concatenate([u[..., None], slow[..., 3:]], axis=-1)
    turns = h / np.array([neuron.creb_days, neuron.bdnf_days, neuron.plasticity_days])
    first = [
        sensitivity + (aim - sensitivity) * relaxed(h / neuron.desensitisation_days),
        np.maximum(drive + slope * h / neuron.desensitisation_days, 0.0),
        postsynaptic + (feel - postsynaptic) * relaxed(h / neuron.postsynaptic_days),
    ]
    return np.concatenate([np.stack(first, axis=-1), chain_after(levels, turns)], axis=-1)


def chain_after(levels: F64, turns: F64) -> F64:
    """Stages that follow one another, x_k' = (x_(k-1) - x_k) r_k, after a time in which the first,
    level 0, stays; ``turns`` are r_k times that time.

    Taylor's series over parts short enough for it, to rounding: equal rates are welcome, and so is
    any processor, which a matrix exponential is not.
    """
    parts = max(1, math.ceil(2 * float(turns.max())))
    rates = np.array([0.0, *turns]) / parts
    for _ in range(parts):
        term = total = levels
        for k in range(1, 20):  # 1/20! is below rounding
            term = rates * (term[..., [0, 0, 1, 2]] - term) / k
            total = total + term
        levels = total
    return levels[..., 1:]
