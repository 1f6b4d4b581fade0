"""Walks that share what leads to their goal against walks that look it up at every switch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zcube.fabric.catalog import load_fabric
from zcube.fabric.failures import with_failures
from zcube.routing.hashing import choose
from zcube.routing.shortest import hashed_walks
from zcube.routing.switch_graph import UNREACHABLE, SwitchGraph


def walked(graph, here, goal, key):
    links = []
    while here != goal:
        edges = range(graph.first[here], graph.first[here + 1])
        nearer = [edge for edge in edges if graph.distance[graph.neighbour[edge], goal] == graph.distance[here, goal] - 1]
        edge = nearer[choose.py_func(key, here, len(nearer))]
        links.append(int(graph.link[edge]))
        here = int(graph.neighbour[edge])
    return links


@pytest.mark.parametrize("name", ["roft-256", "zcube-n16", "dragonfly-1056"])
@settings(max_examples=15)
@given(st.integers(0, 2**32), st.booleans())
def test_walks_are_those_of_one_at_a_time(name, seed, broken):
    fabric = load_fabric(name)
    if broken:
        fabric = with_failures(fabric, [f"switch:{fabric.node_name(fabric.gpus + fabric.switches - 1)}"], name)
    graph, draw = SwitchGraph.of(fabric), np.random.default_rng(seed)
    start, goal = draw.integers(0, fabric.switches, (2, 60))
    joined = graph.distance[start, goal] < UNREACHABLE
    start, goal = start[joined], goal[joined]
    key = draw.integers(0, 2**64, len(start), dtype=np.uint64)
    with np.errstate(over="ignore"):
        for row, *walk in zip(hashed_walks(graph, start, goal, key), start.tolist(), goal.tolist(), key, strict=True):
            assert row[row >= 0].tolist() == walked(graph, *walk)
