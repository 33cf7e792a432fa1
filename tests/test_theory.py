"""The theory against stored exact numbers, against independent computations, and against itself.

The stored cases were computed without this package and checked by a second method each; the worst
disagreement of those two was 5e-13. Rounding is all that may separate them from the functions here,
hence the relative tolerance 1e-11. Where a number is a difference of two numbers, or a probability
far out in a tail, its own rounding is larger and the tolerance is stated beside it.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from synapse_abm import theory
from synapse_abm.theory._chain import Move, explore, stationary

pytestmark = pytest.mark.filterwarnings("error")

type Array = NDArray[np.float64]
type Numbers = dict[str, Any]

CASES: dict[str, Numbers] = {
    case["id"]: case
    for case in json.loads((Path(__file__).parent / "data" / "cases.json").read_text())["cases"]
}

#: Same examples on every run: these are proofs by example, not a search.
repeatable = settings(derandomize=True, database=None, deadline=None, max_examples=60)

rates = st.floats(0.01, 100.0)
amounts = st.floats(0.0, 1e3)
copies = st.integers(0, 12)


def ids(prefix: str) -> list[str]:
    """Stored cases whose identifier starts with ``prefix``, a group's letter."""
    found = [i for i in CASES if i.startswith(prefix)]
    assert found, f"no stored case of group {prefix}"
    return found


def assert_reproduced(
    case: str,
    computed: Numbers,
    rtol: float = 1e-11,
    atol: Mapping[str, float] | None = None,
    not_theory: tuple[str, ...] = (),
) -> None:
    """Every stored number of ``case`` is among the ``computed`` ones and equals it."""
    stored = CASES[case]["exact"]
    expected = {k: v for k, v in stored.items() if v is not None and k not in not_theory}
    assert set(expected) <= set(computed), set(expected) - set(computed)
    for name, value in expected.items():
        tolerance = (atol or {}).get(name, 0.0)
        if isinstance(value, bool):
            assert computed[name] is value
        else:
            assert_allclose(computed[name], value, rtol, tolerance, err_msg=f"{case} {name}")


def joint_table(stored: Mapping[str, float], shape: tuple[int, ...]) -> Array:
    """A stored joint law, keys like "2,1", as an array."""
    table = np.zeros(shape)
    for key, value in stored.items():
        table[tuple(map(int, key.split(",")))] = value
    return table


# --- stored exact numbers -----------------------------------------------------------------------


@pytest.mark.parametrize("case", ids("A"))
def test_clamped_ligand(case: str) -> None:
    q = CASES[case]["params"]
    p = theory.occupancy(q["C"], q["Kd"])
    assert_allclose(theory.dissociation_constant(q["kon"], q["koff"]), q["Kd"], 1e-15)
    law = theory.open_law(q["N"], float(p))
    computed = {
        "p": p,
        "mean_bound": law.mean,
        "var_bound": law.var,
        "k_obs": theory.observed_rate(q["C"], q["kon"], q["koff"]),
        "pmf": law.pmf,
    }
    assert_reproduced(case, computed)


@pytest.mark.parametrize("case", ids("B"))
def test_closed_one_ligand(case: str) -> None:
    q = CASES[case]["params"]
    size, law = (q["R"], q["L"]), theory.closed_law(q["R"], q["L"], q["K"])
    mean_field = theory.morrison_mean(*size, q["K"])
    computed = {
        "mean_bound": law.mean,
        "var_bound": law.var,
        "occupancy": law.mean / q["R"],
        "morrison_mean": mean_field,
        "morrison_error_bound": mean_field - law.mean,
        "morrison_error_occupancy": (mean_field - law.mean) / q["R"],
        "relaxation_gap": theory.closed_relaxation_rate(*size, q["kon_pair"], q["koff"]),
        "pmf": law.pmf,
    }
    # The errors are differences of means up to 30, good to about 1e-14 of those.
    assert_reproduced(case, computed, atol={"morrison_error_bound": 1e-12})


@pytest.mark.parametrize("case", ids("C"))
def test_open_pool(case: str) -> None:
    q = CASES[case]["params"]
    pool = theory.open_pool(q["R"], q["mean_free"], q["kon_pair"], q["koff"])
    computed = {
        "p": pool.occupancy,
        "mean_bound": pool.bound.mean,
        "var_bound": pool.bound.var,
        "mean_free": pool.mean_free,
        "var_free": pool.var_free,
        "cov_free_bound": pool.cov_free_bound,
        "mean_total": pool.mean_total,
        "var_total": pool.var_total,
        "pmf_bound": pool.bound.pmf,
    }
    assert_reproduced(case, computed)


@pytest.mark.parametrize("case", ids("D"))
def test_open_competition(case: str) -> None:
    q = CASES[case]["params"]
    a, ka, b, kb = q["A"], q["KdA"], q["B"], q["KdB"]
    law = theory.open_competition(q["N"], [a, b], [ka, kb])
    ic50 = theory.cheng_prusoff_ic50(kb, a, ka)
    computed = {
        "pA": theory.gaddum(a, ka, b, kb),
        "pB": theory.gaddum(b, kb, a, ka),
        "p_free": law.p_free,
        "mean_A": law.mean[0],
        "mean_B": law.mean[1],
        "var_A": law.cov[0, 0],
        "var_B": law.cov[1, 1],
        "cov_AB": law.cov[0, 1],
        "IC50_of_B": ic50,
        "occupancy_A_at_IC50": theory.gaddum(a, ka, ic50, kb),
        "Ki_from_IC50": theory.cheng_prusoff_ki(ic50, a, ka),
    }
    assert_reproduced(case, computed)
    assert_allclose(law.p, [computed["pA"], computed["pB"]], 1e-14)


@pytest.mark.parametrize("case", ids("E"))
def test_closed_competition(case: str) -> None:
    q = CASES[case]["params"]
    k = (q["konA_pair"] / q["koffA"], q["konB_pair"] / q["koffB"])
    law = theory.closed_competition_law(q["R"], q["A"], q["B"], *k)
    mean_field = theory.wang_mean_field(q["R"], [q["A"], q["B"]], k)
    computed = {
        "mean_A": law.mean("A"),
        "mean_B": law.mean("B"),
        "var_A": law.var("A"),
        "var_B": law.var("B"),
        "cov_AB": law.cov("A", "B"),
        "meanfield_A": mean_field[0],
        "meanfield_B": mean_field[1],
        "meanfield_error_A": mean_field[0] - law.mean("A"),
    }
    assert_reproduced(case, computed, not_theory=("joint_pmf",))
    stored = joint_table(CASES[case]["exact"]["joint_pmf"], law.pmf.shape)
    assert_allclose(law.pmf, stored, rtol=1e-11)


