"""What noise does to the neuron's averages, to second order: a theory beside the simulation.

Linear noise approximation (van Kampen 2007, Stochastic Processes in Physics and Chemistry, ch. X):
about the settled state x of the equations for means, the covariance C of all numbers solves
J C + C J' + D = 0, with J the Jacobian and D the squares of jumps per second. Means then lie beside
x by -J^-1 (H : C) / 2, with H the second derivatives (Grima 2010, J Chem Phys 133:035101).

The events are those that the neuron's clock draws, but no line of it is used: this is an account of
the same process by other means. It says beforehand by how much averages depart from mean field,
which knows no noise. It is good where noise is small beside what it acts on, as with twenty trains;
with one train it gives the shift's sign and size, not its second digit.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from synapse_abm.core.units import pair_rate_per_s
from synapse_abm.neuron.meanfield.equations import (
    braked_rate,
    coupling_target,
    filling,
    hill,
    sensitivity_target,
)
from synapse_abm.neuron.meanfield.ode import Modes, settled
from synapse_abm.neuron.scenario import (
    AT_REST,
    DAY_S,
    FAST,
    NO_DRUG,
    PLACES,
    SLOW,
    Exposure,
    NeuronParameters,
    free_parameters,
    receptor_kd_nM,
)

F64 = npt.NDArray[np.float64]

# The state: four numbers of the terminal, four of the soma; receptors with serotonin and with the
# rival ligand; the rate of firing (Hz).
FREE, STOCK, CARRYING, BLOCKED = range(4)
PER_PLACE = 4
BOUND, RIVAL, RATE = range(2 * PER_PLACE, 2 * PER_PLACE + 3)
SIZE = RATE + 1
_FAST_ROWS = (RATE, FREE, PER_PLACE + FREE, STOCK, PER_PLACE + STOCK)


class Factors(NamedTuple):
    """On the mean-field values of what a baseline fixes (see ``baseline``)."""

    terminal_content: float = 1.0
    soma_content: float = 1.0
    drive: float = 1.0
    terminal_synthesis: float = 1.0
    soma_synthesis: float = 1.0


class Unbinding(NamedTuple):
    """1/s, of the drug at SERT and of the rival ligand at 5-HT1A: how long noise remembers."""

    drug_per_s: float = 1.0
    rival_per_s: float = 1.0


MEAN_FIELD = Factors()
SLOW_UNBINDING = Unbinding()


@dataclass(frozen=True, slots=True)
class Setting:
    """A neuron with what acts on it for a while, its slow variables held.

    Attributes
    ----------
    it, exposure
        The neuron, and drugs beside it.
    coupling, drive
        Slow variables.
    factors
        On contents, drive and syntheses.
    unbinding
        Rate constants of the drugs.
    """

    it: NeuronParameters
    exposure: Exposure = NO_DRUG
    coupling: float = 1.0
    drive: float = 1.0
    factors: Factors = MEAN_FIELD
    unbinding: Unbinding = SLOW_UNBINDING


@dataclass(frozen=True, slots=True)
class Moments:
    """Means to second order and covariance of the fast loop's stationary state.

    Attributes
    ----------
    settled, mean : ndarray, shape (11,)
        Solution of the equations for means, and means with the effect of noise: molecules,
        transporters and receptors in numbers, the rate in Hz.
    covariance : ndarray, shape (11, 11)
        Of the same numbers.
    setting
        What they belong to.
    """

    settled: F64
    mean: F64
    covariance: F64
    setting: Setting

    def sd(self, row: int) -> float:
        """Standard deviation of one number."""
        return math.sqrt(self.covariance[row, row])

    @property
    def fast(self) -> F64:
        """Means in the units and order of ``meanfield.FAST``: Hz, nM, nM, molecules, molecules."""
        volumes = [p.molecules_per_nM for p in self.setting.it.places]
        found: F64 = self.mean[list(_FAST_ROWS)] / np.array([1.0, *volumes, 1.0, 1.0])
        return found

    @property
    def coupling_target(self) -> float:
        """Average of what coupling relaxes to, with activation normally distributed."""
        it, weight = self.setting.it, self._activating
        spread = math.sqrt(weight @ self.covariance @ weight)
        return normal_average(
            lambda bound: coupling_target(it, bound / it.receptors),
            float(weight @ self.mean),
            spread,
        )

    def hill(self, sensitivity: float = 1.0) -> float:
        """Average of h(sensitivity x fold of terminal serotonin)."""
        it = self.setting.it
        return self._of_terminal(lambda fold: hill(it, sensitivity * fold))

    @property
    def sensitivity_target(self) -> float:
        """Average of what the target cell's sensitivity relaxes to."""
        it = self.setting.it
        return self._of_terminal(lambda fold: sensitivity_target(it, fold))

    @property
    def _activating(self) -> F64:
        weight = np.zeros(SIZE)
        weight[BOUND], weight[RIVAL] = 1.0, self.setting.exposure.efficacy
        return weight

    def _of_terminal(self, function: Callable[[float], float]) -> float:
        place = self.setting.it.terminal
        one = place.serotonin_nM * place.molecules_per_nM
        return normal_average(
            lambda free: function(max(free, 0.0) / one), self.mean[FREE], self.sd(FREE)
        )


