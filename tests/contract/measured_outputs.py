"""Outputs of nccl-tests and NCCL Inspector as the programs print them (their sources' formats), to read and to spoil."""

from __future__ import annotations

import json

#: nccl-tests 2.17 (src/util.cu): all columns, two hosts.
HEADER = """\
# nccl-tests version 2.17.1 nccl-headers=22805 nccl-library=22805
# Collective test starting: {program}
# nThread 1 nGpus 1 minBytes 8192 maxBytes 134217728 step: 8(factor) warmup iters: 1 iters: 20 agg iters: 1 graph: 0
#
# Using devices
#  Rank  0 Group  0 Pid   6899 on     node-a device  0 [0000:04:00] NVIDIA H200
#  Rank  1 Group  0 Pid   6900 on     node-a device  1 [0000:05:00] NVIDIA H200
#  Rank  2 Group  0 Pid   6733 on     node-b device  0 [0000:04:00] NVIDIA H200
#  Rank  3 Group  0 Pid   6734 on     node-b device  1 [0000:05:00] NVIDIA H200
#
#                                                              out-of-place                       in-place
#       size         count      type   redop    root     time   algbw   busbw #wrong     time   algbw   busbw #wrong
#        (B)    (elements)                               (us)  (GB/s)  (GB/s)            (us)  (GB/s)  (GB/s)
"""
FOOTER = """\
# Out of bounds values : 0 OK
# Avg bus bandwidth    : 15.2
#
# Collective test concluded: {program}
"""
#: size and time in microseconds: 20 us and 40 GB/s.
SIZES = (8192, 65536, 524288, 4194304, 33554432)


def microseconds(size_bytes: int) -> float:
    return round(20.0 + size_bytes / 40e3, 2)


def line(size: int, time_us: float, ranks: int = 4, wrong: str = "0", in_place: str = "N/A") -> str:
    algbw = size / time_us / 1e3
    busbw = algbw * (ranks - 1) / ranks
    body = f"  {time_us:7.2f}  {algbw:6.2f}  {busbw:6.2f}  {wrong:>6}"
    second = f"  {time_us + 1:7.2f}  {algbw:6.2f}  {busbw:6.2f}  {in_place:>6}"
    return f"{size:12}  {size // 4:12}     float    none      -1{body}{second}"


def text(program: str = "alltoall_perf", footer: bool = True) -> str:
    lines = [line(size, microseconds(size)) for size in SIZES]
    return HEADER.format(program=program) + "\n".join(lines) + "\n" + (FOOTER.format(program=program) if footer else "")


#: nccl-tests of 2020: no program named, no redop or root in the table, 'error' for '#wrong', other device lines.
OLD = """\
# nThread 1 nGpus 2 minBytes 1024 maxBytes 1048576 step: 32(factor) warmup iters: 5 iters: 20 validation: 1
#
# Using devices
#   Rank  0 Pid  19522 on     node-a device  0 [0x07] Tesla V100-SXM2-32GB
#   Rank  1 Pid  19522 on     node-a device  1 [0x0a] Tesla V100-SXM2-32GB
#
#                                             out-of-place                       in-place
#       size         count    type     time   algbw   busbw  error     time   algbw   busbw  error
#        (B)    (elements)             (us)  (GB/s)  (GB/s)            (us)  (GB/s)  (GB/s)
        1024           128   float    11.18    0.09    0.05  0e+00    11.10    0.09    0.05  0e+00
       32768          4096   float    14.37    2.28    1.14  0e+00    14.20    2.31    1.15  0e+00
     1048576        131072   float    45.60   22.99   11.50  0e+00    45.30   23.15   11.57  0e+00
# Out of bounds values : 0 OK
# Avg bus bandwidth    : 4.24
"""


def document(**changes) -> dict:
    """nccl-tests -J, JSON version 2, of one process per GPU."""
    results = [
        {
            "size": size,
            "count": size // 16,
            "type": "float",
            "redop": "none",
            "root": "    -1",
            "out_of_place": {"time": microseconds(size), "alg_bw": 1.0, "bus_bw": 0.75, "nwrong": 0.0},
            "in_place": {"time": microseconds(size) + 1, "alg_bw": 1.0, "bus_bw": 0.75, "nwrong": None},
            "actual_iterations": 20,
            "experiment_name": "",
        }
        for size in SIZES
    ]
    devices = [
        {
            "rank": rank,
            "group": 0,
            "pid": 1,
            "hostname": "node-a",
            "device": rank,
            "device_hex": "0000:04:00",
            "device_info": "NVIDIA H200",
        }
        for rank in range(4)
    ]
    return {
        "version": 2,
        "start_time": "2026-01-01 00:00:00",
        "args": ["/opt/nccl-tests/build/alltoall_perf", "-J", "out.json"],
        "env": ["HOME=/home/me", "NCCL_DEBUG=INFO", "TOKEN=secret"],
        "nccl_version": 22805,
        "config": {"nthreads": 1, "ngpus": 1, "iterations": 20, "devices": devices},
        "results": results,
        "out_of_bounds": {"count": 0, "okay": "true"},
        "average_bus_bandwidth": {"bandwidth": 15.2, "okay": "unchecked"},
        "errors": [],
        "end_time": "2026-01-01 00:00:09",
    } | changes


def inspector(sizes=SIZES, operation: str = "AllGather", ranks: int = 4) -> str:
    """NCCL Inspector: per rank one record a call; the size is one rank's part."""
    records = []
    for number, size in enumerate(sizes):
        for call in range(3):
            for rank in range(ranks):
                body = {
                    "coll": operation,
                    "coll_sn": 3 * number + call,
                    "coll_msg_size_bytes": size // ranks,
                    "coll_exec_time_us": microseconds(size) + call - (rank != 2) * 5,
                    "coll_timing_source": "kernel_gpu",
                }
                records.append({"header": {"id": "0x7f", "rank": rank, "n_ranks": ranks, "nnodes": 1}, "coll_perf": body})
    return "\n".join(json.dumps(record) for record in records) + "\n"


def table(rows, head: str = "device,op_name,nccl_dtype,num_gpus,message_size,latency") -> str:
    return "\n".join([head, *(f"NVIDIA H200,{','.join(map(str, row))}" for row in rows)]) + "\n"
