"""Chakra traces in the JSON form of its feeder: one document per rank with the array ``workload_graph``.

Keys of a node (MLCommons Chakra, feeder/JSONNode.cpp): ``Id``, ``Name``, ``NodeType``, ``data_deps``, ``runtime`` in
microseconds, ``is_cpu_op`` and, of communication, ``comm_type``, ``comm_size``, ``comm_src``, ``comm_dst``, ``comm_tag``.
``ngpus``, where it stands, is the number of ranks. What nodes mean is told in :mod:`~zcube.trace.importers.chakra_nodes`.
"""

from __future__ import annotations

from typing import Any

from zcube.trace.comm_trace import MAX_RANKS
from zcube.trace.importers.calls import Gathered, Options
from zcube.trace.importers.chakra_nodes import ChakraFile, Node, finish, node_times
from zcube.trace.importers.json_stream import JsonStream
from zcube.trace.importers.numbers import whole
from zcube.trace.importers.source import Source

_MAX_ID = (1 << 64) - 1


def recognise(head: bytes, name: str) -> bool:
    """Return whether a file is in the feeder's JSON form."""
    return head.lstrip()[:1] == b"{" and b'"workload_graph"' in head


def read(sources: list[Source], options: Options) -> Gathered:
    """Read the graphs of one job, one file per rank."""
    gathered = Gathered(False)
    files = []
    for source in sources:
        file = ChakraFile(source, gathered, options.dimensions)
        files.append(file)
        with source.guard():
            for member in JsonStream(source).members(("workload_graph",)):
                if member.key == "ngpus":
                    gathered.ranks = max(gathered.ranks, whole(member.value, MAX_RANKS) or 1)
                if member.element:
                    node = _node(member.value, source.number)
                    if isinstance(node, Node):
                        file.add(node)
                    else:
                        source.skip(node, member.value)
    finish(files, gathered, options)
    return gathered


def _node(value: Any, number: int) -> Node | str:
    if not isinstance(value, dict):
        return "not an object"
    id_, type_ = whole(value.get("Id"), _MAX_ID), whole(value.get("NodeType"), 100)
    if id_ is None or type_ is None:
        return "no usable Id and NodeType"
    deps = value.get("data_deps", value.get("dataDeps", []))
    deps = [whole(dep, _MAX_ID) for dep in deps] if isinstance(deps, list) else []
    start, duration = node_times(value.get("start_time_micros"), value.get("runtime", value.get("duration_micros")))
    return Node(id_, str(value.get("Name", "")), type_, tuple(d for d in deps if d is not None), start, duration, value, number)
