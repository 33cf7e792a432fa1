"""Why does blocking half of the transporters do so little? The autoreceptors' feedback.

Question
    A drug takes 0 to 100 % of the serotonin transporters (SERT). What do serotonin at the terminal
    and at the soma, and firing, do within hours? What of it is the feedback's doing: what if the
    drug reaches the terminal only, so that the autoreceptors at the soma see none of it? Or the
    soma only; or if an antagonist (WAY-100635) keeps serotonin off the 5-HT1A autoreceptors, or if
    there is no feedback at all?
Method
    Independent neurons, each with a terminal and a soma of well-mixed molecules, transporters and
    autoreceptors; nobody writes occupancy or firing in. Each settles at its dose until the
    relaxations of the whole system there have brought it within 0.5 % of where it goes (column
    ``settled_s``: 120 s at least, many minutes for a drug that lets go slowly), and is read over
    200 s, with receptor sensitivity as in the first hours: 1. Bands: 95 %, Student's t
    over five neurons, each with its own estimate of the baseline, whose error is so in them. Beside
    every curve its mean-field solution. The antagonist has a dose, 4 times its Kd; alone it raises
    serotonin already, as the feedback is at work at rest too. What weeks make of it: ``benefit``.
Expected answer
    Firing falls with occupancy. Without feedback (drug at the terminal only) serotonin follows what
    uptake is left; the feedback takes away a fifth to a half of that rise at 30 to 50 %, where
    serotonin rises by less than half. Serotonin rises further at the soma than at the terminal. The
    drug at the terminal only raises terminal serotonin more than everywhere, at the soma only it
    lowers it. An antagonist raises it further, everywhere. (The mean-field solution was known at
    30, 40, 50 and 85 % when the ranges were set.)
Run time
    About 25 s on one core.
Source
    Parameters: ``synapse_abm/data/neuron.toml``, each with status. Antagonist alone: Ceglia 2004,
    Br J Pharmacol 142:469, doi:10.1038/sj.bjp.0705800. Raphe and hippocampus: Neuropharmacology
    1995, doi:10.1016/0028-3908(95)00023-y (abstracts, both).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from synapse_abm import pharmacology
from synapse_abm.core.errors import InputError, raise_faults
from synapse_abm.core.progress import Progress
from synapse_abm.core.text import text_table
from synapse_abm.neuron.calibration import calibrate
from synapse_abm.neuron.scenario import Drug, Exposure, NeuronParameters, neuron
from synapse_abm.runs import dose_response, predictions
from synapse_abm.runs.predictions import Outcome, calibrated, emergent, published, ratio
from synapse_abm.runs.results import Result, Table
from synapse_abm.statistics import Estimate
from synapse_abm.treatment.acute import (
    Case,
    Condition,
    Subject,
    beside_mean_field,
    measured,
    settling_s,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DOSES = (0.0, 0.15, 0.3, 0.4, 0.5, 0.65, 0.75, 0.85, 0.9, 0.95, 1.0)
QUICK_DOSES = (0.0, 0.3, 0.4, 0.5, 0.85)
NOTHING_LEFT = 1e4  # drug / Ki that stands for 100 %
LITTLE = (0.3, 0.4, 0.5)  # the case that is marked
ENOUGH = 0.85
ON, CUT, TERMINAL, SOMA, GONE = ARMS = (
    "feedback intact", "antagonist", "terminal only", "soma only", "feedback removed",
)  # fmt: skip
GONE_AT = (0.0, 0.4, 0.85)
READ = ("rate_Hz", "terminal_nM", "soma_nM")


@dataclass(frozen=True)
class Options:
    """Options of this experiment."""

    drug: str = "citalopram"
    """A drug that binds to SERT, or DRUG@SOURCE."""
    antagonist: str = "WAY-100635"
    """A ligand of the autoreceptor that activates it less than serotonin does."""
    antagonist_nM: float = 4.4
    """Its free concentration at the soma, in nM."""


@dataclass(frozen=True)
class Feedback:
    """What was measured in every arm at every nominal occupancy, and its mean-field solution; both
    by quantity, in its own unit.
    """

    antagonist: str
    baseline: dict[str, float]
    measured: dict[Case, dict[str, Estimate]]
    mean_field: dict[Case, dict[str, float]]

    def fold(self, arm: str, share: float, name: str = "terminal_nM") -> Estimate:
        """A quantity over its value at rest without drug."""
        return ratio(self.measured[arm, share][name], Estimate(self.baseline[name], 0.0))

    def occupied(self, arm: str, share: float) -> Estimate:
        """Occupancy where the drug is."""
        place = "soma" if arm == SOMA else "terminal"
        return self.measured[arm, share][f"{place}_occupancy"]


def run(seed: int, quick: bool, progress: Progress, **options: Any) -> Result:
    """Measure every arm at every dose and hold it against what was stated beforehand."""
    chosen = Options(**options)
    inhibitor, competitor = _ligands(chosen)
    parameters = neuron()
    calibration = calibrate(parameters, seed)
    dose = chosen.antagonist_nM * competitor.kinetics.kon / competitor.kinetics.koff
    doses = QUICK_DOSES if quick else DOSES
    cases = [
        (arm, share) for arm in ARMS for share in doses if arm != GONE or share in GONE_AT
    ]  # fmt: skip
    conditions = [condition(arm, share, dose, competitor.efficacy) for arm, share in cases]
    neurons, window_s = (3, 40) if quick else (5, 200)
    subject = Subject(parameters, calibration.baseline, inhibitor, competitor)
    measurements = measured(
        subject, conditions, seed=seed, replicates=neurons, window_s=window_s, progress=progress,
        calibration=calibration,
    )  # fmt: skip
    chapter = Feedback(
        chosen.antagonist, at_rest(parameters), dict(zip(cases, measurements, strict=True)),
        {case: c.mean_field(parameters) for case, c in zip(cases, conditions, strict=True)},
    )  # fmt: skip
    outcomes = _outcomes(chapter)
    settled = [settling_s(subject, state) for state in conditions]
    return Result(
        tables=[_table(chapter, settled), predictions.table(outcomes)],
        checks=[outcome.check for outcome in outcomes],
        text="\n\n".join([
            str(calibration), _text(chapter, doses), predictions.text(outcomes),
            _departure(chapter),
        ]),
        verdict=_verdict(chapter),
        scenario={
            "drug": chosen.drug, "antagonist": chosen.antagonist,
            "antagonist_nM": chosen.antagonist_nM, "antagonist_over_kd": dose,
            "neurons": neurons, "window_s": window_s,
            "baseline_factors": {n: getattr(calibration.baseline, n) for n in calibration.error},
            "neuron": parameters.model_dump(mode="json"),
        },
        papers=[
            *pharmacology.ligand(chosen.drug).sources(),
            *pharmacology.ligand(chosen.antagonist).sources(),
            "Ceglia 2004, Br J Pharmacol 142:469, doi:10.1038/sj.bjp.0705800",
            "Neuropharmacology 1995, doi:10.1016/0028-3908(95)00023-y",
        ],
        data=chapter,
    )  # fmt: skip


def at_rest(parameters: NeuronParameters) -> dict[str, float]:
    """Firing (Hz) and serotonin (nM) at rest, by quantity."""
    values = (parameters.rate_Hz, *(place.serotonin_nM for place in parameters.places))
    return dict(zip(READ, values, strict=True))


def _ligands(chosen: Options) -> tuple[Drug, Drug]:
    """The two ligands, all that is wrong with them told at once."""
    faults, ligands = list[InputError](), list[Drug]()
    for name, target, option in (
        (chosen.drug, "SERT", "--drug"), (chosen.antagonist, "5-HT1A", "--antagonist"),
    ):  # fmt: skip
        try:
            record = dose_response.inhibitor(name, [target], option)
        except InputError as error:
            faults.append(error)
            continue
        efficacy = record.efficacy(target) if target == "5-HT1A" else 0.0
        if efficacy >= 1:
            allowed = "a ligand that activates 5-HT1A less than serotonin does"
            faults.append(InputError(option, name, allowed, "use WAY-100635 or pindolol"))
        ligands.append(Drug(record.kinetics(target), efficacy))
    if not 0 < chosen.antagonist_nM <= 1e6:
        allowed = "a number > 0, at most 1e6"
        faults.append(
            InputError("--antagonist-nM", chosen.antagonist_nM, allowed, "use 4.4")
        )  # fmt: skip
    raise_faults(faults)
    return ligands[0], ligands[1]


def condition(arm: str, share: float, antagonist: float, efficacy: float = 0.0) -> Condition:
    """What acts in an arm: drug over Ki that alone would take ``share``, antagonist over Kd."""
    drug = share / (1 - share) if share < 1 else NOTHING_LEFT
    acts = Exposure(
        terminal=0.0 if arm == SOMA else drug,
        soma=0.0 if arm == TERMINAL else drug,
        antagonist=antagonist if arm == CUT else 0.0,
        efficacy=efficacy,
    )
    return Condition(acts, sensitivity=0.0 if arm == GONE else 1.0)


# --- predictions ----------------------------------------------------------------------------------


def _outcomes(chapter: Feedback) -> list[Outcome]:
    """Every prediction with what the model gives."""
    fold, inf = chapter.fold, float("inf")
    terminal, unopposed = fold(ON, ENOUGH), fold(TERMINAL, ENOUGH)
    soma_over_terminal = ratio(fold(ON, ENOUGH, "soma_nM"), terminal)
    return [
        calibrated("firing at 85 %, of baseline", fold(ON, ENOUGH, "rate_Hz"), 0.5, 0.7,
                   "0.6, tuned to"),
        calibrated("terminal serotonin at 85 %, of baseline", terminal, 2.2, 2.8, "2.5, tuned to"),
        calibrated("terminal serotonin, antagonist alone, of baseline", fold(CUT, 0.0), 1.5, 1.9,
                   "1.68 and 2.26 in two groups of rats: the dose, 4 Kd, is chosen for the first",
                   "Ceglia 2004"),
        emergent("firing at 40 %, of baseline", fold(ON, 0.4, "rate_Hz"), 0.0, 0.95, "below 0.95"),
        emergent("serotonin's fold at the soma over that at the terminal, 85 %",
                 soma_over_terminal, 1.0, inf, "above 1"),
        emergent("terminal only over everywhere: terminal serotonin, 85 %",
                 ratio(unopposed, terminal), 1.2, inf, "above 1.2"),
        emergent("soma only: terminal serotonin at 85 %, of baseline", fold(SOMA, ENOUGH),
                 0.0, 0.95, "below 0.95"),
        emergent("terminal serotonin at 40 %, of baseline", fold(ON, 0.4), 1.1, 1.5,
                 "a small rise, 1.1 to 1.5"),
        emergent("rise at 40 %, feedback intact over terminal only",
                 ratio(_rise(fold(ON, 0.4)), _rise(fold(TERMINAL, 0.4))), 0.5, 0.8,
                 "the feedback takes a fifth to a half of the rise"),
        emergent("antagonist added at 85 %: terminal serotonin, times",
                 ratio(fold(CUT, ENOUGH), terminal), 1.2, inf, "above 1.2"),
        published("the fold at the soma over that at the terminal, 85 %", soma_over_terminal,
                  1.2, inf, "1.41: 270 % in the raphe, 191 % in the hippocampus, fluvoxamine, rat",
                  "doi:10.1016/0028-3908(95)00023-y, abstract",
                  "both places fire as one here and lose nearly the same share of their uptake; a"
                  " larger difference needs a soma where SERT carries more of the clearance, or"
                  " terminals with feedback of their own (5-HT1B receptors), not modelled"),
    ]  # fmt: skip


def _rise(fold: Estimate) -> Estimate:
    return Estimate(fold.value - 1, fold.se, fold.dof)


# --- tables ---------------------------------------------------------------------------------------


def _table(chapter: Feedback, settled: list[int]) -> Table:
    occupied = [chapter.occupied(*case) for case in chapter.measured]
    columns: dict[str, list[Any]] = {
        "arm": [arm for arm, _ in chapter.measured],
        "nominal_occupancy": [share for _, share in chapter.measured],
        "occupancy": [estimate.value for estimate in occupied],
        "occupancy_se": [estimate.se for estimate in occupied],
        "settled_s": settled,
    }
    columns |= beside_mean_field(READ, chapter.measured, chapter.mean_field)
    return Table("feedback", columns, solved=[f"{name}_mean_field" for name in READ])


def _text(chapter: Feedback, doses: tuple[float, ...]) -> str:
    """Firing, terminal and soma by arm and dose, of baseline; in brackets by mean field."""
    rows = []
    for (arm, share), solution in chapter.mean_field.items():
        if share in (0.0, *LITTLE, ENOUGH, doses[-1]):
            cells = [
                f"{chapter.fold(arm, share, name).value:.2f}"
                f" ({solution[name] / chapter.baseline[name]:.2f})"
                for name in READ
            ]
            occupied = f"{100 * chapter.occupied(arm, share).value:.0f} %"
            rows.append([f"{arm}, {100 * share:.0f} %", occupied, *cells])
    header = ["of baseline (mean field)", "SERT occupied", "firing", "terminal", "soma"]
    return text_table(header, rows)


def _departure(chapter: Feedback) -> str:
    off = {
        (case, name): estimates[name].value / chapter.mean_field[case][name] - 1
        for case, estimates in chapter.measured.items()
        for name in READ
    }
    ((arm, share), name), most = max(off.items(), key=lambda pair: abs(pair[1]))
    mean = 100 * float(np.mean(np.abs(list(off.values()))))
    return (
        f"Departure from the mean-field solution: {mean:.1f} % on average, at most"
        f" {100 * most:+.1f} % ({name} of {arm} at {100 * share:.0f} %)."
    )


def _verdict(chapter: Feedback) -> str:
    little, much, free = (
        chapter.fold(*case).value for case in ((ON, 0.4), (ON, ENOUGH), (TERMINAL, ENOUGH))
    )
    return (
        f"40 % of SERT occupied: serotonin x{little:.2f}. 85 %: x{much:.2f} within hours, where the"
        f" drug at the terminal only, which the autoreceptors do not see, gives x{free:.2f}. Their"
        " feedback takes the difference."
    )


# --- figure ---------------------------------------------------------------------------------------


def figure(result: Result) -> dict[str, Figure]:
    """Terminal serotonin with and without feedback; and all arms at both places, with firing."""
    from synapse_abm import plotting

    return {
        "": plotting.styled(_draw)(result.data),
        "arms": plotting.styled(_draw_arms)(result.data),
    }


def _draw(chapter: Feedback) -> Figure:
    from synapse_abm import plotting as plot

    much, free = (chapter.fold(arm, ENOUGH).value for arm in (ON, TERMINAL))
    keeps = f"keeps serotonin at x{much:.1f} instead of x{free:.1f}"
    title = f"At 85 % occupancy autoreceptor feedback {keeps}"
    fig, (ax,) = plot.slide(height=5.4, title=title)
    ax.axvspan(LITTLE[0], LITTLE[-1], color=plot.GREY, alpha=0.13, lw=0)
    plot.reference(ax, 1)
    for arm, look in ((TERMINAL, plot.LOOKS[1]), (ON, plot.LOOKS[0])):
        _curve(ax, chapter, arm, "terminal_nM", look)
    ax.annotate("", (ENOUGH - 0.012, 1.04 * much), (ENOUGH - 0.012, 0.96 * free),
                arrowprops={"arrowstyle": "->", "lw": 2, "color": plot.BLACK})  # fmt: skip
    middle = (much * free) ** 0.5
    plot.named(ax, (ENOUGH - 0.012, 0.87 * middle), "feedback", offset=(-6, 0), ha="right")
    low, high = (chapter.fold(ON, share).value for share in (LITTLE[0], LITTLE[-1]))
    words = f"30 to 50 % occupied:\nonly x{low:.1f} to x{high:.1f}"
    ax.annotate(words, (0.4, 0.86), ha="center", va="center")
    for arm, words, color, shift in (
        (TERMINAL, "drug at the terminal only:\nautoreceptors see none of it", plot.VERMILION, 30),
        (ON, "drug everywhere:\nfeedback intact", plot.BLUE, -46),
    ):
        at = (chapter.occupied(arm, ENOUGH).value, chapter.fold(arm, ENOUGH).value)
        plot.named(ax, at, words, color, (-8 if shift > 0 else 78, shift), ha="right")
    plot.doublings(ax, 0.7, 13)
    ax.set_ylabel("serotonin at the terminal (x baseline)")
    _occupied(ax)
    return fig


def _draw_arms(chapter: Feedback) -> Figure:
    from synapse_abm import plotting as plot

    title = "Feedback runs over the soma: drug there lowers firing, an antagonist raises it"
    fig, panels = plot.slide(heights=(1.8, 1.3, 1.3), height=9.6, title=title)
    words = {
        ON: "drug everywhere", TERMINAL: "drug at the terminal only",
        CUT: f"everywhere, and {chapter.antagonist}", SOMA: "drug at the soma only",
    }  # fmt: skip
    names = {
        "terminal_nM": "serotonin at the\nterminal (x baseline)",
        "soma_nM": "serotonin at the\nsoma (x baseline)",
        "rate_Hz": "firing\n(x baseline)",
    }
    for panel, (name, label) in zip(panels, names.items(), strict=True):
        plot.reference(panel, 1)
        for look, (arm, told) in zip(plot.LOOKS, words.items(), strict=False):
            _curve(panel, chapter, arm, name, look, told)
        panel.set_ylabel(label)
    for panel, low in zip(panels, (0.36, 0.8), strict=False):
        plot.doublings(panel, low, 13)
    panels[0].legend(loc="upper left")
    panels[-1].set_ylim(0, 1.9)
    _occupied(panels[-1])
    return fig


def _occupied(ax: Any) -> None:
    ax.set_xlim(-0.01, 1.02)
    ax.xaxis.set_major_formatter(lambda x, _: f"{100 * x:.0f} %")
    ax.set_xlabel("SERT occupied where the drug is (bars: 95 %; dashed: mean field)")


def _curve(
    ax: Any, chapter: Feedback, arm: str, name: str, look: tuple[str, str], label: str = ""
) -> None:
    """Points with bars, and the mean-field solution dashed."""
    from synapse_abm import plotting as plot

    shares = [share for own, share in chapter.measured if own == arm]
    x = [chapter.occupied(arm, share).value for share in shares]
    folds = [chapter.fold(arm, share, name) for share in shares]
    y = np.array([fold.value for fold in folds])
    low, high = np.array([fold.interval() for fold in folds]).T
    plot.measured(ax, x, y, [y - low, high - y], look, label=label or None)
    solution = [chapter.mean_field[arm, share][name] / chapter.baseline[name] for share in shares]
    ax.plot(x, solution, color=look[0], ls="--", lw=1.4)


if __name__ == "__main__":
    from synapse_abm.cli import run_script

    run_script(__file__)
