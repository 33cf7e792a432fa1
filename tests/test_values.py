"""Results as data: they come back to the bit, and nothing else comes back."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synapse_abm.core.values import MOST_DEPTH, ValueFault, packed, record_types, unpacked
from synapse_abm.runs.experiment import experiments
from synapse_abm.runs.result_store import opened_results, sealed_results
from synapse_abm.runs.simulate import run_replicate
from synapse_abm.treatment.acute import averages


@dataclass(frozen=True)
class Inner:
    share: float
    counts: np.ndarray


class Pair(NamedTuple):
    name: str
    inner: Inner | None


def task() -> list[Pair] | dict[str, Inner]:
    raise NotImplementedError


RECORDS = record_types(task)


def through_a_file(value: Any, records: dict[str, type] = RECORDS) -> Any:
    arrays = list[np.ndarray]()
    tree = packed(value, arrays, records)
    return opened_results(sealed_results([7, tree], arrays), Path("x"), records)[7]


def same(a: Any, b: Any) -> bool:
    """Equal in type and to the bit."""
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return struct.pack("<d", a) == struct.pack("<d", b)
    if isinstance(a, np.ndarray):
        about = [(x.dtype, x.shape, x.flags.c_contiguous, x.tobytes()) for x in (a, b)]
        return about[0] == about[1]
    if isinstance(a, dict):
        return same([*a.items()], [*b.items()])
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, Inner):
        return same((a.share, a.counts), (b.share, b.counts))
    return bool(a == b)


FLOATS = st.floats(allow_nan=True, allow_infinity=True, allow_subnormal=True)
KEYS = st.none() | st.booleans() | st.integers() | st.text() | st.tuples(st.integers(), st.text())
LEAVES = (
    KEYS | FLOATS | st.binary(max_size=9) | FLOATS.map(np.float64)
    | st.lists(FLOATS, max_size=4).map(np.array)
    | st.builds(Inner, FLOATS, st.lists(st.integers(0, 255), max_size=4).map(np.uint8))
)  # fmt: skip
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner)
    | st.dictionaries(KEYS, inner, max_size=3)
    | st.builds(Pair, st.text(), st.none()),
    max_leaves=12,
)  # fmt: skip


@given(VALUES)
def test_what_a_task_returns_comes_back_to_the_bit(value: Any) -> None:
    assert same(through_a_file(value), value)


def test_hard_numbers_come_back() -> None:
    odd_nan = struct.unpack("<d", bytes.fromhex("010000000000f4ff"))[0]
    turned = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    floats = [0.1, -0.0, math.inf, -math.inf, math.nan, odd_nan, 5e-324]
    value = [turned, 2**64, -(10**400), True, "\ud800\x00é", np.zeros((0, 3)), np.int32(-5), floats,
             {1: 2, (1, "a"): [None]}]  # fmt: skip
    back = through_a_file(value)
    assert same(back, value)
    back[0][0, 0] = 5.0  # not tied to the file


def test_a_comparison_that_ignores_bits_would_be_caught() -> None:
    assert not same(0.0, -0.0) and not same([1], (1,)) and not same(1, True)
    assert not same(through_a_file(math.nan), struct.unpack("<d", bytes(6) + b"\xf9\x7f")[0])


@pytest.mark.parametrize(
    "value",
    [{1, 2}, 1j, Path("x"), object(), len, Inner, np.array(["a", None]), np.array([1j]),
     type("Odd", (int,), {})(3), 2**20_000, np.array(["2020"], dtype="M8[Y]")],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_anything_else_is_not_written(value: Any) -> None:
    with pytest.raises((ValueFault, ValueError)):
        through_a_file([value])


def test_records_are_only_those_that_the_task_declares() -> None:
    @dataclass
    class Stranger:
        x: int

    assert {"Pair": Pair, "Inner": Inner} == RECORDS
    with pytest.raises(ValueFault, match="no declared record"):
        packed(Stranger(1), [], RECORDS)
    for name in ("Stranger", "os.system", "builtins.eval", "Path"):
        with pytest.raises(ValueFault, match="not a value"):
            unpacked(["record", name, "true"], [], RECORDS)


@pytest.mark.parametrize(
    "tree",
    [{}, {"record": 1}, [], ["list of"], ["float", "zz"], ["float", 1.0], ["bytes", "0"],
     ["array", 0], ["array", -1], ["scalar", "0"], ["dict", 1], ["dict", ["list"], 1],
     ["record", "Pair", 1], ["record", "Inner"], [["list"]], ["call", "print"],
     ["float", "f" * 17]],
)  # fmt: skip
def test_anything_else_is_not_read(tree: Any) -> None:
    with pytest.raises(ValueFault):
        unpacked(["list", json.loads(json.dumps(tree))], [], RECORDS)


def test_depth_is_limited() -> None:
    value: Any = 1
    for _ in range(MOST_DEPTH):
        value = [value]
    assert through_a_file(value) == value
    with pytest.raises(ValueFault, match="nested deeper than 32"):
        packed([value], [], RECORDS)
    with pytest.raises(ValueFault, match="nested deeper than 32"):
        unpacked(["list", packed(value, [], RECORDS)], [], RECORDS)


def declared(experiment: str, function: str) -> set[str]:
    loaded: Callable[..., Any] = getattr(experiments()[experiment].load(), function)
    return set(record_types(loaded))


def test_the_tasks_of_the_program_declare_what_they_return() -> None:
    """Otherwise an interrupted run would start from nothing."""
    assert set(record_types(run_replicate)) == {"Recorded"}
    assert set(record_types(averages)) == set()
    assert declared("saturation", "measure") == {"Measured"}
    assert declared("limits", "computed") == {"Estimate", "Seen", "Said", "Table"}
    assert declared("lag_sensitivity", "lag_of") == {"Timing"}
    assert declared("timestep", "curve") == set()
