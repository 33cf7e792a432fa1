"""Rate constants of one ligand at one target."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from synapse_abm.core.fields import Frozen, NonNegative, Positive


class Kinetics(Frozen):
    """Binding of one ligand to one target: any two of Kd, k_on and k_off, and k_cat of transport.

    All three may be given if they agree (Kd = k_off/k_on within 1 %). ``kcat_per_s`` is the rate
    at which the bound molecule is taken up (0: no transport).
    """

    kd_nM: Positive | None = None
    kon_per_nM_s: NonNegative | None = None
    koff_per_s: NonNegative | None = None
    kcat_per_s: NonNegative = 0.0

    @model_validator(mode="after")
    def _two_of_three(self) -> Self:
        constants = (self.kd_nM, self.kon_per_nM_s, self.koff_per_s)
        if sum(constant is not None for constant in constants) < 2:
            raise ValueError("give exactly two of kd_nM, kon_per_nM_s and koff_per_s")
        if self.contradiction():
            raise ValueError(self.contradiction())
        return self

    def contradiction(self) -> str:
        """What is wrong if all three constants are given and do not agree, else nothing."""
        kd, kon, koff = self.kd_nM, self.kon_per_nM_s, self.koff_per_s
        if kd is None or kon is None or koff is None or abs(kon * kd - koff) <= 0.01 * koff:
            return ""
        # No division by an association that is not there.
        follows = f"{koff / kon:.4g} nM" if kon > 0 else "infinite"
        return f"k_off/k_on is {follows}, Kd is given as {kd:.4g} nM; leave out one of the three"

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
