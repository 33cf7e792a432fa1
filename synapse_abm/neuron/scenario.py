"""The neuron: its parameters, each with unit, status and source, and what can act on it.

One serotonin neuron with two places, a terminal and a soma. Spikes release serotonin at both;
transporters and loss clear it; at the soma it binds to 5-HT1A autoreceptors, which slow the spikes.
Over days the sensitivity of the autoreceptors falls under sustained activation and
recovers after it; downstream, CREB, BDNF and plasticity follow serotonin at the terminal one after
the other.

Two accounts of it do not know each other: ``meanfield`` solves equations for means, ``engine``
plays the same events molecule by molecule. Concentrations are nM, times s
(the slow constants are given in days), rates 1/s, contents and pools molecules.
"""

from __future__ import annotations

import functools
import math
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass
from importlib import resources
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, ValidationError

from synapse_abm import pharmacology
from synapse_abm.core.arithmetic import all_rounded
from synapse_abm.core.errors import InputError, raise_faults
from synapse_abm.core.fields import FROM_NUMPY, Count, Frozen, NonNegative, Positive, whole
from synapse_abm.core.units import molecules_per_nM
from synapse_abm.core.validation_errors import field_faults
from synapse_abm.pharmacology import Status
from synapse_abm.pharmacology.kinetics import Kinetics
from synapse_abm.synapse.scenario.parts import Grid

DAY_S = 86_400.0
PLACES = ("terminal", "soma")
REACHES = ("both", *PLACES)  # which of them a drug comes to
MOST_MOLECULES = 10_000_000  # of a place: lists of 1.3 GB

Share = Annotated[
    float, Field(gt=0, le=1, allow_inf_nan=False, description="a number > 0, at most 1")
]
Part = Annotated[
    float, Field(ge=0, lt=1, allow_inf_nan=False, description="a number >= 0, below 1")
]


class Parameter(Frozen):
    """One number of the neuron, as the data file states it."""

    value: float
    unit: str
    status: Status
    source: str
    note: str = ""


@functools.cache
def provenance() -> Mapping[str, Mapping[str, Parameter]]:
    """Unit, status, source and note of every default: ``provenance()["soma"]["volume_um3"]``."""
    text = resources.files("synapse_abm.neuron").joinpath("data/neuron.toml").read_text("utf-8")
    return {
        part: {name: Parameter.model_validate(entry) for name, entry in table.items()}
        for part, table in tomllib.loads(text).items()
    }


def _default(part: str, name: str) -> Any:
    """A field whose default stands in the data file."""
    value = provenance()[part][name].value
    # The file's values are all floats; these two count things.
    return Field(default=int(value) if name in ("spike_trains", "receptors") else value)


class Place(Frozen):
    """Terminal or soma: its size, its serotonin at baseline, and what clears it."""

    volume_um3: Positive
    serotonin_nM: Positive
    transporters: Count
    sert_share: Share
    mao_ratio: Positive
    mao_per_s: Positive
    leak_share: Part

    @property
    def molecules_per_nM(self) -> float:
        """Molecules that make 1 nM here."""
        return molecules_per_nM(self.volume_um3)


def default_place(name: str, **changes: Any) -> Place:
    """The terminal or the soma of the data file, with some numbers changed."""
    return Place(**_complete(name, changes))


def serotonin_at(target: str) -> Kinetics:
    """Serotonin's rate constants at SERT or 5-HT1A, from the pharmacology."""
    return pharmacology.ligand("serotonin").kinetics(target)


