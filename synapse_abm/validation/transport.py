"""Groups H and I: transporters that carry a substrate inside while a drug competes for the seat."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import partial
from types import ModuleType

import numpy as np

from synapse_abm.core.address import Address
from synapse_abm.synapse.engine.network import Names
from synapse_abm.synapse.engine.simulation import Series, Simulation, event_index
from synapse_abm.synapse.scenario import Ligand, Scenario
from synapse_abm.theory import (
    Clearance,
    TransportRates,
    clearance,
    transporter_occupancy,
)
from synapse_abm.validation.cases import Array, Case, common_step
from synapse_abm.validation.quantities import (
    FINER,
    FINER_OCCUPANCY,
    OCCUPANCY,
    RELATIVE,
    SPREAD,
    Number,
    at_least,
    covariance,
    deviation,
    fano,
    mean,
    variance,
)
from synapse_abm.validation.relaxation import pace
from synapse_abm.validation.samples import Columns, Replicates, Sample
from synapse_abm.validation.scenarios import (
    per_concentration,
    per_pair,
    reservoir,
    side_by_side,
    well_mixed,
)
from synapse_abm.validation.seats import Seats
from synapse_abm.validation.trials import (
    DECIDING,
    Claims,
    Plan,
    Trial,
    affordable,
    bound,
    free,
    stationary,
    too_long,
    trial,
)

#: First looks at replicates: the law of a count over a window is nearly normal, that of a
#: completion time is not.
FIRST_COUNTS, FIRST_TIMES = 1600, 4000
#: States of a law in time that the theory takes.
MOST_STATES = 1200
_TRANSPORTED: Columns = {"flux": lambda series: series.count("transported", "S", "T")}


def clamped(case: Case) -> Plan:
    """Group H: substrate and drug of fixed concentrations."""
    sites = case.count("N_T", 1)
    scenario = _clamped_cycle(case, sites)
    claims = Claims(case)
    dt = pace(scenario).relaxation_s
    for name in ("TS", "TD"):
        claims.share(f"p_{name}", name, sites)
        claims.occupied(f"mean_{name}", name, sites)
        claims.spread(f"var_{name}", variance(name))
    claims.share("p_free", "empty", sites)
    claims.mean("flux_per_T", "flux", 1 / (sites * dt))
    claims.mean("flux_total", "flux", 1 / dt)
    levels: Columns = {
        "TS": bound("S"),
        "TD": bound("D"),
        "empty": lambda series: sites - bound("S")(series) - bound("D")(series),
    }
    found = stationary(case, claims, scenario, levels, _TRANSPORTED)
    found.add(_counts(case, scenario, sites))
    return found


def _clamped_cycle(case: Case, sites: int) -> Scenario:
    substrate = per_concentration(case.rate("kon"), case.rate("koff", zero=True), case.rate("kcat"))
    drug = per_concentration(case.rate("kon_D", zero=True), case.rate("koff_D"))
    ligands = {
        "S": Ligand(clamped_nM=case.rate("S", zero=True), binding={"T": substrate}),
        "D": Ligand(clamped_nM=case.rate("D", zero=True), binding={"T": drug}),
    }
    return well_mixed(sites, ligands)


def _counts(case: Case, scenario: Scenario, sites: int) -> Plan:
    """Transports completed within ``t_count``, each window from a stationary start of its own.

    Sites are independent there, so the stationary state can be drawn directly.
    """
    claims = Claims(case)
    claims.mean("mean_count_t", "count")
    claims.spread("var_count_t", variance("count"))
    claims.spread("fano_flux_t", fano("count"))
    quantities = (*claims.means, *claims.spreads)
    if not quantities:
        return Plan()
    window = case.rate("t_count")
    events = pace(scenario).events_per_s * window
    copies = min(max(1, round(500 / (events + 1))), 32)
    replicas = side_by_side(scenario.model_copy(update={"dt_s": window}), copies)
    names = Names.of(replicas)
    seats = Seats(names, _stationary_occupancy(case))
    columns = [event_index(names, "transported", f"S{i}", f"T{i}") for i in range(copies)]

    def read(_: Simulation, series: Series) -> Mapping[str, Array]:
        return {"count": series.events[-1, columns].astype(np.float64)}

    observe = partial(Replicates, replicas, steps=1, read=read, prepare=seats)
    cost = DECIDING * FIRST_COUNTS * (events * (1 + copies / 16) + 1000 / copies)
    return trial(case, quantities, FIRST_COUNTS, observe, cost)


def _stationary_occupancy(case: Case) -> Mapping[str, float]:
    rates = TransportRates(
        case.rate("kon"), case.rate("koff", zero=True), case.rate("kcat"),
        case.rate("kon_D", zero=True), case.rate("koff_D"),
    )  # fmt: skip
    substrate, drug = case.rate("S", zero=True), case.rate("D", zero=True)
    p = transporter_occupancy(substrate, rates.km, drug, rates.ki)
    return {"S": float(p.substrate), "D": float(p.drug)}


def coupled(case: Case) -> Plan:
    """Group I: transporters and molecules in finite numbers, told apart by their parameters."""
    if "alpha" in case.params:
        return _drained_pool(case)
    if "k_recycle" in case.params:
        return _closed_cycle(case)
    return _clearance(case)


def _molecules(case: Case, return_per_s: float) -> dict[str, Ligand]:
    substrate = per_pair(case.rate("kon_pair"), case.rate("koff", zero=True), case.rate("kcat"))
    drug = per_pair(case.rate("kon_D_pair", zero=True), case.rate("koff_D"))
    return {
        "S": Ligand(count=case.count("N_S"), binding={"T": substrate}, return_per_s=return_per_s),
        "D": Ligand(count=case.count("N_D"), binding={"T": drug}),
    }


def _closed_cycle(case: Case) -> Plan:
    """What was carried inside comes back at ``k_recycle``; counts over a time if the case asks."""
    sites = case.count("N_T", 1)
    scenario = well_mixed(sites, _molecules(case, case.rate("k_recycle")))
    window = _counting_window(case)
    dt = window or pace(scenario).relaxation_s
    claims = _bound_claims(case, sites)
    for name in ("S_in", "S_free", "D_free"):
        claims.mean(f"mean_{name}", name)
        claims.spread(f"var_{name}", variance(name))
        claims.law(f"pmf_{name}", name, RELATIVE * abs(case.number(f"mean_{name}") or 1.0))
    claims.mean("flux", "flux", 1 / dt)
    if window:
        claims.mean(f"mean_count_t{window:g}", "flux")
        claims.spread(f"var_count_t{window:g}", variance("flux"))
    levels: Columns = {
        "TS": bound("S"),
        "TD": bound("D"),
        "S_in": lambda series: series.inside("S").astype(float),
        "S_free": free("S"),
        "D_free": free("D"),
    }
    return stationary(case, claims, scenario, levels, _TRANSPORTED, window)


def _counting_window(case: Case) -> float | None:
    """The time (s) over which the case counts transports, from the names of its numbers."""
    for key in case.exact:
        if found := re.fullmatch(r"(?:mean|var)_count_t(\d{1,6}(?:\.\d{1,6})?)", key):
            return float(found[1]) or None
    return None


def _bound_claims(case: Case, sites: int) -> Claims:
    claims = Claims(case)
    for key, name in (("substrate_occupancy", "TS"), ("drug_occupancy", "TD")):
        claims.share(key, name, sites)
        claims.occupied(f"mean_{name}", name, sites)
        claims.spread(f"var_{name}", variance(name))
        claims.law(f"pmf_{name}", name, OCCUPANCY * sites)
    claims.covariance("cov_TS_TD", covariance("TS", "TD"), "var_TS", "var_TD")
    for key in ("joint_pmf", "joint_pmf_TS_TD"):
        claims.joint_law(key, ("TS", "TD"), OCCUPANCY * sites)
    return claims


def _drained_pool(case: Case) -> Plan:
    """Free substrate enters and leaves, and is carried away; the drug has a fixed concentration."""
    sites, exits = case.count("N_T", 1), case.rate("gamma")
    source = reservoir(case.rate("alpha", zero=True) / exits, exits)
    kcat = case.rate("kcat")
    substrate = per_pair(case.rate("kon_pair"), case.rate("koff", zero=True), kcat)
    drug = per_concentration(case.rate("kon_D", zero=True), case.rate("koff_D"))
    # What is inside plays no part; it is destroyed there so that it does not pile up.
    ligands = {
        "S": Ligand(reservoir=source, binding={"T": substrate}, metabolism_per_s=kcat),
        "D": Ligand(clamped_nM=case.rate("D_chemostat", zero=True), binding={"T": drug}),
    }
    scenario = well_mixed(sites, ligands)
    claims = _bound_claims(case, sites)
    claims.mean("mean_S", "S")
    claims.spread("var_S", variance("S"))
    claims.spread("fano_S", fano("S"))
    claims.mean("flux", "flux", 1 / pace(scenario).relaxation_s)
    levels: Columns = {"TS": bound("S"), "TD": bound("D"), "S": free("S")}
    return stationary(case, claims, scenario, levels, _TRANSPORTED)


def _clearance(case: Case) -> Plan:
    """Nothing comes back: how long until all is inside, and how much is inside meanwhile."""
    molecules, sites = _molecules(case, 0.0), case.count("N_T", 1)
    case.count("N_S", 1)  # of nothing there is no last one
    times = case.times("params") if "t" in case.params else np.zeros(0)
    rates = TransportRates(
        case.rate("kon_pair"), case.rate("koff", zero=True), case.rate("kcat"),
        case.rate("kon_D_pair", zero=True), case.rate("koff_D"),
    )  # fmt: skip
    step = common_step(times, most_steps=200)
    if step is None:
        return Plan(left_out=[(case.id, "its times have no common step")])
    if case.faults:
        return Plan()
    substrates, drugs = molecules["S"].count, molecules["D"].count
    events = (substrates + drugs) * 4
    cost = DECIDING * FIRST_TIMES * (events * 2 + 100)
    if cost > affordable(case):
        return Plan(left_out=[(case.id, too_long(cost))])
    states = sum(
        (substrates - ts + 1) * (min(drugs, sites - ts) + 1)
        for ts in range(min(sites, substrates) + 1)
    )
    if states > MOST_STATES:
        why = f"its error bars come from a law with {states} states; at most {MOST_STATES} here"
        return Plan(left_out=[(case.id, why)])
    exact = clearance(rates, sites, substrates, drugs)
    quantities = _clearance_claims(case, times, exact)
    watched = _Clearance(well_mixed(sites, molecules, step), times, substrates)
    return Plan([Trial(quantities, FIRST_TIMES, watched.observe, cost)])


def _clearance_claims(case: Case, times: Array, exact: Clearance) -> tuple[Number, ...]:
    """Errors are no smaller than the exact ones: late molecules, and early ends, are rare."""
    found = []
    for key, measure in (("mean_completion", mean("end")), ("sd_completion", deviation("end"))):
        if (value := case.number(key)) is not None:
            found.append(Number(case.id, key, value, RELATIVE * abs(value), measure))
    laws = [exact.inside(t) for t in times]
    means, spreads, ends = (
        case.series(key, times.size) for key in ("mean_S_in_t", "var_S_in_t", "P_complete_t")
    )
    for i, (t, law) in enumerate(zip(times, laws, strict=True)):
        at, column, done = f"[t={t:g}]", f"inside@{i}", float(law.pmf[-1])
        fourth = math.sqrt(max(law.central_moment(4) - law.var**2, 0.0))
        rows = (
            ("mean_S_in", means, RELATIVE, mean(column), law.sd),
            ("var_S_in", spreads, SPREAD, variance(column), fourth),
            ("P_complete", ends, None, mean(f"done@{i}"), math.sqrt(done * (1 - done))),
        )
        for key, values, share, measure, one in rows:
            if values is not None:
                margin = OCCUPANCY if share is None else share * float(np.abs(values).max())
                safe, finer = at_least(measure, one), FINER_OCCUPANCY if share is None else FINER
                found.append(Number(case.id, key + at, float(values[i]), margin, safe, finer))
    return tuple(found)


class _Clearance:
    """Many clearances at once, each followed until its last molecule is inside."""

    COPIES = 16

    def __init__(self, scenario: Scenario, times: Array, substrates: int) -> None:
        self._scenario = side_by_side(scenario, self.COPIES)
        self._records = np.round(times / scenario.dt_s).astype(np.int64)
        self._substrates = substrates

    def observe(self, address: Address, kernels: ModuleType | None) -> Sample:
        """Replicates that record what is inside at the case's times, and the time of the end."""
        steps = int(self._records.max(initial=1))
        return Replicates(self._scenario, address, kernels, steps=steps, read=self._read)

    def _read(self, simulation: Simulation, series: Series) -> Mapping[str, Array]:
        copies = range(self.COPIES)
        start = series.seconds[0] - self._scenario.dt_s
        inside = np.array([series.inside(f"S{i}") for i in copies], dtype=np.float64)
        inside = np.hstack([np.zeros((self.COPIES, 1)), inside])
        columns = {f"inside@{i}": inside[:, at] for i, at in enumerate(self._records)}
        columns |= {
            f"done@{i}": (inside[:, at] == self._substrates).astype(np.float64)
            for i, at in enumerate(self._records)
        }
        for _ in range(1000):
            if (inside[:, -1] == self._substrates).all():
                break
            series = simulation.run(16, every=16)
            inside = np.array([series.inside(f"S{i}") for i in copies], dtype=np.float64)
        ends = [simulation.last_time_s("transported", f"S{i}", f"T{i}") for i in copies]
        columns["end"] = np.array(ends) - start
        return columns
