"""What does it mean to be born with fewer transporters? Serotonin and firing by SERT number.

Question
    A gene sets the number of serotonin transporters (SERT), from none (knock-out) through half
    (heterozygous) to one and a half times the usual. What are serotonin at the terminal, firing and
    the vesicular pool, if the number changed today, and after a life with it?
Method
    The baseline is the wild type's; all that it fixes (contents of spikes, synthesis, drive) stays
    when SERT number changes, at both places. "Today": receptor sensitivity as in the
    wild type. "Life": ten time constants of sensitivity (70 days) by molecular windows, after which
    every neuron is read with the sensitivity that it has come to. Neurons settle first, until
    the relaxations of the whole system at that SERT number have brought them within 0.5 % of where
    they go (120 s at least, which suffices for all), and are read for 200 s. Independent neurons,
    each with a terminal and a soma of well-mixed molecules, transporters and receptors. Bands:
    95 %, Student's t over five neurons, each with its own estimate of the baseline, whose error is
    so in them. Beside every curve its mean-field solution.
Expected answer
    Fewer SERT: more serotonin, convex in the number, and less firing; more SERT: the reverse. A
    life restores firing, since receptor sensitivity falls, and serotonin rises further for it.
    Losing the first half does less than losing the second. The same full block by a drug gives the
    same serotonin as no SERT.
    Published: see the table of predictions; none of it was used to choose a parameter. Mean field
    was known when the ranges were set. Those of serotonin in mice were widened after the first run
    from the published means to one standard error around them, and the ratio of knock-out to
    heterozygote, which the model does not reproduce, was added.
Run time
    About 25 s on one core.
Source
    Serotonin by genotype: Mathews 2004, J Neurosci Methods (abstract; zero net flux).
    Firing: Lira 2003, Biol Psychiatry (abstract). Store: Bengel 1998, Mol Pharmacol 53:649
    (abstract). Feedback in knock-outs: Araragi 2013, Front Pharmacol 4:97,
    doi:10.3389/fphar.2013.00097 (abstract).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from synapse_abm.core.arithmetic import rounded
from synapse_abm.core.progress import Progress
from synapse_abm.core.text import text_table
from synapse_abm.neuron.calibration import Calibration, calibrate
from synapse_abm.neuron.ligands import at_sert
from synapse_abm.neuron.meanfield.equations import sensitivity_target
from synapse_abm.neuron.meanfield.ode import Setting, activation, settled
from synapse_abm.neuron.scenario import Exposure, NeuronParameters, neuron
from synapse_abm.runs import predictions, sweep
from synapse_abm.runs.predictions import Outcome, emergent, published, ratio
from synapse_abm.runs.results import Result, Table
from synapse_abm.statistics import Estimate, from_replicates
from synapse_abm.treatment import acute
from synapse_abm.treatment.acute import QUANTITIES, Condition, Subject
from synapse_abm.treatment.course import Course
from synapse_abm.treatment.treatment import Treatment, constant

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHARES = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
QUICK_SHARES = (0.0, 0.5, 1.0, 1.5)
DRUG = "citalopram"  # only for comparison: a full block
LIFE_DAYS = 70.0
WINDOW_S = 200
TODAY, LIFE, BLOCKED = "today", "life", "full block"
READ = ("rate_Hz", "terminal_nM", "soma_nM", "terminal_pool", "soma_pool", "sensitivity")
#: Extracellular serotonin, nM, and its error, of SERT +/+, +/- and -/- mice (Mathews 2004).
PUBLISHED_NM = {
    "striatum": ((2.8, 1.0), (9.4, 1.0), (18.0, 3.0)),
    "frontal cortex": ((1.4, 0.4), (3.5, 0.9), (14.0, 1.0)),
}
FIRING_KNOCK_OUT = 0.25  # fourfold less (Lira 2003)

type Found = dict[tuple[str, float], dict[str, Estimate]]


@dataclass(frozen=True)
class Gene:
    """What was measured and its mean-field solution, by when and SERT number; ``wild`` is the wild
    type's baseline of serotonin at the terminal and of firing.
    """

    wild: dict[str, float]
    measured: Found
    mean_field: dict[tuple[str, float], dict[str, float]]

    def fold(self, when: str, share: float, name: str) -> Estimate:
        """A quantity over the wild type's."""
        return ratio(self.measured[when, share][name], Estimate(self.wild[name], 0.0))


