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

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synapse_abm.core.units import pair_rate_per_s
from synapse_abm.neuron.meanfield.equations import (
    filling,
    hill,
    postsynaptic_target,
    sensitivity_target,
    target_rate,
)
from synapse_abm.neuron.meanfield.ode import (
    SLOW_UNBINDING,
    Modes,
    Setting,
    Unbinding,
    derivatives,
    integrated,
    settled,
)
from synapse_abm.neuron.scenario import (
    AT_REST,
    FAST,
    MEAN_FIELD,
    PLACES,
    SLOW,
    Baseline,
    Exposure,
    NeuronParameters,
    michaelis_nM,
    receptor_kd_nM,
)
from synapse_abm.neuron.slow import slow_inputs, slow_slope

F64 = npt.NDArray[np.float64]

# The state: four numbers of the terminal, four of the soma; receptors with serotonin and with the
# antagonist; the rate of firing (Hz).
FREE, POOL, BOUND, BLOCKED = range(4)
PER_PLACE = 4
R_BOUND, ANTAGONIST, RATE = range(2 * PER_PLACE, 2 * PER_PLACE + 3)
SIZE = RATE + 1
_FAST_ROWS = (RATE, FREE, PER_PLACE + FREE, POOL, PER_PLACE + POOL)


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
        volumes = [p.molecules_per_nM for p in self.setting.neuron.places]
        values: F64 = self.mean[list(_FAST_ROWS)] / np.array([1.0, *volumes, 1.0, 1.0])
        return values

    @property
    def sensitivity_target(self) -> float:
        """Average of what sensitivity relaxes to, with activation normally distributed."""
        neuron, weight = self.setting.neuron, self._activating
        spread = math.sqrt(weight @ self.covariance @ weight)
        return normal_average(
            lambda bound: sensitivity_target(neuron, bound / neuron.receptors),
            float(weight @ self.mean),
            spread,
        )

    def hill(self, postsynaptic: float = 1.0) -> float:
        """Average of h(sensitivity x fold of terminal serotonin)."""
        neuron = self.setting.neuron
        return self._of_terminal(lambda fold: hill(neuron, postsynaptic * fold))

    @property
    def postsynaptic_target(self) -> float:
        """Average of what the target cell's sensitivity relaxes to."""
        neuron = self.setting.neuron
        return self._of_terminal(lambda fold: postsynaptic_target(neuron, fold))

    def slow_means(self, postsynaptic: float = 1.0) -> dict[str, float]:
        """What drives the slow variables (``slow.slow_inputs``), on average."""
        return {
            "sensitivity_target": self.sensitivity_target, "hill": self.hill(postsynaptic),
            "postsynaptic_target": self.postsynaptic_target, "rate_Hz": float(self.mean[RATE]),
        }  # fmt: skip

    @property
    def _activating(self) -> F64:
        weight = np.zeros(SIZE)
        weight[R_BOUND], weight[ANTAGONIST] = 1.0, self.setting.exposure.efficacy
        return weight

    def _of_terminal(self, function: Callable[[float], float]) -> float:
        place = self.setting.neuron.terminal
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
        free, pool, bound, blocked = range(PER_PLACE * at, PER_PLACE * (at + 1))
        events += [
            # Unbinding, uptake, binding; drug comes, goes; loss, monoamine oxidase, synthesis,
            # leak.
            {free: 1, bound: -1}, {pool: 1, bound: -1}, {free: -1, bound: 1},
            {blocked: 1}, {blocked: -1}, {free: -1}, {pool: -1}, {pool: 1}, {free: 1, pool: -1},
        ]  # fmt: skip
    free = PER_PLACE + FREE
    events += [{R_BOUND: 1, free: -1}, {R_BOUND: -1, free: 1}, {ANTAGONIST: 1}, {ANTAGONIST: -1}]
    changes = np.zeros((SIZE, len(events)))
    for column, event in enumerate(events):
        changes[list(event), column] = list(event.values())
    return changes


CHANGES = _changes()


