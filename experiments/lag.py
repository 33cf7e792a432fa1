"""Why does help come weeks after the drug? Occupancy in hours, relief in weeks, by mechanism.

Question
    A drug blocks 85 % of the transporters from the first hour on. What happens, hour by hour and
    week by week, to firing, to the brake on it, to serotonin, and to what follows downstream? And
    when it is stopped after six weeks?
Method
    Eight independent neurons, each with a terminal and a soma of well-mixed molecules, transporters
    and 5-HT1A autoreceptors; nobody writes occupancy or firing in. Molecular windows of 15 s, 240
    over six weeks with the drug and six without, drive the slow variables: coupling of receptors to
    the brake, then CREB, BDNF and plasticity, the last of which is the therapeutic index. Bands:
    95 %, Student's t over the neurons, each of which starts from its own estimate of the baseline,
    so that what is uncertain about that is in them. Beside every curve its mean-field twin.
    The drug's concentration is given, and constant from time zero to the stop; with its rate
    constants it takes and leaves the transporters within minutes, which the first window does not
    resolve.
    An antagonist (WAY-100635 at 4 times its Kd) is added in the first hours, and on days 2, 13 and
    41, to other neurons whose coupling is that of the course. The rival reading (firing recovers
    because the drive rises while the brake works as ever) is drawn in mean field, or simulated with
    ``--recovery drive``; ``--postsynaptic-strength 1`` lets the target cell adapt to serotonin.
    With ``--grid`` terminal and soma are grids of cells, of the neurons with the antagonist too:
    spikes release in given ones, molecules walk. It changes nothing that can be seen, as serotonin
    crosses a place in 0.03 s.
Expected answer
    Firing falls at once and recovers as coupling falls; serotonin rises in two stages, further at
    the soma than at the terminal; CREB, BDNF and plasticity follow in that order, and half of the
    index comes after the second week. An antagonist raises serotonin further, early and late. After
    the stop coupling recovers, and until it has, firing and serotonin are above baseline. (Mean
    field was known when the ranges were set.)
Run time
    About 20 s on one core; ``--grid`` about 30 min, with ``--cells 16`` 12 min, two thirds of which
    are the course and announced.
Source
    Parameters: ``synapse_abm/data/neuron.toml``, each with status. Firing: Chaput 1986; El Mansari
    2005. Serotonin, and the antagonist: Ceglia 2004, Br J Pharmacol 142:469,
    doi:10.1038/sj.bjp.0705800. Rival reading: Commons & Linnros 2019.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from synapse_abm import pharmacology
from synapse_abm.core.errors import InputError, raise_faults
from synapse_abm.core.progress import Progress
from synapse_abm.core.text import text_table
from synapse_abm.neuron.calibration import Calibration, calibrate
from synapse_abm.neuron.engine.simulation_grid import PlaceGrid
from synapse_abm.neuron.ligands import at_autoreceptor, at_sert
from synapse_abm.neuron.meanfield.ode import SLOW, Exposure
from synapse_abm.neuron.scenario import DAY_S, Neuron, neuron
from synapse_abm.runs import dose_response, predictions
from synapse_abm.runs.predictions import Outcome, calibrated, emergent, published, ratio
from synapse_abm.runs.results import Result, Table
from synapse_abm.statistics import Estimate, from_replicates
from synapse_abm.synapse.engine.layout import F64
from synapse_abm.synapse.scenario import Kinetics
from synapse_abm.treatment.acute import Condition, Subject, measured
from synapse_abm.treatment.course import QUANTITIES, Course
from synapse_abm.treatment.treatment import Treatment, mean_field, stopped

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STOP_DAY, DAYS = 42.0, 84.0
HOUR = 1 / 24
SHOWN = (HOUR, 1.0, 2.0, 7.0, 14.0, 21.0, 28.0, 41.5,
         42 + HOUR, 43.0, 45.0, 49.0, 56.0, 70.0, 83.0)  # rows of the table  # fmt: skip
ANTAGONIST, ANTAGONIST_OVER_KD = "WAY-100635", 4.0
CHALLENGED = (HOUR, 2.0, 13.0, 41.0)
FOLLOWED = ("rate_Hz", "terminal_nM", "soma_nM", "coupling", "creb", "bdnf", "plasticity")
ADAPTED = 1.0  # postsynaptic strength of the variant that is told


@dataclass(frozen=True)
class Options:
    """Options of this experiment."""

    drug: str = "citalopram"
    """A drug that binds to SERT, or DRUG@SOURCE."""
    occupancy: float = 0.85
    """Share of SERT that the drug would occupy alone, above 0 and at most 0.99."""
    recovery: Literal["coupling", "drive"] = "coupling"
    """Why firing comes back: receptors lose their grip, or the drive rises and the brake works."""
    postsynaptic_strength: float = 0.0
    """How strongly the target cell adapts to serotonin, 0: not at all, at most 100."""
    grid: bool = False
    """Let molecules walk: terminal and soma are grids in the course. Announced with the time."""
    cells: int | None = None
    """With --grid: cells along each edge of such a place, 1 to 512 (64 unless given); fewer take
    less time."""


def run(
    seed: int, quick: bool, progress: Progress, drug: str = "citalopram", occupancy: float = 0.85,
    recovery: Literal["coupling", "drive"] = "coupling", postsynaptic_strength: float = 0.0,
    grid: bool = False, cells: int | None = None,
) -> Result:  # fmt: skip
    """Treat for six weeks, stop, and hold what happens against what was stated beforehand."""
    kinetics, places = _checked(drug, occupancy, recovery, postsynaptic_strength, grid, cells)
    it = neuron(recovery=recovery, postsynaptic_strength=postsynaptic_strength)
    nM = kinetics.koff / kinetics.kon * occupancy / (1 - occupancy)
    treatment = planned(it, nM, drug, seed, quick, places)
    calibration = calibrate(it, seed)
    course = Course(treatment, calibration).run(progress=progress)
    challenge = challenged(course, calibration, occupancy, quick, progress)
    variants = _variants(treatment)
    outcomes = _outcomes(course, challenge)
    departures = {name: course.departure(name) for name in FOLLOWED}
    return Result(
        tables=[course.table("lag"), _challenge_table(challenge), variants,
                predictions.table(outcomes)],
        checks=[outcome.check for outcome in outcomes],
        text="\n\n".join([
            str(calibration), _text(course), _challenge_text(challenge), predictions.text(outcomes),
            _variants_text(it, treatment, variants), _twin(departures),
        ]),
        verdict=_verdict(course),
        scenario={
            "drug": drug, "concentration_nM": nM, "days": DAYS, "stop_day": STOP_DAY,
            "grid": treatment.grid.model_dump() if treatment.grid else None,
            "departure_from_twin": departures, "replicates": treatment.replicates,
            "half_day": _half_day(course).value,
            "baseline_factors": {n: getattr(calibration.baseline, n) for n in calibration.error},
            "neuron": it.model_dump(mode="json"),
        },
        papers=[
            *pharmacology.ligand(drug).sources(), *pharmacology.ligand(ANTAGONIST).sources(),
            "Chaput 1986, Naunyn-Schmiedebergs Arch Pharmacol 333:342",
            "El Mansari 2005, Neuropsychopharmacology 30:1269, doi:10.1038/sj.npp.1300686",
            "Ceglia 2004, Br J Pharmacol 142:469, doi:10.1038/sj.bjp.0705800",
            "Commons & Linnros 2019, ACS Chem Neurosci 10:3048",
        ],
    )  # fmt: skip


def planned(
    it: Neuron, nM: float, drug: str, seed: int, quick: bool, grid: PlaceGrid | None = None
) -> Treatment:
    """Six weeks at a concentration and six without; ``grid`` for places that are not well mixed."""
    size: dict[str, Any] = {"windows": 80, "replicates": 3} if quick else {"windows": 240}
    return Treatment(
        it, stopped(nM, STOP_DAY), days=DAYS, breaks_days=(STOP_DAY,), drug=drug, seed=seed,
        grid=grid, **size,
    )  # fmt: skip


def _checked(
    drug: str, occupancy: float, recovery: str, strength: float, grid: bool, cells: int | None
) -> tuple[Kinetics, PlaceGrid | None]:
    """The drug's rate constants and the places' grid, once all that is wrong has been told."""
    faults, kinetics = list[InputError](), None
    size = PlaceGrid().cells if cells is None else cells
    if not 0 < occupancy <= 0.99:
        allowed = "a share above 0, at most 0.99"
        faults.append(InputError("--occupancy", occupancy, allowed, "use 0.85"))
    if recovery not in ("coupling", "drive"):
        faults.append(InputError("--recovery", recovery, "coupling or drive"))
    if not 0 <= strength <= 100:
        allowed = "a number from 0 to 100"
        faults.append(InputError("--postsynaptic-strength", strength, allowed, "use 0 or 1"))
    if not (isinstance(size, int) and 1 <= size <= 512):
        faults.append(InputError("--cells", cells, "a whole number from 1 to 512", "use 16"))
    if cells is not None and not grid:
        allowed = "nothing without --grid, as places are well mixed then"
        faults.append(InputError("--cells", cells, allowed, "add --grid, or leave out --cells"))
    try:
        kinetics = dose_response.inhibitor(drug, ["SERT"], "--drug").kinetics("SERT")
    except InputError as error:
        faults.append(error)
    raise_faults(faults)
    assert kinetics is not None
    return kinetics, PlaceGrid(cells=size) if grid else None


# --- reading a course -----------------------------------------------------------------------------


def around(course: Course, quantity: str, day: float) -> Estimate:
    """What it is around ``day``, on its side of the stop; errors over neurons.

    Mean over the five nearest windows; slow variables, which hardly vary from window to window, are
    read on the line through the two nearest.
    """
    side = np.flatnonzero((course.day < STOP_DAY) == (day < STOP_DAY))
    near = side[np.argsort(np.abs(course.day[side] - day))]
    values = course.values[:, :, QUANTITIES.index(quantity)]
    if quantity in SLOW:
        first, second = course.day[near[:2]]
        share = (day - first) / (second - first)
        return from_replicates((1 - share) * values[near[0]] + share * values[near[1]])
    return from_replicates(values[near[:5]].mean(axis=0))


def crossing(course: Course, quantity: str, level: float) -> Estimate | None:
    """Day on the drug at which a rising quantity crosses ``level``, over neurons; None if one of
    them does not.
    """
    on = course.day < STOP_DAY
    curves = course.values[: course.done][on, :, QUANTITIES.index(quantity)].T
    days = [float(np.interp(level, curve, course.day[on], right=np.nan)) for curve in curves]
    return from_replicates(days) if all(map(math.isfinite, days)) else None


def _half_day(course: Course) -> Estimate:
    """When plasticity reaches half of what it has at the stop."""
    found = crossing(course, "plasticity", around(course, "plasticity", 41.5).value / 2)
    assert found is not None  # half of the end is crossed on the way
    return found


def _fold(course: Course, place: str, day: float) -> Estimate:
    it = course.treatment.it
    rest = (it.terminal if place == "terminal" else it.soma).serotonin_nM
    return ratio(around(course, f"{place}_nM", day), Estimate(rest, 0.0))


# --- the antagonist, early and late ---------------------------------------------------------------


@dataclass(frozen=True)
class Challenge:
    """What an antagonist adds on a day: firing with it, of baseline, and terminal serotonin's
    factor.
    """

    rate: Estimate
    factor: Estimate


def challenged(
    course: Course, calibration: Calibration, occupancy: float, quick: bool, progress: Progress
) -> dict[float, Challenge]:
    """The drug with and without an antagonist, at coupling and drive of the course on each day."""
    t = course.treatment
    rival = at_autoreceptor(ANTAGONIST)
    subject = Subject(t.it, calibration.baseline, at_sert(t.drug), rival, t.grid)
    share = occupancy / (1 - occupancy)
    conditions = [
        Condition(
            Exposure(share, share, dose),
            around(course, "coupling", day).value,
            around(course, "drive", day).value,
        )
        for day in CHALLENGED
        for dose in (0.0, ANTAGONIST_OVER_KD)
    ]
    found = measured(
        subject, conditions, seed=t.seed, replicates=3 if quick else 5,
        window_s=60 if quick else 200, progress=progress, calibration=calibration,
    )  # fmt: skip
    rest = Estimate(t.it.rate_Hz, 0.0)
    return {
        day: Challenge(
            ratio(cut["rate_Hz"], rest), ratio(cut["terminal_nM"], braked["terminal_nM"])
        )
        for day, braked, cut in zip(CHALLENGED, found[::2], found[1::2], strict=True)
    }


def _challenge_table(challenge: dict[float, Challenge]) -> Table:
    each = challenge.values()
    return Table(
        "antagonist",
        {
            "day": list(challenge),
            "rate_of_baseline": [c.rate.value for c in each],
            "rate_se": [c.rate.se for c in each],
            "terminal_factor": [c.factor.value for c in each],
            "terminal_factor_se": [c.factor.se for c in each],
        },
    )


def _challenge_text(challenge: dict[float, Challenge]) -> str:
    rows = [
        [f"{day:.2g}", predictions.shown(each.rate), f"x{predictions.shown(each.factor)}"]
        for day, each in challenge.items()
    ]
    header = [f"{ANTAGONIST} added on day", "firing, of baseline", "terminal serotonin"]
    return text_table(header, rows)


# --- predictions ----------------------------------------------------------------------------------

_LATE = {
    "coupling": (
        "recovery waits for coupling alone here, which falls over 7 days (assumed) and must fall"
        " further the higher serotonin climbs meanwhile. A faster loss of coupling, or a drive that"
        " rises beside it (Commons & Linnros 2019), would bring firing back sooner"
    ),
    "drive": (
        "the drive rises by what firing lacks, over 7 days (assumed), and slower the nearer firing"
        " is to its baseline. A shorter time, or coupling that falls beside it, would bring it back"
        " sooner"
    ),
}


def _outcomes(course: Course, challenge: dict[float, Challenge]) -> list[Outcome]:
    """Every prediction with what the model gives."""
    inf, late_guess = float("inf"), _LATE[course.treatment.it.recovery]

    def rate(day: float) -> Estimate:
        return around(course, "rate_Hz", day)

    acute, late = _fold(course, "terminal", HOUR), _fold(course, "terminal", 41.0)
    outcomes = [
        calibrated("firing, first hours, of baseline", rate(HOUR), 0.5, 0.7, "0.6, tuned to"),
        calibrated("terminal serotonin, first hours, of baseline", acute, 2.2, 2.8,
            "2.5, tuned to"),
        calibrated("firing, six weeks, of baseline", rate(41.0), 0.9, 1.05,
            "near 1, coupling strength was tuned to it"),
        emergent("fold at the soma over that at the terminal, first hours",
            ratio(_fold(course, "soma", HOUR), acute), 1.0, 2.0, "above 1"),
        emergent("terminal serotonin, six weeks over first hours", ratio(late, acute), 1.2, 3.0,
            "above 1.2: the second rise"),
        emergent("day at which plasticity is half of its value at six weeks", _half_day(course),
            14.0, 35.0, "after day 14"),
        emergent("antagonist added in the first hours: terminal serotonin, times",
            challenge[HOUR].factor, 1.2, inf, "above 1.2"),
        emergent("antagonist added on day 41: terminal serotonin, times", challenge[41.0].factor,
            1.2, inf, "above 1.2"),
        emergent("firing, first day after the stop, of baseline", rate(43.0), 1.1, inf,
            "above 1.1"),
        emergent("terminal serotonin, first day after the stop, of baseline",
            _fold(course, "terminal", 43.0), 1.1, inf, "above 1.1, with the default set"),
        emergent("coupling, six weeks after the stop, over that at the stop",
            ratio(around(course, "coupling", 83.0), around(course, "coupling", 41.5)), 1.5, inf,
            "above 1.5: recovers"),
        published("firing at day 14, of baseline", rate(14.0), 0.9, 1.1, "complete recovery",
            "Chaput 1986; still reduced: El Mansari 2005", late_guess),
        published("firing at day 21, of baseline", rate(21.0), 0.9, 1.1, "returned to control",
            "El Mansari 2005", late_guess),
        published("cortical serotonin, day 2, of baseline", _fold(course, "terminal", 2.0), 2.57,
            3.06, "2.57 escitalopram, 3.06 citalopram, rat", "Ceglia 2004"),
        published("cortical serotonin, day 13, of baseline", _fold(course, "terminal", 13.0),
            3.02, 4.22, "4.22 escitalopram, 3.02 citalopram, rat", "Ceglia 2004"),
        published("antagonist added on day 2: terminal serotonin, times", challenge[2.0].factor,
            1.53, 1.74, "1.53 and 1.74 on day 2; four groups of rats together 1.53 to 1.74",
            "Ceglia 2004"),
        published("antagonist added on day 13: terminal serotonin, times", challenge[13.0].factor,
            1.53, 1.74, "1.64 and 1.69 on day 13; four groups of rats together 1.53 to 1.74",
            "Ceglia 2004"),
    ]  # fmt: skip
    if course.treatment.it.recovery == "drive":  # the brake works as ever: nothing to recover
        outcomes = [row for row in outcomes if not row.prediction.name.startswith("coupling")]
    if course.treatment.it.postsynaptic_strength > 0:
        outcomes.append(emergent(
            "serotonin as the target cell feels it, right after the stop",
            _felt(course, 42 + HOUR), 0.0, 0.95, "below 0.95: a deficit",
        ))  # fmt: skip
    return outcomes


def _felt(course: Course, day: float) -> Estimate:
    """Serotonin, in baselines, times the target cell's sensitivity to it."""
    fold, own = _fold(course, "terminal", day), around(course, "sensitivity", day)
    value = fold.value * own.value
    return Estimate(value, value * math.hypot(fold.se / fold.value, own.se / own.value), fold.dof)


