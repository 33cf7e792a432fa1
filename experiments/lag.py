"""Why does help come weeks after the drug? Occupancy in hours, relief in weeks, by mechanism.

Question
    A drug occupies 85 % of the transporters from the first hour on. What happens, hour by hour and
    week by week, to firing, to the autoreceptor feedback on it, to serotonin, and to what follows
    downstream? And when it is stopped after six weeks?
Method
    Eight independent neurons, each with a terminal and a soma of well-mixed molecules, transporters
    and 5-HT1A autoreceptors; nobody writes occupancy or firing in. Molecular windows of 15 s, 240
    over six weeks with the drug and six without, drive the slow variables: receptor sensitivity
    (how much a bound receptor slows firing), then CREB, BDNF and plasticity, the last of which
    is the benefit (0 to 1). Bands: 95 %, Student's t over the neurons, each of which starts from
    its own estimate of the baseline, so that what is uncertain about that is in them. Beside every
    curve its mean-field solution.
    The drug's concentration is set, and constant from time zero to the stop; with its rate
    constants it takes and leaves the transporters within minutes, which the first window does not
    resolve.
    An antagonist (WAY-100635 at 4 times its Kd) is added in the first hours, and on days 2, 13 and
    41, to other neurons whose sensitivity is that of the course. The other reading (firing recovers
    because the drive rises while receptors stay as sensitive as ever) is drawn in mean field, or
    simulated with ``--recovery drive``; ``--postsynaptic-strength 1`` lets the target cell adapt.
    With ``--grid`` terminal and soma are grids of cells, of the neurons with the antagonist too:
    spikes release in certain ones, molecules walk. It changes nothing that can be seen, as
    serotonin crosses a place in 0.03 s.
Expected answer
    Firing falls at once and recovers as sensitivity falls; serotonin rises in two stages, further
    at the soma than at the terminal; CREB, BDNF and plasticity follow in that order, and half of
    the benefit comes after the second week. An antagonist raises serotonin further, early and late.
    After the stop sensitivity recovers, and until it has, firing and serotonin are above baseline.
    (The mean-field solution was known when the ranges were set.)
Run time
    About 20 s on one core; ``--grid`` about 30 min, with ``--cells 16`` 12 min, two thirds of which
    are the course and announced.
Source
    Parameters: ``synapse_abm/data/neuron.toml``, each with status. Firing: Chaput 1986; El Mansari
    2005. Serotonin, and the antagonist: Ceglia 2004, Br J Pharmacol 142:469,
    doi:10.1038/sj.bjp.0705800. Other reading: Commons & Linnros 2019.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from synapse_abm import pharmacology
from synapse_abm.core.arithmetic import rounded
from synapse_abm.core.errors import InputError, raise_faults
from synapse_abm.core.progress import Progress
from synapse_abm.core.text import text_table
from synapse_abm.neuron.calibration import Calibration, calibrate
from synapse_abm.neuron.ligands import at_autoreceptor, at_sert
from synapse_abm.neuron.scenario import DAY_S, SLOW, Exposure, NeuronParameters, PlaceGrid, neuron
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
FOLLOWED = ("rate_Hz", "terminal_nM", "soma_nM", "sensitivity", "creb", "bdnf", "plasticity")
ADAPTED = 1.0  # postsynaptic strength of the variant that is told


@dataclass(frozen=True)
class Options:
    """Options of this experiment."""

    drug: str = "citalopram"
    """A drug that binds to SERT, or DRUG@SOURCE."""
    occupancy: float = 0.85
    """Share of SERT that the drug would occupy alone, above 0 and at most 0.99."""
    recovery: Literal["sensitivity", "drive"] = "sensitivity"
    """Why firing comes back: receptor sensitivity falls, or the drive rises and feedback stays."""
    postsynaptic_strength: float = 0.0
    """How strongly the target cell adapts to serotonin, 0: not at all, at most 100."""
    grid: bool = False
    """Let molecules walk: terminal and soma are grids in the course. Announced with the time."""
    cells: int | None = None
    """With --grid: cells along each edge of such a place, 1 to 512 (64 unless given); fewer take
    less time."""


@dataclass(frozen=True)
class Lag:
    """What the figures show: a course by quantity, each an array over its windows.

    Attributes
    ----------
    drug, recovery
        As in the options.
    half_day
        When the benefit is at half of what it has at the stop.
    day
        Middle of each window.
    mean, half_width, mean_field
        Mean over neurons, half the width of its 95 % band, and the mean-field solution.
    other_reading
        Day and firing of the other reading of recovery, in mean field.
    """

    drug: str
    recovery: str
    half_day: Estimate
    day: F64
    mean: dict[str, F64]
    half_width: dict[str, F64]
    mean_field: dict[str, F64]
    other_reading: tuple[F64, F64]

    @classmethod
    def of(cls, course: Course, variants: Table) -> Lag:
        """A course with firing and serotonin over their baselines."""
        plan = course.treatment
        parameters = plan.neuron
        units = {
            "rate_Hz": parameters.rate_Hz, "terminal_nM": parameters.terminal.serotonin_nM,
            "soma_nM": parameters.soma.serotonin_nM,
        }  # fmt: skip
        quantities = {name: units.get(name, 1.0) for name in ("terminal_occupancy", *FOLLOWED)}
        quantities["drive"] = 1.0
        solutions = {name: course.expected(name) for name in quantities}
        return cls(
            plan.drug, parameters.recovery, _half_day(course), course.day[: course.done],
            {name: course.mean(name) / unit for name, unit in quantities.items()},
            {name: course.half_band(name) / unit for name, unit in quantities.items()},
            {name: solution / quantities[name] for name, solution in solutions.items()
             if solution is not None},
            (variants["day"], variants["other_rate_Hz"] / parameters.rate_Hz),
        )  # fmt: skip


def run(seed: int, quick: bool, progress: Progress, **options: Any) -> Result:
    """Treat for six weeks, stop, and hold what happens against what was stated beforehand."""
    chosen = Options(**options)
    kinetics, places = _checked(chosen)
    drug, occupancy = chosen.drug, chosen.occupancy
    parameters = neuron(
        recovery=chosen.recovery, postsynaptic_strength=chosen.postsynaptic_strength
    )
    nM = kinetics.koff / kinetics.kon * occupancy / (1 - occupancy)
    treatment = planned(parameters, nM, drug, seed, quick, places)
    calibration = calibrate(parameters, seed)
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
            _variants_text(parameters, treatment, variants), _departures(departures),
        ]),
        verdict=_verdict(course),
        scenario={
            "drug": drug, "concentration_nM": nM, "days": DAYS, "stop_day": STOP_DAY,
            "grid": treatment.grid.model_dump() if treatment.grid else None,
            "departure_from_mean_field": departures, "replicates": treatment.replicates,
            "half_day": _half_day(course).value,
            "baseline_factors": {n: getattr(calibration.baseline, n) for n in calibration.error},
            "neuron": parameters.model_dump(mode="json"),
        },
        papers=[
            *pharmacology.ligand(drug).sources(), *pharmacology.ligand(ANTAGONIST).sources(),
            "Chaput 1986, Naunyn-Schmiedebergs Arch Pharmacol 333:342",
            "El Mansari 2005, Neuropsychopharmacology 30:1269, doi:10.1038/sj.npp.1300686",
            "Ceglia 2004, Br J Pharmacol 142:469, doi:10.1038/sj.bjp.0705800",
            "Commons & Linnros 2019, ACS Chem Neurosci 10:3048",
        ],
        data=Lag.of(course, variants),
    )  # fmt: skip


def planned(
    parameters: NeuronParameters,
    nM: float,
    drug: str,
    seed: int,
    quick: bool,
    grid: PlaceGrid | None = None,
) -> Treatment:
    """Six weeks at a concentration and six without; ``grid`` for places that are not well mixed."""
    size: dict[str, Any] = {"windows": 56, "replicates": 3} if quick else {"windows": 240}
    return Treatment(
        parameters, stopped(nM, STOP_DAY), days=DAYS, breaks_days=(STOP_DAY,), drug=drug, seed=seed,
        grid=grid, **size,
    )  # fmt: skip


def _checked(chosen: Options) -> tuple[Kinetics, PlaceGrid | None]:
    """The drug's rate constants and the places' grid, once all that is wrong has been told."""
    faults, kinetics = list[InputError](), None
    cells, strength = chosen.cells, chosen.postsynaptic_strength
    size = PlaceGrid().cells if cells is None else cells
    if not 0 < chosen.occupancy <= 0.99:
        allowed = "a share above 0, at most 0.99"
        faults.append(InputError("--occupancy", chosen.occupancy, allowed, "use 0.85"))
    if chosen.recovery not in ("sensitivity", "drive"):
        faults.append(InputError("--recovery", chosen.recovery, "sensitivity or drive"))
    if not 0 <= strength <= 100:
        allowed = "a number from 0 to 100"
        faults.append(InputError("--postsynaptic-strength", strength, allowed, "use 0 or 1"))
    if not (isinstance(size, int) and 1 <= size <= 512):
        faults.append(InputError("--cells", cells, "a whole number from 1 to 512", "use 16"))
    if cells is not None and not chosen.grid:
        allowed = "nothing without --grid, as places are well mixed then"
        faults.append(InputError("--cells", cells, allowed, "add --grid, or leave out --cells"))
    try:
        kinetics = dose_response.inhibitor(chosen.drug, ["SERT"], "--drug").kinetics("SERT")
    except InputError as error:
        faults.append(error)
    raise_faults(faults)
    assert kinetics is not None
    return kinetics, PlaceGrid(cells=size) if chosen.grid else None


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
    half_day = crossing(course, "plasticity", around(course, "plasticity", 41.5).value / 2)
    assert half_day is not None  # half of the end is crossed on the way
    return half_day


def _fold(course: Course, place: str, day: float) -> Estimate:
    parameters = course.treatment.neuron
    rest = (parameters.terminal if place == "terminal" else parameters.soma).serotonin_nM
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
    """The drug with and without an antagonist, at the sensitivity and drive of each day."""
    t = course.treatment
    antagonist = at_autoreceptor(ANTAGONIST)
    subject = Subject(t.neuron, calibration.baseline, at_sert(t.drug), antagonist, t.grid)
    share = occupancy / (1 - occupancy)
    conditions = [
        Condition(
            Exposure(share, share, dose),
            rounded(around(course, "sensitivity", day).value),
            rounded(around(course, "drive", day).value),
        )
        for day in CHALLENGED
        for dose in (0.0, ANTAGONIST_OVER_KD)
    ]
    outcomes = measured(
        subject, conditions, seed=t.seed, replicates=3 if quick else 5,
        window_s=30 if quick else 200, progress=progress, calibration=calibration,
    )  # fmt: skip
    rest = Estimate(t.neuron.rate_Hz, 0.0)
    return {
        day: Challenge(
            ratio(cut["rate_Hz"], rest), ratio(cut["terminal_nM"], intact["terminal_nM"])
        )
        for day, intact, cut in zip(CHALLENGED, outcomes[::2], outcomes[1::2], strict=True)
    }


def _challenge_table(challenge: dict[float, Challenge]) -> Table:
    windows = challenge.values()
    return Table(
        "antagonist",
        {
            "day": list(challenge),
            "rate_of_baseline": [c.rate.value for c in windows],
            "rate_se": [c.rate.se for c in windows],
            "terminal_factor": [c.factor.value for c in windows],
            "terminal_factor_se": [c.factor.se for c in windows],
        },
    )


def _challenge_text(challenge: dict[float, Challenge]) -> str:
    rows = [
        [f"{day:.2g}", predictions.shown(state.rate), f"x{predictions.shown(state.factor)}"]
        for day, state in challenge.items()
    ]
    header = [f"{ANTAGONIST} added on day", "firing, of baseline", "terminal serotonin"]
    return text_table(header, rows)


# --- predictions ----------------------------------------------------------------------------------

_LATE = {
    "sensitivity": (
        "recovery waits for sensitivity alone here, which falls over 7 days (assumed) and must fall"
        " further the higher serotonin climbs meanwhile. A faster loss, or a drive that"
        " rises beside it (Commons & Linnros 2019), would bring firing back sooner"
    ),
    "drive": (
        "the drive rises by what firing lacks, over 7 days (assumed), and slower the nearer firing"
        " is to its baseline. A shorter time, or sensitivity that falls beside it, would bring it"
        " back sooner"
    ),
}


def _outcomes(course: Course, challenge: dict[float, Challenge]) -> list[Outcome]:
    """Every prediction with what the model gives."""
    inf, late_guess = float("inf"), _LATE[course.treatment.neuron.recovery]

    def rate(day: float) -> Estimate:
        return around(course, "rate_Hz", day)

    acute, late = _fold(course, "terminal", HOUR), _fold(course, "terminal", 41.0)
    outcomes = [
        calibrated("firing, first hours, of baseline", rate(HOUR), 0.5, 0.7, "0.6, tuned to"),
        calibrated("terminal serotonin, first hours, of baseline", acute, 2.2, 2.8,
            "2.5, tuned to"),
        calibrated("firing, six weeks, of baseline", rate(41.0), 0.9, 1.05,
            "near 1, the strength of desensitisation was tuned to it"),
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
        emergent("sensitivity, six weeks after the stop, over that at the stop",
            ratio(around(course, "sensitivity", 83.0), around(course, "sensitivity", 41.5)),
            1.5, inf, "above 1.5: recovers"),
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
    if course.treatment.neuron.recovery == "drive":  # sensitivity stays: nothing to recover
        outcomes = [row for row in outcomes if not row.prediction.name.startswith("sensitivity")]
    if course.treatment.neuron.postsynaptic_strength > 0:
        outcomes.append(emergent(
            "serotonin as the target cell feels it, right after the stop",
            _felt(course, 42 + HOUR), 0.0, 0.95, "below 0.95: a deficit",
        ))  # fmt: skip
    return outcomes


def _felt(course: Course, day: float) -> Estimate:
    """Serotonin, in baselines, times the target cell's sensitivity to it."""
    fold, own = _fold(course, "terminal", day), around(course, "postsynaptic", day)
    value = fold.value * own.value
    return Estimate(value, value * math.hypot(fold.se / fold.value, own.se / own.value), fold.dof)


