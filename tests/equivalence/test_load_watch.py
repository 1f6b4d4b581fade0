"""Load over time: readings change no result, and say what bins kept event by event say."""

from __future__ import annotations

import numpy as np
import pytest
from test_flow_features import draw, network
from test_packet_twin import draw_flows, leaf_spine

from zcube.comparison import compare
from zcube.fabric.catalog import load_fabric
from zcube.network.link_set import LinkSet
from zcube.network.load_watch import LoadWatch
from zcube.network.packet.model import PacketModel
from zcube.network.packet.settings import PacketSettings
from zcube.network.protocol import FlowTable
from zcube.network.settings import Network
from zcube.replays.flows import replay
from zcube.routing.catalog import routing_for
from zcube.scenario import load_scenario
from zcube.seeds import stream
from zcube.workload.flow_lists import FlowList


def carried(seed: int, watched: bool, **more):
    # Under back-pressure no link may lose all its capacity.
    capacity, paths, bits, start, weight, cap, changes = draw(seed, changing=more.get("isolation", 1.0) == 1.0)
    model = network(capacity, paths, **more)
    if watched:
        model.watch_load(40, 20.0)
    flow = np.arange(len(bits))
    model.send(FlowTable(flow, flow, bits / 8, start, cap_bps=cap, weight=weight))
    for time_s, links in changes[1:]:
        model.change_capacity(np.array(list(links)), np.array(list(links.values())), time_s)
    model.run(lambda done, total: None, events_at_once=3)
    return model


@pytest.mark.parametrize("quantum_s", [0.0, 0.3])
@pytest.mark.parametrize("isolation", [1.0, 0.0])
def test_readings_of_a_fluid_change_nothing_in_it(quantum_s, isolation):
    for seed in range(10):
        plain, read = (carried(seed, watched, quantum_s=quantum_s, isolation=isolation) for watched in (False, True))
        for one, other in zip(plain.completions().__dict__.values(), read.completions().__dict__.values(), strict=True):
            assert one.tobytes() == other.tobytes()
        assert plain.link_table().size_bytes.tobytes() == read.link_table().size_bytes.tobytes()
        assert plain.events == read.events


def test_readings_equal_what_bins_kept_event_by_event_add_up_to():
    for seed in range(10):
        model = carried(seed, True)
        times_s, totals = model.load_watch().between(0.0, model.now_s)
        assert 20 <= len(times_s) <= 80
        binned = carried(seed, False, bin_s=float(times_s[1] - times_s[0])).binned_bytes()
        expected = np.cumsum(binned, axis=0)[: len(times_s)]
        np.testing.assert_allclose(totals, expected, rtol=1e-9, atol=1e-9 * totals.max())


def test_a_flow_alone_is_carried_at_its_rate():
    # 1000 bits at 8 b/s from 5 s on: nothing before, a byte a second until 130 s, nothing more afterwards.
    model = network([8.0], [[0]])
    model.watch_load(10, 10.0)
    flow = np.zeros(1, dtype=np.int64)
    model.send(FlowTable(flow, flow, np.array([125.0]), np.array([5.0])))
    model.advance(200.0)
    times_s, totals = model.load_watch().between(0.0, 200.0)
    assert times_s.tolist() == [16.0 * number for number in range(1, len(times_s) + 1)]
    np.testing.assert_allclose(totals[:, 0], np.clip(times_s - 5.0, 0.0, 125.0), rtol=1e-12)


def test_so_many_readings_are_kept_at_most():
    watch = LoadWatch(1, 7, 1.0)
    for _ in range(500):
        watch.note(np.array([watch.due_s]))
        times_s, totals = watch.between(0.0, watch.due_s)
        assert len(times_s) <= 14
        np.testing.assert_allclose(totals[:, 0], times_s)


