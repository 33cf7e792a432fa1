"""The guide: short pages of text, ``*.md`` in this folder, and how a terminal shows them.

The pages use little of Markdown, so little is read here: headings, paragraphs, lists, tables,
fenced blocks; links, figures, bold and ``<sub>`` within a line.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from synapse_abm.core.errors import UnknownName

#: Widest lines that are easy to read; the least width of a table's column.
WIDEST, NARROWEST_COLUMN = 100, 12
_WITHIN_LINES = [
    (re.compile(r"!\[([^]]*)\]\([^)]*\)"), r"[Figure: \1]"),
    (re.compile(r"\[([^]]*)\]\((https?://[^)]*)\)"), r"\1 (\2)"),
    (re.compile(r"\[([^]]*)\]\((?:\w+/)*(\w+)\.md\)"), r"\1 (guide \2)"),
    (re.compile(r"\[([^]]*)\]\([^)]*\)"), r"\1"),
    (re.compile(r"<sub>(.*?)</sub>"), r"_\1"),
    (re.compile(r"\*\*(.+?)\*\*|(?<!\w)\*([^*\s][^*]*)\*"), r"\1\2"),
]


def topics() -> dict[str, Path]:
    """The pages by the name of their topic, in order."""
    return {path.stem: path for path in sorted(Path(__file__).parent.glob("*.md"))}


def page(topic: str) -> str:
    """A page as it is written, in Markdown.

    Raises
    ------
    UnknownName
        If there is none of that name; offers the nearest ones.
    """
    pages = topics()
    name = topic.replace("-", "_").removesuffix(".md")
    if name not in pages:
        raise UnknownName("topic of the guide", topic, pages)
    return pages[name].read_text("utf-8")


def contents() -> str:
    """The topics with the titles of their pages."""
    titles = {name: path.read_text("utf-8").partition("\n")[0] for name, path in topics().items()}
    width = max(map(len, titles))
    return "\n".join(f"{name:{width}}  {_line(title[2:])}" for name, title in titles.items())


def as_text(markdown: str, width: int = WIDEST) -> str:
    """Markdown as text for a terminal of so many columns; fenced blocks keep their lines."""
    width = min(width, WIDEST)
    parts = re.split(r"^```\w*\n(.*?)^```\n?", markdown, flags=re.DOTALL | re.MULTILINE)
    shown = list[str]()
    # Text and blocks in turn, as a split with one group gives them.
    for number, part in enumerate(parts):
        shown += [textwrap.indent(part.rstrip(), "    ")] if number % 2 else _blocks(part, width)
    return "\n\n".join(shown)


def _blocks(markdown: str, width: int) -> Iterator[str]:
    """Paragraphs, headings, lists and tables, without what marks them."""
    for block in re.split(r"\n\s*\n|\n(?=#)|(?<=\n)(?=\|)(?<!\|\n)", markdown.strip()):
        lines = block.strip("\n").split("\n")
        if lines[0].startswith("#"):
            marks, _, title = lines[0].partition(" ")
            yield f"{_line(title)}\n{('=' if marks == '#' else '-') * len(_line(title))}"
            lines = lines[1:]
        if lines and lines[0].startswith("|"):
            yield _table(lines, width)
        elif "".join(lines).strip():
            yield "\n".join(_paragraph(item, width) for item in _items(lines))


def _items(lines: list[str]) -> Iterator[str]:
    """The items of a list, or a paragraph, each as one line."""
    number = 0

    def item(line: str) -> int:
        nonlocal number
        number += line.startswith("- ")
        return number

    for _, group in groupby(lines, item):
        yield " ".join(line.strip() for line in group)


def _paragraph(text: str, width: int) -> str:
    hanging = "  " if text.startswith("- ") else ""
    return textwrap.fill(_line(text), width, subsequent_indent=hanging, break_on_hyphens=False)


def _table(lines: list[str], width: int) -> str:
    """Columns side by side; the widest are wrapped until the table fits."""
    rows = [[_line(cell.strip()) for cell in line.strip("| ").split("|")] for line in lines]
    del rows[1]  # the rule below the header
    rows = [row + [""] * (len(rows[0]) - len(row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    while sum(widths) + 2 * (len(widths) - 1) > width and max(widths) > NARROWEST_COLUMN:
        widths[widths.index(max(widths))] -= 1
    shown = list[str]()
    for row in rows:
        cells = [
            textwrap.wrap(cell, w, break_on_hyphens=False) or [""]
            for cell, w in zip(row, widths, strict=True)
        ]
        for n in range(max(map(len, cells))):
            parts = (cell[n] if n < len(cell) else "" for cell in cells)
            shown.append("  ".join(f"{p:{w}}" for p, w in zip(parts, widths, strict=True)).rstrip())
        if row is rows[0]:
            shown.append("  ".join("-" * w for w in widths))
    return "\n".join(shown)


def _line(text: str) -> str:
    """A text without marks within it."""
    for pattern, replacement in _WITHIN_LINES:
        text = pattern.sub(replacement, text)
    return text
