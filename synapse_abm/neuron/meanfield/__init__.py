"""The neuron's equations solved for means, and what noise adds to second order."""
