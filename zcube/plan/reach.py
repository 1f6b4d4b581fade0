"""Whether GPUs in service can still reach each other while cables are replugged.

Two GPUs reach each other if both are plugged into switches that cables join; GPUs pass nothing on unless the family says that
hosts do. What counts are the pairs that the fabric joined before the first step: rail-only fabrics, say, never join two rails
but over NVLink, and need not here. Routing has to follow; which paths are up is all that is judged.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from zcube.arrays import IntArray

#: A NIC port that is not plugged in.
OPEN = -1


class Reach:
    """Cables plugged in, and the pairs of GPUs that they join.

    Parameters
    ----------
    service : int array
        GPUs in service.
    gpus, switches : int
        Nodes: GPUs from 0, switches from ``gpus`` on, all that stand at any time.
    hosts_forward : bool
        Whether GPUs pass on what is meant for others.
    links : int array [links, 2]
        Nodes at the ends of what is plugged in at first, a GPU first.
    """

    def __init__(self, service: IntArray, gpus: int, switches: int, hosts_forward: bool, links: IntArray):
        self._first = 0 if hosts_forward else gpus
        self._count = gpus + switches - self._first
        self._trunks: dict[tuple[int, int], int] = {}
        self._near: list[set[int]] = [set() for _ in range(self._count)]
        self._row = np.full(gpus, OPEN, dtype=np.int64)
        self._row[service] = np.arange(len(service))
        ports = int(np.bincount(links[links[:, 0] < gpus, 0], minlength=1).max(initial=1))
        self._switch = np.full((len(service), ports), OPEN, dtype=np.int64)
        if hosts_forward:
            self._switch[:, 0] = service
        self._joins = self._trunk_plugs = 0
        self._lost: int | None = None
        for a, z in links.tolist():
            self._plug(a, z)
        self._label = self._components()
        self._groups = self._joined()
        self._members = self._groups.sum(axis=1)
        self._tally()

    def plug_all(self, links: Sequence[tuple[int, int]]) -> None:
        """Note that many cables are plugged in, one after the other; none of them cuts anybody off."""
        for a, z in links:
            self._plug(a, z)
        self._relabel()

    def plug(self, a: int, z: int) -> None:
        """Note that a cable is plugged in."""
        self._plug(a, z)
        if a < self._first:
            self._tally_one(self._row[a])
            return
        one, other = self._label[a - self._first], self._label[z - self._first]
        self._trunk_plugs += 1
        if one == other:
            return
        self._joins += 1
        bare = [label for label in (one, other) if not self._attached[:, label].any()]
        if bare:
            # No GPU hangs on one of the two: nothing is to be counted anew.
            self._label[self._label == bare[0]] = other if bare[0] == one else one
        else:
            self._relabel()

    def unplug(self, a: int, z: int) -> None:
        """Note that a cable is pulled out."""
        if a < self._first:
            row = self._row[a]
            if row != OPEN:
                self._switch[row, np.flatnonzero(self._switch[row] == z - self._first)[0]] = OPEN
                self._tally_one(row)
        elif self._loosened(a, z) and self._apart(a - self._first, z - self._first):
            self._relabel()

    def stamp(self, a: int) -> tuple[int, int]:
        """Return what has to change before a cable at a node, a GPU if it is a NIC's, can be missed that could not before."""
        if a >= self._first:
            return self._trunk_plugs, 0
        row = self._row[a]
        return self._joins, 0 if row == OPEN else int((self._switch[row] != OPEN).sum())

    def is_only_port(self, node: int) -> bool:
        """Return whether a node is a GPU in service, or none, with no more than one port plugged in."""
        return node < self._first and (self._row[node] == OPEN or int((self._switch[self._row[node]] != OPEN).sum()) < 2)

    def lost_without(self, a: int, z: int) -> int:
        """Return how many GPUs would be cut off from others that they were joined with, if a cable were pulled out."""
        self.unplug(a, z)
        lost = self.lost()
        self.plug(a, z)
        return lost

    def lost(self) -> int:
        """Return how many GPUs are cut off from others that they were joined with."""
        if self._lost is None:
            most = self._attached.max(axis=1, initial=0)
            self._lost = max((self._lost_of(n, int(most[n])) for n in np.flatnonzero(most < self._members).tolist()), default=0)
        return self._lost

    def _lost_of(self, number: int, most: int) -> int:
        members = np.flatnonzero(self._groups[number])
        if self._switch.shape[1] == 1:
            return len(members) - most
        marks = {frozenset(row) - {OPEN} for row in np.unique(self._labels()[members], axis=0).tolist()}
        return 0 if all(one & other for one in marks for other in marks) else len(members) - most

    def _plug(self, a: int, z: int) -> None:
        if a < self._first:
            row = self._row[a]
            if row != OPEN:
                place = self._open_place(row)
                self._switch[row, place] = z - self._first
            return
        a, z = a - self._first, z - self._first
        key = (min(a, z), max(a, z))
        self._trunks[key] = self._trunks.get(key, 0) + 1
        self._near[a].add(z)
        self._near[z].add(a)

    def _open_place(self, row: int) -> int:
        places = np.flatnonzero(self._switch[row] == OPEN)
        if not len(places):
            # A larger fabric can have more NIC ports.
            self._switch = np.pad(self._switch, ((0, 0), (0, 1)), constant_values=OPEN)
            return self._switch.shape[1] - 1
        return int(places[0])

    def _loosened(self, a: int, z: int) -> bool:
        """Take one of the parallel cables out; return whether it was the last."""
        a, z = a - self._first, z - self._first
        key = (min(a, z), max(a, z))
        self._trunks[key] -= 1
        if self._trunks[key]:
            return False
        del self._trunks[key]
        self._near[a].discard(z)
        self._near[z].discard(a)
        return True

    def _apart(self, a: int, z: int) -> bool:
        """Return whether no cables join two switches; mostly three in a row do, which is tried first."""
        near = self._near
        if near[a] & near[z] or any(near[other] & near[z] for other in near[a]):
            return False
        seen, front = {a}, {a}
        while front and z not in seen:
            front = {further for one in front for further in near[one]} - seen
            seen |= front
        return z not in seen

    def _components(self) -> IntArray:
        pairs = np.array([*self._trunks], dtype=np.int64).reshape(-1, 2)
        table = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(self._count, self._count))
        return np.asarray(connected_components(table, directed=False)[1]).astype(np.int64)

    def _labels(self) -> IntArray:
        """Return the component at each port [service, ports]."""
        return np.where(self._switch == OPEN, OPEN, self._label[self._switch])

    def _joined(self) -> np.ndarray:
        """Return the sets of GPUs that a component joins at first [sets, service]."""
        labels = self._labels()
        sets = {(labels == label).any(axis=1).tobytes() for label in np.unique(labels[labels != OPEN]).tolist()}
        members = np.array([np.frombuffer(one, dtype=bool) for one in sorted(sets)], dtype=bool).reshape(-1, len(labels))
        return np.asarray(members[members.sum(axis=1) > 1])

    def _tally(self) -> None:
        """Count the GPUs of each set at each component, and note each one's components."""
        self._lost = None
        labels = np.sort(self._labels(), axis=1)
        again = np.zeros(labels.shape, dtype=bool)
        again[:, 1:] = labels[:, 1:] == labels[:, :-1]
        self._marks = np.where(again, OPEN, labels)
        self._attached = np.zeros((len(self._groups), self._count), dtype=np.int64)
        for number, members in enumerate(self._groups):
            held = self._marks[members]
            self._attached[number] = np.bincount(held[held != OPEN], minlength=self._count)

    def _tally_one(self, row: int) -> None:
        if row == OPEN:
            return
        member = self._groups[:, row]
        labels = {int(self._label[switch]) for switch in self._switch[row].tolist() if switch != OPEN}
        if self._marks.shape[1] < self._switch.shape[1]:
            self._marks = np.pad(self._marks, ((0, 0), (0, 1)), constant_values=OPEN)
        before = {label for label in self._marks[row].tolist() if label != OPEN}
        if before == labels:
            return
        self._lost = None
        for label in before - labels:
            self._attached[member, label] -= 1
        for label in labels - before:
            self._attached[member, label] += 1
        self._marks[row] = OPEN
        self._marks[row, : len(labels)] = sorted(labels)

    def _relabel(self) -> None:
        self._label = self._components()
        self._tally()
