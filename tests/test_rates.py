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
from tiny import ASK, Key, Rates, Tiny, expected

from synapse_abm import layout as lay
from synapse_abm import network
from synapse_abm.model import SynapseModel
from synapse_abm.planting import extended, plant
from synapse_abm.scenario import Batch, Grid, Kinetics, Ligand, Reservoir, Scenario, Target

TOLERANCE = 1e-12


def three_receptors() -> Scenario:
    """Three ligands, one of them clamped, at three receptors of two kinds in one cell of two."""
    return Scenario(
        grid=Grid(width=2, height=1),
        dt_s=0.1,
        targets={
            "A": Target(kind="receptor", cells=((0, 0), (0, 0))),
            "B": Target(kind="receptor", cells=((0, 0), (1, 0))),
        },
        ligands={
            "x": Ligand(
                count=1,
                binding={
                    "A": Kinetics(kon_per_nM_s=0.013, koff_per_s=0.7),
                    "B": Kinetics(kon_per_nM_s=0.021, koff_per_s=1.9),
                },
            ),
            "y": Ligand(count=1, binding={"A": Kinetics(kd_nM=37.0, koff_per_s=0.3)}),
            "z": Ligand(
                clamped_nM=11.0,
                binding={
                    "A": Kinetics(kd_nM=5.0, koff_per_s=0.11),
                    "B": Kinetics(kd_nM=29.0, koff_per_s=0.23, kcat_per_s=0.05),
                },
            ),
        },
    )


def two_transporters() -> Scenario:
    """Serotonin and a drug at two transporters in three cells: everything else that can happen."""
    return Scenario(
        grid=Grid(width=3, height=1, spacing_um=0.2, depth_um=0.3),
        dt_s=0.1,
        targets={"SERT": Target(cells=((0, 0), (1, 0)))},
        ligands={
            "serotonin": Ligand(
                count=1,
                batches=(
                    Batch(size=2, cell=(2, 0), rate_per_s=1.7),
                    Batch(size=3, cell=(0, 0), rate_per_s=0.4, times_s=(0.5,)),
                ),
                binding={"SERT": Kinetics(kon_per_nM_s=0.023, koff_per_s=1.1, kcat_per_s=3.3)},
                return_per_s=2.1,
                metabolism_per_s=0.57,
                degradation_per_s=0.31,
            ),
            "drug": Ligand(
                reservoir=Reservoir(concentration_nM=83.0, exchange_per_s=2.9),
                degradation_per_s=0.19,
                binding={"SERT": Kinetics(kd_nM=1.3, koff_per_s=0.013)},
            ),
        },
    )


def everything() -> Scenario:
    """Both at once: three cells, two transporters, three receptors, three ligands."""
    transporters, serotonin = two_transporters(), two_transporters().ligands["serotonin"]
    sensed = {**serotonin.binding, "R": Kinetics(kd_nM=61.0, koff_per_s=0.9)}
    blocker = Ligand(clamped_nM=17.0, binding={"R": Kinetics(kd_nM=23.0, koff_per_s=0.41)})
    return transporters.model_copy(
        update={
            "targets": {
                **transporters.targets,
                "R": Target(kind="receptor", cells=((0, 0), (0, 0), (2, 0))),
            },
            "ligands": {
                "serotonin": serotonin.model_copy(update={"binding": sensed}),
                "drug": transporters.ligands["drug"],
                "blocker": blocker,
            },
        }
    )  # fmt: skip


PLACES = {
    "three receptors": (three_receptors(), {"x": 2, "y": 1}),
    "two transporters": (two_transporters(), {"serotonin": 2, "drug": 2}),
    "everything": (everything(), {"serotonin": 2, "drug": 1}),
}


def differ(found: Rates, wanted: Rates) -> bool:
    """Whether two lists of moves differ by more than rounding."""
    if found.keys() != wanted.keys():
        return True
    return any(abs(found[k] - wanted[k]) > TOLERANCE * wanted[k] for k in wanted)


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

EVENT = "a = bench.rate[c] * float(n1 * n2)"
BUGS = {
    "unbinding 1e-9 too fast": (
        EVENT, f"{EVENT} * (1.0 + 1e-9 * float(chem.channels[c, KIND] == 0))", 0,
    ),
    "one site counted for all": (EVENT, "a = bench.rate[c] * float(n1 * min(n2, 1))", 0),
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
