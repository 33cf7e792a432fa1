"""Mesa's whole surface: agent sets, collectors, batch runs, grid, copies, rules of one's own."""

from __future__ import annotations

import copy
import math
import pickle
from collections import Counter
from collections.abc import Callable
from typing import Any, Literal

import mesa
import numpy as np
import pytest
from mesa.discrete_space import Cell, CellAgent, OrthogonalVonNeumannGrid
from scenarios import crowded, everything, no_sites
from scipy import stats

from synapse_abm.core import mesa_clock as clock
from synapse_abm.core.errors import InputError, InputErrors
from synapse_abm.synapse.agents import BIND, EXIT, Drug, Molecule, Serotonin, Site, Transporter
from synapse_abm.synapse.agents.model import SynapseModel
from synapse_abm.synapse.agents.stepper import ReferenceStepper
from synapse_abm.synapse.engine.checkpoint import to_bytes
from synapse_abm.synapse.engine.invariants import check
from synapse_abm.synapse.scenario import Grid, Kinetics, Ligand, Reservoir, Scenario, Target

Engine = Literal["compiled", "agents"]
both = pytest.mark.parametrize("engine", ["compiled", "agents"])
FALSE_ALARM = 1e-7  # of each statistical test here; fewer than ten, so below 1e-6 in all


def made(engine: Engine = "compiled", steps: int = 30, **options: Any) -> SynapseModel:
    model = SynapseModel(everything(), rng=3, engine=engine, **options)
    model.run(steps)
    return model


# --- agent sets -----------------------------------------------------------------------------------


@both
def test_agent_sets_select_get_aggregate_and_group(engine: Engine) -> None:
    model = made(engine)
    bound = model.agents.select(lambda a: isinstance(a, Site) and a.is_bound)
    assert len(bound) == sum(model.store.totals[: len(model.names.pairs)]) > 0
    assert model.agents.agg("is_bound", sum) == len(bound) + sum(
        m.is_bound for m in model.agents if isinstance(m, Molecule)
    )
    groups = model.agents_by_type[Serotonin].groupby("compartment").count()
    assert groups["free"] == model.free("serotonin")
    assert set(model.agent_types) == set(model.agents_by_type)
    ids = model.agents.get("unique_id")
    assert len(set(ids)) == len(ids)
    assert min(ids) == model.sites[0].unique_id == 10**9


@both
def test_agent_sets_act_on_their_agents(engine: Engine) -> None:
    model, met = made(engine), Counter[int]()

    def meet(agent: Any) -> int:
        met[agent.unique_id] += 1
        return int(agent.unique_id)

    drugs = model.agents_by_type[Drug]
    drugs.do(meet)
    drugs.shuffle_do(meet)
    assert sorted(drugs.map(meet)) == sorted(met)
    assert set(met.values()) == {3}
    drugs.set("label", "seen")  # kept with the view, as long as the molecule is here
    model.run(1)
    staying = [m for m in model.agents_by_type[Drug] if m.unique_id in met]
    assert staying
    assert {m.label for m in staying} == {"seen"}
    assert all(not hasattr(m, "label") for m in model.agents_by_type[Drug] if m not in staying)


@both
@pytest.mark.parametrize("looked_at", [False, True])
def test_agents_of_the_users_own_live_beside_ours(engine: Engine, looked_at: bool) -> None:
    """They count from 1, as in any model of Mesa's, whoever was looked at before."""
    model = made(engine)
    if looked_at:
        model.agents.get("unique_id")
    clerks = mesa.Agent.create_agents(model, 3)
    assert clerks.get("unique_id") == [1, 2, 3]
    clerk = clerks.to_list()[0]
    assert clerk in model.agents
    assert len({a.unique_id for a in model.agents}) == len(model.agents)
    clerk.remove()
    model.step()
    assert clerk not in model.agents


# --- collecting -----------------------------------------------------------------------------------


class Watched(SynapseModel):
    """Collects after each step, as Mesa's tutorials do it; plain keywords."""

    def __init__(
        self, drug_nM: float = 1.2, drug: str = "citalopram", rng: int | None = 0,
        engine: Engine = "compiled",
    ) -> None:  # fmt: skip
        changes = {
            "ligand.citalopram.clamped_nM": drug_nM,
            "ligand.citalopram.ligand": drug,
            "target.SERT.sites": 20,
        }
        super().__init__("binding", rng=rng, engine=engine, **changes)
        self.datacollector = mesa.DataCollector(
            model_reporters={"occupancy": bound_share},
            agent_reporters={"is_bound": "is_bound", "at": "coordinate", "cell": "cell"},
        )

    def step(self) -> None:
        super().step()
        self.datacollector.collect(self)


