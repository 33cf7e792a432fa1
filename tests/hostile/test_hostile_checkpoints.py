"""Checkpoints made to do harm, with a checksum that fits: each is refused in one clear line."""

from __future__ import annotations

import dataclasses
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forging import Forge, Marks, forged, resealed
from scenarios import everything

from synapse_abm import NeuronModel, SynapseModel
from synapse_abm.core.sealed import MOST_HEADER, CheckpointError
from synapse_abm.neuron.agents import checkpoint as neuron_checkpoint
from synapse_abm.runs import simulate
from synapse_abm.synapse.engine import checkpoint
from synapse_abm.synapse.engine.checkpoint import Recorded
from synapse_abm.synapse.engine.layout import COMPARTMENT, GONE
from synapse_abm.synapse.engine.simulation import Simulation
from synapse_abm.synapse.scenario import RunSettings


@pytest.fixture(scope="module")
def synapse() -> bytes:
    simulation = Simulation(everything(), 3)
    series = simulation.run(20, 5)
    table = np.concatenate([series.totals, series.events], axis=1)
    return checkpoint.to_bytes(simulation, Recorded(table, bytes(32)))


@pytest.fixture(scope="module")
def neuron() -> bytes:
    model = NeuronModel(
        rng=1, **{"terminal.volume_um3": 2.0, "soma.volume_um3": 2.0, "receptors": 15,
                  "terminal.transporters": 50, "soma.transporters": 100},
    )  # fmt: skip
    model.run(2)
    model.change({"drug": "5 nM", "sensitivity": 0.4})
    return neuron_checkpoint.to_bytes(model)


def entry(header: dict[str, Any], name: str) -> list[Any]:
    (found,) = (each for each in header["arrays"] if each[0] in (name, f"{name}:0"))
    assert isinstance(found, list)
    return found


def with_dtype(name: str, dtype: str) -> Forge:
    def forge(header: dict[str, Any], body: bytes) -> tuple[Any, bytes]:
        entry(header, name)[1] = dtype
        return header, body

    return forge


def with_shape(name: str, *shape: Any) -> Forge:
    def forge(header: dict[str, Any], body: bytes) -> tuple[Any, bytes]:
        entry(header, name)[2] = list(shape)
        return header, body

    return forge


def with_header(**changes: Any) -> Forge:
    return lambda header, body: (header | changes, body)


def stretch(first_step: int, first_s: float) -> dict[str, Any]:
    """A stretch of a clock with the step of the scenario."""
    return {"first_step": first_step, "first_s": first_s, "dt_s": everything().dt_s}


def change(**fields: Any) -> dict[str, Any]:
    """An entry of a history of changes."""
    return {"step": 0, "seconds": 0.0, "values": {}, "added": {}} | fields


def without(name: str) -> Forge:
    return lambda header, body: ({k: v for k, v in header.items() if k != name}, body)


def as_text(text: bytes) -> Forge:
    return lambda header, body: (text, body)


def written_over(name: str, value: float, dtype: str = "<i8", at: int = 0) -> Forge:
    """Another number in an array, which has the right type and shape."""

    def forge(header: dict[str, Any], body: bytes) -> tuple[Any, bytes]:
        start, changed = 0, bytearray(body)
        for each, kind, shape in header["arrays"]:
            if each == name:
                size = np.dtype(dtype).itemsize
                changed[start + at * size : start + (at + 1) * size] = np.array(
                    value, dtype
                ).tobytes()
            start += np.dtype(kind).itemsize * int(np.prod(shape))
        return header, bytes(changed)

    return forge


def nan_step(header: dict[str, Any], body: bytes) -> tuple[Any, bytes]:
    return json.dumps(header | {"step": float("nan")}).encode(), body


def infinite_step(header: dict[str, Any], body: bytes) -> tuple[Any, bytes]:
    return json.dumps(header).encode().replace(b'"step": 20', b'"step": 1e999'), body


def repeated(header: dict[str, Any], body: bytes) -> tuple[Any, bytes]:
    header["arrays"].append(entry(header, "meta"))
    return header, body + bytes(32)


