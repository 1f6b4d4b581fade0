"""Parts that start as others have started: settled once, and never where anything could make them go otherwise."""

from __future__ import annotations

import numpy as np
import pytest
from packet_networks import Network, flows, run
from pydantic import ValidationError

from zcube.network.packet.settings import PacketSettings
from zcube.network.packet.settlement import settle

SIZE = 4096 * 300
BUFFER = {"buffer_bytes": 1 << 21, "congestion_control": "none"}


def stars(*gbps, hosts=5, latency_s=500e-9):
    """Stars of hosts, each on a switch of its own, with the rate of their links."""
    cables = [(f"h{star * hosts + host}", f"s{star}", rate) for star, rate in enumerate(gbps) for host in range(hosts)]
    network = Network(*cables, latency_s=latency_s)
    for star in range(len(gbps)):
        members = range(star * hosts, (star + 1) * hosts)
        for a in members:
            for b in set(members) - {a}:
                network.path(f"h{a}", f"s{star}", f"h{b}")
    return network


def incast(first, size=SIZE, start_s=0.0, senders=4):
    return [(first + sender, first + 4, size, start_s) for sender in range(senders)]


def modes(network, rows, skip=None, **chosen):
    """Return completion times and model without skipping, with what is steady skipped, and with parts reused."""
    found = []
    for mode in ("off", "steady", "reuse"):
        model = network.model(**{**BUFFER, **chosen}, skip={"mode": mode, **(skip or {})})
        found.append((run(model, flows(*rows)), model))
    return found


def seen(model):
    """What ports, links, transfers and the log of pauses show."""
    log = model.pause_log()
    pauses = sorted(zip(log.from_s, log.until_s, log.link, log.cause_link, log.root_link))
    delays = model.delays()
    return (
        model.queue_table().frame().to_csv(),
        model.link_table().size_bytes.tolist(),
        [column.tolist() for column in (delays.blocked_s, delays.victim_s, delays.rate_cuts)],
        pauses,
    )


@pytest.mark.parametrize("threshold", ["dynamic", "static"])
def test_copies_of_an_incast_are_settled_once_and_go_as_in_the_full_run(threshold):
    """Also their pauses by port, whose congestion they waited for, and their bytes."""
    chosen = {"pfc_threshold": threshold, "xoff_bytes": 100_000}
    (off_ps, off), _, (reuse_ps, reuse) = modes(stars(400.0, 400.0, 400.0), [*incast(0), *incast(5), *incast(10)], **chosen)
    assert off.counts.pauses > 3
    assert reuse_ps.tolist() == off_ps.tolist()
    assert seen(reuse) == seen(off)
    assert reuse.counts.reused == 12
    assert reuse.counts.events * 3 == off.counts.events
    assert reuse.counts.packet_hops == off.counts.packet_hops and reuse.counts.pauses == off.counts.pauses


def test_what_repeats_in_time_is_simulated_at_first_and_settled_when_it_comes_again():
    rows = [row for round_ in range(6) for row in incast(0, start_s=round_ * 1e-3)]
    (off_ps, off), _, (reuse_ps, reuse) = modes(stars(400.0), rows)
    assert reuse_ps.tolist() == off_ps.tolist()
    assert seen(reuse) == seen(off)
    assert reuse.counts.reused == 5 * 4
    assert reuse.counts.events * 3 == off.counts.events


@pytest.mark.parametrize(
    ("gbps", "other"),
    [
        ((400.0, 400.0), incast(5, size=SIZE + 1)),
        ((400.0, 200.0), incast(5)),
        ((400.0, 400.0), incast(5, senders=3)),
        ((400.0, 400.0), [*incast(5, senders=3), (8, 7, SIZE)]),
    ],
    ids=["size", "rate and thresholds", "members", "conflicts"],
)
def test_what_differs_never_matches(gbps, other):
    (off_ps, off), _, (reuse_ps, reuse) = modes(stars(*gbps), [*incast(0), *other])
    assert reuse.counts.reused == 0
    assert reuse_ps.tolist() == off_ps.tolist() and seen(reuse) == seen(off)


def test_a_buffer_that_others_share_is_part_of_what_must_be_equal():
    """Two incasts at one switch stop each other's senders: neither goes as it would alone."""
    rows = [(0, 4, SIZE), (1, 4, SIZE), (2, 4, SIZE), (5, 9, SIZE), (6, 9, SIZE), (7, 9, SIZE)]
    (off_ps, off), _, (reuse_ps, reuse) = modes(stars(400.0, hosts=10), rows)
    assert off.counts.pauses > 3
    assert reuse.counts.reused == 0
    assert reuse_ps.tolist() == off_ps.tolist() and seen(reuse) == seen(off)


def test_where_nothing_is_stopped_a_buffer_with_room_may_be_shared():
    rows = [(0, 4, SIZE), (1, 4, SIZE), (5, 9, SIZE), (6, 9, SIZE)]
    (off_ps, off), _, (reuse_ps, reuse) = modes(stars(400.0, hosts=10), rows, buffer_bytes=1 << 26)
    assert off.counts.pauses == 0
    assert reuse.counts.reused == 4
    assert reuse_ps.tolist() == off_ps.tolist()


@pytest.mark.parametrize(("buffer_bytes", "pauses"), [(4 << 20, True), (5 << 20, False)])
def test_parts_that_start_together_are_reused_only_if_buffers_have_room_for_all(buffer_bytes, pauses):
    """One beside another is within the thresholds, all three are not."""
    rows = [(first + sender, first + 4, SIZE) for first in (0, 5, 10) for sender in range(2)]
    (off_ps, off), _, (reuse_ps, reuse) = modes(stars(400.0, hosts=15), rows, buffer_bytes=buffer_bytes, pfc_alpha=8.0)
    assert (off.counts.pauses > 3) == pauses
    assert reuse.counts.reused == (0 if pauses else 6)
    assert reuse_ps.tolist() == off_ps.tolist() and seen(reuse) == seen(off)


