"""What does an uptake blocker do to a burst of serotonin? It lasts longer, and is hardly higher.

Question
    A stimulus releases serotonin in a spot of tissue. Transporters (SERT) take it up, and it also
    escapes by diffusion. What do 85 % of SERT occupied by a drug, or no SERT at all, do to
    the peak and to the decay? And what would they do if nothing could escape?
Method
    A sheet of 40 x 40 cells of 5 um, 0.066 um deep, with 40 SERT in each cell, as dense as at the
    neuron's terminal. In a spot of 8 x 8 cells (40 um) a stimulus releases once, or 20 times at
    100 Hz, as much as a spike of the neuron does (4 nM). Free molecules wander, bind, are taken
    up or lost (the neuron's other clearance); those that leave the spot escape into tissue 25
    times as large. The drug has come in beforehand, by its own rate constants. The mean over the
    spot is read ten times a second, as voltammetry does; peak: largest reading, decay: time from
    there to 1/e of it. 24 independent bursts; errors by the jackknife. Beside it the spot alone,
    well mixed, which nothing leaves (8 bursts).
    Judge: exact hops with mean-field binding in the same steps (``theory.UniformTissue``); without
    SERT that is the exact law. Errors of counts: binomial, as of independent molecules.
Expected answer
    A blocker lengthens the decay more than it raises the peak, for one pulse and for twenty. Where
    nothing escapes, losing SERT lengthens the decay as much as SERT's share of clearance says (8 to
    16 times); diffusion out of the spot leaves less than half of that.
Run time
    About 30 s on one core.
Source
    One pulse: Bunin & Wightman 1998, J Neurosci 18:4854, doi:10.1523/JNEUROSCI.18-13-04854.1998;
    twenty at 100 Hz: Davidson & Stamford 1995 (abstracts). Decay of evoked serotonin: Mol
    Psychiatry 2025, doi:10.1038/s41380-025-02930-4. Size of the spot and density of SERT are
    assumed.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from synapse_abm import Scenario, Simulation, pharmacology, theory
from synapse_abm.core.errors import InputError, raise_faults
from synapse_abm.core.progress import Progress
from synapse_abm.core.text import text_table
from synapse_abm.core.units import molecules_per_nM, pair_rate_per_s
from synapse_abm.neuron.scenario import NeuronParameters, free_parameters, neuron
from synapse_abm.runs import dose_response, predictions, time_course
from synapse_abm.runs.predictions import Outcome, emergent, published, ratio
from synapse_abm.runs.results import Check, Result, Table
from synapse_abm.runs.time_course import peak_and_decay
from synapse_abm.statistics import Estimate, normal_quantile
from synapse_abm.synapse.engine import layout as lay
from synapse_abm.synapse.engine.layout import F64
from synapse_abm.synapse.scenario import Batch, Grid, Ligand, Target

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CONTROL, DRUG, NONE = BLOCKS = "control", "drug", "no SERT"
SHEET, MIXED = "with escape", "well mixed"
CELLS, SPACING_UM, SPOT = 40, 5.0, 8
SITES = 40  # in each cell: sets the depth of the sheet
PER_PULSE = 4  # molecules released in each cell of the spot: 4.1 nM; a spike of the neuron: 3.8
STEP_S = 0.01
ONE, MANY = 1, 20  # pulses, one in each step: 100 Hz
SECONDS, MIXED_SECONDS = 6.0, 30.0
READ_EVERY = 10  # steps
REPLICATES = {SHEET: 24, MIXED: 8}  # an even mixture needs fewer
BEFORE, COMING_IN_S = 12, 10.0  # steps before the stimulus; their length while the drug comes in
FALSE_ALARM = 1e-6  # over all exact checks together
JUDGED_S = (0.3, 1.0, 2.0, 5.0)  # after the first pulse
IN_SPOT = slice((CELLS - SPOT) // 2, (CELLS + SPOT) // 2)


@dataclass(frozen=True)
class Options:
    """Options of this experiment."""

    drug: str = "citalopram"
    """A drug that binds to SERT, or DRUG@SOURCE."""
    occupancy: float = 0.85
    """Share of SERT that it occupies, above 0 and at most 0.99."""


@dataclass(frozen=True)
class Case:
    """One kind of burst: where, how many pulses, and what is left of SERT."""

    place: str
    pulses: int
    block: str

    @property
    def name(self) -> str:
        """For tables."""
        return f"{self.pulses} pulse{'s' if self.pulses > 1 else ''}, {self.block}, {self.place}"


CASES = tuple(
    Case(place, pulses, block)
    for place, pulses in ((SHEET, ONE), (SHEET, MANY), (MIXED, MANY))
    for block in (CONTROL, DRUG, NONE)
)


def depth_um(parameters: NeuronParameters) -> float:
    """Depth of the sheet that gives a cell its sites at the terminal's density."""
    return SITES * parameters.terminal.volume_um3 / parameters.terminal.transporters / SPACING_UM**2