class NeuronParameters(Frozen):
    """All parameters of a neuron; the defaults stand, with their sources, in ``data/neuron.toml``.

    ``recovery`` says why firing comes back: ``"sensitivity"``, autoreceptors lose
    sensitivity; or ``"drive"``, the other reading (CommonsLinnros2019): feedback works as ever
    and the drive rises until firing is back.
    """

    rate_Hz: Positive = _default("neuron", "rate_Hz")
    feedback_strength: Positive = _default("neuron", "feedback_strength")
    relaxation_s: Positive = _default("neuron", "relaxation_s")
    spike_trains: Annotated[int, whole(1, 10_000), FROM_NUMPY] = _default("neuron", "spike_trains")
    receptors: Annotated[Count, Field(ge=1)] = _default("neuron", "receptors")
    desensitisation_strength: NonNegative = _default("neuron", "desensitisation_strength")
    desensitisation_days: Positive = _default("neuron", "desensitisation_days")
    postsynaptic_strength: NonNegative = _default("neuron", "postsynaptic_strength")
    postsynaptic_days: Positive = _default("neuron", "postsynaptic_days")
    creb_days: Positive = _default("neuron", "creb_days")
    bdnf_days: Positive = _default("neuron", "bdnf_days")
    plasticity_days: Positive = _default("neuron", "plasticity_days")
    threshold: Positive = _default("neuron", "threshold")
    power: Positive = _default("neuron", "power")
    recovery: Literal["sensitivity", "drive"] = "sensitivity"
    terminal: Place = Field(default_factory=lambda: default_place("terminal"))
    soma: Place = Field(default_factory=lambda: default_place("soma"))
    sert: Kinetics = Field(default_factory=lambda: serotonin_at("SERT"))
    receptor: Kinetics = Field(default_factory=lambda: serotonin_at("5-HT1A"))

    @property
    def places(self) -> tuple[Place, Place]:
        """Terminal and soma."""
        return self.terminal, self.soma

    @property
    def free(self) -> tuple[FreeParameters, FreeParameters]:
        """What the baseline fixes at the terminal and at the soma."""
        terminal, soma = (free_parameters(p, self.sert, self.rate_Hz) for p in self.places)
        return terminal, soma

    @property
    def resting_occupancy(self) -> float:
        """theta0: share of autoreceptors that baseline serotonin binds."""
        return receptor_occupancy(self.soma.serotonin_nM, receptor_kd_nM(self))


def neuron(**values: Any) -> NeuronParameters:
    """A neuron with the given parameters, everything that is wrong with them told at once.

    ``terminal`` and ``soma`` may be given as mappings of what differs from the default place.

    Raises
    ------
    InputError
        If there is one fault: name, value, what is allowed.
    InputErrors
        If there are more. A baseline that no free parameter can produce is among them.
    """
    for place in PLACES:
        if isinstance(values.get(place), Mapping):
            values[place] = _complete(place, values[place])
    try:
        parameters = NeuronParameters.model_validate(values)
    except ValidationError as error:
        raise_faults([*field_faults(error, NeuronParameters), *_faults_beside(error, values)])
        raise  # pragma: no cover - a validation error always has a fault
    raise_faults(list(baseline_faults(parameters)))
    return parameters


def _faults_beside(error: ValidationError, values: Mapping[str, Any]) -> list[InputError]:
    """What is wrong with the baseline besides single values: found with defaults for those."""
    # Pydantic stops before rules that involve several values: they are tried with defaults for what
    # is wrong, so that one run tells everything.
    sound = dict(values)
    for fault in error.errors(include_url=False):
        name, *rest = fault["loc"]
        # Only the wrong value of a place is left out: its other values still count.
        if name in PLACES and rest and isinstance(sound.get(name), Mapping):
            place = {key: value for key, value in sound[name].items() if key != rest[0]}
            sound[name] = _complete(str(name), place)
        else:
            sound.pop(str(name), None)
    try:
        return list(baseline_faults(NeuronParameters.model_validate(sound)))
    except ValidationError:  # pragma: no cover - what was wrong has been left out
        return []


def _complete(name: str, place: Mapping[str, Any]) -> dict[str, Any]:
    """A place's values with defaults for those that are not given."""
    known: dict[str, Any] = {field: entry.value for field, entry in provenance()[name].items()}
    known["transporters"] = int(known["transporters"])
    return known | dict(place)


def baseline_faults(neuron: NeuronParameters) -> Iterator[InputError]:
    """Why no content per spike, drive or synthesis would give the baseline that is asked for."""
    if (
        uptake_nM_per_s(1.0, 0.0, neuron.terminal, neuron.sert) == 0.0
        or neuron.sert.kcat_per_s == 0.0
    ):
        yield InputError(
            "sert", neuron.sert, "a k_on and a k_cat above 0", "SERT must carry serotonin"
        )
        return
    if neuron.receptor.kon == 0.0 or neuron.receptor.koff == 0.0:
        yield InputError("receptor", neuron.receptor, "a k_on and a k_off above 0")
    for name, place in zip(PLACES, neuron.places, strict=True):
        if place.transporters == 0:
            yield InputError(
                f"{name}.transporters", 0, "a number > 0, as sert_share says SERT clears",
                "change the genotype of a treatment instead: the baseline is the wild type's",
            )  # fmt: skip
            continue
        free = free_parameters(place, neuron.sert, neuron.rate_Hz)
        molecules = place.serotonin_nM * place.molecules_per_nM + free.pool
        if molecules > MOST_MOLECULES:
            yield InputError(
                f"{name}.serotonin_nM", place.serotonin_nM,
                f"a baseline of at most {MOST_MOLECULES:.0e} molecules; here {molecules:.2g} with"
                f" a volume of {place.volume_um3:g} um3",
                "take a smaller volume or less serotonin",
            )  # fmt: skip
            continue
        # A spike from a full pool releases up to twice the resting content.
        if free.pool < 2 * free.quantal_content:
            yield InputError(
                f"{name}.mao_ratio", place.mao_ratio,
                f"above {2 * place.mao_per_s / neuron.rate_Hz:.3g}, so that the pool at baseline"
                f" ({free.pool:.3g} molecules) covers a spike"
                f" ({2 * free.quantal_content:.3g} at most)",
                "lower serotonin at baseline does not help: both shrink together",
            )  # fmt: skip


