"""What is known of a ligand: frozen records, checked field by field when they are made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from synapse_abm.core.errors import UnknownName
from synapse_abm.synapse.scenario.definition import Frozen, Kinetics, Ligand

Status = Literal["published", "derived", "assumed", "calibrated"]

#: Association faster than this, in 1/(nM s), is beyond diffusion, with a wide margin.
FASTEST_KON = 10.0


def _within(low: float, high: float, unit: str) -> Any:
    """A field for a number (no text, no truth value, not NaN) from ``low`` to ``high``."""
    least, most = (f"{each:g}".replace("e-0", "e-").replace("e+0", "e") for each in (low, high))
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
Text = Annotated[str, Field(strict=True, description="text in quotes")]
Words = Annotated[str, Field(strict=True, min_length=1, description="text in quotes, not empty")]
Yes = Annotated[bool, Field(strict=True, description="true or false")]
Doi = Annotated[
    str,
    Field(pattern=r"^10\.\d{4,9}/[^\s]+$", description="a DOI in quotes, such as '10.1000/182'"),
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
        carried = self.kcat_per_s.value if self.quantity == "Km" and self.kcat_per_s else 0.0
        law = "(k_off + k_cat)/Km" if self.quantity == "Km" else f"k_off/{self.quantity}"
        kon, koff = self.kon_per_nM_s, self.koff_per_s
        if koff is None:
            kon = kon or usual_kon
            assert kon is not None, "without k_off and k_on the usual k_on is needed"
            value = kon.value * self.nM - carried
            if value <= 0:
                raise ValueError("a rate given so that k_on x Km exceeds k_cat")
            how = f"k_on x {self.quantity}" + (" - k_cat" if carried else "")
            koff = Rate.model_construct(value=value, status="derived", source=self.source, note=how)
            return BindingRates(kon, koff, self.kcat_per_s)
        value = (koff.value + carried) / self.nM
        if kon is None:
            if value > FASTEST_KON:
                raise ValueError(
                    f"a rate that keeps k_on = {law} at {FASTEST_KON:g} 1/(nM s) or less"
                )
            kon = AssociationRate.model_construct(
                value=value, status="derived", source=self.source, note=law
            )
        elif abs(kon.value / value - 1) > 0.01:
            raise ValueError(f"left out, or k_on = {law} = {value:.4g} 1/(nM s), within 1 %")
        return BindingRates(kon, koff, self.kcat_per_s)


class LigandRecord(Frozen):
    """Everything known of one ligand; ``print`` it for a table with units and sources.

    Made by :func:`synapse_abm.pharmacology.ligand`.
    """

    name: str
    kind: str
    """The class of drug: SSRI, SNRI, NRI, TCA, multimodal, antagonist, ... or transmitter."""
    note: str
    all_affinities: tuple[Affinity, ...]
    efficacies: dict[str, Efficacy]
    diffusion: Diffusion
    usual_kon: AssociationRate
    targets: dict[str, TargetRecord]
    """All targets that the library knows."""
    citations: dict[str, Source]
    """All sources that the library knows."""
    chosen: str | None = None
    """The key that was asked for with ``@``; where it has no number the default is taken."""
    file: str = ""
    """The user's file that it was taken from by name, if any."""

    @property
    def full_name(self) -> str:
        """The name with its file and the chosen source, as ``ligand`` takes it."""
        name = f"{self.name}@{self.chosen}" if self.chosen else self.name
        return f"{self.file}:{name}" if self.file else name

    @property
    def diffusion_um2_per_s(self) -> float:
        """Effective diffusion coefficient in the extracellular space, um^2/s."""
        return self.diffusion.value

    @property
    def bound_targets(self) -> tuple[str, ...]:
        """The targets for which an affinity is known."""
        return tuple(dict.fromkeys(each.target for each in self.all_affinities))

    def affinities(self, target: str) -> tuple[Affinity, ...]:
        """What all sources say of ``target``, the default first.

        Raises
        ------
        UnknownName
            If nothing is known.
        """
        found = [each for each in self.all_affinities if each.target == target]
        if not found:
            raise UnknownName(f"target of {self.name}", target, self.bound_targets)
        return tuple(sorted(found, key=lambda each: not each.default))

    def affinity(self, target: str) -> Affinity:
        """The chosen affinity at ``target``, or the default one.

        Raises
        ------
        UnknownName
            If nothing is known.
        """
        found = self.affinities(target)
        return next((each for each in found if each.key == self.chosen), found[0])

    def rates(self, target: str) -> BindingRates:
        """Rate constants at ``target``, each with status and source: k_on in 1/(nM s), the others
        in 1/s.

        Raises
        ------
        UnknownName
            If no affinity is known.
        """
        return self.affinity(target).rates(self.usual_kon)

    def kinetics(self, target: str) -> Kinetics:
        """Rate constants at ``target`` as a scenario takes them.

        Raises
        ------
        UnknownName
            If no affinity is known.
        """
        affinity, rates = self.affinity(target), self.rates(target)
        kcat = rates.kcat.value if rates.kcat else 0.0
        if affinity.quantity == "Km":
            kon, koff = rates.kon.value, rates.koff.value
            return Kinetics(kon_per_nM_s=kon, koff_per_s=koff, kcat_per_s=kcat)
        if affinity.koff_per_s is not None:
            return Kinetics(kd_nM=affinity.nM, koff_per_s=rates.koff.value, kcat_per_s=kcat)
        return Kinetics(kd_nM=affinity.nM, kon_per_nM_s=rates.kon.value, kcat_per_s=kcat)

    def efficacy(self, target: str) -> float:
        """Effect of the bound receptor relative to serotonin, 0 (antagonist) to 1 (full agonist).

        Raises
        ------
        UnknownName
            If ``target`` is no receptor that this ligand binds to.
        """
        if target not in self.efficacies:
            raise UnknownName(f"receptor of {self.name}", target, self.efficacies)
        return self.efficacies[target].value

    def sources(self) -> tuple[str, ...]:
        """Citations behind the numbers that this record gives: chosen affinities, rates,
        efficacies, diffusion.
        """
        return tuple(str(self.citations[key]) for key in self.source_keys())

    def source_keys(self, *, everything: bool = False) -> tuple[str, ...]:
        """Names of the sources in use, or of all that this record holds, and those they were
        read in.
        """
        shown = self.all_affinities if everything else map(self.affinity, self.bound_targets)
        keys = list[str]()
        for affinity in shown:
            rates = affinity.rates(self.usual_kon)
            keys += [affinity.source, rates.kon.source, rates.koff.source]
            keys += [rates.kcat.source] if rates.kcat else []
        keys += [each.source for each in (*self.efficacies.values(), self.diffusion)]
        return with_originals(keys, self.citations)

    def in_scenario(self, targets: Iterable[str], **supply: Any) -> Ligand:
        """The ligand as a scenario takes it, binding to those of ``targets`` for which an affinity
        is known.

        Parameters
        ----------
        targets
            Names among ``target_names()``; at one without an affinity it does not bind.
        supply
            Where the molecules come from: ``count``, ``clamped_nM``, ``reservoir``, ``batches``,
            ``return_per_s``, ... (see :class:`synapse_abm.synapse.scenario.definition.Ligand`).

        Raises
        ------
        UnknownName
            If a target is unknown.
        """
        wanted = tuple(targets)
        for target in wanted:
            if target not in self.targets:
                raise UnknownName("target", target, self.targets)
        binding = {each: self.kinetics(each) for each in wanted if each in self.bound_targets}
        given: dict[str, Any] = {
            "role": self.name if self.name in ("serotonin", "norepinephrine") else "drug",
            "diffusion_um2_per_s": self.diffusion_um2_per_s,
            "binding": binding,
        }
        return Ligand(**given | supply)

    def __str__(self) -> str:
        from synapse_abm.pharmacology.showing import record_text

        return record_text(self)

    def __repr__(self) -> str:
        return f"ligand({self.full_name!r})"

    @model_validator(mode="after")
    def _choice_is_known(self) -> Self:
        keys = {each.key for each in self.all_affinities}
        if self.chosen is not None and self.chosen not in keys:
            raise ValueError(f"{self.name} has no affinity from {self.chosen!r}")
        return self


def with_originals(keys: Iterable[str], citations: Mapping[str, Source]) -> tuple[str, ...]:
    """``keys`` without repetition, each followed by the source it was read in."""
    found = dict[str, None]()
    for key in keys:
        link: str | None = key
        while link is not None and link not in found:
            found[link] = None
            link = citations[link].via
    return tuple(found)
