"""The command line: ``synapse-abm list | run | simulate | rerun | redraw | export | validate |
bench | clean | guide``.

Exit status: 0 if no exact check failed, 1 if one did, 2 for input that cannot be used, 130 after
Ctrl-C. Whatever a user can put right is told in one sentence, never by a traceback. Only
parsing happens here; what a command needs is imported when it is chosen, so that help is quick.
"""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass, make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, cast

import tyro
from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes, Positional, arg, subcommand

from synapse_abm.core import terminal
from synapse_abm.core.arguments import DEFAULT_SEED, check_seed, check_workers, choice
from synapse_abm.core.errors import (
    EXIT_BAD_INPUT,
    InputError,
    SynapseError,
    collected,
    escaped,
    nearest_names,
    raise_faults,
    tried,
)
from synapse_abm.core.files import (
    RECORD,
    UNFINISHED,
    check_file,
    output_folder,
    write_atomic,
    write_folder,
)
from synapse_abm.core.progress import bar
from synapse_abm.core.text import DIGITS, json_bytes
from synapse_abm.core.version import __version__

if TYPE_CHECKING:
    from synapse_abm.runs.experiment import Experiment
    from synapse_abm.runs.results import Check, Report

PROGRAM = "synapse-abm"
EXIT_CHECK_FAILED = 1
# The number of the signal above 128, as shells have it.
EXIT_INTERRUPTED = 128 + 2  # SIGINT
EXIT_BROKEN_PIPE = 128 + 13  # SIGPIPE
EXIT_TERMINATED = 128 + 15  # SIGTERM

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

    def do(self, arguments: list[str]) -> int:
        """Print the list."""
        if self.drugs or self.file:
            from synapse_abm import pharmacology as known

            terminal.say(str(known.load_ligands(self.file) if self.file else known.library()))
            return 0
        from synapse_abm.runs.experiment import experiments
        from synapse_abm.scenarios import scenario_summary, scenarios

        lists = {
            "experiments (synapse-abm run NAME)": {
                name: experiment.summary for name, experiment in experiments().items()
            },
            "scenarios (synapse-abm simulate NAME)": {
                name: scenario_summary(path) for name, path in scenarios().items()
            },
        }
        width = max((len(name) for names in lists.values() for name in names), default=0)
        for title, summaries in lists.items():
            rows = [f"  {name:{width}}  {summary}" for name, summary in summaries.items()]
            terminal.say("\n".join([title, *rows]))
        return 0


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
    """Runs side by side (default: one for each core); the results do not depend on it."""

    def do(self, arguments: list[str]) -> int:
        """Run the experiment, and tell what it found."""
        from synapse_abm.runs import experiment as runs

        # A name like "-1" the parser takes, and nobody could mean: this says which there are.
        experiment = _experiment(arguments) or runs.find(self.name)
        out = _folder(self.out) or Path("outputs", experiment.name)
        scripts = [word for word in arguments if word.endswith(".py")]
        result = runs.perform(
            experiment,
            out=out,
            seed=check_seed(self.seed, "--seed"),
            quick=self.quick,
            options=self.options,
            progress=bar,
            command=_without_paths(
                arguments, {"--out", "--workers"}, scripts[0] if scripts else "", experiment.name
            ),
            workers=check_workers(self.workers, "--workers"),
        )
        terminal.say(f"{result.text}\n\n{result.verdict}")
        _print_failures(result.checks)
        terminal.say(f"figure, tables and {RECORD} are in {out}{os.sep}")
        _tell_leftovers(out)
        return 0 if result.passed else EXIT_CHECK_FAILED


