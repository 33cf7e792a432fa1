"""The neuron on two grids: exact laws, conservation, the well-mixed limit, and what it costs."""

from __future__ import annotations

import dataclasses
import functools
import math
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from synapse_abm.core.errors import InputError
from synapse_abm.neuron.calibration import averaged, calibrate, relative
from synapse_abm.neuron.engine import kernels_grid as grid_kernels
from synapse_abm.neuron.engine import layout as lay
from synapse_abm.neuron.engine.simulation import COLUMNS
from synapse_abm.neuron.engine.simulation_grid import (
    SpatialSimulation,
    cost_s,
    inner_steps,
    scenario_of,
)
from synapse_abm.neuron.ligands import at_autoreceptor, at_sert
from synapse_abm.neuron.scenario import Drug, Exposure, PlaceGrid, neuron
from synapse_abm.pharmacology.kinetics import Kinetics
from synapse_abm.statistics import Estimate, normal_quantile, student_quantile
from synapse_abm.synapse.engine.invariants import InvariantError
from synapse_abm.synapse.engine.layout import DEGRADE, KIND
from synapse_abm.synapse.engine.planting import plant
from synapse_abm.treatment import acute
from synapse_abm.treatment import treatment as treatment_module
from synapse_abm.treatment.course import Course, CourseError
from synapse_abm.treatment.treatment import Treatment, constant

IT = neuron()
FAST_DRUG = Drug(Kinetics(kd_nM=1.0, koff_per_s=0.5))
LIMIT = normal_quantile(1e-6, tests=20)  # of all tests of this file together
COARSE = PlaceGrid(cells=6, dt_s=0.05)
ONE_CELL = PlaceGrid(cells=1, dt_s=0.1)
LEAKY = neuron(terminal={"leak_share": 0.3}, soma={"leak_share": 0.2})


def planted(old: str, new: str) -> ModuleType:
    return plant(old, new, file="neuron/engine/kernels_grid.py", interpreted=True)


def busy(seed: int = 1, **options: Any) -> SpatialSimulation:
    """Every channel open."""
    sim = SpatialSimulation(
        LEAKY, seed, grid=COARSE, inhibitor=FAST_DRUG, antagonist=FAST_DRUG, **options
    )
    sim.set(Exposure(1.0, 2.0, antagonist=0.5, efficacy=0.3, mao=0.8), 0.7)
    return sim


# --- conservation ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_nothing_is_created_or_lost_and_every_channel_fires() -> None:
    sim = busy()
    sim.check()
    for _ in range(10):
        sim.run(1)
        sim.check()
    sim.block(Exposure(1.0, 2.0, antagonist=0.5))
    sim.check()
    sim.block(Exposure(0.0, 0.1))
    sim.check()
    assert sim.places[1].state.store.totals[grid_kernels.PAIR_R_ANTAGONIST] == 0
    for place in sim.places:
        pairs = len(place.names.pairs)
        assert (place.state.store.events[: 3 * pairs].reshape(3, pairs)[:, :2] > 0)[:, 0].all()
        assert place.state.store.events[2 * pairs : 3 * pairs].min() > 0
    for c in (lay.C_SYNTHESISE, lay.C_DEGRADE, lay.C_LEAK, lay.RELEASED):
        assert (sim.state.events[:, c] > 0).all()


@pytest.mark.parametrize(
    ("old", "new"),
    [("state.pool[place] -= size", "state.pool[place] -= size - 1"),
     ("                state.pool[place] += 1", "                state.pool[place] += 0"),
     ("state.pool[place] += made - gone", "state.pool[place] += made")],
)  # fmt: skip
def test_what_is_created_or_lost_is_noticed(old: str, new: str) -> None:
    sim = busy(kernels=planted(old, new))
    sim.run(1)
    with pytest.raises((ValueError, InvariantError), match="do not agree"):
        sim.check()


def test_pieces_are_the_whole_and_growing_rows_change_nothing() -> None:
    whole, pieces, other = busy(4), busy(4), busy(5)
    for place in pieces.places:  # no room to spare
        room = [int(place.state.rows()[0].size) + 150, *[1] * (len(place.names.ligands) - 1)]
        place.state = place.state.resized(room)
    pieces.restore(pieces.checkpoint())
    expected = whole.run(9)
    values = np.concatenate([pieces.run(n) for n in (1, 3, 5)])
    assert (values == expected).all()
    for a, b in zip(whole.places, pieces.places, strict=True):
        assert (a.state.store.totals == b.state.store.totals).all()
        rows = [p.state.store.molecules[:5, p.state.all_rows()] for p in (a, b)]
        assert np.array_equal(*rows)
    assert not (other.run(9) == expected).all()


# --- exact laws -----------------------------------------------------------------------------------

# One train and one receptor: nothing else brings the rate up to date between two spikes.
FALLING = neuron(feedback_strength=1e-9, spike_trains=1, receptors=1)
EXACT = 3 + 4 * (1 - math.exp(-3))


