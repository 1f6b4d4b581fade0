"""Serving on fabrics in which something has failed: what is relayed, what fails, and that nothing is dropped."""

from __future__ import annotations

import json

import numpy as np
import pytest
from serving_by_hand import ConstantTimes, fabric_of, kv_by_hand, settings_of, trace_of

from zcube.errors import NetworkStoppedError
from zcube.fabric.catalog import load_fabric
from zcube.llm.cards import load_card
from zcube.network.flow_model import FlowModel, flow_model
from zcube.routing.catalog import routing_for
from zcube.serving.journey import COMPLETED, FAILED
from zcube.serving.metrics import run_metrics
from zcube.serving.reach import reach_of
from zcube.serving.run import ServingRun, serve

pytestmark = pytest.mark.usefixtures("one_picture")

TWO_NODES = {"nodes": 2, "nodes_per_instance": 2, "layout": "dp8"}


def run_broken(reference: str, trace, settings, fall_back: str = "nvlink-relay", model: FlowModel | None = None) -> ServingRun:
    fabric, card = load_fabric(reference), load_card("glm-5.1")
    routing = routing_for(fabric, fall_back=fall_back)
    reach = reach_of(fabric, routing, settings, card)
    return serve(fabric, model or flow_model(fabric, routing), trace, settings, card, ConstantTimes(), reach=reach)


def check_counts(run: ServingRun) -> dict[str, int]:
    counts = run_metrics(run)["requests"]
    assert counts["offered"] == sum(counts[kind] for kind in ("completed", "rejected", "failed", "unfinished"))
    return counts


@pytest.mark.parametrize("push", ["per-chunk", "after-prefill"])
@pytest.mark.parametrize("load", [{}, {"mode": "closed", "concurrency": 2}])
def test_without_a_fall_back_requests_whose_kv_has_no_path_fail_and_hold_nothing(push: str, load: dict) -> None:
    """Rail 0 of the unit is down and all KV leaves by GPU 0: each request fails, its room at the decode node is free again."""
    settings = settings_of(kv={"push": push}, decode={"max_batch": 1}, load=load)
    run = run_broken("roft-256@switch:leaf0", trace_of(np.arange(5) / 10, [20_000] * 5, [3] * 5), settings, "none")
    assert check_counts(run)["failed"] == 5
    assert set(run.journeys.outcome) == {FAILED}
    assert len(run.flows) == 0
    assert np.isnan(run.journeys.first_token_s).all()
    assert run_metrics(run)["ttft_s"]["mean"] is None


def test_with_the_relay_all_complete_and_bytes_leave_by_another_nic() -> None:
    settings = settings_of(kv={"setup_s": 0.0})
    run = run_broken("roft-256@switch:leaf0", trace_of([0.0], [1000], [2]), settings)
    assert check_counts(run)["completed"] == 1
    links = run.links.frame(1.0).query("bytes > 0 and `from`.str.startswith('s0g')")
    by_nvlink, by_nic = (links[links.kind == kind] for kind in ("nvlink", "nic"))
    assert by_nvlink["from"].tolist() == ["s0g0"]
    assert "s0g0" not in by_nic["from"].tolist()
    for part in (by_nvlink, by_nic):
        assert part.bytes.sum() == pytest.approx(kv_by_hand(1000), rel=1e-9)


def test_requests_to_servers_with_a_path_complete_beside_those_that_fail() -> None:
    """Decode node 1 (server 2) has no NIC left; the router, which counts requests, sends it every second one."""
    cut = ",".join(f"nic:s2g{gpu}" for gpu in range(8))
    run = run_broken(f"roft-256@{cut}", trace_of(np.arange(4) * 10.0, [1000] * 4, [2000] * 4), settings_of(decode={"nodes": 2}))
    lost = run.journeys.decode_node == 1
    assert lost.any() and not lost.all()
    np.testing.assert_array_equal(run.journeys.outcome, np.where(lost, FAILED, COMPLETED))
    assert check_counts(run)["failed"] == lost.sum()


def test_an_instance_whose_nodes_do_not_reach_each_other_takes_no_request() -> None:
    cut = ",".join(f"nic:s1g{gpu}" for gpu in range(8))
    kv = {"rank_map": "dp8-dp8"}
    four = settings_of(prefill={**TWO_NODES, "nodes": 4}, kv=kv)
    trace = trace_of(np.arange(6.0), [1000] * 6, [2] * 6)
    run = run_broken(f"roft-256@{cut}", trace, four)
    assert check_counts(run)["completed"] == 6
    assert set(run.journeys.prefill_node) <= {2, 3}
    alone = run_broken(f"roft-256@{cut}", trace, settings_of(prefill=TWO_NODES, kv=kv))
    assert check_counts(alone)["failed"] == 6


