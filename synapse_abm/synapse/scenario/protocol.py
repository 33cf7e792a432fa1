"""Protocols: what a scenario changes while it runs, as events in time.

Four kinds (``parts.At``): a step, a ramp, something periodic, molecules added. A ramp is a
staircase of at least :data:`LEAST_STEPS` simulated steps; each stair has the value at its middle,
so that its integral is that of the straight line. Events act at the end of the step that reaches
their time.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from synapse_abm.core.errors import InputError, UnknownName, collected
from synapse_abm.core.quantity import bare_name, unit_of
from synapse_abm.pharmacology.kinetics import Kinetics
from synapse_abm.synapse.scenario.changes import added, changed, changed_parts
from synapse_abm.synapse.scenario.equilibrium import no_equilibrium
from synapse_abm.synapse.scenario.parts import At, Description, Ligand, Start

#: Steps of simulation that a ramp is made of at least, and its stairs at most: beyond, the steps of
#: the staircase are below a thousandth, and each costs a change.
LEAST_STEPS, MOST_STAIRS = 200, 1000
#: Entries of a protocol, and events that they make.
MOST_ENTRIES, MOST_EVENTS = 200, 100_000
_CONSTANTS = ("kon", "koff", "kd")


@dataclass(frozen=True, slots=True)
class Event:
    """What happens at a time (s): values by path, molecules by ligand.

    ``entry`` is the number of its entry in the protocol; ``within_ramp`` tells that it is a stair,
    and that the ramp goes on.
    """

    time_s: float
    entry: int
    changes: Mapping[str, Any] = field(default_factory=dict)
    added: Mapping[str, int] = field(default_factory=dict)
    within_ramp: bool = False


def plain_of(description: Description) -> Description:
    """What holds at the start: the same without its protocol, and without a step."""
    fields = {name: getattr(description, name) for name in description.model_fields_set}
    kept = {name: fields[name] for name in fields.keys() - {"at", "start", "dt_s"}}
    return Description.model_construct(**kept)


def end_s(description: Description) -> float:
    """When the run ends, s; infinite if the scenario does not say."""
    return description.run.duration_s if description.run else math.inf


# --- in order of time -----------------------------------------------------------------------------


def _moments(
    at: At, number: int, until_s: float, stairs: int
) -> Iterator[tuple[float, int, float]]:
    """Times of an entry, its number, and how far a ramp is then (1: all the way)."""
    if at.every_s is not None:
        start, end = at.from_s or 0.0, min(until_s, at.to_s or math.inf)
        times = (start + k * at.every_s for k in itertools.count())
        yield from ((time, number, 1.0) for time in itertools.takewhile(lambda t: t < end, times))
        return
    start = at.time_s or 0.0
    if at.over_s is not None:
        for k in range(stairs):
            yield start + k * at.over_s / stairs, number, (k + 0.5) / stairs
        start += at.over_s
    yield start, number, 1.0


def events(description: Description, dt_s: float) -> Iterator[Event]:
    """All events of a scenario's protocol in order of time, for steps of ``dt_s`` seconds."""
    for event, _ in _followed(description, dt_s, end_s(description)):
        yield event


def _followed(
    description: Description, dt_s: float, until_s: float
) -> Iterator[tuple[Event, Description]]:
    """Each event, and what holds from then on (within a ramp: what held before it)."""
    now, ramps = plain_of(description), dict[int, dict[str, tuple[float, float]]]()
    for time, number, part in heapq.merge(
        *(_moments(at, n, until_s, stairs_of(at, dt_s)) for n, at in enumerate(description.at))
    ):
        entry = description.at[number]
        if entry.over_s is not None:
            if number not in ramps:
                ramps[number] = _ends(now, entry.change)
            ends = ramps[number].items()
            values: dict[str, Any] = {path: a + part * (b - a) for path, (a, b) in ends}
            if part < 1.0:
                yield Event(time, number, values, {}, within_ramp=True), now
                continue
        else:
            values = dict(entry.change)
        numbers = added(now, entry.add)
        now = changed_by(now, values, numbers)
        yield Event(time, number, values, numbers), now


def changed_by(
    now: Description, values: Mapping[str, Any], numbers: Mapping[str, int]
) -> Description:
    """What holds after a change of values, and with as many more molecules."""
    targets, ligands = changed_parts(now, values)
    return now.model_copy(update={"targets": targets, "ligands": with_added(ligands, numbers)})


def with_added(ligands: Mapping[str, Ligand], numbers: Mapping[str, int]) -> dict[str, Ligand]:
    """Ligands with as many more molecules: the law of a closed place is that of all there are."""
    more = {
        name: ligands[name].model_copy(update={"count": ligands[name].count + n})
        for name, n in numbers.items()
        if n
    }
    return {**ligands, **more}


def stairs_of(at: At, dt_s: float) -> int:
    """Stairs of a ramp: a step of simulation each, as long as they are not too many."""
    if at.over_s is None:
        return 0
    return min(max(1, math.floor(at.over_s / dt_s * (1 + 1e-9))), MOST_STAIRS)


