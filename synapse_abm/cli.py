"""The command line: ``synapse-abm list | run | simulate | rerun | export | validate | bench``.

Exit status: 0 if no exact check failed, 1 if one did, 2 for input that cannot be used, 130 after
Ctrl-C. Whatever a user can put right is told in one sentence, never by a traceback. Only
parsing happens here; what a command needs is imported when it is chosen, so that help is quick.
"""

from __future__ import annotations

import os
import secrets
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, NoReturn

import tyro
from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes, Positional, arg, subcommand

from synapse_abm.core import terminal
from synapse_abm.core.arguments import DEFAULT_SEED, check_seed, check_workers
from synapse_abm.core.errors import (
    EXIT_BAD_INPUT,
    InputError,
    InputErrors,
    SynapseError,
    UnknownName,
    escaped,
    raise_faults,
)
from synapse_abm.core.files import RECORD, check_file, output_folder, write_atomic, write_folder
from synapse_abm.core.progress import bar
from synapse_abm.core.text import DIGITS, json_bytes
from synapse_abm.core.version import __version__
from synapse_abm.runs.experiment import (
    Experiment,
    NoOptions,
    experiments,
    figure_files,
    find,
    perform,
    scenario_summary,
)
from synapse_abm.runs.results import Check, Report
from synapse_abm.scenarios import find_scenario, scenarios

PROGRAM = "synapse-abm"
EXIT_CHECK_FAILED = 1
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells have it
EXIT_TERMINATED = 143  # 128 + SIGTERM
EXIT_BROKEN_PIPE = 141  # 128 + SIGPIPE

# Seeds are read as text and checked by check_seed, which explains better than a failed conversion.
# What is taken by default stands in their texts, so no "(default: None)" follows.
type Seed = Annotated[str | None, arg(metavar="N", help_behavior_hint="")]
type Workers = Annotated[str | None, arg(metavar="N", help_behavior_hint="")]
# An empty text would pass as the current folder if it were a path at once.
type Folder = Annotated[str | None, arg(metavar="DIR", help_behavior_hint="")]
type FolderByName = Annotated[
    str | None, arg(metavar="DIR", help_behavior_hint="(default: outputs/NAME)")
]
type File = Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")]


@dataclass(frozen=True)
class List:
    """Name the experiments and the ready-made scenarios; or show the drugs that are known."""

    drugs: bool = False
    """Show the drugs and transmitters instead: affinities, their status and sources."""
    file: File = None
    """A file of your own drugs (TOML) to check and show with them. Elsewhere, FILE.toml:NAME names
    a drug of it: in a scenario file, and as an experiment's --drug."""


@dataclass(frozen=True)
class Run[Options]:
    """Run an experiment; leave its figure, tables and record in a folder."""

    name: Annotated[Positional[str], arg(metavar="NAME")]
    """A name that `list` shows, or the path of an experiment's file. After it, --help shows the
    experiment's own options too."""
    options: Annotated[OmitArgPrefixes[Options], arg(name="")]
    out: FolderByName = None
    """The folder to write."""
    seed: Annotated[str, arg(metavar="N")] = str(DEFAULT_SEED)
    """Seed of all random numbers, a whole number from 0 to 2**64-1."""
    quick: bool = False
    """The same question at a small size."""
    workers: Workers = None
    """Processes to work with (default: one for each core); the results do not depend on it."""


@dataclass(frozen=True)
class Simulate:
    """Simulate a scenario; leave its figure, time series and record in a folder."""

    scenario: Annotated[Positional[str], arg(metavar="SCENARIO")]
    """A scenario file (TOML), or the name of a ready-made one that `list` shows."""
    engine: Annotated[str | None, arg(metavar="{compiled,agents}", help_behavior_hint="")] = None
    """The fast engine or the plain Python agents; the trajectory is the same (default: as the
    scenario says)."""
    seed: Seed = None
    """Seed of all random numbers, 0 to 2**64-1 (default: as the scenario says)."""
    out: FolderByName = None
    """The folder to write."""
    workers: Workers = None
    """Processes for the replicates (default: one for each core); the results do not depend on
    it."""
    json: File = None
    """Write averages, error bars, exact values and the trajectory's hash to this file."""


@dataclass(frozen=True)
class Rerun:
    """Run a record again: the same tables to the byte, or what differs. Writes nothing. Only what
    you name is opened and run, never a path that stands in the record.
    """

    record: Annotated[Positional[Path], arg(metavar="RECORD")]
    """The run.json of a run."""
    script: File = None
    """The file of an experiment of your own that was recorded; it must be unchanged."""
    drugs: File = None
    """The file of your own drugs that its options name; it must be unchanged."""
    workers: Workers = None
    """Processes to work with (default: one for each core)."""


