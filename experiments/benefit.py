"""How much occupancy does it take to help? Benefit after six weeks: no plateau at 80 %.

Question
    Usual doses of antidepressants occupy 70 to 80 % of the serotonin transporters (SERT), as PET
    sees. Which benefit do six weeks at 0 to 97 % bring here, and is it already flat there, as the
    flattening of occupancy with dose might suggest?
Method
    The neuron of ``lag`` under a constant concentration for six weeks, in mean field for the curve,
    and simulated at six occupancies: molecular windows of 15 s drive receptor sensitivity, CREB,
    BDNF and plasticity, the last of which is the benefit (0 to 1). Four independent neurons each,
    with estimates of the baseline of their own; bars: 95 %, Student's t.
Expected answer
    Below 0.1 at 30 to 50 %, where feedback keeps serotonin down (see ``feedback``); steep from 70
    to 85 %; still rising at 80 to 90 %, as every further point of occupancy takes away a larger
    share of the uptake that is left. (The mean-field solution was known at 30, 40, 50 and 85 % when
    the first ranges were set, at all occupancies when those of the slope were.)
Run time
    About 30 s on one core.
Source
    70 to 80 % at usual doses: Meyer 2004, Am J Psychiatry 161:826, doi:10.1176/appi.ajp.161.5.826
    (drawn, not used). Parameters: ``synapse_abm/data/neuron.toml``, each with status; those of the
    stages behind serotonin are assumed (``lag_sensitivity``), and so is where the curve is steep.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from synapse_abm import pharmacology
from synapse_abm.core.progress import Progress
from synapse_abm.core.text import text_table
from synapse_abm.neuron.calibration import Calibration, calibrate
from synapse_abm.neuron.meanfield.ode import course
from synapse_abm.neuron.scenario import DAY_S, Exposure, neuron
from synapse_abm.runs import dose_response, predictions, sweep
from synapse_abm.runs.predictions import Outcome, emergent
from synapse_abm.runs.results import Result, Table
from synapse_abm.statistics import Estimate, from_replicates
from synapse_abm.treatment.course import QUANTITIES, Course
from synapse_abm.treatment.treatment import Treatment, constant

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIMULATED = (0.3, 0.4, 0.5, 0.7, 0.8, 0.9)
CURVE = (*np.linspace(0, 0.6, 13).tolist(), *np.linspace(0.62, 0.96, 18).tolist())
LITTLE = (0.3, 0.4, 0.5)
PET = (0.7, 0.8)  # usual doses
DAYS = 42.0


@dataclass(frozen=True)
class Options:
    """Options of this experiment."""

    drug: str = "citalopram"
    """A drug that binds to SERT, or DRUG@SOURCE."""


@dataclass(frozen=True)
class Benefit:
    """Benefit after six weeks by occupancy: simulated, and the mean-field solution."""

    simulated: dict[float, Estimate]
    mean_field: dict[float, float]

    def slope(self, low: float, high: float) -> float:
        """Benefit per ten points of occupancy between two occupancies, mean field."""
        shares, values = list(self.mean_field), list(self.mean_field.values())
        ends = np.interp((low, high), shares, values)
        return float(0.1 * (ends[1] - ends[0]) / (high - low))


def run(seed: int, quick: bool, progress: Progress, **options: Any) -> Result:
    """Treat at each occupancy, and say where the curve is steep."""
    drug = Options(**options).drug
    record = dose_response.inhibitor(drug, ["SERT"], "--drug")
    calibration = calibrate(neuron(), seed)
    shares = SIMULATED[1::3] if quick else SIMULATED
    tasks = [(drug, calibration, share, quick, seed) for share in shares]
    weeks = sweep.map_tasks(after_weeks, tasks, progress=progress, label="courses")
    curve = CURVE[::2] if quick else CURVE
    chapter = Benefit(
        dict(zip(shares, map(from_replicates, weeks), strict=True)),
        {share: solved(share) for share in progress(curve, label="mean field")},
    )
    outcomes = _outcomes(chapter)
    return Result(
        tables=[_table(chapter), predictions.table(outcomes)],
        checks=[outcome.check for outcome in outcomes],
        text="\n\n".join([str(calibration), _text(chapter), predictions.text(outcomes)]),
        verdict=_verdict(chapter),
        scenario={
            "drug": drug, "days": DAYS, "pet_occupancy": list(PET),
            "neuron": neuron().model_dump(mode="json"),
        },
        papers=[
            *record.sources(), "Meyer 2004, Am J Psychiatry 161:826, doi:10.1176/appi.ajp.161.5.826"
        ],
        data=chapter,
    )  # fmt: skip


def after_weeks(
    drug: str, calibration: Calibration, share: float, quick: bool, seed: int
) -> list[float]:
    """Benefit at the end of six weeks at a nominal occupancy, by neuron."""
    kinetics = pharmacology.ligand(drug).kinetics("SERT")
    nM = kinetics.koff / kinetics.kon * share / (1 - share)
    windows, replicates = (16, 2) if quick else (30, 4)
    treatment = Treatment(
        neuron(), constant(nM), days=DAYS, drug=drug, seed=seed, windows=windows,
        replicates=replicates,
    )  # fmt: skip
    treated = Course(treatment, calibration).run()
    values: list[float] = treated.values[-1, :, QUANTITIES.index("plasticity")].tolist()
    return values


def solved(share: float) -> float:
    """The mean-field solution of the same."""
    exposure = Exposure.of_occupancy(share)
    days = np.linspace(0, DAYS, 43)
    return float(course(neuron(), lambda t: exposure, days * DAY_S)["plasticity"][-1])


def _outcomes(chapter: Benefit) -> list[Outcome]:
    """Every prediction with what the model gives."""
    inf, steep, low = float("inf"), chapter.slope(0.7, 0.85), chapter.slope(0.3, 0.5)
    return [
        *(emergent(f"benefit after six weeks at {100 * share:.0f} %", chapter.simulated[share],
                   -0.1, 0.1, "below 0.1")
          for share in LITTLE if share in chapter.simulated),
        emergent("benefit per ten points of occupancy, 70 to 85 % over 30 to 50 %", steep / low,
                 3.0, inf, "above 3: steep there, by mean field"),
        emergent("benefit per ten points of occupancy, 80 to 90 % over 70 to 80 %",
                 chapter.slope(0.8, 0.9) / chapter.slope(0.7, 0.8), 0.5, inf,
                 "above 0.5: no plateau at 80 %, by mean field"),
    ]  # fmt: skip


def _table(chapter: Benefit) -> Table:
    shares = sorted({*chapter.simulated, *chapter.mean_field})
    estimates = [chapter.simulated.get(share) for share in shares]
    intervals = [estimate.interval() if estimate else (None, None) for estimate in estimates]
    return Table(
        "benefit",
        {
            "nominal_occupancy": shares,
            "benefit_six_weeks": [estimate.value if estimate else None for estimate in estimates],
            "se": [estimate.se if estimate else None for estimate in estimates],
            "low_95": [low for low, _ in intervals],
            "high_95": [high for _, high in intervals],
            "benefit_mean_field": [chapter.mean_field.get(share) for share in shares],
        },
        solved=("benefit_mean_field",),
    )


def _text(chapter: Benefit) -> str:
    rows = [
        [f"{100 * low:.0f} to {100 * high:.0f} %", f"{chapter.slope(low, high):.3f}"]
        for low, high in itertools.pairwise((0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95))
    ]
    simulated = [
        [f"{100 * share:.0f} %", predictions.shown(estimate)]
        for share, estimate in chapter.simulated.items()
    ]
    return "\n\n".join([
        text_table(["SERT occupied", "benefit after six weeks"], simulated),
        text_table(["SERT occupied", "benefit per ten points (mean field)"], rows),
    ])  # fmt: skip


def _verdict(chapter: Benefit) -> str:
    shares, values = list(chapter.mean_field), list(chapter.mean_field.values())
    at = [float(np.interp(share, shares, values)) for share in (0.5, 0.7, 0.8, 0.85, 0.9)]
    return (
        "Six weeks bring {:.2f} at 50 % occupancy, {:.2f} at 70 %, {:.2f} at 80 %, {:.2f} at 85 %,"
        " {:.2f} at 90 % (mean field): steep where PET finds usual doses, and no plateau at 80 %."
    ).format(*at)


def figure(result: Result) -> Figure:
    """Benefit against occupancy, with the band of usual doses."""
    from synapse_abm import plotting

    return plotting.styled(_draw)(result.data)


def _draw(chapter: Benefit) -> Figure:
    from synapse_abm import plotting as plot

    title = "Benefit is steep where usual doses lie, and has no plateau at 80 %"
    fig, (ax,) = plot.slide(height=5.0, title=title)
    ax.axvspan(*PET, color=plot.SKY, alpha=0.3, lw=0)
    plot.named(ax, (PET[0], 0.68), "usual doses\n(PET, 70 to 80 %)", offset=(-8, 0), ha="right")
    shares, values = list(chapter.mean_field), list(chapter.mean_field.values())
    ax.plot(shares, values, color=plot.BLACK, label="mean-field solution")
    points = list(chapter.simulated.items())
    y = np.array([estimate.value for _, estimate in points])
    low, high = np.array([estimate.interval() for _, estimate in points]).T
    label = "simulated neurons, 95 % interval"
    plot.measured(ax, [s for s, _ in points], y, [y - low, high - y], plot.LOOKS[1], label=label)
    ax.legend(loc="upper left")
    ax.set_xlim(0, 1)
    ax.set_ylim(-0.03, 1)
    plot.percent_of(ax.xaxis)
    ax.set_xlabel("SERT occupied by the drug")
    ax.set_ylabel("benefit after six weeks (0 to 1)")
    return fig


if __name__ == "__main__":
    from synapse_abm.cli import run_script

    run_script(__file__)
