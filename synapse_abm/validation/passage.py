"""First passages on a grid (J5, J6) and times until binding (K1): when is a molecule taken in?

A cell that absorbs holds a transporter that carries inside whatever binds to it, at once. Molecules
do not get in each other's way there, so a thousand of them are followed together, and what is
observed is how many are still free at the end of each step. A passage between the ends of two steps
is not seen: the law of what is seen is known exactly (``theory.hop_react``), and the difference to
continuous time, which the step keeps small, is taken off.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from synapse_abm.core.address import Address
from synapse_abm.statistics import Estimate
from synapse_abm.synapse.engine import layout as lay
from synapse_abm.synapse.engine.simulation import Series, Simulation
from synapse_abm.synapse.engine.state import State
from synapse_abm.synapse.scenario import Ligand, Scenario, Target
from synapse_abm.theory import SteppedWaiting, Waiting
from synapse_abm.theory.hop_react import FirstBinding
from synapse_abm.validation.cases import Array, Case, common_step
from synapse_abm.validation.geometry import Place, first_binding, place_of, why_not
from synapse_abm.validation.quantities import RELATIVE, SPREAD, Measure, Number, share
from synapse_abm.validation.relaxation import planned
from synapse_abm.validation.samples import Replicates, Sample
from synapse_abm.validation.scenarios import per_pair
from synapse_abm.validation.trials import (
    ASKED,
    DECIDING,
    SLACK,
    Plan,
    affordable,
    too_long,
    trial,
)

#: Molecules followed together.
MOLECULES = 1024
FIRST = 6
#: Hops (per direction), bindings in the cell and share of the passage time within one step.
HOPS, BINDINGS, SHARE = 0.1, 0.1, 0.02
#: More hops where the mean is seen at most so much too long for all that (it is taken off).
SHIFT = 0.02
#: "At once": events per step of a molecule that is in the cell, or is held there.
AT_ONCE = 1e5
#: Events a molecule's step is worth.
STEP_COST = 0.1


@dataclass(frozen=True, slots=True)
class Passage:
    """Molecules that start somewhere and are taken in by one cell.

    Parameters
    ----------
    start
        The law over the cells at time zero.
    rate
        At which a molecule in the cell is taken in (1/s); infinite: at once.
    """

    place: Place
    diffusion: float
    cell: int
    rate: float
    start: Array

    @property
    def law(self) -> FirstBinding:
        """What is exact about it."""
        return first_binding(self.place.grid, self.diffusion, self.cell, self.rate)


def first_passage(case: Case) -> Plan:
    """Cases J5 (an end cell that absorbs) and J6 (mean time to one cell)."""
    if why := why_not(case):
        return Plan(left_out=[(case.id, why)])
    place, diffusion = place_of(case), case.rate("D")
    target = _cell(case, "target", place) if "target" in case.params else (0,)
    if case.faults or place.grid.cells < 2:
        return Plan()
    cell = place.number(target)
    uniform = np.full(place.grid.cells, 1 / place.grid.cells)
    even = Passage(place, diffusion, cell, math.inf, uniform)
    claims = [_mean(case, "mean_uniform_start")]
    hops = 2 * len(place.shape) * diffusion / place.grid.spacing_um**2
    claims.append(_mean(case, "hops_uniform", hops))
    found = _trial(case, even, claims, case.exact.get("survival_t") is not None)
    far = np.zeros(place.grid.cells)
    far[-1 if cell == 0 else 0] = 1.0
    if len(place.shape) == 1 and cell in (0, place.grid.cells - 1):
        other = Passage(place, diffusion, cell, math.inf, far)
        found.add(_trial(case, other, [_mean(case, "mean_from_far_end")]))
    return found


def binding_times(case: Case, place: Place, cell: int) -> Plan:
    """Case K1: time to bind from anywhere, and law of the time unbound, from the site's cell."""
    rate, diffusion = case.rate("k_bind_in_cell"), case.rate("D")
    if case.faults:
        return Plan()
    anywhere = np.full(place.grid.cells, 1 / place.grid.cells)
    there = np.zeros(place.grid.cells)
    there[cell] = 1.0
    found = _trial(
        case, Passage(place, diffusion, cell, rate, anywhere),
        [_mean(case, "mean_bind_time_uniform_start")],
    )  # fmt: skip
    unbound = [
        _spread(case, "var_unbound_time", lambda law: law.var, _variance),
        _spread(case, "cv2_unbound_time", lambda law: law.var / law.mean**2, _relative_variance),
    ]
    found.add(_trial(case, Passage(place, diffusion, cell, rate, there), unbound, spreads=True))
    return found