def test_what_starts_beside_a_reused_part_finds_its_share_of_the_buffer_taken_until_it_rests():
    """Its thresholds are those beside the most that the part holds, which it holds for some of that time."""
    rows = [(first + sender, first + 4, SIZE) for first in (0, 5) for sender in range(2)]
    beside = [(10 + sender, 14, SIZE + 5, 1e-6) for sender in range(3)]
    later = [(10 + sender, 14, SIZE + 9, 1.0) for sender in range(3)]
    chosen = {"buffer_bytes": 4 << 20, "pfc_alpha": 1.0}
    (off_ps, off), _, (reuse_ps, reuse) = modes(stars(400.0, hosts=15), [*rows, *beside, *later], **chosen)
    assert reuse.counts.reused == 4
    assert off.counts.pauses > 30 and reuse.counts.pauses == pytest.approx(off.counts.pauses, rel=0.3)
    np.testing.assert_allclose(reuse_ps[:7], off_ps[:7], rtol=0.03)
    # Nothing is held any more.
    assert reuse_ps[7:].tolist() == off_ps[7:].tolist()
    assert not reuse._tables["switches"]["used"].any()


@pytest.mark.parametrize("late", [(3, 9, 1000, 2e-5), (3, 4, 1000, 2e-5)])
def test_a_part_that_a_later_transfer_joins_is_not_reused(late):
    """Over its links, or through a switch where something is stopped."""
    network = stars(400.0, 400.0, hosts=10)
    rows = [*incast(0, senders=3), *((10 + a, 14, SIZE) for a in range(3)), late]
    (off_ps, off), _, (reuse_ps, reuse) = modes(network, rows)
    assert off.counts.pauses > 3
    assert reuse.counts.reused == 3
    assert reuse_ps.tolist() == off_ps.tolist() and seen(reuse) == seen(off)


def test_a_transfer_posted_later_may_join_what_is_under_way():
    """What is advanced step by step is not reused beyond the step, since nobody knows what will be posted."""
    network, rows = stars(400.0, 400.0), [*incast(0), *incast(5)]
    found = []
    for mode in ("off", "reuse"):
        model = network.model(**BUFFER, skip={"mode": mode})
        model.send(flows(*rows))
        model.advance(3e-5)
        model.send(flows((0, 4, SIZE, 4e-5)))
        model.advance(float("inf"))
        found.append((model.completions().finish_s.tolist(), seen(model)))
    assert found[0] == found[1]


@pytest.mark.parametrize(("quantum", "reused"), [(0.0, 0), (0.01, 10)])
def test_marks_drawn_at_random_are_reused_only_if_asked_for(quantum, reused):
    marking = [{"up_to_gbps": 400, "kmin_bytes": 20_000, "kmax_bytes": 100_000, "pmax": 0.5}]
    rows = [(first + sender, first + 4, SIZE) for first in (0, 5, 10, 15, 20) for sender in range(2)]
    chosen = {"congestion_control": "dcqcn", "buffer_bytes": 1 << 25, "marking": marking, "skip": {"reuse_quantum": quantum}}
    (off_ps, off), _, (reuse_ps, reuse) = modes(stars(*[400.0] * 5), rows, **chosen)
    assert off.counts.marks > 0
    assert reuse.counts.reused == reused
    if not reused:
        assert reuse_ps.tolist() == off_ps.tolist() and seen(reuse) == seen(off)
    else:
        assert len(set(reuse_ps[::2].tolist())) == 1 and reuse.counts.notifications % 5 == 0 < reuse.counts.notifications
        assert np.mean(reuse_ps) == pytest.approx(np.mean(off_ps), rel=0.1)


def test_an_interrupt_while_a_part_settles_leaves_what_switches_hold_as_it_was(monkeypatch):
    settled = []

    def interrupted(*given):
        settled.append(given)
        if len(settled) == 2:
            raise KeyboardInterrupt
        return settle(*given)

    monkeypatch.setattr("zcube.network.packet.reuse.settle", interrupted)
    rows = [(first + sender, first + 4, SIZE) for first in (0, 5) for sender in range(2)]
    later = [(10 + sender, 14 + 3 * part, SIZE // 4, 1e-5) for part in range(2) for sender in (3 * part, 3 * part + 1)]
    model = stars(400.0, hosts=20).model(buffer_bytes=1 << 26, congestion_control="none", skip={"mode": "reuse"})
    model.send(flows(*rows, *later))
    with pytest.raises(KeyboardInterrupt):
        model.advance(float("inf"))
    used = model._tables["switches"]["used"]
    assert used[0] == model._reuse._held[0] > 0


def test_what_is_known_stays_within_its_memory():
    rows = [row for round_ in range(6) for row in incast(0, size=SIZE + round_ // 2, start_s=round_ * 1e-3)]
    (off_ps, _), _, (reuse_ps, reuse) = modes(stars(400.0), rows, skip={"reuse_bytes": 0})
    assert reuse.counts.reused == 0 and reuse.memory_bytes > 0
    assert reuse_ps.tolist() == off_ps.tolist()
    _, _, (_, roomy) = modes(stars(400.0), rows)
    assert roomy.counts.reused == 3 * 4


def test_acknowledgements_that_are_packets_are_refused():
    with pytest.raises(ValidationError, match="outlive"):
        PacketSettings(acknowledgements="packets", skip={"mode": "reuse"})
