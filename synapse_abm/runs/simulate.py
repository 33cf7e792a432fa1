"""``simulate``: a scenario run as it says, its averages with error bars beside what theory says.

Writes a figure, ``timeseries`` (CSV and Parquet) and ``run.json``. Both engines give the same
numbers and the same hash of the trajectory.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import os
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from synapse_abm.core.address import Address
from synapse_abm.core.arguments import instance
from synapse_abm.core.errors import InputError, InputErrors, raise_faults
from synapse_abm.core.files import RECORD, output_folder
from synapse_abm.core.progress import Progress, silent
from synapse_abm.core.sealed import CheckpointError
from synapse_abm.core.text import plain_json, text_table
from synapse_abm.runs import results, sweep
from synapse_abm.runs.computing import program_sha256
from synapse_abm.runs.course_check import Course, course_of
from synapse_abm.runs.record import read_record
from synapse_abm.runs.results import Check, Result, Table, source_sha256, versions, write_run
from synapse_abm.runs.sweep import Failure, TasksFailed
from synapse_abm.scenarios import scenarios
from synapse_abm.statistics import Estimate, TooShort, batch_means, from_replicates
from synapse_abm.synapse.engine import checkpoint
from synapse_abm.synapse.engine.checkpoint import Recorded
from synapse_abm.synapse.engine.clock import Clock
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
from synapse_abm.synapse.scenario.protocol import stretches
from synapse_abm.synapse.scenario.protocol_summary import Lane, lanes
from synapse_abm.synapse.scenario.stationary import is_course, lacking, stationary_from_s
from synapse_abm.synapse.scenario.summary import warnings
from synapse_abm.synapse.scenario.timestep import announcement

type Array = NDArray[np.float64]
type Engine = Literal["compiled", "agents"]

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


class Quantity(NamedTuple):
    """Something that is recorded: kind (occupancy, flux or free), target or "", ligand."""

    kind: str
    target: str
    ligand: str

    @property
    def label(self) -> str:
        """In words, with its unit."""
        if self.kind == "free":
            return f"free {self.ligand} (molecules)"
        unit = " (1/s)" if self.kind == "flux" else ""
        return f"{self.target} {self.kind} by {self.ligand}{unit}"

    @property
    def column(self) -> str:
        """Name of its column."""
        unit = "_per_s" if self.kind == "flux" else ""
        return "_".join(filter(None, (self.kind, self.target, self.ligand))) + unit

    def read(self, series: Series) -> Array:
        """Its values in what a run recorded."""
        if self.kind == "free":
            return series.free(self.ligand).astype(np.float64)
        read = series.occupancy if self.kind == "occupancy" else series.flux
        return read(self.target, self.ligand)

    def of(self, theory: expected.Values) -> float | None:
        """What theory says of it, None if nothing."""
        if self.kind == "free":
            return theory.free.get(self.ligand)
        table = theory.occupancy if self.kind == "occupancy" else theory.flux
        return table.get((self.target, self.ligand))


@dataclass(frozen=True, slots=True)
class Measured:
    """An average beside theory: of the stationary part, or of a course that has none of all.

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
    recordings: list[Series]
    trajectory_sha256: str
    measured: dict[Quantity, Measured]
    seconds: float
    failures: tuple[Failure, ...] = ()
    course: Course | None = None
    """What changes in time beside its theory; None where all after the burn-in is stationary."""

    @property
    def run(self) -> RunSettings:
        """The settings of the run."""
        assert self.scenario.run is not None
        return self.scenario.run

    @property
    def lanes(self) -> list[Lane]:
        """What the protocol changes, to be drawn."""
        return lanes(self.scenario)

    @property
    def is_stationary(self) -> bool:
        """Whether the averages are of a part that is stationary, by what the scenario says."""
        return math.isfinite(stationary_from_s(self.scenario))

    def record(self) -> dict[str, Any]:
        """The contents of ``--json FILE``."""
        contents: dict[str, Any] = {
            "seed": self.seed, "engine": self.engine, "dt_s": self.scenario.dt_s,
            "step": announcement(self.scenario), "adjusted_rates": self._adjusted_rates(),
            "occupancy": {}, "free": {}, "flux": {},
            "trajectory_sha256": self.trajectory_sha256,
            "notes": self.notes(),
            "averaged_from_s": averaged_from_s(self.scenario),
            "course": self.course.record() if self.course else None,
        }  # fmt: skip
        for (kind, target, ligand), measured in self.measured.items():
            table = contents[kind].setdefault(target, {}) if target else contents[kind]
            table[ligand] = measured.record()
        return contents

    def _adjusted_rates(self) -> dict[str, dict[str, Any]]:
        """Of each target and ligand that walks: what k_on and k_off were multiplied by, and why."""
        table = dict[str, dict[str, Any]]()
        for (target, ligand), adjusted in self.scenario.adjustments.items():
            table.setdefault(target, {})[ligand] = adjusted.record
        return table

    def notes(self) -> list[str]:
        """What to beware of: step, regime, error bars."""
        return [*warnings(self.scenario), *self.notes_of_averages()]

    def notes_of_averages(self) -> list[str]:
        """Error bars that cannot be trusted; averages that are not where the exact law is."""
        short = [f"failed and left out: {failure}" for failure in self.failures]
        short += [f"{at.label}: {x.short}" for at, x in self.measured.items() if x.short]
        if all(check.passed for check in self.checks_of_averages()):
            return short
        return [
            *short,
            "exact values are those of the stationary state: is the burn-in long enough?",
        ]

    def checks(self) -> list[Check]:
        """Averages of what is stationary, and courses, that exact theory knows."""
        return [*self.checks_of_averages(), *(self.course.checks() if self.course else ())]

    def checks_of_averages(self) -> list[Check]:
        """Every average that has both an exact value and an error bar.

        It may lack what the burn-in leaves of the transient, by the scenario's own account.
        """
        settled = self.course is not None or self.scenario.start.state == "equilibrium"
        lacks = {} if settled else lacking(self.scenario, 0.0)
        good = [
            (at, x.estimate, x.exact)
            for at, x in self.measured.items()
            if x.exact is not None and x.estimate and x.estimate.se > 0 and not x.short
        ]
        law = "stationary law (see synapse_abm.synapse.scenario.expected)"
        return [
            Check.by_student(
                at.label,
                estimate,
                exact,
                source=law,
                false_alarm=FALSE_ALARM,
                tests=len(good),
                allowed=abs(exact) * lacks.get((at.target, at.ligand), (0.0, 0.0))[0],
            )
            for at, estimate, exact in good
        ]

    def text(self) -> str:
        """The table for people."""
        from_s, words = averaged_from_s(self.scenario), "after the burn-in"
        shown, blocks = self.measured, list[str]()
        if self.course:
            blocks.append(self.course.text(self.scenario))
            words = f"from {from_s:.4g} s on ({'settled' if self.is_stationary else 'a course'})"
        if self.course and not self.is_stationary:
            # The average of a course means little: only of what no theory shows in time.
            known = self.course.quantities
            shown = {at: x for at, x in self.measured.items() if at not in known}
        rows = [
            [at.label, *(_shown(v) for v in (x.mean, x.se, x.exact, x.formula))]
            for at, x in shown.items()
        ]
        if rows:
            blocks.append(text_table([words, "mean", "std. error", "exact", "formula"], rows))
        return "\n\n".join(blocks)

    def table(self) -> Table:
        """Every record of every replicate."""
        count = len(self.recordings[0].seconds)
        columns: dict[str, Any] = {
            "replicate": np.repeat([series.replicate for series in self.recordings], count),
            "time_s": np.concatenate([series.seconds for series in self.recordings]),
        }
        for at in self.measured:
            columns[at.column] = np.concatenate([at.read(series) for series in self.recordings])
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
    """One run of a scenario: the task of a worker.

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
    started, numbers = time.perf_counter(), itertools.count()
    cache = sweep.current_cache()
    settings = [_settings_of(scenario) for scenario in scenarios]
    raise_faults([fault for scenario in scenarios for fault in run_faults(scenario)])
    tasks = [
        Replicate(
            scenario, run.seed if seed is None else seed, number, engine or run.engine,
            cache.checkpoint(number) if cache else None, CHECKPOINT_S,
        )
        for scenario, run in zip(scenarios, settings, strict=True)
        # Numbered through all scenarios: no two runs of a series share random numbers.
        for number in itertools.islice(numbers, run.replicates)
    ]  # fmt: skip
    outcomes = sweep.outcomes(
        run_replicate,
        [(task,) for task in tasks],
        names=[f"replicate {task.replicate}, seed {task.seed}" for task in tasks],
        progress=progress,
        label="samples",
        ticks=max(map(samples, scenarios, settings), default=1),
        prepare=load_kernels,
        compiled=all(task.engine == "compiled" for task in tasks),
    )
    seconds, in_order = time.perf_counter() - started, zip(tasks, outcomes, strict=True)
    groups = (list(itertools.islice(in_order, run.replicates)) for run in settings)
    return [_gathered(group, seconds) for group in groups]


def _settings_of(scenario: Scenario) -> RunSettings:
    fix = "read_scenario(path) makes one from a file"
    run = instance("scenario", scenario, Scenario, fix=fix).run
    return instance("scenario.run", run, RunSettings, "settings that say how long it is run")


def _gathered(group: Sequence[tuple[Replicate, Recorded | Failure]], seconds: float) -> Simulated:
    """All replicates of one scenario together; those that failed are named, not counted."""
    # The digests of all replicates in order give the run's hash: the same on any number of workers.
    (first, _), digest, recordings = group[0], hashlib.sha256(), list[Series]()
    failures = [outcome for _, outcome in group if isinstance(outcome, Failure)]
    for number, (_, outcome) in enumerate(group):
        if not isinstance(outcome, Failure):
            digest.update(outcome.digest)
            recordings.append(_series(first.scenario, outcome.table, number))
    if not recordings:
        raise TasksFailed(failures, len(group))
    measured, course = _measured(first.scenario, recordings), None
    if is_course(first.scenario):
        labels: Any = {at: (at.label, at.column) for at in measured}
        course = course_of(
            first.scenario, labels, [{at: at.read(x) for at in measured} for x in recordings]
        )
    return Simulated(
        first.scenario, first.seed, first.engine, recordings, digest.hexdigest(), measured,
        seconds, tuple(failures), course,
    )  # fmt: skip


def run_replicate(task: Replicate) -> Recorded:
    """All records of one replicate, from its checkpoint if it has one, and the trajectory's hash.

    The hash takes in every molecule's id, cell, site and compartment at each record. A checkpoint
    that is not whole is not used: the replicate starts again, and comes out the same.
    """
    scenario = task.scenario
    settings = _settings_of(scenario)
    every, count = steps_per_sample(scenario, settings), samples(scenario, settings)
    simulation, run, recorded = _begin(task)
    done, digest = len(recorded.table), recorded.digest
    table = np.zeros((count, recorded.table.shape[1]), dtype=np.int64)
    table[:done] = recorded.table
    written, wait_s = time.perf_counter(), task.checkpoint_s
    together = 1  # records that one call of compiled code takes; no result depends on it
    while done < count:
        sweep.tell(done)
        number, began = min(together, count - done), time.perf_counter()
        if number > 1:
            table[done : done + number], digest = simulation().run_hashed(every, number, digest)
        else:
            # The agents engine always; the compiled one at first, and where checkpoints come often.
            series = run(every, every)
            table[done] = np.concatenate([series.totals[0], series.events[0]])
            # A chain: each record's hash takes in the one before, so one number stands for all of
            # the run.
            link = hashlib.sha256(digest + simulation().step_number.to_bytes(8, "little"))
            simulation().state.digest_into(link)
            digest = link.digest()
        done += number
        # Checkpoints that are to come oftener than calls end: then each record is a call.
        if task.engine == "compiled" and (task.checkpoint is None or wait_s > CALL_S):
            room = max(1, RECORD_BYTES // (8 * simulation().record_width))
            together = min(next_chunk(together, time.perf_counter() - began), room)
        if task.checkpoint and time.perf_counter() - written > wait_s and done < count:
            began = time.perf_counter()
            _save(task.checkpoint, simulation(), Recorded(table[:done], digest))
            written = time.perf_counter()
            # A large place takes long to write: then seldom, so that the run hardly notices.
            wait_s = max(task.checkpoint_s, (written - began) / CHECKPOINT_SHARE)
    return Recorded(table, digest)


def _save(path: Path, simulation: Simulation, recorded: Recorded) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.save(simulation, path, recorded)


def _begin(
    task: Replicate,
) -> tuple[Callable[[], Simulation], Callable[[int, int], Series], Recorded]:
    """A simulation at the start or where its checkpoint is, how to advance it, and its records."""
    path, earlier = task.checkpoint, _earlier(task)
    if earlier is None:
        path = None
    get: Callable[[], Simulation]
    if task.engine == "compiled":
        fresh = (task.scenario, task.seed, task.replicate)
        simulation = checkpoint.load(path) if path else Simulation(*fresh)
        get, run = lambda: simulation, simulation.run
    else:
        from synapse_abm.synapse.agents.model import SynapseModel  # brings Mesa with it

        if path:
            model = SynapseModel.resume(path, engine=task.engine, collect_every=0)
        else:
            model = SynapseModel(
                task.scenario, rng=task.seed, replicate=task.replicate, engine=task.engine,
                collect_every=0,
            )  # fmt: skip
        # The model makes a new simulation whenever its user changed an agent: asked each time.
        get, run = lambda: model.simulation, model.run
    if earlier is None:
        store = get().state.store
        width = store.totals.size + store.events.size
        earlier = Recorded(np.zeros((0, width), dtype=np.int64), b"")
    return get, run, earlier


def _earlier(task: Replicate) -> Recorded | None:
    """What an interrupted run of just this replicate recorded; None if there is no such thing.

    The file may be anybody's: records that this run would not have made by that step are none.
    """
    at, scenario, settings = task.checkpoint, task.scenario, _settings_of(task.scenario)
    if at is not None and at.exists():
        with suppress(CheckpointError):
            simulation, recorded = checkpoint.load(at), checkpoint.load_recorded(at)
            records, width = recorded.table.shape
            steps, store = records * steps_per_sample(scenario, settings), simulation.state.store
            # Another scenario, seed or length of the same name: its records are not this run's.
            is_own = (
                simulation.scenario.model_dump_json() == scenario.model_dump_json()
                and simulation.address == Address(task.seed, task.replicate)
                and simulation.step_number == steps
                and records <= samples(scenario, settings)
                and width == store.totals.size + store.events.size
            )
            return recorded if is_own else None
    return None


def quantities(scenario: Scenario) -> list[Quantity]:
    """What is recorded: occupancy and flux by pair, free molecules by ligand."""
    ligands = scenario.ligands
    pairs = [(t, n) for t in scenario.targets for n in ligands if t in ligands[n].binding]
    transported = [(t, n) for t, n in pairs if ligands[n].binding[t].kcat_per_s > 0]
    return [
        *(Quantity("occupancy", t, n) for t, n in pairs if scenario.targets[t].n_sites),
        *(Quantity("free", "", n) for n in ligands if ligands[n].clamped_nM is None),
        *(Quantity("flux", t, n) for t, n in transported),
    ]


def _series(scenario: Scenario, table: NDArray[np.int64], replicate: int) -> Series:
    """A replicate's records."""
    every, names = steps_per_sample(scenario, _settings_of(scenario)), Names.of(scenario)
    recorder = Recorder(scenario, names, 0, every * len(table), every, table)
    return replace(recorder.series(Clock.start(scenario.dt_s)), replicate=replicate)


