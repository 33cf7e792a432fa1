"""Scenario files: units written by people, and every fault told at once without a traceback."""

from __future__ import annotations

import copy
import datetime
import math
import random
import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from synapse_abm.cli import main
from synapse_abm.core import fields, rng
from synapse_abm.core.errors import InputError, InputErrors, SynapseError
from synapse_abm.core.quantity import parse
from synapse_abm.runs.simulate import simulate
from synapse_abm.scenarios import scenario_summary, scenarios
from synapse_abm.statistics import from_replicates
from synapse_abm.synapse.scenario import (
    Batch,
    Grid,
    Kinetics,
    Ligand,
    Reservoir,
    RunSettings,
    Scenario,
    Target,
)
from synapse_abm.synapse.scenario.cost import estimate_cost, residual_transient, settling_s
from synapse_abm.synapse.scenario.file import parse_scenario, read_scenario
from synapse_abm.synapse.scenario.step_error import BINDING, FIRST_BINDING, StepErrors
from synapse_abm.synapse.scenario.timestep import auto_dt, largest_sensible_s, step_warnings

SHIPPED = scenarios()
SMALL: dict[str, Any] = {
    "grid": {"width": 4, "height": 3, "spacing": "100 nm", "depth_um": 1.0},
    "target": {"SERT": {"sites": 3}, "R": {"kind": "receptor", "cells": [[0, 0], [3, 2]]}},
    "ligand": {
        "citalopram": {
            "ligand": "citalopram@Tatsumi1997",
            "reservoir": {"concentration": "100 nM", "exchange": "3 /s"},
        },
        "serotonin": {
            "ligand": "serotonin",
            "count": 3,
            "start_cell": [1, 1],
            "batches": [{"size": 2, "cell": [2, 1], "rate": "5 /s", "times": ["5 ms"]}],
            "degradation": "0.5 /s",
            "binding": {"R": {"kd": "30 nM", "koff": "2 /s"}},
        },
        "way": {"clamped_nM": 3, "binding": {"R": {"kon": "1e7 /(M s)", "koff": "1 /s"}}},
    },
    "run": {"duration": "200 ms", "burn_in": "20 ms", "sample_every": "6 ms", "seed": 3},
}


def changed(path: str, value: object = None) -> dict[str, Any]:
    """The small scenario with one place changed, or removed."""
    tables = copy.deepcopy(SMALL)
    *above, last = [int(each) if each.isdigit() else each for each in path.split(".")]
    here: Any = tables
    for each in above:
        here = here[each] if isinstance(here, list) else here.setdefault(each, {})
    if value is None:
        del here[last]
    else:
        here[last] = value
    return tables


def told(tables: dict[str, Any]) -> str:
    with pytest.raises((InputError, InputErrors)) as caught:
        parse_scenario(tables)
    return str(caught.value)


# --- right input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("10 nM", "nM", 10.0), ("1 uM", "nM", 1000.0), ("1 µM", "nM", 1000.0), ("5ms", "s", 0.005),
        ("0.27 um^2/ms", "um^2/s", 270.0), ("270 um2/s", "um^2/s", 270.0), ("2 min", "s", 120.0),
        ("1e7 /M/s", "1/(nM s)", 0.01), ("1e7 M-1 s-1", "1/(nM s)", 0.01), ("5 Hz", "1/s", 5.0),
        ("300 /min", "1/s", 5.0), ("-3 nM", "nM", -3.0), ("100 nm", "um", 0.1), (".5 s", "s", 0.5),
    ],
)  # fmt: skip
def test_units_are_those_of_people(text: str, unit: str, value: float) -> None:
    assert parse(text, unit, "x") == pytest.approx(value, rel=1e-14)


@pytest.mark.parametrize(
    "text",
    ["9**9**9**9 s", "5", "", "s", "five s", "5 nM", "5 s^9999", "1 (", "1 9**9**9", "1 s9^-9 ** 9",
     "1 (((((((((9^9)^9)^9)^9)^9)^9)^9)^9)^9"],
)  # fmt: skip
def test_a_quantity_is_never_computed(text: str) -> None:
    with pytest.raises(InputError, match="with its unit, such as '5 ms'"):
        parse(text, "s", "x")


