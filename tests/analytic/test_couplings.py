"""What couples the network to the engine, by hand: steps that wait for pushes, KV memory, decode room asked first."""

from __future__ import annotations

import numpy as np
import pytest
from serving_by_hand import (
    EXACT,
    SETUP_S,
    STEP_S,
    TOKEN_S,
    alone_s,
    close,
    fabric_of,
    index_by_hand,
    kv_by_hand,
    latents_by_hand,
    run_by_hand,
    settings_of,
    trace_of,
)

from zcube.network.flow_model import ideal_model
from zcube.serving.attribution import ttft_parts
from zcube.serving.journey import COMPLETED, REJECTED, UNFINISHED
from zcube.serving.metrics import run_metrics


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


# --- KV memory of a prefill node


def blocks_of(*prompts: int) -> list[list[int]]:
    """Prompts of so many blocks of 100 tokens that share nothing."""
    ends = np.cumsum(prompts)
    return [list(range(end - count, end)) for end, count in zip(ends, prompts, strict=True)]


SMALL = {"chunk_tokens": 1000, "kv_capacity_tokens": 1500}


def test_a_prompt_waits_until_the_one_before_it_is_shipped():
    trace = trace_of([0.0, 0.0], [1000, 600], [2, 2])
    life = run_by_hand(trace, settings_of(prefill=SMALL)).journeys
    close(life.kv_end_s[0], 1000 * TOKEN_S + SETUP_S + alone_s(kv_by_hand(1000)))
    assert life.prefill_start_s[1] == life.kv_end_s[0]
    # With 100 tokens more there is room for both from the first iteration's end on.
    roomy = settings_of(prefill={**SMALL, "kv_capacity_tokens": 1600})
    life = run_by_hand(trace, roomy).journeys
    assert life.prefill_start_s[1] == life.prefill_end_s[0]


def test_memory_that_waits_for_decode_room_stops_prefill():
    # The first answer, of 101 tokens, keeps the only place; two more prompts are computed and stay; the fourth finds no memory.
    trace = trace_of([0.0] * 4, [700] * 4, [101, 2, 2, 2])
    life = run_by_hand(trace, settings_of(prefill={**SMALL, "chunk_tokens": 700}, decode={"max_batch": 1})).journeys
    assert life.granted_s[1] == life.finish_s[0]
    assert life.prefill_start_s[1:3].tolist() == life.prefill_end_s[:2].tolist()
    assert life.prefill_start_s[3] == life.kv_end_s[1] > life.finish_s[0]


def test_a_prompt_that_starts_evicts_what_was_used_least_recently():
    # 500 and 400 tokens stay as cache; 800 more need 200 of the 1500 back: the oldest prompt's last two blocks.
    rows = blocks_of(5, 4, 8)
    trace = trace_of([0.0, 1.0, 2.0, 3.0], [500, 400, 800, 501], [2] * 4, [*rows, rows[0]], 100)
    life = run_by_hand(trace, settings_of(prefill=SMALL)).journeys
    assert life.cached_tokens.tolist() == [0, 0, 0, 300]
    unlimited = run_by_hand(trace, settings_of(prefill={"chunk_tokens": 1000})).journeys
    assert unlimited.cached_tokens.tolist() == [0, 0, 0, 500]


def test_blocks_that_a_prompt_reuses_are_held_once_and_stay():
    # Both prompts share ten blocks: 1000 shared + 100 and 400 of their own fill 1500 tokens.
    shared = list(range(10))
    rows = [shared, [*shared, 20], [*shared, 30, 31, 32, 33]]
    trace = trace_of([0.0, 1.0, 1.0], [1000, 1100, 1400], [2] * 3, rows, 100)
    # Each runs at a chunk of its own, the second one's KV is still under way when the third starts.
    settings = settings_of(prefill={**SMALL, "chunk_tokens": 100})
    life = run_by_hand(trace, settings).journeys
    assert life.cached_tokens.tolist() == [0, 1000, 1000]
    assert life.prefill_start_s[2] == life.prefill_end_s[1] < life.kv_end_s[1]


