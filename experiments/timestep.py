"""How long may a step be before what is released and taken up comes out wrong?

Question
    A step lets molecules hop first and react afterwards, with positions frozen. Equilibrium does
    not notice. A driven synapse does: by how much, for which length of step, and does the step
    that the program chooses keep its promise of 0.2 %?
Method
    Six driven synapses of different kind. The curves need no random numbers: mean numbers of free
    and bound molecules follow from matrix exponentials, hop times react for a step, and from the
    generator of both for time itself (``theory.stepping``). In five of them sites are taken to be
    rarely full; the sixth is the whole chain of two molecules, two transporters and a drug, and its
    two longest steps are also simulated, to show that the engine errs as computed.
Expected answer
    Where a step mixes the place the error is first order in dt, and the program's bound is near.
    Where hops are resolved it is second order (Strang 1968), and smaller. At the chosen step every
    error is below 0.2 %.
Run time
    About 10 s.
Source
    Strang 1968, SIAM J Numer Anal 5:506. Rates are chosen to show regimes (assumed); serotonin's
    211 um^2/s is that of ``synapse-abm list --drugs``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from synapse_abm import statistics
from synapse_abm.core.address import Address
from synapse_abm.core.progress import Progress
from synapse_abm.core.text import text_table
from synapse_abm.runs import dose_response, sweep
from synapse_abm.runs.results import Check, Result, Table
from synapse_abm.synapse.engine.network import arrivals_per_cell_s, place_sites
from synapse_abm.synapse.engine.simulation import Simulation
from synapse_abm.synapse.scenario import Batch, Grid, Kinetics, Ligand, Reservoir, Scenario, Target
from synapse_abm.synapse.scenario.rate_adjustment import adjustments
from synapse_abm.synapse.scenario.step_error import StepErrors, in_cell_rate
from synapse_abm.theory.stepping import OCCUPIED, MoleculeFlow, Sink, Split, TinyGrid

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.figure import Figure

LIGAND, DRUG = "serotonin", "drug"
FAST, SLOW = 211.0, 0.5  # um^2/s; in the space outside cells, and assumed for a crowded corner
UPTAKE = Kinetics(kon_per_nM_s=0.012, koff_per_s=1.0, kcat_per_s=3.0)
SENSING = Kinetics(kon_per_nM_s=0.012, koff_per_s=2.0)
CYCLE = "two molecules and a drug"
SIMULATED_S = (1.0, 0.3)
REPLICATES, STEPS = 64, 6000
FALSE_ALARM = 1e-6  # over all simulated points
LARGEST_BIAS = 0.002  # of driven means: a fifth of the accuracy of 1 % that is asked for
type Errors = dict[str, float]


# --- six synapses ---------------------------------------------------------------------------------


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


# --- their errors, computed -----------------------------------------------------------------------


def flow(scenario: Scenario) -> tuple[MoleculeFlow, list[str]]:
    """The flow of molecules that are never in each other's way, and the target of each sink."""
    grid, ligand = scenario.grid, scenario.ligands[LIGAND]
    cell, number = place_sites(scenario, Address(1))
    names = list(scenario.targets)
    sites = [(int(c), names[t]) for c, t in zip(cell, number, strict=True)]
    source = np.full(grid.cells, arrivals_per_cell_s(ligand, grid.cell_volume_um3))
    for batch in ligand.batches:
        source[batch.cell[1] * grid.width + batch.cell[0]] += batch.size * batch.rate_per_s
    exits = ligand.exit_per_s
    sinks = [
        Sink(c, in_cell_rate(scenario, LIGAND, t), rates.koff, rates.kcat_per_s)
        for c, t in sites
        if (rates := ligand.binding.get(t)) is not None
    ]
    found = MoleculeFlow(
        width=grid.width, height=grid.height, walls=grid.walls, sinks=tuple(sinks), source=source,
        hop=ligand.diffusion_um2_per_s / grid.spacing_um**2, leave=exits + ligand.degradation_per_s,
    )  # fmt: skip
    return found, [t for _, t in sites if t in ligand.binding]