def normal_average(function: Callable[[float], float], mean: float, sd: float) -> float:
    """E f(X) for a normal X: a sum over 321 points within eight standard deviations.

    Kinks are welcome; the error is that of the trapezoidal rule there, below 1e-3 of the kink.
    """
    z = np.linspace(-8.0, 8.0, 321)
    weight = np.exp(-(z**2) / 2)
    values = [function(x) for x in (mean + sd * z).tolist()]
    return float(weight @ np.array(values) / weight.sum())


# --- the events -----------------------------------------------------------------------------------


def _changes() -> F64:
    """What each event adds to the state, shape (11, events), in the order of :func:`_rates`."""
    events: list[dict[int, int]] = []
    for at in range(2):
        free, stock, carrying, blocked = range(PER_PLACE * at, PER_PLACE * (at + 1))
        events += [
            {free: 1, carrying: -1}, {stock: 1, carrying: -1}, {free: -1, carrying: 1},
            {blocked: 1}, {blocked: -1}, {free: -1}, {stock: -1}, {stock: 1}, {free: 1, stock: -1},
        ]  # fmt: skip
    free = PER_PLACE + FREE
    events += [{BOUND: 1, free: -1}, {BOUND: -1, free: 1}, {RIVAL: 1}, {RIVAL: -1}]
    changes = np.zeros((SIZE, len(events)))
    for column, event in enumerate(events):
        changes[list(event), column] = list(event.values())
    return changes


CHANGES = _changes()


