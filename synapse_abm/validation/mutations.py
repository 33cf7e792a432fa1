"""Bugs that are planted on purpose, each with the case that must catch it.

A bug is a changed line of the compiled engine (compiled anew, which takes a while the first time),
a changed scenario that the engine is handed behind the case's back, other factors by which the
engine's rates are adjusted to its step, a formula of the textbook in place of an exact number, or a
case run with other parameters than it says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from unittest import mock

from synapse_abm.core.address import Address
from synapse_abm.statistics import Rule, Verdict
from synapse_abm.synapse.engine import layout as lay
from synapse_abm.synapse.engine import network
from synapse_abm.synapse.engine.planting import is_compiled, plant
from synapse_abm.synapse.engine.simulation import Simulation
from synapse_abm.synapse.scenario.definition import Scenario
from synapse_abm.synapse.scenario.rate_adjustment import Adjustment
from synapse_abm.theory import morrison_mean
from synapse_abm.validation import samples
from synapse_abm.validation.cases import Case
from synapse_abm.validation.groups import assign
from synapse_abm.validation.quantities import Row

type Numbers = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Mutation:
    """A bug, the case that must catch it, and how it is planted.

    Parameters
    ----------
    old, new
        A piece of the engine's source and what takes its place; empty for none.
    scenario
        What becomes of the scenarios that the engine is handed.
    factors
        What k_on, k_off and k_cat of a pair are multiplied by where the engine makes its rates, in
        place of s, s and 1.
    params
        Parameters of the case that are run in place of its own.
    exact
        Exact numbers that take the place of the case's own, from its parameters and these.
    without_chance
        The audit of the test suite that finds it, or the like of it, without statistics.
    """

    name: str
    case: str
    old: str = ""
    new: str = ""
    scenario: Callable[[Scenario], Scenario] | None = None
    factors: Callable[[Adjustment], tuple[float, float, float]] | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    exact: Callable[[Mapping[str, Any], Numbers], Numbers] | None = None
    without_chance: str = ""

    @property
    def where(self) -> str:
        """Where it is planted."""
        if self.old:
            return "engine's source"
        if self.scenario is not None:
            return "what the engine is handed"
        if self.factors is not None:
            return "rates in the engine"
        return "exact number" if self.exact is not None else "parameters"

    @property
    def ready(self) -> bool:
        """Whether it can be tried without compiling anything."""
        return not self.old or is_compiled(self.old, self.new)


@dataclass(frozen=True, slots=True)
class Caught:
    """Whether a mutation was caught (None: not tried), at what quantity, and by how much."""

    mutation: Mutation
    caught: bool | None = None
    z: float = 0.0
    quantity: str = ""

    def record(self) -> Mapping[str, Any]:
        """The entry under ``planted`` of ``--json FILE``."""
        return {
            "bug": self.mutation.name, "caught_by": self.mutation.case, "caught": self.caught,
            "quantity": self.quantity, "z": self.z, "planted_in": self.mutation.where,
            "found_without_chance_by": self.mutation.without_chance or None,
        }  # fmt: skip


def _faster(factor: float) -> Callable[[Scenario], Scenario]:
    """All molecules diffuse ``factor`` times faster than the scenario says."""

    def change(scenario: Scenario) -> Scenario:
        ligands = {
            name: ligand.model_copy(
                update={"diffusion_um2_per_s": factor * ligand.diffusion_um2_per_s}
            )
            for name, ligand in scenario.ligands.items()
        }
        return scenario.model_copy(update={"ligands": ligands})

    return change


type Channels = Callable[[Scenario], list[network.Channel]]


def channels_with(factors: Callable[[Adjustment], tuple[float, float, float]] | None) -> Channels:
    """``network.channels``, rates of pairs multiplied by other factors than s, s and 1."""
    right = network.channels
    if factors is None:
        return right

    def changed(scenario: Scenario) -> list[network.Channel]:
        pairs, channels = network.Names.of(scenario).pairs, list[network.Channel]()
        for channel in right(scenario):
            adjusted = None
            if channel.kind in (lay.BIND, lay.UNBIND, lay.TRANSPORT):
                adjusted = scenario.adjustments.get(pairs[channel.number])
            if adjusted is not None:
                on, off, transport = factors(adjusted)
                by = {lay.BIND: on / adjusted.s, lay.UNBIND: off / adjusted.s}
                rate = channel.rate * by.get(channel.kind, transport)
                channel = channel._replace(rate=rate)
            channels.append(channel)
        return channels

    return changed


def _wrapped(scenario: Scenario) -> Scenario:
    """Walls that wrap."""
    grid = scenario.grid.model_copy(update={"walls": "periodic"})
    return scenario.model_copy(update={"grid": grid})


def _late(scenario: Scenario) -> Scenario:
    """Each change a step later than the protocol says."""
    later = (at.model_copy(update={"time_s": (at.time_s or 0.0) + scenario.dt_s})
             for at in scenario.at)  # fmt: skip
    return scenario.model_copy(update={"at": tuple(later)})


def _at_once(scenario: Scenario) -> Scenario:
    """Each ramp a step to its end, when it is over."""
    steps = (
        at.model_copy(update={"time_s": (at.time_s or 0.0) + (at.over_s or 0.0), "over_s": None})
        for at in scenario.at
    )
    return scenario.model_copy(update={"at": tuple(steps)})


def _kd_kept(scenario: Scenario) -> Scenario:
    """A change of k_off changes k_on by the same factor."""
    off, on = (f"ligand.L.binding.T.{name}" for name in ("koff_per_s", "kon_per_nM_s"))
    before = scenario.ligands["L"].binding["T"]
    protocol = []
    for at in scenario.at:
        if isinstance(rate := at.change.get(off), float):
            change = {**at.change, on: before.kon * rate / before.koff}
            at = at.model_copy(update={"change": change})
        protocol.append(at)
    return scenario.model_copy(update={"at": tuple(protocol)})


def _unchanged(scenario: Scenario) -> Scenario:
    return scenario.model_copy(update={"at": ()})


def _morrison(params: Mapping[str, Any], _: Numbers) -> Numbers:
    affinity = params["kon_pair"] / params["koff"]
    return {"mean_bound": float(morrison_mean(params["R"], params["L"], affinity))}


def _unscaled(params: Mapping[str, Any], _: Numbers) -> Numbers:
    """Occupancy by the drug as if no substrate competed: D / (D + Ki)."""
    # What a reader of a table of Ki would compute, forgetting serotonin.
    affinity = params["koff_D"] / params["kon_D"]
    return {"p_TD": params["D"] / (params["D"] + affinity)}


def _tenth_of_kd(params: Mapping[str, Any], _: Numbers) -> Numbers:
    return {"p": 1 / 11, "k_obs": 1.1 * params["koff"]}


_EVENT = "a = scratch.rate[c] * float(n1 * n2)"
_KIND = "chem.channels[c, KIND]"
_FIRE = "            fire(plan, store, chem, scratch, at, int(cell), c, rest)"
_NOTED = "            store.last_s[chem.channels[c, COUNTER]] = step * plan.dt + time"
#: At most one event in a step: with one site, p = 1 - exp(-rate dt) for either change.
ONE_EVENT = ("while store.meta[FULL] == 0:", "while store.meta[FULL] == 0 and k < 1:")

MUTATIONS = (
    Mutation(
        "naive step: p = 1 - exp(-rate dt), one change a step (C = 0.1 Kd)", "A1", *ONE_EVENT,
        params={"N": 1, "kon": 1.0, "koff": 1.0, "C": 0.1}, exact=_tenth_of_kd,
    ),
    Mutation(
        "after letting go, a site binds again within the same step", "A1", _NOTED,
        f"            time = 0.0\n            if {_KIND} == BIND:\n                break",
    ),
    Mutation("Morrison's quadratic for the exact law, one pair", "B1", exact=_morrison),
    Mutation("Morrison's quadratic for the exact law, few copies", "B3", exact=_morrison),
    Mutation(
        "all molecules of a ligand taken for the free ones", "B3",
        _EVENT,
        f"n1 += scratch.counts[chem.channels[c, INDEX]] if {_KIND} == BIND and n1 > 0 else 0; "
        f"{_EVENT}",
    ),
    Mutation("Ki not scaled by 1 + S/Km", "H2", exact=_unscaled),
    Mutation(
        "what unbinds turns up in a random cell", "K1b",
        "mol[CELL, row] = sites[SITE_CELL, site]",
        "mol[X, row] = ((u64(store.meta[STEP]) * u64(2654435761) + u64(row) * u64(40503))"
        " >> u64(7)) % u64(plan.width)", without_chance="rates",
    ),
    Mutation("hop probability too large by 2 d, in the plane", "J1_2d", scenario=_faster(4)),
    Mutation("hop probability too large by 2 d, in a row", "J2_50", scenario=_faster(2)),
    Mutation("walls that wrap for walls that reflect: modes", "J2_50", scenario=_wrapped),
    Mutation("walls that wrap for walls that reflect: passage", "J6c", scenario=_wrapped),
    Mutation(
        "one random number decides for two sites", "A2", _FIRE,
        f"{_FIRE}\n            if {_KIND} != TRANSPORT "
        f"and scratch.counts[chem.channels[c, FIRST]] > 0 "
        f"and scratch.counts[chem.channels[c, SECOND]] > 0:\n    {_FIRE}",
    ),
    Mutation(
        "of the transports in a step only the first is counted", "H3", _NOTED,
        f"            store.events[chem.channels[c, COUNTER]] -= {_KIND} == TRANSPORT and k > 0",
    ),
    Mutation("a batch of ten released one by one", "N_00038", params={"alpha": 10, "batch": 1},
        without_chance="rates"),
    Mutation(
        "unbinding 5 % too fast", "A2",
        _EVENT, f"{_EVENT} * (1.05 if {_KIND} == 0 else 1.0)", without_chance="rates",
    ),
    Mutation(
        "one random number for the waiting time and the choice", "I1c",
        "scratch.select[i] = uniform(scratch.draws[2 * i + 1])",
        "scratch.select[i] = uniform(scratch.draws[2 * i])",
    ),
    Mutation(
        "what is transported stays outside", "I1b",
        "compartment = INSIDE if kind == TRANSPORT else FREE", "compartment = FREE",
        without_chance="rates",
    ),
    Mutation(
        "a wall that reflects one cell too far out", "K2b",
        "column = min(column, u32(ring_x - ONE - column))",
        "column = min(column, u32(ring_x - column))", without_chance="kernel",
    ),
    Mutation("rates on a grid not adjusted to the step", "O1", factors=lambda _: (1.0, 1.0, 1.0)),
    Mutation(
        "rates adjusted to the step as for a lone site, where sites are dense", "O5",
        factors=lambda pair: (pair.s_full, pair.s_full, 1.0),
    ),
    Mutation(
        # At the step that the program chooses s is 1.03: the case is run at a longer one.
        "transport adjusted to the step, too", "O12", params={"dt": 0.15},
        factors=lambda pair: (pair.s, pair.s, pair.s),
    ),
    Mutation(
        "binding adjusted to the step, but not unbinding", "O1",
        factors=lambda pair: (pair.s, 1.0, 1.0),
    ),
    Mutation("a change that comes a step late", "P1", scenario=_late),
    Mutation("a ramp taken for a step at its end", "P5", scenario=_at_once),
    Mutation("k_off changed, and k_on with it", "P6", scenario=_kd_kept),
    Mutation("a washout that is left out", "P8", scenario=_unchanged),
)  # fmt: skip


def try_out(mutation: Mutation, cases: Mapping[str, Case], rule: Rule, seed: int) -> Caught:
    """Run the case with the mutation, under the rule of the whole validation, until it FAILs."""
    rows = rows_with(mutation, cases[mutation.case], rule, seed, until_fail=True)
    # By its FAIL farthest off; a mutation that none caught is told by what came closest.
    failed = [row for row in rows if row.verdict is Verdict.FAIL]
    worst = max(failed or rows, key=lambda row: abs(row.z), default=None)
    if worst is None:
        return Caught(mutation, False)
    return Caught(mutation, bool(failed), abs(worst.z), worst.quantity)


def rows_with(
    mutation: Mutation, case: Case, rule: Rule, seed: int, thorough: bool = False,
    until_fail: bool = False,
) -> list[Row]:  # fmt: skip
    """All verdicts on the case with the mutation, or those there are when one of them is FAIL."""
    # Compiled under a name of its own: callers compiled before would not notice a patched callee.
    kernels = plant(mutation.old, mutation.new) if mutation.old else None
    params, exact = {**case.params, **mutation.params}, dict(case.exact)
    if mutation.exact is not None:
        exact = dict(mutation.exact(params, case.exact))
    case = replace(case, params=params, exact=exact, faults=[])
    change = mutation.scenario or (lambda scenario: scenario)

    def simulation(scenario: Scenario, *arguments: Any, **options: Any) -> Simulation:
        return Simulation(change(scenario), *arguments, **options)

    # Behind the planner's back: it plans, and corrects for the step of, what the case says.
    with (
        mock.patch.object(samples, "Simulation", simulation),
        mock.patch.object(network, "channels", channels_with(mutation.factors)),
    ):
        trials = assign([case]).trials
        if thorough:
            trials = [trial.thorough() for trial in trials]
        rows = list[Row]()
        for at, trial in enumerate(trials):
            rows += trial.rows(rule, Address(seed, at), kernels, until_fail=until_fail)
            if until_fail and any(row.verdict is Verdict.FAIL for row in rows):
                break
    return rows