@dataclass(frozen=True)
class Export:
    """Write a scenario for other simulators, as SBML."""

    scenario: Annotated[Positional[str], arg(metavar="SCENARIO")]
    """A scenario file (TOML), or the name of a ready-made one that `list` shows."""
    sbml: Annotated[Path, arg(metavar="FILE")]
    """The file to write: SBML Level 3, checked by libSBML."""
    well_mixed: bool = False
    """Leave space out, which SBML cannot say: one compartment of the same volume."""


@dataclass(frozen=True)
class Validate:
    """Hold the simulator against exact results, at a stated rate of false alarms."""

    cases: File = None
    """Cases to judge, as JSON; the ones of the program by default. Those that cannot be run are
    listed with the reason; if none can, nothing is judged, and the exit status is 0."""
    fresh: bool = False
    """Draw a new seed instead of the fixed one; it is printed."""
    seed: Seed = None
    """Seed of all random numbers, a whole number from 0 to 2**64-1."""
    thorough: bool = False
    """Margins of 0.2 points of occupancy and 0.5 % of other numbers; how long that takes is told
    beforehand."""
    planted: bool = False
    """Compile and try all planted bugs too (15 s each, once); later runs try them anyway."""
    json: File = None
    """Write the verdicts to this file as JSON."""
    html: File = None
    """Write a report to this file: one page with a picture of every case."""