# --- averages -------------------------------------------------------------------------------------


def averaged_from_s(scenario: Scenario) -> float:
    """Time (s) from which averages are taken: of the stationary part, if there is one."""
    from_s = stationary_from_s(scenario)
    return from_s if math.isfinite(from_s) else _settings_of(scenario).burn_in_s


def _measured(scenario: Scenario, recordings: list[Series]) -> dict[Quantity, Measured]:
    from_s, is_stationary = averaged_from_s(scenario), math.isfinite(stationary_from_s(scenario))
    exact = formula = expected.Values()
    if is_stationary:  # by what holds in the end
        holds = scenario
        if scenario.at:
            _, last = stretches(scenario)[-1]
            holds = scenario.becoming(last.targets, last.ligands, scenario.dt_s)
        exact, formula = expected.exact(holds), expected.textbook(holds)
    averages = dict[Quantity, Measured]()
    for at in quantities(scenario):
        # The allowance is for times that are sums of steps: a record at the burn-in's end is not
        # after it.
        averaged = [at.read(x)[x.seconds > from_s * (1 + 1e-9)] for x in recordings]
        estimate, short = _estimate(averaged, is_stationary)
        # One mean for one quantity: the one that is tested.
        mean = estimate.value if estimate else float(np.mean([x.mean() for x in averaged]))
        averages[at] = Measured(estimate, mean, short, at.of(exact), at.of(formula))
    return averages


