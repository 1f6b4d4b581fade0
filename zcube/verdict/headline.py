"""What a comparison says of its fabrics in a few sentences: what each loses or leaves equal first, then what it gains."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from zcube.verdict.request_sets import beside, not_served, over_others
from zcube.verdict.rows import ABSENT, NO_DIFFERENCE, UNSURE, Document, Row, counted
from zcube.verdict.table import ROWS, row
from zcube.verdict.words import listed


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

#: Tails that are named only where they are worse: a loss is told whatever it is a loss of.
_TAILS = tuple(one for one in ROWS if one.label.endswith(" P99") and one != TTFT_P99)


def _against(name: str, base_name: str, fabric: Document, base: Document) -> str:
    told: dict[str, list[str]] = {
        "fails": _failing(fabric, base),
        "loses": [],
        "not told": [],
        "equal": [],
        "unknown": [],
        "gains": [],
    }
    for metric, label in _JUDGED:
        kind, text = _judged(metric, fabric, base)
        told[kind].append(f"{label} {text}".rstrip() + " over other requests" * over_others(metric, fabric))
    for metric in _TAILS:
        kind, text = _judged(metric, fabric, base)
        if kind == "loses":
            label = metric.label.removesuffix(" P99")
            label = label[0].lower() + label[1:] if label[1].islower() else label
            told[kind].append(f"P99 {label} {text}" + " over other requests" * over_others(metric, fabric))
    why = "too few seeds" if fabric.get("noise") else "one seed"
    heads = {"not told": f"not to be told from noise ({why})", "equal": "no difference"}
    parts = [f"{heads.get(kind, kind)}: {', '.join(texts)}" for kind, texts in told.items() if texts]
    return f"{name} against {base_name}: {'; '.join((*parts, beside(name, base_name, fabric, base)))}."


def _failing(fabric: Document, base: Document) -> list[str]:
    """Return how many requests fail where that are more than on the baseline: of missing paths, which no seed moves."""
    failed, offered = fabric["requests"].get("failed", 0), fabric["requests"]["offered"]
    return [f"{counted(failed)} of {counted(offered)} requests"] if failed > base["requests"].get("failed", 0) else []


def _judged(metric: Row, fabric: Document, base: Document) -> tuple[str, str]:
    """Return under which head a metric of a fabric stands, and its figures."""
    value, reference = metric.value(fabric), metric.value(base)
    change, unit = metric.change(value, reference), f" {metric.unit}" if metric.unit else ""
    if change == ABSENT:
        return "unknown", "" if value is reference is None else f"{_value(metric, fabric)} (baseline {_value(metric, base)})"
    both = f"({metric.text(value)} and {metric.text(reference)}{unit})"
    told, better = metric.against(fabric, base)
    if told == NO_DIFFERENCE:
        return "equal", both
    if metric.exact and value == reference:
        return "equal", f"{metric.text(value)}{unit} both"
    if not any(digit in change for digit in "123456789"):
        return "equal", f"within 0.05 % ({metric.text(value)}{unit})"
    direction = "less" if change.startswith("-") else "more"
    moved = f"{change.lstrip('+-')} {direction} {both}"
    if told == UNSURE or better is None:
        return "not told", moved
    return "gains" if better else "loses", moved


def _alone(name: str, fabric: Document) -> str:
    shown = [f"{label} {_value(metric, fabric)}" for metric, label in _JUDGED]
    return f"{name}: {'; '.join((*shown, f'requests: {not_served(fabric)}'))}."


def _value(metric: Row, fabric: Document) -> str:
    value = metric.value(fabric)
    return "unknown" if value is None else f"{metric.text(value)} {metric.unit}".rstrip()


def cautions(document: Document) -> list[str]:
    """Return what a reader must know to trust the figures: runs without a steady state, missing requests, unmeasured times.

    Fabrics of which the same is to be said share a sentence; how many requests are missing stands in the headline.
    """
    names: dict[tuple[str, str], list[str]] = {}
    for name, fabric in document["fabrics"].items():
        for said in _cautions(fabric):
            names.setdefault(said, []).append(name)
    of_fabrics = [_SAID[kind](listed(those), len(those) > 1, why) for (kind, why), those in names.items()]
    what = unmeasured(document["compute"]["stated_error"])
    return of_fabrics if what is None else [*of_fabrics, unmeasured_sentence(what)]


def unmeasured(errors: Document) -> str | None:
    """Return which compute times nobody has measured, by a document's stated errors; None where all were."""
    found = [operation.replace("_", " ") for operation, error in errors.items() if not error["points"]]
    if not found:
        return None
    return f"compute times of {listed(found)}" if len(found) < len(errors) else "compute times"


def unmeasured_sentence(what: str) -> str:
    """Return what is to be known of times that nobody has measured, as :func:`unmeasured` names them."""
    return f"{what[0].upper()}{what[1:]} are unmeasured: other devices' figures, scaled by data sheets."


def _cautions(fabric: Document) -> Iterator[tuple[str, str]]:
    """Give what is to be said of a fabric, and why."""
    counts, window = fabric["requests"], fabric["window"]
    if window["no_rate"] is not None:
        yield "brief", window["no_rate"]
    elif window["unsteady"] is not None:
        yield "unsteady", window["unsteady"]
    if counts["completed"] < counts["offered"]:
        yield "left out", ""
    if fabric.get("failure"):
        yield "failure", fabric["failure"]


#: Sentences of fabrics, whether they are several, and why.
_SAID: dict[str, Callable[[str, bool, str], str]] = {
    "brief": lambda names, several, why: f"{names} {'were' if several else 'was'} run too briefly for rates: {why}.",
    "unsteady": lambda names, several, why: (
        f"{names} {'were' if several else 'was'} not in a steady state, so {'their' if several else 'its'} rates would not "
        f"last: {why}."
    ),
    "left out": lambda names, several, why: (
        f"Latencies on {names} leave out requests that were not served; in P99 of all these count as infinite."
    ),
    "failure": lambda names, several, why: f"{names}: {why}.",
}
