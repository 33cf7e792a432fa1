"""What may not matter: names, the unit of time, which of two equal ligands, the order of sites, the
side from which one looks.

Most of it without chance: the generator that the compiled engine has on tiny places (see
``test_rates``) must be the same, after the states have been renamed, to 1e-12.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from scenarios import everything
from strata import INTERVALS, audited, hopped
from tiny import ASK, Cell, Key, Tiny, differ, two_transporters

from synapse_abm.synapse.engine import layout as lay
from synapse_abm.synapse.engine.planting import extended, plant
from synapse_abm.synapse.engine.simulation import Simulation
from synapse_abm.synapse.scenario import Grid, Kinetics, Ligand, Scenario, Target

type Rename = Callable[[Key], Key]


def disagree(a: Tiny, b: Tiny, keys: list[Key], rename: Rename) -> bool:
    """Whether the generators of two places differ once the states of ``a`` are renamed."""
    for key in keys:
        renamed = defaultdict[Key, float](float)
        for to, rate in a.moves(key).items():
            renamed[rename(to)] += rate
        if differ(dict(renamed), b.moves(rename(key))):
            return True
    return False


def copy(scenario: Scenario, **parts: Any) -> Scenario:
    return scenario.model_copy(update=parts)


# --- relabelled ligands ---------------------------------------------------------------------------


def relabelled(kernels: ModuleType | None = None, every: int = 1) -> bool:
    """The drug first and serotonin second: the same place, said otherwise."""
    scenario = two_transporters()
    a = Tiny(scenario, kernels)
    b = Tiny(copy(scenario, ligands=dict(reversed(scenario.ligands.items()))), kernels)

    def rename(key: Key) -> Key:
        return tuple(tuple(part[::-1] for part in cell) for cell in key)  # type: ignore[misc]

    keys = list(a.states({"serotonin": 1, "drug": 1}))[::every]
    return disagree(a, b, keys, rename)


# --- one ligand or two equal ones -----------------------------------------------------------------


def pair(names: str) -> Scenario:
    """Equal ligands of some names at three receptors of two kinds in two cells."""
    binding = {
        "A": Kinetics(kon_per_nM_s=0.013, koff_per_s=0.7, kcat_per_s=0.4),
        "B": Kinetics(kon_per_nM_s=0.021, koff_per_s=1.9),
    }
    ligand = Ligand(
        count=1, binding=binding, return_per_s=0.6, metabolism_per_s=0.1, degradation_per_s=0.2
    )
    return Scenario(
        grid=Grid(width=2, height=1),
        dt_s=0.1,
        targets={"A": Target(cells=((0, 0), (0, 0))), "B": Target(cells=((1, 0),))},
        ligands=dict.fromkeys(names, ligand),
    )


def split(kernels: ModuleType | None = None, every: int = 1) -> bool:
    """The numbers of both kinds together follow the generator of one kind (lumpability)."""
    two, one = Tiny(pair("xy"), kernels), Tiny(pair("x"), kernels)

    def together(key: Key) -> Key:
        def lump(cell: Cell) -> Cell:
            free, inside, bound = cell  # bound: x and y at A, x and y at B
            return (sum(free),), (sum(inside),), (bound[0] + bound[1], bound[2] + bound[3])

        return tuple(lump(cell) for cell in key)

    keys = list(two.states({"x": 2, "y": 1}))[::every]
    return disagree(two, one, keys, together)


# --- sites in another order -----------------------------------------------------------------------


def permuted(kernels: ModuleType | None = None, every: int = 1) -> bool:
    """Sites are named in another order, and hold other ids."""
    scenario = pair("x")
    cells = ((0, 0), (0, 0), (1, 0))
    places = [
        Tiny(copy(scenario, targets=scenario.targets | {"A": Target(cells=order)}), kernels)
        for order in (cells, cells[::-1])
    ]
    keys = list(places[0].states({"x": 3}))[::every]
    return disagree(*places, keys, lambda key: key)


# --- seen from the other side ---------------------------------------------------------------------


def moved(scenario: Scenario, to: Callable[[tuple[int, int]], tuple[int, int]]) -> Scenario:
    """Everything in its new cell, on a grid turned if need be."""
    width, height = (n + 1 for n in map(max, zip(to((0, 0)), to((scenario.grid.width - 1, 0)))))  # noqa: B905
    targets = {
        name: copy(x, cells=tuple(to(cell) for cell in x.cells or ()))  # type: ignore[arg-type]
        for name, x in scenario.targets.items()
    }
    ligands = {
        name: copy(x, batches=tuple(copy(b, cell=to(b.cell)) for b in x.batches))  # type: ignore[arg-type]
        for name, x in scenario.ligands.items()
    }
    grid = copy(scenario.grid, width=width, height=height)  # type: ignore[arg-type]
    return copy(scenario, grid=grid, targets=targets, ligands=ligands)


def reflected(kernels: ModuleType | None = None, every: int = 1) -> bool:
    scenario = two_transporters()
    a, b = Tiny(scenario, kernels), Tiny(moved(scenario, lambda at: (2 - at[0], at[1])), kernels)
    keys = list(a.states({"serotonin": 1, "drug": 1}))[::every]
    return disagree(a, b, keys, lambda key: key[::-1])


def turned(kernels: ModuleType | None = None, every: int = 1) -> bool:
    """A column of cells for a row."""
    scenario = two_transporters()
    a, b = Tiny(scenario, kernels), Tiny(moved(scenario, lambda at: (at[1], at[0])), kernels)
    assert (b.scenario.grid.width, b.scenario.grid.height) == (1, 3)
    keys = list(a.states({"serotonin": 1, "drug": 1}))[::every]
    return disagree(a, b, keys, lambda key: key)


CHANGES = {f.__name__: f for f in (relabelled, split, permuted, reflected, turned)}


@pytest.mark.parametrize("change", CHANGES)
def test_the_generator_stays(change: str) -> None:
    """Every state of a place: no rate differs by more than 1e-12."""
    assert not CHANGES[change]()


EVENT = "a = scratch.rate[c] * float(n1 * n2)"
BUGS = {
    "the first ligand is faster": (
        "relabelled",
        EVENT, f"{EVENT} * (1.0 + 0.01 * float(chem.channels[c, INDEX] == 0))",
    ),
    "pairs among the like": ("split", EVENT, f"{EVENT} * (0.5 + 0.5 * float(n1))"),
    "sites with an odd number stay": (
        "permuted",
        "r = chem.pair_of[target, bound] if bound >= 0 else plan.pairs + target\n"
        "        scratch.members[scratch.first[r] + counts[r]] = site\n        counts[r] += 1",
        "r = chem.pair_of[target, bound] if bound >= 0 else plan.pairs + target\n"
        "        scratch.members[scratch.first[r] + counts[r]] = site\n"
        "        counts[r] += 1 if bound < 0 or site % 2 == 0 else 0",
    ),
    "what unbinds drifts to the right": (
        "reflected",
        "mol[CELL, row] = sites[SITE_CELL, site]",
        "mol[CELL, row] = min(sites[SITE_CELL, site] + 1, plan.cells - 1)",
    ),
    "rows for columns": (
        "turned", "mol[CELL, row], mol[COMPARTMENT, row], mol[SITE, row] = cell, FREE, NO_SITE",
        "mol[CELL, row], mol[COMPARTMENT, row], mol[SITE, row] = cell % plan.width, FREE, NO_SITE",
    ),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_the_engine_left_to_python_stays(change: str) -> None:
    """The control of the planted bugs, run the same way on some states."""
    assert not CHANGES[change](extended(ASK, interpreted=True), 9)


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found(bug: str) -> None:
    change, old, new = BUGS[bug]
    assert CHANGES[change](plant(old, new, more=ASK, interpreted=True), 9)


# --- hopping from the other side ------------------------------------------------------------------


def mirror_error(engine: ModuleType, n: int) -> float:
    """Largest difference between a start and its mirror image, in units of what is allowed."""
    here = hopped((5, 2), "reflecting", n, n, engine).sum(axis=0)
    mirrored = hopped((1, 2), "reflecting", n, n, engine).sum(axis=0)[::-1]
    return float(np.abs(here - mirrored).max() * n / (2 * INTERVALS))


def test_hopping_is_the_same_from_the_other_side() -> None:
    assert mirror_error(audited(), 1_000_000) <= 1


def test_a_lopsided_wall_is_found() -> None:
    """Who steps over either wall ends up at the right one."""
    assert mirror_error(audited(interpreted=True), 2000) <= 1
    honest = "column = min(column, u32(ring_x - ONE - column))"
    lopsided = audited((honest, "column = min(column, width - ONE)"), interpreted=True)
    assert mirror_error(lopsided, 2000) > 1


# --- another unit of time -------------------------------------------------------------------------


def quicker(scenario: Scenario, by: float) -> Scenario:
    """Every rate ``by`` times as large, every time as much shorter."""

    def ligand(x: Ligand) -> Ligand:
        binding = {
            name: Kinetics(
                kon_per_nM_s=k.kon * by, koff_per_s=k.koff * by, kcat_per_s=k.kcat_per_s * by
            )
            for name, k in x.binding.items()
        }
        bath = x.reservoir and copy(  # type: ignore[arg-type]
            x.reservoir, exchange_per_s=x.reservoir.exchange_per_s * by
        )
        batches = tuple(
            copy(b, rate_per_s=b.rate_per_s * by, times_s=tuple(t / by for t in b.times_s))  # type: ignore[arg-type]
            for b in x.batches
        )
        rates = {
            name: getattr(x, name) * by
            for name in (
                "diffusion_um2_per_s", "return_per_s", "metabolism_per_s", "degradation_per_s"
            )
        }  # fmt: skip
        return copy(x, binding=binding, reservoir=bath, batches=batches, **rates)  # type: ignore[arg-type]

    ligands = {name: ligand(x) for name, x in scenario.ligands.items()}
    return copy(scenario, ligands=ligands, dt_s=scenario.dt_s / by)


def rescaled_differ(steps: int, **kernels: Any) -> bool:
    """Whether a run in another unit of time differs, in any bit but the times of events."""
    slow = Simulation(everything(), 7, **kernels)
    fast = Simulation(quicker(everything(), 4.0), 7, **kernels)
    slow.run(steps)
    fast.run(steps)
    a, b = slow.state.store, fast.state.store
    same = all(
        np.array_equal(getattr(a, name), getattr(b, name))
        for name in ("molecules", "sites", "segments", "meta", "totals", "events")
    )
    return not (same and np.array_equal(a.last_s, 4.0 * b.last_s, equal_nan=True))


def test_the_unit_of_time_does_not_matter() -> None:
    """By a power of two, which rounds nothing: the same trajectory, molecule for molecule."""
    assert not rescaled_differ(300)


def test_a_time_in_seconds_is_found() -> None:
    """A dead time of a millisecond after each event."""
    assert not rescaled_differ(20, kernels=extended("", interpreted=True))
    dead = plant(
        "            time += wait\n", "            time += wait + 1e-3\n", interpreted=True
    )
    assert rescaled_differ(20, kernels=dead)


def test_every_kind_of_event_was_rescaled() -> None:
    run = Simulation(everything(), 7)
    run.run(300)
    events = run.state.store.events
    pairs, ligands = len(run.names.pairs), len(run.names.ligands)
    by_kind = [events[k * pairs : (k + 1) * pairs].sum() for k in range(3)]
    by_kind += [events[3 * pairs + k * ligands :][:ligands].sum() for k in range(lay.RELEASE - 2)]
    assert min(by_kind) > 0
