"""The verdicts as a table for people and as a record for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from synapse_abm.results import text_table
from synapse_abm.statistics import Rule, Verdict
from synapse_abm.validation.quantities import Row


@dataclass(frozen=True, slots=True)
class Caught:
    """A planted bug, the case that must catch it, and whether it did: where, and by how much.

    ``caught`` is None for a bug that was not tried.
    """

    bug: str
    caught_by: str
    caught: bool | None
    z: float = 0.0
    quantity: str = ""


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What a validation concluded."""

    false_alarm: float
    seed: int
    rows: Sequence[Row]
    not_expressible: Sequence[tuple[str, str]]
    planted: Sequence[Caught]
    wall_s: float
    thorough: bool = False
    rule: Rule = field(default_factory=Rule)
    titles: Mapping[str, str] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether every quantity passed and every planted bug that was tried was caught."""
        agreed = all(row.verdict is Verdict.PASS for row in self.rows)
        return agreed and all(each.caught is not False for each in self.planted)

    def record(self) -> Mapping[str, Any]:
        """The contents of ``--json FILE``."""
        return {
            "false_alarm": self.false_alarm,
            "seed": self.seed,
            "thorough": self.thorough,
            "passed": self.passed,
            "wall_s": round(self.wall_s, 3),
            "cases": [
                {
                    "id": row.id, "quantity": row.quantity, "estimate": row.estimate,
                    "exact": row.exact, "se": row.se, "z": row.z, "verdict": str(row.verdict),
                    "margin": row.margin, "observations": row.observations,
                }
                for row in self.rows
            ],
            "not_expressible": [{"id": name, "why": why} for name, why in self.not_expressible],
            "planted": [
                {
                    "bug": each.bug, "caught_by": each.caught_by, "caught": each.caught,
                    "quantity": each.quantity, "z": each.z,
                }
                for each in self.planted
            ],
        }  # fmt: skip

    def html(self) -> str:
        """The contents of ``--html FILE``: one page that needs nothing else."""
        from synapse_abm.validation.page import html

        return html(self)

    def text(self) -> str:
        """A line for each case, what did not pass, what was not run, and the verdict."""
        parts = [
            self._cases(),
            self._troubles(),
            self._left_out(),
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
        counts = {v: sum(row.verdict is v for row in self.rows) for v in _ORDER}
        told = ", ".join(f"{n} {v}" for v, n in counts.items() if n)
        cases = len({row.id for row in self.rows})
        return (
            f"{told or 'nothing was run'}: {len(self.rows)} quantities of {cases} cases, false "
            f"alarm of all together {self.false_alarm:g}, seed {self.seed}, {self.wall_s:.0f} s"
        )


TOLD = {True: "yes", False: "NO", None: "not tried"}


def worst(rows: Sequence[Row]) -> Verdict:
    """The verdict on all of them: the worst there is."""
    return max((row.verdict for row in rows), key=_ORDER.index)


_ORDER = [Verdict.PASS, Verdict.CONTINUE, Verdict.INCONCLUSIVE, Verdict.FAIL]
