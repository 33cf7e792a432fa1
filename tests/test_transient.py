"""A burst and its escape: theory against brute force, simulation against theory, and what a planted
bug does to both.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from figures import legible
from scipy.linalg import expm

from synapse_abm.core.errors import InputErrors
from synapse_abm.core.progress import silent
from synapse_abm.runs.experiment import find
from synapse_abm.runs.results import Check, Result
from synapse_abm.theory import UniformTissue
from synapse_abm.theory.hop_react import hop_generator

#: An experiment of its own; what it rests on is proved in the suite.
pytestmark = pytest.mark.slow

transient = find("transient").load()


@functools.cache
def small() -> Result:
    return transient.run(seed=3, quick=True, progress=silent)


# --- theory ---------------------------------------------------------------------------------------


def tissue(sites: float) -> UniformTissue:
    return UniformTissue(6, 1, 3.0, sites, kon_pair=0.7, koff=2.0, kcat=3.0, loss_per_s=0.5)


@pytest.mark.parametrize("sites", [0, 4])
def test_a_single_molecule_in_tissue_is_the_chain_of_its_states(sites: int) -> None:
    """A thousandth of a molecule cannot get in its own way: mean field is exact. It comes in the
    middle of a step, so it reacts for half of one before its first hop.
    """
    dt, binding = 0.05, 0.7 * sites
    hop = expm(dt * hop_generator(6, 3.0, "periodic"))
    react = np.array([[-binding - 0.5, binding], [2.0, -5.0]])
    law = np.zeros((2, 6))
    law[0, 0] = 1.0
    law, chain = expm(dt / 2 * react).T @ law, []
    for _ in range(40):
        chain.append(law[0, 0])
        law[0] = law[0] @ hop
        law = expm(dt * react).T @ law
    there = np.eye(1, 6)
    found = tissue(sites).burst(dt, 40, 1e-3 * there, pulses=[0], occupied=0.0, spot=there > 0)
    assert np.allclose(found, 1e-3 * np.array(chain), rtol=1e-3)  # nonlinear by up to 2e-4
    assert not np.allclose(found[:-1], 1e-3 * np.array(chain)[1:], rtol=1e-3)  # a step too late


def test_blocked_sites_bind_less_and_the_drug_stays_in_balance() -> None:
    released, spot = np.ones((1, 6)), np.ones((1, 6)) > 0
    half = UniformTissue(6, 1, 3.0, 4, 0.7, 2.0, 3.0, 0.5, drug_on=0.3, drug_off=0.3)
    few = tissue(2).burst(0.05, 40, 1e-6 * released, [0], 0.0, spot)
    blocked = half.burst(0.05, 40, 1e-6 * released, [0], 0.5, spot)
    assert np.allclose(blocked, few, rtol=1e-5)


def test_a_negative_rate_is_refused() -> None:
    with pytest.raises(ValueError, match="koff"):
        UniformTissue(6, 1, 3.0, 4, kon_pair=0.7, koff=-2.0, kcat=3.0)


# --- the experiment -------------------------------------------------------------------------------


def test_every_count_agrees_with_theory() -> None:
    exact = [check for check in small().checks if check.kind == "exact"]
    assert len(exact) == 36 and small().passed


@pytest.mark.parametrize(
    "planted", [{"hops_per_s": 0.8}, {"kon_pair": 0.8}, {"kcat": 0.5}, {"loss_per_s": 0.0}]
)
def test_the_checks_would_catch_a_wrong_rate(
    planted: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Held against a law with one rate wrong, some count departs by more than the limit."""

    def wrong(*args: float, **rates: float) -> UniformTissue:
        names = ("width", "height", "hops_per_s")
        rates |= dict(zip(names, args, strict=True))
        return UniformTissue(**rates | {n: rates[n] * by for n, by in planted.items()})

    block = transient.NONE if "loss_per_s" in planted else transient.CONTROL
    case = transient.Case(transient.SHEET, transient.MANY, block)
    runs = four_bursts(case)
    monkeypatch.setattr(transient.theory, "UniformTissue", wrong)
    assert not all(c.passed for c in judge(case, runs))


@functools.cache
def four_bursts(case: Any) -> list[np.ndarray]:
    """Four runs, which pass when they are held against the right law."""
    runs = [transient.burst(case, "citalopram", 6.8, 3, r) for r in range(4)]
    assert all(c.passed for c in judge(case, runs))
    return runs


def judge(case: Any, runs: list[np.ndarray]) -> list[Check]:
    law = transient.expected(case, "citalopram", 6.8)
    return transient._checks({case: np.array(runs)}, {case: law})


def test_a_blocker_lengthens_more_than_it_raises() -> None:
    status = dict(
        zip(small()["predictions"]["prediction"], small()["predictions"]["status"], strict=True)
    )
    ours = [value for name, value in status.items() if name.startswith("decay's factor over")]
    assert ours == ["emergent"] * 4
    assert "not reproduced" in status.values() and "not reproduced" in small().text


def test_peak_and_decay_of_known_curves() -> None:
    t = np.arange(0, 5, 0.1)
    peak, decay = transient.peak_and_decay(7 * np.exp(-t / 1.234), 0.1)
    assert (peak, decay) == (7, pytest.approx(1.234, rel=1e-12))
    assert np.isnan(transient.peak_and_decay(np.array([1.0, 2.0, 1.9]), 0.1)[1])


def test_the_jackknife_error_covers() -> None:
    """Scatter of 300 estimates against the error that each claims, within a tenth (2.4 SE)."""
    rng, mean = np.random.default_rng(1), 400 * np.exp(-np.arange(40) / 10)
    found = [transient.shape(rng.poisson(mean, (12, 40)).astype(float)).decay for _ in range(300)]
    spread = np.std([each.value for each in found], ddof=1)
    claimed = np.sqrt(np.mean([each.se**2 for each in found]))
    assert claimed == pytest.approx(spread, rel=0.15)


def test_the_figures_and_their_axes() -> None:
    figures = legible(transient, small())
    (ax,) = figures[""].axes
    assert "nM" in ax.get_ylabel() and "(s)" in ax.get_xlabel()
    assert len(figures["escape"].axes) == 2


def test_what_cannot_be_is_refused_together() -> None:
    with pytest.raises(InputErrors) as caught:
        transient.run(seed=1, quick=True, progress=silent, drug="serotonin", occupancy=0.0)
    assert [fault.name for fault in caught.value.faults] == ["--occupancy", "--drug"]