def association(q: Numbers) -> Numbers:
    """Computed numbers of the open association case."""
    p = float(theory.occupancy(q["C"], q["koff"] / q["kon"]))
    k_obs = float(theory.observed_rate(q["C"], q["kon"], q["koff"]))
    laws = [theory.open_transient_law(t, q["N"], 0, p, k_obs) for t in q["t"]]
    return {
        "k_obs": k_obs,
        "tau": theory.relaxation_time(q["C"], q["kon"], q["koff"]),
        "p_eq": p,
        "p_t": theory.occupancy_at(q["t"], p, k_obs),
        "mean_t": [law.mean for law in laws],
        "var_t": [law.var for law in laws],
    }


def error_bars(q: Numbers) -> Numbers:
    """Computed numbers of the stationary-noise case."""
    p = theory.occupancy(q["C"], q["koff"] / q["kon"])
    tau = theory.relaxation_time(q["C"], q["kon"], q["koff"])
    return {
        "autocov_bound": theory.bound_autocovariance(q["lags"], q["N"], p, tau),
        "integrated_tau": tau,
        "var_timeavg_occupancy": theory.time_average_variance(q["T"], q["N"], p, tau),
        "noise0_single_site": theory.zero_frequency_noise(p, tau),
    }


def depletion(q: Numbers) -> Numbers:
    """Computed numbers of the closed association cases."""
    system = (q["R"], q["L"], q["kon_pair"], q["koff"])
    laws = [theory.closed_transient_law(t, *system) for t in q["t"]]
    mean = np.array([law.mean for law in laws])
    mean_field = theory.mass_action_transient(q["t"], *system)
    return {
        "mean_t": mean,
        "var_t": [law.var for law in laws],
        "meanfield_t": mean_field,
        "meanfield_error_t": mean_field - mean,
        "gap": theory.closed_relaxation_rate(*system),
    }


KINETICS: dict[str, Callable[[Numbers], Numbers]] = {
    "F1": association,
    "F3": error_bars,
    "F4": depletion,
    "F5": depletion,
}


@pytest.mark.parametrize("case", ids("F"))
def test_one_ligand_kinetics(case: str) -> None:
    computed = KINETICS[case](CASES[case]["params"])
    # The stored mean field was integrated numerically, to about 1e-12.
    assert_reproduced(case, computed, atol={"meanfield_error_t": 1e-11})


@pytest.mark.parametrize("case", ids("G"))
def test_two_ligand_kinetics(case: str) -> None:
    q = CASES[case]["params"]
    label = (q["L"], q["kon_L"], q["koff_L"])
    competitor = (q["I"], q["kon_I"], q["koff_I"])
    site = theory.motulsky_mahan(q["t"], *label, *competitor)
    kd, ki = q["koff_L"] / q["kon_L"], q["koff_I"] / q["kon_I"]
    peak = theory.label_overshoot(*label, *competitor)
    computed = {
        "p_label_t": site.label,
        "p_comp_t": site.competitor,
        "p_label_eq": theory.gaddum(q["L"], kd, q["I"], ki),
        "overshoot": peak is not None,
    }
    if peak is not None:
        computed |= {"t_peak": peak.time, "p_peak": peak.occupancy}
    # A maximum is flat: a search places it to the square root of the rounding, not better.
    assert_reproduced(case, computed, atol={"t_peak": 1e-7})


def open_rates(q: Numbers) -> theory.TransportRates:
    """Rates of a stored case with clamped substrate and drug."""
    return theory.TransportRates(q["kon"], q["koff"], q["kcat"], q["kon_D"], q["koff_D"])


@pytest.mark.parametrize("case", ids("H"))
def test_clamped_transporter(case: str) -> None:
    q = CASES[case]["params"]
    r, n, s, d = open_rates(q), q["N_T"], q["S"], q["D"]
    p = theory.transporter_occupancy(s, r.km, d, r.ki)
    flux = theory.transport_flux(s, r.km, r.kcat, d, r.ki)
    count = theory.transport_counts(q["t_count"], r, n, s, d)
    fano = theory.transport_fano(s, r.kon, r.koff, r.kcat, d, r.kon_drug, r.koff_drug)
    computed = {
        "Km": theory.michaelis_constant(r.kon, r.koff, r.kcat),
        "Ki": theory.dissociation_constant(r.kon_drug, r.koff_drug),
        "p_TS": p.substrate,
        "p_TD": p.drug,
        "p_free": p.free,
        "flux_per_T": flux,
        "flux_total": n * flux,
        "mean_TD": n * p.drug,
        "var_TD": n * p.drug * (1 - p.drug),
        "fano_flux_infinite_time": fano,
        "fano_flux_t": count.fano,
        "mean_count_t": count.mean,
        "var_count_t": count.var,
        "apparent_Kd_of_D": theory.drug_apparent_kd(r.ki, s, r.km),
    }
    assert_reproduced(case, computed)


def pair_rates(q: Numbers) -> theory.TransportRates:
    """Rates of a stored case with countable substrate."""
    drug = (q["kon_D_pair"] if "kon_D_pair" in q else q["kon_D"], q["koff_D"])
    return theory.TransportRates(q["kon_pair"], q["koff"], q["kcat"], *drug)


