"""When links go down and come up, by what settings say of them: events of :mod:`zcube.network.packet.failures`."""

from __future__ import annotations

from fnmatch import fnmatchcase

import numpy as np

from zcube.errors import Fault, InputError
from zcube.network.link_set import LinkSet
from zcube.network.packet.failures import FAILS, KNOWN_UP, MISSED, RETURNS, file_changes
from zcube.network.packet.settings import PacketSettings
from zcube.network.packet.state import picoseconds
from zcube.network.packet.tables import Tables

#: Links named beside one that is not known.
NAMED = 2


def schedule_failures(tables: Tables, link_set: LinkSet, settings: PacketSettings) -> None:
    """File what happens to links as events of an idle network.

    Raises
    ------
    InputError
        With every entry of ``link_failures`` that names no link.
    """
    names = [f"{source}->{target}" for source, target in zip(link_set.source, link_set.target)]
    back = [f"{target}->{source}" for source, target in zip(link_set.source, link_set.target)]
    faults: list[Fault] = []
    rows: list[tuple[int, int, int]] = []
    detection_ps = picoseconds(settings.failure_detection_s)
    taken: dict[int, list[tuple[float, float]]] = {}
    for at, failure in enumerate(settings.link_failures):
        links = [link for link, ends in enumerate(zip(names, back)) if any(fnmatchcase(name, failure.link) for name in ends)]
        if not links:
            some = " or ".join(names[: 2 * NAMED : 2])
            faults.append(Fault(f"packet.link_failures[{at}].link", repr(failure.link), f"ends of links, like {some}"))
        span = (failure.down_s, np.inf if failure.up_s is None else failure.up_s + settings.failure_detection_s)
        if any(max(span[0], other[0]) < min(span[1], other[1]) for link in links for other in taken.get(link, ())):
            expected = "failures of a link that follow each other, the former known to be over"
            faults.append(Fault(f"packet.link_failures[{at}]", f"{failure.link} down from {failure.down_s:g} s on", expected))
        for link in links:
            taken.setdefault(link, []).append(span)
        stages = [(picoseconds(failure.down_s), FAILS), (picoseconds(failure.down_s) + detection_ps, MISSED)]
        if failure.up_s is not None:
            up_ps = picoseconds(failure.up_s)
            stages += [(up_ps, RETURNS), (up_ps + detection_ps, KNOWN_UP)]
        rows += [(link, time_ps, stage) for link in links for time_ps, stage in stages]
    if faults:
        raise InputError(faults)
    if rows:
        tables.add_packets(len(tables["packets"]) + len(rows))
        file_changes(tables.net, *(np.array(column, dtype=np.int64) for column in zip(*rows)))
