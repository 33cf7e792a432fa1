"""Groups A to E: binding of one ligand or two, clamped, in a closed volume, or from a reservoir."""

from __future__ import annotations

from synapse_abm.synapse.scenario import Ligand, Scenario
from synapse_abm.validation.cases import Case
from synapse_abm.validation.quantities import OCCUPANCY, covariance, variance
from synapse_abm.validation.scenarios import per_concentration, per_pair, reservoir, well_mixed
from synapse_abm.validation.trials import (
    Claims,
    Parts,
    bound,
    free,
    occupants,
    stationary,
    with_exchange_rate,
)


def clamped(case: Case) -> Parts:
    """Group A: N independent sites and a ligand of fixed concentration."""
    kinetics = per_concentration(case.rate("kon"), case.rate("koff"))
    ligand = Ligand(clamped_nM=case.rate("C", zero=True), binding={"T": kinetics})
    scenario = well_mixed(case.count("N", 1), {"L": ligand})
    claims = _one_ligand(case, scenario)
    counts = with_exchange_rate(claims, scenario)
    return stationary(case, claims, scenario, {"bound": bound("L")}, counts)


def closed(case: Case) -> Parts:
    """Group B: R sites and L molecules."""
    kinetics = per_pair(case.rate("kon_pair"), case.rate("koff"))
    ligand = Ligand(count=case.count("L", 1), binding={"T": kinetics})
    scenario = well_mixed(case.count("R", 1), {"L": ligand})
    return stationary(case, _one_ligand(case, scenario), scenario, {"bound": bound("L")}, {})


def pool(case: Case) -> Parts:
    """Group C: R sites; molecules come from a reservoir and go back to it."""
    kinetics = per_pair(case.rate("kon_pair"), case.rate("koff"))
    source = reservoir(case.rate("mean_free", zero=True), case.rate("exchange_rate"))
    ligand = Ligand(reservoir=source, binding={"T": kinetics})
    scenario = well_mixed(case.count("R", 1), {"L": ligand})
    claims = _one_ligand(case, scenario)
    for name in ("free", "total"):
        claims.mean(f"mean_{name}", name)
        claims.spread(f"var_{name}", variance(name))
    claims.covariance("cov_free_bound", covariance("free", "bound"), "var_free", "var_bound")
    # Bound and free are independent however they exchange: their sum is claimed too, which shows
    # it.
    both = {"bound": bound("L"), "free": free("L")}
    levels = both | {"total": lambda series: bound("L")(series) + free("L")(series)}
    return stationary(case, claims, scenario, levels, {})


def _one_ligand(case: Case, scenario: Scenario) -> Claims:
    claims, sites = Claims(case), scenario.targets["T"].n_sites
    claims.sites(sites, bound=("p", "occupancy"))
    claims.law("pmf", "bound", OCCUPANCY.size * sites)
    return claims


def clamped_pair(case: Case) -> Parts:
    """Group D: N sites and two ligands of fixed concentrations. The case says K_d alone: k_off is
    1/s.
    """
    ligands = {
        name: Ligand(
            clamped_nM=case.rate(name, zero=True),
            # At equilibrium only the ratio of the two rates counts.
            binding={"T": per_concentration(1.0 / case.rate(f"Kd{name}"), 1.0)},
        )
        for name in "AB"
    }
    return _two_ligands(case, well_mixed(case.count("N", 1), ligands))


def closed_pair(case: Case) -> Parts:
    """Group E: R sites and two ligands in finite numbers."""
    ligands = {
        name: Ligand(
            count=case.count(name),
            binding={"T": per_pair(case.rate(f"kon{name}_pair"), case.rate(f"koff{name}"))},
        )
        for name in "AB"
    }
    return _two_ligands(case, well_mixed(case.count("R", 1), ligands))


def _two_ligands(case: Case, scenario: Scenario) -> Parts:
    claims, sites = Claims(case), scenario.targets["T"].n_sites
    claims.sites(sites, A=("pA",), B=("pB",))
    claims.share("p_free", "empty", sites)
    claims.pair("A", "B", sites, ("joint_pmf",))
    return stationary(case, claims, scenario, occupants(sites, A="A", B="B"), {})
