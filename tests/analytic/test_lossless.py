"""Closed forms of the back-pressure fluid on small networks, beside the packets that they stand for."""

from __future__ import annotations

import numpy as np
import pytest
from packet_networks import Network, flows, star

from zcube.network.flow_model import FlowModel
from zcube.network.protocol import FlowTable

RATE = 400e9
#: Levels are solved for up to a thousandth.
SOLVED = 2e-3


def rates(network, *pairs, isolation=0.0):
    """Return the rates of transfers that have all begun, over the line rate."""
    model = FlowModel(network.link_set, network, isolation=isolation)
    model.send(flows(*((source, target, 1e12) for source, target in pairs)))
    model.advance(1e-3)
    return model.rates_bps() / RATE


def packet_rates(network, *pairs):
    """Return mean rates of the same packet by packet over the second half of four milliseconds, headers counted."""
    model = network.model()
    model.send(flows(*((source, target, 1e12) for source, target in pairs)))
    carried = []
    for until_s in (2e-3, 4e-3):
        model.advance(until_s)
        carried.append(model.link_table().size_bytes)
    bits = (carried[1] - carried[0]) * 8
    first = {pair: network.paths[pair][0] for pair in pairs}
    last = [bits[first[pair][-1]] / sum(other[1] == pair[1] for other in pairs) for pair in pairs]
    return np.array(last) / 2e-3 / RATE


@pytest.mark.parametrize("senders", [2, 3, 5])
def test_a_victim_gets_what_its_sender_gets_at_the_incast(senders):
    """Each sender is a port of the receiver's link and gets 1/n; the victim shares its sender's link in turn."""
    network = star(senders + 2)
    incast = [(sender, senders) for sender in range(senders)]
    victim = (0, senders + 1)
    np.testing.assert_allclose(rates(network, *incast, victim), 1 / senders, rtol=SOLVED)
    spared = rates(network, *incast, victim, isolation=1.0)
    np.testing.assert_allclose(spared, [1 / senders] * senders + [1 - 1 / senders])
    packets = packet_rates(star(senders + 2), *incast, victim)
    np.testing.assert_allclose(packets, 1 / senders, rtol=0.06)


@pytest.mark.parametrize("isolation", [0.0, 0.25, 0.5, 1.0])
def test_isolation_leads_from_the_victim_of_pauses_to_max_min(isolation):
    pairs = [(0, 3), (1, 3), (2, 3), (0, 4)]
    expected = isolation * 2 / 3 + (1 - isolation) / 3
    assert rates(star(5), *pairs, isolation=isolation)[3] == pytest.approx(expected, rel=SOLVED)


def parking_lot(behind, *more):
    """Hosts 0..behind-1 at one switch, the next one and receivers at a second."""
    hosts = [(f"h{host}", "s") for host in range(behind)] + [(f"h{behind}", "t")]
    return Network(*hosts, ("s", "t"), *((f"h{host}", "t") for host in more))


@pytest.mark.parametrize("behind", [1, 2, 4])
def test_a_parking_lot_is_shared_by_ports_not_by_senders(behind):
    """Who comes over the link between the switches gets half together, who sits at the receiver's switch the other half."""
    receiver = behind + 1
    network = parking_lot(behind, receiver).path(f"h{behind}", "t", f"h{receiver}")
    for host in range(behind):
        network.path(f"h{host}", "s", "t", f"h{receiver}")
    pairs = [(host, receiver) for host in range(behind + 1)]
    expected = [1 / (2 * behind)] * behind + [1 / 2]
    np.testing.assert_allclose(rates(network, *pairs), expected, rtol=SOLVED)
    np.testing.assert_allclose(rates(network, *pairs, isolation=1.0), 1 / (behind + 1))


@pytest.mark.parametrize(("behind", "local"), [(2, 1), (3, 2)])
def test_a_congestion_tree_of_two_levels_stops_who_uses_none_of_its_links(behind, local):
    """``behind`` senders come over a trunk into a receiver that ``local`` others fill too: the trunk is a port of 1 + local.

    A victim on the trunk is a port of it like they are and gets what each of them gets, 1 / (behind (1 + local)); so does who
    has only its NIC with that victim in common. Max-min gives both all that is left.
    """
    first_local, receiver = behind + 1, behind + 1 + local
    idle, beside = receiver + 1, receiver + 2
    senders = [(f"h{host}", "s") for host in range(behind + 1)] + [(f"h{beside}", "s")]
    at_receiver = [(f"h{host}", "t") for host in range(first_local, idle + 1)]
    network = Network(*senders, *at_receiver, ("s", "t"))
    for host in range(behind):
        network.path(f"h{host}", "s", "t", f"h{receiver}")
    for host in range(first_local, receiver):
        network.path(f"h{host}", "t", f"h{receiver}")
    network.path(f"h{behind}", "s", "t", f"h{idle}").path(f"h{behind}", "s", f"h{beside}")
    pairs = [(host, receiver) for host in range(behind)] + [(host, receiver) for host in range(first_local, receiver)]
    found = rates(network, *pairs, (behind, idle), (behind, beside))
    each = 1 / (behind * (1 + local))
    np.testing.assert_allclose(found, [each] * behind + [1 / (1 + local)] * local + [each] * 2, rtol=SOLVED)
    fair = 1 / (behind + local)
    spared = min(1 / 2, 1 - behind * fair)
    max_min = rates(network, *pairs, (behind, idle), (behind, beside), isolation=1.0)
    np.testing.assert_allclose(max_min, [fair] * (behind + local) + [spared, 1 - spared])


