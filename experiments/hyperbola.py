"""Does occupancy follow O = C/(C + Kd) when nobody writes it into the model?

Question
    Drug molecules enter a synapse from a reservoir, wander, bind to serotonin transporters (SERT)
    and let go again. Which share of the transporters is occupied, at twelve concentrations over
    four decades?
Method
    A slab of 24 x 24 cells with 200 SERT; real molecules, exchanged with a reservoir of
    concentration C. All sites start empty. Each concentration has 64 replicates with random numbers
    of their own; each replicate is run for 12 relaxation times, then read 4 times, one relaxation
    time apart. The error is the spread of the replicates, intervals and checks use Student's t with
    63 degrees of freedom.
Expected answer
    The hyperbola, half occupancy at C = Kd. It is exact here for any step, any diffusion and any
    number of molecules, because the reservoir keeps the free molecules Poisson and independent of
    the bound ones (Anderson, Craciun & Kurtz 2010, doi:10.1007/s11538-010-9517-4).
Run time
    About 3 s.
Source
    Hill 1909, J Physiol 39:361 (the hyperbola); affinities: ``synapse-abm list --drugs``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from synapse_abm import Scenario, Simulation, pharmacology, statistics, theory
from synapse_abm.core.arithmetic import all_rounded
from synapse_abm.core.errors import InputError
from synapse_abm.core.progress import Progress
from synapse_abm.core.text import text_table
from synapse_abm.runs import dose_response
from synapse_abm.runs.results import Check, Result, Table
from synapse_abm.synapse.scenario import Grid, Kinetics, Ligand, Reservoir, Target

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Powers differ in the last digit between processors, and a simulation amplifies that: so rounded.
CONCENTRATIONS_KD = np.array(all_rounded(np.logspace(-2, 2, 12)))
SITES = 200
REPLICATES = 64
BURN_IN, READINGS = 12, 4  # relaxation times
FALSE_ALARM = 1e-6  # over all points together
CELLS, SPACING_UM = 24, 0.25
COPIES_AT_KD = 50  # free molecules at C = Kd; the depth of the slab is chosen to make it so
EXCHANGE_PER_KOFF = 10.0  # at low concentration; assumed, the law does not depend on it


@dataclass(frozen=True)
class Options:
    """Options of this experiment."""

    drug: str = "citalopram"
    """A drug, or DRUG@SOURCE to choose another source of its affinity (see `list --drugs`)."""
    kd_nM: float | None = None
    """Another Kd at SERT, in nM, instead of the drug's own."""


def scenario(concentration_nM: float, kinetics: Kinetics, diffusion_um2_per_s: float) -> Scenario:
    """The synapse in contact with a reservoir of the drug.

    The step keeps both one molecule's binding rate in a site's cell and the relaxation rate near or
    below one per step: equilibrium is exact at any step, but a longer one takes longer to reach it.
    Exchange keeps up with binding at any concentration, so that the slab has filled when the
    burn-in, counted in relaxation times of binding, is over.
    """
    kd = kinetics.koff / kinetics.kon
    flat = Grid(width=CELLS, height=CELLS, spacing_um=SPACING_UM)
    grid = flat.model_copy(update={"depth_um": COPIES_AT_KD / (kd * flat.molecules_per_nM)})
    in_cell = grid.cells / COPIES_AT_KD  # in units of k_off
    relaxation = 1 + concentration_nM / kd  # rate, in units of k_off
    return Scenario(
        name="hyperbola",
        grid=grid,
        targets={"SERT": Target(sites=SITES)},
        ligands={
            "drug": Ligand(
                diffusion_um2_per_s=diffusion_um2_per_s,
                reservoir=Reservoir(
                    concentration_nM=concentration_nM,
                    exchange_per_s=(EXCHANGE_PER_KOFF + relaxation / 2) * kinetics.koff,
                ),
                binding={"SERT": kinetics},
            )
        },
        dt_s=min(1 / in_cell, 0.5 / relaxation) / kinetics.koff,
    )


