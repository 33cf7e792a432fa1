"""Cases of group O that nobody has seen: arrangements drawn at random, with their exact numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from synapse_abm.core.arithmetic import SOLVED, rounded
from synapse_abm.validation.arrangement import Arrangement
from synapse_abm.validation.cases import Case

#: Slowest and fastest diffusion, um^2/s, and the width of the cells, um.
DIFFUSION, WIDTH = (0.05, 211.0), 0.1
#: Most cells of a side.
SIDE = 4


def drawn_cases(seed: int) -> list[Case]:
    """One molecule among sites at random, one that is transported or lost, and two molecules.

    Two molecules meet on few cells, where the master equation is small.
    """
    rng = np.random.default_rng([seed, 79])
    plain = {"koff": _between(rng, 0.3, 1.0)}
    lossy = {"koff": _between(rng, 0.05, 0.3), "kcat": _between(rng, 0.05, 0.2),
             "loss": _between(rng, 0.05, 0.2)}  # fmt: skip
    competitor = {"koff": _between(rng, 0.3, 1.0), "k_bind_in_cell_B": _between(rng, 0.3, 1.0),
             "koff_B": _between(rng, 0.1, 0.3), "L_B": 1}  # fmt: skip
    return [
        _drawn(rng, "O drawn 1", SIDE, plain, ("dissociation_t", "correlation_time")),
        _drawn(rng, "O drawn 2", SIDE, lossy, ("association_t", "free_t")),
        _drawn(rng, "O drawn 3", 2, competitor, ("association_B_t",)),
    ]


def _drawn(
    rng: np.random.Generator, name: str, side: int, rates: dict[str, Any], keys: tuple[str, ...]
) -> Case:  # fmt: skip
    shape = rng.integers(2, side + 1, size=2).tolist()
    cells = list(_cells(shape))
    # At least a site for every third cell: where binding is rare, numbers take many molecules. In
    # half of the cases several sites may share a cell.
    number = rng.integers(-(-len(cells) // 3), len(cells))
    sites = rng.choice(len(cells), size=number, replace=bool(rng.integers(2)))
    slow, fast = np.log(DIFFUSION)
    params = {
        "shape": shape, "h": WIDTH, "periodic": bool(rng.integers(2)),
        "D": _between(rng, float(np.exp(slow)), float(np.exp(fast))),
        "k_bind_in_cell": _between(rng, 0.5, 1.0), **rates,
        "sites": [list(cells[at]) for at in sorted(sites.tolist())], "t": [0.5, 1.0, 2.0],
    }  # fmt: skip
    case = Case("cases drawn at random", name, "O kinetics on grids", params, {}, title="drawn")
    numbers = Arrangement.of(case).exact(case.times())
    exact = {key: _plain(numbers[key]) for key in keys}
    return Case(case.source, name, case.group, params, exact, title="Drawn at random")


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    """A number evenly on a logarithmic scale, of few digits."""
    return float(f"{np.exp(rng.uniform(np.log(low), np.log(high))):.3g}")


def _cells(shape: list[int]) -> Iterator[tuple[int, int]]:
    return ((x, y) for y in range(shape[1]) for x in range(shape[0]))


def _plain(numbers: Any) -> Any:
    """Numbers as they would stand in a file."""
    return [_plain(x) for x in numbers] if np.ndim(numbers) else rounded(float(numbers), SOLVED)