def _cell(case: Case, name: str, place: Place) -> tuple[int, ...]:
    at = case.wholes(name, (len(place.shape),), 0, max(place.shape) - 1)
    if all(x < n for x, n in zip(at, place.shape, strict=True)):
        return at
    case.cells(name, place.shape)  # notes the fault with the allowed range
    return (0,) * len(place.shape)


# --- quantities -----------------------------------------------------------------------------------

type Part = Callable[[Waiting, SteppedWaiting], Number]  # from the laws in time and in steps


def _mean(case: Case, key: str, scale: float = 1.0) -> Part | None:
    exact = case.number(key)
    if exact is None:
        return None

    def part(timed: Waiting, stepped: SteppedWaiting) -> Number:
        one = scale * math.sqrt(stepped.var / MOLECULES)
        measure = _shifted("time", scale, scale * (stepped.mean - timed.mean), one)
        return Number(case.id, key, exact, RELATIVE * abs(exact), measure)

    return part


def _spread(
    case: Case,
    key: str,
    of: Callable[[Waiting | SteppedWaiting], float],
    measure: Callable[[Sample], Estimate],
) -> Part | None:
    exact = case.number(key)
    if exact is None:
        return None

    def part(timed: Waiting, stepped: SteppedWaiting) -> Number:
        shift = of(stepped) - of(timed)

        def corrected(sample: Sample) -> Estimate:
            found = measure(sample)
            return Estimate(found.value - shift, found.se, found.dof)

        return Number(case.id, key, exact, SPREAD * abs(exact), corrected)

    return part


def _shifted(column: str, scale: float, shift: float, one: float) -> Measure:
    """Mean of a column less the shift; ``one`` is the exact error of one observation."""

    def measure(sample: Sample) -> Estimate:
        value = scale * float(sample[column].mean()) - shift
        return Estimate(value, one / math.sqrt(sample.size))

    return measure


def _variance(sample: Sample) -> Estimate:
    first, second = sample["time"], sample["square"]
    m = float(first.mean())
    return sample.estimate(second - 2 * m * (first - m) - m**2)


def _relative_variance(sample: Sample) -> Estimate:
    first, second = sample["time"], sample["square"]
    m, s = float(first.mean()), float(second.mean())
    if m == 0:
        return Estimate(0.0, math.inf)
    return sample.estimate((second - 2 * s / m * (first - m)) / m**2 - 1)


# --- the trial ------------------------------------------------------------------------------------


def _trial(
    case: Case, passage: Passage, parts: list[Part | None], survival: bool = False,
    spreads: bool = False,
) -> Plan:  # fmt: skip
    """What is measured on one kind of start."""
    wanted = [part for part in parts if part is not None]
    times = case.times("params") if survival else np.zeros(0)
    if case.faults or not (wanted or survival):
        return Plan()
    law, start = passage.law, passage.start
    dt = _step(passage, law, times)
    if dt is None:
        return Plan(left_out=[(case.id, "its times have no common step")])
    # Affordable at all? Modes of a large grid take minutes, and a mean seconds.
    cost = DECIDING * (MOLECULES * STEP_COST + 200) * planned(law.mean_in_steps(start, dt) / dt)
    if not spreads and FIRST * cost > affordable(case):
        return Plan(left_out=[(case.id, too_long(FIRST * cost))])
    timed, stepped = law.wait(start), law.wait_in_steps(start, dt)
    first = max(FIRST, _for_spreads(timed)) if spreads else FIRST
    numbers = [part(timed, stepped) for part in wanted]
    numbers += _survival(case, times, timed, stepped)
    watched = _Watched(passage, dt, times)
    return trial(case, numbers, first, watched.observe, first * cost)


