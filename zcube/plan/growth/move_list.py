"""The move list: every step of a stage in words that a technician needs, one row each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from zcube.fabric.cages import device_names, port_places
from zcube.fabric.model import Fabric
from zcube.fabric.wiring.cabling import Port
from zcube.fabric.wiring.reading import to_csv
from zcube.plan.growth.order import Action, CableStep
from zcube.plan.growth.pairing import Pairing, renumbered
from zcube.plan.growth.renaming import NONE, Renaming

RELABEL, INSTALL, RETIRE = "relabel", "install", "retire"
#: In front of the name of a switch that is taken out, and of a name held back while others are exchanged.
FORMER = "old-"
NOWHERE = Port("", "")


#: All columns but the number of the step.
_Row = tuple[str, str, str, str, str, str, str, str, int]


class Move(NamedTuple):
    """One row of a move list.

    Attributes
    ----------
    step : int
        From 1, in the order in which steps are done.
    action : str
        ``relabel`` a device (its plugs stay), ``install`` one, ``add`` a cable, ``move`` one of its plugs, ``unplug`` a plug
        and leave it hanging, ``plug`` a hanging plug in, ``remove`` a cable, ``retire`` a device that holds no cable.
    cable : str
        Label of the cable.
    from_device, from_port : str
        The port that is left; of an added or removed cable one of its ports; of a relabelled device its name so far.
    to_device, to_port : str
        The port that is taken; of an added or removed cable the other; of a relabelled or new device its name.
    far_device, far_port : str
        Where the cable's other plug sits while one is moved.
    gpus_cut_off : int
        GPUs in service that cannot reach others while the step is under way; 0 in all steps but those of a maintenance window.
    """

    step: int
    action: str
    cable: str
    from_device: str
    from_port: str
    to_device: str
    to_port: str
    far_device: str
    far_port: str
    gpus_cut_off: int


def moves_csv(moves: Sequence[Move]) -> str:
    """Return the list as CSV, a column for each attribute of :class:`Move`."""
    return to_csv(Move._fields, iter(moves))


class DeviceRows(NamedTuple):
    """What becomes of devices.

    Attributes
    ----------
    became, there : list of str
        Names to be of what stands, and names of the target's devices.
    renamed : list of (str, str)
        Names and new names, in an order in which no name is ever that of two devices.
    installed, retired : list of str
        Devices that are new, and those that are taken out.
    """

    became: list[str]
    there: list[str]
    renamed: list[tuple[str, str]]
    installed: list[str]
    retired: list[str]


def device_rows(start: Fabric, target: Fabric, renaming: Renaming) -> DeviceRows:
    """Return what becomes of the devices of a fabric that becomes another by a renaming."""
    formerly, there = device_names(start), device_names(target)
    number = renumbered(start, target, renaming).tolist()
    became = [there[device] if device < len(there) else FORMER + name for device, name in zip(number, formerly)]
    stands = set(became)
    return DeviceRows(
        became,
        there,
        [*_renames(formerly, became)],
        [name for name in there if name not in stands],
        [name for name in became if name.startswith(FORMER)],
    )


def move_list(
    start: Fabric,
    target: Fabric,
    devices: DeviceRows,
    pairing: Pairing,
    steps: Iterable[CableStep],
    labels: Sequence[str],
    of_new: Sequence[str],
) -> tuple[Move, ...]:
    """Return the rows of a stage.

    Parameters
    ----------
    start, target : Fabric
        What stands, and what will, with its ports as they are to be.
    devices : DeviceRows
        What becomes of devices.
    pairing : Pairing
        What becomes of links.
    steps : iterable of CableStep
        In order.
    labels, of_new : sequence of str
        Labels of the cables that stand, and of the target's, in the order of the links.
    """
    old, new = _ports(start, devices.became), _ports(target, devices.there)
    stays = {int(source): int(near) for source, near in zip(pairing.moved, pairing.near_old) if source != NONE}
    near_new = pairing.near_new.tolist()
    rows: list[_Row] = [(RELABEL, "", one, "", other, "", "", "", 0) for one, other in devices.renamed]
    rows += [(INSTALL, "", "", "", name, "", "", "", 0) for name in devices.installed]
    for action, source, link, lost in steps:
        label = of_new[link] if source == NONE else labels[source]
        if action is Action.ADD:
            left, taken, far = new[0][link], new[1][link], NOWHERE
        elif action is Action.REMOVE:
            left, taken, far = old[0][source], old[1][source], NOWHERE
        else:
            left, taken, far = old[1 - stays[source]][source], new[1 - near_new[link]][link], new[near_new[link]][link]
            left, taken = NOWHERE if action is Action.PLUG else left, NOWHERE if action is Action.UNPLUG else taken
        rows.append((action.value, label, *left, *taken, *far, lost))
    rows += [(RETIRE, "", name, "", "", "", "", "", 0) for name in devices.retired]
    return tuple(Move(number, *row) for number, row in enumerate(rows, 1))


def _ports(fabric: Fabric, names: Sequence[str]) -> list[list[Port]]:
    """Return the ports at ends a and at ends z of every link."""
    places = port_places(fabric)
    return [
        [Port(names[device], port) for device, port in zip(side.tolist(), ports)]
        for side, ports in zip(places.device.T, places.names())
    ]


def new_labels(pairing: Pairing, labels: Sequence[str]) -> list[str]:
    """Return a label for each new link: that of the cable it is made of, or the next that was never given."""
    source = np.maximum(pairing.kept, pairing.moved)
    number = max((int(label[1:]) for label in labels), default=-1)
    found = []
    for link in source.tolist():
        if link == NONE:
            number += 1
        found.append(labels[link] if link != NONE else f"C{number:06d}")
    return found


def _renames(formerly: Sequence[str], became: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield names and new names one by one, so that no name is ever that of two devices."""
    waiting: Mapping[str, str] = {one: other for one, other in zip(formerly, became) if one != other}
    in_use, pending = set(formerly), dict(waiting)
    while pending:
        free = [name for name, wanted in pending.items() if wanted not in in_use]
        if not free:
            # A ring of names: one is held back under another.
            name, wanted = next(iter(pending.items()))
            aside = FORMER + FORMER + name
            in_use = (in_use - {name}) | {aside}
            del pending[name]
            pending[aside] = wanted
            yield name, aside
            continue
        while free:
            name = free.pop()
            wanted = pending.pop(name)
            in_use = (in_use - {name}) | {wanted}
            yield name, wanted
            free += [other for other, its in pending.items() if its == name]