def bound_share(model: SynapseModel) -> float:
    return model.occupancy("SERT", "citalopram")


@both
def test_a_step_of_ones_own_is_taken_by_run_too(engine: Engine) -> None:
    """Three ways to advance, one table: nothing is passed over, although it would be faster."""
    frames = []
    for advance in (lambda m: [m.step() for _ in range(6)], lambda m: m.run(6),
                    lambda m: m.run_for(6)):  # fmt: skip
        model = Watched(rng=4, engine=engine)
        advance(model)
        frames.append(model.datacollector.get_model_vars_dataframe())
        agents = model.datacollector.get_agent_vars_dataframe()
        assert len(agents) == 6 * 20
        assert agents["cell"].iloc[-1].coordinate == agents["at"].iloc[-1] == (0, 0)
        assert (
            agents["is_bound"].groupby("Step").mean().tolist() == frames[-1]["occupancy"].tolist()
        )
    assert len(frames[0]) == 6
    assert frames[0].equals(frames[1])
    assert frames[0].equals(frames[2])


def test_agent_tables_of_both_engines_are_equal() -> None:
    """Molecule for molecule, by Mesa's own numbers."""
    tables = []
    for engine in ("compiled", "agents"):
        model = SynapseModel(everything(), rng=3, engine=engine)  # type: ignore[arg-type]
        collector = mesa.DataCollector(
            agent_reporters={"ligand": "ligand", "bound": "is_bound", "at": "coordinate"}
        )
        series = model.run(20, every=5, collector=collector)
        assert series.step.tolist() == [5, 10, 15, 20]
        tables.append(collector.get_agent_vars_dataframe().sort_index())
    assert tables[0].equals(tables[1])
    assert tables[0].index.get_level_values("Step").unique().tolist() == [5, 10, 15, 20]


@both
def test_the_standard_collector_says_what_the_series_says(engine: Engine) -> None:
    collecting = SynapseModel(everything(), rng=3, engine=engine, collect_every=4)
    collecting.run(12)
    frame = collecting.datacollector.get_model_vars_dataframe()
    series = SynapseModel(everything(), rng=3).run(12, every=4)
    assert frame["time_s"].tolist() == pytest.approx(series.seconds.tolist())
    assert frame["free_serotonin"].tolist() == series.free("serotonin").tolist()
    occupancy = series.occupancy("5-HT1A", "WAY-100635")
    assert frame["occupancy_5-HT1A_WAY-100635"].tolist() == occupancy.tolist()
    assert "free_WAY-100635" not in frame  # clamped: no molecules


def times(model: SynapseModel) -> list[float]:
    column = model.datacollector.get_model_vars_dataframe()["time_s"]
    return [round(seconds, 9) for seconds in column.tolist()]


def test_a_look_at_the_standard_collector_collects_once() -> None:
    model = SynapseModel(crowded(), rng=1, collect_every=0)
    for _ in range(3):
        model.run(2)
        assert model.datacollector is model.datacollector
    assert times(model) == [0.4, 0.8, 1.2]


@both
def test_the_standard_collector_has_the_start_each_step_and_each_record(engine: Engine) -> None:
    model = SynapseModel(crowded(), rng=1, engine=engine)
    collector = model.datacollector
    model.step()
    model.run(6, every=3)
    model.run(4, every=0)
    model.run_for(2)
    assert times(model) == [0.0, 0.2, 0.8, 1.4, 2.4, 2.6]
    assert model.datacollector is collector
    assert collector._collection_steps == [0, 1, 4, 7, 12, 13]
    same = SynapseModel(crowded(), rng=1)
    free = [same.free("drug"), *same.run(13, every=1).free("drug")]
    expected = [free[int(step)] for step in collector._collection_steps]
    assert collector.model_vars["free_drug"] == expected


# --- batch_run ------------------------------------------------------------------------------------


def test_batch_run_sweeps_anything_a_scenario_file_can_say() -> None:
    found = mesa.batch_run(
        SynapseModel,
        parameters={
            "scenario": "binding",
            "ligand.citalopram.ligand": ["citalopram", "paroxetine"],
            "ligand.citalopram.clamped": ["0.12 nM", "12 nM"],
            "run.dt": "20 s",
        },
        rng=[1, 2],
        max_steps=60,
        display_progress=False,
    )
    assert len(found) == 8
    at = {
        (r["ligand.citalopram.ligand"], r["ligand.citalopram.clamped"], r["iteration"]):
        r["occupancy_SERT_citalopram"] for r in found
    }  # fmt: skip
    for iteration in (0, 1):  # 9 and 91 % of 200 sites; 30 standard errors apart
        assert at["citalopram", "0.12 nM", iteration] < 0.4 < at["citalopram", "12 nM", iteration]
    assert at["citalopram", "12 nM", 0] != at["citalopram", "12 nM", 1]
    assert {r["time_s"] for r in found} == {1200.0}


