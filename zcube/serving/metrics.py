"""Metrics of a serving run, each defined where it is computed. Latencies count completed requests only."""

from __future__ import annotations

from typing import Any

import numpy as np

from zcube.arrays import FloatArray
from zcube.quantiles import spread
from zcube.serving.journey import ABSENT, COMPLETED, FAILED, REJECTED, UNFINISHED, Journeys
from zcube.serving.run import ServingRun
from zcube.serving.transfers import KV


def run_metrics(run: ServingRun) -> dict[str, Any]:
    """Return every metric of a run as JSON-ready data; a latency nobody had is null."""
    journeys = run.journeys
    done = journeys.outcome == COMPLETED
    return {
        "requests": _requests(journeys),
        "duration_s": _duration_s(run),
        "throughput": _throughput(run, done),
        "ttft_s": spread(journeys.ttft_s()[done]),
        "tpot_s": spread(journeys.tpot_s()[done]),
        "e2e_s": spread(journeys.e2e_s()[done]),
        "kv_transfer_s": spread(journeys.kv_transfer_s()[done]),
        "prefix_cache": _prefix_cache(journeys, done),
        "bytes": _bytes(run),
        "congestion": _congestion(run),
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


def _throughput(run: ServingRun, done: np.ndarray) -> dict[str, float]:
    """Tokens and requests of completed requests over the run's duration."""
    duration_s = _duration_s(run)
    trace = run.journeys.trace
    per_s = 1.0 / duration_s if duration_s > 0 else 0.0
    return {
        "output_tokens_per_s": float(trace.output_tokens[done].sum() * per_s),
        "input_tokens_per_s": float(trace.input_tokens[done].sum() * per_s),
        "requests_per_s": float(done.sum() * per_s),
    }


def _prefix_cache(journeys: Journeys, done: np.ndarray) -> dict[str, float]:
    """Part of the completed requests' prompt tokens that came from the prefill nodes' prefix caches."""
    tokens = int(journeys.trace.input_tokens[done].sum())
    return {"hit_fraction": float(journeys.cached_tokens[done].sum() / tokens) if tokens else 0.0}


def _bytes(run: ServingRun) -> dict[str, int]:
    """Bytes that left GPUs and that reached GPUs, over NIC and NVLink, and what was posted of each kind; whole bytes."""
    carried = run.links.size_bytes
    return {
        "sent": round(carried[run.links.leaves_gpu].sum()),
        "received": round(carried[run.links.enters_gpu].sum()),
        "kv": round(run.flows.size_bytes[run.flow_kind == KV].sum()),
        "expert": round(run.flows.size_bytes[run.flow_kind != KV].sum()),
    }


def _congestion(run: ServingRun) -> dict[str, Any]:
    """Slow-downs of KV transfers, and the links that were fullest.

    Type 1 is a transfer's time on an ideal core over its time alone there: what contention for its own NICs costs and no
    fabric can avoid. Type 2 is its time on the fabric over its time on the ideal core: what the fabric adds. Times are those of
    sending, without message starts and path delays, so an uncongested transfer has 1 and 1; mean and P99 are over transfers.
    """
    kv = (run.flow_kind == KV) & np.isfinite(run.completions.finish_s)
    fabric_s, ideal_s = (done.sending_s(run.flows.start_s)[kv] for done in (run.completions, run.ideal_completions))
    type1, type2 = spread(ideal_s / _alone_s(run)[kv]), spread(fabric_s / ideal_s)
    return {
        "type1_slowdown": type1["mean"],
        "type2_slowdown": type2["mean"],
        "type1_slowdown_p99": type1["p99"],
        "type2_slowdown_p99": type2["p99"],
        **run.links.hottest(_duration_s(run), nvlink=False),
    }


def _alone_s(run: ServingRun) -> FloatArray:
    """Time of every transfer alone on the ideal core: bytes over the GPU's line rate."""
    return run.flows.size_bytes * 8.0 / run.line_rate_bps
