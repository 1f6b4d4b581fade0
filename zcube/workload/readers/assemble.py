"""From the columns of a file to a request trace in order of arrival."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from zcube.arrays import FloatArray, IntArray
from zcube.workload.requests import RequestTrace, reorder_blocks


def _none() -> IntArray:
    return np.empty(0, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class FileColumns:
    """Requests in the order of the file.

    Attributes
    ----------
    arrival_s : array of float [N]
        In any order, from 0 on.
    input_tokens, output_tokens : array of int [N]
        Whole prompts and answers.
    block_tokens : int
        Tokens per block, 0 without prefix information.
    block_count : array of int [N]
        Blocks of each prompt; may be empty without prefix information.
    block_id : array of int [B]
        All blocks, prompt after prompt.
    session : array of int [N], optional
        Session numbers; default: unknown.
    previous : array of int [N], optional
        Row each waits for, -1 for none; default: none waits.
    delay_s : array of float [N], optional
        Wait after that row's request has ended.
    """

    arrival_s: FloatArray
    input_tokens: IntArray
    output_tokens: IntArray
    block_tokens: int = 0
    block_count: IntArray = field(default_factory=_none)
    block_id: IntArray = field(default_factory=_none)
    session: IntArray | None = None
    previous: IntArray | None = None
    delay_s: FloatArray | None = None


def in_order(name: str, source: str, columns: FileColumns, notes: tuple[str, ...] = ()) -> RequestTrace:
    """Sort the rows of a file by arrival, stably, and rebase their times to 0.

    Parameters
    ----------
    name, source : str
        As in :class:`~zcube.workload.requests.RequestTrace`.
    columns : FileColumns
        The rows. A row that waits arrives no earlier than the one it waits for, and stands behind it.
    notes : tuple of str
        What the reader left out or filled.
    """
    order = np.argsort(columns.arrival_s, kind="stable")
    count = columns.block_count if columns.block_id.size else np.zeros(order.size, dtype=np.int64)
    first_block, block_id = reorder_blocks(np.concatenate(([0], np.cumsum(count))), columns.block_id, order)
    after, delay_s = np.full(order.size, -1), np.zeros(order.size)
    if columns.previous is not None:
        place = np.empty(order.size, dtype=np.int64)
        place[order] = np.arange(order.size)
        previous = columns.previous[order]
        after = np.where(previous >= 0, place[previous], -1)
    if columns.delay_s is not None:
        delay_s = columns.delay_s[order]
    return RequestTrace(
        name=name,
        source=source,
        arrival_s=columns.arrival_s[order] - columns.arrival_s[order[0]],
        input_tokens=columns.input_tokens[order],
        output_tokens=columns.output_tokens[order],
        block_tokens=columns.block_tokens if columns.block_id.size else 0,
        first_block=first_block,
        block_id=block_id,
        session=np.full(order.size, -1) if columns.session is None else columns.session[order],
        after=after,
        delay_s=delay_s,
        notes=notes,
    )


def since_first_s(time_ns: IntArray) -> FloatArray:
    """Return times in seconds since the first; subtracted as integers, since nanoseconds since 1970 exceed a float."""
    return np.asarray((time_ns - time_ns.min()) / 1e9, dtype=np.float64)
