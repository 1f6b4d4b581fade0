"""Calls: what one rank did, in one form for all formats, before calls of several ranks become one operation."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from zcube.memory import available_memory_bytes
from zcube.node import GPUS_PER_NODE
from zcube.trace.comm_trace import MAX_RANKS, NONE
from zcube.trace.importers.source import CutShort

#: Calls of an import; reading stops there, as at a break of the file, so that what was read stays.
MAX_CALLS = 1 << 24
#: What a call takes until it is part of a trace, measured; half of it before all are read.
CALL_BYTES = 1200
#: Calls between two looks at the memory left.
_LOOK_EVERY = 1 << 16
#: Ranks of all groups together.
MAX_MEMBERS = 1 << 22


class Role(IntEnum):
    """What a call is."""

    COLLECTIVE = 0
    SEND = 1
    RECEIVE = 2
    COMPUTE = 3


@dataclass(slots=True)
class Call:
    """One rank's part in an operation.

    Attributes
    ----------
    file, number : int
        The record it came from.
    role : Role
        What it is.
    name : str
        Operation.
    rank : int
        Who called; a rank of the group until ranks are numbered, then one of the trace.
    size_bytes : int
        Bytes put in (collective), sent or received.
    group : str
        Key of the group or communicator; "" for none.
    peer : int
        The other side of a send or receive, the root of a collective, -1 for none.
    sequence : hashable
        What calls of one operation share on all its ranks besides group and name; among equal ones the order counts.
    start_us, duration_us : float, optional
        None where not recorded.
    stream : hashable
        Calls of one rank and stream run one after another.
    batch : hashable
        Neighbouring calls of a stream with the same batch run together; None for alone.
    ordered : bool
        Waits for the call before it on its stream even if nobody asks for chains: its start is unknown or too coarse.
    splits, received : tuples of int or None, optional
        Split sizes of an all-to-all: parts to each rank of the group and from each, in rows or elements; None in them where a
        list is cut short. See :mod:`~zcube.trace.importers.splits`.
    waits : tuple of int
        Calls it waits for, as places in the list of calls.
    """

    file: int
    number: int
    role: Role
    name: str
    rank: int
    size_bytes: int
    group: str = ""
    peer: int = NONE
    sequence: Hashable = None
    start_us: float | None = None
    duration_us: float | None = None
    stream: Hashable = ""
    batch: Hashable = None
    ordered: bool = False
    splits: tuple[int | None, ...] | None = None
    received: tuple[int | None, ...] | None = None
    waits: tuple[int, ...] = ()


@dataclass(frozen=True)
class Options:
    """What the caller of an import may say; see :func:`~zcube.trace.importers.catalog.import_trace`."""

    #: None: as many as the files say, else :data:`~zcube.node.GPUS_PER_NODE`.
    ranks_per_node: int | None = None
    ranks: int | None = None
    chain: bool = False
    source_rank: int = 0
    target_rank: int | None = None
    groups: Mapping[str, Sequence[int]] = field(default_factory=dict)
    kernels: bool = False
    tilert_layers: int = 79
    megabyte_bytes: int | None = None
    goal_unit_ns: float = 1.0
    eager_bytes: int = 65_535
    #: Numbers that hosts have in a topology, by rank; None: ranks are those numbers.
    hosts: Sequence[int] | None = None
    #: Ranks of each dimension of ASTRA-sim's topology, those of the first being neighbours.
    dimensions: Sequence[int] | None = None

    @property
    def kv_target(self) -> int:
        """Rank that KV transfers go to where a log names none: the first GPU of the second node."""
        return (self.ranks_per_node or GPUS_PER_NODE) if self.target_rank is None else self.target_rank


@dataclass
class Gathered:
    """All calls of all files of an import.

    Attributes
    ----------
    calls : list of Call
        In the order read.
    groups : dict
        Ranks of the trace by group, in the order of the group.
    ranks : int
        Ranks known of besides those that calls and groups name.
    chain : bool
        Whether every call waits for the one before it on its stream.
    ranks_per_node : int, optional
        What the files say, where nobody else does.
    hosts : int
        Hosts that the files name.
    placed : bool
        Whether the nodes of the trace are the hosts of the files, all ranks among them.
    notes : list of str
        What the format does not record, and what was assumed.
    """

    chain: bool
    calls: list[Call] = field(default_factory=list)
    groups: dict[str, tuple[int, ...]] = field(default_factory=dict)
    ranks: int = 1
    ranks_per_node: int | None = None
    hosts: int = 0
    placed: bool = False
    notes: list[str] = field(default_factory=list)
    _members: int = 0

    def add(self, call: Call) -> int:
        """Append a call and return its place.

        Raises
        ------
        CutShort
            If there are too many, or too many for the memory left.
        """
        if len(self.calls) >= MAX_CALLS:
            raise CutShort(f"more than {MAX_CALLS} operations")
        if len(self.calls) % _LOOK_EVERY == _LOOK_EVERY - 1:
            left = available_memory_bytes()
            if left is not None and left < len(self.calls) * CALL_BYTES // 2:
                raise CutShort(f"more operations than memory holds, after {len(self.calls)}")
        self.calls.append(call)
        return len(self.calls) - 1

    def add_group(self, key: str, ranks: Sequence[int]) -> bool:
        """Name a group; return whether it is a set of at least one and not too many ranks."""
        if key in self.groups:
            return self.groups[key] == tuple(ranks)
        if not ranks or len(ranks) + self._members > MAX_MEMBERS or len(set(ranks)) != len(ranks):
            return False
        if min(ranks) < 0 or max(ranks) >= MAX_RANKS:
            return False
        self._members += len(ranks)
        self.groups[key] = tuple(ranks)
        return True

    def note(self, text: str) -> None:
        """Add a note once."""
        if text not in self.notes:
            self.notes.append(text)
