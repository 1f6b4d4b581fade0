"""Operations that are measured, what their size means, and the bytes each puts on the wire.

``size_bytes`` is the ``size`` column of nccl-tests (NVIDIA nccl-tests, ``doc/PERFORMANCE.md`` and the ``*GetCollByteCount``
functions of its sources), the larger of the send and the receive buffer of a rank:

=================  ===========================================================  =======================
operation          ``size_bytes``                                               wire bytes per rank
=================  ===========================================================  =======================
``alltoall``       a rank's whole buffer, the part for itself included           (n-1)/n of it
``all_gather``     what every rank ends up with, n times one rank's part         (n-1)/n of it
``reduce_scatter`` what every rank puts in, n times the part it ends up with     (n-1)/n of it
``all_reduce``     what every rank puts in                                       2(n-1)/n of it (ring)
``gather``         what the root ends up with                                    (n-1)/n of it, at the root
``scatter``        what the root puts in                                         (n-1)/n of it, at the root
``broadcast``      what the root puts in                                         all of it
``reduce``         what every rank puts in                                       all of it
``send_recv``      what a rank sends to one peer                                 all of it
=================  ===========================================================  =======================

Wire bytes over time is the *bus bandwidth* of nccl-tests, which is what compares with the line rate. Where switches reduce
(NVLink SHARP), an all-reduce sends less than a ring would, and its bus bandwidth may exceed the line rate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation among ranks.

    Attributes
    ----------
    name : str
        The name used throughout.
    wire_factor : callable
        Bytes that the busiest rank sends or receives, per byte of size, for a number of ranks.
    steps : callable
        Messages that follow one another on the longest chain, for a number of ranks: n-1 for a ring, twice that for
        the two rings of an all-reduce, 1 where all peers are addressed at once.
    """

    name: str
    wire_factor: Callable[[int], float]
    steps: Callable[[int], float]


def _all(ranks: int) -> float:
    return 1.0


def _to_others(ranks: int) -> float:
    return (ranks - 1) / ranks


def _ring(ranks: int) -> float:
    return float(ranks - 1)


OPERATIONS = {
    operation.name: operation
    for operation in (
        Operation("alltoall", _to_others, _ring),
        Operation("all_gather", _to_others, _ring),
        Operation("reduce_scatter", _to_others, _ring),
        Operation("all_reduce", lambda ranks: 2 * _to_others(ranks), lambda ranks: 2 * _ring(ranks)),
        Operation("gather", _to_others, _ring),
        Operation("scatter", _to_others, _ring),
        Operation("broadcast", _all, _ring),
        Operation("reduce", _all, _ring),
        Operation("send_recv", _all, _all),
    )
}

#: Operations that compute on what they move, so that the type of the elements may matter beside their bytes.
REDUCING = ("all_reduce", "reduce_scatter", "reduce")

#: Spellings of nccl-tests' programs and headers, of PyTorch, of NCCL's functions and of measured tables.
_OTHER_NAMES = {
    "alltoall": ("all_to_all", "alltoall", "all_to_all_single", "alltoallsingle"),
    "all_gather": ("all_gather", "allgather", "all_gather_into_tensor"),
    "reduce_scatter": ("reduce_scatter", "reducescatter", "reduce_scatter_tensor"),
    "all_reduce": ("all_reduce", "allreduce"),
    "broadcast": ("broadcast", "bcast"),
    "send_recv": ("send_recv", "sendrecv", "send", "recv", "p2p"),
    "gather": ("gather",),
    "scatter": ("scatter",),
    "reduce": ("reduce",),
}
_CANONICAL = {spelling: name for name, spellings in _OTHER_NAMES.items() for spelling in spellings}

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


def canonical(name: str) -> str | None:
    """Return the name of an operation in one of its spellings (``all_to_all_perf``, ``AllReduce``), None if there is none."""
    plain = name.strip().lower().replace("-", "_").replace(" ", "_")
    plain = plain.removeprefix("nccl").removesuffix("_perf").removesuffix("_test")
    return _CANONICAL.get(plain, _CANONICAL.get(plain.replace("_", "")))


def wire_factor(operation: str, ranks: int) -> float:
    """Return the bytes on the wire of the busiest rank per byte of size (nccl-tests' busbw over algbw)."""
    return OPERATIONS[operation].wire_factor(ranks)


def steps(operation: str, ranks: int) -> float:
    """Return how many messages follow one another on the longest chain."""
    return OPERATIONS[operation].steps(ranks)