def test_a_file_says_the_same_as_python() -> None:
    found = parse_scenario(SMALL)
    assert found.grid == Grid(width=4, height=3, spacing_um=0.1, depth_um=1.0)
    assert found.targets["R"] == Target(kind="receptor", cells=((0, 0), (3, 2)))
    serotonin = found.ligands["serotonin"]
    assert serotonin.batches == (Batch(size=2, cell=(2, 1), rate_per_s=5.0, times_s=(0.005,)),)
    assert (serotonin.role, serotonin.binding["R"].kon) == ("serotonin", 2 / 30)
    assert serotonin.binding["SERT"].kcat_per_s > 0, (
        "what the file leaves out is the pharmacology's"
    )
    assert found.ligands["citalopram"].binding["SERT"].kd_nM == 1.2
    assert found.run is not None
    assert (found.run.duration_s, found.run.seed) == (0.2, 3)
    assert found.dt_is_auto
    assert 0 < found.dt_s <= StepErrors(found).longest_s(0.01)


def test_a_scenario_survives_a_trip_through_json() -> None:
    found = parse_scenario(SMALL)
    assert Scenario.model_validate_json(found.model_dump_json()) == found


def test_limits_are_those_of_the_generator() -> None:
    assert (fields.MAX_SEED, fields.MAX_REPLICATE) == (rng.MAX_SEED, rng.MAX_REPLICATE)
    assert fields.MAX_ENTITY == rng.MAX_ENTITY


def test_three_constants_may_agree() -> None:
    assert Kinetics(kd_nM=5, kon_per_nM_s=0.1, koff_per_s=0.5).kon == 0.1


def test_the_table_shows_units_derived_numbers_and_warnings() -> None:
    text = str(parse_scenario(changed("run.dt", "9 ms")))
    for words in ("1 nM is", "molecules", "in-cell rate", "um^2/s", "burn-in", "molecule-steps"):
        assert words in text
    assert "! dt = 0.009 s: driven means may be wrong by" in text
    assert "k_on and k_off x 1.0" in text
    crowded = changed("ligand.drug", {"count": 5, "binding": {"R": {"kd": "1 nM", "koff": "1 /s"}}})
    assert "depletion expected" in str(parse_scenario(crowded))
    assert "not well mixed: drug" in str(parse_scenario(crowded)), "it does not diffuse"


def test_a_ligand_that_never_comes_is_named() -> None:
    """An edit half done: the old supply is out, the new one not in; or a name is left over."""
    text = str(parse_scenario(changed("ligand.way.clamped_nM")))
    assert "! there is no way: give it a count" in text
    never = [{"size": 2}, {"size": 2, "rate": "1 /s", "cell": [1, 1]}]
    text = str(parse_scenario(changed("ligand.serotonin.batches", never)))
    assert "! batches[0] of serotonin never comes" in text
    assert "there is no serotonin" not in text
    assert "there is no" not in str(read_scenario(SHIPPED["washout"])), "it is added later"
    text = str(parse_scenario(changed("ligand.citalopram.ligand", "paroxetine@Habert1985")))
    assert "! citalopram has the constants of paroxetine; call it [ligand.paroxetine]" in text
    assert "has the constants" not in str(parse_scenario(SMALL))


def _alone(burn_in_s: float, **supply: Any) -> Scenario:
    """A ligand with Kd 1 nM that leaves at 1 /s, 40 sites in one cell, seen for 8 s."""
    binding = {"R": Kinetics(kd_nM=1.0, koff_per_s=1.0)}
    return Scenario(
        grid=Grid.well_mixed(10.0),
        targets={"R": Target(kind="receptor", sites=40)},
        ligands={"L": Ligand(binding=binding, **supply)},
        run=RunSettings(duration_s=8.0, burn_in_s=burn_in_s, replicates=200),
    )


