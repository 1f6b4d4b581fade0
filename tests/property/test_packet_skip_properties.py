"""Parts of a packet network advanced by rate: bytes are conserved, and how far a run is advanced at once changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from packet_networks import Network, flows, run

from zcube.fabric.catalog import load_fabric
from zcube.network.packet.footprint import memory_bound_bytes
from zcube.network.packet.model import packet_model
from zcube.network.packet.settings import PacketSettings
from zcube.network.protocol import FlowTable
from zcube.routing.catalog import routing_for

FABRICS = {name: load_fabric(name) for name in ("roft-256", "zcube-n16")}
GPUS = 16

rows = st.lists(
    st.tuples(st.integers(0, GPUS - 1), st.integers(0, GPUS - 1), st.integers(1, 6_000_000), st.integers(0, 200)),
    min_size=1,
    max_size=12,
).map(lambda rows: [(a, b if a != b else (b + 1) % GPUS, size, start * 1e-6) for a, b, size, start in rows])
parameters = st.fixed_dictionaries(
    {
        "congestion_control": st.sampled_from(["none", "dcqcn", "dcqcn_nvidia"]),
        "forwarding": st.sampled_from(["store-and-forward", "cut-through"]),
        "path_choice": st.sampled_from(["static", "spray", "adaptive"]),
        "acknowledgements": st.sampled_from(["notified", "packets"]),
        "cell_bytes": st.sampled_from([None, 16384]),
        "priorities": st.sampled_from([1, 2]),
        "pfc_threshold": st.sampled_from(["dynamic", "static"]),
        "xoff_bytes": st.sampled_from([40_000, 1_000_000]),
        "marking": st.just([{"up_to_gbps": 400, "kmin_bytes": 20_000, "kmax_bytes": 100_000, "pmax": 0.5}]),
    }
)


def state(model):
    finish = model.completions().finish_s.tobytes()
    return finish, model.counts, model.queue_table().frame().to_csv(), model.delays().victim_s.tobytes()


def table_of(rows):
    source, target, size, start_s = (np.array(column) for column in zip(*rows))
    return FlowTable(source * 8, target * 8 + 1, size.astype(float), start_s.astype(float))


def model_of(name, chosen, split):
    fabric = FABRICS[name]
    return packet_model(fabric, routing_for(fabric), PacketSettings(**chosen, skip={"mode": "steady"}), split)


def pods():
    """Two pods of two leaves of two hosts each, a spine in each pod, and a core: one, three or five switches on a path."""
    network = Network(
        *((f"h{host}", f"l{host // 2}") for host in range(8)),
        *((f"l{leaf}", f"s{leaf // 2}") for leaf in range(4)),
        *((f"s{pod}", "c") for pod in range(2)),
        latency_s=500e-9,
    )
    for one in range(8):
        for other in set(range(8)) - {one}:
            up, down = ((f"h{host}", f"l{host // 2}", f"s{host // 4}") for host in (one, other))
            met = next(level for level in range(4) if level == 3 or up[level] == down[level])
            network.path(*up[: met + 1], *(["c"] if met == 3 else []), *reversed(down[:met]))
    return network


@settings(max_examples=40)
@given(
    rows=st.lists(
        st.tuples(
            *(st.integers(0, 7), st.sampled_from([0, 5]), st.integers(1_000_000, 30_000_000)), st.sampled_from([0, 0, 10, 50])
        ),
        min_size=3,
        max_size=7,
    ),
    quick=st.booleans(),
    seed=st.integers(0, 99),
)
@example(
    rows=[
        (5, 6, 19815073, 50),
        (1, 0, 26978937, 0),
        (7, 0, 9202714, 0),
        (4, 0, 27546424, 0),
        (5, 6, 9203511, 0),
        (4, 0, 6106093, 9),
    ],
    quick=False,
    seed=84,
)
def test_when_it_all_begins_changes_nothing(rows, quick, seed):
    """Later by a power of two of picoseconds, a whole number of all times that are kept."""
    rows = [(a if a != b else (b + 1) % 8, b, size, start) for a, b, size, start in rows]
    chosen = {"congestion_control": "dcqcn", "seed": seed, "skip": {"mode": "steady"}}
    if quick:
        chosen["marking"] = [{"up_to_gbps": 400, "kmin_bytes": 20_000, "kmax_bytes": 200_000, "pmax": 0.5}]
    found = []
    for later_ps in (0, 1 << 43):
        model = pods().model(**chosen)
        finish_ps = run(model, flows(*((*row[:3], (row[3] * 10**6 + later_ps) / 1e12) for row in rows)))
        found.append(((finish_ps - later_ps).tolist(), model.counts))
    assert found[0] == found[1]


@pytest.mark.parametrize("name", FABRICS)
@settings(max_examples=25)
@given(rows=rows, chosen=parameters, split=st.sampled_from(["pooled", "fixed"]), steps=st.integers(1, 5))
def test_bytes_are_conserved_and_steps_change_nothing(name, chosen, rows, split, steps):
    rows = sorted(rows, key=lambda row: row[3])
    whole, table = model_of(name, chosen, split), table_of(rows)
    whole.send(table)
    done = whole.advance(float("inf"))
    finish_s = whole.completions().finish_s
    assert sorted(done) == list(range(len(rows))) and np.all(np.diff(finish_s[done]) >= 0)
    assert np.all(finish_s >= table.start_s + table.size_bytes * 8 / 3.6e12)
    assert whole.received_bytes == whole.posted_bytes == table.size_bytes.sum()
    routes = whole.routing.routes(table.source, table.target)
    bound = memory_bound_bytes(whole.link_set, whole.settings, table.size_bytes, len(routes.share), len(routes.link))
    assert whole.memory_bytes <= bound
    links = whole.link_table()
    assert links.size_bytes[links.enters_gpu].sum() == links.size_bytes[links.leaves_gpu].sum()
    assert np.all(links.size_bytes * 8 <= links.capacity_bps * finish_s.max() * 1.02 + 1)
    assert whole.counts.drops == 0
    parts, done = model_of(name, chosen, split), []
    for at in range(0, len(rows), steps):
        done += parts.advance(rows[at][3]).tolist()
        parts.send(table_of(rows[at : at + steps]))
    taken = 0
    while (next_s := parts.next_event_s()) < float("inf"):
        done += parts.advance(next_s).tolist()
        taken += 1
        assert taken < 3000 * len(rows)
    assert sorted(done) == list(range(len(rows)))
    parts.advance(float("inf"))
    assert state(parts) == state(whole)
