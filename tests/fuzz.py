"""Random input of every kind that reaches the program: it is read, or refused in words.

    python tests/fuzz.py                         # 100,000 inputs of all kinds
    python tests/fuzz.py --inputs 2000 --kind scenario --seed 7
    python tests/fuzz.py --only scenario:7:1234  # one input again, with its traceback

An input fails if anything but a message of the program comes of it (a traceback, a message that
does not name the argument), if it takes over ``LIMIT_S`` or needs over ``LIMIT_BYTES`` of memory,
or if a message holds control characters. Every input follows from kind, seed and number alone.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import functools
import hashlib
import inspect
import io
import json
import math
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from synapse_abm import pharmacology, statistics, theory
from synapse_abm.core.errors import SynapseError

ROOT = Path(__file__).resolve().parents[1]
LIMIT_S = 10.0  # of a processor for one input; most take milliseconds
LIMIT_BYTES = 2 * 1024**3  # beyond what the program holds before the first input

#: What people and programs put where something else is wanted.
ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 7, 10**9, 2**63, 2**64, 10**400, -(10**30), 0.0, -0.0, 0.5,
    1.0, -3.5,
    5e-324, 1e-300, 1e300, 1.7e308, math.nan, math.inf, -math.inf, "", " ", "x", "1", "1 nM", "nan",
    "5 furlongs", "1e999 nM", "SERT", "citalopram", "../../etc", "a/b", "\x1b[31mred\x1b[0m",
    "\x00", "\u202e",
    "<script>", "é" * 300, "9" * 5000, b"bytes", (), [], {}, [1, 2, 3], (1.0, math.nan), {"a": 1},
    {"SERT": -1}, Decimal("NaN"), Decimal("1.5"), 3 + 4j, object(), range(3), np.array([1.0, 2.0]),
    np.array([]), np.array(["a"]), np.float64("nan"), np.int64(3), np.zeros((2, 2)), lambda t: t,
)  # fmt: skip


class TooLong(BaseException):
    """An input took longer than ``LIMIT_S``; no handler of the program's catches it."""


class Reached(SynapseError):
    """The input was accepted: what would be computed next is not what is tried here."""


def stop(*_: Any, **__: Any) -> Any:
    """In the place of what computes."""
    raise Reached("accepted")


# --- texts ----------------------------------------------------------------------------------------

_TOKENS = (
    "nan", "-1", "1e400", "inf", "true", '""', "[]", "{}", "[[1]]", "07:32:00", '"SERT"', "0",
    "'1 nM'",
    '"-5 nM"', '"1e308 s"', '"\\u001b[31m"', '"../x.toml:y"', "1979-05-27", "0x10", "1_000",
    '"auto"',
    "9" * 400, "[" * 60, "]", "{", "}", '"', "'", "=", "#", "\n", "\x00", "\u00b5", "a.b.c.d",
    "[x]", "[[x]]",
)  # fmt: skip


def torn(text: str, chance: random.Random) -> str:
    """``text`` with one to five places removed, exchanged, repeated or filled with odd tokens."""
    for _ in range(chance.randint(1, 5)):
        lines = text.splitlines() or [""]
        at, other = chance.randrange(len(lines)), chance.randrange(len(lines))
        match chance.randrange(7):
            case 0:
                del lines[at]
            case 1:
                lines[at], lines[other] = lines[other], lines[at]
            case 2:
                lines.insert(at, lines[other])
            case 3:
                key, pair, _ = lines[at].partition("=")
                lines[at] = f"{key}= {chance.choice(_TOKENS)}" if pair else chance.choice(_TOKENS)
            case 4:
                cut = chance.randrange(len(lines[at]) + 1)
                lines[at] = lines[at][:cut] + chance.choice(_TOKENS) + lines[at][cut:]
            case 5:
                cut = chance.randrange(len(lines[at]) + 1)
                lines[at] = lines[at][:cut]
            case _:
                lines[at] = lines[at] * chance.choice((2, 50))
        text = "\n".join(lines)
    return text


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The place of everything inside nested dictionaries and lists."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in pairs:
        yield (*path, key)
        if isinstance(inner, dict | list):
            yield from places(inner, (*path, key))


