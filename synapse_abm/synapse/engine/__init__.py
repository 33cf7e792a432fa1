"""The molecular engine: arrays, the compiled step, and what surrounds it. It knows no theory."""
