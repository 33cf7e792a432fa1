"""Numbers with their sources: frozen records, checked field by field when they are made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, ValidationInfo
from pydantic_core import PydanticCustomError

from synapse_abm.core.fields import Frozen

Status = Literal["published", "derived", "assumed", "calibrated"]

#: Association faster than this, in 1/(nM s), is beyond diffusion, with a wide margin.
# 1e10/(M s); diffusion brings two small molecules together at 1e9 to 1e10/(M s).
FASTEST_KON = 10.0


def _within(low: float, high: float, unit: str) -> Any:
    """A field for a number (no text, no truth value, not NaN) from ``low`` to ``high``."""
    least, most = (f"{limit:g}".replace("e-0", "e-").replace("e+0", "e") for limit in (low, high))
    allowed = f"a number from {least} to {most}{unit and f', in {unit}'}"
    return Field(strict=True, ge=low, le=high, allow_inf_nan=False, description=allowed)


def _listed(kind: str) -> AfterValidator:
    """A check that a name is among those of ``kind`` in the context of the validation, if any."""

    def check(name: str, info: ValidationInfo) -> str:
        known = (info.context or {}).get(kind)
        if known is not None and name not in known:
            raise PydanticCustomError("unknown_name", "unknown", {"known": sorted(known)})
        return name

    return AfterValidator(check)


StatusName = Annotated[
    Status, Field(description="'published', 'derived', 'assumed' or 'calibrated'")
]
#: Text that reaches terminals: line ends and tabs, but nothing else that a terminal obeys.
_PLAIN = r"^[\P{C}\n\r\t]*$"
_NO_CONTROL = "text in quotes, without control characters"
Text = Annotated[str, Field(strict=True, pattern=_PLAIN, description=_NO_CONTROL)]
Words = Annotated[
    str, Field(strict=True, min_length=1, pattern=_PLAIN, description=f"{_NO_CONTROL}, not empty")
]
Yes = Annotated[bool, Field(strict=True, description="true or false")]
Doi = Annotated[
    str,
    Field(
        pattern=r"^10\.\d{4,9}/[^\s\p{C}]+$", description="a DOI in quotes, such as '10.1000/182'"
    ),
]
Pmid = Annotated[str, Field(pattern=r"^[1-9]\d{0,8}$", description="a PubMed number in quotes")]
Variant = Annotated[str, Field(pattern=r"^\w*$", description="one word in quotes, or ''")]
SourceKey = Annotated[str, _listed("source"), Field(description="the name of a [source.NAME]")]
TargetName = Annotated[str, _listed("target"), Field(description="the name of a [target.NAME]")]


class Source(Frozen):
    """Where numbers were found."""

    citation: Words
    doi: Doi | None = None
    pmid: Pmid | None = None
    via: SourceKey | None = None
    """The source in which this one was read, if not in the original."""
    note: Text = ""
    """What was read of it, and what to beware of."""

    def __str__(self) -> str:
        marks = [f"doi:{self.doi}" if self.doi else "", f"PMID {self.pmid}" if self.pmid else ""]
        return ", ".join([self.citation, *filter(None, marks)])


class TargetRecord(Frozen):
    """Something a ligand binds to."""

    kind: Annotated[
        Literal["transporter", "receptor"], Field(description="'transporter' or 'receptor'")
    ]
    description: Words


class Value(Frozen):
    """One number with its status and source; the subclass says of what, in which unit."""

    unit: ClassVar[str] = ""
    value: float
    status: StatusName
    source: SourceKey
    note: Text = ""


class AssociationRate(Value):
    """k_on in 1/(nM s)."""

    unit: ClassVar[str] = "1/(nM s)"
    value: Annotated[float, _within(1e-9, FASTEST_KON, "1/(nM s), that is 1e9/(M s)")]


class Rate(Value):
    """k_off or k_cat in 1/s."""

    unit: ClassVar[str] = "1/s"
    value: Annotated[float, _within(1e-9, 1e6, "1/s")]


class Efficacy(Value):
    """Effect of a bound receptor relative to serotonin: 0 antagonist, 1 full agonist."""

    value: Annotated[float, _within(0.0, 1.0, "")]


class Diffusion(Value):
    """Effective diffusion coefficient in the extracellular space, um^2/s."""

    unit: ClassVar[str] = "um^2/s"
    value: Annotated[float, _within(1e-3, 1e4, "um^2/s")]


@dataclass(frozen=True, slots=True)
class BindingRates:
    """Rate constants of one ligand at one target, each with its status."""

    kon: AssociationRate
    koff: Rate
    kcat: Rate | None


class Affinity(Frozen):
    """How strongly a ligand binds to a target, according to one source."""

    target: TargetName
    nM: Annotated[float, _within(1e-6, 1e9, "nM")]
    """The concentration that half occupies (Kd, Ki), half saturates (Km) or half inhibits (IC50)
    the target; an IC50 exceeds the Ki."""
    quantity: Annotated[
        Literal["Kd", "Ki", "Km", "IC50"], Field(description="'Kd', 'Ki', 'Km' or 'IC50'")
    ]
    status: StatusName
    source: SourceKey
    variant: Variant = ""
    """Tells several numbers of one source apart; part of the key."""
    assay: Words = "not stated"
    species: Words = "not stated"
    note: Text = ""
    default: Yes = False
    """Whether this one is taken unless another is asked for."""
    kon_per_nM_s: AssociationRate | None = None
    koff_per_s: Rate | None = None
    kcat_per_s: Rate | None = None
    """Transport rate of the bound molecule; wanted with Km = (k_off + k_cat)/k_on."""

    @property
    def key(self) -> str:
        """What follows the ``@`` to choose this one: the source, and the variant if it has one."""
        return f"{self.source}-{self.variant}" if self.variant else self.source

    def rates(self, usual_kon: AssociationRate | None = None) -> BindingRates:
        """The rate constants that go with this affinity.

        Two of affinity, k_on and k_off give the third; if neither rate is known, k_on is
        ``usual_kon``. An affinity that is not a Km counts as k_off/k_on.

        Raises
        ------
        ValueError
            If they contradict each other, or k_on would be faster than :data:`FASTEST_KON`.
        """
        # Only a Km contains k_cat: occupied sites of a Ki or Kd are emptied by unbinding alone.
        transported = self.kcat_per_s.value if self.quantity == "Km" and self.kcat_per_s else 0.0
        law = "(k_off + k_cat)/Km" if self.quantity == "Km" else f"k_off/{self.quantity}"
        kon, koff = self.kon_per_nM_s, self.koff_per_s
        if koff is None:
            # Affinity and one rate give the other; which of them is measured is seldom known, so
            # the usual k_on.
            kon = kon or usual_kon
            assert kon is not None, "without k_off and k_on the usual k_on is needed"
            value = kon.value * self.nM - transported
            # Michaelis: Km = (k_off + k_cat) / k_on, so k_off is what k_cat leaves of k_on x Km.
            if value <= 0:
                raise ValueError("a rate given so that k_on x Km exceeds k_cat")
            how = f"k_on x {self.quantity}" + (" - k_cat" if transported else "")
            koff = Rate.model_construct(value=value, status="derived", source=self.source, note=how)
            return BindingRates(kon, koff, self.kcat_per_s)
        value = (koff.value + transported) / self.nM
        if kon is None:
            if value > FASTEST_KON:
                raise ValueError(
                    f"a rate that keeps k_on = {law} at {FASTEST_KON:g} 1/(nM s) or less"
                )
            kon = AssociationRate.model_construct(
                value=value, status="derived", source=self.source, note=law
            )
        # Published numbers are rounded to two or three digits: within 1 % they agree.
        elif abs(kon.value / value - 1) > 0.01:
            raise ValueError(f"left out, or k_on = {law} = {value:.4g} 1/(nM s), within 1 %")
        return BindingRates(kon, koff, self.kcat_per_s)
