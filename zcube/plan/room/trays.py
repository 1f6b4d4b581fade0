"""How full trays are.

A cable rises from its rack, runs in the tray above the racks of its end z's column across the rows, and above its end a's row
along it: along first, then across (*inferred*; the length is the same the other way round). Cables inside one rack touch no
tray. A leg of a splitter counts as a cable.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from zcube.arrays import BoolArray, IntArray
from zcube.fabric.wiring.rack_layout import Placement, RackLayout


class TraySection(NamedTuple):
    """A piece of tray from one rack to the next.

    Attributes
    ----------
    section : str
        ``R02-11..R02-12`` along a row, ``R02-11..R03-11`` across rows.
    copper, fibre : int
        Cables in it.
    area_mm2 : float
        Their cross-section.
    fill : float or None
        Over the tray's; None where its width and depth are not given.
    """

    section: str
    copper: int
    fibre: int
    area_mm2: float
    fill: float | None


def tray_sections(placement: Placement, device: IntArray, is_copper: BoolArray) -> tuple[TraySection, ...]:
    """Return every section that holds a cable, row by row, then those across rows.

    Parameters
    ----------
    placement : Placement
        Where devices stand.
    device : int array [links, 2]
        Devices at ends a and z.
    is_copper : bool array [links]
        Whether a cable is copper.
    """
    row, slot = placement.row[device], placement.slot[device]
    rows, slots = int(row.max(initial=0)) + 1, int(slot.max(initial=0)) + 1
    along, across = np.zeros((2, rows, slots + 1), dtype=np.int64), np.zeros((2, slots, rows + 1), dtype=np.int64)
    kind = (~is_copper).astype(np.int64)
    _span(along, kind, row[:, 0], slot)
    _span(across, kind, slot[:, 1], row)
    sections = []
    for count, name in ((along, _name_along), (across, _name_across)):
        for line, place in zip(*np.nonzero(count.sum(axis=0))):
            copper, fibre = (int(number) for number in count[:, line, place])
            sections.append(_section(name(int(line), int(place)), copper, fibre, placement.layout))
    return tuple(sections)


def _span(count: IntArray, kind: IntArray, line: IntArray, ends: IntArray) -> None:
    """Count cables over each piece of a line between their ends; in place."""
    np.add.at(count, (kind, line, ends.min(axis=1)), 1)
    np.add.at(count, (kind, line, ends.max(axis=1)), -1)
    np.cumsum(count, axis=2, out=count)


def _section(name: str, copper: int, fibre: int, layout: RackLayout) -> TraySection:
    area_m2 = math.pi / 4 * (copper * layout.copper_diameter_m**2 + fibre * layout.fibre_diameter_m**2)
    whole = None if layout.tray_width_m is None or layout.tray_depth_m is None else layout.tray_width_m * layout.tray_depth_m
    return TraySection(name, copper, fibre, area_m2 * 1e6, None if whole is None else area_m2 / whole)


def _name_along(row: int, slot: int) -> str:
    return f"R{row + 1:02d}-{slot + 1:02d}..R{row + 1:02d}-{slot + 2:02d}"


def _name_across(slot: int, row: int) -> str:
    return f"R{row + 1:02d}-{slot + 1:02d}..R{row + 2:02d}-{slot + 1:02d}"