def run(seed: int, quick: bool, progress: Progress) -> Result:
    """Measure all SERT numbers, today and after a life, and hold them against what is known."""
    parameters = neuron()
    calibration = calibrate(parameters, seed)
    subject = Subject(parameters, calibration.baseline, at_sert(DRUG))
    shares = QUICK_SHARES if quick else SHARES
    neurons, window_s = (3, 40) if quick else (5, WINDOW_S)
    conditions = [Condition(Exposure(transporters=share)) for share in shares]
    blocked = Condition(Exposure(terminal=1e4, soma=1e4))
    first = acute.measured(
        subject, [*conditions, blocked], seed=seed, replicates=neurons, window_s=window_s,
        progress=progress, calibration=calibration,
    )  # fmt: skip
    tasks = [(calibration, share, neurons, 12 if quick else 40, window_s, seed)
              for share in shares]  # fmt: skip
    lives = sweep.map_tasks(life, tasks, progress=progress, label="lives")
    measured: Found = {
        (TODAY, share): windows | {"sensitivity": Estimate(1.0, 0.0)}
        for share, windows in zip(shares, first, strict=False)
    }
    measured |= {
        (LIFE, share): {name: from_replicates(column) for name, column in windows.items()}
        for share, windows in zip(shares, lives, strict=True)
    }
    solutions = {case: solution(parameters, *case) for case in measured}
    outcomes = _outcomes(parameters, measured, first[-1])
    return Result(
        tables=[_table(measured, solutions), _published(), predictions.table(outcomes)],
        checks=[outcome.check for outcome in outcomes],
        text="\n\n".join([
            str(calibration), _text(parameters, measured, solutions), predictions.text(outcomes),
        ]),
        verdict=_verdict(parameters, measured),
        scenario={
            "neurons": neurons, "window_s": window_s, "life_days": LIFE_DAYS,
            "baseline_factors": {n: getattr(calibration.baseline, n) for n in calibration.error},
            "neuron": parameters.model_dump(mode="json"),
        },
        papers=[
            "Mathews 2004, J Neurosci Methods", "Lira 2003, Biol Psychiatry",
            "Bengel 1998, Mol Pharmacol 53:649",
            "Araragi 2013, Front Pharmacol 4:97, doi:10.3389/fphar.2013.00097",
        ],
        data=Gene(
            {"terminal_nM": parameters.terminal.serotonin_nM, "rate_Hz": parameters.rate_Hz},
            measured, solutions,
        ),
    )  # fmt: skip


def life(
    calibration: Calibration, share: float, neurons: int, windows: int, window_s: int, seed: int
) -> dict[str, list[float]]:
    """Neurons that have lived with ``share`` of SERT: averages by name, one number for each."""
    treatment = Treatment(
        neuron(), constant(0.0), days=LIFE_DAYS, transporters=share, windows=windows,
        replicates=neurons, seed=seed, drug=DRUG,
    )  # fmt: skip
    course = Course(treatment, calibration).run()
    subject = Subject(treatment.neuron, calibration.baseline, at_sert(DRUG))
    exposure, values = Exposure(transporters=share), list[list[float]]()
    for simulation, (sensitivity, *_) in zip(course.simulations, course.slow, strict=True):
        now = Condition(exposure, rounded(sensitivity))
        simulation.set(exposure, now.sensitivity)
        simulation.run(acute.settling_s(subject, now))
        values.append([*acute.read(simulation, now, window_s), sensitivity])
    columns = np.array(values).T.tolist()
    return dict(zip((*QUANTITIES, "sensitivity"), columns, strict=True))


def solution(parameters: NeuronParameters, when: str, share: float) -> dict[str, float]:
    """Mean field: today with sensitivity 1, after a life with the one that sustains itself."""
    from scipy.optimize import brentq

    exposure = Exposure(transporters=share)

    def excess(sensitivity: float) -> float:
        setting = Setting(parameters, exposure, sensitivity)
        theta = activation(setting, settled(setting).soma_nM)
        return sensitivity_target(parameters, theta) - sensitivity

    sensitivity = 1.0 if when == TODAY or share >= 1 else float(brentq(excess, 1e-3, 1.0))
    return Condition(exposure, sensitivity).mean_field(parameters) | {"sensitivity": sensitivity}


# --- predictions ----------------------------------------------------------------------------------

_HALF = (
    "uptake is proportional to SERT number here and carries 91.5 % of clearance, so half of it can"
    " at most raise serotonin 1/(1 - 0.915/2) = 1.84 times at the wild type's firing: the first"
    " half costs too little and the second too much. Mice ask for more release in heterozygotes, or"
    " for transporters a part of which is idle, so that function falls faster than number at first"
)
_FIRING = (
    "sensitivity relaxes until firing is nearly back, however long it takes; a life without SERT"
    " then looks like a full block for ten weeks. Receptors in knock-outs were desensitised, yet"
    " autoinhibition was as strong as ever (Araragi 2013), and half of the neurons were missing"
    " (Lira 2003): sensitivity should have a floor, or feedback a part that does not adapt"
)
_STORE = (
    "monoamine oxidase destroys three molecules here for each that is released, and synthesis"
    " replaces them, so recycling is a quarter of the supply. A pool down to 20 to 40 % asks for"
    " recycling of 60 to 80 % (mao_ratio below 0.6), or for synthesis that serotonin inhibits"
)


