"""Dragonfly of any number of groups up to a h + 1: how global links are spread, and minimal paths hashed over parallel ones.

Source: Kim, Dally, Scott and Abts (ISCA 2008), for machines of fewer groups than a h + 1: the global links of a group are
spread evenly over the others.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from zcube.fabric.catalog import load_fabric
from zcube.fabric.failures import with_failures
from zcube.fabric.families.dragonfly import DragonflySpec
from zcube.fabric.model import CableKind, CableMedium, Fabric
from zcube.fabric.ports import native_ports_used
from zcube.routing.catalog import routing_for
from zcube.routing.dragonfly_paths import DragonflyPaths
from zcube.routing.routes import Routes

SWITCH = {"model": "test", "ports": 256, "port_gbps": 400}


def dragonfly(p: int, a: int, h: int, g: int, **keys: object) -> Fabric:
    spec = DragonflySpec(
        gpus=p * a * g, gpus_per_server=1, gpus_per_switch=p, switches_per_group=a, global_links_per_switch=h, groups=g,
        switch=SWITCH, **keys,
    )  # fmt: skip
    return spec.build("test")


def ends(fabric: Fabric, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return fabric.cables.a[chosen] - fabric.gpus, fabric.cables.b[chosen] - fabric.gpus


def global_cables(fabric: Fabric) -> np.ndarray:
    return np.flatnonzero((fabric.cables.kind == CableKind.SWITCH) & (fabric.cables.medium == CableMedium.FIBRE))


SIZES = st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 5)).flatmap(
    lambda sizes: st.tuples(*(st.just(size) for size in sizes), st.integers(2, sizes[1] * sizes[2] + 1))
)


@settings(max_examples=150)
@given(SIZES)
def test_global_links_are_spread_evenly(sizes: tuple[int, int, int, int]) -> None:
    p, a, h, g = sizes
    fabric = dragonfly(p, a, h, g)
    one, other = ends(fabric, global_cables(fabric))
    pairs = Counter((min(q, r), max(q, r)) for q, r in zip((one // a).tolist(), (other // a).tolist(), strict=True))
    # Every two groups have the whole number of links that the mean allows, or one more.
    assert set(pairs) == {(q, r) for q in range(g) for r in range(q + 1, g)}
    assert set(pairs.values()) <= {a * h // (g - 1), a * h // (g - 1) + 1}
    # A group leaves at most one link unused, and that only where an even spread is impossible.
    used = Counter([*(one // a).tolist(), *(other // a).tolist()])
    unused = (a * h % (g - 1)) % 2 if g % 2 else 0
    assert set(used.values()) == {a * h - unused}
    per_switch = Counter([*one.tolist(), *other.tolist()])
    assert max(per_switch.values()) <= h
    assert native_ports_used(fabric).max() <= p + a - 1 + h
    # Inside, a group is complete.
    local = np.flatnonzero((fabric.cables.kind == CableKind.SWITCH) & (fabric.cables.medium == CableMedium.COPPER))
    low, high = ends(fabric, local)
    assert sorted(zip(low.tolist(), high.tolist(), strict=True)) == [
        (q * a + s, q * a + t) for q in range(g) for s in range(a) for t in range(s + 1, a)
    ]


@settings(max_examples=60)
@given(SIZES)
def test_whole_rounds_follow_the_relative_arrangement(sizes: tuple[int, int, int, int]) -> None:
    """Link j of group q, global port j mod h of its switch j div h, leads to group (q + 1 + j mod (g - 1)) mod g."""
    p, a, h, g = sizes
    fabric = dragonfly(p, a, h, g)
    cables, block = fabric.cables, p + a - 1
    found = {}
    for cable in global_cables(fabric).tolist():
        (s, t), (sp, tp) = (cables.a[cable], cables.b[cable]), (cables.a_port[cable], cables.b_port[cable])
        (q, s), (r, t) = divmod(int(s) - fabric.gpus, a), divmod(int(t) - fabric.gpus, a)
        found[q, s * h + int(sp) - block] = r
        found[r, t * h + int(tp) - block] = q
    whole = a * h // (g - 1) * (g - 1)
    for q in range(g):
        for j in range(whole):
            assert found[q, j] == (q + 1 + j % (g - 1)) % g


def test_defaults_are_the_balanced_whole_machine() -> None:
    fabric = DragonflySpec(gpus=1056, switch=SWITCH).build("test")
    structure = fabric.structure
    assert (structure.p, structure.switches_per_group, structure.global_links_per_switch, structure.groups) == (4, 8, 4, 33)
    some = DragonflySpec(gpus=512, gpus_per_switch=4, groups=16, switch=SWITCH).build("test").structure
    assert (some.switches_per_group, some.global_links_per_switch, some.groups) == (8, 4, 16)


def test_one_group_is_a_complete_graph() -> None:
    fabric = dragonfly(2, 5, 2, 1)
    assert (fabric.switches, len(global_cables(fabric))) == (5, 0)
    source, target = np.array([0, 0, 9]), np.array([1, 9, 4])
    assert DragonflyPaths(fabric).routes(source, target).hops_per_path.tolist() == [2, 3, 3]


@pytest.mark.parametrize(("keys", "named"), [
    ({"gpus_per_switch": 4, "groups": 34}, r"8 \* 4 \+ 1 = 33"),
    ({"gpus_per_switch": 2, "switches_per_group": 3, "global_links_per_switch": 2, "groups": 8}, r"3 \* 2 \+ 1 = 7"),
    ({"gpus": 1024, "gpus_per_switch": 4, "groups": 16}, "at most 512"),
    ({"gpus_per_switch": 1, "switches_per_group": 4096, "groups": 4096}, "cables"),
])  # fmt: skip
def test_refuses_sizes_that_do_not_fit(keys: dict[str, int], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        DragonflySpec(**{"gpus": 8, "switch": SWITCH, **keys})


def all_pairs(gpus: int) -> tuple[np.ndarray, np.ndarray]:
    source, target = (axis.ravel() for axis in np.indices((gpus, gpus)))
    return source[source != target], target[source != target]


def check_minimal(fabric: Fabric, routes: Routes, source: np.ndarray, target: np.ndarray) -> None:
    """One walk a pair: at most one link in each group, exactly one between different groups, all of them up."""
    a, p = fabric.structure.switches_per_group, fabric.structure.p
    at = routes.followed
    assert np.all(routes.paths_per_flow == 1) and fabric.cable_up[routes.link // 2].all()
    np.testing.assert_array_equal(fabric.link_source[routes.first_link], source)
    np.testing.assert_array_equal(fabric.link_target[routes.last_link], target)
    np.testing.assert_array_equal(fabric.link_target[routes.link[at]], fabric.link_source[routes.link[at + 1]])
    is_global = np.isin(routes.link // 2, global_cables(fabric))
    crossed = np.bincount(routes.path_of_hop, weights=is_global, minlength=len(source))
    np.testing.assert_array_equal(crossed, source // p // a != target // p // a)
    assert routes.hops_per_path.max() <= 5


@settings(max_examples=40)
@given(SIZES, st.integers(0, 9))
def test_minimal_paths_cross_one_global_link(sizes: tuple[int, int, int, int], seed: int) -> None:
    fabric = dragonfly(*sizes)
    source, target = all_pairs(fabric.gpus)
    keep = np.random.default_rng(seed).permutation(len(source))[:2000]
    check_minimal(fabric, DragonflyPaths(fabric, seed).routes(source[keep], target[keep]), source[keep], target[keep])


def test_minimal_paths_are_hashed_over_parallel_global_links() -> None:
    """8 links between every two of 3 groups: pairs between two groups take each about equally often, and seeds differ."""
    fabric = dragonfly(8, 4, 4, 3)
    source, target = np.repeat(np.arange(32), 32), np.tile(np.arange(32, 64), 32)
    routes = [DragonflyPaths(fabric, seed).routes(source, target) for seed in (0, 0, 1)]
    check_minimal(fabric, routes[0], source, target)
    taken = Counter(link for link in (routes[0].link // 2).tolist() if link in set(global_cables(fabric).tolist()))
    assert len(taken) == 8
    # Of 1,024 independent draws among 8, each is expected 128 times with a deviation of 10.6.
    assert all(abs(count - 128) < 5 * 10.6 for count in taken.values())
    np.testing.assert_array_equal(routes[0].link, routes[1].link)
    assert not np.array_equal(routes[0].link, routes[2].link)


def test_a_failed_global_link_leaves_its_traffic_to_those_beside_it() -> None:
    whole = dragonfly(8, 4, 4, 3)
    source, target = np.repeat(np.arange(32), 32), np.tile(np.arange(32, 64), 32)
    between = [cable for cable in global_cables(whole).tolist()
               if {int(end - whole.gpus) // 4 for end in (whole.cables.a[cable], whole.cables.b[cable])} == {0, 1}]  # fmt: skip
    names = [f"port:{whole.node_name(int(whole.cables.a[cable]))}/{whole.cables.a_port[cable]}" for cable in between]
    fabric = with_failures(whole, names[:5])
    routes = routing_for(fabric).routes(source, target)
    check_minimal(fabric, routes, source, target)
    assert set((routes.link // 2).tolist()) & set(between) == set(between[5:])
    # With none left, pairs go over the third group.
    cut = with_failures(whole, names)
    around = routing_for(cut).routes(source, target)
    assert around.routed.all()
    assert np.bincount(around.path_of_hop, np.isin(around.link // 2, global_cables(cut))).min() == 2


def test_bundled_machine_of_16_groups() -> None:
    """64 links of each group over 15 others: four rounds and 4 more."""
    fabric = load_fabric("dragonfly-1024-16-groups")
    one, other = ends(fabric, global_cables(fabric))
    pairs = Counter(zip((one // 8).tolist(), (other // 8).tolist(), strict=True))
    assert Counter(pairs.values()) == {4: 16 * 11 // 2, 5: 16 * 4 // 2}
    np.testing.assert_allclose(native_ports_used(fabric), 23)
