"""The announced error of a step: what is known beforehand of how wrong it makes what is measured.

Two errors are announced, both relative: that of *kinetics* (rates of association, dissociation and
relaxation: one over a correlation time), and, where something is driven or starts in one cell, that
of *driven means* (free and bound numbers, fluxes). Rates are adjusted to the step
(``rate_adjustment``); what is left is, for a pair of ligand and target and its factor s,

====================  ========================  ===================================================
cause                 kinetics                  driven means
====================  ========================  ===================================================
binding               0.12 x (x + y + o)        0.03 x (x + y + o + r dt)
filling               spread of s over phi / 2  (phi is that of the steady state)
place of the sites    2 x sd(beta)              2 x sd(beta)
other targets         (s - 1) share             1.3 s K' dt / 2
loss at rate r        (s - 1) r dt / 3          (s - 1) r dt / 3
transport                                       s k_cat dt / 12
return                                          1.1 s x (1/2 - beta) share that returns
release               1.1 s S dt / 2 (counted as driven)
====================  ========================  ===================================================

x, y: in-cell rate of binding (to all targets of the ligand, as seen from a site of this one) and
rate of leaving, times dt; o: rate at which clamped ligands take the sites, times dt; K': rate of
binding to other targets in a site's cell beyond the mean over all cells; share: of other targets in
all binding there; sd(beta): what the places of scattered sites change; S: see below.

- 0.12 x (x + y): STEP's bound, of 17,899 random maps none came above 0.117 x (x + y).
- The other numbers were found with the flow of molecules through random grids, computed by linear
  algebra (``theory.stepping``): of 2,810 random flows none erred by more than 0.95 of the announced
  error of driven means. ``tests/test_timestep.py`` does it again.
- *Transport.* Read after a step's reactions, the bound number lies below its mean over the step.
- *Release.* A molecule that is in a cell when a step begins stays for dt; it is there dt/2 longer
  than the cell's share of time. Released in given cells, molecules therefore meet the sites there
  too often, by the share (dt/2) S, S = (sum of K + losses) M sqrt((sum of w^2 - 1/M)(sum of v^2 -
  1/M)), where the sum of K runs over the M cells, w is the share of the sites and v of the releases
  of each cell (Cauchy and Schwarz: they meet most often where both are in one cell). Of N scattered
  sites, one may lie where molecules are released: 1/N in place of the root. Releases at given times
  count twice, because they may come when a step has just begun; a start in one cell is one, unless
  a burn-in makes it forgotten.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from synapse_abm.core.units import pair_rate_per_s
from synapse_abm.synapse.scenario.free_sites import free_shares, is_course, loss_per_s
from synapse_abm.synapse.scenario.parts import Cell, Description, Ligand, Reservoir
from synapse_abm.synapse.scenario.rate_adjustment import (
    LARGEST_LEAVING,
    LARGEST_P,
    Adjustment,
    adjusted_pairs,
    adjustment,
)

#: Coefficients of the table above.
BINDING, DRIVEN_BINDING, OTHER_TARGETS, SCATTER = 0.12, 0.03, 1.3, 2.0
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
        errors = [pair.at(dt_s) for pair in self._pairs]
        kinetics = max(errors, key=lambda error: sum(error.kinetics.values()))
        driven = max(errors, key=lambda error: sum(error.driven.values()))
        return Announced(
            dt_s, sum(kinetics.kinetics.values()), sum(driven.driven.values()),
            _largest(kinetics, kinetics.kinetics), _largest(driven, driven.driven),
            tuple(error for error in errors if not error.adjustment.usable),
        )  # fmt: skip

    def longest_s(self, accuracy: float) -> float:
        """The longest step (s) that keeps ``accuracy``, to three digits."""
        return self._longest(lambda dt_s: self.at(dt_s).within(accuracy))

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
        return float(f"{math.floor(low / unit) * unit:.3g}")


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
        beside = {t: sites[target].beside(sites[t]) for t in sites if t != target}
        self.others_per_s = sum(rates[t] * n for t, n in beside.items())
        self.excess_per_s = sum(
            rates[t] * max(abs(n - sites[t].mean), sites[target].chance(sites[t]))
            for t, n in beside.items()
        )
        kinetics = ligand.binding[target]
        self.koff, self.kcat = kinetics.koff, kinetics.kcat_per_s
        self.clamped_per_s = sum(
            other.binding[target].kon * other.clamped_nM
            for other in description.ligands.values()
            if other.clamped_nM is not None and target in other.binding
        )
        self.loss_per_s = loss_per_s(ligand)
        back = ligand.return_per_s + ligand.metabolism_per_s
        self.returns = ligand.return_per_s / back if back > 0 and self.kcat > 0 else 0.0
        self.is_driven = driven(description)
        everywhere = sum(rates[t] * n.mean for t, n in sites.items()) + self.loss_per_s
        self.release_per_s = everywhere * _meeting(description, ligand, sites[target])
        self.own_per_s = rates[target]

    @property
    def longest_s(self) -> float:
        """A step (s) beyond which the factor cannot be used."""
        leaving = self.koff + self.kcat
        limits = [LARGEST_LEAVING / leaving] if leaving > 0 else []
        # p > x / (1 + x + y): at x = 3 and y <= 1 the chance to bind is above LARGEST_P.
        limits += [5 * LARGEST_P / self.own_per_s] if self.own_per_s > 0 else []
        return min(limits, default=math.inf)

    def at(self, dt_s: float) -> PairError:
        """Announced errors at a step, by cause (see the module)."""
        adjusted = adjustment(self.description, self.ligand, self.target, dt_s, self.phi)
        s, beta = max(adjusted.s, 1.0), adjusted.beta
        others = self.others_per_s * dt_s
        x, loss = adjusted.x + others, self.loss_per_s * dt_s
        y = (self.koff + self.kcat + self.clamped_per_s) * dt_s
        kinetics = {
            "binding": BINDING * x * (x + y),
            "filling": abs(adjusted.s_empty - adjusted.s_full) / 2,
            "place": SCATTER * adjusted.x * adjusted.scatter,
            "others": (s - 1) * others / x if x > 0 else 0.0,
            "loss": (s - 1) * loss / 3,
        }
        means = {"release": MARGIN * s * self.release_per_s * dt_s / 2}
        if self.is_driven:
            means |= {
                "binding": DRIVEN_BINDING * x * (x + y + loss),
                "place": SCATTER * adjusted.x * adjusted.scatter,
                "others": OTHER_TARGETS * s * self.excess_per_s * dt_s / 2,
                "loss": (s - 1) * loss / 3,
                "transport": s * self.kcat * dt_s / 12,
                "return": MARGIN * s * x * (0.5 - beta) * self.returns,
            }
        return PairError(self.target, self.name, adjusted, kinetics, means)


@dataclass(frozen=True, slots=True)
class SitesPerCell:
    """Number of a target's sites; its mean and variance over cells, its most, those listed."""

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
            return cls(sites.n_sites, mean, share * (1 - share), rounds + (rest > 0), {})
        listed = Counter(sites.cells)
        square = sum(n * n for n in listed.values()) / cells
        most = max(listed.values(), default=0)
        return cls(sites.n_sites, mean, square - mean**2, most, listed)

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


def _meeting(description: Description, ligand: Ligand, sites: SitesPerCell) -> float:
    """How much more often a released molecule is where the sites are, in cells, than at random."""
    sources = defaultdict[Cell, float](float)
    for batch in ligand.batches:
        sources[batch.cell] += batch.size * (batch.rate_per_s + len(batch.times_s))
    timed = any(batch.times_s for batch in ligand.batches)
    if ligand.start_cell is not None and ligand.count and is_course(description):
        sources[ligand.start_cell] += ligand.count
        timed = True
    cells, times = description.grid.cells, 2 if timed else 1
    if not sites.listed:
        most = max(sources.values(), default=0.0) / (sum(sources.values()) or 1.0)
        return times * most * sites.most / sites.mean
    return times * cells * math.sqrt(_lumpiness(sources, cells) * _lumpiness(sites.listed, cells))


def _lumpiness(amounts: Mapping[Cell, float], cells: int) -> float:
    """Sum of squared shares, less what an even spread would have; 0 for none."""
    total = sum(amounts.values())
    if total <= 0:
        return 0.0
    return max(0.0, sum((n / total) ** 2 for n in amounts.values()) - 1 / cells)
