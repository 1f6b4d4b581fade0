"""Parts of a packet network advanced by rate: exact where nothing contends, and never where anything is paused."""

from __future__ import annotations

import numpy as np
import pytest
from packet_networks import FULL_PS, Network, flows, run, star
from pydantic import ValidationError

from zcube.network.packet.settings import PacketSettings

STEADY = {"mode": "steady"}
PACKETS = 6000
LONG = 4096 * PACKETS


def state(model):
    finish = model.completions().finish_s.tobytes()
    return finish, model.counts, model.queue_table().frame().to_csv(), model.delays().victim_s.tobytes()


def both(network, table, steady=STEADY, **chosen):
    found = []
    for skip in ({"mode": "off"}, steady):
        model = network.model(skip=skip, **chosen)
        found.append((run(model, table), model))
    return found


@pytest.mark.parametrize("control", ["none", "dcqcn"])
@pytest.mark.parametrize("last_bytes", [0, 1000])
def test_a_flow_alone_takes_the_closed_form_in_a_twentieth_of_the_events(control, last_bytes):
    (off_ps, off), (steady_ps, steady) = both(star(3), flows((0, 1, LONG + last_bytes)), congestion_control=control)
    last_ps = (last_bytes + 82) * 20 if last_bytes else FULL_PS
    whole = PACKETS if last_bytes else PACKETS - 1
    # The last packet stands behind the one before it at the switch, where it is shorter.
    assert steady_ps[0] == off_ps[0] == whole * FULL_PS + FULL_PS + last_ps + 1_000_000
    assert steady.counts.packet_hops == off.counts.packet_hops
    assert steady.counts.events * 20 < off.counts.events


