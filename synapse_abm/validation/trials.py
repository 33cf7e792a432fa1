"""Trials: quantities of a case, how to observe them, and how many observations to begin with.

A trial is looked at on growing samples: n, 3n, 9n, 27n, 81n. n is chosen so that the fourth look
is expected to decide: a correct number then passes unless it is more than three standard errors
off, which leaves the last look for the few that are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from types import ModuleType
from typing import Any

from synapse_abm.core.address import Address
from synapse_abm.core.errors import InputError, UnknownName
from synapse_abm.synapse.engine.simulation import Series
from synapse_abm.synapse.scenario.definition import Scenario
from synapse_abm.validation.cases import Array, Case
from synapse_abm.validation.quantities import (
    FINER,
    FINER_OCCUPANCY,
    OCCUPANCY,
    RELATIVE,
    SPREAD,
    Distribution,
    Measure,
    Number,
    Quantity,
    at_least,
    mean,
)
from synapse_abm.validation.relaxation import pace
from synapse_abm.validation.samples import Columns, Sample, Stationary

type Observe = Callable[[Address, ModuleType | None], Sample]

#: Observations up to the look that is meant to decide, in units of the first look.
DECIDING = 27
#: A number passes at the deciding look unless it is more than this many standard errors off, beside
#: those that the verdict itself asks for.
SLACK, ASKED = 3.3, 3.72
#: First looks: of means alone, and where variances are wanted.
FIRST_MEANS, FIRST_SPREADS = 2000, 3000
#: Events a trial may take up to the deciding look (about 20 s), and times as many for what a
#: thorough run adds at the margins of the default; what needs more is not run.
AFFORDABLE, LAST_RESORT = 3e8, 50.0
#: A variance below this is none at all: what never happens is decided as soon as it is seen not to.
NONE = 1e-9
#: An observation itself takes as long as so many events.
OBSERVING = 50


@dataclass(frozen=True, slots=True)
class Trial:
    """Quantities observed together on one simulation, the first look at ``first`` observations.

    Parameters
    ----------
    cost
        Events up to the deciding look.
    """

    quantities: tuple[Quantity, ...]
    first: int
    observe: Observe
    cost: float

    def thorough(self) -> Trial:
        """The same with finer margins, and as many more observations as these ask for."""
        finer = tuple(replace(q, margin=q.margin / q.finer) for q in self.quantities)
        more = max(q.finer for q in self.quantities) ** 2
        return Trial(finer, math.ceil(more * self.first), self.observe, more * self.cost)


@dataclass(slots=True)
class Plan:
    """What became of a case: its trials, and what of it is not run, with the reason.

    ``unknown`` are names not known here that kept a case from being run, as faults of the file:
    they are told as such if they leave nothing to run. ``errors`` are cases that failed while they
    were planned.
    """

    trials: list[Trial] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    unknown: list[InputError] = field(default_factory=list)
    errors: list[tuple[str, str]] = field(default_factory=list)

    def add(self, other: Plan) -> None:
        """Take in what another case became."""
        self.trials += other.trials
        self.left_out += other.left_out
        self.unknown += other.unknown
        self.errors += other.errors


class Claims:
    """The exact numbers of a case that can be measured, as quantities.

    Means and spreads are kept apart because spreads need many more observations. Nothing is added
    for a key that the case does not give.
    """

    def __init__(self, case: Case) -> None:
        self._case = case
        self.means: list[Quantity] = []
        self.spreads: list[Quantity] = []
        self.least_variance = float("inf")

    def _number(
        self, kept: list[Quantity], key: str, measure: Measure, margin: float, finer: float = FINER
    ) -> None:
        exact = self._case.number(key)
        if exact is not None:
            kept.append(Number(self._case.id, key, exact, margin, measure, finer))

    def _size(self, key: str) -> float:
        return abs(self._case.number(key) or 0.0)

    def _mean(
        self, key: str, column: str, margin: float, scale: float, finer: float = FINER_OCCUPANCY
    ) -> None:
        """With an error no smaller than the column's variance, if the case gives it, allows."""
        one = scale * math.sqrt(self._size(f"var_{column}"))
        self._number(self.means, key, at_least(mean(column, scale), one), margin, finer)

    def share(self, key: str, column: str, sites: int) -> None:
        """An occupancy (0 to 1); the column counts the occupied ones of ``sites``."""
        self._mean(key, column, OCCUPANCY, 1 / sites)

    def occupied(self, key: str, column: str, sites: int) -> None:
        """A mean number of occupied sites out of ``sites``."""
        self._mean(key, column, OCCUPANCY * sites, 1.0)

    def mean(self, key: str, column: str, scale: float = 1.0) -> None:
        """Any other mean."""
        self._mean(key, column, RELATIVE * self._size(key), scale, FINER)

    def rate(self, key: str, measure: Measure) -> None:
        """A rate that takes as many observations as a spread."""
        self._number(self.spreads, key, measure, RELATIVE * self._size(key))

    def spread(self, key: str, measure: Measure) -> None:
        """A variance, or a ratio of a variance."""
        self._number(self.spreads, key, measure, SPREAD * self._size(key))
        size = self._size(key)
        if size > NONE:
            self.least_variance = min(self.least_variance, size)

    def covariance(self, key: str, measure: Measure, first: str, second: str) -> None:
        """A covariance, judged on the scale of the variances given under two other keys."""
        scale = math.sqrt(self._size(first) * self._size(second))
        self._number(self.spreads, key, measure, SPREAD * scale)

    def law(self, key: str, column: str, margin: float) -> None:
        """The law of a count; ``margin`` is that of its mean."""
        law = self._case.law(key)
        if law is not None:
            self.spreads.append(Distribution(self._case.id, key, law, (column,), margin))

    def law_with_tail(self, key: str, column: str, law: Array, margin: float) -> None:
        """The law of a count whose table may end early: its last entry stands for all beyond."""
        last = law.size - 1
        whole = law.copy()
        whole[last] += max(1 - float(law.sum()), 0.0)
        self.spreads.append(Distribution(self._case.id, key, whole, (f"{column}<={last}",), margin))

    def joint_law(self, key: str, columns: Sequence[str], margin: float) -> None:
        """The joint law of two counts."""
        law = self._case.joint_law(key)
        if law is not None:
            self.spreads.append(Distribution(self._case.id, key, law, tuple(columns), margin))


