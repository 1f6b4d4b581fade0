"""Writers of every recorded format, as the tools that write it print it; independent of the importers."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass


@dataclass(frozen=True)
class Sample:
    """A file of known content: each record is used by itself, and ``totals`` say what comes of all."""

    format: str
    name: str
    prefix: bytes
    records: tuple[bytes, ...]
    suffix: bytes
    #: Bytes of each record's operation, as the trace should have them.
    sizes: tuple[int, ...]
    #: Records that a reader counts before the first of these.
    before: int = 0
    #: Whether a file that ends between two records is known to be cut.
    closed: bool = True

    @property
    def content(self) -> bytes:
        return self.prefix + b"".join(self.records) + self.suffix


def nccl_call(
    op, count, datatype, *, opc=0, root=0, comm=0x55D0C8A0, nranks=2, pid=4242, host="node1", dev=0, stream=0x10, ts=""
):
    """The printf of enqueue.cc."""
    return (
        f"{ts}{host}:{pid}:{pid + 68} [{dev}] NCCL INFO {op}: opCount {opc:x} sendbuff 0x7f2a40000000 recvbuff 0x7f2a40000000 "
        f"count {count} datatype {datatype} op 0 root {root} comm {comm:#x} [nranks={nranks}] stream {stream:#x}\n"
    )


def nccl_init(rank, nranks, *, comm=0x55D0C8A0, pid=4242, host="node1", dev=0, comm_id=0x27A079B828FF1A75):
    return (
        f"{host}:{pid}:{pid + 68} [{dev}] NCCL INFO ncclCommInitRank comm {comm:#x} rank {rank} nranks {nranks} cudaDev {dev} "
        f"nvmlDev {dev} busId 1b000 commId {comm_id:#x} - Init COMPLETE\n"
    )


def inspector(rank, n_ranks, coll, size, sn, *, ts=None, exec_us=100, dump=1_748_030_377_748_202, comm="0x7f8c496ae9f661"):
    perf = {"coll": coll, "coll_sn": sn, "coll_msg_size_bytes": size, "coll_exec_time_us": exec_us}
    if ts is not None:
        perf["event_trace_ts"] = {"coll_start_ts": ts, "coll_stop_ts": ts + 5, "kernel_events": []}
    return {
        "header": {"id": comm, "rank": rank, "n_ranks": n_ranks, "nnodes": 1},
        "metadata": {"inspector_output_format_version": "v4.0", "dump_timestamp_us": dump, "hostname": "h", "pid": 100 + rank},
        "coll_perf": perf,
    }


def chrome_coll(rank, count, seq, *, phase="b", ts=100.0, name="AllReduce", datatype="ncclFloat32"):
    args = {"SeqNum": seq, "CommHash": 1493613951195738943, "Rank": rank, "Count": count, "Datatype": datatype, "nChannels": 2}
    event = {"name": name, "cat": "COLL", "ph": phase, "id": seq, "pid": 225798 + rank, "tid": 1, "ts": ts}
    return event | ({"args": args} if phase == "b" else {})


def kineto_comm(ident, name, elements, *, ranks="[0, 1, 2, 3]", dtype="Float", ts=100.0, group_size=4, **more):
    args = {
        "External id": ident, "Collective name": name, "dtype": dtype, "In msg nelems": elements, "Out msg nelems": elements,
        "In split size": "[]", "Out split size": "[]", "Group size": group_size, "Process Group Name": "0",
        "Process Group Ranks": ranks,
    }  # fmt: skip
    return {
        "ph": "X", "cat": "cpu_op", "name": "record_param_comms", "pid": 7, "tid": 7, "ts": ts, "dur": 12.5, "args": args | more
    }  # fmt: skip


def kineto_kernel(ident, ts, dur, *, name="ncclDevKernel_AllReduce_Sum_f32_RING_LL(ncclDevComm*)", **args):
    args = {"External id": ident, "device": 0, "stream": 27, "correlation": ident} | args
    return {"ph": "X", "cat": "kernel", "name": name, "pid": 0, "tid": 27, "ts": ts, "dur": dur, "args": args}


def host_node(ident, op, elements, *, width=2, rank=0, world=2, pg=12345):
    tensor = [14, 15, 0, elements, width, "cuda:0"]
    values = [[tensor], ident, pg, rank, op, [], [], world]
    return {
        "id": ident, "name": "record_param_comms", "ctrl_deps": 2, "inputs": {"values": values, "shapes": [], "types": []},
        "outputs": {"values": [], "shapes": [], "types": []}, "attrs": [{"name": "tid", "type": "uint64", "value": 1}],
    }  # fmt: skip


def varint(value):
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def proto_field(number, value):
    """One protobuf field: a whole number as varint, text and bytes by length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    raw = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(raw)) + raw


