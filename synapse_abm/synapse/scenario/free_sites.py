"""Which share of a target's sites is free, by the rate equations: what rates are adjusted for.

Goes in: a description. Comes out: a number for each target. Space plays no part.
"""

from __future__ import annotations

from collections.abc import Mapping

from synapse_abm.synapse.scenario.parts import Description, Ligand

#: Shares are rounded to so many decimals, far above what sums in another order change.
DECIMALS = 6
#: Sweeps over ligands, and halvings of an interval, after which nothing changes any more.
SWEEPS, HALVINGS = 20, 50
#: Load of a site that a ligand never leaves.
FULL = 1e12


def free_shares(description: Description) -> dict[str, float]:
    """Share (0 to 1) of each target's sites that are free in what a scenario goes through.

    The steady state of the rate equations; half-way between that and the start, where all sites are
    empty, for a course: a run without burn-in. Rounded to :data:`DECIMALS`.
    """
    free_nM = {name: _supply_nM(description, name) for name in description.ligands}
    explicit = [x for x in description.ligands.values() if x.clamped_nM is None and x.binding]
    # Each ligand is balanced with the others as they are, again and again (Gauss and Seidel), by
    # sums and quotients only: a solver of the whole system would differ between processors.
    for _ in range(SWEEPS if len(explicit) > 1 else 1):  # one alone is balanced at once
        before = dict(free_nM)
        for name in description.ligands:
            free_nM[name] = _balanced_nM(description, name, free_nM)
        if free_nM == before:
            break
    shares = {t: 1 / (1 + _load(description, t, free_nM, "")) for t in description.targets}
    if is_course(description):
        shares = {target: (1 + share) / 2 for target, share in shares.items()}
    return {target: round(share, DECIMALS) for target, share in shares.items()}


def is_course(description: Description) -> bool:
    """Whether what a scenario starts from is a part of what is measured: it has no burn-in."""
    return description.run is None or description.run.burn_in_s == 0


def _supply_nM(description: Description, name: str) -> float:
    """The concentration there would be without any site."""
    ligand = description.ligands[name]
    if ligand.clamped_nM is not None:
        return ligand.clamped_nM
    lost = ligand.loss_per_s
    if lost > 0:
        return _arrival_nM_per_s(description, ligand) / lost
    return ligand.count / description.grid.molecules_per_nM


def _arrival_nM_per_s(description: Description, ligand: Ligand) -> float:
    """Arrival from the reservoir and release at a rate."""
    released = sum(batch.size * batch.rate_per_s for batch in ligand.batches)
    arrival = released / description.grid.molecules_per_nM
    if ligand.reservoir is not None:
        arrival += ligand.reservoir.exchange_per_s * ligand.reservoir.concentration_nM
    return arrival


def _load(
    description: Description, target: str, free_nM: Mapping[str, float], without: str
) -> float:
    """Sum of C/K over the ligands of a target, but for one; K = (k_off + k_cat)/k_on."""
    total = 0.0
    for name, ligand in description.ligands.items():
        kinetics = ligand.binding.get(target)
        if name != without and kinetics is not None and kinetics.kon > 0:
            total += _ratio(kinetics.kon * free_nM[name], kinetics.koff + kinetics.kcat_per_s)
    return total


def _ratio(on: float, off: float) -> float:
    if off > 0:
        return on / off
    return FULL if on > 0 else 0.0


def _balanced_nM(description: Description, name: str, free_nM: Mapping[str, float]) -> float:
    """Free concentration of one ligand at which as much comes as goes, the others as they are."""
    ligand = description.ligands[name]
    if ligand.clamped_nM is not None or not ligand.binding:
        return free_nM[name]
    volume, lost = description.grid.molecules_per_nM, ligand.loss_per_s
    others = {t: _load(description, t, free_nM, name) for t in ligand.binding}
    back = ligand.return_per_s + ligand.metabolism_per_s
    # Of what is transported, the share that never returns.
    consumed = ligand.metabolism_per_s / back if back > 0 else 1.0
    arrival = _arrival_nM_per_s(description, ligand)
    is_open = lost > 0 or arrival > 0

    def surplus(concentration: float) -> float:
        """What goes beyond what comes (nM/s); in a closed place what there is beyond the count."""
        goes, present = lost * concentration, concentration
        for target, kinetics in ligand.binding.items():
            load = _ratio(kinetics.kon * concentration, kinetics.koff + kinetics.kcat_per_s)
            sites_nM = description.targets[target].n_sites / volume
            bound = sites_nM * load / (1 + load + others[target])
            present += bound
            goes += kinetics.kcat_per_s * bound * consumed
        return goes - arrival if is_open else present - ligand.count / volume

    low, high = 0.0, max(_supply_nM(description, name), 1e-30)
    while surplus(high) < 0 and high < 1e15:
        high *= 2
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if surplus(middle) < 0 else (low, middle)
    return (low + high) / 2


__all__ = ["DECIMALS", "free_shares", "is_course"]
