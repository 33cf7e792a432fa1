"""What acts within hours: the fast loop settled under an exposure, before anything slow has moved.

One task is one independent neuron: settled at the exposure for as long as theory says that this
takes (:func:`settling_s`), then read over a window, with what an excess of spikes over their
expectation explains taken out (a martingale, so this adds no bias).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from synapse_abm.neuron.calibration import Calibration
from synapse_abm.neuron.engine.simulation import COLUMNS, NeuronEngine, in_units
from synapse_abm.neuron.engine.simulation_grid import neuron_simulation
from synapse_abm.neuron.ligands import unbinding
from synapse_abm.neuron.meanfield import lna
from synapse_abm.neuron.meanfield.ode import (
    SLOW_UNBINDING,
    Setting,
    Unbinding,
    response_at,
    settled,
)
from synapse_abm.neuron.scenario import Baseline, Drug, Exposure, NeuronParameters, PlaceGrid
from synapse_abm.runs import sweep
from synapse_abm.statistics import Estimate, from_replicates

if TYPE_CHECKING:
    from synapse_abm.core.progress import Progress

type Case = tuple[str, float]  # an arm or a time, and a dose or a share

ACUTE_PLACE = 14  # of the random address: no course and no calibration uses it
ACUTE_REPLICATES = 2**17  # from here on, on a grid, which has places of its own
LEAST_SETTLE_S = 120  # noise builds up from a state of means: six relaxation times of the pool
LONGEST_SETTLE_S = 6 * 3600.0  # with 99 % of monoamine oxidase inhibited it takes three hours
RESIDUAL_TRANSIENT = 0.005  # share by which averages may still be off when a window is read
QUANTITIES = (
    "rate_Hz", "terminal_nM", "soma_nM", "terminal_occupancy", "soma_occupancy",
    "receptor_occupancy", "terminal_pool", "soma_pool",
)  # fmt: skip


@dataclass(frozen=True)
class Condition:
    """What acts on a neuron, and how far the slow variables are.

    Attributes
    ----------
    exposure
        Concentrations over affinities, and SERT number.
    sensitivity, drive
        Slow variables, held: 1 and 1 in the first hours; sensitivity 0 removes the feedback.
    """

    exposure: Exposure
    sensitivity: float = 1.0
    drive: float = 1.0

    def mean_field(self, neuron: NeuronParameters) -> dict[str, float]:
        """The mean-field values of rate, serotonin and pools."""
        return settled(self.setting(neuron))._asdict()

    def setting(self, neuron: NeuronParameters, unbinding: Unbinding = SLOW_UNBINDING) -> Setting:
        """The same of a neuron, for theory."""
        return Setting(neuron, self.exposure, self.sensitivity, self.drive, unbinding=unbinding)


@dataclass(frozen=True)
class Subject:
    """The neuron that is measured: parameters, baseline, and the ligands that an exposure sets.

    With a ``grid`` its molecules walk.
    """

    neuron: NeuronParameters
    baseline: Baseline
    inhibitor: Drug
    antagonist: Drug | None = None
    grid: PlaceGrid | None = None

    def simulation(self, seed: int, replicate: int, transporters: float) -> NeuronEngine:
        """An independent one, at rest; none of a course has its random numbers."""
        # Places of a grid have fixed addresses of their own, so replicates beyond any course's are
        # taken.
        number = replicate if self.grid is None else ACUTE_REPLICATES + replicate
        return neuron_simulation(
            self.neuron, seed, number, ACUTE_PLACE, grid=self.grid, baseline=self.baseline,
            inhibitor=self.inhibitor, antagonist=self.antagonist, transporters=transporters,
        )  # fmt: skip


@functools.lru_cache(maxsize=256)
def settling_s(subject: Subject, condition: Condition) -> int:
    """Time (s) for which a neuron at rest is let settle in a condition before it is read.

    Until rate, serotonin and pools are within :data:`RESIDUAL_TRANSIENT` of their averages there,
    by the relaxations of the whole system in that condition (``lna.settling_s``):
    :data:`LEAST_SETTLE_S` at least, which nearly always suffices; minutes to hours where monoamine
    oxidase is inhibited or the drug's exchange is slow, :data:`LONGEST_SETTLE_S` at most.
    """
    neuron, off = subject.neuron, unbinding(subject.inhibitor, subject.antagonist)
    after = condition.setting(neuron, off)
    wait = lna.settling_s(Setting(neuron), after, RESIDUAL_TRANSIENT, LONGEST_SETTLE_S)
    return max(LEAST_SETTLE_S, math.ceil(wait))


def averages(
    subject: Subject, condition: Condition, settle_s: int, window_s: int, seed: int, replicate: int
) -> list[float]:
    """Averages of one new neuron over a window, in the order of :data:`QUANTITIES`."""
    exposure = condition.exposure
    simulation = subject.simulation(seed, replicate, exposure.transporters)
    simulation.set(exposure, condition.sensitivity, condition.drive)
    # Drugs are put into sites at once, as a slow ligand would take hours to fill them.
    simulation.block(exposure)
    simulation.run(settle_s)
    return read(simulation, condition, window_s)


def read(simulation: NeuronEngine, condition: Condition, window_s: int) -> list[float]:
    """Averages over the next ``window_s`` seconds of a neuron that has settled in a condition."""
    neuron, setting = simulation.neuron, condition.setting(simulation.neuron)
    own = dict(zip(COLUMNS, simulation.run(window_s).mean(axis=0).tolist(), strict=True))
    response = response_at(setting, settled(setting))
    excess = own["spikes"] - neuron.spike_trains * own["rate_Hz"]
    values = in_units(neuron, own, excess, response, condition.exposure.transporters)
    return [values[name] for name in QUANTITIES]


def measured(
    subject: Subject, conditions: list[Condition], *, seed: int, replicates: int, window_s: int,
    progress: Progress, calibration: Calibration | None = None,
) -> list[dict[str, Estimate]]:  # fmt: skip
    """Every condition on independent neurons: estimates by name, one dictionary per condition.

    With a ``calibration`` every replicate starts from a part's estimate of the baseline, so that
    error bars hold what is uncertain about it; otherwise all start from the subject's.
    """
    subjects = [subject] * replicates
    if calibration is not None:
        # Each from a part of its own: their scatter then holds what is uncertain about it.
        subjects = [replace(subject, baseline=b) for b in calibration.baselines(replicates)]
    # A number for every pair of condition and replicate: no two neurons share random numbers.
    tasks = [
        (subjects[r], condition, settling_s(subject, condition), window_s, seed,
         number * replicates + r)
        for number, condition in enumerate(conditions)
        for r in range(replicates)
    ]  # fmt: skip
    names = [f"neuron {task[-1]}, seed {seed}" for task in tasks]
    results = sweep.map_tasks(averages, tasks, names=names, progress=progress, label="neurons")
    values = np.array(results).reshape(len(conditions), replicates, len(QUANTITIES))
    return [
        {name: from_replicates(rows[:, at]) for at, name in enumerate(QUANTITIES)}
        for rows in values
    ]


def beside_mean_field(
    names: Sequence[str],
    measured: Mapping[Case, Mapping[str, Estimate]],
    solutions: Mapping[Case, Mapping[str, float]],
) -> dict[str, list[float]]:
    """Columns of a table with a row for every case: value, error, 95 % interval, mean field."""
    columns = dict[str, list[float]]()
    for name in names:
        estimates = [by_name[name] for by_name in measured.values()]
        low, high = zip(*(estimate.interval() for estimate in estimates), strict=True)
        columns[name] = [estimate.value for estimate in estimates]
        columns[f"{name}_se"] = [estimate.se for estimate in estimates]
        columns[f"{name}_low_95"], columns[f"{name}_high_95"] = list(low), list(high)
        columns[f"{name}_mean_field"] = [solutions[case][name] for case in measured]
    return columns
