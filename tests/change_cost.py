"""What changing a running model costs: ``python tests/change_cost.py``.

CPU time of one change; and work per CPU second with 50 changes a second, and after many changes, as
shares of that of an unchanged model. All take turns, so that a busy machine weighs on them alike.
A neuron's work is counted in events, that of a synapse of 10^4 molecules in steps.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from synapse_abm import NeuronModel, SynapseModel
from synapse_abm.neuron.scenario import Baseline
from synapse_abm.synapse.scenario import Grid, Kinetics, Ligand, Scenario, Target

PER_SECOND, ROUNDS = 50, 60


@dataclass(frozen=True)
class Kind:
    """A model to be changed: how it is made, changed, and how much it has done."""

    name: str
    make: Callable[[], Any]
    change: Callable[[Any, int], None]
    done: Callable[[Any], float]
    steps: int
    before: int


def changed_neuron(model: NeuronModel, k: int) -> None:
    """One change of three values that leaves the neuron about as busy as it was."""
    tiny = k % 100 * 1e-4
    model.change({"drug": f"{6.8 + tiny} nM", "sensitivity": 0.5 + tiny, "mao": 1 - tiny})


def synapse() -> SynapseModel:
    """Serotonin and a clamped drug at 500 scattered transporters."""
    serotonin = Kinetics(kd_nM=40.0, koff_per_s=1.0)
    drug = Kinetics(kd_nM=1.2, koff_per_s=0.012)
    ligands = {
        "serotonin": Ligand(count=10_000, diffusion_um2_per_s=211.0, binding={"SERT": serotonin}),
        "drug": Ligand(clamped_nM=3.0, binding={"SERT": drug}),
    }
    return SynapseModel(
        Scenario(grid=Grid(), targets={"SERT": Target(sites=500)}, ligands=ligands), rng=1
    )


def changed_synapse(model: SynapseModel, k: int) -> None:
    """Another concentration, as a slider gives it."""
    model.change({"ligand.drug.clamped": f"{3 + k % 100 * 0.05:.3f} nM"})


KINDS = (
    Kind(
        "neuron",
        lambda: NeuronModel(rng=1, baseline=Baseline(), drug_nM=6.8),
        changed_neuron,
        lambda model: float(model.simulation.state.events.sum()),
        40,
        10_000,
    ),
    Kind("synapse", synapse, changed_synapse, lambda model: model.seconds, 2000, 1000),
)


def work(kind: Kind, model: Any, often: bool) -> float:
    """CPU time (s) of some steps, with changes on the way or without."""
    begun, made, parts = time.process_time(), 0, 40
    for _ in range(parts):
        while often and time.process_time() - begun > made / PER_SECOND:
            kind.change(model, made)
            made += 1
        model.run_for(kind.steps // parts)
    return time.process_time() - begun


def measure(kind: Kind) -> None:
    """Print what changes of one kind of model cost."""
    models = [kind.make() for _ in range(3)]
    for model in models:
        kind.change(model, 0)
        model.run(100)
    begun = time.process_time()
    for k in range(kind.before):
        kind.change(models[2], k)
    each_us = 1e6 * (time.process_time() - begun) / kind.before
    print(f"{kind.name}: one change {each_us:.0f} us")
    before = np.array([kind.done(model) for model in models])
    spent = np.zeros((ROUNDS, len(models)))
    for k in range(ROUNDS):
        for i, model in enumerate(models):
            spent[k, i] = work(kind, model, i == 1)
    speeds = (np.array([kind.done(model) for model in models]) - before) / spent.sum(axis=0)
    names = ("unchanged", f"{PER_SECOND} changes a second", f"after {kind.before} changes")
    for name, speed in zip(names, speeds, strict=True):
        print(f"  {name:24} {speed / speeds[0]:.3f} of the speed ({speed:.3g} per CPU second)")


if __name__ == "__main__":
    for kind in KINDS:
        measure(kind)
