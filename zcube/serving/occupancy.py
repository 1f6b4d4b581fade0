"""How full a run's resources were in its window: prefill nodes, decode batches, KV memory, NICs, links between switches.

Everything follows from the times of the requests, the pauses of prefill instances and what links carried. An instance works
from the start of a prompt to its end, its pauses left out; a decode node holds a request, with all of its tokens' KV, from the
grant of room to its end.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from zcube.arrays import BoolArray, FloatArray
from zcube.network.protocol import LinkTable
from zcube.serving.journey import REJECTED
from zcube.serving.pauses import paused_within_s, startable_s
from zcube.serving.prefill import MEMORY, PUSH, READ
from zcube.serving.run import ServingRun
from zcube.serving.window import Window

#: Pauses of prefill instances, by their name in results.
PAUSES = {"blocked": PUSH, "short_of_memory": MEMORY, "reading": READ}


def occupancy(run: ServingRun) -> dict[str, Any]:
    """Return shares between 0 and 1 over the window, and queues, JSON-ready; docs/metrics.md has the formulas."""
    journeys, window, settings = run.journeys, run.window, run.settings
    begun = journeys.prefill_start_s
    granted, left = journeys.granted_s, _or_end(journeys.left_s, run.end_s)
    there = (journeys.outcome != REJECTED) & np.isfinite(journeys.arrival_s)
    came, startable = journeys.arrival_s[there], startable_s(run)
    queued = there & np.isfinite(startable)
    # Decode nodes that compute prompts themselves are asked for room at once.
    at_once = there & (settings.decode.asked_first | ((journeys.decode_node >= 0) & (journeys.prefill_node < 0)))
    asked_s = np.where(at_once, journeys.arrival_s, begun)
    started, asked = np.isfinite(begun), np.isfinite(asked_s)
    room = settings.decode.nodes * window.length_s
    held_s = _overlap_s(granted, left, window.start_s, window.end_s)
    posted, arrived = journeys.kv_post_s, np.fmin(_or_end(journeys.kv_end_s, run.end_s), left)
    under_way_s = _overlap_s(posted, arrived, window.start_s, window.end_s)
    here = asked & window.holds(asked_s)
    return {
        "prefill": {
            **_prefill(run),
            **_queue(startable[queued], np.where(started, begun, left)[queued], window, came),
        },
        "decode": {
            "batch": float(held_s.sum()) / (room * settings.decode.places) if room else 0.0,
            "kv_memory": float(held_s @ journeys.room_tokens) / (room * settings.decode.kv_tokens) if room else 0.0,
            "in_transfer": float(under_way_s.sum() / held_s.sum()) if held_s.any() else 0.0,
            "waited": float((_or_end(granted, run.end_s) > asked_s)[here].mean()) if here.any() else 0.0,
            **_queue(asked_s[asked], _or_end(granted, run.end_s)[asked], window, came),
        },
        **link_occupancy(run.links_in_window, window.length_s),
    }


def link_occupancy(links: LinkTable, duration_s: float) -> dict[str, float]:
    """Return the busiest NIC, the busiest port of a NIC and the busiest link between switches, carried over possible bits.

    A NIC is all ports of a GPU together, one direction: where transfers may use either port, one full port leaves room.
    """
    used, kind = links.utilisation(duration_s), np.array(links.kind)
    nic = (kind == "nic") & (links.capacity_bps > 0)
    together = [
        _of_gpus(links, np.array(names)[nic & end], nic & end, duration_s)
        for names, end in ((links.source, links.leaves_gpu), (links.target, links.enters_gpu))
    ]
    return {
        "busiest_nic": max(together),
        "busiest_nic_port": float(used[kind == "nic"].max(initial=0.0)),
        "busiest_switch_link": float(used[kind == "switch"].max(initial=0.0)),
    }


def _of_gpus(links: LinkTable, names: Any, among: BoolArray, duration_s: float) -> float:
    """Return the largest share over GPUs of what their links among some could have carried."""
    gpus, place = np.unique(names, return_inverse=True)
    carried = np.bincount(place, links.size_bytes[among], len(gpus)) * 8.0
    possible = np.bincount(place, links.capacity_bps[among], len(gpus)) * duration_s
    return float(np.divide(carried, possible, out=np.zeros(len(gpus)), where=possible > 0).max(initial=0.0))


def _or_end(times_s: FloatArray, end_s: float) -> FloatArray:
    """Return times, the end of the run in place of those it cut short."""
    return np.where(np.isfinite(times_s), times_s, end_s)


def _overlap_s(from_s: FloatArray, to_s: FloatArray, start_s: float, end_s: float) -> FloatArray:
    """Return how much of each span of time lies in another; 0 for one that never began."""
    return np.nan_to_num(np.maximum(np.minimum(to_s, end_s) - np.maximum(from_s, start_s), 0.0))


def _prefill(run: ServingRun) -> dict[str, float]:
    """Return parts of the window, means over instances: computing, and pausing with prompts there, by reason."""
    life, window, span = run.journeys, run.window, run.settings.prefill.nodes_per_instance
    ends_s = np.fmin(_or_end(life.prefill_end_s, run.end_s), _or_end(life.left_s, run.end_s))
    computed_s = _or_end(life.prefill_end_s, run.end_s)
    instance, startable = np.where(life.prefill_node >= 0, life.prefill_node // span, -1), startable_s(run)
    totals = dict.fromkeys(("busy", *PAUSES), 0.0)
    for number, pauses in enumerate(run.pauses):
        here = instance == number
        begun = here & np.isfinite(life.prefill_start_s)
        start_s, end_s = _union(life.prefill_start_s[begun], computed_s[begun], window)
        paused = sum(paused_within_s(pauses, start_s, end_s, reason).sum() for reason in PAUSES.values())
        totals["busy"] += float((end_s - start_s).sum() - paused)
        there = here & np.isfinite(startable)
        start_s, end_s = _union(startable[there], np.where(begun, computed_s, ends_s)[there], window)
        for name, reason in PAUSES.items():
            totals[name] += float(paused_within_s(pauses, start_s, end_s, reason).sum())
    whole_s = len(run.pauses) * window.length_s
    return {name: seconds / whole_s if whole_s else 0.0 for name, seconds in totals.items()}


def _union(from_s: FloatArray, to_s: FloatArray, window: Window) -> tuple[FloatArray, FloatArray]:
    """Return the union of spans of time within the window, as spans that do not overlap."""
    order = np.argsort(from_s, kind="stable")
    from_s, to_s = from_s[order], to_s[order]
    # What a span adds to the union of those that began before it.
    before_s = np.concatenate([[-np.inf], np.maximum.accumulate(to_s)[:-1]])[: len(to_s)]
    start_s, end_s = np.maximum(np.maximum(from_s, before_s), window.start_s), np.minimum(to_s, window.end_s)
    some = end_s > start_s
    return start_s[some], end_s[some]


def _queue(from_s: FloatArray, to_s: FloatArray, window: Window, arrival_s: FloatArray) -> dict[str, float]:
    """Return the mean number that wait in the window, and by what part of the arrivals it grows.

    Growth is the mean over the second half less that over the first, by half the window, over the arrivals per second.
    """
    half_s = window.length_s / 2
    middle_s = window.start_s + half_s
    if not half_s:
        return {"waiting": 0.0, "growth": 0.0}
    first, second = (
        float(_overlap_s(from_s, to_s, start_s, start_s + half_s).sum()) / half_s for start_s in (window.start_s, middle_s)
    )
    arrivals_per_s = float(window.holds(arrival_s).sum()) / window.length_s
    return {
        "waiting": (first + second) / 2,
        "growth": (second - first) / half_s / arrivals_per_s if arrivals_per_s else 0.0,
    }
