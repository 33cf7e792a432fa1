"""Transporters and molecules in numbers so small that each one matters: master equations, solved.

The cycle T + S <-> TS -> T + S_in, T + D <-> TD with finite copies has no product law, because it
is driven. Rates are per pair (kon, kon_drug) or per molecule, in 1/s.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from synapse_abm.core.arguments import instance
from synapse_abm.core.arrays import Array, fraction, nonnegative, one, positive, refused, whole
from synapse_abm.theory._chain import (
    MOST_STATES,
    Chain,
    Counting,
    Move,
    State,
    explore,
    hitting_time,
    propagate,
    stationary,
)
from synapse_abm.theory.law import JointLaw, Law
from synapse_abm.theory.transport import TransportRates


@dataclass(frozen=True, slots=True, eq=False)
class CoupledLaw:
    """Stationary behaviour of a coupled system.

    Attributes
    ----------
    law : JointLaw
        Joint law of the counts; the names say which.
    uptake : Counting
        The completed transports: ``uptake.rate`` (1/s), ``uptake.fano`` of a long window,
        ``uptake.moments(t)`` of a window ``t`` (s).
    """

    law: JointLaw
    uptake: Counting


#: Counts of a state: substrate free, transporters with substrate and with drug, substrate inside.
COUNTS = ("S", "TS", "TD", "S_in")


def _table(chain: Chain, weights: Array, names: tuple[str, ...]) -> JointLaw:
    # The other counts follow from these, so no two states share an entry.
    states = np.array(chain.states)[:, [COUNTS.index(name) for name in names]]
    pmf = np.zeros(states.max(axis=0) + 1)
    pmf[tuple(states.T)] = weights
    return JointLaw(names, pmf)


def _solve(chain: Chain, names: tuple[str, ...]) -> CoupledLaw:
    weights = stationary(chain)
    return CoupledLaw(_table(chain, weights, names), Counting(chain, weights))


def _cycle(
    rates: TransportRates, transporters: int, *, start: int, most: int,
    free_drug: Callable[[int], float], back: float | None = None, arrival: float = 0.0,
    leave: float = 0.0,
) -> Chain:  # fmt: skip
    """All states reached from ``start`` molecules of substrate, everything unbound.

    Parameters
    ----------
    most
        Largest number of free molecules; then no more enter.
    free_drug
        Copies, or concentration, of the drug when so many transporters are taken by it.
    back
        Rate at which a molecule inside returns; None: what is inside is forgotten.
    """
    counted, returns = (0, 0.0) if back is None else (1, back)

    def moves(state: State) -> list[Move]:
        s, ts, td, inside = state
        empty, room = transporters - ts - td, s < most
        return [
            Move((s - 1, ts + 1, td, inside), rates.kon * empty * s),
            Move((s + 1, ts - 1, td, inside), rates.koff * ts * room),
            Move((s, ts - 1, td, inside + counted), rates.kcat * ts, counted=True),
            Move((s, ts, td + 1, inside), rates.kon_drug * empty * free_drug(td)),
            Move((s, ts, td - 1, inside), rates.koff_drug * td),
            Move((s + 1, ts, td, inside - 1), returns * inside),
            Move((s + 1, ts, td, inside), arrival * room),
            Move((s - 1, ts, td, inside), leave * s),
        ]

    return explore((start, 0, 0, 0), moves)


def _closed(
    rates: TransportRates, transporters: int, substrates: int, drugs: int, back: float
) -> Chain:
    """The cycle of fixed numbers of molecules."""
    instance("rates", rates, TransportRates)
    sites, substrates = whole("transporters", transporters), whole("substrates", substrates)
    copies = whole("drugs", drugs)
    return _cycle(
        rates, sites, start=substrates, most=substrates, free_drug=lambda td: copies - td, back=back
    )


def closed_cycle(
    rates: TransportRates, transporters: int, substrates: int, drugs: int, k_recycle: float
) -> CoupledLaw:
    """Stationary law of a closed cycle: substrate taken up comes back at ``k_recycle`` each.

    Parameters
    ----------
    rates : TransportRates
        ``kon`` and ``kon_drug`` per pair (1/s).
    transporters, substrates, drugs : int
        Copies.
    k_recycle : float
        Rate at which a molecule inside returns outside (1/s), > 0.

    Returns
    -------
    CoupledLaw
        Of the counts "TS", "TD", "S_in"; k_cat <TS> = k_recycle <S_in> exactly.

    Raises
    ------
    ValueError
        If a count is not whole or a rate is out of range.
    """
    back = one(positive, "k_recycle", k_recycle)
    return _solve(_closed(rates, transporters, substrates, drugs, back), ("TS", "TD", "S_in"))


@dataclass(frozen=True, slots=True, eq=False)
class Clearance:
    """Uptake of a fixed number of substrate molecules that do not come back.

    Attributes
    ----------
    mean, sd : float
        Of the time (s) until the last molecule is inside.
    """

    _chain: Chain
    mean: float
    sd: float

    def inside(self, t: float) -> Law:
        """Law of the number taken up by time ``t`` (s); its last entry is P(all inside)."""
        start = np.zeros(len(self._chain.states))
        start[0] = 1.0
        law = propagate(self._chain, start, one(nonnegative, "t", t))
        return _table(self._chain, law, ("TS", "TD", "S_in")).marginal("S_in")


def clearance(
    rates: TransportRates, transporters: int, substrates: int, drugs: int = 0
) -> Clearance:
    """How long it takes to clear ``substrates`` molecules, all outside and unbound at time 0.

    Drug molecules too start unbound. Parameters as in `closed_cycle`, without return.

    Raises
    ------
    ValueError
        If a count is not whole, or there are no transporters.
    """
    chain = _closed(rates, whole("transporters", transporters, 1), substrates, drugs, 0.0)
    # Without return "all inside" is final; drugs may go on binding there, which no longer matters.
    cleared = np.array([inside == substrates for *_, inside in chain.states])
    return Clearance(chain, *hitting_time(chain, cleared))


def drained_pool(
    rates: TransportRates,
    transporters: int,
    arrival_rate: float,
    exit_rate: float,
    drug: float = 0.0,
    largest_pool: int | None = None,
    tail: float = 1e-12,
) -> CoupledLaw:
    """Stationary law of an open pool of substrate that transporters drain.

    Molecules arrive at ``arrival_rate``, leave at ``exit_rate`` each, and are taken up; the drug
    is clamped. Free substrate is not Poisson here.

    Parameters
    ----------
    rates : TransportRates
        ``kon`` per pair (1/s); ``kon_drug`` per concentration of the drug and s.
    transporters : int
        Number of transporters.
    arrival_rate, exit_rate : float
        1/s; > 0.
    drug : float
        Clamped concentration of the drug.
    largest_pool : int, optional
        Where to cut the number of free molecules. By default far out in the tail of
        transporters + Poisson(arrival / exit), which no quantile of the free number exceeds.
    tail : float
        Largest probability allowed at the cut.

    Returns
    -------
    CoupledLaw
        Of the counts "S", "TS", "TD"; arrival = exit <S> + k_cat <TS> exactly.

    Raises
    ------
    ValueError
        If the probability at the cut exceeds ``tail``, or an argument is out of range.
    """
    from scipy.stats import poisson

    instance("rates", rates, TransportRates)
    arrival = one(positive, "arrival_rate", arrival_rate)
    leave = one(positive, "exit_rate", exit_rate)
    n = whole("transporters", transporters)
    if not one(fraction, "tail", tail, below_one=True) >= 1e-100:
        raise refused("tail", tail, ">= 1e-100")
    if largest_pool is None:
        if arrival / leave > MOST_STATES:
            raise refused("arrival_rate / exit_rate", arrival / leave, f"<= {MOST_STATES}")
        # At a thousandth of the tail, so that the check below never fails for a pool chosen here.
        largest_pool = n + int(poisson.isf(tail * 1e-3, max(arrival / leave, 1e-100))) + 1
    most = whole("largest_pool", largest_pool, 1)
    outside = one(nonnegative, "drug", drug)
    chain = _cycle(
        rates, n, start=0, most=most, free_drug=lambda _: outside, arrival=arrival, leave=leave
    )
    solved = _solve(chain, ("S", "TS", "TD"))
    # The bound holds for the default; a pool given by hand is checked like it.
    cut = float(solved.law.marginal("S").pmf[-1])
    if cut > tail:
        raise ValueError(
            f"largest_pool = {most} cuts off a pool that reaches it with probability {cut:.3g}; "
            f"it must be large enough for {tail:.3g}"
        )
    return solved


class PoolMeanField(NamedTuple):
    """Mean-field numbers of free substrate, and of transporters holding substrate."""

    free: float
    bound: float


def drained_pool_mean_field(
    rates: TransportRates,
    transporters: float,
    arrival_rate: float,
    exit_rate: float,
    drug: float = 0.0,
) -> PoolMeanField:
    """Mean-field companion of `drained_pool`: arrival = exit S + k_cat T S / (K_m (1 + D/K_i) + S).

    The positive root of a quadratic; fluctuations, which raise the exact <S>, are ignored.
    """
    instance("rates", rates, TransportRates)
    arrival = one(positive, "arrival_rate", arrival_rate)
    leave = one(positive, "exit_rate", exit_rate)
    holders = one(nonnegative, "transporters", transporters)
    most = rates.kcat * holders
    half = rates.km * (1 + one(nonnegative, "drug", drug) / rates.ki)
    linear = leave * half + most - arrival
    root = float(np.hypot(linear, 2 * np.sqrt(leave * arrival * half)))
    # Of the two forms of the root, the one whose terms have equal signs.
    free = 2 * arrival * half / (linear + root) if linear > 0 else (root - linear) / (2 * leave)
    return PoolMeanField(free, holders * free / (half + free))
