"""A well-mixed scenario as SBML (Level 3 Version 2), so that other simulators may judge ours.

Species are numbers of molecules (units ``item``), the compartment is the place, and every event
that the engine draws is one reaction with the same propensity:

=================  =====================================================================
binding            k_on x free x empty / (molecules per nM); a clamped ligand is a constant
                   boundary species
unbinding          k_off x bound
transport          k_cat x bound; the molecule is then ``inside``
return, metabolism rate x inside
degradation, exit  rate x free
arrival            exchange x concentration x (molecules per nM)
batch at a rate    rate, with the batch's size as stoichiometry
batch at a time    an event; at time zero, part of the initial amount
=================  =====================================================================

Read as a stochastic model it is the engine's on one cell, as differential equations its mean field.
Hucka 2019, J Integr Bioinform 16:20190021 (SBML L3V2).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from synapse_abm.core.errors import InputError, raise_faults
from synapse_abm.core.files import write_atomic
from synapse_abm.synapse.scenario.definition import Scenario
from synapse_abm.synapse.scenario.parts import Batch, Ligand

LEVEL, VERSION = 3, 2


def write_sbml(
    scenario: Scenario, path: str | os.PathLike[str], *, well_mixed: bool = False
) -> None:
    """Write ``to_sbml(scenario)`` to a file, which is whole or absent.

    Raises
    ------
    InputError, InputErrors
        If SBML cannot say what the scenario says; no file is touched.
    OutputError
        If the file cannot be written.
    """
    write_atomic(path, to_sbml(scenario, well_mixed=well_mixed).encode())


def to_sbml(scenario: Scenario, *, well_mixed: bool = False) -> str:
    """The scenario as an SBML document, found consistent by libSBML, units included.

    Parameters
    ----------
    scenario
        A place of one cell; of more only if ``well_mixed``.
    well_mixed
        Leave space out: one compartment of the same volume. Equilibrium without transport, release
        and loss stays the same; kinetics and all that is driven may not.

    Raises
    ------
    InputError, InputErrors
        If SBML cannot say what the scenario says; all reasons at once.
    """
    if not well_mixed:
        raise_faults(list(_space(scenario)))
    return _Document(scenario).text()


def _space(scenario: Scenario) -> Iterable[InputError]:
    """All that a scenario says of space, which SBML has no words for."""
    fix, grid = "ask for well_mixed (--well-mixed) to leave space out", scenario.grid
    if grid.cells > 1:
        yield InputError("grid", f"{grid.width} x {grid.height}", "one cell, 1 x 1", fix)
    else:
        return
    inside = "nothing that names a cell or moves in space"
    for name, target in scenario.targets.items():
        if target.cells is not None:
            yield InputError(f"target.{name}.cells", f"{len(target.cells)} cells", inside, fix)
    for name, ligand in scenario.ligands.items():
        if ligand.start_cell is not None:
            yield InputError(f"ligand.{name}.start_cell", ligand.start_cell, inside, fix)
        for number, batch in enumerate(ligand.batches):
            yield InputError(f"ligand.{name}.batches[{number}].cell", batch.cell, inside, fix)


@dataclass(frozen=True, slots=True)
class _Ids:
    """Names of a scenario as SBML identifiers: unique, of letters, digits and underscores."""

    taken: dict[str, str] = field(default_factory=dict)

    def of(self, *words: str) -> str:
        """The identifier of a name made of ``words``, always the same one."""
        name = " ".join(words)
        # Searched, not kept the other way round: a document has a few hundred names.
        known = {text: sid for sid, text in self.taken.items()}
        if name in known:
            return known[name]
        plain = re.sub(r"\W", "_", "_".join(words), flags=re.ASCII)
        plain = plain if not plain[0].isdigit() else f"_{plain}"
        sid, number = plain, 2
        while sid in self.taken:
            sid, number = f"{plain}_{number}", number + 1
        self.taken[sid] = name
        return sid


#: Identifier of the one compartment, and of the number of molecules that make 1 nM in it.
PLACE, PER_NM = "place", "molecules_per_nM"

#: Units that parameters have: identifier, and factors as (kind, exponent, scale).
UNITS = {
    "um3": (("litre", 1, -15),),
    "nM": (("mole", 1, -9), ("litre", -1, 0)),
    "item_per_nM": (("item", 1, 0), ("mole", -1, -9), ("litre", 1, 0)),
    "per_s": (("second", -1, 0),),
    "item_per_s": (("item", 1, 0), ("second", -1, 0)),
    "per_nM_s": (("mole", -1, -9), ("litre", 1, 0), ("second", -1, 0)),
}


def species_id(what: str, *names: str) -> str:
    """Identifier that a species has unless another name stands in the way: ``free`` or ``inside``
    of a ligand, ``empty`` of a target, ``bound`` of a target and a ligand.
    """
    return _Ids().of(*names, what)


class _Document:
    """An SBML document being written."""

    def __init__(self, scenario: Scenario) -> None:
        import libsbml  # a second: not before it is needed

        self.sbml: Any = libsbml
        self.scenario = scenario
        self.ids = _Ids()
        self.ids.of(PLACE)
        self.ids.of(PER_NM)
        self.document = libsbml.SBMLDocument(LEVEL, VERSION)
        self.model = _made(
            self.document.createModel(), Id=self.ids.of("model", scenario.name), Name=scenario.name,
            SubstanceUnits="item", ExtentUnits="item", TimeUnits="second", VolumeUnits="um3",
        )  # fmt: skip
        for sid, factors in UNITS.items():
            definition = _made(self.model.createUnitDefinition(), Id=self.ids.of(sid))
            for kind, exponent, scale in factors:
                number = getattr(libsbml, f"UNIT_KIND_{kind.upper()}")
                unit = definition.createUnit()
                _made(unit, Kind=number, Exponent=exponent, Scale=scale, Multiplier=1.0)
        _made(
            self.model.createCompartment(), Id=PLACE, SpatialDimensions=3,
            Size=scenario.grid.volume_um3, Units="um3", Constant=True,
        )  # fmt: skip
        self.parameter(PER_NM, scenario.grid.molecules_per_nM, "item_per_nM")
        for name, target in scenario.targets.items():
            self.species(("empty", name), target.n_sites)
        for name, ligand in scenario.ligands.items():
            self._ligand(name, ligand)

    def species(self, name: tuple[str, ...], amount: float, *, constant: bool = False) -> str:
        """A number of molecules or sites; ``name`` is what it is, then the names of which."""
        what, *names = name
        sid = self.ids.of(*names, what)
        _made(
            self.model.createSpecies(), Id=sid, Name=f"{' '.join(names)}, {what}",
            Compartment=PLACE, InitialAmount=float(amount), SubstanceUnits="item",
            HasOnlySubstanceUnits=True, BoundaryCondition=constant, Constant=constant,
        )  # fmt: skip
        return sid

    def parameter(self, sid: str, value: float, unit: str) -> str:
        """A constant with its unit."""
        _made(self.model.createParameter(), Id=sid, Value=value, Units=unit, Constant=True)
        return sid

    def reaction(
        self, words: tuple[str, ...], value: float, unit: str, law: str,
        takes: Iterable[str], gives: Iterable[tuple[str, int]],
    ) -> None:  # fmt: skip
        """An event with a rate, unless it never happens. In ``law`` ``{k}`` is its constant."""
        if value == 0:
            return
        k = self.parameter(self.ids.of("k", *words), value, unit)
        reaction = _made(
            self.model.createReaction(), Id=self.ids.of(*words), Name=" ".join(words),
            Reversible=False,
        )  # fmt: skip
        for sid in takes:
            _made(reaction.createReactant(), Species=sid, Stoichiometry=1.0, Constant=True)
        for sid, number in gives:
            product = reaction.createProduct()
            _made(product, Species=sid, Stoichiometry=float(number), Constant=True)
        _made(reaction.createKineticLaw(), Math=self.formula(law.format(k=k)))

    def formula(self, text: str) -> Any:
        """A formula as SBML keeps it."""
        return self.sbml.parseL3Formula(text)

    def _ligand(self, name: str, ligand: Ligand) -> None:
        # A clamped ligand is a boundary species: reactions see it and do not change it.
        clamped = ligand.clamped_nM is not None
        at_start = sum(b.size * b.times_s.count(0.0) for b in ligand.batches)
        amount: float = ligand.count + at_start
        if ligand.clamped_nM is not None:
            amount = ligand.clamped_nM * self.scenario.grid.molecules_per_nM
        free = self.species(("free", name), amount, constant=clamped)
        taken_up = any(k.kcat_per_s > 0 for k in ligand.binding.values()) and not clamped
        inside = [(self.species(("inside", name), 0), 1)] if taken_up else []
        for target, kinetics in ligand.binding.items():
            empty = self.ids.of(target, "empty")
            bound = self.species(("bound", target, name), 0)
            self.reaction(("bind", target, name), kinetics.kon, "per_nM_s",
                          f"{{k}} * {free} * {empty} / {PER_NM}", (free, empty),
                          [(bound, 1)])  # fmt: skip
            self.reaction(("unbind", target, name), kinetics.koff, "per_s", f"{{k}} * {bound}",
                          (bound,), [(free, 1), (empty, 1)])  # fmt: skip
            self.reaction(("transport", target, name), kinetics.kcat_per_s, "per_s",
                          f"{{k}} * {bound}", (bound,), [(empty, 1), *inside])  # fmt: skip
        if clamped:
            return
        for words, rate, sid, gives in (
            ("return", ligand.return_per_s, inside, [(free, 1)]),
            ("metabolise", ligand.metabolism_per_s, inside, []),
            ("degrade", ligand.degradation_per_s, [(free, 1)], []),
            ("exit", ligand.exit_per_s, [(free, 1)], []),
        ):
            for source, _ in sid:
                self.reaction((words, name), rate, "per_s", f"{{k}} * {source}", (source,), gives)
        if ligand.reservoir is not None:
            outside = self.parameter(
                self.ids.of("reservoir", name), ligand.reservoir.concentration_nM, "nM"
            )
            rate = ligand.exit_per_s if ligand.reservoir.concentration_nM else 0.0
            self.reaction(("arrive", name), rate, "per_s", f"{{k}} * {outside} * {PER_NM}", (),
                          [(free, 1)])  # fmt: skip
        for number, batch in enumerate(ligand.batches):
            self.reaction(("release", name, str(number)), batch.rate_per_s, "item_per_s", "{k}", (),
                          [(free, batch.size)])  # fmt: skip
            self._at_times(name, free, number, batch)

    def _at_times(self, name: str, free: str, number: int, batch: Batch) -> None:
        later = sorted(time for time in batch.times_s if time > 0)
        for count, time in enumerate(later):
            words = ("release", name, str(number), "time", str(count))
            # Reckoned when it is carried out, not when it falls due: releases at the same time
            # would else all add to the number before the first, and only the last would count.
            event = _made(
                self.model.createEvent(), Id=self.ids.of(*words), UseValuesFromTriggerTime=False
            )
            due = self.formula(f"time >= {time!r} second")
            _made(event.createTrigger(), InitialValue=False, Persistent=True, Math=due)
            more = self.formula(f"{free} + {batch.size} item")
            _made(event.createEventAssignment(), Variable=free, Math=more)

    def text(self) -> str:
        """The document, after libSBML has found nothing to complain of.

        Raises
        ------
        AssertionError
            If libSBML objects: a fault of this module, not of the scenario.
        """
        complaints = faults(self.document)
        if complaints:  # pragma: no cover - a fault of ours
            raise AssertionError("libSBML objects:\n" + "\n".join(complaints))
        return str(self.sbml.writeSBMLToString(self.document))


def _made(element: Any, **settings: Any) -> Any:
    """An element of a document with its attributes set: ``Id="x"`` calls ``setId("x")``."""
    for name, value in settings.items():
        getattr(element, f"set{name}")(value)
    return element


def faults(document: Any) -> list[str]:
    """What libSBML's full consistency check says of a document, warnings included."""
    document.checkConsistency()
    errors = map(document.getError, range(document.getNumErrors()))
    return [f"line {error.getLine()}: {error.getMessage().strip()}" for error in errors]
