"""``simulate``: a scenario run as it says, its averages with error bars beside what theory says.

Writes a figure, ``timeseries`` (CSV and Parquet) and ``run.json``. Both engines give the same
numbers and the same hash of the trajectory.
"""

from __future__ import annotations

import hashlib
import io
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from synapse_abm import expected
from synapse_abm.briefing import warnings
from synapse_abm.errors import InputError, InputErrors
from synapse_abm.experiment import Progress, silent
from synapse_abm.forecast import samples, steps_per_sample
from synapse_abm.results import (
    RECORD,
    Check,
    Result,
    RunRecord,
    Table,
    code_version,
    output_folder,
    sha256,
    source_sha256,
    text_table,
    versions,
    write_folder,
)
from synapse_abm.scenario import RunSettings, Scenario
from synapse_abm.simulation import Series, Simulation
from synapse_abm.statistics import (
    Estimate,
    TooShort,
    batch_means,
    from_replicates,
    student_quantile,
)

type Array = NDArray[np.float64]
type Engine = Literal["compiled", "agents"]
type Quantity = tuple[str, str, str]  # (occupancy, flux or free; target or ""; ligand)

#: Replicates from which on the error bar is their scatter; below, batches of each are used.
ENOUGH_REPLICATES = 8
#: Probability that any exact check of a correct program fails.
FALSE_ALARM = 1e-6


@dataclass(frozen=True, slots=True)
class Recording:
    """One replicate: time of each record (s) and a column for each quantity."""

    seconds: Array
    columns: Mapping[Quantity, Array]


@dataclass(frozen=True, slots=True)
class Measured:
    """An average after the burn-in beside theory.

    Attributes
    ----------
    estimate
        Mean and standard error; the error is not a number if none could be told at all.
    short
        Why the error bar cannot be trusted, else empty.
    exact, formula
        What theory says, None where it says nothing.
    """

    estimate: Estimate | None
    mean: float
    short: str
    exact: float | None
    formula: float | None

    @property
    def se(self) -> float | None:
        """Standard error, None where there is none."""
        return self.estimate.se if self.estimate else None

    def record(self) -> dict[str, float | None]:
        """As ``--json`` has it."""
        return {"mean": self.mean, "se": self.se, "exact": self.exact, "formula": self.formula}


@dataclass(frozen=True, slots=True)
class Simulated:
    """A scenario that was run."""

    scenario: Scenario
    seed: int
    engine: Engine
    recordings: list[Recording]
    trajectory_sha256: str
    measured: dict[Quantity, Measured]
    seconds: float

    @property
    def run(self) -> RunSettings:
        """The settings of the run."""
        assert self.scenario.run is not None
        return self.scenario.run

    def record(self) -> dict[str, Any]:
        """The contents of ``--json FILE``."""
        found: dict[str, Any] = {
            "seed": self.seed, "engine": self.engine, "dt_s": self.scenario.dt_s,
            "occupancy": {}, "free": {}, "flux": {},
            "trajectory_sha256": self.trajectory_sha256,
            "notes": self.notes(),
        }  # fmt: skip
        for (kind, target, ligand), each in self.measured.items():
            table = found[kind].setdefault(target, {}) if target else found[kind]
            table[ligand] = each.record()
        return found

    def notes(self) -> list[str]:
        """What to beware of: step, regime, error bars."""
        return [*warnings(self.scenario), *self.notes_of_averages()]

    def notes_of_averages(self) -> list[str]:
        """Error bars that cannot be trusted; averages that are not where the exact law is."""
        short = [f"{label(at)}: {x.short}" for at, x in self.measured.items() if x.short]
        if all(check.passed for check in self.checks()):
            return short
        return [
            *short,
            "exact values are those of the stationary state: is the burn-in long enough?",
        ]

    def checks(self) -> list[Check]:
        """Every average that has both an exact value and an error bar."""
        good = {
            at: x
            for at, x in self.measured.items()
            if x.exact is not None and x.estimate and x.estimate.se > 0 and not x.short
        }
        found = []
        for at, x in good.items():
            assert x.exact is not None and x.estimate is not None
            limit = student_quantile(FALSE_ALARM, x.estimate.dof, tests=len(good))
            check = Check.against(
                label(at), "exact", x.estimate.value, x.estimate.se, x.exact,
                source="stationary law (see synapse_abm.expected)", z_limit=limit,
            )  # fmt: skip
            found.append(check)
        return found

    def text(self) -> str:
        """The table for people."""
        header = ["after the burn-in", "mean", "std. error", "exact", "formula"]
        rows = [
            [label(at), *(_shown(v) for v in (x.mean, x.se, x.exact, x.formula))]
            for at, x in self.measured.items()
        ]
        return text_table(header, rows)

    def table(self) -> Table:
        """Every record of every replicate."""
        count = len(self.recordings[0].seconds)
        columns: dict[str, Any] = {
            "replicate": np.repeat(np.arange(len(self.recordings)), count),
            "time_s": np.concatenate([each.seconds for each in self.recordings]),
        }
        for at in self.recordings[0].columns:
            columns[column(at)] = np.concatenate([x.columns[at] for x in self.recordings])
        return Table("timeseries", columns)


