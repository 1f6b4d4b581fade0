"""When NICs decide the throughput: a closed loop over one of them, by hand, and two fabrics that do not differ."""

from __future__ import annotations

import pytest
from serving_by_hand import SETUP_S, STEP_S, TOKEN_S, ConstantTimes, fabric_of, kv_by_hand, run_by_hand, settings_of, trace_of

from zcube.comparison import compare
from zcube.network.flow_model import ideal_model
from zcube.scenario import Scenario
from zcube.serving.metrics import run_metrics
from zcube.verdict.headline import headline

TOKENS, CONCURRENCY = 6400, 16


@pytest.mark.parametrize("token_s", [TOKEN_S, 1e-7])
@pytest.mark.parametrize("nic_gbps", [400.0, 50.0, 0.1])
def test_a_closed_loop_runs_as_fast_as_prefill_or_the_nic_it_sends_through(nic_gbps, token_s):
    # The cache of a prompt leaves through GPU 0's NIC; a chunk takes one prompt, answers have one token.
    trace = trace_of([0.0] * 800, [TOKENS] * 800, [1] * 800)
    settings = settings_of(
        load={"mode": "closed", "concurrency": CONCURRENCY}, prefill={"chunk_tokens": TOKENS}, kv={"push": "after-prefill"}
    )
    model = ideal_model(fabric_of("roft-256").with_nic_rate(nic_gbps))
    found = run_metrics(run_by_hand(trace, settings, ConstantTimes(token_s, STEP_S), model=model))
    prefill_s, nic_s = TOKENS * token_s, kv_by_hand(TOKENS) * 8 / (nic_gbps * 1e9)
    slowest_s = max(prefill_s, nic_s, (prefill_s + nic_s + SETUP_S) / CONCURRENCY)
    assert found["throughput"]["requests_per_s"] == pytest.approx(1 / slowest_s, rel=0.02)
    assert found["congestion"]["max_link_utilisation"] == pytest.approx(nic_s / slowest_s, rel=0.02)
    assert found["littles_law"]["mean_in_system"] == pytest.approx(CONCURRENCY, rel=1e-6)
    # What is still to pass at either end for those inside is at most the mean time of each.
    assert abs(found["littles_law"]["relative_difference"]) < CONCURRENCY / found["window"]["arrived"]


def test_fabrics_that_nothing_fills_do_not_differ():
    declared = {
        "fabrics": ["roft-256", "zcube-256"], "requests": {"count": 60, "coding_agent": {"output_tokens_mu": 4.0}},
        "prefill": {"nodes": 4}, "decode": {"nodes": 2}, "load": {"rate_per_s": 5.0}, "seeds": 5,
        "measure": {"least_requests": 1, "least_filled": 0.0, "least_turnovers": 0.0},
    }  # fmt: skip
    document = compare(Scenario.model_validate(declared)).document()
    noise = document["fabrics"]["zcube-256"]["noise"]["throughput.output_tokens_per_s"]
    low, high = noise["difference_interval"]
    assert noise["differs"] is False and low <= 0 <= high
    assert "no difference: output throughput" in headline(document)[0]
