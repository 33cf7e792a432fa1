"""A neuron that is changed while it runs: two engines, one course; resumed, judged by theory.

Beside every statistical test stands a bug that it must catch.
"""

from __future__ import annotations

import functools
import json
import math
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from scipy import stats

from synapse_abm import NeuronModel, Serotonin
from synapse_abm.core.errors import InputError, InputErrors
from synapse_abm.neuron import changes as changes_module
from synapse_abm.neuron.agents import checkpoint as checkpoint
from synapse_abm.neuron.agents.agents import NeuronDrug, NeuronTransporter
from synapse_abm.neuron.changes import Acting, History
from synapse_abm.neuron.engine import layout as lay
from synapse_abm.neuron.engine.simulation import NeuronSimulation
from synapse_abm.neuron.engine.simulation_grid import SpatialSimulation
from synapse_abm.neuron.ligands import Doses, at_autoreceptor, at_sert
from synapse_abm.neuron.meanfield import lna
from synapse_abm.neuron.meanfield.ode import Piece, Setting, Unbinding, changed_course, course
from synapse_abm.neuron.scenario import FAST, SLOW, Baseline, Exposure, PlaceGrid, neuron

Engine = Literal["compiled", "agents"]
#: A twentieth of the default neuron, which plain Python can do, with every channel open.
SMALL: dict[str, Any] = {
    "baseline": Baseline(), "receptors": 15, "terminal.volume_um3": 2.0, "soma.volume_um3": 2.0,
    "terminal.transporters": 50, "soma.transporters": 100, "terminal.leak_share": 0.3,
    "antagonist": "pindolol", "dt_s": 0.5, "speed": 5000.0, "check_every_step": True,
}  # fmt: skip
FALSE_ALARM = 1e-7  # of each of the comparisons below; fewer than fifty, so below 1e-5 in all

#: Values that each name may take, at random.
DRAWN: Mapping[str, Callable[[random.Random], Any]] = {
    "drug": lambda r: f"{r.uniform(0, 50):.3f} nM",
    "drug_nM": lambda r: r.choice([0, 5.0, r.uniform(0, 50)]),
    "occupied": lambda r: r.uniform(0, 0.95),
    "antagonist": lambda r: f"{r.uniform(0, 0.05):.4f} uM",
    "antagonist_nM": lambda r: r.uniform(0, 50),
    "mao": lambda r: r.uniform(0.05, 1.0),
    "reach": lambda r: r.choice(["both", "terminal", "soma"]),
    "feedback": lambda r: r.random() < 0.5,
    "sensitivity": lambda r: r.uniform(0, 1.5),
    "neuron.drive": lambda r: r.uniform(0.5, 1.5),
    "postsynaptic": lambda r: r.uniform(0, 1),
    "plasticity": lambda r: r.uniform(0, 1),
}


def protocol(seed: int, steps: int = 8) -> list[dict[str, Any]]:
    """A change, or none, before each of so many steps; drawn at random, never two for one thing."""
    chance = random.Random(seed)
    changes = list[dict[str, Any]]()
    for _ in range(steps):
        names = chance.sample(sorted(DRAWN), chance.choice([0, 0, 1, 2, 4]))
        quantities = dict[str, str]()
        for name in names:
            quantities.setdefault(changes_module.NAMES.get(name, name), name)
        changes.append({name: DRAWN[name](chance) for name in quantities.values()})
    return changes


def played(model: NeuronModel, protocol: list[dict[str, Any]]) -> NeuronModel:
    for change in protocol:
        if change:
            model.change(change)
        model.step()
    return model


def made(engine: Engine = "compiled", seed: int = 1, **options: Any) -> NeuronModel:
    return NeuronModel(rng=seed, engine=engine, **SMALL | options)


# --- two engines, one course ----------------------------------------------------------------------


def equal_over(seeds: range) -> None:
    for seed in seeds:
        agents, compiled = made("agents", seed), made("compiled", seed)
        for n, change in enumerate(protocol(seed)):
            for model in (agents, compiled):
                played(model, [change])
            same = checkpoint.to_bytes(agents) == checkpoint.to_bytes(compiled)
            assert same, f"seed {seed}: first difference after step {n + 1}, {change}"


