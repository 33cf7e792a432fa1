"""Trials: quantities of a case, how to observe them, and how many observations to begin with.

A trial is looked at on growing samples: n, 3n, 9n, 27n, 81n. n is chosen so that the fourth look
is expected to decide: a correct number then passes unless it is more than three standard errors
off, which leaves the last look for the few that are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import partial
from types import ModuleType
from typing import Any

from synapse_abm.core.address import Address
from synapse_abm.core.errors import InputError, UnknownName
from synapse_abm.statistics import Rule, Verdict
from synapse_abm.synapse.engine.simulation import Series
from synapse_abm.synapse.scenario.definition import Scenario
from synapse_abm.validation.cases import Array, Case, NotRun
from synapse_abm.validation.quantities import (
    OCCUPANCY,
    RELATIVE,
    SPREAD,
    Distribution,
    Margin,
    Measure,
    Number,
    Quantity,
    Row,
    at_least,
    covariance,
    exchange_rate,
    mean,
    variance,
)
from synapse_abm.validation.relaxation import pace
from synapse_abm.validation.samples import Columns, Sample, Stationary

type Observe = Callable[[Address, ModuleType | None], Sample]
type Parts = Iterator[Trial | NotRun]  # what is run of a case, and why the rest is not

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
        # An error falls as the root of the sample.
        more = max(q.finer for q in self.quantities) ** 2
        return Trial(finer, math.ceil(more * self.first), self.observe, more * self.cost)

    def rows(
        self, rule: Rule, address: Address, kernels: ModuleType | None = None, *,
        until_fail: bool = False,
    ) -> list[Row]:  # fmt: skip
        """Look at growing samples until every quantity is decided, or until the first FAIL.

        Every quantity is tested at every look, also one that could have passed before: a FAIL at
        any look is final, and the looks end when all others pass at the same one.
        """
        # One growing sample for all looks, not a new one each: the bounds allow for that, as they
        # hold whatever the dependence between looks (Bonferroni).
        sample = self.observe(address, kernels)
        rows: dict[int, Row] = {}
        for stage, size in enumerate(rule.sizes(self.first)):
            sample.grow(size)
            for at, quantity in enumerate(self.quantities):
                if at not in rows or rows[at].verdict is not Verdict.FAIL:
                    rows[at] = quantity.look(sample, rule, stage)
            verdicts = {row.verdict for row in rows.values()}
            if Verdict.CONTINUE not in verdicts or (until_fail and Verdict.FAIL in verdicts):
                break
        return [rows[at] for at in range(len(self.quantities))]


@dataclass(frozen=True, slots=True)
class Group:
    """How the cases of one group are run.

    Parameters
    ----------
    plan
        Trials of a case. Parts that cannot be run are yielded as `NotRun`; if it is raised, all
        that is left of the case is not run.
    idle
        Parameters that may stand in a case without being used: those that only some of its numbers
        need, and those that only tell.
    derived
        Parameters that a file may give though they follow from others, and how: products and
        quotients of these.
    """

    plan: Callable[[Case], Iterable[Trial | NotRun]]
    idle: Set[str] = frozenset()
    derived: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Plan:
    """What became of cases: their trials, and what of them is not run, with the reason.

    ``unknown`` are names not known here that kept a case from being run, as faults of the file:
    they are told as such if they leave nothing to run. ``errors`` are cases that failed while they
    were planned.
    """

    trials: list[Trial] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    unknown: list[InputError] = field(default_factory=list)
    errors: list[tuple[str, str]] = field(default_factory=list)

    def add(self, other: Plan) -> None:
        """Take in what other cases became."""
        self.trials += other.trials
        self.left_out += other.left_out
        self.unknown += other.unknown
        self.errors += other.errors


# --- quantities of a case -------------------------------------------------------------------------


class Claims:
    """The exact numbers of a case that can be measured, as quantities.

    Means and spreads are kept apart because spreads need many more observations. Nothing is added
    for a key that the case does not give.

    Parameters
    ----------
    solved
        Whether a solver made the numbers (see `Number`).
    """

    def __init__(self, case: Case, *, solved: bool = False) -> None:
        self._case, self._solved = case, solved
        self.means: list[Quantity] = []
        self.spreads: list[Quantity] = []
        self.least_variance = float("inf")

    @property
    def all(self) -> tuple[Quantity, ...]:
        """All quantities, the means first."""
        return (*self.means, *self.spreads)

    def _size(self, key: str) -> float:
        return abs(self._case.number(key) or 0.0)

    def _add(
        self, quantities: list[Quantity], key: str, measure: Measure, margin: Margin
    ) -> None:  # fmt: skip
        if (exact := self._case.number(key)) is not None:
            quantities.append(
                margin.number(self._case.id, key, exact, measure, solved=self._solved)
            )

    def mean(
        self, key: str, column: str, scale: float = 1.0, margin: Margin = RELATIVE
    ) -> None:  # fmt: skip
        """A mean, its error no smaller than the column's variance, if the case gives it, allows."""
        # For rare events the error that is seen is small when few happened to occur.
        one = scale * math.sqrt(self._size(f"var_{column}"))
        self._add(self.means, key, at_least(mean(column, scale), one), margin)

    def share(self, key: str, column: str, sites: int) -> None:
        """An occupancy (0 to 1); the column counts the occupied ones of ``sites``."""
        self.mean(key, column, 1 / sites, OCCUPANCY)

    def sites(self, sites: int, **occupants: Sequence[str]) -> None:
        """All about what occupies ``sites``: by column, the keys of its occupancy.

        Mean, variance and law have the column's name behind ``mean_``, ``var_`` and ``pmf_``.
        """
        for column, shares in occupants.items():
            for key in shares:
                self.share(key, column, sites)
            self.mean(f"mean_{column}", column, margin=OCCUPANCY.on(sites))
            self.spread(f"var_{column}", variance(column))
            self.law(f"pmf_{column}", column, OCCUPANCY.size * sites)

    def pair(self, first: str, second: str, sites: int, laws: Sequence[str]) -> None:
        """Covariance and joint law (under any of the keys ``laws``) of two such columns."""
        together = "_" if len(first) > 1 else ""  # cov_AB, but cov_TS_TD
        measure = covariance(first, second)
        self.covariance(f"cov_{first}{together}{second}", measure, f"var_{first}", f"var_{second}")
        for key in laws:
            self.law(key, (first, second), OCCUPANCY.size * sites)

    def rate(self, key: str, measure: Measure) -> None:
        """A rate that takes as many observations as a spread."""
        self._add(self.spreads, key, measure, RELATIVE)

    def spread(self, key: str, measure: Measure) -> None:
        """A variance, or a ratio of a variance."""
        self._add(self.spreads, key, measure, SPREAD)
        if (size := self._size(key)) > NONE:
            self.least_variance = min(self.least_variance, size)

    def covariance(self, key: str, measure: Measure, first: str, second: str) -> None:
        """A covariance, compared on the scale of the variances given under two other keys."""
        # Its own size is no scale: the covariance of independent counts is 0.
        scale = math.sqrt(self._size(first) * self._size(second))
        self._add(self.spreads, key, measure, SPREAD.on(scale))

    def law(self, key: str, columns: str | tuple[str, str], margin: float) -> None:
        """The law of a count, or the joint law of two; ``margin`` is that of the means."""
        read = self._case.law if isinstance(columns, str) else self._case.joint_law
        if (law := read(key)) is not None:
            names = (columns,) if isinstance(columns, str) else columns
            self.spreads.append(Distribution(self._case.id, key, law, names, margin))


