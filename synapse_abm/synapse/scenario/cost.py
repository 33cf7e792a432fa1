"""What a run will cost, and in which regime it is: estimates made before anything runs."""

from __future__ import annotations

import math
from dataclasses import dataclass

from synapse_abm.synapse.scenario.parts import Description, Ligand, RunSettings

#: Seconds that a molecule that hops, an event, a step, and a cell with sites take in a step; beside
#: them, what each kind of event adds to an event and to such a cell. Fitted to 60 random scenarios
#: on one core (1 to 65,536 cells, 1 to 6 ligands and targets, 10 to 300,000 steps).
COSTS = {
    "compiled": (2.5e-8, 1.2e-7, 5e-7, 7e-9, 2e-9),
    "agents": (7e-6, 3e-5, 3e-4, 4e-5, 2e-6),
}
#: Seconds of a record, and of each number that its hash takes in.
RECORD_S, HASHED_S = 6e-6, 4e-8
#: Seconds of figure, tables and averages: at least, and for each number in the tables.
OUTPUT_S, WRITTEN_S = 1.5, 6e-6
#: Bytes for each molecule's row (twice, because a step may be taken again), site, cell and number
#: recorded; cells count because tables of what happens in them are made.
ROW, SITE, CELL, RECORDED = 80, 160, 40, 24


