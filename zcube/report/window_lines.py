"""What is said of the window that a comparison's figures are over, and of the first token."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from zcube.verdict.rows import counted, signed, significant

_FIRST_TOKEN = {
    "prefill": "made by prefill, given out when the KV cache has arrived in full (decode.first_token = prefill, as SGLang)",
    "decode": "made by the decode node, a step after the KV cache arrived (decode.first_token = decode, as Dynamo's replay)",
}

#: Sections of the table that hold rates over the window.
_RATES = ("Throughput", "Service levels")


def window_lines(document: Mapping[str, Any], names: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return name and text of each line.

    Parameters
    ----------
    document : mapping
        ``Comparison.document()``.
    names : mapping
        How its fabrics are shown.
    """
    fabrics = document["fabrics"]
    (first,) = {fabric["first_token"] for fabric in fabrics.values()}
    return [
        *_grouped("Window", {names[name]: _window(fabric) for name, fabric in fabrics.items()}),
        *_grouped("Latencies", {names[name]: _latencies(fabric) for name, fabric in fabrics.items()}),
        *_bounds(next(iter(fabrics.values()))["slo"]),
        ("First token", f"{_FIRST_TOKEN[first]}."),
        *_grouped("Little's law", {names[name]: _law(fabric, document["seeds"]) for name, fabric in fabrics.items()}),
    ]


def section_title(section: str, fabrics: Iterable[Mapping[str, Any]]) -> str:
    """Return a heading of the table, which says of rates that some fabric's are none of a steady state."""
    unsteady = any(fabric.get("window", {}).get("unsteady") for fabric in fabrics)
    return f"{section} (not steady)" if unsteady and section in _RATES else section


def _grouped(heading: str, texts: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return one line for all fabrics where they agree, else one for each."""
    if len(set(texts.values())) == 1:
        return [(heading, next(iter(texts.values())))]
    return [(f"{heading} on {name}", text) for name, text in texts.items()]


def _window(fabric: Mapping[str, Any]) -> str:
    window = fabric["window"]
    if window["no_rate"] is not None:
        return f"none, so no rates: {window['no_rate']}; the other figures are of the whole run."
    ends = f"{significant(window['start_s'])} to {significant(window['end_s'])} s ({significant(window['length_s'])} s)"
    held = f"{ends}; {counted(window['arrived'])} requests arrived in it, {counted(window['completed'])} of them completed"
    return f"{held}." if window["unsteady"] is None else f"{held}; not steady: {window['unsteady']}."


def _latencies(fabric: Mapping[str, Any]) -> str:
    if fabric["window"]["no_rate"] is not None:
        return "of all requests that completed."
    return "of the requests that arrived in the window and completed, followed to their end."


def _bounds(slo: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    if slo is None:
        return []
    parts = [f"{key.removesuffix('_s').upper()} at most {slo[key]:g} s" for key in ("ttft_s", "tpot_s") if slo[key] is not None]
    return [("Bounds", f"{' and '.join(parts)}; TPOT is a request's mean; failed and rejected requests meet none.")]


def _law(fabric: Mapping[str, Any], seeds: int) -> str:
    law = fabric["littles_law"]
    inside, product = f"{significant(law['mean_in_system'])} in the system", significant(law["product"])
    apart = f"({signed(100 * law['relative_difference'], 1)} %)"
    if seeds > 1:
        # Means over seeds do not multiply to the mean of their products.
        return f"{inside}, arrivals x mean time = {product} {apart}, means over the seeds."
    factors = f"{significant(law['arrivals_per_s'])} arrivals/s x {significant(law['mean_time_s'])} s"
    return f"{inside}, {factors} = {product} {apart}."
