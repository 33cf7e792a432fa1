"""The programs of README and guide run as they stand, and the figures they show are there."""

from __future__ import annotations

import datetime
import json
import re
from pathlib import Path
from typing import Any

import pytest
from gallery import bench_of_record, speed_table, step_rows
from scipy import stats
from test_guide import WALKED

from synapse_abm import guide

ROOT = Path(__file__).parents[1]
PAGES = {
    path: path.read_text("utf-8")
    for path in (ROOT / "README.md", *sorted((ROOT / "synapse_abm" / "guide").glob("*.md")))
}
PROGRAMS = [
    program
    for text in PAGES.values()
    for program in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
]
FALSE_ALARM = 1e-7  # of each of two statistical tests


def run(holding: str) -> dict[str, Any]:
    """The names that the one program with this text in it leaves behind."""
    (program,) = (program for program in PROGRAMS if holding in program)
    names: dict[str, Any] = {"__name__": "guide"}
    exec(compile(program, "guide", "exec"), names)
    return names


def test_the_lines_of_python_run(capsys: pytest.CaptureFixture[str]) -> None:
    names = run("every=60")
    assert "600." in capsys.readouterr().out
    assert len(names["series"].occupancy("SERT", "citalopram")) == 10
    assert len(names["bound"]) == 2 * names["model"].store.totals[0] > 0


def test_collecting_and_sweeping(capsys: pytest.CaptureFixture[str]) -> None:
    names = run("batch_run")
    collector, model = names["collector"], names["model"]
    assert len(collector.get_model_vars_dataframe()) == 5
    sites = collector.get_agenttype_vars_dataframe(names["Transporter"])
    assert len(sites) == 5 * len(model.sites) > 0
    assert sites["bound"].groupby("Step").mean().iloc[-1] == model.occupancy("SERT", "citalopram")
    runs = names["runs"]
    assert len(runs) == 3 * 2 * 2
    mean = runs.groupby(["ligand.citalopram.ligand", "ligand.citalopram.clamped"])[
        "occupancy_SERT_citalopram"
    ].mean()
    assert mean["citalopram", "0.3 nM"] < mean["citalopram", "3 nM"]
    assert mean["citalopram", "0.3 nM"] < mean["paroxetine", "0.3 nM"]  # the stronger binder
    assert "0.3 nM" in capsys.readouterr().out


def test_a_neuron_is_changed_while_it_runs(capsys: pytest.CaptureFixture[str]) -> None:
    names = run("model.mean_field(")
    assert [time_s for time_s, _ in names["model"].changes] == [60.0, 300.0, 500.0]
    assert len(names["theory"]["rate_Hz"]) == len(names["late"].seconds) == 200
    assert names["late"].occupancy("soma")[-1] > 0.5 > names["model"].neuron.soma.occupancy
    assert "'occupied': 0.85" in capsys.readouterr().out


def test_the_sticky_membrane_shows(capsys: pytest.CaptureFixture[str]) -> None:
    """Molecules are independent; 240 steps are thirty relaxation times."""
    names = run("class Sticky")
    stuck = round(500 * float(capsys.readouterr().out))
    assert stuck == sum(m.coordinate == (0, 0) for m in names["model"].agents)
    assert stats.binomtest(stuck, 500, 5 / 14).pvalue > FALSE_ALARM
    assert stats.binomtest(stuck, 500, 1 / 10).pvalue < 1e-12


def test_the_cooperative_transporters_show(capsys: pytest.CaptureFixture[str]) -> None:
    """400 independent pairs with weights 1 : 2x : 10 x^2, x = C/Kd; 20 s are 20 relaxation times
    or more.
    """
    run("class Cooperative")
    found, (x, gain) = float(capsys.readouterr().out), (0.3, 10)
    weights = (1, 2 * x, gain * x * x)
    shares = [w / sum(weights) for w in weights]
    mean = sum(k * p for k, p in enumerate(shares))
    variance = sum(k * k * p for k, p in enumerate(shares)) - mean**2
    error = (variance / 400) ** 0.5 / 2
    limit = stats.norm.isf(FALSE_ALARM / 2)
    assert abs(found - mean / 2) < limit * error
    assert abs(found - x / (1 + x)) > 2 * limit * error  # the control: without the rule


def test_the_table_of_speeds_is_the_one_that_was_measured() -> None:
    """Beside the figure lies its record. Whoever measures again finds the new table here."""
    record = json.loads((ROOT / "outputs/gallery/bench/bench.json").read_text())
    table = speed_table(bench_of_record(record))
    assert table.count("\n") >= 2
    page = PAGES[ROOT / "synapse_abm" / "guide" / "speed.md"]
    assert table in page, f"the table of the page on speed should be\n{table}"
    day = datetime.date.fromisoformat(record["date"])
    assert f"on {day.day} {day:%B %Y}" in page


def test_the_neuron_is_braked_and_then_let_go(capsys: pytest.CaptureFixture[str]) -> None:
    """Mean field: 0.58 and 0.97 Hz. Over 200 s the mean rate varies by 0.015 (measured)."""
    names = run("acute = model.run(300)")
    assert "transporter" in capsys.readouterr().out
    acute, late = (names[name]["rate_Hz"][-200:].mean() for name in ("acute", "late"))
    assert 0.48 < acute < 0.72 < 0.84 < late < 1.08
    assert len(names["model"].agents_by_type[names["Serotonin"]]) > 20_000


def test_weeks_are_run_saved_and_resumed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On day 26 or so the index is on its way; after the stop serotonin is still high."""
    monkeypatch.chdir(tmp_path)
    names = run("stopped(6.8")
    rows = [[float(x) for x in line.split()] for line in capsys.readouterr().out.splitlines()]
    (early, fallen, *_, none), (_, _, high, some), (late, *_) = rows
    assert early < 1 and fallen < 0.75 and none < 0.01
    assert high > 15 and some > 0.2 and late > 42
    again = names["Course"].resume(names["plan"], "course.npz").run()
    assert again.table().csv() == names["table"].csv()


def test_the_step_says_what_it_makes_of_kinetics(capsys: pytest.CaptureFixture[str]) -> None:
    scenario = run("StepErrors")["scenario"]
    *_, factor, short, _, long = capsys.readouterr().out.splitlines()
    assert 1.05 < float(factor) == scenario.adjustments["SERT", "drug"].s < 1.2
    announced = [float(line.split()[1]) for line in (short, long)]
    assert announced[0] < scenario.accuracy < announced[1]


def test_the_tables_of_steps_are_those_of_the_gallery() -> None:
    page = PAGES[ROOT / "synapse_abm" / "guide" / "time_step.md"]
    rows = step_rows()
    assert len(rows) > 30
    assert all(row in page for row in rows), "the tables should be\n" + "\n".join(rows)


def test_every_program_is_tried() -> None:
    """Here, where it is judged too, page by page in test_guide, or in a browser."""
    walked = "".join(guide.page(topic) for topic in WALKED)
    walked += "".join(program for program in PROGRAMS if "SolaraViz" in program)
    mine = [program for program in PROGRAMS if program not in walked]
    assert len(mine) == 8
    assert sum(len(program.splitlines()) for program in mine[1:]) <= 86


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)]+)\)", PAGES[page])
    local = [link for link in links if not link.startswith("http")]
    assert all((page.parent / link).is_file() for link in local)


def test_every_page_of_the_guide_is_linked_from_the_readme() -> None:
    readme = PAGES[ROOT / "README.md"]
    pages = [path.relative_to(ROOT).as_posix() for path in PAGES if path.parent != ROOT]
    assert pages
    assert all(f"]({page})" in readme for page in pages)
