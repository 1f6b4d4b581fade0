"""Where packets are lost or trimmed and sent again one by one: each byte arrives once, and every copy is accounted for."""

from __future__ import annotations

from typing import get_args

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from test_packet_properties import FABRICS, rows, state, table

from zcube.network.packet.controls import BUILT_IN
from zcube.network.packet.footprint import memory_bound_bytes
from zcube.network.packet.model import packet_model
from zcube.network.packet.settings import PacketSettings, PathChoice
from zcube.routing.catalog import routing_for

parameters = st.fixed_dictionaries(
    {
        "recovery": st.just("selective"),
        "trimming": st.booleans(),
        "trim_queue_bytes": st.sampled_from([200, 1 << 20]),
        "selective_window_packets": st.sampled_from([64, 256]),
        "reorder_gap_packets": st.sampled_from([None, 3]),
        "ack_every_packets": st.sampled_from([1, 4, 500]),
        "congestion_control": st.sampled_from(sorted(BUILT_IN)),
        "forwarding": st.sampled_from(["store-and-forward", "cut-through"]),
        "path_choice": st.sampled_from(get_args(PathChoice)),
        "acknowledgements": st.sampled_from(["notified", "packets"]),
        "cell_bytes": st.sampled_from([None, 16384]),
        "priorities": st.sampled_from([1, 2]),
        "drop_alpha": st.sampled_from([0.1, 1.0]),
        "buffer_bytes": st.sampled_from([1 << 16, 1 << 18]),
        "retransmit_timeout_s": st.sampled_from([5e-6, 1e-4]),
    }
)


def model_of(name, chosen, pfc=False):
    fabric = FABRICS[name]
    return packet_model(fabric, routing_for(fabric), PacketSettings(**chosen, pfc=pfc))


@settings(max_examples=60)
@given(name=st.sampled_from(sorted(FABRICS)), rows=rows, chosen=parameters, many=st.integers(1, 3))
def test_every_byte_arrives_once_and_every_copy_is_accounted_for(name, rows, chosen, many):
    model, flows = model_of(name, chosen), table(rows * many)
    model.send(flows)
    done = model.advance(float("inf"))
    assert sorted(done) == list(range(len(flows.source)))
    counts, links = model.counts, model.link_table()
    assert model.received_bytes == model.posted_bytes == flows.size_bytes.sum()
    assert counts.repeats == counts.drops + counts.trims + counts.duplicates
    assert counts.trims == 0 or counts.drops == 0
    again = links.size_bytes[links.enters_gpu].sum() - flows.size_bytes.sum()
    assert 0 <= again <= counts.duplicates * model.settings.unit_payload_bytes
    assert (again > 0) == (counts.duplicates > 0)
    assert counts.pauses == 0 and counts.headers_lost <= counts.trims
    routes = model.routing.routes(flows.source, flows.target)
    bound = memory_bound_bytes(model.link_set, model.settings, flows.size_bytes, len(routes.share), len(routes.link))
    assert model.memory_bytes <= bound <= 2e9


@settings(max_examples=25)
@given(rows=rows, chosen=parameters, steps=st.integers(1, 9))
def test_neither_steps_nor_grouping_change_anything(rows, chosen, steps):
    rows = sorted(rows, key=lambda row: row[3])
    whole = model_of("roft-256", chosen)
    whole.send(table(rows))
    whole.advance(float("inf"))
    parts, done = model_of("roft-256", chosen), []
    for at in range(0, len(rows), steps):
        done += parts.advance(rows[at][3]).tolist()
        parts.send(table(rows[at : at + steps]))
    while (next_s := parts.next_event_s()) < float("inf"):
        done += parts.advance(next_s).tolist()
    assert sorted(done) == list(range(len(rows)))
    assert np.all(np.diff(parts.completions().finish_s[done]) >= 0)
    parts.advance(float("inf"))
    assert state(parts) == state(whole)


@settings(max_examples=15)
@given(rows=rows, chosen=parameters)
def test_nothing_is_lost_or_asked_for_again_under_pfc(rows, chosen):
    chosen = chosen | {"trimming": False, "retransmit_timeout_s": 1.0, "reorder_gap_packets": None, "buffer_bytes": 1 << 25}
    model, flows = model_of("roft-256", chosen, pfc=True), table(rows)
    model.send(flows)
    model.advance(float("inf"))
    counts = model.counts
    assert (counts.drops, counts.repeats, counts.duplicates) == (0, 0, 0)
    assert model.received_bytes == flows.size_bytes.sum()
