"""A replay's summary as plain text for a terminal or a pipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zcube.report.names import printable


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
    head = f"{document['flows']:,} flows, {_bytes(document['bytes']['payload'])}, on {printable(document['fabric'])}"
    lines = [f"{head} by {document['routing']} ({document['fidelity']}, {document['path_split']})", ""]
    lines += _row("Makespan", _time(document["makespan_s"]))
    lines += _row("Throughput", f"{document['throughput_gbps']:,.4g} Gb/s")
    lines += _row("Duration", _spread(document["duration_s"], _time))
    lines += _row("Slow-down", _spread(document["slowdown"], lambda value: f"{value:.4g}"))
    if "coflows" in document:
        coflows = document["coflows"]
        lines += _row("Coflows", f"{coflows['count']:,}")
        if coflows["duration_s"]:
            lines += _row("Coflow duration", _spread(coflows["duration_s"], _time))
    lines.append("")
    for place, link in enumerate(document["hot_links"]):
        name = f"{printable(link['from'])}>{printable(link['to'])}"
        lines += _row("" if place else "Hot links", f"{name}  {link['utilisation']:.1%}  {link['peak_flows']} paths at once")
    if "trace" in document:
        lines += ["", *_trace_lines(document["trace"])]
    lines += [
        "",
        "Slow-down: duration over what the flow would take with the network to itself. Utilisation: over the makespan.",
    ]
    return "\n".join(lines) + "\n"


def _trace_lines(trace: Mapping[str, Any]) -> list[str]:
    """Return when a trace's phases ran and what its rails carried."""
    lines = _row("Completion", f"{_time(trace['completion_s'])}, {_time(trace['waiting_for_network_s'])} of it the network's")
    for place, phase in enumerate(trace["phases"]):
        span = f"{_time(phase['first_start_s'])} to {_time(phase['last_finish_s'])}"
        lines += _row("" if place else "Phases", f"{printable(phase['phase'])}  {_bytes(phase['bytes'])}  {span}")
    for place, rail in enumerate(trace["rails"]):
        sums = f"{_bytes(rail['nic_sent_bytes'])} sent, {_bytes(rail['nic_received_bytes'])} received over NICs"
        lines += _row("" if place else "Rails", f"{rail['rail']}  {sums}, {_bytes(rail['nvlink_sent_bytes'])} over NVLink")
    return lines


def _row(name: str, value: str) -> list[str]:
    return [f"{name:<16} {value}".rstrip()]


def _spread(quantiles: Mapping[str, float], form: Any) -> str:
    return ", ".join(f"{name} {form(quantiles[name])}" for name in ("mean", "p50", "p90", "p99", "max"))


def _time(seconds: float) -> str:
    if not seconds:
        return "0 s"
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.4g} {unit}"
    return f"{seconds * 1e9:.4g} ns"


def _bytes(size: float) -> str:
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.4g} {unit}"
    return f"{size:.4g} bytes"