def simulate(
    scenario: Scenario, *, seed: int | None = None, engine: Engine | None = None,
    progress: Progress = silent,
) -> Simulated:  # fmt: skip
    """Run a scenario as its ``run`` settings say; ``seed`` and ``engine`` replace theirs."""
    run = scenario.run
    if run is None:
        raise ValueError("the scenario does not say how long it is run: give it run settings")
    seed, engine = run.seed if seed is None else seed, engine or run.engine
    started, digest, recordings = time.perf_counter(), hashlib.sha256(), list[Recording]()
    count = run.replicates * samples(scenario, run)
    ticks = iter(progress(range(count), total=count, label="samples"))
    for replicate in range(run.replicates):
        parts = list(_advance(scenario, seed, replicate, engine, digest, ticks))
        recordings.append(_recording(scenario, parts))
    next(ticks, None)
    return Simulated(
        scenario, seed, engine, recordings, digest.hexdigest(),
        _measured(scenario, run, recordings), time.perf_counter() - started,
    )  # fmt: skip


def _advance(
    scenario: Scenario, seed: int, replicate: int, engine: Engine,
    digest: hashlib._Hash, ticks: Iterator[int],
) -> Iterator[Series]:  # fmt: skip
    """One record after another, each hashed: every molecule's id, cell, site and compartment."""
    assert scenario.run is not None
    every = steps_per_sample(scenario, scenario.run)
    if engine == "compiled":
        simulation = Simulation(scenario, seed, replicate)
        run = simulation.run
    else:
        from synapse_abm.model import SynapseModel  # brings Mesa with it

        model = SynapseModel(scenario, rng=seed, replicate=replicate, engine=engine)
        simulation, run = model.simulation, model.run
    for _ in range(samples(scenario, scenario.run)):
        next(ticks, None)
        yield run(every, every)
        digest.update(simulation.step_number.to_bytes(8, "little"))
        simulation.state.digest_into(digest)


def quantities(scenario: Scenario) -> list[Quantity]:
    """What is recorded: occupancy and flux by pair, free molecules by ligand."""
    ligands = scenario.ligands
    pairs = [(t, n) for t in scenario.targets for n in ligands if t in ligands[n].binding]
    carried = [(t, n) for t, n in pairs if ligands[n].binding[t].kcat_per_s > 0]
    return [
        *(("occupancy", t, n) for t, n in pairs if scenario.targets[t].n_sites),
        *(("free", "", n) for n in ligands if ligands[n].clamped_nM is None),
        *(("flux", t, n) for t, n in carried),
    ]


def _recording(scenario: Scenario, parts: list[Series]) -> Recording:
    seconds = np.concatenate([part.seconds for part in parts])
    columns = dict[Quantity, Array]()
    for kind, target, ligand in quantities(scenario):
        if kind == "occupancy":
            values = [part.occupancy(target, ligand) for part in parts]
        elif kind == "free":
            values = [part.free(ligand) for part in parts]
        else:
            values = [part.count("transported", ligand, target) for part in parts]
        whole = np.concatenate(values).astype(np.float64)
        if kind == "flux":  # molecules carried per second since the record before
            whole = np.diff(whole, prepend=0.0) / np.diff(seconds, prepend=0.0)
        columns[kind, target, ligand] = whole
    return Recording(seconds, columns)


# --- averages -------------------------------------------------------------------------------------


