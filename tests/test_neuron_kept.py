"""A neuron model that is saved goes on bit for bit on either engine; a bad file is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from synapse_abm import NeuronModel, Serotonin, SynapseModel
from synapse_abm.core.sealed import CheckpointError
from synapse_abm.neuron.agents import checkpoint as checkpoint
from synapse_abm.neuron.scenario import Baseline
from synapse_abm.synapse.agents import BIND

Engine = Literal["compiled", "agents"]
#: A twentieth of the default neuron with every channel open, and days that pass in minutes.
GIVEN: dict[str, Any] = {
    "rng": 11, "replicate": 2, "baseline": Baseline(drive=0.98), "receptors": 15,
    "terminal.volume_um3": 2.0, "soma.volume_um3": 2.0, "terminal.transporters": 50,
    "soma.transporters": 100, "antagonist": "pindolol", "antagonist_nM": 20.0, "mao": 0.7,
    "terminal.leak_share": 0.3, "reach": "soma", "transporters": 0.9, "dt_s": 0.5, "speed": 5000.0,
}  # fmt: skip
STEPS = 24


def treated(model: NeuronModel, steps: int) -> NeuronModel:
    """Run on; on its sixth step the drug comes, on its twelfth feedback is removed."""
    for _ in range(steps):
        if model.simulation.steps == 6:
            model.drug_nM = 6.8
        if model.simulation.steps == 12:
            model.feedback = False
        model.run(1)
    return model


@pytest.fixture(scope="module")
def whole() -> bytes:
    return checkpoint.to_bytes(treated(NeuronModel(**GIVEN), STEPS))


@pytest.mark.parametrize("cut", range(STEPS + 1))
def test_equal_at_every_cut(cut: int, whole: bytes, tmp_path: Path) -> None:
    treated(NeuronModel(**GIVEN), cut).save(tmp_path / "neuron")
    resumed = NeuronModel.resume(tmp_path / "neuron", check_every_step=True)
    assert resumed.time == cut and resumed.seconds == cut / 2
    assert checkpoint.to_bytes(resumed) == (tmp_path / "neuron").read_bytes()
    assert checkpoint.to_bytes(treated(resumed, STEPS - cut)) == whole


@pytest.mark.parametrize(("first", "second"), [("compiled", "agents"), ("agents", "compiled")])
def test_either_engine_goes_on(first: Engine, second: Engine, whole: bytes, tmp_path: Path) -> None:
    begun = treated(NeuronModel(engine=first, **GIVEN), 9)
    assert len(begun.agents) > 0  # views were made, and are not in the way
    begun.save(tmp_path / "neuron")
    resumed = treated(NeuronModel.resume(tmp_path / "neuron", engine=second), STEPS - 9)
    assert checkpoint.to_bytes(resumed) == whole
    assert len(resumed.agents_by_type[Serotonin]) > 100


@pytest.mark.slow
def test_equal_in_a_new_process(whole: bytes, tmp_path: Path) -> None:
    treated(NeuronModel(**GIVEN), 17).save(tmp_path / "half")
    script = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r});"
        "from test_neuron_kept import *; model = NeuronModel.resume(sys.argv[1]);"
        "treated(model, STEPS - 17).save(sys.argv[2])"
    )
    files = [str(tmp_path / "half"), str(tmp_path / "whole")]
    subprocess.run([sys.executable, "-c", script, *files], check=True)
    assert (tmp_path / "whole").read_bytes() == whole


def test_a_list_that_has_outgrown_a_new_model_fits(tmp_path: Path) -> None:
    """With little monoamine oxidase the pool grows beyond the room that a model starts with."""
    model = NeuronModel(**GIVEN | {"mao": 1e-3, "dt_s": 20.0, "speed": 1.0})
    room = model.simulation.state.members.shape[2]
    while model.simulation.state.members.shape[2] == room:
        model.run(5)
    model.save(tmp_path / "neuron")
    resumed = NeuronModel.resume(tmp_path / "neuron", check_every_step=True)
    for each in (model, resumed):
        each.run(3)
    assert checkpoint.to_bytes(resumed) == checkpoint.to_bytes(model)


def test_what_is_not_kept_would_be_noticed(whole: bytes, tmp_path: Path) -> None:
    """The control: a model that takes up the molecules and forgets the slow variables."""
    treated(NeuronModel(**GIVEN), 9).save(tmp_path / "neuron")
    forgetful = NeuronModel.resume(tmp_path / "neuron")
    forgetful.slow = NeuronModel(**GIVEN).slow
    assert checkpoint.to_bytes(treated(forgetful, STEPS - 9)) != whole


def test_rules_of_ones_own_are_given_again(tmp_path: Path) -> None:
    from synapse_abm.neuron.agents.agents import NeuronTransporter

    class Sluggish(NeuronTransporter):
        def propensity(self, event: int, ligand: str) -> float:
            return super().propensity(event, ligand) * (0.5 if event == BIND else 1.0)

    own: dict[str, Any] = {"engine": "agents", "agent_classes": {"SERT": Sluggish}}
    model = NeuronModel(**own, **GIVEN)
    model.run(2)
    model.save(tmp_path / "neuron")
    resumed, shipped = (
        NeuronModel.resume(tmp_path / "neuron", **own),
        NeuronModel.resume(tmp_path / "neuron"),
    )
    for any_of_them in (model, resumed, shipped):
        any_of_them.run(3)
    assert (
        checkpoint.to_bytes(resumed) == checkpoint.to_bytes(model) != checkpoint.to_bytes(shipped)
    )


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda b: b"", "something else"),
        (lambda b: b[:100], "checksum"),
        (lambda b: b[:-1], "checksum"),
        (lambda b: b.replace(b"checkpoint 1", b"checkpoint 2"), "format is not known"),
    ],
)
def test_damaged_and_foreign_files_are_refused(
    damage: Any, says: str, whole: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "bad"
    path.write_bytes(damage(whole))
    with pytest.raises(CheckpointError, match=says) as caught:
        NeuronModel.resume(path)
    assert str(path) in str(caught.value) and path.read_bytes() == damage(whole)
    with pytest.raises(CheckpointError, match="cannot be read"):
        NeuronModel.resume(tmp_path / "nothing")


def test_every_flipped_byte_is_noticed(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "changed"
    for at in [*range(0, len(whole), len(whole) // 300), len(whole) - 1]:
        changed = bytearray(whole)
        changed[at] ^= 1 << (at % 8)
        path.write_bytes(bytes(changed))
        with pytest.raises(CheckpointError):
            checkpoint.read(path)


def test_a_synapse_is_no_neuron(tmp_path: Path) -> None:
    SynapseModel("binding", rng=1).save(tmp_path / "synapse")
    with pytest.raises(CheckpointError, match="something else"):
        NeuronModel.resume(tmp_path / "synapse")
    NeuronModel(**GIVEN).save(tmp_path / "neuron")
    with pytest.raises(CheckpointError, match="something else"):
        SynapseModel.resume(tmp_path / "neuron")
    assert np.isnan(checkpoint.read(tmp_path / "neuron")[1]["latest"]).all()
