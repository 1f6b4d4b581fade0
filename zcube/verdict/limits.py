"""What limits a run: a stated rule over how full its resources were in the window, and the sentence that says so.

A resource limits where it is full, or where what waits for it keeps growing. The network limits too where it is not full but
costs a part of the time to first token that matters. Nothing limits where none of this holds: the load is below capacity.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from zcube.verdict.rows import Document, significant
from zcube.verdict.words import listed, percent, plain_percent


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From where on something limits; this project's choice.

    Attributes
    ----------
    full : float
        Share of the window, of the batch, of the memory, or of the line rate.
    growing : float
        Part of the arrivals by which a queue grows, where as many wait as there are nodes.
    waited : float
        Part of the requests that found no room on their decode node.
    in_transfer : float
        Part of the time on decode nodes that requests spend waiting for their last KV push: from there on it is the network
        that keeps decode nodes full.
    paused : float
        Part of the window that prefill instances pause for one reason, where they have no more to give.
    added : float
        Part of the mean time to first token that contention costs.
    """

    full: float = 0.90
    growing: float = 0.05
    waited: float = 0.50
    in_transfer: float = 0.50
    paused: float = 0.10
    added: float = 0.05


THRESHOLDS = Thresholds()

#: Part of the window from which on a pause of prefill is told.
LEAST_PAUSED = 0.001
#: Where contention delays first tokens, as sentences name it.
_WHERE = {"nic": "at the NICs", "fabric": "in the fabric"}
#: What limits, as sentences name it.
WORDS = {
    "prefill": "prefill",
    "pushes": "waiting for KV pushes at prefill",
    "prefill_memory": "KV memory of prefill",
    "cache_reads": "reading cached prompts",
    "decode": "decode",
    "kv_memory": "KV memory",
    "nic": "the NICs",
    "fabric": "the fabric",
}
#: What prefill instances pause for, and the part of the window that it takes.
PAUSES = {"pushes": "blocked", "prefill_memory": "short_of_memory", "cache_reads": "reading"}


def limits(fabric: Document, nodes: tuple[int, int], thresholds: Thresholds = THRESHOLDS) -> dict[str, Any]:
    """Return what limits a run, JSON-ready.

    Parameters
    ----------
    fabric : mapping
        Metrics of the run, or means over seeds.
    nodes : tuple of int
        Prefill and decode nodes.
    thresholds : Thresholds
        From where on something limits.

    Returns
    -------
    dict
        ``full``, those of :data:`WORDS` that have no more to give; ``slowing``, NICs or fabric where contention there delays
        first tokens; ``nic_part`` and ``fabric_part`` of the mean time to first token, None where it is not known. ``full`` and
        ``slowing`` are None where the run is too short for a window.
    """
    nic_part, fabric_part = _parts(fabric)
    parts = {"nic": nic_part, "fabric": fabric_part}
    document: dict[str, Any] = {"full": None, "slowing": None, "nic_part": nic_part, "fabric_part": fabric_part}
    if fabric["window"]["no_rate"] is not None:
        return document
    used = fabric["occupancy"]
    prefill, decode = used["prefill"], used["decode"]
    grows = [
        pool["growth"] >= thresholds.growing and pool["waiting"] >= count
        for pool, count in zip((prefill, decode), nodes, strict=True)
    ]
    held_back = grows[1] or decode["waited"] >= thresholds.waited
    scarcer = "kv_memory" if decode["kv_memory"] > decode["batch"] else "decode"
    by_decode = {
        name: decode[key] >= thresholds.full or (held_back and scarcer == name)
        for name, key in (("decode", "batch"), ("kv_memory", "kv_memory"))
    }
    by_network = any(by_decode.values()) and decode["in_transfer"] >= thresholds.in_transfer
    slower = "fabric" if (fabric_part or 0.0) > (nic_part or 0.0) else "nic"
    full = {
        **_limits_of_prefill(prefill, grows[0], thresholds),
        **{name: is_full and not by_network for name, is_full in by_decode.items()},
        "nic": used["busiest_nic"] >= thresholds.full or (by_network and slower == "nic"),
        "fabric": used["busiest_switch_link"] >= thresholds.full or (by_network and slower == "fabric"),
    }
    document["full"] = [name for name, is_full in full.items() if is_full]
    document["slowing"] = [name for name, part in parts.items() if part is not None and part >= thresholds.added]
    return document


