"""What theory says of a scenario in time: means and spreads at each record, and how they are known.

Targets and ligands that binding connects are one system. Three accounts, the first that serves:

- sites that meet clamped ligands only, and molecules that bind nowhere: each goes its own way, so
  the law is exact at any time, on any grid, through steps and ramps (`theory.monomolecular`);
- molecules that bind, in one well-mixed cell, if they are few: the master equation of all their
  numbers, exact but for a told error (`theory.projection`);
- else the rate equations of the well-mixed place (`theory.rate_equations`): not exact, and the sign
  of what they lack is told.

A change acts at the end of the step that reaches its time, and that is when it acts here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synapse_abm.synapse.scenario.cost import (
    mixing_ratio,
    samples,
    settling_s,
    steps_per_sample,
)
from synapse_abm.synapse.scenario.definition import Scenario
from synapse_abm.synapse.scenario.equilibrium import is_open
from synapse_abm.synapse.scenario.parts import Description
from synapse_abm.synapse.scenario.population import arrivals_per_s, leaving_per_s
from synapse_abm.synapse.scenario.protocol import changed_by, events, plain_of
from synapse_abm.theory.monomolecular import monomolecular_course
from synapse_abm.theory.projection import TooLarge, projected_course
from synapse_abm.theory.rate_equations import MOST_COVARIANCES, TooLong, rate_equation_course
from synapse_abm.theory.reactions import CountLaw, Moments, Network, Reaction, Stage

type Array = NDArray[np.float64]
type Key = tuple[str, str, str]  # (occupancy, free or flux; target or ""; ligand)

#: Records that theory is asked about at most, evenly taken; the fluxes of fewer are then unknown.
MOST_RECORDS = 2_000
#: Stages of a protocol that the three accounts follow at most; each has to be solved by itself.
MOST_STAGES = {"monomolecular": 20_000, "projection": 1_500, "rate equations": 800}
#: ... and additions of molecules that the master equation follows: each makes a new list of states.
MOST_ADDITIONS = 40
#: Stairs of a ramp for the rate equations, which are not exact anyway.
STAIRS = 40
#: Names that a line about theory has at most.
NAMED = 6
#: Error of a projection that passes for exact.
LARGEST_ERROR = 1e-9


@dataclass(frozen=True, slots=True)
class Expected:
    """One quantity in time.

    Attributes
    ----------
    mean, sd : array, shape (records,)
        Of one replicate at each of ``CourseLaw.seconds``; ``sd`` None where it is not known.
    is_exact
        Whether both are exact.
    unit : array, shape (records,)
        How many molecules or sites make one unit: the number of sites for an occupancy.
    laws
        The law of the number at each record, None where it is not known.
    correction
        What the mean lacks of the true one, to the next order; None if it is exact or nobody knows.
    """

    mean: Array
    sd: Array | None
    is_exact: bool
    unit: Array
    laws: Sequence[CountLaw] | None = None
    correction: Array | None = None


@dataclass(frozen=True, slots=True)
class CourseLaw:
    """What theory says of a course.

    Attributes
    ----------
    records
        Numbers of the records it is about.
    seconds
        Their times, s.
    expected
        By kind, target and ligand; what nothing is known of is missing.
    said
        How it is known, of each system a line.
    """

    records: NDArray[np.int64]
    seconds: Array
    expected: Mapping[Key, Expected]
    said: Sequence[str]


@dataclass(frozen=True, slots=True)
class _Part:
    """What holds from a time (s) on, and the molecules that come in then by ligand."""

    start_s: float
    description: Description
    added: Mapping[str, int]


def course_law(scenario: Scenario) -> CourseLaw:
    """Means and spreads of what a scenario with ``run`` settings records."""
    assert scenario.run is not None
    every, count = steps_per_sample(scenario, scenario.run), samples(scenario, scenario.run)
    thinned = -(-count // MOST_RECORDS)
    records = np.arange(thinned - 1, count, thinned)
    seconds = np.asarray((records + 1) * (every * scenario.dt_s), dtype=np.float64)
    expected, said = dict[Key, Expected](), dict[str, list[str]]()
    fine, rough = _parts(scenario, scenario.dt_s), None
    for targets, ligands in systems(scenario):
        system = _System(scenario, targets, ligands)
        if rough is None and not system.is_simple(fine):
            rough = _parts(scenario, _rough_dt_s(scenario))
        found = _solved(system, fine, rough or fine, seconds)
        if found is not None:
            moments, exact, words = found
            expected |= system.read(moments, exact, fine, seconds, with_flux=thinned == 1)
        else:
            words = "no theory of its course"
        if ligands:
            said.setdefault(words, []).append(system.name)
    lines = [f"{_some(names, '; ')}: {words}" for words, names in said.items()]
    return CourseLaw(records, seconds, expected, lines)


def _some(names: Sequence[str], between: str = ", ") -> str:
    """The first few names, and how many more there are."""
    more = len(names) - NAMED
    return between.join([*names[:NAMED], *([f"{more} more"] if more > 0 else [])])


def systems(scenario: Description) -> list[tuple[list[str], list[str]]]:
    """Targets and ligands that are connected by binding, each system by itself.

    A clamped ligand connects nothing: what it does at one target is not felt at another.
    """
    bound = {
        target: [name for name, ligand in scenario.ligands.items() if target in ligand.binding]
        for target, record in scenario.targets.items()
        if record.n_sites
    }
    # What is connected, by going from target to target; the loop sees what it adds to its own list.
    left, groups = list(bound), list[tuple[list[str], list[str]]]()
    while left:
        targets, ligands = [left.pop(0)], dict[str, None]()
        for target in targets:  # grows while it is gone through
            ligands |= dict.fromkeys(bound[target])
            real = {name for name in bound[target] if scenario.ligands[name].clamped_nM is None}
            near = [other for other in left if real.intersection(bound[other])]
            targets += near
            left = [other for other in left if other not in near]
        groups.append((targets, list(ligands)))
    placed = {name for _, ligands in groups for name in ligands}
    return groups + [([], [name]) for name in scenario.ligands if name not in placed]


def _rough_dt_s(scenario: Scenario) -> float:
    """The step of staircases of about :data:`STAIRS` stairs."""
    ramps = [at.over_s / STAIRS for at in scenario.at if at.over_s is not None]
    return max([scenario.dt_s, *ramps])


def _parts(scenario: Scenario, stair_s: float) -> list[_Part]:
    """All that holds in turn: a part for each change, each stair of a ramp and each release."""
    now, dt = plain_of(scenario), scenario.dt_s
    parts = [_Part(0.0, now, {})]
    releases = sorted(
        (_within_step(time, dt), batch.size, name)
        for name, ligand in scenario.ligands.items()
        for batch in ligand.batches
        for time in batch.times_s
    )
    changes = [(_end_of_step(event.time_s, dt), event) for event in events(scenario, stair_s)]
    for time, event in changes:
        while releases and releases[0][0] < time:
            at, size, name = releases.pop(0)
            parts.append(_Part(at, now, {name: size}))
        now = changed_by(now, event.changes, event.added)
        parts.append(_Part(time, now, event.added))
    return parts + [_Part(at, now, {name: size}) for at, size, name in releases]


def _end_of_step(time_s: float, dt_s: float) -> float:
    """The end of the step that reaches a time."""
    # The allowance is for times that are sums of steps.
    return dt_s * max(0, math.ceil(time_s / dt_s * (1 - 1e-12) - 1e-9))


def _within_step(time_s: float, dt_s: float) -> float:
    """A time of a release, which happens within a step: at its end at the latest, just before."""
    last = (math.floor(time_s / dt_s) + 1) * dt_s - 1e-6 * dt_s
    return min(time_s, last)


def _solved(
    system: _System, fine: list[_Part], rough: list[_Part], seconds: Array
) -> tuple[Moments, bool, str] | None:
    """The first account that serves: its numbers, whether they are exact, and in words."""
    network = system.network(fine)
    if network is None:
        return None
    if network.is_monomolecular and len(fine) <= MOST_STAGES["monomolecular"]:
        words = "exact: each site and molecule goes its own way"
        return monomolecular_course(network, seconds), True, words
    shapes = {r[1] for stage in network.stages for r in stage.reactions if r.rate > 0}
    is_linear = all(len(takes) < 2 for takes in shapes)
    rough_network = system.network(rough)
    if rough_network is None or len(rough) > MOST_STAGES["rate equations"] or system.is_stuck():
        return None
    size = len(network.counts)
    try:
        roughly = rate_equation_course(rough_network, seconds, system.relax_s)
    except TooLong:
        return None
    if is_linear:  # the equations of means and variances are closed, and exact
        return roughly, size <= MOST_COVARIANCES, "exact means and variances: nothing meets"
    if system.is_mixed and len(fine) <= MOST_STAGES["projection"]:
        try:
            moments = _projected(network, roughly, seconds)
        except TooLarge:
            moments = None
        if moments is not None and moments.error <= LARGEST_ERROR:
            words = f"exact: master equation, probability left out below {LARGEST_ERROR:g}"
            return moments, True, words
    return roughly, False, f"rate equations of the well-mixed place; {system.departure(roughly)}"


def _projected(network: Network, roughly: Moments, seconds: Array) -> Moments:
    """The master equation, with caps from the rate equations where molecules come in."""
    added = sum(n for stage in network.stages for _, n in stage.added if n > 0)
    if sum(bool(stage.added) for stage in network.stages) > MOST_ADDITIONS:
        raise TooLarge(f"over {MOST_ADDITIONS} additions")
    total = sum(network.counts) + added
    caps = np.full(len(network.counts), float(total))
    if network.has_inflow:
        if roughly.var is None:
            raise TooLarge("too many kinds of molecules")
        top = (roughly.mean + 9 * np.sqrt(roughly.var)).max(axis=0) + 12
        caps = np.maximum(np.ceil(top), network.counts) + added
    return projected_course(network, seconds, caps.astype(np.int64))


class _System:
    """Targets and ligands that binding connects, as a network of reactions."""

    def __init__(self, scenario: Scenario, targets: list[str], ligands: list[str]) -> None:
        self.scenario, self.targets, self.ligands = scenario, targets, ligands
        parts = scenario.ligands
        self.pairs = [(t, n) for t in targets for n in ligands if t in parts[n].binding]
        self.real = [name for name in ligands if parts[name].clamped_nM is None]
        self.counters = {pair: k for k, pair in enumerate(self.pairs)}
        names: list[tuple[str, str, str]] = [("empty", t, "") for t in targets]
        names += [("occupancy", t, n) for t, n in self.pairs]
        names += [("free", "", n) for n in self.real] + [("inside", "", n) for n in self.real]
        self.number = {name: n for n, name in enumerate(names)}
        self.name = _some([*targets, *ligands])
        binds = any(name in self.real for _, name in self.pairs)
        self.is_mixed = scenario.grid.cells == 1 or not binds

    def is_simple(self, parts: list[_Part]) -> bool:
        """Whether the exact account of what goes its own way will do."""
        network = self.network(parts)
        return network is None or network.is_monomolecular

    def is_stuck(self) -> bool:
        """Whether molecules that bind do not leave their cells: nothing is mixed then."""
        ligands = [self.scenario.ligands[name] for name in self.real]
        return not self.is_mixed and any(x.binding and not x.diffusion_um2_per_s for x in ligands)

    @property
    def relax_s(self) -> float:
        """Time after which the first stage has settled."""
        times = [settling_s(self.scenario, name, target) for target, name in self.pairs]
        return 1 + 100 * max((time for time in times if math.isfinite(time)), default=0.0)

    # --- reactions ---

    def network(self, parts: list[_Part]) -> Network | None:
        """The network, None if there is none: sites are taken away, or releases change."""
        first, stages = parts[0].description, list[Stage]()
        before = first
        for part in parts:
            added = [(self.number["free", "", n], k) for n, k in part.added.items()
                     if k and n in self.real]  # fmt: skip
            for target in self.targets:
                more = part.description.targets[target].n_sites - before.targets[target].n_sites
                if more < 0:
                    return None
                if more:
                    added.append((self.number["empty", target, ""], more))
            for name in self.real:
                times = [
                    [(x.times_s, x.size) for x in p.ligands[name].batches if x.times_s]
                    for p in (first, part.description)
                ]
                if times[0] != times[1]:
                    return None
            before = part.description
            stages.append(Stage(part.start_s, tuple(self._reactions(before)), tuple(added)))
        stages = [*_without_idle(stages)]
        counts, weights = self._counts(first), None
        if self.scenario.start.state == "equilibrium":
            ligands = [first.ligands[name] for name in self.real]
            if any(is_open(ligand) and ligand.count for ligand in ligands):
                return None  # more than its equilibrium is there
            weights = self._weights(first)
        return Network(counts, tuple(_of_those_there(counts, stages)), len(self.counters), weights)

    def _counts(self, now: Description) -> tuple[int, ...]:
        counts = dict.fromkeys(self.number, 0)
        for target in self.targets:
            counts["empty", target, ""] = now.targets[target].n_sites
        for name in self.real:
            counts["free", "", name] = now.ligands[name].count
        for target, name in self.pairs:
            share = self.scenario.start.bound.get(target, {}).get(name, 0.0)
            bound = round(share * now.targets[target].n_sites)
            counts["occupancy", target, name] = bound
            counts["empty", target, ""] -= bound
            if name in self.real:  # of those there are; a reservoir gives what is missing
                counts["free", "", name] = max(counts["free", "", name] - bound, 0)
        return tuple(counts.values())

    def _weights(self, now: Description) -> tuple[float, ...]:
        weights = dict.fromkeys(self.number, 0.0)
        per_nM = now.grid.molecules_per_nM
        for target in self.targets:
            weights["empty", target, ""] = 1.0
        for name in self.ligands:
            ligand = now.ligands[name]
            nM = ligand.clamped_nM
            if nM is None:
                nM = 1 / per_nM  # of a closed ligand, any will do: its number does not change
                if ligand.reservoir is not None and is_open(ligand):
                    nM = ligand.reservoir.concentration_nM
                weights["free", "", name] = nM * per_nM
            for target, kinetics in ligand.binding.items():
                if target in self.targets and kinetics.kon > 0:
                    weights["occupancy", target, name] = nM / kinetics.half_nM
        return tuple(weights.values())

    def _reactions(self, now: Description) -> Iterator[Reaction]:
        number, per_nM = self.number, now.grid.molecules_per_nM
        for pair in self.pairs:
            target, name = pair
            ligand, kinetics = now.ligands[name], now.ligands[name].binding[target]
            empty, bound = number["empty", target, ""], number["occupancy", target, name]
            taken, left = ((empty, -1), (bound, 1)), ((bound, -1), (empty, 1))
            counter = self.counters[pair]
            if ligand.clamped_nM is not None:
                yield Reaction(kinetics.kon * ligand.clamped_nM, (empty,), taken)
                yield Reaction(kinetics.koff, (bound,), left)
                yield Reaction(kinetics.kcat_per_s, (bound,), left, counter)
                continue
            free = number["free", "", name]
            inner = ((number["inside", "", name], 1),) if ligand.return_per_s > 0 else ()
            yield Reaction(kinetics.kon / per_nM, (empty, free), (*taken, (free, -1)))
            yield Reaction(kinetics.koff, (bound,), (*left, (free, 1)))
            yield Reaction(kinetics.kcat_per_s, (bound,), (*left, *inner), counter)
        for name in self.real:
            ligand = now.ligands[name]
            free, inside = number["free", "", name], number["inside", "", name]
            yield Reaction(leaving_per_s(ligand), (free,), ((free, -1),))
            come = arrivals_per_s(now, ligand.model_copy(update={"batches": ()}))
            yield Reaction(come, (), ((free, 1),))
            for batch in ligand.batches:
                yield Reaction(batch.rate_per_s, (), ((free, batch.size),))
            yield Reaction(ligand.return_per_s, (inside,), ((inside, -1), (free, 1)))
            yield Reaction(ligand.metabolism_per_s, (inside,), ((inside, -1),))

    # --- back to quantities ---

    def read(
        self, moments: Moments, exact: bool, parts: list[_Part], seconds: Array, with_flux: bool
    ) -> dict[Key, Expected]:
        """The numbers of a network as quantities of the scenario."""
        table = dict[Key, Expected]()
        for key, n in self.number.items():
            kind, target, _ = key
            if kind not in ("occupancy", "free"):
                continue
            unit = _sites(parts, target, seconds) if target else np.ones(seconds.size)
            laws = [laws[n] for laws in moments.laws] if moments.laws else None
            lacks = None if moments.correction is None else moments.correction[:, n] / unit
            sd = None if moments.var is None else np.sqrt(moments.var[:, n]) / unit
            table[key] = Expected(
                moments.mean[:, n] / unit, sd, exact and sd is not None, unit, laws,
                None if exact else lacks,
            )  # fmt: skip
        length = np.diff(seconds, prepend=0.0)
        for (target, name), k in self.counters.items() if with_flux else ():
            if any(p.description.ligands[name].binding[target].kcat_per_s > 0 for p in parts):
                variance, sd = moments.counted_var, None
                if variance is not None:
                    sd = np.sqrt(np.maximum(variance[:, k], 0.0)) / length
                mean = moments.counted_mean[:, k] / length
                table["flux", target, name] = Expected(mean, sd, exact, length)
        return table

    def departure(self, moments: Moments) -> str:
        """On which side of the rate equations the truth lies, and how far about."""
        said = list[tuple[float, str]]()
        for target, name in self.pairs:
            n = self.number["occupancy", target, name]
            mean = moments.mean[:, n]
            if moments.correction is not None and mean.max() > 0:
                off = moments.correction[:, n]
                farthest = float(off[np.argmax(np.abs(off))])
                side, share = "above" if farthest > 0 else "below", abs(farthest) / mean.max()
                words = f"{name} at {target} lies {side} them, by up to {_percent(share)}"
                said.append((share, words))
            ratio = mixing_ratio(self.scenario, name, target) if name in self.real else 0.0
            if ratio > 0:
                words = f"diffusion makes {name} at {target} slower, by up to {_percent(ratio)}"
                said.append((ratio, words))
        # The largest first.
        listed = [words for _, words in sorted(said, key=lambda entry: -entry[0])]
        return "; ".join(listed[:3]) or "what they lack is not known"


def _percent(share: float) -> str:
    return "0.1 %" if share < 1e-3 else f"{100 * share:.2g} %"


def _sites(parts: list[_Part], target: str, seconds: Array) -> Array:
    """Number of sites at each time; a change at a record comes after it."""
    starts = np.array([part.start_s for part in parts[1:]])
    numbers = np.array([part.description.targets[target].n_sites for part in parts], dtype=float)
    sites: Array = numbers[np.searchsorted(starts, seconds * (1 - 1e-9), side="left")]
    return sites


def _without_idle(stages: list[Stage]) -> Iterator[Stage]:
    """Stages that differ from the one before: what changes elsewhere is no change here."""
    before: Stage | None = None
    for stage in stages:
        if before is None or stage.added or stage.reactions != before.reactions:
            yield stage
            before = stage


def _of_those_there(counts: tuple[int, ...], stages: list[Stage]) -> Iterator[Stage]:
    """Stages without the reactions of molecules that are never there."""
    there = {species for species, n in enumerate(counts) if n}
    there |= {species for stage in stages for species, _ in stage.added}
    reactions = {reaction for stage in stages for reaction in stage.reactions if reaction.rate > 0}
    size = -1
    while size < len(there):
        size = len(there)
        for reaction in reactions:
            if there.issuperset(reaction.takes):
                there |= {species for species, n in reaction.change if n > 0}
    for stage in stages:
        possible = tuple(r for r in stage.reactions if r.rate > 0 and there.issuperset(r.takes))
        yield stage._replace(reactions=possible)
