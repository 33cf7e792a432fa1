"""The slow variables of the neuron: what drives them, their equations, and one exact step of them.

Three of them relax to a target or follow a slope that the fast loop sets; CREB, BDNF and plasticity
are stages of first order, one after the other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from synapse_abm.core.arithmetic import relaxed
from synapse_abm.neuron.scenario import DAY_S, Baseline, NeuronParameters
from synapse_abm.synapse.engine.layout import F64


def slow_inputs(neuron: NeuronParameters, baseline: Baseline, means: Mapping[str, float]) -> F64:
    """What drives the slow variables, shape (4): the target of sensitivity, the slope of drive, the
    target of postsynaptic sensitivity, and U, which drives CREB.

    ``means`` holds averages of sensitivity_target, hill, postsynaptic_target and rate_Hz.
    """
    desensitises = neuron.recovery == "sensitivity"
    # Averages of curved functions of noisy numbers are not the functions of the averages. Measured
    # against the same averages at rest, nothing changes without a drug.
    return np.array([
        means["sensitivity_target"] / baseline.sensitivity if desensitises else 1.0,
        0.0 if desensitises else 1 - means["rate_Hz"] / neuron.rate_Hz,
        means["postsynaptic_target"] / baseline.postsynaptic,
        (means["hill"] - baseline.hill) / (1 - baseline.hill),
    ])  # fmt: skip


def slow_slope(neuron: NeuronParameters, slow: F64, inputs: F64) -> F64:
    """d/dt (1/s) of the slow variables :data:`SLOW`, shape (6), under constant inputs."""
    days = np.array([
        neuron.desensitisation_days, neuron.desensitisation_days, neuron.postsynaptic_days,
        neuron.creb_days, neuron.bdnf_days, neuron.plasticity_days,
    ])  # fmt: skip
    target, climb, felt, u = inputs
    away = np.array([target, 0.0, felt, u, *slow[3:5]]) - slow
    away[1] = climb  # drive has no target: it rises for as long as firing is too low
    slope: F64 = away / (days * DAY_S)
    return slope


def advanced(neuron: NeuronParameters, slow: F64, inputs: F64, seconds: float) -> F64:
    """The slow variables after ``seconds`` of constant inputs: exact, as the equations are linear.

    ``slow``, of shape (6) or (n, 6), holds :data:`SLOW`: sensitivity of autoreceptors,
    drive, postsynaptic sensitivity, CREB, BDNF and plasticity; ``inputs``, (4) or (n, 4), those of
    :func:`slow_inputs`.
    """
    h = seconds / DAY_S
    sensitivity, drive, postsynaptic = (slow[..., k] for k in range(3))
    target, climb, felt, u = (inputs[..., k] for k in range(4))
    levels = np.concatenate([u[..., None], slow[..., 3:]], axis=-1)
    turns = h / np.array([neuron.creb_days, neuron.bdnf_days, neuron.plasticity_days])
    first = [
        sensitivity + (target - sensitivity) * relaxed(h / neuron.desensitisation_days),
        # A step of days in which firing is far above its baseline must not end below no drive.
        np.maximum(drive + climb * h / neuron.desensitisation_days, 0.0),
        postsynaptic + (felt - postsynaptic) * relaxed(h / neuron.postsynaptic_days),
    ]
    return np.concatenate([np.stack(first, axis=-1), chain_after(levels, turns)], axis=-1)


def chain_after(levels: F64, turns: F64) -> F64:
    """Stages that follow one another, x_k' = (x_(k-1) - x_k) r_k, after a time in which the first,
    level 0, stays; ``turns`` are r_k times that time.

    Taylor's series over parts short enough for it, to rounding: equal rates are welcome, and so is
    any processor, which a matrix exponential is not.
    """
    # In a part no stage turns over by more than a half, where the series converges at once.
    parts = max(1, math.ceil(2 * float(turns.max())))
    rates = np.array([0.0, *turns]) / parts
    for _ in range(parts):
        term = total = levels
        for k in range(1, 20):  # 1/20! is below rounding
            # The equations applied to the last term: stage k follows stage k - 1, and stage 0, of
            # rate 0, stays.
            term = rates * (term[..., [0, 0, 1, 2]] - term) / k
            total = total + term
        levels = total
    return levels[..., 1:]
