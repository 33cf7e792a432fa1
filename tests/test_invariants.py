"""What must be true after every step, of random scenarios on both engines; and that it is checked.

The check of the program is not trusted: a second one, written here from the arrays alone, runs
beside it, and every field of a state is spoilt to see whether it objects.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scenarios import everything, no_sites

from synapse_abm.synapse.agents.model import SynapseModel
from synapse_abm.synapse.engine import layout as lay
from synapse_abm.synapse.engine.checkpoint import to_bytes
from synapse_abm.synapse.engine.invariants import InvariantError, check
from synapse_abm.synapse.engine.layout import Store
from synapse_abm.synapse.engine.network import Names
from synapse_abm.synapse.engine.planting import extended, plant
from synapse_abm.synapse.engine.simulation import Simulation
from synapse_abm.synapse.engine.state import State
from synapse_abm.synapse.scenario import Batch, Grid, Kinetics, Ligand, Reservoir, Scenario, Target

#: Same examples on every run.
repeatable = settings(
    derandomize=True, database=None, deadline=None, max_examples=40,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip

# --- random scenarios -----------------------------------------------------------------------------

rates = st.floats(0.0, 8.0)


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    """Any mixture of what a place can have, small."""
    width, height = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    cells = st.tuples(st.integers(0, width - 1), st.integers(0, height - 1))
    some_cells = st.lists(cells, max_size=4).map(tuple)
    target = st.builds(lambda n: Target(sites=n), st.integers(0, 12)) | st.builds(
        lambda at: Target(cells=at), some_cells
    )
    names = ("SERT", "NET", "5-HT1A")[: draw(st.integers(0, 3))]
    targets = {name: draw(target) for name in names}
    kinetics = st.builds(
        Kinetics, kon_per_nM_s=st.floats(0.0, 0.05), koff_per_s=rates,
        kcat_per_s=st.just(0.0) | rates,
    )  # fmt: skip
    binding = st.fixed_dictionaries({}, optional=dict.fromkeys(names, kinetics))
    clamped = st.builds(Ligand, clamped_nM=st.floats(0.0, 200.0), binding=binding)
    batch = st.builds(
        Batch, size=st.integers(1, 6), cell=cells, rate_per_s=st.just(0.0) | rates,
        times_s=st.lists(st.floats(0.0, 3.0), max_size=3).map(tuple),
    )  # fmt: skip
    real = st.builds(
        Ligand,
        diffusion_um2_per_s=st.just(0.0) | st.floats(0.0, 0.5),
        count=st.integers(0, 25),
        start_cell=st.none() | cells,
        reservoir=st.none() | st.builds(
            Reservoir, concentration_nM=st.floats(0.0, 300.0), exchange_per_s=rates
        ),
        batches=st.lists(batch, max_size=2, unique_by=lambda b: b.cell).map(tuple),
        binding=binding, return_per_s=rates, metabolism_per_s=rates, degradation_per_s=rates,
    )  # fmt: skip
    ligands = draw(st.lists(real | clamped, min_size=1, max_size=3))
    walls = draw(st.sampled_from(["reflecting", "periodic"]))
    return Scenario(
        grid=Grid(width=width, height=height, walls=walls),  # type: ignore[arg-type]
        dt_s=draw(st.floats(0.01, 1.0)),
        targets=targets,
        ligands=dict(zip("abc", ligands, strict=False)),
    )


def broken(store: Store, scenario: Scenario) -> list[str]:
    """What a second look finds wrong, from the arrays alone and molecule by molecule."""
    names, wrong = Names.of(scenario), list[str]()
    pairs, ligands = len(names.pairs), len(names.ligands)

    def events(kind: int, number: int) -> int:
        if kind <= lay.BIND:
            return int(store.events[kind * pairs + number])
        return int(store.events[3 * pairs + (kind - lay.RETURN) * ligands + number])

    seats = dict[int, int]()
    for i, name in enumerate(names.ligands):
        start, end = store.segments[i, lay.START], store.segments[i, lay.END]
        there = [0, 0, 0, 0]
        for row in range(start, end):
            compartment = int(store.molecules[lay.COMPARTMENT, row])
            there[compartment] += 1
            if compartment == lay.BOUND:
                site = int(store.molecules[lay.SITE, row])
                if site in seats:
                    wrong.append(f"site {site} is taken twice")
                seats[site] = row
                if store.sites[lay.LIGAND, site] != i:
                    wrong.append(f"site {site} says it holds another ligand")
        if scenario.ligands[name].clamped_nM is None:
            came = events(lay.ARRIVE, i) + events(lay.RELEASE, i) + scenario.ligands[name].count
            went = sum(events(kind, i) for kind in (lay.EXIT, lay.DEGRADE, lay.METABOLISE))
            if came - went != there[lay.FREE] + there[lay.BOUND] + there[lay.INSIDE]:
                wrong.append(f"{name} is not conserved")
            mine = [p for p, pair in enumerate(names.pairs) if pair[1] == name]
            held = sum(
                events(lay.BIND, p) - events(lay.UNBIND, p) - events(lay.TRANSPORT, p) for p in mine
            )
            if held != there[lay.BOUND]:
                wrong.append(f"bound {name} is not conserved")
    for site, row in enumerate(store.sites[lay.ROW].tolist()):
        if (row >= 0) != (site in seats) or (row >= 0 and seats[site] != row):
            wrong.append(f"site {site} and its molecule disagree")
    sites = sum(target.n_sites for target in scenario.targets.values())
    if store.sites.shape[1] != sites or store.totals[: pairs + len(names.targets)].sum() != sites:
        wrong.append("sites are not conserved")
    if (store.totals < 0).any() or (store.events < 0).any():
        wrong.append("a count is negative")
    return wrong


@repeatable
@given(scenarios(), st.integers(0, 2**64 - 1))
def test_invariants_hold_after_every_step_and_engines_agree(scenario: Scenario, seed: int) -> None:
    compiled = SynapseModel(scenario, rng=seed, check_every_step=True)
    agents = SynapseModel(scenario, rng=seed, engine="agents", check_every_step=True)
    for _ in range(8):
        compiled.step()
        agents.step()
        for model in (compiled, agents):
            assert not broken(model.store, scenario)
        assert to_bytes(compiled.simulation) == to_bytes(agents.simulation)


@pytest.mark.slow
@settings(repeatable, max_examples=1500)
@given(scenarios(), st.integers(0, 2**64 - 1))
def test_invariants_hold_in_longer_runs(scenario: Scenario, seed: int) -> None:
    simulation = Simulation(scenario, seed, check_every_step=True)
    for _ in range(10):
        simulation.run(12)
        assert not broken(simulation.state.store, scenario)


# --- the check has teeth --------------------------------------------------------------------------


def lived(scenario: Scenario | None = None, steps: int = 30) -> tuple[Scenario, State]:
    """A state in which all compartments, gaps and every kind of event occur."""
    scenario = scenario or everything()
    simulation = Simulation(scenario, 3)
    simulation.run(steps)
    return scenario, simulation.state


SCENARIO, STATE = lived()


def row_of(compartment: int, ligand: int = 0) -> int:
    """First row of serotonin (0) or citalopram (1) in a compartment."""
    start, end = STATE.store.segments[ligand, [lay.START, lay.END]]
    return int(
        start + np.flatnonzero(STATE.store.molecules[lay.COMPARTMENT, start:end] == compartment)[0]
    )


def objects(spoil: Callable[[Store], None]) -> bool:
    """Whether the check refuses the state after ``spoil``."""
    state = STATE.copy()
    check(state, SCENARIO)
    spoil(state.store)
    try:
        check(state, SCENARIO)
    except InvariantError:
        return True
    return False


KINDS = {"free": lay.FREE, "bound": lay.BOUND, "inside": lay.INSIDE, "gone": lay.GONE}
FIELDS = {"id": lay.ID, "x": lay.X, "y": lay.Y, "cell": lay.CELL, "site": lay.SITE,
          "compartment": lay.COMPARTMENT}  # fmt: skip
#: Numbers of a molecule that has gone, of which nobody takes notice any more.
IDLE = {("gone", "id"), ("gone", "x"), ("gone", "y"), ("gone", "cell"), ("gone", "site")}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("field", FIELDS)
def test_no_number_of_a_molecule_may_be_wrong(kind: str, field: str) -> None:
    """Other values: the next, those of a neighbour, the largest; every one must be refused."""
    row, at = row_of(KINDS[kind]), FIELDS[field]
    honest = int(STATE.store.molecules[at, row])
    live = STATE.rows()[0]
    neighbour = int(STATE.store.molecules[at, live[live > row][0]])
    others = {honest + 1, honest ^ 1, neighbour, 0xFFFFFFFF, 0} - {2**32}
    if field == "compartment":
        others = {0, 1, 2, 3, 4}
    if field == "id":  # an id between those of its neighbours is as good as another
        others = {neighbour, 0xFFFFFFFF}
    mirrored = {lay.X: 11 - honest, lay.Y: 9 - honest}.get(at, honest)  # the same cell
    for value in others - {honest, mirrored}:

        def spoil(store: Store, value: int = value) -> None:
            store.molecules[at, row] = value

        assert objects(spoil) or (kind, field) in IDLE, (kind, field, honest, value)


@pytest.mark.parametrize("field", ["cell", "target", "ligand", "row"])
def test_no_number_of_a_site_may_be_wrong(field: str) -> None:
    """Of sites that are empty, held by a molecule, and held by a clamped ligand."""
    at = ("cell", "target", "ligand", "row").index(field)
    sites = STATE.store.sites
    kinds = [
        sites[lay.LIGAND] == -1,
        sites[lay.ROW] >= 0,
        (sites[lay.LIGAND] >= 0) & (sites[lay.ROW] < 0),
    ]
    assert all(kind.any() for kind in kinds)
    for kind in kinds:
        site = int(np.flatnonzero(kind)[0])
        honest = int(sites[at, site])
        for value in {-2, -1, 0, 1, 2, 3, honest + 1, honest - 1, 10**6} - {honest}:

            def spoil(store: Store, site: int = site, value: int = value) -> None:
                store.sites[at, site] = value

            free_cell = field == "cell" and 0 <= value < 30 and site < 9
            if not free_cell:  # a scattered site that is empty may be in any cell but a taken one
                assert objects(spoil), (field, site, honest, value)


def test_two_scattered_sites_may_not_share_a_cell() -> None:
    def spoil(store: Store) -> None:
        store.sites[lay.SITE_CELL, 0] = store.sites[lay.SITE_CELL, 1]

    assert objects(spoil)


@pytest.mark.parametrize("column", range(4))
@pytest.mark.parametrize("by", [-1, 1, 10**6])
def test_no_segment_may_be_wrong(column: int, by: int) -> None:
    for ligand in range(3):

        def spoil(store: Store, ligand: int = ligand) -> None:
            store.segments[ligand, column] += by

        empty = STATE.store.segments[ligand, lay.END] == STATE.store.segments[ligand, lay.START]
        past_the_end = (
            column == lay.END and by == 1
        )  # the row there is one that has gone, or a copy
        assert objects(spoil) or empty or past_the_end, (ligand, column, by)


@pytest.mark.parametrize("array", ["totals", "events"])
@pytest.mark.parametrize("by", [-1, 1, 10**6])
def test_no_count_may_be_wrong(array: str, by: int) -> None:
    """Every total and every counter."""
    for at in range(getattr(STATE.store, array).size):

        def spoil(store: Store, at: int = at) -> None:
            getattr(store, array)[at] += by

        assert objects(spoil), (array, at)


@pytest.mark.parametrize("time", [-1.0, 1e6, math.nan, math.inf, 0.5])
def test_no_time_may_be_wrong(time: float) -> None:
    """Times may lie in the past, if there was an event at all, but not in the future or nowhere."""
    for at, honest in enumerate(STATE.store.last_s):

        def spoil(store: Store, at: int = at) -> None:
            store.last_s[at] = time

        fine = math.isnan(time) if math.isnan(honest) else time == 0.5
        assert objects(spoil) or fine, (at, honest)


@pytest.mark.parametrize(
    ("entry", "by"),
    [(lay.STEP, -1), (lay.NEXT_ID, -10), (lay.FULL, 1), (lay.SCHEDULED, 1), (lay.SCHEDULED, -1)],
)
def test_step_ids_and_releases_are_checked(entry: int, by: int) -> None:
    """A step too many would not be noticed here: nothing else in the state tells the time."""

    def spoil(store: Store) -> None:
        store.meta[entry] += by

    assert objects(spoil)


GONE_EXITS = (
    "    note(plan, store, EXIT, ligand, exits, end)\n    note(plan, store, DEGRADE, ligand, int(m)"
)
BUGS = {
    "a row used twice": ("seg[ligand, END] = row + 1", "seg[ligand, END] = row + (row % 7 != 6)"),
    "a site that forgets its molecule": (
        "sites[ROW, site] = row\n", "sites[ROW, site] = row if row % 5 else -1\n"
    ),
    "exits that are not counted": (GONE_EXITS, GONE_EXITS.partition("\n")[2]),
    "unbinding leaves the site": (
        "        mol[SITE, row] = NO_SITE\n        mol[CELL, row] = sites",
        "        mol[CELL, row] = sites",
    ),
    "gaps closed without telling the sites": (
        "                store.sites[ROW, mol[SITE, row]] = to\n", "                pass\n"
    ),
    "hopping while bound": (
        "mask = u32(ZERO - u32(compartment[i] == FREE))\n        both",
        "mask = u32(ZERO - u32(compartment[i] <= BOUND))\n        both",
    ),
    "a degraded molecule that is not counted": ("int(m) - exits, end)", "0, end)"),
}  # fmt: skip


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_breaks_an_invariant(bug: str) -> None:
    kernels = plant(*BUGS[bug], interpreted=True)
    scenario = everything() if "exits" not in bug else no_sites()
    simulation = Simulation(scenario, 3, kernels=kernels, check_every_step=True)
    with pytest.raises(InvariantError):
        simulation.run(300)


def test_the_engine_left_to_python_breaks_none() -> None:
    """The control of the planted bugs, run the same way."""
    for scenario in (everything(), no_sites()):
        kernels = extended("", interpreted=True)
        Simulation(scenario, 3, kernels=kernels, check_every_step=True).run(60)
