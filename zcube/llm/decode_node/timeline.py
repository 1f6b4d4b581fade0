"""Parts of a step with what each waits for, and where each worker's time goes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Account: TypeAlias = Literal["index", "attention", "experts", "head"]
Message: TypeAlias = Literal["all-reduce", "broadcast"]
ACCOUNTS: tuple[Account, ...] = ("index", "attention", "experts", "head")


@dataclass(frozen=True, slots=True)
class Part:
    """Something one kind of worker computes, or something all of them communicate.

    Attributes
    ----------
    name : str
        Operation.
    duration_s : float
        Time without waiting.
    after : tuple of int
        Parts of the same stretch it waits for; a computation also waits for its worker's previous one.
    worker : int
        Kind of worker that computes it, -1 for communication.
    account : str or None
        Where its time is booked; None for communication.
    message : str or None
        ``all-reduce`` or ``broadcast``; None for a computation.
    size_bytes : int
        Bytes one GPU puts into an all-reduce, or a broadcast sends to each peer.
    """

    name: str
    duration_s: float
    after: tuple[int, ...]
    worker: int = -1
    account: Account | None = None
    message: Message | None = None
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Stretch:
    """Parts between two moments at which all GPUs are level: from the end of one block's last computation to the next's.

    Attributes
    ----------
    name : str
        ``dense-layer``, ``expert-layer``, ``head``, ``draft-projection``, ``draft-layer`` or ``draft-head``.
    parts : tuple of Part
        Each after all it waits for.
    """

    name: str
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Spent:
    """Where one worker's time goes in a stretch; computation, exposed communication and waiting fill it.

    Attributes
    ----------
    busy_s : tuple of float
        Computation by :data:`ACCOUNTS`.
    exposed_s : float
        Communication during which the worker computes nothing.
    overlapped_s : float
        Communication during which it computes.
    waiting_s : float
        Neither: the other workers are not ready.
    """

    busy_s: tuple[float, float, float, float]
    exposed_s: float
    overlapped_s: float
    waiting_s: float

    def plus(self, other: Spent, times: int = 1) -> Spent:
        """Return this and ``times`` the other."""
        index, attention, experts, head = (mine + times * its for mine, its in zip(self.busy_s, other.busy_s))
        return Spent(
            (index, attention, experts, head),
            self.exposed_s + times * other.exposed_s,
            self.overlapped_s + times * other.overlapped_s,
            self.waiting_s + times * other.waiting_s,
        )


NOTHING_SPENT = Spent((0.0, 0.0, 0.0, 0.0), 0.0, 0.0, 0.0)


def times_s(parts: Sequence[Part]) -> list[tuple[float, float]]:
    """Return start and end of every part, from the start of the stretch."""
    times: list[tuple[float, float]] = []
    free_s: dict[int, float] = {}
    for part in parts:
        start_s = max([0.0, *(times[earlier][1] for earlier in part.after)])
        if part.worker >= 0:
            start_s = max(start_s, free_s.get(part.worker, 0.0))
            free_s[part.worker] = start_s + part.duration_s
        times.append((start_s, start_s + part.duration_s))
    return times


def length_s(parts: Sequence[Part]) -> float:
    """Return the time from the start of a stretch to the end of its last part."""
    return max(end_s for _, end_s in times_s(parts))


def spent(parts: Sequence[Part], worker: int) -> Spent:
    """Return where a worker's time goes; all workers take part in every communication."""
    times = times_s(parts)
    busy = {account: 0.0 for account in ACCOUNTS}
    computing, communicating = [], []
    for part, interval in zip(parts, times):
        if part.message is not None:
            communicating.append(interval)
        elif part.worker == worker and part.account is not None:
            busy[part.account] += part.duration_s
            computing.append(interval)
    total_s = max(end_s for _, end_s in times)
    # A worker computes one part at a time, and communications of a stretch follow each other.
    overlapped_s = sum(_common_s(computed, sent) for sent in communicating for computed in computing)
    exposed_s = max(0.0, _sum_s(communicating) - overlapped_s)
    index, attention, experts, head = (busy[account] for account in ACCOUNTS)
    waiting_s = max(0.0, total_s - _sum_s(computing) - exposed_s)
    return Spent((index, attention, experts, head), exposed_s, overlapped_s, waiting_s)


def _common_s(one: tuple[float, float], other: tuple[float, float]) -> float:
    return max(0.0, min(one[1], other[1]) - max(one[0], other[0]))


def _sum_s(intervals: Iterable[tuple[float, float]]) -> float:
    return sum(end_s - start_s for start_s, end_s in intervals)
