"""``rerun``: a record of a run, run again: the same tables to the byte, or what differs; and
``redraw``: its figures, drawn again.

A record is data, perhaps a stranger's. It is checked against a schema and limits of size; the only
experiments that run from it are the program's own, and no path that stands in it is opened unless
the user gave it too. Nothing is written but the figures of ``redraw``.

Tables are compared by hash, then by number. Where processors differ in rounding, numbers may differ
in the last digit written: within two units of it they agree (one comes from rounding, one is for
what was rounded). The same is granted on the processor of the record, and always said.
"""

from __future__ import annotations

import dataclasses
import json
import math
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import TypeAdapter, ValidationError

from synapse_abm.core.arguments import check_seed
from synapse_abm.core.errors import InputError, UnknownName, raise_faults
from synapse_abm.core.files import output_folder, sha256, write_folder
from synapse_abm.core.progress import Progress, silent
from synapse_abm.core.quantity import unit_of
from synapse_abm.core.text import DIGITS, SOLVED_DIGITS, plain_json
from synapse_abm.core.validation_errors import Origin, field_faults
from synapse_abm.pharmacology.library import own_file
from synapse_abm.runs import simulate, sweep
from synapse_abm.runs.compare import Departure, departure_of_table, departures
from synapse_abm.runs.computing import script_sha256
from synapse_abm.runs.experiment import Experiment, experiments, option_values, own_files
from synapse_abm.runs.record import Record, read_record
from synapse_abm.runs.results import Result, Table, code_version, machine, source_sha256, versions
from synapse_abm.synapse.scenario.definition import Scenario
from synapse_abm.synapse.scenario.feasibility import run_faults
from synapse_abm.synapse.scenario.tables import RANGES


@dataclass(frozen=True)
class _SimulateOptions:
    engine: Literal["compiled", "agents"]


@dataclass(frozen=True, slots=True)
class Rerun:
    """What came of it.

    Attributes
    ----------
    equal
        Tables with the recorded hash.
    close
        Tables with another hash whose numbers agree within two units of the last digit written,
        each with the largest departure.
    different
        The other tables, checks and averages, each with what is known of the difference.
    changed
        What else is not as it was: versions, machine, code, command, papers.
    edited
        Files beside the record that are not the tables it speaks of, though these are reproduced:
        somebody changed them.
    elsewhere
        Whether machine or versions are not those of the record.
    """

    equal: tuple[str, ...]
    close: Mapping[str, str]
    different: Mapping[str, str]
    changed: tuple[str, ...]
    edited: Mapping[str, str]
    elsewhere: bool

    @property
    def passed(self) -> bool:
        """Whether all tables are reproduced, and are those beside the record."""
        return not self.different and not self.edited

    def text(self) -> str:
        """The report for people."""
        lines = [f"same    {name}" for name in self.equal]
        lines += [f"AGREES  {name}: {what}" for name, what in self.close.items()]
        lines += [f"DIFFERS {name}: {what}" for name, what in self.different.items()]
        lines += [f"EDITED  {name}: {what}" for name, what in self.edited.items()]
        return "\n".join([*lines, *(f"! {what}" for what in self.changed), self.verdict])

    @property
    def verdict(self) -> str:
        """The last line: what it all means."""
        if self.different:
            return "The run is NOT reproduced." + (
                "" if self.changed else " Versions, machine and code are those of the record:"
                " please report this."
            )  # fmt: skip
        if self.edited:
            return "All recorded tables are reproduced, but files beside the record are NOT they."
        if not self.close:
            return "All tables are reproduced, byte for byte."
        where = "another processor or other versions" if self.elsewhere else (
            "though processor and versions are those of the record"
        )  # fmt: skip
        return f"The run agrees within two units of the last digit written, {where}."