def recycling(q: Numbers) -> Numbers:
    """Computed numbers of the closed cycle cases."""
    r, n = pair_rates(q), q["N_T"]
    solved = theory.closed_cycle(r, n, q["N_S"], q["N_D"], q["k_recycle"])
    law, five = solved.law, solved.uptake.moments(5.0)
    ts, td, inside = (law.mean(name) for name in ("TS", "TD", "S_in"))
    plug_in = (
        n * theory.transporter_occupancy(q["N_S"] - ts - inside, r.km, q["N_D"] - td, r.ki).drug
    )
    joint = law.table("TS", "TD")
    return {
        "mean_TS": ts,
        "mean_TD": td,
        "mean_S_in": inside,
        "mean_S_free": q["N_S"] - ts - inside,
        "mean_D_free": q["N_D"] - td,
        "var_TS": law.var("TS"),
        "var_TD": law.var("TD"),
        "var_S_in": law.var("S_in"),
        "cov_TS_TD": law.cov("TS", "TD"),
        "flux": solved.uptake.rate,
        "fano_flux_infinite_time": solved.uptake.fano,
        "mean_count_t5": five.mean,
        "var_count_t5": five.var,
        "drug_occupancy": td / n,
        "substrate_occupancy": ts / n,
        "plug_in_formula_TD": plug_in,
        "plug_in_error_TD": plug_in - td,
        "pmf_TS": law.marginal("TS").pmf,
        "pmf_TD": law.marginal("TD").pmf,
        "pmf_S_in": law.marginal("S_in").pmf,
        "joint_TS_TD": {f"{i},{j}": joint[i, j] for i, j in np.argwhere(joint > 0)},
    }


@pytest.mark.parametrize("case", [i for i in ids("I1") if CASES[i]["params"]])
def test_closed_cycle(case: str) -> None:
    computed = recycling(CASES[case]["params"])
    joint = computed.pop("joint_TS_TD")
    assert_reproduced(case, computed, not_theory=("joint_TS_TD",))
    assert joint == pytest.approx(CASES[case]["exact"]["joint_TS_TD"], rel=1e-11)


@pytest.mark.parametrize("case", ids("I2"))
def test_clearance(case: str) -> None:
    q = CASES[case]["params"]
    cleared = theory.clearance(pair_rates(q), q["N_T"], q["N_S"], q["N_D"])
    inside = [cleared.inside(t) for t in q["t"]]
    computed = {
        "mean_completion": cleared.mean,
        "sd_completion": cleared.sd,
        "mean_S_in_t": [law.mean for law in inside],
        "var_S_in_t": [law.var for law in inside],
        "P_complete_t": [law.pmf[-1] for law in inside],
    }
    # A matrix exponential is good to about 1e-15 of 1, not of a small probability.
    assert_reproduced(case, computed, atol={"P_complete_t": 1e-13, "var_S_in_t": 1e-12})


@pytest.mark.parametrize("case", ids("I3"))
def test_drained_pool(case: str) -> None:
    q = CASES[case]["params"]
    system = (pair_rates(q), q["N_T"], q["alpha"], q["gamma"], q["D_chemostat"])
    solved = theory.drained_pool(*system, largest_pool=q["S_max"])
    law, mean_field = solved.law, theory.drained_pool_mean_field(*system)
    computed = {
        "mean_S": law.mean("S"),
        "var_S": law.var("S"),
        "fano_S": law.var("S") / law.mean("S"),
        "mean_TS": law.mean("TS"),
        "mean_TD": law.mean("TD"),
        "flux": solved.uptake.rate,
        "fano_flux_infinite_time": solved.uptake.fano,
        "meanfield_S": mean_field.free,
        "meanfield_TS": mean_field.bound,
        "meanfield_error_S": mean_field.free - law.mean("S"),
        # The cut can only disturb states this close to it.
        "truncation_tail": law.marginal("S").pmf[q["S_max"] - q["N_T"] :].sum(),
    }
    assert_reproduced(case, computed)


@pytest.mark.parametrize("case", ids("K2"))
def test_equilibrium_on_a_grid(case: str) -> None:
    q = CASES[case]["params"]
    cells = math.prod(q["shape"])
    law = theory.grid_law(len(q["receptors"]), 2, q["k_bind_in_cell"], q["koff"], cells)
    computed = {
        "pmf_bound": law.pmf,
        "mean_bound": law.mean,
        "K_per_pair": theory.affinity_on_grid(q["k_bind_in_cell"], q["koff"], cells),
    }
    assert_reproduced(case, computed)


@pytest.mark.parametrize("case", ids("N"))
def test_immigration_and_death(case: str) -> None:
    q, t = CASES[case]["params"], CASES[case]["exact"]["t"]
    system = (q["alpha"], q["mu"], q["batch"], q["X0"], q["reset"])
    present, gone = theory.immigration_death(t, *system), theory.exit_count(t, *system)
    computed = {
        "t": t,
        "mean": present.mean,
        "sd": present.sd,
        "sd_of_Y_statistic_large_n": present.sd_of_y,
        "sink_mean": gone.mean,
        "sink_sd": gone.sd,
    }
    published = tuple(k for k in CASES[case]["exact"] if k.startswith("published"))
    assert_reproduced(case, computed, not_theory=published)


def test_every_group_of_this_module_is_stored() -> None:
    here = ("A", "B", "C", "D", "E", "F", "G", "H", "I1", "I2", "I3", "K2", "N")
    assert sum(len(ids(prefix)) for prefix in here) == 39


# --- one ligand -----------------------------------------------------------------------------------


@repeatable
@given(st.floats(1e-6, 0.999999), rates)
def test_hyperbola_and_its_inverse(p: float, kd: float) -> None:
    c = theory.concentration_for_occupancy(p, kd)
    assert_allclose(theory.occupancy(c, kd), p, 1e-12)
    assert_allclose(theory.occupancy(kd, kd), 0.5, 1e-15)


def test_arguments_broadcast() -> None:
    grid = theory.occupancy([[1.0], [2.0]], [1.0, 2.0, 4.0])
    assert_allclose(grid, [[1 / 2, 1 / 3, 1 / 5], [2 / 3, 1 / 2, 1 / 3]])
    assert isinstance(theory.occupancy(1.0, 1.0), float)


@repeatable
@given(st.integers(0, 30), st.data(), st.floats(0, 1), st.floats(0, 5))
def test_open_transient_keeps_the_stationary_law(
    sites: int, data: st.DataObject, p: float, x: float
) -> None:
    stationary = theory.open_law(sites, p)
    moved = sum(
        weight * theory.open_transient_law(x, sites, b, p, 1.0).pmf
        for b, weight in enumerate(stationary.pmf)
    )
    assert_allclose(moved, stationary.pmf, atol=1e-13)
    bound = data.draw(st.integers(0, sites))
    law = theory.open_transient_law(x, sites, bound, p, 1.0)
    start = bound / sites if sites else 0.0
    assert_allclose(law.mean, sites * theory.occupancy_at(x, p, 1.0, start), atol=1e-12)


