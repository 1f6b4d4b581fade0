"""Switches as vendors sell them: marking by one law, buffers by chip."""

from __future__ import annotations

import numpy as np
import pytest
from packet_networks import FULL_PS, Network, flows, run, star

from zcube.network.packet.build import idle_network
from zcube.network.packet.settings import PacketSettings
from zcube.network.packet.switch_settings import SWITCH_BUFFERS

RATES = np.array([25e9, 100e9, 200e9, 400e9, 800e9])


def test_one_law_marks_every_link_at_the_same_time_in_queue():
    kmin, kmax, pmax = PacketSettings(marking_law="time").marking_of(RATES)
    assert np.allclose(kmin * 8 / RATES, 16e-6) and np.allclose(kmax * 8 / RATES, 64e-6)
    assert pmax.tolist() == [0.2] * len(RATES)


def test_the_law_meets_the_vendor_table_at_400g_and_not_at_200g():
    law, table = (PacketSettings(marking_law=name).marking_of(RATES) for name in ("time", "table"))
    assert [column[3] for column in law] == [column[3] for column in table] == [800_000, 3_200_000, 0.2]
    assert [column[2] for column in table] == [300_000, 1_200_000, 0.8]
    assert [column[2] for column in law] == [400_000, 1_600_000, 0.2]


def test_hpcc_s_thresholds_are_those_of_the_law_with_its_times():
    """100 KB and 400 KB at 25 Gb/s, in proportion to the rate."""
    settings = PacketSettings(marking_law="time", marking_kmin_s=32e-6, marking_kmax_s=128e-6)
    kmin, kmax, _ = settings.marking_of(RATES)
    assert np.allclose(kmin, 100e3 * RATES / 25e9) and np.allclose(kmax, 400e3 * RATES / 25e9)


@pytest.mark.parametrize("gbps", [200.0, 400.0])
def test_an_incast_is_marked_from_the_same_delay_on(gbps):
    """Two senders at line rate: the queue grows by a packet a packet time, so the first marks need KMIN's time."""
    network = star(3, gbps=gbps)
    time_s = 20e-6
    model = network.model(congestion_control="dcqcn", marking_law="time", marking_kmin_s=time_s, marking_kmax_s=2 * time_s)
    model.send(flows((0, 2, 8 << 20), (1, 2, 8 << 20)))
    model.advance(0.98 * time_s)
    assert model.counts.marks == 0
    model.advance(3 * time_s)
    assert model.counts.marks > 0


def test_buffers_are_those_of_the_vendor_s_table():
    assert {name: size // 10**6 for name, size in SWITCH_BUFFERS.items()} == {
        "tomahawk-1": 16,
        "tomahawk-2": 42,
        "tomahawk-3": 64,
        "tomahawk-4": 112,
        "tomahawk-5": 165,
    }


def test_each_tier_has_its_buffer():
    """Hosts, leaves (tier 1), spines (2), a core (3); a tier that is not there is left out."""
    network = Network(
        ("h0", "leaf0"), ("h1", "leaf1"), ("leaf0", "spine0"), ("leaf1", "spine1"), ("spine0", "core"), ("spine1", "core")
    )
    tiers = (
        {"tier": 1, "switch_class": "tomahawk-4"},
        {"tier": 3, "buffer_bytes": 7 << 20},
        {"tier": 8, "buffer_bytes": 1 << 20},
    )
    tables = idle_network(network.link_set, PacketSettings(pfc=False, tier_buffers=tiers), 0.0)
    # By name: core, leaf0, leaf1, spine0, spine1.
    assert tables["switches"]["shared"].tolist() == [7 << 20, 112_000_000, 112_000_000, 32 << 20, 32 << 20]


def paused_uplink(**settings):
    """Three senders behind one uplink of which the far switch's buffer takes little: the uplink's pauses last long."""
    network = Network(("h0", "a"), ("h1", "a"), ("a", "b"), ("h2", "b"), ("b", "h3"))
    network.path("h0", "a", "b", "h3").path("h1", "a", "b", "h3").path("h2", "b", "h3")
    model = network.model(pfc_threshold="static", xoff_bytes=20_000, **settings)
    finish = run(model, flows(*((sender, 3, 4 << 20) for sender in range(3))))
    return finish, model.counts


@pytest.mark.parametrize("quanta", [40, 300, 65535])
def test_a_pause_that_is_refreshed_lasts_as_one_that_is_let_go(quanta):
    """Each frame sent again is there before the one before expires: transfers end at the same picosecond."""
    plain, counts = paused_uplink()
    for part in (0.1, 0.5, 0.9):
        finish, refreshed = paused_uplink(pause_quanta=quanta, pause_refresh=part)
        assert finish.tolist() == plain.tolist() and refreshed.pauses == counts.pauses
        assert refreshed.expiries == refreshed.drops == 0
    assert (paused_uplink(pause_quanta=40)[1].events > counts.events) and counts.pauses > 0


def test_frames_of_less_than_a_picosecond_are_not_sent_again_without_end():
    """A quantum of a link of 1,000,000 Gb/s is 0.5 ps, half of it no whole picosecond."""
    network = Network(("h0", "a"), ("a", "b"), ("h1", "b"), ("b", "h2"), gbps=1e6, latency_s=1e-9)
    network.path("h0", "a", "b", "h2").path("h1", "b", "h2")
    model = network.model(pfc_threshold="static", xoff_bytes=20_000, pause_quanta=1)
    finish = run(model, flows((0, 2, 1 << 20), (1, 2, 1 << 20)))
    assert np.all(finish > 0) and model.counts.pauses > 0 and model.received_bytes == model.posted_bytes


