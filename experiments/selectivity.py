"""One drug, two transporters: what makes an SSRI, an SNRI and an NRI different?

Question
    The same drug meets serotonin transporters (SERT) and norepinephrine transporters (NET). Which
    share of each does it occupy, over all concentrations, for a drug that prefers SERT, one that
    takes both, and one that prefers NET?
Method
    One well-mixed cell with 10,000 SERT and 10,000 NET. The drug is clamped at a constant
    concentration (clamped: it binds and lets go, but its molecules are not followed), twelve
    concentrations per drug, with random numbers of their own. All sites start empty and are read
    once, after 16 relaxation times of the slower transporter. Clamped sites are independent, so the
    count is binomial: error bars and checks use that law itself.
Expected answer
    Each transporter follows C/(C + K) with its own K, whatever the other does. The distance of the
    curves is the selectivity ratio, K at NET over K at SERT. Being selective is a matter of
    concentration: enough of any drug occupies both. No transmitter competes here (see
    ``competition`` for what serotonin changes).
Run time
    About 2 s.
Source
    Affinities: ``synapse-abm list --drugs``; measured in vitro, so ratios are better known than the
    concentrations in a brain.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from synapse_abm import Scenario, statistics, theory
from synapse_abm.core.arithmetic import all_rounded
from synapse_abm.core.errors import InputError
from synapse_abm.core.progress import Progress
from synapse_abm.core.text import text_table
from synapse_abm.pharmacology import LigandRecord
from synapse_abm.runs import dose_response
from synapse_abm.runs.results import Check, Result, Table
from synapse_abm.statistics import Estimate
from synapse_abm.synapse.scenario import Grid, Target, to_scenario_ligand

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TARGETS = ("SERT", "NET")
SITES = 10_000
CONCENTRATIONS = 12
BEYOND = 30.0  # times below the lower K and above the higher one
RELAXATIONS = 16  # of the slower transporter, before it is read
FALSE_ALARM = 1e-6  # over all checks together
MOST_DRUGS = 4  # panels that are still legible


@dataclass(frozen=True)
class Options:
    """Options of this experiment."""

    drugs: tuple[str, ...] = ("escitalopram", "duloxetine", "reboxetine")
    """One to four drugs (DRUG, or DRUG@SOURCE), with affinities at SERT and NET."""


def scenario(drug: LigandRecord, concentration_nM: float) -> Scenario:
    """Both transporters in one cell at a constant concentration; a step is one relaxation time.

    One cell is exact at any step; the slower transporter sets the time.
    """
    slower = min(drug.kinetics(t).koff + drug.kinetics(t).kon * concentration_nM for t in TARGETS)
    return Scenario(
        name="selectivity",
        grid=Grid.well_mixed(1.0),
        targets={target: Target(sites=SITES) for target in TARGETS},
        ligands={"drug": to_scenario_ligand(drug, TARGETS, clamped_nM=concentration_nM)},
        dt_s=1 / slower,
    )


def bound(drug: LigandRecord, concentration_nM: float, seed: int, replicate: int) -> dict[str, int]:
    """How many sites of each transporter the drug occupies at equilibrium."""
    synapse = scenario(drug, concentration_nM)
    series = dose_response.settled(synapse, synapse.dt_s, RELAXATIONS - 1, 1, seed, replicate)
    return {target: int(series.bound(target, "drug")[0]) for target in TARGETS}


def affinity_nM(drug: LigandRecord, target: str) -> float:
    """Dissociation constant, nM."""
    return drug.kinetics(target).koff / drug.kinetics(target).kon


def run(seed: int, quick: bool, progress: Progress, **options: Any) -> Result:
    """Dose-response curves of both transporters for each drug, against their own hyperbolas."""
    drugs = Options(**options).drugs
    if not 1 <= len(drugs) <= MOST_DRUGS or len(set(drugs)) < len(drugs):
        raise InputError("--drugs", tuple(drugs), f"one to {MOST_DRUGS} different drugs")
    records = [dose_response.inhibitor(name, TARGETS, "--drugs") for name in drugs]
    count = CONCENTRATIONS // 2 if quick else CONCENTRATIONS
    places = [(drug, c) for drug in records for c in _concentrations(drug, count)]
    tasks = [(drug, c, seed, number) for number, (drug, c) in enumerate(places)]
    counts = dose_response.series(bound, tasks, progress)
    return _result(records, places, counts)


@dataclass(frozen=True)
class Curves:
    """What a panel shows of one drug: its points at each transporter, and the half points."""

    drug: str
    kind: str
    concentrations_nM: list[float]
    points: dict[str, list[Estimate]]
    k_nM: dict[str, float]


def _concentrations(drug: LigandRecord, count: int) -> list[float]:
    ks = [affinity_nM(drug, target) for target in TARGETS]
    # Rounded, as powers differ in the last digit between processors.
    return all_rounded(np.geomspace(min(ks) / BEYOND, max(ks) * BEYOND, count))


def _result(
    records: list[LigandRecord],
    places: list[tuple[LigandRecord, float]],
    counts: list[dict[str, int]],
) -> Result:
    tests = len(TARGETS) * len(places) + len(records)
    limit = statistics.normal_quantile(FALSE_ALARM, tests=tests)
    checks, rows, ratios = list[Check](), list[list[Any]](), list[list[Any]]()
    shown = list[Curves]()
    for drug in records:
        mine = [(c, n) for (owner, c), n in zip(places, counts, strict=True) if owner is drug]
        halves, own = list[Estimate](), dict[str, list[Estimate]]()
        for target in TARGETS:
            k = affinity_nM(drug, target)
            points = []
            for c, n in mine:
                law = float(theory.occupancy(c, k))
                name = f"{target} occupancy by {drug.full_name} at {c:.4g} nM"
                check = dose_response.binomial_check(
                    name, n[target], SITES, law,
                    source="C/(C + K), binomial", false_alarm=FALSE_ALARM / tests,
                )  # fmt: skip
                estimate = dose_response.snapshot(n[target], SITES, law)
                checks.append(check)
                points.append(estimate)
                rows.append([drug.full_name, target, c, k, estimate.value, estimate.se, law,
                             check.z, *estimate.interval()])  # fmt: skip
            own[target] = points
            halves.append(dose_response.half_concentration([c for c, _ in mine], points))
        shown.append(Curves(drug.full_name, drug.kind, [c for c, _ in mine], own,
                            {t: affinity_nM(drug, t) for t in TARGETS}))  # fmt: skip
        # The logarithm of the ratio is nearer to normal than the ratio.
        log_ratio = math.log(halves[1].value / halves[0].value)
        se = math.hypot(*(half.se / half.value for half in halves))
        known = affinity_nM(drug, "NET") / affinity_nM(drug, "SERT")
        name = f"ln(K at NET / K at SERT) of {drug.full_name}"
        check = Check.against(name, "exact", log_ratio, se, math.log(known),
                              source="ratio of the affinities", z_limit=limit,
                              solved=True)  # fmt: skip
        checks.append(check)
        low, high = Estimate(log_ratio, se).interval()
        ratios.append([drug.full_name, drug.kind, halves[0].value, halves[1].value,
                       math.exp(log_ratio), math.exp(low), math.exp(high), known, check.z,
                       *(drug.affinity(t).quantity for t in TARGETS)])  # fmt: skip
    names = "drug target concentration_nM k_nM occupancy se expected z low_95 high_95"
    responses = Table.of_rows("selectivity", names, rows)
    names = "drug kind sert_k_nM net_k_nM net_over_sert low_95 high_95 expected z sert_is net_is"
    solved = ("sert_k_nM", "net_k_nM", "net_over_sert", "low_95", "high_95", "z")
    ratio_table = Table.of_rows("ratios", names, ratios, solved)
    known = {
        "sites": SITES,
        "z_limit": limit,
        "affinities": {
            drug.full_name: {
                t: f"{drug.affinity(t).source}, {drug.affinity(t).status}" for t in TARGETS
            }
            for drug in records
        },
    }
    return Result(
        tables=[responses, ratio_table],
        checks=checks,
        text=_text(ratio_table),
        verdict=_verdict(checks),
        scenario=known,
        papers=list(dict.fromkeys(paper for drug in records for paper in drug.sources())),
        data=shown,
    )


def _other_at(ratio: float, occupancy: float) -> float:
    """Occupancy of the other transporter, of ``ratio`` times the K, when one has ``occupancy``."""
    odds = occupancy / (1 - occupancy) / ratio
    return odds / (1 + odds)


def _text(ratios: Table) -> str:
    header = ["drug", "class", "K at SERT (nM)", "K at NET (nM)", "NET/SERT", "95 % interval",
              "known", "80 % of one, of the other"]  # fmt: skip
    names = ("drug", "kind", "sert_k_nM", "net_k_nM", "net_over_sert", "low_95", "high_95")
    rows = []
    for row in zip(*(ratios[name] for name in (*names, "expected")), strict=True):
        drug, kind, sert, net, ratio, low, high, known = row
        first, other = TARGETS if known >= 1 else TARGETS[::-1]
        share = _other_at(max(known, 1 / known), 0.8)
        rows.append([drug, kind, f"{sert:.4g}", f"{net:.4g}", f"{ratio:.4g}",
                     f"{low:.3g} to {high:.3g}", f"{known:.4g}",
                     f"{first} 80 %, {other} {100 * share:.2g} %"])  # fmt: skip
    return text_table(header, rows)


def _verdict(checks: list[Check]) -> str:
    answer = "follows its own K" if all(check.passed for check in checks) else "MISSES its K"
    worst = max(abs(check.z or 0.0) for check in checks)
    return (
        f"Each transporter {answer}: {len(checks)} checks, largest |z| {worst:.2f} (false alarm"
        " 1e-6 over all). Selective is a word about concentrations: enough of any drug occupies"
        " both."
    )


def figure(result: Result) -> Figure:
    """One panel per drug: two curves, and their distance."""
    from synapse_abm import plotting

    return plotting.styled(_draw)(result.data)


def _draw(drugs: list[Curves]) -> Figure:
    from synapse_abm import plotting as plot

    title = "One drug, two transporters: each is occupied by its own affinity"
    height = 2.0 + 1.65 * len(drugs)
    fig, panels = plot.slide(heights=[1.0] * len(drugs), height=height, title=title)
    everywhere = [c for curves in drugs for c in curves.concentrations_nM]
    fine = np.geomspace(min(everywhere) / 300, max(everywhere) * 1.5, 600)  # room for legends
    for ax, curves in zip(panels, drugs, strict=True):
        for look, target in zip(plot.LOOKS, TARGETS, strict=False):
            k, points = curves.k_nM[target], curves.points[target]
            ax.plot(fine, theory.occupancy(fine, k), color=look[0])
            values, half = [p.value for p in points], [1.96 * p.se for p in points]
            label = f"{target}: K = {_written(k)} nM"
            plot.measured(ax, curves.concentrations_nM, values, half, look, label=label)
        _arrow(ax, curves)
        ax.set_ylim(-0.06, 1.12)
        ax.set_yticks([0, 0.5, 1])
        plot.percent(ax)
        ax.legend(loc="upper left", title=f"{curves.drug} ({curves.kind})", alignment="left",
                  title_fontproperties={"weight": "bold"}, borderaxespad=0.1,
                  labelspacing=0.3)  # fmt: skip
    fig.supylabel("transporters occupied", fontsize=plot.FONT)
    panels[-1].set_xlim(fine[0], fine[-1])
    plot.log_concentration(
        panels[-1], "free drug (nM)    points: simulated, 95 %; lines: C/(C + K)"
    )
    return fig


def _written(number: float) -> str:
    """Three digits, without an exponent: 7,130 or 0.85."""
    return f"{float(f'{number:.3g}'):,g}"


def _arrow(ax: Any, curves: Curves) -> None:
    """The distance between the curves at half occupancy, and the ratio it stands for."""
    from synapse_abm import plotting as plot

    sert, net = (curves.k_nM[target] for target in TARGETS)
    style = {"arrowstyle": "<->", "lw": 1.6, "shrinkA": 0, "shrinkB": 0}
    ax.annotate("", (net, 0.5), (sert, 0.5), arrowprops=style)
    first, ratio = ("SERT", net / sert) if net >= sert else ("NET", sert / net)
    words = f"prefers {first}\n{_written(ratio)} : 1"
    plot.named(ax, (max(sert, net), 0.5), words, offset=(12, -18))


if __name__ == "__main__":
    from synapse_abm.cli import run_script

    run_script(__file__)