@dataclass(frozen=True)
class Simulate:
    """Simulate a scenario; leave its figure, time series and record in a folder."""

    scenario: Annotated[Positional[str], arg(metavar="SCENARIO")]
    """A scenario file (TOML), or the name of a ready-made one that `list` shows."""
    engine: Annotated[str | None, arg(metavar="{compiled,agents}", help_behavior_hint="")] = None
    """The fast engine or the plain Python agents; the trajectory is the same (default: as the
    scenario says)."""
    accuracy: Annotated[str | None, arg(metavar="PERCENT", help_behavior_hint="")] = None
    """Largest relative error of rates that the step may make, such as '1 %'; or 'equilibrium',
    for averages at rest alone (default: as the scenario says, or '1 %')."""
    seed: Seed = None
    """Seed of all random numbers, 0 to 2**64-1 (default: as the scenario says)."""
    out: FolderByName = None
    """The folder to write."""
    workers: Workers = None
    """Processes for the replicates (default: one for each core); the results do not depend on
    it."""
    json: File = None
    """Write averages, error bars, exact values and the trajectory's hash to this file."""

    def do(self, arguments: list[str]) -> int:
        """Simulate the scenario, and show its averages."""
        from synapse_abm.runs import simulate
        from synapse_abm.scenarios import find_scenario
        from synapse_abm.synapse.scenario.feasibility import run_faults
        from synapse_abm.synapse.scenario.file import read_scenario
        from synapse_abm.synapse.scenario.timestep import read_accuracy

        # Each on its own, so that all that is wrong with the command is told at once.
        faults, engine, seed, accuracy = list[InputError](), cast("Any", self.engine), None, None
        if self.seed is not None:
            seed = tried(faults, check_seed, self.seed, "--seed")
        workers = tried(faults, check_workers, self.workers, "--workers")
        if engine is not None:
            tried(faults, choice, "--engine", engine, ("compiled", "agents"))
        out = tried(faults, _folder, self.out)
        if self.accuracy is not None:
            accuracy = tried(faults, read_accuracy, self.accuracy, "--accuracy")
        with collected(faults):
            path = find_scenario(self.scenario)
            scenario = read_scenario(path)
        raise_faults(faults)
        if self.json is not None:
            check_file(self.json)
        if accuracy is not None:
            scenario = scenario.model_copy(update={"accuracy": accuracy})
            raise_faults(list(run_faults(scenario)))
        out = out or Path("outputs", path.stem)
        if remark := simulate.replaced(scenario, out, self.scenario):
            terminal.announce(f"! {remark}")
        # Shown before the run: who sees a wrong number here need not wait for the end.
        terminal.say(f"{scenario.with_run(seed=seed, engine=engine)}\n")
        named = _without_paths(arguments, {"--out", "--json", "--workers"})
        simulated = simulate.write(
            scenario, out, seed=seed, engine=engine, progress=bar, workers=workers, command=named
        )
        notes = [f"! {note}" for note in simulated.notes_of_averages()]
        terminal.say("\n".join([simulated.text(), *notes]))
        if self.json is not None:
            write_atomic(self.json, json_bytes(simulated.record(), DIGITS))
        checks = simulated.checks()
        _print_failures(checks)
        terminal.say(f"figure, time series and {RECORD} are in {out}{os.sep}")
        _tell_leftovers(out)
        good = all(check.passed for check in checks) and not simulated.failures
        return 0 if good else EXIT_CHECK_FAILED


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
    """Runs side by side (default: one for each core)."""

    def do(self, arguments: list[str]) -> int:
        """Run the record again, and tell what differs."""
        from synapse_abm.runs.rerun import rerun

        workers = check_workers(self.workers, "--workers")
        report = rerun(
            self.record, script=self.script, drugs=self.drugs, progress=bar, workers=workers
        )
        terminal.say(report.text())
        return 0 if report.passed else EXIT_CHECK_FAILED


@dataclass(frozen=True)
class Redraw:
    """Draw the figures of a record again, from the results that its run kept: after a change of
    what draws, nothing is computed that was. The tables must come out as they are recorded.
    """

    record: Annotated[Positional[Path], arg(metavar="RECORD")]
    """The run.json of a run."""
    script: File = None
    """The file of an experiment of your own that was recorded; only what draws may have changed."""
    drugs: File = None
    """The file of your own drugs that its options name; it must be unchanged."""
    out: Annotated[
        str | None, arg(metavar="DIR", help_behavior_hint="(default: beside the record)")
    ] = None
    """The folder to write."""
    workers: Workers = None
    """Processes for what has to be computed (default: one for each core)."""

    def do(self, arguments: list[str]) -> int:
        """Draw, and name the files."""
        from synapse_abm.runs.rerun import redraw

        faults = list[InputError]()
        workers = tried(faults, check_workers, self.workers, "--workers")
        out = tried(faults, _folder, self.out)
        raise_faults(faults)
        names = redraw(
            self.record, out, script=self.script, drugs=self.drugs, progress=bar, workers=workers
        )
        terminal.say(f"{', '.join(names)} in {out or self.record.parent}{os.sep}")
        return 0


