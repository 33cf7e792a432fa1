"""How long a step may be: what is exact at any length, and what needs a short one.

Positions are frozen while a step reacts. Equilibrium does not notice; kinetics does, and so does
anything driven. Two rules keep that error small, for molecules that wander between cells and bind:

1. (rate at which one molecule binds in a cell with sites + the other rates there) x dt <= 0.3;
2. in a driven scenario the relative error of what is free, bound and carried stays below 0.2 %.

Rule 2 is an upper bound, reached when a step is long enough to mix the place. A molecule that is in
a cell when a step begins stays for dt; it is there dt / 2 longer than the cell's share of time.

- *Crowding.* Binding to a target errs by K dt / 2 at most, with K the rate at which a molecule
  binds in a cell with sites of that target, averaged over these sites: k_c <n^2>/<n> for n sites
  in a cell, k_c the rate of one molecule and one site that share it. (Molecules that come in
  everywhere and find all sites empty err less: <n^2>/<n> - <n>, which is zero where all cells are
  alike. But of sites that are alike a share is occupied, not everywhere the same, and molecules
  are released in one cell.) Sites of other targets count as far as chance can put them there.
- *Sources.* A target in given cells, and molecules released in given cells: what the sites there
  see errs by (dt / 2) (sum of K + losses) sqrt((sum of w^2 - 1/M) (sum of s^2 - 1/M)), where the
  sum of K runs over the M cells, w is the share of the sites and s of the releases of each cell
  (Cauchy and Schwarz: they meet most often where both are in one cell). Of N scattered sites, one
  may lie where molecules are released: 1/N in place of the root. Releases at given times count
  twice, because they may come when a step has just begun.

Hops that are resolved (hop rate x dt < 1) make the true error smaller, of the order dt^2:
``experiments/timestep.py`` shows both, and ``theory.stepping`` computes them.
Molecules that come back out of transporters are sources too; they are left out here.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from synapse_abm.core.units import pair_rate_per_s
from synapse_abm.synapse.scenario.cost import events_per_s
from synapse_abm.synapse.scenario.parts import Description, Ligand

type Cell = tuple[int, int]

#: Largest (in-cell rate) x dt at which kinetics counts as resolved.
RESOLVED = 0.3
#: Largest estimated relative error of a driven scenario.
LARGEST_BIAS = 0.002
#: Gradients around a source, which a long step does not resolve, can add a little to the error.
#: Of 3800 random driven scenarios one erred by 1.02 times the bound without this margin; with it
#: the largest error of 14000 others was 0.175 %.
MARGIN = 1.1
#: Events that a step may take, about, where its length is free: a step cannot be interrupted.
MOST_EVENTS = 1e7
#: Standard deviations by which scattered sites of two targets may share cells more than expected.
CHANCE = 5.0
#: A driven scenario with a step this many times longer than rule 1 allows is refused: within one
#: step, a molecule that shares a cell with a site binds for certain, wherever it was going.
SENSELESS = 10.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What limits the step of a scenario.

    Attributes
    ----------
    ligand
        The ligand that limits it, empty if every step is exact.
    binding_per_s, other_per_s
        In-cell rate at which one of its molecules binds, and the other rates of that cell, 1/s.
    driven
        Whether something keeps it from equilibrium: transport, release, loss.
    bias_per_s
        Largest relative error of a driven scenario per second of step.
    """

    ligand: str = ""
    binding_per_s: float = 0.0
    other_per_s: float = 0.0
    driven: bool = False
    bias_per_s: float = 0.0

    @property
    def resolved_s(self) -> float:
        """Largest step by rule 1, s."""
        rate = self.binding_per_s + self.other_per_s
        return RESOLVED / rate if rate > 0 else math.inf

    @property
    def unbiased_s(self) -> float:
        """Largest step by rule 2, s."""
        wanted = self.driven and self.bias_per_s > 0
        return LARGEST_BIAS / self.bias_per_s if wanted else math.inf

    @property
    def longest_s(self) -> float:
        """Largest step by both rules, s."""
        return min(self.resolved_s, self.unbiased_s)

    @property
    def senseless_s(self) -> float:
        """Largest step that is not refused, s."""
        return SENSELESS * self.resolved_s if self.driven else math.inf


@dataclass(frozen=True, slots=True)
class Choice:
    """A step, s, and why it is that long."""

    dt_s: float
    reason: str