def test_batch_run_runs_ready_made_scenarios_by_name() -> None:
    found = mesa.batch_run(
        SynapseModel,
        parameters={"scenario": ["binding", "release"], "collect_every": 5},
        max_steps=20,
        data_collection_period=1,
        display_progress=False,
    )
    assert Counter(r["scenario"] for r in found) == {"binding": 4, "release": 4}
    assert [r["Step"] for r in found if r["scenario"] == "release"] == [5, 10, 15, 20]


@pytest.mark.slow
def test_batch_run_of_a_class_of_ones_own_is_the_same_on_two_processes() -> None:
    plans = {"drug_nM": [0.5, 2.0], "drug": ["citalopram", "sertraline"]}
    tables = []
    for processes in (1, 2):
        found = mesa.batch_run(
            Watched, plans, number_processes=processes, rng=[7], max_steps=4,
            data_collection_period=2, display_progress=False,
        )  # fmt: skip
        shown = ("drug_nM", "drug", "Step", "AgentID", "occupancy", "is_bound", "at")
        tables.append(sorted(tuple(r[name] for name in shown) for r in found))
    assert len(tables[0]) == 4 * 2 * 20
    assert tables[0] == tables[1]


def test_without_a_seed_runs_differ_and_can_be_repeated() -> None:
    """Mesa's meaning of None, which batch_run gives unless it is told otherwise."""
    first, second = SynapseModel(crowded(), rng=None), SynapseModel(crowded(), rng=None)
    assert first.seed != second.seed
    again = SynapseModel(crowded(), rng=first.seed)
    for model in (first, again):
        model.run(10)
    assert to_bytes(first.simulation) == to_bytes(again.simulation)
    child = np.random.SeedSequence(5).spawn(1)[0]
    assert SynapseModel(crowded(), rng=child).seed == SynapseModel(crowded(), rng=child).seed


def test_a_generator_or_a_list_is_a_source_of_the_seed() -> None:
    """Recorded; the next model from one generator has another. Mesa's own ``rng`` is that which was
    given, as in Mesa.
    """
    generator, bits = np.random.default_rng(42), np.random.MT19937(42)
    first, second = (SynapseModel(crowded(), rng=generator) for _ in range(2))
    assert first.seed != second.seed
    assert first.rng is generator
    assert SynapseModel(crowded(), rng=np.random.default_rng(42)).seed == first.seed
    assert SynapseModel(crowded(), rng=bits)._rng["bit_generator"] == "MT19937"
    seeds = {SynapseModel(crowded(), rng=words).seed for words in ([1, 2], [2, 1], (1,), 1)}
    assert len(seeds) == 4
    again = SynapseModel(crowded(), rng=first.seed)
    for model in (first, again):
        model.run(10)
    assert to_bytes(first.simulation) == to_bytes(again.simulation)
    for wrong in ([1, -2], ["1"], [True], [0.5]):
        with pytest.raises(InputError, match="a Generator of NumPy's"):
            SynapseModel(crowded(), rng=wrong)


def test_running_ends_with_the_scenario() -> None:
    model = SynapseModel("release", **{"run.duration": "1.5 s", "run.dt": "10 ms"})  # type: ignore[arg-type]
    model.run_model()
    assert model.seconds == pytest.approx(1.5)
    assert not model.running
    model.run(1)  # one may go on
    assert SynapseModel(everything()).running


# --- scenarios by name, with changes --------------------------------------------------------------


def test_changes_are_made_where_their_path_leads() -> None:
    model = SynapseModel(
        "release",
        **{  # type: ignore[arg-type]
            "ligand.serotonin.batches[0].size": np.int64(7),
            "grid.walls": "periodic",
            "run.burn_in": None,
            "name": "mine",
        },
    )
    assert model.synapse.ligands["serotonin"].batches[0].size == 7
    assert (model.synapse.grid.walls, model.synapse.name) == ("periodic", "mine")
    assert model.synapse.run is not None
    assert model.synapse.run.burn_in_s == 0
    rival = {"clamped": "3 nM", "binding": {"SERT": {"kd": "3 nM", "koff": "1 /s"}}}
    added = SynapseModel("binding", **{"ligand.rival": rival})  # type: ignore[arg-type]
    assert added.names.pairs == (("SERT", "citalopram"), ("SERT", "rival"))


