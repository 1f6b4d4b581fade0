"""Which link that stands becomes which of the larger fabric: as it is, by moving one plug, or not at all.

All devices are numbered as in the larger fabric: servers, switches, then switches of the old fabric that are taken out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from zcube.arrays import BoolArray, FloatArray, IntArray
from zcube.fabric.cages import PortPlaces, distinct_rows, port_places
from zcube.fabric.model import Fabric
from zcube.plan.growth.renaming import NONE, Renaming


@dataclass(frozen=True, eq=False)
class Ends:
    """Both ends of every NIC and inter-switch link.

    Attributes
    ----------
    device : int array [links, 2]
        Server or switch, see the module's documentation.
    gpu : int array [links, 2]
        Local GPU at a NIC, -1 at a switch.
    port, leg, legs : int array [links, 2]
        As of :class:`~zcube.fabric.cages.PortPlaces`.
    gbps : float array [links]
        Rate.
    """

    device: IntArray
    gpu: IntArray
    port: IntArray
    leg: IntArray
    legs: IntArray
    gbps: FloatArray

    def __len__(self) -> int:
        return len(self.gbps)

    @property
    def at_switch(self) -> BoolArray:
        """Which ends are at a switch [links, 2]."""
        return np.asarray(self.gpu < 0)

    @property
    def at_nic(self) -> BoolArray:
        """Which links are a NIC's [links]."""
        return np.asarray((self.gpu >= 0).any(axis=1))

    def columns(self, exact: bool) -> IntArray:
        """Return what an end is told by [links, 2, columns]; a switch's port only if ``exact``."""
        told = self.at_switch[..., None] & (not exact)
        port = np.where(told, NONE, np.stack([self.port, self.leg, self.legs], axis=2))
        return np.concatenate([self.device[..., None], self.gpu[..., None], port], axis=2).astype(np.int64)


def ends_of(fabric: Fabric, device: IntArray | None = None) -> Ends:
    """Return the ends of a fabric's links, devices renumbered if given [old servers and switches]."""
    places: PortPlaces = port_places(fabric)
    number = places.device if device is None else device[places.device]
    return Ends(number, places.gpu, places.port, places.leg, places.legs, fabric.cables.gbps[places.cable])


def renumbered(old: Fabric, new: Fabric, renaming: Renaming) -> IntArray:
    """Return the device of the larger fabric, or a number above them, of each old server and switch."""
    out = renaming.switch == NONE
    switch = np.where(out, new.servers + new.switches + np.cumsum(out) - 1, new.servers + renaming.switch)
    return np.concatenate([renaming.server, switch])


@dataclass(frozen=True, eq=False)
class Pairing:
    """What becomes of links.

    Attributes
    ----------
    kept : int array [new links]
        Old link that is this one as it stands, or :data:`~zcube.plan.growth.renaming.NONE`.
    moved : int array [new links]
        Old link that becomes this one when one of its plugs is moved, or NONE.
    near_new, near_old : int array [new links]
        Of a moved link: the end of the new link, and that of the old one, whose plug stays.
    """

    kept: IntArray
    moved: IntArray
    near_new: IntArray
    near_old: IntArray


def paired(old: Ends, new: Ends, kept: IntArray, exact: bool) -> Pairing:
    """Pair links that cannot stay, as many as possible by moving one plug.

    Parameters
    ----------
    old, new : Ends
        Devices numbered alike.
    kept : int array [new links]
        From :func:`links_kept`.
    exact : bool
        Whether a link must have the very switch ports; else any port of its switch will do, as ports can be chosen.

    Notes
    -----
    Of a NIC's link the plug at the switch moves. Among links between switches that share an end as many as possible are
    paired, by a maximum matching (Hopcroft and Karp).
    """
    moved, near_new, near_old = (np.full(len(new), NONE, dtype=np.int64) for _ in range(3))
    left_old = np.setdiff1d(np.arange(len(old)), kept)
    left_new = np.flatnonzero(kept == NONE)
    if not len(left_old) or not len(left_new):
        return Pairing(kept, moved, near_new, near_old)
    from_, to, end_old, end_new = _sharing(old, new, left_old, left_new, exact)
    table = coo_array((np.ones(len(from_), dtype=np.int8), (to, from_)), shape=(len(new), len(old))).tocsr()
    match = maximum_bipartite_matching(table, perm_type="column").astype(np.int64)
    hit = np.flatnonzero(match[to] == from_)
    moved[to[hit]], near_old[to[hit]], near_new[to[hit]] = from_[hit], end_old[hit], end_new[hit]
    return Pairing(kept, moved, near_new, near_old)


def links_kept(old: Ends, new: Ends, exact: bool) -> IntArray:
    """Return the old link that each new one is as it stands, parallel ones in order, NONE where there is none [new links].

    Parameters as of :func:`paired`.
    """
    rows = []
    for ends in (old, new):
        columns = ends.columns(exact)
        swap = ends.device[:, 0] > ends.device[:, 1]
        columns[swap] = columns[swap, ::-1]
        gbps = np.round(ends.gbps * 1e6).astype(np.int64)
        rows.append(np.concatenate([columns.reshape(len(ends), -1), gbps[:, None]], axis=1))
    _, number = distinct_rows(np.concatenate(rows))
    key_old, key_new = (number[: len(old)], number[len(old) :])
    ranked = [_rank(key) for key in (key_old, key_new)]
    wide = int(max(len(old), len(new))) + 1
    code_old, code_new = (key * wide + rank for key, rank in zip((key_old, key_new), ranked))
    kept = np.full(len(new), NONE, dtype=np.int64)
    _, at_old, at_new = np.intersect1d(code_old, code_new, assume_unique=True, return_indices=True)
    kept[at_new] = at_old
    return kept


def _rank(key: IntArray) -> IntArray:
    """Return the place of each entry among the equal ones."""
    order = np.argsort(key, kind="stable")
    rank = np.empty(len(key), dtype=np.int64)
    rank[order] = np.arange(len(key)) - np.searchsorted(key[order], key[order])
    return rank


def _sharing(
    old: Ends, new: Ends, left_old: IntArray, left_new: IntArray, exact: bool
) -> tuple[IntArray, IntArray, IntArray, IntArray]:
    """Return every old and new link of one rate such that one plug moves, and the end that stays in each.

    A NIC's link stays one: its NIC plug stays in, so that the matching only has to choose among links between switches.
    """
    sides = []
    _, rate = np.unique(np.concatenate([old.gbps, new.gbps]), return_inverse=True)
    for ends, left, its_rate in ((old, left_old, rate[: len(old)]), (new, left_new, rate[len(old) :])):
        at_nic = ends.at_nic[left]
        told = np.stack([its_rate[left], at_nic], axis=1)
        columns = np.concatenate([ends.columns(exact)[left].reshape(2 * len(left), -1), np.repeat(told, 2, axis=0)], axis=1)
        stays = np.flatnonzero(~(at_nic[:, None] & ends.at_switch[left]).ravel())
        sides.append((stays, columns[stays]))
    (place_old, one), (place_new, two) = sides
    _, number = distinct_rows(np.concatenate([one, two]))
    end_old, end_new = number[: len(one)], number[len(one) :]
    order = np.argsort(end_new, kind="stable")
    first = np.searchsorted(end_new[order], end_old, side="left")
    count = np.searchsorted(end_new[order], end_old, side="right") - first
    left = np.repeat(place_old, count)
    right = place_new[order[np.repeat(first - np.cumsum(count) + count, count) + np.arange(count.sum())]]
    return left_old[left // 2], left_new[right // 2], left % 2, right % 2
