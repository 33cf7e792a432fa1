"""The Reset of Mesa's viewer: a model made anew as it was first made, with what the sliders say.

Mesa 3.5 makes ``type(model)(**parameters, scenario=type(model.scenario)())`` if the class takes a
``scenario`` or any keyword, and ``type(model)(**parameters)`` otherwise. Parameters that a scenario
of Mesa's declares go to it instead. :func:`reset` says the same in a few lines, so that the rules
are tested where the viewer is not installed; the browser presses the button itself.
"""

from __future__ import annotations

import copy
import inspect
import pickle
from pathlib import Path
from typing import Any

import pytest
from mesa.experimental.scenarios import Scenario as MesaScenario
from scenarios import crowded

from synapse_abm import Drug, NeuronModel, SynapseModel
from synapse_abm.core.errors import InputError
from synapse_abm.neuron.scenario import Baseline

CLAMPED = "ligand.citalopram.clamped"


def reset(model: Any, **parameters: Any) -> Any:
    scenario = model.scenario
    known = inspect.signature(type(model).__init__).parameters
    theirs = {*scenario._scenario_defaults, "rng"} - {*known}
    given = {name: value for name, value in parameters.items() if name not in theirs}
    if "scenario" in known or any(p.kind == p.VAR_KEYWORD for p in known.values()):
        given["scenario"] = type(scenario)(
            **{name: value for name, value in parameters.items() if name in theirs}
        )
    return type(model)(**given)


class Sticky(Drug):
    """Never moves."""

    def displacement(self) -> tuple[int, int]:
        return 0, 0


class Dosed(SynapseModel):
    """Any keyword goes on."""

    def __init__(self, drug_nM: float = 1.0, **options: Any) -> None:
        super().__init__("binding", **{CLAMPED: f"{drug_nM} nM"}, **options)  # type: ignore[arg-type]


class Plain(SynapseModel):
    """Takes what it needs and no more."""

    def __init__(self, drug_nM: float = 1.0, rng: int | None = 0) -> None:
        super().__init__("binding", rng=rng, **{CLAMPED: f"{drug_nM} nM"})  # type: ignore[arg-type]


class Stepped(SynapseModel):
    """Nothing but a step of its own."""

    def step(self) -> None:
        super().step()


def dose(model: SynapseModel) -> float | None:
    return model.synapse.ligands["citalopram"].clamped_nM


@pytest.mark.parametrize("kind", [SynapseModel, Stepped])
def test_a_ready_made_scenario_comes_back_with_all_that_it_was_made_with(kind: Any) -> None:
    model = kind("binding", rng=7, collect_every=2, **{CLAMPED: "3 nM", "target.SERT.sites": 11})
    model.run(4)
    again = reset(model)
    assert (again.time, again.seed, again.collect_every, dose(again)) == (0.0, 7, 2, 3.0)
    moved = reset(reset(again, **{CLAMPED: "5 nM"}), rng=8)  # of a model that was itself reset
    assert (moved.seed, dose(moved), moved.n_sites) == (8, 5.0, 11)
    assert moved.synapse.name == "binding" and type(moved) is kind


def test_a_scenario_of_python_and_rules_of_ones_own_come_back() -> None:
    scenario = crowded()
    model = SynapseModel(scenario, engine="agents", agent_classes={"drug": Sticky})
    model.step()
    again = reset(model)
    assert again.synapse is scenario and again.engine == "agents"
    assert {type(agent) for agent in again.agents_by_type[Sticky]} == {Sticky}


def test_a_class_of_ones_own_is_made_as_mesa_makes_it() -> None:
    """With what the viewer gives, whether it takes any keyword or not."""
    assert dose(reset(Dosed(2.0), drug_nM=4.0)) == 4.0
    assert dose(reset(Plain(2.0), drug_nM=4.0)) == 4.0
    assert reset(Dosed(rng=3), rng=5).seed == reset(Plain(rng=3), rng=5).seed == 5


def test_another_scenario_can_be_chosen_as_source() -> None:
    model = SynapseModel(scenario="binding")
    assert reset(model, source="release").synapse.name == "release"
    assert reset(reset(model, source="release")).synapse.name == "release"


class Doses(MesaScenario):
    """Parameters as Mesa keeps them."""

    drug_nM: float = 2.0


class OfMesa(SynapseModel):
    """Reads its parameters from a scenario of Mesa's."""

    def __init__(self, scenario: Doses | None = None) -> None:
        scenario = scenario or Doses()
        changes = {CLAMPED: f"{scenario.drug_nM} nM"}
        super().__init__("binding", scenario=scenario, **changes)  # type: ignore[arg-type]


def test_a_scenario_of_mesas_stays_the_models() -> None:
    model = OfMesa(Doses(drug_nM=3.0, rng=9))
    assert (model.seed, dose(model), model.scenario.drug_nM) == (9, 3.0, 3.0)
    assert model.scenario.model is model and model.running
    with pytest.raises(ValueError, match="during model run"):
        model.scenario.drug_nM = 4.0
    assert dose(reset(model, drug_nM=6.0)) == 6.0
    assert SynapseModel("binding", scenario=Doses()).seed == 0
    with pytest.raises(InputError, match="rng = 4: allowed is 9, as in the scenario of Mesa's"):
        SynapseModel("binding", scenario=Doses(rng=9), rng=4)


def test_what_is_given_twice_or_not_at_all_is_told() -> None:
    with pytest.raises(InputError, match="given once, as source or as scenario"):
        SynapseModel("binding", scenario="release")
    for attempt in (lambda: SynapseModel(), lambda: SynapseModel(scenario=Doses())):
        with pytest.raises(InputError, match=r"^scenario = None: allowed is a Scenario"):
            attempt()
    with pytest.raises(InputError, match="a neuron is described by parameters"):
        NeuronModel(scenario="binding", baseline=Baseline())  # type: ignore[arg-type]


def test_a_neuron_comes_back_too() -> None:
    model = NeuronModel(drug_nM=3.0, baseline=Baseline(), rng=2, spike_trains=5)
    model.run(2)
    again = reset(model, drug_nM=4.0)
    assert (again.time, again.drug_nM, again.seed) == (0.0, 4.0, 2)
    assert again.parameters.spike_trains == 5


def test_copies_and_checkpoints_can_be_reset(tmp_path: Path) -> None:
    model = SynapseModel("binding", rng=3, **{CLAMPED: "3 nM"})  # type: ignore[arg-type]
    model.run(3)
    model.save(tmp_path / "half")
    for duplicate in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)),
                      SynapseModel.resume(tmp_path / "half")):  # fmt: skip
        assert duplicate.scenario.model is duplicate and duplicate.scenario.rng == 3
        assert (dose(reset(duplicate)), reset(duplicate).seed) == (3.0, 3)
    assert len({m.scenario._scenario_id for m in (reset(model), reset(model), model)}) == 3