# --- other readings, in mean field ----------------------------------------------------------------


def _variants(treatment: Treatment) -> Table:
    """The same treatment with the other reading of recovery, and with postsynaptic adaptation."""
    parameters = treatment.neuron
    days = np.unique(np.concatenate([
        np.geomspace(2 / 1440, STOP_DAY, 120), STOP_DAY + np.geomspace(2 / 1440, STOP_DAY, 120),
    ]))  # fmt: skip
    other = "drive" if parameters.recovery == "sensitivity" else "sensitivity"
    columns: dict[str, F64] = {"day": days}
    for name, changes in (("other", {"recovery": other}),
                          ("adapting", {"postsynaptic_strength": ADAPTED})):  # fmt: skip
        changed = dataclasses.replace(treatment, neuron=parameters.model_copy(update=changes))
        # Ten digits of the solver, so that the six that are written are those of every processor.
        solution = mean_field(changed, days * DAY_S, rtol=1e-11)
        for quantity in (
            "rate_Hz",
            "terminal_nM",
            "sensitivity",
            "drive",
            "postsynaptic",
            "plasticity",
        ):
            columns[f"{name}_{quantity}"] = solution[quantity]
    return Table("variants", columns, solved=set(columns) - {"day"})


def _variants_text(parameters: NeuronParameters, treatment: Treatment, variants: Table) -> str:
    """What would tell the readings apart, and what postsynaptic adaptation does."""
    day, st = variants["day"], parameters.terminal.serotonin_nM
    own = mean_field(treatment, day * DAY_S)
    names = {"sensitivity": "receptor sensitivity falls", "drive": "the drive rises"}
    other = "drive" if parameters.recovery == "sensitivity" else "sensitivity"

    def row(label: str, at: Any) -> list[str]:
        values = [at("rate_Hz", 14.0), at("rate_Hz", 41.5), at("sensitivity", 41.5)]
        cells = [f"{value:.2f}" for value in values]
        return [
            label,
            *cells,
            *_challenged_mean_field(parameters, treatment, at),
            f"{at('rate_Hz', 43.0):.2f}",
        ]

    def read(columns: Any, prefix: str) -> Any:
        return lambda name, when: float(np.interp(when, day, columns[prefix + name]))

    rows = [
        row(names[parameters.recovery], read(own, "")),
        row(names[other], read(variants, "other_")),
    ]
    header = ["mean field", "firing, day 14", "day 41", "sensitivity", "antagonist: firing",
              "serotonin", "stopped: firing"]  # fmt: skip
    felt = np.array(variants["adapting_terminal_nM"]) / st * variants["adapting_sensitivity"]
    benefit = float(np.interp(41.5, day, variants["adapting_plasticity"]))
    after = felt[day > STOP_DAY]
    return (
        "Two readings of recovery. They differ most in sensitivity itself; from outside, in what an"
        f" antagonist adds on day 41:\n{text_table(header, rows)}\n\n"
        f"With postsynaptic adaptation of strength {ADAPTED:g} (mean field) serotonin as the target"
        f" cell feels it falls to {after.min():.2f} of baseline after the stop, a deficit, and the"
        f" benefit reaches {benefit:.2f} at six weeks."
    )


