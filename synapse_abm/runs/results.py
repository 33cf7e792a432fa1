"""What a run leaves behind: tidy tables, checks and a record, complete on disk or not there at all.

Tables are written with as many digits as have meaning, so that they are readable, and equal on
every processor but for a rare last digit; no table holds a time stamp. A file is written beside its
place under a temporary name, flushed to the disk, and renamed; a folder of results gets its record
last, so a record vouches for its neighbours. pyarrow and pandas are imported only when they are
needed.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import platform
import subprocess
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, get_args

from synapse_abm.core.arithmetic import rounded
from synapse_abm.core.files import RECORD, sha256, write_folder
from synapse_abm.core.text import DIGITS, SOLVED_DIGITS, json_bytes, plain_json
from synapse_abm.runs.computing import hash_of_files, package_files

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from synapse_abm.statistics import Estimate

type Cell = float | int | bool | str | None

#: What a check compares with: a law of the model itself; a direction or size stated beforehand; a
#: fact the parameters were tuned to; a published number, which the model may miss.
Kind = Literal["exact", "emergent", "calibrated", "published"]
KINDS: tuple[Kind, ...] = get_args(Kind)


_VERSIONED = ("mesa", "numpy", "scipy", "numba", "pandas", "pyarrow", "matplotlib")
_INT64_MAX = 2**63 - 1  # a seed may be larger


@dataclass(frozen=True, slots=True)
class Check:
    """One number of a run held against what is known.

    Parameters
    ----------
    name
        What is compared, with its unit.
    kind
        One of :data:`KINDS`; only a failed ``exact`` check makes the command fail.
    value, se
        The estimate and its standard error (None if it has none), in one unit.
    expected
        The known number, or None where only a direction is known.
    z
        ``(value - expected) / se``, or None.
    source
        Formula, law or paper behind ``expected``.
    passed
        Whether the check holds.
    solved
        Whether a solver made one of the numbers, which are then written with fewer digits.
    """

    name: str
    kind: Kind
    value: float
    se: float | None
    expected: float | None
    z: float | None
    source: str
    passed: bool
    solved: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind = {self.kind!r} of check {self.name!r} is not one of {KINDS}")

    @classmethod
    def against(
        cls, name: str, kind: Kind, value: float, se: float, expected: float, *,
        source: str, z_limit: float, solved: bool = False, allowed: float = 0.0,
    ) -> Self:  # fmt: skip
        """The check that ``value`` departs from ``expected`` by at most ``z_limit`` errors, beyond
        what is ``allowed`` however small the error.
        """
        z = z_score(value, se, expected)
        off = max(abs(value - expected) - allowed, 0.0)
        passed = abs(z) <= z_limit or z_score(off, se, 0.0) <= z_limit
        return cls(name, kind, value, se, expected, z, source, passed, solved)

    @classmethod
    def by_student(
        cls, name: str, estimate: Estimate, expected: float, *, source: str, false_alarm: float,
        tests: int = 1, kind: Kind = "exact", solved: bool = False, allowed: float = 0.0,
    ) -> Self:  # fmt: skip
        """The same of an estimate, whose limit is Student's t at its degrees of freedom.

        Of ``tests`` such checks together, one fails by chance with probability ``false_alarm``.
        """
        from synapse_abm.statistics import student_quantile  # brings SciPy with it

        limit = student_quantile(false_alarm, estimate.dof, tests=tests)
        return cls.against(
            name, kind, estimate.value, estimate.se, expected,
            source=source, z_limit=limit, solved=solved, allowed=allowed,
        )  # fmt: skip

    def record(self) -> Any:
        """The check as ``run.json`` has it, its numbers rounded."""
        cells = {key: cell for key, cell in asdict(self).items() if key != "solved"}
        return plain_json(cells, SOLVED_DIGITS if self.solved else DIGITS)


def z_score(value: float, se: float, expected: float) -> float:
    """``(value - expected) / se``; without an error any departure is infinite, NaN stays NaN."""
    departure = value - expected
    # An infinite error makes z zero: nothing is known, and nothing is said against the value.
    if se > 0.0 or math.isnan(se):
        return departure / se
    return 0.0 if departure == 0.0 else math.copysign(math.inf, departure)


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A tidy table: one row per observation, one named column per quantity.

    Column names carry their unit (``concentration_nM``). A column is a sequence or a NumPy array of
    one type: numbers, booleans or text; None marks a missing cell.

    Files hold floats to 10 significant digits (``DIGITS``), those of the columns in ``solved`` to 6
    (``SOLVED_DIGITS``): a solver made them. In memory, nothing is rounded.
    """

    name: str
    columns: Mapping[str, Any]
    solved: Collection[str] = ()

    def __post_init__(self) -> None:
        if unknown := set(self.solved).difference(self.columns):
            raise ValueError(f"table {self.name!r} has no columns {sorted(unknown)}")
        lengths = {name: len(column) for name, column in self.columns.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"columns of table {self.name!r} differ in length: {lengths}")

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def __getitem__(self, column: str) -> Any:
        return self.columns[column]

    @classmethod
    def of_rows(
        cls, name: str, columns: str, rows: Iterable[Sequence[Any]], solved: Collection[str] = ()
    ) -> Self:
        """A table of ``rows``, whose ``columns`` are named in one line."""
        cells = map(list, zip(*rows, strict=True))
        return cls(name, dict(zip(columns.split(), cells, strict=True)), solved)

    def csv(self) -> bytes:
        r"""The table as CSV (UTF-8, ``\n``); a missing cell is empty, NaN is ``nan``."""
        # By hand: pandas takes half a second to import, and spells floats its own way.
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        # Python's repr of a float is the shortest text that reads back to it.
        columns = [[_csv_cell(cell) for cell in cells] for cells in self._rounded().values()]
        writer.writerows(zip(*columns, strict=True))
        return text.getvalue().encode()

    def parquet(self) -> bytes:
        """The table as Parquet, equal bytes for equal data under one version of pyarrow."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        arrays = {name: _arrow(cells) for name, cells in self._rounded().items()}
        # Nothing in it tells the time: equal data give equal bytes.
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table(arrays), sink, compression="zstd")
        return bytes(sink.getvalue().to_pybytes())

    def file_names(self) -> tuple[str, str]:
        """The names of its files."""
        return f"{self.name}.csv", f"{self.name}.parquet"

    def files(self) -> dict[str, bytes]:
        """Both forms of the table, by file name."""
        return dict(zip(self.file_names(), (self.csv(), self.parquet()), strict=True))

    def to_pandas(self) -> pd.DataFrame:
        """The table as a data frame."""
        import pandas as pd

        return pd.DataFrame(self._cells())

    def unit(self, column: str) -> Callable[[float, float], float]:
        """What one unit of the last digit written of two numbers of a column is."""
        if column not in self.solved:
            return last_unit
        least = 10.0 ** -_decimals(self._cells()[column])
        return lambda one, other: max(last_unit(one, other, SOLVED_DIGITS), least)

    def _cells(self) -> dict[str, list[Cell]]:
        return {name: _plain(self.name, name, column) for name, column in self.columns.items()}

    def _rounded(self) -> dict[str, list[Cell]]:
        return {
            name: _solved(cells) if name in self.solved else _to(DIGITS, cells)
            for name, cells in self._cells().items()
        }


def last_unit(one: float, other: float, digits: int = DIGITS) -> float:
    """One unit of the last of so many significant digits of the larger of two numbers."""
    # The power of ten of the last digit, from the place of the first: 1234.5 has 10**3.
    size = max(abs(one), abs(other))
    return 10.0 ** (math.floor(math.log10(size)) + 1 - digits) if 0 < size < math.inf else 0.0


def _to(digits: int, cells: list[Cell]) -> list[Cell]:
    return [rounded(cell, digits) if isinstance(cell, float) else cell for cell in cells]


def _solved(cells: list[Cell]) -> list[Cell]:
    decimals = _decimals(cells)
    return [
        float(f"{cell:.{decimals}f}") + 0.0 if isinstance(cell, float) else cell
        for cell in _to(SOLVED_DIGITS, cells)
    ]


def _decimals(cells: Iterable[Cell]) -> int:
    """The last decimal place that means something in a column from a solver.

    It is as far below the last digit of the largest number as that digit is below the first. What
    ought to be zero comes out of a solver as noise, different on every processor: 1e-17 has no
    digits that mean anything in a column of ones.
    """
    sizes = (abs(cell) for cell in cells if isinstance(cell, float) and math.isfinite(cell))
    # Numbers far below the largest of a column are differences of such; their digits are noise.
    largest = max(sizes, default=0.0)
    return max(0, 2 * SOLVED_DIGITS - 1 - math.floor(math.log10(largest))) if largest else 0


def _plain(table: str, name: str, column: Any) -> list[Cell]:
    """The cells as plain Python values of one type; whole numbers among floats become floats."""
    # tolist gives Python's own numbers, whose types tell what the column is.
    raw = column.tolist() if hasattr(column, "tolist") else column
    cells = [cell.item() if hasattr(cell, "item") else cell for cell in raw]
    types = {type(cell) for cell in cells if cell is not None}
    if types == {int, float}:
        return [None if cell is None else float(cell) for cell in cells]
    if len(types) > 1 or not types <= {int, float, bool, str}:
        kinds = ", ".join(sorted(kind.__name__ for kind in types))
        raise TypeError(
            f"column {name!r} of table {table!r} holds {kinds}; one plain type is wanted"
        )
    return cells


def _csv_cell(cell: Cell) -> str:
    return "" if cell is None else repr(cell) if isinstance(cell, float) else str(cell)


def _arrow(cells: list[Cell]) -> pa.Array[Any]:
    """An Arrow array; whole numbers beyond 64 signed bits (seeds) are unsigned.

    Made from its buffers: ``pyarrow.array`` imports pandas to ask whether the cells are its own.
    """
    import numpy as np
    import pyarrow as pa

    kind = next((type(cell) for cell in cells if cell is not None), None)
    if kind is None:
        return pa.nulls(len(cells))
    # A missing cell needs some value in the buffer; the bits say that it does not count.
    whole: list[Any] = [kind() if cell is None else cell for cell in cells]
    data: tuple[Any, ...]
    valid = _bits([cell is not None for cell in cells]) if None in cells else None
    if kind is str:
        text = [cell.encode() for cell in whole]
        ends = np.cumsum([0, *map(len, text)], dtype=np.int32)
        type_, data = pa.string(), (ends, np.frombuffer(b"".join(text), np.uint8))
    elif kind is bool:
        type_, data = pa.bool_(), (_bits(whole),)
    else:
        large = kind is int and max(whole) > _INT64_MAX
        type_ = pa.float64() if kind is float else pa.uint64() if large else pa.int64()
        data = (np.array(whole, dtype=type_.to_pandas_dtype()),)
    buffers = [None if part is None else pa.py_buffer(part) for part in (valid, *data)]
    return pa.Array.from_buffers(type_, len(cells), buffers)


def _bits(flags: list[Any]) -> Any:
    """Flags as Arrow packs them: eight to a byte, the first one lowest."""
    import numpy as np

    return np.packbits(flags, bitorder="little")


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """What an experiment found, before anything is written.

    Parameters
    ----------
    tables
        Each becomes ``<name>.csv`` and ``<name>.parquet``.
    checks
        Everything that was held against theory or a paper.
    text
        The table for people, printed to the terminal.
    verdict
        One line that answers the question.
    scenario
        What was simulated: plain values, units in the names.
    papers
        Citations behind the parts that were used.
    outcome
        What else came of it, for the record: averages of a simulation, replicates that failed.
    data
        The same as the experiment's own type, for its figures and for Python users; not written.
    """

    tables: Sequence[Table]
    checks: Sequence[Check]
    text: str
    verdict: str
    scenario: Mapping[str, Any] = field(default_factory=dict)
    papers: Sequence[str] = ()
    outcome: Mapping[str, Any] = field(default_factory=dict)
    data: Any = None

    def __getitem__(self, table: str) -> Table:
        return next(candidate for candidate in self.tables if candidate.name == table)

    @property
    def passed(self) -> bool:
        """Whether every exact check holds; a published number that is missed is a finding."""
        return all(check.passed for check in self.checks if check.kind == "exact")

    def table_files(self) -> dict[str, bytes]:
        """File name and contents of every table, as CSV and as Parquet."""
        return {name: data for table in self.tables for name, data in table.files().items()}


class Report(Protocol):
    """What ``validate`` and ``bench`` hand to the command line."""

    @property
    def failed(self) -> bool:
        """Whether anything that was judged failed: the exit status is 1."""

    def text(self) -> str:
        """The table for people."""

    def record(self) -> Mapping[str, Any]:
        """The contents of ``--json FILE``, in the documented format."""


def write_run(
    folder: Path, result: Result, figures: Mapping[str, bytes], *, experiment: str, seed: int,
    command: str, options: Mapping[str, Any], seconds: float, source: str,
    script_sha256: str | None = None, script_computing_sha256: str | None = None,
    drug_files: Mapping[str, str] | None = None,
) -> None:  # fmt: skip
    """Write figures, tables and ``run.json``: all that is needed to know what was done, and to do
    it again.

    Parameters
    ----------
    source
        Hash of the program's source when the run began.
    script_sha256
        Hash of an experiment of one's own; None for those of the program.
    script_computing_sha256
        Hash of what in it computes (``runs.computing``).
    drug_files
        Hashes of the files of one's own that the options name, by path.
    """
    tables = result.table_files()
    record = {
        "experiment": experiment, "seed": seed, "command": command, "options": options,
        "wall_s": round(seconds, 3), "versions": versions(), "machine": machine(),
        "code_version": code_version(), "source_sha256": source, "script_sha256": script_sha256,
        "script_computing_sha256": script_computing_sha256, "drug_files": drug_files or {},
        "checks": [check.record() for check in result.checks],
        "outcome": plain_json(result.outcome, DIGITS),
        "table_sha256": {name: sha256(data) for name, data in tables.items()},
        "scenario": result.scenario, "papers": result.papers,
    }  # fmt: skip
    # Together and at the end: a run that fails leaves the folder as it was.
    write_folder(folder, {**figures, **tables, RECORD: json_bytes(signed(record))})


def signed(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record with hashes of its fields and of the whole, so that an edit shows, and where.

    They are no proof against forgery, since anyone can sign anew: running it again is.
    """
    fields = {name: plain_json(value) for name, value in record.items() if name not in SIGNATURE}
    # 16 hexadecimal digits a field: enough to show which was edited; the whole has all 64.
    fields["field_sha256"] = {name: _hash(value)[:16] for name, value in fields.items()}
    return fields | {"record_sha256": _hash(fields)}