ANY_KIND: dict[str, Forge] = {
    "objects as an array": with_dtype("meta", "|O"),
    "objects by another name": with_dtype("meta", "object"),
    "text as an array": with_dtype("meta", "<U8"),
    "records as an array": with_dtype("meta", "i4,i4"),
    "a type that is none": with_dtype("meta", "no type"),
    "an array larger than any memory": with_shape("meta", 2**40),
    "an array whose size wraps around": with_shape("meta", 2**32, 2**32),
    "an array of a hundred axes": with_shape("meta", *[1] * 100),
    "a negative shape": with_shape("meta", -4),
    "two negative axes make a positive size": with_shape("meta", -2, -2),
    "a shape that is no number": with_shape("meta", "4"),
    "a shape that is a truth": with_shape("meta", True, 4),
    "an array that is not described": with_header(arrays=[["meta"]]),
    "arrays that are no list": with_header(arrays={}),
    "no arrays at all": with_header(arrays=[]),
    "the same array twice": repeated,
    "a header without version": without("version"),
    "a header without arrays": without("arrays"),
    "a version of another type": with_header(version=[1]),
    "another version": with_header(version="9.9"),
    "a key too many": with_header(extra=1),
    "lists nested a million deep": as_text(b"[" * 10**6),
    "objects nested deep": as_text(b'{"a":' * 10**5 + b"1" + b"}" * 10**5),
    "a header that is a list": as_text(b"[]"),
    "a header that is no JSON": as_text(b"\xff\x00"),
    "a number of a million digits": as_text(b'{"version":' + b"9" * 10**6 + b"}"),
    "bytes after the last array": lambda header, body: (header, body + b"more"),
    "bytes that are missing": lambda header, body: (header, body[:-8]),
}  # fmt: skip

SYNAPSE: dict[str, Forge] = {
    "a step that is nan": nan_step,
    "a step that is infinite": infinite_step,
    "a step that is negative": with_header(step=-1),
    "a step that is a fraction": with_header(step=1.5),
    "a step that is not the state's": with_header(step=7),
    "a header without scenario": without("scenario"),
    "a scenario that is none": with_header(scenario={"grid": 1}),
    "a scenario that is a list": with_header(scenario=[]),
    "a seed below zero": with_header(seed=-1),
    "a seed that is text": with_header(seed="1"),
    "a replicate beyond the address": with_header(replicate=2**40),
    "another seed, whose sites lie elsewhere": with_header(seed=4),
    "a digest that is not hexadecimal": with_header(digest="zz"),
    "a clock that does not begin": with_header(clock=[]),
    "a clock whose stretches do not join": with_header(
        clock=[stretch(0, 0.0), stretch(1, 7.0)]
    ),
    "a clock whose stretches go back": with_header(clock=[stretch(0, 0.0), stretch(0, 0.0)]),
    "a clock of another step": with_header(clock=[stretch(0, 0.0) | {"dt_s": 0.25}]),
    "a clock that stands": with_header(clock=[stretch(0, 0.0) | {"dt_s": 0.0}]),
    "a change that is yet to come": with_header(changes=[change(step=10**9)]),
    "changes that go back": with_header(changes=[change(step=2), change(step=1)]),
    "molecules added of nobody": with_header(changes=[change(added={"nobody": 3})]),
    "fewer than no molecules added": with_header(changes=[change(added={"serotonin": -3})]),
    "molecules of another type": with_dtype("molecules", "<i4"),
    "sites that are not there": with_shape("sites", 0),
    "a counter of molecules below zero": written_over("meta", -5, at=1),
    "a counter of releases beyond them": written_over("meta", 10**6, at=3),
    "a ligand that is not there": written_over("sites", 77, "<i4", at=-1),
    "a place outside the grid": written_over("molecules", 2**31, "<u4", at=20),
    "fewer rows than molecules": written_over("live", 0),
    "a row count below zero": written_over("live", -(2**40)),
}  # fmt: skip


