"""A recorded run, replayed on its fabric, ends every transfer when the run did; on another one the engine reacts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from serving_by_hand import (
    SETUP_S,
    STEP_S,
    TOKEN_S,
    ConstantTimes,
    fabric_of,
    kv_by_hand,
    latents_by_hand,
    settings_of,
    trace_of,
)

from zcube.comparison import Comparison, compare
from zcube.errors import InputError, RunError
from zcube.fabric.catalog import load_fabric
from zcube.llm.cards import load_card
from zcube.network.flow_model import ideal_model
from zcube.network.settings import Network
from zcube.replays.operations import TraceReplay, replay_trace
from zcube.scenario import Scenario
from zcube.serving import trace_recorder
from zcube.serving.run import ServingRun, serve
from zcube.serving.trace_recorder import TraceRecorder, seconds_between
from zcube.trace.comm_trace import CommTrace, Kind

#: The bundled scenarios' engines with fewer nodes and requests.
DENSE: dict[str, Any] = {
    "prefill": {"nodes": 6, "layout": "cp8", "chunk_tokens": 4096},
    "decode": {"nodes": 3, "max_batch": 6},
    "kv": {"rank_map": "cp8-dp8", "push": "per-chunk"},
}
EXPERTS: dict[str, Any] = {
    "prefill": {"nodes": 8, "nodes_per_instance": 4, "layout": "dp8", "chunk_tokens": 8192, "expert_bursts": 3},
    "decode": {"nodes": 3, "max_batch": 6},
    "kv": {"rank_map": "dp8-dp8", "push": "per-chunk"},
}
GROUPS: dict[str, Any] = {
    "prefill": {"nodes": 4, "layout": "dp8", "chunk_tokens": 8192},
    "decode": {"nodes": 4, "nodes_per_instance": 2, "max_batch": 6},
    "kv": {"rank_map": "dp8-dp8", "push": "per-chunk"},
}
LOADS: dict[str, dict[str, Any]] = {
    "open": {"mode": "open", "rate_per_s": 6.0},
    "closed": {"mode": "closed", "concurrency": 24},
}


def recorded(engine: dict[str, Any], mode: str, fabric: str, requests: int = 60, **tables: Any) -> Comparison:
    declared = {"fabrics": [fabric], "requests": {"count": requests}, "load": LOADS[mode], **engine}
    for name, changes in tables.items():
        declared[name] = {**declared.get(name, {}), **changes}
    return compare(Scenario.model_validate(declared), record=fabric)


def replayed(comparison: Comparison, fabric: str | None = None) -> TraceReplay:
    """Replay a recorded run as its metadata says, perhaps on another fabric."""
    trace = comparison.recorded
    assert trace is not None
    network = trace.metadata["network"]
    asked = Network(
        fidelity=network["fidelity"],
        routing=network["routing"] if fabric is None and network["fidelity"] != "ideal" else "default",
        queue_pairs=network["queue_pairs"] or 2,
        path_split=network["path_split"],
        nic_gbps=network["nic_gbps"],
        packet=comparison.scenario.network.packet,
    )
    return replay_trace(asked.on(load_fabric(fabric or next(iter(comparison.results))), network["seed"]), trace)


def check_equal(comparison: Comparison, done: TraceReplay, tolerance: float = 1e-9) -> None:
    (result,) = comparison.results.values()
    run, rows = result.run, done.trace.rows(Kind.TRANSFER)
    assert len(rows) == len(run.flows) > 0
    assert np.array_equal(done.trace.source[rows], run.flows.source)
    assert np.array_equal(done.trace.target[rows], run.flows.target)
    assert np.array_equal(done.trace.size_bytes[rows], run.flows.size_bytes)
    ended = np.isfinite(run.completions.finish_s)
    np.testing.assert_allclose(done.times.start_s[rows], run.flows.start_s, rtol=tolerance)
    np.testing.assert_allclose(done.times.finish_s[rows][ended], run.completions.finish_s[ended], rtol=tolerance)


@pytest.mark.parametrize("fabric", ["roft-256", "zcube-256"])
@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize("engine", [DENSE, EXPERTS, GROUPS], ids=["dense", "experts", "groups"])
def test_replay_of_a_recorded_run_equals_the_run(engine, load, fabric):
    if engine is GROUPS:
        # Every few steps of decode nodes exchange, so that answers are to be short.
        engine = {**engine, "requests": {"count": 8, "coding_agent": {"output_tokens_mu": 4.5, "output_tokens_cap": 300}}}
    comparison = recorded(engine, load, fabric, 60 if engine is DENSE else 24)
    check_equal(comparison, replayed(comparison))


CASES = {
    "tight room": ("closed", {"decode": {"max_batch": 2}}),
    "tight tokens": ("open", {"decode": {"kv_capacity_tokens": 200_000}}),
    "one after the other": ("open", {"prefill": {"expert_overlap": False, "expert_bursts": 2}}),
    "after prefill": ("closed", {"kv": {"push": "after-prefill"}}),
    "a horizon": ("open", {"load": {**LOADS["open"], "horizon_s": 6.0}}),
    "no set-up": ("closed", {"kv": {"setup_s": 0.0}}),
    "striped": ("open", {"placement": {"kind": "striped"}}),
    "another seed": ("open", {"seed": 7}),
    "fixed parts": ("closed", {"network": {"path_split": "fixed", "queue_pairs": 4}}),
    "slow NICs": ("closed", {"network": {"nic_gbps": 25.0}}),
    "ideal": ("open", {"network": {"fidelity": "ideal"}}),
    "steps that wait for pushes": ("closed", {"kv": {"blocking": "step"}, "network": {"nic_gbps": 50.0}}),
    "little memory": ("closed", {"prefill": {"kv_capacity_tokens": 250_000}, "network": {"nic_gbps": 50.0}}),
    "room first": ("closed", {"decode": {"max_batch": 2, "preallocate": "in-order"}}),
    "who has room first": ("open", {"decode": {"max_batch": 2, "preallocate": "overtake"}}),
    "prefixes at decode": ("closed", {"decode": {"prefix_cache_tokens": 2_000_000}}),
    "prompts computed at decode": (
        "closed",
        {
            "decode": {"prefix_cache_tokens": 2_000_000, "max_batch": 2},
            "router": {"policy": "conditional", "max_local_prefill_tokens": 30_000, "max_prefill_queue": 6},
        },
    ),
    "rejections": ("closed", {"decode": {"kv_capacity_tokens": 60_000}}),
}


@pytest.mark.parametrize("engine", [DENSE, EXPERTS], ids=["dense", "experts"])
@pytest.mark.parametrize("case", CASES)
def test_replay_equals_the_run_whatever_makes_it_wait(engine, case):
    load, tables = CASES[case]
    tables = dict(tables)
    seed = tables.pop("seed", 0)
    comparison = recorded({**engine, "seed": seed}, load, "roft-256", 40 if engine is DENSE else 16, **tables)
    check_equal(comparison, replayed(comparison))


GROUP_CASES = {
    "in turn": {},
    "beside computation": {"expert_overlap": True, "expert_burst_steps": 9},
    "every pair, every step": {"nodes_per_instance": 4, "expert_pairs": "all", "expert_burst_steps": 1},
    "first tokens by decode": {"first_token": "decode"},
    "tight room": {"max_batch": 1},
}


@pytest.mark.parametrize("case", GROUP_CASES)
def test_replay_equals_a_run_whose_decode_nodes_exchange(case):
    short = {"requests": {"count": 12, "coding_agent": {"output_tokens_mu": 3.0, "output_tokens_cap": 60}}}
    comparison = recorded({**GROUPS, **short}, "closed", "roft-256", decode=GROUP_CASES[case])
    check_equal(comparison, replayed(comparison))


TILERT: dict[str, Any] = {
    "prefill": {"nodes": 6, "layout": "tp8", "chunk_tokens": 4096},
    "decode": {"nodes": 3, "layout": "tp8", "engine": "tilert"},
    "kv": {"rank_map": "tp8-tilert"},
}


@pytest.mark.parametrize(("load", "blocking"), [("open", "none"), ("closed", "step")])
def test_replay_equals_the_run_on_nodes_that_take_one_request(load, blocking):
    comparison = recorded(TILERT, load, "roft-256", 40, kv={"blocking": blocking}, network={"nic_gbps": 50.0})
    check_equal(comparison, replayed(comparison))


@pytest.mark.parametrize("fabric", ["roft-256", "zcube-256"])
@pytest.mark.parametrize("load", LOADS)
def test_packets_of_a_recorded_run_come_again_to_the_picosecond(load, fabric):
    packets = {"fidelity": "packet", "packet": {"cell_bytes": 1 << 18}}
    comparison = recorded(DENSE, load, fabric, 12, network=packets)
    check_equal(comparison, replayed(comparison), tolerance=0.0)


BLOCKED = {**DENSE, "kv": {**DENSE["kv"], "blocking": "step"}}


@pytest.mark.parametrize(
    "engine", [DENSE, EXPERTS, BLOCKED, TILERT], ids=["dense", "experts", "steps that wait for pushes", "one request a node"]
)
def test_a_slower_network_shows_how_the_engine_reacts(engine):
    # One request at a time leaves nothing to decide, so a run recorded on a fast network and replayed on a slow one is the
    # run on the slow one. Of exchanges over nodes, what DeepEP takes of its own is recorded at the first network's rate; here
    # they take what the network gives.
    alone = {**engine, "load": {"mode": "closed", "concurrency": 1}, "compute": {"exchanges": "links"}}
    fast, slow = (
        recorded(alone, "closed", "roft-256", 12, load=alone["load"], network={"nic_gbps": rate}) for rate in (400, 20)
    )
    assert fast.recorded is not None and slow.recorded is not None
    done = replay_trace(Network(nic_gbps=20).on(load_fabric("roft-256")), fast.recorded)
    check_equal(slow, done)
    ends = [comparison.results["roft-256"].run.end_s for comparison in (fast, slow)]
    assert done.times.finish_s.max() == pytest.approx(ends[1], rel=1e-9) != pytest.approx(ends[0], rel=1e-2)


def test_a_slower_network_carries_recorded_exchanges_at_what_it_gives():
    # A run on the slow network has DeepEP's share of its rate too, at least 0.94, and dispatch and combine one after the other,
    # which for one node's tokens use one direction each: 18,752 B in place of 12,336 B a token.
    alone = {**EXPERTS, "load": {"mode": "closed", "concurrency": 1}}
    fast, slow = (
        recorded(alone, "closed", "roft-256", 12, load=alone["load"], network={"nic_gbps": rate}) for rate in (400, 20)
    )
    assert fast.recorded is not None
    done = replay_trace(Network(nic_gbps=20).on(load_fabric("roft-256")), fast.recorded)
    end_s = slow.results["roft-256"].run.end_s
    assert 0.94 * 12_336 / 18_752 * end_s < done.times.finish_s.max() < end_s


def record_by_hand(trace, settings, times=None) -> tuple[ServingRun, CommTrace]:
    fabric = fabric_of("roft-256")
    recorder = TraceRecorder(fabric.gpus)
    card, compute = load_card("glm-5.1"), times or ConstantTimes()
    run = serve(fabric, ideal_model(fabric), trace, settings, card, compute, recorder=recorder)
    return run, recorder.trace({})


def rows_of(trace: CommTrace, name: str) -> np.ndarray:
    return np.flatnonzero(trace.name == trace.names.index(name))


def waits(trace: CommTrace, row: int) -> list[int]:
    return sorted(trace.waits_for(row).tolist())


def test_two_chunks_by_hand():
    _, trace = record_by_hand(trace_of([0.0], [1280], [11]), settings_of(prefill={"chunk_tokens": 640}))
    chunks, setups, writes, steps = (rows_of(trace, name) for name in ("prefill-chunk", "kv-setup", "kv-write", "decode-steps"))
    assert trace.source[chunks].tolist() == [*range(8), *range(8)]
    assert trace.duration_s[chunks] == pytest.approx(640 * TOKEN_S)
    assert [waits(trace, row) for row in chunks] == [[]] * 8 + [[row] for row in chunks[:8]]
    # GPU 0 sends, each push once its chunk is computed and set up; no push waits for the one before it.
    assert [waits(trace, row) for row in setups] == [[chunks[0]], [chunks[8]]]
    assert [waits(trace, row) for row in writes] == [[row] for row in setups]
    assert trace.duration_s[setups].tolist() == [SETUP_S] * 2
    assert trace.size_bytes[writes].tolist() == [latents_by_hand(10), kv_by_hand(1280) - latents_by_hand(10)]
    # Ten steps of all eight GPUs of the decode node, after both pushes.
    assert trace.source[steps].tolist() == list(range(8, 16))
    assert [waits(trace, row) for row in steps] == [writes.tolist()] * 8
    assert trace.duration_s[steps] == pytest.approx(10 * STEP_S)
    assert len(trace) == 8 + 8 + 2 + 2 + 8


def test_a_prompt_starts_no_earlier_than_it_arrives_and_after_the_one_before_it():
    settings = settings_of(prefill={"chunk_tokens": 1000})
    _, trace = record_by_hand(trace_of([0.0, 0.05, 3.0], [1000, 1000, 1000], [1, 1, 1]), settings)
    chunks = rows_of(trace, "prefill-chunk").reshape(3, 8)
    assert trace.start_s[chunks[:, 0]].tolist() == [0.0, 0.05, 3.0]
    assert [waits(trace, row) for row in chunks[:, 5]] == [[], [chunks[0, 5]], [chunks[1, 5]]]


def test_in_a_closed_loop_the_next_prompt_waits_for_the_answer_before_it():
    settings = settings_of(load={"mode": "closed", "concurrency": 1})
    _, trace = record_by_hand(trace_of([0.0] * 3, [100, 100, 100], [3, 1, 2]), settings)
    chunks, steps, writes = (rows_of(trace, name) for name in ("prefill-chunk", "decode-steps", "kv-write"))
    first, second, third = chunks.reshape(3, 8)
    assert waits(trace, second[0]) == [first[0], steps[0]]
    # An answer of one token ends with the arrival of its KV.
    assert waits(trace, third[0]) == [second[0], writes[1]]
    assert not trace.start_s.any()


def test_kv_waits_for_the_room_of_the_request_that_ended():
    trace = trace_of([0.0] * 3, [100, 120, 140], [11, 6, 2])
    run, recorded = record_by_hand(trace, settings_of(prefill={"nodes": 3}, decode={"max_batch": 1}))
    rooms, steps, setups = (rows_of(recorded, name) for name in ("kv-room", "decode-steps", "kv-setup"))
    assert run.journeys.kv_post_s[1] == run.journeys.finish_s[0]
    assert [waits(recorded, row) for row in rooms] == [[steps[0]], sorted([rooms[0], steps[8]])]
    assert [rooms[number] in waits(recorded, setups[number + 1]) for number in (0, 1)] == [True, True]


def test_a_batch_that_stays_is_one_computation():
    # 2000 steps are predicted in several goes; the batch changes when the second request joins and when it ends.
    run, trace = record_by_hand(trace_of([0.0, 0.0], [100, 433], [2000, 1300]), settings_of(prefill={"nodes": 2}))
    steps = rows_of(trace, "decode-steps")
    assert len(steps) == 3 * 8
    first, together, last = trace.duration_s[steps[::8]]
    assert first + together + last == pytest.approx(1999 * STEP_S)
    assert together == pytest.approx(1299 * STEP_S)
    join = rows_of(trace, "kv-write")[1]
    assert waits(trace, steps[8]) == sorted([steps[0], join])
    assert run.end_s == pytest.approx(run.journeys.first_token_s[0] + 1999 * STEP_S)


@pytest.mark.parametrize("overlap", [True, False])
def test_exchanges_run_beside_or_before_what_is_computed(overlap):
    pool = {"nodes": 2, "nodes_per_instance": 2, "layout": "dp8", "expert_overlap": overlap, "expert_bursts": 2}
    settings = settings_of(prefill=pool, kv={"rank_map": "dp8-dp8"})
    _, trace = record_by_hand(trace_of([0.0], [1600], [1]), settings)
    sent, computed, steps = (rows_of(trace, name) for name in ("expert-exchange", "prefill-chunk", "nodes-in-step"))
    assert (len(sent), len(computed), len(steps)) == (2 * 16, 2 * 16, 2)
    assert trace.duration_s[computed].reshape(2, 16)[:, 0] == pytest.approx(1600 * TOKEN_S * np.array([38, 37]) / 75)
    bursts = list(zip(sent.reshape(2, 16), computed.reshape(2, 16), steps, strict=True))
    for number, (transfers, work, step) in enumerate(bursts):
        before = [int(bursts[number - 1][2])] if number else []
        if overlap:
            assert [waits(trace, row) for row in (*transfers, *work)] == [before] * 32
            assert waits(trace, step) == sorted([*transfers, *work])
        else:
            after = [[int(bursts[number - 1][1][trace.source[row]])] if number else [] for row in transfers]
            assert [waits(trace, row) for row in transfers] == after
            assert [waits(trace, row) for row in work] == [[step]] * 16


def test_nothing_is_recorded_unasked():
    scenario = Scenario.model_validate({"fabrics": ["roft-256"], "requests": {"count": 20}, **DENSE})
    assert compare(scenario).recorded is None
    with pytest.raises(InputError, match="one of roft-256"):
        compare(scenario, record="zcube-256")


def test_recording_changes_nothing():
    scenario = Scenario.model_validate({"fabrics": ["roft-256"], "requests": {"count": 30}, **EXPERTS})
    assert compare(scenario).document() == compare(scenario, record="roft-256").document()


def test_a_run_with_too_many_operations_says_so(monkeypatch):
    monkeypatch.setattr(trace_recorder, "MOST_OPERATIONS", 100)
    with pytest.raises(RunError, match="at most 100 operations are recorded"):
        record_by_hand(trace_of(np.arange(30.0), [100] * 30, [2] * 30), settings_of())


@pytest.mark.parametrize(("start_s", "end_s"), [(0.1, 0.3), (0.3, 123.456), (1e-9, 1.0), (7.0, 7.0), (0.1 + 0.2, 0.7)])
def test_a_duration_leads_to_the_end_to_the_last_place(start_s, end_s):
    assert abs(start_s + seconds_between(start_s, end_s) - end_s) <= np.spacing(end_s)


@pytest.mark.parametrize("mode", ["open", "closed"])
def test_turns_that_wait_for_others_come_again(mode):
    """Two sessions, a turn with a time of its own, one that follows a rejected request, and places that run short."""
    too_long = 10_000_000
    trace = trace_of(
        [0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 4.0],
        [1000, 2000, 500, 900, too_long, 600, 700],
        [11, 3, 5, 2, 1, 4, 2],
        after=[-1, 0, 1, -1, -1, 4, 0],
        delay_s=[0, 0.5, 2.0, 0, 0, 1.5, 0.1],
    )
    run, recorded = record_by_hand(trace, settings_of(load={"mode": mode, "concurrency": 2}))
    done = replay_trace(Network(fidelity="ideal").on(fabric_of("roft-256")), recorded)
    rows = recorded.rows(Kind.TRANSFER)
    assert len(rows) == 6
    np.testing.assert_allclose(done.times.start_s[rows], run.flows.start_s, rtol=1e-9)
    np.testing.assert_allclose(done.times.finish_s[rows], run.completions.finish_s, rtol=1e-9)
    assert sorted(recorded.duration_s[rows_of(recorded, "next-turn")].tolist()) == [0.1, 0.5, 1.5, 2.0]


@pytest.mark.parametrize("answer", [1, 5])
def test_a_prompt_computed_at_decode_waits_for_its_arrival_and_the_next_turn_for_it(answer):
    # The third prompt follows the second one, which ends on the other decode node; the fourth follows the third.
    trace = trace_of(
        [0.0] * 4, [1000, 5000, 1250, 640], [2, 100, answer, 2], [list(range(10)), [], list(range(12)), []], 100,
        after=[-1, -1, 1, 2], delay_s=[0.0] * 4,
    )  # fmt: skip
    settings = settings_of(
        decode={"nodes": 2, "prefix_cache_tokens": 5000}, router={"policy": "conditional", "max_local_prefill_tokens": 250}
    )
    run, recorded_trace = record_by_hand(trace, settings)
    assert run.journeys.prefill_node.tolist() == [0, 0, -1, 0] and run.journeys.decode_node.tolist()[:3] == [0, 1, 0]
    done = replay_trace(Network(fidelity="ideal").on(fabric_of("roft-256")), recorded_trace)
    rows = recorded_trace.rows(Kind.TRANSFER)
    np.testing.assert_allclose(done.times.finish_s[rows], run.completions.finish_s, rtol=1e-9)
    prompts = [row for row in rows_of(recorded_trace, "prefill-chunk") if recorded_trace.source[row] == 8]
    assert done.times.start_s[prompts] == pytest.approx([run.journeys.prefill_start_s[2]])
    assert recorded_trace.duration_s[prompts] == pytest.approx([250 * TOKEN_S])