@functools.cache
def scenario(case: Case, drug: str, nM: float) -> Scenario:
    """The place of a case, its sites and its pulses; ``nM`` of the drug is clamped."""
    parameters = neuron()
    grid = Grid(
        width=CELLS,
        height=CELLS,
        spacing_um=SPACING_UM,
        depth_um=depth_um(parameters),
        walls="periodic",
    )
    everywhere = [(x, y) for x in range(CELLS) for y in range(CELLS)]
    released = [(x, y) for x in range(CELLS)[IN_SPOT] for y in range(CELLS)[IN_SPOT]]
    size = PER_PULSE
    if case.place == MIXED:
        size = PER_PULSE * len(released)
        grid = Grid.well_mixed(len(released) * grid.cell_volume_um3)
        everywhere, released = [(0, 0)] * len(released), [(0, 0)]
    record = pharmacology.ligand("serotonin")
    times = tuple((BEFORE + pulse + 0.5) * STEP_S for pulse in range(case.pulses))
    ligands = {
        "serotonin": Ligand(
            role="serotonin",
            diffusion_um2_per_s=record.diffusion_um2_per_s,
            degradation_per_s=free_parameters(
                parameters.terminal, parameters.sert, parameters.rate_Hz
            ).loss_per_s,
            binding={"SERT": parameters.sert},
            batches=tuple(Batch(size=size, cell=cell, times_s=times) for cell in released),
        )
    }
    if case.block == DRUG:
        kinetics = pharmacology.ligand(drug).kinetics("SERT")
        ligands["drug"] = Ligand(clamped_nM=nM, binding={"SERT": kinetics})
    sites = 0 if case.block == NONE else SITES
    cells = tuple(cell for cell in everywhere for _ in range(sites))
    return Scenario(
        name="transient", grid=grid, targets={"SERT": Target(cells=cells)}, ligands=ligands,
        dt_s=STEP_S,
    )  # fmt: skip


@functools.cache
def quiet(case: Case, drug: str, nM: float) -> Scenario:
    """The same place without a stimulus, in long steps."""
    synapse = scenario(case, drug, nM)
    serotonin = synapse.ligands["serotonin"].model_copy(update={"batches": ()})
    ligands = synapse.ligands | {"serotonin": serotonin}
    return synapse.model_copy(update={"ligands": ligands, "dt_s": COMING_IN_S})


def seconds(case: Case) -> float:
    """How long a burst is followed, s: longer where nothing escapes."""
    return MIXED_SECONDS if case.place == MIXED else SECONDS


