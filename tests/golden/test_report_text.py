"""The terminal's tables, word for word, from a document whose figures can be worked out by hand."""

from __future__ import annotations

import copy
import subprocess
import sys
from typing import Any

import pytest

from zcube.report.names import display_names, file_slugs
from zcube.report.palette import COLOURS, fabric_colours
from zcube.report.terminal import bill_table, document_table
from zcube.report.window_lines import window_lines
from zcube.verdict.headline import cautions, headline
from zcube.verdict.rows import significant
from zcube.verdict.table import ROWS
from zcube.verdict.verdict import verdict


def spread(value: float | None) -> dict[str, float | None]:
    return dict.fromkeys(("mean", "p50", "p80", "p90", "p99"), value)


def bill(switches: int, total_usd: float | None) -> dict[str, Any]:
    """One switch has 64 modules; half of a total is switches; the NIC side adds 100 modules for 1,000 USD, NICs 5,000 USD."""
    half = None if total_usd is None else total_usd / 2
    return {
        "switches": switches,
        "transceivers": 64 * switches,
        "switch_usd": half,
        "optics_usd": half,
        "total_usd": total_usd,
        "price_book": "hand-made",
        "with_nic_side": {
            "transceivers": 64 * switches + 100,
            "optics_usd": None if half is None else half + 1000,
            "total_usd": None if total_usd is None else total_usd + 1000,
        },
        "with_nics": {"nics": 100, "nic_usd": 5000.0, "total_usd": None if total_usd is None else total_usd + 6000},
        "lines": [{"item": "switch", "quantity": switches, "unit_usd": None, "usd": None}],
    }


def scope(usd: float | None, output: float, missing: list[str]) -> dict[str, Any]:
    """A USD by the hour of hardware and a quarter of it of power."""
    mega_tokens_per_hour = output * 3600 / 1e6
    hardware = None if usd is None else usd / mega_tokens_per_hour
    whole = None if usd is None or missing else 1.25 * usd / mega_tokens_per_hour
    return {
        "hardware_usd": None if usd is None else usd * 43_800,
        "watts": None if missing else 40_000.0,
        "hardware_usd_per_hour": usd,
        "power_usd_per_hour": None if usd is None or missing else usd / 4,
        "usd_per_hour": None if usd is None or missing else 1.25 * usd,
        "hardware_usd_per_million_output_tokens": hardware,
        "usd_per_million_output_tokens": whole,
        "usd_per_million_good_tokens": None,
        "missing": missing,
    }


def cost(total_usd: float | None, output: float) -> dict[str, Any]:
    """Of the fabric by the hour: a 100,000th of the bill; of NICs the power is missing, of GPUs the price too."""
    usd = None if total_usd is None else total_usd / 1e5
    nics = ["power of NIC"]
    return {
        "fabric": scope(usd, output, []),
        "with_nics": scope(None if usd is None else usd + 1, output, nics),
        "with_gpus": scope(None, output, [*nics, "price of GPU", "power of GPU"]),
        "bill_usd_per_output_token_per_s": None if total_usd is None else total_usd / output,
    }


