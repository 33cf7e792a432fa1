"""Trials: quantities of a case, how to observe them, and how many observations to begin with.

A trial is looked at on growing samples: n, 3n, 9n, 27n, 81n. n is chosen so that the fourth look
is expected to decide: a correct number then passes unless it is more than three standard errors
off, which leaves the last look for the few that are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from synapse_abm.network import Address
from synapse_abm.scenario import Scenario
from synapse_abm.simulation import Series
from synapse_abm.validation.cases import Case
from synapse_abm.validation.quantities import (
    OCCUPANCY,
    RELATIVE,
    SPREAD,
    Distribution,
    Measure,
    Number,
    Quantity,
)
from synapse_abm.validation.relaxation import Pace, pace
from synapse_abm.validation.samples import Columns, Sample, Stationary

type Observe = Callable[[Address, ModuleType | None], Sample]

#: Observations up to the look that is meant to decide, in units of the first look.
DECIDING = 27
#: First looks: of means alone, and where variances are wanted.
FIRST_MEANS, FIRST_SPREADS = 1200, 3000
#: Events a trial may take up to the deciding look (about 10 s); what needs more is not run.
AFFORDABLE = 1.5e8


@dataclass(frozen=True, slots=True)
class Trial:
    """Quantities observed together on one simulation.

    Parameters
    ----------
    cost
        Events up to the deciding look.
    """

    quantities: tuple[Quantity, ...]
    first: int
    observe: Observe
    cost: float


@dataclass(slots=True)
class Found:
    """What became of a case: its trials, and what of it is not run, with the reason."""

    trials: list[Trial] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)

    def add(self, other: Found) -> None:
        """Take in what another case became."""
        self.trials += other.trials
        self.left_out += other.left_out


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

    def _number(self, kept: list[Quantity], key: str, measure: Measure, margin: float | None, share: float) -> None:
        exact = self._case.number(key)
        if exact is not None:
            width = share * abs(exact) if margin is None else margin
            kept.append(Number(self._case.id, key, exact, width, measure))

    def occupancy(self, key: str, measure: Measure, sites: int = 1) -> None:
        """An occupancy (0 to 1), or a number of occupied sites out of ``sites``."""
        self._number(self.means, key, measure, OCCUPANCY * sites, 0.0)

    def mean(self, key: str, measure: Measure) -> None:
        """Any other mean or rate."""
        self._number(self.means, key, measure, None, RELATIVE)

    def spread(self, key: str, measure: Measure) -> None:
        """A variance, or a ratio of a variance."""
        self._number(self.spreads, key, measure, None, SPREAD)
        exact = self._case.number(key)
        if exact:
            self.least_variance = min(self.least_variance, abs(exact))

    def covariance(self, key: str, measure: Measure, first: str, second: str) -> None:
        """A covariance, judged on the scale of the variances given under two other keys."""
        scale = [abs(self._case.number(each) or 0.0) for each in (first, second)]
        self._number(self.spreads, key, measure, SPREAD * (scale[0] * scale[1]) ** 0.5, 0.0)

    def law(self, key: str, column: str, margin: float) -> None:
        """The law of a count; ``margin`` is that of its mean."""
        law = self._case.law(key)
        if law is not None:
            self.spreads.append(Distribution(self._case.id, key, law, (column,), margin))

    def joint_law(self, key: str, columns: Sequence[str], margin: float) -> None:
        """The joint law of two counts."""
        law = self._case.joint_law(key)
        if law is not None:
            self.spreads.append(Distribution(self._case.id, key, law, tuple(columns), margin))


def stationary(
    case: Case, claims: Claims, scenario: Scenario, levels: Columns, counts: Columns,
    window_s: float | None = None,
) -> Found:  # fmt: skip
    """The trial of a stationary well-mixed system, spreads left out if they take too many events.

    It is observed once a relaxation time, or every ``window_s``.
    """
    speed = pace(scenario)
    dt = window_s or speed.relaxation_s
    memory = speed.relaxation_s / dt
    scenario = scenario.model_copy(update={"dt_s": dt})

    def observe(address: Address, kernels: ModuleType | None) -> Sample:
        return Stationary(
            scenario, address, kernels, levels=levels, counts=counts, relaxation_steps=memory
        )

    first = round(max(memory, 1.0) * FIRST_SPREADS * rarity(claims.least_variance))
    found, quantities = Found(), (*claims.means, *claims.spreads)
    cost = _cost(speed, DECIDING * first, dt)
    if claims.spreads and cost > AFFORDABLE:
        found.left_out.append((case.id, too_long(claims.spreads, cost)))
        quantities = tuple(claims.means)
    if not any(each in claims.spreads for each in quantities):
        first = round(max(memory, 1.0) * FIRST_MEANS * rarity(claims.least_variance))
        cost = _cost(speed, 3 * first, dt)
    if quantities:
        found.trials.append(Trial(quantities, first, observe, cost))
    return found


def rarity(variance: float) -> float:
    """How many times more observations rare events ask for: a count's kurtosis grows as 1 / variance."""
    return min(1 + 0.5 / variance, 50.0)


def _cost(speed: Pace, observations: int, dt_s: float) -> float:
    return observations * (speed.events_per_s * dt_s + 10)


def too_long(quantities: Sequence[Quantity], events: float) -> str:
    """The reason why quantities are not run."""
    names = ", ".join(each.name for each in quantities)
    return f"{names}: not run in this release; a verdict would take {events:.0e} events"


def bound(ligand: str) -> Callable[[Series], Any]:
    """Column: sites that hold a ligand."""
    return lambda series: series.bound("T", ligand).astype(float)


def free(ligand: str) -> Callable[[Series], Any]:
    """Column: free molecules."""
    return lambda series: series.free(ligand).astype(float)
