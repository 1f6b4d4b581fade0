"""The central type of the room: a fabric as arrays of nodes, ports and cables.

Nodes are numbered GPUs first (``0 .. gpus-1``), then switches, then one NVSwitch per server. A cable is full duplex: cable
``c`` is the directed links ``2c`` (from end a to end b) and ``2c + 1`` (back). End a is the lower tier: GPU before switch,
leaf before spine, group A before group B.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cached_property
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from zcube.arrays import BoolArray, FloatArray, IntArray
from zcube.fabric.measured import NO_START, MeasuredLinks, MessageStart
from zcube.fabric.port_numbers import links_per_port
from zcube.fabric.structure import NO_STRUCTURE, Structure

BITS_PER_GBIT = 1e9


class CableKind(IntEnum):
    """What a cable joins."""

    NIC = 0
    SWITCH = 1
    NVLINK = 2


class CableMedium(IntEnum):
    """What carries the signal of a cable: copper with fixed plugs, or fibre between two modules."""

    COPPER = 0
    FIBRE = 1


@dataclass(frozen=True, slots=True)
class SwitchModel:
    """A switch as it is bought.

    Attributes
    ----------
    name : str
        For the bill, e.g. ``"25.6T"``.
    ports : int
        Front-panel ports at their native rate.
    port_gbps : float
        Native rate of a port in Gb/s. A port may be split evenly into slower ones (400G into 2x200G).
    lane_gbps : float or None
        Rate of a lane of its modules, Gb/s; None: whatever the far end has.
    """

    name: str
    ports: int
    port_gbps: float
    lane_gbps: float | None = None

    def split_ports(self, rate_gbps: float) -> int:
        """Return how many links of a rate fit on the switch when every port is split evenly."""
        return self.ports * int(links_per_port(self.port_gbps, rate_gbps)) if rate_gbps <= self.port_gbps else 0


@dataclass(frozen=True, slots=True)
class NicModel:
    """A GPU's NIC as it is bought.

    Attributes
    ----------
    cages : {"shared", "per-port"}
        Whether all NIC ports of a GPU share one cage, as those of one dual-port NIC (2x200G of a 400G NIC), or have one each.
    lane_gbps : float or None
        Rate of a lane of its modules, Gb/s; None: whatever the far end has.
    """

    cages: Literal["shared", "per-port"] = "shared"
    lane_gbps: float | None = None


@dataclass(frozen=True, slots=True)
class SwitchGroup:
    """Switches of one role: leaf, spine, core, or a ZCube group.

    Attributes
    ----------
    name : str
        Role, prefix of the switches' names.
    first_node : int
        Node number of the group's switch 0.
    count : int
        Switches in the group.
    model : SwitchModel
        What they are.
    names : tuple of str
        The switches' own names; empty where they are the group's name and a number.
    """

    name: str
    first_node: int
    count: int
    model: SwitchModel
    names: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Cables:
    """Every cable of a fabric, one array entry each.

    Attributes
    ----------
    a, b : int array [cables]
        Node at each end.
    a_port, b_port : int array [cables]
        Port number at each end, from 0, counted at the cable's own rate.
    gbps : float array [cables]
        Rate in Gb/s, each direction.
    latency_s : float array [cables]
        One-way delay of the cable and of the device it leads into, seconds.
    kind : int array [cables]
        :class:`CableKind`.
    medium : int array [cables]
        :class:`CableMedium` by the ATOP/ZCube paper's counting, which the family or the imported file states; what is ordered
        follows from an optics rule (:mod:`zcube.fabric.optics`).
    """

    a: IntArray
    b: IntArray
    a_port: IntArray
    b_port: IntArray
    gbps: FloatArray
    latency_s: FloatArray
    kind: IntArray
    medium: IntArray

    def __len__(self) -> int:
        return len(self.a)

    @staticmethod
    def join(parts: list[Cables]) -> Cables:
        """Concatenate cables in order."""
        columns = ("a", "b", "a_port", "b_port", "gbps", "latency_s", "kind", "medium")
        return Cables(*(np.concatenate([getattr(part, column) for part in parts]) for column in columns))

    @staticmethod
    def of(
        a: IntArray,
        b: IntArray,
        a_port: IntArray,
        b_port: IntArray,
        *,
        gbps: float,
        latency_s: float,
        kind: CableKind,
        medium: CableMedium = CableMedium.FIBRE,
    ) -> Cables:
        """Return cables that share a rate, a delay, a kind and a medium."""
        count = len(a)
        return Cables(
            a=np.asarray(a, dtype=np.int32),
            b=np.asarray(b, dtype=np.int32),
            a_port=np.asarray(a_port, dtype=np.int32),
            b_port=np.asarray(b_port, dtype=np.int32),
            gbps=np.full(count, gbps),
            latency_s=np.full(count, latency_s),
            kind=np.full(count, kind, dtype=np.int8),
            medium=np.full(count, medium, dtype=np.int8),
        )


@dataclass(frozen=True, eq=False)
class Fabric:
    """A cluster's network, described once and then simulated, priced, drawn, wired and checked.

    Attributes
    ----------
    name : str
        How results name it.
    family : str
        The family that built it.
    gpus, gpus_per_server : int
        GPU ``g`` is local GPU ``g % gpus_per_server`` of server ``g // gpus_per_server``.
    groups : tuple of SwitchGroup
        Switches by role, in node order.
    cables : Cables
        NIC cables, inter-switch cables and NVLink, in that order.
    nic_cable : int array [gpus, NIC ports per GPU]
        Cable at each NIC port.
    nvlink_cable : int array [gpus]
        Cable from each GPU to its server's NVSwitch.
    routings : tuple of str
        Routing policies made for this family, the one it is operated with first.
    parameters : mapping
        What the family was asked for and what it made of it, for provenance only.
    cable_up : bool array [cables]
        False for a cable that has failed, itself or with a port, NIC or switch at its end.
    nic_start, nvlink_start : MessageStart
        Of messages that leave by a NIC or by NVLink; no time unless measured.
    nic : NicModel
        The NIC of every GPU.
    structure : Structure
        What the family's own routing needs of it.
    """

    name: str
    family: str
    gpus: int
    gpus_per_server: int
    groups: tuple[SwitchGroup, ...]
    cables: Cables
    nic_cable: IntArray
    nvlink_cable: IntArray
    routings: tuple[str, ...]
    parameters: Mapping[str, Any]
    cable_up: BoolArray
    nic_start: MessageStart = NO_START
    nvlink_start: MessageStart = NO_START
    nic: NicModel = NicModel()
    structure: Structure = NO_STRUCTURE

    @property
    def servers(self) -> int:
        """Number of servers."""
        return self.gpus // self.gpus_per_server

    @cached_property
    def switches(self) -> int:
        """Number of switches, NVSwitches left out."""
        return sum(group.count for group in self.groups)

    @property
    def nic_ports(self) -> int:
        """NIC ports per GPU."""
        return int(self.nic_cable.shape[1])

    @property
    def nodes(self) -> int:
        """GPUs, switches and NVSwitches."""
        return self.gpus + self.switches + self.servers

    @property
    def links(self) -> int:
        """Directed links: two per cable."""
        return 2 * len(self.cables)

    @cached_property
    def link_source(self) -> IntArray:
        """Node each directed link leaves [links]."""
        return np.stack([self.cables.a, self.cables.b], axis=1).ravel()

    @cached_property
    def link_target(self) -> IntArray:
        """Node each directed link enters [links]."""
        return np.stack([self.cables.b, self.cables.a], axis=1).ravel()

    @cached_property
    def link_capacity_bps(self) -> FloatArray:
        """Bits per second of each directed link, 0 where the cable has failed [links]."""
        return np.repeat(self.cables.gbps * BITS_PER_GBIT * self.cable_up, 2)

    @cached_property
    def link_latency_s(self) -> FloatArray:
        """One-way delay of each directed link in seconds [links]."""
        return np.repeat(self.cables.latency_s, 2)

    @cached_property
    def nic_gbps(self) -> float:
        """Line rate of one GPU, all its NIC ports together, Gb/s."""
        return float(self.cables.gbps[self.nic_cable[0]].sum())

    def server_of(self, gpu: IntArray) -> IntArray:
        """Return the server that holds each GPU."""
        return np.asarray(gpu) // self.gpus_per_server

    def node_name(self, node: int) -> str:
        """Return a node's name: ``s3g5`` (server 3, GPU 5), ``leaf7``, ``A2``, ``s3nvswitch``."""
        return self.node_names[node]

    @cached_property
    def node_names(self) -> tuple[str, ...]:
        """The name of each node [nodes]."""
        names = [f"s{server}g{gpu}" for server in range(self.servers) for gpu in range(self.gpus_per_server)]
        switches = [""] * self.switches
        for group in self.groups:
            first = group.first_node - self.gpus
            switches[first : first + group.count] = group.names or [f"{group.name}{number}" for number in range(group.count)]
        return (*names, *switches, *(f"s{server}nvswitch" for server in range(self.servers)))

    @property
    def switch_names(self) -> tuple[str, ...]:
        """The name of each switch [switches]."""
        return self.node_names[self.gpus : self.gpus + self.switches]

    def node_number(self, name: str) -> int:
        """Return the node of a name as :meth:`node_name` gives it.

        Raises
        ------
        KeyError
            If no GPU, switch or NVSwitch has that name.
        """
        return self._numbers[name]

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {name: node for node, name in enumerate(self.node_names)}

    def with_nic_rate(self, nic_gbps: float) -> Fabric:
        """Return the same fabric with every GPU's NIC ports together limited to a rate, the rest unchanged.

        Parameters
        ----------
        nic_gbps : float
            New line rate of one GPU, split evenly over its ports, Gb/s.
        """
        gbps = self.cables.gbps.copy()
        gbps[self.nic_cable] = nic_gbps / self.nic_ports
        parameters = MappingProxyType({**self.parameters, "nic_gbps": nic_gbps})
        return replace(self, cables=replace(self.cables, gbps=gbps), parameters=parameters)

    def with_measured_links(self, measured: MeasuredLinks) -> Fabric:
        """Return the same fabric with links as measured; its counts, bill and paths stay."""
        gbps = self.cables.gbps.copy()
        nvlink = self.cables.kind == CableKind.NVLINK
        if measured.nic_efficiency is not None:
            gbps[~nvlink] *= measured.nic_efficiency
        if measured.nvlink_gbps is not None:
            gbps[nvlink] = measured.nvlink_gbps
        return replace(
            self,
            cables=replace(self.cables, gbps=gbps),
            nic_start=self.nic_start if measured.nic_start is None else measured.nic_start,
            nvlink_start=self.nvlink_start if measured.nvlink_start is None else measured.nvlink_start,
        )
