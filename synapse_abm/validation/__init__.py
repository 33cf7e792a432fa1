"""The simulator held against exact results, at a stated rate of false alarms.

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

A case that fails while it is planned or run, or gives what is no finite number, is an ERROR of that
case, told with its message; the others are judged, and the exit status is 1. A case that cannot be
run is listed with the reason and has no verdict. If none can, nothing was
judged: neither a pass nor a failure.

Standard errors are exact where the law is known and observations are independent, from
independent replicates or batch means elsewhere.
"""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path

from synapse_abm.core.address import Address
from synapse_abm.core.arguments import check_seed
from synapse_abm.core.errors import escaped, raise_faults
from synapse_abm.core.files import sha256
from synapse_abm.core.progress import Progress, silent
from synapse_abm.statistics import Rule
from synapse_abm.synapse.engine import kernels
from synapse_abm.validation.cases import SHIPPED, Case, read_cases
from synapse_abm.validation.groups import assign, faults_of, said
from synapse_abm.validation.mutations import MUTATIONS, not_tried, try_out
from synapse_abm.validation.quantities import Row
from synapse_abm.validation.report import Caught, Source, Verdicts
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
        Of all random numbers; 0 by default.
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
    source = None if cases is None else Source(cases.name, sha256(cases.read_bytes()))
    found = assign(read, progress)
    raise_faults(faults_of(read))
    if not found.trials and not found.errors:
        raise_faults(found.unknown)
    if thorough:
        found = thoroughly(found, read)
    trials = found.trials
    tests = sum(quantity.tests for trial in trials for quantity in trial.quantities)
    rule = Rule(tests=max(tests, 1), false_alarm=_DESIGNED)
    announce(_forecast(trials))
    judged, errors = _judge_all(trials, rule, seed, progress)
    rows = _in_order(read, judged)
    bugs = [] if cases is not None and not planted else _try_out(planted, rule, seed, progress)
    wall_s = time.perf_counter() - began
    return Verdicts(
        FALSE_ALARM, seed, rows, tuple(found.left_out), tuple(bugs), wall_s,
        thorough=thorough, rule=rule, titles={case.id: case.title for case in read},
        source=source, not_compared=_not_compared(read, rows), asked_planted=planted,
        parameters={case.id: case.params for case in read},
        errors=(*found.errors, *errors),
        not_read={case.id: case.not_read for case in read if case.not_read},
    )  # fmt: skip


def thoroughly(found: Plan, cases: Sequence[Case]) -> Plan:
    """Finer margins; and what would take too long by default, at the margins of the default."""
    fine = Plan([trial.thorough() for trial in found.trials])
    tried = {(each.id, each.name) for trial in fine.trials for each in trial.quantities}
    whole = assign([replace(case, budget=LAST_RESORT) for case in cases])
    for trial in whole.trials:
        more = tuple(each for each in trial.quantities if (each.id, each.name) not in tried)
        if more:
            fine.trials.append(replace(trial, quantities=more))
    fine.left_out = whole.left_out
    return fine


def _try_out(all_of_them: bool, rule: Rule, seed: int, progress: Progress) -> list[Caught]:
    """The planted bugs, each tried on its case; those not yet compiled only if asked for."""
    known = {case.id: case for case in read_cases(SHIPPED)}
    return [
        try_out(bug, known, rule, seed) if all_of_them or bug.ready else not_tried(bug)
        for bug in progress(MUTATIONS, label="planted bugs")
    ]


def _forecast(trials: Sequence[Trial]) -> str:
    """How long the trials are going to take."""
    seconds = EVENT_S * sum(trial.cost for trial in trials) / _workers()
    length = f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
    quantities = sum(len(trial.quantities) for trial in trials)
    return f"{quantities} quantities in {len(trials)} trials: about {length} on {_workers()} cores"


def _not_compared(cases: Sequence[Case], rows: Sequence[Row]) -> dict[str, list[str]]:
    """Numbers of the cases that were run, by case, that no row is about."""
    measured: dict[str, set[str]] = {}
    for row in rows:
        name = re.sub(r"(\[.*\])?( \(clock\))?$", "", row.quantity)
        measured.setdefault(row.id, set()).add(name)
    found = {}
    for case in cases:
        names = measured.get(case.id)
        if names:
            known = names | {"t"} | {name + end for name in names for end in _ENDINGS}
            known |= {"table"} if "occupancy" in names else set()
            left = [k for k, v in case.exact.items() if v is not None and k not in known]
            found[case.id] = [escaped(key) for key in left]
    return {name: keys for name, keys in found.items() if keys}


#: What keys of a file may have behind the name of the quantity that they are about.
_ENDINGS = ("_t", "_bound", "_occupancy")


def _in_order(cases: Sequence[Case], rows: Sequence[Row]) -> list[Row]:
    """Rows in the order of the file."""
    place = {case.id: at for at, case in enumerate(cases)}
    return sorted(rows, key=lambda row: place[row.id])


type Judged = tuple[list[Row], list[tuple[str, str]]]  # rows; cases that failed, and why


def _judge_all(trials: Sequence[Trial], rule: Rule, seed: int, progress: Progress) -> Judged:
    """All verdicts; the longest trials start first, and each has random numbers of its own."""
    order = sorted(range(len(trials)), key=lambda at: -trials[at].cost)
    done: dict[int, Judged] = {}
    with ThreadPoolExecutor(_workers()) as pool:
        futures: dict[Future[Judged], int] = {
            pool.submit(_judge_one, trials[at], rule, Address(seed, at)): at for at in order
        }
        try:
            for future in progress(as_completed(futures), total=len(order), label="trials"):
                done[futures[future]] = future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    rows = [row for at in range(len(trials)) for row in done[at][0]]
    return rows, [error for at in range(len(trials)) for error in done[at][1]]


def _judge_one(trial: Trial, rule: Rule, address: Address) -> Judged:
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
    options = getattr(kernels.advance, "targetoptions", {})
    return (os.cpu_count() or 1) if options.get("nogil") else 1
