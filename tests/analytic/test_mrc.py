"""MRC against its papers: a plane that fails, paths that mark, and an incast beside a victim."""

from __future__ import annotations

import numpy as np
import pytest
from packet_networks import Network, flows

#: Sprayed over all paths of all ports, without PFC; failures are known to the sender's control alone.
SPRAYED = {
    "congestion_control": "mrc",
    "path_choice": "spray",
    "queue_pair_ports": "all",
    "pfc": False,
    "recovery": "selective",
    "trimming": True,
    "reorder_gap_packets": 64,
    "retransmit_timeout_s": 50e-6,
    "failure_detection_s": 1.0,
    "retry_limit": 1000,
}
PLANES = SPINES = 8
#: A NIC's 800 Gb/s without headers.
FULL_GBPS = 800 * 4096 / 4178
#: What the transfer of 128 MiB takes at that rate.
DONE_S = (1 << 30) / FULL_GBPS / 1e9


def planes(**settings):
    """Two hosts whose NICs have a port of 100 Gb/s in each of eight planes of two leaves and eight spines.

    Paths in a row are in different planes, as ``equal-paths`` lists them.
    """
    cables = []
    for plane in range(PLANES):
        cables += [("h0", f"a{plane}"), ("h1", f"b{plane}")]
        cables += [(leaf + str(plane), f"s{plane}-{spine}") for leaf in "ab" for spine in range(SPINES)]
    network = Network(*cables, gbps=100.0)
    for spine in range(SPINES):
        for plane in range(PLANES):
            network.path("h0", f"a{plane}", f"s{plane}-{spine}", f"b{plane}", "h1")
    return network.model(**SPRAYED | settings)


def rates_gbps(model, step_s, end_s):
    """Return the rate at which payload arrives, step by step."""
    carried = [0]
    for at in range(round(end_s / step_s)):
        model.advance((at + 1) * step_s)
        carried.append(model.received_bytes)
    return np.diff(carried) * 8 / step_s / 1e9


@pytest.mark.parametrize("link", ["h0->a3", "b3->h1"])
def test_a_failed_plane_costs_its_share_of_bandwidth_and_no_stall(link):
    """12 % of the NIC (section 2), bypassed in a few tens of microseconds (section 2.1)."""
    model = planes(link_failures=[{"link": link, "down_s": 200e-6}])
    model.send(flows((0, 1, 1 << 27)))
    rate = rates_gbps(model, 20e-6, 1.2e-3)
    assert rate[1:10].mean() == pytest.approx(FULL_GBPS, rel=0.01)
    assert rate[12:].mean() == pytest.approx(FULL_GBPS * 7 / 8, rel=0.01)
    assert rate[1:].min() > 0.85 * FULL_GBPS * 7 / 8
    model.advance(float("inf"))
    counts = model.counts
    # A packet that is lost again as it is repeated waits for the timeout.
    assert counts.timeouts <= 2 and SPINES <= counts.lost == counts.repeats < 10 * SPINES
    assert float(model.completions().finish_s[0]) == pytest.approx(200e-6 + (DONE_S - 200e-6) * 8 / 7, rel=0.02)
    assert model.received_bytes == model.posted_bytes


def test_a_plane_that_comes_back_is_used_again():
    model = planes(link_failures=[{"link": "b3->h1", "down_s": 200e-6, "up_s": 400e-6}], mrc={"loss_rest_s": 3e-4})
    model.send(flows((0, 1, 1 << 28)))
    rate = rates_gbps(model, 20e-6, 1e-3)
    assert rate[12:24].mean() == pytest.approx(FULL_GBPS * 7 / 8, rel=0.01)
    assert rate[30:].mean() == pytest.approx(FULL_GBPS, rel=0.01)


def test_a_path_that_does_not_come_back_is_probed_once_in_a_while():
    """Each probing costs what is sent over the path until its loss is known: packets of a gap and a round trip."""
    model = planes(link_failures=[{"link": "b3->h1", "down_s": 100e-6}], mrc={"loss_rest_s": 1e-4})
    model.send(flows((0, 1, 1 << 28)))
    model.advance(1.15e-3)
    probings = 10
    assert probings * SPINES <= model.counts.lost <= (probings + 1) * 5 * SPINES


def leaves(spines=8, gbps=400.0):
    """Two leaves with ten hosts each; all paths of a pair over the spines."""
    cables = [(f"h{host}", f"l{host // 10}") for host in range(20)]
    cables += [(f"l{leaf}", f"s{spine}") for leaf in range(2) for spine in range(spines)]
    network = Network(*cables, gbps=gbps)
    for source in range(10):
        for target in range(10, 20):
            for spine in range(spines):
                network.path(f"h{source}", "l0", f"s{spine}", "l1", f"h{target}")
    return network


def test_paths_that_mark_are_left_out():
    """A spine of half the rate, six senders: sprayed blindly they would all be held to eight times what it takes of each."""
    carried_gbps = []
    for mark_rest in (0.0, 1.0):
        network = leaves()
        network.link_set.capacity_bps[[network.number["l0", "s0"], network.number["s0", "l1"]]] = 200e9
        marking = [{"up_to_gbps": 400, "kmin_bytes": 40_000, "kmax_bytes": 160_000, "pmax": 1.0}]
        settings = SPRAYED | {"reorder_gap_packets": None, "marking": marking, "mrc": {"mark_rest": mark_rest}}
        model = network.model(**settings)
        model.send(flows(*((host, 10 + host, 1 << 30) for host in range(6))))
        model.advance(0.5e-3)
        before = model.received_bytes
        model.advance(1.5e-3)
        carried_gbps.append((model.received_bytes - before) * 8 / 1e-3 / 1e9 * 4178 / 4096)
    assert carried_gbps[0] < 8 * 200
    assert carried_gbps[1] == pytest.approx(6 * 400, rel=0.01)


def test_an_incast_of_seven_shares_its_link_and_spares_a_victim():
    """Section 5.2.8: MRC almost perfectly shares the link among seven senders and has no impact on the victim flow."""
    model = leaves().model(**SPRAYED)
    model.send(flows(*((sender, 10, 1 << 30) for sender in range(7)), (7, 11, 1 << 30)))
    model.advance(1e-3)
    before = model._tables["flows"]["received"][:8].copy()
    model.advance(5e-3)
    rate = (model._tables["flows"]["received"][:8] - before) * 8 / 4e-3 / 1e9 * 4178 / 4096
    assert rate[:7].sum() == pytest.approx(400, rel=0.05)
    assert rate[:7] == pytest.approx(rate[:7].mean(), rel=0.1)
    assert rate[7] == pytest.approx(400, rel=0.02)
