"""What a fabric consists of, in numbers."""

from __future__ import annotations

from typing import Any

from zcube.arrays import distinct
from zcube.fabric.model import CableKind, Fabric
from zcube.fabric.optics import OPTICS_RULES, Optics, optics_of
from zcube.fabric.ports import native_ports_used

#: The rule of the published counts.
DEFAULT_RULE = "paper"


def counting_rule(rule: str) -> str:
    """Return how the counts are to be read."""
    return (
        "a link is a full-duplex cable, NIC links included, NVLink left out; native ports are front-panel ports, shared by "
        f"links slower than they are; copper, fibre and modules by optics rule {rule}: {OPTICS_RULES[rule]}"
    )


def fabric_counts(fabric: Fabric, optics: Optics | None = None) -> dict[str, Any]:
    """Return counts as JSON-ready data: GPUs, switches by role with ports in use, links by kind, cages and modules.

    How tiers are arranged is among them where the family chose it.

    Parameters
    ----------
    fabric : Fabric
        What is built.
    optics : Optics, optional
        Its optics table; default: by rule ``paper``.
    """
    optics = optics_of(fabric, DEFAULT_RULE) if optics is None else optics
    used = native_ports_used(fabric)
    kinds = fabric.cables.kind
    fibre = int(optics.link_is_fibre.sum())
    arrangement = fabric.structure.arrangement()
    groups = {}
    for group in fabric.groups:
        ports = used[group.first_node - fabric.gpus :][: group.count]
        groups[group.name] = {
            "switches": group.count,
            "model": group.model.name,
            "native_ports": group.model.ports,
            "native_port_gbps": group.model.port_gbps,
            "native_ports_used_min": int(ports.min()),
            "native_ports_used_max": int(ports.max()),
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
        "optics_rule": optics.rule,
        "copper_links": len(optics.link_is_fibre) - fibre,
        "fibre_links": fibre,
        "cages": len(optics.cages),
        "modules": int(optics.module.sum()),
        "switch_modules": int((optics.module & ~optics.at_nic).sum()),
        "nic_modules": int((optics.module & optics.at_nic).sum()),
        "cable_assemblies": len(distinct(optics.assembly)),
        **({"arrangement": arrangement} if arrangement else {}),
        "failed_links": int((~fabric.cable_up).sum()),
        "counting_rule": counting_rule(optics.rule),
    }
