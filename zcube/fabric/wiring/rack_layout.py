"""Where servers and switches stand, and how far a cable between two of them runs.

Racks stand in a grid: rows of server racks, with the row's switch racks in its middle or at its end. Servers fill racks in
order; the switches of each group are spread over the rows in order, so that the switch of a segment or pod stands near its
servers, or where cables are shortest in all. Cables rise to overhead trays and run along the grid's two directions. No
publication gives these lengths: every one is a parameter, to be replaced by the room's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, field_validator, model_validator

from zcube.arrays import FloatArray, IntArray
from zcube.errors import Fault, InputError
from zcube.fabric.model import CableKind, Fabric
from zcube.fabric.wiring.switch_places import least_cable
from zcube.inputs import Declared, read_toml, validate

#: Height of one rack unit (EIA-310).
UNIT_M = 0.04445
#: Server racks of a row where the number of rows is not given.
ROW_RACKS = 16


class RackLayout(Declared):
    """A machine room's grid of racks and its trays; all lengths in metres.

    Power that is not given is not judged. Cable diameters are the averages that NVIDIA plans with (DGX SuperPOD Data Center
    Design for DGX H100, table 18); the limit of a tray's fill is that of ANSI/TIA-569-D for communications cables as it is
    quoted. The part of spares is a choice.
    """

    servers_per_rack: int = Field(default=4, ge=1, le=64, description="servers that a rack holds")
    rows: int | None = Field(default=None, ge=1, le=1000, description="rows of racks; default: rows of 16 server racks")
    switch_racks: Literal["middle-of-row", "end-of-row"] = Field(
        default="middle-of-row", description="where the racks of switches stand in a row"
    )
    switch_places: Literal["in-order", "least-cable"] = Field(
        default="in-order", description="switches of a group spread over the rows in order, or where cables are shortest in all"
    )
    switches_per_rack: int = Field(default=8, ge=1, le=60, description="switches that a rack holds")
    rack_units: int = Field(default=48, ge=4, le=100, description="height of a rack, units")
    server_units: int = Field(default=8, ge=1, le=20, description="height of a server, units")
    switch_units: int = Field(default=2, ge=1, le=30, description="height of a switch, units")
    rack_width_m: float = Field(default=0.6, gt=0, le=5, description="of every rack")
    row_depth_m: float = Field(default=3.0, gt=0, le=50, description="from row to row, aisle included")
    tray_height_m: float = Field(default=0.3, ge=0, le=20, description="tray above the top of the racks")
    slack_m: float = Field(default=0.5, ge=0, le=20, description="spare length at each end")
    stocked_lengths_m: tuple[float, ...] = Field(
        default=(1, 1.5, 2, 2.5, 3, 4, 5, 7, 10, 15, 20, 30, 40, 50, 75, 100, 150, 200, 300, 500, 1000, 2000),
        min_length=1,
        max_length=100,
        description="lengths that can be ordered",
    )
    rack_kw: float | None = Field(default=None, gt=0, le=10_000, description="power that a rack can hold, kW")
    server_kw: float | None = Field(default=None, gt=0, le=1000, description="power of a server, kW")
    switch_kw: float | None = Field(default=None, gt=0, le=1000, description="power of a switch with its modules, kW")
    tray_width_m: float | None = Field(default=None, gt=0, le=10, description="of every tray, inside")
    tray_depth_m: float | None = Field(default=None, gt=0, le=2, description="of every tray, usable")
    tray_fill_limit: float = Field(default=0.4, gt=0, le=1, description="part of a tray's cross-section that cables may fill")
    copper_diameter_m: float = Field(default=0.00943, gt=0, le=0.1, description="of a copper cable")
    fibre_diameter_m: float = Field(default=0.003, gt=0, le=0.1, description="of a fibre")
    spare_fraction: float = Field(default=0.02, ge=0, le=1, description="spare cables of each kind and length, rounded up")

    @field_validator("stocked_lengths_m")
    @classmethod
    def _rising(cls, lengths: tuple[float, ...]) -> tuple[float, ...]:
        if any(length <= 0 for length in lengths) or any(b <= a for a, b in pairwise(lengths)):
            raise ValueError("lengths above 0 that rise")
        return lengths

    @model_validator(mode="after")
    def _fits_rack(self) -> RackLayout:
        wrong = []
        for what, count, units, power_kw in (
            ("servers", self.servers_per_rack, self.server_units, self.server_kw),
            ("switches", self.switches_per_rack, self.switch_units, self.switch_kw),
        ):
            if count * units > self.rack_units:
                wrong.append(f"{what} that fit the rack: {count} x {units} units in {self.rack_units}")
            if power_kw is not None and self.rack_kw is not None and count * power_kw > self.rack_kw * (1 + 1e-9):
                wrong.append(f"{what} that a rack can power: {count} x {power_kw:g} kW at {self.rack_kw:g} kW")
        if (self.tray_width_m is None) != (self.tray_depth_m is None):
            wrong.append("tray_width_m and tray_depth_m together, or neither")
        if wrong:
            raise ValueError("; ".join(wrong))
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
        return self.in_order(fabric) if self.switch_places == "in-order" else _least_cable(self, fabric)

    def in_order(self, fabric: Fabric) -> Placement:
        """Return where devices stand with the switches of each group spread over the rows in order."""
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


# Counts, schedule and order of one fabric all ask where it stands.
@lru_cache(maxsize=2)
def _least_cable(layout: RackLayout, fabric: Fabric) -> Placement:
    """Return a placement with the switches in those places of the switch racks where cables are shortest in all."""
    placed, servers = layout.in_order(fabric), fabric.servers
    if not fabric.switches:
        return placed
    rows, left = int(placed.row.max()) + 1, int(placed.slot[servers:].min())
    switch_racks = int(placed.slot[servers:].max()) + 1 - left
    row, rack, number = (axis.ravel() for axis in np.indices((rows, switch_racks, layout.switches_per_rack)))
    # Every place of the switch racks as a device of its own, behind the servers.
    everywhere = Placement(
        layout=layout,
        row=np.concatenate([placed.row[:servers], row]),
        slot=np.concatenate([placed.slot[:servers], left + rack]),
        unit=np.concatenate([placed.unit[:servers], 1 + number * layout.switch_units]),
        units=np.repeat([layout.server_units, layout.switch_units], [servers, len(row)]),
    )
    place = servers + np.arange(len(row))
    to_servers = everywhere.route_m(place[:, None], np.arange(servers)[None, :])
    to_places = everywhere.route_m(place[:, None], place[None, :])
    np.fill_diagonal(to_places, 0.0)
    links, between = _links(fabric)
    at = ((placed.row * switch_racks + placed.slot - left) * layout.switches_per_rack)[servers:]
    start = at + (placed.unit[servers:] - 1) // layout.switch_units
    device = np.concatenate([np.arange(servers), servers + least_cable(to_servers, to_places, links, between, start)])
    return Placement(layout, everywhere.row[device], everywhere.slot[device], everywhere.unit[device], everywhere.units[device])


def _links(fabric: Fabric) -> tuple[IntArray, IntArray]:
    """Return how many cables join each switch with each server, and with each switch."""
    cables, switches = fabric.cables, fabric.switches
    nic, trunk = (cables.kind == kind for kind in (CableKind.NIC, CableKind.SWITCH))
    at_server = (cables.b[nic].astype(np.int64) - fabric.gpus) * fabric.servers + cables.a[nic] // fabric.gpus_per_server
    a, b = (ends[trunk].astype(np.int64) - fabric.gpus for ends in (cables.a, cables.b))
    to_server = np.bincount(at_server, minlength=switches * fabric.servers).reshape(switches, -1)
    between = np.bincount(a * switches + b, minlength=switches**2).reshape(switches, -1)
    return to_server, between + between.T


def _place_in_row(row: IntArray) -> IntArray:
    """Return each switch's running number among those of its row, in order."""
    order = np.argsort(row, kind="stable")
    first = np.searchsorted(row[order], row[order])
    place = np.empty(len(row), dtype=np.int64)
    place[order] = np.arange(len(row)) - first
    return place
