"""What sending the exchanges of several decode steps as one, to one GPU of every other node, changes in a serving run.

Against every step by itself and every pair of GPUs: a closed loop over two decode groups of four nodes, bf16 KV, H200. A
request joins between bursts, so that longer ones add to its first step, (steps - 1) / 2 a request; fewer transfers from a NIC
take less of it beside KV. First tokens and KV transfers follow other decisions in every run and are no part of this.
"""

from __future__ import annotations

from typing import Any

import pytest

from zcube.comparison import compare
from zcube.scenario import Scenario

pytestmark = pytest.mark.slow

#: Most that the defaults may change, by NIC rate: mean TPOT, and mean time of a request.
MOST = {400.0: (0.005, 0.01), 100.0: (0.01, 0.01), 50.0: (0.04, 0.02)}


def served(nic_gbps: float, **decode: Any) -> dict[str, Any]:
    declared = {
        "fabrics": ["roft-256"],
        "seed": 3,
        "requests": {"count": 300, "coding_agent": {"output_tokens_mu": 5.5}},
        "load": {"mode": "closed", "concurrency": 150},
        "prefill": {"nodes": 16, "layout": "dp8"},
        "decode": {"nodes": 8, "nodes_per_instance": 4, **decode},
        "kv": {"rank_map": "dp8-dp8", "dtype": "bf16"},
        "network": {"nic_gbps": nic_gbps},
    }
    (result,) = compare(Scenario.model_validate(declared)).results.values()
    return {**result.metrics, "transfers": len(result.run.flows)}


@pytest.mark.parametrize("nic_gbps", MOST)
def test_defaults_against_every_step_and_every_pair(nic_gbps):
    exact = served(nic_gbps, expert_burst_steps=1, expert_pairs="all")
    print(f"\n{nic_gbps:g} Gb/s, {exact['transfers']:,} transfers, TPOT {1e3 * exact['tpot_s']['mean']:.2f} ms")
    for decode in ({"expert_burst_steps": 1}, {}, {"expert_burst_steps": 4}, {"expert_burst_steps": 8}):
        found = served(nic_gbps, **decode)
        changes = {
            name: found[name][figure] / exact[name][figure] - 1 for name, figure in (("tpot_s", "mean"), ("e2e_s", "mean"))
        }
        p99 = found["tpot_s"]["p99"] / exact["tpot_s"]["p99"] - 1
        steps = decode.get("expert_burst_steps", "default")
        print(
            f"  {steps} steps: {found['transfers']:,} transfers, TPOT mean {100 * changes['tpot_s']:+.2f} %, "
            f"P99 {100 * p99:+.2f} %, request {100 * changes['e2e_s']:+.2f} %"
        )
        assert found["bytes"]["expert"] == pytest.approx(exact["bytes"]["expert"], rel=1e-3)
        if not decode:
            assert abs(changes["tpot_s"]) <= MOST[nic_gbps][0]
            assert abs(changes["e2e_s"]) <= MOST[nic_gbps][1]


def test_bursts_of_prefill_against_one_a_layer():
    declared = {
        "fabrics": ["roft-256"],
        "seed": 3,
        "requests": {"count": 120},
        "load": {"mode": "closed", "concurrency": 60},
        "decode": {"nodes": 8},
        "kv": {"rank_map": "dp8-dp8", "dtype": "bf16"},
        "network": {"nic_gbps": 50.0},
    }
    pool = {"nodes": 16, "nodes_per_instance": 4, "layout": "dp8"}
    found = {}
    for overlap, most in ((True, 0.01), (False, 0.02)):
        for bursts in (75, 8):
            scenario = Scenario.model_validate(
                {**declared, "prefill": {**pool, "expert_bursts": bursts, "expert_overlap": overlap}}
            )
            (result,) = compare(scenario).results.values()
            found[bursts] = result.metrics["ttft_s"]["mean"]
        change = found[8] / found[75] - 1
        print(f"\noverlap {overlap}: TTFT {found[75]:.4f} s with a burst a layer, {100 * change:+.2f} % with 8")
        assert found[8] == pytest.approx(found[75], rel=most)