def series(
    case: Case, key: str, times: Array, name: str, margin: Margin,
    measure: Callable[[int, float], Measure], *, label: str = "t", solved: bool = False,
) -> list[Number]:  # fmt: skip
    """Exact numbers at each of ``times``; ``measure`` gets the place in the list and the number."""
    exact = case.series(key, times.size)
    if exact is None:
        return []
    margins = margin.sizes(exact)
    return [
        Number(
            case.id, f"{name}[{label}={t:g}]", e, m, measure(i, e), margin.finer, solved,
            margin.by_margin,
        )
        for i, (t, e, m) in enumerate(
            zip(times.tolist(), exact.tolist(), margins.tolist(), strict=True)
        )
    ]  # fmt: skip


def interleaved(*curves: Sequence[Number]) -> list[Number]:
    """Several series at the same times, time by time; what the case does not give is left out."""
    return [number for at in zip(*filter(None, curves), strict=True) for number in at]


# --- trials ---------------------------------------------------------------------------------------


def trial(
    case: Case, quantities: Sequence[Quantity], first: int, observe: Observe,
    per_observation: float, name: str = "",
) -> Parts:  # fmt: skip
    """One trial, or the reason why it is not run; none where nothing is to be measured.

    Parameters
    ----------
    per_observation
        Events of an observation.
    name
        What of the case it is.
    """
    case.stop_if_faulty()
    cost = DECIDING * first * per_observation
    if quantities and cost > affordable(case):
        yield NotRun(name + too_long(cost))
    elif quantities:
        yield Trial(tuple(quantities), first, observe, cost)


