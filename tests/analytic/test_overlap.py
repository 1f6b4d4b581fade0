"""Exchanges beside computation in the order of DeepSeek's profile: stages by hand, and a run that takes what they do."""

from __future__ import annotations

import pytest
from serving_by_hand import ConstantTimes, close, run_by_hand, settings_of, trace_of

from zcube.errors import InputError
from zcube.llm.layer_times import DecodeLayer, PrefillLayer
from zcube.serving.overlap import stages_of

LAYERS = 75


@pytest.mark.parametrize(
    ("phase", "exchange_s", "expected_s"),
    [
        # Nothing to wait for: all computation, with what runs beside nothing.
        ("prefill", 0.0, 14.0 + 1.0),
        ("decode", 0.0, 14.0 + 1.0),
        # A microbatch's dispatch takes 4 and its combine 8: attention 3, experts 2.5, shared 1.5.
        ("prefill", 24.0, 8.0 + 4.0 + 4.0 + 8.0 + 1.0),
        ("decode", 24.0, 2 * (4.0 + 2.5 + 8.0) + 1.0),
        # Dispatch 1, combine 2: hidden in prefill, in decode longer than half of attention.
        ("prefill", 6.0, 14.0 + 1.0),
        ("decode", 6.0, 2 * (3.0 + 2.5 + 2.0) + 1.0),
    ],
)
def test_stages_by_hand(phase, exchange_s, expected_s):
    stages = stages_of(phase, 1, (6.0, 5.0, 3.0), 15.0, 1 / 3)
    close(stages.seconds(exchange_s), expected_s)
    close(stages.part(0.25).seconds(exchange_s / 4), expected_s / 4)


def test_exchanges_take_sms_from_what_runs_beside_them():
    stages = stages_of("prefill", 2, (3.0, 2.5, 1.5), 15.0, 1 / 3, 0.2)
    close(stages.seconds(0.0), 14.0 / 0.8 + 1.0)


class LayeredTimes(ConstantTimes):
    """Constant times, of which layers are told apart."""

    def prefill_layer(self, new_tokens, prefix_tokens):
        return PrefillLayer(4e-4, 1e-4, 0.0, 3e-4, 1e-4, 0.0)

    def decode_layer(self, context_tokens, *, query_tokens=1, ep_nodes=1):
        assert 1 <= len(context_tokens) <= 8 and ep_nodes == 2
        return DecodeLayer(4e-5, 3e-5, 1e-5, 0.0, 0.0)


def served(**overlap):
    settings = settings_of(
        prefill={"nodes": 2, "nodes_per_instance": 2, "layout": "dp8", "chunk_tokens": 1024, **overlap},
        decode={"nodes": 2, "nodes_per_instance": 2, "expert_overlap": True, "expert_stages": bool(overlap)},
        kv={"rank_map": "dp8-dp8"},
    )
    return run_by_hand(trace_of([0.0] * 32, [64] * 32, [40] * 32), settings, LayeredTimes(1e-4, 0.01))


def test_a_run_takes_what_its_stages_do():
    # Few bytes: exchanges are hidden, and what SMs are missing shows: 75 layers of 0.8 ms beside them.
    longer, staged, narrower = served(), served(expert_stages=True), served(expert_stages=True, expert_sm_share=0.2)
    first_s = [run.journeys.prefill_end_s.min() for run in (longer, staged, narrower)]
    close(first_s[1], first_s[0])
    close(first_s[2] - first_s[0], LAYERS * 8e-4 * (1 / 0.8 - 1))
    assert staged.journeys.finish_s.max() == pytest.approx(longer.journeys.finish_s.max(), rel=1e-3)


@pytest.mark.parametrize(
    "pools",
    [
        {"prefill": {"expert_stages": True, "expert_overlap": False}},
        {"prefill": {"expert_sm_share": 0.1}},
        {"decode": {"expert_stages": True}},
    ],
)
def test_stages_that_nothing_overlaps_are_refused(pools):
    with pytest.raises((InputError, ValueError), match="expert_"):
        settings_of(**pools)