def occupancy(synapse: Scenario, relaxation_s: float, seed: int, replicate: int) -> float:
    """Mean SERT occupancy of one replicate at equilibrium."""
    model = Simulation(synapse, seed, replicate)
    gap = max(1, math.ceil(relaxation_s / synapse.dt_s))
    model.run(BURN_IN * gap, every=0)
    return float(model.run(READINGS * gap, every=gap).occupancy("SERT", "drug").mean())


def run(seed: int, quick: bool, progress: Progress, **options: Any) -> Result:
    """Simulate all concentrations and hold them against the hyperbola."""
    chosen = Options(**options)
    kinetics, known = _binding(chosen.drug, chosen.kd_nM)
    kd = known["kd_nM"]
    diffusion = pharmacology.ligand(chosen.drug).diffusion_um2_per_s
    replicates = 16 if quick else REPLICATES
    tasks = list[tuple[Scenario, float, int, int]]()
    for ratio in CONCENTRATIONS_KD.tolist():
        synapse = scenario(ratio * kd, kinetics, diffusion)
        relaxation_s = 1 / (kinetics.koff * (1 + ratio))
        tasks += [(synapse, relaxation_s, seed, len(tasks) + r) for r in range(replicates)]
    groups = dose_response.replicated(occupancy, tasks, replicates, progress)
    points = [
        (ratio * kd, statistics.from_replicates(runs))
        for ratio, runs in zip(CONCENTRATIONS_KD.tolist(), groups, strict=True)
    ]
    return _result(known | {"replicates": replicates, "sites": SITES}, points)


def _binding(drug: str, kd_nM: float | None) -> tuple[Kinetics, dict[str, Any]]:
    """Rate constants at SERT, and what the output says of them."""
    record = pharmacology.ligand(drug)
    affinity, kinetics = record.affinity("SERT"), record.kinetics("SERT")
    if kinetics.kcat_per_s > 0:
        raise InputError("--drug", drug, "a drug, which binds and stays outside", "try citalopram")
    known = {
        "ligand": record.full_name,
        "kd_nM": kinetics.koff / kinetics.kon,
        "kd_source": f"{affinity.source}, {affinity.status}",
        "papers": list(record.sources()),
    }
    if kd_nM is None:
        return kinetics, known
    if not 1e-6 <= kd_nM <= 1e9:  # also refuses nan
        raise InputError("--kd-nM", kd_nM, "a number from 1e-6 to 1e9, in nM")
    own = Kinetics(kd_nM=kd_nM, kon_per_nM_s=kinetics.kon)
    return own, known | {"kd_nM": kd_nM, "kd_source": "given by --kd-nM", "papers": []}


@dataclass(frozen=True)
class Curve:
    """What the figures show: the points of ``drug`` and the limit of the checks."""

    drug: str
    kd_nM: float
    points: list[tuple[float, statistics.Estimate]]
    z: list[float]
    z_limit: float


def _result(known: dict[str, Any], points: list[tuple[float, statistics.Estimate]]) -> Result:
    kd = known["kd_nM"]
    limit = statistics.student_quantile(FALSE_ALARM, known["replicates"] - 1, tests=len(points))
    checks = [
        Check.against(
            f"SERT occupancy at {c:.4g} nM", "exact", e.value, e.se, float(theory.occupancy(c, kd)),
            source="O = C/(C + Kd)", z_limit=limit,
        )
        for c, e in points
    ]  # fmt: skip
    intervals = [estimate.interval() for _, estimate in points]
    columns = {
        "concentration_nM": [c for c, _ in points],
        "kd_nM": [kd] * len(points),
        "occupancy": [check.value for check in checks],
        "se": [check.se for check in checks],
        "expected": [check.expected for check in checks],
        "z": [check.z for check in checks],
        "low_95": [low for low, _ in intervals],
        "high_95": [high for _, high in intervals],
    }
    return Result(
        tables=[Table("hyperbola", columns)],
        checks=checks,
        text=_text(known["ligand"], columns),
        verdict=_verdict(known, checks, limit),
        scenario=known | {"z_limit": limit},
        papers=[*known["papers"], "Anderson, Craciun & Kurtz 2010, doi:10.1007/s11538-010-9517-4"],
        data=Curve(known["ligand"], kd, points, columns["z"], limit),
    )


