"""TileRT's decode nodes in a serving run, by hand: one request a node, wire wait, convert, inject, the node model's steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from serving_by_hand import (
    EXACT,
    NIC_BYTES_PER_S,
    SETUP_S,
    TOKEN_S,
    alone_s,
    close,
    run_by_hand,
    settings_of,
    trace_of,
)

from zcube.comparison import compare
from zcube.errors import InputError
from zcube.llm.cards import load_card
from zcube.llm.decode_node.figures import load_node
from zcube.llm.decode_node.request import RequestTimes
from zcube.llm.decode_node.step import step
from zcube.scenario import Scenario, load_scenario
from zcube.serving.attribution import ttft_parts
from zcube.serving.journey import COMPLETED, REJECTED, UNFINISHED
from zcube.serving.metrics import run_metrics
from zcube.serving.output_tokens import tokens_within

CARD, NODE = load_card("glm-5.1"), load_node("tilert-b200")
LAYERS = 79


def tilert(nodes: int = 1, prefill: int = 1, **tables: Any):
    decode = {"nodes": nodes, "layout": "tp8", "engine": "tilert", **tables.pop("decode", {})}
    pool = {"nodes": prefill, "layout": "tp8", "chunk_tokens": 1 << 20}
    return settings_of(prefill=pool, decode=decode, kv={"rank_map": "tp8-tilert", **tables.pop("kv", {})}, **tables)


def kv_by_hand(tokens: int) -> float:
    """528 + 128 bytes a token and 8,448 a page of 64 in 79 layers (engine of TileRT 0.1.5)."""
    return LAYERS * (656 * tokens + 8448 * -(-tokens // 64))


def convert_by_hand(tokens: int) -> float:
    """Read as they came, written as 1,152 + 256 bytes in bf16, at 0.647 of 7.7 TB/s."""
    return (kv_by_hand(tokens) + LAYERS * 1408 * tokens) / (0.647 * 7.7e12)


def inject_by_hand(tokens: int) -> float:
    """Seven copies of the latents over one GPU's NVLink, 0.8 of 900 GB/s."""
    return 7 * LAYERS * 1152 * tokens / (0.8 * 900e9)


def steps_by_hand(context: int, tokens: int, drafts: int = 3, accepted: float = 3.2) -> float:
    """A step makes 3.2 tokens on average, whole ones: 3, 3, 3, 3, 4; its context is what is out before it."""
    seconds, out, number = 0.0, 0, 0
    while out < tokens:
        seconds += step(CARD, NODE, context + out, drafts).total_s
        number += 1
        out = int(number * accepted + 1e-9)
    return seconds


def parts_of(run) -> list[dict[str, float]]:
    parts, rows = ttft_parts(run), []
    for row, ttft_s in enumerate(run.journeys.ttft_s()):
        rows.append({part: float(values[row]) for part, values in parts.items() if abs(values[row]) > 1e-12})
        assert sum(rows[-1].values()) == pytest.approx(ttft_s, abs=1e-9)
    return rows


@pytest.mark.parametrize(("drafts", "accepted"), [(3, 3.2), (0, 1.0), (3, 1.7)])
def test_a_request_alone_takes_the_sum_of_its_parts(drafts, accepted):
    node = {"drafts": drafts, "accepted_tokens": accepted}
    run = run_by_hand(trace_of([0.0], [6400], [101]), tilert(decode={"tilert": node}))
    (parts,), life = parts_of(run), run.journeys
    expected = {
        "prefill": 6400 * TOKEN_S,
        "setup": SETUP_S,
        "transfer": alone_s(kv_by_hand(6400)),
        "convert": convert_by_hand(6400),
        "inject": inject_by_hand(6400),
    }
    assert parts == pytest.approx(expected, **EXACT)
    # The answer's first token is prefill's; a hundred come after it.
    close(life.e2e_s()[0], sum(expected.values()) + steps_by_hand(6400, 100, drafts, accepted))
    close(life.tpot_s()[0], steps_by_hand(6400, 100, drafts, accepted) / 100)
    told = run_metrics(run)["tilert"]
    close(told["wire_wait_s"]["mean"], SETUP_S + alone_s(kv_by_hand(6400)))
    close(told["decode_s"]["mean"], steps_by_hand(6400, 100, drafts, accepted))


