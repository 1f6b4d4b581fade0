"""Parts that start as others have started: settled once, and taken over by all that are equal up to renaming.

When flows start, those that share no link with what is under way are looked up, part by part. A part seen for the second time
is simulated alone (:mod:`zcube.network.packet.settlement`); its equals are not simulated. A settlement is taken over only if
nothing can meet it. No flow known of starts on its links before it has come to rest, and it comes to rest before flows that are
not yet known of may start. Where something is stopped in it, nothing else uses its switches while it lasts; where nothing is,
they have room for it beside what else they hold, and beside what is known to start with it. Until it has come to rest, what it
holds of them at most counts as used, so that thresholds of others fall as far as beside it.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from enum import Enum
from heapq import heappop, heappush

import numpy as np

from zcube.arrays import IntArray, distinct
from zcube.network.packet.patterns import Part, Pattern, is_idle, parts_of, pattern_of
from zcube.network.packet.settlement import Settlement, settle
from zcube.network.packet.skip_settings import Skip
from zcube.network.packet.starts import crossings, push_starts, take_starts
from zcube.network.packet.state import NEVER, NONE
from zcube.network.packet.tables import Tables

#: Memory of what is known of a part that has been seen once, beside its key.
SEEN_BYTES = 200


class Seen(Enum):
    """What is known of a part that is not to be taken over: it was seen once, or its equals may go otherwise."""

    ONCE, UNFIT = range(2)


class Reuse:
    """What is known of parts.

    Parameters
    ----------
    tables : Tables
        The network.
    settings : Skip
        Parameters.
    """

    def __init__(self, tables: Tables, settings: Skip):
        self._tables, self._quantum, self._most_bytes = tables, settings.reuse_quantum, settings.reuse_bytes
        self._known: OrderedDict[bytes, Settlement | Seen] = OrderedDict()
        self.bytes = 0
        # Taken over and not at rest: until when, which in order, the switches, and bytes of each at most; their sum by switch.
        self._under_way: list[tuple[int, int, IntArray, IntArray]] = []
        self._held = np.zeros(len(tables["switches"]), dtype=np.int64)
        self._taken = 0

    @property
    def rest_ps(self) -> int:
        """When the next part taken over comes to rest."""
        return self._under_way[0][0] if self._under_way else NEVER

    def release(self, now_ps: int) -> None:
        """Give back what parts that have come to rest held of switches."""
        while self.rest_ps <= now_ps:
            _, _, switches, most = heappop(self._under_way)
            self._held[switches] -= most
            self._tables["switches"]["used"][switches] -= most

    def match(self, to_ps: int) -> None:
        """Take the flows that start next, and start those that cannot go as others went.

        Parameters
        ----------
        to_ps : int
            All flows that start before are known.
        """
        tables, net = self._tables, self._tables.net
        flows = take_starts(net)
        now_ps = int(tables["flows"]["start_ps"][flows[0]])
        net["now_ps"] = net["matched_ps"] = now_ps
        self.release(now_ps)
        switches = tables["switches"]
        # Parts are equal where what moves packet by packet is.
        switches["used"] -= self._held
        try:
            self._start(flows, to_ps)
        finally:
            switches["used"] += self._held
        np.maximum(switches["peak"], switches["used"], out=switches["peak"])

    def _start(self, flows: IntArray, to_ps: int) -> None:
        """Let parts go as their equals went, and start the flows of the others."""
        tables, net = self._tables, self._tables.net
        now_ps, switches = int(net["now_ps"][0]), tables["switches"]
        parts = parts_of(tables, flows)
        patterns = [pattern_of(tables, part, self._quantum) if is_idle(tables, part.links) else None for part in parts]
        times = Counter(pattern.key for pattern in patterns if pattern)
        settled = [self._settled(pattern, times[pattern.key]) if pattern else None for pattern in patterns]
        most = switches["used"] + self._held
        for pattern, one in zip(patterns, settled):
            if pattern and one:
                most[pattern.switches] += one.most
        ahead = Ahead(tables, now_ps, max((one.quiet_ps for one in settled if one), default=0), parts)
        for part, pattern, one in zip(parts, patterns, settled):
            if pattern and one and now_ps + one.quiet_ps <= to_ps and self._is_alone(pattern, one, most, ahead, now_ps):
                one.apply(tables, pattern, now_ps)
                self._hold(now_ps + one.quiet_ps, pattern.switches, one.most)
            else:
                push_starts(net, part.flows)

    def _hold(self, until_ps: int, switches: IntArray, most: IntArray) -> None:
        """Count what a part holds of its switches as used until some time."""
        heappush(self._under_way, (until_ps, self._taken, switches, most))
        self._taken += 1
        self._held[switches] += most

    def _settled(self, pattern: Pattern, times: int) -> Settlement | None:
        """Return how a part settles that starts so often now; None if that is not known."""
        known = self._known.pop(pattern.key, None)
        self.bytes -= _bytes(pattern.key, known)
        if known is None and times == 1:
            known = Seen.ONCE
        elif known in (None, Seen.ONCE):
            settled = settle(self._tables, pattern)
            known = settled if settled and (self._quantum > 0 or not settled.is_drawn) else Seen.UNFIT
        self._known[pattern.key] = known
        self.bytes += _bytes(pattern.key, known)
        while self.bytes > self._most_bytes:
            self.bytes -= _bytes(*self._known.popitem(last=False))
        return known if isinstance(known, Settlement) else None

    def _is_alone(self, pattern: Pattern, settled: Settlement, most: IntArray, ahead: Ahead, now_ps: int) -> bool:
        """Return whether nothing meets a part that goes as another went, switches holding so much at most with it."""
        until_ps = now_ps + settled.quiet_ps
        if ahead.link_ps[pattern.links].min() <= until_ps:
            return False
        others = most[pattern.switches] - settled.most
        return settled.fits(self._tables, pattern, others) or not (
            others.any() or ahead.crowd[pattern.switches].max() > 1 or ahead.switch_ps[pattern.switches].min() <= until_ps
        )


class Ahead:
    """What may meet parts that start now.

    Attributes
    ----------
    link_ps, switch_ps : int array [links], [switches + 1]
        When flows that are still to start first use each of them.
    crowd : int array [switches + 1]
        Parts that start now at each switch, and links of it that others use.
    """

    def __init__(self, tables: Tables, now_ps: int, lasting_ps: int, parts: list[Part]):
        waiting = tables["starts"][: int(tables.net["waiting"][0])].astype(np.int64)
        start_ps, links = tables["flows"]["start_ps"], tables["links"]
        soon = waiting[start_ps[waiting] <= now_ps + lasting_ps]
        self.link_ps = np.full(len(links), NEVER, dtype=np.int64)
        self.switch_ps = np.full(len(tables["switches"]) + 1, NEVER, dtype=np.int64)
        self.crowd = np.zeros(len(tables["switches"]) + 1, dtype=np.int64)
        place, queue = crossings(tables.net, soon)
        link, when = queue[queue != NONE] >> int(tables.net["class_shift"][0]), start_ps[soon[place[queue != NONE]]]
        np.minimum.at(self.link_ps, link, when)
        used = np.flatnonzero(links["active"] > 0)
        for end in ("from_switch", "to_switch"):
            np.minimum.at(self.switch_ps, links[end][link], when)
            np.add.at(self.crowd, links[end][used], 1)
        for part in parts:
            self.crowd[distinct(np.append(links["from_switch"][part.links], links["to_switch"][part.links]))] += 1


def _bytes(key: bytes, known: Settlement | Seen | None) -> int:
    size = known.bytes if isinstance(known, Settlement) else SEEN_BYTES
    return 0 if known is None else size + len(key)
