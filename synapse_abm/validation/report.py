"""The verdicts as a table for people and as a record for programs."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from synapse_abm.core.errors import escaped
from synapse_abm.core.text import text_table
from synapse_abm.runs.results import code_version, versions
from synapse_abm.statistics import Rule, Verdict, chances
from synapse_abm.validation.quantities import (
    FINER,
    FINER_OCCUPANCY,
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

METHOD = (
    "Every number is estimated from simulations and compared with its exact value, in up to five "
    "looks at samples that grow threefold. FAIL: off by more standard errors than chance explains, "
    "at a false-alarm rate stated for all numbers and looks together. PASS: within its margin with "
    "99.9 % confidence. INCONCLUSIVE: neither. Laws: chi-square, and their means as numbers."
)


@dataclass(frozen=True, slots=True)
class Caught:
    """A planted bug, the case that must catch it, and whether it did: where, and by how much.

    ``caught`` is None for a bug that was not tried; ``where`` says where it was planted, and
    ``without_chance`` which audit of the test suite finds it before any statistics, if one does.
    """

    bug: str
    caught_by: str
    caught: bool | None
    z: float = 0.0
    quantity: str = ""
    where: str = ""
    without_chance: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """Where cases were read from: the name of the file and the SHA-256 of its contents."""

    name: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What a validation concluded.

    Attributes
    ----------
    source
        The file of cases; None for the program's own.
    not_compared
        Of each case that was run, the numbers in the file that nothing was compared with.
    asked_planted
        Whether all planted bugs were asked for.
    errors
        Cases that failed while they were planned or run, or that gave what is not finite, and why.
    not_read
        By case, names in the file that mean nothing here.
    """

    false_alarm: float
    seed: int
    rows: Sequence[Row]
    not_expressible: Sequence[tuple[str, str]]
    planted: Sequence[Caught]
    wall_s: float
    thorough: bool = False
    rule: Rule = field(default_factory=Rule)
    titles: Mapping[str, str] = field(default_factory=dict)
    source: Source | None = None
    not_compared: Mapping[str, Sequence[str]] = field(default_factory=dict)
    asked_planted: bool = False
    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    errors: Sequence[tuple[str, str]] = ()
    not_read: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether something was run, all of it passed, and every planted bug tried was caught."""
        return len(self.rows) > 0 and not self.failed

    @property
    def failed(self) -> bool:
        """Whether anything did not pass or could not be judged, or a bug was planted in vain."""
        missed = any(each.caught is False for each in self.planted)
        return (
            bool(self.errors) or missed or any(row.verdict is not Verdict.PASS for row in self.rows)
        )

    @property
    def command(self) -> str:
        """What gives the same numbers again, with the same versions."""
        parts = ["synapse-abm", "validate", "--seed", str(self.seed)]
        if self.source is not None:
            parts += ["--cases", self.source.name]
        flags = {"--thorough": self.thorough, "--planted": self.asked_planted}
        return shlex.join(parts + [flag for flag, given in flags.items() if given])

    @property
    def margins(self) -> Mapping[str, float]:
        """Margins: of an occupancy or probability; of other numbers and of a variance, relative."""
        share, others = (FINER_OCCUPANCY, FINER) if self.thorough else (1.0, 1.0)
        return {
            "occupancy": OCCUPANCY.size / share, "other": RELATIVE.size / others,
            "variance": SPREAD.size / others,
        }  # fmt: skip

    def power(self) -> Mapping[str, float]:
        """How often a number planned for would FAIL, or PASS, were it off by a share of its margin.

        On ideal data (normal, independent), each number by itself.
        """
        found = {}
        for share in (0.5, 1.0):
            chance = chances(self.rule, share, 1.0, FIRST_SE)
            found[f"fails, off by {share:g} margin"] = round(chance.failed, 6)
            found[f"passes, off by {share:g} margin"] = round(chance.passed, 6)
        found["passes, if exact"] = round(chances(self.rule, 0.0, 1.0, FIRST_SE).passed, 9)
        return found

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
            "cases": [
                {
                    "id": row.id, "quantity": row.quantity, "estimate": row.estimate,
                    "exact": row.exact, "se": row.se, "z": row.z, "verdict": str(row.verdict),
                    "margin": row.margin, "observations": row.observations,
                }
                for row in self.rows
            ],
            "not_expressible": [{"id": name, "why": why} for name, why in self.not_expressible],
            "not_compared": self.not_compared,
            "not_read": self.not_read,
            "errors": [{"id": name, "why": why} for name, why in self.errors],
            "planted": [
                {
                    "bug": each.bug, "caught_by": each.caught_by, "caught": each.caught,
                    "quantity": each.quantity, "z": each.z, "planted_in": each.where,
                    "found_without_chance_by": each.without_chance or None,
                }
                for each in self.planted
            ],
        }  # fmt: skip

    def html(self) -> str:
        """The contents of ``--html FILE``: one page that needs nothing else."""
        from synapse_abm.validation.page import html

        rows, bugs = self.rows, self.planted
        failed = any(row.verdict is Verdict.FAIL for row in rows)
        failed |= any(bug.caught is False for bug in bugs)
        overall = "PASS" if self.passed else "FAIL" if failed else "INCONCLUSIVE"
        return html(
            rows, self.parameters, found=self, overall=overall, power=self.power(),
            nothing=not rows and not self.failed,
            counts={str(v): n for v in Verdict if (n := sum(row.verdict is v for row in rows))},
            caught=sum(bug.caught is True for bug in bugs),
            tried=sum(bug.caught is not None for bug in bugs),
            versions={"synapse_abm": code_version(), **versions()},
        )  # fmt: skip

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
            (
                each.bug, each.caught_by, each.quantity,
                f"{each.z:.1f}" if each.quantity else "", TOLD[each.caught],
            )
            for each in self.planted
        ]  # fmt: skip
        table = text_table(header, lines)
        if any(each.caught is None for each in self.planted):
            table += "\nNot tried: these bugs must be compiled first, 15 s each, once: --planted"
        return table

    def _verdict(self) -> str:
        counts = {v: sum(row.verdict is v for row in self.rows) for v in WORST_LAST}
        told = ", ".join(f"{n} {v}" for v, n in counts.items() if n)
        if self.errors:
            told = ", ".join([f"{len(self.errors)} ERROR", *([told] if told else [])])
        cases = len({row.id for row in self.rows})
        if not self.rows and not self.errors:
            count = len({name for name, _ in self.not_expressible})
            return (
                f"nothing was judged: 0 cases run, {count} not run for the reasons above; this is "
                f"no PASS and no FAIL (seed {self.seed}, {self.wall_s:.0f} s)"
            )
        return (
            f"{told}: {len(self.rows)} quantities of {cases} cases, false "
            f"alarm of all together {self.false_alarm:g}, seed {self.seed}, {self.wall_s:.0f} s"
        )


TOLD = {True: "yes", False: "NO", None: "not tried"}
