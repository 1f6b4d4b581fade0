"""One module per family of fabrics, behind one registry.

A package of its own can add a family: it declares an entry point of group ``zcube.families`` whose name is the family's and
whose value is a class derived from :class:`zcube.fabric.spec.FabricSpec`. docs/extending.md shows one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from types import MappingProxyType
from typing import Any

from zcube.fabric.spec import FabricSpec
from zcube.registry import registered

ENTRY_POINTS = "zcube.families"

#: Module and class of the project's own families.
BUILT_IN: Mapping[str, str] = MappingProxyType(
    {
        "bcube": "bcube:BCubeSpec",
        "custom": "custom:CustomSpec",
        "dragonfly": "dragonfly:DragonflySpec",
        "hpn": "hpn:HpnSpec",
        "layered": "layered:LayeredSpec",
        "multi-plane": "planes:MultiPlaneSpec",
        "rail-only": "planes:RailOnlySpec",
        "slim-fly": "slim_fly:SlimFlySpec",
        "spine-leaf": "spine_leaf:SpineLeafSpec",
        "zcube": "zcube:ZCubeSpec",
        "zcube-levels": "zcube_levels:ZCubeLevelsSpec",
        "zcube-pods": "zcube_pods:ZCubePodsSpec",
    }
)


class Families(Mapping[str, type[FabricSpec]]):
    """Declared models by the name of their family; a built-in one is imported when it is asked for."""

    def __init__(self, found: Mapping[str, str | type[FabricSpec]]):
        self._found = dict(found)

    def __getitem__(self, name: str) -> type[FabricSpec]:
        spec = self._found[name]
        if isinstance(spec, str):
            module, _, kind = spec.partition(":")
            spec = self._found[name] = getattr(import_module(f"{__name__}.{module}"), kind)
        return spec

    def __contains__(self, name: object) -> bool:
        return name in self._found

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


@cache
def families() -> Families:
    """Return the declared model of every family, by the name a topology file gives under ``family``.

    Raises
    ------
    InputError
        If an installed package offers a family under a name that is taken, or something that is no family of that name.
    """
    return Families(registered(ENTRY_POINTS, BUILT_IN, _expected))


def _expected(name: str, spec: Any) -> str | None:
    if not (isinstance(spec, type) and issubclass(spec, FabricSpec)):
        return "a class derived from zcube.fabric.spec.FabricSpec"
    return None if spec.family_name() == name else f"a class whose family is {name!r}, not {spec.family_name()!r}"
