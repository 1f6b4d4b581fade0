"""Ports of the larger fabric, chosen so that what stays plugged in stays where it is.

The ports of a switch are alike; which of them a link takes is a convention of a cable schedule. A link that stays keeps its
ports, and one of which one plug is moved keeps that of the other. The rest take ports that held nothing, then ports that are
given up, native ports already split as they need first. Switches that are new keep the ports of the family's schedule.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from zcube.arrays import IntArray, distinct
from zcube.errors import Fault, InputError
from zcube.fabric.model import CableKind, Fabric
from zcube.plan.growth.pairing import Ends, Pairing
from zcube.plan.growth.renaming import NONE


def with_kept_ports(new: Fabric, old: Ends, ends: Ends, pairing: Pairing) -> Fabric:
    """Return the larger fabric with its switch ports chosen anew on switches that stand.

    Parameters
    ----------
    new : Fabric
        As its family builds it.
    old, ends : Ends
        Links of the fabric that stands and of ``new``, devices numbered alike.
    pairing : Pairing
        What becomes of links, ports left open.

    Raises
    ------
    InputError
        If links of different rates would need more native ports than a switch has; with every such switch.
    """
    number = ends.port * ends.legs + ends.leg
    fixed = _fixed(old, ends, pairing)
    number = np.where(fixed != NONE, fixed, number)
    stands = distinct(old.device[old.at_switch])
    loose = ends.at_switch & (fixed == NONE) & np.isin(ends.device, stands)
    faults = []
    before = _numbers_by_device(old, old.port * old.legs + old.leg, old.at_switch)
    held = _numbers_by_device(ends, number, ends.at_switch & (fixed != NONE))
    budget = np.repeat([group.model.ports for group in new.groups], [group.count for group in new.groups])
    for device, rows in _rows_by_device(ends, loose).items():
        legs = [int(ends.legs.ravel()[row]) for row in rows]
        chosen = _free_ports(int(budget[device - new.servers]), held.get(device, []), before.get(device, []), legs)
        if chosen is None:
            name = new.node_name(device - new.servers + new.gpus)
            found = "ports held by links that stay, in parts that leave no room for links of other rates"
            faults.append(
                Fault(f"fabric {new.name}: {name}", found, "names = planned, which gives every link its planned port")
            )
            continue
        number.ravel()[rows] = chosen
    if faults:
        raise InputError(faults)
    cables = new.cables
    wired = np.flatnonzero(cables.kind != CableKind.NVLINK)
    a_port, b_port = cables.a_port.copy(), cables.b_port.copy()
    for column, port in enumerate((a_port, b_port)):
        at = ends.at_switch[:, column]
        port[wired[at]] = number[at, column]
    return replace(new, cables=replace(cables, a_port=a_port, b_port=b_port))


def _fixed(old: Ends, ends: Ends, pairing: Pairing) -> IntArray:
    """Return the port number of every end that has no choice, NONE elsewhere [new links, 2]."""
    fixed = np.full(ends.device.shape, NONE, dtype=np.int64)
    numbers = old.port * old.legs + old.leg
    stay = np.flatnonzero(pairing.kept != NONE)
    source = pairing.kept[stay]
    turned = old.device[source, 0] != ends.device[stay, 0]
    for column in (0, 1):
        fixed[stay, column] = numbers[source, np.where(turned, 1 - column, column)]
    move = np.flatnonzero(pairing.moved != NONE)
    fixed[move, pairing.near_new[move]] = numbers[pairing.moved[move], pairing.near_old[move]]
    return fixed


def _rows_by_device(ends: Ends, wanted: np.ndarray) -> dict[int, list[int]]:
    """Return the flat numbers of the ends wanted at each device."""
    rows: dict[int, list[int]] = {}
    flat = np.flatnonzero(wanted.ravel())
    for row, device in zip(flat.tolist(), ends.device.ravel()[flat].tolist()):
        rows.setdefault(device, []).append(row)
    return rows


def _numbers_by_device(ends: Ends, number: IntArray, wanted: np.ndarray) -> dict[int, list[tuple[int, int]]]:
    """Return (port number, legs) of the ends wanted at each device."""
    legs, numbers = ends.legs.ravel(), number.ravel()
    return {
        device: [*zip(numbers[rows].tolist(), legs[rows].tolist())] for device, rows in _rows_by_device(ends, wanted).items()
    }


def _free_ports(ports: int, held: list[tuple[int, int]], before: list[tuple[int, int]], wanted: list[int]) -> list[int] | None:
    """Return a port number for each wanted link, told by its legs, or None if there are too few ports.

    Parameters
    ----------
    ports : int
        Native ports of the switch.
    held, before : list of (number, legs)
        Port numbers that are taken, and those that were before.
    wanted : list of int
        Legs of the native port that each link takes one of.
    """
    split = {number // legs: legs for number, legs in held}
    taken = set(held)
    were = set(before)
    chosen: dict[int, list[int]] = {}
    # Whole ports first: they fit nowhere else.
    for legs in sorted(set(wanted)):
        fresh_last = sorted(
            (
                number
                for number in range(ports * legs)
                if split.get(number // legs, legs) == legs and (number, legs) not in taken
            ),
            key=lambda number: ((number, legs) in were, number // legs not in split, number),
        )
        need = wanted.count(legs)
        if len(fresh_last) < need:
            return None
        chosen[legs] = fresh_last[:need][::-1]
        split.update({number // legs: legs for number in chosen[legs]})
    return [chosen[legs].pop() for legs in wanted]
