"""The neuron: two places joined by spikes, its mean-field twin, and weeks of treatment."""