def test_a_burn_in_that_is_too_short_is_told() -> None:
    """1 - e^(-2 t) on the way to a half, averaged over 8 s: 1/16 is missing, and 1/16 is seen."""
    short, long = _alone(0.0, clamped_nM=1.0), _alone(1.0, clamped_nM=1.0)
    assert short.run is not None and long.run is not None
    assert settling_s(short, "L", "R") == pytest.approx(0.5)
    assert residual_transient(long.run, 0.5) == pytest.approx((math.exp(-2) - math.exp(-16)) / 14)
    lacking = residual_transient(short.run, 0.5)
    assert lacking == pytest.approx(1 / 16, rel=1e-6)
    every = simulate(short).recordings
    found = from_replicates([one.occupancy("R", "L").mean() for one in every])
    limit = 5.05 * found.se  # false alarm 1e-6 with 199 degrees of freedom
    assert abs(found.value - (1 - lacking) / 2) < limit
    assert abs(found.value - 1 / 2) > limit, "a forecast of nothing missing would be noticed"
    assert "not settled" not in str(long)
    assert "not settled: L at R takes about 500 ms" in str(_alone(0.5, clamped_nM=1.0))
    slow = _alone(2.0, reservoir=Reservoir(concentration_nM=1.0, exchange_per_s=0.5))
    filling = (1 + 20 / slow.grid.molecules_per_nM) / 0.5
    assert settling_s(slow, "L", "R") == pytest.approx(0.5 + filling)
    assert "not settled" in str(slow)
    shut = _alone(2.0, reservoir=Reservoir(concentration_nM=1.0, exchange_per_s=0.0))
    assert "takes for ever" in str(shut)
    competitor = Ligand(clamped_nM=3.0, binding={"R": Kinetics(kd_nM=1.0, koff_per_s=50.0)})
    held = short.model_copy(update={"ligands": short.ligands | {"competitor": competitor}})
    assert settling_s(held, "L", "R") == pytest.approx(1 / (1 + 1 / 4)), "C/(1 + competitor's C/K)"


@pytest.mark.parametrize("name", SHIPPED)
def test_ready_made_scenarios_settle_before_they_are_averaged(name: str) -> None:
    assert "not settled" not in str(read_scenario(SHIPPED[name]))


# --- the step -------------------------------------------------------------------------------------


def _pair(kcat: float = 0.0, cells: int = 8, sites: int = 16, **ligand: Any) -> Scenario:
    kinetics = Kinetics(kon_per_nM_s=0.01, koff_per_s=1.0, kcat_per_s=kcat)
    return Scenario(
        grid=Grid(width=cells, height=cells),
        targets={"SERT": Target(sites=sites)},
        ligands={"L": Ligand(binding={"SERT": kinetics}, **({"diffusion_um2_per_s": 9} | ligand))},
    )


def test_auto_keeps_rates_within_the_accuracy() -> None:
    """One of 64 cells has a site, one molecule comes: 0.12 x (x + y) is nearly all of the 1 %."""
    in_cell = 0.01 / 0.00602214076
    alone = _pair(count=1, sites=1)
    x, y = in_cell * alone.dt_s, alone.dt_s
    assert 0.8 * 0.01 < x * (BINDING * x + FIRST_BINDING * y) < 0.01
    announced = StepErrors(alone).at(alone.dt_s)
    assert 0.99 * 0.01 < announced.kinetics <= 0.01
    assert announced.driven == 0
    assert "binding of L at SERT decides" in auto_dt(alone).reason


@pytest.mark.parametrize("accuracy", [0, 1.5, True, "1 %", None, math.nan, [0.1]])
def test_an_accuracy_in_python_is_a_share(accuracy: Any) -> None:
    with pytest.raises(InputError, match=r"Scenario\.accuracy = .*: allowed is a share above 0"):
        Scenario(accuracy=accuracy)
    assert Scenario(accuracy=np.float64(0.5)).accuracy == 0.5


@pytest.mark.parametrize("accuracy", [0.1, 0.01, 0.001])
def test_a_better_accuracy_takes_a_shorter_step(accuracy: float) -> None:
    """Within three digits the longest step that keeps it, driven or not."""
    for scenario in (_pair(count=5), _pair(kcat=1.0, count=5)):
        asked = scenario.model_copy(update={"accuracy": accuracy})
        errors = StepErrors(asked)
        assert errors.at(asked.dt_s).within(accuracy)
        assert not errors.at(1.011 * asked.dt_s).within(accuracy)


def test_driven_means_get_a_fifth_of_the_accuracy() -> None:
    scenario = _pair(kcat=1.0, count=5)
    announced = StepErrors(scenario).at(scenario.dt_s)
    assert 0.99 * 0.002 < announced.driven <= 0.002
    assert "driven means within 0.2 %" in auto_dt(scenario).reason
    assert not list(step_warnings(scenario))


def test_a_loss_is_a_loss() -> None:
    """A dose that is degraded and the same dose that leaves into an empty reservoir: one step."""
    start = {"count": 50, "start_cell": (0, 0)}
    degraded = _pair(degradation_per_s=0.5, **start)
    washed = _pair(reservoir=Reservoir(concentration_nM=0.0, exchange_per_s=0.5), **start)
    assert degraded.dt_s == washed.dt_s


