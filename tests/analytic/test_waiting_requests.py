"""Requests that wait for others arrive when those have ended, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from serving_by_hand import EXACT, SETUP_S, STEP_S, TOKEN_S, alone_s, kv_by_hand, run_by_hand, settings_of, trace_of

from zcube.errors import InputError
from zcube.serving.journey import ABSENT, COMPLETED, REJECTED
from zcube.serving.metrics import run_metrics


def life_s(tokens: int, output: int) -> float:
    """From arrival to last token of a request that is alone."""
    return tokens * TOKEN_S + SETUP_S + alone_s(kv_by_hand(tokens)) + (output - 1) * STEP_S


def test_a_turn_comes_its_delay_after_the_end_of_the_turn_before():
    trace = trace_of([0.0] * 3, [1000, 2000, 500], [11, 1, 5], after=[-1, 0, 1], delay_s=[0, 0.5, 2.0])
    life = run_by_hand(trace, settings_of()).journeys
    second = life_s(1000, 11) + 0.5
    third = second + life_s(2000, 1) + 2.0
    assert life.arrival_s == pytest.approx([0.0, second, third], **EXACT)
    assert life.finish_s[2] == pytest.approx(third + life_s(500, 5), **EXACT)
    assert (life.outcome == COMPLETED).all()


def test_a_turn_with_a_time_of_its_own_comes_no_earlier():
    end_s = life_s(1000, 11)
    for own_s, expected in ((end_s + 3, end_s + 3), (end_s / 2, end_s)):
        trace = trace_of([0.0, own_s], [1000, 500], [11, 2], after=[-1, 0])
        assert run_by_hand(trace, settings_of()).journeys.arrival_s[1] == pytest.approx(expected, **EXACT)


def test_others_do_not_wait_behind_one_that_waits():
    trace = trace_of([0.0, 0.0, 1.0], [1000, 500, 800], [11, 2, 2], after=[-1, 0, -1], delay_s=[0, 50, 0])
    life = run_by_hand(trace, settings_of()).journeys
    assert life.arrival_s == pytest.approx([0.0, life_s(1000, 11) + 50, 1.0], **EXACT)


def test_two_may_wait_for_one():
    trace = trace_of([0.0] * 3, [1000, 500, 500], [11, 2, 2], after=[-1, 0, 0], delay_s=[0, 1, 2])
    life = run_by_hand(trace, settings_of()).journeys
    end_s = life_s(1000, 11)
    assert life.arrival_s == pytest.approx([0.0, end_s + 1, end_s + 2], **EXACT)


def test_what_waits_for_a_rejected_request_comes_all_the_same():
    too_long = 10_000_000
    trace = trace_of([0.0, 0.0], [too_long, 500], [1, 2], after=[-1, 0], delay_s=[0, 4])
    life = run_by_hand(trace, settings_of()).journeys
    assert life.outcome.tolist() == [REJECTED, COMPLETED]
    assert life.arrival_s.tolist() == [0.0, 4.0]


def test_what_waits_beyond_the_horizon_is_absent():
    trace = trace_of([0.0, 0.0], [1000, 500], [11, 2], after=[-1, 0], delay_s=[0, 100])
    run = run_by_hand(trace, settings_of(load={"horizon_s": 50.0}))
    assert run.journeys.outcome.tolist() == [COMPLETED, ABSENT]
    assert run_metrics(run)["requests"]["offered"] == 1


def test_a_closed_loop_takes_what_may_come():
    # One place: the second session's first turn goes before the first session's second, whose user still thinks.
    trace = trace_of([0.0, 0.0, 0.0], [1000, 500, 800], [11, 2, 2], after=[-1, 0, -1], delay_s=[0, 50, 0])
    life = run_by_hand(trace, settings_of(load={"mode": "closed", "concurrency": 1})).journeys
    end_s = life_s(1000, 11)
    assert life.arrival_s == pytest.approx([0.0, end_s + 50, end_s], **EXACT)


def test_a_closed_loop_leaves_places_free_where_none_may_come_and_fills_them_again():
    trace = trace_of([0.0] * 4, [1000] * 4, [11] * 4, after=[-1, 0, 0, 0], delay_s=[0, 1, 1, 1])
    life = run_by_hand(trace, settings_of(load={"mode": "closed", "concurrency": 2})).journeys
    end_s = life_s(1000, 11)
    assert life.arrival_s[1:3] == pytest.approx([end_s + 1] * 2, **EXACT)
    # The last one waits for a place.
    assert life.arrival_s[3] == pytest.approx(life.finish_s[1:3].min(), **EXACT)


def test_prefix_hits_of_a_session_are_bounded_by_what_its_prompts_share():
    # 16 of 24 tokens and 24 of 40, whole blocks of 8, were said before; of the last prompt at most 15 of 16 tokens.
    blocks = [[0, 1], [0, 1, 2], [0, 1, 2, 3, 4], [0, 1]]
    trace = trace_of(
        [0.0] * 4, [16, 24, 40, 16], [1] * 4, blocks=blocks, block_tokens=8, after=[-1, 0, 1, 2], delay_s=[0, 1, 1, 1]
    )
    bound = trace.summary().prefix_hit_bound
    assert bound == pytest.approx((16 + 24 + 15) / 96)
    assert run_metrics(run_by_hand(trace, settings_of()))["prefix_cache"]["hit_fraction"] == pytest.approx(bound)


def test_a_partial_block_bounds_nothing():
    trace = trace_of([0.0, 1.0], [12, 12], [1, 1], blocks=[[0, 1], [0, 1]], block_tokens=8)
    assert trace.summary().prefix_hit_bound == pytest.approx(8 / 24)
    assert trace_of([0.0], [12], [1]).summary().prefix_hit_bound is None


def test_chains_are_cut_and_scaled_with_their_trace():
    trace = trace_of([0.0, 0.0, 4.0, 8.0], [10] * 4, [1] * 4, after=[-1, 0, -1, 1], delay_s=[0, 5, 0, 6])
    assert trace.head(2).after.tolist() == [-1, 0]
    faster = trace.at_rate(1.0)
    assert faster.arrival_s.tolist() == [0.0, 0.0, 2.0, 4.0]
    # Users think as long as before.
    assert faster.delay_s.tolist() == [0, 5, 0, 6]
    assert trace.summary().waiting_requests == 2


def test_sessions_that_all_start_at_once_are_spaced_evenly():
    blocks = [[1], [2], [3], [4], [5]]
    trace = trace_of(
        [0.0] * 5,
        [8, 9, 10, 11, 12],
        [1] * 5,
        blocks=blocks,
        block_tokens=16,
        after=[-1, -1, 0, -1, 1],
        delay_s=[0, 0, 7, 0, 8],
    )
    spaced = trace.at_rate(0.5)
    # Five requests in ten seconds, three sessions: starts at 0, 5 and 10.
    assert spaced.arrival_s.tolist() == [0.0, 0.0, 5.0, 5.0, 10.0]
    assert spaced.input_tokens.tolist() == [8, 10, 9, 12, 11]
    assert spaced.after.tolist() == [-1, 0, -1, 2, -1]
    assert spaced.delay_s.tolist() == [0, 7, 0, 8, 0]
    assert [spaced.blocks(i).tolist() for i in range(5)] == [[1], [3], [2], [5], [4]]


@pytest.mark.parametrize(
    ("after", "delay_s", "named"),
    [([0, -1], [0, 0], "after"), ([-1, 1], [0, 0], "after"), ([-2, -1], [0, 0], "after"), ([-1, 0], [0, -1], "delay_s"),
     ([-1, 0], [0, np.nan], "delay_s"), ([-1], [0, 0], "after")],
)  # fmt: skip
def test_chains_that_cannot_be_are_refused(after, delay_s, named):
    with pytest.raises(InputError, match=named):
        trace_of([0.0, 1.0], [1, 1], [1, 1], after=after, delay_s=delay_s)
