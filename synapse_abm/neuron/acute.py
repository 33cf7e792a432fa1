"""What acts within hours: the fast loop settled under an exposure, before anything slow has moved.

One piece is one independent neuron: settled at the exposure, then read over a window, with what an
excess of spikes over their expectation explains taken out (a martingale, so this adds no bias).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from synapse_abm import sweep
from synapse_abm.neuron.meanfield import Exposure, response_at, settled
from synapse_abm.neuron.parameters import Neuron
from synapse_abm.neuron.simulation import COLUMNS, Baseline, Drug, NeuronSimulation, in_units
from synapse_abm.statistics import Estimate, from_replicates

if TYPE_CHECKING:
    from synapse_abm.runs.experiment import Progress

type Case = tuple[str, float]  # an arm or a time, and a dose or a share

ACUTE_PLACE = 14  # of the random address: no course and no calibration uses it
SETTLE_S = 120  # seven relaxation times of the stock, the slowest of the fast loop
QUANTITIES = (
    "rate_Hz", "terminal_nM", "soma_nM", "terminal_occupancy", "soma_occupancy",
    "receptor_occupancy", "terminal_stock", "soma_stock",
)  # fmt: skip


@dataclass(frozen=True)
class Condition:
    """What acts on a neuron, and how far the slow variables are.

    Attributes
    ----------
    exposure
        Concentrations over affinities, and SERT number.
    coupling, drive
        Slow variables, held: 1 and 1 in the first hours; coupling 0 removes the brake.
    """

    exposure: Exposure
    coupling: float = 1.0
    drive: float = 1.0

    def twin(self, it: Neuron) -> dict[str, float]:
        """The mean-field values of rate, serotonin and stocks."""
        level = settled(it, self.exposure, self.coupling, self.drive)
        return {
            "rate_Hz": level.rate_Hz, "terminal_nM": level.terminal_nM, "soma_nM": level.soma_nM,
            "terminal_stock": level.terminal_stock, "soma_stock": level.soma_stock,
        }  # fmt: skip


@dataclass(frozen=True)
class Subject:
    """The neuron that is measured: parameters, baseline, and the ligands that an exposure sets."""

    it: Neuron
    baseline: Baseline
    inhibitor: Drug
    rival: Drug | None = None


def averages(
    subject: Subject, condition: Condition, window_s: int, seed: int, replicate: int
) -> list[float]:
    """Averages of one new neuron over a window, in the order of :data:`QUANTITIES`."""
    it, exposure = subject.it, condition.exposure
    neuron = NeuronSimulation(
        it, seed, replicate, ACUTE_PLACE, baseline=subject.baseline, inhibitor=subject.inhibitor,
        rival=subject.rival, transporters=exposure.transporters,
    )  # fmt: skip
    neuron.set(exposure, condition.coupling, condition.drive)
    neuron.block(exposure)
    neuron.run(SETTLE_S)
    return read(neuron, condition, window_s)


def read(neuron: NeuronSimulation, condition: Condition, window_s: int) -> list[float]:
    """Averages over the next ``window_s`` seconds of a neuron that has settled in a condition."""
    it, exposure = neuron.it, condition.exposure
    own = dict(zip(COLUMNS, neuron.run(window_s).mean(axis=0).tolist(), strict=True))
    level = settled(it, exposure, condition.coupling, condition.drive)
    response = response_at(it, exposure, condition.coupling, condition.drive, level)
    excess = own["spikes"] - it.trains * own["rate_Hz"]
    found = in_units(it, own, excess, response, exposure.transporters)
    return [found[name] for name in QUANTITIES]


def measured(
    subject: Subject, conditions: list[Condition], *, seed: int, replicates: int, window_s: int,
    progress: Progress,
) -> list[dict[str, Estimate]]:  # fmt: skip
    """Every condition on independent neurons: estimates by name, one dictionary per condition."""
    pieces = [
        (subject, condition, window_s, seed, number * replicates + r)
        for number, condition in enumerate(conditions)
        for r in range(replicates)
    ]
    names = [f"neuron {piece[-1]}, seed {seed}" for piece in pieces]
    found = sweep.map_pieces(averages, pieces, names=names, progress=progress, label="neurons")
    values = np.array(found).reshape(len(conditions), replicates, len(QUANTITIES))
    return [
        {name: from_replicates(each[:, at]) for at, name in enumerate(QUANTITIES)}
        for each in values
    ]


def beside_twins(
    names: Sequence[str],
    found: Mapping[Case, Mapping[str, Estimate]],
    twins: Mapping[Case, Mapping[str, float]],
) -> dict[str, list[float]]:
    """Columns of a table with a row for every case: value, standard error, 95 % interval, twin."""
    columns = dict[str, list[float]]()
    for name in names:
        estimates = [each[name] for each in found.values()]
        low, high = zip(*(each.interval() for each in estimates), strict=True)
        columns[name] = [each.value for each in estimates]
        columns[f"{name}_se"] = [each.se for each in estimates]
        columns[f"{name}_low_95"], columns[f"{name}_high_95"] = list(low), list(high)
        columns[f"{name}_mean_field"] = [twins[case][name] for case in found]
    return columns