def changed(time_s: Any, values: Any) -> Forge:
    return with_header(changes=[[time_s, values]])


def infinite_time(header: dict[str, Any], body: bytes) -> tuple[Any, bytes]:
    text = json.dumps(header | {"changes": [[12345.0, {"mao": 0.5}]]}).encode()
    return text.replace(b"12345.0", b"1e999"), body


NEURON: dict[str, Forge] = {
    "parameters that are none": with_header(parameters={"terminal": 5}),
    "keywords that are none": with_header(keywords={}),
    "another kind of rate": with_dtype("rate", "<i8"),
    "lists longer than the file": written_over("counts", 10**12),
    "lists of negative length": written_over("counts", -1),
    "a clock beyond the address": written_over("meta", 2**50),
    "a rate that is nan": written_over("rate", 0x7FF8 << 48, "<u8"),
    "a rate of 1e300": written_over("rates", 1e300, "<f8"),
    "a rate at which a step would not end": written_over("rates", 9e11, "<f8"),
    "a rate of firing at which a step would not end": written_over("rate", 9e11, "<f8"),
    "a rate below 0": written_over("rates", -1.0, "<f8"),
    "a number of 1e300": written_over("numbers", 1e300, "<f8"),
    "slow variables that are missing": with_shape("slow", 3),
    "a drive at which a step would not end": written_over("slow", 9e11, "<f8", at=1),
    "a header without changes": without("changes"),
    "changes that are no list": with_header(changes={}),
    "changes that are no pairs": with_header(changes=[[1.0]]),
    "a change that is text": with_header(changes=["1.0"]),
    "a change at a time that is text": changed("1", {"mao": 0.5}),
    "a change at a time that is infinite": infinite_time,
    "a change before the start": changed(-1.0, {"mao": 0.5}),
    "a change within a step": changed(0.5, {"mao": 0.5}),
    "a change that is yet to come": changed(3.0, {"mao": 0.5}),
    "changes whose times go back": with_header(changes=[[1.0, {"mao": 0.5}], [0.0, {"mao": 0.6}]]),
    "a change of nothing": changed(1.0, {}),
    "a change by a name that is not known": changed(1.0, {"x" * 10_000: 0.5}),
    "a change of the step": changed(1.0, {"dt_s": 1e-9}),
    "a change to a value out of its range": changed(1.0, {"drug_nM": 1e300}),
    "a change to a word": changed(1.0, {"mao": "half"}),
    "a change to a text without end": changed(1.0, {"drug": "9" * 10**6 + " nM"}),
    "a change to a unit that computes": changed(1.0, {"drug": "1 9**9**9"}),
    "a change to a list": changed(1.0, {"mao": [0.5]}),
    "a change to nothing": changed(1.0, {"mao": None}),
    "a change of a ligand that is not there": changed(1.0, {"antagonist": "5 nM"}),
    "two changes of one thing": changed(1.0, {"drug": "5 nM", "occupied": 0.5}),
    "more changes than a run may have": with_header(changes=[[1.0, {"mao": 0.5}]] * 250_001),
}