@dataclass(frozen=True)
class Clean:
    """Tell what interrupted runs left in folders of results, and remove it if you say so."""

    folder: Annotated[Positional[str], arg(metavar="DIR")] = "outputs"
    """Where to look, with all folders in it."""
    remove: bool = False
    """Remove the parts of unfinished runs: the same commands then start anew."""
    kept: bool = False
    """Tell of, or remove, the results too that complete runs keep for `redraw`."""

    def do(self, arguments: list[str]) -> int:
        """Print the list, and remove what is asked for."""
        from synapse_abm.runs.leftovers import leftovers

        parts = leftovers(Path(self.folder), kept=self.kept)
        lines = [str(part) for part in parts]
        if self.remove:
            for part in parts:
                part.remove()
            lines.append(f"removed: {len(parts)}")
        elif parts:
            kept = " --kept" if self.kept else ""
            where = shlex.quote(self.folder)
            lines.append(f"{PROGRAM} clean {where}{kept} --remove removes them")
        terminal.say("\n".join(lines) or f"nothing is left unfinished in {self.folder}")
        return 0


@dataclass(frozen=True)
class Export:
    """Write a scenario for other simulators, as SBML."""

    scenario: Annotated[Positional[str], arg(metavar="SCENARIO")]
    """A scenario file (TOML), or the name of a ready-made one that `list` shows."""
    sbml: Annotated[Path, arg(metavar="FILE")]
    """The file to write: SBML Level 3, checked by libSBML."""
    well_mixed: bool = False
    """Leave space out, which SBML cannot say: one compartment of the same volume."""

    def do(self, arguments: list[str]) -> int:
        """Write the file."""
        from synapse_abm.scenarios import find_scenario

        path = find_scenario(self.scenario)
        check_file(self.sbml)
        from synapse_abm.synapse.scenario import file, sbml

        scenario = file.read_scenario(path)
        sbml.write_sbml(scenario, self.sbml, well_mixed=self.well_mixed)
        what = "as SBML Level 3 Version 2, found consistent by libSBML"
        terminal.say(f"{scenario.name} {what}: {self.sbml}")
        return 0


@dataclass(frozen=True)
class Validate:
    """Hold the simulator against exact results, at a stated rate of false alarms."""

    cases: File = None
    """Cases to judge, as JSON; the ones of the program by default. Those that cannot be run are
    listed with the reason; if none can, nothing is judged, and the exit status is 0."""
    fresh: bool = False
    """Draw a new seed instead of the fixed one; it is printed."""
    seed: Seed = None
    """Seed of all random numbers, a whole number from 0 to 2**64-1. From any but 0, the one used
    otherwise, some cases of kinetics on grids are drawn too."""
    thorough: bool = False
    """Margins of 0.2 points of occupancy and 0.5 % of other numbers; how long that takes is told
    beforehand."""
    planted: bool = False
    """Compile and try all planted bugs too (15 s each, once); later runs try them anyway."""
    json: File = None
    """Write the verdicts to this file as JSON."""
    html: File = None
    """Write a report to this file: one page with a picture of every case."""

    def do(self, arguments: list[str]) -> int:
        """Judge the cases, and print the verdicts."""
        raise_faults(self._faults())
        seed = None if self.seed is None else check_seed(self.seed, "--seed")
        if self.fresh:
            # Printed at once: a failure with it can be repeated only by who knows it.
            seed = secrets.randbits(64)
            terminal.announce(f"seed {seed}")
        for path in (self.html, self.json):
            if path is not None:
                check_file(path)
        from synapse_abm import validation

        report: Any = validation.validate(
            progress=bar, cases=self.cases, seed=seed, planted=self.planted,
            thorough=self.thorough, announce=terminal.announce,
        )  # fmt: skip
        status = _tell(report, self.json)
        if self.html is not None:
            write_atomic(self.html, report.html().encode())
        return status

    def _faults(self) -> list[InputError]:
        """What is wrong with its options, all of it."""
        faults = list[InputError]()
        if self.cases is not None and not self.cases.is_file():
            allowed, fix = "an existing file", "check the path"
            faults.append(InputError("--cases", str(self.cases), allowed, fix))
        with collected(faults):
            if self.fresh and self.seed is not None:
                allowed = "nothing beside --fresh"
                raise InputError("--seed", self.seed, allowed, "leave out one of them")
            if self.seed is not None:
                check_seed(self.seed, "--seed")
        taken: dict[Path, str] = {}  # of two options that name one file, one would overwrite it
        for option, path in {
            "--cases": self.cases,
            "--json": self.json,
            "--html": self.html,
        }.items():
            other = option if path is None else taken.setdefault(path.resolve(), option)
            if other != option:
                allowed = f"another file than that of {other}"
                faults.append(InputError(option, str(path), allowed, "rename it"))
        return faults


