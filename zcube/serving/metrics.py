"""Metrics of a serving run, each defined where it is computed; docs/metrics.md has the rule.

Rates are over the window of the run. Latencies count completed requests that arrived in the window, slow-downs the transfers
posted in it. A run too short for that has no rates, and its window is the whole run.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from zcube.arrays import BoolArray, FloatArray, IntArray
from zcube.quantiles import spread
from zcube.serving.attribution import composition, ttft_parts
from zcube.serving.journey import ABSENT, COMPLETED, FAILED, REJECTED, UNFINISHED, Journeys
from zcube.serving.limiting_links import link_totals
from zcube.serving.littles_law import littles_law
from zcube.serving.occupancy import occupancy
from zcube.serving.output_tokens import tokens_within
from zcube.serving.run import ServingRun
from zcube.serving.service_levels import goodput, p99_with_failures
from zcube.serving.transfers import CACHE_READ, CACHE_WRITE, EXPERT, KV

#: Kinds of traffic by their name in results.
TRAFFIC = {"kv": KV, "expert": EXPERT, "cache_read": CACHE_READ, "cache_write": CACHE_WRITE}


def run_metrics(run: ServingRun) -> dict[str, Any]:
    """Return every metric of a run as JSON-ready data; a latency nobody had is null."""
    journeys = run.journeys
    counted = run.window.holds(journeys.arrival_s)
    done = (journeys.outcome == COMPLETED) & counted
    tokens = tokens_within(run)

    def latency(values_s: FloatArray) -> dict[str, Any]:
        failures = int(counted.sum() - done.sum())
        return {**spread(values_s[done]), "p99_all": p99_with_failures(values_s[done], failures)}

    return {
        "requests": _requests(journeys),
        "duration_s": _duration_s(run),
        "window": _window(run, counted, done),
        "throughput": _throughput(run, tokens),
        "littles_law": _littles_law(run),
        "first_token": run.settings.decode.first_token,
        "decode_engine": run.settings.decode.engine,
        "ttft_s": latency(journeys.ttft_s()),
        "ttft_parts_s": composition(run, done),
        "ttft_links": link_totals(run, ttft_parts(run), done),
        "tpot_s": latency(journeys.tpot_s()),
        "e2e_s": latency(journeys.e2e_s()),
        "slo": goodput(run, tokens),
        "tilert": _tilert(journeys, done) if run.settings.decode.engine == "tilert" else None,
        "kv_transfer_s": spread(journeys.kv_transfer_s()[done & np.isfinite(journeys.kv_end_s)]),
        "prefix_cache": _prefix_cache(journeys, done),
        "bytes": _bytes(run),
        "congestion": _congestion(run),
        "occupancy": occupancy(run),
    }


def _window(run: ServingRun, counted: BoolArray, done: BoolArray) -> dict[str, Any]:
    """Return the ends of the window and what arrived in it; the whole run, and why, where it is too short for rates."""
    window = run.window
    return {
        "start_s": window.start_s,
        "end_s": window.end_s,
        "length_s": window.length_s,
        "arrived": int(counted.sum()),
        "completed": int(done.sum()),
        "no_rate": window.no_rate,
        "unsteady": window.unsteady,
    }


def _requests(journeys: Journeys) -> dict[str, int]:
    """Offered = arrived before the end of the run = completed + rejected + failed + unfinished."""
    outcome = journeys.outcome
    return {
        "offered": int((outcome != ABSENT).sum()),
        "completed": int((outcome == COMPLETED).sum()),
        "rejected": int((outcome == REJECTED).sum()),
        "failed": int((outcome == FAILED).sum()),
        "unfinished": int((outcome == UNFINISHED).sum()),
    }


def _duration_s(run: ServingRun) -> float:
    """First arrival to end of the run."""
    arrived = run.journeys.arrival_s[run.journeys.outcome != ABSENT]
    return float(run.end_s - arrived.min()) if len(arrived) else 0.0


def _littles_law(run: ServingRun) -> dict[str, Any]:
    """Both sides, and whether the window was steady; null where there is none."""
    steady = None if run.window.no_rate else run.window.unsteady is None
    return {**littles_law(run.journeys, run.window, run.end_s), "steady": steady}


def _throughput(run: ServingRun, tokens: IntArray) -> dict[str, float | None]:
    """Return what happened in the window over its length: tokens given out, prompts computed, requests done."""
    journeys, window = run.journeys, run.window
    computed = window.holds(journeys.prefill_end_s)
    amounts = {
        "output_tokens_per_s": int(tokens.sum()),
        "input_tokens_per_s": int(journeys.trace.input_tokens[computed].sum()),
        "requests_per_s": int(window.holds(journeys.finish_s).sum()),
    }
    return {name: amount / window.length_s if window.no_rate is None else None for name, amount in amounts.items()}


def _tilert(journeys: Journeys, done: BoolArray) -> dict[str, Any]:
    """Return what a decode node tells of a request in its log, by its names: from the end of prefill to the last token."""
    times_s = {
        "wire_wait_s": journeys.kv_end_s - journeys.prefill_end_s,
        "convert_s": journeys.converted_s - journeys.kv_end_s,
        "inject_s": journeys.injected_s - journeys.converted_s,
        "decode_s": journeys.finish_s - journeys.injected_s,
    }
    return {name: spread(values_s[done]) for name, values_s in times_s.items()}


def _prefix_cache(journeys: Journeys, done: np.ndarray) -> dict[str, float]:
    """Parts of the counted requests' prompt tokens that caches saved computing, by tier, and shipping."""
    tokens = int(journeys.trace.input_tokens[done].sum())
    found = {
        "hit_fraction": journeys.cached_tokens,
        "node_hit_fraction": journeys.cached_tokens - journeys.pool_tokens - journeys.store_tokens,
        "pool_hit_fraction": journeys.pool_tokens,
        "store_hit_fraction": journeys.store_tokens,
        "decode_hit_fraction": journeys.decode_cached_tokens,
    }
    return {name: float(cached[done].sum() / tokens) if tokens else 0.0 for name, cached in found.items()}


