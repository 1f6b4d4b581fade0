"""A replay's summary as plain text for a terminal or a pipe."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from zcube.report.calibration_lines import calibration_lines
from zcube.report.names import printable
from zcube.report.packet_table import packet_text
from zcube.report.quantities import bytes_text, time_text


def replay_text(document: Mapping[str, Any]) -> str:
    """Return the summary of a replay as aligned lines.

    Parameters
    ----------
    document : mapping
        ``Replay.document()``.

    Returns
    -------
    str
        Lines with a final newline.
    """
    head = f"{document['flows']:,} flows, {bytes_text(document['bytes']['payload'])}, on {printable(document['fabric'])}"
    lines = [f"{head} by {document['routing']} ({document['fidelity']}, {document['path_split']})", ""]
    band = document.get("calibration", {}).get("band", {}).get("figures", {})
    lines += _row("Makespan", time_text(document["makespan_s"]) + _band(band.get("makespan_s"), time_text))
    throughput = _band(band.get("throughput_gbps"), lambda value: f"{value:,.4g}")
    lines += _row("Throughput", f"{document['throughput_gbps']:,.4g} Gb/s{throughput}")
    lines += _row("Duration", _spread(document["duration_s"], time_text))
    if band:
        lines += _row(
            "", ", ".join(f"{name}{_band(band.get(f'duration_s.{name}'), time_text)}" for name in ("mean", "p50", "p99"))
        )
    lines += _row("Slow-down", _spread(document["slowdown"], lambda value: f"{value:.4g}"))
    if "coflows" in document:
        coflows = document["coflows"]
        lines += _row("Coflows", f"{coflows['count']:,}")
        if coflows["duration_s"]:
            lines += _row("Coflow duration", _spread(coflows["duration_s"], time_text))
    lines.append("")
    for place, link in enumerate(document["hot_links"]):
        name = f"{printable(link['from'])}>{printable(link['to'])}"
        lines += _row("" if place else "Hot links", f"{name}  {link['utilisation']:.1%}  {link['peak_flows']} paths at once")
    if "trace" in document:
        lines += ["", *_trace_lines(document["trace"], band)]
    if "packet" in document:
        lines += ["", *packet_text(document["packet"]).splitlines()]
    if "calibration" in document:
        lines += ["", *calibration_lines(document["calibration"])]
    lines += [
        "",
        "Slow-down: duration over what the flow would take with the network to itself. Utilisation: over the makespan.",
    ]
    return "\n".join(lines) + "\n"


def _trace_lines(trace: Mapping[str, Any], band: Mapping[str, Any]) -> list[str]:
    """Return when a trace's phases ran and what its rails carried."""
    waiting = time_text(trace["waiting_for_network_s"]) + _band(band.get("trace.waiting_for_network_s"), time_text)
    lines = _row("Completion", f"{time_text(trace['completion_s'])}, {waiting} of it the network's")
    for place, phase in enumerate(trace["phases"]):
        span = f"{time_text(phase['first_start_s'])} to {time_text(phase['last_finish_s'])}"
        lines += _row("" if place else "Phases", f"{printable(phase['phase'])}  {bytes_text(phase['bytes'])}  {span}")
    for place, rail in enumerate(trace["rails"]):
        sums = f"{bytes_text(rail['nic_sent_bytes'])} sent, {bytes_text(rail['nic_received_bytes'])} received over NICs"
        lines += _row("" if place else "Rails", f"{rail['rail']}  {sums}, {bytes_text(rail['nvlink_sent_bytes'])} over NVLink")
    for place, other in enumerate(trace["recorded_otherwise"]):
        change = f"{printable(other['key'])} = {printable(str(other['recorded']))}, here {printable(str(other['replayed']))}"
        lines += _row("" if place else "Recorded with", change)
    for place, one in enumerate(trace["as_measured"]):
        span = f"{bytes_text(one['from_bytes'])} to {bytes_text(one['to_bytes'])}"
        where = "a node" if one["nodes"] == 1 else f"{one['nodes']} nodes"
        text = f"{one['collectives']:,} {one['operation']} among {one['ranks']} ranks of {where}, {span}"
        part = one["least_part_of_bytes"]
        lines += _row("" if place else "As calibrated", text if part >= 1 else f"{text}; at least {part:.0%} of their bytes")
        lines += [line for text in one["warnings"] for line in _row("", f"warning: {printable(text)}")]
    return [*lines, *_recorded_lines(trace["against_recording"])]


def _recorded_lines(against: Mapping[str, Any] | None) -> list[str]:
    """Return how far simulated durations are from recorded ones, by size."""
    if against is None:
        return []
    head = "Against recorded durations (shortest of each operation, number of ranks and size), simulated / recorded - 1:"
    lines = ["", head]
    rows = [(f"from {bytes_text(row['from_bytes'])}", row) for row in against["by_size_decade"]]
    large = against["errors_above_1_mb"]
    for name, row in [*rows, ("all", against["errors"]), *([("above 1 MB", large)] if large else [])]:
        signed, kinds = f"mean {row['mean_signed']:+.1%}", f"{row['operations']:,} operations"
        lines += _row(f"  {name}", f"{kinds}, {signed}; absolute median {row['median']:.1%}, largest {row['largest']:.1%}")
    return lines if large else [*lines, *_row("  above 1 MB", "no operation was recorded")]


def _row(name: str, value: str) -> list[str]:
    return [f"{name:<16} {value}".rstrip()]


def _band(ends: Sequence[float] | None, form: Callable[[float], str]) -> str:
    """Return a band in brackets, nothing without one."""
    return "" if ends is None else f" ({form(ends[0])} to {form(ends[1])})"


def _spread(quantiles: Mapping[str, float], form: Any) -> str:
    return ", ".join(f"{name} {form(quantiles[name])}" for name in ("mean", "p50", "p90", "p99", "max"))