@pytest.mark.parametrize("lesson", {**ANY_KIND, **SYNAPSE})
def test_a_synapse_is_refused(lesson: str, synapse: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad"
    path.write_bytes(forged(synapse, {**ANY_KIND, **SYNAPSE}[lesson]))
    for read in (SynapseModel.resume, checkpoint.load):
        with pytest.raises(CheckpointError) as caught:
            read(path)
        assert str(path) in str(caught.value) and len(str(caught.value)) < 700


@pytest.mark.parametrize("lesson", {**ANY_KIND, **NEURON})
def test_a_neuron_is_refused(lesson: str, neuron: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad"
    path.write_bytes(forged(neuron, {**ANY_KIND, **NEURON}[lesson]))
    with pytest.raises(CheckpointError) as caught:
        NeuronModel.resume(path)
    assert str(path) in str(caught.value) and len(str(caught.value)) < 700


def test_the_same_files_unchanged_are_read(synapse: bytes, neuron: bytes, tmp_path: Path) -> None:
    """The control: forging itself is not what is refused."""
    path = tmp_path / "good"
    for data, read in ((synapse, SynapseModel.resume), (neuron, NeuronModel.resume)):
        path.write_bytes(forged(data, lambda header, body: (header, body)))
        read(path)


@pytest.mark.parametrize("kind", ["synapse", "neuron"])
@pytest.mark.parametrize("length", [2**63, MOST_HEADER + 1, 2**40, 0])
def test_a_header_longer_than_the_file(
    kind: str, length: int, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    data: bytes = request.getfixturevalue(kind)
    begin, path = data.index(b"\n") + 1, tmp_path / "bad"
    path.write_bytes(resealed(data[:begin] + length.to_bytes(8, "little") + data[begin + 8 : -32]))
    with pytest.raises(CheckpointError, match="header"):
        (SynapseModel if kind == "synapse" else NeuronModel).resume(path)


def test_a_record_that_is_no_table(synapse: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad"
    for forge in (with_dtype("recorded", "<f8"), with_header(digest=None)):
        path.write_bytes(forged(synapse, forge))
        with pytest.raises(CheckpointError):
            checkpoint.load_recorded(path)


RECORDS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "another width": lambda table: table[:, :-1],
    "more columns": lambda table: np.hstack([table, table]),
    "a record too few": lambda table: table[:-1],
    "a record too many": lambda table: np.vstack([table, table[-1:]]),
    "no records": lambda table: table[:0],
}


@pytest.mark.parametrize("lesson", RECORDS)
def test_records_that_this_run_would_not_have_made(lesson: str, tmp_path: Path) -> None:
    """The replicate starts again, and comes out as if the file had not been there."""
    run = RunSettings(duration_s=1.0, sample_every_s=0.05)
    scenario = everything().model_copy(update={"run": run})
    piece = simulate.Replicate(scenario, 3, 0, "compiled", tmp_path / "0.checkpoint")
    honest = simulate.run_replicate(dataclasses.replace(piece, checkpoint=None))
    assert piece.checkpoint is not None
    for forge, taken_up in ((RECORDS[lesson], False), (lambda table: table, True)):
        simulation = Simulation(scenario, 3)
        series = simulation.run(5, 1)
        table = forge(np.concatenate([series.totals, series.events], axis=1))
        checkpoint.save(simulation, piece.checkpoint, Recorded(table, b"a hash of its own"))
        found = simulate.run_replicate(piece)
        assert np.array_equal(found.table, honest.table)
        assert (found.digest != honest.digest) == taken_up, "the control: an honest one is used"


def test_a_pickle_in_the_place_of_a_checkpoint_is_not_opened(tmp_path: Path) -> None:
    mark, path = tmp_path / "ran", tmp_path / "bad"
    path.write_bytes(pickle.dumps(Marks(mark)))
    for read in (SynapseModel.resume, NeuronModel.resume):
        with pytest.raises(CheckpointError, match="something else"):
            read(path)
    assert not mark.exists()
    pickle.loads(path.read_bytes())
    assert mark.exists(), "the control: it would have been seen"


def test_a_device_is_not_read() -> None:
    """It would never end."""
    for read in (SynapseModel.resume, NeuronModel.resume):
        with pytest.raises(CheckpointError, match="no regular file"):
            read("/dev/zero")


def test_a_state_that_only_compiled_code_would_trip_over(synapse: bytes, tmp_path: Path) -> None:
    """Right in type, shape and checksum: a molecule that is in no compartment, in each of them."""
    simulation = checkpoint.from_bytes(synapse, Path("x"))
    rows = sum(r.size for r in simulation.state.rows())
    for row in range(0, rows, max(1, rows // 10)):
        at = COMPARTMENT * rows + row
        for value in (GONE, GONE + 1, 2**32 - 1):
            bad = forged(synapse, written_over("molecules", value, "<u4", at))
            with pytest.raises(CheckpointError, match="no state of a scenario"):
                checkpoint.from_bytes(bad, Path("x"))