#: The fields of a record that vouch for the others.
SIGNATURE = ("field_sha256", "record_sha256")


def _hash(value: object) -> str:
    """Hash of plain values, the same after a trip through JSON."""
    return sha256(json.dumps(value, separators=(",", ":"), sort_keys=True).encode())


def machine() -> dict[str, str]:
    """What of the machine could change a last digit: vector units, and who does linear algebra.

    Compiled code, NumPy and BLAS choose their instructions separately, each by its own settings.
    """
    import llvmlite.binding as llvm
    import numpy as np
    from numba.core.config import CPU_FEATURES, CPU_NAME  # type: ignore[attr-defined]
    from threadpoolctl import threadpool_info

    # Both can be set by the user (NUMBA_CPU_NAME, NUMBA_CPU_FEATURES) to imitate a lesser machine.
    chosen = CPU_FEATURES or llvm.get_host_cpu_features().flatten()
    # Vector units and fused multiplication: what else a processor can does not change a sum.
    wide = ("+avx", "+fma", "+sse4", "+neon", "+sve", "+asimd")
    features = sorted(name[1:] for name in chosen.split(",") if name.startswith(wide))
    build: Any = np.show_config(mode="dicts")
    loops = build["SIMD Extensions"]  # without "found" where there is nothing beyond the baseline
    # Those that are loaded: NumPy's, and SciPy's own, which Numba loads with the first kernel.
    blas = [
        f"{library['internal_api']} {library['version']} {library.get('architecture')}, "
        f"{library['num_threads']} threads"
        for library in threadpool_info() if library["user_api"] == "blas"
    ]  # fmt: skip
    return {
        "processor": CPU_NAME or llvm.get_host_cpu_name(),
        "compiled_for": " ".join(features),
        "numpy_uses": " ".join([*loops.get("baseline", ()), *loops.get("found", ())]),
        "blas": "; ".join(sorted(blas)),
    }