def fabric(family: str, ttft_s: float, output: float, type2: float | None, busiest: float, its_bill: Any) -> dict[str, Any]:
    return {
        "family": family,
        "gpus": 16,
        "routing": f"{family}-routes",
        "requests": {"offered": 1200, "completed": 1200, "rejected": 0, "unfinished": 0},
        "duration_s": 10.0,
        "throughput": {"output_tokens_per_s": output, "input_tokens_per_s": 25_000.0, "requests_per_s": 120.0},
        "window": {
            "start_s": 4.0,
            "end_s": 10.0,
            "length_s": 6.0,
            "arrived": 720,
            "completed": 720,
            "no_rate": None,
            "unsteady": None,
        },
        "littles_law": {
            "mean_in_system": 1000.0,
            "arrivals_per_s": 120.0,
            "departures_per_s": 119.0,
            "mean_time_s": 8.0,
            "product": 960.0,
            "relative_difference": -0.04,
            "steady": True,
        },
        "first_token": "prefill",
        "decode_engine": "batched",
        "slo": None,
        "ttft_s": spread(ttft_s) | {"p99_all": "infinity" if family == "spine-leaf" else ttft_s},
        "tpot_s": spread(0.02),
        "e2e_s": spread(8.0),
        "kv_transfer_s": spread(0.0125),
        "prefix_cache": {"hit_fraction": 0.25},
        "bytes": {"sent": 1.0, "received": 1.0, "kv": 1.0, "expert": 0.0},
        "congestion": {
            "type1_slowdown": 1.0,
            "type2_slowdown": type2,
            "type1_slowdown_p99": 1.0,
            "type2_slowdown_p99": type2,
            "max_link_utilisation": busiest,
            "hot_links": [{"from": "A0", "to": "B0", "utilisation": busiest}],
        },
        "occupancy": {
            "prefill": {"busy": 0.5, "blocked": 0.0, "short_of_memory": 0.0, "reading": 0.0, "waiting": 2.0, "growth": 0.0},
            "decode": {"batch": 0.25, "kv_memory": 0.125, "in_transfer": 0.0, "waited": 0.0, "waiting": 0.0, "growth": 0.0},
            "busiest_nic": busiest,
            "busiest_nic_port": busiest,
            "busiest_switch_link": busiest / 2,
        },
        "network": {"queue_pairs": 2},
        "bill": its_bill,
        "cost": cost(its_bill["total_usd"], output),
        "relative": {},
        "noise": None,
    }