def flow_errors(scenario: Scenario) -> Callable[[float], Errors]:
    """Relative errors of the mean free and bound numbers, as a function of dt (s)."""
    molecules, target = flow(scenario)

    def means(dt: float | None) -> Errors:
        found = (molecules if dt is None else adjusted(scenario, molecules, target, dt)).steady(dt)
        at = {t: np.array([each == t for each in target]) for t in dict.fromkeys(target)}
        return {"free": found.free.sum()} | {t: found.bound[here].sum() for t, here in at.items()}

    return _relative(means)


def adjusted(
    scenario: Scenario, molecules: MoleculeFlow, target: list[str], dt: float
) -> MoleculeFlow:
    """The flow with k_on and k_off as they are adjusted to a step of ``dt``."""
    s = {t: pair.s for (t, _), pair in adjustments(scenario, dt).items()}
    sinks = tuple(
        replace(sink, bind=s[t] * sink.bind, unbind=s[t] * sink.unbind)
        for sink, t in zip(molecules.sinks, target, strict=True)
    )
    return replace(molecules, sinks=sinks)


@cache
def cycle_chain(s: float = 1.0) -> Split:
    """The chain of :func:`cycle`; ``s`` multiplies k_on and k_off."""
    scenario = cycle()
    binds, blocks = (scenario.ligands[x].binding["SERT"] for x in (LIGAND, DRUG))
    return TinyGrid(
        width=4, sites=(0, 3), molecules=2, hop=FAST / scenario.grid.spacing_um**2,
        bind=s * in_cell_rate(scenario, LIGAND, "SERT"), unbind=s * binds.koff,
        transport=binds.kcat_per_s,
        back=scenario.ligands[LIGAND].return_per_s, block=blocks.kon * 1.0, unblock=blocks.koff,
    ).split()  # fmt: skip


def cycle_means(dt: float | None) -> Errors:
    """Mean numbers free and bound of the cycle."""
    chain = cycle_chain(1.0 if dt is None else adjustments(cycle(), dt)["SERT", LIGAND].s)
    law = chain.stationary(dt)
    held = np.array([sum(site == OCCUPIED for site in state[4:6]) for state in chain.states])
    return {"free": chain.mean(law, 0, 1, 2, 3), "SERT": float(law @ held)}


def _relative(means: Callable[[float | None], Errors]) -> Callable[[float], Errors]:
    true = means(None)

    def errors(dt: float) -> Errors:
        return {name: value / true[name] - 1 for name, value in means(dt).items()}

    return errors


def largest(errors: Errors) -> float:
    """The largest of some errors, without sign."""
    return max(abs(e) for e in errors.values())


@dataclass(frozen=True, slots=True)
class Curve:
    """Errors of one scenario."""

    name: str
    scenario: Scenario
    steps: list[float]
    errors: list[Errors]
    at_auto: Errors

    def announced(self, dt: float) -> float:
        """The error of driven means that the program announces for a step."""
        return StepErrors(self.scenario).at(dt).driven

    def order(self, first: int, last: int) -> float:
        """Slope of log error against log dt between two of the steps."""
        x, y = np.log(self.steps), np.log([largest(e) for e in self.errors])
        return float((y[last] - y[first]) / (x[last] - x[first]))


def curve(name: str, scenario: Scenario, points: int) -> tuple[list[float], list[Errors], Errors]:
    """Errors from a tenth of the chosen step to thirty times it, or what rule 1 allows."""
    errors = _relative(cycle_means) if name == CYCLE else flow_errors(scenario)
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


def point(dt_s: float, means: list[float]) -> Point:
    """What 64 replicates say of a step, and the chain."""
    estimate = statistics.from_replicates(means)
    stepped, true = cycle_means(dt_s)["SERT"], cycle_means(None)["SERT"]
    return Point(dt_s, estimate, stepped, true)


# --- the answer -----------------------------------------------------------------------------------