def versions() -> dict[str, str]:
    """Versions of Python and of what a result can depend on, and the machine's kind."""
    installed = {"python": platform.python_version(), "platform": _platform()}
    for name in _VERSIONED:
        with suppress(metadata.PackageNotFoundError):
            installed[name] = metadata.version(name)
    return installed


def _platform() -> str:
    return f"{platform.system()} {platform.machine()}"


def code_version() -> str:
    """``0.1.0+g1a2b3c4d`` (``.dirty`` if changed) in a git checkout, ``0.1.0`` elsewhere."""
    from synapse_abm.core.version import __version__

    checkout = Path(__file__).resolve().parents[2]
    if not (checkout / ".git").exists():
        return __version__
    # No tags (--exclude): the version is known, and the commit says which source it was.
    command = ["git", "-C", str(checkout), "describe", "--always", "--exclude=*", "--dirty=.dirty"]
    # git describe --dirty would write its index anew, beside somebody's own git command.
    environment = os.environ | {"GIT_OPTIONAL_LOCKS": "0"}
    try:
        answer = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return __version__
    return f"{__version__}+g{answer.stdout.strip()}"


def import_ahead() -> None:
    """Import what checks, figures and tables need, a second of work, beside the computation."""
    for name in ("scipy.special", "synapse_abm.plotting", "pyarrow.parquet"):
        with suppress(ImportError):  # who needs it will tell
            import_module(name)


def source_sha256(*scripts: Path) -> str:
    """One hash over the package's files and ``scripts``, whether or not they were committed."""
    return hash_of_files(package_files() | {f"experiments/{path.name}": path for path in scripts})
