"""Figures: one look for all of them; results and axes in, axes out. Computes nothing.

Colours are the eight of Okabe & Ito (2008), which people with any common colour vision can tell
apart. Figures are made without pyplot: no window system is asked for, nothing global is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
SKY, PURPLE, YELLOW, BLACK, GREY = "#56B4E9", "#CC79A7", "#F0E442", "#000000", "#6E6E6E"

STYLE: Any = {
    "font.size": 13,
    "axes.titlesize": 16,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "lines.linewidth": 2.2,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.hashsalt": "synapse_abm",  # the same figure gives the same bytes
    "svg.fonttype": "none",
}


def styled[**P, R](function: Callable[P, R]) -> Callable[P, R]:
    """Run a drawing function in the common style."""

    @wraps(function)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> R:
        with mpl.rc_context(STYLE):
            return function(*args, **kwargs)

    return drawn


def slide(
    heights: Sequence[float] = (1.0,), width: float = 9.6, height: float = 6.4
) -> tuple[Figure, list[Axes]]:
    """A figure of lecture-slide size (inches) with panels of the given relative heights, one x
    axis.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=list(heights))
    return figure, list(axes[:, 0])


def log_concentration(ax: Axes, label: str) -> None:
    """A logarithmic x axis whose ticks are written out: 0.01, 0.1, 1, 10 ..."""
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(base=10, numticks=12))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    ax.set_xlabel(label)


def percent(ax: Axes) -> None:
    """A y axis of fractions, written in percent."""
    ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:.0f} %"))


def residuals(ax: Axes, x: Sequence[float], z: Sequence[float], limit: float, label: str) -> None:
    """Residuals in standard errors, with the band of two and the limit of the check."""
    ax.axhspan(-2, 2, color=SKY, alpha=0.25, lw=0)
    ax.axhline(0, color=GREY, lw=1)
    ax.vlines(x, 0, z, color=BLUE, lw=1.6)
    ax.plot(x, z, "o", color=BLUE, ms=7)
    top = max(3.4, 1.15 * max(abs(v) for v in z))
    ax.set_ylim(-top, top)
    if limit <= top:
        for y in (-limit, limit):
            ax.axhline(y, color=VERMILION, lw=1.2, ls="--")
    ax.set_ylabel(label)