def test_everything_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(InputErrors) as caught:
        SynapseModel(
            "binding",
            rng=-1,
            engine="agent",  # type: ignore[arg-type]
            agent_classes={"citalopran": Sticky, "SERT": Sticky, "citalopram": 3},  # type: ignore[dict-item]
            collect_every=1.5,  # type: ignore[arg-type]
            engin="agents",
            **{
                "ligand.citalopram.clamped": "5 mm",
                "run.seed": 4,
                "run.duration[3]": 5,
                "seed": 1,
                "ligand.citalopran.clamped": "5 nM",
                "target.SRT.sites": 3,
            },  # type: ignore[arg-type]
        )
    said = str(caught.value)
    for part in (
        "rng = -1", "engine = 'agent'", "did you mean agents?",
        "collect_every = 1.5", "keyword = 'engin'", "did you mean engine?",
        "ligand.citalopram.clamped = '5 mm'", "run.seed = 4", "give rng instead",
        "run.duration[3] = 5", "seed = 1", "did you mean citalopram?", "did you mean SERT?",
    ):  # fmt: skip
        assert part in said, part


@pytest.mark.parametrize("first", [3, 0.5, "x", [["y"]], [0, "z"], None, {"serotonin": 4}])
def test_a_change_within_what_is_no_table_is_refused(first: Any) -> None:
    changes = {"ligand": first, "ligand.serotonin.batches.0.size": 5}
    with pytest.raises((InputError, InputErrors), match="allowed is"):
        SynapseModel("release", **changes)


def test_a_table_given_by_keyword_stays_as_it_is() -> None:
    grid = {"width": 3, "height": 2}
    model = SynapseModel("binding", **{"grid": grid, "grid.width": 1, "grid.height": 1})  # type: ignore[arg-type]
    assert (model.plan.width, grid) == (1, {"width": 3, "height": 2})


def test_every_class_that_does_not_fit_is_named() -> None:
    scenario = everything()
    with pytest.raises(InputErrors) as caught:
        SynapseModel(
            scenario,
            agent_classes={  # type: ignore[dict-item]
                "citalopran": Sticky,
                "SERT": Sticky,
                "serotonin": Cooperative,
                "citalopram": "Sticky",
                "WAY-100635": Drug,
            },
        )
    said = str(caught.value)
    for part in (
        "'citalopran'", "did you mean citalopram?",
        "agent_classes['SERT'] = <class 'test_mesa.Sticky'>: allowed is", "derived from a site",
        "derived from a molecule", "give the class itself", "the ligand is clamped",
        "engine = 'compiled'", "Sticky.displacement()", "Cooperative.propensity()",
    ):  # fmt: skip
        assert part in said, part


class Rewired(SynapseModel):
    """Changes what the agents engine asks of a model."""

    def new_molecule(self, ligand: int, number: int, row: int) -> Molecule:
        return super().new_molecule(ligand, number, row)


def test_a_model_that_changes_the_step_needs_the_agents_engine() -> None:
    with pytest.raises(InputError, match=r"Rewired.new_molecule\(\).*give engine='agents'"):
        Rewired(crowded())
    Rewired(crowded(), engine="agents").run(2)


class Coloured(Drug):
    """Changes no rule."""

    colour = "orange"


def test_classes_that_change_no_rule_suit_both_engines() -> None:
    models = [
        SynapseModel(crowded(), rng=2, engine=engine, agent_classes={"drug": Coloured})
        for engine in ("compiled", "agents")
    ]
    for model in models:
        model.run(5)
        assert model.agents_by_type[Coloured].get("colour") == ["orange"] * 40
    assert to_bytes(models[0].simulation) == to_bytes(models[1].simulation)


# --- the grid -------------------------------------------------------------------------------------


def at(agent: Any) -> tuple[int, int]:
    """Where an agent is: ours know without the grid, agents of the user's own by their cell."""
    found: tuple[int, int] = getattr(agent, "coordinate", None) or agent.cell.coordinate
    return found


def assert_true(model: SynapseModel) -> None:
    """All that the grid says, against the agents one by one."""
    here = Counter(at(agent) for agent in model.agents)
    for cell in model.grid:
        assert isinstance(cell, Cell)
        assert len(cell.agents) == here[cell.coordinate]
        assert all(agent.cell is cell for agent in cell.agents)
        assert cell.is_empty == cell.empty == (here[cell.coordinate] == 0)
        assert not cell.is_full
    assert sum(len(cell.agents) for cell in model.grid.all_cells) == len(model.agents)
    assert set(model.grid.agents) == set(model.agents)
    assert {c.coordinate for c in model.grid.empties} == set(
        zip(*np.nonzero(model.grid.empty.data), strict=True)
    )
    masked = model.grid.select_cells(only_empty=True)
    assert len(masked) == len(model.grid.empties)