# --- other readings, in mean field ----------------------------------------------------------------


def _variants(treatment: Treatment) -> Table:
    """The same treatment with the other reading of recovery, and with postsynaptic adaptation."""
    it = treatment.it
    days = np.unique(np.concatenate([
        np.geomspace(2 / 1440, STOP_DAY, 120), STOP_DAY + np.geomspace(2 / 1440, STOP_DAY, 120),
    ]))  # fmt: skip
    other = "drive" if it.recovery == "coupling" else "coupling"
    columns: dict[str, F64] = {"day": days}
    for name, changes in (("rival", {"recovery": other}),
                          ("adapting", {"postsynaptic_strength": ADAPTED})):  # fmt: skip
        changed = dataclasses.replace(treatment, it=it.model_copy(update=changes))
        twin = mean_field(changed, days * DAY_S)
        for quantity in (
            "rate_Hz",
            "terminal_nM",
            "coupling",
            "drive",
            "sensitivity",
            "plasticity",
        ):
            columns[f"{name}_{quantity}"] = twin[quantity]
    return Table("variants", columns, solved=set(columns) - {"day"})


def _variants_text(it: Neuron, treatment: Treatment, variants: Table) -> str:
    """What would tell the readings apart, and what postsynaptic adaptation does."""
    day, st = variants["day"], it.terminal.serotonin_nM
    own = mean_field(treatment, day * DAY_S)
    names = {"coupling": "receptors lose their grip", "drive": "the drive rises"}
    other = "drive" if it.recovery == "coupling" else "coupling"

    def row(label: str, at: Any) -> list[str]:
        values = [at("rate_Hz", 14.0), at("rate_Hz", 41.5), at("coupling", 41.5)]
        cells = [f"{value:.2f}" for value in values]
        return [label, *cells, *_challenged_twin(it, treatment, at), f"{at('rate_Hz', 43.0):.2f}"]

    def read(columns: Any, prefix: str) -> Any:
        return lambda name, when: float(np.interp(when, day, columns[prefix + name]))

    rows = [row(names[it.recovery], read(own, "")), row(names[other], read(variants, "rival_"))]
    header = ["mean field", "firing, day 14", "day 41", "coupling", "antagonist: firing",
              "serotonin", "stopped: firing"]  # fmt: skip
    felt = np.array(variants["adapting_terminal_nM"]) / st * variants["adapting_sensitivity"]
    index = float(np.interp(41.5, day, variants["adapting_plasticity"]))
    after = felt[day > STOP_DAY]
    return (
        "Two readings of recovery. They differ most in coupling itself; from outside, in what an"
        f" antagonist adds on day 41:\n{text_table(header, rows)}\n\n"
        f"With postsynaptic adaptation of strength {ADAPTED:g} (mean field) serotonin as the target"
        f" cell feels it falls to {after.min():.2f} of baseline after the stop, a deficit, and the"
        f" index reaches {index:.2f} at six weeks."
    )


