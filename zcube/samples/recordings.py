"""A sample job, recorded twice: NCCL's log of each host, and PyTorch's profile of each rank. Nothing ran; it says so.

Each layer gathers and reduce-scatters inside a host and ends with an all-reduce over all ranks.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass

from zcube.seeds import stream

HOSTS, GPUS, LAYERS = 2, 8, 4
RANKS = HOSTS * GPUS
#: What PyTorch calls a collective, and where a rank's buffer counts in NCCL's log: what each rank puts in, or gets.
TORCH_NAMES = {"AllGather": "_allgather_base", "ReduceScatter": "_reduce_scatter_base", "AllReduce": "allreduce"}
#: Rate that recorded durations are made of, by whether the call leaves a host, and their scatter.
BYTES_PER_S, SCATTER = {False: 150e9, True: 40e9}, 0.03
PID, BFLOAT16_BYTES, NCCL_BFLOAT16 = 4200, 2, 9


@dataclass(frozen=True, slots=True)
class _Collective:
    """One collective as a rank calls it: elements that each rank puts in, the ranks, when its kernels ran."""

    name: str
    elements: int
    ranks: tuple[int, ...]
    start_us: float
    span_us: float

    @property
    def nccl_count(self) -> int:
        """Return the count in NCCL's log, of a reduce-scatter the part that a rank gets."""
        return self.elements // len(self.ranks) if self.name == "ReduceScatter" else self.elements


def host_log(seed: int, host: int) -> bytes:
    """Return NCCL's debug log of a host's ranks."""
    return "".join(line for rank in range(host * GPUS, (host + 1) * GPUS) for line in _log_lines(seed, rank)).encode()


def rank_profile(seed: int, rank: int) -> bytes:
    """Return PyTorch's profile of a rank, packed."""
    events = [event for number, call in enumerate(_calls(seed, rank)) for event in _events(number, call)]
    document = {
        "schemaVersion": 1,
        "made": "by zcube demo; nothing was measured",
        "distributedInfo": {"backend": "nccl", "rank": rank, "world_size": RANKS},
        "traceEvents": events,
    }
    return gzip.compress(json.dumps(document).encode(), mtime=0)


def _calls(seed: int, rank: int) -> Iterator[_Collective]:
    """Yield what a rank calls; all ranks draw the same durations."""
    draws = stream(seed, "sample-job")
    start_us, host = 1000.0, rank // GPUS
    inside, world = tuple(range(host * GPUS, (host + 1) * GPUS)), tuple(range(RANKS))
    for layer in range(LAYERS):
        elements = 1 << (20 + layer % 3)
        for name, put_in, ranks in (
            ("AllGather", elements, inside),
            ("ReduceScatter", GPUS * elements, inside),
            ("AllReduce", elements, world),
        ):
            wire = _wire_bytes(name, put_in * BFLOAT16_BYTES, len(ranks))
            span_us = (20e-6 + wire / BYTES_PER_S[ranks is world]) * 1e6 * float(draws.lognormal(0.0, SCATTER))
            yield _Collective(name, put_in, ranks, start_us, round(span_us, 3))
            start_us = round(start_us + span_us + float(draws.exponential(150.0)), 3)


def _wire_bytes(name: str, put_in_bytes: int, ranks: int) -> float:
    """Return the bytes that one GPU sends in a ring."""
    parts = {"AllGather": ranks - 1, "ReduceScatter": (ranks - 1) / ranks, "AllReduce": 2 * (ranks - 1) / ranks}
    return put_in_bytes * parts[name]


def _log_lines(seed: int, rank: int) -> Iterator[str]:
    host, device = divmod(rank, GPUS)
    head = f"sample-host{host}:{PID + rank}:{PID + rank} [{device}] NCCL INFO "
    inside, world = 0x5500_0000 + 0x1000 * rank, 0x5500_0800 + 0x1000 * rank
    for comm, number, size, name in ((world, rank, RANKS, 0x5A), (inside, device, GPUS, 0xA0 + host)):
        yield (
            f"{head}ncclCommInitRank comm {comm:#x} rank {number} nranks {size} cudaDev {device} nvmlDev {device} "
            f"busId {0x1000 * (4 + device):x} commId {name:#x} - Init COMPLETE\n"
        )
    calls = dict.fromkeys((inside, world), 0)
    for call in _calls(seed, rank):
        comm = world if len(call.ranks) == RANKS else inside
        ranks = len(call.ranks)
        yield (
            f"{head}{call.name}: opCount {calls[comm]:x} sendbuff 0x7f0000000000 recvbuff 0x7f1000000000 count "
            f"{call.nccl_count} datatype {NCCL_BFLOAT16} op 0 root 0 comm {comm:#x} [nranks={ranks}] stream 0x55d0b1f0\n"
        )
        calls[comm] += 1


def _events(number: int, call: _Collective) -> Iterator[dict[str, object]]:
    """Yield the operator on the CPU and its kernel."""
    ranks = len(call.ranks)
    received = {"AllGather": call.elements * ranks, "ReduceScatter": call.elements // ranks}.get(call.name, call.elements)
    metadata = {
        "External id": number + 1,
        "Collective name": TORCH_NAMES[call.name],
        "dtype": "BFloat16",
        "In msg nelems": call.elements,
        "Out msg nelems": received,
        "In split size": "[]",
        "Out split size": "[]",
        "Group size": ranks,
        "Process Group Name": "0" if ranks == RANKS else f"host{call.ranks[0] // GPUS}",
        "Process Group Ranks": json.dumps(list(call.ranks)),
    }
    yield {
        "ph": "X", "cat": "cpu_op", "name": "record_param_comms", "pid": 1, "tid": 1,
        "ts": round(call.start_us - 30.0, 3), "dur": 20.0, "args": metadata,
    }  # fmt: skip
    yield {
        "ph": "X", "cat": "kernel", "name": f"ncclDevKernel_{call.name}_bf16_RING_LL", "pid": 0, "tid": 7,
        "ts": call.start_us, "dur": call.span_us, "args": {"External id": number + 1, "device": 0, "stream": 7},
    }  # fmt: skip