@both
def test_the_grid_is_true_whenever_it_is_asked(engine: Engine) -> None:
    model = SynapseModel(everything(), rng=3, engine=engine)
    assert_true(model)
    old = model.grid[1, 1], model.grid[1, 1].neighborhood, model.grid.all_cells
    for _ in range(4):
        model.run(7)
        assert_true(model)
        cell, around, whole = old  # asked for long ago, true now
        assert set(around.agents) == {a for a in model.agents if a.cell in list(around)}
        assert set(cell.agents) == {a for a in model.agents if a.coordinate == (1, 1)}
        assert len(list(whole.agents)) == len(model.agents)
    assert model.grid.select_random_empty_cell().is_empty


@pytest.mark.parametrize(("walls", "torus"), [("reflecting", False), ("periodic", True)])
def test_the_grid_is_the_lattice_the_molecules_walk_on(walls: str, torus: bool) -> None:
    grid = SynapseModel(everything(walls=walls)).grid
    assert isinstance(grid, OrthogonalVonNeumannGrid)
    assert (grid.width, grid.height, grid.torus, grid.capacity) == (6, 5, torus, None)
    corner = {cell.coordinate for cell in grid[0, 0].neighborhood}
    assert corner == {(0, 1), (1, 0)} | ({(5, 0), (0, 4)} if torus else set())


def test_who_does_not_ask_for_the_grid_has_none() -> None:
    model = made("agents")
    model.agents.get("coordinate")
    repr(model.agents.to_list())
    assert model._grid is None
    assert model._cell_index is None


class Shy(Drug):
    """Looks around before it hops; moves only out of a crowd."""

    truths = 0

    def displacement(self) -> tuple[int, int]:
        assert self in self.cell.agents
        assert all(other.coordinate == self.coordinate for other in self.cell.agents)
        Shy.truths += 1
        return super().displacement() if len(self.cell.agents) > 1 else (0, 0)


def test_the_grid_is_true_in_the_middle_of_a_step() -> None:
    """A rule may ask who else is here, while others have moved already and some have left."""
    model = SynapseModel(no_sites(), rng=1, engine="agents", agent_classes={"drug": Shy})
    model.run(15)
    assert Shy.truths > 50
    assert_true(model)


class Vesicle(CellAgent):
    """An agent of the user's own on our grid."""


@both
def test_copies_take_the_grid_with_all_that_is_on_it(engine: Engine) -> None:
    model = made(engine)
    guest = Vesicle(model)
    guest.cell = model.grid[5, 4]
    model.grid.create_property_layer("glia", 0.0)
    model.grid.glia.data[2, 3] = 7.0
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        (vesicle,) = twin.agents_by_type[Vesicle]
        assert vesicle.cell is twin.grid[5, 4] is not model.grid[5, 4]
        assert vesicle in twin.grid[5, 4].agents
        assert twin.grid[2, 3].glia == 7.0
        twin.run(5)
        assert_true(twin)
        assert {a.model for a in twin.agents} == {twin}
    guest.move_to(model.grid[0, 4])
    assert guest in model.grid[0, 4].agents
    assert not model.grid.empty.data[0, 4]
    guest.remove()
    assert_true(model)
    assert copy.deepcopy(model.grid[0, 0]) is model.grid[0, 0]
    assert pickle.loads(pickle.dumps(model.grid[0, 0])) == (0, 0)
    with pytest.raises(TypeError, match="copy or pickle the model"):
        copy.deepcopy(model.grid)


# --- moving and taking out by hand ----------------------------------------------------------------


def test_molecules_put_elsewhere_go_on_alike_on_both_engines() -> None:
    models = [SynapseModel(everything(), rng=3, engine=e) for e in ("compiled", "agents")]  # type: ignore[arg-type]
    for model in models:
        model.run(10)
        free = sorted(model.agents_by_type[Drug].select(lambda m: m.is_free), key=lambda m: m.id)
        free[0].cell = model.grid[5, 4]
        free[1].move_to(model.grid[0, 0])
        free[2].remove()
        assert (free[0].coordinate, free[1].coordinate) == ((5, 4), (0, 0))
        assert free[2] not in model.agents
        assert free[2].compartment == "outside"
        check(model.simulation.state, model.synapse)
        assert_true(model)
        model.run(20)
        check(model.simulation.state, model.synapse)
    assert to_bytes(models[0].simulation) == to_bytes(models[1].simulation)


