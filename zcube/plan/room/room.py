"""A fabric in a machine room, whole: where everything stands, what each cable is, what is to be ordered, how full trays are."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from zcube.fabric.cages import port_places
from zcube.fabric.model import Fabric
from zcube.fabric.modules import GRADES
from zcube.fabric.wiring.rack_layout import RackLayout
from zcube.fabric.wiring.reading import to_csv
from zcube.fabric.wiring.schedule import DEFAULT_RULE, cable_schedule
from zcube.plan.room.racks import Mounted, Rack, elevation, racks, racks_document
from zcube.plan.room.trays import TraySection, tray_sections

if TYPE_CHECKING:
    import pandas as pd

_COPPER = [grade.name for grade in GRADES if grade.cable_type.startswith("dac")]


class Ordered(NamedTuple):
    """Links of one medium and stocked length, the spares that go with them, and their length together, spares left out."""

    medium: str
    cable_type: str
    rate_gbps: float
    length_m: float
    links: int
    spares: int
    total_m: float


@dataclass(frozen=True, eq=False)
class RoomPlan:
    """A fabric in its room.

    Attributes
    ----------
    fabric : str
        Its name.
    layout : RackLayout
        The room.
    schedule : pandas.DataFrame
        As of :func:`~zcube.fabric.wiring.schedule.cable_schedule`, labels as given.
    mounted : tuple of Mounted
        Elevation.
    racks : tuple of Rack
        Units and power.
    order : tuple of Ordered
        By medium, type, rate and length.
    trays : tuple of TraySection
        Sections that hold cables.
    route_in_order_m : float
        What all cables would run if switches stood in order, metres.
    """

    fabric: str
    layout: RackLayout
    schedule: pd.DataFrame
    mounted: tuple[Mounted, ...]
    racks: tuple[Rack, ...]
    order: tuple[Ordered, ...]
    trays: tuple[TraySection, ...]
    route_in_order_m: float

    @property
    def route_m(self) -> float:
        """What all cables run, slack included, metres."""
        return float(self.schedule.route_m.sum())

    def document(self) -> dict[str, Any]:
        """Return the room in figures, JSON-ready."""
        fills = [section.fill for section in self.trays if section.fill is not None]
        fullest = max(self.trays, key=lambda section: section.area_mm2, default=None)
        return {
            "fabric": self.fabric,
            "switch_places": self.layout.switch_places,
            **racks_document(self.racks),
            "links": len(self.schedule),
            "route_m": round(self.route_m, 3),
            "route_m_switches_in_order": round(self.route_in_order_m, 3),
            "longest_m": float(self.schedule.length_m.max()),
            "ordered_m_by_medium": {
                medium: sum(line.total_m for line in self.order if line.medium == medium)
                for medium in dict.fromkeys(line.medium for line in self.order)
            },
            "order": [line._asdict() for line in self.order],
            "spares": sum(line.spares for line in self.order),
            "tray_sections": len(self.trays),
            "fullest_tray": None if fullest is None else fullest._asdict(),
            "tray_fill_limit": self.layout.tray_fill_limit,
            "trays_over_limit": [s.section for s in self.trays if s.fill is not None and s.fill > self.layout.tray_fill_limit]
            if fills
            else None,
        }

    def texts(self) -> dict[str, str]:
        """Return the tables by file name, as CSV: cables, elevation, racks, order, trays and labels."""
        return {
            "cables.csv": str(self.schedule.to_csv(index=False, lineterminator="\n")),
            "elevation.csv": to_csv(Mounted._fields, iter(self.mounted)),
            "racks.csv": to_csv(Rack._fields, iter(self.racks)),
            "order.csv": to_csv(Ordered._fields, iter(self.order)),
            "trays.csv": to_csv(TraySection._fields, iter(self.trays)),
            "labels.csv": self._labels_csv(),
        }

    def _labels_csv(self) -> str:
        """Return two labels a cable: what is printed on the flag at each end, this end first."""
        rows = []
        for cable in self.schedule.itertuples():
            a = f"{cable.a_rack} U{cable.a_unit} {cable.a_device} {cable.a_port}"
            z = f"{cable.z_rack} U{cable.z_unit} {cable.z_device} {cable.z_port}"
            rows += [(cable.label, "a", a, z), (cable.label, "z", z, a)]
        return to_csv(("label", "end", "here", "there"), iter(rows))


def room_plan(fabric: Fabric, layout: RackLayout, rule: str = DEFAULT_RULE, labels: Sequence[str] | None = None) -> RoomPlan:
    """Return a fabric in a machine room.

    Parameters
    ----------
    fabric : Fabric
        What is built.
    layout : RackLayout
        The room.
    rule : str
        Optics rule of the schedule.
    labels : sequence of str, optional
        Of the cables, in the order of the links, as of a fabric that has grown; default: by the fabric's cable numbers.

    Raises
    ------
    InputError
        If a cable would be longer than any stocked or than any module reaches, or the fabric cannot be cabled.
    """
    schedule, placement = cable_schedule(fabric, layout, rule), layout.place(fabric)
    if labels is not None:
        schedule["label"] = list(labels)
    device = port_places(fabric).device
    in_order = layout.in_order(fabric)
    return RoomPlan(
        fabric=fabric.name,
        layout=layout,
        schedule=schedule,
        mounted=elevation(fabric, placement),
        racks=racks(fabric, placement),
        order=_order(schedule, layout.spare_fraction),
        trays=tray_sections(placement, device, np.asarray(schedule.medium.isin(_COPPER))),
        route_in_order_m=float(in_order.route_m(device[:, 0], device[:, 1]).sum()),
    )


def _order(schedule: pd.DataFrame, spare_fraction: float) -> tuple[Ordered, ...]:
    kinds = Counter(zip(*(schedule[key].tolist() for key in ("medium", "cable_type", "rate_gbps", "length_m"))))
    # A hair less, so that a fraction that gives a whole number gives it.
    return tuple(
        Ordered(medium, cable_type, gbps, length_m, count, math.ceil(count * spare_fraction - 1e-9), length_m * count)
        for (medium, cable_type, gbps, length_m), count in sorted(kinds.items())
    )
