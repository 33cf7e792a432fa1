"""The drug data: every number equals what its source says, and a file of one's own is checked."""

from __future__ import annotations

import csv
import math
import pickle
import random
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import pytest

from synapse_abm import pharmacology
from synapse_abm.cli import main
from synapse_abm.core.errors import InputError, InputErrors, SynapseError, UnknownName
from synapse_abm.pharmacology import LigandRecord, Value, library, ligand, load_ligands
from synapse_abm.synapse.scenario import (
    Grid,
    Kinetics,
    Reservoir,
    Scenario,
    Target,
    to_scenario_ligand,
)

LIGANDS = [
    *("serotonin", "norepinephrine"),
    *("citalopram", "escitalopram", "R-citalopram", "fluoxetine", "norfluoxetine"),
    *("sertraline", "paroxetine", "fluvoxamine"),
    *("venlafaxine", "desvenlafaxine", "duloxetine", "milnacipran"),
    *("reboxetine", "desipramine", "clomipramine", "vortioxetine"),
    *("WAY-100635", "pindolol"),
]
RECORDS = [ligand(name) for name in LIGANDS]


@dataclass(frozen=True)
class Row:
    """One affinity as read in its source, copied by a second hand."""

    ligand: str
    target: str
    nM: float
    quantity: str
    status: str
    key: str
    default: bool
    arithmetic: str


def read_rows() -> Iterator[Row]:
    with (Path(__file__).parent / "data" / "affinities.csv").open(newline="") as file:
        for r in csv.DictReader(file):
            names = (r["ligand"], r["target"], float(r["nM"]), r["quantity"], r["status"])
            yield Row(*names, r["source"], r["default"] == "yes", r["arithmetic"])


ROWS = list(read_rows())


def each_value(record: LigandRecord) -> Iterator[Value]:
    for target in record.bound_targets:
        for affinity in record.affinities(target):
            given = (affinity.kon_per_nM_s, affinity.koff_per_s, affinity.kcat_per_s)
            yield from (value for value in given if value is not None)
    yield from (*record.efficacies.values(), record.diffusion, record.usual_kon)


# --- the data -------------------------------------------------------------------------------------


def test_all_ligands_and_targets_are_there() -> None:
    assert sorted(pharmacology.ligand_names()) == sorted(LIGANDS)
    assert {"SERT", "NET", "5-HT1A"} <= set(pharmacology.library().targets)
    kinds = {name: target.kind for name, target in library().targets.items()}
    assert kinds == dict.fromkeys(("SERT", "NET", "DAT"), "transporter") | {"5-HT1A": "receptor"}
    classes = {record.name: record.kind for record in RECORDS}
    assert classes["serotonin"] == classes["norepinephrine"] == "transmitter"
    assert classes["venlafaxine"] == "SNRI"
    assert classes["WAY-100635"] == "antagonist"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.ligand}-{row.target}-{row.key}")
def test_an_affinity_is_what_its_source_says(row: Row) -> None:
    found = {each.key: each for each in ligand(row.ligand).affinities(row.target)}[row.key]
    read = (found.nM, found.quantity, found.status, found.default)
    assert read == (row.nM, row.quantity, row.status, row.default)
    if row.arithmetic:
        assert found.nM == pytest.approx(eval(row.arithmetic), rel=2e-3), "rounded to 3 digits"


def test_there_are_no_other_affinities() -> None:
    found = {(r.name, a.target, a.key) for r in RECORDS for a in r.all_affinities}
    assert found == {(row.ligand, row.target, row.key) for row in ROWS}


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.name)
def test_every_number_has_a_status_and_a_source(record: LigandRecord) -> None:
    sources = library().sources
    for value in each_value(record):
        assert value.source in sources
        assert value.status == "published" or value.note, f"{value!r} should say why"
    for affinity in record.all_affinities:
        assert affinity.source in sources
        unread = affinity.source in ("ModelChoice", "CommonlyQuoted")
        assert not unread or affinity.status == "assumed"
        assert affinity.status == "published" or affinity.note


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.name)
def test_one_default_for_each_target(record: LigandRecord) -> None:
    for target in record.bound_targets:
        first, *others = record.affinities(target)
        assert first.default
        assert not any(each.default for each in others)
        assert record.affinity(target) is first