def test_unshipped_kv_takes_the_room_of_the_cache():
    # 600 tokens travel for 4 s at 0.08 Gb/s, 3000 for 19 s, each from a NIC of its own. When the second long prompt starts, at
    # 21 s, the first long one is evictable only if it has been shipped; else the short one, used since, has to go.
    short, first, second = blocks_of(6, 30, 30)
    trace = trace_of(
        [0.0, 10.0, 15.0, 21.0, 24.0], [601, 3000, 601, 3000, 601], [2] * 5, [short, first, short, second, short], 100
    )
    pool, found = {"layout": "dp8", "kv_capacity_tokens": 6000}, {}
    for gbps in (400.0, 0.08):
        model = ideal_model(fabric_of("roft-256").with_nic_rate(gbps))
        life = run_by_hand(trace, settings_of(prefill=pool, kv={"rank_map": "dp8-dp8"}), model=model).journeys
        found[gbps] = life.cached_tokens.tolist()
    assert found == {400.0: [0, 0, 600, 0, 600], 0.08: [0, 0, 600, 0, 0]}


def test_a_prompt_longer_than_the_memory_is_rejected():
    run = run_by_hand(trace_of([0.0, 0.0], [1501, 1500], [2, 2]), settings_of(prefill=SMALL))
    assert run.journeys.outcome.tolist() == [REJECTED, COMPLETED]


# --- decode room before prefill


def test_no_prompt_is_computed_before_its_decode_node_has_room():
    trace = trace_of([0.0, 0.0], [500, 500], [11, 2])
    settings = settings_of(decode={"max_batch": 1, "preallocate": "in-order"}, prefill={"chunk_tokens": 500})
    life = run_by_hand(trace, settings).journeys
    ended_s = 500 * TOKEN_S + SETUP_S + alone_s(kv_by_hand(500)) + 10 * STEP_S
    close(life.finish_s[0], ended_s)
    assert life.granted_s.tolist() == [0.0, life.finish_s[0]]
    assert life.prefill_start_s[1] == life.finish_s[0]
    close(life.ttft_s()[1], ended_s + 500 * TOKEN_S + SETUP_S + alone_s(kv_by_hand(500)))


@pytest.mark.parametrize("order", ["in-order", "overtake"])
def test_whether_a_prompt_with_room_starts_before_one_without_is_a_choice(order):
    # One place on each of two decode nodes: the third prompt waits for the first answer, the fourth for the second.
    trace = trace_of([0.0] * 4, [500, 500, 500, 50_000], [200, 11, 2, 2])
    pool = {"nodes": 2, "max_batch": 1, "preallocate": order}
    life = run_by_hand(trace, settings_of(decode=pool, prefill={"chunk_tokens": 500})).journeys
    assert life.decode_node.tolist() == [0, 1, 0, 1]
    assert life.granted_s[2:].tolist() == life.finish_s[:2].tolist()
    assert life.finish_s[1] < life.finish_s[0]
    if order == "overtake":
        # And what has started goes on, though one that came earlier gets room meanwhile.
        assert life.prefill_start_s[3] == life.finish_s[1]
        assert life.finish_s[0] < life.prefill_end_s[3] == life.prefill_start_s[2]
    else:
        assert life.prefill_start_s[2] == life.finish_s[0]
        assert life.prefill_start_s[3] == life.prefill_end_s[2]


# --- what a connector reaches of the line rate


def test_a_transfer_alone_reaches_the_efficiency_and_two_may_fill_the_nic():
    trace = trace_of([0.0], [1000], [2])
    run = run_by_hand(trace, settings_of(kv={"efficiency": 0.69}))
    close(run.journeys.kv_transfer_s()[0], SETUP_S + kv_by_hand(1000) / (0.69 * 50e9) + 1e-6)
    found = run_metrics(run)["congestion"]
    close(found["type1_slowdown"], 1.0)
    close(found["type2_slowdown"], 1.0)
    # Both leave GPU 0 at once for two decode nodes: 1.38 of a line rate asked for, 1 given.
    both = trace_of([0.0, 0.0], [1000, 1000], [2, 2])
    pools = {"prefill": {"chunk_tokens": 2000}, "decode": {"nodes": 2}, "kv": {"efficiency": 0.69}}
    run = run_by_hand(both, settings_of(**pools))
    assert run.journeys.kv_transfer_s() == pytest.approx([SETUP_S + 2 * kv_by_hand(1000) / 50e9 + 1e-6] * 2, **EXACT)
    close(run_metrics(run)["congestion"]["type1_slowdown"], 2 * 0.69)


