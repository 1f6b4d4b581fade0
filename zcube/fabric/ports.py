"""Port budgets: a fabric that needs more ports than its switches have is refused, with the arithmetic."""

from __future__ import annotations

import numpy as np

from zcube.arrays import FloatArray
from zcube.errors import Fault, InputError
from zcube.fabric.model import CableKind, Fabric
from zcube.fabric.port_numbers import links_per_port


def native_ports_used(fabric: Fabric) -> FloatArray:
    """Return the native ports each switch spends on its cables [switches].

    A cable slower than the port's native rate spends the fraction 1/s of a port, s = links a port splits into evenly.
    """
    cables = fabric.cables
    model_gbps = np.concatenate([np.full(group.count, group.model.port_gbps) for group in fabric.groups] or [np.zeros(0)])
    used = np.zeros(fabric.switches)
    wired = cables.kind != CableKind.NVLINK
    for end in (cables.a, cables.b):
        at_switch = wired & (end >= fabric.gpus)
        switch = end[at_switch] - fabric.gpus
        split = links_per_port(model_gbps[switch], cables.gbps[at_switch])
        used += np.bincount(switch, weights=1.0 / split, minlength=fabric.switches)
    return used


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
        need = float(used[first : first + group.count].max(initial=0.0))
        model = group.model
        if need > model.ports + 1e-9:
            faults.append(
                Fault(
                    f"{source}: switch.ports",
                    f"{group.name} switches that need {need:g} ports of {model.port_gbps:g}G",
                    f"at most the {model.ports} ports of a {model.name}",
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