# --- free parameters: what the baseline fixes -----------------------------------------------------


@dataclass(frozen=True, slots=True)
class FreeParameters:
    """What a place's baseline fixes, in mean field.

    Attributes
    ----------
    loss_per_s
        k_loss, of free serotonin.
    quantal_content
        q v: molecules that one spike releases here at the baseline pool (all trains together).
    leak_per_s
        Molecules released without spikes, 1/s.
    pool
        N0: molecules inside at baseline.
    synthesis_per_s
        Molecules made, 1/s: what loss and monoamine oxidase destroy at baseline.
    """

    loss_per_s: float
    quantal_content: float
    leak_per_s: float
    pool: float
    synthesis_per_s: float


def free_parameters(place: Place, sert: Kinetics, rate_Hz: float) -> FreeParameters:
    """Loss, content, leak, pool and synthesis that make the place stationary at its baseline."""
    s, v = place.serotonin_nM, place.molecules_per_nM
    # From what is known to what follows: SERT's uptake at baseline, of which it is a given share of
    # all clearance; release balances clearance, synthesis what is lost or destroyed.
    uptake = uptake_nM_per_s(s, 0.0, place, sert)
    release = uptake / place.sert_share * v
    pool = place.mao_ratio * release / place.mao_per_s
    lost = release * (1 - place.sert_share)
    return FreeParameters(
        loss_per_s=lost / (v * s),
        quantal_content=release * (1 - place.leak_share) / rate_Hz,
        leak_per_s=release * place.leak_share,
        pool=pool,
        synthesis_per_s=lost + place.mao_per_s * pool,
    )


# --- what both accounts of it use: uptake and binding ---------------------------------------------


def uptake_nM_per_s(serotonin_nM: float, inhibition: float, place: Place, sert: Kinetics) -> float:
    """Michaelis-Menten uptake Vmax S / (Km (1 + I) + S), with I = drug / Ki."""
    # A competitive inhibitor multiplies Km and leaves Vmax: enough serotonin displaces it.
    vmax = sert.kcat_per_s * place.transporters / place.molecules_per_nM
    # Without transporters or k_on both are degenerate; uptake is then 0, not nan.
    km = michaelis_nM(sert)
    return vmax * serotonin_nM / (km * (1 + inhibition) + serotonin_nM) if vmax > 0 else 0.0


def michaelis_nM(sert: Kinetics) -> float:
    """Km of uptake, nM: above Kd, as a bound molecule may also be carried across."""
    return (sert.koff + sert.kcat_per_s) / sert.kon if sert.kon > 0 else math.inf


def receptor_kd_nM(neuron: NeuronParameters) -> float:
    """Kd of serotonin at the autoreceptor, nM."""
    return neuron.receptor.koff / neuron.receptor.kon


def receptor_occupancy(serotonin_nM: float, kd_nM: float, other: float = 0.0) -> float:
    """Share of receptors with serotonin bound; ``other`` that of an antagonist / its Kd."""
    return serotonin_nM / (serotonin_nM + kd_nM * (1 + other))


def bound_at_rest(neuron: NeuronParameters, at: int, transporters: float = 1.0) -> tuple[int, int]:
    """Transporters and receptors of a place that hold serotonin at baseline, in mean field.

    ``transporters`` is their number as a share of the wild type's.
    """
    place, sert = neuron.places[at], neuron.sert
    s = place.serotonin_nM
    # Briggs and Haldane: occupied by Km, not Kd, because bound serotonin also leaves by transport.
    share = s / (s + michaelis_nM(sert))
    receptors = round(neuron.receptors * neuron.resting_occupancy) if at == 1 else 0
    return round(share * round(place.transporters * transporters)), receptors


# --- what acts on a neuron, and what it was made to rest at ---------------------------------------