class _Equations:
    """Drift and diffusion of a setting."""

    def __init__(self, setting: Setting) -> None:
        it, factors = setting.it, setting.factors
        self.s = setting
        free = [free_parameters(p, it.sert, it.rate_Hz) for p in it.places]
        self.content = np.array([f.content * x for f, x in zip(free, factors[:2], strict=True)])
        self.leak = [f.leak_per_s * x for f, x in zip(free, factors[:2], strict=True)]
        self.made = [f.synthesis_per_s * x for f, x in zip(free, factors[3:], strict=True)]
        self.resting, self.loss = [f.stock for f in free], [f.loss_per_s for f in free]
        self.sites = [round(p.transporters * setting.exposure.transporters) for p in it.places]

    def events_per_s(self, x: F64) -> float:
        """All events, spikes and the molecules that they release among them."""
        spikes = self.s.it.trains * x[RATE] * (1 + self._spike(x).sum())
        return float(self._rates(x).sum() + spikes)

    def _rates(self, x: F64) -> F64:
        """Events per second, all but spikes."""
        it, e, off = self.s.it, self.s.exposure, self.s.unbinding
        rates: list[float] = []
        for at, (place, inhibition) in enumerate(zip(it.places, (e.terminal, e.soma), strict=True)):
            free, stock, carrying, blocked = x[PER_PLACE * at : PER_PLACE * (at + 1)].tolist()
            empty = self.sites[at] - carrying - blocked
            rates += [
                it.sert.koff * carrying, it.sert.kcat_per_s * carrying,
                pair_rate_per_s(it.sert.kon, place.volume_um3) * free * empty,
                off.drug_per_s * inhibition * empty, off.drug_per_s * blocked,
                self.loss[at] * free, place.mao_per_s * e.mao * stock, self.made[at],
                self.leak[at],
            ]  # fmt: skip
        empty = it.receptors - x[BOUND] - x[RIVAL]
        pair = pair_rate_per_s(it.receptor.kon, it.soma.volume_um3)
        rates += [
            pair * x[PER_PLACE + FREE] * empty, it.receptor.koff * x[BOUND],
            off.rival_per_s * e.rival * empty, off.rival_per_s * x[RIVAL],
        ]  # fmt: skip
        return np.array(rates)

    def _spike(self, x: F64) -> F64:
        """Molecules that one spike of one train releases, terminal and soma."""
        full = [filling(x[PER_PLACE * at + STOCK], rest) for at, rest in enumerate(self.resting)]
        size: F64 = self.content / self.s.it.trains * np.array(full)
        return size

    def drift(self, x: F64) -> F64:
        """Dx/dt of the equations for means."""
        it = self.s.it
        slope: F64 = CHANGES @ self._rates(x)
        released = it.trains * x[RATE] * self._spike(x)
        slope[[FREE, PER_PLACE + FREE]] += released
        slope[[STOCK, PER_PLACE + STOCK]] -= released
        theta = (x[BOUND] + self.s.exposure.efficacy * x[RIVAL]) / it.receptors
        aim = braked_rate(it, theta, self.s.coupling, self.s.drive * self.s.factors.drive)
        slope[RATE] += (aim - x[RATE]) / it.relaxation_s
        return slope

    def diffusion(self, x: F64) -> F64:
        """Squares of jumps per second; a spike jumps at both places, its content rounded up or
        down at random.
        """
        found: F64 = (CHANGES * self._rates(x)) @ CHANGES.T
        size, spikes_per_s = self._spike(x), self.s.it.trains * x[RATE]
        part = size % 1
        for jump in (size, *np.diag(np.sqrt(part * (1 - part)))):
            change = np.zeros(SIZE)
            change[[FREE, PER_PLACE + FREE]], change[[STOCK, PER_PLACE + STOCK]] = jump, -jump
            found += spikes_per_s * np.outer(change, change)
        return found

    def jacobian(self, x: F64) -> F64:
        """D drift / d x by central differences."""
        steps = np.diag(1e-5 * np.maximum(np.abs(x), 1.0))
        columns = [(self.drift(x + h) - self.drift(x - h)) / (2 * h.sum()) for h in steps]
        return np.column_stack(columns)

    def curvature(self, x: F64, covariance: F64) -> F64:
        """H : C, as second differences along the covariance's axes."""
        sizes, axes = np.linalg.eigh(covariance)
        total, small = np.zeros(SIZE), 0.1
        for axis in (axes * (small * np.sqrt(np.maximum(sizes, 0.0)))).T:
            total += self.drift(x + axis) + self.drift(x - axis) - 2 * self.drift(x)
        return total / small**2

    def start(self) -> F64:
        """The settled state, with mean-field values of what the baseline fixes."""
        it, e = self.s.it, self.s.exposure
        level = settled(it, e, self.s.coupling, self.s.drive)
        km, kd = (it.sert.koff + it.sert.kcat_per_s) / it.sert.kon, receptor_kd_nM(it)
        x: list[float] = []
        for at, name in enumerate(PLACES):
            s, stock = getattr(level, f"{name}_nM"), getattr(level, f"{name}_stock")
            inhibition = getattr(e, name)
            share = self.sites[at] / (1 + inhibition + s / km)
            x += [s * it.places[at].molecules_per_nM, stock, share * s / km, share * inhibition]
        share = it.receptors / (1 + e.rival + level.soma_nM / kd)
        return np.array([*x, share * level.soma_nM / kd, share * e.rival, level.rate_Hz])


def events_per_s(setting: Setting) -> float:
    """Events per second of a settled neuron in mean field: what a run of it costs."""
    equations = _Equations(setting)
    return equations.events_per_s(equations.start())


def settling_s(before: Setting, after: Setting, unsettled: float, longest: float) -> float:
    """Time (s) that the fast loop takes to settle in a new setting, ``longest`` at most.

    Settled is it when rate, serotonin and stocks are within a share ``unsettled`` of their averages
    for good, and occupancy of SERT within as much of all sites. By the modes of the equations for
    means about the new settled state, ligands' exchange at their sites included. Ligands come to
    sites without serotonin at once (``NeuronSimulation.block``), so a slow ligand makes waiting
    longer only as far as serotonin, once it has moved, asks for another occupancy.
    """
    equations, e = _Equations(after), after.exposure
    end, away = equations.start(), _Equations(before).start()
    least = unsettled * np.maximum(np.abs(end), 1e-9)
    for first, inhibition, sites, own in zip(
        (0, PER_PLACE), (e.terminal, e.soma), equations.sites, after.it.places, strict=True
    ):
        carrying, blocked = first + CARRYING, first + BLOCKED
        away[carrying] *= sites / max(own.transporters * before.exposure.transporters, 1.0)
        away[blocked] = (sites - away[carrying]) * inhibition / (1 + inhibition)
        least[[carrying, blocked]] = unsettled * max(sites, 1)
    away[RIVAL] = (after.it.receptors - away[BOUND]) * e.rival / (1 + e.rival)
    least[[BOUND, RIVAL]] = np.inf  # they act by way of the rate
    modes = Modes(equations.jacobian(end))
    return float(modes.settling_s((away - end)[None], least, longest)[0])