# --- prefixes that decode nodes hold


TURNS = trace_of([0.0, 1.0], [1000, 1250], [2, 2], [list(range(10)), list(range(12))], 100)


def test_whole_pages_that_the_decode_node_holds_are_not_shipped():
    life = run_by_hand(TURNS, settings_of(decode={"prefix_cache_tokens": 5000})).journeys
    assert life.decode_cached_tokens.tolist() == [0, 1000]
    # 1000 tokens hold 15 whole pages of the 20 that 1250 take.
    assert life.kv_bytes.tolist() == [kv_by_hand(1000), latents_by_hand(5) + index_by_hand(5)]
    close(life.kv_transfer_s()[1], SETUP_S + alone_s(latents_by_hand(5) + index_by_hand(5)))


def test_a_decode_node_keeps_what_was_used_last():
    few = run_by_hand(TURNS, settings_of(decode={"prefix_cache_tokens": 400})).journeys
    assert few.decode_cached_tokens.tolist() == [0, 400]
    assert few.kv_bytes[1] == latents_by_hand(14) + index_by_hand(14)


def test_chunks_within_the_held_prefix_send_nothing():
    pool = {"chunk_tokens": 200, "prefix_cache_tokens": 0}
    run = run_by_hand(TURNS, settings_of(prefill=pool, decode={"prefix_cache_tokens": 5000}))
    later = run.flows.size_bytes[run.flow_request == 1]
    # Of 1000, 1200 and 1250 tokens 15, 18 and 20 pages exist; 15 are there.
    assert later.tolist() == [latents_by_hand(3), latents_by_hand(2) + index_by_hand(5)]


def conditional(tokens: int, **decode):
    return settings_of(
        decode={"prefix_cache_tokens": 5000, **decode},
        router={"policy": "conditional", "max_local_prefill_tokens": tokens},
    )


@pytest.mark.parametrize(("most", "local"), [(250, True), (249, False)])
def test_a_prompt_that_decode_mostly_holds_goes_straight_there(most, local):
    run = run_by_hand(TURNS, conditional(most, nodes=2))
    life = run.journeys
    assert life.prefill_node.tolist() == [0, -1 if local else 0]
    if local:
        close(life.ttft_s()[1], 250 * TOKEN_S)
        close(life.e2e_s()[1], 250 * TOKEN_S + STEP_S)
        assert life.kv_bytes[1] == 0 and np.isnan(life.kv_post_s[1])
        assert life.decode_node[1] == life.decode_node[0]
        assert run_metrics(run)["bytes"]["kv"] == kv_by_hand(1000)


@pytest.mark.parametrize(("bound", "nodes"), [(None, [0, 0, 0, 0]), (1, [0, 0, -1, -1]), (2, [0, 0, 0, -1])])
def test_decode_computes_prompts_itself_while_too_many_wait_for_prefill(bound, nodes):
    # The first prompt starts at once; the others come while it is computed, and none of their tokens is at decode.
    settings = settings_of(
        prefill={"chunk_tokens": 1000}, decode={"prefix_cache_tokens": 5000},
        router={"policy": "conditional", "max_local_prefill_tokens": 100, "max_prefill_queue": bound},
    )  # fmt: skip
    trace = trace_of([0.0, 0.01, 0.02, 0.03], [1000] * 4, [2] * 4, blocks_of(10, 10, 10, 10), 100)
    run = run_by_hand(trace, settings)
    assert run.journeys.prefill_node.tolist() == nodes
    assert (run.journeys.kv_bytes > 0).tolist() == [node == 0 for node in nodes]


def test_a_bound_on_the_prefill_queue_goes_with_the_policy_that_asks_for_it():
    with pytest.raises(ValueError, match=r"router\.policy = conditional with router\.max_prefill_queue"):
        settings_of(router={"max_prefill_queue": 2})


