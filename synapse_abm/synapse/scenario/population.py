"""How many molecules and events a run goes through: rate equations of the whole place, roughly.

For estimates of time and memory. The place is taken as well mixed, which molecules that pile up in
cells or bind again where they were released are not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synapse_abm.synapse.scenario.parts import Description, Ligand

type Floats = NDArray[np.float64]

#: Steps of time, the first as a share of the whole, and rounds of each: within a few per cent.
STEPS, FIRST_SHARE, ROUNDS = 48, 1e-6, 6


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
    """Mean-field numbers of a run that lasts ``seconds``.

    Free molecules F of a ligand, sites B bound by a pair, empty sites E of a target and molecules
    inside I follow dF/dt = a - q F - sum(on F E - off B) + r I, dB/dt = on F E - (off + k_cat) B,
    dI/dt = k_cat B - (r + m) I. Each implicit step solves for F, B and I at once with E from the
    round before: no rate, however fast, makes it unstable, and no molecule is lost.
    """
    ligands, targets = list(scenario.ligands.values()), list(scenario.targets)
    pairs = [(n, t, k) for n, ligand in enumerate(ligands) for t, k in ligand.binding.items()]
    whose = np.array([n for n, _, _ in pairs], dtype=np.int64)
    where = np.array([targets.index(t) for _, t, _ in pairs], dtype=np.int64)
    on = np.array([k.kon for _, _, k in pairs]) / scenario.grid.molecules_per_nM
    off = np.array([k.koff for _, _, k in pairs])
    transported = np.array([k.kcat_per_s for _, _, k in pairs])
    sites = np.array([target.n_sites for target in scenario.targets.values()], dtype=np.float64)
    clamped = np.array([x.clamped_nM is not None for x in ligands], dtype=bool)
    fixed = np.array([x.clamped_nM or 0.0 for x in ligands]) * scenario.grid.molecules_per_nM
    entering = np.array([arrivals_per_s(scenario, x) for x in ligands])
    leaving = np.array([leaving_per_s(x) for x in ligands])
    back = np.array([x.return_per_s for x in ligands])
    lost = np.array([x.metabolism_per_s for x in ligands])
    free = np.where(clamped, fixed, [_at_start(x, seconds) for x in ligands])
    bound, inside = np.zeros(len(pairs)), np.zeros(len(ligands))
    n, molecules = len(ligands), ~clamped

    def by_ligand(values: Floats) -> Floats:
        return np.bincount(whose, values, n)

    grown = (1 / FIRST_SHARE) ** (np.arange(STEPS) / (STEPS - 1))
    times = np.concatenate([[0.0], seconds * FIRST_SHARE * grown])
    present = events = 0.0
    most = float(free[molecules].sum())
    for h in np.diff(times):
        old_free, old_bound, old_inside = free, bound, inside
        stays = 1 / (1 + h * (off + transported))  # of what is bound, after the step
        inner = 1 + h * (back + lost)
        share = h * back / inner  # of what comes inside, back out after it
        returned = off + transported * share[whose]
        # 1 - h * returned * stays, without the difference: fast rates would leave only rounding
        lasting = (1 + h * transported * ((1 + h * lost) / inner)[whose]) * stays
        rest = sites - np.bincount(where, old_bound, len(sites))
        for _ in range(ROUNDS):
            empty = np.maximum(rest, 0.0)[where]
            come = old_free + h * entering + share * old_inside
            come += by_ligand(h * returned * old_bound * stays)
            go = 1 + h * leaving + by_ligand(h * on * empty * lasting)
            free = np.where(clamped, fixed, come / go)
            pull = h * on * free[whose] * stays
            taken = np.bincount(where, old_bound * stays, len(sites))
            rest = (sites - taken) / (1 + np.bincount(where, pull, len(sites)))
        bound = (old_bound + h * on * free[whose] * np.maximum(rest, 0.0)[where]) * stays
        inside = (old_inside + h * by_ligand(transported * bound)) / inner
        inside[clamped] = 0.0
        here = float((free + by_ligand(bound) + inside)[molecules].sum())
        ended = (off + transported) * bound
        rate = 2 * float(ended.sum()) + float((leaving * free + (back + lost) * inside).sum())
        present, events, most = present + h * here, events + h * rate, max(most, here)
    entries = float(entering.sum())
    return Population(float(present / seconds), most, float(events / seconds) + entries, entries)


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