def test_a_pause_that_is_not_refreshed_ends_after_its_quanta_and_what_comes_then_is_lost():
    """The queue is let go 512 bits times the quanta after the frame took effect, to the picosecond."""
    network = Network(("h0", "a"), ("a", "b"), ("h1", "b"), ("b", "h2"))
    network.path("h0", "a", "b", "h2").path("h1", "b", "h2")
    model = network.model(pfc_threshold="static", xoff_bytes=20_000, xon_gap_bytes=20_000, pause_quanta=100, pause_refresh=None)
    finish = run(model, flows((0, 2, 4 << 20), (1, 2, 4 << 20)))
    log = model.pause_log()
    lasted = np.round((np.asarray(log.until_s) - np.asarray(log.from_s)) * 1e12).astype(int)
    assert lasted.max() == 100 * 512 * 1000 // 400 and (lasted == lasted.max()).sum() == model.counts.expiries > 0
    assert model.counts.drops > 0 and np.all(finish > 0) and model.received_bytes == model.posted_bytes


def test_a_switch_has_the_buffer_of_its_class():
    network = star(3)
    for settings, size in (({}, 32 << 20), ({"switch_class": "tomahawk-5"}, 165_000_000)):
        tables = idle_network(network.link_set, PacketSettings(**settings), 0.0)
        row = tables["switches"][0]
        # Headroom is counted as for packets.
        assert abs(int(row["shared"] + row["headroom"]) - size) <= 1
    run(network.model(switch_class="tomahawk-1"), flows((0, 1, 1 << 20)))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"switch_class": "tomahawk-5", "buffer_bytes": 1 << 20}, "buffer_bytes or switch_class, not both"),
        ({"switch_class": "spectrum-4"}, "tomahawk"),
        ({"marking_kmin_s": 1e-4, "marking_kmax_s": 1e-4}, "marking_kmax_s above marking_kmin_s"),
    ],
)
def test_contradictions_are_named(settings, told):
    with pytest.raises(ValueError, match=told):
        PacketSettings(**settings)


TWO = {"traffic_classes": 2}


def classes(*numbers):
    return {"traffic_class": np.array(numbers)}


@pytest.mark.parametrize(("weights", "shares"), [((1, 1), (0.5, 0.5)), ((1, 3), (0.25, 0.75)), ((2, 1), (2 / 3, 1 / 3))])
def test_classes_share_a_port_by_their_weights(weights, shares):
    """Two senders a class, so that both wait at the port throughout."""
    network, size = star(5), 8 << 20
    model = network.model(class_service="weighted", class_weights=weights, **TWO)
    model.send(flows(*((sender, 4, size) for sender in range(4)), **classes(0, 0, 1, 1)))
    model.advance(300e-6)
    received = model._tables["flows"]["received"][:4].astype(float)
    found = received.reshape(2, 2).sum(axis=1) / received.sum()
    assert np.allclose(found, shares, atol=0.01)


def test_experts_pass_all_other_traffic_where_service_is_strict():
    network, size = star(4), 1 << 20
    rows = [(0, 3, 8 << 20), (1, 3, 8 << 20), (2, 3, size, 100e-6)]
    alone = run(network.model(**TWO), flows(rows[2], **classes(1)))[0] - 100_000_000
    one, two = (run(network.model(**more), flows(*rows, **classes(0, 0, 1)))[2] - 100_000_000 for more in ({}, TWO))
    # Each packet may find one of the others on the port, and they hold it up no further.
    assert alone <= two <= alone + 2 * FULL_PS
    assert one > 2 * alone


def test_a_pause_of_one_class_leaves_the_other_going():
    """h0 sends KV into a hot port of s1, and experts' tokens past it over the same links."""
    cables = [("h0", "s0"), ("s0", "s1"), *((f"h{host}", "s1") for host in (1, 2, 3, 4))]
    network = Network(*cables)
    for host in (1, 2):
        network.path(f"h{host}", "s1", "h3")
    network.path("h0", "s0", "s1", "h3").path("h0", "s0", "s1", "h4")
    rows = [(0, 3, 4 << 20), (1, 3, 4 << 20), (2, 3, 4 << 20), (0, 4, 1 << 20, 100e-6)]
    found = {}
    for count in (1, 2):
        model = network.model(traffic_classes=count, pfc_threshold="static", xoff_bytes=50_000)
        finish = run(model, flows(*rows, **classes(0, 0, 0, 1)))
        assert model.counts.pauses > 0 and model.counts.drops == 0
        found[count] = finish[3] - 100_000_000, model.delays().blocked_s[3]
    alone = run(network.model(), flows(rows[3]))[0] - 100_000_000
    assert found[1][0] > 1.3 * alone and found[1][1] > 0
    assert found[2][0] <= alone + 3 * FULL_PS and found[2][1] == 0


def test_classes_are_0_and_1():
    with pytest.raises(ValueError, match="traffic classes are 0 and 1"):
        star(2).model(**TWO).send(flows((0, 1, 100), **classes(2)))
    with pytest.raises(ValueError, match=r"skip\.mode off where there are two traffic classes"):
        PacketSettings(**TWO, skip={"mode": "steady"})