def stationary(
    case: Case, claims: Claims, scenario: Scenario, levels: Columns, counts: Columns,
    window_s: float | None = None,
) -> Parts:  # fmt: skip
    """The trial of a stationary well-mixed system, spreads left out if they take too many events.

    It is observed once a relaxation time, or every ``window_s``.
    """
    speed = pace(scenario)
    # More often would cost time and tell little new: a relaxation time apart two observations in
    # one cell are worth as much as 0.46 independent ones each.
    dt = window_s or speed.relaxation_s
    memory = max(speed.relaxation_s / dt, 1.0)
    scenario = scenario.model_copy(update={"dt_s": dt})
    observe = partial(
        Stationary, scenario, levels=levels, counts=counts, relaxation_steps=speed.relaxation_s / dt
    )
    per_observation = speed.events_per_s * dt + OBSERVING
    if claims.spreads:
        first = round(FIRST_SPREADS * memory * rarity(claims.least_variance))
        if DECIDING * first * per_observation <= affordable(case):
            yield Trial(claims.all, first, observe, DECIDING * first * per_observation)
            return
        yield NotRun(_names(claims.spreads) + too_long(DECIDING * first * per_observation))
    # Means need few looks: they are costed at the first one.
    first = round(FIRST_MEANS * memory)
    if claims.means and first * per_observation > affordable(case):
        yield NotRun(_names(claims.means) + too_long(first * per_observation))
    elif claims.means:
        yield Trial(tuple(claims.means), first, observe, first * per_observation)


def with_exchange_rate(claims: Claims, scenario: Scenario) -> Columns:
    """Claim ``k_obs`` of independent sites; returns the count that it is measured by."""
    sites, dt = scenario.targets["T"].n_sites, pace(scenario).relaxation_s
    claims.rate("k_obs", exchange_rate("unbound", "bound", sites, dt))
    return {"unbound": lambda series: series.count("unbound", "L", "T")}


def rarity(variance: float) -> float:
    """How many times more observations rare events ask for: their kurtosis grows as 1 /
    variance.
    """
    return 1 + 0.5 / variance


def _names(quantities: Sequence[Quantity]) -> str:
    return ", ".join(quantity.name for quantity in quantities) + ": "


def unknown_parameters(case: Case, idle: Set[str] = frozenset()) -> Plan:
    """What keeps a case from being run: parameters that would be left out of account; or nothing.

    To be asked when all of the case has been read.
    """
    unknown = [key for key in case.unread() if key not in idle]
    if not unknown:
        return Plan()
    what = "parameter" if len(unknown) == 1 else "parameters"
    names = ", ".join(map(repr, unknown))
    why = f"its {what} {names} would be left out of account: not known here"
    known, place = case.looked_at("params") | idle, f"a parameter of {case.source}: {case.id}"
    return Plan([], [(case.id, why)], [UnknownName(place, key, known) for key in unknown])


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


def occupants(sites: int, **ligands: str) -> dict[str, Callable[[Series], Any]]:
    """Columns: sites that hold each ligand, under its column's name, and the empty ones."""
    taken = {column: bound(ligand) for column, ligand in ligands.items()}
    return taken | {"empty": lambda series: sites - sum(of(series) for of in taken.values())}
