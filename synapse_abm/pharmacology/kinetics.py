"""Rate constants of one ligand at one target."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from synapse_abm.core.fields import NonNegative, Positive, Ruled


class Kinetics(Ruled):
    """Binding of one ligand to one target: any two of Kd, k_on and k_off, and k_cat of transport.

    All three may be given if they agree (Kd = k_off/k_on within 1 %). ``kcat_per_s`` is the rate
    at which the bound molecule is taken up (0: no transport).
    """

    kd_nM: Positive | None = None
    """Dissociation constant, k_off/k_on."""
    kon_per_nM_s: NonNegative | None = None
    """Association rate constant."""
    koff_per_s: NonNegative | None = None
    """Dissociation rate constant."""
    kcat_per_s: NonNegative = 0.0
    """Rate at which a bound molecule is taken up."""

    @classmethod
    def broken_rules(cls, fields: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
        """That two of the three constants are given, or all three agree."""
        names = ("kd_nM", "kon_per_nM_s", "koff_per_s")
        # Two fix the third (Kd = k_off / k_on); a file with three has rounded them, hence the 1 %.
        constants = [fields[name] for name in names if fields.get(name) is not None]
        if len(constants) < 2:
            missing = next(name for name in names if fields.get(name) is None)
            yield missing, "any two of kd, kon and koff (with kcat for transport)", "add one"
        elif len(constants) == 3 and all(
            isinstance(x, float) and 0 <= x < math.inf for x in constants
        ):
            kd, kon, koff = constants
            if abs(kon * kd - koff) > 0.01 * koff:
                # No division by an association that is not there.
                follows = f"{koff / kon:.4g} nM" if kon > 0 else "infinite"
                said = f"k_off/k_on is {follows}, Kd is given as {kd:.4g} nM"
                yield "kd_nM", f"koff/kon, within 1 % ({said})", "leave out one of the three"

    @property
    def half_nM(self) -> float:
        """Concentration that half occupies (Kd) or, with transport, half saturates (Km), nM."""
        return (self.koff + self.kcat_per_s) / self.kon if self.kon > 0 else math.inf

    @property
    def kon(self) -> float:
        """Association rate constant, 1/(nM s)."""
        if self.kon_per_nM_s is not None:
            return self.kon_per_nM_s
        assert self.koff_per_s is not None and self.kd_nM is not None
        return self.koff_per_s / self.kd_nM

    @property
    def koff(self) -> float:
        """Dissociation rate constant, 1/s."""
        if self.koff_per_s is not None:
            return self.koff_per_s
        assert self.kon_per_nM_s is not None and self.kd_nM is not None
        return self.kon_per_nM_s * self.kd_nM
