"""Operations that are measured, what their size means, and the bytes each puts on the wire.

``size_bytes`` is the ``size`` column of nccl-tests (NVIDIA nccl-tests, ``doc/PERFORMANCE.md`` and the ``*GetCollByteCount``
functions of its sources), the larger of the send and the receive buffer of a rank:

=================  ===========================================================  =======================
operation          ``size_bytes``                                               wire bytes per rank
=================  ===========================================================  =======================
``all-to-all``     a rank's whole buffer, the part for itself included           (n-1)/n of it
``all-gather``     what every rank ends up with, n times one rank's part         (n-1)/n of it
``reduce-scatter`` what every rank puts in, n times the part it ends up with     (n-1)/n of it
``all-reduce``     what every rank puts in                                       2(n-1)/n of it (ring)
``gather``         what the root ends up with                                    (n-1)/n of it, at the root
``scatter``        what the root puts in                                         (n-1)/n of it, at the root
``broadcast``      what the root puts in                                         all of it
``reduce``         what every rank puts in                                       all of it
``send-receive``   what a rank sends to one peer                                 all of it
=================  ===========================================================  =======================

Wire bytes over time is the *bus bandwidth* of nccl-tests, which is what compares with the line rate inside a host. Where
switches reduce (NVLink SHARP), an all-reduce sends less than a ring would, and its bus bandwidth may exceed the line rate.

Over several hosts of ``g`` ranks each, with a NIC a rank, a NIC carries what leaves its host alone: of an all-to-all, a gather
and a scatter (n-g)/n of the size, of what goes by rings a ``g``-th of the above, since there is a ring per NIC and each leaves
the host once; of a send-receive all of it, since one pair of neighbours is on two hosts.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator

from zcube.arrays import FloatArray
from zcube.trace import operation_names
from zcube.trace.operation_names import RECEIVE, SEND, SEND_RECEIVE


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation among ranks.

    Attributes
    ----------
    name : str
        The name used throughout.
    wire_factor : callable
        Bytes that the busiest rank sends or receives, per byte of size, for a number of ranks.
    nic_factor : callable
        Bytes that the busiest NIC sends or receives, per byte of size, for a number of ranks and of ranks on a host.
    steps : callable
        Messages that follow one another on the longest chain, for a number of ranks: n-1 for a ring, twice that for
        the two rings of an all-reduce, 1 where all peers are addressed at once.
    """

    name: str
    wire_factor: Callable[[int], float]
    nic_factor: Callable[[int, int], float]
    steps: Callable[[int], float]


def _all(ranks: int) -> float:
    return 1.0


def _to_others(ranks: int) -> float:
    return (ranks - 1) / ranks


def _twice_to_others(ranks: int) -> float:
    return 2 * _to_others(ranks)


def _ring(ranks: int) -> float:
    return float(ranks - 1)


def _off_the_host(ranks: int, ranks_per_host: int) -> float:
    return (ranks - ranks_per_host) / ranks


def _in_rings(inside: Callable[[int], float]) -> Callable[[int, int], float]:
    return lambda ranks, ranks_per_host: inside(ranks) / ranks_per_host


OPERATIONS = {
    operation.name: operation
    for operation in (
        Operation("all-to-all", _to_others, _off_the_host, _ring),
        Operation("all-gather", _to_others, _in_rings(_to_others), _ring),
        Operation("reduce-scatter", _to_others, _in_rings(_to_others), _ring),
        Operation("all-reduce", _twice_to_others, _in_rings(_twice_to_others), lambda ranks: 2 * _ring(ranks)),
        Operation("gather", _to_others, _off_the_host, _ring),
        Operation("scatter", _to_others, _off_the_host, _ring),
        Operation("broadcast", _all, _in_rings(_all), _ring),
        Operation("reduce", _all, _in_rings(_all), _ring),
        Operation(SEND_RECEIVE, _all, lambda ranks, ranks_per_host: 1.0, _all),
    )
}

#: Operations that compute on what they move, so that the type of the elements may matter beside their bytes.
REDUCING = ("all-reduce", "reduce-scatter", "reduce")

# A ring of sends and receives, by nccl-tests' program and the names of the calls it consists of.
_PAIR = ("sendreceive", "sendrecv", "p2p", SEND, RECEIVE)

#: Bytes of one element, by the names that nccl-tests, NCCL's tables and PyTorch use.
DTYPE_BYTES = {
    **dict.fromkeys(
        (
            "int8",
            "uint8",
            "char",
            "fp8",
            "f8e4m3",
            "f8e5m2",
            "fp8e4m3",
            "fp8e5m2",
            "fp8_e4m3",
            "fp8_e5m2",
            "float8_e4m3",
            "float8_e4m3fn",
            "float8_e5m2",
        ),
        1,
    ),
    **dict.fromkeys(("half", "fp16", "float16", "bfloat16", "bf16", "int16", "uint16"), 2),
    **dict.fromkeys(("float", "float32", "fp32", "int32", "uint32", "int"), 4),
    **dict.fromkeys(("double", "float64", "fp64", "int64", "uint64"), 8),
}

#: Ways between two ranks; ``unspecified`` where the source does not say.
PATHS = ("nvlink", "shared-memory", "same-leaf", "across", "socket", "gloo", "unspecified")
#: Ways that stay inside a host, and ways that lead through the NICs of several, the one that a fabric is built for first.
#: ``socket`` is neither: NCCL's sockets copy through the processor, and between two ranks of one host they use no NIC at all.
HOST_PATHS = ("nvlink", "shared-memory")
NIC_PATHS = ("across", "same-leaf")


def canonical(name: str) -> str | None:
    """Return the name of a measured operation in any spelling (``all_to_all_perf``, ``ncclAllReduce``), None if it has none."""
    plain = name.strip().lower().removeprefix("nccl").removesuffix("_perf").removesuffix("_test")
    found = operation_names.canonical(plain)
    if found in _PAIR or re.sub(r"[^a-z0-9]", "", plain) in _PAIR:
        return SEND_RECEIVE
    return found if found in OPERATIONS else None


def respelled(name: str) -> str:
    """Return the name of an operation in any spelling, and a text that names none as it is."""
    return canonical(name[:100]) or name


#: A field of a file, or a setting, that takes any spelling.
OperationName = Annotated[str, AfterValidator(respelled)]


def wire_factor(operation: str, ranks: int, hosts: int = 1) -> float:
    """Return the bytes on the wire of the busiest rank per byte of size; over several hosts those of its NIC.

    On one host it is nccl-tests' busbw over algbw.
    """
    if hosts <= 1 or ranks < hosts:
        return OPERATIONS[operation].wire_factor(ranks)
    return OPERATIONS[operation].nic_factor(ranks, ranks // hosts)


def size_of(operation: str, ranks: int, put_in_bytes: FloatArray) -> FloatArray:
    """Return the size, as it is defined above, of operations into which every rank puts some bytes (as traces count them)."""
    return put_in_bytes * ranks if operation in ("all-gather", "gather") else put_in_bytes


def assumed_hosts(path: str, ranks: int) -> int:
    """Return on how many hosts ranks ran where a source does not say: each on its own if the path leads through NICs."""
    return ranks if path in NIC_PATHS else 1


def steps(operation: str, ranks: int) -> float:
    """Return how many messages follow one another on the longest chain."""
    return OPERATIONS[operation].steps(ranks)
