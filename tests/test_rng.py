"""The generator is the published one, and its addresses never collide or overflow silently."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from synapse_abm.core import draws, rng
from synapse_abm.core.rng import AddressError, Stream

# Known-answer vectors of Random123 (Salmon et al. 2011): philox4x32, 10 rounds.
KNOWN = [
    ("0" * 32, "0" * 16, "6627e8d5e169c58dbc57ac4c9b00dbd8"),
    ("f" * 32, "f" * 16, "408f276d41c83b0ea20bc7c66d5451fd"),
    ("243f6a8885a308d313198a2e03707344", "a4093822299f31d0", "d16cfe0994fdcceb5001e42024126ea1"),
]


def words(text: str) -> tuple[int, ...]:
    return tuple(int(text[i : i + 8], 16) for i in range(0, len(text), 8))


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_published_vectors(counter: str, key: str, expected: str) -> None:
    assert rng.philox4x32(words(counter), words(key)) == words(expected)  # type: ignore[arg-type]
    args = [np.uint32(w) for w in words(counter) + words(key)]
    assert tuple(int(w) for w in draws.philox(*args)) == words(expected)


@given(
    seed=st.integers(0, rng.MAX_SEED),
    replicate=st.integers(0, rng.MAX_REPLICATE),
    place=st.integers(0, rng.MAX_PLACE),
    step=st.integers(0, rng.MAX_STEP),
    molecules=st.lists(st.integers(0, rng.MAX_ENTITY), min_size=1, max_size=5),
)
@settings(max_examples=50, deadline=None)
def test_arrays_of_draws_are_the_single_draws(
    seed: int, replicate: int, place: int, step: int, molecules: list[int]
) -> None:
    at = seed, replicate, place
    ids = np.array(molecules, dtype=np.uint64)
    together = rng.molecule_words(*at, Stream.HOP, step, ids)
    alone = [rng.draw(*at, Stream.HOP, step, m >> 1, m & 1) for m in molecules]
    assert together.tolist() == alone
    series = rng.entity_words(*at, Stream.ARRIVE, step, 7, 5).tolist()
    assert series == [rng.draw(*at, Stream.ARRIVE, step, 7, k) for k in range(5)]


def test_an_address_is_written_into_disjoint_bits() -> None:
    """Flipping any bit of any field changes the block's 192 input bits, and each in its own way."""

    def inputs(
        seed: int = 0, replicate: int = 0, place: int = 0, stream: int = 0, step: int = 0
    ) -> int:
        c2, c3 = rng.counter_high(replicate, place, stream, step)
        k0, k1 = rng.key_words(seed)
        return c2 | c3 << 32 | k0 << 64 | k1 << 96

    limits = {
        "seed": rng.MAX_SEED,
        "replicate": rng.MAX_REPLICATE,
        "place": rng.MAX_PLACE,
        "stream": 15,
        "step": rng.MAX_STEP,
    }
    seen = [
        inputs(**{name: 1 << b}) for name, top in limits.items() for b in range(top.bit_length())
    ]
    assert len(set(seen)) == len(seen) == sum(v.bit_length() for v in limits.values())
    assert all(s.bit_count() == 1 for s in seen)
    assert max(Stream) <= limits["stream"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("seed", 2**64),
        ("seed", -1),
        ("replicate", 2**18),
        ("place", 16),
        ("step", 2**38),
        ("entity", 2**32),
        ("k", 2**33),
    ],
)
def test_overflow_raises_instead_of_colliding(field: str, value: int) -> None:
    address = {"seed": 0, "replicate": 0, "place": 0, "step": 0, "entity": 0, "k": 0} | {
        field: value
    }
    with pytest.raises(AddressError, match=f"{field} = {value}"):
        rng.draw(stream=Stream.REACT, **address)


def test_uniforms_stay_off_zero_and_one() -> None:
    lowest, highest = rng.uniform(0), rng.uniform(2**64 - 1)
    assert lowest == 2.0**-53
    assert 0.0 < lowest < highest < 1.0
    assert draws.uniform(np.uint64(2**64 - 1)) == highest
    assert draws.uniform(np.uint64(0)) == lowest


def edge_uniforms() -> list[float]:
    """The ends of the open interval, each power of two in it, and the root of a half, with their
    neighbours.
    """
    middle = [2.0**-e for e in range(1, 53)] + [rng.ROOT_HALF]
    near = [math.nextafter(x, y) for x in middle for y in (0.0, 1.0)]
    return [2.0**-53, 1.0 - 2.0**-53, *middle, *near]


def worst_ulps(waiting: Callable[[float], float], u: list[float]) -> float:
    """Largest departure from -log(u), correct to 40 digits, in units of its last place."""
    with localcontext(prec=40):
        exact = [-Decimal(x).ln() for x in u]
        found = [Decimal(waiting(x)) for x in u]
        return max(
            float(abs(a - b)) / math.ulp(float(b)) for a, b in zip(found, exact, strict=True)
        )


def test_exponential_is_minus_the_logarithm() -> None:
    """Exact to a unit in the last place at 5000 random numbers and all edges; the last term
    but one of the series left out is caught.
    """
    u = rng.uniforms(rng.entity_words(5, 0, 0, Stream.REACT, 0, 0, 5_000)).tolist()
    assert worst_ulps(rng.exponential, u + edge_uniforms()) <= 1.0

    def cut_short(x: float) -> float:
        m, e = math.frexp(x)
        m, e = (m + m, e - 1) if m < rng.ROOT_HALF else (m, e)
        s = (m - 1) / (m + 1)
        return rng.exponential(x) + 2 / 19 * s**19

    assert worst_ulps(cut_short, u) > 1.0


def test_waiting_times_agree_between_interpreter_and_compiler() -> None:
    """They must not depend on the engine: 2e5 values and the edges, equal to the last bit; the C
    library's logarithm is told apart.
    """
    import numba

    @numba.njit(error_model="numpy")
    def compiled(x: np.ndarray) -> np.ndarray:
        out = np.empty_like(x)
        for i in range(x.size):
            out[i] = draws.exponential(x[i])
        return out

    u = rng.uniforms(rng.entity_words(5, 0, 0, Stream.REACT, 0, 0, 200_000)).tolist()
    u += edge_uniforms()
    found = compiled(np.array(u))
    assert np.array_equal(found, [rng.exponential(x) for x in u])
    assert not np.array_equal(found, [-math.log(x) for x in u])


def test_neighbouring_addresses_are_independent() -> None:
    """Chi-square over a 16 x 16 table of neighbours in each field; false alarm 1e-6 over 5 fields.

    A planted bug, one number shared by two neighbours, must be caught.
    """
    n = 40_000

    def draws(**moved: int) -> np.ndarray:
        base = {"seed": 11, "replicate": 0, "place": 0, "step": 0, "entity": 3} | moved
        return rng.uniforms(rng.entity_words(stream=Stream.REACT, n=n, **base))

    def p_value(a: np.ndarray, b: np.ndarray) -> float:
        table, _, _ = np.histogram2d(a, b, bins=16, range=[[0, 1], [0, 1]])
        return float(stats.chisquare(table.ravel()).pvalue)

    moved = {"seed": 12, "replicate": 1, "place": 1, "step": 1, "entity": 4}
    neighbours = [draws(**{field: value}) for field, value in moved.items()]
    assert min(p_value(draws(), other) for other in neighbours) > 1e-6 / 5
    assert p_value(draws(), draws()) < 1e-6 / 5