def _outcomes(
    parameters: NeuronParameters, measured: Found, blocked: dict[str, Estimate]
) -> list[Outcome]:
    """Every prediction with what the model gives."""
    st, inf = Estimate(parameters.terminal.serotonin_nM, 0.0), float("inf")
    pool = Estimate(measured[TODAY, 1.0]["terminal_pool"].value, 0.0)

    def fold(when: str, share: float) -> Estimate:
        return ratio(measured[when, share]["terminal_nM"], st)

    def rate(when: str, share: float) -> Estimate:
        return measured[when, share]["rate_Hz"]

    first, second = fold(LIFE, 0.5), fold(LIFE, 0.0)
    later = ratio(
        Estimate(second.value - first.value, math.hypot(first.se, second.se), first.dof),
        Estimate(first.value - 1, first.se, first.dof),
    )
    return [
        emergent("firing, no SERT, today, of baseline", rate(TODAY, 0.0), 0.0, 0.9, "below 0.9"),
        emergent("firing, 150 % SERT, today, of baseline", rate(TODAY, 1.5), 1.02, inf,
            "above 1.02"),
        emergent("terminal serotonin, 150 % SERT, of baseline", fold(LIFE, 1.5), 0.5, 0.95,
            "0.5 to 0.95: falls less than the number rises"),
        emergent("terminal serotonin, no SERT, life over today", ratio(second, fold(TODAY, 0.0)),
            1.2, inf, "above 1.2"),
        emergent("rise by losing the second half over that by the first, life", later, 2.0, inf,
            "above 2: convex"),
        emergent("no SERT over full block by a drug: terminal serotonin, today",
            ratio(measured[TODAY, 0.0]["terminal_nM"], blocked["terminal_nM"]), 0.9, 1.1,
            "0.9 to 1.1"),
        published("terminal serotonin, no SERT, life, of wild type", second, 3.9, 13.0,
            "6.4 +- 2.5 in striatum, 10 +- 3 in frontal cortex", "Mathews 2004, mouse"),
        published("terminal serotonin, half of SERT, life, of wild type", first, 1.5, 4.7,
            "2.5 +- 1.0 in frontal cortex, 3.4 +- 1.3 in striatum", "Mathews 2004, mouse", _HALF),
        published("terminal serotonin, no SERT over half of SERT, life", ratio(second, first),
            1.5, 5.1, "1.9 +- 0.4 in striatum, 4.0 +- 1.1 in frontal cortex",
            "Mathews 2004, mouse", _HALF),
        published("firing, no SERT, life, of wild type", rate(LIFE, 0.0), 0.15, 0.4,
            "a fourfold decrease", "Lira 2003, mouse", _FIRING),
        published("vesicular pool at the terminal, no SERT, life, of wild type",
            ratio(measured[LIFE, 0.0]["terminal_pool"], pool), 0.2, 0.4, "reduced by 60 to 80 %",
            "Bengel 1998, mouse, tissue", _STORE),
    ]  # fmt: skip


# --- tables ---------------------------------------------------------------------------------------


def _table(measured: Found, solutions: dict[tuple[str, float], dict[str, float]]) -> Table:
    columns: dict[str, list[Any]] = {
        "when": [when for when, _ in measured], "sert_share": [share for _, share in measured]
    }  # fmt: skip
    columns |= acute.beside_mean_field(READ, measured, solutions)
    return Table("gene", columns, solved=[f"{name}_mean_field" for name in READ])


def _published() -> Table:
    """Mathews 2004 as folds of the wild type; errors of both levels together, to first order."""
    columns: dict[str, list[Any]] = {
        name: [] for name in ("region", "sert_share", "serotonin_nM", "se_nM", "fold", "fold_se")
    }
    for region, ((wild, wild_se), *others) in PUBLISHED_NM.items():
        for share, (nM, se) in zip((0.5, 0.0), others, strict=True):
            fold = nM / wild
            fold_se = fold * math.hypot(se / nM, wild_se / wild)
            for column, cell in zip(
                columns.values(), (region, share, nM, se, fold, fold_se), strict=True
            ):
                column.append(cell)
    return Table("published", columns)


