"""One synapse: what is simulated, the compiled engine, and the same as Mesa agents."""
