"""One job on four H100, recorded in three forms: each gives the bytes of the truth files, group by group and pair by pair."""

import json
from collections import Counter

import pytest

from zcube.trace.comm_trace import Kind
from zcube.trace.importers.catalog import import_trace

WORLD = (0, 1, 2, 3)
BYTES = {"torch.bfloat16": 2, "torch.float32": 4, "torch.int64": 8, "torch.uint8": 1}
GROUPS = {
    ("pair", 0): (0, 1),
    ("pair", 1): (0, 1),
    ("pair", 2): (2, 3),
    ("pair", 3): (2, 3),
    ("even", 0): (0, 2),
    ("even", 2): (0, 2),
}
#: Calls that every form has as one collective: operation and root.
COLLECTIVES = {
    "all_to_all_even": ("all-to-all", -1), "all_to_all_uint8_fp8": ("all-to-all", -1),
    "all_gather_into_tensor": ("all-gather", -1), "all_gather_list": ("all-gather", -1),
    "even_all_gather": ("all-gather", -1), "reduce_scatter": ("reduce-scatter", -1), "all_reduce_avg": ("all-reduce", -1),
    "pair_all_reduce": ("all-reduce", -1), "broadcast_from_1": ("broadcast", 1), "reduce_to_0": ("reduce", 0),
}  # fmt: skip


@pytest.fixture(scope="module")
def recorded(shared_data):
    folder = shared_data / "h100x4-recorded"
    if not folder.is_dir():
        pytest.skip(f"no recording at {folder}")
    return folder


@pytest.fixture(scope="module")
def truth(recorded):
    return [json.loads((recorded / f"truth_rank{rank}.json").read_text())["calls"] for rank in range(4)]


def called(truth, name):
    """Return rank and call of every rank that called an operation."""
    return [(rank, call) for rank, calls in enumerate(truth) for call in calls if call["op"] == name]


def collectives_of(truth, names=COLLECTIVES):
    """Return how often each operation, group, root and size stands in the truth; a size is what one rank puts in."""
    found = Counter()
    for name in names:
        operation, root = COLLECTIVES[name]
        sizes = {
            (GROUPS.get((call["group"], rank), WORLD), call["elems_in"] * BYTES[call["dtype"]])
            for rank, call in called(truth, name)
        }
        found.update((operation, group, root, size) for group, size in sizes)
    return found


def sent_by(truth, *names):
    """Return what each rank sent to others in some calls."""
    return Counter(
        {
            rank: sum(call["bytes_sent_by_me"] for name in names for at, call in called(truth, name) if at == rank)
            for rank in range(4)
        }
    )


def collectives_in(trace):
    rows = trace.rows(Kind.COLLECTIVE)
    return Counter(
        (trace.names[trace.name[row]], trace.groups[trace.group[row]], int(trace.source[row]), int(trace.size_bytes[row]))
        for row in rows
    )


def pairs_in(trace, name):
    found = Counter()
    for row in trace.rows(Kind.TRANSFER):
        if trace.names[trace.name[row]] == name:
            found[int(trace.source[row]), int(trace.target[row])] += int(trace.size_bytes[row])
    return found


def by_source(pairs):
    found = Counter()
    for (source, _), size in pairs.items():
        found[source] += size
    return found


@pytest.mark.parametrize("form", ["kineto", "et"])
def test_a_profile_and_an_execution_trace_have_the_bytes_of_one_step(recorded, truth, form):
    trace = import_trace([recorded / f"{form}_rank{rank}.json.gz" for rank in range(4)]).trace
    expected = collectives_of(truth)
    # Even rows are one collective, of 64 rows of 128 elements; what is coalesced is one call; gather and scatter have a root.
    (rows,) = {call["elems_in"] * 2 for _, call in called(truth, "all_to_all_rows_2d")}
    (coalesced,) = {call["elems_in"] * 4 for _, call in called(truth, "coalesced_all_reduce")}
    expected.update([("all-to-all", WORLD, -1, rows), ("all-reduce", WORLD, -1, coalesced)])
    (gathered,) = {call["elems_in"] * 4 for _, call in called(truth, "gather_to_0")}
    scattered = max(call["elems_in"] * 4 for _, call in called(truth, "scatter_from_0"))
    expected.update([("gather", WORLD, 0, gathered), ("scatter", WORLD, 0, scattered)])
    assert collectives_in(trace) == expected
    parts = pairs_in(trace, "all-to-all")
    assert by_source(parts) == sent_by(truth, "all_to_all_uneven", "all_to_all_list")
    # The list of every rank is at least its uneven parts in every direction.
    for rank, call in called(truth, "all_to_all_uneven"):
        for target, units in enumerate(call["splits"]):
            assert target == rank or parts[rank, target] >= 2 * units
    ring = {(rank, (rank + 1) % 4): call["bytes_sent_by_me"] for rank, call in called(truth, "batch_isend_irecv_ring")}
    ((sender, send),) = called(truth, "send_0_to_1")
    ring[sender, 1] += send["bytes_sent_by_me"]
    assert pairs_in(trace, "send-receive") == ring


def test_the_log_has_the_bytes_of_three_steps(recorded, truth):
    """NCCL logs gathers, scatters and all-to-alls of parts as sends and receives; barriers are all-reduces of four bytes."""
    trace = import_trace(sorted(recorded.glob("nccl.vm.*.log.gz"))).trace
    found = collectives_in(trace)
    expected = Counter({key: 3 * count for key, count in collectives_of(truth).items()})
    sizes = [
        size
        for (name, group, _, size), count in found.items()
        if name == "all-reduce" and group == WORLD and size in (4400, 8800)
    ]
    (coalesced,) = {call["elems_in"] * 4 for _, call in called(truth, "coalesced_all_reduce")}
    assert sum(sizes) == coalesced
    expected.update({("all-reduce", WORLD, -1, size): 3 for size in sizes})
    # Behind the steps: an all-to-all, then one and an all-reduce under capture, and a barrier more.
    expected.update(
        {("all-to-all", WORLD, -1, 32_768): 2, ("all-reduce", WORLD, -1, 32_768): 1, ("all-reduce", WORLD, -1, 4): 4}
    )
    assert found == expected
    moved = (
        "all_to_all_uneven", "all_to_all_rows_2d", "all_to_all_list", "batch_isend_irecv_ring", "send_0_to_1", "gather_to_0",
        "scatter_from_0",
    )  # fmt: skip
    assert by_source(pairs_in(trace, "send-receive")) == Counter(
        {rank: 3 * size for rank, size in sent_by(truth, *moved).items()}
    )


def test_all_forms_place_the_same_bytes_between_the_same_ranks(recorded):
    """What the log has as sends, the profile has as all-to-alls, a gather and a scatter of one step."""
    log = import_trace(sorted(recorded.glob("nccl.vm.*.log.gz"))).trace
    profile = import_trace([recorded / f"kineto_rank{rank}.json.gz" for rank in range(4)]).trace
    step = pairs_in(profile, "all-to-all") + pairs_in(profile, "send-receive")
    for source in range(4):
        for target in range(4):
            if source != target:
                step[source, target] += 4096  # even rows
    for rank in (1, 2, 3):
        step[rank, 0] += 1600
        step[0, rank] += 1200
    assert pairs_in(log, "send-receive") == Counter({pair: 3 * size for pair, size in step.items()})
