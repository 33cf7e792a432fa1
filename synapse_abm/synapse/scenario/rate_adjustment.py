r"""Rates adjusted to the step, so that kinetics on a grid is right at a large dt.

A step lets molecules hop for dt and then lets each cell react for dt with positions frozen. A
molecule that has bound and let go stays in the site's cell until the step ends, so it binds again
more often than it should, and whatever changes in time is slow: by the factor (1 - e^-x)/x, x the
in-cell rate of binding times dt, where a step mixes the place. As Smoldyn adjusts its binding
radius to dt (Andrews & Bray 2004, Phys Biol 1:137), here k_on *and* k_off of a pair
(ligand, target) are multiplied by one factor s. Their ratio is unchanged, so detailed balance,
and with it every law of equilibrium, stays exact.

**The factor, for one molecule that only binds.** Time is counted in steps. Let P(t) be the chance
that a molecule which is in the cell of a site at time 0 is in the cell of a site at time t, pi its
stationary value, and the molecule anywhere at first. (1) In time, binding at the rate x per step in
such a cell, the mean wait is 1/(x pi) + (1/pi) integral of (P - pi): the second term is what
diffusion adds, because a place where nothing has bound yet has been looked at already (Collins &
Kimball 1949, J Colloid Sci 4:425). (2) In steps, binding with the chance p per step in such a cell,
the renewal equation gives the mean number 1/(p pi) + (1/pi) sum over n >= 1 of (P_n - pi); the
binding itself is half a step earlier, on average. (3) Both are equal if

    1/p = 1/x + integral (P - pi) dt - sum over n >= 1 of (P_n - pi) + pi/2.

(4) P - pi is a sum over the modes of the walk of weights times exp(-u t), u = lambda_k dt the decay
of mode k in a step. Its integral is 1/u, its sum 1/(e^u - 1), and they differ by g(u) = 1/u -
1/(e^u - 1): from g(0) = 1/2 for a mode that does not decay within a step to 0 for one that is gone.
pi/2 is the same of the constant mode. So 1/p = 1/x + beta, with beta the mean of g over all modes,
weighted with how strongly the map of sites excites each. For a site and those of its own map, and
for a site by itself, averaged over the cells,

    beta_map = 1/(nbar N) sum over k of m_k^2 g(lambda_k dt),
    beta_self = 1/M sum over k of g(lambda_k dt),

n_c sites in cell c, N = sum n_c, M cells, nbar = sum n_c^2 / N the sites that a site sees in its
own cell (itself included), m_k the coefficients of n_c in the orthonormal modes.

**Sites that are taken.** Where a share phi of them is free, w = 1 + phi (nbar - 1) free sites are
seen from a free site, itself among them, and x = w k_on dt / (cell volume). Each of the others
counts phi times, the site itself once:

    beta = (beta_self + phi (nbar beta_map - beta_self)) / w.

**With unbinding.** Let y = k_off dt, z = x + y, c(z) = 1/(1 - e^-z) - 1/z (1/2 at z = 0). In a cell
the odds of being bound go the share p = 1 - e^(-s z) of the way to their equilibrium in a step. Two
ends are known. At beta = 1/2 nobody moves, or all cells are alike, and no factor is needed: p = 1 -
e^-z, that is 1/p = 1/z + c(z). At beta = 0 a step mixes everything: a bound molecule lets go in a
step with the chance (y/z) p, which has to be 1 - e^-y, that is 1/p = 1/z + (y/z) c(y). Linear in
beta between them, which for y = 0 and small x is the formula above,

    1/p = 1/z + 2 beta c(z) + (1 - 2 beta) (y/z) c(y),     s = -ln(1 - p)/z.

On one cell, and for ligands that do not walk (clamped, D = 0), s is set to 1: Gillespie's algorithm
stays what it is. What errors this leaves, ``step_error`` announces.

phi is fixed, because a factor that followed the state would break detailed balance.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from synapse_abm.core.units import pair_rate_per_s
from synapse_abm.synapse.scenario.free_sites import DECIMALS, free_shares, is_course
from synapse_abm.synapse.scenario.parts import Cell, Description, Grid, Ligand, Target

type Pair = tuple[str, str]  # (target, ligand)
type Weighing = Callable[[np.ndarray], np.ndarray]  # of modes, by g

#: A molecule that binds in a step more often than this cannot be mended by a factor: near the pole
#: of s a small error of p is a large one of the rate.
LARGEST_P = 0.6
#: Unbinding and transport of one molecule within a step, at most, for the same reason.
LARGEST_LEAVING = 1.0
#: Eigenvalues are put into so many classes on larger grids; s changes by less than 1e-5.
CLASSES = 1024
#: Cells of a grid up to which the map of listed sites is transformed.
MOST_CELLS = 2**20


@dataclass(frozen=True, slots=True)
class Adjustment:
    """How the rates of one pair are adjusted to the step.

    Attributes
    ----------
    s
        Factor of k_on and k_off; 1 where nothing is to be adjusted or nothing can be.
    beta
        Share of a step for which a molecule that let go stays where it was, 0 to 1/2.
    phi
        Share of the target's sites that are taken to be free.
    x, y
        In-cell rate of binding, and rate of unbinding, times dt.
    s_start, s_end
        The factor for the share of free sites at the start of a course, and at its end.
    s_full
        The factor if no other site were free: of a site that is alone.
    p
        Chance that a molecule in the cell of a site binds in a step.
    scatter
        Standard deviation of beta, at most, between random places of the sites; 0 where cells are
        listed.
    usable
        Whether the factor makes kinetics right; otherwise only equilibrium is.
    """

    s: float
    beta: float
    phi: float
    x: float
    y: float
    s_start: float
    s_end: float
    s_full: float
    p: float
    scatter: float
    usable: bool

    @property
    def record(self) -> dict[str, float | bool]:
        """What a record of a run says of it."""
        numbers = {"s": self.s, "beta": round(self.beta, DECIMALS), "phi": self.phi}
        return {**numbers, "equilibrium_only": not self.usable}


@dataclass(frozen=True, slots=True)
class Spectrum:
    """What a map of sites excites of the modes of a walk.

    Attributes
    ----------
    decay
        Rates lambda_k at which modes decay, in units of D / spacing^2; shape (classes,).
    all_modes, sites
        1/M times the number of modes, and m_k^2 / (nbar N), of each class; both add up to 1.
    nbar
        Sites in the cell of a site.
    lumpiness
        nbar / N: the sum over cells of the squared share of all sites.
    """

    decay: np.ndarray
    all_modes: np.ndarray
    sites: np.ndarray
    nbar: float
    lumpiness: float

    def betas(self, hops: float) -> tuple[float, float]:
        """``(beta_map, beta_self)`` for ``hops`` = D dt / spacing^2."""
        g = _left_in_step(self.decay * hops)
        return float((self.sites * g).sum()), float((self.all_modes * g).sum())

    def scatter(self, hops: float, grid: Grid, sites: int) -> float:
        """Standard deviation of nbar beta_map between places where ``sites`` are scattered.

        A pair of sites contributes the walk's kernel G(c, c'); its mean and variance off the
        diagonal follow from sums of g and g^2. Between walls the diagonal varies, too: a cell at a
        wall has the kernel of neighbours, on average sum of g (1 - decay / (2 axes)) / M, besides.
        Against 150 random places of each of 47 grids and numbers this is 0.8 to 1.2 times what is
        found where a step spans a few cells, and more elsewhere.
        """
        g, cells = _left_in_step(self.decay * hops), grid.cells
        lengths = [length for length in (grid.width, grid.height) if length > 1]
        stays = float((self.all_modes * g).sum())
        square = (float((self.all_modes * g**2).sum()) - stays**2) / (cells - 1)
        pairs = max(0.0, square - ((0.5 - stays) / (cells - 1)) ** 2)
        beside = self.all_modes * g * (1 - self.decay / (2 * len(lengths)))
        near = float(beside.sum()) - 0.5 / cells
        walls = sum(2 / length for length in lengths) if grid.walls == "reflecting" else 0.0
        # Whole rounds over all cells are not random, and the rest takes distinct cells.
        rest = sites % cells
        drawn = rest / sites * (1 - rest / cells)
        return drawn * math.sqrt(2 * pairs * (rest > 1) + walls * near**2 / sites)

    def overlap(self, other: Spectrum, hops: float, weigh: Weighing) -> float:
        """Sum over the modes that decay of |m_k| |v_k| ``weigh``(g), m and v the shares of all that
        each cell of this map and of another one has: at most so much do they meet by these modes.
        """
        shares = np.sqrt(self.sites * self.lumpiness * other.sites * other.lumpiness)
        return self.weighed(shares, hops, weigh)

    def alone(self, hops: float, weigh: Weighing) -> float:
        """The same of a single cell with itself, on average over all cells."""
        return self.weighed(self.all_modes, hops, weigh)

    def weighed(self, of_modes: np.ndarray, hops: float, weigh: Weighing) -> float:
        """Sum over the modes that decay of a number of each times ``weigh``(g)."""
        terms = of_modes * weigh(_left_in_step(self.decay * hops))
        return float(terms[self.decay > 0].sum())


@functools.lru_cache(maxsize=64)  # asked for again by every replicate, which a process makes anew
def spectrum(grid: Grid, target: Target) -> Spectrum:
    """The spectrum of a target's own map, or that expected of sites thrown at random."""
    if target.cells is not None:
        return map_spectrum(grid, Counter(target.cells))
    # Scattered sites take distinct cells in turn: the part beyond whole rounds is random.
    mean, rest = target.n_sites / grid.cells, target.n_sites % grid.cells / grid.cells
    return _even_spectrum(grid, target.n_sites, mean + rest * (1 - rest) / mean)