def changed(value: Any, chance: random.Random) -> Any:
    """A copy of what JSON held, with one to four places replaced, removed, renamed or added to."""
    value = copy.deepcopy(value)
    odd = [x for x in ODD if isinstance(x, bool | int | float | str | list | dict | None)]
    for _ in range(chance.randint(1, 4)):
        known = list(places(value))
        if not known:
            return value
        *above, last = chance.choice(known)
        here = functools.reduce(lambda inner, key: inner[key], above, value)
        match chance.randrange(4):
            case 0:
                del here[last]
            case 1 if isinstance(here, dict):
                here[chance.choice(("x", "drug", "seed", "\x1b[2J", "name"))] = here.pop(last)
            case 2 if isinstance(here, dict):
                here[chance.choice(("x", "drug", "../y", "schema"))] = chance.choice(odd)
            case _:
                here[last] = copy.deepcopy(chance.choice(odd))
    return value


# --- kinds ----------------------------------------------------------------------------------------


@functools.cache
def _scenario_texts() -> tuple[str, ...]:
    folder = ROOT / "synapse_abm" / "scenarios"
    return tuple(path.read_text("utf-8") for path in sorted(folder.glob("*.toml")))


def scenario(chance: random.Random, folder: Path) -> None:
    """A scenario file, read and described."""
    file = folder / "odd.toml"
    file.write_text(torn(chance.choice(_scenario_texts()), chance), "utf-8", "surrogatepass")
    said = _command(["simulate", str(file)])
    _printable(said)


def drugs(chance: random.Random, folder: Path) -> None:
    """A file of drugs, read and shown."""
    file = folder / "drugs.toml"
    text = (ROOT / "synapse_abm" / "pharmacology" / "data" / "ligands.toml").read_text("utf-8")
    start = chance.choice([at for at in range(len(text)) if text.startswith("\n[ligand.", at)])
    part = '[source.Mine]\ncitation = "Mine 2026"\n' + text[start : start + 900]
    file.write_text(torn(part, chance), "utf-8")
    _printable(_command(["list", "--file", str(file)]))


@functools.cache
def _records() -> tuple[dict[str, Any], ...]:
    """Records of a scenario and of an experiment, made before computing is left out."""
    from synapse_abm.runs import simulate
    from synapse_abm.runs.experiment import find, perform
    from synapse_abm.synapse.scenario.file import read_scenario

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        scenario_file = ROOT / "synapse_abm" / "scenarios" / "depletion.toml"
        simulate.write(read_scenario(scenario_file), out / "scenario")
        perform(find("hyperbola"), out=out / "experiment", quick=True)
        files = (out / "scenario" / "run.json", out / "experiment" / "run.json")
        return tuple(json.loads(file.read_bytes()) for file in files)


def record(chance: random.Random, folder: Path) -> None:
    """A record, torn as text or changed inside and signed anew."""
    from synapse_abm.runs import results

    file = folder / "run.json"
    kept = chance.choice(_records())
    if chance.random() < 0.3:
        file.write_text(torn(json.dumps(kept, indent=1), chance), "utf-8")
    else:
        other = changed(kept, chance)
        file.write_text(json.dumps(results.signed(other)), "utf-8")
    _printable(_command(["rerun", str(file)]))


@functools.cache
def _cases() -> dict[str, Any]:
    kept: dict[str, Any] = json.loads((ROOT / "tests" / "data" / "cases.json").read_text("utf-8"))
    return kept


def case(chance: random.Random, folder: Path) -> None:
    """A file of exact cases, read; planning is not tried here."""
    file = folder / "cases.json"
    some = _cases() | {"cases": [chance.choice(_cases()["cases"])]}
    if chance.random() < 0.3:
        file.write_text(torn(json.dumps(some, indent=1), chance), "utf-8")
    else:
        file.write_text(json.dumps(changed(some, chance)), "utf-8")
    from synapse_abm.validation.cases import read_cases

    with _refusals():
        read_cases(file)


