"""What changes in time is judged by its own law: the course of a scenario beside exact theory."""

from __future__ import annotations

from typing import Any

import pytest

from synapse_abm.core.errors import InputError
from synapse_abm.synapse.scenario.file import parse_scenario


def tables(**more: Any) -> dict[str, Any]:
    """A scenario of one cell with a closed ligand and a clamped one, as its file would have it."""
    return {
        "grid": {"width": 1, "height": 1, "spacing": "1 um", "depth": "2 um"},
        "target": {"SERT": {"kind": "transporter", "sites": 20}},
        "ligand": {
            "drug": {"clamped": "5 nM", "binding": {"SERT": {"kd": "5 nM", "koff": "0.1 /s"}}},
            "label": {"count": 15, "binding": {"SERT": {"kd": "5 nM", "koff": "0.5 /s"}}},
        },
        "run": {"duration": "60 s", "sample_every": "1 s"},
    } | more


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"degradation": "1 /s"}, "label is released or degraded"),
        ({"binding": {"SERT": {"kd": "1 nM", "koff": "1 /s", "kcat": "1 /s"}}}, "is transported"),
        ({"binding": {"SERT": {"kon": "1 /(nM s)", "koff": "0 /s"}}}, "never lets go of SERT"),
    ],
)
def test_a_start_in_an_equilibrium_that_is_none_is_refused(
    more: dict[str, Any], reason: str
) -> None:
    told = tables(start={"state": "equilibrium"})
    parse_scenario(told)
    told["ligand"]["label"] |= more
    with pytest.raises(InputError, match=rf"start\.state .*{reason}"):
        parse_scenario(told)