def test_sources_are_well_formed() -> None:
    citations = [source.citation for source in library().sources.values()]
    assert len(set(citations)) == len(citations)
    for source in library().sources.values():
        assert source.doi is None or re.fullmatch(r"10\.\d{4,9}/[-.;()/:\w]+", source.doi)
        assert source.via is None or source.via in library().sources
        assert not source.citation.endswith(".")
    assert sum(source.doi is not None for source in library().sources.values()) >= 9


def test_every_source_is_used() -> None:
    keys = {key for record in RECORDS for key in record.source_keys(everything=True)}
    texts = [str(record) for record in RECORDS]
    package = resources.files("synapse_abm")
    texts += [
        (package / name).read_text() for name in ("neuron/data/neuron.toml", "neuron/scenario.py")
    ]
    for key in library().sources:
        assert key in keys or any(key in text for text in texts), key


def test_data_files_hold_no_key_twice_and_fit_the_page() -> None:
    for name in ("ligands", "targets", "sources"):
        text = (resources.files("synapse_abm.pharmacology") / "data" / f"{name}.toml").read_text(
            "utf-8"
        )
        tomllib.loads(text)  # refuses a table or key given twice
        assert text.isascii()
        assert max(map(len, text.splitlines())) <= 100


# --- rates, efficacy, diffusion -------------------------------------------------------------------


def test_serotonin_at_its_transporter() -> None:
    kinetics = ligand("serotonin").kinetics("SERT")
    assert (kinetics.koff, kinetics.kcat_per_s) == (1.0, 3.0)
    assert kinetics.kon == pytest.approx(0.0235, rel=2e-3)
    assert (kinetics.koff + kinetics.kcat_per_s) / kinetics.kon == pytest.approx(170.0)


def test_serotonin_at_its_receptor() -> None:
    kinetics = ligand("serotonin").kinetics("5-HT1A")
    assert (kinetics.kd_nM, kinetics.koff, kinetics.kcat_per_s) == (60.0, 0.5, 0.0)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.name)
def test_rates_give_the_affinity_back_within_the_limit_of_diffusion(record: LigandRecord) -> None:
    for target in record.bound_targets:
        for affinity in record.affinities(target):
            chosen = ligand(f"{record.name}@{affinity.key}")
            assert chosen.affinity(target) == affinity
            kinetics = chosen.kinetics(target)
            carried = kinetics.kcat_per_s if affinity.quantity == "Km" else 0.0
            assert (kinetics.koff + carried) / kinetics.kon == pytest.approx(affinity.nM)
            assert 1e6 <= kinetics.kon * 1e9 <= 1e8  # 1/(M s)
            rates = chosen.rates(target)
            assert (rates.kon.value, rates.koff.value) == pytest.approx(
                (kinetics.kon, kinetics.koff)
            )
            assert "derived" in (rates.kon.status, rates.koff.status)


def test_a_drug_without_known_rates_has_the_usual_association() -> None:
    kinetics = ligand("paroxetine").kinetics("SERT")
    assert kinetics == Kinetics(kd_nM=0.13, kon_per_nM_s=0.01)
    assert ligand("paroxetine").rates("SERT").kon.status == "assumed"
    assert ligand("paroxetine").rates("SERT").koff.value == pytest.approx(0.0013)


def test_only_transmitters_are_carried() -> None:
    for record in RECORDS:
        carried = {t for t in record.bound_targets if record.kinetics(t).kcat_per_s > 0}
        assert carried == {"serotonin": {"SERT"}, "norepinephrine": {"NET"}}.get(record.name, set())


def test_efficacies() -> None:
    found = {r.name: r.efficacy("5-HT1A") for r in RECORDS if "5-HT1A" in r.bound_targets}
    assert found.pop("pindolol") == 0.203
    assert found == {"serotonin": 1.0, "WAY-100635": 0.0, "vortioxetine": 1.0}
    with pytest.raises(UnknownName, match="receptor of citalopram = '5-HT1A'"):
        ligand("citalopram").efficacy("5-HT1A")
    with pytest.raises(UnknownName, match="receptor of serotonin = 'SERT': allowed is one of 5-HT"):
        ligand("serotonin").efficacy("SERT")


def test_diffusion_in_brain() -> None:
    assert ligand("serotonin").diffusion_um2_per_s == pytest.approx(540 / 1.6**2, rel=1e-3)
    assert ligand("serotonin").diffusion.status == "derived"
    assert ligand("sertraline").diffusion_um2_per_s == 211.0
    assert ligand("sertraline").diffusion.status == "assumed"


