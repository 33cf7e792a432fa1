"""The mean-field solution of the neuron: its equations for means, solved with SciPy.

Binding is taken as settled and noise as absent, so that a curve of the stochastic neuron departs
from its mean field by what noise and copy numbers do; by how much is printed beside it.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from synapse_abm.core.arithmetic import SOLVED, all_rounded
from synapse_abm.core.errors import InputError
from synapse_abm.neuron.meanfield.equations import (
    filling,
    hill,
    postsynaptic_target,
    sensitivity_target,
    target_rate,
)
from synapse_abm.neuron.scenario import (
    AT_REST,
    FAST,
    MEAN_FIELD,
    NO_DRUG,
    SLOW,
    Baseline,
    Exposure,
    NeuronParameters,
    free_parameters,
    receptor_kd_nM,
    receptor_occupancy,
    uptake_nM_per_s,
)
from synapse_abm.neuron.slow import slow_inputs, slow_slope

F64 = npt.NDArray[np.float64]


class Level(NamedTuple):
    """A state of the fast loop, in the order of :data:`FAST`: rate (Hz), serotonin (nM) and pool
    (molecules) at both places.
    """

    rate_Hz: float
    terminal_nM: float
    soma_nM: float
    terminal_pool: float
    soma_pool: float


class Piece(NamedTuple):
    """What acts from a time on, until the next piece; slow variables that are set then."""

    begin_s: float
    exposure: Exposure
    feedback: bool = True
    slow: Mapping[str, float] = MappingProxyType({})


class Unbinding(NamedTuple):
    """1/s, of the drug at SERT and of the antagonist at 5-HT1A: how long noise remembers."""

    drug_per_s: float = 1.0
    antagonist_per_s: float = 1.0


SLOW_UNBINDING = Unbinding()


@dataclass(frozen=True, slots=True)
class Setting:
    """A neuron with what acts on it for a while, its slow variables held.

    Attributes
    ----------
    neuron, exposure
        The neuron, and drugs beside it.
    sensitivity, drive
        Slow variables.
    baseline
        Factors on contents, drive and syntheses.
    unbinding
        Rate constants of the drugs.
    """

    neuron: NeuronParameters
    exposure: Exposure = NO_DRUG
    sensitivity: float = 1.0
    drive: float = 1.0
    baseline: Baseline = MEAN_FIELD
    unbinding: Unbinding = SLOW_UNBINDING


def activation(setting: Setting, soma_nM: float) -> float:
    """theta: receptors with serotonin, plus those with the antagonist times its efficacy."""
    exposure, kd = setting.exposure, receptor_kd_nM(setting.neuron)
    own = receptor_occupancy(soma_nM, kd, exposure.antagonist)
    other = exposure.antagonist / (1 + exposure.antagonist + soma_nM / kd)
    return own + exposure.efficacy * other


def flows(setting: Setting, at: int, rate: float, s: float, n: float) -> tuple[float, float]:
    """dS/dt (nM/s) and dN/dt (molecules/s) of the terminal (``at`` 0) or the soma (1).

    dS/dt = q F Q(n) + leak - uptake - k_loss S;
    dN/dt = synthesis + uptake - release - k_MAO N.
    """
    neuron, exposure, place = setting.neuron, setting.exposure, setting.neuron.places[at]
    free, v = free_parameters(place, neuron.sert, neuron.rate_Hz), place.molecules_per_nM
    here = place
    if exposure.transporters != 1.0:
        # Only uptake has the genotype's number: what the baseline fixes is the wild type's.
        number = round(place.transporters * exposure.transporters)
        here = place.model_copy(update={"transporters": number})
    uptake = uptake_nM_per_s(s, exposure.inhibitions[at], here, neuron.sert)
    release = (free.quantal_content * rate * filling(n, free.pool) + free.leak_per_s) / v
    mao = exposure.mao * place.mao_per_s * n
    ds = release - uptake - free.loss_per_s * s
    return ds, free.synthesis_per_s + v * (uptake - release) - mao


def _settled_place(setting: Setting, at: int, rate: float) -> tuple[float, float]:
    """Serotonin and pool at which both flows vanish; their sum leaves one unknown, S."""
    from scipy.optimize import brentq

    neuron, place = setting.neuron, setting.neuron.places[at]
    free, v = free_parameters(place, neuron.sert, neuron.rate_Hz), place.molecules_per_nM

    def pool(s: float) -> float:
        made = free.synthesis_per_s - v * free.loss_per_s * s
        return max(made, 0.0) / (setting.exposure.mao * place.mao_per_s)

    def excess(s: float) -> float:
        return flows(setting, at, rate, s, pool(s))[0]

    # At this level loss takes all that is made and nothing is left inside: the root lies below.
    most = free.synthesis_per_s / (v * free.loss_per_s) if free.loss_per_s > 0 else 1e9
    s = float(brentq(excess, 0.0, most, xtol=1e-12, rtol=1e-13))
    return s, pool(s)


def settled(setting: Setting) -> Level:
    """The stationary state of the fast loop in a setting; its ``baseline`` and ``unbinding``, which
    matter to noise, are not looked at.

    Raises
    ------
    InputError
        If monoamine oxidase is blocked altogether: the pool would grow for ever.
    """
    from scipy.optimize import brentq

    neuron, mao = setting.neuron, setting.exposure.mao
    if not mao > 0:
        raise InputError("mao", mao, "a share > 0", "use 0.1 for 90 % inhibition")

    def excess(rate: float) -> float:
        return rate - _aim(setting, _settled_place(setting, 1, rate)[0])

    # Without any feedback the root is that rate itself; 1 % more keeps it inside the bracket.
    most = 1.01 * setting.drive * neuron.rate_Hz * (1 + neuron.feedback_strength)
    rate = float(brentq(excess, 0.0, most, xtol=1e-13, rtol=1e-13))
    (st, nt), (ss, ns) = (_settled_place(setting, at, rate) for at in range(2))
    return Level(rate, st, ss, nt, ns)


def _aim(setting: Setting, soma_nM: float) -> float:
    """The rate (Hz) that firing relaxes to with so much serotonin at the soma."""
    theta = activation(setting, soma_nM)
    return target_rate(setting.neuron, theta, setting.sensitivity, setting.drive)


def fast_rates(setting: Setting, y: F64) -> F64:
    """d/dt (1/s) of :data:`FAST`: rate, serotonin at both places, pool at both places."""
    (st, nt), (ss, ns) = (flows(setting, at, y[0], y[1 + at], y[3 + at]) for at in range(2))
    return np.array([(_aim(setting, y[2]) - y[0]) / setting.neuron.relaxation_s, st, ss, nt, ns])


def jacobian(setting: Setting, y: F64) -> F64:
    """D fast_rates / d y, shape (5, 5), by central differences."""
    # A relative step of 1e-5 keeps both errors, h**2 and rounding over h, below 1e-9.
    return derivatives(functools.partial(fast_rates, setting), y, 1e-5 * np.abs(y))


def derivatives(function: Callable[[F64], F64], at: F64, sizes: F64) -> F64:
    """D function / d ``at``, shape (n, n), by central differences over steps of ``sizes``."""
    return np.column_stack([
        (function(at + step) - function(at - step)) / (2 * step.sum()) for step in np.diag(sizes)
    ])  # fmt: skip


def relaxations_s(neuron: NeuronParameters) -> F64:
    """Relaxation times of the fast loop at the baseline, ascending, s; the last ones are those of
    the pools, about 1 / k_MAO.
    """
    rest = Setting(neuron)
    times = np.sort(-1 / np.linalg.eigvals(jacobian(rest, np.array(settled(rest)))).real)
    return np.array(all_rounded(times, SOLVED))


class Modes:
    """How small deviations from a settled state relax.

    Parameters
    ----------
    jacobian : ndarray, shape (n, n)
        Of the equations at that state.
    """

    def __init__(self, jacobian: F64) -> None:
        self.rates, self.shapes = np.linalg.eig(jacobian)

    def after(self, away: F64, seconds: F64) -> F64:
        """Deviations ``away``, shape (k, n), once ``seconds``, shape (k,), have gone."""
        # In coordinates of the modes every deviation is a sum of exponentials, each with its own
        # rate.
        parts = np.linalg.solve(self.shapes, away.T) * np.exp(np.outer(self.rates, seconds))
        left: F64 = (self.shapes @ parts).real.T
        return left

    def settling_s(self, away: F64, least: F64, longest: float) -> F64:
        """Time (s) until deviations ``away``, shape (k, n), are below ``least``, shape (n,), for
        good; ``longest`` at most.
        """
        # Waits need no more than 10 %, and times on a rounded grid are the same on every processor.
        times = np.array([0.0, *all_rounded(np.geomspace(1.0, longest, 80), SOLVED)])
        parts, fading = np.linalg.solve(self.shapes, away.T), np.exp(np.outer(times, self.rates))
        left = np.abs(np.einsum("nm,tm,mk->tkn", self.shapes, fading, parts).real)
        open_ = (left > least).any(axis=2)
        # The last time at which it is still off: modes of opposite sign may cancel for a moment
        # before.
        last = np.where(open_.any(axis=0), times.size - 1 - np.argmax(open_[::-1], axis=0), -1)
        values: F64 = times[np.minimum(last + 1, times.size - 1)]
        return values


def response_at(setting: Setting, level: Level) -> F64:
    """What one more spike of one train adds to the time integral of each of :data:`FAST`.

    To first order: - J^-1 b, with J the Jacobian at ``level`` and b the jump. It is the coefficient
    with which spikes in excess of their expectation explain an average.
    """
    neuron, y, jump = setting.neuron, np.array(level), np.zeros(5)
    for at, (place, free, pool) in enumerate(zip(neuron.places, neuron.free, y[3:], strict=True)):
        size = free.quantal_content * filling(pool, free.pool) / neuron.spike_trains
        # What a place gains outside, its pool loses.
        jump[1 + at], jump[3 + at] = size / place.molecules_per_nM, -size
    response = -np.linalg.solve(jacobian(setting, y), jump)
    return np.array(all_rounded(response, SOLVED))


def slow_rates(neuron: NeuronParameters, level: Level, theta: float, slow: F64) -> F64:
    """d/dt (1/s) of :data:`SLOW` in mean field."""
    fold = level.terminal_nM / neuron.terminal.serotonin_nM
    # Without noise the average of a function is the function of the average.
    means = {
        "sensitivity_target": sensitivity_target(neuron, theta),
        "hill": hill(neuron, float(slow[2]) * fold),
        "postsynaptic_target": postsynaptic_target(neuron, fold),
        "rate_Hz": level.rate_Hz,
    }
    rest = Baseline(hill=hill(neuron, 1.0))  # without noise, the other averages at rest are 1
    return slow_slope(neuron, slow, slow_inputs(neuron, rest, means))


def course(
    neuron: NeuronParameters,
    exposure: Callable[[float], Exposure],
    times_s: npt.ArrayLike,
    breaks_s: tuple[float, ...] = (),
    feedback: bool = True,
    rtol: float = 1e-8,
) -> dict[str, F64]:
    """The neuron's course from its baseline at time 0 under an exposure that may change in time.

    Parameters
    ----------
    neuron
        The neuron.
    exposure
        What acts on it, as a function of time in s.
    times_s : array_like, shape (n,)
        Times at which to report, ascending, >= 0.
    breaks_s
        Times at which the exposure jumps; the solver starts anew there.
    feedback
        Whether receptors slow the spikes at all (False: none do).
    rtol
        Relative tolerance of the solver; the absolute one is a tenth of it.

    Returns
    -------
    dict
        For every name in :data:`FAST` and :data:`SLOW` the values at ``times_s``, shape (n,).
    """
    times = np.asarray(times_s, dtype=np.float64)
    values = integrated(
        functools.partial(_slope, neuron, feedback, 1.0), _rest(neuron), exposure, times, breaks_s,
        lambda begin, end: _longest_step(exposure, begin, end, times[-1] / 100),
        method=_STIFF, rtol=rtol, atol=rtol / 10,
    )  # fmt: skip
    return dict(zip((*FAST, *SLOW), values, strict=True))


#: The fast loop is a million times faster than plasticity.
_STIFF = "LSODA"


def _rest(neuron: NeuronParameters) -> F64:
    """Fast and slow variables at the baseline."""
    return np.concatenate([settled(Setting(neuron)), AT_REST])


def _slope(neuron: NeuronParameters, feedback: bool, speed: float, y: F64, acts: Exposure) -> F64:
    """d/dt (1/s) of fast and slow variables."""
    level, slow = Level(*y[:5]), y[5:]
    setting = Setting(neuron, acts, slow[0] if feedback else 0.0, slow[1])
    theta = activation(setting, level.soma_nM)
    weeks = speed * slow_rates(neuron, level, theta, slow)
    return np.concatenate([fast_rates(setting, y[:5]), weeks])


def changed_course(
    neuron: NeuronParameters,
    pieces: Sequence[Piece],
    times_s: npt.ArrayLike,
    speed: float = 1.0,
    rtol: float = 1e-8,
) -> dict[str, F64]:
    """The neuron's course from its baseline at time 0, by pieces in which nothing changes.

    Parameters
    ----------
    neuron
        The neuron.
    pieces
        What acts, ascending in time, the first from time 0 on. Slow variables that a piece sets
        jump at its begin; all others go on.
    times_s : array_like, shape (n,)
        Times at which to report, ascending, >= 0. One at which a piece begins comes after it.
    speed
        How many times faster days pass than seconds.
    rtol
        Relative tolerance of the solver; the absolute one is a tenth of it.

    Returns
    -------
    dict
        For every name in :data:`FAST` and :data:`SLOW` the values at ``times_s``, shape (n,).
    """
    times = np.asarray(times_s, dtype=np.float64)
    y, values = _rest(neuron), np.empty((len(FAST) + len(SLOW), times.size))
    ends = [*(piece.begin_s for piece in pieces[1:]), math.inf]
    for piece, next_s in zip(pieces, ends, strict=True):
        for name, value in piece.slow.items():
            y[len(FAST) + SLOW.index(name)] = value
        begin, end = piece.begin_s, min(next_s, float(times[-1]))
        here = (times >= begin) & (times < next_s)
        if end > begin:
            inside = here & (times < end)
            # Its end is asked for too: there the next one begins.
            at = np.append(times[inside], end) - begin
            own = functools.partial(_slope, neuron, piece.feedback, speed)
            solved = integrated(
                own, y, functools.partial(lambda acts, _: acts, piece.exposure), at, (),
                lambda begin, end: math.inf,
                method=_STIFF, rtol=rtol, atol=rtol / 10,
            )  # fmt: skip
            y, values[:, inside], here = solved[:, -1].copy(), solved[:, :-1], here & ~inside
        values[:, here] = y[:, None]
    return dict(zip((*FAST, *SLOW), values, strict=True))


def integrated(
    slope: Callable[[F64, Exposure], F64],
    y: F64,
    exposure: Callable[[float], Exposure],
    times: F64,
    breaks_s: tuple[float, ...],
    longest_step: Callable[[float, float], float],
    **options: Any,
) -> F64:
    """Solution of y' = slope(y, exposure(t)) from ``y`` at time 0, at ``times``; shape (y.size, n).

    The solver starts anew at each of ``breaks_s``: it has no way to see a jump coming, and would
    shrink its step to nothing, or pass over it.
    """
    from scipy.integrate import solve_ivp

    values, at = np.empty((y.size, times.size)), 0
    edges = [0.0, *(b for b in sorted({*breaks_s}) if 0 < b < times[-1]), float(times[-1])]
    for begin, end in itertools.pairwise(edges):
        last = float(np.nextafter(end, 0.0))  # the exposure before the jump holds up to it
        upto = int(np.searchsorted(times, end))  # what lies at a jump comes after it
        solution = solve_ivp(
            lambda t, y, last=last: slope(y, exposure(min(t, last))), (begin, end), y,
            t_eval=np.append(times[at:upto], end), max_step=longest_step(begin, end), **options,
        )  # fmt: skip
        assert solution.success, solution.message
        values[:, at:upto] = solution.y[:, : upto - at]
        at, y = upto, solution.y[:, -1]
    # The last time asked for is the last edge; its values are those at the end.
    values[:, at:] = y[:, None]
    return values


def _longest_step(
    exposure: Callable[[float], Exposure], begin: float, end: float, usual: float
) -> float:
    """An hour at most where the exposure changes, lest the solver steps over a short dose."""
    # 1009 is a prime: no schedule by the hour or the day is always met at the same phase.
    tried = np.linspace(begin, end, 1009, endpoint=False).tolist()
    first = exposure(tried[0])
    return usual if all(exposure(t) == first for t in tried) else min(usual, 3600.0)
