"""The life of one serotonin molecule: released, wandering, bound, let go, bound again, taken up.

Question
    How long does a molecule wander until a transporter (SERT) catches it? How long does it sit
    there, how often is it let go, and how soon is it caught again? What changes if it diffuses so
    slowly that it stays where it was let go?
Method
    A slab of 20 x 20 cells (2 x 2 um, 1 um deep) with 12 clusters of 5 SERT, and one molecule that
    starts in a cell of its own. It is alone: nothing else ever holds a transporter, so lives are
    independent. 2000 lives at the diffusion coefficient of serotonin, and 2000 at one that is
    thousands of times smaller. Steps of 1 ms (in-cell rate x dt = 0.024); what happens is counted
    within the steps, when it happens is read at their ends. The path that is drawn is the first
    slow life with at least three bindings (one in sixteen has), its corners spread within their
    cells for the eye.
Expected answer
    All of it is exact. A bound episode is exponential with k_off + k_cat, the number of bindings
    geometric with k_cat/(k_off + k_cat), whatever diffusion does. Waiting times are those of a
    finite Markov chain: the simulated one, hop for dt then react for dt, is what the checks use;
    the curves are its limit of short steps. Fast diffusion makes all waits exponential with mean
    M/(sum of in-cell rates), the well-mixed law. Slow diffusion delays the first binding and makes
    rebinding likely; the mean time to the next binding stays nearly the same (exactly, for a
    molecule let go by each transporter equally often: Kac), as many short waits are paid for by few
    long ones.
Run time
    About 8 s.
Source
    Kac 1947, Bull AMS 53:1002 (mean return times); Gillespie 1977, J Phys Chem 81:2340; rate
    constants and diffusion of serotonin: ``synapse-abm list --drugs``. The places of SERT are
    assumed. The slow diffusion is a thought experiment: the usual 211 um2/s already allows for the
    detours of brain tissue, which slow diffusion 2.6-fold (Nicholson & Sykova 1998, Trends Neurosci
    21:207), not thousands of times.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from synapse_abm import Scenario, pharmacology, statistics, theory
from synapse_abm.core.arithmetic import SOLVED, rounded
from synapse_abm.core.errors import InputError
from synapse_abm.core.progress import Progress
from synapse_abm.core.text import text_table
from synapse_abm.runs import dose_response
from synapse_abm.runs.results import Check, Result, Table
from synapse_abm.synapse.engine.simulation import Simulation
from synapse_abm.synapse.scenario import Grid, Ligand, Target
from synapse_abm.synapse.scenario.step_error import in_cell_rate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CELLS = 20
CLUSTERS = ((3, 16), (8, 17), (14, 15), (17, 18), (1, 10), (6, 12),
            (12, 11), (18, 9), (4, 5), (9, 3), (13, 6), (17, 2))  # fmt: skip
PER_CLUSTER = 5
RELEASED = (9, 8)
STEP_S = 1e-3
LIVES, QUICK_LIVES = 2000, 500
DRAWN_BINDINGS = 3  # of the life that is drawn
FALSE_ALARM = 1e-6  # over all checks together
LEAST_EXPECTED = 100.0  # in each bin of a chi-square test
SLOWEST, FASTEST = 0.01, 211.0  # um2/s
CHUNK = 1024  # steps of one compiled call
PLACES = ("fast", "slow")
WAITS = {
    "first": "until first bound",
    "episode": "bound, until first let go",
    "again": "let go, until bound again",
    "life": "from release to uptake",
}
STILL = {"first": "not yet bound", "episode": "still bound", "again": "still free",
         "life": "not yet taken up"}  # fmt: skip


@dataclass(frozen=True)
class Options:
    """Options of this experiment."""

    slow_um2_per_s: float = 0.05
    """Diffusion coefficient of the slow case, in um^2/s (serotonin: 211)."""


@dataclass(frozen=True)
class Lives:
    """What many lives came to. Times are counted in steps, from the end of one to that of another.

    Attributes
    ----------
    first, life, bindings : array, shape (lives,)
        Step of the first binding, step of the uptake, number of bindings.
    again : array, shape (lives that are seen free again,)
        Steps from the first end of a step at which it is free again to the next binding.
    episode : array, shape (bindings that outlast their step,)
        Steps from the end of that step to the end of the episode. What an exponential wait has
        still to go does not depend on how long it has lasted, so this is the law of all of it.
    """

    first: np.ndarray
    life: np.ndarray
    bindings: np.ndarray
    again: np.ndarray
    episode: np.ndarray


def scenario(diffusion_um2_per_s: float) -> Scenario:
    """One molecule among the clusters."""
    serotonin = pharmacology.ligand("serotonin")
    molecule = Ligand(
        role="serotonin",
        diffusion_um2_per_s=diffusion_um2_per_s,
        count=1,
        start_cell=RELEASED,
        binding={"SERT": serotonin.kinetics("SERT")},
    )
    sites = tuple(cell for cell in CLUSTERS for _ in range(PER_CLUSTER))
    return Scenario(
        name="life",
        grid=Grid(width=CELLS, height=CELLS),
        targets={"SERT": Target(kind="transporter", cells=sites)},
        ligands={"serotonin": molecule},
        dt_s=STEP_S,
    )


def in_theory(synapse: Scenario, s: float = 1.0) -> theory.Wandering:
    """The same molecule as a Markov chain; ``s`` multiplies k_on and k_off."""
    grid, molecule = synapse.grid, synapse.ligands["serotonin"]
    kinetics, here = molecule.binding["SERT"], np.zeros(grid.cells)
    for x, y in synapse.targets["SERT"].cells or ():
        here[y * grid.width + x] += in_cell_rate(synapse, "serotonin", "SERT")
    hops_per_s = molecule.diffusion_um2_per_s / grid.spacing_um**2
    return theory.Wandering(
        grid.width, grid.height, hops_per_s, s * here, s * kinetics.koff, kinetics.kcat_per_s
    )


def start(synapse: Scenario) -> int:
    """Number of the cell of release."""
    return RELEASED[1] * synapse.grid.width + RELEASED[0]


def events(sim: Simulation) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bindings, releases and transports up to the end of each step, until it is taken up."""
    parts = []
    while not parts or parts[-1][2, -1] == 0:
        series = sim.run(CHUNK, every=1)
        kinds = ("bound", "unbound", "transported")
        parts.append(np.stack([series.count(kind, "serotonin", "SERT") for kind in kinds]))
    bound, unbound, taken_up = np.concatenate(parts, axis=1)
    end = int(np.argmax(taken_up)) + 1
    return bound[:end], unbound[:end], taken_up[:end]


