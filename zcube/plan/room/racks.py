"""What stands in each rack, and the power it draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from zcube.fabric.cages import device_names
from zcube.fabric.model import Fabric
from zcube.fabric.wiring.rack_layout import Placement


class Mounted(NamedTuple):
    """A device in its rack: lowest unit from 1, and height in units."""

    rack: str
    unit: int
    units: int
    device: str


class Rack(NamedTuple):
    """A rack that holds anything; power is None where one of its devices' is not given."""

    rack: str
    servers: int
    switches: int
    units_used: int
    units_free: int
    kw: float | None


def elevation(fabric: Fabric, placement: Placement) -> tuple[Mounted, ...]:
    """Return every device where it is mounted, rack by rack, from the lowest unit up."""
    columns = (placement.rack_names(), placement.unit.tolist(), placement.units.tolist(), device_names(fabric))
    return tuple(sorted(Mounted(*row) for row in zip(*columns)))


def racks(fabric: Fabric, placement: Placement) -> tuple[Rack, ...]:
    """Return every rack that holds anything."""
    layout, names = placement.layout, placement.rack_names()
    held: dict[str, list[int]] = {}
    for device, rack in enumerate(names):
        held.setdefault(rack, []).append(device)
    found = []
    for rack, devices in sorted(held.items()):
        servers = sum(device < fabric.servers for device in devices)
        switches = len(devices) - servers
        used = int(placement.units[devices].sum())
        power = _sum_kw(((servers, layout.server_kw), (switches, layout.switch_kw)))
        found.append(Rack(rack, servers, switches, used, layout.rack_units - used, power))
    return tuple(found)


def _sum_kw(parts: Sequence[tuple[int, float | None]]) -> float | None:
    present = [(count, power) for count, power in parts if count]
    if any(power is None for _, power in present):
        return None
    return sum(count * power for count, power in present if power is not None)


def racks_document(found: Sequence[Rack]) -> dict[str, Any]:
    """Return racks in figures, JSON-ready."""
    powers = [rack.kw for rack in found]
    return {
        "racks": len(found),
        "server_racks": sum(rack.servers > 0 for rack in found),
        "switch_racks": sum(rack.switches > 0 for rack in found),
        "units_used_most": max(rack.units_used for rack in found),
        "kw_most": None if None in powers else max(power for power in powers if power is not None),
        "kw": None if None in powers else sum(power for power in powers if power is not None),
    }
