"""How long may a step be before what moves in time comes out wrong?

Question
    A step lets molecules hop for dt and then react for dt with positions frozen. Equilibrium does
    not notice. Kinetics and driven synapses do: the plain rule is slow. By how much, for which
    length of step; how much of it do rates that are adjusted to the step mend; and does the step
    that the program chooses keep what it announces?
Method
    No random numbers but for two points. One molecule on a grid is a finite chain, of which the
    relaxation rate, correlation time, association from an even start and mean time to first binding
    are computed in time and in steps (``theory.relaxation``). Means of driven synapses follow from
    the flow of many molecules that do not get in each other's way, and a few molecules and sites
    that do from the chain of all their states (``theory.stepping``). Two long steps are also
    simulated, to show that the engine errs as computed.
Expected answer
    Plain rates are slow by up to (1 - exp(-x))/x, x the rate of binding in a site's cell times dt.
    Adjusted ones err by a few thousandths at x = 0.3. At the chosen step rates are within 1 % and
    driven means within 0.2 %, in all cases, also those that the derivation does not cover.
Run time
    About 40 s; with --quick about 10 s.
Source
    Andrews & Bray 2004, Phys Biol 1:137 (rates adjusted to a step); Strang 1968, SIAM J Numer Anal
    5:506 (order of the splitting). Rates are chosen to show regimes (assumed); serotonin's 211
    um^2/s is that of ``synapse-abm list --drugs``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from synapse_abm import statistics
from synapse_abm.core.address import Address
from synapse_abm.core.arithmetic import rounded
from synapse_abm.core.progress import Progress
from synapse_abm.core.text import text_table
from synapse_abm.runs import dose_response, sweep
from synapse_abm.runs.results import Check, Result, Table
from synapse_abm.synapse.engine.network import arrivals_per_cell_s, place_sites
from synapse_abm.synapse.engine.simulation import Simulation
from synapse_abm.synapse.scenario import Batch, Grid, Kinetics, Ligand, Reservoir, Scenario, Target
from synapse_abm.synapse.scenario.rate_adjustment import adjustment, adjustments
from synapse_abm.synapse.scenario.step_error import StepErrors, in_cell_rate
from synapse_abm.theory.relaxation import LoneMolecule, Relaxation
from synapse_abm.theory.stepping import BLOCKED, OCCUPIED, MoleculeFlow, Sink, Split, TinyGrid

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LIGAND, DRUG = "serotonin", "drug"
FAST, SLOW = 211.0, 0.5  # um^2/s; in the space outside cells, and assumed for a crowded corner
UPTAKE = Kinetics(kon_per_nM_s=0.012, koff_per_s=1.0, kcat_per_s=3.0)
SENSING = Kinetics(kon_per_nM_s=0.012, koff_per_s=2.0)
CYCLE = "two molecules and a drug"
SIMULATED_S = (0.25, 0.1)
REPLICATES, STEPS = 64, 12000
FALSE_ALARM = 1e-6  # over all simulated points
ACCURACY, LARGEST_BIAS = 0.01, 0.002  # asked for: of rates, and of driven means
PLAIN_ACCURACIES = (0.01, 0.003)  # at which the costs of both rules are compared
type Errors = dict[str, float]
type Numbers = dict[str, float]
#: Numbers at a step (s; None: in time itself), k_on and k_off of pairs multiplied by factors.
type Measure = Callable[[float | None, Mapping[str, float]], Numbers]


# --- what a step makes of a scenario --------------------------------------------------------------


def factors(scenario: Scenario, dt: float) -> dict[str, float]:
    """The factor s of each pair, by target (of serotonin) or by target and ligand."""
    s = {pair: adjusted.s for pair, adjusted in adjustments(scenario, dt).items()}
    return {t if ligand == LIGAND else f"{t} {ligand}": value for (t, ligand), value in s.items()}


@dataclass(frozen=True, slots=True)
class ErrorsOfStep:
    """Relative errors of some numbers of a scenario as a function of the step."""

    scenario: Scenario
    measure: Measure
    true: Numbers

    @classmethod
    def of(cls, scenario: Scenario, measure: Measure) -> ErrorsOfStep:
        """Of a measure and what it is in time itself."""
        return cls(scenario, measure, measure(None, {}))

    def __call__(self, dt: float) -> Errors:
        """With rates adjusted to the step."""
        return self._relative(self.measure(dt, factors(self.scenario, dt)))

    def plain(self, dt: float) -> Errors:
        """With rates as they are."""
        return self._relative(self.measure(dt, {}))

    def _relative(self, numbers: Numbers) -> Errors:
        return {name: value / self.true[name] - 1 for name, value in numbers.items()}


def written(error: float) -> float:
    """An error as tables have it."""
    # Numbers that solvers make differ by up to 1e-9 between processors in the stiffest case, so
    # what is written of a relative difference of two ends a hundred times above that.
    return round(error, 7)


def largest(errors: Errors) -> float:
    """The largest of some errors, without sign."""
    return max(abs(e) for e in errors.values())


def _of_name(errors: Errors, name: str) -> float | None:
    return written(errors[name]) if name in errors else None


def _sites(scenario: Scenario) -> list[tuple[int, str]]:
    """Cell and target of each site that serotonin binds."""
    cells, number = place_sites(scenario, Address(1))
    names = list(scenario.targets)
    sites = [(int(c), names[t]) for c, t in zip(cells, number, strict=True)]
    return [(c, t) for c, t in sites if t in scenario.ligands[LIGAND].binding]


def _hops_per_s(scenario: Scenario, ligand: str = LIGAND) -> float:
    return scenario.ligands[ligand].diffusion_um2_per_s / scenario.grid.spacing_um**2


def _rates(relaxation: Relaxation) -> Numbers:
    return {
        "relaxation": relaxation.main_rate,
        "correlation": 1 / relaxation.correlation_s,
        "association": 1 / relaxation.association_s,
    }


def lone(scenario: Scenario) -> ErrorsOfStep:
    """Kinetics of one molecule (of any number, where there is an exit)."""
    grid, ligand, sites = scenario.grid, scenario.ligands[LIGAND], _sites(scenario)
    numbers = {site: sites.count(site) for site in sorted(set(sites))}
    target = [t for _, t in numbers]
    bind = [n * in_cell_rate(scenario, LIGAND, t) for (_, t), n in numbers.items()]
    molecule = LoneMolecule(
        grid.width, grid.height, _hops_per_s(scenario), np.array([c for c, _ in numbers]),
        np.array(bind), np.array([ligand.binding[t].koff for t in target]),
        walls=grid.walls, leave=ligand.loss_per_s,
    )  # fmt: skip

    def measure(dt: float | None, s: Mapping[str, float]) -> Numbers:
        here = molecule.adjusted([s.get(t, 1.0) for t in target])
        kinds = dict.fromkeys(target)
        numbers = _rates(here.relaxation(dt))
        if molecule.leave:
            del numbers["association"]  # what comes from outside associates as what is there leaves
        else:
            numbers["first binding"] = 1 / here.first_binding_s(dt)
        for kind in kinds if len(kinds) > 1 else ():
            of_kind = here.relaxation(dt, [t == kind for t in target])
            numbers[f"correlation, {kind}"] = 1 / of_kind.correlation_s
        return numbers

    return ErrorsOfStep.of(scenario, measure)


def flow(scenario: Scenario) -> tuple[MoleculeFlow, list[str]]:
    """The flow of molecules that are never in each other's way, and the target of each sink."""
    grid, ligand, sites = scenario.grid, scenario.ligands[LIGAND], _sites(scenario)
    source = np.full(grid.cells, arrivals_per_cell_s(ligand, grid.cell_volume_um3))
    for batch in ligand.batches:
        source[batch.cell[1] * grid.width + batch.cell[0]] += batch.size * batch.rate_per_s
    sinks = [
        Sink(c, in_cell_rate(scenario, LIGAND, t), rates.koff, rates.kcat_per_s)
        for c, t in sites
        if (rates := ligand.binding[t])
    ]
    molecules = MoleculeFlow(
        width=grid.width, height=grid.height, walls=grid.walls, sinks=tuple(sinks), source=source,
        hop=_hops_per_s(scenario), leave=ligand.loss_per_s,
    )  # fmt: skip
    return molecules, [t for _, t in sites]


