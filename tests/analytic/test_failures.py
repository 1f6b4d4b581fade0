"""What failures take, and what ZCube's routing falls back to."""

from __future__ import annotations

import numpy as np
import pytest

from zcube.errors import InputError
from zcube.fabric.catalog import load_fabric
from zcube.fabric.failures import with_failures
from zcube.routing.catalog import routing_for


def paths(fabric, source, target, name="default"):
    """Return each path of one pair as the names of its nodes."""
    routes = routing_for(fabric, name).routes(np.array([source]), np.array([target]))
    found = []
    for begin, end in zip(routes.first_hop[:-1], routes.first_hop[1:], strict=True):
        links = routes.link[begin:end]
        found.append(
            [fabric.node_name(fabric.link_source[links[0]]), *(fabric.node_name(fabric.link_target[link]) for link in links)]
        )
    return found


def gpu(a, b, n=16):
    return a * n + b


@pytest.fixture(scope="module")
def n16():
    return load_fabric("zcube-n16")


def test_both_paths_while_nothing_has_failed(n16):
    p1, p2 = paths(n16, gpu(1, 2), gpu(5, 9))
    assert p1[1:3] == ["A1", "B9"]
    assert p2[1:3] == ["B2", "A5"]


def test_a_segment_that_lost_its_switch_keeps_port_1(n16):
    fabric = with_failures(n16, ["switch:A1"])
    assert [path[1:-1] for path in paths(fabric, gpu(1, 2), gpu(5, 9))] == [["B2", "A5"]]
    assert [path[1:-1] for path in paths(fabric, gpu(5, 9), gpu(1, 2))] == [["A5", "B2"]]
    ((_, first, over, last, _),) = paths(fabric, gpu(1, 2), gpu(1, 12))
    assert (first, last) == ("B2", "B12") and over.startswith("A") and over != "A1"


def test_a_lost_link_costs_one_path_of_the_pairs_that_used_it(n16):
    fabric = with_failures(n16, ["link:A1-B9"])
    assert [path[1:-1] for path in paths(fabric, gpu(1, 2), gpu(5, 9))] == [["B2", "A5"]]
    assert len(paths(fabric, gpu(2, 2), gpu(5, 9))) == 2
    source, target = (axis.ravel() for axis in np.indices((256, 256)))
    apart = fabric.server_of(source) != fabric.server_of(target)
    routes = routing_for(fabric).routes(source[apart], target[apart])
    # P1 of segment 1 to rail 9 and P2 of rail 9 to segment 1: n x n pairs each, less the pairs inside a server.
    same_server = 2 * 8
    assert (np.diff(routes.first_subflow) == 1).sum() == 2 * (16 * 16 - same_server / 2)


def test_a_lost_parallel_link_is_replaced_by_its_neighbour():
    fabric = load_fabric("zcube-1024", ["link:A0-B1#0"])
    source, target = (axis.ravel() for axis in np.indices((64, 1024)))
    apart = source != target
    routes = routing_for(fabric).routes(source[apart], target[apart])
    assert fabric.cable_up[routes.link // 2].all()
    assert set(np.diff(routes.first_subflow)[fabric.server_of(source[apart]) != fabric.server_of(target[apart])]) == {2}


@pytest.mark.parametrize(
    "failures", [["random-links:0.1"], ["random-switches:0.15/4"], ["switch:A0", "switch:B0", "link:A1-B1", "nic:s3g1/0"]]
)
@pytest.mark.parametrize("name", ["zcube-n16", "zcube-256", "roft-256"])
def test_only_pairs_that_no_path_joins_are_unreachable(name, failures):
    if name == "roft-256":
        failures = [f.replace("A0", "leaf0").replace("B0", "spine0").replace("A1-B1", "leaf1-spine1") for f in failures]
    fabric = load_fabric(name, failures)
    source, target = (axis.ravel() for axis in np.indices((256, 256)))
    apart = source != target
    source, target = source[apart], target[apart]
    routes = routing_for(fabric).routes(source, target)
    assert fabric.cable_up[routes.link // 2].all()
    walked = routing_for(fabric, "shortest-path").routes(source, target)
    assert set(routes.unreachable) == set(walked.unreachable)


def test_a_gpu_without_nic_is_reported(n16):
    fabric = with_failures(n16, ["nic:s3g5"])
    routes = routing_for(fabric).routes(np.array([29, 0, 0]), np.array([200, 29, 200]))
    assert list(routes.unreachable) == [0, 1]


def test_shares_of_random_failures(n16):
    wired = 2 * 256 + 256
    assert (~with_failures(n16, ["random-links:0.25"]).cable_up).sum() == round(0.25 * wired)
    assert not np.array_equal(
        with_failures(n16, ["random-links:0.25/1"]).cable_up, with_failures(n16, ["random-links:0.25/2"]).cable_up
    )
    assert with_failures(n16, ["random-links:0"]).cable_up.all()
    assert with_failures(n16, ["port:A0/0"]).cable_up.sum() == n16.cable_up.sum() - 1


def test_every_wrong_failure_is_named(n16):
    wrong = [
        "switch:A99",
        "link:A0-A1",
        "link:A0",
        "link:A0-B0#1",
        "port:A0/99",
        "nic:A0",
        "nic:s0g0/2",
        "random-links:2",
        "switch:s0g0",
        "fire",
    ]
    with pytest.raises(InputError) as raised:
        with_failures(n16, wrong)
    assert [fault.found for fault in raised.value.faults] == [repr(text) for text in wrong]


def test_failures_stand_in_a_reference():
    fabric = load_fabric("zcube-n16@switch:A3,link:A0-B5")
    assert fabric.name == "zcube-n16@switch:A3,link:A0-B5"
    assert (~fabric.cable_up).sum() == 32 + 1
