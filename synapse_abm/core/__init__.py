"""Knows nothing of the subject: random numbers, units, errors, files, progress, compiling."""
