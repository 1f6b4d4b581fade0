"""One module per family of fabrics, behind one registry."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from zcube.fabric.families.spine_leaf import SpineLeafSpec
from zcube.fabric.families.zcube import ZCubeSpec

#: The declared model of each family, by the name a topology file gives under ``family``.
FAMILIES: Mapping[str, type[SpineLeafSpec] | type[ZCubeSpec]] = MappingProxyType(
    {"spine-leaf": SpineLeafSpec, "zcube": ZCubeSpec}
)
