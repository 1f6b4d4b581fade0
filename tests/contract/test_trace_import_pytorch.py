"""PyTorch's profiler and execution traces, Chakra's graphs: bytes, groups, times, dependencies; the real samples."""

import gzip
import json
import sys

import numpy as np
import pytest
from recorded_formats import et_metadata, et_node, framed, host_node, kineto_comm, kineto_kernel, rows

from zcube.errors import InputError
from zcube.trace.comm_trace import Kind
from zcube.trace.importers import chakra_protobuf
from zcube.trace.importers.catalog import import_trace


def kineto(events, rank=0, world=4):
    info = {"backend": "nccl", "rank": rank, "world_size": world}
    return json.dumps({"schemaVersion": 1, "distributedInfo": info, "traceEvents": events, "traceName": "t"}).encode()


def test_operator_and_kernel_of_one_id_are_one_call_with_the_kernels_time(load):
    parts = [
        kineto(
            [
                kineto_comm(1000, "_allgather_base", 1024, dtype="BFloat16", ts=100.0, Seq=4),
                kineto_kernel(1000, 200.0 + rank, 50.0 - rank),
                kineto_comm(1001, "wait", 0),
                kineto_comm(1002, "barrier", 1),
                kineto_kernel(5, 300, 7, name="sgemm"),
                {"ph": "M", "name": "process_name", "pid": 1, "args": {"name": "python"}},
            ],
            rank,
        )
        for rank in range(4)
    ]
    packed = [gzip.compress(part) if rank % 2 else part for rank, part in enumerate(parts)]
    imported = load(*packed)
    assert rows(imported) == [("all-gather", -1, -1, 2048)]
    # Ranks start at 200 .. 203 us and all end at 250.
    assert imported.trace.duration_s == pytest.approx([47e-6])
    assert imported.trace.metadata["origin_us"] == 203
    assert imported.report.used == 8
    assert imported.report.skipped == {
        "wait or barrier: no bytes": 8, "a kernel that computes": 4, "neither a collective nor a kernel": 4,
    }  # fmt: skip
    kept = load(*parts, kernels=True)
    assert (kept.trace.kind == Kind.COMPUTE).sum() == 4
    assert sorted(kept.trace.source[kept.trace.kind == Kind.COMPUTE].tolist()) == [0, 1, 2, 3]


def test_lists_of_ranks_cut_after_thirty_are_rebuilt_from_start_stride_and_size(load):
    cut = "[" + ", ".join(str(3 + 2 * i) for i in range(30)) + ", ...]"
    rebuilt = {"Global rank start": 3, "Global rank stride": 2}
    imported = load(
        kineto([kineto_comm(1, "reduce_scatter_tensor_coalesced", 640, ranks=cut, group_size=40, **rebuilt)], 3, 128),
    )
    assert imported.trace.groups == (tuple(range(3, 83, 2)),)
    assert imported.trace.ranks == 128
    assert imported.trace.size_bytes.tolist() == [2560]
    with pytest.raises(InputError, match="cut short or missing"):
        load(kineto([kineto_comm(1, "allreduce", 640, ranks=cut, group_size=40)]))
    with pytest.raises(InputError, match="contradicts"):
        load(kineto([kineto_comm(1, "allreduce", 640, ranks=cut, group_size=40, **(rebuilt | {"Global rank stride": 1}))]))


def test_uneven_all_to_alls_become_the_transfers_they_are(load):
    splits = [[0, 3, 1], [2, 2, 2], [5, 0, 0]]
    parts = [
        kineto([kineto_comm(1, "all_to_allv", sum(split) * 16, ranks="[0, 1, 2]", **{"In split size": str(split)})], rank, 3)
        for rank, split in enumerate(splits)
    ]
    imported = load(*parts)
    expected = {(a, b): 64 * splits[a][b] for a in range(3) for b in range(3) if a != b and splits[a][b]}
    assert {(source, target): size for _, source, target, size in rows(imported)} == expected
    one = load(parts[0])
    assert rows(one) == [("all-to-all", -1, -1, 256)]
    assert "uneven" in " ".join(one.report.notes)


def test_sends_are_matched_by_the_other_sides_rank(load):
    """ "Dst Rank" and "Src Rank" are ranks of the job (torch/csrc/profiler/util.cpp)."""
    send = kineto_comm(1, "send", 100, ranks="[4, 6]", group_size=2, Rank=1, **{"Dst Rank": 6})
    receive = kineto_comm(1, "recv", 100, ranks="[4, 6]", group_size=2, Rank=0, **{"Src Rank": 4})
    imported = load(kineto([send], 4, 8), kineto([receive], 6, 8))
    assert rows(imported) == [("send-receive", 4, 6, 400)]


