"""Saved courses made to do harm, with a checksum that fits: each is refused in one clear line."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from forging import Forge, Marks, forged
from test_hostile_checkpoints import (
    ANY_KIND,
    with_dtype,
    with_header,
    with_shape,
    without,
    written_over,
)

from synapse_abm.neuron.calibration import Calibration, calibrate
from synapse_abm.neuron.scenario import neuron
from synapse_abm.treatment.course import Course, CourseError
from synapse_abm.treatment.treatment import Treatment, constant


def plan() -> Treatment:
    return Treatment(neuron(), constant(3.0), days=2.0, windows=3, replicates=2, window_s=1)


@pytest.fixture(scope="module")
def rest() -> Calibration:
    return calibrate(neuron(), 1, 20)


@pytest.fixture(scope="module")
def saved(rest: Calibration, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("course") / "saved"
    Course(plan(), rest).run(1).save(path)
    return path.read_bytes()


COURSE: dict[str, Forge] = {
    "windows done below zero": with_header(done=-1),
    "windows done that are a fraction": with_header(done=0.5),
    "more windows done than there are": with_header(done=4),
    "a header that does not say of what": without("of"),
    "another treatment": with_header(of=[]),
    "values of another type": with_dtype("values", "<i8"),
    "values of other windows": with_shape("values", 1, 1, 1),
    "slow variables that are nan": written_over("slow", float("nan"), "<f8"),
    "slow variables that are infinite": written_over("slow", float("inf"), "<f8"),
    "slow variables of 1e300": written_over("slow", 1e300, "<f8"),
    "what drives the slow variables is nan": written_over("inputs", float("nan"), "<f8"),
    "counts below zero": written_over("counts:0", -1),
    "counts beyond the lists": written_over("counts:0", 10**12),
    "a clock beyond the address": written_over("meta:0", 2**50),
    "a counter below zero": written_over("meta:0", -1, at=1),
    "a rate of firing that is nan": written_over("rate:0", float("nan"), "<f8"),
    "a rate of firing of 1e300": written_over("rate:0", 1e300, "<f8"),
    "a rate constant of 1e300": written_over("rates:0", 1e300, "<f8"),
    "a number of 1e300": written_over("numbers:0", 1e300, "<f8"),
}


@pytest.mark.parametrize("lesson", {**ANY_KIND, **COURSE})
def test_a_course_is_refused(lesson: str, saved: bytes, rest: Calibration, tmp_path: Path) -> None:
    path = tmp_path / "bad"
    path.write_bytes(forged(saved, {**ANY_KIND, **COURSE}[lesson]))
    with pytest.raises(CourseError) as caught:
        Course.resume(plan(), path, rest)
    assert str(path) in str(caught.value) and len(str(caught.value)) < 700
    assert "\n" not in str(caught.value)


def test_the_same_course_unchanged_is_resumed(
    saved: bytes, rest: Calibration, tmp_path: Path
) -> None:
    """The control: forging itself is not what is refused."""
    path = tmp_path / "good"
    path.write_bytes(forged(saved, lambda header, body: (header, body)))
    assert Course.resume(plan(), path, rest).done == 1


def test_a_pickle_in_the_place_of_a_course_is_not_opened(rest: Calibration, tmp_path: Path) -> None:
    mark, path = tmp_path / "ran", tmp_path / "bad"
    path.write_bytes(pickle.dumps(Marks(mark)))
    with pytest.raises(CourseError, match="something else"):
        Course.resume(plan(), path, rest)
    assert not mark.exists()


def test_a_device_is_not_read(rest: Calibration) -> None:
    """It would never end."""
    with pytest.raises(CourseError, match="no regular file"):
        Course.resume(plan(), "/dev/zero", rest)
