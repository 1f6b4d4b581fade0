"""Which server and switch that stand become which of the larger fabric.

Servers of one kind, and switches of one model, can stand for each other: which of them is ``A3`` of the larger fabric is a
matter of labels, and the choice decides how many links stay. A link stays if both its ends are devices that have become the
ends of such a link, of its rate, by the same port of the same NIC. Finding the best choice is a quadratic assignment problem,
for which no fast exact method is known. Two starts, the names as they are and a mapping grown link by link from the first
server, are improved in turn: all servers at once, the switches held, and all switches at once, the servers and the other
switches held. Each is a linear assignment, solved exactly (``scipy.optimize.linear_sum_assignment``). So the number found is
a lower bound of what can be kept; where it equals the links there were, nothing better exists.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array

from zcube.arrays import BoolArray, FloatArray, IntArray
from zcube.fabric.model import CableKind, Fabric, SwitchModel

#: Which devices may change their names: none, and ports are those of the larger fabric's own cable schedule; switches; or
#: servers too. In the last two a link that stays keeps its ports.
Names = Literal["planned", "switches", "all"]  # from least to most

#: No device of the other fabric.
NONE = -1
#: Rounds of improvement; each ends with more links kept or is the last.
MAX_ROUNDS = 20
#: Score of a switch that cannot take another's place; greater than any number of links.
_FORBIDDEN = -(1 << 40)


@dataclass(frozen=True, eq=False)
class Renaming:
    """What devices that stand become.

    Attributes
    ----------
    server : int array [old servers]
        Server of the larger fabric.
    switch : int array [old switches]
        Switch of the larger fabric, :data:`NONE` for one that is taken out.
    """

    server: IntArray
    switch: IntArray


@dataclass(frozen=True, eq=False)
class _Pair:
    """Both fabrics as tables of who is linked to whom."""

    old: Fabric
    new: Fabric

    @cached_property
    def columns(self) -> int:
        """NIC ports of a server that both fabrics have."""
        return self.old.gpus_per_server * self._ports

    @property
    def _ports(self) -> int:
        return min(self.old.nic_ports, self.new.nic_ports)

    def nic(self, fabric: Fabric) -> tuple[IntArray, FloatArray]:
        """Return switch and rate at each NIC port of each server [servers, columns]."""
        cable = fabric.nic_cable[:, : self._ports].reshape(fabric.servers, -1)
        return fabric.cables.b[cable].astype(np.int64) - fabric.gpus, fabric.cables.gbps[cable]

    @cached_property
    def old_nic(self) -> tuple[IntArray, FloatArray]:
        return self.nic(self.old)

    @cached_property
    def new_nic(self) -> tuple[IntArray, FloatArray]:
        return self.nic(self.new)

    @cached_property
    def trunks(self) -> list[tuple[IntArray, IntArray]]:
        """Links between any two switches, by rate, in the old and in the new fabric [switches, switches]."""
        rates = np.unique(self.old.cables.gbps[self.old.cables.kind == CableKind.SWITCH])
        return [(_links_between(self.old, rate), _links_between(self.new, rate)) for rate in rates.tolist()]

    @cached_property
    def fits(self) -> BoolArray:
        """Whether an old switch is of the model of a new one [old switches, new switches]."""
        kinds: dict[SwitchModel, int] = {}
        old, new = (np.array([kinds.setdefault(model, len(kinds)) for model in _models(one)]) for one in (self.old, self.new))
        return np.asarray(old[:, None] == new[None, :])

    def kept(self, renaming: Renaming) -> int:
        """Return the links that stay under a renaming."""
        (old_switch, old_gbps), (new_switch, new_gbps) = self.old_nic, self.new_nic
        became = renaming.switch[old_switch]
        nic = (became == new_switch[renaming.server]) & (old_gbps == new_gbps[renaming.server])
        stays = np.flatnonzero(renaming.switch != NONE)
        there = renaming.switch[stays]
        both = sum(int(np.minimum(old[np.ix_(stays, stays)], new[np.ix_(there, there)]).sum()) for old, new in self.trunks)
        return int(nic.sum()) + both // 2

    def worth(self, renaming: Renaming) -> tuple[int, int]:
        """Return what renamings are compared by: links that stay, then switches that stay in use."""
        return self.kept(renaming), int((renaming.switch != NONE).sum())

    def server_scores(self, switch: IntArray) -> IntArray:
        """Return the NIC links that stay if an old server becomes a new one, switches held [old servers, new servers]."""
        (old_switch, old_gbps), (new_switch, new_gbps) = self.old_nic, self.new_nic
        rates, rate = np.unique(np.concatenate([old_gbps.ravel(), new_gbps.ravel()]), return_inverse=True)
        # What a link is told by at its NIC port: the switch and the rate. Servers share as many as the product counts.
        kinds = len(rates) * self.new.switches
        tables = []
        for at, its_rate in ((switch[old_switch], rate[: old_gbps.size]), (new_switch, rate[old_gbps.size :])):
            server, column = np.nonzero(at != NONE)
            kind = its_rate.reshape(at.shape)[server, column] * self.new.switches + at[server, column]
            shape = (len(at), self.columns * kinds)
            tables.append(csr_array((np.ones(len(server), dtype=np.int32), (server, column * kinds + kind)), shape=shape))
        return np.asarray((tables[0] @ tables[1].T).toarray())

    def switch_scores(self, server: IntArray, switch: IntArray) -> IntArray:
        """Return the links that stay if an old switch becomes a new one, all else held [old switches, new switches]."""
        (old_switch, old_gbps), (new_switch, new_gbps) = self.old_nic, self.new_nic
        scores = np.zeros(self.fits.shape, dtype=np.int64)
        there = new_switch[server]
        np.add.at(scores, (old_switch, there), old_gbps == new_gbps[server])
        stays = np.flatnonzero(switch != NONE)
        for old, new in self.trunks:
            scores += _common(old[:, stays], new[:, switch[stays]])
        return np.where(self.fits, scores, _FORBIDDEN)


def _common(one: IntArray, other: IntArray) -> IntArray:
    """Return the sum of the lesser entries of any row of one table and any of the other [rows, rows]."""
    found = np.zeros((len(one), len(other)), dtype=np.int64)
    below = 0
    # An entry is a stack of steps, and two have in common the steps that both are as high as.
    for height in np.union1d(one[one > 0], other[other > 0]).tolist():
        reach = [csr_array(table >= height, dtype=np.int64) for table in (one, other)]
        found += (height - below) * (reach[0] @ reach[1].T).toarray()
        below = height
    return found


def by_name(old: Fabric, new: Fabric) -> Renaming:
    """Return the renaming that leaves every name; a switch whose namesake is of another model is taken out."""
    pair = _Pair(old, new)
    names = {name: switch for switch, name in enumerate(new.switch_names)}
    switch = np.array([names.get(name, NONE) for name in old.switch_names], dtype=np.int64)
    found = np.flatnonzero(switch != NONE)
    switch[found[~pair.fits[found, switch[found]]]] = NONE
    return Renaming(np.arange(old.servers), switch)


def best_renamings(old: Fabric, new: Fabric) -> tuple[dict[Names, Renaming], int]:
    """Return the renamings found that keep most links, of equals the one closest to the names as they are, and a bound.

    Parameters
    ----------
    old, new : Fabric
        What stands, and what it becomes.

    Returns
    -------
    dict of Renaming
        By which devices may change names.
    int
        Links that no renaming can keep more than.
    """
    pair, start = _Pair(old, new), by_name(old, new)
    of_switches = max(start, _improved(pair, start, False), key=pair.worth)
    of_all = max(start, _improved(pair, start, True), _improved(pair, _extended(pair), True), key=pair.worth)
    return {"planned": start, "switches": of_switches, "all": of_all}, _most_kept(pair)


def _most_kept(pair: _Pair) -> int:
    """Return a bound on the links that any renaming can keep.

    No two devices keep more links between them than any two devices of their kinds have in the larger fabric; none where no
    switch is of a model that the larger fabric has.
    """
    if not pair.fits.any():
        return 0
    at_server = [_parallel(fabric, switch) for fabric, (switch, _) in ((pair.old, pair.old_nic), (pair.new, pair.new_nic))]
    nic = int(np.minimum(at_server[0], at_server[1].max(initial=0)).sum())
    trunks = sum(int(np.minimum(np.triu(old_links), new_links.max(initial=0)).sum()) for old_links, new_links in pair.trunks)
    return nic + trunks


def _improved(pair: _Pair, start: Renaming, servers_too: bool) -> Renaming:
    best, worth = start, pair.worth(start)
    for _ in range(MAX_ROUNDS):
        server = _assigned(pair.server_scores(best.switch)) if servers_too else best.server
        trial = Renaming(server, _assigned(pair.switch_scores(server, best.switch)))
        # Switches that move together may lose what each alone would have kept: then the servers alone.
        ahead = max((trial, Renaming(server, best.switch)), key=pair.worth)
        if pair.worth(ahead) <= worth:
            break
        best, worth = ahead, pair.worth(ahead)
    return best


def _assigned(scores: IntArray) -> IntArray:
    row, column = linear_sum_assignment(scores, maximize=True)
    chosen = np.full(len(scores), NONE, dtype=np.int64)
    chosen[row] = np.where(scores[row, column] > _FORBIDDEN, column, NONE)
    return chosen


def _extended(pair: _Pair) -> Renaming:
    """Return a mapping grown link by link: next the device with most links to mapped ones, to where most of these stay."""
    (old_switch, old_gbps), (new_switch, new_gbps) = pair.old_nic, pair.new_nic
    server, switch = np.full(pair.old.servers, NONE, dtype=np.int64), np.full(pair.old.switches, NONE, dtype=np.int64)
    server_free, switch_free = np.ones(pair.new.servers, dtype=bool), np.ones(pair.new.switches, dtype=bool)
    for device in _outwards(pair):
        if device < pair.old.servers:
            became = switch[old_switch[device]]
            same_rate = old_gbps[device] == new_gbps
            stays = ((became == new_switch) & same_rate).sum(axis=1)
            open_ends = ((became == NONE) & switch_free[new_switch] & same_rate).sum(axis=1)
            score = np.where(server_free, stays * (pair.columns + 1) + open_ends, -1)
            server[device] = int(np.argmax(score))
            server_free[server[device]] = False
            continue
        number = device - pair.old.servers
        scores = np.zeros(pair.new.switches, dtype=np.int64)
        at, column = np.nonzero((old_switch == number) & (server != NONE)[:, None])
        there = server[at]
        np.add.at(scores, new_switch[there, column], old_gbps[at, column] == new_gbps[there, column])
        mapped = np.flatnonzero(switch != NONE)
        for old, new in pair.trunks:
            scores += np.minimum(old[number, mapped][None, :], new[:, switch[mapped]]).sum(axis=1)
        scores[~(switch_free & pair.fits[number])] = -1
        if scores.max(initial=-1) >= 0:
            switch[number] = int(np.argmax(scores))
            switch_free[switch[number]] = False
    return Renaming(server, switch)


def _outwards(pair: _Pair) -> Iterator[int]:
    """Yield servers, then ``servers + switch``, each time the one with most links to those before; of equals the first."""
    old_switch, _ = pair.old_nic
    between = sum((old for old, _ in pair.trunks), np.zeros((pair.old.switches, pair.old.switches), dtype=np.int64))
    links = np.zeros(pair.old.servers + pair.old.switches, dtype=np.int64)
    for _ in range(len(links)):
        device = int(np.argmax(links))
        links[device] = np.iinfo(np.int64).min // 2
        yield device
        if device < pair.old.servers:
            np.add.at(links, pair.old.servers + old_switch[device], 1)
        else:
            number = device - pair.old.servers
            links[: pair.old.servers] += (old_switch == number).sum(axis=1)
            links[pair.old.servers :] += between[number]


def _links_between(fabric: Fabric, gbps: float) -> IntArray:
    cables = fabric.cables
    of_rate = (cables.kind == CableKind.SWITCH) & (cables.gbps == gbps)
    a, b = (ends[of_rate].astype(np.int64) - fabric.gpus for ends in (cables.a, cables.b))
    count = np.bincount(a * fabric.switches + b, minlength=fabric.switches**2).reshape(fabric.switches, -1)
    return np.asarray(count + count.T)


def _parallel(fabric: Fabric, nic_switch: IntArray) -> IntArray:
    """Return how many links each server has to each switch that it has any to."""
    server = np.repeat(np.arange(len(nic_switch)), nic_switch.shape[1])
    return np.unique(server * fabric.switches + nic_switch.ravel(), return_counts=True)[1]


def _models(fabric: Fabric) -> list[SwitchModel]:
    return [group.model for group in fabric.groups for _ in range(group.count)]