def test_kernels_without_bytes_are_counted_and_named(load):
    deep = "void deep_ep::internode::dispatch<false, 8>(int4*)"
    events = [kineto_comm(1, "allreduce", 1), kineto_kernel(2, 10, 5, name=deep), kineto_kernel(3, 20, 5)]
    imported = load(kineto(events))
    assert imported.report.skipped["a kernel of DeepEP or NVSHMEM: no bytes are recorded"] == 1
    assert imported.report.skipped["an NCCL kernel without metadata"] == 1
    assert any("DeepEP" in note for note in imported.report.notes)


def test_profiles_of_different_windows_match_by_sequence_number(load):
    """Rank 1's profile begins one call later; Seq tells which call is which."""
    parts = [
        kineto(
            [kineto_comm(i, "allreduce", 10 * (i + 1), ranks="[0, 1]", ts=float(i), Seq=i) for i in range(first, 3)], rank, 2
        )
        for rank, first in enumerate((0, 1))
    ]
    imported = load(*parts)
    assert imported.trace.size_bytes.tolist() == [40, 80, 120]
    assert "1 collectives were recorded by some of their ranks only" in " ".join(imported.report.notes)


def test_execution_trace_of_two_ranks_and_a_described_group(load):
    group = {
        "id": 3, "name": "## process_group:init ##", "ctrl_deps": 2,
        "inputs": {"values": [json.dumps([{"pg_name": "5", "backend_id": 77, "ranks": [2, 3], "group_size": 2}])]},
    }  # fmt: skip
    parts = []
    for rank in range(2):
        nodes = [
            host_node(9, "allreduce", 7, rank=rank, pg=77),
            host_node(8, "_reduce_scatter_base", 10, rank=rank, pg=77),
            group,
        ]
        nodes.append(host_node(10, "wait", 7, rank=rank))
        parts.append(json.dumps({"schema": "1.0.2-chakra.0.0.4", "nodes": nodes}).encode())
    imported = load(*parts)
    # In the order of node numbers, on the ranks that the group's description names.
    assert rows(imported) == [("reduce-scatter", -1, -1, 20), ("all-reduce", -1, -1, 14)]
    assert imported.trace.groups == ((2, 3),)
    assert imported.trace.dependency.tolist() == [0]


