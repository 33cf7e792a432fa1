"""The bench: its table is complete, its peer is sound. How fast anything is, no test asks."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gallery import speed_table

from synapse_abm import plotting
from synapse_abm.bench import BenchReport, Effort, Replicates, Row, bench, peers
from synapse_abm.bench import contenders as names
from synapse_abm.bench.generator import _KEY, _fill_blocks, draw_words
from synapse_abm.bench.plain_mesa import Molecule, PlainMesa, Transporter
from synapse_abm.bench.scenarios import LIGAND, TARGET, half_bound, koff_dt_of, one_cell
from synapse_abm.cli import main
from synapse_abm.core import rng
from synapse_abm.core.draws import HOP_STREAM
from synapse_abm.core.errors import InputError
from synapse_abm.core.text import json_bytes
from synapse_abm.synapse.agents.model import SynapseModel
from synapse_abm.synapse.engine.kernels import BLOCK

TINY = Effort(
    molecules=(40, 100, 200),
    reference=100,
    agents=40,
    one_cell_sites=10,
    build=300,
    rounds=2,
    repetition_s=0.001,
    processes=1,
    replicates=3,
    peers=False,
)


LABELS: list[str] = []


def note[T](items: Iterable[T], /, *, total: int | None = None, label: str = "") -> Iterable[T]:
    """Progress that keeps what it is told."""
    LABELS.append(label)
    return items


@pytest.fixture(scope="module")
def report() -> BenchReport:
    """A bench of the smallest size."""
    return bench(TINY, note)


def record(report: BenchReport) -> dict[str, object]:
    """What a reader of the JSON file gets."""
    read: dict[str, object] = json.loads(json_bytes(report.record()))
    return read


# --- the report -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_row_for_every_contender(report: BenchReport) -> None:
    found = [(row.engine, row.molecules, row.sites, row.koff_dt) for row in report.rows]
    assert found == [
        (names.GENERATOR, 100, 0, None),
        (names.HOP_ALONE, 100, 0, None),
        (names.COMPILED, 40, 4, 0.05),
        (names.COMPILED, 100, 10, 0.05),
        (names.COMPILED, 200, 20, 0.05),
        (names.COMPILED, 100, 10, 1.2),
        (names.ONE_CELL, 20, 10, 10.0),
        (names.ONE_CELL_CLAMPED, 0, 10, 10.0),
        (names.AGENTS, 40, 4, 0.05),
        (names.PLAIN_MESA, 100, 10, 0.05),
    ]


def test_rows_are_consistent(report: BenchReport) -> None:
    for row in report.rows:
        assert len(row.round_seconds) == TINY.rounds
        assert 0 < row.seconds <= row.median_seconds <= max(row.round_seconds)
        rate = row.molecules * row.steps / row.seconds
        assert row.molecule_steps_per_s == pytest.approx(rate, rel=1e-12)
        assert (row.bound_fraction is None) == (row.sites == 0)
        own = row.sites > 0 and row.engine != names.PLAIN_MESA
        assert (row.events_per_s is not None) == own


def test_json_has_the_documented_keys(report: BenchReport) -> None:
    read = record(report)
    assert {"machine", "rows", "ratios"} <= set(read)
    columns = {
        "engine", "molecules", "sites", "koff_dt", "bound_fraction", "molecule_steps_per_s",
        "seconds", "events_per_s",
    }  # fmt: skip
    assert isinstance(read["rows"], list)
    assert all(columns <= set(row) for row in read["rows"])
    assert isinstance(read["machine"], dict)
    assert {"processor", "cores", "python", "mesa", "numba"} <= set(read["machine"])
    assert isinstance(read["state_bytes_per_molecule"], float)


def test_replicates_are_timed_round_by_round(report: BenchReport) -> None:
    made = report.replicates
    assert made is not None
    times = made.alone_s, made.shared_s, made.one_thread_s, made.all_threads_s
    assert all(len(rounds) == TINY.rounds and min(rounds) > 0 for rounds in times)
    told: Any = record(report)["replicates"]
    assert {"shared_over_alone", "threads_over_one", "microseconds_per_run"} <= set(told)
    assert made.text() in report.text()
    known = Replicates(2, 200, 64, 2, (4.0, 8.0, 6.0), (2.0, 2.0, 2.0), (3.0,) * 3, (2.0,) * 3)
    assert (known.gain, known.gain_of_threads) == (3.0, 1.5)


def test_ratios_compare_equal_sizes_round_by_round() -> None:
    def row(engine: str, molecules: int, steps: int, *seconds: float) -> Row:
        return row_of(engine, 0.5, *seconds, molecules=molecules, sites=1, steps=steps)

    report = BenchReport(
        [
            row(names.COMPILED, 100, 600, 1.0, 2.0, 1.0),
            row(names.COMPILED, 1000, 600, 9.0, 9.0, 9.0),
            row(names.PLAIN_MESA, 100, 20, 4.0, 10.0, 1.0),
        ],
        build_molecules=100,
        build_s=0.1,
        state_bytes_per_molecule=26.0,
        import_s=None,
        kernel_load_s=None,
    )
    assert report.ratios == pytest.approx({names.PLAIN_MESA: 600 / 20 * 4.0})
    assert report.per_molecule == pytest.approx({100: 1e9 / 6e4, 1000: 9e9 / 6e5})


def test_every_peer_has_a_ratio(report: BenchReport) -> None:
    assert set(report.ratios) == {names.GENERATOR, names.AGENTS, names.PLAIN_MESA}
    assert all(ratio > 0 for ratio in report.ratios.values())


def test_the_table_names_everything(report: BenchReport) -> None:
    text = report.text()
    for word in (*(row.title for row in report.rows), "1e6 molecule-steps/s", "bytes", "built in"):
        assert word in text
    assert not report.failed


def test_progress_is_told(report: BenchReport) -> None:
    assert LABELS == ["building", "timing in turns", "replicates in turns"]


# --- what is timed --------------------------------------------------------------------------------


@pytest.mark.parametrize("molecules", [100, 1000])
def test_half_the_sites_are_bound_at_equilibrium(molecules: int) -> None:
    """Free = Kd when half of the sites are bound, by construction, on any grid."""
    scenario = half_bound(molecules, 0.05)
    sites = scenario.targets[TARGET].n_sites
    kd = scenario.ligands[LIGAND].binding[TARGET].kd_nM
    assert kd is not None
    assert kd * scenario.grid.molecules_per_nM == pytest.approx(molecules - sites / 2)
    assert koff_dt_of(scenario) == 0.05


@pytest.mark.parametrize("clamped", [False, True])
def test_one_cell_is_half_bound(clamped: bool) -> None:
    """A step is 8 relaxation times, so 200 steps are independent: the mean is within 5 errors.

    The binomial error is exact when the concentration is fixed, and too large otherwise.
    """
    model = SynapseModel(one_cell(40, 4.0, clamped=clamped), rng=1)
    model.run(1)
    mean = float(model.run(200, every=1).occupancy(TARGET, LIGAND).mean())
    assert abs(mean - 0.5) < 5 * np.sqrt(0.25 / 40 / 200)


def test_the_generator_draws_the_words_of_the_hop() -> None:
    words, molecules, step = np.zeros(2 * BLOCK, dtype=np.uint64), 2 * BLOCK + 7, 3
    with np.errstate(over="ignore"):
        _fill_blocks(words, molecules, step + 1, HOP_STREAM, *_KEY)
    expected = [rng.hop_word(1, 0, 0, step, 2 * BLOCK + i) for i in range(7)]
    assert words[:7].tolist() == expected
    assert draw_words(molecules, 2) != draw_words(molecules, 3)


# --- other people's simulators -------------------------------------------------------------------


def row_of(engine: str, bound: float, *seconds: float, **more: Any) -> Row:
    """100 molecules, 100 sites, 20 steps, unless said otherwise."""
    fields: dict[str, Any] = {
        "molecules": 100, "sites": 100, "koff_dt": 0.05, "steps": 20, "events_per_s": None,
    } | more  # fmt: skip
    rate = fields["molecules"] * fields["steps"] / min(seconds)
    return Row(engine=engine, bound_fraction=bound, molecule_steps_per_s=rate,
               seconds=min(seconds), round_seconds=seconds, **fields)  # fmt: skip


def report_of(*rows: Row, **more: Any) -> BenchReport:
    return BenchReport(rows, 100, 0.1, 26.0, None, None, **more)


def test_a_peer_that_binds_something_else_is_void_and_has_no_ratio() -> None:
    """At 100 sites and two rounds, five errors are 0.177; a bound share of 0.2 is further off."""
    ours = row_of(names.COMPILED, 0.5, 1.0, 1.0)
    right, wrong = (row_of(peers.SMOLDYN, bound, 30.0, 20.0) for bound in (0.45, 0.2))
    assert (right.void, wrong.void) == (False, True)
    assert report_of(ours, right).ratios == {peers.SMOLDYN: pytest.approx(25.0)}
    assert report_of(ours, right).ratio_ranges == {peers.SMOLDYN: pytest.approx((20.0, 30.0))}
    void = report_of(ours, wrong)
    assert void.ratios == {}
    assert "Smoldyn: not the same work: 0.200" in void.text()
    assert [each["void"] for each in void.record()["rows"]] == [False, True]
    assert void.comparable(well_mixed=False) == []
    assert report_of(row_of(names.COMPILED, 0.2, 1.0, 1.0), right).ratios == {}


def test_tables_name_the_version_of_a_peer() -> None:
    """In the terminal's table, in the README's and in the record."""
    ours = row_of(names.COMPILED, 0.5, 1.0, 1.0)
    peer = row_of(peers.SMOLDYN_DEFAULT, 0.5, 30.0, 20.0, version="2.76")
    report = report_of(ours, peer)
    assert "Smoldyn 2.76, accuracy 10" in report.text()
    assert [each["version"] for each in report.record()["rows"]] == ["", "2.76"]
    assert speed_table(report).splitlines()[2:] == [
        "| compiled engine | 2.0e3 molecule-steps/s | |",
        "| Smoldyn 2.76, accuracy 10 | 8.0e1 molecule-steps/s | 25 (20 to 30) |",
    ]


def test_in_one_cell_events_are_compared() -> None:
    """Ours: 8 events in a round; theirs: 2 in the same time, 1 s."""
    ours = row_of(names.ONE_CELL, 0.5, 1.0, events_per_s=8.0, well_mixed=True)
    theirs = row_of(peers.GILLESPY2, 0.5, 1.0, events_per_s=2.0, well_mixed=True)
    report = report_of(ours, theirs, row_of(names.COMPILED, 0.5, 1.0))
    assert report.ratios == {peers.GILLESPY2: pytest.approx(4.0)}
    rows = report.comparable(well_mixed=True)
    assert [(row.name, row.speeds[0]) for row in rows] == [
        (names.COMPILED, 8.0),
        (peers.GILLESPY2, 2.0),
    ]


def test_an_absent_peer_is_named_with_its_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(peers.SMOLDYN_VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(peers, "find_spec", lambda name: None)
    absent = peers.missing()
    assert set(absent) == {peers.READDY, peers.SMOLDYN, peers.GILLESPY2}
    assert peers.makers(half_bound(100, 0.05), one_cell(10, 10.0, clamped=False)) == []
    text = report_of(not_installed=absent).text()
    for name, command in absent.items():
        assert f"{name} is not installed: {command}" in text


def test_a_smoldyn_that_does_not_run_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(peers.SMOLDYN_VARIABLE, str(tmp_path / "nothing"))
    with pytest.raises(InputError, match=peers.SMOLDYN_VARIABLE):
        peers.smoldyn_python()
    out = tmp_path / "out"
    assert main(["bench", "--out", str(out)]) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("name", [peers.READDY, peers.SMOLDYN, peers.GILLESPY2])
def test_an_installed_peer_binds_half_of_the_sites(name: str) -> None:
    """Mean of 30 readings two relaxation times apart, 100 sites: five errors are 0.046, and up to
    0.02 is the method's own (short steps). Twice the binding rate would give 0.65.
    """
    if name not in peers.installed():
        pytest.skip(f"not installed: {peers.INSTALL[name]}")
    wanted = half_bound(1000, 0.05), one_cell(100, 0.05, clamped=False)
    made = [make() for make in peers.makers(*wanted)]
    chosen = next(each for each in made if each.label.engine == name)
    chosen.run(100)
    found = []
    for _ in range(30):
        chosen.run(40)
        found.append(chosen.bound_fraction or 0.0)
    for each in made:
        each.close()
    assert chosen.clock() > 0
    assert chosen.label.version[0].isdigit()
    assert abs(np.mean(found) - 0.5) < 0.02 + 5 * 0.5 / np.sqrt(100 * 30)


def test_the_figure_shows_every_comparable_speed() -> None:
    report = report_of(
        row_of(names.COMPILED, 0.5, 1.0, 1.1),
        row_of(peers.SMOLDYN, 0.5, 30.0, 31.0),
        row_of(peers.READDY, 0.2, 90.0, 99.0),
        date="2026-01-31",
    )
    figure = plotting.speeds(report)
    labels = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert labels == [names.COMPILED, peers.SMOLDYN]
    assert len(figure.axes) == 1
    assert "2026-01-31" in figure.axes[0].get_title(loc="left")


# --- plain Mesa -----------------------------------------------------------------------------------


def plain(p_hop: float = 0.8, p_bind: float = 0.05, p_unbind: float = 0.05) -> PlainMesa:
    return PlainMesa(15, 225, 22, p_hop=p_hop, p_bind=p_bind, p_unbind=p_unbind, rng=1)


def test_plain_mesa_keeps_molecules_and_sites() -> None:
    model = plain()
    for _ in range(50):
        model.step()
    molecules = model.agents_by_type[Molecule].to_list()
    transporters = model.agents_by_type[Transporter].to_list()
    assert (len(molecules), len(transporters)) == (225, 22)
    assert len({each.cell for each in transporters}) == 22
    for each in transporters:
        assert each.molecule is None or each.molecule.transporter is each
        assert each.molecule is None or each.molecule.cell is each.cell
    bound = sum(each.transporter is not None for each in molecules)
    assert bound == sum(each.molecule is not None for each in transporters)
    assert model.bound_fraction == bound / 22
    assert sum(len(cell.agents) for cell in model.grid.all_cells) == 225 + 22


def test_plain_mesa_binds_and_unbinds() -> None:
    """About half are bound at C = Kd; of 22 sites none or all would be 4.7 deviations away."""
    model = plain()
    assert model.bound_fraction == 0.0
    for _ in range(100):
        model.step()
    assert 0.0 < model.bound_fraction < 1.0
    tight, loose = plain(p_unbind=0.0, p_bind=1.0), plain(p_unbind=1.0, p_bind=0.0)
    for _ in range(60):
        tight.step()
        loose.step()
    assert tight.bound_fraction == 1.0
    assert loose.bound_fraction == 0.0


def test_plain_mesa_moves_only_free_molecules() -> None:
    model = plain(p_hop=1.0, p_bind=1.0, p_unbind=0.0)
    model.step()
    bound = [each for each in model.agents_by_type[Molecule] if each.transporter is not None]
    before = [each.cell for each in bound]
    assert bound
    for _ in range(5):
        model.step()
    assert [each.cell for each in bound] == before
    still = plain(p_hop=0.0, p_bind=0.0)
    cells = [each.cell for each in still.agents_by_type[Molecule]]
    still.step()
    assert [each.cell for each in still.agents_by_type[Molecule]] == cells
