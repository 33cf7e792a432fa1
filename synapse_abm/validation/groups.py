"""Which cases can be run, and by what; the others with the reason why not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from synapse_abm.core.errors import InputError, escaped
from synapse_abm.core.progress import Progress, silent
from synapse_abm.validation.binding import clamped, clamped_pair, closed, closed_pair, pool
from synapse_abm.validation.cases import Case
from synapse_abm.validation.diffusion import counts, displacement, modes
from synapse_abm.validation.grid import closed_grid
from synapse_abm.validation.immigration import immigration
from synapse_abm.validation.kinetics import approach, race
from synapse_abm.validation.passage import first_passage
from synapse_abm.validation.rebinding import any_step, single_site
from synapse_abm.validation.relaxation import NotRun
from synapse_abm.validation.transport import clamped as clamped_cycle
from synapse_abm.validation.transport import coupled
from synapse_abm.validation.trials import Plan, unknown_parameters

ASYMPTOTIC = "an asymptotic formula of continuous space, without an exact law on a grid"
OTHER_STEPS = "the bias of time steps that this program does not use"
BOUNDARY = "a reservoir beyond one wall; here a reservoir reaches every cell alike"

type Run = Callable[[Case], Plan]


def _unable(why: str) -> Run:
    return lambda case: Plan(left_out=[(case.id, why)])


def _diffusion(case: Case) -> Run:
    """Which of J1 to J6, by what the case gives."""
    exact, given = case.exact, case.params
    if "msd" in exact or "fourth_moment_one_axis" in exact:
        return displacement
    if any(key.startswith("lambda_") for key in exact):
        return modes
    if "mean_per_cell" in given or "N" in given:
        return counts
    return first_passage


def _on_a_grid(case: Case) -> Run:
    """Which of K1 to K4."""
    if "receptors" in case.params:
        return closed_grid
    if "receptor" in case.params:
        return single_site
    return _unable(BOUNDARY if "uptake_rate" in case.params else ASYMPTOTIC)


def _steps(case: Case) -> Run:
    """M4 is a grid of our own kind; the others are rules that are not ours."""
    return any_step if "k_bind_in_cell" in case.params else _unable(OTHER_STEPS)


#: By the letter of a group, what a case is run by.
RUN: Mapping[str, Callable[[Case], Run]] = {
    "A": lambda _: clamped,
    "B": lambda _: closed,
    "C": lambda _: pool,
    "D": lambda _: clamped_pair,
    "E": lambda _: closed_pair,
    "F": lambda _: approach,
    "G": lambda _: race,
    "H": lambda _: clamped_cycle,
    "I": lambda _: coupled,
    "J": _diffusion,
    "K": _on_a_grid,
    "L": lambda _: _unable(ASYMPTOTIC),
    "M": _steps,
}


def assign(cases: Sequence[Case], progress: Progress = silent) -> Plan:
    """Trials of all cases that can be run; faults are noted in the cases."""
    found = Plan()
    for case in progress(cases, label="planning"):
        if case.group[0] in RUN:
            check_derived(case)
            found.add(_of_one(case, RUN[case.group[0]](case)))
    arrivals = [case for case in cases if case.group[0] == "N"]
    try:
        found.add(immigration(arrivals))
    except Exception:  # one of them: which?
        for case in arrivals:
            found.add(_guarded(case, lambda case: immigration([case])))
    return found


def _guarded(case: Case, run: Run) -> Plan:
    """What a case becomes; one that fails while it is planned takes no other with it."""
    try:
        return run(case)
    except NotRun as why:
        return Plan(left_out=[(case.id, str(why))])
    except Exception as error:
        return Plan(errors=[(case.id, f"planning it failed: {said(error)}")])


def said(error: Exception) -> str:
    """An error on one line that no terminal obeys."""
    return escaped(f"{type(error).__name__}: {error}")


def _of_one(case: Case, run: Run) -> Plan:
    found = _guarded(case, run)
    if case.faults:
        return found
    if found.trials and (unknown := unknown_parameters(case)).unknown:
        return unknown
    if not found.trials and not found.left_out and not found.errors:
        found.left_out.append((case.id, "it gives no number that is measured here"))
        found.unknown += case.unmeasured()
    return found


#: Parameters that a file may give though they follow from others, by group: how they follow.
DERIVED: Mapping[str, Mapping[str, tuple[str, Callable[[Case], float]]]] = {
    "A": {"Kd": ("koff / kon", lambda case: case.rate("koff") / case.rate("kon"))},
    "B": {"K": ("kon_pair / koff", lambda case: case.rate("kon_pair") / case.rate("koff"))},
    "C": {
        "immigration": (
            "exchange_rate x mean_free",
            lambda case: case.rate("exchange_rate") * case.rate("mean_free", zero=True),
        )
    },
    "J": {
        "hop_rate_per_direction": ("D / h^2", lambda case: case.rate("D") / case.rate("h") ** 2),
        "L": ("M x h", lambda case: case.count("M", 1) * case.rate("h")),
    },
    "K": {"hop_rate_per_direction": ("D / h^2", lambda case: case.rate("D") / case.rate("h") ** 2)},
}


def check_derived(case: Case) -> None:
    """Note a fault for each parameter that contradicts those it follows from."""
    for name, (formula, value) in DERIVED.get(case.group[0], {}).items():
        if name in case.params:
            expected = value(case)
            if not case.faults:
                case.contradiction(name, expected, formula)


def faults_of(cases: Sequence[Case]) -> list[InputError]:
    """What is wrong with the cases, each fault once."""
    found = {str(fault): fault for case in cases for fault in case.faults}
    return list(found.values())