@dataclass(frozen=True)
class Bench:
    """Measure speed, side by side with other simulators that are installed."""

    json: File = None
    """Write the measurements to this file as JSON."""
    out: Folder = None
    """Write bench.json and a figure into this folder."""

    def do(self, arguments: list[str]) -> int:
        """Measure, print the table, and draw it."""
        if self.out is None:
            return self._measured()[1]
        with output_folder(_folder(self.out) or ".") as folder:
            report, status = self._measured()
            from synapse_abm.plotting import saved, speeds

            data = json_bytes(report.record(), DIGITS)
            write_folder(
                folder, {**saved("bench", speeds(report)), "bench.json": data}, "bench.json"
            )
        terminal.say(f"figure and bench.json are in {self.out}{os.sep}")
        return status

    def _measured(self) -> tuple[Report, int]:
        if self.json is not None:
            check_file(self.json)
        from synapse_abm import bench

        report = bench.bench(progress=bar)
        return report, _tell(report, self.json)


@dataclass(frozen=True)
class Guide:
    """Read the guide: short pages on scenarios, drugs, protocols, experiments, limits."""

    topic: Annotated[Positional[str | None], arg(metavar="TOPIC", help_behavior_hint="")] = None
    """The page to show (default: the list of them)."""

    def do(self, arguments: list[str]) -> int:
        """Print a page, or the list of topics."""
        from synapse_abm import guide

        if self.topic is None:
            terminal.say(f"{guide.contents()}\n\n{PROGRAM} guide TOPIC shows one of them.")
            return 0
        terminal.say(guide.as_text(guide.page(self.topic), shutil.get_terminal_size().columns))
        return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command (of ``sys.argv`` by default) and return its exit status."""
    terminal.prepare_streams()
    statuses = {signal.SIGINT: EXIT_INTERRUPTED, signal.SIGTERM: EXIT_TERMINATED}
    came: list[signal.Signals] = []

    def end(number: int, _: object) -> NoReturn:
        # SIGTERM is what batch systems send before they kill: what is finished should be kept then
        # too, as after Ctrl-C.
        came.append(signal.Signals(number))
        raise KeyboardInterrupt

    earlier: dict[int, Any] = {}
    with suppress(ValueError):  # beside the main thread: signals are not ours
        earlier[signal.SIGTERM] = signal.signal(signal.SIGTERM, end)
        # A job in the background ignores Ctrl-C, and so do we in it.
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            earlier[signal.SIGINT] = signal.signal(signal.SIGINT, end)
    try:
        try:
            return _obey(sys.argv[1:] if arguments is None else list(arguments))
        except (SynapseError, OSError):
            raise
        except Exception as error:
            # Who catches the interrupt and raises an error of its own, as pydantic does while it
            # builds a class, has been interrupted all the same.
            if came:
                raise KeyboardInterrupt from error
            raise
    except SynapseError as error:
        if isinstance(error, terminal.StreamError):
            terminal.discard_output()
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except BrokenPipeError:  # the reader of our output (head, less) has gone
        terminal.discard_output()
        return EXIT_BROKEN_PIPE
    except OSError as error:  # a path that the system will not even look for: too long, say
        # An error without a file is none of the user's doing: it should be seen as it is.
        if error.filename is None:
            raise
        reason = error.strerror or type(error).__name__
        fault = InputError("path", os.fsdecode(error.filename), f"one that can be read ({reason})")
        print(f"{PROGRAM}: {fault}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt as interruption:
        said = str(interruption) or "interrupted; nothing unfinished was kept"
        print(f"\n{PROGRAM}: {said}", file=sys.stderr)
        return statuses[came[-1]] if came else EXIT_INTERRUPTED
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def run_script(file: str) -> NoReturn:
    """Make ``python experiments/NAME.py ...`` the command ``synapse-abm run NAME ...``."""
    sys.exit(main(["run", file, *sys.argv[1:]]))


def _obey(arguments: list[str]) -> int:
    for argument in arguments:  # the parser would echo them as they are
        if escaped(argument) != argument:
            raise InputError("argument", argument, "text without control characters", "retype it")
    # Before the parser, which would ask for a command.
    if arguments == ["--version"]:
        terminal.say(f"{PROGRAM} {__version__}")
        return 0
    experiment = _experiment(arguments)
    # Each experiment has options of its own, which the parser cannot know before it is loaded.
    options: Any = experiment.load().Options if experiment else make_dataclass("Options", ())
    about = None
    if experiment is not None:
        raise_faults(list(_unknown_options(arguments, experiment.name, options)))
        about = f"{experiment.name}: {experiment.summary}\n\n{experiment.question}".strip()
        # After the name, the parser's help would leave the name out.
        if not {"-h", "--help"}.isdisjoint(arguments):
            arguments = ["run", "--help", *arguments[1:]]
    commands: Any = (
        Annotated[List, subcommand("list")]
        | Annotated[Run[options], subcommand("run", description=about)]
        | Annotated[Simulate, subcommand("simulate")]
        | Annotated[Rerun, subcommand("rerun")]
        | Annotated[Redraw, subcommand("redraw")]
        | Annotated[Export, subcommand("export")]
        | Annotated[Validate, subcommand("validate")]
        | Annotated[Bench, subcommand("bench")]
        | Annotated[Clean, subcommand("clean")]
        | Annotated[Guide, subcommand("guide")]
    )
    what = "Watch serotonin, transporters and drugs meet one by one, and check the result."
    try:
        with terminal.wide_enough(), terminal.printing():
            command = tyro.cli(
                commands, prog=PROGRAM, description=what, args=arguments,
                config=(FlagCreatePairsOff,),
            )  # fmt: skip
    except SystemExit as end:  # help, or a parser's complaint
        # Some parsers give words instead of a number to exit with.
        return end.code if isinstance(end.code, int) else EXIT_BAD_INPUT
    status: int = command.do(arguments)
    return status


def _experiment(arguments: list[str]) -> Experiment | None:
    """The experiment that ``run`` is asked for, whose own options the parser has to know."""
    if arguments[:1] != ["run"]:
        return None
    from synapse_abm.runs.experiment import experiments, find

    rest, words = iter(arguments[1:]), list[str]()
    for word in rest:
        if word in ("--out", "--seed", "--workers"):
            next(rest, None)
        elif not word.startswith("-"):
            words.append(word)
    # The value of an option of the experiment's own may stand before its name.
    known = experiments()
    named = (word for word in words if word in known or word.endswith(".py"))
    name = next(named, words[0] if words else None)
    return None if name is None else find(name)


def _unknown_options(arguments: list[str], name: str, options: Any) -> Iterator[InputError]:
    """Options that neither ``run`` nor the experiment has: the parser would offer those of other
    commands.
    """
    # Only plain fields are sure to be called as options are; the rest is left to the parser.
    if not is_dataclass(options) or any("Annotated" in str(x.type) for x in fields(options)):
        return
    own = [f"--{x.name.replace('_', '-')}" for x in fields(options)]
    common = ["--out", "--seed", "--quick", "--workers"]
    for word in arguments:
        option = word.partition("=")[0].replace("_", "-")
        # --no-x switches off what is on by default; a dot is within an option of several parts.
        known = {*own, *common, "--help", "--", *(f"--no-{x[2:]}" for x in own)}
        if not option.startswith("--") or option in known or "." in option:
            continue
        # Without the dashes, which make any two options alike.
        nearest = [f"--{x}" for x in nearest_names(option[2:], [x[2:] for x in [*own, *common]])]
        theirs = f"one of its own, {', '.join(own)}, or" if own else "none of its own, but"
        fix = f"did you mean {' or '.join(nearest)}?" if nearest else ""
        yield InputError(f"option of {name}", option, f"{theirs} {', '.join(common)}", fix)


def _folder(name: str | None) -> Path | None:
    """The folder that ``--out`` names; None if it is not given."""
    if name is not None and not name.strip():
        raise InputError("--out", name, "the name of a folder", "use . for the current folder")
    return None if name is None else Path(name)


def _print_failures(checks: Sequence[Check]) -> None:
    for check in checks:
        if check.kind == "exact" and not check.passed:
            what = f"{check.name} = {check.value!r}, expected {check.expected!r}, z = {check.z}"
            terminal.say(f"FAILED: {what} ({check.source})")


def _tell_leftovers(out: Path) -> None:
    """Parts that interrupted runs left in a folder, with other options or another version."""
    if not (out / UNFINISHED).is_dir():
        return
    from synapse_abm.runs.leftovers import leftovers

    where = shlex.quote(str(out))
    for part in leftovers(out):
        terminal.announce(f"! {part}; `{PROGRAM} clean {where} --remove` removes it")


def _without_paths(arguments: list[str], options: set[str], file: str = "", name: str = "") -> str:
    """The command without output ``options``, which mean nothing elsewhere; with ``name`` instead
    of the path ``file``.
    """
    words, rest = list[str](), iter(arguments)
    for word in rest:
        if word in options:
            next(rest, None)
        elif word.partition("=")[0] not in options:
            words.append(name if file and word == file else word)
    return shlex.join([PROGRAM, *words])


def _tell(report: Report, json: Path | None) -> int:
    """Print a report, write it to the file ``json``, and give the exit status it asks for."""
    terminal.say(report.text())
    if json is not None:
        write_atomic(json, json_bytes(report.record(), DIGITS))
    return EXIT_CHECK_FAILED if report.failed else 0