def adjusted(molecules: MoleculeFlow, target: list[str], s: Mapping[str, float]) -> MoleculeFlow:
    """The flow with k_on and k_off of each target's sinks multiplied by a factor."""
    sinks = tuple(
        replace(sink, bind=sink.bind * s.get(t, 1.0), unbind=sink.unbind * s.get(t, 1.0))
        for sink, t in zip(molecules.sinks, target, strict=True)
    )
    return replace(molecules, sinks=sinks)


def driven_flow(scenario: Scenario) -> ErrorsOfStep:
    """Mean free and bound numbers of a steady flow."""
    molecules, target = flow(scenario)
    of_target = {t: np.array([other == t for other in target]) for t in dict.fromkeys(target)}

    def measure(dt: float | None, s: Mapping[str, float]) -> Numbers:
        means = adjusted(molecules, target, s).steady(dt)
        bound = {t: means.bound[here].sum() for t, here in of_target.items()}
        return {"free": means.free.sum()} | bound

    return ErrorsOfStep.of(scenario, measure)


def chain(scenario: Scenario, s: Mapping[str, float]) -> Split:
    """All states of a few molecules, one target, and perhaps a drug."""
    ligand, (target,) = scenario.ligands[LIGAND], scenario.targets
    rates, factor = ligand.binding[target], s.get(target, 1.0)
    drug, more = scenario.ligands.get(DRUG), dict[str, Any]()
    if drug is not None:
        blocks, by = drug.binding[target], s.get(f"{target} {DRUG}", 1.0)
        rate = in_cell_rate(scenario, DRUG, target)
        if drug.clamped_nM is not None:
            rate = blocks.kon * drug.clamped_nM
        more = {"block": by * rate, "unblock": by * blocks.koff, "competitors": drug.count}
        more["competitor_hop"] = _hops_per_s(scenario, DRUG) if drug.count else 0.0
    return TinyGrid(
        width=scenario.grid.width, height=scenario.grid.height, walls=scenario.grid.walls,
        sites=tuple(c for c, _ in _sites(scenario)), molecules=ligand.count,
        hop=_hops_per_s(scenario), bind=factor * in_cell_rate(scenario, LIGAND, target),
        unbind=factor * rates.koff, transport=rates.kcat_per_s, back=ligand.return_per_s, **more,
    ).split()  # fmt: skip


def chain_errors(scenario: Scenario) -> ErrorsOfStep:
    """Kinetics of a few molecules that fill their sites, or means if they are transported."""
    is_cycle = scenario.ligands[LIGAND].return_per_s > 0

    def measure(dt: float | None, s: Mapping[str, float]) -> Numbers:
        return (_cycle_means if is_cycle else _chain_rates)(scenario, chain(scenario, s), dt)

    return ErrorsOfStep.of(scenario, measure)


