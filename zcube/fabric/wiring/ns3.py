"""Topology files of HPCC's ns-3 simulator, which ASTRA-sim's ns-3 network reads too.

First line ``nodes switches links``, then the numbers of the switches, then one line per link ``src dst bandwidth latency
error_rate`` (HPCC simulation/scratch/third.cc; astra-network-ns3 scratch/common.h); lines behind the announced links are not
read, by the simulators neither (HPCC's own example has some). Every other node is a host. There are no servers: each host
counts as a server of one GPU, and hosts are GPUs in the order of their numbers, which need not begin at 0. The simulators keep
one link between two nodes, the last one listed; a file that lists several is read with all of them.

Written are the NVSwitches of servers with several GPUs as switches like others: the format has no name for what is inside one.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from zcube.fabric.model import Fabric
from zcube.fabric.wiring.link_list import LinkList, build_link_list
from zcube.fabric.wiring.ns3_lines import is_count, lines_of, raw_links, switch_numbers, switches_and_links
from zcube.fabric.wiring.reading import MAX_ROWS, Faults

_HEADER = "nodes switches links"


def ns3_text(fabric: Fabric) -> str:
    """Return the fabric as an ns-3 topology file, NVLink included, failed cables too."""
    switches, links = switches_and_links(fabric, nvlink=fabric.gpus_per_server > 1)
    head = f"{fabric.gpus + len(switches)} {len(switches)} {len(links)}"
    return "\n".join([head, " ".join(map(str, switches)), *links]) + "\n"


def read_ns3(path: Path) -> LinkList:
    """Read an ns-3 topology file; the ``i``-th switch listed is named ``switch<i>``, the ``i``-th host ``s<i>g0``.

    Raises
    ------
    InputError
        With every fault and its line.
    """
    faults = Faults(str(path))
    lines = lines_of(path)
    line, head = next(lines, (1, []))
    if len(head) != 3 or not all(is_count(word) for word in head):
        faults.add(line, " ".join(head) or "nothing", _HEADER)
        faults.raise_any()
    nodes, switches, links = (int(word) for word in head)
    if not 0 <= switches < nodes <= MAX_ROWS or links > MAX_ROWS:
        faults.add(line, " ".join(head), f"{_HEADER} with at least one host, at most {MAX_ROWS} nodes and links")
        faults.raise_any()
    numbers = switch_numbers(lines, switches, line, faults)
    if len(set(numbers)) != switches or max(numbers, default=0) >= nodes:
        faults.add(line + 1, "other switch numbers", f"{switches} different ones below {nodes}")
    faults.raise_any()
    switch = {number: f"switch{place}" for place, number in enumerate(numbers)}
    hosts = [number for number in range(nodes) if number not in switch]
    names = {number: f"s{place}g0" for place, number in enumerate(hosts)} | switch
    body = list(islice(lines, links))
    if len(body) < links:
        faults.add(line, f"{links} links announced, {len(body)} listed", "all that are announced")
    return build_link_list(raw_links(body, names, faults), faults, names.values())


def host_numbers(path: Path) -> tuple[int, ...]:
    """Return the numbers of the hosts of a topology, in order: the ``i``-th is GPU ``i``.

    Raises
    ------
    InputError
        As :func:`read_ns3`.
    """
    read_ns3(path)
    lines = lines_of(path)
    _, (nodes, switches, _) = next(lines)
    taken = set(switch_numbers(lines, int(switches), 1, Faults(str(path))))
    return tuple(number for number in range(int(nodes)) if number not in taken)
