"""One transporter, substrate S and inhibitor D clamped: T + S <-> TS -> T + S_in, T + D <-> TD.

Transporters are then independent three-state chains. The cycle is driven, yet its states form a
star around the empty transporter, so every edge balances with the total rate out of TS,
k_off + k_cat, and the occupancies are exact. Concentrations in any one unit (nM), k_on per that
unit and s, other rates in 1/s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from numpy.typing import ArrayLike

from synapse_abm.core.arguments import instance
from synapse_abm.core.arrays import Array, broadcasting, finite, nonnegative, one, positive, whole
from synapse_abm.theory._chain import Counting, CountMoments, Move, State, explore, stationary


@dataclass(frozen=True, slots=True)
class TransportRates:
    """Rate constants of a transport cycle with a competitive inhibitor.

    Attributes
    ----------
    kon : float
        Substrate association, per concentration and s (open) or per pair and s (closed); > 0.
    koff, kcat : float
        Substrate dissociation (>= 0) and transport (> 0), 1/s.
    kon_drug, koff_drug : float
        Inhibitor association (>= 0, unit as ``kon``) and dissociation (> 0, 1/s).

    Raises
    ------
    ValueError
        If a rate is negative, NaN, infinite, or zero where that is not allowed.
    """

    kon: float
    koff: float
    kcat: float
    kon_drug: float = 0.0
    koff_drug: float = 1.0

    def __post_init__(self) -> None:
        for name in ("kon", "kcat", "koff_drug"):
            one(positive, name, getattr(self, name))
        for name in ("koff", "kon_drug"):
            one(nonnegative, name, getattr(self, name))

    @property
    def km(self) -> float:
        """Michaelis constant (k_off + k_cat) / k_on."""
        return (self.koff + self.kcat) / self.kon

    @property
    def ki(self) -> float:
        """Inhibition constant k_off / k_on of the drug; infinite if it does not bind."""
        return self.koff_drug / self.kon_drug if self.kon_drug > 0 else float("inf")


class TransporterOccupancy(NamedTuple):
    """Probabilities that a transporter holds substrate, holds drug, is empty; they sum to 1."""

    substrate: Array
    drug: Array
    free: Array


@broadcasting
def michaelis_constant(kon: ArrayLike, koff: ArrayLike, kcat: ArrayLike) -> Array:
    """K_m = (k_off + k_cat) / k_on, a concentration (Briggs & Haldane 1925, Biochem J 19:338)."""
    return (nonnegative("koff", koff) + nonnegative("kcat", kcat)) / positive("kon", kon)


@broadcasting
def transporter_occupancy(
    substrate: ArrayLike, km: ArrayLike, drug: ArrayLike = 0.0, ki: ArrayLike = float("inf")
) -> TransporterOccupancy:
    """Stationary probabilities of TS, TD and T: (S/K_m, D/K_i, 1) / (1 + S/K_m + D/K_i).

    Concentrations and constants in one unit; they broadcast. Counts over several transporters are
    multinomial with these probabilities.
    """
    s = nonnegative("substrate", substrate) / positive("km", km)
    d = nonnegative("drug", drug) / positive("ki", ki, infinite=True)
    z = 1 + s + d
    return TransporterOccupancy(s / z, d / z, 1 / z)


@broadcasting
def transport_flux(
    substrate: ArrayLike,
    km: ArrayLike,
    kcat: ArrayLike,
    drug: ArrayLike = 0.0,
    ki: ArrayLike = float("inf"),
) -> Array:
    """Substrate molecules moved per transporter and s: k_cat S / (K_m (1 + D/K_i) + S)."""
    bound = transporter_occupancy(substrate, km, drug, ki).substrate
    return nonnegative("kcat", kcat) * bound


@broadcasting
def drug_apparent_kd(ki: ArrayLike, substrate: ArrayLike, km: ArrayLike) -> Array:
    """Drug concentration that occupies half the transporters: K_i (1 + S / K_m)."""
    s = nonnegative("substrate", substrate)
    return positive("ki", ki) * (1 + s / positive("km", km))


@broadcasting
def transport_fano(
    substrate: ArrayLike,
    kon: ArrayLike,
    koff: ArrayLike,
    kcat: ArrayLike,
    drug: ArrayLike = 0.0,
    kon_drug: ArrayLike = 0.0,
    koff_drug: ArrayLike = 1.0,
) -> Array:
    """Variance / mean of the number of completed transports in a long window.

    Completions are a renewal process. With a = k_on S, b = k_off + k_cat, c = k_on,D D and
    d = k_off,D,

        F = 1 - 2 k_cat a [d (d + c) - c b] / [b (d + c) + a d]**2

    Without drug F >= 1/2, with equality for k_off = 0 and a = k_cat. A slow drug (c b > d (d + c))
    makes transport bursty, F > 1. Arguments broadcast; ``kcat`` and ``koff_drug`` > 0.
    """
    a = nonnegative("kon", kon) * nonnegative("substrate", substrate)
    move = positive("kcat", kcat)
    b = nonnegative("koff", koff) + move
    c = nonnegative("kon_drug", kon_drug) * nonnegative("drug", drug)
    d = positive("koff_drug", koff_drug)
    return 1 - 2 * move * a * (d * (d + c) - c * b) / (b * (d + c) + a * d) ** 2


def transport_counts(
    t: float, rates: TransportRates, transporters: int, substrate: float, drug: float = 0.0
) -> CountMoments:
    """Mean and variance of the transports completed in a stationary window of length ``t`` (s).

    The completions of one transporter form a Markovian arrival process; those of several add.

    Raises
    ------
    ValueError
        If a concentration or ``t`` is negative or NaN, or ``transporters`` is not whole.
    """
    instance("rates", rates, TransportRates)
    n = whole("transporters", transporters)
    # Clamped concentrations make both bindings plain rates: a transporter has three states.
    a = one(finite, "kon x substrate", rates.kon * one(nonnegative, "substrate", substrate))
    c = one(finite, "kon_drug x drug", rates.kon_drug * one(nonnegative, "drug", drug))
    free, substrate_bound, drug_bound = (0,), (1,), (2,)

    def moves(state: State) -> list[Move]:
        if state == free:
            return [Move(substrate_bound, a), Move(drug_bound, c)]
        if state == drug_bound:
            return [Move(free, rates.koff_drug)]
        return [Move(free, rates.koff), Move(free, rates.kcat, counted=True)]

    chain = explore(free, moves)
    single = Counting(chain, stationary(chain)).moments(one(nonnegative, "t", t))
    # Transporters do not know of each other: means and variances add.
    return CountMoments(n * single.mean, n * single.var)