def _at_sites(scenario: Scenario, split: Split, what: int) -> np.ndarray:
    """Number of sites in a condition, in each state."""
    first, sites = scenario.grid.cells, len(_sites(scenario))
    return np.array([state[first : first + sites].count(what) for state in split.states])


def _chain_rates(scenario: Scenario, split: Split, dt: float | None) -> Numbers:
    """Of all that binds: serotonin from a place without it, and a drug that is not clamped."""
    counted = {"": _at_sites(scenario, split, OCCUPIED)}
    blocked = _at_sites(scenario, split, BLOCKED)
    if DRUG in scenario.ligands and scenario.ligands[DRUG].clamped_nM is None:
        counted = {f", {LIGAND}": counted[""], f", {DRUG}": blocked}
    # A start that no hop changes: the equilibrium without the molecules that bind.
    start = split.stationary() * (sum(counted.values()) == 0)
    numbers = dict[str, float]()
    for name, number in counted.items():
        rates = _rates(split.relaxation(number, start / start.sum(), dt))
        numbers |= {f"{rate}{name}": value for rate, value in rates.items()}
    return numbers


def _cycle_means(scenario: Scenario, split: Split, dt: float | None) -> Numbers:
    law = split.stationary(dt)
    free = split.mean(law, *range(scenario.grid.cells))
    return {"free": free, "SERT": float(law @ _at_sites(scenario, split, OCCUPIED))}


MEASURES = {"lone": lone, "flow": driven_flow, "chain": chain_errors}


# --- one molecule, four arrangements of sites -----------------------------------------------------

SIDE = 12  # cells
HOPS, BOUND = (0.3, 1.0, 10.0, 1000.0), (0.1, 0.3, 0.5)  # D dt/h^2, and x, of the table of factors
LEAVING = 0.005  # y of that table
KON = 0.012  # 1/(nM s), of the curves; k_off is the in-cell rate of binding over 60


