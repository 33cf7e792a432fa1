"""What can be changed while a neuron runs: names, units, limits, and the history of it.

A change maps names to values, ``{"drug": "12 nM", "sensitivity": 0.4}``, and acts from the next
step on. A concentration is a number with its unit, or a plain number if the name says the unit
(``drug_nM``). Molecules and sites stay as they are: what a change does to them is left to the rates
of binding and unbinding that it sets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

from synapse_abm.core import quantity
from synapse_abm.core.arguments import choice, instance, number
from synapse_abm.core.errors import InputError, UnknownName, collected, raise_faults
from synapse_abm.core.quantity import EXAMPLES
from synapse_abm.neuron.ligands import Doses
from synapse_abm.neuron.meanfield.ode import Piece
from synapse_abm.neuron.scenario import PLACES, REACHES, SLOW, Exposure, NeuronParameters, Place

type Value = float | str | bool


class Change(NamedTuple):
    """Time (s) from which a change acts, and its values by name, as they were given."""

    seconds: float
    values: dict[str, Value]


#: Largest concentration, nM: 1 M, beyond what dissolves.
MOST_NM = 1e9
#: Most values that a run's history may hold: a checkpoint's header has room for them.
MOST_CHANGES = 250_000
#: Longest text of a value.
MOST_TEXT = 40

#: Least and largest value of every number that may change. Without any monoamine oxidase the pool
#: would grow for ever.
LIMITS = {
    "drug_nM": (0.0, MOST_NM), "antagonist_nM": (0.0, MOST_NM), "mao": (1e-6, 1e3),
    "sensitivity": (0.0, 1e3), "drive": (0.0, 1e3), "postsynaptic": (0.0, 1e3),
    "creb": (-1e3, 1e3), "bdnf": (-1e3, 1e3), "plasticity": (-1e3, 1e3),
}  # fmt: skip
#: Every name, and the quantity that it sets.
NAMES = {name: name for name in (*LIMITS, "reach", "feedback")} | {
    "drug": "drug_nM", "occupied": "drug_nM", "antagonist": "antagonist_nM",
}  # fmt: skip
_PATHS = {f"neuron.{name}": name for name in SLOW}
#: Largest share of SERT to be occupied: the concentration grows as 1/(1 - share).
MOST_OCCUPIED = 0.9999

_NEW = "make a new model"
_BASELINE = "the baseline was computed from it", _NEW
_ADDRESS = "it addresses all random numbers", _NEW
_WELL_MIXED = "the places of this model are well mixed, without grid and spacing", _NEW
_ENGINE = "it says what computes, not what acts", "save, and resume with another one"
_ATTRIBUTE = "it is no part of the neuron", "set the attribute of the model"
#: What a user may want to change and cannot: why, and what to do instead.
_FIXED = {
    **dict.fromkeys(NeuronParameters.model_fields, _BASELINE),
    **{f"{place}.{name}": _BASELINE for place in PLACES for name in Place.model_fields},
    **dict.fromkeys(("parameters", "baseline"), _BASELINE),
    **dict.fromkeys(("rng", "replicate"), _ADDRESS),
    **dict.fromkeys(("grid", "cells", "spacing", "spacing_um", "depth", "depth_um"), _WELL_MIXED),
    **dict.fromkeys(("engine", "agent_classes"), _ENGINE),
    **dict.fromkeys(("collect_every", "check_every_step"), _ATTRIBUTE),
    "transporters": ("sites are numbered by it, and the baseline stays the wild type's", _NEW),
    "dt_s": ("random numbers are counted by its steps", _NEW),
    "speed": ("days are counted by it from the start", _NEW),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Acting:
    """What acts on a neuron besides its slow variables, as :class:`NeuronModel` is told it.

    Attributes
    ----------
    drug_nM, antagonist_nM
        Free concentrations of the drug and of the autoreceptors' other ligand.
    mao
        Share of monoamine oxidase that works.
    reach
        Which places the drug reaches: ``both``, ``terminal`` or ``soma``.
    feedback
        Whether autoreceptors slow the spikes.
    """

    drug_nM: float = 0.0
    antagonist_nM: float = 0.0
    mao: float = 1.0
    reach: str = "both"
    feedback: bool = True

    @classmethod
    def checked(cls, **values: Any) -> Acting:
        """Values of a user's, checked.

        Raises
        ------
        InputError, InputErrors
            For whatever is wrong with them, at once.
        """
        faults, sound = list[InputError](), dict[str, Any]()
        for name, value in values.items():
            with collected(faults):
                sound[name] = _checked(name, name, value)
        raise_faults(faults)
        return cls(**sound)

    def exposure(self, doses: Doses) -> Exposure:
        """What this amounts to, in units of affinities."""
        own = replace(doses, reach=self.reach)
        return own.exposure(self.drug_nM, self.antagonist_nM, self.mao)


ACTING = tuple(field.name for field in fields(Acting))


def read(changes: object, doses: Doses) -> dict[str, Any]:
    """Values of a change in the program's units, by the quantities they set.

    Raises
    ------
    InputError, InputErrors
        For whatever is wrong with names and values, at once.
    """
    if not isinstance(changes, Mapping) or not changes:
        allowed = "values by name, such as {'drug': '12 nM', 'sensitivity': 0.4}"
        raise InputError("changes", changes, allowed)
    faults, values, named = list[InputError](), dict[str, Any](), dict[str, str]()
    for path, value in changes.items():
        # ``neuron.sensitivity`` is what the attribute of the model is called.
        name = _PATHS.get(path, path)
        if name not in NAMES:
            faults.append(_refused(path, value))
            continue
        sets = NAMES[name]
        if named.setdefault(sets, path) != path:
            allowed = f"nothing beside {named[sets]}, which sets the same"
            faults.append(InputError(path, value, allowed, "give one of them"))
        with collected(faults):
            values[sets] = _read(path, name, value, doses)
    raise_faults(faults)
    return values


def _refused(name: object, value: object) -> InputError:
    """Why a name changes nothing."""
    if isinstance(name, str) and name in _FIXED:
        why, fix = _FIXED[name]
        return InputError(name, value, "left as it is while the neuron runs", f"{why}; {fix}")
    return UnknownName("a name in changes", name, NAMES)


def _read(path: str, name: str, value: object, doses: Doses) -> Value:
    """One value in the program's units; ``path`` is what messages call it."""
    if name == "occupied":
        fix = "no concentration occupies all transporters; use 0.85 for 85 %"
        share = number(path, value, least=0.0, most=MOST_OCCUPIED, fix=fix)
        # Alone it occupies C / (C + Kd).
        return share / (1 - share) / doses.inhibitor.per_nM
    sets = NAMES[name]
    if not sets.endswith("_nM"):
        return _checked(path, sets, value)
    read = _checked(path, sets, _in_nM(path, value, plain=name == sets))
    if sets == "antagonist_nM" and doses.antagonist is None and read:
        fix = "name one when the model is made, antagonist='pindolol'"
        raise InputError(path, value, "0, as the model has no antagonist", fix)
    return read


