"""Lost and trimmed packets sent again one by one, where the times can be counted by hand.

Eleven packets that reach a switch with 64 KiB in one picosecond: one goes through, eight fit the queue, which may hold as much
as is then free, the others do not.
"""

from __future__ import annotations

import numpy as np
import pytest
from packet_networks import FULL_PS, PS, flows, run, star

from zcube.network.packet.settings import PacketSettings

LATENCY_PS = 500_000
#: 84 bytes at 400 Gb/s.
HEADER_PS = 84 * 20
#: When a packet sent at 0 has reached the switch.
AT_SWITCH_PS = FULL_PS + LATENCY_PS
SELECTIVE = {"pfc": False, "recovery": "selective", "buffer_bytes": 1 << 16, "congestion_control": "none"}


def lossy(hosts, **settings):
    return star(hosts).model(**SELECTIVE | settings)


def test_a_trimmed_packet_is_asked_for_before_the_queue_has_drained():
    model = lossy(12, trimming=True)
    finish = run(model, flows(*((sender, 11, 4096) for sender in range(11))))
    queued = AT_SWITCH_PS + FULL_PS + 2 * HEADER_PS + np.arange(9) * FULL_PS + LATENCY_PS
    assert finish[1:9].tolist() == (queued[1:]).tolist()
    asked = AT_SWITCH_PS + FULL_PS + HEADER_PS + LATENCY_PS + 2 * LATENCY_PS
    again = asked + 2 * (FULL_PS + LATENCY_PS)
    assert finish[9:].tolist() == [again, again + FULL_PS]
    counts = model.counts
    assert (counts.trims, counts.repeats, counts.drops, counts.timeouts, counts.duplicates) == (2, 2, 0, 0, 0)
    table = model.queue_table()
    assert table.trims.sum() == 2 and table.trims[table.priority == 0].sum() == 2


def test_a_header_without_room_waits_for_the_timeout():
    model = lossy(12, trimming=True, trim_queue_bytes=100, retransmit_timeout_s=20e-6)
    finish = run(model, flows(*((sender, 11, 4096) for sender in range(11))))
    assert finish[10] == 2 * 20_000_000 + 2 * (FULL_PS + LATENCY_PS)
    counts = model.counts
    assert (counts.trims, counts.headers_lost, counts.repeats, counts.timeouts) == (2, 1, 2, 1)


@pytest.mark.parametrize("timeout_s", [10e-6, 100e-6])
def test_a_lost_packet_with_none_behind_it_waits_for_two_timeouts(timeout_s):
    model = lossy(12, retransmit_timeout_s=timeout_s)
    finish = run(model, flows(*((sender, 11, 4096) for sender in range(11))))
    again = round(2 * timeout_s * PS) + 2 * (FULL_PS + LATENCY_PS)
    assert finish[9:].tolist() == [again, again + FULL_PS]
    assert (model.counts.drops, model.counts.repeats, model.counts.timeouts) == (2, 2, 2)


def test_what_a_later_packet_shows_to_be_lost_is_asked_for_at_once():
    model = lossy(11)
    finish = run(model, flows(*((sender, 10, 4096) for sender in range(9)), (9, 10, 3 * 4096)))
    third = AT_SWITCH_PS + 10 * FULL_PS + LATENCY_PS
    assert finish[9] == third + 2 * LATENCY_PS + 2 * (FULL_PS + LATENCY_PS) + FULL_PS
    assert (model.counts.drops, model.counts.repeats, model.counts.timeouts) == (2, 2, 0)


def test_the_port_never_idles_where_packets_are_trimmed():
    """An incast at line rate: what the port carries is each packet once, and headers."""
    size, senders = 2 << 20, 8
    model = lossy(senders + 1, trimming=True)
    finish = run(model, flows(*((sender, senders, size) for sender in range(senders))))
    carried = senders * size // 4096 * FULL_PS + model.counts.trims * HEADER_PS
    assert model.counts.trims > 1000
    assert 0 <= finish.max() - carried - AT_SWITCH_PS - LATENCY_PS < 2 * FULL_PS


def test_selective_recovery_repeats_less_than_going_back():
    """Bursts of twenty packets cross a long transfer."""
    bursts = [(sender, 21, 4096, 1e-5 * burst) for burst in range(1, 5) for sender in range(20)]
    found = {}
    for recovery in ("go-back-n", "selective"):
        model = lossy(22, recovery=recovery)
        finish = run(model, flows((20, 21, 1000 * 4096), *bursts))
        found[recovery] = finish[0], model.counts
    (back_ps, back), (each_ps, each) = found["go-back-n"], found["selective"]
    assert each.repeats == each.drops > 0 and back.repeats > 2 * back.drops
    assert each_ps < back_ps


@pytest.mark.parametrize("window", [64, 128])
def test_a_window_of_packets_bounds_what_is_sent_ahead_of_a_loss(window):
    """The first packet of a transfer is lost, and nothing tells of it but the timeout when packets may overtake."""
    network = star(11)
    network.path("h9", "s", "h10")
    model = network.model(**SELECTIVE | {"path_choice": "spray", "selective_window_packets": window})
    packets, timeout_ps = 400, 500_000_000
    finish = run(model, flows(*((sender, 10, 4096) for sender in range(9)), (9, 10, packets * 4096)))
    assert model.counts.drops > 0 and model.counts.repeats == model.counts.drops
    # Until the first timeout that repeats it, a window has gone; the rest follows.
    assert finish[9] > 2 * timeout_ps + (packets - window) * FULL_PS
    assert finish[9] < 2 * timeout_ps + (packets - window) * FULL_PS + 20 * LATENCY_PS


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"trimming": True, "recovery": "selective"}, "pfc false where trimming"),
        ({"trimming": True, "pfc": False}, "recovery selective where trimming"),
        ({"recovery": "selective", "skip": {"mode": "steady"}}, "skip.mode off where recovery is selective"),
        ({"selective_window_packets": 100}, "a power of two"),
        ({"pause_quanta": 100, "pfc": False}, "pfc true where there are pause_quanta"),
        ({"pause_quanta": 100, "skip": {"mode": "steady"}}, "skip.mode off where there is a pfc_watchdog_s or pause_quanta"),
        ({"tier_buffers": [{"tier": 1}]}, "buffer_bytes or switch_class, one of them"),
        ({"tier_buffers": [{"tier": 2, "buffer_bytes": 1 << 20}] * 2}, "tier_buffers with each tier once"),
    ],
)
def test_what_does_not_go_together_is_named(settings, told):
    with pytest.raises(ValueError, match=told):
        PacketSettings(**settings)
