"""Collectives against their closed forms: bytes in all, bytes per rank, number of steps, and what waits for what."""

from math import floor, log2

import numpy as np
import pytest

from zcube.errors import InputError
from zcube.trace.builder import TraceBuilder
from zcube.trace.collectives import END, START, expand, ring_orders
from zcube.trace.comm_trace import Kind


def alone(name, ranks, size_bytes, algorithm=None, *, root=-1, per_node=8, group=None, **options):
    """Return one collective of all ranks, expanded."""
    builder = TraceBuilder(ranks, per_node)
    builder.collective(name, group or range(ranks), size_bytes, root=root)
    return expand(builder.build({}), {name: algorithm} if algorithm else None, **options)


def sent(trace):
    sends = trace.rows(Kind.TRANSFER)
    return np.bincount(trace.source[sends], trace.size_bytes[sends], trace.ranks)


def received(trace):
    sends = trace.rows(Kind.TRANSFER)
    return np.bincount(trace.target[sends], trace.size_bytes[sends], trace.ranks)


def steps(trace):
    """Return the transfers on the longest chain of dependencies."""
    depth = [0] * len(trace)
    for row in range(len(trace)):
        depth[row] = max((depth[wait] for wait in trace.waits_for(row)), default=0) + (trace.kind[row] == Kind.TRANSFER)
    return max(depth)


N, PART = 12, 1000
S = N * PART


@pytest.mark.parametrize(
    ("name", "algorithm", "per_rank", "step_count"),
    [
        ("all-reduce", "ring", 2 * (N - 1) * PART, 2 * (N - 1)),
        ("all-reduce", "one-shot", (N - 1) * S, 1),
        ("all-reduce", "two-shot", 2 * (N - 1) * PART, 2),
        ("all-gather", "ring", (N - 1) * S, N - 1),
        ("all-gather", "direct", (N - 1) * S, 1),
        ("reduce-scatter", "ring", (N - 1) * PART, N - 1),
        ("reduce-scatter", "direct", (N - 1) * PART, 1),
        ("all-to-all", "pairwise", (N - 1) * PART, N - 1),
        ("all-to-all", "direct", (N - 1) * PART, 1),
        ("send-receive", "direct", S, 1),
    ],
)
def test_symmetric_collectives_send_and_receive_alike(name, algorithm, per_rank, step_count):
    trace = alone(name, N, S, algorithm, per_node=N)
    assert sent(trace).tolist() == received(trace).tolist() == [per_rank] * N
    assert steps(trace) == step_count


@pytest.mark.parametrize(
    ("name", "algorithm", "total", "root_sends", "root_receives", "step_count"),
    [
        ("broadcast", "direct", (N - 1) * S, (N - 1) * S, 0, 1),
        ("broadcast", "tree", (N - 1) * S, 2 * S, 0, floor(log2(N))),
        ("broadcast", "ring", (N - 1) * S, S, 0, 2 * (N - 1)),
        ("reduce", "direct", (N - 1) * S, 0, (N - 1) * S, 1),
        ("reduce", "tree", (N - 1) * S, 0, 2 * S, floor(log2(N))),
        ("reduce", "ring", (N - 1) * S, 0, S, 2 * (N - 1)),
        ("gather", "direct", (N - 1) * S, 0, (N - 1) * S, 1),
        ("scatter", "direct", (N - 1) * PART, (N - 1) * PART, 0, 1),
    ],
)
@pytest.mark.parametrize("root", [0, 5])
def test_rooted_collectives(name, algorithm, total, root_sends, root_receives, step_count, root):
    trace = alone(name, N, S, algorithm, root=root, per_node=N)
    assert sent(trace).sum() == received(trace).sum() == total
    assert (sent(trace)[root], received(trace)[root]) == (root_sends, root_receives)
    assert steps(trace) == step_count
    # Every other rank takes part.
    others = np.delete(sent(trace) + received(trace), root)
    assert (others > 0).all()


@pytest.mark.parametrize("ranks", [2, 3, 8, 13, 16])
def test_a_tree_goes_up_and_down(ranks):
    trace = alone("all-reduce", ranks, 4096, "tree")
    assert sent(trace).sum() == 2 * (ranks - 1) * 4096
    # A rank sends to its parent and to its children, and hears from them.
    assert sent(trace).tolist() == received(trace).tolist()
    assert steps(trace) == 2 * floor(log2(ranks))