def test_equilibrium_alone_asks_for_nothing() -> None:
    """(k_on / molecules per nM of a cell + k_off) dt = 0.3, as far as samples allow."""
    in_cell = 0.01 / 0.00602214076
    still = _pair(count=5).model_copy(update={"accuracy": "equilibrium"})
    assert still.dt_s == pytest.approx(0.3 / (in_cell + 1.0))
    assert not list(step_warnings(still))


def test_a_long_step_by_hand_is_told_with_its_error() -> None:
    scenario = _pair(count=5)
    (said,) = step_warnings(scenario.model_copy(update={"dt_s": 2 * scenario.dt_s}))
    assert re.search(r"kinetics may be wrong by [23]\.?\d? %", said)
    assert f"the longest step that keeps 1 % is {scenario.dt_s:g} s" in said
    (said,) = step_warnings(scenario.model_copy(update={"dt_s": 3.0}))
    assert "dt = 3 s: equilibrium only" in said


@pytest.mark.parametrize(
    "free",
    [_pair(cells=1, count=5), _pair(clamped_nM=5), _pair(count=5, diffusion_um2_per_s=0)],
    ids=["one cell", "clamped", "nothing moves"],
)
def test_what_is_exact_at_any_step_is_not_limited(free: Scenario) -> None:
    assert not StepErrors(free)
    assert math.isinf(largest_sensible_s(free))
    assert not free.adjustments


def test_a_step_of_free_length_takes_a_bounded_number_of_events() -> None:
    """2 x 1000 sites x 5e5 /s are 1e9 events/s: 100 steps for each second's sample, not one."""
    binding = {"R": Kinetics(kd_nM=1000.0, koff_per_s=1e6)}
    busy = Scenario(
        grid=Grid.well_mixed(10.0),
        targets={"R": Target(kind="receptor", sites=1000)},
        ligands={"L": Ligand(binding=binding, clamped_nM=1000.0)},
        run=RunSettings(duration_s=8.0, sample_every_s=1.0),
    )
    assert busy.dt_s == pytest.approx(0.01)
    assert "100 steps for each sample" in str(busy)
    assert "! L binds R with k_on 1000 /(nM s), faster than diffusion allows" in str(busy)


def test_a_senseless_step_is_refused_and_the_largest_sensible_one_named() -> None:
    largest = largest_sensible_s(parse_scenario(changed("run", {"duration": "60 s"})))
    message = told(changed("run", {"duration": "60 s", "dt": "6 s"}))
    assert (
        f"run.dt = '6 s': allowed is at most {largest:g} s, because this scenario is driven"
        in message
    )


# --- wrong input ----------------------------------------------------------------------------------

