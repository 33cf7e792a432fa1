"""One molecule's life: its laws against known numbers and brute force, the experiment against its
laws, and bugs that the experiment's checks catch.
"""

from __future__ import annotations

import functools
import math
from types import ModuleType

import numpy as np
import pytest
from figures import legible

from synapse_abm import theory
from synapse_abm.core.errors import InputError
from synapse_abm.core.progress import silent
from synapse_abm.runs.experiment import find
from synapse_abm.runs.results import Check, Result
from synapse_abm.synapse.engine import kernels
from synapse_abm.synapse.engine.planting import plant
from synapse_abm.synapse.engine.simulation import Simulation
from synapse_abm.synapse.scenario import Scenario

life = find("life").load()
TESTS = life.TESTS_EACH * 2


def single(width: int, height: int, at: int, rate: float, hops: float) -> theory.Wandering:
    here = np.zeros(width * height)
    here[at] = rate
    return theory.Wandering(width, height, hops, here, 0.5, 1.0)


SOME = theory.Wandering(4, 3, 2.0, np.array([0, 3.0, 0, 0, 0, 1, 0, 0, 0, 0, 2, 0]), 0.7, 1.3)

# --- the laws -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chain", "at", "mean", "var"),
    [
        (single(5, 5, 12, 3.0, 2.8), 12, 8.333333333333334, 114.6825396825408),
        (single(10, 1, 0, 3.0, 2.8), 0, 3.3333333333333335, 78.96825396825395),
    ],
)
def test_time_from_unbinding_to_rebinding(
    chain: theory.Wandering, at: int, mean: float, var: float
) -> None:
    """Known by the fundamental matrix of the walk: the mean is M/k_c, the variance is larger."""
    wait = chain.first_binding(at)
    assert wait.mean == pytest.approx(mean, rel=1e-11)
    assert wait.mean == pytest.approx(chain.mean_if_mixed, rel=1e-11)
    assert wait.var == pytest.approx(var, rel=1e-9)


