"""How slowly a well-mixed system forgets, and how many events that takes: to plan a sample.

The rate equations of the means are run into their steady state; the slowest rate of their
linearisation is the relaxation rate. For a few copies this is approximate (by a fifth or so), which
is good enough for a plan: nothing here enters an estimate or its error.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synapse_abm.scenario import Ligand, Scenario
from synapse_abm.units import molecules_per_nM

_CONSERVED = 1e-9  # rates below this share of the fastest belong to conserved numbers


@dataclass(frozen=True, slots=True)
class Pace:
    """Relaxation time (s), and events per s in the steady state."""

    relaxation_s: float
    events_per_s: float


def pace(scenario: Scenario) -> Pace:
    """The pace of a scenario on one cell."""
    from scipy.integrate import solve_ivp

    flow = _Flow(scenario)
    state, span = flow.start(), 10.0 / flow.slowest
    for _ in range(12):
        state = solve_ivp(lambda _, y: flow(y)[0], (0, span), state, method="LSODA", rtol=1e-8).y[:, -1]
        change, events = flow(state)
        if np.abs(change).max(initial=0.0) <= 1e-6 * max(events.real, 1e-300):
            break
        span *= 3
    rates = -np.linalg.eigvals(_jacobian(flow, state)).real
    return Pace(1.0 / rates[rates > _CONSERVED * rates.max()].min(), float(flow(state)[1].real))


def _jacobian(flow: _Flow, state: NDArray[np.float64]) -> NDArray[np.float64]:
    """By an imaginary step, which is exact for polynomials of the second degree."""
    step = 1e-20j * np.eye(state.size)
    return np.array([flow(state + each)[0].imag / 1e-20 for each in step]).T


class _Flow:
    """d(bound, free, inside)/dt of the means, and the events per s behind it."""

    def __init__(self, scenario: Scenario) -> None:
        ligands = scenario.ligands
        self.sites = {name: target.n_sites for name, target in scenario.targets.items()}
        self.pairs = [(t, n) for t in scenario.targets for n in ligands if t in ligands[n].binding]
        self.ligands = ligands
        self.explicit = [name for name, each in ligands.items() if each.clamped_nM is None]
        self.copies_per_nM = molecules_per_nM(scenario.grid.volume_um3)  # noqa: N815

    @property
    def slowest(self) -> float:
        """The smallest rate constant, for a first guess of the time to run."""
        rates = [rate for each in self.ligands.values() for rate in _rates(each)]
        return min(rate for rate in rates if rate > 0)

    def start(self) -> NDArray[np.float64]:
        """All sites empty, all molecules free."""
        free = [float(self.ligands[name].count) for name in self.explicit]
        return np.array([0.0] * len(self.pairs) + free + [0.0] * len(free))

    def __call__(self, y: NDArray) -> tuple[NDArray, complex]:  # type: ignore[type-arg]
        pairs, many = len(self.pairs), len(self.explicit)
        change, events = np.zeros_like(y), 0.0 + 0.0j
        place = {name: pairs + i for i, name in enumerate(self.explicit)}
        empty = dict(self.sites)
        for at, (target, _) in enumerate(self.pairs):
            empty[target] = empty[target] - y[at]
        for at, (target, name) in enumerate(self.pairs):
            ligand = self.ligands[name]
            kinetics = ligand.binding[target]
            clamped = ligand.clamped_nM is not None
            amount = ligand.clamped_nM if clamped else y[place[name]] / self.copies_per_nM
            on = kinetics.kon * amount * empty[target]
            off, carried = kinetics.koff * y[at], kinetics.kcat_per_s * y[at]
            change[at] += on - off - carried
            if not clamped:
                change[place[name]] += off - on
                change[place[name] + many] += carried
            events += on + off + carried
        for name in self.explicit:
            free, inside = y[place[name]], y[place[name] + many]
            arrive, leave, back, lost = self._exchange(self.ligands[name])
            change[place[name]] += arrive - leave * free + back * inside
            change[place[name] + many] -= (back + lost) * inside
            events += arrive + leave * free + (back + lost) * inside
        return change, events

    def _exchange(self, ligand: Ligand) -> tuple[float, float, float, float]:
        """Molecules that arrive per s; rates of leaving, of return and of loss inside."""
        arrive = sum(batch.rate_per_s * batch.size for batch in ligand.batches)
        leave = ligand.degradation_per_s
        if ligand.reservoir is not None:
            leave += ligand.reservoir.exchange_per_s
            copies = ligand.reservoir.concentration_nM * self.copies_per_nM
            arrive += ligand.reservoir.exchange_per_s * copies
        return arrive, leave, ligand.return_per_s, ligand.metabolism_per_s


def _rates(ligand: Ligand) -> list[float]:
    exits = ligand.reservoir.exchange_per_s if ligand.reservoir else 0.0
    rates = [exits, ligand.return_per_s, ligand.metabolism_per_s, ligand.degradation_per_s]
    for kinetics in ligand.binding.values():
        rates += [kinetics.koff, kinetics.kcat_per_s]
    return rates
