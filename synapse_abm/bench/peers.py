"""Other people's simulators on the same work, each set up as its manual advises.

All use one thread, and their start is never timed. The molecules live in a closed box of the grid's
size and depth, with the grid's D, step and rate constants; a peer whose bound fraction is off does
something else, and its row is marked void.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np

from synapse_abm.bench.contenders import Contender, Label
from synapse_abm.bench.scenarios import LIGAND, TARGET
from synapse_abm.core.errors import InputError
from synapse_abm.core.units import pair_rate_per_s
from synapse_abm.synapse.scenario.definition import Scenario

READDY, SMOLDYN, SMOLDYN_DEFAULT = "ReaDDy", "Smoldyn", "Smoldyn, accuracy 10"
GILLESPY2 = "GillesPy2"

#: Names the Python that Smoldyn is installed for.
SMOLDYN_VARIABLE = "SYNAPSE_ABM_SMOLDYN"
_SMOLDYN_FOLDER = ".smoldyn"
INSTALL = {
    READDY: "uv run --group peers synapse-abm bench",
    GILLESPY2: "uv run --group peers synapse-abm bench",
    SMOLDYN: f"uv venv --python 3.10 {_SMOLDYN_FOLDER} && "
    f"uv pip install --python {_SMOLDYN_FOLDER} smoldyn",
}
_UNUSED = "unset it, or follow the installation in the README"


def installed() -> set[str]:
    """The peers that can be run here.

    Raises
    ------
    InputError
        If ``SYNAPSE_ABM_SMOLDYN`` names no Python that has Smoldyn.
    """
    signs = {
        READDY: find_spec("readdy"),
        GILLESPY2: find_spec("gillespy2") and shutil.which("g++"),  # it compiles each model
        SMOLDYN: smoldyn_python(),
    }
    return {name for name, sign in signs.items() if sign}


def missing() -> dict[str, str]:
    """What is not installed, and the command that installs it."""
    here = installed()
    return {name: command for name, command in INSTALL.items() if name not in here}


def makers(grid: Scenario, one_cell: Scenario) -> list[Callable[[], Contender]]:
    """What builds each installed peer, on the scenario with space or the one without."""
    here = installed()
    every: list[tuple[str, Callable[[], Contender]]] = [
        (READDY, lambda: ReaDDy(grid)),
        (SMOLDYN, lambda: Smoldyn(SMOLDYN, grid, accuracy=3)),
        (SMOLDYN, lambda: Smoldyn(SMOLDYN_DEFAULT, grid, accuracy=10)),
        (GILLESPY2, lambda: GillesPy2(one_cell)),
    ]
    return [make for name, make in every if name in here]


class Simulator(Contender):
    """Somebody else's: its own CPU time is added up, because its start is not to be timed.

    It reads a scenario's numbers: box (um), D (um2/s), k_on (um3/s), k_off (1/s), step (s).
    """

    def __init__(self, engine: str, scenario: Scenario, version: str) -> None:
        self.label = Label.of(engine, scenario, version)
        grid, ligand = scenario.grid, scenario.ligands[LIGAND]
        kinetics = ligand.binding[TARGET]
        sides = (grid.width * grid.spacing_um, grid.height * grid.spacing_um, grid.depth_um)
        self.box_um, self.cell_um3 = list(map(float, sides)), grid.cell_volume_um3
        self.diffusion = ligand.diffusion_um2_per_s
        self.kon, self.koff = pair_rate_per_s(kinetics.kon, 1.0), kinetics.koff
        self.dt, self.cpu_s, self.bound = scenario.dt_s, 0.0, 0.0

    def clock(self) -> float:
        """CPU time of the steps so far, s."""
        return self.cpu_s

    @property
    def bound_fraction(self) -> float | None:
        """Share of the sites that were bound, on average or at the end of the latest run."""
        return self.bound / self.label.sites


class ReaDDy(Simulator):
    """ReaDDy 2: Brownian particles that react within a distance, at a rate (Doi's model).

    Choices (options as in the manual at readdy.github.io, pages Simulation and System
    configuration; which of them is fastest was tried, once each, on a busy machine):

    - The reaction volume is that of a grid cell, R = (3 V / 4 pi)^(1/3), and the rate inside it
      k_on / V; a site that lets go puts the molecule uniformly into the same ball. Each pair then
      meets as often as on the grid, the equilibrium is k_off / k_on, and the chance to react in a
      step is 0.05; with R smaller by half it would be 0.4 and too few sites would be bound.
    - Kernel SingleCPU: with one thread it was faster than kernel CPU.
    - Reactions "UncontrolledApproximation", which was faster than the default "Gillespie" (by 5 %)
      and as right here; "DetailedBalance" took ten times longer.
    - Periodic walls: no potential is needed to keep particles in, so forces are not evaluated.
    - Skin 0, the default: a skin was slower, since molecules step about half of R.
    - Bound sites are counted in every 20th step. Each run builds a neighbour list anew; the time of
      a run of one step is therefore subtracted.
    """

    def __init__(self, scenario: Scenario) -> None:
        readdy = import_module("readdy")
        with suppress(ImportError, AttributeError):  # what it says of each run fits no table
            common = import_module("readdy._internal.readdybinding.common")
            common.set_logging_level("warn", python_console_out=False)
        super().__init__(READDY, scenario, metadata.version("readdy"))
        self._counts: list[int] = []
        # The ball of a cell's volume: a pair meets as often as in a cell.
        radius = (3 * self.cell_um3 / (4 * math.pi)) ** (1 / 3)
        system = readdy.ReactionDiffusionSystem(
            self.box_um, periodic_boundary_conditions=[True] * 3, unit_system=None
        )
        for name, diffusion in (("drug", self.diffusion), ("site", 0.0), ("bound", 0.0)):
            system.add_species(name, diffusion)
        on, off = self.kon / self.cell_um3, self.koff
        system.reactions.add_fusion("on", "drug", "site", "bound", on, radius, 1.0, 0.0)
        system.reactions.add_fission("off", "bound", "drug", "site", off, radius, 1.0, 0.0)
        self._simulation = system.simulation(
            kernel="SingleCPU", reaction_handler="UncontrolledApproximation"
        )
        self._simulation.evaluate_forces = False
        self._simulation.evaluate_topology_reactions = False
        self._simulation.show_progress = False
        self._simulation.observe.number_of_particles(
            20, types=["bound"], callback=lambda counts: self._counts.append(counts[0]), save=None
        )
        rng, box = np.random.default_rng(1), np.array(self.box_um)
        for name, count in (("drug", self.label.molecules), ("site", self.label.sites)):
            # ReaDDy's box has its origin in the middle.
            self._simulation.add_particles(name, (rng.random((count, 3)) - 0.5) * box)

    def run(self, steps: int) -> None:
        """Steps, after one more whose cost, start included, is subtracted."""
        # Each run builds its neighbour list anew, which a long run would not feel.
        start = self._timed(1)
        self.cpu_s += max(self._timed(steps + 1) - start, 0.0)

    def _timed(self, steps: int) -> float:
        self._counts.clear()
        before = process_time()
        self._simulation.run(steps, self.dt, show_summary=False)
        used = process_time() - before
        self.bound = float(np.mean(self._counts or [0]))  # none yet in a run of one step
        return used


class Smoldyn(Simulator):
    """Smoldyn: point particles that react within a binding radius (Smoluchowski's model).

    Choices (Smoldyn User's Manual: Statements for simulation settings, about molecules, about
    reactions):

    - Sites are molecules that do not diffuse; free, unbound and bound ones are in lists of their
      own (``mol_list``), so that only the free are moved: 1.5 times faster than the default lists.
    - ``accuracy``: 10, the default, looks for partners in all neighbouring boxes; 3 in those that
      share a face, nearly twice as fast and, here, as right; below 3 only in the own box, and too
      few sites are bound. Both 3 and 10 are timed; the ratio is to the faster.
    - Boxes by the default (``molperbox``): 2, 3 and 8 molecules a box, or boxes of 0.2 and 0.25 um,
      were within 5 % or slower. (These comparisons are single trials on a busy machine.)
    - Products are placed by ``pgemmax`` 0.2 (a usual value for reversible reactions; the manual's
      own words were not at hand); binding and unbinding radius then follow from k_on, D, the step.
    - Reflecting walls, as on the grid. Python's interface calls the same library as the program.
    """

    def __init__(self, name: str, scenario: Scenario, accuracy: int) -> None:
        super().__init__(name, scenario, "")
        python = smoldyn_python()
        assert python is not None  # it is installed
        worker = Path(__file__).with_name("smoldyn_worker.py")
        self._process = subprocess.Popen(
            [python, worker], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        answer = self._ask(
            molecules=self.label.molecules, sites=self.label.sites, box_um=self.box_um,
            accuracy=accuracy, diffusion_um2_per_s=self.diffusion, kon_um3_per_s=self.kon,
            koff_per_s=self.koff, dt_s=self.dt,
        )  # fmt: skip
        self.label = replace(self.label, version=answer["version"])

    def _ask(self, **question: Any) -> dict[str, Any]:
        asked, answers = self._process.stdin, self._process.stdout
        assert asked is not None and answers is not None  # both are pipes
        # A line each way: the simplest protocol that two versions of Python share.
        print(json.dumps(question), file=asked, flush=True)
        line = answers.readline()
        if not line:
            raise RuntimeError(f"{self.label.engine} ended with status {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def run(self, steps: int) -> None:
        """Steps, in the other process."""
        answer = self._ask(steps=steps)
        self.cpu_s += answer["cpu_s"]
        self.bound = answer["bound"]

    def close(self) -> None:
        """End the other process."""
        with suppress(BrokenPipeError):
            self._process.communicate()


class GillesPy2(Simulator):
    """GillesPy2's C++ solver of Gillespie's direct method, in one well-mixed place.

    Choices (GillesPy2's documentation, pages on solvers and on the C++ solvers):

    - ``SSACSolver`` compiled once, outside the timing, by the compiler flags it brings, and used
      again for every run, as the documentation advises for many runs. Rates are constants
      (``variable=False``) and reactions mass action.
    - A run starts a program, which starts from no bound site and prints ten states. Of two runs,
      one three times as long, the difference is timed: all of it is at equilibrium.
    - Events are not counted by the program. They follow from the mean of the bound sites:
      2 k_off <bound> t, as many unbindings as bindings.
    """

    def __init__(self, scenario: Scenario) -> None:
        gillespy2 = import_module("gillespy2")
        # Its build calls scons by name, which lies beside the Python that runs us.
        beside = str(Path(sys.executable).parent)
        if beside not in os.environ["PATH"].split(os.pathsep):
            os.environ["PATH"] = os.pathsep.join([beside, os.environ["PATH"]])
        super().__init__(GILLESPY2, scenario, metadata.version("gillespy2"))
        self._seed, self._events = 1, 0.0
        model = gillespy2.Model(name="one_cell")
        started = (("drug", self.label.molecules), ("site", self.label.sites), ("bound", 0))
        for name, count in started:
            model.add_species(gillespy2.Species(name, initial_value=count, mode="discrete"))
        in_cell = self.kon / self.cell_um3
        for name, rate in (("kon", in_cell), ("koff", self.koff)):
            model.add_parameter(gillespy2.Parameter(name, expression=rate))
        apart, together = {"drug": 1, "site": 1}, {"bound": 1}
        model.add_reaction(gillespy2.Reaction("on", apart, together, rate="kon"))
        model.add_reaction(gillespy2.Reaction("off", together, apart, rate="koff"))
        self._timespan = gillespy2.TimeSpan
        self._solver = gillespy2.SSACSolver(model=model, variable=False)

    def run(self, steps: int) -> None:
        """Steps, after half as many more, whose cost is subtracted."""
        duration = steps * self.dt
        # Start and the way to equilibrium are in both runs, and cancel.
        short = self._timed(duration / 2)
        self.cpu_s += max(self._timed(1.5 * duration) - short, 0.0)
        self._events += 2 * self.koff * self.bound * duration

    def _timed(self, duration: float) -> float:
        self._solver.model.timespan(self._timespan.linspace(t=duration, num_points=11))
        # With one seed both runs would be the same path, and their difference no sample.
        self._seed += 1
        before = _children_s()
        states = self._solver.run(seed=self._seed)
        used = _children_s() - before
        self.bound = float(np.mean(np.asarray(states["bound"])[1:]))  # the first is the start
        return used

    @property
    def events(self) -> int | None:
        """Bindings and unbindings in the time so far, from the mean of the bound sites."""
        return round(self._events)


def _children_s() -> float:
    """CPU time of programs that were started from here and have ended, s."""
    times = os.times()
    with suppress(ImportError):  # finer than os.times, but not on Windows
        resource = import_module("resource")
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return float(used.ru_utime + used.ru_stime)
    return times.children_user + times.children_system


def smoldyn_python() -> Path | None:
    """The Python that has Smoldyn: the variable's, or that of ``.smoldyn`` where one works.

    Raises
    ------
    InputError
        If the variable names something else.
    """
    named = os.environ.get(SMOLDYN_VARIABLE)
    python = Path(named or Path.cwd() / _SMOLDYN_FOLDER)
    if python.is_dir():  # an environment
        # Smoldyn's wheels are for older Pythons, so it has an environment of its own.
        python = python / "bin" / "python"
    if _has_smoldyn(python):
        return python
    if named:
        allowed = "a Python 3.10 that can import smoldyn, or its environment's folder"
        raise InputError(SMOLDYN_VARIABLE, named, allowed, _UNUSED)
    return None


def _has_smoldyn(python: Path) -> bool:
    """Whether this Python can import Smoldyn."""
    try:
        done = subprocess.run([python, "-c", "import smoldyn"], capture_output=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
