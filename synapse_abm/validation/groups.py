"""Which cases can be run, and by what; the others with the reason why not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from synapse_abm.errors import InputError
from synapse_abm.validation.binding import clamped, clamped_pair, closed, closed_pair, pool
from synapse_abm.validation.cases import Case
from synapse_abm.validation.grid import closed_grid
from synapse_abm.validation.immigration import immigration
from synapse_abm.validation.transport import clamped as clamped_cycle
from synapse_abm.validation.transport import coupled
from synapse_abm.validation.trials import Found

_LATER = "not run in this release"
RUN: Mapping[str, Callable[[Case], Found]] = {
    "A": clamped,
    "B": closed,
    "C": pool,
    "D": clamped_pair,
    "E": closed_pair,
    "H": clamped_cycle,
    "I": coupled,
}
NOT_RUN: Mapping[str, str] = {
    "F": f"approach to equilibrium: {_LATER}",
    "G": f"approach to equilibrium with two ligands: {_LATER}",
    "J": f"paths and first passages of single molecules, which no run records: {_LATER}",
    "K1": f"times of single binding events, which no run records: {_LATER}",
    "K3": f"a reservoir beyond one wall and uptake at the other: {_LATER}",
    "L": "an asymptotic formula of continuous space, without an exact law on a grid",
    "M": "the bias of time steps that this program does not use",
}


def assign(cases: Sequence[Case]) -> Found:
    """Trials of all cases that can be run; faults are noted in the cases."""
    found = Found()
    for case in cases:
        letter = case.group[0]
        if letter in RUN:
            found.add(_of_one(case, RUN[letter](case)))
        elif letter == "K" and "receptors" in case.params:
            found.add(_of_one(case, closed_grid(case)))
        elif letter != "N":
            kind = letter
            if letter == "K":
                kind = "K3" if "uptake_rate" in case.params else "K1"
            found.left_out.append((case.id, NOT_RUN[kind]))
    found.add(immigration([case for case in cases if case.group[0] == "N"]))
    return found


def _of_one(case: Case, found: Found) -> Found:
    if not found.trials and not found.left_out and not case.faults:
        found.left_out.append((case.id, "it gives no number that is measured here"))
    return found


def faults_of(cases: Sequence[Case]) -> list[InputError]:
    """What is wrong with the cases, each fault once."""
    found = {str(fault): fault for case in cases for fault in case.faults}
    return list(found.values())
