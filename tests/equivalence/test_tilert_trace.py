"""The decode trace against the step's time and bytes, by a topological pass of its own."""

from collections import Counter

import pytest

from zcube.errors import InputError
from zcube.llm.cards import load_card
from zcube.llm.decode_node.figures import CONVENTIONAL, TILERT, Ideas, load_node
from zcube.llm.decode_node.schedule import decode_trace
from zcube.llm.decode_node.step import step
from zcube.trace.comm_trace import Kind

CARD = load_card("glm-5.1")
NODE = load_node("tilert-b200")
MIXES = [TILERT, CONVENTIONAL, Ideas(overlap=False), Ideas(heterogeneous_workers=False), Ideas(persistent_tiles=False)]


def critical_path_s(trace):
    end_s = [0.0] * len(trace)
    for operation in range(len(trace)):
        before = [end_s[other] for other in trace.waits_for(operation)]
        end_s[operation] = max([float(trace.start_s[operation]), *before]) + float(trace.duration_s[operation])
    return max(end_s)


@pytest.mark.parametrize("name", ["glm-5.1", "deepseek-v3.2"])
@pytest.mark.parametrize("ideas", MIXES)
@pytest.mark.parametrize("context, drafts", [(1000, 0), (65_536, 3)])
def test_critical_path_is_the_step(name, ideas, context, drafts):
    """Within 0.1 %: in the step a worker that is done early starts to stream weights with the others, in the trace at once."""
    card = load_card(name)
    made = step(card, NODE, context, drafts, ideas=ideas).total_s
    path = critical_path_s(decode_trace(card, NODE, context, drafts, ideas=ideas))
    assert 0.999 * made <= path <= made * (1 + 1e-9)


def test_several_steps_follow_each_other_while_the_cache_grows():
    trace = decode_trace(CARD, NODE, 2040, 3, steps=3, accepted_tokens=3.2)
    apart = sum(step(CARD, NODE, context, 3).total_s for context in (2040, 2043, 2046))
    assert critical_path_s(trace) == pytest.approx(apart, rel=1e-3)
    # 2,040 + 4 tokens are all attended to, 2,046 + 4 are not.
    logits = (trace.kind == Kind.COMPUTE) & (trace.name == trace.names.index("index-logits"))
    assert logits.sum() == 78 + 3


@pytest.mark.parametrize("drafts", [0, 3])
def test_bytes_and_ends(drafts):
    trace = decode_trace(CARD, NODE, 50_000, drafts)
    made = step(CARD, NODE, 50_000, drafts)
    sends, reduces = trace.rows(Kind.TRANSFER), trace.rows(Kind.COLLECTIVE)
    assert len(sends) == 7 * (78 + drafts)
    assert set(trace.source[sends]) == {0}
    assert Counter(trace.target[sends].tolist()) == {peer: 78 + drafts for peer in range(1, 8)}
    assert trace.size_bytes[sends].sum() == made.broadcast_bytes == 7 * 16_384 * (78 * (drafts + 1) + drafts)
    assert len(reduces) == 156 + 3 * drafts
    assert trace.size_bytes[reduces].sum() == made.all_reduce_bytes == 12_288 * (156 * (drafts + 1) + 3 * drafts)
    assert trace.groups == (tuple(range(8)),)
    assert (trace.ranks, trace.phases) == (8, ("decode",))


def test_each_layer_has_one_broadcast_and_two_all_reduces():
    trace = decode_trace(CARD, NODE, 50_000, 3)
    reduces, sends = trace.rows(Kind.COLLECTIVE), trace.rows(Kind.TRANSFER)
    per_layer = Counter(trace.layer[reduces].tolist())
    assert {layer: per_layer[layer] for layer in range(78)} == {layer: 2 for layer in range(78)}
    # The prediction layer's two a draft; the draft projection's belongs to no layer.
    assert (per_layer[78], per_layer[-1]) == (6, 3)
    assert Counter(trace.layer[sends].tolist()) == {**{layer: 7 for layer in range(78)}, 78: 21}


def test_who_computes_what():
    trace = decode_trace(CARD, NODE, 50_000)
    for name, gpus in (("index-logits", {0}), ("select", {0}), ("attention", set(range(1, 8))), ("down", set(range(8)))):
        assert set(trace.source[trace.name == trace.names.index(name)]) == gpus
    alike = decode_trace(CARD, NODE, 50_000, ideas=CONVENTIONAL)
    assert len(alike.rows(Kind.TRANSFER)) == 0
    assert set(alike.source[alike.name == alike.names.index("select")]) == set(range(8))


def test_attention_waits_for_the_ids_and_the_ids_for_the_selection():
    trace = decode_trace(CARD, NODE, 50_000)
    named = lambda operation: trace.names[trace.name[operation]]  # noqa: E731
    for operation in trace.rows(Kind.TRANSFER):
        assert [named(other) for other in trace.waits_for(operation)] == ["select"]
    for operation in range(len(trace)):
        if named(operation) == "attention":
            sends = [other for other in trace.waits_for(operation) if trace.kind[other] == Kind.TRANSFER]
            assert [trace.target[other] for other in sends] == [trace.source[operation]]


def test_faults_are_all_listed():
    with pytest.raises(InputError) as error:
        decode_trace(CARD, NODE, 100, 3, steps=10**9, accepted_tokens=5)
    assert len(error.value.faults) == 2
    with pytest.raises(InputError):
        decode_trace(CARD, NODE, 202_740, 3, steps=100, accepted_tokens=3.2)
