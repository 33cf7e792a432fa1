"""Where do the textbook's formulas of occupancy err, and by how much?

Question
    The hyperbola C/(C + Kd), Gaddum's formula (a competitor shifts Kd) and Morrison's quadratic
    (sites take drug out of solution) each leave something out. By how many points of occupancy
    (hundredths) are they off when (a) sites deplete the drug, (b) there are few copies, (c)
    serotonin competes, (d) diffusion is slow, (e) serotonin comes in bursts?
Method
    For each a map of (formula - exact law) over two dimensionless numbers, with lines at 1, 5 and
    10 points, and simulated places on it, which must agree with the exact law. (a, b) closed and
    well mixed: the law of finite copies. (c) drug from a reservoir, serotonin clamped and taken up:
    sites are independent. (d) one molecule and one site on 11 x 11 cells, released anywhere: the
    occupancy at time t, from the chain of all its states, against the time course of a well-mixed
    place; and the noise of a long average. (e) one transporter between a clamped, slow drug and
    serotonin in batches: the chain of free count and site. C is the concentration as the books'
    user has it: what went in over the volume where nothing is resupplied (a, b, d), else the free
    one. Errors of simulated points come from 40 batches of at least 50 relaxation times (a, b, c,
    e), or independent replicates (d), with Student's t.
Expected answer
    (a) The hyperbola fails once sites exceed a few hundredths of Kd x volume; Morrison holds. (b)
    Morrison fails below some tens of copies. (c) The hyperbola fails from serotonin of some
    hundredths of Km on; Gaddum holds. (d) Equilibrium does not care; kinetics slow down, and noise
    of long averages grows, as 1 + (resistance of diffusion / resistance of binding). (e) Gaddum
    with the mean of S says too little drug, once a burst adds some tenths of Km.
Run time
    About 25 s; with --quick about 8 s.
Source
    Gaddum 1937, J Physiol 89:7P; Morrison 1969, Biochim Biophys Acta 185:269; Collins & Kimball
    1949, J Colloid Sci 4:425; Berg & Purcell 1977, Biophys J 20:193. Real places: the table
    ``landmarks`` gives value, status and source of each. Sites per varicosity are assumed, and so
    is protein per gram of tissue; nobody has measured a single synapse.
"""

from __future__ import annotations

import functools
import math
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from synapse_abm import Scenario, pharmacology, statistics, theory
from synapse_abm.core import units
from synapse_abm.core.arithmetic import SOLVED, rounded
from synapse_abm.core.progress import Progress
from synapse_abm.core.text import text_table
from synapse_abm.runs import dose_response, sweep
from synapse_abm.runs.results import Check, Result, Table
from synapse_abm.statistics import Estimate
from synapse_abm.synapse.engine.simulation import Simulation
from synapse_abm.synapse.scenario import Batch, Grid, Kinetics, Ligand, Reservoir, Target, cost

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FALSE_ALARM = 1e-6  # over all checks together
BATCHES = 40
TOLERANCES = (1.0, 5.0, 10.0)  # points of occupancy
KD_NM, KOFF = 1.0, 1.0  # of a drug in the maps: only ratios matter
KM_NM, KOFF_S, KCAT = 170.0, 1.0, 3.0  # serotonin at SERT: `synapse-abm list --drugs`
SIDE = 11  # cells of the grid of (d)
CLEARANCE = 1 / 3.09  # 1/s, of serotonin after a burst (FSCV in slices, Mol Psychiatry 2025)
COPIES_AT_KM = 60  # molecules that make 1 Km in the place of (e)
SLOW = 0.05  # k_off of the drug of (e), in units of the clearance rate
LARGE = 3000  # copies that count as many, in (a)


@dataclass(frozen=True)
class Options:
    """Options of this experiment."""

    drug: str = "citalopram"
    """The drug whose real places are marked, or DRUG@SOURCE (see `list --drugs`)."""


class Said(NamedTuple):
    """Occupancy by the exact law and by each formula."""

    exact: float
    hyperbola: float
    gaddum: float
    morrison: float

    def errors(self) -> list[float]:
        """Formula minus exact law, in points: hyperbola, Gaddum, Morrison."""
        return [100 * (said - self.exact) for said in self[1:]]


class Panel(NamedTuple):
    """One map: its axes, the formula it judges, and how it is computed."""

    name: str
    title: str
    x: str
    y: str
    formula: str
    said: Callable[[float, float], Said]
    xs: tuple[float, float, int]
    ys: tuple[float, float, int]
    caption: str


class Seen(NamedTuple):
    """One simulated place on a map."""

    panel: str
    x: float
    y: float
    estimate: Estimate
    said: Said


# --- the formulas and the laws, as functions of a map's two numbers -------------------------------


def _chosen(choice: theory.FormulaChoice) -> Said:
    return Said(choice.occupancy, *(formula.occupancy for formula in choice.formulas))


def closed(sites: int, copies: int, crowding: float) -> Said:
    """A closed volume in which the sites are ``crowding`` times Kd."""
    volume = sites / (crowding * KD_NM * units.MOLECULES_PER_NM_UM3)
    return _chosen(theory.which_formula(sites, volume, KD_NM, copies=copies))


def depleted(drug: float, crowding: float) -> Said:
    """Panel a: total drug and total sites, both in units of Kd; many copies of each."""
    unit = LARGE / min(drug, crowding)  # molecules in Kd x volume
    return closed(round(unit * crowding), round(unit * drug), round(unit * crowding) / unit)


