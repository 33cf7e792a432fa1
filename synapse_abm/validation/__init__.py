"""The simulator compared with exact results, at a stated rate of false alarms.

Every number of a case is estimated from simulations and compared with the number in the file, in
up to five looks at n, 3n, 9n, 27n and 81n observations:

FAIL
    it is off by more standard errors than chance explains. If everything is exact, any FAIL at all
    has a probability of at most 1e-6 over all quantities and looks together;
PASS
    it is certainly within its margin (99.9 %): 0.01 of an occupancy or probability, 2 % of other
    numbers, of a series over time 2 % of its largest value, and 2 % of a standard deviation, which
    is 4 % of a variance. A law (chi-square) passes if it is not rejected and its mean passes;
INCONCLUSIVE
    neither, even at the last look. That is not a pass.

Kinetics on a grid (group O) has an honest bias, because a step freezes positions. Its margin is
1 %, and it FAILs only where it is off by its margin and so many standard errors more. The
false-alarm rate then holds for everything that is off by its margin or less.

A case that fails while it is planned or run, or gives what is no finite number, is an ERROR of that
case, told with its message; the others have verdicts, and the exit status is 1. A case that cannot
be run is listed with the reason and has no verdict. If none can, there is neither a pass nor a
failure.

Standard errors are exact where the law is known and observations are independent, from
independent replicates or batch means elsewhere.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path

from synapse_abm.core.address import Address
from synapse_abm.core.arguments import check_seed
from synapse_abm.core.errors import raise_faults
from synapse_abm.core.files import sha256
from synapse_abm.core.progress import Progress, silent
from synapse_abm.statistics import Rule
from synapse_abm.synapse.engine import kernels
from synapse_abm.validation.cases import SHIPPED, Case, read_cases
from synapse_abm.validation.drawn import drawn_cases
from synapse_abm.validation.groups import assign, faults_of, said
from synapse_abm.validation.mutations import MUTATIONS, Caught, try_out
from synapse_abm.validation.quantities import Row
from synapse_abm.validation.report import Source, Verdicts
from synapse_abm.validation.trials import LAST_RESORT, Plan, Trial

__all__ = ["FALSE_ALARM", "Verdicts", "validate"]

FALSE_ALARM = 1e-6
#: The bounds are set for a tenth of it: far out, errors of variances have fatter tails than normal.
_DESIGNED = FALSE_ALARM / 10
DEFAULT_SEED = 0
#: Time per event of a trial's cost on one core, as measured; the forecast's only number.
EVENT_S = 5e-8


def validate(
    cases: Path | None = None,
    seed: int | None = None,
    planted: bool = False,
    thorough: bool = False,
    progress: Progress = silent,
    announce: Callable[[str], None] = lambda _: None,
) -> Verdicts:
    """Judge the cases of a file, the program's own by default.

    Parameters
    ----------
    cases
        A file in the format of the program's own cases.
    seed
        Of all random numbers; 0 by default. From another one cases of kinetics on grids are drawn
        too, and run beside the program's own.
    planted
        Also try the planted bugs that must be compiled first, which takes 15 s each, once. Those
        that need no compiling, or were compiled before, are tried anyway with the program's cases.
    thorough
        Margins of 0.002 of an occupancy and 0.5 % of other numbers (1 % of a variance).
    progress
        Told about the trials as they end.
    announce
        Told beforehand how long it will take.

    Raises
    ------
    InputError, InputErrors
        If the file cannot be used; nothing has been run then. Parameters that are not known, or no
        number that is, keep a case from being run, which is listed; they are a fault if they leave
        nothing to run.
    """
    began = time.perf_counter()
    seed = DEFAULT_SEED if seed is None else check_seed(seed)
    read = read_cases(SHIPPED if cases is None else cases)
    if cases is None and seed != DEFAULT_SEED:
        read += drawn_cases(seed)
    source = None if cases is None else Source(cases.name, sha256(cases.read_bytes()))
    # All cases are planned before anything is run: planning reads every number, so all faults of a
    # file are told at once, and the bound of a FAIL needs the number of tests.
    plan = assign(read, progress)
    raise_faults(faults_of(read))
    if not plan.trials and not plan.errors:
        # Nothing to run, perhaps for a misspelt name: then a name that is not known is no remark
        # but the fault.
        raise_faults(plan.unknown)
    if thorough:
        plan = thoroughly(plan, read)
    tests = sum(quantity.tests for trial in plan.trials for quantity in trial.quantities)
    rule = Rule(tests=max(tests, 1), false_alarm=_DESIGNED)
    announce(_forecast(plan.trials))
    outcomes = _run(plan.trials, rule, seed, progress)
    place = {case.id: at for at, case in enumerate(read)}
    rows = sorted((row for rows, _ in outcomes for row in rows), key=lambda row: place[row.id])
    bugs = [] if cases is not None and not planted else _try_out(planted, rule, seed, progress)
    return Verdicts(
        false_alarm=FALSE_ALARM, seed=seed, cases=read, rows=rows,
        not_expressible=tuple(plan.left_out), planted=bugs, rule=rule, source=source,
        errors=(*plan.errors, *(error for _, errors in outcomes for error in errors)),
        wall_s=time.perf_counter() - began, thorough=thorough, asked_planted=planted,
    )  # fmt: skip


def thoroughly(plan: Plan, cases: Sequence[Case]) -> Plan:
    """Finer margins; and what would take too long by default, at the margins of the default."""
    # Twenty times the observations: what fits the budget of the default is run with finer margins
    # whatever it then takes, and the budget grows for the rest alone.
    fine = Plan([trial.thorough() for trial in plan.trials])
    tried = {(quantity.id, quantity.name) for trial in fine.trials for quantity in trial.quantities}
    patient = assign([replace(case, budget=LAST_RESORT) for case in cases])
    for trial in patient.trials:
        more = tuple(q for q in trial.quantities if (q.id, q.name) not in tried)
        if more:
            fine.trials.append(replace(trial, quantities=more))
    fine.left_out = patient.left_out
    return fine


def _try_out(all_of_them: bool, rule: Rule, seed: int, progress: Progress) -> list[Caught]:
    """The mutations, each tried on its case; those not yet compiled only if asked for."""
    known = {case.id: case for case in read_cases(SHIPPED)}
    return [
        try_out(bug, known, rule, seed) if all_of_them or bug.ready else Caught(bug)
        for bug in progress(MUTATIONS, label="planted bugs")
    ]


def _forecast(trials: Sequence[Trial]) -> str:
    """How long the trials are going to take."""
    seconds = EVENT_S * sum(trial.cost for trial in trials) / _workers()
    length = f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
    quantities = sum(len(trial.quantities) for trial in trials)
    return f"{quantities} quantities in {len(trials)} trials: about {length} on {_workers()} cores"


type Outcome = tuple[list[Row], list[tuple[str, str]]]  # rows; cases that failed, and why


def _run(trials: Sequence[Trial], rule: Rule, seed: int, progress: Progress) -> list[Outcome]:
    """All verdicts, trial by trial; each has random numbers of its own."""
    # The longest start first, or the last of them would be waited for alone.
    order = sorted(range(len(trials)), key=lambda at: -trials[at].cost)
    outcomes: dict[int, Outcome] = {}
    with ThreadPoolExecutor(_workers()) as pool:
        futures: dict[Future[Outcome], int] = {
            pool.submit(_run_one, trials[at], rule, Address(seed, at)): at for at in order
        }
        try:
            for future in progress(as_completed(futures), total=len(order), label="trials"):
                outcomes[futures[future]] = future.result()
        # Ctrl-C: trials that have not begun are dropped, and those that run end by themselves.
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [outcomes[at] for at in range(len(trials))]


def _run_one(trial: Trial, rule: Rule, address: Address) -> Outcome:
    """Its verdicts. Whatever goes wrong is an error of its cases, and of no others."""
    try:
        rows = trial.rows(rule, address)
    except Exception as error:
        names = dict.fromkeys(quantity.id for quantity in trial.quantities)
        return [], [(name, f"running it failed: {said(error)}") for name in names]
    # What is not finite was not measured: no verdict can rest on it.
    strange = [row for row in rows if not math.isfinite(row.estimate)]
    why = "{0.quantity} came out as {0.estimate}, after {0.observations} observations"
    errors = [(row.id, why.format(row)) for row in strange]
    return [row for row in rows if row not in strange], errors


def _workers() -> int:
    """Threads to work with: one unless the compiled engine lets others run beside it."""
    # Kernels that keep Python's lock run one after the other however many threads wait for them.
    options = getattr(kernels.advance, "targetoptions", {})
    return (os.cpu_count() or 1) if options.get("nogil") else 1