def told(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document with the verdict on it; two prefill nodes and one decode node."""
    return {"verdict": verdict(document, (2, 1), True), **document}


@pytest.fixture
def document() -> dict[str, Any]:
    return {
        "schema_version": 1,
        "seed": 7,
        "seeds": 1,
        "fidelity": "flow",
        "baseline": "tree",
        "requests": {
            "source": "Made by hand.",
            "requests": 1200,
            "waiting_requests": 300,
            "prefix_hit_bound": 0.25,
            "clock": {
                "kind": "rescaled",
                "own_span_s": 100.0,
                "own_rate_per_s": 12.0,
                "time_factor": 0.1,
                "rate_per_s": 120.0,
            },
            "notes": ["failed requests (Response tokens 0) left out: 3"],
        },
        "compute": {
            "model": "a model",
            "stated_error": {"moe": {"median": 0.02, "p90": 0.1, "mape": 0.03, "points": 9, "against": "x"}},
        },
        "counting_rule": "Count everything once.",
        "cost_rule": "Divide.",
        "fabrics": {
            "tree": fabric("spine-leaf", 2.0, 4000.0, None, 0.40, bill(48, 6_000_000.0)),
            "cube": fabric("zcube", 1.5, 5000.0, 1.05, 0.25, bill(32, 4_000_000.0)),
        },
    }


TABLE = """\
cube against tree: not to be told from noise (one seed): output throughput 25.0
% more (5,000 and 4,000 tok/s), P99 time to first token 25.0 % less (1.500 and
2.000 s); no difference: mean KV transfer within 0.05 % (12.50 ms); gains:
switches and switch-side optics 33.3 % less (4,000,000 and 6,000,000 USD);
requests: 0 rejected, 0 failed, 0 unfinished of 1,200 on both.

Nothing limits tree, the load is below capacity: prefill busy 50.0 % of the
window, 2.00 prompts waiting; decode batches 25.0 % and KV memory 12.5 % full, 0
prompts waiting for room; busiest NIC 40.0 % and busiest link between switches
20.0 % of line rate.
Nothing limits cube, the load is below capacity: prefill busy 50.0 % of the
window, 2.00 prompts waiting; decode batches 25.0 % and KV memory 12.5 % full, 0
prompts waiting for room; busiest NIC 25.0 % and busiest link between switches
12.5 % of line rate; KV transfers slowed 1.00 times at NICs and 1.05 times by
the fabric.

Published: mean throughput +15 %, P99 time to first token -40.6 %, capital cost
of switches and optics -33 % (Z.ai, 2026-05-21: a thousand-GPU GLM-5.1 coding
cluster, prefill-decode disaggregated, ROFT rewired to ZCube).
cube here: mean throughput +25.0 % (not to be told from noise), P99 time to
first token -25.0 % (not to be told from noise), capital cost of switches and
optics -33.3 % (shown).
Why this run does not show all of it: The load is below capacity, so that both
fabrics carry what is offered. The fluid has neither PFC pauses, by which a hot
port stops others, nor DCQCN's slow recovery; packets have both. tree is routed
by spine-leaf-routes with 2 queue pairs a transfer. Of Z.ai's cluster its P:D
ratio, context lengths, NIC speed and PFC and ECN settings are not published.

Limits: what is 90 % full over the window; what a queue waits for that holds a
request a node or more and grows by 5 % of the arrivals; room on decode nodes
where 50 % of the requests wait for it, or in its place the network where 50 %
of the time there is spent on KV transfers; what prefill, if full, pauses for 10
% of the window. Contention delays first tokens where it costs 5 % of their mean
time.

Metric                         Unit              tree       cube     change
---------------------------------------------------------------------------
Latency of completed requests
  TTFT mean                    s                2.000      1.500    -25.0 %
  TTFT P50                     s                2.000      1.500    -25.0 %
  TTFT P80                     s                2.000      1.500    -25.0 %
  TTFT P90                     s                2.000      1.500    -25.0 %
  TTFT P99                     s                2.000      1.500    -25.0 %
  TTFT P99 of all              s             infinite      1.500          -
  TPOT mean                    ms               20.00      20.00      0.0 %
  TPOT P50                     ms               20.00      20.00      0.0 %
  TPOT P80                     ms               20.00      20.00      0.0 %
  TPOT P90                     ms               20.00      20.00      0.0 %
  TPOT P99                     ms               20.00      20.00      0.0 %
  End to end mean              s                8.000      8.000      0.0 %
  End to end P50               s                8.000      8.000      0.0 %
  End to end P80               s                8.000      8.000      0.0 %
  End to end P90               s                8.000      8.000      0.0 %
  End to end P99               s                8.000      8.000      0.0 %
  KV transfer mean             ms               12.50      12.50      0.0 %
  KV transfer P50              ms               12.50      12.50      0.0 %
  KV transfer P80              ms               12.50      12.50      0.0 %
  KV transfer P90              ms               12.50      12.50      0.0 %
  KV transfer P99              ms               12.50      12.50      0.0 %
Throughput
  Output                       tok/s            4,000      5,000    +25.0 %
  Input                        tok/s           25,000     25,000      0.0 %
  Requests                     req/s            120.0      120.0      0.0 %
  Arrivals                     req/s            120.0      120.0      0.0 %
  In the system                                 1,000      1,000      0.0 %
  Arrivals x mean time                          960.0      960.0      0.0 %
Requests
  Offered                                       1,200      1,200      0.0 %
  Completed                                     1,200      1,200      0.0 %
  Rejected                                          0          0      0.0 %
  Unfinished                                        0          0      0.0 %
  Prefix-cache hits            %                 25.0       25.0    0.00 pp
Network
  Type-1 slow-down mean                         1.000      1.000      0.0 %
  Type-1 slow-down P99                          1.000      1.000      0.0 %
  Type-2 slow-down mean                             -      1.050          -
  Type-2 slow-down P99                              -      1.050          -
  Busiest link                 %                 40.0       25.0  -15.00 pp
Cost
  Switches                                         48         32    -33.3 %
  Switch-side modules                           3,072      2,048    -33.3 %
  Switches                     USD          3,000,000  2,000,000    -33.3 %
  Switch-side optics           USD          3,000,000  2,000,000    -33.3 %
  Total                        USD          6,000,000  4,000,000    -33.3 %
  Total with NIC optics        USD          6,001,000  4,001,000    -33.3 %
  Total per output             USD/(tok/s)      1,500      800.0    -46.7 %
  Fabric power                 kW               40.00      40.00      0.0 %
  Fabric, hardware             USD/Mtok         4.167      2.222    -46.7 %
  Fabric, power too            USD/Mtok         5.208      2.778    -46.7 %
  With NICs, hardware          USD/Mtok         4.236      2.278    -46.2 %

Change: against tree; pp = percentage points; '-' = no value.
Not served: tree 0 rejected, 0 failed, 0 unfinished of 1,200; cube 0 rejected, 0
failed, 0 unfinished of 1,200.
Window: 4.000 to 10.00 s (6.000 s); 720 requests arrived in it, 720 of them
completed.
Latencies: of the requests that arrived in the window and completed, followed to
their end.
First token: made by prefill, given out when the KV cache has arrived in full
(decode.first_token = prefill, as SGLang).
Little's law: 1,000 in the system, 120.0 arrivals/s x 8.000 s = 960.0 (-4.0 %).
Seeds: one, so that noise is not known and no change of a run's figures is
called better or worse; --seeds 5 tells.
Slow-down: of KV transfers; type 1: contention at own NICs, type 2: what the
fabric adds; 1 = none.
Requests: 1,200; Made by hand.
Arrivals: own times (100 s, 12 per second) multiplied by 0.1: 120 per second;
300 wait for the request before them in their session.
Prefix hits: at most 25.0 % of all prompt tokens, warm-up included, with an
unlimited prefix cache.
Reading: failed requests (Response tokens 0) left out: 3.
Network: fidelity flow; routing: tree by spine-leaf-routes, cube by
zcube-routes. Seed 7.
Compute: a model; error against measurements, median / P90: moe 2.0 / 10.0 %.
Price book: hand-made
Counting rule: Count everything once.
Cost per token: Divide.
Missing: for With NICs power of NIC; for With GPUs price of GPU, power of GPU;
'-' marks what they belong to.
"""

BILLS = """\
Metric                  Unit       cube        tree    change
-------------------------------------------------------------
Switches                             32          48   +50.0 %
Switch-side modules               2,048       3,072   +50.0 %
Modules with NIC side             2,148       3,172   +47.7 %
Switches (their ports)  USD   2,000,000   5,000,000  +150.0 %
Switch-side optics      USD   2,000,000   5,000,000  +150.0 %
Optics with NIC side    USD   2,001,000   5,001,000  +149.9 %
Total                   USD   4,000,000  10,000,000  +150.0 %
Total with NIC side     USD   4,001,000  10,001,000  +150.0 %
NICs                    USD       5,000       5,000     0.0 %
Total with NICs         USD   4,006,000  10,006,000  +149.8 %

Price book: hand-made
Counting rule: Count everything once.
"""


def test_table_at_80_columns(document: dict[str, Any]) -> None:
    text = document_table(told(document), width=80, ascii_only=True)
    assert text == TABLE
    assert text.isascii() and max(map(len, text.splitlines())) <= 80


def test_only_the_rule_differs_in_utf8(document: dict[str, Any]) -> None:
    assert document_table(told(document), width=80).replace("─", "-") == TABLE


def test_bills_side_by_side() -> None:
    bills = {"cube": bill(32, 4_000_000.0), "tree": bill(48, 10_000_000.0)}
    assert bill_table(bills, "hand-made", "Count everything once.", width=80, ascii_only=True) == BILLS


def test_bill_against_another_baseline() -> None:
    bills = {"cube": bill(32, 4_000_000.0), "tree": bill(48, 6_000_000.0)}
    header, _, first = bill_table(bills, "b", "r", baseline="tree").splitlines()[:3]
    assert header.split() == ["Metric", "Unit", "tree", "cube", "change"]
    assert first.split() == ["Switches", "48", "32", "-33.3", "%"]


def test_missing_price_is_said(document: dict[str, Any]) -> None:
    text = bill_table({"cube": bill(32, None), "tree": bill(48, 6.0)}, "b", "r", width=80)
    assert "lacks a price that cube needs" in text
    document["fabrics"]["cube"] |= {"bill": bill(32, None), "cost": cost(None, 5000.0)}
    row = next(line for line in document_table(told(document)).splitlines() if "Total per output" in line)
    assert row.split()[-2:] == ["-", "-"]
    assert "unknown" in headline(document)[0]


def test_fabrics_that_do_not_fit_go_into_further_tables(document: dict[str, Any]) -> None:
    for number in range(3):
        document["fabrics"][f"cube-kind-{number}"] = copy.deepcopy(document["fabrics"]["cube"])
    text = document_table(told(document), width=80)
    assert max(map(len, text.splitlines())) <= 80
    headers = [line for line in text.splitlines() if line.startswith("Metric")]
    assert len(headers) > 1 and all(" tree " in header for header in headers)
    assert all(sum(name in header.split() for header in headers) == 1 for name in document["fabrics"] if name != "tree")
    assert sum(line.startswith("Metric") for line in document_table(told(document)).splitlines()) == 1


def test_one_fabric_has_no_change_column(document: dict[str, Any]) -> None:
    del document["fabrics"]["cube"]
    header = next(line for line in document_table(told(document), 80).splitlines() if line.startswith("Metric"))
    assert "change" not in header
    end = "switches and switch-side optics 6,000,000 USD; requests: 0 rejected, 0 failed, 0 unfinished of 1,200."
    assert headline(document)[0].endswith(f"mean KV transfer 12.50 ms; {end}")


def test_colour_only_when_asked(document: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "20")
    assert document_table(told(document), width=80, ascii_only=True) == TABLE
    assert "\x1b[" in document_table(told(document), width=80, colour=True)


def test_names_cannot_steer_the_terminal(document: dict[str, Any]) -> None:
    document["fabrics"]["[red]\x1b[2J\u202e:smile:"] = document["fabrics"].pop("cube")
    document["requests"]["source"] = "\x1b]0;owned\x07"
    text = document_table(told(document), 80)
    assert "\x1b" not in text and "\x07" not in text and "\u202e" not in text
    assert "[red]?[2J?:smile:" in text


def test_rates_that_would_not_last_are_said_to(document: dict[str, Any]) -> None:
    reason = "24.48 requests/s came and 21.39 left, -12.6 %; measure.steady_within allows 5 %"
    document["fabrics"]["cube"]["window"]["unsteady"] = reason
    text = document_table(told(document), 120)
    assert "\nThroughput (not steady)\n" in text and "\nWindow on tree: 4.000 to 10.00 s (6.000 s);" in text
    folded = " ".join(text.split())
    assert f"720 of them completed; not steady: {reason}. Latencies:" in folded
    assert cautions(document)[-1] == f"cube was not in a steady state, so its rates would not last: {reason}."


def test_a_tail_that_is_worse_leads_the_headline(document: dict[str, Any]) -> None:
    """Loses what a reader would not look for first: KV transfers' P99, told by seeds to differ; a better tail is not named."""
    base, cube = (document["fabrics"][name] for name in ("tree", "cube"))
    base["kv_transfer_s"]["p99"], cube["kv_transfer_s"]["p99"] = 0.100, 0.125
    base["e2e_s"]["p99"], cube["e2e_s"]["p99"] = 20.0, 10.0
    cube["noise"] = {key: {"differs": True} for key in ("kv_transfer_s.p99", "e2e_s.p99")}
    said = headline(document)[0]
    assert said.startswith("cube against tree: loses: P99 KV transfer 25.0 % more (125.0 and 100.0 ms); ")
    assert "end to end" not in said
    cube["noise"]["kv_transfer_s.p99"]["differs"] = False
    assert "P99 KV transfer" not in headline(document)[0]


def test_headline_counts(document: dict[str, Any]) -> None:
    document["fabrics"]["cube"]["requests"] = {"offered": 1200, "completed": 900, "rejected": 100, "unfinished": 200}
    (first,), said = headline(document), cautions(document)
    assert first == (
        "cube against tree: not to be told from noise (one seed): output throughput 25.0 % more (5,000 and 4,000 tok/s), P99 "
        "time to first token 25.0 % less (1.500 and 2.000 s); no difference: mean KV transfer within 0.05 % (12.50 ms); gains: "
        "switches and switch-side optics 33.3 % less (4,000,000 and 6,000,000 USD); requests: 100 rejected, 0 failed, "
        "200 unfinished of 1,200 on cube, 0 rejected, 0 failed, 0 unfinished of 1,200 on tree."
    )
    # How many is said once.
    assert said == ["Latencies on cube leave out requests that were not served; in P99 of all these count as infinite."]


def test_means_of_counts_over_seeds_are_written_alike(document: dict[str, Any]) -> None:
    counts = {"offered": 1200.0, "completed": 1199 + 2 / 3, "rejected": 1 / 3, "unfinished": 0.0}
    for fabric in document["fabrics"].values():
        fabric["requests"] = dict(counts)
        fabric["window"] |= {"arrived": 720.0, "completed": 719 + 2 / 3}
    text = " ".join(document_table(told(document), 120).split())
    assert "requests: 0.3 rejected, 0 failed, 0 unfinished of 1,200 on both." in text
    assert "720 requests arrived in it, 719.7 of them completed" in text
    assert "Completed 1,199.7 1,199.7" in text and "Rejected 0.3 0.3" in text and "666" not in text


def test_little_s_law_multiplies_only_where_its_factors_are_of_one_run(document: dict[str, Any]) -> None:
    law = document["fabrics"]["tree"]["littles_law"]
    for fabric in document["fabrics"].values():
        fabric["littles_law"] = law | {"relative_difference": -0.0002}
    lines = dict(window_lines(document | {"seeds": 2}, {name: name for name in document["fabrics"]}))
    assert lines["Little's law"] == "1,000 in the system, arrivals x mean time = 960.0 (0.0 %), means over the seeds."
    lines = dict(window_lines(document, {name: name for name in document["fabrics"]}))
    assert lines["Little's law"] == "1,000 in the system, 120.0 arrivals/s x 8.000 s = 960.0 (0.0 %)."


def test_the_same_of_several_fabrics_is_said_once(document: dict[str, Any]) -> None:
    for fabric in document["fabrics"].values():
        fabric["window"]["no_rate"] = "1 request arrived in the window, measure.least_requests asks for 100"
    verdict_of = told(document)["verdict"]["sentences"]
    assert len(verdict_of["cautions"]) == 1
    assert verdict_of["cautions"][0].startswith("tree and cube were run too briefly for rates: 1 request arrived")
    for sentence in verdict_of["limits"]:
        assert "Over the whole run: prefill busy" in sentence and "of the time, " in sentence
        assert "of the window" not in sentence
    text = " ".join(document_table(told(document), 120).split())
    assert "Latencies: of all requests that completed." in text


def test_a_fabric_that_fails_requests_is_not_said_to_be_below_capacity(document: dict[str, Any]) -> None:
    document["fabrics"]["cube"]["requests"] = {"offered": 1200, "completed": 900, "rejected": 0, "failed": 300, "unfinished": 0}
    sentences = told(document)["verdict"]["sentences"]
    assert sentences["headline"][0].startswith("cube against tree: fails: 300 of 1,200 requests; not to be told from noise")
    (tree,), (cube,) = ([one for one in sentences["limits"] if f" {name}" in one] for name in ("tree", "cube"))
    assert tree.startswith("Nothing limits tree, the load is below capacity: ")
    assert cube.startswith("Missing paths limit cube: requests fail; nothing limits what is carried: ")


def test_what_is_unknown_or_equal_is_said_in_few_words(document: dict[str, Any]) -> None:
    tree, cube = document["fabrics"]["tree"], document["fabrics"]["cube"]
    for fabric in (tree, cube):
        fabric["throughput"]["output_tokens_per_s"] = None
    cube["bill"] = tree["bill"]
    (first,) = headline(document)
    assert "; unknown: output throughput; requests: " in first
    assert "switches and switch-side optics 6,000,000 USD both" in first


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [(0, 4, "0"), (1, 4, "1.000"), (999.94, 4, "999.9"), (999.96, 4, "1,000"), (0.0063697, 4, "0.006370"),
     (136326.09, 4, "136,326"), (0.872, 3, "0.872"), (99.96, 3, "100"), (250.4, 3, "250"), (-3.5, 3, "-3.50")],
)  # fmt: skip
def test_significant_digits(value: float, digits: int, text: str) -> None:
    assert significant(value, digits) == text


