"""What a fabric consists of, in numbers."""

from __future__ import annotations

from typing import Any

from zcube.fabric.model import CableKind, CableMedium, Fabric
from zcube.fabric.ports import native_ports_used

COUNTING_RULE = (
    "a link is a full-duplex cable, NIC links included, NVLink left out; copper where a server's NICs share a switch or "
    "switches stand together, else fibre with two modules (the rule of the ATOP/ZCube paper); native ports are front-panel "
    "ports, shared by links slower than they are"
)


def fabric_counts(fabric: Fabric) -> dict[str, Any]:
    """Return counts as JSON-ready data: GPUs, switches by role with ports in use, links by kind."""
    used = native_ports_used(fabric)
    kinds, medium = fabric.cables.kind, fabric.cables.medium
    wired = kinds != CableKind.NVLINK
    groups = {}
    for group in fabric.groups:
        ports = used[group.first_node - fabric.gpus :][: group.count]
        groups[group.name] = {
            "switches": group.count,
            "model": group.model.name,
            "native_ports": group.model.ports,
            "native_port_gbps": group.model.port_gbps,
            "native_ports_used_min": float(ports.min()),
            "native_ports_used_max": float(ports.max()),
        }
    return {
        "fabric": fabric.name,
        "family": fabric.family,
        "gpus": fabric.gpus,
        "servers": fabric.servers,
        "gpus_per_server": fabric.gpus_per_server,
        "nic_gbps_per_gpu": fabric.nic_gbps,
        "nic_ports_per_gpu": fabric.nic_ports,
        "switches": fabric.switches,
        "groups": groups,
        "nic_links": int((kinds == CableKind.NIC).sum()),
        "switch_links": int((kinds == CableKind.SWITCH).sum()),
        "copper_links": int((wired & (medium == CableMedium.COPPER)).sum()),
        "fibre_links": int((wired & (medium == CableMedium.FIBRE)).sum()),
        "modules": 2 * int((wired & (medium == CableMedium.FIBRE)).sum()),
        "failed_links": int((~fabric.cable_up).sum()),
        "counting_rule": COUNTING_RULE,
    }
