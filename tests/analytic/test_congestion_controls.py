"""Congestion controls against closed forms: NVIDIA's target rate, a window, a rate set by the clock, marks that steer."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from packet_networks import FULL_PS, PS, flows, run, star

from zcube.network.packet.controls import NoControl, dcqcn_kernels
from zcube.network.packet.controls.dcqcn import Dcqcn, DcqcnNvidia
from zcube.network.packet.controls.declared import Handlers
from zcube.network.packet.settings import PacketSettings
from zcube.network.packet.state import SENDER

LATENCY_PS = 500_000
US = 10**6


class ReactionPoint:
    """A queue pair of DCQCN by itself, at a line rate of 1."""

    def __init__(self, settings):
        self.sender, self.state, self.parameters = (
            np.zeros(1, SENDER)[0],
            np.zeros(1, dcqcn_kernels.STATE)[0],
            settings.record()[0],
        )
        self.sender["line"] = self.sender["rate"] = 1.0
        dcqcn_kernels.start(self.sender, self.state, self.parameters, 0)

    def notify(self, at_us):
        dcqcn_kernels.cut_rate(self.sender, self.state, self.parameters, at_us * US)
        return float(self.sender["rate"])

    def send(self, at_us):
        dcqcn_kernels.recover(self.sender, self.state, self.parameters, at_us * US)
        return float(self.sender["rate"])


@pytest.mark.parametrize(("clamp_target", "target"), [(True, 0.5), (False, 1.0)])
def test_a_clamped_target_forgets_the_rate_before_a_burst(clamp_target, target):
    """Two notifications 4 us apart, alpha having decayed four times: the rate halves, then falls by alpha / 2."""
    point, gain = ReactionPoint(DcqcnNvidia(clamp_target=clamp_target)), 5 / 1024
    assert point.notify(0) == 0.5
    fallen = 0.5 * (1 - (1 - gain) ** 4 / 2)
    assert point.notify(4) == pytest.approx(fallen, rel=1e-12)
    assert point.send(303) == pytest.approx(fallen, rel=1e-12)
    assert point.send(304) == pytest.approx((fallen + target) / 2, rel=1e-12)


def test_an_unclamped_target_falls_once_the_timer_has_raised_the_rate():
    point = ReactionPoint(DcqcnNvidia())
    point.notify(0)
    risen = point.send(300)
    assert risen == 0.75
    fallen = point.notify(301)
    assert fallen < risen
    assert point.send(601) == pytest.approx((fallen + risen) / 2, rel=1e-12)


def test_the_published_parameters_are_the_defaults():
    paper, nvidia = Dcqcn(), DcqcnNvidia()
    assert (paper.notification_interval_s, paper.rate_timer_s, paper.clamp_target) == (50e-6, 55e-6, True)
    assert (nvidia.notification_interval_s, nvidia.rate_timer_s, nvidia.clamp_target) == (4e-6, 300e-6, False)
    assert (nvidia.alpha_timer_s, nvidia.fast_recovery_steps, nvidia.gain) == (1e-6, 1, 1 - 1019 / 1024)


@pytest.mark.parametrize(("acknowledgements", "back_ps"), [("notified", 0), ("packets", 2 * 86 * 20)])
@pytest.mark.parametrize("window", [8, 16, 40])
@pytest.mark.parametrize("every", [1, 4])
def test_a_fixed_window_sends_a_window_each_round_trip(installed, window, every, acknowledgements, back_ps):
    """Acknowledgements come after every so many packets, of which the last has crossed two links, and go back over two."""
    installed("window_control")
    size = FULL_PS // 20
    model = star(2).model(
        congestion_control="aimd",
        ack_every_packets=every,
        acknowledgements=acknowledgements,
        aimd={"first_window_bytes": window * size, "increase_bytes": 0},
    )
    rounds = 6
    finish = run(model, flows((0, 1, 4096 * window * rounds)))
    # From the first packet of a batch to the acknowledgement of its last.
    round_trip = (every - 1) * FULL_PS + 2 * FULL_PS + 2 * LATENCY_PS + 2 * LATENCY_PS + back_ps
    sent = max(round_trip, window * FULL_PS)
    assert finish[0] == (rounds - 1) * sent + (window - 1) * FULL_PS + 2 * FULL_PS + 2 * LATENCY_PS
    assert model.counts.rate_cuts == 0


def test_a_window_below_what_makes_receivers_acknowledge_does_not_stop_a_transfer(installed):
    installed("window_control")
    model = star(2).model(congestion_control="aimd", ack_every_packets=8, aimd={"first_window_bytes": 1, "increase_bytes": 0})
    finish = run(model, flows((0, 1, 4096 * 80)))
    round_trip = 7 * FULL_PS + 2 * FULL_PS + 4 * LATENCY_PS
    assert finish[0] == 9 * round_trip + 7 * FULL_PS + 2 * FULL_PS + 2 * LATENCY_PS


def test_a_rate_that_doubles_by_the_clock(installed):
    installed("window_control")
    model = star(2).model(congestion_control="ramp", ramp={"first_rate": 1 / 32, "period_s": 20e-6})
    packets = 60
    finish = run(model, flows((0, 1, 4096 * packets, 3e-6)))
    start = 3 * US
    sent = [start]
    for _ in range(packets - 1):
        factor = 2 ** min(5, (sent[-1] - start) // (20 * US))
        sent.append(sent[-1] + FULL_PS * 32 // factor)
    assert finish[0] == sent[-1] + 2 * FULL_PS + 2 * LATENCY_PS
    gaps = {b - a for a, b in pairwise(sent)}
    assert len(gaps) >= 4


@pytest.mark.parametrize("acknowledgements", ["notified", "packets"])
@pytest.mark.parametrize("senders", [2, 8])
def test_marks_steer_a_window_to_a_fair_share_without_pauses(installed, senders, acknowledgements):
    installed("window_control")
    model = star(senders + 1).model(congestion_control="aimd", acknowledgements=acknowledgements)
    model.send(flows(*((sender, senders, 4 << 30, 1e-5 * sender) for sender in range(senders))))
    window_s = (0.005, 0.1)
    carried = []
    for at_s in window_s:
        model.advance(at_s)
        carried.append(model.link_table().size_bytes[: 2 * senders : 2])
    rate = np.diff(carried, axis=0)[0] * 8 / np.diff(window_s)
    assert np.all(np.abs(rate / rate.mean() - 1) < 0.1)
    assert 0.9 * 400e9 < rate.sum() * 4178 / 4096 < 1.01 * 400e9
    counts = model.counts
    assert counts.marks > 0 and counts.rate_cuts > 0 and counts.pauses == 0 and counts.notifications == 0
    assert model.queue_table().peak_bytes.max() < PacketSettings().marking[-1].kmax_bytes


def test_losses_are_told(installed):
    installed("window_control")
    model = star(9).model(pfc=False, buffer_bytes=1 << 20, congestion_control="ramp", ramp={"first_rate": 1.0})
    finish = run(model, flows(*((sender, 8, 2 << 20) for sender in range(8))))
    delays, counts = model.delays(), model.counts
    assert counts.drops > 0 and counts.repeats > 0 and np.all(finish < PS)
    assert counts.rate_cuts == delays.rate_cuts.sum() > 0


def test_a_handler_that_is_no_kernel_is_refused(monkeypatch):
    monkeypatch.setattr(NoControl, "handlers", lambda self: Handlers(started=print))
    with pytest.raises(TypeError, match="no kernel"):
        star(2).model()
