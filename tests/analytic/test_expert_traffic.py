"""DeepEP message sizes and the all-to-all's expected bytes."""

import numpy as np
import pytest
from expert_by_hand import bytes_between_nodes

from zcube.errors import InputError
from zcube.llm.cards import load_card
from zcube.llm.engine_layout import EngineLayout
from zcube.llm.expert_traffic import (
    hit_probability,
    low_latency_combine_bytes,
    low_latency_dispatch_bytes,
    normal_combine_bytes,
    normal_dispatch_bytes,
)
from zcube.llm.schedules.normal_plan import dealt
from zcube.seeds import stream

GLM, DEEPSEEK = load_card("glm-5.1"), load_card("deepseek-v3.2")


@pytest.mark.parametrize(
    ("hidden", "sizes"), [(7168, (7408, 14336, 14336, 7472, 14384)), (6144, (6352, 12288, 12288, 6416, 12336))]
)
def test_message_sizes(hidden, sizes):
    ll_dispatch, ll_bf16_payload, ll_combine, dispatch, combine = sizes
    assert low_latency_dispatch_bytes(hidden) == ll_dispatch
    assert low_latency_dispatch_bytes(hidden, "bf16") == 16 + ll_bf16_payload
    assert low_latency_combine_bytes(hidden) == ll_combine
    assert normal_dispatch_bytes(hidden) == dispatch
    assert normal_combine_bytes(hidden) == combine


@pytest.mark.parametrize(("nodes", "expected"), [(1, 1.0), (4, 3.60), (8, 5.25), (18, 6.61)])
def test_expected_nodes_without_group_limit(nodes, expected):
    assert nodes * hit_probability(GLM, nodes) == pytest.approx(expected, abs=0.005)


def between_nodes(card, tokens_per_node, batches=1):
    """Return the plan's bytes between nodes over a prefill iteration."""
    plan = EngineLayout("dp8", "dp8", prefill_ep_nodes=len(tokens_per_node)).prefill_exchange(card)
    rails = plan.layer_rails([dealt(tokens_per_node)] * batches)
    assert np.array_equal(rails.source % 8, rails.target % 8), "normal mode stays on the rail"
    traffic = np.zeros((len(tokens_per_node),) * 2)
    np.add.at(traffic, (rails.source // 8, rails.target // 8), card.moe_layers * rails.size_bytes)
    return traffic


def test_ep32_over_four_nodes_sends_3_8_megabytes_a_token():
    traffic = between_nodes(GLM, [8, 0, 0, 0]) / 8
    assert traffic.sum() == pytest.approx(3.80e6, rel=0.01)
    # Dispatch leaves the token's node, combine comes back to it.
    assert traffic[0].sum() / traffic[:, 0].sum() == pytest.approx(6416 / 12336, rel=1e-4)


def test_equal_nodes_give_a_symmetric_matrix_with_an_empty_diagonal():
    traffic = between_nodes(GLM, [8192] * 8)
    np.testing.assert_array_equal(traffic, traffic.T)
    assert not traffic.diagonal().any()
    assert not between_nodes(GLM, [8192]).any()


@pytest.mark.parametrize("card", [GLM, DEEPSEEK])
@pytest.mark.parametrize("tokens", [[1, 0], [4096, 0, 1000, 104], [8192, 7, 64, 640, 1, 0, 3000, 16]])
def test_the_plan_is_the_closed_form_in_whole_bytes(card, tokens):
    found, expected = between_nodes(card, tokens), bytes_between_nodes(card, tokens)
    # A message of each GPU, direction and layer is rounded by half a byte at most.
    assert np.abs(found - expected).max() <= card.moe_layers * 8 * 2 * 0.5
    assert np.array_equal(found, np.rint(found))


@pytest.mark.parametrize("nodes", [2, 4, 8, 16])
def test_group_limit_agrees_with_sampling(nodes):
    # The routing as described: 4 of 8 groups, then 8 experts (with replacement) in them; experts lie in order on nodes.
    random, draws = stream(1, "routing"), 20_000
    groups = np.argsort(random.random((draws, 8)), axis=1)[:, :4]
    picked = np.take_along_axis(groups, random.integers(0, 4, (draws, 8)), axis=1)
    node = (picked * 32 + random.integers(0, 32, (draws, 8))) * nodes // 256
    distinct = np.mean([np.unique(row).size for row in node])
    assert nodes * hit_probability(DEEPSEEK, nodes) == pytest.approx(distinct, rel=0.01)


def test_group_limit_caps_the_nodes_at_four():
    assert 8 * hit_probability(DEEPSEEK, 8) < 4 < 8 * hit_probability(GLM, 8)


def test_bad_input_is_refused():
    with pytest.raises(InputError, match="divisor of 8"):
        hit_probability(DEEPSEEK, 3)
    with pytest.raises(InputError):
        hit_probability(GLM, 10**9)
    with pytest.raises(InputError):
        normal_dispatch_bytes(6144, dtype="int4")