def moments(setting: Setting) -> Moments:
    """Means to second order, and covariance, of a setting's stationary state.

    Raises
    ------
    InputError
        If monoamine oxidase is blocked altogether: there is no stationary state.
    """
    from scipy.linalg import solve_continuous_lyapunov

    equations = _Equations(setting)
    x = equations.start()
    for _ in range(20):
        step = np.linalg.solve(equations.jacobian(x), equations.drift(x))
        x = x - step
        if np.abs(step).max() < 1e-9 * np.abs(x).max():
            break
    jacobian = equations.jacobian(x)
    covariance = solve_continuous_lyapunov(jacobian, -equations.diffusion(x))
    covariance = (covariance + covariance.T) / 2
    shift = np.linalg.solve(jacobian, equations.curvature(x, covariance)) / 2
    return Moments(x, x - shift, covariance, setting)


# --- weeks ----------------------------------------------------------------------------------------


def noisy_course(
    it: NeuronParameters,
    exposure: Callable[[float], Exposure],
    times_s: npt.ArrayLike,
    breaks_s: tuple[float, ...] = (),
    factors: Factors = MEAN_FIELD,
    unbinding: Unbinding = SLOW_UNBINDING,
    brake_works: bool = True,
) -> Mapping[str, F64]:
    """A course of weeks with the effect of noise, to second order.

    As ``meanfield.course``, but slow variables are driven by averages of their right-hand sides
    over the stationary state of the fast loop, measured against the averages at rest. The fast loop
    is taken as settled at all times.

    Returns
    -------
    dict
        For every name in ``meanfield.FAST`` and ``meanfield.SLOW`` the values at ``times_s``.
    """
    from scipy.integrate import solve_ivp

    times = np.asarray(times_s, dtype=np.float64)
    rest = moments(Setting(it, factors=factors, unbinding=unbinding))
    by_coupling, h0 = it.recovery == "coupling", rest.hill()
    per_day = np.array([1 / it.creb_days, 1 / it.bdnf_days, 1 / it.plasticity_days])

    def at(t: float, slow: F64) -> Moments:
        coupling = slow[0] if brake_works else 0.0
        return moments(Setting(it, exposure(t), coupling, slow[1], factors, unbinding))

    def slope(t: float, slow: F64) -> F64:
        now = at(t, slow)
        u = (now.hill(slow[2]) - h0) / (1 - h0)
        coupling = now.coupling_target / rest.coupling_target - slow[0]
        feels = now.sensitivity_target / rest.sensitivity_target - slow[2]
        stages = (np.array([u, *slow[3:5]]) - slow[3:]) * per_day
        return np.array([
            coupling / it.coupling_days if by_coupling else 0.0,
            0.0 if by_coupling else (1 - now.mean[RATE] / rest.mean[RATE]) / it.coupling_days,
            feels / it.postsynaptic_days, *stages,
        ]) / DAY_S  # fmt: skip

    y, found = AT_REST, np.empty((len(FAST) + len(SLOW), times.size))
    inside = [b for b in sorted({*breaks_s}) if 0 < b < times[-1]]
    for begin, end in itertools.pairwise([0.0, *inside, float(np.nextafter(times[-1], np.inf))]):
        here = (times >= begin) & (times < end)
        last = float(np.nextafter(end, 0.0))
        solution = solve_ivp(
            lambda t, z, last=last: slope(min(t, last), z), (begin, end), y,
            t_eval=np.append(times[here], end), rtol=1e-5, atol=1e-7, max_step=times[-1] / 10,
        )  # fmt: skip
        found[len(FAST) :, here], y = solution.y[:, :-1], solution.y[:, -1]
    for k, t in enumerate(times.tolist()):
        found[: len(FAST), k] = at(t, found[len(FAST) :, k]).fast
    return dict(zip((*FAST, *SLOW), found, strict=True))
