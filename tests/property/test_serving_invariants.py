"""Laws of every serving run: nothing is lost, times are in order, limits hold, runs repeat, fabrics see the same requests."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zcube.comparison import Comparison, FabricResult, compare
from zcube.inputs import set_key
from zcube.outputs import to_json
from zcube.scenario import Scenario
from zcube.serving.attribution import ttft_parts
from zcube.serving.expert_exchange import DecodeExchange, ExpertGroup, dealt_to_gpus
from zcube.serving.journey import ABSENT, COMPLETED, REJECTED, UNFINISHED
from zcube.serving.kv_memory import Claim, KvMemory
from zcube.serving.placement import seats
from zcube.serving.transfers import CACHE_READ, EXPERT, KV
from zcube.workload.coding_agent import span_s
from zcube.workload.offered import kept_requests

FABRICS = ("roft-256", "zcube-256")
#: Rank map: prefill layout, decode layout, full copies of a request's KV on the wire.
MAPS = {
    "tp8-tp8": ("tp8", "tp8", 8),
    "tp8-dp8": ("tp8", "dp8", 1),
    "dp8-dp8": ("dp8", "dp8", 1),
    "dp8-tp8": ("dp8", "tp8", 8),
    "cp8-dp8": ("cp8", "dp8", 1),
    "cp8-layersplit-dp8": ("cp8", "dp8", 1),
    "tp8-tilert": ("tp8", "tp8", 1),
}
ROUTERS = ({}, {"policy": "conditional"}, {"policy": "conditional", "max_prefill_queue": 1})
SOME = settings(max_examples=40, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
FEW = settings(SOME, max_examples=6)


@st.composite
def tiers(draw: st.DrawFn, always: bool = False) -> dict[str, Any]:
    """Draw tiers of caches, as often as not none unless they are always wanted."""
    sizes = st.sampled_from([0, 100_000, 2_000_000])
    if not always and draw(st.booleans()):
        return {}
    return {
        "reads": draw(st.sampled_from(["wait", "overlap"])),
        "least_tokens": draw(st.sampled_from([1, 20_000])),
        "pool": {"tokens": draw(sizes), "nodes": draw(st.integers(1, 3)), "gbytes_per_s": draw(st.sampled_from([1.0, 50.0]))},
        "store": {
            "tokens": draw(sizes),
            "placement": draw(st.sampled_from(["own", "prefill", "decode"])),
            "nics": draw(st.sampled_from([1, 8])),
            "latency_s": draw(st.sampled_from([0.0, 0.01])),
            "writes": draw(st.sampled_from(["carried", "free"])),
        },
    }


@st.composite
def scenarios(
    draw: st.DrawFn,
    recorded: bool = False,
    groups: bool = False,
    maps: Sequence[str] = tuple(sorted(MAPS)),
    tiered: bool = False,
    **fixed: Any,
) -> Scenario:
    """Draw a scenario; for a run that is recorded one without what a trace does not say; or with decode over nodes."""
    name = "dp8-dp8" if groups else draw(st.sampled_from(maps))
    prefill_layout, decode_layout, _ = MAPS[name]
    span = draw(st.sampled_from([1, 2])) if prefill_layout == "dp8" else 1
    mode = draw(st.sampled_from(["open", "closed"]))
    engine = draw(st.sampled_from(["batched", "tilert", "tilert"])) if name == "tp8-tilert" else "batched"
    # Every GPU of a node that shards heads keeps all of them, beside its weights and 150,000 tokens of requests.
    held = draw(st.sampled_from([0, 0, 100_000, 600_000])) if name != "tp8-tilert" else 0
    decode_span = draw(st.sampled_from([2, 3] if groups else [1, 2])) if decode_layout == "dp8" else 1
    declared = {
        "fabrics": FABRICS,
        "seed": draw(st.integers(0, 1 << 40)),
        # Decode over nodes sends with every burst of steps; fewer answers have thousands of them.
        "requests": {"source": "coding-agent", "count": draw(st.integers(4, 8) if decode_span > 1 else st.integers(20, 40))},
        "load": {
            "mode": mode,
            "rate_per_s": draw(st.sampled_from([0.5, 5.0, 50.0])),
            "concurrency": draw(st.integers(1, 30)),
            "horizon_s": draw(st.sampled_from([None, None, 7.3])),
        },
        "prefill": {
            "nodes": span * draw(st.integers(1, 3)),
            "nodes_per_instance": span,
            "layout": prefill_layout,
            "chunk_tokens": draw(st.sampled_from([1000, 8192, 50_000])),
            "prefix_cache_tokens": draw(st.sampled_from([0, 100_000, 2_000_000])),
            "max_queue": draw(st.sampled_from([None, None, 2])) if mode == "open" and engine == "batched" else None,
            "expert_overlap": draw(st.booleans()),
            "expert_bursts": draw(st.integers(1, 3)),
            "kv_capacity_tokens": draw(st.sampled_from([None, 150_000, 400_000])),
        },
        "decode": {
            "nodes": decode_span * draw(st.integers(1, 3)),
            "nodes_per_instance": decode_span,
            "layout": decode_layout,
            "first_token": draw(st.sampled_from(["prefill", "decode"])),
            "expert_overlap": draw(st.booleans()),
            "expert_burst_steps": draw(st.sampled_from([7, 30, 30])),
            "expert_whole_bursts": draw(st.booleans()),
            "expert_pairs": draw(st.sampled_from(["turned", "turned", "turned", "all"])),
            "max_batch": draw(st.sampled_from([1, 3, 128])),
            "kv_capacity_tokens": draw(st.sampled_from([150_000, None])),
            "engine": engine,
            "tilert": {"when_busy": draw(st.sampled_from(["queue", "reject"]))}
            if engine == "tilert" and mode == "open"
            else {},
            "preallocate": draw(st.sampled_from(["none", "in-order", "overtake"])) if engine == "batched" else "none",
            "prefix_cache_tokens": held,
        },
        "router": draw(st.sampled_from(ROUTERS)) if held and decode_span == 1 else {},
        "kv": {
            "rank_map": name,
            "push": draw(st.sampled_from([None, "after-prefill"] + ["per-chunk"] * (name != "tp8-tilert"))),
            "setup_s": draw(st.sampled_from([0.0, 0.00037])),
            "blocking": draw(st.sampled_from(["none", "step"])),
            "efficiency": draw(st.sampled_from([1.0, 0.69])),
        },
        "cache": {} if recorded else draw(tiers(tiered)),
        "placement": {"kind": draw(st.sampled_from(["blocked", "striped"]))},
        "network": {
            "fidelity": draw(st.sampled_from(["flow", "flow", "ideal"])),
            "path_split": draw(st.sampled_from(["pooled", "fixed"])),
            "nic_gbps": draw(st.sampled_from([None, 50.0])),
        },
    }
    if recorded:
        declared["kv"]["efficiency"] = 1.0
    for table, changes in fixed.items():
        declared[table] = {**declared[table], **changes}
    return Scenario.model_validate(declared)


def kv_by_hand(tokens: np.ndarray, name: str, held: int | np.ndarray = 0) -> np.ndarray:
    """fp8 rows of 656 B and index pages of 8,448 B in GLM-5.1's 78 layers and the draft layer, by rank map.

    SGLang and vLLM send rows by the page of 64, TileRT as many as there are; whole pages held at the decode node stay out.
    """
    pages = -(-tokens // 64) - held // 64
    rows = tokens if name == "tp8-tilert" else 64 * pages
    return 79.0 * MAPS[name][2] * (656 * rows + 8448 * pages)


def most_at_once(starts_s: np.ndarray, ends_s: np.ndarray) -> int:
    """Return how many of the intervals [start, end) overlap at most."""
    events = sorted([(at, 1) for at in starts_s] + [(at, -1) for at in ends_s])
    return int(np.cumsum([step for _, step in events]).max(initial=0))


def check_requests(result: FabricResult) -> None:
    counts, outcome = result.metrics["requests"], result.run.journeys.outcome
    assert counts["offered"] == sum(counts[kind] for kind in ("completed", "rejected", "failed", "unfinished"))
    assert counts["offered"] == len(outcome) - (outcome == ABSENT).sum()
    assert np.array_equal(outcome == ABSENT, np.isnan(result.run.journeys.arrival_s))
    # In whatever order requests came, no cache saved more than their prompts share.
    trace = result.run.journeys.trace
    bound = trace.summary().prefix_hit_bound
    assert bound is not None
    assert result.run.journeys.cached_tokens.sum() <= bound * trace.input_tokens.sum() * (1 + 1e-12)


def check_bytes(result: FabricResult, name: str) -> None:
    run, found = result.run, result.metrics["bytes"]
    assert found["sent"] == pytest.approx(found["received"], rel=1e-9)
    posted = found["kv"] + found["expert"] + found["cache_read"] + found["cache_write"]
    assert found["sent"] <= posted * (1 + 1e-9)
    if np.isfinite(run.completions.finish_s).all():
        assert found["sent"] == pytest.approx(posted, rel=1e-9)
    done = run.journeys.outcome == COMPLETED
    life = run.journeys
    expected = kv_by_hand(life.trace.input_tokens[done], name, life.decode_cached_tokens[done]) * (life.prefill_node[done] >= 0)
    assert np.array_equal(run.journeys.kv_bytes[done], expected)
    assert np.array_equal(run.flows.size_bytes, np.rint(run.flows.size_bytes)), "bytes are whole"
    assert found["kv"] == run.journeys.kv_bytes.sum()
    of_request = np.bincount(run.flow_request[run.flow_kind == KV], run.flows.size_bytes[run.flow_kind == KV], len(done))
    assert np.array_equal(of_request, run.journeys.kv_bytes)
    if not (run.journeys.outcome == UNFINISHED).any():
        assert found["kv"] == expected.sum()
    assert result.metrics["congestion"]["max_link_utilisation"] <= 1 + 1e-9
    check_tiers(result)


def check_tiers(result: FabricResult) -> None:
    life, run = result.run.journeys, result.run
    reads = run.flow_kind == CACHE_READ
    of_request = np.bincount((-2 - run.flow_request[reads]) // 2, run.flows.size_bytes[reads], len(life.outcome))
    assert np.array_equal(of_request, life.store_bytes)
    # What tiers gave to a prompt was read for it.
    used = life.pool_tokens + life.store_tokens
    assert (used >= 0).all() and (life.pool_tokens >= 0).all() and (used <= life.cached_tokens).all()
    kept = run.settings.kv.dtype == "fp8"
    assert kept and (79 * 788 * used <= life.pool_bytes + life.store_bytes).all()
    assert not used[np.isnan(life.prefill_start_s)].any()


def check_times(result: FabricResult) -> None:
    life = result.run.journeys
    order = ("arrival_s", "prefill_start_s", "prefill_end_s", "kv_post_s", "kv_end_s", "first_token_s", "finish_s")
    begun = np.isfinite(life.prefill_start_s)
    if result.run.settings.decode.asked_first:
        assert (life.granted_s[begun] <= life.prefill_start_s[begun]).all()
    done = life.outcome == COMPLETED
    for shipped in (True, False):
        some = done & ((life.prefill_node >= 0) == shipped)
        times = np.stack([getattr(life, name)[some] for name in order if shipped or not name.startswith("kv_")])
        assert (np.diff(times, axis=0) >= 0).all()
        assert times.max(initial=0.0) <= result.run.end_s
    longer = done & (life.trace.output_tokens > 1)
    assert (life.finish_s[longer] > life.first_token_s[longer]).all()
    assert np.isnan(life.prefill_start_s[life.outcome == REJECTED]).all()


def check_limits(result: FabricResult, scenario: Scenario) -> None:
    life = result.run.journeys
    posted = np.isfinite(life.kv_post_s)
    ends = np.where(np.isfinite(life.finish_s), life.finish_s, np.inf)
    for node in range(scenario.decode.nodes):
        here = posted & (life.decode_node == node)
        held_from_s = life.granted_s if scenario.decode.engine == "tilert" else life.kv_post_s
        assert most_at_once(held_from_s[here], ends[here]) <= scenario.decode.places
    if scenario.load.mode == "closed":
        accepted = (life.outcome == COMPLETED) | (life.outcome == UNFINISHED)
        assert most_at_once(life.arrival_s[accepted], ends[accepted]) <= scenario.load.concurrency


def check_congestion(result: FabricResult, scenario: Scenario) -> None:
    found = result.metrics["congestion"]
    if found["type1_slowdown"] is not None:
        assert found["type1_slowdown"] >= 1 - 1e-9
    if found["type2_slowdown"] is not None and scenario.network.fidelity == "ideal":
        assert found["type2_slowdown_p99"] == pytest.approx(1.0, rel=1e-6)
    kv = result.run.flow_kind == KV
    spans = scenario.prefill.nodes_per_instance, scenario.decode.nodes_per_instance
    assert kv.all() or max(spans) > 1 or result.run.settings.cache.is_on
    assert not kv.all() or spans[0] == 1 or not len(kv)


def check_same_requests(comparison: Comparison, scenario: Scenario) -> None:
    first, second = (result.run.journeys for result in comparison.results.values())
    assert first.trace is second.trace is comparison.trace
    if scenario.load.mode == "open" and scenario.load.horizon_s is None:
        assert np.array_equal(first.arrival_s, second.arrival_s)
        assert np.array_equal(first.arrival_s, comparison.trace.arrival_s)


def check_parts(result: FabricResult) -> None:
    ttft_s, parts = result.run.journeys.ttft_s(), ttft_parts(result.run)
    answered = np.isfinite(ttft_s)
    assert np.array_equal(np.isfinite(np.stack(list(parts.values()))), np.tile(answered, (len(parts), 1)))
    np.testing.assert_allclose(sum(parts.values())[answered], ttft_s[answered], rtol=0, atol=1e-9)
    for name, values in parts.items():
        assert name == "type2" or values[answered].min(initial=0.0) >= -1e-9, name


@SOME
@given(st.booleans().flatmap(lambda groups: scenarios(groups=groups)))
def test_nothing_is_lost_and_nothing_comes_before_its_cause(scenario: Scenario):
    check_run(scenario)


@FEW
@given(scenarios(maps=("tp8-tilert",)))
def test_nor_where_a_node_takes_one_request(scenario: Scenario):
    check_run(scenario)


@settings(SOME, max_examples=15)
@given(scenarios(tiered=True, prefill={"prefix_cache_tokens": 50_000}))
def test_nor_where_prompts_are_read_from_other_memory(scenario: Scenario):
    check_run(scenario)


def check_run(scenario: Scenario) -> None:
    comparison = compare(scenario)
    check_same_requests(comparison, scenario)
    for result in comparison.results.values():
        check_requests(result)
        check_bytes(result, scenario.kv.rank_map)
        check_times(result)
        check_parts(result)
        check_limits(result, scenario)
        check_congestion(result, scenario)


class WatchedMemory(KvMemory):
    """Memory that checks itself whenever a prompt claims, keeps or gives back some of it."""

    made: ClassVar[list[KvMemory]] = []

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        self.nodes = range(arguments[0])
        self.made.append(self)

    def check(self) -> None:
        for node in self.nodes:
            assert 0 <= self.needed_tokens(node) <= self.held_tokens(node) <= self.capacity_tokens

    def claim(self, *arguments: Any) -> Claim | None:
        claim = super().claim(*arguments)
        self.check()
        return claim

    def computed(self, claim: Claim) -> None:
        super().computed(claim)
        self.check()

    def free(self, claim: Claim) -> None:
        super().free(claim)
        self.check()


@settings(SOME, max_examples=20)
@given(scenarios(prefill={"kv_capacity_tokens": 150_000, "prefix_cache_tokens": 100_000}))
def test_memory_is_never_overdrawn_and_given_back_in_full(scenario: Scenario):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("zcube.serving.prefill_nodes.KvMemory", WatchedMemory)
        WatchedMemory.made = []
        results = compare(scenario).results.values()
        assert len(WatchedMemory.made) == len(results)
        for result, memory in zip(results, WatchedMemory.made, strict=True):
            if not (result.run.journeys.outcome == UNFINISHED).any():
                assert all(memory.needed_tokens(node) == 0 for node in range(scenario.prefill.nodes))


class WatchedGroup(ExpertGroup):
    """A group that keeps what every burst of its instance was to send."""

    bursts: ClassVar[list[tuple[float, int]]] = []

    def burst(self, pair: Any, size_bytes: Any, *beside: Any) -> Any:
        self.bursts.append((float(self._env.now), int(size_bytes.sum())))
        return super().burst(pair, size_bytes, *beside)


class WatchedExchange(DecodeExchange):
    """An exchange that counts the plan's bytes, and the tokens of its steps."""

    steps_passed: ClassVar[list[tuple[float, int, int]]] = []

    def steps(self, requests: int, steps: int, compute_s: float, stages: Any = None) -> Any:
        batches = [dealt_to_gpus(len(rows), self._plan.routing.nodes) for rows in self.microbatches(requests)]
        planned = steps * int(self._plan.step_bytes(batches).sum())
        self.steps_passed.append((float(self._group._env.now), requests * steps, planned))
        return super().steps(requests, steps, compute_s, stages)


