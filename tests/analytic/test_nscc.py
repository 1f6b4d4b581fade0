"""NSCC: its four cases and quick adapt by themselves, and incasts whose queue stands at the target."""

from __future__ import annotations

import numpy as np
import pytest
from packet_networks import FULL_PS, control_records, flows, star

from zcube.network.packet.controls import nscc_kernels
from zcube.network.packet.controls.nscc import Nscc
from zcube.network.packet.state import SENDER

US = 10**6
PACKET = 5_000
#: A line of 100 Gb/s and a round trip of 12 us, by which steps are given.
LINE, RTT_US = 100e9 / 8 / 1e12, 12


class Sender:
    """A queue pair of NSCC by itself in the network that steps are given for; its target is 9 us."""

    def __init__(self, window, **settings):
        self.sender, self.state = np.zeros(1, SENDER)[0], np.zeros(1, nscc_kernels.STATE)[0]
        self.parameters = Nscc(first_window=window / 150_000, **settings).record()[0]
        self.state["packet_bytes"], self.state["base_rtt_ps"] = PACKET, RTT_US * US
        self.sender["line"], self.sender["sent_bytes"] = LINE, 100_000
        nscc_kernels.start(self.sender, self.state, self.parameters, 0)
        # Nothing is added at once but what an acknowledgement itself adds.
        self.now_ps = 0

    @property
    def window(self):
        return float(self.state["window"])

    def acknowledge(self, delay_us, marked=False, after_us=0.0, packets=1):
        self.now_ps += round(after_us * US)
        size, round_trip_ps = packets * PACKET, round((RTT_US + delay_us) * US)
        arguments = self.sender, self.state, self.parameters, self.now_ps, size, size * marked, round_trip_ps
        nscc_kernels.steer(*arguments)
        return self.window


def test_unmarked_and_early_it_rises_by_what_is_missing():
    """Four packets for a window of bytes with 12 us missing, added after more than eight packets."""
    sender = Sender(100_000, quick_adapt=False)
    assert [sender.acknowledge(3.0) for _ in range(8)] == [100_000] * 8
    assert sender.acknowledge(3.0) == pytest.approx(100_000 + 9 * PACKET / 100_000 * 4 * PACKET * (9 - 3) / 12, rel=1e-12)


def test_unmarked_and_late_it_rises_by_five_packets_a_window():
    sender = Sender(100_000, quick_adapt=False)
    for _ in range(9):
        sender.acknowledge(9.0)
    assert sender.window == pytest.approx(100_000 + 9 * PACKET / 100_000 * 5 * PACKET, rel=1e-12)


def test_unmarked_without_queueing_it_rises_by_a_quarter_after_a_window():
    sender = Sender(20_000, quick_adapt=False, adjust_packets=1000)
    assert [sender.acknowledge(0.5) for _ in range(4)] == [20_000] * 4
    assert [sender.acknowledge(0.5) for _ in range(2)] == [21_250, 22_500]
    assert sender.acknowledge(2.0) == 22_500
    assert sender.acknowledge(0.5) == 22_500


def test_marked_and_early_it_stays():
    sender = Sender(100_000, quick_adapt=False, steady_increase=0.0)
    assert {sender.acknowledge(8.9, marked=True) for _ in range(20)} == {100_000}


def test_marked_and_late_it_falls_by_the_mean_delay_once_a_round_trip():
    sender = Sender(100_000, quick_adapt=False, steady_increase=0.0, delay_gain=1.0)
    assert sender.acknowledge(12.0, marked=True, after_us=13) == pytest.approx(100_000 * (1 - 0.8 * 3 / 12))
    assert sender.acknowledge(90.0, marked=True, after_us=12) == pytest.approx(80_000)
    assert sender.acknowledge(90.0, marked=True, after_us=1) == pytest.approx(40_000)
    assert sender.sender["cuts"] == 2


def test_every_round_trip_adds_a_little():
    sender = Sender(100_000, quick_adapt=False)
    assert sender.acknowledge(8.9, marked=True, after_us=12.0) == 100_000
    assert sender.acknowledge(8.9, marked=True, after_us=0.1) == pytest.approx(100_000 + 0.15 * PACKET)