@pytest.mark.parametrize(("width", "height", "at"), [(5, 5, 12), (6, 4, 0), (7, 1, 3)])
def test_first_binding_from_anywhere_is_reaction_plus_diffusion(
    width: int, height: int, at: int
) -> None:
    """M/k_c + sum over modes of M phi_k(at)**2 / lambda_k, the modes of reflecting walls."""
    rate, hops = 3.0, 2.8
    diffusion = 0.0
    for k in range(width):
        for m in range(height):
            if k or m:
                phi = (2 - (k == 0)) * math.cos(math.pi * k * (at % width + 0.5) / width) ** 2
                phi *= (2 - (m == 0)) * math.cos(math.pi * m * (at // width + 0.5) / height) ** 2
                slow = (
                    2 * hops * (2 - math.cos(math.pi * k / width) - math.cos(math.pi * m / height))
                )
                diffusion += phi / slow
    uniform = np.full(width * height, 1 / (width * height))
    mean = single(width, height, at, rate, hops).first_binding(uniform).mean
    assert mean == pytest.approx(width * height / rate + diffusion, rel=1e-11)


@pytest.mark.parametrize("hops", [0.01, 1.0, 1e4])
def test_mean_time_free_does_not_depend_on_diffusion(hops: float) -> None:
    """Kac: let go in each cell in proportion to its binding rate. Only the spread depends on it."""
    chain = theory.Wandering(4, 3, hops, SOME.binding_per_s, 0.7, 1.3)
    wait = chain.first_binding(SOME.binding_per_s / SOME.binding_per_s.sum())
    assert wait.mean == pytest.approx(12 / 6, rel=1e-8)
    assert (wait.var / wait.mean**2 > 1.5) == (hops < 100)


def _one_step(chain: theory.Wandering, dt: float) -> tuple[np.ndarray, np.ndarray]:
    """Hop, then react, over states free in each cell and bound in each cell, by brute force."""
    from scipy.linalg import expm

    m = chain.cells
    walk = np.zeros((m, m))
    for a in range(m):
        for b in range(m):
            dx, dy = a % chain.width - b % chain.width, a // chain.width - b // chain.width
            walk[a, b] = chain.hops_per_s * (abs(dx) + abs(dy) == 1)
    walk -= np.diag(walk.sum(axis=1))
    hop, react = np.eye(2 * m), np.zeros((2 * m, 2 * m))
    hop[:m, :m] = expm(walk * dt)
    for c, rate in enumerate(chain.binding_per_s):
        react[c, c], react[c, m + c] = -rate, rate
        react[m + c, c], react[m + c, m + c] = chain.koff, -chain.koff - chain.kcat
    return hop, expm(react * dt)


@pytest.mark.parametrize("dt", [0.01, 0.3, 2.0])
def test_stepped_laws_are_those_of_the_steps(dt: float) -> None:
    """Survival of both waits, where it binds, and whether it is seen free again: matrix powers."""
    hop, react = _one_step(SOME, dt)
    m, steps = SOME.cells, SOME.stepped(dt)
    row, unbound = np.zeros(2 * m), np.zeros(m)
    row[3] = unbound[3] = 1.0
    stay, again, caught = np.exp(-SOME.binding_per_s * dt), np.zeros(m), np.zeros(m)
    seated = np.zeros(m)  # bound for the first time, not seen free since
    first, whole = [1.0], [1.0]
    for _ in range(4000):
        row = row @ hop @ react
        arrived = unbound @ hop[:m, :m]
        kept = np.diag(react[m:, m:])
        let_go = seated * np.diag(react[m:, :m])
        again += let_go + arrived * (np.diag(react[:m, :m]) - stay)
        seated = seated * kept + arrived * np.diag(react[:m, m:])
        caught += arrived * (1 - stay)
        unbound = arrived * stay
        first.append(unbound.sum())
        whole.append(row.sum())
    k = np.arange(40)
    assert steps.first_binding(3).survival(k) == pytest.approx(np.array(first)[k], abs=1e-12)
    assert steps.lifetime(3).survival(k) == pytest.approx(np.array(whole)[k], abs=1e-12)
    # Forty seconds of the shortest step leave 1e-6 undecided.
    assert steps.binding_cells(3) == pytest.approx(caught, abs=1e-4)
    back = steps.free_again(3)
    assert back.probability * back.cells == pytest.approx(again, abs=1e-4)
    if dt == 0.3:
        assert steps.lifetime(3).mean == pytest.approx(dt * sum(whole), rel=1e-11)
        assert back.probability * back.cells == pytest.approx(again, abs=1e-12)


@pytest.mark.parametrize(("start", "order"), [(3, 2), (1, 1)])
def test_short_steps_become_continuous_time(start: int, order: int) -> None:
    """The mean first binding is off in first order of the step for a start among sites (it hops
    before it may bind), in second order for one elsewhere.
    """
    limit = SOME.first_binding(start).mean
    off = [SOME.stepped(dt).first_binding(start).mean - limit for dt in (4e-3, 2e-3, 1e-3)]
    assert off[0] / off[1] == pytest.approx(2**order, rel=0.02)
    assert off[1] / off[2] == pytest.approx(2**order, rel=0.02)
    for wait in ("first_binding", "lifetime"):
        limits, stepped = (getattr(x, wait)(start) for x in (SOME, SOME.stepped(1e-5)))
        assert stepped.mean == pytest.approx(limits.mean, rel=1e-4)
        assert stepped.var == pytest.approx(limits.var, rel=1e-4)
    law = SOME.binding_cells(start)
    assert SOME.stepped(1e-5).binding_cells(start) == pytest.approx(law, abs=1e-4)


def test_moments_of_a_geometric_wait() -> None:
    q = 0.8
    wait = theory.SteppedWaiting(np.array([q]), np.array([q]), 2.0)
    assert wait.mean == pytest.approx(2 / (1 - q))
    assert wait.var == pytest.approx(4 * q / (1 - q) ** 2)
    assert wait.skewness == pytest.approx((1 + q) / math.sqrt(q))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hops_per_s": 0.0}, "hops_per_s"),
        ({"koff": -1.0}, "koff"),
        ({"kcat": math.nan}, "kcat"),
        ({"binding_per_s": np.zeros(12)}, "fullest cell"),
        ({"binding_per_s": np.ones(11)}, "shape"),
        ({"width": 0}, "width"),
    ],
)
def test_impossible_places_are_refused(change: dict[str, object], message: str) -> None:
    good = {"width": 4, "height": 3, "hops_per_s": 1.0, "binding_per_s": np.ones(12),
            "koff": 1.0, "kcat": 1.0}  # fmt: skip
    with pytest.raises(ValueError, match=message):
        theory.Wandering(**(good | change))  # type: ignore[arg-type]


