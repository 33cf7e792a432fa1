"""How long a step is: the longest that keeps every announced error below the accuracy asked for.

Positions are frozen while a step reacts. Rates are adjusted to the step (``rate_adjustment``), and
what error is left is announced (``step_error``): an accuracy of 1 % asks for rates within 1 % and,
where something is driven, for means within a fifth of it, 0.2 %. Equilibrium is exact at any step,
so a scenario that is run for its equilibrium alone may ask for nothing (``accuracy =
"equilibrium"``); its step then only keeps in-cell rate x dt at :data:`RESOLVED`, so that a burn-in
takes about as long as it says.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from synapse_abm.core.errors import InputError
from synapse_abm.core.quantity import percentage
from synapse_abm.synapse.scenario.cost import events_per_s
from synapse_abm.synapse.scenario.parts import EQUILIBRIUM, Description
from synapse_abm.synapse.scenario.protocol import common_divisor_s, largest_step_s, stretches
from synapse_abm.synapse.scenario.rate_adjustment import Adjustment, Pair
from synapse_abm.synapse.scenario.step_error import (
    DRIVEN_SHARE,
    Announced,
    SitesPerCell,
    StepErrors,
    driven,
    in_cell_rate,
)

#: In-cell rate x dt of a step that is chosen for equilibrium alone.
RESOLVED = 0.3
#: How many times more steps a protocol may take so that its times are those of steps.
MOST_DIVISIONS = 10
#: Events that a step may take, about, where its length is free: a step cannot be interrupted.
MOST_EVENTS = 1e7


@dataclass(frozen=True, slots=True)
class Choice:
    """A step, s, and why it is that long."""

    dt_s: float
    reason: str


def read_accuracy(written: object, name: str) -> float | Literal["equilibrium"]:
    """The accuracy that a file or a command asks for: ``"1 %"`` or ``"equilibrium"``.

    Raises
    ------
    InputError
        If it is neither; ``name`` is what the message calls it.
    """
    if written == EQUILIBRIUM:
        return EQUILIBRIUM
    try:
        return percentage(written, name)
    except InputError as fault:
        allowed = f"{fault.allowed}, or '{EQUILIBRIUM}'"
        raise InputError(name, written, allowed, fault.fix) from None


def auto_dt(scenario: Description) -> Choice:
    """The longest step that keeps the accuracy and fits the sampling interval a whole number of
    times; where nothing depends on it, one of about :data:`MOST_EVENTS` events at most.

    With a protocol it keeps the accuracy of all that holds at any time, has steps enough for ramps
    and divides the protocol's times too, unless that takes more than :data:`MOST_DIVISIONS` times
    as many steps: changes then come at the end of the step that reaches their time.
    """
    if not scenario.at:
        return _chosen(scenario)
    choices = [_chosen(part) for _, part in stretches(scenario)]
    shortest = min(choices, key=lambda choice: choice.dt_s)
    longest_s = min(shortest.dt_s, largest_step_s(scenario))
    sample_s = scenario.run.sample_s if scenario.run else None
    divisor_s = common_divisor_s(scenario, sample_s)
    said = "divides the times of the protocol"
    if divisor_s is None or divisor_s * MOST_DIVISIONS < longest_s:
        divisor_s, said = sample_s or longest_s, "changes come at the end of a step"
    why = shortest.reason if longest_s == shortest.dt_s else "a ramp decides"
    return Choice(_divided(divisor_s, longest_s), f"{why}; {said}")


def _chosen(scenario: Description) -> Choice:
    """The same of what holds at one time."""
    errors = StepErrors(scenario)
    if not errors:
        return _any_step(scenario)
    if scenario.accuracy == EQUILIBRIUM:
        dt_s = _fitting(scenario, _resolved_s(scenario))
        return Choice(dt_s, f"for equilibrium alone; {in_words(errors.at(dt_s))}")
    dt_s = _fitting(scenario, errors.longest_s(float(scenario.accuracy)))
    announced = errors.at(dt_s)
    return Choice(dt_s, f"{in_words(announced)}; {_deciding(scenario, announced)}")


def step_after_change(
    scenario: Description, dt_s: float
) -> tuple[float, dict[Pair, Adjustment] | None]:
    """The step (s) of a scenario that was changed while it ran at ``dt_s``, and the adjustments.

    The step stays as long as it keeps the accuracy and uses a quarter of it: whoever moves a slider
    changes a value fifty times a second, and each new step costs new tables. Otherwise it is chosen
    anew. The adjustments are None where nothing walks.
    """
    errors = StepErrors(scenario)
    if not errors or scenario.accuracy == EQUILIBRIUM:
        return auto_dt(scenario).dt_s, None
    accuracy, announced = float(scenario.accuracy), errors.at(dt_s)
    longest_s = scenario.run.sample_s if scenario.run else math.inf
    if not announced.within(accuracy) or (announced.within(accuracy / 4) and dt_s < longest_s):
        dt_s = _fitting(scenario, errors.longest_s(accuracy))
    return dt_s, errors.adjustments(dt_s)


def _divided(whole_s: float, longest_s: float) -> float:
    """The longest step up to ``longest_s`` of which ``whole_s`` is a multiple."""
    return whole_s / max(1, math.ceil(whole_s / longest_s * (1 - 1e-12)))


def _fitting(scenario: Description, longest_s: float) -> float:
    """The longest step up to ``longest_s`` of which the sampling interval is a multiple."""
    if scenario.run is None:
        return longest_s
    return _divided(scenario.run.sample_s, longest_s)


def in_words(announced: Announced) -> str:
    """The announced errors of a step."""
    if announced.equilibrium_only:
        pair = announced.equilibrium_only[0]
        return f"equilibrium only: too long for {pair.ligand} at {pair.target}"
    said = f"kinetics within {percent(announced.kinetics)}"
    if announced.driven:
        said += f", driven means within {percent(announced.driven)}"
    return said


def percent(share: float) -> str:
    """A share as a percentage of two digits."""
    return f"{100 * share:.2g} %"


def _deciding(scenario: Description, announced: Announced) -> str:
    accuracy = float(scenario.accuracy)
    kinetics, means = announced.kinetics / accuracy, announced.driven / (DRIVEN_SHARE * accuracy)
    if max(kinetics, means) < 0.5 and scenario.run is not None:
        return "the time between records decides"
    cause = announced.kinetics_cause if kinetics >= means else announced.driven_cause
    return f"{cause} decides"


def _any_step(scenario: Description) -> Choice:
    """A step where every step is exact."""
    why = "nothing depends on the step"
    if scenario.grid.cells == 1:
        why = "one cell, exact at any step"
    if scenario.run is None:
        return Choice(0.1 / (_fastest(scenario) or 0.1), f"{why}: a tenth of the fastest time")
    rate, sample_s = events_per_s(scenario, scenario.run.duration_s), scenario.run.sample_s
    parts = max(1, math.ceil(rate * sample_s / MOST_EVENTS))
    many = "one step" if parts == 1 else f"{parts} steps"
    return Choice(sample_s / parts, f"{why}: {many} for each sample")


def _resolved_s(scenario: Description) -> float:
    """Largest step (s) at which what happens to a molecule in a cell with sites is resolved."""
    limits = [math.inf]
    for name, ligand in scenario.ligands.items():
        if ligand.clamped_nM is not None or not ligand.diffusion_um2_per_s or not ligand.binding:
            continue
        sites = {t: SitesPerCell.of(scenario, t) for t in ligand.binding}
        rate = sum(in_cell_rate(scenario, name, t) * n.most for t, n in sites.items())
        rate += max(k.koff + k.kcat_per_s for k in ligand.binding.values())
        rate += ligand.exit_per_s
        clamped = [
            other.binding[t].kon * other.clamped_nM
            for other in scenario.ligands.values()
            for t in sites
            if other.clamped_nM is not None and t in other.binding
        ]
        rate += max(clamped, default=0.0)
        limits.append(RESOLVED / rate if rate > 0 else math.inf)
    return min(limits)


def _fastest(scenario: Description) -> float:
    """A rate, 1/s, that no single event of a site or molecule exceeds by much."""
    rates = [0.0]
    for ligand in scenario.ligands.values():
        here = ligand.clamped_nM or (ligand.reservoir.concentration_nM if ligand.reservoir else 0.0)
        here = max(here, ligand.count / scenario.grid.molecules_per_nM)
        rates += [k.koff + k.kcat_per_s + k.kon * here for k in ligand.binding.values()]
        rates += [ligand.return_per_s, ligand.degradation_per_s]
        rates += [ligand.reservoir.exchange_per_s] if ligand.reservoir else []
    return max(rates)


def reason(scenario: Description) -> str:
    """Why the step is as long as it is, and what it makes of kinetics."""
    if scenario.dt_is_auto:
        return "auto: " + auto_dt(scenario).reason
    return "given: " + announcement(scenario)


def announcement(scenario: Description) -> str:
    """What a scenario's step makes of kinetics, whoever chose it."""
    errors = StepErrors(scenario)
    return in_words(errors.at(scenario.dt_s)) if errors else "exact at any step"


