"""Routing counts, and decode steps with DeepEP's low-latency mode, against their closed forms."""

import numpy as np
import pytest
from trace_by_hand import StatedTimes, computes_one_at_a_time, ends_by_hand, named

from zcube.errors import InputError
from zcube.llm.cards import load_card
from zcube.llm.compute import roofline
from zcube.llm.devices import load_device
from zcube.llm.engine_layout import EngineLayout
from zcube.llm.expert_placement import balanced, popularity
from zcube.llm.expert_traffic import hit_probability
from zcube.llm.schedules.decode import append_expert_step, append_tensor_parallel_step
from zcube.llm.schedules.expert_pipeline import Turn, order
from zcube.llm.schedules.expert_routing import ExpertRouting
from zcube.seeds import stream
from zcube.trace.builder import TraceBuilder
from zcube.trace.comm_trace import Kind

GLM, DEEPSEEK = load_card("glm-5.1"), load_card("deepseek-v3.2")
ALL_MOE = GLM.model_copy(update={"first_dense_layers": 0, "layers": 6})


def step(nodes, batch, card=GLM, times=None, routing=None, **choices):
    builder = TraceBuilder(8 * nodes)
    times = times or StatedTimes(1e-6, 1e-6)
    append_expert_step(builder, card, times, batch, 4096, routing or ExpertRouting(card, nodes), **choices)
    return builder.build({})


@pytest.mark.parametrize("card", [GLM, DEEPSEEK])
@pytest.mark.parametrize("nodes", [1, 2, 4, 8, 16])
def test_even_routing_has_the_known_chances(card, nodes):
    layer = ExpertRouting(card, nodes).layer(5)
    np.testing.assert_allclose(layer.node_chances(), hit_probability(card, nodes))
    np.testing.assert_allclose(layer.rank_chances(), hit_probability(card, 8 * nodes))


@pytest.mark.parametrize("card", [GLM, DEEPSEEK])
def test_eighteen_nodes_hold_redundant_experts(card):
    # DeepSeek serves 288 on 144 GPUs. Copies lie anywhere, so that the group limit no longer binds nodes.
    routing = ExpertRouting(card, 18)
    assert routing.redundant_experts == 32
    assert routing.layer(0).node_chances().sum() == pytest.approx(18 * hit_probability(GLM, 18))


def test_traces_place_copies_as_serving_does():
    routing = ExpertRouting(GLM, 18, "sampled", "power_law_1.2", seed=3)
    weights = popularity(256, "power_law_1.2", routing.power_law_tokens, stream(3, "experts/7"))
    where = balanced(weights, 288, GLM.expert_groups, 18, 144)
    load = [0.0] * 144
    for expert, gpu in zip(where.expert.tolist(), where.gpu.tolist(), strict=True):
        load[gpu] += weights[expert] / where.expert.tolist().count(expert)
    tokens = np.full(144, 1 << 16)
    received = routing.layer(7).messages(tokens, 7).sum(axis=0)
    np.testing.assert_allclose(received / received.sum(), load, rtol=0.02)


def test_group_limit_holds_where_nodes_hold_whole_groups():
    assert ExpertRouting(DEEPSEEK, 8).layer(0).node_chances().sum() < 4 < ExpertRouting(GLM, 8).layer(0).node_chances().sum()


@pytest.mark.parametrize("balance", ["balanced", "power_law_1.01", "power_law_1.2"])
@pytest.mark.parametrize("nodes", [4, 18])
def test_sampled_messages_agree_with_popularity(balance, nodes):
    routing = ExpertRouting(GLM, nodes, "sampled", balance, seed=2)
    tokens = np.full(routing.ranks, 4096)
    messages = routing.layer(7).messages(tokens, 7)
    assert (messages.sum(axis=1) == 8 * 4096).all()
    load = messages.sum(axis=0) / messages.sum() * routing.ranks
    if balance == "balanced":
        # 288 slots for 256 experts: some GPUs hold two experts without a copy, 2/256 of the tokens instead of 1/144.
        assert load.max() == pytest.approx(1.125 if nodes == 18 else 1.0, rel=0.03)
    else:
        assert load.max() > 1.5
    assert (messages == routing.layer(7).messages(tokens, 7)).all()


