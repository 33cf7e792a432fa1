"""Group O: what a case describes, as a scenario in steps and as chains in continuous time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synapse_abm.pharmacology.kinetics import Kinetics
from synapse_abm.synapse.scenario import Ligand, Reservoir, Scenario, Target
from synapse_abm.synapse.scenario.parts import RunSettings
from synapse_abm.theory.hop_react import FirstBinding, Walk
from synapse_abm.theory.relaxation import LoneMolecule, Relaxation
from synapse_abm.theory.stepping import BLOCKED, OCCUPIED, MoleculeFlow, Sink, TinyGrid
from synapse_abm.validation.cases import Array, Case, on_steps
from synapse_abm.validation.geometry import Place, place_of
from synapse_abm.validation.scenarios import per_pair

#: Rates within 0.3 %, driven means within 0.06 %: below the margin by enough to be told from it.
ACCURACY = 0.003
MOST_STEPS = 20_000


@dataclass(frozen=True)
class Arrangement:
    """Sites in cells of a grid, and the molecules that bind to them.

    Attributes
    ----------
    sites
        Cell (x, y) of each site.
    rates
        In-cell rate of binding, rate of letting go, rate of transport (1/s), by ligand: "L", and
        its competitor "B" if there is one.
    molecules
        Their number at time zero, by ligand.
    entry, loss
        Molecules of "L" that enter per s, anywhere; rate at which a free one is lost.
    dt_s
        Longest step, if the program does not choose it.
    parts
        How many times shorter steps are than all that says.
    """

    place: Place
    diffusion: float
    sites: tuple[tuple[int, int], ...]
    rates: Mapping[str, tuple[float, float, float]]
    molecules: Mapping[str, int]
    entry: float = 0.0
    loss: float = 0.0
    dt_s: float | None = None
    parts: int = 1

    @classmethod
    def of(cls, case: Case, parts: int = 1) -> Arrangement:
        """As the case says; faults are noted in it."""
        place, entry = place_of(case), case.rate("entry", zero=True, default=0.0)
        rates, molecules = {"L": _rates(case)}, {"L": case.count("L", default=0 if entry else 1)}
        if "L_B" in case.params:
            rates["B"], molecules["B"] = _rates(case, "_B"), case.count("L_B", 1)
        arrangement = cls(
            place, case.rate("D"), tuple(place.xy(c) for c in case.cells("sites", place.shape)),
            rates, molecules, entry, case.rate("loss", zero=True, default=0.0),
            case.rate("dt") if "dt" in case.params else None, parts,
        )  # fmt: skip
        case.stop_if_faulty()
        return arrangement

    @property
    def count(self) -> int:
        """Number of molecules at time zero."""
        return sum(self.molecules.values())

    @property
    def is_lone(self) -> bool:
        """Whether it is one molecule that stays."""
        return self.count == 1 and self.loss == 0 and self.rates["L"][2] == 0

    # --- in steps ---------------------------------------------------------------------------------

    def scenario(self, times: Array | None = None, burn_in_s: float = 0.0) -> Scenario:
        """What is simulated, in steps of which all ``times`` (s) are multiples."""
        grid, run = self.place.grid, None
        if times is not None:
            common, _ = on_steps(times, MOST_STEPS)
            # How long does not matter here; whether there is a burn-in tells a course apart.
            length = burn_in_s + 2 * float(times.max())
            run = RunSettings(duration_s=length, sample_every_s=common, burn_in_s=burn_in_s)
        ligands = {
            name: Ligand(
                count=self.molecules[name], diffusion_um2_per_s=self.diffusion,
                binding={"T": self._kinetics(name)}, reservoir=self._reservoir(name),
                # What is taken up does not come back; destroyed inside, it leaves no trace.
                metabolism_per_s=self.rates[name][2],
            )
            for name in self.rates
        }  # fmt: skip
        scenario = Scenario(
            grid=grid, targets={"T": Target(cells=self.sites)}, accuracy=ACCURACY,
            ligands=ligands, run=run,
        )  # fmt: skip
        dt = scenario.dt_s
        if self.dt_s is not None:
            fits = run.sample_s if run else self.dt_s
            dt = fits / math.ceil(fits / self.dt_s * (1 - 1e-12))
        # Said, not left to be chosen: copies side by side then have the same.
        return scenario.model_copy(update={"dt_s": dt / self.parts})

    def _kinetics(self, ligand: str) -> Kinetics:
        return per_pair(*self.rates[ligand], grid=self.place.grid)

    def _reservoir(self, ligand: str) -> Reservoir | None:
        """From where molecules enter, and where they are lost to."""
        if self.loss == 0 or ligand != "L":
            return None
        concentration = self.entry / (self.loss * self.place.grid.molecules_per_nM)
        return Reservoir(concentration_nM=concentration, exchange_per_s=self.loss)

    # --- in continuous time -----------------------------------------------------------------------

    @property
    def walk(self) -> Walk:
        """How a molecule hops."""
        grid = self.place.grid
        return Walk(grid.width, grid.height, self.diffusion / grid.spacing_um**2, grid.walls)

    @property
    def cells(self) -> NDArray[np.intp]:
        """Number of the cell of each site."""
        return np.array([self.place.number(cell) for cell in self.sites])

    @property
    def lone(self) -> LoneMolecule:
        """One molecule of "L" as a chain."""
        walk, (bind, unbind, _) = self.walk, self.rates["L"]
        each = np.ones(len(self.sites))
        return LoneMolecule(
            walk.width, walk.height, walk.hops_per_s, self.cells, bind * each, unbind * each,
            walk.walls,
        )  # fmt: skip

    @property
    def occupancy(self) -> float:
        """Chance that the one molecule is bound at equilibrium."""
        bind, unbind, _ = self.rates["L"]
        bound = bind / unbind * len(self.sites)
        return bound / (self.walk.cells + bound)

    @property
    def first_binding(self) -> FirstBinding:
        """The one molecule until it binds for the first time."""
        rates = np.full(len(self.sites), self.rates["L"][0])
        return FirstBinding(self.walk, np.bincount(self.cells, rates, self.walk.cells))

    def exact(self, times: Array) -> dict[str, Any]:
        """What can be said of one molecule, or of a few of which none is lost; see the keys.

        Curves are mean numbers at ``times`` (s): bound after a start from free molecules anywhere
        (``association``), or from a bound one (``dissociation``), and free.
        """
        if not self.is_lone:
            return self._flow(times) if self.count == 1 else self._few(times)
        modes = self.lone.relaxation()
        return {
            "association_t": modes.mean_at(times),
            "dissociation_t": dissociation(modes, times),
            "relaxation_rate": modes.main_rate,
            "correlation_time": modes.correlation_s,
            "mean_bind_time_uniform_start": self.lone.first_binding_s(),
        }

    def _flow(self, times: Array) -> dict[str, Array]:
        """One molecule; it may be transported and lost."""
        walk = self.walk
        flow = MoleculeFlow(
            width=walk.width, height=walk.height, hop=walk.hops_per_s, walls=walk.walls,
            sinks=tuple(Sink(int(cell), *self.rates["L"]) for cell in self.cells),
            source=np.full(walk.cells, 1 / walk.cells), leave=self.loss,
        )  # fmt: skip
        means = [flow.pulse(t) for t in times.tolist()]
        return {
            "association_t": np.array([m.bound.sum() for m in means]),
            "free_t": np.array([m.free.sum() for m in means]),
        }

    def _few(self, times: Array) -> dict[str, Array]:
        """The master equation of a few molecules, from all of them anywhere."""
        from scipy.linalg import expm

        walk, (bind, unbind, _) = self.walk, self.rates["L"]
        block, unblock, _ = self.rates.get("B", (0.0, 0.0, 0.0))
        competitors = self.molecules.get("B", 0)
        split = TinyGrid(
            width=walk.width, height=walk.height, walls=walk.walls, hop=walk.hops_per_s,
            sites=tuple(self.cells.tolist()), molecules=self.molecules["L"], bind=bind,
            unbind=unbind, block=block, unblock=unblock, competitors=competitors,
            competitor_hop=walk.hops_per_s if competitors else 0.0,
        ).split()  # fmt: skip
        cells, sites = walk.cells, len(self.sites)
        states = np.array(split.states)
        start = np.zeros(len(states))
        for at, state in enumerate(states):
            if not state[cells : cells + sites].any():
                ways = _ways(state[:cells]) * _ways(state[cells + sites :])
                start[at] = ways / float(cells) ** self.count
        taken = states[:, cells : cells + sites]
        counts = {"association_t": OCCUPIED, "association_B_t": BLOCKED}
        laws = np.array([start @ expm((split.hop + split.react) * t) for t in times.tolist()])
        if not competitors:
            del counts["association_B_t"]
        return {key: laws @ (taken == kind).sum(axis=1) for key, kind in counts.items()}


def _rates(case: Case, of: str = "") -> tuple[float, float, float]:
    return (
        case.rate(f"k_bind_in_cell{of}"), case.rate(f"koff{of}"),
        case.rate(f"kcat{of}", zero=True, default=0.0),
    )  # fmt: skip


def _ways(numbers: Array) -> float:
    """In how many ways distinct molecules make up numbers in cells."""
    return math.factorial(int(numbers.sum())) / math.prod(math.factorial(int(n)) for n in numbers)


# --- sums over modes ------------------------------------------------------------------------------


def dissociation(modes: Relaxation, times: Array) -> Array:
    """Chance to be bound at ``times`` (s) after being bound, to any site alike.

    That is how a bound molecule is distributed at equilibrium, so it is the correlation over its
    value at time zero.
    """
    decay = np.exp(-np.multiply.outer(times, modes.rates))
    return np.asarray(decay @ modes.weights / modes.weights.sum())


def excess_beyond(modes: Relaxation, time: float, p: float) -> float:
    """Time integral (s) of that chance less its final value ``p``, from ``time`` on."""
    lasts = modes.rates <= 1e-12 * modes.rates.max()
    rates = np.where(lasts, np.inf, modes.rates)
    return float((modes.weights / rates * np.exp(-modes.rates * time)).sum() / p)


def main_mode(one: LoneMolecule) -> Array:
    """Law over cells and sites: the stationary one, and as much of the main mode as fits.

    From there the chance to be bound goes as one exponential, at ``Relaxation.main_rate``: down or
    up, whichever begins further away.
    """
    root, (_, modes), sums = one.chain.root, one.chain.modes, one.relaxation()
    # Of modes that decay alike the one that is seen.
    main = int(np.argmax(np.where(sums.rates == sums.main_rate, sums.weights, -1.0)))
    stationary = root**2 / (root**2).sum()
    laws = []
    for change in (root * modes[:, main], -root * modes[:, main]):
        falls = change < 0
        most = float((stationary[falls] / -change[falls]).min())
        laws.append(np.maximum(stationary + most * change, 0.0))
    return max(laws, key=lambda law: abs(float((law - stationary)[-one.bind.size :].sum())))