@repeatable
@given(st.integers(1, 60), st.floats(0, 60), st.floats(0.1, 10))
def test_variance_of_a_snapshot_mean_is_the_double_sum(n: int, x: float, tau: float) -> None:
    rho = np.exp(-x * np.abs(np.subtract.outer(np.arange(n), np.arange(n))))
    expected = 0.3 * 0.7 / 5 * rho.mean()
    assert_allclose(theory.snapshot_mean_variance(n, x * tau, 5, 0.3, tau), expected, 1e-12)
    assert_allclose(theory.effective_snapshots(n, x * tau, tau), 1 / rho.mean(), 1e-12)


@pytest.mark.parametrize("x", [0.0, 1e-9, 1e-4, 0.049, 0.051, 0.29, 0.31, 3.0, 1e3])
def test_snapshots_become_a_time_average(x: float) -> None:
    # n snapshots instead of the integral: larger by the factor 1 + (T/n)**2 / 12 + ...
    n = 100_000
    many = theory.snapshot_mean_variance(n, x / n, 1, 0.5, 1.0)
    assert_allclose(
        many, theory.time_average_variance(x, 1, 0.5, 1.0), rtol=(x / n) ** 2 / 10 + 1e-9
    )
    if x >= 3:
        formula = 0.5 / x * (1 - (1 - math.exp(-x)) / x)
        assert_allclose(theory.time_average_variance(x, 1, 0.5, 1.0), formula, 1e-14)


def test_effective_sizes_of_long_measurements() -> None:
    rho = math.exp(-0.2)
    assert_allclose(
        theory.effective_snapshots(10**7, 0.2, 1.0), 1e7 * (1 - rho) / (1 + rho), rtol=1e-6
    )
    assert_allclose(theory.effective_window(1e7, 2.0), 1e7 / 4, rtol=1e-6)
    assert_allclose(
        theory.time_average_variance(1e7, 1, 0.3, 2.0) * 1e7,
        theory.zero_frequency_noise(0.3, 2.0),
        rtol=1e-6,
    )


def matchings(sites: int, ligands: int, k: float) -> Array:
    """Equilibrium law of the number of pairs, from a list of all microscopic states."""
    weight = np.zeros(min(sites, ligands) + 1)

    def pair_up(site: int, taken: frozenset[int]) -> None:
        if site == sites:
            weight[len(taken)] += k ** len(taken)
            return
        pair_up(site + 1, taken)
        for ligand in set(range(ligands)) - taken:
            pair_up(site + 1, taken | {ligand})

    pair_up(0, frozenset())
    return weight / weight.sum()


@pytest.mark.parametrize("size", [(0, 3), (1, 1), (2, 3), (4, 3), (4, 5)])
def test_closed_law_counts_all_microscopic_states(size: tuple[int, int]) -> None:
    assert_allclose(theory.closed_law(*size, 0.7).pmf, matchings(*size, 0.7), rtol=1e-13)


@repeatable
@given(st.integers(0, 300), st.integers(0, 300), st.floats(1e-4, 1e4))
def test_closed_law_obeys_the_moment_identity(sites: int, ligands: int, k: float) -> None:
    law = theory.closed_law(sites, ligands, k)
    b = np.arange(law.pmf.size)
    free_pairs = ((sites - b) * (ligands - b)) @ law.pmf
    assert_allclose(k * free_pairs, law.mean, rtol=1e-10, atol=1e-12)
    assert_allclose(law.pmf, theory.closed_law(ligands, sites, k).pmf, rtol=1e-10)
    # The quadratic drops the variance, and so lies below.
    assert theory.morrison_mean(sites, ligands, k) <= law.mean * (1 + 1e-12)


def test_the_quadratic_is_good_only_for_many_copies() -> None:
    error = {
        n: float(theory.morrison_mean(n, n, 1 / n)) / n - theory.closed_law(n, n, 1 / n).mean / n
        for n in (1, 10, 500)
    }
    assert error[1] == pytest.approx(-0.118, abs=1e-3)
    assert error[10] == pytest.approx(-0.0079, abs=1e-4)
    assert error[500] == pytest.approx(-0.00015, abs=1e-5)


def test_no_copies_and_no_affinity() -> None:
    assert theory.closed_law(0, 5, 1.0).pmf.tolist() == [1.0]
    assert theory.closed_law(3, 5, 0.0).pmf.tolist() == [1.0, 0.0, 0.0, 0.0]
    assert theory.morrison_mean(3, 5, 0.0) == 0.0
    assert theory.closed_law(4000, 3000, 1e6).mean == pytest.approx(3000, rel=1e-6)


@repeatable
@given(st.integers(1, 8), st.integers(1, 8), rates, st.floats(0, 10), st.data())
def test_closed_transient_keeps_the_equilibrium(
    sites: int, ligands: int, kon: float, t: float, data: st.DataObject
) -> None:
    law = theory.closed_law(sites, ligands, kon)
    moved = sum(
        weight * theory.closed_transient_law(t, sites, ligands, kon, 1.0, b).pmf
        for b, weight in enumerate(law.pmf)
    )
    assert_allclose(moved, law.pmf, atol=1e-12)
    bound = data.draw(st.integers(0, min(sites, ligands)))
    late = theory.closed_transient_law(60.0, sites, ligands, kon, 1.0, bound)
    assert_allclose(late.pmf, law.pmf, atol=1e-10)  # the gap is at least k_off = 1


@repeatable
@given(st.floats(0.1, 50), st.floats(0.1, 50), rates, rates, st.floats(0, 1))
def test_mass_action_obeys_its_equation(
    sites: float, ligands: float, kon: float, koff: float, part: float
) -> None:
    start = part * min(sites, ligands)
    scale = 1 / (kon * (sites + ligands) + koff)
    t = np.array([0.0, 1e-4, 2e-4]) * scale
    m = theory.mass_action_transient(t, sites, ligands, kon, koff, start)
    assert_allclose(m[0], start, atol=1e-12 * (sites + ligands))
    slope = (m[2] - m[0]) / (t[2] - t[0])
    expected = kon * (sites - m[1]) * (ligands - m[1]) - koff * m[1]
    assert_allclose(slope * scale, expected * scale, atol=1e-7 * (sites + ligands))
    end = theory.mass_action_transient(1e6 * scale, sites, ligands, kon, koff, start)
    late = theory.morrison_mean(sites, ligands, kon / koff)
    assert_allclose(end, late, rtol=1e-9)