@dataclass(frozen=True)
class Bench:
    """Measure speed, side by side with other simulators that are installed."""

    json: File = None
    """Write the measurements to this file as JSON."""
    out: Folder = None
    """Write bench.json and a figure into this folder."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command (of ``sys.argv`` by default) and return its exit status."""
    terminal.prepare_streams()
    interrupted = EXIT_INTERRUPTED

    def terminate(*_: object) -> NoReturn:
        nonlocal interrupted
        interrupted = EXIT_TERMINATED
        raise KeyboardInterrupt  # what is kept after Ctrl-C is kept

    earlier: Any = None
    with suppress(ValueError):  # beside the main thread: signals are not ours
        earlier = signal.signal(signal.SIGTERM, terminate)
    try:
        return _obey(sys.argv[1:] if arguments is None else list(arguments))
    except SynapseError as error:
        if isinstance(error, terminal.StreamError):
            terminal.discard_output()
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except BrokenPipeError:  # the reader of our output (head, less) has gone
        terminal.discard_output()
        return EXIT_BROKEN_PIPE
    except OSError as error:  # a path that the system will not even look for: too long, say
        if error.filename is None:
            raise
        reason = error.strerror or type(error).__name__
        fault = InputError("path", os.fsdecode(error.filename), f"one that can be read ({reason})")
        print(f"{PROGRAM}: {fault}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt as interruption:
        said = str(interruption) or "interrupted; nothing unfinished was kept"
        print(f"\n{PROGRAM}: {said}", file=sys.stderr)
        return interrupted
    finally:
        if earlier is not None:
            signal.signal(signal.SIGTERM, earlier)


def run_script(file: str) -> NoReturn:
    """Make ``python experiments/NAME.py ...`` the command ``synapse-abm run NAME ...``."""
    sys.exit(main(["run", file, *sys.argv[1:]]))


def _obey(arguments: list[str]) -> int:
    for argument in arguments:  # the parser would echo them as they are
        if escaped(argument) != argument:
            raise InputError("argument", argument, "text without control characters", "retype it")
    if arguments == ["--version"]:
        terminal.say(f"{PROGRAM} {__version__}")
        return 0
    name = _experiment_name(arguments)
    experiment = None if name is None else find(name)
    options: Any = NoOptions if experiment is None else experiment.load().Options
    try:
        with terminal.wide_enough(), terminal.printing():
            command = _parse(arguments, options)
    except SystemExit as end:  # help, or a parser's complaint
        return end.code if isinstance(end.code, int) else EXIT_BAD_INPUT
    match command:
        case List():
            return _list_drugs(command.file) if command.drugs or command.file else _list()
        case Run() if experiment is not None:
            return _run(experiment, command, arguments)
        case Run():  # a name like "-1", which the parser takes and nobody could mean
            raise UnknownName("experiment", command.name, experiments())
        case Simulate():
            return _simulate(command, arguments)
        case Rerun():
            return _rerun(command)
        case Export():
            return _export(command)
        case Validate():
            return _validate(command)
        case Bench():
            return _bench(command)
        case _:  # pragma: no cover - the parser knows no other command
            raise AssertionError(command)


def _experiment_name(arguments: list[str]) -> str | None:
    """The experiment that ``run`` is asked for, whose own options the parser has to know."""
    if arguments[:1] != ["run"]:
        return None
    rest, candidates = iter(arguments[1:]), list[str]()
    for each in rest:
        if each in ("--out", "--seed", "--workers"):
            next(rest, None)
        elif not each.startswith("-"):
            candidates.append(each)
    known = experiments()
    named = (each for each in candidates if each in known or each.endswith(".py"))
    return next(named, candidates[0] if candidates else None)


def _parse(arguments: list[str], options: Any) -> object:
    commands: Any = (
        Annotated[List, subcommand("list")]
        | Annotated[Run[options], subcommand("run")]
        | Annotated[Simulate, subcommand("simulate")]
        | Annotated[Rerun, subcommand("rerun")]
        | Annotated[Export, subcommand("export")]
        | Annotated[Validate, subcommand("validate")]
        | Annotated[Bench, subcommand("bench")]
    )
    description = "Watch serotonin, transporters and drugs meet one by one, and check the result."
    return tyro.cli(
        commands,
        prog=PROGRAM,
        description=description,
        args=arguments,
        config=(FlagCreatePairsOff,),
    )


def _list() -> int:
    questions = {name: each.summary for name, each in experiments().items()}
    ready = {name: scenario_summary(path) for name, path in scenarios().items()}
    width = max(map(len, [*questions, *ready]), default=0)
    for title, found in (
        ("experiments (synapse-abm run NAME)", questions),
        ("scenarios (synapse-abm simulate NAME)", ready),
    ):
        terminal.say(title)
        for name, summary in found.items():
            terminal.say(f"  {name:{width}}  {summary}")
    return 0


def _list_drugs(file: Path | None) -> int:
    from synapse_abm import pharmacology

    terminal.say(str(pharmacology.load_ligands(file) if file else pharmacology.library()))
    return 0


def _run(experiment: Experiment, command: Run[Any], arguments: list[str]) -> int:
    out = _folder(command.out) or Path("outputs", experiment.name)
    result = perform(
        experiment,
        out=out,
        seed=check_seed(command.seed, "--seed"),
        quick=command.quick,
        options=command.options,
        progress=bar,
        command=_repeatable(experiment, arguments),
        workers=check_workers(command.workers, "--workers"),
    )
    terminal.say(f"{result.text}\n\n{result.verdict}")
    _print_failures(result.checks)
    terminal.say(f"figure, tables and {RECORD} are in {out}{os.sep}")
    return 0 if result.passed else EXIT_CHECK_FAILED


def _simulate(command: Simulate, arguments: list[str]) -> int:
    from synapse_abm.runs import simulate
    from synapse_abm.synapse.scenario import file as scenario_file

    def read() -> tuple[Path, Any]:
        path = find_scenario(command.scenario)
        return path, scenario_file.read_scenario(path)

    seed, workers, engine, out, (path, scenario) = _together(
        lambda: None if command.seed is None else check_seed(command.seed, "--seed"),
        lambda: check_workers(command.workers, "--workers"),
        lambda: _engine(command.engine),
        lambda: _folder(command.out),
        read,
    )
    if command.json is not None:
        check_file(command.json)
    terminal.say(f"{scenario.with_run(seed=seed, engine=engine)}\n")
    out = out or Path("outputs", path.stem)
    found = simulate.write(
        scenario, out, seed=seed, engine=engine, progress=bar, workers=workers,
        command=_without_paths(
            arguments, {"--out", "--json", "--workers"}, command.scenario, path.stem
        ),
    )  # fmt: skip
    terminal.say("\n".join([found.text(), *(f"! {each}" for each in found.notes_of_averages())]))
    if command.json is not None:
        write_atomic(command.json, json_bytes(found.record(), DIGITS))
    checks = found.checks()
    _print_failures(checks)
    terminal.say(f"figure, time series and {RECORD} are in {out}{os.sep}")
    good = all(check.passed for check in checks) and not found.failures
    return 0 if good else EXIT_CHECK_FAILED


def _together(*checks: Callable[[], Any]) -> list[Any]:
    """What the checks give, or the faults of all of them."""
    found, faults = list[Any](), list[InputError]()
    for check in checks:
        try:
            found.append(check())
        except InputErrors as error:
            faults += error.faults
        except InputError as fault:
            faults.append(fault)
    raise_faults(faults)
    return found


def _folder(name: str | None) -> Path | None:
    """The folder that ``--out`` names; None if it is not given."""
    if name is not None and not name.strip():
        raise InputError("--out", name, "the name of a folder", "use . for the current folder")
    return None if name is None else Path(name)


def _engine(name: str | None) -> str | None:
    if name not in (None, "compiled", "agents"):
        raise UnknownName("--engine", name, ("compiled", "agents"))
    return name


def _rerun(command: Rerun) -> int:
    from synapse_abm.runs.rerun import rerun

    workers = check_workers(command.workers, "--workers")
    report = rerun(
        command.record, script=command.script, drugs=command.drugs, progress=bar, workers=workers
    )
    terminal.say(report.text())
    return 0 if report.passed else EXIT_CHECK_FAILED


def _export(command: Export) -> int:
    path = find_scenario(command.scenario)
    check_file(command.sbml)
    from synapse_abm.synapse.scenario import file as scenario_file
    from synapse_abm.synapse.scenario import sbml

    scenario = scenario_file.read_scenario(path)
    sbml.write_sbml(scenario, command.sbml, well_mixed=command.well_mixed)
    terminal.say(
        f"{scenario.name} as SBML Level 3 Version 2, found consistent by libSBML: {command.sbml}"
    )
    return 0


def _print_failures(checks: Sequence[Check]) -> None:
    for check in checks:
        if check.kind == "exact" and not check.passed:
            found = f"{check.name} = {check.value!r}, expected {check.expected!r}, z = {check.z}"
            terminal.say(f"FAILED: {found} ({check.source})")


def _repeatable(experiment: Experiment, arguments: list[str]) -> str:
    scripts = [each for each in arguments if each.endswith(".py")]
    return _without_paths(
        arguments, {"--out", "--workers"}, scripts[0] if scripts else "", experiment.name
    )


def _without_paths(arguments: list[str], options: set[str], file: str, name: str) -> str:
    """The command without output ``options`` and file paths, which mean nothing elsewhere."""
    kept, rest = list[str](), iter(arguments)
    for each in rest:
        if each in options:
            next(rest, None)
        elif each.partition("=")[0] not in options:
            kept.append(name if each == file else each)
    return shlex.join([PROGRAM, *kept])


def _validate(command: Validate) -> int:
    raise_faults(list(_faults_of_validate(command)))
    seed = None if command.seed is None else check_seed(command.seed, "--seed")
    if command.fresh:
        seed = secrets.randbits(64)
        print(f"seed {seed}", file=sys.stderr)
    html = command.html
    if html is not None:
        check_file(html)

    def keep(report: Any) -> None:
        if html is not None:
            write_atomic(html, report.html().encode())

    return _report(
        "validation", "validate", command.json, keep, cases=command.cases, seed=seed,
        planted=command.planted, thorough=command.thorough, announce=_announce,
    )  # fmt: skip


def _faults_of_validate(command: Validate) -> Iterator[InputError]:
    """What is wrong with its options, all of it."""
    if command.cases is not None and not command.cases.is_file():
        yield InputError("--cases", str(command.cases), "an existing file", "check the path")
    if command.fresh and command.seed is not None:
        yield InputError("--seed", command.seed, "nothing beside --fresh", "leave out one of them")
    elif command.seed is not None:
        try:
            check_seed(command.seed, "--seed")
        except InputError as fault:
            yield fault
    taken: dict[Path, str] = {}  # of two options that name one file, one would overwrite the other
    files = {"--cases": command.cases, "--json": command.json, "--html": command.html}
    for option, path in files.items():
        other = option if path is None else taken.setdefault(path.resolve(), option)
        if other != option:
            yield InputError(option, str(path), f"another file than that of {other}", "rename it")


def _announce(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _bench(command: Bench) -> int:
    out = _folder(command.out)
    if out is None:
        return _report("bench", "bench", command.json)
    with output_folder(out) as folder:
        report: list[Report] = []
        status = _report("bench", "bench", command.json, keep=report.append)
        from synapse_abm import plotting

        files = figure_files("bench", plotting.speeds(report[0]))
        files["bench.json"] = json_bytes(report[0].record(), DIGITS)
        write_folder(folder, files, "bench.json")
    terminal.say(f"figure and bench.json are in {out}{os.sep}")
    return status


def _report(
    module: str,
    function: str,
    json: Path | None,
    keep: Callable[[Report], None] | None = None,
    **arguments: Any,
) -> int:
    """Call a command's function, print its report, write it to the file ``json``, and keep it."""
    if json is not None:
        check_file(json)
    measure = getattr(import_module(f"synapse_abm.{module}"), function)
    report = measure(progress=bar, **arguments)
    terminal.say(report.text())
    if json is not None:
        write_atomic(json, json_bytes(report.record(), DIGITS))
    if keep is not None:
        keep(report)
    return EXIT_CHECK_FAILED if report.failed else 0
