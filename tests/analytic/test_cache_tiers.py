"""Tiers of KV caches by hand: host memory of nodes, and a store that is read and written over the fabric."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from serving_by_hand import (
    EXACT,
    IDEAL_LATENCY_S,
    NIC_BYTES_PER_S,
    SETUP_S,
    TOKEN_S,
    ConstantTimes,
    alone_s,
    close,
    fabric_of,
    kv_by_hand,
    run_by_hand,
    settings_of,
    trace_of,
)

from zcube.comparison import compare
from zcube.errors import InputError
from zcube.fabric.catalog import load_fabric
from zcube.llm.cards import load_card
from zcube.network.flow_model import ideal_model
from zcube.routing.catalog import routing_for
from zcube.scenario import Scenario
from zcube.serving.attribution import ttft_parts
from zcube.serving.journey import COMPLETED
from zcube.serving.metrics import run_metrics
from zcube.serving.reach import reach_of
from zcube.serving.run import serve
from zcube.serving.transfers import CACHE_READ, CACHE_WRITE, KV
from zcube.verdict.limits import limits

#: 100 tokens of 656 + 132 bytes in 79 layers.
BLOCK_BYTES = 79 * (656 + 132) * 100
HOST_BYTES_PER_S = 50e9
FULL = {"tokens": 1_000_000}


def cached(prefill: dict[str, Any] | None = None, **cache: Any):
    """Nodes that keep nothing themselves, unless asked to; tiers that read whatever they hold."""
    pool = {"prefix_cache_tokens": 0, "chunk_tokens": 1 << 20, **(prefill or {})}
    return settings_of(prefill=pool, cache={"least_tokens": 1, **cache})


def turns(second_s: float = 1.0):
    """A prompt of ten blocks, and one that goes on from it by two and a half."""
    return trace_of([0.0, second_s], [1000, 1250], [2, 2], [list(range(10)), list(range(12))], 100)


def parts_of(run, request: int) -> dict[str, float]:
    found = {part: float(values[request]) for part, values in ttft_parts(run).items()}
    assert sum(found.values()) == pytest.approx(run.journeys.ttft_s()[request], abs=1e-9)
    return {part: value for part, value in found.items() if abs(value) > 1e-12}


def over_nics(blocks: int, nics: int = 8) -> float:
    """Blocks in turn over NICs: the fullest one's transfer alone."""
    return SETUP_S + -(-blocks // nics) * BLOCK_BYTES / NIC_BYTES_PER_S + IDEAL_LATENCY_S


def test_what_host_memory_holds_is_read_before_the_rest_is_computed():
    run = run_by_hand(turns(), cached(pool={**FULL, "latency_s": 0.002}))
    read_s = 0.002 + 10 * BLOCK_BYTES / HOST_BYTES_PER_S
    expected = {"cache_read": read_s, "prefill": 250 * TOKEN_S, "setup": SETUP_S, "transfer": alone_s(kv_by_hand(1250))}
    assert parts_of(run, 1) == pytest.approx(expected, **EXACT)
    life = run.journeys
    assert life.cached_tokens.tolist() == life.pool_tokens.tolist() == [0, 1000]
    assert life.pool_bytes.tolist() == [0, 10 * BLOCK_BYTES] and not life.store_bytes.any()
    found = run_metrics(run)
    assert found["bytes"]["pool_read"] == 10 * BLOCK_BYTES and found["bytes"]["cache_read"] == 0
    close(found["prefix_cache"]["pool_hit_fraction"], 1000 / 2250)
    assert found["prefix_cache"]["node_hit_fraction"] == 0.0


def test_the_store_is_read_and_written_over_the_fabric():
    run = run_by_hand(turns(), cached(store=FULL))
    # NICs 0 and 1 hold two of the ten blocks, the others one.
    close(parts_of(run, 1)["cache_read"], over_nics(10))
    assert run.journeys.store_tokens.tolist() == [0, 1000]
    reads, writes = (run.flow_kind == kind for kind in (CACHE_READ, CACHE_WRITE))
    assert run.flows.size_bytes[reads].tolist() == [2 * BLOCK_BYTES] * 2 + [BLOCK_BYTES] * 6
    # The store's server follows the two nodes'; its GPU g sends to the prefill node's GPU g.
    assert run.flows.source[reads].tolist() == list(range(16, 24)) and run.flows.target[reads].tolist() == list(range(8))
    # The first prompt's ten blocks, and the second one's two whole ones that are new: behind NICs 2 and 3.
    assert run.flows.source[writes].tolist() == [*range(8), 2, 3] and run.flows.target[writes].tolist() == [
        *range(16, 24),
        18,
        19,
    ]
    found = run_metrics(run)["bytes"]
    assert found["cache_read"] == 10 * BLOCK_BYTES and found["cache_write"] == 12 * BLOCK_BYTES
    assert found["sent"] == found["kv"] + found["cache_read"] + found["cache_write"]


@pytest.mark.parametrize(("writes", "found"), [("carried", 0), ("free", 1000)])
def test_blocks_are_in_the_store_when_they_have_arrived(writes, found):
    # The first prompt is computed at 0.1 s; its blocks take 0.6 ms to the store.
    run = run_by_hand(turns(0.1003), cached(store={**FULL, "writes": writes}))
    assert run.journeys.store_tokens.tolist() == [0, found]
    assert (run.flow_kind == CACHE_WRITE).any() == (writes == "carried")


def test_tiers_are_asked_in_order_and_read_at_the_same_time():
    settings = cached({"prefix_cache_tokens": 300}, pool={"tokens": 600, "gbytes_per_s": 1.0}, store={"tokens": 1000})
    run = run_by_hand(turns(), settings)
    life = run.journeys
    # Each keeps the first blocks of the prompt: 3, 6 and 10 of them.
    assert (life.cached_tokens[1], life.pool_tokens[1], life.store_tokens[1]) == (1000, 300, 400)
    assert (life.pool_bytes[1], life.store_bytes[1]) == (3 * BLOCK_BYTES, 4 * BLOCK_BYTES)
    close(parts_of(run, 1)["cache_read"], max(3 * BLOCK_BYTES / 1e9, over_nics(4)))
    shares = run_metrics(run)["prefix_cache"]
    close(shares["hit_fraction"], 1000 / 2250)
    close(shares["node_hit_fraction"] + shares["pool_hit_fraction"] + shares["store_hit_fraction"], shares["hit_fraction"])


@pytest.mark.parametrize("tier", ["pool", "store"])
def test_a_tier_loses_what_was_used_least_recently(tier):
    # Room for twelve blocks. The third prompt, of five, takes the last of the second one's, as the first was used since; the
    # second prompt, when it comes again, the last of the first one's.
    first, second, third = list(range(4)), list(range(10, 14)), list(range(20, 25))
    rows = [first, second, first, third, second, first]
    trace = trace_of(np.arange(6.0), [401, 401, 401, 501, 401, 401], [2] * 6, rows, 100)
    life = run_by_hand(trace, cached(**{tier: {"tokens": 1200}})).journeys
    assert life.cached_tokens.tolist() == [0, 0, 400, 0, 300, 300]


@pytest.mark.parametrize("gbytes_per_s", [0.1, 50.0])
def test_an_iteration_that_computes_behind_its_read_ends_no_sooner(gbytes_per_s):
    run = run_by_hand(turns(), cached(reads="overlap", pool={**FULL, "gbytes_per_s": gbytes_per_s}))
    read_s, computing_s = 10 * BLOCK_BYTES / (gbytes_per_s * 1e9), 250 * TOKEN_S
    close(run.journeys.prefill_end_s[1], 1.0 + max(read_s, computing_s))
    found = parts_of(run, 1)
    close(found["prefill"], computing_s)
    close(found.get("cache_read", 0.0), max(0.0, read_s - computing_s))


def test_only_the_first_iteration_waits_for_the_read():
    settings = cached({"chunk_tokens": 100}, reads="overlap", pool={**FULL, "gbytes_per_s": 0.1})
    run = run_by_hand(turns(), settings)
    # 250 tokens in chunks of 100, 100 and 50.
    close(run.journeys.prefill_end_s[1], 1.0 + 10 * BLOCK_BYTES / 1e8 + 150 * TOKEN_S)


@pytest.mark.parametrize("reads", ["wait", "overlap"])
def test_others_go_on_while_a_prompt_waits_for_its_read_and_not_while_it_computes_behind_it(reads):
    trace = trace_of([0.0, 1.0, 1.1], [1000, 1250, 640], [2] * 3, [list(range(10)), list(range(12)), []], 100)
    life = run_by_hand(trace, cached(reads=reads, pool={**FULL, "gbytes_per_s": 0.1})).journeys
    ended_s = 1.0 + 10 * BLOCK_BYTES / 1e8
    if reads == "wait":
        assert life.prefill_start_s[2] == 1.1
        close(life.prefill_start_s[1], ended_s)
    else:
        assert life.prefill_start_s[1] == 1.0
        close(life.prefill_start_s[2], ended_s)


def test_a_node_reads_one_prompt_after_the_other():
    rows = [list(range(10)), list(range(12)), [*range(10), 30]]
    trace = trace_of([0.0, 1.0, 1.0], [1000, 1250, 1150], [2] * 3, rows, 100)
    life = run_by_hand(trace, cached(pool={**FULL, "gbytes_per_s": 1.0})).journeys
    read_s = 10 * BLOCK_BYTES / 1e9
    close(life.prefill_start_s[1], 1.0 + read_s)
    close(life.prefill_start_s[2], 1.0 + 2 * read_s)


@pytest.mark.parametrize(("together", "found"), [(1, 0), (2, 1000)])
def test_nodes_that_share_a_pool_find_each_others_blocks(together, found):
    # While a long prompt keeps the first node, the second turn goes to the other one.
    trace = trace_of([0.0, 1.0, 1.1], [1000, 50_000, 1250], [2] * 3, [list(range(10)), [], list(range(12))], 100)
    life = run_by_hand(trace, cached({"nodes": 2}, pool={**FULL, "nodes": together})).journeys
    assert life.prefill_node.tolist() == [0, 0, 1]
    assert life.cached_tokens.tolist() == [0, 0, found]


def test_reads_of_two_nodes_share_the_store_and_reads_contend_with_pushes():
    rows = [list(range(10)), list(range(10)), list(range(10))]
    trace = trace_of([0.0, 1.0, 1.0], [1001] * 3, [2] * 3, rows, 100)
    life = run_by_hand(trace, cached({"nodes": 2}, store=FULL)).journeys
    assert life.prefill_node.tolist() == [0, 0, 1]
    together_s = SETUP_S + 2 * 2 * BLOCK_BYTES / NIC_BYTES_PER_S + IDEAL_LATENCY_S
    close(life.prefill_start_s[1], 1.0 + together_s)
    close(life.prefill_start_s[2], 1.0 + together_s)
    # In memory of the one decode node: writes of the first prompt reach its NICs beside the push, which goes to GPU 0 there.
    run = run_by_hand(turns(), cached(store={**FULL, "placement": "decode"}))
    assert run.flows.source[run.flow_kind == CACHE_READ].tolist() == list(range(8, 16))
    assert run.journeys.kv_transfer_s()[0] > SETUP_S + alone_s(kv_by_hand(1000)) * 1.01
    close(run_metrics(run)["congestion"]["type2_slowdown"], 1.0)


def test_a_prefill_node_reads_its_own_part_of_the_store_without_the_fabric():
    run = run_by_hand(turns(), cached(store={**FULL, "placement": "prefill"}))
    close(parts_of(run, 1)["cache_read"], 10 * BLOCK_BYTES / HOST_BYTES_PER_S)
    assert (run.flow_kind == KV).all()
    # Of two nodes each holds every other block.
    run = run_by_hand(turns(), cached({"nodes": 2}, store={**FULL, "placement": "prefill"}))
    life = run.journeys
    assert life.pool_bytes[1] == life.store_bytes[1] == 5 * BLOCK_BYTES
    assert life.store_tokens[1] == 1000 and life.pool_tokens[1] == 0
    assert run.flows.source[run.flow_kind == CACHE_READ].tolist() == list(range(8, 13))


def test_under_data_parallel_attention_the_gpu_that_has_the_request_gets_it_all():
    settings = settings_of(
        prefill={"prefix_cache_tokens": 0, "layout": "dp8"},
        kv={"rank_map": "dp8-dp8"},
        cache={"least_tokens": 1, "store": FULL},
    )
    run = run_by_hand(turns(), settings)
    assert run.flows.target[run.flow_kind == CACHE_READ].tolist() == [1] * 8
    close(parts_of(run, 1)["cache_read"], SETUP_S + 10 * BLOCK_BYTES / NIC_BYTES_PER_S + IDEAL_LATENCY_S)


@pytest.mark.parametrize(("least", "found"), [(1000, 1000), (1001, 0)])
def test_too_few_tokens_are_computed_rather_than_read(least, found):
    life = run_by_hand(turns(), cached(least_tokens=least, pool=FULL)).journeys
    assert life.cached_tokens[1] == life.pool_tokens[1] == found


def test_efficiency_of_the_connector_holds_for_the_store_too():
    settings = settings_of(
        prefill={"prefix_cache_tokens": 0}, kv={"efficiency": 0.5}, cache={"least_tokens": 1, "store": {**FULL, "nics": 1}}
    )
    run = run_by_hand(turns(), settings)
    close(parts_of(run, 1)["cache_read"], SETUP_S + 10 * BLOCK_BYTES / (0.5 * NIC_BYTES_PER_S) + IDEAL_LATENCY_S)


def test_bytes_of_a_read_that_the_horizon_cuts_short_are_those_put_on_the_network():
    for horizon_s, sent in ((1.0003, 0), (1.0004, 10 * BLOCK_BYTES)):
        settings = settings_of(
            prefill={"prefix_cache_tokens": 0}, cache={"least_tokens": 1, "store": FULL}, load={"horizon_s": horizon_s}
        )
        run = run_by_hand(turns(), settings)
        assert run.journeys.store_bytes.tolist() == [0, sent] and run_metrics(run)["bytes"]["cache_read"] == sent


def test_prefill_that_waits_for_reads_is_limited_by_them():
    count = 300
    rows = [list(range(10))] * count
    trace = trace_of([0.0, *(1.0 + np.arange(count - 1) * 0.004)], [1001] * count, [1] * count, rows, 100)
    settings = settings_of(
        prefill={"prefix_cache_tokens": 0}, cache={"pool": {**FULL, "gbytes_per_s": 10.0}},
        measure={"warm_up_fraction": 0.25, "cool_down_fraction": 0.0, "least_filled": 0.0, "least_turnovers": 0.0},
    )  # fmt: skip
    metrics = run_metrics(run_by_hand(trace, settings))
    used = metrics["occupancy"]["prefill"]
    # A read takes 6.2 ms, one token 0.1 ms; one comes every 4 ms.
    assert used["reading"] == pytest.approx(1.0 - TOKEN_S / (10 * BLOCK_BYTES / 1e10), rel=0.01)
    assert limits(metrics, (1, 1))["full"] == ["cache_reads"]


@pytest.mark.parametrize("fabric", ["roft-256", "roft-256@nic:s2g3"])
def test_a_store_that_failures_cut_off_is_not_read_and_is_told_of(fabric):
    settings, wired, card = cached(store=FULL), load_fabric(fabric), load_card("glm-5.1")
    routing = routing_for(wired, fall_back="none")
    reach = reach_of(wired, routing, settings, card)
    cut = 2 if "@" in fabric else 0
    # Eight NICs of the third server, both ways.
    assert reach.checked == reach_of(wired, routing, settings_of(), card).checked + 16
    assert len(reach.cut) == cut
    run = serve(wired, ideal_model(fabric_of("roft-256")), turns(), settings, card, ConstantTimes(), reach=reach)
    assert run.journeys.outcome.tolist() == [COMPLETED, COMPLETED]
    assert run.journeys.store_tokens[1] == (0 if cut else 1000)
    assert (run.flow_kind != KV).any() != bool(cut)


def test_settings_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"at most 1 as cache\.store\.servers, the nodes of decode, not 2"):
        cached(store={**FULL, "placement": "decode", "servers": 2})
    declared = {
        "fabrics": ["roft-256"], "requests": {"count": 3}, "prefill": {"nodes": 30}, "decode": {"nodes": 1},
        "cache": {"store": {**FULL, "servers": 2}},
    }  # fmt: skip
    with pytest.raises(InputError, match=r"at least 264 for 30 \+ 1 nodes and 2 servers of cache\.store"):
        compare(Scenario.model_validate(declared))
    declared["cache"]["store"]["servers"] = 1
    with pytest.raises(InputError, match=r"cache\.store\.tokens"):
        compare(Scenario.model_validate(declared), record="roft-256")


def test_tiers_without_block_ids_are_empty():
    run = run_by_hand(
        trace_of([0.0, 1.0], [1000, 1250], [2, 2]), cached(pool=FULL, store=FULL), model=ideal_model(fabric_of("roft-256"))
    )
    assert not run.journeys.cached_tokens.any() and (run.flow_kind == KV).all()