def _challenged_twin(it: Neuron, treatment: Treatment, at: Any) -> list[str]:
    """Firing with an antagonist on day 41, and the factor of terminal serotonin, in mean field."""
    nM = treatment.concentration_nM(0.0)
    kinetics = pharmacology.ligand(treatment.drug).kinetics("SERT")
    share = nM * kinetics.kon / kinetics.koff
    slow = at("coupling", 41.0), at("drive", 41.0)
    braked, cut = (
        Condition(Exposure(share, share, dose), *slow).twin(it)
        for dose in (0.0, ANTAGONIST_OVER_KD)
    )
    factor = cut["terminal_nM"] / braked["terminal_nM"]
    return [f"{cut['rate_Hz'] / it.rate_Hz:.2f}", f"x{factor:.2f}"]


# --- text -----------------------------------------------------------------------------------------


def _text(course: Course) -> str:
    header = ["day", "SERT held", "firing", "terminal", "soma", "coupling", "CREB", "BDNF", "index"]
    rows, it = [], course.treatment.it
    for day in SHOWN:
        held, rate, *rest = (
            around(course, name, day).value
            for name in ("terminal_occupancy", "rate_Hz", "coupling", "creb", "bdnf", "plasticity")
        )
        st, ss = (_fold(course, place, day).value for place in ("terminal", "soma"))
        name = f"{day:.3g}" if day < STOP_DAY else f"stop + {day - STOP_DAY:.2g}"
        first = [name, f"{100 * held:.0f} %", f"{rate / it.rate_Hz:.2f}"]
        rows.append([*first, f"x{st:.2f}", f"x{ss:.2f}", *(f"{value:.2f}" for value in rest)])
    return text_table(header, rows)