def test_after_a_long_delay_it_falls_to_what_has_arrived():
    """Quick adapt: a round trip and the target after the last look; what was under way is then heeded only unmarked."""
    sender = Sender(150_000)
    sender.acknowledge(5.0, after_us=1.0)
    assert sender.state["adapt_ps"] == 22 * US
    sender.acknowledge(5.0, after_us=10.0)
    sender.acknowledge(5.0, after_us=5.0)
    settled = int(sender.state["settled"])
    assert sender.acknowledge(36.1, marked=True, after_us=7.0) == 3 * PACKET
    assert sender.state["to_ignore"] == 100_000 - settled - PACKET
    assert sender.acknowledge(90.0, marked=True, after_us=13.0) == 3 * PACKET
    assert sender.acknowledge(36.1, after_us=10.0) == 2 * PACKET


def test_steps_scale_with_what_the_network_holds():
    """Also where the network's longest round trip is not the queue pair's own."""
    sender = Sender(100_000, quick_adapt=False, network_rtt_s=24e-6)
    for _ in range(9):
        sender.acknowledge(18.0)
    assert sender.window == pytest.approx(100_000 + 9 * PACKET / 100_000 * 5 * PACKET * 2, rel=1e-12)


def incast(senders, **law):
    """Return the bottleneck's part on the wire and its mean queue, of what it carries in a round trip, and the flows' rates."""
    round_trip_ps = 2 * FULL_PS + 4 * 1_000_000
    held = round_trip_ps / 20
    marking = [{"up_to_gbps": 400, "kmin_bytes": int(0.2 * held), "kmax_bytes": int(0.8 * held), "pmax": 1.0}]
    model = star(senders + 1, latency_s=1e-6).model(congestion_control="nscc", nscc=law, bin_s=1e-6, marking=marking)
    model.send(flows(*((sender, senders, 1 << 34) for sender in range(senders))))
    port = 2 * senders + 1
    model.advance(1e-3)
    assert control_records(model)["base_rtt_ps"][:senders].tolist() == [round_trip_ps] * senders
    before = model.link_table().size_bytes[port], model._tables["flows"]["received"][:senders].copy()
    model.advance(3e-3)
    carried = (model.link_table().size_bytes[port] - before[0]) * 8 / 2e-3 * 4178 / 4096
    rates = model._tables["flows"]["received"][:senders] - before[1]
    return carried / 400e9, model.depth_bins()[1000:3000, port].mean() / held, rates


@pytest.mark.parametrize(("senders", "target"), [(2, 0.75), (4, 0.75), (8, 0.75), (8, 1.0), (16, 0.75)])
def test_incasts_fill_the_link_with_the_queue_at_the_target(senders, target):
    """htsim's marks between 0.2 and 0.8 of what a link carries in a round trip; the target is given likewise."""
    part, queue, rates = incast(senders, target_delay=target)
    assert part == pytest.approx(1, rel=1e-3)
    assert queue == pytest.approx(target, rel=0.11)
    assert rates.sum() ** 2 / (senders * (rates**2).sum()) > 0.94


def test_alone_it_keeps_the_line():
    part, queue, _ = incast(1)
    assert part == pytest.approx(1, rel=1e-3) and queue == 0


@pytest.mark.parametrize("senders", [8, 32])
def test_trims_end_with_the_first_windows_and_incasts_at_the_line_rate(senders):
    """A buffer of three round trips: the first windows overrun it, every byte arrives once, and nothing waits for a timeout."""
    held = (2 * FULL_PS + 4 * 1_000_000) / 20
    marking = [{"up_to_gbps": 400, "kmin_bytes": int(0.2 * held), "kmax_bytes": int(0.8 * held), "pmax": 1.0}]
    settings = {"pfc": False, "recovery": "selective", "trimming": True, "buffer_bytes": int(3 * held), "marking": marking}
    model = star(senders + 1, latency_s=1e-6).model(congestion_control="nscc", **settings)
    model.send(flows(*((sender, senders, 2_000_000) for sender in range(senders))))
    model.advance(1e-4)
    trims = model.counts.trims
    model.advance(float("inf"))
    counts, last_s = model.counts, model.completions().finish_s.max()
    assert trims > 0 and counts.trims == counts.repeats < 1.05 * trims
    assert counts.drops == counts.timeouts == counts.duplicates == 0
    assert model.received_bytes == model.posted_bytes
    assert last_s == pytest.approx(senders * 2e6 * 8 * 4178 / 4096 / 400e9, rel=0.03)
