"""Which textbook formula may be used: hyperbola, Gaddum, Morrison, or only the exact law.

Each formula is the next one with something left out, so the simplest that is good enough is the
first in this order whose error is within the tolerance:

=============  =====================================================  ============================
hyperbola      C / (C + Kd)                                           leaves out the competitor
Gaddum         C / (C + K), K = Kd (1 + S / Km)                       leaves out depletion
Morrison       quadratic for the complex, sites and total drug, K     leaves out fluctuations
exact law      `closed_law` in a closed volume, else Gaddum's         nothing
=============  =====================================================  ============================

They are ordered: hyperbola >= Gaddum >= exact law >= Morrison, equal where nothing is left out. (By
the identity of `closed_law`, as b <= R.)

In a closed volume C is what went in over the volume, as the books' user would take it. Where the
surroundings hold C, nothing is depleted: Morrison's equation is then Gaddum's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

from synapse_abm.core.arrays import nonnegative, one, positive, refused, whole
from synapse_abm.core.errors import shown
from synapse_abm.theory.binding import occupancy
from synapse_abm.theory.closed import closed_law, morrison_mean

#: Molecules in 1 um^3 of a 1 nM solution, N_A * 1e-24 (exact since the SI of 2019).
PER_NM_UM3 = 0.602214076
#: Copies of the rarer partner up to which the law is tabled; beyond, its mean is expanded.
TABLED_COPIES = 1_000_000
#: Limits of volumes and concentrations: products and quotients of a few stay within floats.
SMALLEST, LARGEST = 1e-60, 1e60


class FormulaOutcome(NamedTuple):
    """One formula at one setting."""

    name: str
    occupancy: float
    """What it says."""
    error_points: float
    """That minus the exact mean, in points of occupancy (hundredths)."""
    holds: bool
    """Whether the error is within the tolerance."""


@dataclass(frozen=True, slots=True)
class FormulaChoice:
    """What `which_formula` tells.

    Attributes
    ----------
    occupancy : float
        Exact mean share of the sites that hold the drug.
    sd : float
        Exact standard deviation of that share from one instant to another: what no formula for
        the mean says.
    hyperbola, gaddum, morrison : FormulaOutcome
        The three formulas.
    tolerance_points : float
        Largest error that was to be tolerated, in points of occupancy.
    simplest : str
        The simplest that holds: "hyperbola", "Gaddum", "Morrison" or "exact law".
    why : str
        One sentence: what rules out the simpler ones.
    """

    occupancy: float
    sd: float
    hyperbola: FormulaOutcome
    gaddum: FormulaOutcome
    morrison: FormulaOutcome
    tolerance_points: float
    simplest: str
    why: str

    @property
    def formulas(self) -> tuple[FormulaOutcome, FormulaOutcome, FormulaOutcome]:
        """The three, simplest first."""
        return self.hyperbola, self.gaddum, self.morrison

    def __str__(self) -> str:
        rows = [
            f"  {formula.name:10} {100 * formula.occupancy:7.2f} %"
            f"  {formula.error_points:+7.2f} points  {'holds' if formula.holds else 'fails'}"
            for formula in self.formulas
        ]
        exact = f"  {'exact law':10} {100 * self.occupancy:7.2f} %  (sd {100 * self.sd:.2g} points)"
        head = f"{self.simplest}, within {self.tolerance_points:g} points: {self.why}"
        return "\n".join([head, *rows, exact])


def which_formula(
    sites: int,
    volume_um3: float,
    kd_nM: float,
    *,
    concentration_nM: float | None = None,
    copies: int | None = None,
    serotonin_nM: float = 0.0,
    km_nM: float = 170.0,
    tolerance_points: float = 1.0,
) -> FormulaChoice:
    """Tell which formula gives a drug's mean occupancy at equilibrium within a tolerance.

    Give either ``concentration_nM`` (open: the surroundings hold it) or ``copies`` (closed: that
    many molecules of drug went in, and stay).

    Parameters
    ----------
    sites : int
        Binding sites in the volume, >= 1.
    volume_um3 : float
        Volume that the molecules move in, um^3.
    kd_nM : float
        Dissociation constant of the drug (Kd, or Ki), nM.
    concentration_nM : float, optional
        Free concentration of the drug, nM.
    copies : int, optional
        Molecules of drug in all, free and bound.
    serotonin_nM : float
        Competitor at the same sites, clamped at this free concentration, nM.
    km_nM : float
        Its Michaelis constant (k_off + k_cat) / k_on, or Kd if it is not transported, nM. The
        default is that of serotonin uptake in rat slices (Bunin 1998).
    tolerance_points : float
        Largest error to be tolerated, in points of occupancy (hundredths), > 0.

    Raises
    ------
    ValueError
        If a number is impossible, or neither or both of concentration and copies are given; the
        message names all faults at once.

    Notes
    -----
    It speaks of the mean at equilibrium, where slow diffusion does not matter (`grid_law`). Time
    courses and noise are another matter, and so is a competitor that comes in bursts
    (`burst_competition`): `experiments/limits.py` maps all five. Above a million copies of the
    rarer partner the exact mean is Morrison's plus its leading correction, Var / sqrt(s**2 - 4 R L)
    in copies, which is then exact to 1e-9 points.

    References
    ----------
    Gaddum 1937, J Physiol 89:7P; Morrison 1969, Biochim Biophys Acta 185:269.
    """
    checked = _checked(locals())
    per_nM = checked["volume_um3"] * PER_NM_UM3
    # A competitor whose concentration is clamped enters nothing but the apparent Kd (Gaddum), in a
    # closed volume too: what is left is one ligand.
    load = checked["serotonin_nM"] / checked["km_nM"]
    apparent = checked["kd_nM"] * (1 + load)
    number = int(checked["sites"])
    if copies is None:
        c = checked["concentration_nM"]
        p = float(occupancy(c, apparent))
        exact, sd = p, math.sqrt(p * (1 - p) / number)
        quadratic = p
    else:
        total, affinity = int(checked["copies"]), 1 / (apparent * per_nM)
        c = total / per_nM
        exact, sd = _closed(number, total, affinity)
        quadratic = float(morrison_mean(number, total, affinity)) / number
    tolerance = checked["tolerance_points"]
    outcomes = (
        _outcome("hyperbola", float(occupancy(c, checked["kd_nM"])), exact, tolerance),
        _outcome("Gaddum", float(occupancy(c, apparent)), exact, tolerance),
        _outcome("Morrison", quadratic, exact, tolerance),
    )
    # The order is that of what is left out, so the first that holds is the simplest.
    simplest = next((formula.name for formula in outcomes if formula.holds), "exact law")
    depletion = None if copies is None else number / (apparent * per_nM)
    why = _reason(outcomes, simplest, load, depletion, copies)
    return FormulaChoice(exact, sd, *outcomes, tolerance, simplest, why)


def _checked(arguments: dict[str, Any]) -> dict[str, float]:
    """All numbers, or one error that names everything that is wrong."""
    least = {"sites": 1, "copies": 0}
    may_be_zero = ("concentration_nM", "serotonin_nM")
    either = ("concentration_nM", "copies")
    checked, faults = dict[str, float](), list[str]()
    for name, value in arguments.items():
        if name in either and value is None:
            continue
        try:
            if name in least:
                checked[name] = whole(name, value, least[name])
                continue
            x = one(nonnegative if name in may_be_zero else positive, name, value)
            if x > LARGEST or (x < SMALLEST and name not in may_be_zero):
                raise refused(name, x, f"from {SMALLEST:g} to {LARGEST:g}")
            checked[name] = x
        except ValueError as error:
            faults.append(str(error))
    if sum(arguments[name] is not None for name in either) != 1:
        both = " and ".join(f"{name} = {shown(arguments[name])}" for name in either)
        faults.append(
            f"{both} are not allowed; give one of them: a concentration that the surroundings "
            "hold, or the copies in a closed volume"
        )
    if faults:
        raise ValueError("; ".join(faults))
    return checked


def _closed(sites: int, copies: int, affinity: float) -> tuple[float, float]:
    """Mean and standard deviation of the occupancy in a closed volume."""
    if min(sites, copies) <= TABLED_COPIES:
        law = closed_law(sites, copies, affinity)
        return law.mean / sites, law.sd / sites
    mean = float(morrison_mean(sites, copies, affinity))
    # Linear noise around the mean: birth K (R - b)(L - b), death b, slopes summed.
    slope = 1 + affinity * ((sites - mean) + (copies - mean))
    # Mean rates of birth and death are equal; each jump adds 1, and slopes pull back: var = 2 mean
    # rate / (2 slope), here in units of k_off.
    variance = mean / slope
    return (mean + affinity * variance / slope) / sites, math.sqrt(variance) / sites


def _outcome(name: str, said: float, exact: float, tolerance: float) -> FormulaOutcome:
    error = 100 * (said - exact)
    return FormulaOutcome(name, said, error, abs(error) <= tolerance)


def _reason(
    outcomes: tuple[FormulaOutcome, FormulaOutcome, FormulaOutcome],
    simplest: str,
    load: float,
    depletion: float | None,
    copies: int | None,
) -> str:
    """What rules out each simpler formula, or that nothing does."""
    hyperbola, gaddum, morrison = outcomes
    said = []
    if not hyperbola.holds and load > 0:
        said.append(f"serotonin at {load:.2g} Km moves the half point {1 + load:.3g}-fold")
    if not gaddum.holds:
        said.append(f"sites at {depletion:.2g} times the apparent Kd take drug out of solution")
    if simplest == "exact law":
        said.append(f"with {copies} copies of drug fluctuations count")
    elif not morrison.holds:  # of few sites, a single one above all: it takes from no other
        said.append("so few sites hardly take drug from each other, which Morrison assumes")
    if not said:
        drug = "is held" if depletion is None else f"meets sites at {depletion:.2g} Kd only"
        said.append(f"the drug {drug}, and serotonin is at {load:.2g} Km")
    return "; ".join(said)
