"""The operations that are timed: what each rank puts in, what it must end up with, and the call itself.

Sizes are those of nccl-tests (its ``*GetCollByteCount`` functions): an all-to-all's, all-gather's and reduce-scatter's size is
the larger of a rank's two buffers, n times the part of one peer; that of the others is the buffer. A size is rounded
down to whole elements for every peer.

Every element sent has a value that depends on its sender and its place, so that data of the wrong rank, of the wrong offset
or not written at all is seen. The values are small whole numbers, exact in each type; those that are summed are so small
that the sum over all ranks is exact as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

DTYPE_BYTES = {"uint8": 1, "bfloat16": 2, "float32": 4}
#: The largest prime below 256; every whole number below it is exact in each type.
MODULUS = 251
#: bfloat16 holds whole numbers up to 256 exactly, uint8 those up to 255, of which 255 marks what was not written.
_LARGEST_SUM = {"uint8": 254, "bfloat16": 256, "float32": 1 << 24}


class Layer(Protocol):
    """What the benchmarks need of a communication library; buffers are its own."""

    rank: int
    world: int

    def empty(self, count: int, dtype: str) -> Any:
        """Return a buffer of ``count`` elements."""

    def part(self, buffer: Any, first: int, count: int) -> Any:
        """Return a view of some elements."""

    def fill(self, buffer: Any, source: int, modulus: int) -> None:
        """Write what rank ``source`` sends."""

    def poison(self, buffer: Any) -> None:
        """Write a value that is never sent."""

    def copy(self, target: Any, source: Any) -> None:
        """Copy one buffer to another of its length."""

    def wrong(self, buffer: Any, sources: Sequence[int], first: int, modulus: int) -> int:
        """Return how many elements differ from the sum of what ``sources`` hold from element ``first`` on."""

    def alltoall(self, received: Any, sent: Any) -> None:
        """Send the j-th part to rank j."""

    def all_gather(self, received: Any, sent: Any) -> None:
        """Collect every rank's buffer."""

    def reduce_scatter(self, received: Any, sent: Any) -> None:
        """Sum up and keep the own part."""

    def all_reduce(self, buffer: Any) -> None:
        """Sum up in place."""

    def broadcast(self, buffer: Any, root: int) -> None:
        """Send the root's buffer to all."""

    def exchange(self, sends: Sequence[tuple[Any, int]], receives: Sequence[tuple[Any, int]]) -> None:
        """Send and receive (buffer, peer) at once and wait; every rank calls it, with nothing where it takes no part."""

    def share(self, values: Sequence[float]) -> list[list[float]]:
        """Return the values of every rank, by rank; each gives as many."""

    def timed(self, call: Callable[[], None], batch: int) -> tuple[float, bool]:
        """Return the seconds per call of ``batch`` calls, begun at once on all ranks, and whether launching was hidden."""

    def free_bytes(self) -> int:
        """Return the memory to be had for buffers."""


@dataclass(frozen=True)
class Piece:
    """Elements that a rank must end up with.

    Attributes
    ----------
    first, count : int
        Where they lie in the received buffer.
    sources : tuple of int
        Ranks whose elements are summed; one where data only moves.
    source_first : int
        Where the elements lie in the senders' buffers.
    """

    first: int
    count: int
    sources: tuple[int, ...]
    source_first: int


@dataclass(frozen=True)
class Benchmark:
    """One operation.

    Attributes
    ----------
    operation, pattern : str
        As in the file of measurements; the pattern is empty for the plain operation over all ranks.
    parted : bool
        Whether the size is divided among the ranks.
    send_parts, receive_parts : bool
        Whether the buffer holds a part for every rank (else one).
    in_place, reduces : bool
        Whether one buffer serves both ways; whether values are summed.
    pieces : callable
        ``(rank, world, part_count)`` to what the rank must end up with.
    call : callable
        ``(layer, sent, received)``.
    """

    operation: str
    pattern: str
    parted: bool
    send_parts: bool
    receive_parts: bool
    in_place: bool
    reduces: bool
    pieces: Callable[[int, int, int], list[Piece]]
    call: Callable[[Layer, Any, Any], None]

    @property
    def label(self) -> str:
        """Name for progress lines."""
        return f"{self.operation} {self.pattern}".strip()

    def part_count(self, size_bytes: int, world: int, dtype: str) -> int:
        """Return the elements of one part, 0 where the size is too small."""
        return size_bytes // ((world if self.parted else 1) * DTYPE_BYTES[dtype])

    def size_bytes(self, part_count: int, world: int, dtype: str) -> int:
        """Return the size that the elements of one part make."""
        return part_count * (world if self.parted else 1) * DTYPE_BYTES[dtype]


