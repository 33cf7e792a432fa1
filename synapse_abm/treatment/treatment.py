"""Treatments: what is done to a neuron, as functions of time, and its mean-field solution.

A ``course.Course`` runs one.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from synapse_abm.core.arguments import check_seed, choice, instance, number, whole_number
from synapse_abm.core.errors import InputError, collected, raise_faults, tried
from synapse_abm.neuron import scenario as parameters
from synapse_abm.neuron.calibration import seconds_of_stage
from synapse_abm.neuron.changes import MOST_NM
from synapse_abm.neuron.engine.simulation import NeuronSimulation
from synapse_abm.neuron.engine.simulation_grid import cost_s
from synapse_abm.neuron.ligands import Doses, at_autoreceptor, at_sert, ligand_faults, unbinding
from synapse_abm.neuron.meanfield.lna import events_per_s
from synapse_abm.neuron.meanfield.ode import Setting, Unbinding, course, relaxations_s
from synapse_abm.neuron.scenario import (
    DAY_S,
    PLACES,
    REACHES,
    Exposure,
    NeuronParameters,
    PlaceGrid,
)
from synapse_abm.synapse.engine.layout import F64

type Dosing = Callable[[float], float]

LONG_S = 60.0  # a course that takes longer is announced
SETTLING, SHORT_WAIT_S = 6.0, 1.0  # relaxation times at a jump; before other windows, about
MOST_DAYS = 36_500.0  # a hundred years
#: Functions of time, and what they may give.
LIMITS = {"concentration_nM": (0.0, MOST_NM), "antagonist_nM": (0.0, MOST_NM), "mao": (1e-6, 1e3)}
PROBE_S = 200  # of a neuron at rest: some 50 ms


def constant(nM: float) -> Dosing:
    """The same concentration at all times, nM.

    This and the other doses raise InputError if a number cannot be used.
    """
    nM = number("nM", nM, least=0.0, most=MOST_NM)
    return lambda t_s: nM


def stopped(nM: float, day: float) -> Dosing:
    """A concentration until ``day``, and none from then on."""
    nM = number("nM", nM, least=0.0, most=MOST_NM)
    day = number("day", day, least=0.0, most=MOST_DAYS)
    # At the jump itself the new concentration holds, as solvers and windows take it.
    return lambda t_s: nM if t_s < day * DAY_S else 0.0


def ramp(nM: float, days: float) -> Dosing:
    """A concentration that rises evenly over ``days`` and stays."""
    nM = number("nM", nM, least=0.0, most=MOST_NM)
    days = number("days", days, above=0.0, most=MOST_DAYS)
    return lambda t_s: nM * min(t_s / (days * DAY_S), 1.0)


NOTHING = constant(0.0)


@functools.cache
def seconds_per_event() -> float:
    """Time of one core that an event of the well-mixed neuron takes on this machine, s; measured
    once in a process.
    """
    probe = NeuronSimulation(NeuronParameters())
    # Compiling, or loading what was compiled, is over after this.
    probe.run(PROBE_S // 10)
    begun = time.process_time()
    probe.run(PROBE_S)
    return (time.process_time() - begun) / (PROBE_S * events_per_s(Setting(probe.neuron)))


@dataclass(frozen=True)
class Treatment:
    """What is done to a neuron, for how long, and how closely it is watched.

    Attributes
    ----------
    neuron
        The neuron.
    concentration_nM
        Free concentration of the drug beside its transporters, a function of time in s.
    days
        Duration.
    drug
        A ligand of the pharmacology that binds to SERT.
    antagonist, antagonist_nM
        A ligand of the autoreceptor (WAY-100635, pindolol), and its concentration in time.
    mao
        Share of monoamine oxidase that works, in time.
    reach
        Which places the drug reaches: ``both``, ``terminal`` or ``soma``.
    transporters
        SERT number as a share of the wild type's: the baseline stays that of the wild type.
    feedback
        Whether autoreceptors slow the spikes; False removes that altogether.
    breaks_days
        When anything jumps: no step reaches across.
    windows, window_s, replicates, seed
        How many windows of how many seconds, for how many independent neurons.
    grid
        Places as grids on which molecules walk; None, the default, for well-mixed places. Slow:
        ask for :attr:`announcement` first.
    """

    neuron: NeuronParameters
    concentration_nM: Dosing
    days: float = 42.0
    drug: str = "citalopram"
    antagonist: str | None = None
    antagonist_nM: Dosing = NOTHING
    mao: Dosing = field(default_factory=lambda: constant(1.0))
    reach: str = "both"
    transporters: float = 1.0
    feedback: bool = True
    breaks_days: tuple[float, ...] = ()
    windows: int = 150
    window_s: int = 15
    replicates: int = 8
    seed: int = 1
    grid: PlaceGrid | None = None

    def __post_init__(self) -> None:
        faults = list[InputError]()
        for name, check in self._checks().items():
            with collected(faults):  # as plain numbers from here on, whatever type they came in
                object.__setattr__(self, name, check(name, getattr(self, name)))
        faults += ligand_faults("drug", self.drug, "SERT")
        if self.antagonist is not None:
            faults += ligand_faults("antagonist", self.antagonist, "5-HT1A")
        elif self.antagonist_nM is not NOTHING:
            faults.append(InputError("antagonist", None, "a ligand, as antagonist_nM is given"))
        # Functions of time can only be tried over a length that is one.
        if not {fault.name for fault in faults} & {"days", "breaks_days"}:
            faults += self._faults_in_time()
        raise_faults(faults)

    def _checks(self) -> dict[str, Callable[[str, Any], Any]]:
        """What each argument has to pass by itself."""
        return {
            "neuron": partial(instance, kind=NeuronParameters, fix="use neuron(...)"),
            "windows": partial(whole_number, least=2, most=100_000),
            "window_s": partial(whole_number, least=1, most=1_000_000),
            "replicates": partial(whole_number, least=2, most=10_000),
            "transporters": partial(number, least=0.0, most=1000.0),
            "grid": lambda name, value: None if value is None else instance(name, value, PlaceGrid),
            "reach": partial(choice, known=REACHES),
            "seed": lambda name, value: check_seed(value, name),
            "feedback": partial(instance, kind=bool),
            "days": partial(number, above=0.0, most=MOST_DAYS),
            "breaks_days": self._jumps,
        }

    def _jumps(self, name: str, value: object) -> tuple[float, ...]:
        """Days within the treatment."""
        days: Any = self.days  # checked before, but perhaps refused
        most = days if isinstance(days, float) else math.inf
        return tuple(number(name, day, least=0.0, most=most) for day in _several(name, value))

    def _faults_in_time(self) -> Iterator[InputError]:
        """What is wrong with functions of time, and with windows between jumps."""
        windows: Any = self.windows
        if isinstance(windows, int) and 2 <= windows <= len(self.breaks_days):
            yield InputError("windows", self.windows, "more than there are breaks_days")
        for name in LIMITS:
            function = getattr(self, name)
            if callable(function):
                # Tried beforehand: an error after an hour of simulation would come late.
                yield from _bad_times(name, function, self.looked_at)
            else:
                yield InputError(name, function, "a function of time in s", "use constant(...)")

    @property
    def looked_at(self) -> F64:
        """Times (s) at which functions of time are tried before a run, besides its own."""
        # Every half an hour in six weeks.
        times = np.linspace(0.0, self.days * DAY_S, 2001)
        return np.union1d(times, np.multiply(self.breaks_days, DAY_S))

    @property
    def unbinding(self) -> Unbinding:
        """How fast its ligands let go of their sites."""
        return unbinding(at_sert(self.drug), at_autoreceptor(self.antagonist))

    @functools.cached_property
    def pace(self) -> float:
        """Time of one core for a simulated second of one of its neurons, s: the events that are
        expected on average, at the pace of this machine, which a short probe measures.
        """
        # Eight times stand for the course: what events depend on moves slowly for most of it.
        exposure, times = acting(self), self.days * DAY_S * (np.arange(8) + 0.5) / 8
        solution = mean_field(self, times)
        if self.grid is not None:  # what walks is the serotonin that there is on average
            there = {
                name: place.model_copy(
                    update={"serotonin_nM": float(solution[f"{name}_nM"].mean())}
                )
                for name, place in zip(PLACES, self.neuron.places, strict=True)
            }
            return cost_s(self.neuron.model_copy(update=there), self.grid)
        events = [
            events_per_s(
                Setting(self.neuron, exposure(t), c * self.feedback, d, unbinding=self.unbinding)
            )
            for t, c, d in zip(
                times.tolist(), solution["sensitivity"], solution["drive"], strict=True
            )
        ]
        return seconds_per_event() * float(np.mean(events))

    @property
    def estimated_s(self) -> float:
        """Time of one core that a run should take, s (calibration included).

        Good to 20 % with a hundred windows or more, if the machine does nothing else meanwhile.
        With few windows more of the time goes to settling before each, which a ``Course`` knows.
        """
        # The calibrating run is part of the time, and with few windows most of it.
        resting = events_per_s(Setting(self.neuron)) * sum(seconds_of_stage(self.neuron))
        settling = SETTLING * float(relaxations_s(self.neuron)[-1]) * (1 + len(self.breaks_days))
        treated = self.replicates * (self.windows * (self.window_s + SHORT_WAIT_S) + settling)
        return self.pace * treated + seconds_per_event() * resting

    @property
    def announcement(self) -> str:
        """What to say before a course that takes long; empty otherwise."""
        return self.announced(self.windows, self.estimated_s)

    def announced(self, windows: int, seconds: float) -> str:
        """That ``windows`` windows will take ``seconds``, if that is long."""
        if seconds < LONG_S:
            return ""
        on = "" if self.grid is None else f" on {self.grid.cells} x {self.grid.cells} cells"
        size, unit = (60.0, "min") if seconds < 7200 else (3600.0, "h")
        return (
            f"{windows} windows x {self.replicates} neurons x {self.window_s} s{on} will take"
            f" about {seconds / size:.0f} {unit} on one core"
        )


def treatment(values: Mapping[str, Any], concentration_nM: Dosing, **options: Any) -> Treatment:
    """A treatment of the neuron that ``values`` describe (see ``parameters.neuron``).

    Raises
    ------
    InputError, InputErrors
        All that is wrong with the neuron, and with what is done to it, at once.
    """
    faults = list[InputError]()
    neuron = tried(faults, parameters.neuron, **values) or NeuronParameters()
    made = tried(faults, Treatment, neuron, concentration_nM, **options)
    raise_faults(faults)
    assert made is not None
    return made


def _bad_times(name: str, function: Dosing, times_s: F64) -> Iterator[InputError]:
    """The first time at which a function gives what it must not."""
    # The first fault alone: a function that is wrong is so at a thousand times.
    for t in times_s.tolist():
        try:
            _value(name, function, t)
        except InputError as error:
            yield error
            return


def _value(name: str, function: Dosing, t_s: float) -> float:
    """A function of time at one time, if it is what it must be."""
    least, most = LIMITS[name]
    value = function(t_s)
    if type(value) is float and least <= value <= most:  # solvers ask ten thousand times a course
        return value
    return number(f"{name} at day {t_s / DAY_S:.4g}", value, least=least, most=most)


def _several(name: str, value: Any) -> tuple[Any, ...]:
    """``value`` as a tuple."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise InputError(name, value, "a tuple")
    return tuple(value)


def acting(treatment: Treatment) -> Callable[[float], Exposure]:
    """What acts on the neuron, as a function of time in s: concentrations over affinities."""
    t = treatment
    doses = Doses(at_sert(t.drug), at_autoreceptor(t.antagonist), t.reach, t.transporters)

    def exposure(t_s: float) -> Exposure:
        return doses.exposure(
            _value("concentration_nM", t.concentration_nM, t_s),
            _value("antagonist_nM", t.antagonist_nM, t_s),
            _value("mao", t.mao, t_s),
        )

    return exposure


def mean_field(treatment: Treatment, times_s: npt.ArrayLike, rtol: float = 1e-8) -> dict[str, F64]:
    """The mean-field solution at the given times, with a relative tolerance ``rtol``."""
    breaks = tuple(day * DAY_S for day in treatment.breaks_days)
    return course(treatment.neuron, acting(treatment), times_s, breaks, treatment.feedback, rtol)