def few(copies: float, crowding: float) -> Said:
    """Panel b: as many sites as molecules of drug."""
    return closed(round(copies), round(copies), crowding)


def competing(drug: float, serotonin: float) -> Said:
    """Panel c: free drug in units of Ki, free serotonin in units of Km."""
    return _chosen(
        theory.which_formula(
            1, 1.0, KD_NM, concentration_nM=drug * KD_NM, serotonin_nM=serotonin * KM_NM,
            km_nM=KM_NM,
        )
    )  # fmt: skip


@functools.cache
def lone_pair(resistance: float | None) -> theory.LonePair:
    """Panel d: one molecule in the volume is Kd; diffusion as slow as the ratio of resistances says
    (None: one hop a second).
    """
    # Linear algebra makes this ratio, and it decides a simulation: rounded, as are the times below.
    hops = (
        1.0
        if resistance is None
        else rounded(lone_pair(None).resistance_ratio / resistance, SOLVED)
    )
    return theory.LonePair(SIDE, SIDE, (SIDE // 2,) * 2, hops, KOFF * SIDE**2, KOFF)


def _well_mixed(exact: float, time: float) -> Said:
    """The time course of one molecule and one site by formulas that know of no space."""
    tau = 1 / (2 * KOFF)  # k_obs = k_on C + k_off, C = Kd
    simple = float(theory.occupancy_at(time * tau, 0.5, 1 / tau))
    quadratic = float(theory.mass_action_transient(time * tau, 1, 1, KOFF, KOFF))
    return Said(exact, simple, simple, quadratic)


def spread(resistance: float, time: float) -> Said:
    """Panel d: time in units of the relaxation time of a well-mixed place."""
    pair = lone_pair(resistance)
    return _well_mixed(float(pair.occupancy_at(time / pair.observed_rate)), time)


def bursting(burst: float, mean: float) -> Said:
    """Panel e: what one burst adds, and the mean, both in units of Km; the burst is rounded to
    whole molecules. The drug is such that by Gaddum's formula it would hold half.
    """
    size = max(1, round(burst * COPIES_AT_KM))
    bursts_per_s = CLEARANCE * mean * COPIES_AT_KM / size
    kon_pair, off = (KOFF_S + KCAT) / COPIES_AT_KM, SLOW * CLEARANCE
    exact = theory.burst_competition(
        size, bursts_per_s, CLEARANCE, kon_pair, KOFF_S, KCAT, (1 + mean) * off, off
    )
    load = exact.mean_free / COPIES_AT_KM
    gaddum = float(theory.gaddum(1 + mean, 1.0, load, 1.0))
    return Said(exact.drug, float(theory.occupancy(1 + mean, 1.0)), gaddum, gaddum)


PANELS = {
    "a": Panel(
        "depletion", "a  Depletion", "drug added / Kd", "sites / Kd  (same volume)",
        "the hyperbola", depleted, (-1, 3, 61), (-2, 3, 61),
        "In a closed volume the hyperbola on the drug added says too much once sites exceed a few "
        "hundredths of Kd; use Morrison. In vivo blood holds the free drug: read C as free drug.",
    ),
    "b": Panel(
        "copies", "b  Few copies", "sites = molecules of drug", "sites / Kd  (same volume)",
        "Morrison", few, (0, 3.5, 0), (-1, 2, 41),
        "Morrison's quadratic treats numbers as if they did not fluctuate, and says too little, "
        "by a point below 25 copies. A varicosity has enough; 1 µm³ of cerebellum has not.",
    ),
    "c": Panel(
        "serotonin", "c  Serotonin", "free drug / Ki", "free serotonin / Km",
        "the hyperbola", competing, (-2, 2.5, 61), (-2.5, 2, 61),
        "A Ki measured without serotonin does not account for it: from S = 0.04 Km the hyperbola "
        "is off by a point. At rest, 2.8 or 65 nM by method, that is 0.3 or 6 points; use Gaddum.",
    ),
    "d": Panel(
        "diffusion", "d  Slow diffusion", "time to reach the site / time to bind if well mixed",
        "time / relaxation time", "the time course", spread, (-6, 2, 65), (-1.3, 1.7, 41),
        "Equilibrium does not depend on diffusion, but the way there does: binding takes 1 + ratio "
        "times as long, as molecules that let go bind again. At marked synapses nothing is seen.",
    ),
    "e": Panel(
        "bursts", "e  Bursts of serotonin", "serotonin added by one burst / Km",
        "mean serotonin / Km",
        "Gaddum", bursting, (-1.7, 1.3, 21), (-2, 0.5, 15),
        "Between bursts the sites are the drug's, so Gaddum with the mean of S says too little "
        "drug. It takes bursts of Km and a mean above 0.1 Km: nothing is seen at rest.",
    ),
}  # fmt: skip
JUDGED = {"the hyperbola": 1, "Gaddum": 2, "Morrison": 3, "the time course": 1}  # place in Said


def axes_of(key: str, quick: bool) -> tuple[list[float], list[float]]:
    """The grid of a map; coarser in quick runs."""
    panel = PANELS[key]
    thin = 2 if quick else 1
    x, y = (np.logspace(low, high, max(n, 1) // thin + 1) for low, high, n in (panel.xs, panel.ys))
    if key == "b":
        x = np.unique(np.round(np.logspace(0, panel.xs[1], 60 // thin)))
    if key == "e":  # whole molecules
        x = np.unique(np.maximum(1, np.round(x * COPIES_AT_KM))) / COPIES_AT_KM
    return x.tolist(), y.tolist()


# --- simulations ----------------------------------------------------------------------------------


def long_average(
    synapse: Scenario, relaxation_s: float, batch_s: float, seed: int, replicate: int
) -> Estimate:
    """Occupancy by the drug in one long run, its error from 40 batches.

    A batch is at least 50 relaxation times long, so that the correlation of neighbours makes the
    error at most 1 % too small. Read once in a relaxation time.
    """
    every = max(1, round(relaxation_s / synapse.dt_s))
    readings = math.ceil(max(batch_s, 50 * relaxation_s) / (every * synapse.dt_s))
    from synapse_abm import SynapseModel  # brings Mesa, which nothing else here needs

    model = SynapseModel(synapse, rng=seed, replicate=replicate)
    model.run(20 * every, every=0)
    series = model.run(BATCHES * readings * every, every=every)
    batches = series.occupancy("SERT", "drug").reshape(BATCHES, readings).mean(axis=1)
    return statistics.from_replicates(batches)


def closed_place(sites: int, copies: int, crowding: float) -> Scenario:
    """A well-mixed closed volume (a, b)."""
    volume = sites / (crowding * KD_NM * units.MOLECULES_PER_NM_UM3)
    drug = Ligand(count=copies, binding={"SERT": Kinetics(kd_nM=KD_NM, koff_per_s=KOFF)})
    return Scenario(
        name="limits",
        grid=Grid.well_mixed(volume),
        targets={"SERT": Target(sites=sites)},
        ligands={"drug": drug},
        dt_s=1 / KOFF,  # any step is exact in one cell
    )


def competition_place(drug: float, serotonin: float, sites: int = 100) -> Scenario:
    """Drug from a reservoir, serotonin clamped and taken up (c); both leave equally fast."""
    leaves = KOFF_S + KCAT
    constant = Ligand(
        role="serotonin", clamped_nM=serotonin * KM_NM,
        binding={"SERT": Kinetics(kon_per_nM_s=leaves / KM_NM, koff_per_s=KOFF_S, kcat_per_s=KCAT)},
    )  # fmt: skip
    exchanged = Ligand(
        reservoir=Reservoir(concentration_nM=drug * KD_NM, exchange_per_s=leaves),
        binding={"SERT": Kinetics(kd_nM=KD_NM, koff_per_s=leaves)},
    )
    return Scenario(
        name="limits",
        grid=Grid.well_mixed(50 / (drug * KD_NM * units.MOLECULES_PER_NM_UM3)),  # 50 free ones
        targets={"SERT": Target(sites=sites)},
        ligands={"serotonin": constant, "drug": exchanged},
        dt_s=1 / leaves,
    )


def burst_place(burst: float, mean: float) -> Scenario:
    """One transporter, a clamped drug, and serotonin in batches (e), as in `bursting`."""
    size = max(1, round(burst * COPIES_AT_KM))
    off = SLOW * CLEARANCE
    released = Ligand(
        role="serotonin",
        batches=(Batch(size=size, rate_per_s=CLEARANCE * mean * COPIES_AT_KM / size),),
        degradation_per_s=CLEARANCE,
        metabolism_per_s=100.0,  # what was taken up is gone
        binding={
            "SERT": Kinetics(
                kon_per_nM_s=(KOFF_S + KCAT) / KM_NM, koff_per_s=KOFF_S, kcat_per_s=KCAT
            )
        },
    )
    drug = Ligand(
        clamped_nM=(1 + mean) * KD_NM, binding={"SERT": Kinetics(kd_nM=KD_NM, koff_per_s=off)}
    )
    return Scenario(
        name="limits",
        grid=Grid.well_mixed(COPIES_AT_KM / (KM_NM * units.MOLECULES_PER_NM_UM3)),
        targets={"SERT": Target(sites=1)},
        ligands={"serotonin": released, "drug": drug},
        dt_s=1 / off,
    )


def lone_place(pair: theory.LonePair, dt_s: float) -> Scenario:
    """One molecule and one site on a grid (d)."""
    grid = Grid(width=SIDE, height=SIDE, spacing_um=0.1, depth_um=1.0)
    kd = 1 / grid.molecules_per_nM
    drug = Ligand(
        count=1,
        diffusion_um2_per_s=pair.hop_rate * grid.spacing_um**2,
        binding={"SERT": Kinetics(kd_nM=kd, koff_per_s=KOFF)},
    )
    return Scenario(
        name="limits", grid=grid, targets={"SERT": Target(cells=(pair.site,))},
        ligands={"drug": drug}, dt_s=dt_s,
    )  # fmt: skip


#: Simulated places. a: sites, molecules, sites/Kd. b: copies, sites/Kd. c, e: x and y of the map.
#: d: resistances, and times in relaxation times.
A = ((100, 1000, 0.1), (100, 400, 0.03), (200, 60, 1.0), (100, 1000, 1.0), (200, 100, 10.0),
     (200, 20, 30.0), (100, 50, 0.3), (300, 600, 3.0))  # fmt: skip
B = ((1, 1.0), (4, 1.0), (20, 1.0), (100, 1.0), (1, 10.0), (4, 30.0), (50, 3.0), (1, 0.2),
     (10, 0.3))  # fmt: skip
C = ((0.1, 0.1), (1.0, 0.1), (1.0, 1.0), (10.0, 1.0), (10.0, 10.0), (100.0, 10.0), (4.0, 0.02))
D, D_TIMES = (0.01, 0.3, 10.0), (0.5, 1.0, 3.0)
NOISES = (0.01, 0.3, 2.0, 10.0)
E = ((0.2, 0.1), (0.2, 1.0), (1.0, 0.1), (1.0, 1.0), (3.0, 0.1), (3.0, 1.0), (15.0, 1.0))


def simulate(seed: int, quick: bool, progress: Progress) -> list[Seen]:
    """Every simulated place of every map."""
    work, runs = (0.06, 300) if quick else (1.0, 2500)
    steady: list[tuple[str, float, float, Said, Scenario, float, float]] = []
    for sites, copies, y in A:
        said, place = closed(sites, copies, y), closed_place(sites, copies, y)
        steady.append(("a", y * copies / sites, y, said, place, 1 / KOFF, 4e5 / sites))
    for n, y in B:
        steady.append(("b", float(n), y, few(n, y), closed_place(n, n, y), 1 / KOFF, 4e5 / n))
    for x, y in C:
        tau = 1 / (KOFF_S + KCAT)
        steady.append(("c", x, y, competing(x, y), competition_place(x, y), tau, 1e3))
    for x, y in E:
        tau = 1 / (SLOW * CLEARANCE)
        steady.append(("e", x, y, bursting(x, y), burst_place(x, y), tau, 4e5 / y))
    tasks: list[tuple[Any, ...]] = [
        ("average", place, tau, work * seconds / BATCHES, seed, number)
        for number, (*_, place, tau, seconds) in enumerate(steady)
    ]
    tasks += [
        ("course", resistance, runs, seed, 1000 * (len(steady) + number))
        for number, resistance in enumerate(D)
    ]
    results: list[Any] = dose_response.series(computed, tasks, progress, compiled=False)
    seen = [
        Seen(key, x, y, estimate, said)
        for (key, x, y, said, *_), estimate in zip(steady, results, strict=False)
    ]
    return seen + [moment for course in results[len(steady) :] for moment in course]


def computed(what: str, *arguments: Any) -> Estimate | list[Seen] | tuple[Estimate, float] | Table:
    """One task, by the name of what is computed: a worker process finds the function so."""
    work: dict[str, Callable[..., Any]] = {
        "average": long_average, "course": time_course, "noise": noise, "map": _map,
    }  # fmt: skip
    return work[what](*arguments)


def time_course(resistance: float, replicates: int, seed: int, first: int) -> list[Seen]:
    """(d) Share of replicates bound at each time; exact is the law of the step that was taken.

    The step is 0.05 over the in-cell rate. Positions are frozen within it; against continuous time,
    which the map shows, that makes less than 0.4 points.
    """
    pair = lone_pair(resistance)
    tau = 1 / rounded(pair.observed_rate, SOLVED)
    shortest = min(D_TIMES) * tau
    every = math.ceil(shortest * pair.rate_in_cell / 0.05)
    synapse = lone_place(pair, shortest / every)
    records = [round(time / min(D_TIMES)) for time in D_TIMES]
    bound = np.empty((replicates, len(records)))
    for r in range(replicates):
        place = Simulation(synapse, seed, first + r)
        series = place.run(records[-1] * every, every=every)
        bound[r] = series.bound("SERT", "drug")[np.array(records) - 1]
    s = synapse.adjustments["SERT", "drug"].s  # the engine adjusts both rates to its step
    adjusted = replace(pair, rate_in_cell=s * pair.rate_in_cell, koff=s * pair.koff)
    law = adjusted.stepped_occupancy(synapse.dt_s, records[-1] * every)[np.array(records) * every]
    seen = []
    for column, (time, p) in enumerate(zip(D_TIMES, law.tolist(), strict=True)):
        estimate = dose_response.snapshot(int(bound[:, column].sum()), replicates, p)
        seen.append(Seen("d", resistance, time, estimate, _well_mixed(p, time)))
    return seen


NOISE_BATCHES = 120


def noise(resistance: float, quick: bool, seed: int, replicate: int) -> tuple[Estimate, float]:
    """(d) Variance of a long average of one site, over that of a well-mixed place; the exact ratio.

    An average is 30 slowed relaxation times long; the law is that of just such an average. Means so
    long are near normal, and their variance is known to sqrt(2 / (n - 1)) of itself.
    """
    pair = lone_pair(resistance)
    batches = NOISE_BATCHES // 3 if quick else NOISE_BATCHES
    tau = 1 / rounded(pair.observed_rate, SOLVED)
    window = 30 * (1 + resistance) * tau
    synapse = lone_place(pair, 0.3 / pair.rate_in_cell)
    every = max(1, round(0.05 * tau / synapse.dt_s))
    readings = round(window / (every * synapse.dt_s))
    place = Simulation(synapse, seed, replicate)
    place.run(readings * every // 2)
    series = place.run(batches * readings * every, every=every)
    means = series.occupancy("SERT", "drug").reshape(batches, readings).mean(axis=1)
    mixed = float(theory.time_average_variance(window, 1, 0.5, 1 / pair.observed_rate))
    exact = pair.time_average_variance(window) / mixed
    se = exact * math.sqrt(2 / (batches - 1))
    return Estimate(float(means.var(ddof=1)) / mixed, se), exact


# --- real places ----------------------------------------------------------------------------------


class Landmark(NamedTuple):
    """A real synapse or a voxel of a tomograph on a map."""

    panel: str
    label: str
    kind: str  # synapse | voxel
    x: float
    y: float
    status: str
    source: str
    side: str = "right"  # where its label stands: see SIDES


BMAX = "Backstrom 1989 Brain Res 486:261 (Bmax, fmol/mg protein)"
MADE_NM = "x 100 mg protein per g (assumed), in the 0.2 outside cells (Nicholson & Sykova 1998)"
MATHEWS = "Mathews 2004 J Neurosci Methods (no-net-flux, mouse striatum; citation unconfirmed)"
ABDALLA = "Abdalla 2017 Anal Chem 89:9703 (FSCAV, mouse hippocampus)"
BUNIN = "Km 170 nM: Bunin 1998, as quoted in models"
FSCV = "Mol Psychiatry 2025, s41380-025-02930-4 (FSCV peak in slices, 25.67 nM)"


def sites_nM(fmol_per_mg: float) -> float:
    """SERT per volume outside cells, nM, from Bmax: 100 mg protein per g, 0.2 of it outside."""
    return fmol_per_mg * 100 / 0.2 / 1000


def landmarks(drug: str) -> list[Landmark]:
    """Where real places lie, with the status of each number."""
    record = dose_response.inhibitor(drug, ["SERT"], "--drug")
    rates = record.kinetics("SERT")
    kd = rates.koff / rates.kon
    share = Grid()
    dense, sparse = sites_nM(500), sites_nM(30)
    mine = 1000 / share.molecules_per_nM
    ki = f"{record.full_name} Kd {kd:.3g} nM"

    def filled(sites: float) -> float:  # total drug that holds 80 %, in units of Kd
        return 0.8 * sites / kd + 4

    synapse = Ligand(
        count=1, diffusion_um2_per_s=record.diffusion_um2_per_s, binding={"SERT": rates}
    )

    def resistance(grid: Grid) -> float:
        place = Scenario(
            grid=grid, targets={"SERT": Target(sites=1000)}, ligands={"drug": synapse}, dt_s=1.0
        )
        return cost.mixing_ratio(place, "drug", "SERT")

    cleft = share.model_copy(update={"depth_um": 0.02})
    per_tissue = f"{BMAX} {MADE_NM}"
    in_share = f"1000 SERT in 41 um3; {ki}"
    rows = [
        ("a", "varicosity's share", "synapse", filled(mine), mine / kd, "assumed", in_share),
        ("a", "PET voxel, hypothalamus", "voxel", filled(dense), dense / kd, "derived",
         f"500; {per_tissue}; {ki}", "left"),
        ("a", "PET voxel, cerebellum", "voxel", filled(sparse), sparse / kd, "derived",
         f"30; {per_tissue}; {ki}"),
        ("b", "varicosity's share", "synapse", 1000.0, mine / kd, "assumed", in_share, "left"),
        ("b", "1 µm³ of cerebellum", "synapse", sparse * units.MOLECULES_PER_NM_UM3, sparse / kd,
         "derived", f"30; {per_tissue}; {ki}"),
        ("b", "PET voxel: 10⁹ →", "voxel", 2400.0, sparse / kd, "derived",
         f"8 mm3, beyond the right edge; 30; {per_tissue}", "below"),
        ("c", "no-net-flux 2.8 nM", "synapse", 4.0, 2.8 / KM_NM, "published",
         f"{MATHEWS}; {BUNIN}"),
        ("c", "evoked peak 26 nM", "synapse", 4.0, 25.67 / KM_NM, "published", f"{FSCV}; {BUNIN}"),
        ("c", "PET voxel: 65 nM?", "voxel", 4.0, 64.9 / KM_NM, "published",
         f"{ABDALLA}, 23 times the no-net-flux value; {BUNIN}"),
        ("d", "varicosity", "synapse", resistance(share), 1.0, "derived",
         f"1000 SERT on 64 x 64 cells, 1 um deep (assumed); {record.full_name}", "above"),
        ("d", "cleft 20 nm deep", "synapse", resistance(cleft), 1.0, "assumed",
         f"the same SERT in gaps of 20 nm (Nicholson 2011); {record.full_name}", "under"),
        ("d", "PET voxel", "voxel", resistance(share), 20.0, "assumed",
         "the same tissue, minutes to hours after the dose"),
        ("e", "a spike, whole share", "synapse", 93.7 / share.molecules_per_nM / KM_NM, 5 / KM_NM,
         "derived", f"94 molecules in 41 um3, mean 5 nM (calibrated); {BUNIN}", "under"),
        ("e", "vesicle of 4700", "synapse", 4700 / share.molecules_per_nM / KM_NM, 5 / KM_NM,
         "unverified", f"into 41 um3; Bruns & Jahn 1995 Nature 377:62 (leech), not read; {BUNIN}",
         "above"),
        ("e", "PET voxel, evoked", "voxel", 25.67 / KM_NM, 64.9 / KM_NM, "published",
         f"average over many shares: burst {FSCV}; mean {ABDALLA}", "above"),
    ]  # fmt: skip
    return [Landmark(*row) for row in rows]


@dataclass(frozen=True)
class Limits:
    """What the figures show.

    Attributes
    ----------
    maps
        By panel: x, y, and error of the formula that is judged, in points, shape (y, x).
    seen
        Simulated places.
    noises
        Resistance ratio, noise of a long average over that of a well-mixed place, and the exact
        ratio.
    landmarks
        Real places.
    """

    maps: dict[str, tuple[Any, Any, Any]]
    seen: list[Seen]
    noises: list[tuple[float, Estimate, float]]
    landmarks: list[Landmark]


# --- results --------------------------------------------------------------------------------------


def run(seed: int, quick: bool, progress: Progress, **options: Any) -> Result:
    """Compute the five maps, simulate places on them, and hold these against the exact laws."""
    drug = Options(**options).drug
    real = landmarks(drug)
    seen = simulate(seed, quick, progress)
    others = [("noise", r, quick, seed, 100_000 + n) for n, r in enumerate(NOISES)]
    results: list[Any] = dose_response.series(computed, others, progress, compiled=False)
    noises = [(r, *place) for r, place in zip(NOISES, results, strict=True)]
    maps: list[Any] = sweep.map_tasks(
        computed, [("map", key, quick) for key in PANELS], names=[f"map {key}" for key in PANELS],
        progress=progress, label="maps",
    )  # fmt: skip
    tests = len(seen) + len(noises)
    checks = [_check(place, tests) for place in seen]
    checks += [
        Check.by_student(
            f"d: noise of a long average over well-mixed, resistance ratio {resistance:g}",
            estimate, exact, source="modes of the chain (theory.LonePair)",
            false_alarm=FALSE_ALARM, tests=tests, solved=True,
        )
        for resistance, estimate, exact in noises
    ]  # fmt: skip
    points = _point_table(seen, checks)
    safe = _safe_table(maps)
    known = {"drug": pharmacology.ligand(drug).full_name, "km_nM": KM_NM, "quick": quick}
    return Result(
        tables=[*maps, points, _noise_table(noises, checks[len(seen) :]), safe,
                _landmark_table(real)],
        checks=checks,
        text=_text(safe, points),
        verdict=_verdict(checks, safe),
        scenario=known,
        data=Limits(
            {key: _grid(table, _judged(key)) for key, table in zip(PANELS, maps, strict=True)},
            seen, noises, real,
        ),
        papers=["Gaddum 1937, J Physiol 89:7P", "Morrison 1969, Biochim Biophys Acta 185:269",
                "Collins & Kimball 1949, J Colloid Sci 4:425",
                "Rice 1944, Bell Syst Tech J 23:282", *pharmacology.ligand(drug).sources(),
                BMAX, MATHEWS, ABDALLA, FSCV, "Bunin 1998, J Neurochem 70:1077"],
    )  # fmt: skip


LAWS = {
    "a": "law of finite copies in a closed volume",
    "b": "law of finite copies in a closed volume",
    "c": "Gaddum 1937, exact for independent sites",
    "d": "law of hop, then react (theory.LonePair)",
    "e": "chain of free serotonin and site (theory.burst_competition)",
}


def _check(place: Seen, tests: int) -> Check:
    panel, estimate, exact = PANELS[place.panel], place.estimate, place.said.exact
    name = f"{place.panel}: occupancy at {panel.x} {place.x:.4g}, {panel.y} {place.y:.4g}"
    law: dict[str, Any] = {"source": LAWS[place.panel], "solved": True}
    if place.panel == "d":  # each run ends occupied or not: its law is binomial, not normal
        runs = round(exact * (1 - exact) / estimate.se**2)
        return dose_response.binomial_check(
            name, round(estimate.value * runs), runs, exact, false_alarm=FALSE_ALARM / tests, **law
        )
    return Check.by_student(name, estimate, exact, false_alarm=FALSE_ALARM, tests=tests, **law)


ERRORS = ("hyperbola_error_points", "gaddum_error_points", "morrison_error_points")


def _map(key: str, quick: bool) -> Table:
    """Exact laws come from solvers, and an error is the small difference of two numbers near one:
    it is written to a thousandth of a point, below which processors disagree.
    """
    xs, ys = axes_of(key, quick)
    rows = [(x, y, round(said.exact, 5), *(round(float(error), 3) for error in said.errors()))
            for y in ys for x in xs for said in [PANELS[key].said(x, y)]]  # fmt: skip
    solved = ("exact", *ERRORS)
    name = f"map_{key}_{PANELS[key].name}"
    return Table.of_rows(name, " ".join(("x", "y", *solved)), rows, solved)


def _grid(table: Table, column: str) -> tuple[Any, Any, Any]:
    """Axes of a map and one column of it, shape (y, x)."""
    x, y = np.unique(table["x"]), np.unique(table["y"])
    return x, y, np.array(table[column]).reshape(y.size, x.size)


def _judged(key: str) -> str:
    return ERRORS[JUDGED[PANELS[key].formula] - 1]


def _point_table(seen: list[Seen], checks: list[Check]) -> Table:
    columns: dict[str, list[Any]] = {
        "panel": [place.panel for place in seen],
        "x": [place.x for place in seen],
        "y": [place.y for place in seen],
        "occupancy": [place.estimate.value for place in seen],
        "se": [place.estimate.se for place in seen],
        "expected": [place.said.exact for place in seen],
        "z": [check.z for check in checks[: len(seen)]],
    }
    for number, name in enumerate(ERRORS, 1):
        columns[name] = [100 * (place.said[number] - place.estimate.value) for place in seen]
    columns["error_se_points"] = [100 * place.estimate.se for place in seen]
    return Table("points", columns, solved=("expected", "z", *ERRORS))


def _noise_table(noises: list[tuple[float, Estimate, float]], checks: list[Check]) -> Table:
    return Table(
        "noise",
        {
            "resistance_ratio": [r for r, _, _ in noises],
            "noise_over_well_mixed": [estimate.value for _, estimate, _ in noises],
            "se": [estimate.se for _, estimate, _ in noises],
            "expected": [exact for _, _, exact in noises],
            "z": [check.z for check in checks],
            "expected_long_time": [
                lone_pair(r).zero_frequency_noise * 2 * lone_pair(r).observed_rate
                for r, _, _ in noises
            ],
        },
        solved=("expected", "z", "expected_long_time"),
    )


def _landmark_table(real: list[Landmark]) -> Table:
    names = Landmark._fields
    return Table(
        "landmarks", {name: [getattr(landmark, name) for landmark in real] for name in names}
    )


SAFE = {  # which axis decides, and whether small or large is safe
    "a": ("y", "sites / Kd below"), "b": ("x", "copies above"), "c": ("y", "serotonin / Km below"),
    "d": ("x", "resistance ratio below"), "e": ("x", "burst / Km below"),
}  # fmt: skip


def _safe_table(maps: list[Table]) -> Table:
    """How far a formula may be used: where its largest error over the other axis stays within each
    tolerance (interpolated between grid points; empty if nowhere or everywhere on the map).
    """
    rows = []
    for key, table in zip(PANELS, maps, strict=True):
        axis, words = SAFE[key]
        x, y, error = _grid(table, _judged(key))
        worst = np.abs(error).max(axis=0 if axis == "x" else 1)
        along = x if axis == "x" else y
        for tolerance in TOLERANCES:
            at = _crossing(along, worst, tolerance, rising=key != "b")
            rows.append((key, PANELS[key].formula, words, tolerance, at))
    return Table.of_rows("safe", "panel formula holds_for within_points limit", rows, ("limit",))


def _crossing(along: Any, worst: Any, tolerance: float, rising: bool) -> float | None:
    """Where the largest error first passes the tolerance, coming from the safe side."""
    a, w = (along, worst) if rising else (along[::-1], worst[::-1])
    beyond = np.flatnonzero(w > tolerance)
    if beyond.size == 0 or beyond[0] == 0:
        return None
    k = int(beyond[0])
    share = (tolerance - w[k - 1]) / (w[k] - w[k - 1])
    return float(np.exp(np.log(a[k - 1]) + share * np.log(a[k] / a[k - 1])))


def _text(safe: Table, points: Table) -> str:
    lines = []
    for number, key in enumerate(PANELS):
        mine = safe["limit"][3 * number : 3 * number + 3]
        z = [abs(v) for v, k in zip(points["z"], points["panel"], strict=True) if k == key]
        shown = ["-" if at is None else f"{at:.2g}" for at in mine]
        panel = PANELS[key]
        lines.append([f"{key} {panel.name}", panel.formula, SAFE[key][1], *shown, str(len(z)),
                      f"{max(z):.2f}"])  # fmt: skip
    table = text_table(
        ["", "formula", "holds for", "1 point", "5", "10", "simulated", "largest |z|"], lines
    )
    said = [f"({key}) " + PANELS[key].caption for key in PANELS]
    return "\n".join([table, "", *said])


def _verdict(checks: list[Check], safe: Table) -> str:
    answer = "agrees" if all(check.passed for check in checks) else "DISAGREES"
    worst = max(abs(check.z or 0.0) for check in checks)
    safe_at = {k: at for k, t, at in zip(safe["panel"], safe["within_points"], safe["limit"],
                                         strict=True) if t == 1.0}  # fmt: skip
    return (
        f"Simulation {answer} with the exact laws at {len(checks)} places (largest |z|"
        f" {worst:.2f}); within one point the hyperbola needs sites below {safe_at['a']:.2g} Kd"
        f" and serotonin below {safe_at['c']:.2g} Km, Morrison {safe_at['b']:.2g} copies, Gaddum"
        f" bursts below {safe_at['e']:.2g} Km."
    )


def figure(result: Result) -> dict[str, Figure]:
    """One map for a class; all five, and the noise, for experts."""
    from synapse_abm import plotting

    return {
        "": plotting.styled(_draw)(result.data),
        "maps": plotting.styled(_draw_maps)(result.data),
    }


MARKS = {"synapse": ("*", "#009E73", 17), "voxel": ("D", "#CC79A7", 10)}
SIDES = {"right": ((11, 0), "left"), "left": ((-11, 0), "right"), "above": ((0, 15), "center"),
         "below": ((10, -16), "right"), "under": ((-2, -16), "left")}  # fmt: skip
#: Where the lines of 1, 5 and 10 points carry their numbers: clear of points and names.
NUMBERED = {
    "a": ((0.6, 0.07), (0.6, 0.37), (1.2, 0.9)),
    "b": ((24.0, 60.0), (5.2, 4.0), (2.4, 5.0)),
    "c": ((0.04, 0.8), (0.1, 0.8), (0.13, 5.0)),
    "d": ((0.2, 0.11), (2.0, 0.18), (2.0, 0.37)),
    "e": ((9.0, 0.06), (4.0, 0.5), (10.0, 0.8)),
}
SHADES = ("#FFFFFF", "#FBE9B7", "#F5B95F", "#D9703A")  # below 1, 5, 10 points, and above
TAUGHT = "c"


def _draw(limits: Limits) -> Figure:
    """Competition: what every user of an affinity meets."""
    from synapse_abm import plotting as plot

    title = "An affinity alone misleads once serotonin exceeds a few hundredths of its Km"
    fig, (ax,) = plot.slide(height=6.4, title=title)
    _draw_map(ax, TAUGHT, limits)
    for place in limits.seen:
        if place.panel == TAUGHT:
            value, se = _error(place)
            words = f"{value:+.1f} ± {se:.1f}".replace("-", "\N{MINUS SIGN}")
            side = "right" if place.x > 30 else "center"
            plot.named(ax, (place.x, place.y), words, plot.BLUE, (0, 13), ha=side)
    ax.set_title("points of occupancy by which C/(C + Ki) says too much")
    ax.set_xlabel("free drug / Ki  (ratio)")
    ax.set_ylabel("free serotonin / Km  (ratio)")
    _legend(fig, ncols=2)
    return fig


def _draw_maps(limits: Limits) -> Figure:
    from synapse_abm import plotting as plot

    title = "Where each textbook formula errs, in points of occupancy"
    fig, axes = plot.panel_table(3, 2, 13.0, title)
    for key, ax in zip(PANELS, (*axes[:4], axes[5]), strict=True):
        _draw_map(ax, key, limits)
        panel = PANELS[key]
        ax.set_title(f"{panel.title}:\nerror of {panel.formula}", fontsize=12)
        ax.set_xlabel(textwrap.fill(panel.x, 34))
        ax.set_ylabel(panel.y)
    _draw_noise(axes[4], limits.noises)
    _legend(fig, ncols=2)
    return fig


def _error(place: Seen) -> tuple[float, float]:
    """Error of the formula that its map judges, and its standard error, in points."""
    said = place.said[JUDGED[PANELS[place.panel].formula]]
    return 100 * (said - place.estimate.value), 100 * place.estimate.se


def _draw_map(ax: Axes, key: str, limits: Limits) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    from synapse_abm import plotting as plot

    x, y, error = limits.maps[key]
    ax.set(xscale="log", yscale="log")
    ax.contourf(x, y, np.abs(error), levels=[-1, *TOLERANCES, 1e3], colors=SHADES)
    lines = ax.contour(x, y, np.abs(error), levels=TOLERANCES, colors="black", linewidths=1.2)
    for level, at in zip(TOLERANCES, NUMBERED[key], strict=True):
        ax.clabel(lines, [level], fmt=f"{level:g}", fontsize=plot.FONT, manual=[at])
    ax.set_xlim(x[0], x[-1])
    ax.set_ylim(y[0], y[-1])
    ax.grid(visible=False)
    for axis, edges in ((ax.xaxis, x), (ax.yaxis, y)):
        wide = math.log10(edges[-1] / edges[0]) > 5
        axis.set_major_locator(LogLocator(100 if wide else 10))
        axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
        axis.set_minor_locator(NullLocator())
    for place in limits.seen:
        if place.panel == key:  # filled by its own error: it must look like its surroundings
            shade = SHADES[int(np.searchsorted(TOLERANCES, abs(_error(place)[0])))]
            ax.plot([place.x], [place.y], "o", color=shade, ms=9, mec=plot.BLUE, mew=2, zorder=7,
                    clip_on=False)  # fmt: skip
    for mark in limits.landmarks:
        if mark.panel == key:
            shape, colour, size = MARKS[mark.kind]
            ax.plot([mark.x], [mark.y], shape, color=colour, ms=size, mec="black", zorder=6)
            offset, align = SIDES[mark.side]
            plot.named(ax, (mark.x, mark.y), mark.label, offset=offset, ha=align, zorder=6)


def _draw_noise(ax: Axes, noises: list[tuple[float, Estimate, float]]) -> None:
    from synapse_abm import plotting as plot

    fine = np.logspace(-2.5, 1.5, 25)
    exact = [lone_pair(r).zero_frequency_noise * 2 * lone_pair(r).observed_rate for r in fine]
    ax.plot(fine, exact, color=plot.BLACK, label="exact")
    plot.reference(ax, 1, "well-mixed formula", 0.02, ls="--")
    ratios, estimates = [r for r, _, _ in noises], [estimate for _, estimate, _ in noises]
    values, half = [e.value for e in estimates], [2 * e.se for e in estimates]
    plot.measured(ax, ratios, values, half, label="simulated,\n2 std. errors")
    ax.set(xscale="log", yscale="log", ylim=(0.6, 30))
    plot.log_concentration(ax, textwrap.fill(PANELS["d"].x, 34))
    ax.set_yticks([1, 3, 10, 30], ["1", "3", "10", "30"])
    ax.minorticks_off()
    ax.set_ylabel("noise / well-mixed noise  (ratio)")
    ax.set_title("d  Slow diffusion:\nnoise of a long average", fontsize=12)
    ax.legend(loc="upper left")


def _legend(fig: Figure, ncols: int) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    from synapse_abm import plotting as plot

    words = ("off by less than 1 point", "1 to 5 points", "5 to 10 points", "more than 10 points")
    patches = [Patch(fc=c, ec="black", label=w) for c, w in zip(SHADES, words, strict=True)]

    def mark(symbol: str, colour: str, size: int, label: str, edge: str = "black") -> Line2D:
        look: dict[str, Any] = {"ls": "", "ms": size, "mec": edge, "mew": 1.5}
        return Line2D([], [], marker=symbol, color=colour, label=label, **look)

    marks = [
        mark("o", "white", 9, "simulated, filled by its own error", plot.BLUE),
        mark(*MARKS["synapse"], "real synapse"),
        mark(*MARKS["voxel"], "voxel of a PET scan"),
    ]
    fig.legend(handles=[*patches, *marks], loc="outside lower center", ncols=ncols)


if __name__ == "__main__":
    from synapse_abm.cli import run_script

    run_script(__file__)
