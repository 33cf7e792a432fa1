"""The neuron's engine: two places joined by spikes, compiled."""
