"""The announced error of a step: what is known beforehand of how wrong it makes what is measured.

Two errors are announced, both relative: that of *kinetics* (rates of association, dissociation and
relaxation: one over a correlation time), and, where something is driven or starts in one cell, that
of *driven means* (free and bound numbers, fluxes). Rates are adjusted to the step
(``rate_adjustment``); what is left is, for a pair of ligand and target and its factor s,

====================  ========================  ===================================================
cause                 kinetics                  driven means
====================  ========================  ===================================================
binding               x (0.12 x + 0.2 (y + o))  0.06 x (x + y + o + r dt)
filling               s from start to end / 2   that times k_cat / (k_off + k_cat)
place of the sites    2 x sd(beta)              2 x sd(beta)
other targets         s K' dt                   1.3 s K' dt
loss at rate r        r dt ((s - 1)/3 + x/100)  (s - 1) r dt / 3
transport                                       s x k_cat dt / 12
return                                          1.1 s x (1/2 - beta) share that returns
release               1.1 s S dt (counted as driven)
====================  ========================  ===================================================

x, y: in-cell rate of binding (to all targets of the ligand, as seen from a site of this one) and
rate of leaving, times dt; o: rate at which clamped ligands take a free site, times dt; sd(beta):
what the places of scattered sites change; K' and S: see below.

- 0.12 x (x + y): STEP's bound for relaxation and association; of 17,899 random maps none came above
  0.117 x (x + y). The mean time to first binding, of which y is no part, comes up to 0.2 x y.
- *Filling.* s is fixed while the free share changes in a course. In a balance of binding with
  unbinding s cancels; the part of what is bound that is transported instead feels it. Of few sites
  the free ones are not independent: (s - 1)(1 - phi) and 3/4 of this, over their number, are added.
- *Other targets.* The factor of a pair knows nothing of other targets. In steps a molecule that
  let go meets their sites in its own cell too often, and those in cells near by too seldom: by the
  modes, K' = K (sum over k > 0 of m_k v_k (1/2 - g)) / N, m and v the maps of both, K the in-cell
  rate of the other. (In a cell with both, exchange is too fast and all binding too slow.)
- *Transport.* A step begins with fresh molecules near the sites and ends with fewer: within it the
  number bound rises, then falls by transport, and is read below its mean.
- *Release.* A molecule that is in a cell when a step begins stays for dt. Released in given cells,
  molecules therefore meet the sites there too often. By the modes of the walk, with u = decay x dt:
  at a rate they come in the middle of a step, on average, and are there dt (1/2 + 1/(e^u - 1)) in
  place of dt/u: dt (1/2 - g(u)) too long; at given times, when a step may just have begun to react,
  dt (1 - g(u)); at the start, before the first hop, dt g(u) too short. A mode k of the sites' and
  the releases' shares of cells adds at most |m_k v_k| of it, so S = (sum of K + losses) M (sum over
  k > 0 of |m_k v_k| (1/2 - g, or as above)). Of N scattered sites, one may lie where molecules are
  released: 1/N of the mean over all cells in place of the sum. A burn-in makes a start forgotten.
- The numbers of driven means were found with the flow of molecules through random grids, computed
  by linear algebra (``theory.stepping``); ``tests/test_timestep.py`` does it again.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from synapse_abm.core.units import pair_rate_per_s
from synapse_abm.synapse.scenario.free_sites import free_shares, is_course
from synapse_abm.synapse.scenario.parts import Cell, Description, Ligand, Reservoir
from synapse_abm.synapse.scenario.rate_adjustment import (
    LARGEST_LEAVING,
    LARGEST_P,
    Adjustment,
    Pair,
    Spectrum,
    Weighing,
    adjusted_pairs,
    adjustment,
    map_spectrum,
    spectrum,
)

#: Coefficients of the table above.
BINDING, FIRST_BINDING, DRIVEN_BINDING = 0.12, 0.2, 0.06
FAST_LOSS, OTHER_TARGETS, SCATTER = 0.01, 1.3, 2.0
#: Gradients around a source, which a long step does not resolve, can add a little to the error.
#: Of 3800 random driven scenarios one erred by 1.02 times the bound without this margin.
MARGIN = 1.1
#: Standard deviations by which scattered sites of two targets may share cells more than expected.
CHANCE = 5.0

type Causes = dict[str, float]


@dataclass(frozen=True, slots=True)
class PairError:
    """Announced relative errors of one pair at one step, by cause."""

    target: str
    ligand: str
    adjustment: Adjustment
    kinetics: Causes
    driven: Causes

    @property
    def why_not(self) -> str:
        """Why the rates of this pair cannot be adjusted."""
        if self.adjustment.p > LARGEST_P:
            return (
                f"a molecule of {self.ligand} next to {self.target} binds in more than "
                f"{100 * LARGEST_P:g} % of such steps, and rates can be adjusted up to that"
            )
        return f"{self.ligand} leaves {self.target} more than once in such a step"

    def words(self, cause: str) -> str:
        """What a person would call a cause."""
        return {
            "binding": f"binding of {self.ligand} at {self.target}",
            "filling": f"filling of {self.target} by {self.ligand}",
            "place": f"the random places of {self.target}",
            "others": f"binding of {self.ligand} to other targets beside {self.target}",
            "loss": f"loss of {self.ligand}",
            "transport": f"transport of {self.ligand} by {self.target}",
            "return": f"return of {self.ligand} at {self.target}",
            "release": f"release of {self.ligand} near {self.target}",
        }[cause]


@dataclass(frozen=True, slots=True)
class Announced:
    """The announced errors of a step: the largest over all pairs.

    Attributes
    ----------
    dt_s
        The step, s.
    kinetics, driven
        Relative errors; ``driven`` is 0 where nothing is driven.
    kinetics_cause, driven_cause
        What adds most to each, in words.
    equilibrium_only
        Pairs for which no factor makes kinetics right at this step.
    """

    dt_s: float
    kinetics: float
    driven: float
    kinetics_cause: str
    driven_cause: str
    equilibrium_only: tuple[PairError, ...]

    def within(self, accuracy: float) -> bool:
        """Whether rates keep ``accuracy`` and driven means a fifth of it."""
        kept = self.kinetics <= accuracy and self.driven <= DRIVEN_SHARE * accuracy
        return kept and not self.equilibrium_only


#: Driven means get this share of the accuracy asked for: nothing averages their bias away.
DRIVEN_SHARE = 0.2


class StepErrors:
    """The announced errors of a scenario as a function of its step."""

    def __init__(self, description: Description) -> None:
        pairs = adjusted_pairs(description)
        phi = free_shares(description) if pairs else {}
        self._pairs = [_Pair(description, target, ligand, phi) for target, ligand in pairs]

    def __bool__(self) -> bool:
        """Whether anything depends on the step."""
        return bool(self._pairs)

    def at(self, dt_s: float) -> Announced:
        """Announced errors of a step of ``dt_s`` seconds."""
        return _worst(dt_s, [pair.at(dt_s) for pair in self._pairs])

    def adjustments(self, dt_s: float) -> dict[Pair, Adjustment]:
        """How the rates of each pair are adjusted to a step (``rate_adjustment.adjustments``)."""
        return {(pair.target, pair.name): pair.adjusted(dt_s) for pair in self._pairs}

    def longest_s(self, accuracy: float) -> float:
        """The longest step (s) that keeps ``accuracy``, to three digits."""
        order = list(self._pairs)

        def good(dt_s: float) -> bool:
            # A step that one pair cannot bear is too long, whatever the others say; it is most
            # likely the pair that the last such step was too long for.
            for number, pair in enumerate(order):
                if not _worst(dt_s, [pair.at(dt_s)]).within(accuracy):
                    order.insert(0, order.pop(number))
                    return False
            return True

        return self._longest(good)

    def usable_s(self) -> float:
        """The longest step (s) at which the rates of every pair can be adjusted."""
        return self._longest(lambda dt_s: not self.at(dt_s).equilibrium_only)

    def _longest(self, good: Callable[[float], bool]) -> float:
        # No step beyond this can be used: a molecule binds, or leaves its site, for certain in it.
        high = min((pair.longest_s for pair in self._pairs), default=math.inf)
        if math.isinf(high) or good(high):
            return high
        low = high
        while low > SHORTEST_S and not good(low):
            high, low = low, low / 8
        while high / low > 1 + 1e-4:
            middle = math.sqrt(low * high)
            low, high = (middle, high) if good(middle) else (low, middle)
        # Fewer digits than sums in another order could change: the step is the same everywhere.
        unit = 10.0 ** (math.floor(math.log10(low)) - 2)
        units = math.floor(low / unit)
        # What scattered places add hardly depends on the step: it can be more a little below.
        while units > 1 and not good(float(f"{units * unit:.3g}")):
            units -= 1
        return float(f"{units * unit:.3g}")


def _worst(dt_s: float, errors: list[PairError]) -> Announced:
    """The largest errors of several pairs at a step."""
    kinetics = max(errors, key=lambda error: sum(error.kinetics.values()))
    driven = max(errors, key=lambda error: sum(error.driven.values()))
    return Announced(
        dt_s, sum(kinetics.kinetics.values()), sum(driven.driven.values()),
        _largest(kinetics, kinetics.kinetics), _largest(driven, driven.driven),
        tuple(error for error in errors if not error.adjustment.usable),
    )  # fmt: skip


#: No step is sought below this, s.
SHORTEST_S = 1e-15


def _largest(error: PairError, causes: Causes) -> str:
    return error.words(max(causes, key=causes.__getitem__)) if any(causes.values()) else ""


def in_cell_rate(description: Description, ligand: str, target: str) -> float:
    """Rate (1/s) at which one molecule binds one empty site when they share a cell."""
    kinetics = description.ligands[ligand].binding[target]
    return pair_rate_per_s(kinetics.kon, description.grid.cell_volume_um3)


def is_driven(ligand: Ligand) -> bool:
    """Whether real molecules of this kind are released, transported or degraded."""
    transported = any(kinetics.kcat_per_s > 0 for kinetics in ligand.binding.values())
    return bool(ligand.batches) or transported or ligand.degradation_per_s > 0


def driven(description: Description) -> bool:
    """Whether something keeps a scenario from equilibrium, until nothing is left of it."""
    return any(
        is_driven(ligand) or (ligand.reservoir is not None and _washed_out(ligand.reservoir))
        for ligand in description.ligands.values()
        if ligand.clamped_nM is None
    )


def _washed_out(reservoir: Reservoir) -> bool:
    """Whether molecules leave and none come: a loss like degradation."""
    return reservoir.concentration_nM == 0 and reservoir.exchange_per_s > 0


class _Pair:
    """What the errors of one pair are made of: rates (1/s) that do not depend on the step."""

    def __init__(
        self, description: Description, target: str, name: str, phi: Mapping[str, float]
    ) -> None:
        ligand = description.ligands[name]
        self.description, self.target, self.name, self.ligand = description, target, name, ligand
        self.phi = phi[target]
        rates = {t: in_cell_rate(description, name, t) for t in ligand.binding}
        sites = {t: SitesPerCell.of(description, t) for t in rates}
        sites = {t: per_cell for t, per_cell in sites.items() if per_cell.mean > 0}
        others = [t for t in sites if t != target]
        self.others_per_s = sum(rates[t] * sites[target].beside(sites[t]) for t in others)
        self.neighbours = [
            (rates[t], _Neighbours.of(description, target, t, sites)) for t in others
        ]
        kinetics = ligand.binding[target]
        self.koff, self.kcat = kinetics.koff, kinetics.kcat_per_s
        self.clamped_per_s = sum(
            other.binding[target].kon * other.clamped_nM
            for other in description.ligands.values()
            if other.clamped_nM is not None and target in other.binding
        )
        self.loss_per_s = ligand.loss_per_s
        back = ligand.return_per_s + ligand.metabolism_per_s
        self.returns = ligand.return_per_s / back if back > 0 and self.kcat > 0 else 0.0
        self.is_driven = driven(description)
        self.everywhere_per_s = sum(rates[t] * n.mean for t, n in sites.items()) + self.loss_per_s
        self.sites, self.releases = sites[target], _Releases.of(description, ligand)
        self.modes = spectrum(description.grid, description.targets[target])
        self.own_per_s = rates[target]

    @property
    def longest_s(self) -> float:
        """A step (s) beyond which the factor cannot be used."""
        leaving = self.koff + self.kcat
        limits = [LARGEST_LEAVING / leaving] if leaving > 0 else []
        # p > x / (1 + x + y): at x = 3 and y <= 1 the chance to bind is above LARGEST_P.
        limits += [5 * LARGEST_P / self.own_per_s] if self.own_per_s > 0 else []
        return min(limits, default=math.inf)

    def adjusted(self, dt_s: float) -> Adjustment:
        """How rates are adjusted to a step."""
        return adjustment(self.description, self.ligand, self.target, dt_s, self.phi)

    def at(self, dt_s: float) -> PairError:
        """Announced errors at a step, by cause (see the module)."""
        adjusted = self.adjusted(dt_s)
        hops = self.ligand.diffusion_um2_per_s * dt_s / self.description.grid.spacing_um**2
        s, beta = max(adjusted.s, 1.0), adjusted.beta
        others = self.others_per_s * dt_s
        x, loss = adjusted.x + others, self.loss_per_s * dt_s
        excess = self._excess_per_s(hops) * dt_s
        y = (self.koff + self.kcat + self.clamped_per_s) * dt_s
        filling = max(abs(end - adjusted.s) for end in (adjusted.s_start, adjusted.s_end))
        if self.sites.sites > 1:
            filling += (0.75 * filling + (s - 1) * (1 - self.phi)) / self.sites.sites
        kinetics = {
            "binding": x * (BINDING * x + FIRST_BINDING * y),
            "filling": filling,
            "place": SCATTER * adjusted.x * adjusted.scatter,
            "others": s * excess,
            "loss": (s - 1) * loss / 3 + FAST_LOSS * x * loss,
        }
        meeting = self.everywhere_per_s * self.releases.meeting(self.modes, self.sites, hops)
        means = {"release": MARGIN * s * meeting * dt_s}
        if self.is_driven:
            means |= {
                "binding": DRIVEN_BINDING * x * (x + y + loss),
                "filling": filling * self.kcat / (self.koff + self.kcat) if self.kcat else 0.0,
                "place": SCATTER * adjusted.x * adjusted.scatter,
                "others": OTHER_TARGETS * s * excess,
                "loss": (s - 1) * loss / 3,
                "transport": s * x * self.kcat * dt_s / 12,
                "return": MARGIN * s * x * (0.5 - beta) * self.returns,
            }
        return PairError(self.target, self.name, adjusted, kinetics, means)

    def _excess_per_s(self, hops: float) -> float:
        """Binding to other targets beyond continuous time, after ``hops`` of a step."""
        if not self.neighbours:
            return 0.0
        # Weighed once for all of them: there may be hundreds of targets.
        spread = math.sqrt(self.modes.alone(hops, lambda g: _at_a_rate(g) ** 2))
        alone = self.modes.alone(hops, _at_a_rate)
        return sum(rate * near.too_often(hops, spread, alone) for rate, near in self.neighbours)


@dataclass(frozen=True, slots=True)
class _Neighbours:
    """The sites of another target as they are met from the sites of one.

    Attributes
    ----------
    modes
        Of a walk; their shares play no part.
    products
        Products m_k v_k of both maps' coefficients, over the sites of the one; None where scattered
        sites make them random.
    chance, most
        Where they are random: standard deviations of a product at all modes together, times
        :data:`CHANCE`; and the most that can be in one cell, beyond the mean.
    """

    modes: Spectrum
    products: np.ndarray | None
    chance: float = 0.0
    most: float = 0.0

    @classmethod
    def of(
        cls, description: Description, target: str, other: str, sites: Mapping[str, SitesPerCell]
    ) -> _Neighbours:
        grid, mine, others = description.grid, sites[target], sites[other]
        modes = spectrum(grid, description.targets[target])
        if not (mine.listed and others.listed):
            chance = CHANCE * math.sqrt(others.sites / (mine.sites * mine.cells))
            return cls(modes, None, chance, others.most - others.mean)
        # 2 m v = (m + v)^2 - m^2 - v^2: the spectrum of both maps together knows the signs.
        both = Counter(mine.listed) + Counter(others.listed)
        squares = [
            of_map.sites * of_map.nbar * total
            for of_map, total in (
                (map_spectrum(grid, both), mine.sites + others.sites),
                (modes, mine.sites),
                (spectrum(grid, description.targets[other]), others.sites),
            )
        ]
        return cls(modes, (squares[0] - squares[1] - squares[2]) / (2 * mine.sites))

    def too_often(self, hops: float, spread: float, alone: float) -> float:
        """Steps for which a molecule that let go sees a site of the other target too long.

        ``spread`` and ``alone`` are root mean square and mean over the modes of what is left of
        each in a step.
        """
        if self.products is not None:
            return abs(self.modes.weighed(self.products, hops, _at_a_rate))
        return min(self.chance * spread, self.most * alone)


@dataclass(frozen=True, slots=True)
class SitesPerCell:
    """Cells, and number of a target's sites; mean and variance over cells, most, those listed."""

    cells: int
    sites: int
    mean: float
    variance: float
    most: int
    listed: Mapping[Cell, int]

    @classmethod
    def of(cls, description: Description, target: str) -> SitesPerCell:
        """Scattered sites take distinct cells in turn, independently of other targets."""
        sites, cells = description.targets[target], description.grid.cells
        mean = sites.n_sites / cells
        if sites.cells is None:
            rounds, rest = divmod(sites.n_sites, cells)
            share = rest / cells
            most = rounds + (rest > 0)
            return cls(cells, sites.n_sites, mean, share * (1 - share), most, {})
        listed = Counter(sites.cells)
        square = sum(n * n for n in listed.values()) / cells
        most = max(listed.values(), default=0)
        return cls(cells, sites.n_sites, mean, square - mean**2, most, listed)

    def beside(self, other: SitesPerCell) -> float:
        """Sites of another target in the cell of a site of this one: at most, where scattered."""
        if self.listed and other.listed:
            together = sum(n * other.listed.get(cell, 0) for cell, n in self.listed.items())
            return together / self.sites
        return min(other.mean + self.chance(other), float(other.most))

    def chance(self, other: SitesPerCell) -> float:
        """How far chance can put the number of another target's sites beside a site of this one
        from its mean.
        """
        if self.listed and other.listed:
            return 0.0
        return min(CHANCE * math.sqrt(other.variance / self.sites), other.most - other.mean)


