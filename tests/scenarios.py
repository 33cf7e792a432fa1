"""Scenarios that touch every feature of the step, small enough for both engines."""

from __future__ import annotations

from synapse_abm.synapse.scenario import (
    Batch,
    Grid,
    Kinetics,
    Ligand,
    Reservoir,
    Scenario,
    Target,
)


def everything(dt_s: float = 0.05, walls: str = "reflecting") -> Scenario:
    """All events at once: two targets, three ligands (one clamped), transport and return, loss,
    batches at a rate and at given times (two in one cell and step), several sites in a cell."""
    grid = Grid(width=6, height=5, spacing_um=0.1, walls=walls)  # type: ignore[arg-type]
    serotonin = Ligand(
        role="serotonin",
        diffusion_um2_per_s=0.05,
        count=20,
        batches=(
            Batch(size=5, cell=(1, 1), rate_per_s=2.0, times_s=(0.0, 0.12, 0.13)),
            Batch(size=3, cell=(0, 0), times_s=(0.31,)),
        ),
        binding={
            "SERT": Kinetics(kon_per_nM_s=0.02, koff_per_s=1.0, kcat_per_s=3.0),
            "5-HT1A": Kinetics(kd_nM=60, koff_per_s=0.5),
        },
        return_per_s=2.0,
        metabolism_per_s=0.5,
        degradation_per_s=0.3,
    )
    citalopram = Ligand(
        diffusion_um2_per_s=0.1,
        reservoir=Reservoir(concentration_nM=100.0, exchange_per_s=3.0),
        degradation_per_s=0.2,
        binding={"SERT": Kinetics(kd_nM=50, koff_per_s=2.0)},
    )
    way = Ligand(clamped_nM=30.0, binding={"5-HT1A": Kinetics(kd_nM=30, koff_per_s=1.0)})
    return Scenario(
        name="everything",
        grid=grid,
        dt_s=dt_s,
        targets={
            "SERT": Target(sites=9),
            "5-HT1A": Target(kind="receptor", cells=((0, 0), (0, 0), (3, 2))),
        },
        ligands={"serotonin": serotonin, "citalopram": citalopram, "WAY-100635": way},
    )


def one_cell(dt_s: float = 0.3) -> Scenario:
    """Everything in one cell: the well-mixed place, which is Gillespie's algorithm at any step."""
    whole = everything(dt_s)
    ligands = dict(whole.ligands)
    batch = Batch(size=5, cell=(0, 0), rate_per_s=2.0, times_s=(0.0, 0.12, 0.13, 1.0))
    ligands["serotonin"] = ligands["serotonin"].model_copy(update={"batches": (batch,)})
    targets = {"SERT": Target(sites=9), "5-HT1A": Target(kind="receptor", sites=4)}
    return whole.model_copy(
        update={"grid": Grid.well_mixed(0.3), "ligands": ligands, "targets": targets}
    )


def crowded() -> Scenario:
    """All molecules start in one cell, which also holds all sites; a row of cells, slow
    diffusion.
    """
    return Scenario(
        grid=Grid(width=9, height=1),
        dt_s=0.2,
        targets={"SERT": Target(cells=((4, 0),) * 7)},
        ligands={
            "drug": Ligand(
                count=40,
                start_cell=(4, 0),
                diffusion_um2_per_s=0.01,
                binding={"SERT": Kinetics(kon_per_nM_s=0.002, koff_per_s=1.0)},
            )
        },
    )


def no_sites() -> Scenario:
    """Diffusion and exchange only: every cell takes the closed form."""
    return Scenario(
        grid=Grid(width=7, height=4, walls="periodic"),
        dt_s=0.4,
        ligands={
            "drug": Ligand(
                count=15,
                diffusion_um2_per_s=0.02,
                reservoir=Reservoir(concentration_nM=150.0, exchange_per_s=1.5),
                degradation_per_s=0.5,
            ),
            "tracer": Ligand(count=12, diffusion_um2_per_s=0.3),
        },
    )


def still() -> Scenario:
    """No diffusion at all, and a target nobody binds to."""
    return Scenario(
        grid=Grid(width=3, height=3),
        dt_s=0.1,
        targets={"SERT": Target(sites=12), "NET": Target(sites=2)},
        ligands={
            "drug": Ligand(count=30, binding={"SERT": Kinetics(kon_per_nM_s=0.01, koff_per_s=1.0)})
        },
    )


ALL = {
    "everything": everything(),
    "everything, long step": everything(0.5),
    "everything, periodic": everything(0.05, "periodic"),
    "one cell": one_cell(),
    "crowded": crowded(),
    "no sites": no_sites(),
    "still": still(),
}
