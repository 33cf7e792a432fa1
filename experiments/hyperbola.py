"""Does occupancy follow O = C/(C + Kd) when nobody writes it into the model?

Question
    Drug molecules enter a synapse from a reservoir, wander, bind to serotonin transporters (SERT)
    and let go again. Which share of the transporters is occupied, at twelve concentrations over
    four decades?
Method
    A slab of 32 x 32 cells with 200 SERT; real molecules, exchanged with a reservoir of
    concentration C. All sites start empty. Each concentration has 64 replicates with random numbers
    of their own; each replicate is run for 20 relaxation times, then read 8 times, one relaxation
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
from typing import TYPE_CHECKING

import numpy as np

from synapse_abm import Scenario, SynapseModel, pharmacology, statistics, theory
from synapse_abm.experiment import Progress
from synapse_abm.results import Check, Result, Table, text_table
from synapse_abm.scenario import Grid, Kinetics, Ligand, Reservoir, Target

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CONCENTRATIONS_KD = np.logspace(-2, 2, 12)
SITES = 200
REPLICATES = 64
BURN_IN, READINGS = 20, 8  # relaxation times
FAMILY_FALSE_ALARM = 1e-6
CELLS, SPACING_UM = 32, 0.2
COPIES_AT_KD = 50  # free molecules at C = Kd; the depth of the slab is chosen to make it so
EXCHANGE_PER_KOFF = 20.0  # assumed; the law does not depend on it


@dataclass(frozen=True)
class Options:
    """Options of this experiment."""

    drug: str = "citalopram"
    """Drug, or DRUG@SOURCE for a particular source of its affinity (see `synapse-abm list
    --drugs`).
    """


def scenario(concentration_nM: float, kinetics: Kinetics, diffusion_um2_per_s: float) -> Scenario:
    """The synapse in contact with a reservoir of the drug.

    The step keeps both one molecule's binding rate in a site's cell and the relaxation rate near or
    below one per step: equilibrium is exact at any step, but a longer one takes longer to reach it.
    """
    kd = kinetics.koff / kinetics.kon
    flat = Grid(width=CELLS, height=CELLS, spacing_um=SPACING_UM)
    grid = flat.model_copy(update={"depth_um": COPIES_AT_KD / (kd * flat.molecules_per_nM)})
    in_cell = grid.cells / COPIES_AT_KD  # in units of k_off
    relaxation = 1 + concentration_nM / kd
    return Scenario(
        name="hyperbola",
        grid=grid,
        targets={"SERT": Target(sites=SITES)},
        ligands={
            "drug": Ligand(
                diffusion_um2_per_s=diffusion_um2_per_s,
                reservoir=Reservoir(
                    concentration_nM=concentration_nM,
                    exchange_per_s=EXCHANGE_PER_KOFF * kinetics.koff,
                ),
                binding={"SERT": kinetics},
            )
        },
        dt_s=min(1 / in_cell, 0.5 / relaxation) / kinetics.koff,
    )


def occupancy(synapse: Scenario, relaxation_s: float, seed: int, replicate: int) -> float:
    """Mean SERT occupancy of one replicate at equilibrium."""
    model = SynapseModel(synapse, rng=seed, replicate=replicate)
    gap = max(1, math.ceil(relaxation_s / synapse.dt_s))
    model.run(BURN_IN * gap, every=0)
    return float(model.run(READINGS * gap, every=gap).occupancy("SERT", "drug").mean())


def run(seed: int, quick: bool, progress: Progress, drug: str = "citalopram") -> Result:
    """Simulate all concentrations and hold them against the hyperbola."""
    record = pharmacology.ligand(drug)
    affinity, kinetics = record.affinity("SERT"), record.kinetics("SERT")
    kd = kinetics.koff / kinetics.kon
    replicates = 16 if quick else REPLICATES
    limit = statistics.student_quantile(
        FAMILY_FALSE_ALARM, replicates - 1, tests=CONCENTRATIONS_KD.size
    )
    rows = []
    for point, ratio in enumerate(progress(CONCENTRATIONS_KD, label=record.name)):
        synapse = scenario(ratio * kd, kinetics, record.diffusion_um2_per_s)
        relaxation_s = 1 / (kinetics.koff * (1 + ratio))
        runs = [
            occupancy(synapse, relaxation_s, seed, point * replicates + r)
            for r in range(replicates)
        ]
        estimate = statistics.from_replicates(runs)
        expected = float(theory.occupancy(ratio * kd, kd))
        rows.append((ratio * kd, kd, estimate, expected))
    return _result(record, affinity, rows, limit)


def _result(
    record: pharmacology.LigandRecord,
    affinity: pharmacology.Affinity,
    rows: list[tuple[float, float, statistics.Estimate, float]],
    limit: float,
) -> Result:
    estimates = [estimate for _, _, estimate, _ in rows]
    intervals = [estimate.interval() for estimate in estimates]
    law = "O = C/(C + Kd), exact for this model at any step"
    checks = [
        Check.against(
            f"SERT occupancy at {c:.4g} nM", "exact", e.value, e.se, p, source=law, z_limit=limit
        )
        for c, _, e, p in rows
    ]
    columns = {
        "concentration_nM": [c for c, _, _, _ in rows],
        "kd_nM": [kd for _, kd, _, _ in rows],
        "occupancy": [e.value for e in estimates],
        "se": [e.se for e in estimates],
        "expected": [p for _, _, _, p in rows],
        "z": [check.z for check in checks],
        "low_95": [low for low, _ in intervals],
        "high_95": [high for _, high in intervals],
    }
    lines = [
        [f"{c:.4g}", f"{e.value:.4f}", f"{low:.4f} - {high:.4f}", f"{p:.4f}", f"{check.z:+.2f}"]
        for (c, _, e, p), (low, high), check in zip(rows, intervals, checks, strict=True)
    ]
    header = [f"{record.name} (nM)", "SERT occupancy", "95 % interval", "C/(C + Kd)", "z"]
    worst = max(abs(check.z or 0.0) for check in checks)
    largest = max(e.se for e in estimates)
    good = all(check.passed for check in checks)
    verdict = (
        f"{'The hyperbola emerges' if good else 'The hyperbola is MISSED'}: largest |z| {worst:.2f}"
        f" (limit {limit:.2f}, family-wise false alarm 1e-6), largest standard error {largest:.4f};"
        f" Kd {rows[0][1]:.3g} nM ({affinity.source}, {affinity.status})."
    )
    return Result(
        tables=[Table("hyperbola", columns)],
        checks=checks,
        text=text_table(header, lines),
        verdict=verdict,
        scenario={
            "ligand": record.name,
            "kd_nM": rows[0][1],
            "sites": SITES,
            "replicates": int(estimates[0].dof + 1),
            "z_limit": limit,
        },
        papers=[*record.sources(), "Anderson, Craciun & Kurtz 2010, doi:10.1007/s11538-010-9517-4"],
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
    points = {"fmt": "o", "color": plot.BLUE, "ms": 7, "capsize": 4, "lw": 1.6}
    label = "simulated molecules, 95 % interval"
    top.errorbar(c, table["occupancy"], yerr=half, label=label, **points)
    top.plot([kd, kd, fine[0]], [-1, 0.5, 0.5], color=plot.GREY, lw=1.2, ls=":")
    note = f"Kd = {kd:.3g} nM:\nhalf is occupied"
    top.annotate(note, (kd, 0.5), (14, -34), textcoords="offset points", color=plot.GREY)
    top.set_ylim(-0.03, 1.05)
    top.set_ylabel("SERT occupied")
    plot.percent(top)
    top.legend(loc="upper left")
    top.set_title(f"{facts['ligand']} at SERT: the hyperbola emerges from random encounters")
    plot.residuals(bottom, c, table["z"], facts["z_limit"], "residual\n(std. errors)")
    bottom.set_xlim(fine[0], fine[-1])
    plot.log_concentration(bottom, f"{facts['ligand']} in the reservoir, free (nM)")
    return fig


if __name__ == "__main__":
    from synapse_abm.cli import run_script

    run_script(__file__)
