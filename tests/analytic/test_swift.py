"""Swift against its paper: the law by itself, and the set-ups of figures 17, 21 and 22 and of table 3."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from packet_networks import FULL_PS, Network, control_records, flows, star

from zcube.network.packet.controls import swift_kernels
from zcube.network.packet.controls.swift import Swift
from zcube.network.packet.state import SENDER

US = 10**6
#: Full packets at the line rate of 1 byte per picosecond of a sender by itself.
PACKET = 4000


class Sender:
    """A queue pair of Swift by itself."""

    def __init__(self, hops=0, **settings):
        self.sender, self.state = np.zeros(1, SENDER)[0], np.zeros(1, swift_kernels.STATE)[0]
        self.parameters = Swift(**{"first_window": 10.0, "additive_increase": 1.0, **settings}).record()[0]
        self.state["packet_bytes"], self.state["hops"] = PACKET, hops
        self.sender["line"] = self.sender["rate"] = 1.0
        self.now_ps = 0
        swift_kernels.start(self.sender, self.state, self.parameters, 0)

    @property
    def window(self):
        return float(self.state["window"])

    def acknowledge(self, round_trip_us, after_us=0.0, packets=1):
        self.now_ps += round(after_us * US)
        round_trip_ps = round(round_trip_us * US)
        swift_kernels.steer(self.sender, self.state, self.parameters, self.now_ps, packets * PACKET, 0, round_trip_ps)
        return self.window

    def lose(self, timed_out, after_us=0.0):
        self.now_ps += round(after_us * US)
        swift_kernels.lose(self.sender, self.state, self.parameters, self.now_ps, timed_out)
        return self.window


def test_a_window_of_acknowledgements_below_the_target_adds_ai():
    sender = Sender(base_target_s=25e-6, scaling_range_s=0)
    assert sender.acknowledge(24.9) == pytest.approx(10.1, rel=1e-12)
    assert sender.sender["window_bytes"] == 10 * PACKET and sender.sender["paced"] == 0
    small = Sender(base_target_s=25e-6, scaling_range_s=0, first_window=0.25)
    assert small.acknowledge(10.0) == 1.25


def test_a_window_falls_by_its_excess_over_the_target_once_a_round_trip():
    sender = Sender(base_target_s=25e-6, hop_target_s=0, scaling_range_s=0, decrease=0.8, most_decrease=0.5)
    assert sender.acknowledge(40.0, after_us=40) == pytest.approx(10 * (1 - 0.8 * 15 / 40), rel=1e-12)
    assert sender.acknowledge(400.0, after_us=399) == pytest.approx(7.0, rel=1e-12)
    assert sender.acknowledge(400.0, after_us=1) == pytest.approx(3.5, rel=1e-12)
    assert sender.sender["cuts"] == 2


def test_the_target_scales_with_switches_and_the_window():
    """Table 2's formula: all of the range at the least window, none from the largest, by 1/sqrt(window) between."""
    limits = {"base_target_s": 20e-6, "hop_target_s": 2e-6, "scaling_range_s": 100e-6, "scaling_least_window": 0.1}
    for window, scaled_us in ((0.1, 100.0), (0.05, 100.0), (100.0, 0.0), (400.0, 0.0), (4.0, None)):
        if scaled_us is None:
            scaled_us = 100 * (1 / sqrt(window) - 0.1) / (1 / sqrt(0.1) - 0.1)
        target_us = 20 + 3 * 2 + scaled_us
        sender = Sender(3, first_window=window, **limits)
        assert sender.acknowledge(target_us + 1e-3, after_us=1000) < window
        sender = Sender(3, first_window=window, **limits)
        assert sender.acknowledge(target_us - 1e-3, after_us=1000) > window


def test_below_one_packet_the_window_is_a_pace():
    sender = Sender(base_target_s=25e-6, scaling_range_s=0, first_window=0.5)
    sender.acknowledge(50.0, after_us=10)
    assert sender.window == 0.5
    assert sender.sender["paced"] == 1 and sender.sender["window_bytes"] == PACKET
    assert sender.sender["rate"] == pytest.approx(PACKET / (2 * 50 * US), rel=1e-12)


def test_losses_cut_by_max_mdf_and_timeouts_in_a_row_to_the_least():
    sender = Sender(most_decrease=0.25, reset_timeouts=3, base_target_s=25e-6, scaling_range_s=0)
    assert sender.lose(0, after_us=100) == 7.5
    assert sender.lose(0, after_us=1) == 7.5
    assert sender.lose(1, after_us=100) == pytest.approx(5.625)
    assert sender.lose(1, after_us=100) == pytest.approx(4.21875)
    assert sender.lose(1) == 0.001


