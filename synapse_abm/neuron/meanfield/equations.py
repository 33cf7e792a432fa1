"""The neuron's equations: what spikes release, what slows them, what changes over weeks."""

from __future__ import annotations

from synapse_abm.core.arithmetic import raised
from synapse_abm.neuron.scenario import NeuronParameters


def filling(pool: float, at_rest: float) -> float:
    """Q(n) = 2n/(1 + n): content of a spike in units of that at baseline, n = N/N0.

    It saturates. If spikes released a fixed share of an unlimited pool, refilled from inside only,
    steady release would equal refilling whatever the rate of firing; if they released a constant,
    inhibitors of monoamine oxidase would do nothing.
    """
    return 2 * pool / (at_rest + pool)


def target_rate(
    neuron: NeuronParameters, activation: float, sensitivity: float, drive: float = 1.0
) -> float:
    """The rate (Hz) that firing relaxes to: F0 (1 + g) / (1 + (g/theta0) c theta), times ``drive``.

    ``activation`` is the share of receptors bound, weighted by efficacy.
    """
    feedback = neuron.feedback_strength / neuron.resting_occupancy * sensitivity * activation
    return drive * neuron.rate_Hz * (1 + neuron.feedback_strength) / (1 + feedback)


def sensitivity_target(neuron: NeuronParameters, activation: float) -> float:
    """(1 + kappa)/(1 + kappa R), R = max(theta/theta0, 1): what sensitivity relaxes to.

    One at baseline, less under sustained activation, never zero.
    """
    # Below baseline sensitivity stays at one: nothing published says that it rises above.
    fold = max(activation / neuron.resting_occupancy, 1.0)
    return (1 + neuron.desensitisation_strength) / (1 + neuron.desensitisation_strength * fold)


def postsynaptic_target(neuron: NeuronParameters, fold: float) -> float:
    """(1 + kappa)/(1 + kappa x): what the target cell's sensitivity to ``fold`` relaxes to."""
    return (1 + neuron.postsynaptic_strength) / (1 + neuron.postsynaptic_strength * fold)


def hill(neuron: NeuronParameters, fold: float) -> float:
    """h(x) = x^m / (x^m + x_half^m) of serotonin in baselines."""
    # Powers by our own arithmetic: a library rounds them by the processor it finds.
    powered = raised(fold, neuron.power)
    return powered / (powered + raised(neuron.threshold, neuron.power))
