"""What ``bench`` measured, as a table for people and as plain data."""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from synapse_abm.bench.contenders import AGENTS, COMPILED, GENERATOR, ONE_CELL, PLAIN_MESA
from synapse_abm.bench.peers import GILLESPY2, READDY, SMOLDYN, SMOLDYN_DEFAULT
from synapse_abm.bench.replicates import Replicates
from synapse_abm.bench.timing import Row
from synapse_abm.core.text import text_table
from synapse_abm.runs import results

PEERS = (GENERATOR, AGENTS, PLAIN_MESA, SMOLDYN, SMOLDYN_DEFAULT, READDY, GILLESPY2)

_HEADER = (
    "engine", "molecules", "sites", "k_off dt", "bound",
    "1e6 molecule-steps/s", "(median)", "1e6 events/s", "repetitions",
)  # fmt: skip


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
    replicates
        Many short runs of one scenario; None if not measured.
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
    replicates: Replicates | None = None
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
        return {row.engine: statistics.median(ours.times_faster(row)) for ours, row in self._pairs}

    @property
    def ratio_ranges(self) -> dict[str, tuple[float, float]]:
        """The smallest and the largest ratio of a round."""
        rounds = {peer.engine: ours.times_faster(peer) for ours, peer in self._pairs}
        return {name: (min(ratios), max(ratios)) for name, ratios in rounds.items()}

    def comparable(self, *, well_mixed: bool) -> list[Row]:
        """Ours and every peer that did the same work, fastest first. All of one size: that at which
        most were timed.
        """
        rows = {id(row): row for pair in self._pairs for row in pair}.values()
        # The generator makes no steps: beside simulators it would look like one.
        drawn = [r for r in rows if r.well_mixed == well_mixed and r.engine != GENERATOR]
        # Peers are timed at one size; bars of several sizes side by side would compare nothing.
        sizes = [row.molecules for row in drawn]
        size = max(sizes, key=sizes.count, default=0)
        return sorted((r for r in drawn if r.molecules == size), key=lambda row: -row.speeds[0])

    @property
    def _pairs(self) -> list[tuple[Row, Row]]:
        """Our row and the peer's, for every peer that did the same work."""
        in_one = {row.molecules: row for row in self.rows if row.engine == ONE_CELL}
        ours = {True: in_one, False: self._compiled()}
        pairs = [(ours[row.well_mixed].get(row.molecules), row) for row in self.rows]
        return [
            (own, row)
            for own, row in pairs
            if row.engine in PEERS and own is not None and not (row.void or own.void)
        ]

    @property
    def per_molecule(self) -> dict[int, float]:
        """Time per molecule and step of the compiled engine by number of molecules, ns."""
        return {n: 1e9 / row.molecule_steps_per_s for n, row in self._compiled().items()}

    def _compiled(self) -> dict[int, Row]:
        """The compiled engine by number of molecules, each at the first rate that was timed."""
        compiled = [row for row in self.rows if row.engine == COMPILED]
        # The last entry of a key stays, so the first row timed at a size is kept.
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
            "replicates": self.replicates.record() if self.replicates else None,
        }

    def text(self) -> str:
        """Table, ratios and waiting times for the terminal."""
        ranges, times = self.ratio_ranges, sorted(self.per_molecule.items())
        ratios = [
            f"{COMPILED} / {peer}: {value:.3g} ({ranges[peer][0]:.3g} to {ranges[peer][1]:.3g})"
            for peer, value in self.ratios.items()
        ]
        void = [
            f"{row.engine}: not the same work: {row.bound_fraction:.3f} of the sites are bound"
            for row in self.rows
            if row.void
        ]
        absent = [f"{name} is not installed: {how}" for name, how in self.not_installed.items()]
        sizes = ", ".join(f"{time:.3g} ns at {n:.0e}" for n, time in times)
        waiting = [
            f"model of {self.build_molecules:.0e} molecules: built in {self.build_s:.3g} s, "
            f"state {self.state_bytes_per_molecule:.3g} bytes per molecule"
        ]
        if self.import_s is not None and self.kernel_load_s is not None:
            waiting.append(
                f"new process: import {self.import_s:.2f} s, "
                f"kernels from the cache {self.kernel_load_s:.2f} s"
            )
        if self.replicates is not None:
            waiting.append(self.replicates.text())
        table = text_table(_HEADER, [_cells(row) for row in self.rows])
        steps = f"time per molecule and step: {sizes}"
        return "\n".join([table, "", *ratios, *void, *absent, steps, "", *waiting])


def _cells(row: Row) -> list[str]:
    def number(value: float | None, form: str, scale: float = 1.0) -> str:
        return "-" if value is None else format(value / scale, form)

    # In one cell nothing moves, so molecule-steps are no work there.
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
    """What the numbers were measured on: as in records of runs, and what matters for speed."""
    return {
        **results.machine(),
        "cores": os.cpu_count(),
        # A busy machine lowers all numbers alike; ratios bear it, rates do not.
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,  # Windows
        "writes_byte_code": not sys.dont_write_bytecode,  # imports are slow without
        **results.versions(),
    }