def run(seed: int, quick: bool, progress: Progress) -> Result:
    """Errors of all six, and the simulated points."""
    points = 6 if quick else 25
    scenarios = synapses()
    found = sweep.map_tasks(
        curve, [(name, scenario, points) for name, scenario in scenarios.items()],
        names=list(scenarios), progress=progress, label="synapses",
    )  # fmt: skip
    curves = [Curve(*case, *parts) for case, parts in zip(scenarios.items(), found, strict=True)]
    steps = STEPS // (10 if quick else 1)
    pieces = [
        (dt, steps, seed, number * REPLICATES + replicate)
        for number, dt in enumerate(SIMULATED_S)
        for replicate in range(REPLICATES)
    ]
    means = dose_response.replicated(bound_mean, pieces, REPLICATES, progress)
    simulated = [point(dt, of_dt) for dt, of_dt in zip(SIMULATED_S, means, strict=True)]
    return Result(
        tables=[_summary(curves), _curves(curves), _simulated(simulated)],
        checks=[_kept(each) for each in curves]
        + [_as_computed(each, len(simulated)) for each in simulated],
        text=_text(curves, simulated),
        verdict=_verdict(curves, simulated),
        scenario={"promise": LARGEST_BIAS, "replicates": REPLICATES},
        papers=["Strang 1968, SIAM J Numer Anal 5:506"],
        data=(curves, simulated),
    )


def _kept(found: Curve) -> Check:
    error = largest(found.at_auto)
    return Check(
        f"largest error at the chosen step: {found.name}", "exact", error, None, None, None,
        f"at most {LARGEST_BIAS} (product of matrix exponentials)", error <= LARGEST_BIAS,
        solved=True,
    )  # fmt: skip


def _as_computed(point: Point, tests: int) -> Check:
    return Check.by_student(
        f"bound molecules, {CYCLE}, dt = {point.dt_s:g} s", point.measured, point.stepped,
        source="stationary law of exp(H dt) exp(R dt)", false_alarm=FALSE_ALARM, tests=tests,
        solved=True,
    )  # fmt: skip


def _summary(curves: list[Curve]) -> Table:
    names = sorted({name for c in curves for name in c.at_auto}, key=["free", "SERT", "R"].index)
    columns: dict[str, Any] = {
        "scenario": [c.name for c in curves],
        "hops_per_step": [_hops(c) for c in curves],
        "dt_s": [c.scenario.dt_s for c in curves],
        "bound": [c.announced(c.scenario.dt_s) for c in curves],
        "error": [_written(largest(c.at_auto)) for c in curves],
    }
    columns |= {f"error_{name}": [_written(c.at_auto.get(name)) for c in curves] for name in names}
    columns["order_short"] = [c.order(0, 2) for c in curves]
    columns["order_long"] = [c.order(-3, -1) for c in curves]
    solved = [name for name in columns if name.startswith(("error", "order"))]
    return Table("timestep", columns, solved)


def _written(error: float | None) -> float | None:
    """An error as tables have it."""
    # Both numbers compared come from solvers that agree to about 1e-11 between processors, so of
    # their relative difference nothing below 1e-9 means anything, however small it is itself.
    return None if error is None else round(error, 9)


def _hops(found: Curve) -> float:
    """Mean number of hops to each side within the chosen step, D dt / h^2."""
    ligand, grid = found.scenario.ligands[LIGAND], found.scenario.grid
    return ligand.diffusion_um2_per_s * found.scenario.dt_s / grid.spacing_um**2