def stretches(description: Description) -> list[tuple[float, Description]]:
    """What holds from when on (s): the start, and each change of a value or of how many there are.

    A ramp counts with its end, and what is periodic with the first two times that it comes.
    """
    parts = [(0.0, plain_of(description))]
    for event, now in _followed(_twice(description), math.inf, end_s(description)):
        if not event.within_ramp:
            parts.append((event.time_s, now))
    return parts


def _twice(description: Description) -> Description:
    """What holds at the start, with a protocol whose periodic entries come twice at most."""
    entries = [
        at if at.every_s is None else at.model_copy(update={"to_s": _end_of_two(at)})
        for at in description.at
    ]
    return plain_of(description).model_copy(update={"at": tuple(entries)})


def _end_of_two(at: At) -> float:
    """When a periodic entry has come twice, s, or ends."""
    assert at.every_s is not None
    return min((at.from_s or 0.0) + 1.5 * at.every_s, at.to_s or math.inf)


def number_of_events(description: Description, dt_s: float) -> int:
    """How many events a protocol makes, stairs of ramps included, for steps of ``dt_s`` seconds."""
    number, until = 0.0, end_s(description)
    for at in description.at:
        if at.every_s is not None:
            number += math.ceil((min(until, at.to_s or until) - (at.from_s or 0.0)) / at.every_s)
        else:
            number += 1 + stairs_of(at, dt_s)
    return int(number)


def largest_step_s(description: Description) -> float:
    """Longest step (s) at which ramps have steps enough."""
    return min((at.over_s / LEAST_STEPS for at in description.at if at.over_s), default=math.inf)


def common_divisor_s(description: Description, sample_s: float | None) -> float | None:
    """The longest time (s) of which all times of a protocol, and ``sample_s``, are multiples.

    None where times have none above a nanosecond.
    """
    times = [sample_s] if sample_s else []
    for at in description.at:
        times += [t for t in (at.time_s, at.over_s, at.every_s, at.from_s) if t]
    parts = [Fraction(repr(t)).limit_denominator(10**9) for t in times]
    if not parts:
        return None
    divisor = parts[0]
    for part in parts[1:]:
        divisor = Fraction(
            math.gcd(divisor.numerator * part.denominator, part.numerator * divisor.denominator),
            divisor.denominator * part.denominator,
        )
    return float(divisor) if divisor > Fraction(1, 10**9) else None


# --- ramps ----------------------------------------------------------------------------------------


