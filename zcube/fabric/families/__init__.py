"""One module per family of fabrics, behind one registry.

A package of its own can add a family: it declares an entry point of group ``zcube.families`` whose name is the family's and
whose value is a class derived from :class:`zcube.fabric.spec.FabricSpec`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from types import MappingProxyType

from zcube.errors import Fault, InputError
from zcube.fabric.families.bcube import BCubeSpec
from zcube.fabric.families.custom import CustomSpec
from zcube.fabric.families.dragonfly import DragonflySpec
from zcube.fabric.families.hpn import HpnSpec
from zcube.fabric.families.planes import MultiPlaneSpec, RailOnlySpec
from zcube.fabric.families.spine_leaf import SpineLeafSpec
from zcube.fabric.families.zcube import ZCubeSpec
from zcube.fabric.families.zcube_levels import ZCubeLevelsSpec
from zcube.fabric.families.zcube_pods import ZCubePodsSpec
from zcube.fabric.spec import FabricSpec

ENTRY_POINTS = "zcube.families"

BUILT_IN: Mapping[str, type[FabricSpec]] = MappingProxyType(
    {
        "bcube": BCubeSpec,
        "custom": CustomSpec,
        "dragonfly": DragonflySpec,
        "hpn": HpnSpec,
        "multi-plane": MultiPlaneSpec,
        "rail-only": RailOnlySpec,
        "spine-leaf": SpineLeafSpec,
        "zcube": ZCubeSpec,
        "zcube-levels": ZCubeLevelsSpec,
        "zcube-pods": ZCubePodsSpec,
    }
)


@cache
def families() -> Mapping[str, type[FabricSpec]]:
    """Return the declared model of every family, by the name a topology file gives under ``family``.

    Raises
    ------
    InputError
        If an installed package offers a family under a name that is taken, or something that is no family.
    """
    found = dict(BUILT_IN)
    faults = []
    for point in entry_points(group=ENTRY_POINTS):
        spec = point.load()
        where = f"entry point {point.name} of {ENTRY_POINTS}"
        if point.name in found:
            faults.append(Fault(where, f"{point.value}", "a name that no other family has"))
        elif not (isinstance(spec, type) and issubclass(spec, FabricSpec)):
            faults.append(Fault(where, f"{point.value}", "a class derived from zcube.fabric.spec.FabricSpec"))
        else:
            found[point.name] = spec
    if faults:
        raise InputError(faults)
    return MappingProxyType(found)
