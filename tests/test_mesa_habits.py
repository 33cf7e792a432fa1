"""What a user of Mesa does without thinking: sets, counts, collects, observes, removes.

Either it works as in any model of Mesa's, or it is refused with the reason.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Literal

import mesa
import pytest
from mesa.discrete_space import CellAgent, OrthogonalMooreGrid
from mesa.experimental.mesa_signals import ModelSignals, ObservableSignals
from scenarios import crowded, everything

from synapse_abm import Drug, NeuronModel, Receptor, Serotonin, SynapseModel, Transporter
from synapse_abm.core.errors import InputError
from synapse_abm.neuron.agents.agents import NeuronSerotonin, NeuronTransporter
from synapse_abm.neuron.scenario import Baseline
from synapse_abm.synapse.agents import Molecule, Site
from synapse_abm.synapse.engine.checkpoint import to_bytes
from synapse_abm.synapse.scenario import Grid, Kinetics, Ligand, Scenario, Target

Engine = Literal["compiled", "agents"]
both = pytest.mark.parametrize("engine", ["compiled", "agents"])
SMALL: dict[str, Any] = {
    "baseline": Baseline(), "terminal.transporters": 100, "soma.transporters": 50,
    "spike_trains": 5,
}  # fmt: skip


def made(engine: Engine = "compiled", steps: int = 20, **options: Any) -> SynapseModel:
    model = SynapseModel(everything(), rng=3, engine=engine, **options)
    model.run(steps, every=0)
    return model


# --- attributes -----------------------------------------------------------------------------------


class Mine(SynapseModel):
    """Has attributes of its own."""

    def __init__(self, drug_nM: float = 1.0) -> None:
        super().__init__(crowded())
        self.drug_nM, self.space, self.network = drug_nM, "mine", "also mine"

    def step(self) -> None:
        super().step()
        self.last_count = len(self.agents)


class MyNeuron(NeuronModel):
    """The same; it takes a drug by its name and keeps it, as many classes do."""

    def __init__(self, drug: str = "sertraline") -> None:
        super().__init__(drug=drug, **SMALL)
        self.drug, self.dose = drug, 20.0


def test_an_attribute_that_would_be_ignored_is_refused() -> None:
    synapse, neuron, mine, my_neuron = made(), NeuronModel(**SMALL), Mine(), MyNeuron()
    attempts: list[tuple[Any, str, Any, str]] = [
        (synapse, "drug_nM", 5, "an attribute of SynapseModel = 'drug_nM'.*model.change"),
        (synapse, "runing", False, "did you mean running"),
        (synapse, "engine", "agents", r"model\.engine = 'agents'.*give SynapseModel engine"),
        (neuron, "drug_nm", 5, "did you mean drug_nM"),
        (neuron, "transporters", 2.0, "an attribute of NeuronModel"),
        (neuron, "drug", "sertraline", "make a NeuronModel with it"),
        (my_neuron, "drug_nm", 5, "drug_nm'.*drug_nM, or a name that differs"),
        (my_neuron, "drug", "citalopram", "what it was made with"),
        (mine, "collectevery", 5, "collect_every"),
    ]
    for model, name, value, why in attempts:
        with pytest.raises(InputError, match=why):
            setattr(model, name, value)
    mine.step()
    assert (mine.drug_nM, mine.space, mine.last_count) == (1.0, "mine", len(mine.agents))
    synapse.running, synapse.space, synapse._own = False, "mine", 1
    neuron.drug_nM, neuron.speed, neuron.feedback = 4.0, 2.0, False


@both
def test_what_an_agent_is_cannot_be_set(engine: Engine) -> None:
    model = made(engine)
    molecule, site = model.agents_by_type[Drug].to_list()[0], model.sites[0]
    for agent, name in ((molecule, "ligand"), (molecule, "id"), (site, "target"), (site, "id")):
        with pytest.raises(InputError, match=f"{name} = 'x': .*an agent stays what it is"):
            setattr(agent, name, "x")
    with pytest.raises(InputError, match=r"Drug\.ligand"):
        model.agents_by_type[Drug].set("ligand", "serotonin")
    molecule.label = "seen"


# --- counting -------------------------------------------------------------------------------------


class Lazy(Drug):
    """Says of itself whether it is bound."""

    @property
    def is_bound(self) -> bool:
        return True


@both
def test_counts_and_occupancies_are_those_of_the_agents_and_make_none(engine: Engine) -> None:
    """Also after single molecules were looked at, out of order, and some were taken out."""
    model, seen = made(engine), 0
    for _ in range(6):
        counts = {kind: len(agents) for kind, agents in model.agents_by_type.items()}
        told = {
            (kind, name): agents.get(name)
            for kind, agents in model.agents_by_type.items()
            for name in ("is_bound", "id", *(["is_free"] if issubclass(kind, Molecule) else []))
        }
        total = len(model.agents)
        if engine == "compiled":
            assert len(model._all_agents) == seen
        for kind, number in counts.items():
            agents = model.agents_by_type[kind].to_list()
            assert len(agents) == number > 0
            for (own, name), values in told.items():
                if own is kind:
                    assert [getattr(agent, name) for agent in agents] == values
        assert total == len(model.agents.to_list()) == sum(counts.values())
        model.agents_by_type[Drug].select(lambda m: m.is_free).to_list()[0].remove()
        model.run(3, every=0)
        for cell in (model.synapse_grid[5, 4], model.synapse_grid[0, 0]):
            _ = list(cell.agents)
        seen = len(model._all_agents)


@both
def test_a_look_at_single_molecules_changes_nothing(engine: Engine) -> None:
    looked, not_looked = (SynapseModel(everything(), rng=3, engine=engine) for _ in range(2))
    for x, y in ((5, 4), (0, 0), (3, 2)):
        _ = list(looked.synapse_grid[x, y].agents)
    for model in (looked, not_looked):
        model.run(20)
    assert to_bytes(looked.simulation) == to_bytes(not_looked.simulation)


@both
def test_a_property_of_ones_own_is_asked(engine: Engine) -> None:
    model = SynapseModel(crowded(), engine=engine, agent_classes={"drug": Lazy})
    assert model.agents_by_type[Lazy].agg("is_bound", sum) == len(model.agents_by_type[Lazy]) == 40


class Own(Transporter):
    """Changes nothing."""


@both
def test_classes_are_there_by_their_base_too(engine: Engine) -> None:
    model = SynapseModel(crowded(), engine=engine, agent_classes={"SERT": Own})
    assert Transporter in model.agents_by_type and Own in model.agents_by_type
    assert len(model.agents_by_type[Transporter]) == len(model.agents_by_type[Own]) == model.n_sites
    assert Receptor not in model.agents_by_type and mesa.Model not in model.agents_by_type
    assert model.agents_by_type.get(Receptor) is None
    assert set(model.agents_by_type[Site]) == set(model.sites)
    neuron = NeuronModel(engine=engine, **SMALL)
    assert Transporter in neuron.agents_by_type and Serotonin in neuron.agents_by_type
    assert Drug not in neuron.agents_by_type
    for kind in (NeuronTransporter, NeuronSerotonin):
        agents = neuron.agents_by_type[kind]
        assert len(agents) == len(agents.to_list()) > 0
    assert len(neuron.agents) == len(neuron.agents.to_list())


def test_sets_can_be_selected_sorted_and_shuffled() -> None:
    model = made()
    drugs = model.agents_by_type[Drug]
    free = drugs.select(lambda m: m.is_free)
    assert 0 < len(free) < len(drugs) and free.select(agent_type=Drug) == free
    backwards = drugs.sort("id", ascending=False)
    assert backwards.get("id") == drugs.get("id")[::-1]
    groups = drugs.groupby("compartment").count()
    assert sum(groups.values()) == len(drugs)
    shuffled = model.agents_by_type[Drug].shuffle(inplace=True)
    assert set(shuffled) == set(drugs) and shuffled.get("id") != drugs.get("id")


def test_a_look_at_counts_costs_a_small_part_of_a_look_at_agents() -> None:
    """Asked for: a step with counts and occupancies takes less than twice a step without; with all
    agents it took twelve times as long. Here only the number of agents made is judged, and the
    ratio is printed (``pytest -s``).
    """
    binding = {"SERT": Kinetics(kd_nM=1.0, koff_per_s=1.0)}
    drug = Ligand(count=600, diffusion_um2_per_s=1.0, binding=binding)
    scenario = Scenario(
        grid=Grid(width=32, height=32), dt_s=0.02, targets={"SERT": Target(sites=1000)},
        ligands={"drug": drug},
    )  # fmt: skip

    def counts(model: SynapseModel) -> None:
        model.agents_by_type[Transporter].agg("is_bound", sum)
        len(model.agents_by_type[Drug])

    def agents(model: SynapseModel) -> None:
        for kind in (Transporter, Drug):
            sum(agent.is_bound for agent in model.agents_by_type[kind])

    taken = {}
    looks: dict[str, Callable[[SynapseModel], object]] = {
        "none": lambda _: None, "counts": counts, "agents": agents
    }  # fmt: skip
    for name, look in looks.items():
        model = SynapseModel(scenario, rng=1, collect_every=0)
        model.step()
        look(model)
        start = time.process_time()
        for _ in range(50):
            model.step()
            look(model)
        taken[name] = (time.process_time() - start) / 50
        assert (len(model._all_agents) > 0) is (name == "agents")
    per_step = ", ".join(f"{name} {1e6 * seconds:.0f} us" for name, seconds in taken.items())
    ratios = {name: taken[name] / taken["none"] for name in ("counts", "agents")}
    print(f"\na step at 1,600 agents with a look at {per_step}; times as long: {ratios}")


# --- collecting -----------------------------------------------------------------------------------


def test_batch_run_collects_as_mesa_does() -> None:
    rows = mesa.batch_run(
        SynapseModel, {"scenario": [crowded()]}, max_steps=12, data_collection_period=5,
        rng=[1], display_progress=False,
    )  # fmt: skip
    assert [row["Step"] for row in rows] == [0, 5, 10]
    model = SynapseModel(crowded(), rng=1)
    free = [model.free("drug"), *model.run(12, every=1).free("drug").tolist()]
    assert [row["free_drug"] for row in rows] == free[::5]
    neurons = mesa.batch_run(
        NeuronModel, {"drug_nM": 50.0} | SMALL, max_steps=4, data_collection_period=2,
        display_progress=False,
    )  # fmt: skip
    assert [row["seconds"] for row in neurons] == [0.0, 2.0, 4.0]


class Collecting(SynapseModel):
    """Collects in its step."""

    def step(self) -> None:
        super().step()
        if self.steps % 2 == 0:
            self.datacollector.collect(self)


@both
def test_run_collects_at_its_records(engine: Engine) -> None:
    steps = {"now": "steps"}
    model = SynapseModel(crowded(), engine=engine)
    model.datacollector = collector = mesa.DataCollector(
        model_reporters=steps, agenttype_reporters={Drug: {"free": "is_free"}}
    )
    model.run(9, every=3)
    model.run(2)
    model.run(4, every=0)
    assert collector.model_vars["now"] == [3, 6, 9, 10, 11]
    assert list(collector._agenttype_records) == [3, 6, 9, 10, 11]
    own = Collecting(crowded(), engine=engine)
    own.datacollector = mesa.DataCollector(steps)
    own.run(5)  # its step decides
    own.run(4, every=3)  # asked for: the ninth is its own, the eighth a record
    assert own.datacollector.model_vars["now"] == [2, 4, 6, 8]
    neuron = NeuronModel(engine=engine, **SMALL)
    neuron.datacollector = mesa.DataCollector(steps)
    neuron.run(2)
    assert neuron.datacollector.model_vars["now"] == [1, 2]


# --- observing and being born ---------------------------------------------------------------------


class Log:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.said: list[Any] = []

    def hear(self, message: Any) -> None:
        self.said.append((message.signal_type, message.additional_kwargs))


@both
def test_time_is_observed_step_by_step(engine: Engine) -> None:
    model, log = made(engine, steps=2), Log()
    model.observe("time", ObservableSignals.CHANGED, log.hear)
    model.run(3)
    model.run_for(2)
    assert [told["new"] for _, told in log.said] == [3.0, 4.0, 5.0, 6.0, 7.0]


def test_who_comes_and_who_leaves_is_told_alike_on_both_engines() -> None:
    told = []
    for engine in ("compiled", "agents"):
        model, log = made(engine, steps=2), Log()  # type: ignore[arg-type]
        for signal in (ModelSignals.AGENT_ADDED, ModelSignals.AGENT_REMOVED):
            model.observe("agents", signal, log.hear)
        by_step = []
        for _ in range(12):
            model.run(1)
            names = [(str(signal), next(iter(data["args"])).unique_id) for signal, data in log.said]
            # Who comes and goes within a step is an agent of the agents engine alone.
            there = [name for name in names if [n for _, n in names].count(name[1]) == 1]
            by_step.append(sorted(there))
            log.said.clear()
        assert sum(map(len, by_step)) > 5
        told.append(by_step)
    assert told[0] == told[1]


class Dated(Drug):
    """Writes down when it came."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.born = self.model.steps


