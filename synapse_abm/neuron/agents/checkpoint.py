"""A neuron model on disk, from which it continues bit for bit on either engine.

The file is a checkpoint as those of a synapse are (see ``core.sealed``). It holds what the model
was made of (parameters, baseline, ligands), what acted on it at first and every change since, the
slow variables, and all molecules and sites. Mesa's own random numbers, agents and events of the
user's own, and classes with other rules are not in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, astuple
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from synapse_abm.core.sealed import CheckpointError, Header, check_arrays, contents, opened, sealed
from synapse_abm.neuron.agents.host import NeuronHost
from synapse_abm.neuron.engine.simulation import MOST_RATE
from synapse_abm.neuron.scenario import SLOW, Baseline, NeuronParameters

MAGIC = b"synapse_abm neuron checkpoint 1\n"


class _Keywords(BaseModel):
    """Keywords that the model was made with."""

    model_config = Header.model_config

    rng: int
    replicate: int
    drug: str | None
    drug_nM: float
    antagonist: str | None
    antagonist_nM: float
    mao: float
    reach: str
    transporters: float
    feedback: bool
    dt_s: float
    speed: float


class _Header(Header):
    parameters: dict[str, Any]
    keywords: _Keywords
    changes: list[Any]


def to_bytes(model: NeuronHost) -> bytes:
    """The contents of a checkpoint: equal states of equal models give equal bytes."""
    simulation, address = model.simulation, model.simulation.address
    own = {
        "rng": address.seed, "replicate": address.replicate,
        "transporters": simulation.transporters, "dt_s": simulation.dt_s,
        **asdict(model.history.start),
    }  # fmt: skip
    names = _Keywords.model_fields
    header = {
        "parameters": model.parameters.model_dump(mode="json"),
        "keywords": {name: own[name] if name in own else getattr(model, name) for name in names},
        "changes": model.history.entries,
    }
    arrays = {
        "baseline": np.array(astuple(simulation.baseline)),  # may be nan, so not in the header
        "latest": model.latest,
        "slow": np.array([model.slow[name] for name in SLOW]),
    }
    return sealed(MAGIC, header, arrays | simulation.checkpoint())


def read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray], list[Any]]:
    """Keywords of a model, and the arrays and changes that :func:`restore` takes up.

    Raises
    ------
    CheckpointError
        If the file is missing, truncated, changed, or no neuron of a version this one can read.
    """
    header, arrays = opened(MAGIC, contents(path), path, _Header)
    try:
        keywords = dict(header.keywords) | {
            # Validated as any other: rates of a file could make a step that never ends.
            "parameters": NeuronParameters.model_validate(header.parameters),
            "baseline": Baseline(*arrays.pop("baseline").tolist()),
        }
    except (ValueError, TypeError, KeyError) as error:
        raise CheckpointError(path, f"it holds no neuron: {str(error)[:300]}") from error
    return keywords, arrays, header.changes


def load[M: NeuronHost](path: Path, make: Callable[..., M]) -> M:
    """The model whose checkpoint is at ``path``, made by ``make`` of its keywords.

    Raises
    ------
    CheckpointError
        As :func:`read`; also if the arrays are no state that such a model can be in.
    """
    keywords, arrays, changes = read(path)
    try:
        # Built first and filled then: building checks the keywords, and gives the arrays their
        # expected shapes.
        model = make(**keywords)
        restore(model, arrays, changes)
    except (ValueError, IndexError, OverflowError, MemoryError) as error:
        what = f"what it holds is no state of a neuron: {str(error)[:300]}"
        raise CheckpointError(path, what) from error
    return model


def restore(model: NeuronHost, arrays: Mapping[str, np.ndarray], changes: list[Any]) -> None:
    """Put a model that was made of the same keywords into the state that was kept.

    Raises
    ------
    ValueError, IndexError
        If it is none: compiled code trusts its arrays, so all is checked first.
    """
    arrays, own = dict(arrays), {"latest": model.latest, "slow": np.zeros(len(SLOW))}
    check_arrays(arrays, own | model.simulation.checkpoint(), {"listed": 0})
    latest, slow = arrays.pop("latest"), arrays.pop("slow")
    if not (np.abs(slow) <= MOST_RATE).all():  # not (nan <= x) either
        raise ValueError(f"slow holds a number beyond {MOST_RATE:g}, or none")
    model.latest, model.slow = latest, dict(zip(SLOW, slow.tolist(), strict=True))
    simulation = model.simulation
    simulation.restore(arrays)
    simulation.check_read()
    model.history.take_up(changes, simulation.dt_s, simulation.steps)
    # Rates are those of the last step. Those of the next one must let it end too; they are looked
    # at and put back, so that the state stays what was kept.
    rates, numbers = simulation.state.rates.copy(), simulation.state.numbers.copy()
    model.act()
    simulation.check_read()
    simulation.state.rates[:], simulation.state.numbers[:] = rates, numbers