# --- competition ----------------------------------------------------------------------------------


@repeatable
@given(amounts, rates, amounts, rates)
def test_competition_relations(a: float, ka: float, b: float, kb: float) -> None:
    alone = theory.occupancy(a, ka)
    assert_allclose(theory.gaddum(a, ka, 0.0, kb), alone, rtol=1e-14)
    ic50 = theory.cheng_prusoff_ic50(kb, a, ka)
    assert_allclose(theory.gaddum(a, ka, ic50, kb), alone / 2, rtol=1e-13, atol=1e-300)
    assert_allclose(theory.cheng_prusoff_ki(ic50, a, ka), kb, rtol=1e-13)
    assert_allclose(theory.gaddum(theory.apparent_kd(ka, b, kb), ka, b, kb), 0.5, rtol=1e-13)
    law = theory.open_competition(7, [a, b], [ka, kb])
    counts = law.cov.sum()  # variance of the number occupied, a binomial
    assert_allclose(counts, 7 * law.p_free * (1 - law.p_free), rtol=1e-7, atol=1e-12)


@repeatable
@given(copies, copies, copies, rates, rates)
def test_closed_competition_identities(r: int, a: int, b: int, ka: float, kb: float) -> None:
    law = theory.closed_competition_law(r, a, b, ka, kb)
    i, j = np.indices(law.pmf.shape)
    empty = r - i - j
    assert np.all(law.pmf[empty < 0] == 0)
    assert_allclose(ka * (law.pmf * empty * (a - i)).sum(), law.mean("A"), rtol=1e-10, atol=1e-13)
    assert_allclose(kb * (law.pmf * empty * (b - j)).sum(), law.mean("B"), rtol=1e-10, atol=1e-13)
    swapped = theory.closed_competition_law(r, b, a, kb, ka)
    assert_allclose(swapped.pmf.T, law.pmf, rtol=1e-10)
    assert_allclose(swapped.cov("B", "A"), law.cov("A", "B"), rtol=1e-9, atol=1e-13)
    assert law.cov("A", "A") == law.var("A") == pytest.approx(law.marginal("A").sd ** 2)


@repeatable
@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40), rates)
def test_identical_ligands_are_one_ligand(r: int, a: int, b: int, k: float) -> None:
    law = theory.closed_competition_law(r, a, b, k, k)
    either = np.zeros(min(r, a + b) + 1)
    total = np.add.outer(*map(np.arange, law.pmf.shape))
    possible = total < either.size
    np.add.at(either, total[possible], law.pmf[possible])
    assert_allclose(either, theory.closed_law(r, a + b, k).pmf, rtol=1e-10, atol=1e-300)


def test_a_ligand_without_affinity_does_not_compete() -> None:
    law = theory.closed_competition_law(3, 4, 5, 0.6, 0.0)
    assert_allclose(law.marginal("A").pmf, theory.closed_law(3, 4, 0.6).pmf, rtol=1e-13)
    assert law.mean("B") == 0.0


@repeatable
@given(st.floats(0.1, 50), amounts, rates)
def test_one_ligand_mean_field_is_the_quadratic(r: float, n: float, k: float) -> None:
    assert_allclose(
        theory.wang_mean_field(r, [n], [k])[0], theory.morrison_mean(r, n, k), rtol=1e-9, atol=1e-12
    )


@repeatable
@given(st.tuples(*[st.floats(0.0, 30.0)] * 4), st.floats(0.0, 10.0))
def test_motulsky_mahan_is_a_matrix_exponential(k: tuple[float, ...], t: float) -> None:
    from scipy.linalg import expm

    on_label, off_label, on_other, off_other = k
    q = np.array(
        [
            [-on_label - on_other, on_label, on_other],
            [off_label, -off_label, 0.0],
            [off_other, 0.0, -off_other],
        ]
    )
    site = theory.motulsky_mahan(t, 1.0, on_label, off_label, 1.0, on_other, off_other)
    assert_allclose(site, expm(q * t)[0, 1:], atol=1e-12)


def test_motulsky_mahan_keeps_its_digits_where_the_rates_meet() -> None:
    # To second order in t, whatever the rates: p = k1 L t (1 - (k1 L + k2 + k3 I) t / 2).
    a, c, t = 1e-9, 1e-9, 1e-3
    site = theory.motulsky_mahan(t, a, 1.0, 1.0, c, 1.0, 1.0)
    assert_allclose(site.label, a * -math.expm1(-t), rtol=1e-12)
    assert_allclose(theory.motulsky_mahan(t, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0).label, 0.0)


@repeatable
@given(rates, rates, rates, rates)
def test_the_label_overshoots_a_slower_competitor(a: float, b: float, c: float, d: float) -> None:
    assume(abs(b - d) > 1e-3 * b)
    peak = theory.label_overshoot(1.0, a, b, 1.0, c, d)
    assert (peak is not None) == (d < b)
    if peak is not None:
        around = peak.time * np.array([0.5, 0.9, 1.1, 2.0])
        assert np.all(
            theory.motulsky_mahan(around, 1.0, a, b, 1.0, c, d).label
            <= peak.occupancy * (1 + 1e-12)
        )
        assert peak.occupancy >= theory.gaddum(1.0, b / a, 1.0, d / c)


# --- transport ------------------------------------------------------------------------------------


def counted_by_brute_force(r: theory.TransportRates, s: float, d: float, t: float) -> Array:
    """Law of one transporter's completed transports in ``t``: state and count together."""
    from scipy.linalg import expm

    most, a, c = 60, r.kon * s, r.kon_drug * d
    q = np.zeros((3 * most, 3 * most))
    for n in range(most):
        free, bound, blocked = 3 * n, 3 * n + 1, 3 * n + 2
        q[free, bound], q[free, blocked] = a, c
        q[bound, free], q[blocked, free] = r.koff, r.koff_drug
        if n + 1 < most:
            q[bound, free + 3] = r.kcat
    q -= np.diag(q.sum(axis=1))
    p = theory.transporter_occupancy(s, r.km, d, r.ki)
    start = np.zeros(3 * most)
    start[:3] = p.free, p.substrate, p.drug
    law: Array = (start @ expm(q * t)).reshape(most, 3).sum(axis=1)
    return law


