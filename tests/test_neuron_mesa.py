"""The neuron as a Mesa model: views, the cycle, rules of one's own, and two engines, one truth."""

from __future__ import annotations

import copy
import math
import pickle
from collections import Counter
from typing import Any, Literal

import mesa
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from synapse_abm import (
    Drug,
    Neuron,
    NeuronModel,
    Receptor,
    Serotonin,
    Transporter,
    pharmacology,
)
from synapse_abm.core.errors import InputError, InputErrors
from synapse_abm.neuron import scenario as par
from synapse_abm.neuron.agents.agents import (
    STATES,
    NeuronDrug,
    NeuronReceptor,
    NeuronSerotonin,
    NeuronTransporter,
)
from synapse_abm.neuron.engine import layout as lay
from synapse_abm.neuron.engine.simulation import COLUMNS
from synapse_abm.neuron.meanfield.ode import course
from synapse_abm.neuron.scenario import SLOW, Baseline, Exposure, neuron
from synapse_abm.neuron.slow import advanced, slow_inputs
from synapse_abm.synapse.agents import BIND, METABOLISE
from synapse_abm.synapse.engine.planting import plant

Engine = Literal["compiled", "agents"]
ENGINES: tuple[Engine, Engine] = ("agents", "compiled")
both = pytest.mark.parametrize("engine", ["compiled", "agents"])
FALSE_ALARM = 1e-7  # of each statistical test here; fewer than ten, so below 1e-6 in all

#: A twentieth of the default neuron: quick in plain Python.
SMALL: dict[str, Any] = {
    "receptors": 15, "terminal.volume_um3": 2.0, "soma.volume_um3": 2.0,
    "terminal.transporters": 50, "soma.transporters": 100,
}  # fmt: skip
#: Every channel open.
BUSY: dict[str, Any] = {
    "drug_nM": 5.0, "antagonist": "pindolol", "antagonist_nM": 20.0, "mao": 0.7,
    "terminal.leak_share": 0.3, "soma.leak_share": 0.2,
}  # fmt: skip


def made(engine: Engine = "compiled", steps: int = 0, **options: Any) -> NeuronModel:
    given = {"rng": 3, "baseline": Baseline(), "check_every_step": True} | SMALL | BUSY | options
    model = NeuronModel(engine=engine, **given)
    model.run(steps)
    return model


# --- two engines, one truth -----------------------------------------------------------------------


def same(a: NeuronModel, b: NeuronModel) -> bool:
    """Every number of the state, members in use only; averages and slow variables too."""
    x, y = a.simulation.state, b.simulation.state
    lists = all(
        np.array_equal(x.members[p, k, :n], y.members[p, k, :n])
        for p in range(2)
        for k, n in enumerate(x.counts[p])
    )
    rest = all(np.array_equal(u, v) for u, v in zip(x[:1] + x[2:], y[:1] + y[2:], strict=True))
    means = np.array_equal(a.latest, b.latest, equal_nan=True)
    return lists and rest and means and a.slow == b.slow


