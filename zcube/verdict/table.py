"""The rows of the comparison table, which terminal and page share: label, unit, place in the document, definition."""

from __future__ import annotations

from zcube.verdict.rows import Document, Row, Shown

#: Statistics of a latency, by their keys.
STATISTICS = {"mean": "mean", "p50": "P50", "p80": "P80", "p90": "P90", "p99": "P99"}


_OF_ALL = (
    "P99 over all requests that arrived in the window; those that failed, were turned away or are unfinished count as infinite."
)


def _latency(name: str, key: str, unit: str, definition: str) -> list[Row]:
    section = "Latency of completed requests"
    scale = 1000.0 if unit == "ms" else 1.0
    rows = [
        Row(section, f"{name} {mark}", unit, (key, statistic), definition, scale=scale)
        for statistic, mark in STATISTICS.items()
    ]
    return [*rows, Row(section, f"{name} P99 of all", unit, (key, "p99_all"), _OF_ALL, scale=scale, shown="if known")]


def _per_million() -> list[Row]:
    """Return what a million tokens cost, by what is paid for; docs/metrics.md has the formula."""
    rows = []
    for scope, name in (("fabric", "Fabric"), ("with_nics", "With NICs"), ("with_gpus", "With GPUs")):
        kinds: tuple[tuple[str, str, str, Shown], ...] = (
            ("hardware", "hardware_usd_per_million_output_tokens", "Bill by the hour / output tokens by the hour.", "always"),
            ("power too", "usd_per_million_output_tokens", "Bill and power by the hour / output tokens by the hour.", "always"),
            ("good tokens", "usd_per_million_good_tokens", "The same / good tokens by the hour.", "if known"),
        )
        for kind, key, definition, shown in kinds:
            always = shown if scope == "fabric" else "if known"
            rows.append(Row("Cost", f"{name}, {kind}", "USD/Mtok", ("cost", scope, key), definition, shown=always))
    return rows


_TYPE1 = (
    "Per KV transfer: time on an ideal core, in which only NICs limit, over time alone there (bytes / line rate). What "
    "contention for its own NICs costs; no fabric can avoid it. 1 = none. Path delays left out."
)
_TYPE2 = (
    "Per KV transfer: time on the fabric over time on the ideal core with the same start times. What the fabric adds. "
    "1 = nothing. Path delays left out."
)

ROWS: tuple[Row, ...] = (
    *_latency("TTFT", "ttft_s", "s", "Time to first token: arrival -> first token given out, see First token."),
    *_latency(
        "TPOT",
        "tpot_s",
        "ms",
        "Time per output token after the first: (last token - first token) / (output tokens - 1); "
        "answers of one token left out.",
    ),
    *_latency("End to end", "e2e_s", "s", "Arrival -> last token."),
    *_latency(
        "KV transfer",
        "kv_transfer_s",
        "ms",
        "Post of the request's last KV push -> arrival of its last byte: "
        "set-up and pushes still under way are in it, the wait for room is not.",
    ),
    Row(
        "Throughput",
        "Output",
        "tok/s",
        ("throughput", "output_tokens_per_s"),
        "Output tokens that came out in the window / its length.",
        "higher",
    ),
    Row(
        "Throughput",
        "Input",
        "tok/s",
        ("throughput", "input_tokens_per_s"),
        "Prompt tokens, cached ones included, of requests whose prefill ended in the window / its length.",
        "higher",
    ),
    Row(
        "Throughput",
        "Requests",
        "req/s",
        ("throughput", "requests_per_s"),
        "Requests that got their last token in the window / its length.",
        "higher",
    ),
    Row(
        "Throughput",
        "Arrivals",
        "req/s",
        ("littles_law", "arrivals_per_s"),
        "Requests that arrived in the window and were not turned away / its length.",
        "neither",
    ),
    Row(
        "Throughput",
        "In the system",
        "",
        ("littles_law", "mean_in_system"),
        "Requests between arrival and last token, mean over the window.",
        "neither",
    ),
    Row(
        "Throughput",
        "Arrivals x mean time",
        "",
        ("littles_law", "product"),
        "Arrivals per second x their mean time to the last token; equals the number in the system in a steady state "
        "(Little's law).",
        "neither",
    ),
    Row(
        "Service levels",
        "Within bounds",
        "%",
        ("slo", "share"),
        "Requests that arrived in the window and met every bound / all that arrived in it, failures included.",
        "higher",
        "percent",
        100.0,
        shown="if known",
    ),
    Row(
        "Service levels",
        "Goodput",
        "req/s",
        ("slo", "requests_per_s"),
        "Requests that met every bound and got their last token in the window / its length.",
        "higher",
        shown="if known",
    ),
    Row(
        "Service levels",
        "Goodput",
        "tok/s",
        ("slo", "output_tokens_per_s"),
        "Output tokens of requests that met every bound which came out in the window / its length.",
        "higher",
        shown="if known",
    ),
    Row(
        "Requests",
        "Offered",
        "",
        ("requests", "offered"),
        "Arrived before the end of the run = completed + rejected + failed + unfinished.",
        "neither",
        "count",
    ),
    Row("Requests", "Completed", "", ("requests", "completed"), "Got their last token.", "higher", "count"),
    Row(
        "Requests",
        "Rejected",
        "",
        ("requests", "rejected"),
        "Turned away: longer than the model's positions or a decode node's KV room, or a full prefill queue.",
        "lower",
        "count",
    ),
    Row(
        "Requests",
        "Failed",
        "",
        ("requests", "failed"),
        "A transfer of theirs had no path after failures, or the network stopped; in no latency, never completed.",
        "lower",
        "count",
        shown="if any",
    ),
    Row("Requests", "Unfinished", "", ("requests", "unfinished"), "Under way at the end of the run.", "lower", "count"),
    Row(
        "Requests",
        "Prefix-cache hits",
        "%",
        ("prefix_cache", "hit_fraction"),
        "Prompt tokens found in prefill nodes' prefix caches / prompt tokens, requests of the window.",
        "higher",
        "percent",
        100.0,
    ),
    Row("Network", "Type-1 slow-down mean", "", ("congestion", "type1_slowdown"), _TYPE1),
    Row("Network", "Type-1 slow-down P99", "", ("congestion", "type1_slowdown_p99"), _TYPE1),
    Row("Network", "Type-2 slow-down mean", "", ("congestion", "type2_slowdown"), _TYPE2),
    Row("Network", "Type-2 slow-down P99", "", ("congestion", "type2_slowdown_p99"), _TYPE2),
    Row(
        "Network",
        "Busiest link",
        "%",
        ("congestion", "max_link_utilisation"),
        "Largest carried bits / (line rate x length of the window) over directed links, NVLink left out.",
        "lower",
        "percent",
        100.0,
    ),
    Row("Cost", "Switches", "", ("bill", "switches"), "Switches bought.", "lower", "count", exact=True),
    Row(
        "Cost",
        "Switch-side modules",
        "",
        ("bill", "transceivers"),
        "Transceivers in switch ports.",
        "lower",
        "count",
        exact=True,
    ),
    Row("Cost", "Switches", "USD", ("bill", "switch_usd"), "Native ports x port price.", "lower", "usd", exact=True),
    Row(
        "Cost", "Switch-side optics", "USD", ("bill", "optics_usd"), "Switch-side modules x price.", "lower", "usd", exact=True
    ),
    Row("Cost", "Total", "USD", ("bill", "total_usd"), "Switches + switch-side optics.", "lower", "usd", exact=True),
    Row(
        "Cost",
        "Total with NIC optics",
        "USD",
        ("bill", "with_nic_side", "total_usd"),
        "Total + NIC-side optics.",
        "lower",
        "usd",
        exact=True,
    ),
    Row(
        "Cost",
        "Total per output",
        "USD/(tok/s)",
        ("cost", "bill_usd_per_output_token_per_s"),
        "Total / output tokens per second in the window.",
    ),
    Row(
        "Cost",
        "Fabric power",
        "kW",
        ("cost", "fabric", "watts"),
        "Power of switches and modules of both sides.",
        scale=1e-3,
        exact=True,
    ),
    *_per_million(),
)

