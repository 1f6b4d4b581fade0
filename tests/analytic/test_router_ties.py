"""Which of equal nodes the router takes."""

from __future__ import annotations

import pytest
from serving_by_hand import run_by_hand, settings_of, trace_of

NODES = {"prefill": {"nodes": 3, "prefix_cache_tokens": 0}, "decode": {"nodes": 2}}


@pytest.mark.parametrize(
    ("ties", "prefill", "decode"), [("lowest", [0, 0, 0, 0], [0, 0, 0, 0]), ("in-turn", [0, 1, 2, 0], [0, 1, 0, 1])]
)
def test_requests_that_meet_idle_nodes(ties, prefill, decode):
    # Each has left before the next one comes.
    run = run_by_hand(trace_of([0.0, 50.0, 100.0, 150.0], [1000] * 4, [2] * 4), settings_of(**NODES, router={"ties": ties}))
    assert run.journeys.prefill_node.tolist() == prefill
    assert run.journeys.decode_node.tolist() == decode


def test_what_is_not_equal_is_not_taken_in_turn():
    # The second prompt continues the first one, and finds it where that was computed.
    settings = settings_of(
        prefill={"nodes": 3, "prefix_cache_tokens": 100_000}, decode={"nodes": 2}, router={"ties": "in-turn"}
    )
    blocks = [list(range(10)), list(range(12)), list(range(50, 60))]
    run = run_by_hand(trace_of([0.0, 50.0, 100.0], [1000, 1250, 1000], [2] * 3, blocks, 100), settings)
    assert run.journeys.prefill_node.tolist() == [0, 0, 1]