def test_spikes_at_a_falling_rate_are_poisson() -> None:
    """Mean and variance of counts in 3 s; exact: F0 T + (F(0) - F0) tau (1 - exp(-T/tau))."""
    # One neuron, its rate set back each time: draws are by step, so counts are independent, and
    # nothing but the rate decides them.
    sim, counts = SpatialSimulation(FALLING, 3, grid=PlaceGrid(cells=1, dt_s=0.5), dt_s=3.0), []
    sim.state.rates[:] = 0.0
    for _ in range(250):
        sim.state.rate[0] = 5.0
        counts.append(int(sim.run(1)[0, COLUMNS.index("spikes")]))
    values = np.array(counts)
    assert abs(values.mean() - EXACT) < LIMIT * math.sqrt(EXACT / 250)
    spread = math.sqrt((2 + 1 / EXACT) / 250)  # of the variance over the mean, Poisson
    assert abs(values.var(ddof=1) / EXACT - 1) < LIMIT * spread


def stock_after(seconds: int, kernels: ModuleType = grid_kernels) -> int:
    """Molecules left of 200,000 that are only destroyed, at 0.05 /s."""
    sim = SpatialSimulation(neuron(), 5, grid=PlaceGrid(cells=1, dt_s=1.0), kernels=kernels)
    sim.state.numbers[lay.P_CONTENT : lay.P_CONTENT + 2] = 0.0
    sim.state.rates[:] = 0.0
    sim.state.rates[:, lay.C_DEGRADE] = 0.05
    for place in sim.places:
        place.network.chemistry.rate[:] = 0.0
    sim.state.pool[:] = 200_000
    sim.run(seconds)
    return int(sim.state.pool[0])


@pytest.mark.slow
def test_the_stock_decays_as_independent_molecules_do() -> None:
    """Binomial; a bug that skips one survivor too few is caught."""
    p = math.exp(-0.05 * 10)
    limit = LIMIT * math.sqrt(200_000 * p * (1 - p))
    assert abs(stock_after(10) - 200_000 * p) < limit
    bug = planted("i += 1 + int(", "i += int(")
    assert abs(stock_after(10, bug) - 200_000 * p) > limit


def batches(blocks: int, kernels: ModuleType = grid_kernels) -> float:
    """Free molecules at the terminal that spikes release and that are lost one by one, over what is
    expected, in standard errors.

    Blocks of 20 s, spikes at 1 Hz in steps of 0.1 s, loss at k = 2 /s: a step begins with the
    release, so the average of its two ends is trains F m / k times x coth x, x = k dt / 2. The
    error of the mean is that of 400 spikes a block, of size m or m + 1.
    """
    parameters = neuron(feedback_strength=1e-9, terminal={"mao_ratio": 3000.0})
    sim = SpatialSimulation(parameters, 8, grid=ONE_CELL, kernels=kernels)
    sim.state.rates[:], sim.state.numbers[lay.P_CONTENT + 1] = 0.0, 0.0
    for place in sim.places:
        place.network.chemistry.rate[:] = 2.0 * (
            place.network.chemistry.channels[:, KIND] == DEGRADE
        )
    sim.run(10)
    free = []
    for _ in range(blocks):
        sim.state.pool[0] = round(sim.free[0].pool)  # 20 s take below 1 in 1000
        free.append(sim.run(20)[:, COLUMNS.index("terminal_free")].mean())
    m, x = sim.state.numbers[lay.P_CONTENT], 0.1
    expected = 20 * m / 2.0 * x / math.tanh(x)
    f = m % 1
    se = expected * math.sqrt((1 + f * (1 - f) / m**2) / (400 * blocks))
    return float(abs(np.mean(free) - expected) / se)


@pytest.mark.slow
def test_batches_that_are_lost_one_by_one_have_the_exact_mean() -> None:
    """And reading a step at its end alone, 10 % less, is caught."""
    assert batches(80) < LIMIT
    settle = "\n        integrate_all(tplan, terminal, splan, soma, state, row)"
    end = f"take_up(splan, soma, state, 1){settle}"
    start = f"turn_over(tplan, state, scratch, splan, soma, 1){settle}"
    bug = plant(start, start.replace(settle, ""), (end, end + settle),
                file="neuron/engine/kernels_grid.py", interpreted=True)  # fmt: skip
    assert batches(30, bug) > LIMIT


# --- the well-mixed limit -------------------------------------------------------------------------


@functools.cache
def rest(grid: PlaceGrid, seconds: int) -> list[Estimate]:
    """Rate, serotonin and stocks at rest as shares of the well-mixed neuron's."""
    sim = SpatialSimulation(IT, 9, grid=grid, baseline=calibrate(IT, 1).baseline)
    sim.run(50)
    return [averaged(column) for column in relative(IT, sim.run(seconds)).T]


