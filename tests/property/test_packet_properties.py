"""What holds for the packet model on any traffic: bytes conserved, nothing lost under PFC, runs that repeat."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zcube.fabric.catalog import load_fabric
from zcube.network.packet.controls import BUILT_IN
from zcube.network.packet.footprint import memory_bound_bytes
from zcube.network.packet.model import packet_model
from zcube.network.packet.settings import PacketSettings
from zcube.network.protocol import FlowTable
from zcube.routing.catalog import routing_for

FABRICS = {name: load_fabric(name) for name in ("roft-256", "zcube-n16")}
GPUS = 24

rows = st.lists(
    st.tuples(st.integers(0, GPUS - 1), st.integers(0, GPUS - 1), st.integers(1, 300_000), st.integers(0, 20)),
    min_size=1,
    max_size=25,
).map(lambda rows: [(a, b if a != b else (b + 1) % GPUS, size, start * 1e-6) for a, b, size, start in rows])
parameters = st.fixed_dictionaries(
    {
        "congestion_control": st.sampled_from(sorted(BUILT_IN)),
        "forwarding": st.sampled_from(["store-and-forward", "cut-through"]),
        "path_choice": st.sampled_from(["static", "spray", "spray-random", "flowlet", "adaptive", "adaptive-every-switch"]),
        "acknowledgements": st.sampled_from(["notified", "packets"]),
        "cell_bytes": st.sampled_from([None, 16384]),
        "pfc_threshold": st.sampled_from(["dynamic", "static"]),
        "xoff_bytes": st.sampled_from([6_000, 40_000]),
        "marking": st.just([{"up_to_gbps": 400, "kmin_bytes": 20_000, "kmax_bytes": 100_000, "pmax": 0.5}]),
    }
)


def table(rows):
    source, target, size, start_s = (np.array(column) for column in zip(*rows))
    return FlowTable(source, target, size.astype(float), start_s.astype(float))


def model_of(name, chosen, pfc=True, **options):
    fabric = FABRICS[name]
    return packet_model(fabric, routing_for(fabric), PacketSettings(**chosen, pfc=pfc), **options)


def state(model):
    finish = model.completions().finish_s.tobytes()
    return finish, model.counts, model.queue_table().frame().to_csv(), model.delays().victim_s.tobytes()


@pytest.mark.parametrize("pfc", [True, False])
@pytest.mark.parametrize("name", FABRICS)
@settings(max_examples=15)
@given(rows=rows, chosen=parameters)
def test_bytes_are_conserved_and_none_is_lost_under_pfc(name, pfc, rows, chosen):
    chosen = chosen if pfc else chosen | {"path_choice": "static"}
    model, flows = model_of(name, chosen, pfc), table(rows)
    model.send(flows)
    done = model.advance(float("inf"))
    finish_s = model.completions().finish_s
    assert sorted(done) == list(range(len(rows))) and np.all(np.diff(finish_s[done]) >= 0)
    assert np.all(finish_s >= flows.start_s + flows.size_bytes * 8 / 3.6e12)
    routes = model.routing.routes(flows.source, flows.target)
    bound = memory_bound_bytes(model.link_set, model.settings, flows.size_bytes, len(routes.share), len(routes.link))
    assert model.memory_bytes <= bound <= 1e9
    links = model.link_table()
    arrived = links.size_bytes[links.enters_gpu].sum()
    if pfc:
        assert model.counts.drops == 0
        assert arrived == links.size_bytes[links.leaves_gpu].sum() == flows.size_bytes.sum()
        assert np.all(links.size_bytes * 8 <= links.capacity_bps * finish_s.max() + 1)
        table_of_queues = model.queue_table()
        assert np.all(table_of_queues.paused_s <= finish_s.max() + 1e-3)
    else:
        assert arrived >= flows.size_bytes.sum()


@settings(max_examples=15)
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
    taken = 0
    while (next_s := parts.next_event_s()) < float("inf"):
        found = parts.advance(next_s).tolist()
        done += found
        taken += 1
        assert taken < 200 * len(rows)
    assert sorted(done) == list(range(len(rows)))
    parts.advance(float("inf"))
    assert state(parts) == state(whole)


@settings(max_examples=10)
@given(rows=rows, chosen=parameters, more=st.integers(1, 5000))
def test_where_records_lie_changes_nothing(rows, chosen, more):
    found = []
    for extra in (0, more):
        model = model_of("zcube-n16", chosen)
        tables = model._tables
        tables.add_packets(len(tables["packets"]) + extra) if extra else None
        model.send(table(rows))
        model.advance(float("inf"))
        found.append(state(model))
    assert found[0] == found[1]


@settings(max_examples=10)
@given(rows=rows)
def test_bins_add_up(rows):
    chosen = {"congestion_control": "none", "pfc_threshold": "static", "xoff_bytes": 6_000}
    model, plain = model_of("roft-256", chosen, bin_s=3e-6), model_of("roft-256", chosen)
    for each in (model, plain):
        each.send(table(rows))
        each.advance(float("inf"))
    assert state(model) == state(plain)
    queues = model.queue_table()
    assert np.array_equal(model.depth_bins().max(axis=0), queues.peak_bytes)
    assert np.allclose(model.pause_bins_s().sum(axis=0), queues.paused_s, atol=1e-15)
    log = model.pause_log()
    assert np.allclose(np.bincount(log.link, log.until_s - log.from_s, minlength=len(queues.paused_s)), queues.paused_s)