@functools.lru_cache(maxsize=256)  # a running scenario that is changed asks at the same step
def _of_step(grid: Grid, target: Target, hops: float) -> tuple[float, float, float]:
    """``beta_map`` and ``beta_self`` of a target at ``hops`` a step, and the scatter of its map."""
    modes, scattered = spectrum(grid, target), target.cells is None
    scatter = modes.scatter(hops, grid, target.n_sites) if scattered else 0.0
    return (*modes.betas(hops), scatter)


def map_spectrum(grid: Grid, amounts: Mapping[Cell, float]) -> Spectrum:
    """The spectrum of a map that has these amounts in these cells, and nothing elsewhere.

    Beyond :data:`MOST_CELLS` cells it counts as a random map of as many to a cell. The maps of a
    grid have the same classes of modes.
    """
    # Every ligand asks for the maps of its targets, and they are often the same.
    return _map_spectrum(grid, tuple(sorted(amounts.items())))


@functools.lru_cache(maxsize=64)
def _map_spectrum(grid: Grid, amounts: tuple[tuple[Cell, float], ...]) -> Spectrum:
    total = sum(number for _, number in amounts)
    nbar = sum(number * number for _, number in amounts) / total
    if grid.cells > MOST_CELLS:
        return _even_spectrum(grid, total, nbar)
    counts = np.zeros((grid.height, grid.width))
    for (column, row), number in amounts:
        counts[row, column] = number
    weights = _coefficients(counts, grid.walls) / (nbar * total)
    decay = _axis(grid.height, grid.walls)[:, None] + _axis(grid.width, grid.walls)[None, :]
    alike = np.full(decay.size, 1 / decay.size)
    classes = _classes(decay.ravel(), alike, weights.ravel(), CLASSES)
    return Spectrum(*classes, nbar, nbar / total)


