"""Copies of recordings that were cut, shuffled, doubled or overwritten end in a named error or in a trace that can be run."""

import json

import networkx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from measured_outputs import text
from recorded_formats import goal_binary, kineto_comm, nccl_call, nccl_init, samples

from zcube.calibrate.fitting import fit
from zcube.calibrate.readers import read_measured
from zcube.errors import InputError
from zcube.fabric.wiring.astra import dimensions
from zcube.fabric.wiring.formats import read_links
from zcube.trace.collectives import expand
from zcube.trace.importers.catalog import import_trace


def rails(prefix=""):
    lines = []
    for rank in range(4):
        place = {"pid": 10 + rank, "host": f"h{rank // 2}", "dev": rank % 2, "comm": 0xD0}
        lines.append(nccl_init(rank // 2, 2, comm_id=0xD0 + rank % 2, **place))
        lines.append(nccl_call("AllReduce", 1000, 7, **place))
    return "".join(prefix + line for line in lines)


def idle():
    event = kineto_comm(1, "all_to_allv", 1000, ranks="[0, 1]", group_size=2, **{"In split size": "[0, 1000]"})
    return json.dumps({"distributedInfo": {"rank": 0, "world_size": 2}, "traceEvents": [event]})


def stage():
    node = {"Id": 1, "Name": "ar", "NodeType": 7, "data_deps": [], "comm_type": 0, "comm_size": 1000, "pg_name": "0"}
    return json.dumps({"workload_graph": [node, node | {"Id": 2, "data_deps": [1], "involved_dim": [True, False]}], "ngpus": 4})


def pooled():
    line = (
        "INFO {} 13:28:50 [metrics.py:98] KV Transfer metrics: Num successful transfers=40, Avg xfer time (ms)=10.0, "
        "P90 xfer time (ms)=12.0, Avg MB per transfer=70.0, Throughput (MB/s)=7000.0\n"
    )
    return line.format("12-31") + line.format("01-01")


RING = (
    "rank,op,peer,bytes,duration_us,deps,tag\n0,send,1,5,,,0\n0,recv,1,5,,1,0\n0,calc,,,1.0,2,\n"
    "1,send,0,5,,,0\n1,recv,0,5,,4,0\n"
)
GOAL = (
    "num_ranks 3\nrank 0 {\na: calc 4000 cpu 1\nb: calc 5000\n"
    "s: send 9b to 1 tag 4 cpu 0 nic 1\ns requires a\ns irequires b\n}\n"
    "rank 1 {\nr: recv 9b from -1 tag -1\nt: send 0b to 2\nt requires r\n}\n"
    "rank 2 { // last\nr: recv 0b from 1\nc: calc 7 cpu 2\nc requires r\n}\n"
)
FLOWS = "3\n0 1 3 100 5000 2\n1 2 3 100 7 2.5\n2 0 3 100 9 3e0\n"


def binary():
    head, parts = goal_binary(
        [
            ([(3, 0, 4000, 0, 1, 0), (1, 1, 9, 4, 0, 0)], [(1, 0)], []),
            ([(2, 0, 9, 4, 0, 0), (3, 0, 50, 0, 0, 0), (1, 0, 70_000, 0, 0, 0)], [(1, 0)], [(2, 1)]),
            ([(2, 0xFFFFFFFF, 5, 0xFFFFFFFF, 0, 0)], [], []),
        ],
        max_cpu=1,
    )
    return head + b"".join(parts)


def of_form(form):
    return next(sample.content for sample in samples() if sample.format == form)


def nixl():
    lines = (f"INFO - Event: agent_{name}\nINFO - Value: {value}\n" for name, value in (("xfer_time", 900), ("tx_bytes", 5000)))
    return "".join(lines) * 2


TRACES = {
    "place.log": rails(),
    "ray.log": rails("(Worker pid=6, ip=10.0.0.6) "),
    "kubectl.log": rails("2025-06-01T10:00:00.123456789Z "),
    "ring.csv": RING,
    "rank0.json": idle(),
    "stage.0.json": stage(),
    "vllm.log": pooled(),
    "program.goal": GOAL,
    "program.bin": binary(),
    "flow.txt": FLOWS,
    "fct.txt": of_form("ns3-fct"),
    "sglang.log": of_form("sglang-kv"),
    "nixl.log": nixl(),
}
#: Small fabrics in the forms of other simulators.
FABRICS = {
    "ns3.txt": "4 1 3\n0\n0 1 100Gbps 0.001ms 0\n0 2 100Gbps 1000ns 0.0\n0 3 100Gbps 1us 0\n",
    "simai.txt": "5 2 1 2 4 A100\n2\n3 4\n0 2 3.6Tbps 25ns 0\n1 2 3600Gbps 0.025us 0.0\n0 3 200Gbps 0.5us 0\n3 4 2Gb/s 5us 0\n",
    "astra.yml": "topology: [ Switch, Switch ]\nnpus_count: [ 2, 3 ]\nbandwidth: [ 400, 50 ] # GB/s\nlatency: [ 5, 1.5 ]\n",
    "logical.json": '{"logical-dims": ["8", "2"]}',
    "infragraph.json": json.dumps(
        {
            "devices": [
                {
                    "name": "h",
                    "components": [{"name": "g", "choice": "xpu", "count": 2}, {"name": "n", "choice": "nic", "count": 2}],
                    "edges": [{"ep1": {"component": "g"}, "ep2": {"component": "n"}, "link": "p", "scheme": "one2one"}],
                },
                {"name": "s", "components": [{"name": "p", "choice": "port", "count": 4}]},
            ],
            "links": [{"name": "e", "physical": {"bandwidth": {"choice": "gigabits_per_second", "gigabits_per_second": 100}}}],
            "instances": [{"name": "h", "device": "h", "count": 2}, {"name": "l", "device": "s", "count": 1}],
            "edges": [
                {
                    "ep1": {"instance": "h[0:2]", "component": "n[:]"},
                    "ep2": {"instance": "l", "component": "p"},
                    "link": "e",
                    "scheme": "one2one",
                }
            ],
        }
    ),
}


def directed():
    graph = networkx.MultiDiGraph()
    for gpu in range(4):
        for u, v in ((f"s0g{gpu}", "leaf0"), ("leaf0", f"s0g{gpu}")):
            graph.add_edge(u, v, gbps=400, latency_s=5e-7)
    return "\n".join(networkx.generate_graphml(graph))


@st.composite
def mutated(draw, content):
    raw = bytearray(content if isinstance(content, bytes) else content.encode())
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(0, len(raw) - 1)))
        how = draw(st.sampled_from(["overwrite", "cut", "delete", "double", "shuffle", "number"]))
        if how == "overwrite":
            raw[at : at + 1] = draw(st.binary(min_size=1, max_size=2))
        elif how == "cut":
            raw = raw[: at + 1]
        elif how == "delete":
            del raw[at : at + draw(st.integers(1, 20))]
        elif how == "double":
            raw[at:at] = raw[max(0, at - 40) : at]
        elif how == "shuffle":
            raw = bytearray(b"\n".join(draw(st.permutations(bytes(raw).split(b"\n")))))
        else:
            raw[at : at + 1] = draw(st.sampled_from([b"0", b"-1", b"99999999999999999999", b"nan", b"1e400"]))
    return bytes(raw) or b"x"