def framed(message):
    return varint(len(message)) + message


def et_node(ident, name, kind, deps=(), *, start=0, duration=0, **attributes):
    """A Chakra Node; attributes as int64_val (9), bool_val (27) or string_val (29)."""
    message = proto_field(1, ident) + proto_field(2, name) + proto_field(3, kind)
    if deps:
        message += proto_field(5, b"".join(varint(dep) for dep in deps))
    message += proto_field(6, start) + proto_field(7, duration)
    for key, value in attributes.items():
        number = 27 if isinstance(value, bool) else 9 if isinstance(value, int) else 29
        message += proto_field(10, proto_field(1, key) + proto_field(number, int(value) if isinstance(value, bool) else value))
    # A field of a type that nobody reads must not disturb: outputs.
    return message + proto_field(9, proto_field(1, "x"))


def et_metadata():
    attribute = proto_field(1, "schema") + varint(3 << 3 | 1) + struct.pack("<d", 1.5)
    return proto_field(1, "0.0.4") + proto_field(2, attribute)


def goal_binary(schedules, max_cpu=0, max_nic=0):
    """LogGOPSim's Graph::serialize_mmap: (operations, requires, irequires) of every rank.

    An operation is (type, peer, size, tag, cpu, nic); a dependency is (later, earlier).
    """
    parts = []
    for operations, requires, irequires in schedules:
        counts = [sum(later == i for later, _ in (*requires, *irequires)) for i in range(len(operations))]
        roots = [i for i, count in enumerate(counts) if not count]
        body, appendix = b"", []
        for i, (kind, peer, size, tag, cpu, nic) in enumerate(operations):
            body += struct.pack("<IbIQIBB", counts[i], kind, peer, size, tag, cpu, nic)
            for pairs in (requires, irequires):
                after = [later for later, earlier in pairs if earlier == i]
                body += struct.pack("<II", len(after), len(appendix))
                appendix += after
        head = struct.pack(f"<II{len(roots)}I", len(operations), len(roots), *roots)
        parts.append(head + body + struct.pack(f"<{len(appendix)}I", *appendix))
    place, table = 6 + 16 * len(parts), b""
    for part in parts:
        table += struct.pack("<QQ", place, place + len(part))
        place += len(part)
    return struct.pack("<QIBB", 4223, len(parts), max_cpu, max_nic) + table, parts


def _lines(*texts):
    return tuple((text if isinstance(text, str) else json.dumps(text) + "\n").encode() for text in texts)


def _array(head, records, tail="]"):
    parts = [json.dumps(record).encode() + (b",\n" if i + 1 < len(records) else b"\n") for i, record in enumerate(records)]
    return head.encode(), tuple(parts), tail.encode()


HCCL_ID = "127.10.0.1%eth_60000_0_1741318944927847"


def hccl_line(text, pid=100, at="11:43:32.305.623"):
    """One line of HCCL's run log, as Huawei's guide shows it."""
    return f"[INFO] HCCL({pid},python):2025-03-07-{at} [op_base.cc:56] [{pid + 1}]Entry-Hccl{text}\n"


def hccl_init(rank, ranks, pid=100, name=HCCL_ID):
    where = f"rootinfo: host ip[127.10.0.1] port[60000] nicDeploy[1] identifier[{name}], deviceLogicId[{rank}]"
    return hccl_line(f"CommInitRootInfoInner:ranks[{ranks}], rank[{rank}], {where}", pid)


