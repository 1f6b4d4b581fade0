"""Bundled scenarios in full: where fabrics are alike, where NICs of 50 Gb/s decide, and whether the runs are steady."""

from __future__ import annotations

from typing import Any

import pytest

from zcube.comparison import Comparison, compare
from zcube.scenario import load_scenario

pytestmark = pytest.mark.slow


def run(scenario: str, *assignments: str) -> Comparison:
    return compare(load_scenario(scenario, None, assignments))


def shown(name: str, fabric: dict[str, Any]) -> str:
    throughput, law = fabric["throughput"], fabric["littles_law"]
    return (
        f"{name}: {throughput['output_tokens_per_s']:,.0f} tok/s, {law['arrivals_per_s']:.2f} in and "
        f"{throughput['requests_per_s']:.2f} out per second, Little {100 * law['relative_difference']:+.2f} %, TTFT mean "
        f"{fabric['ttft_s']['mean']:.2f} s, busiest link {100 * fabric['congestion']['max_link_utilisation']:.1f} %"
    )


def test_an_open_thousand_gpus_is_steady_and_its_fabrics_serve_alike() -> None:
    document = run("glm51-pd-1024", "seeds=5").document()
    for name, fabric in document["fabrics"].items():
        print(f"\n{shown(name, fabric)}")
        assert fabric["window"]["no_rate"] is None and fabric["window"]["unsteady"] is None
        assert abs(fabric["littles_law"]["relative_difference"]) < 0.01
        assert fabric["throughput"]["requests_per_s"] == pytest.approx(fabric["littles_law"]["arrivals_per_s"], rel=0.02)
    noise = document["fabrics"]["zcube-1024"]["noise"]["throughput.output_tokens_per_s"]
    print(f"difference {noise['difference']:+.2f} tok/s, {noise['difference_interval']}")
    assert noise["differs"] is False


# The fuller the prefill nodes, the more a window's ends weigh in Little's law, and the longer a run has to be.
@pytest.mark.parametrize(("concurrency", "turns", "slower_at_least"), [(200, 9, 0.03), (280, 27, 0.06)])
def test_nics_of_50_gbps_slow_a_closed_loop_as_the_busiest_of_them_fills(
    concurrency: int, turns: int, slower_at_least: float
) -> None:
    load = (f"load.concurrency={concurrency}", f"requests.count={turns * concurrency}", 'fabrics=["roft-256", "zcube-256"]')
    fast, slow = (run("glm51-pd-256", *load, f"network.nic_gbps={gbps}") for gbps in (400, 50))
    for (name, before), after in zip(fast.document()["fabrics"].items(), slow.document()["fabrics"].values(), strict=True):
        print(f"\n400 Gb/s, {shown(name, before)}\n 50 Gb/s, {shown(name, after)}")
        assert abs(before["littles_law"]["relative_difference"]) < 0.01
        assert after["throughput"]["output_tokens_per_s"] < (1 - slower_at_least) * before["throughput"]["output_tokens_per_s"]
        assert after["ttft_s"]["mean"] > 4 * before["ttft_s"]["mean"]
        assert before["congestion"]["max_link_utilisation"] < 0.2 < 0.8 < after["congestion"]["max_link_utilisation"]
        # What the busiest NIC can send, over what it sends of a mean request, bounds the rate; the run stays close below.
        result = slow.results[name].run
        window, life = result.window, result.journeys
        posted = window.holds(life.kv_post_s)
        size_bytes = life.kv_bytes[posted].mean()
        (source,) = {link["from"] for link in after["congestion"]["hot_links"][:1]}
        links = result.links_in_window.frame(window.length_s)
        from_nic = links[links["from"] == source]
        share = from_nic["bytes"].sum() / (size_bytes * posted.sum())
        bound_per_s = 50e9 / 8 / (share * size_bytes)
        print(
            f"{source} sends {100 * share:.1f} % of {size_bytes / 1e9:.2f} GB a request: at most {bound_per_s:.2f} requests/s"
        )
        assert 0.8 * bound_per_s < after["throughput"]["requests_per_s"] < 1.05 * bound_per_s
