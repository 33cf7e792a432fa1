"""The verdicts as a table for people and as a record for programs."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from synapse_abm.core.arithmetic import rounded
from synapse_abm.core.errors import escaped
from synapse_abm.core.text import SOLVED_DIGITS, text_table
from synapse_abm.runs.results import code_version, versions
from synapse_abm.statistics import Rule, Verdict, chances
from synapse_abm.validation.cases import Case
from synapse_abm.validation.mutations import Caught
from synapse_abm.validation.quantities import (
    FINER,
    FINER_OCCUPANCY,
    KINETICS,
    OCCUPANCY,
    RELATIVE,
    SPREAD,
    WORST_LAST,
    Row,
    worst,
)
from synapse_abm.validation.trials import ASKED, DECIDING, SLACK

#: Standard error at the first look, in margins, of a number whose sample is as it was planned.
FIRST_SE = math.sqrt(DECIDING) / (SLACK + ASKED)

#: What keys of a file may have behind the name of the quantity that they are about.
_ENDINGS = ("_t", "_bound", "_occupancy", "_se", "_t_se")

METHOD = (
    "Every number is estimated from simulations and compared with its exact value, in up to five "
    "looks at samples that grow threefold. FAIL: off by more standard errors than chance explains, "
    "at a false-alarm rate stated for all numbers and looks together (kinetics on a grid, where a "
    "step has a bias: off by its margin and so many more). PASS: within its margin with 99.9 % "
    "confidence. INCONCLUSIVE: neither. Laws: chi-square, and their means as numbers."
)


@dataclass(frozen=True, slots=True)
class Source:
    """Where cases were read from: the name of the file and the SHA-256 of its contents."""

    name: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdicts:
    """What a validation concluded.

    Attributes
    ----------
    cases
        The cases of the file, in its order, which is also that of ``rows``.
    not_expressible
        Cases, or parts of them, that were not run, and why.
    errors
        Cases that failed while they were planned or run, or that gave what is not finite, and why.
    planted
        What came of the mutations (bugs planted on purpose).
    rule
        The bounds of the verdicts.
    thorough, asked_planted
        Whether finer margins, and all mutations, were asked for.
    source
        The file of cases; None for the program's own.
    """

    false_alarm: float
    seed: int
    cases: Sequence[Case]
    rows: Sequence[Row]
    not_expressible: Sequence[tuple[str, str]]
    errors: Sequence[tuple[str, str]]
    planted: Sequence[Caught]
    wall_s: float
    rule: Rule
    thorough: bool
    asked_planted: bool
    source: Source | None

    @property
    def not_read(self) -> Mapping[str, Sequence[str]]:
        """By case, names in the file that mean nothing here."""
        return {case.id: case.not_read for case in self.cases if case.not_read}

    @property
    def not_compared(self) -> Mapping[str, Sequence[str]]:
        """Of each case that was run, the numbers in the file that no row is about."""
        measured: dict[str, set[str]] = {}
        for row in self.rows:
            # A quantity at a time, or by another way, is the same key of the file.
            name = re.sub(r"(\[.*\])?( \(clock\))?$", "", row.quantity)
            measured.setdefault(row.id, set()).add(name)
        left = dict[str, Sequence[str]]()
        for case in self.cases:
            if names := measured.get(case.id):
                known = names | {"t"} | {name + end for name in names for end in _ENDINGS}
                known |= {"table"} if "occupancy" in names else set()
                keys = [key for key, value in case.exact.items() if value is not None]
                left[case.id] = [escaped(key) for key in keys if key not in known]
        return {name: keys for name, keys in left.items() if keys}

    @property
    def passed(self) -> bool:
        """Whether something was run, all of it passed, and every planted bug tried was caught."""
        return len(self.rows) > 0 and not self.failed

    @property
    def failed(self) -> bool:
        """Whether anything did not pass or has no verdict, or a bug was planted in vain."""
        passed = all(row.verdict is Verdict.PASS for row in self.rows)
        return bool(self.errors) or not passed or any(bug.caught is False for bug in self.planted)

    @property
    def command(self) -> str:
        """What gives the same numbers again, with the same versions."""
        parts = ["synapse-abm", "validate", "--seed", str(self.seed)]
        if self.source is not None:
            parts += ["--cases", self.source.name]
        flags = {"--thorough": self.thorough, "--planted": self.asked_planted}
        return shlex.join(parts + [flag for flag, wanted in flags.items() if wanted])

    @property
    def margins(self) -> Mapping[str, float]:
        """Margins: of an occupancy or probability; relative ones of other numbers, of a variance,
        and of kinetics on a grid.
        """
        share, others = (FINER_OCCUPANCY, FINER) if self.thorough else (1.0, 1.0)
        return {
            "occupancy": OCCUPANCY.size / share, "other": RELATIVE.size / others,
            "variance": SPREAD.size / others, "grid_kinetics": KINETICS.size,
        }  # fmt: skip

    def power(self) -> Mapping[str, float]:
        """How often a number planned for would FAIL, or PASS, were it off by a share of its margin.

        On ideal data (normal, independent), each number by itself.
        """
        # By theory and not by simulation: a reader asks what a PASS is worth before believing it.
        power = {}
        for share in (0.5, 1.0):
            chance = chances(self.rule, share, 1.0, FIRST_SE)
            power[f"fails, off by {share:g} margin"] = round(chance.failed, 6)
            power[f"passes, off by {share:g} margin"] = round(chance.passed, 6)
        power["passes, if exact"] = round(chances(self.rule, 0.0, 1.0, FIRST_SE).passed, 9)
        return power

    def record(self) -> Mapping[str, Any]:
        """The contents of ``--json FILE``."""
        return {
            "false_alarm": self.false_alarm,
            "seed": self.seed,
            "thorough": self.thorough,
            "passed": self.passed if self.rows or self.failed else None,
            "wall_s": round(self.wall_s, 3),
            "command": self.command,
            "file": None if self.source is None else asdict(self.source),
            "versions": {"synapse_abm": code_version(), **versions()},
            "method": METHOD,
            "rule": {
                "looks": self.rule.stages, "growth": self.rule.growth, "tests": self.rule.tests,
                "fail_bound_se": self.rule.fail_bound(), "pass_bound_se": self.rule.pass_bound(),
            },
            "margins": self.margins,
            "power": self.power(),
            "cases": [_record(row) for row in self.rows],
            "not_expressible": [{"id": name, "why": why} for name, why in self.not_expressible],
            "not_compared": self.not_compared,
            "not_read": self.not_read,
            "errors": [{"id": name, "why": why} for name, why in self.errors],
            "planted": [bug.record() for bug in self.planted],
        }  # fmt: skip

    def html(self) -> str:
        """The contents of ``--html FILE``: one page that needs nothing else."""
        from synapse_abm.validation.page import html

        failed = any(row.verdict is Verdict.FAIL for row in self.rows)
        failed |= any(bug.caught is False for bug in self.planted)
        return html(
            self.rows, self.cases, report=self, power=self.power(),
            overall="PASS" if self.passed else "FAIL" if failed else "INCONCLUSIVE",
            nothing=not self.rows and not self.failed, counts=self._counts(),
            caught=sum(bug.caught is True for bug in self.planted),
            tried=sum(bug.caught is not None for bug in self.planted),
            versions={"synapse_abm": code_version(), **versions()},
        )  # fmt: skip

    def _counts(self) -> Mapping[Verdict, int]:
        """How often each verdict was reached, the best first."""
        counts = {v: sum(row.verdict is v for row in self.rows) for v in WORST_LAST}
        return {verdict: n for verdict, n in counts.items() if n}

    def text(self) -> str:
        """A line for each case, what did not pass, what was not run, and the verdict."""
        parts = [
            self._cases(),
            self._troubles(),
            "\n".join(f"ERROR: {name}: {why}" for name, why in self.errors),
            self._left_out(),
            self._not_compared(),
            self._planted(),
            self._verdict(),
        ]
        return "\n\n".join(part for part in parts if part)

    def _cases(self) -> str:
        header = ("case", "quantities", "observations", "largest |z|", "of", "verdict")
        lines = []
        for name in dict.fromkeys(row.id for row in self.rows):
            rows = [row for row in self.rows if row.id == name]
            largest = max(rows, key=lambda row: abs(row.z))
            most = max(row.observations for row in rows)
            lines.append(
                (
                    name, str(len(rows)), str(most), f"{abs(largest.z):.2f}", largest.quantity,
                    str(worst(rows)),
                )
            )  # fmt: skip
        return text_table(header, lines) if lines else ""

    def _troubles(self) -> str:
        return "\n".join(
            f"{row.verdict}: {row.id} {row.quantity} = {row.estimate:.6g} +- {row.se:.2g}, "
            f"exact {row.exact:.6g}, z = {row.z:.1f}, margin {row.margin:.2g}"
            for row in self.rows
            if row.verdict is not Verdict.PASS
        )

    def _left_out(self) -> str:
        reasons: dict[str, list[str]] = {}
        for name, why in self.not_expressible:
            reasons.setdefault(why, []).append(name)
        lines = [f"  {', '.join(names)}: {why}" for why, names in reasons.items()]
        return "\n".join(["Not run:", *lines]) if lines else ""

    def _not_compared(self) -> str:
        """Numbers of a user's file that no verdict is about; the program's own are known."""
        parts = []
        named = {"not compared with anything": self.not_compared, "not known here": self.not_read}
        for what, keys_of in named.items() if self.source is not None else ():
            lines = [f"  {n}: {', '.join(map(escaped, keys))}" for n, keys in keys_of.items()]
            parts += [f"In the file, and {what}:", *lines] if lines else []
        return "\n".join(parts)

    def _planted(self) -> str:
        if not self.planted:
            return ""
        header = ("planted bug", "case", "quantity", "largest |z|", "caught")
        lines = [
            (bug.mutation.name, bug.mutation.case, bug.quantity,
             f"{bug.z:.1f}" if bug.quantity else "", TOLD[bug.caught])
            for bug in self.planted
        ]  # fmt: skip
        table = text_table(header, lines)
        if any(bug.caught is None for bug in self.planted):
            table += "\nNot tried: these bugs must be compiled first, 15 s each, once: --planted"
        return table

    def _verdict(self) -> str:
        told = [f"{len(self.errors)} ERROR"] if self.errors else []
        told += [f"{n} {verdict}" for verdict, n in self._counts().items()]
        ending = f"seed {self.seed}, {self.wall_s:.0f} s"
        # No verdict is no success: the last line must not read like one.
        if not told:
            count = len({name for name, _ in self.not_expressible})
            return (
                f"nothing was judged: 0 cases run, {count} not run for the reasons above; this is "
                f"no PASS and no FAIL ({ending})"
            )
        return (
            f"{', '.join(told)}: {len(self.rows)} quantities of "
            f"{len({row.id for row in self.rows})} cases, false "
            f"alarm of all together {self.false_alarm:g}, {ending}"
        )


def _record(row: Row) -> Mapping[str, Any]:
    """A row as JSON has it."""
    names = ("id", "quantity", "estimate", "exact", "se", "z", "verdict", "margin", "observations")
    record = {name: getattr(row, name) for name in names}
    # What a solver made has other digits on another processor: these must not look like a change.
    return record | ({"exact": rounded(row.exact, SOLVED_DIGITS)} if row.solved else {})


TOLD = {True: "yes", False: "NO", None: "not tried"}
