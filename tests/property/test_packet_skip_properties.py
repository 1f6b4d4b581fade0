"""Parts of a packet network advanced by rate: bytes are conserved, and how far a run is advanced at once changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
