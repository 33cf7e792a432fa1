"""What a step that hops first and reacts afterwards does to a law: the exact chain of the step.

With H the generator of hopping and R that of everything else, time goes as exp((H + R) t), and a
step of length dt as exp(H dt) exp(R dt). Both are matrices here, so the error of a step is computed
and not sampled. The product is the symmetric splitting (half a hop, react, half a hop; Strang 1968,
SIAM J Numer Anal 5:506) read at another phase. Whatever a hop does not change, such as the number
of free molecules, therefore errs only as dt**2 in a stationary state while hops are resolved (hop
rate x dt well below one); where a step is long enough to mix the place the error grows as dt.

`TinyGrid` is the full chain of a few molecules and sites; `MoleculeFlow` the mean of any number of
molecules that bind without getting in each other's way, on a grid of any size.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from synapse_abm.core.arrays import Array, one, positive, whole
from synapse_abm.theory._chain import Move, State, _gth, explore
from synapse_abm.theory.hop_react import Walk, Walls
from synapse_abm.theory.relaxation import Relaxation

#: States of a site in a `TinyGrid`.
EMPTY, OCCUPIED, BLOCKED = range(3)


def _exp(generator: Array) -> Array:
    from scipy.linalg import expm

    return np.asarray(expm(generator), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Split:
    """A chain whose generator is the sum of two, 1/s, each a matrix of shape (states, states)."""

    states: tuple[State, ...]
    hop: Array
    react: Array

    def stationary(self, dt: float | None = None) -> Array:
        """Stationary law, shape (states,): of time itself, or as read after each step of ``dt``.

        Grassmann, Taksar & Heyman's elimination, which keeps full relative precision.
        """
        # The elimination never reads the diagonal: rates and transition probabilities do alike.
        whole_step = self.hop + self.react if dt is None else self.step(dt)
        law = _gth(whole_step.copy())
        return np.asarray(law / law.sum())

    def step(self, dt: float) -> Array:
        """Transition probabilities of one step: hop, then react."""
        t = one(positive, "dt", dt)
        return _exp(self.hop * t) @ _exp(self.react * t)

    @cached_property
    def _symmetric(self) -> tuple[Array, Array, Array]:
        """Root of the stationary law, and both generators in units of it: symmetric where the
        chain is in detailed balance.
        """
        root = np.sqrt(self.stationary())
        hop, react = (part * root[:, None] / root for part in (self.hop, self.react))
        return root, (hop + hop.T) / 2, (react + react.T) / 2

    def relaxation(self, number: Array, start: Array, dt: float | None = None) -> Relaxation:
        """Correlation of a number of each state, and its course from a law over the states.

        For a chain in detailed balance; neither the number nor the start may change by a hop.
        """
        root, hop, react = self._symmetric
        if dt is None:
            values, modes = np.linalg.eigh(hop + react)
        else:
            half = _exp(hop * (one(positive, "dt", dt) / 2))
            ratios, modes = np.linalg.eigh(half @ _exp(react * dt) @ half)
            values = np.log(np.maximum(ratios, 1e-300)) / dt
        seen = (root * number) @ modes
        return Relaxation(np.maximum(-values, 0.0), seen**2, ((start / root) @ modes) * seen)

    def mean(self, law: Array, *positions: int) -> float:
        """Mean of the sum of some entries of a state."""
        values = np.array([sum(state[p] for p in positions) for state in self.states])
        return float(law @ values)


@dataclass(frozen=True, slots=True, kw_only=True)
class TinyGrid:
    """A few molecules of one ligand and a few sites on a row or grid of cells; all rates in 1/s.

    A state lists the free molecules of each cell, then each site (`EMPTY`, `OCCUPIED` by a
    molecule, `BLOCKED` by a clamped ligand), then, if transported molecules return, those inside
    each cell.

    Attributes
    ----------
    width, height, walls
        The grid.
    sites
        Cell of each site.
    molecules
        Most molecules there are at a time: those of a closed place, or, with arrivals, the number
        at which further ones are turned away.
    hop
        D / h**2, rate of hopping to each neighbour.
    bind, unbind, transport, back
        Rate of one molecule and one empty site in a cell, of letting go, of transport, of return
        of a transported molecule (0: it is gone).
    block, unblock
        Rates at which a clamped ligand takes an empty site and leaves it.
    competitors, competitor_hop
        Instead of a clamped ligand, so many molecules of another one, which hop at the rate
        ``competitor_hop``: ``block`` is the rate of one of them and an empty site in its cell. A
        state ends with those that are free, in each cell.
    arrive
        Rate of arrival in each cell; empty for a closed place.
    leave
        Rate at which a free molecule exits or is degraded.
    """

    width: int
    sites: tuple[int, ...]
    molecules: int
    hop: float
    bind: float
    unbind: float
    height: int = 1
    walls: Walls = "reflecting"
    transport: float = 0.0
    back: float = 0.0
    block: float = 0.0
    unblock: float = 0.0
    competitors: int = 0
    competitor_hop: float = 0.0
    arrive: tuple[float, ...] = ()
    leave: float = 0.0

    @property
    def cells(self) -> int:
        """Number of cells."""
        return self.width * self.height

    @property
    def _competitor(self) -> int:
        """Where the free competitors stand in a state."""
        return self.cells + len(self.sites) + (self.cells if self.back else 0)

    def split(self) -> Split:
        """The chain of all states that a full place, its molecules spread at random, leads to."""
        start = [0] * (self._competitor + (self.cells if self.competitors else 0))
        if not self.arrive:
            start[0] = self.molecules
        if self.competitors:
            start[self._competitor] = self.competitors
        unit = Walk(self.width, self.height, 1.0, self.walls).generator()
        chain = explore(tuple(start), lambda state: self._moves(state, unit))
        hop = chain.counted.toarray()
        hop -= np.diag(hop.sum(axis=1))
        return Split(chain.states, hop, chain.generator.toarray() - hop)

    def _moves(self, state: State, unit: Array) -> Iterable[Move]:
        for cell in range(self.cells):
            for neighbour in np.flatnonzero(unit[cell] > 0).tolist():
                for first, hop in ((0, self.hop), (self._competitor, self.competitor_hop)):
                    if hop and state[first + cell]:
                        moved = _changed(state, {first + cell: -1, first + neighbour: 1})
                        rate = hop * float(unit[cell, neighbour]) * state[first + cell]
                        yield Move(moved, rate, counted=True)
            gone = _changed(state, {cell: -1})
            yield Move(gone, self.leave * state[cell])
            # Arrivals must end somewhere for the chain to be finite; `molecules` is that limit.
            if self.arrive and self._there(state) < self.molecules:
                yield Move(_changed(state, {cell: 1}), self.arrive[cell])
        yield from self._at_sites(state)

    def _at_sites(self, state: State) -> Iterable[Move]:
        inside = self.cells + len(self.sites)
        for number, cell in enumerate(self.sites):
            at, competitor = self.cells + number, self._competitor + cell
            if state[at] == EMPTY:
                yield Move(_changed(state, {cell: -1, at: OCCUPIED}), self.bind * state[cell])
                taken = {competitor: -1} if self.competitors else {}
                there = state[competitor] if self.competitors else 1
                yield Move(_changed(state, {at: BLOCKED, **taken}), self.block * there)
            elif state[at] == BLOCKED:
                freed = {competitor: 1} if self.competitors else {}
                yield Move(_changed(state, {at: -BLOCKED, **freed}), self.unblock)
            else:
                yield Move(_changed(state, {cell: 1, at: -OCCUPIED}), self.unbind)
                taken_up = {at: -OCCUPIED, inside + cell: 1} if self.back else {at: -OCCUPIED}
                yield Move(_changed(state, taken_up), self.transport)
        if self.back:
            for cell in range(self.cells):
                back = _changed(state, {cell: 1, inside + cell: -1})
                yield Move(back, self.back * state[inside + cell])

    def _there(self, state: State) -> int:
        sites = state[self.cells : self.cells + len(self.sites)]
        rest = state[: self.cells] + state[self.cells + len(self.sites) :]
        return sum(rest) + sites.count(OCCUPIED)


def _changed(state: State, by: dict[int, int]) -> State:
    """``state`` with some entries changed."""
    counts = list(state)
    for at, change in by.items():
        counts[at] += change
    return tuple(counts)


@dataclass(frozen=True, slots=True)
class Sink:
    """A place where one molecule binds, is let go or is transported (and is gone); rates in 1/s."""

    cell: int
    bind: float
    unbind: float = 0.0
    transport: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class FlowMeans:
    """Mean numbers in a steady flow: free molecules of each cell, molecules bound at each sink."""

    free: Array
    bound: Array


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class MoleculeFlow:
    """Molecules that enter at a steady rate, wander, bind to sinks that are never full, and go.

    Attributes
    ----------
    width, height, walls
        The grid, cells in rows.
    hop
        D / h**2 (1/s), rate of hopping to each neighbour.
    sinks
        Where they bind; several may share a cell.
    source : array_like, shape (height * width,)
        Mean arrivals in each cell, molecules per s, at random times.
    leave
        Rate (1/s) at which a free molecule exits or is degraded.
    """

    width: int
    height: int
    hop: float
    sinks: tuple[Sink, ...]
    source: Array
    leave: float = 0.0
    walls: Walls = "reflecting"

    def steady(self, dt: float | None = None) -> FlowMeans:
        """Means in time itself, or as read after each step of length ``dt`` (s)."""
        if dt is None:
            # In the steady state what enters equals what goes: 0 = source + means @ rates.
            return self._means(np.linalg.solve(-self._generator().T, self._entering))
        react, entered = self._react_for(one(positive, "dt", dt))
        step = self._hop(dt, react)
        return self._means(np.linalg.solve((np.eye(len(entered)) - step).T, entered))

    def pulse(self, seconds: float, dt: float | None = None) -> FlowMeans:
        """Means ``seconds`` after ``source`` molecules came at time 0 and none since.

        With steps of length ``dt``, of which ``seconds`` is a whole number, they come when the
        first step has hopped and begins to react, as molecules released at a given time do.
        """
        if dt is None:
            time = one(positive, "seconds", seconds)
            return self._means(self._entering @ _exp(self._generator() * time))
        steps = whole("seconds / dt", round(seconds / dt, 6), 1)
        react, _ = self._react_for(one(positive, "dt", dt))
        step = np.linalg.matrix_power(self._hop(dt, react), steps - 1)
        return self._means(self._entering @ react @ step)

    @property
    def _walk(self) -> Walk:
        return Walk(self.width, self.height, self.hop, self.walls)

    @property
    def _entering(self) -> Array:
        """Arrivals in each state, molecules per s: they are free."""
        return np.concatenate([self.source, np.zeros(len(self.sinks))])

    def _means(self, row: Array) -> FlowMeans:
        return FlowMeans(row[: self._walk.cells], row[self._walk.cells :])

    def _generator(self) -> Array:
        rates = self._react()
        rates[: self._walk.cells, : self._walk.cells] += self._walk.generator()
        return rates

    def _hop(self, dt: float, react: Array) -> Array:
        """Hop for ``dt``, which only free molecules do, then react."""
        step = react.copy()
        step[: self._walk.cells] = self._walk.hop(dt) @ react[: self._walk.cells]
        return step

    def _react(self) -> Array:
        """Rates between free (by cell) and bound (by sink)."""
        cells = self._walk.cells
        n = cells + len(self.sinks)
        rates = np.zeros((n, n))
        rates[range(cells), range(cells)] = -self.leave
        for number, sink in enumerate(self.sinks):
            free, bound = sink.cell, cells + number
            rates[free, bound] = sink.bind
            rates[free, free] -= sink.bind
            rates[bound, free] = sink.unbind
            rates[bound, bound] = -(sink.unbind + sink.transport)
        return rates

    def _react_for(self, dt: float) -> tuple[Array, Array]:
        """What reacting for ``dt`` does, cell by cell, and what has entered by its end."""
        rates, source, cells = self._react(), self._entering, self._walk.cells
        done, entered = np.zeros_like(rates), np.zeros_like(source)
        # Cells without sinks only lose molecules, in closed form; matrices are for the few with
        # sinks.
        stays = np.exp(-self.leave * dt)  # where nothing binds
        done[range(cells), range(cells)] = stays
        come = -np.expm1(-self.leave * dt) / self.leave if self.leave > 0 else dt
        entered[:cells] = source[:cells] * come
        for blocks in self._sink_blocks().values():
            k = blocks.shape[1]
            # Arrivals during the reaction: a constant source is one more state that is never left,
            # so the exponential integrates it too (Van Loan 1978, IEEE Trans Automat Contr 23:395).
            widened = np.zeros((len(blocks), k + 1, k + 1))  # the last row is the source
            widened[:, :k, :k] = rates[blocks[:, :, None], blocks[:, None, :]]
            widened[:, k, :k] = source[blocks]
            powers = _exp(widened * dt)
            done[blocks[:, :, None], blocks[:, None, :]] = powers[:, :k, :k]
            entered[blocks] = powers[:, k, :k]
        return done, entered

    def _sink_blocks(self) -> dict[int, NDArray[np.intp]]:
        """Numbers of each cell with sinks and of these, the cells with equally many together."""
        members: dict[int, list[int]] = {}
        for number, sink in enumerate(self.sinks):
            members.setdefault(sink.cell, [sink.cell])
            members[sink.cell].append(self.width * self.height + number)
        sizes = {len(block) for block in members.values()}
        return {
            k: np.array([block for block in members.values() if len(block) == k]) for k in sizes
        }
