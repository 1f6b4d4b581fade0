"""Attention of any kind takes no less for more work, and is the sum over layers, whatever the card and the layout."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zcube.llm.cards import card_names, load_card
from zcube.llm.devices import load_device
from zcube.llm.kinds.layer import mean_piece_s, mean_time
from zcube.llm.kinds.of_model import layer_kinds

CASES = st.tuples(
    st.sampled_from(card_names()), st.sampled_from(["h200", "b200", "h20"]), st.sampled_from(["fp8", "bf16"]),
    st.sampled_from(["tp8", "dp8"]),
)  # fmt: skip
SLACK = 1 - 1e-12


def kinds_of(case):
    name, device, kv, layout = case
    return layer_kinds(load_card(name), load_device(device), kv, layout)


@settings(max_examples=60)
@given(CASES, st.lists(st.tuples(st.integers(1, 8192), st.integers(0, 100_000)), min_size=1, max_size=4), st.integers(1, 4096))
def test_prefill_grows_with_tokens_and_prefix(case, pieces, more):
    new, prefix = (list(column) for column in zip(*pieces))
    longer, later = [new[0] + more, *new[1:]], [prefix[0] + more, *prefix[1:]]
    for kind in kinds_of(case):
        # Sparse attention of contexts that all fit into its choice is another kernel.
        if kind.name in ("sparse", "shared") and max(np.add(new, prefix)) <= kind.attended_tokens:
            continue
        time_s = kind.prefill(new, prefix).total_s
        assert time_s > 0
        assert kind.prefill(longer, prefix).total_s >= time_s * SLACK
        assert kind.prefill(new, later).total_s >= time_s * SLACK
        parts = kind.prefill(new, prefix)
        assert parts.projection_s + parts.indexer_s <= parts.total_s * (1 + 1e-12)


@settings(max_examples=60)
@given(CASES, st.integers(1, 65_536), st.integers(0, 200_000))
def test_one_piece_takes_to_the_bit_what_a_list_of_one_does(case, new, prefix):
    kinds = kinds_of(case)
    for kind in kinds:
        assert kind.piece_s(new, prefix) == kind.prefill([new], [prefix]).total_s
    assert mean_piece_s(kinds, new, prefix) == mean_time(kinds, [new], [prefix]).total_s


@settings(max_examples=60)
@given(CASES, st.lists(st.integers(0, 200_000), min_size=1, max_size=12), st.integers(1, 50_000))
def test_decode_grows_with_contexts_and_requests(case, contexts, more):
    for kind in kinds_of(case):
        time_s = kind.step_s(contexts, 1)
        assert time_s > 0
        assert kind.step_s([contexts[0] + more, *contexts[1:]], 1) >= time_s * SLACK
        assert kind.step_s([*contexts, more], 1) >= time_s * SLACK
        fixed = kind.fixed_s(len(contexts)), kind.fixed_s(len(contexts) - 1)
        steps = kind.steps_s(np.array(contexts, dtype=np.int64), fixed, 1, 3)
        for step in range(3):
            assert steps[step] == pytest.approx(kind.step_s([context + step for context in contexts], 1), rel=1e-9)
