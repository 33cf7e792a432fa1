"""The same tables on other machines, imitated on this one.

A processor with shorter vectors adds in another order, and so do another BLAS kernel and another
number of threads: numbers then differ in their last digits, and a trajectory that depends on one of
them differs altogether. This script runs every ready-made scenario and every experiment
(``--quick``) as if on other machines, shows that each imitation took effect, and compares all
tables cell by cell.

    python tests/machines.py                 everything: some minutes for each machine
    python tests/machines.py --short         what the test suite runs: two machines, a few runs
    python tests/machines.py --machine prescott --run "run lag" --run "simulate binding"

Exit status 1 if a table differs or an imitation did not take effect.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import zip_longest
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
HERE = "this one"
#: Runs whose tables rest on everything that could differ, and that take a second or two each.
SHORT = ("simulate binding", "simulate slow_mixing", "run hyperbola", "run lag_sensitivity")
#: What an x86-64 processor of 2009 has. The name of a processor alone does not take anything away:
#: numba adds the features of the one at hand.
V2 = "+sse3,+ssse3,+sse4.1,+sse4.2,+popcnt,+cx16,+sahf,-avx,-avx2,-fma,-avx512f"
WITHOUT_VECTORS = {"NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR"}
OLD_BLAS = "Katmai"  # OpenBLAS's name for the kernels that it has for Prescott and older ones
OLD_CODE = {"NUMBA_CPU_NAME": "x86-64-v2", "NUMBA_CPU_FEATURES": V2}


@dataclass(frozen=True)
class Machine:
    """Settings that make this machine behave as another, and what they must have changed."""

    variables: Mapping[str, str] = field(default_factory=dict)
    workers: int = 1
    shows: Mapping[str, Any] = field(default_factory=dict)

    def missed(self, evidence: Mapping[str, Any]) -> dict[str, Any]:
        """What should have changed, and what is there instead."""
        return {
            what: evidence[what] for what, wanted in self.shows.items() if evidence[what] != wanted
        }


MACHINES = {
    HERE: Machine(),
    "haswell": Machine({"OPENBLAS_CORETYPE": "Haswell"}, shows={"BLAS": "Haswell"}),
    "prescott": Machine({"OPENBLAS_CORETYPE": "Prescott"}, shows={"BLAS": OLD_BLAS}),
    "numpy": Machine(WITHOUT_VECTORS, shows={"NumPy": "X86_V2"}),
    "numba": Machine(OLD_CODE, shows={"compiled": "128 bit"}),
    "oldest": Machine(
        {"OPENBLAS_CORETYPE": "Prescott", **WITHOUT_VECTORS, **OLD_CODE},
        shows={"BLAS": OLD_BLAS, "NumPy": "X86_V2", "compiled": "128 bit"},
    ),
    "two threads": Machine(
        {"OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"}, workers=2, shows={"threads": 2}
    ),
}
#: Without compiled code of its own, which takes half a minute to make.
SHORT_MACHINES = {
    HERE: MACHINES[HERE],
    "older": Machine(
        {"OPENBLAS_CORETYPE": "Prescott", **WITHOUT_VECTORS},
        shows={"BLAS": OLD_BLAS, "NumPy": "X86_V2"},
    ),
}


# --- on the imitated machine ---------------------------------------------------------------------


def linear_algebra() -> tuple[str, int]:
    """Kernels that OpenBLAS chose, NumPy's and SciPy's, and its threads."""
    import numpy as np  # noqa: F401 - either loads its own copy
    import scipy.linalg  # noqa: F401
    from threadpoolctl import threadpool_info

    blas = [one for one in threadpool_info() if one["user_api"] == "blas"]
    cores = sorted({one["architecture"] for one in blas})
    return "+".join(cores), max((one["num_threads"] for one in blas), default=0)


def numpy_features() -> str:
    """The highest level of x86-64 that NumPy's loops use here, by its own report."""
    from numpy._core._multiarray_umath import __cpu_features__ as has

    return max(level for level in ("X86_V2", "X86_V3", "X86_V4") if has.get(level))


def vector_width() -> str:
    """Longest vectors in code that numba compiles here and now: cached code cannot be looked into,
    but is kept under the name of the processor and its features, which are those of this code.
    """
    import numba
    import numpy as np

    @numba.njit("void(f8[::1], f8[::1])")  # type: ignore[untyped-decorator]
    def probe(x: Any, y: Any) -> None:
        for i in range(len(x)):
            y[i] = 3.0 * x[i] + 1.0

    probe(np.ones(4), np.ones(4))
    (assembly,) = probe.inspect_asm().values()
    bits = {"x": 128, "y": 256, "z": 512}
    return f"{max((bits[k] for k in re.findall('%([xyz])mm', assembly)), default=0)} bit"


def work(folder: Path, workers: int, runs: Sequence[str]) -> None:
    """Run everything in ``runs`` into ``folder``, and tell what machine this looks like."""
    from synapse_abm.cli import main

    for run in runs:
        out = folder / run.replace(" ", "_")
        quick = ["--quick"] if run.startswith("run ") else []
        # 1: a check failed, which is no matter here as long as it fails on every machine.
        if main([*run.split(), *quick, "--out", str(out), "--workers", str(workers)]) > 1:
            raise SystemExit(f"{run}: could not be done")
    core, threads = linear_algebra()
    evidence = {
        "BLAS": core,
        "threads": threads,
        "workers": workers,
        "NumPy": numpy_features(),
        "compiled": vector_width(),
    }
    (folder / "evidence.json").write_text(json.dumps(evidence))


