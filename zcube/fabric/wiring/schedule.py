"""The port-level cable schedule: the optics table with places and lengths, one row per NIC and inter-switch link.

A link that is one leg of a split port is a row of its own: one leg of a splitter cable. What is to be ordered stands once, in
the row in which it first occurs, so that columns add up to the order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zcube.arrays import BoolArray, IntArray
from zcube.fabric.cages import device_names
from zcube.fabric.model import Fabric
from zcube.fabric.modules import GRADES
from zcube.fabric.optics import Optics, optics_of
from zcube.fabric.wiring.rack_layout import RackLayout

if TYPE_CHECKING:
    import pandas as pd

#: The rule by which cables can be ordered.
DEFAULT_RULE = "by-length"


def cable_schedule(fabric: Fabric, layout: RackLayout, rule: str = DEFAULT_RULE) -> pd.DataFrame:
    """Return the cable schedule of a fabric in a room.

    Parameters
    ----------
    fabric : Fabric
        What is built; failed cables are listed too, NVLink is not.
    layout : RackLayout
        Racks and trays.
    rule : str
        A key of :data:`~zcube.fabric.optics.OPTICS_RULES`.

    Returns
    -------
    pandas.DataFrame
        One row per link. ``label`` (unique, ``C`` and the fabric's cable number), device, port, rack and lowest rack unit at
        each end, ``route_m`` (as the trays run, slack included), ``length_m`` (rounded up to a stocked length), ``rate_gbps``,
        ``lanes`` (of the link, equal at both ends, e.g. ``2x100G``), ``medium`` and ``cable_type`` (grade of cable and NetBox's
        name), ``within_reach`` (False for a cable counted as copper that is longer than any made), cage and module at each end
        (a module that legs share is named in the row of each), the cable assembly plugged in there, named by the end it
        splits at; then what is ordered, counted where it first occurs: ``a_modules``, ``z_modules`` and ``assemblies``;
        ``optics_rule``, ``cable`` (the fabric's cable number).

    Raises
    ------
    InputError
        If a cable would be longer than any stocked length or than any module reaches, two cables would share a port, or lanes
        at two ends cannot be equal.
    """
    import pandas as pd

    optics = optics_of(fabric, rule, layout)
    places, place = optics.cages.places, layout.place(fabric)
    devices, racks = (np.array(names, dtype=object) for names in (device_names(fabric), place.rack_names()))
    (at_a, at_z), (a_port, z_port) = places.device.T, places.names()
    grade = optics.grade[optics.cages.of_end[:, 0]]
    modules = optics.module[optics.cages.of_end] & _first_seen(optics.cages.of_end)
    a, z = optics.cages.of_end.T
    cage = np.array(optics.cages.names(), dtype=object)
    module, assembly = _module_names(optics), _assembly_names(optics)
    lane_gbps = optics.lane_gbps[a]
    columns = {
        "label": [f"C{cable:06d}" for cable in places.cable.tolist()],
        "a_device": devices[at_a],
        "a_port": a_port,
        "a_rack": racks[at_a],
        "a_unit": place.unit[at_a],
        "z_device": devices[at_z],
        "z_port": z_port,
        "z_rack": racks[at_z],
        "z_unit": place.unit[at_z],
        "route_m": optics.route_m.round(3),
        "length_m": optics.length_m,
        "rate_gbps": fabric.cables.gbps[places.cable],
        "lanes": [f"{lanes}x{gbps}G" for lanes, gbps in zip(optics.link_lanes.tolist(), lane_gbps.tolist())],
        "medium": np.array([entry.name for entry in GRADES], dtype=object)[grade],
        "cable_type": np.array([entry.cable_type for entry in GRADES], dtype=object)[grade],
        "within_reach": optics.within_reach[a],
        "a_cage": cage[a],
        "z_cage": cage[z],
        "a_module": module[a],
        "z_module": module[z],
        "a_assembly": assembly[a],
        "z_assembly": assembly[z],
        "a_modules": modules[:, 0].astype(np.int64),
        "z_modules": modules[:, 1].astype(np.int64),
        "assemblies": _first_seen(optics.assembly[optics.cages.of_end]).sum(axis=1),
        "optics_rule": optics.rule,
        "cable": places.cable,
    }
    return pd.DataFrame(columns)


def _first_seen(numbers: IntArray) -> BoolArray:
    """Return where each number occurs first, row by row [links, 2]."""
    first = np.zeros(numbers.size, dtype=bool)
    first[np.unique(numbers.ravel(), return_index=True)[1]] = True
    return first.reshape(numbers.shape)


def _module_names(optics: Optics) -> np.ndarray:
    """Return e.g. ``400G SR4``, empty for copper."""
    kinds = zip(optics.kinds(), optics.module.tolist())
    return np.array([f"{kind.gbps}G {kind.name}" if module else "" for kind, module in kinds], dtype=object)


def _assembly_names(optics: Optics) -> np.ndarray:
    """Return the cable assembly in each cage: ``A0-swp1 1:2`` for a splitter at that cage, ``A0-swp1`` for a straight cable."""
    devices, cages = device_names(optics.fabric), optics.cages.names()
    parts = [f" 1:{far}" if far > 1 else "" for far in optics.far_cages.tolist()]
    heads = zip(optics.cages.device.tolist(), cages, parts)
    return np.array([f"{devices[device]}-{cage}{split}" for device, cage, split in heads], dtype=object)[optics.assembly]