def test_engines_are_equal_over_random_changes() -> None:
    equal_over(range(12))


@pytest.mark.slow
def test_engines_are_equal_over_two_hundred_protocols() -> None:
    equal_over(range(100, 300))


def test_the_protocols_touch_every_name() -> None:
    """Otherwise the equality above says less than it seems."""
    drawn = {name for seed in range(12) for change in protocol(seed) for name in change}
    assert drawn == {*DRAWN}


@pytest.mark.parametrize(
    "change",
    [{"drug": "9 nM"}, {"occupied": 0.5}, {"antagonist": "9 nM"}, {"mao": 0.2}, {"reach": "soma"},
     {"feedback": False}, {"sensitivity": 0.5}, {"drive": 1.5}, {"postsynaptic": 0.5},
     {"creb": 0.5}, {"bdnf": 0.5}, {"plasticity": 0.5}],
)  # fmt: skip
def test_every_change_matters(change: dict[str, Any]) -> None:
    own, other = (made(drug_nM=5.0) for _ in range(2))
    own.change(change)
    for model in (own, other):
        model.run(6)
    states = (model.simulation.checkpoint() for model in (own, other))
    same = all(np.array_equal(a, b) for a, b in zip(*(s.values() for s in states), strict=True))
    assert not (same and own.slow == other.slow)


def test_the_history_tells_what_was_done_and_does_it_again() -> None:
    model = played(made(), protocol(5))
    assert model.changes == tuple(
        (n * 0.5, change) for n, change in enumerate(protocol(5)) if change
    )
    told = json.loads(json.dumps(model.changes))  # plain: what a record can keep
    again = made()
    for time_s, change in told:
        again.run(round(time_s / 0.5) - again.simulation.steps)
        again.change(change)
    again.run(8 - again.simulation.steps)
    assert checkpoint.to_bytes(again) == checkpoint.to_bytes(model)
    model.changes[0][1].clear()  # copies
    assert again.changes == model.changes


def test_a_set_attribute_is_a_change() -> None:
    model, other = made(), made()
    model.run(1)
    model.drug_nM, model.mao, model.reach, model.feedback = np.float64(7), 0.5, "soma", False
    model.neuron.sensitivity = 0.4
    assert model.changes == (
        (0.5, {"drug_nM": 7.0}), (0.5, {"mao": 0.5}), (0.5, {"reach": "soma"}),
        (0.5, {"feedback": False}), (0.5, {"neuron.sensitivity": 0.4}),
    )  # fmt: skip
    other.run(1)
    other.change(
        {"drug": "0.007 uM", "mao": 0.5, "reach": "soma", "feedback": False, "sensitivity": 0.4}
    )
    for copy in (model, other):
        copy.run(4)
    assert (model.drug_nM, model.reach, model.feedback) == (7.0, "soma", False)
    states = (copy.simulation.checkpoint() for copy in (model, other))
    assert all(np.array_equal(a, b) for a, b in zip(*(s.values() for s in states), strict=True))
    assert model.slow == other.slow


def test_occupied_is_what_the_drug_alone_would_occupy() -> None:
    model = made()
    model.change({"occupied": 0.85, "reach": "terminal"})
    assert model.drug_nM == pytest.approx(1.2 * 0.85 / 0.15)  # Kd 1.2 nM
    assert model.exposure.terminal == pytest.approx(Exposure.of_occupancy(0.85).terminal)
    assert model.exposure.soma == 0.0


# --- what is there stays --------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["compiled", "agents"])
def test_a_change_moves_nothing_and_forgets_nobody(engine: Engine) -> None:
    model = made(engine, drug_nM=50.0, antagonist_nM=20.0)
    model.run(10)
    state = model.simulation.checkpoint()
    agents = {agent.unique_id: agent for agent in model.agents}
    where = {id: getattr(agent, "state", None) for id, agent in agents.items()}
    model.change({"drug": "0 nM", "antagonist_nM": 0, "mao": 0.1, "sensitivity": 0.3})
    after = model.simulation.checkpoint()
    assert all(np.array_equal(after[name], array) for name, array in state.items())
    assert {agent.unique_id: agent for agent in model.agents} == agents
    assert {id: getattr(agent, "state", None) for id, agent in agents.items()} == where
    bound = {m.id for m in model.agents_by_type[NeuronDrug]}
    model.run(4)
    left = {m.id for m in model.agents_by_type[NeuronDrug]}
    assert left < bound, "the drug leaves one by one, and none comes"
    assert set(model.agents_by_type[Serotonin]) & set(agents.values())


