"""Transporters and molecules in numbers so small that each one matters: master equations, solved.

The cycle T + S <-> TS -> T + S_in, T + D <-> TD with finite copies has no product law, because it
is driven. Rates are per pair (kon, kon_drug) or per molecule, in 1/s.
"""

from __future__ import annotations

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


def _table(chain: Chain, weights: Array, names: tuple[str, ...]) -> JointLaw:
    states = np.array(chain.states)
    pmf = np.zeros(states.max(axis=0) + 1)
    pmf[tuple(states.T)] = weights
    return JointLaw(names, pmf)


def _solve(chain: Chain, names: tuple[str, ...]) -> CoupledLaw:
    weights = stationary(chain)
    return CoupledLaw(_table(chain, weights, names), Counting(chain, weights))


def _closed_chain(
    rates: TransportRates, transporters: int, substrates: int, drugs: int, k_recycle: float
) -> Chain:
    """All states (TS, TD, S_in) reached from everything outside and unbound."""

    def moves(state: State) -> list[Move]:
        ts, td, inside = state
        empty = transporters - ts - td
        return [
            Move((ts + 1, td, inside), rates.kon * empty * (substrates - ts - inside)),
            Move((ts - 1, td, inside), rates.koff * ts),
            Move((ts - 1, td, inside + 1), rates.kcat * ts, counted=True),
            Move((ts, td + 1, inside), rates.kon_drug * empty * (drugs - td)),
            Move((ts, td - 1, inside), rates.koff_drug * td),
            Move((ts, td, inside - 1), k_recycle * inside),
        ]

    return explore((0, 0, 0), moves)


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
    instance("rates", rates, TransportRates)
    back = one(positive, "k_recycle", k_recycle)
    # Free molecules and empty transporters follow from the counts: three numbers tell the state.
    chain = _closed_chain(rates, *_copies(transporters, substrates, drugs), back)
    return _solve(chain, ("TS", "TD", "S_in"))


def _copies(transporters: int, substrates: int, drugs: int) -> tuple[int, int, int]:
    return (
        whole("transporters", transporters),
        whole("substrates", substrates),
        whole("drugs", drugs),
    )


class Clearance:
    """Uptake of a fixed number of substrate molecules that do not come back.

    Attributes
    ----------
    mean, sd : float
        Of the time (s) until the last molecule is inside.
    """

    __slots__ = ("_chain", "mean", "sd")

    def __init__(self, chain: Chain, mean: float, sd: float) -> None:
        self._chain = chain
        self.mean = mean
        self.sd = sd

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
    instance("rates", rates, TransportRates)
    copies = _copies(whole("transporters", transporters, 1), substrates, drugs)
    chain = _closed_chain(rates, *copies, 0.0)
    # Without return "all inside" is final; drugs may go on binding there, which no longer matters.
    cleared = np.array([inside == copies[1] for _, _, inside in chain.states])
    return Clearance(chain, *hitting_time(chain, cleared))


def _pool_chain(
    rates: TransportRates, transporters: int, arrival: float, exit_: float, drug: float, most: int
) -> Chain:
    """All states (S, TS, TD) with at most ``most`` free molecules; then no more enter."""

    def moves(state: State) -> list[Move]:
        s, ts, td = state
        empty = transporters - ts - td
        below = s < most
        return [
            Move((s + 1, ts, td), arrival * below),
            Move((s - 1, ts, td), exit_ * s),
            Move((s - 1, ts + 1, td), rates.kon * empty * s),
            Move((s + 1, ts - 1, td), rates.koff * ts * below),
            Move((s, ts - 1, td), rates.kcat * ts, counted=True),
            Move((s, ts, td + 1), rates.kon_drug * drug * empty),
            Move((s, ts, td - 1), rates.koff_drug * td),
        ]

    return explore((0, 0, 0), moves)


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
    chain = _pool_chain(rates, n, arrival, leave, one(nonnegative, "drug", drug), most)
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
