"""What couples the network to the engine, by hand: steps that wait for pushes, KV memory, decode room asked first."""

from __future__ import annotations

import pytest
from serving_by_hand import (
    SETUP_S,
    STEP_S,
    TOKEN_S,
    alone_s,
    fabric_of,
    index_by_hand,
    kv_by_hand,
    latents_by_hand,
    run_by_hand,
    settings_of,
    trace_of,
)

from zcube.network.flow_model import ideal_model
from zcube.serving.journey import UNFINISHED
from zcube.serving.metrics import run_metrics

EXACT = {"rel": 1e-9, "abs": 1e-12}


def close(value, expected) -> None:
    assert value == pytest.approx(expected, **EXACT)


def slow_alone_s(size_bytes: float, gbps: float) -> float:
    return size_bytes * 8 / (gbps * 1e9) + 1e-6


CHUNKS_BYTES = [latents_by_hand(10), latents_by_hand(10), latents_by_hand(10), latents_by_hand(5) + index_by_hand(35)]


@pytest.mark.parametrize("gbps", [400.0, 1.0])
def test_a_prompt_alone_takes_its_computations_and_its_transfers_one_after_the_other(gbps):
    settings = settings_of(prefill={"chunk_tokens": 640}, kv={"blocking": "step"})
    model = ideal_model(fabric_of("roft-256").with_nic_rate(gbps))
    life = run_by_hand(trace_of([0.0], [2240], [3]), settings, model=model).journeys
    pushed_s = sum(SETUP_S + slow_alone_s(size, gbps) for size in CHUNKS_BYTES)
    close(life.ttft_s()[0], 2240 * TOKEN_S + pushed_s)
    close(life.kv_bytes[0], kv_by_hand(2240))
    close(life.e2e_s()[0], life.ttft_s()[0] + 2 * STEP_S)


def test_a_prompt_pushed_at_its_end_holds_up_only_the_one_behind_it():
    pool, trace = {"chunk_tokens": 640}, trace_of([0.0, 0.0], [1280, 640], [2, 2])
    settings = settings_of(prefill=pool, kv={"blocking": "step", "push": "after-prefill"})
    life = run_by_hand(trace, settings).journeys
    pushed_s = [SETUP_S + alone_s(kv_by_hand(tokens)) for tokens in (1280, 640)]
    close(life.ttft_s()[0], 1280 * TOKEN_S + pushed_s[0])
    close(life.prefill_start_s[1], life.first_token_s[0])
    close(life.ttft_s()[1], 1920 * TOKEN_S + sum(pushed_s))


def test_prompts_that_share_an_iteration_wait_for_the_last_of_their_pushes():
    trace = trace_of([0.0, 0.0, 0.0], [640, 320, 640], [2, 2, 2])
    settings = settings_of(prefill={"chunk_tokens": 960}, decode={"nodes": 2}, kv={"blocking": "step"})
    life = run_by_hand(trace, settings).journeys
    # Both leave GPU 0 of the prefill node and share its NIC.
    together_s = SETUP_S + alone_s(kv_by_hand(640) + kv_by_hand(320))
    close(life.prefill_start_s[2], 960 * TOKEN_S + together_s)


def test_a_push_that_waits_for_room_has_not_begun():
    # The second prompt finds no room before the first one's answer of 101 tokens ends: the node computes the third meanwhile.
    trace = trace_of([0.0, 0.0, 0.0], [640, 640, 640], [101, 2, 2])
    settings = settings_of(prefill={"chunk_tokens": 640}, decode={"max_batch": 1}, kv={"blocking": "step"})
    life = run_by_hand(trace, settings).journeys
    close(life.prefill_start_s[2], life.prefill_end_s[1])
    close(life.granted_s[1], life.finish_s[0])
    close(life.kv_end_s[1], life.granted_s[1] + SETUP_S + alone_s(kv_by_hand(640)))


def test_bytes_of_requests_cut_short_by_the_horizon_are_those_put_on_the_network():
    # Of four chunks the first two have been pushed at 0.15 s, 0.37 ms after 0.064 and 0.128 s.
    trace, settings = trace_of([0.0], [2240], [3]), settings_of(prefill={"chunk_tokens": 640}, load={"horizon_s": 0.15})
    run = run_by_hand(trace, settings)
    assert run.journeys.outcome.tolist() == [UNFINISHED]
    close(run.journeys.kv_bytes[0], latents_by_hand(20))
    assert run_metrics(run)["bytes"]["kv"] == round(run.journeys.kv_bytes.sum())
