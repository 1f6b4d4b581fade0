"""What a congestion control is told of a queue pair from the start: its packets, its way, and the time this takes alone."""

from __future__ import annotations

import numpy as np

from zcube.arrays import IntArray
from zcube.network.packet.state import DESCRIBED, NONE
from zcube.network.packet.tables import Tables


def describe_pairs(tables: Tables, first: int, end: int) -> None:
    """Fill what the congestion control's records of some queue pairs hold of them, where these have a place for it."""
    net = tables.net[0]
    places = {name: int(net[f"{name}_place"]) for name in DESCRIBED}
    if first == end or all(place == NONE for place in places.values()):
        return
    width = int(net["state_bytes"])
    records = tables["states"][first * width : end * width].reshape(-1, width)
    hops, base_rtt_ps = _longest(tables, first, end)
    for name, values in zip(DESCRIBED, (np.full(end - first, net["mtu"]), hops, base_rtt_ps)):
        if places[name] != NONE:
            at = slice(places[name], places[name] + 8)
            records[:, at] = values.astype(np.int64)[:, None].view(np.uint8)


def _longest(tables: Tables, first: int, end: int) -> tuple[IntArray, IntArray]:
    """Return the most switches on a path of each queue pair, and the longest time there and back."""
    net, links, pairs = tables.net[0], tables["links"], tables["pairs"][first:end]
    paths = tables["paths"][
        np.concatenate([np.arange(at, at + count) for at, count in zip(pairs["first_path"], pairs["paths"])])
    ]
    switches, forth_ps = np.full(len(paths), -1, dtype=np.int64), np.zeros(len(paths), dtype=np.int64)
    place = paths.astype(np.int64)
    link = tables["hops"][place].astype(np.int64)
    while (going := link != NONE).any():
        row = links[link[going] >> net["class_shift"]]
        after = np.where(going, tables["hops"][np.minimum(place + 1, len(tables["hops"]) - 1)], NONE).astype(np.int64)
        forth_ps[going] += row["full_ps"] + row["latency_ps"]
        switches[going] += 1
        if net["cut_through"]:
            onward = after != NONE
            row, onto = links[link[onward] >> net["class_shift"]], links[after[onward] >> net["class_shift"]]
            header = _wire_ps(row["kbps"], min(net["mtu"], net["header"]))
            forth_ps[onward] -= np.minimum(row["full_ps"] - header, onto["full_ps"])
        place, link = place + going, after
    starts = np.cumsum(pairs["paths"]) - pairs["paths"]
    back_ps = pairs["reverse_ps"].copy()
    if net["control"] != NONE:
        back_ps += _back_ps(tables, pairs)
    return np.maximum.reduceat(switches, starts), np.maximum.reduceat(forth_ps, starts) + back_ps


def _back_ps(tables: Tables, pairs: np.ndarray) -> IntArray:
    """Return what links take for an acknowledgement that is a packet, store-and-forward."""
    net = tables.net[0]
    taken = np.zeros(len(pairs), dtype=np.int64)
    place = pairs["reverse"].astype(np.int64)
    link = tables["hops"][place].astype(np.int64)
    while (going := link != NONE).any():
        taken[going] += _wire_ps(tables["links"]["kbps"][link[going] >> net["class_shift"]], net["ack_bytes"])
        place = place + going
        link = np.where(going, tables["hops"][place], NONE).astype(np.int64)
    return taken


def _wire_ps(kbps: IntArray, size: int) -> IntArray:
    """Return what links take for so many bytes, to the nearest picosecond."""
    return np.asarray((int(size) * 8_000_000_000 + kbps // 2) // kbps)
