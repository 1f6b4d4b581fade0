"""A move list carried out as a technician would: from its CSV alone, on a wiring, one row after the other."""

from __future__ import annotations

import csv
import io

from zcube.fabric.wiring.cabling import Wiring


def labelled(wiring: Wiring) -> dict[str, list]:
    """Return both plugs of every cable, as (device, port), by the label of the cable schedule."""
    return {f"C{number:06d}": [tuple(cable.a), tuple(cable.z)] for number, cable in zip(wiring.lines, wiring.cables)}


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def carried_out(cables: dict[str, list], rows):
    """Carry rows out in place; yield each row with the labels of the cables that are not plugged in while it is under way.

    A row that cannot be done as it stands raises: a port that is taken, a plug that is not where it should be, a name in use.
    """
    at = {plug: label for label, plugs in cables.items() for plug in plugs}
    devices = {plug[0] for plug in at}
    hanging: set[str] = set()
    for number, row in enumerate(rows, 1):
        assert int(row["step"]) == number
        label = row["cable"]
        left, taken = (row["from_device"], row["from_port"]), (row["to_device"], row["to_port"])
        far = (row["far_device"], row["far_port"])
        match row["action"]:
            case "relabel":
                assert taken[0] not in devices
                devices = devices - {left[0]} | {taken[0]}
                for plugs in cables.values():
                    for end, plug in enumerate(plugs):
                        if plug and plug[0] == left[0]:
                            plugs[end] = (taken[0], plug[1])
                at = {plug: name for name, plugs in cables.items() for plug in plugs if plug}
                continue
            case "install":
                assert taken[0] not in devices
                devices.add(taken[0])
                continue
            case "retire":
                assert not any(plug[0] == left[0] for plug in at)
                devices.discard(left[0])
                continue
            case "add":
                assert label not in cables
                assert left not in at and taken not in at
                assert left[0] in devices and taken[0] in devices
                cables[label] = [left, taken]
                at[left] = at[taken] = label
                yield row, hanging | {label}
            case "remove":
                assert set(cables[label]) == {left, taken}
                del cables[label], at[left], at[taken]
                yield row, hanging
            case "move" | "unplug" | "plug":
                plugs = cables[label]
                end = plugs.index(None if row["action"] == "plug" else left)
                assert plugs[1 - end] == far
                if row["action"] != "plug":
                    del at[left]
                plugs[end] = None
                if row["action"] != "unplug":
                    assert taken not in at, row
                yield row, hanging | {label}
                if row["action"] == "unplug":
                    hanging.add(label)
                else:
                    hanging.discard(label)
                    at[taken] = label
                    plugs[end] = taken
            case other:
                raise AssertionError(other)


def as_set(cables: dict[str, list]) -> set[frozenset]:
    return {frozenset(plugs) for plugs in cables.values()}


def wired(fabric) -> set[frozenset]:
    return {frozenset(map(tuple, cable)) for cable in Wiring.of(fabric).cables}