def survivors(seconds: float, planted: bool = False) -> tuple[int, int, int]:
    """Drug molecules at the terminal when the drug is kept to the soma, and those left after
    ``seconds``; bound at the soma.
    """
    model = NeuronModel(rng=4, baseline=Baseline(), drug_nM=50.0)
    model.run(100)
    before = int(model.simulation.state.counts[0, lay.L_BLOCKED])
    model.change({"mao": 0.9} if planted else {"reach": "soma"})
    model.run(round(seconds))
    after, soma = model.simulation.state.counts[:, lay.L_BLOCKED].tolist()
    return before, after, soma


def test_a_drug_that_no_longer_reaches_leaves_as_fast_as_it_unbinds() -> None:
    """Each molecule is still bound after t with probability exp(-koff t), independently: exact."""
    before, after, soma = survivors(100.0)
    share = math.exp(-0.012 * 100)  # koff of citalopram, 1/s
    law = stats.binom(before, share)
    assert before > 900 and soma > 1800
    low, high = law.ppf(FALSE_ALARM / 2), law.isf(FALSE_ALARM / 2)
    assert low <= after <= high
    assert not low <= survivors(100.0, planted=True)[1] <= high


# --- judged by the mean field ---------------------------------------------------------------------

#: Change before each stretch: uptake, then firing, then (by way of the pool) release.
STRETCH_S, READ_S = 400, 200
CHANGES: tuple[dict[str, Any], ...] = ({"occupied": 0.85}, {"sensitivity": 0.4}, {"mao": 0.3})
SETTINGS = [
    (Exposure.of_occupancy(0.85), 1.0),
    (Exposure.of_occupancy(0.85), 0.4),
    (Exposure(17 / 3, 17 / 3, mao=0.3), 0.4),
]


class Forgetful(NeuronSimulation):
    """Planted: some rates stay what they were at first."""

    forgotten = ""

    def set(self, *acting: Any, **by_name: float) -> None:
        first = self.steps == 0
        old = self.state.rates.copy(), self.state.numbers.copy()
        super().set(*acting, **by_name)
        if first:
            return
        rates, numbers = self.state.rates, self.state.numbers
        if self.forgotten == "uptake":
            rates[:, lay.C_BLOCK] = old[0][:, lay.C_BLOCK]
        elif self.forgotten == "firing":
            numbers[lay.P_FEEDBACK] = old[1][lay.P_FEEDBACK]
        elif self.forgotten == "release":
            rates[:, lay.C_DEGRADE] = old[0][:, lay.C_DEGRADE]


@functools.cache
def averages(forgotten: str) -> tuple[np.ndarray, np.ndarray]:
    """Averages of rate, serotonin and pools over the second half of each stretch, shape (3, 5), of
    a simulation and of the mean field that was changed alike.
    """
    model = NeuronModel(rng=8, baseline=Baseline())
    if forgotten:
        model.simulation.__class__ = type("Planted", (Forgetful,), {"forgotten": forgotten})
    model.run(5)
    rows = []
    for change in CHANGES:
        model.change(change)
        series = model.run(STRETCH_S)
        columns = [series["rate_Hz"], *(series.serotonin_nM(p) for p in ("terminal", "soma")),
                   series["terminal_pool"], series["soma_pool"]]  # fmt: skip
        rows.append([column[-READ_S:].mean() for column in columns])
    # Values in the middle of the steps are their averages, to second order.
    times = np.arange(round(model.seconds)) + 0.5
    theory = model.mean_field(times)
    starts = [round(time_s) for time_s, _ in model.changes]
    means = [
        [theory[name][start + STRETCH_S - READ_S : start + STRETCH_S].mean() for name in FAST]
        for start in starts
    ]
    return np.array(rows), np.array(means)


