"""Two ligands added to empty sites at the same moment, both clamped (Motulsky & Mahan 1984).

A site is a three-state chain: empty, holding the label, holding the competitor. For N sites the
number holding the label at any time is Binomial(N, p_label). Concentrations in any one unit, k_on
per that unit and s, k_off in 1/s, times in s.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from synapse_abm.core.arrays import Array, broadcasting, finite, nonnegative, one, refused
from synapse_abm.theory._stable import decay_average


class SharedSite(NamedTuple):
    """Probabilities that a site holds the label, and that it holds the competitor."""

    label: Array
    competitor: Array


class Overshoot(NamedTuple):
    """Time (s) and height of the highest point of the label's occupancy."""

    time: float
    occupancy: float


class _Rates(NamedTuple):
    on_label: Array  # k1 L
    off_label: Array  # k2
    on_competitor: Array  # k3 I
    off_competitor: Array  # k4
    fast: Array  # K_F
    slow: Array  # K_S
    split: Array  # S = K_F - K_S


def _rates(
    label: ArrayLike,
    kon_label: ArrayLike,
    koff_label: ArrayLike,
    competitor: ArrayLike,
    kon_competitor: ArrayLike,
    koff_competitor: ArrayLike,
) -> _Rates:
    a = finite(
        "kon_label x label", nonnegative("kon_label", kon_label) * nonnegative("label", label)
    )
    b = nonnegative("koff_label", koff_label)
    c = finite(
        "kon_competitor x competitor",
        nonnegative("kon_competitor", kon_competitor) * nonnegative("competitor", competitor),
    )
    d = nonnegative("koff_competitor", koff_competitor)
    # S^2 as a sum of squares: it cannot become negative by rounding, and both parts may be tiny.
    split = np.hypot(a + b - c - d, 2 * np.sqrt(a) * np.sqrt(c))
    fast = (a + b + c + d + split) / 2
    # The product of the two rates has only positive terms; their difference would cancel.
    slow = (a * d + b * c + b * d) / np.where(fast > 0, fast, 1.0)
    return _Rates(a, b, c, d, fast, slow, split)


@broadcasting
def motulsky_mahan(
    t: ArrayLike,
    label: ArrayLike,
    kon_label: ArrayLike,
    koff_label: ArrayLike,
    competitor: ArrayLike,
    kon_competitor: ArrayLike,
    koff_competitor: ArrayLike,
) -> SharedSite:
    """Occupancy by a label and by its competitor at time ``t`` after both were added.

    With K_F, K_S = (K_A + K_B +- S) / 2, K_A = k1 L + k2, K_B = k3 I + k4 and
    S**2 = (K_A - K_B)**2 + 4 k1 k3 L I,

        p_L(t) = k1 L / S [k4 S / (K_F K_S)
                           + (k4 - K_F) / K_F exp(-K_F t) - (k4 - K_S) / K_S exp(-K_S t)]

    and the same with the ligands exchanged; evaluated in a form that stays exact as S, K_S or t
    vanish. All arguments broadcast.

    Parameters
    ----------
    t : array_like
        Time (s), >= 0.
    label, kon_label, koff_label : array_like
        The label's concentration, association and dissociation rate constants (L, k1, k2).
    competitor, kon_competitor, koff_competitor : array_like
        The same of the competitor (I, k3, k4).

    References
    ----------
    Motulsky & Mahan 1984, Mol Pharmacol 25:1.
    """
    r = _rates(label, kon_label, koff_label, competitor, kon_competitor, koff_competitor)
    time = nonnegative("t", t)
    # g has the Laplace transform 1 / ((s + K_F)(s + K_S)); h is its integral from 0 to t.
    g = time * decay_average(r.split * time) * np.exp(-r.slow * time)
    product = r.fast * r.slow
    h = (-np.expm1(-r.slow * time) - r.slow * g) / np.where(product > 0, product, 1.0)
    return SharedSite(
        r.on_label * (g + r.off_competitor * h), r.on_competitor * (g + r.off_label * h)
    )


def label_overshoot(
    label: float,
    kon_label: float,
    koff_label: float,
    competitor: float,
    kon_competitor: float,
    koff_competitor: float,
) -> Overshoot | None:
    """Peak of the label's occupancy above its final value; None if it only rises.

    It overshoots exactly when the competitor is present and leaves more slowly than the label
    (k4 < k2): the zero of dp_L/dt is at exp(S t) = (K_F - k4) / (K_S - k4), and
    (K_F - k4)(K_S - k4) = k3 I (k2 - k4). Parameters as in `motulsky_mahan`, scalars.
    """
    rates = [one(nonnegative, name, value) for name, value in locals().items()]
    r = _rates(*rates)
    slower = float(r.on_competitor * (r.off_label - r.off_competitor))
    if slower <= 0 or r.on_label == 0:
        return None
    # The difference K_S - k4 cancels where the competitor is slow: by the product of the two,
    # 1 / (K_S - k4) is (K_F - k4) / (k3 I (k2 - k4)), here logarithm by logarithm.
    t = float((2 * np.log(r.fast - r.off_competitor) - np.log(slower)) / r.split)
    if not 0 <= t < np.inf:
        raise refused("time of the peak, from kon_label x label and the other rates", t, "finite")
    return Overshoot(t, float(motulsky_mahan(t, *rates).label))
