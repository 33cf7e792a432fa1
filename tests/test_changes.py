"""A synapse changed while it runs: both engines alike, nothing made or lost, resumed to the bit."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scenarios import everything

from synapse_abm import Scenario, SynapseModel
from synapse_abm.core.errors import InputError, InputErrors
from synapse_abm.synapse.engine import layout as lay
from synapse_abm.synapse.engine.network import place_sites
from synapse_abm.synapse.engine.simulation import Simulation
from synapse_abm.synapse.scenario.changes import added, changed

type Step = tuple[int, dict[str, Any], dict[str, Any]]  # steps, then changes, then molecules


def with_chosen_step(scenario: Scenario) -> Scenario:
    """The same, its step chosen: each change chooses it anew."""
    fields = scenario.model_dump(mode="json", exclude={"dt_s"})
    return Scenario.model_validate({**fields, "accuracy": 1.0})


def random_change(draw: random.Random, scenario: Scenario) -> tuple[dict[str, Any], dict[str, Any]]:
    """One change of any kind that a scenario has room for."""
    changes, molecules = dict[str, Any](), dict[str, Any]()
    for name, ligand in scenario.ligands.items():
        here = f"ligand.{name}"
        if ligand.clamped_nM is not None:
            changes[f"{here}.clamped"] = f"{draw.choice([0, 1, 10, 100])} nM"
        else:
            molecules[name] = draw.choice([0, 1, 20, "5 nM"])
            changes[f"{here}.diffusion"] = f"{draw.choice([0, 0.1, 1])} um^2/s"
            changes[f"{here}.degradation"] = f"{draw.choice([0, 0.1, 1])} /s"
        if ligand.reservoir:
            changes[f"{here}.reservoir.concentration"] = f"{draw.choice([0, 10, 100])} nM"
            changes[f"{here}.reservoir.exchange"] = f"{draw.choice([0, 1, 3])} /s"
        if ligand.batches:
            changes[f"{here}.batches[0].rate"] = f"{draw.choice([0, 1, 5])} /s"
        for target in ligand.binding:
            constant = draw.choice(["koff", "kcat"])
            changes[f"{here}.binding.{target}.{constant}"] = f"{draw.choice([0.5, 2])} /s"
    for name, target in scenario.targets.items():
        if target.cells is None:
            changes[f"target.{name}.sites"] = draw.randrange(60)
    some = draw.sample(sorted(changes), draw.randrange(3))
    given = draw.sample(sorted(molecules), draw.randrange(2))
    return {key: changes[key] for key in some}, {key: molecules[key] for key in given}


def random_course(seed: int, scenario: Scenario) -> list[Step]:
    """A few stretches of a few steps with a change after each."""
    draw = random.Random(seed)
    return [
        (draw.randrange(1, 8), *random_change(draw, scenario)) for _ in range(draw.randrange(2, 6))
    ]


def state_of(model: SynapseModel) -> tuple[Any, ...]:
    """All that two engines must agree on: who is where, what was counted and when."""
    digest, store = hashlib.sha256(), model.simulation.state.store
    model.simulation.state.digest_into(digest)
    return (
        digest.hexdigest(), store.totals.tolist(), store.events.tolist(),
        str(store.last_s.tolist()), store.sites[lay.TARGET].tolist(),
        model.seconds, model.synapse.dt_s,
    )  # fmt: skip


def follow(model: SynapseModel, course: list[Step]) -> SynapseModel:
    """Run a course, its invariants checked after each step."""
    for steps, changes, molecules in course:
        model.run(steps)
        model.change(changes, molecules)
    model.run(4)
    return model


@pytest.mark.parametrize("seed", range(25))
def test_both_engines_do_the_same(seed: int) -> None:
    scenario = everything() if seed % 3 else with_chosen_step(everything())
    course = random_course(seed, scenario)
    models = [
        follow(SynapseModel(scenario, rng=seed, engine=engine, check_every_step=True), course)
        for engine in ("compiled", "agents")
    ]
    assert state_of(models[0]) == state_of(models[1])
    assert models[0].changes == models[1].changes


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(25, 125))
def test_both_engines_do_the_same_at_length(seed: int) -> None:
    test_both_engines_do_the_same(seed)


@pytest.mark.parametrize("seed", range(5))
def test_resumed_to_the_bit(seed: int, tmp_path: Path) -> None:
    scenario = with_chosen_step(everything()) if seed % 2 else everything()
    course = random_course(seed, scenario)
    whole = follow(SynapseModel(scenario, rng=seed), course)
    cut = SynapseModel(scenario, rng=seed)
    for number, (steps, changes, molecules) in enumerate(course):
        cut.run(steps)
        cut.change(changes, molecules)
        cut.save(tmp_path / f"{number}")
        cut = SynapseModel.resume(tmp_path / f"{number}", check_every_step=True)
    cut.run(4)
    assert state_of(cut) == state_of(whole)
    assert cut.changes == whole.changes


@pytest.mark.parametrize("seed", range(3))
def test_a_history_replayed_gives_the_same_run(seed: int) -> None:
    scenario = everything()
    first = follow(SynapseModel(scenario, rng=seed), random_course(seed + 40, scenario))
    again = SynapseModel(scenario, rng=seed)
    for change in first.changes:
        again.run(change.step - again.simulation.step_number)
        again.change(change.values, change.added)
    again.run(first.simulation.step_number - again.simulation.step_number)
    assert state_of(again) == state_of(first)


def test_a_change_that_changes_nothing_leaves_the_trajectory() -> None:
    scenario = everything()
    plain, told = (SynapseModel(scenario, rng=3) for _ in range(2))
    for _ in range(5):
        plain.run(7)
        told.run(7)
        told.change({"ligand.WAY-100635.clamped": "30 nM"})
    assert state_of(plain) == state_of(told)


def test_a_new_step_goes_on_from_where_time_was() -> None:
    scenario = with_chosen_step(everything())
    model = SynapseModel(scenario, rng=1)
    before = model.run(10, every=1)
    model.change({"ligand.serotonin.diffusion": "0.2 um^2/s"})
    after = model.run(10, every=1)
    dt_s = model.synapse.dt_s
    assert dt_s != scenario.dt_s
    assert dt_s == changed(scenario, {"ligand.serotonin.diffusion": "0.2 um^2/s"}).dt_s
    np.testing.assert_allclose(before.seconds, scenario.dt_s * np.arange(1, 11), rtol=1e-12)
    np.testing.assert_allclose(after.seconds, before.seconds[-1] + dt_s * np.arange(1, 11))


def test_releases_at_given_times_happen_once_whatever_the_step() -> None:
    fields = with_chosen_step(everything()).model_dump(mode="json", exclude={"dt_s"})
    batches = [{"size": 5, "cell": [1, 1], "times_s": [0.05 * n for n in range(1, 20)]}]
    fields["ligands"]["serotonin"] |= {"batches": batches}
    for seed in range(4):
        draw = random.Random(seed)
        model = SynapseModel(Scenario.model_validate(fields), rng=seed, check_every_step=True)
        while model.seconds < 1.2:
            model.run(draw.randrange(1, 9))
            value = f"{draw.choice([0.05, 0.1, 0.2, 0.4])} um^2/s"
            model.change({"ligand.serotonin.diffusion": value})
        released = int(model.run(1, every=1).count("released", "serotonin")[-1])
        assert released == 5 * 19


def test_sites_are_those_of_a_scenario_with_as_many() -> None:
    scenario = everything()
    simulation = Simulation(scenario, 5)
    for sites in (40, 3, 75, 0, 9):  # 30 cells: beyond 30 a cell has two, beyond 60 three
        simulation.change({"target.SERT.sites": sites})
        cells, targets = place_sites(simulation.scenario, simulation.address)
        stored = simulation.state.store.sites
        for target in range(2):
            here = stored[lay.SITE_CELL, stored[lay.TARGET] == target]
            assert sorted(here) == sorted(cells[targets == target])
        simulation.run(3)
        simulation.check()
    # The most there ever were at once, and the other target's three.
    assert stored.shape[1] == 75 + 3


def test_who_is_there_stays_who_it_is() -> None:
    model = SynapseModel(everything(), rng=2)
    model.run(20)
    sites = {site.id: site.coordinate for site in model.sites if site.target == "SERT"}
    ids = {m.id for m in model.agents if hasattr(m, "compartment")}
    bound = [x.molecule for x in model.sites if x.target == "SERT" and x.molecule]
    model.change({"target.SERT.sites": 0}, {"serotonin": 4})
    assert bound
    assert all(m.is_free for m in bound)
    now = {m.id for m in model.agents if hasattr(m, "compartment")}
    assert ids < now
    assert len(now - ids) == 4
    assert {site.target for site in model.agents if hasattr(site, "neighbours")} == {"5-HT1A"}
    model.change({"target.SERT.sites": 9})
    again = {site.id: site.coordinate for site in model.sites if site.target == "SERT"}
    assert again == sites
    model.change({"target.SERT.sites": 4})
    assert len([site for site in model.sites if site.target == "SERT"]) == 4


@pytest.mark.parametrize(
    ("change", "kept", "follows"),
    [
        ({"koff": "5 /s"}, "kon", "half"),
        ({"kon": "0.5 /(nM s)"}, "koff", "half"),
        ({"kd": "7 nM"}, "koff", "kon"),
        ({"kd": "7 nM", "kon": "0.5 /(nM s)"}, "kon given", "koff"),
        ({"kd": "7 nM", "koff": "5 /s"}, "koff given", "kon"),
    ],
)
def test_the_other_rate_stays(change: dict[str, str], kept: str, follows: str) -> None:
    scenario = with_chosen_step(everything())
    before = scenario.ligands["citalopram"].binding["SERT"]
    paths = {f"ligand.citalopram.binding.SERT.{key}": value for key, value in change.items()}
    after = changed(scenario, paths).ligands["citalopram"].binding["SERT"]
    if "given" not in kept:
        assert getattr(after, kept) == getattr(before, kept)
    assert after.half_nM == pytest.approx(after.koff / after.kon)
    if "kd" in change:
        assert after.koff / after.kon == pytest.approx(7.0)
    assert follows in ("half", "kon", "koff")


@pytest.mark.parametrize(
    ("changes", "molecules", "says"),
    [
        ({"ligand.citalopran.reservoir": None}, {}, "did you mean citalopram"),
        ({"target.SERT.site": 3}, {}, "did you mean sites"),
        ({"ligand.citalopram.binding.SERT.kof": "1 /s"}, {}, "did you mean koff"),
        ({"grid.width": 9}, {}, "another one is another run"),
        ({"run.seed": 9}, {}, "those of the whole run"),
        ({"ligand.serotonin.count": 9}, {}, "add them"),
        ({"target.SERT.sites": -1}, {}, "whole number"),
        ({"target.SERT.sites": 2.5}, {}, "whole number"),
        ({"ligand.WAY-100635.clamped": "-3 nM"}, {}, "or 0 where that makes sense"),
        ({"ligand.WAY-100635.clamped": 3}, {}, "a number with its unit"),
        ({"ligand.WAY-100635.clamped": "3 s"}, {}, "nM"),
        ({"ligand.WAY-100635.clamped": float("nan")}, {}, "unit"),
        ({"ligand.WAY-100635.clamped": None}, {}, "stays clamped or made of molecules"),
        ({"ligand.serotonin.clamped": "3 nM"}, {}, "clamped or made of molecules"),
        ({"ligand.citalopram.binding.5-HT1A.kon": "1 /(nM s)"}, {}, "binds to from the start"),
        ({"ligand.serotonin.batches[7].rate": "1 /s"}, {}, "one of the 2 batches"),
        ({}, {"serotonin": -1}, "from 0 to"),
        ({}, {"serotonin": 1.5}, "whole number"),
        ({}, {"serotonin": "4 s"}, "nM"),
        ({}, {"WAY-100635": 4}, "made of molecules"),
        ({}, {"sero": 4}, "did you mean serotonin"),
        ({}, 4, "a table such as"),
        (3, {}, "a table of values by their path"),
    ],
)
@pytest.mark.parametrize("engine", ["compiled", "agents"])
def test_what_cannot_be_done_changes_nothing(
    changes: Any, molecules: Any, says: str, engine: Any
) -> None:
    model = SynapseModel(everything(), rng=2, engine=engine)
    before = state_of(model)
    with pytest.raises((InputError, InputErrors), match="allowed") as raised:
        model.change(changes, molecules)
    assert says in str(raised.value)
    assert state_of(model) == before
    assert model.changes == ()


def test_a_history_stays_one_that_a_checkpoint_can_hold(monkeypatch: Any) -> None:
    monkeypatch.setattr("synapse_abm.synapse.engine.simulation.MOST_HISTORY", 1000)
    model = SynapseModel(everything(), rng=1)

    def many() -> None:
        for nM in range(20):
            model.change({"ligand.WAY-100635.clamped": f"{nM} nM"})

    with pytest.raises(InputError, match="characters to tell in one run"):
        many()
    held = model.synapse.ligands["WAY-100635"].clamped_nM
    assert held == len(model.changes) - 1  # the change that was refused changed nothing


def test_all_faults_at_once() -> None:
    with pytest.raises(InputErrors) as raised:
        SynapseModel(everything()).change({"grid.width": 2, "target.SERT.sites": -1}, {"x": 1})
    assert len(raised.value.faults) == 3


def test_amounts_are_molecules_or_concentrations() -> None:
    scenario = everything()
    nM = scenario.grid.molecules_per_nM
    assert added(scenario, {"serotonin": 40}) == {"serotonin": 40}
    assert added(scenario, {"serotonin": "100 nM"}) == {"serotonin": round(100 * nM)}