def _bytes(run: ServingRun) -> dict[str, int]:
    """Bytes that left GPUs and that reached GPUs, over NIC and NVLink, what was posted of each kind, what hosts read."""
    carried = run.links.size_bytes
    return {
        "sent": round(carried[run.links.leaves_gpu].sum()),
        "received": round(carried[run.links.enters_gpu].sum()),
        **{name: round(run.flows.size_bytes[run.flow_kind == kind].sum()) for name, kind in TRAFFIC.items()},
        "pool_read": round(run.journeys.pool_bytes.sum()),
    }


def _congestion(run: ServingRun) -> dict[str, Any]:
    """Slow-downs of KV transfers, and the links that were fullest.

    Type 1 is a transfer's time on an ideal core over its time alone there: what contention for its own NICs costs and no
    fabric can avoid. Type 2 is its time on the fabric over its time on the ideal core: what the fabric adds. Times are those of
    sending, without message starts and path delays, so an uncongested transfer has 1 and 1; mean and P99 are over transfers
    posted in the window. Utilisations are over the window.
    """
    kv = np.flatnonzero(run.flow_kind == KV)
    kv = kv[np.isfinite(run.completions.finish_s[kv]) & run.window.holds(run.flows.start_s[kv])]
    fabric_s, ideal_s = run.completions.take(kv).sending_s(run.flows.start_s[kv]), run.ideal_sending_s[kv]
    type1, type2 = spread(ideal_s / _alone_s(run, kv)), spread(fabric_s / ideal_s)
    return {
        "type1_slowdown": type1["mean"],
        "type2_slowdown": type2["mean"],
        "type1_slowdown_p99": type1["p99"],
        "type2_slowdown_p99": type2["p99"],
        **run.links_in_window.hottest(run.window.length_s, nvlink=False),
    }


def _alone_s(run: ServingRun, kv: IntArray) -> FloatArray:
    """Time of KV transfers alone on the ideal core: bytes over the rate that they reach at most."""
    return run.flows.size_bytes[kv] * 8.0 / run.kv_alone_bps
