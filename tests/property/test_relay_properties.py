"""Relays over NVLink after failures: paths that hold, wherever the graph has one, and bytes that arrive."""

from __future__ import annotations

from functools import cache

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zcube.fabric.catalog import load_fabric
from zcube.fabric.failures import with_failures
from zcube.fabric.families import families
from zcube.fabric.model import CableKind, Fabric
from zcube.network.flow_model import flow_model, run_flows
from zcube.network.protocol import FlowTable
from zcube.routing.catalog import routing_for

SMALL = {
    "roft": ("spine-leaf", {"gpus": 48, "gpus_per_server": 4, "nic_gbps": 400}, 12, 400.0),
    "rail-only": ("rail-only", {"gpus": 48, "gpus_per_server": 4, "nic_gbps": 400}, 8, 400.0),
    "hpn": ("hpn", {"gpus": 48, "gpus_per_server": 4, "nic_gbps": 400}, 8, 400.0),
    "zcube": ("zcube", {"gpus": 64, "gpus_per_server": 4, "nic_gbps": 400}, 16, 200.0),
    "dragonfly": ("dragonfly", {"gpus": 72, "gpus_per_server": 4, "gpus_per_switch": 2}, 7, 400.0),
    "multi-plane": ("multi-plane", {"gpus": 48, "gpus_per_server": 4, "planes": 2}, 16, 400.0),
}


@cache
def healthy(name: str) -> Fabric:
    family, keys, ports, gbps = SMALL[name]
    return families()[family](**keys, switch={"model": "test", "ports": ports, "port_gbps": gbps}).build(name)


def all_pairs(fabric: Fabric) -> tuple[np.ndarray, np.ndarray]:
    source, target = (axis.ravel() for axis in np.indices((fabric.gpus, fabric.gpus)))
    return source[source != target], target[source != target]


def joined(fabric: Fabric) -> nx.Graph:
    """Switches and NIC ports that are up; GPUs are merged with their server, since NVLink does not fail."""
    graph = nx.Graph()
    cables = fabric.cables
    for cable in np.flatnonzero(fabric.cable_up & (cables.kind == CableKind.SWITCH)).tolist():
        graph.add_edge(int(cables.a[cable]), int(cables.b[cable]))
    return graph


def ports_of(fabric: Fabric, server: int) -> set[int]:
    """Switches that a NIC port of the server is up to."""
    gpus = np.arange(fabric.gpus_per_server) + server * fabric.gpus_per_server
    cables = fabric.nic_cable[gpus].ravel()
    return set(fabric.cables.b[cables[fabric.cable_up[cables]]].tolist())


