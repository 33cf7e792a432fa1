"""What ``bench`` found, as a table for people and as plain data."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from synapse_abm.bench.contenders import AGENTS, COMPILED, GENERATOR, ONE_CELL, PLAIN_MESA
from synapse_abm.bench.peers import GILLESPY2, READDY, SMOLDYN, SMOLDYN_DEFAULT
from synapse_abm.bench.timing import Row
from synapse_abm.core.text import text_table
from synapse_abm.runs.results import versions

PEERS = (GENERATOR, AGENTS, PLAIN_MESA, SMOLDYN, SMOLDYN_DEFAULT, READDY, GILLESPY2)

_HEADER = (
    "engine", "molecules", "sites", "k_off dt", "bound",
    "1e6 molecule-steps/s", "(median)", "1e6 events/s", "repetitions",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Speed:
    """A bar of the figure: work per second of CPU time.

    Parameters
    ----------
    name
        Engine or peer, with its version.
    molecules, sites
        Size of the model.
    typical, slowest, fastest
        Median, least and greatest rate of the rounds, 1/s.
    ratio, ratio_range
        Compiled engine / this one, and its range over the rounds; None for itself, or without a
        like to compare.
    """

    name: str
    molecules: int
    sites: int
    typical: float
    slowest: float
    fastest: float
    ratio: float | None
    ratio_range: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class BenchReport:
    """All measurements. Nothing is judged, so a bench always passes.

    Parameters
    ----------
    rows
        One per engine and size; rates are those of the best repetition.
    build_molecules, build_s
        Size of a model and the time to build it, s.
    state_bytes_per_molecule
        Memory of that model's state, sites and counters included.
    import_s, kernel_load_s
        Times of a new process whose kernels are in the cache, s; None if not measured.
    not_installed
        Peers that could not take part, and the command that installs each.
    date
        Day of the measurement (UTC).
    """

    rows: Sequence[Row]
    build_molecules: int
    build_s: float
    state_bytes_per_molecule: float
    import_s: float | None
    kernel_load_s: float | None
    not_installed: Mapping[str, str] = field(default_factory=dict)
    date: str = field(default_factory=lambda: datetime.now(UTC).date().isoformat())

    @property
    def failed(self) -> bool:
        """A measurement cannot fail."""
        return False

    @property
    def ratios(self) -> dict[str, float]:
        """Compiled engine / peer on the same work: molecule-steps per second at the same number of
        molecules, in one cell events per second. The median over the rounds, in which both were
        timed one soon after the other. Void rows have none.
        """
        pairs = self._pairs()
        return {peer.engine: ours.times_faster(peer) for ours, peer in pairs}

    @property
    def ratio_ranges(self) -> dict[str, tuple[float, float]]:
        """The smallest and the largest ratio of a round."""
        rounds = {peer.engine: ours.rounds_faster(peer) for ours, peer in self._pairs()}
        return {name: (min(each), max(each)) for name, each in rounds.items()}

    def speeds(self, *, well_mixed: bool) -> list[Speed]:
        """Ours and every peer that did the same work, fastest first: molecule-steps per second, or
        events per second in one cell. All of one size: that at which most were timed.
        """
        rows = {id(row): row for pair in self._pairs() for row in pair}.values()
        drawn = [
            row
            for row in rows
            if row.well_mixed == well_mixed and row.engine != GENERATOR  # which makes no steps
        ]
        sizes = [row.molecules for row in drawn]
        size = max(sizes, key=sizes.count, default=0)
        found = [self._speed(row) for row in drawn if row.molecules == size]
        return sorted(found, key=lambda each: -each.typical)

    def _speed(self, row: Row) -> Speed:
        per_s = row.events_per_s if row.well_mixed else row.molecule_steps_per_s
        assert per_s is not None  # peers in one cell count events
        work, times = per_s * row.seconds, row.round_seconds
        rates = (work / row.median_seconds, work / max(times), work / min(times))
        name = COMPILED if row.engine == ONE_CELL else row.title
        ratio, ratio_range = self.ratios.get(row.engine), self.ratio_ranges.get(row.engine)
        return Speed(name, row.molecules, row.sites, *rates, ratio, ratio_range)

    def _pairs(self) -> list[tuple[Row, Row]]:
        """Our row and the peer's, for every peer that did the same work."""
        spread_out = self._compiled()
        in_one = {row.molecules: row for row in self.rows if row.engine == ONE_CELL}
        found = []
        for row in self.rows:
            ours = (in_one if row.well_mixed else spread_out).get(row.molecules)
            if row.engine in PEERS and ours is not None and not (row.void or ours.void):
                found.append((ours, row))
        return found

    @property
    def per_molecule(self) -> dict[int, float]:
        """Time per molecule and step of the compiled engine by number of molecules, ns."""
        return {n: 1e9 / row.molecule_steps_per_s for n, row in self._compiled().items()}

    def _compiled(self) -> dict[int, Row]:
        """The compiled engine by number of molecules, each at the first rate that was timed."""
        compiled = [row for row in self.rows if row.engine == COMPILED]
        return {row.molecules: row for row in reversed(compiled)}

    def record(self) -> Mapping[str, Any]:
        """The contents of ``--json FILE``."""
        return {
            "date": self.date,
            "machine": machine(),
            "rows": [asdict(row) | {"void": row.void} for row in self.rows],
            "ratios": self.ratios,
            "ratio_ranges": self.ratio_ranges,
            "not_installed": self.not_installed,
            "ns_per_molecule_step": {str(n): t for n, t in sorted(self.per_molecule.items())},
            "build": {"molecules": self.build_molecules, "seconds": self.build_s},
            "state_bytes_per_molecule": self.state_bytes_per_molecule,
            "second_process": {
                "import_seconds": self.import_s,
                "kernel_load_seconds": self.kernel_load_s,
            },
        }

    def markdown(self) -> str:
        """The README's table: typical rates and ratios on the same work, fastest first."""
        rounds = max((len(row.round_seconds) for row in self.rows), default=0)
        head = f"compiled engine is faster by (least to most of {rounds} rounds)"
        lines = [f"| on the same work | rate | {head} |", "|---|---|---|"]
        for place, unit in (("", "molecule-steps/s"), ("one cell: ", "events/s")):
            for each in self.speeds(well_mixed=bool(place)):
                ratio = ""
                if each.ratio is not None and each.ratio_range is not None:
                    least, most = map(_two_digits, each.ratio_range)
                    ratio = f"{_two_digits(each.ratio)} ({least} to {most}) "
                rate = f"{each.typical:.1e}".replace("e+0", "e")
                lines.append(f"| {place}{each.name} | {rate} {unit} | {ratio}|")
        return "\n".join(lines)

    def text(self) -> str:
        """Table, ratios and waiting times for the terminal."""
        table = text_table(_HEADER, [_cells(row) for row in self.rows])
        lines = [table, "", *self._ratio_lines(), "", *self._other_lines()]
        return "\n".join(lines)

    def _ratio_lines(self) -> list[str]:
        ranges = self.ratio_ranges
        lines = [
            f"{COMPILED} / {peer}: {value:.3g} ({ranges[peer][0]:.3g} to {ranges[peer][1]:.3g})"
            for peer, value in self.ratios.items()
        ]
        lines += [
            f"{row.engine}: not the same work: {row.bound_fraction:.3f} of the sites are bound"
            for row in self.rows
            if row.void
        ]
        lines += [
            f"{name} is not installed: {command}" for name, command in self.not_installed.items()
        ]
        times = sorted(self.per_molecule.items())
        sizes = ", ".join(f"{time:.3g} ns at {n:.0e}" for n, time in times)
        return [*lines, f"time per molecule and step: {sizes}"]

    def _other_lines(self) -> list[str]:
        size = f"{self.build_molecules:.0e}"
        lines = [
            f"model of {size} molecules: built in {self.build_s:.3g} s, "
            f"state {self.state_bytes_per_molecule:.3g} bytes per molecule"
        ]
        if self.import_s is not None and self.kernel_load_s is not None:
            lines.append(
                f"new process: import {self.import_s:.2f} s, "
                f"kernels from the cache {self.kernel_load_s:.2f} s"
            )
        return lines


def _two_digits(value: float) -> str:
    return f"{float(f'{value:.2g}'):g}"


def _cells(row: Row) -> list[str]:
    def number(value: float | None, form: str, scale: float = 1.0) -> str:
        return "-" if value is None else format(value / scale, form)

    moving = None if row.well_mixed else row.molecule_steps_per_s or None
    median = moving and moving * row.seconds / row.median_seconds
    return [
        row.title,
        str(row.molecules),
        str(row.sites),
        number(row.koff_dt, "g"),
        number(row.bound_fraction, ".3f") + (" void" if row.void else ""),
        number(moving, ".3g", 1e6),
        number(median, ".3g", 1e6),
        number(row.events_per_s, ".3g", 1e6),
        f"{len(row.round_seconds)} x {row.median_seconds * 1e3:.0f} ms",
    ]


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    found: dict[str, Any] = {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "writes_byte_code": not sys.dont_write_bytecode,  # imports are slow without
    }
    with suppress(AttributeError, OSError):  # not on Windows
        found["load_average"] = os.getloadavg()[0]
    for name in ("gillespy2", "readdy"):
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found | versions()


def _processor() -> str:
    """The processor's name, as well as the system tells it."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
