"""What dose-response experiments share: an inhibitor, a run at equilibrium, the half point."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from synapse_abm import pharmacology
from synapse_abm.core.errors import InputError, UnknownName
from synapse_abm.pharmacology import LigandRecord
from synapse_abm.runs import sweep
from synapse_abm.runs.results import Check, z_score
from synapse_abm.statistics import Estimate
from synapse_abm.synapse.engine.simulation import Series, Simulation, load_kernels
from synapse_abm.synapse.scenario.definition import Scenario

if TYPE_CHECKING:
    from synapse_abm.core.progress import Progress


def inhibitor(name: str, targets: Iterable[str], option: str) -> LigandRecord:
    """The drug ``name``, which binds to all ``targets`` and is taken up by none.

    ``option`` is what the user knows the name by.

    Raises
    ------
    InputError
        If there is no such drug, it is taken up, or its affinity at a target is not known.
    """
    try:
        drug = pharmacology.ligand(name)
    except UnknownName as error:
        raise UnknownName(option if error.name == "ligand" else error.name, str(error.value),
                          error.known) from None  # fmt: skip
    for target in targets:
        if target not in drug.bound_targets:
            raise InputError(option, name, f"a drug whose affinity at {target} is known",
                             "see synapse-abm list --drugs")  # fmt: skip
        # A substrate leaves the sites it occupies by being transported, so no Ki describes it.
        if drug.kinetics(target).kcat_per_s > 0:
            raise InputError(option, name, "a drug, which binds and stays outside")
    return drug


def labels(names: Sequence[str]) -> list[str]:
    """What figures and titles call drugs: of FILE.toml:NAME the NAME, unless two are alike."""
    short = [name.rpartition(":")[2] for name in names]
    return short if len(set(short)) == len(set(names)) else list(names)


def series[R](
    function: Callable[..., R], tasks: Sequence[tuple[Any, ...]], progress: Progress,
    *, compiled: bool = True,
) -> list[R]:  # fmt: skip
    """``function(*task)`` for each task, side by side; its last arguments are seed and
    replicate.

    ``compiled`` says that runs of a :class:`Simulation` are most of what it does.
    """
    names = [f"replicate {task[-1]}, seed {task[-2]}" for task in tasks]
    return sweep.map_tasks(
        function, tasks, names=names, progress=progress, label="runs", prepare=load_kernels,
        compiled=compiled,
    )  # fmt: skip


def replicated[R](
    function: Callable[..., R], tasks: Sequence[tuple[Any, ...]], replicates: int,
    progress: Progress,
) -> list[list[R]]:  # fmt: skip
    """The same, in groups of so many replicates."""
    results = series(function, tasks, progress)
    return [results[at : at + replicates] for at in range(0, len(results), replicates)]


def settled(
    synapse: Scenario, gap_s: float, burn_in: int, readings: int, seed: int, replicate: int
) -> Series:
    """A run read ``readings`` times, ``gap_s`` apart, after ``burn_in`` such gaps without record.

    A gap is a whole number of steps, so it may come out longer, by less than one step.
    """
    model = Simulation(synapse, seed, replicate)
    # A quotient such as 3.0000000000000004 means 3 steps: the factor is above that noise.
    gap = max(1, math.ceil(gap_s / synapse.dt_s * (1 - 1e-12)))
    # Nothing is recorded before equilibrium: it would be averaged with what comes after.
    model.run(burn_in * gap, every=0)
    return model.run(readings * gap, every=gap)


def half_concentration(concentrations: Sequence[float], occupancy: Sequence[Estimate]) -> Estimate:
    """The K for which the hyperbola C/(C + K) has as many sites occupied, over all points
    together, as were measured.

    That is the estimate of greatest likelihood for independent sites, equally many per point. Its
    error comes from those of the points, which must be independent, to first order; its degrees of
    freedom are Satterthwaite's (1946, Biometrics Bull 2:110).

    Raises
    ------
    ValueError
        If nothing or everything was occupied.
    """
    from scipy.optimize import brentq
    from scipy.special import expit

    # In logarithms the hyperbola is a logistic curve, and its half point a shift: one number to
    # find.
    x = np.log(concentrations)
    # For binomial counts with this curve the sum of what is occupied holds all that they say about
    # K.
    total = sum(point.value for point in occupancy)
    if not 0 < total < x.size:
        raise ValueError(f"total occupancy = {total} must be above 0 and below {x.size}")

    def excess(log_k: float) -> float:
        return float(expit(x - log_k).sum() - total)

    far = 40.0  # e-folds: no measurable occupancy is so low, nor so high
    log_k = float(brentq(excess, x.min() - far, x.max() + far, xtol=1e-13))
    # d(total)/d(log K) is minus the sum of p (1 - p): the delta method, for the error of log K and
    # so of K.
    p = expit(x - log_k)
    variance = sum(point.se**2 for point in occupancy)
    spread = sum(point.se**4 / point.dof for point in occupancy)
    k = math.exp(log_k)
    se = k * math.sqrt(variance) / float((p * (1 - p)).sum())
    return Estimate(k, se, variance**2 / spread if spread > 0 else math.inf)


def snapshot(bound: int, sites: int, p: float) -> Estimate:
    """Occupancy in one snapshot of independent sites, with its exact standard error."""
    return Estimate(bound / sites, math.sqrt(p * (1 - p) / sites))


def binomial_check(
    name: str,
    bound: int,
    sites: int,
    p: float,
    *,
    source: str,
    false_alarm: float,
    solved: bool = False,
) -> Check:
    """The check that ``bound`` of ``sites`` independent sites may come from Binomial(sites, p).

    It passes unless the exact law gives a count as extreme, on the same side, at most half of
    ``false_alarm``: right for any count, where a limit in standard errors is not. ``solved`` says
    that a solver made ``p``.
    """
    from scipy.special import bdtr, bdtrc

    estimate = snapshot(bound, sites, p)
    # The exact tails: with few sites, or an occupancy near 0 or 1, the count is far from normal.
    below = float(bdtr(bound, sites, p))
    above = float(bdtrc(bound - 1, sites, p)) if bound > 0 else 1.0
    passed = min(below, above) > false_alarm / 2
    z = z_score(estimate.value, estimate.se, p)
    return Check(name, "exact", estimate.value, estimate.se, p, z, source, passed, solved)
