"""A neuron model on disk, from which it continues bit for bit on either engine.

The file is a checkpoint as those of a synapse are (``engine.checkpoint``): portable, without
pickle, with a checksum. It holds what the model was made of (parameters, baseline, ligands), what
acts on it now, the slow variables, and all molecules and sites. Mesa's own random numbers, agents
and events of the user's own, and classes with other rules are not in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synapse_abm import __version__
from synapse_abm.core.sealed import contents, described, opened, sealed
from synapse_abm.neuron.engine import kernels as lay
from synapse_abm.neuron.engine.simulation import Baseline, Kept, NeuronSimulation
from synapse_abm.neuron.meanfield.ode import SLOW
from synapse_abm.neuron.scenario import Neuron

if TYPE_CHECKING:
    from synapse_abm.neuron.agents.model import NeuronModel

MAGIC = b"synapse_abm neuron checkpoint 1\n"


def to_bytes(model: NeuronModel) -> bytes:
    """The contents of a checkpoint: equal states of equal models give equal bytes."""
    simulation = model.simulation
    own = {"latest": model.latest, "slow": np.array([model.slow[name] for name in SLOW])}
    arrays = {
        name: np.ascontiguousarray(a, dtype=a.dtype.newbyteorder("<"))
        for name, a in (own | _filled(simulation)).items()
    }
    header = {
        "version": __version__,
        "parameters": model.parameters.model_dump(mode="json"),
        "baseline": list(astuple(simulation.baseline)),
        "given": {
            "rng": int(simulation.address.seed),
            "replicate": int(simulation.address.replicate),
            "drug": model.drug,
            "drug_nM": float(model.drug_nM),
            "rival": model.rival,
            "rival_nM": float(model.rival_nM),
            "mao": float(model.mao),
            "where": list(model.where),
            "transporters": float(simulation.transporters),
            "brake": bool(model.brake),
            "dt_s": float(simulation.dt_s),
            "speed": float(model.speed),
        },
        "arrays": described(arrays),
    }
    return sealed(MAGIC, header, arrays)


def read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Keywords of a model, and the arrays that :func:`restore` takes up.

    Raises
    ------
    CheckpointError
        If the file is missing, truncated, changed, or no neuron of a version this one can read.
    """
    header, arrays = opened(MAGIC, contents(path), path)
    given = header["given"] | {
        "parameters": Neuron.model_validate(header["parameters"]),
        "baseline": Baseline(*header["baseline"]),
        "where": tuple(header["given"]["where"]),
    }
    return given, {name: a.astype(a.dtype.newbyteorder("=")) for name, a in arrays.items()}


def restore(model: NeuronModel, arrays: Mapping[str, np.ndarray]) -> None:
    """Put a model that was made of the same keywords into the state that was kept."""
    arrays = dict(arrays)
    model.latest = arrays.pop("latest")
    model.slow = dict(zip(SLOW, arrays.pop("slow").tolist(), strict=True))
    listed, counts = arrays.pop("listed"), arrays["counts"]
    parts = np.split(listed, np.cumsum(counts.ravel())[:-1])
    model.simulation.room_for(counts.max())
    model.simulation.go_back(Kept([parts[: lay.LISTS], parts[lay.LISTS :]], arrays))


def _filled(simulation: NeuronSimulation) -> dict[str, np.ndarray]:
    """All that changes; of the lists of members only as much as is filled."""
    kept = simulation.kept()
    return kept.arrays | {"listed": np.concatenate([m for place in kept.lists for m in place])}
