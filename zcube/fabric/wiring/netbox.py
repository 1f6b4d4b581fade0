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
    """Read the side columns of a NetBox cable CSV; sides of another type than an interface are faults.

    Raises
    ------
    InputError
        With every fault and its line.
    """
    faults = Faults(str(path))
    return build_wiring(_sides(read_text(path), faults), faults)


def _sides(text: str, faults: Faults) -> Iterator[tuple[int, tuple[str, ...]]]:
    for line, (a, a_type, a_name, b, b_type, b_name) in read_rows(text, SIDE_COLUMNS, faults):
        for key, kind in (("side_a_type", a_type), ("side_b_type", b_type)):
            if kind != INTERFACE:
                faults.add(line, f"{key} {kind!r}", INTERFACE)
        yield line, (a, a_name, b, b_name)
