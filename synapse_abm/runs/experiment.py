"""Experiments: scripts that answer one question each, found by name and run into a folder.

An experiment is one file, ``experiments/NAME.py``; in an installed wheel the same files lie in
``synapse_abm/_experiments``. It holds

``__doc__``
    question, method, expected answer, run time and source; its first line is what ``list`` shows.
``Options`` (may be left out)
    a frozen dataclass of its own command-line options: plain fields with defaults, each followed by
    a docstring with its unit. It only declares; ``run`` checks, so that Python users are told too.
``run(seed, quick, progress, **options) -> Result``
    computes and writes nothing. ``quick`` is the same question at a small size. Loops over what
    takes time go through ``progress``, series of independent pieces through
    :func:`synapse_abm.runs.sweep.map_tasks`, which uses all cores. Bad options raise
    :class:`~synapse_abm.core.errors.InputError`.
``figure(result) -> matplotlib.figure.Figure``
    draws and computes nothing; without pyplot, so that no window system is asked for. Several
    figures: a mapping from what their names add to the experiment's ("" for the first) to figures.

and ends with three lines that make ``python experiments/NAME.py`` the same command::

    if __name__ == "__main__":
        from synapse_abm.cli import run_script
        run_script(__file__)

``run`` and ``figure`` must not depend on being imported under a particular module name.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
import itertools
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, cast

from synapse_abm.core.arguments import DEFAULT_SEED, check_seed
from synapse_abm.core.errors import InputError, UnknownName
from synapse_abm.core.files import output_folder, sha256
from synapse_abm.core.progress import Progress, silent
from synapse_abm.runs import sweep
from synapse_abm.runs.computing import program_sha256, script_sha256
from synapse_abm.runs.results import Result, import_ahead, source_sha256, versions, write_run


class ExperimentModule(Protocol):
    """What an experiment's file must hold; see the top of this module."""

    Options: type[Any]

    def run(self, *, seed: int, quick: bool, progress: Progress, **options: Any) -> Result:
        """Answer the question."""

    def figure(self, result: Result) -> Any:
        """Draw the answer."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """An experiment's name and file; reading its summary does not run it."""

    name: str
    path: Path

    @property
    def summary(self) -> str:
        """The first line of its docstring."""
        return self._docstring.splitlines()[0]

    @property
    def question(self) -> str:
        """The paragraph of its docstring under "Question", in one line; "" if there is none."""
        _, _, rest = self._docstring.partition("\nQuestion\n")
        lines = itertools.takewhile(lambda line: line.startswith(" "), rest.splitlines())
        return " ".join(line.strip() for line in lines)

    @property
    def _docstring(self) -> str:
        # Parsed, not imported: `list` would load every experiment's libraries for one line of each.
        return ast.get_docstring(ast.parse(self.path.read_bytes())) or "(no description)"

    @property
    def shipped(self) -> bool:
        """Whether it is one of the program's own, not a script of the user's."""
        return self.path.parent == experiments_folder()

    def load(self) -> ExperimentModule:
        """Import the file under a private name.

        Raises
        ------
        InputError
            If it lacks ``run`` or ``figure``.
        """
        name = f"_synapse_abm_experiment_{self.name}"
        spec = importlib.util.spec_from_file_location(name, self.path)
        assert spec is not None and spec.loader is not None  # .py files always have a loader
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses and pickle look their module up by name
        try:
            spec.loader.exec_module(module)
            _require(self, module)
        except BaseException:
            del sys.modules[name]
            raise
        # Filled in, so that everybody else may take for granted that it is there.
        if not hasattr(module, "Options"):
            module.Options = dataclasses.make_dataclass("Options", ())  # type: ignore[attr-defined]
        return cast("ExperimentModule", module)


def _require(experiment: Experiment, module: ModuleType) -> None:
    lacking = [name for name in ("run", "figure") if not callable(getattr(module, name, None))]
    if lacking:
        allowed = "a file that defines run(seed, quick, progress, **options) and figure(result)"
        fix = f"add {' and '.join(f'{name}()' for name in lacking)}"
        raise InputError("experiment", str(experiment.path), allowed, fix)