@pytest.mark.parametrize("card", [GLM, DEEPSEEK])
def test_steeper_popularity_makes_nodes_more_uneven(card):
    spread = []
    for balance in ("balanced", "power_law_1.2"):
        layers = [ExpertRouting(card, 4, "sampled", balance, seed=6).layer(layer).rank_chances() for layer in range(20)]
        spread.append(np.mean([chances.max() / chances.mean() for chances in layers]))
    assert spread[0] == pytest.approx(1)
    assert spread[1] > 2


@pytest.mark.parametrize(("tokens", "nodes"), [(1, 18), (7, 4), (32, 18), (128, 1)])
def test_expected_messages_are_whole_and_even(tokens, nodes):
    routing = ExpertRouting(GLM, nodes)
    messages = routing.layer(3).messages(np.full(routing.ranks, tokens), 3)
    assert (messages.sum(axis=1) == 8 * tokens).all()
    assert (messages.sum(axis=0) == 8 * tokens).all()
    assert messages.max() - messages.min() <= 1


@pytest.mark.parametrize(("nodes", "batch", "overlap"), [(1, 128, "five-stage"), (4, 32, "two-batch"), (4, 3, "none")])
def test_a_token_sends_eight_messages_each_way_in_every_expert_layer(nodes, batch, overlap):
    trace = step(nodes, batch, overlap=overlap)
    own = 0
    for layer in range(3, 78):
        # Messages to a token's own GPU do not travel.
        sizes = [batch] if overlap == "none" else [-(-batch // 2), batch // 2]
        routing = ExpertRouting(GLM, nodes).layer(layer)
        own += sum(np.trace(routing.messages(np.full(8 * nodes, size), layer)) for size in sizes)
    messages = 75 * 8 * batch * 8 * nodes - own
    assert trace.size_bytes[named(trace, "dispatch")].sum() == messages * 6352
    assert trace.size_bytes[named(trace, "combine")].sum() == messages * 12_288
    assert set(trace.layer[trace.rows(Kind.TRANSFER)].tolist()) == set(range(3, 78))


def test_every_message_comes_back():
    trace = step(2, 16, routing=ExpertRouting(GLM, 2, "sampled", "power_law_1.2", seed=8), overlap="none")
    counted = {}
    for name, message in (("dispatch", 6352), ("combine", 12_288)):
        rows = named(trace, name)
        counted[name] = np.zeros((16, 16))
        np.add.at(counted[name], (trace.source[rows], trace.target[rows]), trace.size_bytes[rows] / message)
    np.testing.assert_array_equal(counted["dispatch"], counted["combine"].T)
    assert (counted["dispatch"] != counted["combine"]).any()


def test_messages_cross_rails():
    trace = step(4, 64)
    rows = trace.rows(Kind.TRANSFER)
    same_rail = trace.source[rows] % 8 == trace.target[rows] % 8
    # 3 of a GPU's 31 peers are on its rail.
    assert trace.size_bytes[rows[same_rail]].sum() / trace.size_bytes[rows].sum() == pytest.approx(3 / 31, rel=0.01)


def test_drafts_multiply_messages():
    assert step(2, 4, query_tokens=4, overlap="none").size_bytes.sum() == step(2, 16, overlap="none").size_bytes.sum()


def test_orders_of_computation():
    assert order(1, "two-batch") == [
        Turn(0, 0, "attention"), Turn(0, 1, "attention"), Turn(0, 0, "feed-forward"), Turn(0, 1, "feed-forward")
    ]  # fmt: skip
    for overlap in ("none", "two-batch", "five-stage"):
        turns = order(5, overlap)
        assert len(set(turns)) == len(turns)
        for batch in {turn.batch for turn in turns}:
            assert [turn.layer for turn in turns if turn.batch == batch and turn.stage == "feed-forward"] == list(range(5))


@pytest.mark.parametrize(("overlap", "exposed"), [("none", 6 * 2), ("five-stage", 2), ("two-batch", 1)])
def test_overlap_hides_communication_behind_the_other_half(overlap, exposed):
    # Every dispatch and every combine takes 1 ms, half an attention of half a batch 1 ms too.
    times = StatedTimes(attention_s=4e-3 / 64, experts_s=4e-3 / 64)
    trace = step(2, 8, ALL_MOE, times, overlap=overlap)
    ends = ends_by_hand(trace, lambda row: 1e-3)
    assert computes_one_at_a_time(trace)
    assert ends.max() == pytest.approx(6 * 8e-3 + exposed * 1e-3)


def test_a_single_request_is_not_cut():
    assert len(step(1, 1, overlap="five-stage")) == len(step(1, 1, overlap="none"))


def test_tensor_parallel_step():
    builder = TraceBuilder(16)
    append_tensor_parallel_step(builder, GLM, StatedTimes(1e-6, 1e-6), [100, 5000, 7], query_tokens=2, node=1)
    trace = builder.build({})
    rows = trace.rows(Kind.COLLECTIVE)
    assert np.bincount(trace.layer[rows]).tolist() == [2] * 78
    assert set(trace.size_bytes[rows].tolist()) == {3 * 2 * 12_288}
    assert trace.groups == (tuple(range(8, 16)),)
    assert ends_by_hand(trace, collective_s=lambda row: 5e-6).max() == pytest.approx(78 * (12e-6 + 10e-6))


@pytest.mark.parametrize("layout", ["tp8", "dp8"])
def test_layers_of_a_step_sum_to_the_step(layout):
    # The step of the compute model is its layers and its NVLink time, here left out of both sides.
    node = roofline(GLM, load_device("h200"), EngineLayout("tp8", layout))
    contexts = np.array([4096] * 64)
    layer = node.decode_layer(contexts)
    parts_s = 78 * layer.attention_s + 75 * (layer.experts_s + layer.shared_s) + 3 * layer.dense_s + layer.head_s
    links_s = node.decode_steps_s(contexts, 1)[0] - parts_s
    tokens = 64 if layout == "tp8" else 8
    if layout == "tp8":
        expected_s = 78 * 2 * load_device("h200").links.decode_all_reduce.seconds(tokens * 12_288)
    else:
        links = load_device("h200").links
        expected_s = 75 * (links.low_latency_dispatch.seconds(56 * 6352) + links.low_latency_combine.seconds(56 * 12_288))
    assert links_s == pytest.approx(expected_s)


def test_layers_of_an_iteration_sum_to_the_iteration():
    node = roofline(GLM, load_device("b200"), EngineLayout("tp8", "tp8"))
    layer = node.prefill_layer(np.array([8192]), np.array([30_000]))
    parts_s = 78 * layer.attention_s + 75 * (layer.experts_s + layer.shared_s) + 3 * layer.dense_s
    links_s = 78 * 2 * load_device("b200").links.all_reduce.seconds(8192 * 12_288)
    assert node.prefill_iteration_s(np.array([8192]), np.array([30_000])) == pytest.approx(parts_s + links_s)
    assert 0 < layer.projection_s + layer.indexer_s < layer.attention_s


def test_more_expert_nodes_and_more_queries_take_no_less():
    node = roofline(GLM, load_device("h200"), EngineLayout("dp8", "dp8", moe_balance="balanced"))
    one, four = (node.decode_layer(np.array([4096] * 256), query_tokens=count) for count in (1, 4))
    assert four.attention_s > one.attention_s
    assert four.experts_s > one.experts_s
    # Spread over more nodes, each GPU holds fewer experts and reads fewer weights.
    assert node.decode_layer(np.array([4096] * 256), ep_nodes=16).experts_s < one.experts_s


def test_what_is_not_offered_is_refused():
    node = roofline(GLM, load_device("h200"), EngineLayout("dp8", "dp8"))
    with pytest.raises(InputError) as caught:
        node.decode_layer(np.array([1]), query_tokens=0, ep_nodes=1000)
    assert [fault.where for fault in caught.value.faults] == ["query_tokens", "ep_nodes"]
    with pytest.raises(InputError, match=r"power_law_1\.01"):
        ExpertRouting(GLM, 4, "sampled", "zipf")