def rerun(
    path: Path, *, script: Path | None = None, drugs: Path | None = None,
    progress: Progress = silent, workers: int | None = 1,
) -> Rerun:  # fmt: skip
    """Do again what the record at ``path`` says, and compare tables and checks.

    ``script`` is the file of the experiment if that is one of the user's own, ``drugs`` the file of
    the user's own drugs if the options name any; both must be those of the record.

    Raises
    ------
    InputError, InputErrors
        If the file is missing, no record of a run, or changed since; or asks for an experiment,
        option, scenario or file that this version does not know or the user did not give.
    """
    record = read_record(path)
    with sweep.using(workers):
        again = _again(record, script, drugs, progress)
    return _compared(record, path, again)


def redraw(
    path: Path, out: Path | None = None, *, script: Path | None = None, drugs: Path | None = None,
    progress: Progress = silent, workers: int | None = 1,
) -> list[str]:  # fmt: skip
    """Draw the figures of the record at ``path`` again, and write them beside it, or into ``out``.

    Results of tasks that the run kept beside its record are not computed again; what else there is
    to compute is. ``script`` and ``drugs`` are as :func:`rerun` takes them, but what only draws may
    have changed in the script.

    Returns
    -------
    The names of the files written.

    Raises
    ------
    InputError, InputErrors
        As :func:`rerun`; or if the tables are not those of the record, so that the figures would
        not be either.
    OutputError
        If a file cannot be written; noticed before anything is computed.
    """
    record = read_record(path)
    with output_folder(path.parent if out is None else out) as folder:
        with sweep.using(workers, sweep.Kept(path.parent)):
            again = _again(record, script, drugs, progress)
        report = _compared(record, path, again)
        if report.different:
            allowed = f"a record whose tables are reproduced; here {'; '.join(report.different)}"
            fix = "run the command in it again"
            raise InputError("record", str(path), f"{allowed} differ", fix)
        figures = again.figures()
        write_folder(folder, figures)
    return sorted(figures)


def _compared(record: Record, path: Path, again: _Again) -> Rerun:
    """What was done again beside what is recorded."""
    result = again.result
    elsewhere, changed = list(_elsewhere(record)), list(_changed(record, result, again.source))
    changed += [*again.notes, *_not_beside(path.parent, result)]
    verdicts = _Tables(record, path.parent)
    for table in result.tables:
        verdicts.judge(table)
    # Checks last: a table that differs explains them, and is told first.
    verdicts.different |= dict(_of_checks(record, result))
    return Rerun(
        tuple(verdicts.equal), verdicts.close, verdicts.different, (*elsewhere, *changed),
        verdicts.edited, bool(elsewhere),
    )  # fmt: skip


class _Tables:
    """Tables sorted by what became of them; see :class:`Rerun`."""

    def __init__(self, record: Record, folder: Path) -> None:
        self.record, self.folder = record, folder
        self.equal = list[str]()
        self.close, self.edited = dict[str, str](), dict[str, str]()
        gone = "this version makes no such table"
        self.different = dict.fromkeys(record.table_sha256, gone)

    def judge(self, table: Table) -> None:
        """Compare a table in both its forms with what is recorded."""
        numbers: Departure | str = ""  # what is known of them, from the CSV: Parquet has the same
        for name, data in table.files().items():
            recorded, beside = self.record.table_sha256.get(name), self._beside(name, len(data))
            # Only a neighbour that is the recorded table can say by how much the new one departs
            # from it.
            whole = beside is not None and sha256(beside) == recorded
            self.different.pop(name, None)
            if recorded is None:
                self.different[name] = "it is not in the record"
                continue
            if recorded == sha256(data):
                self.equal.append(name)
            elif not name.endswith(".csv"):
                self._sort(name, numbers or self._bytes())
            elif whole and beside is not None:
                numbers = departure_of_table(table, beside)
                self._sort(name, numbers)
            else:
                why = "was changed since" if beside else "is not beside the record"
                numbers = f"another hash (the recorded table {why}, so rows are not compared)"
                self._sort(name, numbers)
            if beside is not None and not whole and name not in self.different:
                what = departure_of_table(table, beside) if name.endswith(".csv") else "other bytes"
                self.edited[name] = f"the file was changed since; {what}"

    def _sort(self, name: str, what: Departure | str) -> None:
        agrees = isinstance(what, Departure) and what.agrees
        (self.close if agrees else self.different)[name] = str(what)

    def _bytes(self) -> Departure | str:
        """Parquet that differs although its CSV does not: pyarrow's affair, or a forgery."""
        was, now = self.record.versions.get("pyarrow"), versions().get("pyarrow")
        # Versions of pyarrow write the same numbers as other bytes; one version does not.
        if was == now:
            return "another hash, though the CSV is the same"
        return Departure("the CSV is the same; pyarrow", was, now, math.inf, 0.0)

    def _beside(self, name: str, size: int) -> bytes | None:
        """The file beside the record, hardly more of it than a table has; None if there is none.

        ``name`` is that of a table just made: what the record calls its tables opens nothing.
        """
        path = self.folder / name
        if not path.is_file():
            return None
        # The file may be anybody's, and endless: twice a table is enough to show that it is
        # another.
        with path.open("rb") as file:
            return file.read(2 * size + 10_000)


