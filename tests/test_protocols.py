"""What a scenario changes while it runs, and where it starts: read, in time, on both engines."""

from __future__ import annotations

import hashlib
import itertools
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scenarios import everything
from test_changes import random_change, state_of, with_chosen_step

from synapse_abm import Scenario, SynapseModel, theory
from synapse_abm.core.errors import InputError, InputErrors
from synapse_abm.synapse.engine import checkpoint, start
from synapse_abm.synapse.engine.simulation import Simulation
from synapse_abm.synapse.scenario.file import read_scenario
from synapse_abm.synapse.scenario.protocol import LEAST_STEPS, events, stretches

PROTOCOL = """
[target.SERT]
sites = 40
[ligand.drug]
clamped = "3 nM"
binding = { SERT = { kd = "1 nM", koff = "0.05 /s" } }
[ligand.serotonin]
count = 30
diffusion = "2 um^2/s"
binding = { SERT = { kd = "40 nM", koff = "2 /s" } }
[grid]
width = 6
height = 5
[run]
duration = "10 min"
sample_every = "5 s"
[[at]]
time = "60 s"
change = { "ligand.drug.clamped" = "12 nM" }
[[at]]
time = "300 s"
over = "120 s"
change = { "ligand.drug.clamped" = "0 nM" }
[[at]]
every = "10 s"
from = "400 s"
to = "450 s"
add = { serotonin = 40 }
"""


def read(tmp_path: Path, text: str = PROTOCOL) -> Scenario:
    path = tmp_path / "protocol.toml"
    path.write_text(text)
    return read_scenario(path)


# --- read -----------------------------------------------------------------------------------------


def test_events_come_in_order_and_a_ramp_has_the_integral_of_its_line(tmp_path: Path) -> None:
    scenario = read(tmp_path)
    listed = list(events(scenario, scenario.dt_s))
    times = [event.time_s for event in listed]
    assert times == sorted(times)
    assert (times[0], listed[0].changes) == (60.0, {"ligand.drug.clamped": "12 nM"})
    ramp = [event for event in listed if event.entry == 1]
    assert len(ramp) > LEAST_STEPS
    nM = [event.changes["ligand.drug.clamped_nM"] for event in ramp[:-1]]
    lengths = np.diff([event.time_s for event in ramp])
    assert np.dot(nM, lengths) == pytest.approx(0.5 * 12 * 120, rel=1e-12)
    assert ramp[-1].changes == {"ligand.drug.clamped_nM": 0.0}
    assert [(e.time_s, e.added) for e in listed if e.entry == 2] == [
        (400.0 + 10 * k, {"serotonin": 40}) for k in range(5)
    ]
    # What holds, each from when on: closed boxes hold all that was added.
    held = [part.ligands["serotonin"].count for _, part in stretches(scenario)]
    assert held[0] == 30
    assert held == sorted(held)