@both
def test_what_cannot_be_done_by_hand_is_refused_with_the_reason(engine: Engine) -> None:
    model = SynapseModel(everything(), rng=3, engine=engine)
    seen = model.agents.to_list()
    model.run(60)
    before = to_bytes(model.simulation)
    gone = next(m for m in seen if isinstance(m, Molecule) and m.compartment == "outside")
    bound = next(m for m in model.agents if isinstance(m, Molecule) and m.is_bound)
    elsewhere = made().grid[0, 0]
    attempts: list[tuple[Callable[[], object], str]] = [
        (lambda: gone.move(1, 0), "a free molecule, if it is to be moved"),
        (lambda: gone.remove(), "outside>: allowed is a free molecule"),
        (lambda: bound.move_to(model.grid[0, 0]), "select"),
        (lambda: model.sites[0].remove(), "no protein moves"),
        (lambda: model.occupancy("SERT", "citaloprm"), "did you mean citalopram"),
        (lambda: model.free("serotonn"), "did you mean serotonin"),
        (lambda: Drug(model, "citalopram", 5), "made by the model alone"),
        (lambda: Transporter.create_agents(model, 2, "SERT", 5), "made by the model alone"),
        (lambda: Drug.create_agents(model, 2), "made by the model alone"),
        (lambda: Transporter.create_agents(model, 2), "made by the model alone"),
    ]
    free = next(m for m in model.agents if isinstance(m, Molecule) and m.is_free)
    attempts.append((lambda: free.move_to(elsewhere), "a cell of this model's grid"))
    for attempt, why in attempts:
        with pytest.raises(InputError, match=why):
            attempt()
    assert gone.cell is gone.coordinate is gone.site is None
    assert "outside" in repr(gone)
    assert to_bytes(model.simulation) == before


# --- time -----------------------------------------------------------------------------------------


class Diary:
    """Writes down when it was called."""

    def __init__(self, model: SynapseModel) -> None:
        self.model, self.pages = model, list[tuple[float, int]]()

    def note(self) -> None:
        self.pages.append((self.model.time, self.model.simulation.step_number))


@both
def test_events_come_in_time_however_the_model_is_advanced(engine: Engine) -> None:
    model = SynapseModel(everything(), rng=1, engine=engine)
    diary = Diary(model)
    model.run_for(3)
    model.schedule_event(diary.note, at=5.5)
    every_four = mesa.time.Schedule(interval=4.0, count=2)
    model.schedule_recurring(diary.note, every_four)
    model.run_until(20)
    model.run_for(2.5)  # ends between two steps
    model.run(2)
    model.run_for(0.5)
    assert diary.pages == [(5.5, 5), (7.0, 7), (11.0, 11)]
    assert (model.time, model.simulation.step_number) == (25.0, 25 - (model.time % 1 > 0))
    same = SynapseModel(everything(), rng=1)
    same.run(25)
    assert to_bytes(same.simulation) == to_bytes(model.simulation)


