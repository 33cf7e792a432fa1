"""Ligands that act on a neuron, by their names; what their doses amount to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from synapse_abm import pharmacology
from synapse_abm.core.errors import InputError
from synapse_abm.neuron.meanfield.ode import Unbinding
from synapse_abm.neuron.scenario import PLACES, Drug, Exposure


def at_sert(ligand: str) -> Drug:
    """A drug at the transporter."""
    return Drug(pharmacology.ligand(ligand).kinetics("SERT"))


def at_autoreceptor(ligand: str | None) -> Drug | None:
    """A ligand of the autoreceptor, which is an agonist in part or not at all; None for None."""
    if ligand is None:
        return None
    record = pharmacology.ligand(ligand)
    return Drug(record.kinetics("5-HT1A"), record.efficacy("5-HT1A"))


def unbinding(inhibitor: Drug, antagonist: Drug | None) -> Unbinding:
    """How fast both let go of their sites, for theory."""
    none = Unbinding()
    return Unbinding(
        inhibitor.kinetics.koff,
        none.antagonist_per_s if antagonist is None else antagonist.kinetics.koff,
    )


def ligand_faults(name: str, ligand: str, target: str) -> Iterator[InputError]:
    """That a ligand is not known, or does not bind."""
    try:
        record = pharmacology.ligand(ligand)
    except InputError as error:
        yield error
        return
    fix = "see synapse-abm list --drugs"
    if target not in record.bound_targets:
        yield InputError(name, ligand, f"a ligand whose affinity at {target} is known", fix)
    # A substrate would be taken up and join the pool, for which there is no place here.
    elif record.kinetics(target).kcat_per_s > 0:
        yield InputError(name, ligand, "a drug, which binds and stays outside", fix)
    elif target == "5-HT1A" and target not in record.efficacies:
        yield InputError(name, ligand, f"a ligand whose efficacy at {target} is known", fix)


@dataclass(frozen=True)
class Doses:
    """What turns free concentrations into an exposure.

    Attributes
    ----------
    inhibitor, antagonist
        The drug at SERT, and the ligand of the autoreceptor if there is one.
    reach
        Which places the drug reaches: ``both``, ``terminal`` or ``soma``.
    transporters
        SERT number as a share of the wild type's.
    """

    inhibitor: Drug
    antagonist: Drug | None
    reach: str = "both"
    transporters: float = 1.0

    def exposure(self, drug_nM: float, antagonist_nM: float, mao: float) -> Exposure:
        """Concentrations (nM) over affinities, and the share of monoamine oxidase that works."""
        own = self.inhibitor.per_nM
        terminal, soma = (
            # Microdialysis or a local infusion reaches one end of the neuron only.
            own * drug_nM if self.reach in ("both", place) else 0.0
            for place in PLACES
        )
        antagonist = self.antagonist
        other, efficacy = (
            (antagonist.per_nM * antagonist_nM, antagonist.efficacy) if antagonist else (0.0, 0.0)
        )
        return Exposure(terminal, soma, other, efficacy, mao, self.transporters)
