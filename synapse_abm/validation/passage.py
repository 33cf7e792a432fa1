"""First passages on a grid (J5, J6) and times until binding (K1): when is a molecule taken in?

A cell that absorbs holds a transporter that takes up whatever binds to it, at once. Molecules do
not get in each other's way there, so a thousand of them are followed together, and what is
observed is how many are still free at the end of each step. A passage between the ends of two steps
is not seen: the law of what is seen is known exactly (``theory.hop_react``), and the difference to
continuous time, which the step keeps small, is taken off.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from synapse_abm.statistics import Estimate
from synapse_abm.synapse.engine.simulation import Series, Simulation
from synapse_abm.synapse.engine.state import State
from synapse_abm.synapse.scenario import Ligand, Scenario, Target
from synapse_abm.theory import SteppedWaiting, Waiting
from synapse_abm.theory.hop_react import FirstBinding
from synapse_abm.validation.cases import Array, Case, NotRun, Steps, on_steps
from synapse_abm.validation.geometry import Place, first_binding, place_of
from synapse_abm.validation.quantities import (
    OCCUPANCY,
    RELATIVE,
    SPREAD,
    UNKNOWN,
    Measure,
    Number,
    less,
)
from synapse_abm.validation.relaxation import planned
from synapse_abm.validation.samples import Replicates, Sample
from synapse_abm.validation.scenarios import per_pair, put_into
from synapse_abm.validation.trials import (
    ASKED,
    DECIDING,
    SLACK,
    Observe,
    Parts,
    affordable,
    series,
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
#: "At once": events per step of a molecule that is in the cell, or is bound there.
AT_ONCE = 1e5
#: Events a molecule's step is worth.
STEP_COST = 0.1
#: Numbers that take the many observations of a spread.
SPREADS = ("var_unbound_time", "cv2_unbound_time")


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


def first_passage(case: Case) -> Parts:
    """Cases J5 (an end cell that absorbs) and J6 (mean time to one cell)."""
    place, diffusion = place_of(case), case.rate("D")
    target = case.cell("target", place.shape) if "target" in case.params else (0,)
    case.stop_if_faulty()
    cells, cell = place.grid.cells, place.number(target)
    if cells < 2:
        return
    even = Passage(place, diffusion, cell, math.inf, np.full(cells, 1 / cells))
    hops = 2 * len(place.shape) * diffusion / place.grid.spacing_um**2
    means = {"mean_uniform_start": 1.0, "hops_uniform": hops}
    yield from _trial(case, even, means, survival=case.exact.get("survival_t") is not None)
    if len(place.shape) == 1 and cell in (0, cells - 1):
        far = np.eye(cells)[cells - 1 - cell]
        other = Passage(place, diffusion, cell, math.inf, far)
        yield from _trial(case, other, {"mean_from_far_end": 1.0})


def binding_times(case: Case, place: Place, cell: int) -> Parts:
    """Case K1: time to bind from anywhere, and law of the time unbound, from the site's cell."""
    rate, diffusion, cells = case.rate("k_bind_in_cell"), case.rate("D"), place.grid.cells
    case.stop_if_faulty()
    anywhere = Passage(place, diffusion, cell, rate, np.full(cells, 1 / cells))
    yield from _trial(case, anywhere, {"mean_bind_time_uniform_start": 1.0})
    yield from _trial(case, Passage(place, diffusion, cell, rate, np.eye(cells)[cell]), {},
                      spreads=True)  # fmt: skip


# --- quantities -----------------------------------------------------------------------------------


def _means(case: Case, timed: Waiting, stepped: SteppedWaiting, scales: Mapping[str, float]
           ) -> list[Number]:  # fmt: skip
    """Mean times, each in a unit of its own; the error of one observation is exact."""
    # Molecules are independent and their law is known, so the error of a run's mean is exact.
    one = math.sqrt(stepped.var / MOLECULES)
    return [
        RELATIVE.number(case.id, key, exact, _shifted(
            "time", scale, scale * (stepped.mean - timed.mean), scale * one), solved=True)
        for key, scale in scales.items() if (exact := case.number(key)) is not None
    ]  # fmt: skip


def _spreads(case: Case, timed: Waiting, stepped: SteppedWaiting) -> list[Number]:
    shifts = {
        "var_unbound_time": (stepped.var - timed.var, _variance),
        "cv2_unbound_time":
            (stepped.var / stepped.mean**2 - timed.var / timed.mean**2, _relative_variance),
    }  # fmt: skip
    return [
        SPREAD.number(case.id, key, exact, less(measure, shift), solved=True)
        for key, (shift, measure) in shifts.items()
        if (exact := case.number(key)) is not None
    ]


