"""SimAI topology files, which several public fabric studies exchange.

First line ``nodes gpus_per_server nv_switches switches links gpu_type``, then the numbers of all switches, NVSwitches first,
then one line per link ``src dst bandwidth latency error_rate``, e.g. ``0 1024 3600Gbps 0.000025ms 0``. GPUs are numbered first,
from 0. Each GPU's links come together: NVLink, then its NIC ports in order; the inter-switch links follow. Ports, names of
switches and media of cables have no place in the format.
"""

from __future__ import annotations

from pathlib import Path

from zcube.fabric.model import Fabric
from zcube.fabric.wiring.link_list import LinkList, build_link_list
from zcube.fabric.wiring.ns3_lines import announced, is_count, lines_of, raw_links, switch_numbers, switches_and_links
from zcube.fabric.wiring.reading import MAX_ROWS, Faults

_HEADER = "nodes gpus_per_server nv_switches switches links gpu_type"


def simai_text(fabric: Fabric, *, gpu_type: str = "H100") -> str:
    """Return the fabric as a SimAI topology file.

    Parameters
    ----------
    fabric : Fabric
        What is built; failed cables are listed too.
    gpu_type : str
        Last word of the first line; SimAI takes its compute times from it.
    """
    switches, links = switches_and_links(fabric)
    head = f"{fabric.nodes} {fabric.gpus_per_server} {fabric.servers} {fabric.switches} {len(links)} {gpu_type}"
    return "\n".join([head, " ".join(map(str, switches)), *links]) + "\n"


def read_simai(path: Path) -> LinkList:
    """Read a SimAI topology file; switch ``i`` is named ``switch<i>``, ports are not said.

    Raises
    ------
    InputError
        With every fault and its line; a link that loses packets is refused, for no fabric here does.
    """
    faults = Faults(str(path))
    lines = lines_of(path)
    line, head = next(lines, (1, []))
    if len(head) < 6 or not all(is_count(word) for word in head[:5]):
        faults.add(line, " ".join(head) or "nothing", _HEADER)
        faults.raise_any()
    nodes, per_server, nv_switches, switches, links = (int(word) for word in head[:5])
    gpus = nodes - nv_switches - switches
    if gpus < 1 or per_server < 1 or gpus % per_server or nodes > MAX_ROWS or links > MAX_ROWS:
        faults.add(line, " ".join(head), f"{_HEADER} with GPUs in whole servers, at most {MAX_ROWS} nodes and links")
    elif nv_switches % (gpus // per_server):
        faults.add(line, f"{nv_switches} NVSwitches", f"as many on each of {gpus // per_server} servers")
    faults.raise_any()
    numbers = switch_numbers(lines, nv_switches + switches, line, faults)
    if sorted(numbers) != list(range(gpus, nodes)):
        faults.add(line + 1, "other switch numbers", f"each of {gpus} .. {nodes - 1} once: GPUs are numbered first")
    faults.raise_any()
    names = _names(gpus, per_server, numbers[:nv_switches], numbers[nv_switches:])
    return build_link_list(raw_links(announced(lines, links, line, faults), names, faults), faults, names.values())


def _names(gpus: int, per_server: int, nv_switches: list[int], switches: list[int]) -> dict[int, str]:
    names = {gpu: f"s{gpu // per_server}g{gpu % per_server}" for gpu in range(gpus)}
    names |= {node: f"switch{i}" for i, node in enumerate(switches)}
    each = len(nv_switches) // (gpus // per_server)
    for i, node in enumerate(nv_switches):
        names[node] = f"s{i // each}nvswitch" + (str(i % each) if each > 1 else "")
    return names
