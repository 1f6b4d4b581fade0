"""Slim Fly: the graphs of McKay, Miller and Siran, checked by graph search, and minimal and Valiant paths over them.

Sources: McKay, Miller and Siran (1998) and Hafner (2004) for the graphs, Besta and Hoefler (SC 2014) for the network,
DeepSeek-V3 (ISCA 2025, Table 3) for the counts at q = 28.
"""

from __future__ import annotations

from functools import cache
from itertools import combinations

import networkx as nx
import numpy as np
import pytest
from pydantic import ValidationError

from zcube.errors import InputError
from zcube.fabric.catalog import load_fabric
from zcube.fabric.failures import with_failures
from zcube.fabric.families.galois import GaloisField, prime_power
from zcube.fabric.families.slim_fly import SlimFlySpec, generator_sets, slim_fly_counts
from zcube.fabric.model import CableKind, CableMedium, Fabric
from zcube.fabric.ports import check_port_budget, native_ports_used
from zcube.routing.catalog import routing_for
from zcube.routing.claims import check_fabric
from zcube.routing.routes import Routes

SWITCH = {"model": "test", "ports": 128, "port_gbps": 400}
ONE_MOD_4, THREE_MOD_4, POWERS_OF_TWO = (5, 9, 13, 17, 25), (3, 7, 11, 19, 27), (4, 8, 16, 32)
ORDERS = (*ONE_MOD_4, *THREE_MOD_4, *POWERS_OF_TWO)


@cache
def slim_fly(q: int, gpus: int | None = None, gpus_per_server: int = 1, **keys: object) -> Fabric:
    spec = SlimFlySpec(gpus=gpus or slim_fly_counts(q).gpus, gpus_per_server=gpus_per_server, q=q, switch=SWITCH, **keys)
    fabric = spec.build(f"slim-fly-{q}")
    check_port_budget(fabric, "test")
    return fabric


def switch_graph(fabric: Fabric) -> nx.MultiGraph:
    trunk = fabric.cables.kind == CableKind.SWITCH
    graph = nx.MultiGraph()
    graph.add_nodes_from(range(fabric.switches))
    graph.add_edges_from(zip(fabric.cables.a[trunk] - fabric.gpus, fabric.cables.b[trunk] - fabric.gpus, strict=True))
    return graph