def far(values: list[Estimate], bias: float) -> float:
    """Largest departure from the well-mixed neuron, beyond ``bias``, in standard errors; that of
    the calibration is below 0.4 %.
    """
    return max((abs(each.value - 1) - bias) / math.hypot(each.se, 0.004) for each in values)


@pytest.mark.slow
@pytest.mark.parametrize("grid", [ONE_CELL, PlaceGrid(cells=16, dt_s=0.02)])
def test_where_diffusion_is_fast_the_neuron_rests_as_if_well_mixed(grid: PlaceGrid) -> None:
    """Bias: K dt / 2 of what binds at K = 1 /s in a crowd, at most 1 %; none in one cell but
    (K dt)^2 / 12 of the average. Where diffusion is slow serotonin piles up where it is released:
    the same limit catches that.
    """
    limit = student_quantile(1e-6, 9, tests=10)
    assert far(rest(grid, 1000), 0.01) < limit
    slow = PlaceGrid(cells=16, dt_s=0.02, diffusion_um2_per_s=0.05)
    assert far(rest(slow, 500), 0.01) > limit


@pytest.mark.slow
def test_the_default_grid_rests_as_if_well_mixed() -> None:
    """64 x 64 cells at the step that ``timestep`` chooses: bias below 0.2 % (measured over 1500 s:
    0.2 +- 0.3 % of rate and serotonin).
    """
    limit = student_quantile(1e-6, 11, tests=5)
    assert far(rest(PlaceGrid(), 1200), 0.002) < limit


# --- a course on the grid -------------------------------------------------------------------------


def course(**changes: Any) -> Treatment:
    given = {"neuron": IT, "concentration_nM": constant(6.8), "days": 42.0, "windows": 6,
             "window_s": 5, "replicates": 2, "grid": COARSE}  # fmt: skip
    return Treatment(**given | changes)


@pytest.mark.slow
def test_a_course_on_the_grid_is_resumed_bit_for_bit_and_follows_the_twin(tmp_path: Path) -> None:
    own = calibrate(IT, 1)
    whole = Course(course(), own).run()
    Course(course(), own).run(2).save(tmp_path / "course")
    resumed = Course.resume(course(), tmp_path / "course", own).run()
    assert resumed.table().csv() == whole.table().csv()
    for neuron_ in whole.simulations:
        neuron_.check()
    assert whole.mean("terminal_occupancy") == pytest.approx(0.835, abs=0.05)
    assert whole.departure("rate_Hz") < 0.2 and whole.departure("sensitivity") < 0.1
    with pytest.raises(CourseError, match="another treatment"):
        Course.resume(course(grid=None), tmp_path / "course", own)


def test_a_long_course_is_announced_and_a_wrong_grid_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(treatment_module, "cost_s", lambda parameters, grid: 1e-5 * grid.cells**2)
    monkeypatch.setattr(treatment_module, "seconds_per_event", lambda: 5e-8)
    assert course().announcement == ""
    long = course(windows=150, window_s=15, replicates=8, grid=PlaceGrid())
    assert "on 64 x 64 cells will take about" in long.announcement
    mixed = course(windows=150, window_s=15, replicates=8, grid=None)
    assert long.estimated_s > 100 * mixed.estimated_s
    with pytest.raises(InputError, match="PlaceGrid"):
        course(grid=64)


def test_what_acts_within_hours_is_read_on_a_grid_too() -> None:
    """Firing with an antagonist, of two neurons whose molecules walk: near mean field's 1.67 Hz,
    far from the 1 Hz without it (their mean varies by 0.04), and not the well-mixed numbers.
    """
    inhibitor, antagonist = at_sert("citalopram"), at_autoreceptor("WAY-100635")
    assert antagonist is not None
    well_mixed = acute.Subject(IT, calibrate(IT, 1).baseline, inhibitor, antagonist)
    walking = dataclasses.replace(well_mixed, grid=PlaceGrid(cells=3))
    now = acute.Condition(Exposure(antagonist=4.0))
    assert acute.settling_s(walking, now) == acute.settling_s(well_mixed, now)
    each = [acute.averages(walking, now, 25, 25, 7, r)[0] for r in range(2)]
    assert np.mean(each) == pytest.approx(now.mean_field(IT)["rate_Hz"], abs=0.3)
    assert each[0] != acute.averages(well_mixed, now, 25, 25, 7, 0)[0]


# --- cost -----------------------------------------------------------------------------------------


def test_finer_cells_need_shorter_steps_and_more_time() -> None:
    steps = [inner_steps(IT, PlaceGrid(cells=cells)) for cells in (8, 16, 64)]
    assert steps == sorted(steps) and steps[-1] > 100
    assert cost_s(IT, PlaceGrid(cells=8)) > 0  # measured: what it is says bench, no test
    scenario = scenario_of(IT, 1, PlaceGrid())
    assert scenario.grid.volume_um3 == pytest.approx(IT.soma.volume_um3)
    assert scenario.ligands["serotonin"].count == 247 + round(2000 * 10 / 180) + 43
