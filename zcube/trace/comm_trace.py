"""The central type of the room: operations of many GPUs with their dependencies, as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np

from zcube.arrays import FloatArray, IntArray
from zcube.node import GPUS_PER_NODE

#: No layer, no rank, no group, no phase.
NONE = -1
#: Operations a trace may have; a row takes about a hundred bytes.
MAX_OPERATIONS = 1 << 26
#: Ranks a trace may have.
MAX_RANKS = 1 << 20


class Kind(IntEnum):
    """What an operation is."""

    #: GPU ``source`` computes for ``duration_s``.
    COMPUTE = 0
    #: ``size_bytes`` go from GPU ``source`` to GPU ``target``.
    TRANSFER = 1
    #: The GPUs of ``group`` run a collective; replay expands it into transfers.
    COLLECTIVE = 2


@dataclass(frozen=True, eq=False)
class CommTrace:
    """Operations in an order in which each comes after all it waits for.

    An operation starts when everything it waits for has ended, not before ``start_s``. A transfer takes as long as the network
    needs; a computation takes ``duration_s``.

    Attributes
    ----------
    kind : int array [operations]
        :class:`Kind`.
    name : int array [operations]
        Operation, an index into ``names``: ``all-reduce``, ``dispatch``, ``kv-write``, ``attention`` and so on.
    phase : int array [operations]
        Index into ``phases`` (``prefill``, ``kv``, ``decode`` ...), -1 for none.
    layer : int array [operations]
        Transformer layer, -1 for none.
    source, target : int array [operations]
        Ranks. A computation has no target (-1). A collective has its root as source, or -1.
    group : int array [operations]
        Index into ``groups`` for a collective, else -1.
    size_bytes : int array [operations]
        Bytes of a transfer; of a collective, the bytes one rank puts in, for an all-gather its own part (nccl-tests calls
        this sendcount times size); 0 for a computation.
    start_s : float array [operations]
        Earliest start; the recorded start in a recorded trace.
    duration_s : float array [operations]
        Time of a computation; the recorded time of a recorded transfer or collective, nan where unknown.
    first_dependency : int array [operations + 1]
        Operation ``i`` waits for ``dependency[first_dependency[i] : first_dependency[i + 1]]``, all smaller than ``i``.
    dependency : int array
        Operations.
    names, phases : tuple of str
        Names of operations and phases.
    groups : tuple of tuples of int
        Ranks of every group, in the order of the collective's ranks.
    ranks, ranks_per_node : int
        GPUs the trace speaks of; rank ``r`` is GPU ``r % ranks_per_node`` (the rail) of node ``r // ranks_per_node``.
    metadata : mapping
        How the trace came about: engine, model, layouts, compute model, source file; JSON values only.
    source_name : str
        What faults call it: the file it was read from.
    """

    kind: IntArray
    name: IntArray
    phase: IntArray
    layer: IntArray
    source: IntArray
    target: IntArray
    group: IntArray
    size_bytes: IntArray
    start_s: FloatArray
    duration_s: FloatArray
    first_dependency: IntArray
    dependency: IntArray
    names: tuple[str, ...]
    phases: tuple[str, ...]
    groups: tuple[tuple[int, ...], ...]
    ranks: int
    ranks_per_node: int = GPUS_PER_NODE
    metadata: Mapping[str, Any] = field(default_factory=dict)
    source_name: str = "trace"

    def __len__(self) -> int:
        return len(self.kind)

    def rows(self, kind: Kind) -> IntArray:
        """Return the operations of a kind."""
        return np.flatnonzero(self.kind == kind)

    def waits_for(self, operation: int) -> IntArray:
        """Return what an operation waits for."""
        return self.dependency[self.first_dependency[operation] : self.first_dependency[operation + 1]]

    def check(self) -> None:
        """Refuse what could not be replayed.

        Raises
        ------
        ValueError
            If columns differ in length, an index is out of range, a dependency does not come earlier, a transfer has no
            bytes or goes to its own rank, or a time is negative or not finite where it must be.
        """
        count = len(self)
        faults = [
            f"{name}: {len(getattr(self, name))} entries, not {count}"
            for name in ("name", "phase", "layer", "source", "target", "group", "size_bytes", "start_s", "duration_s")
            if len(getattr(self, name)) != count
        ]
        if faults or len(self.first_dependency) != count + 1:
            raise ValueError("; ".join(faults) or "first_dependency: not one entry more than operations")
        tests = {
            "an unknown kind": ~np.isin(self.kind, list(Kind)),
            "an unknown name": (self.name < 0) | (self.name >= len(self.names)),
            "an unknown phase": (self.phase < NONE) | (self.phase >= len(self.phases)),
            "an unknown group": (self.group < NONE) | (self.group >= len(self.groups)),
            "a rank out of range": (self.source < NONE) | (self.source >= self.ranks) | (self.target >= self.ranks),
            "a negative or unknown start": ~(np.isfinite(self.start_s) & (self.start_s >= 0)),
            "negative bytes": self.size_bytes < 0,
        }
        computes, sends = self.kind == Kind.COMPUTE, self.kind == Kind.TRANSFER
        tests["a computation without GPU or time"] = computes & ((self.source < 0) | ~(self.duration_s >= 0))
        tests["a transfer without two GPUs or bytes"] = sends & (
            (self.source < 0) | (self.target < 0) | (self.source == self.target) | (self.size_bytes <= 0)
        )
        tests["a collective without a group"] = (self.kind == Kind.COLLECTIVE) & (self.group < 0)
        owner = np.repeat(np.arange(count), np.diff(self.first_dependency))
        late = np.zeros(count, dtype=bool)
        if len(owner) != len(self.dependency):
            raise ValueError("first_dependency does not cover dependency")
        late[owner[(self.dependency < 0) | (self.dependency >= owner)]] = True
        tests["a dependency that does not come earlier"] = late
        for what, wrong in tests.items():
            if wrong.any():
                raise ValueError(f"operation {int(np.flatnonzero(wrong)[0])} has {what}")
        for number, group in enumerate(self.groups):
            if len(set(group)) != len(group) or not group or min(group) < 0 or max(group) >= self.ranks:
                raise ValueError(f"group {number} is not a set of ranks below {self.ranks}")
