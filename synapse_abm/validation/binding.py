"""Groups A to E: binding of one ligand or two, clamped, in a closed volume, or from a reservoir."""

from __future__ import annotations

from synapse_abm.synapse.scenario import Ligand, Scenario
from synapse_abm.validation.cases import Case
from synapse_abm.validation.quantities import OCCUPANCY, covariance, exchange_rate, variance
from synapse_abm.validation.relaxation import pace
from synapse_abm.validation.samples import Columns
from synapse_abm.validation.scenarios import per_concentration, per_pair, reservoir, well_mixed
from synapse_abm.validation.trials import Claims, Plan, bound, free, stationary


def clamped(case: Case) -> Plan:
    """Group A: N independent sites and a ligand of fixed concentration."""
    sites = case.count("N", 1)
    kinetics = per_concentration(case.rate("kon"), case.rate("koff"))
    ligand = Ligand(clamped_nM=case.rate("C", zero=True), binding={"T": kinetics})
    scenario = well_mixed(sites, {"L": ligand})
    claims = _one_ligand(case, sites, "pmf")
    dt = pace(scenario).relaxation_s
    claims.rate("k_obs", exchange_rate("unbound", "bound", sites, dt))
    counts: Columns = {"unbound": lambda series: series.count("unbound", "L", "T")}
    return stationary(case, claims, scenario, {"bound": bound("L")}, counts)


def closed(case: Case) -> Plan:
    """Group B: R sites and L molecules."""
    sites, copies = case.count("R", 1), case.count("L", 1)
    kinetics = per_pair(case.rate("kon_pair"), case.rate("koff"))
    scenario = well_mixed(sites, {"L": Ligand(count=copies, binding={"T": kinetics})})
    return stationary(case, _one_ligand(case, sites, "pmf"), scenario, {"bound": bound("L")}, {})


def _one_ligand(case: Case, sites: int, law: str) -> Claims:
    claims = Claims(case)
    claims.share("p", "bound", sites)
    claims.share("occupancy", "bound", sites)
    claims.occupied("mean_bound", "bound", sites)
    claims.spread("var_bound", variance("bound"))
    claims.law(law, "bound", OCCUPANCY * sites)
    return claims


def pool(case: Case) -> Plan:
    """Group C: R sites; molecules come from a reservoir and go back to it."""
    sites, exchange = case.count("R", 1), case.rate("exchange_rate")
    kinetics = per_pair(case.rate("kon_pair"), case.rate("koff"))
    source = reservoir(case.rate("mean_free", zero=True), exchange)
    scenario = well_mixed(sites, {"L": Ligand(reservoir=source, binding={"T": kinetics})})
    claims = _one_ligand(case, sites, "pmf_bound")
    for name in ("free", "total"):
        claims.mean(f"mean_{name}", name)
        claims.spread(f"var_{name}", variance(name))
    claims.covariance("cov_free_bound", covariance("free", "bound"), "var_free", "var_bound")
    levels: Columns = {
        "bound": bound("L"),
        "free": free("L"),
        "total": lambda series: bound("L")(series) + free("L")(series),
    }
    return stationary(case, claims, scenario, levels, {})


def clamped_pair(case: Case) -> Plan:
    """Group D: N sites and two ligands of fixed concentrations. K_d alone is given: k_off is
    1/s.
    """
    sites = case.count("N", 1)
    ligands = {
        name: Ligand(
            clamped_nM=case.rate(name, zero=True),
            binding={"T": per_concentration(1.0 / case.rate(f"Kd{name}"), 1.0)},
        )
        for name in "AB"
    }
    return _two_ligands(case, sites, well_mixed(sites, ligands))


def closed_pair(case: Case) -> Plan:
    """Group E: R sites and two ligands in finite numbers."""
    sites = case.count("R", 1)
    ligands = {
        name: Ligand(
            count=case.count(name),
            binding={"T": per_pair(case.rate(f"kon{name}_pair"), case.rate(f"koff{name}"))},
        )
        for name in "AB"
    }
    return _two_ligands(case, sites, well_mixed(sites, ligands))


def _two_ligands(case: Case, sites: int, scenario: Scenario) -> Plan:
    claims = Claims(case)
    for name in "AB":
        claims.share(f"p{name}", name, sites)
        claims.occupied(f"mean_{name}", name, sites)
        claims.spread(f"var_{name}", variance(name))
    claims.share("p_free", "empty", sites)
    claims.covariance("cov_AB", covariance("A", "B"), "var_A", "var_B")
    claims.joint_law("joint_pmf", "AB", OCCUPANCY * sites)
    levels: Columns = {
        "A": bound("A"),
        "B": bound("B"),
        "empty": lambda series: sites - bound("A")(series) - bound("B")(series),
    }
    return stationary(case, claims, scenario, levels, {})