# --- choosing a source ----------------------------------------------------------------------------


def test_conflicting_sources_can_be_chosen() -> None:
    assert ligand("venlafaxine").affinity("SERT").nM == 8.9
    other = ligand("venlafaxine@Bymaster2001")
    assert (other.affinity("SERT").nM, other.affinity("NET").nM) == (82.0, 2480.0)
    assert other.affinity("DAT").source == "Tatsumi1997", "the default, where the source is silent"
    assert other.kinetics("SERT").kd_nM == 82.0
    assert [each.nM for each in other.affinities("SERT")] == [8.9, 82.0]
    assert (other.name, other.full_name) == ("venlafaxine", "venlafaxine@Bymaster2001")
    assert ligand("paroxetine@Habert1985").affinity("SERT").nM == 0.15
    assert ligand("paroxetine@Habert1985-kinetic").affinity("SERT").nM == 0.034


def test_citations_follow_the_choice() -> None:
    default, other = ligand("duloxetine").sources(), ligand("venlafaxine@Bymaster2001").sources()
    assert default[0] == other[0]
    assert "Bymaster 2001" in default[0]
    assert "doi:10.1016/S0893-133X(01)00298-6" in default[0]
    tatsumi, iversen, *_ = ligand("sertraline").sources()
    assert "Tatsumi 1997" in tatsumi
    assert "doi:10.1038/sj.bjp.0706428" in iversen, "where it was read"
    assert len(set(ligand("serotonin").sources())) == len(ligand("serotonin").sources())


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("venlafaxin", "ligand = 'venlafaxin': .*; did you mean venlafaxine"),
        ("Paroxetine", "did you mean paroxetine"),
        ("venlafaxine@Bymaster", "source of venlafaxine = 'Bymaster': .* mean Bymaster2001"),
        ("venlafaxine@", "source of venlafaxine = ''"),
        ("sertraline@Bymaster2001", "allowed is one of Tatsumi1997"),
        ("", "ligand = ''"),
    ],
)
def test_an_unknown_name_offers_the_nearest(name: str, told: str) -> None:
    with pytest.raises(UnknownName, match=told):
        ligand(name)


def test_an_unknown_target_is_explained() -> None:
    with pytest.raises(UnknownName, match=r"target of citalopram = 'SERTT'.*mean SERT"):
        ligand("citalopram").affinity("SERTT")
    with pytest.raises(UnknownName, match="target of pindolol = 'SERT': allowed is one of 5-HT1A"):
        ligand("pindolol").kinetics("SERT")


# --- in a scenario --------------------------------------------------------------------------------


def test_a_ligand_fits_a_scenario() -> None:
    targets = {"SERT": Target(sites=10), "5-HT1A": Target(kind="receptor", sites=3)}
    reservoir = Reservoir(concentration_nM=5.0, exchange_per_s=1.0)
    make = to_scenario_ligand
    scenario = Scenario(
        grid=Grid.well_mixed(10.0),
        targets=targets,
        ligands={
            "serotonin": make("serotonin", targets, reservoir=reservoir, return_per_s=0.1),
            "drug": make("venlafaxine@Bymaster2001", targets, clamped_nM=10.0),
        },
        dt_s=0.01,
    )
    serotonin, drug = scenario.ligands.values()
    assert (serotonin.role, drug.role) == ("serotonin", "drug")
    assert set(serotonin.binding) == {"SERT", "5-HT1A"}
    assert drug.binding == {"SERT": Kinetics(kd_nM=82.0, kon_per_nM_s=0.01)}, "no 5-HT1A"
    assert serotonin.diffusion_um2_per_s == 211.0
    with pytest.raises(UnknownName, match=r"target = 'SERTT'.*mean SERT"):
        make("citalopram", ["SERTT"])


# --- records --------------------------------------------------------------------------------------


