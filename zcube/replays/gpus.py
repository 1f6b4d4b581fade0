"""Which GPU of a fabric a name or a rank means."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from zcube.arrays import IntArray
from zcube.errors import Fault, InputError
from zcube.fabric.model import Fabric
from zcube.trace.comm_trace import CommTrace

_GPU_NAME = re.compile(r"s(0|[1-9][0-9]{0,8})g(0|[1-9][0-9]{0,8})", re.ASCII)
_GPU_NUMBER = re.compile(r"[0-9]{1,10}(\.0)?", re.ASCII)


def gpu_numbers(fabric: Fabric, names: Sequence[str]) -> IntArray:
    """Return the GPU of each name, a number or like ``s3g5`` (server 3, GPU 5); -1 where there is none."""
    return np.array([_gpu_number(fabric, name) for name in names], dtype=np.int64)


def known_gpus(fabric: Fabric) -> str:
    """Return which names of GPUs there are."""
    last = fabric.gpus - 1
    return f"a GPU of {fabric.name}: 0 to {last}, or {fabric.node_name(0)} to {fabric.node_name(last)}"


def gpus_of_ranks(fabric: Fabric, trace: CommTrace, first_server: int = 0, server_stride: int = 1) -> IntArray:
    """Return the GPU each rank of a trace runs on [ranks].

    Node ``k`` of the trace is server ``first_server + k * server_stride``, and its ranks are that server's first GPUs, so that
    a rank keeps its rail.

    Raises
    ------
    InputError
        If the trace's nodes are larger than the fabric's servers, or more than there are from the first one on.
    """
    faults = []
    ranks, ranks_per_node = trace.ranks, trace.ranks_per_node
    nodes = -(-ranks // ranks_per_node)
    if ranks_per_node > fabric.gpus_per_server:
        found = f"{ranks_per_node} ranks a node"
        faults.append(Fault(trace.source_name, found, f"at most the {fabric.gpus_per_server} GPUs a server of {fabric.name}"))
    if first_server < 0 or server_stride < 1:
        faults.append(Fault("--first-server and --server-stride", f"{first_server} and {server_stride}", "at least 0 and 1"))
    elif nodes and first_server + (nodes - 1) * server_stride >= fabric.servers:
        last = first_server + (nodes - 1) * server_stride
        found = f"{nodes} nodes, the last on server {last}"
        faults.append(Fault(trace.source_name, found, f"servers 0 to {fabric.servers - 1}"))
    if faults:
        raise InputError(faults)
    rank = np.arange(ranks)
    server = first_server + rank // ranks_per_node * server_stride
    return server * fabric.gpus_per_server + rank % ranks_per_node


def _gpu_number(fabric: Fabric, name: str) -> int:
    if _GPU_NUMBER.fullmatch(name):
        number = int(name.removesuffix(".0"))
    elif match := _GPU_NAME.fullmatch(name):
        server, local = map(int, match.groups())
        number = server * fabric.gpus_per_server + local if local < fabric.gpus_per_server else -1
    else:
        return -1
    return number if number < fabric.gpus else -1
