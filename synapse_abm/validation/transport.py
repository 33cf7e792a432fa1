"""Groups H and I: transporters that take up a substrate while a drug competes for their site."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import partial

import numpy as np

from synapse_abm.synapse.engine.network import Names
from synapse_abm.synapse.engine.simulation import Series, Simulation, event_index
from synapse_abm.synapse.scenario import Ligand, Scenario
from synapse_abm.theory import Clearance, TransportRates, clearance, transporter_occupancy
from synapse_abm.validation.cases import Array, Case, NotRun, on_steps
from synapse_abm.validation.quantities import (
    OCCUPANCY,
    RELATIVE,
    SPREAD,
    Number,
    at_least,
    deviation,
    fano,
    mean,
    variance,
)
from synapse_abm.validation.relaxation import pace
from synapse_abm.validation.samples import Columns, Replicates
from synapse_abm.validation.scenarios import (
    SitesTaken,
    at_random,
    per_concentration,
    per_pair,
    reservoir,
    side_by_side,
    well_mixed,
)
from synapse_abm.validation.trials import (
    DECIDING,
    Claims,
    Parts,
    affordable,
    free,
    interleaved,
    occupants,
    series,
    stationary,
    too_long,
    trial,
)

#: First looks at replicates: the law of a count over a window is nearly normal, that of a
#: completion time is not.
FIRST_COUNTS, FIRST_TIMES = 1600, 4000
#: States of a law in time that the theory takes.
MOST_STATES = 1200
#: Clearances followed at once.
COPIES = 16
_TRANSPORTED: Columns = {"flux": lambda series: series.count("transported", "S", "T")}


def _rates(case: Case, on: str, on_drug: str) -> TransportRates:
    """Rates of the cycle, the substrate's k_on and the drug's under these names."""
    return TransportRates(
        case.rate(on), case.rate("koff", zero=True), case.rate("kcat"),
        case.rate(on_drug, zero=True), case.rate("koff_D"),
    )  # fmt: skip


# --- substrate and drug of fixed concentrations ---------------------------------------------------


def clamped(case: Case) -> Parts:
    """Group H: substrate and drug of fixed concentrations."""
    sites, rates = case.count("N_T", 1), _rates(case, "kon", "kon_D")
    substrate = per_concentration(rates.kon, rates.koff, rates.kcat)
    drug = per_concentration(rates.kon_drug, rates.koff_drug)
    s, d = case.rate("S", zero=True), case.rate("D", zero=True)
    ligands = {
        "S": Ligand(clamped_nM=s, binding={"T": substrate}),
        "D": Ligand(clamped_nM=d, binding={"T": drug}),
    }
    scenario = well_mixed(sites, ligands)
    # Flux is a count per observation, which `stationary` makes once a relaxation time.
    claims, dt = Claims(case), pace(scenario).relaxation_s
    claims.sites(sites, TS=("p_TS",), TD=("p_TD",))
    claims.share("p_free", "empty", sites)
    claims.mean("flux_per_T", "flux", 1 / (sites * dt))
    claims.mean("flux_total", "flux", 1 / dt)
    levels = occupants(sites, TS="S", TD="D")
    yield from stationary(case, claims, scenario, levels, _TRANSPORTED)
    p = transporter_occupancy(s, rates.km, d, rates.ki)
    yield from _counts(case, scenario, {"S": float(p.substrate), "D": float(p.drug)})


def _counts(case: Case, scenario: Scenario, occupancy: Mapping[str, float]) -> Parts:
    """Transports completed within ``t_count``, each window from a stationary start of its own.

    Sites are independent there, so the stationary state can be drawn directly.
    """
    claims = Claims(case, solved=True)  # from the generator of a transporter's three states
    claims.mean("mean_count_t", "count")
    claims.spread("var_count_t", variance("count"))
    claims.spread("fano_flux_t", fano("count"))
    if not claims.all:
        return
    window = case.rate("t_count")
    events = pace(scenario).events_per_s * window
    # A run costs as much as some hundred events before anything happens: small systems share it.
    copies = min(max(1, round(500 / (events + 1))), 32)
    replicas = side_by_side(scenario.model_copy(update={"dt_s": window}), copies)
    names = Names.of(replicas)
    start = SitesTaken(names, "".join(occupancy), at_random(occupancy))
    columns = [event_index(names, "transported", f"S{i}", f"T{i}") for i in range(copies)]

    def read(_: Simulation, series: Series) -> Mapping[str, Array]:
        return {"count": series.events[-1, columns].astype(np.float64)}

    observe = partial(Replicates, replicas, steps=1, read=read, prepare=start)
    per_observation = events * (1 + copies / 16) + 1000 / copies
    yield from trial(case, claims.all, FIRST_COUNTS, observe, per_observation)


# --- molecules in finite numbers ------------------------------------------------------------------


def coupled(case: Case) -> Parts:
    """Group I: transporters and molecules in finite numbers, told apart by their parameters."""
    if "alpha" in case.params:
        return _drained_pool(case)
    if "k_recycle" in case.params:
        return _closed_cycle(case)
    return _clearance(case)


def _molecules(case: Case, rates: TransportRates, return_per_s: float = 0.0) -> dict[str, Ligand]:
    substrate = per_pair(rates.kon, rates.koff, rates.kcat)
    drug = per_pair(rates.kon_drug, rates.koff_drug)
    return {
        "S": Ligand(count=case.count("N_S"), binding={"T": substrate}, return_per_s=return_per_s),
        "D": Ligand(count=case.count("N_D"), binding={"T": drug}),
    }


def _closed_cycle(case: Case) -> Parts:
    """What was taken up comes back at ``k_recycle``; counts over a time if the case asks."""
    sites, rates = case.count("N_T", 1), _rates(case, "kon_pair", "kon_D_pair")
    scenario = well_mixed(sites, _molecules(case, rates, case.rate("k_recycle")))
    window = _counting_window(case)
    claims = _bound_claims(case, sites)
    for name in ("S_in", "S_free", "D_free"):
        claims.mean(f"mean_{name}", name)
        claims.spread(f"var_{name}", variance(name))
        size = abs(case.number(f"mean_{name}") or 1.0)
        claims.law(f"pmf_{name}", name, RELATIVE.size * size)
    claims.mean("flux", "flux", 1 / (window or pace(scenario).relaxation_s))
    if window:
        claims.mean(f"mean_count_t{window:g}", "flux")
        claims.spread(f"var_count_t{window:g}", variance("flux"))
    levels = occupants(sites, TS="S", TD="D") | {
        "S_in": lambda series: series.inside("S").astype(float),
        "S_free": free("S"),
        "D_free": free("D"),
    }
    return stationary(case, claims, scenario, levels, _TRANSPORTED, window)


def _counting_window(case: Case) -> float | None:
    """The time (s) over which the case counts transports, from the names of its numbers."""
    # No parameter says it: the file's names do, as in var_count_t5.
    for key in case.exact:
        if match := re.fullmatch(r"(?:mean|var)_count_t(\d{1,6}(?:\.\d{1,6})?)", key):
            return float(match[1]) or None
    return None


def _bound_claims(case: Case, sites: int) -> Claims:
    claims = Claims(case, solved=True)  # null vectors of master equations
    claims.sites(sites, TS=("substrate_occupancy",), TD=("drug_occupancy",))
    claims.pair("TS", "TD", sites, ("joint_pmf", "joint_pmf_TS_TD"))
    return claims


def _drained_pool(case: Case) -> Parts:
    """Free substrate enters and leaves, and is taken up; the drug has a fixed concentration."""
    sites, exits = case.count("N_T", 1), case.rate("gamma")
    rates = _rates(case, "kon_pair", "kon_D")
    substrate = per_pair(rates.kon, rates.koff, rates.kcat)
    drug = per_concentration(rates.kon_drug, rates.koff_drug)
    ligands = {
        # What is inside plays no part; it is destroyed there so that it does not pile up.
        "S": Ligand(
            reservoir=reservoir(case.rate("alpha", zero=True) / exits, exits),
            binding={"T": substrate}, metabolism_per_s=rates.kcat,
        ),
        "D": Ligand(clamped_nM=case.rate("D_chemostat", zero=True), binding={"T": drug}),
    }  # fmt: skip
    scenario = well_mixed(sites, ligands)
    claims = _bound_claims(case, sites)
    claims.mean("mean_S", "S")
    claims.spread("var_S", variance("S"))
    claims.spread("fano_S", fano("S"))
    claims.mean("flux", "flux", 1 / pace(scenario).relaxation_s)
    levels = occupants(sites, TS="S", TD="D") | {"S": free("S")}
    return stationary(case, claims, scenario, levels, _TRANSPORTED)


def _clearance(case: Case) -> Parts:
    """Nothing comes back: how long until all is inside, and how much is inside meanwhile."""
    sites, rates = case.count("N_T", 1), _rates(case, "kon_pair", "kon_D_pair")
    molecules = _molecules(case, rates)
    case.count("N_S", 1)  # of nothing there is no last one
    times = case.times() if "t" in case.params else np.zeros(0)
    case.stop_if_faulty()
    step, records = on_steps(times, most_steps=200)
    substrates, drugs = molecules["S"].count, molecules["D"].count
    per_observation = (substrates + drugs) * 4 * 2 + 100
    if (cost := DECIDING * FIRST_TIMES * per_observation) > affordable(case):
        raise NotRun(too_long(cost))  # before the law, which takes long too
    states = sum(
        (substrates - ts + 1) * (min(drugs, sites - ts) + 1)
        for ts in range(min(sites, substrates) + 1)
    )
    if states > MOST_STATES:
        raise NotRun(f"its error bars come from a law with {states} states; at most {MOST_STATES} "
                     "here")  # fmt: skip
    numbers = _clearance_numbers(case, times, clearance(rates, sites, substrates, drugs))
    scenario = side_by_side(well_mixed(sites, molecules, step), COPIES)

    def inside(series: Series) -> Array:
        return np.array([series.inside(f"S{i}") for i in range(COPIES)], dtype=np.float64)

    def read(simulation: Simulation, series: Series) -> Mapping[str, Array]:
        """What is inside at the case's times, and the time of the last uptake of each copy."""
        # Starting again keeps the clock going.
        start = series.seconds[0] - step
        taken_up = np.hstack([np.zeros((COPIES, 1)), inside(series)])
        columns = {f"inside@{i}": taken_up[:, at] for i, at in enumerate(records)}
        columns |= {
            f"done@{i}": (taken_up[:, at] == substrates).astype(np.float64)
            for i, at in enumerate(records)
        }
        # Beyond the last time asked for, until the last molecule of the last copy; in vain if it
        # never comes, which the time of the end then shows.
        for _ in range(1000):
            if (taken_up[:, -1] == substrates).all():
                break
            taken_up = inside(simulation.run(16, every=16))
        ends = [simulation.last_time_s("transported", f"S{i}", f"T{i}") for i in range(COPIES)]
        return columns | {"end": np.array(ends) - start}

    observe = partial(Replicates, scenario, steps=int(records.max(initial=1)), read=read)
    yield from trial(case, numbers, FIRST_TIMES, observe, per_observation)