@functools.cache
def _checkpoints() -> tuple[bytes, ...]:
    from synapse_abm import Scenario, Simulation
    from synapse_abm.synapse.engine import checkpoint
    from synapse_abm.synapse.scenario.file import read_scenario

    made = []
    for name in ("binding", "competition"):
        source: Scenario = read_scenario(ROOT / "synapse_abm/scenarios" / f"{name}.toml")
        made.append(checkpoint.to_bytes(Simulation(source, 1)))
    return tuple(made)


def state(chance: random.Random, folder: Path) -> None:
    """A checkpoint with bytes or its header changed, under a checksum that fits."""
    from synapse_abm.synapse.engine import checkpoint

    body = bytearray(chance.choice(_checkpoints())[:-32])
    start = body.index(b"\n") + 9
    size = int.from_bytes(body[start - 8 : start], "little")
    if chance.random() < 0.5:
        header = json.loads(body[start : start + size])
        text = json.dumps(changed(header, chance), separators=(",", ":")).encode()
        body[start - 8 : start + size] = len(text).to_bytes(8, "little") + text
    else:
        for _ in range(chance.randint(1, 4)):
            body[chance.randrange(len(body))] = chance.randrange(256)
        if chance.random() < 0.3:
            del body[chance.randrange(len(body)) :]
    file = folder / "state"
    file.write_bytes(bytes(body) + hashlib.sha256(body).digest())
    with _refusals():
        checkpoint.load(file)


_WORDS = (
    "list", "run", "simulate", "rerun", "export", "validate", "bench", "hyperbola", "lag",
    "binding",
    "competition", "nothing", "x.toml", "x.py", "", "-", "--", "--help", "--version", "--seed",
    "--out", "--workers",
    "--quick", "--engine", "--json", "--sbml", "--cases", "--fresh", "--file", "--drugs", "--html",
    "--drug", "agents", "0", "-1", "1e9", "nan", "٣", "\x1b[31m", "../..", "/dev/null",
    "/proc/self/mem",
    "--thorough", "--planted", "a" * 5000, "--seed=1", "--out=", "-h", "run.json", "citalopram",
)  # fmt: skip


def options(chance: random.Random, folder: Path) -> None:
    """A command line of one to seven words."""
    words = [chance.choice(_WORDS) for _ in range(chance.randint(1, 7))]
    if chance.random() < 0.7:
        words[0] = chance.choice(_WORDS[:7])
    with contextlib.chdir(folder):
        _printable(_command(words))


def call(chance: random.Random, folder: Path) -> None:
    """A public function or class called with odd arguments."""
    function, good = chance.choice(_calls())
    names = _parameters(function)
    arguments = dict(good)
    for name in chance.sample(names, min(len(names), chance.randint(1, 3))):
        arguments[name] = chance.choice(ODD)
    with _refusals(names), contextlib.chdir(folder):
        function(**arguments)


def _parameters(function: Callable[..., Any]) -> list[str]:
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    listed = inspect.signature(function).parameters.values()
    return [x.name for x in listed if x.kind in kinds and not x.name.startswith("_")]


