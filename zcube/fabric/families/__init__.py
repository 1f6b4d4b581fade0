"""One module per family of fabrics, behind one registry.

A package of its own can add a family: it declares an entry point of group ``zcube.families`` whose name is the family's and
whose value is a class derived from :class:`zcube.fabric.spec.FabricSpec`. docs/extending.md shows one.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from zcube.fabric.families.bcube import BCubeSpec
from zcube.fabric.families.custom import CustomSpec
from zcube.fabric.families.dragonfly import DragonflySpec
from zcube.fabric.families.hpn import HpnSpec
from zcube.fabric.families.layered import LayeredSpec
from zcube.fabric.families.planes import MultiPlaneSpec, RailOnlySpec
from zcube.fabric.families.slim_fly import SlimFlySpec
from zcube.fabric.families.spine_leaf import SpineLeafSpec
from zcube.fabric.families.zcube import ZCubeSpec
from zcube.fabric.families.zcube_levels import ZCubeLevelsSpec
from zcube.fabric.families.zcube_pods import ZCubePodsSpec
from zcube.fabric.spec import FabricSpec
from zcube.registry import registered

ENTRY_POINTS = "zcube.families"

BUILT_IN: tuple[type[FabricSpec], ...] = (
    BCubeSpec,
    CustomSpec,
    DragonflySpec,
    HpnSpec,
    LayeredSpec,
    MultiPlaneSpec,
    RailOnlySpec,
    SlimFlySpec,
    SpineLeafSpec,
    ZCubeSpec,
    ZCubeLevelsSpec,
    ZCubePodsSpec,
)


@cache
def families() -> Mapping[str, type[FabricSpec]]:
    """Return the declared model of every family, by the name a topology file gives under ``family``.

    Raises
    ------
    InputError
        If an installed package offers a family under a name that is taken, or something that is no family of that name.
    """
    return registered(ENTRY_POINTS, {spec.family_name(): spec for spec in BUILT_IN}, _expected)


def _expected(name: str, spec: Any) -> str | None:
    if not (isinstance(spec, type) and issubclass(spec, FabricSpec)):
        return "a class derived from zcube.fabric.spec.FabricSpec"
    return None if spec.family_name() == name else f"a class whose family is {name!r}, not {spec.family_name()!r}"
