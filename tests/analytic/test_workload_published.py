"""Published traces have their published figures, and summaries their closed forms."""

import numpy as np
import pytest

from zcube.errors import InputError
from zcube.workload.readers import read_requests
from zcube.workload.requests import RequestTrace


def trace(blocks=((),), arrival_s=None, **changes):
    count = np.array([len(row) for row in blocks])
    fields = {
        "name": "t",
        "source": "a test",
        "arrival_s": np.arange(len(blocks), dtype=float) if arrival_s is None else arrival_s,
        "input_tokens": np.maximum(count * 512, 1),
        "output_tokens": np.ones(len(blocks), dtype=int),
        "block_tokens": 512,
        "first_block": np.concatenate(([0], np.cumsum(count))),
        "block_id": np.array([block for row in blocks for block in row], dtype=int),
        "session": np.full(len(blocks), -1),
    }
    return RequestTrace(**{**fields, **changes})


def test_mooncake_conversation_trace(shared_data):
    requests = read_requests(shared_data / "mooncake" / "conversation_trace.jsonl")
    summary = requests.summary()
    assert summary.requests == 12_031
    assert summary.input_tokens_mean == pytest.approx(12_035, abs=0.5)
    assert summary.input_tokens_p50 == 6_909
    assert summary.input_tokens_p99 == pytest.approx(85_401, abs=1)
    assert requests.input_tokens.max() == 126_195
    assert summary.output_tokens_mean == pytest.approx(343, abs=0.5)
    assert summary.output_tokens_p50 == 350
    # The published figure is rounded to tens.
    assert summary.output_tokens_p99 == pytest.approx(1_120, abs=5)
    assert summary.ideal_prefix_hit_fraction == pytest.approx(0.366, abs=0.0005)
    assert requests.block_tokens == 512
    # Spreading reaches into the gap behind the last of the ticks, which are about 3 s apart.
    assert 3_537 - 0.01 <= summary.duration_s < 3_537 + 3.01
    assert np.unique(requests.arrival_s).size == 12_031


def test_azure_2023_conversation_trace(shared_data):
    requests = read_requests(shared_data / "azure2023" / "AzureLLMInferenceTrace_conv.csv")
    summary = requests.summary()
    assert summary.requests == 19_366
    assert summary.input_tokens_mean == pytest.approx(1_155, abs=0.5)
    assert (summary.input_tokens_p50, summary.input_tokens_p99) == (1_020, 4_142)
    assert requests.input_tokens.max() == 14_050
    assert summary.output_tokens_mean == pytest.approx(211, abs=0.5)
    assert (summary.output_tokens_p50, summary.output_tokens_p99) == (129, 601)
    assert summary.duration_s == pytest.approx(58 * 60, abs=60)
    assert summary.ideal_prefix_hit_fraction is None


def test_hit_fraction_counts_the_leading_run_of_blocks_of_earlier_requests():
    # Second: 2 of 3 hit. Third: block 9 is new, so block 1 behind it does not count. First: nothing is earlier.
    requests = trace(blocks=((0, 1), (0, 1, 2), (9, 1), ()))
    assert requests.summary().ideal_prefix_hit_fraction == pytest.approx(2 / 7)


def test_a_block_repeated_within_one_request_is_no_hit():
    assert trace(blocks=((5, 5),)).summary().ideal_prefix_hit_fraction == 0


def test_blocks_and_head():
    requests = trace(blocks=((0, 1), (), (0, 2, 3)))
    assert requests.blocks(1).tolist() == []
    assert requests.blocks(2).tolist() == [0, 2, 3]
    short = requests.head(2)
    assert (len(short), short.block_id.tolist(), short.first_block.tolist()) == (2, [0, 1], [0, 2, 2])
    assert len(requests.head(9)) == 3
    with pytest.raises(IndexError):
        requests.blocks(3)
    with pytest.raises(InputError, match="at least 1"):
        requests.head(0)


def test_at_rate_scales_time_linearly():
    requests = trace(blocks=((), (), (), ()), arrival_s=np.array([0.0, 1.0, 1.0, 8.0]), block_tokens=0)
    faster = requests.at_rate(2.0)
    assert faster.arrival_s.tolist() == [0.0, 0.25, 0.25, 2.0]
    assert len(faster) / faster.duration_s == 2.0


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_at_rate_refuses_what_is_no_rate(rate):
    with pytest.raises(InputError, match="finite rate"):
        trace(blocks=((), ()), block_tokens=0).at_rate(rate)


def test_at_rate_needs_two_arrival_times():
    with pytest.raises(InputError, match="one arrival time"):
        trace(blocks=((), ()), arrival_s=np.zeros(2), block_tokens=0).at_rate(1.0)


def test_every_broken_rule_of_a_trace_is_named():
    with pytest.raises(InputError) as caught:
        trace(
            blocks=((0,), (1,)),
            arrival_s=np.array([1.0, np.nan]),
            input_tokens=np.array([0, 5]),
            output_tokens=np.array([1, 10**8]),
            block_tokens=0,
            first_block=np.array([0, 3, 2]),
            block_id=np.array([-4, 1]),
            session=np.array([-2, 0]),
        )
    named = " ".join(fault.where for fault in caught.value.faults)
    for key in ("arrival_s", "input_tokens", "output_tokens", "block_tokens", "first_block", "block_id", "session"):
        assert key in named


@pytest.mark.parametrize(
    "changes",
    [
        {"arrival_s": np.empty(0)},
        {"session": np.zeros(3, dtype=int)},
        {"first_block": np.zeros(2, dtype=int)},
        {"input_tokens": np.ones((2, 1), dtype=int)},
        {"input_tokens": np.array([1.5, 2.0])},
        {"block_id": np.array(["a"])},
    ],
)
def test_wrong_shapes_and_types_are_refused(changes):
    with pytest.raises(InputError):
        trace(blocks=((), ()), **changes)


def test_arrays_are_read_only_and_the_callers_stay_writable():
    arrival_s = np.array([0.0, 1.0])
    requests = trace(blocks=((), ()), arrival_s=arrival_s)
    with pytest.raises(ValueError, match="read-only"):
        requests.arrival_s[0] = 5.0
    arrival_s[1] = 2.0


def test_the_bound_on_prefix_hits_is_that_of_a_cache_that_forgets_nothing(shared_data):
    requests = read_requests(shared_data / "mooncake" / "conversation_trace.jsonl", max_requests=4_000)
    seen, saved = set(), 0
    for i, tokens in enumerate(requests.input_tokens.tolist()):
        blocks = requests.blocks(i).tolist()
        whole = blocks[: tokens // 512]
        held = next((place for place, block in enumerate(whole) if block not in seen), len(whole))
        saved += min(512 * held, tokens - 1)
        seen.update(blocks)
    assert requests.summary().prefix_hit_bound == saved / requests.input_tokens.sum()
    assert 0.1 < requests.summary().prefix_hit_bound < 0.5
