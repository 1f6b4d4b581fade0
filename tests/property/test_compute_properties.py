"""More work never takes less time; the order of what is computed together does not matter."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zcube.llm.cards import load_card
from zcube.llm.compute import roofline
from zcube.llm.devices import load_device
from zcube.llm.engine_layout import EngineLayout
from zcube.llm.exchanges import low_latency_s, normal_s
from zcube.llm.kv import KvLayout, kv_bytes

CARD = load_card("glm-5.1")
NODES = [
    roofline(
        CARD,
        load_device(device),
        EngineLayout(layout, decode, prefill_ep_nodes=nodes, kv_dtype=kv),
    )
    for device, layout, decode, nodes, kv in (
        ("h200", "tp8", "tp8", 1, "fp8"),
        ("h200", "cp8", "dp8", 1, "bf16"),
        ("b200", "dp8", "dp8", 4, "fp8"),
        ("b200", "cp8", "tp8", 2, "bf16+fp8-index"),
    )
]
nodes = st.sampled_from(NODES)
pieces = st.lists(st.tuples(st.integers(1, 8192), st.integers(0, 150_000)), min_size=1, max_size=6)


@given(node=nodes, batch=pieces, more=st.integers(1, 4096))
def test_prefill_grows_with_tokens_prefix_and_pieces(node, batch, more):
    new, prefix = np.array(batch).T
    seconds = node.prefill_iteration_s(new, prefix)
    first = np.eye(1, new.size, dtype=int)[0]
    slack = 1 - 1e-12
    assert seconds > 0
    # Only between batches that use the same kernels: dense attention of short contexts has its own rates.
    if (new + prefix).max() > CARD.index_topk:
        assert node.prefill_iteration_s(new + more * first, prefix) >= seconds * slack
        assert node.prefill_iteration_s(new, prefix + more * first) >= seconds * slack
        assert node.prefill_iteration_s(np.append(new, more), np.append(prefix, 0)) >= seconds * slack


@given(
    device=st.sampled_from(["h200", "b200"]), mode=st.sampled_from([low_latency_s, normal_s]), span=st.integers(0, 7),
    tokens=st.integers(1, 1 << 17), more=st.integers(0, 1 << 17), nic_gbps=st.sampled_from([50, 200, 400, 800]),
)  # fmt: skip
def test_exchanges_grow_with_tokens_and_nodes_and_shrink_with_the_rate(device, mode, span, tokens, more, nic_gbps):
    exchanges = load_device(device).exchanges
    alone, fuller, faster, wider = (
        mode(CARD, exchanges, *case)
        for case in (
            (1 << span, tokens, nic_gbps),
            (1 << span, tokens + more, nic_gbps),
            (1 << span, tokens, 2 * nic_gbps),
            (2 << span, tokens, 1),
        )
    )
    rails = mode(CARD, exchanges, 1 << span, tokens, 1)
    for which in (0, 1):
        assert 0 < faster[which] <= alone[which] <= fuller[which]
        # Where the rails decide; NVLink carries less of low-latency messages the more nodes there are.
        assert span == 0 or rails[which] <= wider[which]


@given(node=nodes, batch=pieces, data=st.data())
def test_order_of_pieces_does_not_matter(node, batch, data):
    shuffled = data.draw(st.permutations(batch))
    seconds = [node.prefill_iteration_s(*np.array(order).T) for order in (batch, shuffled)]
    assert seconds[0] == pytest.approx(seconds[1], rel=1e-12)


@given(node=nodes, contexts=st.lists(st.integers(0, 150_000), min_size=1, max_size=80), steps=st.integers(1, 100))
def test_decode_steps_grow_with_context_and_batch(node, contexts, steps):
    seconds = node.decode_steps_s(contexts, steps)
    assert seconds.shape == (steps,)
    assert np.all(seconds > 0) and np.all(np.diff(seconds) >= -1e-12)
    assert np.all(node.decode_steps_s([*contexts, 1000], steps) >= seconds - 1e-12)


@given(tokens=st.integers(0, 10**6), dtype=st.sampled_from(("fp8", "bf16", "bf16+fp8-index")), mtp=st.booleans())
def test_kv_never_shrinks_and_stays_near_its_rate(tokens, dtype, mtp):
    layout = KvLayout(dtype, mtp)
    size = int(kv_bytes(CARD, tokens, layout))
    rate = int(kv_bytes(CARD, 64, layout)) / 64
    assert tokens * rate <= size + 1e-6
    assert size <= tokens * rate + layout.layers(CARD) * 8448
    assert size <= kv_bytes(CARD, tokens + 1, layout)
