"""Which numbers of a scenario nobody measured: remarks to stand beside them.

A ligand that was taken from the library has its numbers with their status there; what a scenario
gives itself is the user's own affair. Files of the user's own drugs are not opened for this.
"""

from __future__ import annotations

from contextlib import suppress

from synapse_abm.core.errors import InputError
from synapse_abm.pharmacology.library import library, own_file
from synapse_abm.pharmacology.ligand_record import LigandRecord
from synapse_abm.synapse.scenario.parts import Grid, Ligand

ASSUMED = "assumed"
_REMARK = f" ({ASSUMED})"


def depth_remark(grid: Grid) -> str:
    """Where nobody gave a depth, which decides the volume and so all numbers of copies."""
    if "depth_um" in grid.model_fields_set:
        return ""
    # One cell is told by its volume, so that the depth is not seen.
    return f" (depth {grid.depth_um:g} um, {ASSUMED})" if grid.cells == 1 else _REMARK


def diffusion_remark(ligand: Ligand) -> str:
    """Where the diffusion coefficient is the library's, and assumed there."""
    known = _known(ligand)
    if known is None or known.diffusion_um2_per_s != ligand.diffusion_um2_per_s:
        return ""
    return _REMARK if known.diffusion.status == ASSUMED else ""


def rate_remarks(ligand: Ligand, target: str) -> tuple[str, str, str]:
    """Behind k_on, k_off and k_cat: that it was assumed, or follows from what was."""
    known, kinetics = _known(ligand), ligand.binding[target]
    if known is None or target not in known.bound_targets or known.kinetics(target) != kinetics:
        return "", "", ""
    rates = known.rates(target)
    kon, koff = (_REMARK if rate.status == ASSUMED else "" for rate in (rates.kon, rates.koff))
    # Of the affinity and one rate the other follows.
    if kon and rates.koff.status == "derived":
        koff = " (from k_on)"
    elif koff and rates.kon.status == "derived":
        kon = " (from k_off)"
    kcat = _REMARK if rates.kcat is not None and rates.kcat.status == ASSUMED else ""
    return kon, koff, kcat


def _known(ligand: Ligand) -> LigandRecord | None:
    """What the library says of a ligand that was taken from it."""
    if ligand.taken_from and not own_file(ligand.taken_from):
        with suppress(InputError):  # the library of another version had it
            return library().ligand(ligand.taken_from)
    return None
