"""The verdicts as one page of HTML that needs nothing else: no script, no font, no picture file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape

from synapse_abm.runs.results import code_version, versions
from synapse_abm.statistics import Verdict
from synapse_abm.validation.pictures import picture, z_histogram, z_strip
from synapse_abm.validation.quantities import Row
from synapse_abm.validation.report import TOLD, Caught, Verdicts, worst

_STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff; margin: 0 auto;
  max-width: 1180px; padding: 1rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: .5rem 0; }
h2 { font-size: 1.25rem; margin: 2.2rem 0 .6rem; }
h3 { font-size: 1rem; margin: 0; }
p { max-width: 46rem; }
svg { width: 100%; height: auto; display: block; font-family: system-ui, sans-serif; fill: #333; }
.wide { max-width: 620px; }
.verdict { font-weight: 700; padding: .1rem .5rem; border-radius: .3rem; font-size: .85rem;
  white-space: nowrap; }
.PASS, .yes { background: #DDF1E9; color: #00543D; }
.FAIL, .NO { background: #FBE3D6; color: #8A3B00; }
.INCONCLUSIVE, .CONTINUE, .not { background: #F3EDD2; color: #5E4B00; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(300px, 1fr)); gap: 1rem; }
.card { border: 1px solid #ddd; border-radius: .5rem; padding: .8rem; min-width: 0; }
.card header { display: flex; justify-content: space-between; gap: .5rem; align-items: start; }
.card p, .small { font-size: .82rem; color: #555; margin: .3rem 0; line-height: 1.35; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; width: 100%; }
th, td { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid #e5e5e5;
  vertical-align: top; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
summary { cursor: pointer; font-size: .85rem; color: #0072B2; padding: .4rem 0; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; margin: .5rem 0; }
dt { color: #555; } dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 600px) { dl { grid-template-columns: 1fr; } dd { margin-bottom: .5rem; } }
"""


#: The audits of the test suite that find planted bugs without chance.
AUDITS = {"rates": "audit of rates", "kernel": "audit of the kernel"}


def html(found: Verdicts) -> str:
    """The report as the text of one self-contained page."""
    body = [
        _head(found), _summary(found), _rules(found), _cards(found), _planted(found.planted),
        _left_out(found), _provenance(found),
    ]  # fmt: skip
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>synapse_abm: validation</title><style>{_STYLE}</style></head><body><main>"
        + "\n".join(part for part in body if part)
        + "</main></body></html>\n"
    )


def _badge(verdict: str, text: str = "") -> str:
    return f'<span class="verdict {verdict.split()[0]}">{escape(text or verdict)}</span>'


def _head(found: Verdicts) -> str:
    cases = len({row.id for row in found.rows})
    failed = any(row.verdict is Verdict.FAIL for row in found.rows)
    failed |= any(each.caught is False for each in found.planted)
    overall = _badge("PASS" if found.passed else "FAIL" if failed else "INCONCLUSIVE")
    if not found.rows and not failed:
        overall = _badge("INCONCLUSIVE", "nothing was judged")
        return (
            f"<h1>A synapse held against exact theory {overall}</h1><p>None of the cases given can "
            "be run here, for the reasons below. This is no PASS and no FAIL.</p>"
        )
    return (
        f"<h1>A synapse held against exact theory {overall}</h1>"
        f"<p>The simulator synapse_abm lets molecules and binding sites meet at random. Here "
        f"{cases} systems whose laws are known exactly were simulated, and {len(found.rows)} "
        f"numbers and distributions compared with them. If the simulator is exact, the probability "
        f"that this page shows any FAIL at all is at most {found.false_alarm:g}.</p>"
    )


