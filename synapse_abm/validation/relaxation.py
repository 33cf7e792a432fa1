"""How slowly a well-mixed system forgets, and how many events that takes: to plan a sample.

The rate equations of the means are followed into their steady state; the slowest rate of their
linearisation is the relaxation rate. For a few copies this is approximate (by a fifth or so), which
is good enough for a plan: nothing here enters an estimate or its error.

What a plan takes from a solver is rounded (`planned`) before it is used: the number of steps, the
step and the size of a sample must not depend on the last digit, which is another one on another
processor.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from synapse_abm.core.arithmetic import SOLVED, rounded
from synapse_abm.core.units import molecules_per_nM
from synapse_abm.synapse.scenario import Ligand, Scenario
from synapse_abm.validation.cases import NotRun

type Array = NDArray[np.float64]
type Species = tuple[str, ...]

#: Slowest over fastest rate below which an eigenvalue has not so many digits as a plan.
LEAST_RATIO = 1e-9
#: Steps on the way to a steady state. Each may be twice as long as the one before, so 300 span any
#: ratio of rates, with a few refused ones to spare.
MOST_STEPS = 300

APART = f"its rates lie too far apart to plan a sample: by more than {1 / LEAST_RATIO:g}"


def planned(value: float) -> float:
    """``value`` rounded as what solvers make, so that the last digits decide nothing."""
    return rounded(value, SOLVED)


@dataclass(frozen=True, slots=True)
class Pace:
    """Relaxation time (s), and events per s in the steady state; both `planned`."""

    relaxation_s: float
    events_per_s: float


def pace(scenario: Scenario) -> Pace:
    """The pace of a scenario on one cell.

    Raises
    ------
    NotRun
        If its rates are so far apart that the slowest cannot be told.
    """
    system = _System(list(_reactions(scenario)), _start(scenario))
    steady = system.steady_state()
    events = float(system.propensities(steady).sum())
    return Pace(planned(1.0 / system.slowest_rate(steady)), planned(events))


class _Reaction(NamedTuple):
    """``rate`` x product of the amounts of ``by``; makes one of each ``made``, takes one
    ``taken``.
    """

    rate: float
    by: tuple[Species, ...]
    taken: tuple[Species, ...]
    made: tuple[Species, ...]


def _reactions(scenario: Scenario) -> Iterator[_Reaction]:
    """Everything that can happen at a rate above zero."""
    for name, ligand in scenario.ligands.items():
        reactions = [*_binding(scenario, name, ligand), *_exchange(scenario, name, ligand)]
        yield from (reaction for reaction in reactions if reaction.rate > 0)


def _binding(scenario: Scenario, name: str, ligand: Ligand) -> Iterator[_Reaction]:
    for target, kinetics in ligand.binding.items():
        bound, empty = ("bound", target, name), ("empty", target)
        free: tuple[Species, ...] = (("free", name),)
        inside: tuple[Species, ...] = (("inside", name),)
        # Per pair; a clamped ligand has no molecules, and its concentration is part of the rate.
        on = kinetics.kon / molecules_per_nM(scenario.grid.volume_um3)
        if ligand.clamped_nM is not None:
            free, inside, on = (), (), kinetics.kon * ligand.clamped_nM
        yield _Reaction(on, (empty, *free), (empty, *free), (bound,))
        yield _Reaction(kinetics.koff, (bound,), (bound,), (empty, *free))
        yield _Reaction(kinetics.kcat_per_s, (bound,), (bound,), (empty, *inside))


def _exchange(scenario: Scenario, name: str, ligand: Ligand) -> Iterator[_Reaction]:
    free, inside = ("free", name), ("inside", name)
    yield _Reaction(ligand.return_per_s, (inside,), (inside,), (free,))
    yield _Reaction(ligand.metabolism_per_s, (inside,), (inside,), ())
    if ligand.reservoir is not None:
        exits, outside = ligand.reservoir.exchange_per_s, ligand.reservoir.concentration_nM
        copies = outside * molecules_per_nM(scenario.grid.volume_um3)
        yield _Reaction(exits, (free,), (free,), ())
        yield _Reaction(exits * copies, (), (), (free,))


def _start(scenario: Scenario) -> dict[Species, float]:
    """All sites empty, all molecules free."""
    amounts: dict[Species, float] = {}
    for name, target in scenario.targets.items():
        amounts["empty", name] = float(target.n_sites)
    for name, ligand in scenario.ligands.items():
        amounts["free", name] = float(ligand.count)
    return amounts


class _System:
    """Rate equations of the amounts of all species that some reaction takes or makes."""

    def __init__(self, reactions: list[_Reaction], amounts: dict[Species, float]) -> None:
        self._reactions = reactions
        species = list(dict.fromkeys(s for r in reactions for s in (*r.taken, *r.made)))
        self._start = np.array([amounts.get(name, 0.0) for name in species])
        self._by = [[species.index(s) for s in r.by] for r in reactions]
        self._matrix = np.zeros((len(species), len(reactions)))
        for at, reaction in enumerate(reactions):
            for sign, names in ((-1, reaction.taken), (1, reaction.made)):
                for name in names:
                    self._matrix[species.index(name), at] += sign
        # Amounts move only in the span of what the reactions change: what is conserved would give
        # rates of zero, and there are none within it.
        left, size, _ = np.linalg.svd(self._matrix, full_matrices=False)
        self._basis = left[:, size > 1e-9 * size[0]]

    def propensities(self, y: Array) -> Array:
        """Events of each reaction per s."""
        return np.array(
            [r.rate * y[by].prod() for r, by in zip(self._reactions, self._by, strict=True)]
        )

    def _slopes(self, y: Array) -> Array:
        """Jacobian of the rate equations within what amounts can become, 1/s."""
        slope = np.zeros((len(self._reactions), y.size))
        for at, (reaction, by) in enumerate(zip(self._reactions, self._by, strict=True)):
            for place, i in enumerate(by):
                slope[at, i] += reaction.rate * y[by[:place] + by[place + 1 :]].prod()
        jacobian: Array = self._basis.T @ self._matrix @ slope @ self._basis
        return jacobian

    def steady_state(self) -> Array:
        """Amounts in the steady state that the start leads to.

        Linearly implicit Euler steps that double while they keep amounts positive: stable however
        stiff, and Newton's method once they are long (pseudo-transient continuation; Kelley & Keyes
        1998, SIAM J Numer Anal 35:508).
        """
        y, one = self._start, np.eye(self._basis.shape[1])
        # Shorter than anything that happens; it doubles from there.
        step = 1.0 / max(reaction.rate for reaction in self._reactions)
        for _ in range(MOST_STEPS):
            change = self._basis.T @ (self._matrix @ self.propensities(y))
            move = self._basis @ np.linalg.solve(one / step - self._slopes(y), change)
            # A step that would leave less than half of something is too long to be trusted.
            if (y + move < 0.5 * y - 1e-9 * y.max()).any():
                step /= 4
                continue
            y, step = np.maximum(y + move, 0.0), min(2 * step, 1e30)
            if np.abs(move).max() <= 1e-13 * y.max() and step > 1e12:
                break
        return y

    def slowest_rate(self, y: Array) -> float:
        """Slowest rate of the linearisation."""
        rates = np.sort(-np.linalg.eigvals(self._slopes(y)).real)
        # An eigenvalue errs by 1e-16 of the largest one: below this ratio it would be noise, or
        # negative.
        if not rates[0] > LEAST_RATIO * rates[-1]:
            raise NotRun(APART)
        return float(rates[0])