def test_without_mesas_private_clock_steps_are_taken_one_by_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As in a version of Mesa that keeps its schedule elsewhere: slower, and the same."""
    fast, slow = SynapseModel(everything(), rng=1), SynapseModel(everything(), rng=1)
    fast.run(20)
    monkeypatch.delattr(slow, "_event_list")
    assert not clock.only_steps_are_due(slow)
    monkeypatch.undo()
    monkeypatch.setattr(clock, "only_steps_are_due", lambda model: False)
    slow.run_for(20)
    assert to_bytes(slow.simulation) == to_bytes(fast.simulation)
    assert slow.time == fast.time


def test_many_runs_leave_nothing_on_the_schedule() -> None:
    model = SynapseModel(crowded(), rng=1)
    for _ in range(50):
        model.run(1)
    assert len(model._event_list._events) == 1


# --- rules of one's own ---------------------------------------------------------------------------


class Sticky(Drug):
    """Stays at the membrane, row 0, four times out of five."""

    def displacement(self) -> tuple[int, int]:
        if self.coordinate[1] == 0 and self.random.random() < 0.8:
            return 0, 0
        return super().displacement()


def walkers() -> Scenario:
    drug = Ligand(count=500, diffusion_um2_per_s=1.0)
    return Scenario(grid=Grid(width=1, height=10), dt_s=0.02, ligands={"drug": drug})


def tail(count: int, n: int, p: float) -> float:
    """Two-sided p-value of a binomial count."""
    return float(stats.binomtest(count, n, p).pvalue)


@pytest.mark.slow
def test_a_sticky_membrane_holds_as_many_as_it_must() -> None:
    """A symmetric walk that stays with probability 4/5 in a cell has weight 5 there: of ten rows
    the sticky one holds 5/14. 240 steps are 30 times the slowest relaxation, and more.
    """
    counts = {}
    for kind in (Drug, Sticky):
        model = SynapseModel(walkers(), rng=11, engine="agents", agent_classes={"drug": kind})
        model.run(240, every=0)
        counts[kind] = len(model.grid[0, 0].agents)
    assert tail(counts[Sticky], 500, 5 / 14) > FALSE_ALARM
    assert tail(counts[Drug], 500, 1 / 10) > FALSE_ALARM
    assert tail(counts[Drug], 500, 5 / 14) < 1e-12  # the control: without the rule, another law


class Cooperative(Transporter):
    """Binds four times as fast while the other half of its dimer is occupied.

    Sites 0 and 1 are a dimer, 2 and 3 the next, and so on.
    """

    gain = 4.0

    def propensity(self, event: int, ligand: str) -> float:
        rate = super().propensity(event, ligand)
        partner = next(site for site in self.neighbours if site.id == self.id ^ 1)
        return self.gain * rate if event == BIND and partner.is_bound else rate


KON_PER_PAIR, KOFF = 0.3, 1.0


def dimers(molecules: int) -> Scenario:
    """Two dimers and a few molecules in one cell: exact at any step."""
    grid = Grid.well_mixed(1.0)
    binding = {"SERT": Kinetics(kon_per_nM_s=KON_PER_PAIR * grid.molecules_per_nM, koff_per_s=KOFF)}
    drug = Ligand(count=molecules, binding=binding)
    return Scenario(grid=grid, dt_s=6.0, targets={"SERT": Target(sites=4)}, ligands={"drug": drug})


def law_of_dimers(molecules: int, gain: float) -> np.ndarray:
    """Stationary law over the 16 states of four sites, from the generator of the chain."""
    rates = np.zeros((16, 16))
    for state in range(16):
        free = molecules - state.bit_count()
        for site in range(4):
            if state >> site & 1:
                rates[state, state ^ 1 << site] = KOFF
            else:
                helped = gain if state >> (site ^ 1) & 1 else 1.0
                rates[state, state | 1 << site] = KON_PER_PAIR * helped * free
    generator = rates - np.diag(rates.sum(axis=1))
    equations = np.vstack([generator.T, np.ones(16)])
    found: np.ndarray = np.linalg.lstsq(equations, np.eye(17)[16], rcond=None)[0]
    return found


def visits(kind: type[Site], samples: int) -> np.ndarray:
    """How often each state of the four sites was found, six relaxation times or more apart."""
    model = SynapseModel(dimers(3), rng=2, engine="agents", agent_classes={"SERT": kind})
    counts = np.zeros(16)
    model.step()
    for _ in range(samples):
        model.step()
        counts[sum(1 << site.id for site in model.sites if site.is_bound)] += 1
    return counts


def fit(counts: np.ndarray, law: np.ndarray) -> float:
    """p-value of a chi-square test, states that are rarely met taken together."""
    expected = law * counts.sum()
    rare = expected < 10
    seen, wanted = counts[~rare].tolist(), expected[~rare].tolist()
    if expected[rare].sum() >= 10:
        seen, wanted = [*seen, counts[rare].sum()], [*wanted, expected[rare].sum()]
    elif rare.any():
        seen[-1] += counts[rare].sum()
        wanted[-1] += expected[rare].sum()
    return float(stats.chisquare(seen, wanted).pvalue)


@pytest.mark.slow
def test_cooperative_transporters_follow_their_exact_law(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rates differ between sites of one cell: sums and choices of the readable engine are exact.

    All 16 states of two dimers that share three molecules, 1000 samples. Of the rule as
    shipped 500 suffice: a gain of 4 there would add 280 to chi-square.
    """
    counts, law = visits(Cooperative, 1000), law_of_dimers(3, Cooperative.gain)
    assert fit(counts, law) > FALSE_ALARM
    assert fit(visits(Transporter, 500), law_of_dimers(3, 1.0)) > FALSE_ALARM
    assert fit(counts, law_of_dimers(3, 1.0)) < 1e-12  # the control: no cooperation
    with monkeypatch.context() as bug:  # planted: as if all were as fast as the first in the list
        bug.setattr(ReferenceStepper, "overridden", lambda self, agent: False)
        assert fit(visits(Cooperative, 1000), law) < 1e-9


class Hasty(Drug):
    """Leaves three times as fast."""

    def propensity(self, event: int) -> float:
        return super().propensity(event) * (3.0 if event == EXIT else 1.0)


def open_place() -> Scenario:
    """A reservoir; half of the cells have a site, so that they run a clock, and half do not."""
    reservoir = Reservoir(concentration_nM=10000, exchange_per_s=1.0)
    return Scenario(
        grid=Grid(width=5, height=2),
        dt_s=0.7,
        targets={"SERT": Target(cells=tuple((x, 0) for x in range(5)))},
        ligands={"drug": Ligand(count=600, reservoir=reservoir, degradation_per_s=0.5)},
    )


