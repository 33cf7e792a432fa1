"""SERT number at a small size: what must emerge, what is not reproduced, mean field."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from figures import legible

from synapse_abm.core.progress import silent
from synapse_abm.neuron.scenario import neuron
from synapse_abm.runs.experiment import find
from synapse_abm.runs.results import Result
from synapse_abm.statistics import Estimate

gene = find("gene").load()


@functools.cache
def small() -> Result:
    return gene.run(seed=1, quick=True, progress=silent)


def at(when: str, share: float, name: str) -> float:
    value: float = small().data.measured[when, share][name].value
    return value


def test_fewer_transporters_more_serotonin_less_firing() -> None:
    shares = sorted(gene.QUICK_SHARES)
    for when in (gene.TODAY, gene.LIFE):
        assert np.all(np.diff([at(when, s, "terminal_nM") for s in shares]) < 0)
    assert np.all(np.diff([at(gene.TODAY, s, "rate_Hz") for s in shares]) > 0)
    assert at(gene.LIFE, 0.0, "rate_Hz") > 1.8 * at(gene.TODAY, 0.0, "rate_Hz")


def test_each_prediction_says_what_it_is() -> None:
    table = small()["predictions"]
    by_kind = {check.name: (check.kind, check.passed) for check in small().checks}
    assert all(passed for kind, passed in by_kind.values() if kind == "emergent")
    status = dict(zip(table["prediction"], table["status"], strict=True))
    assert status["firing, no SERT, life, of wild type"] == "not reproduced"
    assert status["terminal serotonin, no SERT, life, of wild type"] == "emergent"
    assert "Araragi" in small().text and small().passed


def test_life_settles_where_mean_field_says_and_the_wild_type_stays() -> None:
    """Noise keeps sensitivity a few points higher than mean field; a life of ten time constants
    leaves nothing of the start: one that had come half of the way would lie 0.3 above.
    """
    table = small()["gene"]
    off = np.array(table["sensitivity"]) - np.array(table["sensitivity_mean_field"])
    assert np.abs(off).max() < 0.1
    assert at(gene.LIFE, 1.0, "terminal_nM") == pytest.approx(5.0, rel=0.05)


def test_a_knock_out_that_kept_its_transporters_would_be_noticed() -> None:
    """The planted bug: SERT number ignored."""
    table = small()["gene"]
    wild = {
        name: Estimate(at(gene.TODAY, 1.0, name), 0.01, 2) for name in gene.READ
    }  # fmt: skip
    cases = zip(table["when"], table["sert_share"], strict=True)
    outcomes = gene._outcomes(neuron(), dict.fromkeys(cases, wild), wild)
    failed = {each.prediction.name for each in outcomes if not each.holds}
    emergent = {each.prediction.name for each in outcomes if each.prediction.kind == "emergent"}
    assert len(emergent & failed) >= 5


def test_published_folds_are_those_of_the_levels() -> None:
    table = gene._published()
    assert table["fold"] == pytest.approx([3.357, 6.429, 2.5, 10.0], abs=1e-3)
    assert table["fold_se"][0] == pytest.approx(1.25, abs=0.01)


def test_the_figure_shows_both_and_the_mice() -> None:
    serotonin, firing = legible(gene, small())[""].axes
    assert "SERT number" in firing.get_xlabel() and len(serotonin.containers) == 4
