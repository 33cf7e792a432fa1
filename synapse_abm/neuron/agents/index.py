"""Who is where in a neuron: the lists of its state turned around, made when somebody asks."""

from __future__ import annotations

import numpy as np

from synapse_abm.neuron.engine import layout as lay

#: Place, list, and position in the list (of molecules free or inside) or number of the site.
type Location = tuple[int, int, int]


class Index:
    """Place and list of every molecule and site.

    Attributes
    ----------
    sites
        By place, the list that each site is in.
    serotonin, drugs
        Location of every molecule of serotonin, and of every bound drug molecule, by number.
    """

    def __init__(self, state: lay.NeuronState) -> None:
        self.state = state
        self.sites: list[list[int]] = []
        self.serotonin: dict[int, Location] = {}
        self.drugs: dict[int, Location] = {}
        for place in range(2):
            self._read(place)

    def _read(self, place: int) -> None:
        n, m = self.state.counts[place], self.state.members[place]
        kinds = np.zeros(int(n[lay.L_OPEN :].sum()), dtype=np.int64)
        for kind in range(lay.LISTS):
            members = m[kind, : n[kind]]
            if kind in (lay.L_FREE, lay.L_POOL):
                for at, number in enumerate(members.tolist()):
                    self.serotonin[number] = place, kind, at
                continue
            kinds[members] = kind
            bound = self.bound_in(kind)
            if bound is not None:
                numbers = self.state.occupants[place, members].tolist()
                for site, number in zip(members.tolist(), numbers, strict=True):
                    bound[number] = place, kind, site
        self.sites.append(kinds.tolist())

    def bound_in(self, kind: int) -> dict[int, Location] | None:
        """The index of what sites in a list hold; None if they are empty."""
        if kind in (lay.L_BOUND, lay.L_R_SEROTONIN):
            return self.serotonin
        return self.drugs if kind in (lay.L_BLOCKED, lay.L_R_ANTAGONIST) else None

    # The agents engine changes lists one member at a time:

    def put(self, place: int, kind: int, member: int) -> None:
        """Append to a list."""
        counts = self.state.counts
        at = int(counts[place, kind])
        self.state.members[place, kind, at] = member
        counts[place, kind] += 1
        if kind in (lay.L_FREE, lay.L_POOL):
            self.serotonin[member] = place, kind, at
            return
        self.sites[place][member] = kind
        bound = self.bound_in(kind)
        if bound is not None:
            bound[int(self.state.occupants[place, member])] = place, kind, member

    def take(self, place: int, kind: int, m: int) -> int:
        """Remove member ``m`` of a list: the last one takes its place."""
        counts, members = self.state.counts, self.state.members[place, kind]
        counts[place, kind] -= 1
        last = int(counts[place, kind])
        member, moved = int(members[m]), int(members[last])
        members[m] = moved
        if kind in (lay.L_FREE, lay.L_POOL):
            # In this order: the last member of a list is moved onto itself and then deleted.
            self.serotonin[moved] = place, kind, m
            del self.serotonin[member]
            return member
        bound = self.bound_in(kind)
        if bound is not None:
            del bound[int(self.state.occupants[place, member])]
        return member
