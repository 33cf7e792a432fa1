"""The verdicts as one page of HTML that needs nothing else: no script, no font, no picture file.

The words and the layout are in ``page.html.jinja``; this gathers what they are about. Jinja escapes
whatever it is given, names and titles of a stranger's file among them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from synapse_abm.core.errors import escaped
from synapse_abm.validation.cases import Case
from synapse_abm.validation.figures import picture, z_histogram
from synapse_abm.validation.quantities import Row, worst

#: The audits of the test suite that find planted bugs without chance.
AUDITS = {"rates": "audit of rates", "kernel": "audit of the kernel", "": ""}


def html(rows: Sequence[Row], cases: Sequence[Case], **named: Any) -> str:
    """The report as the text of one self-contained page; ``named`` is what the template names."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    # StrictUndefined: a name the template gets wrong is an error of the tests, not a gap in the
    # page.
    environment = Environment(
        loader=PackageLoader("synapse_abm.validation", "."), autoescape=True,
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    return environment.get_template("page.html.jinja").render(
        histogram=z_histogram(rows) if rows else "",
        cards=[
            _card(case, of_case)
            for case in cases
            if (of_case := [row for row in rows if row.id == case.id])
        ],
        audits=AUDITS,
        **named,
    )


def _card(case: Case, rows: Sequence[Row]) -> Mapping[str, Any]:
    """What the page says of a case."""
    drawn, caption = picture(rows)
    return {
        "name": case.id,
        "title": case.title,
        "verdict": worst(rows),
        "picture": drawn,
        "caption": caption,
        "largest": max(rows, key=lambda row: abs(row.z)),
        "observations": max(row.observations for row in rows),
        "rows": rows,
        "has_law": any(row.frequencies is not None for row in rows),
        "parameters": ", ".join(f"{escaped(k)} = {_short(v)}" for k, v in case.params.items()),
    }


def _short(value: object) -> str:
    text = escaped(json.dumps(value))
    return text if len(text) <= 100 else f"{text[:97]}..."
