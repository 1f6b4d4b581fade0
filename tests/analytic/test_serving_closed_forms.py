"""Lives of single requests worked out by hand: queues, chunks, pushes, batches, limits, expert bursts."""

from __future__ import annotations

import numpy as np
import pytest
from serving_by_hand import (
    EXACT,
    IDEAL_LATENCY_S,
    NIC_BYTES_PER_S,
    SETUP_S,
    STEP_S,
    TOKEN_S,
    ConstantTimes,
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
from zcube.serving.clock import Clock
from zcube.serving.journey import ABSENT, COMPLETED, REJECTED, UNFINISHED
from zcube.serving.metrics import run_metrics
from zcube.serving.transfers import EXPERT, KV, Transfers


def test_one_request_alone():
    run = run_by_hand(trace_of([0.0], [1000], [11]), settings_of())
    life = run.journeys
    prefill_s = 1000 * TOKEN_S
    close(life.prefill_end_s[0], prefill_s)
    close(life.kv_post_s[0], prefill_s)
    close(life.kv_bytes[0], kv_by_hand(1000))
    close(life.kv_transfer_s()[0], SETUP_S + alone_s(kv_by_hand(1000)))
    close(life.ttft_s()[0], prefill_s + SETUP_S + alone_s(kv_by_hand(1000)))
    close(life.tpot_s()[0], STEP_S)
    close(life.e2e_s()[0], life.ttft_s()[0] + 10 * STEP_S)
    assert life.outcome[0] == COMPLETED


@pytest.mark.parametrize(
    ("with_mtp", "dtype", "expected"), [(True, "fp8", kv_by_hand(6400)), (False, "bf16", 109_824.0 * 6400)]
)
def test_kv_dtype_and_draft_layer_set_the_bytes(with_mtp, dtype, expected):
    settings = settings_of(kv={"dtype": dtype, "with_mtp_layer": with_mtp})
    close(run_by_hand(trace_of([0.0], [6400], [2]), settings).journeys.kv_bytes[0], expected)


def test_a_one_token_answer_ends_at_its_first_token():
    life = run_by_hand(trace_of([0.0], [500], [1]), settings_of()).journeys
    assert life.finish_s[0] == life.first_token_s[0]
    assert np.isnan(life.tpot_s()[0])
    assert life.outcome[0] == COMPLETED


def test_a_prompt_is_computed_in_chunks_and_pushed_in_whole_pages():
    run = run_by_hand(trace_of([0.0], [250], [2]), settings_of(prefill={"chunk_tokens": 100}))
    # 100 and 200 tokens hold 1 and 3 full pages of 64; the last push takes the fourth page and all pages of the index along.
    sizes = [latents_by_hand(1), latents_by_hand(2), latents_by_hand(1) + index_by_hand(4)]
    assert run.flows.size_bytes == pytest.approx(sizes, **EXACT)
    assert run.flows.start_s == pytest.approx([done * TOKEN_S + SETUP_S for done in (100, 200, 250)], **EXACT)


def test_early_chunks_travel_while_later_ones_compute():
    trace, pool = trace_of([0.0], [1280], [2]), {"chunk_tokens": 640}
    pushed = run_by_hand(trace, settings_of(prefill=pool)).journeys
    whole = run_by_hand(trace, settings_of(prefill=pool, kv={"push": "after-prefill"})).journeys
    # The first chunk's 0.7 ms on the wire lie within the second chunk's 64 ms.
    close(pushed.ttft_s()[0], 1280 * TOKEN_S + SETUP_S + alone_s(latents_by_hand(10) + index_by_hand(20)))
    close(whole.ttft_s()[0], 1280 * TOKEN_S + SETUP_S + alone_s(kv_by_hand(1280)))
    close(pushed.kv_bytes[0], whole.kv_bytes[0])


def test_a_network_slower_than_the_chunks_carries_one_continuous_stream():
    # 640 tokens compute in 64 us and travel in 0.7 ms, so the wire is never idle after the first push.
    run = run_by_hand(trace_of([0.0], [1280], [2]), settings_of(prefill={"chunk_tokens": 640}), ConstantTimes(token_s=1e-7))
    close(run.journeys.ttft_s()[0], 640e-7 + SETUP_S + alone_s(kv_by_hand(1280)))


def test_requests_queue_at_a_prefill_node():
    life = run_by_hand(trace_of([0.0, 0.01], [1000, 500], [2, 2]), settings_of(prefill={"chunk_tokens": 1000})).journeys
    assert life.prefill_start_s[1] == life.prefill_end_s[0]
    close(life.prefill_end_s[1], 1500 * TOKEN_S)


def test_one_iteration_holds_the_end_of_a_prompt_and_the_start_of_the_next():
    life = run_by_hand(trace_of([0.0, 0.0], [150, 100], [2, 2]), settings_of(prefill={"chunk_tokens": 100})).journeys
    # Iterations: 100 of A; 50 of A and 50 of B; 50 of B.
    assert life.prefill_start_s.tolist() == pytest.approx([0.0, 100 * TOKEN_S], **EXACT)
    assert life.prefill_end_s.tolist() == pytest.approx([200 * TOKEN_S, 250 * TOKEN_S], **EXACT)


def test_short_prompts_share_an_iteration():
    life = run_by_hand(trace_of([0.0, 0.0], [60, 40], [2, 2]), settings_of(prefill={"chunk_tokens": 100})).journeys
    assert life.prefill_end_s.tolist() == pytest.approx([100 * TOKEN_S] * 2, **EXACT)


def test_the_router_sends_a_prompt_where_it_starts_soonest():
    trace = trace_of([0.0, 0.001, 0.002], [1000, 100, 100], [2, 2, 2])
    life = run_by_hand(trace, settings_of(prefill={"nodes": 2}, decode={"nodes": 3})).journeys
    assert life.prefill_node.tolist() == [0, 1, 1]
    assert life.decode_node.tolist() == [0, 1, 2]


def test_the_router_forgets_what_has_been_computed():
    # At 0.15 s node 0 has 500 tokens left of 2000 and node 1, long idle, none; at 1 s both are idle and the lower one takes it.
    trace = trace_of([0.0, 0.15, 1.0], [2000, 100, 100], [2, 2, 2])
    life = run_by_hand(trace, settings_of(prefill={"nodes": 2, "chunk_tokens": 500})).journeys
    assert life.prefill_node.tolist() == [0, 1, 0]


def test_the_router_counts_what_remains_of_a_prompt():
    # At 0.16 s node 0 has 500 of 2000 tokens left, node 1 1200 of 1200 (its first iteration is under way).
    trace = trace_of([0.0, 0.159, 0.16], [2000, 1200, 100], [2, 2, 2])
    life = run_by_hand(trace, settings_of(prefill={"nodes": 2, "chunk_tokens": 500})).journeys
    assert life.prefill_node.tolist() == [0, 1, 0]


def test_kv_that_arrives_within_a_step_waits_for_its_end():
    trace = trace_of([0.0, 0.0], [100, 433], [21, 6])
    life = run_by_hand(trace, settings_of(prefill={"nodes": 2})).journeys
    first, second = life.first_token_s
    boundary = first + np.ceil((second - first) / STEP_S) * STEP_S
    assert boundary - second > 0.1 * STEP_S
    close(life.finish_s[1], boundary + 5 * STEP_S)
    close(life.finish_s[0], first + 20 * STEP_S)


def test_kv_that_arrives_at_an_idle_node_starts_at_once():
    life = run_by_hand(trace_of([0.0, 1.0], [100, 100], [3, 3]), settings_of()).journeys
    assert (life.finish_s - life.first_token_s).tolist() == pytest.approx([2 * STEP_S] * 2, **EXACT)


def test_an_answer_longer_than_one_prediction_takes_its_steps():
    life = run_by_hand(trace_of([0.0, 0.0], [100, 433], [2000, 1300]), settings_of(prefill={"nodes": 2})).journeys
    boundary = life.first_token_s[0] + np.ceil((life.first_token_s[1] - life.first_token_s[0]) / STEP_S) * STEP_S
    close(life.finish_s[0], life.first_token_s[0] + 1999 * STEP_S)
    close(life.finish_s[1], boundary + 1299 * STEP_S)


@pytest.mark.parametrize("limit", [{"max_batch": 1}, {"kv_capacity_tokens": 150}])
def test_kv_waits_for_room_at_the_decode_node(limit):
    trace = trace_of([0.0, 0.0], [100, 120], [11, 6])
    life = run_by_hand(trace, settings_of(prefill={"nodes": 2}, decode=limit)).journeys
    assert life.kv_post_s[1] == life.finish_s[0]
    close(life.first_token_s[1], life.finish_s[0] + SETUP_S + alone_s(kv_by_hand(120)))


def test_a_closed_loop_of_one_is_sequential():
    trace = trace_of([0.0, 0.0, 0.5], [100, 200, 300], [3, 4, 5])
    life = run_by_hand(trace, settings_of(load={"mode": "closed", "concurrency": 1})).journeys
    assert life.arrival_s[0] == 0.0
    assert life.arrival_s[1:].tolist() == life.finish_s[:-1].tolist()
    alone = [n * TOKEN_S + SETUP_S + alone_s(kv_by_hand(n)) + (out - 1) * STEP_S for n, out in ((100, 3), (200, 4), (300, 5))]
    close(life.finish_s[2], sum(alone))


def test_a_closed_loop_keeps_its_concurrency():
    count = 12
    load = {"mode": "closed", "concurrency": 3}
    life = run_by_hand(trace_of(np.zeros(count), [100] * count, [5] * count), settings_of(load=load)).journeys
    events = sorted([(at, 1) for at in life.arrival_s] + [(at, -1) for at in life.finish_s])
    under_way = np.cumsum([step for _, step in events])
    assert under_way.max() == 3
    assert (life.outcome == COMPLETED).all()


def test_a_closed_loop_of_rejections_ends():
    count = 3000
    load = {"mode": "closed", "concurrency": 1}
    life = run_by_hand(trace_of(np.zeros(count), [300_000] * count, [1] * count), settings_of(load=load)).journeys
    assert (life.outcome == REJECTED).all()


@pytest.mark.parametrize(("shared", "cached"), [(5, 320), (10, 639), (0, 0)])
def test_a_prefix_hit_shortens_prefill_but_not_the_kv(shared, cached):
    blocks = [list(range(10)), [*range(shared), *range(100, 110 - shared)]]
    trace = trace_of([0.0, 1.0], [640, 640], [2, 2], blocks, 64)
    life = run_by_hand(trace, settings_of()).journeys
    assert life.cached_tokens.tolist() == [0, cached]
    close(life.prefill_end_s[1] - life.prefill_start_s[1], (640 - cached) * TOKEN_S)
    close(life.kv_bytes[1], kv_by_hand(640))


def test_the_router_prefers_the_node_that_holds_the_prefix():
    blocks = [[1], list(range(10, 20)), list(range(10, 20))]
    trace = trace_of([0.0, 0.0, 1.0], [64, 640, 640], [2, 2, 2], blocks, 64)
    life = run_by_hand(trace, settings_of(prefill={"nodes": 2})).journeys
    assert life.prefill_node.tolist() == [0, 1, 1]


@pytest.mark.parametrize("capacity_tokens", [0, 63])
def test_a_prefix_cache_without_room_never_hits(capacity_tokens):
    trace = trace_of([0.0, 1.0], [640, 640], [2, 2], [list(range(10))] * 2, 64)
    life = run_by_hand(trace, settings_of(prefill={"prefix_cache_tokens": capacity_tokens})).journeys
    assert life.cached_tokens.tolist() == [0, 0]


class PrefixTimes(ConstantTimes):
    """A token attends to all before it: ``token_s`` and a hundredth of it for every token of its prefix."""

    def prefill_iteration_s(self, new_tokens, prefix_tokens) -> float:
        constant_s = super().prefill_iteration_s(new_tokens, prefix_tokens)
        return constant_s + self.token_s / 100 * float(np.dot(new_tokens, prefix_tokens))


def test_computation_is_asked_for_with_what_comes_before_each_piece():
    blocks = [list(range(10)), [*range(5), *range(100, 110)]]
    trace = trace_of([0.0, 10.0], [640, 960], [2, 2], blocks, 64)
    life = run_by_hand(trace, settings_of(prefill={"chunk_tokens": 320}), PrefixTimes()).journeys
    assert life.cached_tokens.tolist() == [0, 320]
    # Pieces of 320 tokens after 0 and 320; then, with 320 tokens cached, after 320 and 640.
    first_s, second_s = ((2 * 320 + 320 * (before + before + 320) / 100) * TOKEN_S for before in (0, 320))
    assert (life.prefill_end_s - life.prefill_start_s).tolist() == pytest.approx([first_s, second_s], **EXACT)


def test_each_prompt_of_an_iteration_is_computed_after_its_own_prefix():
    trace = trace_of([0.0, 0.0], [150, 100], [2, 2])
    life = run_by_hand(trace, settings_of(prefill={"chunk_tokens": 100}), PrefixTimes()).journeys
    # Iterations: 100 of A; 50 of A after 100 and 50 of B after none; 50 of B after 50.
    ends_s = np.cumsum([100, 100 + 50 * 100 / 100, 50 + 50 * 50 / 100]) * TOKEN_S
    assert life.prefill_end_s.tolist() == pytest.approx(ends_s[1:].tolist(), **EXACT)


@pytest.mark.parametrize(("second_s", "outcome"), [(0.05, REJECTED), (0.15, COMPLETED)])
def test_a_prompt_under_way_takes_a_place_in_the_queue(second_s, outcome):
    # The first one computes until 0.1 s.
    trace = trace_of([0.0, second_s], [1000, 100], [2, 2])
    life = run_by_hand(trace, settings_of(prefill={"max_queue": 1})).journeys
    assert life.prefill_start_s[0] == 0.0
    assert life.outcome.tolist() == [COMPLETED, outcome]


def test_the_router_learns_at_the_start_of_a_prompt_how_much_of_it_is_cached():
    # B is routed to node 1 behind A, of whose blocks nothing is computed yet; when it starts, all but one of its tokens are
    # cached. At 1.01 s node 0 has C's 300 tokens to compute and node 1 none, so D goes to node 1.
    own = {"X": range(100, 131), "A": range(10), "B": range(10), "C": range(200, 204), "D": range(300, 301)}
    trace = trace_of(
        [0.0, 0.0, 0.001, 1.0, 1.01], [2000, 640, 640, 300, 100], [2] * 5, [list(blocks) for blocks in own.values()], 64
    )
    life = run_by_hand(trace, settings_of(prefill={"nodes": 2})).journeys
    assert life.cached_tokens.tolist() == [0, 0, 639, 0, 0]
    assert life.prefill_node.tolist() == [0, 1, 1, 0, 1]


RAILS = {
    "tp8-tp8": ("tp8", "tp8", [(rail, rail, 1.0) for rail in range(8)]),
    "tp8-dp8": ("tp8", "dp8", [(0, 0, 1.0)]),
    "dp8-dp8": ("dp8", "dp8", [(0, 0, 1.0)]),
    "dp8-tp8": ("dp8", "tp8", [(0, rail, 1.0) for rail in range(8)]),
    "cp8-dp8": ("cp8", "dp8", [(0, 0, 1.0)]),
    # 78 layers over 8 ranks: the draft layer's cache is counted in with the others.
    "cp8-layersplit-dp8": ("cp8", "dp8", [(rail, 0, None) for rail in range(8)]),
    "tp8-tilert": ("tp8", "tp8", [(0, 0, 1.0)]),
}


@pytest.mark.parametrize("name", RAILS)
def test_rank_maps_put_their_copies_on_their_rails(name):
    prefill, decode, rows = RAILS[name]
    settings = settings_of(prefill={"layout": prefill}, decode={"layout": decode}, kv={"rank_map": name, "setup_s": 0.0})
    run = run_by_hand(trace_of([0.0], [640], [2]), settings)
    assert run.flows.source.tolist() == [source for source, _, _ in rows]
    assert (run.flows.target - 8).tolist() == [target for _, target, _ in rows]
    copies = 1.0 if name == "cp8-layersplit-dp8" else float(len(rows))
    close(run.flows.size_bytes.sum(), copies * kv_by_hand(640))
    close(run.journeys.kv_bytes[0], copies * kv_by_hand(640))
    # Copies side by side go at line rate each; a funnel at one GPU shares it.
    streams = max(np.bincount(run.flows.source).max(), np.bincount(run.flows.target).max())
    total = copies * kv_by_hand(640) if streams > 1 else kv_by_hand(640)
    close(run.journeys.kv_transfer_s()[0], alone_s(total))


def test_layer_split_sends_whole_layers():
    # 79 shipped layers, draft layer included, over 8 ranks: seven ranks own ten, one owns nine.
    settings = settings_of(kv={"rank_map": "cp8-layersplit-dp8"})
    run = run_by_hand(trace_of([0.0], [640], [2]), settings)
    layers = run.flows.size_bytes / (kv_by_hand(640) / 79.0)
    assert sorted(layers) == pytest.approx([9.0] + [10.0] * 7, **EXACT)


def test_data_parallel_ranks_take_turns():
    settings = settings_of(prefill={"layout": "dp8"}, kv={"rank_map": "dp8-dp8"})
    run = run_by_hand(trace_of(np.arange(10.0), [100] * 10, [2] * 10), settings)
    turns = [number % 8 for number in range(10)]
    assert run.flows.source.tolist() == turns
    assert (run.flows.target - 8).tolist() == turns


@pytest.mark.parametrize(("tokens", "answer"), [(202_752, 1), (202_700, 53), (300_000, 1)])
def test_a_request_beyond_the_model_is_rejected(tokens, answer):
    life = run_by_hand(trace_of([0.0, 1.0], [tokens, 100], [answer, 2]), settings_of()).journeys
    assert life.outcome.tolist() == [REJECTED, COMPLETED]
    assert np.isnan(life.prefill_start_s[0]) and life.arrival_s[0] == 0.0


def test_a_request_that_just_fits_is_served():
    life = run_by_hand(trace_of([0.0], [202_700], [52]), settings_of(), ConstantTimes(1e-8)).journeys
    assert life.outcome.tolist() == [COMPLETED]


def test_a_request_beyond_the_decode_node_is_rejected():
    life = run_by_hand(trace_of([0.0, 1.0], [100, 90], [11, 10]), settings_of(decode={"kv_capacity_tokens": 100})).journeys
    assert life.outcome.tolist() == [REJECTED, COMPLETED]


def test_a_full_queue_rejects():
    trace = trace_of([0.0, 0.0, 0.0, 1.0], [1000] * 4, [2] * 4)
    life = run_by_hand(trace, settings_of(prefill={"max_queue": 2, "chunk_tokens": 1000})).journeys
    assert life.outcome.tolist() == [COMPLETED, COMPLETED, REJECTED, COMPLETED]


def test_a_horizon_leaves_requests_unfinished_and_later_ones_absent():
    trace = trace_of([0.0, 0.1, 5.0], [100, 100, 100], [2, 2000, 2])
    run = run_by_hand(trace, settings_of(load={"horizon_s": 1.0}))
    assert run.journeys.outcome.tolist() == [COMPLETED, UNFINISHED, ABSENT]
    assert run.end_s == 1.0
    counts = run_metrics(run)["requests"]
    assert counts == {"offered": 2, "completed": 1, "rejected": 0, "failed": 0, "unfinished": 1}


def test_bytes_on_the_wire_at_the_horizon_are_counted():
    # The push starts at 0.1 s and lasts 13 s at 0.05 Gb/s; nothing else happens before the horizon.
    fabric = fabric_of("roft-256").with_nic_rate(0.05)
    trace, settings = trace_of([0.0], [1000], [2]), settings_of(kv={"setup_s": 0.0}, load={"horizon_s": 5.0})
    run = run_by_hand(trace, settings, model=ideal_model(fabric))
    carried = 0.05e9 / 8 * (5.0 - 0.1)
    measured = run_metrics(run)["bytes"]
    assert measured["sent"] == measured["received"] == pytest.approx(carried, rel=1e-9)


def expert_bytes_per_rail(own_tokens: int, other_tokens: int, batches: int = 2) -> int:
    """Two nodes: in each layer with experts, a token that has one over there sends 6,416 B and gets 12,336 B back (DeepEP).

    A node's tokens are dealt to its GPUs and to the microbatches evenly; a message has whole bytes.
    """
    reached = 1.0 - 0.5**8
    own, other = (tokens / 8 / batches * reached for tokens in (own_tokens, other_tokens))
    return batches * (round(own * 6416) + round(other * 12336))


EXPERT_LAYERS = 75


def expert_settings(bursts: int = 1, overlap: bool = True, **tables):
    pool = {"nodes": 2, "nodes_per_instance": 2, "layout": "dp8", "expert_overlap": overlap, "expert_bursts": bursts}
    return settings_of(prefill=pool, kv={"rank_map": "dp8-dp8", "setup_s": 0.0, **tables})


@pytest.mark.parametrize("bursts", [1, 4])
@pytest.mark.parametrize("overlap", [True, False])
@pytest.mark.parametrize("token_s", [1e-5, 1e-6])
def test_expert_bursts_hide_behind_computation_or_add_to_it(bursts, overlap, token_s):
    run = run_by_hand(trace_of([0.0], [8000], [2]), expert_settings(bursts, overlap), ConstantTimes(token_s))
    # Only node 0 computes, so its dispatch goes out and the combine of its tokens comes back.
    batches = 2 if overlap else 1
    out, back = expert_bytes_per_rail(8000, 0, batches), expert_bytes_per_rail(0, 8000, batches)
    iteration_s = 0.0
    for layers in {1: [75], 4: [19, 19, 19, 18]}[bursts]:
        comm_s = max(out, back) * layers / NIC_BYTES_PER_S + IDEAL_LATENCY_S
        compute_s = 8000 * token_s * layers / EXPERT_LAYERS
        iteration_s += max(comm_s, compute_s) if overlap else comm_s + compute_s
    close(run.journeys.prefill_end_s[0], iteration_s)
    experts = run.flow_kind == EXPERT
    assert experts.sum() == 2 * 8 * bursts
    assert run.flows.size_bytes[experts].sum() == EXPERT_LAYERS * 8 * (out + back)
    rails = (run.flows.source[experts] % 8, run.flows.target[experts] % 8)
    assert np.array_equal(*rails), "DeepEP's normal mode stays on the rail"


def test_nodes_of_an_instance_iterate_in_step():
    run = run_by_hand(trace_of([0.0, 0.0], [4000, 1600], [2, 2]), expert_settings(), ConstantTimes(1e-3))
    assert run.journeys.prefill_node.tolist() == [0, 1]
    close(run.journeys.prefill_end_s[0], 4.0)
    close(run.journeys.prefill_end_s[1], 4.0)
    sent = run.flows.size_bytes[run.flow_kind == EXPERT]
    by_hand = [75 * expert_bytes_per_rail(1600, 4000), 75 * expert_bytes_per_rail(4000, 1600)]
    assert np.sort(sent).tolist() == np.repeat(np.sort(by_hand), 8).tolist()


def test_kv_shares_its_nic_with_expert_traffic():
    settings = settings_of(
        prefill={"nodes": 2, "nodes_per_instance": 2, "layout": "dp8", "expert_bursts": 1, "chunk_tokens": 640},
        kv={"rank_map": "dp8-dp8", "setup_s": 0.0},
    )
    run = run_by_hand(trace_of([0.0], [1280], [2]), settings, ConstantTimes(1e-4))
    # The first chunk's KV and the second iteration's dispatch leave GPU 0 together, at half the line rate each.
    kv, expert = latents_by_hand(10), 75 * expert_bytes_per_rail(640, 0)
    smaller, together = min(kv, expert), kv + expert
    start = 640e-4 + IDEAL_LATENCY_S
    shared_s = {smaller: 2 * smaller / NIC_BYTES_PER_S, max(kv, expert): together / NIC_BYTES_PER_S}
    first_kv = np.flatnonzero(run.flow_kind == KV)[0]
    close(run.completions.finish_s[first_kv], start + shared_s[kv])


class TestTransfers:
    """The seam to the network, by itself."""

    @pytest.mark.parametrize(
        ("start_s", "size_bytes", "other_bytes"),
        [
            (0.00036300799198059596, 189079065.67587537, 383785.6844876809),
            (3.225552595363079e-05, 173811078.154755, 668233.3285519182),
            (4.4486002131441874e-05, 119473517.57365201, 880279.5669543705),
        ],
    )
    def test_a_transfer_may_follow_at_once_whatever_the_clock_rounds_to(self, start_s, size_bytes, other_bytes):
        # Found by search: the clock reaches the network's event one last place early.
        env = Clock()
        transfers = Transfers(env, ideal_model(fabric_of("roft-256").with_nic_rate(1.0)))

        def sender():
            yield env.timeout(start_s)
            paths, other = (transfers.paths(np.array([gpu]), np.array([gpu + 9])) for gpu in (0, 1))
            transfers.send(other, np.array([other_bytes]), KV)
            yield transfers.send(paths, np.array([size_bytes]), KV)
            yield transfers.send(paths, np.array([1_000_000]), KV)
            return env.now

        end_s = env.run(until=env.process(sender()))
        close(end_s, start_s + (size_bytes + 1e6) * 8e-9 + 2 * IDEAL_LATENCY_S)

    def test_a_group_ends_with_its_slowest(self):
        env = Clock()
        transfers = Transfers(env, ideal_model(fabric_of("roft-256")))
        paths = transfers.paths(np.array([0, 1]), np.array([8, 9]))
        done = transfers.send(paths, np.array([50e6, 100e6]), KV)
        env.run(until=done)
        close(env.now, alone_s(100e6))
