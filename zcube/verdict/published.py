"""What was published for this kind of cluster, in one table, and why a run does or does not show it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from zcube.verdict.headline import BILL, OUTPUT, TTFT_P99
from zcube.verdict.limits import THRESHOLDS, WORDS
from zcube.verdict.request_sets import over_others
from zcube.verdict.rows import UNSURE, Document, Row, significant
from zcube.verdict.words import percent, plain_percent

#: Where the figures come from, and what of the cluster is not known.
SOURCE = "Z.ai, 2026-05-21: a thousand-GPU GLM-5.1 coding cluster, prefill-decode disaggregated, ROFT rewired to ZCube"
UNDISCLOSED = "its P:D ratio, context lengths, NIC speed and PFC and ECN settings are not published"
#: Families of the two fabrics the figures are of.
FROM, TO = "spine-leaf", "zcube"
#: Part of a published change from which on a run shows it.
SHOWN_PART = 0.5
#: Part of the time to first token below which a figure says nothing.
LEAST_TOLD = 1e-4


@dataclass(frozen=True, slots=True)
class Published:
    """A published change.

    Attributes
    ----------
    name : str
        Key in the document.
    words : str
        What changed.
    row : Row
        The row that measures it here.
    change : float
        Fraction: -0.33 is a third less.
    """

    name: str
    words: str
    row: Row
    change: float

    @property
    def is_cost(self) -> bool:
        """Whether it is exact, so that no congestion explains it."""
        return self.row.exact


#: Throughput is that at the mean of a sweep of concurrency. Cost is not itemised; 2 switch ports a GPU for 3 are a third less.
PUBLISHED = (
    Published("throughput", "mean throughput", OUTPUT, +0.15),
    Published("ttft_p99", "P99 time to first token", TTFT_P99, -0.406),
    Published("cost", "capital cost of switches and optics", BILL, -0.33),
)


def is_published_pair(family: str, baseline_family: str) -> bool:
    """Return whether the published figures are of a fabric of one family against a baseline of another."""
    return (baseline_family, family) == (FROM, TO)


def published_changes() -> dict[str, float]:
    """Return the published changes as fractions, by name."""
    return {figure.name: figure.change for figure in PUBLISHED}


def published(document: Document, limits: Document) -> dict[str, Any]:
    """Return the published figures beside the run's, by fabric that they are of, JSON-ready.

    Parameters
    ----------
    document : mapping
        The comparison's.
    limits : mapping
        :func:`zcube.verdict.limits.limits` by fabric.

    Returns
    -------
    dict
        By fabric: ``figures``, each with ``published``, ``here`` (fraction, None where it has no value), ``shown`` (None where
        noise or a missing value leaves that open); ``why``, sentences. Empty unless the baseline is of family :data:`FROM`;
        another engine on the decode nodes is another comparison.
    """
    base_name = document["baseline"]
    base = document["fabrics"][base_name]
    pairs = {
        name: fabric
        for name, fabric in document["fabrics"].items()
        if is_published_pair(fabric["family"], base["family"]) and fabric["decode_engine"] == base["decode_engine"]
    }
    found: dict[str, Any] = {}
    for name, fabric in pairs.items():
        figures = {figure.name: _beside(figure, fabric, base) for figure in PUBLISHED}
        missing = [figure for figure in PUBLISHED if not figure.is_cost and not figures[figure.name]["shown"]]
        found[name] = {"source": SOURCE, "figures": figures, "why": _why(document, limits, base_name, missing)}
    return found


def _beside(figure: Published, fabric: Document, base: Document) -> dict[str, Any]:
    value, reference = figure.row.value(fabric), figure.row.value(base)
    known = value is not None and reference not in (None, 0.0)
    here = value / reference - 1.0 if known and value is not None and reference else None
    told, better = figure.row.against(fabric, base)
    if told == UNSURE:
        told = figure.row.change(value, reference)
    if here is None:
        shown = None
    elif better is None:
        # Within rounding or within the noise it is not there; under too few seeds that is open.
        noise = figure.row.noise(fabric)
        shown = False if abs(here) < 5e-4 or (noise is not None and noise["differs"] is False) else None
    else:
        shown = here / figure.change >= SHOWN_PART
    if here is not None and over_others(figure.row, fabric):
        told += " over other requests"
    return {"published": figure.change, "here": here, "told": told, "shown": shown}


def _why(document: Document, limits: Document, base_name: str, missing: list[Published]) -> list[str]:
    """Return what of the run explains figures that it does not show, or does not tell from noise."""
    if not missing:
        return []
    base, found = document["fabrics"][base_name], limits[base_name]
    if document["fidelity"] == "ideal":
        return ["The network is ideal, so that no fabric was simulated."]
    slowed, used = base["congestion"]["type2_slowdown"], base["occupancy"]["busiest_switch_link"]
    reasons = []
    if slowed is not None and found["fabric_part"] is not None:
        fullest = f"its busiest link between switches is {percent(used)} full"
        slows = "does not slow KV transfers" if slowed < 1 else f"slows KV transfers {significant(slowed, 3)} times"
        slow = f"On {base_name} the fabric {slows} and {fullest}"
        if found["fabric_part"] < THRESHOLDS.added:
            shorter = (
                percent(found["fabric_part"])
                if found["fabric_part"] >= LEAST_TOLD
                else f"less than {plain_percent(LEAST_TOLD)}"
            )
            reasons.append(
                f"{slow}: there is no congestion in the fabric that another wiring could take away; without any, the mean time "
                f"to first token would be {shorter} shorter."
            )
        else:
            reasons.append(f"{slow}, which is {percent(found['fabric_part'])} of the mean time to first token.")
    if found["full"] == []:
        reasons.append("The load is below capacity, so that both fabrics carry what is offered.")
    elif found["full"]:
        unchanged = [WORDS[limit] for limit in found["full"] if limit != "fabric"]
        if unchanged:
            reasons.append(f"What is full ({', '.join(unchanged)}) does not change with the wiring.")
    if document["fidelity"] == "flow":
        reasons.append(
            "The fluid has neither PFC pauses, by which a hot port stops others, nor DCQCN's slow recovery; packets have both."
        )
    pairs = base["network"]["queue_pairs"]
    routed = f"{base_name} is routed by {base['routing']}"
    reasons.append(f"{routed} with {pairs} queue pair{'s' if pairs != 1 else ''} a transfer." if pairs else f"{routed}.")
    reasons.append(f"Of Z.ai's cluster {UNDISCLOSED}.")
    return reasons


def published_sentences(found: Document) -> list[str]:
    """Return the published figures, what fabrics that they are of show of them, and why."""
    if not found:
        return []
    figures = ", ".join(f"{figure.words} {100 * figure.change:+.3g} %" for figure in PUBLISHED)
    here = [
        f"{name} here: {', '.join(_told(figure, pair['figures'][figure.name]) for figure in PUBLISHED)}."
        for name, pair in found.items()
    ]
    why = {" ".join(pair["why"]): None for pair in found.values() if pair["why"]}
    return [f"Published: {figures} ({SOURCE}).", *here, *(f"Why this run does not show all of it: {text}" for text in why)]


def _told(figure: Published, beside: Document) -> str:
    shown = {True: "shown", False: "not shown", None: "not to be told from noise"}[beside["shown"]]
    return f"{figure.words} unknown" if beside["here"] is None else f"{figure.words} {beside['told']} ({shown})"
