"""Numbers that nobody measured are marked where they decide something; names are read."""

from __future__ import annotations

from pathlib import Path

import pytest

from synapse_abm import Scenario, pharmacology, read_scenario
from synapse_abm.core.errors import InputError, UnknownName
from synapse_abm.pharmacology.ligand_record import WIDTH
from synapse_abm.scenarios import scenarios
from synapse_abm.synapse.scenario.assumed import depth_remark, diffusion_remark, rate_remarks
from synapse_abm.synapse.scenario.parts import Grid

FILE = """
[grid]
width = 8
height = 8
{grid}
[target.SERT]
sites = 5
[ligand.{name}]
ligand = "{name}"
count = 3
{ligand}
[run]
duration = "1 min"
"""


def read(tmp_path: Path, name: str, grid: str = "", ligand: str = "") -> Scenario:
    path = tmp_path / "mine.toml"
    path.write_text(FILE.format(name=name, grid=grid, ligand=ligand))
    return read_scenario(path)


def test_what_was_assumed_stands_beside_what_it_decides(tmp_path: Path) -> None:
    text = str(read(tmp_path, "citalopram"))
    assert "1 um deep (assumed), reflecting" in text
    assert "diffusion    211 um^2/s (assumed)\n" in text
    assert "Kd 1.2 nM, k_on 0.01 /(nM s) (assumed), k_off 0.012 /s (from k_on)" in text
    text = str(read(tmp_path, "serotonin"))
    assert "diffusion    211 um^2/s\n" in text, "measured"
    assert "(from k_off), k_off 1 /s (assumed), k_cat 3 /s (assumed)" in text


def test_what_the_user_gives_is_not_marked(tmp_path: Path) -> None:
    """Numbers of one's own, and a depth that happens to be the usual one."""
    own = 'diffusion = "99 um^2/s"\nbinding = { SERT = { kd = "1 nM", koff = "0.01 /s" } }'
    text = str(read(tmp_path, "citalopram", 'depth = "1 um"', own))
    assert "assumed" not in text
    assert depth_remark(Grid(depth_um=1.0)) == ""
    assert depth_remark(Grid.well_mixed(41.0)) == ""
    assert depth_remark(Grid(width=1, height=1)) == " (depth 1 um, assumed)"


def test_remarks_are_those_of_the_library() -> None:
    """Every drug at every target: marked if and only if the library says so."""
    for name in pharmacology.library().ligands:
        record = pharmacology.ligand(name)
        from synapse_abm.synapse.scenario import to_scenario_ligand

        ligand = to_scenario_ligand(record, record.bound_targets).model_copy(
            update={"taken_from": name}
        )
        assert (diffusion_remark(ligand) != "") == (record.diffusion.status == "assumed")
        for target in record.bound_targets:
            rates, (kon, koff, kcat) = record.rates(target), rate_remarks(ligand, target)
            assert (kon == " (assumed)") == (rates.kon.status == "assumed")
            assert (koff == " (assumed)") == (rates.koff.status == "assumed")
            assert (kcat != "") == (rates.kcat is not None and rates.kcat.status == "assumed")


def test_the_list_shows_all_transporters_and_what_is_usual() -> None:
    text = str(pharmacology.library())
    assert text.splitlines()[0].split()[2:6] == ["SERT", "NET", "DAT", "5-HT1A"]
    (row,) = (line for line in text.splitlines() if line.startswith("sertraline "))
    assert "Kd 25 p" in row
    assert "k_on is 0.01 1/(nM s) (assumed)" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= WIDTH


def test_a_file_of_ones_own_shows_dat(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(
        '[source.Mine]\ncitation = "Mine 2026"\n[ligand.foo]\nkind = "other"\n'
        '[[ligand.foo.affinity]]\ntarget = "DAT"\nnM = 7.5\nquantity = "Ki"\n'
        'status = "published"\nsource = "Mine"\n'
    )
    text = str(pharmacology.load_ligands(tmp_path / "own.toml"))
    (row,) = (line for line in text.splitlines() if line.startswith("foo "))
    assert row.split() == ["foo", "other", "-", "-", "Ki", "7.5", "p", "-", "Mine"]


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", scenarios())
def test_ready_made_scenarios_are_read_by_name(name: str) -> None:
    assert Scenario.read(name) == read_scenario(name) == read_scenario(scenarios()[name])


def test_a_file_is_read_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = read(tmp_path, "citalopram")
    monkeypatch.chdir(tmp_path)
    assert Scenario.read("mine.toml") == Scenario.read(tmp_path / "mine.toml") == scenario
    (tmp_path / "mine.toml").rename("mine")  # a file without an ending is a file all the same
    assert Scenario.read("mine") == scenario


def test_an_unknown_name_offers_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean competition"):
        Scenario.read("competiton")
    with pytest.raises(InputError, match="an existing TOML file"):
        Scenario.read("competition.toml")
