"""Tables by which growth chooses names: products of sparse tables against their definitions."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from zcube.fabric.families.planes import MultiPlaneSpec
from zcube.plan.growth.renaming import NONE, _common, _Pair

TABLES = arrays(np.int64, st.tuples(st.integers(1, 5), st.just(4)), elements=st.sampled_from([0, 0, 1, 2, 7]))


@given(TABLES, TABLES)
def test_what_rows_have_in_common(one, other):
    by_hand = np.minimum(one[:, None, :], other[None, :, :]).sum(axis=2)
    assert np.array_equal(_common(one, other), by_hand)


def fabric(gpus, gbps):
    switch = {"model": "16 ports", "ports": 16, "port_gbps": 400}
    return MultiPlaneSpec(gpus=gpus, gpus_per_server=4, switch=switch, planes=2, ports_per_gpu=2, nic_gbps=gbps).build(
        f"planes-{gpus}"
    )


@settings(max_examples=20)
@given(st.integers(1, 6), st.integers(1, 6), st.booleans(), st.data())
def test_links_that_servers_keep(servers, more, same_rate, data):
    old, new = fabric(4 * servers, 400), fabric(4 * (servers + more), 400 if same_rate else 200)
    pair = _Pair(old, new)
    became = data.draw(st.lists(st.integers(NONE, new.switches - 1), min_size=old.switches, max_size=old.switches))
    scores = pair.server_scores(np.array(became))
    (old_switch, old_gbps), (new_switch, new_gbps) = pair.old_nic, pair.new_nic
    for one in range(old.servers):
        for other in range(new.servers):
            same = [became[switch] for switch in old_switch[one]] == new_switch[other]
            assert scores[one, other] == (same & (old_gbps[one] == new_gbps[other])).sum()
