"""How fast the program is, beside what a user might use instead.

Question: molecule-steps and events per second of both engines, of the generator and the hop alone,
of a plain Mesa model, and of Smoldyn, ReaDDy and GillesPy2 where installed. Method: contenders
take turns in short repetitions (``timing``); peers are compared at equal size within one run
(``peers`` says how each is set up). Run time: a minute, with all peers two.
Speed is measured, never judged: no test depends on it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from synapse_abm.bench import contenders as names
from synapse_abm.bench import peers as others
from synapse_abm.bench.contenders import Contender, Generator, PlainMesaModel, Synapse
from synapse_abm.bench.replicates import Replicates, replicates
from synapse_abm.bench.report import BenchReport
from synapse_abm.bench.scenarios import half_bound, hop_alone, one_cell
from synapse_abm.bench.startup import build, second_process
from synapse_abm.bench.timing import Row, race
from synapse_abm.core.progress import Progress, silent

__all__ = ["BenchReport", "Effort", "Replicates", "Row", "bench"]

KOFF_DT, FAST_KOFF_DT = 0.05, 1.2  # few and many events per site and step
ONE_CELL_KOFF_DT = 10.0


@dataclass(frozen=True, slots=True)
class Effort:
    """Sizes and lengths of a bench.

    Parameters
    ----------
    molecules
        Sizes of the compiled engine.
    reference
        The size at which the generator, hop alone, fast binding and plain Mesa are timed.
    agents
        Size of the agents engine.
    one_cell_sites
        Sites of the 1 x 1 case, with twice as many molecules.
    build
        Size of the model whose building is timed.
    rounds, repetition_s
        How often each contender is timed, and for how long (s).
    processes
        New processes whose start is timed.
    replicates
        Short runs of a round, set up by themselves and as replicates.
    peers
        Whether other people's simulators take part.
    """

    molecules: tuple[int, ...] = (1_000, 10_000, 100_000, 1_000_000)
    reference: int = 10_000
    agents: int = 1_000
    one_cell_sites: int = 500
    build: int = 100_000
    rounds: int = 15
    repetition_s: float = 0.15
    processes: int = 2
    replicates: int = 256
    peers: bool = True


def bench(effort: Effort = Effort(), progress: Progress = silent) -> BenchReport:
    """Measure everything, at a given effort."""
    build_s, state_bytes = build(effort.build, KOFF_DT)
    makers = progress(_makers(effort), label="building")
    # A generator: each is built, and warmed up, before the next one takes memory.
    rows = race((make() for make in makers), effort.rounds, effort.repetition_s, progress)
    started = second_process(half_bound(100, KOFF_DT), effort.processes)
    import_s, kernel_load_s = started or (None, None)
    short = replicates(effort.replicates, 64, effort.rounds, progress)
    return BenchReport(
        rows, effort.build, build_s, state_bytes, import_s, kernel_load_s, short,
        not_installed=others.missing() if effort.peers else {},
    )  # fmt: skip


def _makers(effort: Effort) -> list[Callable[[], Contender]]:
    """What builds each contender, in the order of the table."""
    reference = effort.reference
    grid = half_bound(reference, KOFF_DT)
    # The same binding with molecules that run out and with a reservoir that does not.
    mixed, clamped = (
        one_cell(effort.one_cell_sites, ONE_CELL_KOFF_DT, clamped=fixed) for fixed in (False, True)
    )
    compiled = [(n, KOFF_DT) for n in effort.molecules] + [(reference, FAST_KOFF_DT)]
    return [
        lambda: Generator(reference),
        lambda: Synapse(names.HOP_ALONE, hop_alone(reference)),
        *(lambda n=n, k=k: Synapse(names.COMPILED, half_bound(n, k)) for n, k in compiled),
        lambda: Synapse(names.ONE_CELL, mixed),
        lambda: Synapse(names.ONE_CELL_CLAMPED, clamped),
        lambda: Synapse(names.AGENTS, half_bound(effort.agents, KOFF_DT), "agents"),
        lambda: PlainMesaModel(grid),
        *(others.makers(grid, mixed) if effort.peers else ()),
    ]
