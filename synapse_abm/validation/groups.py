"""Which cases can be run, and by what; the others with the reason why not.

To add a group: write its planner in a file of its own, a function that takes a `Case`, reads what
it needs with the case's readers and yields a `Trial` (by `trials.trial`) for each thing to be
simulated, or raises `NotRun`; give it a line in ``GROUPS``, under a letter that ``cases.GROUPS``
knows; put cases of it into ``cases.json``, and a mutation that one of them must catch into
``mutations.MUTATIONS``. Exact numbers that a solver made are marked ``solved``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from synapse_abm.core.errors import InputError, escaped
from synapse_abm.core.progress import Progress, silent
from synapse_abm.validation import binding, diffusion, kinetics, passage, transport
from synapse_abm.validation.cases import Case, Faulty, NotRun
from synapse_abm.validation.changes import changing
from synapse_abm.validation.grid import closed_grid
from synapse_abm.validation.grid_kinetics import kinetics_on_a_grid
from synapse_abm.validation.immigration import immigration
from synapse_abm.validation.rebinding import any_step, single_site
from synapse_abm.validation.trials import Group, Parts, Plan, Trial, unknown_parameters

ASYMPTOTIC = "an asymptotic formula of continuous space, without an exact law on a grid"
OTHER_STEPS = "the bias of time steps that this program does not use"
BOUNDARY = "a reservoir beyond one wall; here a reservoir reaches every cell alike"


def _diffusion(case: Case) -> Parts:
    """Which of J1 to J6, by what the case gives."""
    if "msd" in case.exact or "fourth_moment_one_axis" in case.exact:
        return diffusion.displacement(case)
    if any(key.startswith("lambda_") for key in case.exact):
        return diffusion.modes(case)
    if "mean_per_cell" in case.params:
        return diffusion.open_box(case)
    return diffusion.closed_box(case) if "N" in case.params else passage.first_passage(case)


def _on_a_grid(case: Case) -> Parts:
    """Which of K1 to K4."""
    if "receptors" in case.params:
        return closed_grid(case)
    if "receptor" in case.params:
        return single_site(case)
    raise NotRun(BOUNDARY if "uptake_rate" in case.params else ASYMPTOTIC)


def _sensing(_: Case) -> Parts:
    raise NotRun(ASYMPTOTIC)


def _steps(case: Case) -> Parts:
    """M4 is a grid of our own kind; the others are rules that are not ours."""
    if "k_bind_in_cell" in case.params:
        return any_step(case)
    raise NotRun(OTHER_STEPS)


_HOPS = {"hop_rate_per_direction": "D / h^2"}

#: By the letter of a group, how its cases are run.
GROUPS: Mapping[str, Group] = {
    "A": Group(binding.clamped, derived={"Kd": "koff / kon"}),
    "B": Group(binding.closed, derived={"K": "kon_pair / koff"}),
    "C": Group(binding.pool, derived={"immigration": "exchange_rate x mean_free"}),
    "D": Group(binding.clamped_pair),
    "E": Group(binding.closed_pair),
    "F": Group(kinetics.approach, idle={"t", "T", "lags"}),
    "G": Group(kinetics.race, idle={"t"}),
    "H": Group(transport.clamped, idle={"t_count"}),
    "I": Group(transport.coupled, idle={"t", "n_states", "S_max"}),
    "J": Group(_diffusion, idle={"t", "dt_discrete"}, derived={**_HOPS, "L": "M x h"}),
    "K": Group(_on_a_grid, derived=_HOPS),
    "L": Group(_sensing),
    "M": Group(_steps),
    "O": Group(kinetics_on_a_grid, idle=frozenset({"t"})),
    "P": Group(changing, idle=frozenset({"h"})),
}
#: Cases of this group share their simulations and are planned together.
SHARED = "N"


def assign(cases: Sequence[Case], progress: Progress = silent) -> Plan:
    """Trials of all cases that can be run; faults are noted in the cases."""
    plan = Plan()
    for case in progress(cases, label="planning"):
        if group := GROUPS.get(case.group[0]):
            plan.add(_of_one(case, group))
    arrivals = [case for case in cases if case.group[0] == SHARED]
    try:
        plan.add(immigration(arrivals))
    except Exception:  # one of them: which?
        for case in arrivals:
            try:
                plan.add(immigration([case]))
            except Exception as error:
                plan.errors.append(_failed(case, error))
    return plan


def _of_one(case: Case, group: Group) -> Plan:
    """What a case becomes; one that fails while it is planned takes no other with it."""
    for name, formula in group.derived.items():
        if name in case.params:
            expected = _product(case, formula)
            if not case.faults:
                case.contradiction(name, expected, formula)
    plan = Plan()
    try:
        for part in group.plan(case):
            if isinstance(part, Trial):
                plan.trials.append(part)
            else:
                plan.left_out.append((case.id, str(part)))
    except NotRun as why:
        plan.left_out.append((case.id, str(why)))
    except Faulty:
        pass
    except Exception as error:
        return Plan(errors=[_failed(case, error)])
    if case.faults:
        return plan
    if plan.trials and (unknown := unknown_parameters(case, group.idle)).unknown:
        return unknown
    if not plan.trials and not plan.left_out:
        plan.left_out.append((case.id, "it gives no number that is measured here"))
        plan.unknown += case.unmeasured()
    return plan


def _product(case: Case, formula: str) -> float:
    """Value of a formula such as "D / h^2" or "M x h", its names parameters of the case."""
    value, divided = 1.0, False
    for word in formula.split():
        if word in ("x", "/"):
            divided = word == "/"
        else:
            name, _, power = word.partition("^")
            factor = case.rate(name, zero=not divided) ** int(power or 1)
            value = value / factor if divided else value * factor
    return value


def _failed(case: Case, error: Exception) -> tuple[str, str]:
    return case.id, f"planning it failed: {said(error)}"


def said(error: Exception) -> str:
    """An error on one line that no terminal obeys."""
    return escaped(f"{type(error).__name__}: {error}")


def faults_of(cases: Sequence[Case]) -> list[InputError]:
    """What is wrong with the cases, each fault once."""
    return list({str(fault): fault for case in cases for fault in case.faults}.values())