class _Equations:
    """Drift and diffusion of a setting."""

    def __init__(self, setting: Setting) -> None:
        neuron, rest = setting.neuron, setting.baseline
        self.s, free = setting, neuron.free
        contents = list(zip(free, rest.contents, strict=True))
        self.quantal_content = np.array([f.quantal_content * x for f, x in contents])
        self.leak = [f.leak_per_s * x for f, x in contents]
        self.made = [f.synthesis_per_s * x for f, x in zip(free, rest.syntheses, strict=True)]
        self.resting, self.loss = [f.pool for f in free], [f.loss_per_s for f in free]
        self.sites = [round(p.transporters * setting.exposure.transporters) for p in neuron.places]

    def events_per_s(self, x: F64) -> float:
        """All events, spikes and the molecules that they release among them."""
        spikes = self.s.neuron.spike_trains * x[RATE] * (1 + self._spike(x).sum())
        return float(self._rates(x).sum() + spikes)

    def _rates(self, x: F64) -> F64:
        """Events per second, all but spikes."""
        neuron, e, off = self.s.neuron, self.s.exposure, self.s.unbinding
        rates: list[float] = []
        for at, (place, inhibition) in enumerate(
            zip(neuron.places, (e.terminal, e.soma), strict=True)
        ):
            free, pool, bound, blocked = x[PER_PLACE * at : PER_PLACE * (at + 1)].tolist()
            empty = self.sites[at] - bound - blocked
            rates += [
                neuron.sert.koff * bound, neuron.sert.kcat_per_s * bound,
                pair_rate_per_s(neuron.sert.kon, place.volume_um3) * free * empty,
                # k_on C = k_off C / Kd, and an exposure is C / Kd.
                off.drug_per_s * inhibition * empty, off.drug_per_s * blocked,
                self.loss[at] * free, place.mao_per_s * e.mao * pool, self.made[at],
                self.leak[at],
            ]  # fmt: skip
        empty = neuron.receptors - x[R_BOUND] - x[ANTAGONIST]
        pair = pair_rate_per_s(neuron.receptor.kon, neuron.soma.volume_um3)
        rates += [
            pair * x[PER_PLACE + FREE] * empty, neuron.receptor.koff * x[R_BOUND],
            off.antagonist_per_s * e.antagonist * empty, off.antagonist_per_s * x[ANTAGONIST],
        ]  # fmt: skip
        return np.array(rates)

    def _spike(self, x: F64) -> F64:
        """Molecules that one spike of one train releases, terminal and soma."""
        full = [filling(x[PER_PLACE * at + POOL], rest) for at, rest in enumerate(self.resting)]
        size: F64 = self.quantal_content / self.s.neuron.spike_trains * np.array(full)
        return size

    def drift(self, x: F64) -> F64:
        """Dx/dt of the equations for means."""
        neuron = self.s.neuron
        slope: F64 = CHANGES @ self._rates(x)
        released = neuron.spike_trains * x[RATE] * self._spike(x)
        slope[[FREE, PER_PLACE + FREE]] += released
        slope[[POOL, PER_PLACE + POOL]] -= released
        theta = (x[R_BOUND] + self.s.exposure.efficacy * x[ANTAGONIST]) / neuron.receptors
        aim = target_rate(neuron, theta, self.s.sensitivity, self.s.drive * self.s.baseline.drive)
        slope[RATE] += (aim - x[RATE]) / neuron.relaxation_s
        return slope

    def diffusion(self, x: F64) -> F64:
        """Squares of jumps per second; a spike jumps at both places, its content rounded up or
        down at random.
        """
        values: F64 = (CHANGES * self._rates(x)) @ CHANGES.T
        size, spikes_per_s = self._spike(x), self.s.neuron.spike_trains * x[RATE]
        # Rounded at random, a content with fraction p has a variance p (1 - p), at either place its
        # own.
        part = size % 1
        for jump in (size, *np.diag(np.sqrt(part * (1 - part)))):
            change = np.zeros(SIZE)
            change[[FREE, PER_PLACE + FREE]], change[[POOL, PER_PLACE + POOL]] = jump, -jump
            values += spikes_per_s * np.outer(change, change)
        return values

    def jacobian(self, x: F64) -> F64:
        """D drift / d x by central differences."""
        return derivatives(self.drift, x, 1e-5 * np.maximum(np.abs(x), 1.0))

    def curvature(self, x: F64, covariance: F64) -> F64:
        """H : C, as second differences along the covariance's axes."""
        # Along its axes the covariance is diagonal: 11 second differences do for 66 second
        # derivatives.
        sizes, axes = np.linalg.eigh(covariance)
        total, small = np.zeros(SIZE), 0.1
        for axis in (axes * (small * np.sqrt(np.maximum(sizes, 0.0)))).T:
            total += self.drift(x + axis) + self.drift(x - axis) - 2 * self.drift(x)
        return total / small**2

    def start(self) -> F64:
        """The settled state, with mean-field values of what the baseline fixes."""
        neuron, e = self.s.neuron, self.s.exposure
        level = settled(self.s)
        km, kd = michaelis_nM(neuron.sert), receptor_kd_nM(neuron)
        x: list[float] = []
        for at, name in enumerate(PLACES):
            s, pool = getattr(level, f"{name}_nM"), getattr(level, f"{name}_pool")
            inhibition = getattr(e, name)
            share = self.sites[at] / (1 + inhibition + s / km)
            x += [s * neuron.places[at].molecules_per_nM, pool, share * s / km, share * inhibition]
        share = neuron.receptors / (1 + e.antagonist + level.soma_nM / kd)
        return np.array([*x, share * level.soma_nM / kd, share * e.antagonist, level.rate_Hz])


