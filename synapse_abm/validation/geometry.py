"""Grids of the cases: rows of cells or rectangles, walls that reflect or wrap, cells by number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from synapse_abm.synapse.scenario import Grid, Scenario
from synapse_abm.theory.hop_react import FirstBinding, HopReact, Walk
from synapse_abm.validation.cases import Case, NotRun
from synapse_abm.validation.relaxation import planned

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

    Raises
    ------
    NotRun
        If it has three dimensions, or more cells than the exact laws are worked out for.
    """
    shape = case.params.get("shape")
    sides = shape if isinstance(shape, list) else [case.params.get("M", 1)]
    if isinstance(shape, list) and len(shape) == 3:
        raise NotRun(THREE_DIMENSIONS)
    # Asked before the sides are checked: of a grid that is too large nothing must be built, and
    # what is no side at all (text, a negative number) is told as a fault below.
    if math.prod(n for n in sides if isinstance(n, int) and n > 0) > MOST_CELLS:
        raise NotRun(f"not run in this release; its grid has more than {MOST_CELLS} cells")
    if "shape" in case.params:
        shape = case.wholes("shape", (1, 2), 1, LONGEST_SIDE)
    else:
        shape = (case.count("M", 1),)
    if max(shape) > LONGEST_SIDE:
        shape = (1,)  # noted as a fault; nothing is built of it
    width, height = (*shape, 1)[:2]
    grid = Grid(
        width=width, height=height,
        spacing_um=case.rate("h") if spacing or "h" in case.params else 1.0,
        walls="periodic" if case.flag("periodic", False) else "reflecting",
    )  # fmt: skip
    return Place(grid, tuple(shape))


def first_binding(grid: Grid, diffusion: float, cell: int, rate: float) -> FirstBinding:
    """A molecule on a grid until it is taken in by one cell, at ``rate`` (1/s) or at once (inf)."""
    binding = np.zeros(grid.cells)
    binding[cell] = rate
    return FirstBinding(_walk(grid, diffusion), binding)


def memory_steps(scenario: Scenario) -> float:
    """Steps in which a molecule of "L" that is alone among the sites "T" forgets where it was."""
    grid, ligand, places = scenario.grid, scenario.ligands["L"], scenario.targets["T"].cells or ()
    kinetics = ligand.binding["T"]
    at = np.array([y * grid.width + x for x, y in places])
    binding = np.full(at.size, kinetics.kon * grid.cells / grid.molecules_per_nM)
    chain = HopReact(_walk(grid, ligand.diffusion_um2_per_s), at, binding, kinetics.koff)
    # From an eigenvalue, and the number of steps of a sample hangs on it.
    return planned(chain.memory_steps(scenario.dt_s))


def _walk(grid: Grid, diffusion: float) -> Walk:
    return Walk(grid.width, grid.height, diffusion / grid.spacing_um**2, grid.walls)
