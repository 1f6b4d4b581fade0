"""Whatever the context, drafts and mix of ideas: the decode step is monotonic and its time is accounted for."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zcube.llm.cards import load_card
from zcube.llm.decode_node.figures import Ideas, load_node
from zcube.llm.decode_node.pipeline import Setting
from zcube.llm.decode_node.step import step

NODE = load_node("tilert-b200")
CARDS = st.sampled_from([load_card("glm-5.1"), load_card("deepseek-v3.2")])
CONTEXTS = st.one_of(st.integers(0, 4096), st.integers(0, 160_000))
MIXES = st.builds(Ideas, st.booleans(), st.booleans(), st.booleans())
IDEAS = ("persistent_tiles", "heterogeneous_workers", "overlap")


@given(CARDS, CONTEXTS, CONTEXTS, st.integers(0, 3), MIXES)
def test_longer_context_is_never_faster(card, one, other, drafts, ideas):
    short, long = sorted((one, other))
    assert step(card, NODE, short, drafts, ideas=ideas).total_s <= step(card, NODE, long, drafts, ideas=ideas).total_s * (
        1 + 1e-12
    )


@given(CARDS, CONTEXTS, st.integers(1, 31), MIXES)
def test_more_query_tokens_are_never_faster(card, context, queries, ideas):
    fewer, more = (step(card, NODE, context, query_tokens=tokens, ideas=ideas).total_s for tokens in (queries, queries + 1))
    assert fewer <= more * (1 + 1e-12)


@given(CARDS, CONTEXTS, st.integers(0, 3), MIXES, st.sampled_from(IDEAS))
def test_no_idea_slows_any_mix_of_the_others(card, context, drafts, ideas, idea):
    without, used = (step(card, NODE, context, drafts, ideas=replace(ideas, **{idea: on})).total_s for on in (False, True))
    assert used <= without * (1 + 1e-12)


@given(CARDS, CONTEXTS, st.integers(0, 3), MIXES)
def test_every_worker_accounts_for_the_whole_step(card, context, drafts, ideas):
    made = step(card, NODE, context, drafts, ideas=ideas)
    forward, draft = Setting(card, NODE, ideas, context, drafts + 1), Setting(card, NODE, ideas, context, 1)
    reduce_s = 2 * card.layers * forward.all_reduce_s() + 3 * drafts * draft.all_reduce_s()
    broadcast_s = card.layers * forward.broadcast_s() + drafts * draft.broadcast_s() if ideas.heterogeneous_workers else 0.0
    assert sorted(gpu for worker in made.workers for gpu in worker.gpus) == list(range(8))
    for worker in made.workers:
        assert worker.total_s == pytest.approx(made.total_s, rel=1e-9)
        assert worker.exposed_communication_s + worker.overlapped_communication_s == pytest.approx(reduce_s + broadcast_s)
        assert worker.waiting_s >= 0


@given(CARDS, CONTEXTS, st.integers(0, 3), st.booleans())
def test_workers_that_are_alike_and_do_not_overlap_expose_all_communication(card, context, drafts, persistent):
    (worker,) = step(card, NODE, context, drafts, ideas=Ideas(persistent, False, False)).workers
    assert worker.overlapped_communication_s == pytest.approx(0, abs=1e-12)
    assert worker.waiting_s == pytest.approx(0, abs=1e-9)


@given(st.floats(0, 1), st.floats(0, 1), CONTEXTS)
def test_more_overlap_is_never_slower(one, other, context):
    card = load_card("glm-5.1")
    little, much = (NODE.model_copy(update={"overlap": value}) for value in sorted((one, other)))
    assert step(card, much, context).total_s <= step(card, little, context).total_s * (1 + 1e-12)