def departures(forgotten: str = "") -> np.ndarray:
    """Simulation less mean field and its known shift, in units of what is allowed; (3, 5).

    The standard deviation is that of linear noise (an average over T has variance S/T at most, with
    S = J^-1 D J^-T); mean field's shift is known to 15 % of it (test_moments).
    """
    simulated, theory = averages(forgotten)
    rows = [lna.RATE, lna.FREE, lna.PER_PLACE + lna.FREE, lna.POOL, lna.PER_PLACE + lna.POOL]
    away = np.empty_like(theory)
    for i, (exposure, sensitivity) in enumerate(SETTINGS):
        setting = Setting(neuron(), exposure, sensitivity, unbinding=Unbinding(0.012, 1.0))
        moments, equations = lna.moments(setting), lna._Equations(setting)
        inverse = np.linalg.inv(equations.jacobian(moments.settled))
        spectrum = inverse @ equations.diffusion(moments.settled) @ inverse.T
        size = moments.settled[rows]
        sd = np.sqrt(np.diag(spectrum)[rows] / READ_S) / size
        shift = moments.mean[rows] / size - 1
        allowed = stats.norm.isf(FALSE_ALARM / 2) * sd + 0.15 * np.abs(shift)
        away[i] = (simulated[i] / theory[i] - 1 - shift) / allowed
    return away


def test_a_changed_neuron_follows_its_mean_field() -> None:
    assert np.abs(departures()).max() < 1, departures()


@pytest.mark.parametrize(("forgotten", "stretch"), [("uptake", 0), ("firing", 1), ("release", 2)])
def test_a_change_that_does_not_arrive_is_caught(forgotten: str, stretch: int) -> None:
    away = np.abs(departures(forgotten)).max(axis=1)
    assert away[stretch] > 1 and (away[:stretch] < 1).all(), "not before it is made"


def test_the_mean_field_of_pieces_is_that_of_a_course() -> None:
    """Against ``course``, which takes a function of time; and values at a jump come after it."""
    parameters, drug = neuron(), Exposure.of_occupancy(0.8)
    pieces = [Piece(0.0, Exposure()), Piece(100.0, drug), Piece(250.0, Exposure(mao=0.5))]
    times = [0.0, 50.0, 100.0, 101.0, 249.0, 250.0, 400.0]

    def acts(t_s: float) -> Exposure:
        return next(piece.exposure for piece in reversed(pieces) if piece.begin_s <= t_s)

    own, other = (
        changed_course(parameters, pieces, times),
        course(parameters, acts, times, (100.0, 250.0)),
    )
    for name in FAST:
        np.testing.assert_allclose(own[name], other[name], rtol=1e-6)
    jumps = [
        Piece(0.0, drug), Piece(300.0, drug, slow={"sensitivity": 0.4, "creb": 0.2}),
        Piece(300.0, drug, feedback=False), Piece(500.0, drug, slow={"drive": 2.0}),
    ]  # fmt: skip
    for end in (400.0, 500.0):
        jumped = changed_course(parameters, jumps, [299.0, 300.0, end], speed=100.0)
        assert jumped["sensitivity"][0] < 1.0 and jumped["sensitivity"][1] == 0.4
        assert jumped["creb"][1] == 0.2 and jumped["drive"][2] == (2.0 if end == 500.0 else 1.0)
        # Without feedback firing goes to F0 (1 + g).
        assert jumped["rate_Hz"][2] == pytest.approx(2.8, rel=1e-6)
    slow = changed_course(parameters, jumps[:1], [0.0, 8640.0], speed=10.0)
    weeks = course(parameters, lambda t_s: drug, [0.0, 86400.0])
    for name in SLOW:
        assert slow[name][1] == pytest.approx(weeks[name][1], abs=1e-3)


# --- saved and resumed ----------------------------------------------------------------------------

FILM = protocol(11, 12)


