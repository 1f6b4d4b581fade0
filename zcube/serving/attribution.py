"""What a request's time to first token went to, part by part; the parts add up to it. docs/metrics.md has the formulas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from zcube.arrays import BoolArray, FloatArray, IntArray
from zcube.quantiles import spread
from zcube.serving.counted import Counted
from zcube.serving.limiting_links import limiting_link
from zcube.serving.pauses import paused_s, startable_s
from zcube.serving.prefill import MEMORY, PUSH, READ
from zcube.serving.run import ServingRun
from zcube.serving.transfers import KV

if TYPE_CHECKING:
    import pandas as pd

#: In the order in which they pass, but for ``decode_room``, which comes before prefill where decode is asked first.
PARTS = (
    "queue", "decode_room", "cache_read", "kv_memory", "blocked", "prefill", "setup", "transfer", "type1", "type2",
    "convert", "inject", "admission",
)  # fmt: skip


def ttft_parts(run: ServingRun) -> dict[str, FloatArray]:
    """Return the parts of every request's time to first token, seconds; nan for one that had none [requests].

    Returns
    -------
    dict
        By :data:`PARTS`. All are 0 or more but ``type2``: a fabric that holds a transfer's rivals up speeds it up.
    """
    life = run.journeys
    remote, taken_in = life.prefill_node >= 0, np.isfinite(life.injected_s)
    begun, computed = life.prefill_start_s, life.prefill_end_s
    before = ~remote | run.settings.decode.asked_first
    served_s = startable_s(run)
    waited_s, short_s = (paused_s(run, served_s, begun, reason) for reason in (PUSH, MEMORY))
    blocked_s = paused_s(run, begun, computed, PUSH)
    behind_reads_s, in_reads_s = paused_s(run, served_s, begun, READ), paused_s(run, begun, computed, READ)
    sent_s, alone_s, ideal_s = _milestones(run)
    parts = {
        "queue": begun - served_s - waited_s - short_s - behind_reads_s,
        "decode_room": np.where(before, served_s - life.arrival_s, life.kv_post_s - computed),
        "cache_read": behind_reads_s + in_reads_s,
        "kv_memory": short_s,
        "blocked": waited_s + blocked_s,
        "prefill": computed - begun - blocked_s - in_reads_s,
        "setup": np.where(remote, sent_s - np.where(before, computed, life.kv_post_s), 0.0),
        "transfer": np.where(remote, alone_s - sent_s, 0.0),
        "type1": np.where(remote, ideal_s - alone_s, 0.0),
        "type2": np.where(remote, life.kv_end_s - ideal_s, 0.0),
        "convert": np.where(taken_in, life.converted_s - life.kv_end_s, 0.0),
        "inject": np.where(taken_in, life.injected_s - life.converted_s, 0.0),
        "admission": life.first_token_s - np.where(taken_in, life.injected_s, np.where(remote, life.kv_end_s, computed)),
    }
    answered = np.isfinite(life.first_token_s)
    return {part: np.where(answered, parts[part], np.nan) for part in PARTS}


def composition(run: ServingRun, done: BoolArray) -> dict[str, Any]:
    """Return the parts' means over some requests, and over the slowest hundredth of them; null where there are none."""
    ttft_s, parts = run.journeys.ttft_s(), ttft_parts(run)
    slowest = done & (ttft_s >= spread(ttft_s[done])["p99"]) if done.any() else done
    return {
        name: {part: float(values[some].mean()) if some.any() else None for part, values in parts.items()}
        for name, some in (("mean", done), ("slowest", slowest))
    }


def request_table(run: ServingRun) -> pd.DataFrame:
    """Return what became of every request, a row each.

    With whether latencies count it, the parts of its time to first token and its limiting link.
    """
    table = run.journeys.frame()
    table["counted"] = Counted.of(run).answered
    for part, values in ttft_parts(run).items():
        table[f"ttft_{part}_s"] = values
    table["ttft_link"] = limiting_link(run)
    return table


def _milestones(run: ServingRun) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return when a request's last push left, and when its pushes had arrived if each were alone, and on an ideal core.

    All by the delays of the fabric's paths [requests].
    """
    kv = run.flow_kind == KV
    request, start_s = run.flow_request[kv], run.flows.start_s[kv]
    fixed_s = start_s + run.completions.message_start_s[kv] + run.completions.latency_s[kv]
    alone_s = run.flows.size_bytes[kv] * 8.0 / run.kv_alone_bps
    count = len(run.journeys.outcome)
    last = [_latest(request, times_s, count) for times_s in (start_s, fixed_s + alone_s, fixed_s + run.ideal_sending_s[kv])]
    return last[0], last[1], last[2]


def _latest(request: IntArray, times_s: FloatArray, count: int) -> FloatArray:
    """Return the latest time of each request; nan where it has none."""
    latest_s = np.full(count, -np.inf)
    np.maximum.at(latest_s, request, times_s)
    return np.where(np.isfinite(latest_s), latest_s, np.nan)
