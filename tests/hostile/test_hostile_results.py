"""Files in the place of results of an unfinished run: never executed, never believed."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forging import Forge, Marks, forged, resealed

from synapse_abm.core.sealed import CheckpointError
from synapse_abm.runs import sweep
from synapse_abm.runs.result_store import opened_results, sealed_results
from synapse_abm.runs.sweep import Cache, map_tasks

TASKS = [(n,) for n in range(4)]


def squared(n: int) -> int:
    return n**2


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = Cache(tmp_path, "run").folder
    made.mkdir(parents=True)
    return made


def run(tmp_path: Path) -> list[int]:
    with sweep.using(1, Cache(tmp_path, "run")):
        return map_tasks(squared, TASKS)


def as_before(results: dict[int, Any]) -> bytes:
    """What earlier versions wrote: a pickle with a checksum."""
    return resealed(b"synapse_abm pieces 1\n" + pickle.dumps(results))


@pytest.mark.parametrize("suffix", ["results", "pieces"])
def test_a_pickle_runs_nothing(suffix: str, folder: Path, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    attack = {0: Marks(mark)}
    magic = b"synapse_abm results 1\n"
    for number, data in enumerate(
        (pickle.dumps(attack), as_before(attack), resealed(magic + pickle.dumps(attack)))
    ):
        (folder / f"1-{number}.{suffix}").write_bytes(data)
    assert run(tmp_path) == [0, 1, 4, 9]
    assert not mark.exists()
    pickle.loads(pickle.dumps(attack))
    assert mark.exists(), "the control: it would have been seen"


def test_objects_in_an_array_run_nothing(folder: Path, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    body = pickle.dumps(np.array([Marks(mark)], dtype=object))

    def forge(header: dict[str, Any], _: bytes) -> tuple[Any, bytes]:
        return header | {"arrays": [["0", "|O", [len(body) // 8]]]}, body

    (folder / "1-0.results").write_bytes(forged(sealed_results([0, ["array", 0]], []), forge))
    assert run(tmp_path) == [0, 1, 4, 9]
    assert not mark.exists()


HEADERS: dict[str, Any] = {
    "a call": [0, ["call", "os.system", "true"]],
    "a record of a type that the task does not declare": [0, ["record", "Path", "x"]],
    "an index that is text": ["0", 0],
    "an index that is a truth": [False, 0],
    "an index without result": [0],
    "an array that is not there": [0, ["array", 3]],
    "an object": [0, {"a": 1}],
    "nothing of the kind": {"0": 0},
}


@pytest.mark.parametrize("lesson", HEADERS)
def test_what_is_no_result_is_done_again(lesson: str, folder: Path, tmp_path: Path) -> None:
    forge: Forge = lambda header, body: (header | {"results": HEADERS[lesson]}, body)  # noqa: E731
    data = forged(sealed_results([0, 77], []), forge)
    with pytest.raises(CheckpointError):
        opened_results(data, Path("x"), {})
    (folder / "1-0.results").write_bytes(data)
    assert run(tmp_path) == [0, 1, 4, 9]


def test_indices_beyond_the_series_are_not_used(folder: Path, tmp_path: Path) -> None:
    (folder / "1-0.results").write_bytes(sealed_results([-1, 5, 4, 5, 2**70, 5], []))
    assert run(tmp_path) == [0, 1, 4, 9]


def test_a_link_to_a_device_is_not_read(folder: Path, tmp_path: Path) -> None:
    (folder / "1-0.results").symlink_to("/dev/zero")
    assert run(tmp_path) == [0, 1, 4, 9]


def test_honest_results_are_used(folder: Path, tmp_path: Path) -> None:
    """The control, and what a checksum cannot do: whoever can write there can lie in numbers."""
    data = sealed_results([2, 77], [])
    assert data.endswith(hashlib.sha256(data[:-32]).digest())
    (folder / "1-0.results").write_bytes(data)
    assert run(tmp_path) == [0, 1, 77, 9]
