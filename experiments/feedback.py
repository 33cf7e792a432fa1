"""Why does blocking half of the transporters do so little? The autoreceptor brake, on and cut.

Question
    A drug takes 0 to 100 % of the serotonin transporters (SERT). What do serotonin at the terminal
    and at the soma, and firing, do within hours? What of it is the brake's doing: what if an
    antagonist (WAY-100635) keeps serotonin off the 5-HT1A autoreceptors, if there is no brake at
    all, if the drug reaches the terminal only, or the soma only?
Method
    Independent neurons, each with a terminal and a soma of well-mixed molecules, transporters and
    autoreceptors; nobody writes occupancy or firing in. Each settles at its dose until the
    relaxations of the whole system there have brought it within 0.5 % of where it goes (column
    ``settled_s``: 120 s at least, many minutes for a drug that lets go slowly), and is read over
    200 s, with coupling of the receptors to the brake as in the first hours (1). Bands: 95 %,
    Student's t over five neurons, each with its own estimate of the baseline, whose error is so in
    them. Beside every curve its mean-field twin. The brake is cut by a ligand with a dose, 4 times
    its Kd; complete removal is reported apart. What six weeks make of 30, 40, 50 and 85 % comes
    from short courses (30 windows, four neurons).
Expected answer
    Firing falls with occupancy. Without feedback (drug at the terminal only) serotonin follows what
    uptake is left; the brake takes away a fifth to a half of that rise at 30 to 50 %, where
    serotonin rises by less than half and no therapeutic index comes in six weeks (below 0.1).
    Serotonin rises further at the soma than at the terminal. The drug at the terminal only raises
    terminal serotonin more than everywhere, at the soma only it lowers it. An antagonist raises it
    further, everywhere. (Mean field was known at 30, 40, 50 and 85 % when the ranges were set.)
Run time
    About 30 s on one core.
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
from synapse_abm.neuron.calibration import Calibration, calibrate
from synapse_abm.neuron.engine.simulation import Drug
from synapse_abm.neuron.meanfield.ode import Exposure
from synapse_abm.neuron.scenario import Neuron, neuron
from synapse_abm.runs import dose_response, predictions, sweep
from synapse_abm.runs.predictions import Outcome, calibrated, emergent, published, ratio
from synapse_abm.runs.results import Result, Table
from synapse_abm.statistics import Estimate, from_replicates
from synapse_abm.treatment.acute import Condition, Subject, beside_twins, measured, settling_s
from synapse_abm.treatment.course import QUANTITIES, Course
from synapse_abm.treatment.treatment import Treatment, constant

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DOSES = (0.0, 0.15, 0.3, 0.4, 0.5, 0.65, 0.75, 0.85, 0.9, 0.95, 1.0)
QUICK_DOSES = (0.0, 0.3, 0.4, 0.5, 0.85)
NOTHING_LEFT = 1e4  # drug / Ki that stands for 100 %
LITTLE = (0.3, 0.4, 0.5)  # the case that is marked
ENOUGH = 0.85
ON, CUT, TERMINAL, SOMA, GONE = ARMS = (
    "brake on", "antagonist", "terminal only", "soma only", "brake removed",
)  # fmt: skip
GONE_AT = (0.0, 0.4, 0.85)
READ = ("rate_Hz", "terminal_nM", "soma_nM")
DAYS = 42.0

type Found = dict[tuple[str, float], dict[str, Estimate]]


@dataclass(frozen=True)
class Options:
    """Options of this experiment."""

    drug: str = "citalopram"
    """A drug that binds to SERT, or DRUG@SOURCE."""
    antagonist: str = "WAY-100635"
    """A ligand of the autoreceptor that activates it less than serotonin does."""
    antagonist_nM: float = 4.4
    """Its free concentration at the soma, in nM."""


def run(
    seed: int, quick: bool, progress: Progress, drug: str = "citalopram",
    antagonist: str = "WAY-100635", antagonist_nM: float = 4.4,
) -> Result:  # fmt: skip
    """Measure every arm at every dose and hold it against what was stated beforehand."""
    inhibitor, rival = _ligands(drug, antagonist, antagonist_nM)
    it = neuron()
    calibration = calibrate(it, seed)
    dose = antagonist_nM * rival.kinetics.kon / rival.kinetics.koff
    doses = QUICK_DOSES if quick else DOSES
    cases = [
        (arm, share) for arm in ARMS for share in doses if arm != GONE or share in GONE_AT
    ]  # fmt: skip
    conditions = [condition(arm, share, dose, rival.efficacy) for arm, share in cases]
    neurons, window_s = (3, 80) if quick else (5, 200)
    subject = Subject(it, calibration.baseline, inhibitor, rival)
    measurements = measured(
        subject, conditions, seed=seed, replicates=neurons, window_s=window_s, progress=progress,
        calibration=calibration,
    )  # fmt: skip
    found = dict(zip(cases, measurements, strict=True))
    twins = {case: c.twin(it) for case, c in zip(cases, conditions, strict=True)}
    pieces = [(drug, calibration, share, quick, seed) for share in (*LITTLE, ENOUGH)]
    weeks = sweep.map_pieces(index_after_weeks, pieces, progress=progress, label="courses")
    index = {piece[2]: from_replicates(each) for piece, each in zip(pieces, weeks, strict=True)}
    outcomes = _outcomes(it, found, index)
    settled = [settling_s(subject, each) for each in conditions]
    table = _table(it, found, twins, settled)
    return Result(
        tables=[table, _index_table(index), predictions.table(outcomes)],
        checks=[outcome.check for outcome in outcomes],
        text="\n\n".join([
            str(calibration), _text(it, found, twins, doses), _index_text(index),
            predictions.text(outcomes), _twin_text(it, found, twins),
        ]),
        verdict=_verdict(it, found, index),
        scenario={
            "drug": drug, "antagonist": antagonist, "antagonist_nM": antagonist_nM,
            "antagonist_over_kd": dose, "neurons": neurons, "window_s": window_s,
            "baseline_factors": {n: getattr(calibration.baseline, n) for n in calibration.error},
            "neuron": it.model_dump(mode="json"),
        },
        papers=[
            *pharmacology.ligand(drug).sources(), *pharmacology.ligand(antagonist).sources(),
            "Ceglia 2004, Br J Pharmacol 142:469, doi:10.1038/sj.bjp.0705800",
            "Neuropharmacology 1995, doi:10.1016/0028-3908(95)00023-y",
        ],
    )  # fmt: skip


def _ligands(drug: str, antagonist: str, antagonist_nM: float) -> tuple[Drug, Drug]:
    """The two ligands, all that is wrong with them told at once."""
    faults, found = list[InputError](), list[Drug]()
    for name, target, option in ((drug, "SERT", "--drug"), (antagonist, "5-HT1A", "--antagonist")):
        try:
            record = dose_response.inhibitor(name, [target], option)
        except InputError as error:
            faults.append(error)
            continue
        efficacy = record.efficacy(target) if target == "5-HT1A" else 0.0
        if efficacy >= 1:
            allowed = "a ligand that activates 5-HT1A less than serotonin does"
            faults.append(InputError(option, name, allowed, "use WAY-100635 or pindolol"))
        found.append(Drug(record.kinetics(target), efficacy))
    if not 0 < antagonist_nM <= 1e6:
        allowed = "a number > 0, at most 1e6"
        faults.append(InputError("--antagonist-nM", antagonist_nM, allowed, "use 4.4"))
    raise_faults(faults)
    return found[0], found[1]


def condition(arm: str, share: float, antagonist: float, efficacy: float = 0.0) -> Condition:
    """What acts in an arm: drug over Ki that alone would take ``share``, antagonist over Kd."""
    drug = share / (1 - share) if share < 1 else NOTHING_LEFT
    acts = Exposure(
        terminal=0.0 if arm == SOMA else drug,
        soma=0.0 if arm == TERMINAL else drug,
        rival=antagonist if arm == CUT else 0.0,
        efficacy=efficacy,
    )
    return Condition(acts, coupling=0.0 if arm == GONE else 1.0)


def index_after_weeks(
    drug: str, calibration: Calibration, share: float, quick: bool, seed: int
) -> list[float]:
    """The therapeutic index at the end of six weeks, by neuron."""
    kinetics = pharmacology.ligand(drug).kinetics("SERT")
    nM = kinetics.koff / kinetics.kon * share / (1 - share)
    size: dict[str, Any] = {"windows": 16, "replicates": 2} if quick else {
        "windows": 30, "replicates": 4,
    }  # fmt: skip
    course = Course(
        Treatment(neuron(), constant(nM), days=DAYS, drug=drug, seed=seed, **size), calibration
    ).run()
    index: list[float] = course.values[-1, :, QUANTITIES.index("plasticity")].tolist()
    return index


# --- predictions ----------------------------------------------------------------------------------


def _outcomes(it: Neuron, found: Found, index: dict[float, Estimate]) -> list[Outcome]:
    """Every prediction with what the model gives."""
    st, ss = (Estimate(p.serotonin_nM, 0.0) for p in it.places)

    def at(arm: str, share: float, name: str) -> Estimate:
        return found[arm, share][name]

    terminal, blunted = at(ON, ENOUGH, "terminal_nM"), at(ON, 0.4, "terminal_nM")
    unopposed = at(TERMINAL, 0.4, "terminal_nM")
    soma = ratio(at(ON, ENOUGH, "soma_nM"), ss)
    inf = float("inf")
    return [
        calibrated("firing at 85 %, of baseline", at(ON, ENOUGH, "rate_Hz"), 0.5, 0.7,
            "0.6, tuned to"),
        calibrated("terminal serotonin at 85 %, of baseline", ratio(terminal, st), 2.2, 2.8,
            "2.5, tuned to"),
        calibrated("terminal serotonin, antagonist alone, of baseline",
            ratio(at(CUT, 0.0, "terminal_nM"), st), 1.5, 1.9,
            "1.68 and 2.26 in two groups of rats: the dose, 4 Kd, is chosen for the first",
            "Ceglia 2004"),
        emergent("firing at 40 %, of baseline", at(ON, 0.4, "rate_Hz"), 0.0, 0.95, "below 0.95"),
        emergent("serotonin's fold at the soma over that at the terminal, 85 %",
            ratio(soma, ratio(terminal, st)), 1.0, inf, "above 1"),
        emergent("terminal only over everywhere: terminal serotonin, 85 %",
            ratio(at(TERMINAL, ENOUGH, "terminal_nM"), terminal), 1.2, inf, "above 1.2"),
        emergent("soma only: terminal serotonin at 85 %, of baseline",
            ratio(at(SOMA, ENOUGH, "terminal_nM"), st), 0.0, 0.95, "below 0.95"),
        emergent("terminal serotonin at 40 %, of baseline", ratio(blunted, st), 1.1, 1.5,
            "a small rise, 1.1 to 1.5"),
        emergent("rise at 40 %, brake on over terminal only",
            ratio(_less(blunted, st.value), _less(unopposed, st.value)), 0.5, 0.8,
            "the brake takes a fifth to a half of the rise"),
        *(emergent(f"index after six weeks at {100 * share:.0f} %", index[share], -0.1, 0.1,
              "below 0.1") for share in LITTLE),
        emergent("antagonist added at 85 %: terminal serotonin, times",
            ratio(at(CUT, ENOUGH, "terminal_nM"), terminal), 1.2, inf, "above 1.2"),
        published("the fold at the soma over that at the terminal, 85 %",
            ratio(soma, ratio(terminal, st)), 1.2, inf,
            "1.41: 270 % in the raphe, 191 % in the hippocampus, fluvoxamine, rat",
            "doi:10.1016/0028-3908(95)00023-y, abstract",
            "both places fire as one here and lose nearly the same share of their uptake; a"
            " larger difference needs a soma where SERT carries more of the clearance, or"
            " terminals with a brake of their own (5-HT1B receptors), which is not modelled"),
    ]  # fmt: skip


def _less(it: Estimate, known: float) -> Estimate:
    return Estimate(it.value - known, it.se, it.dof)


# --- tables ---------------------------------------------------------------------------------------


def _held(arm: str, each: dict[str, Estimate]) -> Estimate:
    """Occupancy where the drug is."""
    return each["soma_occupancy" if arm == SOMA else "terminal_occupancy"]


def _table(
    it: Neuron, found: Found, twins: dict[tuple[str, float], dict[str, float]], settled: list[int]
) -> Table:
    columns: dict[str, list[Any]] = {
        "arm": [arm for arm, _ in found],
        "nominal_occupancy": [share for _, share in found],
        "occupancy": [_held(arm, each).value for (arm, _), each in found.items()],
        "occupancy_se": [_held(arm, each).se for (arm, _), each in found.items()],
        "settled_s": settled,
    }
    columns |= beside_twins(READ, found, twins)
    return Table("feedback", columns, solved=[f"{name}_mean_field" for name in READ])


def _index_table(index: dict[float, Estimate]) -> Table:
    return Table(
        "index",
        {
            "nominal_occupancy": list(index),
            "index_six_weeks": [each.value for each in index.values()],
            "se": [each.se for each in index.values()],
        },
    )


def _text(
    it: Neuron, found: Found, twins: dict[tuple[str, float], dict[str, float]], doses: Any
) -> str:  # fmt: skip
    """Firing, terminal and soma by arm and dose, of baseline; the twin in brackets."""
    unit = dict(zip(READ, (it.rate_Hz, *(p.serotonin_nM for p in it.places)), strict=True))
    rows = []
    for (arm, share), each in found.items():
        if share not in (0.0, *LITTLE, ENOUGH, doses[-1]):
            continue
        cells = [
            f"{each[name].value / unit[name]:.2f} ({twins[arm, share][name] / unit[name]:.2f})"
            for name in READ
        ]
        held = f"{100 * _held(arm, each).value:.0f} %"
        rows.append([f"{arm}, {100 * share:.0f} %", held, *cells])
    return text_table(["of baseline (twin)", "SERT held", "firing", "terminal", "soma"], rows)


def _index_text(index: dict[float, Estimate]) -> str:
    rows = [
        [f"{100 * share:.0f} %", predictions.shown(each)] for share, each in index.items()
    ]  # fmt: skip
    return text_table(["SERT held", "index after six weeks"], rows)


def _twin_text(
    it: Neuron, found: Found, twins: dict[tuple[str, float], dict[str, float]]
) -> str:  # fmt: skip
    off = {
        (case, name): found[case][name].value / twins[case][name] - 1
        for case in found
        for name in READ
    }
    (case, name), most = max(off.items(), key=lambda pair: abs(pair[1]))
    mean = 100 * float(np.mean(np.abs(list(off.values()))))
    return (
        f"Departure from the mean-field twin: {mean:.1f} % on average, at most {100 * most:+.1f} %"
        f" ({name} of {case[0]} at {100 * case[1]:.0f} %)."
    )


def _verdict(it: Neuron, found: Found, index: dict[float, Estimate]) -> str:
    st = it.terminal.serotonin_nM
    little, much, free = (
        found[arm, share]["terminal_nM"].value / st
        for arm, share in ((ON, 0.4), (ON, ENOUGH), (TERMINAL, ENOUGH))
    )
    return (
        f"40 % of SERT held: serotonin x{little:.2f}, and an index of {index[0.4].value:.2f} after"
        f" six weeks. 85 %: x{much:.2f} within hours, where the same drug without feedback would"
        f" give x{free:.2f}. The brake takes the difference."
    )


# --- figure ---------------------------------------------------------------------------------------


def figure(result: Result) -> Figure:
    """Serotonin at the terminal and at the soma, and firing, against the share of SERT held."""
    from synapse_abm import plotting

    return plotting.styled(_draw)(result)


def _draw(result: Result) -> Figure:
    from synapse_abm import plotting as plot

    it, table = result.scenario["neuron"], result["feedback"]
    fig, panels = plot.slide(heights=(2.1, 1.2, 1.2), height=10.0)
    units = (it["terminal"]["serotonin_nM"], it["soma"]["serotonin_nM"], it["rate_Hz"])
    names = ("terminal_nM", "soma_nM", "rate_Hz")
    colors = dict(zip(ARMS, (plot.BLUE, plot.VERMILION, plot.GREEN, plot.ORANGE), strict=False))
    for panel, name, unit in zip(panels, names, units, strict=True):
        panel.axvspan(LITTLE[0], LITTLE[-1], color=plot.GREY, alpha=0.13, lw=0)
        panel.axhline(1, color=plot.GREY, lw=1)
        for arm, color in colors.items():
            _curve(panel, table, arm, name, unit, color)
    terminal, soma, firing = panels
    for panel, place, low in ((terminal, "terminal", 0.36), (soma, "soma", 0.8)):
        panel.set_yscale("log", base=2)
        panel.set_ylim(low, 13)
        ticks = {0.5: "1/2", 1: "1", 2: "2", 4: "4", 8: "8"}
        panel.set_yticks(list(ticks), list(ticks.values()))
        panel.set_ylim(low, 13)
        panel.minorticks_off()
        panel.set_ylabel(f"serotonin at the\n{place} (x baseline)")
    firing.set_ylabel("firing\n(x baseline)")
    firing.set_ylim(0, 1.9)
    firing.set_yticks([0, 0.5, 1, 1.5])
    words = {ON: "brake on", CUT: f"brake cut by {result.scenario['antagonist']}",
             TERMINAL: "drug at the terminal only", SOMA: "drug at the soma only"}  # fmt: skip
    handles = [
        terminal.errorbar([], [], [], fmt="o", color=colors[arm], ms=5, capsize=3, label=label)
        for arm, label in words.items()
    ]
    order = [handles[n] for n in (1, 2, 0, 3)]
    terminal.legend(handles=order, loc="upper left", fontsize=12)
    _annotate(terminal, table, units[0], plot)
    much, free = (_fold(table, arm, ENOUGH) / units[0] for arm in (ON, CUT))
    terminal.set_title(f"85 % held: serotonin x{much:.1f} with the brake, x{free:.1f} without")
    firing.set_xlim(-0.01, 1.01)
    firing.xaxis.set_major_formatter(lambda x, _: f"{100 * x:.0f} %")
    firing.set_xlabel("SERT held by the drug, where it is (dashed: mean-field twin; bars: 95 %)")
    return fig


def _fold(table: Table, arm: str, share: float) -> float:
    at = list(zip(table["arm"], table["nominal_occupancy"], strict=True)).index((arm, share))
    return float(table["terminal_nM"][at])


def _annotate(panel: Any, table: Table, unit: float, plot: Any) -> None:
    """The two cases that the chapter is about, told in the panel."""
    low, high = (_fold(table, ON, share) / unit for share in (LITTLE[0], LITTLE[-1]))
    panel.annotate(
        f"30 to 50 % held:\nonly x{low:.1f} to x{high:.1f}", (0.4, 0.47), ha="center", va="center",
        fontsize=12,
    )  # fmt: skip
    free, much = (_fold(table, arm, ENOUGH) / unit for arm in (CUT, ON))
    panel.annotate(
        "", (ENOUGH - 0.012, 1.04 * much), (ENOUGH - 0.012, 0.96 * free),
        arrowprops={"arrowstyle": "->", "lw": 2, "color": plot.BLACK},
    )  # fmt: skip
    panel.annotate("the brake", (ENOUGH, 0.8 * much), ha="center", va="top")


def _curve(ax: Any, table: Table, arm: str, name: str, unit: float, color: str) -> None:
    """Points with bars, and the twin dashed."""
    mine = np.array([each == arm for each in table["arm"]])
    x, y, low, high, twin = (
        np.array(table[column])[mine]
        for column in ("occupancy", name, f"{name}_low_95", f"{name}_high_95",
                       f"{name}_mean_field")
    )  # fmt: skip
    bars = np.array([y - low, high - y]) / unit
    ax.errorbar(x, y / unit, yerr=bars, fmt="o", color=color, ms=5, capsize=3, lw=1.4)
    ax.plot(x, twin / unit, color=color, ls="--", lw=1.4)


if __name__ == "__main__":
    from synapse_abm.cli import run_script

    run_script(__file__)
