"""Runs that leave files: experiments by name, scenarios, series, and records run again."""