def _summary(found: Verdicts) -> str:
    if not found.rows and not found.planted:
        return ""
    counts = {v: sum(row.verdict is v for row in found.rows) for v in Verdict}
    told = " ".join(_badge(str(v), f"{n} {v}") for v, n in counts.items() if n)
    bugs = found.planted
    caught = sum(each.caught is True for each in bugs)
    tried = sum(each.caught is not None for each in bugs)
    all_caught = "yes" if caught == tried else "NO"
    planted = f" {_badge(all_caught, f'{caught} of {tried} planted bugs caught')}" if tried else ""
    if len(bugs) > tried:
        planted += f" {_badge('not', f'{len(bugs) - tried} not tried')}"
    return (
        f"<h2>Summary</h2><p>{told}{planted}</p>"
        f'<div class="wide">{z_histogram(found.rows)}</div>'
        '<p class="small">How far each number is from its exact value, in standard errors, with '
        "the normal density. Numbers of one case are measured on the same simulation and some are "
        "the same number twice (a mean, and an occupancy), so the histogram is somewhat rougher "
        "than that of independent ones. Exact agreement by construction (z = 0) is left out.</p>"
    )


def _rules(found: Verdicts) -> str:
    each = found.margins
    margins = (
        f"{each['occupancy']:g} of an occupancy or probability, {100 * each['other']:g} % of other "
        f"numbers, {100 * each['variance']:g} % of a variance"
    )
    rule, power = found.rule, found.power()
    return (
        "<h2>How a verdict is reached</h2>"
        f"<p>Every number is looked at up to {rule.stages} times, on samples that grow "
        f"{rule.growth}-fold from look to look.</p><dl>"
        f"<dt>{_badge('FAIL')}</dt><dd>it is off by more than {rule.fail_bound():.2f} standard "
        "errors (more where the error itself is uncertain: Student's t). The bound is set so that "
        f"all numbers and all looks together raise a false alarm with a probability of at most "
        f"{found.false_alarm:g}. A FAIL is final.</dd>"
        f"<dt>{_badge('PASS')}</dt><dd>it is certainly (99.9 %) within a margin of its exact "
        f'value: {margins}; of a series over time, that share of its largest value. "No '
        'difference seen" is not enough. A distribution passes if chi-square does not reject it '
        "and its mean passes.</dd>"
        f"<dt>{_badge('INCONCLUSIVE')}</dt><dd>neither, even at the last look. That is not a "
        "pass.</dd></dl>"
        "<p>Power: samples are planned so that the fourth look decides. Were a number wrong by a "
        f"whole margin, it would fail with a probability of {power['fails, off by 1 margin']:.4f} "
        f"and pass with {power['passes, off by 1 margin']:.4f}; wrong by half a margin, fail with "
        f"{power['fails, off by 0.5 margin']:.2f}. A right number misses its PASS with less "
        f"than {max(1 - power['passes, if exact'], 1e-9):.0e}. That is on ideal data, each number "
        "by itself.</p>"
        "<p>Standard errors are exact where the law is known, and come from independent "
        "replicates or batch means elsewhere. On a grid, positions are frozen while molecules "
        "react, for the length of one step. Equilibrium does not feel that. First-passage times, "
        "binding times and noise (J5, J6, K1) do: the difference between a process seen at the "
        "ends of steps and one in continuous time is computed exactly from the generator of the "
        "walk and taken off the estimate.</p>"
    )


def _cards(found: Verdicts) -> str:
    cards = [
        _card(name, [row for row in found.rows if row.id == name], found)
        for name in dict.fromkeys(row.id for row in found.rows)
    ]
    return f'<h2>The cases</h2><div class="cards">{"".join(cards)}</div>' if cards else ""


def _card(name: str, rows: Sequence[Row], found: Verdicts) -> str:
    drawn, caption = picture(rows)
    largest = max(rows, key=lambda row: abs(row.z))
    title = found.titles.get(name, "")
    return (
        f'<section class="card"><header><h3>{escape(name)}</h3>'
        f"{_badge(str(worst(rows)))}</header><p>{escape(title)}</p>{drawn}"
        f'<p class="small">{escape(caption)}</p>{z_strip(rows, found.rule.fail_bound())}'
        f'<p class="small">z of {len(rows)} quantities (band: 2 standard errors; dashed: FAIL). '
        f"Largest: {escape(largest.quantity)}, z = {largest.z:.2f}; up to "
        f"{max(row.observations for row in rows):,} observations.</p>"
        f"<details><summary>all numbers</summary>{_numbers(rows)}{_notes(name, rows, found)}"
        "</details></section>"
    )


