"""Whatever the sizes: patterns are permutations, searched ones too, and shares are shares."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zcube.fabric.catalog import load_fabric
from zcube.fabric.families.zcube import ZCubeSpec
from zcube.network.adversary.funnels import FUNNELS, to_another
from zcube.network.adversary.patterns import PATTERNS
from zcube.network.adversary.shares import pattern_shares
from zcube.network.adversary.worst import fullest_link_permutation, worst_permutation
from zcube.routing.catalog import routing_for

SWITCH = {"model": "test", "ports": 256, "port_gbps": 200}


@given(name=st.sampled_from(sorted(PATTERNS)), gpus=st.integers(1, 300), segment=st.integers(1, 300), seed=st.integers(0, 9))
def test_patterns_are_permutations(name: str, gpus: int, segment: int, seed: int) -> None:
    source, target = PATTERNS[name](gpus, min(segment, gpus), seed)
    assert np.array_equal(source, np.arange(gpus))
    assert np.array_equal(np.sort(target), source)


@given(segment=st.integers(2, 20), segments=st.integers(2, 20), seed=st.integers(0, 9))
def test_the_shuffle_sends_whole_segments_to_one_other(segment: int, segments: int, seed: int) -> None:
    source, target = PATTERNS["segment-shuffle"](segment * segments, segment, seed)
    pairs = np.unique(np.stack([source // segment, target // segment]), axis=1)
    assert pairs.shape[1] == segments
    assert (pairs[0] != pairs[1]).all()


@given(side=st.integers(1, 20))
def test_transpose_of_a_square_is_its_own_inverse(side: int) -> None:
    _, target = PATTERNS["transpose"](side * side, side, 0)
    assert np.array_equal(target[target], np.arange(side * side))


@given(servers=st.integers(2, 40), local=st.integers(0, 7), seed=st.integers(0, 9))
def test_to_another_is_a_derangement_of_servers(servers: int, local: int, seed: int) -> None:
    source, target = to_another(servers, 8, local, seed)
    assert sorted(source) == sorted(target) == [8 * server + local for server in range(servers)]
    assert (source != target).all()


@given(name=st.sampled_from(sorted(FUNNELS)), servers=st.integers(2, 30), local=st.integers(0, 3), seed=st.integers(0, 9))
def test_funnels_leave_by_the_local_gpu(name: str, servers: int, local: int, seed: int) -> None:
    source, target = FUNNELS[name](servers, 4, local, seed)
    assert set(source % 4) == {local}
    assert 0 <= target.min() <= target.max() < 4 * servers


@settings(max_examples=8)
@given(k=st.sampled_from([4, 8]), seed=st.integers(0, 99), rails=st.sampled_from(["plain", "skewed"]))
def test_searched_permutations_are_permutations_and_no_better_than_random(k: int, seed: int, rails: str) -> None:
    fabric = ZCubeSpec(gpus=k * k, gpus_per_server=2, gpus_per_switch=k, rails=rails, switch=SWITCH).build("small")
    routing = routing_for(fabric)
    one, worst = fullest_link_permutation(fabric, routing, seed), worst_permutation(fabric, routing, seed)
    assert one is not None and worst is not None
    drawn = pattern_shares(fabric, routing, *PATTERNS["random"](fabric.gpus, k, seed))
    for found in (one, worst):
        assert np.array_equal(np.sort(found.target), np.arange(fabric.gpus))
        assert 0 < found.share.minimum <= found.share.p1 <= 1 + 1e-9
        assert found.share.minimum <= found.share.mean + 1e-9 <= 1 + 2e-9
    assert worst.share.mean <= min(one.share.mean, drawn.mean)
    assert one.link_flows >= drawn.fullest.flows / 2


@pytest.mark.parametrize("name", ["zcube-256", "roft-256"])
def test_reports_repeat(name: str) -> None:
    fabric = load_fabric(name)
    first, second = (worst_permutation(fabric, routing_for(fabric), seed=3) for _ in range(2))
    assert first is not None and second is not None
    assert np.array_equal(first.target, second.target)
    assert first.document() == second.document()