@dataclass(frozen=True, slots=True)
class Exposure:
    """What acts on the neuron at one time.

    Attributes
    ----------
    terminal, soma
        Uptake inhibitor at each place as concentration / Ki; alone it would occupy I/(1 + I).
    antagonist
        Ligand of the autoreceptor as concentration / its affinity; 0.2 of efficacy 0.2 is a
        partial agonist, efficacy 0 an antagonist.
    efficacy
        Of that ligand, 0 to 1.
    mao
        Share of monoamine oxidase that works.
    transporters
        SERT number as a share of the wild type's, at both places.
    """

    terminal: float = 0.0
    soma: float = 0.0
    antagonist: float = 0.0
    efficacy: float = 0.0
    mao: float = 1.0
    transporters: float = 1.0

    @property
    def inhibitions(self) -> tuple[float, float]:
        """Of uptake at the terminal and at the soma."""
        return self.terminal, self.soma

    @classmethod
    def of_occupancy(cls, share: float) -> Exposure:
        """A drug that alone would occupy ``share`` of SERT at both places."""
        return cls(share / (1 - share), share / (1 - share))

    def rounded(self) -> Exposure:
        """The same to eight digits, which no processor's exponentials change."""
        return Exposure(*all_rounded(astuple(self)))


NO_DRUG = Exposure()

#: Fast and slow variables, and the slow ones at baseline.
FAST = ("rate_Hz", "terminal_nM", "soma_nM", "terminal_pool", "soma_pool")
SLOW = ("sensitivity", "drive", "postsynaptic", "creb", "bdnf", "plasticity")
AT_REST: npt.NDArray[np.float64] = np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])


#: As many as there are averages to be met: rate, serotonin at both places, pools at both places.
FACTORS = ("terminal_content", "soma_content", "drive", "terminal_synthesis", "soma_synthesis")


@dataclass(frozen=True, slots=True)
class Baseline:
    """Factors on the mean-field values of what the baseline fixes, and averages at rest.

    Attributes
    ----------
    terminal_content, soma_content, drive, terminal_synthesis, soma_synthesis
        Factors that make rate, serotonin and pools of the stochastic neuron those asked for.
    sensitivity, hill, postsynaptic
        Averages at rest of sensitivity_target, hill and postsynaptic_target. Noise makes them
        differ from their values at the mean (1, h(1), 1); measured against them, nothing changes
        without a drug.
    """

    terminal_content: float = 1.0
    soma_content: float = 1.0
    drive: float = 1.0
    terminal_synthesis: float = 1.0
    soma_synthesis: float = 1.0
    sensitivity: float = 1.0
    hill: float = math.nan
    postsynaptic: float = 1.0

    @property
    def factors(self) -> npt.NDArray[np.float64]:
        """Those that the calibration looks for, in the order of :data:`FACTORS`."""
        return np.array([getattr(self, name) for name in FACTORS])

    @property
    def contents(self) -> tuple[float, float]:
        """Factors on the content of a spike at the terminal and at the soma."""
        return self.terminal_content, self.soma_content

    @property
    def syntheses(self) -> tuple[float, float]:
        """Factors on synthesis at the terminal and at the soma."""
        return self.terminal_synthesis, self.soma_synthesis


MEAN_FIELD = Baseline()


@dataclass(frozen=True, slots=True)
class Drug:
    """A clamped ligand: rate constants at its target; at 5-HT1A also its efficacy."""

    kinetics: Kinetics
    efficacy: float = 0.0

    @property
    def per_nM(self) -> float:
        """Affinity, 1/nM: k_on over k_off."""
        return self.kinetics.kon / self.kinetics.koff


class PlaceGrid(Frozen):
    """The grid of a place: a square of ``cells`` x ``cells``, ``depth_um`` deep, of its volume.

    ``dt_s`` is the length of a step; by default it keeps the error of driven kinetics below 0.2 %
    (``timestep``). Coarser cells allow longer steps.
    """

    cells: Annotated[int, whole(1, 512), FROM_NUMPY] = 64
    depth_um: Positive = 1.0
    dt_s: Positive | None = None
    diffusion_um2_per_s: Positive = Field(
        default_factory=lambda: pharmacology.ligand("serotonin").diffusion_um2_per_s
    )

    def of(self, volume_um3: float) -> Grid:
        """The grid of a place of this volume."""
        # Extracellular space as a flat sheet: its volume and depth give the square's side.
        spacing = math.sqrt(volume_um3 / self.depth_um) / self.cells
        return Grid(width=self.cells, height=self.cells, spacing_um=spacing, depth_um=self.depth_um)