# --- run again -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Again:
    """A result, the hash of the sources it came from, its figures, and what to remark."""

    result: Result
    source: str
    figures: Callable[[], dict[str, bytes]]
    notes: tuple[str, ...] = ()


def _again(record: Record, script: Path | None, drugs: Path | None, progress: Progress) -> _Again:
    """What the record says, done again."""
    seed = check_seed(record.seed, "seed of the record")
    if record.experiment.startswith("simulate "):
        raise_faults(list(_not_wanted({"--script": script, "--drugs": drugs})))
        engine = _options(_SimulateOptions, record.options).engine
        simulated = simulate.simulate(
            _scenario(record.scenario), seed=seed, engine=engine, progress=progress
        )
        return _Again(
            simulate.result_of(simulated, own_files=False), source_sha256(),
            lambda: simulate.figure_files(simulated),
        )  # fmt: skip
    raise_faults(list(_not_named(record, script, drugs)))
    experiment, notes = _experiment(record, script)
    module, options = experiment.load(), dict(record.options)
    quick = options.pop("quick", None)
    # Of JSON anything may come: 1 is no truth value here, as pydantic in strict mode has it too.
    if not isinstance(quick, bool):
        raise InputError("record.options.quick", quick, "true or false")
    chosen = option_values(_options(module.Options, options))
    _check_drugs(record, own_files(chosen), drugs)
    result = module.run(seed=seed, quick=quick, progress=progress, **chosen)
    return _Again(
        result, source_sha256(experiment.path),
        lambda: _drawn(experiment.name, module.figure(result)), notes,
    )  # fmt: skip


def _drawn(name: str, figures: Any) -> dict[str, bytes]:
    from synapse_abm.plotting import saved  # Matplotlib is not loaded before it is needed

    return saved(name, figures)


def _not_named(record: Record, script: Path | None, drugs: Path | None) -> Iterator[InputError]:
    """Files of somebody's own that the record asks for and nobody gave, all of them."""
    if record.script_sha256 is not None and script is None:
        allowed = "an experiment of this program; this one is a script of somebody's own"
        fix = f"read the script ({record.experiment}.py then), and name it: --script FILE"
        yield InputError("record.experiment", record.experiment, allowed, fix)
    for name in record.drug_files if drugs is None else ():
        yield _drugs_not_given(name)


def _drugs_not_given(name: str) -> InputError:
    # A record could name any file of this machine: only one that the user names too is opened.
    fix = f"read the file, then name it: --drugs {shlex.quote(name)}"
    return InputError("record.options", name, "drugs of a file that you give too", fix)


def _not_wanted(files: Mapping[str, Path | None]) -> Iterator[InputError]:
    for option, path in files.items():
        if path is not None:
            allowed = "nothing: the record asks for no such file"
            yield InputError(option, str(path), allowed, "leave it out")