def _estimate(parts: list[Array], is_stationary: bool) -> tuple[Estimate | None, str]:
    """Mean over time and replicates with its error, and why not to trust it (or nothing)."""
    if len(parts) >= ENOUGH_REPLICATES:
        # Replicates are independent whatever happens within each, so their scatter asks for no
        # theory of how long a run remembers.
        return from_replicates([part.mean() for part in parts]), ""
    if not is_stationary:
        return None, ""  # one course has no error: what it scatters is how it goes
    estimates, short = list[Estimate](), ""
    for part in parts:
        if part.size < 20:
            return None, f"{part.size} samples are too few for an error bar; 20 is the least"
        try:
            estimates.append(batch_means(part))
        except TooShort as error:
            estimates.append(error.estimate)
            # A series without change has no variance: its mean may be right, and nothing tells how
            # far.
            constant = "nothing changed while it was averaged, so there is no error bar"
            # Without the mean so far: the table has that of all replicates.
            long = (
                f"{error.length} samples are too few for an error bar: their correlations ask for "
                f"{error.needed:.0f}; the one told is too small"
            )
            short = constant if np.ptp(part) == 0 else long
    # Equal weights, as replicates are equally long: weights from their errors would prefer the runs
    # whose error came out too small.
    value = float(np.mean([estimate.value for estimate in estimates]))
    se = math.sqrt(sum(estimate.se**2 for estimate in estimates)) / len(estimates)
    return Estimate(value, se, sum(estimate.dof for estimate in estimates)), short


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