def test_figures_over_different_requests_are_marked(document: dict[str, Any]) -> None:
    """Of what is over completed requests; bills are over none, shares over those that arrived, and "-" is no change."""
    cube = document["fabrics"]["cube"]
    cube["requests"] |= {"completed": 900, "rejected": 100, "unfinished": 200}
    cube["slo"], document["fabrics"]["tree"]["slo"] = ({"share": share, "ttft_s": 2.0, "tpot_s": None} for share in (0.5, 0.75))
    cube["relative_requests"] = {"on_one_side": {"served": 300, "arrived": 0, "answered": 150}}
    marked = {line.split()[0] for line in document_table(told(document)).splitlines() if line.endswith(" *")}
    assert marked == {"TTFT", "TPOT", "End", "KV", "Output", "Input", "Requests", "Arrivals", "In", "Prefix-cache", "Busiest",
                      "Type-1", "Total", "Fabric,", "With"}  # fmt: skip
    lines = document_table(told(document), width=80).splitlines()
    for label in ("Within bounds", "Total with NIC optics", "Fabric power"):
        (line,) = (line for line in lines if line.startswith(f"  {label} "))
        assert not line.endswith("*")
    assert "cube 100 rejected, 0 failed, 200 unfinished of 1,200." in " ".join(lines)
    sets = "on one side only: in latencies 150, in rates, slow-downs and cost 300."
    assert f"*: cube and tree are not over the same requests; {sets}" in " ".join(lines)
    assert "25.0 % less (1.500 and 2.000 s) over other requests;" in headline(document)[0]
    (here,) = (line for line in told(document)["verdict"]["sentences"]["published"] if line.startswith("cube here: "))
    assert "time to first token -25.0 % over other requests (" in here and "switches and optics -33.3 % (shown)" in here