def test_the_node_may_make_the_first_token_too():
    run = run_by_hand(trace_of([0.0], [6400], [101]), tilert(decode={"first_token": "decode"}))
    (parts,) = parts_of(run)
    close(parts["admission"], step(CARD, NODE, 6400, 3).total_s)
    close(run.journeys.finish_s[0] - run.journeys.injected_s[0], steps_by_hand(6400, 101))


def test_rates_of_conversion_and_of_copies_are_choices():
    node = {"convert_gbytes_per_s": 1000.0, "inject_efficiency": 1.0}
    life = run_by_hand(trace_of([0.0], [6400], [2]), tilert(decode={"tilert": node})).journeys
    close(life.converted_s[0] - life.kv_end_s[0], (kv_by_hand(6400) + LAYERS * 1408 * 6400) / 1e12)
    close(life.injected_s[0] - life.converted_s[0], 7 * LAYERS * 1152 * 6400 / 900e9)


def test_latents_that_come_in_bf16_are_not_converted():
    life = run_by_hand(trace_of([0.0], [6400], [2]), tilert(kv={"dtype": "bf16"})).journeys
    keys = LAYERS * (8448 * 100 + 256 * 6400)
    close(life.converted_s[0] - life.kv_end_s[0], keys / (0.647 * 7.7e12))


def test_as_many_requests_as_nodes_do_not_wait_for_each_other():
    lengths = [6400, 3200, 640]
    together = run_by_hand(
        trace_of([0.0] * 3, lengths, [50] * 3), tilert(3, prefill=3, load={"mode": "closed", "concurrency": 3})
    ).journeys
    for row, tokens in enumerate(lengths):
        alone = run_by_hand(trace_of([0.0], [tokens], [50]), tilert()).journeys
        close(together.e2e_s()[row], alone.e2e_s()[0])
    assert together.decode_node.tolist() == [0, 1, 2]


def test_one_more_waits_for_the_first_node_that_is_free_before_its_prefill():
    # The second node's answer is shorter: the third request goes there, and is computed from then on.
    trace = trace_of([0.0, 0.0, 0.0, 0.0], [640, 640, 640, 640], [2000, 20, 30, 40])
    run = run_by_hand(trace, tilert(2, prefill=4, load={"mode": "closed", "concurrency": 4}))
    life = run.journeys
    assert life.decode_node.tolist() == [0, 1, 1, 1]
    assert life.prefill_start_s[2] == life.granted_s[2] == life.finish_s[1]
    assert life.prefill_start_s[3] == life.finish_s[2]
    assert [parts_of(run)[row].get("decode_room", 0.0) for row in range(4)] == pytest.approx(
        [0, 0, *life.finish_s[1:3]], **EXACT
    )
    law = run_metrics(run)["littles_law"]
    assert law["relative_difference"] == pytest.approx(0.0, abs=1e-9)


def test_one_more_is_rejected_where_the_router_does_not_wait():
    trace = trace_of([0.0, 0.0, 0.05, 100.0], [640] * 4, [20] * 4)
    run = run_by_hand(trace, tilert(2, prefill=4, decode={"tilert": {"when_busy": "reject"}}))
    assert run.journeys.outcome.tolist() == [COMPLETED, COMPLETED, REJECTED, COMPLETED]
    assert run.journeys.left_s[2] == 0.05 and run_metrics(run)["requests"]["rejected"] == 1


def test_a_request_that_no_node_can_hold_takes_no_node():
    trace = trace_of([0.0, 0.0], [640, 640], [300_000, 20])
    run = run_by_hand(trace, tilert(1, decode={"tilert": {"when_busy": "reject"}}))
    assert run.journeys.outcome.tolist() == [REJECTED, COMPLETED]


def test_who_waits_for_a_node_at_the_horizon_is_unfinished():
    settings = tilert(1, prefill=2, load={"horizon_s": 0.2})
    run = run_by_hand(trace_of([0.0, 0.0], [640, 640], [2000, 20]), settings)
    assert run.journeys.outcome.tolist() == [UNFINISHED, UNFINISHED]
    used = run_metrics(run)["occupancy"]
    # The one node is kept from the first request's arrival on; the other waits for it all the while, and not for prefill.
    assert used["decode"]["batch"] == pytest.approx(1.0) and used["decode"]["waiting"] == pytest.approx(1.0)
    assert used["prefill"]["waiting"] == 0.0