WRONG: dict[str, tuple[dict[str, Any], list[str]]] = {
    "table": (changed("ligands", {}), ["a table of the file = 'ligands'", "mean ligand?"]),
    "key": (changed("grid.widht", 4), ["a key of grid = 'widht'", "did you mean width?"]),
    "accuracy 0": (
        changed("run.accuracy", "0 %"),
        ["run.accuracy = '0 %'", "above 0 % and at most 100 %", "or 'equilibrium'"],
    ),
    "accuracy above 100 %": (changed("run.accuracy", "101 %"), ["run.accuracy = '101 %'"]),
    "accuracy without a sign": (changed("run.accuracy", 1), ["run.accuracy = 1", "write '1 %'"]),
    "accuracy in words": (changed("run.accuracy", "good"), ["run.accuracy = 'good'"]),
    "accuracy of truth": (changed("run.accuracy", True), ["run.accuracy = True"]),
    "accuracy that takes days": (
        changed("run", {"duration": "20 min", "accuracy": "1e-7 %"}),
        ["run.accuracy = '1e-07 %'", "takes less than a day", "this takes about"],
    ),
    "driven, equilibrium": (
        changed("run.accuracy", "equilibrium"),
        ["run.accuracy = 'equilibrium'", "this scenario is driven"],
    ),
    "unit missing": (changed("grid.spacing", 0.1), ["grid.spacing = 0.1", "write '0.1 um'"]),
    "unit wrong": (changed("grid.spacing", "5 nM"), ["grid.spacing = '5 nM'", "same kind as um"]),
    "unit unknown": (changed("grid.spacing", "5 nmm"), ["the unit 'nmm' is not known"]),
    "nan": (changed("run.duration", "nan s"), ["run.duration = 'nan s'", "from 1e-09 to 1e+10"]),
    "infinite": (changed("run.duration_s", math.inf), ["run.duration_s = inf"]),
    "negative": (changed("run.burn_in", "-1 s"), ["run.burn_in = '-1 s'"]),
    "zero": (changed("grid.spacing", "0 um"), ["grid.spacing = '0 um'", "> 0, in um"]),
    "fraction": (changed("target.SERT.sites", 2.5), ["target.SERT.sites = 2.5", "whole number"]),
    "truth": (changed("target.SERT.sites", True), ["target.SERT.sites = True", "whole number"]),
    "huge": (changed("target.SERT.sites", 10**30), ["target.SERT.sites = 1000", "4294967295"]),
    "both": (changed("target.SERT.cells", [[0, 0]]), ["either 'sites'", "leave out one"]),
    "neither": (changed("target.SERT.sites"), ["target.SERT.sites = (missing)", "add one"]),
    "outside": (
        changed("target.R.cells", [[4, 0]]),
        ["target.R.cells[0] = [4, 0]", "x from 0 to 3"],
    ),
    "batch outside": (
        changed("ligand.serotonin.batches.0.cell", [0, 9]),
        ["ligand.serotonin.batches[0].cell = [0, 9]", "y from 0 to 2"],
    ),
    "late": (
        changed("ligand.serotonin.batches.0.times", ["9 s"]),
        ["times = '9 s'", "before the end"],
    ),
    "target": (changed("ligand.way.binding.SERTT", {"kd": "1 nM", "koff": "1 /s"}), ["mean SERT?"]),
    "drug": (changed("ligand.citalopram.ligand", "citalopran"), ["did you mean citalopram"]),
    "source": (changed("ligand.citalopram.ligand", "citalopram@X"), ["= 'X'", "Tatsumi1997"]),
    "contradiction": (
        changed("ligand.way.binding.R.kd", "9 nM"),
        ["ligand.way.binding.R.kd = '9 nM'", "k_off/k_on is 100 nM"],
    ),
    "k_on that follows": (
        changed("ligand.way.binding.R", {"kd": "1e-6 nM", "koff": "1 /s"}),
        ["R.koff = '1 /s'", "at most 0.001 /s, so that k_on = koff/kd is at most 1000 /(nM s)"],
    ),
    "one constant": (changed("ligand.way.binding.R.kon"), ["any two of kd, kon and koff"]),
    "clamped too": (changed("ligand.way.count", 3), ["ligand.way.clamped = 3:", "beside count"]),
    "twice": (changed("grid.depth", "1 um"), ["given once"]),
    "burn-in": (
        changed("run.burn_in", "1 s"),
        ["run.duration = '200 ms'", "longer than the burn-in"],
    ),
    "engine": (changed("run.engine", "compild"), ["run.engine = 'compild'", "mean compiled?"]),
    "seed": (changed("run.seed", -1), ["run.seed = -1", "from 0 to 18446744073709551615"]),
    "no run": (changed("run"), ["run.duration = (missing)", "'2 min'; add duration"]),
    "own word": (
        changed("ligand.way.clampd", 3),
        ["degradation, diffusion, ligand", "mean clamped?"],
    ),
    "supplies": (
        changed("ligand.serotonin.clamped", "1 nM"),
        ["nothing beside count, start_cell, batches"],
    ),
    "walls": (changed("grid.walls", 3), ["one of 'reflecting', 'periodic'"]),
    "no table": (changed("ligand.citalopram.reservoir", "1 nM"), ["a table such as { conc"]),
    "no list": (changed("ligand.serotonin.batches", {"size": 1}), ["a list of tables such as [{"]),
    "no batch": (changed("ligand.serotonin.batches.0", 7), ["batches[0] = 7", "a list of tables"]),
    "below": (changed("target.R.cells", [[-1, 0]]), ["cells [x, y], whole numbers >= 0"]),
    "memory": (changed("ligand.serotonin.count", 2**32 - 1), ["memory of the run = 'about", "GB"]),
    "steps": (changed("run.duration", "1e10 s"), ["memory of the run"]),
    "dt": (changed("run.dt", "atuo"), ["run.dt = 'atuo'", "with its unit"]),
}


@pytest.mark.parametrize(("tables", "words"), WRONG.values(), ids=WRONG)
def test_wrong_input_is_explained(tables: dict[str, Any], words: list[str]) -> None:
    message = told(tables)
    for each in words:
        assert each in message


