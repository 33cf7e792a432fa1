"""Grids of the cases: rows of cells or rectangles, walls that reflect or wrap, cells by number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from synapse_abm.synapse.scenario import Grid
from synapse_abm.validation.cases import Case

MOST_CELLS = LONGEST_SIDE = 2500
THREE_DIMENSIONS = "three dimensions; a place is a grid of two"


class Place(NamedTuple):
    """A grid and the coordinates its cells have in the case: one in a row, two in a rectangle."""

    grid: Grid
    shape: tuple[int, ...]

    def xy(self, cell: Sequence[int]) -> tuple[int, int]:
        """Column and row of a cell; a row of cells is one cell high."""
        x, y = (*cell, 0)[:2]
        return x, y

    def number(self, cell: Sequence[int]) -> int:
        """The cell's place in the order of the program: row by row."""
        x, y = self.xy(cell)
        return y * self.grid.width + x


def place_of(case: Case, *, spacing: bool = True) -> Place:
    """The grid of a case, from ``shape`` or the number of cells ``M``; without walls they reflect.

    Parameters
    ----------
    spacing
        Whether the case must say how wide a cell is (``h``); 1 um otherwise.
    """
    if "shape" in case.params:
        shape = case.wholes("shape", (1, 2), 1, LONGEST_SIDE)
    else:
        shape = (case.count("M", 1),)
    if max(shape) > LONGEST_SIDE:
        shape = (1,)  # refused below as too large; nothing is built of it
    width, height = (*shape, 1)[:2]
    grid = Grid(
        width=width, height=height,
        spacing_um=case.rate("h") if spacing or "h" in case.params else 1.0,
        walls="periodic" if case.flag("periodic", False) else "reflecting",
    )  # fmt: skip
    return Place(grid, tuple(shape))


def why_not(case: Case) -> str:
    """Why a case's grid cannot be built; empty if it can."""
    shape = case.params.get("shape")
    if isinstance(shape, list) and len(shape) == 3:
        return THREE_DIMENSIONS
    sides = shape if isinstance(shape, list) else [case.params.get("M", 1)]
    size = 1
    for side in sides:
        size *= side if isinstance(side, int) and side > 0 else 1
    if size > MOST_CELLS:
        return f"not run in this release; its grid has more than {MOST_CELLS} cells"
    return ""