@pytest.mark.parametrize("start", [-1, 12, 0.5, np.full(12, 0.1), np.ones(3) / 3])
def test_impossible_starts_are_refused(start: object) -> None:
    with pytest.raises(ValueError, match="start"):
        SOME.first_binding(start)  # type: ignore[arg-type]


# --- the experiment -------------------------------------------------------------------------------


@functools.cache
def quick() -> Result:
    result: Result = life.run(seed=3, quick=True, progress=silent)
    return result


def test_every_check_passes_and_has_an_error() -> None:
    assert quick().passed
    assert len(quick().checks) == TESTS
    assert all(check.kind == "exact" and check.se for check in quick().checks)


def test_slow_diffusion_is_caught_again_sooner_and_later_but_not_on_average() -> None:
    """From the exact laws: the same mean within 5 %, half within 0.1 s, and a longer tail."""
    fast, slow = (life.Laws.of(life.scenario(d)).continuous["again"] for d in (211.0, 0.05))
    assert slow.mean == pytest.approx(fast.mean, rel=0.05)
    assert slow.survival(0.1) < 0.55 < 0.9 < fast.survival(0.1)
    assert slow.survival(8.0) > 3 * fast.survival(8.0)


def test_the_fast_place_is_well_mixed() -> None:
    chain = life.in_theory(life.scenario(211.0))
    wait = chain.first_binding(life.start(life.scenario(211.0)))
    assert wait.mean == pytest.approx(chain.mean_if_mixed, rel=2e-3)
    assert wait.var == pytest.approx(wait.mean**2, rel=2e-3)
    assert chain.mean_if_mixed == pytest.approx(400 / (60 * 4 / 170 * 166.05), rel=1e-3)


@pytest.mark.slow
def test_the_path_tells_the_same_life_as_the_counters() -> None:
    synapse = life.scenario(0.05)
    for replicate in range(3):
        lives = life.follow([Simulation(synapse, 5, replicate)])
        path = life.path(Simulation(synapse, 5, replicate))
        assert path["state"][-1] == "taken up"
        assert path["time_s"][-1] == pytest.approx(lives.life[0] * synapse.dt_s)
        bound = [n for n, state in enumerate(path["state"]) if state == "bound"]
        assert len(bound) <= lives.bindings[0]
        assert all((path["x"][n], path["y"][n]) in life.CLUSTERS for n in bound)


def test_the_path_and_the_four_waits_are_two_figures() -> None:
    figures = legible(life, quick())
    assert [ax.get_xlabel() for ax in figures[""].axes] == ["x (µm)", "time since release (s)"]
    words = [ax.get_xlabel() for ax in figures["statistics"].axes]
    assert words.count("time (s)") == 4 and "bindings in a life" in words


@pytest.mark.parametrize("slow", [0.0, -1.0, math.nan, math.inf, 1e4])
def test_a_diffusion_that_cannot_be_is_refused(slow: float) -> None:
    with pytest.raises(InputError, match="--slow-um2-per-s"):
        life.run(seed=1, quick=True, progress=silent, slow_um2_per_s=slow)


# --- what its checks catch ------------------------------------------------------------------------


def place(diffusion: float, step_s: float, kcat_times: float = 1.0) -> Scenario:
    """The experiment's place with another step, which its laws allow for, or another k_cat."""
    synapse: Scenario = life.scenario(diffusion)
    molecule = synapse.ligands["serotonin"]
    kinetics = molecule.binding["SERT"]
    other = kinetics.model_copy(update={"kcat_per_s": kcat_times * kinetics.kcat_per_s,
                                        "koff_per_s": kinetics.koff,
                                        "kon_per_nM_s": kinetics.kon, "kd_nM": None})  # fmt: skip
    molecule = molecule.model_copy(update={"binding": {"SERT": other}})
    return synapse.model_copy(update={"dt_s": step_s, "ligands": {"serotonin": molecule}})


