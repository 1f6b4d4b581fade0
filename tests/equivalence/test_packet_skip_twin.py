"""The kernels that advance parts by rate against their plain-Python twin: equal completion times on random small cases."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packet_networks import Network, flows, run, star
from skip_twin import SkippingTwin

#: Quick to mark, to cut and to recover.
EAGER = {
    "byte_counter_bytes": 100_000,
    "notification_interval_s": 5e-6,
    "rate_timer_s": 6e-6,
    "alpha_timer_s": 7e-6,
    "gain": 1 / 16,
    "fast_recovery_steps": 2,
}
HOSTS = 6

host, start_s = st.integers(0, HOSTS - 1), st.sampled_from([0.0, 0.0, 2e-5, 3.3e-5])
transfers = st.lists(
    st.tuples(host, host, st.integers(1, 3_000_000), start_s),
    min_size=1,
    max_size=6,
).map(lambda rows: [(a, b if a != b else (b + 1) % HOSTS, size, start_s) for a, b, size, start_s in rows])
#: Onto two hosts, some while the first are under way.
crowded = st.lists(
    st.tuples(host, st.sampled_from([2, 5]), st.integers(300_000, 4_000_000), st.sampled_from([0.0, 1e-5, 1e-4, 1.5e-4])),
    min_size=3,
    max_size=6,
).map(lambda rows: [(a if a != b else (b + 1) % HOSTS, b, size, start_s) for a, b, size, start_s in rows])
chosen = st.fixed_dictionaries(
    {
        "congestion_control": st.sampled_from(["none", "dcqcn", "dcqcn"]),
        "forwarding": st.sampled_from(["store-and-forward", "cut-through"]),
        "path_choice": st.sampled_from(["static", "static", "spray"]),
        "pfc_threshold": st.sampled_from(["dynamic", "static"]),
        "xoff_bytes": st.sampled_from([60_000, 1_000_000]),
        "marking": st.just([{"up_to_gbps": 400, "kmin_bytes": 20_000, "kmax_bytes": 200_000, "pmax": 0.5}]),
        "dcqcn": st.just(EAGER),
        "seed": st.integers(0, 9),
        "skip": st.fixed_dictionaries(
            {
                "mode": st.just("steady"),
                "window_packets": st.sampled_from([4, 16]),
                "steps": st.sampled_from([1, 4]),
                "calm_windows": st.sampled_from([1, 2]),
                "joins": st.sampled_from([True, True, False]),
                "jitter_packets": st.sampled_from([0.0, 1.0]),
                "rates_apart": st.sampled_from([0.1, 0.5]),
            }
        ),
    }
)


def two_leaves(spine_gbps, latency_s):
    """Three hosts each on two leaves, two spines between them."""
    leaves, spines = ("a", "b"), ("x", "y")
    network = Network(
        *((f"h{host}", leaves[host // 3]) for host in range(HOSTS)),
        *((leaf, spine, spine_gbps) for leaf in leaves for spine in spines),
        latency_s=latency_s,
    )
    for one in range(HOSTS):
        for other in set(range(HOSTS)) - {one}:
            here, there = leaves[one // 3], leaves[other // 3]
            for spine in spines if here != there else ("",):
                network.path(*(node for node in (f"h{one}", here, spine, there if spine else "", f"h{other}") if node))
    return network


def both(rows, chosen, spine_gbps, split, latency_s=50e-9):
    return both_over(two_leaves(spine_gbps, latency_s), rows, chosen, split)


def both_over(network, rows, chosen, split):
    table = flows(*rows)
    model = network.model(split, **chosen)
    twin = SkippingTwin(network.link_set, network.routes(table.source, table.target), table, model.settings, split)
    found_ps = run(model, table)
    return model, found_ps, twin


@settings(max_examples=60)
@given(
    rows=transfers | crowded,
    chosen=chosen,
    spine_gbps=st.sampled_from([100.0, 400.0]),
    split=st.sampled_from(["pooled", "fixed"]),
    latency_s=st.sampled_from([50e-9, 50e-9, 2e-6]),
)
def test_twins_agree(rows, chosen, spine_gbps, split, latency_s):
    model, found_ps, twin = both(rows, chosen, spine_gbps, split, latency_s)
    assert found_ps.tolist() == twin.finish
    assert model.link_table().size_bytes.tolist() == [link.payload for link in twin.links]
    counts = model.counts
    cuts = sum(pair.cuts for flow in twin.flows for pair in flow.pairs)
    assert (counts.packet_hops, counts.marks, counts.pauses, counts.rate_cuts) == (twin.hops, twin.marks, twin.pauses, cuts)


ALONE = [(0, 3, 6_000_000), (1, 4, 5_000_000)]
SHARED = [(0, 2, 6_000_000), (1, 2, 6_000_000, 1e-5)]
#: Of transfers that last for milliseconds.
SIZE = 3000 * 4096


@pytest.mark.parametrize(
    ("rows", "control", "kinds"),
    [
        (ALONE, "none", {"periodic"}),
        (SHARED, "dcqcn", {"law"}),
        ([*SHARED, (3, 4, 6_000_000), (3, 5, 600_000, 1.5e-4)], "dcqcn", {"law", "periodic"}),
    ],
)
def test_ways_of_advancing_are_at_work(rows, control, kinds):
    """By whole periods, by law, thawed when a flow joins: so that the agreement means something."""
    chosen = {"congestion_control": control, "dcqcn": EAGER, "skip": {"mode": "steady", "calm_windows": 1}}
    chosen["marking"] = [{"up_to_gbps": 400, "kmin_bytes": 20_000, "kmax_bytes": 200_000, "pmax": 0.5}]
    model, found_ps, twin = both(rows, chosen, 400.0, "pooled")
    assert found_ps.tolist() == twin.finish
    assert kinds <= twin.kinds_seen
    assert int(model._tables.net["skips"][0]) == twin.skips > 0


def by_law(rows, spine_gbps=400.0, latency_s=50e-9, **chosen):
    """The twin of a run in which the law advances what it can, having completed all as the model has, and as often."""
    marking = [{"up_to_gbps": 400, "kmin_bytes": 20_000, "kmax_bytes": 200_000, "pmax": 0.5}]
    chosen = {"congestion_control": "dcqcn", "dcqcn": EAGER, "marking": marking} | chosen
    chosen["skip"] = {"mode": "steady", "calm_windows": 1} | chosen.get("skip", {})
    model, found_ps, twin = both(rows, chosen, spine_gbps, "pooled", latency_s)
    assert found_ps.tolist() == twin.finish
    assert model.link_table().size_bytes.tolist() == [link.payload for link in twin.links]
    assert int(model._tables.net["skips"][0]) == twin.skips
    assert model.counts.marks == twin.marks > 0
    return twin


def test_flows_that_join_parts_advanced_by_law_are_at_work():
    """One joins a part, one joins two parts to one; marks go on as packet by packet."""
    rows = [*SHARED, (3, 5, 6_000_000), (4, 5, 6_000_000, 1e-5), (0, 2, 500_000, 1.2e-4), (1, 5, 700_000, 1.5e-4)]
    assert by_law(rows).joins == 2


@pytest.mark.parametrize("jitter_packets", [0.0, 1.0])
def test_notifications_under_way_are_at_work(jitter_packets):
    """At a freeze, from marked packets and as events, and at thaws, where queues are filled too."""
    rows = [*SHARED, (3, 2, 6_000_000), *((4, 2, 100_000, at * 3.1e-5) for at in range(2, 14))]
    skip = {"window_packets": 4, "steps": 1, "joins": False, "jitter_packets": jitter_packets}
    twin = by_law(rows, dcqcn=EAGER | {"notification_interval_s": 1.5e-6}, skip=skip, seed=3)
    assert twin.told_at_freeze > 0
    assert twin.told_at_thaw > 0
    assert twin.put_back_packets > 0


def test_notifications_on_their_way_at_once_are_at_work():
    """Links are long, and receivers tell of marks more often than one of them arrives."""
    rows = [*SHARED, (3, 2, 6_000_000, 2e-4), (4, 2, 3_000_000, 3e-4)]
    assert by_law(rows, latency_s=5e-6, dcqcn=EAGER | {"notification_interval_s": 2e-6}).most_told > 2


def test_marked_packets_under_way_when_a_part_freezes_are_taken_in_the_order_in_which_they_arrive():
    """Receivers tell of one in a microsecond, by links of two, and the calendar goes round meanwhile."""
    marking = [{"up_to_gbps": 400, "kmin_bytes": 150_000, "kmax_bytes": 150_001, "pmax": 1.0}]
    chosen = {"dcqcn": EAGER | {"notification_interval_s": 1e-6}, "marking": marking, "path_choice": "spray"}
    chosen["skip"] = {"window_packets": 4, "jitter_packets": 0.0}
    twin = by_law([(1, 5, 2_000_000, 1e-5), (1, 5, 8_550_344, 1e-5)], 100.0, 2e-6, **chosen)
    assert twin.told_at_freeze > 30


def test_queue_pairs_that_wait_for_each_other_at_a_port_are_at_work():
    """A host sends to two full links."""
    rows = [*SHARED, (0, 5, 6_000_000), (4, 5, 6_000_000, 1e-5)]
    assert by_law(rows).waits > 0


def test_a_part_that_another_has_taken_in_freezes_again():
    """A flow merges two parts and ends, one that meets a flow under way thaws them; both freeze again, each by itself."""
    rows = [(0, 2, 12_000_000), (1, 2, 12_000_000, 1e-5), (3, 5, 9_000_000), (4, 5, 9_000_000, 1e-5), (0, 5, 300_000, 1.2e-4)]
    rows += [(2, 1, 2_000_000, 2e-4), (2, 5, 100_000, 2.01e-4)]
    twin = by_law(rows)
    assert twin.joins == 1
    assert [part.first for part in twin.frozen_again] == [0]


@pytest.mark.parametrize("threshold", [{"pfc_threshold": "static", "xoff_bytes": 130_000}, {"buffer_bytes": 1 << 20}])
def test_buffers_that_come_near_a_pause_are_at_work(threshold):
    """By what came by each link, and by how much of the buffer is in use."""
    rows = [*SHARED, (0, 2, 6_000_000, 1.2e-4), (3, 2, 4_000_000, 1.5e-4), (4, 2, 4_000_000, 1.6e-4)]
    assert by_law(rows, **threshold).tight_thaws > 0


def test_queue_pairs_over_two_ways_are_put_back_by_both():
    """They meet before a host, whose queue holds packets of theirs that came by either spine."""
    rows = [(0, 3, 6_000_000), (1, 3, 6_000_000, 1e-5), (2, 3, 4_000_000, 1.2e-4)]
    deep = [{"up_to_gbps": 400, "kmin_bytes": 200_000, "kmax_bytes": 400_000, "pmax": 0.5}]
    twin = by_law(rows, path_choice="spray", marking=deep, skip={"joins": False})
    assert twin.put_back_packets > 20
    assert all(len(pair.paths) == 2 for flow in twin.flows for pair in flow.pairs)


def test_what_leaves_a_queue_may_have_been_marked_by_the_one_before():
    """Transfers that join fill a link between switches, and one of them a host's behind it."""
    rows = [(0, 3, 6_000_000), (1, 4, 6_000_000, 1e-5), (4, 3, 6_000_000, 1e-5), (2, 3, 2_000_000, 1.4e-4)]
    twin = by_law(rows, spine_gbps=200.0)
    assert twin.joins == 1 and twin.marked_before > 0


