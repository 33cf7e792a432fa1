"""A drug and a competitor that comes in bursts: what Gaddum's formula with the mean leaves out.

The competitor (serotonin) arrives in batches at random times, is cleared at first order, and shares
one site with a drug that is clamped. A bound competitor leaves by k_off, back into solution, or by
k_cat, for good. Between bursts the site is the drug's: 1 / (1 + S / Km) is convex in S, so on
average the drug holds more than the mean of S says.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synapse_abm.core.arrays import nonnegative, one, positive, refused, whole
from synapse_abm.theory._chain import Chain, normalised, sparse_null

#: Standard deviations and batches above the mean at which the free count is cut off. What lies
#: beyond is less than 1e-8 in every case tested.
_SDS, _BATCHES = 8, 4
#: Largest free count that is tabled.
MOST_FREE = 20_000


@dataclass(frozen=True, slots=True)
class BurstCompetition:
    """Stationary state of one site between a clamped drug and a competitor in bursts.

    Attributes
    ----------
    drug, competitor : float
        Probabilities that the site holds them.
    mean_free : float
        Mean number of free molecules of the competitor.
    cut_off : float
        Probability of the largest free count that was tabled: how well the table suffices.
    """

    drug: float
    competitor: float
    mean_free: float
    cut_off: float


def burst_competition(
    batch: int,
    batch_rate: float,
    clearance: float,
    kon_pair: float,
    koff: float,
    kcat: float,
    drug_on: float,
    drug_off: float,
) -> BurstCompetition:
    """Exact stationary state: the chain of (free molecules, empty | competitor | drug), solved.

    Parameters
    ----------
    batch : int
        Molecules of the competitor per burst, >= 1.
    batch_rate, clearance : float
        Bursts per s; rate (1/s) at which a free molecule is lost, > 0.
    kon_pair, koff, kcat : float
        Binding of one free molecule to the empty site, release, and transport out of sight, 1/s.
    drug_on, drug_off : float
        Rates (1/s) at which the drug takes the empty site (k_on C) and leaves it, > 0.

    Raises
    ------
    ValueError
        If a number is out of range, or free counts above ``MOST_FREE`` would be needed.
    """
    from scipy.sparse import coo_array, csr_array

    size = whole("batch", batch, 1)
    f, gamma = one(nonnegative, "batch_rate", batch_rate), one(positive, "clearance", clearance)
    on, off = one(nonnegative, "kon_pair", kon_pair), one(nonnegative, "koff", koff)
    cat = one(nonnegative, "kcat", kcat)
    a, d = one(positive, "drug_on", drug_on), one(positive, "drug_off", drug_off)
    mean = f * size / gamma
    # Counts of batches that arrive at random and decay are wider than Poisson by (batch + 1) / 2;
    # the last batch may come at once, hence some whole batches on top.
    highest = mean + _SDS * math.sqrt(mean * (size + 1) / 2 + 1) + _BATCHES * size
    if highest > MOST_FREE:
        raise ValueError(
            f"batch = {size} with batch_rate / clearance = {f / gamma:g} needs a table of free "
            f"counts up to {highest:.3g}; at most {MOST_FREE} are tabled"
        )
    top = math.ceil(highest)
    n = np.arange(top + 1)
    # Built from whole columns and not by `explore`: there are up to 60,000 states, of which Python
    # would list one after the other.
    empty, bound, drug = 3 * n, 3 * n + 1, 3 * n + 2
    moves: list[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]] = [
        (empty, drug, np.full(n.size, a)),
        (drug, empty, np.full(n.size, d)),
        (bound, empty, np.full(n.size, cat)),
        (empty[1:], bound[:-1], on * n[1:]),
        (bound[:-1], empty[1:], np.full(top, off)),
    ]
    for state in (empty, bound, drug):
        moves.append((state[1:], state[:-1], gamma * n[1:]))
        # At the cut-off no burst enters; `cut_off` tells how often one would have.
        moves.append((state[:-size], state[size:], np.full(top + 1 - size, f)))
    start, end, rate = (np.concatenate(part) for part in zip(*moves, strict=True))
    states = 3 * n.size
    places = np.concatenate([start, start]), np.concatenate([end, start])
    generator = csr_array(coo_array((np.concatenate([rate, -rate]), places), (states, states)))
    chain = Chain(tuple((i,) for i in range(states)), generator, generator[:0])
    table = normalised(sparse_null(chain)).reshape(-1, 3)
    by_site, by_free = table.sum(axis=0), table.sum(axis=1)
    return BurstCompetition(
        float(by_site[2]), float(by_site[1]), float(n @ by_free), float(by_free[-1])
    )


def burst_load(mean_load: float, burst_load: float) -> float:
    """Steady competitor, in units of its Km, that stands for bursts: S' / Km with
    1 / (1 + S' / Km) = E[1 / (1 + S / Km)].

    Put into Gaddum's formula it gives the occupancy by a drug that is slow beside the bursts, if
    the competitor binds fast, comes in many molecules, and does not notice the site
    (*asymptotic*; `burst_competition` is exact). S then is exponential shot noise, whose Laplace
    transform is exp(-(f / gamma) Ein(u x)), Ein(z) = E1(z) + ln z + Euler's constant (Rice 1944,
    Bell Syst Tech J 23:282), and E[1 / (1 + s)] = int_0^inf exp(-u) E[exp(-u s)] du.

    Parameters
    ----------
    mean_load : float
        Mean of S / Km, > 0.
    burst_load : float
        x, what one burst adds to S / Km, > 0; there are mean_load / x bursts in a clearance time.

    Raises
    ------
    ValueError
        If a load is not from 1e-15 to 1e15, where the integral has its digits.
    """
    from scipy.integrate import quad
    from scipy.special import exp1

    mean, x = one(positive, "mean_load", mean_load), one(positive, "burst_load", burst_load)

    for name, load in (("mean_load", mean), ("burst_load", x)):
        if not 1e-15 <= load <= 1e15:
            raise refused(name, load, "from 1e-15 to 1e15")

    # Ein(z) = int_0^z (1 - exp(-t)) / t dt. Its two terms cancel at small z: the series there.
    def ein(z: float) -> float:
        if z < 1e-3:
            return z - z * z / 4 + z**3 / 18
        return float(exp1(z)) + math.log(z) + float(np.euler_gamma)

    def integrand(log_u: float) -> float:
        u = math.exp(log_u)
        return u * math.exp(-u - mean / x * ein(u * x))

    # In log u the integrand is smooth for all loads from 1e-15 to 1e15; beyond exp(-45) and exp(5)
    # lies less than 3e-20.
    share = float(quad(integrand, -45.0, 5.0, limit=400, epsabs=0.0, epsrel=1e-10)[0])
    return 1 / share - 1
