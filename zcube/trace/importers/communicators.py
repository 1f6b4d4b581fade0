"""Numbering the ranks of a trace where a format knows ranks only within each communicator."""

from __future__ import annotations

from dataclasses import dataclass, field

from zcube.trace.comm_trace import MAX_RANKS, NONE
from zcube.trace.importers.calls import MAX_MEMBERS, Gathered, Role


@dataclass
class _Communicator:
    size: int
    #: Rank in the communicator -> process.
    members: dict[int, str] = field(default_factory=dict)
    processes: dict[str, int] = field(default_factory=dict)


class Communicators:
    """Who takes part in which communicator, under which rank.

    Ranks of the trace are those of the largest communicator, usually the world's. Communicators that share no process with
    those numbered before, such as replicas, get the next ranks. A communicator of which not all members were seen is
    completed evenly from those that were, or as consecutive ranks if only one was.
    """

    def __init__(self) -> None:
        self._communicators: dict[str, _Communicator] = {}
        self._members = 0

    def join(self, communicator: str, rank: int, size: int, process: str) -> bool:
        """Note a process in a communicator; return whether that fits what is known of it."""
        known = self._communicators.get(communicator)
        if known is None:
            if not 1 <= size <= MAX_RANKS or self._members + size > MAX_MEMBERS:
                return False
            self._members += size
            known = self._communicators[communicator] = _Communicator(size)
        if known.size != size or not 0 <= rank < size:
            return False
        if known.processes.get(process, rank) != rank:
            # One process that drives several GPUs.
            process = f"{process}#{rank}"
        if known.members.setdefault(rank, process) != process:
            return False
        known.processes[process] = rank
        return True

    def size(self, communicator: str) -> int:
        """Return the ranks of a communicator, 0 if it is unknown."""
        known = self._communicators.get(communicator)
        return known.size if known else 0

    def to_trace(self, gathered: Gathered) -> None:
        """Give ranks their numbers, and turn ranks of communicators in calls into ranks of the trace."""
        self._number(gathered)
        for call in gathered.calls:
            group = gathered.groups.get(call.group)
            if group is None:
                # Nobody can place its ranks; a collective without a group is left out and counted.
                call.role, call.rank, call.peer = Role.COLLECTIVE, 0, NONE
            else:
                call.rank, call.peer = group[call.rank], group[call.peer] if call.peer != NONE else NONE

    def _number(self, gathered: Gathered) -> None:
        """Give every communicator its ranks of the trace, as a group of its name."""
        rank_of: dict[str, int] = {}
        free, guessed = 0, 0
        for name, communicator in sorted(self._communicators.items(), key=lambda item: -item[1].size):
            known = {rank: rank_of[process] for rank, process in communicator.members.items() if process in rank_of}
            missing = [rank for rank in range(communicator.size) if rank not in known]
            if not known:
                numbers = {rank: free + rank for rank in missing}
            else:
                fresh = [rank for rank in missing if rank in communicator.members]
                numbers = known | {rank: free + place for place, rank in enumerate(fresh)}
                unseen = [rank for rank in missing if rank not in communicator.members]
                guessed += bool(unseen)
                numbers |= _completed(numbers, unseen)
            for rank, process in communicator.members.items():
                if rank in numbers:
                    rank_of[process] = numbers[rank]
            free = max(free, 1 + max(numbers.values(), default=-1))
            if len(numbers) == communicator.size:
                gathered.add_group(name, [numbers[rank] for rank in range(communicator.size)])
        gathered.ranks = max(gathered.ranks, free)
        if guessed:
            gathered.note(f"{guessed} communicators: not all members were seen; their ranks are completed evenly")


def _completed(numbers: dict[int, int], unseen: list[int]) -> dict[int, int]:
    """Return numbers for ranks nobody saw, on the line through those that were; none if that does not fit."""
    if not unseen:
        return {}
    first, last = min(numbers), max(numbers)
    step, rest = divmod(numbers[last] - numbers[first], last - first) if last > first else (1, 0)
    base = numbers[first] - step * first
    fits = not rest and base >= 0 and all(number == base + step * rank for rank, number in numbers.items())
    return {rank: base + step * rank for rank in unseen} if fits and step > 0 else {}