def test_what_came_too_long_ago_to_tell_when_moves_packet_by_packet():
    """Four transfers at line rate bring what stands longer than rates of late are kept, here 16 us."""
    rows = [*SHARED, *((sender, 2, 1_000_000, 1.2e-4 + sender * 1e-6) for sender in (0, 1, 3, 4))]
    assert by_law(rows, buffer_bytes=1 << 27, pfc_alpha=8.0, skip={"window_packets": 4, "steps": 4}).forgotten > 0


def test_what_thaws_near_a_pause_is_counted_once_where_others_stand_in_the_same_switch():
    """Two parts fill queues of one switch; one comes near a pause, and the other, a quarter as deep by each link, does not."""
    rows = [(0, 2, SIZE), (1, 2, SIZE, 1e-5), (4, 6, SIZE), (5, 6, SIZE, 1e-5)]
    rows += [(3, 2, SIZE, 3e-4), (0, 2, SIZE, 3.01e-4), (7, 6, SIZE, 3e-4)]
    marking = [{"up_to_gbps": 400, "kmin_bytes": 400_000, "kmax_bytes": 400_001, "pmax": 1.0}]
    chosen = {"congestion_control": "dcqcn", "marking": marking, "buffer_bytes": 3 << 20, "pfc_alpha": 0.25}
    chosen["skip"] = {"mode": "steady", "jitter_packets": 0.0}
    model, found_ps, twin = both_over(star(8), rows, chosen, "pooled")
    assert found_ps.tolist() == twin.finish
    assert int(model._tables.net["skips"][0]) == twin.skips
    assert twin.tight_thaws == 1


def test_a_flow_that_has_just_started_is_told_nothing_when_another_part_thaws():
    """It has its host, its links and its target alone, and no rate before and after."""
    rows = [*SHARED, (3, 4, 6_000_000, 1.2e-4), (5, 2, 100_000, 1.2005e-4)]
    twin = by_law(rows, skip={"joins": False})
    assert [pair.cuts for pair in twin.flows[2].pairs] == [0]


def test_a_port_shared_with_and_without_a_rate_is_at_work():
    """Of the queue pairs of one port those on a full link have a rate, another has none."""
    twin = by_law([*SHARED, (0, 1, 6_000_000), (0, 1, 3_000_000, 1e-5)])
    assert twin.mixed_ports > 0
