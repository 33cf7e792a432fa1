"""Which rules a user has changed, and what cannot be done with them: all of it told at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from synapse_abm.core.arguments import choice
from synapse_abm.core.errors import InputError, UnknownName, collected
from synapse_abm.core.lazy_model import is_users
from synapse_abm.synapse.agents.agents import MOLECULES, SITES, Molecule, Site
from synapse_abm.synapse.scenario.definition import Scenario

ENGINES = ("compiled", "agents")
#: What the agents engine asks of a molecule, and of a site, while it takes a step.
RULES: dict[type, tuple[str, ...]] = {
    Molecule: ("displacement", "propensity", "step"),
    Site: ("propensity",),
}
#: What the agents engine asks of a model while it takes a step, and the compiled one does not.
PIECES = ("molecules", "new_molecule", "forget", "make_room")


def overridden(kind: type, base: type, names: tuple[str, ...]) -> list[str]:
    """Those of ``names`` for which a class has a method other than ``base``'s."""
    # By identity, so that a method patched into one of our own classes counts as well.
    return [name for name in names if getattr(kind, name, None) is not getattr(base, name, None)]


def own_births(classes: Iterable[type]) -> list[str]:
    """Classes that do something of their own when one of them is made."""
    return [kind.__name__ for kind in classes if is_users(kind, "__init__")]


def birth_faults(engine: object, classes: Iterable[object]) -> Iterator[InputError]:
    """Own ``__init__`` of agents where it would run when somebody looks at them."""
    born = own_births(kind for kind in classes if isinstance(kind, type))
    if born and engine == "compiled":
        inits = ", ".join(f"{name}.__init__()" for name in dict.fromkeys(born))
        allowed = f"'agents' for {inits}: other agents are made when somebody looks, not at birth"
        fix = "give engine='agents', or make it a property or an attribute of the class"
        yield InputError("engine", engine, allowed, fix)


def rule_faults(
    scenario: Scenario | None, engine: object, agent_classes: object, model: type, base: type
) -> Iterator[InputError]:
    """What is wrong with ``engine``, ``agent_classes`` and the overrides of a ``model`` class.

    Without a ``scenario`` (it has faults of its own) names are not checked.
    """
    faults = list[InputError]()
    with collected(faults):
        choice("engine", engine, ENGINES)
    yield from faults
    changed = [f"{model.__name__}.{name}()" for name in overridden(model, base, PIECES)]
    if agent_classes is not None and not isinstance(agent_classes, Mapping):
        allowed = "classes by the name of a ligand or target, {'citalopram': Sticky}"
        yield InputError("agent_classes", agent_classes, allowed)
    else:
        own = dict(agent_classes or {})
        for name, kind in own.items():
            yield from _class_faults(scenario, name, kind)
        for kind in [*own.values(), *_stock(scenario, own)]:
            for agent, rules in RULES.items():
                if isinstance(kind, type) and issubclass(kind, agent):
                    changed += [f"{kind.__name__}.{x}()" for x in overridden(kind, agent, rules)]
        yield from birth_faults(engine, own.values())
    if changed and not faults and engine == "compiled":
        allowed = f"'agents', the only engine that asks {', '.join(dict.fromkeys(changed))}"
        yield InputError("engine", engine, allowed, "give engine='agents'")


def _stock(scenario: Scenario | None, own: Mapping[Any, Any]) -> Iterator[type]:
    """Our own classes that a scenario uses: somebody may have changed a rule in one of them."""
    if scenario is not None:
        yield from (MOLECULES[x.role] for name, x in scenario.ligands.items() if name not in own)
        yield from (SITES[x.kind] for name, x in scenario.targets.items() if name not in own)


def _class_faults(scenario: Scenario | None, name: Any, kind: Any) -> Iterator[InputError]:
    path, wanted = f"agent_classes[{name!r}]", list[type]()
    if scenario is not None:
        known = [*scenario.ligands, *scenario.targets]
        if name not in known:
            yield UnknownName("a name in agent_classes", str(name), known)
        elif name in scenario.ligands and scenario.ligands[name].clamped_nM is not None:
            fix = f"give {name} a count or a reservoir, or leave it out here"
            yield InputError(path, kind, "none: the ligand is clamped, it has no molecules", fix)
        wanted += [Molecule] * (name in scenario.ligands) + [Site] * (name in scenario.targets)
    bases = tuple(wanted) or (Molecule, Site)
    if not isinstance(kind, type) or not issubclass(kind, bases):
        said = " or ".join("a molecule (Drug)" if b is Molecule else "a site (Transporter)"
                           for b in bases)  # fmt: skip
        fix = "" if isinstance(kind, type) else "give the class itself"
        yield InputError(path, kind, f"a class derived from {said}", fix)
