"""Cages: the slots of servers and switches into which modules and cable plugs go.

A native port of a switch is one cage; links slower than it are its legs. The NIC ports of a GPU share one cage or have one each
(:class:`~zcube.fabric.model.NicModel`). Devices are numbered servers first, then switches.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zcube.arrays import FloatArray, IntArray
from zcube.errors import Fault, InputError
from zcube.fabric.model import CableKind, Fabric
from zcube.fabric.port_numbers import links_per_port

#: Faults listed of one fabric.
MAX_FAULTS = 200
#: ``leg`` of a cage that is taken whole.
WHOLE = -1


@dataclass(frozen=True, eq=False)
class PortPlaces:
    """Where both ends of every NIC and inter-switch cable are plugged in, in the fabric's cable order.

    Attributes
    ----------
    cable : int array [links]
        The fabric's cable number.
    device : int array [links, 2]
        Server number, or ``servers + switch number``.
    gpu : int array [links, 2]
        Local GPU of an end at a NIC, -1 at a switch.
    port : int array [links, 2]
        Native port of a switch, or NIC port of the GPU, from 0.
    leg, legs : int array [links, 2]
        Which part of the native port, from 0, and into how many it is split; 0 and 1 at a NIC.
    native_gbps : float array [links, 2]
        Rate of the whole port: a switch's native rate, a NIC port's own. Gb/s.
    """

    cable: IntArray
    device: IntArray
    gpu: IntArray
    port: IntArray
    leg: IntArray
    legs: IntArray
    native_gbps: FloatArray

    def names(self) -> list[list[str]]:
        """Return the front-panel names of the ports at ends a and at ends b."""
        leg = np.where(self.legs > 1, self.leg, WHOLE)
        return [[cage_name(*port) for port in np.stack(side, axis=1).tolist()] for side in zip(self.gpu.T, self.port.T, leg.T)]


def port_places(fabric: Fabric) -> PortPlaces:
    """Return the places of all cable ends.

    A cable's port number counts from 0 at the cable's rate; with s such links on a native port, number q is native port
    ``q // s``, leg ``q % s``.
    """
    cables = fabric.cables
    cable = np.flatnonzero(cables.kind != CableKind.NVLINK)
    node = np.stack([cables.a[cable], cables.b[cable]], axis=1).astype(np.int64)
    number = np.stack([cables.a_port[cable], cables.b_port[cable]], axis=1).astype(np.int64)
    gbps = np.repeat(cables.gbps[cable, None], 2, axis=1)
    at_switch = node >= fabric.gpus
    model_gbps = np.concatenate([np.full(group.count, group.model.port_gbps) for group in fabric.groups] or [np.zeros(0)])
    native = gbps.copy()
    native[at_switch] = model_gbps[node[at_switch] - fabric.gpus]
    legs = links_per_port(native, gbps)
    return PortPlaces(
        cable=cable,
        device=np.where(at_switch, node - fabric.gpus + fabric.servers, node // fabric.gpus_per_server),
        gpu=np.where(at_switch, -1, node % fabric.gpus_per_server),
        port=number // legs,
        leg=number % legs,
        legs=legs,
        native_gbps=native,
    )


@dataclass(frozen=True, eq=False)
class Cages:
    """Every cage in use, by device, then by GPU and port.

    Attributes
    ----------
    device : int array [cages]
        Server number, or ``servers + switch number``.
    gpu : int array [cages]
        Local GPU of a NIC's cage, -1 at a switch.
    port : int array [cages]
        Native port of a switch, NIC port, or :data:`WHOLE` for a NIC cage that all ports of the GPU share; from 0.
    leg : int array [cages]
        Part of the native port, or :data:`WHOLE`.
    legs : int array [cages]
        Links the cage has room for at its links' rate.
    gbps : float array [cages]
        Rate of the cage, Gb/s.
    places : PortPlaces
        The cable ends.
    of_end : int array [links, 2]
        Cage of each cable end.
    """

    device: IntArray
    gpu: IntArray
    port: IntArray
    leg: IntArray
    legs: IntArray
    gbps: FloatArray
    places: PortPlaces
    of_end: IntArray

    def __len__(self) -> int:
        return len(self.device)

    def names(self) -> list[str]:
        """Return front-panel names: ``swp5``, ``gpu5`` (a cage shared by the GPU's NIC ports), ``gpu5p0``, ``swp5s0``."""
        return [cage_name(*row) for row in zip(self.gpu.tolist(), self.port.tolist(), self.leg.tolist())]


def cage_name(gpu: int, port: int, leg: int) -> str:
    """Return the front-panel name of a cage or port; native ports count from 1, legs from 0."""
    if gpu >= 0:
        return f"gpu{gpu}" if port == WHOLE else f"gpu{gpu}p{port}"
    return f"swp{port + 1}" if leg == WHOLE else f"swp{port + 1}s{leg}"


def cages_of(fabric: Fabric, *, per_link: bool = False) -> Cages:
    """Return the cages of a fabric.

    Parameters
    ----------
    fabric : Fabric
        What is built; failed cables are plugged in too.
    per_link : bool
        Whether every link's end counts as a cage of its own at the link's rate, as on switches whose ports have that rate.

    Raises
    ------
    InputError
        If two cables would share a port, or one native port would be split in two ways.
    """
    places = checked_places(fabric)
    shared = fabric.nic.cages == "shared" and not per_link
    at_nic = places.gpu >= 0
    port = np.where(at_nic & shared, WHOLE, places.port)
    leg = np.where(~at_nic & per_link & (places.legs > 1), places.leg, WHOLE)
    rows = np.stack([places.device, places.gpu, port, leg], axis=2).reshape(-1, 4)
    first, of_end = distinct_rows(rows)
    cages, of_end = rows[first], of_end.reshape(-1, 2)
    link_gbps = np.repeat(fabric.cables.gbps[places.cable, None], 2, axis=1)
    gbps = (link_gbps if per_link else places.native_gbps).ravel()[first]
    legs = np.ones(len(cages), dtype=np.int64) if per_link else places.legs.ravel()[first]
    if shared:
        nic = cages[:, 1] >= 0
        gbps[nic] = np.bincount(of_end.ravel(), weights=link_gbps.ravel(), minlength=len(cages))[nic]
        legs[nic] = np.bincount(of_end.ravel(), minlength=len(cages))[nic]
    device, gpu, port, leg = cages.T
    return Cages(device, gpu, port, leg, legs, gbps, places, of_end)


def checked_places(fabric: Fabric) -> PortPlaces:
    """Return the places of all cable ends of a fabric that can be cabled.

    Raises
    ------
    InputError
        If two cables would share a port, or one native port would be split in two ways; with every such port, at most
        :data:`MAX_FAULTS` of them.
    """
    places = port_places(fabric)
    keys = np.stack([places.device, places.gpu, places.port], axis=2).reshape(-1, 3)
    first, of_port = distinct_rows(keys)
    ports, legs, leg = keys[first], places.legs.ravel(), places.leg.ravel()
    most = np.zeros(len(ports), dtype=np.int64)
    np.maximum.at(most, of_port, legs)
    split_twice = np.zeros(len(ports), dtype=bool)
    split_twice[of_port[legs != most[of_port]]] = True
    first, of_leg = distinct_rows(np.stack([of_port, leg], axis=1))
    count = np.bincount(of_leg)
    again = first[count > 1]
    if not len(again) and not split_twice.any():
        return places
    names = device_names(fabric)
    faults = []
    for number, its_leg, times in zip(of_port[again].tolist(), leg[again].tolist(), count[count > 1].tolist()):
        device, gpu, port = ports[number].tolist()
        where = f"{fabric.name}: {names[device]} {cage_name(gpu, port, its_leg if most[number] > 1 else WHOLE)}"
        faults.append(Fault(where, f"{times} cables", "one cable: links of one rate on each native port"))
    for device, gpu, port in ports[split_twice].tolist():
        where = f"{fabric.name}: {names[device]} {cage_name(gpu, port, WHOLE)}"
        faults.append(Fault(where, "cables that split it in different ways", "one way; ports count from 0 at the link's rate"))
    raise InputError(faults[:MAX_FAULTS])


def distinct_rows(rows: IntArray | FloatArray) -> tuple[IntArray, IntArray]:
    """Return the first place of every distinct row, rows in rising order, and the distinct row's number of each row."""
    order = np.lexsort(rows.T[::-1])
    opens = np.ones(len(rows), dtype=bool)
    opens[1:] = (np.diff(rows[order], axis=0) != 0).any(axis=1)
    number = np.empty(len(rows), dtype=np.int64)
    number[order] = np.cumsum(opens) - 1
    return order[opens], number


def device_names(fabric: Fabric) -> list[str]:
    """Return the names of servers, then switches."""
    return [*(f"server{server}" for server in range(fabric.servers)), *fabric.switch_names]