@settings(SOME, max_examples=20)
@given(scenarios(groups=True))
def test_experts_send_the_plans_bytes_up_to_the_end(scenario: Scenario):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("zcube.serving.site.ExpertGroup", WatchedGroup)
        patch.setattr("zcube.serving.decode_nodes.DecodeExchange", WatchedExchange)
        WatchedGroup.bursts, WatchedExchange.steps_passed = [], []
        (result,) = compare(scenario.model_copy(update={"fabrics": FABRICS[:1], "baseline": FABRICS[0]})).results.values()
    run, end_s = result.run, result.run.end_s
    sent = run.flows.size_bytes[run.flow_kind == EXPERT].sum()
    assert sent == sum(size for start_s, size in WatchedGroup.bursts if start_s < end_s)
    of_decode = (run.flow_kind == EXPERT) & np.isin(run.flows.source // 8, _decode_servers(scenario))
    steps = [(tokens, planned) for start_s, tokens, planned in WatchedExchange.steps_passed if start_s < end_s]
    assert run.flows.size_bytes[of_decode].sum() == sum(planned for _, planned in steps)
    life = run.journeys
    if scenario.decode.nodes_per_instance > 1 and not (life.outcome == UNFINISHED).any():
        # A decode step gives each request of its batch one token; the first of an answer may be prefill's.
        answers = life.trace.output_tokens[life.outcome == COMPLETED] - (scenario.decode.first_token == "prefill")
        tokens = sum(tokens for tokens, _ in steps)
        # A burst that is not cut short goes on for those whose answers have ended in it.
        more = (scenario.decode.expert_burst_steps - 1) * len(answers) if scenario.decode.expert_whole_bursts else 0
        assert answers.sum() <= tokens <= answers.sum() + more
        # By hand: 8 messages a token and layer out (6,352 B) and back (12,288 B), as many nodes' share of them elsewhere.
        away = 1 - 1 / scenario.decode.nodes_per_instance
        assert sum(planned for _, planned in steps) == pytest.approx(tokens * 75 * 8 * 18_640 * away, rel=0.02)


def _decode_servers(scenario: Scenario) -> list[int]:
    return list(seats(scenario.placement.kind, scenario.prefill.nodes, scenario.decode.nodes).decode)


COUPLINGS = {
    "kv.blocking": ("none", "step"),
    "kv.efficiency": (1.0, 0.69),
    "prefill.kv_capacity_tokens": (None, 300_000),
    "decode.preallocate": ("none", "in-order", "overtake"),
    "router.policy": ("disaggregated", "conditional"),
}
#: Keys of decode groups over nodes, whose requests are all disaggregated.
GROUPS = {
    "decode.nodes_per_instance": (2,),
    "decode.expert_overlap": (False, True),
    "decode.expert_burst_steps": (1, 4),
    "decode.expert_whole_bursts": (False, True),
}


@pytest.mark.parametrize(
    ("keys", "values"),
    [(keys, values) for keys in (COUPLINGS, GROUPS) for values in itertools.product(*keys.values())],
)
def test_littles_law_holds_for_every_combination_of_couplings(keys: dict[str, Any], values: tuple[Any, ...]):
    declared = {
        "fabrics": FABRICS[:1],
        "requests": {"count": 40},
        "prefill": {"nodes": 2},
        "decode": {"nodes": 2, "max_batch": 3, "prefix_cache_tokens": 1_000_000},
        "load": {"mode": "closed", "concurrency": 12},
        "network": {"nic_gbps": 50.0},
    }
    for key, value in zip(keys, values, strict=True):
        set_key(declared, key, value)
    (result,) = compare(Scenario.model_validate(declared)).results.values()
    assert result.metrics["requests"]["completed"] == 40
    law = result.metrics["littles_law"]
    assert law["relative_difference"] == pytest.approx(0.0, abs=1e-9)
    assert 0 < law["mean_in_system"] <= 12 * (1 + 1e-9)


READ_FROM = {
    "nothing": {},
    "a pool": {"pool": {"tokens": 2_000_000, "gbytes_per_s": 5.0}},
    "a store": {"store": {"tokens": 2_000_000, "placement": "prefill"}, "reads": "overlap"},
}


@pytest.mark.parametrize("read_from", READ_FROM)
@pytest.mark.parametrize(("blocking", "capacity"), [("none", None), ("step", 300_000)])
def test_littles_law_holds_where_a_node_takes_one_request(read_from: str, blocking: str, capacity: int | None):
    declared = {
        "fabrics": FABRICS[:1],
        "requests": {"count": 40},
        "prefill": {"nodes": 2, "layout": "tp8", "prefix_cache_tokens": 100_000, "kv_capacity_tokens": capacity},
        "decode": {"nodes": 3, "layout": "tp8", "engine": "tilert"},
        "kv": {"rank_map": "tp8-tilert", "blocking": blocking},
        "cache": READ_FROM[read_from],
        "load": {"mode": "closed", "concurrency": 8},
        "network": {"nic_gbps": 50.0},
    }
    (result,) = compare(Scenario.model_validate(declared)).results.values()
    assert result.metrics["requests"]["completed"] == 40
    law = result.metrics["littles_law"]
    assert law["relative_difference"] == pytest.approx(0.0, abs=1e-9)
    assert 0 < law["mean_in_system"] <= 8 * (1 + 1e-9)
    check_parts(result)
    used = result.metrics["occupancy"]["prefill"]
    assert 0 < used["busy"] + used["blocked"] + used["short_of_memory"] + used["reading"] <= 1 + 1e-9
    assert (result.run.journeys.store_bytes.sum() > 0) == (read_from == "a store")


@FEW
@given(st.booleans().flatmap(lambda groups: scenarios(groups=groups)))
def test_a_run_repeats_byte_for_byte(scenario: Scenario):
    first = compare(scenario)
    # The second one makes its requests anew.
    kept_requests.cache_clear()
    span_s.cache_clear()
    second = compare(scenario)
    assert to_json(first.document()) == to_json(second.document())
    for name, result in first.results.items():
        assert result.run.journeys.frame().equals(second.results[name].run.journeys.frame())


@FEW
@given(scenarios(network={"fidelity": "ideal", "nic_gbps": 100_000.0}))
def test_fabrics_without_a_core_are_equal(scenario: Scenario):
    left, right = (result.run.journeys for result in compare(scenario).results.values())
    for name in ("ttft_s", "tpot_s", "e2e_s", "kv_transfer_s"):
        np.testing.assert_allclose(getattr(left, name)(), getattr(right, name)(), rtol=1e-9)
    assert np.array_equal(left.outcome, right.outcome)


PROGRAM = """
import json, sys
from zcube.comparison import compare
from zcube.outputs import to_json
from zcube.scenario import Scenario
sys.stdout.write(to_json(compare(Scenario.model_validate(json.loads(sys.argv[1]))).document()))
"""


def test_another_process_writes_the_same_bytes():
    declared = {
        "fabrics": FABRICS,
        "requests": {"count": 20},
        "prefill": {"nodes": 4, "nodes_per_instance": 2, "layout": "dp8"},
        "decode": {"nodes": 2},
        "kv": {"rank_map": "dp8-dp8"},
        "load": {"rate_per_s": 5.0},
    }
    here = to_json(compare(Scenario.model_validate(declared)).document())
    hash_seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    call, environment = [sys.executable, "-c", PROGRAM, json.dumps(declared)], {**os.environ, "PYTHONHASHSEED": hash_seed}
    assert subprocess.run(call, env=environment, capture_output=True, text=True, check=True).stdout == here
    assert json.loads(here)["fabrics"].keys() == set(FABRICS)


def test_another_seed_gives_other_requests():
    declared = {
        "fabrics": FABRICS,
        "requests": {"count": 20},
        "prefill": {"nodes": 2},
        "decode": {"nodes": 1},
        "load": {"rate_per_s": 5.0, "horizon_s": 1.0},
    }
    first, second = (compare(Scenario.model_validate({**declared, "seed": seed})).trace for seed in (1, 2))
    assert not np.array_equal(first.input_tokens, second.input_tokens)