def test_queue_pairs_that_share_a_port_end_to_the_picosecond_as_without():
    table = flows((0, 1, LONG), (0, 2, LONG), (0, 3, LONG // 2), (4, 5, LONG, 1e-4))
    (off_ps, off), (steady_ps, steady) = both(star(6), table)
    assert steady_ps.tolist() == off_ps.tolist()
    assert steady.counts.events * 10 < off.counts.events


def test_links_of_a_slower_rate_behind_the_port_are_met_as_without():
    network = Network(("h0", "a"), ("a", "b", 100.0), ("h1", "a"), ("b", "h2"), ("b", "h3"))
    network.path("h0", "a", "b", "h2").path("h1", "a", "b", "h3")
    (off_ps, _), (steady_ps, _) = both(network, flows((0, 2, LONG // 8, 0.0), (1, 3, LONG // 8, 1e-5)))
    assert steady_ps.tolist() == off_ps.tolist()


@pytest.mark.parametrize("threshold", ["static", "dynamic"])
def test_a_part_with_pauses_is_never_advanced(threshold):
    """Without control an incast fills its buffer, stops its senders, and fills it again."""
    table = flows(*((sender, 6, LONG // 4) for sender in range(6)))
    (_, off), (_, steady) = both(star(7), table, pfc_threshold=threshold, buffer_bytes=1 << 21)
    assert off.counts.pauses > 100
    assert state(steady) == state(off)


def test_a_part_near_a_threshold_is_never_advanced():
    """What stands in the buffer after the burst is below the threshold, and stays."""
    table = flows((0, 2, LONG, 0.0), (1, 2, 68 * 4096, 0.0))
    chosen = {"pfc_threshold": "static", "xoff_bytes": 300_000, "congestion_control": "none"}
    (off_ps, off), (steady_ps, steady) = both(star(3), table, **chosen)
    assert off.counts.pauses == 0
    assert steady_ps.tolist() == off_ps.tolist()
    assert steady.counts.events > off.counts.events / 2


def over_seeds(network, table, **chosen):
    """Return completion times of five seeds [2, seeds, flows] and events [2], without and with what is steady advanced."""
    found = [both(network, table, congestion_control="dcqcn", seed=seed, **chosen) for seed in range(5)]
    times = np.array([[run_ps for run_ps, _ in mode] for mode in zip(*found)])
    return times, [sum(model.counts.events for _, model in mode) for mode in zip(*found)]


def test_a_flow_that_joins_takes_its_share_of_a_port():
    (off, steady), _ = over_seeds(star(3), flows((0, 2, 4 * LONG), (1, 2, 4 * LONG, 1e-4)))
    assert steady.mean(axis=0) == pytest.approx(off.mean(axis=0), rel=0.1)
    assert steady.max(axis=1).mean() == pytest.approx(off.max(axis=1).mean(), rel=0.03)


@pytest.mark.parametrize("senders", [2, 4, 8])
def test_what_shares_a_port_under_dcqcn_fills_it_as_without(senders):
    """The last completion measures the port's use. A first burst that is cut once more or less decides it, hence the seeds."""
    table = flows(*((sender, senders, 4 * LONG) for sender in range(senders)))
    (off, steady), events = over_seeds(star(senders + 1), table)
    assert steady.max(axis=1).mean() == pytest.approx(off.max(axis=1).mean(), rel=0.05)
    assert steady.mean() == pytest.approx(off.mean(), rel=0.05)
    assert events[1] * 10 < events[0]


#: Beyond KMIN every packet is marked, so that nothing is drawn and the law can be held against the packets one by one.
SURE = {
    "congestion_control": "dcqcn",
    "marking": [{"up_to_gbps": 400, "kmin_bytes": 400_000, "kmax_bytes": 400_001, "pmax": 1.0}],
}
EXACT = {"mode": "steady", "jitter_packets": 0.0}
WHOLE = 25_000 * 4096


def beside_packets(network, rows, skip):
    (off_ps, off), (steady_ps, steady) = both(network, flows(*rows), skip, **SURE)
    assert steady.counts.events * 20 < off.counts.events
    return steady_ps / off_ps - 1, steady.counts.rate_cuts / off.counts.rate_cuts - 1


@pytest.mark.parametrize("joins", [True, False])
@pytest.mark.parametrize("starts_us", [(0, 10), (0, 10, 1000), (0, 10, 1000, 1030), (0, 10, 1000, 1030, 1060, 1090)])
def test_flows_that_join_one_after_the_other_are_cut_as_packet_by_packet(starts_us, joins):
    """A queue of 170 us builds up: packets of a flow that joins leave it, and are marked, only once those before them have."""
    count = len(starts_us)
    rows = [(sender, count, WHOLE, start_us * 1e-6) for sender, start_us in enumerate(starts_us)]
    apart, cuts = beside_packets(star(count + 1), rows, EXACT | {"joins": joins})
    assert np.abs(apart).max() < 0.02
    assert abs(cuts) < 0.1


@pytest.mark.parametrize(
    "rows", [[(0, 3, WHOLE), (1, 3, WHOLE, 1e-5)], [(0, 3, WHOLE), (1, 3, WHOLE, 1e-5), (2, 3, WHOLE, 1e-3)]]
)
def test_more_notifications_are_on_their_way_than_one(rows):
    """Receivers send one every 4 us, and they take 8 us."""
    network = Network(*((f"h{host}", "a") for host in range(4)), latency_s=4e-6)
    for sender in range(3):
        network.path(f"h{sender}", "a", "h3")
    chosen = SURE | {"congestion_control": "dcqcn_nvidia"}
    (off_ps, off), (steady_ps, steady) = both(network, flows(*rows), EXACT, **chosen)
    assert np.abs(steady_ps / off_ps - 1).max() < 0.02
    assert steady.counts.rate_cuts == pytest.approx(off.counts.rate_cuts, rel=0.1)
    assert steady.counts.events * 50 < off.counts.events


@pytest.mark.parametrize("xoff_bytes", [250_000, 400_000, 700_000])
def test_flows_that_join_pause_whom_they_pause_packet_by_packet(xoff_bytes):
    """The threshold is that of a link by which some of a queue came, and not of the queue, three times as deep."""
    rows = [(0, 3, WHOLE), (0, 3, WHOLE, 1e-5), (1, 3, WHOLE, 1e-3), (2, 3, WHOLE, 1.03e-3)]
    threshold = {"pfc_threshold": "static", "xoff_bytes": xoff_bytes}
    (off_ps, off), (steady_ps, steady) = both(star(4), flows(*rows), EXACT, **threshold, **SURE)
    assert np.abs(steady_ps / off_ps - 1).max() < 0.002
    assert steady.counts.events * 20 < off.counts.events
    assert steady.counts.pauses == off.counts.pauses > 10
    assert steady.queue_table().pauses.tolist() == off.queue_table().pauses.tolist()


@pytest.mark.parametrize("threshold", [{"pfc_threshold": "static", "xoff_bytes": 300_000}, {"pfc_alpha": 1 / 16}])
def test_a_queue_deeper_than_a_threshold_pauses_none_of_those_that_fill_it(threshold):
    rows = [(0, 2, WHOLE), (1, 2, WHOLE, 1e-5)]
    (_, off), (_, steady) = both(star(3), flows(*rows), EXACT, buffer_bytes=1 << 23, **threshold, **SURE)
    assert off.queue_table().peak_bytes.max() > 500_000
    assert steady.counts.pauses == off.counts.pauses == 0
    assert steady.counts.events * 20 < off.counts.events


@pytest.mark.parametrize("packets", [50, 200])
def test_all_bytes_of_a_flow_that_starts_and_ends_by_law_come_to_the_queue_that_it_meets(packets):
    """Whenever it starts between two looks; two others, cut when they began, fill the link."""
    network = star(4)
    port = network.number["s", "h3"]
    marking = [{"up_to_gbps": 400, "kmin_bytes": 1_200_000, "kmax_bytes": 1_200_001, "pmax": 1.0}]
    for start_s in np.linspace(6e-4, 6.05e-4, 8):
        table = flows((1, 3, WHOLE), (2, 3, WHOLE, 1e-5), (0, 3, packets * 4096, start_s))
        off, steady = (network.model(skip=skip, **SURE | {"marking": marking}) for skip in ({"mode": "off"}, EXACT))
        for model in (off, steady):
            model.send(table)
            model.advance(start_s + 4e-5)
            assert model.completions().finish_s[2] < start_s + 4e-5
        assert off.counts.rate_cuts == steady.counts.rate_cuts
        behind = steady._tables["claims"]["backlog"][port] - off._tables["queues"]["bytes"][port]
        assert abs(behind) < 5 * 4178


@pytest.mark.parametrize(("packets", "apart_s"), [(20, 3e-6), (30, 4e-6), (35, 3.1e-6)])
def test_flows_that_start_one_after_the_other_send_what_they_have_and_no_more(packets, apart_s):
    """They end between looks; two others, cut when they began, fill the link."""
    network = star(4)
    port = network.number["s", "h3"]
    marking = [{"up_to_gbps": 400, "kmin_bytes": 2_400_000, "kmax_bytes": 2_400_001, "pmax": 1.0}]
    starts_s = 6e-4 + np.arange(12) * apart_s
    table = flows((1, 3, WHOLE), (2, 3, WHOLE, 1e-5), *((0, 3, packets * 4096, start_s) for start_s in starts_s))
    off, steady = (network.model(skip=skip, **SURE | {"marking": marking}) for skip in ({"mode": "off"}, EXACT))
    for model in (off, steady):
        model.send(table)
        model.advance(starts_s[-1] + 4e-5)
    assert off.counts.rate_cuts == steady.counts.rate_cuts
    behind = steady._tables["claims"]["backlog"][port] - off._tables["queues"]["bytes"][port]
    assert abs(behind) < 0.1 * 12 * packets * 4178
    full_s, law_s = (model.completions().finish_s[2:] - starts_s for model in (off, steady))
    assert np.abs(law_s - full_s).max() < 3e-6
    assert law_s.mean() == pytest.approx(full_s.mean(), rel=0.05)


def test_flows_that_have_ended_pause_as_long_as_they_stand_in_the_switch():
    """By one link flows of half a queue come one after the other."""
    rows = [(1, 3, WHOLE // 2), (2, 3, WHOLE // 2, 1e-5), *((0, 3, 100 * 4096, 6e-4 + at * 1.2e-5) for at in range(100))]
    (_, off), (_, steady) = both(star(4), flows(*rows), EXACT, pfc_threshold="static", xoff_bytes=400_000, **SURE)
    assert steady.counts.events * 2 < off.counts.events
    assert off.counts.pauses > 20
    assert steady.counts.pauses > 5


def test_what_waits_on_its_way_reaches_the_next_queue_later():
    """Three senders fill a link, behind which two share a port."""
    network = Network(("h0", "a"), ("h1", "a"), ("h2", "a"), ("a", "b", 400.0), ("h3", "b"), ("h4", "b"), latency_s=1e-6)
    for sender in range(3):
        for target in (3, 4):
            network.path(f"h{sender}", "a", "b", f"h{target}")
    apart, cuts = beside_packets(network, [(0, 3, WHOLE), (1, 4, WHOLE, 1e-5), (2, 4, WHOLE, 1e-3)], EXACT)
    assert np.abs(apart).max() < 0.001
    assert cuts == 0


@pytest.mark.parametrize("seed", range(4))
def test_what_a_thaw_puts_into_the_second_of_two_queues_is_what_stood_there(seed):
    """Two bursts fill a link between switches and a port behind it, whose queue is fed by what has waited in the first."""
    network = Network(*((f"h{host}", "a" if host < 4 else "b") for host in range(9)), ("a", "b"))
    for one, other in ((0, 4), (1, 5), (2, 8), (3, 8)):
        network.path(f"h{one}", "a", "b", f"h{other}")
    network.path("h6", "b", "h8").path("h7", "b", "h8")
    size, start_s = 400_000_000, 2e-3 + seed * 7e-6
    model = network.model(skip=STEADY, seed=seed, congestion_control="dcqcn", pfc_threshold="static", xoff_bytes=1_500_000)
    rows = [(0, 4, size), (1, 5, size, 1e-4), (6, 8, size), (7, 8, size, 1e-4)]
    model.send(flows(*rows, (2, 8, size, start_s), (3, 8, size, start_s + 6e-5)))
    tables, time_s = model._tables, start_s + 1e-6
    model.advance(time_s)
    assert tables["flows"]["frozen"][4] == 1
    while tables["flows"]["frozen"][4] == 1:
        time_s += 1e-6
        model.advance(time_s)
    first = tables["paths"][tables["pairs"]["first_path"][4]]
    for link in tables["hops"][first + 1 : first + 3]:
        backlog = tables["claims"]["backlog"][link]
        assert backlog > 1e6
        assert tables["queues"]["bytes"][link] == pytest.approx(backlog, rel=0.05)


def test_queues_that_a_thaw_fills_hold_packets_of_all_in_turns():
    """Three transfers that join three in cells are cut as often as without, where the packets of each in a row told late."""
    cuts = np.zeros(2)
    for seed in range(8):
        rows = [(sender, 6, 3_000_000_000, sender * 1e-3) for sender in range(3)]
        start_s = 20e-3 + seed * 7e-6
        rows += [(sender, 6, 3_000_000_000, start_s + (sender - 3) * 4e-5) for sender in (3, 4, 5)]
        for at, mode in enumerate(("off", "steady")):
            model = star(7).model(skip={"mode": mode}, seed=seed, congestion_control="dcqcn", cell_bytes=65536)
            model.send(flows(*rows))
            model.advance(start_s - 1e-6)
            before = model.counts.rate_cuts
            model.advance(start_s + 3e-4)
            cuts[at] += model.counts.rate_cuts - before
    assert cuts[1] == pytest.approx(cuts[0], rel=0.04)


def test_a_port_shared_with_a_queue_pair_without_a_rate_is_taken_in_turns():
    """The first flow's packets wait for those of the third, which has the same port and all of its target's."""
    apart, _ = beside_packets(star(4), [(0, 2, WHOLE), (1, 2, WHOLE, 1e-5), (0, 3, WHOLE, 1e-3)], EXACT)
    assert np.abs(apart).max() < 0.04


def test_what_may_be_lost_is_never_steady():
    with pytest.raises(ValidationError, match="pfc"):
        PacketSettings(pfc=False, skip=STEADY)
