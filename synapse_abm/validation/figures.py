"""Figures of the report: what was simulated in blue, what is exact as a black line or outline."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np

from synapse_abm.plotting import BLACK, BLUE, GREY, SKY, VERMILION, data_uri, small, styled
from synapse_abm.statistics import Verdict
from synapse_abm.validation.quantities import Row

type Picture = tuple[str, str]  # the address of a picture, and what it shows

#: Inches: what is 9 pt in a figure is 9 px in a card of the page.
WIDTH = 4.2
#: Quantities that a figure of deviations has room for.
MOST_SHOWN = 8
#: Standard errors that a PASS demands beside the deviation (99.9 %, shared over five looks).
PASS_BOUND = 3.72
_LABELS = {"t": "t (s)", "dt": "step dt (s)", "lag": "lag (s)", "T": "window T (s)"}


def picture(rows: Sequence[Row]) -> Picture:
    """The figure of a case: a law, else a curve, else deviations.

    Deviations too if anything did not pass, so that it is seen.
    """
    agreed = all(row.verdict is Verdict.PASS for row in rows)
    for row in rows if agreed else ():
        if row.frequencies is not None:
            return _law(row)
    curves: dict[tuple[str, str], list[tuple[float, Row]]] = {}
    for row in rows if agreed else ():
        if named := re.fullmatch(r"(.+)\[(\w+)=([^\]]+)\](.*)", row.quantity):
            points = curves.setdefault((named[1] + named[4], named[2]), [])
            points.append((float(named[3]), row))
    for (name, label), points in curves.items():
        if len(points) >= 3:
            return _curve(name, label, points)
    return _deviations(rows)


@styled
def _law(row: Row) -> Picture:
    """Observed frequencies of a count as bars, the exact law as an outline."""
    assert row.frequencies is not None
    seen, exact = map(np.array, row.frequencies)
    likely = np.flatnonzero(exact > 1e-4 * exact.max())
    counts = np.arange(likely[0], likely[-1] + 1)
    figure, ax = small(WIDTH, 2.3)
    ax.bar(counts, seen[counts], width=0.76, color=BLUE, alpha=0.75)
    edges = np.append(counts, counts[-1] + 1) - 0.5
    ax.stairs(exact[counts], edges, color=BLACK, lw=1.3)
    ax.set_xlabel("count", fontsize=10)
    ax.locator_params(axis="x", integer=True)
    return data_uri(figure), f"{row.quantity}: bars simulated, outline exact"


@styled
def _curve(name: str, label: str, points: Sequence[tuple[float, Row]]) -> Picture:
    """Estimates with two standard errors over the exact curve."""
    x, rows = zip(*sorted(points, key=lambda point: point[0]), strict=True)
    figure, ax = small(WIDTH, 2.3)
    ax.plot(x, [row.exact for row in rows], color=BLACK, lw=1.3)
    bars = [2 * row.se if math.isfinite(row.se) else 0.0 for row in rows]
    ax.errorbar(x, [row.estimate for row in rows], bars, fmt="o", ms=4, color=BLUE, lw=1.2)
    if min(x) > 0 and max(x) / min(x) > 20:
        ax.set_xscale("log")
    ax.set_xlabel(_LABELS.get(label, label), fontsize=10)
    ax.set_ylim(bottom=min(0.0, ax.get_ylim()[0]))
    return data_uri(figure), f"{name}: dots simulated (bars: 2 standard errors), line exact"


@styled
def _deviations(rows: Sequence[Row]) -> Picture:
    """Deviation of every quantity in units of its margin, with the bound that a PASS needs."""
    shown = sorted(rows, key=lambda row: row.verdict is Verdict.PASS)[:MOST_SHOWN]
    figure, ax = small(WIDTH, 0.9 + 0.26 * len(shown))
    ax.axvspan(-1, 1, color=SKY, alpha=0.25, lw=0)
    ax.axvline(0, color=GREY, lw=1)
    for at, row in enumerate(shown):
        # The marker too tells what did not pass, for those to whom the colours look alike.
        colour, marker = (BLUE, "o") if row.verdict is Verdict.PASS else (VERMILION, "D")
        off, half = (row.estimate - row.exact) / row.margin, PASS_BOUND * row.se / row.margin
        if math.isfinite(half):
            ax.hlines(at, *np.clip([off - half, off + half], -1.3, 1.3), color=colour, lw=1.4)
        ax.plot(np.clip(off, -1.3, 1.3), at, marker, ms=5, color=colour)
    names = [row.quantity if len(row.quantity) <= 20 else f"{row.quantity[:18]}…" for row in shown]
    ax.set_yticks(range(len(shown)), names)
    ax.set_xlim(-1.4, 1.4)
    ax.set_ylim(len(shown) - 0.4, -0.6)
    ax.set_xlabel("deviation in margins", fontsize=10)
    more = f" (first {len(shown)} of {len(rows)})" if len(rows) > len(shown) else ""
    return data_uri(figure), f"simulated less exact, in margins; bars: the bound of PASS{more}"


@styled
def z_histogram(rows: Sequence[Row]) -> str:
    """The z of all quantities against the standard normal density."""
    z = np.array([row.z for row in rows if math.isfinite(row.z) and row.z != 0])
    figure, ax = small(6.2, 2.8)
    edges, grid = np.arange(-5.0, 5.01, 0.25), np.linspace(-5, 5, 161)
    heights = np.histogram(np.clip(z, -4.99, 4.99), edges)[0] * 4 / max(z.size, 1)
    # A density: bins are a quarter wide. What lies beyond 5 is shown at the edge, not lost.
    ax.bar(edges[:-1] + 0.125, heights, width=0.23, color=BLUE, alpha=0.75)
    ax.plot(grid, np.exp(-(grid**2) / 2) / math.sqrt(2 * math.pi), color=BLACK, lw=1.6)
    ax.set_xlabel("z = (simulated - exact) / standard error", fontsize=10)
    return data_uri(figure)
