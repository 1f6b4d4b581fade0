"""Port budgets: a fabric that needs more ports than its switches have is refused, with the arithmetic."""

from __future__ import annotations

import numpy as np

from zcube.arrays import IntArray, distinct
from zcube.errors import Fault, InputError
from zcube.fabric.cages import port_places
from zcube.fabric.model import CableKind, Fabric


def native_ports_used(fabric: Fabric) -> IntArray:
    """Return the native ports of each switch that have a cable, split or not [switches]."""
    places = port_places(fabric)
    at_switch = places.gpu < 0
    switch, port = places.device[at_switch] - fabric.servers, places.port[at_switch]
    used = distinct(switch << 32 | port) >> 32
    return np.bincount(used, minlength=fabric.switches)


def check_port_budget(fabric: Fabric, source: str) -> None:
    """Refuse a fabric whose switches run out of ports or whose links outrun them.

    Parameters
    ----------
    fabric : Fabric
        The fabric as built.
    source : str
        File or stem named in the fault.

    Raises
    ------
    InputError
        One fault per switch group over budget.
    """
    used = native_ports_used(fabric)
    fastest = fabric.cables.gbps[fabric.cables.kind != CableKind.NVLINK].max(initial=0.0)
    faults = []
    for group in fabric.groups:
        first = group.first_node - fabric.gpus
        need = int(used[first : first + group.count].max(initial=0))
        model = group.model
        if need > model.ports:
            faults.append(
                Fault(
                    f"{source}: switch.ports",
                    f"{group.name} switches that need {need} ports of {model.port_gbps:g}G",
                    f"at most the {model.ports} ports of a {model.name}, or a switch of {need} ports or more",
                )
            )
        if fastest > model.port_gbps:
            faults.append(
                Fault(
                    f"{source}: switch.port_gbps",
                    f"links of {fastest:g}G on ports of {model.port_gbps:g}G",
                    "ports as fast",
                )
            )
    if faults:
        raise InputError(faults)