def _challenged_mean_field(
    parameters: NeuronParameters, treatment: Treatment, at: Any
) -> list[str]:
    """Firing with an antagonist on day 41, and the factor of terminal serotonin, in mean field."""
    nM = treatment.concentration_nM(0.0)
    kinetics = pharmacology.ligand(treatment.drug).kinetics("SERT")
    share = nM * kinetics.kon / kinetics.koff
    slow = at("sensitivity", 41.0), at("drive", 41.0)
    intact, cut = (
        Condition(Exposure(share, share, dose), *slow).mean_field(parameters)
        for dose in (0.0, ANTAGONIST_OVER_KD)
    )
    factor = cut["terminal_nM"] / intact["terminal_nM"]
    return [f"{cut['rate_Hz'] / parameters.rate_Hz:.2f}", f"x{factor:.2f}"]


# --- text -----------------------------------------------------------------------------------------


def _text(course: Course) -> str:
    header = [
        "day",
        "SERT occupied",
        "firing",
        "terminal",
        "soma",
        "sensitivity",
        "CREB",
        "BDNF",
        "benefit",
    ]
    rows, parameters = [], course.treatment.neuron
    for day in SHOWN:
        occupied, rate, *rest = (
            around(course, name, day).value
            for name in (
                "terminal_occupancy",
                "rate_Hz",
                "sensitivity",
                "creb",
                "bdnf",
                "plasticity",
            )
        )
        st, ss = (_fold(course, place, day).value for place in ("terminal", "soma"))
        name = f"{day:.3g}" if day < STOP_DAY else f"stop + {day - STOP_DAY:.2g}"
        first = [name, f"{100 * occupied:.0f} %", f"{rate / parameters.rate_Hz:.2f}"]
        rows.append([*first, f"x{st:.2f}", f"x{ss:.2f}", *(f"{value:.2f}" for value in rest)])
    return text_table(header, rows)


