"""Topology files of HPCC's ns-3 simulator, which ASTRA-sim's ns-3 network reads too.

First line ``nodes switches links``, then the numbers of the switches, then one line per link ``src dst bandwidth latency
error_rate`` (HPCC simulation/scratch/third.cc; astra-network-ns3 scratch/common.h); lines behind the announced links are not
read, by the simulators neither (HPCC's own example has some). Every other node is a host, and hosts are GPUs in the order of
their numbers, which need not begin at 0. The simulators keep one link between two nodes, the last one listed; a file that lists
several is read with all of them.

To the simulators NVSwitches are switches like others. Behind the links, where they do not read, stands which ones they are:
``nvswitches 32 33``, one for each server, in the order of the hosts. Without that line each host is a server of one GPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from zcube.fabric.model import Fabric
from zcube.fabric.wiring.link_list import LinkList, build_link_list
from zcube.fabric.wiring.ns3_lines import Words, is_count, lines_of, raw_links, switch_numbers, switches_and_links
from zcube.fabric.wiring.reading import MAX_ROWS, Faults

_HEADER = "nodes switches links"
_NVSWITCHES = "nvswitches"


def ns3_text(fabric: Fabric) -> str:
    """Return the fabric as an ns-3 topology file, NVLink included, failed cables too."""
    nvlink = fabric.gpus_per_server > 1
    switches, links = switches_and_links(fabric, nvlink)
    head = f"{fabric.gpus + len(switches)} {len(switches)} {len(links)}"
    inside = [" ".join([_NVSWITCHES, *map(str, switches[: fabric.servers])])] if nvlink else []
    return "\n".join([head, " ".join(map(str, switches)), *links, *inside]) + "\n"


def read_ns3(path: Path) -> LinkList:
    """Read an ns-3 topology file; the ``i``-th switch listed is named ``switch<i>``, hosts ``s<server>g<gpu>``.

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
    body = list(islice(lines, links))
    if len(body) < links:
        faults.add(line, f"{links} links announced, {len(body)} listed", "all that are announced")
    inside = _nvswitches(lines, numbers, nodes - switches, faults)
    taken = set(numbers)
    hosts = [number for number in range(nodes) if number not in taken]
    per_server = len(hosts) // len(inside) if inside else 1
    names = {number: f"s{place // per_server}g{place % per_server}" for place, number in enumerate(hosts)}
    names |= {number: f"s{server}nvswitch" for server, number in enumerate(inside)}
    names |= {number: f"switch{place}" for place, number in enumerate(one for one in numbers if one not in names)}
    table = build_link_list(raw_links(body, names, faults), faults, names.values())
    for a, b in zip(*(np.array(table.names)[end].tolist() for end in (table.a, table.b))):
        for one, other in ((a, b), (b, a)):
            if one.endswith("nvswitch") and not other.startswith(f"{one.removesuffix('nvswitch')}g"):
                faults.add(
                    "nvswitches", f"{one} joined to {other}", f"the NVSwitch of {per_server} hosts in a row, and no others"
                )
    faults.raise_any()
    return table


def _nvswitches(lines: Iterator[Words], switches: list[int], hosts: int, faults: Faults) -> list[int]:
    """Return the switches that a line behind the links names as NVSwitches, none without one."""
    line, words = next(((line, words) for line, words in lines if words[0] == _NVSWITCHES), (0, []))
    numbers = [int(word) for word in words[1:] if is_count(word)]
    if words and (not numbers or len(numbers) < len(words) - 1 or len(set(numbers) & set(switches)) < len(numbers)):
        faults.add(line, " ".join(words)[:80], f"{_NVSWITCHES} and the numbers of some of the switches, each once")
        return []
    if numbers and hosts % len(numbers):
        faults.add(line, f"{len(numbers)} NVSwitches for {hosts} hosts", "one for each server, servers of equal size")
        return []
    return numbers


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