def test_a_cap_leaves_the_rest_of_a_nic_to_others():
    """Two queue pairs of one NIC, one held to a tenth by its own cap."""
    network = star(3)
    model = FlowModel(network.link_set, network, isolation=0.0)
    cap = np.array([RATE / 10, np.inf])
    model.send(FlowTable(np.zeros(2, int), np.array([1, 2]), np.full(2, 1e12), np.zeros(2), cap_bps=cap))
    model.advance(1e-3)
    np.testing.assert_allclose(model.rates_bps() / RATE, [0.1, 0.9], rtol=SOLVED)


def test_a_failed_link_stops_its_own_and_a_repair_brings_them_back():
    network = star(4)
    model = FlowModel(network.link_set, network, isolation=0.0)
    model.send(flows((0, 1, 1e12), (0, 2, 1e12), (3, 2, 1e12)))
    down = np.array([network.number["s", "h2"]])
    model.change_capacity(down, np.zeros(1), 1e-3)
    np.testing.assert_allclose(model.rates_bps() / RATE, [1, 0, 0], atol=SOLVED)
    model.change_capacity(down, np.array([RATE]), 2e-3)
    np.testing.assert_allclose(model.rates_bps() / RATE, [1 / 2] * 3, rtol=SOLVED)


@pytest.mark.parametrize("isolation", [0.0, 0.3, 1.0])
def test_nothing_comes_over_a_failed_link_whatever_rounding_leaves_of_it(isolation):
    """Rates that came and went do not add up to just nothing; what they leave of a link without capacity is no rate."""
    draw, ends = np.random.default_rng(5), []
    for _ in range(40):
        hosts = int(draw.integers(3, 6))
        network, links = star(hosts), 2 * hosts
        pairs = [draw.choice(hosts, 2, replace=False) for _ in range(6)]
        rows = [
            (int(a), int(b), float(draw.choice([1e3, 1e9])), float(at))
            for (a, b), at in zip(pairs, [0, 0, 1e-5, 1e-3, 1e-3, 1e-3])
        ]
        model = FlowModel(network.link_set, network, isolation=isolation)
        model.send(flows(*rows))
        model.change_capacity(draw.choice(links, 1), np.array([RATE / 4]), 1e-4)
        down = draw.choice(links, 2, replace=False)
        model.change_capacity(down, np.zeros(2), 1.1e-3)
        crosses = np.array([np.isin(network.paths[a, b][0], down).any() for a, b, *_ in rows])
        assert np.all(model.rates_bps()[crosses] == 0.0)
        model.change_capacity(down, np.full(2, RATE), 2e-3)
        model.advance(float("inf"))
        ends.append(model.completions().finish_s.max())
    assert np.all(np.isfinite(ends))


def test_total_rate_may_exceed_max_min():
    """Shares by port hold three that come over one link to half of a trunk; whom they would slow behind it gets the other half.

    So neither the total rate nor the time to the last byte is ordered on every network, whatever the solver.
    """
    hosts = [("h0", "a"), ("h1", "a"), ("h2", "a"), ("h3", "b"), ("h4", "c"), ("h5", "d"), ("h6", "c")]
    network = Network(*hosts, ("a", "b"), ("b", "c"), ("c", "d"))
    for host in range(3):
        network.path(f"h{host}", "a", "b", "c", "d", "h5")
    network.path("h3", "b", "c", "h6").path("h4", "c", "d", "h5")
    pairs = [(0, 5), (1, 5), (2, 5), (3, 6), (4, 5)]
    np.testing.assert_allclose(rates(network, *pairs), [1 / 6] * 3 + [1 / 2] * 2, rtol=SOLVED)
    np.testing.assert_allclose(rates(network, *pairs, isolation=1.0), [1 / 4] * 5)