def _departures(departures: dict[str, float]) -> str:
    listed = ", ".join(f"{name} {100 * value:.1f} %" for name, value in departures.items())
    return f"Departure from the mean-field solution (root mean square, of its maximum): {listed}."


def _verdict(course: Course) -> str:
    occupied, half = around(course, "terminal_occupancy", HOUR).value, _half_day(course)
    low, high = half.interval()
    weak = around(course, "sensitivity", 41.0).value
    why = (
        f"receptor sensitivity falls (to {weak:.2f}), firing returns"
        if course.treatment.neuron.recovery == "sensitivity"
        else "the drive rises against it, firing returns"
    )
    return (
        f"{100 * occupied:.0f} % of SERT is occupied from the first minutes on; half of the change"
        f" that six weeks bring comes only on day {half.value:.1f} +- {(high - low) / 2:.1g}."
        f" Between them lies autoreceptor feedback: {why}, and serotonin rises a second time. A day"
        f" after the stop it is still x{_fold(course, 'terminal', 43.0).value:.2f}."
    )


# --- figure ---------------------------------------------------------------------------------------


def figure(result: Result) -> dict[str, Figure]:
    """Three lanes from hours to weeks; and beside them what lies between serotonin and benefit."""
    from synapse_abm import plotting

    return {
        "": plotting.styled(_draw)(result.data),
        "mechanism": plotting.styled(_draw_mechanism)(result.data),
    }


