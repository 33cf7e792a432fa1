"""The guide: shown in a terminal, generated pages as the program is, and every block of a page run.

Blocks of the pages that ``WALKED`` names are run in order, as a reader would: files written (by the
name in their first line), commands given, programs executed.
"""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import TypeAdapter, ValidationError

from synapse_abm import cli, guide, pharmacology
from synapse_abm.core.errors import UnknownName
from synapse_abm.core.quantity import unit_of
from synapse_abm.guide import generated
from synapse_abm.synapse.scenario.file import read_scenario
from synapse_abm.synapse.scenario.tables import RANGES, TableReader, key_of

WALKED = ["protocols", "drug_files", "writing_an_experiment", "scenarios", "cite"]
#: Pages whose programs test_readme runs, and judges, or test_mesa_viewer in a browser.
ELSEWHERE = {"mesa", "neuron", "time_step"}
#: Commands of the page on speed install other simulators.
NOT_RUN = {"speed"}


def blocks(topic: str) -> list[tuple[str, str]]:
    return re.findall(r"^```(\w*)\n(.*?)^```$", guide.page(topic), flags=re.DOTALL | re.MULTILINE)


# --- every block runs -----------------------------------------------------------------------------


@pytest.mark.parametrize("topic", WALKED)
def test_a_page_can_be_followed(
    topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for language, text in blocks(topic):
        named = re.match(r"# (\w+\.(?:py|toml))\n", text)
        if language == "sh":
            for line in text.splitlines():
                program, *arguments = shlex.split(line)
                assert (program, cli.main(arguments)) == ("synapse-abm", 0), line
        elif language == "toml":
            path = tmp_path / (named[1] if named else "mine.toml")
            path.write_text(text)
            drugs = "source" in tomllib.loads(text)
            _ = pharmacology.load_ligands(path) if drugs else read_scenario(path)
        elif named:
            (tmp_path / named[1]).write_text(text)
        else:
            assert language == "python"
            exec(compile(text, topic, "exec"), {"__name__": "guide"})


def test_all_pages_with_blocks_are_run_somewhere() -> None:
    pages = {topic for topic in guide.topics() if blocks(topic)}
    assert pages == {*WALKED} | ELSEWHERE | NOT_RUN


# --- generated pages ------------------------------------------------------------------------------


def test_generated_pages_say_what_the_program_does() -> None:
    for topic, text in generated.pages().items():
        assert guide.page(topic) == text, "run: python -m synapse_abm.guide.generated"


@pytest.mark.parametrize("model", generated.TABLES.values(), ids=lambda model: model.__name__)
def test_ranges_of_the_reference_are_those_of_the_reader(model: type) -> None:
    """At both ends and at zero, as the page says; beyond them never."""
    for field in model.model_fields:  # type: ignore[attr-defined]
        unit, text = unit_of(field), generated.allowed(model, field)
        if not unit or field == "times_s":
            continue
        low, high = RANGES[unit]
        for number in (0.0, low, high, low / 2, 2 * high, -low):
            reader, described = TableReader(), model.model_fields[field]  # type: ignore[attr-defined]
            read = reader.quantity(f"{number!r} {unit}", unit, (key_of(field),), bare=True)
            kind: Any = Annotated[described.annotation, *described.metadata, "of a field"]
            refused = bool(reader.faults)
            if not refused:
                try:
                    TypeAdapter(kind).validate_python(read)
                except ValidationError:
                    refused = True
            good = text.startswith("0, or") if number == 0 else low <= number <= high
            assert refused != good, (model, field, number, text)


def test_a_field_without_a_description_is_noticed() -> None:
    class Undescribed(generated.Grid):
        colour: str = "red"

    with pytest.raises(LookupError, match=r"Undescribed\.colour"):
        list(generated.meanings(Undescribed))


# --- in a terminal --------------------------------------------------------------------------------


def test_the_list_and_every_page_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["guide"]) == 0
    listed = capsys.readouterr().out
    assert all(f"\n{topic} " in f"\n{listed}" for topic in guide.topics())
    assert cli.main(["guide", "time-step"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("The time step\n=============\n")


def test_an_unknown_topic_offers_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["guide", "protocol"]) == 2
    assert "did you mean protocols?" in capsys.readouterr().err
    with pytest.raises(UnknownName):
        guide.page("../../README")


@pytest.mark.parametrize("topic", guide.topics())
@pytest.mark.parametrize("width", [60, 100])
def test_pages_fit_and_lose_nothing(topic: str, width: int) -> None:
    """No mark is left, no word is missing, and lines fit but those of blocks and long words."""
    page, shown = guide.page(topic), guide.as_text(guide.page(topic), width)
    for line in shown.splitlines():
        assert len(line) <= width or line.startswith("    ") or "  " in line.strip(), line
    prose = re.sub(r"^    .*$", "", shown, flags=re.MULTILINE)
    assert not re.search(r"\*\*|<sub>|\]\(|^#|^\|", prose, flags=re.MULTILINE)
    words = set(re.findall(r"[A-Za-z]{4,}", re.sub(r"\]\([^)]*\)|^```\w*", "", page, flags=re.M)))
    assert words <= set(re.findall(r"[A-Za-z]{4,}", shown))
    for _, block in blocks(topic):
        assert block.splitlines()[0] in shown


def test_text_of_each_kind_of_block() -> None:
    page = (
        "# A *title*\n\nSome **bold** K<sub>d</sub>\nin [Files](files.md), "
        "[here](https://x.org).\n\n- one\n  more\n- two\n\n| a | b |\n|---|---|\n| 1 | long one |\n"
        "\n```sh\n| as it is |\n```\nEnd.\n"
    )
    assert guide.as_text(page, 40) == (
        "A title\n=======\n\nSome bold K_d in Files (guide files),\nhere (https://x.org).\n\n"
        "- one more\n- two\n\na  b\n-  --------\n1  long one\n\n    | as it is |\n\nEnd."
    )
