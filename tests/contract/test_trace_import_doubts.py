"""Records that may not be what they seem: said with their number, and read right where the file tells."""

import json

import pytest
from recorded_formats import et_node, framed, kineto_comm, kineto_kernel, nccl_call, nccl_init, proto_field

from zcube.errors import InputError
from zcube.trace.comm_trace import Kind


def graph(*nodes, ranks=4):
    found = [{"Id": number, "data_deps": [], "is_cpu_op": False} | node for number, node in enumerate(nodes)]
    return json.dumps({"workload_graph": found, "ngpus": ranks})


def said(imported, text):
    return [note for note in imported.report.notes if text in note]


REAL = {"Name": "c", "NodeType": 7, "comm_type": 0, "comm_size": 64}


@pytest.mark.parametrize("count", [1, 3])
def test_collectives_of_some_dimensions_are_counted(load, count):
    imported = load(*[graph(*[REAL | {"involved_dim": [True, False]}] * count, REAL | {"involved_dim": [True, True]})] * 4)
    assert said(imported, "involved_dim")[0].startswith(f"{4 * count} collectives name only some dimensions")
    described = REAL | {"involved_dim": [True, False], "pg_name": "tp"}
    imported = load(*[graph(described)] * 4, groups={"tp": [0, 1]})
    assert imported.trace.groups == ((0, 1),)
    assert not said(imported, "involved_dim")


def test_dimensions_in_protobuf_are_read(load):
    dimensions = proto_field(10, proto_field(1, "involved_dim") + proto_field(28, proto_field(1, b"\x01\x00")))
    content = framed(et_node(1, "c", 7, comm_type=0, comm_size=64, is_cpu_op=False) + dimensions)
    assert said(load(content, content, name="t.{}.et"), "involved_dim")[0].startswith("2 collectives")


@pytest.mark.parametrize(
    "kernel",
    [
        "ncclDevKernel_AllReduce_Sum_f32_RING_LL(x)",
        "ncclKernel_AllGather",
        "ncclSymkDevKernel_AllReduce_AGxLL_R_sum",
        "ncclSymDevKernel_AllGather_LL",
    ],
)
def test_computations_named_as_kernels_of_nccl_are_counted(load, kernel):
    nodes = [{"Name": kernel, "NodeType": 4, "runtime": 5}] * 2 + [{"Name": "gemm", "NodeType": 4, "runtime": 7}, REAL]
    imported = load(*[graph(*nodes)] * 4)
    assert said(imported, "names of NCCL's kernels")[0].startswith("8 computations")


@pytest.mark.parametrize(
    ("name", "number", "operation", "told"),
    [
        ("ncclDevKernel_AllGather_RING_LL(x)", 0, "all-gather", "name"),
        ("nccl:_reduce_scatter_base", 0, "reduce-scatter", "name"),
        ("nccl:all_to_all", 0, "all-to-all", "name"),
        ("ncclDevKernel_AllReduce_Sum", 2, "all-gather", "type"),
        ("ncclDevKernel_SendRecv(x)", 6, "all-to-all", None),
        ("ncclDevKernel_AllReduce_Sum", 0, "all-reduce", None),
        ("AllGatherLayer", 0, "all-reduce", None),
    ],
)
def test_a_type_that_contradicts_the_name_is_noted(load, name, number, operation, told):
    imported = load(*[graph(REAL | {"Name": name, "comm_type": number})] * 4)
    assert imported.trace.names == (operation,)
    notes = said(imported, "contradicts their name")
    assert bool(notes) == (told is not None)
    if told:
        assert notes[0].startswith("4 collectives") and notes[0].endswith(f"the {told} counts")


def test_sends_without_a_peer_are_counted(load):
    imported = load(
        *[graph({"Name": "s", "NodeType": 5, "comm_size": 9}, {"Name": "r", "NodeType": 6, "comm_size": 9}, REAL)] * 4
    )
    assert said(imported, "name no peer")[0].startswith("8 sends or receives")


@pytest.mark.parametrize("kernel", ["ncclSymkDevKernel_AllReduce_AGxLL_R_sum", "ncclSymDevKernel_AllReduce_RSxLD_AGxST"])
def test_kernels_of_symmetric_memory_are_collectives_of_a_profile(load, kernel):
    events = [kineto_comm(1, "allreduce", 10), kineto_kernel(1, 150.0, 30.0, name=kernel)]
    profile = json.dumps({"distributedInfo": {"rank": 0}, "traceEvents": events})
    trace = load(profile).trace
    assert trace.kind.tolist() == [Kind.COLLECTIVE]
    assert trace.duration_s.tolist() == pytest.approx([30e-6])


def test_failed_calls_of_a_wrapper_are_left_out(load):
    lines = [{"t0": 1.0, "t1": 1.0003, "bytes": 1 << 30, "gpu": 0, "peer": 8, "ret": -1}]
    lines += [{"t0": 2.0, "t1": 2.01, "bytes": 1000, "gpu": 0, "peer": 8, "ret": 0}]
    imported = load("\n".join(map(json.dumps, lines)) + "\n")
    assert imported.trace.size_bytes.tolist() == [1000]
    assert imported.report.skipped == {"a call that failed (ret is not 0)": 1}


def test_a_log_that_is_given_twice_is_refused_by_name(load):
    content = nccl_init(0, 1) + nccl_call("AllReduce", 1000, 7)
    with pytest.raises(InputError, match=r"t\.1\.json: found what .*t\.0\.json says"):
        load(content, content)


def test_equal_files_of_ranks_that_are_alike_are_no_copies(load):
    assert load(graph(REAL, ranks=2), graph(REAL, ranks=2)).trace.groups == ((0, 1),)


def test_given_groups_that_no_file_names_are_said_to_be_unused(load):
    imported = load(graph(REAL | {"pg_name": "0"}, ranks=2), groups={"7": [0, 1]})
    assert any("has a name that was given" in note for note in imported.report.notes)


def test_dependencies_on_records_that_are_not_there_are_counted(load):
    imported = load("rank,op,duration_us,deps\n0,calc,1.0,7;8\n0,calc,1.0,1\n")
    assert any(note.startswith("2 deps") for note in imported.report.notes)
    assert imported.trace.waits_for(1).tolist() == [0]


def test_dimensions_of_a_topology_are_groups_of_the_ranks_that_differ_in_them(load):
    """Twelve ranks as 2 x 3 x 2, rank = x + 2 y + 6 z."""
    node = REAL | {"involved_dim": [False, True, False]}
    imported = load(*[graph(node, REAL | {"involved_dim": [True, False, True]}, ranks=12)] * 12, dimensions=(2, 3, 2))
    middle = {tuple(x + 2 * y + 6 * z for y in range(3)) for x in range(2) for z in range(2)}
    outer = {tuple(sorted(x + 2 * y + 6 * z for x in range(2) for z in range(2))) for y in range(3)}
    assert set(imported.trace.groups) == middle | outer
    assert not said(imported, "involved_dim")


@pytest.mark.parametrize("sizes", [(2, 3), (2, 3, 1)])
def test_dimensions_that_do_not_fit_are_told_as_none(load, sizes):
    imported = load(*[graph(REAL | {"involved_dim": [False, True, False]}, ranks=12)] * 12, dimensions=sizes)
    assert said(imported, "involved_dim")


def test_a_topology_that_a_format_does_not_need_is_said_to_be_unused(load):
    assert said(load(graph(REAL, ranks=2), hosts=(0, 1)), "says nothing that this format needs")
    assert not said(load(graph(REAL, ranks=2), dimensions=(2,)), "says nothing that this format needs")
