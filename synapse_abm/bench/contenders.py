"""Everything that is timed, with one interface: take so many steps, then say what was seen.

A further simulator joins the bench as another :class:`Contender`.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import mesa

from synapse_abm.bench.generator import draw_words
from synapse_abm.bench.plain_mesa import PlainMesa
from synapse_abm.bench.scenarios import LIGAND, TARGET, koff_dt_of, molecules_of, sites_of
from synapse_abm.core.units import pair_rate_per_s
from synapse_abm.synapse.agents.model import Engine, SynapseModel
from synapse_abm.synapse.engine.layout import BIND, PAIR_EVENTS, UNBIND
from synapse_abm.synapse.scenario.definition import Scenario

GENERATOR, COMPILED, HOP_ALONE = "generator alone", "compiled engine", "hop alone"
ONE_CELL, ONE_CELL_CLAMPED = "one cell", "one cell, clamped"
AGENTS, PLAIN_MESA = "agents engine", "plain Mesa"

# In 1 / k_off. At C = Kd a site relaxes at the rate 2 k_off: what is left of the start is exp(-10).
_BURN_IN = 5.0


@dataclass(frozen=True, slots=True)
class Label:
    """What is timed: columns of the table."""

    engine: str
    molecules: int
    sites: int
    koff_dt: float | None
    well_mixed: bool = False
    version: str = ""  # of a program that is not ours

    @classmethod
    def of(cls, engine: str, scenario: Scenario, version: str = "") -> Label:
        """The label of a scenario on an engine."""
        return cls(
            engine,
            molecules_of(scenario),
            sites_of(scenario),
            koff_dt_of(scenario),
            well_mixed=scenario.grid.cells == 1,
            version=version,
        )

    @property
    def burn_in(self) -> int:
        """Steps from the start to equilibrium."""
        return math.ceil(_BURN_IN / self.koff_dt) if self.koff_dt else 1


class Contender:
    """Something that takes steps, in this process unless it says otherwise."""

    label: Label

    def run(self, steps: int) -> None:
        """Take ``steps`` steps; this is what is timed."""
        raise NotImplementedError

    def clock(self) -> float:
        """CPU time (s) of what is timed, whatever process it is in: differences mean something."""
        # Of all threads of the process: one that used more than one would be charged for it.
        return time.process_time()

    def close(self) -> None:
        """Give up what outlives the object, once everything is timed."""

    @property
    def bound_fraction(self) -> float | None:
        """Share of the sites that are bound, in the latest run; None without sites."""
        return None

    @property
    def events(self) -> int | None:
        """Bindings and unbindings since the start; None if they are not counted."""
        return None


class Synapse(Contender):
    """The program's own model on either engine, run as a user would, with sampling."""

    def __init__(self, name: str, scenario: Scenario, engine: Engine = "compiled") -> None:
        self.label = Label.of(name, scenario)
        self.model = SynapseModel(scenario, rng=1, engine=engine)

    def run(self, steps: int) -> None:
        """Steps with about a thousand samples of all counts and events."""
        self._series = self.model.run(steps)

    @property
    def bound_fraction(self) -> float | None:
        """Mean share of the sites that were bound."""
        if not self.label.sites:
            return None
        return float(self._series.occupancy(TARGET, LIGAND).mean())

    @property
    def events(self) -> int | None:
        """Bindings and unbindings since the start."""
        if not self.label.sites:
            return None
        kinds = (PAIR_EVENTS[BIND], PAIR_EVENTS[UNBIND])
        return sum(int(self._series.count(kind, LIGAND, TARGET)[-1]) for kind in kinds)


class Generator(Contender):
    """Random words and nothing else."""

    def __init__(self, molecules: int) -> None:
        self.label = Label(GENERATOR, molecules, 0, None)

    def run(self, steps: int) -> None:
        """One word for each molecule in each step."""
        draw_words(self.label.molecules, steps)


class PlainMesaModel(Contender):
    """The plain Mesa model of a scenario."""

    def __init__(self, scenario: Scenario) -> None:
        self.label = Label.of(PLAIN_MESA, scenario, mesa.__version__)
        ligand, grid, dt = scenario.ligands[LIGAND], scenario.grid, scenario.dt_s
        kinetics = ligand.binding[TARGET]
        in_cell = pair_rate_per_s(kinetics.kon, grid.cell_volume_um3)
        # The customary rules: one hop to a neighbour in a step (its mean square is 4 D dt), and one
        # chance to bind or unbind. That they are biased is told where the model is.
        self.model = PlainMesa(
            grid.width,
            self.label.molecules,
            self.label.sites,
            p_hop=4 * ligand.diffusion_um2_per_s * dt / grid.spacing_um**2,
            p_bind=-math.expm1(-in_cell * dt),
            p_unbind=-math.expm1(-kinetics.koff * dt),
            rng=1,
        )

    def run(self, steps: int) -> None:
        """Steps without sampling, which would cost extra."""
        for _ in range(steps):
            self.model.step()

    @property
    def bound_fraction(self) -> float | None:
        """Share of the sites that are bound now."""
        return self.model.bound_fraction