def _experiment(record: Record, script: Path | None) -> tuple[Experiment, tuple[str, ...]]:
    """The program's own experiment, or the script that the user gave if it computes what the
    recorded one did; and what to remark about it.
    """
    if record.script_sha256 is None:
        raise_faults(list(_not_wanted({"--script": script})))
        known = experiments()
        if record.experiment not in known:
            raise UnknownName("record.experiment", record.experiment, known)
        return known[record.experiment], ()
    assert script is not None  # _not_named has told
    own, notes = Experiment(script.stem, script.resolve()), tuple[str, ...]()
    with suppress(OSError):
        # What draws may change: it is the numbers that are compared.
        if script_sha256(script.read_bytes()) == record.script_computing_sha256:
            if sha256(script.read_bytes()) != record.script_sha256:
                notes = ("the script was changed since, but not in what it computes",)
            return own, notes
    _check_hash("--script", script, record.script_sha256)
    return own, notes


def _check_drugs(record: Record, named: list[str], drugs: Path | None) -> None:
    """Whether the only file that options name, if any, is given, and as it was."""
    if not named:
        raise_faults(list(_not_wanted({"--drugs": drugs})))
    for name in named:
        if drugs is None or Path(name) != drugs:
            raise _drugs_not_given(name)
        _check_hash("--drugs", drugs, record.drug_files.get(name, ""))


def _check_hash(option: str, path: Path, recorded: str) -> None:
    try:
        hash_now = sha256(path.read_bytes())
    except OSError as error:
        allowed = f"a file that can be read ({error.strerror})"
        raise InputError(option, str(path), allowed, "check the path") from None
    if hash_now != recorded:
        allowed = f"the file of the record (SHA-256 {recorded[:16]}...); this is another"
        raise InputError(option, str(path), allowed, "find that one, or run this one anew")


def _options[T](declared: type[T], recorded: Mapping[str, Any]) -> T:
    """Options as they are declared: their names, and their types as JSON has them."""
    # All must be there: a default that changed since would otherwise run without being told.
    names = {option.name for option in dataclasses.fields(cast("Any", declared))}
    if set(recorded) != names:
        differ = ", ".join(sorted(set(recorded) ^ names))
        allowed = f"options of this version of the program; others are: {differ}"
        raise InputError("record.options", sorted(recorded), allowed, "run the command in it again")
    try:
        # As JSON, so that a list passes for a tuple and nothing else for anything else.
        return TypeAdapter(declared).validate_json(json.dumps(recorded), strict=True)
    except ValidationError as error:
        raise_faults([
            InputError(".".join(["record.options", *map(str, fault["loc"])]), fault["input"],
                       fault["msg"].removeprefix("Input should be "))
            for fault in error.errors()
        ])  # fmt: skip
        raise


def _scenario(table: Mapping[str, Any]) -> Scenario:
    """The scenario of a record, held to what a scenario file is held to."""
    try:
        scenario = Scenario.model_validate_json(json.dumps(table))
    except ValidationError as error:
        faults = field_faults(error, Scenario, Origin(within=("scenario",)))
    else:
        faults = list(_out_of_range(table, "scenario"))
        if scenario.run is None:
            faults.append(InputError("scenario.run", None, "settings of the run, in a record"))
        elif not faults:
            faults = list(run_faults(scenario))
    # Faults are in the words of scenario files, whose remedies do not suit a record.
    fix = "run the scenario anew; this program did not write this record"
    raise_faults([InputError(x.name, x.value, x.allowed, x.fix or fix) for x in faults])
    return scenario


def _out_of_range(value: Any, place: str, unit: str | None = None) -> Iterator[InputError]:
    """Numbers beyond the range that a scenario file has for their unit."""
    if isinstance(value, Mapping):
        for name, part in value.items():
            # A path like scenario.ligands.drug.diffusion_um2_per_s: the name of a field carries its
            # unit.
            if name != "dt_s":  # a step that was chosen may be short; run_faults judges it
                yield from _out_of_range(part, f"{place}.{name}", unit_of(name))
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from _out_of_range(part, f"{place}[{number}]", unit)
    elif unit in RANGES and isinstance(value, int | float) and value:
        low, high = RANGES[unit]
        if not low <= value <= high:
            yield InputError(place, value, f"a number from {low:g} to {high:g}, in {unit}, or 0")


