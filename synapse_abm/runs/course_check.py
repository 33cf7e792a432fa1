"""A simulated course beside its own theory: means, spreads, and a band that holds them all.

Where the law is exact, the mean of the replicates has to stay within limits that a correct program
leaves at any of the times, for any quantity, with probability :data:`FALSE_ALARM` at most; so has
their spread, at some of the times. Limits are Chernoff's (`statistics.mean_limits`), shared among
all times: that needs neither normal errors nor independent times. Elsewhere theory is shown, not
judged by.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synapse_abm.core.text import text_table
from synapse_abm.runs.results import Check, Table
from synapse_abm.statistics import mean_limits, spread_limits
from synapse_abm.synapse.scenario import Scenario
from synapse_abm.synapse.scenario.course_law import Expected, Key, course_law

type Array = NDArray[np.float64]

#: Probability that any check of any course of a correct program fails.
FALSE_ALARM = 1e-6
#: Times at which the spread is judged.
SPREADS = 12
#: Rows of a quantity in the table for people, and quantities there.
ROWS, QUANTITIES = 16, 12
#: Times of a periodic change that get a row.
FIRST_TIMES = 3


@dataclass(frozen=True, slots=True)
class CourseOf:
    """One quantity in time, of all replicates, beside what theory says.

    Attributes
    ----------
    label, column
        In words, and as the name of a column.
    mean, se : array, shape (records,)
        Mean of the replicates, and its standard error by their scatter (nan for one replicate).
    theory
        Mean and standard deviation of one replicate.
    low, high : array, shape (records,)
        Limits of the mean of the replicates; nan where the law is not known.
    spreads
        Record, mean square departure over the exact variance, and its limits, at some records.
    """

    label: str
    column: str
    mean: Array
    se: Array
    theory: Expected
    low: Array
    high: Array
    spreads: Sequence[tuple[int, float, float, float]] = ()

    @property
    def is_judged(self) -> bool:
        """Whether it is held against limits."""
        return bool(np.isfinite(self.low).any())

    def farthest(self, replicates: int) -> tuple[int, float, bool]:
        """The record at which the mean is farthest from theory in theory's standard errors, how
        many, and whether the means at all records are within their limits. Of records beyond their
        limits, if there are any, the farthest.
        """
        assert self.theory.sd is not None
        share = _share_of_limit(self.mean, self.theory.mean, self.low, self.high)
        off, se = self.mean - self.theory.mean, self.theory.sd / math.sqrt(replicates)
        # What cannot vary departs by nothing or by infinitely many errors, but for rounding.
        none = np.where(share <= 1, 0.0, np.inf)
        z = np.divide(off, se, out=none, where=se > 0)
        beyond = share > 1
        considered = beyond if beyond.any() else np.isfinite(share)
        at = int(np.argmax(np.where(considered, np.abs(z), -1.0)))
        return at, float(z[at]), not beyond.any()

    def checks(self, seconds: Array, replicates: int) -> list[Check]:
        """Its mean at :meth:`farthest`, and its spread where that takes most of what is allowed."""
        if not self.is_judged:
            return []
        at, z, passed = self.farthest(replicates)
        assert self.theory.sd is not None
        se, law = float(self.theory.sd[at]) / math.sqrt(replicates), "exact law of the course"
        checks = [
            Check(
                f"{self.label}, {len(seconds)} times; farthest at {seconds[at]:.6g} s", "exact",
                float(self.mean[at]), se, float(self.theory.mean[at]),
                z if math.isfinite(z) else None, law, passed, solved=True,
            )
        ]  # fmt: skip
        if self.spreads:
            records, ratios, lows, highs = map(np.array, zip(*self.spreads, strict=True))
            shares = _share_of_limit(ratios, np.ones_like(ratios), lows, highs)
            worst = int(np.argmax(shares))
            record, ratio = int(records[worst]), float(ratios[worst])
            checks.append(
                Check(
                    f"variance of {self.label} over the exact one, {len(shares)} times; farthest "
                    f"at {seconds[record]:.6g} s", "exact", ratio, None, 1.0, None, law,
                    bool(shares[worst] <= 1), solved=True,
                )
            )  # fmt: skip
        return checks


@dataclass(frozen=True, slots=True)
class Course:
    """All quantities of a course.

    ``said`` tells how theory knows them, a line for each system.
    """

    seconds: Array
    replicates: int
    quantities: Mapping[Key, CourseOf]
    said: Sequence[str]

    def checks(self) -> list[Check]:
        """Every quantity whose law is known."""
        return [
            check
            for quantity in self.quantities.values()
            for check in quantity.checks(self.seconds, self.replicates)
        ]

    @property
    def verdict(self) -> str:
        """One line: what was judged, and what came of it."""
        judged = [quantity for quantity in self.quantities.values() if quantity.is_judged]
        others, why = len(self.quantities) - len(judged), "rate equations are an approximation"
        if not judged:
            return f"course not judged: {why}" if others else "course not judged: no theory of it"
        farthest = [quantity.farthest(self.replicates)[:2] for quantity in judged]
        at, z = max(farthest, key=lambda place: abs(place[1]))
        quantities = f"{len(judged)} quantit{'y' if len(judged) == 1 else 'ies'}"
        failed = [check for check in self.checks() if not check.passed]
        said = "course FAILED to agree with its law" if failed else "course agrees with its law"
        more = f"; {others} more not judged: {why}" if others else ""
        return (
            f"{said} ({len(self.seconds)} times x {quantities}; farthest {abs(z):.1f} std. errors "
            f"at {self.seconds[at]:.6g} s{more})"
        )

    def record(self) -> dict[str, Any]:
        """As ``--json`` has it."""
        checks = self.checks()
        return {
            "theory": list(self.said),
            "records": len(self.seconds),
            "replicates": self.replicates,
            "false_alarm": FALSE_ALARM,
            "checks": [check.record() for check in checks],
            "passed": all(check.passed for check in checks) if checks else None,
            "verdict": self.verdict,
        }

    def table(self) -> Table:
        """Means, errors, theory and limits of all quantities at each time."""
        columns, solved = dict[str, Any](time_s=self.seconds), list[str]()
        for quantity in self.quantities.values():
            columns[f"{quantity.column}_mean"] = quantity.mean
            if self.replicates > 1:
                columns[f"{quantity.column}_mean_se"] = quantity.se
            kind = "exact" if quantity.theory.is_exact else "rate_equations"
            more = {kind: quantity.theory.mean}
            if quantity.theory.sd is not None:
                more[f"{kind}_sd_of_one"] = quantity.theory.sd
            if quantity.is_judged:
                more |= {"limit_low": quantity.low, "limit_high": quantity.high}
            columns |= {f"{quantity.column}_{name}": values for name, values in more.items()}
            solved += [f"{quantity.column}_{name}" for name in more]
        return Table("course", columns, solved)

    def text(self, scenario: Scenario) -> str:
        """A few times of each quantity for people, and how theory knows them."""
        header = ["course", "time", "mean", "std. error", "theory", "its std. error"]
        rows = list[list[str]]()
        for quantity in [*self.quantities.values()][:QUANTITIES]:
            label = quantity.label
            for at in _telling(scenario, self.seconds):
                sd = quantity.theory.sd
                error = "" if sd is None else f"{sd[at] / math.sqrt(self.replicates):.2g}"
                se = quantity.se[at]
                rows.append([
                    label, f"{self.seconds[at]:.6g} s", f"{quantity.mean[at]:.4g}",
                    f"{se:.2g}" if math.isfinite(se) else "", f"{quantity.theory.mean[at]:.4g}",
                    error,
                ])  # fmt: skip
                label = ""
        lines = [*(f"theory of {line}" for line in self.said), self.verdict]
        if (more := len(self.quantities) - QUANTITIES) > 0:
            lines.insert(0, f"({more} more quantities in the table 'course')")
        return "\n".join([*([text_table(header, rows)] if rows else []), *lines])


def _share_of_limit(value: Array, mean: Array, low: Array, high: Array) -> Array:
    """How far values depart from their means, as shares of what is allowed; nan without limits."""
    off, room = value - mean, np.where(value > mean, high - mean, mean - low)
    with np.errstate(divide="ignore", invalid="ignore"):
        # What cannot vary has no room: then only rounding is allowed.
        room = np.maximum(room, 1e-9 * np.maximum(np.abs(mean), 1.0))
        share: Array = np.abs(off) / room
    return share


def _telling(scenario: Scenario, seconds: Array) -> list[int]:
    """Records worth a row: the last up to each change, and the last; spread out where there are
    many.
    """
    end, times = float(seconds[-1]), list[float]()
    for at in scenario.at:
        if at.every_s is not None:
            first, last = at.from_s or 0.0, min(at.to_s or math.inf, end)
            periodic = (first + k * at.every_s for k in range(FIRST_TIMES))
            times += [time for time in periodic if time < last]
        else:
            times += [at.time_s or 0.0, (at.time_s or 0.0) + (at.over_s or 0.0)]
    changes = {time for time in times if 0 < time < end}
    told = [*(changes or (0.1 * end, 0.3 * end)), end]
    records = sorted({max(int(np.searchsorted(seconds, t * (1 + 1e-9))) - 1, 0) for t in told})
    if len(records) <= ROWS:
        return records
    return [
        records[k] for k in np.unique(np.linspace(0, len(records) - 1, ROWS).round().astype(int))
    ]


def course_of(
    scenario: Scenario,
    labels: Mapping[Key, tuple[str, str]],
    recorded: Sequence[Mapping[Any, Array]],
) -> Course:
    """A course judged.

    Parameters
    ----------
    labels
        Of each quantity its label and the name of its column.
    recorded
        Of each replicate the records of each quantity.
    """
    law, n = course_law(scenario), len(recorded)
    known = [key for key in labels if key in law.expected]
    judged = [key for key in known if law.expected[key].is_exact and law.expected[key].laws]
    times = len(law.seconds)
    spread_at = np.unique(np.linspace(0, times - 1, SPREADS + 1).round().astype(int)[1:])
    # Two sides of each; one correct program in a million leaves any of them.
    tests = 2 * len(judged) * (times + len(spread_at))
    quantities = dict[Key, CourseOf]()
    for key in known:
        values = np.array([columns[key][law.records] for columns in recorded])
        theory = law.expected[key]
        se, low, high = np.full((3, times), np.nan)
        spreads = list[tuple[int, float, float, float]]()
        if n > 1:
            se = values.std(axis=0, ddof=1) / math.sqrt(n)
        if key in judged:
            tail = FALSE_ALARM / tests
            low, high = _limits(theory, n, tail)
            # Shares and counts lie where they lie, whatever a bound allows.
            low = np.maximum(low, 0.0)
            high = np.minimum(high, 1.0) if key[0] == "occupancy" else high
            spreads = _spreads(theory, values, spread_at.tolist(), tail)
        label, column = labels[key]
        quantities[key] = CourseOf(
            label, column, values.mean(axis=0), se, theory, low, high, spreads
        )
    return Course(law.seconds, n, quantities, law.said)


def _limits(theory: Expected, n: int, tail: float) -> tuple[Array, Array]:
    """Limits of the mean of ``n`` replicates at each time."""
    assert theory.sd is not None and theory.laws is not None
    limits = [
        mean_limits(law.cgf, float(mean * unit), float((sd * unit) ** 2), n, tail)
        if unit > 0
        else (math.nan, math.nan)
        for law, mean, sd, unit in zip(
            theory.laws, theory.mean, theory.sd, theory.unit, strict=True
        )
    ]
    table = np.array(limits).T / theory.unit
    return table[0], table[1]


def _spreads(
    theory: Expected, values: Array, records: Sequence[int], tail: float
) -> list[tuple[int, float, float, float]]:
    """Mean squares over variances where there are any, with their limits."""
    assert theory.sd is not None and theory.laws is not None
    found = list[tuple[int, float, float, float]]()
    for record in records:
        sd = float(theory.sd[record])
        if sd > 0 and theory.unit[record] > 0:
            low, high = spread_limits(*theory.laws[record].table(), len(values), tail)
            ratio = float(((values[:, record] - theory.mean[record]) ** 2).mean()) / sd**2
            found.append((int(record), ratio, low, high))
    return found