def _at_a_rate(g: np.ndarray) -> np.ndarray:
    return 0.5 - g


def _at_times(g: np.ndarray) -> np.ndarray:
    return 1.0 - g


@dataclass(frozen=True, slots=True)
class _Releases:
    """Where molecules of a ligand are released, and when within a step.

    Attributes
    ----------
    modes
        The spectrum of what each cell gets; None where nothing is released in given cells.
    most
        The largest share of it that one cell gets.
    late
        How long a mode of it lasts too long in steps, in steps, by g.
    """

    modes: Spectrum | None = None
    most: float = 0.0
    late: Weighing = _at_a_rate

    @classmethod
    def of(cls, description: Description, ligand: Ligand) -> _Releases:
        amounts = defaultdict[Cell, float](float)
        for batch in ligand.batches:
            amounts[batch.cell] += batch.size * (batch.rate_per_s + len(batch.times_s))
        timed = any(batch.times_s for batch in ligand.batches)
        if ligand.start_cell is not None and ligand.count and is_course(description):
            amounts[ligand.start_cell] += ligand.count
            timed = True  # 1 - g is the larger one
        total = sum(amounts.values())
        if not total:
            return cls()
        modes = map_spectrum(description.grid, amounts)
        return cls(modes, max(amounts.values()) / total, _at_times if timed else _at_a_rate)

    def meeting(self, sites: Spectrum, per_cell: SitesPerCell, hops: float) -> float:
        """How much more, in steps, a released molecule is where the sites are than anywhere."""
        if self.modes is None:
            return 0.0
        if not per_cell.listed:
            return self.most * per_cell.most / per_cell.mean * sites.alone(hops, self.late)
        return per_cell.cells * sites.overlap(self.modes, hops, self.late)
