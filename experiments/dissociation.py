"""How fast does a drug wash out? Its own sites hold it back; a competitor in excess lets it go.

Question
    A varicosity is loaded with drug, then the drug outside is taken away. A molecule that lets go
    of a transporter (SERT) may bind to another before it has left the gap. How much slower is
    washout than k_off, with how many sites? And does a competitor in excess, which takes every
    site that comes free, bring k_off back, as in assays of binding?
Method
    Up to 2000 SERT on 1 um^2 in a gap of 20 nm (9 x 9 cells of 1 um); molecules wander, bind, and
    leave for the surroundings at 30/s. The run starts in equilibrium with milnacipran outside; at
    time zero the outside is set to zero (``[[at]]``), with or without 10 uM of citalopram added.
    (1) Washout of 1000 sites from 90 % occupancy. (2) From 5 %, nearly all sites empty, against
    the number of sites: one exponential is fitted to the mean curve of 30 readings, errors by the
    infinitesimal jackknife over replicates. Judge: mean field of binding with exact hops; with
    few bound it is the exact law of one molecule.
Expected answer
    k_off / (1 + k_on R/k_diff) for empty sites. Here k_diff is not fitted: it is the volume of a
    cell over the time that a molecule released there spends there before it is gone. The mean
    time to be gone is then exact for one molecule; one exponential is not, and occupied sites do
    not rebind: washout of full sites starts at k_off and slows down. With the competitor: k_off.
Run time
    About 15 s on one core.
Source
    Berg & Purcell 1977, Biophys J 20:193; Shoup & Szabo 1982, Biophys J 40:33; Vauquelin & Charlton
    2010, Br J Pharmacol 161:488. k_on is assumed (``synapse-abm list --drugs``), and so are
    density of sites, gap and exchange.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from synapse_abm import Scenario, pharmacology, statistics
from synapse_abm.core.progress import Progress
from synapse_abm.core.text import text_table
from synapse_abm.runs import dose_response, time_course
from synapse_abm.runs.results import Check, Result, Table
from synapse_abm.runs.time_course import F64, Varicosity
from synapse_abm.statistics import Estimate
from synapse_abm.synapse.scenario.parts import At, Start

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DRUG, COMPETITOR = "milnacipran", "citalopram"  # one leaves within seconds, the other stays
EXCESS_NM = 10_000.0  # of the competitor: it takes a free site 100 times a second
FULL_KD, FEW_KD = 9.0, 1 / 19  # loaded at 90 %, and at 5 %
SITES, LOADED_SITES = (125, 250, 500, 1000, 2000), 1000
ALONE, EXCESS = "alone", "with competitor"
#: Replicates at 90 %; at 5 % so many that all together begin with about 1200 bound molecules.
REPLICATES, BOUND = 16, 1200
READINGS, LIFETIMES = 30, 2.0  # time is in units of the mean of theory
FALSE_ALARM = 1e-6  # over all checks together
#: Readings that are judged: with more molecules left than this, over all replicates, a count is
#: near enough to normal.
LEAST_COUNT = 200


@dataclass(frozen=True)
class Case:
    """One washout: sites, drug outside before it (in Kd), competitor (nM) in the wash."""

    sites: int
    ratio: float
    competitor_nM: float

    @property
    def way(self) -> str:
        """Alone, or with the competitor."""
        return EXCESS if self.competitor_nM else ALONE


@functools.cache
def place(sites: int) -> Varicosity:
    """The varicosity with so many sites."""
    drug, competitor = (pharmacology.ligand(x) for x in (DRUG, COMPETITOR))
    return Varicosity(
        sites,
        drug.kinetics("SERT"),
        drug.diffusion_um2_per_s,
        competitor.kinetics("SERT"),
        accuracy=0.005,
    )


def loaded_nM(case: Case) -> float:
    """Drug outside before the wash."""
    drug = place(case.sites).drug
    return case.ratio * drug.koff / drug.kon


@functools.cache
def scenario(case: Case) -> Scenario:
    """In equilibrium with the drug outside, which at time zero is gone."""
    wash = {
        "ligand.drug.reservoir.concentration": "0 nM",
        "ligand.competitor.clamped": f"{case.competitor_nM} nM",
    }
    return place(case.sites).scenario(
        loaded_nM(case), start=Start(state="equilibrium"), at=(At(time_s=0.0, change=wash),)
    )


def slowed(case: Case) -> float:
    """1 + k_on R/k_diff, of the sites that stay empty during the wash."""
    here = place(case.sites)
    free = 1.0
    if case.competitor_nM and here.competitor:
        free = 1 / (1 + case.competitor_nM * here.competitor.kon / here.competitor.koff)
    return 1 + here.law().rebindings * free


def seconds(case: Case) -> float:
    """How long a washout is followed, s; that of full sites as long with the competitor."""
    alone = replace(case, competitor_nM=0.0) if case.ratio == FULL_KD else case
    return LIFETIMES * slowed(alone) / place(case.sites).drug.koff


def replicates(case: Case, quick: bool) -> int:
    """How many runs of a case."""
    if case.ratio == FULL_KD:
        return REPLICATES // 2 if quick else REPLICATES
    return round((BOUND / 10 if quick else BOUND) / (case.sites * case.ratio / (1 + case.ratio)))


def washout(case: Case, seed: int, replicate: int) -> F64:
    """Occupancy by the drug at each reading of one replicate."""
    series = time_course.read(scenario(case), seconds(case), READINGS, seed, replicate)
    return series.occupancy("SERT", "drug")


def law(case: Case, t: F64) -> F64:
    """Mean occupancy at times ``t`` (s) by theory."""
    here, share = place(case.sites), case.ratio / (1 + case.ratio)
    free = here.free_per_cell(loaded_nM(case))
    return here.law(case.competitor_nM).course(t, outside=0.0, bound=share, free=free)


@dataclass(frozen=True)
class Washout:
    """What the figure shows of a case: mean occupancy with its standard errors, theory, and the
    rate that one exponential gives for both.
    """

    case: Case
    time_s: F64
    curve: list[Estimate]
    law: F64
    rate: Estimate
    law_rate: float
    slowed: float


@dataclass(frozen=True)
class Dissociation:
    """All washouts, and the rate constant (1/s) and the ratio of a site."""

    koff: float
    per_site: float
    washouts: list[Washout]

    def of(self, ratio: float, way: str) -> list[Washout]:
        """Those loaded with ``ratio`` times Kd, by the number of sites."""
        return [w for w in self.washouts if (w.case.ratio, w.case.way) == (ratio, way)]


def run(seed: int, quick: bool, progress: Progress) -> Result:
    """Wash out all cases, and hold curves and rates against theory."""
    sites, loaded = ((250,), 250) if quick else (SITES, LOADED_SITES)
    cases = [
        *(Case(loaded, FULL_KD, nM) for nM in (0.0, EXCESS_NM)),
        *(Case(n, FEW_KD, nM) for nM in (0.0, EXCESS_NM) for n in sites),
    ]
    tasks = [
        (case, seed, at * BOUND + r)
        for at, case in enumerate(cases)
        for r in range(replicates(case, quick))
    ]
    runs = iter(dose_response.series(washout, tasks, progress))
    washouts = [
        _washout(case, np.array(list(itertools.islice(runs, replicates(case, quick)))))
        for case in cases
    ]
    one = place(1).law()
    return _result(Dissociation(one.koff, one.rebindings, washouts), quick)


def _washout(case: Case, runs: F64) -> Washout:
    t = time_course.read_at(scenario(case), seconds(case), READINGS)
    expected = law(case, t)
    guess = (place(case.sites).drug.koff / slowed(case), case.ratio / (1 + case.ratio))
    (rate, height), _ = time_course.best(time_course.decay, t, expected, guess)
    measured, _ = time_course.fitted(time_course.decay, t, runs, (rate, height))
    curve = [statistics.from_replicates(column) for column in runs.T]
    return Washout(case, t, curve, expected, measured, float(rate), slowed(case))


LAW = "mean field with exact hops (SitesOnGrid)"


def _result(data: Dissociation, quick: bool) -> Result:
    tests, checks = len(data.washouts) + 2, list[Check]()
    for w in data.washouts:
        name = f"rate of washout (1/s), {w.case.sites} sites from {w.law[0]:.0%}, {w.case.way}"
        checks.append(
            Check.by_student(
                name, w.rate, w.law_rate, source=f"one exponential fitted to {LAW}",
                false_alarm=FALSE_ALARM, tests=tests, solved=True,
            )
        )  # fmt: skip
    for way in (ALONE, EXCESS):
        (w,) = data.of(FULL_KD, way)
        seen = w.law * w.case.sites * replicates(w.case, quick) >= LEAST_COUNT
        curve = [point for point, judged in zip(w.curve, seen, strict=True) if judged]
        checks.append(
            time_course.all_along(
                f"occupancy during washout of full sites, {way}", w.time_s[seen], curve,
                w.law[seen], source=LAW, false_alarm=FALSE_ALARM, tests=tests, solved=True,
            )
        )  # fmt: skip
    rows = [
        [w.case.way, w.case.sites, w.case.ratio / (1 + w.case.ratio), w.rate.value, w.rate.se,
         w.rate.dof, w.law_rate, *time_course.student(w.rate, w.law_rate), data.koff / w.slowed]
        for w in data.washouts
    ]  # fmt: skip
    names = "wash sites loaded rate_per_s se dof expected_per_s t p formula_per_s"
    rates = Table.of_rows("dissociation", names, rows, names.split()[3:])
    readings = [
        [w.case.way, w.case.sites, w.case.ratio / (1 + w.case.ratio), t, p.value, p.se, x]
        for w in data.washouts
        for t, p, x in zip(w.time_s.tolist(), w.curve, w.law.tolist(), strict=True)
    ]
    names = "wash sites loaded time_s occupancy se expected"
    record = pharmacology.ligand(DRUG)
    return Result(
        tables=[rates, Table.of_rows("curves", names, readings, ("expected",))],
        checks=checks,
        text=_text(data),
        verdict=_verdict(data, checks),
        scenario={
            "ligand": record.full_name, "koff_per_s": data.koff, "competitor": COMPETITOR,
            "competitor_nM": EXCESS_NM, "kon_over_kdiff_per_site": data.per_site,
            "replicates": {w.case.sites: replicates(w.case, quick) for w in data.of(FEW_KD, ALONE)},
        },
        papers=[*record.sources(), "Berg & Purcell 1977, Biophys J 20:193",
                "Shoup & Szabo 1982, Biophys J 40:33",
                "Vauquelin & Charlton 2010, Br J Pharmacol 161:488"],
        data=data,
    )  # fmt: skip


def _text(data: Dissociation) -> str:
    lines = [
        [w.case.way, f"{w.case.sites}", f"{w.case.ratio / (1 + w.case.ratio):.0%}",
         f"{w.rate.value:.4g} +- {w.rate.se:.2g}", f"{w.law_rate:.4g}",
         *time_course.student_words(w.rate, w.law_rate), f"{data.koff / w.slowed:.4g}"]
        for w in data.washouts
    ]  # fmt: skip
    head = ["wash", "SERT", "loaded", "rate (1/s)", "theory", "t", "dof", "p",
            "k_off/(1 + k_on R/k_diff)"]  # fmt: skip
    return f"{text_table(head, lines)}\n\n{time_course.STUDENT_NOTE}"


def _verdict(data: Dissociation, checks: list[Check]) -> str:
    alone, excess = (data.of(FEW_KD, way)[-1] for way in (ALONE, EXCESS))
    answer = "as theory says" if all(check.passed for check in checks) else "NOT as theory says"
    return (
        f"Washout, {answer}: {alone.case.sites} sites let go at {alone.rate.value:.3g} +-"
        f" {alone.rate.se:.1g} /s, {data.koff / alone.rate.value:.2g} times slower than k_off ="
        f" {data.koff:.3g} /s; with {COMPETITOR} in excess at {excess.rate.value:.3g} +-"
        f" {excess.rate.se:.1g} /s."
    )


def figure(result: Result) -> Figure:
    """Washout of full sites; its rate against the number of sites where most are empty."""
    from synapse_abm import plotting

    return plotting.styled(_draw)(result.data)


def _draw(data: Dissociation) -> Figure:
    from synapse_abm import plotting as plot

    few = data.of(FEW_KD, ALONE)
    times = data.koff / few[-1].rate.value
    title = f"{few[-1].case.sites} sites slow washout {times:.2g}-fold; a competitor undoes it"
    fig, (left, right) = plot.panel_table(1, 2, 5.0, title)
    most = max(w.case.sites for w in few)
    # Side by side: bars of the same number of sites would cover each other.
    for look, way, aside in zip(plot.LOOKS, (ALONE, EXCESS), (-0.01, 0.01), strict=False):
        (w,) = data.of(FULL_KD, way)
        half = [(p.interval()[1] - p.interval()[0]) / 2 for p in w.curve]
        values = [p.value for p in w.curve]
        left.plot(w.time_s, w.law, color=look[0], lw=1.6)
        thin = slice(None, None, 2)
        plot.measured(left, w.time_s[thin], values[thin], half[thin], look, ms=5, label=way)
        few = data.of(FEW_KD, way)
        half = [(w.rate.interval()[1] - w.rate.interval()[0]) / 2 for w in few]
        right.plot([w.case.sites for w in few], [w.law_rate for w in few], color=look[0], lw=1.6)
        beside = [w.case.sites + aside * most for w in few]
        plot.measured(right, beside, [w.rate.value for w in few], half, look, label=way)
    (w,) = data.of(FULL_KD, ALONE)
    fine = np.linspace(0, w.time_s[-1], 200)
    share = FULL_KD / (1 + FULL_KD)
    left.plot(fine, share * np.exp(-data.koff * fine), color=plot.GREY, ls=":", label="k_off alone")
    left.set_xlabel("time in the wash (s)")
    left.set_ylabel(f"SERT occupied ({w.case.sites} sites)")
    left.set_xlim(left=0)
    left.set_ylim(0, 1)
    plot.percent(left)
    left.legend(loc="upper right", borderaxespad=0)
    n = np.linspace(0, 1.05 * most, 200)
    formula = "k_off/(1 + k_on R/k_diff)"
    right.plot(n, data.koff / (1 + data.per_site * n), color=plot.GREY, ls="--", label=formula)
    plot.reference(right, data.koff, "k_off", 0.8)
    right.set_xlim(0, 1.05 * most)
    right.set_ylim(0, 1.35 * data.koff)
    right.set_xlabel("SERT on the patch (number R)")
    right.set_ylabel("rate of washout from 5 % (1/s)")
    right.legend(loc="lower left", borderaxespad=0)
    return fig


if __name__ == "__main__":
    from synapse_abm.cli import run_script

    run_script(__file__)