@pytest.mark.parametrize("name", TRACES)
@settings(max_examples=100)
@given(data=st.data())
def test_a_mutated_recording_is_refused_by_name_or_runs(tmp_path_factory, name, data):
    path = tmp_path_factory.mktemp("mutated") / name
    path.write_bytes(data.draw(mutated(TRACES[name])))
    try:
        trace = import_trace([path]).trace
    except InputError as error:
        assert error.faults and all(fault.where and fault.found and fault.expected for fault in error.faults)
        return
    trace.check()
    expand(trace).check()


@settings(max_examples=100)
@given(data=st.data())
def test_a_mutated_measurement_is_refused_by_name_or_fitted(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("mutated") / "alltoall.txt"
    path.write_bytes(data.draw(mutated(text())))
    try:
        assert fit(read_measured(path), draws=0).curves
    except InputError as error:
        assert error.faults and all(fault.where and fault.found and fault.expected for fault in error.faults)


@settings(max_examples=100)
@given(data=st.data())
def test_a_mutated_graph_is_refused_by_name_or_read(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("mutated") / "d.graphml"
    path.write_bytes(data.draw(mutated(directed())))
    try:
        assert len(read_links(path).a)
    except InputError as error:
        assert error.faults and all(fault.where and fault.found and fault.expected for fault in error.faults)


@pytest.mark.parametrize("name", FABRICS)
@settings(max_examples=100)
@given(data=st.data())
def test_a_mutated_fabric_of_another_simulator_is_refused_by_name_or_read(tmp_path_factory, name, data):
    path = tmp_path_factory.mktemp("mutated") / name
    path.write_bytes(data.draw(mutated(FABRICS[name])))
    try:
        sizes = dimensions(path)
        assert sizes is None or min(sizes) > 1
        if name != "logical.json":
            assert len(read_links(path).a)
    except InputError as error:
        assert error.faults and all(fault.where and fault.found and fault.expected for fault in error.faults)


def test_graphml_of_an_unknown_encoding_is_an_input_error(tmp_path):
    path = tmp_path / "d.graphml"
    path.write_text(directed().replace("<graphml", '<?xml version="1.0" encoding="utf-99"?><graphml', 1))
    with pytest.raises(InputError, match="encoding"):
        read_links(path)
