"""Small pictures as SVG: a law, a curve, deviations, z scores. Rows in, text out.

Every picture shows the exact numbers as a grey line or outline and the simulated ones in blue.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from html import escape

import numpy as np

from synapse_abm.statistics import Verdict
from synapse_abm.validation.quantities import Row

BLUE, GREY, VERMILION, BAND = "#0072B2", "#6E6E6E", "#D55E00", "#DCEBF5"
WIDTH, HEIGHT = 330, 170
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 12, 34
MOST_BARS = 60


class _Frame:
    """Maps numbers to places within a picture, and draws its axes."""

    def __init__(
        self, x: tuple[float, float], y: tuple[float, float], width: int = WIDTH,
        height: int = HEIGHT, left: int = LEFT, log: bool = False,
    ) -> None:  # fmt: skip
        self._x, self._y, self._log = x, y, log
        self.width, self.height, self.left = width, height, left
        self.parts: list[str] = []

    def x(self, value: float) -> float:
        low, high = (math.log10(v) for v in self._x) if self._log else self._x
        at = math.log10(max(value, 1e-300)) if self._log else value
        share = (at - low) / ((high - low) or 1.0)
        return self.left + share * (self.width - self.left - RIGHT)

    def y(self, value: float) -> float:
        low, high = self._y
        share = (value - low) / ((high - low) or 1.0)
        return self.height - BOTTOM - share * (self.height - TOP - BOTTOM)

    def line(self, points: Sequence[tuple[float, float]], style: str) -> None:
        path = " ".join(f"{self.x(a):.1f},{self.y(b):.1f}" for a, b in points)
        self.parts.append(f'<polyline points="{path}" fill="none" {style}/>')

    def bar(self, x: float, half: float, top: float, style: str) -> None:
        left, right = self.x(x - half), self.x(x + half)
        self.parts.append(
            f'<rect x="{left:.1f}" y="{self.y(top):.1f}" width="{right - left:.1f}" '
            f'height="{max(self.y(0) - self.y(top), 0):.1f}" {style}/>'
        )

    def dot(self, x: float, y: float, colour: str = BLUE, radius: float = 2.6) -> None:
        at = f'cx="{self.x(x):.1f}" cy="{self.y(y):.1f}"'
        self.parts.append(f'<circle {at} r="{radius}" fill="{colour}"/>')

    def text(self, x: float, y: float, text: str, anchor: str = "middle", size: int = 11) -> None:
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">'
            f"{escape(text)}</text>"
        )

    def axes(self, x_ticks: Sequence[float], y_ticks: Sequence[float], label: str) -> None:
        floor = self.height - BOTTOM
        self.parts.append(
            f'<path d="M{self.left} {TOP}V{floor}H{self.width - RIGHT}" fill="none" stroke="#999"/>'
        )
        for tick in x_ticks:
            at = min(self.x(tick), self.width - RIGHT - 4)
            self.text(at, floor + 13, f"{tick:.3g}")
        for tick in y_ticks:
            self.text(self.left - 4, self.y(tick) + 4, f"{tick:.3g}", "end")
        self.text((self.left + self.width - RIGHT) / 2, self.height - 5, label)

    def svg(self, title: str) -> str:
        return (
            f'<svg viewBox="0 0 {self.width} {self.height}" role="img" '
            f'aria-label="{escape(title, quote=True)}"><title>{escape(title)}</title>'
            + "".join(self.parts)
            + "</svg>"
        )


def picture(rows: Sequence[Row]) -> tuple[str, str]:
    """The picture of a case, and what it shows: a law, else a curve, else deviations.

    Deviations too if anything did not pass, so that it is seen.
    """
    agreed = all(row.verdict is Verdict.PASS for row in rows)
    for row in rows if agreed else ():
        if row.frequencies is not None:
            return law(row), f"{row.quantity}: bars simulated, outline exact"
    for name in dict.fromkeys(_series(row) for row in rows if agreed):
        points = [row for row in rows if name and _series(row) == name]
        if name and len(points) >= 3:
            shown = f"{name[0]} against {name[1]}: dots simulated (bars: 2 standard errors)"
            return curve(points, name[1]), f"{shown}, line exact"
    return deviations(rows), "simulated less exact, in margins; bars: the 99.9 % bound of PASS"


def _series(row: Row) -> tuple[str, str] | None:
    """Name and abscissa of a row that belongs to a curve."""
    found = re.fullmatch(r"(.+)\[(\w+)=([^\]]+)\](.*)", row.quantity)
    return (found[1] + found[4], found[2]) if found else None


def _abscissa(row: Row) -> float:
    found = re.search(r"\[\w+=([^\]]+)\]", row.quantity)
    return float(found[1]) if found else 0.0


def law(row: Row) -> str:
    """Observed frequencies of a count as bars, the exact law as an outline."""
    assert row.frequencies is not None
    seen, exact = row.frequencies
    top = 1.1 * max(max(seen), max(exact))
    likely = [i for i, p in enumerate(exact) if p > 1e-4 * max(exact)] or [0]
    low, high = likely[0], likely[-1]
    frame = _Frame((low - 0.6, high + 0.6), (0, top))
    for i in range(low, high + 1):
        frame.bar(i, 0.38, seen[i], f'fill="{BLUE}" fill-opacity="0.75"')
    outline = [(low - 0.5, 0.0)]
    for i in range(low, high + 1):
        outline += [(i - 0.5, exact[i]), (i + 0.5, exact[i])]
    frame.line([*outline, (high + 0.5, 0.0)], 'stroke="#222" stroke-width="1.3"')
    step = max(1, (high - low) // 5)
    frame.axes(range(low, high + 1, step), _ticks(top), "count")
    return frame.svg(f"{row.id}: {row.quantity}, observed frequencies and exact law")


def curve(rows: Sequence[Row], label: str) -> str:
    """Estimates with two standard errors over the exact curve."""
    points = sorted(rows, key=_abscissa)
    x = [_abscissa(row) for row in points]
    log = min(x) > 0 and max(x) / min(x) > 20
    lows = [min(row.exact, row.estimate - 2 * row.se) for row in points]
    highs = [max(row.exact, row.estimate + 2 * row.se) for row in points]
    low, high = min(0.0, *lows), max(highs)
    high += 0.08 * (high - low or 1.0)
    edges = (min(x) / 1.2, max(x) * 1.2) if log else (min(0.0, *x), max(x) * 1.03 or 1.0)
    frame = _Frame(edges, (low, high), log=log)
    frame.line([(a, row.exact) for a, row in zip(x, points, strict=True)], f'stroke="{GREY}" '
               'stroke-width="1.6"')  # fmt: skip
    for a, row in zip(x, points, strict=True):
        if math.isfinite(row.se):
            ends = [(a, row.estimate - 2 * row.se), (a, row.estimate + 2 * row.se)]
            frame.line(ends, f'stroke="{BLUE}"')
        frame.dot(a, row.estimate, radius=2.6 if len(x) < 30 else 1.8)
    x_ticks = _decades(*edges) if log else _ticks(edges[1], edges[0])
    unit = {"t": "t (s)", "dt": "step dt (s)", "lag": "lag (s)", "T": "window T (s)"}
    frame.axes(x_ticks, _ticks(high, low), unit.get(label, label))
    return frame.svg(f"{points[0].id}: {points[0].quantity.split('[')[0]} against {label}")


def deviations(rows: Sequence[Row]) -> str:
    """Deviation of every quantity in units of its margin, with the bound that a PASS needs."""
    shown = sorted(rows, key=lambda row: row.verdict is Verdict.PASS)[:8]
    height = TOP + BOTTOM + 20 * len(shown) + 8
    frame = _Frame((-1.3, 1.3), (len(shown) - 0.4, -0.6), height=height, left=128)
    ends = frame.x(-1), frame.x(1)
    frame.parts.append(
        f'<rect x="{ends[0]:.1f}" y="{TOP}" width="{ends[1] - ends[0]:.1f}" '
        f'height="{height - TOP - BOTTOM}" fill="{BAND}"/>'
    )
    frame.line([(0, -0.6), (0, len(shown) - 0.4)], f'stroke="{GREY}"')
    for at, row in enumerate(shown):
        off = _clip((row.estimate - row.exact) / row.margin)
        half = 3.72 * row.se / row.margin
        colour = BLUE if row.verdict is Verdict.PASS else VERMILION
        if math.isfinite(half):
            frame.line([(_clip(off - half), at), (_clip(off + half), at)], f'stroke="{colour}"')
        frame.dot(off, at, colour)
        frame.text(frame.left - 6, frame.y(at) + 4, _short(row.quantity), "end", 10)
    more = f" (first {len(shown)} of {len(rows)})" if len(rows) > len(shown) else ""
    frame.axes([-1, 0, 1], [], f"deviation in margins{more}")
    return frame.svg(f"{rows[0].id}: deviations from exact numbers in units of their margins")


def z_strip(rows: Sequence[Row], bound: float) -> str:
    """The z of every quantity of a case, and the bounds of FAIL."""
    frame = _Frame((-8, 8), (0, 1), height=44, left=10)
    middle = 14.0
    frame.parts.append(
        f'<rect x="{frame.x(-2):.1f}" y="4" width="{frame.x(2) - frame.x(-2):.1f}" height="20" '
        f'fill="{BAND}"/><path d="M{frame.x(-8):.1f} {middle}H{frame.x(8):.1f}" stroke="#bbb"/>'
    )
    for side in (-bound, bound):
        frame.parts.append(
            f'<path d="M{frame.x(side):.1f} 4v20" stroke="{VERMILION}" stroke-dasharray="3 2"/>'
        )
    for row in rows:
        colour = BLUE if row.verdict is Verdict.PASS else VERMILION
        at = frame.x(max(-8.0, min(8.0, row.z)))
        frame.parts.append(
            f'<circle cx="{at:.1f}" cy="{middle}" r="2.6" fill="{colour}" fill-opacity="0.55"/>'
        )
    for tick in (-6, -4, -2, 0, 2, 4, 6):
        frame.text(frame.x(tick), 40, f"{tick}", size=10)
    return frame.svg("z of every quantity; dashed: bounds of FAIL")


def z_histogram(rows: Sequence[Row]) -> str:
    """The z of all quantities against the standard normal density."""
    z = np.array([row.z for row in rows if math.isfinite(row.z) and row.z != 0])
    edges = np.arange(-5.0, 5.01, 0.25)
    counts, _ = np.histogram(np.clip(z, -4.99, 4.99), edges)
    density = counts / max(z.size, 1) / 0.25
    top = 1.15 * max(0.4, float(density.max(initial=0.0)))
    frame = _Frame((-5, 5), (0, top), width=460, height=200)
    for left, tall in zip(edges[:-1], density, strict=True):
        frame.bar(float(left) + 0.125, 0.115, float(tall), f'fill="{BLUE}" fill-opacity="0.75"')
    grid = np.linspace(-5, 5, 161)
    normal = np.exp(-(grid**2) / 2) / math.sqrt(2 * math.pi)
    points = list(zip(grid.tolist(), normal.tolist(), strict=True))
    frame.line(points, 'stroke="#222" stroke-width="1.6"')
    frame.axes(range(-5, 6), _ticks(top), "z = (simulated - exact) / standard error")
    return frame.svg("Histogram of z over all quantities, and the normal density")


def _clip(value: float) -> float:
    return max(-1.3, min(1.3, value))


def _short(name: str) -> str:
    return name if len(name) <= 20 else f"{name[:18]}…"


def _ticks(high: float, low: float = 0.0) -> list[float]:
    """Three or four round numbers from low to high."""
    span = high - low or 1.0
    step = 10 ** math.floor(math.log10(span / 2))
    step *= next(m for m in (1, 2, 5, 10) if span / (m * step) <= 4)
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 12) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def _decades(low: float, high: float) -> list[float]:
    return [10.0**k for k in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)]