@functools.cache
def _calls() -> tuple[tuple[Callable[..., Any], dict[str, Any]], ...]:
    """Functions with arguments that are sound, so that one odd one is met at a time."""
    from synapse_abm import Scenario, Simulation, SynapseModel, Treatment, constant, ramp, stopped
    from synapse_abm.synapse import scenario as describe
    from synapse_abm.synapse.scenario.file import read_scenario

    binding = read_scenario(ROOT / "synapse_abm" / "scenarios" / "binding.toml")
    small = binding.model_copy(update={"run": None})
    site = describe.Kinetics(kon_per_nM_s=0.01, koff_per_s=0.01)

    def run(**arguments: Any) -> None:
        SynapseModel(small, rng=1).run(**arguments)

    run.__signature__ = inspect.signature(  # type: ignore[attr-defined]
        lambda n, every=0, collector=None: None
    )

    def change(**arguments: Any) -> None:
        SynapseModel(small, rng=1).change(**arguments)

    change.__signature__ = inspect.signature(  # type: ignore[attr-defined]
        lambda changes, add=None: None
    )
    named: list[tuple[Callable[..., Any], dict[str, Any]]] = [
        (run, {"n": 2}),
        (change, {"changes": {"ligand.citalopram.clamped": "3 nM"}}),
        (describe.At, {"time_s": 1.0, "change": {"ligand.citalopram.clamped": "3 nM"}}),
        (describe.Start, {"bound": {"SERT": {"citalopram": 0.5}}}),
        (Simulation, {"scenario": small}),
        (SynapseModel, {"scenario": small, "rng": 1}),
        (Scenario, {name: getattr(small, name) for name in ("name", "grid", "targets", "ligands")}),
        (describe.Grid, {"width": 2, "height": 2}),
        (describe.Kinetics, {"kon_per_nM_s": 0.01, "koff_per_s": 0.01}),
        (describe.Target, {"sites": 3}),
        (describe.Ligand, {"clamped_nM": 1.0, "binding": {"SERT": site}}),
        (describe.Reservoir, {"concentration_nM": 1.0, "exchange_per_s": 1.0}),
        (describe.Batch, {"size": 2, "cell": (0, 0), "times_s": (0.1,)}),
        (describe.RunSettings, {"duration_s": 1.0, "sample_every_s": 0.1}),
        (pharmacology.ligand, {"name": "citalopram"}),
        (pharmacology.load_ligands, {"path": "none.toml"}),
        (describe.to_scenario_ligand, {"drug": "citalopram", "targets": ["SERT"]}),
        (constant, {"nM": 1.0}),
        (stopped, {"nM": 1.0, "day": 1.0}),
        (ramp, {"nM": 1.0, "days": 1.0}),
    ]
    from synapse_abm.neuron import scenario as neuron_scenario

    named.append((Treatment, {
        next(iter(_parameters(Treatment))): neuron_scenario.neuron(),
        "concentration_nM": constant(1.0),
    }))  # fmt: skip
    for module in (statistics, theory):
        for name, function in sorted(vars(module).items()):
            own = getattr(function, "__module__", "").startswith(module.__name__)
            if own and inspect.isfunction(function) and not name.startswith("_"):
                named.append((function, _usual(function)))
    return tuple(named)


def _usual(function: Callable[..., Any]) -> dict[str, Any]:
    """A number for each argument that must be given: sound for most."""
    parameters = inspect.signature(function).parameters.values()
    return {x.name: 1.5 for x in parameters if x.default is x.empty and x.kind is not x.VAR_KEYWORD}


KINDS: dict[str, Callable[[random.Random, Path], None]] = {
    "scenario": scenario, "drugs": drugs, "record": record, "case": case, "state": state,
    "options": options, "call": call,
}  # fmt: skip


# --- what may come of an input --------------------------------------------------------------------


@contextlib.contextmanager
def _refusals(names: list[str] | None = None) -> Iterator[None]:
    """Messages of the program pass, and a ``ValueError`` or ``TypeError`` naming an argument."""
    try:
        yield
    except SynapseError as error:
        _printable(str(error))
    except (ValueError, TypeError) as error:
        if names is None or not any(name in str(error) for name in [*names, "argument"]):
            raise
        _printable(str(error))


def _printable(text: str) -> None:
    odd = {c for c in text if not (c.isprintable() or c in "\n\t")}
    if odd:
        raise AssertionError(f"control characters {sorted(map(ascii, odd))} in {text[:300]!r}")
    if len(text) > 200_000:
        raise AssertionError(f"a message of {len(text)} characters")


def _command(words: list[str]) -> str:
    """What the command says; what it would compute is left out."""
    from synapse_abm import cli

    said, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(errors):
        status = cli.main(words)
    if status not in (0, 1, 2):
        raise AssertionError(f"exit status {status} of {words}")
    if status == 2 and not errors.getvalue() + said.getvalue():
        raise AssertionError(f"refused without a word: {words}")
    return said.getvalue() + errors.getvalue()