def _even_spectrum(grid: Grid, total: float, nbar: float) -> Spectrum:
    """Of a map that excites every mode alike, but for the constant one."""
    # The modes of each axis can be put into classes before they are added to one another.
    (y, of_y, _), (x, of_x, _) = (
        _classes(a, b := np.full(a.size, 1 / a.size), b, 256)
        for a in (_axis(grid.height, grid.walls), _axis(grid.width, grid.walls))
    )
    decay, alike = (y[:, None] + x[None, :]).ravel(), (of_y[:, None] * of_x[None, :]).ravel()
    constant = total / grid.cells / nbar
    weights = alike * (1 - constant) * grid.cells / max(grid.cells - 1, 1)
    weights[0] = constant
    return Spectrum(*_classes(decay, alike, weights, CLASSES), nbar, nbar / total)


def _axis(cells: int, walls: str) -> np.ndarray:
    """Eigenvalues of the walk along one axis, in hops per spacing^2; shape (cells,)."""
    turn = math.pi if walls == "reflecting" else 2 * math.pi
    return np.asarray(2 - 2 * np.cos(turn * np.arange(cells) / cells))


def _coefficients(counts: np.ndarray, walls: str) -> np.ndarray:
    """m_k^2 of a map in the orthonormal modes: cosines between walls, Fourier on a ring."""
    if walls == "periodic":
        return np.asarray(np.abs(np.fft.fft2(counts, norm="ortho")) ** 2)
    return np.asarray(_cosines(_cosines(counts).T).T ** 2)


def _cosines(rows: np.ndarray) -> np.ndarray:
    """Orthonormal cosine transform of each row, by the Fourier transform of row and mirror image.

    (``scipy.fft`` has it, and would take longer to import than all of this to compute.)
    """
    length = rows.shape[1]
    mode = np.arange(length)
    mirrored = np.fft.rfft(np.concatenate([rows, rows[:, ::-1]], axis=1))[:, :length]
    transformed = (mirrored * np.exp(-0.5j * math.pi * mode / length)).real / 2
    return np.asarray(transformed * np.where(mode == 0, 1 / length, 2 / length) ** 0.5)


