"""What limits a run: a stated rule over how full its resources were in the window, and the sentence that says so.

A resource limits where it is full, or where what waits for it keeps growing. The network limits too where it is not full but
costs a part of the time to first token that matters. Nothing limits where none of this holds: the load is below capacity.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from zcube.verdict.rows import Document, significant


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
    added : float
        Part of the mean time to first token that contention costs.
    """

    full: float = 0.90
    growing: float = 0.05
    waited: float = 0.50
    in_transfer: float = 0.50
    added: float = 0.05


THRESHOLDS = Thresholds()

#: What limits, as sentences name it.
WORDS = {"prefill": "prefill", "decode": "decode", "kv_memory": "KV memory", "nic": "the NICs", "fabric": "the fabric"}


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
        "prefill": prefill["busy"] >= thresholds.full or grows[0],
        **{name: is_full and not by_network for name, is_full in by_decode.items()},
        "nic": used["busiest_nic"] >= thresholds.full or (by_network and slower == "nic"),
        "fabric": used["busiest_switch_link"] >= thresholds.full or (by_network and slower == "fabric"),
    }
    document["full"] = [name for name, is_full in full.items() if is_full]
    document["slowing"] = [name for name, part in parts.items() if part is not None and part >= thresholds.added]
    return document


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
        return f"What limits {name} is not told: {fabric['window']['no_rate']}. Over the whole run: {_figures(fabric)}."
    full = [WORDS[limit] for limit in found["full"]]
    slowing = [WORDS[limit] for limit in found["slowing"] if limit not in found["full"]]
    if full:
        told = f"{listed(full)} {'limit' if len(full) > 1 or full[0] == WORDS['nic'] else 'limits'} {name}"
    else:
        told = f"Nothing limits {name}, the load is below capacity"
    if slowing:
        told += f"; contention at {listed(slowing)} delays first tokens"
    return f"{told[0].upper()}{told[1:]}: {_figures(fabric)}."


def _figures(fabric: Document) -> str:
    used, congestion = fabric["occupancy"], fabric["congestion"]
    prefill, decode = used["prefill"], used["decode"]
    parts = [
        f"prefill busy {percent(prefill['busy'])} of the window, {_queue(prefill, '')}",
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


def _queue(pool: Document, what_for: str) -> str:
    growth = f", growing by {percent(pool['growth'])} of the arrivals" if pool["growth"] >= 0.001 else ""
    return f"{significant(pool['waiting'], 3)} prompts waiting{what_for}{growth}"


def rule_sentence(thresholds: Thresholds = THRESHOLDS) -> str:
    """Return the rule in a sentence."""
    full, growing, waited, in_transfer, added = map(plain_percent, asdict(thresholds).values())
    return (
        f"Limits: what is {full} full over the window; what a queue of a request a node or more waits for that grows by "
        f"{growing} of the arrivals; room on decode nodes that {waited} of the requests wait for, or the network where "
        f"{in_transfer} of the time there is spent on KV transfers. Contention delays first tokens where it costs {added} of "
        "their mean time."
    )


def thresholds_document(thresholds: Thresholds = THRESHOLDS) -> dict[str, float]:
    """Return the thresholds, JSON-ready."""
    return asdict(thresholds)


def percent(share: float) -> str:
    """Return a share as a percentage of at most three digits."""
    return f"{significant(100 * share, 3 if share >= 0.01 else 2)} %"


def plain_percent(share: float) -> str:
    """Return a share that was asked for as a percentage, without digits that say nothing."""
    return f"{100 * share:.6g} %"


def listed(words: list[str]) -> str:
    """Return words as a list in a sentence."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