# --- files ----------------------------------------------------------------------------------------


def replaced(scenario: Scenario, out: Path, source: str) -> str:
    """What a run of ``scenario`` would replace in the folder ``out``: a remark, or an empty text.

    ``source`` is the file or the name that was asked for, as typed.

    Raises
    ------
    InputError
        If the folder holds a run of another source: that would be lost.
    """
    if not (out / RECORD).is_file():
        return ""
    try:
        record = read_record(out / RECORD)
    except InputError:
        return f"replaces a {RECORD} that this version cannot read, in {out}{os.sep}"
    if record.experiment.startswith("simulate "):
        if _same(record.scenario, scenario):
            return ""
        earlier = _source_of(record.command)
        if not earlier or _place(earlier) == _place(source):
            return f"replaces the run of another version of {source} in {out}{os.sep}"
        run = f"simulate {earlier}"
    else:
        run = f"run {record.experiment}"
    allowed = f"a folder without the run of another scenario; this one has that of '{run}'"
    raise InputError("--out", str(out), allowed, "name another folder (--out DIR), or remove it")


def _same(recorded: Mapping[str, Any], scenario: Scenario) -> bool:
    """Whether a record's scenario is this one."""
    return plain_json(scenario.model_dump(mode="json")) == recorded


def _source_of(command: str) -> str:
    """The file or name in a recorded command; empty for a run from Python."""
    try:
        words = iter(shlex.split(command)[2:])
    except ValueError:
        return ""
    for word in words:
        if not word.startswith("--"):
            return word
        if "=" not in word:
            next(words, None)  # every option of ``simulate`` takes a value
    return ""


