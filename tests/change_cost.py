"""What changing a running neuron costs: ``python tests/change_cost.py``.

CPU time of one change; and events per CPU second with 50 changes a second, and after 10,000
changes, as shares of those of an unchanged neuron. All take turns, so that a busy machine weighs on
them alike.
"""

from __future__ import annotations

import time

import numpy as np

from synapse_abm import NeuronModel
from synapse_abm.neuron.scenario import Baseline

PER_SECOND, BEFORE, STEPS, ROUNDS = 50, 10_000, 40, 60
KINDS = ("unchanged", f"{PER_SECOND} changes a second", f"after {BEFORE} changes")


def change(model: NeuronModel, k: int) -> None:
    """One change of three values that leaves the neuron about as busy as it was."""
    tiny = k % 100 * 1e-4
    model.change({"drug": f"{6.8 + tiny} nM", "sensitivity": 0.5 + tiny, "mao": 1 - tiny})


def work(model: NeuronModel, often: bool) -> float:
    """CPU time (s) of some steps, with changes on the way or without."""
    begun, made = time.process_time(), 0
    for _ in range(STEPS):
        while often and time.process_time() - begun > made / PER_SECOND:
            change(model, made)
            made += 1
        model.step()
    return time.process_time() - begun


def main() -> None:
    """Print the costs."""
    models = [NeuronModel(rng=1, baseline=Baseline(), drug_nM=6.8) for _ in KINDS]
    begun = time.process_time()
    for k in range(BEFORE):
        change(models[2], k)
    print(f"one change of three values: {1e6 * (time.process_time() - begun) / BEFORE:.0f} us")
    for model in models:
        change(model, 0)
        model.run(100)
    before = np.array([model.simulation.state.events.sum() for model in models])
    spent = np.zeros((ROUNDS, len(KINDS)))
    for k in range(ROUNDS):
        for i, model in enumerate(models):
            spent[k, i] = work(model, i == 1)
    events = np.array([model.simulation.state.events.sum() for model in models]) - before
    speeds = events / spent.sum(axis=0)
    for kind, speed in zip(KINDS, speeds, strict=True):
        print(f"{kind:24} {speed / speeds[0]:.3f} of the events per CPU second ({speed:.3g})")


if __name__ == "__main__":
    main()