def test_the_step_divides_the_times_of_a_protocol(tmp_path: Path) -> None:
    scenario = read(tmp_path)
    for time in (60, 300, 120, 10, 400, 5):
        steps = time / scenario.dt_s
        assert steps == pytest.approx(round(steps), rel=1e-9)
    # Times without a common measure cost no more steps: changes come at the end of one.
    odd = read(tmp_path, PROTOCOL.replace('"60 s"', '"60.00017 s"'))
    assert odd.dt_s > scenario.dt_s / 10
    simulation = Simulation(odd)
    while simulation.timeline.done == 0:
        simulation.run(1)
    assert 60.00017 <= simulation.seconds - odd.dt_s <= 60.00017 + odd.dt_s


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"60 s"', '"310 s"', "times in order: at least 310 s"),
        ('"60 s"', '"900 s"', "before the end, 600 s"),
        ('"60 s"', '"-1 s"', "at[0].time"),
        ('"60 s"', '"60 parsecs"', "parsecs"),
        ('"120 s"', '"500 s"', "ends by the end of the run"),
        ('over = "120 s"', 'over = "120 s"\nevery = "3 s"', "either 'time'"),
        ('time = "60 s"', 'from = "60 s"', "either 'time'"),
        ('change = { "ligand.drug.clamped" = "12 nM" }', "", "something to change or to add"),
        ('{ "ligand.drug.clamped" = "0 nM" }', '{ "target.SERT.sites" = 3 }', "nothing in between"),
        ('{ "ligand.drug.clamped" = "12 nM" }', '{ "ligand.drugg.clamped" = "1 nM" }', "drug?"),
        ('{ "ligand.drug.clamped" = "12 nM" }', '{ "grid.width" = 3 }', "another run"),
        ("{ serotonin = 40 }", "{ serotonine = 40 }", "did you mean serotonin"),
        ("{ serotonin = 40 }", '{ drug = "3 nM" }', "made of molecules"),
        ("{ serotonin = 40 }", "{ serotonin = -4 }", "from 0 to"),
        ('to = "450 s"', 'to = "350 s"', "later than 'from'"),
        ('every = "10 s"', 'every = "0.1 ms"', "at most 100,000 changes"),
        ('"400 s"', '"310 s"\nchange = { "ligand.drug.clamped" = "1 nM" }', "still changes"),
        ("[[at]]", '[run]\ndt = "1 s"\n[[at]]', "TOML"),
        ("[run]", '[run]\ndt = "0.7 s"', "at least 200 steps"),
        ("[run]", "[start]\nbound = { SERT = { drug = 0.7, serotonin = 0.6 } }\n[run]", "add up"),
        ("[run]", "[start]\nbound = { SERT = { drug = 1.7 } }\n[run]", "at most 1"),
        ("[run]", "[start]\nbound = { SERT = { serotonin = 0.8 } }\n[run]", "30 molecules"),
        ("[run]", "[start]\nbound = { NET = { drug = 0.8 } }\n[run]", "SERT"),
        ("[run]", '[start]\nstate = "full"\n[run]', "equilibrium"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(
    old: str, new: str, says: str, tmp_path: Path
) -> None:
    assert old in PROTOCOL
    with pytest.raises((InputError, InputErrors)) as raised:
        read(tmp_path, PROTOCOL.replace(old, new, 1))
    assert says in str(raised.value)


def test_all_faults_of_a_protocol_at_once(tmp_path: Path) -> None:
    text = PROTOCOL.replace('"60 s"', '"310 s"').replace("serotonin = 40", "sero = 40")
    with pytest.raises(InputErrors) as raised:
        read(tmp_path, text.replace('"12 nM"', '"12 s"'))
    assert len(raised.value.faults) >= 3


# --- run ------------------------------------------------------------------------------------------


def random_protocol(seed: int) -> Scenario:
    """Everything at once, with a protocol of every kind."""
    draw, scenario = random.Random(seed), everything()
    if seed % 3 == 0:
        scenario = with_chosen_step(scenario)
    times = sorted(round(draw.uniform(0, 2), 2) for _ in range(draw.randrange(1, 4)))
    entries = list[dict[str, Any]]()
    for time in times:
        changes, molecules = random_change(draw, scenario)
        if changes or molecules:
            entries.append({"time_s": time, "change": changes, "add": molecules})
    path = "ligand.WAY-100635.clamped"
    if not any(path in entry["change"] for entry in entries):
        over_s = 200 * (scenario.dt_s if seed % 3 else 0.001)
        entries.append({"time_s": 2.1, "over_s": over_s, "change": {path: "9 nM"}})
    entries.append({"every_s": 0.3, "from_s": 0.1, "to_s": 1.5, "add": {"serotonin": 2}})
    kept = {"dt_s"} if seed % 3 else set()
    fields = scenario.model_dump(mode="json", include=set(type(scenario).model_fields) - {"dt_s"})
    fields |= scenario.model_dump(mode="json", include=kept)
    bound = {"SERT": {"serotonin": 0.4, "citalopram": 0.3}}
    return Scenario.model_validate({**fields, "at": entries, "start": {"bound": bound}})


@pytest.mark.parametrize("seed", range(8))
def test_both_engines_follow_a_protocol(seed: int) -> None:
    scenario = random_protocol(seed)
    models = [SynapseModel(scenario, rng=seed, engine=e) for e in ("compiled", "agents")]
    for model in models:
        model.run(60)
        model.simulation.check()
    assert state_of(models[0]) == state_of(models[1])
    assert models[0].simulation.timeline.done == models[1].simulation.timeline.done


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8, 108))
def test_both_engines_follow_a_protocol_at_length(seed: int) -> None:
    test_both_engines_follow_a_protocol(seed)


