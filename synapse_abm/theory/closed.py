"""One ligand in a closed volume: finite copies of sites (R) and ligand molecules (L).

Each free pair binds at ``kon_pair`` (1/s), each complex breaks at ``koff`` (1/s); the affinity
K = kon_pair / koff is per molecule. Nothing else enters the equilibrium.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from synapse_abm.core.arrays import (
    MOST_TABLED,
    Array,
    broadcasting,
    finite,
    nonnegative,
    one,
    positive,
    whole,
)
from synapse_abm.theory._chain import Chain, Move, State, explore, propagate, transition
from synapse_abm.theory.law import Law, law_from_ratios

#: Copies of the rarer partner for which all relaxation rates are worked out: grows as the square.
MOST_RELAXING = 10_000


def closed_law(sites: int, ligands: int, affinity: float) -> Law:
    """Exact equilibrium law of the number b of complexes, 0..min(R, L).

    Choose b sites and b ligands and pair them: w(b) = C(R, b) C(L, b) b! K**b, normalised.
    Thousands of copies are no difficulty: only ratios of neighbouring weights are used.

    Parameters
    ----------
    sites, ligands : int
        R and L, >= 0.
    affinity : float
        K per molecule, >= 0.

    Raises
    ------
    ValueError
        If a copy number is not whole, or anything is negative or NaN, or the law would have more
        than ``MOST_TABLED`` entries.

    Notes
    -----
    The mean m obeys K [(R - m)(L - m) + Var b] = m, the sum of detailed balance over all states;
    the quadratic equation for the mean (`morrison_mean`) is this one without the variance.
    """
    r, n = whole("sites", sites), whole("ligands", ligands)
    k = one(nonnegative, "affinity", affinity)
    most = whole("the smaller of sites and ligands", min(r, n), most=MOST_TABLED)
    b = np.arange(most, dtype=np.float64)
    return law_from_ratios(k * (r - b) * (n - b) / (b + 1))


@broadcasting
def morrison_mean(sites: ArrayLike, ligands: ArrayLike, affinity: ArrayLike) -> Array:
    """Mean-field amount of complex, the root of K (R - m)(L - m) = m.

    Copies with K per molecule, or concentrations with K = 1 / K_d; arguments broadcast. It drops
    the variance of `closed_law` and so lies below the exact mean, badly so for a few copies.

    References
    ----------
    Morrison 1969, Biochim Biophys Acta 185:269.
    """
    r, n = nonnegative("sites", sites), nonnegative("ligands", ligands)
    k = nonnegative("affinity", affinity)
    # (s - sqrt(s**2 - 4 R L)) / 2 with s = R + L + 1/K, rearranged so that nothing cancels.
    root = np.sqrt(1 + 2 * k * (r + n) + (k * (r - n)) ** 2)
    return 2 * k * r * n / (1 + k * (r + n) + root)


def _birth_death(sites: int, ligands: int, kon_pair: float, koff: float, bound: int) -> Chain:
    def moves(state: State) -> tuple[Move, Move]:
        (b,) = state
        return (
            Move((b + 1,), kon_pair * (sites - b) * (ligands - b)),
            Move((b - 1,), koff * b),
        )

    return explore((bound,), moves)


def closed_transient_law(
    t: float, sites: int, ligands: int, kon_pair: float, koff: float, bound: int = 0
) -> Law:
    """Exact law of the number of complexes at time ``t`` (s) when there were ``bound`` at 0.

    A row of exp(Q t), Q the birth-death generator: up kon_pair (R - b)(L - b), down koff b.

    Raises
    ------
    ValueError
        If ``bound`` exceeds min(R, L), or anything is negative or NaN.
    """
    r, n = whole("sites", sites), whole("ligands", ligands)
    start = whole("bound", bound, most=min(r, n))
    up, down = nonnegative("kon_pair", kon_pair), nonnegative("koff", koff)
    chain = _birth_death(r, n, float(up), float(down), start)
    # The chain starts at `bound`, so that is its first state, whatever its number of complexes.
    row = np.zeros(len(chain.states))
    row[0] = 1.0
    pmf = np.zeros(min(r, n) + 1)
    pmf[[b for (b,) in chain.states]] = propagate(chain, row, t)
    return Law(pmf)


def closed_course(
    step_s: float, steps: int, sites: int, ligands: int, kon_pair: float, koff: float,
    bound: int = 0,
) -> Array:  # fmt: skip
    """Exact mean number of complexes after 1, 2 ... ``steps`` times ``step_s`` (s), from ``bound``.

    As `closed_transient_law`, at the price of one matrix exponential for the whole course.
    """
    r, n = whole("sites", sites), whole("ligands", ligands)
    start = whole("bound", bound, most=min(r, n))
    up, down = nonnegative("kon_pair", kon_pair), nonnegative("koff", koff)
    chain = _birth_death(r, n, float(up), float(down), start)
    counts = np.array([float(b) for (b,) in chain.states])
    one_step = transition(chain, step_s)
    row, means = np.eye(len(chain.states))[0], np.empty(whole("steps", steps))
    for at in range(means.size):
        row = row @ one_step
        means[at] = row @ counts
    return means


@broadcasting
def mass_action_transient(
    t: ArrayLike,
    sites: ArrayLike,
    ligands: ArrayLike,
    kon_pair: ArrayLike,
    koff: ArrayLike,
    bound: ArrayLike = 0.0,
) -> Array:
    """Mean-field amount of complex at time ``t``: dm/dt = kon (R - m)(L - m) - koff m, solved.

    The deterministic companion of `closed_transient_law`, ending at `morrison_mean`. Copies with
    rates per pair, or concentrations with k_on; ``kon_pair`` and ``koff`` > 0; arguments broadcast.
    """
    r, n = nonnegative("sites", sites), nonnegative("ligands", ligands)
    kon, k0 = positive("kon_pair", kon_pair), positive("koff", koff)
    b0 = nonnegative("bound", bound)
    low = morrison_mean(r, n, finite("kon_pair / koff", kon / k0))
    high = r + n + k0 / kon - low  # the two roots sum to R + L + 1/K
    # Written with the distance from the stable root: it vanishes at the end without a difference of
    # nearly equal numbers, and the other root is never reached.
    left = (b0 - low) * np.exp(-kon * (high - low) * nonnegative("t", t))
    amount: Array = low + (high - low) * left / (high - b0 + left)
    return amount


def closed_relaxation_rate(sites: int, ligands: int, kon_pair: float, koff: float) -> float:
    """Slowest relaxation rate (1/s) of the closed system: the spectral gap of its generator.

    Raises
    ------
    ValueError
        If there is nothing to relax (no sites or no ligands), or anything is negative or NaN.
    """
    from scipy.linalg import eigvalsh_tridiagonal

    r, n = whole("sites", sites, 1), whole("ligands", ligands, 1)
    kon, k0 = one(positive, "kon_pair", kon_pair), one(positive, "koff", koff)
    most = whole("the smaller of sites and ligands", min(r, n), most=MOST_RELAXING)
    b = np.arange(most + 1, dtype=np.float64)
    up, down = kon * (r - b) * (n - b), k0 * b
    # Detailed balance makes the generator similar to this symmetric matrix.
    finite("kon_pair x sites x ligands + koff", up + down)
    spectrum = eigvalsh_tridiagonal(up + down, -np.sqrt(up[:-1]) * np.sqrt(down[1:]))
    # The smallest is the eigenvalue 0 of the stationary law.
    return float(np.sort(spectrum)[1])
