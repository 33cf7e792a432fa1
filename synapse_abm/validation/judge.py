"""Looks at growing samples until every quantity of a trial is decided."""

from __future__ import annotations

from types import ModuleType

from synapse_abm.core.address import Address
from synapse_abm.statistics import Rule, Verdict
from synapse_abm.validation.quantities import Row
from synapse_abm.validation.trials import Trial


def judge(
    trial: Trial, rule: Rule, address: Address, kernels: ModuleType | None = None
) -> list[Row]:
    """The verdicts on a trial's quantities.

    Every quantity is tested at every look, also one that could have passed before: a FAIL at any
    look is final, and the looks end when all others pass at the same one.
    """
    sample = trial.observe(address, kernels)
    rows: dict[int, Row] = {}
    for stage, size in enumerate(rule.sizes(trial.first)):
        sample.grow(size)
        for at, quantity in enumerate(trial.quantities):
            if at not in rows or rows[at].verdict is not Verdict.FAIL:
                rows[at] = quantity.look(sample, rule, stage)
        if all(row.verdict is not Verdict.CONTINUE for row in rows.values()):
            break
    return [rows[at] for at in range(len(trial.quantities))]