def test_all_faults_are_told_at_once() -> None:
    tables = changed("grid.widht", 4)
    tables["target"]["SERT"]["sites"] = -1
    tables["ligand"]["citalopram"]["ligand"] = "citalopran"
    tables["ligand"]["serotonin"]["batches"][0] |= {"size": 0.5, "cell": [9, 9]}
    tables["run"] |= {"burn_in": "1 s", "seed": 1.5}
    with pytest.raises(InputErrors) as caught:
        parse_scenario(tables)
    names = {fault.name for fault in caught.value.faults}
    batch = "ligand.serotonin.batches[0]"
    wanted = {f"{batch}.size", f"{batch}.cell", "run.duration", "run.seed", "target.SERT.sites"}
    assert wanted | {"a key of grid"} < names
    assert len(caught.value.faults) == 7


def test_the_whole_is_judged_although_a_part_is_wrong() -> None:
    """Step and memory are told beside what is wrong with single keys, as far as the sound parts
    make them so; and nothing that is not so.
    """
    tables = changed("target.SERT.sits", 4)
    tables["run"] |= {"duration": "60 s", "dt": "6 s"}
    tables["ligand"]["big"] = {"count": 2**32 - 1}
    said = told(tables)
    for words in ("did you mean sites?", "run.dt = '6 s'", "memory of the run"):
        assert words in said
    tables = changed("ligand.serotonin.batches.0.cell", [9, 9])
    tables["target"]["R"]["cells"] = [[9, 9]]
    tables["run"] |= {"dt": "9 ms"}
    assert told(tables).count("allowed is") == 2


def test_a_mark_of_byte_order_is_no_fault(tmp_path: Path) -> None:
    path, text = tmp_path / "x.toml", SHIPPED["binding"].read_bytes()
    path.write_bytes(b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n"))
    assert read_scenario(path) == read_scenario(SHIPPED["binding"]).model_copy(update={"name": "x"})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "a file with [target.NAME]"),
        (b"[grid", "valid TOML"),
        (b"\xff\xfe", "text in UTF-8 (invalid start byte at byte 0); save it as UTF-8"),
        (b"x = " + b"[" * 20000, "at most 16 levels of nesting (there are 20000)"),
        (b"a" + b".a" * 20000 + b" = 1", "at most 16 levels of nesting (there are 20000)"),
        (b"'a'" + b' . "a"' * 17 + b" = 1", "at most 16 levels of nesting (there are 17)"),
        (b"x = 1 #" + b"x" * 2_000_000, "a file of at most 2,000,000 bytes"),
        (b"run.duration = '1 s'\nname = 'a" + b".[" * 20 + b"'\nx = 1", "of the file = 'x'"),
        (None, "an existing TOML file"),
    ],
    ids=["empty", "torn", "not text", "deep", "keys", "quoted", "long", "shallow", "absent"],
)
def test_a_file_that_is_none_is_explained(
    tmp_path: Path, content: bytes | None, words: str
) -> None:
    path = tmp_path / "x.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_scenario(path)
    assert words in str(caught.value)


@pytest.mark.parametrize("name", ["\x1b[31mred", "a/b", "a\\b", "x" * 61, " ", "\u202eb", 'a"b'])
def test_a_name_that_would_do_harm_is_refused(name: str) -> None:
    said = told(changed(f"target.{name}.sites", 3))
    assert "a name of [target.NAME]" in said
    assert "\x1b" not in said
    assert "\u202e" not in said
    with pytest.raises(InputError, match="a name of"):
        Scenario(targets={name: Target(sites=1)})


def test_counts_are_limited_before_they_cost_anything() -> None:
    many = {f"T{n}": {"sites": 1} for n in range(20_000)}
    assert "number of target tables = 20000: allowed is at most 500" in told({"target": many})
    cells = {"target": {"T": {"cells": [[0, 0]] * 3_000_000}}}
    assert "number of cells listed = 3000000: allowed is at most 100,000" in told(cells)
    often = changed("run", {"duration": "1e6 s", "sample_every": "0.1 s", "dt": "0.1 s"})
    assert "run.sample_every = '0.1 s'" in told(often)
    assert "at most 5,000,000 records" in told(often)


def test_an_estimate_grows_with_what_costs() -> None:
    base = {"duration": "100 s", "sample_every": "1 s"}
    rare, often = (
        estimate_cost(parse_scenario(changed("run", base | {"sample_every": every})))
        for every in ("1 s", "0.01 s")
    )
    assert often.simulation_s - rare.simulation_s > 9900 * 6e-6
    assert often.seconds - rare.seconds > often.simulation_s - rare.simulation_s