def events_per_s(setting: Setting) -> float:
    """Events per second of a settled neuron in mean field: what a run of it costs."""
    equations = _Equations(setting)
    return equations.events_per_s(equations.start())


def settling_s(before: Setting, after: Setting, residual_transient: float, longest: float) -> float:
    """Time (s) that the fast loop takes to settle in a new setting, ``longest`` at most.

    Settled is it when rate, serotonin and pools are within a share ``residual_transient`` of their
    averages for good, and occupancy of SERT within as much of all sites. By the modes of the
    equations for means about the new settled state, ligands' exchange at their sites included.
    Ligands come to sites without serotonin at once (``NeuronSimulation.block``), so a slow ligand
    makes waiting longer only as far as serotonin, once it has moved, asks for another occupancy.
    """
    equations, e = _Equations(after), after.exposure
    end, away = equations.start(), _Equations(before).start()
    least = residual_transient * np.maximum(np.abs(end), 1e-9)
    for first, inhibition, sites, own in zip(
        (0, PER_PLACE), (e.terminal, e.soma), equations.sites, after.neuron.places, strict=True
    ):
        bound, blocked = first + BOUND, first + BLOCKED
        # A genotype's number of transporters changes at once; those with serotonin change in
        # proportion.
        away[bound] *= sites / max(own.transporters * before.exposure.transporters, 1.0)
        away[blocked] = (sites - away[bound]) * inhibition / (1 + inhibition)
        least[[bound, blocked]] = residual_transient * max(sites, 1)
    away[ANTAGONIST] = (after.neuron.receptors - away[R_BOUND]) * e.antagonist / (1 + e.antagonist)
    least[[R_BOUND, ANTAGONIST]] = np.inf  # they act by way of the rate
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
    # Newton's rule from mean field, which factors of the baseline have moved a little.
    for _ in range(20):
        step = np.linalg.solve(equations.jacobian(x), equations.drift(x))
        x = x - step
        if np.abs(step).max() < 1e-9 * np.abs(x).max():
            break
    jacobian = equations.jacobian(x)
    covariance = solve_continuous_lyapunov(jacobian, -equations.diffusion(x))
    # Symmetric but for rounding; ``eigh`` would read one half of it only.
    covariance = (covariance + covariance.T) / 2
    shift = np.linalg.solve(jacobian, equations.curvature(x, covariance)) / 2
    return Moments(x, x - shift, covariance, setting)


# --- weeks ----------------------------------------------------------------------------------------


def noisy_course(
    neuron: NeuronParameters,
    exposure: Callable[[float], Exposure],
    times_s: npt.ArrayLike,
    breaks_s: tuple[float, ...] = (),
    baseline: Baseline = MEAN_FIELD,
    unbinding: Unbinding = SLOW_UNBINDING,
    feedback: bool = True,
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
    times = np.asarray(times_s, dtype=np.float64)
    rest = moments(Setting(neuron, baseline=baseline, unbinding=unbinding))
    averages = rest.slow_means()
    at_rest = Baseline(
        hill=averages["hill"], sensitivity=averages["sensitivity_target"],
        postsynaptic=averages["postsynaptic_target"],
    )  # fmt: skip

    def at(slow: F64, acts: Exposure) -> Moments:
        sensitivity = slow[0] if feedback else 0.0
        return moments(Setting(neuron, acts, sensitivity, slow[1], baseline, unbinding))

    def slope(slow: F64, acts: Exposure) -> F64:
        means = at(slow, acts).slow_means(slow[2])
        means["rate_Hz"] *= neuron.rate_Hz / averages["rate_Hz"]  # of its own mean at rest
        # The slow equations know averages at rest, so a course without a drug stays where it is.
        return slow_slope(neuron, slow, slow_inputs(neuron, at_rest, means))

    slow = integrated(
        slope, AT_REST, exposure, times, breaks_s, lambda begin, end: times[-1] / 10,
        rtol=1e-5, atol=1e-7,
    )  # fmt: skip
    fast = [at(x, exposure(t)).fast for t, x in zip(times.tolist(), slow.T, strict=True)]
    return dict(zip((*FAST, *SLOW), [*np.array(fast).T, *slow], strict=True))
