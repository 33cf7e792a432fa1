"""What experiments on time courses share: curves read from runs, fits with honest errors, and one
place, a varicosity whose sites hold back what they let go.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synapse_abm import theory
from synapse_abm.core.units import pair_rate_per_s
from synapse_abm.pharmacology.kinetics import Kinetics
from synapse_abm.runs.results import Check, z_score
from synapse_abm.statistics import Estimate, from_replicates
from synapse_abm.synapse.engine.simulation import Series, Simulation
from synapse_abm.synapse.scenario import Grid, Ligand, Reservoir, Scenario, Target
from synapse_abm.theory.hop_react import Walk

type F64 = NDArray[np.float64]
#: A curve at times (s), from parameters that are above 0.
type Curve = Callable[[F64, F64], F64]


# --- reading --------------------------------------------------------------------------------------


def read(synapse: Scenario, seconds: float, readings: int, seed: int, replicate: int) -> Series:
    """A run of about ``seconds``, read ``readings`` times, whole steps apart."""
    every = _steps_apart(synapse, seconds, readings)
    return Simulation(synapse, seed, replicate).run(readings * every, every=every)


def read_at(synapse: Scenario, seconds: float, readings: int) -> F64:
    """When `read` reads, s."""
    every = _steps_apart(synapse, seconds, readings)
    return np.asarray(synapse.dt_s * every * np.arange(1, readings + 1))


def _steps_apart(synapse: Scenario, seconds: float, readings: int) -> int:
    return max(1, round(seconds / readings / synapse.dt_s))


# --- fits -----------------------------------------------------------------------------------------


def approach(t: F64, parameters: F64) -> F64:
    """From nothing to a height, at a rate (1/s): ``parameters`` are rate and height."""
    rate, height = parameters
    return np.asarray(-height * np.expm1(-rate * t))


def decay(t: F64, parameters: F64) -> F64:
    """From a height to nothing, at a rate (1/s)."""
    rate, height = parameters
    return np.asarray(height * np.exp(-rate * t))


def best(curve: Curve, t: F64, values: F64, guess: Sequence[float]) -> tuple[F64, F64]:
    """Parameters of the curve nearest to ``values`` (least squares), and how they follow them.

    Returns
    -------
    parameters : array, shape (p,)
    sensitivity : array, shape (p, readings)
        Relative change of each parameter by a small change of each reading.
    """
    from scipy.optimize import least_squares

    # In logarithms all parameters stay above 0, whatever their size.
    fit = least_squares(
        lambda logs: curve(t, np.exp(logs)) - values, np.log(np.asarray(guess, dtype=float)),
        xtol=1e-12, ftol=1e-12, gtol=1e-12,
    )  # fmt: skip
    return np.exp(fit.x), np.linalg.pinv(fit.jac)


def fitted(curve: Curve, t: F64, curves: F64, guess: Sequence[float]) -> list[Estimate]:
    """Parameters fitted to the mean of independent curves, shape (replicates, readings).

    Readings of one replicate are correlated, as the same sites are read; replicates are not. So
    errors come from these: by how much each would move the fit, to first order (the infinitesimal
    jackknife; Jaeckel 1972, Bell Labs MM 72-1215-11). That is right whatever the correlation, and
    whether or not the curve fits.
    """
    mean = curves.mean(axis=0)
    parameters, sensitivity = best(curve, t, mean, guess)
    moved = (curves - mean) @ sensitivity.T  # shape (replicates, p), each column of mean 0
    return [
        from_replicates(value * (1 + column))
        for value, column in zip(parameters, moved.T, strict=True)
    ]


def jackknife(number: Callable[[F64], Sequence[float]], curves: F64) -> list[Estimate]:
    """Numbers read from the mean of independent curves, shape (replicates, readings).

    Errors by leaving out one curve at a time (Tukey 1958, Ann Math Stat 29:614).
    """
    n, whole = len(curves), np.array(number(curves.mean(axis=0)))
    total = curves.sum(axis=0)
    left = np.array([number((total - curve) / (n - 1)) for curve in curves])
    se = np.sqrt((n - 1) / n * ((left - left.mean(axis=0)) ** 2).sum(axis=0))
    return [Estimate(float(v), float(e), n - 1) for v, e in zip(whole, se, strict=True)]


def peak_and_decay(curve: F64, gap_s: float) -> tuple[float, float]:
    """Largest of readings ``gap_s`` apart, and the time (s) from there until a fall to 1/e of it,
    between readings by logarithm; NaN if it does not fall so far.
    """
    top = int(np.argmax(curve))
    after, level = curve[top:], curve[top] / np.e
    below = np.flatnonzero(after <= level)
    if below.size == 0:
        return float(curve[top]), float("nan")
    end = int(below[0])
    high, low = np.log(np.maximum(after[[end - 1, end]], 1e-9))
    part = (high - np.log(level)) / (high - low)
    return float(curve[top]), float((end - 1 + part) * gap_s)


def line(x: F64, points: Sequence[Estimate]) -> tuple[Estimate, Estimate]:
    """Intercept and slope of the straight line through independent points, each with its error.

    Weights go with the inverse square of the value: errors of rates fitted to curves of one shape
    are about as large a share of each. Degrees of freedom are Satterthwaite's (1946, Biometrics
    Bull 2:110).
    """
    y, variance = (np.array(v) for v in zip(*((p.value, p.se**2) for p in points), strict=True))
    dof = np.array([p.dof for p in points])
    design = np.stack([np.ones_like(y), x], axis=1)
    weighted = design / y[:, None] ** 2
    solve = np.linalg.solve(design.T @ weighted, weighted.T)  # (2, points)
    estimates = []
    for row in solve:
        parts = row**2 * variance
        total = float(parts.sum())
        estimates.append(
            Estimate(float(row @ y), total**0.5, total**2 / float((parts**2 / dof).sum()))
        )
    return estimates[0], estimates[1]


# --- checks ---------------------------------------------------------------------------------------


STUDENT_NOTE = (
    "t: distance from theory in standard errors; dof: its degrees of freedom, one less than\n"
    "replicates; p: chance of a |t| as large"
)


def student(estimate: Estimate, expected: float) -> tuple[float, float]:
    """Student's t of an estimate, and the probability of one as large by chance (two-sided).

    With few replicates t is not z: with 7 degrees of freedom |t| > 4 comes once in 190, not once
    in 16,000.
    """
    from scipy.special import stdtr

    t = z_score(estimate.value, estimate.se, expected)
    return t, float(2 * stdtr(estimate.dof, -abs(t)))


def student_words(estimate: Estimate, expected: float) -> list[str]:
    """Cells of a printed table: t, degrees of freedom, p."""
    t, p = student(estimate, expected)
    return [f"{t:+.2f}", f"{estimate.dof:.0f}", f"{p:.2g}"]


def all_along(
    name: str, t: F64, curve: Sequence[Estimate], law: F64, *, source: str, false_alarm: float,
    tests: int = 1, solved: bool = False,
) -> Check:  # fmt: skip
    """The check that a whole curve keeps to a law: its farthest reading, in a simultaneous band.

    The band is as wide as it takes for all readings of all ``tests`` such curves together
    (Bonferroni), however correlated they are.
    """
    z = [abs(p.value - x) / p.se if p.se else 0.0 for p, x in zip(curve, law, strict=True)]
    at = int(np.argmax(z))
    return Check.by_student(
        f"{name}, farthest of {len(z)} readings (at {t[at]:.3g} s)", curve[at], float(law[at]),
        source=source, false_alarm=false_alarm, tests=tests * len(z), solved=solved,
    )  # fmt: skip


# --- a place --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Varicosity:
    """Sites on a patch of 1 um^2 in a sheet of fluid as deep as the gap between cells.

    What lets go wanders over 9 x 9 cells of 1 um, binds again, or leaves for the surroundings. The
    depth of 0.02 um and the exchange of 30/s (diffusion over some 3 um) are assumed.
    """

    sites: int
    drug: Kinetics
    diffusion_um2_per_s: float
    competitor: Kinetics | None = None
    accuracy: float = 0.003

    EXCHANGE_PER_S = 30.0
    GRID = Grid(width=9, height=9, spacing_um=1.0, depth_um=0.02)
    MIDDLE = (4, 4)

    def scenario(self, nM: float, **more: Any) -> Scenario:
        """The place, with ``nM`` of the drug in its surroundings; ``more`` are fields of a
        scenario.
        """
        reservoir = Reservoir(concentration_nM=nM, exchange_per_s=self.EXCHANGE_PER_S)
        ligands = {
            "drug": Ligand(
                diffusion_um2_per_s=self.diffusion_um2_per_s, reservoir=reservoir,
                binding={"SERT": self.drug},
            )
        }  # fmt: skip
        if self.competitor is not None:
            ligands["competitor"] = Ligand(clamped_nM=0.0, binding={"SERT": self.competitor})
        return Scenario(
            name="varicosity", grid=self.GRID, accuracy=self.accuracy, ligands=ligands,
            targets={"SERT": Target(cells=(self.MIDDLE,) * self.sites)}, **more,
        )  # fmt: skip

    def law(self, competitor_nM: float = 0.0) -> theory.SitesOnGrid:
        """Its mean field."""
        grid, blocker = self.GRID, self.competitor
        sites = np.zeros((grid.height, grid.width))
        sites[self.MIDDLE] = self.sites
        return theory.SitesOnGrid(
            Walk(grid.width, grid.height, self.diffusion_um2_per_s / grid.spacing_um**2),
            sites.ravel(), pair_rate_per_s(self.drug.kon, grid.cell_volume_um3), self.drug.koff,
            self.EXCHANGE_PER_S,
            block_on=blocker.kon * competitor_nM if blocker else 0.0,
            block_off=blocker.koff if blocker else 0.0,
        )  # fmt: skip

    def free_per_cell(self, nM: float) -> float:
        """Free molecules of a cell at a concentration."""
        return nM * self.GRID.molecules_per_nM / self.GRID.cells
