"""What a comparison says in a few sentences; every number comes from its document."""

from __future__ import annotations

from zcube.report.names import display_names
from zcube.report.rows import ABSENT, NO_DIFFERENCE, ROWS, UNSURE, Document, Row, significant


def headline(document: Document) -> list[str]:
    """Return one sentence per fabric other than the baseline, then what a reader must know to trust them.

    Parameters
    ----------
    document : mapping
        ``Comparison.document()``.

    Returns
    -------
    list of str
        Plain text. The last sentences say how full the network was and whether requests are missing from the latencies.
    """
    names = display_names(document["fabrics"])
    base = document["fabrics"][document["baseline"]]
    others = [name for name in document["fabrics"] if name != document["baseline"]]
    sentences = [_against(names[name], names[document["baseline"]], document["fabrics"][name], base) for name in others]
    return [*(sentences or [_alone(names[document["baseline"]], base)]), *_cautions(document, names)]


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


_BILL = row("Cost", "Total", "USD")
_OUTPUT = row("Throughput", "Output", "tok/s")
_TTFT = row("Latency of completed requests", "TTFT P99", "s")
_KV = row("Latency of completed requests", "KV transfer mean", "ms")
_BUSIEST = row("Network", "Busiest link", "%")


def _against(name: str, base_name: str, fabric: Document, base: Document) -> str:
    parts = (
        ("switches and switch-side optics", _BILL),
        ("output throughput", _OUTPUT),
        ("P99 time to first token", _TTFT),
        ("mean KV transfer", _KV),
    )
    return f"{name} against {base_name}: " + "; ".join(_moved(label, metric, fabric, base) for label, metric in parts) + "."


def _moved(label: str, metric: Row, fabric: Document, base: Document) -> str:
    value, reference = metric.value(fabric), metric.value(base)
    change = metric.change(value, reference)
    unit = f" {metric.unit}" if metric.unit else ""
    if change == ABSENT:
        return f"{label} {_value(metric, fabric)} ({base_word(metric, base)})"
    told, better = metric.against(fabric, base)
    if told in (NO_DIFFERENCE, UNSURE):
        word = told if told == NO_DIFFERENCE else "not to be told from noise"
        return f"{label} {word} ({metric.text(value)} and {metric.text(reference)}{unit})"
    if better is None:
        return f"{label} within 0.05 % ({metric.text(value)}{unit})"
    direction = "less" if change.startswith("-") else "more"
    return f"{label} {change.lstrip('+-')} {direction} ({metric.text(value)} instead of {metric.text(reference)}{unit})"


def base_word(metric: Row, base: Document) -> str:
    """Return the baseline's value as a side remark."""
    return f"baseline {_value(metric, base)}"


def _alone(name: str, fabric: Document) -> str:
    shown = ((_BILL, "switches and switch-side optics"), (_OUTPUT, "output throughput"), (_TTFT, "P99 time to first token"))
    return f"{name}: " + "; ".join(f"{label} {_value(metric, fabric)}" for metric, label in shown) + "."


def _value(metric: Row, fabric: Document) -> str:
    value = metric.value(fabric)
    return "unknown" if value is None else f"{metric.text(value)} {metric.unit}".rstrip()


def _cautions(document: Document, names: dict[str, str]) -> list[str]:
    fabrics = document["fabrics"]
    busiest = ", ".join(
        f"{significant(_BUSIEST.value(fabric) or 0.0, 3)} % on {names[name]}" for name, fabric in fabrics.items()
    )
    sentences = [f"The busiest link was used to {busiest}, averaged over the window."]
    for name, fabric in fabrics.items():
        counts, window = fabric["requests"], fabric["window"]
        others = [f"{counts['rejected']:,} rejected", f"{counts['unfinished']:,} unfinished"]
        if counts.get("failed"):
            others.insert(1, f"{counts['failed']:,} failed")
        if window["no_rate"] is not None:
            sentences.append(f"{names[name]} was run too briefly for rates: {window['no_rate']}.")
        elif window["unsteady"] is not None:
            sentences.append(f"{names[name]} was not in a steady state, so its rates would not last: {window['unsteady']}.")
        if counts["completed"] < counts["offered"]:
            sentences.append(
                f"On {names[name]} only {counts['completed']:,} of {counts['offered']:,} requests completed "
                f"({', '.join(others)}); latencies leave the others out."
            )
        if fabric.get("failure"):
            sentences.append(f"{names[name]}: {fabric['failure']}.")
    return sentences
