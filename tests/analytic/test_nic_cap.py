"""The NIC-cap experiment: where a prefill node waits for its pushes, what the NIC's rate costs follows from Little's law."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from serving_by_hand import (
    EXACT,
    SETUP_S,
    STEP_S,
    TOKEN_S,
    fabric_of,
    kv_by_hand,
    run_by_hand,
    settings_of,
    trace_of,
)

import zcube as zc
from zcube.network.flow_model import ideal_model
from zcube.scenario import load_scenario

#: Output at the line rate, and time to first token at 50 Gb/s, are 100 (Z.ai, 2026-05-21; read off plots).
PUBLISHED_OUTPUT, PUBLISHED_TTFT = {50: 52.7, 200: 90.9}, {200: 50.0, 400: 43.0}
CAPS = (50, 75, 100, 150, 200, 250, 300, 400)


def test_speculative_decoding_shortens_the_time_of_a_token_alone():
    trace = trace_of([0.0], [640], [7])
    plain, faster = (run_by_hand(trace, settings_of(decode={"tokens_per_step": rate})).journeys for rate in (1.0, 1.5))
    assert faster.ttft_s()[0] == plain.ttft_s()[0]
    assert plain.e2e_s()[0] - plain.ttft_s()[0] == pytest.approx(6 * STEP_S, **EXACT)
    assert faster.e2e_s()[0] - faster.ttft_s()[0] == pytest.approx(6 * STEP_S / 1.5, **EXACT)


@pytest.mark.parametrize("gbps", [50.0, 130.0, 400.0])
def test_a_full_prefill_node_serves_as_littles_law_says(gbps):
    """Equal prompts, more under way than decode keeps busy: a cycle is computing and pushing, one after the other."""
    count, under_way, tokens, answer = 120, 8, 8192, 11
    settings = settings_of(
        load={"mode": "closed", "concurrency": under_way},
        kv={"blocking": "step", "push": "after-prefill", "efficiency": 0.69},
    )
    model = ideal_model(fabric_of("roft-256").with_nic_rate(gbps))
    trace = trace_of(np.zeros(count), [tokens] * count, [answer] * count)
    life = run_by_hand(trace, settings, model=model).journeys
    # The cap by efficiency is of the fabric's own rate.
    rate = min(gbps, 0.69 * 400.0) * 1e9 / 8
    cycle_s = tokens * TOKEN_S + SETUP_S + kv_by_hand(tokens) / rate + 1e-6
    assert np.diff(life.first_token_s)[20:-20] == pytest.approx(cycle_s, rel=1e-9)
    decode_s = (answer - 1) * STEP_S
    # Steps of other requests keep one that comes between waiting for the next boundary.
    assert life.ttft_s()[20:-20] + decode_s == pytest.approx(under_way * cycle_s, abs=STEP_S)


def test_both_scenarios_have_one_engine():
    small, large = load_scenario("nic-cap-32"), load_scenario("zai-2026")
    nodes = ("prefill", "decode")
    for table in ("compute", "prefill", "decode", "kv", "router", "placement", "measure", "slo"):
        one, other = (getattr(scenario, table).model_dump() for scenario in (small, large))
        differ = {key for key in one if one[key] != other[key]}
        assert differ == ({"nodes"} if table in nodes else set()), table
    for pool in nodes:
        assert getattr(large, pool).nodes == 32 * getattr(small, pool).nodes
    assert small.load.concurrency / small.gpus == pytest.approx(large.load.concurrency / large.gpus, rel=0.03)
    sessions = {"session_starts_per_s"}
    agents = [scenario.requests.coding_agent.model_dump(exclude=sessions) for scenario in (small, large)]
    assert agents[0] == agents[1]
    starts = [scenario.requests.coding_agent.session_starts_per_s for scenario in (small, large)]
    assert starts[1] == 32 * starts[0]
    assert (small.network.fidelity, small.network.isolation) == (large.network.fidelity, large.network.isolation)


@pytest.fixture(scope="module")
def swept() -> dict[str, list[dict[str, Any]]]:
    values = ",".join(map(str, CAPS))
    document = zc.compare(
        "nic-cap-32", {"requests.count": 1600, "fabrics": ["roft-32"]}, sweep=f"network.nic_gbps={values}"
    ).document()
    assert [run["setting"] for run in document["sweep"]["runs"]] == [str(cap) for cap in CAPS]
    return {name: [run["fabrics"][name] for run in document["sweep"]["runs"]] for name in document["fabrics"]}


def test_caps_cost_what_was_published(swept):
    for fabric, runs in swept.items():
        by_cap = dict(zip(CAPS, runs, strict=True))
        assert not any(run["caution"] for run in runs)
        for cap, published in PUBLISHED_OUTPUT.items():
            assert 100 * by_cap[cap]["output"] / by_cap[400]["output"] == pytest.approx(published, abs=5), (fabric, cap)
        for cap, published in PUBLISHED_TTFT.items():
            assert 100 * by_cap[cap]["ttft_mean"] / by_cap[50]["ttft_mean"] == pytest.approx(published, abs=4), (fabric, cap)


def test_caps_between_lie_on_a_smooth_curve(swept):
    """Time per request is what computing takes and a part that goes with the inverse of the cap."""
    for runs in swept.values():
        seconds = np.array([1.0 / run["output"] for run in runs])
        fit = np.polyval(np.polyfit(1.0 / np.array(CAPS), seconds, 1), 1.0 / np.array(CAPS))
        assert seconds == pytest.approx(fit, rel=0.02)
        assert np.all(np.diff(seconds) < 0)
        assert np.all(np.diff([run["ttft_mean"] for run in runs]) < 0)
