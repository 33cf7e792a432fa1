"""A run continues from a checkpoint bit for bit, and a file that is not one is refused."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
from scenarios import everything

from synapse_abm.core.sealed import CheckpointError
from synapse_abm.synapse.agents.model import SynapseModel
from synapse_abm.synapse.engine import checkpoint
from synapse_abm.synapse.engine.simulation import Simulation

STEPS = 60


@pytest.fixture(scope="module")
def uninterrupted() -> bytes:
    simulation = Simulation(everything(), 3)
    simulation.run(STEPS)
    return checkpoint.to_bytes(simulation)


@pytest.mark.parametrize("cut", range(0, STEPS + 1, 6))
def test_equal_at_every_cut(cut: int, uninterrupted: bytes, tmp_path: Path) -> None:
    first = Simulation(everything(), 3)
    first.run(cut)
    checkpoint.save(first, tmp_path / "run.checkpoint")
    second = checkpoint.load(tmp_path / "run.checkpoint", check_every_step=True)
    second.run(STEPS - cut)
    assert checkpoint.to_bytes(second) == uninterrupted


def test_many_records_a_call_give_the_hash_of_one_a_call() -> None:
    """Every molecule and site of every record, also where rows run full within the call."""
    digest, alone, together = b"", Simulation(everything(), 3), Simulation(everything(), 3)
    for _ in range(STEPS):
        alone.run(2)
        link = hashlib.sha256(digest + alone.step_number.to_bytes(8, "little"))
        alone.state.digest_into(link)
        digest = link.digest()
    rows = together.state.store.molecules.shape[1]
    table, hashed = together.run_hashed(2, STEPS, b"")
    assert hashed == digest
    assert together.state.store.molecules.shape[1] > rows, "they ran full"
    assert checkpoint.to_bytes(together) == checkpoint.to_bytes(alone)
    assert (table[-1][: alone.state.store.totals.size] == alone.state.store.totals).all()


def test_equal_in_a_new_process(uninterrupted: bytes, tmp_path: Path) -> None:
    first = Simulation(everything(), 3)
    first.run(17)
    checkpoint.save(first, tmp_path / "half")
    script = (
        "import sys; from synapse_abm.synapse.engine import checkpoint;"
        "s = checkpoint.load(sys.argv[1]);"
        f"s.run({STEPS - 17}); checkpoint.save(s, sys.argv[2])"
    )
    files = [str(tmp_path / "half"), str(tmp_path / "whole")]
    subprocess.run([sys.executable, "-c", script, *files], check=True)
    assert (tmp_path / "whole").read_bytes() == uninterrupted


@pytest.mark.parametrize("engine", ["compiled", "agents"])
def test_a_model_resumes_on_either_engine(
    engine: str, uninterrupted: bytes, tmp_path: Path
) -> None:
    first = SynapseModel(everything(), rng=3, engine="agents")
    first.run(25)
    first.save(tmp_path / "half")
    second = SynapseModel.resume(tmp_path / "half", engine=engine)  # type: ignore[arg-type]
    assert second.time == 25.0
    second.run(STEPS - 25)
    assert checkpoint.to_bytes(second.simulation) == uninterrupted


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda b: b"", "something else"),
        (lambda b: b"PK\x03\x04 a spreadsheet", "something else"),
        (lambda b: b[:100], "checksum"),
        (lambda b: b[:-1], "checksum"),
        (lambda b: b[:900] + bytes([b[900] ^ 4]) + b[901:], "checksum"),
        (lambda b: b.replace(b"checkpoint 1", b"checkpoint 2"), "format is not known"),
    ],
)
def test_damaged_and_foreign_files_are_refused(
    damage: object, says: str, uninterrupted: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "bad"
    path.write_bytes(damage(uninterrupted))  # type: ignore[operator]
    with pytest.raises(CheckpointError, match=says) as caught:
        checkpoint.load(path)
    assert str(path) in str(caught.value)


def test_every_flipped_byte_is_noticed(uninterrupted: bytes) -> None:
    for at in range(0, len(uninterrupted), 37):
        changed = bytearray(uninterrupted)
        changed[at] ^= 1 << (at % 8)
        with pytest.raises(CheckpointError):
            checkpoint.from_bytes(bytes(changed), Path("changed"))


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be read"):
        checkpoint.load(tmp_path / "nothing")