@pytest.mark.parametrize("size_bytes", [1, 7, 11, 100, 12_288 + 5])
def test_remainders_go_to_the_first_parts_and_none_is_lost(size_bytes):
    whole, rest = divmod(size_bytes, 8)
    part = np.array([whole + (number < rest) for number in range(8)])
    trace = alone("all-to-all", 8, size_bytes)
    assert received(trace).tolist() == (7 * part).tolist()
    for algorithm in ("ring", "direct"):
        # Everyone contributes to each part but the owner: 7 transfers of it.
        assert sent(alone("reduce-scatter", 8, size_bytes, algorithm)).sum() == 7 * size_bytes
    assert sent(alone("all-reduce", 8, size_bytes, "ring")).sum() == 14 * size_bytes
    assert sent(alone("all-reduce", 8, size_bytes, "two-shot")).sum() == 14 * size_bytes
    assert sent(alone("broadcast", 8, size_bytes, "ring")).sum() == 7 * size_bytes
    assert sent(alone("scatter", 8, size_bytes)).sum() == size_bytes - part[0]


def test_reduction_needs_every_contribution():
    """Whatever reaches a rank of an all-reduce must carry what every rank put in, part by part."""
    for algorithm in ("ring", "tree", "one-shot", "two-shot"):
        for ranks in (2, 5, 8, 16):
            trace = alone("all-reduce", ranks, 1 << 20, algorithm)
            start = trace.names.index(START)
            heard = [set() for _ in range(len(trace))]
            for row in range(len(trace)):
                own = {int(trace.source[row])} if trace.name[row] == start else set()
                heard[row] = own.union(*(heard[wait] for wait in trace.waits_for(row)))
            for row in np.flatnonzero(trace.name == trace.names.index(END)):
                assert heard[row] == set(range(ranks)), (algorithm, ranks)


def test_rings_over_nodes_use_every_rail_once_and_stay_on_it():
    trace = alone("all-reduce", 32, 32 * 8 * 1000)
    sends = trace.rows(Kind.TRANSFER)
    source, target, size = trace.source[sends], trace.target[sends], trace.size_bytes[sends]
    assert sent(trace).tolist() == [2 * 31 * 8 * 1000] * 32
    between = source // 8 != target // 8
    assert (source[between] % 8 == target[between] % 8).all()
    # Each of a node's eight NICs sends one ring's share of the hop to the next node: 2 (n - 1) parts of S / (8 n).
    out = np.bincount(source[between], size[between], 32)
    assert out.tolist() == [2 * 31 * 1000] * 32
    assert steps(trace) == 62


def test_ring_orders():
    for orders in (ring_orders(tuple(range(16)), 8), ring_orders((3, 11, 19), 8), ring_orders((0, 9, 2), 8, channels=2)):
        assert all(sorted(order.tolist()) == list(range(len(order))) for order in orders)
    assert len(ring_orders(tuple(range(16)), 8)) == 8
    # One GPU per node, and nodes of unequal rails, keep the order of the group.
    assert [order.tolist() for order in ring_orders((3, 11, 19), 8)] == [[0, 1, 2]]
    assert [order.tolist() for order in ring_orders((0, 9, 2), 8)] == [[0, 1, 2]]


@pytest.mark.parametrize(
    ("ranks", "size_bytes", "expected"),
    [
        (8, (256 << 10) - 1, "one-shot"), (8, 256 << 10, "two-shot"), (4, (512 << 10) - 1, "one-shot"),
        (4, 512 << 10, "two-shot"), (8, 8 << 20, "two-shot"), (8, (8 << 20) + 1, "ring"), (16, 1024, "ring"),
    ],
)  # fmt: skip
def test_default_of_all_reduce(ranks, size_bytes, expected):
    assert alone("all-reduce", ranks, size_bytes).metadata["collective_algorithms"] == {"all-reduce": [expected]}


def test_no_bytes_send_nothing_and_a_barrier_joins_all():
    assert not len(alone("all-reduce", 8, 0).rows(Kind.TRANSFER))
    assert not len(alone("all-gather", 1, 100).rows(Kind.TRANSFER))
    builder = TraceBuilder(8)
    late = builder.compute("work", np.arange(8), np.arange(8.0))
    builder.collective("barrier", range(8), 0, after=late.tolist())
    trace = expand(builder.build({}))
    assert not len(trace.rows(Kind.TRANSFER))
    assert finish_of_ends(trace) == [7.0] * 8