def stationary(
    case: Case, claims: Claims, scenario: Scenario, levels: Columns, counts: Columns,
    window_s: float | None = None,
) -> Plan:  # fmt: skip
    """The trial of a stationary well-mixed system, spreads left out if they take too many events.

    It is observed once a relaxation time, or every ``window_s``.
    """
    speed = pace(scenario)
    dt = window_s or speed.relaxation_s
    memory = speed.relaxation_s / dt
    scenario = scenario.model_copy(update={"dt_s": dt})

    observe = partial(Stationary, scenario, levels=levels, counts=counts, relaxation_steps=memory)
    one = speed.events_per_s * dt + OBSERVING
    first = round(FIRST_SPREADS * max(memory, 1.0) * rarity(claims.least_variance))
    found, quantities, cost = Plan(), (*claims.means, *claims.spreads), DECIDING * first * one
    if claims.spreads and cost > affordable(case):
        found.left_out.append((case.id, _names(claims.spreads) + too_long(cost)))
        quantities = tuple(claims.means)
    if len(quantities) == len(claims.means):
        first = round(FIRST_MEANS * max(memory, 1.0))
        cost = first * one
        if claims.means and cost > affordable(case):
            found.left_out.append((case.id, _names(claims.means) + too_long(cost)))
            quantities = ()
    if quantities:
        found.trials.append(Trial(quantities, first, observe, cost))
    return found


def rarity(variance: float) -> float:
    """How many times more observations rare events ask for: their kurtosis grows as 1 /
    variance.
    """
    return 1 + 0.5 / variance


def _names(quantities: Sequence[Quantity]) -> str:
    return ", ".join(each.name for each in quantities) + ": "


#: Parameters that may stand in a case of a group without being used: those that only some of its
#: numbers need, and those that only tell.
_IDLE = {
    "F": {"t", "T", "lags"}, "G": {"t"}, "H": {"t_count"}, "I": {"t", "n_states", "S_max"},
    "J": {"t", "dt_discrete"},
}  # fmt: skip


def unknown_parameters(case: Case) -> Plan:
    """What keeps a case from being run: parameters that would be left out of account; or nothing.

    To be asked when all of the case has been read.
    """
    idle = _IDLE.get(case.group[0], set())
    unknown = [key for key in case.unread() if key not in idle]
    if not unknown:
        return Plan()
    what = "parameter" if len(unknown) == 1 else "parameters"
    names = ", ".join(map(repr, unknown))
    why = f"its {what} {names} would be left out of account: not known here"
    known = case.known() | idle
    place = f"a parameter of {case.source}: {case.id}"
    return Plan([], [(case.id, why)], [UnknownName(place, key, known) for key in unknown])


def trial(
    case: Case, quantities: Sequence[Quantity], first: int, observe: Observe, cost: float,
    name: str = "",
) -> Plan:  # fmt: skip
    """One trial, or the reason why it is not run; ``name`` says what of the case it is."""
    if cost > affordable(case):
        return Plan(left_out=[(case.id, name + too_long(cost))])
    return Plan([Trial(tuple(quantities), first, observe, cost)])


def affordable(case: Case) -> float:
    """Events that a trial of a case may take."""
    return AFFORDABLE * case.budget


def too_long(events: float) -> str:
    """The reason why something is not run."""
    within = events <= LAST_RESORT * AFFORDABLE
    where = "--thorough runs it" if within else "more than --thorough spends"
    return f"a verdict takes {events:.0e} events; {where}"


def bound(ligand: str) -> Callable[[Series], Any]:
    """Column: sites that hold a ligand."""
    return lambda series: series.bound("T", ligand).astype(float)


def free(ligand: str) -> Callable[[Series], Any]:
    """Column: free molecules."""
    return lambda series: series.free(ligand).astype(float)
