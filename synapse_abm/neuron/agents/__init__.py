"""The neuron on Mesa: its model, its agents, and its step in plain Python."""
