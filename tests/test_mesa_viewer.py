"""Mesa's viewer in a real browser: steps, sliders, Reset.

It needs the dependency group ``viewer``, and Chromium.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

for needed in ("solara", "solara_assets", "altair", "playwright"):
    pytest.importorskip(needed, exc_type=ImportError)
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")

ROOT = Path(__file__).parents[1]
(GUIDE,) = re.findall(
    r"```python\n(from mesa\.visualization.*?)```",
    (ROOT / "synapse_abm/guide/mesa.md").read_text("utf-8"),
    flags=re.DOTALL,
)
SHOWN = """
import solara
from mesa.visualization import Slider, SolaraViz, make_plot_component
from synapse_abm import NeuronModel, SynapseModel
from synapse_abm.neuron.scenario import Baseline
"""
OWN_CLASS = """
class Dosed(SynapseModel):
    def __init__(self, drug_nM=1.0, **options):
        super().__init__("binding", **{"ligand.citalopram.clamped_nM": drug_nM}, **options)

def dose(model):
    return solara.Text(f"dose {model.synapse.ligands['citalopram'].clamped_nM}")

page = SolaraViz(Dosed(), components=[dose, make_plot_component("occupancy_SERT_citalopram")],
                 model_params={"drug_nM": Slider("drug", 2.0, 1.0, 9.0, 1.0)})
"""
NEURON = """
model = NeuronModel(baseline=Baseline(), spike_trains=3)

def dose(model):
    return solara.Text(f"dose {model.drug_nM} of {model.parameters.spike_trains}")

page = SolaraViz(model, components=[dose, make_plot_component("rate_Hz")],
                 model_params={"drug_nM": Slider("drug", 2.0, 1.0, 9.0, 1.0)})
"""
PAGES = {"guide": GUIDE, "own": SHOWN + OWN_CLASS, "neuron": SHOWN + NEURON}
PATIENCE_MS = 120_000  # a busy machine


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of the pages, by their names."""
    folder = tmp_path_factory.mktemp("viewer")
    for name, program in PAGES.items():
        (folder / f"{name}.py").write_text(program, "utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    quiet = {"SOLARA_TELEMETRY_MIXPANEL_ENABLE": "False", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-m", "solara", "run", str(folder), "--host", "127.0.0.1",
               "--port", str(port), "--no-open", "--production"]  # fmt: skip
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | quiet)
        try:
            url = f"http://127.0.0.1:{port}"
            for _ in range(PATIENCE_MS // 500):
                try:
                    urlopen(f"{url}/readyz", timeout=5).close()
                    break
                except OSError:
                    assert server.poll() is None, (folder / "log").read_text()
                    time.sleep(0.5)
            yield url
        finally:
            server.terminate()
            server.wait(30)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.mark.parametrize("name", PAGES)
def test_steps_and_reset(name: str, address: str, browser: Any) -> None:
    """Reset begins anew, with what the slider says; the model steps on after it."""
    page = browser.new_page()
    page.set_default_timeout(PATIENCE_MS)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.route(lambda url: not url.startswith(address), lambda route: route.abort())
    page.goto(f"{address}/{name if name != 'guide' else ''}")  # the first of a folder is its home
    for round in range(2):
        page.get_by_text("Time: 0.0").wait_for()
        page.get_by_role("button", name="Step").click()
        page.get_by_text("Time: 1.0").wait_for()
        if name == "guide":
            assert page.locator("img").count() == 2  # the grid, and the plot of the occupancy
        else:
            of = " of 3" if name == "neuron" else ""  # given to the first model alone
            first = {"own": "dose 1", "neuron": "dose 0.0"}[name]
            page.get_by_text(re.compile((first if round == 0 else "dose 3.0?") + of)).wait_for()
            if round == 0:
                page.get_by_role("slider").last.press("ArrowRight")
                page.wait_for_timeout(1000)  # the slider tells the server
        page.get_by_role("button", name="Reset").click()
    page.get_by_text("Time: 0.0").wait_for()
    page.close()
    # What the page needs comes from this machine; Solara alone asks its makers how it was shown.
    outside = [url for url in asked if not url.startswith((address, "data:", "blob:"))]
    assert all(url.startswith("https://solara.dev/static/public/success.html") for url in outside)
