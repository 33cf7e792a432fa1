"""What a Mesa user sees: agents as true views, made lazily, and a clock that counts steps."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import mesa
import numpy as np
import pytest
from scenarios import crowded, everything

from synapse_abm.core.errors import InputError, InputErrors
from synapse_abm.synapse.agents import Drug, Molecule, Receptor, Serotonin, Site, Transporter
from synapse_abm.synapse.agents.model import SynapseModel
from synapse_abm.synapse.engine.checkpoint import to_bytes
from synapse_abm.synapse.engine.invariants import InvariantError, check
from synapse_abm.synapse.engine.simulation import FIRST_CALL, Simulation
from synapse_abm.synapse.scenario import Grid, Kinetics, Ligand, Reservoir, Scenario, Target

SLOW_FOR_COUNT = 100_000


def test_views_say_what_the_arrays_say() -> None:
    model = SynapseModel(everything(), rng=1)
    model.run(50)
    kinds = model.agents_by_type
    assert set(kinds) == {Serotonin, Drug, Transporter, Receptor}
    assert len(kinds[Transporter]) == 9
    assert len(model.agents) == model.simulation.state.live() + 12
    for molecule in [*kinds[Serotonin], *kinds[Drug]]:
        assert molecule.is_bound == (molecule.compartment == "bound") == (molecule.site is not None)
        x, y = molecule.coordinate
        assert 0 <= x < 6
        assert 0 <= y < 5
        if molecule.is_bound:
            assert molecule.site.molecule is molecule
            assert molecule.site.coordinate == molecule.coordinate
            assert molecule.site.ligand == molecule.ligand
    bound = sum(site.is_bound for site in kinds[Transporter])
    assert bound == model.store.totals[: len(model.names.pairs)][[p[0] == "SERT" for p in
    model.names.pairs]].sum()  # fmt: skip


def test_a_clamped_ligand_occupies_without_molecules() -> None:
    clamped = Ligand(clamped_nM=10.0, binding={"5-HT1A": Kinetics(kd_nM=1, koff_per_s=1)})
    scenario = Scenario(
        grid=Grid(width=2, height=2),
        dt_s=5.0,
        targets={"5-HT1A": Target(kind="receptor", sites=50)},
        ligands={"WAY-100635": clamped},
    )
    model = SynapseModel(scenario)
    model.step()
    held = [site for site in model.agents if site.is_bound]
    assert len(held) == model.store.totals[0] > 25
    assert {(s.ligand, s.molecule) for s in held} == {("WAY-100635", None)}


def test_views_are_made_only_when_asked_for() -> None:
    scenario = Scenario(
        grid=Grid(width=300, height=300),
        dt_s=0.1,
        ligands={"drug": Ligand(count=SLOW_FOR_COUNT, diffusion_um2_per_s=1.0)},
    )
    model = SynapseModel(scenario, rng=1)
    model.run(3)
    assert not mesa.Model.agents.fget(model)  # Mesa's own book is still empty
    assert len(model.agents) == SLOW_FOR_COUNT


def test_the_state_is_small() -> None:
    """Below 100 bytes a molecule, all arrays counted."""
    scenario = Scenario(
        grid=Grid(width=300, height=300),
        dt_s=0.1,
        ligands={"drug": Ligand(count=SLOW_FOR_COUNT, diffusion_um2_per_s=1.0)},
    )
    store = SynapseModel(scenario).store
    assert sum(array.nbytes for array in store) < 100 * SLOW_FOR_COUNT


def leaving() -> Scenario:
    return Scenario(
        grid=Grid(width=5, height=5),
        dt_s=0.2,
        ligands={
            "drug": Ligand(
                count=10,
                diffusion_um2_per_s=0.01,
                reservoir=Reservoir(concentration_nM=50, exchange_per_s=2.0),
            )
        },
    )


@pytest.mark.parametrize("engine", ["compiled", "agents"])
def test_who_leaves_is_gone_and_who_comes_is_new(engine: str) -> None:
    model = SynapseModel(leaving(), rng=2, engine=engine)  # type: ignore[arg-type]
    before = model.agents.to_list()
    for _ in range(20):
        model.step()
    after = model.agents.to_list()
    gone = [m for m in before if m not in after]
    assert gone
    for molecule in gone:
        assert (molecule.compartment, molecule.cell, molecule.site) == ("outside", None, None)
        assert not molecule.is_bound
    assert {m.id for m in after if m not in before}.isdisjoint(m.id for m in before)


def test_the_two_engines_show_the_same_agents() -> None:
    def portrait(engine: str) -> list[object]:
        model = SynapseModel(everything(), rng=8, engine=engine)  # type: ignore[arg-type]
        for _ in range(15):
            model.step()
        molecules = [a for a in model.agents if isinstance(a, Molecule)]
        return sorted((m.ligand, m.id, m.coordinate, m.compartment) for m in molecules)

    assert portrait("compiled") == portrait("agents")


@pytest.mark.parametrize("engine", ["compiled", "agents"])
def test_copies_and_pickles_go_on_alike(engine: str) -> None:
    model = SynapseModel(everything(), rng=5, engine=engine)  # type: ignore[arg-type]
    for _ in range(4):
        model.step()
    assert len(model.agents) > 20  # views exist when the copy is made
    copies = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    for one in (model, *copies):
        one.step()
        one.step()
    for copied in copies:
        assert to_bytes(copied.simulation) == to_bytes(model.simulation)
        assert (copied.time, len(copied.agents)) == (model.time, len(model.agents))


def test_mesas_clock_and_events_keep_time() -> None:
    model = SynapseModel(everything(), rng=1)
    seen: list[tuple[float, int]] = []

    class Watch:
        def look(self) -> None:
            seen.append((model.time, model.simulation.step_number))

    watch = Watch()
    model.run(5, every=0)
    model.schedule_event(watch.look, at=8.0)
    model.run(5, every=0)
    model.run_for(2)
    model.step()
    assert seen == [(8.0, 8)]
    assert (model.time, model.simulation.step_number) == (13.0, 13)


def test_data_collector_reads_both_levels() -> None:
    model = SynapseModel(crowded(), rng=1)
    collector = mesa.DataCollector(
        model_reporters={"bound": lambda m: sum(s.is_bound for s in m.sites)},
        agent_reporters={"coordinate": "coordinate"},
    )
    for _ in range(3):
        model.step()
        collector.collect(model)
    frame = collector.get_model_vars_dataframe()
    assert frame["bound"].iloc[-1] == model.store.totals[0]
    assert len(collector.get_agent_vars_dataframe()) == 3 * (40 + 7)


class Jumper(Drug):
    """A drug that always moves one cell to the right."""

    def displacement(self) -> tuple[int, int]:
        return 1, 0


class Cooperative(Transporter):
    """A transporter that holds on ten thousand times longer."""

    def propensity(self, event: int, ligand: str) -> float:
        rate = super().propensity(event, ligand)
        return rate / 1e4 if event == 0 else rate


def test_a_student_overrides_how_molecules_move() -> None:
    scenario = Scenario(
        grid=Grid(width=10, height=1, walls="periodic"),
        dt_s=1.0,
        ligands={"drug": Ligand(count=3, start_cell=(4, 0), diffusion_um2_per_s=1.0)},
    )
    model = SynapseModel(scenario, engine="agents", agent_classes={"drug": Jumper})
    for _ in range(7):
        model.step()
    assert [m.coordinate for m in model.agents] == [(1, 0)] * 3


def test_a_student_overrides_how_transporters_hold() -> None:
    binding = {"SERT": Kinetics(kon_per_nM_s=1.0, koff_per_s=5.0)}
    scenario = Scenario(
        grid=Grid.well_mixed(1.0),
        dt_s=0.5,
        targets={"SERT": Target(sites=10)},
        ligands={"drug": Ligand(count=10, binding=binding)},
    )
    held = SynapseModel(scenario, engine="agents", agent_classes={"SERT": Cooperative})
    held.run(40)
    stock = SynapseModel(scenario, engine="agents")
    stock.run(40)
    assert held.store.totals[0] == 10 > stock.store.totals[0]


def test_overridden_rules_are_refused_where_they_would_be_ignored() -> None:
    with pytest.raises(ValueError, match="engine='agents'"):
        SynapseModel(crowded(), agent_classes={"drug": Jumper})
    with pytest.raises(ValueError, match="engine = 'fast': allowed is one of"):
        SynapseModel(crowded(), engine="fast")  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, "1", True])
def test_a_seed_that_is_none_is_refused(seed: object) -> None:
    with pytest.raises(InputError, match="a whole number from 0"):
        SynapseModel(crowded(), rng=seed)  # type: ignore[arg-type]


def test_numpy_integers_are_seeds() -> None:
    one, other = SynapseModel(crowded(), rng=np.int64(7)), SynapseModel(crowded(), rng=7)
    one.run(5)
    other.run(5)
    assert np.array_equal(one.store.molecules, other.store.molecules)


def test_compiled_calls_grow_from_a_few_steps_and_change_nothing() -> None:
    """A first call of many long steps could not be interrupted."""
    one, other = SynapseModel(crowded()).simulation, SynapseModel(crowded()).simulation
    sizes, attempt = list[int](), one._attempt

    def noting(steps: int, *rest: Any) -> bool:
        sizes.extend([steps] * (succeeded := attempt(steps, *rest)))
        return succeeded

    one._attempt = noting  # type: ignore[method-assign]
    one.run(40)
    one.run(60)
    assert sizes[0] == FIRST_CALL < 40
    assert all(sizes[n] <= 32 * max(sizes[:n]) for n in range(1, len(sizes)))
    assert sum(sizes) == 100
    for _ in range(100):
        other.run(1)
    assert to_bytes(one) == to_bytes(other)


@pytest.mark.parametrize("engine", ["compiled", "agents"])
def test_numbers_of_steps_are_whole_and_not_negative(engine: Any) -> None:
    model = SynapseModel(crowded(), engine=engine)
    with pytest.raises(InputErrors, match=r"steps = -1(.|\n)*every = 2.5"):
        model.run(-1, 2.5)  # type: ignore[arg-type]
    for every in (-1, True, "3"):
        with pytest.raises(InputError, match=r"every = .* a whole number of steps >= 0"):
            model.run(5, every)  # type: ignore[arg-type]
    assert model.time == 0
    with pytest.raises(ValueError, match="every = -1: allowed is a whole number"):
        SynapseModel(crowded()).simulation.run(5, -1)


@pytest.mark.parametrize(
    "damage",
    [
        lambda s: s.totals.__setitem__(0, s.totals[0] + 1),
        lambda s: s.sites[3].__setitem__(np.flatnonzero(s.sites[3] >= 0)[0], -1),
        lambda s: s.molecules[0].__setitem__(0, s.molecules[0, 1]),
        lambda s: s.events.__setitem__(2, s.events[2] + 1),
        lambda s: s.molecules[4].__setitem__(0, 3),
        lambda s: s.sites[2].__setitem__(np.flatnonzero(s.sites[3] >= 0)[0], -1),
    ],
    ids=["count", "site lost its molecule", "id twice", "event made up", "vanished", "no ligand"],
)
def test_invariants_notice_damage(damage: object) -> None:
    model = SynapseModel(crowded(), rng=1)
    model.run(30)
    check(model.simulation.state, model.synapse)
    damage(model.store)  # type: ignore[operator]
    with pytest.raises(InvariantError):
        check(model.simulation.state, model.synapse)


def test_sites_are_scattered_over_distinct_cells_first() -> None:
    scenario = Scenario(grid=Grid(width=4, height=4), dt_s=1.0, targets={"SERT": Target(sites=20)})
    cells = [site.coordinate for site in SynapseModel(scenario).sites]
    assert isinstance(SynapseModel(scenario).sites[0], Site)
    assert len(set(cells)) == 16
    assert len(set(cells[:16])) == 16


def test_a_place_with_nothing_in_it_can_be_run() -> None:
    series = Simulation(Scenario(grid=Grid(width=2, height=2), dt_s=1.0)).run(3, 1)
    assert series.seconds.tolist() == [1.0, 2.0, 3.0]