def checks(
    lived: Scenario, judged: Scenario, lives: int, seed: int, with_kernels: ModuleType = kernels
) -> list[Check]:
    """The checks of ``judged`` on lives in ``lived``."""
    sims = (Simulation(lived, seed, r, kernels=with_kernels) for r in range(lives))
    result: list[Check] = life.checks_of(
        "here", life.follow(sims), life.Laws.of(judged), judged, TESTS
    )
    return result


@functools.cache
def at_a_long_step(diffusion: float) -> life.Lives:
    """Those of 1500 molecules at 20 ms."""
    return life.follow(Simulation(place(diffusion, 0.02), 7, r) for r in range(1500))


def failed(found: list[Check]) -> set[str]:
    return {check.name.removeprefix("here: ") for check in found if not check.passed}


@pytest.mark.slow
@pytest.mark.parametrize("diffusion", [211.0, 0.05])
def test_the_laws_hold_at_a_long_step(diffusion: float) -> None:
    """At 20 ms a molecule in a cluster binds with a chance of a third: nothing is an expansion."""
    synapse, laws = place(diffusion, 0.02), life.Laws.of(place(diffusion, 0.02))
    lives = at_a_long_step(diffusion)
    assert not failed(life.checks_of("here", lives, laws, synapse, TESTS))


@pytest.mark.slow
def test_the_law_of_short_steps_is_another_one_at_a_long_step() -> None:
    """At 20 ms the wait is a fifth longer, which the checks see: they judge the steps, rightly."""
    synapse = place(211.0, 1e-4).model_copy(update={"dt_s": 1e-3})
    laws = life.Laws.of(synapse)
    found: list[Check] = life.checks_of("here", at_a_long_step(211.0), laws, synapse, TESTS)
    assert "mean time until first bound, s" in failed(found)


@pytest.mark.slow
def test_a_faster_kcat_is_caught() -> None:
    """Twice as fast: shorter episodes, fewer bindings. (5 %: the slow test below.)"""
    found = checks(place(211.0, 0.02, kcat_times=2.0), place(211.0, 0.02), 1500, seed=7)
    assert {"mean time bound, until first let go, s", "law of the number of bindings"} <= failed(
        found
    )


@pytest.mark.slow
def test_a_molecule_let_go_anywhere_would_be_caught() -> None:
    """It comes free in the cell of its transporter; a law that says anywhere does not fit."""
    synapse = place(0.05, 0.005)
    anywhere = np.full(synapse.grid.cells, 1 / synapse.grid.cells)
    laws = life.Laws.of(synapse)
    chain = life.in_theory(synapse).stepped(synapse.dt_s)
    laws.stepped["again"] = chain.first_binding(anywhere)
    lives = life.follow(Simulation(synapse, 7, r) for r in range(1500))
    found = failed(life.checks_of("here", lives, laws, synapse, TESTS))
    assert found >= {"law of the time let go, until bound again"}
    assert all("let go, until bound again" in name for name in found)


@pytest.mark.slow
def test_a_molecule_that_is_let_go_elsewhere_is_caught() -> None:
    """The same from the other side: planted in the engine, it comes free seven cells away."""
    honest = "mol[CELL, row] = sites[SITE_CELL, site]"
    bug = "mol[X, row] = (mol[X, row] + u32(7)) % u32(plan.width)"
    planted = plant(honest, f"{honest}\n        {bug}")
    synapse = place(0.05, 0.005)
    found = failed(checks(synapse, synapse, 1500, seed=7, with_kernels=planted))
    assert "law of the time let go, until bound again" in found
    assert "law of the time until first bound" not in found


@pytest.mark.slow
@pytest.mark.parametrize("diffusion", [211.0, 0.05])
def test_forty_thousand_lives_and_a_kcat_5_percent_off(diffusion: float) -> None:
    """Twenty times the lives of the experiment: no bias; and k_cat 5 % too fast is seen."""
    synapse = place(diffusion, 0.02)
    assert not failed(checks(synapse, synapse, 40_000, seed=8))
    wrong = failed(checks(place(diffusion, 0.02, kcat_times=1.05), synapse, 40_000, seed=8))
    assert "mean time bound, until first let go, s" in wrong