def _draw(lag: Lag) -> Figure:
    from synapse_abm import plotting as plot

    drug = f"{lag.drug[0].upper()}{lag.drug[1:]}"
    title = f"{drug} occupies in minutes and helps in weeks"
    fig, axes = plot.panel_table(
        3, 2, 7.2, title, sharex="col", sharey="row", width_ratios=(1.0, 2.4),
        height_ratios=(0.8, 1.4, 1.1),
    )  # fmt: skip
    for hours, ax in zip((True, False) * 3, axes, strict=True):
        _weeks(ax, hours)
    for lane, names in enumerate((("terminal_occupancy",), ("terminal_nM", "rate_Hz"),
                                  ("plasticity",))):  # fmt: skip
        for ax in axes[2 * lane : 2 * lane + 2]:
            for name, look in zip(names, plot.LOOKS, strict=False):
                _curve(ax, lag, name, look[0], 24.0 if ax is axes[2 * lane] else 1 / 7)
    (occupied, _), (middle, fast), (benefit, late) = (axes[n : n + 2] for n in (0, 2, 4))
    occupied.set_ylim(0, 1.1)
    plot.percent(occupied)
    occupied.set_ylabel("SERT\noccupied")
    middle.set_ylabel("of baseline")
    middle.set_ylim(0, None)
    for ax in (middle, fast):
        plot.reference(ax, 1)
    plot.named(fast, (2.2, 4.2), "serotonin", plot.BLUE, (0, 8), ha="right")
    plot.named(fast, (2.2, 0.4), "firing", plot.VERMILION, (0, -2), ha="right")
    benefit.set_ylabel("benefit\n(0 to 1)")
    benefit.set_ylim(-0.03, 1)
    week, level = lag.half_day.value / 7, 0.5 * _at(lag, "plasticity", STOP_DAY - 0.5)
    late.plot([week], [level], "o", color=plot.BLACK, ms=8)
    words = f"half of the change:\nday {lag.half_day.value:.0f}"
    plot.named(late, (week, level), words, offset=(12, -14))
    plot.named(axes[1], (6.1, 0.55), "stopped")
    axes[4].set_xlabel("hours, magnified")
    axes[5].set_xlabel("weeks    (bands: 95 %, dashed: mean field)")
    return fig


