"""Events come out of the calendar in the order of time, key and number, however many share a bucket."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from zcube.compile_cache import compiled, unkept
from zcube.fabric.catalog import load_fabric
from zcube.network.link_set import LinkSet
from zcube.network.packet.build import idle_network
from zcube.network.packet.calendar import give_back, next_time, put, put_after, take_free, take_next
from zcube.network.packet.records import net_of, packet_of
from zcube.network.packet.settings import PacketSettings
from zcube.network.packet.state import BLOCK, CHUNK, NEVER, SORTED_AT_ONCE


@unkept()
def record(net, number):
    """Return a free record with a number."""
    slot = take_free(net)
    packet_of(net, slot).number = number
    return slot


@unkept()
def take_into(net, taken):
    """Take the next event into a row, and give its record back."""
    taken[0] = next_time(net, NEVER - 1)
    slot = take_next(net)
    row = packet_of(net, slot)
    taken[1], taken[2] = row.key, row.number
    give_back(net, slot)


@compiled()
def ordered(table, time_ps, key, number, later_ps, count):
    """Put events in and take so many, putting in another so much later than each of the first ones; return what came."""
    net = net_of(table)
    taken = np.empty((count, 3), np.int64)
    for at in range(len(time_ps)):
        put(net, record(net, number[at]), time_ps[at], key[at])
    for at in range(len(taken)):
        take_into(net, taken[at])
        if at < len(later_ps):
            put(net, record(net, len(time_ps) + at), taken[at, 0] + later_ps[at], key[at])
    return taken


@compiled()
def ordered_in_lanes(table, key, wait_ps, lane):
    """Put two events in after each one that comes, in a lane and so much later, and return what came; eight are there."""
    net = net_of(table)
    taken = np.empty((len(key), 3), np.int64)
    for at in range(8):
        put(net, record(net, at), at, key[at])
    put_in = 8
    for at in range(len(taken)):
        take_into(net, taken[at])
        for _ in range(2):
            if put_in < len(key):
                put_after(net, lane[put_in], record(net, put_in), taken[at, 0] + wait_ps[put_in], key[put_in])
                put_in += 1
    return taken


@pytest.mark.parametrize("free", [True, False], ids=["chunks for all", "no chunk free"])
@pytest.mark.parametrize("spread_ps", [0, 40_000], ids=["each lane with its wait", "waits that differ"])
def test_events_in_lanes_come_in_order(free, spread_ps):
    """Of lanes some have one event and some take several chunks; what cannot stand in one is filed elsewhere."""
    tables = idle_network(LinkSet.of_fabric(load_fabric("roft-256")), PacketSettings(), 0.0)
    lanes, events, draw = int(tables.net["lanes"][0]), 4000, np.random.default_rng(1)
    assert lanes >= 2 and len(tables["laned"]) > 10 * CHUNK
    tables.add_packets(len(tables["packets"]) + events)
    if not free:
        tables.net["free_chunk"] = 0
    lane, key = draw.integers(-1, lanes, events), draw.integers(0, 1 << 28, events)
    wait_ps = np.where(lane < 0, draw.integers(0, 3_000_000, events), 82_000 + 400_000 * lane) + draw.integers(
        0, spread_ps + 1, events
    )
    taken = ordered_in_lanes(tables.net, key, wait_ps, lane)
    rows = [tuple(row) for row in taken.tolist()]
    assert rows == sorted(rows) and sorted(taken[:, 2].tolist()) == list(range(events))
    # Each was due so much later than the one that came before it was put in.
    number = taken[:, 2]
    late = number >= 8
    cause = (number[late] - 8) // 2
    assert np.array_equal(taken[late, 0] - taken[cause, 0], wait_ps[number[late]])
    assert tables.net["lane_ps"][0] == NEVER and (tables["lanes"]["next_ps"] == NEVER).all()


@pytest.mark.parametrize(
    ("events", "span_ps", "keys"),
    [
        (1, 1, 1),
        (7, 1, 3),  # one block of a bucket
        (8, 1, 3),
        (33, 90, 1 << 12),  # as few as are sorted by insertion, and one more
        (300, 5, 1 << 28),
        (450, 1, 2),  # nothing but ties
        (SORTED_AT_ONCE + 1, 3, 1 << 13),
        (3 * SORTED_AT_ONCE + 5, 1, 1 << 31),
        (2500, 40_000_000_000, 1 << 20),  # most beyond the calendar's short buckets
    ],
)
def test_events_come_in_order(events, span_ps, keys):
    draw = np.random.default_rng(events)
    tables = idle_network(LinkSet.of_fabric(load_fabric("roft-256")), PacketSettings(), 0.0)
    tables.add_packets(len(tables["packets"]) + 2 * events)
    time_ps, key = draw.integers(0, span_ps, events), draw.integers(0, keys, events)
    number, later_ps = draw.permutation(events), draw.integers(0, 1_000_000, events // 2)
    taken = [tuple(row) for row in ordered(tables.net, time_ps, key, number, later_ps, events + len(later_ps)).tolist()]
    assert taken == sorted(taken)
    later = {(int(taken[at][0] + later_ps[at]), int(key[at]), events + at) for at in range(len(later_ps))}
    assert set(taken) == set(zip(time_ps.tolist(), key.tolist(), number.tolist(), strict=True)) | later


@pytest.mark.parametrize("each", [2, 8])
def test_there_are_blocks_for_buckets_that_take_most_of_them(each):
    """Two events take a block of their own, eight take two of seven."""
    tables = idle_network(LinkSet.of_fabric(load_fabric("roft-256")), PacketSettings(), 0.0)
    buckets, shift = int(tables.net["buckets"][0]), int(tables.net["bucket_shift"][0])
    events = each * (buckets - 1)
    tables.add_packets(len(tables["packets"]) + events)
    time_ps = (1 + np.arange(events) % (buckets - 1)) << shift
    key, number, none = np.zeros(events, np.int64), np.arange(events), np.zeros(0, np.int64)
    taken = [tuple(row) for row in ordered(tables.net, time_ps, key, number, none, len(number)).tolist()]
    assert taken == sorted(zip(time_ps.tolist(), key.tolist(), number.tolist(), strict=True))
    used = int(tables.net["blocks_used"][0])
    assert used == -(-each // (BLOCK - 1)) * (buckets - 1) and (used + 1) * BLOCK <= len(tables["blocks"])


def test_events_of_the_slowest_links_come_in_order():
    links = LinkSet.of_fabric(load_fabric("roft-256"))
    tables = idle_network(replace(links, capacity_bps=np.full(len(links.capacity_bps), 1e3)), PacketSettings(), 0.0)
    draw, none = np.random.default_rng(0), np.zeros(0, np.int64)
    # So slow that a bucket as wide as elsewhere would hold times that do not fit before the key.
    time_ps, key, number = draw.integers(0, 1 << 36, 900), draw.integers(0, 1 << 31, 900), np.arange(900)
    taken = [tuple(row) for row in ordered(tables.net, time_ps, key, number, none, len(number)).tolist()]
    assert taken == sorted(zip(time_ps.tolist(), key.tolist(), number.tolist(), strict=True))


def test_events_come_in_order_where_buckets_are_taken_together():
    """Few events make it take many buckets at once; what comes later than all buckets has the rows of those in hand."""
    tables = idle_network(LinkSet.of_fabric(load_fabric("roft-256")), PacketSettings(), 0.0)
    shift, reach_ps = int(tables.net["bucket_shift"][0]), int(tables.net["buckets"][0]) << int(tables.net["bucket_shift"][0])
    assert tables.net["most_reach"] >= 8
    tables.net["fetching"] = 1
    draw, events = np.random.default_rng(0), 60_000
    time_ps = np.sort(draw.integers(0, events << shift, events))
    later_ps = reach_ps + draw.integers(-64 << shift, 64 << shift, events)
    key, number = draw.integers(0, 1 << 28, events), np.arange(events)
    tables.add_packets(len(tables["packets"]) + 2 * events)
    taken = [tuple(row) for row in ordered(tables.net, time_ps, key, number, later_ps, events + len(later_ps)).tolist()]
    assert taken == sorted(taken) and len(set(taken)) == 2 * events


def test_what_is_in_hand_when_fetching_begins_is_not_fetched_ahead():
    """Where nothing is fetched, events are not counted as they are taken; what has been taken must not be looked at."""
    tables = idle_network(LinkSet.of_fabric(load_fabric("roft-256")), PacketSettings(), 0.0)
    tables.add_packets(len(tables["packets"]) + 900)
    tables.net["fetching"] = 0
    draw, none = np.random.default_rng(0), np.zeros(0, np.int64)
    time_ps = (4 << int(tables.net["bucket_shift"][0])) + np.sort(draw.integers(0, 40, 900))
    key, number = draw.integers(0, 1 << 28, 900), np.arange(900)
    held = ordered(tables.net, time_ps[:800], key[:800], number[:800], none, 300)
    assert tables.net["current"][0] >= 0
    tables.net["fetching"] = 1
    assert tables.net["ahead"][0] == tables.net["ahead_end"][0] == 0
    rest = ordered(tables.net, time_ps[800:], key[800:], number[800:], none, 600)
    taken = [tuple(row) for row in np.concatenate([held, rest]).tolist()]
    assert sorted(taken) == sorted(zip(time_ps.tolist(), key.tolist(), number.tolist(), strict=True))
    assert taken[300:] == sorted(taken[300:])