def arrangements() -> dict[str, tuple[tuple[int, int], ...]]:
    """Cells of the sites, by what they are called."""
    rng = np.random.default_rng(1)  # the same places in every run: they are examples
    a_third, thrown = rng.choice(SIDE**2, 43, replace=False), rng.integers(0, SIDE**2, 60)
    patch = [y * SIDE + x for y in range(3, 7) for x in range(4, 8)]
    cells = {
        "one site": [5 * SIDE + 4],
        "sites in 30 % of the cells": sorted(a_third.tolist()),
        "a patch of 4 x 4": patch,
        "60 sites thrown at random": sorted(thrown.tolist()),
    }
    return {name: tuple((c % SIDE, c // SIDE) for c in where) for name, where in cells.items()}


def arranged(name: str, kon: float = KON, koff: float = 0.0, diffusion: float = FAST) -> Scenario:
    """One molecule among these sites; ``koff`` (1/s) 0: a 60th of the in-cell rate of binding."""
    where, grid = arrangements()[name], Grid(width=SIDE, height=SIDE)
    koff = koff or kon / grid.model_copy(update={"width": 1, "height": 1}).molecules_per_nM / 60
    return Scenario(
        grid=grid,
        targets={"SERT": Target(cells=where)},
        ligands={
            LIGAND: Ligand(
                count=1, diffusion_um2_per_s=diffusion,
                binding={"SERT": Kinetics(kon_per_nM_s=kon, koff_per_s=koff)},
            )
        },
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class KineticsCurve:
    """Largest errors of the kinetics of one arrangement, at some steps (s)."""

    name: str
    dt_auto_s: float
    steps: list[float]
    plain: list[Errors]
    adjusted: list[Errors]
    announced: list[float]

    def at(self, dt: float, rule: str) -> float:
        """Error of a rule, between two steps by a power law."""
        errors = [largest(e) for e in getattr(self, rule)]
        return math.exp(np.interp(math.log(dt), np.log(self.steps), np.log(errors)))

    def longest_s(self, rule: str, accuracy: float) -> float:
        """Step (s) up to which the error is at most ``accuracy``."""
        errors = np.log([largest(e) for e in getattr(self, rule)])
        over = np.flatnonzero(errors > math.log(accuracy))
        if not over.size:
            return self.steps[-1]
        last = int(over[0])  # the first step that errs by more
        there = np.interp(math.log(accuracy), errors[last - 1 : last + 1], [0.0, 1.0])
        return float(self.steps[last - 1] * (self.steps[last] / self.steps[last - 1]) ** there)


def kinetics_curve(name: str, points: int) -> KineticsCurve:
    """Errors from x = 0.003, or a third of the chosen step, to where rates cannot be adjusted."""
    scenario = arranged(name)
    errors, announced = lone(scenario), StepErrors(scenario)
    auto, longest = scenario.dt_s, announced.usable_s()
    steps = np.geomspace(min(auto / 3, longest / 300), longest, points).tolist()
    return KineticsCurve(
        name, auto, steps, [errors.plain(dt) for dt in steps], [errors(dt) for dt in steps],
        [announced.at(dt).kinetics for dt in steps],
    )  # fmt: skip


class Factor(NamedTuple):
    """Stepped over continuous rate of the mode with the largest weight, at steps of 1 s."""

    sites: str
    hops_per_step: float
    x: float
    beta: float
    s: float
    plain: float
    adjusted: float
    announced: float


def factors_of(name: str, hops: float) -> list[Factor]:
    """Rows of the table of factors: 12 x 12 cells, y = 0.005."""
    rows, spacing = [], Grid().spacing_um
    for x in BOUND:
        # x counts the sites that a site sees in its own cell, itself among them.
        cells = arrangements()[name]
        seen = sum(cells.count(cell) for cell in cells) / len(cells)
        kon = x / seen * Grid(width=1, height=1).molecules_per_nM
        scenario = arranged(name, kon, LEAVING, hops * spacing**2)
        errors = lone(scenario)
        pair = adjustment(scenario, scenario.ligands[LIGAND], "SERT", 1.0, phi=1.0)
        rates = [
            errors.measure(1.0, {"SERT": s})["relaxation"] / errors.true["relaxation"]
            for s in (1.0, pair.s)
        ]
        announced = StepErrors(scenario).at(1.0).kinetics
        rows.append(Factor(name, hops, x, pair.beta, pair.s, *rates, announced))
    return rows


# --- what the derivation does not cover -----------------------------------------------------------


class Case(NamedTuple):
    """A scenario, how its numbers are computed, and whether they are driven means."""

    scenario: Scenario
    measure: str
    is_driven: bool = False


class Limit(NamedTuple):
    """A case at one step: what is announced, and what it errs by."""

    case: str
    times_auto: float
    dt_s: float
    announced: float
    error: float
    quantity: str
    plain: float


def limit(name: str, times: tuple[float, ...]) -> list[Limit]:
    """A case at some multiples of its chosen step, as far as rates can be adjusted there."""
    case = cases()[name]
    errors, announced = MEASURES[case.measure](case.scenario), StepErrors(case.scenario)
    rows = []
    for factor in times:
        dt = factor * case.scenario.dt_s
        promised = announced.at(dt)
        if promised.equilibrium_only:
            continue
        adjusted = errors(dt)
        # As written: of errors that are equal but for rounding, the first is the largest.
        sizes = {quantity: written(abs(error)) for quantity, error in adjusted.items()}
        worst = max(sizes, key=sizes.__getitem__)
        said = promised.driven if case.is_driven else promised.kinetics
        plain = written(largest(errors.plain(dt)))
        rows.append(Limit(name, factor, dt, said, sizes[worst], worst, plain))
    return rows


def place(
    width: int, height: int, targets: Mapping[str, Target], diffusion: float = FAST, *,
    koff: float = 0.05, kcat: float = 0.0, kon: float = KON, walls: Any = "reflecting",
    drug: Ligand | None = None, **more: Any,
) -> Scenario:  # fmt: skip
    """Serotonin that binds all targets of a place alike; the first takes it up if ``kcat`` > 0."""
    binding = {
        target: Kinetics(
            kon_per_nM_s=kon, koff_per_s=koff, kcat_per_s=kcat if target == "SERT" else 0.0
        )
        for target in targets
    }
    ligand = Ligand(diffusion_um2_per_s=diffusion, binding=binding, **more)
    return Scenario(
        grid=Grid(width=width, height=height, walls=walls), targets=dict(targets),
        ligands={LIGAND: ligand} | ({DRUG: drug} if drug else {}),
    )  # fmt: skip


def at(*cells: tuple[int, int] | int) -> dict[str, Target]:
    """One target with sites there; a number is a cell of the first row."""
    return {"SERT": Target(cells=[c if isinstance(c, tuple) else (c, 0) for c in cells])}


def cases() -> dict[str, Case]:
    """Everything that the argument of ``rate_adjustment`` leaves out, in small places."""
    both = (*at(3, 8).values(), *at(3, 8).values())
    competitor = Kinetics(kon_per_nM_s=2 * KON, koff_per_s=0.2)
    blocker = Kinetics(kon_per_nM_s=0.05, koff_per_s=5.0)
    source = {"batches": (Batch(size=1, cell=(4, 4), rate_per_s=1.0),)}
    bath = {"reservoir": Reservoir(concentration_nM=50.0, exchange_per_s=0.2)}
    twenty, heaps = {"SERT": Target(sites=20)}, at(*[(1, 1)] * 8, *[(6, 6)] * 4, (3, 2), (5, 4))
    kinetics = {
        "dense sites that fill": place(2, 2, at((0, 0), (1, 0), (1, 1)), count=4, koff=0.02),
        "few free sites, many molecules": place(6, 1, at(1, 2, 4, 5), count=4, koff=0.005),
        "two ligands at one target": place(
            2, 2, at((0, 0), (1, 1)), count=2, drug=Ligand(
                count=2, diffusion_um2_per_s=FAST, binding={"SERT": competitor}
            ),
        ),
        "a drug clamped, fast": place(4, 4, at((1, 1), (3, 2)), count=1, drug=Ligand(
            clamped_nM=50.0, binding={"SERT": blocker}
        )),
    }  # fmt: skip
    alone = {
        "SERT and NET in the same cells": place(
            12, 1, dict(zip(("SERT", "NET"), both, strict=True)), count=1
        ),
        "SERT and NET apart": place(
            8, 8, at((1, 1), (2, 1)) | {"NET": Target(cells=((6, 6),))}, count=1
        ),
        "unequal numbers of sites a cell": place(8, 8, heaps, count=1),
        "narrow, 1 x 40": place(40, 1, at(3, 20), count=1),
        "narrow, 2 x 20": place(20, 2, at((3, 1), (12, 0)), count=1),
        "narrow, 1 x 40, slow": place(40, 1, at(3, 20), SLOW, count=1),
        "periodic walls": place(10, 10, twenty, SLOW, count=1, walls="periodic"),
        "an exit": place(8, 8, twenty, **bath),
        "a fast exit": place(
            8, 8, at((2, 2)), reservoir=Reservoir(concentration_nM=50.0, exchange_per_s=20.0)
        ),
    }
    alone |= {f"D = {d:g} um^2/s": place(10, 10, twenty, d, count=1) for d in (0.005, 0.1, 3.0)}
    flows = {
        "uptake": place(8, 8, twenty, kcat=3.0, **bath),
        "uptake, release in a site's cell": place(8, 8, at((4, 4)), kcat=3.0, **source),
        "the same, slow": place(8, 8, at((4, 4)), SLOW, kcat=3.0, **source),
        "uptake, release beside a patch": place(
            8, 8, at((5, 4), (5, 5), (6, 4), (6, 5)), SLOW, kcat=3.0, **source
        ),
        "uptake, narrow, 1 x 40": place(
            40, 1, at(3, 20), kcat=3.0, batches=(Batch(size=1, cell=(9, 0), rate_per_s=1.0),)
        ),
        "uptake, unequal numbers": place(8, 8, heaps, kcat=3.0, **bath),
        "uptake, SERT and NET in the same cells": place(
            12, 1, dict(zip(("SERT", "NET"), both, strict=True)), kcat=3.0, **bath
        ),
    }
    one = place(4, 3, at((0, 0), (2, 1)), SLOW, kcat=3.0, count=1, return_per_s=2.0)
    return (
        {name: Case(scenario, "chain") for name, scenario in kinetics.items()}
        | {name: Case(scenario, "lone") for name, scenario in alone.items()}
        | {name: Case(scenario, "flow", True) for name, scenario in flows.items()}
        | {"taken up and returned, slow": Case(one, "chain", True)}
    )


# --- six driven synapses --------------------------------------------------------------------------


def synapses() -> dict[str, Scenario]:
    """Six driven scenarios, each with the step that the program chooses."""
    middle = (Batch(size=10, cell=(6, 6), rate_per_s=1.0),)
    corner = (Batch(size=10, cell=(0, 0), rate_per_s=1.0),)
    bath = Reservoir(concentration_nM=50.0, exchange_per_s=0.2)
    twenty, one = Target(sites=20), Target(kind="receptor", cells=((6, 6),))
    clusters = Target(cells=((1, 1),) * 20 + ((6, 6),) * 20)
    return {
        "bath, scattered SERT": _synapse(12, 0.1, {"SERT": twenty}, reservoir=bath),
        "slow diffusion": _synapse(12, 0.1, {"SERT": twenty}, SLOW, batches=middle),
        "SERT in two clusters": _synapse(8, 0.25, {"SERT": clusters}, batches=corner),
        "receptor at the source": _synapse(12, 0.1, {"SERT": twenty, "R": one}, batches=middle),
        "degradation, wide cells": _synapse(
            16, 0.2, {"SERT": Target(sites=40)}, batches=middle, degradation_per_s=1.0
        ),
        CYCLE: cycle(),
    }


def _synapse(
    side: int, spacing_um: float, targets: dict[str, Target], diffusion: float = FAST, **more: Any
) -> Scenario:
    rates = {"SERT": UPTAKE, "R": SENSING}
    ligand = Ligand(diffusion_um2_per_s=diffusion, binding={t: rates[t] for t in targets}, **more)
    grid = Grid(width=side, height=side, spacing_um=spacing_um)
    return Scenario(grid=grid, targets=targets, ligands={LIGAND: ligand})


def cycle(dt_s: float | None = None) -> Scenario:
    """A row of four cells, a SERT at each end, two molecules that are taken up and come back."""
    binds = Kinetics(kon_per_nM_s=0.012, koff_per_s=0.5, kcat_per_s=3.0)
    blocks = Kinetics(kd_nM=1.0, koff_per_s=0.5)
    return Scenario(
        grid=Grid(width=4, height=1),
        targets={"SERT": Target(cells=((0, 0), (3, 0)))},
        ligands={
            LIGAND: Ligand(
                diffusion_um2_per_s=FAST, count=2, return_per_s=2.0, binding={"SERT": binds}
            ),
            DRUG: Ligand(clamped_nM=1.0, binding={"SERT": blocks}),
        },
        **({} if dt_s is None else {"dt_s": dt_s}),
    )


@dataclass(frozen=True, slots=True)
class Curve:
    """Errors of the driven means of one synapse."""

    name: str
    scenario: Scenario
    steps: list[float]
    errors: list[Errors]
    at_auto: Errors

    def announced(self, dt: float) -> float:
        """The error of driven means that the program announces for a step."""
        return StepErrors(self.scenario).at(dt).driven


def curve(name: str, scenario: Scenario, points: int) -> tuple[list[float], list[Errors], Errors]:
    """Errors from a tenth of the chosen step to thirty times it, or what can be adjusted."""
    errors = (chain_errors if name == CYCLE else driven_flow)(scenario)
    auto, usable = scenario.dt_s, StepErrors(scenario).usable_s()
    longest = max(min(30 * auto, usable), *(SIMULATED_S if name == CYCLE else (auto,)))
    steps = np.geomspace(auto / 10, longest, points).tolist()
    return steps, [errors(dt) for dt in steps], errors(auto)


# --- simulated ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Point:
    """Bound molecules of the cycle, simulated at one step, and what the chain says."""

    dt_s: float
    measured: statistics.Estimate
    stepped: float
    true: float


def bound_mean(dt_s: float, steps: int, seed: int, replicate: int) -> float:
    """The engine's mean number bound at a long step, in one replicate."""
    run = Simulation(cycle(dt_s), seed, replicate)
    run.run(math.ceil(10 / dt_s))
    return float(run.run(steps, 1).bound("SERT", LIGAND).mean())


@cache
def cycle_errors() -> ErrorsOfStep:
    """Those of :func:`cycle`."""
    return chain_errors(cycle())


def point(dt_s: float, means: list[float]) -> Point:
    """What 64 replicates say of a step, and the chain."""
    errors = cycle_errors()
    stepped = errors.measure(dt_s, factors(errors.scenario, dt_s))["SERT"]
    return Point(dt_s, statistics.from_replicates(means), stepped, errors.true["SERT"])


# --- the answer -----------------------------------------------------------------------------------


class Found(NamedTuple):
    """All that is computed."""

    kinetics: list[KineticsCurve]
    factors: list[Factor]
    limits: list[Limit]
    driven: list[Curve]
    simulated: list[Point]


def run(seed: int, quick: bool, progress: Progress) -> Result:
    """Errors of kinetics and of driven means, against the step, plain and adjusted."""
    names, scenarios, points = list(arrangements()), synapses(), 6 if quick else 25

    def tasks(function: Callable[..., Any], of: list[tuple[Any, ...]], label: str) -> list[Any]:
        return sweep.map_tasks(
            function, of, names=[f"{task[0]}" for task in of], progress=progress, label=label
        )

    kinetics = tasks(kinetics_curve, [(name, points) for name in names], "arrangements")
    hops = HOPS[1:2] if quick else HOPS
    rows = tasks(factors_of, [(name, d) for name in names for d in hops], "factors")
    limits = tasks(limit, [(name, (1.0, 3.0)) for name in cases()], "limits")
    curves = tasks(curve, [(*case, points) for case in scenarios.items()], "synapses")
    steps = STEPS // (10 if quick else 1)
    series = [
        (dt, steps, seed, number * REPLICATES + replicate)
        for number, dt in enumerate(SIMULATED_S)
        for replicate in range(REPLICATES)
    ]
    means = dose_response.replicated(bound_mean, series, REPLICATES, progress)
    found = Found(
        kinetics, [row for part in rows for row in part], [row for part in limits for row in part],
        [Curve(*case, *parts) for case, parts in zip(scenarios.items(), curves, strict=True)],
        [point(dt, of_dt) for dt, of_dt in zip(SIMULATED_S, means, strict=True)],
    )  # fmt: skip
    return Result(
        tables=_tables(found), checks=_checks(found), text=_text(found), verdict=_verdict(found),
        scenario={"accuracy": ACCURACY, "promise": LARGEST_BIAS, "replicates": REPLICATES},
        papers=[
            "Andrews & Bray 2004, Phys Biol 1:137", "Strang 1968, SIAM J Numer Anal 5:506",
        ],
        data=found,
    )  # fmt: skip


def _checks(found: Found) -> list[Check]:
    by_chain = "computed by linear algebra"
    checks = [
        _at_most(f"kinetics at the chosen step: {c.name}", c.at(c.dt_auto_s, "adjusted"), ACCURACY)
        for c in found.kinetics
    ]
    checks += [
        _at_most(
            f"announced error: {row.case}, {row.times_auto:g} x the step", row.error, row.announced
        )
        for row in found.limits
    ]
    checks += [
        _at_most(f"driven means at the chosen step: {c.name}", largest(c.at_auto), LARGEST_BIAS)
        for c in found.driven
    ]
    return checks + [
        Check.by_student(
            f"bound molecules, {CYCLE}, dt = {p.dt_s:g} s", p.measured, p.stepped,
            source=f"stationary law of the step, {by_chain}", false_alarm=FALSE_ALARM,
            tests=len(found.simulated), solved=True,
        )
        for p in found.simulated
    ]  # fmt: skip


def _at_most(name: str, error: float, most: float) -> Check:
    source = f"at most {most:.3g} (linear algebra)"
    return Check(name, "exact", error, None, None, None, source, error <= most, solved=True)


def _tables(found: Found) -> list[Table]:
    return [
        _driven_summary(found.driven), _driven_curves(found.driven), _simulated(found.simulated),
        _kinetics_curves(found.kinetics), _costs(found.kinetics),
        Table.of_rows(
            "timestep_factor", " ".join(Factor._fields), found.factors, Factor._fields[3:]
        ),
        Table.of_rows(
            "timestep_limits", " ".join(Limit._fields), found.limits,
            ("announced", "error", "plain"),
        ),
    ]  # fmt: skip


def _kinetics_curves(curves: list[KineticsCurve]) -> Table:
    rows = [
        (c.name, dt, quantity, written(plain[quantity]), written(adjusted[quantity]), announced)
        for c in curves
        for dt, plain, adjusted, announced in zip(
            c.steps, c.plain, c.adjusted, c.announced, strict=True
        )
        for quantity in plain
    ]
    columns = "sites dt_s quantity plain adjusted announced"
    return Table.of_rows("timestep_kinetics", columns, rows, columns.split()[1:])


def _costs(curves: list[KineticsCurve]) -> Table:
    """Steps that the adjusted rule saves at equal accuracy."""
    rows = []
    for c in curves:
        for accuracy in PLAIN_ACCURACIES:
            plain, adjusted = (c.longest_s(rule, accuracy) for rule in ("plain", "adjusted"))
            announced = StepErrors(arranged(c.name)).longest_s(accuracy)
            numbers = (plain, adjusted, announced, adjusted / plain, announced / plain)
            # Read off between computed points, which is good to a per cent or so.
            rows.append((c.name, accuracy, *(rounded(number, 3) for number in numbers)))
    columns = "sites accuracy plain_dt_s adjusted_dt_s announced_dt_s saved saved_by_announced"
    return Table.of_rows("timestep_cost", columns, rows, columns.split()[2:])


def _driven_summary(curves: list[Curve]) -> Table:
    names = sorted({name for c in curves for name in c.at_auto}, key=["free", "SERT", "R"].index)
    columns: dict[str, Any] = {
        "scenario": [c.name for c in curves],
        "hops_per_step": [_hops_per_s(c.scenario) * c.scenario.dt_s for c in curves],
        "dt_s": [c.scenario.dt_s for c in curves],
        "announced": [c.announced(c.scenario.dt_s) for c in curves],
        "error": [written(largest(c.at_auto)) for c in curves],
    }
    columns |= {f"error_{name}": [_of_name(c.at_auto, name) for c in curves] for name in names}
    solved = [name for name in columns if name.startswith(("error", "announced"))]
    return Table("timestep", columns, solved)


def _driven_curves(curves: list[Curve]) -> Table:
    rows = [
        (c.name, dt, name, written(error))
        for c in curves
        for dt, errors in zip(c.steps, c.errors, strict=True)
        for name, error in errors.items()
    ]
    return Table.of_rows("timestep_curves", "scenario dt_s quantity error", rows, ("error",))


def _simulated(points: list[Point]) -> Table:
    return Table(
        "timestep_simulated",
        {
            "dt_s": [p.dt_s for p in points],
            "bound": [p.measured.value for p in points],
            "se": [p.measured.se for p in points],
            "stepped": [p.stepped for p in points],
            "true": [p.true for p in points],
        },
        solved=("stepped", "true"),
    )


def _percent(share: float) -> str:
    return f"{100 * share:.3f} %"


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.3g} ms"


def _text(found: Found) -> str:
    costs = _costs(found.kinetics)
    cost = [
        [name, f"{100 * accuracy:g} %", *map(_ms, steps), f"{saved:.3g}", f"{by_announced:.3g}"]
        for name, accuracy, *steps, saved, by_announced in zip(*costs.columns.values(), strict=True)
    ]
    factor = [
        [r.sites, f"{r.hops_per_step:g}", f"{r.x:g}", f"{r.s:.4f}", f"{r.plain:.3f}",
         f"{r.adjusted:.4f}", _percent(r.announced)]
        for r in found.factors
    ]  # fmt: skip
    limits = [
        [f"{r.case}, {r.times_auto:g} x", _ms(r.dt_s), _percent(r.announced), _percent(r.error),
         _percent(r.plain)]
        for r in found.limits
    ]  # fmt: skip
    driven = [
        [c.name, _ms(c.scenario.dt_s), _percent(c.announced(c.scenario.dt_s)),
         _percent(largest(c.at_auto))]
        for c in found.driven
    ]  # fmt: skip
    simulated = [
        f"simulated, {CYCLE}, dt = {1e3 * p.dt_s:g} ms: bound {p.measured.value:.5f} +- "
        f"{p.measured.se:.5f}, chain of the step {p.stepped:.5f}, of time {p.true:.5f}"
        for p in found.simulated
    ]
    tables = [
        ("Longest step at an accuracy of kinetics",
         ["sites", "accuracy", "plain", "adjusted", "announced", "saved", "so announced"], cost),
        ("Relaxation rate, steps over time (12 x 12 cells, y = 0.005)",
         ["sites", "D dt/h^2", "x", "s", "plain", "adjusted", "announced"], factor),
        ("What the derivation does not cover",
         ["case", "dt", "announced", "error", "plain"], limits),
        ("Driven means", ["synapse", "chosen dt", "announced", "error"], driven),
    ]  # fmt: skip
    parts = [f"{title}\n{text_table(header, rows)}" for title, header, rows in tables]
    return "\n\n".join([*parts, "\n".join(simulated)])


def _verdict(found: Found) -> str:
    worst = max(found.limits, key=lambda row: row.error / row.announced)
    chosen = max(c.at(c.dt_auto_s, "adjusted") for c in found.kinetics)
    plain = max(c.at(c.dt_auto_s, "plain") for c in found.kinetics)
    failed = [check.name for check in _checks(found) if not check.passed]
    kept = f"FAILS in {len(failed)}: {failed[0]}" if failed else "is kept everywhere"
    used = 100 * worst.error / worst.announced
    return (
        f"At the chosen step rates are within {100 * chosen:.2g} % where plain ones err by "
        f"{100 * plain:.2g} %; what is announced {kept}, at most {used:.0f} % of it are used "
        f"({worst.case})."
    )


# --- figures --------------------------------------------------------------------------------------


def figure(result: Result) -> dict[str, Figure]:
    """Rates against dt for a class; errors of kinetics and of driven means for experts."""
    from synapse_abm import plotting

    found: Found = result.data
    return {
        "": plotting.styled(_draw)(found.kinetics),
        "kinetics": plotting.styled(_draw_kinetics)(found.kinetics),
        "synapses": plotting.styled(_draw_synapses)(found.driven, found.simulated),
    }


SHOWN = "sites in 30 % of the cells"  # for a class
FLOOR = 1e-5  # of the axes of errors


def _draw(curves: list[KineticsCurve]) -> Figure:
    from synapse_abm import plotting as plot

    title = "Adjusted rates are right at long steps; plain ones are slow"
    fig, (ax,) = plot.slide(height=5.2, title=title)
    (shown,) = (c for c in curves if c.name == SHOWN)
    dt = 1e3 * np.array(shown.steps)
    middle = len(dt) * 3 // 5
    for rule, (colour, marker), above in (
        ("adjusted", plot.LOOKS[0], 16),
        ("plain", plot.LOOKS[1], -16),
    ):
        rate = np.array([100 * (1 + e["association"]) for e in getattr(shown, rule)])
        every = max(1, len(dt) // 8)
        ax.plot(dt, rate, color=colour, marker=marker, markevery=every, ms=7)
        place = (dt[middle], rate[middle])
        plot.named(ax, place, f"{rule} rates", colour, (0, above), ha="center")
    announced = 100 * np.array(shown.announced)
    ax.fill_between(dt, 100 - announced, 100 + announced, color=plot.SKY, alpha=0.25, lw=0)
    plot.named(ax, (dt[0], 100), "announced error (band)", plot.GREY, (4, 16))
    ax.axvline(1e3 * shown.dt_auto_s, color=plot.ORANGE, lw=1.6, ls="--")
    plot.named(ax, (1e3 * shown.dt_auto_s, 88), "chosen step", plot.ORANGE, (-6, 0), ha="right")
    ax.set(xscale="log", ylim=(70, 110), xlabel="step dt (ms)")
    ax.set_ylabel("speed of association (% of right)")
    ax.set_title("one molecule, 12 x 12 cells, sites in 30 % of them")
    _plain_ticks(ax.xaxis)
    return fig


def _draw_kinetics(curves: list[KineticsCurve]) -> Figure:
    from synapse_abm import plotting as plot

    title = "Rates are far better than announced, and than plain ones"
    fig, axes = plot.panel_table(2, 2, 8.4, title, sharey=True)
    for number, (ax, shown) in enumerate(zip(axes, curves, strict=True)):
        dt = 1e3 * np.array(shown.steps)
        for rule, colour, style in (("plain", plot.VERMILION, "-."), ("adjusted", plot.BLUE, "-")):
            error = [largest(e) for e in getattr(shown, rule)]
            ax.plot(dt, error, color=colour, ls=style, label=f"{rule} rates")
        ax.plot(dt, shown.announced, color=plot.GREY, ls="--", lw=1.6, label="announced error")
        ax.axhline(ACCURACY, color=plot.BLACK, lw=1, ls=":", label="accuracy: 1 %")
        _chosen(ax, 1e3 * shown.dt_auto_s, ACCURACY)
        ax.set_title(shown.name, fontsize=12)
        _log_axes(ax)
        _name_axes(ax, number, 2, 2)
    handles, labels = axes[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=2)
    return fig


def _draw_synapses(curves: list[Curve], points: list[Point]) -> Figure:
    from synapse_abm import plotting as plot

    title = "In six driven synapses the chosen step keeps its promise"
    fig, axes = plot.panel_table(3, 2, 10.5, title, sharey=True)
    by_label = dict[str, Any]()
    for number, (ax, shown) in enumerate(zip(axes, curves, strict=True)):
        _panel(ax, shown, points if shown.name == CYCLE else [])
        ax.set_title(shown.name, fontsize=12)
        _name_axes(ax, number, 3, 2)
        handles, labels = ax.get_legend_handles_labels()
        by_label |= dict(zip(labels, handles, strict=True))
    fig.legend(by_label.values(), by_label.keys(), loc="outside lower center", ncols=2)
    return fig


def _panel(ax: Any, shown: Curve, points: list[Point]) -> None:
    from synapse_abm import plotting as plot

    looks = {
        "free": (plot.BLUE, "free molecules", "-", 4.5),
        "SERT": (plot.VERMILION, "bound to transporters", "-", 2.0),
        "R": (plot.GREEN, "bound to the receptor", "-.", 2.0),
    }
    dt, auto = 1e3 * np.array(shown.steps), 1e3 * shown.scenario.dt_s
    for kind in shown.at_auto:
        colour, label, style, width = looks[kind]
        size = np.abs([errors[kind] for errors in shown.errors])
        seen = size > FLOOR
        if seen.any():
            ax.plot(dt[seen], size[seen], color=colour, label=label, lw=width, ls=style)
    announced = [shown.announced(step) for step in shown.steps]
    ax.plot(dt, announced, color=plot.GREY, ls="--", lw=1.6, label="announced error")
    ax.axhline(LARGEST_BIAS, color=plot.BLACK, lw=1, ls=":", label="promise: 0.2 %")
    _chosen(ax, auto, LARGEST_BIAS)
    if points:
        error = [abs(p.measured.value / p.true - 1) for p in points]
        half = [1.96 * p.measured.se / p.true for p in points]
        plot.measured(ax, [1e3 * p.dt_s for p in points], error, half, (plot.BLACK, "o"),
                      label="simulated, 95 % interval", zorder=5)  # fmt: skip
    _log_axes(ax)


def _chosen(ax: Any, dt_ms: float, at: float) -> None:
    from synapse_abm import plotting as plot

    ax.plot([dt_ms], [at], "v", color=plot.ORANGE, ms=11, label="the chosen step", zorder=4)
    ax.axvline(dt_ms, color=plot.ORANGE, lw=1.4)


def _name_axes(ax: Any, number: int, rows: int, columns: int) -> None:
    if number >= (rows - 1) * columns:
        ax.set_xlabel("step dt (ms)")
    if number % columns == 0:
        ax.set_ylabel("relative error")


def _log_axes(ax: Any) -> None:
    from matplotlib.ticker import LogLocator

    ax.set(xscale="log", yscale="log", ylim=(FLOOR, 2))
    ax.yaxis.set_major_locator(LogLocator(10))
    _plain_ticks(ax.xaxis)
    _plain_ticks(ax.yaxis, " %", 100)


def _plain_ticks(axis: Any, unit: str = "", scale: float = 1) -> None:
    from matplotlib.ticker import FuncFormatter, NullLocator

    axis.set_major_formatter(FuncFormatter(lambda v, _: f"{scale * v:g}{unit}"))
    axis.set_minor_locator(NullLocator())


if __name__ == "__main__":
    from synapse_abm.cli import run_script

    run_script(__file__)
