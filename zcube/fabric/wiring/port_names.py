"""Front-panel names of every cable end.

A switch's native ports are ``swp1 ..`` from 1, as switch operating systems built on Linux name them; a port split into slower
ones is ``swp5s0``, ``swp5s1``, lanes from 0. A server is the device ``server3``, from 0 as everywhere in a fabric; its NIC
ports are ``gpu5p0``: local GPU 5, NIC port 0. That is short enough for a Linux interface name (15 characters).
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from zcube.arrays import FloatArray, IntArray
from zcube.errors import Fault, InputError
from zcube.fabric.model import CableKind, Fabric
from zcube.fabric.port_numbers import links_per_port

_SERVER_PORT = re.compile(r"gpu(\d{1,6})p(\d{1,3})", re.ASCII)
_SWITCH_PORT = re.compile(r"swp(\d{1,6})(?:s(\d{1,3}))?", re.ASCII)
_SERVER = re.compile(r"server(\d{1,9})", re.ASCII)


class NicPort(NamedTuple):
    """A NIC port inside a server: local GPU and port, from 0."""

    gpu: int
    port: int


class PanelPort(NamedTuple):
    """A switch's front-panel port from 1 and its lane from 0, ``None`` for a port that is not split."""

    port: int
    lane: int | None


def parse_port(name: str) -> NicPort | PanelPort:
    """Return what a port name of :func:`cable_ends` says.

    Raises
    ------
    InputError
        If the name is neither ``gpu5p0`` nor ``swp5`` nor ``swp5s0``.
    """
    if match := _SERVER_PORT.fullmatch(name):
        return NicPort(int(match[1]), int(match[2]))
    if (match := _SWITCH_PORT.fullmatch(name)) and int(match[1]) > 0:
        return PanelPort(int(match[1]), None if match[2] is None else int(match[2]))
    raise InputError(Fault("port", repr(name[:80]), "a name like gpu5p0, swp5 or swp5s0"))


def parse_server(name: str) -> int | None:
    """Return the server's number, or ``None`` if the device is no server."""
    match = _SERVER.fullmatch(name)
    return int(match[1]) if match else None


@dataclass(frozen=True, eq=False)
class CableEnds:
    """The ends of every NIC and inter-switch cable, in the fabric's cable order.

    Attributes
    ----------
    cable : int array [rows]
        The fabric's cable number.
    a_index, z_index : int array [rows]
        Device: server number, or ``servers + switch number``.
    a_device, a_port, z_device, z_port : list of str [rows]
        Names.
    a_native_gbps, z_native_gbps : float array [rows]
        Rate of the cage the cable is plugged into: a switch's native port; a NIC port's own rate. Gb/s.
    """

    cable: IntArray
    a_index: IntArray
    z_index: IntArray
    a_device: list[str]
    a_port: list[str]
    z_device: list[str]
    z_port: list[str]
    a_native_gbps: FloatArray
    z_native_gbps: FloatArray


def device_names(fabric: Fabric) -> list[str]:
    """Return the names of servers, then switches."""
    switches = [fabric.node_name(node) for node in range(fabric.gpus, fabric.gpus + fabric.switches)]
    return [f"server{server}" for server in range(fabric.servers)] + switches


def cable_ends(fabric: Fabric) -> CableEnds:
    """Name both ends of every NIC and inter-switch cable.

    A cable's port number counts from 0 at the cable's rate; with s such links on a native port, number q is native port
    ``q // s + 1``, lane ``q % s``.

    Raises
    ------
    InputError
        If two cables would share a port, or one native port would be split in two ways.
    """
    cables = fabric.cables
    rows = np.flatnonzero(cables.kind != CableKind.NVLINK)
    native = np.concatenate([np.full(group.count, group.model.port_gbps) for group in fabric.groups] or [np.zeros(0)])
    names = device_names(fabric)
    sides = [
        _side(fabric, names, native, node[rows], port[rows], cables.gbps[rows])
        for node, port in ((cables.a, cables.a_port), (cables.b, cables.b_port))
    ]
    (a_index, a_device, a_port, a_native), (z_index, z_device, z_port, z_native) = sides
    _check_ports_once(fabric, [*zip(a_device, a_port), *zip(z_device, z_port)])
    return CableEnds(rows, a_index, z_index, a_device, a_port, z_device, z_port, a_native, z_native)


def _side(
    fabric: Fabric, names: list[str], native_gbps: FloatArray, node: IntArray, port: IntArray, gbps: FloatArray
) -> tuple[IntArray, list[str], list[str], FloatArray]:
    """Return device index, device name, port name and cage rate of one end of each cable."""
    at_switch = node >= fabric.gpus
    switch = np.where(at_switch, node - fabric.gpus, 0)
    cage = np.where(at_switch, native_gbps[switch] if len(native_gbps) else gbps, gbps)
    split = links_per_port(cage, gbps)
    index = np.where(at_switch, fabric.servers + switch, node // fabric.gpus_per_server)
    local = node % fabric.gpus_per_server
    columns = zip(at_switch.tolist(), local.tolist(), port.tolist(), split.tolist())
    ports = [_panel_name(q, s) if panel else f"gpu{gpu}p{q}" for panel, gpu, q, s in columns]
    return index, [names[i] for i in index.tolist()], ports, cage


def _panel_name(port: int, split: int) -> str:
    return f"swp{port + 1}" if split == 1 else f"swp{port // split + 1}s{port % split}"


def _check_ports_once(fabric: Fabric, ports: list[tuple[str, str]]) -> None:
    faults = [
        Fault(f"{fabric.name}: {device} {port}", f"{count} cables", "one cable: links of one rate on each native port")
        for (device, port), count in Counter(ports).items()
        if count > 1
    ]
    # A port in use whole cannot also be in use by lanes.
    whole = {(device, port) for device, port in ports if "s" not in port[3:]}
    split = {(device, port.rpartition("s")[0]) for device, port in ports if port.startswith("swp") and "s" in port[3:]}
    faults += [
        Fault(f"{fabric.name}: {device} {port}", "a cable on the whole port and others on its lanes", "one or the other")
        for device, port in sorted(whole & split)
    ]
    if faults:
        raise InputError(faults[:200])
