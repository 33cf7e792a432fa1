"""The step in plain Python: the plain account of what ``kernels`` does fast.

Same state, same draws, same order, and therefore the same trajectory, molecule for molecule. Here
the actors are agents: each free molecule is asked for its displacement, and each cell runs a clock
over the propensities of the agents in it.
"""

from __future__ import annotations

import math

import numpy as np

from synapse_abm.core.errors import InputError
from synapse_abm.core.rng import Stream, exponential
from synapse_abm.synapse.agents.agents import Molecule, Site
from synapse_abm.synapse.agents.place import Draws, PlaceModel
from synapse_abm.synapse.engine import layout as lay


class OpenCell:
    """A cell while its clock runs: its agents, listed by state, ascending in id at the start."""

    def __init__(self, engine: ReferenceStepper, at: int, free: list[list[Molecule]]) -> None:
        model = engine.model
        self.engine, self.model, self.at = engine, model, at
        self.number = int(model.cell_tables.active[at])
        self.names, self.chemistry = model.names, model.chemistry
        self.lists: list[list[Molecule] | list[Site]] = [[] for _ in range(self.names.ones)]
        for r, members in enumerate(free):
            self.lists[self.names.free(0) + r] = members
        first, last = model.cell_tables.first_site[at], model.cell_tables.first_site[at + 1]
        for number in model.cell_tables.site_order[first:last]:
            site = model.every_site()[int(number)]
            self.lists[self._list_of(site)].append(site)

    def _list_of(self, site: Site) -> int:
        if site.ligand is None:
            return self.names.empty(self.names.targets.index(site.target))
        return self.names.pair_number(site.target, site.ligand)

    def count(self, r: int) -> int:
        """Number in list ``r``; one for the row of ones."""
        return 1 if r == self.names.ones else len(self.lists[r])

    def put(self, r: int, member: Molecule | Site) -> None:
        """Append to a list."""
        self.lists[r].append(member)
        self.model.store.totals[r] += 1

    def take(self, r: int, m: int) -> Molecule | Site:
        """Remove from a list; the last member takes the place."""
        # As the compiled engine does it: who is chosen next depends on the order of the list.
        members = self.lists[r]
        member, members[m] = members[m], members[-1]
        members.pop()
        self.model.store.totals[r] -= 1
        return member

    def actors(self, channel: int) -> tuple[list[Molecule] | list[Site], int]:
        """Agents whose propensity drives a channel, and the number of partners each can choose."""
        kind, _, first, second = self.chemistry.channels[channel, : lay.COUNTER]
        if kind == lay.BIND:
            return self.lists[second], self.count(first)
        return self.lists[first], 1

    def propensity(self, channel: int) -> float:
        """Rate of the first, times how many; a sum if a rule was overridden."""
        kind, index, first, second = self.chemistry.channels[channel, : lay.COUNTER].tolist()
        if kind == lay.RELEASE:
            return float(self.chemistry.release_rate[index, self.at])
        if kind == lay.ARRIVE:
            return float(self.chemistry.rate[channel])
        # A site asks for its binding, once for each free molecule of the cell.
        actors, partners = self.actors(channel)
        if not actors or not partners:
            return 0.0
        if self.engine.overridden(actors[0]):
            return sum(self.rate(channel, actor) for actor in actors) * partners
        # All have the same rate: one product, rounded as in the compiled engine. A sum over actors
        # would differ in the last place, and sooner or later in the trajectory.
        return self.rate(channel, actors[0]) * float(self.count(first) * self.count(second))

    def rate(self, channel: int, actor: Molecule | Site) -> float:
        """What an agent answers when asked how fast a channel happens to it."""
        kind, index = (int(v) for v in self.chemistry.channels[channel][:2])
        if isinstance(actor, Site):
            rate = actor.propensity(kind, self.names.pairs[index][1])
            return sound(rate, actor) if self.engine.overridden(actor) else rate
        return self.engine.asked(actor, kind)

    def member(self, channel: int, rest: float) -> int:
        """Who: member of the list, or free molecule x empty sites + site for binding."""
        actors, partners = self.actors(channel)
        if not self.engine.overridden(actors[0]):
            return min(int(rest / self.rate(channel, actors[0])), len(actors) * partners - 1)
        m, left = choose([self.rate(channel, actor) * partners for actor in actors], rest)
        which = int(left / (self.rate(channel, actors[m]) * partners) * partners)
        return min(which, partners - 1) * len(actors) + m

    def run_clock(self, due: list[tuple[float, int, int]]) -> None:
        """Exact stochastic simulation of this cell for dt (Gillespie 1977).

        ``due`` are releases at given times: (time within the step, ligand, size).
        """
        dt, time, k = self.model.plan.dt, 0.0, 0
        start = self.model.seconds
        while True:
            a = [self.propensity(c) for c in range(len(self.chemistry.rate))]
            total = 0.0
            for x in a:  # not sum(), which makes up for rounding: the kernels do not
                total += x
            u = self.model.draws.number(Stream.REACT, self.number, 2 * k)
            wait = exponential(u) / total if total > 0.0 else math.inf
            limit = due[0][0] if due else dt
            if time + wait < limit:
                time += wait
                u = self.model.draws.number(Stream.REACT, self.number, 2 * k + 1)
                c, rest = choose(a, u * total)
                self.fire(c, rest)
                counter = self.chemistry.channels[c, lay.COUNTER]
                self.model.store.last_s[counter] = start + time
            elif due:
                time, ligand, size = due.pop(0)
                self.enter(ligand, size)
                self.engine.note(lay.RELEASE, ligand, size, start + time)
            else:
                return
            k += 1

    def fire(self, c: int, rest: float) -> None:
        """Carry out the event of channel ``c``."""
        channel = self.chemistry.channels[c, : lay.SITES_TO].tolist()
        kind, index, first, second, counter = channel
        size = 1
        if kind in (lay.RELEASE, lay.ARRIVE):
            if kind == lay.RELEASE:
                size = int(self.chemistry.release_size[index, self.at])
            self.enter(index, size)
        elif kind == lay.BIND:
            self.bind(index, first, second, self.member(c, rest))
        elif kind <= lay.TRANSPORT:
            compartment = lay.INSIDE if kind == lay.TRANSPORT else lay.FREE
            self.vacate(index, self.member(c, rest), compartment)
        else:
            molecule = self.take(first, self.member(c, rest))
            assert isinstance(molecule, Molecule)
            if kind == lay.RETURN:
                self.model.store.molecules[lay.COMPARTMENT, molecule.row] = lay.FREE
                self.put(self.names.free(index), molecule)
            else:
                self.model.lose(molecule)
        self.model.store.events[counter] += size

    def enter(self, ligand: int, size: int) -> None:
        """New molecules in this cell."""
        for _ in range(size):
            self.put(self.names.free(ligand), self.engine.create(ligand, self.number))

    def bind(self, pair: int, free_row: int, empty_row: int, member: int) -> None:
        """A free molecule (none of a clamped ligand) takes an empty site."""
        sites, mol = self.model.store.sites, self.model.store.molecules
        n_empty = self.count(empty_row)
        site = self.take(empty_row, member % n_empty)
        self.put(pair, site)
        sites[lay.LIGAND, site.id] = self.names.ligands.index(self.names.pairs[pair][1])
        if free_row != self.names.ones:
            molecule = self.take(free_row, member // n_empty)
            assert isinstance(molecule, Molecule)
            row = molecule.row
            sites[lay.ROW, site.id] = row
            mol[lay.SITE, row], mol[lay.CELL, row] = site.id, self.model.plan.cells
            mol[lay.COMPARTMENT, row] = lay.BOUND

    def vacate(self, pair: int, member: int, compartment: int) -> None:
        """A site lets its molecule go, back out or inside."""
        sites, mol = self.model.store.sites, self.model.store.molecules
        target, ligand = (int(v) for v in self.chemistry.pairs[pair])
        site = self.take(pair, member)
        assert isinstance(site, Site)
        self.put(self.names.empty(target), site)
        molecule = site.molecule  # looked up before the site is emptied
        sites[lay.LIGAND, site.id] = sites[lay.ROW, site.id] = -1
        if molecule is not None:
            row = molecule.row
            mol[lay.SITE, row], mol[lay.CELL, row] = lay.NO_SITE, sites[lay.SITE_CELL, site.id]
            mol[lay.COMPARTMENT, row] = compartment
            where = self.names.free if compartment == lay.FREE else self.names.inside
            self.put(where(ligand), molecule)


def choose(propensity: list[float], x: float) -> tuple[int, float]:
    """Channel in which ``x`` falls, and what is left of ``x`` within it."""
    chosen, rest = 0, x
    for c, a in enumerate(propensity):
        if a > 0.0:
            chosen, rest = c, x
            if x < a:
                break
            x -= a
    return chosen, rest


def sound(rate: object, agent: Molecule | Site) -> float:
    """What a user's rule answered, if it is a rate."""
    if isinstance(rate, int | float | np.number) and 0.0 <= rate < math.inf:
        return float(rate)
    name = f"{type(agent).__name__}.propensity()"
    raise InputError(name, rate, "a number >= 0, in 1/s, and not infinite")


class ReferenceStepper:
    """Steps a model's state with agents."""

    def __init__(self, model: PlaceModel) -> None:
        self.model = model
        self.slot = {cell: at for at, cell in enumerate(model.cell_tables.active.tolist())}
        self._own_rule: dict[type, bool] = {}  # asked at every event, so looked up once

    def overridden(self, agent: Molecule | Site) -> bool:
        """Whether the agent's class has a ``propensity`` of its own."""
        kind = type(agent)
        if kind not in self._own_rule:
            ours = Molecule.propensity, Site.propensity
            self._own_rule[kind] = kind.propensity not in ours
        return self._own_rule[kind]

    def asked(self, molecule: Molecule, kind: int) -> float:
        """What a molecule answers when asked how fast an event happens to it."""
        rate = molecule.propensity(kind)
        return sound(rate, molecule) if self.overridden(molecule) else rate

    def step(self) -> None:
        """Hop, then react."""
        model = self.model
        model.draws = Draws(
            model.simulation.address,
            int(model.store.meta[lay.STEP]),
            int(model.store.meta[lay.NEXT_ID]),
        )
        for molecules in model.molecules():
            for molecule in molecules:
                molecule.step()
        self.react()
        model.store.meta[lay.STEP] += 1
        model.draws = None

    def react(self) -> None:
        """Clocks of the active cells, ascending; then exchange in the others."""
        store, space = self.model.store, self.model.cell_tables
        due = self.due_releases()
        for at, members in enumerate(self.landed()):
            OpenCell(self, at, members).run_clock(due.get(at, []))
        for ligand in range(len(self.model.names.ligands)):
            if space.exchange[ligand, lay.LEAVE] > 0.0:
                self.leave(ligand)
            if space.exchange[ligand, lay.STAY_MEAN] > 0.0:
                self.arrive(ligand)
        store.meta[lay.SCHEDULED] += sum(1 for s in space.schedule if s[0] == store.meta[lay.STEP])

    def due_releases(self) -> dict[int, list[tuple[float, int, int]]]:
        """Releases at given times within this step, by active cell."""
        space, step = self.model.cell_tables, self.model.store.meta[lay.STEP]
        due: dict[int, list[tuple[float, int, int]]] = {}
        for (at_step, slot, ligand, size), time in zip(
            space.schedule.tolist(), space.schedule_offset.tolist(), strict=True
        ):
            if at_step == step:
                due.setdefault(slot, []).append((time, ligand, size))
        return due

    def landed(self) -> list[list[list[Molecule]]]:
        """Molecules in each active cell: free by ligand, then inside by ligand."""
        n = len(self.model.names.ligands)
        cells: list[list[list[Molecule]]] = [
            [[] for _ in range(2 * n)] for _ in range(self.model.cell_tables.active.size)
        ]
        mol = self.model.store.molecules
        for ligand, molecules in enumerate(self.model.molecules()):
            for molecule in molecules:
                row = molecule.row
                at = self.slot.get(int(mol[lay.CELL, row]))
                if at is not None:
                    inside = mol[lay.COMPARTMENT, row] == lay.INSIDE
                    cells[at][ligand + n * int(inside)].append(molecule)
        return cells

    def in_active_cell(self, row: int) -> bool:
        """Whether a molecule is where a clock runs."""
        return int(self.model.store.molecules[lay.CELL, row]) in self.slot

    def create(self, ligand: int, cell: int) -> Molecule:
        """A new free molecule with an id never used before."""
        model = self.model
        seg = model.store.segments
        if seg[ligand, lay.END] == seg[ligand, lay.LIMIT]:
            model.make_room(ligand)
        store = model.store
        row = int(store.segments[ligand, lay.END])
        store.segments[ligand, lay.END] += 1
        number = int(store.meta[lay.NEXT_ID])
        store.meta[lay.NEXT_ID] += 1
        mol = store.molecules
        mol[lay.ID, row], mol[lay.CELL, row] = number, cell
        mol[lay.Y, row], mol[lay.X, row] = divmod(cell, model.plan.width)
        mol[lay.COMPARTMENT, row], mol[lay.SITE, row] = lay.FREE, lay.NO_SITE
        model.moved(row, None, cell)
        molecule: Molecule = model.new_molecule(ligand, number, row)
        return molecule

    def note(self, kind: int, ligand: int, n: int, time: float) -> None:
        """Count ``n`` events of a ligand at a time (s)."""
        if n > 0:
            counter = self.model.names.counter(kind, ligand)
            self.model.store.events[counter] += n
            self.model.store.last_s[counter] = time

    def leave(self, ligand: int) -> None:
        """Exit and degradation of free molecules in inactive cells."""
        store = self.model.store
        gone, exits, ruled = 0, 0, self.ruled(ligand)
        chance, share = (
            float(x) for x in self.model.cell_tables.exchange[ligand, [lay.LEAVE, lay.EXIT_SHARE]]
        )
        for molecule in self.model.molecules()[ligand]:
            row = molecule.row
            if store.molecules[lay.COMPARTMENT, row] != lay.FREE or self.in_active_cell(row):
                continue
            if ruled:
                chance, share = self.leaving(molecule, self.model.plan.dt)
            # One draw for whether and how: given that it is below the chance, it is uniform there.
            u = self.model.draws.leaving(molecule.id)
            if u < chance:
                gone += 1
                exits += int(u < chance * share)
                self.model.lose(molecule)
        store.totals[self.model.names.free(ligand)] -= gone
        self.note_exchange(ligand, 0, exits, gone - exits)

    def leaving(self, molecule: Molecule, time: float) -> tuple[float, float]:
        """Chance that a molecule with a rule of its own leaves an inactive cell within ``time``
        (s), and the share of those that exit.
        """
        exits, lost = (
            self.asked(molecule, kind) if (kind, molecule.number) in self.model.rates else 0.0
            for kind in (lay.EXIT, lay.DEGRADE)
        )
        total = exits + lost
        return -math.expm1(-total * time), exits / total if total > 0.0 else 1.0

    def note_exchange(self, ligand: int, arrived: int, exits: int, degraded: int) -> None:
        """Count the exchange of a step in inactive cells."""
        end = self.model.simulation.clock.now.seconds(int(self.model.store.meta[lay.STEP]) + 1)
        self.note(lay.ARRIVE, ligand, arrived, end)
        self.note(lay.EXIT, ligand, exits, end)
        self.note(lay.DEGRADE, ligand, degraded, end)

    def arrive(self, ligand: int) -> None:
        """Arrivals in inactive cells: those that stay, anywhere, and those that have left again."""
        exchange = self.model.cell_tables.exchange[ligand]
        numbers = _Numbers(self.model.draws, ligand)
        if self.ruled(ligand):
            self.arrive_by_rule(ligand, numbers)
            return
        stay = numbers.poisson(float(exchange[lay.STAY_MEAN]))
        for _ in range(stay):
            self.create(ligand, self.somewhere(numbers))
        self.model.store.totals[self.model.names.free(ligand)] += stay
        passing = numbers.poisson(float(exchange[lay.PASS_MEAN]))
        exits = sum(int(numbers.next() < exchange[lay.EXIT_SHARE]) for _ in range(passing))
        self.note_exchange(ligand, stay + passing, exits, passing - exits)

    def arrive_by_rule(self, ligand: int, numbers: _Numbers) -> None:
        """The same where a user's rule says how fast molecules leave: each arrives at a random
        time, and is asked.
        """
        exchange, dt = self.model.cell_tables.exchange[ligand], self.model.plan.dt
        # A rule may depend on where a molecule is, so nothing has a closed form: who comes stays
        # for what is left of the step after a uniform time, and leaves within it or not.
        came = numbers.poisson(float(exchange[lay.STAY_MEAN] + exchange[lay.PASS_MEAN]))
        exits = lost = 0
        for _ in range(came):
            molecule = self.create(ligand, self.somewhere(numbers))
            chance, share = self.leaving(molecule, numbers.next() * dt)
            u = numbers.next()
            if u < chance:
                exits, lost = exits + int(u < chance * share), lost + int(u >= chance * share)
                self.model.lose(molecule)
        self.model.store.totals[self.model.names.free(ligand)] += came - exits - lost
        self.note_exchange(ligand, came, exits, lost)

    def somewhere(self, numbers: _Numbers) -> int:
        """An inactive cell."""
        cells = self.model.cell_tables.inactive
        return int(cells[min(int(numbers.next() * cells.size), cells.size - 1)])

    def ruled(self, ligand: int) -> bool:
        """Whether the molecules of a ligand have a ``propensity`` of their own."""
        return self.model.molecule_classes[ligand].propensity is not Molecule.propensity


class _Numbers:
    """The uniform numbers of a ligand's arrivals in one step, one after the other."""

    def __init__(self, draws: Draws, ligand: int) -> None:
        self.draws, self.ligand, self.k = draws, ligand, 0

    def next(self) -> float:
        """The next one."""
        self.k += 1
        return self.draws.number(Stream.ARRIVE, self.ligand, self.k - 1)

    def poisson(self, mean: float) -> int:
        """A Poisson number, by counting exponential waiting times."""
        n, reached = 0, 0.0
        while mean > 0.0:
            reached += exponential(self.next())
            if reached > mean:
                break
            n += 1
        return n