def _limits_of_prefill(prefill: Document, grows: bool, thresholds: Thresholds) -> dict[str, bool]:
    """Return which of what takes the time of prefill instances limits, where computing and pausing leave them none.

    Computing does if it takes half of that time or more, or no pause takes a part that matters.
    """
    paused = {limit: prefill[key] for limit, key in PAUSES.items()}
    is_full = prefill["busy"] + sum(paused.values()) >= thresholds.full or grows
    by_pause = {limit: is_full and part >= thresholds.paused for limit, part in paused.items()}
    computing = prefill["busy"] >= sum(paused.values()) or not any(by_pause.values())
    return {"prefill": is_full and computing, **by_pause}


def _parts(fabric: Document) -> tuple[float | None, float | None]:
    """Return the parts of the mean time to first token that contention at NICs and in the fabric cost.

    A request's last KV push takes ``K`` on average. Slowed down by ``a`` at NICs and by ``b`` in the fabric it would take
    ``K / b`` without the fabric's part and ``K / (a b)`` without any.
    """
    congestion, ttft_s, transfer_s = fabric["congestion"], fabric["ttft_s"]["mean"], fabric["kv_transfer_s"]["mean"]
    at_nics, in_fabric = congestion["type1_slowdown"], congestion["type2_slowdown"]
    if not ttft_s or transfer_s is None or not at_nics or not in_fabric:
        return None, None
    without_fabric_s = transfer_s / in_fabric
    without_any_s = without_fabric_s / at_nics
    return max(without_fabric_s - without_any_s, 0.0) / ttft_s, max(transfer_s - without_fabric_s, 0.0) / ttft_s


def limit_sentence(name: str, fabric: Document, found: Document) -> str:
    """Return what limits a fabric's run, and the figures by which that was judged."""
    if found["full"] is None:
        return f"What limits {name} is not told: its run has no window. Over the whole run: {_figures(fabric, 'time')}."
    full = [WORDS[limit] for limit in found["full"]]
    slowing = [_WHERE[limit] for limit in found["slowing"] if limit not in found["full"]]
    if full:
        told = f"{listed(full)} {'limit' if len(full) > 1 or full[0] == WORDS['nic'] else 'limits'} {name}"
    elif fabric["requests"].get("failed"):
        told = f"Missing paths limit {name}: requests fail; nothing limits what is carried"
    else:
        told = f"Nothing limits {name}, the load is below capacity"
    if slowing:
        told += f"; contention {listed(slowing)} delays first tokens"
    return f"{told[0].upper()}{told[1:]}: {_figures(fabric, 'window')}."


def _figures(fabric: Document, over: str) -> str:
    used, congestion = fabric["occupancy"], fabric["congestion"]
    prefill, decode = used["prefill"], used["decode"]
    parts = [
        f"prefill busy {percent(prefill['busy'])} of the {over}{_paused(prefill)}, {_queue(prefill, '')}",
        f"decode batches {percent(decode['batch'])} and KV memory {percent(decode['kv_memory'])} full, "
        f"{_queue(decode, ' for room')}",
        f"busiest NIC {percent(used['busiest_nic'])} and busiest link between switches "
        f"{percent(used['busiest_switch_link'])} of line rate",
    ]
    if congestion["type1_slowdown"] and congestion["type2_slowdown"]:
        parts.append(
            f"KV transfers slowed {significant(congestion['type1_slowdown'], 3)} times at NICs and "
            f"{significant(congestion['type2_slowdown'], 3)} times by the fabric"
        )
    return "; ".join(parts)


def _paused(prefill: Document) -> str:
    words = {"pushes": "its pushes", "prefill_memory": "KV memory", "cache_reads": "cached prompts"}
    parts = {words[limit]: prefill[key] for limit, key in PAUSES.items()}
    return "".join(f", waiting for {what} {percent(part)}" for what, part in parts.items() if part >= LEAST_PAUSED)


def _queue(pool: Document, what_for: str) -> str:
    growth = f", growing by {percent(pool['growth'])} of the arrivals" if pool["growth"] >= 0.001 else ""
    return f"{significant(pool['waiting'], 3)} prompts waiting{what_for}{growth}"


def rule_sentence(thresholds: Thresholds = THRESHOLDS) -> str:
    """Return the rule in a sentence."""
    full, growing, waited, in_transfer, paused, added = map(plain_percent, asdict(thresholds).values())
    return (
        f"Limits: what is {full} full over the window; what a queue waits for that holds a request a node or more and grows by "
        f"{growing} of the arrivals; room on decode nodes where {waited} of the requests wait for it, or in its place the "
        f"network where {in_transfer} of the time there is spent on KV transfers; what prefill, if full, "
        f"pauses for {paused} of the window. Contention delays first tokens where it costs {added} of their mean time."
    )


def thresholds_document(thresholds: Thresholds = THRESHOLDS) -> dict[str, float]:
    """Return the thresholds, JSON-ready."""
    return asdict(thresholds)