def leave_out_what_computes() -> None:
    """Put :func:`stop` where the program would begin to compute."""
    from synapse_abm import bench, validation
    from synapse_abm.runs import experiment, simulate

    def load(self: Any, real: Callable[..., Any] = experiment.Experiment.load) -> Any:
        module = real(self)
        module.run = stop
        return module

    experiment.Experiment.load = load  # type: ignore[method-assign,assignment]

    for module, name in (
        (experiment, "perform"), (simulate, "write"), (simulate, "simulate"),
        (validation, "validate"), (bench, "bench"),
    ):  # fmt: skip
        if not hasattr(module, name):
            raise AttributeError(f"{module.__name__}.{name} is gone: leave out what computes now")
        setattr(module, name, stop)


# --- many inputs ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Failed:
    """An input that something else came of, and what."""

    kind: str
    seed: int
    number: int
    what: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.seed}:{self.number}  {self.what}"


def one(kind: str, seed: int, number: int, folder: Path) -> None:
    """A single input; raises what it should not."""
    KINDS[kind](random.Random(f"{kind}:{seed}:{number}"), folder)


def batch(kind: str, seed: int, numbers: range) -> tuple[list[Failed], int]:
    """Those of many inputs that fail, and the most memory held so far, in bytes."""
    failures = []
    with tempfile.TemporaryDirectory() as name:
        for number in numbers:
            folder = Path(name, str(number))
            folder.mkdir()
            what = _tried(kind, seed, number, folder)
            if what is not None:
                failures.append(Failed(kind, seed, number, what))
    return failures, _memory()


def _tried(kind: str, seed: int, number: int, folder: Path) -> str | None:
    # Time of the processor: on a busy machine an input waits for its turn.
    begun, before = time.process_time(), _memory()
    signal.setitimer(signal.ITIMER_PROF, LIMIT_S)
    try:
        one(kind, seed, number, folder)
    except TooLong:
        return f"took over {LIMIT_S:g} s"
    except BaseException as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__}: {str(error)[:300]} ({where.filename}:{where.lineno})"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    more = _memory() - before
    if more > LIMIT_BYTES:
        return f"needed {more / 1e9:.1f} GB"
    return None if time.process_time() - begun < LIMIT_S else f"took over {LIMIT_S:g} s"


def _memory() -> int:
    """The most this process has held so far, in bytes."""
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


def prepare() -> None:
    """Once in a process that tries inputs."""
    import warnings

    warnings.simplefilter("ignore")
    _records()
    leave_out_what_computes()

    def late(*_: Any) -> None:
        raise TooLong

    signal.signal(signal.SIGPROF, late)


def fuzz(
    inputs: int, seed: int, kinds: list[str], workers: int, tell: Callable[[str], None]
) -> list[Failed]:
    """So many inputs of ``kinds`` in turn, on worker processes; tells what fails as it comes."""
    each, size = -(-inputs // len(kinds)), 250
    context = multiprocessing.get_context("spawn")
    failures, done, most = list[Failed](), 0, 0
    with ProcessPoolExecutor(workers, mp_context=context, initializer=prepare) as pool:
        jobs = {
            pool.submit(batch, kind, seed, range(at, min(at + size, each))): min(size, each - at)
            for at in range(0, each, size)
            for kind in kinds
        }
        for number, (job, tried) in enumerate(jobs.items(), 1):
            failed, held = job.result(timeout=10 * size * LIMIT_S)
            failures, done, most = failures + failed, done + tried, max(most, held)
            for failure in failed:
                tell(str(failure))
            if number % 20 == 0 or number == len(jobs):
                tell(f"{done} inputs, {len(failures)} failed, at most {most / 1e6:.0f} MB held")
    return failures


def main() -> int:
    """The command; its exit status is 1 if an input failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kind", action="append", choices=KINDS)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", metavar="KIND:SEED:NUMBER")
    chosen = parser.parse_args()
    if chosen.only:
        kind, seed, number = chosen.only.split(":")
        prepare()
        with tempfile.TemporaryDirectory() as folder:
            one(kind, int(seed), int(number), Path(folder))
        return 0
    begun = time.perf_counter()
    say = functools.partial(print, flush=True)
    failures = fuzz(chosen.inputs, chosen.seed, chosen.kind or list(KINDS), chosen.workers, say)
    took = time.perf_counter() - begun
    print(f"{chosen.inputs} inputs in {took:.0f} s, {len(failures)} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