def _weeks(ax: Any, hours: bool = False) -> None:
    """A linear axis of twelve weeks, the last six of them after the stop; or of a day in hours."""
    from synapse_abm import plotting as plot

    ax.set_xlim(0, 24 if hours else DAYS / 7)
    ax.set_xticks(range(0, 25, 6) if hours else range(0, 13, 2))
    if hours:
        ax.set_facecolor("#FFF8E5")  # a magnifier, not the same axis
    else:
        ax.axvspan(STOP_DAY / 7, DAYS / 7, color=plot.GREY, alpha=0.13, lw=0)


def _curve(
    ax: Any, lag: Lag, name: str, color: str, per_day: float, **more: Any
) -> None:  # fmt: skip
    """Mean with its band, and the mean-field solution dashed; before and after the stop apart."""
    from synapse_abm import plotting as plot

    for on in (True, False):
        mine = (lag.day < STOP_DAY) == on
        x = lag.day[mine] * per_day
        plot.band(ax, x, lag.mean[name][mine], lag.half_width[name][mine], color,
                  **(more if on else more | {"label": None}))  # fmt: skip
        if name in lag.mean_field:
            ax.plot(x, lag.mean_field[name][mine], color=color, ls="--", lw=1.2)


def _at(lag: Lag, name: str, day: float) -> float:
    return float(np.interp(day, lag.day, lag.mean[name]))


def _draw_mechanism(lag: Lag) -> Figure:
    from synapse_abm import plotting as plot

    adapting, words = ("sensitivity", "receptor sensitivity")
    title = "Receptor sensitivity falls, so firing and serotonin rise again"
    if lag.recovery == "drive":
        adapting, words = ("drive", "drive")
        title = "The drive rises, so firing and serotonin rise again"
    fig, panels = plot.slide(heights=(1.2, 1.0, 1.2), height=8.4, title=title)
    looks = [look[0] for look in plot.LOOKS]
    for ax, names in zip(panels, (
        {"rate_Hz": "firing", adapting: words},
        {"terminal_nM": "terminal", "soma_nM": "soma"},
        {"creb": "CREB", "bdnf": "BDNF", "plasticity": "plasticity = benefit"},
    ), strict=True):  # fmt: skip
        _weeks(ax)
        for color, style, (name, label) in zip(looks, ("-", "-.", (0, (5, 1))), names.items(),
                                               strict=False):  # fmt: skip
            _curve(ax, lag, name, color, 1 / 7, label=label, ls=style)
        ax.set_ylim(-0.04, None)
    day, rate = lag.other_reading
    for on in (True, False):
        mine = (day < STOP_DAY) == on
        told = "firing, other reading" if on else None
        panels[0].plot(day[mine] / 7, rate[mine], color=plot.BLACK, ls=":", lw=1.6, label=told)
    for ax in panels[:2]:
        plot.reference(ax, 1)
    for ax, label in zip(panels, ("of baseline", "serotonin\n(x baseline)", "downstream\n(0 to 1)"),
                         strict=True):  # fmt: skip
        ax.set_ylabel(label)
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    panels[-1].set_xlabel("weeks; grey: drug stopped (bands: 95 %, dashed: mean field)")
    return fig


if __name__ == "__main__":
    from synapse_abm.cli import run_script

    run_script(__file__)
