"""Congestion controls: one module of kernels and one of parameters each, behind one registry.

A package of its own can add one: it declares an entry point of group ``zcube.congestion_controls`` whose name, a Python
identifier, is the control's and whose value is a class derived from
:class:`zcube.network.packet.controls.declared.ControlSettings`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

from zcube.network.packet.controls.dcqcn import Dcqcn, DcqcnNvidia
from zcube.network.packet.controls.declared import ControlSettings
from zcube.network.packet.controls.hpcc import Hpcc
from zcube.network.packet.controls.nscc import Mrc, Nscc
from zcube.network.packet.controls.swift import Swift
from zcube.registry import registered

ENTRY_POINTS = "zcube.congestion_controls"


class NoControl(ControlSettings):
    """No congestion control: every queue pair at its line rate, and no marks."""


BUILT_IN: Mapping[str, type[ControlSettings]] = MappingProxyType(
    {"none": NoControl, "dcqcn": Dcqcn, "dcqcn_nvidia": DcqcnNvidia, "swift": Swift, "hpcc": Hpcc, "nscc": Nscc, "mrc": Mrc}
)


@cache
def controls() -> Mapping[str, type[ControlSettings]]:
    """Return the declared parameters of every control, by the name given under ``congestion_control``.

    Raises
    ------
    InputError
        If an installed package offers a control under a name that is taken or no identifier, or something that is no control.
    """
    return registered(ENTRY_POINTS, BUILT_IN, _expected)


def _expected(name: str, control: Any) -> str | None:
    if not (isinstance(control, type) and issubclass(control, ControlSettings)):
        return f"a class derived from {ControlSettings.__module__}.ControlSettings"
    return None if name.isidentifier() else "a name that is a Python identifier"