def test_records_are_frozen_and_travel_between_processes() -> None:
    record = ligand("venlafaxine@Bymaster2001")
    with pytest.raises(InputError, match=r"LigandRecord\.name = 'x': .* changed copy"):
        record.name = "x"
    assert pickle.loads(pickle.dumps(record)) == record
    assert repr(record) == "ligand('venlafaxine@Bymaster2001')"


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.name)
def test_printing_shows_values_units_status_and_sources(record: LigandRecord) -> None:
    text = str(record)
    assert max(map(len, text.splitlines())) <= 100
    for target in record.bound_targets:
        for each in record.affinities(target):
            several = len(record.affinities(target)) > 1
            mark = ", default" if each.default and several else ""
            used = r"\*" if each is record.affinity(target) else " "
            shown = (
                rf"{used} {each.quantity} at {target}{mark} +\S+ +nM +{each.status} +{each.key}\n"
            )
            assert re.search(shown, text)
    assert re.search(r"diffusion coefficient +211 +um\^2/s", text)
    for citation in record.sources():
        assert citation in " ".join(text.split())


def test_printing_marks_what_was_chosen() -> None:
    text = str(ligand("venlafaxine@Bymaster2001"))
    assert re.search(r"^  Kd at SERT, default +8.9 +nM +published", text, re.MULTILINE)
    assert re.search(r"^\* Ki at SERT +82 +nM +published", text, re.MULTILINE)
    assert "or venlafaxine@Tatsumi1997" in text


