"""NetBox's bulk cable import: the devices and interfaces it names must exist there first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from zcube.fabric.model import Fabric
from zcube.fabric.wiring.cabling import Wiring, build_wiring
from zcube.fabric.wiring.rack_layout import RackLayout
from zcube.fabric.wiring.reading import Faults, read_rows, read_text, to_csv
from zcube.fabric.wiring.schedule import DEFAULT_RULE, cable_schedule

SIDE_COLUMNS = ("side_a_device", "side_a_type", "side_a_name", "side_b_device", "side_b_type", "side_b_name")
NETBOX_COLUMNS = (
    *SIDE_COLUMNS,
    "type",
    "status",
    "tenant",
    "label",
    "color",
    "length",
    "length_unit",
    "description",
    "comments",
    "tags",
)
INTERFACE = "dcim.interface"
#: What else NetBox has cables between: power, consoles.
_NO_NETWORK = (
    "dcim.powerport", "dcim.poweroutlet", "dcim.powerfeed", "dcim.consoleport", "dcim.consoleserverport",
)  # fmt: skip


def netbox_csv(
    fabric: Fabric, layout: RackLayout, rule: str = DEFAULT_RULE, *, status: Literal["planned", "connected"] = "planned"
) -> str:
    """Return the cable schedule for NetBox's bulk import; tenant, colour, comments and tags are left empty."""
    schedule = cable_schedule(fabric, layout, rule)
    columns = ("a_device", "a_port", "z_device", "z_port", "cable_type", "label", "length_m", "rate_gbps", "medium")
    rows = (
        (a, INTERFACE, p, z, INTERFACE, q, kind, status, "", label, "", f"{length:g}", "m", f"{rate:g}G {medium}", "", "")
        for a, p, z, q, kind, label, length, rate, medium in zip(*(schedule[column] for column in columns))
    )
    return to_csv(NETBOX_COLUMNS, rows)


def read_netbox(path: Path) -> Wiring:
    """Read the side columns of a NetBox cable CSV.

    Cables of power and the like, whose sides are both no interfaces, are none of the network's and left out. A side of several
    terminations, whose names a comma joins, is one link for each, in their order.

    Raises
    ------
    InputError
        With every fault and its line.
    """
    faults = Faults(str(path))
    return build_wiring(_sides(read_text(path), faults), faults)


def _sides(text: str, faults: Faults) -> Iterator[tuple[int, tuple[str, ...]]]:
    for line, (a, a_type, a_name, b, b_type, b_name) in read_rows(text, SIDE_COLUMNS, faults):
        if a_type in _NO_NETWORK and b_type in _NO_NETWORK:
            continue
        for key, kind in (("side_a_type", a_type), ("side_b_type", b_type)):
            if kind != INTERFACE:
                faults.add(line, f"{key} {kind!r}", INTERFACE)
        sides = [_terminations(device, name) for device, name in ((a, a_name), (b, b_name))]
        if len(sides[0]) != len(sides[1]):
            found = f"{len(sides[0])} terminations on side a, {len(sides[1])} on side b"
            faults.add(line, found, "as many on both: list the lanes of a breakout cable as interfaces of their own")
            continue
        for (one, port), (other, other_port) in zip(*sides, strict=True):
            yield line, (one, port, other, other_port)


def _terminations(device: str, name: str) -> list[tuple[str, str]]:
    """Return device and interface of each termination of a side; one device stands for all."""
    names = [part.strip() for part in name.split(",")]
    devices = [part.strip() for part in device.split(",")]
    if len(devices) == 1:
        devices *= len(names)
    return list(zip(devices, names, strict=False)) if len(devices) == len(names) else [(device, name)]
