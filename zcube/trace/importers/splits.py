"""What each rank sends to each in an all-to-all, from the split sizes of its ranks, whole or cut short."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from zcube.trace.importers.calls import Call

#: Split sizes of one rank, in rows or elements as the call had them; None where a list is cut short.
Units = tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Parts:
    """Bytes from each rank of a group to each, in the order of the group, and how many of them are estimates."""

    size_bytes: list[list[int]]
    estimated: int

    @property
    def even(self) -> bool:
        """Whether every rank sends every other the same."""
        return len({size for s, row in enumerate(self.size_bytes) for t, size in enumerate(row) if s != t}) <= 1

    @property
    def empty(self) -> bool:
        """Whether nobody sends anything."""
        return not any(map(any, self.size_bytes))


def split_units(head: Sequence[int], tail: Sequence[int] | None, ranks: int, size_bytes: int) -> Units | None:
    """Return the split sizes of a list as a profile writes it, None if it fits no group of that many ranks.

    Parameters
    ----------
    head, tail : sequences of int
        Numbers before and behind an ellipsis; no tail: a whole list.
    ranks : int
    size_bytes : int
        Of the whole buffer. No numbers stand for equal parts of it.
    """
    if tail is None and not head:
        return (0 if not size_bytes else 1,) * ranks if size_bytes % ranks == 0 else None
    missing = ranks - len(head) - len(tail or ())
    if missing < 0 or (tail is None and missing):
        return None
    return (*head, *(None,) * missing, *(tail or ()))


def parts_of(group: Sequence[int], calls: dict[int, Call]) -> Parts | None:
    """Return what the ranks of an all-to-all send each other, None where their split sizes do not tell.

    What a rank's list of parts to send leaves open, the receivers' lists of parts received tell; what neither tells is taken
    evenly from what the rank's buffer holds besides.

    Parameters
    ----------
    group : sequence of int
        Ranks.
    calls : dict
        The call of every rank.
    """
    sent = [calls[rank].splits for rank in group]
    if all(units is None for units in sent) or any(units is not None and len(units) != len(group) for units in sent):
        return None
    rows = [_row(place, units, group, calls) for place, units in enumerate(sent)]
    whole = [_unit_bytes(row, calls[rank].size_bytes) for row, rank in zip(rows, group, strict=True)]
    if any(unit is None and None not in row for unit, row in zip(whole, rows, strict=True)):
        return None
    common = Counter(unit for unit in whole if unit)
    usual = common.most_common(1)[0][0] if common else None
    found, estimated = [], 0
    for row, unit, rank in zip(rows, whole, group, strict=True):
        if None not in row:
            found.append([units * (unit or 0) for units in row if units is not None])
            continue
        estimated += row.count(None)
        found.append(_filled(row, calls[rank].size_bytes, usual))
    return Parts(found, estimated)


def _row(place: int, units: Units | None, group: Sequence[int], calls: dict[int, Call]) -> list[int | None]:
    row: list[int | None] = list(units) if units is not None else [None] * len(group)
    for other, rank in enumerate(group):
        received = calls[rank].received
        if row[other] is None and received is not None and len(received) == len(group):
            row[other] = received[place]
    return row


def _unit_bytes(row: Sequence[int | None], size_bytes: int) -> int | None:
    """Return the bytes of a unit of whole split sizes; 0 for none of nothing, None where they contradict the buffer."""
    if None in row:
        return None
    total = sum(units for units in row if units is not None)
    if not total:
        return 0 if not size_bytes else None
    unit, rest = divmod(size_bytes, total)
    return unit if unit and not rest else None


def _filled(row: Sequence[int | None], size_bytes: int, unit: int | None) -> list[int]:
    known = [units for units in row if units is not None]
    if unit is None or sum(known) * unit > size_bytes:
        # Nothing says what a unit is: the parts that are not known are as large as the others on average.
        share = size_bytes * len(known) // len(row)
        scaled = [units * share // sum(known) if sum(known) else 0 for units in known]
    else:
        scaled = [units * unit for units in known]
    open_places = row.count(None)
    each, rest = divmod(size_bytes - sum(scaled), open_places)
    parts, turn = iter(scaled), 0
    filled = []
    for units in row:
        if units is not None:
            filled.append(next(parts))
        else:
            filled.append(each + (turn < rest))
            turn += 1
    return filled