def _for_spreads(law: Waiting) -> int:
    """First look at variances of a time: rare long times make their error large."""
    one = math.sqrt((planned(law.kurtosis) - 1) / MOLECULES)  # relative error of one run's variance
    return math.ceil(1.2 * ((SLACK + ASKED) * one / SPREAD) ** 2 / DECIDING)


def _survival(case: Case, times: Array, timed: Waiting, stepped: SteppedWaiting) -> list[Number]:
    exact = case.series("survival_t", times.size) if times.size else None
    if exact is None:
        return []
    found = []
    seen = stepped.survival(np.round(times / stepped.step_s))
    for i, (t, alive, exactly) in enumerate(
        zip(times, seen.tolist(), timed.survival(times).tolist(), strict=True)
    ):
        one = math.sqrt(max(alive * (1 - alive), 0.0) / MOLECULES)
        measure = _shifted(f"alive@{i}", 1.0, alive - exactly, one)
        found.append(share(case.id, f"survival[t={t:g}]", float(exact[i]), measure))
    return found


def _step(passage: Passage, law: FirstBinding, times: Array) -> float | None:
    """A step in which little happens, and of which all times are multiples."""
    hops = HOPS * passage.place.grid.spacing_um**2 / passage.diffusion
    mean = law.mean(passage.start)
    # The shift is nearly proportional to the step.
    shift = law.mean_in_steps(passage.start, hops) / mean - 1
    longest = min(hops * max(1.0, SHIFT / max(shift, 1e-3)), SHARE * mean)
    if math.isfinite(passage.rate):
        longest = min(longest, BINDINGS / passage.rate)
    longest = planned(longest)
    if not times.size:
        return longest
    common = common_step(times, most_steps=2000)
    return None if common is None else common / math.ceil(common / longest)


class _Watched:
    """Runs of many molecules until the last one has been taken in."""

    def __init__(self, passage: Passage, dt: float, times: Array) -> None:
        self._passage, self._dt = passage, dt
        self._records = np.round(times / dt).astype(np.int64)
        at_once = AT_ONCE / dt
        rate = min(passage.rate, at_once)
        grid, cell = passage.place.grid, passage.cell
        taken = per_pair(rate, 0.0, max(at_once, 1e4 * rate), grid=grid)
        molecule = Ligand(
            count=MOLECULES, diffusion_um2_per_s=passage.diffusion, binding={"T": taken},
            metabolism_per_s=at_once,
        )  # fmt: skip
        at = (cell % grid.width, cell // grid.width)
        self._scenario = Scenario(
            grid=grid, targets={"T": Target(cells=(at,))}, ligands={"L": molecule}, dt_s=dt
        )

    def observe(self, address: Address, kernels: ModuleType | None) -> Sample:
        """Replicates, each an average over its molecules."""
        return Replicates(
            self._scenario, address, kernels, steps=0, read=self._read, prepare=self._scatter
        )

    def _scatter(self, state: State, generator: np.random.Generator) -> None:
        cells = generator.choice(self._passage.start.size, MOLECULES, p=self._passage.start)
        put_into(state, cells, self._passage.place.grid.width)

    def _read(self, simulation: Simulation, _: Series) -> Mapping[str, Array]:
        alive, chunk = [np.array([MOLECULES])], 256
        while alive[-1][-1] > 0:
            series = simulation.run(chunk, every=1)
            alive.append(series.free("L") + series.bound("T", "L"))
        left = np.concatenate(alive) / MOLECULES
        steps = np.arange(left.size)
        columns = {f"alive@{i}": left[at] if at < left.size else 0.0
                   for i, at in enumerate(self._records)}  # fmt: skip
        columns["time"] = self._dt * left.sum()
        columns["square"] = self._dt**2 * ((2 * steps + 1) * left).sum()
        return {name: np.array([value], dtype=np.float64) for name, value in columns.items()}


def put_into(state: State, cells: lay.I64, width: int) -> None:
    """Put the molecules of a place, all free, into cells of a grid ``width`` cells wide."""
    mol = state.store.molecules
    rows = state.all_rows()
    mol[lay.CELL, rows] = cells
    mol[lay.Y, rows], mol[lay.X, rows] = np.divmod(cells, width)
