"""Hours and weeks of treatment on the molecular neuron."""