@pytest.mark.parametrize("slow_drug", [1.0, 0.02])
def test_transport_counts_against_the_law_of_state_and_count(slow_drug: float) -> None:
    r = theory.TransportRates(0.7, 0.4, 1.3, slow_drug, slow_drug)
    law = theory.Law(counted_by_brute_force(r, 2.0, 1.5, 6.0))
    counts = theory.transport_counts(6.0, r, 5, 2.0, 1.5)
    assert_allclose(counts, [5 * law.mean, 5 * law.var], rtol=1e-10)


@repeatable
@given(rates, st.floats(0, 100), rates)
def test_transport_without_drug_is_never_burstier_than_poisson(
    a: float, koff: float, kcat: float
) -> None:
    fano = theory.transport_fano(1.0, a, koff, kcat)
    assert 0.5 - 1e-12 <= fano <= 1
    assert_allclose(theory.transport_fano(1.0, kcat, 0.0, kcat), 0.5, rtol=1e-12)


@repeatable
@given(rates, rates, rates, rates, rates)
def test_transport_over_short_and_long_windows(
    a: float, koff: float, kcat: float, c: float, d: float
) -> None:
    r = theory.TransportRates(a, koff, kcat, c, d)
    long = theory.transport_counts(1e7, r, 1, 1.0, 1.0)
    fano = theory.transport_fano(1.0, a, koff, kcat, 1.0, c, d)
    assert_allclose(long.fano, fano, rtol=1e-3)
    assert_allclose(long.mean, 1e7 * theory.transport_flux(1.0, r.km, kcat, 1.0, r.ki), rtol=1e-10)
    assert_allclose(theory.transport_counts(1e-7, r, 1, 1.0, 1.0).fano, 1.0, atol=1e-3)


def test_a_slow_drug_makes_transport_bursty() -> None:
    slow = theory.transport_fano(3.0, 0.4, 0.2, 1.0, 0.3, 0.5, 0.05)
    fast = theory.transport_fano(3.0, 0.4, 0.2, 1.0, 0.3, 500.0, 50.0)
    assert slow == pytest.approx(83 / 15)  # case H2 by hand: 5.5333
    assert fast < 1


def test_a_closed_cycle_at_rest_is_closed_competition() -> None:
    # Transport a million times slower than binding, return a million times faster than transport.
    r = theory.TransportRates(0.3, 0.5, 1e-9, 0.2, 0.4)
    law = theory.closed_cycle(r, 3, 4, 5, 1.0).law
    rest = theory.closed_competition_law(3, 4, 5, 0.3 / 0.5, 0.2 / 0.4)
    assert_allclose(law.table("TS", "TD"), rest.pmf, rtol=1e-7, atol=1e-12)


def test_closed_cycle_with_drug() -> None:
    r = theory.TransportRates(0.3, 0.5, 1.0, 0.2, 0.4)
    solved = theory.closed_cycle(r, 5, 10, 6, 0.15)
    law = solved.law
    assert np.count_nonzero(law.pmf) == 196
    # Known values of this 196-state master equation, to the digits given.
    assert law.mean("TS") == pytest.approx(0.887139, abs=1e-6)
    assert law.mean("TD") == pytest.approx(2.681965, abs=1e-6)
    assert law.mean("S_in") == pytest.approx(5.914257, abs=1e-6)
    assert_allclose(r.kcat * law.mean("TS"), 0.15 * law.mean("S_in"), rtol=1e-13)
    assert_allclose(solved.uptake.rate, r.kcat * law.mean("TS"), rtol=1e-13)
    free_s, free_d = 10 - law.mean("TS") - law.mean("S_in"), 6 - law.mean("TD")
    plug_in = 5 * theory.transporter_occupancy(free_s, r.km, free_d, r.ki).drug
    assert plug_in == pytest.approx(2.5146, abs=1e-4)  # the mean-field error is 3.3 points


def test_one_molecule_one_transporter() -> None:
    r = theory.TransportRates(0.4, 0.0, 1.5)
    cleared = theory.clearance(r, 1, 1)
    assert_allclose(cleared.mean, 1 / 0.4 + 1 / 1.5, rtol=1e-13)
    assert_allclose(cleared.sd, math.hypot(1 / 0.4, 1 / 1.5), rtol=1e-13)
    assert theory.clearance(r, 1, 0).mean == 0.0
    cycle = theory.closed_cycle(r, 1, 1, 0, 0.8)
    assert_allclose(cycle.uptake.rate, 1 / (1 / 0.4 + 1 / 1.5 + 1 / 0.8), rtol=1e-13)


def test_without_substrate_nothing_is_counted() -> None:
    drug_only = theory.closed_cycle(theory.TransportRates(1.0, 1.0, 1.0, 1.0), 2, 0, 1, 1.0)
    assert math.isnan(drug_only.uptake.fano)
    assert drug_only.uptake.moments(3.0) == (0.0, 0.0)
    assert drug_only.uptake.moments(3.0).fano == 1.0
    assert drug_only.law.mean("TD") == pytest.approx(2 / 3)  # K = 1, two sites: w = 1, 2
    nothing = theory.closed_cycle(theory.TransportRates(1.0, 1.0, 1.0), 2, 0, 0, 1.0)
    assert (nothing.uptake.rate, nothing.law.pmf.tolist()) == (0.0, [[[1.0]]])


def test_a_chain_with_a_trap_has_no_stationary_law() -> None:
    chain = explore((0,), lambda s: [Move((1,), 1.0)] if s == (0,) else [])
    with pytest.raises(ValueError, match="some states trap it"):
        stationary(chain)


def test_drug_delays_clearance() -> None:
    r = theory.TransportRates(0.3, 0.5, 1.0, 0.2, 0.4)
    cleared = theory.clearance(r, 5, 10, 6)
    assert cleared.mean == pytest.approx(10.7899, abs=1e-4)
    assert cleared.sd == pytest.approx(4.3364, abs=1e-4)
    assert cleared.inside(0.0).mean == 0.0
    assert cleared.inside(200.0).pmf[-1] == pytest.approx(1.0)


