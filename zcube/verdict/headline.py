"""What a comparison says of its fabrics in a few sentences: what each loses or leaves equal first, then what it gains."""

from __future__ import annotations

from zcube.verdict.request_sets import beside, over_others
from zcube.verdict.rows import ABSENT, NO_DIFFERENCE, ROWS, UNSURE, Document, Row


def headline(document: Document) -> list[str]:
    """Return one sentence per fabric other than the baseline, or one of the only fabric.

    Parameters
    ----------
    document : mapping
        ``Comparison.document()``.
    """
    base_name = document["baseline"]
    base = document["fabrics"][base_name]
    others = {name: fabric for name, fabric in document["fabrics"].items() if name != base_name}
    if not others:
        return [_alone(base_name, base)]
    return [_against(name, base_name, fabric, base) for name, fabric in others.items()]


def row(section: str, label: str, unit: str) -> Row:
    """Return the table row of a label.

    Raises
    ------
    KeyError
        If there is none.
    """
    for candidate in ROWS:
        if (candidate.section, candidate.label, candidate.unit) == (section, label, unit):
            return candidate
    raise KeyError((section, label, unit))


BILL = row("Cost", "Total", "USD")
OUTPUT = row("Throughput", "Output", "tok/s")
TTFT_P99 = row("Latency of completed requests", "TTFT P99", "s")
_KV = row("Latency of completed requests", "KV transfer mean", "ms")

#: What fabrics are judged by, as sentences name it.
_JUDGED = (
    (OUTPUT, "output throughput"),
    (TTFT_P99, "P99 time to first token"),
    (_KV, "mean KV transfer"),
    (BILL, "switches and switch-side optics"),
)


def _against(name: str, base_name: str, fabric: Document, base: Document) -> str:
    told: dict[str, list[str]] = {"loses": [], "not told": [], "equal": [], "unknown": [], "gains": []}
    for metric, label in _JUDGED:
        kind, text = _judged(metric, fabric, base)
        told[kind].append(f"{label} {text}" + " over other requests" * over_others(metric, fabric))
    why = "too few seeds" if fabric.get("noise") else "one seed"
    heads = {"not told": f"not to be told from noise ({why})", "equal": "no difference"}
    parts = [f"{heads.get(kind, kind)}: {', '.join(texts)}" for kind, texts in told.items() if texts]
    return f"{name} against {base_name}: {'; '.join((*parts, beside(name, base_name, fabric, base)))}."


def _judged(metric: Row, fabric: Document, base: Document) -> tuple[str, str]:
    """Return under which head a metric of a fabric stands, and its figures."""
    value, reference = metric.value(fabric), metric.value(base)
    change, unit = metric.change(value, reference), f" {metric.unit}" if metric.unit else ""
    if change == ABSENT:
        return "unknown", f"{_value(metric, fabric)} (baseline {_value(metric, base)})"
    both = f"({metric.text(value)} and {metric.text(reference)}{unit})"
    told, better = metric.against(fabric, base)
    if told == NO_DIFFERENCE:
        return "equal", both
    if not any(digit in change for digit in "123456789"):
        return "equal", f"within 0.05 % ({metric.text(value)}{unit})"
    direction = "less" if change.startswith("-") else "more"
    moved = f"{change.lstrip('+-')} {direction} {both}"
    if told == UNSURE or better is None:
        return "not told", moved
    return "gains" if better else "loses", moved


def _alone(name: str, fabric: Document) -> str:
    shown = [f"{label} {_value(metric, fabric)}" for metric, label in _JUDGED]
    return f"{name}: {'; '.join(shown)}."


def _value(metric: Row, fabric: Document) -> str:
    value = metric.value(fabric)
    return "unknown" if value is None else f"{metric.text(value)} {metric.unit}".rstrip()


def cautions(document: Document) -> list[str]:
    """Return what a reader must know to trust the figures: runs without a steady state, requests that are missing."""
    sentences = []
    for name, fabric in document["fabrics"].items():
        counts, window = fabric["requests"], fabric["window"]
        others = [f"{counts['rejected']:,} rejected", f"{counts['unfinished']:,} unfinished"]
        if counts.get("failed"):
            others.insert(1, f"{counts['failed']:,} failed")
        if window["no_rate"] is not None:
            sentences.append(f"{name} was run too briefly for rates: {window['no_rate']}.")
        elif window["unsteady"] is not None:
            sentences.append(f"{name} was not in a steady state, so its rates would not last: {window['unsteady']}.")
        if counts["completed"] < counts["offered"]:
            sentences.append(
                f"On {name} only {counts['completed']:,} of {counts['offered']:,} requests completed "
                f"({', '.join(others)}); latencies leave the others out."
            )
        if fabric.get("failure"):
            sentences.append(f"{name}: {fabric['failure']}.")
    return sentences
