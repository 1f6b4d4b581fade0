"""What has failed in a fabric: switches, links, ports, NICs, named or drawn at random.

A failure is written ``kind:what``:

* ``switch:A3``: every cable of a switch
* ``link:A0-B5``: every parallel cable between two nodes; ``link:A0-B5#2``: the third of them
* ``port:A3/12``: the cable at a port of a switch, counted from 0 at the cable's rate
* ``nic:s3g5``: every NIC port of a GPU; ``nic:s3g5/1``: one of them
* ``random-links:0.01``: one in a hundred NIC and inter-switch cables; ``random-switches:0.01`` likewise; ``/7`` behind the
  fraction draws with seed 7 instead of 0
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from zcube.arrays import BoolArray
from zcube.errors import Fault, InputError
from zcube.fabric.model import CableKind, Fabric
from zcube.seeds import stream

KINDS = "switch:A3, link:A0-B5, port:A3/12, nic:s3g5, random-links:0.01 or random-switches:0.01"


def with_failures(fabric: Fabric, failures: Sequence[str], source: str = "--fail") -> Fabric:
    """Return a fabric in which things have failed.

    Parameters
    ----------
    fabric : Fabric
        As built, or with earlier failures, which stay.
    failures : sequence of str
        As in the module's documentation.
    source : str
        Named in faults.

    Raises
    ------
    InputError
        With every failure that names nothing in this fabric.
    """
    down = ~fabric.cable_up
    faults: list[Fault] = []
    for failure in failures:
        try:
            down = down | _failed_cables(fabric, failure)
        except ValueError as error:
            faults.append(Fault(source, repr(failure), str(error)))
    if faults:
        raise InputError(faults)
    known = (*fabric.parameters.get("failures", ()), *failures)
    parameters = MappingProxyType({**fabric.parameters, "failures": known})
    return replace(fabric, cable_up=~down, parameters=parameters)


def _failed_cables(fabric: Fabric, failure: str) -> BoolArray:
    """Return which cables a failure takes; a ValueError's text says what would be right."""
    kind, colon, what = failure.partition(":")
    readers = {
        "switch": _switch,
        "link": _link,
        "port": _port,
        "nic": _nic,
        "random-links": _random_links,
        "random-switches": _random_switches,
    }
    if not colon or kind not in readers:
        raise ValueError(KINDS)
    return readers[kind](fabric, what) & (fabric.cables.kind != CableKind.NVLINK)


def _node(fabric: Fabric, name: str) -> int:
    try:
        return fabric.node_number(name)
    except KeyError:
        groups = ", ".join(f"{group.name}0..{group.name}{group.count - 1}" for group in fabric.groups)
        raise ValueError(f"nodes of {fabric.name}: {groups}, or GPUs such as s0g0") from None


def _at(fabric: Fabric, node: int) -> BoolArray:
    return np.asarray((fabric.cables.a == node) | (fabric.cables.b == node))


def _switch(fabric: Fabric, what: str) -> BoolArray:
    node = _node(fabric, what)
    if node < fabric.gpus:
        raise ValueError("a switch")
    return _at(fabric, node)


def _link(fabric: Fabric, what: str) -> BoolArray:
    match = re.fullmatch(r"([^-#]+)-([^-#]+)(?:#(\d{1,6}))?", what)
    if not match:
        raise ValueError("link:A0-B5 or link:A0-B5#2")
    between = _at(fabric, _node(fabric, match[1])) & _at(fabric, _node(fabric, match[2]))
    if not between.any():
        raise ValueError(f"two nodes of {fabric.name} that a cable joins")
    if match[3] is None:
        return between
    members = np.flatnonzero(between)
    if int(match[3]) >= len(members):
        raise ValueError(f"a parallel link from #0 to #{len(members) - 1}")
    return np.isin(np.arange(len(between)), members[int(match[3])])


def _port(fabric: Fabric, what: str) -> BoolArray:
    name, _, port = what.rpartition("/")
    if not port.isdecimal() or len(port) > 6:
        raise ValueError("port:A3/12")
    node, cables = _node(fabric, name), fabric.cables
    found = ((cables.a == node) & (cables.a_port == int(port))) | ((cables.b == node) & (cables.b_port == int(port)))
    if not found.any():
        raise ValueError(f"a port of {name} that holds a cable")
    return np.asarray(found)


def _nic(fabric: Fabric, what: str) -> BoolArray:
    name, _, port = what.partition("/")
    gpu = _node(fabric, name)
    if gpu >= fabric.gpus or (port and not (port.isdecimal() and int(port) < fabric.nic_ports)):
        raise ValueError(f"a GPU such as s0g0, with a NIC port from 0 to {fabric.nic_ports - 1} or none")
    cables = fabric.nic_cable[gpu] if not port else fabric.nic_cable[gpu, [int(port)]]
    return np.isin(np.arange(len(fabric.cables)), cables)


def _fraction(what: str) -> tuple[float, int]:
    match = re.fullmatch(r"(0(?:\.\d{1,9})?|1(?:\.0{1,9})?)(?:/(\d{1,9}))?", what)
    if not match:
        raise ValueError("a fraction from 0 to 1, with a seed behind a slash if wanted: 0.01/7")
    return float(match[1]), int(match[2] or 0)


def _drawn(count: int, what: str, purpose: str) -> np.ndarray:
    fraction, seed = _fraction(what)
    return stream(seed, purpose).permutation(count)[: round(fraction * count)]


def _random_links(fabric: Fabric, what: str) -> BoolArray:
    wired = np.flatnonzero(fabric.cables.kind != CableKind.NVLINK)
    return np.isin(np.arange(len(fabric.cables)), wired[_drawn(len(wired), what, "failed links")])


def _random_switches(fabric: Fabric, what: str) -> BoolArray:
    nodes = fabric.gpus + _drawn(fabric.switches, what, "failed switches")
    return np.asarray(np.isin(fabric.cables.a, nodes) | np.isin(fabric.cables.b, nodes))