def _checked(path: str, sets: str, value: object) -> Value:
    """A value within the limits of the quantity that it sets."""
    if sets == "reach":
        return choice(path, value, REACHES)
    if sets == "feedback":
        return instance(path, value, bool, "True or False")
    least, most = LIMITS[sets]
    return number(path, value, least=least, most=most, unit=sets.endswith("_nM") * "nM")


def _in_nM(path: str, value: object, plain: bool) -> object:
    """A concentration in nM; what is no text is returned as it is, if ``plain`` numbers will do."""
    if isinstance(value, str):
        if len(value) > MOST_TEXT:
            allowed = f"at most {MOST_TEXT} characters, such as {EXAMPLES['nM']}"
            raise InputError(path, value, allowed)
        if not any(c.isdigit() for c in value):
            allowed = f"a concentration, such as {EXAMPLES['nM']}"
            fix = "the ligand itself stays, as sites hold it; make a new model for another one"
            raise InputError(path, value, allowed, fix)
        return quantity.parse(value, "nM", path)
    if plain:
        return value
    fix = f"if it is in nM, call it {NAMES[path]}"
    raise InputError(path, value, f"a number with its unit, such as {EXAMPLES['nM']}", fix)


class History:
    """What acted on a neuron from its start on, and what acts on it now.

    Parameters
    ----------
    doses
        Its ligands.
    start
        What acted at time 0.
    """

    def __init__(self, doses: Doses, start: Acting) -> None:
        self.doses, self.start, self.now = doses, start, start
        self._entries = list[Change]()
        self._values = 0

    @property
    def entries(self) -> tuple[Change, ...]:
        """Copies of all changes."""
        return tuple(Change(time_s, dict(values)) for time_s, values in self._entries)

    def add(self, time_s: float, changes: object) -> dict[str, float]:
        """Change what acts; returns the slow variables that are set, by name.

        Raises
        ------
        InputError, InputErrors
            For whatever is wrong, at once; nothing is changed then.
        """
        values = read(changes, self.doses)
        if self._values + len(values) > MOST_CHANGES:
            allowed = f"at most {MOST_CHANGES} values in a run, so that it can be saved"
            raise InputError("changes", changes, allowed, "change it less often")
        self.now = replace(self.now, **{n: v for n, v in values.items() if n in ACTING})
        self._entries.append(Change(time_s, _plain(changes)))
        self._values += len(values)
        return {name: float(v) for name, v in values.items() if name in SLOW}

    def take_up(self, entries: object, dt_s: float, steps: int) -> None:
        """The changes of a file, which may be anybody's, of a run that has made ``steps`` steps.

        Raises
        ------
        ValueError
            If they are no history of such a run: what is wrong, and where.
        """
        before = 0.0
        for i, (time_s, changes) in enumerate(_listed(entries)):
            if not before <= time_s <= steps * dt_s or round(time_s / dt_s) * dt_s != time_s:
                raise ValueError(f"changes[{i}] at {time_s:g} s, which is no step in their order")
            before = time_s
            self.add(time_s, changes)

    def pieces(self) -> list[Piece]:
        """The same as times from which constant values act, for the mean field."""
        pieces = [Piece(0.0, self.start.exposure(self.doses), self.start.feedback)]
        other = History(self.doses, self.start)
        for time_s, changes in self._entries:
            slow = other.add(time_s, changes)
            exposure = other.now.exposure(self.doses)
            pieces.append(Piece(time_s, exposure, other.now.feedback, slow))
        return pieces


def _plain(changes: object) -> dict[str, Value]:
    """The values as they were given, in Python's own types."""
    assert isinstance(changes, Mapping)
    return {
        str(name): value if isinstance(value, bool) else str(value) if isinstance(value, str)
        else float(value)
        for name, value in changes.items()
    }  # fmt: skip


def _listed(entries: object) -> Iterable[tuple[float, dict[str, Any]]]:
    """Times and values of what JSON held."""
    if not isinstance(entries, list) or len(entries) > MOST_CHANGES:
        raise ValueError(f"changes are no list of at most {MOST_CHANGES} entries")
    for i, entry in enumerate(entries):
        match entry:
            case [float(time_s), dict(changes)]:
                yield time_s, changes
            case _:
                raise ValueError(f"changes[{i}] is no time with values: {str(entry)[:80]}")
