"""What every figure of an experiment owes its readers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from synapse_abm.plotting import smallest_text_px
from synapse_abm.runs.results import Result

LEAST_PX = 9.0  # of a figure 450 px wide: half a page of a README


def legible(module: Any, result: Result) -> dict[str, Figure]:
    """The figures of an experiment by what their names add: each says its message, names its axes,
    and can be read at half a page's width.
    """
    drawn = module.figure(result)
    figures = dict(drawn) if isinstance(drawn, Mapping) else {"": drawn}
    assert next(iter(figures)) == ""  # the one for a lecture comes first
    for name, figure in figures.items():
        assert len(figure.get_suptitle()) > 20, name
        px, words = smallest_text_px(figure)
        assert px >= LEAST_PX, f"{name}: {words!r} is {px:.1f} px high"
        assert all(ax.has_data() for ax in figure.axes if ax.axison), name
        assert any("(" in ax.get_xlabel() + ax.get_ylabel() for ax in figure.axes), name
    return figures
