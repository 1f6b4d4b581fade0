"""Prices per token and requests not served: terminal, JSON and page say the same of one comparison."""

from __future__ import annotations

import html
import json
import re

import pytest

from zcube.comparison import Comparison, compare
from zcube.outputs import to_json
from zcube.report.html import render_html
from zcube.report.terminal import document_table
from zcube.scenario import load_scenario
from zcube.verdict.rows import shown_rows

FABRICS = ("roft-256", "zcube-256")


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    """Cut at a horizon; the second fabric's network is slow, so that its decode nodes get fewer requests by then."""
    changes = {
        "fabrics": list(FABRICS),
        "baseline": None,
        "requests.count": 150,
        "prefill.nodes": 24,
        "decode.nodes": 8,
        "gpus": 256,
        "load.rate_per_s": 20,
        "load.horizon_s": 40,
        "measure.warm_up_s": 1,
        "measure.least_requests": 1,
        "measure.least_turnovers": 0,
        "measure.least_filled": 0,
        "slo.ttft_s": 4.0,
        "cost.gpu_usd": 30_000,
        "network.zcube-256": {"nic_gbps": 25},
    }
    return compare(load_scenario("glm51-pd-1024", changes))


def test_prices_are_the_bills_over_the_tokens(comparison: Comparison) -> None:
    """Five years of 8,760 h; no source names the power of NICs, and none of a GPU is given."""
    document = json.loads(to_json(comparison.document()))
    for fabric in document["fabrics"].values():
        tokens_per_hour, hours = fabric["throughput"]["output_tokens_per_s"] * 3600, 43_800
        bill, cost = fabric["bill"], fabric["cost"]
        gpus_usd = bill["with_nics"]["total_usd"] + 256 * 30_000
        paid = {
            "fabric": bill["with_nic_side"]["total_usd"],
            "with_nics": bill["with_nics"]["total_usd"],
            "with_gpus": gpus_usd,
        }
        for scope, usd in paid.items():
            per_million = cost[scope]["hardware_usd_per_million_output_tokens"]
            assert per_million == pytest.approx(usd / hours / tokens_per_hour * 1e6, rel=1e-9)
        assert cost["fabric"]["usd_per_million_output_tokens"] > cost["fabric"]["hardware_usd_per_million_output_tokens"]
        for scope, lacking in (("with_nics", ["power of NIC 400G"]), ("with_gpus", ["power of NIC 400G", "power of GPU"])):
            assert (cost[scope]["usd_per_million_output_tokens"], cost[scope]["missing"]) == (None, lacking)


def test_changes_stand_beside_what_was_not_served(comparison: Comparison) -> None:
    document = comparison.document()
    beside = document["fabrics"]["zcube-256"]["relative_requests"]
    for key, name in (("not_served", "zcube-256"), ("not_served_baseline", "roft-256")):
        counts = document["fabrics"][name]["requests"]
        assert beside[key] == {outcome: counts[outcome] for outcome in ("rejected", "failed", "unfinished")}
    outcomes = [comparison.results[name].run.journeys.frame()["outcome"].eq("completed") for name in FABRICS]
    assert beside["on_one_side"]["served"] == (outcomes[0] != outcomes[1]).sum() > 0
    assert document["fabrics"]["roft-256"]["relative_requests"]["on_one_side"] == dict.fromkeys(
        ("served", "arrived", "answered"), 0
    )


def test_terminal_and_page_say_the_same(comparison: Comparison) -> None:
    document = comparison.document()
    table = document_table(document)
    page = html.unescape(re.sub(r"<[^>]*>", " ", render_html(document, {}, {})))
    folded = " ".join(page.split())
    unwrapped = " ".join(table.split())
    for row in shown_rows(document):
        if row.path[0] == "cost":
            values = [row.text(row.value(document["fabrics"][name])) for name in FABRICS]
            assert re.search(rf"{re.escape(row.label)} +{re.escape(row.unit)} +{values[0]} +{values[1]} ", table)
            assert re.search(rf"{re.escape(row.label)} {re.escape(row.unit)} {values[0]} {values[1]} ", folded)
    unfinished = [document["fabrics"][name]["requests"]["unfinished"] for name in FABRICS]
    assert unfinished[0] < unfinished[1]
    for text in (folded, unwrapped):
        assert re.search(rf"Not served: roft-256 0 rejected, 0 failed, {unfinished[0]} unfinished", text)
        assert f"zcube-256 0 rejected, 0 failed, {unfinished[1]} unfinished of" in text
        assert "zcube-256 and roft-256 are not over the same requests" in text
        assert "Missing: for With NICs power of NIC 400G; for With GPUs power of GPU" in text and "0.08 USD/kWh" in text
        assert re.search(r"Output tok/s [\d,.]+ [\d,.]+ (better |worse )?[-+][\d.]+ % \*", re.sub("[▲▽] +", "", text))
