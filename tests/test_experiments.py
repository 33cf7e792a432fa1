"""Each experiment answers its question at a small size, and its figure can be drawn."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from figures import legible
from matplotlib.figure import Figure

from synapse_abm.core.errors import InputError, UnknownName
from synapse_abm.core.progress import silent
from synapse_abm.runs.experiment import find
from synapse_abm.runs.results import Result
from synapse_abm.statistics import from_replicates, student_quantile
from synapse_abm.theory import occupancy

hyperbola = find("hyperbola").load()


@pytest.fixture(scope="module")
def quick() -> Result:
    return hyperbola.run(seed=3, quick=True, progress=silent)


def test_the_hyperbola_emerges(quick: Result) -> None:
    """All twelve points within Student's t limit, false alarm 1e-6 over the family."""
    assert quick.passed
    assert len(quick.checks) == 12
    assert max(abs(check.z or 0.0) for check in quick.checks) < quick.scenario["z_limit"]
    assert max(quick["hyperbola"]["se"]) < 0.02
    ratio = np.array(quick["hyperbola"]["concentration_nM"]) / quick["hyperbola"]["kd_nM"][0]
    assert math.log10(ratio[-1] / ratio[0]) == pytest.approx(4.0)


def test_the_figures_show_every_point(quick: Result) -> None:
    """A linear panel, on which a hyperbola looks like one, beside the logarithmic one."""
    figures = legible(hyperbola, quick)
    linear, log = figures[""].axes
    drawn = log.containers[0].lines[0].get_xydata()
    assert np.allclose(drawn[:, 1], quick["hyperbola"]["occupancy"])
    assert "nM" in log.get_xlabel()
    assert (linear.get_xscale(), log.get_xscale()) == ("linear", "log")
    (residuals,) = figures["residuals"].axes
    assert np.allclose(residuals.lines[1].get_ydata(), quick["hyperbola"]["z"])


def test_small_text_would_be_noticed(quick: Result) -> None:
    """The planted bug: one note of 9 pt, which half a page shows 7 px high."""

    def figure(result: Result) -> Figure:
        drawn: Figure = hyperbola.figure(result)[""]
        drawn.axes[0].annotate("note", (1, 0.5), fontsize=9)
        return drawn

    with pytest.raises(AssertionError, match=r"'note' is 7\.0 px high"):
        legible(SimpleNamespace(figure=figure), quick)


def test_another_kd_moves_the_curve() -> None:
    result = hyperbola.run(seed=1, quick=True, progress=silent, kd_nM=50.0)
    assert result.passed
    assert result["hyperbola"]["kd_nM"][0] == 50.0


@pytest.mark.parametrize("kd", [0.0, -1.0, math.nan, math.inf, 1e-9])
def test_a_kd_that_cannot_be_is_refused(kd: float) -> None:
    with pytest.raises(InputError, match="--kd-nM"):
        hyperbola.run(seed=1, quick=True, progress=silent, kd_nM=kd)


def test_an_unknown_drug_gets_the_nearest_name() -> None:
    with pytest.raises(UnknownName) as caught:
        hyperbola.run(seed=1, quick=True, progress=silent, drug="citalopran")
    assert "citalopram" in caught.value.nearest


def test_a_substrate_is_no_drug() -> None:
    with pytest.raises(InputError, match="binds and stays outside"):
        hyperbola.run(seed=1, quick=True, progress=silent, drug="serotonin")


@pytest.mark.slow
@pytest.mark.parametrize("ratio", [0.01, 0.3, 3.0, 43.0, 100.0])
def test_the_burn_in_is_long_enough(ratio: float) -> None:
    """Four thousand replicates, eight times sharper than the experiment: no bias is left over.

    With exchange at 10 k_off for every concentration the slab had not filled at 100 Kd, and this
    test fails there by more than ten standard errors; the experiment itself was off by four.
    """
    kinetics, known = hyperbola._binding("citalopram", None)
    kd = known["kd_nM"]
    synapse = hyperbola.scenario(ratio * kd, kinetics, 211.0)
    relaxation_s = 1 / (kinetics.koff * (1 + ratio))
    runs = [hyperbola.occupancy(synapse, relaxation_s, 99, r) for r in range(4000)]
    estimate = from_replicates(runs)
    z = (estimate.value - float(occupancy(ratio, 1.0))) / estimate.se
    assert abs(z) < student_quantile(1e-6, estimate.dof, tests=5)
