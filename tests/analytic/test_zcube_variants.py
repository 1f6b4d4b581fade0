"""Skewed rails, partial fill and the general two-port form: the same graph, the same counts, other wiring."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from zcube.errors import InputError
from zcube.fabric.catalog import load_fabric
from zcube.fabric.families import families
from zcube.fabric.model import CableKind
from zcube.fabric.ports import native_ports_used
from zcube.inputs import validate
from zcube.routing.bisection import halving_bisection
from zcube.routing.catalog import routing_for
from zcube.routing.path_lengths import path_lengths


def zcube(n_gpus, **keys):
    declared = {"family": "zcube", "gpus": n_gpus, "switch": {"model": "x", "ports": 256, "port_gbps": 200}, **keys}
    return validate(families()["zcube"], declared, "test").build("zcube")


def attachment(fabric):
    """Return (A switch, B switch) of each GPU, as node numbers relative to the first switch."""
    return (fabric.cables.b[fabric.nic_cable] - fabric.gpus).astype(int)


@pytest.mark.parametrize("n", [4, 6, 8, 16])
def test_skewed_is_plain_with_gpus_renamed_inside_segments(n):
    plain, skewed = zcube(n * n, gpus_per_server=2), zcube(n * n, gpus_per_server=2, rails="skewed")
    # GPU (a, b) of the skewed fabric sits where (a, (b + a) mod n) sits in the plain one.
    a, b = np.divmod(np.arange(n * n), n)
    renamed = a * n + (b + a) % n
    assert sorted(renamed) == list(range(n * n))
    assert np.array_equal(attachment(skewed), attachment(plain)[renamed])
    trunk = plain.cables.kind == CableKind.SWITCH
    assert np.array_equal(plain.cables.a[trunk], skewed.cables.a[trunk]) and np.array_equal(
        plain.cables.b[trunk], skewed.cables.b[trunk]
    )


def test_skewed_is_isomorphic_by_search():
    def graph(fabric):
        wired = fabric.cables.kind != CableKind.NVLINK
        return nx.Graph(zip(fabric.cables.a[wired].tolist(), fabric.cables.b[wired].tolist(), strict=True))

    assert nx.is_isomorphic(graph(zcube(16, gpus_per_server=2)), graph(zcube(16, gpus_per_server=2, rails="skewed")))


@pytest.mark.parametrize("name", ["zcube-1024", "zcube-n32"])
def test_skewed_keeps_counts_and_path_lengths(name):
    plain, skewed = load_fabric(name), load_fabric(f"{name}-skewed")
    assert plain.switches == skewed.switches
    assert np.array_equal(native_ports_used(plain), native_ports_used(skewed))
    assert path_lengths(plain).pairs_by_links == path_lengths(skewed).pairs_by_links
    assert halving_bisection(skewed) == 1.0


@pytest.mark.parametrize("name", ["zcube-n16", "zcube-256", "zcube-1024-skewed", "zcube-n32-skewed"])
def test_p1_and_p2_are_link_disjoint_for_every_pair(name):
    fabric = load_fabric(name)
    source, target = (axis.ravel() for axis in np.indices((fabric.gpus, fabric.gpus)))
    apart = fabric.server_of(source) != fabric.server_of(target)
    routes = routing_for(fabric).routes(source[apart], target[apart])
    rows = routes.link.reshape(-1, 2, 3)
    assert (rows[:, 0, :, None] != rows[:, 1, None, :]).all()
    assert (fabric.link_target[rows[:, :, :-1]] == fabric.link_source[rows[:, :, 1:]]).all()


@pytest.mark.parametrize(("capacity", "k", "server"), [(64, 8, 4), (256, 16, 8), (1024, 64, 8), (256, 64, 8)])
@pytest.mark.parametrize("rails", ["plain", "skewed"])
def test_partly_filled_in_any_number_of_whole_servers(capacity, k, server, rails):
    full = zcube(capacity, gpus_per_switch=k, gpus_per_server=server, rails=rails)
    for gpus in range(server, capacity + 1, server * max(1, capacity // server // 13)):
        part = zcube(gpus, capacity_gpus=capacity, gpus_per_switch=k, gpus_per_server=server, rails=rails)
        assert part.gpus == gpus
        # What is there is wired as in the full fabric, so growth moves no cable.
        segments = -(-gpus // k)
        a, b = attachment(part)[:, 0], attachment(part)[:, 1] - segments
        assert np.array_equal(a, attachment(full)[:gpus, 0])
        assert np.array_equal(b, attachment(full)[:gpus, 1] - capacity // k)
        ports = part.cables.b_port[part.nic_cable]
        assert np.array_equal(ports, full.cables.b_port[full.nic_cable[:gpus]])
        assert path_lengths(part).unreachable_pairs == 0
        source, target = (axis.ravel() for axis in np.indices((min(gpus, 64), gpus)))
        apart = part.server_of(source) != part.server_of(target)
        if apart.any():
            routes = routing_for(part).routes(source[apart], target[apart])
            assert set(np.diff(routes.first_subflow)) == {2}


def test_partly_filled_capacity_below_gpus_is_refused():
    with pytest.raises(InputError, match="capacity_gpus"):
        zcube(64, capacity_gpus=16)
    with pytest.raises(InputError, match="square"):
        zcube(56)
