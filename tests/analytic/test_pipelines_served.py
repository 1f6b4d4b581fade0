"""Pipelines in a serving run, worked out by hand: bubbles, activations between stages, what is not hidden."""

import pytest
from serving_by_hand import IDEAL_LATENCY_S, NIC_BYTES_PER_S, STEP_S, TOKEN_S, run_by_hand, settings_of, trace_of

from zcube.llm.cards import load_card
from zcube.llm.stages import stage_bytes

HIDDEN = load_card("glm-5.1").hidden
STAGES = {"gpus_per_node": 16, "pipeline_stages": 2, "layout": "tp8"}


def sent_s(tokens):
    return stage_bytes(HIDDEN, tokens, 8) / NIC_BYTES_PER_S + IDEAL_LATENCY_S


@pytest.mark.parametrize("parts", [1, 2, 4])
def test_an_iteration_of_two_stages(parts):
    pool = {**STAGES, "microbatches": parts, "nodes": 2}
    decode = {"layout": "tp8"}
    run = run_by_hand(trace_of([0.0], [640], [2]), settings_of(prefill=pool, decode=decode, kv={"rank_map": "tp8-tp8"}))
    busy_s = 640 * TOKEN_S * (parts + 1) / (2 * parts)
    assert run.journeys.prefill_end_s[0] == pytest.approx(busy_s + sent_s(640) / parts, rel=1e-9)
    # Every GPU of the first stage sends its share once.
    assert sorted(run.flows.size_bytes[run.flows.target < 16].tolist()) == [stage_bytes(HIDDEN, 640, 8)] * 8


def test_decode_steps_of_one_request_go_through_both_stages():
    pool = {**STAGES, "nodes": 2, "expert_burst_steps": 1}
    asked = settings_of(prefill={"layout": "tp8"}, decode=pool, kv={"rank_map": "tp8-tp8"})
    life = run_by_hand(trace_of([0.0], [64], [9]), asked).journeys
    assert life.finish_s[0] - life.kv_end_s[0] == pytest.approx(8 * (STEP_S + sent_s(1)), rel=1e-9)