def follow(sims: Any) -> Lives:
    """Live each life to its end, one simulation each."""
    first, life, bindings, again, episodes = [], [], [], [], []
    for sim in sims:
        bound, unbound, taken_up = events(sim)
        first.append(int(np.argmax(bound >= 1)) + 1)
        life.append(bound.size)
        bindings.append(int(bound[-1]))
        left = unbound + taken_up
        free = np.flatnonzero((unbound >= 1) & (bound == left))
        if free.size and taken_up[free[0]] == 0:
            since = int(free[0])
            again.append(int(np.searchsorted(bound, bound[since], side="right")) - since)
        began = np.flatnonzero((np.diff(bound, prepend=0) > 0) & (bound > left))
        episodes.append(np.searchsorted(left, left[began], side="right") - began)
    return Lives(*map(np.array, (first, life, bindings, again)), np.concatenate(episodes))


def path(sim: Simulation) -> Table:
    """Where the molecule is and what it does, one row for each change, until it is taken up."""
    rows, last = [(0.0, *RELEASED, "free")], (*RELEASED, "free")
    while last[2] != "taken up":
        sim.run(1)
        (row,) = sim.state.all_rows()
        y, x = divmod(int(sim.state.cells_of(np.array([row]))[0]), sim.scenario.grid.width)
        kind = ("free", "bound", "taken up")[int(sim.state.store.molecules[4, row])]
        if (x, y, kind) != last:
            rows.append((sim.seconds, x, y, kind))
            last = (x, y, kind)
    return Table.of_rows("path", "time_s x y state", rows)