def _measured(
    scenario: Scenario, run: RunSettings, recordings: list[Recording]
) -> dict[Quantity, Measured]:
    exact, formula = expected.exact(scenario), expected.textbook(scenario)
    found = dict[Quantity, Measured]()
    for at in quantities(scenario):
        kept = [x.columns[at][x.seconds > run.burn_in_s * (1 + 1e-9)] for x in recordings]
        estimate, short = _estimate(kept)
        mean = float(np.mean([part.mean() for part in kept]))
        said = (_look_up(exact, at), _look_up(formula, at))
        found[at] = Measured(estimate, mean, short, *said)
    return found


def _look_up(values: expected.Values, at: Quantity) -> float | None:
    kind, target, ligand = at
    if kind == "free":
        return values.free.get(ligand)
    table = values.occupancy if kind == "occupancy" else values.flux
    return table.get((target, ligand))


def _estimate(parts: list[Array]) -> tuple[Estimate | None, str]:
    """Mean over time and replicates with its error, and why not to trust it (or nothing)."""
    if len(parts) >= ENOUGH_REPLICATES:
        return from_replicates([part.mean() for part in parts]), ""
    found, short = list[Estimate](), ""
    for part in parts:
        if part.size < 20:
            return None, f"{part.size} samples are too few for an error bar; 20 is the least"
        try:
            found.append(batch_means(part))
        except TooShort as error:
            found.append(error.estimate)
            constant = "nothing changed while it was averaged, so there is no error bar"
            short = constant if np.ptp(part) == 0 else str(error)
    value = float(np.mean([each.value for each in found]))
    se = math.sqrt(sum(each.se**2 for each in found)) / len(found)
    return Estimate(value, se, sum(each.dof for each in found)), short


def label(at: Quantity) -> str:
    """A quantity in words, with its unit."""
    kind, target, ligand = at
    if kind == "free":
        return f"free {ligand} (molecules)"
    return f"{target} {kind} by {ligand}" + (" (1/s)" if kind == "flux" else "")


def column(at: Quantity) -> str:
    """Name of a quantity's column."""
    kind, target, ligand = at
    if kind == "free":
        return f"free_{ligand}"
    return f"{kind}_{target}_{ligand}" + ("_per_s" if kind == "flux" else "")


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


# --- files ----------------------------------------------------------------------------------------


def write(
    scenario: Scenario, out: Path, *, seed: int | None = None, engine: Engine | None = None,
    progress: Progress = silent, command: str = "",
) -> Simulated:  # fmt: skip
    """Run a scenario and leave figure, tables and record in the folder ``out``.

    Raises
    ------
    OutputError
        If ``out`` cannot be written; noticed before the computation starts.
    """
    with output_folder(out) as folder:
        found = simulate(scenario, seed=seed, engine=engine, progress=progress)
        result = Result(
            [found.table()], found.checks(), found.text(), scenario.name,
            scenario.model_dump(mode="json"), _papers(scenario),
        )  # fmt: skip
        tables = result.table_files()
        record = RunRecord(
            experiment=f"simulate {scenario.name}",
            seed=found.seed,
            command=command,
            options={"engine": found.engine, "averages": found.record()},
            wall_s=round(found.seconds, 3),
            versions=versions(),
            code_version=code_version(),
            source_sha256=source_sha256(),
            checks=result.checks,
            table_sha256={name: sha256(data) for name, data in tables.items()},
            scenario=result.scenario,
            papers=result.papers,
        )
        write_folder(folder, {**_figure_files(found), **tables, RECORD: record.json()})
    return found


def _papers(scenario: Scenario) -> list[str]:
    """Citations of the constants; the file's name where a file of the user's is gone."""
    from synapse_abm import pharmacology

    found = list[str]()
    for name in [x.taken_from for x in scenario.ligands.values() if x.taken_from]:
        try:
            found += pharmacology.ligand(name).sources()
        except (InputError, InputErrors):
            found.append(name)
    return list(dict.fromkeys(found))


def _figure_files(found: Simulated) -> dict[str, bytes]:
    from synapse_abm.plotting import timeseries

    figure, files = timeseries(found), dict[str, bytes]()
    for kind, options in (("png", {"dpi": 150}), ("svg", {"metadata": {"Date": None}})):
        sink = io.BytesIO()
        figure.savefig(sink, format=kind, **options)
        files[f"timeseries.{kind}"] = sink.getvalue()
    return files
