"""Transfers that are made: who sends to whom, how much, at what load."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zcube.errors import InputError
from zcube.workload.generated_flows import AllToAll, Cluster, KvFunnel, Permutation


@given(st.integers(2, 40), st.integers(1, 8), st.integers(0, 1000))
def test_a_permutation_sends_and_receives_once_and_never_to_itself(servers, per_server, seed):
    flows = Permutation().flows(Cluster(servers * per_server, per_server, 400), seed)
    assert sorted(flows.target) == sorted(flows.source) == list(range(servers * per_server))
    assert np.all(flows.source != flows.target)


def test_an_all_to_all_has_every_pair_of_servers_once():
    flows = AllToAll(mean_bytes=5).flows(Cluster(32, 8, 400), 3)
    pairs = set(zip(flows.source.tolist(), flows.target.tolist(), strict=True))
    assert len(pairs) == len(flows) == 32 * 24
    assert all(a // 8 != b // 8 for a, b in pairs)
    assert len(AllToAll(nvlink=True).flows(Cluster(32, 8, 400), 3)) == 32 * 31
    with pytest.raises(InputError, match="nvlink"):
        AllToAll().flows(Cluster(8, 8, 400), 0)


@pytest.mark.parametrize("placement", ["blocked", "striped"])
def test_the_funnel_offers_its_load_to_the_decode_servers(placement):
    funnel = KvFunnel(transfers=40_000, sigma=0.7, placement=placement)
    flows = funnel.flows(Cluster(1024, 8, 400), 1)
    decode = funnel.decode_servers(Cluster(1024, 8, 400))
    assert len(decode) == 32 and (decode[0] == 96 if placement == "blocked" else np.ptp(np.diff(decode)) == 0)
    assert set(flows.target // 8) == set(decode) and not set(flows.source // 8) & set(decode)
    assert set(flows.source % 8) == set(flows.target % 8) == {0}
    offered = flows.size_bytes.sum() * 8 / flows.start_s.max() / (32 * 400e9)
    assert offered == pytest.approx(0.6, rel=0.03)
    assert flows.size_bytes.mean() == pytest.approx(120e6, rel=0.02)