# --- what else differs ----------------------------------------------------------------------------


def _of_checks(record: Record, result: Result) -> Iterator[tuple[str, str]]:
    """Checks, averages and failures that are not those of the record."""
    now = [(check, check.record()) for check in result.checks]
    if len(now) != len(record.checks):
        yield "checks", f"{len(record.checks)} were recorded, now there are {len(now)}"
    for was, (check, is_now) in zip(record.checks, now, strict=False):
        digits = SOLVED_DIGITS if check.solved else DIGITS
        for departure in departures(was.model_dump(), is_now, f"check {check.name!r}", digits):
            if not departure.agrees:
                yield departure.place, str(departure)
    for departure in departures(record.outcome, plain_json(result.outcome, DIGITS), "outcome"):
        if not departure.agrees:
            yield departure.place, str(departure)


def _elsewhere(record: Record) -> Iterator[str]:
    """Versions and machine that are not those of the record."""
    for was, now in ((record.versions, versions()), (record.machine, machine())):
        for name in sorted({*was, *now}):
            if was.get(name) != now.get(name):
                yield f"{name} was {was.get(name, 'absent')}, is {now.get(name, 'absent')}"


def _not_beside(folder: Path, result: Result) -> Iterator[str]:
    """Files of a run that are not beside its record."""
    missing = [name for table in result.tables for name in table.file_names()
               if not (folder / name).is_file()]  # fmt: skip
    if not any(folder.glob("*.png")):
        missing.append("a figure (redraw makes it)")
    if missing:
        yield f"not beside the record: {', '.join(missing)}"


def _changed(record: Record, result: Result, source: str) -> Iterator[str]:
    """What else is not as it was: code, papers, the command."""
    # Told, not refused: a changed program that gives the same tables is what one hopes for.
    if record.source_sha256 != source:
        then, now = record.code_version, code_version()
        yield f"the program's source was another one (then {then}, now {now})"
    # Of a file of the user's own, which is not opened, the name stands for its papers.
    own = {name for name in result.papers if own_file(name)}
    papers = [paper for paper in record.papers if paper not in result.papers and not own]
    papers += [paper for paper in result.papers if paper not in {*record.papers, *own}]
    if papers:
        yield f"papers in one of record and run only: {'; '.join(papers)}"
    told = plain_json(result.scenario)
    for departure in departures(record.scenario, told, "scenario", SOLVED_DIGITS):
        if not departure.agrees:
            yield str(departure)
    yield from _command_differs(record)


def _command_differs(record: Record) -> Iterator[str]:
    """Where the command of a record says another thing than its other fields."""
    try:
        # The command is for people; what is run again are the recorded fields. A forger might have
        # made the two disagree.
        words = shlex.split(record.command)
    except ValueError:
        words = ["?"]
    if not words:  # a run from Python
        return
    verb = "simulate" if record.experiment.startswith("simulate ") else "run"
    settings = {"seed": record.seed, **record.options}
    # Options are compared where the command names them; what it leaves out is a default.
    same = words[:2] == ["synapse-abm", verb] and (verb != "run" or record.experiment in words)
    same &= bool(settings.pop("quick", False)) == ("--quick" in words)
    for word, after in zip(words, [*words[1:], ""], strict=True):
        option, _, value = word.partition("=")
        setting = settings.get(option.removeprefix("--").replace("-", "_"))
        # True is an option without a value; lists and what is missing are not compared.
        if option.startswith("--") and (setting is False or type(setting) in (str, int, float)):
            told = value or after
            same &= told == str(setting) or _number(told) == setting
    if not same:
        yield f"the command is not that of the recorded run: {record.command}"


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