def _curves(curves: list[Curve]) -> Table:
    rows = [
        (c.name, dt, name, _written(error))
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


def _text(curves: list[Curve], points: list[Point]) -> str:
    header = ["synapse", "chosen dt", "D dt/h^2", "bound", "error", "order, short", "order, long"]
    lines = [
        [
            c.name, f"{1e3 * c.scenario.dt_s:.3g} ms", f"{_hops(c):.2g}",
            f"{100 * c.announced(c.scenario.dt_s):.2f} %", f"{100 * largest(c.at_auto):.4f} %",
            f"{c.order(0, 2):.2f}", f"{c.order(-3, -1):.2f}",
        ]
        for c in curves
    ]  # fmt: skip
    simulated = [
        f"simulated, {CYCLE}, dt = {1e3 * p.dt_s:g} ms: bound {p.measured.value:.5f} +- "
        f"{p.measured.se:.5f}, chain of the step {p.stepped:.5f}, of time {p.true:.5f}"
        for p in points
    ]
    return "\n".join([text_table(header, lines), *simulated])


def _verdict(curves: list[Curve], points: list[Point]) -> str:
    worst = max(curves, key=lambda c: largest(c.at_auto))
    error = largest(worst.at_auto)
    kept = "keeps" if error <= LARGEST_BIAS else "BREAKS"
    checks = [_as_computed(each, len(points)) for each in points]
    engine = "errs as computed" if all(c.passed for c in checks) else "DISAGREES with its chain"
    return (
        f"The chosen step {kept} its promise of {100 * LARGEST_BIAS:g} %: the largest error is "
        f"{100 * error:.3f} % ({worst.name}); the engine {engine} at long steps."
    )


# --- figure ---------------------------------------------------------------------------------------


def figure(result: Result) -> dict[str, Figure]:
    """Error against dt: one synapse for a class, all six for experts."""
    from synapse_abm import plotting

    return {
        "": plotting.styled(_draw)(*result.data),
        "synapses": plotting.styled(_draw_synapses)(*result.data),
    }


FLOOR = 1e-6  # of the axis


def _draw(curves: list[Curve], points: list[Point]) -> Figure:
    from synapse_abm import plotting as plot

    title = "Long steps bias what is driven; the chosen one does not"
    fig, (ax,) = plot.slide(height=5.6, title=title)
    (shown,) = (curve for curve in curves if curve.name == CYCLE)
    _panel(ax, shown, points)
    ax.set_title("two molecules taken up and returned, two transporters, a drug")
    ax.set_xlabel("step dt (ms)")
    ax.set_ylabel("relative error")
    fig.legend(loc="outside lower center", ncols=2)
    return fig


def _draw_synapses(curves: list[Curve], points: list[Point]) -> Figure:
    from synapse_abm import plotting as plot

    title = "In six driven synapses the chosen step keeps its promise"
    fig, axes = plot.panel_table(3, 2, 10.5, title, sharey=True)
    by_label = dict[str, Any]()
    for number, (ax, shown) in enumerate(zip(axes, curves, strict=True)):
        _panel(ax, shown, points if shown.name == CYCLE else [])
        ax.set_title(shown.name, fontsize=12)
        if number >= 4:
            ax.set_xlabel("step dt (ms)")
        if number % 2 == 0:
            ax.set_ylabel("relative error")
        handles, labels = ax.get_legend_handles_labels()
        by_label |= dict(zip(labels, handles, strict=True))
    fig.legend(by_label.values(), by_label.keys(), loc="outside lower center", ncols=2)
    return fig


def _panel(ax: Any, shown: Curve, points: list[Point]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

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
    ax.plot(dt, announced, color=plot.GREY, ls="--", lw=1.6,
            label="the announced error")  # fmt: skip
    ax.axhline(LARGEST_BIAS, color=plot.BLACK, lw=1, ls=":", label="promise: 0.2 %")
    ax.plot([auto], [LARGEST_BIAS], "v", color=plot.ORANGE, ms=11, label="the chosen step",
            zorder=4)  # fmt: skip
    ax.axvline(auto, color=plot.ORANGE, lw=1.4)
    if points:
        error = [abs(p.measured.value / p.true - 1) for p in points]
        half = [1.96 * p.measured.se / p.true for p in points]
        plot.measured(ax, [1e3 * p.dt_s for p in points], error, half, (plot.BLACK, "o"),
                      label="simulated, 95 % interval", zorder=5)  # fmt: skip
    ax.set(xscale="log", yscale="log", ylim=(FLOOR, 2))
    ax.yaxis.set_major_locator(LogLocator(100))
    for axis, unit, scale in ((ax.xaxis, "", 1), (ax.yaxis, " %", 100)):
        words = FuncFormatter(lambda v, _, unit=unit, scale=scale: f"{scale * v:g}{unit}")
        axis.set_major_formatter(words)
        axis.set_minor_locator(NullLocator())


if __name__ == "__main__":
    from synapse_abm.cli import run_script

    run_script(__file__)