def hccl_call(call, count, datatype="float32", rank=0, pid=100, name=HCCL_ID, at="11:43:32.305.623", key="count", stream=7):
    words = f"tag[{call}_{name}], sendBuf[0x1241d3dcdc00], recvBuf[0x124702f40200], {key}[{count}], dataType[{datatype}]"
    return hccl_line(
        f"{call}: {words}, op[sum], localRank[{rank}], streamId[{stream}],comm[0xfffe3800], deviceLogicId[0]", pid, at
    )


def samples():
    """One file of each format, whose records can be cut anywhere."""
    found = []
    calls = [nccl_call("AllReduce", 1000 * (i + 1), 9, opc=i, stream=0x55D0B1F0) for i in range(5)]
    found.append(
        Sample(
            "nccl-log", "n.log", (nccl_init(0, 2)).encode(), _lines(*calls), b"", tuple(2000 * (i + 1) for i in range(5)),
            before=1, closed=False,
        )
    )  # fmt: skip
    calls = [hccl_call("AllReduce", 1000 * (i + 1), "bfloat16", at=f"11:43:32.305.{i:03d}") for i in range(5)]
    sizes = tuple(2000 * (i + 1) for i in range(5))
    found.append(
        Sample(
            "hccl-log", "plog-100_1.log", hccl_init(0, 2).encode(), _lines(*calls), b"", sizes,
            before=1, closed=False,
        )
    )  # fmt: skip
    records = [inspector(0, 4, "AllReduce", 4096 * (i + 1), i, ts=1000 + i) for i in range(5)]
    sizes = tuple(4096 * (i + 1) for i in range(5))
    found.append(Sample("nccl-inspector", "i.json", b"", _lines(*records), b"", sizes, closed=False))
    head, parts, tail = _array("[\n", [chrome_coll(1, 100 * (i + 1), i) for i in range(5)])
    found.append(Sample("nccl-chrome", "c.json", head, parts, tail, tuple(400 * (i + 1) for i in range(5))))
    events = [kineto_comm(i, "allreduce", 10 * (i + 1), ts=100.0 + i) for i in range(5)]
    head, parts, tail = _array(
        '{"schemaVersion": 1, "distributedInfo": {"rank": 1}, "traceEvents": [\n', events, '], "x": "é"}'
    )
    found.append(Sample("kineto", "k.json", head, parts, tail, tuple(40 * (i + 1) for i in range(5))))
    nodes = [host_node(i + 5, "all_gather", 3 * (i + 1)) for i in range(5)]
    head, parts, tail = _array('{"schema": "1.0.2-chakra.0.0.4", "pid": 1, "nodes": [\n', nodes, '], "finish_ts": 5}')
    found.append(Sample("pytorch-et", "h.json", head, parts, tail, tuple(6 * (i + 1) for i in range(5))))
    graph = [
        {
            "Id": i,
            "Name": "c",
            "NodeType": 7,
            "data_deps": [],
            "runtime": 3,
            "is_cpu_op": False,
            "comm_type": 0,
            "comm_size": 7 + i,
        }
        for i in range(5)
    ]
    head, parts, tail = _array('{"ngpus": 8, "workload_graph": [\n', graph, "]}")
    found.append(Sample("chakra-json", "w.0.json", head, parts, tail, tuple(7 + i for i in range(5))))
    found.append(
        Sample(
            "chakra-et", "w.1.et", framed(et_metadata()),
            tuple(framed(et_node(i, "é c", 7, comm_type=0, comm_size=300 + i, is_cpu_op=False)) for i in range(5)), b"",
            tuple(300 + i for i in range(5)), before=1, closed=False,
        )
    )  # fmt: skip
    sent = [f"2026-01-02 03:04:{i:02d},500 INFO sent r{i}: rank=0 seq={100 * i} {i}.5 MB in {i}.25 ms\n" for i in range(1, 6)]
    sizes = tuple(i * 1_000_000 + 500_000 for i in range(1, 6))
    found.append(Sample("tilert-kv", "t.log", b"", _lines(*sent), b"", sizes, closed=False))
    metrics = [
        f"INFO 01-02 03:04:{i:02d} [x.py:1] KV Transfer metrics: Num successful transfers=1, Avg xfer time (ms)=9.862, P90 "
        f"xfer time (ms)=9.862, Avg post time (ms)=5.693, P90 post time (ms)=5.693, Avg MB per transfer={i}.0, Throughput "
        "(MB/s)=7097.952, Avg number of descriptors=56.0\n"
        for i in range(1, 6)
    ]
    found.append(Sample("vllm-kv", "v.log", b"", _lines(*metrics), b"", tuple(i << 20 for i in range(1, 6)), closed=False))
    prefill = [
        f"[2025-06-01 10:00:0{i} TP0] Req Time Stats(rid=r{i}, bootstrap_room=7{i}, input len=9, output len=1, type=prefill): "
        f"queue_duration=1.00ms, transfer_speed={i}.50 GB/s, transfer_total={i}.25 MB, #retries=0\n"
        for i in range(1, 6)
    ]
    sizes = tuple((4 * i + 1) << 18 for i in range(1, 6))
    found.append(Sample("sglang-kv", "s.log", b"", _lines(*prefill), b"", sizes, closed=False))
    stats = [
        f"I0102 03:04:{5 * i:02d}.000123  77 transfer_engine_impl.cpp:600] [Metrics] Transfer Engine Stats (over last 5s): "
        f"Throughput: {i}.00 MB/s | Latency Distribution (count=4): 200-500μs:100.0%\n"
        for i in range(1, 6)
    ]
    found.append(
        Sample("mooncake-kv", "m.log", b"", _lines(*stats), b"", tuple(5 * i << 20 for i in range(1, 6)), closed=False)
    )
    wrapped = [{"t0": 10.0 + i, "t1": 10.5 + i, "session": "s", "n_desc": 237, "bytes": 70 + i, "gpu": 0} for i in range(5)]
    found.append(Sample("kv-wrapper", "w.jsonl", b"", _lines(*wrapped), b"", tuple(70 + i for i in range(5)), closed=False))
    rows = [f"0,send,1,{50 + i},{i},,,t{i}x\n" for i in range(5)]
    head = b"rank,op,peer,bytes,start_us,duration_us,deps,tag\n"
    found.append(Sample("goal-csv", "g.csv", head, _lines(*rows), b"", tuple(50 + i for i in range(5)), before=1, closed=False))
    sends = [f"l{i}: send {50 + i}b to 1 tag 7 cpu 0\n" for i in range(5)]
    head = b"num_ranks 2\nrank 1 {\n}\nrank 0 {\n"
    found.append(Sample("goal", "g.goal", head, _lines(*sends), b"}", tuple(50 + i for i in range(5)), before=4))
    flows = [f"{i} {i + 5} 3 100 {70 + i} 2\n" for i in range(5)]
    nothing = b"0 1 3 100 0 2"
    found.append(Sample("ns3-flows", "flow.txt", b"6\n", _lines(*flows), nothing, tuple(70 + i for i in range(5)), before=1))
    done = [f"0b000{1 + i}01 0b001001 10000 100 {80 + i} 2000000000 {9 + i} {3 + i}\n" for i in range(5)]
    sizes = tuple(80 + i for i in range(5))
    found.append(Sample("ns3-fct", "fct.txt", b"", _lines(*done), b"", sizes, closed=False))
    head, parts = goal_binary([([(1, (i + 1) % 5, 50 + i, 0, 0, 0)], [], []) for i in range(5)])
    found.append(Sample("goal-bin", "g.bin", head, tuple(parts), b"", tuple(50 + i for i in range(5))))
    return found


def rows(imported):
    """Return name, source, target and bytes of every operation of an imported trace."""
    trace = imported.trace
    return [
        (trace.names[trace.name[i]], int(trace.source[i]), int(trace.target[i]), int(trace.size_bytes[i]))
        for i in range(len(trace))
    ]
