"""Figures: one look for all of them; results and axes in, axes out. Computes nothing.

Colours are the eight of Okabe & Ito (2008), which people with any common colour vision can tell
apart; every series has a marker of its own beside its colour, so that figures can be read in grey.
Figures are made without pyplot: no window system is asked for, nothing global is changed.
"""

from __future__ import annotations

import base64
import io
import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
SKY, PURPLE, YELLOW, BLACK, GREY = "#56B4E9", "#CC79A7", "#F0E442", "#000000", "#6E6E6E"

#: Colour and marker of the first, second ... series of a figure.
LOOKS = ((BLUE, "o"), (VERMILION, "s"), (GREEN, "^"), (ORANGE, "D"), (PURPLE, "v"), (SKY, "P"))

# Half a page of a README is 450 px wide: at 8 inches, 12 pt come out at 9.4 px there, about the
# least that can be read (`smallest_text_px`; the tests hold every figure to 9 px).
WIDTH = 8.0  # inches
FONT = 12.0  # pt; nothing is smaller
PNG_DPI = 200
#: Replicates whose own lines a time series shows.
SHOWN = 8
#: Curves of a panel; the tables have all of them.
CURVES = 12
#: Lanes of a protocol below a time series.
LANES = 6
#: Error bars along a curve.
BARS = 12
#: Records that a curve shows at most, evenly taken: about as many as its pixels tell apart.
POINTS = 1000
STYLE: Any = {
    "font.size": FONT,
    "legend.fontsize": FONT,
    "axes.titlesize": 13,
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
}


def styled[**P, R](function: Callable[P, R]) -> Callable[P, R]:
    """Run a drawing function in the common style."""

    @wraps(function)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> R:
        with mpl.rc_context(STYLE):
            return function(*args, **kwargs)

    return drawn


@styled
def saved(
    name: str, figure: Figure | Mapping[str, Figure], dpi: int = PNG_DPI
) -> dict[str, bytes]:  # fmt: skip
    """A figure as PNG and as SVG, by file name; equal figures are equal files.

    Of several, by what their names add to ``name``, the first adds nothing.
    """
    if isinstance(figure, Mapping):
        files = dict[str, bytes]()
        for more, single in figure.items():
            files |= saved("_".join(filter(None, (name, more))), single, dpi)
        return files
    # In memory: files are written together, when all of the run has succeeded.
    png, svg = io.BytesIO(), io.BytesIO()
    figure.savefig(png, format="png", dpi=dpi)
    # The layout that was just found serves both: finding it takes a third of the time.
    figure.set_layout_engine("none")
    # Without the date that Matplotlib would write: equal figures are equal bytes.
    figure.savefig(svg, format="svg", metadata={"Date": None})
    return {f"{name}.png": png.getvalue(), f"{name}.svg": svg.getvalue()}


def smallest_text_px(figure: Figure, width_px: int = 450) -> tuple[float, str]:
    """Size and words of the smallest text of a figure that is shown ``width_px`` wide."""
    figure.draw_without_rendering()  # tick labels exist from here on
    per_pt = width_px / (72 * float(figure.get_figwidth()))
    texts = (text for text in figure.findobj(Text) if text.get_visible() and text.get_text())
    return min((float(text.get_fontsize()) * per_pt, text.get_text()) for text in texts)


# --- parts of figures -----------------------------------------------------------------------------


@styled
def data_uri(figure: Figure) -> str:
    """A figure as the address of a picture that a page carries within itself (SVG, its text as
    text).
    """
    # Text as text, not as outlines: a page with a hundred pictures stays small, and is searchable.
    buffer = io.BytesIO()
    with mpl.rc_context({"svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def slide(
    heights: Sequence[float] = (1.0,), height: float = 5.4, title: str = ""
) -> tuple[Figure, list[Axes]]:
    """A figure of lecture-slide size (inches) with panels of the given relative heights, one x
    axis.
    """
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=list(heights))
    message(figure, title)
    return figure, list(axes[:, 0])


