"""What holds under every load balancing: bytes conserved, nothing lost under PFC but on links that fail, runs that repeat."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_packet_properties import rows, state, table

from zcube.fabric.catalog import load_fabric
from zcube.network.packet.footprint import memory_bound_bytes
from zcube.network.packet.model import packet_model
from zcube.network.packet.settings import PacketSettings
from zcube.routing.catalog import routing_for

FABRICS = {name: load_fabric(name) for name in ("roft-256", "roft3-1024", "zcube-n16", "hpn-1024")}
CHOICES = ["spray", "spray-random", "flowlet", "adaptive", "adaptive-every-switch"]

balances = st.fixed_dictionaries(
    {
        "path_choice": st.sampled_from(CHOICES),
        "queue_pair_ports": st.sampled_from(["one", "all"]),
        "spread_queue_pairs": st.integers(1, 3),
        "flowlet_gap_s": st.sampled_from([0.0, 1e-6]),
        "congestion_control": st.sampled_from(["none", "dcqcn", "dcqcn_nvidia"]),
        "pfc_threshold": st.sampled_from(["dynamic", "static"]),
        "xoff_bytes": st.sampled_from([6_000, 40_000]),
        "reorder": st.sampled_from(["cost", "buffer", "go-back-n"]),
        "reorder_buffer_packets": st.just(64),
    }
).map(lambda chosen: chosen | ({"queue_pair_ports": "one"} if chosen["path_choice"] == "adaptive" else {}))
#: When links of the lists above go down, and for how long.
outages = st.lists(st.tuples(st.integers(0, 1 << 30), st.integers(0, 30), st.sampled_from([1, 20, 60])), min_size=1, max_size=3)


def model_of(name, chosen, most_paths=16, **options):
    fabric = FABRICS[name]
    return packet_model(fabric, routing_for(fabric, "equal-paths", most_paths=most_paths), PacketSettings(**chosen), **options)


def failing(model, flows, drawn):
    """Return failures of cables that the transfers may cross, each at most once."""
    routes, links = model.routing.routes(flows.source, flows.target), model.link_set
    ends = sorted({"->".join(sorted((links.source[link], links.target[link]))) for link in routes.link})
    found = {ends[at % len(ends)]: (down * 1e-6, (down + length) * 1e-6) for at, down, length in drawn}
    return [{"link": link, "down_s": down_s, "up_s": up_s} for link, (down_s, up_s) in found.items()]


@pytest.mark.parametrize("name", FABRICS)
@settings(max_examples=8)
@given(rows=rows, chosen=balances, split=st.sampled_from(["pooled", "fixed"]))
def test_bytes_are_conserved_and_none_is_lost(name, rows, chosen, split):
    model, flows = model_of(name, chosen, path_split=split), table(rows)
    model.send(flows)
    assert sorted(model.advance(float("inf"))) == list(range(len(rows)))
    links = model.link_table()
    assert model.counts.drops == model.counts.lost == 0
    assert model.received_bytes == flows.size_bytes.sum()
    if chosen["reorder"] == "cost":
        assert links.size_bytes[links.enters_gpu].sum() == links.size_bytes[links.leaves_gpu].sum() == flows.size_bytes.sum()
    routes = model.routing.routes(flows.source, flows.target)
    bound = memory_bound_bytes(model.link_set, model.settings, flows.size_bytes, len(routes.share), len(routes.link))
    assert model.memory_bytes <= bound


@pytest.mark.parametrize("name", ["roft3-1024", "zcube-n16", "hpn-1024"])
@settings(max_examples=8)
@given(rows=rows, chosen=balances, drawn=outages, detection_s=st.sampled_from([0.0, 5e-6]))
def test_all_arrives_in_spite_of_links_that_fail(name, rows, chosen, drawn, detection_s):
    flows = table(rows)
    failures = failing(model_of(name, chosen), flows, drawn)
    chosen = chosen | {"link_failures": failures, "failure_detection_s": detection_s, "retransmit_timeout_s": 3e-5}
    found = []
    for steps in (1, 20):
        model = model_of(name, chosen)
        model.send(flows)
        for step in range(1, steps):
            model.advance(step * 4e-6)
        model.advance(float("inf"))
        assert model.under_way == 0 and model.counts.drops == 0
        assert model.received_bytes == flows.size_bytes.sum()
        found.append(state(model))
    assert found[0] == found[1]