def modulus(reduces: bool, world: int, dtype: str) -> int:
    """Return how many values elements take.

    Raises
    ------
    ValueError
        If a sum over so many ranks is not exact in the type.
    """
    if not reduces:
        return MODULUS
    values = min(MODULUS, _LARGEST_SUM[dtype] // world + 1)
    if values < 2:
        raise ValueError(f"sums over {world} ranks are not exact in {dtype}; measure with float32")
    return values


def value(index: Any, rank: int, values: int) -> Any:
    """Return what a rank sends at an index; whole numbers, arrays and tensors of whole numbers alike.

    The index enters at three scales, so that a shift by a multiple of the modulus shows as well.
    """
    return (index * 7 + (index >> 8) * 13 + (index >> 16) * 29 + rank * 101) % values


def _everyone(world: int) -> tuple[int, ...]:
    return tuple(range(world))


def _one_way_pairs(layer: Layer, sent: Any, received: Any) -> None:
    odd = layer.rank % 2
    sends = [(sent, layer.rank + 1)] if not odd and layer.rank + 1 < layer.world else []
    layer.exchange(sends, [(received, layer.rank - 1)] if odd else [])


def _ring(layer: Layer, sent: Any, received: Any) -> None:
    layer.exchange([(sent, (layer.rank + 1) % layer.world)], [(received, (layer.rank - 1) % layer.world)])


def _from_all(rank: int, world: int, count: int, source_first: int) -> list[Piece]:
    return [Piece(peer * count, count, (peer,), source_first) for peer in range(world)]


BENCHMARKS: tuple[Benchmark, ...] = (
    Benchmark(
        "all-to-all", "", True, True, True, False, False,
        lambda rank, world, count: _from_all(rank, world, count, rank * count),
        lambda layer, sent, received: layer.alltoall(received, sent),
    ),
    Benchmark(
        "send-receive", "", False, False, False, False, False,
        lambda rank, world, count: [Piece(0, count, ((rank - 1) % world,), 0)],
        _ring,
    ),
    Benchmark(
        "send-receive", "one-way-pairs", False, False, False, False, False,
        lambda rank, world, count: [Piece(0, count, (rank - 1,), 0)] if rank % 2 else [],
        _one_way_pairs,
    ),
    Benchmark(
        "all-gather", "", True, False, True, False, False,
        lambda rank, world, count: _from_all(rank, world, count, 0),
        lambda layer, sent, received: layer.all_gather(received, sent),
    ),
    Benchmark(
        "reduce-scatter", "", True, True, False, False, True,
        lambda rank, world, count: [Piece(0, count, _everyone(world), rank * count)],
        lambda layer, sent, received: layer.reduce_scatter(received, sent),
    ),
    Benchmark(
        "all-reduce", "", False, False, False, True, True,
        lambda rank, world, count: [Piece(0, count, _everyone(world), 0)],
        lambda layer, sent, received: layer.all_reduce(received),
    ),
    Benchmark(
        "broadcast", "", False, False, False, True, False,
        lambda rank, world, count: [Piece(0, count, (0,), 0)],
        lambda layer, sent, received: layer.broadcast(received, 0),
    ),
)  # fmt: skip

OPERATIONS = tuple(dict.fromkeys(benchmark.operation for benchmark in BENCHMARKS))


class Prepared:
    """One benchmark at one size on one rank: its buffers, its call and its check.

    Parameters
    ----------
    layer : Layer
    benchmark : Benchmark
    part_count : int
        Elements of one part.
    dtype : str
    """

    def __init__(self, layer: Layer, benchmark: Benchmark, part_count: int, dtype: str):
        self.layer, self.benchmark, self.part_count = layer, benchmark, part_count
        self.values = modulus(benchmark.reduces, layer.world, dtype)
        self.sent = layer.empty(part_count * (layer.world if benchmark.send_parts else 1), dtype)
        self.received = layer.empty(part_count * (layer.world if benchmark.receive_parts else 1), dtype)
        layer.fill(self.sent, layer.rank, self.values)

    def reset(self) -> None:
        """Make the received buffer ready: an operation in place starts from what is sent, any other from poison."""
        if self.benchmark.in_place and (self.benchmark.reduces or self.layer.rank == 0):
            self.layer.copy(self.received, self.sent)
        else:
            self.layer.poison(self.received)

    def call(self) -> None:
        """Carry out the operation once."""
        self.benchmark.call(self.layer, self.sent, self.received)

    def wrong(self) -> int:
        """Carry out the operation once from fresh buffers and return the wrong elements over all ranks."""
        self.reset()
        self.call()
        found = sum(
            self.layer.wrong(
                self.layer.part(self.received, piece.first, piece.count), piece.sources, piece.source_first, self.values
            )
            for piece in self.benchmark.pieces(self.layer.rank, self.layer.world, self.part_count)
        )
        return round(sum(line[0] for line in self.layer.share([float(found)])))
