"""What stands beside every relative figure: requests that were not served, and whether both sides are over the same ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zcube.verdict.rows import ABSENT, Document, Row

#: Stands behind a change whose two sides are over different requests.
MARK = " *"

#: What figures are over, by the first key of their place in the document; see ``relative_requests`` in docs/metrics.md.
_OVER = {
    **dict.fromkeys(("ttft_s", "tpot_s", "e2e_s", "kv_transfer_s", "prefix_cache"), "answered"),
    "slo": "arrived",
    **dict.fromkeys(("throughput", "littles_law", "congestion", "packet", "cost"), "served"),
}
_OUTCOMES = ("rejected", "failed", "unfinished")


def over_others(row: Row, fabric: Document) -> bool:
    """Return whether a row is over other requests on a fabric than on the baseline."""
    over = "arrived" if row.path[-1] == "p99_all" else _OVER.get(row.path[0])
    sets = fabric.get("relative_requests")
    # Power and price of the hardware are over none.
    return bool(over and row.path[-1] != "watts" and sets and sets["on_one_side"][over])


def marked(change: str, row: Row, fabric: Document) -> str:
    """Return a row's change, with :data:`MARK` behind it where its sides are over different requests."""
    return change + MARK if change != ABSENT and over_others(row, fabric) else change


def not_served(fabric: Document) -> str:
    """Return how many of a fabric's requests were not served, by what became of them."""
    return f"{not_served_parts(fabric['requests'])} of {_count(fabric['requests']['offered'])}"


def not_served_parts(counts: Mapping[str, Any]) -> str:
    """Return counts of requests that were not served, by what became of them."""
    return ", ".join(f"{_count(counts.get(outcome, 0))} {outcome}" for outcome in _OUTCOMES)


def _count(value: float) -> str:
    """Return a count, or the mean of counts over seeds."""
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"


def beside(name: str, base_name: str, fabric: Document, base: Document) -> str:
    """Return what a sentence about a fabric against the baseline ends with."""
    mine, theirs = not_served(fabric), not_served(base)
    return f"requests: {mine} on both" if mine == theirs else f"requests: {mine} on {name}, {theirs} on {base_name}"


def set_lines(document: Mapping[str, Any], names: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return name and text of each line.

    Parameters
    ----------
    document : mapping
        ``Comparison.document()``.
    names : mapping
        How its fabrics are shown.
    """
    fabrics, base = document["fabrics"], names[document["baseline"]]
    lines = [("Not served", "; ".join(f"{names[name]} {not_served(fabric)}" for name, fabric in fabrics.items()) + ".")]
    for name, fabric in fabrics.items():
        sets = (fabric.get("relative_requests") or {}).get("on_one_side", {})
        parts = [f"{words} {sets[over]:,}" for over, words in _WORDS.items() if sets.get(over)]
        if parts:
            text = f"{names[name]} and {base} are not over the same requests; on one side only: {', '.join(parts)}."
            lines.append((MARK.strip(), text))
    return lines


_WORDS = {"answered": "in latencies", "arrived": "in shares and P99 of all", "served": "in rates, slow-downs and cost"}
