"""Congestion controls: one module of kernels and one of parameters each, behind one registry.

A package of its own can add one: it declares an entry point of group ``zcube.congestion_controls`` whose name, a Python
identifier, is the control's and whose value is a class derived from
:class:`zcube.network.packet.controls.declared.ControlSettings`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from types import MappingProxyType

from zcube.errors import Fault, InputError
from zcube.network.packet.controls.dcqcn import Dcqcn, DcqcnNvidia
from zcube.network.packet.controls.declared import ControlSettings

ENTRY_POINTS = "zcube.congestion_controls"


class NoControl(ControlSettings):
    """No congestion control: every queue pair at its line rate, and no marks."""


BUILT_IN: Mapping[str, type[ControlSettings]] = MappingProxyType(
    {"none": NoControl, "dcqcn": Dcqcn, "dcqcn_nvidia": DcqcnNvidia}
)


@cache
def controls() -> Mapping[str, type[ControlSettings]]:
    """Return the declared parameters of every control, by the name given under ``congestion_control``.

    Raises
    ------
    InputError
        If an installed package offers a control under a name that is taken or no identifier, or something that is no control.
    """
    found = dict(BUILT_IN)
    faults = []
    for point in entry_points(group=ENTRY_POINTS):
        control = point.load()
        where = f"entry point {point.name} of {ENTRY_POINTS}"
        if point.name in found or not point.name.isidentifier():
            faults.append(Fault(where, f"{point.value}", "an identifier that no other control has"))
        elif not (isinstance(control, type) and issubclass(control, ControlSettings)):
            faults.append(Fault(where, f"{point.value}", f"a class derived from {ControlSettings.__module__}.ControlSettings"))
        else:
            found[point.name] = control
    if faults:
        raise InputError(faults)
    return MappingProxyType(found)
