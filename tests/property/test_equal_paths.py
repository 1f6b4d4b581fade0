"""Routing ``equal-paths``: every shortest path once, against a search in plain Python; a bound lists some, evenly."""

from __future__ import annotations

import numpy as np
import pytest

from zcube.errors import InputError
from zcube.fabric.catalog import load_fabric
from zcube.routing.catalog import routing_for

FABRICS = ("roft-32", "roft-256", "roft3-1024", "zcube-n16", "zcube-pods-4096", "hpn-1024", "slim-fly-1024", "dragonfly-1056")


def rows_of(routes, flow):
    subflows = range(routes.first_subflow[flow], routes.first_subflow[flow + 1])
    return [tuple(routes.link[routes.first_hop[at] : routes.first_hop[at + 1]].tolist()) for at in subflows]


def shortest(fabric, source, target):
    """Return all shortest paths between two GPUs over switches, as rows of links."""
    leaving = {}
    for link, node in enumerate(fabric.link_source.tolist()):
        if fabric.cable_up[link // 2] and not (fabric.link_target[link] < fabric.gpus and fabric.link_target[link] != target):
            leaving.setdefault(node, []).append((link, int(fabric.link_target[link])))
    reached, found = [(source, ())], []
    seen = {source}
    while reached and not found:
        further = [(node, (*row, link)) for here, row in reached for link, node in leaving.get(here, ()) if node not in seen]
        seen |= {node for node, _ in further}
        found = [row for node, row in further if node == target]
        reached = further
    return sorted(found)


@pytest.mark.parametrize("name", FABRICS)
def test_all_shortest_paths_are_listed_once(name):
    fabric, draw = load_fabric(name), np.random.default_rng(5)
    source = draw.integers(0, fabric.gpus, 6)
    target = (source + draw.integers(fabric.gpus_per_server, fabric.gpus - fabric.gpus_per_server, 6)) % fabric.gpus
    routes = routing_for(fabric, "equal-paths", most_paths=4096).routes(source, target)
    for flow in range(6):
        rows = rows_of(routes, flow)
        assert rows == sorted(set(rows), key=rows.index)
        assert sorted(rows) == shortest(fabric, int(source[flow]), int(target[flow]))


@pytest.mark.parametrize("most", [1, 3, 7, 64])
def test_a_bound_lists_some_of_them_evenly(most):
    fabric = load_fabric("roft3-1024")
    source, target = np.arange(64), np.arange(64) + 512
    every = routing_for(fabric, "equal-paths", most_paths=4096).routes(source, target)
    some = routing_for(fabric, "equal-paths", most_paths=most, seed=3).routes(source, target)
    assert some.paths_per_flow.tolist() == np.minimum(every.paths_per_flow, most).tolist()
    for flow in range(64):
        rows, whole = rows_of(some, flow), rows_of(every, flow)
        assert len(set(rows)) == len(rows) and set(rows) <= set(whole)
        place_of = {row: place for place, row in enumerate(sorted(whole))}
        places = sorted(place_of[row] for row in rows)
        gaps = np.diff(np.append(places, places[0] + len(whole)))
        assert gaps.max() - gaps.min() <= 1
    firsts = np.array([rows_of(some, flow)[0][1] for flow in range(64)])
    assert len(np.unique(firsts)) > 8


def test_paths_that_follow_each_other_part_at_the_first_switch():
    fabric = load_fabric("roft-256")
    source = np.arange(0, 64, 8)
    routes = routing_for(fabric, "equal-paths").routes(source, source + 100)
    firsts = []
    for flow in range(len(source)):
        uplinks = [row[1] for row in rows_of(routes, flow)]
        ways = len(set(uplinks))
        assert all(len(set(uplinks[at : at + 4])) == 4 for at in range(0, len(uplinks) - 4))
        # Of as many in a row as there are ways up, none takes more than twice its share.
        assert np.unique(uplinks[:ways], return_counts=True)[1].max() <= 2
        firsts.append(uplinks[0])
    assert len(set(firsts)) > 4


def test_gpus_of_a_server_use_nvlink_and_rails_relay():
    fabric = load_fabric("rail-only-1024")
    routes = routing_for(fabric, "equal-paths").routes(np.array([0, 0, 0]), np.array([1, 8 * 40, 8 * 40 + 3]))
    ends = [(row[0], row[-1]) for flow in range(3) for row in rows_of(routes, flow)]
    assert np.all(routes.routed) and set(fabric.link_source[[row[0] for row in ends]]) == {0}
    assert all(fabric.link_target[row[-1]] in (1, 320, 323) for row in ends)
    # To another rail, the first hops are those of NVLink.
    assert all(row[0] == 2 * fabric.nvlink_cable[0] for row in rows_of(routes, 2))


def test_failures_leave_what_is_up():
    fabric = load_fabric("roft-1024@switch:spine3")
    routes = routing_for(fabric, "equal-paths").routes(np.array([0]), np.array([1000]))
    # Four links lead to each of the 16 spines.
    assert routes.subflows == 60 and fabric.cable_up[routes.link // 2].all()


def test_no_path_at_all_is_refused():
    with pytest.raises(InputError, match="most_paths"):
        routing_for(load_fabric("roft-32"), "equal-paths", most_paths=0)
