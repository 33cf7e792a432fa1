"""Benefit by occupancy at a small size: little at half, steep at usual doses, no plateau."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from figures import legible

from synapse_abm.core.errors import InputError
from synapse_abm.core.progress import silent
from synapse_abm.runs.experiment import find
from synapse_abm.runs.results import Result
from synapse_abm.statistics import Estimate

#: An experiment of its own; what it rests on is proved in the suite.
pytestmark = pytest.mark.slow

benefit = find("benefit").load()


@functools.cache
def small() -> Result:
    return benefit.run(seed=1, quick=True, progress=silent)


def test_what_was_stated_emerges_and_is_drawn() -> None:
    assert all(check.passed and check.kind == "emergent" for check in small().checks)
    (ax,) = legible(benefit, small())[""].axes
    assert "occupied" in ax.get_xlabel() and len(ax.containers[0].lines[0].get_xdata()) == 2


def test_a_plateau_at_80_percent_would_be_noticed() -> None:
    """The planted bug: benefit that flattens as occupancy does with dose."""
    flat = {share: min(share, 0.8) for share in benefit.CURVE}
    outcomes = benefit._outcomes(benefit.Benefit({0.5: Estimate(0.5, 0.01)}, flat))
    assert not any(outcome.holds for outcome in outcomes)


def test_the_slope_of_a_line_is_its_slope() -> None:
    line = {share: 0.3 * share for share in np.linspace(0, 1, 21).tolist()}
    assert benefit.Benefit({}, line).slope(0.33, 0.71) == pytest.approx(0.03)


def test_a_drug_that_leaves_sert_alone_is_refused() -> None:
    with pytest.raises(InputError, match="--drug"):
        benefit.run(seed=1, quick=True, progress=silent, drug="WAY-100635")
