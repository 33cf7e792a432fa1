"""The unit system: micrometre, second, nanomolar, molecules; conversions happen here and nowhere
else.

Concentrations are nM (1e-9 mol per litre), lengths um, times s, diffusion coefficients um^2/s.
"""

from __future__ import annotations

#: Avogadro constant, exact since the 2019 revision of the SI, in 1/mol (BIPM, SI Brochure, 9th
#: ed.).
AVOGADRO_PER_MOL = 6.02214076e23

#: Molecules in 1 um^3 of a 1 nM solution: N_A x 1e-9 mol/l x 1e-15 l.
MOLECULES_PER_NM_UM3 = AVOGADRO_PER_MOL * 1e-24


def molecules_per_nM(volume_um3: float) -> float:
    """Number of molecules that make 1 nM in ``volume_um3`` (um^3)."""
    return MOLECULES_PER_NM_UM3 * volume_um3


def pair_rate_per_s(kon_per_nM_s: float, volume_um3: float) -> float:
    """Rate (1/s) at which one molecule binds one empty site when both are in ``volume_um3``.

    ``kon_per_nM_s`` is the association rate constant in 1/(nM s); one molecule in the volume is a
    concentration of ``1 / molecules_per_nM(volume)``.
    """
    return kon_per_nM_s / molecules_per_nM(volume_um3)