def test_reach_counts_the_pairs_of_the_placement() -> None:
    """CP8 to DP8: rank 0 of each prefill node to each GPU of each decode node; server 3 is cut off as a whole."""
    cut = ",".join(f"nic:s3g{gpu}" for gpu in range(8))
    fabric, card = load_fabric(f"roft-256@{cut}"), load_card("glm-5.1")
    settings = settings_of(prefill={"nodes": 3}, decode={"nodes": 2}, placement={"kind": "blocked"})
    reach = reach_of(fabric, routing_for(fabric, fall_back="nvlink-relay"), settings, card)
    document = reach.document(fabric)
    assert (document["pairs"], document["without_path"]) == (3 * 2 * 8, 3 * 8)
    assert document["first_without_path"][0] == {"from": "s0g0", "to": "s3g0"}
    assert not reach.carries(np.array([0, 0]), np.array([32, 24]))
    assert reach.carries(np.array([0]), np.array([32]))


class StopsAt(FlowModel):
    """A network that cannot go on after a time."""

    def advance(self, to_s: float):
        if to_s > 1.0:
            raise NetworkStoppedError("nothing can move")
        return super().advance(to_s)

    def advance_groups(self, to_s: float, unposted_s: float = 0.0):
        if to_s > 1.0:
            raise NetworkStoppedError("nothing can move")
        return super().advance_groups(to_s, unposted_s)


def test_a_network_that_stops_keeps_what_was_done_and_fails_the_rest() -> None:
    fabric = fabric_of("roft-256")
    healthy = flow_model(fabric, routing_for(fabric))
    model = StopsAt(healthy.link_set, healthy.routing)
    run = run_broken("roft-256", trace_of([0.0, 2.0, 2.5], [100] * 3, [2] * 3), settings_of(), model=model)
    assert run.stopped_by == "nothing can move"
    counts = check_counts(run)
    assert (counts["completed"], counts["failed"]) == (1, counts["offered"] - 1)


SMALL = ["--set", "prefill.nodes=4", "--set", "decode.nodes=2", "--set", "requests.count=12", "--set", "gpus=256"]
BROKEN = "roft-256@switch:leaf0"


def compared(run, *arguments: str) -> dict:
    status, out, err = run("compare", "glm51-pd-1024", *SMALL, *arguments, "--json")
    assert status == 0, err
    return json.loads(out)["fabrics"]


def test_a_broken_fabric_is_a_result_and_leaves_the_others_as_they_are(run) -> None:
    alone = compared(run, "--fabric", "zcube-256")
    both = compared(run, "--fabric", "zcube-256", "--fabric", BROKEN, "--set", "network.fall_back=none")
    mine, theirs = both["zcube-256"], both[BROKEN]
    for key in ("requests", "throughput", "ttft_s", "kv_transfer_s", "bytes", "bill"):
        assert mine[key] == alone["zcube-256"][key]
    assert mine["failure"] is None
    assert theirs["requests"]["failed"] == theirs["requests"]["offered"] == 12
    assert theirs["reachability"]["without_path"] == theirs["reachability"]["pairs"] == 64
    assert "no path for 64 of 64 pairs" in theirs["failure"]
    relayed = compared(run, "--fabric", "zcube-256", "--fabric", BROKEN)[BROKEN]
    assert (relayed["requests"]["completed"], relayed["requests"]["failed"]) == (12, 0)
    assert (relayed["network"]["fall_back"], relayed["failure"]) == ("nvlink-relay", None)


def test_a_table_of_one_fabric_keeps_the_fall_back_unless_it_says_otherwise(run) -> None:
    relayed = compared(run, "--fabric", BROKEN, "--set", f'network={{"{BROKEN}" = {{queue_pairs = 1}}}}')[BROKEN]
    assert (relayed["network"]["queue_pairs"], relayed["network"]["fall_back"]) == (1, "nvlink-relay")
    assert relayed["requests"]["completed"] == 12


def test_table_and_page_show_what_failed(run, tmp_path) -> None:
    arguments = ("--fabric", BROKEN, "--set", "network.fall_back=none", "--out", tmp_path / "out")
    status, out, err = run("compare", "glm51-pd-1024", *SMALL, *arguments)
    assert status == 0, err
    assert ["Failed", "12"] in [line.split() for line in out.splitlines()]
    page = (tmp_path / "out" / "report.html").read_text()
    text = " ".join(page.split())
    assert "12 failed" in text
    for text in (out, page):
        assert "no path for 64 of 64 pairs" in " ".join(text.split())
