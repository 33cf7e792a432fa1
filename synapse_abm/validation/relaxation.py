"""How slowly a well-mixed system forgets, and how many events that takes: to plan a sample.

The rate equations of the means are run into their steady state; the slowest rate of their
linearisation is the relaxation rate. For a few copies this is approximate (by a fifth or so), which
is good enough for a plan: nothing here enters an estimate or its error.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from synapse_abm.core.units import molecules_per_nM
from synapse_abm.synapse.scenario.definition import Ligand, Scenario

type Array = NDArray[np.float64]
type Species = tuple[str, ...]


#: Evaluations of the rate equations that a plan may take: some seconds.
MOST_EVALUATIONS = 50_000


APART = "its rates lie too far apart to plan a sample"


class Unplannable(Exception):
    """No sample can be planned for a system; says why."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Relaxation time (s), and events per s in the steady state."""

    relaxation_s: float
    events_per_s: float


def pace(scenario: Scenario) -> Pace:
    """The pace of a scenario on one cell.

    Raises
    ------
    Unplannable
        If the steady state cannot be found in reasonable time.
    """
    from scipy.integrate import solve_ivp

    system = _System(list(_reactions(scenario)), _start(scenario))
    state, span = system.start, 10.0 / min(each.rate for each in system.reactions)
    for _ in range(12):
        with warnings.catch_warnings():  # what it has to say is told by its success
            warnings.simplefilter("ignore")
            run = solve_ivp(
                lambda _, y: system.change(y), (0, span), state, method="LSODA", rtol=1e-8
            )
        if not run.success:
            raise Unplannable(APART)
        state, span = run.y[:, -1], 3 * span
        events = float(system.propensities(state).sum())
        if np.abs(system.change(state)).max() <= 1e-6 * events:
            break
    return Pace(1.0 / system.slowest_rate(state), events)


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
        found = [*_binding(scenario, name, ligand), *_exchange(scenario, name, ligand)]
        yield from (each for each in found if each.rate > 0)


def _binding(scenario: Scenario, name: str, ligand: Ligand) -> Iterator[_Reaction]:
    for target, kinetics in ligand.binding.items():
        bound, empty = ("bound", target, name), ("empty", target)
        free: tuple[Species, ...] = (("free", name),)
        inside: tuple[Species, ...] = (("inside", name),)
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
        exits, held = ligand.reservoir.exchange_per_s, ligand.reservoir.concentration_nM
        copies = held * molecules_per_nM(scenario.grid.volume_um3)
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
        self.reactions = reactions
        species = list(dict.fromkeys(s for r in reactions for s in (*r.taken, *r.made)))
        self.start = np.array([amounts.get(each, 0.0) for each in species])
        self._by = [[species.index(s) for s in r.by] for r in reactions]
        self._matrix = np.zeros((len(species), len(reactions)))
        self._evaluations = 0
        for at, reaction in enumerate(reactions):
            for each in reaction.taken:
                self._matrix[species.index(each), at] -= 1
            for each in reaction.made:
                self._matrix[species.index(each), at] += 1

    def propensities(self, y: Array) -> Array:
        """Events of each reaction per s."""
        found = [r.rate * y[by].prod() for r, by in zip(self.reactions, self._by, strict=True)]
        return np.array(found)

    def change(self, y: Array) -> Array:
        """d(amounts)/dt."""
        self._evaluations += 1
        if self._evaluations > MOST_EVALUATIONS:
            raise Unplannable(APART)
        return self._matrix @ self.propensities(y)

    def slowest_rate(self, y: Array) -> float:
        """Slowest rate of the linearisation, leaving out those that conserved amounts make zero."""
        slope = np.zeros((len(self.reactions), y.size))
        for at, (reaction, by) in enumerate(zip(self.reactions, self._by, strict=True)):
            for place, i in enumerate(by):
                slope[at, i] += reaction.rate * y[by[:place] + by[place + 1 :]].prod()
        rates = np.sort(-np.linalg.eigvals(self._matrix @ slope).real)
        lasting = y.size - int(np.linalg.matrix_rank(self._matrix))
        return max(float(rates[lasting]), 1e-12 * float(rates[-1]))
