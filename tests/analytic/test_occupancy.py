"""How full the resources of a run were, and what therefore limits it, from runs that can be worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from serving_by_hand import (
    NIC_BYTES_PER_S,
    SETUP_S,
    STEP_S,
    TOKEN_S,
    ConstantTimes,
    alone_s,
    kv_by_hand,
    run_by_hand,
    settings_of,
    trace_of,
)

from zcube.network.protocol import LinkTable
from zcube.serving.metrics import run_metrics
from zcube.serving.occupancy import link_occupancy
from zcube.verdict.limits import THRESHOLDS, limit_sentence, limits

COUNT = 400


def metrics_of(
    gap_s: float, *, input_tokens: int = 100, output_tokens: int = 11, compute: ConstantTimes | None = None, **tables: Any
) -> dict[str, Any]:
    trace = trace_of(np.arange(COUNT) * gap_s, [input_tokens] * COUNT, [output_tokens] * COUNT)
    settings = settings_of(
        **{
            "measure": {"warm_up_fraction": 0.25, "cool_down_fraction": 0.0, "least_filled": 0.0, "least_turnovers": 0.0},
            **tables,
        }
    )
    return run_metrics(run_by_hand(trace, settings, compute))


def full(metrics: dict[str, Any], nodes: tuple[int, int] = (1, 1)) -> list[str]:
    return limits(metrics, nodes)["full"]


def test_below_capacity_every_share_is_a_rate_times_a_time():
    gap_s, tokens, answer = 0.04, 100, 11
    metrics = metrics_of(gap_s)
    used = metrics["occupancy"]
    assert used["prefill"]["busy"] == pytest.approx(tokens * TOKEN_S / gap_s, rel=1e-2)
    # From the grant of room, at the start of prefill, to the last token. A gap is four steps, so that nobody waits for one.
    held_s = tokens * TOKEN_S + SETUP_S + alone_s(kv_by_hand(tokens)) + (answer - 1) * STEP_S
    assert used["decode"]["batch"] * 128 == pytest.approx(held_s / gap_s, rel=1e-2)
    assert used["decode"]["in_transfer"] == pytest.approx((SETUP_S + alone_s(kv_by_hand(tokens))) / held_s, rel=1e-2)
    assert used["decode"]["kv_memory"] * 4e6 == pytest.approx(used["decode"]["batch"] * 128 * (tokens + answer))
    # GPU 0 of the prefill node sends everything; the eight GPUs of the decode node receive in turn.
    assert used["busiest_nic"] == pytest.approx(kv_by_hand(tokens) / NIC_BYTES_PER_S / gap_s, rel=1e-2)
    assert used["busiest_nic_port"] == used["busiest_nic"] and used["busiest_switch_link"] == 0.0
    for queue in (used["prefill"], used["decode"]):
        assert queue["waiting"] == 0.0 and queue["growth"] == 0.0
    assert used["decode"]["waited"] == 0.0
    assert full(metrics) == []
    assert limit_sentence("it", metrics, limits(metrics, (1, 1))).startswith("Nothing limits it, the load is below capacity: ")


def test_prefill_limits_where_prompts_come_faster_than_they_are_computed():
    # A prompt takes 10 ms, one comes every 8: a fifth of the arrivals stays, but for those that fill an iteration.
    metrics = metrics_of(0.008, prefill={"chunk_tokens": 100})
    used = metrics["occupancy"]["prefill"]
    assert used["busy"] == pytest.approx(1.0)
    assert used["growth"] == pytest.approx(0.2, rel=0.05)
    # Arrivals k wait k (10 - 8) ms; in the window k runs from 100 to 400.
    assert used["waiting"] == pytest.approx(250 * 0.2, rel=0.05)
    assert full(metrics) == ["prefill"]
    assert limit_sentence("it", metrics, limits(metrics, (1, 1))).startswith("Prefill limits it: prefill busy 100 % ")


def test_a_batch_that_is_full_limits_and_so_does_memory():
    # An answer holds its place 100 steps = 1 s and more; 8 places serve fewer than 8 a second, 20 come.
    few_places = metrics_of(0.05, output_tokens=101, decode={"max_batch": 8})
    used = few_places["occupancy"]["decode"]
    assert used["batch"] == pytest.approx(1.0, abs=0.02) and used["waited"] == 1.0
    assert used["growth"] == pytest.approx(1 - 8 / 20, abs=0.05)
    assert full(few_places) == ["decode"]
    # Memory for as many requests of 201 tokens instead.
    little_memory = metrics_of(0.05, output_tokens=101, decode={"kv_capacity_tokens": 8 * 201})
    used = little_memory["occupancy"]["decode"]
    assert used["kv_memory"] == pytest.approx(1.0, abs=0.02) and used["batch"] < 0.1
    assert full(little_memory) == ["kv_memory"]
    assert "KV memory limits it" in limit_sentence("it", little_memory, limits(little_memory, (1, 1)))


def test_memory_that_one_more_request_does_not_fit_in_limits_too():
    # Three requests and nine tenths of another: 3 / 3.9 full, yet nobody gets in.
    metrics = metrics_of(0.05, output_tokens=101, decode={"kv_capacity_tokens": int(3.9 * 201)})
    assert metrics["occupancy"]["decode"]["kv_memory"] == pytest.approx(3 / 3.9, abs=0.02)
    assert full(metrics) == ["kv_memory"]


@pytest.mark.parametrize("load", [0.5, 0.95, 1.3])
def test_a_nic_limits_from_the_threshold_on(load):
    # 1,024 tokens with a ten-thousandth of the time: the NIC of the prefill node's GPU 0 is what there is.
    size_bytes = kv_by_hand(1024)
    metrics = metrics_of(
        size_bytes / NIC_BYTES_PER_S / load, input_tokens=1024, output_tokens=1, compute=ConstantTimes(1e-8),
        kv={"push": "after-prefill", "setup_s": 0.0},
    )  # fmt: skip
    assert metrics["occupancy"]["busiest_nic"] == pytest.approx(min(load, 1.0), rel=1e-2)
    assert full(metrics) == (["nic"] if load >= THRESHOLDS.full else [])
    found = limits(metrics, (1, 1))
    # At 1.3 transfers share the NIC and last ever longer; the ideal core has no fabric that could add to it.
    assert found["slowing"] == (["nic"] if load > 1 else [])
    assert found["fabric_part"] == pytest.approx(0.0, abs=1e-9)


def test_two_nodes_are_busy_half_the_time_each_counted_once_a_prompt():
    # Two prompts at once in chunks of one iteration: their spans overlap and count once.
    trace = trace_of(np.repeat(np.arange(100) * 0.1, 2), [100] * 200, [1] * 200)
    metrics = run_metrics(
        run_by_hand(
            trace,
            settings_of(
                measure={"warm_up_fraction": 0.1, "cool_down_fraction": 0.0, "least_filled": 0.0, "least_turnovers": 0.0}
            ),
        )
    )
    assert metrics["occupancy"]["prefill"]["busy"] == pytest.approx(200 * TOKEN_S / 0.1, rel=0.02)
    settings = settings_of(
        prefill={"nodes": 2},
        measure={"warm_up_fraction": 0.1, "cool_down_fraction": 0.0, "least_filled": 0.0, "least_turnovers": 0.0},
    )
    spread = run_metrics(run_by_hand(trace, settings))
    assert spread["occupancy"]["prefill"]["busy"] == pytest.approx(100 * TOKEN_S / 0.1, rel=0.02)


def test_without_a_window_nothing_is_said_to_limit():
    trace = trace_of(np.arange(20) * 0.001, [100] * 20, [11] * 20)
    metrics = run_metrics(run_by_hand(trace, settings_of()))
    found = limits(metrics, (1, 1))
    assert found["full"] is None and found["slowing"] is None
    assert "is not told: " in limit_sentence("it", metrics, found)


def test_a_nic_is_all_ports_of_a_gpu_one_direction_and_nvlink_is_none():
    def table(rows: list[tuple[str, str, str, float, float]]) -> LinkTable:
        source, target, kind, gbps, size = zip(*rows, strict=True)
        leaves, enters = (np.array([name.startswith("s") for name in names]) for names in (source, target))
        capacity = np.array(gbps) * 1e9
        return LinkTable(
            source, target, kind, capacity, np.array(size) * 1e9 / 8, np.zeros(len(rows), dtype=int), leaves, enters
        )

    links = table(
        [
            ("s0g0", "A0", "nic", 200.0, 200.0), ("s0g0", "B0", "nic", 200.0, 100.0),
            ("A0", "s0g0", "nic", 200.0, 20.0), ("B0", "s0g0", "nic", 200.0, 60.0),
            ("s0g1", "A0", "nic", 0.0, 0.0), ("A0", "B0", "switch", 400.0, 300.0), ("s0g0", "nvswitch0", "nvlink", 1.0, 1.0),
        ]
    )  # fmt: skip
    assert link_occupancy(links, 1.0) == {
        "busiest_nic": pytest.approx(300 / 400),
        "busiest_nic_port": pytest.approx(1.0),
        "busiest_switch_link": pytest.approx(300 / 400),
    }
    assert link_occupancy(links, 0.0)["busiest_nic"] == 0.0


BLOCKING = {"kv": {"push": "after-prefill", "blocking": "step", "setup_s": 0.0}, "prefill": {"chunk_tokens": 1024}}


@pytest.mark.parametrize(("token_s", "limit"), [(1e-6, ["pushes"]), (3e-6, ["prefill", "pushes"]), (3e-5, ["prefill"])])
def test_steps_that_wait_for_their_pushes_are_not_busy_meanwhile(token_s, limit):
    # Prompts come twice as fast as one can be computed and pushed, one after the other.
    computing_s, pushing_s = 1024 * token_s, alone_s(kv_by_hand(1024))
    metrics = metrics_of(
        (computing_s + pushing_s) / 2, input_tokens=1024, output_tokens=1, compute=ConstantTimes(token_s), **BLOCKING
    )
    used = metrics["occupancy"]["prefill"]
    assert used["busy"] == pytest.approx(computing_s / (computing_s + pushing_s), rel=0.02)
    assert used["blocked"] == pytest.approx(pushing_s / (computing_s + pushing_s), rel=0.02)
    assert used["short_of_memory"] == 0.0
    assert full(metrics) == limit
    if limit == ["pushes"]:
        told = limit_sentence("it", metrics, limits(metrics, (1, 1)))
        assert told.startswith("Waiting for KV pushes at prefill limits it: prefill busy 44.7 % of the window, waiting ")


def test_a_push_that_nobody_waits_for_blocks_nothing():
    metrics = metrics_of(0.05, input_tokens=1024, output_tokens=1, compute=ConstantTimes(1e-6), **BLOCKING)
    used = metrics["occupancy"]["prefill"]
    assert used["busy"] == pytest.approx(1024e-6 / 0.05, rel=0.02)
    assert used["blocked"] == pytest.approx(0.0, abs=1e-12) and full(metrics) == []


def test_prefill_that_pauses_for_memory_is_limited_by_it():
    # Room for one prompt, which the next waits for until it is shipped; a fiftieth of the time is computation.
    computing_s, shipping_s = 1024e-8, alone_s(kv_by_hand(1024))
    pool = {"kv_capacity_tokens": 1500, "chunk_tokens": 1024}
    metrics = metrics_of(
        (computing_s + shipping_s) / 2, input_tokens=1024, output_tokens=1, compute=ConstantTimes(1e-8),
        kv={"push": "after-prefill", "setup_s": 0.0}, prefill=pool,
    )  # fmt: skip
    used = metrics["occupancy"]["prefill"]
    assert used["short_of_memory"] == pytest.approx(shipping_s / (computing_s + shipping_s), rel=0.02)
    assert used["busy"] + used["short_of_memory"] == pytest.approx(1.0, rel=0.01)
    assert full(metrics) == ["prefill_memory", "nic"]