def test_the_batch_waits_while_a_prompt_is_computed_between_its_steps():
    # The third prompt comes within a step of the first one's answer.
    rows = [list(range(10)), list(range(50, 52)), list(range(12))]
    trace = trace_of([0.0, 0.0, 0.3], [1000, 250, 1250], [51, 2, 2], rows, 100)
    life = run_by_hand(trace, conditional(250)).journeys
    boundary = life.first_token_s[0] + np.ceil((0.3 - life.first_token_s[0]) / STEP_S) * STEP_S
    assert life.prefill_node.tolist() == [0, -1, -1] or life.prefill_node.tolist() == [0, 0, -1]
    close(life.prefill_start_s[2], boundary)
    close(life.first_token_s[2], boundary + 250 * TOKEN_S)


def test_a_prompt_computed_at_decode_waits_for_room_there():
    trace = trace_of([0.0, 0.3], [1000, 1250], [51, 2], [list(range(10)), list(range(12))], 100)
    life = run_by_hand(trace, conditional(250, max_batch=1)).journeys
    assert life.granted_s[1] == life.prefill_start_s[1] == life.finish_s[0]


# --- what the time to first token went to


def parts_of(run) -> list[dict[str, float]]:
    parts = ttft_parts(run)
    rows = [{part: values[row] for part, values in parts.items()} for row in range(len(run.journeys.outcome))]
    for row, ttft_s in zip(rows, run.journeys.ttft_s(), strict=True):
        assert sum(row.values()) == pytest.approx(ttft_s, abs=1e-9)
    return [{part: value for part, value in row.items() if abs(value) > 1e-12} for row in rows]


def test_parts_of_prompts_whose_steps_wait_for_pushes():
    settings = settings_of(prefill={"chunk_tokens": 640}, kv={"blocking": "step"}, decode={"first_token": "decode"})
    first, second = parts_of(run_by_hand(trace_of([0.0, 0.0], [1280, 640], [2, 2]), settings))
    pushes = [SETUP_S + alone_s(size) for size in (latents_by_hand(10), latents_by_hand(10) + index_by_hand(20))]
    wire_s = alone_s(latents_by_hand(10) + index_by_hand(20))
    expected = {"blocked": pushes[0], "prefill": 1280 * TOKEN_S, "setup": SETUP_S, "transfer": wire_s, "admission": STEP_S}
    assert first == pytest.approx(expected, **EXACT)
    wire_s = alone_s(kv_by_hand(640))
    blocked, second_s = sum(pushes), second.pop("admission")
    expected = {"queue": 1280 * TOKEN_S, "blocked": blocked, "prefill": 640 * TOKEN_S, "setup": SETUP_S, "transfer": wire_s}
    assert second == pytest.approx(expected, **EXACT)
    assert STEP_S <= second_s < 2 * STEP_S


def test_parts_of_a_prompt_that_waits_for_memory_and_of_one_that_waits_for_room():
    trace = trace_of([0.0, 0.0], [1000, 600], [2, 2])
    _, second = parts_of(run_by_hand(trace, settings_of(prefill=SMALL)))
    assert second["queue"] == pytest.approx(1000 * TOKEN_S, **EXACT)
    assert second["kv_memory"] == pytest.approx(SETUP_S + alone_s(kv_by_hand(1000)), **EXACT)
    for order in ("none", "in-order"):
        settings = settings_of(decode={"max_batch": 1, "preallocate": order}, prefill={"chunk_tokens": 500})
        run = run_by_hand(trace_of([0.0, 0.0], [500, 500], [101, 2]), settings)
        (_, second), life = parts_of(run), run.journeys
        waited_s = life.finish_s[0] if order == "in-order" else life.finish_s[0] - life.prefill_end_s[1]
        close(second["decode_room"], waited_s)
        close(second.get("queue", 0.0), 0.0 if order == "in-order" else 500 * TOKEN_S)


def test_transfers_that_share_a_nic_have_a_part_of_type_1():
    # Two prompts end at once; each transfer alone takes half of what both take on the one NIC.
    settings = settings_of(prefill={"chunk_tokens": 2000}, decode={"nodes": 2})
    for found in parts_of(run_by_hand(trace_of([0.0, 0.0], [1000, 1000], [2, 2]), settings)):
        close(found["type1"], kv_by_hand(1000) / 50e9)
        assert found.keys() == {"prefill", "setup", "transfer", "type1"}


def test_parts_of_a_prompt_computed_at_decode():
    assert parts_of(run_by_hand(TURNS, conditional(250)))[1] == pytest.approx({"prefill": 250 * TOKEN_S}, **EXACT)
