"""Traffic that tells fabrics apart, each as a matrix of rates between ranks.

``pairs``                one rank sends to one other, nothing else moves
``pairs-bidirectional``  two ranks send to each other at once; each direction's rate
``incast``               all ranks send to one at once; column = receiver, entry = rate of that sender
``outcast``              one rank sends to all others at once; row = sender, entry = rate to that receiver
``rails``                two or more hosts of two or more GPUs: all GPUs of the first host send to the second host's at
                         once, GPU i to GPU (i + s) mod L, for every shift s; the diagonal (s = 0) is same-rail, the rest
                         cross-rail

Row = sender, column = receiver, None = not measured. A rate is the message's bits over the median time of the slower end
(incast: of the sender; outcast: of the receiver).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from zcube.calibrate.measure.benchmarks import DTYPE_BYTES, MODULUS, Layer
from zcube.calibrate.measure.timing import Effort, quantile, take

PATTERNS = ("pairs", "pairs-bidirectional", "incast", "outcast", "rails")
#: Pairs are measured one after the other, n (n - 1) of them.
MAX_PAIR_RANKS = 64


@dataclass(frozen=True)
class Step:
    """Messages that move at once.

    Attributes
    ----------
    messages : tuple of (sender, receiver)
    timed_end : str
        ``"sender"``, ``"receiver"`` or ``"both"``: whose time counts.
    """

    messages: tuple[tuple[int, int], ...]
    timed_end: str = "both"


def steps(pattern: str, world: int, ranks_on_host: int) -> list[Step]:
    """Return what a pattern moves, step by step; nothing where there are too few ranks or hosts, or too many pairs."""
    ranks = range(world)
    if pattern in ("pairs", "pairs-bidirectional") and world > MAX_PAIR_RANKS:
        return []
    if pattern == "pairs":
        return [Step(((i, j),)) for i in ranks for j in ranks if i != j]
    if pattern == "pairs-bidirectional":
        return [Step(((i, j), (j, i))) for i in ranks for j in ranks if i < j]
    if pattern == "incast":
        return [Step(tuple((i, j) for i in ranks if i != j), "sender") for j in ranks] if world > 2 else []
    if pattern == "outcast":
        return [Step(tuple((i, j) for j in ranks if i != j), "receiver") for i in ranks] if world > 2 else []
    local = ranks_on_host
    if local < 2 or world < 2 * local:
        return []
    return [Step(tuple((i, local + (i + shift) % local) for i in range(local))) for shift in range(local)]


def entry(pattern: str, ranks_on_host: int, sender: int, receiver: int) -> tuple[int, int]:
    """Return the place of a message in the pattern's matrix."""
    return (sender, receiver % ranks_on_host) if pattern == "rails" else (sender, receiver)


def matrix_size(pattern: str, world: int, ranks_on_host: int) -> int:
    """Return the rows of the pattern's matrix."""
    return ranks_on_host if pattern == "rails" else world


@dataclass(frozen=True)
class Moved:
    """One pattern at one size.

    Attributes
    ----------
    gbps : list of list of float or None
        [sender][receiver].
    wrong : int
        Elements that were received wrong, over all ranks.
    """

    gbps: list[list[float | None]]
    wrong: int


def run_pattern(layer: Layer, pattern: str, size_bytes: int, dtype: str, ranks_on_host: int, effort: Effort) -> Moved | None:
    """Measure a pattern; None where it does not apply. Every rank must call it."""
    planned = steps(pattern, layer.world, ranks_on_host)
    count = size_bytes // DTYPE_BYTES[dtype]
    if not planned or not count:
        return None
    rows = matrix_size(pattern, layer.world, ranks_on_host)
    gbps: list[list[float | None]] = [[None] * rows for _ in range(rows)]
    wrong = 0
    sent = layer.empty(count, dtype)
    layer.fill(sent, layer.rank, MODULUS)
    for step in planned:
        call, received = _call(layer, step, sent, count, dtype)
        wrong += _check(layer, call, received)
        timing = take(layer, call, effort)
        medians = [quantile(times, 0.5) for times in timing.by_rank_s]
        for sender, receiver in step.messages:
            row, column = entry(pattern, ranks_on_host, sender, receiver)
            ends = {"sender": (sender,), "receiver": (receiver,), "both": (sender, receiver)}[step.timed_end]
            gbps[row][column] = count * DTYPE_BYTES[dtype] * 8e-9 / max(medians[rank] for rank in ends)
    return Moved(gbps, wrong)


Received = Sequence[tuple[Any, int]]


def _call(layer: Layer, step: Step, sent: Any, count: int, dtype: str) -> tuple[Callable[[], None], Received]:
    sends = [(sent, receiver) for sender, receiver in step.messages if sender == layer.rank]
    peers = [sender for sender, receiver in step.messages if receiver == layer.rank]
    receives = [(layer.empty(count, dtype), peer) for peer in peers]
    return (lambda: layer.exchange(sends, receives)), receives


def _check(layer: Layer, call: Callable[[], None], received: Received) -> int:
    for buffer, _ in received:
        layer.poison(buffer)
    call()
    found = sum(layer.wrong(buffer, (peer,), 0, MODULUS) for buffer, peer in received)
    return round(sum(line[0] for line in layer.share([float(found)])))


def memory_per_size(patterns: Sequence[str], world: int) -> Iterator[int]:
    """Yield, by pattern, how many buffers of a size a rank holds at most."""
    for pattern in patterns:
        yield world if pattern == "incast" else 2