def experiments_folder() -> Path:
    """Where the experiments lie: inside an installed wheel, or beside the package in a checkout."""
    # resolve: the package may be reached through a link, beside which no experiments lie.
    package = Path(__file__).resolve().parents[1]
    installed = package / "_experiments"
    return installed if installed.is_dir() else package.parent / "experiments"


def experiments(folder: Path | None = None) -> dict[str, Experiment]:
    """All experiments of ``folder`` (the program's own by default) by name, in order."""
    # Names that begin with a dot or an underscore are editors' and authors' own.
    files = sorted((folder or experiments_folder()).glob("*.py"))
    return {path.stem: Experiment(path.stem, path) for path in files if path.stem[0] not in "._"}


def find(name: str) -> Experiment:
    """The experiment called ``name``, or the one in the file ``name`` if that ends in ``.py``.

    Raises
    ------
    UnknownName
        If there is none; offers the nearest names.
    InputError
        If the file does not exist.
    """
    # A name with that ending is a file: no experiment of the program's own is called so.
    if name.endswith(".py"):
        if not Path(name).is_file():
            raise InputError("experiment", name, "an existing file, or a name", "check the path")
        return Experiment(Path(name).stem, Path(name).resolve())
    known = experiments()
    if name not in known:
        raise UnknownName("experiment", name, known)
    return known[name]


def perform(
    experiment: Experiment, *, out: Path, seed: int = DEFAULT_SEED, quick: bool = False,
    options: object | None = None, progress: Progress = silent, command: str = "",
    workers: int | None = 1,
) -> Result:  # fmt: skip
    """Run ``experiment`` and leave figure, tables and record in the folder ``out``.

    ``options`` is an instance of the experiment's ``Options`` (its defaults if None); ``command``
    is kept in the record. Series that go through ``sweep.map_tasks`` run on ``workers`` (None:
    all cores). No result is written unless everything succeeds; tasks that were finished are kept
    in ``out``, hidden, until then.

    Raises
    ------
    InputError
        If the seed or an option is refused.
    OutputError
        If ``out`` cannot be written; noticed before the computation starts.
    """
    seed = check_seed(seed)
    module = experiment.load()
    # The source is hashed before the run: what is edited meanwhile is not what made the result.
    chosen = option_values(module.Options() if options is None else options)
    source, own = source_sha256(experiment.path), own_files(chosen)
    script = experiment.path.read_bytes()
    computing = (program_sha256(), script_sha256(script))
    drugs = {}
    for name in own:
        with suppress(OSError):  # the experiment says what is wrong with it
            drugs[name] = sha256(Path(name).read_bytes())
    # What was kept by an interrupted run is used again only if all of this is the same.
    options_sorted = sorted(chosen.items())
    identity = (experiment.name, seed, quick, options_sorted, drugs, *computing, versions())
    with (
        output_folder(out) as folder,
        sweep.using(workers, sweep.Cache(folder, *identity), meanwhile=import_ahead),
    ):
        started = time.perf_counter()
        # The time of the computation alone: drawing and writing are no part of it.
        result = module.run(seed=seed, quick=quick, progress=progress, **chosen)
        seconds = time.perf_counter() - started
        from synapse_abm.plotting import saved  # Matplotlib is not loaded before it is needed

        write_run(
            folder, result, saved(experiment.name, module.figure(result)),
            experiment=experiment.name, seed=seed, command=command,
            options={"quick": quick, **chosen}, seconds=seconds, source=source,
            script_sha256=None if experiment.shipped else sha256(script),
            script_computing_sha256=None if experiment.shipped else computing[1],
            drug_files=drugs,
        )  # fmt: skip
    return result


def own_files(options: Mapping[str, Any]) -> list[str]:
    """Files of the user's own that options name, as in ``FILE.toml:NAME``."""
    from synapse_abm.pharmacology.library import own_file

    # An option may hold several drugs, each perhaps of a file.
    values = [value if isinstance(value, tuple | list) else [value] for value in options.values()]
    named = (own_file(name) for names in values for name in names if isinstance(name, str))
    return list(dict.fromkeys(file_and_name[0] for file_and_name in named if file_and_name))


def option_values(options: object) -> Mapping[str, Any]:
    """The options as keyword arguments, from a dataclass or a pydantic model."""
    if dataclasses.is_dataclass(options):
        return {x.name: getattr(options, x.name) for x in dataclasses.fields(options)}
    return dict(cast("Any", options))