def test_importing_the_package_reads_no_data() -> None:
    program = (
        "import sys, synapse_abm\n"
        "assert 'synapse_abm.pharmacology' not in sys.modules\n"
        "from synapse_abm import pharmacology\n"
        "assert pharmacology.library.cache_info().currsize == 0\n"
        "pharmacology.ligand('citalopram'); pharmacology.ligand('sertraline')\n"
        "assert pharmacology.library.cache_info().misses == 1\n"
        "assert not {'numpy', 'pandas', 'mesa'} & {name.partition('.')[0] for name in sys.modules}"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


# --- a file of one's own --------------------------------------------------------------------------

OWN = """
[source.Mine2026]
citation = "Mine 2026, J Good Res 1:1"
doi = "10.1000/182"

[ligand.foozepine]
kind = "SSRI"

[[ligand.foozepine.affinity]]
target = "SERT"
nM = 3.2
quantity = "Ki"
status = "published"
source = "Mine2026"

[[ligand.foozepine.affinity]]
target = "5-HT1A"
nM = 100
quantity = "Kd"
status = "assumed"
source = "ModelChoice"
[ligand.foozepine.affinity.koff_per_s]
value = 2
status = "assumed"
source = "ModelChoice"

[ligand.foozepine.efficacy.5-HT1A]
value = 0.5
status = "assumed"
source = "ModelChoice"
"""

MORE_VENLAFAXINE = """
[source.Mine2026]
citation = "Mine 2026"
[[ligand.venlafaxine.affinity]]
target = "SERT"
nM = 20
quantity = "Ki"
status = "published"
source = "Mine2026"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "mine.toml"


def faults_of(file: Path) -> tuple[InputError, ...]:
    with pytest.raises(SynapseError) as caught:
        load_ligands(file)
    error = caught.value
    assert isinstance(error, InputError | InputErrors)
    return error.faults if isinstance(error, InputErrors) else (error,)


def test_a_ligand_is_added(file: Path) -> None:
    file.write_text(OWN)
    extended = load_ligands(file)
    assert tuple(extended.ligands) == (*pharmacology.ligand_names(), "foozepine")
    record = extended.ligand("foozepine")
    assert record.kinetics("SERT") == Kinetics(kd_nM=3.2, kon_per_nM_s=0.01)
    assert record.kinetics("5-HT1A") == Kinetics(kd_nM=100.0, koff_per_s=2.0)
    assert record.efficacy("5-HT1A") == 0.5
    assert record.sources()[0] == "Mine 2026, J Good Res 1:1, doi:10.1000/182"
    assert re.search(r"\* Ki at SERT +3.2 +nM +published +Mine2026", str(record))
    assert "foozepine" not in pharmacology.ligand_names(), "the program's own are untouched"


def test_a_known_ligand_gets_another_source(file: Path) -> None:
    file.write_text(MORE_VENLAFAXINE)
    extended = load_ligands(file)
    assert extended.ligand("venlafaxine").affinity("SERT").nM == 8.9
    assert extended.ligand("venlafaxine@Mine2026").affinity("SERT").nM == 20.0
    file.write_text(MORE_VENLAFAXINE + "default = true\n")
    record = load_ligands(file).ligand("venlafaxine")
    assert [each.nM for each in record.affinities("SERT")] == [20.0, 8.9, 82.0]
    assert [each.default for each in record.affinities("SERT")] == [True, False, False]


def test_a_known_number_is_replaced(file: Path) -> None:
    text = MORE_VENLAFAXINE.replace('source = "Mine2026"', 'source = "Tatsumi1997"')
    file.write_text(text)
    record = load_ligands(file).ligand("venlafaxine")
    assert {each.key: each.nM for each in record.affinities("SERT")} == {
        "Tatsumi1997": 20.0,
        "Bymaster2001": 82.0,
    }
    assert record.affinity("SERT").nM == 20.0, "what replaces a default is the default"
    assert record.kind == "SNRI"
    assert record.affinity("NET").nM == 1060.0


def test_efficacy_and_diffusion_are_replaced(file: Path) -> None:
    file.write_text(
        "[ligand.pindolol.efficacy.5-HT1A]\n"
        'value = 0\nstatus = "assumed"\nsource = "ModelChoice"\n'
        "[ligand.pindolol.diffusion_um2_per_s]\n"
        'value = 150\nstatus = "assumed"\nsource = "ModelChoice"\n'
    )
    record = load_ligands(file).ligand("pindolol")
    assert (record.efficacy("5-HT1A"), record.diffusion_um2_per_s) == (0.0, 150.0)
    assert record.affinity("5-HT1A").nM == 6.4


def test_files_add_up(file: Path, tmp_path: Path) -> None:
    file.write_text(OWN)
    second = tmp_path / "second.toml"
    second.write_text(
        MORE_VENLAFAXINE.replace("venlafaxine", "foozepine").replace("nM = 20", "nM = 21")
    )
    both = load_ligands(second, load_ligands(file))
    assert both.ligand("foozepine").affinity("SERT").nM == 21.0


def test_five_faults_are_reported_at_once(file: Path) -> None:
    file.write_text(
        OWN.replace("nM = 3.2", "nM = -3.2")
        .replace('quantity = "Kd"', 'quantity = "KD"')
        .replace('target = "SERT"', 'target = "SERTT"')
        .replace('source = "Mine2026"', 'source = "Mine2025"')
        .replace('kind = "SSRI"', 'kind = "SSRI"\ncolour = "red"')
    )
    told = {fault.name: fault for fault in faults_of(file)}
    assert set(told) == {
        "ligand.foozepine.affinity[0].nM",
        "ligand.foozepine.affinity[0].target",
        "ligand.foozepine.affinity[0].source",
        "ligand.foozepine.affinity[1].quantity",
        "a key of ligand.foozepine",
    }
    assert str(told["ligand.foozepine.affinity[0].nM"]) == (
        "ligand.foozepine.affinity[0].nM = -3.2: allowed is a number from 1e-6 to 1e9, in nM"
    )
    assert "mean SERT?" in str(told["ligand.foozepine.affinity[0].target"])
    assert "mean Mine2026" in str(told["ligand.foozepine.affinity[0].source"])
    assert "mean Kd?" in str(told["ligand.foozepine.affinity[1].quantity"])
    assert "'colour': allowed is one of affinity" in str(told["a key of ligand.foozepine"])


FAULTS = {
    "text for a number": ("nM = 3.2", 'nM = "3.2 nM"', "affinity[0].nM", "write 3.2, without"),
    "truth for a number": ("nM = 3.2", "nM = true", "affinity[0].nM", "a number from 1e-6"),
    "NaN": ("nM = 3.2", "nM = nan", "affinity[0].nM", "= nan: allowed is a number"),
    "infinite": ("nM = 3.2", "nM = inf", "affinity[0].nM", "= inf: allowed is a number"),
    "huge": ("nM = 3.2", f"nM = 1{'0' * 400}", "affinity[0].nM", "to 1e9, in nM"),
    "zero": ("nM = 3.2", "nM = 0", "affinity[0].nM", "a number from 1e-6"),
    "a date": ("nM = 3.2", "nM = 2026-01-01", "affinity[0].nM", "a number from 1e-6"),
    "no number": ("nM = 3.2", "", "affinity[0].nM", "(missing)"),
    "status": ('"published"', '"publishd"', "affinity[0].status", "mean published?"),
    "class": ('"SSRI"', '"SSSRI"', "foozepine.kind", "mean SSRI"),
    "class missing": ('kind = "SSRI"', "", "foozepine.kind", "one of transmitter, SSRI"),
    "class a number": ('kind = "SSRI"', "kind = 3", "foozepine.kind", "one of transmitter, SSRI"),
    "key": ("nM = 3.2", "nM = 3.2\nnm = 3", "a key of ligand.foozepine.affinity[0]", "mean nM?"),
    "DOI": ("10.1000/182", "doi:10.1000", "source.Mine2026.doi", "such as '10.1000/182'"),
    "efficacy range": ("value = 0.5", "value = 50", "5-HT1A.value", "from 0 to 1"),
    "efficacy missing": ("efficacy.5-HT1A", "efficacy.SERT", "efficacy.5-HT1A", "(missing)"),
    "efficacy target": ("efficacy.5-HT1A", "efficacy.5HT1A", "a key of", "mean 5-HT1A?"),
    "rate": ("value = 2", "value = -2", "affinity[1].koff_per_s.value", "in 1/s"),
    "k_on too fast": ("value = 2", "value = 1e5", "affinity[1].koff_per_s", "at 10 1/(nM s)"),
    "Km": ('"Kd"', '"Km"', "affinity[1].kcat_per_s", "(k_off + k_cat)/k_on"),
    "no table": ("[[ligand.foozepine.affinity]]", "[[ligand.foozepine.affinities]]", "", ""),
    "name": ("foozepine]\nkind", '"foo@zepine"]\nkind', "a name of [ligand.NAME]", "without '@'"),
}


@pytest.mark.parametrize(("right", "wrong", "where", "told"), FAULTS.values(), ids=FAULTS)
def test_a_fault_names_its_place_and_the_remedy(
    file: Path, right: str, wrong: str, where: str, told: str
) -> None:
    assert right in OWN
    file.write_text(OWN.replace(right, wrong, 1))
    assert any(where in fault.name and told in str(fault) for fault in faults_of(file))


def test_what_an_affinity_lacks_is_told_beside_what_is_wrong_with_it(file: Path) -> None:
    wrong = OWN.replace('"Kd"', '"Km"').replace("value = 2", "value = -2")
    file.write_text(wrong.replace("efficacy.5-HT1A", "efficacy.SERT"))
    named = {fault.name.removeprefix("ligand.foozepine.") for fault in faults_of(file)}
    lacking = {"affinity[1].kcat_per_s", "efficacy.5-HT1A"}
    assert lacking | {"affinity[1].koff_per_s.value"} < named


def test_rates_may_not_contradict_the_affinity(file: Path) -> None:
    kon = "[ligand.foozepine.affinity.kon_per_nM_s]\nvalue = {}\nstatus = 'assumed'\n"
    kon += "source = 'ModelChoice'\n[ligand.foozepine.efficacy"
    file.write_text(OWN.replace("[ligand.foozepine.efficacy", kon.format("0.03")))
    (fault,) = faults_of(file)
    assert fault.name == "ligand.foozepine.affinity[1].koff_per_s"
    assert "k_on = k_off/Kd = 0.02 1/(nM s)" in str(fault)
    file.write_text(OWN.replace("[ligand.foozepine.efficacy", kon.format("0.02")))
    assert load_ligands(file).ligand("foozepine").kinetics("5-HT1A").kon == pytest.approx(0.02)


def test_two_affinities_need_two_keys_and_one_default(file: Path) -> None:
    second = OWN[OWN.index("[[ligand") : OWN.rindex("[[ligand")]
    file.write_text(OWN + second)
    named = [fault.name for fault in faults_of(file)]
    assert named == [
        "ligand.foozepine.affinity[2].source",
        "ligand.foozepine.affinity[0].default",
    ]
    file.write_text(OWN + second + 'variant = "again"\ndefault = true\n')
    assert load_ligands(file).ligand("foozepine").affinity("SERT").key == "Mine2026-again"
    file.write_text(OWN.replace("nM = 3.2", "nM = 3.2\ndefault = true") + second + "default = true")
    assert "ligand.foozepine.affinity[2].default" in [fault.name for fault in faults_of(file)]


def test_a_file_that_is_none_is_explained(file: Path, tmp_path: Path) -> None:
    (fault,) = faults_of(file)
    assert "an existing TOML file" in str(fault)
    (fault,) = faults_of(tmp_path)
    assert "an existing TOML file" in str(fault)
    for contents, told in {
        b"": "a file with a [ligand.NAME] table",
        b"# nothing\n": "a file with a [ligand.NAME] table",
        b"a = [": "valid TOML",
        b"a = 1\na = 2": "valid TOML",
        b"\xff\xfe": "text in UTF-8",
        b"a = " + b"9" * 5000: "valid TOML",
        b"a = " + b"[" * 100_000: "nesting",
        b"drug = 3": "a key of the file = 'drug'",
        b"ligand = 3": "ligand = 3: allowed is tables [ligand.NAME]",
        b"[ligand]\nfoo = 3": "ligand.foo = 3: allowed is a table",
    }.items():
        file.write_bytes(contents)
        (fault,) = faults_of(file)
        assert told in str(fault)


def mutated(chance: random.Random) -> str:
    """The file with one to three lines removed, given another value, exchanged, or torn."""
    lines = OWN.splitlines()
    values = ["nan", "-1", "1e400", "true", '""', "[]", "{}", "[[1]]", "07:32:00", '"SERT"', "0"]
    for _ in range(chance.randint(1, 3)):
        place = chance.randrange(len(lines))
        key, is_pair, _ = lines[place].partition(" = ")
        choice = chance.randrange(4)
        if choice == 0:
            del lines[place]
        elif choice == 1 and is_pair:
            lines[place] = f"{key} = {chance.choice(values)}"
        elif choice == 2:
            other = chance.randrange(len(lines))
            lines[place], lines[other] = lines[other], lines[place]
        elif lines[place]:
            cut = chance.randrange(len(lines[place]))
            lines[place] = lines[place][:cut] + chance.choice("x.]\"'=#[@ 9") + "\n"
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("seed", "files"), [(20261101, 600), pytest.param(20261125, 10_000, marks=pytest.mark.slow)]
)
def test_mutated_files_are_read_or_refused(file: Path, seed: int, files: int) -> None:
    """Nothing but a library or clean reports, whatever happens to a file."""
    chance = random.Random(seed)
    read, refused = 0, list[str]()
    for _ in range(files):
        file.write_text(mutated(chance))
        try:
            extended = load_ligands(file)
        except (InputError, InputErrors) as error:
            refused.append(str(error))
            continue
        read += 1
        for name in tuple(extended.ligands):
            record = extended.ligand(name)
            assert all(math.isfinite(record.kinetics(t).kon) for t in record.bound_targets)
        assert str(extended)
    assert min(read, len(refused)) > files / 30
    assert all(refused)


def test_a_ligand_is_named_by_its_file(file: Path) -> None:
    """``FILE.toml:NAME`` is the ligand of that file, under a name that finds it again."""
    file.write_text(OWN)
    added = load_ligands(file)
    (new,) = [name for name in added.ligands if name not in pharmacology.ligand_names()]
    record = ligand(f"{file}:{new}")
    assert record.all_affinities == added.ligand(new).all_affinities
    assert ligand(record.full_name) == record
    with pytest.raises(UnknownName, match=f"did you mean {new}"):
        ligand(f"{file}:{new[:-1]}")
    with pytest.raises(InputError, match="an existing TOML file"):
        ligand(f"{file.parent}/none.toml:{new}")


# --- the command line -----------------------------------------------------------------------------


def test_list_drugs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--drugs"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert max(map(len, out.splitlines())) <= 100
    found = {line.split()[0]: line for line in out.splitlines() if line.split()}
    plain = {name: " ".join(line.split()) for name, line in found.items()}
    assert plain["citalopram"] == "citalopram SSRI Kd 1.2 p Kd 4070 p Kd 28100 p - Tatsumi1997"
    assert plain["serotonin"].endswith("Km 170 p - - Kd 60 a Bunin1998 + 1")
    for name in LIGANDS:
        assert name in found
    for key, source in library().sources.items():
        assert f"{key}: {source.citation}" in " ".join(out.split())
    assert "Ki 82 p" in found["venlafaxine@Bymaster2001"]


def test_list_drugs_of_a_file(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(OWN)
    assert main(["list", "--file", str(file)]) == 0
    assert re.search(r"^foozepine +SSRI +Ki 3.2 p", capsys.readouterr().out, re.MULTILINE)
    file.write_text(OWN.replace("3.2", "-3.2").replace("SSRI", "SSRRI"))
    assert main(["list", "--drugs", "--file", str(file)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("synapse-abm: 2 inputs cannot be used:\n  - ligand.foozepine.kind = ")
    assert "Traceback" not in err


def test_plain_list_shows_experiments(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    assert "Tatsumi1997" not in capsys.readouterr().out
