"""A scenario as a table for people: what was given, what follows from it, and what to beware of."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from synapse_abm.pharmacology.library import library, own_file
from synapse_abm.pharmacology.records import FASTEST_KON
from synapse_abm.synapse.scenario.assumed import depth_remark, diffusion_remark, rate_remarks
from synapse_abm.synapse.scenario.cost import (
    CostEstimate,
    estimate_cost,
    regime_warnings,
)
from synapse_abm.synapse.scenario.mesh import mesh_warnings
from synapse_abm.synapse.scenario.parts import Description, Ligand
from synapse_abm.synapse.scenario.protocol_summary import protocol_rows
from synapse_abm.synapse.scenario.rate_adjustment import Adjustment, Pair, adjustments
from synapse_abm.synapse.scenario.stationary import lacking
from synapse_abm.synapse.scenario.step_error import in_cell_rate
from synapse_abm.synapse.scenario.timestep import reason, step_warnings

type Row = tuple[str, str]


def scenario_text(scenario: Description) -> str:
    """The table."""
    adjusted = adjustments(scenario, scenario.dt_s)
    sections = [
        (f"Scenario: {scenario.name}", list(_place(scenario))),
        *((f"Target {name}", [row]) for name, row in _targets(scenario)),
        *((f"Ligand {name}", list(_ligand(scenario, name, adjusted))) for name in scenario.ligands),
        ("Run", list(_run(scenario))),
    ]
    if protocol := list(protocol_rows(scenario)):
        sections.insert(-1, ("Protocol", protocol))
    width = max(len(label) for _, rows in sections for label, _ in rows)
    lines = list[str]()
    for title, rows in sections:
        lines += [title, *(f"  {label:{width}}  {value}" for label, value in rows)]
    return "\n".join([*lines, *(f"! {warning}" for warning in warnings(scenario))])


def warnings(scenario: Description) -> list[str]:
    """What to beware of: names, the step, the regime, the mesh and the burn-in."""
    return [
        *_misnamed(scenario),
        *_faster_than_diffusion(scenario),
        *step_warnings(scenario),
        *regime_warnings(scenario),
        *mesh_warnings(scenario),
        *_residual_transients(scenario),
        *_sampling(scenario),
    ]


def _place(scenario: Description) -> Iterator[Row]:
    grid = scenario.grid
    if grid.cells == 1:
        volume = f"{_n(grid.volume_um3)} um^3{depth_remark(grid)}"
        yield "place", f"one well-mixed cell of {volume}"
    else:
        size = f"{grid.width} x {grid.height} cells of {_n(grid.spacing_um)} um"
        yield (
            "place",
            f"{size}, {_n(grid.depth_um)} um deep{depth_remark(grid)}, {grid.walls} walls",
        )
        yield "volume", f"{_n(grid.volume_um3)} um^3"
    yield "1 nM is", f"{_n(grid.molecules_per_nM)} molecules"


def _targets(scenario: Description) -> Iterator[tuple[str, Row]]:
    for name, target in scenario.targets.items():
        where = "in given cells" if target.cells is not None else "scattered"
        amount = target.n_sites / scenario.grid.molecules_per_nM
        yield name, (target.kind, f"{target.n_sites} sites, {where}; as a solute {_n(amount)} nM")


def _ligand(scenario: Description, name: str, adjusted: Mapping[Pair, Adjustment]) -> Iterator[Row]:
    ligand = scenario.ligands[name]
    if ligand.taken_from:
        yield "constants", f"of {ligand.taken_from}, where not given (list --drugs shows sources)"
    yield from _supply(scenario, ligand)
    if ligand.clamped_nM is None:
        diffusion = f"{_n(ligand.diffusion_um2_per_s)} um^2/s{diffusion_remark(ligand)}"
        yield "diffusion", diffusion
    for label, rate in (
        ("returns", ligand.return_per_s),
        ("metabolised inside", ligand.metabolism_per_s),
        ("degraded", ligand.degradation_per_s),
    ):
        if rate:
            yield label, f"{_n(rate)} /s"
    for target in ligand.binding:
        pair = adjusted.get((target, name))
        yield f"at {target}", ", ".join(_constants(scenario, name, target, pair))


def _supply(scenario: Description, ligand: Ligand) -> Iterator[Row]:
    per_nM = scenario.grid.molecules_per_nM
    if ligand.clamped_nM is not None:
        yield "clamped", f"{_n(ligand.clamped_nM)} nM"
        return
    where = f" in cell {ligand.start_cell}" if ligand.start_cell is not None else ""
    if ligand.count or not (ligand.reservoir or ligand.batches):
        yield "molecules", f"{ligand.count}{where} ({_n(ligand.count / per_nM)} nM)"
    if ligand.reservoir:
        copies = ligand.reservoir.concentration_nM * per_nM
        yield (
            "reservoir",
            f"{_n(ligand.reservoir.concentration_nM)} nM ({_n(copies)} free molecules), "
            f"exchange {_n(ligand.reservoir.exchange_per_s)} /s",
        )
    for batch in ligand.batches:
        when = f"{_n(batch.rate_per_s)} /s" if batch.rate_per_s else ""
        times = f"{len(batch.times_s)} given times" if batch.times_s else ""
        how = " and at ".join(filter(None, (when, times))) or "never"
        yield "released", f"{batch.size} molecules in cell {batch.cell}, {how}"


def _constants(
    scenario: Description, name: str, target: str, adjusted: Adjustment | None
) -> Iterator[str]:
    kinetics = scenario.ligands[name].binding[target]
    kon, koff, kcat = rate_remarks(scenario.ligands[name], target)
    if kinetics.kon > 0:
        yield f"Kd {_n(kinetics.koff / kinetics.kon)} nM"
    yield f"k_on {_n(kinetics.kon)} /(nM s){kon}"
    yield f"k_off {_n(kinetics.koff)} /s{koff}"
    if kinetics.kcat_per_s:
        yield f"k_cat {_n(kinetics.kcat_per_s)} /s{kcat}"
        if kinetics.kon > 0:
            yield f"Km {_n(kinetics.half_nM)} nM"
    if scenario.ligands[name].clamped_nM is None:
        yield f"in-cell rate {_n(in_cell_rate(scenario, name, target))} /s"
    if adjusted is not None and not adjusted.usable:
        yield "not adjusted to dt (equilibrium only)"
    elif adjusted is not None:
        yield f"k_on and k_off x {adjusted.s:.4f} at this dt"


def _run(scenario: Description) -> Iterator[Row]:
    yield "dt", f"{_time(scenario.dt_s)} ({reason(scenario)})"
    run = scenario.run
    if run is None:
        return
    yield "duration", f"{_time(run.duration_s)}, of which burn-in {_time(run.burn_in_s)}"
    estimates = estimate_cost(scenario)
    yield "recorded", f"every {_time(run.sample_s)}, {estimates.samples} times"
    copies = "replicate" if run.replicates == 1 else "replicates"
    yield "repeated", f"{run.replicates} {copies}, seed {run.seed}, {run.engine} engine"
    yield "work", _work(estimates)


def _work(estimates: CostEstimate) -> str:
    return (
        f"{estimates.steps:,} steps, {estimates.molecule_steps:.1e} molecule-steps, "
        f"{estimates.events:.1e} events; about {_time(estimates.seconds, 1)} and "
        f"{estimates.bytes / 1e9:.1f} GB"
    )


def _residual_transients(scenario: Description) -> list[str]:
    """Occupancies that have not settled when the burn-in is over.

    Not of a course, which is about what has not settled: one that changes, or has no burn-in.
    """
    if scenario.at or scenario.run is None or scenario.run.burn_in_s == 0:
        return []
    said = list[str]()
    for (target, name), (share, settling) in lacking(scenario).items():
        lasts = math.isfinite(settling)
        much = f"; a burn-in of {_time(5 * settling, 2)} would do" if lasts else ""
        time = f"about {_time(settling, 2)}" if lasts else "for ever"
        said.append(
            f"not settled: {name} at {target} takes {time} to come to 63 % of its end, so "
            f"its average lacks some {100 * share:.2g} % of it{much}"
        )
    return said


def _faster_than_diffusion(scenario: Description) -> list[str]:
    """Pairs that bind more often than molecules meet: a unit mistaken, most likely."""
    return [
        f"{name} binds {target} with k_on {_n(kinetics.kon)} /(nM s), faster than diffusion allows "
        f"(below {FASTEST_KON:g}); check Kd and k_off"
        for name, ligand in scenario.ligands.items()
        for target, kinetics in ligand.binding.items()
        if kinetics.kon > FASTEST_KON
    ]


def _misnamed(scenario: Description) -> list[str]:
    """A ligand called like one drug that has the constants of another: half of an edit."""
    said = list[str]()
    for name, ligand in scenario.ligands.items():
        # "citalopram@Tatsumi1997", or "my.toml:citalopram" from a file of one's own
        taken = (own_file(ligand.taken_from) or ("", ligand.taken_from))[1].partition("@")[0]
        if taken and taken != name and name in library().ligands:
            said.append(f"{name} has the constants of {taken}; call it [ligand.{taken}]")
    return said


def _sampling(scenario: Description) -> list[str]:
    """A sampling interval that is not a whole number of steps is replaced by the nearest."""
    run = scenario.run
    if run is None:
        return []
    steps = run.sample_s / scenario.dt_s
    if steps > 0.999 and abs(steps - round(steps)) < 1e-6 * steps:
        return []
    taken = max(1, round(steps)) * scenario.dt_s
    return [f"records come every {_time(taken)}: dt does not divide {_time(run.sample_s)}"]


def _n(value: float) -> str:
    return f"{value:.4g}"


def _time(seconds: float, digits: int = 4) -> str:
    """Seconds in the unit a person would choose."""
    # Rounded before the unit is chosen: what is told as two hours is told in hours.
    seconds = float(f"{seconds:.{digits}g}")
    for size, unit in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.{max(digits, 3)}g} {unit}"
    if seconds >= 1 or seconds == 0:
        return f"{seconds:.{max(digits, 3)}g} s"
    return f"{1e3 * seconds:.{max(digits, 3)}g} ms"
