"""Whether measurements can be fitted: what is wrong with them is named, or left out and said."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from zcube.arrays import IntArray
from zcube.calibrate.measurements import Measurements
from zcube.calibrate.operations import wire_factor
from zcube.calibrate.points import capped
from zcube.calibrate.regimes import SIZES_PER_REGIME
from zcube.errors import Fault, InputError

#: Points of one curve; more are repetitions that should have been reduced to medians.
MOST_POINTS = 5000
#: Times of neighbouring sizes do not differ by more than this beyond what the sizes do; a change of unit is 1000.
UNIT_JUMP = 100.0
#: Bytes per second no GPU sends or receives: ten times NVLink 5 (0.9 TB/s each direction, NVIDIA Blackwell data sheet).
MOST_BYTES_PER_S = 9e12
#: Times of one size that differ by more are of two machines or settings: NCCL's repeat within a few percent, types of elements
#: within a third.
CONTRADICTION = 2.0


class Group(NamedTuple):
    """What one curve describes."""

    operation: str
    path: str
    pattern: str
    ranks: int
    hosts: int = 0

    def __str__(self) -> str:
        pattern = f" ({self.pattern})" if self.pattern else ""
        hosts = f" on {self.hosts} hosts" if self.hosts > 1 else ""
        return f"{self.operation}{pattern} among {self.ranks} ranks{hosts} over {self.path}"


def groups(measurements: Measurements) -> Iterator[tuple[Group, IntArray]]:
    """Yield the groups in ascending order, each with the numbers of its points."""
    rows: dict[Group, list[int]] = {}
    columns = (measurements.operation, measurements.path, measurements.pattern, measurements.ranks, measurements.hosts)
    for number, key in enumerate(zip(*(column.tolist() for column in columns), strict=True)):
        rows.setdefault(Group(*key), []).append(number)
    for group in sorted(rows):
        yield group, np.array(rows[group])


def sound(measurements: Measurements, lenient: bool = False) -> tuple[Measurements, tuple[str, ...]]:
    """Return the points that can be fitted.

    Parameters
    ----------
    measurements : Measurements
        As read.
    lenient : bool
        Leave out groups that cannot be fitted instead of refusing.

    Returns
    -------
    Measurements
        Per group its out-of-place points if it has any (a collective among separate buffers is what engines call), else the
        in-place ones.
    tuple of str
        What was left out, and where times contradict each other.

    Raises
    ------
    InputError
        With what is wrong with each group; always if nothing would be left.
    """
    where = measurements.metadata.source or "measurements"
    if not len(measurements):
        raise InputError(Fault(where, "no measured point", f"at least {SIZES_PER_REGIME} sizes of one operation"))
    kept, faults, notes = np.zeros(len(measurements), dtype=np.bool_), [], []
    for group, rows in groups(measurements):
        rows = _preferred(measurements, rows)
        found = _group_faults(group, measurements.where(rows), f"{where}: {group}")
        if not found:
            kept[rows] = True
            notes += _contradictions(group, measurements.where(rows))
        elif lenient or _is_spot_check(group, measurements.size_bytes[rows]):
            notes += [f"left out {fault.where.removeprefix(f'{where}: ')}: {fault.found}" for fault in found]
        else:
            faults += found
    if not kept.any() and not faults:
        faults.append(Fault(where, "nothing that can be fitted (" + "; ".join(notes)[:300] + ")", "sound measurements"))
    if faults:
        raise InputError(capped(faults, where))
    return measurements.where(kept), tuple(notes)


def checkable(measurements: Measurements) -> Measurements:
    """Return the points that predictions are held against: those that would be fitted, groups of few sizes included.

    Raises
    ------
    InputError
        If wrong data were received.
    """
    where = measurements.metadata.source or "measurements"
    kept, faults = np.zeros(len(measurements), dtype=np.bool_), []
    for group, rows in groups(measurements):
        rows = _preferred(measurements, rows)
        kept[rows] = True
        faults += _wrong_data(measurements.where(rows), f"{where}: {group}")
    if faults:
        raise InputError(capped(faults, where))
    return measurements.where(kept)


def _preferred(measurements: Measurements, rows: IntArray) -> IntArray:
    outside = rows[~measurements.in_place[rows]]
    return outside if len(outside) else rows


def _wrong_data(points: Measurements, where: str) -> list[Fault]:
    wrong = np.unique(points.size_bytes[points.correct == 0])
    listed = ", ".join([*(str(size) for size in wrong[:5]), *(["..."] if len(wrong) > 5 else [])])
    found = f"{len(wrong)} of {len(np.unique(points.size_bytes))} sizes at which wrong data were received ({listed})"
    return [Fault(where, found, "a run whose data check passes")] if len(wrong) else []


def _group_faults(group: Group, points: Measurements, where: str) -> list[Fault]:
    faults = _wrong_data(points, where)
    sizes, inverse = np.unique(points.size_bytes, return_inverse=True)
    if len(sizes) < SIZES_PER_REGIME:
        only = "one size only" if len(sizes) == 1 else f"{len(sizes)} sizes only"
        faults.append(Fault(where, only, f"at least {SIZES_PER_REGIME} sizes"))
    if len(points) > MOST_POINTS:
        faults.append(Fault(where, f"{len(points)} points", f"at most {MOST_POINTS}, the medians of repetitions"))
        return faults
    time_s = np.array([np.median(points.time_s[inverse == number]) for number in range(len(sizes))])
    spread = max(float(points.time_s[inverse == number].max() / time_s[number]) for number in range(len(sizes)))
    growth = time_s[1:] / time_s[:-1] if len(sizes) > 1 else np.ones(0)
    jump = (growth > UNIT_JUMP * sizes[1:] / sizes[:-1]) | (growth < 1 / UNIT_JUMP)
    if jump.any() or spread > UNIT_JUMP:
        at = int(sizes[:-1][jump][0]) if jump.any() else int(sizes[0])
        factor = float(growth[jump][0]) if jump.any() else spread
        faults.append(Fault(where, f"times that jump by a factor of {factor:.3g} near {at} bytes", "times in one unit"))
    fastest = float((sizes / time_s).max()) * wire_factor(group.operation, group.ranks)
    if fastest > MOST_BYTES_PER_S:
        expected = f"at most {MOST_BYTES_PER_S:.0e} bytes/s; sizes in bytes and times in the stated unit"
        faults.append(Fault(where, f"{fastest:.3g} bytes/s of one rank", expected))
    return faults


def _contradictions(group: Group, points: Measurements) -> list[str]:
    """Return in words how far times of one size are apart, where that is more than scatter."""
    sizes, place = np.unique(points.size_bytes, return_inverse=True)
    least, most = np.full(len(sizes), np.inf), np.zeros(len(sizes))
    np.minimum.at(least, place, points.time_s)
    np.maximum.at(most, place, points.time_s)
    apart = most / least
    wide = apart > CONTRADICTION
    if not wide.any():
        return []
    worst = int(np.argmax(apart))
    found = f"times of {int(wide.sum())} of {len(sizes)} sizes differ by more than {CONTRADICTION:g} times"
    return [f"{group}: {found}, at {sizes[worst]} bytes by {apart[worst]:.3g} times; two machines or settings in one curve?"]


def _is_spot_check(group: Group, size_bytes: IntArray) -> bool:
    """Return whether points are a pattern at a few sizes, meant for a matrix and not for a curve."""
    return bool(group.pattern) and len(np.unique(size_bytes)) < SIZES_PER_REGIME