@pytest.mark.parametrize("written", [True, False])
def test_readings_of_packets_change_nothing_in_them(written, monkeypatch):
    from zcube.network.packet import model as packet_model

    monkeypatch.setattr(packet_model, "runs_as_written", lambda kernel: written)
    if written:
        from zcube.as_written import as_written

        monkeypatch.setattr(packet_model.bounds, "earliest", as_written(packet_model.bounds.earliest))
        monkeypatch.setattr(packet_model, "push_starts", as_written(packet_model.push_starts))
    fabric = leaf_spine()
    for seed in range(3):
        flows, told = draw_flows(stream(seed, "watched packets"), 16), []
        for watched in (False, True):
            model = PacketModel(LinkSet.of_fabric(fabric), routing_for(fabric, seed=3), PacketSettings())
            if watched:
                model.watch_load(20, 1e-6)
            model.send(flows)
            model.advance(2e-6)
            model.advance(float("inf"))
            counts = model.counts
            told.append((model.completions().finish_s.tobytes(), model.link_table().size_bytes.tobytes(), str(counts)))
        assert told[0] == told[1]
        times_s, totals = model.load_watch().between(0.0, model.now_s)
        assert 10 <= len(times_s) <= 40
        assert (np.diff(totals, axis=0) >= 0).all()
        assert (totals[-1] <= model.link_table().size_bytes).all()


@pytest.mark.parametrize("fidelity", ["flow", "lossless", "packet"])
def test_bins_of_a_replay_add_up_to_its_links(fidelity):
    fabric = load_fabric("zcube-32")
    rng = stream(3, "load over time")
    source, target = rng.integers(0, 16, 40), 16 + rng.integers(0, 16, 40)
    flows = FlowList(np.arange(40), source, target, rng.integers(10_000, 100_000, 40) * 1.0, rng.uniform(0, 1e-5, 40))
    done = replay(Network(fidelity=fidelity).on(fabric), flows)
    load, links = done.load, done.links()
    assert 100 <= len(load.switch_bytes) <= 250
    assert (load.edges_s[0], load.edges_s[-1]) == (0.0, done.makespan_s)
    out = links.groupby("from")["bytes"].sum()
    np.testing.assert_allclose(load.switch_bytes.sum(axis=0), [out[name] for name in load.switches], rtol=1e-9)
    np.testing.assert_allclose(load.kind_bytes.sum(), links["bytes"].sum(), rtol=1e-9)
    np.testing.assert_allclose(load.link_bytes.sum(axis=0), links["bytes"][load.links], rtol=1e-9)
    assert load.link_names == (links["from"] + ">" + links["to"])[load.links].tolist()
    # Payload of a packet counts where it begins to be sent, so that a bin may hold one more than the line carries.
    packet_bits = 8 * 4096 if fidelity == "packet" else 0
    assert 0 < load.switch_fullest.max() <= 1.0 + 1e-9 + packet_bits / (200e9 * np.diff(load.edges_s).min())
    assert (load.switch_bytes >= -1e-9 * load.switch_bytes.max()).all()


def test_bins_of_a_serving_run_add_up_to_its_window_and_change_no_figure():
    changes = {"fabrics": ["zcube-256"], "gpus": 256, "requests.count": 60, "prefill.nodes": 24, "decode.nodes": 8}
    changes |= {"baseline": "zcube-256", "measure.least_requests": 5, "measure.least_filled": 0.1, "measure.least_turnovers": 0}
    kept = compare(load_scenario("glm51-pd-1024", changes))
    run, links = kept.results["zcube-256"].run, kept.links()
    load = run.load
    assert load is not None and 60 <= len(load.switch_bytes) <= 240
    assert (load.edges_s[0], load.edges_s[-1]) == (run.window.start_s, run.window.end_s)
    out = links.groupby("from")["bytes"].sum()
    np.testing.assert_allclose(load.switch_bytes.sum(axis=0), [out[name] for name in load.switches], rtol=1e-9, atol=1.0)
    table = load.frame()
    assert table.loc[table["of"] == "kind", "bytes"].sum() == pytest.approx(links["bytes"].sum(), rel=1e-9)
    unkept = compare(load_scenario("glm51-pd-1024", {**changes, "network.load_bins": 0}))
    unread = compare(load_scenario("glm51-pd-1024", changes), load_over_time=False)
    for without in (unkept, unread):
        assert without.results["zcube-256"].run.load is None
        assert without.document() == kept.document()
