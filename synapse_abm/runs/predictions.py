"""Facts: what an experiment must show, stated before looking, and what came of it.

A fact used to choose a parameter is ``calibrated``; one that was only stated, in direction or size,
or published and never used, is ``emergent`` if the model shows it, and ``missed`` if it does not. A
missed fact comes with the best guess at why.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from synapse_abm.runs.results import Check, Kind, Table
from synapse_abm.statistics import Estimate


@dataclass(frozen=True, slots=True)
class Fact:
    """One number of the model and the range that was stated for it.

    Attributes
    ----------
    name
        What is meant, with its unit.
    kind
        ``calibrated`` if a parameter was tuned to it; ``emergent`` if it was stated beforehand;
        ``published`` if it was measured and not used.
    low, high
        The range, ends included; infinite where only a direction is stated.
    stated
        The same in words, with the published size.
    source
        Who published it; empty where it follows from the mechanism alone.
    guess
        Why the model misses it, if it does.
    """

    name: str
    kind: Kind
    low: float
    high: float
    stated: str
    source: str = ""
    guess: str = ""

    def judged(self, found: Estimate | float | None) -> Judged:
        """The fact with what the model gives; None where it gives no such number."""
        return Judged(self, Estimate(found, 0.0) if isinstance(found, float) else found)

    @property
    def expected(self) -> str:
        """What was stated, and by whom."""
        return f"{self.stated} ({self.source})" if self.source else self.stated


@dataclass(frozen=True, slots=True)
class Judged:
    """A fact and what the model gives."""

    fact: Fact
    found: Estimate | None

    @property
    def holds(self) -> bool:
        """Whether the estimate lies in the range."""
        return self.found is not None and self.fact.low <= self.found.value <= self.fact.high

    @property
    def status(self) -> str:
        """``calibrated``, ``emergent`` or ``missed``."""
        if not self.holds:
            return "missed"
        return "calibrated" if self.fact.kind == "calibrated" else "emergent"

    @property
    def check(self) -> Check:
        """For the record."""
        value, se = (self.found.value, self.found.se) if self.found else (math.nan, None)
        it = self.fact
        return Check(it.name, it.kind, value, se, None, None, it.expected, self.holds)

    @property
    def model(self) -> str:
        """The estimate as shown to people."""
        return "never" if self.found is None else shown(self.found)


def shown(it: Estimate) -> str:
    """An estimate with its 95 % half width, to two figures of the latter."""
    low, high = it.interval()
    half = (high - low) / 2
    if half == 0:
        return f"{it.value:.3g}"
    digits = max(0, 1 - math.floor(math.log10(half)))
    return f"{it.value:.{digits}f} +- {half:.{digits}f}"


def table(judged: Sequence[Judged], name: str = "facts") -> Table:
    """One row for each fact."""
    found = [it.found for it in judged]
    return Table(
        name,
        {
            "fact": [it.fact.name for it in judged],
            "status": [it.status for it in judged],
            "model": [it.value if it else None for it in found],
            "se": [it.se if it else None for it in found],
            "low": [it.fact.low for it in judged],
            "high": [it.fact.high for it in judged],
            "stated": [it.fact.stated for it in judged],
            "source": [it.fact.source for it in judged],
        },
    )


def text(judged: Iterable[Judged], width: int = 100) -> str:
    """The facts for people, two lines each, and below them why those that are missed may be so."""
    judged = list(judged)
    place = max(len(it.fact.name) for it in judged)
    lines = [f"{'status':10}  {'fact':{place}}  model"]
    for it in judged:
        lines.append(f"{it.status:10}  {it.fact.name:{place}}  {it.model}")
        lines.append(_indented(it.fact.expected, width))
    guesses = dict[str, list[str]]()
    for it in judged:
        if it.status == "missed" and it.fact.guess:
            guesses.setdefault(it.fact.guess, []).append(it.fact.name)
    if guesses:
        lines += ["", "why those that are missed may be so:"]
    for guess, names in guesses.items():
        lines += [*(f"  {name}" for name in names), _indented(guess, width)]
    return "\n".join(lines)


def _indented(words: str, width: int) -> str:
    indent = " " * 12
    return textwrap.fill(words, width, initial_indent=indent, subsequent_indent=indent)


def ratio(above: Estimate, below: Estimate) -> Estimate:
    """``above / below`` of independent estimates, its error to first order.

    Degrees of freedom are Satterthwaite's (1946, Biometrics Bull 2:110).
    """
    value = above.value / below.value
    parts = [(above.se / below.value, above.dof), (value * below.se / below.value, below.dof)]
    variance = sum(se**2 for se, _ in parts)
    spread = sum(se**4 / dof for se, dof in parts)
    return Estimate(value, math.sqrt(variance), variance**2 / spread if spread > 0 else math.inf)