def largest_sensible_s(scenario: Description) -> float:
    """Longest step (s) that a run may have: a driven one needs rates that can be adjusted."""
    return StepErrors(scenario).usable_s() if driven(scenario) else math.inf


def step_warnings(scenario: Description) -> Iterator[str]:
    """What a step given by hand breaks."""
    errors = StepErrors(scenario)
    if scenario.accuracy == EQUILIBRIUM or not errors:
        return
    accuracy, announced = float(scenario.accuracy), errors.at(scenario.dt_s)
    if announced.within(accuracy * (1 + 1e-9)):
        return
    longest = f"the longest step that keeps {percent(accuracy)} is {errors.longest_s(accuracy):g} s"
    step = f"dt = {scenario.dt_s:.3g} s"
    if announced.equilibrium_only:
        why = announced.equilibrium_only[0].why_not
        yield f"{step}: equilibrium only; kinetics is too slow, because {why}; {longest}"
        return
    if announced.kinetics > accuracy:
        yield (
            f"{step}: kinetics may be wrong by {percent(announced.kinetics)} "
            f"({announced.kinetics_cause}); {longest}"
        )
    if announced.driven > DRIVEN_SHARE * accuracy:
        yield (
            f"{step}: driven means may be wrong by {percent(announced.driven)} "
            f"({announced.driven_cause}), where {percent(DRIVEN_SHARE * accuracy)} is asked for; "
            f"{longest}"
        )