def _text(ligand: str, columns: dict[str, list[Any]]) -> str:
    header = [f"{ligand} (nM)", "SERT occupancy", "95 % interval", "C/(C + Kd)", "z"]
    names = ("concentration_nM", "occupancy", "low_95", "high_95", "expected", "z")
    lines = [
        [f"{c:.4g}", f"{o:.4f}", f"{low:.4f} to {high:.4f}", f"{p:.4f}", f"{z:+.2f}"]
        for c, o, low, high, p, z in zip(*(columns[n] for n in names), strict=True)
    ]
    return text_table(header, lines)


def _verdict(known: dict[str, Any], checks: list[Check], limit: float) -> str:
    answer = "emerges" if all(check.passed for check in checks) else "is MISSED"
    worst = max(abs(check.z or 0.0) for check in checks)
    return (
        f"The hyperbola {answer}: largest |z| {worst:.2f} (limit {limit:.2f}: false alarm 1e-6"
        f" over all points), Kd {known['kd_nM']:.3g} nM ({known['kd_source']})."
    )


def figure(result: Result) -> dict[str, Figure]:
    """The points with their error bars on the curve, seen in two ways; and what is left over."""
    from synapse_abm import plotting

    return {
        "": plotting.styled(_draw)(result.data),
        "residuals": plotting.styled(_draw_residuals)(result.data),
    }


def _draw(curve: Curve) -> Figure:
    from synapse_abm import plotting as plot

    kd, drug = curve.kd_nM, curve.drug
    title = f"{drug[0].upper()}{drug[1:]} at SERT: a hyperbola out of random encounters"
    fig, (linear, log) = plot.panel_table(1, 2, 4.6, title, sharey=True)
    _curve(linear, curve, np.linspace(0, 12 * kd, 400))
    _curve(log, curve, kd * np.logspace(-2.2, 2.2, 400))
    linear.set_xlim(0, 12 * kd)
    linear.set_ylim(-0.03, 1.05)
    linear.set_ylabel("SERT occupied")
    plot.percent(linear)
    linear.set_title("as it is: steep, then flat")
    plot.named(linear, (kd, 0.5), f"Kd = {kd:.3g} nM:\nhalf is occupied", plot.GREY, (10, -12))
    log.set_xlim(kd * 10**-2.2, kd * 10**2.2)
    log.set_title("the same on a logarithmic axis")
    linear.legend(loc="lower right", borderaxespad=0)
    linear.set_xlabel("free drug (nM)")
    plot.log_concentration(log, "free drug (nM)")
    return fig


def _curve(ax: Any, curve: Curve, fine: Any) -> None:
    """Theory, the points within ``fine``, and the half point."""
    from synapse_abm import plotting as plot

    kd = curve.kd_nM
    label = "theory: C/(C + Kd)"
    ax.plot(fine, theory.occupancy(fine, kd), color=plot.ORANGE, label=label)
    shown = [(c, e) for c, e in curve.points if c <= fine[-1]]
    half = [(e.interval()[1] - e.interval()[0]) / 2 for _, e in shown]
    c, values = [c for c, _ in shown], [e.value for _, e in shown]
    plot.measured(ax, c, values, half, label="simulated,\n95 % interval")
    ax.plot([kd, kd, fine[0]], [-1, 0.5, 0.5], color=plot.GREY, lw=1.2, ls=":")


def _draw_residuals(curve: Curve) -> Figure:
    from synapse_abm import plotting as plot

    title = "What is left over is noise: no point departs from the hyperbola"
    fig, (ax,) = plot.slide(height=3.6, title=title)
    c = [c for c, _ in curve.points]
    plot.residuals(ax, c, curve.z, curve.z_limit, "simulated minus theory\n(std. errors)")
    plot.log_concentration(ax, f"{curve.drug}, free (nM)")
    return fig


if __name__ == "__main__":
    from synapse_abm.cli import run_script

    run_script(__file__)
