"""NCCL's logs, inspector dumps and profiler traces: bytes, matching over ranks, peers, times."""

import json

import numpy as np
import pytest
from recorded_formats import chrome_coll, inspector, nccl_call, nccl_init, rows

from zcube.errors import InputError
from zcube.trace.comm_trace import Kind
from zcube.trace.importers.catalog import import_trace


@pytest.mark.parametrize(
    ("op", "count", "datatype", "ranks", "name", "size"),
    [
        ("AllReduce", 6144, 9, 8, "all-reduce", 12288),
        ("AllGather", 1000, 7, 8, "all-gather", 4000),
        ("ReduceScatter", 1000, 6, 8, "reduce-scatter", 16000),
        ("AlltoAll", 10, 1, 8, "all-to-all", 80),
        ("Broadcast", 3, 8, 8, "broadcast", 24),
        ("Reduce", 5, 10, 4, "reduce", 5),
        ("Gather", 5, 4, 4, "gather", 40),
        ("Scatter", 5, 2, 4, "scatter", 80),
    ],
)
def test_counts_of_the_log_become_the_bytes_one_rank_puts_in(load, op, count, datatype, ranks, name, size):
    """The meaning of each count as in NCCL's user guide; sizes by hand."""
    parts = [
        nccl_init(rank, ranks, pid=100 + rank, dev=rank)
        + nccl_call(op, count, datatype, nranks=ranks, pid=100 + rank, dev=rank)
        for rank in range(ranks)
    ]
    imported = load(*parts)
    assert rows(imported)[0][0] == name
    assert imported.trace.size_bytes.tolist() == [size]
    assert imported.trace.groups == (tuple(range(ranks)),)
    assert imported.report.used == ranks


def test_rccl_adds_words_to_a_call(load):
    """RCCL's format of a call: an accumulator before the count, tasks and global rank at the end."""
    parts = []
    for rank in range(2):
        call = nccl_call("AllReduce", 10, 7, nranks=2, pid=100 + rank, dev=rank)
        call = call.replace(" count ", " acc (nil) count ").rstrip("\n") + f" task 1 globalrank {rank}\n"
        assert " acc (nil) count 10 " in call
        parts.append(nccl_init(rank, 2, pid=100 + rank, dev=rank) + call)
    assert load(*parts).trace.size_bytes.tolist() == [40]


def test_interleaved_ranks_in_one_file_make_one_collective_per_call(load):
    lines = [nccl_init(rank, 4, pid=100 + rank, dev=rank) for rank in range(4)]
    lines += [
        nccl_call("AllReduce", 10 * (opc + 1), 0, opc=opc, nranks=4, pid=100 + rank, dev=rank)
        for opc in range(3)
        for rank in ((2, 0, 3, 1) if opc % 2 else range(4))
    ]
    lines.insert(5, "node1:100:1 [0] NCCL INFO AllReduce: 12288 Bytes -> Algo RING proto LL channel{Lo..Hi}={0..1}\n")
    lines.insert(6, "vLLM is starting\n")
    imported = load("".join(lines))
    assert imported.trace.size_bytes.tolist() == [10, 20, 30]
    # Without times each call waits for the one before it on its stream.
    assert [imported.trace.waits_for(i).tolist() for i in range(3)] == [[], [0], [1]]
    assert imported.report.skipped == {"set-up of a communicator (read for its ranks)": 4, "not a call": 2}
    assert imported.report.read == 18
    assert "CUDA graphs" in " ".join(imported.report.notes)


def test_two_calls_of_one_group_with_the_same_count_stay_two(load):
    """Grouped calls share an opCount; they are told apart by their order."""
    parts = [
        nccl_init(rank, 2, pid=rank, dev=rank) + 2 * nccl_call("AllReduce", 8, 0, opc=7, pid=rank, dev=rank)
        for rank in range(2)
    ]
    imported = load(*parts)
    assert imported.trace.size_bytes.tolist() == [8, 8]
    assert len(imported.trace.dependency) == 0