def _ends(now: Description, change: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """First and last value of each quantity of a ramp, by a path that names its unit."""
    after, ends = changed(now, change), dict[str, tuple[float, float]]()
    for path in change:
        full, first = value_at(now, path)
        ends[full] = first, value_at(after, path)[1]
    return ends


def value_at(description: Description, path: str) -> tuple[str, float]:
    """A quantity of a scenario by its path: the path with the unit in its last name, the number.

    Raises
    ------
    InputError
        If it is no quantity that can change little by little.
    """
    kind, _, rest = path.partition(".")
    parts: Mapping[str, Any] = description.ligands if kind == "ligand" else description.targets
    name = max((n for n in parts if rest.startswith(f"{n}.")), key=len)
    part: Any = parts[name]
    *inner, last = rest.removeprefix(f"{name}.").replace("[", ".").replace("]", "").split(".")
    for step in inner:
        part = part[step] if isinstance(part, dict) else _member(part, step)
    if isinstance(part, Kinetics) and bare_name(last) in _CONSTANTS:
        value: Any = {"kon": part.kon, "koff": part.koff, "kd": _kd(part)}[bare_name(last)]
        field_name = {"kon": "kon_per_nM_s", "koff": "koff_per_s", "kd": "kd_nM"}[bare_name(last)]
    else:
        fields = type(part).model_fields if part is not None else {}
        field_name = next((f for f in fields if bare_name(f) == bare_name(last)), last)
        value = getattr(part, field_name, None)
    if unit_of(field_name) is None or not isinstance(value, float):
        allowed = "a change at once: what is counted, listed or not there has nothing in between"
        raise InputError(path, value, allowed, "leave out 'over'")
    return f"{path.removesuffix(last)}{field_name}", value


def _kd(kinetics: Kinetics) -> float:
    return kinetics.koff / kinetics.kon if kinetics.kon > 0 else math.inf


def _member(part: Any, step: str) -> Any:
    if isinstance(part, tuple):
        return part[int(step)] if step.isdigit() and int(step) < len(part) else None
    return getattr(part, step, None)


# --- faults ---------------------------------------------------------------------------------------


def protocol_faults(description: Description) -> Iterator[InputError]:
    """All that is wrong with a protocol and a start, each with its place in the file."""
    yield from _start_faults(description)
    if len(description.at) > MOST_ENTRIES:
        yield InputError("number of [[at]]", len(description.at), f"at most {MOST_ENTRIES:,}")
        return
    yield from _time_faults(description)
    yield from _overlaps(description)
    now, order = (
        plain_of(description),
        sorted(range(len(description.at)), key=lambda n: _begin(description.at[n])),
    )
    for number in order:
        entry, faults = description.at[number], list[InputError]()
        with collected(faults):
            after = changed(now, entry.change, f"at[{number}].change")
            for path, written in entry.change.items() if entry.over_s else ():
                try:
                    value_at(now, path)
                except InputError as error:  # with the value that stands there
                    faults.append(InputError(path, written, error.allowed, error.fix))
            now = after
        with collected(faults):
            now = changed_by(now, {}, added(now, entry.add, f"at[{number}].add"))
        for fault in faults:
            yield fault if "at[" in fault.name else fault.within(f"at[{number}].change")


def _begin(at: At) -> float:
    """When an entry acts for the first time, s."""
    return (at.time_s if at.every_s is None else at.from_s) or 0.0


def _time_faults(description: Description) -> Iterator[InputError]:
    """Times that go back, or come after the end; more events than a run may have."""
    until_s, latest, number_of_events = end_s(description), 0.0, 0.0
    for number, at in enumerate(description.at):
        first = _begin(at)
        key = f"at[{number}].{'time' if at.every_s is None else 'from'}"
        if at.every_s is None and first < latest:
            yield InputError(key, f"{first:g} s", f"times in order: at least {latest:g} s")
        latest = max(latest, first if at.every_s is None else 0.0)
        if first >= until_s:
            yield InputError(key, f"{first:g} s", f"times before the end, {until_s:g} s")
        elif at.every_s is not None and math.isfinite(until_s):
            number_of_events += (min(until_s, at.to_s or until_s) - first) / at.every_s
        over = at.over_s or 0.0
        if first + over > until_s:
            allowed = f"a ramp that ends by the end of the run, {until_s:g} s"
            yield InputError(f"at[{number}].over", f"{over:g} s", allowed)
        if not description.dt_is_auto and over and over < LEAST_STEPS * description.dt_s:
            least = LEAST_STEPS * description.dt_s
            allowed = f"at least {LEAST_STEPS} steps of {description.dt_s:g} s, {least:g} s"
            yield InputError(f"at[{number}].over", f"{over:g} s", allowed, "or write dt = 'auto'")
    if number_of_events > MOST_EVENTS:
        allowed = f"times that make at most {MOST_EVENTS:,} changes"
        yield InputError("at[].every", f"{number_of_events:.3g} changes", allowed)


def quantity_of(path: str) -> str:
    """What a path is about, whatever its unit: k_on, k_off and Kd of a pair are one."""
    *above, last = path.split(".")
    last = bare_name(last)
    return ".".join([*above, "constants" if last in _CONSTANTS else last])


def _overlaps(description: Description) -> Iterator[InputError]:
    """A quantity that is changed while a ramp changes it."""
    spans = dict[str, list[tuple[float, float, int]]]()
    for number, at in enumerate(description.at):
        for quantity in {quantity_of(path) for path in at.change}:
            begin = _begin(at)
            end = math.inf if at.every_s else begin + (at.over_s or 0.0)
            spans.setdefault(quantity, []).append((begin, end, number))
    for quantity, listed in spans.items():
        for (_, end, first), (begin, _, second) in itertools.pairwise(sorted(listed)):
            ramp = description.at[first].over_s or description.at[second].over_s
            if ramp and begin < end:
                allowed = f"another time: at[{first}] still changes {quantity}"
                key = "time" if description.at[second].every_s is None else "from"
                yield InputError(f"at[{second}].{key}", f"{begin:g} s", allowed)


def _start_faults(description: Description) -> Iterator[InputError]:
    """Sites occupied at the start by what is there, and no more than there are; equilibrium only
    where there is one.
    """
    if description.start.state == "equilibrium" and (why := no_equilibrium(description)):
        allowed = f"'empty', or shares as 'bound': there is no equilibrium, as {why}"
        yield InputError("start.state", "equilibrium", allowed)
    wanted = dict[str, int]()
    for target, shares in description.start.bound.items():
        if target not in description.targets:
            yield UnknownName("target of start.bound", target, description.targets)
            continue
        for name, share in shares.items():
            path = f"start.bound.{target}.{name}"
            if name not in description.ligands:
                yield UnknownName(f"ligand of start.bound.{target}", name, description.ligands)
            elif target not in description.ligands[name].binding:
                yield InputError(path, share, f"a ligand that binds to {target}")
            else:
                n = round(share * description.targets[target].n_sites)
                wanted[name] = wanted.get(name, 0) + n
    for name, n in wanted.items():
        ligand = description.ligands[name]
        if ligand.clamped_nM is None and ligand.reservoir is None and n > ligand.count:
            allowed = f"at most the {ligand.count} molecules of {name} that there are"
            yield InputError("start.bound", f"{n} molecules of {name}", allowed)


_EMPTY = Start()


def has_start(description: Description) -> bool:
    """Whether sites are not empty at the start."""
    return description.start != _EMPTY
