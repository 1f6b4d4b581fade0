"""Where servers and switches stand, and how far a cable between two of them runs.

Racks stand in a grid: rows of server racks, with the row's switch racks in its middle or at its end. Servers fill racks in
order; the switches of each group are spread over the rows in order, so that the switch of a segment or pod stands near its
servers. Cables rise to overhead trays and run along the grid's two directions. No publication gives these lengths: every one is
a parameter, to be replaced by the room's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, field_validator, model_validator

from zcube.arrays import FloatArray, IntArray
from zcube.errors import Fault, InputError
from zcube.fabric.model import Fabric
from zcube.inputs import Declared, read_toml, validate

#: Height of one rack unit (EIA-310).
UNIT_M = 0.04445
#: Server racks of a row where the number of rows is not given.
ROW_RACKS = 16


class RackLayout(Declared):
    """A machine room's grid of racks and its trays; all lengths in metres."""

    servers_per_rack: int = Field(default=4, ge=1, le=64)
    rows: int | None = Field(default=None, ge=1, le=1000, description="rows of racks; default: rows of 16 server racks")
    switch_racks: Literal["middle-of-row", "end-of-row"] = "middle-of-row"
    switches_per_rack: int = Field(default=8, ge=1, le=60)
    rack_units: int = Field(default=48, ge=4, le=100, description="height of a rack, units")
    server_units: int = Field(default=8, ge=1, le=20)
    switch_units: int = Field(default=2, ge=1, le=30)
    rack_width_m: float = Field(default=0.6, gt=0, le=5)
    row_depth_m: float = Field(default=3.0, gt=0, le=50, description="from row to row, aisle included")
    tray_height_m: float = Field(default=0.3, ge=0, le=20, description="tray above the top of the racks")
    slack_m: float = Field(default=0.5, ge=0, le=20, description="spare length at each end")
    stocked_lengths_m: tuple[float, ...] = Field(
        default=(1, 1.5, 2, 2.5, 3, 4, 5, 7, 10, 15, 20, 30, 40, 50, 75, 100, 150, 200, 300, 500, 1000, 2000),
        min_length=1,
        max_length=100,
        description="lengths that can be ordered",
    )

    @field_validator("stocked_lengths_m")
    @classmethod
    def _rising(cls, lengths: tuple[float, ...]) -> tuple[float, ...]:
        if any(length <= 0 for length in lengths) or any(b <= a for a, b in pairwise(lengths)):
            raise ValueError("lengths above 0 that rise")
        return lengths

    @model_validator(mode="after")
    def _fits_rack(self) -> RackLayout:
        for what, count, units in (
            ("servers", self.servers_per_rack, self.server_units),
            ("switches", self.switches_per_rack, self.switch_units),
        ):
            if count * units > self.rack_units:
                raise ValueError(f"{what} that fit the rack: {count} x {units} units in {self.rack_units}")
        return self

    def ordered_m(self, route_m: FloatArray, source: str) -> FloatArray:
        """Return routes rounded up to stocked lengths, metres.

        Raises
        ------
        InputError
            If a route is longer than any stocked length; ``source`` is named in the fault.
        """
        stocked = np.asarray(self.stocked_lengths_m, dtype=float)
        longest = float(route_m.max(initial=0.0))
        if longest > stocked[-1]:
            expected = f"at most {stocked[-1]:g} m, the longest stocked length: more rows, or longer stocked_lengths_m"
            raise InputError(Fault(source, f"a cable of {longest:.1f} m", expected))
        # A millionth of a metre less, so that a route that is a stocked length but for rounding gets that length.
        return stocked[np.searchsorted(stocked, route_m - 1e-6)]

    def place(self, fabric: Fabric) -> Placement:
        """Return where each server, then each switch, of a fabric stands."""
        racks = -(-fabric.servers // self.servers_per_rack)
        per_row = -(-racks // (self.rows or -(-racks // ROW_RACKS)))
        rows = -(-racks // per_row)
        server = np.arange(fabric.servers)
        server_rack, server_place = np.divmod(server, self.servers_per_rack)
        server_row, column = np.divmod(server_rack, per_row)
        switch_row = np.concatenate(
            [np.arange(group.count) * rows // group.count for group in fabric.groups] or [np.zeros(0, dtype=np.int64)]
        )
        switch_rack, switch_place = np.divmod(_place_in_row(switch_row), self.switches_per_rack)
        switch_racks = int(switch_rack.max(initial=-1)) + 1
        left = per_row // 2 if self.switch_racks == "middle-of-row" else per_row
        return Placement(
            layout=self,
            row=np.concatenate([server_row, switch_row]),
            slot=np.concatenate([np.where(column < left, column, column + switch_racks), left + switch_rack]),
            unit=1 + np.concatenate([server_place * self.server_units, switch_place * self.switch_units]),
            units=np.repeat([self.server_units, self.switch_units], [fabric.servers, fabric.switches]),
        )


def load_layout(path: Path) -> RackLayout:
    """Read a machine room from a TOML file.

    Raises
    ------
    InputError
        If the file cannot be read or a key is wrong.
    """
    return validate(RackLayout, read_toml(path), str(path))


@dataclass(frozen=True, eq=False)
class Placement:
    """Positions of devices: servers, then switches.

    Attributes
    ----------
    layout : RackLayout
        The room.
    row, slot : int array [devices]
        Rack in the grid, from 0.
    unit : int array [devices]
        Lowest rack unit, from 1.
    units : int array [devices]
        Height in rack units.
    """

    layout: RackLayout
    row: IntArray
    slot: IntArray
    unit: IntArray
    units: IntArray

    def rack_names(self) -> list[str]:
        """Return each device's rack, e.g. ``R02-11``: row 2, eleventh rack, from 1 [devices]."""
        return [f"R{row + 1:02d}-{slot + 1:02d}" for row, slot in zip(self.row.tolist(), self.slot.tolist())]

    def route_m(self, a: IntArray, z: IntArray) -> FloatArray:
        """Return how far a cable runs between devices, slack included, metres.

        In one rack straight up or down; else up to the tray, along both directions of the grid, and down.
        """
        layout = self.layout
        height = (self.unit - 1 + self.units / 2) * UNIT_M
        tray = layout.rack_units * UNIT_M + layout.tray_height_m
        across = (
            np.abs(self.slot[a] - self.slot[z]) * layout.rack_width_m + np.abs(self.row[a] - self.row[z]) * layout.row_depth_m
        )
        same_rack = (self.row[a] == self.row[z]) & (self.slot[a] == self.slot[z])
        inside = np.abs(height[a] - height[z])
        return 2 * layout.slack_m + np.where(same_rack, inside, 2 * tray - height[a] - height[z] + across)


def _place_in_row(row: IntArray) -> IntArray:
    """Return each switch's running number among those of its row, in order."""
    order = np.argsort(row, kind="stable")
    first = np.searchsorted(row[order], row[order])
    place = np.empty(len(row), dtype=np.int64)
    place[order] = np.arange(len(row)) - first
    return place