def test_sends_and_receives_of_a_group_call_are_transfers_that_run_together(load):
    """An all-to-all by sends and receives: each rank sends to every other; a later call waits for all of them on its rank."""
    ranks, parts = 3, []
    for rank in range(ranks):
        text = nccl_init(rank, ranks, pid=rank, dev=rank)
        for peer in range(ranks):
            text += nccl_call("Send", 100 + peer, 0, opc=1, root=peer, nranks=ranks, pid=rank, dev=rank)
            text += nccl_call("Recv", 100 + rank, 0, opc=1, root=peer, nranks=ranks, pid=rank, dev=rank)
        parts.append(text + nccl_call("AllReduce", 1, 0, opc=2, nranks=ranks, pid=rank, dev=rank))
    imported = load(*parts)
    trace = imported.trace
    sends = [row for row in rows(imported) if row[0] == "send-receive"]
    assert sorted(sends) == sorted(("send-receive", a, b, 100 + b) for a in range(3) for b in range(3) if a != b)
    assert imported.report.skipped["a transfer to its own rank"] == 6
    assert trace.waits_for(len(trace) - 1).tolist() == list(range(6))
    assert all(not trace.waits_for(i).size for i in range(6))


def test_large_groups_of_sends_are_chained_without_multiplying(load):
    """Two rounds of 40 sends would be 1600 waits a rank; a join keeps them linear."""
    text = nccl_init(0, 2, pid=0) + nccl_init(1, 2, pid=1, dev=1)
    for opc in range(2):
        text += 40 * nccl_call("Send", 5, 0, opc=opc, root=1, pid=0)
        text += 40 * nccl_call("Recv", 5, 0, opc=opc, root=0, pid=1, dev=1)
    trace = load(text).trace
    assert (trace.kind == Kind.TRANSFER).sum() == 80
    assert len(trace.dependency) == 40 + 40
    joins = [i for i in range(len(trace)) if trace.names[trace.name[i]] == "join"]
    assert len(joins) == 1 and (trace.duration_s[joins] == 0).all()


def test_unmatched_sends_count_and_unmatched_receives_are_named(load):
    text = nccl_init(0, 2, pid=0) + nccl_init(1, 2, pid=1, dev=1)
    text += nccl_call("Send", 5, 0, root=1, pid=0) + nccl_call("Recv", 7, 0, root=0, pid=1, dev=1)
    text += nccl_call("Recv", 9, 0, opc=1, root=0, pid=1, dev=1) + nccl_call("Send", 11, 0, opc=1, root=0, pid=1, dev=1)
    imported = load(text)
    assert sorted(rows(imported)) == [("send-receive", 0, 1, 5), ("send-receive", 1, 0, 11)]
    assert imported.report.skipped["a receive without its send"] == 1
    where = imported.report.files[0].examples["a receive without its send"][0].where
    assert where.endswith("line 5")
    notes = " ".join(imported.report.notes)
    assert "1 sends have no receive" in notes and "1 operations whose ranks recorded different bytes" in notes


def test_times_of_the_log_are_kept_to_the_microsecond(load):
    stamps = ["[2026-01-02 03:04:05.000250] ", "[2026-01-02 03:04:05.001000] "]
    text = nccl_init(0, 2) + "".join(nccl_call("AllReduce", 4, 0, opc=i, ts=stamp) for i, stamp in enumerate(stamps))
    imported = load(text)
    assert imported.trace.start_s == pytest.approx([0, 750e-6], abs=1e-12)
    assert imported.trace.metadata["origin_us"] == 1767323045000250
    assert len(imported.trace.dependency) == 0
    assert load(text, chain=True).trace.dependency.tolist() == [0]
    coarse = load(text.replace(".000250", "").replace(".001000", ""))
    assert coarse.trace.dependency.tolist() == [0]
    assert "whole seconds" in " ".join(coarse.report.notes)