class DatedSerotonin(NeuronSerotonin):
    """The same, in a neuron."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.born = self.model.steps


def test_an_agent_is_born_when_it_comes_or_the_engine_is_refused() -> None:
    model = SynapseModel(everything(), rng=3, engine="agents", agent_classes={"citalopram": Dated})
    born = {agent.id: 0 for agent in model.agents_by_type[Dated]}
    for step in range(1, 15):
        model.step()
        born |= {m.id: step for m in model.agents_by_type[Dated] if m.id not in born}
    assert {m.id: m.born for m in model.agents_by_type[Dated]}.items() <= born.items()
    assert len(set(born.values())) > 3
    own = {"serotonin": DatedSerotonin}
    neuron = NeuronModel(engine="agents", agent_classes=own, **SMALL)
    neuron.run(3)
    assert {m.born for m in neuron.agents_by_type[Serotonin]} == {0, 1, 2, 3}
    for attempt in (
        lambda: SynapseModel(everything(), agent_classes={"citalopram": Dated}),
        lambda: NeuronModel(agent_classes=own, **SMALL),
    ):
        with pytest.raises(InputError, match=r"Dated.*__init__\(\).*when somebody looks, not at b"):
            attempt()


# --- removing and stepping ------------------------------------------------------------------------


@both
@pytest.mark.parametrize("looked_at", [False, True])
def test_all_agents_can_be_removed(engine: Engine, looked_at: bool) -> None:
    model, neuron = made(engine), NeuronModel(engine=engine, **SMALL)
    for emptied in (model, neuron):
        own = mesa.Agent(emptied)
        if looked_at:
            emptied.agents.get("unique_id")
        emptied.remove_all_agents()
        assert len(emptied.agents) == 0 == len(list(emptied.agents))
        assert own not in emptied.agents and Transporter not in emptied.agents_by_type
        _ = emptied.sites
        assert len(emptied.agents.to_list()) == 0
        for advance in (emptied.step, lambda model=emptied: model.run(5)):
            with pytest.raises(InputError, match="make a new model"):
                advance()
    nothing = SynapseModel(Scenario(grid=Grid(width=1, height=1), dt_s=1.0), engine=engine)
    nothing.remove_all_agents()
    nothing.run(3)


@both
def test_a_step_of_molecules_alone_is_refused(engine: Engine) -> None:
    neuron = NeuronModel(engine=engine, **SMALL)
    for agents in (made(engine).agents_by_type[Drug], made(engine).agents_by_type[Transporter],
                   neuron.agents_by_type[NeuronSerotonin]):  # fmt: skip
        with pytest.raises(InputError, match=r"step\(\) = .*call model\.step\(\); agents of"):
            agents.shuffle_do("step")


# --- one's own grid, one vocabulary ---------------------------------------------------------------


@both
def test_a_grid_of_ones_own_stands_beside_that_of_the_synapse(engine: Engine) -> None:
    model = made(engine)
    inner = model.synapse_grid
    assert model.grid is inner
    model.grid = outer = OrthogonalMooreGrid((3, 3), random=model.random)
    glia = CellAgent(model)
    glia.cell = outer[1, 1]
    assert model.grid is outer and glia in outer.agents and glia not in inner.agents
    assert model.sites[0].cell in list(inner)
    model.run(2)
    del model.grid
    assert not hasattr(model, "grid") and not hasattr(model, "space")


def test_a_neuron_says_that_it_has_no_grid_unless_it_is_given_one() -> None:
    """Mesa's viewer asks for ``model.grid`` when it draws one."""
    neuron = NeuronModel(**SMALL)
    with pytest.raises(InputError, match="well mixed, without cells; show plots"):
        _ = neuron.grid
    neuron.grid = own = OrthogonalMooreGrid((2, 1), random=neuron.random)
    assert neuron.grid is own


@both
def test_one_vocabulary_says_where_a_molecule_is(engine: Engine) -> None:
    synapse = made(engine, steps=60)
    neuron = NeuronModel(engine=engine, drug_nM=20.0, **SMALL)
    neuron.run(3)
    words = {
        "free": {"cleft"}, "bound": {"transporter", "receptor"},
        "inside": {"cytosol", "vesicle"}, "outside": {"outside"},
    }  # fmt: skip
    for model in (synapse, neuron):
        seen = {(m.compartment, m.state) for m in model.agents if isinstance(m, Molecule)}
        assert {compartment for compartment, _ in seen} == {"free", "bound", "inside"}
        assert all(state in words[compartment] for compartment, state in seen)
    gone = synapse.agents_by_type[Drug].select(lambda m: m.is_free).to_list()[0]
    gone.remove()
    assert (gone.compartment, gone.state) == ("outside", "outside")
