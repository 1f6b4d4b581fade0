"""The port-level cable schedule: one row per NIC and inter-switch cable, as it is ordered, labelled and pulled.

A link that is one lane of a split port is a row of its own: one leg of a splitter cable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from zcube.arrays import FloatArray
from zcube.errors import Fault, InputError
from zcube.fabric.model import CableMedium, Fabric
from zcube.fabric.wiring.port_names import cable_ends
from zcube.fabric.wiring.rack_layout import RackLayout

if TYPE_CHECKING:
    import pandas as pd

SCHEDULE_COLUMNS = (
    "label",
    "a_device",
    "a_port",
    "a_rack",
    "a_unit",
    "z_device",
    "z_port",
    "z_rack",
    "z_unit",
    "route_m",
    "length_m",
    "rate_gbps",
    "medium",
    "cable_type",
    "a_module",
    "z_module",
    "counted_as",
    "cable",
)


class Medium(NamedTuple):
    """What is ordered up to a reach; ``cable_type`` is NetBox's name, ``optic`` is empty where the cable has fixed ends."""

    reach_m: float
    name: str
    cable_type: str
    optic: str


#: Reaches of vendors' 400G parts: passive copper 1-3 m, active copper 4-5 m, SR4 50 m, DR4 100 m and its 500 m variant,
#: FR4 2 km. Taken for other rates too.
MEDIA = (
    Medium(3, "passive copper", "dac-passive", ""),
    Medium(5, "active copper", "dac-active", ""),
    Medium(50, "multimode fibre", "mmf-om4", "SR4"),
    Medium(100, "single-mode fibre", "smf-os2", "DR4"),
    Medium(500, "single-mode fibre", "smf-os2", "DR4-500m"),
    Medium(2000, "single-mode fibre", "smf-os2", "FR4"),
)


def cable_schedule(fabric: Fabric, layout: RackLayout) -> pd.DataFrame:
    """Return the cable schedule of a fabric in a room.

    Parameters
    ----------
    fabric : Fabric
        What is built; failed cables are listed too, NVLink is not.
    layout : RackLayout
        Racks and trays.

    Returns
    -------
    pandas.DataFrame
        One row per cable. ``label`` (unique, ``C`` and the fabric's cable number), device, port, rack and lowest rack unit at
        each end, ``route_m`` (as the trays run, slack included), ``length_m`` (rounded up to a stocked length),
        ``rate_gbps``, ``medium``, ``cable_type`` and modules by ``length_m`` (:data:`MEDIA`; a module is named by the rate of
        the cage it fills), ``counted_as`` (``copper`` or ``fibre`` by the ATOP/ZCube paper's counting, which looks at shared
        switches and not at lengths), ``cable`` (the fabric's cable number).

    Raises
    ------
    InputError
        If a cable would be longer than any stocked length or than any medium reaches, or two cables would share a port.
    """
    import pandas as pd

    ends, place = cable_ends(fabric), layout.place(fabric)
    route_m = place.route_m(ends.a_index, ends.z_index)
    length_m, medium = _ordered_length(fabric, layout, route_m)
    racks = np.array(place.rack_names(), dtype=object)
    optic = np.array([entry.optic for entry in MEDIA], dtype=object)[medium]
    columns = {
        "label": [f"C{cable:06d}" for cable in ends.cable.tolist()],
        "a_device": ends.a_device,
        "a_port": ends.a_port,
        "a_rack": racks[ends.a_index],
        "a_unit": place.unit[ends.a_index],
        "z_device": ends.z_device,
        "z_port": ends.z_port,
        "z_rack": racks[ends.z_index],
        "z_unit": place.unit[ends.z_index],
        "route_m": route_m.round(3),
        "length_m": length_m,
        "rate_gbps": fabric.cables.gbps[ends.cable],
        "medium": np.array([entry.name for entry in MEDIA], dtype=object)[medium],
        "cable_type": np.array([entry.cable_type for entry in MEDIA], dtype=object)[medium],
        "a_module": _modules(ends.a_native_gbps, optic),
        "z_module": _modules(ends.z_native_gbps, optic),
        "counted_as": np.where(fabric.cables.medium[ends.cable] == CableMedium.COPPER, "copper", "fibre"),
        "cable": ends.cable,
    }
    return pd.DataFrame(columns, columns=list(SCHEDULE_COLUMNS))


def _ordered_length(fabric: Fabric, layout: RackLayout, route_m: FloatArray) -> tuple[FloatArray, np.ndarray]:
    """Return stocked lengths and the place of each cable's medium in :data:`MEDIA`."""
    stocked = np.asarray(layout.stocked_lengths_m, dtype=float)
    reach = np.array([entry.reach_m for entry in MEDIA])
    stocked = stocked[stocked <= reach[-1]]
    limit = float(stocked[-1]) if len(stocked) else 0.0
    longest = float(route_m.max(initial=0.0))
    if longest > limit:
        expected = f"at most {limit:g} m, the longest stocked length within reach: more rows, or longer stocked_lengths_m"
        raise InputError(Fault(f"{fabric.name}: cable schedule", f"a cable of {longest:.1f} m", expected))
    # A millionth of a metre less, so that a route that is a stocked length but for rounding gets that length.
    length = stocked[np.searchsorted(stocked, route_m - 1e-6)]
    return length, np.searchsorted(reach, length)


def _modules(native_gbps: FloatArray, optic: np.ndarray) -> list[str]:
    return [f"{gbps:g}G {name}" if name else "" for gbps, name in zip(native_gbps.tolist(), optic.tolist())]
