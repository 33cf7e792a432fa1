"""Rate audit: in every state of tiny places both engines have the rates of the textbook.

Deterministic: all states are listed, the engines are asked for their rates and made to carry out
every event with every member, and the generator that comes out is compared with one written from
the scenario alone. Tolerance 1e-12, relative: rounding, and nothing else.
"""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np
import pytest
from tiny import ASK, PLACES, TOLERANCE, Key, Tiny, differ, expected, two_transporters

from synapse_abm.synapse.agents.model import SynapseModel
from synapse_abm.synapse.engine import layout as lay
from synapse_abm.synapse.engine import network
from synapse_abm.synapse.engine.planting import extended, plant


@pytest.fixture(scope="module", params=PLACES)
def place(request: pytest.FixtureRequest) -> tuple[Tiny, list[Key]]:
    scenario, most = PLACES[request.param]
    tiny = Tiny(scenario)
    return tiny, list(tiny.states(most))


def test_arrays_and_states_are_the_same(place: tuple[Tiny, list[Key]]) -> None:
    tiny, keys = place
    assert len(set(keys)) == len(keys) > 200
    assert all(tiny.key(tiny.store(key)) == key for key in keys[::7])


def test_the_compiled_engine_has_the_generator_of_the_textbook(
    place: tuple[Tiny, list[Key]],
) -> None:
    tiny, keys = place
    assert tiny.network.space.active.size == tiny.scenario.grid.cells
    wrong = [key for key in keys if differ(tiny.moves(key), expected(tiny.scenario, key))]
    assert not wrong, wrong[0]


def test_the_sums_of_rates_agree(place: tuple[Tiny, list[Key]]) -> None:
    """The quick test of a cell and its clock add up the same rates in the same order: equal."""
    tiny, keys = place
    for key in keys:
        rates = tiny.rates(tiny.store(key))
        assert np.array_equal(rates[-2], rates[-1])
        total = sum(expected(tiny.scenario, key).values())
        assert math.isclose(rates[-1].sum(), total, rel_tol=TOLERANCE)


def test_the_readable_engine_says_the_same(place: tuple[Tiny, list[Key]]) -> None:
    tiny, keys = place
    model = SynapseModel(tiny.scenario, rng=1, engine="agents")
    for key in keys[::3]:
        store = tiny.store(key)
        said = tiny.readable_rates(model, store)
        assert np.array_equal(said, tiny.rates(store)[:-2]), key


def test_every_kind_of_event_was_there() -> None:
    kinds = set[int]()
    for scenario, _ in PLACES.values():
        kinds |= set(Tiny(scenario).network.chemistry.channels[:, lay.KIND].tolist())
    assert kinds == set(range(lay.RELEASE + 1))


# --- planted bugs ---------------------------------------------------------------------------------

EVENT = "a = scratch.rate[c] * float(n1 * n2)"
BUGS = {
    "unbinding 1e-9 too fast": (
        EVENT, f"{EVENT} * (1.0 + 1e-9 * float(chem.channels[c, KIND] == 0))", 0,
    ),
    "one site counted for all": (EVENT, "a = scratch.rate[c] * float(n1 * min(n2, 1))", 0),
    "what is transported stays outside": (
        "compartment = INSIDE if kind == TRANSPORT else FREE", "compartment = FREE", 1,
    ),
    "unbinding into a neighbouring cell": (
        "mol[CELL, row] = sites[SITE_CELL, site]",
        "mol[CELL, row] = (sites[SITE_CELL, site] + 1) % plan.cells", 1,
    ),
    "a batch released one by one": ("size = chem.release_size[index, at]", "size = 1", 1),
}  # fmt: skip


def finds(kernels: ModuleType, name: str) -> bool:
    """Whether the audit of some states objects."""
    scenario, most = PLACES[name]
    tiny = Tiny(scenario, kernels)
    keys = [key for at, key in enumerate(tiny.states(most)) if at % 41 == 0]
    return any(differ(tiny.moves(key), expected(tiny.scenario, key)) for key in keys)


def test_the_engine_left_to_python_has_no_bug() -> None:
    """The control of the planted ones below, which are run the same way."""
    assert not any(finds(extended(ASK, interpreted=True), name) for name in PLACES)


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found(bug: str) -> None:
    old, new, at = BUGS[bug]
    assert finds(plant(old, new, more=ASK, interpreted=True), list(PLACES)[at])


def test_rates_that_are_wrong_by_1e_11_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the scenario to the rates: k_on per nM taken with another Avogadro constant."""
    tiny = Tiny(two_transporters())
    key = next(k for k in tiny.states({"serotonin": 1, "drug": 0}) if k[0][0][0] == 1)
    assert not differ(tiny.moves(key), expected(tiny.scenario, key))
    honest = network.pair_rate_per_s
    monkeypatch.setattr(network, "pair_rate_per_s", lambda *at: honest(*at) * (1 + 1e-11))
    assert differ(Tiny(two_transporters()).moves(key), expected(tiny.scenario, key))
