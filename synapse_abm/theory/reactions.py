"""Reactions whose rates change at given times: what theory's three accounts of a course share.

A network has species, numbered from 0, and stages. A stage begins at a time, lets molecules in at
once, and has reactions of its own until the next begins. `monomolecular` solves networks in which
nothing meets, `projection` small ones, `rate_equations` the rest, roughly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from synapse_abm.core.arrays import Array

#: Times that differ by less than this share are one: they are sums of steps.
SAME_TIME = 1e-9


class Reaction(NamedTuple):
    """One reaction.

    Attributes
    ----------
    rate
        Per second and combination of what it takes.
    takes
        Species that meet in it, none to two, all different.
    change
        By how much each species' number changes.
    counter
        Number of the counter that it advances, -1 for none.
    """

    rate: float
    takes: tuple[int, ...]
    change: tuple[tuple[int, int], ...]
    counter: int = -1


class Stage(NamedTuple):
    """What holds from ``start_s`` (s) on, and how many of which species come in then."""

    start_s: float
    reactions: tuple[Reaction, ...]
    added: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Network:
    """A system and how it starts.

    Attributes
    ----------
    counts
        Numbers at time zero, by species.
    stages
        In order of time, the first at zero.
    counters
        Number of counters.
    weights
        None, or the start is the equilibrium of the first stage within reach of ``counts``: the
        law in proportion to the product of weight**n / n! over species (Anderson, Craciun & Kurtz
        2010, doi:10.1007/s11538-010-9517-4).
    """

    counts: tuple[int, ...]
    stages: tuple[Stage, ...]
    counters: int = 0
    weights: tuple[float, ...] | None = None

    @property
    def has_inflow(self) -> bool:
        """Whether molecules come out of nothing while it runs."""
        return any(r.rate > 0 and not r.takes for stage in self.stages for r in stage.reactions)

    @property
    def is_monomolecular(self) -> bool:
        """Whether each molecule goes its own way, all reactions being of one molecule or none."""
        reactions = {r[1:3] for stage in self.stages for r in stage.reactions if r.rate > 0}
        return all(
            len(takes) < 2
            and sum(n for _, n in change if n > 0) <= 1
            and sum(n for _, n in change if n < 0) == -len(takes)
            for takes, change in reactions
        )


class CountLaw(Protocol):
    """The law of one count."""

    def cgf(self, theta: Array) -> Array:
        """Logarithm of the mean of exp(theta x count), for each theta."""

    def table(self) -> tuple[Array, Array]:
        """Counts, and their probabilities: all but 1e-20 of it."""


@dataclass(frozen=True, slots=True)
class Moments:
    """Means and variances at each record.

    Attributes
    ----------
    mean, var : array, shape (records, species)
        Of the numbers; ``var`` is None if it was not asked for.
    counted_mean, counted_var : array, shape (records, counters)
        Of what each counter advanced by since the record before; variances may be None.
    error
        Probability that the account left out.
    """

    mean: Array
    var: Array | None
    counted_mean: Array
    counted_var: Array | None = None
    error: float = 0.0
    laws: Sequence[Sequence[CountLaw]] = ()  # by record and species, where they are known
    correction: Array | None = None  # what the means lack, to the next order


class Piece(NamedTuple):
    """A time (s) over which rates stay; the stage; whether it begins there; the record at its end.

    ``record`` is -1 if nothing is recorded at the end.
    """

    length_s: float
    stage: int
    begins: bool
    record: int


def pieces(stages: Sequence[Stage], seconds: Array) -> Iterator[Piece]:
    """A course cut at the beginnings of stages and at the times of records.

    A record at the time of a change is of the state before it.
    """
    now, stage, begins = 0.0, 0, True
    for record, end in enumerate(seconds.tolist()):
        while stage + 1 < len(stages) and stages[stage + 1].start_s < end * (1 - SAME_TIME):
            following = max(stages[stage + 1].start_s, now)
            yield Piece(following - now, stage, begins, -1)
            now, stage, begins = following, stage + 1, True
        yield Piece(max(end - now, 0.0), stage, begins, record)
        now, begins = max(end, now), False