@pytest.mark.parametrize("q", ORDERS)
def test_graph_is_regular_and_has_diameter_two(q: int) -> None:
    """2 q^2 switches of degree (3 q - delta) / 2, no two cables between the same two, none more than two links apart."""
    delta = {0: 0, 1: 1, 3: -1}[q % 4]
    graph = switch_graph(slim_fly(q))
    assert graph.number_of_nodes() == 2 * q * q
    assert {degree for _, degree in graph.degree()} == {(3 * q - delta) // 2}
    simple = nx.Graph(graph)
    assert simple.number_of_edges() == graph.number_of_edges() and not list(nx.selfloop_edges(simple))
    # The graph looks the same from every switch of a row of equal x or m, so one of each row stands for all.
    roots = range(2 * q * q) if q < 17 else range(0, 2 * q * q, q)
    assert max(max(nx.single_source_shortest_path_length(simple, root).values()) for root in roots) == 2


def test_order_5_is_the_hoffman_singleton_graph() -> None:
    """Degree 7 and diameter 2 on 50 switches meets the Moore bound, and one graph alone does; its girth is 5."""
    graph = nx.Graph(switch_graph(slim_fly(5)))
    assert nx.girth(graph) == 5
    assert nx.is_isomorphic(graph, nx.hoffman_singleton_graph())


@pytest.mark.parametrize("q", ORDERS)
def test_generator_sets_are_symmetric_and_cover_the_field(q: int) -> None:
    """-X = X, every element but 0 is in X or the sum of two of X, and likewise X'; together they hold every element but 0."""
    field = GaloisField.of(q)
    zero = np.zeros(1, dtype=np.int64)
    sets = generator_sets(field)
    for generators in sets:
        assert 0 not in generators and len(set(generators.tolist())) == slim_fly_counts(q).links_per_switch - q
        assert set(field.subtract(zero, generators).tolist()) == set(generators.tolist())
        sums = field.add(generators[:, None], generators[None, :])
        assert set(sums.ravel().tolist()) | set(generators.tolist()) == set(range(q))
    assert set(sets[0].tolist()) | set(sets[1].tolist()) == set(range(1, q))


@pytest.mark.parametrize("q", [3, 4, 8, 9, 13, 25, 27])
def test_field_has_the_axioms_of_one(q: int) -> None:
    field = GaloisField.of(q)
    a, b, c = (axis.ravel() for axis in np.indices((q, q, q)))
    np.testing.assert_array_equal(field.add(a, b), field.add(b, a))
    np.testing.assert_array_equal(field.multiply(a, b), field.multiply(b, a))
    np.testing.assert_array_equal(field.multiply(field.multiply(a, b), c), field.multiply(a, field.multiply(b, c)))
    np.testing.assert_array_equal(field.multiply(a, field.add(b, c)), field.add(field.multiply(a, b), field.multiply(a, c)))
    np.testing.assert_array_equal(field.subtract(field.add(a, b), b), a)
    table = field.multiply(*(axis.ravel() for axis in np.indices((q, q)))).reshape(q, q)
    assert all(sorted(row) == list(range(q)) for row in table[1:].tolist())
    np.testing.assert_array_equal(table[1], np.arange(q))


def test_prime_powers() -> None:
    powers = {p**k: (p, k) for p in range(2, 200) if all(p % d for d in range(2, p)) for k in range(1, 8) if p**k < 200}
    assert {order: found for order in range(200) if (found := prime_power(order))} == powers


def test_published_counts_at_28_come_out_of_the_formula() -> None:
    """DeepSeek-V3, Table 3: 32,928 endpoints, 1,568 switches, 32,928 links between switches."""
    counts = slim_fly_counts(28)
    assert (counts.gpus, counts.switches, counts.switch_links) == (32_928, 1_568, 32_928)
    assert (counts.links_per_switch, counts.gpus_per_switch) == (42, 21)


@pytest.mark.parametrize("q", ORDERS)
def test_counts_of_the_formula_are_those_built(q: int) -> None:
    counts, fabric = slim_fly_counts(q), slim_fly(q)
    trunk = fabric.cables.kind == CableKind.SWITCH
    assert (fabric.gpus, fabric.switches, int(trunk.sum())) == (counts.gpus, counts.switches, counts.switch_links)
    assert counts.gpus_per_switch == -(-counts.links_per_switch // 2)
    np.testing.assert_allclose(native_ports_used(fabric), counts.gpus_per_switch + counts.links_per_switch)
    # Two racks are joined by 2 q fibres; all else stands in a rack (Besta and Hoefler's layout).
    fibre = trunk & (fabric.cables.medium == CableMedium.FIBRE)
    assert int(fibre.sum()) == q * (q - 1) // 2 * 2 * q
    rack = [(end[fibre] - fabric.gpus) % (q * q) // q for end in (fabric.cables.a, fabric.cables.b)]
    assert np.all(rack[0] != rack[1])


@pytest.mark.parametrize(("q", "nearest"), [(28, "27 and 29"), (6, "5 and 7"), (15, "13 and 16"), (33, "32 and 37")])
def test_no_graph_of_other_orders_is_built(q: int, nearest: str) -> None:
    with pytest.raises(ValidationError, match=f"prime power.*q = {q} exists.*q = {nearest}"):
        SlimFlySpec(gpus=8, q=q, switch=SWITCH)


def test_topology_file_with_28_is_refused_by_name(tmp_path) -> None:
    path = tmp_path / "deepseek.toml"
    path.write_text('family = "slim-fly"\ngpus = 32928\nq = 28\n[switch]\nmodel = "x"\nports = 64\nport_gbps = 400\n')
    with pytest.raises(InputError, match=r"prime power.*27 and 29") as caught:
        load_fabric(str(path))
    assert [(fault.where, fault.found) for fault in caught.value.faults] == [(f"{path}: q", "28")]


@pytest.mark.parametrize(("keys", "named"), [
    ({"q": 2}, "q"), ({"q": 5, "gpus": 208}, "200"), ({"q": 1021, "gpus": 8}, "cables"), ({"q": 10**9}, "q"),
])  # fmt: skip
def test_refuses_sizes_that_do_not_fit(keys: dict[str, int], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        SlimFlySpec(**{"gpus": 8, "switch": SWITCH, **keys})


def test_takes_the_smallest_that_has_room_and_fills_switches_in_order() -> None:
    fabric = SlimFlySpec(gpus=1024, switch=SWITCH).build("test")
    assert (fabric.structure.q, fabric.structure.gpus_per_switch, fabric.switches) == (9, 7, 162)
    np.testing.assert_array_equal(fabric.cables.b[fabric.nic_cable[:, 0]], 1024 + np.arange(1024) // 7)


def walks(fabric: Fabric, routes: Routes, source: np.ndarray, target: np.ndarray) -> None:
    """Check that every path leads over cables that are up from its source to its target."""
    flow, at = routes.flow_of_path, routes.followed
    np.testing.assert_array_equal(fabric.link_source[routes.first_link], source[flow])
    np.testing.assert_array_equal(fabric.link_target[routes.last_link], target[flow])
    np.testing.assert_array_equal(fabric.link_target[routes.link[at]], fabric.link_source[routes.link[at + 1]])
    assert fabric.cable_up[routes.link // 2].all()


def all_pairs(gpus: int) -> tuple[np.ndarray, np.ndarray]:
    source, target = (axis.ravel() for axis in np.indices((gpus, gpus)))
    return source[source != target], target[source != target]


@pytest.mark.parametrize("q", [4, 5, 7])
def test_minimal_paths_are_shortest_and_one_a_pair(q: int) -> None:
    fabric = slim_fly(q)
    source, target = all_pairs(fabric.gpus)
    routes = routing_for(fabric).routes(source, target)
    assert routing_for(fabric).name == "slimfly-minimal"
    walks(fabric, routes, source, target)
    assert np.all(routes.paths_per_flow == 1)
    lengths = dict(nx.all_pairs_shortest_path_length(nx.Graph(switch_graph(fabric))))
    p = fabric.structure.gpus_per_switch
    expected = [2 + lengths[s // p][t // p] for s, t in zip(source.tolist(), target.tolist(), strict=True)]
    np.testing.assert_array_equal(routes.hops_per_path, expected)


def test_minimal_paths_spread_over_equal_ones() -> None:
    """Where two switches have several common neighbours, seeds take each of them."""
    fabric = slim_fly(7)
    graph, p = nx.Graph(switch_graph(fabric)), fabric.structure.gpus_per_switch
    several = [(a, b) for a, b in combinations(range(fabric.switches), 2)
               if not graph.has_edge(a, b) and len(list(nx.common_neighbors(graph, a, b))) > 1]  # fmt: skip
    for a, b in several[:20]:
        taken = set()
        for seed in range(60):
            routes = routing_for(fabric, seed=seed).routes(np.array([a * p]), np.array([b * p]))
            taken.add(int(fabric.link_target[routes.link[1]]) - fabric.gpus)
        assert taken == set(nx.common_neighbors(graph, a, b))


@pytest.mark.parametrize("name", ["slim-fly", "dragonfly"])
def test_valiant_goes_by_shortest_paths_over_a_third_switch(name: str) -> None:
    fabric = slim_fly(5) if name == "slim-fly" else load_fabric("dragonfly-1056")
    source, target = all_pairs(fabric.gpus)
    keep = np.random.default_rng(0).choice(len(source), 4000, replace=False)
    source, target = source[keep], target[keep]
    routes = routing_for(fabric, "valiant", queue_pairs=2, seed=3).routes(source, target)
    walks(fabric, routes, source, target)
    switch = fabric.cables.b[fabric.nic_cable[:, 0]] - fabric.gpus
    local = fabric.server_of(source) == fabric.server_of(target)
    np.testing.assert_array_equal(routes.paths_per_flow, np.where(local, 1, 2))
    # Twice the diameter: so many virtual channels, one for each link crossed, keep it free of deadlock (4 in SC 2014).
    assert routes.hops_per_path.max() - 2 == 2 * {"slim-fly": 2, "dragonfly": 3}[name]
    lengths = dict(nx.all_pairs_shortest_path_length(nx.Graph(switch_graph(fabric))))
    for path in range(routes.subflows):
        flow = routes.flow_of_path[path]
        here, there = int(switch[source[flow]]), int(switch[target[flow]])
        crossed = routes.link[routes.first_hop[path] + 1 : routes.first_hop[path + 1]]
        if local[flow]:
            continue
        on_the_way = (fabric.link_source[crossed] - fabric.gpus).tolist()
        if here == there:
            assert len(crossed) == 1
            continue
        straight = [place for place, middle in enumerate(on_the_way[1:-1], 1)
                    if middle not in (here, there)
                    and (place, len(crossed) - 1 - place) == (lengths[here][middle], lengths[middle][there])]  # fmt: skip
        assert straight, on_the_way


def test_valiant_draws_every_switch_and_by_the_seed() -> None:
    fabric = slim_fly(5, gpus=200)
    source, target = np.zeros(4, dtype=np.int64), np.arange(4) + 4 * 33
    routes = [routing_for(fabric, "valiant", queue_pairs=200, seed=seed).routes(source, target) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(routes[0].link, routes[1].link)
    assert len(routes[0].link) != len(routes[2].link) or (routes[0].link != routes[2].link).any()
    met = fabric.link_target[routes[0].link[routes[0].followed]] - fabric.gpus
    assert len(set(met.tolist())) == fabric.switches


def test_valiant_evens_out_a_pattern_that_minimal_routing_concentrates() -> None:
    """All GPUs of a switch to those of the next in its row, 1 being in X: minimal paths share the link there."""
    fabric = slim_fly(13)
    p, q = fabric.structure.gpus_per_switch, 13
    switch = np.arange(fabric.switches)
    neighbour = switch // q * q + (switch + 1) % q
    source = np.arange(fabric.gpus)
    target = neighbour[source // p] * p + source % p
    load = {}
    for policy in ("slimfly-minimal", "valiant"):
        routes = routing_for(fabric, policy, queue_pairs=16).routes(source, target)
        inner = np.ones(len(routes.link), dtype=bool)
        inner[routes.first_hop[:-1]] = inner[routes.first_hop[1:] - 1] = False
        load[policy] = np.bincount(routes.link[inner], weights=routes.share[routes.path_of_hop[inner]]).max()
    assert load["slimfly-minimal"] >= p > 2 * load["valiant"]


@pytest.mark.parametrize("policy", ["slimfly-minimal", "valiant"])
def test_failures_are_gone_around(policy: str) -> None:
    fabric = with_failures(slim_fly(5), ["random-links:0.1", "switch:sw7"])
    source, target = all_pairs(fabric.gpus)
    routes = routing_for(fabric, policy).routes(source, target)
    walks(fabric, routes, source, target)
    nic_up = fabric.cable_up[fabric.nic_cable[:, 0]]
    np.testing.assert_array_equal(routes.routed, nic_up[source] & nic_up[target])


@pytest.mark.parametrize("policy", ["slimfly-minimal", "valiant"])
def test_check_states_that_it_is_not_free_of_deadlock(policy: str) -> None:
    fabric = slim_fly(4)
    claims = {claim.name: claim for claim in check_fabric(fabric, routing_for(fabric, policy))}
    assert claims.pop("free of deadlock").holds is False
    assert all(claim.holds is not False for claim in claims.values())
