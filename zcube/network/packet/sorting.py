"""Sorting a bucket's events: each is one number, of its time within the bucket, its key, and its place in scratch.

Events are filed in the order in which what led to them was taken. So those of a bucket are often a few runs that are sorted
already, one for each delay that links have, and are merged; the others are sorted by digits.
"""

from __future__ import annotations

import numpy as np

from zcube.network.kernels import inner
from zcube.network.packet.records import sorted_of, sorting_of, tally_of
from zcube.network.packet.state import DIGITS, KEY_WIDTH, PLACE_BITS, SORTED_AT_ONCE, Net

#: So many events at most are sorted by insertion.
FEW = 32
#: So many runs at most are merged.
FEW_RUNS = 4
#: From so many events on a digit has all its values, and below a quarter of them.
MANY = 400

PLACE_WIDTH = np.uint64(PLACE_BITS)

_ONE = np.uint64(1)
_KEY = np.uint64((1 << KEY_WIDTH) - 1)
_PLACE = np.uint64((1 << PLACE_BITS) - 1)
_SEQUENCE = np.uint64(0x03F79D71B4CB0A89)


def _positions() -> np.ndarray:
    """Return which bit is set, by the upper six bits of the bit times a de Bruijn sequence [64]."""
    table = np.zeros(64, dtype=np.int8)
    for bit in range(64):
        table[(int(_SEQUENCE) << bit & (1 << 64) - 1) >> 58] = bit
    return table


_POSITION = _positions()


@inner
def lowest_bit(word: np.uint64) -> int:
    """Return the number of the lowest bit set."""
    return _POSITION[((word & (~word + _ONE)) * _SEQUENCE) >> np.uint64(58)]


@inner
def put_in_scratch(net: Net, place: int, slot: int, wait_ps: int, key: int) -> None:
    """Put an event into scratch, due so long after the first of the buckets in hand begins."""
    sorted_of(net, place).item = slot
    sorting_of(net, place).item = np.uint64((wait_ps << KEY_WIDTH | key) << PLACE_BITS | place)


@inner
def slot_sorted(net: Net, at: int) -> int:
    """Return the record of an event in scratch."""
    return sorted_of(net, int(np.int64(sorting_of(net, at).item & _PLACE))).item


@inner
def key_sorted(net: Net, at: int) -> int:
    """Return the key of an event in scratch."""
    return int(np.int64(sorting_of(net, at).item >> PLACE_WIDTH & _KEY))


@inner
def sort_scratch(net: Net, count: int) -> int:
    """Sort the first events of scratch by time and key, and return where the sorted ones begin."""
    if count <= FEW:
        return _by_insertion(net, count)
    runs, differing = 1, np.uint64(0)
    tally_of(net, 0).item = 0
    for at in range(1, count):
        differing |= sorting_of(net, at).item ^ sorting_of(net, 0).item
        # Where a run begins cannot be guessed, and so is no branch: a place noted where none does is written over.
        tally_of(net, min(runs, FEW_RUNS)).item = at
        runs += int(sorting_of(net, at).item < sorting_of(net, at - 1).item)
    if runs <= FEW_RUNS:
        return _by_merging(net, count, runs)
    # The places differ too; they need not be sorted by.
    return _by_digits(net, count, differing & ~_PLACE)


@inner
def _by_insertion(net: Net, count: int) -> int:
    for at in range(1, count):
        event, place = sorting_of(net, at).item, at
        while place > 0 and sorting_of(net, place - 1).item > event:
            sorting_of(net, place).item = sorting_of(net, place - 1).item
            place -= 1
        sorting_of(net, place).item = event
    return 0


@inner
def _by_merging(net: Net, count: int, runs: int) -> int:
    """Merge runs two by two; where they begin, counted from the first event, stands in tallies."""
    source, target = 0, SORTED_AT_ONCE
    while runs > 1:
        tally_of(net, runs).item = tally_of(net, runs + 1).item = count
        for run in range(0, runs, 2):
            low, mid, high = tally_of(net, run).item, tally_of(net, run + 1).item, tally_of(net, run + 2).item
            _merge(net, source + low, source + mid, source + high, target + low)
            tally_of(net, run >> 1).item = low
        runs = (runs + 1) >> 1
        source, target = target, SORTED_AT_ONCE - target
    return source


@inner
def _merge(net: Net, low: int, mid: int, high: int, target: int) -> None:
    """Merge two runs that lie one behind the other, the second of which may be empty."""
    one, other, at = low, mid, target
    while one < mid and other < high:
        # Which of two comes first cannot be guessed, and so is no branch.
        event, rival = sorting_of(net, one).item, sorting_of(net, other).item
        sorting_of(net, at).item = min(event, rival)
        is_first = int(event < rival)
        one += is_first
        other += 1 - is_first
        at += 1
    rest = one if one < mid else other
    for left in range(target + high - low - at):
        sorting_of(net, at + left).item = sorting_of(net, rest + left).item


@inner
def _by_digits(net: Net, count: int, differing: np.uint64) -> int:
    """Sort by digits that begin with bits in which events differ, the last one first."""
    source, target = 0, SORTED_AT_ONCE
    digits = DIGITS if count > MANY else DIGITS >> 2
    mask = np.uint64(digits - 1)
    while differing != 0:
        shift = np.uint64(lowest_bit(differing))
        differing &= ~(mask << shift)
        for digit in range(digits):
            tally_of(net, digit).item = 0
        for at in range(source, source + count):
            tally_of(net, int(np.int64(sorting_of(net, at).item >> shift & mask))).item += 1
        place = target
        for digit in range(digits):
            held = tally_of(net, digit).item
            tally_of(net, digit).item = place
            place += held
        for at in range(source, source + count):
            event = sorting_of(net, at).item
            tally = tally_of(net, int(np.int64(event >> shift & mask)))
            sorting_of(net, tally.item).item = event
            tally.item += 1
        source, target = target, SORTED_AT_ONCE - target
    return source