def finish_of_ends(trace):
    finish = np.zeros(len(trace))
    for row in range(len(trace)):
        finish[row] = max((finish[wait] for wait in trace.waits_for(row)), default=0.0) + np.nan_to_num(trace.duration_s[row])
    return finish[trace.name == trace.names.index(END)].tolist()


def ancestors(trace, row):
    seen, todo = set(), [row]
    while todo:
        for wait in trace.waits_for(todo.pop()).tolist():
            if wait not in seen:
                seen.add(wait)
                todo.append(wait)
    return seen


def compute_rows(trace, name):
    rows = np.flatnonzero(trace.name == trace.names.index(name))
    return {int(trace.source[row]): int(row) for row in rows}


def test_ranks_start_by_themselves_and_followers_wait_on_their_own_rank():
    builder = TraceBuilder(16)
    before = builder.compute("before", np.arange(8), 1.0)
    collective = builder.collective("broadcast", range(8), 1000, root=0, after=before.tolist())
    builder.compute("after", np.arange(9), 1.0, after=(collective,))
    trace = expand(builder.build({}))
    before, after = compute_rows(trace, "before"), compute_rows(trace, "after")
    for rank in range(8):
        # A direct broadcast: a rank waits for itself and the root, the root for itself only.
        waited = {before[0], before[rank]}
        assert ancestors(trace, after[rank]) & set(before.values()) == waited
    # A rank outside the group waits for all of it.
    assert set(before.values()) <= ancestors(trace, after[8])
    sends = trace.rows(Kind.TRANSFER)
    arrived = {int(row): int(trace.target[row]) for row in sends}
    for rank in range(1, 8):
        assert [arrived[row] for row in ancestors(trace, after[rank]) if row in arrived] == [rank]


def test_what_belongs_to_nobody_holds_everybody_and_who_has_nothing_waits_for_all():
    builder = TraceBuilder(24)
    mine = builder.compute("mine", [0, 1], 1.0)
    far = builder.compute("far", 20, 1.0)
    into = builder.transfer("into", 16, 2, 10)
    collective = builder.collective("all-gather", range(4), 1000, after=[*mine, *far, *into])
    builder.compute("after", np.arange(4), 1.0, after=(collective,))
    trace = expand(builder.build({}))
    start = compute_rows(trace, "collective-start")
    waits = {rank: set(trace.waits_for(row).tolist()) for rank, row in start.items()}
    assert waits == {0: {0, 2}, 1: {1, 2}, 2: {2, 3}, 3: {0, 1, 2, 3}}


def test_chained_collectives_are_no_barrier():
    """The second collective of a rank waits for the rank's own end of the first."""
    builder = TraceBuilder(8)
    first = builder.collective("all-to-all", range(8), 800)
    builder.collective("all-to-all", range(8), 800, after=[first])
    trace = expand(builder.build({}))
    rows = np.flatnonzero(trace.name == trace.names.index("collective-start"))
    ends = np.flatnonzero(trace.name == trace.names.index(END))
    for rank in range(8):
        assert trace.waits_for(rows[8 + rank]).tolist() == [ends[rank]]


def test_faults_are_named():
    builder = TraceBuilder(8)
    builder.collective("all-shuffle", range(8), 800)
    builder.collective("broadcast", range(4), 800, root=7)
    with pytest.raises(InputError) as caught:
        expand(builder.build({}), {"all-reduce": "star", "everything": "ring"})
    text = str(caught.value)
    assert len(caught.value.faults) == 4
    assert all(word in text for word in ("all-shuffle", "'star'", "everything", "operation 1: found a root outside its group"))


def test_too_large_is_refused_before_it_is_built():
    builder = TraceBuilder(1 << 14)
    builder.collective("all-to-all", range(1 << 14), 1 << 20)
    with pytest.raises(InputError, match="at most"):
        expand(builder.build({}))


def test_a_collective_goes_by_the_end_of_its_name():
    traces = []
    for name in ("all-reduce", "attention-all-reduce"):
        trace = TraceBuilder(8)
        trace.collective(name, range(8), 12_288)
        traces.append(expand(trace.build({})))
    assert traces[0].size_bytes.tolist() == traces[1].size_bytes.tolist()
    assert "attention-all-reduce" in traces[1].metadata["collective_algorithms"] or "attention-all-reduce" in traces[1].names
    refused = TraceBuilder(8)
    refused.collective("reduce-everything", range(8), 1)
    with pytest.raises(InputError, match="reduce-everything"):
        expand(refused.build({}))