def test_a_drained_pool_conserves_and_refuses_too_small_a_table() -> None:
    r = theory.TransportRates(0.5, 0.5, 1.0, 0.3, 0.6)
    solved = theory.drained_pool(r, 4, 6.0, 0.5, drug=1.0)
    leaving = 0.5 * solved.law.mean("S") + solved.uptake.rate
    assert_allclose(leaving, 6.0, rtol=1e-10)
    assert solved.law.mean("S") > theory.drained_pool_mean_field(r, 4, 6.0, 0.5, 1.0).free
    alone = theory.drained_pool(r, 0, 6.0, 0.5).law.marginal("S")
    assert_allclose([alone.mean, alone.var], [12.0, 12.0], rtol=1e-10)
    with pytest.raises(ValueError, match="largest_pool = 15 cuts off"):
        theory.drained_pool(r, 4, 6.0, 0.5, largest_pool=15)


def test_large_chains_are_solved_otherwise_and_equally(monkeypatch: pytest.MonkeyPatch) -> None:
    r = theory.TransportRates(0.3, 0.5, 1.0, 0.2, 0.4)
    small = theory.closed_cycle(r, 4, 6, 3, 0.15)
    # Here the empty pool, where the search for states begins, is all but impossible (1e-37).
    small_pool = theory.drained_pool(r, 2, 20.0, 0.2, drug=1.0)
    monkeypatch.setattr("synapse_abm.theory._chain.FULL_MATRIX_STATES", 10)
    large = theory.closed_cycle(r, 4, 6, 3, 0.15)
    assert_allclose(large.law.pmf, small.law.pmf, rtol=1e-9)
    assert_allclose(large.uptake.fano, small.uptake.fano, rtol=1e-9)
    large_pool = theory.drained_pool(r, 2, 20.0, 0.2, drug=1.0)
    assert_allclose(large_pool.law.pmf, small_pool.law.pmf, atol=1e-14)
    assert_allclose(large_pool.uptake.fano, small_pool.uptake.fano, rtol=1e-9)
    with pytest.raises(ValueError, match="too many for a transient"):
        large.uptake.moments(1.0)


# --- arrivals and exits ---------------------------------------------------------------------------


def present_and_gone(alpha: float, mu: float, batch: int, start: int, t: float) -> Array:
    """Joint law of molecules present and gone at ``t``, by the master equation."""
    from scipy.sparse import lil_array
    from scipy.sparse.linalg import expm

    most = 18
    q = lil_array((most * most, most * most))
    for x in range(most):
        for gone in range(most - x):
            here = x * most + gone
            if x + gone + batch < most:
                q[here, (x + batch) * most + gone] = alpha
            if x:
                q[here, (x - 1) * most + gone + 1] = mu * x
    q.setdiag(-q.sum(axis=1))
    return np.asarray(expm(q.tocsc() * t)[[start * most]].toarray()).reshape(most, most)


@pytest.mark.parametrize(("batch", "start"), [(1, 0), (1, 5), (3, 0), (2, 3)])
def test_batches_against_the_master_equation(batch: int, start: int) -> None:
    # At alpha t = 0.1, five or more arrivals beyond the table have probability below 1e-7.
    alpha, mu, t = 0.1, 0.9, 1.0
    joint = present_and_gone(alpha, mu, batch, start, t)
    present, gone = theory.Law(joint.sum(axis=1)), theory.Law(joint.sum(axis=0))
    exact = theory.immigration_death(t, alpha, mu, batch, start)
    left = theory.exit_count(t, alpha, mu, batch, start)
    fourth = present.central_moment(4) - 3 * present.var**2
    assert_allclose([exact.mean, exact.var], [present.mean, present.var], rtol=1e-5)
    assert_allclose(exact.fourth_cumulant, fourth, rtol=2e-3, atol=1e-6)
    assert_allclose([left.mean, left.var], [gone.mean, gone.var], rtol=1e-5)


@repeatable
@given(st.floats(0, 1e3), rates, st.floats(0, 50), st.integers(1, 20), st.integers(0, 30))
def test_nothing_is_lost(t: float, alpha: float, mu: float, batch: int, start: int) -> None:
    present = theory.immigration_death(t, alpha, mu, batch, start)
    gone = theory.exit_count(t, alpha, mu, batch, start)
    assert_allclose(present.mean + gone.mean, start + alpha * batch * t, rtol=1e-12)
    single = theory.immigration_death(t, alpha, mu)
    assert_allclose([single.var, single.fourth_cumulant], single.mean, rtol=1e-12)  # Poisson


def test_a_batch_is_not_as_many_single_arrivals() -> None:
    batches = theory.immigration_death(50.0, 1.0, 0.4, batch=10)
    singles = theory.immigration_death(50.0, 10.0, 0.4)
    assert_allclose(batches.mean, singles.mean, rtol=1e-13)
    assert singles.var == pytest.approx(25.0)
    assert batches.var == pytest.approx(137.5)


def test_a_reset_starts_afresh() -> None:
    t = np.array([1.0, 2.0, 3.5])
    system = (2.0, 0.3, 4)
    reset = theory.immigration_death(t, *system, start=7, reset=(2.0, 50))
    assert_allclose(reset.mean[0], theory.immigration_death(1.0, *system, start=7).mean)
    assert (reset.mean[1], reset.var[1], reset.sd_of_y[1]) == (50.0, 0.0, 1.0)
    assert_allclose(reset.mean[2], theory.immigration_death(1.5, *system, start=50).mean)
    gone = theory.exit_count(t, *system, start=7, reset=(2.0, 50))
    later = theory.exit_count(1.5, *system, start=50).mean
    assert_allclose(gone.mean[2], theory.exit_count(2.0, *system, start=7).mean + later)


@pytest.mark.parametrize("case", ids("K1"))
def test_one_molecule_one_site_on_a_grid(case: str) -> None:
    q = CASES[case]["params"]
    law = theory.grid_law(1, 1, q["k_bind_in_cell"], q["koff"], math.prod(q["shape"]))
    assert_allclose(law.mean, CASES[case]["exact"]["p_bound"], rtol=1e-12)