def test_a_change_too_small_to_print_is_neither_better_nor_worse() -> None:
    ttft = ROWS[0]
    assert ttft.change(1.0001, 1.0) == ttft.change(0.9999, 1.0) == "0.0 %"
    assert ttft.improves(1.0001, 1.0) is None
    assert ttft.improves(0.9, 1.0) is True and ttft.improves(1.1, 1.0) is False
    assert ttft.change(1.0, 0.0) == "-"


def test_names_and_slugs_stay_distinct() -> None:
    given = ["a/x.toml", "b/x.toml", "only/y.toml", "z", "Z", "<script>", ".hidden", "???", "x" * 500, "x" * 501]
    assert display_names(given)["only/y.toml"] == "y"
    assert len(set(display_names(given).values())) == len(given)
    slugs = list(file_slugs(given).values())
    assert len({slug.casefold() for slug in slugs}) == len(given)
    assert all(slug and slug[0] != "." and not set(slug) & set('/\\<>:"|?*') and len(slug) < 80 for slug in slugs)


def test_a_fabric_keeps_its_colour() -> None:
    tree, cube = {"family": "spine-leaf"}, {"family": "zcube"}
    one, other = fabric_colours({"t": tree, "c": cube}), fabric_colours({"c": cube, "t": tree})
    assert one == other and one["t"] != one["c"]
    six = fabric_colours({str(number): cube for number in range(6)})
    assert sorted(six.values()) == sorted(COLOURS)


def test_tables_need_neither_pandas_nor_matplotlib() -> None:
    code = "import sys, zcube.report.terminal; sys.exit(bool({'pandas', 'matplotlib', 'numba', 'rich'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
