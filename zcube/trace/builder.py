"""Putting a trace together, operations by the batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from zcube.arrays import IntArray
from zcube.trace.comm_trace import NONE, RANKS_PER_NODE, CommTrace, Kind

#: Batches of operations after which their arrays are joined.
PIECES_AT_ONCE = 4096


class TraceBuilder:
    """Appends operations and gives each a number, in order.

    What an operation waits for is named by numbers handed out before, so a finished trace is in an order of execution.

    Parameters
    ----------
    ranks, ranks_per_node : int
        As in :class:`~zcube.trace.comm_trace.CommTrace`.
    """

    def __init__(self, ranks: int, ranks_per_node: int = RANKS_PER_NODE):
        self._ranks, self._ranks_per_node = ranks, ranks_per_node
        self._columns: dict[str, list[np.ndarray]] = {}
        self._dependency: list[IntArray] = []
        self._waits: list[IntArray] = []
        self._names: dict[str, int] = {}
        self._phases: dict[str, int] = {}
        self._groups: dict[tuple[int, ...], int] = {}
        self._count = self._pieces = 0

    def __len__(self) -> int:
        return self._count

    def compute(
        self, name: str, gpu: ArrayLike, duration_s: ArrayLike, *, phase: str = "", layer: ArrayLike = NONE,
        start_s: ArrayLike = 0.0, after: Sequence[ArrayLike] = (),
    ) -> IntArray:  # fmt: skip
        """Append computations, one per GPU given; see :meth:`transfer` for ``after``."""
        return self._append(Kind.COMPUTE, name, phase, after, source=gpu, duration_s=duration_s, layer=layer, start_s=start_s)

    def transfer(
        self, name: str, source: ArrayLike, target: ArrayLike, size_bytes: ArrayLike, *, phase: str = "",
        layer: ArrayLike = NONE, start_s: ArrayLike = 0.0, duration_s: ArrayLike = np.nan, after: Sequence[ArrayLike] = (),
    ) -> IntArray:  # fmt: skip
        """Append transfers, one per row of the broadcast arguments.

        Parameters
        ----------
        name, phase : str
            Operation and phase.
        source, target, size_bytes, layer, start_s, duration_s : numbers or arrays [rows]
            As in :class:`~zcube.trace.comm_trace.CommTrace`.
        after : sequence of numbers or arrays
            Each entry is one operation, or an array [rows] of one operation per row, that the rows wait for; -1 for none.

        Returns
        -------
        int array [rows]
            Their numbers.
        """
        return self._append(
            Kind.TRANSFER, name, phase, after, source=source, target=target, size_bytes=size_bytes, layer=layer,
            start_s=start_s, duration_s=duration_s,
        )  # fmt: skip

    def collective(
        self, name: str, group: Sequence[int], size_bytes: int, *, root: int = NONE, phase: str = "", layer: int = NONE,
        start_s: float = 0.0, duration_s: float = float("nan"), after: Sequence[int] = (),
    ) -> int:  # fmt: skip
        """Append one collective of a group, waiting for all of ``after``, and return its number."""
        number = self._groups.setdefault(tuple(int(rank) for rank in group), len(self._groups))
        rows = self._append(
            Kind.COLLECTIVE, name, phase, after, source=root, size_bytes=size_bytes, layer=layer, start_s=start_s,
            duration_s=duration_s, group=number,
        )  # fmt: skip
        return int(rows[0])

    def build(self, metadata: Mapping[str, Any]) -> CommTrace:
        """Return the trace, checked.

        Raises
        ------
        ValueError
            As :meth:`~zcube.trace.comm_trace.CommTrace.check`.
        """
        none = np.zeros(0, dtype=np.int64)
        counts = np.concatenate([none, *self._waits])
        trace = CommTrace(
            **{name: self._column(name, kind) for name, kind in _COLUMNS.items()},
            first_dependency=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            dependency=np.concatenate([none, *self._dependency]),
            names=tuple(self._names),
            phases=tuple(self._phases),
            groups=tuple(self._groups),
            ranks=self._ranks,
            ranks_per_node=self._ranks_per_node,
            metadata=dict(metadata),
        )
        trace.check()
        return trace

    def _column(self, name: str, kind: type) -> Any:
        return np.concatenate([np.zeros(0, dtype=kind), *self._columns.get(name, [])])

    def _append(self, kind: Kind, name: str, phase: str, after: Sequence[ArrayLike], **given: ArrayLike) -> IntArray:
        values = {column: np.asarray(value) for column, value in given.items()}
        waits: list[IntArray] = [np.asarray(wait, dtype=np.int64) for wait in after]
        rows = max([1, *(value.size for value in (*values.values(), *waits) if value.ndim)])
        if any(value.ndim and not value.size for value in (*values.values(), *waits)):
            return np.zeros(0, dtype=np.int64)
        values["kind"] = np.asarray(int(kind))
        values["name"] = np.asarray(self._names.setdefault(name, len(self._names)))
        values["phase"] = np.asarray(self._phases.setdefault(phase, len(self._phases)) if phase else NONE)
        for column, dtype in _COLUMNS.items():
            value = values.get(column)
            # Most columns of a batch are one value, and broadcasting takes longer than filling.
            if value is None or not value.ndim:
                filled: np.ndarray = np.full(rows, _EMPTY.get(column, NONE) if value is None else value, dtype)
            else:
                filled = np.broadcast_to(value, rows).astype(dtype)
            self._columns.setdefault(column, []).append(filled)
        self._wait(waits, rows)
        self._count += rows
        self._pieces += 1
        if self._pieces >= PIECES_AT_ONCE:
            self._join_pieces()
        return np.arange(self._count - rows, self._count)

    def _wait(self, waits: list[IntArray], rows: int) -> None:
        none: list[IntArray] = [np.full(rows, NONE)]
        table = np.stack([np.broadcast_to(wait, rows) for wait in waits or none], axis=1)
        self._waits.append((table >= 0).sum(axis=1))
        self._dependency.append(table[table >= 0])

    def _join_pieces(self) -> None:
        """Make one piece of the latest ones: an array takes a hundred bytes however short it is."""
        for column in (*self._columns.values(), self._waits, self._dependency):
            column[-self._pieces :] = [np.concatenate(column[-self._pieces :])]
        self._pieces = 0


_COLUMNS: dict[str, type] = {
    "kind": np.int64,
    "name": np.int64,
    "phase": np.int64,
    "layer": np.int64,
    "source": np.int64,
    "target": np.int64,
    "group": np.int64,
    "size_bytes": np.int64,
    "start_s": np.float64,
    "duration_s": np.float64,
}
_EMPTY: dict[str, float] = {"size_bytes": 0, "start_s": 0.0, "duration_s": 0.0}