def _twin(departures: dict[str, float]) -> str:
    each = ", ".join(f"{name} {100 * value:.1f} %" for name, value in departures.items())
    return f"Departure from the mean-field twin (root mean square, of its maximum): {each}."


def _verdict(course: Course) -> str:
    held, half = around(course, "terminal_occupancy", HOUR).value, _half_day(course)
    low, high = half.interval()
    weak = around(course, "coupling", 41.0).value
    why = (
        f"receptors lose their grip (coupling {weak:.2f}), firing returns"
        if course.treatment.it.recovery == "coupling"
        else "the drive rises against it, firing returns"
    )
    return (
        f"{100 * held:.0f} % of SERT is held from the first minutes on; half of the change that six"
        f" weeks bring comes only on day {half.value:.1f} +- {(high - low) / 2:.1g}. Between them"
        f" lies the brake: {why}, and serotonin rises a second time. A day after the stop it is"
        f" still x{_fold(course, 'terminal', 43.0).value:.2f}."
    )


# --- figure ---------------------------------------------------------------------------------------


def figure(result: Result) -> Figure:
    """Four rows from what is fast to what is slow; on the drug at the left, after the stop at the
    right.
    """
    from synapse_abm import plotting

    return plotting.styled(_draw)(result)


_ON = {5 / 1440: "5 min", HOUR: "1 h", 0.25: "6 h", 1: "1 d", 3: "3 d", 7: "1 w", 14: "2 w",
       42: "6 w"}  # fmt: skip
