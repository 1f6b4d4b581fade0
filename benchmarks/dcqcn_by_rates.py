"""DCQCN's own law by rates in small steps, against packets, on the cases of ``lossless_errors.py``: what would close its gap.

    python benchmarks/dcqcn_by_rates.py [--seeds 2] [--step-us 5] [--kept FOLDER]

Nothing is fitted and nothing is paused. In a step every queue pair sends at its rate, those of a NIC that is asked for more
than its line share it max-min; behind it a link that gets more than it takes slows all alike and fills a queue. A queue above
KMIN marks what passes as RED does, and a queue pair of which a cell was marked cuts its rate, at most once in N; then timer and
byte counter raise it. Marks are drawn. Printed are relative errors of the median and the 99th percentile of the transfer time.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numba
import numpy as np
from lossless_errors import CASES, Judged, packet_finish_s
from packet_funnel import REAL

from zcube.arrays import FloatArray
from zcube.fabric.catalog import load_fabric
from zcube.network.link_set import LinkSet
from zcube.network.packet.controls.dcqcn import Dcqcn
from zcube.routing.catalog import routing_for
from zcube.seeds import stream

CONTROL = Dcqcn()
GAIN, TIMER_S, GAP_S, FAST = CONTROL.gain, CONTROL.rate_timer_s, CONTROL.notification_interval_s, CONTROL.fast_recovery_steps
COUNTER_BITS, LEAST = 8.0 * CONTROL.byte_counter_bytes, CONTROL.least_rate
MORE, MUCH_MORE = CONTROL.additive_increase, CONTROL.hyper_increase
#: Marking at the highest rate of the packet model's defaults, as times at line rate; and a queue that no buffer holds.
MARK = REAL.marking[-1]
KMIN_S, KMAX_S = (8.0 * size / (1e9 * MARK.up_to_gbps) for size in (MARK.kmin_bytes, MARK.kmax_bytes))
PMAX, MOST_QUEUE_S = MARK.pmax, 100e-6
UNIT_BITS = 8.0 * (REAL.cell_bytes or REAL.packet_payload_bytes)
HEADERS = 1.0 + REAL.header_bytes / REAL.packet_payload_bytes
PAIR = np.dtype([(name, "f8") for name in ("rate", "target", "alpha", "cut_s", "timer_s", "alpha_s", "since", "sent")] +
                [(name, "i8") for name in ("timers", "counters", "slowed")])  # fmt: skip


@numba.njit(cache=True)
def share_nic(pairs: Any, active: Any, link: Any, first: Any, nic: int, line: float) -> None:
    """Let the queue pairs of a NIC send max-min, each at most at its rate."""
    level, count = 0.0, 0
    for pair in active:
        count += link[first[pair]] == nic
    level = line / count
    for _ in range(count):
        left, over = line, 0
        for pair in active:
            if link[first[pair]] == nic:
                if pairs[pair].rate < level:
                    left -= pairs[pair].rate
                else:
                    over += 1
        if over == 0 or left / over <= level * (1.0 + 1e-9):
            break
        level = left / over
    for pair in active:
        if link[first[pair]] == nic:
            pairs[pair].sent = min(pairs[pair].rate, level)


@numba.njit(cache=True)
def react(pair: Any, line: float, sent_bits: float, marked: bool, now_s: float) -> None:
    """Cut a rate, or raise it by what timer and byte counter say."""
    pair.since += sent_bits
    if marked and now_s - pair.cut_s >= GAP_S:
        pair.target, pair.slowed = pair.rate, 1
        pair.rate = max(pair.rate * (1.0 - pair.alpha / 2.0), LEAST * line)
        pair.alpha = (1.0 - GAIN) * pair.alpha + GAIN
        pair.cut_s = pair.timer_s = pair.alpha_s = now_s
        pair.timers = pair.counters = 0
        pair.since = 0.0
    elif pair.slowed:
        if now_s - pair.alpha_s >= TIMER_S:
            pair.alpha *= 1.0 - GAIN
            pair.alpha_s += TIMER_S
        expiries = 0
        if now_s - pair.timer_s >= TIMER_S:
            pair.timer_s += TIMER_S
            pair.timers += 1
            expiries += 1
        if pair.since >= COUNTER_BITS * (pair.counters + 1):
            pair.counters += 1
            expiries += 1
        for _ in range(expiries):
            least, most = min(pair.timers, pair.counters), max(pair.timers, pair.counters)
            if least > FAST:
                pair.target += (least - FAST) * MUCH_MORE * line
            elif most > FAST:
                pair.target += MORE * line
            pair.target = min(pair.target, line)
            pair.rate = (pair.rate + pair.target) / 2.0
            if pair.rate > 0.999 * line:
                pair.rate, pair.slowed = line, 0


@numba.njit(cache=True)
def run(first: Any, link: Any, capacity: Any, flow: Any, bits: Any, start_s: Any, pairs: Any, step_s: float, rng: Any) -> Any:
    """Return when each transfer has sent all."""
    left, finish_s = bits.copy(), np.full(len(bits), np.nan)
    queue, load, shared = np.zeros(len(capacity)), np.zeros(len(capacity)), np.full(len(capacity), -1)
    order, active, coming, now_s, step = np.argsort(start_s[flow], kind="mergesort"), np.zeros(0, np.int64), 0, 0.0, 0
    while len(active) or coming < len(order):
        step += 1
        if len(active) == 0:
            now_s = max(now_s, start_s[flow[order[coming]]])
        until = coming
        while until < len(order) and start_s[flow[order[until]]] <= now_s:
            pair = pairs[order[until]]
            pair.rate = pair.target = capacity[link[first[order[until]]]]
            until += 1
        active, coming = np.concatenate((active, order[coming:until])), until
        load[:] = 0.0
        for one in active:
            pairs[one].sent = pairs[one].rate
            load[link[first[one]]] += pairs[one].rate
        for one in active:
            nic = link[first[one]]
            if load[nic] > capacity[nic] * (1.0 + 1e-9) and shared[nic] != step:
                share_nic(pairs, active, link, first, nic, capacity[nic])
                shared[nic] = step
        for one in active:
            for hop in range(first[one] + 1, first[one + 1]):
                load[link[hop]] += pairs[one].sent
        for one in active:
            part, unmarked = 1.0, 1.0
            units = max(1.0, pairs[one].sent * step_s / UNIT_BITS)
            for hop in range(first[one] + 1, first[one + 1]):
                here = link[hop]
                part = min(part, capacity[here] / max(load[here], capacity[here]))
                behind_s = queue[here] / capacity[here]
                chance = 1.0 if behind_s > KMAX_S else max(0.0, PMAX * (behind_s - KMIN_S) / (KMAX_S - KMIN_S))
                unmarked *= (1.0 - chance) ** units
            sent = pairs[one].sent * part * step_s
            react(pairs[one], capacity[link[first[one]]], sent, rng.random() > unmarked, now_s)
            left[flow[one]] -= sent
        for one in active:
            for hop in range(first[one] + 1, first[one + 1]):
                here = link[hop]
                if load[here] >= 0.0:
                    grown = queue[here] + (load[here] - capacity[here]) * step_s
                    queue[here] = min(MOST_QUEUE_S * capacity[here], max(0.0, grown))
                    load[here] = -1.0
        now_s += step_s
        for one in active:
            if left[flow[one]] <= 0.0 and np.isnan(finish_s[flow[one]]):
                finish_s[flow[one]] = now_s
        active = active[np.isnan(finish_s[flow[active]])]
    return finish_s


def finish_s(case: Judged, seed: int, step_s: float) -> FloatArray:
    """Return when each transfer of a case ends by rates."""
    fabric = load_fabric(case.fabric)
    flows = case.flows(fabric, seed)
    routes = routing_for(fabric, queue_pairs=case.queue_pairs, seed=seed).routes(flows.source, flows.target)
    pairs = np.zeros(len(routes.share), PAIR)
    pairs["alpha"], pairs["cut_s"] = 1.0, -np.inf
    flow = np.repeat(np.arange(len(flows.source)), np.diff(routes.first_subflow))
    capacity = np.array(LinkSet.of_fabric(fabric).capacity_bps, dtype=np.float64)
    bits = flows.size_bytes * 8.0 * HEADERS
    found: FloatArray = run(
        routes.first_hop, routes.link, capacity, flow, bits, flows.start_s, pairs, step_s, stream(seed, "marks by rates")
    )
    return found


def main() -> None:
    """Print a row per case, and over the cases not used for the lossless fluid's fit the mean and the largest error."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--step-us", type=float, default=5.0)
    parser.add_argument("--kept", type=Path, help="folder for what packets took")
    asked = parser.parse_args()
    rows = []
    for case in CASES:
        found = []
        for seed in range(asked.seeds):
            start_s = case.flows(load_fabric(case.fabric), seed).start_s
            both = finish_s(case, seed, 1e-6 * asked.step_us), packet_finish_s(case, "dcqcn", seed, asked.kept)
            quantiles = [np.quantile(ends_s - start_s, [0.5, 0.99]) for ends_s in both]
            found.append(quantiles[0] / quantiles[1] - 1.0)
        median, p99 = np.mean(found, axis=0)
        rows.append((case.fit, abs(median), abs(p99)))
        print(f"{case.title:44} {100 * median:+6.1f} {100 * p99:+6.1f}", flush=True)
    others = 100 * np.array([row[1:] for row in rows if not row[0]])
    print(f"{'others, mean and largest':44}", others.mean(axis=0).round(1), others.max(axis=0).round(1))


if __name__ == "__main__":
    main()
