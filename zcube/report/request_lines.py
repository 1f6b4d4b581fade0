"""What is said of the requests of a comparison: source, clock, what prefix caches can save at most."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def request_lines(requests: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return name and text of each line.

    Parameters
    ----------
    requests : mapping
        ``requests`` of a comparison's document.
    """
    lines = [
        ("Requests", f"{requests['requests']:,}; {requests['source']}"),
        ("Arrivals", _arrivals(requests["clock"], requests["waiting_requests"])),
    ]
    if requests["prefix_hit_bound"] is not None:
        share = f"{100 * requests['prefix_hit_bound']:.1f} %"
        bound = f"at most {share} of all prompt tokens, warm-up included, with an unlimited prefix cache."
        lines.append(("Prefix hits", bound))
    lines += [("Reading", f"{note}.") for note in requests["notes"]]
    return lines


def _arrivals(clock: Mapping[str, Any], waiting: int) -> str:
    own_s, own_rate = clock["own_span_s"], clock["own_rate_per_s"]
    own = f"{own_s:.4g} s, {own_rate:.3g} per second" if own_rate else "all at once"
    rate = "all at once" if clock["rate_per_s"] is None else f"{clock['rate_per_s']:.3g} per second"
    text = {
        "own": f"at their own times: {own}",
        "rescaled": f"own times ({own}) multiplied by {clock['time_factor'] or 1:.4g}: {rate}",
        "spaced": f"sessions, which the file starts all at once, evenly spaced: {rate}",
        "generated": f"generated: {own}",
        "closed loop": f"closed loop: the source's own times ({own}) are not used",
    }[clock["kind"]]
    waits = f"; {waiting:,} wait for the request before them in their session" if waiting else ""
    return f"{text}{waits}."
