"""Weeks of treatment: windows of the molecular neuron drive the slow variables, which set the next.

The fast loop settles within a minute, the slow one takes weeks. So the course is cut into steps; in
each, every replicate (an independent neuron) runs one window of the molecular simulation at that
time's drug and slow variables. Averages over the window of the slow right-hand sides, not of their
inputs, carry the slow variables over the step. The state of molecules and sites is carried from
window to window. Error bands are those of the mean of independent replicates (Student's t). Each
replicate starts from an estimate of the baseline of its own, from a part of the calibrating run, so
that bands hold what is uncertain about the baseline too.

Steps are short where the mean-field solution changes fast. Windows of a step are spread over it,
another phase for each replicate, so that a drug taken daily is met at all times of day.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from synapse_abm.core import terminal
from synapse_abm.core.errors import SynapseError
from synapse_abm.core.files import file_path, write_atomic
from synapse_abm.core.sealed import CheckpointError, Header, check_arrays, contents, opened, sealed
from synapse_abm.neuron.calibration import Calibration, calibrate, factors_of_theory
from synapse_abm.neuron.engine.simulation import COLUMNS, MOST_RATE, NeuronEngine, in_units
from synapse_abm.neuron.engine.simulation_grid import neuron_simulation
from synapse_abm.neuron.ligands import at_autoreceptor, at_sert
from synapse_abm.neuron.meanfield.equations import hill, sensitivity_target
from synapse_abm.neuron.meanfield.lna import noisy_course, settling_s
from synapse_abm.neuron.meanfield.ode import (
    Level,
    Modes,
    Setting,
    activation,
    jacobian,
    relaxations_s,
    response_at,
    settled,
)
from synapse_abm.neuron.scenario import (
    AT_REST,
    DAY_S,
    FAST,
    SLOW,
    Exposure,
    receptor_kd_nM,
    receptor_occupancy,
)
from synapse_abm.neuron.slow import advanced, slow_inputs
from synapse_abm.runs.results import Table
from synapse_abm.statistics import student_quantile
from synapse_abm.synapse.engine.invariants import InvariantError
from synapse_abm.synapse.engine.layout import F64
from synapse_abm.treatment.treatment import Treatment, acting, mean_field

if TYPE_CHECKING:
    from synapse_abm.core.progress import Progress

MAGIC = b"synapse_abm course 1\n"
LONGEST_SETTLE_S = 3600.0  # before a window is read
RESIDUAL_TRANSIENT = 0.005  # share of baseline that may be left of a change when a window is read
#: Edges of steps come from an ODE solver, which takes other steps on another processor: its results
#: then differ by up to twice this tolerance, and an edge by 2e-5 s in six weeks. They are multiples
#: of a power of ten near a thousandth of the mean step (10 s there), so that 1 in 10**5 would move.
EDGE_RTOL = 1e-11
SOON_S = 900.0  # after a jump, from where on hours can be read

#: What a course reports, by window and replicate.
QUANTITIES = (
    "concentration_nM", "terminal_occupancy", "soma_occupancy", "receptor_occupancy", "rate_Hz",
    "terminal_nM", "soma_nM", *SLOW,
)  # fmt: skip


# --- the grid of steps ----------------------------------------------------------------------------


def step_edges_s(treatment: Treatment) -> F64:
    """Edges of the steps, shape (windows + 1,): every step sees an equal share of what happens.

    What happens is a third time itself, a third the logarithm of time since the start or the last
    jump (plus 15 min, so that hours can be read), and a third the mean field's change in serotonin,
    rate and slow variables, each over its range.
    """
    end = treatment.days * DAY_S
    inside = sorted({day for day in treatment.breaks_days if 0 < day < treatment.days})
    jumps = [0.0, *(day * DAY_S for day in inside)]
    # Even points, and more and more of them towards each jump, from a minute after it on.
    fine = np.unique(np.concatenate([
        np.linspace(0, end, 1501),
        *(j + np.geomspace(60.0, end - j, 200) for j in jumps),
        np.array(jumps),
    ]))  # fmt: skip
    fine = fine[fine <= end]
    solution = mean_field(treatment, fine, EDGE_RTOL)
    since = np.array([t - max(j for j in jumps if j <= t) for t in fine[:-1]])
    moved = np.zeros(fine.size - 1)
    for name in ("rate_Hz", "terminal_nM", "soma_nM", *SLOW):
        span = np.ptp(solution[name])
        # A quantity that stays has no range to measure change by: it would be the solver's noise.
        if span > 1e-6 * abs(solution[name][0]) + 1e-9:
            moved += np.abs(np.diff(solution[name])) / span
    moved[since < SOON_S] = 0.0  # the fast loop settles there; windows take care of that
    # The difference of log(since + SOON_S) over each piece.
    logarithm = np.log1p(np.diff(fine) / (since + SOON_S))
    parts = [np.diff(fine), logarithm, moved]
    density = sum(part / part.sum() for part in parts if part.sum() > 0)
    reached = np.concatenate([[0.0], np.cumsum(density)])
    edges = np.interp(np.linspace(0, reached[-1], treatment.windows + 1), reached, fine)
    free = list(range(1, treatment.windows))
    unit = 10.0 ** math.floor(math.log10(end / treatment.windows / 1000))
    edges = np.append(np.rint(edges[:-1] / unit) * unit, end)
    for jump in jumps[1:]:  # no step reaches across a jump
        nearest = min(free, key=lambda k: abs(edges[k] - jump))
        edges[nearest] = jump
        free.remove(nearest)
    return np.sort(edges)  # jumps stay exactly where they are


def _slope(function: Callable[[float], float], at: float) -> float:
    """Derivative by a central difference."""
    step = 1e-4 * at
    return (function(at + step) - function(at - step)) / (2 * step)


# --- the course -----------------------------------------------------------------------------------


class Course:
    """A treatment under way: ``run`` it, read ``table()``, ``save`` it at any window.

    A course that was saved and resumed gives the same numbers, bit for bit, as one that was not.
    """

    def __init__(self, treatment: Treatment, calibration: Calibration | None = None) -> None:
        t = treatment
        self.treatment = t
        self.calibration = calibration or calibrate(t.neuron, t.seed)
        self.baselines = self.calibration.baselines(t.replicates)
        self.edges_s = step_edges_s(t)
        self.done = 0
        self.values = np.full((t.windows, t.replicates, len(QUANTITIES)), np.nan)
        self.slow = np.tile(AT_REST, (t.replicates, 1))
        self._inputs = np.tile([1.0, 0.0, 1.0, 0.0], (t.replicates, 1))
        self.simulations = [self._neuron(r) for r in range(t.replicates)]
        self._exposure = acting(t)
        self.window_times_s = self._times()
        self.mean_field = self._mean_field()

    def _neuron(self, replicate: int) -> NeuronEngine:
        t = self.treatment
        return neuron_simulation(
            t.neuron, t.seed, replicate, grid=t.grid, baseline=self.baselines[replicate],
            inhibitor=at_sert(t.drug), antagonist=at_autoreceptor(t.antagonist),
            transporters=t.transporters,
        )  # fmt: skip

    def _times(self) -> F64:
        """Time (s) of each window, (windows, replicates): spread over its step, by golden section
        from step to step and evenly from replicate to replicate.
        """
        n, r = self.treatment.windows, self.treatment.replicates
        # Multiples of the golden section spread evenly at any number and have no period, which
        # could fall in step with a daily dose.
        golden = np.arange(n) * (math.sqrt(5) - 1) / 2
        phase = np.mod(golden[:, None] + (np.arange(r) + 0.5) / r, 1.0)
        times: F64 = self.edges_s[:-1, None] + phase * np.diff(self.edges_s)[:, None]
        return times

    def _mean_field(self) -> dict[str, F64]:
        """Mean field at every window's time, and of slow variables in the middle of the step, by
        name; shapes (windows, replicates).
        """
        middles = np.broadcast_to(
            ((self.edges_s[:-1] + self.edges_s[1:]) / 2)[:, None], self.window_times_s.shape
        )
        # All times in one ascending list, each once: the solver is called once.
        both = np.stack([self.window_times_s, middles])
        flat, back = np.unique(both, return_inverse=True)
        values = mean_field(self.treatment, flat)
        return {
            name: column[back].reshape(both.shape)[1 if name in SLOW else 0]
            for name, column in values.items()
        }

    @functools.cached_property
    def _waits_s(self) -> npt.NDArray[np.int64]:
        """Time to wait before each window is read, (windows, replicates): until what changed since
        the last one has relaxed to :data:`RESIDUAL_TRANSIENT`, by the modes of the fast loop at
        that time. A pool takes some 20 s, and minutes where monoamine oxidase is inhibited. Where
        the dose jumps, also until a slow drug's exchange has followed (``lna.settling_s``).
        """
        neuron = self.treatment.neuron
        levels = np.stack([self.mean_field[name] for name in FAST], axis=-1)
        first = np.broadcast_to(settled(Setting(neuron)), levels[:1].shape)
        moved = np.diff(np.concatenate([first, levels]), axis=0)
        waits, away = np.zeros(levels.shape[:2]), np.zeros(levels.shape[1:])
        # At first all that is known is means, rounded; their noise builds up as slowly as it fades.
        least = relaxations_s(neuron)[-1] * math.log(1 / RESIDUAL_TRANSIENT)
        before = Setting(neuron)
        jumps = {0.0, *(day * DAY_S for day in self.treatment.breaks_days)}
        for w, level in enumerate(levels.mean(axis=1)):
            exposure = self._exposure(float(self.window_times_s[w, 0]))
            sensitivity, drive = (float(self.mean_field[n][w, 0]) for n in ("sensitivity", "drive"))
            sensitivity *= self.treatment.feedback
            now = Setting(neuron, exposure, sensitivity, drive, unbinding=self.treatment.unbinding)
            drugs = exposure.terminal + exposure.soma + exposure.antagonist
            if self.edges_s[w] in jumps and drugs > 0:
                least = max(least, settling_s(before, now, RESIDUAL_TRANSIENT, LONGEST_SETTLE_S))
            before = now
            modes = Modes(jacobian(now, level))
            away = away + moved[w]
            own = modes.settling_s(away, RESIDUAL_TRANSIENT * level, LONGEST_SETTLE_S)
            waits[w] = np.maximum(own, least)
            # What has not faded when a window ends is waited for by the next one, together with new
            # changes.
            away, least = modes.after(away, waits[w] + self.treatment.window_s), 0.0
        return np.ceil(waits).astype(np.int64)

    def run(
        self,
        windows: int | None = None,
        progress: Progress | None = None,
        save_to: str | Path | None = None,
        announce: Callable[[str], None] = terminal.announce,
    ) -> Course:
        """Go on by ``windows`` windows (to the end by default); returns the course.

        Parameters
        ----------
        windows
            How many.
        progress
            Shown meanwhile.
        save_to
            A file that is written when the run ends, or is interrupted (see :meth:`save`).
        announce
            Is told beforehand how long a long course will take.
        """
        last = self.treatment.windows
        last = last if windows is None else min(self.done + windows, last)
        waits, ahead = self._waits_s, range(self.done, last)
        simulated = float((waits[self.done : last] + self.treatment.window_s).sum())
        if text := self.treatment.announced(len(ahead), self.treatment.pace * simulated):
            announce(text)
        try:
            for w in progress(ahead, label="windows") if progress else ahead:
                self._whole_window(w, waits[w])
        finally:
            if save_to is not None:
                self.save(save_to)
        return self

    def _whole_window(self, w: int, waits: npt.NDArray[np.int64]) -> None:
        """One window, or none of it if it is interrupted: a course can be saved at any time."""
        # A window is all or nothing, lest an interrupted course be neither resumable nor told
        # apart.
        before = [simulation.checkpoint() for simulation in self.simulations]
        slow, inputs = self.slow.copy(), self._inputs.copy()
        try:
            self._window(w, waits)
            self.done = w + 1
        finally:
            if self.done == w:
                self.slow, self._inputs = slow, inputs
                self.values[w] = np.nan
                for simulation, state in zip(self.simulations, before, strict=True):
                    simulation.restore(state)

    def _window(self, w: int, waits: npt.NDArray[np.int64]) -> None:
        neuron, t = self.treatment.neuron, self.treatment
        begin, end = self.edges_s[w : w + 2]
        for r, simulation in enumerate(self.simulations):
            time = float(self.window_times_s[w, r])
            exposure = self._exposure(time)
            now = advanced(neuron, self.slow[r], self._inputs[r], time - begin)
            if not t.feedback:
                now[0] = 0.0
            simulation.set(exposure, now[0], now[1], now[2])
            # Under an unchanged exposure sites hold what they held: drawing anew would lose their
            # past.
            if w == 0 or exposure != self._exposure(float(self.window_times_s[w - 1, r])):
                simulation.block(exposure)
            simulation.run(int(waits[r]))
            record = simulation.run(t.window_s)
            means, excess = record.mean(axis=0), record[:, -1] - neuron.spike_trains * record[:, -2]
            # One set of coefficients does for all replicates: whatever is known beforehand brings
            # no bias.
            if r == 0:  # of the past only, as is everything that goes into it
                setting = Setting(neuron, exposure, now[0], now[1])
                level = settled(setting)
                response = response_at(setting, level)
            read = self._read(means, float(excess.mean()), response, level, now, exposure)
            self._inputs[r] = slow_inputs(neuron, simulation.baseline, read)
            self.values[w, r, : -len(SLOW)] = [
                t.concentration_nM(time), read["terminal_occupancy"], read["soma_occupancy"],
                read["receptor_occupancy"], read["rate_Hz"], read["terminal_nM"], read["soma_nM"],
            ]  # fmt: skip
        # Slow variables are told at the middle of the step, the same time for all replicates.
        self.values[w, :, -len(SLOW) :] = advanced(
            neuron, self.slow, self._inputs, (end - begin) / 2
        )
        self.slow = advanced(neuron, self.slow, self._inputs, end - begin)

    def _read(
        self,
        means: F64,
        excess: float,
        response: F64,
        level: Level,
        now: F64,
        exposure: Exposure,
    ) -> dict[str, float]:
        """Averages of a window in units, with what an excess of spikes explains taken out.

        The excess is a martingale and the coefficients were known before the window, so no bias.
        Coefficients: the response of rate and serotonin, times the slope of what follows them.
        """
        neuron, own = self.treatment.neuron, dict(zip(COLUMNS, means.tolist(), strict=True))
        terminal, soma = (response[1:3] * excess).tolist()
        kd, postsynaptic = receptor_kd_nM(neuron), now[2] / neuron.terminal.serotonin_nM

        def activated(nM: float) -> float:
            return sensitivity_target(neuron, activation(Setting(neuron, exposure), nM))

        def bound(nM: float) -> float:
            return receptor_occupancy(nM, kd, exposure.antagonist)

        values = in_units(neuron, own, excess, response, self.treatment.transporters)
        at = level.soma_nM
        values["receptor_occupancy"] -= _slope(bound, at) * soma
        values["sensitivity_target"] = own["sensitivity_target"] - _slope(activated, at) * soma
        steep = _slope(lambda nM: hill(neuron, postsynaptic * nM), level.terminal_nM)
        values["hill"] = own["hill"] - steep * terminal
        values["postsynaptic_target"] = own["postsynaptic_target"]
        return values

    # --- reading ----------------------------------------------------------------------------------

    @property
    def day(self) -> F64:
        """Middle of each step that is done, days."""
        edges = self.edges_s[: self.done + 1] / DAY_S
        middles: F64 = (edges[:-1] + edges[1:]) / 2
        return middles

    def mean(self, quantity: str) -> F64:
        """Mean over replicates, by window."""
        values: F64 = self.values[: self.done, :, QUANTITIES.index(quantity)].mean(axis=1)
        return values

    def se(self, quantity: str) -> F64:
        """Standard error of that mean, by window."""
        windows = self.values[: self.done, :, QUANTITIES.index(quantity)]
        error: F64 = windows.std(axis=1, ddof=1) / math.sqrt(windows.shape[1])
        return error

    def half_band(self, quantity: str, level: float = 0.95) -> F64:
        """Half width of the pointwise confidence band (Student's t)."""
        return student_quantile(1 - level, self.treatment.replicates - 1) * self.se(quantity)

    def expected(self, quantity: str) -> F64 | None:
        """The mean-field solution, by window; None for what it does not hold."""
        values = self.mean_field.get(quantity)
        return None if values is None else values[: self.done].mean(axis=1)

    @functools.cached_property
    def theory(self) -> Mapping[str, F64]:
        """What is expected with the effect of noise, to second order (see ``lna``), by step
        that is done, of the mean field's quantities: half a second to compute, and no simulation.
        """
        t = self.treatment
        breaks = tuple(day * DAY_S for day in t.breaks_days)
        return noisy_course(
            t.neuron, acting(t), self.day * DAY_S, breaks, factors_of_theory(t.neuron), t.unbinding,
            t.feedback,
        )  # fmt: skip

    def departure(self, quantity: str) -> float:
        """Root mean square departure from the mean field, as a share of its greatest value.

        What the means' own sampling error adds to the square is taken off.
        """
        solution = self.expected(quantity)
        if solution is None:
            raise KeyError(quantity)
        # A mean of noisy windows departs even from the truth, on average by its own variance.
        square = float(np.mean((self.mean(quantity) - solution) ** 2 - self.se(quantity) ** 2))
        return math.sqrt(square) / float(np.abs(solution).max()) if square > 0 else 0.0

    def table(self, name: str = "course") -> Table:
        """Time, and for each quantity mean, standard error and mean field."""
        columns: dict[str, Any] = {"day": self.day}
        for quantity in QUANTITIES:
            solution = self.expected(quantity)
            columns[quantity] = self.mean(quantity)
            columns[f"{quantity}_se"] = self.se(quantity)
            if solution is not None:
                columns[f"{quantity}_mean_field"] = solution
        return Table(name, columns, [key for key in columns if key.endswith("_mean_field")])

    # --- interrupting -----------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write the course so far; the file appears complete or not at all.

        Raises
        ------
        OutputError
            If the file cannot be written.
        """
        header = {"done": self.done, "of": self._identity()}
        write_atomic(path, sealed(MAGIC, header, self._arrays()))

    def _arrays(self) -> dict[str, np.ndarray]:
        """All that changes."""
        arrays = {"values": self.values, "slow": self.slow, "inputs": self._inputs}
        for r, simulation in enumerate(self.simulations):
            arrays |= {f"{name}:{r}": a for name, a in simulation.checkpoint().items()}
        return arrays

    def _identity(self) -> list[Any]:
        """What a resumed course shares with the saved one; functions by their values."""
        t = self.treatment
        times = self.window_times_s.ravel().tolist()
        # Functions cannot be compared; what they give at every time that is read can.
        tried = [[f(x) for x in times] for f in (t.concentration_nM, t.antagonist_nM, t.mao)]
        plain = [t.neuron.model_dump(mode="json"), t.drug, t.antagonist, t.reach, t.transporters]
        baseline = [repr(astuple(baseline)) for baseline in self.baselines]  # may be nan
        grid = None if t.grid is None else t.grid.model_dump(mode="json")
        size = [t.windows, t.window_s, t.replicates, t.seed]
        return [*plain, t.feedback, grid, *size, tried, baseline]

    @classmethod
    def resume(
        cls, treatment: Treatment, path: str | Path, calibration: Calibration | None = None
    ) -> Course:
        """The course that :meth:`save` wrote, of the same treatment, ready to go on bit for bit.

        Raises
        ------
        CourseError
            If the file cannot be read, or belongs to another treatment or version.
        """
        course, path = cls(treatment, calibration), file_path(path)
        try:
            header, arrays = opened(MAGIC, contents(path), path, _Header)
        except CheckpointError as error:
            what = f"course {str(path)!r} cannot be read: {error.what}; start it again"
            raise CourseError(what) from error
        # By way of JSON, as the header went: tuples are lists there.
        if header.of != json.loads(json.dumps(course._identity())):
            raise CourseError(f"course {str(path)!r} is of another treatment; give the same one")
        try:
            course._restore(header.done, arrays)
        except (ValueError, IndexError, InvariantError) as error:
            what = f"course {str(path)!r} cannot be read: {str(error)[:300]}; start it again"
            raise CourseError(what) from error
        return course

    def _restore(self, done: int, arrays: dict[str, np.ndarray]) -> None:
        """Take up the arrays of a file, which may be anybody's: compiled code trusts them."""
        axes = {"listed": 0, "terminal_molecules": 1, "soma_molecules": 1}  # of growing lists
        replicates = range(len(self.simulations))
        free = {f"{name}:{r}": at for name, at in axes.items() for r in replicates}
        check_arrays(arrays, before := self._arrays(), free)
        moved = [n for n in arrays if "_sites:" in n and (arrays[n][:2] != before[n][:2]).any()]
        if done > self.treatment.windows or moved:
            raise ValueError(f"{done} windows, sites moved in {moved}")
        for name in ("slow", "inputs"):  # they decide about rates: not (nan <= x) either
            if not (np.abs(arrays[name]) <= MOST_RATE).all():
                raise ValueError(f"{name} hold a number beyond {MOST_RATE:g}, or none")
        self.done, self.values, self.slow = done, arrays["values"], arrays["slow"]
        self._inputs = arrays["inputs"]
        for r, simulation in enumerate(self.simulations):
            own = {n.rpartition(":")[0]: a for n, a in arrays.items() if n.endswith(f":{r}")}
            simulation.restore(own)
            simulation.check_read()


class _Header(Header):
    done: int = Field(ge=0)
    of: list[Any]


class CourseError(SynapseError, ValueError):
    """A saved course that cannot be resumed, and why."""