@pytest.mark.parametrize("seed", range(4))
def test_records_and_hashes_are_those_of_single_steps(seed: int) -> None:
    one, many = (Simulation(random_protocol(seed), seed) for _ in range(2))
    table, digest = many.run_hashed(7, 12, b"")
    chain = b""
    for row in table:
        series = one.run(7, 7)
        assert [*series.totals[0], *series.events[0]] == row.tolist()
        link = hashlib.sha256(chain + one.step_number.to_bytes(8, "little"))
        one.state.digest_into(link)
        chain = link.digest()
    assert chain == digest


@pytest.mark.parametrize("seed", range(3))
def test_resumed_within_a_protocol(seed: int, tmp_path: Path) -> None:
    scenario = random_protocol(seed)
    whole, cut = SynapseModel(scenario, rng=seed), SynapseModel(scenario, rng=seed)
    whole.run(60)
    for number in range(12):
        cut.run(5)
        cut.save(tmp_path / f"{number}")
        cut = SynapseModel.resume(tmp_path / f"{number}", check_every_step=number % 2 == 0)
    assert state_of(cut) == state_of(whole)
    assert cut.simulation.given == scenario


def test_a_change_by_hand_joins_a_protocol(tmp_path: Path) -> None:
    model = SynapseModel(read(tmp_path), rng=1)
    model.run_for(round(90 / model.synapse.dt_s))
    assert model.synapse.ligands["drug"].clamped_nM == 12.0
    model.change({"ligand.drug.clamped": "50 nM", "ligand.serotonin.diffusion": "1 um^2/s"})
    assert model.synapse.ligands["drug"].clamped_nM == 50.0
    while model.seconds < 430:
        model.run_for(50)
    # The ramp is that of the protocol, and has come to its end.
    assert model.synapse.ligands["drug"].clamped_nM == 0.0
    path = tmp_path / "state"
    model.save(path)
    other = SynapseModel.resume(path)
    model.run_for(100)
    other.run_for(100)
    assert state_of(model) == state_of(other)


# --- start ----------------------------------------------------------------------------------------


def started_counts(fields: dict[str, Any], runs: int) -> np.ndarray:
    """Totals at time zero of many runs, their invariants checked."""
    scenario, rows = Scenario.model_validate(fields), []
    for replicate in range(runs):
        simulation = Simulation(scenario, 11, replicate)
        if replicate < 5:
            simulation.check()
        rows.append(simulation.state.store.totals.copy())
    return np.array(rows)


def small(**ligands: dict[str, Any]) -> dict[str, Any]:
    """Twelve sites on a small grid, and these ligands."""
    return {
        "grid": {"width": 4, "height": 3}, "targets": {"SERT": {"sites": 12}},
        "dt_s": 0.001, "start": {"state": "equilibrium"}, "ligands": ligands,
    }  # fmt: skip


def ligand(kd_nM: float, **fields: Any) -> dict[str, Any]:
    binding = {"SERT": {"kd_nM": kd_nM, "koff_per_s": 1.0}}
    return {"diffusion_um2_per_s": 1.0, "binding": binding, **fields}


#: Runs of each test of a law, and how often one of them fails though the program is right: a mean
#: and a second moment each, two-sided at 5 standard errors (6e-7 each where they are normal).
RUNS, SIGMAS = 400, 5.0


def far(values: np.ndarray, mean: float, variance: float) -> float:
    """Standard errors between a sample's mean and its law, and between its second moments."""
    by_mean = abs(values.mean() - mean) / math.sqrt(variance / values.size)
    squares = (values - mean) ** 2
    by_variance = abs(squares.mean() - variance) / (squares.std(ddof=1) / math.sqrt(values.size))
    return float(max(by_mean, by_variance))


@pytest.mark.parametrize("bug", [None, "ignores what is clamped", "forgets depletion"])
def test_a_closed_box_starts_in_its_law(bug: str | None, monkeypatch: Any) -> None:
    fields = small(closed=ligand(30.0, count=10), beside=ligand(5.0, clamped_nM=5.0))
    nM = Scenario.model_validate(fields).grid.molecules_per_nM
    law = theory.closed_law(12, 10, 1 / (30.0 * nM * 2.0))
    if bug == "ignores what is clamped":
        monkeypatch.setattr(start, "load", lambda *_: 0.0)
    if bug == "forgets depletion":
        p = 10 / (10 + 30.0 * nM * 2.0)  # the hyperbola on all molecules
        draw = lambda _, u: [min(10, int((u.take(12) < p).sum()))]  # noqa: E731
        monkeypatch.setattr(start, "_one_draw", draw)
    bound = started_counts(fields, RUNS)[:, 0]
    assert (far(bound, law.mean, law.sd**2) > SIGMAS) == (bug is not None)