def _clearance_numbers(case: Case, times: Array, exact: Clearance) -> list[Number]:
    """Errors are no smaller than the exact ones: late molecules, and early ends, are rare."""
    numbers = [
        RELATIVE.number(case.id, key, value, measure, solved=True)
        for key, measure in (("mean_completion", mean("end")), ("sd_completion", deviation("end")))
        if (value := case.number(key)) is not None
    ]
    laws = [exact.inside(t) for t in times]
    done = [float(law.pmf[-1]) for law in laws]
    fourth = [math.sqrt(max(law.central_moment(4) - law.var**2, 0.0)) for law in laws]
    curves = (
        series(case, "mean_S_in_t", times, "mean_S_in", RELATIVE.of_largest(),
               lambda i, _: at_least(mean(f"inside@{i}"), laws[i].sd), solved=True),
        series(case, "var_S_in_t", times, "var_S_in", SPREAD.of_largest(),
               lambda i, _: at_least(variance(f"inside@{i}"), fourth[i]), solved=True),
        series(case, "P_complete_t", times, "P_complete", OCCUPANCY,
               lambda i, _: at_least(mean(f"done@{i}"), math.sqrt(done[i] * (1 - done[i]))),
               solved=True),
    )  # fmt: skip
    return numbers + interleaved(*curves)