def fits(kind: type[Molecule], rate_per_s: float) -> list[bool]:
    """Whether the molecules of each row fit the Poisson law of arrivals that leave at this rate."""
    scenario = open_place()
    model = SynapseModel(
        scenario, rng=5, engine="agents", agent_classes={"drug": kind}, check_every_step=True
    )
    model.run(12, every=0)
    arrivals_per_s = 10000 * scenario.grid.molecules_per_nM / 2  # half of the cells
    low, high = stats.poisson.ppf(
        [FALSE_ALARM / 4, 1 - FALSE_ALARM / 4], arrivals_per_s / rate_per_s
    )
    rows = Counter(y for _, y in model.agents.select(agent_type=Molecule).get("coordinate"))
    return [bool(low <= rows[y] <= high) for y in (0, 1)]


@pytest.mark.slow
def test_a_rule_of_leaving_holds_in_every_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrivals at rate a, each leaving at 3 x 1 + 0.5 per s: Poisson with mean a/3.5, with a clock
    and in closed form; the rule as shipped has a/1.5.
    """
    assert fits(Hasty, 3.5) == [True, True]
    assert fits(Drug, 1.5) == [True, True]
    assert fits(Drug, 3.5) == [False, False]
    # planted: the rule is forgotten where no clock runs
    monkeypatch.setattr(ReferenceStepper, "ruled", lambda self, ligand: False)
    assert fits(Hasty, 3.5) == [True, False]


@pytest.mark.parametrize("answer", [-1.0, math.nan, math.inf, "fast", None])
def test_a_rule_that_answers_no_rate_is_told(answer: object) -> None:
    class Confused(Transporter):
        def propensity(self, event: int, ligand: str) -> Any:
            return answer

    model = SynapseModel(crowded(), engine="agents", agent_classes={"SERT": Confused})
    with pytest.raises(InputError, match=r"Confused.propensity\(\) = .* a number >= 0, in 1/s"):
        model.run(5)


def test_a_rule_changed_in_our_own_class_is_seen_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Drug, "displacement", lambda self: (1, 0))
    with pytest.raises(InputError, match=r"asks Drug.displacement\(\)"):
        SynapseModel(crowded())


@both
def test_molecules_do_not_step_by_themselves(engine: Engine) -> None:
    """The habit of old schedulers: it would hop twice."""
    model = SynapseModel(walkers(), engine=engine)
    model.step()
    with pytest.raises(InputError, match=r"call model.step\(\)"):
        model.agents.shuffle_do("step")
    with pytest.raises(InputError, match="move_to"):
        model.grid[0, 0].add_agent(model.agents.to_list()[0])


def test_a_scenario_that_batch_run_takes_apart_is_explained() -> None:
    with pytest.raises(InputError, match="put a Scenario into a list"):
        mesa.batch_run(SynapseModel, {"scenario": crowded()}, display_progress=False)
    found = mesa.batch_run(
        SynapseModel, {"scenario": [crowded()]}, max_steps=3, display_progress=False
    )
    assert len(found) == 1


def test_a_rule_that_moves_by_half_a_cell_is_told() -> None:
    class Half(Drug):
        def displacement(self) -> Any:
            return 0.5, 0

    with pytest.raises(TypeError, match="integer"):
        SynapseModel(walkers(), engine="agents", agent_classes={"drug": Half}).step()


# --- SolaraViz ------------------------------------------------------------------------------------


def test_mesas_visualization_shows_the_model() -> None:
    """Solara is none of our dependencies: `uv run --with 'mesa[viz]' pytest tests/test_mesa.py`."""
    solara = pytest.importorskip("solara", exc_type=ImportError)
    pytest.importorskip("altair", exc_type=ImportError)
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mesa.visualization import SolaraViz, SpaceRenderer, make_plot_component
        from mesa.visualization.components import AgentPortrayalStyle

        def portray(agent: Any) -> Any:
            return AgentPortrayalStyle(color="tab:red" if agent.is_bound else "tab:blue")

        model = made()
        for backend in ("matplotlib", "altair"):
            renderer = SpaceRenderer(model, backend=backend)
            renderer.setup_agents(portray)
            drawn = renderer.backend_renderer.collect_agent_data(model.grid, portray)
            assert sorted(map(tuple, drawn["loc"].tolist())) == sorted(
                model.agents.get("coordinate")
            )
            renderer.draw_structure()
            renderer.draw_agents()
        shown = Watched()
        page = SolaraViz(
            shown, SpaceRenderer(shown), model_params={"drug_nM": 1.2},
            components=[make_plot_component("occupancy")],
        )  # fmt: skip
        solara.render(page, handle_error=False)[1].close()
