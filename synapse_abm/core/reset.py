"""What the Reset of Mesa's viewer needs: a model that can be made anew as it was first made.

Reset makes ``type(model)(**parameters, scenario=type(model.scenario)())``, where ``parameters`` are
those the viewer shows: whatever else a model was made with is lost unless its scenario has it. In
Mesa that scenario is a record of parameters, :class:`mesa.experimental.scenarios.Scenario`; ours,
what is simulated, is an argument of the same name. A model of ours that is given no scenario of
Mesa's has one whose class remembers the arguments, and so comes back as it was.
"""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, cast

from mesa.experimental.scenarios import Scenario as MesaScenario

from synapse_abm.core.errors import InputError

type Arguments = Mapping[str, Any]

_numbers = itertools.count()


class FirstMade(MesaScenario):  # type: ignore[misc]
    """Arguments that a model was made with; each model has a class of its own for them."""

    # Mesa makes the new one from the class alone, so it is the class that remembers.
    _arguments: ClassVar[Arguments] = {}
    rng: Any

    def __init__(self, *, rng: Any = None, **changes: Any) -> None:
        # Mesa would keep a counter of each class for ever.
        super().__init__(rng=rng, _scenario_id=next(_numbers), **changes)

    def __reduce__(self) -> tuple[Any, ...]:
        """Classes made while a program runs cannot be pickled by name; their arguments can."""
        state = {"rng": self.rng, "model": self.model, "_scenario_id": self._scenario_id}
        return _restored, (self._arguments,), state

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """The inverse."""
        for name, value in state.items():
            object.__setattr__(self, name, value)


def first_made(arguments: Arguments, rng: Any) -> FirstMade:
    """A scenario that remembers the arguments of a model; ``rng`` as Mesa has it, the seed."""
    kind: type[FirstMade] = type("FirstMade", (FirstMade,), {"_arguments": arguments})
    return kind(rng=rng)


def _restored(arguments: Arguments) -> FirstMade:
    return first_made(arguments, None)


def resettable[F: Callable[..., None]](init: F) -> F:
    """An ``__init__`` for which Reset fills in what it was first given.

    A class of the user's own that gives its arguments by position decides itself, as in Mesa.
    """
    _, main, *_ = inspect.signature(init).parameters

    @functools.wraps(init)
    def made(model: Any, *args: Any, **keywords: Any) -> None:
        first = keywords.get("scenario")
        if isinstance(first, FirstMade):
            del keywords["scenario"]
            if first.rng is not None:
                keywords.setdefault("rng", first.rng)
            if not args:
                remembered = dict(first._arguments)
                if main in keywords:
                    remembered.pop("scenario", None)  # another word for the same
                keywords = remembered | keywords
        init(model, *args, **keywords)
        # By name, so that any of them can be replaced.
        keywords |= zip((main,), args, strict=False)
        if not isinstance(keywords.get("scenario"), MesaScenario):
            model.scenario = first_made(keywords, model._seed)
        model._made = True

    return cast(F, made)


def told_rng(rng: Any, scenario: Any) -> Any:
    """The source of the seed: ``rng``, or that of a scenario of Mesa's if it has one.

    Raises
    ------
    InputError
        If both are given and differ.
    """
    theirs = scenario.rng if isinstance(scenario, MesaScenario) else None
    if theirs is None:
        return rng
    # Models of ours have a seed of 0 unless another is given, so 0 gives way.
    if rng is not None and rng is not theirs and rng not in (0, theirs):
        raise InputError("rng", rng, f"{theirs!r}, as in the scenario of Mesa's", "give it once")
    return theirs
