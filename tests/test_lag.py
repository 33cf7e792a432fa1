"""The lag, at a small size: fast, then slow, in the order that was stated."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from synapse_abm.errors import InputErrors
from synapse_abm.results import Result
from synapse_abm.runs.experiment import find, silent

lag = find("lag").load()


@functools.cache
def small() -> Result:
    return lag.run(seed=3, quick=True, progress=silent)


def test_firing_falls_at_once_and_plasticity_comes_last() -> None:
    table = small()["lag"]
    half = {}
    for name in ("terminal_occupancy", "creb", "bdnf", "plasticity"):
        curve = np.array(table[name])
        half[name] = table["day"][int(np.argmax(curve > curve[-3:].mean() / 2))]
    assert half["terminal_occupancy"] < 0.1 < half["creb"] < half["bdnf"] < half["plasticity"]
    assert 14 < small().scenario["half_day"] < 28
    assert np.mean(table["rate_Hz"][:5]) < 0.65


def test_each_fact_says_what_it_is() -> None:
    checks = small().checks
    assert {check.kind for check in checks} == {"calibrated", "emergent", "published"}
    assert all(check.se is not None for check in checks)
    assert all(check.passed for check in checks if check.kind != "published")
    assert "missed" in small().text and "mean-field twin" in small().text
    assert small().passed  # a published number that is missed is no failure


def test_the_figure_runs_from_minutes_to_weeks() -> None:
    axes = lag.figure(small()).axes
    assert axes[-1].get_xscale() == "log" and "time" in axes[-1].get_xlabel()
    assert all(ax.get_ylabel() and ax.lines for ax in axes)


def test_what_cannot_be_is_refused_together() -> None:
    with pytest.raises(InputErrors, match="--occupancy") as caught:
        lag.run(seed=1, quick=True, progress=silent, drug="WAY-100635", occupancy=1.0)
    assert [fault.name for fault in caught.value.faults] == ["--occupancy", "--drug"]