@pytest.mark.parametrize("cut", range(0, 13, 3))
@pytest.mark.parametrize(("first", "second"), [("compiled", "agents"), ("agents", "compiled")])
def test_a_changed_run_goes_on_bit_for_bit(
    cut: int, first: Engine, second: Engine, tmp_path: Path
) -> None:
    played(made(first), FILM[:cut]).save(tmp_path / "neuron")
    resumed = NeuronModel.resume(tmp_path / "neuron", engine=second)
    assert checkpoint.to_bytes(resumed) == (tmp_path / "neuron").read_bytes()
    whole = played(made(), FILM)
    assert checkpoint.to_bytes(played(resumed, FILM[cut:])) == checkpoint.to_bytes(whole)
    assert resumed.changes == whole.changes
    times = [0.0, 2.0, 6.0]
    for name, values in whole.mean_field(times).items():
        assert values.tolist() == resumed.mean_field(times)[name].tolist()


def test_a_change_that_waits_for_its_step_is_kept(tmp_path: Path) -> None:
    model = played(made(), FILM[:5])
    model.change({"mao": 0.3, "sensitivity": 0.2})
    model.save(tmp_path / "neuron")
    resumed = NeuronModel.resume(tmp_path / "neuron")
    for copy in (model, resumed):
        copy.run(3)
    assert checkpoint.to_bytes(resumed) == checkpoint.to_bytes(model)


@pytest.mark.slow
def test_killed_and_resumed_it_comes_to_the_same(tmp_path: Path) -> None:
    script = (
        f"import os, signal, sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_neuron_changes import *\n"
        "model = made()\n"
        "for n, change in enumerate(FILM):\n"
        "    played(model, [change]); model.save(sys.argv[1])\n"
        "    if n == 6: os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    run = subprocess.run([sys.executable, "-c", script, str(tmp_path / "neuron")], check=False)
    assert run.returncode == -signal.SIGKILL
    resumed = played(NeuronModel.resume(tmp_path / "neuron"), FILM[7:])
    assert checkpoint.to_bytes(resumed) == checkpoint.to_bytes(played(made(), FILM))


# --- grids ----------------------------------------------------------------------------------------


def test_a_neuron_on_grids_is_changed_and_resumed_bit_for_bit() -> None:
    """Its engine has no Mesa model; the same history sets what acts on it."""
    small = neuron(
        receptors=15, spike_trains=3, terminal={"volume_um3": 2.0, "transporters": 50},
        soma={"volume_um3": 2.0, "transporters": 100},
    )  # fmt: skip
    doses = Doses(at_sert("citalopram"), at_autoreceptor("pindolol"))

    def simulation() -> SpatialSimulation:
        return SpatialSimulation(
            small,
            3,
            grid=PlaceGrid(cells=4),
            inhibitor=doses.inhibitor,
            antagonist=doses.antagonist,
        )

    whole, resumed, history = simulation(), simulation(), History(doses, Acting())
    slow = dict.fromkeys(("sensitivity", "drive", "postsynaptic"), 1.0)
    for change in protocol(2, 6):
        if change:
            made_slow = history.add(whole.seconds, change)
            slow |= {name: made_slow[name] for name in slow.keys() & made_slow.keys()}
        resumed.restore(whole.checkpoint())
        for copy in (whole, resumed):
            before = copy.checkpoint()
            copy.set(history.now.exposure(doses), **slow)
            after = copy.checkpoint()
            moved = [n for n in before if not np.array_equal(before[n], after[n], equal_nan=True)]
            assert {*moved} <= {"neuron_rates", "neuron_numbers"}, "molecules stay"
            copy.run(1)
            copy.check()
        for name, array in whole.checkpoint().items():
            assert np.array_equal(array, resumed.checkpoint()[name], equal_nan=True), name


# --- what is refused ------------------------------------------------------------------------------


def test_all_faults_are_told_at_once_and_nothing_is_half_changed() -> None:
    model = made()
    model.run(2)
    before = checkpoint.to_bytes(model)
    with pytest.raises(InputErrors) as caught:
        model.change({
            "reach": "soma", "sensitivity": math.nan, "mao": -0.5, "occupied": 1.2,
            "feedback": "no", "drug": "much", "antagonist": 5, "drive": True, "senitivity": 0.5,
            "grid": (8, 8), "spacing": "1 um", "dt_s": 0.1, "terminal.transporters": 7,
            "rate_Hz": 2.0, "transporters": 0.5, "speed": 2.0, "rng": 3, "engine": "agents",
            "collect_every": 2, 7: 7, "bdnf": "high", "creb": np.inf,
        })  # fmt: skip
    told = str(caught.value)
    for part in (
        "sensitivity = nan: allowed is a number >= 0", "mao = -0.5: allowed is a number >= 1e-06",
        "occupied = 1.2: allowed is a number >= 0 and <= 0.9999", "use 0.85 for 85 %",
        "feedback = 'no': allowed is True or False", "drug = 'much'", "the ligand itself stays",
        "drug = 'much': allowed is nothing beside occupied", "call it antagonist_nM",
        "drive = True", "did you mean sensitivity",
        "grid = (8, 8): allowed is left as it is while the neuron runs",
        "well mixed", "spacing = '1 um'", "dt_s = 0.1", "random numbers are counted by its steps",
        "terminal.transporters = 7", "the baseline was computed from it", "rate_Hz = 2.0",
        "transporters = 0.5", "speed = 2.0", "rng = 3", "resume with another one",
        "set the attribute of the model", "a name in changes = 7", "bdnf = 'high'", "creb = inf",
    ):  # fmt: skip
        assert part in told, part
    assert checkpoint.to_bytes(model) == before and model.changes == ()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({}, "values by name"), (None, "values by name"), ([("mao", 1)], "values by name"),
        ({"drug": "5"}, "write '5 nM'"), ({"drug": "5 pints"}, "not a unit of the same kind"),
        ({"drug": "5 uM/s"}, "not a unit of the same kind"), ({"drug": "-5 nM"}, "number >= 0"),
        ({"drug": "nan nM"}, "the ligand itself stays"), ({"drug_nM": "1e400 nM"}, "number >= 0"),
        ({"drug_nM": 1e10}, "<= 1e"), ({"drug": "9" * 60 + " nM"}, "at most 40 characters"),
        ({"occupied": "85 %"}, "a number >= 0"), ({"reach": 2}, "one of both, soma, terminal"),
        ({"sensitivity": [0.4]}, "a number >= 0"), ({"mao": 10**400}, "a number >= 1e-06"),
        ({"drug": "3 nM", "drug_nM": 3.0}, "nothing beside drug"),
    ],
)  # fmt: skip
def test_what_is_no_change_is_refused(change: Any, says: str) -> None:
    model = made()
    with pytest.raises((InputError, InputErrors), match=says):
        model.change(change)
    assert model.changes == ()