_OFF = {HOUR: "1 h", 0.25: "6 h", 1: "1 d", 3: "3 d", 7: "1 w", 14: "2 w", 42: "6 w"}


def _draw(result: Result) -> Figure:
    from matplotlib.figure import Figure

    from synapse_abm import plotting as plot

    fig = Figure(figsize=(13.6, 9.8), layout="constrained")
    axes = fig.subplots(
        4, 2, sharey="row", sharex="col", height_ratios=(0.8, 1.15, 1.35, 1.5),
        width_ratios=(1.45, 1.0),
    )  # fmt: skip
    for column, (on, ticks) in enumerate(((True, _ON), (False, _OFF))):
        panels = list(axes[:, column])
        _column(panels, result, on, plot)
        panels[-1].set_xscale("log")
        panels[-1].set_xticks(list(ticks), list(ticks.values()))
        panels[-1].minorticks_off()
        panels[-1].set_xlim(2 / 1440 if on else HOUR / 2, 44)
    _labels(axes, result, plot)
    return fig


def _column(panels: list[Any], result: Result, on: bool, plot: Any) -> None:
    """All curves of one phase against the time since it began."""
    table, it, dof = result["lag"], result.scenario["neuron"], result.scenario["replicates"] - 1
    st, ss = it["terminal"]["serotonin_nM"], it["soma"]["serotonin_nM"]
    phase = (on, dof)
    held, brake, serotonin, relief = panels
    _curve(held, table, phase, "terminal_occupancy", 1.0, plot.BLUE, "SERT held")
    most = result.scenario["concentration_nM"]
    _curve(
        held, table, phase, "concentration_nM", most, plot.GREY, "concentration (of its maximum)"
    )
    _curve(brake, table, phase, "rate_Hz", it["rate_Hz"], plot.VERMILION, "firing")
    name, words = ("coupling", "grip of the receptors")
    if it["recovery"] == "drive":
        name, words = ("drive", "drive")
    _curve(brake, table, phase, name, 1.0, plot.PURPLE, words)
    variants = result["variants"]
    x, mine = _since(variants, on)
    brake.plot(
        x, np.array(variants["rival_rate_Hz"])[mine] / it["rate_Hz"], color=plot.BLACK, ls=":",
        lw=1.4, label="firing, rival reading",
    )  # fmt: skip
    _curve(serotonin, table, phase, "soma_nM", ss, plot.SKY, "soma")
    _curve(serotonin, table, phase, "terminal_nM", st, plot.BLUE, "terminal")
    for ax in (brake, serotonin):
        ax.axhline(1, color=plot.GREY, lw=1)
    relief.axhline(0, color=plot.GREY, lw=1)
    for name, words, color in (("creb", "CREB", plot.ORANGE), ("bdnf", "BDNF", plot.GREEN),
                               ("plasticity", "plasticity = index", plot.BLACK)):  # fmt: skip
        _curve(relief, table, phase, name, 1.0, color, words)
    relief.lines[-2].set_linewidth(3)  # the index is what the chapter is about