def _place(source: str) -> str:
    """A ready-made scenario by its name, a file by its path; nothing is opened."""
    return source if source in scenarios() else os.path.abspath(source)


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
    # Before the run: an edit during it must not pass for what made the numbers.
    source = source_sha256()
    identity = (scenario.model_dump_json(), seed, engine, program_sha256(), versions())
    with (
        output_folder(out) as folder,
        sweep.using(
            workers, sweep.Cache(folder, "simulate", *identity), meanwhile=results.import_ahead
        ),
    ):
        simulated = simulate(scenario, seed=seed, engine=engine, progress=progress)
        write_run(
            folder, result_of(simulated), figure_files(simulated),
            experiment=f"simulate {scenario.name}", seed=simulated.seed, command=command,
            options={"engine": simulated.engine}, seconds=simulated.seconds, source=source,
        )  # fmt: skip
    return simulated


def result_of(simulated: Simulated, *, own_files: bool = True) -> Result:
    """Table, checks and scenario as experiments give them.

    Without ``own_files``, no file of the user's is opened: drugs from there are cited by name.
    """
    scenario = simulated.scenario
    outcome = {
        "averages": simulated.record(),
        "failed": [str(failure) for failure in simulated.failures],
    }
    return Result(
        [simulated.table(), *([simulated.course.table()] if simulated.course else [])],
        simulated.checks(), simulated.text(), scenario.name,
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


def figure_files(simulated: Simulated) -> dict[str, bytes]:
    """The figure by the names of its files."""
    from synapse_abm.plotting import saved, timeseries

    return saved("timeseries", timeseries(simulated), dpi=150)