def test_sub_communicators_get_the_world_ranks_of_their_processes(load):
    """Four processes, a world and two pairs {0, 2} and {1, 3}."""
    text = "".join(nccl_init(rank, 4, pid=rank, dev=rank) for rank in range(4))
    for rank in range(4):
        text += nccl_init(rank // 2, 2, pid=rank, dev=rank, comm=0xB0, comm_id=500 + rank % 2)
        text += nccl_call("AllGather", 3 + rank % 2, 0, pid=rank, dev=rank, comm=0xB0)
    imported = load(text)
    assert sorted(imported.trace.groups) == [(0, 2), (1, 3)]
    assert sorted(imported.trace.size_bytes.tolist()) == [3, 4]
    assert imported.trace.ranks == 4


def test_calls_without_their_communicator_are_not_guessed(load):
    with pytest.raises(InputError, match="without its set-up line"):
        load(nccl_call("AllReduce", 4, 0))
    # A set-up line behind the call, as unordered output of threads has it, will do.
    assert load(nccl_call("AllReduce", 4, 0) + nccl_init(1, 2)).trace.size_bytes.tolist() == [4]


def test_inspector_records_of_all_ranks_make_one_collective(load):
    records = [inspector(rank, 4, "ReduceScatter", 65536, 129, ts=1_000_000 + 10 * rank) for rank in range(4)]
    records += [inspector(rank, 4, "AllGather", 8192, 130, ts=2_000_000) for rank in range(4)]
    imported = load(*(json.dumps(record) for record in records))
    assert rows(imported) == [("reduce-scatter", -1, -1, 4 * 65536), ("all-gather", -1, -1, 8192)]
    trace = imported.trace
    # The last rank comes at 30 us; all are done 100 us after it came.
    assert trace.duration_s == pytest.approx([100e-6, 100e-6])
    assert trace.start_s == pytest.approx([0, 2 - 1 - 30e-6])
    assert trace.metadata["origin_us"] == 1_000_030


def test_inspector_size_agrees_with_the_bandwidth_it_prints(load):
    """The plugin's published sample: a reduce-scatter of 65536 bytes in 110 us at 19.065018 GB/s over 32 ranks."""
    imported = load(json.dumps(inspector(0, 32, "ReduceScatter", 65536, 129, exec_us=110)))
    assert imported.trace.size_bytes[0] / imported.trace.duration_s[0] / 1e9 == pytest.approx(19.065018, rel=1e-6)


@pytest.mark.parametrize("form", ["lines", "together", "array", "indented"])
def test_inspector_objects_are_read_however_they_are_joined(load, form):
    first = inspector(0, 2, "AllReduce", 9000, 1)
    p2p = {"p2p": "Send", "p2p_sn": 1, "p2p_peer": 1, "p2p_msg_size_bytes": 70, "p2p_exec_time_us": 5}
    second = {"header": first["header"], "metadata": first["metadata"], "p2p_perf": p2p}
    text = {
        "lines": "\n".join(map(json.dumps, (first, second))),
        "together": json.dumps(first) + json.dumps(second),
        "array": json.dumps([first, second]),
        "indented": json.dumps(first, indent=2) + "\n" + json.dumps(second, indent=2),
    }[form]
    imported = load(text)
    assert sorted(rows(imported)) == [("all-reduce", -1, -1, 9000), ("send-receive", 0, 1, 70)]
    # The dump's time less the execution time: the send ran 5 us, the all-reduce 100 us before the same dump.
    assert np.diff(np.sort(imported.trace.start_s)) == pytest.approx([95e-6])
    assert "dump's time less the execution time (2 records)" in " ".join(imported.report.notes)


def test_profiler_trace_is_read_with_its_flaws(load):
    """Unquoted data types and typographic quotes as in the published sample, and the empty object at the end."""
    events = []
    for phase, ts in (("b", 100.0), ("e", 350.5)):
        text = json.dumps(chrome_coll(1, 262144, 0, phase=phase, ts=ts, name="AllGather"))
        events.append(text.replace('"ncclFloat32"', "ncclFloat32").replace('"cat"', "“cat”"))
    events.append('{"name":"ScheduleSend","cat":"PROXY","ph":"b","args":{"Channel":0,"Peer":1}}')
    imported = load("[\n" + ",\n".join(events) + ",\n{}]\n")
    assert imported.broken is None
    assert rows(imported) == [("all-gather", -1, -1, 4 * 262144)]
    assert imported.trace.duration_s == pytest.approx([250.5e-6])
    assert imported.report.skipped == {
        "another category of events": 1, "an empty object, as the plugin writes last": 1,
    }  # fmt: skip


def test_profiler_sends_name_their_peer(load):
    def event(name, rank, peer):
        args = {"CommHash": 7, "Rank": rank, "Peer": peer, "Count": 268435456, "Datatype": "ncclFloat32", "nChannels": 16}
        return {"name": name, "cat": "P2P", "ph": "b", "id": 0, "pid": rank, "tid": 1, "ts": 5.0, "args": args}

    imported = load(json.dumps([event("Send", 0, 3)]), json.dumps([event("Recv", 3, 0)]))
    assert rows(imported) == [("send-receive", 0, 3, 1 << 30)]
    assert imported.trace.ranks == 4


def test_formats_must_not_mix_and_faults_name_every_file(load, tmp_path):
    with pytest.raises(InputError, match="several formats"):
        load(nccl_init(0, 2) + nccl_call("AllReduce", 1, 0), json.dumps(inspector(0, 2, "AllReduce", 1, 1)))
    with pytest.raises(InputError) as caught:
        import_trace([tmp_path / "one", tmp_path / "two"])
    assert len(caught.value.faults) == 2
    with pytest.raises(InputError, match="cannot be told"):
        load("hello\n")