def imitate(machine: Machine, folder: Path, runs: Sequence[str]) -> dict[str, Any]:
    """Run on ``machine``, in a process of its own; what it looked like from inside."""
    folder.mkdir(parents=True)
    one = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    environment = {**os.environ, **one, **machine.variables}
    if "NUMBA_CPU_NAME" in machine.variables:  # other code, which must not be taken for ours
        kept = os.environ.get("SYNAPSE_ABM_CACHE") or Path(tempfile.gettempdir())
        environment["SYNAPSE_ABM_CACHE"] = str(Path(kept) / "synapse_abm-x86-64-v2")
    command = [sys.executable, __file__, "--work", str(folder), "--workers", str(machine.workers)]
    command += [part for name in runs for part in ("--run", name)]
    ended = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    if ended.returncode:
        raise SystemExit(f"the runs ended with {ended.returncode}:\n{ended.stderr[-3000:]}")
    evidence: dict[str, Any] = json.loads((folder / "evidence.json").read_text())
    return evidence


# --- comparing -----------------------------------------------------------------------------------


def columns(path: Path) -> dict[str, list[Any]]:
    """The cells of a table by column; of a record, what it found."""
    if path.suffix == ".csv":
        header, *rows = csv.reader(path.read_text().splitlines())
        return dict(zip(header, map(list, zip(*rows, strict=True)), strict=True))
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        return dict(pq.read_table(path).to_pydict())
    checks = json.loads(path.read_bytes())["checks"]
    return {name: [check[name] for check in checks] for name in (checks[0] if checks else ())}


def tables(folder: Path) -> Iterator[Path]:
    """Everything in ``folder`` that must not depend on the machine, below it."""
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".csv", ".parquet") or path.name == "run.json":
            yield path.relative_to(folder)


def digest(path: Path) -> str:
    """A hash of a table's bytes, or of what a record found: versions and times are left out."""
    if not path.exists():
        return "absent"
    data = path.read_bytes() if path.name != "run.json" else repr(columns(path)).encode()
    return sha256(data).hexdigest()[:8]


def number(cell: Any) -> float | None:
    """A cell as a number, if it is one."""
    try:
        return float(cell)
    except (TypeError, ValueError):
        return None


def difference(here: Path, there: Path) -> str:
    """Where two tables differ: how many cells, the first of them, and the largest departure."""
    if not there.exists() or not here.exists():
        return "only on one machine"
    ours, theirs = columns(here), columns(there)
    if ours.keys() != theirs.keys():
        return f"other columns: {sorted(ours.keys() ^ theirs.keys())}"
    cells = [
        (column, row, a, b)
        for column in ours
        for row, (a, b) in enumerate(zip_longest(ours[column], theirs[column]))
        if a != b and not (a != a and b != b)  # NaN equals NaN here
    ]
    if not cells:
        return "equal cells in other bytes"
    largest = 0.0
    for _, _, a, b in cells:
        x, y = number(a), number(b)
        largest = max(
            largest, abs(x - y) / max(abs(x), abs(y)) if x is not None and y is not None else 1.0
        )
    column, row, a, b = cells[0]
    names = sorted({column for column, *_ in cells})
    first = f"first in {column!r}, row {row + 1}: {a} here, {b} there"
    return f"{len(cells)} cells in {', '.join(names)}; {first}; at most {largest:.1e} relative"


def compare(folders: Mapping[str, Path]) -> int:
    """Print the hashes of all tables on all machines, and how they differ; how many do."""
    ours = folders[HERE]
    names = sorted({name for folder in folders.values() for name in tables(folder)})
    width = max(len(str(name)) for name in names)
    print(f"\n{'table':{width}}  {HERE:8}  " + "  ".join(f"{m:8}" for m in folders if m != HERE))
    differences = []
    for name in names:
        base, row = digest(ours / name), []
        for machine, folder in folders.items():
            if machine == HERE:
                continue
            other = digest(folder / name)
            row.append(f"{'=' if other == base else other:{max(8, len(machine))}}")
            if other != base:
                differences.append((machine, name))
        print(f"{name!s:{width}}  {base}  " + "  ".join(row))
    for machine, name in differences:
        print(f"DIFFERS on {machine}: {name}: {difference(ours / name, folders[machine] / name)}")
    return len(differences)


def main() -> int:
    """Imitate, show, compare."""
    from synapse_abm.runs.experiment import experiments
    from synapse_abm.scenarios import scenarios

    everything = [f"simulate {name}" for name in scenarios()]
    everything += [f"run {name}" for name in experiments()]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="two machines, a few runs")
    parser.add_argument("--machine", action="append", choices=list(MACHINES), help="only these")
    parser.add_argument("--run", action="append", choices=everything, help="only these")
    parser.add_argument("--out", type=Path, help="keep the tables here")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--workers", type=int, default=1, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.work:
        work(asked.work, asked.workers, asked.run)
        return 0
    if platform.machine().lower() not in ("x86_64", "amd64"):
        print("this machine is no x86-64: there is nothing to imitate on it")
        return 0
    machines = SHORT_MACHINES if asked.short else MACHINES
    if asked.machine:
        machines = {HERE: MACHINES[HERE], **{name: MACHINES[name] for name in asked.machine}}
    runs = asked.run or (SHORT if asked.short else everything)
    failures = 0
    with tempfile.TemporaryDirectory() as temporary:
        folders = {name: (asked.out or Path(temporary)) / name for name in machines}
        for name, machine in machines.items():
            evidence = imitate(machine, folders[name], runs)
            missed = machine.missed(evidence)
            failures += len(missed)
            told = ", ".join(f"{k} {v}" for k, v in evidence.items())
            print(
                f"{name:12} {told}{f'  DID NOT TAKE EFFECT: {missed}' if missed else ''}",
                flush=True,
            )
        failures += compare(folders)
    print(
        "all tables are equal" if not failures else f"{failures} differences or failed imitations"
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
