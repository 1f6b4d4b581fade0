"""A replay's summary as plain text for a terminal or a pipe."""

from __future__ import annotations

from collections.abc import Mapping
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
    lines += _row("Makespan", time_text(document["makespan_s"]))
    lines += _row("Throughput", f"{document['throughput_gbps']:,.4g} Gb/s")
    lines += _row("Duration", _spread(document["duration_s"], time_text))
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
        lines += ["", *_trace_lines(document["trace"])]
    if "packet" in document:
        lines += ["", *packet_text(document["packet"]).splitlines()]
    if "calibration" in document:
        lines += ["", *calibration_lines(document["calibration"])]
    lines += [
        "",
        "Slow-down: duration over what the flow would take with the network to itself. Utilisation: over the makespan.",
    ]
    return "\n".join(lines) + "\n"


def _trace_lines(trace: Mapping[str, Any]) -> list[str]:
    """Return when a trace's phases ran and what its rails carried."""
    lines = _row(
        "Completion", f"{time_text(trace['completion_s'])}, {time_text(trace['waiting_for_network_s'])} of it the network's"
    )
    for place, phase in enumerate(trace["phases"]):
        span = f"{time_text(phase['first_start_s'])} to {time_text(phase['last_finish_s'])}"
        lines += _row("" if place else "Phases", f"{printable(phase['phase'])}  {bytes_text(phase['bytes'])}  {span}")
    for place, rail in enumerate(trace["rails"]):
        sums = f"{bytes_text(rail['nic_sent_bytes'])} sent, {bytes_text(rail['nic_received_bytes'])} received over NICs"
        lines += _row("" if place else "Rails", f"{rail['rail']}  {sums}, {bytes_text(rail['nvlink_sent_bytes'])} over NVLink")
    for place, other in enumerate(trace["recorded_otherwise"]):
        change = f"{printable(other['key'])} = {printable(str(other['recorded']))}, here {printable(str(other['replayed']))}"
        lines += _row("" if place else "Recorded with", change)
    return lines


def _row(name: str, value: str) -> list[str]:
    return [f"{name:<16} {value}".rstrip()]


def _spread(quantiles: Mapping[str, float], form: Any) -> str:
    return ", ".join(f"{name} {form(quantiles[name])}" for name in ("mean", "p50", "p90", "p99", "max"))