# --- mutated files --------------------------------------------------------------------------------

_ODD: list[Any] = [
    0, -1, 1, 2.5, 1e308, -1e308, 1e-320, 2**40, 10**40, math.nan, math.inf, True, "", " ", "nan",
    "1", "1 nM", "-1 nM", "1e9 nM", "nan nM", "1e400 s", "0 s", "1 s", "1e-9 s", "1 fs", "7 ms",
    datetime.date(2026, 1, 1), datetime.time(1), datetime.datetime(2026, 1, 1), -0.0, [[[[[[]]]]]],
    "1e9 /s", "1 um", "1e6 um", "1e6 um^2/s", "1 /(nM s)", "auto", "SERT", "serotonin",
    "citalopram@Backstrom1989", "x" * 300, "é\x00", [], {}, [0, 0], [9, 9], [[0, 0]], [[-1, 0]],
    [[0, 0], 3], {"kd": "1 nM"}, {"kd": "1 nM", "koff": "1 /s"}, [{}], [{"size": 1}], "periodic",
    "agents", 3, 32767,
]  # fmt: skip
_KEYS = [
    "", "SERT", "R", "name", "grid", "target", "ligand", "run", "width", "spacing_um", "count",
    "clamped", "reservoir", "batches", "binding", "kd", "kon", "koff", "kcat", "dt", "dt_s",
    "times", "cells", "sites", "taken_from", "burn_in", "x.y", "return", "metabolism", "replicates",
]  # fmt: skip


def _places(here: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inside = here.items() if isinstance(here, dict) else enumerate(here)
    found = [path] if path else []
    for key, value in inside:
        deeper = isinstance(value, dict | list)
        found += _places(value, (*path, key)) if deeper else [(*path, key)]
    return found


@st.composite
def mutated(draw: st.DrawFn) -> dict[str, Any]:
    """A good scenario with one to four places replaced, removed, renamed or added to."""
    tables: dict[str, Any] = copy.deepcopy(SMALL)
    for _ in range(draw(st.integers(1, 4))):
        places = _places(tables)
        if not places:
            break
        *above, last = draw(st.sampled_from(places))
        here: Any = tables
        for each in above:
            here = here[each]
        how = draw(st.sampled_from(["replace", "replace", "remove", "rename", "add"]))
        odd = copy.deepcopy(draw(st.sampled_from(_ODD)))
        if how == "replace" or isinstance(here, list):
            here[last] = odd
        elif how == "remove":
            del here[last]
        elif how == "rename":
            here[draw(st.sampled_from(_KEYS))] = here.pop(last)
        else:
            here[draw(st.sampled_from(_KEYS))] = odd
    return tables


def test_faults_tell_what_stands_in_the_file() -> None:
    tables = changed("ligand.citalopram.clamped", "1.2")
    tables["ligand"]["serotonin"]["binding"]["R"]["kon"] = "1 /(nM s)"
    said = told(tables)
    assert said.count("ligand.citalopram.clamped = '1.2'") == 2
    assert "ligand.serotonin.binding.R.kd = '30 nM': allowed is koff/kon" in said
    assert "object at 0x" not in said


def test_a_ligand_of_the_users_own_file(tmp_path: Path) -> None:
    """``FILE.toml:NAME`` is looked for beside the scenario; all faults of the file are told."""
    drugs = tmp_path / "mine.toml"
    drugs.write_text(
        '[source.Mine]\ncitation = "Mine 2026"\n[ligand.foo]\nkind = "SSRI"\n'
        '[[ligand.foo.affinity]]\ntarget = "SERT"\nnM = 3.2\nquantity = "Ki"\n'
        'status = "assumed"\nsource = "Mine"\n'
    )
    path = tmp_path / "scenario.toml"
    text = '[target.SERT]\nsites = 3\n[ligand.x]\nligand = "mine.toml:foo"\nclamped = "1 nM"\n'
    path.write_text(text + '[run]\nduration = "1 s"\n')
    found = read_scenario(path).ligands["x"]
    assert found.binding["SERT"].kd_nM == 3.2
    assert found.taken_from == f"{drugs}:foo"
    drugs.write_text(drugs.read_text().replace("3.2", "-3.2").replace('"assumed"', '"sure"'))
    with pytest.raises(InputErrors) as caught:
        read_scenario(path)
    assert len(caught.value.faults) == 2
    for fault in caught.value.faults:
        assert fault.name.startswith("ligand.x.ligand (mine.toml), ligand.foo.affinity[0].")


def clean(tables: dict[str, Any]) -> None:
    """Either a readable report, or a scenario that shows itself and, if it is small, runs."""
    try:
        found = parse_scenario(tables)
    except SynapseError as error:
        lines = str(error).splitlines()
        for line in lines[len(lines) > 1 :]:
            assert len(line) < 1500 and "allowed is" in line
            assert "another value" not in line and "object at" not in line
        return
    assert "Run" in str(found)
    cost = estimate_cost(found)
    if cost.simulation_s < 0.02 and cost.bytes < 3e8 and found.grid.cells < 10_000:
        assert found.run is not None
        if found.run.engine == "compiled":
            simulate(found)


FUZZ = settings(deadline=None, suppress_health_check=list(HealthCheck), database=None)


@settings(FUZZ, max_examples=100, derandomize=True)
@given(mutated())
def test_mutated_files_get_clean_reports_or_clean_runs(tables: dict[str, Any]) -> None:
    """The same hundred each time: they show a fault that 1 file in 22 has with 99 %; rarer ones are
    looked for among the ten thousand below.
    """
    clean(tables)


@pytest.mark.slow
@settings(FUZZ, max_examples=10_000)
@given(mutated())
def test_ten_thousand_mutated_files(tables: dict[str, Any]) -> None:
    clean(tables)


_SCRAPS = [
    "",
    "[",
    "]",
    "=",
    '"',
    "nM",
    "-",
    "9",
    ".",
    "#",
    "\n",
    "nan",
    "e",
    "[run]\n",
    "{}",
    "\x00",
]


@pytest.mark.parametrize(
    ("seed", "files"), [(20261125, 24), pytest.param(20261126, 2000, marks=pytest.mark.slow)]
)
def test_torn_files_at_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], seed: int, files: int
) -> None:
    """A shipped file with pieces cut out or pushed in: it runs, or is refused in words, with
    status 2 and no file touched.
    """
    chance, texts = random.Random(seed), [path.read_text() for path in SHIPPED.values()]
    ends = dict.fromkeys((0, 2), 0)
    for n in range(files):
        text = chance.choice(texts)
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(text))
            cut = chance.randrange(12)
            text = text[:at] + chance.choice(_SCRAPS) + text[at + cut :]
        path, out = tmp_path / "torn.toml", tmp_path / f"out{n}"
        path.write_text(text)
        if too_long(path):
            continue
        status = main(["simulate", str(path), "--out", str(out)])
        said = capsys.readouterr().err
        ends[status] += 1
        assert out.exists() == (status == 0)
        assert (said == "") == (status == 0)
        assert "Traceback" not in said
        assert "object at 0x" not in said
    assert ends[2] > files / 4
    assert ends[0] > 0