def _survival(case: Case, times: Array, timed: Waiting, stepped: SteppedWaiting) -> list[Number]:
    # A run shows a molecule at the ends of steps: the law of that is what errors come from.
    seen = stepped.survival(np.round(times / stepped.step_s))
    shifts = seen - timed.survival(times)
    ones = np.sqrt(np.maximum(seen * (1 - seen), 0.0) / MOLECULES)
    return series(case, "survival_t", times, "survival", OCCUPANCY,
                  lambda i, _: _shifted(f"alive@{i}", 1.0, float(shifts[i]), float(ones[i])),
                  solved=True)  # fmt: skip


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
        return UNKNOWN
    return sample.estimate((second - 2 * s / m * (first - m)) / m**2 - 1)


# --- the trial ------------------------------------------------------------------------------------


def _trial(
    case: Case, passage: Passage, means: Mapping[str, float], *, survival: bool = False,
    spreads: bool = False,
) -> Parts:  # fmt: skip
    """What is measured on one kind of start."""
    times = case.times() if survival else np.zeros(0)
    wanted = SPREADS if spreads else means
    case.stop_if_faulty()
    if not survival and all(case.number(key) is None for key in wanted):
        return
    law, start = passage.law, passage.start
    try:
        dt = _step(passage, law, times)
        # Affordable at all? Modes of a large grid take minutes, and a mean seconds.
        per_observation = (MOLECULES * STEP_COST + 200) * planned(law.mean_in_steps(start, dt) / dt)
        if not spreads and (cost := FIRST * DECIDING * per_observation) > affordable(case):
            raise NotRun(too_long(cost))
    except NotRun as why:  # what starts elsewhere may be run all the same
        yield why
        return
    timed, stepped = law.wait(start), law.wait_in_steps(start, dt)
    first = max(FIRST, _for_spreads(timed)) if spreads else FIRST
    numbers = _spreads(case, timed, stepped) if spreads else _means(case, timed, stepped, means)
    numbers += _survival(case, times, timed, stepped) if survival else []
    records = np.round(times / dt).astype(np.int64)
    yield from trial(case, numbers, first, _watched(passage, dt, records), per_observation)


def _for_spreads(law: Waiting) -> int:
    """First look at variances of a time: rare long times make their error large."""
    one = math.sqrt((planned(law.kurtosis) - 1) / MOLECULES)  # relative error of one run's variance
    return math.ceil(1.2 * ((SLACK + ASKED) * one / SPREAD.size) ** 2 / DECIDING)


def _step(passage: Passage, law: FirstBinding, times: Array) -> float:
    """A step in which little happens, and of which all times are multiples."""
    # A molecule that would cross the absorbing cell within a step is not caught there: few hops a
    # step keep that rare, and the exact correction small.
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
    common, _ = on_steps(times, most_steps=2000)
    return common / math.ceil(common / longest)


def _watched(passage: Passage, dt: float, records: Steps) -> Observe:
    """Runs of many molecules until the last one has been taken in; each an observation."""
    at_once = AT_ONCE / dt
    rate = min(passage.rate, at_once)
    grid, cell = passage.place.grid, passage.cell
    # What binds is transported at once, and destroyed inside: no molecule meets another.
    taken = per_pair(rate, 0.0, max(at_once, 1e4 * rate), grid=grid)
    molecule = Ligand(
        count=MOLECULES, diffusion_um2_per_s=passage.diffusion, binding={"T": taken},
        metabolism_per_s=at_once,
    )  # fmt: skip
    site = Target(cells=((cell % grid.width, cell // grid.width),))
    scenario = Scenario(grid=grid, targets={"T": site}, ligands={"L": molecule}, dt_s=dt)

    def scatter(state: State, generator: np.random.Generator) -> None:
        cells = generator.choice(passage.start.size, MOLECULES, p=passage.start)
        put_into(state, cells, grid.width)

    def read(simulation: Simulation, _: Series) -> Mapping[str, Array]:
        # To the last molecule: cutting rare long times off would bias every moment.
        alive, chunk = [np.array([MOLECULES])], 256
        while alive[-1][-1] > 0:
            series = simulation.run(chunk, every=1)
            alive.append(series.free("L") + series.bound("T", "L"))
        left = np.concatenate(alive) / MOLECULES
        steps = np.arange(left.size)
        columns = {f"alive@{i}": left[at] if at < left.size else 0.0
                   for i, at in enumerate(records)}  # fmt: skip
        # E N = sum of P(N > k), and E N**2 = sum of (2 k + 1) P(N > k), over k = 0, 1 ...
        columns["time"] = dt * left.sum()
        columns["square"] = dt**2 * ((2 * steps + 1) * left).sum()
        return {name: np.array([value], dtype=np.float64) for name, value in columns.items()}

    return partial(Replicates, scenario, read=read, prepare=scatter)
