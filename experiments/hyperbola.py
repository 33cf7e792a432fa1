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
from synapse_abm.core.errors import InputError
from synapse_abm.core.progress import Progress
from synapse_abm.core.text import text_table
from synapse_abm.runs import dose_response
from synapse_abm.runs.results import Check, Result, Table
from synapse_abm.synapse.scenario import Grid, Kinetics, Ligand, Reservoir, Target

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CONCENTRATIONS_KD = np.logspace(-2, 2, 12)
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


def run(
    seed: int,
    quick: bool,
    progress: Progress,
    drug: str = "citalopram",
    kd_nM: float | None = None,
) -> Result:
    """Simulate all concentrations and hold them against the hyperbola."""
    kinetics, facts = _binding(drug, kd_nM)
    kd = facts["kd_nM"]
    diffusion = pharmacology.ligand(drug).diffusion_um2_per_s
    replicates = 16 if quick else REPLICATES
    pieces = list[tuple[Scenario, float, int, int]]()
    for ratio in CONCENTRATIONS_KD.tolist():
        synapse = scenario(ratio * kd, kinetics, diffusion)
        relaxation_s = 1 / (kinetics.koff * (1 + ratio))
        pieces += [(synapse, relaxation_s, seed, len(pieces) + r) for r in range(replicates)]
    groups = dose_response.replicated(occupancy, pieces, replicates, progress)
    points = [
        (ratio * kd, statistics.from_replicates(runs))
        for ratio, runs in zip(CONCENTRATIONS_KD.tolist(), groups, strict=True)
    ]
    return _result(facts | {"replicates": replicates, "sites": SITES}, points)


def _binding(drug: str, kd_nM: float | None) -> tuple[Kinetics, dict[str, Any]]:
    """Rate constants at SERT, and the facts that the output names."""
    record = pharmacology.ligand(drug)
    affinity, kinetics = record.affinity("SERT"), record.kinetics("SERT")
    if kinetics.kcat_per_s > 0:
        raise InputError("--drug", drug, "a drug, which binds and stays outside", "try citalopram")
    facts = {
        "ligand": record.full_name,
        "kd_nM": kinetics.koff / kinetics.kon,
        "kd_source": f"{affinity.source}, {affinity.status}",
        "papers": list(record.sources()),
    }
    if kd_nM is None:
        return kinetics, facts
    if not 1e-6 <= kd_nM <= 1e9:  # also refuses nan
        raise InputError("--kd-nM", kd_nM, "a number from 1e-6 to 1e9, in nM")
    own = Kinetics(kd_nM=kd_nM, kon_per_nM_s=kinetics.kon)
    return own, facts | {"kd_nM": kd_nM, "kd_source": "given by --kd-nM", "papers": []}


def _result(facts: dict[str, Any], points: list[tuple[float, statistics.Estimate]]) -> Result:
    kd = facts["kd_nM"]
    limit = statistics.student_quantile(FALSE_ALARM, facts["replicates"] - 1, tests=len(points))
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
        text=_text(facts["ligand"], columns),
        verdict=_verdict(facts, checks, limit),
        scenario=facts | {"z_limit": limit},
        papers=[*facts["papers"], "Anderson, Craciun & Kurtz 2010, doi:10.1007/s11538-010-9517-4"],
    )


def _text(ligand: str, columns: dict[str, list[Any]]) -> str:
    header = [f"{ligand} (nM)", "SERT occupancy", "95 % interval", "C/(C + Kd)", "z"]
    names = ("concentration_nM", "occupancy", "low_95", "high_95", "expected", "z")
    lines = [
        [f"{c:.4g}", f"{o:.4f}", f"{low:.4f} to {high:.4f}", f"{p:.4f}", f"{z:+.2f}"]
        for c, o, low, high, p, z in zip(*(columns[n] for n in names), strict=True)
    ]
    return text_table(header, lines)


def _verdict(facts: dict[str, Any], checks: list[Check], limit: float) -> str:
    answer = "emerges" if all(check.passed for check in checks) else "is MISSED"
    worst = max(abs(check.z or 0.0) for check in checks)
    return (
        f"The hyperbola {answer}: largest |z| {worst:.2f} (limit {limit:.2f}: false alarm 1e-6"
        f" over all points), Kd {facts['kd_nM']:.3g} nM ({facts['kd_source']})."
    )


def figure(result: Result) -> Figure:
    """The points with their error bars on the curve, and what is left over."""
    from synapse_abm import plotting

    return plotting.styled(_draw)(result)


def _draw(result: Result) -> Figure:
    from synapse_abm import plotting as plot

    table, facts = result["hyperbola"], result.scenario
    c, kd = np.array(table["concentration_nM"]), facts["kd_nM"]
    half = (np.array(table["high_95"]) - np.array(table["low_95"])) / 2
    fig, (top, bottom) = plot.slide(heights=(3, 1))
    fine = np.logspace(np.log10(c[0]) - 0.15, np.log10(c[-1]) + 0.15, 400)
    top.plot(fine, theory.occupancy(fine, kd), color=plot.ORANGE, label="theory: O = C/(C + Kd)")
    points = {"fmt": "o", "color": plot.BLUE, "ms": 5, "capsize": 5, "lw": 1.6}
    label = "simulated molecules, 95 % interval"
    top.errorbar(c, table["occupancy"], yerr=half, label=label, **points)
    top.plot([kd, kd, fine[0]], [-1, 0.5, 0.5], color=plot.GREY, lw=1.2, ls=":")
    note = f"Kd = {kd:.3g} nM:\nhalf is occupied"
    top.annotate(note, (kd, 0.5), (14, -34), textcoords="offset points", color=plot.GREY)
    top.set_ylim(-0.03, 1.05)
    top.set_ylabel("SERT occupied")
    plot.percent(top)
    top.legend(loc="upper left")
    name = facts["ligand"][0].upper() + facts["ligand"][1:]
    top.set_title(f"{name} at SERT: a hyperbola out of random encounters")
    plot.residuals(bottom, c, table["z"], facts["z_limit"], "residual\n(std. errors)")
    bottom.set_xlim(fine[0], fine[-1])
    plot.log_concentration(bottom, f"{facts['ligand']} in the reservoir, free (nM)")
    return fig


if __name__ == "__main__":
    from synapse_abm.cli import run_script

    run_script(__file__)