def run(seed: int, quick: bool, progress: Progress, **options: Any) -> Result:
    """Live the lives at both diffusion coefficients and hold every statistic against its law."""
    slow_um2_per_s = Options(**options).slow_um2_per_s
    if not SLOWEST <= slow_um2_per_s <= FASTEST:  # also refuses nan
        allowed = f"a number from {SLOWEST:g} to {FASTEST:g}, in um2/s"
        raise InputError("--slow-um2-per-s", slow_um2_per_s, allowed)
    count = QUICK_LIVES if quick else LIVES
    usual = pharmacology.ligand("serotonin").diffusion_um2_per_s
    synapses = dict(zip(PLACES, map(scenario, (usual, slow_um2_per_s)), strict=True))
    lives = dict[str, Lives]()
    for number, (place, synapse) in enumerate(synapses.items()):
        replicates = progress(range(number * count, (number + 1) * count), label=f"{place} lives")
        lives[place] = follow(Simulation(synapse, seed, r) for r in replicates)
    shown = count + int(np.argmax(lives["slow"].bindings >= DRAWN_BINDINGS))
    drawn = path(Simulation(synapses["slow"], seed, shown))
    return _result(synapses, lives, drawn)


@dataclass(frozen=True)
class Laws:
    """The exact law of each wait, of the simulated steps and in the limit of short ones."""

    stepped: dict[str, theory.SteppedWaiting]
    continuous: dict[str, theory.Waiting]
    free_again: float

    @classmethod
    def of(cls, synapse: Scenario) -> Laws:
        """The laws of a place."""
        chain, at = in_theory(synapse), start(synapse)
        # The engine adjusts both rates to its step, and so do the laws of its steps.
        adjusted = in_theory(synapse, synapse.adjustments["SERT", "serotonin"].s)
        steps, leave = adjusted.stepped(synapse.dt_s), adjusted.koff + adjusted.kcat
        once = np.ones(1)
        ratio, rate = np.array([math.exp(-leave * synapse.dt_s)]), np.array([leave])
        back = steps.free_again(at)
        stepped = {
            "first": steps.first_binding(at),
            "episode": theory.SteppedWaiting(ratio, ratio, synapse.dt_s),
            "again": steps.first_binding(back.cells),
            "life": steps.lifetime(at),
        }
        continuous = {
            "first": chain.first_binding(at),
            "episode": theory.Waiting(once, rate),
            "again": chain.first_binding(chain.binding_cells(at)),
            "life": chain.lifetime(at),
        }
        return cls(stepped, continuous, back.probability)


def checks_of(place: str, lives: Lives, laws: Laws, synapse: Scenario, tests: int) -> list[Check]:
    """All statistics of one place against their exact laws; ``tests`` share the false alarms."""
    alarm = FALSE_ALARM / tests
    kinetics = synapse.ligands["serotonin"].binding["SERT"]
    taken_up = kinetics.kcat_per_s / (kinetics.koff + kinetics.kcat_per_s)
    stays = []
    for wait, words in WAITS.items():
        steps, law = getattr(lives, wait), laws.stepped[wait]
        stays.append(_mean(f"{place}: mean time {words}, s", steps, law, alarm))
        stays.append(_shape(f"{place}: law of the time {words}", *_binned(steps, law), alarm))
    geometric = taken_up * (1 - taken_up) ** np.arange(60)
    name = f"{place}: law of the number of bindings"
    stays.append(_shape(name, lives.bindings - 1, geometric, alarm))
    stays.append(dose_response.binomial_check(
        f"{place}: lives seen free again", lives.again.size, lives.life.size, laws.free_again,
        source="exact law of the simulated steps, binomial", false_alarm=alarm,
        solved=True,
    ))  # fmt: skip
    return stays


TESTS_EACH = 2 * len(WAITS) + 2


