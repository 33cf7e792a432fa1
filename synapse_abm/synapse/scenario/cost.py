"""What a run will cost, and in which regime it is: estimates made before anything runs."""

from __future__ import annotations

import math
from dataclasses import dataclass

from synapse_abm.synapse.scenario.parts import Description, Ligand, RunSettings
from synapse_abm.synapse.scenario.population import Population, population
from synapse_abm.synapse.scenario.protocol import number_of_events


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds that an engine takes for one of each.

    Attributes
    ----------
    hop, hop_of_replaced, landing
        A molecule in a step: its hop (where molecules have come and gone, holes among their
        numbers make each draw for itself), and being sorted into a cell that has sites.
    step, ligand, cell, channel_of_cell
        A step, a ligand in it, a cell with sites, and each kind of event there.
    event, channel_of_event, site
        An event, each kind of event that has to be weighed for it, and a site that is listed when
        a cell's events begin.
    replicate, made
        A replicate, and each molecule, site and tenth cell that is made for it.
    """

    hop: float
    hop_of_replaced: float
    landing: float
    step: float
    ligand: float
    cell: float
    channel_of_cell: float
    event: float
    channel_of_event: float
    site: float
    replicate: float
    made: float


#: Seconds on one core: about the middle between an idle and a busy machine, so that both lie within
#: the factor of three that estimates are held to (``python tests/estimates.py`` compares). The
#: speed of the machine itself is not measured: the same scenario always has the same estimate.
COSTS = {
    "compiled": Costs(
        hop=9e-9, hop_of_replaced=2.4e-8, landing=7e-9, step=2e-7, ligand=3e-7, cell=1.4e-8,
        channel_of_cell=8e-10, event=1.2e-7, channel_of_event=5e-9, site=1.2e-8,
        replicate=3e-3, made=4e-7,
    ),
    "agents": Costs(
        hop=9e-6, hop_of_replaced=9e-6, landing=0.0, step=4e-4, ligand=0.0, cell=1e-5,
        channel_of_cell=3e-6, event=4e-5, channel_of_event=2e-6, site=1.8e-6,
        replicate=3e-3, made=1.2e-5,
    ),
}  # fmt: skip
#: Seconds of a record, and of each number that its hash takes in.
RECORD_S, HASHED_S = 3e-6, 4e-8
#: Seconds of tables and averages for each number in them, of a figure's axes and curves, and of
#: all else that is written.
WRITTEN_S, FIGURE_S, PANEL_S, CURVE_S, REST_S = 3.5e-6, 0.25, 0.12, 0.025, 0.1
#: Seconds of a change in a run, and of theory for each record and change of a course: where each
#: molecule goes its own way, and where they meet.
CHANGE_S, OWN_WAY_S, MEETING_S = 6e-4, 5e-4, 8e-3
#: Curves that a panel of the figure shows at most (those of ``plotting``).
CURVES = 12
#: Bytes for each molecule's row (twice, because a step may be taken again), site, cell and number
#: recorded; cells count because tables of what happens in them are made.
ROW, SITE, CELL, RECORDED = 80, 160, 40, 24


@dataclass(frozen=True, slots=True)
class CostEstimate:
    """Estimates of a run, within a factor of three.

    They take the place as well mixed (:mod:`population`). Where molecules pile up in cells, or bind
    again where they left, far from the mean field, a run may take longer or shorter.

    Attributes
    ----------
    steps, samples
        Steps and records of one replicate.
    molecules
        Most real molecules that are there at a time.
    molecule_steps, events
        Over all replicates.
    simulation_s
        Time of the simulation on one core, s; all replicates.
    seconds, bytes
        Time with figure and tables (without the start of the program and compilation), memory.
    """

    steps: int
    samples: int
    molecules: float
    molecule_steps: float
    events: float
    simulation_s: float
    seconds: float
    bytes: float


def steps_per_sample(scenario: Description, run: RunSettings) -> int:
    """Steps between two records, at least one."""
    return max(1, round(run.sample_s / scenario.dt_s))


def samples(scenario: Description, run: RunSettings) -> int:
    """Records of one replicate."""
    sample_s = steps_per_sample(scenario, run) * scenario.dt_s
    return max(1, round(run.duration_s / sample_s))


def expected_molecules(scenario: Description, ligand: Ligand, seconds: float) -> float:
    """Most real molecules of a kind, about."""
    if ligand.clamped_nM is not None:
        return 0.0
    number = float(ligand.count)
    if ligand.reservoir:
        sites = sum(scenario.targets[t].n_sites for t in ligand.binding if t in scenario.targets)
        copies = ligand.reservoir.concentration_nM * scenario.grid.molecules_per_nM
        # Sites fill up from the reservoir, unless it is empty (or as good as empty).
        number += copies + min(sites, copies * 1e6)
    lost = ligand.loss_per_s
    lasting = min(seconds, 1 / lost) if lost > 0 else seconds
    for batch in ligand.batches:
        due = sum(time <= seconds for time in batch.times_s)
        number += batch.size * (batch.rate_per_s * lasting + due)
    return number


def memory_bytes(
    scenario: Description, seconds: float, records: float, replicates: int = 1
) -> float:
    """Memory that a run takes, bytes, about."""
    molecules = sum(expected_molecules(scenario, x, seconds) for x in scenario.ligands.values())
    if seconds > 0:  # what sites take in, or is taken up and stays inside, comes to more
        molecules = max(molecules, population(scenario, seconds).most)
    sites = scenario.n_sites
    pairs = sum(len(ligand.binding) for ligand in scenario.ligands.values())
    numbers = 4 * pairs + len(scenario.targets) + 8 * len(scenario.ligands)
    tables = scenario.grid.cells * CELL + sites * (SITE + 4 * numbers)
    return 2e8 + molecules * ROW + tables + records * replicates * numbers * RECORDED


def estimate_cost(scenario: Description) -> CostEstimate:
    """Estimates for a scenario that says how long it is run."""
    run = scenario.run
    assert run is not None
    every, records = steps_per_sample(scenario, run), samples(scenario, run)
    steps, people = every * records, population(scenario, run.duration_s)
    simulation_s = run.replicates * _replicate_s(scenario, run, steps, records, people)
    curves = _curves(scenario)
    figure_s = FIGURE_S + sum(PANEL_S + CURVE_S * min(n, CURVES) for n in curves if n)
    written = records * run.replicates * (2 + sum(curves))
    seconds = simulation_s + figure_s + written * WRITTEN_S + REST_S
    seconds += _theory_s(scenario, records)
    size = memory_bytes(scenario, run.duration_s, records, run.replicates)
    work, events = people.present * steps, people.events_per_s * run.duration_s
    return CostEstimate(
        steps, records, people.most, work * run.replicates, events * run.replicates,
        simulation_s, seconds, size,
    )  # fmt: skip


def _theory_s(scenario: Description, records: int) -> float:
    """Time of the theory of a course."""
    run = scenario.run
    assert run is not None
    if run.burn_in_s > 0 and not scenario.at:
        return 0.0
    meets = any(x.binding and x.clamped_nM is None for x in scenario.ligands.values())
    changes = number_of_events(scenario, scenario.dt_s)
    pieces = min(records, 2000) + min(changes, 200 if meets else 10_000)
    return pieces * (MEETING_S if meets else OWN_WAY_S)


def _replicate_s(
    scenario: Description, run: RunSettings, steps: int, records: int, people: Population
) -> float:
    """Time of one replicate."""
    cost, cells = COSTS[run.engine], scenario.grid.cells
    active = active_cells(scenario)
    sites = scenario.n_sites
    channels = _channels(scenario)
    work, share = people.present * steps, active / cells
    replaced = people.entries_per_s * run.duration_s > people.present
    hop = cost.hop_of_replaced if replaced else cost.hop
    moves = cells > 1 or run.engine == "agents"  # agents are asked in one cell, too
    events = people.events_per_s * run.duration_s
    # Cells whose clock runs in a step list all their sites, however few events there are.
    busy = -math.expm1(-events / (steps * max(active, 1.0)))
    if run.engine == "agents":
        busy = 1.0
    return (
        cost.replicate + cost.made * (people.most + sites + cells / 10)
        + work * (hop * moves + cost.landing * share)
        + steps * (cost.step + len(scenario.ligands) * cost.ligand)
        + steps * active * (cost.cell + channels * cost.channel_of_cell)
        + steps * busy * (sites * cost.site + active * cost.event * (run.engine == "compiled"))
        # in cells without sites, coming and going has a closed form
        + events * (cost.event + channels * cost.channel_of_event) * (0.45 + 0.55 * min(share, 1))
        + number_of_events(scenario, scenario.dt_s) * CHANGE_S
        + records * (RECORD_S + HASHED_S * (4 * people.present + sites))
    )  # fmt: skip


def active_cells(scenario: Description) -> float:
    """Cells with sites or batches, about: those of scattered targets overlap by chance."""
    # Of scattered targets, each cell is free of a target's sites by a share that multiplies.
    cells, listed, without = scenario.grid.cells, set[tuple[int, int]](), 1.0
    for target in scenario.targets.values():
        listed.update(target.cells or ())
        without *= 1 - min(target.sites or 0, cells) / cells
    for ligand in scenario.ligands.values():
        listed.update(batch.cell for batch in ligand.batches)
    return len(listed) + (cells - len(listed)) * (1 - without)


def _channels(scenario: Description) -> int:
    """Kinds of events that a cell with sites weighs against each other."""
    number = 0
    for ligand in scenario.ligands.values():
        rates = [rate for k in ligand.binding.values() for rate in (k.kon, k.koff, k.kcat_per_s)]
        rates += [ligand.return_per_s, ligand.metabolism_per_s, ligand.degradation_per_s]
        rates += 2 * [ligand.exit_per_s]
        rates.append(sum(batch.rate_per_s for batch in ligand.batches))
        number += sum(rate > 0 for rate in rates)
    return number


def _curves(scenario: Description) -> tuple[int, int, int]:
    """Recorded occupancies, free ligands and fluxes: a panel for each of the three."""
    ligands = scenario.ligands.values()
    pairs = [(t, k) for ligand in ligands for t, k in ligand.binding.items()]
    return (
        sum(scenario.targets[target].n_sites > 0 for target, _ in pairs),
        sum(ligand.clamped_nM is None for ligand in ligands),
        sum(kinetics.kcat_per_s > 0 for _, kinetics in pairs),
    )


def events_per_s(scenario: Description, seconds: float) -> float:
    """Events per second of simulated time, at most about."""
    rate = 0.0
    for ligand in scenario.ligands.values():
        there = expected_molecules(scenario, ligand, seconds)
        rate += 2 * ligand.exit_per_s * there + ligand.degradation_per_s * there
        rate += sum(batch.rate_per_s * batch.size for batch in ligand.batches)
        for target, kinetics in ligand.binding.items():
            sites = scenario.targets[target].n_sites
            off = kinetics.koff + kinetics.kcat_per_s
            on = kinetics.kon * nominal_nM(scenario, ligand, seconds)
            rate += 2 * sites * (on * off / (on + off) if on + off > 0 else 0.0)
    return rate


def nominal_nM(scenario: Description, ligand: Ligand, seconds: float = 0.0) -> float:
    """Concentration as a textbook would take it: clamped, of the reservoir, or count by volume."""
    if ligand.clamped_nM is not None:
        return ligand.clamped_nM
    if ligand.reservoir is not None:
        return ligand.reservoir.concentration_nM
    return expected_molecules(scenario, ligand, seconds) / scenario.grid.molecules_per_nM


# --- regimes --------------------------------------------------------------------------------------


def mixing_ratio(scenario: Description, name: str, target: str) -> float:
    """How much slower diffusion makes binding: k_on per site over the rate of diffusive arrival.

    Below about 0.1 a place is well mixed for this pair. Arrival is that of a disc of a cell's area
    in its share of the plane, 2 pi D depth / ln(R / a).
    """
    ligand, grid = scenario.ligands[name], scenario.grid
    if ligand.clamped_nM is not None or grid.cells == 1 or not scenario.targets[target].n_sites:
        return 0.0
    if ligand.diffusion_um2_per_s == 0:
        return math.inf
    # R / a: distance to the next site over a cell's radius; half a logarithm of areas.
    occupied = min(scenario.targets[target].n_sites, grid.cells)
    apart = max(math.log(grid.cells / occupied) / 2, 0.5)
    arrival = 2 * math.pi * ligand.diffusion_um2_per_s * grid.depth_um / apart
    kon_um3_per_s = ligand.binding[target].kon * grid.volume_um3 / grid.molecules_per_nM
    return kon_um3_per_s * max(1.0, scenario.targets[target].n_sites / grid.cells) / arrival


def depletion(scenario: Description, name: str) -> float:
    """Share of a closed ligand's molecules that binding would take out of solution, 0 to 1.

    Mean field, one target after the other: for a warning, not for a result.
    """
    ligand = scenario.ligands[name]
    if not ligand.count or ligand.reservoir or ligand.clamped_nM is not None:
        return 0.0
    volume, total = scenario.grid.molecules_per_nM, ligand.count / scenario.grid.molecules_per_nM
    bound = 0.0
    for target, kinetics in ligand.binding.items():
        if kinetics.kon > 0:
            # Morrison's quadratic: bound = x with (sites - x) (total - x) = K x; the smaller root.
            sites = scenario.targets[target].n_sites / volume
            s = sites + total + kinetics.half_nM
            bound += (s - math.sqrt(max(s * s - 4 * sites * total, 0.0))) / 2
    return min(1.0, bound / total)


def settling_s(scenario: Description, name: str, target: str) -> float:
    """Time (s) in which an occupancy that starts at nothing has come to 1 - 1/e of its end, about.

    Binding takes 1/(k_off + k_cat + k_on C / (1 + sum of C/K of competitors)), longer where mixing
    is slow; molecules that sites take have to come in through the exchange of a reservoir.
    """
    ligand, kinetics = scenario.ligands[name], scenario.ligands[name].binding[target]
    competitors = sum(load(scenario, x, target) for x in scenario.ligands if x != name)
    on = kinetics.kon * nominal_nM(scenario, ligand) / (1 + competitors)
    off = kinetics.koff + kinetics.kcat_per_s
    binding = (1 + mixing_ratio(scenario, name, target)) / (on + off) if on + off > 0 else math.inf
    if ligand.reservoir is None or ligand.reservoir.concentration_nM == 0:
        return binding
    # Sites are filled by what comes in: as often as the free molecules have to be replaced.
    taken = 0.0
    for other in ligand.binding:
        x = load(scenario, name, other)
        taken += scenario.targets[other].n_sites * (x / (1 + x) if x < math.inf else 1.0)
    there = ligand.reservoir.concentration_nM * scenario.grid.molecules_per_nM
    exchange = ligand.reservoir.exchange_per_s
    return binding + ((1 + taken / there) / exchange if exchange > 0 else math.inf)


def load(scenario: Description, name: str, target: str) -> float:
    """C/K of a ligand at a target: 0 if it does not bind there, infinite if it never leaves."""
    kinetics = scenario.ligands[name].binding.get(target)
    concentration = nominal_nM(scenario, scenario.ligands[name])
    if kinetics is None or kinetics.kon == 0 or concentration == 0:
        return 0.0
    return concentration / kinetics.half_nM if kinetics.half_nM > 0 else math.inf


def residual_transient(run: RunSettings, settling: float) -> float:
    """Share of the way up that an average after the burn-in still lacks, 0 to 1."""
    window = run.duration_s - run.burn_in_s
    if math.isinf(settling):
        return 1.0
    # Mean of exp(-t / settling) over what follows the burn-in.
    lacking = math.exp(-run.burn_in_s / settling) * -math.expm1(-window / settling)
    return lacking * settling / window


def is_present(ligand: Ligand) -> bool:
    """Whether there is any of it, ever."""
    supplied = ligand.count or ligand.clamped_nM is not None or ligand.reservoir is not None
    return bool(supplied) or any(batch.rate_per_s or batch.times_s for batch in ligand.batches)


def regime_warnings(scenario: Description) -> list[str]:
    """Where the textbook's assumptions fail: mixing, depletion, few copies of nothing to see."""
    said = []
    for name, ligand in scenario.ligands.items():
        if not ligand.binding:
            said.append(f"{name} binds to no target")
        if not is_present(ligand) and not any(name in at.add for at in scenario.at):
            said.append(f"there is no {name}: give it a count, clamped, a reservoir or batches")
        never = [n for n, x in enumerate(ligand.batches) if not (x.rate_per_s or x.times_s)]
        said += [f"batches[{n}] of {name} never comes: give it a rate or times" for n in never]
        for target in ligand.binding:
            ratio = mixing_ratio(scenario, name, target)
            if ratio >= 0.1:
                said.append(
                    f"not well mixed: {name} binds {target} {ratio:.2g} times as fast as diffusion "
                    "brings it; expect rebinding, slower kinetics, and gradients where it is driven"
                )
        share = depletion(scenario, name)
        if share > 0.05:
            said.append(
                f"depletion expected: sites take about {100 * share:.0f} % of {name} out of "
                "solution; the hyperbola on the total concentration will be wrong"
            )
    return said