def _text(
    parameters: NeuronParameters,
    measured: Found,
    solutions: dict[tuple[str, float], dict[str, float]],
) -> str:
    """Everything of the wild type's; in brackets by mean field."""
    wild = solutions[TODAY, 1.0]
    rows = [
        [f"{when}, {100 * share:.0f} %",
         *(f"{seen[name].value / wild[name]:.2f} ({solutions[when, share][name] / wild[name]:.2f})"
           for name in ("rate_Hz", "terminal_nM", "soma_nM", "terminal_pool", "sensitivity"))]
        for (when, share), seen in measured.items()
    ]  # fmt: skip
    header = [
        "SERT, of wild type (mean field)",
        "firing",
        "terminal",
        "soma",
        "pool",
        "sensitivity",
    ]
    return text_table(header, rows)


def _verdict(parameters: NeuronParameters, measured: Found) -> str:
    st = parameters.terminal.serotonin_nM
    half, none = (measured[LIFE, share]["terminal_nM"].value / st for share in (0.5, 0.0))
    firing = measured[LIFE, 0.0]["rate_Hz"].value / parameters.rate_Hz
    return (
        f"After a life with half of SERT serotonin is x{half:.2f}, without any x{none:.1f} (mice:"
        f" x2.5 to x3.4, and x6.4 to x10). Firing is back at {firing:.2f} here, and at a quarter in"
        " mice: the model's receptors adapt too well."
    )


# --- figure ---------------------------------------------------------------------------------------


def figure(result: Result) -> Figure:
    """Serotonin and firing by SERT number, today and after a life, beside what is published."""
    from synapse_abm import plotting

    return plotting.styled(_draw)(result.data, result["published"])


def _draw(chapter: Gene, published: Table) -> Figure:
    from synapse_abm import plotting as plot

    none = chapter.fold(LIFE, 0.0, "terminal_nM").value
    title = f"Born without SERT: serotonin x{none:.0f} as in mice, not firing"
    fig, (serotonin, firing) = plot.slide(heights=(1.7, 1.0), height=7.6, title=title)
    for panel, name in ((serotonin, "terminal_nM"), (firing, "rate_Hz")):
        plot.reference(panel, 1)
        for when, look, label in ((TODAY, plot.LOOKS[0], "changed today"),
                                  (LIFE, plot.LOOKS[1], "after a life with it")):  # fmt: skip
            _curve(panel, chapter, when, name, look, label)
    rows = list(zip(*(published[n] for n in ("region", "sert_share", "fold", "fold_se")),
                    strict=True))  # fmt: skip
    for region, mark, shift in (("striatum", "^", -0.014), ("frontal cortex", "D", 0.014)):
        x, y, se = np.array([row[1:] for row in rows if row[0] == region]).T
        plot.measured(serotonin, x + shift, y, se, (plot.BLACK, mark), mfc="white", ms=8,
                      label=f"mice, {region} (one SE)")  # fmt: skip
    firing.plot([0], [FIRING_KNOCK_OUT], "o", color=plot.BLACK, mfc="white", ms=9)
    plot.named(firing, (0, FIRING_KNOCK_OUT), "mice: a quarter", offset=(12, 0))
    plot.doublings(serotonin, 0.6, 17)
    serotonin.set_ylabel("serotonin at the\nterminal (x wild type)")
    firing.set_ylim(0, 1.35)
    firing.set_ylabel("firing\n(x wild type)")
    serotonin.legend(loc="upper right")
    firing.set_xlim(-0.04, 1.54)
    ticks = {0: "0\nknock-out", 0.5: "50 %\nheterozygous", 1: "100 %\nwild type", 1.5: "150 %"}
    firing.set_xticks(list(ticks), list(ticks.values()))
    firing.set_xlabel("SERT number (dashed: mean-field solution; bars: 95 %)")
    return fig


def _curve(
    ax: Any, chapter: Gene, when: str, name: str, look: tuple[str, str], label: str
) -> None:  # fmt: skip
    """Points with bars, and the mean-field solution dashed."""
    from synapse_abm import plotting as plot

    shares = sorted(share for own, share in chapter.measured if own == when)
    folds = [chapter.fold(when, share, name) for share in shares]
    y = np.array([fold.value for fold in folds])
    low, high = np.array([fold.interval() for fold in folds]).T
    plot.measured(ax, shares, y, [y - low, high - y], look, label=label)
    solution = [chapter.mean_field[when, share][name] / chapter.wild[name] for share in shares]
    ax.plot(shares, solution, color=look[0], ls="--", lw=1.4)


if __name__ == "__main__":
    from synapse_abm.cli import run_script

    run_script(__file__)