def is_driven(ligand: Ligand) -> bool:
    """Whether real molecules of this kind are released, carried or lost."""
    carried = any(kinetics.kcat_per_s > 0 for kinetics in ligand.binding.values())
    return bool(ligand.batches) or carried or ligand.degradation_per_s > 0


def limits(scenario: Description) -> Limits:
    """The strictest limits among the ligands that wander and bind."""
    if scenario.grid.cells == 1:
        return Limits()
    driven = any(is_driven(x) for x in scenario.ligands.values() if x.clamped_nM is None)
    found = [
        _of_ligand(scenario, name, driven)
        for name, ligand in scenario.ligands.items()
        if ligand.clamped_nM is None and ligand.diffusion_um2_per_s > 0 and ligand.binding
    ]
    return min(found, key=lambda each: each.longest_s, default=Limits())


def in_cell_rate(scenario: Description, ligand: str, target: str) -> float:
    """Rate (1/s) at which one molecule binds one empty site when they share a cell."""
    kinetics = scenario.ligands[ligand].binding[target]
    return pair_rate_per_s(kinetics.kon, scenario.grid.cell_volume_um3)


def _of_ligand(scenario: Description, name: str, driven: bool) -> Limits:
    ligand = scenario.ligands[name]
    rates = {target: in_cell_rate(scenario, name, target) for target in ligand.binding}
    leaving = max(k.koff + k.kcat_per_s for k in ligand.binding.values())
    exits = ligand.reservoir.exchange_per_s if ligand.reservoir else 0.0
    lost = exits + ligand.degradation_per_s
    clamped = [
        other.binding[target].kon * other.clamped_nM
        for other in scenario.ligands.values()
        for target in rates
        if other.clamped_nM is not None and target in other.binding
    ]
    inside = ligand.return_per_s + ligand.metabolism_per_s
    sites = {t: _SitesPerCell.of(scenario, t) for t in rates}
    sites = {t: found for t, found in sites.items() if found.mean > 0}
    other = leaving + lost + inside + max(clamped, default=0.0)
    bias = max((_crowding(rates, sites, t) for t in sites), default=0.0)
    taken = sum(rates[t] * found.mean for t, found in sites.items()) + lost
    bias = max(bias, *(taken * _meeting(scenario, ligand, found) for found in sites.values()), 0.0)
    return Limits(name, _fullest(rates, sites), other, driven, MARGIN * bias / 2)


@dataclass(frozen=True, slots=True)
class _SitesPerCell:
    """Number of a target's sites; its mean and variance over cells, its most, those given."""

    sites: int
    mean: float
    variance: float
    most: int
    given: Mapping[Cell, int]

    @classmethod
    def of(cls, scenario: Description, target: str) -> _SitesPerCell:
        """Scattered sites take distinct cells in turn, independently of other targets."""
        sites, cells = scenario.targets[target], scenario.grid.cells
        if sites.cells is None:
            rounds, rest = divmod(sites.n_sites, cells)
            share = rest / cells
            most = rounds + (rest > 0)
            return cls(sites.n_sites, rounds + share, share * (1 - share), most, {})
        given = Counter(sites.cells)
        mean = sites.n_sites / cells
        square = sum(n * n for n in given.values()) / cells
        most = max(given.values(), default=0)
        return cls(sites.n_sites, mean, square - mean**2, most, given)


def _fullest(rates: Mapping[str, float], sites: Mapping[str, _SitesPerCell]) -> float:
    """Rate (1/s) at which a molecule binds in the fullest cell."""
    named = defaultdict[Cell, float](float)
    scattered = 0.0
    for target, found in sites.items():
        for cell, n in found.given.items():
            named[cell] += rates[target] * n
        scattered += 0.0 if found.given else rates[target] * found.most
    return scattered + max(named.values(), default=0.0)


def _crowding(rates: Mapping[str, float], sites: Mapping[str, _SitesPerCell], target: str) -> float:
    """Rate (1/s) at which a molecule binds in the cell of a target's site, mean over its sites."""
    mine = sites[target]
    found = rates[target] * (mine.mean + mine.variance / mine.mean)
    for other, theirs in sites.items():
        if other == target:
            continue
        if mine.given and theirs.given:
            together = sum(n * theirs.given.get(cell, 0) for cell, n in mine.given.items())
            here = together / sum(mine.given.values())
        else:  # where the scatter puts them is not known yet
            spread = CHANCE * math.sqrt(theirs.variance / mine.sites)
            here = min(theirs.mean + spread, float(theirs.most))
        found += rates[other] * here
    return found


