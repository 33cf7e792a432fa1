"""``simulate``: a scenario run as it says, its averages with error bars beside what theory says.

Writes a figure, ``timeseries`` (CSV and Parquet) and ``run.json``. Both engines give the same
numbers and the same hash of the trajectory.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from synapse_abm.core.address import Address
from synapse_abm.core.errors import InputError, InputErrors, raise_faults
from synapse_abm.core.files import output_folder
from synapse_abm.core.progress import Progress, silent
from synapse_abm.core.sealed import CheckpointError
from synapse_abm.core.text import text_table
from synapse_abm.runs import sweep
from synapse_abm.runs.results import Check, Result, Table, source_sha256, versions, write_run
from synapse_abm.runs.sweep import Failure, TasksFailed
from synapse_abm.statistics import (
    Estimate,
    TooShort,
    batch_means,
    from_replicates,
    student_quantile,
)
from synapse_abm.synapse.engine import checkpoint
from synapse_abm.synapse.engine.checkpoint import Recorded
from synapse_abm.synapse.engine.network import Names
from synapse_abm.synapse.engine.simulation import (
    CALL_S,
    Recorder,
    Series,
    Simulation,
    load_kernels,
    next_chunk,
)
from synapse_abm.synapse.scenario import RunSettings, Scenario, expected
from synapse_abm.synapse.scenario.cost import samples, steps_per_sample
from synapse_abm.synapse.scenario.feasibility import run_faults
from synapse_abm.synapse.scenario.summary import warnings

type Array = NDArray[np.float64]
type Engine = Literal["compiled", "agents"]
type Quantity = tuple[str, str, str]  # (occupancy, flux or free; target or ""; ligand)

#: Replicates from which on the error bar is their scatter; below, batches of each are used.
ENOUGH_REPLICATES = 8
#: Probability that any exact check of a correct program fails.
FALSE_ALARM = 1e-6
#: A long replicate writes a checkpoint about so often, s.
CHECKPOINT_S = 5.0
#: Memory for records that are taken in one call of compiled code, bytes.
RECORD_BYTES = 2**24
#: ... and spends at most this share of its time on it.
CHECKPOINT_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Recording:
    """One replicate: time of each record (s) and a column for each quantity."""

    seconds: Array
    columns: Mapping[Quantity, Array]
    replicate: int = 0


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
    failures: tuple[Failure, ...] = ()

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
        short = [f"failed and left out: {each}" for each in self.failures]
        short += [f"{label(at)}: {x.short}" for at, x in self.measured.items() if x.short]
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
                source="stationary law (see synapse_abm.synapse.scenario.expected)", z_limit=limit,
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
            "replicate": np.repeat([each.replicate for each in self.recordings], count),
            "time_s": np.concatenate([each.seconds for each in self.recordings]),
        }
        for at in self.recordings[0].columns:
            columns[column(at)] = np.concatenate([x.columns[at] for x in self.recordings])
        return Table("timeseries", columns)


def simulate(
    scenario: Scenario, *, seed: int | None = None, engine: Engine | None = None,
    progress: Progress = silent,
) -> Simulated:  # fmt: skip
    """Run a scenario as its ``run`` settings say; ``seed`` and ``engine`` replace theirs.

    Within ``sweep.using(workers)`` replicates run side by side; the numbers are the same.

    Raises
    ------
    InputError, InputErrors
        If its step, times or size cannot be run.
    TasksFailed
        If every replicate failed; if only some did, ``failures`` tells.
    """
    return _simulate([scenario], seed, engine, progress)[0]


def simulate_series(
    scenarios: Sequence[Scenario], *, seed: int | None = None, engine: Engine | None = None,
    workers: int | None = None, progress: Progress = silent,
) -> list[Simulated]:  # fmt: skip
    """Run many scenarios (concentrations, say), each with its replicates, side by side.

    Every replicate of every scenario has random numbers of its own: scenario after scenario takes
    the next replicate numbers. ``workers`` (None: all cores) does not change a bit of it.

    Raises
    ------
    InputError, InputErrors
        If ``workers`` is no whole number from 1 to 256, or a scenario's step, times or size cannot
        be run.
    TasksFailed
        If every replicate of a scenario failed.
    """
    with sweep.using(workers):
        return _simulate(scenarios, seed, engine, progress)


@dataclass(frozen=True, slots=True)
class Replicate:
    """One run of a scenario: a piece of work.

    ``checkpoint`` is a file to continue from, and to write every ``checkpoint_s`` seconds, or None.
    """

    scenario: Scenario
    seed: int
    replicate: int
    engine: Engine
    checkpoint: Path | None = None
    checkpoint_s: float = 0.0


def _simulate(
    scenarios: Sequence[Scenario], seed: int | None, engine: Engine | None, progress: Progress
) -> list[Simulated]:
    started, pieces, owners = time.perf_counter(), list[Replicate](), list[int]()
    cache = sweep.current_cache()
    settings = [_settings_of(scenario) for scenario in scenarios]
    raise_faults([fault for scenario in scenarios for fault in run_faults(scenario)])
    for owner, (scenario, run) in enumerate(zip(scenarios, settings, strict=True)):
        for _ in range(run.replicates):
            number = len(pieces)
            pieces.append(Replicate(
                scenario, run.seed if seed is None else seed, number, engine or run.engine,
                cache.folder / f"{number}.checkpoint" if cache else None, CHECKPOINT_S,
            ))  # fmt: skip
            owners.append(owner)
    names = [f"replicate {piece.replicate}, seed {piece.seed}" for piece in pieces]
    most = max((samples(each, _settings_of(each)) for each in scenarios), default=1)
    outcomes = sweep.outcomes(
        run_replicate,
        [(each,) for each in pieces],
        names=names,
        progress=progress,
        label="samples",
        ticks=most,
        prepare=load_kernels,
    )
    seconds, found = time.perf_counter() - started, list[Simulated]()
    for owner in range(len(scenarios)):
        mine = [at for at, of in enumerate(owners) if of == owner]
        found.append(_gathered([pieces[at] for at in mine], [outcomes[at] for at in mine], seconds))
    return found


def _settings_of(scenario: Scenario) -> RunSettings:
    if scenario.run is None:
        raise ValueError("the scenario does not say how long it is run: give it run settings")
    return scenario.run


def _gathered(
    pieces: Sequence[Replicate], outcomes: Sequence[Recorded | Failure], seconds: float
) -> Simulated:
    """All replicates of one scenario together; those that failed are named, not counted."""
    first, digest, recordings, failures = pieces[0], hashlib.sha256(), list[Recording](), []
    for number, outcome in enumerate(outcomes):
        if isinstance(outcome, Failure):
            failures.append(outcome)
        else:
            digest.update(outcome.digest)
            recordings.append(_recording(first.scenario, outcome.table, number))
    if not recordings:
        raise TasksFailed(failures, len(pieces))
    measured = _measured(first.scenario, _settings_of(first.scenario), recordings)
    return Simulated(
        first.scenario, first.seed, first.engine, recordings, digest.hexdigest(), measured,
        seconds, tuple(failures),
    )  # fmt: skip


def run_replicate(piece: Replicate) -> Recorded:
    """All records of one replicate, from its checkpoint if it has one, and the hash of its way.

    The hash takes in every molecule's id, cell, site and compartment at each record. A checkpoint
    that is not whole is not used: the replicate starts again, and comes out the same.
    """
    scenario = piece.scenario
    settings = _settings_of(scenario)
    every, count = steps_per_sample(scenario, settings), samples(scenario, settings)
    simulation, run, recorded = _begin(piece)
    done, digest = len(recorded.table), recorded.digest
    table = np.zeros((count, recorded.table.shape[1]), dtype=np.int64)
    table[:done] = recorded.table
    written, wait_s = time.perf_counter(), piece.checkpoint_s
    together = 1  # records that one call of compiled code takes; no result depends on it
    while done < count:
        sweep.tell(done)
        number, began = min(together, count - done), time.perf_counter()
        if number > 1:
            table[done : done + number], digest = simulation().run_hashed(every, number, digest)
        else:
            series = run(every, every)
            table[done] = np.concatenate([series.totals[0], series.events[0]])
            link = hashlib.sha256(digest + simulation().step_number.to_bytes(8, "little"))
            simulation().state.digest_into(link)
            digest = link.digest()
        done += number
        # Checkpoints that are to come oftener than calls end: then each record is a call.
        if piece.engine == "compiled" and (piece.checkpoint is None or wait_s > CALL_S):
            room = max(1, RECORD_BYTES // (8 * simulation().record_width))
            together = min(next_chunk(together, time.perf_counter() - began), room)
        if piece.checkpoint and time.perf_counter() - written > wait_s and done < count:
            began = time.perf_counter()
            _keep(piece.checkpoint, simulation(), Recorded(table[:done], digest))
            written = time.perf_counter()
            wait_s = max(piece.checkpoint_s, (written - began) / CHECKPOINT_SHARE)
    return Recorded(table, digest)


def _keep(path: Path, simulation: Simulation, recorded: Recorded) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.save(simulation, path, recorded)


def _begin(
    piece: Replicate,
) -> tuple[Callable[[], Simulation], Callable[[int, int], Series], Recorded]:
    """A simulation at the start or where its checkpoint is, how to advance it, and its records."""
    at, earlier = piece.checkpoint, _earlier(piece)
    if piece.engine == "compiled":
        if earlier is not None and at is not None:
            simulation = checkpoint.load(at)
        else:
            simulation = Simulation(piece.scenario, piece.seed, piece.replicate)
        return lambda: simulation, simulation.run, earlier or _nothing(simulation)
    from synapse_abm.synapse.agents.model import SynapseModel  # brings Mesa with it

    if earlier is not None and at is not None:
        model = SynapseModel.resume(at, engine=piece.engine)
    else:
        model = SynapseModel(
            piece.scenario, rng=piece.seed, replicate=piece.replicate, engine=piece.engine
        )
    return lambda: model.simulation, model.run, earlier or _nothing(model.simulation)


def _earlier(piece: Replicate) -> Recorded | None:
    """What an interrupted run of just this replicate recorded; None if there is no such thing."""
    at = piece.checkpoint
    if at is not None and at.exists():
        with suppress(CheckpointError):
            found = checkpoint.load(at)
            whose = found.scenario.model_dump_json(), found.address
            if whose == (piece.scenario.model_dump_json(), Address(piece.seed, piece.replicate)):
                return checkpoint.load_recorded(at)
    return None


def _nothing(simulation: Simulation) -> Recorded:
    store = simulation.state.store
    width = store.totals.size + store.events.size
    return Recorded(np.zeros((0, width), dtype=np.int64), b"")


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


def _recording(scenario: Scenario, table: NDArray[np.int64], replicate: int) -> Recording:
    """The quantities in a replicate's records."""
    every = steps_per_sample(scenario, _settings_of(scenario))
    names = Names.of(scenario)
    series = Recorder(scenario, names, 0, every * len(table), every, table).series()
    seconds, columns = series.seconds, dict[Quantity, Array]()
    for kind, target, ligand in quantities(scenario):
        if kind == "occupancy":
            values = series.occupancy(target, ligand)
        elif kind == "free":
            values = series.free(ligand)
        else:
            values = series.count("transported", ligand, target)
        whole = values.astype(np.float64)
        if kind == "flux":  # molecules carried per second since the record before
            whole = np.diff(whole, prepend=0.0) / np.diff(seconds, prepend=0.0)
        columns[kind, target, ligand] = whole
    return Recording(seconds, columns, replicate)


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
    progress: Progress = silent, command: str = "", workers: int | None = 1,
) -> Simulated:  # fmt: skip
    """Run a scenario and leave figure, tables and record in the folder ``out``.

    Replicates run side by side on ``workers`` (None: all cores). What is unfinished when the run
    ends early is kept in ``out``, hidden, and the same run continues from there.

    Raises
    ------
    OutputError
        If ``out`` cannot be written; noticed before the computation starts.
    """
    source = source_sha256()
    identity = (scenario.model_dump_json(), seed, engine, source, versions())
    with (
        output_folder(out) as folder,
        sweep.using(workers, sweep.Cache(folder, "simulate", *identity)),
    ):
        found = simulate(scenario, seed=seed, engine=engine, progress=progress)
        write_run(
            folder, result_of(found), _figure_files(found), experiment=f"simulate {scenario.name}",
            seed=found.seed, command=command, options={"engine": found.engine},
            seconds=found.seconds, source=source,
        )  # fmt: skip
    return found


def result_of(found: Simulated, *, own_files: bool = True) -> Result:
    """Table, checks and scenario as experiments give them.

    Without ``own_files``, no file of the user's is opened: drugs from there are cited by name.
    """
    scenario = found.scenario
    outcome = {"averages": found.record(), "failed": [str(each) for each in found.failures]}
    return Result(
        [found.table()], found.checks(), found.text(), scenario.name,
        scenario.model_dump(mode="json"), _papers(scenario, own_files), outcome,
    )  # fmt: skip


def _papers(scenario: Scenario, own_files: bool) -> list[str]:
    """Citations of the constants; the file's name where a file of the user's is not read."""
    from synapse_abm import pharmacology
    from synapse_abm.pharmacology.library import own_file

    papers = list[str]()
    for name in [x.taken_from for x in scenario.ligands.values() if x.taken_from]:
        try:
            closed = own_file(name) and not own_files
            papers += [name] if closed else pharmacology.ligand(name).sources()
        except (InputError, InputErrors):
            papers.append(name)
    return list(dict.fromkeys(papers))


def _figure_files(found: Simulated) -> dict[str, bytes]:
    from synapse_abm.plotting import saved, timeseries

    return saved("timeseries", timeseries(found), dpi=150)