def test_real_execution_trace_totals(load, shared_data):
    path = shared_data / "chakra" / "1.0.2-chakra.0.0.4.json"
    if not path.is_file():
        pytest.skip(f"no {path}")
    nodes = json.loads(path.read_text())["nodes"]
    comms = [node["inputs"]["values"] for node in nodes if node["name"] == "record_param_comms"]
    expected = [sum(tensor[3] * tensor[4] for tensor in values[0]) for values in comms if "all_gather" in values]
    imported = import_trace([path])
    assert imported.report.format == "pytorch-et"
    assert imported.report.read == len(nodes)
    assert imported.trace.size_bytes.tolist() == expected and len(expected) == 10
    assert imported.report.skipped["wait or barrier: no bytes"] == sum("wait" in values for values in comms)
    assert imported.trace.groups == ((0, 1),)
    # Cut in the middle: what stands before stays, and the record is named.
    raw = path.read_bytes()
    cut = load(raw[: len(raw) // 2])
    assert 0 < len(cut.trace) < 10
    assert f"record {cut.report.read + 1} " in cut.broken.where


def test_real_feeder_graph(shared_data):
    path = shared_data / "chakra" / "small_chakra.0.json"
    if not path.is_file():
        pytest.skip(f"no {path}")
    nodes = json.loads(path.read_text())["workload_graph"]
    imported = import_trace([path])
    trace = imported.trace
    assert imported.report.read == len(nodes) == 7
    computes = [node for node in nodes if node["NodeType"] == 4 or node["is_cpu_op"]]
    assert imported.report.used == len(computes)
    assert trace.duration_s.sum() == pytest.approx(sum(node["runtime"] for node in computes) * 1e-6)
    assert trace.ranks == 8
    known = {node["Id"] for node in computes}
    assert len(trace.dependency) == sum(dep in known for node in computes for dep in node["data_deps"])
    assert imported.report.skipped == {"a collective without comm_size": 1}


def graph(rank, send, receive):
    nodes = [
        framed(et_metadata()),
        framed(et_node(0, "meta", 1)),
        framed(et_node(1, "mm", 4, duration=10)),
        framed(et_node(2, "host call", 7, (1,), duration=2, is_cpu_op=True, comm_type=0, comm_size=999)),
        framed(et_node(3, "ar", 7, (2,), comm_type=0, comm_size=4096, is_cpu_op=False, pg_name="tp")),
        framed(et_node(4, "load", 2, (3,), duration=5)),
    ]
    if send is not None:
        nodes.append(framed(et_node(5, "s", 5, (4,), comm_src=rank, comm_dst=send, comm_size=70, comm_tag=1)))
    if receive is not None:
        nodes.append(framed(et_node(6, "r", 6, (4,), comm_src=receive, comm_dst=rank, comm_size=70, comm_tag=1)))
    return b"".join(nodes)


def test_chakra_messages_give_bytes_peers_and_dependencies(load):
    parts = [graph(0, 1, None), graph(1, None, 0)]
    imported = load(*parts, name="job.{}.et", groups={"tp": [1, 0]})
    trace = imported.trace
    assert imported.report.format == "chakra-et"
    assert trace.groups == ((1, 0),)
    of_ranks = [(name, rank, -1, 0) for name in ("mm", "host call", "load") for rank in range(2)]
    assert sorted(rows(imported)) == sorted([*of_ranks, ("all-reduce", -1, -1, 4096), ("send-receive", 0, 1, 70)])
    last = len(trace) - 1
    assert trace.names[trace.name[last]] == "send-receive"
    # The transfer waits for its sender's load, the all-reduce for both ranks' host calls.
    loads = [i for i in range(len(trace)) if trace.names[trace.name[i]] == "load" and trace.source[i] == 0]
    assert trace.waits_for(last).tolist() == loads
    assert imported.report.skipped == {"global metadata": 2, "metadata": 2}


def test_nodes_left_out_still_pass_on_what_waits_for_them(load):
    """A collective without bytes is left out, but its 28 us stand between its neighbours."""
    nodes = [
        {"Id": 1, "Name": "a", "NodeType": 4, "data_deps": [], "runtime": 10, "is_cpu_op": False},
        {"Id": 2, "Name": "b", "NodeType": 7, "data_deps": [1], "runtime": 28, "is_cpu_op": False},
        {"Id": 3, "Name": "c", "NodeType": 4, "data_deps": [2], "runtime": 5, "is_cpu_op": False},
    ]
    imported = load(json.dumps({"workload_graph": nodes}).encode())
    trace = imported.trace
    assert [trace.names[n] for n in trace.name] == ["a", "join", "c"]
    assert trace.dependency.tolist() == [0, 1]
    assert trace.duration_s == pytest.approx([10e-6, 28e-6, 5e-6])


def test_graphs_with_starts_follow_them_unless_chained(load):
    nodes = [et_node(1, "a", 4, start=1000, duration=10), et_node(2, "b", 4, (1,), start=1050, duration=10)]
    raw = b"".join(map(framed, [et_metadata(), *nodes]))
    imported = load(raw, name="x.{}.et")
    assert imported.trace.start_s == pytest.approx([0, 50e-6])
    assert len(imported.trace.dependency) == 0
    assert load(raw, name="x.{}.et", chain=True).trace.dependency.tolist() == [0]


def test_contradicting_graphs_are_broken_up_and_noted(load):
    nodes = [{"Id": i, "Name": "x", "NodeType": 4, "data_deps": [1 - i], "runtime": 1} for i in range(2)]
    imported = load(json.dumps({"workload_graph": nodes}).encode())
    assert len(imported.trace) == 2 and len(imported.trace.dependency) == 1
    assert "contradict" in " ".join(imported.report.notes)


def test_a_missing_protobuf_is_named_with_its_extra(load, monkeypatch):
    chakra_protobuf.message_classes.cache_clear()
    for name in [name for name in sys.modules if name.startswith("google.protobuf")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "google.protobuf", None)
    with pytest.raises(InputError, match="chakra"):
        load(graph(0, None, None), name="x.{}.et")


def test_ranks_outside_the_trace_are_refused(load):
    with pytest.raises(InputError, match="at most 2 ranks"):
        load(kineto([kineto_comm(1, "allreduce", 640)]), ranks=2)


def test_repeated_imports_are_equal(load):
    parts = [graph(0, 1, None), graph(1, None, 0)]
    one, two = (load(*parts, name="job.{}.et").trace for _ in range(2))
    for name in ("kind", "name", "source", "target", "group", "size_bytes", "start_s", "first_dependency", "dependency"):
        assert np.array_equal(getattr(one, name), getattr(two, name))


@pytest.mark.parametrize(("name", "operation"), [("broadcast", "broadcast"), ("reduce", "reduce"), ("scatter", "scatter")])
def test_the_rank_of_a_rooted_collective_in_a_profile_is_its_root(load, name, operation):
    """PyTorch hands on the root where other collectives have the caller; it tells nothing of whose file it is."""
    files = {
        f"w{rank}.json": json.dumps({"traceEvents": [kineto_comm(1, name, 10, ranks="[4, 5]", group_size=2, Rank=1)]})
        for rank in (0, 1)
    }
    trace = load(files).trace
    assert [(trace.names[trace.name[0]], int(trace.source[0]), len(trace))] == [(operation, 5, 1)]


def test_collectives_of_gloo_are_named_as_what_has_no_bytes(load):
    """PyTorch 2.11 writes nodes gloo:broadcast in place of record_param_comms."""
    nodes = [host_node(5, "all_reduce", 3), {"id": 6, "name": "gloo:broadcast", "inputs": {"values": []}, "outputs": {}}]
    imported = load(json.dumps({"schema": "1.1.1-chakra.0.0.4", "nodes": nodes}))
    assert imported.report.skipped["a collective of gloo: no bytes are recorded (NCCL's are)"] == 1
