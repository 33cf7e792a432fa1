"""On which assumptions does the lag depend? One at a time, the day at which benefit is at half.

Question
    Most constants behind the six weeks of ``lag`` are assumed. Which of them make help come late,
    and which do not matter?
Method
    The mean-field solution of the neuron under a drug that occupies 85 % of SERT from the first
    hour on. Each constant is halved and doubled, one at a time; the baseline is fitted anew each
    time, as always. Read: the day at which the benefit (0 to 1) is at half of its plateau (its
    value after two years), the day at which it is at half of what six weeks bring (as ``lag``
    says), and its value at six weeks. Shares are changed as what they leave out (loss beside SERT),
    and what is zero by default is set to a value. Stages are also left out, one at a time and
    together. Mean field is 3 % off the molecular course in the benefit (see ``lag``), its day less.
Expected answer
    The time constants of plasticity and of sensitivity matter most; release, clearance and copy
    numbers shift size more than day. Without any adaptation of sensitivity, but with the stages
    behind it, half of the plateau would still take about two weeks. (Written before the first run;
    the ranges in numbers came later, and are no wider than the words.)
Run time
    About 5 s on one core.
Source
    Parameters: ``synapse_abm/data/neuron.toml``, each with status. No paper is compared with.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from synapse_abm.core.progress import Progress
from synapse_abm.core.text import text_table
from synapse_abm.neuron.meanfield.ode import course
from synapse_abm.neuron.scenario import (
    DAY_S,
    Exposure,
    NeuronParameters,
    neuron,
    provenance,
    serotonin_at,
)
from synapse_abm.runs import predictions, sweep
from synapse_abm.runs.predictions import Outcome, emergent
from synapse_abm.runs.results import Result, Table
from synapse_abm.synapse.scenario import Kinetics

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OCCUPANCY = 0.85
SIX_WEEKS, PLATEAU_DAYS = 42.0, 730.0
GONE = 0.01  # factor that leaves a stage out
LEAST_DAYS = 0.5  # bars shorter than that are not drawn
LEAST_BENEFIT = 0.02  # a plateau below is no benefit, and has no half

STAGES = ("desensitisation_days", "creb_days", "bdnf_days", "plasticity_days")
SCALED = (
    *STAGES, "threshold", "power", "feedback_strength", "desensitisation_strength", "relaxation_s",
    "rate_Hz",
    *(f"{place}.{name}" for place in ("terminal", "soma")
      for name in ("serotonin_nM", "transporters", "loss_share", "mao_ratio")),
    "receptor.kd_nM",
)  # fmt: skip
#: What is zero, or a choice, by default: the values that are tried.
GIVEN: dict[str, tuple[Any, ...]] = {
    "terminal.leak_share": (0.4,),
    "soma.leak_share": (0.4,),
    "postsynaptic_strength": (0.3,),
    "recovery": ("drive",),
    "occupancy": (0.75, 0.95),
}
BEHIND = "all stages behind serotonin"


@dataclass(frozen=True)
class Timing:
    """Days and benefit of one variant; None where the benefit has no half to reach."""

    half_day: float | None
    half_of_six_weeks_day: float | None
    benefit_six_weeks: float
    plateau: float


@dataclass(frozen=True)
class Variant:
    """What the figures show: a constant, how it was changed, and the day of half then."""

    constant: str
    change: str
    day: float | None


def variant(name: str, value: Any) -> NeuronParameters:
    """The neuron with one constant set; a number scales what ``SCALED`` names."""
    if name == "occupancy":
        return neuron()
    place, _, own = name.rpartition(".")
    if name == "receptor.kd_nM":
        kinetics = serotonin_at("5-HT1A")
        kd = value * kinetics.koff / kinetics.kon
        return neuron(receptor=Kinetics(kd_nM=kd, koff_per_s=kinetics.koff))
    if own == "loss_share":
        return neuron(**{place: {"sert_share": 1 - value * (1 - _default(place, "sert_share"))}})
    if name in SCALED:
        value = value * _default(place or "neuron", own)
    value = round(value) if own == "transporters" else value
    return neuron(**({place: {own: value}} if place else {own: value}))


def _default(part: str, name: str) -> float:
    return provenance()[part][name].value


def lag_of(changes: tuple[tuple[str, Any], ...]) -> Timing:
    """The lag with the constants changed."""
    share = dict(changes).get("occupancy", OCCUPANCY)
    parameters = neuron()
    for name, value in changes:
        own = variant(name, value)
        parameters = (
            own if len(changes) == 1 else parameters.model_copy(update={name: getattr(own, name)})
        )
    days = np.concatenate([np.linspace(0, 120, 601), [PLATEAU_DAYS]])
    exposure = Exposure.of_occupancy(share)
    benefit = course(parameters, lambda t: exposure, days * DAY_S)["plasticity"]
    plateau, at_six_weeks = float(benefit[-1]), float(np.interp(SIX_WEEKS, days, benefit))

    def day(level: float) -> float | None:
        above = np.flatnonzero(benefit[:-1] >= level)
        if plateau < LEAST_BENEFIT or above.size == 0 or above[0] == 0:
            return None
        pair = slice(above[0] - 1, above[0] + 1)
        return float(np.interp(level, benefit[pair], days[pair]))

    return Timing(day(plateau / 2), day(at_six_weeks / 2), at_six_weeks, plateau)


type Case = tuple[str, str, tuple[tuple[str, Any], ...]]


def run(seed: int, quick: bool, progress: Progress) -> Result:
    """Change one constant at a time and read the lag."""
    names = (*STAGES[::3], "threshold", "terminal.loss_share") if quick else (*SCALED, *GIVEN)
    cases = _cases(names)
    tasks = [(changes,) for _, _, changes in cases]
    timings = sweep.map_tasks(lag_of, tasks, progress=progress, label="courses")
    outcomes = _outcomes(cases, timings)
    return Result(
        tables=[_table(cases, timings), predictions.table(outcomes)],
        checks=[outcome.check for outcome in outcomes],
        text=f"{_text(cases, timings)}\n\n{predictions.text(outcomes)}",
        verdict=_verdict(cases, timings),
        data=[
            Variant(name, change, timing.half_day)
            for (name, change, _), timing in zip(cases, timings, strict=True)
        ],
        scenario={"occupancy": OCCUPANCY, "neuron": neuron().model_dump(mode="json")},
    )


def _cases(names: tuple[str, ...]) -> list[Case]:
    """Name, change in words, and changes of every variant; the default comes first."""
    cases: list[Case] = [("default", "", ())]
    for name in names:
        values = GIVEN.get(name, (0.5, 2.0))
        words = ("halved", "doubled") if name in SCALED else tuple(map(str, values))
        cases += [(name, said, ((name, value),)) for said, value in zip(words, values, strict=True)]
    cases += [(name, "left out", ((name, GONE),)) for name in STAGES]
    return [*cases, (BEHIND, "left out", tuple((name, GONE) for name in STAGES[1:]))]


def _status(name: str) -> str:
    """What the data file says of a constant."""
    place, _, own = name.rpartition(".")
    if name == "receptor.kd_nM":
        return "assumed"
    own = "sert_share" if own == "loss_share" else own
    known = provenance().get(place or "neuron", {})
    return known[own].status if own in known else ""


def _table(cases: list[Case], timings: list[Timing]) -> Table:
    return Table(
        "lag_sensitivity",
        {
            "constant": [name for name, _, _ in cases],
            "change": [change for _, change, _ in cases],
            "status": [_status(name) for name, _, _ in cases],
            "half_day": [timing.half_day for timing in timings],
            "half_of_six_weeks_day": [timing.half_of_six_weeks_day for timing in timings],
            "benefit_six_weeks": [timing.benefit_six_weeks for timing in timings],
            "plateau": [timing.plateau for timing in timings],
        },
        solved=("half_day", "half_of_six_weeks_day", "benefit_six_weeks", "plateau"),
    )


def _spread(cases: Sequence[Case], timings: list[Timing]) -> list[tuple[str, list[int]]]:
    """Constants with the rows of their two changes, what moves the day most first."""
    rows = dict[str, list[int]]()
    for at, (name, change, _) in enumerate(cases):
        if name != "default" and change != "left out":
            rows.setdefault(name, []).append(at)
    default = timings[0].half_day or math.nan

    def moved(pair: tuple[str, list[int]]) -> float:
        days = [timings[at].half_day for at in pair[1]]
        return -max(abs((day if day is not None else 2 * default) - default) for day in days)

    return sorted(rows.items(), key=moved)


def _days(value: float | None) -> str:
    return "never" if value is None else f"{value:.1f}"


def _text(cases: list[Case], timings: list[Timing]) -> str:
    def row(at: int) -> list[str]:
        name, change, _ = cases[at]
        timing = timings[at]
        words = f"{name} {change}".strip()
        return [words, _status(name), _days(timing.half_day), _days(timing.half_of_six_weeks_day),
                f"{timing.benefit_six_weeks:.2f}", f"{timing.plateau:.2f}"]  # fmt: skip

    order = [0, *(at for _, rows in _spread(cases, timings) for at in rows)]
    out = [at for at, (_, change, _) in enumerate(cases) if change == "left out"]
    header = ["constant", "status", "day of half", "half of 6 weeks", "benefit, 6 weeks", "plateau"]
    return text_table(header, [row(at) for at in (*order, *out)])


def _day(cases: list[Case], timings: list[Timing], name: str, change: str) -> float:
    """Day of half of a variant, NaN if it has none."""
    at = [case[:2] for case in cases].index((name, change))
    day = timings[at].half_day
    return math.nan if day is None else day


def _outcomes(cases: list[Case], timings: list[Timing]) -> list[Outcome]:
    """What was stated before looking."""

    def day(name: str, change: str) -> float:
        return _day(cases, timings, name, change)

    places = [name for name, _ in _spread(cases, timings)]
    return [
        emergent("day of half of the plateau", day("default", ""), 14.0, math.inf,
            "after day 14, as in lag"),
        emergent("the same if sensitivity fell at once", day("desensitisation_days", "left out"),
            12.0, 16.0, "about two weeks (within two days)", "",
            "BDNF and plasticity follow each other and take 5 and 14 days on their own"),
        emergent("place of plasticity's time constant, by how far it moves the day",
            1.0 + places.index("plasticity_days"), 1, 2, "first or second", "", _PLACES),
        emergent("place of sensitivity's time constant",
            1.0 + places.index("desensitisation_days"), 1, 2, "first or second", "", _PLACES),
        emergent("release, clearance, copies: largest shift of the day over that of the benefit",
            _shift(cases, timings, "half_day") / _shift(cases, timings, "benefit_six_weeks"),
            0.0, 1.0, "below 1, both as shares: size moves more"),
    ]  # fmt: skip


_PLACES = (
    "how much serotonin it takes to drive CREB, and whether the target cell adapts, decide on which"
    " part of the rise the benefit waits; sensitivity is one of four delays in series, and not the"
    " longest"
)


def _shift(cases: list[Case], timings: list[Timing], quantity: str) -> float:
    """Largest change, as a share, by a constant of terminal or soma."""
    default = getattr(timings[0], quantity)
    shifts = [
        abs(getattr(timing, quantity) / default - 1)
        for (name, _, _), timing in zip(cases, timings, strict=True)
        if "." in name and not name.startswith("receptor")
    ]
    return float(max(shifts))


def _verdict(cases: list[Case], timings: list[Timing]) -> str:
    first, second, third = (_label(name) for name, _ in _spread(cases, timings)[:3])
    fast, alone = (
        _day(cases, timings, name, "left out") for name in ("desensitisation_days", BEHIND)
    )  # fmt: skip
    return (
        f"Half of the plateau comes on day {_days(timings[0].half_day)}. What moves it most:"
        f" {first}; {second}; {third}; all assumed. If sensitivity fell at once it would be day"
        f" {fast:.1f}, if nothing came behind serotonin, day {alone:.1f}: most of the lag is the"
        f" stages'."
    )


# --- figure ---------------------------------------------------------------------------------------


def figure(result: Result) -> dict[str, Figure]:
    """The day of half with stages left out; and when each constant is halved and doubled, most
    important first.
    """
    from synapse_abm import plotting

    return {
        "": plotting.styled(_draw)(result.data),
        "constants": plotting.styled(_draw_constants)(result.data),
    }


LABELS = {
    "plasticity_days": "time constant of plasticity",
    "desensitisation_days": "time constant of sensitivity",
    "bdnf_days": "time constant of BDNF", "creb_days": "time constant of CREB",
    "threshold": "serotonin that drives CREB half", "power": "steepness of that drive",
    "feedback_strength": "strength of feedback",
    "desensitisation_strength": "depth of desensitisation",
    "relaxation_s": "relaxation of firing", "rate_Hz": "firing at baseline",
    "receptor.kd_nM": "Kd of the autoreceptor",
    "postsynaptic_strength": "adaptation of the target cell",
    "recovery": "why firing recovers", "occupancy": "share of SERT occupied",
}  # fmt: skip
PARTS = {
    "serotonin_nM": "serotonin", "transporters": "SERT number", "loss_share": "loss beside SERT",
    "mao_ratio": "oxidase per release", "leak_share": "release without spikes",
}  # fmt: skip


def _label(name: str) -> str:
    place, _, own = name.rpartition(".")
    if name == BEHIND:
        return name
    return LABELS.get(name) or f"{PARTS[own]}, {place}"


def _draw(variants: list[Variant]) -> Figure:
    """What is left of the lag without its stages."""
    from synapse_abm import plotting as plot

    left_out = [variant for variant in variants if variant.change == "left out"]
    default = variants[0].day or math.nan
    title = "Most of the lag lies in the stages behind serotonin"
    fig, (ax,) = plot.slide(height=4.4, title=title)
    for place, variant in enumerate(reversed(left_out)):
        day = variant.day or math.nan
        ax.barh(place, day, height=0.62, color=plot.GREEN)
        plot.named(ax, (day, place), f"day {day:.0f}")
    ax.barh(len(left_out), default, height=0.62, color=plot.BLUE)
    plot.named(ax, (default, len(left_out)), f"day {default:.0f}")
    names = [f"without the {_label(v.constant)}" if v.constant != BEHIND else f"without {BEHIND}"
             for v in reversed(left_out)]  # fmt: skip
    ax.set_yticks(range(len(left_out) + 1), [*names, "as in lag"])
    ax.grid(visible=False, axis="y")
    ax.set_xlim(0, 1.18 * default)
    ax.set_xlabel("day at which benefit is at half of its plateau\n(mean field)")
    return fig


def _draw_constants(variants: list[Variant]) -> Figure:
    from synapse_abm import plotting as plot

    default = variants[0].day or math.nan
    by_name = dict[str, list[Variant]]()
    for variant in variants[1:]:
        if variant.change != "left out":
            by_name.setdefault(variant.constant, []).append(variant)

    def moved(name: str) -> float:
        days = (2 * default if v.day is None else v.day for v in by_name[name])
        return max(abs(day - default) for day in days)

    shown = sorted((name for name in by_name if moved(name) > LEAST_DAYS), key=moved, reverse=True)
    title = "Which constants move the day at which help comes"
    fig, (ax,) = plot.slide(height=2.1 + 0.36 * len(shown), title=title)
    looks = {"halved": (plot.SKY, "//"), "doubled": (plot.ORANGE, "")}
    for place, name in enumerate(shown):
        for variant in by_name[name]:
            _bar(ax, place, variant, default, *looks.get(variant.change, (plot.GREY, "")))
    ax.axvline(default, color=plot.BLACK, lw=1.4)
    for words, (color, hatch) in (*looks.items(), ("set to another value", (plot.GREY, ""))):
        ax.barh([0], [0], color=color, hatch=hatch, label=words)
    fig.legend(loc="outside lower center", ncols=3)
    ax.set_yticks(range(len(shown)), [_label(name) for name in shown])
    ax.set_ylim(len(shown) - 0.4, -0.6)
    ax.grid(visible=False, axis="y")
    ax.set_xlim(0, 42)
    few = f"{len(by_name) - len(shown)} other constants move it by less than {LEAST_DAYS:g} days"
    ax.set_xlabel(f"day at which benefit is at half of its plateau (mean field)\n{few}")
    return fig


def _bar(
    ax: Any, place: int, variant: Variant, default: float, color: str, hatch: str
) -> None:  # fmt: skip
    from synapse_abm import plotting as plot

    day, change = variant.day, variant.change
    if day is None:
        plot.named(ax, (default, place), f"{change}: never")
        return
    ax.barh(place, day - default, left=default, height=0.62, color=color, hatch=hatch)
    words = f"{day:.0f}" if change in ("halved", "doubled") else f"{change}: {day:.0f}"
    later = day >= default
    plot.named(ax, (day, place), words, offset=(4 if later else -4, 0),
               ha="left" if later else "right")  # fmt: skip


if __name__ == "__main__":
    from synapse_abm.cli import run_script

    run_script(__file__)