def test_tokens_are_counted_in_the_window_they_come_out_in():
    # Steps of 3, 3, 3, 3, 4, ... tokens; the window ends within the answer.
    measured = {"warm_up_s": 0.1, "window_s": 0.03, "least_requests": 1, "least_filled": 0.0, "least_turnovers": 0.0}
    trace = trace_of([0.0, 0.12, 0.49], [640] * 3, [100] * 3)
    run = run_by_hand(trace, tilert(1, measure=measured, load={"horizon_s": 0.5}))
    seconds, out = RequestTimes(CARD, NODE, "fp8", 3, 3.2).steps(640, 99)
    ends_s = run.journeys.injected_s[0] + np.cumsum(seconds)
    come = np.diff(out, prepend=0)
    expected = come[(ends_s >= 0.1) & (ends_s < 0.13)].sum()
    assert 0 < expected < 99
    close(run.window.start_s, 0.1)
    close(run.window.end_s, 0.13)
    assert tokens_within(run)[0] == expected + (0.1 <= run.journeys.injected_s[0] < 0.13)


def test_steps_of_an_answer_are_those_of_the_nodes_model():
    times = RequestTimes(CARD, NODE, "fp8", 3, 3.2)
    for context in (0, 1, 100, 2030, 2047, 5000, 65_536, 190_001):
        seconds, out = times.steps(context, 41)
        assert out.tolist() == [3, 6, 9, 12, 16, 19, 22, 25, 28, 32, 35, 38, 41]
        exact = [step(CARD, NODE, context + before, 3).total_s for before in [0, *out[:-1].tolist()]]
        assert seconds == pytest.approx(exact, rel=1e-8)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kv": {"rank_map": "tp8-tp8"}}, "kv.rank_map = tp8-tilert"),
        ({"decode": {"preallocate": "overtake"}}, "no decode.preallocate"),
        ({"decode": {"tilert": {"drafts": 0}}}, "accepted_tokens of 1 .. 1"),
        (
            {"decode": {"tilert": {"when_busy": "reject"}}, "load": {"mode": "closed", "concurrency": 2}},
            "at most 1 as load.concurrency",
        ),
        ({"decode": {"prefix_cache_tokens": 1000}}, "no decode.prefix_cache_tokens"),
    ],
)
def test_what_contradicts_the_engine_is_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        tilert(1, **changes)


SHAPES = {
    "prefill": {"nodes": 4, "layout": "tp8"},
    "decode": {"nodes": 4, "layout": "tp8", "max_batch": 8},
    "kv": {"rank_map": "tp8-tilert"},
}


def test_a_comparison_sets_both_engines_beside_each_other_on_the_same_requests():
    scenario = Scenario.model_validate(
        {
            "fabrics": ["roft-256", "roft-256+tilert"],
            "requests": {"count": 30},
            "load": {"rate_per_s": 2.0},
            "slo": {"ttft_s": 5.0},
            "network": {"roft-256": {"nic_gbps": 200.0}},
            **SHAPES,
        }
    )
    comparison = compare(scenario)
    document = comparison.document()["fabrics"]
    assert {name: found["decode_engine"] for name, found in document.items()} == {
        "roft-256": "batched", "roft-256+tilert": "tilert",
    }  # fmt: skip
    batched, fast = (result.run.journeys for result in comparison.results.values())
    assert batched.trace is fast.trace
    assert np.nanmean(fast.tpot_s()) < np.nanmean(batched.tpot_s()) / 3
    assert all(result.carrier.fabric.nic_gbps == 200.0 for result in comparison.results.values())
    error = comparison.document()["compute"]["stated_error"]["tilert_step"]
    assert error["median"] == 0.025 and error["points"] == 8
    assert document["roft-256"]["tilert"] is None and document["roft-256+tilert"]["slo"] is not None
    assert fast.kv_bytes.tolist() == batched.kv_bytes.tolist()
    alone_s = fast.kv_bytes / (NIC_BYTES_PER_S / 2)
    assert (fast.kv_transfer_s() >= alone_s).all()


def test_an_engine_named_behind_a_fabric_is_checked_with_the_rest():
    with pytest.raises(InputError, match=r"kv\.rank_map = tp8-tilert for decode\.engine = tilert"):
        load_scenario("glm51-pd-256", {"fabrics": ["roft-256", "zcube-256+tilert"], "baseline": None})
    with pytest.raises(InputError, match="no such decode node"):
        compare(Scenario.model_validate({
            "fabrics": ["roft-256"], "requests": {"count": 3}, **SHAPES,
            "decode": {**SHAPES["decode"], "engine": "tilert", "tilert": {"node": "nothing.toml"}},
        }))  # fmt: skip
