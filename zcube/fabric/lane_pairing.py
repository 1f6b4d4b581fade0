"""Lanes that pair: for every link one lane rate and one number of lanes at both of its ends."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from zcube.arrays import FloatArray, IntArray
from zcube.errors import Fault, InputError
from zcube.fabric.cages import Cages, device_names, distinct_rows
from zcube.fabric.model import Fabric
from zcube.fabric.modules import LANE_RATES, MODULE_RATES, lanes_for, link_lanes


class PairedLanes(NamedTuple):
    """Lanes of cages and of links.

    Attributes
    ----------
    lanes, lane_gbps : int array [cages]
        Lanes of the cage's module or plug and their rate, Gb/s.
    link_lanes : int array [links]
        Lanes that each link takes at both ends.
    """

    lanes: IntArray
    lane_gbps: IntArray
    link_lanes: IntArray


class _End(NamedTuple):
    """What decides about lanes at one end of a link; ``asked`` is 0 where the device takes any lane rate."""

    gbps: float
    legs: int
    asked: float

    def lanes(self, lane_gbps: int, of_link: int) -> int:
        """Return the lanes of its cage at a lane rate, 0 if links of so many lanes do not fit."""
        lanes = 0 if self.asked not in (0, lane_gbps) else lanes_for(self.gbps, lane_gbps)
        return lanes if lanes >= self.legs * of_link else 0

    def __str__(self) -> str:
        split = f", split into {self.legs}" if self.legs > 1 else ""
        asked = f", lanes of {self.asked:g}G" if self.asked else ""
        return f"{self.gbps:g}G cage{split}{asked}"


def pair_lanes(fabric: Fabric, cages: Cages) -> PairedLanes:
    """Return lanes that pair at both ends of every link.

    Of the lane rates that both ends' devices allow and for which both cages have modules, the first of
    :data:`~zcube.fabric.modules.LANE_RATES` is taken.

    Raises
    ------
    InputError
        With every sort of link that no modules can join, and every cage that would need lanes of two rates or too many.
    """
    deciding = _deciding(fabric, cages)
    first, of_link = distinct_rows(deciding)
    kinds = deciding[first]
    chosen = [_choice(gbps, _End(*a), _End(*z)) for gbps, a, z in ((row[0], row[1:4], row[4:]) for row in kinds.tolist())]
    faults = []
    for number, ((gbps, *ends), pairing) in enumerate(zip(kinds.tolist(), chosen)):
        if pairing is None:
            link = int(np.flatnonzero(of_link == number)[0])
            found = f"a link of {gbps:g}G between a {_End(*ends[:3])} and a {_End(*ends[3:])}"
            faults.append(Fault(_where(fabric, cages, cages.of_end[link]), found, _EXPECTED))
    if faults:
        raise InputError(faults)
    found_lanes = np.array([pairing for pairing in chosen if pairing is not None], dtype=np.int64).reshape(-1, 4)
    of_links, link_gbps, at_a, at_z = found_lanes[of_link].T
    lane_gbps, lanes = _per_cage(cages, link_gbps, link_gbps), _per_cage(cages, at_a, at_z)
    slowest = -_per_cage(cages, -link_gbps, -link_gbps)
    taken = _per_cage_sum(cages, of_links)
    wrong = np.flatnonzero((slowest != lane_gbps) | (taken > lanes))
    if len(wrong):
        raise InputError(_misfit(fabric, cages, wrong, lanes, slowest, lane_gbps, taken))
    return PairedLanes(lanes, lane_gbps, of_links)


_EXPECTED = (
    "modules with equal lanes at both ends (rates of " + ", ".join(str(rate) for rate in MODULE_RATES) + "G; see nic.cages, "
    "nic.lane_gbps and switch.lane_gbps of the topology)"
)


def _deciding(fabric: Fabric, cages: Cages) -> FloatArray:
    """Return what decides about each link's lanes: its rate, then each end as an :class:`_End` [links, 7]."""
    asked = [fabric.nic.lane_gbps] + [group.model.lane_gbps for group in fabric.groups]
    group = np.repeat(np.arange(len(fabric.groups)) + 1, [group.count for group in fabric.groups])
    at_switch = cages.gpu < 0
    device = np.where(at_switch, cages.device - fabric.servers, 0)
    wanted = np.array([lane_gbps or 0.0 for lane_gbps in asked])[np.where(at_switch, group[device] if len(group) else 0, 0)]
    # A NIC's ports may differ in rate: their lanes are added up afterwards.
    legs = np.where(at_switch, cages.legs, 1)
    end = np.stack([cages.gbps, legs, wanted], axis=1)[cages.of_end]
    return np.column_stack([fabric.cables.gbps[cages.places.cable], end[:, 0], end[:, 1]])


def _choice(gbps: float, a: _End, z: _End) -> tuple[int, int, int, int] | None:
    """Return lanes of the link, their rate, lanes of the cage at each end; None if nothing pairs."""
    for lane_gbps in LANE_RATES:
        lanes = link_lanes(gbps, lane_gbps)
        if lanes and (at_a := a.lanes(lane_gbps, lanes)) and (at_z := z.lanes(lane_gbps, lanes)):
            return lanes, lane_gbps, at_a, at_z
    return None


def _per_cage(cages: Cages, at_a: IntArray, at_z: IntArray) -> IntArray:
    """Return the largest value of each cage over the links in it."""
    most = np.full(len(cages), np.iinfo(np.int64).min)
    np.maximum.at(most, cages.of_end[:, 0], at_a)
    np.maximum.at(most, cages.of_end[:, 1], at_z)
    return most


def _per_cage_sum(cages: Cages, of_links: IntArray) -> IntArray:
    """Return the sum of each cage over the links in it."""
    total = np.zeros(len(cages), dtype=np.int64)
    np.add.at(total, cages.of_end, of_links[:, None])
    return total


def _misfit(
    fabric: Fabric, cages: Cages, wrong: IntArray, lanes: IntArray, slowest: IntArray, fastest: IntArray, taken: IntArray
) -> list[Fault]:
    faults = []
    for cage in wrong[:20].tolist():
        mixed = f"lanes of {slowest[cage]}G for one link and of {fastest[cage]}G for another"
        many = f"{taken[cage]} lanes of {fastest[cage]}G for its links in a cage of {cages.gbps[cage]:g}G"
        found = mixed if slowest[cage] != fastest[cage] else many
        faults.append(Fault(_where(fabric, cages, [cage]), found, f"{lanes[cage]} lanes of one rate: {_EXPECTED}"))
    if len(wrong) > len(faults):
        faults.append(Fault(fabric.name, f"{len(wrong) - len(faults)} more such cages", "none"))
    return faults


def _where(fabric: Fabric, cages: Cages, some: IntArray | list[int]) -> str:
    devices, names = device_names(fabric), cages.names()
    return f"{fabric.name}: " + " to ".join(f"{devices[cages.device[cage]]} {names[cage]}" for cage in some)