def _labels(axes: Any, result: Result, plot: Any) -> None:
    (held, gone), (brake, _), (serotonin, after), (relief, faded) = axes
    for panel, words, top in ((held, "drug", 1.1), (brake, "of baseline", None),
                              (serotonin, "serotonin\n(x baseline)", None),
                              (relief, "downstream", 1.0)):  # fmt: skip
        panel.set_ylabel(words)
        panel.set_ylim(bottom=0, top=top)
    relief.set_ylim(bottom=-0.04)
    plot.percent(held)
    held.legend(loc="lower left", fontsize=11)
    for panel in (brake, serotonin, relief):
        panel.legend(loc="upper left", fontsize=11)
    half = result.scenario["half_day"]
    table = result["lag"]
    level = float(np.interp(half, table["day"], table["plasticity"]))
    relief.plot([half], [level], "o", color=plot.BLACK, ms=8)
    for panel in (held, brake, serotonin, relief):
        panel.axvline(half, color=plot.GREY, lw=1.2, ls=":")
    relief.annotate(
        f"half of the change:\nday {half:.0f}", (half, 0.95), (-8, 0), ha="right", va="top",
        textcoords="offset points",
    )  # fmt: skip
    held.set_title(f"{result.scenario['drug']}: held in minutes, helps in weeks")
    gone.set_title("stopped after six weeks")
    held.annotate("from the first minutes on", (0.004, 0.8), va="top", color=plot.BLUE, fontsize=12)
    gone.annotate("gone within minutes", (0.028, 0.06), va="bottom", color=plot.BLUE, fontsize=12)
    after.annotate("above baseline until\nthe grip is back", (0.35, 2.2), fontsize=12)
    relief.set_xlabel("time on the drug (logarithmic; dashed: mean-field twin; bands: 95 %)")
    faded.set_xlabel("time since the stop")


def _since(table: Table, on: bool) -> tuple[F64, Any]:
    """Time since the phase began, and which rows belong to it."""
    day = np.array(table["day"])
    mine = (day < STOP_DAY) == on
    return day[mine] - (0.0 if on else STOP_DAY), mine


def _curve(
    ax: Any, table: Table, phase: tuple[bool, int], name: str, unit: float, color: str, label: str
) -> None:  # fmt: skip
    """Mean with its band, and the twin dashed."""
    from synapse_abm.statistics import student_quantile

    on, dof = phase
    x, mine = _since(table, on)
    mean = np.array(table[name])[mine] / unit
    half = student_quantile(0.05, dof) * np.array(table[f"{name}_se"])[mine] / unit
    ax.fill_between(x, mean - half, mean + half, color=color, alpha=0.25, lw=0)
    ax.plot(x, mean, color=color, lw=1.6, label=label)
    if f"{name}_mean_field" in table.columns:
        twin = np.array(table[f"{name}_mean_field"])[mine] / unit
        ax.plot(x, twin, color=color, ls="--", lw=1.2)


if __name__ == "__main__":
    from synapse_abm.cli import run_script

    run_script(__file__)
