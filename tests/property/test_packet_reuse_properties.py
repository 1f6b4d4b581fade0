"""Reuse changes nothing where it is exact: random parts, copied over switches and repeated in time."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from packet_networks import Network, flows, run

from zcube.network.packet.footprint import memory_bound_bytes

HOSTS, COPIES = 4, 3

host = st.integers(0, HOSTS - 1)
part = st.lists(st.tuples(host, host, st.integers(1, 600_000)), min_size=1, max_size=5).map(
    lambda rows: [(a, b if a != b else (b + 1) % HOSTS, size) for a, b, size in rows]
)
starts = st.lists(st.tuples(st.integers(0, COPIES - 1), st.integers(0, 120)), min_size=2, max_size=8)
parameters = st.fixed_dictionaries(
    {
        "forwarding": st.sampled_from(["store-and-forward", "cut-through"]),
        "path_choice": st.sampled_from(["static", "spray", "adaptive"]),
        "pfc_threshold": st.sampled_from(["dynamic", "static"]),
        "xoff_bytes": st.sampled_from([40_000, 1_000_000]),
        "buffer_bytes": st.sampled_from([1 << 20, 1 << 25]),
        "priorities": st.sampled_from([1, 2]),
        "congestion_control": st.sampled_from(["none", "dcqcn"]),
    }
)


def copies():
    """Pairs of switches joined by two ways, hosts on both, the second copy on slower links."""
    cables, paths = [], []
    for copy in range(COPIES):
        a, b, x, y = (f"{switch}{copy}" for switch in "abxy")
        rate = 200.0 if copy == 1 else 400.0
        hosts = [f"h{copy * HOSTS + at}" for at in range(HOSTS)]
        cables += [(name, a if at < HOSTS // 2 else b, rate) for at, name in enumerate(hosts)]
        cables += [(leaf, spine, rate) for leaf in (a, b) for spine in (x, y)]
        for at, one in enumerate(hosts):
            for to, other in enumerate(hosts):
                if at != to:
                    here, there = (a if end < HOSTS // 2 else b for end in (at, to))
                    paths += [(one, here, other)] if here == there else [(one, here, via, there, other) for via in (x, y)]
    network = Network(*cables)
    for nodes in paths:
        network.path(*nodes)
    return network


@settings(max_examples=60)
@given(part=part, starts=starts, chosen=parameters, split=st.sampled_from(["pooled", "fixed"]), seed=st.integers(0, 3))
def test_reuse_is_exact(part, starts, chosen, split, seed):
    network = copies()
    rows = [
        (a + copy * HOSTS, b + copy * HOSTS, size, start * 1e-6)
        for copy, start in sorted(starts, key=lambda entry: entry[1])
        for a, b, size in part
    ]
    found = []
    for mode in ("off", "reuse"):
        model = network.model(split, seed=seed, skip={"mode": mode, "calm_windows": 1000}, **chosen)
        finish_ps = run(model, flows(*rows))
        log, delays = model.pause_log(), model.delays()
        pauses = sorted(zip(log.from_s, log.until_s, log.link, log.cause_link, log.root_link))
        seen = (
            finish_ps.tolist(),
            model.link_table().size_bytes.tolist(),
            pauses,
            delays.victim_s.tolist(),
            delays.late.tolist(),
        )
        tables = model.queue_table().frame().to_csv(), model.link_table().peak_flows.tolist()
        counts = {
            name: getattr(model.counts, name) for name in ("packet_hops", "pauses", "marks", "notifications", "rate_cuts")
        }
        assert model.received_bytes == model.posted_bytes
        assert not model._tables["switches"]["used"].any()
        table = flows(*rows)
        routes = network.routes(table.source, table.target)
        sizes = len(routes.share), len(routes.link)
        assert model.memory_bytes <= memory_bound_bytes(network.link_set, model.settings, table.size_bytes, *sizes)
        found.append((seen, tables, counts))
    assert found[0] == found[1]
    steps, done = network.model(split, seed=seed, skip={"mode": "reuse", "calm_windows": 1000}, **chosen), []
    steps.send(flows(*rows))
    while (next_s := steps.next_event_s()) < float("inf"):
        done += steps.advance(next_s).tolist()
    assert np.all(np.diff(steps.completions().finish_s[done]) >= 0) and sorted(done) == list(range(len(rows)))
    assert np.round(steps.completions().finish_s * 1e12).astype(int).tolist() == found[0][0][0]
