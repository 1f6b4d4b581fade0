"""Infragraph documents of fabrics, as JSON; :mod:`~zcube.fabric.wiring.infragraph` reads them and says what they are.

A device for servers with their GPUs, NICs (one a port) and NVSwitch, one for the switches of each role with a port component a
rate (ports are counted at the rate of their link), and one edge a cable; failed cables too.
"""

from __future__ import annotations

import json
import re
from typing import Any

from zcube.fabric.model import Fabric
from zcube.fabric.wiring.link_list import LinkList, NodeRole


def infragraph_text(fabric: Fabric) -> str:
    """Return the fabric as an infragraph document in JSON."""
    return json.dumps(_document(fabric), indent=1) + "\n"


def _document(fabric: Fabric) -> dict[str, Any]:
    table = LinkList.of(fabric)
    size, ports = fabric.gpus_per_server, fabric.nic_ports
    rates = {rate: f"{rate:g}G".replace(".", "-") for rate in sorted(set(table.gbps.tolist()))}
    links: dict[tuple[float, float], str] = {}
    used: dict[tuple[str, float], int] = {}
    edges = []
    place = _places(fabric)
    for a, b, a_port, b_port, gbps, latency_s in zip(
        *(column.tolist() for column in (table.a, table.b, table.a_port, table.b_port, table.gbps, table.latency_s)),
        strict=True,
    ):
        if NodeRole.NVSWITCH in (table.roles[a], table.roles[b]):
            continue
        name = links.setdefault((gbps, latency_s), f"cable {rates[gbps]} {len(links)}")
        ends = []
        for node, port in ((a, a_port), (b, b_port)):
            if node < fabric.gpus:
                ends.append({"instance": f"server[{node // size}]", "component": f"nic[{node % size * ports + port}]"})
            else:
                group, index = place[node]
                used[group, gbps] = max(used.get((group, gbps), 0), port + 1)
                ends.append({"instance": f"{group}[{index}]", "component": f"port {rates[gbps]}[{port}]"})
        edges.append({"ep1": ends[0], "ep2": ends[1], "link": name, "scheme": "one2one"})
    return {
        "name": re.sub(r"[^a-zA-Z0-9_-]", "-", fabric.name),
        "devices": [_server(fabric), *(_switch_device(group.name, used, rates) for group in fabric.groups)],
        "links": [_link(name, gbps, latency_s) for (gbps, latency_s), name in links.items()],
        "instances": [
            {"name": "server", "device": "server device", "count": fabric.servers},
            *({"name": group.name, "device": f"{group.name} device", "count": group.count} for group in fabric.groups),
        ],
        "edges": edges,
    }


def _places(fabric: Fabric) -> dict[int, tuple[str, int]]:
    return {group.first_node + index: (group.name, index) for group in fabric.groups for index in range(group.count)}


def _link(name: str, gbps: float, latency_s: float) -> dict[str, Any]:
    bandwidth = {"choice": "gigabits_per_second", "gigabits_per_second": gbps}
    return {"name": name, "physical": {"bandwidth": bandwidth, "latency": {"choice": "ns", "ns": latency_s * 1e9}}}


def _server(fabric: Fabric) -> dict[str, Any]:
    size, ports = fabric.gpus_per_server, fabric.nic_ports
    nvlink = int(fabric.nvlink_cable[0])
    edges = [
        {
            "ep1": {"component": f"xpu[{gpu}]"}, "ep2": {"component": f"nic[{gpu * ports}:{(gpu + 1) * ports}]"},
            "link": "pcie", "scheme": "many2many",
        }
        for gpu in range(size)
    ]  # fmt: skip
    edges.append({"ep1": {"component": "xpu"}, "ep2": {"component": "nvswitch"}, "link": "nvlink", "scheme": "many2many"})
    return {
        "name": "server device",
        "components": [
            {"name": "xpu", "choice": "xpu", "count": size},
            {"name": "nic", "choice": "nic", "count": size * ports},
            {"name": "nvswitch", "choice": "switch", "count": 1},
        ],
        "links": [
            {"name": "pcie"},
            _link("nvlink", float(fabric.cables.gbps[nvlink]), float(fabric.cables.latency_s[nvlink])),
        ],
        "edges": edges,
    }


def _switch_device(group: str, used: dict[tuple[str, float], int], rates: dict[float, str]) -> dict[str, Any]:
    ports = {f"port {rates[rate]}": count for (name, rate), count in used.items() if name == group}
    return {
        "name": f"{group} device",
        "components": [
            {"name": "asic", "choice": "switch", "count": 1},
            *({"name": name, "choice": "port", "count": count} for name, count in ports.items()),
        ],
        "links": [{"name": "internal"}],
        "edges": [
            {"ep1": {"component": "asic"}, "ep2": {"component": name}, "link": "internal", "scheme": "many2many"}
            for name in ports
        ],
    }