def small(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure for a page that shows many, with one panel; sizes in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    ax = figure.subplots()
    ax.tick_params(labelsize=9)
    return figure, ax


def panel_table(
    rows: int, columns: int, height: float, title: str = "", **more: Any
) -> tuple[Figure, list[Axes]]:
    """A slide with a table of panels, by rows; ``more`` is for ``Figure.subplots``."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **more)
    message(figure, title)
    return figure, list(axes.ravel())


def message(figure: Figure, words: str) -> None:
    """What the figure says, above everything."""
    if words:
        # About as many letters of this size as fill the width.
        lines = textwrap.fill(words, 62)
        figure.suptitle(lines, x=0.01, ha="left", fontsize=15, fontweight="bold")


def named(
    ax: Axes, at: tuple[float, float], words: str, color: str = BLACK,
    offset: tuple[float, float] = (6, 0), **more: Any,
) -> None:  # fmt: skip
    """Words beside a curve or a point, ``offset`` in points, with a white rim."""
    # Words stay readable where they cross a grid line or a curve.
    rim = [patheffects.withStroke(linewidth=3, foreground="white")]
    look: dict[str, Any] = {"va": "center", "zorder": 8, "path_effects": rim} | more
    ax.annotate(words, at, offset, textcoords="offset points", color=color, **look)


def measured(
    ax: Axes, x: Any, y: Any, half: Any, look: tuple[str, str] = LOOKS[0], **more: Any
) -> Any:  # fmt: skip
    """Points with error bars: half widths, shape (n,) or (2, n)."""
    color, mark = look
    style: dict[str, Any] = {"fmt": mark, "color": color, "ms": 6, "capsize": 3, "lw": 1.4} | more
    return ax.errorbar(x, y, yerr=half, **style)


def band(
    ax: Axes, x: Any, mean: Any, half: Any, color: str = BLUE, **more: Any
) -> None:  # fmt: skip
    """A curve within its band of uncertainty, ``half`` being half the width."""
    mean, half = np.asarray(mean), np.asarray(half)
    ax.fill_between(x, mean - half, mean + half, color=color, alpha=0.25, lw=0)
    ax.plot(x, mean, color=color, **({"lw": 1.8} | more))


def reference(ax: Axes, y: float, words: str = "", x: float = 1.0, **more: Any) -> None:
    """A grey line at a level to compare with; its name stands at ``x`` of the width, above it."""
    ax.axhline(y, color=GREY, zorder=1, **({"lw": 1.2} | more))
    if words:
        ax.annotate(words, (x, y), (0, 4), xycoords=ax.get_yaxis_transform(), color=GREY,
                    textcoords="offset points", ha="right" if x > 0.5 else "left")  # fmt: skip


def doublings(ax: Axes, low: float, high: float) -> None:
    """A y axis of folds on which each doubling takes the same room: 1/2, 1, 2, 4 ..."""
    ax.set_yscale("log", base=2)
    # Only whole powers within the axis; Matplotlib's own would write 2^-1.
    powers = range(math.ceil(math.log2(low)), math.floor(math.log2(high)) + 1)
    words = [f"{2**p}" if p >= 0 else f"1/{2**-p}" for p in powers]
    ax.set_yticks([2.0**p for p in powers], words)
    ax.minorticks_off()
    ax.set_ylim(low, high)


def log_concentration(ax: Axes, label: str) -> None:
    """A logarithmic x axis whose ticks are written out: 0.01, 0.1, 1, 10 ..."""
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(base=10, numticks=12))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    ax.set_xlabel(label)


def percent(ax: Axes) -> None:
    """A y axis of fractions, written in percent."""
    percent_of(ax.yaxis)


def percent_of(axis: Axis) -> None:
    """An axis of fractions, written in percent."""
    axis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.0f} %"))


def residuals(ax: Axes, x: Sequence[float], z: Sequence[float], limit: float, label: str) -> None:
    """Residuals in standard errors, with the band of two and the limit of the check."""
    ax.axhspan(-2, 2, color=SKY, alpha=0.25, lw=0)
    ax.axhline(0, color=GREY, lw=1)
    ax.vlines(x, 0, z, color=BLUE, lw=1.6)
    ax.plot(x, z, "o", color=BLUE, ms=7)
    # At least a little above three errors, so that good points do not fill the panel.
    top = max(3.4, 1.15 * max(abs(v) for v in z))
    ax.set_ylim(-top, top)
    if limit <= top:
        for y in (-limit, limit):
            ax.axhline(y, color=VERMILION, lw=1.2, ls="--")
    ax.set_ylabel(label)


@styled
def timeseries(simulated: Any) -> Figure:
    """Every recorded quantity of a simulated scenario in time, beside what theory says of its mean.

    One panel for occupancies, one for free molecules, one for fluxes, as far as there are any: thin
    lines are single replicates, the thick one is their mean, the point at the right is the average
    after the burn-in (shaded) with two standard errors; the legend says so. What a protocol changes
    stands below in a strip, a lane for each quantity. ``simulated`` is what ``simulate`` returns.
    """
    run, kinds = simulated.run, list(dict.fromkeys(at.kind for at in simulated.measured))
    heights = [2.0 if kind == "occupancy" else 1.0 for kind in kinds] or [1.0]
    strip = simulated.lanes[:LANES]
    inches = 5.4 + 0.6 * len(strip)
    share = 5.4 / 0.6 / sum(heights)  # of a panel's unit of height, in lanes
    figure, panels = slide([*(share * x for x in heights), *(1.0 for _ in strip)], inches)
    panels, below = panels[: len(heights)], panels[len(heights) :]
    unit_s, unit = _time_unit(run.duration_s)
    colours = _colours(simulated)
    for panel, kind in zip(panels, kinds, strict=False):
        _panel(panel, simulated, kind, unit_s, colours)
    for panel, lane in zip(below, strip, strict=True):
        _lane(panel, lane, unit_s, colours)
    if run.burn_in_s:
        for panel in panels:
            panel.axvspan(0, run.burn_in_s / unit_s, color=GREY, alpha=0.12, lw=0)
        place: Any = {"ha": "center", "transform": panels[0].get_xaxis_transform()}
        panels[0].text(run.burn_in_s / unit_s / 2, 0.03, "burn-in", color=GREY, **place)
    panels[0].set_title(plain(simulated.scenario.name.replace("_", " ")))
    _explain(panels[0], simulated)
    lowest = [*panels, *below][-1]
    lowest.set_xlabel(f"time ({unit})")
    lowest.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 2.5, 5, 10]))
    # The averages stand beyond the end of the run, each beside its curve.
    lowest.set_xlim(0, 1.03 * run.duration_s / unit_s)
    return figure


def _colours(simulated: Any) -> dict[tuple[str, str], str]:
    """Colours by target and ligand, the same in all panels; a free ligand has that of its first
    target.
    """
    palette, colours = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY), dict[tuple[str, str], str]()
    for at in sorted(simulated.measured, key=lambda at: not at.target):
        ligands = [colour for (_, ligand), colour in colours.items() if ligand == at.ligand]
        if at.target or not ligands:
            colours.setdefault((at.target, at.ligand), palette[len(colours) % len(palette)])
        if not at.target and ligands:
            colours["", at.ligand] = ligands[0]
    return colours


def _lane(
    panel: Axes, lane: Any, unit_s: float, colours: Mapping[tuple[str, str], str]
) -> None:  # fmt: skip
    """One quantity of a protocol: a line of its values, arrows for additions, ticks for others; in
    the colour of its ligand.
    """
    named = (c for (_, ligand), c in colours.items() if lane.label.startswith(f"{ligand} "))
    colour = next(named, GREY)
    panel.grid(visible=False, axis="y")
    panel.spines["left"].set_visible(False)
    panel.set_yticks([])
    # Beside the lane, where there is room for words of any length.
    unit = "\n(molecules)" if lane.is_addition else ""
    panel.annotate(
        f"{plain(lane.label)}{unit}", (1.0, 0.5), (8, 0), xycoords="axes fraction",
        textcoords="offset points", va="center", annotation_clip=False,
    )  # fmt: skip
    marks = [time / unit_s for time, _ in lane.marks]
    if lane.times:
        times = np.array(lane.times) / unit_s
        top = max(lane.values) or 1.0
        panel.fill_between(times, 0, lane.values, color=colour, alpha=0.2, lw=0)
        panel.plot(times, lane.values, color=colour, lw=1.8)
        panel.set_ylim(-0.15 * top, 1.75 * top)
        _levels(panel, times, lane.values, top)
        panel.plot(marks, [0.0] * len(marks), "|", color=colour, ms=8)
        return
    panel.set_ylim(0, 1)
    if lane.is_addition:
        panel.plot(marks, [0.22] * len(marks), "v", color=colour, ms=6)
        panel.vlines(marks, 0.25, 0.62, color=colour, lw=1.2)
    else:
        panel.plot(marks, [0.3] * len(marks), "|", color=colour, ms=10)
    # The amount once, where it differs from the one before.
    said = ""
    for (_, amount), mark in zip(lane.marks, marks, strict=True):
        if amount != said:
            panel.annotate(amount, (mark, 0.66), (0, 0), textcoords="offset points")
            said = amount


def _levels(panel: Axes, times: Any, values: Sequence[float], top: float) -> None:
    """The value of each level, written where it begins; none on the next."""
    width, free_from, said = float(times[-1]) or 1.0, -math.inf, math.nan
    for n, (time, value) in enumerate(zip(times, values, strict=True)):
        stays = n + 1 < len(values) and values[n + 1] == value
        if stays and value != said and time >= free_from:
            panel.annotate(f"{value:.4g}", (time, value), (3, 2), textcoords="offset points")
            free_from, said = time + 0.07 * width, value


def _time_unit(duration_s: float) -> tuple[float, str]:
    """The unit, in seconds and by name, in which a person would read an axis of that length."""
    units = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))
    return next((unit for unit in units if duration_s >= 4 * unit[0]), (1.0, "s"))


def _explain(panel: Axes, simulated: Any) -> None:
    """What the kinds of lines mean, at the end of a legend."""
    several, entries = len(simulated.recordings), panel.get_legend_handles_labels()
    handles, labels = list[Any](entries[0]), entries[1]
    if simulated.course is not None:
        _explain_course(simulated, handles, labels)
    if several > 1:
        shown = "each replicate" if several <= SHOWN else f"{SHOWN} of {several} replicates"
        handles.append(Line2D([], [], color=GREY, alpha=0.4, lw=0.7))
        labels.append(shown)
        if simulated.course is not None and simulated.course.quantities:
            look: Any = {"fmt": ".-", "ms": 4, "capsize": 2, "lw": 1.6}
            handles.append(panel.errorbar([], [], [], color=GREY, **look))
            labels.append(f"mean of {several}\n± 2 std. errors")
        else:
            handles.append(Line2D([], [], color=GREY, lw=1.6))
            labels.append(f"mean of {several}")
    if simulated.is_stationary and any(x.se is not None for x in simulated.measured.values()):
        handles.append(panel.errorbar([], [], [], color=GREY, fmt="o", ms=5, capsize=4))
        labels.append("average, 2 std. errors")
    _legend(panel, handles, labels)


def _explain_course(simulated: Any, handles: list[Any], labels: list[str]) -> None:
    """Theory of a course, added to the legend."""
    quantities, several = list(simulated.course.quantities.values()), len(simulated.recordings)
    kinds = {quantity.theory.is_exact for quantity in quantities}
    names = {True: "exact mean", False: "rate equations"}
    if kinds:
        name = names[kinds.pop()] if len(kinds) == 1 else "theory"
        handles.append(Line2D([], [], color=BLACK, ls="--", lw=1.3))
        labels.append(name)
    if any(quantity.theory.sd is not None for quantity in quantities):
        # The spread of what is compared with it: one run, or the mean of all.
        of = " one run" if several == 1 else f"\nthe mean of {several}"
        handles.append(Patch(color=GREY, alpha=0.25, lw=0))
        labels.append(f"± 2 sd of{of}")


def _course(panel: Axes, quantity: Any, seconds: Any, replicates: int, color: str) -> float:
    """Theory of one curve with its band, and the error of the simulated mean; the highest point."""
    theory, thin = quantity.theory, slice(None, None, -(-len(seconds) // POINTS))
    if theory.sd is not None:
        half = 2 * theory.sd / math.sqrt(replicates)
        low = np.maximum(theory.mean - half, 0.0)
        panel.fill_between(
            seconds[thin], low[thin], (theory.mean + half)[thin], color=color, alpha=0.2, lw=0
        )
    panel.plot(seconds[thin], theory.mean[thin], color=BLACK, ls="--", lw=1.3, zorder=4)
    if replicates > 1:
        few = np.unique(np.linspace(0, len(seconds) - 1, BARS + 1).round().astype(int)[1:])
        panel.errorbar(
            seconds[few], quantity.mean[few], 2 * quantity.se[few], color=color, fmt=".", ms=4,
            capsize=2, lw=1.0, zorder=5,
        )  # fmt: skip
    return float(np.nanmax(theory.mean, initial=0.0))


def _legend(panel: Axes, *entries: Any) -> None:
    # Beside the panel: within it a legend would lie on some curve of some scenario.
    panel.legend(*entries, loc="upper left", bbox_to_anchor=(1.0, 1.04))


def _panel(
    panel: Axes, simulated: Any, kind: str, unit_s: float,
    colours: Mapping[tuple[str, str], str],
) -> None:  # fmt: skip
    every = [at for at in simulated.measured if at.kind == kind]
    drawn = every[:CURVES]  # more could not be told apart, and cost a tenth of a second each
    runs, top, end = simulated.recordings, 0.0, 1.012 * simulated.run.duration_s / unit_s
    # Every n-th record, rounded up: -(-a // b) is the quotient's ceiling in whole numbers.
    thin = slice(None, None, -(-len(runs[0].seconds) // POINTS))
    time = runs[0].seconds[thin] / unit_s  # replicates are read at the same times
    courses = simulated.course.quantities if simulated.course else {}
    for at in drawn:
        colour, average = colours[at.target, at.ligand], simulated.measured[at]
        for run in runs[:SHOWN] if len(runs) > 1 else ():
            panel.plot(time, at.read(run)[thin], color=colour, alpha=0.2, lw=0.7)
        mean = sum(at.read(run) for run in runs) / len(runs)
        name = plain(f"{at.ligand} at {at.target}" if at.target else at.ligand)
        panel.plot(time, mean[thin], color=colour, lw=1.6, label=name)
        if course := courses.get(at):
            seconds = simulated.course.seconds / unit_s
            top = max(top, _course(panel, course, seconds, len(runs), colour))
        if average.se is not None and simulated.is_stationary:
            look: Any = {"fmt": "o", "ms": 5, "capsize": 4, "zorder": 5, "clip_on": False}
            panel.errorbar([end], [average.mean], [2 * average.se], color=colour, **look)
        tops = [at.read(run).max() for run in runs]
        top = max(top, *tops, average.formula or 0.0, average.exact or 0.0)
    # A course that is exact ends at the stationary mean: no second line for that.
    alone = [at for at in drawn if at not in courses or not courses[at].theory.is_exact]
    name, style = ("exact stationary mean", "-.") if courses else ("exact mean", "--")
    _theory(panel, [simulated.measured[at] for at in alone], name, style)
    names = {"occupancy": "sites occupied", "free": "free\nmolecules", "flux": "taken up (1/s)"}
    panel.set_ylabel(names[kind])
    if kind == "occupancy":
        percent(panel)
    # From zero: an axis cut short would make small differences look large.
    panel.set_ylim(0, 1.05 * top or 1.0)
    if len(drawn) < len(every):
        panel.plot([], [], " ", label=f"{len(drawn)} of {len(every)} shown")
    _legend(panel)


def plain(text: str) -> str:
    """``text`` from a file for a label: a dollar sign in it starts no formula."""
    return text.replace("$", r"\$")


def _theory(panel: Axes, averages: Sequence[Any], name_of_exact: str, style_of_exact: str) -> None:
    """Lines at the exact means, and at what the textbook's formula says where that differs."""
    exact = [average.exact for average in averages if average.exact is not None]
    # A line within a hundredth of the exact one could not be told from it.
    formula = [
        average.formula
        for average in averages
        if average.formula is not None
        and (average.exact is None
             or abs(average.formula - average.exact) > 0.01 * abs(average.exact))
    ]  # fmt: skip
    lines = ((exact, style_of_exact, name_of_exact), (formula, ":", "textbook formula"))
    for values, style, label in lines:
        for number, value in enumerate(values):  # one entry of the legend for all of a kind
            name = label if number == 0 else None
            panel.axhline(value, color=BLACK, ls=style, lw=1.3, label=name)


@styled
def speeds(report: Any) -> Figure:
    """A bench as bars: molecule-steps per second, and below it events per second in one cell.

    A bar is the median of the rounds, its whisker the slowest and the fastest. ``report`` is a
    ``bench.BenchReport``; peers that did not take part, or not the same work, are left out.
    """
    labels = ("molecule-steps per second of CPU time", "events per second of CPU time, one cell")
    kinds = [(report.comparable(well_mixed=n > 0), label) for n, label in enumerate(labels)]
    panels = [(rows, label) for n, (rows, label) in enumerate(kinds) if rows or n == 0]
    heights = [len(rows) + 1 for rows, _ in panels]
    figure = Figure(figsize=(WIDTH, 1.9 + 0.52 * sum(heights)), layout="constrained")
    axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
    for panel, (rows, label) in zip(axes, panels, strict=True):
        _bars(panel, rows, report.ratios, label)
    axes[0].set_title(f"The same work, one thread each ({report.date})")
    return figure


def _bars(panel: Axes, rows: Sequence[Any], ratios: Mapping[str, float], label: str) -> None:
    """Horizontal bars on a logarithmic axis, our own in another colour, rates written out."""
    panel.set_xscale("log")
    for place, row in enumerate(rows):
        (typical, slowest, fastest), ratio = row.speeds, ratios.get(row.engine)
        panel.barh(
            place, typical, height=0.62, xerr=[[typical - slowest], [fastest - typical]],
            error_kw={"lw": 1.4, "capsize": 4}, ecolor=BLACK, color=SKY if ratio else BLUE,
        )  # fmt: skip
        told = f" {typical / 1e6:.3g} million"
        if ratio:
            told += f" = 1/{ratio:.{0 if ratio >= 10 else 1}f} of ours"
        panel.annotate(told, (fastest, place), (7, 0), textcoords="offset points", va="center")
    panel.set_yticks(range(len(rows)), [row.name for row in rows])
    # Upside down, so that the first row stands at the top.
    panel.set_ylim(len(rows) - 0.4, -0.6)
    low, high = min(row.speeds[1] for row in rows), max(row.speeds[2] for row in rows)
    # Room on the right for what is written behind the longest bar.
    panel.set_xlim(10 ** math.floor(math.log10(low / 1.5)), high * 30)
    panel.grid(visible=False, axis="y")
    panel.set_xlabel(f"{label}\n({rows[0].molecules:,} molecules, {rows[0].sites:,} sites)")