FAILURES = st.lists(
    st.one_of(
        st.builds("random-links:{}/{}".format, st.sampled_from([0.05, 0.2, 0.5, 0.8]), st.integers(0, 99)),
        st.builds("random-switches:{}/{}".format, st.sampled_from([0.1, 0.3, 0.6]), st.integers(0, 99)),
        st.builds("nic:s{}g{}".format, st.integers(0, 11), st.integers(0, 3)),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=40)
@given(st.sampled_from(sorted(SMALL)), FAILURES, st.sampled_from(["nvlink-relay", "second-port"]))
def test_every_pair_that_two_servers_join_has_a_path_over_links_that_are_up(name: str, failures: list[str], rule: str) -> None:
    """By search in networkx: some NIC of one server reaches some NIC of the other over switches, other servers left out."""
    fabric = with_failures(healthy(name), failures)
    routing = routing_for(fabric, fall_back=rule)
    source, target = all_pairs(fabric)
    routes = routing.routes(source, target)
    assert fabric.cable_up[routes.link // 2].all()
    check_joined_up(fabric, routes, source, target)

    graph = joined(fabric)
    component = {node: number for number, part in enumerate(nx.connected_components(graph)) for node in part}
    seen = [{component.get(switch, -1 - switch) for switch in ports_of(fabric, server)} for server in range(fabric.servers)]
    here, there = fabric.server_of(source), fabric.server_of(target)
    expected = [a != b and not (seen[a] & seen[b]) for a, b in zip(here.tolist(), there.tolist(), strict=True)]
    np.testing.assert_array_equal(np.diff(routes.first_subflow) == 0, expected)

    # Deterministic, and pair by pair what all pairs together take.
    again = routing_for(fabric, fall_back=rule).routes(source[::37], target[::37])
    np.testing.assert_array_equal(again.link, routes.take(np.arange(len(source))[::37]).link)


def check_joined_up(fabric: Fabric, routes, source: np.ndarray, target: np.ndarray) -> None:
    flow = np.repeat(np.arange(routes.flows), np.diff(routes.first_subflow))
    first, last = routes.first_hop[:-1], routes.first_hop[1:] - 1
    np.testing.assert_array_equal(fabric.link_source[routes.link[first]], source[flow])
    np.testing.assert_array_equal(fabric.link_target[routes.link[last]], target[flow])
    inner = np.setdiff1d(np.arange(len(routes.link)), last)
    np.testing.assert_array_equal(fabric.link_target[routes.link[inner]], fabric.link_source[routes.link[inner + 1]])
    # A GPU on the way belongs to one of the two servers.
    node = fabric.link_target[routes.link[inner]]
    owner = np.repeat(flow, np.diff(routes.first_hop))[inner]
    at = node < fabric.gpus
    ends = np.stack([fabric.server_of(source), fabric.server_of(target)], axis=1)[owner[at]]
    assert (fabric.server_of(node[at])[:, None] == ends).any(axis=1).all()


@settings(max_examples=15)
@given(st.sampled_from(["roft", "rail-only", "hpn", "zcube"]), FAILURES, st.integers(0, 99))
def test_bytes_are_conserved(name: str, failures: list[str], seed: int) -> None:
    """What transfers were given left their GPUs and entered the others', once for each NIC or NVLink on the way."""
    fabric = with_failures(healthy(name), failures)
    routing = routing_for(fabric, fall_back="nvlink-relay")
    draw = np.random.default_rng(seed)
    source, target = draw.integers(0, fabric.gpus, 60), draw.integers(0, fabric.gpus, 60)
    keep = source != target
    routes = routing.routes(source[keep], target[keep])
    routed = np.diff(routes.first_subflow) > 0
    source, target = source[keep][routed], target[keep][routed]
    if not len(source):
        return
    size = draw.integers(1, 1000, len(source)) * 1e6
    model = flow_model(fabric, routing)
    done = run_flows(model, FlowTable(source, target, size, np.zeros(len(source))))
    assert np.isfinite(done.finish_s).all()
    table = model.link_table()
    assert (table.size_bytes[np.repeat(~fabric.cable_up, 2)] == 0).all()
    crossings = np.bincount(
        np.repeat(np.arange(len(source)), np.diff(routes.take(np.flatnonzero(routed)).first_subflow)), minlength=len(source)
    )
    assert (crossings > 0).all()
    sent = np.bincount(fabric.link_source, weights=table.size_bytes, minlength=fabric.nodes)
    received = np.bincount(fabric.link_target, weights=table.size_bytes, minlength=fabric.nodes)
    net = np.bincount(source, weights=size, minlength=fabric.gpus) - np.bincount(target, weights=size, minlength=fabric.gpus)
    np.testing.assert_allclose((sent - received)[: fabric.gpus], net, atol=1.0)
    np.testing.assert_allclose((sent - received)[fabric.gpus :], 0.0, atol=1.0)


@pytest.mark.parametrize("name", ["roft-256", "rail-only-1024", "zcube-n16", "hpn-1024"])
def test_without_failures_the_fall_back_changes_nothing(name: str) -> None:
    fabric = load_fabric(name)
    draw = np.random.default_rng(1)
    source, target = draw.integers(0, 256, 500), draw.integers(0, 256, 500)
    keep = source != target
    plain, relayed = (
        routing_for(fabric, fall_back=rule).routes(source[keep], target[keep]) for rule in ("none", "nvlink-relay")
    )
    np.testing.assert_array_equal(plain.link, relayed.link)
    np.testing.assert_array_equal(plain.first_subflow, relayed.first_subflow)
