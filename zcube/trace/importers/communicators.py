"""Numbering the ranks of a trace where a format knows ranks only within each communicator."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field

from zcube.node import GPUS_PER_NODE
from zcube.trace.comm_trace import MAX_RANKS, NONE
from zcube.trace.importers.calls import MAX_MEMBERS, Gathered, Options, Role


@dataclass(frozen=True, slots=True)
class Process:
    """A rank's process and GPU, as far as a record tells.

    Attributes
    ----------
    name : str
        Host, process, device: what a record calls itself. In containers several may have one name.
    writer : hashable
        The file, or the part of one, that the record stands in.
    host : str
        "" where it is not recorded.
    device : tuple
        Orders the GPUs of a host; empty where it is not recorded.
    """

    name: str
    writer: Hashable = None
    host: str = ""
    device: tuple[int, ...] = ()


@dataclass
class _Communicator:
    size: int
    #: Rank in the communicator -> process.
    members: dict[int, Process] = field(default_factory=dict)
    ranks: dict[tuple[str, Hashable], int] = field(default_factory=dict)


class Communicators:
    """Who takes part in which communicator, under which rank.

    Where every member was seen and hosts are recorded, ranks of the trace go by host and by device in it, so that nodes of the
    trace are hosts; hosts and GPUs of unknown device keep the order of the largest communicator. Else ranks of the trace are
    those of the largest communicator, usually the world's, and communicators that share no process with those numbered before,
    such as replicas, get the next ranks. A communicator of which not all members were seen is completed evenly from those that
    were, or as consecutive ranks if only one was.
    """

    def __init__(self) -> None:
        self._communicators: dict[str, _Communicator] = {}
        self._members = 0
        #: Names that different processes bear, as one communicator has them under several ranks.
        self._shared: set[str] = set()
        #: (name, writer) -> the writer under which the same process was seen before.
        self._same: dict[tuple[str, Hashable], Hashable] = {}

    def join(self, communicator: str, rank: int, size: int, process: Process) -> bool:
        """Note a process in a communicator; return whether that fits what is known of it."""
        known = self._communicators.get(communicator)
        if known is None:
            if not 1 <= size <= MAX_RANKS or self._members + size > MAX_MEMBERS:
                return False
            self._members += size
            known = self._communicators[communicator] = _Communicator(size)
        if known.size != size or not 0 <= rank < size:
            return False
        if known.ranks.get((process.name, process.writer), rank) != rank:
            # One process that drives several GPUs.
            process = Process(f"{process.name}#{rank}", process.writer, process.host, process.device)
        before = known.members.setdefault(rank, process)
        if before.name != process.name:
            return False
        if before.writer != process.writer:
            self._same[process.name, process.writer] = before.writer
        if any(name == process.name and other != rank for (name, _), other in known.ranks.items()):
            self._shared.add(process.name)
        known.ranks[process.name, process.writer] = rank
        return True

    def size(self, communicator: str) -> int:
        """Return the ranks of a communicator, 0 if it is unknown."""
        known = self._communicators.get(communicator)
        return known.size if known else 0

    def to_trace(self, gathered: Gathered, options: Options) -> None:
        """Give ranks their numbers, and turn ranks of communicators in calls into ranks of the trace."""
        self._number(gathered, options)
        for call in gathered.calls:
            group = gathered.groups.get(call.group)
            if group is None:
                # Nobody can place its ranks; a collective without a group is left out and counted.
                call.role, call.rank, call.peer = Role.COLLECTIVE, 0, NONE
            else:
                call.rank, call.peer = group[call.rank], group[call.peer] if call.peer != NONE else NONE

    def _identity(self, process: Process) -> Hashable:
        """Return what tells a process from all others; records of one in several files are one."""
        if process.name not in self._shared:
            return process.name
        return process.name, self._same.get((process.name, process.writer), process.writer)

    def _number(self, gathered: Gathered, options: Options) -> None:
        """Give every communicator its ranks of the trace, as a group of its name."""
        largest_first = sorted(self._communicators.items(), key=lambda item: -item[1].size)
        processes = {
            self._identity(process): process
            for _, communicator in largest_first
            for _, process in sorted(communicator.members.items())
        }
        whole = all(len(communicator.members) == communicator.size for _, communicator in largest_first)
        if whole and all(process.host for process in processes.values()):
            self._by_host(gathered, options, largest_first, processes)
        else:
            self._by_communicator(gathered, options, largest_first, processes)

    def _by_host(
        self,
        gathered: Gathered,
        options: Options,
        largest_first: list[tuple[str, _Communicator]],
        processes: dict[Hashable, Process],
    ) -> None:
        hosts: dict[str, list[Hashable]] = defaultdict(list)
        for identity, process in processes.items():
            hosts[process.host].append(identity)
        for members in hosts.values():
            members.sort(key=lambda identity: processes[identity].device)
        per_node, pad = _nodes(gathered, options, {len(members) for members in hosts.values()}, len(hosts))
        gathered.hosts, gathered.placed = len(hosts), len(hosts) == 1 or pad
        rank_of: dict[Hashable, int] = {}
        for place, members in enumerate(hosts.values()):
            first = place * per_node if pad else len(rank_of)
            rank_of |= {identity: first + number for number, identity in enumerate(members)}
        for name, communicator in largest_first:
            group = [rank_of[self._identity(communicator.members[rank])] for rank in range(communicator.size)]
            gathered.add_group(name, group)
        gathered.ranks = max([gathered.ranks, *(1 + rank for rank in rank_of.values())])
        if largest_first and len(hosts) > 1:
            world = gathered.groups.get(largest_first[0][0], ())
            if world != tuple(sorted(world)):
                gathered.note("ranks are numbered by host and device; the largest communicator has them in another order")

    def _by_communicator(
        self,
        gathered: Gathered,
        options: Options,
        largest_first: list[tuple[str, _Communicator]],
        processes: dict[Hashable, Process],
    ) -> None:
        rank_of: dict[Hashable, int] = {}
        free, guessed = 0, 0
        for name, communicator in largest_first:
            identities = {rank: self._identity(process) for rank, process in communicator.members.items()}
            known = {rank: rank_of[identity] for rank, identity in identities.items() if identity in rank_of}
            missing = [rank for rank in range(communicator.size) if rank not in known]
            if not known:
                numbers = {rank: free + rank for rank in missing}
            else:
                fresh = [rank for rank in missing if rank in communicator.members]
                numbers = known | {rank: free + place for place, rank in enumerate(fresh)}
                unseen = [rank for rank in missing if rank not in communicator.members]
                guessed += bool(unseen)
                numbers |= _completed(numbers, unseen)
            for rank, identity in identities.items():
                if rank in numbers:
                    rank_of[identity] = numbers[rank]
            free = max(free, 1 + max(numbers.values(), default=-1))
            if len(numbers) == communicator.size:
                gathered.add_group(name, [numbers[rank] for rank in range(communicator.size)])
        gathered.ranks = max(gathered.ranks, free)
        gathered.hosts = len({process.host for process in processes.values() if process.host})
        if guessed:
            gathered.note(f"{guessed} communicators: not all members were seen; their ranks are completed evenly")
        per_node = options.ranks_per_node or GPUS_PER_NODE
        placed = {(processes[one].host, rank // per_node) for one, rank in rank_of.items() if processes[one].host}
        if _repeated(host for host, _ in placed) or _repeated(node for _, node in placed):
            gathered.note(
                f"not all ranks were recorded, and with {per_node} ranks a node those that were lie on other nodes than the"
                " hosts they name: import the files of all ranks"
            )


def _nodes(gathered: Gathered, options: Options, sizes: set[int], hosts: int) -> tuple[int, bool]:
    """Return the ranks of a node, and whether each host is given a node of its own; note where hosts are no nodes."""
    most = max(sizes, default=0)
    given = options.ranks_per_node
    if given is None:
        given = most if hosts > 1 else max(most, GPUS_PER_NODE)
        gathered.ranks_per_node = given
        if hosts > 1 and given != GPUS_PER_NODE:
            gathered.note(
                f"{given} ranks a node, as many as a host in the files has (--ranks-per-node where that is a container)"
            )
    elif hosts > 1 and most != given:
        gathered.note(
            f"hosts in the files have {most} ranks, nodes {given} as was said (--ranks-per-node): hosts are not nodes"
        )
    elif most > given:
        gathered.note(f"a host in the files has {most} ranks, nodes {given} as was said (--ranks-per-node)")
    return given, most == given


def _repeated(items: Iterable[object]) -> bool:
    return any(count > 1 for count in Counter(items).values())


def _completed(numbers: dict[int, int], unseen: list[int]) -> dict[int, int]:
    """Return numbers for ranks nobody saw, on the line through those that were; none if that does not fit."""
    if not unseen:
        return {}
    first, last = min(numbers), max(numbers)
    step, rest = divmod(numbers[last] - numbers[first], last - first) if last > first else (1, 0)
    base = numbers[first] - step * first
    fits = not rest and base >= 0 and all(number == base + step * rank for rank, number in numbers.items())
    return {rank: base + step * rank for rank in unseen} if fits and step > 0 else {}