def test_two_closed_competitors_start_in_their_law() -> None:
    fields = small(a=ligand(30.0, count=10), b=ligand(90.0, count=25))
    nM = Scenario.model_validate(fields).grid.molecules_per_nM
    law = theory.closed_competition_law(12, 10, 25, 1 / (30.0 * nM), 1 / (90.0 * nM))
    totals = started_counts(fields, RUNS)
    for column, name in enumerate("AB"):
        assert far(totals[:, column], law.mean(name), law.var(name)) < SIGMAS
    # Exchange of one for the other shows in the covariance, which is below zero.
    product = (totals[:, 0] - law.mean("A")) * (totals[:, 1] - law.mean("B"))
    error = product.std(ddof=1) / math.sqrt(RUNS)
    assert abs(product.mean() - law.cov("A", "B")) < SIGMAS * error
    assert law.cov("A", "B") < -SIGMAS * error  # a draw of each alone would be seen


def test_three_closed_competitors_start_in_their_law() -> None:
    copies, kd_nM = (2, 3, 6), (150.0, 300.0, 600.0)
    names = dict(zip("abc", zip(copies, kd_nM, strict=True), strict=True))
    fields = small(**{name: ligand(kd, count=n) for name, (n, kd) in names.items()})
    fields["targets"] = {"SERT": {"sites": 4}}
    nM, weights = Scenario.model_validate(fields).grid.molecules_per_nM, dict[Any, float]()
    for bound in itertools.product(*(range(n + 1) for n in copies)):
        if sum(bound) <= 4:
            ways = math.perm(4, sum(bound)) * math.prod(map(math.comb, copies, bound))
            weights[bound] = ways * math.prod(
                (kd * nM) ** -n for kd, n in zip(kd_nM, bound, strict=True)
            )
    total, counts = sum(weights.values()), started_counts(fields, 100)
    for column in range(3):
        moments = [
            sum(w * bound[column] ** power for bound, w in weights.items()) / total
            for power in (1, 2)
        ]
        assert far(counts[:, column], moments[0], moments[1] - moments[0] ** 2) < SIGMAS


def test_an_open_place_starts_in_its_law() -> None:
    reservoir = {"concentration_nM": 400.0, "exchange_per_s": 1.0}
    fields = small(x=ligand(300.0, reservoir=reservoir), y=ligand(5.0, clamped_nM=10.0))
    nM = Scenario.model_validate(fields).grid.molecules_per_nM
    totals, weights = started_counts(fields, RUNS), np.array([1.0, 400 / 300, 2.0])
    for column, p in enumerate(weights[1:] / weights.sum()):
        assert far(totals[:, column], 12 * p, 12 * p * (1 - p)) < SIGMAS
    free = totals[:, 3]  # after two pairs and the empty sites
    assert far(free, 400 * nM, 400 * nM) < SIGMAS


def test_sites_start_occupied_as_told() -> None:
    fields = small(a=ligand(300.0, count=10), b=ligand(5.0, clamped_nM=10.0))
    fields["start"] = {"bound": {"SERT": {"a": 0.5, "b": 0.25}}}
    totals = started_counts(fields, 5)
    assert (totals[:, :3] == [6, 3, 3]).all()
    # At random among the sites, anew for each replicate.
    taken = [
        tuple(Simulation(Scenario.model_validate(fields), 1, r).state.store.sites[2])
        for r in range(5)
    ]
    assert all(one != other for one, other in itertools.combinations(taken, 2))


def test_a_start_changes_no_other_random_number() -> None:
    fields = small(a=ligand(300.0, count=10))
    told, plain = Scenario.model_validate(fields), Scenario.model_validate(fields | {"start": {}})
    places = [Simulation(x, 3).state.store.sites[0].tolist() for x in (told, plain)]
    assert places[0] == places[1]


def test_a_start_survives_a_checkpoint(tmp_path: Path) -> None:
    reservoir = {"concentration_nM": 400.0, "exchange_per_s": 1.0}
    simulation = Simulation(Scenario.model_validate(small(x=ligand(300.0, reservoir=reservoir))), 2)
    checkpoint.save(simulation, tmp_path / "state")
    other = checkpoint.load(tmp_path / "state", check_every_step=True)
    assert simulation.trajectory_sha256(40, 10) == other.trajectory_sha256(40, 10)
