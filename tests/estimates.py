"""What runs cost against what was said beforehand: ``python tests/estimates.py [COUNT] [SEED]``.

Scenarios are drawn at random over the range that a person would write, told a length by their own
estimate (so that the set ends in time), and run as ``synapse-abm simulate`` runs them: table for
people, simulation, averages, theory, figure, tables, record. What is compared is the CPU time of
this process, which other work on the machine changes less than time on the wall; start of the
program, compilation and loading are outside. A run is stopped after ``MOST_S``.

It prints a row for each scenario, quantiles of (took / said), and the worst with their parts.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # CPU time is that of one thread

import math
import random
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from synapse_abm.core.errors import InputError, InputErrors
from synapse_abm.runs import simulate
from synapse_abm.synapse.engine.simulation import load_kernels
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
from synapse_abm.synapse.scenario.cost import estimate_cost
from synapse_abm.synapse.scenario.feasibility import run_faults

#: CPU seconds after which a run is stopped, and the range of times that are asked for.
MOST_S, ASKED_S = 60.0, (0.3, 12.0)
#: Shares of the table.
QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)


class TooLongError(Exception):
    """A run that was stopped."""


def log_uniform(rng: random.Random, low: float, high: float) -> float:
    """A number whose logarithm is uniform."""
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def some_grid(rng: random.Random) -> Grid:
    """One cell, or up to 300 x 300."""
    if rng.random() < 0.25:
        return Grid.well_mixed(log_uniform(rng, 0.1, 100))
    width, height = (round(log_uniform(rng, 1, 300)) for _ in range(2))
    return Grid(
        width=width, height=height, spacing_um=log_uniform(rng, 0.02, 0.5),
        depth_um=log_uniform(rng, 0.1, 2), walls=rng.choice(["reflecting", "periodic"]),
    )  # type: ignore[arg-type]  # fmt: skip


def some_cell(rng: random.Random, grid: Grid) -> tuple[int, int]:
    """Any cell."""
    return rng.randrange(grid.width), rng.randrange(grid.height)


def some_targets(rng: random.Random, grid: Grid) -> dict[str, Target]:
    """A few of many sites; many of one; or all sites in one cell."""
    how = rng.random()
    if how < 0.08:
        return {f"T{n}": Target(sites=1) for n in range(round(log_uniform(rng, 10, 400)))}
    targets = {}
    for number in range(rng.choice([1, 1, 1, 2, 2, 3, 5, 12])):
        sites = round(log_uniform(rng, 1, 5000))
        if how > 0.85:
            dense = [some_cell(rng, grid) for _ in range(rng.choice([1, 2, 5]))]
            targets[f"T{number}"] = Target(cells=tuple(rng.choice(dense) for _ in range(sites)))
        else:
            targets[f"T{number}"] = Target(sites=sites)
    return targets


def some_ligand(rng: random.Random, grid: Grid, targets: dict[str, Target]) -> Ligand:
    """Clamped, counted, from a reservoir, released, or several of these."""
    binding = {}
    for name in targets:
        if rng.random() < (0.8 if len(targets) < 13 else 0.3):
            # one in twenty binds faster than diffusion allows, which is warned of, not refused
            fastest = 100.0 if rng.random() < 0.05 else 1.0
            binding[name] = Kinetics(
                kon_per_nM_s=log_uniform(rng, 1e-5, fastest),
                koff_per_s=log_uniform(rng, 1e-3, 100),
                kcat_per_s=log_uniform(rng, 0.01, 100) if rng.random() < 0.3 else 0.0,
            )
    fields: dict[str, Any] = {
        "binding": binding,
        "diffusion_um2_per_s": log_uniform(rng, 0.01, 300) if rng.random() < 0.9 else 0.0,
    }
    how = rng.random()
    if how < 0.25:
        fields |= {"clamped_nM": log_uniform(rng, 0.01, 10_000)}
        return Ligand(**fields)
    if how < 0.65:
        fields |= {"count": round(log_uniform(rng, 1, 100_000))}
        if rng.random() < 0.15:
            fields |= {"start_cell": some_cell(rng, grid)}
    if 0.5 < how < 0.85:
        most = min(10_000.0, 100_000 / grid.molecules_per_nM)
        fields["reservoir"] = Reservoir(
            concentration_nM=log_uniform(rng, 1e-4 * most, most),
            exchange_per_s=log_uniform(rng, 1e-3, 1000),
        )
    if how > 0.8:
        fields["batches"] = tuple(
            Batch(
                size=round(log_uniform(rng, 1, 5000)), cell=cell,
                rate_per_s=log_uniform(rng, 0.01, 100), times_s=(0.0,),
            )
            for cell in {some_cell(rng, grid) for _ in range(rng.choice([1, 1, 3]))}
        )  # fmt: skip
        fields["degradation_per_s"] = log_uniform(rng, 0.01, 1000)
    elif rng.random() < 0.2:
        fields["degradation_per_s"] = log_uniform(rng, 1e-3, 100)
    if any(kinetics.kcat_per_s for kinetics in binding.values()) and rng.random() < 0.6:
        fields["return_per_s"] = log_uniform(rng, 0.01, 100)
        fields["metabolism_per_s"] = log_uniform(rng, 0.01, 10) * (rng.random() < 0.5)
    return Ligand(**fields)


def some_scenario(rng: random.Random) -> Scenario:
    """A scenario that can be run, as long as its estimate comes to a time that was drawn."""
    while True:
        grid = some_grid(rng)
        targets = some_targets(rng, grid)
        names = [f"L{n}" for n in range(rng.choice([1, 1, 1, 2, 2, 3, 6]))]
        asked = log_uniform(rng, *ASKED_S)
        records, replicates = round(log_uniform(rng, 20, 200_000)), rng.choice([1, 1, 2, 4, 8, 20])
        burn_in, engine = (
            rng.choice([0.0, 0.0, 0.3]),
            "agents" if rng.random() < 0.1 else "compiled",
        )
        given = {"dt_s": log_uniform(rng, 1e-4, 1)} if rng.random() < 0.3 else {}
        try:
            scenario = Scenario(
                grid=grid, targets=targets, **given,
                ligands={name: some_ligand(rng, grid, targets) for name in names},
            )  # type: ignore[arg-type]  # fmt: skip
        except (InputError, ValueError):
            continue
        low, high = math.log(scenario.dt_s), math.log(1e9)
        for _ in range(30):  # the length whose estimate is the time that was asked for
            middle = (low + high) / 2
            scenario = with_length(scenario, math.exp(middle), records, replicates, burn_in, engine)
            low, high = (middle, high) if estimate_cost(scenario).seconds < asked else (low, middle)
        try:
            if not any(run_faults(scenario)) and estimate_cost(scenario).seconds < 2 * asked:
                return scenario
        except (InputError, InputErrors):
            continue


def with_length(
    scenario: Scenario, duration: float, records: int, replicates: int, burn_in: float, engine: str
) -> Scenario:
    """The same run for ``duration`` (s), with about so many records."""
    settings = RunSettings(
        duration_s=duration, burn_in_s=burn_in * duration, replicates=replicates, engine=engine,
        sample_every_s=min(max(duration / records, scenario.dt_s), 0.5 * duration),
    )  # type: ignore[arg-type]  # fmt: skip
    return scenario.model_copy(update={"run": settings})


def cpu_s(scenario: Scenario, folder: Path) -> tuple[float, float]:
    """CPU seconds of a run as the command makes it, in all and in the simulation alone."""
    inside, run_replicate = 0.0, simulate.run_replicate

    def timed(piece: simulate.Replicate) -> Any:
        nonlocal inside
        begun = time.process_time()
        try:
            return run_replicate(piece)
        finally:
            inside += time.process_time() - begun

    begun = time.process_time()
    setattr(simulate, "run_replicate", timed)  # noqa: B010
    try:
        signal.setitimer(signal.ITIMER_PROF, MOST_S)
        str(scenario)
        found = simulate.write(scenario, folder)
        found.text()
    except TooLongError:
        return math.inf, inside
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        setattr(simulate, "run_replicate", run_replicate)  # noqa: B010
    return time.process_time() - begun, inside


def stop(*_: object) -> None:
    """What the timer does."""
    raise TooLongError


def main(count: int = 120, seed: int = 1) -> None:
    """Print the table."""
    signal.signal(signal.SIGPROF, stop)
    load_kernels()
    rows = []
    print("scenario  said s  took s  ratio  simulation: said, took, ratio")
    with tempfile.TemporaryDirectory() as folder:
        warm_up = some_scenario(random.Random("warm up"))
        cpu_s(warm_up, Path(folder, "warm up"))  # Matplotlib, pyarrow and theory are loaded
        for number in range(count):
            scenario = some_scenario(random.Random(f"{seed} {number}"))
            said, (took, inside) = estimate_cost(scenario), cpu_s(scenario, Path(folder, "out"))
            ratio = took / said.seconds
            rows.append((ratio, number, scenario))
            print(
                f"{number:8} {said.seconds:7.2f} {took:7.2f} {ratio:6.2f}"
                f"    {said.simulation_s:7.2f} {inside:7.2f} {inside / said.simulation_s:6.2f}",
                flush=True,
            )
    ratios = [ratio for ratio, *_ in rows]
    print("\ntook / said of", len(ratios), "scenarios; seed", seed)
    for share in QUANTILES:
        print(f"  quantile {share:4.2f}: {quantile(ratios, share):.2f}")
    beyond = [ratio for ratio in ratios if not 1 / 3 <= ratio <= 3]
    print(f"  beyond a factor of 3: {len(beyond)}; median {statistics.median(ratios):.2f}")
    for ratio, number, scenario in sorted(rows, key=lambda row: -abs(math.log(row[0])))[:5]:
        print(f"\n{number}: {ratio:.2f}\n{scenario}")


def quantile(values: list[float], share: float) -> float:
    """The value below which ``share`` of them lie."""
    return sorted(values)[min(int(share * len(values)), len(values) - 1)]


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
