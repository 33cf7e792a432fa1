"""Predictions: what an experiment must show, stated before looking, and what came of it.

One whose number was used to choose a parameter is ``calibrated``; one that was only stated, in
direction or size, or published and never used, is ``emergent`` if the model shows it, and
``not reproduced`` if it does not. What is not reproduced comes with the best guess at why.
"""

from __future__ import annotations

import functools
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from synapse_abm.runs.results import Check, Kind, Table
from synapse_abm.statistics import Estimate

NOT_REPRODUCED = "not reproduced"


@dataclass(frozen=True, slots=True)
class Prediction:
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
        Why the model does not show it, if it does not.
    """

    name: str
    kind: Kind
    low: float
    high: float
    stated: str
    source: str = ""
    guess: str = ""

    @property
    def expected(self) -> str:
        """What was stated, and by whom."""
        return f"{self.stated} ({self.source})" if self.source else self.stated


@dataclass(frozen=True, slots=True)
class Outcome:
    """A prediction and what the model gives."""

    prediction: Prediction
    estimate: Estimate | None

    @property
    def holds(self) -> bool:
        """Whether the estimate lies in the range."""
        low, high = self.prediction.low, self.prediction.high
        return self.estimate is not None and low <= self.estimate.value <= high

    @property
    def status(self) -> str:
        """``calibrated``, ``emergent`` or ``not reproduced``."""
        # A number that parameters were tuned to is no success of the model; one it misses is a
        # failure.
        if not self.holds:
            return NOT_REPRODUCED
        return "calibrated" if self.prediction.kind == "calibrated" else "emergent"

    @property
    def check(self) -> Check:
        """For the record."""
        stated, estimate = self.prediction, self.estimate
        value, se = (estimate.value, estimate.se) if estimate else (math.nan, None)
        stated_by = stated.expected
        return Check(stated.name, stated.kind, value, se, None, None, stated_by, self.holds, True)

    @property
    def model(self) -> str:
        """The estimate as shown to people."""
        # No estimate means that what was predicted did not happen at all, as a benefit that never
        # came.
        return "never" if self.estimate is None else shown(self.estimate)


def _outcome(
    kind: Kind, name: str, value: Estimate | float | None, low: float, high: float, stated: str,
    source: str = "", guess: str = "",
) -> Outcome:  # fmt: skip
    """What was stated with what the model gives; None where it gives no such number."""
    estimate = Estimate(value, 0.0) if isinstance(value, float) else value
    return Outcome(Prediction(name, kind, low, high, stated, source, guess), estimate)


calibrated, emergent, published = (
    functools.partial(_outcome, kind) for kind in ("calibrated", "emergent", "published")
)


def shown(estimate: Estimate) -> str:
    """An estimate with its 95 % half width, to two figures of the latter."""
    low, high = estimate.interval()
    half = (high - low) / 2
    if half == 0:
        return f"{estimate.value:.3g}"
    # Two figures of the half width: its first is at 10**floor(log10).
    digits = max(0, 1 - math.floor(math.log10(half)))
    return f"{estimate.value:.{digits}f} +- {half:.{digits}f}"


def table(outcomes: Sequence[Outcome], name: str = "predictions") -> Table:
    """One row for each prediction."""
    estimates = [outcome.estimate for outcome in outcomes]
    stated = [outcome.prediction for outcome in outcomes]
    return Table(
        name,
        {
            "prediction": [prediction.name for prediction in stated],
            "status": [outcome.status for outcome in outcomes],
            "model": [estimate.value if estimate else None for estimate in estimates],
            "se": [estimate.se if estimate else None for estimate in estimates],
            "low": [prediction.low for prediction in stated],
            "high": [prediction.high for prediction in stated],
            "stated": [prediction.stated for prediction in stated],
            "source": [prediction.source for prediction in stated],
        },
        solved=("model", "se"),
    )


def text(outcomes: Sequence[Outcome], width: int = 100) -> str:
    """The predictions for people, two lines each, and below them why some may not be reproduced."""
    place = max(len(outcome.prediction.name) for outcome in outcomes)
    lines, guesses = [f"{'status':14}  {'prediction':{place}}  model"], dict[str, list[str]]()
    for outcome in outcomes:
        stated = outcome.prediction
        lines.append(f"{outcome.status:14}  {stated.name:{place}}  {outcome.model}")
        lines.append(_indented(stated.expected, width))
        if not outcome.holds and stated.guess:
            guesses.setdefault(stated.guess, []).append(stated.name)
    if guesses:
        lines += ["", f"why those that are {NOT_REPRODUCED} may be so:"]
    for guess, names in guesses.items():
        lines += [*(f"  {name}" for name in names), _indented(guess, width)]
    return "\n".join(lines)


def _indented(words: str, width: int) -> str:
    indent = " " * 16
    return textwrap.fill(words, width, initial_indent=indent, subsequent_indent=indent)


def ratio(above: Estimate, below: Estimate) -> Estimate:
    """``above / below`` of independent estimates, its error to first order.

    Degrees of freedom are Satterthwaite's (1946, Biometrics Bull 2:110).
    """
    value = above.value / below.value
    # Relative errors add in squares, for independent numbers and to first order.
    parts = [(above.se / below.value, above.dof), (value * below.se / below.value, below.dof)]
    variance = sum(se**2 for se, _ in parts)
    # Errors known exactly have infinite degrees of freedom and add nothing here.
    spread = sum(se**4 / dof for se, dof in parts)
    return Estimate(value, math.sqrt(variance), variance**2 / spread if spread > 0 else math.inf)