def _classes(
    decay: np.ndarray, alike: np.ndarray, weights: np.ndarray, most: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Modes of nearly the same decay put together where there are more than ``most``."""
    if decay.size <= most:
        return decay, alike, weights
    moving = decay > 0
    slowest = decay[moving].min()
    at = np.zeros(decay.size, dtype=np.int64)  # the constant mode, which does not decay, is alone
    scale = (most - 3) / math.log(decay.max() / slowest)
    # Rounded to the nearest: no processor's logarithm may decide where the first and last belong.
    at[moving] = 1 + np.rint(scale * np.log(decay[moving] / slowest)).astype(np.int64)
    sums = [np.bincount(at, weights=w) for w in (alike, weights, decay * alike)]
    used = sums[0] > 0
    alike, weights, rates = (total[used] for total in sums)
    return rates / alike, alike, weights


def _left_in_step(u: np.ndarray) -> np.ndarray:
    """g(u) = 1/u - 1/(e^u - 1): 1/2 at 0, and 1/u far from it."""
    small = u < 1e-4  # below, the two terms cancel: the series is exact to 1e-17 there
    far = np.where(small, 1.0, np.minimum(u, 700.0))
    return np.where(small, 0.5 - u / 12, 1 / np.where(small, 1.0, u) - 1 / np.expm1(far))


def _ends(z: float) -> float:
    """c(z) = 1/(1 - e^-z) - 1/z: 1/2 at 0, 1 far from it."""
    return 0.5 + z / 12 if z < 1e-4 else -1 / math.expm1(-z) - 1 / z


def factor(x: float, y: float, beta: float) -> tuple[float, float]:
    """``(s, p)``: the factor and the chance of binding in a step; s is infinite beyond its pole."""
    z = x + y
    if z <= 0:
        return 1.0, 0.0
    p = 1 / (1 / z + 2 * beta * _ends(z) + (1 - 2 * beta) * (y / z) * _ends(y))
    return (-math.log1p(-p) / z if p < 1 else math.inf), p


def adjustment(
    description: Description, ligand: Ligand, target: str, dt_s: float, phi: float
) -> Adjustment:
    """How one pair is adjusted to a step of ``dt_s`` seconds, a share ``phi`` of sites free."""
    grid, sites, kinetics = description.grid, description.targets[target], ligand.binding[target]
    nbar = spectrum(grid, sites).nbar
    site = pair_rate_per_s(kinetics.kon, grid.cell_volume_um3) * dt_s
    leaving, y = (kinetics.koff + kinetics.kcat_per_s) * dt_s, kinetics.koff * dt_s
    hops = ligand.diffusion_um2_per_s * dt_s / grid.spacing_um**2
    beta_map, beta_self, scatter = _of_step(grid, sites, hops)

    def at(share: float) -> tuple[float, float, float, float]:
        seen = 1 + share * (nbar - 1)
        beta = (beta_self + share * (nbar * beta_map - beta_self)) / seen
        return (*factor(seen * site, y, beta), beta, seen * site)

    s, p, beta, x = at(phi)
    # A course begins with all sites free; phi is half-way from there to its end. A molecule does
    # not stand in its own way: of few, one sees more free sites than there are on average.
    start, end = (1.0, 2 * phi - 1) if is_course(description) else (phi, phi)
    start = max(start, min(1.0, phi + 1 / sites.n_sites))
    usable = round(p, DECIMALS) <= LARGEST_P and leaving <= LARGEST_LEAVING
    return Adjustment(
        s=round(s, DECIMALS) if usable else 1.0, beta=beta, phi=phi, x=x, y=y,
        s_start=at(start)[0], s_end=at(end)[0], s_full=at(0.0)[0], p=p, usable=usable,
        scatter=scatter,
    )  # fmt: skip


def walks(grid: Grid, ligand: Ligand) -> bool:
    """Whether a ligand is made of molecules that move between cells."""
    return grid.cells > 1 and ligand.clamped_nM is None and ligand.diffusion_um2_per_s > 0


def adjusted_pairs(description: Description) -> list[Pair]:
    """Pairs of a target that has sites and a ligand that walks: by ligand, then target."""
    return [
        (target, name)
        for name, ligand in description.ligands.items()
        if walks(description.grid, ligand)
        for target in ligand.binding
        if target in description.targets and description.targets[target].n_sites
    ]


def adjustments(description: Description, dt_s: float) -> dict[Pair, Adjustment]:
    """The adjustment of every pair that has one, to a step of ``dt_s`` seconds."""
    pairs = adjusted_pairs(description)
    phi = free_shares(description) if pairs else {}
    return {
        (target, name): adjustment(
            description, description.ligands[name], target, dt_s, phi[target]
        )
        for target, name in pairs
    }


__all__ = [
    "Adjustment",
    "Pair",
    "Spectrum",
    "adjusted_pairs",
    "adjustment",
    "adjustments",
    "factor",
    "map_spectrum",
    "spectrum",
    "walks",
]
