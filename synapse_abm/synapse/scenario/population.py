"""How many molecules and events a run goes through: rate equations of the whole place, roughly.

For estimates of time and memory. The place is taken as well mixed, which molecules that pile up in
cells or bind again where they were released are not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synapse_abm.synapse.scenario.changes import added as added_molecules
from synapse_abm.synapse.scenario.parts import At, Description, Ligand
from synapse_abm.synapse.scenario.protocol import changed_by, events, plain_of

type Floats = NDArray[np.float64]

#: Steps of time, the first as a share of the whole, and rounds of each: within a few per cent.
STEPS, FIRST_SHARE, ROUNDS = 48, 1e-6, 6
#: Steps of time between two changes at least, and how often a periodic change counts as itself.
LEAST_STEPS, REPEATS = 6, 20


@dataclass(frozen=True, slots=True)
class Population:
    """Molecules and events of one replicate.

    Attributes
    ----------
    present, most
        Molecules that are there (free, bound, inside): mean over the run, and largest number.
    events_per_s
        Mean rate of events of molecules: binding, its ends, entering and leaving, coming back.
    entries_per_s
        Mean rate at which new molecules come.
    """

    present: float
    most: float
    events_per_s: float
    entries_per_s: float


def population(scenario: Description, seconds: float) -> Population:
    """Mean-field numbers of a run that lasts ``seconds``, through what its protocol changes.

    Free molecules F of a ligand, sites B bound by a pair, empty sites E of a target and molecules
    inside I follow dF/dt = a - q F - sum(on F E - off B) + r I, dB/dt = on F E - (off + k_cat) B,
    dI/dt = k_cat B - (r + m) I.
    """
    parts = _parts(scenario, seconds)
    place = _Place(scenario, [_at_start(x, seconds) for x in scenario.ligands.values()])
    steps = max(LEAST_STEPS, STEPS // len(parts))
    grown = (1 / FIRST_SHARE) ** (np.arange(steps) / (steps - 1))
    entries = 0.0
    for (start_s, description, added), end_s in zip(
        parts, [*(start for start, *_ in parts[1:]), seconds], strict=True
    ):
        length_s = end_s - start_s
        place.become(description, added)
        entries += float(place.entering.sum()) * length_s + sum(added.values())
        for h in np.diff(np.concatenate([[0.0], length_s * FIRST_SHARE * grown])):
            place.advance(h)
    events = (place.events + entries) / seconds
    return Population(
        float(place.present / seconds), place.most, float(events), float(entries / seconds)
    )


def _parts(
    scenario: Description, seconds: float
) -> list[tuple[float, Description, Mapping[str, int]]]:
    """What holds from when on (s) and what comes in then; of many events, some for all."""
    now = plain_of(scenario)
    parts: list[tuple[float, Description, Mapping[str, int]]] = [(0.0, now, {})]
    for event in events(_thinned(scenario, seconds), math.inf):
        now = changed_by(now, event.changes, event.added)
        parts.append((event.time_s, now, event.added))
    return [part for part in parts if part[0] < seconds]


def _thinned(scenario: Description, seconds: float) -> Description:
    """The same with periodic entries that come :data:`REPEATS` times at most, with as much more."""
    now, entries = plain_of(scenario), list[At]()
    for at in scenario.at:
        if at.every_s is not None:
            lasts = min(at.to_s or math.inf, seconds) - (at.from_s or 0.0)
            times = max(1, math.ceil(lasts / at.every_s / REPEATS))
            amounts = {name: n * times for name, n in added_molecules(now, at.add).items()}
            at = at.model_copy(update={"every_s": at.every_s * times, "add": amounts})
        entries.append(at)
    return scenario.model_copy(update={"at": tuple(entries)}) if scenario.at else scenario


class _Place:
    """The molecules of a place, and rate equations for them."""

    def __init__(self, scenario: Description, free: list[float]) -> None:
        ligands, targets = list(scenario.ligands.values()), list(scenario.targets)
        pairs = [(n, t) for n, ligand in enumerate(ligands) for t in ligand.binding]
        self.names = list(scenario.ligands)
        self.whose = np.array([n for n, _ in pairs], dtype=np.int64)
        self.where = np.array([targets.index(t) for _, t in pairs], dtype=np.int64)
        self.clamped = np.array([x.clamped_nM is not None for x in ligands], dtype=bool)
        self.free = np.array(free, dtype=np.float64)
        self.bound, self.inside = np.zeros(len(pairs)), np.zeros(len(ligands))
        self.entering = np.zeros(len(ligands))
        self.present = self.events = 0.0
        self.most = float(self.free[~self.clamped].sum())

    def become(self, now: Description, added: Mapping[str, int]) -> None:
        """Go on by other rates, with more molecules."""
        per_nM, ligands = now.grid.molecules_per_nM, list(now.ligands.values())
        pairs = [kinetics for ligand in ligands for kinetics in ligand.binding.values()]
        self.on = np.array([k.kon for k in pairs]) / per_nM
        self.off = np.array([k.koff for k in pairs])
        self.transported = np.array([k.kcat_per_s for k in pairs])
        self.sites = np.array([x.n_sites for x in now.targets.values()], dtype=np.float64)
        self.fixed = np.array([x.clamped_nM or 0.0 for x in ligands]) * per_nM
        self.entering = np.array([arrivals_per_s(now, x) for x in ligands])
        self.leaving = np.array([leaving_per_s(x) for x in ligands])
        self.back = np.array([x.return_per_s for x in ligands])
        self.lost = np.array([x.metabolism_per_s for x in ligands])
        self.free = self.free + [float(added.get(name, 0)) for name in self.names]
        self.free = np.where(self.clamped, self.fixed, self.free)

    def by_ligand(self, values: Floats) -> Floats:
        """Sums over the pairs of each ligand."""
        return np.bincount(self.whose, values, len(self.names))

    def advance(self, h: float) -> None:
        """One implicit step of ``h`` seconds.

        It solves for F, B and I at once with E from the round before: no rate, however fast, makes
        it unstable, and no molecule is lost.
        """
        whose, where, number = self.whose, self.where, len(self.sites)
        old_free, old_bound, old_inside = self.free, self.bound, self.inside
        off, transported, on = self.off, self.transported, self.on
        back, lost, leaving = self.back, self.lost, self.leaving
        stays = 1 / (1 + h * (off + transported))  # of what is bound, after the step
        inner = 1 + h * (back + lost)
        share = h * back / inner  # of what comes inside, back out after it
        returned = off + transported * share[whose]
        # 1 - h * returned * stays, without the difference: fast rates would leave only rounding
        lasting = (1 + h * transported * ((1 + h * lost) / inner)[whose]) * stays
        rest = self.sites - np.bincount(where, old_bound, number)
        free = old_free
        for _ in range(ROUNDS):
            empty = np.maximum(rest, 0.0)[where]
            come = old_free + h * self.entering + share * old_inside
            come += self.by_ligand(h * returned * old_bound * stays)
            go = 1 + h * leaving + self.by_ligand(h * on * empty * lasting)
            free = np.where(self.clamped, self.fixed, come / go)
            pull = h * on * free[whose] * stays
            taken = np.bincount(where, old_bound * stays, number)
            rest = (self.sites - taken) / (1 + np.bincount(where, pull, number))
        bound = (old_bound + h * on * free[whose] * np.maximum(rest, 0.0)[where]) * stays
        inside = (old_inside + h * self.by_ligand(transported * bound)) / inner
        inside[self.clamped] = 0.0
        here = float((free + self.by_ligand(bound) + inside)[~self.clamped].sum())
        ended = (off + transported) * bound
        rate = 2 * float(ended.sum()) + float((leaving * free + (back + lost) * inside).sum())
        self.present, self.events = self.present + h * here, self.events + h * rate
        self.most = max(self.most, here)
        self.free, self.bound, self.inside = free, bound, inside


def arrivals_per_s(scenario: Description, ligand: Ligand) -> float:
    """Molecules that come from the reservoir and in batches at a rate."""
    rate = sum(batch.size * batch.rate_per_s for batch in ligand.batches)
    if ligand.reservoir:
        copies = ligand.reservoir.concentration_nM * scenario.grid.molecules_per_nM
        rate += ligand.reservoir.exchange_per_s * copies
    return rate


def leaving_per_s(ligand: Ligand) -> float:
    """Rate at which a free molecule leaves or is destroyed."""
    return 0.0 if ligand.clamped_nM is not None else ligand.loss_per_s


def _at_start(ligand: Ligand, seconds: float) -> float:
    """Free molecules at the start; batches at given times as if they came then."""
    due = sum(batch.size * sum(t <= seconds for t in batch.times_s) for batch in ligand.batches)
    return float(ligand.count + due)
