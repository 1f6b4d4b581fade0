"""Kernels run as they are written against the same compiled: what they leave in memory and return, byte for byte."""

from __future__ import annotations

import struct
from contextlib import contextmanager

import numpy as np
import pytest
from test_flow_groups import Posts, drive, network
from test_flow_oracle import Case, ListedPaths, link_set
from test_packet_twin import EAGER_TABLES, draw_flows, draw_settings, leaf_spine

from zcube.as_written import as_written, kernels_as_written, runs_as_written
from zcube.compile_cache import compiled
from zcube.fabric.catalog import load_fabric
from zcube.network import alone, flow_model, fluid
from zcube.network.kernels import kernel
from zcube.network.packet import bounds, model, stuck
from zcube.network.packet.layout import TABLES
from zcube.network.packet.settings import PacketSettings
from zcube.routing import shortest
from zcube.routing.catalog import routing_for
from zcube.seeds import stream

KERNELS = [
    (bounds, "earliest"), (model, "push_starts"), (stuck, "held"), (flow_model, "post"), (flow_model, "drop_done"),
    (fluid, "advance"), (fluid, "settle_pools"), (fluid, "note_bounds"), (fluid, "change_capacity"),
    (alone, "_write_alone"), (alone, "_write_pooled"), (shortest, "walk"),
]  # fmt: skip


@pytest.fixture
def written(monkeypatch):
    """Returns what lets all kernels run as written inside, also those that have been compiled."""

    @contextmanager
    def inside():
        with monkeypatch.context() as patch:
            patch.setattr(model, "runs_as_written", lambda kernel: True)
            for module, name in KERNELS:
                patch.setattr(module, name, as_written(getattr(module, name)))
            yield

    return inside


def run_packets(draw, **more):
    fabric = leaf_spine() if draw.random() < 0.6 else load_fabric("zcube-n16")
    settings, flows = draw_settings(draw, more.pop("control", None)), draw_flows(draw, 16)
    settings = PacketSettings.model_validate({**settings.model_dump(), **more})
    routing = routing_for(fabric, queue_pairs=int(draw.integers(1, 4)), seed=3)
    split, bin_s = str(draw.choice(["pooled", "fixed"])), float(draw.choice([0.0, 3e-6]))
    run = model.PacketModel(model.LinkSet.of_fabric(fabric), routing, settings, split, bin_s=bin_s)
    run.send(flows)
    told = [run.next_event_s(), run.advance(2e-6).tolist(), run.next_event_s(), run.advance(float("inf")).tolist()]
    return run, told


def assert_equal_packets(one, other):
    (one, told), (other, also_told) = one, other
    assert told == also_told
    for name in TABLES:
        assert one._tables[name].tobytes() == other._tables[name].tobytes(), name
    for name in one._tables.net.dtype.names:
        if not name.endswith("_at") and not name.startswith("on_"):
            assert one._tables.net[name] == other._tables.net[name], name


@pytest.mark.parametrize("seed", range(24))
def test_packets_leave_the_same_tables(written, seed):
    more = [{}, {"cell_bytes": 20_000}, {"acknowledgements": "packets"}][seed % 3]
    with written():
        one = run_packets(np.random.default_rng(seed), **more)
    assert one[0]._written
    assert_equal_packets(one, run_packets(np.random.default_rng(seed), **more))


@pytest.mark.parametrize("control", EAGER_TABLES)
def test_controls_of_other_packages_do_the_same(written, installed, control):
    installed("window_control")
    for seed in range(3):
        with written():
            one = run_packets(np.random.default_rng(seed), control=control)
        assert_equal_packets(one, run_packets(np.random.default_rng(seed), control=control))


def test_a_model_that_has_more_to_do_than_was_thought_goes_on_compiled(written, monkeypatch):
    monkeypatch.setattr(model, "EVENTS_AS_WRITTEN", 700)
    with written():
        one = run_packets(np.random.default_rng(5))
    assert not one[0]._written and one[0].counts.events > 2 * 700
    assert_equal_packets(one, run_packets(np.random.default_rng(5)))


