"""The project's files agree with each other, importing is light, and the wheel is complete."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path
from typing import Any

import pytest

import synapse_abm
from synapse_abm.__main__ import keep_byte_code

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("numpy", "scipy", "numba", "pandas", "pyarrow", "mesa", "matplotlib", "pydantic", "tyro")


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def loaded_by(program: str) -> set[str]:
    """The modules that a new interpreter has loaded after ``program``."""
    program += "\nimport sys; print(*sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120
    )
    return set(ended.stdout.splitlines()[-1].split())


# --- files ---------------------------------------------------------------------------------------


def test_pins_agree_and_name_no_addresses(project: dict[str, Any]) -> None:
    pins = (ROOT / "constraints.txt").read_text().splitlines()
    assert project["tool"]["uv"]["constraint-dependencies"] == pins
    assert all(re.fullmatch(r"[a-z0-9-]+==[^\s@/]+( ; .+)?", pin) for pin in pins)


def test_every_dependency_is_pinned(project: dict[str, Any]) -> None:
    groups = project["dependency-groups"]
    named = groups["dev"] + groups["quality"] + groups["viewer"]
    wanted = project["project"]["dependencies"] + named
    pins = (ROOT / "constraints.txt").read_text()
    pinned = {line.partition("==")[0] for line in pins.splitlines()}
    assert {re.split(r"[\[<>= ;]", name)[0] for name in wanted} <= pinned


def test_versions_agree(project: dict[str, Any]) -> None:
    version = project["project"]["version"]
    assert synapse_abm.__version__ == version
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    newest = re.search(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest[1] in (version, "Unreleased")


def test_the_readme_is_part_of_the_package(project: dict[str, Any]) -> None:
    if (ROOT / "README.md").exists():
        assert project["project"].get("readme") == "README.md"


# --- importing -----------------------------------------------------------------------------------


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert loaded_by("import synapse_abm; dir(synapse_abm)").isdisjoint(HEAVY)


def test_the_command_line_loads_nothing_heavy() -> None:
    program = "from synapse_abm.cli import main; main(['--help']); main(['list'])"
    assert loaded_by(program).isdisjoint({*HEAVY} - {"tyro"})


@pytest.mark.slow
def test_simulating_loads_no_plots() -> None:
    program = "from synapse_abm import Scenario, Simulation, SynapseModel"
    assert "matplotlib" not in loaded_by(program)


def test_a_run_loads_only_what_it_uses(tmp_path: Path) -> None:
    """Mesa and pandas take half a second each, which is all that a short run has to spare; nobody
    gives it a quantity with a unit, and its cells have no distances.
    """
    command = ["run", "hyperbola", "--quick", "--workers", "1", "--out", str(tmp_path / "out")]
    program = f"from synapse_abm.cli import main; assert main({command}) == 0"
    idle = {"mesa", "pandas", "networkx", "pint", "libsbml", "scipy.spatial", "scipy.stats"}
    assert loaded_by(program).isdisjoint(idle)


@pytest.mark.parametrize("there", [True, False])
def test_byte_code_is_kept_unless_it_is_there_or_python_may_write_it(
    there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNAPSE_ABM_CACHE", str(tmp_path))
    for forbidden in (True, False):
        monkeypatch.setattr(sys, "dont_write_bytecode", forbidden)
        monkeypatch.setattr(sys, "pycache_prefix", None)
        monkeypatch.setattr("os.path.exists", lambda path: there)
        keep_byte_code()
        kept = str(tmp_path / "byte_code") if forbidden and not there else None
        assert sys.pycache_prefix == kept
        assert sys.dont_write_bytecode is (forbidden and there)


def test_no_experiment_needs_mesa_or_plots_to_be_named() -> None:
    program = (
        "from synapse_abm.runs.experiment import experiments\n"
        "for experiment in experiments().values():\n"
        "    experiment.load()"
    )
    assert loaded_by(program).isdisjoint({"mesa", "pandas", "pint", "matplotlib"})


@pytest.mark.parametrize("name", synapse_abm.__all__)
def test_every_public_name_can_be_had(name: str) -> None:
    assert getattr(synapse_abm, name) is getattr(synapse_abm, name)
    assert name in dir(synapse_abm)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'Scenarioo'"):
        _ = synapse_abm.Scenarioo


# --- the wheel -----------------------------------------------------------------------------------


def test_the_package_imports_only_what_it_declares(project: dict[str, Any]) -> None:
    declared = {re.split(r"[\[<>= ;]", name)[0] for name in project["project"]["dependencies"]}
    peers = {"gillespy2", "readdy", "smoldyn"}  # where they are installed
    allowed = {*declared, *peers, *sys.stdlib_module_names, "synapse_abm"}
    allowed |= {"libsbml", "llvmlite", "pydantic_core"}  # parts of what is declared
    for path in (*ROOT.glob("synapse_abm/**/*.py"), *ROOT.glob("experiments/*.py")):
        for node in ast.walk(ast.parse(path.read_bytes())):
            named = (
                [node.module]
                if isinstance(node, ast.ImportFrom)
                else [each.name for each in node.names]
                if isinstance(node, ast.Import)
                else []
            )
            assert {(name or "synapse_abm").partition(".")[0] for name in named} <= allowed, path


def test_the_wheel_is_complete(tmp_path: Path) -> None:
    """Built and used outside the checkout; it finds what it depends on where this process does."""
    uv = os.environ.get("UV") or shutil.which("uv")
    # A name on the path may be an empty shell of it.
    if uv is None or subprocess.run([uv, "--version"], capture_output=True).returncode:
        pytest.skip("uv is not installed")
    # Where its code lies nothing is compiled yet, and two minutes would go into that.
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    for name in ("VIRTUAL_ENV", "PYTHONPATH"):
        environment.pop(name, None)

    def do(*command: str | Path) -> str:
        ended = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    python = ("--quiet", "--python", sys.executable)
    do(uv, "build", *python, "--wheel", "--out-dir", tmp_path, ROOT)
    do(uv, "venv", *python, "env")
    (wheel,) = tmp_path.glob("*.whl")
    do(uv, "pip", "install", "--quiet", "--python", "env", "--no-deps", wheel)
    folder = Path("Lib") if os.name == "nt" else next((tmp_path / "env" / "lib").iterdir())
    others = tmp_path / "env" / folder / "site-packages" / "others.pth"
    others.write_text(f"{sysconfig.get_path('purelib')}\n")
    scripts = tmp_path / "env" / ("Scripts" if os.name == "nt" else "bin")
    listed = do(scripts / "synapse-abm", "list")
    names = {line.split()[0] for line in listed.splitlines() if line.startswith("  ")}
    ready = (ROOT / "synapse_abm" / "scenarios").glob("*.toml")
    assert names == {path.stem for path in (*(ROOT / "experiments").glob("[!_.]*.py"), *ready)}
    assert "tables and run.json" in do(scripts / "synapse-abm", "run", "lag_sensitivity", "--quick")
    assert (tmp_path / "outputs" / "lag_sensitivity" / "run.json").is_file()
    where = "import synapse_abm, sys; sys.stdout.write(synapse_abm.__file__)"
    assert Path(do(scripts / "python", "-c", where)).is_relative_to(tmp_path / "env")