def burst(case: Case, drug: str, nM: float, seed: int, replicate: int) -> F64:
    """Free molecules in the spot in one burst, ten times a second.

    The drug comes in first, alone: clamped, it is exact in steps of any length. Then steps are
    short, on the same sites, and their numbers go on.
    """
    run = Simulation(scenario(case, drug, nM), seed, replicate)
    if case.block == DRUG:
        before = Simulation(quiet(case, drug, nM), seed, replicate)
        before.run(BEFORE)
        run.state = before.state
    else:
        run.run(BEFORE)
    steps = round(seconds(case) / STEP_S)
    if case.place == MIXED:
        whole: F64 = run.run(steps, every=READ_EVERY).free("serotonin").astype(np.float64)
        return whole
    readings = np.empty(steps // READ_EVERY)
    for number in range(readings.size):
        run.run(READ_EVERY)
        readings[number] = _free_in_spot(run)
    return readings


def _free_in_spot(run: Simulation) -> int:
    store, (rows, *_) = run.state.store, run.state.rows()
    free = rows[store.molecules[lay.COMPARTMENT, rows] == lay.FREE]
    x, y = (store.molecules[axis, free].astype(np.int64) for axis in (lay.X, lay.Y))
    inside = (x >= IN_SPOT.start) & (x < IN_SPOT.stop) & (y >= IN_SPOT.start) & (y < IN_SPOT.stop)
    return int(inside.sum())


def expected(case: Case, drug: str, nM: float) -> F64:
    """The same by theory."""
    synapse = scenario(case, drug, nM)
    grid, serotonin = synapse.grid, synapse.ligands["serotonin"]
    kinetics = serotonin.binding["SERT"]
    spot = np.zeros((grid.height, grid.width), dtype=bool)
    spot[(slice(None),) * 2 if grid.cells == 1 else (IN_SPOT, IN_SPOT)] = True
    blocker = synapse.ligands.get("drug")
    by_drug = blocker.binding["SERT"] if blocker else None
    on, off = (by_drug.kon * nM, by_drug.koff) if by_drug else (0.0, 0.0)
    relaxed = -np.expm1(-(on + off) * BEFORE * COMING_IN_S)
    tissue = theory.UniformTissue(
        grid.width, grid.height, serotonin.diffusion_um2_per_s / grid.spacing_um**2,
        sites=synapse.targets["SERT"].n_sites / grid.cells,
        kon_pair=pair_rate_per_s(kinetics.kon, grid.cell_volume_um3),
        koff=kinetics.koff, kcat=kinetics.kcat_per_s, loss_per_s=serotonin.degradation_per_s,
        drug_on=on, drug_off=off,
    )  # fmt: skip
    burst = tissue.burst(
        STEP_S, round(seconds(case) / STEP_S), released=spot * serotonin.batches[0].size,
        pulses=range(case.pulses), spot=spot,
        occupied=relaxed * on / (on + off) if by_drug else 0.0,
    )  # fmt: skip
    return burst[READ_EVERY - 1 :: READ_EVERY]


# --- from bursts to numbers -----------------------------------------------------------------------


@dataclass(frozen=True)
class Shape:
    """Peak (nM) and decay time (s) of a curve."""

    peak: Estimate
    decay: Estimate


def shape(bursts: F64) -> Shape:
    """Peak and decay of the mean burst; errors by leaving out one burst at a time (jackknife).

    ``bursts`` has shape (bursts, readings).
    """
    gap_s = READ_EVERY * STEP_S
    peak, decay = time_course.jackknife(lambda x: peak_and_decay(x, gap_s), bursts)
    return Shape(peak, decay)


@dataclass(frozen=True)
class Bursts:
    """What the figures show of each case: serotonin in the spot (nM) in time as mean and standard
    error, by theory, and the shape of its mean curve.
    """

    drug: str
    occupancy: float
    time_s: dict[Case, F64]
    mean_nM: dict[Case, F64]
    se_nM: dict[Case, F64]
    theory_nM: dict[Case, F64]
    shapes: dict[Case, Shape]

    def grown(self, place: str, pulses: int, block: str = DRUG) -> tuple[Estimate, Estimate]:
        """Factors of peak and decay by a block."""
        control, blocked = (self.shapes[Case(place, pulses, b)] for b in (CONTROL, block))
        return ratio(blocked.peak, control.peak), ratio(blocked.decay, control.decay)


def run(seed: int, quick: bool, progress: Progress, **options: Any) -> Result:
    """Release bursts in every case and hold them against theory and what was stated beforehand."""
    chosen, faults = Options(**options), list[InputError]()
    drug, occupancy = chosen.drug, chosen.occupancy
    if not 0 < occupancy <= 0.99:
        allowed = "a share above 0, at most 0.99"
        faults.append(InputError("--occupancy", occupancy, allowed, "use 0.85"))
    try:
        record = dose_response.inhibitor(drug, ["SERT"], "--drug")
    except InputError as error:
        faults.append(error)
    raise_faults(faults)
    kinetics = record.kinetics("SERT")
    nM = kinetics.koff / kinetics.kon * occupancy / (1 - occupancy)
    number = {place: n // 4 if quick else n for place, n in REPLICATES.items()}
    tasks = [
        (case, drug, nM, seed, at * REPLICATES[SHEET] + r)
        for at, case in enumerate(CASES)
        for r in range(number[case.place])
    ]
    runs = dose_response.series(burst, tasks, progress)
    runs_of = {
        case: np.array([run for run, task in zip(runs, tasks, strict=True) if task[0] == case])
        for case in CASES
    }
    laws = {case: expected(case, drug, nM) for case in CASES}
    unit = molecules_per_nM_in_spot()
    shapes = {case: shape(counts / unit) for case, counts in runs_of.items()}
    checks = _checks(runs_of, laws)
    bursts = Bursts(
        drug, occupancy,
        {case: (1 + np.arange(counts.shape[1])) * READ_EVERY * STEP_S
         for case, counts in runs_of.items()},
        {case: counts.mean(axis=0) / unit for case, counts in runs_of.items()},
        {case: counts.std(axis=0, ddof=1) / np.sqrt(len(counts)) / unit
         for case, counts in runs_of.items()},
        {case: law / unit for case, law in laws.items()}, shapes,
    )  # fmt: skip
    outcomes = _outcomes(bursts)
    return Result(
        tables=[_curves(bursts), _shapes(shapes, laws, unit),
                predictions.table(outcomes)],
        checks=[*checks, *(outcome.check for outcome in outcomes)],
        text="\n\n".join([
            _text(shapes, laws, unit), predictions.text(outcomes), _judge_text(checks),
        ]),
        verdict=_verdict(shapes, occupancy),
        scenario={
            "drug": drug, "occupancy": occupancy, "concentration_nM": nM, "bursts": number,
            "cells": CELLS, "spacing_um": SPACING_UM, "spot_cells": SPOT, "sites_per_cell": SITES,
            "depth_um": depth_um(neuron()), "released_per_cell_and_pulse": PER_PULSE,
            "step_s": STEP_S,
        },
        papers=[
            *record.sources(), *pharmacology.ligand("serotonin").sources(),
            "Bunin & Wightman 1998, J Neurosci 18:4854, doi:10.1523/JNEUROSCI.18-13-04854.1998",
            "Davidson & Stamford 1995", "Mol Psychiatry 2025, doi:10.1038/s41380-025-02930-4",
        ],
        data=bursts,
    )  # fmt: skip


def molecules_per_nM_in_spot() -> float:
    """Molecules that make 1 nM in the spot."""
    return molecules_per_nM(SPOT**2 * SPACING_UM**2 * depth_um(neuron()))


def _checks(curves: dict[Case, F64], laws: dict[Case, F64]) -> list[Check]:
    """Counts in the spot against theory, a few times in every case.

    Independent molecules make counts binomial; molecules of several ages, or that compete for
    sites, scatter a little less.
    """
    limit, checks = normal_quantile(FALSE_ALARM, len(CASES) * len(JUDGED_S)), list[Check]()
    for case, counts in curves.items():
        released = PER_PULSE * SPOT**2 * case.pulses
        for time in JUDGED_S:
            at = round(time / STEP_S) // READ_EVERY - 1
            law = float(laws[case][at])
            se = float(np.sqrt(law * (1 - law / released) / len(counts)))
            name = f"free in the spot after {time:g} s: {case.name}"
            source = "heat kernel, independent molecules"
            if case.block != NONE:
                source = "mean field of the steps, hops exact"
            mean = float(counts[:, at].mean())
            checks.append(
                Check.against(
                    name, "exact", mean, se, law, source=source, z_limit=limit, solved=True
                )
            )
    return checks


def _outcomes(bursts: Bursts) -> list[Outcome]:
    inf, rows = float("inf"), list[Outcome]()
    for pulses in (ONE, MANY):
        for block, said in ((DRUG, "SERT occupied by drug"), (NONE, "no SERT")):
            peak, decay = bursts.grown(SHEET, pulses, block)
            name = f"decay's factor over peak's, {Case(SHEET, pulses, said).name}"
            stated = "above 1.1: decay is lengthened more than the peak is raised"
            rows.append(emergent(name, ratio(decay, peak), 1.1, inf, stated))
    mixed, sheet = bursts.grown(MIXED, MANY, NONE)[1], bursts.grown(SHEET, MANY, NONE)[1]
    control = bursts.shapes[Case(SHEET, ONE, CONTROL)]
    rows += [
        emergent("decay's factor, no SERT, well mixed", mixed, 8.0, 16.0,
            "8 to 16: SERT's share of clearance is 91.5 %"),
        emergent("the same, with escape over well mixed", ratio(sheet, mixed), 0.0, 0.5,
            "below 0.5: what is left when diffusion clears too"),
        published("peak of 1 pulse, no SERT over control", bursts.grown(SHEET, ONE, NONE)[0],
            0.9, 1.1, "unchanged by uptake inhibitors", "Bunin & Wightman 1998, rat slices"),
        published("peak of 20 pulses at 100 Hz, no SERT over control",
            bursts.grown(SHEET, MANY, NONE)[0], 1.35, 1.59,
            "1.47 +- 0.06, 100 nM paroxetine", "Davidson & Stamford 1995, raphe slices",
            "uptake at the terminal's density takes 0.7 of the free serotonin per second, too"
            " slow to eat much of a stimulus of 0.2 s; where it was measured, in the raphe, it is"
            " about ten times as fast (Vmax 1300 nM/s, quoted from Bunin 1998), and an electrode"
            " that answers slowly sees part of the decay as peak"),
        published("decay of 1 pulse, control, s", control.decay, 2.4, 3.8, "3.09 +- 0.34 s",
            "slice voltammetry, Mol Psychiatry 2025",
            "the spot is assumed; one of 40 um empties within a second even without SERT. A decay"
            " of 3 s asks for a stimulated region several times as wide, and for less uptake than"
            " Km and SERT number give here, or for an electrode that lags behind by seconds"),
    ]  # fmt: skip
    return rows


# --- tables ---------------------------------------------------------------------------------------


def _curves(bursts: Bursts) -> Table:
    rows = [
        (case.place, case.pulses, case.block, *cells)
        for case, times in bursts.time_s.items()
        for cells in zip(times, bursts.mean_nM[case], bursts.se_nM[case], bursts.theory_nM[case],
                         strict=True)
    ]  # fmt: skip
    names = "place pulses block time_s serotonin_nM se theory_nM"
    return Table.of_rows("transient", names, rows, ("theory_nM",))


def _shapes(shapes: dict[Case, Shape], laws: dict[Case, F64], unit: float) -> Table:
    gap_s = READ_EVERY * STEP_S
    theories = [peak_and_decay(laws[case] / unit, gap_s) for case in shapes]
    return Table(
        "peak_and_decay",
        {
            "place": [case.place for case in shapes],
            "pulses": [case.pulses for case in shapes],
            "block": [case.block for case in shapes],
            "peak_nM": [shape.peak.value for shape in shapes.values()],
            "peak_se": [shape.peak.se for shape in shapes.values()],
            "peak_theory_nM": [peak for peak, _ in theories],
            "decay_s": [shape.decay.value for shape in shapes.values()],
            "decay_se": [shape.decay.se for shape in shapes.values()],
            "decay_theory_s": [decay for _, decay in theories],
        },
        solved=("peak_theory_nM", "decay_theory_s"),
    )


def _text(shapes: dict[Case, Shape], laws: dict[Case, F64], unit: float) -> str:
    rows = []
    for case, shape in shapes.items():
        peak, decay = peak_and_decay(laws[case] / unit, READ_EVERY * STEP_S)
        control = shapes[Case(case.place, case.pulses, CONTROL)]
        rows.append([
            case.name, predictions.shown(shape.peak), f"{peak:.2f}", predictions.shown(shape.decay),
            f"{decay:.2f}", f"x{shape.peak.value / control.peak.value:.2f}",
            f"x{shape.decay.value / control.decay.value:.2f}",
        ])  # fmt: skip
    header = ["burst", "peak (nM)", "theory", "decay (s)", "theory", "peak", "decay"]
    return text_table(header, rows)


def _judge_text(checks: list[Check]) -> str:
    worst = max(checks, key=lambda check: abs(check.z or 0.0))
    return (
        f"{sum(check.passed for check in checks)} of {len(checks)} counts agree with theory;"
        f" largest |z| {abs(worst.z or 0.0):.2f} ({worst.name})."
    )


def _verdict(shapes: dict[Case, Shape], occupancy: float) -> str:
    control, blocked = (shapes[Case(SHEET, MANY, block)] for block in (CONTROL, DRUG))
    mixed = [shapes[Case(MIXED, MANY, block)].decay.value for block in (CONTROL, DRUG)]
    higher = blocked.peak.value / control.peak.value
    longer = blocked.decay.value / control.decay.value
    return (
        f"With {100 * occupancy:.0f} % of SERT occupied a burst is {higher:.2f} times as high and"
        f" lasts {longer:.2f} times as long; if nothing could escape from the spot,"
        f" {mixed[1] / mixed[0]:.1f} times."
    )


# --- figure ---------------------------------------------------------------------------------------


def figure(result: Result) -> dict[str, Figure]:
    """A burst with and without blocker; and what it makes of peak and decay, with and without
    escape.
    """
    from synapse_abm import plotting

    return {
        "": plotting.styled(_draw)(result.data),
        "escape": plotting.styled(_draw_escape)(result.data),
    }


def _draw(bursts: Bursts) -> Figure:
    from synapse_abm import plotting as plot

    title = "A blocker makes a burst last longer, and hardly higher"
    fig, (ax,) = plot.slide(height=5.2, title=title)
    _burst(ax, bursts, SHEET)
    peak, decay = bursts.grown(SHEET, MANY)
    words = (
        f"{100 * bursts.occupancy:.0f} % occupied by {bursts.drug}:\n"
        f"{peak.value:.2f} times as high,\n{decay.value:.1f} times as long"
    )
    ax.annotate(words, (2.2, 32), color=plot.VERMILION)
    ax.set_ylabel("serotonin in the spot (nM)")
    ax.legend(title="20 pulses at 100 Hz\n(points: simulated, 2 SE; lines: theory)",
              alignment="left")  # fmt: skip
    return fig


def _draw_escape(bursts: Bursts) -> Figure:
    from synapse_abm import plotting as plot

    title = "If nothing could escape, a blocker would do much more"
    fig, (curves, bars) = plot.panel_table(1, 2, 5.0, title, width_ratios=(1.2, 1.0))
    _burst(curves, bursts, MIXED)
    curves.set_ylabel("serotonin (nM)")
    curves.set_title("20 pulses, well mixed")
    curves.legend(loc="lower left", handlelength=1.2)
    groups = ((SHEET, ONE, "1 pulse"), (SHEET, MANY, "20 pulses"), (MIXED, MANY, "20,\nno escape"))
    for at, (place, pulses, _) in enumerate(groups):
        for shift, factor, color, hatch, name in zip(
            (-0.2, 0.2), bursts.grown(place, pulses), (plot.SKY, plot.ORANGE), ("//", ""),
            ("peak", "decay"), strict=True,
        ):  # fmt: skip
            bars.bar(at + shift, factor.value - 1, 0.38, bottom=1, color=color, hatch=hatch,
                     yerr=2 * factor.se, capsize=4, label=name if at == 0 else None)  # fmt: skip
            words = f"{factor.value:.1f}"
            plot.named(bars, (at + shift, factor.value + 2 * factor.se), words, offset=(0, 8),
                       ha="center")  # fmt: skip
    plot.reference(bars, 1)
    bars.set_xticks(range(len(groups)), [words for _, _, words in groups])
    bars.grid(visible=False, axis="x")
    bars.set_ylabel("with drug, over control (ratio, 2 SE)")
    bars.set_ylim(0.8, None)
    bars.legend(loc="upper left")
    return fig


def _burst(ax: Any, bursts: Bursts, place: str) -> None:
    """Twenty pulses in a place, with each block."""
    from synapse_abm import plotting as plot

    words = {CONTROL: "control", DRUG: f"{bursts.drug}", NONE: "no SERT"}
    for look, (block, label) in zip(plot.LOOKS, words.items(), strict=False):
        case = Case(place, MANY, block)
        t, some = bursts.time_s[case], slice(1, None, 2)
        ax.plot(np.append(0, t), np.append(0, bursts.theory_nM[case]), color=look[0], lw=1.6)
        plot.measured(ax, t[some], bursts.mean_nM[case][some], 2 * bursts.se_nM[case][some], look,
                      ms=5, label=label)  # fmt: skip
    ax.set_xlim(0, 6)
    ax.set_ylim(0, 88)
    ax.set_xlabel("time after the first pulse (s)")


if __name__ == "__main__":
    from synapse_abm.cli import run_script

    run_script(__file__)
