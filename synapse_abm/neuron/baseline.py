"""The stochastic neuron's baseline: what contents, drive and syntheses make it the one asked for.

Noise moves averages: with the mean-field values, firing and serotonin drift a little off. A short
iteration on stochastic runs finds the factors that bring them back. Each stage runs the neuron,
takes out what an excess of spikes explains (their excess over the integral of the rate is a
martingale of mean zero, so this adds no bias), and corrects by Newton's rule with the mean-field
derivatives.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import numpy as np

from synapse_abm.engine.layout import F64
from synapse_abm.neuron.meanfield import FAST, NO_DRUG, jacobian, settled, spike_response
from synapse_abm.neuron.parameters import Neuron, free_parameters
from synapse_abm.neuron.simulation import COLUMNS, Baseline, NeuronSimulation
from synapse_abm.statistics import Estimate, from_replicates

SETTLE_S = 200  # ten turnovers of the stock
STAGES_S = (2000, 4000, 8000)
CALIBRATION_PLACE = 15  # of the random address: no course uses it

FACTORS = ("terminal_content", "soma_content", "drive", "terminal_synthesis", "soma_synthesis")
_SPIKES, _RATE = COLUMNS.index("spikes"), COLUMNS.index("rate_Hz")
_READ = tuple(
    map(COLUMNS.index, ("rate_Hz", "terminal_free", "soma_free", "terminal_stock", "soma_stock"))
)


@dataclass(frozen=True, slots=True)
class Calibration:
    """A baseline and how well it is known.

    Attributes
    ----------
    baseline
        The factors, and the averages at rest.
    before
        Rate, serotonin and stocks with mean-field values, as shares of those asked for.
    error
        Standard errors of the factors, by name.
    """

    baseline: Baseline
    before: tuple[Estimate, ...]
    error: dict[str, float]

    def __str__(self) -> str:
        lines = ["baseline: without correction, of what was asked for:"]
        for name, it in zip(FAST, self.before, strict=True):
            lines.append(f"  {name:20} {100 * (it.value - 1):+6.2f} +- {196 * it.se:.2f} %")
        lines.append("corrected by factors:")
        for name, se in self.error.items():
            lines.append(f"  {name:20} {getattr(self.baseline, name):.4f} +- {1.96 * se:.4f}")
        return "\n".join(lines)


def relative(it: Neuron, record: F64) -> F64:
    """Rate, serotonin and stocks of each record as shares of the baseline, shape (n, 5), with the
    excess of spikes taken out.
    """
    asked = asked_for(it)
    scale = np.array([1.0, *(1 / p.molecules_per_nM for p in it.places), 1.0, 1.0])
    excess = record[:, _SPIKES] - it.trains * record[:, _RATE]
    read: F64 = record[:, _READ] * scale - np.outer(excess, spike_response(it))
    return read / asked


def averaged(series: F64, batch_s: int = 100) -> Estimate:
    """Mean of records of one second each; its error from batches far longer than the slowest of the
    fast loop's relaxation times, that of the stock (about 17 s by default).
    """
    batches = series[series.size % batch_s :].reshape(-1, batch_s)
    return from_replicates(batches.mean(axis=1))


def asked_for(it: Neuron) -> F64:
    """The user's rate and serotonin, and the stocks that go with them, in the order of FAST."""
    level = settled(it)
    return np.array([getattr(level, name) for name in FAST])


def gain(it: Neuron) -> F64:
    """D log(FAST) / d log(factors) of the mean-field baseline, shape (5, 5)."""
    y = asked_for(it)
    push = np.zeros((5, 5))
    push[0, 2] = it.rate_Hz / it.relaxation_s
    for at, place in enumerate(it.places):
        free = free_parameters(place, it.sert, it.rate_Hz)
        release = free.content * it.rate_Hz + free.leak_per_s
        push[1 + at, at], push[3 + at, at] = release / place.molecules_per_nM, -release
        push[3 + at, 3 + at] = free.synthesis_per_s
    moved: F64 = -np.linalg.solve(jacobian(it, NO_DRUG, 1.0, 1.0, y), push)
    return moved / y[:, None]


@functools.lru_cache(maxsize=64)
def calibrate(it: Neuron, seed: int = 1, stages_s: tuple[int, ...] = STAGES_S) -> Calibration:
    """The baseline of the stochastic neuron.

    Parameters
    ----------
    it
        The neuron, with the rate and serotonin that are wanted at rest.
    seed
        Of its random numbers; the same seed gives the same factors.
    stages_s
        Lengths of the stages, s; the last decides how exact the factors are.
    """
    solve = np.linalg.inv(gain(it))
    baseline, found = Baseline(), list[tuple[Estimate, ...]]()
    for number, seconds in enumerate(stages_s):
        simulation = NeuronSimulation(it, seed, number, CALIBRATION_PLACE, baseline=baseline)
        simulation.run(SETTLE_S)
        record = simulation.run(seconds)
        shares = relative(it, record)
        found.append(tuple(map(averaged, shares.T)))
        off = np.log([each.value for each in found[-1]])
        step = np.exp(-solve @ off)
        changed = {n: getattr(baseline, n) * f for n, f in zip(FACTORS, step, strict=True)}
        baseline = replace(baseline, **{name: float(value) for name, value in changed.items()})
    errors = np.abs(solve) @ np.array([each.se for each in found[-1]])
    rest = {
        "coupling": float(record[:, COLUMNS.index("coupling_target")].mean()),
        "hill": float(record[:, COLUMNS.index("hill")].mean()),
        "sensitivity": float(record[:, COLUMNS.index("sensitivity_target")].mean()),
    }
    error = {n: float(e * getattr(baseline, n)) for n, e in zip(FACTORS, errors, strict=True)}
    return Calibration(replace(baseline, **rest), found[0], error)