def _mean(
    name: str, steps: np.ndarray, law: theory.SteppedWaiting, false_alarm: float
) -> Check:  # fmt: skip
    """A mean against the exact one. Sums of waits are nearly gamma, not normal: the tail is that of
    the gamma law with their exact mean, variance and skewness.
    """
    from scipy.special import gammainc, gammaincc

    n = steps.size
    value, se = float(steps.mean()) * law.step_s, math.sqrt(law.var / n)
    z = (value - law.mean) / se
    shape = 4 * n / law.skewness**2
    scaled = max(shape + z * math.sqrt(shape), 0.0)
    p = min(gammainc(shape, scaled), gammaincc(shape, scaled))
    source = "exact law of the simulated steps; gamma tail"
    return Check(name, "exact", value, se, law.mean, z, source, bool(p > false_alarm / 2), True)


def _binned(steps: np.ndarray, law: theory.SteppedWaiting) -> tuple[np.ndarray, np.ndarray]:
    """Waits by classes of nearly equal chance, and the exact chance of each class."""
    classes = max(2, int(steps.size // (1.3 * LEAST_EXPECTED)))
    grid = np.unique(
        np.geomspace(1, rounded(60 * law.mean / law.step_s, SOLVED), 1000).astype(np.int64)
    )
    tail = law.survival(grid)
    wanted = 1 - np.arange(1, classes) / classes
    edges = np.unique(grid[np.minimum(np.searchsorted(-tail, -wanted), grid.size - 1)])
    chances = -np.diff(np.concatenate([[1.0], law.survival(edges), [0.0]]))
    return np.searchsorted(edges, steps, side="left"), np.clip(chances, 0.0, 1.0)


def _shape(name: str, sample: np.ndarray, law: np.ndarray, false_alarm: float) -> Check:
    """A whole distribution by Pearson's chi-square, whose value is compared with its mean."""
    least = min(LEAST_EXPECTED, sample.size / 5)
    test = statistics.chi_square(sample, law, least)
    se = math.sqrt(2 * test.dof)
    z = (test.statistic - test.dof) / se
    source = f"exact law, chi-square with {test.dof} d.f."
    return Check(name, "exact", test.statistic, se, test.dof, z, source, test.p > false_alarm, True)


@dataclass(frozen=True)
class Visit:
    """A stretch of the path that is drawn: free, along ``cells``, or bound in the one cell."""

    bound: bool
    cells: list[tuple[int, int]]
    begin_s: float
    end_s: float


@dataclass(frozen=True)
class Story:
    """What the figures show.

    Attributes
    ----------
    visits
        Stretches of the life that is drawn.
    diffusion_um2_per_s
        By place (fast, slow).
    lives
        How many were lived in each.
    clusters
        Cells that hold transporters.
    survival, exact
        By place and wait: time, share of waits that are longer, and its 95 % interval; time and
        share by theory. Each an array of columns.
    bindings
        By place: times bound in a life, share of lives, its error, the exact share.
    """

    visits: list[Visit]
    diffusion_um2_per_s: dict[str, float]
    lives: int
    clusters: tuple[tuple[int, int], ...]
    survival: dict[tuple[str, str], np.ndarray]
    exact: dict[tuple[str, str], np.ndarray]
    bindings: dict[str, list[tuple[int, float, float, float]]]


def _result(synapses: dict[str, Scenario], lives: dict[str, Lives], drawn: Table) -> Result:
    tests = TESTS_EACH * len(PLACES)
    laws = {place: Laws.of(synapse) for place, synapse in synapses.items()}
    checks, means = list[Check](), list[list[Any]]()
    curves, exact = list[list[Any]](), list[list[Any]]()
    for place, seen in lives.items():
        mine = checks_of(place, seen, laws[place], synapses[place], tests)
        checks += mine
        for number, wait in enumerate(WAITS):
            mean, shape = mine[2 * number : 2 * number + 2]
            steps, limit = getattr(seen, wait), laws[place].continuous[wait]
            means.append([place, wait, steps.size, mean.value, mean.se, mean.expected, mean.z,
                          limit.mean, math.sqrt(limit.var) / limit.mean, shape.value,
                          shape.expected, shape.passed])  # fmt: skip
            curves += _curve(place, wait, steps, laws[place])
            longest = curves[-1][2] * 1.05
            t = np.geomspace(STEP_S, longest, 120) if wait == "again" else np.linspace(0, longest)
            exact += [[place, wait, *pair] for pair in zip(t, limit.survival(t), strict=True)]
    kinetics = synapses["fast"].ligands["serotonin"].binding["SERT"]
    known = {
        "diffusion_um2_per_s": {
            p: s.ligands["serotonin"].diffusion_um2_per_s for p, s in synapses.items()
        },
        "well_mixed_s": in_theory(synapses["fast"]).mean_if_mixed,
        "koff_per_s": kinetics.koff,
        "kcat_per_s": kinetics.kcat_per_s,
        "in_cell_rate_per_s": in_cell_rate(synapses["fast"], "serotonin", "SERT"),
        "step_s": STEP_S,
        "seen": lives["fast"].life.size,
        "drawn_bindings": DRAWN_BINDINGS,
        "clusters": [list(cell) for cell in CLUSTERS],
        "sites_per_cluster": PER_CLUSTER,
        "status": "places of SERT and the slow diffusion: assumed",
    }
    names = "place wait n mean_s se expected z short_steps_s short_steps_cv chi2 dof law_passed"
    solved = ("se", "expected", "z", "short_steps_s", "short_steps_cv", "chi2", "dof")
    waits = Table.of_rows("waits", names, means, solved)
    how_often = _bindings(lives, kinetics.kcat_per_s / (kinetics.koff + kinetics.kcat_per_s))
    tables = [
        waits,
        Table.of_rows(
            "survival", "place wait time_s share low_95 high_95", curves, ("low_95", "high_95")
        ),
        Table.of_rows("theory", "place wait time_s share", exact, ("time_s", "share")),
        Table.of_rows("bindings", "place bindings share se expected", how_often),
        drawn,
    ]
    bindings = {
        place: [(times, share, se, law) for own, times, share, se, law in how_often if own == place]
        for place in PLACES
    }
    papers = [*pharmacology.ligand("serotonin").sources(), "Kac 1947, Bull AMS 53:1002",
              "Gillespie 1977, J Phys Chem 81:2340"]  # fmt: skip
    return Result(
        tables=tables,
        checks=checks,
        text=_text(waits),
        verdict=_verdict(checks, laws, lives),
        scenario=known,
        papers=papers,
        data=Story(
            _visits(drawn),
            known["diffusion_um2_per_s"],
            known["seen"],
            CLUSTERS,
            _pairs(curves),
            _pairs(exact),
            bindings,
        ),
    )


def _curve(place: str, wait: str, steps: np.ndarray, laws: Laws) -> list[list[Any]]:
    """Share of waits longer than some times, with its 95 % interval (exact binomial)."""
    from scipy.special import betaincinv

    law, n, rows = laws.stepped[wait], steps.size, list[list[Any]]()
    grid = np.unique(
        np.geomspace(1, rounded(60 * law.mean / law.step_s, SOLVED), 1000).astype(np.int64)
    )
    tail = law.survival(grid)
    shares = (0.95, 0.85, 0.7, 0.55, 0.4, 0.28, 0.18, 0.11, 0.06, 0.03, 0.015)
    for k in np.unique([grid[np.argmax(tail <= share)] for share in shares]):
        longer = int((steps > k).sum())
        low = float(betaincinv(longer, n - longer + 1, 0.025)) if longer else 0.0
        high = float(betaincinv(longer + 1, n - longer, 0.975)) if longer < n else 1.0
        rows.append([place, wait, float(k) * law.step_s, longer / n, low, high])
    return rows


def _pairs(rows: list[list[Any]]) -> dict[tuple[str, str], np.ndarray]:
    """Rows by place and wait, as columns."""
    keys = dict.fromkeys((place, wait) for place, wait, *_ in rows)
    return {key: np.array([row[2:] for row in rows if (row[0], row[1]) == key]).T for key in keys}


def _bindings(lives: dict[str, Lives], taken_up: float) -> list[list[Any]]:
    """Place, number of bindings in a life, share of seen, its error, and the geometric law."""
    rows = list[list[Any]]()
    for place, seen in lives.items():
        n = seen.bindings.size
        for times in range(1, 7):
            law = taken_up * (1 - taken_up) ** (times - 1)
            share = float((seen.bindings == times).mean())
            rows.append([place, times, share, math.sqrt(law * (1 - law) / n), law])
    return rows


def _text(waits: Table) -> str:
    header = ["time (s)", "diffusion", "n", "mean, 95 %", "exact", "z", "dt -> 0", "chi2 (d.f.)"]
    rows = []
    columns = ("wait", "place", "n", "mean_s", "se", "expected", "z", "short_steps_s", "chi2",
               "dof")  # fmt: skip
    for wait, place, n, mean, se, law, z, limit, chi2, dof in zip(
        *(waits[name] for name in columns), strict=True
    ):
        rows.append([WAITS[wait], place, f"{n}", f"{mean:.3f} +- {1.96 * se:.3f}", f"{law:.3f}",
                     f"{z:+.2f}", f"{limit:.3f}", f"{chi2:.1f} ({dof:.0f})"])  # fmt: skip
    return text_table(header, rows)


def _verdict(checks: list[Check], laws: dict[str, Laws], lives: dict[str, Lives]) -> str:
    failed = [check.name for check in checks if not check.passed]
    answer = f"MISSES its law: {failed[0]}" if failed else "follows its laws"
    quick = {p: float((bindings.again * STEP_S < 0.1).mean()) for p, bindings in lives.items()}
    fast, slow = (laws[p].continuous["again"].mean for p in PLACES)
    return (
        f"The molecule {answer} in {len(checks)} checks (false alarm 1e-6 over all). Let go, it is"
        f" bound again within 0.1 s in {100 * quick['fast']:.0f} % of lives, in"
        f" {100 * quick['slow']:.0f} % when diffusion is slow; the mean wait is {fast:.2f} s and"
        f" {slow:.2f} s."
    )


def _visits(path: Table) -> list[Visit]:
    rows = list(zip(*(path[name] for name in ("time_s", "x", "y", "state")), strict=True))
    visits, begun = list[Visit](), 0
    for n, (time_s, x, y, state) in enumerate(rows):
        if state != rows[begun][3]:
            cells = [(x, y) for _, x, y, _ in rows[begun:n]]
            # The last hop before binding ends where it binds, even within one step.
            cells += [(x, y)] if state == "bound" and cells[-1] != (x, y) else []
            visits.append(Visit(rows[begun][3] == "bound", cells, rows[begun][0], time_s))
            begun = n
    return visits


def figure(result: Result) -> dict[str, Figure]:
    """The path of one life and its strip of time; and the statistics of many."""
    from synapse_abm import plotting

    return {
        "": plotting.styled(_draw)(result.data),
        "statistics": plotting.styled(_draw_statistics)(result.data),
    }


def _draw(story: Story) -> Figure:
    from matplotlib.figure import Figure

    from synapse_abm import plotting as plot

    fig = Figure(figsize=(plot.WIDTH, 8.9), layout="constrained")
    plot.message(fig, "One serotonin molecule: bound, let go, bound again, taken up")
    place, strip = fig.subplots(2, 1, height_ratios=[8, 1])
    _map(place, story)
    _strip(strip, story.visits)
    return fig


def _draw_statistics(story: Story) -> Figure:
    from synapse_abm import plotting as plot

    title = f"{story.lives} lives follow exact laws, with fast and with slow diffusion"
    fig, (first, episode, number, again, life, key) = plot.panel_table(3, 2, 9.0, title)
    for wait, ax in {"first": first, "episode": episode, "again": again, "life": life}.items():
        _survival(ax, story, wait)
    _number(number, story)
    _key(key, story)
    return fig


def _colours() -> list[str]:
    from synapse_abm import plotting as plot

    return [plot.PURPLE, plot.ORANGE, plot.SKY, plot.GREY]  # not those of the two speeds


def _map(ax: Any, story: Story) -> None:
    """The synapse from above: transporters, the path, where it was released, bound, taken up."""
    from synapse_abm import plotting as plot

    h = Grid().spacing_um
    dots = [(-0.25, -0.25), (0.25, -0.25), (0, 0), (-0.25, 0.25), (0.25, 0.25)]
    for x, y in story.clusters:
        corner = [(x - 0.05) * h, (x + 1.05) * h], (y - 0.05) * h, (y + 1.05) * h
        ax.fill_between(*corner, color=plot.GREEN, alpha=0.22, lw=0)
        where = np.array([(x + 0.5 + dx, y + 0.5 + dy) for dx, dy in dots]) * h
        ax.plot(*where.T, "o", color=plot.GREEN, ms=2.6)
    free = [visit for visit in story.visits if not visit.bound]
    rng = np.random.default_rng(0)  # spreads hops over the same edge, for the eye only
    for visit, color in zip(free, _cycle(len(free)), strict=True):
        line = (np.array(visit.cells) + 0.5) * h
        line[1:-1] += rng.uniform(-0.28, 0.28, (max(len(line) - 2, 0), 2)) * h
        ax.plot(*line.T, color=color, lw=1.5, alpha=0.9, solid_joinstyle="round")
    _marks(ax, story.visits, h)
    side = CELLS * h
    ax.set(xlim=(0, side), ylim=(0, side), xticks=np.arange(0, side + 0.1, 0.5),
           yticks=np.arange(0, side + 0.1, 0.5), xlabel="x (µm)", ylabel="y (µm)")  # fmt: skip
    ax.set_xticks(np.arange(0, side + h / 2, h), minor=True)
    ax.set_yticks(np.arange(0, side + h / 2, h), minor=True)
    ax.grid(which="both", color="#EFEFEF", lw=0.6)
    ax.tick_params(which="minor", length=0)
    ax.set_aspect("equal")
    note = f"diffusion slowed down:\nD = {story.diffusion_um2_per_s['slow']:g} µm²/s"
    ax.annotate(note, (0.02 * side, 0.02 * side), color=plot.GREY)
    ax.legend(loc="lower center", bbox_to_anchor=(0.48, 1.0), ncols=4,
              handletextpad=0.3, columnspacing=1.2, borderaxespad=0.2)  # fmt: skip


def _cycle(n: int) -> list[str]:
    return [_colours()[i % len(_colours())] for i in range(n)]


def _marks(ax: Any, visits: list[Visit], h: float) -> None:
    from synapse_abm import plotting as plot

    look = {"color": plot.BLACK, "mec": "white", "ls": "none", "zorder": 5}
    ax.plot([], [], "o", color=plot.GREEN, ms=4, label="SERT")
    where = (np.array(RELEASED) + 0.5) * h
    ax.plot(*where, "*", **look, ms=18, label="released")
    ax.plot([], [], "o", **look, ms=13, label="bound")
    ax.plot([], [], "X", **look, ms=13, label="taken up")
    bound = [visit.cells[0] for visit in visits if visit.bound]
    beside = dict.fromkeys(bound, 0)  # several bindings in one place: marks side by side
    for number, cell in enumerate(bound, 1):
        x, y = (np.array(cell) + 0.5) * h
        x += 0.9 * h * beside[cell]
        beside[cell] += 1
        ax.plot(x, y, "o", **look, ms=17)
        ax.annotate(str(number), (x, y), ha="center", va="center_baseline", color="white",
                    weight="bold", fontsize=12, zorder=6)  # fmt: skip
    away = -0.9 * h if bound[-1][0] > CELLS - 3 else 0.9 * h * beside[bound[-1]]
    x, y = (np.array(bound[-1]) + 0.5) * h
    ax.plot(x + away, y, "X", **look, ms=14)


def _strip(ax: Any, visits: list[Visit]) -> None:
    """The same life in time, in the colours of the map."""
    from synapse_abm import plotting as plot

    free = iter(_cycle(len(visits)))
    count, reach, end = 0, -1.0, visits[-1].end_s
    for visit in visits:
        span = (visit.begin_s, visit.end_s - visit.begin_s)
        if visit.bound:
            count += 1
            ax.broken_barh([span], (0, 1), color=plot.BLACK)
            # Numbers keep a distance, where the bindings themselves have none.
            reach = middle = max(visit.begin_s + span[1] / 2, reach + 0.035 * end)
            ax.annotate(str(count), (middle, 1.02), ha="center", va="bottom", weight="bold",
                        color=plot.BLACK, annotation_clip=False)  # fmt: skip
        else:
            ax.broken_barh([span], (0.3, 0.4), color=next(free))
    ax.plot(end, 0.5, "X", color=plot.BLACK, ms=13, mec="white", clip_on=False, zorder=5)
    ax.set(xlim=(0, end * 1.02), ylim=(0, 1.5), yticks=[0.5])
    ax.set_yticklabels(["thin: free\nthick: bound"])
    ax.tick_params(axis="y", length=0)
    ax.grid(visible=False)
    ax.set_xlabel("time since release (s)")


def _looks() -> dict[str, tuple[str, str]]:
    from synapse_abm import plotting as plot

    return {"fast": (plot.BLUE, "o"), "slow": (plot.VERMILION, "s")}


def _survival(ax: Any, story: Story, wait: str) -> None:
    """Share of waits that are longer than t, with the exact curve."""
    from synapse_abm import plotting as plot

    for place, look in _looks().items():
        ax.plot(*story.exact[place, wait], color=look[0], lw=1.8)
        t, share, low, high = story.survival[place, wait]
        plot.measured(ax, t, share, [share - low, high - share], look, ms=4.5)
    if wait == "again":  # short waits are the point
        plot.log_concentration(ax, "")  # the ticks of one, that is
        ax.set_xlim(left=2 * STEP_S)
        ax.set_ylim(0, 1.04)
        plot.percent(ax)
    else:
        ax.set_yscale("log")
        ax.set_ylim(0.008, 1.35)
        ax.set_yticks([1, 0.1, 0.01], ["100 %", "10 %", "1 %"])
        ax.yaxis.set_minor_formatter("")
        ax.locator_params(axis="x", nbins=5)
        ax.set_xlim(left=0)
    ax.set_ylabel(STILL[wait])
    ax.set_title(WAITS[wait])
    ax.set_xlabel("time (s)")


def _number(ax: Any, story: Story) -> None:
    """How often a molecule is bound before it is taken up: bars of theory, simulated points."""
    from synapse_abm import plotting as plot

    for (place, look), shift in zip(_looks().items(), (-0.17, 0.17), strict=True):
        times, share, se, law = np.array(story.bindings[place]).T
        if place == "fast":  # the law is the same whatever diffusion does
            ax.bar(times, law, width=0.75, color=plot.GREY, alpha=0.35)
        plot.measured(ax, times + shift, share, 1.96 * se, look, ms=4.5)
    ax.set_yticks([0, 0.25, 0.5, 0.75])
    ax.set_ylim(0, 0.85)
    plot.percent(ax)
    ax.set_xticks(times)
    ax.grid(visible=False, axis="x")
    ax.set_title("how often bound")
    ax.set_xlabel("bindings in a life")
    ax.set_ylabel("share of lives")


def _key(ax: Any, story: Story) -> None:
    """What colours, points and lines mean."""
    names = {"fast": "as in brain tissue", "slow": "slowed down (imagined)"}
    for place, (color, mark) in _looks().items():
        label = f"D = {story.diffusion_um2_per_s[place]:g} µm²/s,\n{names[place]}"
        ax.errorbar([], [], yerr=[], fmt=mark + "-", color=color, ms=5, capsize=3, label=label)
    ax.axis("off")
    ax.legend(loc="upper left", borderaxespad=0, labelspacing=0.8,
              title="points: simulated, 95 %\nlines, bars: exact theory",
              alignment="left")  # fmt: skip


if __name__ == "__main__":
    from synapse_abm.cli import run_script

    run_script(__file__)