def too_long(path: Path) -> bool:
    """Whether the file is good and asks for more than a moment."""
    try:
        cost = estimate_cost(read_scenario(path))
    except SynapseError:
        return False
    return cost.simulation_s > 0.1 or cost.bytes > 5e8


# --- the ready-made scenarios ---------------------------------------------------------------------


def test_scenarios_are_ready_made() -> None:
    assert len(SHIPPED) == 7
    assert all(len(scenario_summary(path)) > 40 for path in SHIPPED.values())


@pytest.mark.parametrize("name", SHIPPED)
def test_a_ready_made_scenario_keeps_its_exact_law(name: str) -> None:
    """All averages within Student's t, false alarm 1e-6 a scenario; below 3e6 molecule-steps."""
    synapse = read_scenario(SHIPPED[name])
    assert estimate_cost(synapse).molecule_steps < 3e6
    found = simulate(synapse)
    assert all(check.passed for check in found.checks())
    assert bool(found.checks()) == (
        name not in ("release", "washout")
    )  # no exact law where serotonin is lost


def test_a_file_on_disk_is_what_tomllib_reads() -> None:
    path = SHIPPED["binding"]
    assert read_scenario(path) == parse_scenario(tomllib.loads(path.read_text()), path.stem)


def test_a_wrong_law_is_noticed() -> None:
    """Beside the test above: the same numbers against the textbook's formula, which ignores
    depletion."""
    found = simulate(read_scenario(SHIPPED["depletion"])).measured["occupancy", "SERT", "drug"]
    assert found.exact is not None
    assert found.formula is not None
    assert found.se is not None
    assert abs(found.mean - found.exact) < 6 * found.se < abs(found.mean - found.formula)
