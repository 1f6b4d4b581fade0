"""What routes say of their own rows is what walking through them one by one says."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from zcube.routing.routes import Routes, assemble, join

#: Links of each path of each flow; a flow may have no path.
FLOWS = st.lists(st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=5), max_size=3), max_size=6)


def routes_of(flows: list[list[list[int]]]) -> Routes:
    paths = [path for flow in flows for path in flow]
    rows = np.array([path + [-1] * (5 - len(path)) for path in paths], dtype=np.int64).reshape(-1, 5)
    return assemble(np.array([len(flow) for flow in flows], dtype=np.int64), rows)


@given(FLOWS)
def test_every_row_belongs_where_it_stands(flows: list[list[list[int]]]) -> None:
    routes = routes_of(flows)
    paths = [(number, place, path) for number, flow in enumerate(flows) for place, path in enumerate(flow)]
    hops = [(row, place, link) for row, (_, _, path) in enumerate(paths) for place, link in enumerate(path)]
    assert (routes.flows, routes.subflows, len(routes.link)) == (len(flows), len(paths), len(hops))
    assert routes.paths_per_flow.tolist() == [len(flow) for flow in flows]
    assert routes.hops_per_path.tolist() == [len(path) for _, _, path in paths]
    assert routes.flow_of_path.tolist() == [flow for flow, _, _ in paths]
    assert routes.place_of_path.tolist() == [place for _, place, _ in paths]
    assert routes.path_of_hop.tolist() == [row for row, _, _ in hops]
    assert routes.flow_of_hop.tolist() == [paths[row][0] for row, _, _ in hops]
    assert routes.place_of_hop.tolist() == [place for _, place, _ in hops]
    assert routes.first_link.tolist() == [path[0] for _, _, path in paths]
    assert routes.last_link.tolist() == [path[-1] for _, _, path in paths]
    turns = [(path[place], path[place + 1]) for _, _, path in paths for place in range(len(path) - 1)]
    at = routes.followed
    assert list(zip(routes.link[at].tolist(), routes.link[at + 1].tolist(), strict=True)) == turns
    assert routes.routed.tolist() == [bool(flow) for flow in flows]
    assert routes.unreachable.tolist() == [number for number, flow in enumerate(flows) if not flow]


@given(FLOWS)
def test_values_of_paths_are_put_together_by_flow(flows: list[list[list[int]]]) -> None:
    routes = routes_of(flows)
    value = np.array([float(sum(path)) for flow in flows for path in flow])
    for ufunc, plain in ((np.add, sum), (np.maximum, max), (np.minimum, min)):
        expected = [plain(float(sum(path)) for path in flow) if flow else 0.0 for flow in flows]
        assert routes.per_flow(value, ufunc).tolist() == expected
    delay = np.arange(31.0)
    assert routes.latency_s(delay).tolist() == [max((float(sum(path)) for path in flow), default=0.0) for flow in flows]


@given(FLOWS, FLOWS)
def test_rows_joined_and_taken_are_those_put_in(first: list[list[list[int]]], second: list[list[list[int]]]) -> None:
    whole = join([routes_of(first), routes_of(second)])
    expected = [path + [-1] * (6 - len(path)) for flow in first + second for path in flow]
    assert whole.rows(6).tolist() == expected
    back = whole.take(np.arange(whole.flows)[::-1])
    assert back.rows(6).tolist() == [path + [-1] * (6 - len(path)) for flow in (first + second)[::-1] for path in flow]
