"""Bugs that are planted on purpose, each with the case that must catch it.

A bug is a changed line of the compiled engine (compiled anew, which takes a while the first
time), or a case run with other parameters than it says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any

from synapse_abm.network import Address
from synapse_abm.planting import plant
from synapse_abm.statistics import Rule, Verdict
from synapse_abm.validation.cases import Case
from synapse_abm.validation.groups import assign
from synapse_abm.validation.judge import judge
from synapse_abm.validation.report import Caught


@dataclass(frozen=True, slots=True)
class Bug:
    """A bug, the case that must catch it, and how it is planted.

    Parameters
    ----------
    old, new
        A piece of the engine's source and what takes its place; empty for none.
    params
        Parameters of the case that are run in place of its own.
    """

    name: str
    case: str
    old: str = ""
    new: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)


_EVENT = "a = bench.rate[c] * float(n1 * n2)"
_KIND = "chem.channels[c, KIND]"

PLANTED = (
    Bug(
        "unbinding 5 % too fast", "A2",
        _EVENT, f"{_EVENT} * (1.05 if {_KIND} == 0 else 1.0)",
    ),
    Bug(
        "all molecules of a ligand taken for the free ones", "B3",
        _EVENT,
        f"n1 += bench.here[chem.channels[c, INDEX]] if {_KIND} == BIND and n1 > 0 else 0; {_EVENT}",
    ),
    Bug(
        "one random number for the waiting time and the choice", "I1c",
        "bench.select[i] = uniform(bench.draws[2 * i + 1])",
        "bench.select[i] = uniform(bench.draws[2 * i])",
    ),
    Bug(
        "of the transports in a step only the first is counted", "H3",
        "            store.last_s[chem.channels[c, COUNTER]] = step * plan.dt + time",
        f"            store.events[chem.channels[c, COUNTER]] -= {_KIND} == TRANSPORT and k > 0",
    ),
    Bug(
        "what is transported stays outside", "I1b",
        "compartment = INSIDE if kind == TRANSPORT else FREE", "compartment = FREE",
    ),
    Bug("a batch of ten released one by one", "N_00038", params={"alpha": 10, "batch": 1}),
    Bug(
        "what unbinds turns up in the first column", "K2a",
        "mol[CELL, row] = sites[SITE_CELL, site]", "mol[X, row] = u32(0)",
    ),
    Bug(
        "a wall that reflects one cell too far out", "K2b",
        "column = min(column, u32(ring_x - ONE - column))",
        "column = min(column, u32(ring_x - column))",
    ),
)  # fmt: skip


def try_out(bug: Bug, cases: Mapping[str, Case], rule: Rule, seed: int) -> Caught:
    """Run the case with the bug, under the rule of the whole validation."""
    case = cases[bug.case]
    kernels: ModuleType | None = plant(bug.old, bug.new) if bug.old else None
    case = replace(case, params={**case.params, **bug.params}, faults=[])
    rows = [
        row
        for at, trial in enumerate(assign([case]).trials)
        for row in judge(trial, rule, Address(seed, at), kernels)
    ]
    largest = max((abs(row.z) for row in rows), default=0.0)
    caught = any(row.verdict is Verdict.FAIL for row in rows)
    return Caught(bug.name, bug.case, caught, largest)
