"""Replay of a trace against a plain event loop: dependencies by their definition, rates by the oracle, in exact fractions."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest
from oracle_max_min import fair_rates

from zcube.fabric.catalog import load_fabric
from zcube.network.carrier import Carrier
from zcube.network.settings import Network
from zcube.replays.operations import replay_trace
from zcube.seeds import stream
from zcube.trace.builder import TraceBuilder
from zcube.trace.comm_trace import CommTrace, Kind

CASES = 13
MICROSECOND = Fraction(1, 10**6)
HERE = [("roft-256", "flow", "hash", "pooled"), ("roft-256", "flow", "ecmp", "fixed"),
        ("zcube-n16", "flow", "zcube-paths", "pooled"), ("rail-only-1024", "ideal", "default", "pooled")]  # fmt: skip


@dataclass
class Operation:
    """One operation with all that decides when it runs; a transfer has paths, a computation none."""

    start: Fraction
    waits: list[int]
    duration: Fraction
    bits: Fraction
    paths: list[list[int]]


def twin(
    operations: list[Operation], capacity: dict[int, Fraction], delay: dict[int, Fraction], pooled: bool
) -> tuple[list[Fraction], list[Fraction]]:
    """Return when each operation starts and ends.

    It starts at the latest of its own time and the ends of what it waits for. A computation then takes its time; a transfer
    drains over its paths at max-min fair rates and ends its longest path's delay after its last bit left.
    """
    start: dict[int, Fraction] = {}
    finish: dict[int, Fraction] = {}
    left: dict[tuple[int, int], Fraction] = {}
    paths_of: dict[tuple[int, int], list[list[int]]] = {}
    active: set[tuple[int, int]] = set()
    now = Fraction(0)
    while len(finish) < len(operations):
        for row, operation in enumerate(operations):
            if row not in start and all(wait in finish for wait in operation.waits):
                start[row] = max([operation.start, *(finish[wait] for wait in operation.waits)])
                if not operation.paths:
                    finish[row] = start[row] + operation.duration
                parts = [operation.paths] if pooled else [[path] for path in operation.paths]
                for part, paths in enumerate(parts if operation.paths else []):
                    left[row, part], paths_of[row, part] = operation.bits / len(parts), paths
        active |= {pool for pool in left if start[pool[0]] <= now}
        claims = {(pool, which): path for pool in active for which, path in enumerate(paths_of[pool])}
        used = {link for path in claims.values() for link in path}
        claimed = fair_rates({link: capacity[link] for link in used}, claims)
        rate = {pool: sum(claimed[pool, which] for which in range(len(paths_of[pool]))) for pool in active}
        moments = [now + left[pool] / rate[pool] for pool in active]
        moments += [start[pool[0]] for pool in left if pool not in active]
        if not moments:
            continue
        then = min(moments)
        for pool in list(active):
            left[pool] -= rate[pool] * (then - now)
            if not left[pool]:
                active.remove(pool)
                del left[pool]
                if not any(other[0] == pool[0] for other in left):
                    paths = operations[pool[0]].paths
                    finish[pool[0]] = then + max(sum(delay[link] for link in path) for path in paths)
        now = then
    rows = range(len(operations))
    return [start[row] for row in rows], [finish[row] for row in rows]


def random_trace(seed: int) -> CommTrace:
    """Return a random graph on three nodes; sizes and times are round, so that many things happen at once."""
    draw = stream(seed, "twin")
    trace = TraceBuilder(24)
    for row in range(int(draw.integers(4, 15))):
        after = [int(wait) for wait in draw.permutation(row)[: draw.integers(0, min(row, 3) + 1)]]
        start_s = float(draw.choice([0, 0, 0, 10, 50])) * 1e-6
        if draw.random() < 0.3:
            duration_s = float(draw.integers(0, 6) * 5) * 1e-6
            trace.compute("compute", int(draw.integers(0, 24)), duration_s, start_s=start_s, after=after)
            continue
        # Few GPUs, so that transfers meet; the target is in the same node every third time or so.
        source, target = (int(end) for end in draw.choice([0, 1, 2, 8, 9, 16], 2, replace=False))
        size = int(draw.choice([1, 4096, 250_000, 500_000, 1_000_000]))
        trace.transfer("send", source, target, size, start_s=start_s, after=after)
    trace.transfer("send", 0, 8, 250_000)
    return trace.build({})


def expected(chosen: Carrier, trace: CommTrace, gpu: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    link_set = chosen.link_set
    operations = []
    for row in range(len(trace)):
        sends = trace.kind[row] == Kind.TRANSFER
        operations.append(
            Operation(
                round(trace.start_s[row] * 1e6) * MICROSECOND,
                trace.waits_for(row).tolist(),
                Fraction(0) if sends else round(trace.duration_s[row] * 1e6) * MICROSECOND,
                Fraction(8 * int(trace.size_bytes[row])),
                paths(chosen, gpu[trace.source[row]], gpu[trace.target[row]]) if sends else [],
            )
        )
    capacity = {link: Fraction(rate) for link, rate in enumerate(link_set.capacity_bps)}
    delay = {link: Fraction(latency) for link, latency in enumerate(link_set.latency_s)}
    start, finish = twin(operations, capacity, delay, chosen.network.path_split == "pooled")
    return np.array(start, dtype=float), np.array(finish, dtype=float)


def paths(chosen: Carrier, source: int, target: int) -> list[list[int]]:
    routes = chosen.routing.routes(np.array([source]), np.array([target]))
    return [part.tolist() for part in np.split(routes.link, routes.first_hop[1:-1])]


@pytest.mark.parametrize(("name", "fidelity", "routing", "split"), HERE)
def test_replay_equals_the_twin(name, fidelity, routing, split):
    chosen = Network(fidelity=fidelity, routing=routing, path_split=split).on(load_fabric(name))
    for seed in range(CASES):
        trace = random_trace(seed)
        done = replay_trace(chosen, trace, first_server=1, server_stride=2)
        start_s, finish_s = expected(chosen, trace, done.gpu_of_rank)
        message = f"seed {seed}"
        np.testing.assert_allclose(done.times.start_s, start_s, rtol=1e-9, atol=1e-18, err_msg=message)
        np.testing.assert_allclose(done.times.finish_s, finish_s, rtol=1e-9, atol=1e-18, err_msg=message)
        np.testing.assert_array_equal(done.transfers.flows.start_s, done.times.start_s[done.times.sent])


def test_the_twin_knows_an_example_worked_by_hand():
    """Two transfers share a link of 8 bit/s; when the first ends, a computation starts, and a third goes after it."""
    first, second = (Operation(Fraction(0), [], Fraction(0), Fraction(bits), [[0]]) for bits in (8, 16))
    computed = Operation(Fraction(0), [0], Fraction(1), Fraction(0), [])
    third = Operation(Fraction(0), [2], Fraction(0), Fraction(8), [[0]])
    start, finish = twin([first, second, computed, third], {0: Fraction(8)}, {0: Fraction(1, 2)}, pooled=True)
    # The first drains at 2 and arrives at 2.5; the second has 8 left at 2, drains at 3; the computation ends at 3.5.
    assert finish == [Fraction(5, 2), Fraction(7, 2), Fraction(7, 2), Fraction(5)]
    assert start == [0, 0, Fraction(5, 2), Fraction(7, 2)]