CASES: dict[str, dict[str, Any]] = {
    "every channel": {"speed": 5000.0},
    "one train, no drug": {"drug_nM": 0.0, "antagonist": None, "antagonist_nM": 0.0,
                           "spike_trains": 1},
    "terminal alone, mutant, no feedback": {
        "reach": "terminal", "transporters": 0.5, "feedback": False, "dt_s": 0.37,
    },
    "postsynaptic, by drive": {
        "postsynaptic_strength": 2.0, "recovery": "drive", "speed": 1e4, "drug_nM": 100.0,
    },
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seed", [1, 2**63 + 5])
def test_equal_after_every_step(case: str, seed: int) -> None:
    agents, compiled = (made(e, rng=seed, **CASES[case]) for e in ENGINES)
    for step in range(12):
        agents.step()
        compiled.step()
        assert same(agents, compiled), f"first difference after step {step + 1}"


def test_equal_at_full_size_and_when_a_drug_comes_and_goes() -> None:
    agents, compiled = (NeuronModel(rng=2, engine=e, baseline=Baseline()) for e in ENGINES)
    for nM in (0.0, 50.0, 0.0):
        for model in (agents, compiled):
            model.drug_nM = nM
            model.step()
        assert same(agents, compiled)
    assert agents.neuron.terminal.occupancy > 0


def test_the_cases_touch_every_event() -> None:
    """Otherwise the equality above says less than it seems."""
    events = made(steps=12).simulation.state.events
    assert (events[1] > 0).all()
    assert (events[0, : lay.C_R_UNBIND] > 0).all() and events[0, lay.RELEASED] > 0


@pytest.mark.parametrize(
    ("old", "new"),
    [("first + min(int(m * float(n)), n - 1)", "min(int(m * float(n)), n - 1)"),
     ("n = max(vesicular(state, place), 1)", "n = state.counts[place, L_POOL]"),
     ("state.meta[M_NEXT_DRUG] += 1", "state.meta[M_NEXT_DRUG] += 2")],
)  # fmt: skip
def test_a_planted_difference_is_found(old: str, new: str) -> None:
    """Who is in a vesicle and who is destroyed; the numbers of drug molecules. The control, which
    is interpreted too, changes nothing.
    """
    honest = made(steps=2)
    harmless = "n = max(vesicular(state, place), 1)", "n = max(1, vesicular(state, place))"
    for change, equal in (((old, new), False), (harmless, True)):
        model = made()
        model.simulation._kernels = plant(
            *change, file="neuron/engine/kernels.py", interpreted=True
        )
        model.run(2)
        assert same(honest, model) is equal


# --- the cycle ------------------------------------------------------------------------------------


@both
def test_serotonin_goes_round_and_each_molecule_is_somewhere(engine: Engine) -> None:
    model, before = made(engine), dict[int, str]()
    seen = Counter[tuple[str, str]]()
    for _ in range(40):
        model.step()
        now = {m.id: m.state for m in model.agents_by_type[NeuronSerotonin]}
        for number, state in now.items():
            seen[before.get(number, "made"), state] += 1
        for number in before.keys() - now.keys():
            seen[before[number], "gone"] += 1
        before = now
    for way in (("vesicle", "cleft"), ("cleft", "transporter"), ("transporter", "cytosol"),
                ("cytosol", "vesicle"), ("cleft", "receptor"), ("made", "cytosol"),
                ("cytosol", "gone"), ("cleft", "gone")):  # fmt: skip
        assert seen[way] > 0, way
    assert {state for _, state in seen} == {*STATES, "gone"} - {"outside"}


@both
def test_views_agree_with_the_counts(engine: Engine) -> None:
    model = made(engine, 10)
    state, parameters = model.simulation.state, model.neuron
    for at, place in enumerate(parameters.places):
        n = state.counts[at]
        here = Counter(type(a) for a in place.agents)
        assert here[NeuronSerotonin] == n[[0, 1, lay.L_BOUND, lay.L_R_SEROTONIN]].sum()
        states = Counter(a.state for a in place.agents if isinstance(a, Serotonin))
        assert states["cleft"] == place.free == n[lay.L_FREE]
        assert states["transporter"] == n[lay.L_BOUND]
        assert states["receptor"] == n[lay.L_R_SEROTONIN]
        assert states["vesicle"] == place.vesicular
        assert states["vesicle"] + states["cytosol"] == place.pool == n[lay.L_POOL]
        held = Counter(s.ligand for s in place.sites if isinstance(s, Transporter))
        assert held["citalopram"] == n[lay.L_BLOCKED] == round(place.occupancy * sum(held.values()))
    bound = model.agents.select(lambda a: isinstance(a, Drug | Serotonin) and a.is_bound)
    assert all(m.site.molecule is m and m.site.place == m.place for m in bound)
    sites = model.agents.select(lambda a: isinstance(a, Transporter | Receptor) and a.is_bound)
    assert len(sites) == len(bound) and {s.molecule for s in sites} == set(bound)
    assert parameters.activation == pytest.approx(
        sum((s.ligand == "serotonin") + 0.3 * (s.ligand == "pindolol")
            for s in parameters.soma.sites if isinstance(s, Receptor)), rel=0.5)  # fmt: skip
    ids = model.agents.get("unique_id")
    assert len(set(ids)) == len(ids) and parameters.unique_id == min(ids) == 1


def test_half_of_the_stock_is_in_vesicles_at_rest_and_a_spike_takes_a_constant_share() -> None:
    """Q(n) = 2n/(1 + n) is V(n)/V(1) of V = N N0/(N0 + N)."""
    model = NeuronModel(neuron(), baseline=Baseline())
    for place, free in zip(model.neuron.places, model.simulation.free, strict=True):
        assert place.vesicular == pytest.approx(place.pool / 2, abs=1)
        counts = model.simulation.state.counts
        for n in (0.1, 0.5, 2.0, 10.0):
            counts[place.at, lay.L_POOL] = round(n * free.pool)
            content = free.quantal_content * 2 * n / (1 + n)
            share = 2 * free.quantal_content / free.pool
            assert content / place.vesicular == pytest.approx(share, rel=0.01)


# --- Mesa's surface -------------------------------------------------------------------------------


class Labelled(NeuronDrug):
    """Changes no rule."""

    label = "seen"


@both
def test_agent_sets_collectors_and_types(engine: Engine) -> None:
    model = made(engine, agent_classes={"citalopram": Labelled}, collect_every=2)
    collector = mesa.DataCollector(
        model_reporters={"Hz": lambda model: model.neuron.rate_Hz},
        agenttype_reporters={Transporter: {"bound": "is_bound"}},
    )
    series = model.run(6, collector=collector)
    rows = collector.get_agenttype_vars_dataframe(Transporter)
    assert len(rows) == 6 * 150
    last = rows["bound"].groupby("Step").sum().iloc[-1]
    assert last == model.agents_by_type[NeuronTransporter].agg("is_bound", sum) > 0
    assert set(model.agents_by_type[Labelled].get("label")) == {"seen"}
    groups = model.agents_by_type[Serotonin].groupby("state").count()
    assert set(model.agents_by_type[Serotonin]) == set(model.agents_by_type[NeuronSerotonin])
    with pytest.raises(KeyError):
        _ = model.agents_by_type[int]
    assert sum(groups.values()) == len(model.index.serotonin)
    standard = model.datacollector.get_model_vars_dataframe()
    assert standard["seconds"].tolist() == [2.0, 4.0, 6.0]
    assert standard["terminal_serotonin_nM"].iloc[-1] == model.neuron.terminal.serotonin_nM
    assert set(SLOW) < set(standard)
    assert (len(series.seconds), series["spikes"].sum()) == (6, model.neuron.spikes)
    assert series["rate_Hz"].mean() == series.values[:, COLUMNS.index("rate_Hz")].mean()


def test_a_neuron_without_transporters_and_a_place_by_its_name() -> None:
    model = made(transporters=0.0, reach="soma", steps=3)
    assert math.isnan(model.neuron.terminal.occupancy)
    assert not model.agents_by_type.get(NeuronTransporter)
    assert model.exposure.terminal == 0.0 < model.exposure.soma


def test_who_left_is_outside_and_no_longer_among_the_agents() -> None:
    model = made()
    seen = model.agents.to_list()
    model.run(30)
    gone = [a for a in seen if a not in model.agents]
    assert {type(a) for a in gone} >= {NeuronSerotonin}
    assert all(a.state == a.compartment == "outside" and a.place is None for a in gone)
    assert all(a.site is None and "outside" in repr(a) for a in gone)


@both
def test_a_free_molecule_can_be_taken_out_and_nothing_else(engine: Engine) -> None:
    model = made(engine, 5)
    lost = model.simulation.state.events[:, lay.C_LOSE].sum()
    free, inside = (
        next(m for m in model.agents_by_type[NeuronSerotonin] if m.state == state)
        for state in ("cleft", "vesicle")
    )
    free.remove()
    assert free not in model.agents and free.state == "outside"
    assert model.simulation.state.events[:, lay.C_LOSE].sum() == lost + 1
    model.simulation.check()
    for attempt, why in ((inside.remove, "a free molecule"), (model.sites[0].remove, "no protein"),
                         (model.neuron.remove, "left where it is"),
                         (lambda: inside.move(1, 0), "a free molecule"),
                         (lambda: NeuronSerotonin(model, "serotonin", 1), "by the model alone"),
                         (lambda: Neuron(model), "by the model alone")):  # fmt: skip
        with pytest.raises(InputError, match=why):
            attempt()
    model.run(3)


class Diary:
    """Writes down when it was called."""

    def __init__(self, model: NeuronModel) -> None:
        self.model, self.pages = model, list[float]()

    def note(self) -> None:
        self.pages.append(self.model.seconds)


def test_copies_go_on_alike_and_events_come_in_time() -> None:
    model = made(steps=4)
    model.agents.get("unique_id")
    copies = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    diary = Diary(model)
    model.schedule_event(diary.note, at=6.5)
    model.run_for(5)
    assert diary.pages == [6.0] and model.seconds == model.time == 9.0
    for duplicate in copies:
        duplicate.run(5)
        assert same(duplicate, model)
        assert {a.model for a in duplicate.agents} == {duplicate}


def test_a_batch_sweeps_keywords() -> None:
    fixed = {"baseline": Baseline(), "collect_every": 1} | SMALL
    runs = pd.DataFrame(mesa.batch_run(
        NeuronModel, rng=[1, 2], max_steps=20, display_progress=False,
        parameters={"drug_nM": [0.0, 100.0], **fixed},
    ))  # fmt: skip
    assert len(runs) == 4
    held = runs.groupby("drug_nM")["terminal_occupancy"].mean()
    assert held[0.0] == 0.0 and held[100.0] > 0.5


# --- days -----------------------------------------------------------------------------------------


def test_days_pass_as_the_slow_equations_say() -> None:
    model = made(speed=5000.0, dt_s=0.5)
    slow = np.array(list(model.slow.values()))
    for _ in range(10):
        model.step()
        read = dict(zip(COLUMNS, model.latest.tolist(), strict=True))
        inputs = slow_inputs(model.parameters, model.simulation.baseline, read)
        slow = advanced(model.parameters, slow, inputs, 2500.0)
    assert list(model.slow.values()) == slow.tolist()
    assert model.days == pytest.approx(10 * 2500 / 86400)
    assert model.neuron.sensitivity == model.slow["sensitivity"] != 1.0


@pytest.mark.slow
def test_six_weeks_in_twenty_minutes_are_those_of_mean_field() -> None:
    """Brute force, one neuron, against mean field, within the departure that a course is granted
    too (``test_treatment``). From neuron to neuron sensitivity varies by 0.003, plasticity by 0.007
    (measured over eight). The control: where no day passes, firing stays down.
    """
    solution = course(neuron(), lambda t: Exposure.of_occupancy(0.85), [0.0, 42 * par.DAY_S])
    six_weeks, still = (NeuronModel(rng=4, speed=speed) for speed in (3024.0, 0.0))
    for model in (six_weeks, still):
        kinetics = pharmacology.ligand("citalopram").kinetics("SERT")
        model.drug_nM = kinetics.koff / kinetics.kon * 0.85 / 0.15
    series = six_weeks.run(1200)
    assert six_weeks.days == pytest.approx(42.0)
    for name in ("sensitivity", "plasticity"):
        assert series[name][-1] == pytest.approx(solution[name][-1], abs=0.05), name
    rate = series["rate_Hz"]
    assert rate[60:120].mean() < 0.7 < 0.88 < rate[-100:].mean()
    assert still.run(300)["rate_Hz"][-100:].mean() < 0.7
    assert still.neuron.sensitivity == 1.0


# --- rules of one's own ---------------------------------------------------------------------------


class Deaf(NeuronReceptor):
    """Binds nothing."""

    def propensity(self, event: int, ligand: str) -> float:
        return 0.0 if event == BIND else super().propensity(event, ligand)


class Steady(Neuron):
    """Fires at 3 Hz whatever its receptors say."""

    def target_rate(self) -> float:
        return 3.0


class Hurried(NeuronSerotonin):
    """Destroyed inside three times as fast."""

    def propensity(self, event: int) -> float:
        return super().propensity(event) * (3 if event == METABOLISE else 1)


def test_a_changed_rule_does_what_it_says() -> None:
    deaf = made("agents", 20, agent_classes={"5-HT1A": Deaf})
    assert deaf.simulation.state.events[1, [lay.C_R_BIND, lay.C_R_BLOCK]].sum() == 0
    assert deaf.neuron.soma.receptor_occupancy < 1 / 15 + 1e-9
    steady = made("agents", 24, agent_classes={"neuron": Steady})
    assert steady.neuron.rate_Hz == pytest.approx(3.0, abs=1e-9)
    expected = 20 * (3.0 * 24 - 2.0)  # from 1 Hz, relaxing within 1 s
    assert stats.poisson.cdf(steady.neuron.spikes, expected) > FALSE_ALARM
    assert stats.poisson.sf(steady.neuron.spikes, expected) > FALSE_ALARM
    assert stats.poisson.cdf(steady.neuron.spikes, 1.5 * expected) < 1e-12  # the control


def test_a_rule_of_single_molecules_is_asked_of_each() -> None:
    """Destroyed: Poisson given the pool's integral; the control is the rule as shipped."""
    tiny = {"terminal.transporters": 5, "soma.transporters": 5, "drug_nM": 0.0, "mao": 1.0}
    counts = {}
    for name, classes in (("own", {"serotonin": Hurried}), ("shipped", {})):
        model = made("agents", agent_classes=classes, **tiny)
        series = model.run(80)
        destroyed = model.simulation.state.events[:, lay.C_DEGRADE].sum()
        mean = 0.05 * (series["terminal_pool"] + series["soma_pool"]).sum()
        counts[name] = destroyed / mean, mean
    for name, factor in (("own", 3.0), ("shipped", 1.0)):
        ratio, mean = counts[name]
        limit = stats.norm.isf(FALSE_ALARM / 2) * math.sqrt(factor / mean)
        assert abs(ratio - factor) < limit < 1.0


# --- what is refused ------------------------------------------------------------------------------


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(InputErrors) as caught:
        NeuronModel(
            rng=-1, engine="fast", drug="WAY-100635", drug_nM=math.nan, antagonist_nM=2.0,  # type: ignore[arg-type]
            reach="dendrite", dt_s=0.0, spike_trains=0, collect_every=1.5,  # type: ignore[arg-type]
            agent_classes={"SERT": NeuronSerotonin, "SERTT": NeuronTransporter},
            **{"soma.volume_um3": -1.0},
        )  # fmt: skip
    said = str(caught.value)
    for part in ("rng = -1", "engine = 'fast'", "affinity at SERT", "drug_nM = nan",
                 "no antagonist", "dendrite", "dt_s = 0.0", "spike_trains", "collect_every",
                 "NeuronTransporter", "SERTT",
                 "soma.volume_um3"):  # fmt: skip
        assert part in said, part
    with pytest.raises(InputError, match="give engine='agents'"):
        made(agent_classes={"neuron": Steady})
    model = made(antagonist=None, antagonist_nM=0.0)
    for name, value in (("drug_nM", -1.0), ("mao", 0.0), ("antagonist_nM", 1.0)):
        with pytest.raises(InputError, match=name):
            setattr(model, name, value)
    with pytest.raises(InputError, match=r"neuron\.sensitivity"):
        model.neuron.sensitivity = math.inf
    for steps in (2.5, "3", math.nan, True, -1):
        with pytest.raises(InputError, match="a whole number of steps >= 0"):
            model.run(steps)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="did you mean rate_Hz"):
        _ = model.run(1)["rate_HZ"]