def _notes(name: str, rows: Sequence[Row], found: Verdicts) -> str:
    """What else is to be known of a case."""
    notes = []
    if any(row.frequencies is not None for row in rows):
        notes.append(
            "Of a law (pmf): the cube root of chi-square per degree of freedom, which is close to "
            "normal (Wilson and Hilferty 1931)."
        )
    given = found.parameters.get(name, {})
    if given:
        notes.append(
            "Parameters: " + ", ".join(f"{k} = {_short(v)}" for k, v in given.items()) + "."
        )
    if keys := found.not_compared.get(name):
        notes.append(f"In the file, and not compared with anything: {', '.join(keys)}.")
    return "".join(f'<p class="small">{escape(note)}</p>' for note in notes)


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 100 else f"{text[:97]}..."


def _numbers(rows: Sequence[Row]) -> str:
    lines = "".join(
        f'<tr><td>{escape(row.quantity)}</td><td class="n">{row.estimate:.5g}</td>'
        f'<td class="n">{row.exact:.5g}</td><td class="n">{row.se:.2g}</td>'
        f'<td class="n">{row.z:.2f}</td><td class="n">{row.margin:.2g}</td>'
        f"<td>{row.verdict}</td></tr>"
        for row in rows
    )
    head = (
        '<tr><th>quantity</th><th class="n">simulated</th><th class="n">exact</th>'
        '<th class="n">s.e.</th><th class="n">z</th><th class="n">margin</th>'
        "<th>verdict</th></tr>"
    )
    return _table(head + lines)


def _table(rows: str) -> str:
    """A table that can be moved sideways on a narrow screen, by keys too."""
    attributes = 'class="scroll" tabindex="0" role="region" aria-label="table"'
    return f"<div {attributes}><table>{rows}</table></div>"


def _planted(bugs: Sequence[Caught]) -> str:
    if not bugs:
        return ""
    lines = "".join(
        f"<tr><td>{escape(bug.bug)}</td><td>{escape(bug.where)}</td><td>{escape(bug.caught_by)}</td>"
        f'<td>{escape(bug.quantity)}</td><td class="n">'
        f"{f'{bug.z:.1f}' if bug.quantity else ''}</td><td>{_badge(TOLD[bug.caught])}</td>"
        f"<td>{AUDITS.get(bug.without_chance, '')}</td></tr>"
        for bug in bugs
    )
    note = ""
    if any(bug.caught is None for bug in bugs):
        note = " Those not tried must be compiled first: <code>--planted</code> does that, once."
    head = (
        "<tr><th>planted bug</th><th>planted in</th><th>case</th><th>caught by</th>"
        '<th class="n">largest |z|</th><th>caught</th><th>and without chance by</th></tr>'
    )
    return (
        "<h2>Would it notice?</h2><p>Bugs planted on purpose, each with the case that must fail "
        f"because of it, judged by the same bounds.{note}</p>{_table(head + lines)}"
        '<p class="small">Statistics is the last layer. Before it, and without chance, the test '
        "suite asks the engine for every rate in every state of tiny places (audit of rates), and "
        "feeds it equally spaced numbers in place of one random one at a time (audit of the "
        "kernel); these have planted bugs of their own.</p>"
    )


def _left_out(found: Verdicts) -> str:
    if not found.not_expressible:
        return ""
    lines = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(why)}</td></tr>"
        for name, why in found.not_expressible
    )
    return "<h2>What was not run, and why</h2>" + _table(
        "<tr><th>case</th><th>reason</th></tr>" + lines
    )


def _provenance(found: Verdicts) -> str:
    told = {"seed": str(found.seed), "wall time": f"{found.wall_s:.0f} s"}
    told |= {"synapse_abm": code_version(), **versions()}
    if found.source is not None:
        told["cases"] = f"{found.source.name}, SHA-256 {found.source.sha256}"
    lines = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in told.items())
    return (
        f"<h2>To repeat this</h2><p><code>{escape(found.command)}</code> "
        "gives the same numbers with the same versions. A fresh seed, "
        "<code>synapse-abm validate --fresh</code>, gives others, and the same verdicts.</p>"
        f"<dl>{lines}</dl>"
    )