def _meeting(scenario: Description, ligand: Ligand, sites: _SitesPerCell) -> float:
    """How much more often a released molecule is where the sites are, in cells, than at random."""
    sources = defaultdict[Cell, float](float)
    for batch in ligand.batches:
        sources[batch.cell] += batch.size * (batch.rate_per_s + len(batch.times_s))
    timed = any(batch.times_s for batch in ligand.batches)
    if ligand.start_cell is not None and ligand.count:
        sources[ligand.start_cell] += ligand.count
        timed = True
    cells, times = scenario.grid.cells, 2 if timed else 1
    if not sites.given:
        here = max(sources.values(), default=0.0) / (sum(sources.values()) or 1.0)
        return times * here * sites.most / sites.mean
    return times * cells * math.sqrt(_lumpiness(sources, cells) * _lumpiness(sites.given, cells))


def _lumpiness(amounts: Mapping[Cell, float], cells: int) -> float:
    """Sum of squared shares, less what an even spread would have; 0 for none."""
    total = sum(amounts.values())
    if total <= 0:
        return 0.0
    return max(0.0, sum((n / total) ** 2 for n in amounts.values()) - 1 / cells)


def auto_dt(scenario: Description) -> Choice:
    """The longest step that keeps both rules and fits the sampling interval a whole number of
    times; where neither limits it, one that takes about :data:`MOST_EVENTS` events at most.
    """
    found = limits(scenario)
    sample_s = scenario.run.sample_s if scenario.run else math.inf
    if math.isinf(found.longest_s):
        why = _why_any(scenario)
        if scenario.run:
            rate = events_per_s(scenario, scenario.run.duration_s)
            pieces = max(1, math.ceil(rate * sample_s / MOST_EVENTS))
            many = "one step" if pieces == 1 else f"{pieces} steps"
            return Choice(sample_s / pieces, f"{why}: {many} for each sample")
        return Choice(0.1 / (_fastest(scenario) or 0.1), f"{why}: a tenth of the fastest time")
    dt = found.longest_s
    if sample_s < math.inf:
        dt = sample_s / max(1, math.ceil(sample_s / dt * (1 - 1e-12)))
    rate = found.binding_per_s + found.other_per_s
    if found.unbiased_s < found.resolved_s:
        bias = 100 * found.bias_per_s * dt
        return Choice(dt, f"keeps the error of driven kinetics near {bias:.2g} % ({found.ligand})")
    return Choice(dt, f"keeps in-cell rate x dt at {rate * dt:.2g} ({found.ligand}: {rate:.3g} /s)")


def _why_any(scenario: Description) -> str:
    alone = scenario.grid.cells == 1
    return "one cell, exact at any step" if alone else "nothing depends on the step"


def _fastest(scenario: Description) -> float:
    """A rate, 1/s, that no single event of a site or molecule exceeds by much."""
    rates = [0.0]
    for ligand in scenario.ligands.values():
        here = ligand.clamped_nM or (ligand.reservoir.concentration_nM if ligand.reservoir else 0.0)
        here = max(here, ligand.count / scenario.grid.molecules_per_nM)
        rates += [k.koff + k.kcat_per_s + k.kon * here for k in ligand.binding.values()]
        rates += [ligand.return_per_s, ligand.degradation_per_s]
        rates += [ligand.reservoir.exchange_per_s] if ligand.reservoir else []
    return max(rates)


def reason(scenario: Description) -> str:
    """Why the step is as long as it is."""
    if scenario.dt_is_auto:
        return "auto: " + auto_dt(scenario).reason
    return "given"


def step_warnings(scenario: Description) -> list[str]:
    """What a step given by hand breaks."""
    found, dt = limits(scenario), scenario.dt_s
    said = []
    rate = found.binding_per_s + found.other_per_s
    if dt > found.resolved_s * (1 + 1e-9):
        said.append(
            f"dt = {dt:.3g} s is long for {found.ligand}: in-cell rate x dt = {rate * dt:.3g}"
            f", above {RESOLVED}. Equilibrium stays exact; kinetics is too slow, and a burn-in "
            "takes longer. "
            f"Longest step that resolves it: {found.resolved_s:.3g} s"
        )
    if dt > found.unbiased_s * (1 + 1e-9):
        said.append(
            f"dt = {dt:.3g} s: this scenario is driven, and its error is estimated at "
            f"{100 * found.bias_per_s * dt:.2g} %; below 0.2 % takes {found.unbiased_s:.3g} s"
        )
    return said
