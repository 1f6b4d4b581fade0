"""Parts about to start on idle links, and what makes two of them equal up to renaming.

Flows, queue pairs, links and switches of a part are named by their order in it. Parts whose names, rates, thresholds and sizes
then agree go alike to the bit: events of one picosecond are taken in the order of the numbers of links and queue pairs, which
such a renaming keeps. What marks packets at random is not equal, since draws belong to links.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zcube.arrays import BoolArray, IntArray, distinct
from zcube.network.packet.starts import crossings
from zcube.network.packet.state import NONE
from zcube.network.packet.tables import Tables


@dataclass(frozen=True, eq=False)
class Part:
    """Flows about to start, the queues of their paths, NONE behind each, and the links they cross, ascending."""

    flows: IntArray
    queues: IntArray
    links: IntArray


@dataclass(frozen=True, eq=False)
class Pattern:
    """A part about to start as others may have started.

    Attributes
    ----------
    flows, pairs, paths : int array
        Its flows, their queue pairs, and these pairs' paths.
    links, switches : int array
        Links it crosses, ascending, and the switches at their ends in the order in which these name them.
    hops : int array
        Queues of its paths, NONE behind each, in its own names.
    key : bytes
        What it has in common with parts that go alike.
    """

    flows: IntArray
    pairs: IntArray
    paths: IntArray
    links: IntArray
    switches: IntArray
    hops: IntArray
    key: bytes


def parts_of(tables: Tables, flows: IntArray) -> list[Part]:
    """Divide flows about to start into parts that share no link."""
    # Takes a tenth of a second, which most runs need not wait for.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    shift = int(tables.net["class_shift"][0])
    place, queue = crossings(tables.net, flows)
    crossed, link = queue != NONE, queue >> shift
    meets = coo_array(
        (np.ones(int(crossed.sum()), dtype=np.int8), (place[crossed], len(flows) + link[crossed])),
        shape=(len(flows) + len(tables["links"]),) * 2,
    )
    part = connected_components(meets, directed=False)[1][: len(flows)]
    divided = zip(_split(part, flows), _split(part[place], queue))
    return [Part(members, queues, distinct(queues[queues != NONE] >> shift)) for members, queues in divided]


def _split(part: IntArray, values: IntArray) -> list[IntArray]:
    """Return values part by part, in the order of the parts' numbers and of their own."""
    order = np.argsort(part, kind="stable")
    return np.split(values[order], np.flatnonzero(np.diff(part[order])) + 1)


def is_idle(tables: Tables, links: IntArray) -> bool:
    """Return whether nothing moves, stands or is stopped on some links."""
    shift, rows = int(tables.net["class_shift"][0]), tables["links"][links]
    queues = tables["queues"].reshape(-1, 1 << shift)[links]
    return not (
        rows["active"].any()
        or rows["wakes"].any()
        or (rows["busy_ps"] > tables.net["now_ps"]).any()
        or (rows["relay_head"] != NONE).any()
        or (queues["head"] != NONE).any()
        or queues["in_bytes"].any()
        or (queues["paused"] + queues["off"]).any()
        or (queues["frames"] != queues["applied"]).any()
    )


def spread(first: IntArray, count: IntArray) -> IntArray:
    """Return the numbers of rows that lie so many behind each first one."""
    ends = np.cumsum(count)
    return np.asarray(np.repeat(first - ends + count, count) + np.arange(ends[-1]))


def pattern_of(tables: Tables, part: Part, quantum: float) -> Pattern:
    """Return what a part has in common with others.

    Parameters
    ----------
    tables : Tables
        The network.
    part : Part
        Its flows are in the order of their starts.
    quantum : float
        Part of a buffer within which what others hold of it counts as equal; 0: to the byte.
    """
    net, shift = tables.net[0], int(tables.net["class_shift"][0])
    flows, queues, links = part.flows, part.queues, part.links
    row = tables["flows"][flows]
    pairs = spread(row["first_pair"].astype(np.int64), (row["end_pair"] - row["first_pair"]).astype(np.int64))
    pair = tables["pairs"][pairs]
    paths = spread(pair["first_path"].astype(np.int64), pair["paths"].astype(np.int64))
    stands: BoolArray = queues != NONE
    hops = queues.copy()
    hops[stands] = (np.searchsorted(links, queues[stands] >> shift) << shift) + (queues[stands] & ((1 << shift) - 1))
    link = tables["links"][links]
    relays = (link["from_switch"] == NONE)[hops[1:][stands[1:] & stands[:-1]] >> shift]
    ends = np.concatenate([link["from_switch"], link["to_switch"]]).astype(np.int64)
    found, first = np.unique(ends[ends != NONE], return_index=True)
    switches = found[np.argsort(first)]
    number = np.full(len(tables["switches"]) + 1, NONE, dtype=np.int64)
    number[switches] = np.arange(len(switches))
    switch = tables["switches"][switches]
    used = switch["used"] if quantum == 0 else np.round(switch["used"] / (quantum * switch["shared"])).astype(np.int64)
    held = tables["queues"].reshape(-1, 1 << shift)[links]["headroom"]
    sender = pair["sender"]
    described = [
        np.array([len(flows), len(pairs), len(paths), len(links), len(switches), int(net["pooled"])]),
        row["size"],
        row["end_pair"] - row["first_pair"],
        *(pair[field] for field in ("paths", "unsent", "reverse_ps")),
        *(sender[field] for field in ("capped", "line", "window_bytes")),
        hops,
        *(link[field] for field in ("kbps", "latency_ps", "kmin", "kmax", "pmax", "turn")),
        link["relay_turn"] if relays.any() else 0,
        number[ends],
        held,
        switch["shared"],
        used,
    ]
    key = b"".join(np.ascontiguousarray(column).tobytes() for column in described)
    return Pattern(flows, pairs, paths, links, switches, hops, key)
