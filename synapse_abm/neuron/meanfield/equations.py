"""The neuron's equations: what spikes release, what slows them, what changes over weeks."""

from __future__ import annotations

from synapse_abm.core.arithmetic import raised
from synapse_abm.neuron.scenario import NeuronParameters


def filling(stock: float, at_rest: float) -> float:
    """Q(n) = 2n/(1 + n): content of a spike in units of that at baseline, n = N/N0.

    It saturates. If spikes released a fixed share of an unlimited pool, refilled from inside only,
    steady release would equal refilling whatever the rate of firing; if they released a constant,
    inhibitors of monoamine oxidase would do nothing.
    """
    return 2 * stock / (at_rest + stock)


def braked_rate(
    it: NeuronParameters, activation: float, coupling: float, drive: float = 1.0
) -> float:
    """The rate (Hz) that firing relaxes to: F0 (1 + g) / (1 + (g/theta0) c theta), times ``drive``.

    ``activation`` is the share of receptors bound, weighted by efficacy.
    """
    brake = it.brake / it.resting_occupancy * coupling * activation
    return drive * it.rate_Hz * (1 + it.brake) / (1 + brake)


def coupling_target(it: NeuronParameters, activation: float) -> float:
    """(1 + kappa)/(1 + kappa R), R = max(theta/theta0, 1): what coupling relaxes to.

    One at baseline, less under sustained activation, never zero.
    """
    raised = max(activation / it.resting_occupancy, 1.0)
    return (1 + it.coupling_strength) / (1 + it.coupling_strength * raised)


def sensitivity_target(it: NeuronParameters, fold: float) -> float:
    """(1 + kappa)/(1 + kappa x): what the target cell's sensitivity to ``fold`` relaxes to."""
    return (1 + it.postsynaptic_strength) / (1 + it.postsynaptic_strength * fold)


def hill(it: NeuronParameters, fold: float) -> float:
    """h(x) = x^m / (x^m + x_half^m) of serotonin in baselines."""
    powered = raised(fold, it.power)
    return powered / (powered + raised(it.threshold, it.power))


def creb_drive(it: NeuronParameters, h: float, at_rest: float | None = None) -> float:
    """U = (h - h0)/(1 - h0): zero at baseline, one at saturation; ``at_rest`` is h0, h(1) unless
    given.
    """
    h0 = hill(it, 1.0) if at_rest is None else at_rest
    return (h - h0) / (1 - h0)
