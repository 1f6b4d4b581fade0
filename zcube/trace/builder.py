"""Putting a trace together, operations by the batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from zcube.arrays import IntArray
from zcube.node import GPUS_PER_NODE
from zcube.trace.comm_trace import NONE, CommTrace, Kind

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

    def __init__(self, ranks: int, ranks_per_node: int = GPUS_PER_NODE):
        self._ranks, self._ranks_per_node = ranks, ranks_per_node
        self._columns: dict[str, list[np.ndarray]] = {name: [] for name in _COLUMNS}
        self._dependency: list[IntArray] = []
        self._waits: list[IntArray] = []
        #: Of the latest batches, not yet joined: rows of each, and one value or an array [rows] of each by column.
        self._rows: list[int] = []
        self._latest: dict[str, list[Any]] = {name: [] for name in _COLUMNS}
        self._names: dict[str, int] = {}
        self._phases: dict[str, int] = {}
        self._groups: dict[tuple[int, ...], int] = {}
        self._count = 0

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
        self._join_latest()
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
        return np.concatenate([np.zeros(0, dtype=kind), *self._columns[name]])

    def _append(self, kind: Kind, name: str, phase: str, after: Sequence[ArrayLike], **given: ArrayLike) -> IntArray:
        values, waits = {column: _plain(value) for column, value in given.items()}, [_plain(wait) for wait in after]
        arrays = [value for value in (*values.values(), *waits) if isinstance(value, np.ndarray)]
        rows = max([1, *(array.size for array in arrays)])
        if any(not array.size for array in arrays):
            return np.zeros(0, dtype=np.int64)
        values["kind"] = int(kind)
        values["name"] = self._names.setdefault(name, len(self._names))
        values["phase"] = self._phases.setdefault(phase, len(self._phases)) if phase else NONE
        for column, dtype in _COLUMNS.items():
            value = values.get(column)
            if value is None:
                value = _EMPTY.get(column, NONE)
            elif isinstance(value, np.ndarray):
                # A copy, for the caller's array may change.
                value = (value if value.shape == (rows,) else np.broadcast_to(value, rows)).astype(dtype)
            self._latest[column].append(value)
        self._wait(waits, rows)
        self._rows.append(rows)
        self._count += rows
        if len(self._rows) >= PIECES_AT_ONCE:
            self._join_latest()
        return np.arange(self._count - rows, self._count)

    def _wait(self, waits: list[Any], rows: int) -> None:
        if not any(isinstance(wait, np.ndarray) for wait in waits):
            found = [wait for wait in waits if wait >= 0]
            self._waits.append(np.full(rows, len(found)))
            self._dependency.append(np.array(found * rows, dtype=np.int64))
            return
        table = np.empty((rows, len(waits)), dtype=np.int64)
        table[:] = [0 if isinstance(wait, np.ndarray) else wait for wait in waits]
        for place, wait in enumerate(waits):
            if isinstance(wait, np.ndarray):
                table[:, place] = wait
        known = table >= 0
        self._waits.append(known.sum(axis=1))
        self._dependency.append(table[known])

    def _join_latest(self) -> None:
        """Make one piece of the latest ones: an array takes a hundred bytes however short it is."""
        if not self._rows:
            return
        rows = np.array(self._rows)
        first = np.cumsum(rows) - rows
        for column, dtype in _COLUMNS.items():
            latest, self._latest[column] = self._latest[column], []
            joined: np.ndarray = np.repeat(
                np.array([0 if isinstance(one, np.ndarray) else one for one in latest], dtype=dtype), rows
            )
            for start, one in zip(first.tolist(), latest, strict=True):
                if isinstance(one, np.ndarray):
                    joined[start : start + len(one)] = one
            self._columns[column].append(joined)
        for pieces in (self._waits, self._dependency):
            pieces[-len(rows) :] = [np.concatenate(pieces[-len(rows) :])]
        self._rows = []


def _plain(value: ArrayLike) -> Any:
    """Return a single number as it is, and anything else as an array."""
    # Most of what a batch is given is one value, which an array of its own would take ten times as long to hold.
    if isinstance(value, int | float | np.number):
        return value
    array = np.asarray(value)
    return array if array.ndim else array[()]


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
