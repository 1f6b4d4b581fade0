"""Whatever the layouts: every decode rank receives exactly one copy, from the group that holds the request."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zcube.llm.rankmap import resolve_rank_map

SIZES = st.sampled_from((1, 2, 4, 8))


@given(prefill_tp=SIZES, decode_tp=SIZES, prefill_cp=SIZES, layers=st.integers(1, 200), data=st.data())
def test_every_decode_rank_gets_one_copy(prefill_tp, decode_tp, prefill_cp, layers, data):
    if prefill_tp * prefill_cp > 8:
        prefill_cp = 8 // prefill_tp
    split = prefill_cp > 1 and data.draw(st.booleans())
    rule = resolve_rank_map(prefill_tp, decode_tp, prefill_cp, split, layers)
    source = data.draw(st.integers(0, rule.prefill_dp - 1))
    target = data.draw(st.integers(0, rule.decode_dp - 1))
    received: Counter[int] = Counter()
    for send in rule.sends(source, target):
        received[send.target_rank] += send.fraction
        assert send.source_rank // (prefill_tp * prefill_cp) == source
    assert sorted(received) == list(range(target * decode_tp, (target + 1) * decode_tp))
    assert list(received.values()) == pytest.approx([1.0] * decode_tp)