# --- manners --------------------------------------------------------------------------------------

NAN, INF = float("nan"), float("inf")
half: Any = 2.5
RATES = theory.TransportRates(1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda: theory.occupancy(-1.0, 1.0), r"concentration = -1.0 .* finite and >= 0"),
        (lambda: theory.occupancy([1.0, NAN], 1.0), "concentration = nan"),
        (lambda: theory.occupancy(INF, 1.0), "concentration = inf"),
        (lambda: theory.occupancy(1.0, 0.0), r"kd = 0.0 .* finite and > 0"),
        (lambda: theory.occupancy("much", 1.0), "concentration = 'much'"),
        (lambda: theory.concentration_for_occupancy(1.0, 1.0), r"wanted = 1.0 .*\[0, 1\)"),
        (lambda: theory.occupancy_at(-1.0, 0.5, 1.0), "t = -1.0"),
        (lambda: theory.relaxation_time(0.0, 1.0, 0.0), "k_obs = 0.0"),
        (lambda: theory.open_law(2, 1.5), r"p = 1.5 .*\[0, 1\]"),
        (lambda: theory.open_law(half, 0.5), r"sites = 2.5 .* whole number >= 0"),
        (lambda: theory.open_transient_law(1.0, 2, 3, 0.5, 1.0), "bound = 3 .* <= 2"),
        (lambda: theory.time_average_variance(1.0, 0, 0.5, 1.0), "sites = 0"),
        (lambda: theory.snapshot_mean_variance(0, 1.0, 1, 0.5, 1.0), "n = 0"),
        (lambda: theory.closed_law(-1, 2, 1.0), "sites = -1"),
        (lambda: theory.closed_law(1, 2, NAN), "affinity = nan"),
        (lambda: theory.closed_transient_law(1.0, 2, 2, 1.0, 1.0, 3), "bound = 3"),
        (lambda: theory.morrison_mean(1.0, -2.0, 1.0), "ligands = -2.0"),
        (lambda: theory.open_pool(1, NAN, 1.0, 1.0), "mean_free = nan"),
        (lambda: theory.open_competition(1, [1.0, -1.0], [1.0, 1.0]), "concentrations = -1.0"),
        (lambda: theory.closed_competition_law(1, 1, -1, 1.0, 1.0), "b = -1"),
        (lambda: theory.wang_mean_field(0.0, [1.0], [1.0]), "sites = 0.0"),
        (lambda: theory.motulsky_mahan(1.0, 1.0, 1.0, -1.0, 1.0, 1.0, 1.0), "koff_label = -1.0"),
        (lambda: theory.TransportRates(1.0, 1.0, 0.0), "kcat = 0.0"),
        (lambda: theory.transporter_occupancy(1.0, 1.0, 1.0, 0.0), "ki = 0.0"),
        (lambda: theory.transport_counts(-1.0, RATES, 1, 1.0), "t = -1.0"),
        (lambda: theory.closed_cycle(RATES, 1, 1, 1, 0.0), "k_recycle = 0.0"),
        (lambda: theory.clearance(RATES, 0, 1), "transporters = 0"),
        (lambda: theory.drained_pool(RATES, 1, 1.0, 0.0), "exit_rate = 0.0"),
        (lambda: theory.immigration_death(1.0, -1.0, 1.0), "arrival_rate = -1.0"),
        (lambda: theory.immigration_death(1.0, 1.0, 1.0, batch=0), "batch = 0"),
        (lambda: theory.grid_law(1, 1, 1.0, 1.0, 0), "cells = 0"),
        (lambda: theory.Law(np.array([0.5, 0.4])), "pmf sums to 0.9"),
        (lambda: theory.Law(np.array([[1.0]])), "a Law has one"),
        (lambda: theory.JointLaw(("A",), np.array([[1.0]])), "2 axes for the names"),
        (lambda: theory.closed_law(1, 1, 1.0).central_moment(-1), "order = -1"),
        (lambda: theory.closed_competition_law(1, 1, 1, 1, 1).mean("C"), "no count 'C'"),
        (lambda: theory.occupancy(True, 1.0), "concentration = True"),
        (lambda: theory.occupancy(["1"], 1.0), r"concentration = \['1'\]"),
        (lambda: theory.occupancy(10**400, 1.0), "concentration = a whole number of about 401"),
        (lambda: theory.occupancy([1.0, 2.0], [1.0] * 3), r"shapes of .*kd \(3,\)"),
        (lambda: theory.open_law(3, cast(Any, [0.5, 0.5])), "p = .* one number"),
        (lambda: theory.open_law(10**9, 0.5), "sites = 1000000000 .* <= 4000000"),
        (lambda: theory.open_law(10**400, 0.5), "sites = a whole number of about 401 digits"),
        (lambda: theory.open_law(cast(Any, "3"), 0.5), "sites = '3'"),
        (lambda: theory.closed_law(10**9, 10**9, 1.0), "sites and ligands = 1000000000"),
        (lambda: theory.closed_competition_law(10**9, 9999, 9999, 1.0, 1.0), "sites, a and b"),
        (lambda: theory.closed_cycle(cast(Any, 1.5), 1, 1, 1, 1.0), "rates = 1.5"),
        (lambda: theory.closed_cycle(RATES, 99, 9999, 1, 1.0), "arguments lead to over"),
        (lambda: theory.immigration_death(1.0, 1.0, 1.0, reset=cast(Any, 1.5)), "reset = 1.5"),
        (lambda: theory.burst_load(1e300, 1.0), "mean_load = 1e.300"),
        (lambda: theory.drug_apparent_kd(1.0, -1.0, 1.0), "substrate = -1.0"),
        (lambda: theory.closed_transient_law(1e30, 2, 2, 1.0, 1.0), "t = 1e.30 .* events"),
    ],
)
def test_bad_input_is_refused_by_name(call: Callable[[], object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        call()


def test_importing_theory_is_quick_and_loads_nothing_else() -> None:
    script = (
        "import sys, synapse_abm.theory\n"
        "print(*(m for m in sys.modules if m.split('.')[0] in ('scipy', 'mesa', 'numba')"
        " or m.startswith('synapse_abm.')"
        " and not m.startswith(('synapse_abm.theory', 'synapse_abm.core'))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