#: Shown behind the network's where some fabric was simulated packet by packet.
PACKET_ROWS: tuple[Row, ...] = (
    Row("Packets", "Pauses", "", ("packet", "counts", "pauses"), "XOFF frames; refreshes are not counted.", "lower", "count"),
    Row("Packets", "Ports paused", "", ("packet", "paused_ports"), "Ports stopped at least once.", "lower", "count"),
    Row("Packets", "Paused", "s", ("packet", "paused_s"), "Time stopped, summed over ports and priorities."),
    Row(
        "Packets",
        "Victims",
        "transfers",
        ("packet", "victims", "flows"),
        "Transfers that spent more than a tenth of their time behind pauses for a congested port not on their path.",
        "lower",
        "count",
    ),
    Row(
        "Packets",
        "Behind others' congestion",
        "%",
        ("packet", "victims", "victim_s"),
        "Transfers' time behind pauses for a congested port not on their path / their time behind any pause.",
        "lower",
        "percent",
        100.0,
        ("packet", "victims", "blocked_s"),
    ),
    Row(
        "Packets",
        "Marked",
        "packets",
        ("packet", "counts", "marks"),
        "Packets marked by ECN; cells where these are simulated.",
        "neither",
        "count",
    ),
    Row("Packets", "Rate cuts", "", ("packet", "counts", "rate_cuts"), "Of all queue pairs.", "neither", "count"),
    Row(
        "Packets",
        "Dropped",
        "packets",
        ("packet", "counts", "drops"),
        "Packets dropped; cells where these are simulated.",
        "lower",
        "count",
    ),
)


def shown_rows(document: Document) -> list[Row]:
    """Return the rows a document has values for: those of packets only where some fabric was simulated packet by packet."""
    fabrics = document["fabrics"].values()

    def has_any(row: Row) -> bool:
        values = [row.value(fabric) for fabric in fabrics]
        return any(values) if row.shown == "if any" else any(value is not None for value in values)

    packets = PACKET_ROWS if any("packet" in fabric for fabric in fabrics) else ()
    before = next(place for place, row in enumerate(ROWS) if row.section == "Cost")
    return [row for row in (*ROWS[:before], *packets, *ROWS[before:]) if row.shown == "always" or has_any(row)]


def row(section: str, label: str, unit: str) -> Row:
    """Return the row of a label.

    Raises
    ------
    KeyError
        If there is none.
    """
    for candidate in ROWS:
        if (candidate.section, candidate.label, candidate.unit) == (section, label, unit):
            return candidate
    raise KeyError((section, label, unit))