def test_an_antagonist_that_is_not_there_cannot_come() -> None:
    model = made(antagonist=None)
    with pytest.raises(InputError, match="name one when the model is made"):
        model.change({"antagonist": "5 nM"})
    model.change({"antagonist": "0 nM"})


def test_a_history_ends_where_it_could_no_longer_be_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes_module, "MOST_CHANGES", 3)
    model = made()
    model.change({"mao": 0.5, "drive": 0.9})
    model.change({"mao": 0.4})
    with pytest.raises(InputError, match="change it less often"):
        model.change({"mao": 0.3})
    assert model.mao == 0.4 and len(model.changes) == 2


def test_a_rule_cannot_change_the_step_that_asks_it() -> None:
    class Meddling(NeuronTransporter):
        def propensity(self, event: int, ligand: str) -> float:
            self.model.change({"mao": 0.5})  # type: ignore[attr-defined]
            return super().propensity(event, ligand)

    model = made("agents", agent_classes={"SERT": Meddling})
    with pytest.raises(InputError, match="between two steps"):
        model.step()
    model.change({"mao": 0.5})


@pytest.mark.parametrize(
    "times", [[], 3.0, [2.0, 1.0], [1.0, 1.0], [-1.0], [math.nan], ["1"], [[1.0]]]
)
def test_times_of_the_mean_field_are_checked(times: Any) -> None:
    with pytest.raises(ValueError, match="times_s"):
        made().mean_field(times)