def run_fluid(seed, split, isolation):
    case, rng = Case(seed, subflows=3, delays=True), stream(seed, "as written")
    links, flows = len(case.capacity), case.table(np.arange(len(case.start)))
    cap_bps = rng.choice([1.0, 3.0, np.inf], len(case.start))
    options = {"quantum_s": float(rng.choice([0.0, 0.5])), "bin_s": float(rng.choice([0.0, 0.7])), "isolation": isolation}
    run = flow_model.FlowModel(link_set(case.capacity, case.delay), ListedPaths(case.paths), split, **options)
    run.send(flow_model.replace(flows, cap_bps=cap_bps, weight=rng.choice([1.0, 2.0], len(case.start))))
    told = [run.advance(3.0).tolist(), run.rates_bps().tolist()]
    at = rng.permutation(links)[: int(rng.integers(1, links + 1))]
    told += [run.change_capacity(at, rng.integers(1, 9, len(at)).astype(float), 4.0).tolist(), run.advance(np.inf).tolist()]
    run.link_table(), run.completions()
    return run._state, told


@pytest.mark.parametrize("isolation", [1.0, 0.4])
@pytest.mark.parametrize("split", ["pooled", "fixed"])
def test_a_fluid_leaves_the_same_arrays(written, split, isolation):
    for seed in range(25):
        with written():
            one, told = run_fluid(seed, split, isolation)
        other, also_told = run_fluid(seed, split, isolation)
        assert told == also_told, seed
        for name, array in one._asdict().items():
            assert array.tobytes() == getattr(other, name).tobytes(), (seed, name)


@pytest.mark.parametrize("split", ["pooled", "fixed"])
def test_groups_arrive_at_the_same_times(written, split):
    """With so many of them that what has ended is dropped."""
    posts = Posts(2, 130)
    with written():
        run = network("roft-256", split)
        one = drive(run, posts)
    other = network("roft-256", split)
    assert drive(other, posts) == one
    assert run._state.pools.tobytes() == other._state.pools.tobytes()


@pytest.mark.parametrize(("name", "policy"), [("roft-256", "ecmp"), ("zcube-n16", "shortest-path"), ("dragonfly-1056", None)])
@pytest.mark.parametrize("pooled", [True, False])
def test_paths_and_times_alone_are_the_same(written, name, policy, pooled):
    fabric, rng = load_fabric(name), stream(1, name)
    source, target = rng.integers(0, fabric.gpus, (2, 150))
    source, target = source[source != target], target[source != target]
    bits, cap_bps = rng.integers(1, 10**9, len(source)).astype(float), rng.choice([1e10, np.inf], len(source))

    def found():
        routes = routing_for(fabric, *([] if policy is None else [policy]), seed=7).routes(source, target)
        taken_s = alone.alone_s(routes, fabric.link_capacity_bps, bits, cap_bps, pooled)
        return routes.link.tobytes(), taken_s.tobytes(), alone.alone_bps(routes, fabric.link_capacity_bps, pooled).tobytes()

    with written():
        one = found()
    assert found() == one


def test_a_kernel_that_was_compiled_stays_so_and_one_that_was_not_is_compiled_afterwards():
    @kernel
    def double(numbers):
        for at in range(len(numbers)):
            numbers[at] *= 2

    numbers = np.arange(3)
    with kernels_as_written():
        assert runs_as_written(double)
        double(numbers)
        assert not double.signatures
    double(numbers)
    assert numbers.tolist() == [0, 4, 8] and len(double.signatures) == 1
    with kernels_as_written():
        assert not runs_as_written(double)


def test_what_a_kernel_has_written_before_an_error_stays(written):
    row = np.zeros(2, [("count", "i8"), ("rate", "f8")])

    @compiled()
    def fail(rows, limits):
        for at in range(len(rows)):
            rows[at].count += 7
            rows[at].rate = 1 / limits[at]

    with kernels_as_written(), pytest.raises(ZeroDivisionError):
        fail(row, np.array([4, 0]))
    assert row["count"].tolist() == [7, 7] and row["rate"].tolist() == [0.25, 0]


def test_numbers_without_sign_wrap_round_and_those_that_do_not_fit_are_refused():
    row = np.zeros(1, [("hash", "u8"), ("narrow", "i4")])
    row["hash"] = 2**64 - 1

    @compiled()
    def add(rows, number):
        rows[0].hash += np.uint64(3)
        rows[0].narrow = number

    with kernels_as_written():
        add(row, 5)
        assert row[0].tolist() == (2, 5)
        with pytest.raises(struct.error):
            add(row, 2**40)
