"""The stochastic neuron's baseline: what contents, drive and syntheses make it the one asked for.

Noise moves averages: with the mean-field values, firing and serotonin drift a little off. Factors
bring them back. They start from what theory says of noise (``lna.moments``); then the neuron runs,
what an excess of spikes explains is taken out (their excess over the integral of the rate is a
martingale of mean zero, so this adds no bias), and Newton's rule with the mean-field derivatives
corrects what is left. The run decides; theory only makes it short.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np

from synapse_abm.core.arithmetic import SOLVED, all_rounded, rounded
from synapse_abm.core.errors import InputError
from synapse_abm.neuron.engine.simulation import COLUMNS, NeuronSimulation
from synapse_abm.neuron.meanfield.lna import Moments, moments
from synapse_abm.neuron.meanfield.ode import (
    Setting,
    derivatives,
    jacobian,
    relaxations_s,
    response_at,
    settled,
)
from synapse_abm.neuron.scenario import (
    FACTORS,
    FAST,
    MEAN_FIELD,
    Baseline,
    NeuronParameters,
)
from synapse_abm.statistics import Estimate, from_replicates
from synapse_abm.synapse.engine.layout import F64

STAGE_S = 8000
FAR = 0.1  # never near, however noisy
BATCHES = 16  # at least
MOST_STAGES = 4
NEAR = 0.02  # what Newton's rule may have to correct: its own error is then some 1e-4
CALIBRATION_PLACE = 15  # of the random address: no course uses it

AVERAGES = ("sensitivity", "hill", "postsynaptic")
#: What their averages are of: columns of a record, and keys of ``Moments.slow_means``.
TARGETS = ("sensitivity_target", "hill", "postsynaptic_target")
_TARGETS = tuple(map(COLUMNS.index, TARGETS))
_SPIKES, _RATE = COLUMNS.index("spikes"), COLUMNS.index("rate_Hz")
_READ = [COLUMNS.index(name.replace("_nM", "_free")) for name in FAST]


@dataclass(frozen=True, slots=True)
class Calibration:
    """A baseline and how well it is known.

    Attributes
    ----------
    neuron
        Whose baseline it is.
    baseline
        The factors, and the averages at rest.
    before
        Rate, serotonin and pools with mean-field values, as shares of those asked for.
    theory
        The same shares to second order in the noise, without a simulation.
    off
        Standard errors of rate, serotonin and pools at the baseline, as shares: common to all that
        starts from it.
    error
        Standard errors of the factors, by name.
    scatter
        How batches of the record depart from the whole, a row each: factors, then averages at rest,
        as shares.
    """

    neuron: NeuronParameters
    baseline: Baseline
    before: tuple[Estimate, ...]
    theory: tuple[float, ...]
    off: tuple[float, ...]
    error: dict[str, float]
    scatter: tuple[tuple[float, ...], ...]

    def baselines(self, n: int) -> list[Baseline]:
        """``n`` estimates of the baseline, each from a part of the record, around the whole's.

        What is uncertain about the baseline is common to all neurons that start from it, and their
        scatter does not show it. Neurons that start from one of these each do scatter by it, and
        the standard error of their mean holds it: n parts vary n times as much as the whole.
        """
        rows = np.array(self.scatter)
        few = min(n, len(rows))
        parts = np.array([part.mean(axis=0) for part in np.array_split(rows, few)])
        # With more neurons than batches, estimates are used more than once; scaled up, the standard
        # error of the neurons' mean still is that of the whole.
        parts = parts[np.arange(n) % few] * math.sqrt(n / few)
        names, own = (*FACTORS, *AVERAGES), self.baseline
        return [
            Baseline(**{
                name: rounded(getattr(own, name) * math.exp(off), SOLVED)
                for name, off in zip(names, row, strict=True)
            })
            # Centred, so that the mean over neurons is the estimate from the whole record.
            for row in (parts - parts.mean(axis=0)).tolist()
        ]  # fmt: skip

    @property
    def fixed(self) -> list[tuple[float, str]]:
        """Value and unit of each free parameter, in the order of ``FACTORS``."""
        free = self.neuron.free
        top = self.neuron.rate_Hz * (1 + self.neuron.feedback_strength)
        values = [
            *((place.quantal_content, "molecules per spike") for place in free),
            (top, "Hz without feedback"),
            *((place.synthesis_per_s, "molecules/s") for place in free),
        ]
        return [
            (value * getattr(self.baseline, name), unit)
            for name, (value, unit) in zip(FACTORS, values, strict=True)
        ]

    def __str__(self) -> str:
        lines = ["baseline: without correction, of what was asked for (and second-order theory):"]
        for name, share, theory in zip(FAST, self.before, self.theory, strict=True):
            lines.append(
                f"  {name:20} {100 * (share.value - 1):+6.2f} +- {196 * share.se:.2f} %"
                f"  ({100 * (theory - 1):+.2f} %)"
            )
        lines.append("free parameters that the baseline fixes, and factors on mean-field values:")
        for (name, se), (value, unit) in zip(self.error.items(), self.fixed, strict=True):
            factor = f"x {getattr(self.baseline, name):.4f} +- {1.96 * se:.4f}"
            lines.append(f"  {name:20} {value:10.5g} {unit:20} {factor}")
        left = ", ".join(
            f"{name} {196 * se:.2f} %" for name, se in zip(FAST[:3], self.off, strict=False)
        )
        return "\n".join([*lines, f"then known to (95 %): {left}"])


def relative(neuron: NeuronParameters, record: F64) -> F64:
    """Rate, serotonin and pools of each record as shares of the baseline, shape (n, 5), with the
    excess of spikes taken out.
    """
    rest, level = Setting(neuron), settled(Setting(neuron))
    scale = np.array([1.0, *(1 / p.molecules_per_nM for p in neuron.places), 1.0, 1.0])
    excess = record[:, _SPIKES] - neuron.spike_trains * record[:, _RATE]
    read: F64 = record[:, _READ] * scale - np.outer(excess, response_at(rest, level))
    shares: F64 = read / np.array(level)
    return shares


def seconds_of_stage(neuron: NeuronParameters, stage_s: int = STAGE_S) -> tuple[int, int]:
    """Seconds to settle and to record: ten relaxation times of the pool, and enough batches."""
    slowest = float(relaxations_s(neuron)[-1])
    return max(200, round(10 * slowest)), max(stage_s, BATCHES * batch_of(neuron))


def batch_of(neuron: NeuronParameters) -> int:
    """Length (s) of a batch of records whose averages count as independent: five relaxation times
    of the pool, which is the slowest.
    """
    return max(100, round(5 * float(relaxations_s(neuron)[-1])))


def averaged(series: F64, batch_s: int = 100) -> Estimate:
    """Mean of records of one second each; its error from batches far longer than the slowest of the
    fast loop's relaxation times, that of the pool (20 s by default; see :func:`batch_of`).
    """
    # A remainder is left out at the beginning, which remembers the start best.
    batches = series[series.size % batch_s :].reshape(-1, batch_s)
    return from_replicates(batches.mean(axis=1))


def gain(neuron: NeuronParameters) -> F64:
    """D log(FAST) / d log(FACTORS) of the mean-field baseline, shape (5, 5)."""
    y = np.array(settled(Setting(neuron)))
    push = np.zeros((5, 5))  # what a relative change of a factor adds to the rates of change
    push[0, 2] = neuron.rate_Hz / neuron.relaxation_s
    for at, (place, free) in enumerate(zip(neuron.places, neuron.free, strict=True)):
        release = free.quantal_content * neuron.rate_Hz + free.leak_per_s
        push[1 + at, at], push[3 + at, at] = release / place.molecules_per_nM, -release
        push[3 + at, 3 + at] = free.synthesis_per_s
    # f(y, p) = 0 on both sides of a change: dy = -J^-1 (df/dp) dp.
    moved: F64 = -np.linalg.solve(jacobian(Setting(neuron), y), push)
    relative_gain: F64 = moved / y[:, None]
    return relative_gain


def factors_of_theory(neuron: NeuronParameters) -> Baseline:
    """Factors that bring the means to second order to those asked for; mean-field ones where the
    noise is beyond that theory.
    """
    solve, asked, factors = (
        np.linalg.inv(gain(neuron)),
        np.array(settled(Setting(neuron))),
        np.ones(5),
    )
    for _ in range(4):  # Newton's rule: the error squares, and starts at some percent
        fast = _theory(neuron, factors).fast
        # A mean below zero: noise is beyond what second order can describe.
        if not (fast > 0).all():
            return MEAN_FIELD
        factors = factors * np.exp(-solve @ np.log(fast / asked))
    # The theory is a correction; one that halves or doubles is no longer small.
    sound = (factors > 0.5).all() and (factors < 2.0).all()
    return Baseline(*all_rounded(factors, SOLVED)) if sound else MEAN_FIELD


def _theory(neuron: NeuronParameters, factors: F64) -> Moments:
    """Means and noise at rest with these factors, to second order."""
    return moments(Setting(neuron, baseline=Baseline(*factors.tolist())))


@functools.lru_cache(maxsize=64)
def calibrate(neuron: NeuronParameters, seed: int = 1, stage_s: int = STAGE_S) -> Calibration:
    """The baseline of the stochastic neuron.

    Parameters
    ----------
    neuron
        The neuron, with the rate and serotonin that are wanted at rest.
    seed
        Of its random numbers; the same seed gives the same factors.
    stage_s
        Least length of a run, s, which decides how exact the factors are. There is one run, and a
        further one for as long as the last was not near the baseline.

    Raises
    ------
    InputError
        If no factors bring the averages to those that are asked for.
    """
    slopes, batch = gain(neuron), batch_of(neuron)
    solve, factors = np.linalg.inv(slopes), factors_of_theory(neuron).factors
    for number in range(MOST_STAGES):
        # Another replicate each time: its noise did not choose the factors that it judges.
        record = _at_rest(neuron, seed, number, factors, stage_s)
        shares = [averaged(column, batch) for column in relative(neuron, record).T]
        # The factors act on logarithms nearly linearly; a share below 1e-3 is hopeless anyway.
        off = np.log(np.maximum([share.value for share in shares], 1e-3))
        # Rounded, as they act on a simulation: solvers differ in the last digits between
        # processors.
        used, factors = factors, np.array(all_rounded(factors * np.exp(-solve @ off), SOLVED))
        noise = np.array([share.se for share in shares])
        # 4 standard errors: near by all that this run can tell, were it not for noise.
        if (np.abs(off) < np.minimum(NEAR + 4 * noise, FAR)).all():
            break
    else:
        _give_up(neuron, shares)
    moved = np.exp(-slopes @ np.log(used))  # to where mean-field values would have led
    before = tuple(
        Estimate(share.value * by, share.se * by, share.dof)
        for share, by in zip(shares, moved.tolist(), strict=True)
    )
    theory = moments(Setting(neuron)).fast / np.array(settled(Setting(neuron)))
    # Errors of factors from the series of their own combination: errors of rate and serotonin of
    # the same seconds are correlated, and would not add up in squares.
    errors = [averaged(column, batch).se for column in (relative(neuron, record) @ solve.T).T]
    baseline = Baseline(*factors.tolist(), **_averages(neuron, record, used, factors))
    return Calibration(
        neuron, baseline, before, tuple(theory.tolist()), tuple(noise.tolist()),
        dict(zip(FACTORS, (np.array(errors) * factors).tolist(), strict=True)),
        _scatter(neuron, record, batch, solve, factors),
    )  # fmt: skip


def _at_rest(neuron: NeuronParameters, seed: int, number: int, factors: F64, seconds: int) -> F64:
    """A record of the neuron without a drug, once it has settled."""
    baseline = Baseline(*factors.tolist())
    simulation = NeuronSimulation(neuron, seed, number, CALIBRATION_PLACE, baseline=baseline)
    settle, recorded = seconds_of_stage(neuron, seconds)
    simulation.run(settle)
    return simulation.run(recorded)


def _averages(neuron: NeuronParameters, record: F64, used: F64, factors: F64) -> dict[str, float]:
    """Averages at rest of the slow right-hand sides: measured with the factors ``used``, and moved
    to the last ones as theory says.
    """
    before, after = (_theory(neuron, f).slow_means() for f in (used, factors))
    measured = record[:, _TARGETS].mean(axis=0)
    return {
        name: rounded(mean * after[target] / before[target], SOLVED)
        for name, target, mean in zip(AVERAGES, TARGETS, measured.tolist(), strict=True)
    }


def _scatter(
    neuron: NeuronParameters, record: F64, batch: int, solve: F64, factors: F64
) -> tuple[tuple[float, ...], ...]:
    """What each batch alone would say of factors and averages, to first order, less the whole."""

    def resting(push: F64) -> F64:
        means = _theory(neuron, factors * np.exp(push)).slow_means()
        return np.log([means[name] for name in TARGETS])

    read = np.column_stack([relative(neuron, record), record[:, _TARGETS]])
    means = read[len(read) % batch :].reshape(-1, batch, read.shape[1]).mean(axis=1)
    off = means / means.mean(axis=0) - 1
    own = -off[:, :5] @ solve.T
    # An average moves with what a batch itself measured, and with the factors it would have chosen.
    slopes = derivatives(resting, np.zeros(5), np.full(5, 1e-3))
    rows = np.column_stack([own, off[:, 5:] + own @ slopes.T])
    return tuple(map(tuple, rows.tolist()))


def _give_up(neuron: NeuronParameters, shares: list[Estimate]) -> None:
    """Say which baseline was missed."""
    worst = max(range(len(FAST)), key=lambda k: abs(shares[k].value - 1))
    raise InputError(
        f"baseline {FAST[worst]}", float(settled(Setting(neuron))[worst]),
        f"a value that noise leaves within reach; {MOST_STAGES} corrections led to"
        f" {shares[worst].value:.3g} of it",
        "use more spike trains or receptors",
    )  # fmt: skip