def incast(senders, flows_each, warm_s, end_s, stagger_s=0.0, **settings):
    """Return the bottleneck's Gb/s on the wire, its mean round trip, the rate of every flow, and the model."""
    draw = np.random.default_rng(1)
    model = star(senders + 1, gbps=50.0, latency_s=1e-6).model(congestion_control="swift", **settings)
    starts = draw.random(senders * flows_each) * stagger_s
    model.send(flows(*((at // flows_each, senders, 1 << 34, start_s) for at, start_s in enumerate(starts))))
    model.advance(warm_s)
    port = 2 * senders + 1
    before = model.link_table().size_bytes[port], model._tables["flows"]["received"][: len(starts)].copy()
    depths = []
    for at_s in np.linspace(warm_s, end_s, 201)[1:]:
        model.advance(at_s)
        depths.append(model._tables["queues"]["bytes"][port])
    carried = model.link_table().size_bytes[port] - before[0]
    rates = (model._tables["flows"]["received"][: len(starts)] - before[1]) / (end_s - warm_s)
    round_trip_us = 4 + (2 * FULL_PS * 8 + np.mean(depths) * 160) / US
    return carried * 8 / (end_s - warm_s) / 1e9 * 4178 / 4096, round_trip_us, rates, model


@pytest.mark.parametrize("target_us", [25, 40, 55, 70])
def test_figure_17_round_trips_track_the_target_and_throughput_is_full(target_us):
    """Ten machines with ten flows each to one, 50 Gb/s, no scaling: the target is met, and from 25 us on the link is full."""
    law = {"base_target_s": target_us * 1e-6, "hop_target_s": 0, "scaling_range_s": 0, "first_window": 1.0}
    rate_gbps, round_trip_us, _, model = incast(10, 10, 10e-3, 30e-3, swift=law)
    assert rate_gbps == pytest.approx(50, rel=0.03)
    assert round_trip_us == pytest.approx(target_us, rel=0.1)
    assert model.counts.pauses == 0


def test_figure_17_a_target_too_low_throttles():
    full = incast(10, 10, 10e-3, 20e-3, swift={"base_target_s": 25e-6, "hop_target_s": 0, "scaling_range_s": 0})[0]
    low = incast(10, 10, 10e-3, 20e-3, swift={"base_target_s": 7e-6, "hop_target_s": 0, "scaling_range_s": 0})[0]
    assert low < 0.95 * full


#: A buffer smaller than a packet of each of 5,000 flows.
LOSSY = {"pfc": False, "buffer_bytes": 1 << 24, "retransmit_timeout_s": 5e-3}


def test_table_3_and_figure_21_of_5000_flows():
    """Fifty machines with 100 flows each to one: 49.5 Gb/s of 50, a loss of 0.0003 %, 110.2 us; fairness 0.91.

    The paper gives no parameters beside the target. With those assumed here the round trip is 12 % longer. It does not say over
    what time it takes rates; at 10 Mb/s a flow sends 61 packets in 0.2 s, and fairness is 0.78 then and 0.91 over a second.
    """
    law = {"base_target_s": 50e-6, "hop_target_s": 0, "first_window": 0.03}
    rate_gbps, round_trip_us, rates, model = incast(50, 100, 0.1, 0.3, stagger_s=1e-2, swift=law, **LOSSY)
    assert rate_gbps == pytest.approx(49.5, rel=0.02)
    assert model.counts.drops <= 3e-6 * model.counts.packet_hops
    assert round_trip_us == pytest.approx(110.2, rel=0.15)
    unscaled = incast(50, 100, 0.1, 0.2, stagger_s=1e-2, swift=law | {"scaling_range_s": 0}, **LOSSY)[2]
    assert fairness(rates) > 0.75 > fairness(unscaled) + 0.15
    longer = incast(50, 100, 0.1, 1.1, stagger_s=1e-2, swift=law, **LOSSY)[2]
    assert fairness(longer) == pytest.approx(0.91, rel=0.03)


def fairness(rates):
    """Jain's index."""
    return rates.sum() ** 2 / (len(rates) * (rates**2).sum())


def test_table_3_without_windows_below_a_packet():
    """28.7 % of the packets are lost and round trips are 18 times as long: here as long as the buffer is deep."""
    law = {"base_target_s": 50e-6, "hop_target_s": 0, "first_window": 1.0, "least_window": 1.0}
    _, round_trip_us, _, model = incast(50, 100, 0.02, 0.06, stagger_s=1e-2, swift=law, **LOSSY)
    assert model.counts.drops > 0.1 * model.counts.packet_hops
    assert round_trip_us > 1000


#: What a switch on the way adds to a round trip of the set-up below: two links and a full packet at 50 Gb/s.
HOP_S = 2 * 1.25e-6 + 4178 * 8 / 50e9


@pytest.mark.parametrize(("hop_target_s", "least", "most"), [(0.0, 0.0, 0.1), (HOP_S, 0.9, 1.11)])
def test_figure_22_scaling_by_hops_makes_long_ways_fair(hop_target_s, least, most):
    """Two flows to one machine, one from its rack and one from another, whose way has four switches more."""
    network = Network(
        ("h0", "s0"), ("h1", "s1"), ("s1", "s2"), ("s2", "s3"), ("s3", "s4"), ("s4", "s0"), ("s0", "h2"), gbps=50.0
    )
    network.link_set.latency_s[:] = 1.25e-6
    network.path("h0", "s0", "h2").path("h1", "s1", "s2", "s3", "s4", "s0", "h2")
    law = {"base_target_s": 25e-6, "hop_target_s": hop_target_s, "first_window": 10.0}
    model = network.model(congestion_control="swift", swift=law)
    model.send(flows((0, 2, 1 << 34), (1, 2, 1 << 34)))
    model.advance(20e-3)
    before = model._tables["flows"]["received"][:2].copy()
    model.advance(80e-3)
    near, far = model._tables["flows"]["received"][:2] - before
    assert least <= far / near <= most
    assert control_records(model)["hops"][:2].tolist() == [1, 5]
