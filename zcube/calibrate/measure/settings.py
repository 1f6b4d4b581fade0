"""What ``zcube calibrate run`` measures, as one declared value."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from zcube.calibrate.measure.benchmarks import DTYPE_BYTES, OPERATIONS
from zcube.calibrate.measure.patterns import PATTERNS
from zcube.calibrate.operations import OperationName
from zcube.errors import Fault, FaultList, InputError
from zcube.inputs import Declared

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
#: Largest message that may be asked for; what the GPU's memory does not hold is left out by the worker.
MAX_SIZE_BYTES = 64 * GIB
MAX_RANKS = 4096

PathMode = Literal["nvlink", "shared-memory", "socket", "network"]
SizeBytes = int


def doubling(first_bytes: int, last_bytes: int) -> tuple[int, ...]:
    """Return sizes from the first to at most the last, each twice the one before."""
    sizes, size = [], first_bytes
    while 0 < size <= last_bytes:
        sizes.append(size)
        size *= 2
    return tuple(sizes)


class MeasureSettings(Declared):
    """What is measured and how the ranks are started.

    A path mode says what NCCL may use, not what it takes: ``nvlink`` leaves NCCL alone, ``shared-memory`` forbids peer
    access, ``socket`` makes every rank of one host its own host to NCCL and forbids InfiniBand, ``network`` does the
    first without the second (real NICs of one host, or several hosts). The rows' path is what NCCL said that it took.
    """

    operations: tuple[OperationName, ...] = Field(default=OPERATIONS, min_length=1, description="what is measured")
    sizes_bytes: tuple[SizeBytes, ...] = Field(
        default=doubling(KIB, GIB), min_length=1, max_length=1000, description="nccl-tests' sizes"
    )
    dtypes: tuple[str, ...] = Field(default=("bfloat16",), min_length=1, description="types of the elements")
    ranks: tuple[int, ...] = Field(default=(), description="GPUs per run, one run each; empty: all GPUs that are there")
    path: PathMode = Field(default="nvlink", description="what NCCL may use")
    patterns: tuple[str, ...] = Field(default=PATTERNS, description="matrices between all pairs of ranks")
    pattern_sizes_bytes: tuple[SizeBytes, ...] = Field(
        default=(64 * KIB, 64 * MIB), max_length=100, description="message sizes of these"
    )

    warmup: int = Field(default=5, ge=3, le=1000, description="calls before anything is timed")
    budget_s: float = Field(default=0.2, gt=0, le=600, description="seconds of repetitions per operation and size")
    least_repetitions: int = Field(default=5, ge=5, le=10_000, description="of each size")
    most_repetitions: int = Field(default=100, ge=5, le=10_000, description="of each size")
    timeout_s: float = Field(default=900.0, gt=0, le=86_400, description="after which a run of the ranks is killed")

    driver: Literal["auto", "torch", "nccl-tests"] = Field(
        default="auto", description="PyTorch or the nccl-tests programs; auto: whichever is there"
    )
    backend: Literal["nccl", "gloo"] = Field(
        default="nccl", description="what carries the bytes; gloo without GPUs, to try the command"
    )
    python: Path | None = Field(default=None, description="the Python that has PyTorch; default: this one")
    nccl_tests: Path | None = Field(default=None, description="folder of the nccl-tests binaries; default: the PATH")
    nodes: int = Field(default=1, ge=1, le=MAX_RANKS, description="hosts; start the command on each, or give hosts")
    node_rank: int = Field(default=0, ge=0, le=MAX_RANKS, description="this host's number; 0 writes the file")
    master: str = Field(default="", max_length=300, pattern=r"^([\w.:\[\]-]+:\d+)?$", description="HOST:PORT of node 0")
    hosts: str = Field(
        default="", max_length=10_000, pattern=r"^([\w.,:-]+)?$", description="HOST[:SLOTS],... for mpirun; the first writes"
    )
    ranks_per_host_id: int = Field(
        default=1, ge=1, le=MAX_RANKS, description="socket and network on one host: ranks that are one host to NCCL"
    )
    network_path: Literal["same-leaf", "across"] = Field(
        default="across", description="whether the NICs used hang on one leaf switch; the rows' path where NCCL took them"
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        faults = [
            f"{name} {unknown[0]!r}, expected some of {', '.join(known)}"
            for name, given, known in (
                ("operations", self.operations, OPERATIONS),
                ("dtypes", self.dtypes, tuple(DTYPE_BYTES)),
                ("patterns", self.patterns, PATTERNS),
            )
            if (unknown := [value for value in given if value not in known])
        ]
        for name in ("sizes_bytes", "pattern_sizes_bytes"):
            if not all(0 < size <= MAX_SIZE_BYTES for size in getattr(self, name)):
                faults.append(f"{name}: every size above 0 and at most {MAX_SIZE_BYTES}")
        if not all(2 <= count <= MAX_RANKS for count in self.ranks):
            faults.append(f"ranks: 2 to {MAX_RANKS} each")
        if self.least_repetitions > self.most_repetitions:
            faults.append("least_repetitions at most most_repetitions")
        if self.nodes > 1 and not (self.master or self.hosts):
            faults.append("several nodes need master (torchrun on each node) or hosts (mpirun)")
        if self.nodes > 1 and not self.ranks:
            faults.append("several nodes need ranks, over all of them")
        if self.node_rank >= self.nodes:
            faults.append("node_rank below nodes")
        if self.nodes > 1 and any(count % self.nodes for count in self.ranks):
            faults.append("ranks: a multiple of nodes")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    @property
    def splits_hosts(self) -> bool:
        """Whether ranks of one host are to be different hosts to NCCL."""
        return self.path == "socket" or (self.path == "network" and self.nodes == 1)

    def plan(self, result: Path) -> dict[str, Any]:
        """Return what the worker reads, as plain JSON values."""
        keys = (
            "operations", "sizes_bytes", "dtypes", "patterns", "pattern_sizes_bytes", "warmup", "budget_s",
            "least_repetitions", "most_repetitions", "timeout_s", "backend",
        )  # fmt: skip
        plan = {key: getattr(self, key) for key in keys}
        split = self.ranks_per_host_id if self.splits_hosts and self.backend == "nccl" else 0
        return plan | {"ranks_per_host_id": split, "result": str(result)}


def parse_size_bytes(text: str) -> int:
    """Return the bytes of ``1048576``, ``64K``, ``64KiB``, ``256M`` or ``1GiB``; all are powers of 1024, as in nccl-tests.

    Raises
    ------
    InputError
        If it is none of these.
    """
    plain = text.strip().lower().removesuffix("b").removesuffix("i")
    unit = {"k": KIB, "m": MIB, "g": GIB}.get(plain[-1:], 0)
    digits = plain[:-1] if unit else plain
    # isdecimal alone admits digits of other scripts, which int() reads but no one means.
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= 15 and 0 < int(digits) * (unit or 1) <= MAX_SIZE_BYTES):
        raise InputError(Fault("size", repr(text)[:60], "bytes, or a number with K, M or G, up to 64G"))
    return int(digits) * (unit or 1)


def parse_sizes(text: str) -> tuple[int, ...]:
    """Return the sizes of ``1K,4K,1M`` or of a range ``1K-1G``, which doubles; the two may be mixed.

    Raises
    ------
    InputError
        With every part that is no size.
    """
    sizes: set[int] = set()
    faults = FaultList()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        with faults:
            sizes.update(doubling(parse_size_bytes(first), parse_size_bytes(last)) if dash else (parse_size_bytes(first),))
    faults.check()
    if not sizes:
        raise InputError(Fault("sizes", repr(text)[:60], "at least one size; a range runs upwards"))
    return tuple(sorted(sizes))
