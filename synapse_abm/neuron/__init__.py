"""The neuron: two places joined by spikes, and its mean field."""