@dataclass(frozen=True, slots=True)
class CostEstimate:
    """Estimates of a run, within a factor of three for most.

    They take binding as if nothing were depleted and every site independent. Where molecules pile
    up in cells, or a k_on is beyond diffusion, a run may take longer; an estimate of what is
    released without being lost grows with the time.

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
    found = float(ligand.count)
    if ligand.reservoir:
        sites = sum(scenario.targets[t].n_sites for t in ligand.binding if t in scenario.targets)
        copies = ligand.reservoir.concentration_nM * scenario.grid.molecules_per_nM
        found += copies + min(sites, copies * 1e6)
    lost = ligand.degradation_per_s + (ligand.reservoir.exchange_per_s if ligand.reservoir else 0.0)
    lasting = min(seconds, 1 / lost) if lost > 0 else seconds
    for batch in ligand.batches:
        due = sum(time <= seconds for time in batch.times_s)
        found += batch.size * (batch.rate_per_s * lasting + due)
    return found


def memory_bytes(
    scenario: Description, seconds: float, records: float, replicates: int = 1
) -> float:
    """Memory that a run takes, bytes, about."""
    molecules = sum(expected_molecules(scenario, x, seconds) for x in scenario.ligands.values())
    sites = sum(target.n_sites for target in scenario.targets.values())
    pairs = sum(len(ligand.binding) for ligand in scenario.ligands.values())
    numbers = 4 * pairs + len(scenario.targets) + 8 * len(scenario.ligands)
    tables = scenario.grid.cells * CELL + sites * (SITE + 4 * numbers)
    return 2e8 + molecules * ROW + tables + records * replicates * numbers * RECORDED


def estimate_cost(scenario: Description) -> CostEstimate:
    """Estimates for a scenario that says how long it is run."""
    run = scenario.run
    assert run is not None
    every, records = steps_per_sample(scenario, run), samples(scenario, run)
    steps = every * records
    parts, names = scenario.ligands.values(), len(scenario.ligands)
    most = sum(expected_molecules(scenario, x, run.duration_s) for x in parts)
    present = sum(mean_molecules(scenario, x, run.duration_s) for x in parts)
    events = run.replicates * run.duration_s * _mean_events_per_s(scenario, run.duration_s)
    sites = sum(target.n_sites for target in scenario.targets.values())
    kinds = names + sum(len(ligand.binding) for ligand in parts)
    taken = steps * run.replicates
    work = present * taken
    hop, event, step, cell, kind = COSTS[run.engine]
    simulation_s = (
        work * hop * (scenario.grid.cells > 1)
        + events * (event + kind * kinds)
        + taken * step
        + taken * min(sites, scenario.grid.cells) * (cell + kind * kinds)
        + records * run.replicates * (RECORD_S + HASHED_S * (4 * present + sites))
    )
    written = records * run.replicates * (2 + kinds)
    seconds = simulation_s + OUTPUT_S + written * WRITTEN_S
    size = memory_bytes(scenario, run.duration_s, records, run.replicates)
    return CostEstimate(steps, records, most, work, events, simulation_s, seconds, size)


def mean_molecules(scenario: Description, ligand: Ligand, seconds: float) -> float:
    """Real molecules of a kind, mean over the run: dN/dt = source - loss N from the count on."""
    if ligand.clamped_nM is not None:
        return 0.0
    source, loss = _arrivals_per_s(scenario, ligand), ligand.degradation_per_s
    loss += ligand.reservoir.exchange_per_s if ligand.reservoir else 0.0
    at_once = sum(batch.size * len(batch.times_s) for batch in ligand.batches)
    if loss == 0:
        return ligand.count + at_once + source * seconds / 2
    left = -math.expm1(-loss * seconds) / (
        loss * seconds
    )  # of those there at the start, on average
    return (ligand.count + at_once) * left + source / loss * (1 - left)


def _arrivals_per_s(scenario: Description, ligand: Ligand) -> float:
    rate = sum(batch.size * batch.rate_per_s for batch in ligand.batches)
    if ligand.reservoir:
        copies = ligand.reservoir.concentration_nM * scenario.grid.molecules_per_nM
        rate += ligand.reservoir.exchange_per_s * copies
    return rate


def _mean_events_per_s(scenario: Description, seconds: float) -> float:
    """Events per second, mean over the run; :func:`events_per_s` is what they may come to."""
    rate = 0.0
    for ligand in scenario.ligands.values():
        present = mean_molecules(scenario, ligand, seconds)
        exchanged = ligand.reservoir.exchange_per_s if ligand.reservoir else 0.0
        rate += _arrivals_per_s(scenario, ligand) + present * (ligand.degradation_per_s + exchanged)
        there_nM = ligand.clamped_nM or present / scenario.grid.molecules_per_nM
        for target, kinetics in ligand.binding.items():
            off, on = kinetics.koff + kinetics.kcat_per_s, kinetics.kon * there_nM
            bound = scenario.targets[target].n_sites * (on / (on + off) if on + off > 0 else 0.0)
            rate += 2 * off * (bound if ligand.clamped_nM else min(bound, present))
    return rate


def events_per_s(scenario: Description, seconds: float) -> float:
    """Events per second of simulated time, at most about."""
    rate = 0.0
    for ligand in scenario.ligands.values():
        there = expected_molecules(scenario, ligand, seconds)
        exchanged = ligand.reservoir.exchange_per_s if ligand.reservoir else 0.0
        rate += 2 * exchanged * there + ligand.degradation_per_s * there
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
    binding = 0.0
    for target, kinetics in ligand.binding.items():
        if kinetics.kon > 0:
            half = (kinetics.koff + kinetics.kcat_per_s) / kinetics.kon
            seats = scenario.targets[target].n_sites / volume
            s = seats + total + half
            binding += (s - math.sqrt(max(s * s - 4 * seats * total, 0.0))) / 2
    return min(1.0, binding / total)


def settling_s(scenario: Description, name: str, target: str) -> float:
    """Time (s) in which an occupancy that starts at nothing has come to 1 - 1/e of its end, about.

    Binding takes 1/(k_off + k_cat + k_on C / (1 + sum of C/K of the rivals)), longer where mixing
    is slow; molecules that sites take have to come in through the exchange of a reservoir.
    """
    ligand, kinetics = scenario.ligands[name], scenario.ligands[name].binding[target]
    rivals = 1 + sum(_strength(scenario, x, target) for x in scenario.ligands if x != name)
    on = kinetics.kon * nominal_nM(scenario, ligand) / rivals
    off = kinetics.koff + kinetics.kcat_per_s
    found = (1 + mixing_ratio(scenario, name, target)) / (on + off) if on + off > 0 else math.inf
    if ligand.reservoir is None or ligand.reservoir.concentration_nM == 0:
        return found
    taken = 0.0
    for each in ligand.binding:
        x = _strength(scenario, name, each)
        taken += scenario.targets[each].n_sites * (x / (1 + x) if x < math.inf else 1.0)
    there = ligand.reservoir.concentration_nM * scenario.grid.molecules_per_nM
    exchange = ligand.reservoir.exchange_per_s
    return found + ((1 + taken / there) / exchange if exchange > 0 else math.inf)


def _strength(scenario: Description, name: str, target: str) -> float:
    """C/K of a ligand at a target; 0 if it does not bind there."""
    ligand = scenario.ligands[name]
    kinetics = ligand.binding.get(target)
    if kinetics is None or kinetics.kon == 0:
        return 0.0
    off = kinetics.koff + kinetics.kcat_per_s
    on = kinetics.kon * nominal_nM(scenario, ligand)
    return on / off if off > 0 else math.inf if on > 0 else 0.0


def residual_transient(run: RunSettings, settling: float) -> float:
    """Share of the way up that an average after the burn-in still lacks, 0 to 1."""
    window = run.duration_s - run.burn_in_s
    if math.isinf(settling):
        return 1.0
    lacking = math.exp(-run.burn_in_s / settling) * -math.expm1(-window / settling)
    return lacking * settling / window


def is_present(ligand: Ligand) -> bool:
    """Whether there is any of it, ever."""
    supplied = ligand.count or ligand.clamped_nM is not None or ligand.reservoir is not None
    return bool(supplied) or any(each.rate_per_s or each.times_s for each in ligand.batches)


def regime_warnings(scenario: Description) -> list[str]:
    """Where the textbook's assumptions fail: mixing, depletion, few copies of nothing to see."""
    said = []
    for name, ligand in scenario.ligands.items():
        if not ligand.binding:
            said.append(f"{name} binds to no target")
        if not is_present(ligand):
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
